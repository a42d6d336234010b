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

/* Is it among these? */
MKD_FN bool mkd_is_of(uint64_t jobs, uint32_t mask, const struct mkd_job *job)
{
	return (uint64_t)job - jobs <= (uint64_t)mask * sizeof(*job);
}

/* Be in the queue of a job, if it is a slot that waits. */
MKD_FN bool mkd_bundle_reach(struct mkd_warp *w, struct mkd_bundle *b,
			     struct mkd_job *job)
{
	struct mkd_queue *queues = (struct mkd_queue *)w->l->queues;
	uint64_t queue, open;

	if (b->jobs && mkd_is_of(b->jobs, w->mask, job))
		return true;
	queue = mkd_load64((const uint64_t *)&job->queue);
	open = mkd_load64(&job->open);
	if (mkd_shfl64(open, 0) != MKD_PARKED)
		return false;
	b->jobs = 0;
	mkd_bundle_enter(w, b, (uint32_t)(
		(struct mkd_queue *)mkd_shfl64(queue, 0) - queues));
	return true;
}

/* Take up a job that was reached. */
MKD_FN uint32_t mkd_bundle_load(struct mkd_warp *w, struct mkd_bundle *b,
				struct mkd_job *job)
{
	struct mkd_unit u, c;
	uint64_t park, open, at = (uint64_t)job;
	uint32_t index, state;

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

/* What each lane reads of a node, beside its unit of a slot and what that has
 * beside the ring. */
enum mkd_hop_lane {
	MKD_HOP_NODE = 0,
	MKD_HOP_NEXT = 1,
	MKD_HOP_OPEN = 2,
	MKD_HOP_ORDERS = 3,
	MKD_HOP_QUEUE = 4
};

/* What does not change from node to node, in registers: what lies in memory
 * of a worker's own has to be fetched anew behind anybody's fence. */
struct mkd_hop {
	uint64_t jobs, parks, words, bytes;
	struct mk_ref ref;
	uint64_t state, queue, completions, first;
	uint32_t mask, shift, epoch, worker;
	uint32_t lane, group, quarter;
	bool closed; /* the counters, or no-ops */
	/* no-ops that ended, all of one tenant and priority */
	uint32_t tenant, priority, ended;
};

/* A node as it was read. */
struct mkd_hop_node {
	struct mkd_unit v, x, u;
	uint32_t seats;
	uint64_t base; /* relative ticket of seat 0 */
	/* the leaders know, each of its slot */
	uint32_t word, up;
	uint64_t value;
};

MKD_FN void mkd_hop_begin(const struct mkd_warp *w,
			  const struct mkd_bundle *b, struct mkd_hop *h)
{
	h->jobs = b->jobs;
	h->parks = b->parks;
	h->words = mkd_shfl64(b->at, 0);
	h->bytes = mkd_shfl64(b->bytes, 0);
	h->ref.index = mkd_shfl(b->known.index, 0);
	h->ref.generation = mkd_shfl(b->known.generation, 0);
	h->state = (uint64_t)w->state;
	h->queue = (uint64_t)w->q;
	h->completions = w->completions;
	h->first = w->first;
	h->mask = w->mask;
	h->shift = w->shift;
	h->epoch = w->epoch;
	h->worker = w->index & 0xffffu;
	h->lane = w->lane;
	h->group = w->group;
	h->quarter = w->quarter;
	h->closed = mkd_shfl(b->closed, 0) || !h->words || (h->words & 7u) ||
		    !w->nops;
	h->tenant = h->priority = h->ended = 0;
}

MKD_FN void mkd_hop_read(const struct mkd_hop *h, const struct mkd_job *job,
			 struct mkd_hop_node *n)
{
	const uint32_t leader = h->lane & ~3u;
	uint64_t at = (uint64_t)job;
	uint32_t index = (uint32_t)((at - h->jobs) / sizeof(*job));
	uint64_t park = h->parks + ((index + h->group) & h->mask) *
					   sizeof(struct mkd_park) +
			16u * h->quarter;
	uint32_t low, high;

