/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What buffers hold after the device was lost and brought back, by policy,
 * and which handles are refused then: by calls, and by handlers.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "buffer/buffer.h"
#include "support/support.h"

#define BYTES 5000u

/* The worker dies and another takes its place. */
static void lose(struct mk_ctx *ctx)
{
	uint64_t end = support_now() + SUPPORT_NS;
	struct mk_ctx_info info;
	struct mk_error e;

	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	assert_int_equal(kill(info.worker_pid, SIGKILL), 0);
	while (!mk_ctx_error(ctx, &e)) {
		assert_true(support_now() < end);
		support_sleep(SUPPORT_MS);
	}
}

/* Recovery is what the test does. */
static struct mk_ctx *manual_ctx(void)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_PROCESS);

	p.recovery = MK_RECOVERY_OFF;
	return support_ctx_with(&p);
}

static void come_back(struct mk_ctx *ctx)
{
	assert_int_equal(mk_ctx_recover(ctx, SUPPORT_NS), 0);
}

static mk_buffer_t create(struct mk_ctx *ctx, uint32_t flags)
{
	mk_buffer_t b = 0;

	assert_int_equal(mk_buffer_create(ctx, BYTES, flags, &b), 0);
	return b;
}

static void holds(struct mk_ctx *ctx, mk_buffer_t b, const char *text)
{
	char got[16];

	assert_int_equal(mk_buffer_read(ctx, b, 8, got, sizeof(got)), 0);
	assert_string_equal(got, text);
}

static void put(struct mk_ctx *ctx, mk_buffer_t b, const char *text)
{
	char bytes[16] = { 0 };

	strcpy(bytes, text);
	assert_int_equal(mk_buffer_write(ctx, b, 8, bytes, sizeof(bytes)), 0);
}

/* Through a handler. */
static int copy(struct mk_queue *q, mk_buffer_t from, mk_buffer_t to)
{
	struct mk_op_copy c = {
		.source = mk_buffer_ref(from), .target = mk_buffer_ref(to),
		.source_offset = 8, .target_offset = 8, .bytes = 16,
	};

	return support_call(q, MK_OP_COPY, &c, sizeof(c)).result;
}

