/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One published slot: read whole, checked, run, answered, once.
 *
 * The host checked every slot before it was published; the memory may have
 * changed since, so everything is checked again, on the copy in registers.
 */
#ifndef MK_CUDA_SERVE_CUH
#define MK_CUDA_SERVE_CUH

#define MKD_EINVAL 22

/* What becomes of a seat whose slot was read. */
enum mkd_kind {
	MKD_KIND_NONE = 0,
	MKD_KIND_DONE = 1,  /* has its result: a no-op, or refused */
	MKD_KIND_PASS = 2,  /* was answered before a restart: nothing to do */
	MKD_KIND_LIGHT = 3, /* a lane runs it */
	MKD_KIND_HEAVY = 4, /* the warp, or the block, runs it */
	MKD_KIND_FENCE = 5, /* waits for earlier tickets */
	MKD_KIND_FLOW = 6   /* has tiles, waits or raises: wait.cuh */
};

struct mkd_args {
	alignas(16) uint32_t word[MK_ARG_WORDS];
};

/* block.cuh: a handler that the whole block runs, as mkd_run_warp() */
MKD_SLOW bool mkd_call_block(struct mkd_warp *w, const struct mkd_args *args,
			     struct mkd_slot *s, struct mk_task *task,
			     struct mkd_here *here);

/* wait.cuh: slots that flow, just read; and the end of a fence that does */
MKD_SLOW void mkd_flow_seats(struct mkd_warp *w, const struct mkd_unit *v,
			     uint32_t mask);
MKD_SLOW uint32_t mkd_flow_fence(struct mkd_warp *w, struct mkd_slot *s,
				 bool ends);

/* ---- polling ----------------------------------------------------------- */

/*
 * The seats whose slots shall be read now. Who is the next to get a slot, and
 * expects no more than one, reads one and not eight, which takes longer. But
 * now and then, and once behind every slot, it looks whether more have come:
 * slots may be published in any order.
 */
MKD_FN uint32_t mkd_lines(struct mkd_warp *w)
{
	uint32_t low = mkd_low_seat(w);
	int64_t ahead = (int64_t)(w->base + low - w->hint);

	if (w->halted || ahead >= (int64_t)w->window)
		return 0;
	w->one = !ahead && !w->eager;
	return w->one && !w->wide ? 1u << 4u * low : w->want;
}

/* Looks in a row: while others may have to be thought of, only one. */
MKD_FN uint32_t mkd_looks(const struct mkd_warp *w, uint32_t lines)
{
	if (!lines)
		return 64;
	if (w->orphans || w->crowded || (w->one && w->wide))
		return 1;
	return w->one ? 8u : 16u;
}

/*
 * What one poll read. Besides the slot, lanes read what may have changed in
 * device memory, which is what the quarter of the slot says: orders to all,
 * the ends of the queue, its manner.
 */
struct mkd_poll {
	struct mkd_unit v;    /* this lane's unit of its slot */
	struct mkd_unit news; /* by quarter */
	uint32_t orders, epoch; /* of struct mkd_state; from mkd_learn() */
	uint32_t first;       /* seats that were never read before */
	uint32_t looks;
};

MKD_FN uint64_t mkd_news_at(const struct mkd_warp *w)
{
	return !w->quarter ? (uint64_t)w->state :
	       w->quarter == 1u ? (uint64_t)w->q : (uint64_t)w->q + 16u;
}

/*
 * Read the slots of some seats, and in the same breath what may have changed
 * elsewhere: the loads are in flight together, and the bus takes longest. Do
 * so until there is something, or so often. The loop is short, since a slot
 * that comes while we are not reading waits for us.
 *
 * Returns the seats whose slots are published, whole.
 */