	at = h->lane == MKD_HOP_NODE ? (uint64_t)&job->members :
	     h->lane == MKD_HOP_NEXT ? (uint64_t)&job->next :
	     h->lane == MKD_HOP_ORDERS ? h->state :
	     h->lane == MKD_HOP_QUEUE ? h->queue + 16u : at;
	n->u = mkd_load16(at);
	n->v = mkd_load16(park);
	n->x = mkd_load16(park + 64u);
	n->seats = mkd_seats_spread(mkd_shfl(n->u.x, MKD_HOP_NODE) & 0xffu);
	low = mkd_shfl(n->u.z, MKD_HOP_NODE);
	high = mkd_shfl(n->u.w, MKD_HOP_NODE);
	n->base = low | (uint64_t)high << 32;
	low = mkd_shfl(n->x.z, leader + 1u);
	high = mkd_shfl(n->x.w, leader + 1u);
	n->value = low | (uint64_t)high << 32;
	n->word = mkd_shfl(n->x.x, leader + 2u);
	n->up = mkd_shfl(n->x.y, leader + 2u);
}

/* Is there anything in this lane that is for others to think about? All slots
 * have to be no-ops that raise one counter of the buffer that we know. */
MKD_FN bool mkd_hop_odd(const struct mkd_hop *h, const struct mkd_hop_node *n)
{
	const uint32_t may = MK_SLOT_IDEMPOTENT | MK_SLOT_AFTER;
	const struct mkd_unit *v = &n->v, *x = &n->x, *u = &n->u;

	if ((h->lane == MKD_HOP_OPEN && (u->x & u->y) != ~0u) ||
	    (h->lane == MKD_HOP_ORDERS &&
	     (u->x != MKD_RUN || u->y != h->epoch)) ||
	    (h->lane == MKD_HOP_QUEUE && u->y != MKD_OPEN) || h->closed ||
	    mkd_peek(&mkd_open)) /* others of the block call */
		return true;
	if (!(n->seats >> (h->lane & ~3u) & 1u))
		return false;
	if (h->quarter == 0)
		return (v->x & 0xffffu) != MK_OP_NOP ||
		       v->x >> 16 >= MK_TENANTS ||
		       (v->y & 0xffu) >= MK_PRIORITIES || v->y >> 16 > 1u ||
		       ((v->y >> 8 & 0xffu) & ~may) !=
			       (MK_SLOT_WAIT | MK_SLOT_RAISE);
	if (h->quarter == 1u)
		return x->x != h->ref.index || x->y != h->ref.generation;
	return h->quarter == 2u &&
	       (x->z != MK_NO_COUNTER || x->y == MK_NO_COUNTER ||
		8ull * x->x + 8u > h->bytes || 8ull * x->y + 8u > h->bytes);
}

/* Do all of these slots begin by what the counters have now, one raised by
 * the other? All lanes know their leader's. */
MKD_FN bool mkd_hop_ready(const struct mkd_hop *h,
			  const struct mkd_hop_node *n, uint64_t now)
{
	bool mine = n->seats >> h->lane & 1u;
	uint32_t left, ready = mkd_ballot(mine && now >= n->value);

	if (mkd_ballot(mine && (now & MK_COUNTER_FAILED)))
		return false;
	for (left = n->seats & ~ready; left; left &= left - 1u) {
		uint32_t at = mkd_lowest(left), word = mkd_shfl(n->word, at);
		uint32_t ups = mkd_ballot((ready >> h->lane & 1u) &&
					  n->up == word);

		if (!(mkd_ballot(now + mkd_bits(ups) >= n->value) >> at & 1u))
			return false;
		ready |= 1u << at;
	}
	return true;
}

/* They end. Each of their counters is raised, and who waited for that is what
 * the leaders return. */
MKD_FN struct mkd_job *mkd_hop_end(struct mkd_warp *w, struct mkd_hop *h,
				   const struct mkd_hop_node *n)
{
	bool mine = n->seats >> h->lane & 1u;
	uint32_t next = (h->lane + 1u) & 31u, low = mkd_lowest(n->seats);
	uint32_t tenant = mkd_shfl(n->v.x >> 16, low);
	uint32_t priority = mkd_shfl(n->v.y & 0xffu, low);
	uint64_t t = h->first + n->base + h->group, now;
	struct mkd_job *found = (struct mkd_job *)0;
	struct mkd_ending e = { MK_OP_NOP, n->v.x >> 16, n->v.y & 0xffu,
				false, false };
	struct mkd_unit c;

	c.x = 0;
	c.y = h->worker | MK_MARK(t, h->shift) << 16;
	c.z = mkd_shfl(n->v.x, next);
	c.w = mkd_shfl(n->v.y, next);
	if (mine) {
		mkd_store64((uint64_t *)(h->jobs + (t & h->mask) *
						   sizeof(struct mkd_job)), 0);
		now = mkd_add64((uint64_t *)(h->words + 8ull * n->up), 1) &
		      ~MK_COUNTER_FAILED;
		found = (struct mkd_job *)mkd_swap64(
			mkd_wait_bucket(mkd_flow(), h->ref, n->up, now + 1u),
			0);
		/* all were raised before any is answered */
		mkd_store16(h->completions + (t & h->mask) *
						     MK_COMPLETION_BYTES, c);
	}
	if (mkd_ballot(mine && (e.tenant != tenant || e.priority != priority ||
				(h->ended && (tenant != h->tenant ||
					      priority != h->priority))))) {
		mkd_count(w, mine, &e);
		return found;
	}
	h->tenant = tenant;
	h->priority = priority;
	h->ended += mkd_bits(n->seats);
	return found;
}

/* One of what lanes found; what it leads stays with it, the rest goes to
 * others. */
MKD_FN struct mkd_job *mkd_hop_next(struct mkd_warp *w, struct mkd_bundle *b,
				    const struct mkd_hop *h,
				    struct mkd_job *found)
{
	uint32_t have = mkd_ballot(found != (struct mkd_job *)0), pick;
	struct mkd_job *job;

