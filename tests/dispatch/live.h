/* SPDX-License-Identifier: Apache-2.0 */
/* A live context for dispatch tests, and calls that assert. */
#ifndef TEST_DISPATCH_LIVE_H
#define TEST_DISPATCH_LIVE_H

#include <stdio.h>

#include "buffers.h"

/* A bound for everything that should end at once; a hang fails by it. */
#define LIVE_NS UINT64_C(60000000000)

/* A context that only its owner, or a dispatch, brings back. */
static inline struct mk_ctx *live_open(uint32_t isolation, uint32_t workers)
{
	struct mk_ctx_params p = { .size = sizeof(p),
				   .isolation = isolation,
				   .workers = workers,
				   .recovery = MK_RECOVERY_OFF,
				   .heap_bytes = 256u << 20 };
	struct mk_ctx *ctx = NULL;
	int r = mk_ctx_create(&p, &ctx);

	if (r < 0)
		fail_msg("mk_ctx_create: %d: %s", r, mk_error_last()->text);
	return ctx;
}

static inline void live_close(struct mk_ctx *ctx)
{
	assert_int_equal(mk_ctx_destroy(ctx, LIVE_NS), 0);
}

#define assert_ok(call)                                                    \
	do {                                                               \
		int64_t r_ = (call);                                       \
		if (r_ < 0)                                                \
			fail_msg("%s: %lld: %s", #call, (long long)r_,     \
				 mk_error_last()->text);                   \
	} while (0)

/* The part of an output. */
static inline const struct mk_output_buffer *
live_part(const struct mk_dispatch_output *out, uint32_t part)
{
	const struct mk_output_buffer *b =
		mk_output_find(out->buffer, out->buffers, part);

	if (!b)
		fail_msg("part %u was not returned", part);
	return b;
}

static inline struct mk_control_info
live_control(const struct mk_dispatch_output *out)
{
	const struct mk_output_buffer *b = live_part(out, MK_PART_CONTROL);
	struct mk_control_info info;

	assert_ok(mk_control_decode(b->data, b->bytes, &info));
	return info;
}

static inline struct mk_slot_ending
live_ending(const struct mk_dispatch_output *out, uint32_t i)
{
	const struct mk_output_buffer *b = live_part(out, MK_PART_RING);
	struct mk_slot_ending *e = calloc(65536, sizeof(*e)), ending;

	assert_non_null(e);
	assert_true(mk_ring_decode(b->data, b->bytes, e, 65536) > (int)i);
	ending = e[i];
	free(e);
	return ending;
}

#define expect_ending(out, i, want_state, want_result, want_value)         \
	do {                                                               \
		struct mk_slot_ending e_ = live_ending((out), (i));        \
		assert_int_equal(e_.state, (want_state));                  \
		assert_int_equal(e_.result, (want_result));                \
		assert_true(e_.value == (want_value));                     \
	} while (0)

/* done + failed = all answers, however they are counted. */
static inline void live_invariant(const struct mk_control_info *c)
{
	uint64_t tenants = 0, priorities = 0, opcodes = 0;

	for (unsigned i = 0; i < MK_TENANTS; i++)
		tenants += c->tenant_done[i];
	for (unsigned i = 0; i < MK_PRIORITIES; i++)
		priorities += c->priority_done[i];
	for (unsigned i = 0; i < MK_OPCODES; i++)
		opcodes += c->opcode_done[i];
	assert_int_equal(tenants, c->done + c->failed);
	assert_int_equal(priorities, c->done + c->failed);
	assert_int_equal(opcodes, c->done + c->failed);
}

/* Buffers of the device with the content of the host's. */
static inline struct mk_resident_handles live_upload(struct mk_ctx *ctx,
						     const struct buffers *b)
{
	mk_buffer_t h[MK_RESIDENT_HANDLES] = { 0 };

	for (unsigned i = 0; i < MK_RESIDENT_HANDLES; i++) {
		if (!b->data[i])
			continue;
		assert_ok(mk_buffer_create(ctx, b->bytes[i], 0, &h[i]));
		assert_ok(mk_buffer_write(ctx, h[i], 0, b->data[i],
					  b->bytes[i]));
	}
	return (struct mk_resident_handles){ h[0], h[1], h[2], h[3] };
}

static inline void live_drop(struct mk_ctx *ctx, struct mk_resident_handles h)
{
	mk_buffer_t all[MK_RESIDENT_HANDLES] = { h.control, h.ring,
						 h.debug_log, h.io_queue };

	for (unsigned i = 0; i < MK_RESIDENT_HANDLES; i++)
		if (all[i])
			assert_ok(mk_buffer_destroy(ctx, all[i], LIVE_NS));
}

#endif