MKD_FN uint32_t mkd_poll(struct mkd_warp *w, uint32_t lines, uint32_t times,
			 struct mkd_poll *p)
{
	const uint64_t t = mkd_ticket(w, w->base + w->group);
	const uint64_t slot = w->slots + (t & w->mask) * MK_SLOT_BYTES +
			      w->quarter * 16u, news = mkd_news_at(w);
	const uint32_t mark = mkd_mark(w, t);
	const bool mine = lines >> (w->lane & ~3u) & 1u;
	/* how far claims and hint have come matters to who waits for them */
	const uint32_t even = !w->quarter || !lines ? ~0u : 0;
	const uint32_t odd = w->quarter == 1u && lines ? 0 : ~0u;
	uint32_t whole = 0;
	bool hit, other;

	p->v.x = p->v.y = p->v.z = p->v.w = 0;
	p->looks = 0;
	for (;;) {
		p->news = mkd_load16(news);
		if (mine)
			p->v = mkd_load16(slot);
		other = ((((p->news.x ^ w->news.x) |
			   (p->news.z ^ w->news.z)) & even) |
			 (((p->news.y ^ w->news.y) |
			   (p->news.w ^ w->news.w)) & odd) |
			 mkd_peek(&mkd_open)) != 0;
		/* a unit without the mark of this lap is older, or not
		 * written yet */
		hit = mine && p->v.w >> 16 == mark;
		if (++p->looks < times && !mkd_ballot(hit || other))
			continue;
		whole = mkd_ballot(hit);
		whole &= whole >> 1;
		whole &= whole >> 2;
		whole &= MKD_SPREAD;
		if (whole || p->looks >= times || mkd_ballot(other))
			break;
	}
	p->first = p->looks == 1u ? lines & w->fresh : 0;
	w->fresh &= ~lines;
	/* lanes read it at the same time, but nothing promises that they read
	 * the same: what one of them read counts for all */
	w->queue_state = mkd_shfl(p->news.y, 2);
	return whole;
}

/* What the warp goes on with. */
MKD_FN void mkd_learn(struct mkd_warp *w, struct mkd_poll *p)
{
	w->news = p->news;
	w->next = mkd_shfl(p->news.x, 1) |
		  (uint64_t)mkd_shfl(p->news.y, 1) << 32;
	w->hint = mkd_shfl(p->news.z, 1) |
		  (uint64_t)mkd_shfl(p->news.w, 1) << 32;
	w->window = mkd_shfl(p->news.x, 2);
	w->orphans = mkd_shfl(p->news.w, 2);
	p->orders = mkd_shfl(p->news.x, 0);
	p->epoch = mkd_shfl(p->news.y, 0);
	w->work = mkd_shfl(p->news.w, 0) & ~(uint32_t)MKD_WORK_KNOWN;
}

/*
 * Nothing came to seats that were read. Those that were answered before a
 * restart may have been reaped since, and their entries are of later tickets:
 * nobody is to wait for them. True: there were such.
 */
MKD_FN bool mkd_passed(struct mkd_warp *w, const struct mkd_poll *p,
		       uint32_t lines)
{
	uint64_t relative = w->base + w->group, seen;
	uint32_t mark = mkd_mark(w, mkd_ticket(w, relative)), gone;

	gone = mkd_ballot((lines >> (w->lane & ~3u) & 1u) &&
			  relative < w->skip && mkd_newer(p->v.w >> 16, mark));
	gone |= gone >> 1;
	gone |= gone >> 2;
	gone &= w->want; /* their leaders */
	if (!gone)
		return false;
	w->want &= ~gone;
	seen = w->base + (mkd_highest(gone) >> 2) + 1u;
	if (!w->lane)
		mkd_max64(&w->q->hint, seen);
	return true;
}

/* ---- answers ----------------------------------------------------------- */

MKD_FN bool mkd_answered(const struct mkd_warp *w, uint64_t ticket)
{
	uint64_t head = mkd_load64((const uint64_t *)(w->completions +
			(ticket & w->mask) * MK_COMPLETION_BYTES));

	return (uint32_t)(head >> MK_MARK_SHIFT) !=
	       ((mkd_mark(w, ticket) - 1u) & 0xffffu);
}

