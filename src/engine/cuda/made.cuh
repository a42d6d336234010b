/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Made work, jobs that go on, and what a worker does when it is told that
 * there is something beside the rings.
 */
#ifndef MK_CUDA_MADE_CUH
#define MK_CUDA_MADE_CUH

/* All that was made for a slot has ended, here: answer it, and raise. */
MKD_SLOW void mkd_root_end(struct mkd_warp *w, struct mkd_bundle *b,
			   struct mkd_job *job)
{
	struct mkd_queue *queues = (struct mkd_queue *)w->l->queues;
	struct mkd_slot s;
	uint64_t queue = mkd_shfl64(mkd_load64(&job->queue), 0);

	mkd_bundle_enter(w, b, (uint32_t)((struct mkd_queue *)queue - queues));
	mkd_job_slot(w, job, (const struct mkd_made *)&job->header, &s);
	s.result = mkd_job_result(job);
	s.value = mkd_load64(&job->value);
	if (s.result == -MK_EDEADLINE ||
	    (s.result == -MK_ECANCELLED && s.deadline_ns != ~(uint64_t)0 &&
	     mkd_now_ns(w) > s.deadline_ns))
		s.result = -MK_EOVERRUN; /* it had begun */
	w->queue_state = mkd_shfl(mkd_load32(&w->q->state), 0);
	mkd_syncwarp();
	if (!w->lane)
		mkd_job_close(job);
	if ((w->queue_state & ~MKD_FLAGS) == MKD_DRAIN)
		return;
	mkd_bundle_one(w, b, &s);
	mkd_release();
	b->dirty = true;
	if (s.flags & MK_SLOT_RAISE)
		mkd_bundle_raise(w, b, 1);
	mkd_answer(w, !w->lane, &b->s);
}

/* n pieces of the job that lanes have in hand ended; the lanes of one job
 * join as one. */
MKD_SLOW void mkd_made_join(struct mkd_warp *w, struct mkd_bundle *b,
			    struct mkd_job *root, bool mine)
{
	uint32_t left = mkd_ballot(mine);

	if (mine)
		mkd_tally(&w->counters->spawned_ended, 1);
	mkd_counted(w);
	while (left) {
		struct mkd_job *job = (struct mkd_job *)mkd_shfl64(
			(uint64_t)root, mkd_lowest(left));
		uint32_t same = mkd_ballot(mine && root == job) & left;
		uint32_t last = 0;

		left &= ~same;
		if (!w->lane)
			last = mkd_job_join(job, mkd_bits(same));
		if (mkd_shfl(last, 0))
			mkd_root_end(w, b, job);
	}
}

/* ---- pieces of made work ------------------------------------------------ */

/* What a lane has in hand. */
struct mkd_hand {
	struct mkd_job *root;
	struct mkd_job *job; /* parked: it goes on; or NULL */
	struct mkd_home *home; /* of its credit */
	struct mkd_slot s;
	struct mkd_args args;
};

/* The slot's view of it; each lane its own. */
MKD_FN void mkd_hand_slot(struct mkd_warp *w, struct mkd_hand *h,
			  uint32_t opcode)
{
	struct mkd_slot *s = &h->s;
	uint64_t header = mkd_load64(&h->root->header);

	s->ticket = mkd_load64(&h->root->open) - 1u;
	s->opcode = opcode & 0xffffu;
	s->tenant = (uint32_t)header >> 16;
	s->priority = (uint32_t)(header >> 32) & 0xffu;
	s->flags = (uint32_t)(header >> 40) & 0xffu;
	s->tile = 0;
	s->tiles = 1;
	s->entry = s->opcode < MK_OPCODES ? mkd_entry(w->state, s->opcode) : 0;
	s->result = 0;
	s->value = 0;
	s->deadline_ns = mkd_load64(&h->root->deadline_ns);
	s->job = h->root;
	s->refused = s->ends = false;
}

/* The piece that a lane has in hand did not end: it goes on. */
MKD_FN void mkd_hand_on(struct mkd_warp *w, struct mkd_hand *h,
			struct mk_task *task)
{
	struct mkd_flow *f = mkd_flow();

