/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of the engine cuda, against a driver that records its calls: imports,
 * host buffers, copies in two halves.
 *
 * ctest-link: -Wl,--wrap=dlopen -Wl,--wrap=dlsym
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <megakernel/cuda.h>

#include "support/support.h"

#include "context/context.h"
#include "cuda/fake_cuda.c"

#define BYTES 8192u

static struct mk_ctx *open_ctx(uint64_t shared_bytes)
{
	struct mk_ctx_params p = {
		.size = sizeof(p),
		.workers = 4,
		.buffers_max = 16,
		.scratch_bytes = 1024,
		.shared_bytes = shared_bytes,
		.heap_bytes = 1u << 20,
		.idle_ns = UINT64_MAX,
		.cache_dir = "",
	};

	mk_cuda_params(&p, NULL, NULL);
	return support_ctx_with(&p);
}

static void close_ctx(struct mk_ctx *ctx)
{
	support_ctx_end(ctx);
	assert_int_equal(fake.hung, 0);
	assert_int_equal(fake.device_memory, 0);
	assert_int_equal(fake.host_memory, 0);
	assert_int_equal(fake.mapped, 0);
}

/* ---- pointers ---- */

/* The caller's bytes are the buffer's, and stay when it goes. */
static void import(void **state)
{
	struct mk_ctx *ctx = open_ctx(2u << 20);
	unsigned char *mine = fake_allocate(BYTES, FAKE_DEVICE, 0,
					    FAKE_PRIMARY);
	int memory = fake.device_memory;
	unsigned char back[16];
	uint64_t bytes;
	mk_buffer_t b;
	void *p;

	(void)state;
	memcpy(mine + 512, "the caller's", 13);
	assert_int_equal(mk_cuda_import(ctx, (uintptr_t)mine + 512,
					BYTES - 512, 0, &b), 0);
	assert_int_equal(fake.device_memory, memory);
	assert_int_equal(mk_buffer_bytes(ctx, b, &bytes), 0);
	assert_int_equal(bytes, BYTES - 512);
	assert_int_equal(mk_buffer_read(ctx, b, 0, back, 13), 0);
	assert_memory_equal(back, "the caller's", 13);
	assert_int_equal(mk_buffer_write(ctx, b, BYTES - 512 - 4, "tail", 4),
			 0);
	assert_memory_equal(mine + BYTES - 4, "tail", 4);
	assert_int_equal(mk_buffer_write(ctx, b, BYTES - 512 - 3, "tail", 4),
			 -MK_ERANGE);
	assert_int_equal(mk_buffer_map(ctx, b, &p), -EOPNOTSUPP);
	assert_int_equal(mk_buffer_destroy(ctx, b, SUPPORT_NS), 0);
	assert_int_equal(mk_buffer_read(ctx, b, 0, back, 1), -MK_ESTALE);
	assert_memory_equal(mine + 512, "the caller's", 13);
	fake_release(mine);
	close_ctx(ctx);
}

/* Refused, and says these words; nothing is left of it. */
static void refuse(struct mk_ctx *ctx, unsigned long long at, uint64_t bytes,
		   int code, const char *words)
{
	struct mk_ctx_info info;
	mk_buffer_t b = 77;

	assert_int_equal(mk_cuda_import(ctx, at, bytes, 0, &b), code);
	support_error(code, words, NULL);
	assert_string_equal(mk_error_last()->operation, "mk_buffer_import");
	assert_int_equal(b, 77);
	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	assert_int_equal(info.buffers, 0);
}