static void kept(void **state)
{
	struct mk_ctx *ctx = manual_ctx();
	struct mk_queue *q = support_queue(ctx, 16);
	mk_buffer_t a = create(ctx, 0), b = create(ctx, 0), same;

	(void)state;
	put(ctx, a, "by the host");
	assert_int_equal(copy(q, a, b), 0);
	assert_int_equal(mk_buffer_checkpoint(ctx, a), -EINVAL);
	support_error(-EINVAL, "MK_BUFFER_MIRRORED", NULL);
	for (unsigned lap = 0; lap < 2; lap++) {
		lose(ctx);
		come_back(ctx);
		holds(ctx, a, "by the host");
		holds(ctx, b, "by the host");
		assert_int_equal(copy(q, a, b), 0);
		assert_int_equal(mk_buffer_renew(ctx, a, &same), 0);
		assert_int_equal(same, a);
	}
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* The second copy has what the host wrote or took, and nothing else. */
static void mirrored(void **state)
{
	struct mk_ctx *ctx = manual_ctx();
	struct mk_queue *q = support_queue(ctx, 16);
	mk_buffer_t from = create(ctx, 0);
	mk_buffer_t b = create(ctx, MK_BUFFER_MIRRORED);
	void *memory;

	(void)state;
	put(ctx, from, "handler");
	lose(ctx);
	come_back(ctx);
	holds(ctx, b, ""); /* zeros, as it was made */

	put(ctx, b, "host");
	assert_int_equal(copy(q, from, b), 0);
	holds(ctx, b, "handler");
	lose(ctx);
	assert_int_equal(mk_buffer_checkpoint(ctx, b), -MK_EDEVLOST);
	come_back(ctx);
	holds(ctx, b, "host");

	assert_int_equal(copy(q, from, b), 0);
	assert_int_equal(mk_buffer_checkpoint(ctx, b), 0);
	assert_int_equal(mk_buffer_map(ctx, b, &memory), 0);
	memcpy((char *)memory + 8, "stored", 7);
	holds(ctx, b, "stored");
	lose(ctx);
	come_back(ctx);
	holds(ctx, b, "handler");
	/* written while the device is away */
	lose(ctx);
	put(ctx, b, "meanwhile");
	come_back(ctx);
	holds(ctx, b, "meanwhile");
	assert_int_equal(mk_buffer_destroy(ctx, b, SUPPORT_NS), 0);
	assert_int_equal(mk_buffer_checkpoint(ctx, b), -MK_ESTALE);
	assert_int_equal(mk_buffer_checkpoint(ctx, 0), -MK_EFOREIGN);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* Handlers still may not write to it, and it is still brought back. */
static void mirrored_read_only(void **state)
{
	struct mk_ctx *ctx = manual_ctx();
	struct mk_queue *q = support_queue(ctx, 16);
	mk_buffer_t to = create(ctx, 0);
	mk_buffer_t b = create(ctx, MK_BUFFER_MIRRORED | MK_BUFFER_READ_ONLY);

	(void)state;
	put(ctx, b, "table");
	for (unsigned lap = 0; lap < 2; lap++) {
		assert_int_equal(copy(q, to, b), -MK_EACCESS);
		assert_int_equal(copy(q, b, to), 0);
		holds(ctx, to, "table");
		lose(ctx);
		come_back(ctx);
		holds(ctx, b, "table");
	}
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* Every call but the two that are for it. */
static void refused(struct mk_ctx *ctx, struct mk_queue *q, mk_buffer_t b,
		    mk_buffer_t other)
{
	unsigned char byte = 7;
	uint64_t bytes = 5;
	void *at = &byte;

	assert_int_equal(mk_buffer_write(ctx, b, 0, &byte, 1), -MK_EVOLATILE);
	assert_int_equal(mk_buffer_read(ctx, b, 0, &byte, 1), -MK_EVOLATILE);
	assert_int_equal(mk_buffer_map(ctx, b, &at), -MK_EVOLATILE);
	assert_int_equal(mk_buffer_bytes(ctx, b, &bytes), -MK_EVOLATILE);
	support_error(-MK_EVOLATILE, "mk_buffer_renew()", NULL);
	assert_int_equal(copy(q, b, other), -MK_EVOLATILE);
	assert_int_equal(copy(q, other, b), -MK_EVOLATILE);
	assert_int_equal(byte, 7);
	assert_int_equal(bytes, 5);
	assert_ptr_equal(at, &byte);
}

static void volatiles(void **state)
{
	struct mk_ctx *ctx = manual_ctx();
	struct mk_queue *q = support_queue(ctx, 16);
	mk_buffer_t other = create(ctx, 0);
	mk_buffer_t b = create(ctx, MK_BUFFER_VOLATILE), now, then;
	uint64_t before, bytes;

	(void)state;
	put(ctx, b, "gone");
	assert_int_equal(copy(q, b, other), 0);
	lose(ctx);
	come_back(ctx);
	before = support_balance(q).bad_args;
	refused(ctx, q, b, other);
	assert_int_equal(support_balance(q).bad_args, before + 2);
	assert_int_equal(mk_buffer_renew(ctx, b, &now), 0);
	assert_true(now != b);
	assert_int_equal(mk_buffer_ref(now).index, mk_buffer_ref(b).index);
	holds(ctx, now, "");
	assert_int_equal(mk_buffer_bytes(ctx, now, &bytes), 0);
	assert_int_equal(bytes, BYTES);
	put(ctx, now, "again");
	assert_int_equal(copy(q, now, other), 0);
	refused(ctx, q, b, other);

	/* twice without asking: both of its old handles named it */
	lose(ctx);
	come_back(ctx);
	lose(ctx);
	come_back(ctx);
	refused(ctx, q, b, other);
	refused(ctx, q, now, other);
	assert_int_equal(mk_buffer_renew(ctx, b, &then), 0);
	assert_int_equal(mk_buffer_renew(ctx, now, &now), 0);
	assert_int_equal(now, then);
	holds(ctx, now, "");
	assert_int_equal(mk_buffer_read(ctx, now + (1ull << 32), 0, NULL, 0),
			 -MK_EFOREIGN);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* An old handle frees it; then it is as stale as any. */
static void volatile_ends(void **state)
{
	struct mk_ctx *ctx = manual_ctx();
	struct mk_queue *q = support_queue(ctx, 16);
	mk_buffer_t other = create(ctx, 0), b, now, next;
	struct mk_ctx_info info;

	(void)state;
	b = create(ctx, MK_BUFFER_VOLATILE);
	assert_int_equal(mk_buffer_destroy(ctx, b, SUPPORT_NS), 0);
	next = create(ctx, MK_BUFFER_VOLATILE);
	assert_int_equal(copy(q, b, other), -MK_ESTALE);
	lose(ctx);
	come_back(ctx);
	/* the one before it at this index never was this buffer */
	assert_int_equal(mk_buffer_read(ctx, b, 0, NULL, 0), -MK_ESTALE);
	assert_int_equal(copy(q, b, other), -MK_ESTALE);
	assert_int_equal(mk_buffer_renew(ctx, b, &now), -MK_ESTALE);
	assert_int_equal(copy(q, next, other), -MK_EVOLATILE);
	assert_int_equal(mk_buffer_renew(ctx, next, &now), 0);
	assert_int_equal(mk_buffer_destroy(ctx, next, SUPPORT_NS), 0);
	assert_int_equal(mk_buffer_destroy(ctx, next, SUPPORT_NS), -MK_ESTALE);
	assert_int_equal(mk_buffer_renew(ctx, next, &next), -MK_ESTALE);
	assert_int_equal(mk_buffer_read(ctx, now, 0, NULL, 0), -MK_ESTALE);
	assert_int_equal(copy(q, next, other), -MK_ESTALE);
	assert_int_equal(copy(q, now, other), -MK_ESTALE);
	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	assert_int_equal(info.buffers, 1);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* Submitted before the loss, run after it. */
static void queued(void **state)
{
	struct mk_ctx *ctx = manual_ctx();
	struct mk_queue *q = support_queue(ctx, 16);
	mk_buffer_t b = create(ctx, MK_BUFFER_VOLATILE);
	struct mk_op_copy c = {
		.source = mk_buffer_ref(b), .target = mk_buffer_ref(b),
		.bytes = 1,
	};

	(void)state;
	assert_int_equal(mk_ctx_quiesce(ctx, SUPPORT_NS), 0);
	support_submit(q, MK_OP_COPY, 1, &c, sizeof(c));
	lose(ctx);
	come_back(ctx);
	assert_int_equal(mk_ctx_resume(ctx), 0);
	assert_int_equal(support_reap(q).result, -MK_EVOLATILE);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* Generations do not come round: an index that has none left is given up. */
static void used_up(void **state)
{
	struct mk_ctx *ctx = manual_ctx();
	struct mk_buffer_entry *e;
	mk_buffer_t b;
	struct mk_ctx_info info;

	(void)state;
	b = create(ctx, MK_BUFFER_VOLATILE);
	e = &ctx->buffers.entry[mk_buffer_ref(b).index];
	e->generation = UINT32_MAX;
	lose(ctx);
	come_back(ctx);
	assert_int_equal(mk_buffer_renew(ctx, b, &b), -MK_ESTALE);
	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	assert_int_equal(info.buffers, 0);
	assert_int_equal(info.heap_used, 0);
	assert_int_not_equal(mk_buffer_ref(create(ctx, 0)).index,
			     mk_buffer_ref(b).index);
	support_ctx_end(ctx);
}

/* ---- memory that dies with the device ----------------------------------- */

/* An engine whose buffers are its own: what policy.c does with it. */
struct mk_engine {
	unsigned char *base; /* of the region */
	unsigned char memory[8][BYTES];
	uint32_t generation[8], born[8];
	unsigned copies;
};

static int device_attach(struct mk_engine *e, const struct mk_buffer_desc *d)
{
	assert_true(d->index < 8 && d->bytes == BYTES);
	memset(e->memory[d->index], 0, BYTES);
	e->generation[d->index] = d->generation;
	e->born[d->index] = d->born;
	return 0;
}

static int device_copy(struct mk_engine *e, uint32_t index, uint64_t offset,
		       uint64_t staging, uint64_t bytes, uint32_t flags)
{
	unsigned char *at = e->memory[index] + offset;

	assert_true(index < 8 && offset + bytes <= BYTES);
	e->copies++;
	if (flags & MK_COPY_TO_DEVICE)
		memcpy(at, e->base + staging, bytes);
	else
		memcpy(e->base + staging, at, bytes);
	return 0;
}

static void device_memory(void **state)
{
	static struct mk_engine engine;
	struct mk_ctx *ctx = support_ctx("cpu", MK_ISOLATION_NONE);
	struct mk_engine *was = ctx->engine;
	const struct mk_engine_ops *real = ctx->real, ops = {
		.buffer_attach = device_attach, .buffer_copy = device_copy,
	};
	mk_buffer_t plain, mirror, handler, now;

	(void)state;
	engine.base = ctx->region.base;
	ctx->engine = &engine;
	ctx->real = ctx->ops = &ops;
	plain = create(ctx, 0);
	mirror = create(ctx, MK_BUFFER_MIRRORED);
	handler = create(ctx, MK_BUFFER_MIRRORED);
	put(ctx, plain, "lost");
	put(ctx, mirror, "kept");
	memcpy(engine.memory[mk_buffer_ref(handler).index] + 8, "device", 7);
	assert_int_equal(mk_buffer_checkpoint(ctx, handler), 0);
	engine.copies = 0;
	memset(engine.memory, 0xee, sizeof(engine.memory));
	assert_int_equal(mk_buffers_attach_all(ctx), 0);
	assert_int_equal(engine.copies, 2);
	holds(ctx, mirror, "kept");
	holds(ctx, handler, "device");
	assert_int_equal(mk_buffer_read(ctx, plain, 0, NULL, 0),
			 -MK_EVOLATILE);
	assert_int_equal(mk_buffer_renew(ctx, plain, &now), 0);
	holds(ctx, now, "");
	assert_int_equal(engine.born[mk_buffer_ref(now).index], 1);
	assert_int_equal(engine.generation[mk_buffer_ref(now).index], 2);
	ctx->engine = was;
	ctx->real = ctx->ops = real;
	support_ctx_end(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kept),
		cmocka_unit_test(mirrored),
		cmocka_unit_test(mirrored_read_only),
		cmocka_unit_test(volatiles),
		cmocka_unit_test(volatile_ends),
		cmocka_unit_test(queued),
		cmocka_unit_test(used_up),
		cmocka_unit_test(device_memory),
	};

	return cmocka_run_group_tests_name("buffer/policy", tests, NULL, NULL);
}