	if (!h->job) {
		h->job = mkd_job_park(f, (uint32_t)(h->home - f->is.home));
		h->job->open = 0;
		h->job->flags = 0;
		h->job->queue = h->root->queue;
		h->job->root = h->root;
	}
	mkd_job_go_on(task, h->job, w->index % f->is.homes);
}

/* The piece that a lane has in hand ended. */
MKD_FN void mkd_hand_end(struct mkd_hand *h)
{
	if (h->s.result < 0)
		mkd_job_fail(h->root, h->s.result);
	if (h->job) {
		h->job->flags = 0;
		mkd_job_unpark(mkd_flow(), h->job);
	}
	h->job = (struct mkd_job *)0;
}

/* Pieces of the lanes `mine`, of the queue that the warp is in, with handlers
 * that a lane runs. Returns in *ends whether this lane's has ended. */
MKD_SLOW void mkd_hands_light(struct mkd_warp *w, struct mkd_hand *h,
			      bool mine, bool *ends)
{
	struct mk_task task;
	struct mkd_here here;
	uint32_t spawned = 0;

	*ends = false;
	if (!w->lane)
		mkd_store32(&w->me->busy, MKD_BUSY_LIGHT);
	mkd_acquire();
	if (mine) {
		mkd_task(w, &task, h->s.ticket, h->s.deadline_ns, 0, 1);
		task.scratch_bytes =
			(mkd_launched.scratch_bytes / MKD_LANES) & ~15u;
		task.scratch += w->lane * task.scratch_bytes;
		mkd_here(w, &h->s, &task, &here);
		h->s.result = mkd_dispatch(MKD_ENTRY_HANDLER(h->s.entry),
					   &task, h->args.word);
		if (task.dirty)
			mkd_release();
		spawned = here.spawned;
		*ends = h->s.result != MK_NEXT || !task.next.kind;
		if (*ends)
			mkd_hand_end(h);
		else
			mkd_hand_on(w, h, &task);
	}
	mkd_syncwarp();
	if (!w->lane)
		mkd_store32(&w->me->busy, 0);
	mkd_made_count(w, spawned);
}

/* The piece that lane `from` has in hand, with a handler for the warp or the
 * block. */
MKD_SLOW void mkd_hand_heavy(struct mkd_warp *w, struct mkd_hand *h,
			     uint32_t from, bool *ends)
{
	struct mk_task task;
	struct mkd_here here;
	struct mkd_args args;
	struct mkd_slot s = h->s;
	bool over;

	for (uint32_t i = 0; i < MK_ARG_WORDS; i++)
		args.word[i] = mkd_shfl(h->args.word[i], from);
	mkd_spread_slot(&s, from);
	s.job = (struct mkd_job *)mkd_shfl64((uint64_t)h->root, from);
	mkd_announce(w, &s, true);
	over = mkd_run_wide_away(w, &args, &s, &task, &here);
	if (over && !w->lane) /* something was written */
		mkd_release();
	/* lane 0 speaks for it, lane `from` has it */
	s.result = (int32_t)mkd_shfl((uint32_t)s.result, 0);
	over = mkd_shfl(s.result != MK_NEXT || !task.next.kind, 0) != 0;
	if (!over) {
		struct mkd_hand hand = *h;

		hand.root = s.job;
		hand.job = (struct mkd_job *)mkd_shfl64((uint64_t)h->job,
							from);
		hand.home = (struct mkd_home *)mkd_shfl64((uint64_t)h->home,
							  from);
		if (!w->lane)
			mkd_hand_on(w, &hand, &task);
	}
	mkd_syncwarp();
	if (w->lane == from) {
		h->s.result = s.result;
		*ends = over;
		if (over)
			mkd_hand_end(h);
	}
	mkd_announce(w, &s, false);
}

/* Run what lanes have in hand: of one queue after the other. */
MKD_SLOW void mkd_hands(struct mkd_warp *w, struct mkd_bundle *b,
			struct mkd_hand *h, bool mine)
{
	struct mkd_queue *queues = (struct mkd_queue *)w->l->queues;
	uint64_t queue = mine ? mkd_load64(&h->root->queue) : 0;
	uint32_t left = mkd_ballot(mine);

