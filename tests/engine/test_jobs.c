/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The structures of work that flows, without an engine: many threads on lists,
 * rings, buckets and tiles at once. Nothing is lost, nothing comes twice.
 */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

#include "base/order.h"
#include "engine/cpu/jobs.h"

#define THREADS 4u

struct world {
	struct cpu_flow flow;
	struct mk_window window[2];
	uint64_t counter[64];
	struct mk_ref ref;
};

static struct world world;

static void world_begin(uint32_t homes, uint32_t entries)
{
	memset(&world, 0, sizeof(world));
	assert_int_equal(cpu_jobs_init(&world.flow, homes, MK_MADE_STEAL,
				       entries), 0);
	world.window[1].base = (uintptr_t)world.counter;
	world.window[1].bytes = sizeof(world.counter);
	world.window[1].generation = 3;
	world.window[1].last = 3;
	world.ref = (struct mk_ref){ 1, 3 };
}

static void world_end(void)
{
	cpu_jobs_fini(&world.flow);
}

static void task_init(struct mk_task *task)
{
	memset(task, 0, sizeof(*task));
	task->windows = world.window;
	task->window_count = 2;
	task->lanes = 1;
	task->tiles = 1;
}

static void on_threads(void *(*run)(void *), unsigned n)
{
	pthread_t thread[16];

	for (unsigned i = 0; i < n; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, run,
						(void *)(uintptr_t)i), 0);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
}

/* ---- lists -------------------------------------------------------------- */

static struct cpu_job *jobs_of(unsigned n)
{
	struct cpu_job *jobs = aligned_alloc(64, n * sizeof(*jobs));

	assert_non_null(jobs);
	memset(jobs, 0, n * sizeof(*jobs));
	for (unsigned i = 0; i < n; i++)
		jobs[i].root = &jobs[i];
	return jobs;
}

static void order(void **state)
{
	struct cpu_job *jobs = jobs_of(6);
	struct cpu_job *list = NULL, *other = NULL;
	struct cpu_home h = { .tail = 0 };

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		cpu_list_push(&list, &jobs[i]);
	/* the last first, the others stay */
	assert_ptr_equal(cpu_list_take(&list, &list), &jobs[2]);
	/* the others go before what is there */
	cpu_list_push(&other, &jobs[3]);
	assert_ptr_equal(cpu_list_take(&list, &other), &jobs[1]);
	assert_null(list);
	assert_ptr_equal(cpu_list_take(&other, &other), &jobs[0]);
	assert_ptr_equal(cpu_list_take(&other, &other), &jobs[3]);
	assert_null(cpu_list_take(&other, &other));
	assert_null(cpu_list_take_all(&other));
	/* what was put off comes in its order */
	for (unsigned i = 0; i < 6; i++)
		cpu_list_push(&h.later, &jobs[i]);
	cpu_home_turn(&h);
	assert_null(h.later);
	for (unsigned i = 0; i < 6; i++)
		assert_ptr_equal(cpu_list_take(&h.ready, &h.ready), &jobs[i]);
	free(jobs);
}

#define LIST_JOBS 512u
#define LIST_ROUNDS 20000u

static struct cpu_job *list_jobs, *lists[THREADS];

static void *list_thread(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	uint64_t seed = me + 1;

	for (unsigned i = 0; i < LIST_ROUNDS; i++) {
		unsigned from = (unsigned)support_random(&seed) % THREADS;
		unsigned to = (unsigned)support_random(&seed) % THREADS;
		struct cpu_job *job = cpu_list_take(&lists[from], &lists[me]);

		if (!job)
			continue;
		/* ours alone: a plain word */
		assert_int_equal(job->result, 0);
		job->result = 1;
		job->value++;
		job->result = 0;
		cpu_list_push(&lists[to], job);
	}
	return NULL;
}