static void import_refused(void **state)
{
	static const struct {
		enum fake_memory kind;
		int ordinal;
		uintptr_t ctx;
		uint64_t offset, bytes;
		int code;
		const char *words;
	} cases[] = {
		{ FAKE_HOST, 0, FAKE_PRIMARY, 0, BYTES, -EFAULT,
		  "not device memory" },
		{ FAKE_MANAGED, 0, FAKE_PRIMARY, 0, BYTES, -EINVAL,
		  "managed" },
		{ FAKE_DEVICE, 1, FAKE_PRIMARY, 0, BYTES, -EXDEV,
		  "memory of device 1, the context is on device 0" },
		{ FAKE_DEVICE, 0, 0x5000, 0, BYTES, -MK_EFOREIGN,
		  "mk_ctx_params.native_context" },
		{ FAKE_DEVICE, 0, FAKE_PRIMARY, 0, BYTES + 1, -MK_ERANGE,
		  "params.bytes is 8193" },
		{ FAKE_DEVICE, 0, FAKE_PRIMARY, 100, BYTES - 99, -MK_ERANGE,
		  "allocation of 8192 bytes has 8092" },
		{ FAKE_DEVICE, 0, FAKE_PRIMARY, 100, INT64_MAX, -MK_ERANGE,
		  "8092" },
		{ FAKE_DEVICE, 0, FAKE_PRIMARY, 0, 0, -EINVAL,
		  "params.bytes is 0" },
	};
	struct mk_ctx *ctx = open_ctx(2u << 20);

	(void)state;
	fake.devices = 2;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		void *p = fake_allocate(BYTES, cases[i].kind, cases[i].ordinal,
					cases[i].ctx);

		refuse(ctx, (uintptr_t)p + cases[i].offset, cases[i].bytes,
		       cases[i].code, cases[i].words);
		fake_release(p);
	}
	refuse(ctx, (uintptr_t)cases, 1, -EFAULT, "not device memory");
	refuse(ctx, 0, 1, -EINVAL, "params.address is 0");
	close_ctx(ctx);
}

/* Memory of a pool has no context. */
static void import_of_pool(void **state)
{
	struct mk_ctx *ctx = open_ctx(2u << 20);
	void *mine = fake_allocate(BYTES, FAKE_DEVICE, 0, 0);
	mk_buffer_t b;

	(void)state;
	assert_int_equal(mk_cuda_import(ctx, (uintptr_t)mine, BYTES, 0, &b),
			 0);
	/* the context's end ends the buffer, and nothing of the caller's */
	close_ctx(ctx);
	fake_release(mine);
}

static void fields(void **state)
{
	struct mk_buffer_import_params p = { .size = sizeof(p) }, good;
	struct mk_ctx *ctx = open_ctx(2u << 20);
	mk_buffer_t b;

	(void)state;
	p.bytes = 1;
	p.address = 4096;
	p.kind = MK_IMPORT_POINTER;
	good = p;
	assert_int_equal(mk_buffer_import(ctx, NULL, &b), -EINVAL);
	p.kind = 0;
	assert_int_equal(mk_buffer_import(ctx, &p, &b), -EINVAL);
	support_error(-EINVAL, "params.kind is 0", NULL);
	p = good;
	p.flags = MK_BUFFER_HOST;
	assert_int_equal(mk_buffer_import(ctx, &p, &b), -EINVAL);
	support_error(-EINVAL, "params.flags is 0x8", NULL);
	p = good;
	p.reserved = 1;
	assert_int_equal(mk_buffer_import(ctx, &p, &b), -EINVAL);
	p = good;
	p.offset = 1;
	assert_int_equal(mk_buffer_import(ctx, &p, &b), -EINVAL);
	support_error(-EINVAL, "params.offset", NULL);
	p = good;
	p.size--;
	assert_int_equal(mk_buffer_import(ctx, &p, &b), -EINVAL);
	/* isolation none: a process cannot open what it exported */
	p = good;
	p.address = 0;
	p.kind = MK_IMPORT_IPC;
	p.handle[0] = 'I';
	assert_int_equal(mk_buffer_import(ctx, &p, &b), -EINVAL);
	support_error(-EINVAL, "MK_IMPORT_IPC", "MK_ISOLATION_PROCESS", NULL);
	close_ctx(ctx);
}

/* ---- handles of other processes; the engine asked as the worker does ---- */

static struct mk_buffer_desc ipc(uint32_t index, void *memory, uint64_t offset,
				 uint64_t bytes)
{
	struct mk_buffer_desc d = {
		.index = index, .generation = 1, .offset = offset,
		.bytes = bytes, .origin = MK_ORIGIN_IPC,
	};

	fake_export(memory, d.handle);
	return d;
}

