/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block-wide handlers. The warp that got the slot calls the other warps of
 * its block; each comes at its next slot boundary, leaving its seats to other
 * blocks. One call at a time; who waits to make one helps with the current.
 */
#ifndef MK_CUDA_BLOCK_CUH
#define MK_CUDA_BLOCK_CUH

struct mkd_call {
	uint32_t lock;
	uint32_t dirty;
	uint32_t made;      /* some lane made work */
	int32_t result;
	uint64_t value;
	struct mkd_job *job;
	uint32_t tile[2], n[2]; /* tiles.cuh: to run now, and next */
	uint32_t worker; /* whose slot it is */
	uint32_t place;
	uint32_t handler;
	struct mkd_args args;
	struct mk_task task; /* of each, but for its lane */
	struct mkd_here here;
};

MKD_SHARED struct mkd_call mkd_called;

/* tiles.cuh: the same for some tiles of a slot; t: who called has it */
struct mkd_stay;
MKD_SLOW void mkd_call_tiles(struct mkd_warp *w, struct mkd_stay *t);

/* All warps of the block are here. */
MKD_FN void mkd_join_begin(struct mk_task *task, struct mkd_here *here)
{
	*here = mkd_called.here;
	*task = mkd_called.task;
	task->lane = mkd_thread();
	task->engine = here;
	mkd_acquire();
}

MKD_FN void mkd_join_end(const struct mkd_warp *w, const struct mk_task *task,
			 const struct mkd_here *here, int32_t result)
{
	if (task->dirty)
		mkd_poke(&mkd_called.dirty, 1);
	if (here->job)
		mkd_called.job = here->job; /* the same in all that have it */
	if (here->spawned) {
		mkd_poke(&mkd_called.made, 1);
		mkd_tally(&((struct mk_worker_block *)w->l->counters +
			    mkd_called.worker)->spawned, here->spawned);
	}
	if (!mkd_thread()) {
		mkd_called.result = result;
		mkd_called.value = task->value;
	}
	/* what every thread wrote is ordered before the caller's release */
	mkd_sync_workers(w->l->warps * MKD_LANES);
}

MKD_FN void mkd_join(struct mkd_warp *w, struct mk_task *task,
		     struct mkd_here *here)
{
	struct mkd_args args = mkd_called.args;
	int32_t result;

	mkd_join_begin(task, here);
	result = mkd_dispatch(mkd_called.handler, task, args.word);
	mkd_join_end(w, task, here, result);
}

MKD_SLOW void mkd_help_away(struct mkd_warp *w)
{
	uint32_t threads = w->l->warps * MKD_LANES;
	struct mk_task task;
	struct mkd_here here;

	if (w->want)
		mkd_drop_away(w);
	if (!w->lane)
		mkd_store32(&w->me->busy, mkd_called.place + 1u);
	mkd_sync_workers(threads);
	if (mkd_called.task.tiles > 1u)
		mkd_call_tiles(w, (struct mkd_stay *)0);
	else
		mkd_join(w, &task, &here);
	/* the result was read before anything is called again */
	mkd_sync_workers(threads);
	w->fresh = MKD_SPREAD;
	if (!w->lane) {
		mkd_store32(&w->me->busy, 0);
		mkd_fence(); /* as in mkd_announce() */
	}
	mkd_syncwarp();
}

/* Another warp of this block calls. */
MKD_FN void mkd_help(struct mkd_warp *w)
{
	struct mkd_warp copy = *w;

	mkd_help_away(&copy);
	*w = copy;
}

MKD_FN bool mkd_called_for(void)
{
	return mkd_ballot(mkd_peek(&mkd_open) != 0) != 0;
}

/* May we call? If not, help who does: then we are not busy any more. */
MKD_FN bool mkd_call_lock(struct mkd_warp *w)
{
	uint32_t held = 0;

	if (!w->lane)
		held = mkd_cas_shared(&mkd_called.lock, 0, 1);
	held = mkd_shfl(held, 0);
	if (held && mkd_called_for())
		mkd_help(w);
	else if (held)
		mkd_nap(200);
	return !held;
}

/* The same for who has something to run, until it may. */
MKD_FN void mkd_call_await(struct mkd_warp *w)
{
	while (!mkd_call_lock(w))
		if (!w->lane)
			mkd_store32(&w->me->busy, w->place + 1u);
}

MKD_FN void mkd_call_unlock(struct mkd_warp *w)
{
	if (!w->lane) {
		mkd_fence_block();
		mkd_poke(&mkd_called.lock, 0);
	}
}

/* All others come; by who may call. While they do, it gets together what all
 * of them need. */
MKD_FN void mkd_call_begin(struct mkd_warp *w, const struct mkd_args *args,
			   const struct mkd_slot *s, uint32_t tile, uint32_t n)
{
	uint32_t threads = w->l->warps * MKD_LANES;

	if (!w->lane) {
		mkd_called.place = w->place;
		mkd_fence_block();
		mkd_poke(&mkd_open, 1);
		mkd_called.dirty = mkd_called.made = 0;
		mkd_called.job = s->job;
		mkd_called.tile[0] = tile;
		mkd_called.n[0] = n;
		mkd_called.worker = w->index;
		mkd_called.handler = MKD_ENTRY_HANDLER(s->entry);
		mkd_called.args = *args;
		mkd_task(w, &mkd_called.task, s->ticket, s->deadline_ns, 0,
			 threads);
		mkd_here(w, s, &mkd_called.task, &mkd_called.here);
		mkd_called.task.value = s->value;
	}
	mkd_syncwarp();
	mkd_sync_workers(threads);
	if (!w->lane)
		mkd_poke(&mkd_open, 0);
}

/* The others go, and others may call. True: something was written. */
MKD_FN bool mkd_call_end(struct mkd_warp *w)
{
	uint32_t dirty = mkd_peek(&mkd_called.dirty);

	if (mkd_peek(&mkd_called.made))
		mkd_counted(w);
	mkd_sync_workers(w->l->warps * MKD_LANES);
	mkd_call_unlock(w);
	return dirty != 0;
}

MKD_SLOW bool mkd_call_block(struct mkd_warp *w, const struct mkd_args *args,
			     struct mkd_slot *s, struct mk_task *task,
			     struct mkd_here *here)
{
	mkd_call_await(w);
	mkd_call_begin(w, args, s, 0, 0);
	mkd_join(w, task, here);
	s->result = mkd_called.result;
	s->value = mkd_called.value;
	task->value = s->value;
	here->job = mkd_called.job;
	return mkd_call_end(w);
}

#endif
