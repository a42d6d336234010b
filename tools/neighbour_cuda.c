/* SPDX-License-Identifier: Apache-2.0 */
/* megakernel neighbour: the CUDA work of somebody who shares the process. */
#include <stdlib.h>
#include <string.h>

#include "base/order.h"
#include "neighbour.h"

#define WORK_THREADS 256u
#define WORK_BLOCKS 8u    /* that fill a multiprocessor of 2048 threads */
#define WORK_WAVES 10u
#define WORK_STEPS 20000

static const char source[] =
	"extern \"C\" __global__ void neighbour_null(void)\n"
	"{\n"
	"}\n"
	"extern \"C\" __global__ void neighbour_shared(unsigned *out)\n"
	"{\n"
	"	__shared__ unsigned s[12288];\n"
	"	for (unsigned i = threadIdx.x; i < 12288; i += blockDim.x)\n"
	"		s[i] = i;\n"
	"	__syncthreads();\n"
	"	if (s[threadIdx.x * 7] == 1)\n"
	"		*out = 1;\n"
	"}\n"
	"extern \"C\" __global__ void neighbour_work(float *out, int steps)\n"
	"{\n"
	"	float a = threadIdx.x, b = 1.0001f;\n"
	"	for (int i = 0; i < steps; i++)\n"
	"		a = a * b + 0.5f;\n"
	"	if (a == 12345.0f)\n"
	"		*out = a;\n"
	"}\n"
	"extern \"C\" __global__ void neighbour_copy(float4 *to,\n"
	"	const float4 *from, unsigned n)\n"
	"{\n"
	"	unsigned step = gridDim.x * blockDim.x;\n"
	"	for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n;\n"
	"	     i += step)\n"
	"		to[i] = from[i];\n"
	"}\n"
	"extern \"C\" __global__ void neighbour_flag(volatile unsigned *stop)\n"
	"{\n"
	"	if (!threadIdx.x)\n"
	"		while (!*stop)\n"
	"			;\n"
	"}\n";

static int failed(const struct neighbour_cuda *c, const char *what, CUresult r)
{
	const char *name = NULL;

	if (c->d.error_name)
		c->d.error_name(r, &name);
	cli_error("neighbour", "%s: %s (%d)", what, name ? name : "an error",
		  r);
	return -1;
}

#define TRY(c, what, call)                            \
	do {                                          \
		CUresult r_ = (call);                 \
		if (r_)                               \
			return failed((c), what, r_); \
	} while (0)

static int load_driver(struct neighbour_cuda *c)
{
	char why[256];

	if (!cuda_calls_load(&c->d, why, sizeof(why)))
		return 0;
	cli_error("neighbour", "%s", why);
	return -1;
}

static int open_context(struct neighbour_cuda *c, uint32_t number)
{
	CUdevice device;

	TRY(c, "cuInit", c->d.init(0));
	TRY(c, "cuDeviceGet", c->d.device_get(&device, (int)number));
	TRY(c, "cuDeviceGetName",
	    c->d.device_name(c->device, sizeof(c->device), device));
	TRY(c, "cuDeviceGetAttribute",
	    c->d.device_attribute(&c->multiprocessors,
				MKC_ATTR_MULTIPROCESSORS, device));
	TRY(c, "cuDevicePrimaryCtxRetain", c->d.ctx_retain(&c->ctx, device));
	TRY(c, "cuCtxSetCurrent", c->d.ctx_set(c->ctx));
	return 0;
}

static int compile(struct neighbour_cuda *c, uint32_t number)
{
	int major, minor;
	CUdevice device;

	TRY(c, "cuDeviceGet", c->d.device_get(&device, (int)number));
	TRY(c, "cuDeviceGetAttribute",
	    c->d.device_attribute(&major, MKC_ATTR_MAJOR, device));
	TRY(c, "cuDeviceGetAttribute",
	    c->d.device_attribute(&minor, MKC_ATTR_MINOR, device));
	c->image = neighbour_compile(source, major, minor);
	return c->image ? 0 : -1;
}

static int make_graph(struct neighbour_cuda *c)
{
	CUgraph graph;

	TRY(c, "cuStreamBeginCapture", c->d.capture_begin(c->stream, 1));
	TRY(c, "cuLaunchKernel", c->d.launch(c->null, 1, 1, 1, 32, 1, 1, 0,
					   c->stream, NULL, NULL));
	TRY(c, "cuStreamEndCapture", c->d.capture_end(c->stream, &graph));
	TRY(c, "cuGraphInstantiate",
	    c->d.graph_instantiate(&c->graph, graph, 0));
	TRY(c, "cuGraphLaunch", c->d.graph_launch(c->graph, c->stream));
	return 0;
}

