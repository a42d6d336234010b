/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots that wait for counters and raise them.
 *
 * Up to eight neighbouring slots are looked at together, as they were read: a
 * bundle. Those that are ready run; those that are not leave their worker:
 * what was read goes into their jobs, and one of them into the list of the
 * value that they wait for, as pool.cuh has it. Who raises a counter
 * to that value takes the list, and runs the first of it without a word to
 * anybody. So a chain of slots is run by one worker for as long as it goes.
 */
#ifndef MK_CUDA_WAIT_CUH
#define MK_CUDA_WAIT_CUH

#define MKD_KIND_WAIT 7u /* not ready */

struct mkd_bundle {
	uint64_t base;     /* relative ticket of seat 0 */
	uint32_t todo;     /* seats that have neither ended nor left */
	uint32_t stored;   /* those whose jobs have the units */
	struct mkd_unit v, x; /* this lane's, of slot and ext */
	/* of the lane's seat; the slot in its leader alone */
	struct mkd_slot s;
	struct mk_ref ref;
	uint64_t value;    /* waited for */
	uint32_t word;
	uint32_t up[2];    /* words that this lane raises */
	uint32_t ready;    /* kind, once it need not wait */
	/* where words of the buffer that this lane last looked for lie: good
	 * until the worker sees the next epoch */
	struct mk_ref known;
	uint64_t at, bytes;
	bool closed;       /* it may only be read */
	struct mkd_job *found; /* list that this lane took */
	uint64_t jobs, parks; /* of w->place */
	bool dirty;        /* something was written that must be seen first */
};

/* ---- counters ---------------------------------------------------------- */

/* The address of a word of the seat's buffer; 0: why not. */
MKD_FN uint64_t mkd_counter(const struct mkd_warp *w, struct mkd_bundle *b,
			    uint32_t word, bool write, int32_t *why)
{
	struct mk_task look;

	*why = 0;
	if (b->ref.index != b->known.index ||
	    b->ref.generation != b->known.generation || !b->at) {
		look.windows = (const struct mk_window *)w->l->windows;
		look.window_count = w->l->window_count;
		look.error = 0;
		b->at = (uint64_t)mk_window_at(&look, b->ref, 0, 0, 0);
		*why = look.error;
		if (!b->at)
			return 0;
		b->known = b->ref;
		b->bytes = look.windows[b->ref.index].bytes;
		b->closed = look.windows[b->ref.index].flags & 1u;
	}
	if (8ull * word + 8u > b->bytes)
		*why = -MK_ERANGE;
	else if (b->at & 7u)
		*why = -MK_EALIGN;
	else if (write && b->closed)
		*why = -MK_EACCESS;
	return *why ? 0 : b->at + 8ull * word;
}

/* ---- lists that were taken ---------------------------------------------- */

/* What lanes took: to others, unlooked at. */
MKD_SLOW void mkd_found_tell(struct mkd_warp *w, struct mkd_bundle *b)
{
	mkd_wait_spread(mkd_flow(), b->found, w->index + w->lane);
	b->found = (struct mkd_job *)0;
	mkd_syncwarp();
	if (!w->lane)
		mkd_bell(MKD_WORK_LOOK);
}

/* ---- a bundle ----------------------------------------------------------- */

/* The queue of the bundle becomes the warp's. */
MKD_FN void mkd_bundle_enter(struct mkd_warp *w, struct mkd_bundle *b,
			     uint32_t place)
{
	if (w->place != place || w->known_place != place) {
		mkd_enter(w, place);
		b->jobs = 0;
	}
	if (!b->jobs) {
		b->jobs = mkd_load64(&w->q->jobs);
		b->parks = mkd_load64(&w->q->parks);
	}
}

MKD_FN struct mkd_job *mkd_bundle_job(const struct mkd_warp *w,
				     const struct mkd_bundle *b, uint32_t seat)
{
	uint64_t t = mkd_ticket(w, b->base + seat) & w->mask;

	return (struct mkd_job *)(b->jobs + t * sizeof(struct mkd_job));
}

/* A word of the seat's units. */
#define MKD_SEAT_WORD(w, unit, field, quarter) \
	mkd_shfl((unit).field, ((w)->lane & ~3u) + (quarter))

