/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of jobs, rings of made work, and who waits for which value of a
 * counter: by single lanes, each for itself.
 *
 * Nobody ever blocks in here: who finds that something is not there yet leaves
 * a record and goes on, and whoever brings it about takes the record up.
 */
#ifndef MK_CUDA_POOL_CUH
#define MK_CUDA_POOL_CUH

/* ---- lists of jobs ----------------------------------------------------- */

/* Push a chain. Who pushes owns the jobs, and gives them away. */
MKD_FN void mkd_list_push(uint64_t *list, struct mkd_job *first,
			  struct mkd_job *last)
{
	uint64_t seen = mkd_load64(list), had;

	for (;;) {
		mkd_store64(&last->next, seen);
		mkd_fence();
		had = mkd_cas64(list, seen, (uint64_t)(uintptr_t)first);
		if (had == seen)
			return;
		seen = had;
	}
}

/* Take all of it. Nobody takes a part, so no list can be mistaken for one
 * that was there before. */
MKD_FN struct mkd_job *mkd_list_take_all(uint64_t *list)
{
	struct mkd_job *first;

	if (!mkd_load64(list))
		return (struct mkd_job *)0;
	first = (struct mkd_job *)(uintptr_t)mkd_swap64(list, 0);
	mkd_fence();
	return first;
}

MKD_FN struct mkd_job *mkd_list_next(const struct mkd_job *job)
{
	return (struct mkd_job *)(uintptr_t)mkd_load64(&job->next);
}

/* Take one; the others of `from` go to `rest`, which may be the same. */
MKD_SLOW struct mkd_job *mkd_list_take(uint64_t *from, uint64_t *rest)
{
	struct mkd_job *job = mkd_list_take_all(from), *first, *last;

	if (!job)
		return job;
	first = mkd_list_next(job);
	if (!first)
		return job;
	mkd_fence();
	if (!mkd_cas64(rest, 0, (uint64_t)(uintptr_t)first))
		return job;
	for (last = first; mkd_list_next(last); last = mkd_list_next(last))
		;
	mkd_list_push(rest, first, last);
	return job;
}

/* What was to run later may run now. */
MKD_SLOW void mkd_home_turn(struct mkd_home *h)
{
	struct mkd_job *job = mkd_list_take_all(&h->later), *next;

	/* it lies newest first; each is pushed on top of the one before */
	for (; job; job = next) {
		next = mkd_list_next(job);
		mkd_list_push(&h->ready, job, job);
	}
}

/* ---- the rings of made work -------------------------------------------- */

/* Room for up to n more pieces; how many. */
MKD_FN uint32_t mkd_home_reserve(struct mkd_flow *f, struct mkd_home *h,
				 uint32_t n)
{
	uint64_t had, over;

	if (mkd_load64(&h->live) >= f->is.entries)
		return 0;
	had = mkd_add64(&h->live, n);
	if (had + n <= f->is.entries)
		return n;
	over = had >= f->is.entries ? n : had + n - f->is.entries;
	mkd_add64(&h->live, 0 - over);
	return n - (uint32_t)over;
}

/* n pieces have ended. */
MKD_FN void mkd_home_release(struct mkd_home *h, uint32_t n)
{
	mkd_tally(&h->live, 0 - (uint64_t)n);
}

MKD_FN struct mkd_made *mkd_home_place(const struct mkd_flow *f,
				       const struct mkd_home *h,
				       uint64_t ticket)
{
	return f->is.places + (((uint64_t)(h - f->is.home) << f->is.shift) |
			    (ticket & (f->is.entries - 1u)));
}

/* A piece in four units: its stamp is the second word of the first. */
struct mkd_piece {
	struct mkd_unit unit[4];
};

/* Put one at its ticket; it is counted in items afterwards. Whoever took what
 * was there a lap ago may still be copying it. */
MKD_FN void mkd_home_fill(const struct mkd_flow *f, struct mkd_home *h,
			  uint64_t ticket, uint32_t opcode,
			  const struct mkd_job *job, const uint32_t *args)
{
	struct mkd_made *at = mkd_home_place(f, h, ticket);
	uint32_t lap = (uint32_t)((ticket >> f->is.shift) << 1);

	while (mkd_load32(&at->stamp) != lap)
		mkd_relax();
	mkd_store32((uint32_t *)at, opcode);
	mkd_store64(&at->job, (uint64_t)(uintptr_t)job);
	for (uint32_t i = 0; i < MK_ARG_WORDS; i++)
		mkd_store32(&at->args[i], args[i]);
	/* pairs with mkd_home_drain() */
	mkd_store32_shared(&at->stamp, lap + 1u);
}

/* Take the one at a ticket that is ours. It was announced, or one put beside
 * it was, and then its own stores are on the way. */
MKD_FN void mkd_home_drain(const struct mkd_flow *f, struct mkd_home *h,
			   uint64_t ticket, struct mkd_piece *to)
{
	struct mkd_made *at = mkd_home_place(f, h, ticket);
	uint32_t lap = (uint32_t)((ticket >> f->is.shift) << 1);

	while (mkd_load32(&at->stamp) != lap + 1u)
		mkd_relax();
	mkd_fence();
	for (uint32_t i = 0; i < 4u; i++)
		to->unit[i] = mkd_load16((uint64_t)at + 16u * i);
	/* pairs with mkd_home_fill() a lap later */
	mkd_store32_shared(&at->stamp, lap + 2u);
}