	while (left) {
		uint64_t one = mkd_shfl64(queue, mkd_lowest(left));
		bool go = mine && queue == one, ends = false, light;
		uint32_t heavy;

		left &= ~mkd_ballot(go);
		mkd_bundle_enter(w, b, (uint32_t)((struct mkd_queue *)one -
						  queues));
		w->queue_state = mkd_shfl(mkd_load32(&w->q->state), 0);
		if (go) {
			h->s.result = mkd_refuse(w, &h->s);
			if ((w->queue_state & ~MKD_FLAGS) == MKD_DRAIN)
				h->s.result = -MK_ECANCELLED;
			ends = h->s.result != 0;
			if (ends)
				mkd_hand_end(h);
		}
		light = go && !ends && !MKD_ENTRY_WIDTH(h->s.entry);
		heavy = mkd_ballot(go && !ends && !light);
		if (mkd_ballot(light)) {
			bool over;

			mkd_hands_light(w, h, light, &over);
			ends |= over;
		}
		for (; heavy; heavy &= heavy - 1u)
			mkd_hand_heavy(w, h, mkd_lowest(heavy), &ends);
		if (ends)
			mkd_home_release(h->home, 1);
		mkd_made_join(w, b, h->root, ends);
	}
}

/* What we had in hand while others looked, and found nothing, is there again:
 * one of them may have taken the bit out of the word meanwhile. One lane. */
MKD_FN void mkd_home_left(struct mkd_home *h)
{
	if (mkd_load64(&h->ready) || mkd_load64(&h->later) ||
	    (int64_t)mkd_load64(&h->items) > 0)
		mkd_bell_once(MKD_WORK_LOOK);
}

/* Take up to a warp's worth of made work from a home, and run it. */
MKD_SLOW void mkd_made_take(struct mkd_warp *w, struct mkd_bundle *b,
			    struct mkd_home *home)
{
	struct mkd_flow *f = mkd_flow();
	struct mkd_piece piece;
	struct mkd_hand h;
	uint64_t ticket = 0;
	uint32_t n = 0;
	bool mine;

	if (!w->lane) {
		n = mkd_home_claim(home, MKD_LANES, &ticket);
		mkd_home_left(home);
	}
	n = mkd_shfl(n, 0);
	if (!n)
		return;
	ticket = mkd_shfl64(ticket, 0);
	mine = w->lane < n;
	h.root = h.job = (struct mkd_job *)0;
	h.home = home;
	h.s.result = 0;
	if (mine) {
		mkd_home_drain(f, home, ticket + w->lane, &piece);
		h.root = (struct mkd_job *)(piece.unit[0].z |
				(uint64_t)piece.unit[0].w << 32);
		for (uint32_t i = 0; i < 3u; i++) {
			h.args.word[4u * i] = piece.unit[i + 1u].x;
			h.args.word[4u * i + 1u] = piece.unit[i + 1u].y;
			h.args.word[4u * i + 2u] = piece.unit[i + 1u].z;
			h.args.word[4u * i + 3u] = piece.unit[i + 1u].w;
		}
		mkd_hand_slot(w, &h, piece.unit[0].x);
	}
	mkd_syncwarp();
	mkd_hands(w, b, &h, mine);
}

/* ---- jobs that go on ----------------------------------------------------- */

/* The slot's own handler goes on. */
MKD_SLOW void mkd_job_slot_run(struct mkd_warp *w, struct mkd_bundle *b,
			       struct mkd_hand *h)
{
	struct mk_task task;
	struct mkd_here here;
	struct mkd_slot *s = &h->s;
	struct mkd_job *job = h->root;
	bool last = false, dirty, wide = MKD_ENTRY_WIDTH(s->entry) != 0;