/* Take the units apart. */
MKD_FN void mkd_bundle_read(struct mkd_warp *w, struct mkd_bundle *b)
{
	const uint32_t q = w->quarter;
	uint32_t flags = MKD_SEAT_WORD(w, b->v, y, 0) >> 8;
	uint32_t y2, z2, w2, x3, low, high;
	bool on = flags & MK_SLOT_RAISE;

	b->ref.index = MKD_SEAT_WORD(w, b->x, x, 1);
	b->ref.generation = MKD_SEAT_WORD(w, b->x, y, 1);
	low = MKD_SEAT_WORD(w, b->x, z, 1);
	high = MKD_SEAT_WORD(w, b->x, w, 1);
	b->value = low | (uint64_t)high << 32;
	b->word = MKD_SEAT_WORD(w, b->x, x, 2);
	y2 = MKD_SEAT_WORD(w, b->x, y, 2);
	z2 = MKD_SEAT_WORD(w, b->x, z, 2);
	w2 = MKD_SEAT_WORD(w, b->x, w, 2);
	x3 = MKD_SEAT_WORD(w, b->x, x, 3);
	/* the first that is none ends the list */
	z2 = y2 == MK_NO_COUNTER ? y2 : z2;
	w2 = z2 == MK_NO_COUNTER ? z2 : w2;
	x3 = w2 == MK_NO_COUNTER ? w2 : x3;
	b->up[0] = !on ? MK_NO_COUNTER : q == 0 ? y2 : q == 1 ? z2 :
		   q == 2 ? w2 : x3;
	y2 = MKD_SEAT_WORD(w, b->x, y, 3);
	z2 = MKD_SEAT_WORD(w, b->x, z, 3);
	w2 = MKD_SEAT_WORD(w, b->x, w, 3);
	y2 = x3 == MK_NO_COUNTER ? x3 : y2;
	z2 = y2 == MK_NO_COUNTER ? y2 : z2;
	w2 = z2 == MK_NO_COUNTER ? z2 : w2;
	b->up[1] = !on ? MK_NO_COUNTER : q == 0 ? y2 : q == 1 ? z2 :
		   q == 2 ? w2 : MK_NO_COUNTER;
}

/* Who of todo may run at all, and as what; once for each time that the
 * bundle is taken up. */
MKD_SLOW void mkd_bundle_judge(struct mkd_warp *w, struct mkd_bundle *b)
{
	uint32_t next = (w->lane + 1u) & 31u;
	uint64_t a = mkd_shfl(b->v.x, next) |
		     (uint64_t)mkd_shfl(b->v.y, next) << 32;
	bool mine = b->todo >> w->lane & 1u;
	struct mkd_slot *s = &b->s;

	s->relative = b->base + w->group;
	s->ticket = mkd_ticket(w, s->relative);
	s->opcode = s->tenant = s->priority = s->flags = s->entry = 0;
	s->tiles = 1;
	s->tile = 0;
	s->result = 0;
	s->value = 0;
	s->deadline_ns = ~(uint64_t)0;
	s->job = (struct mkd_job *)0;
	s->refused = s->ends = false;
	b->ready = MKD_KIND_NONE;
	mkd_bundle_read(w, b);
	if (!mine)
		return;
	mkd_head(w, &b->v, s);
	if (s->flags & MK_SLOT_DEADLINE)
		s->deadline_ns = b->x.x | (uint64_t)b->x.y << 32;
	s->result = mkd_refuse(w, s);
	s->refused = s->result != 0;
	b->ready = s->refused ? (uint32_t)MKD_KIND_DONE : mkd_kind_of(a, s);
	if (s->tiles > 1u && !s->refused && s->opcode != MK_OP_NOP)
		b->ready = MKD_KIND_HEAVY;
}