	if (!have)
		return (struct mkd_job *)0;
	pick = mkd_lowest(have);
	job = (struct mkd_job *)mkd_shfl64((uint64_t)found, pick);
	if (h->lane == pick)
		mkd_add32(&mkd_flow()->waiting, ~0u);
	if (have & (have - 1u)) {
		b->found = h->lane == pick ? (struct mkd_job *)0 : found;
		mkd_found_tell(w, b);
	}
	return job;
}

/*
 * No-ops that wait and raise one counter each, as far as they go: the shortest
 * way from slot to slot. The first node that has something else is returned,
 * as it was taken, or NULL.
 */
MKD_SLOW struct mkd_job *mkd_hops(struct mkd_warp *w, struct mkd_bundle *b,
				  struct mkd_job *job)
{
	struct mkd_hop_node n;
	struct mkd_hop h;
	bool first = true;

	mkd_hop_begin(w, b, &h);
	while (job && mkd_is_of(h.jobs, h.mask, job)) {
		uint64_t now = 0, next;

		mkd_hop_read(&h, job, &n);
		next = mkd_shfl(n.u.x, MKD_HOP_NEXT) |
		       (uint64_t)mkd_shfl(n.u.y, MKD_HOP_NEXT) << 32;
		if (!first && next) {
			if (!h.lane)
				b->found = (struct mkd_job *)next;
			mkd_found_tell(w, b);
		}
		first = false;
		if (mkd_ballot(mkd_hop_odd(&h, &n)))
			break;
		if (n.seats >> h.lane & 1u)
			now = mkd_load64(
				(const uint64_t *)(h.words + 8ull * n.word));
		if (!mkd_hop_ready(&h, &n, now))
			break;
		job = mkd_hop_next(w, b, &h, mkd_hop_end(w, &h, &n));
		/* of another queue: what it leads was not looked at */
		if (job && !mkd_is_of(h.jobs, h.mask, job)) {
			if (!h.lane)
				b->found = mkd_list_next(job);
			mkd_found_tell(w, b);
		}
	}
	mkd_count_nops(w, h.tenant, h.priority, h.ended);
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
		uint32_t taken = job ? MKD_TAKEN_JOB : MKD_TAKEN_SLOTS;

		while (job && mkd_bundle_reach(w, b, job)) {
			job = mkd_hops(w, b, job);
			if (!job)
				return;
			if (!mkd_is_of(b->jobs, w->mask, job))
				continue;
			taken = mkd_bundle_load(w, b, job);
			break;
		}
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
		mkd_drop_away(w);
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
