/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine for the resident kernel that needs no GPU: takes the place of
 * src/engine/cuda/device.cuh when the kernel's text is compiled for the CPU
 * by the C++ compiler.
 *
 * A block is a thread; its lanes are fibers of that thread, switched where
 * lanes wait for each other. So blocks run truly side by side, and a warp
 * whose lanes do not all come to the same place is found: it ends the
 * process with a message. But a handler that does not return holds all warps
 * of its block, of the first one the monitor too, which it does not on a
 * device: only one that asks whether it is to end can be tried out here.
 */
#ifndef MK_CUDA_EMULATE_H
#define MK_CUDA_EMULATE_H

#undef _FORTIFY_SOURCE
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

/* one lane's mk_sync() is every lane's; who asks may ask for long */
#define MK_HANDLER_PORTABLE 1
#define mk_cancelled mk_cancelled_alone
#define mk_sync mk_sync_alone
#define mk_tile_last mk_tile_last_alone
#include <megakernel/handler.h>
#undef mk_cancelled
#undef mk_sync
#undef mk_tile_last
#define mk_cancelled(task) emu_cancelled(task)
#define mk_sync(task) emu_sync((task)->lanes)
#define mk_tile_last(task) emu_tile_last(task)

#define MKD_FN static inline __attribute__((unused))
#define MKD_SLOW static __attribute__((noinline, unused))
#define MKD_KERNEL extern "C"
#define MKD_SHARED static thread_local
#define MKD_TABLE extern "C" __attribute__((visibility("default")))
#define MKD_BYTES_OF(space, name) ((uint32_t)space::mk_entry_##name.arg_bytes)
#define MKD_WIDTH_OF(space, name) ((uint32_t)space::mk_entry_##name.width)

#define MKD_CLOCK_MARGIN_NS 20000000u /* threads may have to wait */
#define MKD_LONG_NS 50000000u

struct mkd_unit {
	uint32_t x, y, z, w;
};

/* ---- fibers ------------------------------------------------------------ */

#define EMU_STACK (96u << 10)
#define EMU_LANES 32u

struct emu_barrier {
	uint32_t arrived;
	uint32_t turn;
	uint32_t what; /* which operation the first one came for */
};

struct emu_warp {
	struct emu_barrier barrier;
	uint64_t value[2][EMU_LANES];
};

struct emu_fiber {
	jmp_buf here;
	ucontext_t first;
	char *stack;
	bool begun, ended;
	const struct emu_barrier *waits; /* or NULL */
	uint32_t turn;                   /* of that barrier, to be over */
	uint64_t until;                  /* asleep until then */
};

struct emu_block {
	struct emu_fiber *fiber;
	struct emu_warp *warp;
	struct emu_barrier named[4];
	jmp_buf scheduler;
	ucontext_t home;
	uint32_t threads, index, blocks, current;
	uint32_t agreed;
	void (*run)(const void *);
	const void *argument;
};

static thread_local struct emu_block *emu;

static inline uint64_t emu_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void emu_die(const char *why)
{
	fprintf(stderr, "emulated kernel: block %u thread %u: %s\n",
		emu->index, emu->current, why);
	abort();
}

static __attribute__((noinline)) void emu_yield(void)
{
	struct emu_fiber *f = &emu->fiber[emu->current];

	if (!_setjmp(f->here))
		_longjmp(emu->scheduler, 1);
}

static inline int emu_cancelled(const struct mk_task *task)
{
	emu_yield();
	return mk_cancelled_alone(task);
}

static inline void emu_barrier_wait(struct emu_barrier *b, uint32_t count,
				    uint32_t what)
{
	struct emu_fiber *f = &emu->fiber[emu->current];
	uint32_t turn = b->turn;

	if (!b->arrived)
		b->what = what;
	else if (b->what != what)
		emu_die("the lanes of a warp do different things");
	if (++b->arrived == count) {
		b->arrived = 0;
		b->turn++;
		return;
	}
	f->waits = b;
	f->turn = turn;
	emu_yield();
}

static void emu_fiber_main(void)
{
	emu->run(emu->argument);
	emu->fiber[emu->current].ended = true;
	_longjmp(emu->scheduler, 1);
}

