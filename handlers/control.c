/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The built-in opcodes that are no mechanism of an engine: they work on
 * observable words, buffers and the debug log. One lane does the small ones.
 */
#include <megakernel/handler.h>

#if !MK_CUDA
#include <string.h>
#endif

/* How much a copy moves between two looks at the cancel word. */
#define COPY_STRIDE (1u << 20)

struct nop_args {
	uint64_t echo;
};

MK_HANDLER(nop, struct nop_args)
{
	mk_value(task, args->echo);
	return MK_OK;
}

/* The observable word that a slot names, or NULL with task->error set. */
MK_FN uint64_t *word_of(struct mk_task *task, const struct mk_op_word *args)
{
	if (args->reserved) {
		mk_set_error(task, MK_EARGS);
		return (uint64_t *)0;
	}
	return mk_observable(task, args->word);
}

MK_HANDLER(store, struct mk_op_word)
{
	uint64_t *word = word_of(task, args);

	if (!word)
		return mk_fail(task);
	if (mk_lane(task) == 0)
		mk_value(task, mk_exchange(word, args->operand));
	return MK_OK;
}

MK_HANDLER(add, struct mk_op_word)
{
	uint64_t *word = word_of(task, args);

	if (!word)
		return mk_fail(task);
	if (mk_lane(task) == 0)
		mk_value(task, mk_fetch_add(word, args->operand));
	return MK_OK;
}

MK_HANDLER(load, struct mk_op_word)
{
	uint64_t *word = word_of(task, args);

	if (!word)
		return mk_fail(task);
	if (mk_lane(task) == 0)
		mk_value(task, mk_load(word));
	return MK_OK;
}

MK_HANDLER(cas, struct mk_op_word)
{
	uint64_t *word = word_of(task, args);

	if (!word)
		return mk_fail(task);
	if (mk_lane(task) == 0)
		mk_value(task, mk_compare_swap(word, args->expected,
					       args->operand));
	return MK_OK;
}

/* One lane's share of a copy of at most COPY_STRIDE bytes. */
MK_FN void copy_part(struct mk_task *task, unsigned char *to,
		     const unsigned char *from, uint64_t bytes)
{
#if MK_CUDA
	uint64_t lane = mk_lane(task), lanes = mk_lanes(task), done = 0;

	if (!(((uint64_t)(uintptr_t)to | (uint64_t)(uintptr_t)from) & 15u)) {
		for (uint64_t i = lane; i < bytes / 16; i += lanes)
			((uint4 *)to)[i] = ((const uint4 *)from)[i];
		done = bytes & ~(uint64_t)15;
	}
	for (uint64_t i = done + lane; i < bytes; i += lanes)
		to[i] = from[i];
#else
	(void)task;
	memcpy(to, from, bytes);
#endif
}

/*
 * Between buffers, or within one where the ranges do not overlap: lanes take
 * their shares in no order, so an overlap has no meaning. A copy that was
 * cancelled has copied a prefix, and its value says how much.
 */
MK_HANDLER(copy, struct mk_op_copy)
{
	const unsigned char *from = (const unsigned char *)mk_read_at(
		task, args->source, args->source_offset, args->bytes);
	unsigned char *to = (unsigned char *)mk_write_at(
		task, args->target, args->target_offset, args->bytes);
	uint64_t done, part;

	if (!from || !to)
		return mk_fail(task);
	if ((uintptr_t)from < (uintptr_t)to + args->bytes &&
	    (uintptr_t)to < (uintptr_t)from + args->bytes)
		return -MK_EARGS;
	for (done = 0; done < args->bytes; done += part) {
		if (done && mk_cancelled(task))
			break;
		part = args->bytes - done;
		if (part > COPY_STRIDE)
			part = COPY_STRIDE;
		copy_part(task, to + done, from + done, part);
	}
	mk_value(task, done);
	return done < args->bytes ? -MK_ECANCELLED : MK_OK;
}

MK_HANDLER(print, struct mk_op_print)
{
	if (mk_lane(task) == 0)
		mk_print(task, args->format, args->arg[0], args->arg[1],
			 args->arg[2]);
	return MK_OK;
}

MK_HANDLER(shutdown, struct mk_none)
{
	(void)args;
	if (mk_lane(task) == 0) {
		mk_store_word(&task->control->shutdown, 1);
		task->dirty = 1;
	}
	return MK_OK;
}
