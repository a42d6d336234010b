/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The caller's own CUDA memory, context and stream, on a real device. Needs
 * nothing but the library; no test framework.
 *
 * Prints a line for every check and measurement. Exit status 1: something
 * gave a wrong answer; 77: there is no such device here.
 */
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <megakernel/cuda.h>

#define WAIT_NS 20000000000ull
#define BYTES (1u << 20)
#define LARGE (256u << 20)

typedef unsigned long long pointer;

static int (*cu_init)(unsigned);
static int (*cu_device)(int *, int);
static int (*cu_retain)(struct CUctx_st **, int);
static int (*cu_set)(struct CUctx_st *);
static int (*cu_stream)(struct CUstream_st **, unsigned);
static int (*cu_alloc)(pointer *, size_t);
static int (*cu_free)(pointer);
static int (*cu_to_device)(pointer, const void *, size_t);
static int (*cu_to_host)(void *, pointer, size_t);
static int (*cu_export)(void *, pointer);
static struct CUctx_st *context;
static int wrong;

static void check(const char *what, bool right)
{
	printf("%s %s%s%s\n", right ? "ok  " : "FAIL", what,
	       right ? "" : ": ", right ? "" : mk_error_last()->text);
	fflush(stdout);
	wrong |= !right;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool open_driver(void)
{
	void *library = dlopen("libcuda.so.1", RTLD_NOW);
	const struct {
		const char *name;
		void *to;
	} symbols[] = {
		{ "cuInit", &cu_init }, { "cuDeviceGet", &cu_device },
		{ "cuDevicePrimaryCtxRetain", &cu_retain },
		{ "cuCtxSetCurrent", &cu_set },
		{ "cuStreamCreate", &cu_stream },
		{ "cuMemAlloc_v2", &cu_alloc }, { "cuMemFree_v2", &cu_free },
		{ "cuMemcpyHtoD_v2", &cu_to_device },
		{ "cuMemcpyDtoH_v2", &cu_to_host },
		{ "cuIpcGetMemHandle", &cu_export },
	};
	int device;

	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		void *found = library ? dlsym(library, symbols[i].name) : NULL;

		if (!found)
			return false;
		memcpy(symbols[i].to, &found, sizeof(found));
	}
	return !cu_init(0) && !cu_device(&device, 0) &&
	       !cu_retain(&context, device) && !cu_set(context);
}

static int32_t copy(struct mk_queue *q, mk_buffer_t from, mk_buffer_t to,
		    uint64_t bytes)
{
	struct mk_op_copy args = { .source = mk_buffer_ref(from),
				   .target = mk_buffer_ref(to),
				   .bytes = bytes };
	struct mk_completion c;
	struct mk_slot s;

	mk_slot_init(&s, MK_OP_COPY, 1);
	memcpy(s.bytes, &args, sizeof(args));
	return mk_queue_call(q, &s, &c, WAIT_NS);
}

static struct mk_ctx *create(struct mk_ctx_params *p)
{
	struct mk_ctx *ctx;
	int r = mk_ctx_create(p, &ctx);

	if (!r)
		return ctx;
	printf("FAIL mk_ctx_create: %s: %s\n", mk_code_name(r),
	       mk_error_last()->text);
	exit(r == -MK_EENGINE ? 77 : 1);
}

/* Imported memory there and back through a handler. */
static void through(struct mk_ctx *ctx, mk_buffer_t import, pointer memory,
		    const char *what)
{
	unsigned char *data = malloc(BYTES), *back = calloc(1, BYTES);
	struct mk_queue *q;
	mk_buffer_t own;
	bool right = !mk_queue_create(ctx, NULL, &q) &&
		     !mk_buffer_create(ctx, BYTES, 0, &own);

	for (unsigned round = 1; right && round < 5; round++) {
		for (unsigned i = 0; i < BYTES; i++)
			data[i] = (unsigned char)(i * round + (i >> 9));
		right = !cu_to_device(memory, data, BYTES) &&
			!copy(q, import, own, BYTES) &&
			!mk_buffer_read(ctx, own, 0, back, BYTES) &&
			!memcmp(data, back, BYTES);
		data[round] ^= 255;
		right = right && !mk_buffer_write(ctx, own, 0, data, BYTES) &&
			!copy(q, own, import, BYTES) &&
			!cu_to_host(back, memory, BYTES) &&
			!memcmp(data, back, BYTES);
	}
	check(what, right);
	if (right) {
		mk_buffer_destroy(ctx, own, WAIT_NS);
		mk_queue_destroy(q, WAIT_NS);
	}
	free(data);
	free(back);
}

