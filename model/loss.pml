/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Losing the worker process, and bringing it back: alive, returning, lost.
 *
 * A caller publishes slots and waits for their answers. A worker claims some,
 * says in its block which one it begins, runs it, answers. Its process may be
 * killed between any two of these steps, also while it is being brought back,
 * also for good. The watcher sees the end and takes down what the block says
 * (src/context/loss.c); the keeper settles what every slot in flight has coming
 * (src/queue/lost.c), starts a new process, and the context is alive again
 * (src/context/recover.c); or the budget is used up, and it is lost.
 *
 * Shown: every slot gets one answer. One that is not idempotent runs once at
 * most, one that is twice at most. An answer that says that a slot did not run
 * is true. A claimed slot that had not begun runs. Nobody sleeps on an answer
 * that is there, or on a device that will not come back.
 *
 * Slot 0 may run again, the others may not. Steps between `;` interleave
 * freely. Variants that have to fail:
 *
 *   BROKEN_EARLY        the end is taken for the end before the process is gone
 *   BROKEN_NAME_LATE    the block is written when the handler has begun
 *   BROKEN_ANSWER_LATE  the next slot is named before the last is answered
 *   BROKEN_CLAIM        the new engine goes on where the old one had claimed
 *   BROKEN_FORGET       what the old block said outlives its settlement
 *   BROKEN_FORGET_RUN   what was to run again, and did not, counts as not run
 *   BROKEN_BLIND        alive, although the new process was lost meanwhile
 *   BROKEN_NO_STRIKE    a slot that struck may always run again
 *   BROKEN_NO_WAKE      who sleeps is not woken when it is alive again
 *   BROKEN_LOST_ASLEEP  a waiter does not look whether it is lost for good
 */
#ifndef SLOTS
#define SLOTS 3
#endif
#ifndef BUDGET
#define BUDGET 2                 /* restarts */
#endif
#ifndef BATCH
#define BATCH 2                  /* slots that are claimed at once */
#endif
#ifndef WORKERS
#define WORKERS 1                /* of a process */
#endif
#define NONE 255

mtype = { ALIVE, RETURNING, LOST };
mtype = { NOTHING, OK, NOT_RUN, MAY_RUN, POISON };

/* shared memory */
bool published[SLOTS];
mtype answer[SLOTS] = NOTHING;
byte claim;
byte named[WORKERS] = NONE;      /* the blocks of the workers */
bool waiters;
byte event;                      /* goes round later than anybody sleeps */

/* the caller's own */
mtype lost = ALIVE;
byte losses, restarts;
bool begun[SLOTS];               /* what was taken of the block */
byte strikes[SLOTS];
bool before[SLOTS];              /* had begun in a process that was lost */
byte skip_until;
byte tail;
bool in_futex;
bool finished;

/* the world */
bool up;                         /* there is a process, perhaps dying */
bool dying;
byte process;                    /* number of the one there is or was last */
byte watched;                    /* of the one whose end was seen last */
byte runs[SLOTS];
byte names[SLOTS];               /* times that a worker said it begins it */

#define RAN_WELL(t) (runs[t] <= 1 || ((t) == 0 && runs[t] == 2))

inline give(t, what)
{
	assert(answer[t] == NOTHING);
	assert(what != NOT_RUN || runs[t] == 0);
	assert(what != POISON || names[t] == 2);
	answer[t] = what
}

inline wake_all()
{
	d_step { event = (event + 1) % 16; waiters = false; in_futex = false }
}

/* ---- the worker process -------------------------------------------------- */

/* Nothing that it does happens after it is gone. */
#define HERE (up && process == me)

/* Passed over by an engine that was started after it was answered. */
#define SKIPPED(t) ((t) < skip_until && answer[t] != NOTHING)

/* The handler begins, and has its effect. */
inline begin()
{
	runs[t]++;
	assert(RAN_WELL(t))
}

proctype engine(byte me, w)
{
	byte t, last;
	bool wanted;

end:	do
	:: !HERE -> goto gone
	:: atomic { HERE && claim < SLOTS && published[claim] ->
		t = claim;
		last = claim + 1;
		do
		:: last < SLOTS && last - t < BATCH && published[last] ->
			last++
		:: break
		od;
		claim = last
	   };
	   do
	   :: !HERE -> goto gone
	   :: atomic { HERE && t == last -> break }
	   :: atomic { HERE && t < last && SKIPPED(t) -> t++ }
	   :: atomic { HERE && t < last && !SKIPPED(t) ->
#ifdef BROKEN_NAME_LATE
		begin()
#else
		named[w] = t;
		names[t]++
#endif
	      };
	      if
	      :: !HERE -> goto gone
	      :: atomic { HERE ->
#ifdef BROKEN_NAME_LATE
		named[w] = t;
		names[t]++
#else
		begin()
#endif
	         }
	      fi;
#ifdef BROKEN_ANSWER_LATE
	      if
	      :: atomic { HERE && t + 1 < last -> named[w] = t + 1 }
	      :: HERE && t + 1 == last
	      :: !HERE -> goto gone
	      fi;
#endif
	      if
	      :: !HERE -> goto gone
	      :: atomic { HERE -> give(t, OK); t++ }
	      fi
	   od;
	   if
	   :: atomic { HERE -> wanted = waiters; waiters = false }
	   :: !HERE -> goto gone
	   fi;
	   if
	   :: !HERE -> goto gone
	   :: atomic { HERE ->
		if
		:: wanted -> event = (event + 1) % 16; in_futex = false
		:: else
		fi;
		wanted = false
	      }
	   fi
	od;
gone:	skip
}

