/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots of several tiles. Whoever gets such a slot opens its job and puts it
 * into a table; every worker that has nothing better to do takes tiles by an
 * add on the job's word. The last tile that ends answers.
 */
#ifndef MK_CUDA_TILES_CUH
#define MK_CUDA_TILES_CUH

#define MKD_TILES_AHEAD 4u /* turns that a worker has at the rest, at least */
#define MKD_TILES_MOST 16u /* taken at once */
/* What is taken at once shall take longer, and not much longer: neighbours that
 * are read at the same time share rows of memory. */
#define MKD_TILES_SHORT_NS 8000u
#define MKD_TILES_TURNS 64u /* of a stay */

/* The slot that an open job is of, and what runs of it now. */
MKD_FN void mkd_job_slot(const struct mkd_warp *w, struct mkd_job *job,
			 const struct mkd_made *run, struct mkd_slot *s)
{
	const struct mkd_job *root = (const struct mkd_job *)mkd_load64(
		(const uint64_t *)&job->root);
	uint64_t header = mkd_load64(&root->header);

	s->ticket = mkd_load64(&root->open) - 1u;
	s->relative = s->ticket - w->first;
	s->opcode = mkd_load32((const uint32_t *)run) & 0xffffu;
	s->tenant = (uint32_t)header >> 16;
	s->priority = (uint32_t)(header >> 32) & 0xffu;
	s->flags = (uint32_t)(header >> 40) & 0xffu;
	s->tiles = 1;
	s->tile = 0;
	s->entry = s->opcode < MK_OPCODES ? mkd_entry(w->state, s->opcode) : 0;
	s->kind = MKD_KIND_NONE;
	s->result = 0;
	s->value = 0;
	s->deadline_ns = mkd_load64(&root->deadline_ns);
	s->job = job;
	s->refused = s->ends = false;
}

MKD_FN void mkd_made_args(const struct mkd_made *run, struct mkd_args *args)
{
	for (uint32_t i = 0; i < MK_ARG_WORDS; i++)
		args->word[i] = mkd_load32(&run->args[i]);
}

/* May what runs of the job's slot go on, as its queue's state was just read?
 * Its result if not. */
MKD_FN int32_t mkd_job_stop(struct mkd_warp *w, struct mkd_slot *s,
			    uint32_t state)
{
	w->queue_state = mkd_shfl(state, 0);
	if ((w->queue_state & ~MKD_FLAGS) == MKD_DRAIN)
		return -MK_ECANCELLED;
	return (int32_t)mkd_shfl((uint32_t)mkd_refuse(w, s), 0);
}

MKD_FN int32_t mkd_job_refuse(struct mkd_warp *w, struct mkd_slot *s)
{
	return mkd_job_stop(w, s, mkd_load32(&w->q->state));
}

/*
 * One worker's stay at a job, or that of a block. What it takes ends in one
 * go, when it goes: so the job cannot end before, and is what it was when the
 * first tile was taken.
 */
struct mkd_stay {
	struct mkd_job *job;
	struct mkd_slot s;
	struct mkd_args args;
	uint32_t tile, n; /* taken last, and not run yet */
	uint32_t taken;
	uint32_t turns;
	uint32_t hands;   /* that share the job: workers, or blocks */
	uint64_t since;   /* when those were taken */
	int32_t result;   /* of the last that ran here, in lane 0 */
	uint64_t value;
	bool dirty;
	bool leaves;      /* after what was taken: there are orders */
};

/* No more of its tiles are to be had: out of the table. */
MKD_FN void mkd_tiles_gone(struct mkd_warp *w, struct mkd_job *job)
{
	struct mkd_flow *f = mkd_flow();

	for (uint32_t i = w->lane; i < MKD_SHARES; i += MKD_LANES)
		if (mkd_load64(&f->shares[i]) == (uint64_t)job)
			mkd_cas64(&f->shares[i], (uint64_t)job, 0);
	mkd_syncwarp();
}

/* The job's word before an add of `most` tiles; in lane 0. */
MKD_FN uint64_t mkd_tiles_add(const struct mkd_warp *w, struct mkd_job *job,
			      uint32_t most)
{
	return w->lane ? 0 : mkd_add64(&job->tiles, most);
}

