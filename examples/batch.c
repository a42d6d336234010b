/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recorded batch: steps that wait for each other, submitted as a whole.
 *
 * Two copies side by side, then a third that needs what both have written.
 * The order is kept on the device: the host submits once and waits once, run
 * after run, and patches only what changes.
 */
#include <stdio.h>
#include <string.h>

#include <megakernel.h>

#define RUNS 1000

static int failed(const char *what)
{
	const struct mk_error *e = mk_error_last();

	fprintf(stderr, "%s: %s (%s)\n", what, e->text, mk_code_name(e->code));
	return 1;
}

/* One copy of 8 bytes within the buffer, as a slot of the batch. */
static int add_copy(struct mk_batch *b, mk_buffer_t memory, uint64_t from,
		    uint64_t to)
{
	struct mk_op_copy copy = {
		.source = mk_buffer_ref(memory), .source_offset = from,
		.target = mk_buffer_ref(memory), .target_offset = to,
		.bytes = 8,
	};
	struct mk_slot slot;

	mk_slot_init(&slot, MK_OP_COPY, 0);
	memcpy(slot.bytes, &copy, sizeof(copy));
	return mk_batch_add(b, &slot);
}

/* 0 -> 8 and 0 -> 16 at once; then 16 -> 24, once both have ended. */
static int record(struct mk_batch *b, mk_buffer_t memory)
{
	if (add_copy(b, memory, 0, 8) < 0 || add_copy(b, memory, 0, 16) < 0 ||
	    add_copy(b, memory, 16, 24) < 0)
		return -1;
	if (mk_batch_after(b, 2, 0) || mk_batch_after(b, 2, 1))
		return -1;
	/* all that can be checked is checked here, once */
	return mk_batch_seal(b) < 0 ? -1 : 0;
}

static int run(struct mk_ctx *ctx, struct mk_queue *q, struct mk_batch *b,
	       mk_buffer_t memory)
{
	struct mk_completion done[3];
	uint64_t last = 0;

	for (uint64_t i = 1; i <= RUNS; i++) {
		/* another length for the second copy, if you like: arguments
		 * may be patched between two submissions */
		uint64_t bytes = 8;

		mk_batch_patch(b, 1, offsetof(struct mk_op_copy, bytes),
			       &bytes, sizeof(bytes));
		if (mk_buffer_write(ctx, memory, 0, &i, sizeof(i)) ||
		    mk_batch_submit(b, i) < 0)
			return failed("submit");
		if (mk_queue_wait(q, 3, MK_FOREVER) < 3 ||
		    mk_queue_reap(q, done, 3) != 3)
			return failed("wait");
		for (int k = 0; k < 3; k++)
			if (done[k].result < 0)
				return failed("a step");
	}
	if (mk_buffer_read(ctx, memory, 24, &last, sizeof(last)))
		return failed("read");
	printf("%d runs of 3 steps; the last one wrote %llu\n", RUNS,
	       (unsigned long long)last);
	return last == RUNS ? 0 : 1;
}

int main(void)
{
	struct mk_batch_params params = { .size = sizeof(params), .slots = 3 };
	struct mk_batch *b = NULL;
	struct mk_queue *q = NULL;
	struct mk_ctx *ctx;
	mk_buffer_t memory;
	int status = 1;

	if (mk_ctx_create(NULL, &ctx) < 0)
		return failed("context");
	if (mk_queue_create(ctx, NULL, &q) < 0 ||
	    mk_buffer_create(ctx, 4096, 0, &memory) < 0 ||
	    mk_batch_create(q, &params, &b) < 0 || record(b, memory))
		failed("setting up");
	else
		status = run(ctx, q, b, memory);
	mk_batch_destroy(b, MK_FOREVER);
	if (mk_ctx_destroy(ctx, MK_FOREVER) != 0)
		status = 1;
	return status;
}
