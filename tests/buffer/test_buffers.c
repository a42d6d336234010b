/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers: handles, ranges, zeros, limits, and whose memory they are. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <megakernel/cuda.h>

#include "support/support.h"

static mk_buffer_t handle(uint32_t index, uint32_t generation)
{
	return (uint64_t)generation << 32 | index;
}

static mk_buffer_t create(struct mk_ctx *ctx, uint64_t bytes)
{
	mk_buffer_t b = 0;

	assert_int_equal(mk_buffer_create(ctx, bytes, 0, &b), 0);
	assert_true(b != 0);
	return b;
}

static void refuse_create(struct mk_ctx *ctx)
{
	mk_buffer_t b = 99;

	assert_int_equal(mk_buffer_create(ctx, 0, 0, &b), -EINVAL);
	support_error(-EINVAL, "bytes is 0", NULL);
	assert_int_equal(mk_buffer_create(ctx, UINT64_MAX, 0, &b), -EINVAL);
	assert_int_equal(mk_buffer_create(ctx, 1ull << 63, 0, &b), -EINVAL);
	assert_int_equal(mk_buffer_create(ctx, 1, 1u << 30, &b), -EINVAL);
	support_error(-EINVAL, "flags is 0x40000000", "known are", NULL);
	assert_int_equal(mk_buffer_create(ctx, 1, MK_BUFFER_MIRRORED |
						  MK_BUFFER_VOLATILE, &b),
			 -EINVAL);
	support_error(-EINVAL, "MIRRORED", "VOLATILE", NULL);
	assert_int_equal(mk_buffer_create(ctx, 1, UINT32_MAX, &b), -EINVAL);
	assert_int_equal(mk_buffer_create(ctx, 1ull << 40, 0, &b), -ENOMEM);
	support_error(-ENOMEM, "1099511627776", "heap_bytes", NULL);
	assert_int_equal(b, 99);
}

/* One call after the other with a handle that is none. */
static void refuse_handle(struct mk_ctx *ctx, mk_buffer_t b, int code)
{
	unsigned char byte = 7;
	uint64_t bytes = 5;
	void *at = &byte;

	assert_int_equal(mk_buffer_write(ctx, b, 0, &byte, 1), code);
	assert_int_equal(mk_buffer_read(ctx, b, 0, &byte, 1), code);
	assert_int_equal(mk_buffer_write(ctx, b, 0, NULL, 0), code);
	assert_int_equal(mk_buffer_map(ctx, b, &at), code);
	assert_int_equal(mk_buffer_bytes(ctx, b, &bytes), code);
	assert_int_equal(mk_buffer_destroy(ctx, b, SUPPORT_NS), code);
	support_error(code, "buffer 0x", NULL);
	assert_int_equal(byte, 7);
	assert_int_equal(bytes, 5);
	assert_ptr_equal(at, &byte);
}

static void handles(struct mk_ctx *ctx)
{
	mk_buffer_t b = create(ctx, 100), c;
	uint32_t index = mk_buffer_ref(b).index;
	uint32_t generation = mk_buffer_ref(b).generation;

	refuse_handle(ctx, 0, -MK_EFOREIGN);
	refuse_handle(ctx, handle(0, 1), -MK_EFOREIGN);
	refuse_handle(ctx, handle(index, 0), -MK_EFOREIGN);
	refuse_handle(ctx, handle(index, generation + 1), -MK_EFOREIGN);
	refuse_handle(ctx, handle(index + 1, 1), -MK_EFOREIGN);
	refuse_handle(ctx, handle(UINT32_MAX, 1), -MK_EFOREIGN);
	refuse_handle(ctx, UINT64_MAX, -MK_EFOREIGN);
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(mk_buffer_destroy(ctx, b, SUPPORT_NS), 0);
		refuse_handle(ctx, b, -MK_ESTALE);
		c = create(ctx, 1 + i * 1000);
		assert_int_equal(mk_buffer_ref(c).index, index);
		assert_true(mk_buffer_ref(c).generation >
			    mk_buffer_ref(b).generation);
		refuse_handle(ctx, b, -MK_ESTALE);
		b = c;
	}
	assert_int_equal(mk_buffer_destroy(ctx, b, SUPPORT_NS), 0);
}

