/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One ring: producers get, fill and publish; workers claim by compare-and-swap
 * and answer in place; the reaper frees.
 *
 * As small as it can be and still show everything: 2 entries, so that every
 * lap is short; marks that tell two laps apart, so that they wrap at once;
 * tickets that start just under the wrap of their counter; 2 units a
 * slot, since all units but the first are alike. Stores of one slot become
 * visible in any order, and a worker reads its units in any order, each unit
 * whole: that is all the vendor promises for a device.
 *
 * Shown: no torn or old slot is ever taken for whole; every ticket ends once
 * and is reaped once, with its own value; at the end nothing is left over and
 * nobody waits for ever.
 *
 * STOP: somebody stops the queue at any time. FETCH_ADD: workers take a ticket
 * first and then wait for its slot, as a resident kernel does. Variants that
 * have to fail:
 *
 *   BROKEN_ONE_MARK      only unit 0 carries a mark
 *   BROKEN_NO_LAP        the mark does not change from lap to lap
 *   BROKEN_CLAIM         load and store instead of compare-and-swap
 *   BROKEN_VALUE_LATE    the answer's mark becomes visible before its value
 *   BROKEN_FREE_EARLY    the slot is freed before its answer was read
 *   BROKEN_NO_ROOM       get does not look at what is still in flight
 *   BROKEN_FRESH         the ring starts zeroed, whatever the first ticket
 *   FETCH_ADD, MARKS=2   marks that wrap sooner than claims may run ahead
 */
#define ENTRIES 2
#define UNITS 2
#define PRODUCERS 2
#ifndef FIRST
#define FIRST 253
#endif
#ifndef EACH
#define EACH 3
#endif
#define TICKETS (PRODUCERS * EACH)

/* How many laps the marks tell apart. Two are enough as long as nobody holds a
 * ticket whose index is still two laps behind, as FETCH_ADD lets them. */
#ifndef MARKS
#ifdef FETCH_ADD
#define MARKS 4
#else
#define MARKS 2
#endif
#endif
#ifdef BROKEN_NO_LAP
#define MARK(t) 1
#else
#define MARK(t) ((((t) / ENTRIES) + 1) % MARKS)
#endif
#define NUMBER(t) (((t) - FIRST) & 255) /* 0, 1, 2 ... in order */
#define INDEX(t) ((t) % ENTRIES)
#define UNIT(t, u) (INDEX(t) * UNITS + (u))

byte tail = FIRST, head = FIRST, claim = FIRST;
byte unit_mark[ENTRIES * UNITS];
byte unit_data[ENTRIES * UNITS]; /* the ticket stands for the content */
byte answer_mark[ENTRIES];
byte answer_value[ENTRIES];
bool closed;
byte finished;                   /* producers */
bool ended[TICKETS];             /* answered, by number */

inline store_unit(t, u)
{
	d_step { unit_data[UNIT(t, u)] = t; unit_mark[UNIT(t, u)] = MARK(t) }
}

/* whole: it carries the mark of ticket t, and so did those before it */
inline load_unit(t, u, whole, data)
{
	d_step {
		if
		:: unit_mark[UNIT(t, u)] != MARK(t) -> whole = false
		:: else
		fi;
		data = unit_data[UNIT(t, u)]
	}
}

proctype producer()
{
	byte i, t;
	bool room;

	do
	:: atomic { i == EACH || closed -> break }
#ifdef BROKEN_NO_ROOM
	:: atomic { i < EACH -> t = tail };
		room = true;
#else
	:: atomic {
		i < EACH && ((tail - head) & 255) < ENTRIES -> t = tail
	   };
		room = ((t - head) & 255) < ENTRIES;
#endif
		d_step {
			if
			:: room && tail == t -> tail = t + 1
			:: else -> room = false
			fi
		};
		/* published, whatever the stop does meanwhile */
		if
		:: room -> store_unit(t, 1); store_unit(t, 0); i++
		:: room -> store_unit(t, 0); store_unit(t, 1); i++
		:: else
		fi;
		d_step { t = 0; room = 0 }
	od;
	finished++
}

/* One slot is in our hands: end it. Whether it is run or cancelled is a look
 * at `mode` here, by whoever claimed it; the stop answers nothing itself. */
