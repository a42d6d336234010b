/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The race between parking and publishing.
 *
 * Producers publish slots while workers run out of work and go to sleep. The
 * word `attention` counts who is asleep and who is attentive, that is, has
 * promised to look at every queue again before it sleeps. A producer makes a
 * system call only if someone sleeps and nobody is attentive, and then counts
 * one sleeper as attentive on the spot (hands it its attention), so that the
 * next producer makes none. Whoever wakes takes what was handed over, or
 * counts itself. A worker that starts a handler not known to be short takes
 * back its promise first; if it was the last to be attentive, it looks once
 * more and rings the bell for the others if it has to.
 *
 * Shown: when nothing can move any more, no published slot waits for a claim
 * while a worker sleeps, although long handlers may never return and nobody
 * sleeps with a time limit. Counts of `attention` stay true throughout.
 *
 * HELP: workers also wake others while they are attentive themselves.
 *
 * Steps between `;` interleave freely, as seq_cst operations may. What a
 * weaker order would allow, and each step left out, is a variant that has to
 * fail; tests/model/test_park.sh runs them all:
 *
 *   BROKEN_STAMP_ORDER   attention is loaded before the stamp is visible
 *   BROKEN_NO_LOOK       no look at the queues between attention and sleep
 *   BROKEN_ANNOUNCE_LATE the worker looks, then counts itself asleep
 *   BROKEN_BELL_LATE     the bell is read after the look
 *   BROKEN_NO_BELL       the wake-up does not change the bell
 *   BROKEN_BLIND_HAND    the ringer hands over without looking again
 *   BROKEN_NOT_TAKEN     who wakes counts itself, whatever was handed over
 *   BROKEN_NO_HANDOVER   a worker drops out for a long handler and says nothing
 *   BROKEN_EARLY_HANDOVER it looks for more work before it drops out
 */
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef QUEUES
#define QUEUES 2
#endif
#ifndef EACH
#define EACH 1                   /* slots that a producer publishes */
#endif
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#define ROOM (PRODUCERS * EACH + 1)

#define STAMP(q, t) stamp[(q) * ROOM + (t)]

bool stamp[QUEUES * ROOM];       /* published? by queue and ticket */
byte tail[QUEUES];
byte claim[QUEUES];

byte bell;
byte asleep;                     /* the two halves of `attention`: always */
byte attentive = WORKERS;        /* changed and read together, */
byte handed;                     /* and so is this */

bool in_futex[WORKERS];
byte finished;                   /* producers */
byte out;                        /* workers inside a long handler */

/* futex_wake(bell, 1): any one of those that sleep in the kernel */
inline futex_wake_one()
{
	if
	:: atomic { in_futex[0] -> in_futex[0] = false }
	:: atomic { in_futex[1] -> in_futex[1] = false }
#if WORKERS > 2
	:: atomic { in_futex[2] -> in_futex[2] = false }
	:: !in_futex[0] && !in_futex[1] && !in_futex[2]
#else
	:: !in_futex[0] && !in_futex[1]
#endif
	fi
}

#define ALL_ASLEEP (asleep > 0 && attentive == 0)

/* go: a compare and swap that succeeds only if it is still so */
inline ring(go, still)
{
	atomic {
#ifdef BROKEN_BLIND_HAND
		go = true;
#else
		go = still;
#endif
		if
		:: go -> asleep--; attentive++; handed++
		:: else
		fi
	};
	if
	:: go ->
#ifndef BROKEN_NO_BELL
		bell++;
#endif
		futex_wake_one()
	:: else
	fi;
	go = false
}

/* more: is there a stamp at the claim position of any queue? Two loads a
 * queue, and anything may happen between them. */
inline look(more)
{
	more = false;
	do
	:: atomic { !more && q < QUEUES -> c = claim[q] };
		atomic {
			if
			:: STAMP(q, c) -> more = true
			:: else -> q++
			fi;
			c = 0
		}
	:: atomic { more || q == QUEUES -> q = 0; break }
	od
}