static void ranges(struct mk_ctx *ctx)
{
	static const struct { uint64_t offset, bytes; } bad[] = {
		{ 0, 101 }, { 1, 100 }, { 100, 1 }, { 101, 0 },
		{ UINT64_MAX, 1 }, { 1, UINT64_MAX }, { 0, UINT64_MAX },
		{ UINT64_MAX, UINT64_MAX }, { 1ull << 63, 1ull << 63 },
		{ 4096, 0 },
	};
	mk_buffer_t b = create(ctx, 100);
	unsigned char data[100], back[100];
	uint64_t bytes;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(mk_buffer_write(ctx, b, bad[i].offset, data,
						 bad[i].bytes), -MK_ERANGE);
		assert_int_equal(mk_buffer_read(ctx, b, bad[i].offset, back,
						bad[i].bytes), -MK_ERANGE);
	}
	support_error(-MK_ERANGE, "offset 4096", "100 bytes", NULL);
	for (unsigned i = 0; i < 100; i++)
		data[i] = (unsigned char)(i + 1);
	assert_int_equal(mk_buffer_write(ctx, b, 0, data, 100), 0);
	assert_int_equal(mk_buffer_read(ctx, b, 0, back, 100), 0);
	assert_memory_equal(data, back, 100);
	assert_int_equal(mk_buffer_read(ctx, b, 99, back, 1), 0);
	assert_int_equal(back[0], 100);
	assert_int_equal(mk_buffer_write(ctx, b, 100, NULL, 0), 0);
	assert_int_equal(mk_buffer_read(ctx, b, 100, NULL, 0), 0);
	assert_int_equal(mk_buffer_bytes(ctx, b, &bytes), 0);
	assert_int_equal(bytes, 100);
	assert_int_equal(mk_buffer_destroy(ctx, b, SUPPORT_NS), 0);
}

/* Zeroed, also where another buffer was before. */
static void zeroed(struct mk_ctx *ctx)
{
	static unsigned char data[300000];
	mk_buffer_t b[4];

	for (unsigned lap = 0; lap < 8; lap++) {
		for (unsigned i = 0; i < 4; i++) {
			uint64_t n = 50000 * (i + 1) + lap * 4096 / 3;

			b[i] = create(ctx, n);
			assert_int_equal(mk_buffer_read(ctx, b[i], 0, data, n),
					 0);
			for (uint64_t k = 0; k < n; k++)
				if (data[k])
					fail_msg("byte %u is not 0",
						 (unsigned)k);
			memset(data, 0xff, n);
			assert_int_equal(mk_buffer_write(ctx, b[i], 0, data,
							 n), 0);
		}
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(mk_buffer_destroy(ctx,
							   b[(i + lap) % 4],
							   SUPPORT_NS), 0);
	}
}

static void mapped(struct mk_ctx *ctx)
{
	mk_buffer_t b = create(ctx, 4096), fixed;
	unsigned char *at, byte;
	void *p;

	assert_int_equal(mk_buffer_map(ctx, b, &p), 0);
	at = p;
	at[4095] = 9;
	assert_int_equal(mk_buffer_read(ctx, b, 4095, &byte, 1), 0);
	assert_int_equal(byte, 9);
	assert_int_equal(mk_buffer_create(ctx, 8, MK_BUFFER_READ_ONLY, &fixed),
			 0);
	/* read-only is for handlers: the host may fill it */
	assert_int_equal(mk_buffer_write(ctx, fixed, 0, "abc", 3), 0);
	assert_int_equal(mk_buffer_destroy(ctx, fixed, SUPPORT_NS), 0);
	assert_int_equal(mk_buffer_destroy(ctx, b, SUPPORT_NS), 0);
}

/* Exactly buffers_max of them, then none, then one again. */
/* On this engine all memory is the host's, and none is a device's. */
static void kinds(struct mk_ctx *ctx)
{
	struct mk_buffer_import_params p = {
		.size = sizeof(p), .kind = MK_IMPORT_POINTER, .address = 4096,
		.bytes = 4096,
	};
	mk_buffer_t b;
	char *at;

	assert_int_equal(mk_buffer_create(ctx, 100, MK_BUFFER_HOST, &b), 0);
	assert_int_equal(mk_buffer_write(ctx, b, 0, "here", 5), 0);
	assert_int_equal(mk_buffer_map(ctx, b, (void **)&at), 0);
	assert_string_equal(at, "here");
	assert_int_equal(mk_buffer_destroy(ctx, b, SUPPORT_NS), 0);
	assert_int_equal(mk_buffer_import(ctx, &p, &b), -EOPNOTSUPP);
	support_error(-EOPNOTSUPP, "engine cpu", NULL);
	p.kind = MK_IMPORT_IPC;
	assert_int_equal(mk_buffer_import(ctx, &p, &b), -EOPNOTSUPP);
}

