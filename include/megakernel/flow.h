/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file flow.h
 * Work that flows: handlers that share a slot by tiles, make more work, and go
 * on as another handler, later, or when a counter has reached a value.
 *
 * Part of the handler dialect; handler.h includes it.
 *
 * A slot that asks for tiles is run once for each, by whatever workers have
 * time, in any order:
 *
 *	MK_HANDLER(total, struct total)
 *	{
 *		uint64_t from = args->n * mk_tile(task) / mk_tiles(task);
 *		...
 *		mk_tile_add(task, sum of this part);
 *		return MK_OK;
 *	}
 *
 * No worker ever blocks in these calls: who has to wait leaves a record and
 * ends, and whoever brings about what it waits for takes the record up. So
 * they work with one worker as well.
 */
#ifndef MEGAKERNEL_FLOW_H
#define MEGAKERNEL_FLOW_H

#include <megakernel/handler.h>

/* What a handler returns that goes on, after one of the calls below. */
#define MK_NEXT (-2147483647 - 1)

#define MK_ENOTSUP 95 /* as errno.h has it; a GPU has none */

/* ---- what an engine brings --------------------------------------------- */

#if MK_CUDA
/* by the lanes that call it, each its own */
__device__ int32_t mk_flow_spawn(struct mk_task *task, uint32_t opcode,
				 const void *args, uint32_t bytes);
/* by one lane */
__device__ int32_t mk_flow_raise(struct mk_task *task, struct mk_ref ref,
				 uint32_t word, uint64_t n);
/* May work be made of this opcode, and takes it so many bytes? */
__device__ int32_t mk_flow_check(const struct mk_task *task, uint32_t opcode,
				 uint32_t bytes);
#else
struct mk_flow_calls {
	int32_t (*spawn)(struct mk_task *task, uint32_t opcode,
			 const void *args, uint32_t bytes);
	int32_t (*raise)(struct mk_task *task, struct mk_ref ref,
			 uint32_t word, uint64_t n);
	int32_t (*check)(const struct mk_task *task, uint32_t opcode,
			 uint32_t bytes);
};

MK_FN int32_t mk_flow_spawn(struct mk_task *task, uint32_t opcode,
			    const void *args, uint32_t bytes)
{
	return task->flow ? task->flow->spawn(task, opcode, args, bytes) :
			    -MK_ENOTSUP;
}

MK_FN int32_t mk_flow_raise(struct mk_task *task, struct mk_ref ref,
			    uint32_t word, uint64_t n)
{
	return task->flow ? task->flow->raise(task, ref, word, n) :
			    -MK_ENOTSUP;
}

MK_FN int32_t mk_flow_check(const struct mk_task *task, uint32_t opcode,
			    uint32_t bytes)
{
	return task->flow ? task->flow->check(task, opcode, bytes) :
			    -MK_ENOTSUP;
}
#endif

/* ---- made work --------------------------------------------------------- */

/** The opcode that runs: another than the slot's after mk_continue(). */
MK_FN uint32_t mk_opcode(const struct mk_task *task) { return task->opcode; }

/**
 * Make work: a handler that runs once, at any time, on any worker, with the
 * slot's deadline, cancellation, tenant and priority, and may itself make
 * more. The slot's answer comes when its handler and all that was made for it
 * have ended: the handler's own result, unless that is >= 0 and made work
 * failed; then the first such failure. Values of made work are lost: let it
 * write to a buffer.
 *
 * Every lane that calls it makes its own; most handlers let lane 0 do it. The
 * arguments are copied.
 *
 * @retval MK_OK
 * @retval -MK_EFULL    so much made work has not ended yet
 *                      (mk_ctx_params.made_entries); nothing was made. Do it
 *                      in place, or mk_yield() and try again. But if all that
 *                      is there only waits for room, none ever comes.
 * @retval -MK_EOPCODE  no loaded handler has this opcode, or it is MK_OP_FENCE
 *                      or MK_OP_ROW.
 * @retval -MK_EARGS    the handler takes another number of bytes.
 * @retval -MK_ENOTSUP  the slot is one of a dispatch's row.
 */
MK_FN int32_t mk_spawn(struct mk_task *task, uint32_t opcode,
		       const void *args, uint32_t bytes)
{
	return mk_flow_spawn(task, opcode, args, bytes);
}

/* ---- going on ---------------------------------------------------------- */

/* What all that go on have in common. */
MK_FN int32_t mk_go_on(struct mk_task *task, uint32_t kind, uint32_t opcode,
		       const void *args, uint32_t bytes)
{
	const unsigned char *from = (const unsigned char *)args;
	unsigned char *to = (unsigned char *)task->next.args;
	int32_t r = mk_flow_check(task, opcode, bytes);

	if (!r && task->tiles > 1u)
		r = -MK_ENOTSUP;
	if (r)
		return r;
	for (uint32_t i = 0; i < bytes; i++)
		to[i] = from[i];
	for (uint32_t i = bytes; i < MK_ARG_BYTES; i++)
		to[i] = 0;
	task->next.opcode = opcode;
	task->next.kind = kind;
	return MK_NEXT;
}

