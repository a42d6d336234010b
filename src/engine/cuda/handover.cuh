/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From one bundle of slots to the next: what a raise found is taken up by who
 * raised, for as long as there is something.
 */
#ifndef MK_CUDA_HANDOVER_CUH
#define MK_CUDA_HANDOVER_CUH

/* ---- from one bundle to the next ----------------------------------------- */

enum mkd_taken {
	MKD_TAKEN_SLOTS = 0, /* in the bundle */
	MKD_TAKEN_JOB = 1,   /* it goes on: mkd_job_run() */
	MKD_TAKEN_BACK = 2   /* there are orders; it was put back */
};

/* A job that cannot be run now. */
MKD_FN void mkd_put_back(struct mkd_warp *w, struct mkd_job *job)
{
	if (w->lane)
		return;
	mkd_job_ready(mkd_home(w->index), job);
	mkd_bell(MKD_WORK_LOOK);
}

/* Take up a job. */
MKD_FN uint32_t mkd_bundle_load(struct mkd_warp *w, struct mkd_bundle *b,
				struct mkd_job *job)
{
	struct mkd_queue *queues = (struct mkd_queue *)w->l->queues;
	struct mkd_unit u, c;
	uint64_t park, open, at = (uint64_t)job;
	uint32_t index, state;

	if (!b->jobs || at < b->jobs ||
	    at - b->jobs > (uint64_t)w->mask * sizeof(*job)) {
		uint64_t queue = mkd_shfl64(mkd_load64(
			(const uint64_t *)&job->queue), 0);

		if (mkd_shfl64(mkd_load64(&job->open), 0) != MKD_PARKED)
			return MKD_TAKEN_JOB;
		mkd_bundle_enter(w, b, (uint32_t)(
			(struct mkd_queue *)queue - queues));
	}
	index = (uint32_t)((at - b->jobs) / sizeof(*job));
	park = b->parks + ((index + w->group) & w->mask) *
			  sizeof(struct mkd_park);
	b->v = mkd_load16(park + 16u * w->quarter);
	b->x = mkd_load16(park + 64u + 16u * w->quarter);
	u = mkd_load16((uint64_t)&job->members);
	open = mkd_load64(&job->open);
	state = mkd_load32(&w->q->state);
	c = mkd_orders(w->state);
	if (mkd_shfl64(open, 0) != MKD_PARKED)
		return MKD_TAKEN_JOB;
	if (c.x != MKD_RUN || c.y != w->epoch) {
		mkd_put_back(w, job);
		return MKD_TAKEN_BACK;
	}
	b->todo = mkd_seats_spread(mkd_shfl(u.x, 0) & 0xffu);
	b->stored = b->todo;
	b->base = mkd_shfl(u.z, 0) | (uint64_t)mkd_shfl(u.w, 0) << 32;
	w->queue_state = mkd_shfl(state, 0);
	if ((w->queue_state & ~MKD_FLAGS) == MKD_DRAIN) {
		mkd_bundle_begun(w, b, b->todo);
		b->todo = 0;
	}
	return MKD_TAKEN_SLOTS;
}

/* The next of what was found; the rest goes to others. */
MKD_FN struct mkd_job *mkd_found_next(struct mkd_warp *w, struct mkd_bundle *b)
{
	uint32_t have = mkd_ballot(b->found != (struct mkd_job *)0);
	struct mkd_job *job = (struct mkd_job *)0;

	if (!have)
		return job;
	job = (struct mkd_job *)mkd_shfl64((uint64_t)b->found,
					  mkd_lowest(have));
	if (w->lane == mkd_lowest(have)) {
		b->found = mkd_list_next(job);
		mkd_add32(&mkd_flow()->waiting, ~0u);
	}
	if (mkd_ballot(b->found != (struct mkd_job *)0))
		mkd_found_tell(w, b);
	return job;
}

/* What one read of the warp brings of a slot that waits alone. */
enum mkd_hop_lane {
	MKD_HOP_SLOT = 0, /* and three more */
	MKD_HOP_EXT = 4,  /* and three more */
	MKD_HOP_NODE = 8,
	MKD_HOP_NEXT = 9,
	MKD_HOP_OPEN = 10,
	MKD_HOP_ORDERS = 11,
	MKD_HOP_QUEUE = 12
};

MKD_FN struct mkd_unit mkd_hop_read(const struct mkd_warp *w,
				    const struct mkd_bundle *b,
				    struct mkd_job *job)
{
	uint64_t index = ((uint64_t)job - b->jobs) / sizeof(*job);
	uint64_t at = b->parks + index * sizeof(struct mkd_park) +
		      16u * (w->lane & 7u);

	at = w->lane == MKD_HOP_NODE ? (uint64_t)&job->members :
	     w->lane == MKD_HOP_NEXT ? (uint64_t)&job->next :
	     w->lane == MKD_HOP_OPEN ? (uint64_t)job :
	     w->lane == MKD_HOP_ORDERS ? (uint64_t)w->state :
	     w->lane == MKD_HOP_QUEUE ? (uint64_t)w->q + 16u : at;
	return mkd_load16(at);
}

