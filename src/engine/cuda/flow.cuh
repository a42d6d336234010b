/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that flows, on the device: what handlers call (megakernel/flow.h), and
 * what becomes of a slot whose handler returned with work left.
 *
 * Everything lies in device memory and stays there when the kernel leaves.
 * Workers learn that there is something from one word, which comes with the
 * orders that they read anyway: enum mkd_work.
 */
#ifndef MK_CUDA_FLOW_CUH
#define MK_CUDA_FLOW_CUH

#define MKD_JOB_OPENING (~(uint64_t)1) /* mkd_job.open, for moments */
#define MKD_RAISE_STEPS 64u /* lists that one raise looks at by itself */

/* What a slot may make, or go on as; mk_task.engine points to it. */
struct mkd_here {
	struct mkd_job *job;  /* if it is open */
	struct mkd_queue *q;
	uint64_t header;      /* unit[0].lo of the slot */
	uint32_t mask;        /* entries of the queue - 1 */
	uint32_t home;        /* a number that is the worker's: mkd_home() */
	uint32_t turn;        /* home of the next piece, MK_MADE_FIXED */
	uint32_t spawned;
};

MKD_FN struct mkd_flow *mkd_flow(void)
{
	return (struct mkd_flow *)mkd_launched.flow;
}

MKD_FN struct mkd_home *mkd_home(uint32_t number)
{
	struct mkd_flow *f = mkd_flow();

	return f->is.home + number % f->is.homes;
}

/* Something with this deadline waits, since before this call. */
MKD_FN void mkd_wait_due(uint64_t deadline_ns)
{
	if (deadline_ns != ~(uint64_t)0)
		mkd_max64(&mkd_flow()->due, ~deadline_ns);
}

/* Tell all workers; by one lane, after what they shall find. */
MKD_FN void mkd_bell(uint32_t what)
{
	mkd_fence();
	mkd_or32(&((struct mkd_state *)mkd_launched.state)->work, what);
}

/* The same for who has seen its own change done: an atomic that gave it a word
 * back. Most find the bit set. */
MKD_FN void mkd_bell_once(uint32_t what)
{
	if (~mkd_load32(&((struct mkd_state *)mkd_launched.state)->work) & what)
		mkd_bell(what);
}

/* ---- what handlers call ------------------------------------------------- */

/* The job of the slot that runs, opened if it was not: from now on its answer
 * waits until nothing is pending. Any lane; several may come at once. */
MKD_FN struct mkd_job *mkd_job_open(struct mk_task *task,
				    struct mkd_here *here)
{
	struct mkd_job *job = here->job;
	uint64_t open;

	if (job)
		return job;
	job = (struct mkd_job *)mkd_load64(&here->q->jobs) +
	      (task->ticket & here->mask);
	here->job = job;
	for (;;) {
		open = mkd_load64(&job->open);
		if (open == task->ticket + 1u) {
			mkd_fence();
			return job;
		}
		if (!open && !mkd_cas64(&job->open, 0, MKD_JOB_OPENING))
			break;
		mkd_relax();
	}
	job->header = here->header;
	job->deadline_ns = task->deadline_ns;
	job->queue = (uint64_t)here->q;
	job->join.arrived = job->join.summed = job->join.ended = 0;
	job->join.sum = 0;
	job->pending = 1;
	job->failure = job->result = 0;
	job->flags = 0;
	job->value = 0;
	job->wait.on = 0;
	job->root = job;
	/* no worker's block may name the slot from here on, but it began: the
	 * word behind the one that cancels */
	mkd_store32_release((uint32_t *)task->cancel + 1, task->cancel_mark);
	mkd_store64_shared(&job->open, task->ticket + 1u);
	return job;
}

MKD_FN int32_t mkd_flow_check(const struct mk_task *task, uint32_t opcode,
			      uint32_t bytes)
{
	uint32_t takes;

	if (!task->engine)
		return -MK_ENOTSUP;
	if (opcode >= MK_OPCODES)
		return -MK_EOPCODE;
	takes = *(const volatile uint8_t *)&mkd_flow()->is.takes[opcode];
	if (!takes)
		return -MK_EOPCODE;
	return bytes != takes - 1u ? -MK_EARGS : MK_OK;
}

