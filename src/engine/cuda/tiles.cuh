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

/* What runs of the job's slot may go on? Its result if not. */
MKD_FN int32_t mkd_job_refuse(struct mkd_warp *w, struct mkd_slot *s)
{
	w->queue_state = mkd_shfl(mkd_load32(&w->q->state), 0);
	if ((w->queue_state & ~MKD_FLAGS) == MKD_DRAIN)
		return -MK_ECANCELLED;
	return (int32_t)mkd_shfl((uint32_t)mkd_refuse(w, s), 0);
}

/* What is left of a run of tiles. */
struct mkd_tiled {
	int32_t result; /* of the last that ran here */
	uint64_t value;
	bool dirty;
};

/* One tile ended, in this lane: it may be the one that counts. */
MKD_FN void mkd_tile_over(struct mkd_job *job, const struct mk_task *task,
			  int32_t result, struct mkd_tiled *t)
{
	if (result < 0)
		mkd_job_fail(job, result);
	if (task->tile_last) {
		job->result = result;
		job->value = task->value;
		mkd_or32(&job->flags, MKD_JOB_ENDED);
	}
	t->result = result;
	t->value = task->value;
}

/* Tiles of a handler that a lane runs: each lane its own. */
MKD_SLOW void mkd_tiles_light(struct mkd_warp *w, struct mkd_slot *s,
			      const struct mkd_args *args, uint32_t n,
			      struct mkd_tiled *t)
{
	struct mk_task task;
	struct mkd_here here;
	uint32_t spawned = 0;

	task.dirty = 0;
	t->result = 0;
	t->value = 0;
	if (w->lane < n) {
		mkd_task(w, &task, s->ticket, s->deadline_ns, 0, 1);
		task.scratch_bytes =
			(mkd_launched.scratch_bytes / MKD_LANES) & ~15u;
		task.scratch += w->lane * task.scratch_bytes;
		mkd_here(w, s, &task, &here);
		task.tile = s->tile + w->lane;
		mkd_tile_over(s->job, &task,
			      mkd_dispatch(MKD_ENTRY_HANDLER(s->entry), &task,
					   args->word), t);
		spawned = here.spawned;
		if (task.dirty)
			mkd_release();
	}
	mkd_syncwarp();
	mkd_made_count(w, spawned);
	t->dirty |= mkd_ballot(w->lane < n && task.dirty) != 0;
	t->result = (int32_t)mkd_shfl((uint32_t)t->result, n - 1u);
	t->value = mkd_shfl64(t->value, n - 1u);
}

MKD_SLOW void mkd_tiles_wide(struct mkd_warp *w, struct mkd_slot *s,
			     const struct mkd_args *args, struct mkd_tiled *t)
{
	struct mk_task task;
	struct mkd_here here;

	t->dirty |= mkd_run_wide_away(w, args, s, &task, &here);
	if (!w->lane)
		mkd_tile_over(s->job, &task, s->result, t);
	mkd_syncwarp();
}

/* n tiles from s->tile on have ended. True: they were the last, and job has
 * the result and the value. */
MKD_SLOW bool mkd_tiles_join(struct mkd_warp *w, struct mkd_job *job,
			     uint32_t n, const struct mkd_tiled *t)
{
	uint32_t last = 0;

	mkd_syncwarp();
	if (!w->lane) {
		if (t->dirty)
			mkd_release();
		last = (uint32_t)mkd_job_join(job, n);
		if (last && !(mkd_load32(&job->flags) & MKD_JOB_ENDED)) {
			job->result = t->result;
			job->value = mkd_load32(&job->join.summed) ?
					     mkd_load64(&job->join.sum) :
					     t->value;
		}
		mkd_tally(&w->counters->tiles, n);
	}
	mkd_counted(w);
	return mkd_shfl(last, 0) != 0;
}