/* One block, and its end. */
static CUresult launch_on(struct neighbour_cuda *c, CUfunction f, CUstream s)
{
	void *args[] = { &c->memory }; /* for those that take one */
	CUresult r = c->d.launch(f, 1, 1, 1, 32, 1, 1, 0, s, args, NULL);

	return r ? r : c->d.stream_wait(s);
}

/* Kernels that have run before, and one module that has not. */
static int make_kernels(struct neighbour_cuda *c)
{
	TRY(c, "cuModuleLoadData", c->d.module_load(&c->module, c->image));
	TRY(c, "cuModuleGetFunction",
	    c->d.module_function(&c->null, c->module, "neighbour_null"));
	TRY(c, "cuModuleGetFunction",
	    c->d.module_function(&c->shared, c->module, "neighbour_shared"));
	TRY(c, "cuModuleGetFunction",
	    c->d.module_function(&c->work, c->module, "neighbour_work"));
	TRY(c, "cuModuleGetFunction",
	    c->d.module_function(&c->copy, c->module, "neighbour_copy"));
	TRY(c, "cuModuleGetFunction",
	    c->d.module_function(&c->flag, c->module, "neighbour_flag"));
	TRY(c, "cuStreamCreate",
	    c->d.stream_create(&c->stream, MKC_STREAM_NON_BLOCKING));
	TRY(c, "cuStreamCreate",
	    c->d.stream_create(&c->flag_stream, MKC_STREAM_NON_BLOCKING));
	TRY(c, "cuLaunchKernel", c->d.launch(c->null, 1, 1, 1, 32, 1, 1, 0,
					   c->stream, NULL, NULL));
	TRY(c, "a kernel with shared memory",
	    launch_on(c, c->shared, c->stream));
	TRY(c, "a kernel that reads a flag", neighbour_cuda_flag(c, 1));
	TRY(c, "a kernel that reads a flag", neighbour_cuda_flag(c, 0));
	for (unsigned w = 0; w < NEIGHBOUR_WORKS; w++)
		TRY(c, "ordinary work", neighbour_cuda_work(c, w));
	if (make_graph(c))
		return -1;
	TRY(c, "cuModuleLoadData", c->d.module_load(&c->lazy, c->image));
	TRY(c, "cuCtxSynchronize", c->d.ctx_wait());
	return 0;
}

int neighbour_cuda_open(struct neighbour_cuda *c, uint32_t device)
{
	memset(c, 0, sizeof(*c));
	c->pageable = calloc(1, NEIGHBOUR_BYTES);
	if (!c->pageable) {
		cli_error("neighbour", "no memory");
		return -1;
	}
	if (load_driver(c) || open_context(c, device) || compile(c, device))
		return -1;
	TRY(c, "cuMemAlloc", c->d.mem_alloc(&c->memory, NEIGHBOUR_BYTES));
	TRY(c, "cuMemAlloc", c->d.mem_alloc(&c->large, NEIGHBOUR_LARGE));
	TRY(c, "cuMemAlloc", c->d.mem_alloc(&c->to_free, NEIGHBOUR_BYTES));
	TRY(c, "cuMemHostAlloc",
	    c->d.host_alloc(&c->pinned, NEIGHBOUR_BYTES, MKC_HOST_PORTABLE));
	TRY(c, "cuMemHostAlloc", c->d.host_alloc(&c->pinned_to_free,
					       NEIGHBOUR_BYTES,
					       MKC_HOST_PORTABLE));
	return make_kernels(c);
}

CUresult neighbour_cuda_work(struct neighbour_cuda *c, unsigned work)
{
	unsigned blocks = WORK_BLOCKS * (unsigned)c->multiprocessors;
	unsigned units = NEIGHBOUR_LARGE / 2 / 16;
	CUdeviceptr half = c->large + NEIGHBOUR_LARGE / 2;
	int steps = WORK_STEPS;
	void *args[] = { &c->memory, &steps };
	void *copy_args[] = { &c->large, &half, &units };

	if (work != NEIGHBOUR_WAVE)
		blocks *= WORK_WAVES;
	if (work == NEIGHBOUR_MEMORY)
		return c->d.launch(c->copy, blocks, 1, 1, WORK_THREADS, 1, 1, 0,
				 c->stream, copy_args, NULL);
	return c->d.launch(c->work, blocks, 1, 1, WORK_THREADS, 1, 1, 0,
			 c->stream, args, NULL);
}