/**
 * Go on as another handler: `return mk_continue(task, opcode, &a, sizeof(a));`
 * The slot, or the piece of made work, ends as that handler does. Other work
 * has its turn before. Of the lanes of a handler, lane 0 decides.
 *
 * @return what the handler has to return: MK_NEXT, or a failure, -MK_EOPCODE
 *         or -MK_EARGS as of mk_spawn(); -MK_ENOTSUP in a dispatch's row, and
 *         in a slot of several tiles.
 */
MK_FN int32_t mk_continue(struct mk_task *task, uint32_t opcode,
			  const void *args, uint32_t bytes)
{
	return mk_go_on(task, MK_NEXT_RUN, opcode, args, bytes);
}

/** Run again, later, with these arguments; as mk_continue(). */
MK_FN int32_t mk_yield(struct mk_task *task, const void *args, uint32_t bytes)
{
	return mk_go_on(task, MK_NEXT_RUN, task->opcode, args, bytes);
}

/**
 * Go on as `opcode` when the low 63 bits of word `word` (8 bytes each) of a
 * buffer are no less than `value`; no worker waits meanwhile. Else as
 * mk_continue(). If the word's highest bit is set, for something that raises
 * it failed, the slot or piece of made work ends with -MK_EUPSTREAM; if there
 * is no such word, with the code of mk_read().
 *
 * As with mk_slot_wait(), wait only for what was published before the slot, or
 * was made for it. Engine cpu: if all of that waits too, the slot ends with
 * -EDEADLK within twice mk_ctx_params.hang_ns, unless work that was made for
 * it has not ended. Engine cuda: it goes on until its deadline, or until it is
 * cancelled.
 *
 * Let nothing else but mk_raise() and slots that end change the word.
 */
MK_FN int32_t mk_await(struct mk_task *task, struct mk_ref ref, uint32_t word,
		       uint64_t value, uint32_t opcode, const void *args,
		       uint32_t bytes)
{
	task->next.counter = ref;
	task->next.word = word;
	task->next.value = value;
	return mk_go_on(task, MK_NEXT_WAIT, opcode, args, bytes);
}

/**
 * Add n to a counter: what waits for a value that it reaches may run, and
 * sees what this slot wrote before. By one lane.
 *
 * @retval MK_OK
 * @retval -MK_EALIGN   the word does not lie at a multiple of 8 bytes.
 * @retval -MK_ENOTSUP  the slot is one of a dispatch's row.
 * @return else the code of mk_write(), negated: there is no such word.
 */
MK_FN int32_t mk_raise(struct mk_task *task, struct mk_ref ref, uint32_t word,
		       uint64_t n)
{
	return mk_flow_raise(task, ref, word, n);
}

/* ---- tiles ------------------------------------------------------------- */

MK_FN uint32_t mk_join_arrive(struct mk_tile_join *join)
{
#if MK_CUDA
	uint32_t had;

	__threadfence();
	had = atomicAdd((unsigned *)&join->arrived, 1u);
	__threadfence();
	return had + 1u;
#else
	/* among the tiles: who comes last sees what all others wrote */
	return __atomic_add_fetch(&join->arrived, 1u, __ATOMIC_ACQ_REL);
#endif
}

MK_FN uint64_t mk_join_sum(const struct mk_tile_join *join)
{
#if MK_CUDA
	return *(const volatile uint64_t *)&join->sum;
#else
	return __atomic_load_n(&join->sum, __ATOMIC_RELAXED);
#endif
}

/**
 * True, in all lanes, for the tile that calls it last: it sees what the others
 * wrote before they called it, and may combine it. Once a tile, by all lanes.
 * That tile's result and value are the slot's, unless another tile failed; the
 * value begins as the sum of mk_tile_add(). In a slot of one tile: true.
 *
 * If a tile fails, those that have not begun are not run, so that it may be
 * true for none.
 */
MK_FN int mk_tile_last(struct mk_task *task)
{
	uint32_t last = 1;

	if (!task->join)
		return 1;
	mk_sync(task);
	if (!task->lane)
		last = mk_join_arrive(task->join) == task->tiles;
#if MK_CUDA
	if (task->lanes == 32)
		last = __shfl_sync(0xffffffffu, last, 0);
	else if (task->lanes > 32)
		/* lane 0 knows, the others say yes to whatever it says */
		asm volatile("{ .reg .pred p, q; setp.ne.u32 p, %1, 0;"
			     " barrier.red.and.pred q, 1, %2, p;"
			     " selp.u32 %0, 1, 0, q; }"
			     : "=r"(last) : "r"(last), "r"(task->lanes)
			     : "memory");
#endif
	if (last) {
		task->tile_last = 1;
		task->value = mk_join_sum(task->join);
	}
	return (int)last;
}

/**
 * Add to the slot's value, over all its tiles, unless the tile for which
 * mk_tile_last() is true sets it. By one lane.
 */
MK_FN void mk_tile_add(struct mk_task *task, uint64_t n)
{
	struct mk_tile_join *join = task->join;

	if (!join) {
		task->value += n;
		return;
	}
#if MK_CUDA
	atomicAdd((unsigned long long *)&join->sum, (unsigned long long)n);
	*(volatile uint32_t *)&join->summed = 1u;
#else
	/* ordered by the join */
	__atomic_fetch_add(&join->sum, n, __ATOMIC_RELAXED);
	__atomic_store_n(&join->summed, 1u, __ATOMIC_RELAXED);
#endif
}

#endif