/* No more of its tiles are to be had: out of the table. */
MKD_FN void mkd_tiles_gone(struct mkd_warp *w, struct mkd_job *job)
{
	struct mkd_flow *f = mkd_flow();

	for (uint32_t i = w->lane; i < MKD_SHARES; i += MKD_LANES)
		if (mkd_load64(&f->shares[i]) == (uint64_t)job)
			mkd_cas64(&f->shares[i], (uint64_t)job, 0);
	mkd_syncwarp();
}

/* Take up to `most` tiles: the first in *tile, their count returned, and all
 * that the slot has in *tiles. */
MKD_FN uint32_t mkd_tiles_take(struct mkd_warp *w, struct mkd_job *job,
			       uint32_t most, uint32_t *tile, uint32_t *tiles)
{
	uint64_t word = 0;
	uint32_t n;

	if (!w->lane) {
		word = mkd_load64(&job->tiles);
		if ((uint32_t)word < (uint32_t)(word >> 32))
			word = mkd_add64(&job->tiles, most);
	}
	word = mkd_shfl64(word, 0);
	*tile = (uint32_t)word;
	*tiles = (uint32_t)(word >> 32);
	if (*tile >= *tiles)
		return 0;
	mkd_fence();
	n = *tiles - *tile;
	return n < most ? n : most;
}

/*
 * Run tiles of a job until there are none, or there is something else to do.
 * True: the last of all ended here. The warp's queue is the job's, which may
 * have been closed: then there are none to take, or another slot's, which
 * will do as well.
 */
MKD_SLOW bool mkd_tiles_work(struct mkd_warp *w, struct mkd_job *job)
{
	struct mkd_slot s;
	struct mkd_args args;
	struct mkd_tiled t;
	struct mkd_unit c;
	uint32_t chunk = 1, n, tile, tiles, rest;
	bool last = false, told = false;

	s.ticket = 0;
	for (uint32_t i = 0; i < 64u && !last; i++) {
		n = mkd_tiles_take(w, job, chunk, &tile, &tiles);
		if (!n)
			break;
		if (tile + n == tiles)
			mkd_tiles_gone(w, job);
		mkd_job_slot(w, job, &job->run, &s);
		mkd_made_args(&job->run, &args);
		s.tiles = tiles;
		s.tile = tile;
		if (!told)
			mkd_announce(w, &s, true);
		told = true;
		t.dirty = false;
		t.result = 0;
		t.value = 0;
		s.result = mkd_job_refuse(w, &s);
		if (s.result && !w->lane)
			mkd_job_fail(job, s.result);
		if (!s.result)
			s.result = (int32_t)mkd_shfl(mkd_load32(
				(const uint32_t *)&job->failure), 0);
		mkd_acquire();
		if (!s.result && !MKD_ENTRY_WIDTH(s.entry)) {
			uint32_t left = n;

			while (left) {
				uint32_t some = left < MKD_LANES ? left :
								   MKD_LANES;

				mkd_tiles_light(w, &s, &args, some, &t);
				s.tile += some;
				left -= some;
			}
		} else if (!s.result) {
			for (; s.tile < tile + n; s.tile++) {
				s.value = 0;
				mkd_tiles_wide(w, &s, &args, &t);
			}
		}
		last = mkd_tiles_join(w, job, n, &t);
		rest = (tiles - tile - n) /
		       (mkd_launched.workers_count * MKD_TILES_AHEAD);
		chunk = !MKD_ENTRY_WIDTH(s.entry) ? MKD_LANES :
			rest < 1u ? 1u :
			rest > MKD_TILES_MOST ? MKD_TILES_MOST : rest;
		w->salt++;
		if (!w->lane)
			mkd_store32(&mkd_own_block(w)->beat, w->salt);
		c = mkd_orders(w->state);
		if (c.x != MKD_RUN || c.y != w->epoch)
			break;
		if (mkd_launched.warps > 1u && mkd_called_for())
			mkd_help(w);
	}
	if (told)
		mkd_announce(w, &s, false);
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
