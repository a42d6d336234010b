/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host that waits for answers against an engine that writes one.
 *
 * The engine stores an answer, or several, then takes away the word that says
 * that someone waits. The host reads the event word, says that it waits, looks
 * for answers again, and sleeps only if the event word is still what it read.
 * One wish costs one wake-up, however many answers come meanwhile. With
 * EVENT_FD it arms the event descriptor instead, looks once more, and blocks
 * until the descriptor is readable; the engine takes `armed` away when it
 * signals, so that one arming costs one system call.
 *
 * Producers that wait for room and the reaper that makes it use the same
 * steps with the words `room_waiters` (a count), `room` and `head`.
 *
 * Shown: the host gets every answer; it never sleeps on an answer that is
 * there. Variants that have to fail:
 *
 *   BROKEN_ORDER         the engine looks for waiters before its answer is
 *                        visible, as a release store would allow
 *   BROKEN_NO_LOOK       no look between saying so and sleeping
 *   BROKEN_PART_LOOK     that look does not cover every slot in flight
 *   BROKEN_COUNT_LATE    the host looks, then says that it waits (or arms)
 *   BROKEN_EVENT_LATE    the event word is read after the look
 *   BROKEN_NO_EVENT      the wake-up does not change the event word
 */
#ifndef SLOTS
#define SLOTS 3
#endif

bool answered[SLOTS];
bool taken[SLOTS];               /* the host's own */
byte reaped;
bool waiters;                    /* a wake-up is wanted */
byte event;
bool armed;
byte descriptor;                 /* an eventfd's count */
bool in_futex;

/* Look whether someone waits, and take the wish away. */
inline take(wanted)
{
#ifdef EVENT_FD
	d_step { wanted = armed; armed = false }
#else
	d_step { wanted = waiters; waiters = false }
#endif
}

proctype engine(byte first, last)
{
	byte i = first;
	bool wanted;

	do
	:: i < last -> answered[i] = true; i++ /* told with a later one */
	:: i <= last ->
#ifdef BROKEN_ORDER
		take(wanted);
		answered[i] = true;
#else
		answered[i] = true;
		take(wanted);
#endif
		if
		:: wanted ->
#ifdef EVENT_FD
			descriptor++
#else
#ifndef BROKEN_NO_EVENT
			event++;
#endif
			in_futex = false
#endif
		:: else
		fi;
		i++
	:: else -> break
	od
}

/* Collect every answer that is there; any: was there one? */
inline collect(any, limit)
{
	i = 0;
	any = false;
	do
	:: i < limit ->
		if
		:: answered[i] && !taken[i] ->
			taken[i] = true;
			reaped++;
			any = true
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0
}

#ifdef BROKEN_PART_LOOK
#define LOOK 1
#else
#define LOOK SLOTS
#endif

proctype host()
{
	byte i, seen;
	bool any;

	do
	:: reaped == SLOTS -> break
	:: else ->
		collect(any, SLOTS);
		if
		:: any || reaped == SLOTS -> goto next
		:: else
		fi;
#ifdef EVENT_FD
#ifdef BROKEN_COUNT_LATE
		collect(any, SLOTS);
		armed = true;
#else
		if
		:: armed
		:: else -> armed = true
		fi;
#ifdef BROKEN_NO_LOOK
		any = false;
#else
		collect(any, LOOK);
#endif
#endif
		if
		:: any
		:: else -> atomic { descriptor > 0 -> descriptor = 0 }
		fi;
#else
#ifdef BROKEN_COUNT_LATE
		seen = event;
		collect(any, SLOTS);
		waiters = true;
#else
#ifndef BROKEN_EVENT_LATE
		seen = event;
#endif
		waiters = true;
#ifdef BROKEN_NO_LOOK
		any = false;
#else
		collect(any, LOOK);
#endif
#ifdef BROKEN_EVENT_LATE
		seen = event;
#endif
#endif
		if
		:: any
		:: else ->
			atomic {
				if
				:: event == seen -> in_futex = true
				:: else
				fi
			};
			!in_futex
		fi;
#endif
next:
		skip
	od
}

proctype monitor()
{
	timeout;
	assert(reaped == SLOTS);
	assert(_nr_pr == 2)
}

init {
	atomic {
		run monitor();
		run host();
		run engine(0, 0);
		run engine(1, SLOTS - 1)
	}
}