MKD_SLOW int32_t mkd_flow_spawn(struct mk_task *task, uint32_t opcode,
				const void *args, uint32_t bytes)
{
	struct mkd_here *here = (struct mkd_here *)task->engine;
	int32_t r = mkd_flow_check(task, opcode, bytes);
	struct mkd_home *h = (struct mkd_home *)0;
	struct mkd_flow *f = mkd_flow();
	const unsigned char *from = (const unsigned char *)args;
	uint32_t words[MK_ARG_WORDS];
	struct mkd_job *job;

	if (r)
		return r;
	for (uint32_t i = 0; i < f->is.homes && i < 4u && !h; i++) {
		h = mkd_home(f->is.dealt ? here->turn++ :
							here->home + i);
		if (!mkd_home_reserve(f, h, 1))
			h = (struct mkd_home *)0;
	}
	if (!h)
		return -MK_EFULL;
	for (uint32_t i = 0; i < MK_ARG_WORDS; i++)
		words[i] = 0;
	for (uint32_t i = 0; i < bytes; i++)
		words[i / 4u] |= (uint32_t)from[i] << 8u * (i % 4u);
	job = mkd_job_open(task, here);
	task->made = 1;
	here->spawned++;
	mkd_add32(&job->pending, 1);
	mkd_home_fill(f, h, mkd_add64(&h->tail, 1), opcode, job, words);
	/* Dekker with who takes the bit out: the add is done when it has given
	 * us the word */
	if (mkd_add64(&h->items, 1) != ~(uint64_t)0 >> 1)
		mkd_bell_once(MKD_WORK_LOOK);
	return MK_OK;
}

MKD_SLOW int32_t mkd_flow_raise(struct mk_task *task, struct mk_ref ref,
				uint32_t word, uint64_t n)
{
	struct mkd_here *here = (struct mkd_here *)task->engine;
	struct mkd_flow *f = mkd_flow();
	struct mkd_job *job;
	uint64_t *at, old;
	bool found = false;
	int32_t code;

	if (!here)
		return -MK_ENOTSUP;
	at = mkd_counter_at(task, ref, word, 1, &code);
	if (!at)
		return code;
	mkd_release(); /* what the slot wrote, in host memory too */
	old = mkd_add64(at, n) & ~MK_COUNTER_FAILED;
	mkd_fence();
	if (!mkd_load32(&f->waiting))
		return MK_OK; /* who waits counts itself, then looks */
	if (n > MKD_RAISE_STEPS) {
		mkd_bell(MKD_WORK_SWEEP);
		return MK_OK;
	}
	for (uint64_t v = old + 1u; v <= old + n; v++) {
		job = mkd_list_take_all(mkd_wait_bucket(f, ref, word, v));
		mkd_wait_spread(f, job, here->home);
		found |= job != (struct mkd_job *)0;
	}
	if (found)
		mkd_bell(MKD_WORK_LOOK);
	return MK_OK;
}

#if MK_CUDA
__device__ int32_t mk_flow_spawn(struct mk_task *task, uint32_t opcode,
				 const void *args, uint32_t bytes)
{
	return mkd_flow_spawn(task, opcode, args, bytes);
}

__device__ int32_t mk_flow_raise(struct mk_task *task, struct mk_ref ref,
				 uint32_t word, uint64_t n)
{
	return mkd_flow_raise(task, ref, word, n);
}

__device__ int32_t mk_flow_check(const struct mk_task *task, uint32_t opcode,
				 uint32_t bytes)
{
	return mkd_flow_check(task, opcode, bytes);
}
#else
static int32_t mkd_flow_check_call(const struct mk_task *task,
				   uint32_t opcode, uint32_t bytes)
{
	return mkd_flow_check(task, opcode, bytes);
}