inline start_workers()
{
	run engine(process, 0);
#if WORKERS > 1
	run engine(process, 1)
#endif
}

/* Death begins, and is over later: meanwhile its threads, or the device, may
 * still do something. */
proctype killer()
{
	do
	:: atomic { up && !dying -> dying = true }
	:: atomic { up && dying -> up = false; dying = false }
	:: !dying -> break /* enough */
	od
}

/* ---- the watcher --------------------------------------------------------- */

#ifdef BROKEN_EARLY
#define ENDED (dying || !up)
#else
#define ENDED (!up)
#endif

/* What the block says is taken, and with it the context is returning: one step,
 * under a lock that all have who look at the one and the other. */
proctype watcher()
{
	byte k;

	do
	:: atomic { process > watched && ENDED ->
		watched = process;
		k = 0;
		do
		:: k < WORKERS && named[k] != NONE &&
		   answer[named[k]] == NOTHING ->
			begun[named[k]] = true;
			k++
		:: k < WORKERS && (named[k] == NONE ||
				   answer[named[k]] != NOTHING) -> k++
		:: k == WORKERS -> k = 0; break
		od;
		losses++;
		lost = RETURNING
	   }
	:: finished -> break
	od
}

/* ---- the keeper ---------------------------------------------------------- */

inline settle()
{
	t = tail;
	first = tail;
	do
	:: t == 0 -> break
	:: else ->
		t--;
		if
		:: answer[t] != NOTHING
		:: else ->
			if
			:: t < claim && begun[t] && t != 0 -> give(t, MAY_RUN)
			:: t < claim && begun[t] && t == 0 ->
				if
#ifndef BROKEN_NO_STRIKE
				:: strikes[t] > 0 -> give(t, POISON)
				:: strikes[t] == 0 ->
#else
				:: true ->
#endif
					strikes[t] = 1;
					before[t] = true;
					first = t
				fi
			:: else -> first = t
			fi
		fi
	od;
	skip_until = tail;
#ifndef BROKEN_CLAIM
	claim = first;
#endif
#ifndef BROKEN_FORGET
	t = 0;
	do
	:: t < SLOTS -> begun[t] = false; t++
	:: t == SLOTS -> break
	od;
	t = 0;
	do
	:: t < WORKERS -> named[t] = NONE; t++
	:: t == WORKERS -> break
	od;
#endif
	t = 0;
	first = 0
}

/* Give up: who waits is told, and answers what is left itself. */
inline give_up()
{
	lost = LOST;
	wake_all()
}

proctype keeper()
{
	byte t, first, seen;

	do
	:: lost == RETURNING && restarts == BUDGET -> give_up(); break
	:: atomic { lost == RETURNING && restarts < BUDGET ->
		restarts++;
		seen = losses;
		settle()
	   };
	   if
	   :: skip -> /* the new process does not start */
		skip
	   :: atomic { true ->
		process++;
		up = true;
		dying = false;
		start_workers()
	      };
	      atomic {
		if
#ifdef BROKEN_BLIND
		:: true -> lost = ALIVE
#else
		:: losses == seen -> lost = ALIVE
		:: else
#endif
		fi;
		seen = 0
	      };
#ifndef BROKEN_NO_WAKE
	      wake_all()
#endif
	   fi
	:: finished -> break
	od
}

/* ---- the caller ---------------------------------------------------------- */

/* What nobody will run any more. Under the lock that settles, too. */
inline end_lost()
{
	atomic {
		t = 0;
		do
		:: t < tail && answer[t] == NOTHING ->
			if
			:: t < claim && begun[t] -> give(t, MAY_RUN)
#ifndef BROKEN_FORGET_RUN
			:: before[t] && !(t < claim && begun[t]) ->
				give(t, MAY_RUN)
#endif
			:: else -> give(t, NOT_RUN)
			fi;
			t++
		:: t < tail && answer[t] != NOTHING -> t++
		:: t == tail -> t = 0; break
		od
	}
}

proctype caller()
{
	byte i, t, seen;

	do
	:: i < SLOTS -> atomic { published[i] = true; tail = i + 1; i++ }
	:: i == SLOTS -> break
	od;
	i = 0;
	do
	:: i == SLOTS -> break
	:: atomic { i < SLOTS && answer[i] != NOTHING -> i++ }
	:: i < SLOTS && answer[i] == NOTHING ->
		seen = event;
		waiters = true;
		if
		:: answer[i] != NOTHING
#ifndef BROKEN_LOST_ASLEEP
		:: lost == LOST -> end_lost()
		:: answer[i] == NOTHING && lost != LOST ->
#else
		:: answer[i] == NOTHING ->
#endif
			atomic {
				if
				:: event == seen -> in_futex = true
				:: else
				fi;
				seen = 0
			};
			!in_futex
		fi
	od;
	i = 0;
	do
	:: i < SLOTS ->
		assert(answer[i] != OK || runs[i] > 0);
		i++
	:: i == SLOTS -> break
	od;
	finished = true
}

/* Nothing can move any more: then the caller has all its answers. */
proctype stuck()
{
	timeout -> assert(finished)
}

init
{
	atomic {
		process = 1;
		up = true;
		start_workers();
		run watcher();
		run keeper();
		run killer();
		run caller();
		run stuck()
	}
}
