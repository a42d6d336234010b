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

/* made.cuh: a job that is no slot that waits, but goes on. */
MKD_SLOW void mkd_job_run(struct mkd_warp *w, struct mkd_bundle *b,
			  struct mkd_job *job);

/* Until nothing is left in our hands. */
MKD_SLOW void mkd_bundle_work(struct mkd_warp *w, struct mkd_bundle *b,
			      struct mkd_job *job)
{
	for (;;) {
		uint32_t taken = job ? mkd_bundle_load(w, b, job) :
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
