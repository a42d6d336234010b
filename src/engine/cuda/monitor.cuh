/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monitor: one warp that looks at the mailbox, so that no worker has to.
 * It compares the layouts before the first slot, carries out commands, keeps
 * the clock, and notices when nothing has happened for so long that the
 * kernel had better leave.
 */
#ifndef MK_CUDA_MONITOR_CUH
#define MK_CUDA_MONITOR_CUH

#define MKD_GAVE_UP (-1) /* result of a command that was cancelled */
#define MKD_NO_SEQ 0xffffffffu

/* Of one queue, one lane's. */
struct mkd_mode {
	uint32_t state; /* of the queue */
	uint32_t bits;  /* enum mk_queue_mode */
};

struct mkd_monitor {
	const struct mkd_launch *l;
	struct mkd_state *state;
	struct mkd_queue *queues;
	struct mkd_mail *mail;
	uint32_t lane;
	uint32_t last;     /* command that is done */
	bool held;         /* by a command */
	uint64_t clock_ns; /* as last read */
	uint64_t activity; /* sum of the hints */
	uint64_t since;    /* of no activity */
	uint32_t beat;     /* mail->beat */
	uint64_t swept_ns; /* when what waits was last looked at */
	bool telling;      /* a queue's mode changed; workers are to see */
	uint32_t mode_epoch; /* ... this */
};

/* ---- waiting ----------------------------------------------------------- */

/* The host takes a monitor that counts for a kernel that is well. */
MKD_FN void mkd_beat(struct mkd_monitor *m)
{
	m->beat++;
	if (!m->lane)
		mkd_store32(&m->mail->beat, m->beat);
}

/* Until all workers saw the epoch; false: the host gave this command up, and
 * it is a handler that would have to be waited for. */
MKD_FN bool mkd_await(struct mkd_monitor *m, uint32_t epoch, uint32_t place,
		      uint32_t seq)
{
	for (;;) {
		uint32_t seen = mkd_who_saw(m->l, m->lane, epoch, place);

		if (seen == MKD_SEEN_ALL)
			return true;
		if (seen == MKD_SEEN_BUSY &&
		    mkd_shfl(mkd_load32(&m->mail->cancel), 0) == seq)
			return false;
		mkd_beat(m);
		mkd_nap(200);
	}
}

MKD_FN uint32_t mkd_order(struct mkd_monitor *m, uint32_t order)
{
	if (!m->lane)
		mkd_store32(&m->state->order, order);
	return mkd_bump(m->state, m->lane);
}

/* ---- modes of queues --------------------------------------------------- */

/*
 * Workers do not look at the mode of a queue, which is a word of the host: if
 * each did so once for its slots, they would wait for each other's reads. The
 * monitor looks for all and sets flags in the queue's state, which workers
 * read anyway. The host, who is in no hurry to cancel, waits until it is told
 * that every worker has seen the flags: mk_queue_mode().
 */
MKD_FN void mkd_mode_load(const struct mkd_monitor *m, uint32_t place,
			  uint32_t places, struct mkd_mode *mode)
{
	const struct mkd_queue *q = m->queues + place;

	mode->state = place < places ? mkd_load32(&q->state) : MKD_FREE;
	mode->bits = 0;
	if (mode->state & ~MKD_FLAGS)
		mode->bits = mkd_load32((const uint32_t *)(
			mkd_load64(&q->block) +
			MK_OFFSETOF(struct mk_queue_block, mode)));
}

/* True if there is something new, of any lane. */
MKD_FN bool mkd_mode_set(struct mkd_monitor *m, uint32_t place,
			 const struct mkd_mode *mode)
{
	uint32_t flags = 0;

	if (mode->bits & MK_MODE_CANCEL)
		flags |= MKD_CANCEL;
	if (mode->bits & MK_MODE_CANCEL_SOME)
		flags |= MKD_CANCEL_SOME;
	flags &= ~mode->state;
	if (flags)
		mkd_or32(&m->queues[place].state, flags);
	return mkd_ballot(flags != 0) != 0;
}

/* All queues, before the first slot of a launch: from this one on, which was
 * read already. */