MKD_FN void mkd_answer_one(const struct mkd_warp *w, const struct mkd_slot *s)
{
	struct mkd_unit c;

	c.x = (uint32_t)s->result;
	c.y = (w->index & 0xffffu) | mkd_mark(w, s->ticket) << 16;
	c.z = (uint32_t)s->value;
	c.w = (uint32_t)(s->value >> 32);
	mkd_store16(w->completions + (s->ticket & w->mask) *
					     MK_COMPLETION_BYTES, c);
}

MKD_FN struct mkd_ending mkd_ending(const struct mkd_slot *s)
{
	struct mkd_ending e = { s->opcode, s->tenant, s->priority,
				s->result < 0, s->refused };

	return e;
}

/* Answer the slots of the lanes that are `mine`, and count them. */
MKD_FN void mkd_answer(struct mkd_warp *w, bool mine,
		       const struct mkd_slot *s)
{
	struct mkd_ending e = mkd_ending(s);

	if (mine)
		mkd_answer_one(w, s);
	mkd_count(w, mine, &e);
}

/* ---- checks ------------------------------------------------------------ */

MKD_FN uint64_t mkd_now_ns(const struct mkd_warp *w)
{
	return mkd_host_time(w->state);
}

MKD_FN uint64_t mkd_ext(const struct mkd_warp *w, uint64_t ticket)
{
	return mkd_load64(&w->q->ext) +
	       (ticket & w->mask) * sizeof(struct mk_wire_ext);
}

MKD_FN bool mkd_asked_to_end(const struct mkd_warp *w, uint64_t ticket)
{
	uint64_t at = mkd_ext(w, ticket) +
		      MK_OFFSETOF(struct mk_wire_ext, cancel);

	return mkd_load32((const uint32_t *)at) ==
	       (0x10000u | mkd_mark(w, ticket));
}

/* Has it a deadline, and has that passed? */
MKD_FN bool mkd_late(struct mkd_warp *w, struct mkd_slot *s)
{
	if (!(s->flags & MK_SLOT_DEADLINE))
		return false;
	/* the deadline was written before the marks */
	mkd_acquire();
	if (s->deadline_ns == ~(uint64_t)0)
		s->deadline_ns = mkd_load64(
			(const uint64_t *)mkd_ext(w, s->ticket));
	return mkd_now_ns(w) > s->deadline_ns;
}

/* Why this slot shall not run: its result, or 0. */
MKD_FN int32_t mkd_refuse(struct mkd_warp *w, struct mkd_slot *s)
{
	if (w->queue_state & (MKD_CANCEL | MKD_SHUT))
		return -MK_ECANCELLED;
	/* one that is late is asked to end by the library too */
	if ((w->queue_state & MKD_CANCEL_SOME) &&
	    mkd_asked_to_end(w, s->ticket))
		return mkd_late(w, s) ? -MK_EDEADLINE : -MK_ECANCELLED;
	if (!s->entry)
		return -MK_EOPCODE;
	/* what a queue or a row does as a whole has no parts */
	if (s->tenant >= MK_TENANTS ||
	    (s->tiles > 1u &&
	     (MKD_ENTRY_HANDLER(s->entry) == MKD_OWN_FENCE ||
	      MKD_ENTRY_HANDLER(s->entry) == MKD_OWN_ROW)))
		return -MK_ERANGE;
	if (s->priority >= MK_PRIORITIES || (s->flags & ~MK_SLOT_FLAGS))
		return -MKD_EINVAL;
	return mkd_late(w, s) ? -MK_EDEADLINE : 0;
}

/* The head of the slot in unit 0. */
MKD_FN void mkd_head(struct mkd_warp *w, const struct mkd_unit *v,
		     struct mkd_slot *s)
{
	s->opcode = v->x & 0xffffu;
	s->tenant = v->x >> 16;
	s->priority = v->y & 0xffu;
	s->flags = v->y >> 8 & 0xffu;
	s->tiles = v->y >> 16 ? v->y >> 16 : 1u;
	s->entry = s->opcode < MK_OPCODES ?
			   mkd_entry(w->state, s->opcode) : 0;
}