inline end_slot()
{
	d_step {
		assert(d0 == c && d1 == c);
		d0 = 0;
		d1 = 0
	};
	d_step {
		assert(NUMBER(c) < TICKETS && !ended[NUMBER(c)]);
		ended[NUMBER(c)] = true;
#ifdef BROKEN_VALUE_LATE
		answer_mark[INDEX(c)] = MARK(c)
#else
		answer_value[INDEX(c)] = c
#endif
	};
#ifdef BROKEN_VALUE_LATE
	answer_value[INDEX(c)] = c
#else
	answer_mark[INDEX(c)] = MARK(c)
#endif
}

proctype worker()
{
	byte c, d0, d1;
	bool whole;

	do
	:: atomic {
		finished == PRODUCERS && NUMBER(claim) >= NUMBER(tail) -> break
	   }
#ifdef FETCH_ADD
	:: atomic {
		NUMBER(claim) < TICKETS &&
		!(finished == PRODUCERS && NUMBER(claim) >= NUMBER(tail)) ->
		c = claim;
		claim++
	   };
		do
		:: atomic {
			/* nobody will ever publish this one */
			finished == PRODUCERS && NUMBER(c) >= NUMBER(tail) ->
			goto done
		   }
		:: atomic {
			unit_mark[UNIT(c, 0)] == MARK(c) ||
			unit_mark[UNIT(c, 1)] == MARK(c) -> whole = true
		   };
			if
			:: load_unit(c, 0, whole, d0); load_unit(c, 1, whole, d1)
			:: load_unit(c, 1, whole, d1); load_unit(c, 0, whole, d0)
			fi;
			if
			:: whole -> break
			:: else
			fi
		od;
		end_slot();
#else
	/* Not to look while nothing is there is no loss: a unit that was read
	 * without its mark is refused, whatever comes after. */
	:: atomic {
		unit_mark[UNIT(claim, 0)] == MARK(claim) ||
		unit_mark[UNIT(claim, 1)] == MARK(claim) ->
		c = claim;
		whole = true
	   };
		if
		:: load_unit(c, 0, whole, d0); load_unit(c, 1, whole, d1)
		:: load_unit(c, 1, whole, d1); load_unit(c, 0, whole, d0)
		fi;
#ifdef BROKEN_ONE_MARK
		whole = unit_mark[UNIT(c, 0)] == MARK(c);
#endif
#ifdef BROKEN_CLAIM
		whole = whole && claim == c;
		if
		:: whole -> claim = c + 1
		:: else
		fi;
#else
		d_step {
			whole = whole && claim == c;
			if
			:: whole -> claim = c + 1
			:: else -> d0 = 0; d1 = 0
			fi
		};
#endif
		if
		:: whole -> end_slot()
		:: else
		fi;
#endif
		d_step { whole = 0; c = 0; d0 = 0; d1 = 0 }
	od;
done:
	skip
}

proctype reaper()
{
	byte next = FIRST, value;

	do
	:: atomic { finished == PRODUCERS && next == tail -> break }
	:: next != tail && answer_mark[INDEX(next)] == MARK(next) ->
#ifdef BROKEN_FREE_EARLY
		head = next + 1;
#endif
		d_step {
			/* nobody else can have taken it */
			value = answer_value[INDEX(next)];
			assert(value == next);
			value = 0
		};
#ifdef BROKEN_FREE_EARLY
		next++
#else
		d_step { next++; head = next }
#endif
	od
}

/* mk_queue_stop(): no more slots. It may come at any time, also when all is
 * over; what was got before is still published. */
proctype stopper()
{
	closed = true
}

proctype monitor()
{
	byte n;

	timeout;
	/* every process has ended by itself: nothing waits for ever */
	assert(_nr_pr == 2);
	assert(head == tail);
	do
	:: n < TICKETS ->
		assert(ended[n] == (n < NUMBER(tail)));
		n++
	:: else -> break
	od
}

init {
	byte i;

	atomic {
		/* every index holds the mark of the lap before its first */
		do
		:: i < ENTRIES ->
#ifndef BROKEN_FRESH
			unit_mark[UNIT(FIRST + i, 0)] =
				MARK(FIRST + i - ENTRIES);
			unit_mark[UNIT(FIRST + i, 1)] =
				MARK(FIRST + i - ENTRIES);
			answer_mark[INDEX(FIRST + i)] =
				MARK(FIRST + i - ENTRIES);
#endif
			i++
		:: else -> break
		od;
		i = 0;
		run monitor();
		run reaper();
		run worker();
		run worker();
		run producer();
		run producer();
#ifdef STOP
		run stopper()
#endif
	}
}
