/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One slot, one answer.
 *
 * Starts the CPU engine in a worker process of its own, makes a queue, and
 * sends one no-op, which echoes the number it is given.
 */
#include <stdio.h>

#include <megakernel.h>

static int failed(const char *what)
{
	const struct mk_error *e = mk_error_last();

	fprintf(stderr, "%s: %s (%s)\n", what, e->text, mk_code_name(e->code));
	return 1;
}

/* The slot lives in the queue's own memory: get it, fill it, submit it. */
static int say_hello(struct mk_queue *q)
{
	struct mk_completion answer;
	struct mk_slot *slot;

	if (mk_queue_get(q, 1, &slot) < 0)
		return failed("get");
	mk_slot_init(slot, MK_OP_NOP, 42); /* 42 comes back as user_data */
	slot->arg64[0] = 0x68656c6c6f;
	if (mk_queue_submit(q, slot, 1) < 0)
		return failed("submit");

	/* the engine polls the ring: nothing was launched for this slot */
	if (mk_queue_wait(q, 1, MK_FOREVER) < 0)
		return failed("wait");
	if (mk_queue_reap(q, &answer, 1) != 1)
		return failed("reap");
	printf("slot %llu: result %d, value %#llx, by worker %u\n",
	       (unsigned long long)answer.user_data, answer.result,
	       (unsigned long long)answer.value, answer.worker);
	return answer.value == 0x68656c6c6f ? 0 : 1;
}

int main(void)
{
	struct mk_queue *q = NULL;
	struct mk_ctx *ctx;
	int status;

	/* NULL: all defaults. Isolation is "process". */
	if (mk_ctx_create(NULL, &ctx) < 0)
		return failed("context");
	status = mk_queue_create(ctx, NULL, &q) < 0 ? failed("queue")
						    : say_hello(q);

	/* ends the queue too, and the worker process; 0: no slot was lost */
	if (mk_ctx_destroy(ctx, MK_FOREVER) != 0)
		status = 1;
	return status;
}