/* What becomes of a slot that nothing stands against; a: a no-op's value. */
MKD_FN uint32_t mkd_kind_of(uint64_t a, struct mkd_slot *s)
{
	if (s->opcode == MK_OP_NOP) {
		s->value = a;
		return MKD_KIND_DONE;
	}
	if (MKD_ENTRY_HANDLER(s->entry) == MKD_OWN_FENCE)
		return MKD_KIND_FENCE;
	return MKD_ENTRY_WIDTH(s->entry) ? MKD_KIND_HEAVY : MKD_KIND_LIGHT;
}

/* What its leader does with the slot in unit 0; a is unit 1's first words. */
MKD_FN void mkd_classify(struct mkd_warp *w, const struct mkd_unit *v,
			 uint64_t a, struct mkd_slot *s)
{
	bool flows;

	mkd_head(w, v, s);
	flows = (s->flags & (MK_SLOT_WAIT | MK_SLOT_RAISE)) || s->tiles > 1u;
	if (s->relative < w->skip && mkd_answered(w, s->ticket)) {
		s->kind = MKD_KIND_PASS;
		return;
	}
	s->kind = flows ? MKD_KIND_FLOW : MKD_KIND_DONE;
	if (flows && MKD_ENTRY_HANDLER(s->entry) != MKD_OWN_FENCE)
		return;
	s->result = mkd_refuse(w, s);
	s->refused = s->result != 0;
	if (!s->refused)
		s->kind = mkd_kind_of(a, s);
	else if (flows)
		s->kind = MKD_KIND_FLOW; /* it raises its counters */
}

/* ---- running ----------------------------------------------------------- */

/* The argument words of the slot that lane `leader` speaks for. */
MKD_FN void mkd_gather(const struct mkd_unit *v, uint32_t leader,
		       struct mkd_args *args)
{
	uint32_t z = mkd_shfl(v->z, leader), w = mkd_shfl(v->w, leader);

	for (uint32_t u = 0; u < 3u; u++) {
		uint32_t from = (leader + u + 1u) & 31u;
		uint32_t spill = u == 0 ? z & 0xffffu :
				 u == 1 ? z >> 16 : w & 0xffffu;

		args->word[4 * u] = mkd_shfl(v->x, from);
		args->word[4 * u + 1] = mkd_shfl(v->y, from);
		args->word[4 * u + 2] = mkd_shfl(v->z, from);
		args->word[4 * u + 3] = (mkd_shfl(v->w, from) & 0xffffu) |
					spill << 16;
	}
}

/* The worker's block in the shared memory. */
MKD_FN struct mk_worker_block *mkd_own_block(const struct mkd_warp *w)
{
	return (struct mk_worker_block *)
		(mkd_launched.region + mkd_launched.blocks_offset) + w->index;
}

/* A word of 64 bits in a unit. */
#define MKD_WORD64(unit, low, high) \
	((unit).low | (uint64_t)(unit).high << 32)

MKD_FN void mkd_task(const struct mkd_warp *w, struct mk_task *task,
		     uint64_t ticket, uint64_t deadline_ns, uint32_t lane,
		     uint32_t lanes)
{
	/* all on their way before any is looked at */
	const struct mkd_unit ext = mkd_load16((uint64_t)&w->q->ext);
	const struct mkd_unit control = mkd_load16((uint64_t)&w->q->control);
	const struct mkd_unit log = mkd_load16((uint64_t)&w->q->log);
	const struct mkd_unit counts = mkd_load16((uint64_t)&w->q->entries);
	const uint32_t io_records = mkd_load32(&w->q->io_records);
	const struct mkd_launch *l = w->l;

	task->windows = (const struct mk_window *)l->windows;
	task->window_count = l->window_count;
	task->error = 0;
	task->ticket = ticket;
	task->value = 0;
	task->deadline_ns = deadline_ns;
	task->cancel = (const uint32_t *)(MKD_WORD64(ext, x, y) +
			(ticket & w->mask) * sizeof(struct mk_wire_ext) +
			MK_OFFSETOF(struct mk_wire_ext, cancel));
	task->cancel_mark = 0x10000u | mkd_mark(w, ticket);
	task->worker = w->index;
	task->scratch = (unsigned char *)(l->scratch +
			(uint64_t)w->index * l->scratch_bytes);
	task->scratch_bytes = l->scratch_bytes;
	task->lane = lane;
	task->lanes = lanes;
	task->tile = 0;
	task->tiles = 1;
	task->dirty = 0;
	task->control = (struct mk_control *)MKD_WORD64(control, x, y);
	task->observables = (uint64_t *)MKD_WORD64(control, z, w);
	task->observable_count = counts.z;
	task->log = (struct mk_debug_log *)MKD_WORD64(log, x, y);
	task->log_capacity = counts.w;
	task->io = (struct mk_io_queue *)MKD_WORD64(log, z, w);
	task->io_capacity = io_records;
	task->tile_last = 0;
	task->engine = (void *)0;
	task->beat = &mkd_own_block(w)->beat;
	task->join = (struct mk_tile_join *)0;
	task->opcode = 0;
	task->made = 0;
	task->next.kind = MK_NEXT_NONE;
}