/* What the seat comes to now. */
MKD_FN uint32_t mkd_bundle_look(struct mkd_warp *w, struct mkd_bundle *b,
				uint64_t *now)
{
	uint64_t at;
	int32_t why;

	if (!(b->todo >> w->lane & 1u))
		return MKD_KIND_NONE;
	if (b->s.refused || !(b->s.flags & MK_SLOT_WAIT))
		return b->ready;
	at = mkd_counter(w, b, b->word, false, &why);
	if (at) {
		/* pairs with mkd_bundle_raise() */
		*now = mkd_load64((const uint64_t *)at);
		why = *now & MK_COUNTER_FAILED ? -MK_EUPSTREAM : 0;
		if (!why && *now < b->value)
			return MKD_KIND_WAIT;
	}
	if (!why)
		return b->ready;
	b->s.result = why;
	b->s.value = 0;
	b->s.refused = true;
	return MKD_KIND_DONE;
}

/* ---- waiting ------------------------------------------------------------ */

/* Keep what was read in the jobs of these seats. */
MKD_FN void mkd_bundle_store(struct mkd_warp *w, struct mkd_bundle *b,
			     uint32_t seats)
{
	uint64_t park = b->parks + (mkd_ticket(w, b->base + w->group) &
				    w->mask) * sizeof(struct mkd_park);
	struct mkd_job *job = mkd_bundle_job(w, b, w->group);

	if ((seats & ~b->stored) >> (w->lane & ~3u) & 1u) {
		mkd_store16(park + 16u * w->quarter, b->v);
		mkd_store16(park + 64u + 16u * w->quarter, b->x);
		if (!w->quarter)
			mkd_store64(&job->open, MKD_PARKED);
	}
	b->stored |= seats;
}

/* These slots wait no longer: their jobs are as new. */
MKD_FN void mkd_bundle_begun(struct mkd_warp *w, struct mkd_bundle *b,
			     uint32_t seats)
{
	if ((seats & b->stored) >> w->lane & 1u)
		mkd_store64(&mkd_bundle_job(w, b, w->group)->open, 0);
}

/* What others have to know of the lane's seat, which speaks for `members`. */
MKD_FN void mkd_bundle_node(struct mkd_warp *w, struct mkd_bundle *b,
			    struct mkd_job *job, uint32_t members)
{
	job->queue = (uint64_t)w->q;
	job->root = job;
	job->wait.counter = b->ref;
	job->wait.value = b->value;
	job->wait.word = b->word;
	job->wait.on = 1;
	job->members = members;
	job->ticket = b->s.relative;
}

/* These seats of the bundle, one bit each, with the lowest as their node. */
MKD_FN uint32_t mkd_members(uint32_t seats, uint32_t lowest)
{
	return mkd_seats_pack(seats) >> (lowest >> 2);
}

/* Seats that may run: others are to take them, each by itself. */
MKD_SLOW void mkd_bundle_give(struct mkd_warp *w, struct mkd_bundle *b,
			    uint32_t seats)
{
	struct mkd_job *job = mkd_bundle_job(w, b, w->group);

	mkd_bundle_store(w, b, seats);
	mkd_syncwarp();
	if (seats >> w->lane & 1u) {
		mkd_bundle_node(w, b, job, 1);
		mkd_fence();
		mkd_job_ready(mkd_home(w->index + w->group), job);
	}
	mkd_syncwarp();
	if (!w->lane)
		mkd_bell(MKD_WORK_LOOK);
	b->todo &= ~seats;
}

/* Which of these seats wait for a counter that one of `runs` raises, or come
 * after a seat that does? */
MKD_FN uint32_t mkd_bundle_follow(struct mkd_warp *w, struct mkd_bundle *b,
				  uint32_t waits, uint32_t runs)
{
	uint32_t after = mkd_ballot((b->s.flags & MK_SLOT_AFTER) != 0);
	uint32_t held = 0;

	runs *= 15u; /* all four lanes of them */
	for (uint32_t left = waits; left; left &= left - 1u) {
		uint32_t at = mkd_lowest(left);
		uint32_t index = mkd_shfl(b->ref.index, at);
		uint32_t generation = mkd_shfl(b->ref.generation, at);
		uint32_t word = mkd_shfl(b->word, at);
		uint32_t of = after >> at & 1u ? runs | held * 15u : runs;

		if (mkd_ballot((of >> w->lane & 1u) &&
			       b->ref.index == index &&
			       b->ref.generation == generation &&
			       (b->up[0] == word || b->up[1] == word)))
			held |= 1u << at;
	}
	return held;
}

