/* SPDX-License-Identifier: Apache-2.0 */
/* The row runner: the slots of a resident ring, in order, on one worker. */
#ifndef MK_CPU_ROW_H
#define MK_CPU_ROW_H

#include <megakernel/handler.h>

/* How the runner finds handlers. */
struct mk_row_env {
	/* The handler of an opcode, or NULL. Not asked for MK_OP_FENCE and
	 * MK_OP_ROW. */
	const struct mk_handler_entry *(*find)(void *arg, uint32_t opcode);
	void *arg;
	/* The row ends early when *stop is not 0 or *mode has
	 * MK_MODE_CANCEL: of the engine, and of the queue it came by. Either
	 * may be NULL. */
	const uint32_t *stop, *mode;
};

/*
 * Run one row: MK_OP_ROW. The value of the task becomes the number of slots
 * answered. Between two slots it looks at the task's cancel word and deadline
 * and whether it is to stop, and says that it goes on: mk_progress().
 *
 * Returns MK_OK, or a negated code if the buffers cannot be used as a row;
 * then no slot was touched.
 */
int32_t mk_cpu_row_run(struct mk_task *task, const struct mk_op_row *args,
		       const struct mk_row_env *env);

#endif