static void emu_switch(struct emu_block *b, uint32_t i)
{
	struct emu_fiber *f = &b->fiber[i];

	b->current = i;
	if (_setjmp(b->scheduler))
		return;
	if (f->begun)
		_longjmp(f->here, 1);
	f->begun = true;
	getcontext(&f->first);
	f->first.uc_stack.ss_sp = f->stack;
	f->first.uc_stack.ss_size = EMU_STACK;
	f->first.uc_link = NULL;
	makecontext(&f->first, emu_fiber_main, 0);
	setcontext(&f->first);
}

/* The fake driver sets it when the kernel is to die where it stands. */
extern "C" __attribute__((visibility("default"))) int mkd_emulate_die;
int mkd_emulate_die;

static bool emu_ready(const struct emu_fiber *f, uint64_t now)
{
	if (f->waits)
		return f->waits->turn != f->turn;
	return f->until <= now;
}

static void *emu_block_main(void *arg)
{
	struct emu_block *b = (struct emu_block *)arg;
	uint32_t left = b->threads;

	emu = b;
	while (left && !__atomic_load_n(&mkd_emulate_die, __ATOMIC_RELAXED)) {
		uint64_t now = emu_now();
		bool ran = false;

		for (volatile uint32_t i = 0; i < b->threads; i = i + 1) {
			struct emu_fiber *f = &b->fiber[i];

			if (f->ended || !emu_ready(f, now))
				continue;
			f->waits = NULL;
			f->until = 0;
			ran = true;
			emu_switch(b, i);
			left -= f->ended;
		}
		if (!ran)
			sched_yield();
	}
	return NULL;
}

static void emu_run(uint32_t blocks, uint32_t threads,
		    void (*run)(const void *), const void *argument)
{
	struct emu_block *b = (struct emu_block *)calloc(blocks, sizeof(*b));
	pthread_t *t = (pthread_t *)calloc(blocks, sizeof(*t));

	for (uint32_t i = 0; i < blocks; i++) {
		b[i].threads = threads;
		b[i].index = i;
		b[i].blocks = blocks;
		b[i].run = run;
		b[i].argument = argument;
		b[i].fiber = (struct emu_fiber *)calloc(threads,
							sizeof(*b[i].fiber));
		b[i].warp = (struct emu_warp *)calloc(
			(threads + EMU_LANES - 1) / EMU_LANES,
			sizeof(*b[i].warp));
		for (uint32_t k = 0; k < threads; k++)
			b[i].fiber[k].stack = (char *)malloc(EMU_STACK);
		if (pthread_create(&t[i], NULL, emu_block_main, &b[i]))
			abort();
	}
	for (uint32_t i = 0; i < blocks; i++) {
		pthread_join(t[i], NULL);
		for (uint32_t k = 0; k < threads; k++)
			free(b[i].fiber[k].stack);
		free(b[i].fiber);
		free(b[i].warp);
	}
	free(b);
	free(t);
}

/* ---- lanes ------------------------------------------------------------- */

MKD_FN uint32_t mkd_thread(void)
{
	return emu->current;
}

MKD_FN uint32_t mkd_block(void)
{
	return emu->index;
}

MKD_FN uint32_t mkd_blocks(void)
{
	return emu->blocks;
}

/* Everybody's values, once every lane has given its own. */
static inline const uint64_t *emu_gather(uint64_t value, uint32_t what)
{
	struct emu_warp *w = &emu->warp[emu->current / EMU_LANES];
	uint64_t *values = w->value[w->barrier.turn & 1u];

	values[emu->current % EMU_LANES] = value;
	emu_barrier_wait(&w->barrier, EMU_LANES, what);
	return values;
}

MKD_FN uint32_t mkd_ballot(bool yes)
{
	const uint64_t *v = emu_gather(yes, 1);
	uint32_t mask = 0;

	for (uint32_t i = 0; i < EMU_LANES; i++)
		mask |= (uint32_t)v[i] << i;
	return mask;
}

MKD_FN uint64_t mkd_shfl64(uint64_t v, uint32_t lane)
{
	return emu_gather(v, 2)[lane % EMU_LANES];
}