	s->tiles = 1;
	s->value = mkd_load64(&job->value);
	if (!w->lane)
		job->flags &= ~(uint32_t)MKD_JOB_RUNS;
	if (!s->result) {
		mkd_announce(w, s, true);
		if (wide) {
			dirty = mkd_run_wide_away(w, &h->args, s, &task, &here);
		} else {
			mkd_task(w, &task, s->ticket, s->deadline_ns, 0, 1);
			mkd_here(w, s, &task, &here);
			mkd_acquire();
			task.value = s->value;
			if (!w->lane)
				s->result = mkd_dispatch(
					MKD_ENTRY_HANDLER(s->entry), &task,
					h->args.word);
			s->value = task.value;
			mkd_made_count(w, w->lane ? 0 : here.spawned);
			dirty = true;
		}
		if (!w->lane && dirty)
			mkd_release();
		mkd_syncwarp();
		mkd_announce(w, s, false);
	} else {
		task.next.kind = MK_NEXT_NONE;
	}
	if (!w->lane) {
		if (s->result == MK_NEXT && task.next.kind) {
			mkd_job_go_on(&task, job, here.home);
		} else {
			job->result = s->result;
			job->value = s->value;
			last = mkd_job_join(job, 1);
		}
	}
	if (mkd_shfl(last, 0))
		mkd_root_end(w, b, job);
}

/* A job that is no slot that waits unrun: it may go on, if what it waits for
 * is there. */
MKD_SLOW void mkd_job_run(struct mkd_warp *w, struct mkd_bundle *b,
			  struct mkd_job *job)
{
	struct mkd_queue *queues = (struct mkd_queue *)w->l->queues;
	struct mkd_hand h;
	struct mk_task task;
	struct mkd_wait_for wait = job->wait;
	int32_t look, why;

	mkd_bundle_enter(w, b, (uint32_t)(
		(struct mkd_queue *)mkd_shfl64(mkd_load64(&job->queue), 0) -
		queues));
	h.root = (struct mkd_job *)mkd_shfl64(
		mkd_load64((const uint64_t *)&job->root), 0);
	h.job = h.root == job ? (struct mkd_job *)0 : job;
	h.home = mkd_home(job->home);
	mkd_hand_slot(w, &h, job->run.opcode);
	mkd_made_args(&job->run, &h.args);
	why = mkd_job_refuse(w, &h.s);
	mkd_task(w, &task, h.s.ticket, h.s.deadline_ns, w->lane, 1);
	look = (int32_t)mkd_shfl((uint32_t)mkd_wait_look(&task, &wait), 0);
	if (!look && !why) {
		if (!w->lane)
			mkd_wait_park(&task, mkd_flow(), job, w->index);
		if (!w->lane)
			mkd_wait_due(h.s.deadline_ns);
		mkd_syncwarp();
		if (!w->lane)
			mkd_bell(MKD_WORK_LOOK);
		return;
	}
	h.s.result = why ? why : look < 0 ? look : 0;
	if (!h.job) {
		mkd_job_slot_run(w, b, &h);
	} else if (h.s.result) {
		if (!w->lane) {
			mkd_hand_end(&h);
			mkd_home_release(h.home, 1);
		}
		mkd_made_join(w, b, h.root, !w->lane);
	} else {
		mkd_hands(w, b, &h, !w->lane);
	}
}

/* ---- looking after what there is ---------------------------------------- */

#define MKD_SWEEP 8u /* reads that a lane has on their way */

/* Some pairs of buckets, from `at` on: most are empty. */
MKD_FN void mkd_sweep_some(struct mkd_flow *f, uint32_t at)
{
	struct mkd_unit two[MKD_SWEEP];

	for (uint32_t i = 0; i < MKD_SWEEP; i++)
		two[i] = mkd_load16((uint64_t)&f->bucket[at +
						2u * MKD_LANES * i]);
	for (uint32_t i = 0; i < MKD_SWEEP; i++) {
		uint32_t k = at + 2u * MKD_LANES * i;

		if (two[i].x | two[i].y)
			mkd_wait_spread(f, mkd_list_take_all(&f->bucket[k]),
					k);
		if (two[i].z | two[i].w)
			mkd_wait_spread(f, mkd_list_take_all(&f->bucket[k +
									1u]),
					k + 1u);
	}
}