/* Which of up to `most` tiles those are; false: there are none. */
MKD_FN bool mkd_tiles_got(struct mkd_warp *w, struct mkd_stay *t,
			  uint64_t word, uint32_t most)
{
	uint32_t tiles;

	word = mkd_shfl64(word, 0);
	t->tile = (uint32_t)word;
	tiles = (uint32_t)(word >> 32);
	if (t->tile >= tiles)
		return false;
	t->s.tiles = tiles;
	t->n = tiles - t->tile < most ? tiles - t->tile : most;
	t->taken += t->n;
	if (t->tile + t->n == tiles)
		mkd_tiles_gone(w, t->job);
	return true;
}

/* Those that were taken may run, as the queue's state and the job's failure
 * say; else they have ended, and so may others. */
MKD_FN bool mkd_tiles_may(struct mkd_warp *w, struct mkd_stay *t,
			  uint32_t state, uint32_t failure)
{
	int32_t result = mkd_job_stop(w, &t->s, state);

	if (result && !w->lane)
		mkd_job_fail(t->job, result);
	return !result && !mkd_shfl(failure, 0);
}

MKD_FN uint32_t mkd_job_failure(const struct mkd_job *job)
{
	return mkd_load32((const uint32_t *)&job->failure);
}

/* So many at once: fewer the fewer are left, and one where that took long, so
 * that somebody looks at deadlines and orders. */
MKD_FN uint32_t mkd_tiles_chunk(const struct mkd_stay *t, uint64_t took)
{
	uint32_t left = t->s.tiles - t->tile - t->n;
	uint32_t most = left / (t->hands * MKD_TILES_AHEAD), chunk = t->n;

	if (!MKD_ENTRY_WIDTH(t->s.entry))
		return MKD_LANES;
	if (took < MKD_TILES_SHORT_NS)
		chunk *= 2u;
	else if (took > 4u * MKD_TILES_SHORT_NS)
		chunk /= 2u;
	if (most > MKD_TILES_MOST)
		most = MKD_TILES_MOST;
	if (chunk > most)
		chunk = most;
	return chunk < 1u || took > MKD_LONG_NS ? 1u : chunk;
}

MKD_FN bool mkd_tiles_ordered(const struct mkd_warp *w)
{
	struct mkd_unit c = mkd_orders(w->state);

	return c.x != MKD_RUN || c.y != w->epoch;
}

/*
 * Go on with other tiles. False: there are none, or something else is to be
 * done before.
 *
 * All that there is to know is asked for at once: beside handlers that stream,
 * a question takes two microseconds. So who finds orders runs what it has just
 * taken before it leaves, unless tiles take long.
 */
MKD_SLOW bool mkd_tiles_next(struct mkd_warp *w, struct mkd_stay *t)
{
	uint64_t now = mkd_shfl64(mkd_time(), 0), took = now - t->since, word;
	uint32_t chunk = mkd_tiles_chunk(t, took), state, failure;

	t->since = now;
	w->salt++;
	if (!w->lane)
		mkd_store32(&mkd_own_block(w)->beat, w->salt);
	if (t->leaves || ++t->turns == MKD_TILES_TURNS ||
	    (took > MKD_LONG_NS && mkd_tiles_ordered(w)))
		return false;
	for (;;) {
		word = mkd_tiles_add(w, t->job, chunk);
		state = mkd_load32(&w->q->state);
		failure = mkd_job_failure(t->job);
		t->leaves = mkd_tiles_ordered(w);
		if (!mkd_tiles_got(w, t, word, chunk))
			return false;
		if (mkd_tiles_may(w, t, state, failure))
			return true;
		chunk = t->s.tiles; /* there is nothing to share any more */
	}
}

/* The same for who runs tiles by itself: its block may call for it. Who runs
 * them for a block never helps: the stack of a call within a call has no
 * bound that the compiler could tell. */
MKD_FN bool mkd_tiles_on(struct mkd_warp *w, struct mkd_stay *t)
{
	if (mkd_launched.warps > 1u && mkd_called_for()) {
		mkd_help(w);
		if (!w->lane)
			mkd_store32(&w->me->busy, w->place + 1u);
	}
	return mkd_tiles_next(w, t);
}