static const struct mk_flow_calls mkd_flow_calls = {
	mkd_flow_spawn, mkd_flow_raise, mkd_flow_check_call
};
#endif

/* ---- before and after a handler ------------------------------------------ */

/* What the slot that a lane speaks for may make, or go on as. */
MKD_FN void mkd_here(const struct mkd_warp *w, const struct mkd_slot *s,
		     struct mk_task *task, struct mkd_here *here)
{
	here->job = s->job;
	here->q = w->q;
	here->header = s->opcode | (uint64_t)s->tenant << 16 |
		       (uint64_t)s->priority << 32 |
		       (uint64_t)s->flags << 40 | (uint64_t)s->tiles << 48;
	here->mask = w->mask;
	here->home = w->index;
	here->turn = w->index + w->salt;
	here->spawned = 0;
	task->engine = here;
	task->opcode = s->opcode;
	task->tile = s->tile;
	task->tiles = s->tiles;
	task->join = s->tiles > 1u && s->job ? &s->job->join :
					       (struct mk_tile_join *)0;
#if !MK_CUDA
	task->flow = &mkd_flow_calls;
#endif
}

/* Counters that lie in device memory alone changed: the next flush is to
 * look at all of them. */
MKD_FN void mkd_counted(struct mkd_warp *w)
{
	w->mixed = true;
	w->unflushed++;
}

/* Lanes made so many pieces of work. */
MKD_FN void mkd_made_count(struct mkd_warp *w, uint32_t spawned)
{
	if (!mkd_ballot(spawned != 0))
		return;
	if (spawned)
		mkd_tally(&w->counters->spawned, spawned);
	mkd_counted(w);
}

/* The job's slot has ended; its entry is free for the next. */
MKD_FN void mkd_job_close(struct mkd_job *job)
{
	mkd_fence();
	mkd_store64(&job->open, 0);
}

/* The job shall run what the handler left, later or when it may. It is no
 * longer ours. */
MKD_SLOW void mkd_job_go_on(struct mk_task *task, struct mkd_job *job,
			    uint32_t home)
{
	struct mkd_home *h = mkd_home(home);

	job->value = task->value;
	job->run.opcode = (uint16_t)task->next.opcode;
	for (uint32_t i = 0; i < MK_ARG_WORDS; i++)
		job->run.args[i] = task->next.args[i];
	job->wait.on = task->next.kind == MK_NEXT_WAIT;
	job->wait.counter = task->next.counter;
	job->wait.word = task->next.word;
	job->wait.value = task->next.value;
	job->flags |= MKD_JOB_RUNS;
	mkd_fence();
	if (job->wait.on) {
		mkd_wait_park(task, mkd_flow(), job, home);
		mkd_wait_due(task->deadline_ns);
	} else {
		mkd_list_push(&h->later, job, job);
	}
	mkd_bell(MKD_WORK_LOOK);
}

/*
 * A handler returned with work left: it goes on, or has made some. By the lane
 * that speaks for it, after a release of what it wrote. True: all of it has
 * ended, and the slot's result and value are in s.
 */
MKD_SLOW bool mkd_after_away(struct mk_task *task, struct mkd_here *here,
			     struct mkd_slot *s)
{
	struct mkd_job *job;

	if (s->result == MK_NEXT && task->next.kind) {
		job = mkd_job_open(task, here);
		mkd_job_go_on(task, job, here->home);
		return false;
	}
	job = here->job;
	if (!job)
		return true;
	job->result = s->result;
	job->value = s->value;
	if (!mkd_job_join(job, 1))
		return false;
	s->result = mkd_job_result(job);
	s->value = mkd_load64(&job->value);
	mkd_job_close(job);
	return true;
}

/* The same, where there mostly is nothing. */
MKD_FN bool mkd_after(struct mk_task *task, struct mkd_here *here,
		      struct mkd_slot *s)
{
	return (s->result != MK_NEXT && !here->job) ||
	       mkd_after_away(task, here, s);
}

#endif