/*
 * No-ops that wait alone and raise one counter, one after the other, as far as
 * that goes: the shortest way from slot to slot. The first that is something
 * else is returned, as it was taken, or NULL.
 */
MKD_SLOW struct mkd_job *mkd_hops(struct mkd_warp *w, struct mkd_bundle *b,
				  struct mkd_job *job)
{
	const uint32_t flags = MK_SLOT_WAIT | MK_SLOT_RAISE;
	const uint64_t words = mkd_shfl64(b->at, 0), jobs = b->jobs;
	const uint64_t bytes = mkd_shfl64(b->bytes, 0);
	const uint32_t index = mkd_shfl(b->known.index, 0);
	const uint32_t generation = mkd_shfl(b->known.generation, 0);
	const bool closed = mkd_shfl(b->closed, 0) != 0;
	bool first = true;

	while (job && (uint64_t)job >= jobs &&
	       (uint64_t)job - jobs <= (uint64_t)w->mask * sizeof(*job)) {
		struct mkd_unit u = mkd_hop_read(w, b, job), c;
		uint32_t kind = mkd_shfl(u.x, MKD_HOP_SLOT);
		uint32_t head = mkd_shfl(u.y, MKD_HOP_SLOT);
		uint32_t word = mkd_shfl(u.x, MKD_HOP_EXT + 2);
		uint32_t up = mkd_shfl(u.y, MKD_HOP_EXT + 2);
		uint64_t value = mkd_shfl(u.z, MKD_HOP_EXT + 1) |
				 (uint64_t)mkd_shfl(u.w, MKD_HOP_EXT + 1)
					 << 32;
		uint64_t next = mkd_shfl(u.x, MKD_HOP_NEXT) |
				(uint64_t)mkd_shfl(u.y, MKD_HOP_NEXT) << 32;
		uint64_t t = mkd_ticket(w, mkd_shfl(u.z, MKD_HOP_NODE) |
				(uint64_t)mkd_shfl(u.w, MKD_HOP_NODE) << 32);
		uint64_t now = 0;
		struct mk_ref ref;
		bool odd;

		if (!first && next) {
			if (!w->lane)
				b->found = (struct mkd_job *)next;
			mkd_found_tell(w, b);
		}
		first = false;
		odd = (w->lane == MKD_HOP_NODE && u.x != 1u) ||
		      (w->lane == MKD_HOP_OPEN && (u.x & u.y) != ~0u) ||
		      (w->lane == MKD_HOP_ORDERS &&
		       (u.x != MKD_RUN || u.y != w->epoch)) ||
		      (w->lane == MKD_HOP_QUEUE && u.y != MKD_OPEN) ||
		      (w->lane == MKD_HOP_EXT + 1 &&
		       (u.x != index || u.y != generation)) ||
		      (w->lane == MKD_HOP_EXT + 2 && u.z != MK_NO_COUNTER);
		odd = odd || (kind & 0xffffu) != MK_OP_NOP ||
		      kind >> 16 >= MK_TENANTS ||
		      (head & 0xffu) >= MK_PRIORITIES || head >> 16 > 1u ||
		      (head >> 8 & 0xffu & ~(uint32_t)MK_SLOT_IDEMPOTENT) !=
			      flags ||
		      !words || closed || (words & 7u) || !w->nops ||
		      8ull * word + 8u > bytes || 8ull * up + 8u > bytes ||
		      up == MK_NO_COUNTER;
		if (!mkd_ballot(odd))
			now = mkd_shfl64(mkd_load64(
				(const uint64_t *)(words + 8ull * word)), 0);
		if (mkd_ballot(odd) || (now & MK_COUNTER_FAILED) ||
		    now < value)
			return job;
		c.x = 0;
		c.y = (w->index & 0xffffu) | mkd_mark(w, t) << 16;
		c.z = mkd_shfl(u.x, MKD_HOP_SLOT + 1);
		c.w = mkd_shfl(u.y, MKD_HOP_SLOT + 1);
		ref.index = index;
		ref.generation = generation;
		next = 0;
		if (!w->lane) {
			mkd_store64(&job->open, 0);
			now = mkd_add64((uint64_t *)(words + 8ull * up), 1);
			next = mkd_swap64(
				mkd_wait_bucket(mkd_flow(), ref, up,
						(now & ~MK_COUNTER_FAILED) +
							1u), 0);
			mkd_store16(w->completions + (t & w->mask) *
						     MK_COMPLETION_BYTES, c);
			if (next)
				mkd_add32(&mkd_flow()->waiting, ~0u);
		}
		mkd_count(w, !w->lane, MK_OP_NOP, kind >> 16, head & 0xffu,
			  false, false);
		job = (struct mkd_job *)mkd_shfl64(next, 0);
	}
	/* one of another queue; what it leads was not looked at */
	if (job && !first) {
		if (!w->lane)
			b->found = mkd_list_next(job);
		mkd_found_tell(w, b);
	}
	return job;
}

/* made.cuh: a job that is no slot that waits, but goes on. */
MKD_SLOW void mkd_job_run(struct mkd_warp *w, struct mkd_bundle *b,
			  struct mkd_job *job);