/* A task runs another tile. */
MKD_FN void mkd_tile_begin(struct mk_task *task, uint32_t tile)
{
	task->tile = tile;
	task->tile_last = 0;
	task->error = 0;
	task->value = 0;
	task->next.kind = MK_NEXT_NONE;
}

/* One tile ended, in this lane: it may be the one that counts. */
MKD_FN void mkd_tile_over(struct mkd_job *job, const struct mk_task *task,
			  int32_t result)
{
	if (result < 0)
		mkd_job_fail(job, result);
	if (task->tile_last) {
		job->result = result;
		job->value = task->value;
		mkd_or32(&job->flags, MKD_JOB_ENDED);
	}
}

/* Tiles of a handler that a lane runs: each lane its own. */
MKD_SLOW void mkd_tiles_light(struct mkd_warp *w, struct mkd_stay *t)
{
	struct mk_task task;
	struct mkd_here here;
	uint32_t last = 0;

	mkd_task(w, &task, t->s.ticket, t->s.deadline_ns, 0, 1);
	task.scratch_bytes = (mkd_launched.scratch_bytes / MKD_LANES) & ~15u;
	task.scratch += w->lane * task.scratch_bytes;
	mkd_here(w, &t->s, &task, &here);
	do {
		for (uint32_t i = w->lane; i < t->n; i += MKD_LANES) {
			mkd_tile_begin(&task, t->tile + i);
			t->result = mkd_dispatch(
				MKD_ENTRY_HANDLER(t->s.entry), &task,
				t->args.word);
			mkd_tile_over(t->job, &task, t->result);
		}
		mkd_syncwarp();
		last = (t->n - 1u) % MKD_LANES;
	} while (mkd_tiles_on(w, t));
	mkd_made_count(w, here.spawned);
	t->dirty = mkd_ballot(task.dirty != 0) != 0;
	t->result = (int32_t)mkd_shfl((uint32_t)t->result, last);
	t->value = mkd_shfl64(task.value, last);
}

/* Of one that a warp runs. */
MKD_SLOW void mkd_tiles_warp(struct mkd_warp *w, struct mkd_stay *t)
{
	struct mk_task task;
	struct mkd_here here;

	mkd_task(w, &task, t->s.ticket, t->s.deadline_ns, w->lane, MKD_LANES);
	mkd_here(w, &t->s, &task, &here);
	do {
		for (uint32_t i = 0; i < t->n; i++) {
			mkd_tile_begin(&task, t->tile + i);
			t->result = mkd_dispatch(
				MKD_ENTRY_HANDLER(t->s.entry), &task,
				t->args.word);
			mkd_syncwarp();
			if (!w->lane)
				mkd_tile_over(t->job, &task, t->result);
		}
	} while (mkd_tiles_on(w, t));
	t->value = task.value;
	mkd_made_count(w, here.spawned);
	t->dirty = mkd_ballot(task.dirty != 0) != 0;
}

/* The next chunk of a block: its warps find it behind their next barrier. */
MKD_FN void mkd_call_next(struct mkd_warp *w, struct mkd_stay *t,
			  uint32_t turn)
{
	bool more = mkd_tiles_next(w, t);

	if (!w->lane) {
		mkd_poke(&mkd_called.tile[turn], t->tile);
		mkd_poke(&mkd_called.n[turn], more ? t->n : 0);
	}
}

/* Of one that a block runs: all its warps, and t only in the one that called
 * them. While they run the last tile of a chunk it takes the next chunk. */
MKD_SLOW void mkd_call_tiles(struct mkd_warp *w, struct mkd_stay *t)
{
	uint32_t threads = w->l->warps * MKD_LANES, n, tile;
	struct mkd_args args = mkd_called.args;
	struct mk_task task;
	struct mkd_here here;
	int32_t result = 0;

	mkd_join_begin(&task, &here);
	for (uint32_t turn = 0;; turn++) {
		n = mkd_peek(&mkd_called.n[turn & 1u]);
		tile = mkd_peek(&mkd_called.tile[turn & 1u]);
		if (!n)
			break;
		for (uint32_t i = 1; i <= n; i++, tile++) {
			mkd_tile_begin(&task, tile);
			result = mkd_dispatch(mkd_called.handler, &task,
					      args.word);
			if (!mkd_thread())
				mkd_tile_over(here.job, &task, result);
			mkd_syncwarp();
			if (i == n && t)
				mkd_call_next(w, t, ~turn & 1u);
			/* scratch memory is the next tile's */
			mkd_sync_workers(threads);
		}
	}
	mkd_join_end(w, &task, &here, result);
}