/* Say in the shared memory what runs, for whoever asks when we are lost. */
MKD_FN void mkd_announce(struct mkd_warp *w, const struct mkd_slot *s,
			 bool begin)
{
	struct mk_worker_block *b = mkd_own_block(w);
	struct mkd_unit u;

	if (w->lane)
		return;
	if (begin) {
		u.x = (uint32_t)s->ticket;
		u.y = (uint32_t)(s->ticket >> 32);
		u.z = w->queue_index;
		u.w = s->opcode;
		if (!mkd_launched.silent) {
			mkd_store16((uint64_t)b, u);
			mkd_store64(&b->started_ns, mkd_now_ns(w));
		}
		/* before we stop looking at orders */
		mkd_store32(&w->me->busy, w->place + 1u);
	} else {
		mkd_store32(&w->me->busy, 0);
	}
	if (!mkd_launched.silent)
		mkd_store32(&b->running, begin);
	if (!begin)
		/* Dekker with mkd_wait_workers(): we say that we are back,
		 * then look at queues and orders */
		mkd_fence();
}

/*
 * Handlers that one lane runs: each leader its own, side by side. One may take
 * long: each answers by itself, and nobody waits behind us for the seats that
 * are not among them. (Lanes of a warp make progress on their own.)
 */
MKD_SLOW void mkd_run_light(struct mkd_warp *w, const struct mkd_unit *v,
			    bool mine, struct mkd_slot *s)
{
	uint32_t leader = w->lane & ~3u;
	struct mkd_args args;
	struct mk_task task;
	struct mkd_here here;
	uint32_t spawned = 0;
	bool ends = false;

	if (w->want)
		mkd_drop_away(w);
	mkd_gather(v, leader, &args);
	if (!w->lane)
		mkd_store32(&w->me->busy, MKD_BUSY_LIGHT);
	if (mine) {
		mkd_task(w, &task, s->ticket, s->deadline_ns, 0, 1);
		/* leaders share the worker's scratch memory */
		task.scratch_bytes =
			(mkd_launched.scratch_bytes / MKD_SEATS) & ~15u;
		task.scratch += w->group * task.scratch_bytes;
		mkd_here(w, s, &task, &here);
	}
	mkd_acquire();
	if (mine) {
		s->result = mkd_dispatch(MKD_ENTRY_HANDLER(s->entry), &task,
					 args.word);
		s->value = task.value;
		if (task.dirty)
			mkd_release();
		ends = mkd_after(&task, &here, s);
		if (ends)
			mkd_answer_one(w, s);
		spawned = here.spawned;
	}
	mkd_syncwarp();
	if (!w->lane)
		mkd_store32(&w->me->busy, 0);
	mkd_made_count(w, spawned);
	if (mkd_ballot(ends)) {
		struct mkd_ending e = mkd_ending(s);

		mkd_count(w, ends, &e);
	}
}

/* A handler that all lanes run. Lane 0's result and value are the slot's;
 * true if any lane wrote something. Lane 0's task and here say what is left
 * to be done; mkd_after_wide(). */