MKD_FN void mkd_modes(struct mkd_monitor *m, struct mkd_mode *mode,
		      uint32_t places)
{
	for (uint32_t i = m->lane;;) {
		m->telling |= mkd_mode_set(m, i, mode);
		/* the last launch may have come to an end before it told */
		m->telling |= mkd_ballot(mode->bits != 0) != 0;
		i += MKD_LANES;
		if (i - m->lane >= places)
			return;
		mkd_mode_load(m, i, places, mode);
	}
}

/* Every worker has seen the flags: so the host may know. */
MKD_SLOW void mkd_tell_modes(struct mkd_monitor *m)
{
	uint32_t places = mkd_shfl(mkd_load32(&m->state->places), 0);

	for (uint32_t i = m->lane; i < places; i += MKD_LANES) {
		struct mkd_queue *q = m->queues + i;
		uint32_t state = mkd_load32(&q->state), mode = MK_MODE_TOLD;

		if (!(state & ~MKD_FLAGS) ||
		    mkd_load32(&q->told) == (state & MKD_FLAGS))
			continue;
		mkd_store32(&q->told, state & MKD_FLAGS);
		if (state & MKD_CANCEL)
			mode |= MK_MODE_CANCEL;
		if (state & MKD_CANCEL_SOME)
			mode |= MK_MODE_CANCEL_SOME;
		mkd_store32_release((uint32_t *)(mkd_load64(&q->block) +
				MK_OFFSETOF(struct mk_queue_block, mode_seen)),
				    mode);
	}
	mkd_syncwarp();
}

/* ---- commands ---------------------------------------------------------- */

MKD_FN void mkd_set_places(struct mkd_monitor *m, uint32_t places)
{
	if (!m->lane)
		mkd_store32(&m->state->places, places);
}

MKD_FN void mkd_attach(struct mkd_monitor *m, uint32_t place, uint32_t places)
{
	struct mkd_queue *q = m->queues + place;
	uint32_t units = sizeof(*q) / 16u;
	struct mkd_mode mode;

	mkd_acquire();
	if (m->lane < units)
		mkd_store16((uint64_t)q + 16u * m->lane,
			    mkd_load16((uint64_t)m->mail->payload +
				       16u * m->lane));
	mkd_syncwarp();
	if (!m->lane) {
		uint32_t flags = mkd_load32(&q->state) & MKD_FLAGS;

		/* after a restart it may have a mode already; not told */
		mkd_store32(&q->state, MKD_HALT | flags);
	}
	mkd_syncwarp();
	mkd_mode_load(m, place + m->lane, place + 1u, &mode);
	if (mkd_mode_set(m, place + m->lane, &mode))
		m->telling = true;
	if (!m->lane) {
		uint32_t flags = mkd_load32(&q->state) & MKD_FLAGS;

		mkd_fence();
		mkd_store32(&q->state, MKD_OPEN | flags);
	}
	mkd_set_places(m, places);
	m->mode_epoch = mkd_bump(m->state, m->lane);
}

/* Tell workers to look at all that waits. */
MKD_FN void mkd_order_sweep(struct mkd_monitor *m)
{
	if (!m->lane)
		mkd_bell(MKD_WORK_SWEEP | MKD_WORK_LOOK | MKD_WORK_TILES);
}

/* Is anything of the queue open? */
MKD_FN bool mkd_jobs_open(const struct mkd_monitor *m,
			  const struct mkd_queue *q)
{
	const struct mkd_job *jobs = (const struct mkd_job *)mkd_load64(
		&q->jobs);
	uint32_t entries = mkd_shfl(mkd_load32(&q->entries), 0), open = 0;

	for (uint32_t i = 0; i < entries && !open; i += MKD_LANES)
		open = mkd_ballot(i + m->lane < entries &&
				  mkd_load64(&jobs[i + m->lane].open));
	return open != 0;
}

/* Nobody runs a slot of the queue: what of its slots is left in device memory
 * is dropped by the workers as they come upon it. */