MKD_SLOW void mkd_tiles_block(struct mkd_warp *w, struct mkd_stay *t)
{
	mkd_call_begin(w, &t->args, &t->s, t->tile, t->n);
	mkd_call_tiles(w, t);
	t->result = mkd_called.result;
	t->value = mkd_called.value;
	t->dirty = mkd_call_end(w);
}

/* All that was taken has ended. True: it was the last, and job has the result
 * and the value. */
MKD_SLOW bool mkd_tiles_join(struct mkd_warp *w, struct mkd_stay *t)
{
	struct mkd_job *job = t->job;
	uint32_t last = 0;

	mkd_syncwarp();
	if (!w->lane) {
		if (t->dirty)
			mkd_release();
		last = (uint32_t)mkd_job_join(job, t->taken);
		if (last && !(mkd_load32(&job->flags) & MKD_JOB_ENDED)) {
			job->result = t->result;
			job->value = mkd_load32(&job->join.summed) ?
					     mkd_load64(&job->join.sum) :
					     t->value;
		}
		mkd_flush_word(w, MKD_WORD_OF(tiles), t->taken);
	}
	return mkd_shfl(last, 0) != 0;
}

/* The first tile was taken: the job stays what it is. */
MKD_FN void mkd_tiles_open(struct mkd_warp *w, struct mkd_stay *t)
{
	uint32_t tiles = t->s.tiles;

	mkd_acquire(); /* the job, and what its slot may see */
	mkd_job_slot(w, t->job, &t->job->run, &t->s);
	mkd_made_args(&t->job->run, &t->args);
	t->s.tiles = tiles;
	t->hands = mkd_launched.workers_count;
	if (MKD_ENTRY_WIDTH(t->s.entry) == 2u)
		t->hands = (t->hands - 1u) / mkd_launched.warps + 1u;
	t->since = mkd_shfl64(mkd_time(), 0);
	t->result = 0;
	t->value = 0;
	t->dirty = false;
}

/* Is it for the block? Not for sure, before a tile was taken. */
MKD_FN bool mkd_tiles_wide(const struct mkd_warp *w, const struct mkd_job *job)
{
	uint32_t opcode = mkd_load32((const uint32_t *)&job->run) & 0xffffu;
	uint32_t entry = opcode < MK_OPCODES ? mkd_entry(w->state, opcode) : 0;

	return mkd_launched.warps > 1u &&
	       mkd_shfl(MKD_ENTRY_WIDTH(entry), 0) == 2u;
}

/*
 * Run tiles of a job until there are none, or there is something else to do.
 * True: the last of all ended here. The warp's queue is the job's, which may
 * have been closed: then there are none to take, or another slot's, which
 * will do as well.
 *
 * What the block runs is taken by who may call it: the other warps come when
 * they are called, with empty hands.
 */
MKD_SLOW bool mkd_tiles_work(struct mkd_warp *w, struct mkd_job *job)
{
	bool last, runs, calls = mkd_tiles_wide(w, job);
	struct mkd_stay t;
	uint32_t width;

	if (calls && !mkd_call_lock(w))
		return false;
	t.job = job;
	t.taken = t.turns = 0;
	t.leaves = false;
	if (!mkd_tiles_got(w, &t, mkd_tiles_add(w, job, 1), 1)) {
		if (calls)
			mkd_call_unlock(w);
		return false;
	}
	mkd_tiles_open(w, &t);
	width = mkd_launched.warps > 1u ? MKD_ENTRY_WIDTH(t.s.entry) :
					  MKD_ENTRY_WIDTH(t.s.entry) != 0;
	if (calls && width != 2u)
		mkd_call_unlock(w);
	mkd_announce(w, &t.s, true);
	if (width == 2u && !calls)
		mkd_call_await(w);
	runs = mkd_tiles_may(w, &t, mkd_load32(&w->q->state),
			     mkd_job_failure(job)) || mkd_tiles_next(w, &t);
	if (runs && width == 2u)
		mkd_tiles_block(w, &t);
	else if (width == 2u)
		mkd_call_unlock(w);
	else if (runs && width)
		mkd_tiles_warp(w, &t);
	else if (runs)
		mkd_tiles_light(w, &t);
	last = mkd_tiles_join(w, &t);
	mkd_announce(w, &t.s, false);
	return last;
}