MKD_FN bool mkd_run_warp(struct mkd_warp *w, const struct mkd_args *args,
			 struct mkd_slot *s, struct mk_task *task,
			 struct mkd_here *here)
{
	uint32_t made;

	mkd_task(w, task, s->ticket, s->deadline_ns, w->lane, MKD_LANES);
	mkd_here(w, s, task, here);
	task->value = s->value;
	mkd_acquire();
	if (MKD_ENTRY_HANDLER(s->entry) == MKD_OWN_ROW)
		s->result = mkd_row(task, (const struct mk_op_row *)args->word,
				    w->state);
	else
		s->result = mkd_dispatch(MKD_ENTRY_HANDLER(s->entry), task,
					 args->word);
	mkd_syncwarp();
	s->value = task->value;
	mkd_made_count(w, here->spawned);
	made = mkd_ballot(here->job != (struct mkd_job *)0);
	if (made)
		here->job = (struct mkd_job *)mkd_shfl64((uint64_t)here->job,
							 mkd_lowest(made));
	return mkd_ballot(task->dirty != 0) != 0;
}

/* All lanes, and the warps of the block if it is for them. */
MKD_FN bool mkd_run_wide(struct mkd_warp *w, const struct mkd_args *args,
			 struct mkd_slot *s, struct mk_task *task,
			 struct mkd_here *here)
{
	return MKD_ENTRY_WIDTH(s->entry) == 2u && mkd_launched.warps > 1u ?
		       mkd_call_block(w, args, s, task, here) :
		       mkd_run_warp(w, args, s, task, here);
}

/* The same, for those who are in less of a hurry. */
MKD_SLOW bool mkd_run_wide_away(struct mkd_warp *w,
				const struct mkd_args *args,
				struct mkd_slot *s, struct mk_task *task,
				struct mkd_here *here)
{
	return mkd_run_wide(w, args, s, task, here);
}

/* Sets s->ends, for all lanes; result and value count in lane 0. */
MKD_FN void mkd_after_wide(struct mkd_warp *w, struct mkd_slot *s,
			   struct mk_task *task, struct mkd_here *here)
{
	bool ends = true;

	if (s->result == -MK_ECANCELLED && s->deadline_ns != ~(uint64_t)0 &&
	    mkd_now_ns(w) > s->deadline_ns)
		s->result = -MK_EOVERRUN; /* it was asked to end, and did */
	if (!w->lane)
		ends = mkd_after(task, here, s);
	s->ends = mkd_shfl(ends, 0) != 0;
}

/* All that its leader knows of a slot, to every lane. */
MKD_FN void mkd_spread_slot(struct mkd_slot *s, uint32_t leader)
{
	s->relative = mkd_shfl64(s->relative, leader);
	s->ticket = mkd_shfl64(s->ticket, leader);
	s->opcode = mkd_shfl(s->opcode, leader);
	s->tenant = mkd_shfl(s->tenant, leader);
	s->priority = mkd_shfl(s->priority, leader);
	s->flags = mkd_shfl(s->flags, leader);
	s->entry = mkd_shfl(s->entry, leader);
	s->deadline_ns = mkd_shfl64(s->deadline_ns, leader);
	s->tiles = mkd_shfl(s->tiles, leader);
	s->tile = 0;
	s->job = (struct mkd_job *)0;
	s->refused = false;
}

/* MK_OP_SHUTDOWN ran: from its answer on no worker may start a slot of this
 * queue, whatever it read before. */
MKD_FN void mkd_shut(struct mkd_warp *w)
{
	uint32_t target;

	if (!w->lane)
		mkd_or32(&w->q->state, MKD_SHUT);
	target = mkd_bump(w->state, w->lane);
	while (!mkd_all_saw(w->l, w->lane, target, MKD_PLACES))
		mkd_nap(200);
}