static void ipc_shared(void **state)
{
	struct mk_ctx *ctx = open_ctx(2u << 20);
	void *memory = fake_allocate(BYTES, FAKE_DEVICE, 0, 0);
	struct mk_buffer_desc a = ipc(1, memory, 0, 100),
			      b = ipc(2, memory, BYTES - 1, 1);

	(void)state;
	assert_int_equal(ctx->ops->buffer_attach(ctx->engine, &a), 0);
	assert_int_equal(ctx->ops->buffer_attach(ctx->engine, &b), 0);
	assert_int_equal(fake.mapped, 1);
	assert_true(fake_resident());
	assert_int_equal(ctx->ops->buffer_detach(ctx->engine, 1, SUPPORT_NS),
			 0);
	assert_int_equal(fake.mapped, 1);
	/* a slot runs, and the mapping cannot go: the buffer is still there */
	mk_store_release(&fake.busy, 1);
	assert_int_equal(ctx->ops->buffer_detach(ctx->engine, 2,
						 20 * SUPPORT_MS), -ETIME);
	assert_int_equal(fake.mapped, 1);
	mk_store_release(&fake.busy, 0);
	assert_int_equal(ctx->ops->buffer_detach(ctx->engine, 2, SUPPORT_NS),
			 0);
	assert_int_equal(fake.mapped, 0);
	assert_true(fake_resident());
	/* one that is left over goes with the engine */
	assert_int_equal(ctx->ops->buffer_attach(ctx->engine, &a), 0);
	close_ctx(ctx);
	fake_release(memory);
}

static void ipc_refused(void **state)
{
	struct mk_ctx *ctx = open_ctx(2u << 20);
	void *memory = fake_allocate(BYTES, FAKE_DEVICE, 0, 0);
	void *far = fake_allocate(BYTES, FAKE_DEVICE, 1, 0);
	struct mk_buffer_desc d;

	(void)state;
	fake.devices = 2;
	d = ipc(1, memory, 0, BYTES + 1);
	assert_int_equal(ctx->ops->buffer_attach(ctx->engine, &d),
			 -MK_ERANGE);
	d = ipc(1, memory, UINT64_MAX - 1, 1);
	assert_int_equal(ctx->ops->buffer_attach(ctx->engine, &d),
			 -MK_ERANGE);
	d = ipc(1, far, 0, BYTES);
	assert_int_equal(ctx->ops->buffer_attach(ctx->engine, &d), -EXDEV);
	d.handle[0] = 'X';
	assert_int_equal(ctx->ops->buffer_attach(ctx->engine, &d), -EBADF);
	assert_int_equal(mk_error_last()->native, 400);
	assert_int_equal(fake.mapped, 0);
	assert_true(fake_resident());
	d = ipc(1, memory, 0, BYTES);
	assert_int_equal(ctx->ops->buffer_attach(ctx->engine, &d), 0);
	close_ctx(ctx);
	fake_release(memory);
	fake_release(far);
}

/* ---- host buffers ---- */

static void host(void **state)
{
	struct mk_ctx *ctx = open_ctx(2u << 20);
	unsigned calls = fake_other_calls();
	struct mk_ctx_info before, info;
	unsigned char back[8];
	mk_buffer_t b;
	char *p;

	(void)state;
	assert_int_equal(mk_ctx_info(ctx, &before), 0);
	assert_int_equal(mk_buffer_create(ctx, 10000, MK_BUFFER_HOST, &b), 0);
	assert_int_equal(mk_buffer_map(ctx, b, (void **)&p), 0);
	assert_int_equal(p[0] | p[9999], 0);
	strcpy(p + 9990, "in place");
	assert_int_equal(mk_buffer_read(ctx, b, 9990, back, 8), 0);
	assert_memory_equal(back, "in place", 8);
	assert_int_equal(mk_buffer_write(ctx, b, 0, "written", 7), 0);
	assert_memory_equal(p, "written", 7);
	assert_int_equal(mk_buffer_write(ctx, b, 9994, "written", 7),
			 -MK_ERANGE);
	assert_int_equal(mk_buffer_destroy(ctx, b, SUPPORT_NS), 0);
	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	assert_int_equal(info.shared_used, before.shared_used);
	/* the next one finds no traces */
	assert_int_equal(mk_buffer_create(ctx, 10000, MK_BUFFER_HOST, &b), 0);
	assert_int_equal(mk_buffer_map(ctx, b, (void **)&p), 0);
	assert_int_equal(p[0] | p[9990], 0);
	/* the context is entered for each of these three commands, and once by
	 * the service thread; nothing is asked of the driver */
	assert_in_range(fake_other_calls() - calls, 3, 4);
	assert_int_equal(mk_buffer_create(ctx, 4u << 20, MK_BUFFER_HOST, &b),
			 -ENOMEM);
	support_error(-ENOMEM, "mk_ctx_params.shared_bytes", NULL);
	close_ctx(ctx);
}

