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
	int32_t result;
	uint64_t value;
	struct mkd_job *job;
	uint32_t worker; /* whose slot it is */
	uint32_t place;
	struct mkd_slot slot;
	struct mkd_args args;
};

MKD_SHARED struct mkd_call mkd_called;

/* All warps of the block are here, and so are the slot and its arguments. */
MKD_FN void mkd_join(struct mkd_warp *w, struct mk_task *task,
		     struct mkd_here *here)
{
	uint32_t threads = w->l->warps * MKD_LANES;
	struct mkd_warp as = *w;
	struct mkd_args args = mkd_called.args;
	struct mkd_slot slot = mkd_called.slot;
	int32_t result;

	as.index = mkd_called.worker;
	mkd_enter(&as, mkd_called.place);
	mkd_task(&as, task, slot.ticket, slot.deadline_ns, mkd_thread(),
		 threads);
	mkd_here(&as, &slot, task, here);
	task->value = slot.value;
	mkd_acquire();
	result = mkd_dispatch(MKD_ENTRY_HANDLER(slot.entry), task, args.word);
	if (task->dirty)
		mkd_poke(&mkd_called.dirty, 1);
	if (here->job)
		mkd_called.job = here->job; /* the same in all that have it */
	if (here->spawned)
		mkd_tally(&((struct mk_worker_block *)w->l->counters +
			    mkd_called.worker)->spawned, here->spawned);
	if (!mkd_thread()) {
		mkd_called.result = result;
		mkd_called.value = task->value;
	}
	/* what every thread wrote is ordered before the caller's release */
	mkd_sync_workers(threads);
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

MKD_SLOW bool mkd_call_block(struct mkd_warp *w, const struct mkd_args *args,
			     struct mkd_slot *s, struct mk_task *task,
			     struct mkd_here *here)
{
	uint32_t threads = w->l->warps * MKD_LANES;
	uint32_t held = 1;

	while (held) {
		if (!w->lane)
			held = mkd_cas_shared(&mkd_called.lock, 0, 1);
		held = mkd_shfl(held, 0);
		if (held && mkd_called_for()) {
			mkd_help(w);
			if (!w->lane)
				mkd_store32(&w->me->busy, w->place + 1u);
		} else if (held) {
			mkd_nap(200);
		}
	}
	if (!w->lane) {
		mkd_called.dirty = 0;
		mkd_called.job = s->job;
		mkd_called.worker = w->index;
		mkd_called.place = w->place;
		mkd_called.slot = *s;
		mkd_called.args = *args;
		mkd_fence_block();
		mkd_poke(&mkd_open, 1);
	}
	mkd_sync_workers(threads);
	if (!w->lane)
		mkd_poke(&mkd_open, 0);
	mkd_join(w, task, here);
	s->result = mkd_called.result;
	s->value = mkd_called.value;
	task->value = s->value;
	here->job = mkd_called.job;
	if (here->job)
		mkd_counted(w);
	held = mkd_peek(&mkd_called.dirty);
	mkd_sync_workers(threads);
	if (!w->lane) {
		mkd_fence_block();
		mkd_poke(&mkd_called.lock, 0);
	}
	return held != 0;
}

#endif