static void lists_stress(void **state)
{
	unsigned n = 0;

	(void)state;
	list_jobs = jobs_of(LIST_JOBS);
	for (unsigned i = 0; i < LIST_JOBS; i++)
		cpu_list_push(&lists[i % THREADS], &list_jobs[i]);
	on_threads(list_thread, THREADS);
	for (unsigned i = 0; i < THREADS; i++)
		for (struct cpu_job *job = cpu_list_take_all(&lists[i]); job;
		     job = job->next, n++) {
			assert_int_equal(job->settled, false);
			job->settled = true;
		}
	assert_int_equal(n, LIST_JOBS);
	free(list_jobs);
}

/* ---- rings -------------------------------------------------------------- */

static void ring_bounds(void **state)
{
	struct cpu_made made = { .opcode = 7 }, got[8];
	struct cpu_home *h;

	(void)state;
	world_begin(2, 15);
	h = &world.flow.home[1];
	assert_int_equal(world.flow.entries, 8);
	for (unsigned lap = 0; lap < 5; lap++) {
		for (unsigned i = 0; i < 8; i++) {
			assert_false(!cpu_home_reserve(&world.flow, h));
			made.args[0] = i;
			cpu_home_put(&world.flow, h, &made);
		}
		assert_false(cpu_home_reserve(&world.flow, h));
		assert_true(cpu_home_has(h));
		assert_false(cpu_home_has(&world.flow.home[0]));
		assert_int_equal(cpu_home_take(&world.flow, h, got, 5), 5);
		/* in a hand: its room is not given back */
		assert_false(cpu_home_reserve(&world.flow, h));
		/* so it can always be put back */
		for (unsigned i = 0; i < 5; i++) {
			assert_int_equal(got[i].args[0], i);
			cpu_home_put(&world.flow, h, &got[i]);
		}
		assert_int_equal(cpu_home_take(&world.flow, h, got, 8), 8);
		assert_int_equal(cpu_home_take(&world.flow, h, got, 8), 0);
		cpu_home_release(h, 8);
	}
	world_end();
}

#define PIECES 100000u

static uint8_t seen[THREADS * PIECES];
static uint64_t taken;

/* Each puts and takes, at any home; who finds no room takes. */
static void *ring_thread(void *arg)
{
	uint32_t me = (uint32_t)(uintptr_t)arg, next = 0;
	struct cpu_flow *f = &world.flow;
	struct cpu_made made = { .opcode = 1 }, got[5];
	uint64_t seed = me + 9;

	while (mk_load_relaxed(&taken) < THREADS * (uint64_t)PIECES) {
		uint64_t r = support_random(&seed);
		struct cpu_home *h = &f->home[r % f->homes];
		unsigned n;

		if (next < PIECES && cpu_home_reserve(f, h)) {
			made.args[0] = me * PIECES + next++;
			made.args[11] = ~made.args[0];
			cpu_home_put(f, h, &made);
			if (r & 0x100)
				continue;
		}
		h = &f->home[(r >> 16) % f->homes];
		n = cpu_home_take(f, h, got, 1 + (unsigned)(r >> 32) % 5);
		for (unsigned i = 0; i < n; i++) {
			assert_int_equal(got[i].args[11], ~got[i].args[0]);
			assert_int_equal(mk_add_relaxed(&seen[got[i].args[0]],
							1), 0);
		}
		if (n)
			cpu_home_release(h, n);
		mk_add_relaxed(&taken, n);
		if (!n)
			sched_yield();
	}
	return NULL;
}

static void ring_stress(void **state)
{
	static const uint32_t sizes[] = { 2, 64, 4096 };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		memset(seen, 0, sizeof(seen));
		taken = 0;
		world_begin(2, sizes[i]);
		on_threads(ring_thread, THREADS);
		for (unsigned k = 0; k < THREADS * PIECES; k++)
			assert_int_equal(seen[k], 1);
		for (unsigned k = 0; k < 2; k++) {
			assert_int_equal(world.flow.home[k].items, 0);
			assert_int_equal(world.flow.home[k].live, 0);
		}
		world_end();
	}
}

/* ---- waits -------------------------------------------------------------- */