MKD_FN void mkd_drain(struct mkd_monitor *m, struct mkd_queue *q,
		      uint32_t flags, uint32_t place)
{
	if (!m->lane)
		mkd_store32(&q->state, MKD_DRAIN | flags);
	mkd_await(m, mkd_bump(m->state, m->lane), place, MKD_NO_SEQ);
	while (mkd_jobs_open(m, q)) {
		mkd_order_sweep(m);
		mkd_beat(m);
		mkd_nap(2000);
	}
}

MKD_FN int32_t mkd_detach(struct mkd_monitor *m, uint32_t place,
			  uint32_t places, uint32_t seq)
{
	struct mkd_queue *q = m->queues + place;
	uint32_t was = mkd_shfl(mkd_load32(&q->state), 0);
	uint32_t halt = MKD_HALT | (was & MKD_FLAGS);
	bool done;

	if (!m->lane)
		mkd_store32(&q->state, halt);
	/* nobody runs a slot of it or looks at its ring from then on */
	done = mkd_await(m, mkd_bump(m->state, m->lane), place, seq);
	if (done && mkd_jobs_open(m, q) &&
	    mkd_shfl(mkd_load32(&m->state->order), 0) == MKD_RUN)
		mkd_drain(m, q, was & MKD_FLAGS, place);
	if (!m->lane)
		mkd_store32(&q->state, done ? (uint32_t)MKD_FREE : was);
	if (done) {
		mkd_set_places(m, places);
		/* and nobody has seats on it any more */
		mkd_await(m, mkd_bump(m->state, m->lane), place, MKD_NO_SEQ);
	} else {
		mkd_bump(m->state, m->lane);
	}
	return done ? 0 : MKD_GAVE_UP;
}

MKD_FN void mkd_window_set(struct mkd_monitor *m, uint32_t index)
{
	struct mk_window *to = (struct mk_window *)m->l->windows + index;
	const struct mk_window *from =
		(const struct mk_window *)m->mail->payload;

	mkd_acquire();
	if (m->lane)
		return;
	mkd_store64(&to->base, mkd_load64(&from->base));
	mkd_store64(&to->bytes, mkd_load64(&from->bytes));
	mkd_store32(&to->flags, mkd_load32(&from->flags));
	mkd_store32(&to->last, mkd_load32(&from->last));
	mkd_store32(&to->born, mkd_load32(&from->born));
	mkd_fence();
	mkd_store32(&to->generation, mkd_load32(&from->generation));
	mkd_fence();
}

MKD_FN int32_t mkd_window_unset(struct mkd_monitor *m, uint32_t index,
				uint32_t seq)
{
	struct mk_window *to = (struct mk_window *)m->l->windows + index;
	uint32_t was = mkd_shfl(mkd_load32(&to->generation), 0);

	if (!m->lane)
		mkd_store32(&to->generation, 0);
	if (mkd_await(m, mkd_bump(m->state, m->lane), MKD_STRICT, seq)) {
		/* what waits for words of it never gets them */
		mkd_order_sweep(m);
		return 0;
	}
	if (!m->lane)
		mkd_store32(&to->generation, was);
	return MKD_GAVE_UP;
}

MKD_FN void mkd_table_copy(struct mkd_monitor *m)
{
	mkd_acquire();
	for (uint32_t i = m->lane; i < MK_OPCODES / 8u; i += MKD_LANES)
		mkd_store16((uint64_t)m->state->table + 16u * i,
			    mkd_load16((uint64_t)m->mail->table + 16u * i));
	for (uint32_t i = m->lane; i < MK_OPCODES / 16u; i += MKD_LANES)
		mkd_store16((uint64_t)m->state->takes + 16u * i,
			    mkd_load16((uint64_t)m->mail->takes + 16u * i));
	mkd_syncwarp();
}

/* Does the table to come lack what this opcode runs now? */
MKD_FN bool mkd_table_drops(const struct mkd_monitor *m, uint32_t opcode)
{
	uint32_t two;

	if (opcode >= MK_OPCODES || !mkd_entry(m->state, opcode))
		return false;
	two = mkd_load32((const uint32_t *)m->mail->table + opcode / 2u);
	return !(opcode & 1u ? two >> 16 : two & 0xffffu);
}