/* One of the seats waits in the list of its value, and with it those whose
 * counter has come no further when it is ready, and those that come after one
 * of these. Returns the others. */
MKD_FN uint32_t mkd_bundle_park_some(struct mkd_warp *w, struct mkd_bundle *b,
				     uint32_t seats)
{
	struct mkd_flow *f = mkd_flow();
	uint32_t low = mkd_lowest(seats), together;
	struct mk_ref ref;
	uint64_t value, *bucket;
	struct mkd_job *job;
	uint32_t word;
	int32_t why;

	ref.index = mkd_shfl(b->ref.index, low);
	ref.generation = mkd_shfl(b->ref.generation, low);
	word = mkd_shfl(b->word, low);
	value = mkd_shfl64(b->value, low);
	together = mkd_ballot((seats >> w->lane & 1u) &&
			      b->ref.index == ref.index &&
			      b->ref.generation == ref.generation &&
			      b->word == word && b->value >= value);
	together |= mkd_bundle_follow(w, b, seats & ~together &
				      mkd_ballot((b->s.flags &
						  MK_SLOT_AFTER) != 0),
				      together);
	if (together >> w->lane & 1u)
		mkd_wait_due(b->s.deadline_ns);
	if (w->lane == low) {
		uint64_t at = mkd_counter(w, b, word, false, &why);
		uint64_t now;

		job = mkd_bundle_job(w, b, w->group);
		mkd_bundle_node(w, b, job, mkd_members(together, low));
		mkd_add32(&f->waiting, 1);
		bucket = mkd_wait_bucket(f, ref, word, value);
		mkd_fence();
		mkd_list_push(bucket, job, job);
		mkd_fence();
		/* who raised it meanwhile may not have seen us */
		now = at ? mkd_load64((const uint64_t *)at) : ~(uint64_t)0;
		if (now >= value) /* or failed */
			b->found = (struct mkd_job *)mkd_swap64(bucket, 0);
	}
	b->todo &= ~together;
	return seats & ~together;
}

MKD_SLOW void mkd_bundle_park(struct mkd_warp *w, struct mkd_bundle *b,
			      uint32_t seats)
{
	mkd_bundle_store(w, b, seats);
	mkd_syncwarp();
	while (seats) {
		if (mkd_ballot(b->found != (struct mkd_job *)0))
			mkd_found_tell(w, b);
		seats = mkd_bundle_park_some(w, b, seats);
	}
}

/* ---- raising ------------------------------------------------------------ */

/*
 * The slots of these seats have ended: raise what they raise. Every value of
 * a counter is passed by one raise alone, which takes the list of those that
 * wait for it.
 */
MKD_SLOW void mkd_bundle_raise(struct mkd_warp *w, struct mkd_bundle *b,
			     uint32_t ended)
{
	bool mine = ended >> (w->lane & ~3u) & 1u, bad;
	uint64_t at[2] = { 0, 0 }, value = 0;
	int32_t why = 0, first = 0;

	for (uint32_t i = 0; i < 2u; i++)
		if (mine && b->up[i] != MK_NO_COUNTER && !why)
			at[i] = mkd_counter(w, b, b->up[i], true, &why);
	/* one that cannot be raised makes the slot fail */
	if (mkd_ballot(why != 0)) {
		for (uint32_t q = 0; q < 4u; q++) {
			int32_t code = (int32_t)mkd_shfl(
				(uint32_t)why, (w->lane & ~3u) + q);

			first = first ? first : code;
		}
		if (mine && first && b->s.result >= 0)
			b->s.result = first;
	}
	bad = mkd_shfl(b->s.result < 0, w->lane & ~3u) != 0;
	if (b->dirty)
		mkd_fence();
	b->dirty = false;
	for (uint32_t i = 0; i < 2u; i++) {
		if (!mkd_ballot(at[i] != 0))
			continue;
		if (at[i] && bad)
			mkd_or64((uint64_t *)at[i], MK_COUNTER_FAILED);
		if (at[i])
			value = mkd_add64((uint64_t *)at[i], 1);
		/* while that is on its way: what was found before */
		if (mkd_ballot(b->found != (struct mkd_job *)0))
			mkd_found_tell(w, b);
		value = (value & ~MK_COUNTER_FAILED) + 1u;
		if (at[i])
			b->found = (struct mkd_job *)mkd_swap64(
				mkd_wait_bucket(mkd_flow(), b->ref, b->up[i],
						value), 0);
		if (at[i] && bad)
			mkd_bell(MKD_WORK_SWEEP);
	}
}