/* A free beside the kernel, as the manual shows it. */
static void free_aside(struct mk_ctx *ctx, pointer memory)
{
	double begin = seconds();
	bool right = !mk_ctx_quiesce(ctx, WAIT_NS) && !cu_free(memory) &&
		     !mk_ctx_resume(ctx);

	check("cuMemFree between quiesce and resume", right);
	printf("     which took %.3f ms\n", (seconds() - begin) * 1e3);
}

static void pointers(struct CUstream_st *stream)
{
	struct mk_ctx_params p = { .size = sizeof(p), .sm_percent = 25,
				   .idle_ns = MK_FOREVER };
	unsigned char host[16];
	struct mk_ctx_info info;
	struct mk_ctx *ctx;
	mk_buffer_t b;
	pointer memory;

	mk_cuda_params(&p, context, stream);
	ctx = create(&p);
	mk_ctx_info(ctx, &info);
	printf("     %u multiprocessors, %u workers\n", info.sm_count,
	       info.workers);
	check("cuMemAlloc beside the kernel", !cu_alloc(&memory, BYTES));
	check("device memory is imported",
	      !mk_cuda_import(ctx, memory, BYTES, 0, &b));
	through(ctx, b, memory, "handlers read and write imported memory");
	check("beyond the allocation is refused",
	      mk_cuda_import(ctx, memory + 1, LARGE, 0, &b) == -MK_ERANGE);
	check("host memory is refused",
	      mk_cuda_import(ctx, (uintptr_t)host, 16, 0, &b) == -EFAULT);
	free_aside(ctx, memory);
	check("a clean end", mk_ctx_destroy(ctx, WAIT_NS) == 0);
}

static void handles(void)
{
	struct mk_ctx_params p = { .size = sizeof(p), .engine = "cuda",
				   .idle_ns = MK_FOREVER };
	unsigned char handle[64];
	struct mk_ctx *ctx = create(&p);
	pointer memory = 0;
	mk_buffer_t b;

	check("cuIpcGetMemHandle", !cu_alloc(&memory, BYTES) &&
				   !cu_export(handle, memory));
	check("a handle is imported by the worker process",
	      !mk_cuda_import_ipc(ctx, handle, 0, BYTES, 0, &b));
	through(ctx, b, memory, "handlers use memory of another process");
	check("beyond the allocation is refused",
	      mk_cuda_import_ipc(ctx, handle, 0, LARGE, 0, &b) == -MK_ERANGE);
	check("the buffer ends", !mk_buffer_destroy(ctx, b, WAIT_NS));
	check("and its owner frees the memory", !cu_free(memory));
	memset(handle, 0x5a, sizeof(handle));
	check("a handle of nothing is refused",
	      mk_cuda_import_ipc(ctx, handle, 0, 1, 0, &b) == -EBADF);
	check("a clean end", mk_ctx_destroy(ctx, WAIT_NS) == 0);
}

static void speed(uint32_t isolation, const char *name)
{
	struct mk_ctx_params p = { .size = sizeof(p), .engine = "cuda",
				   .isolation = isolation,
				   .idle_ns = MK_FOREVER };
	unsigned char *data = malloc(LARGE), *back = malloc(LARGE);
	struct mk_ctx *ctx = create(&p);
	double begin, write, read;
	mk_buffer_t b;
	bool right;

	for (unsigned i = 0; i < LARGE; i++)
		data[i] = (unsigned char)(i ^ i >> 11);
	memset(back, 0, LARGE);
	right = !mk_buffer_create(ctx, LARGE, 0, &b) &&
		!mk_buffer_write(ctx, b, 0, data, LARGE);
	begin = seconds();
	right = right && !mk_buffer_write(ctx, b, 0, data, LARGE);
	write = seconds() - begin;
	begin = seconds();
	right = right && !mk_buffer_read(ctx, b, 0, back, LARGE);
	read = seconds() - begin;
	check("256 MiB there and back", right && !memcmp(data, back, LARGE));
	printf("     isolation %s: written at %.1f GB/s, read at %.1f GB/s\n",
	       name, LARGE / write / 1e9, LARGE / read / 1e9);
	begin = seconds();
	memcpy(back, data, LARGE);
	printf("     memcpy of the same: %.1f GB/s\n",
	       LARGE / (seconds() - begin) / 1e9);
	mk_ctx_destroy(ctx, WAIT_NS);
	free(data);
	free(back);
}

int main(void)
{
	struct CUstream_st *stream = NULL;

	if (!open_driver() || cu_stream(&stream, 1)) {
		printf("no CUDA driver or device here\n");
		return 77;
	}
	pointers(NULL);
	pointers(stream);
	handles();
	speed(MK_ISOLATION_NONE, "none");
	speed(MK_ISOLATION_PROCESS, "process");
	printf(wrong ? "wrong answers\n" : "all answers right\n");
	return wrong;
}