/* Jobs of an array, of which so many are used, that will run such an opcode.
 * What waits and has not begun is like any slot in the ring. */
MKD_FN bool mkd_jobs_use(const struct mkd_monitor *m,
			 const struct mkd_job *jobs, uint32_t count)
{
	uint32_t used = 0;

	for (uint32_t i = m->lane; i < count; i += MKD_LANES) {
		uint32_t runs = mkd_load32(&jobs[i].flags) & MKD_JOB_RUNS;
		uint64_t open = mkd_load64(&jobs[i].open);

		if (runs && open != MKD_PARKED)
			used |= mkd_table_drops(
				m, mkd_load32((const uint32_t *)
					      &jobs[i].run) & 0xffffu);
	}
	return mkd_ballot(used) != 0;
}

/* Would work that is there, and no slot any more, miss its handler? All
 * workers stand still. */
MKD_SLOW bool mkd_table_missed(struct mkd_monitor *m)
{
	struct mkd_flow *f = (struct mkd_flow *)m->l->flow;
	uint32_t places = mkd_shfl(mkd_load32(&m->state->places), 0);
	uint32_t used = 0;

	for (uint32_t i = 0; i < places && !used; i++) {
		struct mkd_queue *q = m->queues + i;

		if (mkd_shfl(mkd_load32(&q->state), 0) & ~MKD_FLAGS)
			used = mkd_jobs_use(
				m, (const struct mkd_job *)mkd_shfl64(
					mkd_load64(&q->jobs), 0),
				mkd_shfl(mkd_load32(&q->entries), 0));
	}
	if (!used)
		used = mkd_jobs_use(m, f->is.parked, (uint32_t)mkd_shfl64(
					    mkd_load64(&f->fresh_parked), 0));
	for (uint32_t i = 0; i < f->is.homes && !used; i++) {
		struct mkd_home *h = f->is.home + i;
		uint64_t head = mkd_shfl64(mkd_load64(&h->head), 0);
		uint64_t tail = mkd_shfl64(mkd_load64(&h->tail), 0);

		for (uint64_t t = head; t < tail && !used; t += MKD_LANES)
			used = mkd_ballot(
				t + m->lane < tail &&
				mkd_table_drops(m, mkd_load32(
					(const uint32_t *)mkd_home_place(
						f, h, t + m->lane)) &
					0xffffu));
	}
	return used != 0;
}

/* A table without what was in it: nobody runs that any more, or will. */
MKD_FN int32_t mkd_table_strict(struct mkd_monitor *m, uint32_t seq)
{
	uint32_t order = m->held ? MKD_HOLD : MKD_RUN;
	bool missed;

	for (;;) {
		if (!mkd_await(m, mkd_order(m, MKD_HOLD), MKD_STRICT, seq)) {
			mkd_order(m, order);
			return MKD_GAVE_UP;
		}
		missed = mkd_table_missed(m);
		if (!missed)
			mkd_table_copy(m);
		mkd_order(m, order);
		if (!missed)
			return 0;
		if (mkd_shfl(mkd_load32(&m->mail->cancel), 0) == seq)
			return MKD_GAVE_UP;
		for (uint32_t i = 0; i < 50u; i++) {
			mkd_beat(m);
			mkd_nap(2000);
		}
	}
}

MKD_FN int32_t mkd_table_command(struct mkd_monitor *m, uint32_t strict,
				 uint32_t seq)
{
	if (strict)
		return mkd_table_strict(m, seq);
	mkd_table_copy(m);
	return mkd_await(m, mkd_bump(m->state, m->lane), MKD_PLACES, seq) ?
		       0 : MKD_GAVE_UP;
}

MKD_FN int32_t mkd_hold(struct mkd_monitor *m, uint32_t seq)
{
	if (mkd_await(m, mkd_order(m, MKD_HOLD), MKD_STRICT, seq)) {
		m->held = true;
		return 0;
	}
	mkd_order(m, MKD_RUN);
	return MKD_GAVE_UP;
}