/* ---- copies ---- */

static void there_and_back(struct mk_ctx *ctx, uint64_t bytes)
{
	unsigned char *data = malloc(bytes), *back = calloc(1, bytes);
	mk_buffer_t b;

	for (uint64_t i = 0; i < bytes; i++)
		data[i] = (unsigned char)(i * 7 + (i >> 13));
	assert_int_equal(mk_buffer_create(ctx, bytes + 1, 0, &b), 0);
	assert_int_equal(mk_buffer_write(ctx, b, 1, data, bytes), 0);
	assert_int_equal(mk_buffer_read(ctx, b, 1, back, bytes), 0);
	assert_memory_equal(data, back, bytes);
	assert_int_equal(mk_buffer_destroy(ctx, b, SUPPORT_NS), 0);
	free(data);
	free(back);
}

/* Nobody touches a half that is still being copied: what the driver copies
 * is what is there when it comes to it. */
static void halves(void **state)
{
	static const uint64_t sizes[] = {
		1, 4096, (1u << 20) - 1, 1u << 20, (1u << 20) + 1, 2u << 20,
		(2u << 20) + 1, (5u << 20) + 12345,
	};
	struct mk_ctx *ctx = open_ctx(8u << 20);

	(void)state;
	fake.slow_copies = true;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		there_and_back(ctx, sizes[i]);
	fake.slow_copies = false;
	close_ctx(ctx);
}

/* With little shared memory the halves are smaller. */
static void small_halves(void **state)
{
	struct mk_ctx *ctx = open_ctx(1u << 20);
	struct mk_ctx_info before, info;

	(void)state;
	assert_int_equal(mk_ctx_info(ctx, &before), 0);
	fake.slow_copies = true;
	there_and_back(ctx, 3u << 20);
	fake.slow_copies = false;
	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	assert_int_equal(info.shared_used, before.shared_used);
	close_ctx(ctx);
}

/* A copy that may lag returns before it is made, and after those before it. */
static void behind(void **state)
{
	struct mk_ctx *ctx = open_ctx(2u << 20);
	void *memory = fake_allocate(BYTES, FAKE_DEVICE, 0, FAKE_PRIMARY);
	const uint32_t flags = MK_COPY_TO_DEVICE | MK_COPY_BEHIND;
	char *mine = memory, *stage;
	mk_buffer_t h, b;
	uint64_t at;
	uint32_t index;

	(void)state;
	assert_int_equal(mk_buffer_create(ctx, 8, MK_BUFFER_HOST, &h), 0);
	assert_int_equal(mk_buffer_map(ctx, h, (void **)&stage), 0);
	at = (uint64_t)((unsigned char *)stage - ctx->region.base);
	assert_int_equal(mk_cuda_import(ctx, (uintptr_t)mine, BYTES, 0, &b),
			 0);
	index = mk_buffer_ref(b).index;
	memcpy(stage, "onetwo", 6);
	fake.slow_copies = true;
	assert_int_equal(ctx->ops->buffer_copy(ctx->engine, index, 0, at, 3,
					       flags), 0);
	assert_int_equal(mine[0], 0);
	assert_int_equal(ctx->ops->buffer_copy(ctx->engine, index, 3, at + 3,
					       3, flags), 0);
	assert_memory_equal(mine, "one\0", 4);
	assert_int_equal(ctx->ops->buffer_copy(ctx->engine, index, 0, at, 0,
					       0), 0);
	assert_memory_equal(mine, "onetwo", 6);
	assert_int_equal(fake.copies_high, 1);
	fake.slow_copies = false;
	close_ctx(ctx);
	fake_release(memory);
}

static int begin(void **state)
{
	(void)state;
	fake_reset();
	return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(import), TEST(import_refused), TEST(import_of_pool),
		TEST(fields), TEST(ipc_shared), TEST(ipc_refused), TEST(host),
		TEST(halves), TEST(small_halves), TEST(behind),
	};

	fake_cache();
	fake_reset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
