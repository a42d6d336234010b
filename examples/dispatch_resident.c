/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffers that stay on the device: 64 rows of them are dispatched again and
 * again in one submission each, through a scratch, so that once warm a batch
 * allocates nothing, launches nothing, and only 64 slots cross to the engine.
 */
#include <stdio.h>
#include <stdlib.h>

#include <megakernel.h>

#define ROWS 64u
#define ROUNDS 100u
#define CONTROL_BYTES 4096
#define RING_BYTES 4096
#define LOG_BYTES 512

static int fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, mk_error_last()->text);
	return 1;
}

/* A device buffer with this content. */
static mk_buffer_t upload(struct mk_ctx *ctx, const void *data, int64_t bytes)
{
	mk_buffer_t buffer;

	if (bytes < 0 || mk_buffer_create(ctx, (uint64_t)bytes, 0, &buffer) < 0)
		return 0;
	if (mk_buffer_write(ctx, buffer, 0, data, (uint64_t)bytes) < 0)
		return 0;
	return buffer;
}

/* The buffers of one row: its ring adds `amount` to word 0. The ring is kept,
 * to be written again for the next round. */
static struct mk_resident_handles make_row(struct mk_ctx *ctx, uint64_t amount,
					   void *ring, int64_t *ring_bytes)
{
	static uint64_t control[CONTROL_BYTES / 8], log[LOG_BYTES / 8];
	struct mk_op_word add = { .word = 0, .operand = amount };
	struct mk_ring_slot slot = { .opcode = MK_OP_ADD };
	struct mk_resident_handles h = { 0 };
	int64_t control_bytes, log_bytes;

	memcpy(slot.args, &add, sizeof(add));
	control_bytes = mk_control_encode(NULL, control, sizeof(control));
	log_bytes = mk_log_encode_empty(4, log, sizeof(log));
	*ring_bytes = mk_ring_encode_empty(2, ring, RING_BYTES);
	if (mk_ring_publish(ring, (uint64_t)*ring_bytes, &slot, 1) < 0)
		return h;
	h.control = upload(ctx, control, control_bytes);
	h.ring = upload(ctx, ring, *ring_bytes);
	h.debug_log = upload(ctx, log, log_bytes);
	return h;
}

/* After the last round every row's word is its amount times the rounds. */
static int check(const struct mk_resident_batch_scratch *scratch)
{
	const struct mk_row_output *row;
	uint32_t n;

	row = mk_resident_batch_scratch_batches(scratch, &n);
	for (uint32_t i = 0; i < n; i++) {
		struct mk_control_info c;

		if (row[i].result < 0 || row[i].buffers != 1 ||
		    mk_control_decode(row[i].buffer[0].data,
				      row[i].buffer[0].bytes, &c) < 0 ||
		    c.words[0] != (uint64_t)(i + 1) * ROUNDS)
			return 1;
	}
	return n != ROWS;
}

int main(void)
{
	static uint64_t rings[ROWS][RING_BYTES / 8];
	struct mk_dispatch_params params = { .size = sizeof(params),
					     .readback = MK_READBACK_CONTROL };
	struct mk_resident_batch_scratch *scratch;
	struct mk_resident_handles rows[ROWS];
	struct mk_dispatch_stats stats = { 0 };
	int64_t ring_bytes = 0;
	struct mk_ctx *ctx;
	int status = 0;

	if (mk_ctx_create(NULL, &ctx) < 0 ||
	    mk_resident_batch_scratch_create(&scratch) < 0)
		return fail("create");
	for (uint32_t i = 0; i < ROWS; i++)
		rows[i] = make_row(ctx, i + 1, rings[i], &ring_bytes);
	for (uint32_t round = 0; round < ROUNDS && !status; round++) {
		for (uint32_t i = 0; round && i < ROWS; i++)
			mk_buffer_write(ctx, rows[i].ring, 0, rings[i],
					(uint64_t)ring_bytes);
		if (mk_dispatch_resident_batch_scratch(ctx, &params, rows,
						       ROWS, scratch,
						       &stats) != (int)ROWS)
			status = fail("a row failed");
		else if (stats.kernel_launches ||
			 (round && stats.device_allocation_events))
			status = 1;
	}
	if (!status)
		status = check(scratch);
	printf("%u rows in %llu ns: %u waits, %u launches, %llu bytes back\n",
	       stats.resident_resource_rows,
	       (unsigned long long)stats.latency_ns, stats.sync_points,
	       stats.kernel_launches,
	       (unsigned long long)stats.readback_bytes);
	mk_resident_batch_scratch_destroy(scratch);
	if (mk_ctx_destroy(ctx, MK_FOREVER) != 0)
		status = 1;
	return status;
}