MKD_FN uint32_t mkd_shfl(uint32_t v, uint32_t lane)
{
	return (uint32_t)emu_gather(v, 3)[lane % EMU_LANES];
}

MKD_FN void mkd_syncwarp(void)
{
	emu_gather(0, 4);
}

MKD_FN void mkd_sync_workers(uint32_t threads)
{
	emu_barrier_wait(&emu->named[2], threads, 5);
}

MKD_FN void mkd_sync_block(void)
{
	emu_barrier_wait(&emu->named[0], emu->threads, 6);
}

static inline void emu_sync(uint32_t lanes)
{
	if (lanes == EMU_LANES)
		emu_gather(0, 7);
	else if (lanes > EMU_LANES)
		emu_barrier_wait(&emu->named[1], lanes, 8);
}

/* What lane 0 says of the slot, to all its lanes. */
static inline uint32_t emu_agree(uint32_t lanes, uint32_t v)
{
	if (lanes == EMU_LANES)
		return (uint32_t)emu_gather(v, 9)[0];
	if (lanes < EMU_LANES)
		return v;
	if (!emu->current)
		emu->agreed = v;
	emu_barrier_wait(&emu->named[1], lanes, 10);
	v = emu->agreed;
	emu_barrier_wait(&emu->named[1], lanes, 11);
	return v;
}

static inline int emu_tile_last(struct mk_task *task)
{
	uint32_t last = 0;

	if (!task->join)
		return 1;
	emu_sync(task->lanes);
	if (!task->lane)
		last = mk_join_arrive(task->join) == task->tiles;
	last = emu_agree(task->lanes, last);
	if (last) {
		task->tile_last = 1;
		task->value = mk_join_sum(task->join);
	}
	return (int)last;
}

MKD_FN uint32_t mkd_lowest(uint32_t mask)
{
	return mask ? (uint32_t)__builtin_ctz(mask) : 0xffffffffu;
}

MKD_FN uint32_t mkd_highest(uint32_t mask)
{
	return mask ? 31u - (uint32_t)__builtin_clz(mask) : 0xffffffffu;
}

MKD_FN uint32_t mkd_bits(uint32_t mask)
{
	return (uint32_t)__builtin_popcount(mask);
}

/* ---- time -------------------------------------------------------------- */

MKD_FN void mkd_nap(uint32_t ns)
{
	emu->fiber[emu->current].until = emu_now() + ns;
	emu_yield();
}

/* Another clock than the host's, as on a device. */
MKD_FN uint64_t mkd_time(void)
{
	return emu_now() + 7777777777u;
}

/* ---- memory ------------------------------------------------------------ */

/* The last word first: it has the mark, and was written last. */
MKD_FN struct mkd_unit mkd_load16(uint64_t at)
{
	uint64_t hi = __atomic_load_n((const uint64_t *)(at + 8),
				      __ATOMIC_ACQUIRE);
	uint64_t lo = __atomic_load_n((const uint64_t *)at, __ATOMIC_ACQUIRE);
	struct mkd_unit v = { (uint32_t)lo, (uint32_t)(lo >> 32),
			      (uint32_t)hi, (uint32_t)(hi >> 32) };

	if (at & 15u)
		emu_die("a 16-byte load is not aligned");
	return v;
}

/* The first word last: of an answer it has the mark. */
MKD_FN void mkd_store16(uint64_t at, struct mkd_unit v)
{
	if (at & 15u)
		emu_die("a 16-byte store is not aligned");
	__atomic_store_n((uint64_t *)(at + 8), v.z | (uint64_t)v.w << 32,
			 __ATOMIC_RELAXED);
	__atomic_store_n((uint64_t *)at, v.x | (uint64_t)v.y << 32,
			 __ATOMIC_RELEASE);
}