CUresult neighbour_cuda_flag(struct neighbour_cuda *c, unsigned blocks)
{
	volatile uint32_t *stop = c->pinned;
	/* one address for host and device */
	CUdeviceptr at = (uintptr_t)c->pinned;
	void *args[] = { &at };

	mk_store_release(stop, !blocks);
	if (!blocks)
		return c->d.stream_wait(c->flag_stream);
	return c->d.launch(c->flag, blocks, 1, 1, 32, 1, 1, 0, c->flag_stream,
			 args, NULL);
}

/* ---- the calls ---- */

static CUresult do_alloc(struct neighbour_cuda *c)
{
	CUdeviceptr at;

	return c->d.mem_alloc(&at, 16u << 20);
}

static CUresult do_alloc_async(struct neighbour_cuda *c)
{
	CUdeviceptr at;
	CUresult r = c->d.mem_alloc_async(&at, 16u << 20, c->stream);

	if (!r)
		r = c->d.mem_free_async(at, c->stream);
	return r ? r : c->d.stream_wait(c->stream);
}

static CUresult do_host_alloc(struct neighbour_cuda *c)
{
	void *p;

	return c->d.host_alloc(&p, 4u << 20, MKC_HOST_PORTABLE);
}

static CUresult do_copy(struct neighbour_cuda *c)
{
	CUresult r = c->d.copy_in(c->memory, c->pageable, NEIGHBOUR_BYTES);

	return r ? r : c->d.copy_out(c->pageable, c->memory, NEIGHBOUR_BYTES);
}

static CUresult do_copy_async(struct neighbour_cuda *c)
{
	CUresult r = c->d.copy_in_async(c->memory, c->pinned, NEIGHBOUR_BYTES,
					c->stream);

	if (!r)
		r = c->d.copy_out_async(c->pinned, c->memory, NEIGHBOUR_BYTES,
				     c->stream);
	return r ? r : c->d.stream_wait(c->stream);
}

static CUresult do_kernel(struct neighbour_cuda *c)
{
	return launch_on(c, c->null, c->stream);
}

static CUresult do_shared(struct neighbour_cuda *c)
{
	return launch_on(c, c->shared, c->stream);
}

static CUresult do_legacy(struct neighbour_cuda *c)
{
	return launch_on(c, c->null, NULL);
}

static CUresult do_full(struct neighbour_cuda *c)
{
	CUresult r = neighbour_cuda_work(c, NEIGHBOUR_WAVE);

	return r ? r : c->d.stream_wait(c->stream);
}

static CUresult do_graph(struct neighbour_cuda *c)
{
	CUresult r = c->d.graph_launch(c->graph, c->stream);

	return r ? r : c->d.stream_wait(c->stream);
}

static CUresult do_lazy(struct neighbour_cuda *c)
{
	CUfunction f;
	CUresult r = c->d.module_function(&f, c->lazy, "neighbour_null");

	return r ? r : launch_on(c, f, c->stream);
}

static CUresult do_module(struct neighbour_cuda *c)
{
	CUmodule m;

	return c->d.module_load(&m, c->image);
}

static CUresult do_synchronize(struct neighbour_cuda *c)
{
	return c->d.ctx_wait();
}

static CUresult do_free(struct neighbour_cuda *c)
{
	return c->d.mem_free(c->to_free);
}

static CUresult do_free_host(struct neighbour_cuda *c)
{
	return c->d.host_free(c->pinned_to_free);
}

static const struct {
	const char *name;
	CUresult (*call)(struct neighbour_cuda *c);
} calls[NEIGHBOUR_CALLS] = {
	{ "cuMemAlloc", do_alloc },
	{ "cuMemAllocAsync, cuMemFreeAsync", do_alloc_async },
	{ "cuMemHostAlloc", do_host_alloc },
	{ "synchronous copies", do_copy },
	{ "asynchronous copies, other stream", do_copy_async },
	{ "kernel, other stream", do_kernel },
	{ "kernel with 48 KiB of shared memory", do_shared },
	{ "kernel that fills the device", do_full },
	{ "kernel, legacy default stream", do_legacy },
	{ "graph launch", do_graph },
	{ "first use of a lazily loaded kernel", do_lazy },
	{ "cuModuleLoadData", do_module },
	{ "cuCtxSynchronize", do_synchronize },
	{ "cuMemFree", do_free },
	{ "cuMemFreeHost", do_free_host },
};

CUresult neighbour_cuda_call(struct neighbour_cuda *c, unsigned number)
{
	return calls[number].call(c);
}

const char *neighbour_call_name(unsigned number)
{
	return calls[number].name;
}
