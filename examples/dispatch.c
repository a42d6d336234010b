/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole buffers in, whole buffers out: encode the four buffers of a dispatch,
 * publish slots into the ring, dispatch, and read everything back decoded.
 *
 * A histogram of 1,000 numbers: a slot for each adds 1 to one of 16 words.
 */
#include <stdio.h>
#include <stdlib.h>

#include <megakernel.h>

#define ENTRIES 1024
#define NUMBERS 1000
#define BINS 16

static int fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, mk_error_last()->text);
	return 1;
}

/* One slot a number, then a record in the debug log. */
static int publish(void *ring, uint64_t bytes)
{
	struct mk_op_print note = { .format = 1, .arg = { NUMBERS } };
	struct mk_ring_slot slot;

	for (uint32_t i = 0; i < NUMBERS; i++) {
		struct mk_op_word add = { .word = i * i % BINS, .operand = 1 };

		slot = (struct mk_ring_slot){ .opcode = MK_OP_ADD,
					      .priority = MK_PRIORITY_NORMAL };
		memcpy(slot.args, &add, sizeof(add));
		if (mk_ring_publish(ring, bytes, &slot, 1) < 0)
			return -1;
	}
	slot.opcode = MK_OP_PRINT;
	memset(slot.args, 0, sizeof(slot.args));
	memcpy(slot.args, &note, sizeof(note));
	return mk_ring_publish(ring, bytes, &slot, 1);
}

/* Every slot has ended well, and the words add up. */
static int check(const struct mk_typed_dispatch_output *out)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < out->endings; i++)
		if (out->ending[i].state != MK_STATE_DONE)
			return 1;
	for (uint32_t i = 0; i < BINS; i++)
		sum += out->control.words[i];
	printf("%u slots, %u log records, sum %llu\n", out->endings,
	       out->logs, (unsigned long long)sum);
	printf("%llu bytes moved in %llu ns: %llu bytes/s; %u waits, "
	       "%u launches\n", (unsigned long long)out->raw.stats.bytes_moved,
	       (unsigned long long)out->raw.stats.latency_ns,
	       (unsigned long long)mk_dispatch_moved_rate(&out->raw.stats),
	       out->raw.stats.sync_points, out->raw.stats.kernel_launches);
	return sum != NUMBERS || out->endings != NUMBERS + 1 ||
	       out->logs != 1 || out->log[0].arg[0] != NUMBERS;
}

int main(void)
{
	struct mk_control_params params = { .size = sizeof(params),
					    .observables = BINS };
	uint64_t control_bytes = (uint64_t)mk_control_bytes(BINS);
	uint64_t ring_bytes = (uint64_t)mk_ring_bytes(ENTRIES);
	uint64_t log_bytes = (uint64_t)mk_log_bytes(8);
	void *control = malloc(control_bytes), *ring = malloc(ring_bytes);
	void *log = malloc(log_bytes);
	struct mk_typed_dispatch_output out = { .endings = 0 };
	struct mk_dispatch_input input = {
		.control = { control, control_bytes },
		.ring = { ring, ring_bytes },
		.debug_log = { log, log_bytes },
	};
	struct mk_ctx *ctx;
	int status;

	if (!control || !ring || !log)
		return 1;
	if (mk_control_encode(&params, control, control_bytes) < 0 ||
	    mk_ring_encode_empty(ENTRIES, ring, ring_bytes) < 0 ||
	    mk_log_encode_empty(8, log, log_bytes) < 0 ||
	    publish(ring, ring_bytes) < 0)
		return fail("encode");
	if (mk_ctx_create(NULL, &ctx) < 0)
		return fail("mk_ctx_create");
	if (mk_dispatch_typed(ctx, NULL, &input, &out) < 0)
		status = fail("mk_dispatch_typed");
	else
		status = check(&out);
	mk_typed_dispatch_output_free(&out);
	if (mk_ctx_destroy(ctx, MK_FOREVER) != 0)
		status = 1;
	free(control);
	free(ring);
	free(log);
	return status;
}