/* Carry out the command in unit c of the mailbox. False: leave. */
MKD_SLOW bool mkd_command(struct mkd_monitor *m, struct mkd_unit c)
{
	int32_t result = 0;

	switch (c.y) {
	case MKD_CMD_ATTACH:
		mkd_attach(m, c.z, c.w);
		break;
	case MKD_CMD_DETACH:
		result = mkd_detach(m, c.z, c.w, c.x);
		break;
	case MKD_CMD_WINDOW:
		mkd_window_set(m, c.z);
		break;
	case MKD_CMD_UNWINDOW:
		result = mkd_window_unset(m, c.z, c.x);
		break;
	case MKD_CMD_TABLE:
		result = mkd_table_command(m, c.w, c.x);
		break;
	case MKD_CMD_HOLD:
		result = mkd_hold(m, c.x);
		break;
	case MKD_CMD_RUN:
		m->held = false;
		mkd_order(m, MKD_RUN);
		break;
	default:
		break;
	}
	m->last = c.x;
	m->since = mkd_shfl64(mkd_time(), 0);
	if (!m->lane) {
		mkd_store32((uint32_t *)&m->mail->result, (uint32_t)result);
		mkd_store32_release(&m->mail->ack, c.x);
	}
	mkd_syncwarp();
	return c.y != MKD_CMD_LEAVE;
}

/* ---- idleness ---------------------------------------------------------- */

MKD_FN bool mkd_idle(struct mkd_monitor *m)
{
	uint32_t places = mkd_shfl(mkd_load32(&m->state->places), 0);
	uint64_t sum = 0, now = mkd_shfl64(mkd_time(), 0);
	bool same;

	for (uint32_t i = m->lane; i < places; i += MKD_LANES)
		sum += mkd_load64(&m->queues[i].hint);
	/* what can run keeps us here; what waits does not */
	same = !mkd_ballot(sum != m->activity) &&
	       !(mkd_shfl(mkd_load32(&m->state->work), 0) &
		 ~(uint32_t)MKD_WORK_KNOWN);
	m->activity = sum;
	if (!same)
		m->since = now;
	return now - m->since >= m->l->idle_ns && m->l->idle_ns != ~0ull;
}

/* Nothing has happened for long. True: everybody stands still, let us go. */
MKD_FN bool mkd_park(struct mkd_monitor *m)
{
	uint32_t epoch = mkd_order(m, MKD_HOLD);

	/* a worker that runs a handler would keep the others from working */
	for (uint32_t i = 0; i < 64u; i++) {
		if (mkd_all_saw(m->l, m->lane, epoch, MKD_STRICT)) {
			if (mkd_shfl(mkd_load32(&m->state->work), 0) ==
			    MKD_WORK_KNOWN)
				return true;
			break; /* the last of them left work behind */
		}
		mkd_nap(200);
	}
	mkd_order(m, MKD_RUN);
	m->since = mkd_shfl64(mkd_time(), 0);
	return false;
}

/* ---- coming and going -------------------------------------------------- */

/* Do host and kernel mean the same bytes? */
MKD_SLOW bool mkd_handshake(struct mkd_monitor *m)
{
	struct mk_context_block *b = (struct mk_context_block *)m->l->region;
	struct mkd_unit h = mkd_load16((uint64_t)b);
	bool same = mkd_shfl(h.x == MK_MAGIC_CONTEXT &&
				     h.y == MK_ABI_VERSION &&
				     h.z == MK_FINGERPRINT, 0);

	if (m->lane)
		return same;
	if (same) {
		mkd_or32(&m->state->work, MKD_WORK_KNOWN);
		mkd_store32_release(&b->state, MK_ENGINE_READY);
		return true;
	}
	mkd_store32((uint32_t *)&b->error, (uint32_t)-MK_EABI);
	mkd_store32_release(&b->state, MK_ENGINE_FAILED);
	return false;
}