/* Until nothing is left in our hands. */
MKD_SLOW void mkd_bundle_work(struct mkd_warp *w, struct mkd_bundle *b,
			      struct mkd_job *job)
{
	for (;;) {
		uint32_t taken;

		if (job && b->jobs) {
			job = mkd_hops(w, b, job);
			if (!job)
				return;
		}
		taken = job ? mkd_bundle_load(w, b, job) :
				       (uint32_t)MKD_TAKEN_SLOTS;

		if (taken == MKD_TAKEN_BACK) {
			mkd_found_tell(w, b);
			return;
		}
		if (taken == MKD_TAKEN_JOB)
			mkd_job_run(w, b, job);
		else if (job)
			mkd_bundle_judge(w, b);
		while (b->todo)
			mkd_bundle_step(w, b);
		if (mkd_launched.warps > 1u && mkd_called_for())
			mkd_help(w);
		job = mkd_found_next(w, b);
		if (!job)
			return;
	}
}

/* A worker's seats while it is busy with something else. */
struct mkd_stash {
	uint32_t want, count, place, state;
	bool light;
	uint64_t base;
};

MKD_FN void mkd_stash(struct mkd_warp *w, struct mkd_stash *t)
{
	/* nobody waits behind us for what we could not get to */
	if (w->want)
		mkd_drop(w);
	t->want = w->want;
	t->count = w->count;
	t->place = w->place;
	t->state = w->queue_state;
	t->light = w->light;
	t->base = w->base;
	w->want = 0;
}

MKD_FN void mkd_unstash(struct mkd_warp *w, const struct mkd_stash *t)
{
	mkd_enter(w, t->place);
	w->want = t->want;
	w->count = t->count;
	w->queue_state = t->state;
	w->light = t->light;
	w->base = t->base;
	w->fresh = MKD_SPREAD;
}

MKD_FN void mkd_bundle_begin(struct mkd_bundle *b)
{
	b->todo = b->stored = 0;
	b->known.index = b->known.generation = 0;
	b->at = b->bytes = 0;
	b->closed = false;
	b->found = (struct mkd_job *)0;
	b->jobs = b->parks = 0;
	b->dirty = false;
}

MKD_SLOW void mkd_flow_seats(struct mkd_warp *w, const struct mkd_unit *v,
			     uint32_t mask)
{
	uint64_t ext = mkd_ext(w, mkd_ticket(w, w->base + w->group)) +
		       16u * w->quarter;
	struct mkd_stash stash;
	struct mkd_bundle b;

	mkd_bundle_begin(&b);
	b.base = w->base;
	b.todo = mask;
	b.v = *v;
	b.x.x = b.x.y = b.x.z = b.x.w = 0;
	/* it was written before the marks */
	mkd_acquire();
	if (mask >> (w->lane & ~3u) & 1u)
		b.x = mkd_load16(ext);
	mkd_stash(w, &stash);
	mkd_bundle_enter(w, &b, w->place);
	mkd_bundle_judge(w, &b);
	mkd_bundle_work(w, &b, (struct mkd_job *)0);
	mkd_unstash(w, &stash);
}

/* A slot's line beside the ring, for a bundle of which it is seat 0. */
MKD_FN void mkd_bundle_one(struct mkd_warp *w, struct mkd_bundle *b,
			   const struct mkd_slot *s)
{
	if (mkd_ballot(b->found != (struct mkd_job *)0))
		mkd_found_tell(w, b);
	b->base = s->relative;
	b->v.x = s->opcode;
	b->v.y = s->flags << 8;
	b->v.z = b->v.w = b->x.x = b->x.y = b->x.z = b->x.w = 0;
	mkd_acquire();
	if (w->lane < 4u)
		b->x = mkd_load16(mkd_ext(w, s->ticket) + 16u * w->lane);
	mkd_bundle_read(w, b);
	b->s = *s;
}

/* A fence that waits or raises; ready: all before it has ended. True: it has,
 * too. Lane 0's slot counts. */
MKD_SLOW uint32_t mkd_flow_fence(struct mkd_warp *w, struct mkd_slot *s,
				 bool ready)
{
	struct mkd_stash stash;
	struct mkd_bundle b;
	uint64_t now;
	uint32_t kind;

	mkd_bundle_begin(&b);
	mkd_bundle_enter(w, &b, w->place);
	mkd_bundle_one(w, &b, s);
	b.todo = 1;
	b.ready = MKD_KIND_FENCE;
	kind = mkd_shfl(mkd_bundle_look(w, &b, &now), 0);
	if (kind == MKD_KIND_WAIT || (kind == MKD_KIND_FENCE && !ready))
		return 0;
	b.todo = 0;
	b.dirty = true;
	stash.want = w->want;
	stash.count = w->count;
	stash.place = w->place;
	stash.state = w->queue_state;
	stash.light = w->light;
	stash.base = w->base;
	w->want = 0;
	mkd_bundle_raise(w, &b, 1);
	mkd_answer(w, !w->lane, &b.s);
	mkd_bundle_work(w, &b, (struct mkd_job *)0);
	mkd_unstash(w, &stash);
	return 1;
}

#endif
