/* SPDX-License-Identifier: Apache-2.0 */
/* Resident rows through the dispatch interface. */
#include <stdio.h>

#include "bench_run.h"

#define ROWS 64u
#define ROW_SLOTS 8u
#define BATCHES 300u
#define ROOM 8192u /* bytes; each of the buffers is shorter */

struct batch {
	struct bench *b;
	struct mk_resident_handles rows[ROWS];
	struct mk_resident_batch_scratch *scratch;
	uint64_t ring[ROOM / 8]; /* what every row starts with */
	uint64_t ring_bytes;
	uint64_t launches, waits; /* of all batches */
	uint64_t batches;
};

static mk_buffer_t upload(struct batch *t, const void *data, int64_t bytes)
{
	mk_buffer_t buffer = 0;

	if (bytes < 0 || mk_buffer_create(t->b->ctx, (uint64_t)bytes, 0,
					  &buffer) < 0)
		return 0;
	if (mk_buffer_write(t->b->ctx, buffer, 0, data, (uint64_t)bytes) >= 0)
		return buffer;
	mk_buffer_destroy(t->b->ctx, buffer, BENCH_WAIT_NS);
	return 0;
}

static int make_rows(struct batch *t)
{
	struct mk_ring_slot slots[ROW_SLOTS] = { { .opcode = MK_OP_NOP } };
	static uint64_t control[ROOM / 8], log[ROOM / 8];
	int64_t control_bytes = mk_control_encode(NULL, control, ROOM);
	int64_t log_bytes = mk_log_encode_empty(4, log, ROOM);
	int64_t ring_bytes = mk_ring_encode_empty(ROW_SLOTS, t->ring, ROOM);
	int r;

	for (unsigned i = 0; i < ROW_SLOTS; i++)
		slots[i].opcode = MK_OP_NOP;
	r = mk_ring_publish(t->ring, (uint64_t)ring_bytes, slots, ROW_SLOTS);
	if (r < 0)
		return bench_fail_library(t->b, "mk_ring_publish", r);
	t->ring_bytes = (uint64_t)ring_bytes;
	for (unsigned i = 0; i < ROWS; i++) {
		struct mk_resident_handles *h = &t->rows[i];

		h->control = upload(t, control, control_bytes);
		h->ring = upload(t, t->ring, ring_bytes);
		h->debug_log = upload(t, log, log_bytes);
		if (!h->control || !h->ring || !h->debug_log)
			return bench_fail(t->b, "buffers: %s",
					  mk_error_last()->text);
	}
	return 0;
}

static void free_rows(struct batch *t)
{
	for (unsigned i = 0; i < ROWS; i++) {
		const mk_buffer_t all[] = { t->rows[i].control,
					    t->rows[i].ring,
					    t->rows[i].debug_log };

		for (unsigned k = 0; k < 3; k++)
			if (all[k])
				mk_buffer_destroy(t->b->ctx, all[k],
						  BENCH_WAIT_NS);
	}
}

/* bench_once: put the rings back as they were, then time the batch alone. */
static int dispatch(void *arg, uint64_t *ns, unsigned room)
{
	struct batch *t = arg;
	struct mk_dispatch_params params = { .size = sizeof(params),
					     .readback = MK_READBACK_NONE };
	struct mk_dispatch_stats stats;
	uint64_t began;
	int r = 0;

	(void)room;
	for (unsigned i = 0; i < ROWS && r >= 0; i++)
		r = mk_buffer_write(t->b->ctx, t->rows[i].ring, 0, t->ring,
				    t->ring_bytes);
	if (r < 0)
		return bench_fail_library(t->b, "mk_buffer_write", r);
	began = mk_now_ns();
	r = mk_dispatch_resident_batch_scratch(t->b->ctx, &params, t->rows,
					       ROWS, t->scratch, &stats);
	ns[0] = mk_now_ns() - began;
	if (r < 0)
		return bench_fail_library(t->b, "dispatch", r);
	for (unsigned i = 0; i < ROWS; i++) {
		uint32_t n;
		const struct mk_row_output *row =
			mk_resident_batch_scratch_batches(t->scratch, &n);

		if (n != ROWS || row[i].result < 0 ||
		    row[i].answered != ROW_SLOTS)
			return bench_fail(t->b, "row %u did not run to its "
					  "end", i);
	}
	t->launches += stats.kernel_launches;
	t->waits += stats.sync_points;
	t->batches++;
	return 1;
}

int bench_resident_rows(struct bench *b)
{
	static struct batch t;
	char label[BENCH_LABEL_BYTES];
	int r;

	t = (struct batch){ .b = b };
	r = mk_resident_batch_scratch_create(&t.scratch);
	if (r < 0)
		return bench_fail_library(b, "scratch", r);
	snprintf(label, sizeof(label), "%u rows of %u no-ops each", ROWS,
		 ROW_SLOTS);
	r = make_rows(&t);
	if (!r)
		r = bench_latency(b, "rows.64", label, BATCHES, dispatch, &t);
	if (!r) {
		bench_value(b, "rows.64.launches", "launches, all batches",
			    (double)t.launches, "");
		bench_value(b, "rows.64.waits", "waits of the host a batch",
			    (double)t.waits / (double)t.batches, "");
	}
	free_rows(&t);
	mk_resident_batch_scratch_destroy(t.scratch);
	return r;
}