proctype producer()
{
	byte i, q, t;
	bool nobody;

	do
	:: atomic {
		i < EACH ->
		i++;
		if
		:: q = 0
		:: q = QUEUES - 1
		fi;
		t = tail[q];
		tail[q]++
	   };
#ifdef BROKEN_STAMP_ORDER
		nobody = ALL_ASLEEP;
		d_step { STAMP(q, t) = true; q = 0; t = 0 };
#else
		d_step { STAMP(q, t) = true; q = 0; t = 0 };
		nobody = ALL_ASLEEP;
#endif
		if
		:: nobody -> ring(nobody, ALL_ASLEEP)
		:: else
		fi
	:: atomic { i == EACH -> break }
	od;
	finished++
}

proctype worker(byte me)
{
	byte q, c, seen;
	bool more;

	do
	:: atomic { q < QUEUES -> c = claim[q] };
		atomic {
			if
			:: STAMP(q, c)
			:: else -> c = 0; q++; goto next
			fi
		};
		atomic {
			/* compare and swap */
			if
			:: claim[q] == c -> claim[q] = c + 1; c = 0; q = 0
			:: else -> c = 0; q = 0; goto next
			fi;
			if
#ifdef HELP
			:: more = true
#else
			:: goto next /* a short handler: the promise stands */
#endif
			:: skip      /* a long one */
			fi
		};
#ifdef HELP
		/* a short one, with so much behind it, or so little known of
		 * it, that another worker is woken whoever is attentive */
		if
		:: more -> ring(more, asleep > 0); goto next
		:: else
		fi;
#endif
#ifdef BROKEN_EARLY_HANDOVER
		look(more);
		skip; /* spin jumps into no d_step */
		d_step { attentive--; out++; more = more && ALL_ASLEEP };
#else
		/* only the last attentive one has to look: the others will */
		d_step { attentive--; out++; more = ALL_ASLEEP };
#ifdef BROKEN_NO_HANDOVER
		more = false;
#else
		if
		:: more -> look(more)
		:: else
		fi;
#endif
#endif
		if
		:: more -> ring(more, ALL_ASLEEP)
		:: else
		fi;
		if
		:: d_step { attentive++; out--; more = false } /* it returns */
		:: true ->
end_hung:
			false /* it never does */
		fi

	:: atomic { q == QUEUES -> q = 0 };
		/* idle_ns is over: that may be any time, so nothing here
		 * stands for it */
#ifdef BROKEN_ANNOUNCE_LATE
		seen = bell;
		look(more);
		skip;
		d_step { asleep++; attentive-- };
#else
#ifndef BROKEN_BELL_LATE
		seen = bell;
#endif
		d_step { asleep++; attentive-- };
#ifdef BROKEN_NO_LOOK
		more = false;
#else
		look(more);
#endif
#ifdef BROKEN_BELL_LATE
		seen = bell;
#endif
#endif
		if
		:: more
		:: else ->
			atomic {
				if
				:: bell == seen -> in_futex[me] = true
				:: else
				fi;
				seen = 0
			};
end_asleep:
			!in_futex[me]
		fi;
#ifdef BROKEN_NOT_TAKEN
		d_step { asleep--; attentive++; more = false; seen = 0 };
#else
		d_step {
			if
			:: handed > 0 -> handed--
			:: else -> asleep--; attentive++
			fi;
			more = false;
			seen = 0
		};
#endif
next:
		skip
	od
}

/* A futex may return for no reason. Once is enough to find a count that a
 * return without a ring would spoil; more would hide a lost wake-up. */
proctype spurious()
{
	if
	:: atomic { in_futex[0] -> in_futex[0] = false }
	:: skip
	fi
}

proctype monitor()
{
	byte q;

	do
	:: atomic {
		asleep + attentive + out != WORKERS ->
		assert(false)
	   }
	:: timeout -> break
	od;
	assert(finished == PRODUCERS);
	assert(handed == 0 && attentive == 0);
	do
	:: q < QUEUES ->
		assert(!(asleep > 0 && STAMP(q, claim[q])));
		q++
	:: else -> break
	od
}

init {
	atomic {
		run worker(0);
		run worker(1);
#if WORKERS > 2
		run worker(2);
#endif
		run producer();
#if PRODUCERS > 1
		run producer();
#endif
#ifdef SPURIOUS
		run spurious();
#endif
		run monitor()
	}
}
