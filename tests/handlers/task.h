/* SPDX-License-Identifier: Apache-2.0 */
/* A slot made by hand, so that a handler can be called without an engine. */
#ifndef MK_TESTS_HANDLERS_TASK_H
#define MK_TESTS_HANDLERS_TASK_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include <megakernel.h>
#include <megakernel/handler.h>
#include <megakernel/map.h>

#include "module/builtin.h"

#define TASK_WORDS 8u
#define TASK_RECORDS 4u

struct hand_made {
	struct mk_task task;
	struct mk_window window[4];
	struct mk_control control;
	uint64_t word[TASK_WORDS];
	struct {
		struct mk_debug_log log;
		struct mk_debug_record record[TASK_RECORDS];
	} debug;
	uint32_t cancel;
	_Alignas(16) unsigned char scratch[256];
};

static inline void task_init(struct hand_made *h)
{
	memset(h, 0, sizeof(*h));
	h->task.windows = h->window;
	h->task.window_count = 4;
	h->task.deadline_ns = UINT64_MAX;
	h->task.cancel = &h->cancel;
	h->task.cancel_mark = 0x10001;
	h->task.ticket = 77;
	h->task.worker = 3;
	h->task.lanes = 1;
	h->task.tiles = 1;
	h->task.scratch = h->scratch;
	h->task.scratch_bytes = sizeof(h->scratch);
	h->task.control = &h->control;
	h->task.observables = h->word;
	h->task.observable_count = TASK_WORDS;
	h->task.log = &h->debug.log;
	h->task.log_capacity = TASK_RECORDS;
}

/* Make buffer `index` (1..3) of memory. */
static inline struct mk_ref task_buffer(struct hand_made *h, uint32_t index,
					void *memory, uint64_t bytes,
					uint32_t flags)
{
	struct mk_ref ref = { index, 5 };

	h->window[index].base = (uintptr_t)memory;
	h->window[index].bytes = bytes;
	h->window[index].generation = 5;
	h->window[index].last = 5;
	h->window[index].flags = flags;
	return ref;
}

/* Run a built-in as an engine would, with a whole argument block. */
static inline int32_t task_run(struct hand_made *h, uint32_t opcode,
			       const void *args, size_t bytes)
{
	const struct mk_handler_entry *entry = mk_builtin_find(opcode);
	_Alignas(16) unsigned char block[MK_ARG_BYTES] = { 0 };

	assert_non_null(entry);
	assert_int_equal(entry->arg_bytes, bytes);
	if (bytes)
		memcpy(block, args, bytes);
	h->task.value = 0;
	h->task.error = 0;
	return entry->run(&h->task, block);
}

#endif