static void wait_codes(void **state)
{
	struct cpu_job *jobs = jobs_of(2);
	struct cpu_wait *wait = &jobs[0].wait;
	struct mk_task task;
	unsigned ready = 0;

	(void)state;
	world_begin(1, 8);
	task_init(&task);
	assert_int_equal(cpu_wait_look(&task, wait), 1);
	*wait = (struct cpu_wait){ .counter = world.ref, .word = 5,
				   .value = 2, .on = true };
	assert_int_equal(cpu_wait_look(&task, wait), 0);
	world.counter[5] = 2;
	assert_int_equal(cpu_wait_look(&task, wait), 1);
	world.counter[5] |= MK_COUNTER_FAILED;
	assert_int_equal(cpu_wait_look(&task, wait), -MK_EUPSTREAM);
	wait->word = 64;
	assert_int_equal(cpu_wait_look(&task, wait), -MK_ERANGE);
	wait->word = UINT32_MAX;
	assert_int_equal(cpu_wait_look(&task, wait), -MK_ERANGE);
	wait->word = 5;
	wait->counter.generation = 2;
	assert_int_equal(cpu_wait_look(&task, wait), -MK_ESTALE);
	wait->counter.index = 9;
	assert_int_equal(cpu_wait_look(&task, wait), -MK_EFOREIGN);
	/* nothing of that is the handler's failure */
	assert_int_equal(task.error, 0);
	/* a failure readies nobody by itself, but asks for a sweep */
	wait->counter = world.ref;
	wait->word = 6;
	assert_int_equal(cpu_wait_park(&task, &world.flow, world.flow.home,
				       jobs), 0);
	assert_int_equal(cpu_counter_raise(&task, &world.flow,
					   world.flow.home, world.ref, 6, 1,
					   true, &ready), 0);
	assert_int_equal(ready, 0);
	assert_int_equal(world.flow.sweep, 1);
	assert_int_equal(cpu_wait_sweep(&task, &world.flow, world.flow.home,
					NULL, 0), 1);
	assert_ptr_equal(cpu_list_take(&world.flow.home->ready,
				       &world.flow.home->ready), jobs);
	assert_int_equal(world.flow.waiting, 0);
	world_end();
	free(jobs);
}

#define CHAIN 64u   /* jobs of each thread */
#define LAPS 400u

static struct cpu_job *chain_jobs;
static uint64_t ended;

/*
 * Every thread lets its jobs wait, each for another value of a counter, while
 * all raise all counters and run what is ready. Counters 0 to 7 reach, after
 * each lap, what the highest of its waits is for.
 */
static void *wait_thread(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	struct cpu_flow *f = &world.flow;
	struct cpu_home *h = &f->home[me];
	uint64_t seed = me + 5, all;
	struct mk_task task;
	unsigned ready;

	task_init(&task);
	for (unsigned lap = 0; lap < LAPS; lap++) {
		for (unsigned i = 0; i < CHAIN; i++) {
			struct cpu_job *job = &chain_jobs[me * CHAIN + i];
			uint64_t r = support_random(&seed);

			job->wait = (struct cpu_wait){
				.counter = world.ref, .word = i % 8,
				.value = lap * (THREADS * CHAIN / 8) +
					 (uint32_t)r % (THREADS * CHAIN / 8) +
					 1,
				.on = true };
			(void)cpu_wait_park(&task, f, h, job);
			(void)cpu_counter_raise(&task, f, h, world.ref,
						(uint32_t)(i % 8), 1, false,
						&ready);
		}
		all = (lap + 1) * (uint64_t)THREADS * CHAIN;
		while (mk_load_seq(&ended) < all) {
			struct cpu_job *job = NULL;

			for (unsigned i = 0; i < THREADS && !job; i++)
				job = cpu_list_take(
					&f->home[(me + i) % THREADS].ready,
					&h->ready);
			if (!job) {
				sched_yield();
				continue;
			}
			assert_int_equal(cpu_wait_look(&task, &job->wait), 1);
			job->value++;
			mk_add_seq(&ended, 1);
		}
	}
	return NULL;
}