/* Claim up to n of what was put; how many, the first at *ticket. */
MKD_FN uint32_t mkd_home_claim(struct mkd_home *h, uint32_t n,
			       uint64_t *ticket)
{
	int64_t seen = (int64_t)mkd_load64(&h->items);
	uint32_t back;

	if (seen <= 0)
		return 0;
	if (seen < (int64_t)n)
		n = (uint32_t)seen;
	seen = (int64_t)mkd_add64(&h->items, 0 - (uint64_t)n);
	if (seen < (int64_t)n) {
		/* others were faster */
		back = seen <= 0 ? n : n - (uint32_t)seen;
		mkd_tally(&h->items, back);
		n -= back;
	}
	if (n)
		*ticket = mkd_add64(&h->head, n);
	return n;
}

/* ---- waits ------------------------------------------------------------- */

/* The counter, checked each time: its buffer may be gone. NULL: *code. */
MKD_FN uint64_t *mkd_counter_at(struct mk_task *task, struct mk_ref ref,
				uint32_t word, int write, int32_t *code)
{
	int32_t error = task->error;
	uint64_t *at;

	task->error = 0;
	at = (uint64_t *)mk_window_at(task, ref, (uint64_t)word * 8u, 8,
				      write);
	if (at && ((uintptr_t)at & 7u)) {
		mk_set_error(task, MK_EALIGN);
		at = (uint64_t *)0;
	}
	*code = task->error;
	task->error = error;
	return at;
}

/* 0: not yet; 1: reached; negative: it never will be. */
MKD_FN int32_t mkd_wait_look(struct mk_task *task,
			     const struct mkd_wait_for *wait)
{
	uint64_t *at, now;
	int32_t code;

	if (!wait->on)
		return 1;
	at = mkd_counter_at(task, wait->counter, wait->word, 0, &code);
	if (!at)
		return code;
	now = mkd_load64(at); /* pairs with whoever raises */
	if (now & MK_COUNTER_FAILED)
		return -MK_EUPSTREAM;
	return now >= wait->value;
}

MKD_FN uint64_t *mkd_wait_bucket(struct mkd_flow *f, struct mk_ref ref,
				 uint32_t word, uint64_t value)
{
	uint32_t key = ref.index * 0x9e3779b1u ^ ref.generation;

	key = (key ^ word) * 0x85ebca6bu;
	key = (key ^ (uint32_t)value) * 0xc2b2ae35u;
	return &f->bucket[(key >> 16 ^ key) % MKD_BUCKETS];
}

/* It may run: into the home's list. It is no longer ours. */
MKD_FN void mkd_job_ready(struct mkd_home *h, struct mkd_job *job)
{
	mkd_list_push(&h->ready, job, job);
}

/* What was taken out of a bucket: into the homes' lists, unlooked at, from
 * home `turn` on. Who takes one from there looks whether it is ready. */
MKD_SLOW void mkd_wait_spread(struct mkd_flow *f, struct mkd_job *job,
			    uint32_t turn)
{
	struct mkd_job *next;

	for (; job; job = next) {
		next = mkd_list_next(job);
		mkd_add32(&f->waiting, ~0u);
		mkd_job_ready(f->is.home + turn++ % f->is.homes, job);
	}
}

/*
 * The job waits, as job->wait says. It is no longer ours. Who waits pushes
 * itself, then looks at the counter; who raises adds to the counter, then
 * takes the list: at least one of them sees the other.
 */
MKD_SLOW void mkd_wait_park(struct mk_task *task, struct mkd_flow *f,
			  struct mkd_job *job, uint32_t turn)
{
	struct mkd_wait_for wait = job->wait;
	uint64_t *bucket = mkd_wait_bucket(f, wait.counter, wait.word,
					   wait.value);

	mkd_add32(&f->waiting, 1);
	mkd_list_push(bucket, job, job);
	mkd_fence();
	if (mkd_wait_look(task, &wait))
		mkd_wait_spread(f, mkd_list_take_all(bucket), turn);
}

/* ---- jobs -------------------------------------------------------------- */

/* The first failure counts. */
MKD_FN void mkd_job_fail(struct mkd_job *job, int32_t result)
{
	mkd_cas32((uint32_t *)&job->failure, 0, (uint32_t)result);
}

/* n pieces have ended. True: they were the last, and the answer is ours. */
MKD_FN bool mkd_job_join(struct mkd_job *job, uint32_t n)
{
	bool last;

	mkd_fence();
	last = mkd_add32(&job->pending, 0u - n) == n;
	if (last)
		mkd_fence();
	return last;
}

/* The result of a job that has ended. */
MKD_FN int32_t mkd_job_result(const struct mkd_job *job)
{
	int32_t result = (int32_t)mkd_load32((const uint32_t *)&job->result);
	int32_t failure = (int32_t)mkd_load32((const uint32_t *)&job->failure);

	return result < 0 || !failure ? result : failure;
}

/* A job for made work that goes on; `home`: where its credit is. There is one
 * for each credit, so one that is missing is on its way back. */
MKD_SLOW struct mkd_job *mkd_job_park(struct mkd_flow *f, uint32_t home)
{
	uint64_t all = (uint64_t)f->is.homes << f->is.shift, fresh;
	struct mkd_job *job;

	for (;;) {
		job = mkd_list_take(&f->free_parked, &f->free_parked);
		if (job)
			break;
		fresh = mkd_load64(&f->fresh_parked);
		if (fresh < all &&
		    mkd_cas64(&f->fresh_parked, fresh, fresh + 1) == fresh) {
			job = &f->is.parked[fresh];
			break;
		}
		mkd_relax();
	}
	job->home = home;
	return job;
}

MKD_FN void mkd_job_unpark(struct mkd_flow *f, struct mkd_job *job)
{
	mkd_list_push(&f->free_parked, job, job);
}

#endif