/* Into the table, so that others find it. False: it is full. */
MKD_FN bool mkd_tiles_share(struct mkd_job *job, uint32_t tiles)
{
	struct mkd_flow *f = mkd_flow();
	uint64_t *at;

	/* release: who takes a tile sees the job */
	mkd_store64_shared(&job->tiles, (uint64_t)tiles << 32);
	for (uint32_t i = 0; i < MKD_SHARES; i++) {
		at = &f->shares[(job->open + i) % MKD_SHARES];
		if (!mkd_load64(at) && !mkd_cas64(at, 0, (uint64_t)job)) {
			mkd_bell(MKD_WORK_TILES);
			return true;
		}
	}
	return false;
}

/* A slot of several tiles begins. True: it has ended, too. */
MKD_SLOW bool mkd_tiles_begin(struct mkd_warp *w, struct mkd_slot *s,
			      const struct mkd_args *args)
{
	struct mkd_job *job = (struct mkd_job *)0;
	struct mk_task task;
	struct mkd_here here;
	bool ended, full = false;

	mkd_task(w, &task, s->ticket, s->deadline_ns, w->lane, MKD_LANES);
	mkd_here(w, s, &task, &here);
	if (!w->lane) {
		job = mkd_job_open(&task, &here);
		job->run.opcode = (uint16_t)s->opcode;
		job->flags |= MKD_JOB_RUNS;
		for (uint32_t i = 0; i < MK_ARG_WORDS; i++)
			job->run.args[i] = args->word[i];
		mkd_store32(&job->pending, s->tiles);
		mkd_fence();
		full = !mkd_tiles_share(job, s->tiles);
	}
	job = (struct mkd_job *)mkd_shfl64((uint64_t)job, 0);
	full = mkd_shfl(full, 0) != 0;
	do
		ended = mkd_tiles_work(w, job);
	while (full && !ended); /* nobody else knows of it */
	if (!ended)
		return false;
	s->result = mkd_job_result(job);
	if (s->result == -MK_EDEADLINE)
		s->result = -MK_EOVERRUN; /* as in mkd_root_end() */
	s->value = mkd_load64(&job->value);
	mkd_syncwarp();
	if (!w->lane)
		mkd_job_close(job);
	return true;
}

/* A job of the table that has tiles left; NULL: none. */
MKD_FN struct mkd_job *mkd_tiles_find(struct mkd_warp *w)
{
	struct mkd_flow *f = mkd_flow();
	uint32_t from = mkd_hash(w->index, w->salt++), open = 0;
	uint64_t at = 0, word;

	for (uint32_t i = 0; i < MKD_SHARES && !open; i += MKD_LANES) {
		at = mkd_load64(&f->shares[(from + i + w->lane) %
					     MKD_SHARES]);
		word = at ? mkd_load64(&((struct mkd_job *)at)->tiles) : 0;
		open = mkd_ballot((uint32_t)word < (uint32_t)(word >> 32));
	}
	return open ? (struct mkd_job *)mkd_shfl64(at, mkd_lowest(open)) :
		      (struct mkd_job *)0;
}

/* Help with the tiles of slots. False: there are none. */
MKD_SLOW bool mkd_tiles_help(struct mkd_warp *w, struct mkd_bundle *b)
{
	struct mkd_queue *queues = (struct mkd_queue *)w->l->queues;
	struct mkd_job *job = mkd_tiles_find(w);

	if (!job) {
		if (!w->lane)
			mkd_and32(&w->state->work, ~(uint32_t)MKD_WORK_TILES);
		mkd_syncwarp(); /* as in mkd_look_after_away() */
		mkd_fence();
		job = mkd_tiles_find(w);
		if (!job)
			return false;
		if (!w->lane)
			mkd_bell(MKD_WORK_TILES);
	}
	mkd_bundle_enter(w, b, (uint32_t)(
		(struct mkd_queue *)mkd_shfl64(mkd_load64(
			(const uint64_t *)&job->queue), 0) - queues));
	if (mkd_tiles_work(w, job))
		mkd_root_end(w, b, job);
	return true;
}

#endif