/* No wake-up is lost: else this does not end. */
static void wait_stress(void **state)
{
	(void)state;
	world_begin(THREADS, 8);
	ended = 0;
	chain_jobs = jobs_of(THREADS * CHAIN);
	on_threads(wait_thread, THREADS);
	assert_int_equal(world.flow.waiting, 0);
	for (unsigned i = 0; i < THREADS * CHAIN; i++)
		assert_int_equal(chain_jobs[i].value, LAPS);
	for (unsigned i = 0; i < CPU_BUCKETS; i++)
		assert_null(world.flow.buckets[i]);
	free(chain_jobs);
	world_end();
}

/* ---- parked work and tiles ---------------------------------------------- */

static void *park_thread(void *arg)
{
	struct cpu_flow *f = &world.flow;
	struct cpu_job *mine[4];

	for (unsigned i = 0; i < 5000; i++) {
		for (unsigned k = 0; k < 4; k++) {
			mine[k] = cpu_job_park(f);
			assert_int_equal(mine[k]->result, 0);
			mine[k]->result = 1 + (int32_t)(uintptr_t)arg;
		}
		for (unsigned k = 0; k < 4; k++) {
			assert_int_equal(mine[k]->result,
					 1 + (int32_t)(uintptr_t)arg);
			mine[k]->result = 0;
			cpu_job_unpark(f, mine[k]);
		}
	}
	return NULL;
}

/* There are as many as there is room, and no more are needed. */
static void parked(void **state)
{
	(void)state;
	world_begin(THREADS, THREADS * 4);
	on_threads(park_thread, THREADS);
	world_end();
}

#define SHARED 3000u

static struct cpu_job *tile_jobs;
static uint32_t tiles_run[8];

/* One of them gives a job a new life when it has ended; all take its tiles,
 * as they find it in the table or knew it before. */
static void *tile_thread(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	struct cpu_flow *f = &world.flow;
	uint32_t tile, count;

	for (unsigned life = 0; life < SHARED;) {
		struct cpu_job *job = &tile_jobs[me % 2];
		bool owner = me < 2;

		if (owner && !mk_load_acquire(&job->pending)) {
			job->value = 0;
			life++;
			mk_store_relaxed(&job->pending, life % 7 + 2);
			assert_false(!cpu_tile_share(f, job, life % 7 + 1));
			/* the owner's own */
			cpu_job_join(job, 1);
		} else if (!owner && mk_load_relaxed(&ended) == 2) {
			break;
		}
		if (!cpu_tile_take(job, &tile, &count)) {
			sched_yield();
			continue;
		}
		if (tile == count - 1)
			cpu_tile_unshare(f, job);
		mk_add_seq(&tiles_run[tile], 1);
		cpu_job_join(job, 1);
	}
	if (me < 2)
		mk_add_seq(&ended, 1);
	return NULL;
}

static void tiles_stress(void **state)
{
	uint32_t want[8] = { 0 };
	uint32_t tile, count;

	(void)state;
	world_begin(THREADS, 8);
	ended = 0;
	memset(tiles_run, 0, sizeof(tiles_run));
	tile_jobs = jobs_of(2);
	on_threads(tile_thread, THREADS);
	/* the last lives have nobody left but us */
	for (unsigned i = 0; i < 2; i++)
		while (cpu_tile_take(&tile_jobs[i], &tile, &count))
			tiles_run[tile]++;
	for (unsigned life = 1; life <= SHARED; life++)
		for (unsigned i = 0; i < life % 7 + 1; i++)
			want[i] += 2;
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(tiles_run[i], want[i]);
	free(tile_jobs);
	world_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order),
		cmocka_unit_test(lists_stress),
		cmocka_unit_test(ring_bounds),
		cmocka_unit_test(ring_stress),
		cmocka_unit_test(wait_codes),
		cmocka_unit_test(wait_stress),
		cmocka_unit_test(parked),
		cmocka_unit_test(tiles_stress),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