static void limit(struct mk_ctx *ctx)
{
	mk_buffer_t b[256], more = 5;
	struct mk_ctx_info info;

	for (unsigned i = 0; i < 256; i++)
		b[i] = create(ctx, 1);
	assert_int_equal(mk_buffer_create(ctx, 1, 0, &more), -ENOSPC);
	support_error(-ENOSPC, "256 buffers", "buffers_max", NULL);
	assert_int_equal(more, 5);
	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	assert_int_equal(info.buffers, 256);
	assert_int_equal(info.heap_used, 256 * 4096);
	assert_int_equal(mk_buffer_destroy(ctx, b[77], SUPPORT_NS), 0);
	b[77] = create(ctx, 1);
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(mk_buffer_destroy(ctx, b[(i * 101) % 256],
						   SUPPORT_NS), 0);
	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	assert_int_equal(info.buffers, 0);
	assert_int_equal(info.heap_used, 0);
	/* the whole heap in one piece again */
	more = create(ctx, info.heap_bytes);
	assert_int_equal(mk_buffer_destroy(ctx, more, SUPPORT_NS), 0);
}

/* Random creating and destroying against what they should contain. */
static void model(struct mk_ctx *ctx)
{
	mk_buffer_t b[32] = { 0 };
	uint64_t bytes[32], seed = 77;
	unsigned char tag[32], data[64];

	for (unsigned step = 0; step < 4000; step++) {
		uint64_t r = support_random(&seed);
		unsigned at = r % 32;

		if (!b[at]) {
			bytes[at] = 64 + (r >> 8) % 200000;
			tag[at] = (unsigned char)(r >> 40);
			b[at] = create(ctx, bytes[at]);
			memset(data, tag[at], 64);
			assert_int_equal(mk_buffer_write(ctx, b[at],
							 bytes[at] - 64, data,
							 64), 0);
			continue;
		}
		assert_int_equal(mk_buffer_read(ctx, b[at], bytes[at] - 64,
						data, 64), 0);
		for (unsigned i = 0; i < 64; i++)
			assert_int_equal(data[i], tag[at]);
		if (r >> 63) {
			assert_int_equal(mk_buffer_destroy(ctx, b[at],
							   SUPPORT_NS), 0);
			b[at] = 0;
		}
	}
	for (unsigned at = 0; at < 32; at++)
		if (b[at])
			assert_int_equal(mk_buffer_destroy(ctx, b[at],
							   SUPPORT_NS), 0);
}

/* ---- threads ------------------------------------------------------------ */

struct user {
	pthread_t thread;
	struct mk_ctx *ctx;
	unsigned char tag;
	int error;
};

static void *use(void *arg)
{
	struct user *u = arg;
	unsigned char data[5000], back[5000];
	mk_buffer_t b;

	memset(data, u->tag, sizeof(data));
	for (unsigned i = 0; i < 200 && !u->error; i++) {
		u->error = mk_buffer_create(u->ctx, 5000, 0, &b);
		if (!u->error)
			u->error = mk_buffer_write(u->ctx, b, 0, data, 5000);
		if (!u->error)
			u->error = mk_buffer_read(u->ctx, b, 0, back, 5000);
		if (!u->error && memcmp(data, back, 5000))
			u->error = -1;
		if (!u->error)
			u->error = mk_buffer_destroy(u->ctx, b, SUPPORT_NS);
	}
	return NULL;
}

static void threads(struct mk_ctx *ctx)
{
	struct user u[4];

	memset(u, 0, sizeof(u));
	for (unsigned i = 0; i < 4; i++) {
		u[i].ctx = ctx;
		u[i].tag = (unsigned char)(i + 1);
		assert_int_equal(pthread_create(&u[i].thread, NULL, use,
						&u[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(u[i].thread, NULL);
		assert_int_equal(u[i].error, 0);
	}
}

static void all(uint32_t isolation)
{
	struct mk_ctx *ctx = support_ctx("cpu", isolation);

	refuse_create(ctx);
	handles(ctx);
	ranges(ctx);
	zeroed(ctx);
	mapped(ctx);
	kinds(ctx);
	limit(ctx);
	model(ctx);
	threads(ctx);
	support_ctx_end(ctx);
}

static void none(void **state)
{
	(void)state;
	all(MK_ISOLATION_NONE);
}

static void process(void **state)
{
	(void)state;
	all(MK_ISOLATION_PROCESS);
}

/* The smallest context takes one. */
static void one(void **state)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_NONE);
	struct mk_ctx *ctx;
	mk_buffer_t b, c;

	(void)state;
	p.buffers_max = 1;
	ctx = support_ctx_with(&p);
	b = create(ctx, 1);
	assert_int_equal(mk_buffer_create(ctx, 1, 0, &c), -ENOSPC);
	assert_int_equal(mk_buffer_destroy(ctx, b, SUPPORT_NS), 0);
	support_ctx_end(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none),
		cmocka_unit_test(process),
		cmocka_unit_test(one),
	};

	return cmocka_run_group_tests_name("buffer/buffers", tests, NULL,
					   NULL);
}