/*
 * No-ops of a chain: each waits for the one counter that the one before it
 * raises. As many as follow from what the counter has now end at once, and
 * one add raises it for all of them. Returns them.
 */
MKD_FN uint32_t mkd_bundle_chain(struct mkd_warp *w, struct mkd_bundle *b,
				 uint32_t waits, uint64_t now)
{
	bool mine = b->todo >> w->lane & 1u;
	uint32_t low = mkd_lowest(b->todo), rank, seats, second, word;
	struct mkd_ending ending;
	struct mk_ref ref;
	uint64_t at = 0, old;
	int32_t why;

	if (mkd_bits(b->todo) < 2u || (waits >> low & 1u))
		return 0;
	/* raises more than one counter */
	second = mkd_ballot(b->up[0] != MK_NO_COUNTER && w->quarter == 1u);
	rank = mkd_bits(b->todo & ((1u << w->lane) - 1u));
	now = mkd_shfl64(now, low);
	ref.index = mkd_shfl(b->ref.index, low);
	ref.generation = mkd_shfl(b->ref.generation, low);
	word = mkd_shfl(b->word, low);
	seats = mkd_ballot(
		mine && b->ready == MKD_KIND_DONE && !b->s.refused &&
		b->ref.index == ref.index &&
		b->ref.generation == ref.generation && b->word == word &&
		b->up[0] == word &&
		(b->s.flags & MK_SLOT_WAIT) && now + rank >= b->value &&
		!(second >> (w->lane + 1u) & 1u));
	/* the first that is none of them ends the chain */
	seats &= (1u << mkd_lowest((b->todo & ~seats) | 0x80000000u)) - 1u;
	if (mkd_bits(seats) < 2u)
		return 0;
	if (w->lane == low)
		at = mkd_counter(w, b, b->word, true, &why);
	if (!mkd_shfl64(at, low))
		return 0;
	mkd_bundle_begun(w, b, seats);
	old = at ? mkd_add64((uint64_t *)at, mkd_bits(seats)) : 0;
	old = mkd_shfl64(old, low) & ~MK_COUNTER_FAILED;
	if (seats >> w->lane & 1u)
		mkd_answer_one(w, &b->s);
	ending = mkd_ending(&b->s);
	mkd_count(w, seats >> w->lane & 1u, &ending);
	if (mkd_ballot(b->found != (struct mkd_job *)0))
		mkd_found_tell(w, b);
	if (seats >> w->lane & 1u)
		b->found = (struct mkd_job *)mkd_swap64(
			mkd_wait_bucket(mkd_flow(), b->ref, b->word,
				       old + rank + 1u), 0);
	return seats;
}

/* ---- running ------------------------------------------------------------ */

/* Seats of handlers that a lane runs, side by side. Returns those that have
 * ended. */
MKD_SLOW uint32_t mkd_bundle_light(struct mkd_warp *w, struct mkd_bundle *b,
				   uint32_t seats)
{
	bool mine = seats >> w->lane & 1u, ends = false, dirty = false;
	struct mkd_args args;
	struct mk_task task;
	struct mkd_here here;
	uint32_t spawned = 0;

	mkd_gather(&b->v, w->lane & ~3u, &args);
	if (!w->lane)
		mkd_store32(&w->me->busy, MKD_BUSY_LIGHT);
	mkd_acquire();
	if (mine) {
		mkd_task(w, &task, b->s.ticket, b->s.deadline_ns, 0, 1);
		task.scratch_bytes =
			(mkd_launched.scratch_bytes / MKD_SEATS) & ~15u;
		task.scratch += w->group * task.scratch_bytes;
		mkd_here(w, &b->s, &task, &here);
		b->s.result = mkd_dispatch(MKD_ENTRY_HANDLER(b->s.entry),
					   &task, args.word);
		b->s.value = task.value;
		dirty = task.dirty != 0;
		if (dirty)
			mkd_release();
		ends = mkd_after(&task, &here, &b->s);
		spawned = here.spawned;
	}
	mkd_syncwarp();
	if (!w->lane)
		mkd_store32(&w->me->busy, 0);
	mkd_made_count(w, spawned);
	b->dirty |= mkd_ballot(dirty) != 0;
	return mkd_ballot(ends);
}