/* Everything that waits is to be looked at again. */
MKD_SLOW void mkd_sweep(struct mkd_warp *w)
{
	struct mkd_flow *f = mkd_flow();

	if (!w->lane)
		mkd_and32(&w->state->work, ~(uint32_t)MKD_WORK_SWEEP);
	mkd_syncwarp();
	mkd_fence();
	for (uint32_t i = 2u * w->lane; i < MKD_BUCKETS;
	     i += 2u * MKD_LANES * MKD_SWEEP)
		mkd_sweep_some(f, i);
	mkd_syncwarp();
	if (!w->lane)
		mkd_bell(MKD_WORK_LOOK);
}

/* What there is in the homes, a lane each: 1: jobs that may run, 2: made
 * work, 4: jobs for later. */
MKD_FN uint32_t mkd_homes_look(const struct mkd_warp *w)
{
	struct mkd_flow *f = mkd_flow();
	struct mkd_home *h = f->is.home + w->lane;
	uint64_t ready, later, items;

	if (w->lane >= f->is.homes)
		return 0;
	ready = mkd_load64(&h->ready);
	later = mkd_load64(&h->later);
	items = mkd_load64(&h->items);
	return (ready ? 1u : 0) | ((int64_t)items > 0 ? 2u : 0) |
	       (later ? 4u : 0);
}

/* Take something from a home that has it. False: there is nothing at all. */
MKD_SLOW bool mkd_homes_help(struct mkd_warp *w, struct mkd_bundle *b)
{
	struct mkd_flow *f = mkd_flow();
	uint32_t own = w->index % f->is.homes;
	uint32_t has = mkd_homes_look(w), mask, all, pick;
	struct mkd_job *job = (struct mkd_job *)0;
	struct mkd_home *h;

	all = mkd_ballot(has != 0);
	if (!all)
		return false;
	/* ours first, then the next that has something */
	for (uint32_t kind = 1; kind <= 4u; kind <<= 1) {
		mask = mkd_ballot(has & kind);
		if (kind == 2u && f->is.dealt)
			mask &= 1u << own;
		if (!mask)
			continue;
		pick = mask >> own ? own + mkd_lowest(mask >> own) :
				     mkd_lowest(mask);
		h = f->is.home + pick;
		if (kind == 2u) {
			mkd_made_take(w, b, h);
			return true;
		}
		if (!w->lane) {
			if (kind == 4u)
				mkd_home_turn(h);
			job = mkd_list_take(&h->ready, &h->ready);
			mkd_home_left(h);
		}
		job = (struct mkd_job *)mkd_shfl64((uint64_t)job, 0);
		if (job)
			mkd_bundle_work(w, b, job);
		return true;
	}
	return true;
}

/* The word says that there is something. */
MKD_SLOW void mkd_look_after_away(struct mkd_warp *w)
{
	struct mkd_stash stash;
	struct mkd_bundle b;

	mkd_stash(w, &stash);
	mkd_bundle_begin(&b);
	if (w->work & MKD_WORK_SWEEP)
		mkd_sweep(w);
	if (!mkd_homes_help(w, &b) && (w->work & MKD_WORK_LOOK)) {
		if (!w->lane)
			mkd_and32(&w->state->work, ~(uint32_t)MKD_WORK_LOOK);
		/* no lane may look before that is done */
		mkd_syncwarp();
		mkd_fence();
		/* who brought something meanwhile rang before, or after */
		if (mkd_ballot(mkd_homes_look(w) != 0) && !w->lane)
			mkd_bell(MKD_WORK_LOOK);
	}
	if (w->work & MKD_WORK_TILES)
		mkd_tiles_help(w, &b);
	mkd_bundle_work(w, &b, (struct mkd_job *)0);
	mkd_unstash(w, &stash);
	w->work = 0;
}

MKD_FN void mkd_look_after(struct mkd_warp *w)
{
	struct mkd_warp copy = *w;

	mkd_look_after_away(&copy);
	*w = copy;
}

#endif
