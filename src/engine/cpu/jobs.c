/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/cpu/jobs.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/order.h"

#define RAISE_STEPS 64u /* buckets that one raise looks at itself */

/* Wait for the few stores of another, who may have lost its core. */
static void relax(unsigned spins)
{
	if (spins % 64 == 63)
		sched_yield();
	else
		mk_pause();
}

/* ---- memory ------------------------------------------------------------- */

int cpu_jobs_init(struct cpu_flow *f, uint32_t homes, uint32_t mode,
		  uint32_t entries)
{
	uint64_t all;
	void *memory;

	f->homes = homes;
	f->mode = mode;
	f->shift = 1;
	while ((uint64_t)homes << f->shift < entries)
		f->shift++;
	f->entries = 1u << f->shift;
	all = (uint64_t)homes << f->shift;
	f->buckets = calloc(CPU_BUCKETS, sizeof(struct cpu_job *));
	f->home = aligned_alloc(64, homes * sizeof(*f->home));
	if (!f->buckets || !f->home)
		return -ENOMEM;
	memset(f->home, 0, homes * sizeof(*f->home));
	/* most of it is never touched */
	f->bytes = all * (sizeof(struct cpu_made) + sizeof(struct cpu_job));
	memory = mmap(NULL, f->bytes, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return -ENOMEM;
	f->parked = memory;
	f->places = (void *)(f->parked + all);
	return 0;
}

void cpu_jobs_fini(struct cpu_flow *f)
{
	if (f->parked)
		munmap(f->parked, f->bytes);
	free(f->home);
	free(f->buckets);
}

/* ---- lists -------------------------------------------------------------- */

static void push_chain(struct cpu_job **list, struct cpu_job *first,
		       struct cpu_job *last)
{
	struct cpu_job *seen = mk_load_relaxed(list);

	do
		mk_store_relaxed(&last->next, seen);
	while (!mk_cas_seq(list, &seen, first));
}

void cpu_list_push(struct cpu_job **list, struct cpu_job *job)
{
	push_chain(list, job, job);
}

/* Nobody takes a part of a list, so none can be mistaken for one that was
 * there before. */
struct cpu_job *cpu_list_take_all(struct cpu_job **list)
{
	return mk_load_seq(list) ? mk_exchange_seq(list, NULL) : NULL;
}

struct cpu_job *cpu_list_take(struct cpu_job **from, struct cpu_job **rest)
{
	struct cpu_job *job = cpu_list_take_all(from), *first, *last;

	if (!job || !(first = mk_load_relaxed(&job->next)))
		return job;
	last = NULL;
	if (mk_cas_seq(rest, &last, first))
		return job;
	for (last = first; mk_load_relaxed(&last->next);)
		last = mk_load_relaxed(&last->next);
	push_chain(rest, first, last);
	return job;
}

void cpu_home_turn(struct cpu_home *h)
{
	struct cpu_job *job = cpu_list_take_all(&h->later), *next;

	/* newest first; each is pushed on top of the one that is younger */
	for (; job; job = next) {
		next = mk_load_relaxed(&job->next);
		cpu_list_push(&h->ready, job);
	}
}

/* ---- rings -------------------------------------------------------------- */

bool cpu_home_reserve(struct cpu_flow *f, struct cpu_home *h)
{
	if (mk_load_relaxed(&h->live) >= f->entries)
		return false;
	if (mk_add_seq(&h->live, 1) < f->entries)
		return true;
	mk_sub_seq(&h->live, 1);
	return false;
}

void cpu_home_release(struct cpu_home *h, uint32_t n)
{
	mk_sub_seq(&h->live, n);
}

static struct cpu_made *place_of(struct cpu_flow *f, struct cpu_home *h,
				 uint64_t ticket)
{
	return f->places + ((uint64_t)(h - f->home) << f->shift) +
	       (ticket & (f->entries - 1));
}

void cpu_home_put(struct cpu_flow *f, struct cpu_home *h,
		  const struct cpu_made *made)
{
	uint64_t ticket = mk_add_seq(&h->tail, 1);
	struct cpu_made *at = place_of(f, h, ticket);
	uint32_t lap = (uint32_t)(ticket >> f->shift << 1);

	/* who took what was here a lap ago may still be copying it */
	for (unsigned i = 0; mk_load_acquire(&at->stamp) != lap; i++)
		relax(i);
	at->opcode = made->opcode;
	at->root = made->root;
	memcpy(at->args, made->args, sizeof(at->args));
	/* pairs with take_one() */
	mk_store_release(&at->stamp, lap + 1);
	mk_add_seq(&h->items, 1);
}

bool cpu_home_has(const struct cpu_home *h)
{
	return mk_load_seq(&h->items) > 0;
}

/* The ticket is ours. That many were counted, so whoever puts the one of this
 * ticket is about to end. */
static void take_one(struct cpu_flow *f, struct cpu_home *h, uint64_t ticket,
		     struct cpu_made *to)
{
	struct cpu_made *at = place_of(f, h, ticket);
	uint32_t lap = (uint32_t)(ticket >> f->shift << 1);

	for (unsigned i = 0; mk_load_acquire(&at->stamp) != lap + 1; i++)
		relax(i);
	to->opcode = at->opcode;
	to->root = at->root;
	memcpy(to->args, at->args, sizeof(to->args));
	/* pairs with cpu_home_put() a lap later */
	mk_store_release(&at->stamp, lap + 2);
}

unsigned cpu_home_take(struct cpu_flow *f, struct cpu_home *h,
		       struct cpu_made *to, unsigned n)
{
	int64_t seen = mk_load_relaxed(&h->items), over;
	uint64_t ticket;

	if (seen <= 0)
		return 0;
	if (seen < (int64_t)n)
		n = (unsigned)seen;
	seen = mk_sub_seq(&h->items, (int64_t)n);
	if (seen < (int64_t)n) {
		/* others were faster. Who looks meanwhile sees too few; but we
		 * are awake, and look again before we sleep */
		over = seen <= 0 ? (int64_t)n : (int64_t)n - seen;
		mk_add_seq(&h->items, over);
		n -= (unsigned)over;
	}
	if (!n)
		return 0;
	ticket = mk_add_seq(&h->head, n);
	for (unsigned i = 0; i < n; i++)
		take_one(f, h, ticket + i, &to[i]);
	return n;
}

/* ---- waits -------------------------------------------------------------- */

/* The counter; checked each time, as its buffer may be gone. */
static uint64_t *counter_at(struct mk_task *task, struct mk_ref ref,
			    uint32_t word, bool write, int32_t *code)
{
	int32_t error = task->error;
	uint64_t *at;

	task->error = 0;
	at = mk_window_at(task, ref, (uint64_t)word * 8, 8, write);
	if (at && (uintptr_t)at & 7) {
		mk_set_error(task, MK_EALIGN);
		at = NULL;
	}
	*code = task->error;
	task->error = error;
	return at;
}

int32_t cpu_counter_check(struct mk_task *task, struct mk_ref ref,
			  uint32_t word)
{
	int32_t code;

	counter_at(task, ref, word, true, &code);
	return code;
}

int32_t cpu_wait_look(struct mk_task *task, const struct cpu_wait *wait)
{
	uint64_t *at, now;
	int32_t code;

	if (!wait->on)
		return 1;
	at = counter_at(task, wait->counter, wait->word, false, &code);
	if (!at)
		return code;
	now = mk_load_seq(at); /* Dekker with cpu_counter_raise() */
	if (now & MK_COUNTER_FAILED)
		return -MK_EUPSTREAM;
	return now >= wait->value;
}

static struct cpu_job **bucket_of(struct cpu_flow *f, struct mk_ref ref,
				  uint32_t word, uint64_t value)
{
	uint64_t key = ((uint64_t)ref.generation << 32 | ref.index) *
		       0x9e3779b97f4a7c15u;

	key = (key ^ word) * 0xff51afd7ed558ccdu;
	key = (key ^ key >> 32 ^ value) * 0xc4ceb9fe1a85ec53u;
	return &f->buckets[(key >> 40) % CPU_BUCKETS];
}

/* It may run again: the caller learns of that before anything comes of it. */
static void untell(struct cpu_job *job)
{
	uint32_t *word = job->told;

	if (!word)
		return;
	job->told = NULL;
	mk_store_release(word, mk_load_relaxed(word) & ~MK_BEGUN_WAITS);
}

/*
 * Look at all that wait in a bucket: those that need not any longer become
 * ready, the others go back. Who waits pushes itself, then looks at the
 * counter; who raises adds to the counter, then takes the bucket: at least one
 * of them sees the other. That holds for us as well, who push them back:
 * model/wait.pml.
 */
static unsigned take_bucket(struct mk_task *task, struct cpu_flow *f,
			    struct cpu_home *h, struct cpu_job **bucket,
			    cpu_over_fn over, uint64_t now_ns)
{
	struct cpu_job *job, *next;
	unsigned ready = 0;
	bool again;

	do {
		again = false;
		for (job = cpu_list_take_all(bucket); job; job = next) {
			struct cpu_wait wait = job->wait;

			next = mk_load_relaxed(&job->next);
			if (cpu_wait_look(task, &wait) ||
			    (over && over(job, now_ns))) {
				mk_sub_seq(&f->waiting, 1);
				untell(job);
				mk_store_relaxed(&job->state, CPU_JOB_READY);
				cpu_list_push(&h->ready, job);
				ready++;
				continue;
			}
			/* it is ours no longer, hence the copy */
			cpu_list_push(bucket, job);
			if (cpu_wait_look(task, &wait))
				again = true;
		}
	} while (again);
	return ready;
}

unsigned cpu_wait_park(struct mk_task *task, struct cpu_flow *f,
		       struct cpu_home *h, struct cpu_job *job)
{
	struct cpu_wait wait = job->wait;
	struct cpu_job **bucket = bucket_of(f, wait.counter, wait.word,
					    wait.value);

	mk_store_relaxed(&job->state, CPU_JOB_WAITS);
	mk_add_seq(&f->waiting, 1);
	cpu_list_push(bucket, job);
	return cpu_wait_look(task, &wait) ?
		       take_bucket(task, f, h, bucket, NULL, 0) : 0;
}

int32_t cpu_counter_raise(struct mk_task *task, struct cpu_flow *f,
			  struct cpu_home *h, struct mk_ref ref,
			  uint32_t word, uint64_t n, bool failed,
			  unsigned *ready)
{
	uint64_t *at, old;
	int32_t code;

	at = counter_at(task, ref, word, true, &code);
	if (!at)
		return code;
	if (failed)
		mk_or_seq(at, MK_COUNTER_FAILED);
	/* bit 63 is for failures alone, whatever a handler adds */
	old = mk_add_seq(at, n & ~MK_COUNTER_FAILED) & ~MK_COUNTER_FAILED;
	/* who waits counts itself, then looks at the counter */
	if (!mk_load_seq(&f->waiting))
		return 0;
	if (failed || n > RAISE_STEPS) {
		mk_add_seq(&f->sweep, 1);
		return 0;
	}
	/* every value is passed by one raise alone */
	for (uint64_t value = old + 1; value <= old + n; value++) {
		struct cpu_job **bucket = bucket_of(f, ref, word, value);

		if (mk_load_seq(bucket))
			*ready += take_bucket(task, f, h, bucket, NULL, 0);
	}
	return 0;
}

unsigned cpu_wait_sweep(struct mk_task *task, struct cpu_flow *f,
			struct cpu_home *h, cpu_over_fn over, uint64_t now_ns)
{
	unsigned ready = 0;

	for (unsigned i = 0; i < CPU_BUCKETS; i++)
		if (mk_load_seq(&f->buckets[i]))
			ready += take_bucket(task, f, h, &f->buckets[i], over,
					     now_ns);
	return ready;
}

/* ---- jobs --------------------------------------------------------------- */

struct cpu_job *cpu_job_park(struct cpu_flow *f)
{
	uint64_t all = (uint64_t)f->homes << f->shift, fresh;
	struct cpu_job *job;

	/* one that is missing is in the hand of another who looks */
	for (unsigned i = 0;; i++) {
		job = cpu_list_take(&f->free_parked, &f->free_parked);
		if (job)
			return job;
		fresh = mk_load_relaxed(&f->fresh_parked);
		if (fresh < all &&
		    mk_cas_seq(&f->fresh_parked, &fresh, fresh + 1))
			return &f->parked[fresh];
		relax(i);
	}
}

void cpu_job_unpark(struct cpu_flow *f, struct cpu_job *job)
{
	mk_store_relaxed(&job->state, CPU_JOB_NONE);
	cpu_list_push(&f->free_parked, job);
}

void cpu_job_fail(struct cpu_job *job, int32_t result)
{
	int32_t none = mk_load_relaxed(&job->failure);

	while (!none && !mk_cas_seq(&job->failure, &none, result))
		;
}

bool cpu_job_join(struct cpu_job *job, uint32_t n)
{
	return mk_sub_seq(&job->pending, n) == n;
}

/* ---- tiles -------------------------------------------------------------- */

bool cpu_tile_take(struct cpu_job *job, uint32_t *tile, uint32_t *count)
{
	uint64_t word = mk_load_seq(&job->tiles);

	if ((uint32_t)word >= (uint32_t)(word >> 32))
		return false;
	/* one word has both, so what we take is of the life that we take it
	 * from; pairs with the store in cpu_tile_share() */
	word = mk_add_seq(&job->tiles, 1);
	*tile = (uint32_t)word;
	*count = (uint32_t)(word >> 32);
	return *tile < *count;
}

bool cpu_tile_share(struct cpu_flow *f, struct cpu_job *job, uint32_t count)
{
	bool shared = false;

	mk_store_relaxed(&job->state, CPU_JOB_TILES);
	for (unsigned i = 0; i < CPU_SHARES && !shared; i++) {
		struct cpu_job *none = NULL;

		shared = !mk_load_relaxed(&f->shares[i]) &&
			 mk_cas_seq(&f->shares[i], &none, job);
	}
	/* who takes a tile sees the job, and its place in the table */
	mk_store_release(&job->tiles, (uint64_t)count << 32);
	return shared;
}

void cpu_tile_unshare(struct cpu_flow *f, struct cpu_job *job)
{
	mk_store_relaxed(&job->state, CPU_JOB_JOINS);
	for (unsigned i = 0; i < CPU_SHARES; i++)
		if (mk_load_relaxed(&f->shares[i]) == job)
			mk_store_seq(&f->shares[i], NULL);
}