/* tiles.cuh: a slot of several tiles begins. True if it has ended, too. */
MKD_SLOW bool mkd_tiles_begin(struct mkd_warp *w, struct mkd_slot *s,
			      const struct mkd_args *args);

/* made.cuh: all that was made for a slot has ended, here: answer it. */
MKD_SLOW void mkd_root_end(struct mkd_warp *w, struct mkd_bundle *b,
			   struct mkd_job *job);

/* One that takes the warp, or more. True: it has ended. */
MKD_SLOW bool mkd_bundle_heavy(struct mkd_warp *w, struct mkd_bundle *b,
			       uint32_t leader)
{
	struct mkd_args args;
	struct mk_task task;
	struct mkd_here here;
	struct mkd_slot s = b->s;
	bool dirty;

	mkd_gather(&b->v, leader, &args);
	mkd_spread_slot(&s, leader);
	mkd_announce(w, &s, true);
	if (s.tiles > 1u) {
		dirty = true;
		s.ends = mkd_tiles_begin(w, &s, &args);
	} else {
		dirty = mkd_run_wide_away(w, &args, &s, &task, &here);
		if (s.opcode == MK_OP_SHUTDOWN &&
		    mkd_shfl((uint32_t)s.result, 0) == 0)
			mkd_shut(w);
		if (!w->lane && dirty)
			mkd_release();
		mkd_after_wide(w, &s, &task, &here);
	}
	b->dirty |= dirty;
	s.result = (int32_t)mkd_shfl((uint32_t)s.result, 0);
	s.value = mkd_shfl64(s.value, 0);
	if (w->lane == leader) {
		b->s.result = s.result;
		b->s.value = s.value;
	}
	mkd_announce(w, &s, false);
	return s.ends;
}

/* One round: what is ready runs, or the lowest of it. */
MKD_FN void mkd_bundle_step(struct mkd_warp *w, struct mkd_bundle *b)
{
	uint64_t now = 0;
	uint32_t kind = mkd_bundle_look(w, b, &now);
	uint32_t waits = mkd_ballot(kind == MKD_KIND_WAIT);
	uint32_t done, light, heavy, runs, ended;

	ended = mkd_bundle_chain(w, b, waits, now);
	b->todo &= ~ended;
	if (ended)
		return;
	done = mkd_ballot(kind == MKD_KIND_DONE);
	light = mkd_ballot(kind == MKD_KIND_LIGHT);
	heavy = mkd_ballot(kind == MKD_KIND_HEAVY);
	if (heavy & (heavy - 1u))
		mkd_bundle_give(w, b, heavy & (heavy - 1u));
	heavy &= 0u - heavy;
	runs = done ? done : light ? light : heavy;
	waits &= ~mkd_bundle_follow(w, b, waits, runs);
	if (waits)
		mkd_bundle_park(w, b, waits);
	if (!runs)
		return;
	b->todo &= ~runs;
	mkd_bundle_begun(w, b, runs);
	if (done)
		ended = done;
	else if (light)
		ended = mkd_bundle_light(w, b, light);
	else
		ended = mkd_bundle_heavy(w, b, mkd_lowest(heavy)) ? heavy : 0;
	if (ended) {
		mkd_bundle_raise(w, b, ended);
		mkd_answer(w, ended >> w->lane & 1u, &b->s);
	}
	/* that may have taken long */
	if (b->todo && !done) {
		w->queue_state = mkd_shfl(mkd_load32(&w->q->state), 0);
		mkd_bundle_judge(w, b);
	}
}

#endif