/* Where each queue stands: the first ticket that is not served. */
MKD_FN void mkd_report_low(struct mkd_monitor *m, uint32_t place)
{
	struct mkd_queue *q = m->queues + place;
	uint64_t low = mkd_load64(&q->low), next = mkd_load64(&q->next);

	if (next < low)
		low = next;
	for (uint32_t i = 0; i < MKD_ORPHANS; i++) {
		uint64_t packed = mkd_load64(&q->orphan[i]);

		if (packed && mkd_packed_low(packed) < low)
			low = mkd_packed_low(packed);
	}
	mkd_store64(&m->mail->low[place], low);
}

MKD_SLOW void mkd_leave(struct mkd_monitor *m, uint32_t reason)
{
	uint32_t places = mkd_shfl(mkd_load32(&m->state->places), 0);
	uint32_t all;

	all = m->l->warps * mkd_blocks();
	for (uint32_t i = m->lane; i < places; i += MKD_LANES)
		mkd_store64(&m->queues[i].low, MKD_FORGOTTEN);
	mkd_syncwarp();
	mkd_order(m, MKD_LEAVE);
	while (mkd_shfl(mkd_load32(&m->state->exited), 0) != all)
		mkd_nap(200);
	mkd_fence();
	for (uint32_t i = m->lane; i < places; i += MKD_LANES)
		mkd_report_low(m, i);
	mkd_syncwarp();
	if (!m->lane) {
		struct mkd_flow *f = (struct mkd_flow *)m->l->flow;
		uint64_t due = mkd_load64(&f->due);

		/* nobody will be here to see that it passes */
		mkd_store64(&m->mail->due_ns,
			    due && mkd_load32(&f->waiting) ? ~due : 0);
		mkd_store32(&m->state->exited, 0);
		/* so that the next launch may go at once */
		mkd_store32(&m->state->order, MKD_RUN);
		mkd_release();
		mkd_store32_release(&m->mail->reason, reason);
	}
}

/*
 * The host's clock, when it told it anew. What it told is late by as long as
 * it took to get here; of all that was told, the least late counts, less what
 * the two clocks may have drifted apart since.
 */
MKD_FN void mkd_clock(struct mkd_monitor *m, uint64_t clock_ns)
{
	uint64_t now = mkd_time(), kept, offset;

	if (clock_ns == m->clock_ns)
		return;
	if (!m->lane) {
		offset = clock_ns - now + MKD_CLOCK_MARGIN_NS;
		kept = mkd_load64(&m->state->clock_offset);
		kept -= (clock_ns - m->clock_ns) / 8192u;
		if (!m->clock_ns || (int64_t)(offset - kept) > 0)
			kept = offset;
		mkd_store64(&m->state->clock_offset, kept);
	}
	m->clock_ns = clock_ns;
}

/* The first line of the mailbox, in one read: the command unit, the same for
 * all lanes, and the host's clock. */
MKD_FN struct mkd_unit mkd_mail_read(const struct mkd_monitor *m,
				     uint64_t *clock_ns)
{
	struct mkd_unit c = mkd_load16((uint64_t)m->mail +
				       (m->lane & 1u) * 16u);

	*clock_ns = mkd_shfl(c.x, 1) | (uint64_t)mkd_shfl(c.y, 1) << 32;
	c.x = mkd_shfl(c.x, 0);
	c.y = mkd_shfl(c.y, 0);
	c.z = mkd_shfl(c.z, 0);
	c.w = mkd_shfl(c.w, 0);
	return c;
}

/* Until the launch is good for slots. Why it is not, or MKD_REASON_NONE. */
MKD_FN uint32_t mkd_begin(struct mkd_monitor *m)
{
	uint32_t places = mkd_shfl(mkd_load32(&m->state->places), 0);
	struct mkd_mode mode;
	struct mkd_unit c;
	uint64_t clock_ns;

	/* both on the bus at the same time */
	mkd_mode_load(m, m->lane, places, &mode);
	c = mkd_mail_read(m, &clock_ns);
	if (!(mkd_shfl(mkd_load32(&m->state->work), 0) & MKD_WORK_KNOWN)) {
		m->clock_ns = 0;
		mkd_clock(m, clock_ns);
		if (!mkd_handshake(m))
			return MKD_REASON_ABI;
	}
	/* what it says was told before the launch, so it is late: wait for
	 * the next */
	m->clock_ns = clock_ns;
	mkd_modes(m, &mode, places);
	/* what is to be known before the first slot, such as a new table */
	if (m->l->pending && !mkd_command(m, c))
		return MKD_REASON_ORDER;
	if (!m->l->go)
		m->mode_epoch = mkd_order(m, m->held ? MKD_HOLD : MKD_RUN);
	else if (m->telling)
		m->mode_epoch = mkd_bump(m->state, m->lane);
	if (!m->lane)
		mkd_store32(&m->state->begun, m->l->number);
	return MKD_REASON_NONE;
}