/* A slot that takes the whole warp, or the block. */
MKD_SLOW void mkd_run_heavy(struct mkd_warp *w, const struct mkd_unit *v,
			    uint32_t leader, struct mkd_slot *s)
{
	uint32_t rest = w->want & ~(1u << leader);
	struct mkd_args args;
	struct mk_task task;
	struct mkd_here here;
	bool dirty;

	mkd_gather(v, leader, &args);
	mkd_spread_slot(s, leader);
	if (!w->lane)
		mkd_store32(&w->q->heavy, (uint32_t)s->relative + 1u);
	/* nobody waits behind us for what we could not get to */
	w->want = rest;
	if (rest)
		mkd_drop_away(w);
	mkd_announce(w, s, true);
	dirty = mkd_run_wide(w, &args, s, &task, &here);
	if (s->opcode == MK_OP_SHUTDOWN &&
	    mkd_shfl((uint32_t)s->result, 0) == 0)
		mkd_shut(w);
	if (!w->lane && dirty)
		mkd_release();
	mkd_after_wide(w, s, &task, &here);
	if (s->ends)
		mkd_answer(w, !w->lane, s);
	mkd_announce(w, s, false);
}

/* ---- fences ------------------------------------------------------------ */

/* Have all tickets before this one been answered? */
MKD_FN bool mkd_fence_ready(struct mkd_warp *w, uint64_t relative)
{
	uint64_t from = mkd_shfl64(mkd_load64(&w->q->fenced), 0), at;
	uint32_t open = 0;

	/* older ones were answered before this slot could be published */
	if (relative > w->mask && from < relative - w->mask)
		from = relative - w->mask;
	for (at = from; at < relative && !open; at += MKD_LANES) {
		uint64_t r = at + w->lane;

		open = mkd_ballot(r < relative &&
				  !mkd_answered(w, mkd_ticket(w, r)));
		if (open)
			relative = at + mkd_lowest(open);
	}
	if (!w->lane)
		mkd_max64(&w->q->fenced, relative);
	/* what the others released is seen by whoever sees our answer */
	if (!open)
		mkd_release();
	return !open;
}

MKD_SLOW void mkd_serve_fence(struct mkd_warp *w, uint32_t leader,
			      struct mkd_slot *s)
{
	bool ready;

	mkd_spread_slot(s, leader);
	ready = mkd_fence_ready(w, s->relative);
	s->result = MK_OK;
	s->value = 0;
	if (s->flags & (MK_SLOT_WAIT | MK_SLOT_RAISE))
		ready = mkd_flow_fence(w, s, ready);
	else if (ready)
		mkd_answer(w, !w->lane, s);
	if (ready) {
		w->want &= ~(1u << leader);
	} else {
		mkd_trade_away(w, s->relative, false);
		/* who waits may wait for a slot of another queue */
		if (w->crowded)
			mkd_drop_away(w);
	}
}

/* ---- a poll that found something ---------------------------------------- */

/* Slots are coming faster than one at a time: let others come. */
MKD_FN void mkd_burst(struct mkd_warp *w)
{
	uint32_t window = mkd_launched.tuning.window;

	/* no more than the ring has can be there */
	if (window > w->mask + 1u)
		window = w->mask + 1u;
	if (!w->lane && w->window < window)
		mkd_store32(&w->q->window, window);
}