MKD_FN uint32_t mkd_load32(const uint32_t *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

MKD_FN uint64_t mkd_load64(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

MKD_FN void mkd_store32(uint32_t *at, uint32_t v)
{
	__atomic_store_n(at, v, __ATOMIC_RELAXED);
}

MKD_FN void mkd_store64(uint64_t *at, uint64_t v)
{
	__atomic_store_n(at, v, __ATOMIC_RELAXED);
}

MKD_FN void mkd_store32_shared(uint32_t *at, uint32_t v)
{
	__atomic_store_n(at, v, __ATOMIC_RELEASE);
}

MKD_FN void mkd_store64_shared(uint64_t *at, uint64_t v)
{
	__atomic_store_n(at, v, __ATOMIC_RELEASE);
}

MKD_FN void mkd_store32_release(uint32_t *at, uint32_t v)
{
	__atomic_store_n(at, v, __ATOMIC_RELEASE);
}

MKD_FN uint64_t mkd_add64(uint64_t *at, uint64_t n)
{
	return __atomic_fetch_add(at, n, __ATOMIC_SEQ_CST);
}

MKD_FN void mkd_tally(uint64_t *at, uint64_t n)
{
	__atomic_fetch_add(at, n, __ATOMIC_SEQ_CST);
}

MKD_FN uint32_t mkd_add32(uint32_t *at, uint32_t n)
{
	return __atomic_fetch_add(at, n, __ATOMIC_SEQ_CST);
}

MKD_FN uint32_t mkd_or32(uint32_t *at, uint32_t bits)
{
	return __atomic_fetch_or(at, bits, __ATOMIC_SEQ_CST);
}

MKD_FN void mkd_and32(uint32_t *at, uint32_t bits)
{
	__atomic_fetch_and(at, bits, __ATOMIC_SEQ_CST);
}

MKD_FN void mkd_or64(uint64_t *at, uint64_t bits)
{
	__atomic_fetch_or(at, bits, __ATOMIC_SEQ_CST);
}

MKD_FN uint64_t mkd_swap64(uint64_t *at, uint64_t v)
{
	return __atomic_exchange_n(at, v, __ATOMIC_SEQ_CST);
}

MKD_FN uint64_t mkd_cas64(uint64_t *at, uint64_t expected, uint64_t v)
{
	__atomic_compare_exchange_n(at, &expected, v, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
	return expected;
}

MKD_FN uint32_t mkd_cas32(uint32_t *at, uint32_t expected, uint32_t v)
{
	__atomic_compare_exchange_n(at, &expected, v, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
	return expected;
}

MKD_FN void mkd_relax(void)
{
	sched_yield();
}

MKD_FN void mkd_max64(uint64_t *at, uint64_t v)
{
	uint64_t seen = __atomic_load_n(at, __ATOMIC_RELAXED);

	while (seen < v && !__atomic_compare_exchange_n(
				   at, &seen, v, false, __ATOMIC_SEQ_CST,
				   __ATOMIC_RELAXED))
		;
}

MKD_FN void mkd_min64(uint64_t *at, uint64_t v)
{
	uint64_t seen = __atomic_load_n(at, __ATOMIC_RELAXED);

	while (seen > v && !__atomic_compare_exchange_n(
				   at, &seen, v, false, __ATOMIC_SEQ_CST,
				   __ATOMIC_RELAXED))
		;
}

/* Lanes of a block take turns at the places where they wait only. */
MKD_FN uint32_t mkd_peek(const uint32_t *at)
{
	return *at;
}

MKD_FN void mkd_poke(uint32_t *at, uint32_t v)
{
	*at = v;
}

MKD_FN uint32_t mkd_cas_shared(uint32_t *at, uint32_t expected, uint32_t v)
{
	uint32_t was = *at;

	if (was == expected)
		*at = v;
	return was;
}

MKD_FN void mkd_fence_block(void)
{
}

MKD_FN void mkd_fence(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

MKD_FN void mkd_acquire(void)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
}

MKD_FN void mkd_release(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* ---- what the fake driver calls ------------------------------------------ */

struct mkd_launch;
extern "C" void mkd_kernel(struct mkd_launch l);
static void emu_kernel(const void *launch);

extern "C" __attribute__((visibility("default")))
void mkd_emulate(const void *launch, uint32_t blocks, uint32_t threads)
{
	emu_run(blocks, threads, emu_kernel, launch);
}

#endif