/*
 * Slots that wait may have to end without a raise: if a queue is cancelled, or
 * a deadline has passed. Workers look at all of them then, but not more often
 * than every millisecond, since the manner of a queue may stay as it is.
 */
MKD_FN void mkd_watch_waits(struct mkd_monitor *m)
{
	struct mkd_flow *f = (struct mkd_flow *)m->l->flow;
	uint32_t places = mkd_load32(&m->state->places);
	uint64_t now, due;
	bool ends = false;

	now = mkd_shfl64(mkd_time(), 0);
	if (now - m->swept_ns < 1000000u)
		return;
	m->swept_ns = now;
	if (!mkd_shfl(mkd_load32(&f->waiting), 0))
		return;
	places = mkd_shfl(places, 0);
	for (uint32_t i = m->lane; i < places; i += MKD_LANES)
		ends |= (mkd_load32(&m->queues[i].state) & MKD_FLAGS) != 0;
	due = mkd_load64(&f->due);
	if (due && mkd_host_time(m->state) > ~due)
		ends = true;
	if (!mkd_ballot(ends))
		return;
	if (!m->lane)
		mkd_store64(&f->due, 0); /* who waits on tells it again */
	mkd_order_sweep(m);
}

/* One look at everything but the mailbox. True: nothing happens here. */
MKD_FN bool mkd_watch(struct mkd_monitor *m, uint32_t place,
		      const struct mkd_mode *mode)
{
	if (mkd_mode_set(m, place, mode)) {
		m->telling = true;
		m->mode_epoch = mkd_bump(m->state, m->lane);
	} else if (m->telling &&
		   mkd_all_saw(m->l, m->lane, m->mode_epoch, MKD_PLACES)) {
		m->telling = false;
		mkd_tell_modes(m);
	}
	mkd_watch_waits(m);
	return !m->held && mkd_idle(m) && mkd_park(m);
}

MKD_SLOW void mkd_monitor(void)
{
	struct mkd_monitor m;
	uint32_t reason, chunk = 0, places;
	struct mkd_mode mode;
	struct mkd_unit c;
	uint64_t clock_ns;

	m.l = &mkd_launched;
	m.state = (struct mkd_state *)m.l->state;
	m.queues = (struct mkd_queue *)m.l->queues;
	m.mail = (struct mkd_mail *)m.l->mail;
	m.lane = mkd_thread() % MKD_LANES;
	m.last = m.l->last_seq;
	m.held = m.l->hold != 0;
	m.activity = 0;
	m.beat = 0;
	m.telling = false;
	m.swept_ns = 0;
	m.mode_epoch = 0;
	reason = mkd_begin(&m);
	m.since = mkd_shfl64(mkd_time(), 0);
	while (!reason) {
		places = mkd_shfl(mkd_load32(&m.state->places), 0);
		chunk = chunk + MKD_LANES < places ? chunk + MKD_LANES : 0;
		mkd_mode_load(&m, chunk + m.lane, places, &mode);
		c = mkd_mail_read(&m, &clock_ns);
		mkd_clock(&m, clock_ns);
		if (c.x != m.last) {
			if (!mkd_command(&m, c))
				reason = MKD_REASON_ORDER;
		} else if (mkd_watch(&m, chunk + m.lane, &mode)) {
			reason = MKD_REASON_IDLE;
		} else {
			mkd_beat(&m);
			mkd_nap(300);
		}
	}
	mkd_leave(&m, reason);
}

#endif