/* Slots of which there is more to say than that they were no-ops. */
MKD_SLOW void mkd_serve_away(struct mkd_warp *w, const struct mkd_unit *v,
			     uint32_t got)
{
	bool mine = got >> w->lane & 1u;
	uint32_t next = (w->lane + 1u) & 31u;
	uint64_t a = mkd_shfl(v->x, next) |
		     (uint64_t)mkd_shfl(v->y, next) << 32;
	uint32_t done, light, fence, heavy, flow;
	struct mkd_slot s;

	s.relative = w->base + w->group;
	s.ticket = mkd_ticket(w, s.relative);
	s.opcode = s.tenant = s.priority = s.flags = s.entry = 0;
	s.kind = MKD_KIND_NONE;
	s.result = 0;
	s.value = 0;
	s.deadline_ns = ~(uint64_t)0;
	s.job = (struct mkd_job *)0;
	s.tile = 0;
	s.tiles = 1;
	s.refused = s.ends = false;
	if (mine)
		mkd_classify(w, v, a, &s);
	done = mkd_ballot(s.kind == MKD_KIND_DONE);
	if (done)
		mkd_answer(w, s.kind == MKD_KIND_DONE, &s);
	done |= mkd_ballot(s.kind == MKD_KIND_PASS);
	light = mkd_ballot(s.kind == MKD_KIND_LIGHT);
	flow = mkd_ballot(s.kind == MKD_KIND_FLOW);
	w->want &= ~(done | light | flow);
	if (light)
		mkd_run_light(w, v, s.kind == MKD_KIND_LIGHT, &s);
	if (flow)
		mkd_flow_seats(w, v, flow);
	/* unless they were left to others */
	fence = mkd_ballot(s.kind == MKD_KIND_FENCE) & w->want;
	heavy = mkd_ballot(s.kind == MKD_KIND_HEAVY) & w->want;
	if (heavy)
		mkd_run_heavy(w, v, mkd_lowest(heavy), &s);
	else if (fence)
		mkd_serve_fence(w, mkd_lowest(fence), &s);
}

/* A no-op that nothing stands against, as its leader sees unit 0. */
MKD_FN bool mkd_plain(const struct mkd_warp *w, const struct mkd_unit *v,
		      uint64_t relative)
{
	const uint32_t flags = 0xffu & ~(uint32_t)MK_SLOT_IDEMPOTENT;

	return (v->x & 0xffffu) == MK_OP_NOP && v->x >> 16 < MK_TENANTS &&
	       (v->y & 0xffu) < MK_PRIORITIES && !(v->y >> 8 & flags) &&
	       v->y >> 16 <= 1u && w->queue_state == MKD_OPEN &&
	       relative >= w->skip && w->nops;
}

/* Answer the no-ops, and return them: the shortest way there is. */
MKD_FN uint32_t mkd_serve_plain(struct mkd_warp *w, const struct mkd_unit *v,
				uint32_t got)
{
	uint64_t t = mkd_ticket(w, w->base + w->group);
	uint32_t next = (w->lane + 1u) & 31u;
	struct mkd_unit c;
	bool mine;

	c.x = 0;
	c.y = (w->index & 0xffffu) | mkd_mark(w, t) << 16;
	c.z = mkd_shfl(v->x, next);
	c.w = mkd_shfl(v->y, next);
	mine = (got >> w->lane & 1u) && mkd_plain(w, v, w->base + w->group);
	if (mine)
		mkd_store16(w->completions +
				    (t & w->mask) * MK_COMPLETION_BYTES, c);
	got = mkd_ballot(mine);
	if (got) {
		struct mkd_ending e = { MK_OP_NOP, v->x >> 16, v->y & 0xffu,
					false, false };

		mkd_count_hot(w, mine, &e);
	}
	return got;
}

/* Some slots are there. */
MKD_FN void mkd_serve(struct mkd_warp *w, struct mkd_poll *p, uint32_t got)
{
	uint32_t plain = mkd_serve_plain(w, &p->v, got);
	uint64_t seen = w->base + (mkd_highest(got) >> 2) + 1u;

	mkd_learn(w, p);
	if (!w->lane)
		mkd_max64(&w->q->hint, seen);
	if (w->hint < seen)
		w->hint = seen;
	w->wide = true;
	w->singles = mkd_bits(got) > 1u ? 0 : w->singles + 1u;
	w->eager = !w->singles || (w->eager && w->singles < 16u);
	/* a slot that was there already, and takes long: there may be more */
	if (!w->singles || (!w->light && (got & p->first)))
		mkd_burst(w);
	w->want &= ~plain;
	if (got != plain) {
		struct mkd_warp copy = *w;
		struct mkd_unit unit = p->v;

		mkd_serve_away(&copy, &unit, got & ~plain);
		*w = copy;
	}
	if (w->unflushed >= mkd_launched.tuning.flush)
		mkd_flush(w);
}

#endif
