/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that waits for a counter against who raises it: src/engine/cpu/jobs.c.
 *
 * Who waits for a value pushes itself on the list of the bucket of that value,
 * then looks at the counter again; if it is reached, it takes the whole list.
 * Who raises adds to the counter, then looks into the bucket of the value that
 * it passed, and takes the whole list. Who took a list makes ready what need
 * not wait, pushes the rest back, looks at the counter again for each, and
 * starts over if one of them is reached. Buckets are shared by values, so that
 * a list may hold jobs that wait for something else; here all are in one.
 *
 * A failure has no value: who fails sets the highest bit, adds, and asks for a
 * sweep, which takes the list as well.
 *
 * Raisers count who waits first, and leave it at that if there is nobody.
 *
 * Shown: when all is quiet, no job waits whose value is reached, or whose
 * counter failed, and none was made ready twice. Variants that have to fail:
 *
 *   BROKEN_NO_LOOK      who waits does not look again
 *   BROKEN_NO_RELOOK    who pushes back does not look again
 *   BROKEN_LIST_FIRST   who raises takes the list, then adds
 *   BROKEN_COUNT_LATE   who waits counts itself after it has looked
 *   BROKEN_NO_SWEEP     a failure asks for no sweep
 *   BROKEN_SWEEP_FIRST  ... asks for it before the bit is set
 */
#ifndef JOBS
#define JOBS 3
#endif
#define NONE 255

byte counter;             /* bits 0..62 */
bool failed;              /* bit 63 */
byte waiting;             /* jobs in buckets */
byte sweep, swept;
byte value[JOBS];         /* what each waits for */
byte head = NONE;         /* of the bucket */
byte next[JOBS];
byte ready[JOBS];         /* times it was made ready */
bool in_list[JOBS];       /* for the check alone */

#define reached(job) (counter >= value[job] || failed)

inline push(job, seen)
{
	seen = head;
	do
	:: true ->
		next[job] = seen;
		atomic {
			if
			:: head == seen ->
				head = job;
				in_list[job] = true;
				break
			:: else -> seen = head
			fi
		}
	od
}

/* Take the list, and look at what is in it. */
inline take(list, after, seen, again)
{
	do
	:: true ->
		again = false;
		d_step { list = head; head = NONE }
		do
		:: list == NONE -> break
		:: else ->
			after = next[list];
			if
			:: reached(list) ->
				waiting--;
				d_step {
					in_list[list] = false;
					ready[list]++;
					assert(ready[list] == 1)
				}
			:: else ->
				in_list[list] = false;
				push(list, seen);
#ifndef BROKEN_NO_RELOOK
				if
				:: reached(list) -> again = true
				:: else
				fi
#endif
			fi;
			list = after
		od;
		if
		:: again
		:: else -> break
		fi
	od
}

proctype waiter(byte me)
{
	byte list, after, seen;
	bool again;

	/* the look at first is left out: it only saves the way */
#ifndef BROKEN_COUNT_LATE
	waiting++;
#endif
	push(me, seen);
#ifndef BROKEN_NO_LOOK
	if
	:: reached(me) -> take(list, after, seen, again)
	:: else
	fi;
#endif
#ifdef BROKEN_COUNT_LATE
	waiting++
#endif
}

proctype raiser(bool fails)
{
	byte list, after, seen;
	bool again;

#ifdef BROKEN_LIST_FIRST
	take(list, after, seen, again);
#endif
#ifdef BROKEN_SWEEP_FIRST
	if
	:: fails -> sweep++
	:: else
	fi;
#endif
	if
	:: fails -> failed = true
	:: else
	fi;
	counter++;
	if
	:: waiting == 0 -> goto done
	:: else
	fi;
#ifndef BROKEN_NO_SWEEP
#ifndef BROKEN_SWEEP_FIRST
	if
	:: fails -> sweep++; goto done
	:: else
	fi;
#endif
#endif
#ifndef BROKEN_LIST_FIRST
	if
	:: !fails && head != NONE -> take(list, after, seen, again)
	:: else
	fi;
#endif
done:
	skip
}

proctype sweeper()
{
	byte list, after, seen, wanted;
	bool again;

end:	do
	:: atomic { sweep != swept -> wanted = sweep }
		swept = wanted;
		take(list, after, seen, again)
	od
}

proctype monitor()
{
	byte i;

	timeout;
	do
	:: i < JOBS ->
		assert(ready[i] == 1 || !reached(i));
		assert(ready[i] == 1 || in_list[i]);
		i++
	:: else -> break
	od
}

init {
	atomic {
		/* two values in one bucket */
		value[0] = 1;
		value[1] = 2;
#if JOBS > 2
		value[2] = 1;
#endif
		run monitor();
		run waiter(0);
		run waiter(1);
#if JOBS > 2
		run waiter(2);
#endif
		run raiser(false); /* a second one: too many states */
#ifdef FAILS
		run sweeper();
		run raiser(true)
#elif JOBS < 3
		run raiser(false)
#endif
	}
}
