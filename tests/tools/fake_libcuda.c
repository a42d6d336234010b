/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of a CUDA driver and of NVRTC as the baselines of `megakernel
 * bench` call, for a machine that has neither: test_bench_cuda.sh builds it
 * under their names. A kernel is what its name says, run at once by the call
 * that launches it. FAKE_FAIL=SYMBOL makes that function fail.
 *
 * Books are kept: what is still held when the process ends is written to
 * the file that FAKE_BOOKS names. What $CUDA_CACHE_DISABLE was when the first
 * program was compiled goes to the file that FAKE_CACHE names: NVRTC, which
 * has a cache of its own, looks no second time.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long ptr;

static int contexts, pushed, streams, device_memory, host_memory, modules,
	graphs, execs, launches;

struct node {
	void *function;
	unsigned grid[3], block[3], shared;
	void **params, **extra;
};

struct graph {
	unsigned count;
	struct node last;
	void *args[4];
	ptr values[4];
};

static const char *const kernels[] = { "bench_null", "bench_flag",
				       "bench_saxpy" };

__attribute__((destructor)) static void balance(void)
{
	const char *path = getenv("FAKE_BOOKS");
	FILE *f = path ? fopen(path, "w") : NULL;

	if (!f)
		return;
	fprintf(f, "held %d launches %d\n",
		contexts + pushed + streams + device_memory + host_memory +
			modules + graphs + execs,
		launches);
	fclose(f);
}

static int fails(const char *symbol)
{
	const char *name = getenv("FAKE_FAIL");

	return name && !strcmp(name, symbol) ? 999 : 0;
}

static void look_for_cache(void)
{
	const char *path = getenv("FAKE_CACHE");
	const char *disable = getenv("CUDA_CACHE_DISABLE");
	static int looked;
	FILE *f = path && !looked ? fopen(path, "w") : NULL;

	looked = 1;
	if (!f)
		return;
	fprintf(f, "disable %s\n", disable ? disable : "unset");
	fclose(f);
}

#define CALL(symbol, args, ...)               \
	int symbol args;                      \
	int symbol args                       \
	{                                     \
		int result_ = fails(#symbol); \
					      \
		if (result_)                  \
			return result_;       \
		__VA_ARGS__;                  \
		return 0;                     \
	}

CALL(cuInit, (unsigned flags), (void)flags)
CALL(cuDriverGetVersion, (int *out), *out = 13000)
CALL(cuGetErrorName, (int code, const char **out),
     *out = code == 999 ? "CUDA_ERROR_UNKNOWN" : "CUDA_ERROR")
CALL(cuDeviceGetCount, (int *out), *out = 1)
CALL(cuDeviceGet, (int *out, int i), *out = i)
CALL(cuDeviceGetName, (char *out, int room, int device), (void)device,
     snprintf(out, (size_t)room, "Fake GPU"))
CALL(cuDeviceGetAttribute, (int *out, int which, int device), (void)device,
     *out = which == 16 ? 4 : which == 75 ? 9 : 0)
CALL(cuDeviceGetPCIBusId, (char *out, int room, int device), (void)device,
     snprintf(out, (size_t)room, "0000:00:00.0"))
/* Schedules 0, 1, 2 and 4 only: a primary context takes no CU_CTX_MAP_HOST. */
int cuDevicePrimaryCtxSetFlags_v2(int device, unsigned flags);
int cuDevicePrimaryCtxSetFlags_v2(int device, unsigned flags)
{
	(void)device;
	return flags > 4 || flags == 3 ? 1 : fails(__func__);
}

CALL(cuDevicePrimaryCtxRetain, (void **out, int device), (void)device,
     *out = &contexts, contexts++)
CALL(cuDevicePrimaryCtxRelease_v2, (int device), (void)device, contexts--)
CALL(cuCtxPushCurrent_v2, (void *ctx), (void)ctx, pushed++)
CALL(cuCtxPopCurrent_v2, (void **out), *out = &contexts, pushed--)
CALL(cuStreamCreate, (void **out, unsigned flags), (void)flags,
     *out = &streams, streams++)
CALL(cuStreamDestroy_v2, (void *stream), (void)stream, streams--)
CALL(cuStreamSynchronize, (void *stream), (void)stream)
CALL(cuMemAlloc_v2, (ptr *out, size_t bytes),
     *out = (ptr)(uintptr_t)malloc(bytes), device_memory++)
CALL(cuMemFree_v2, (ptr at), free((void *)(uintptr_t)at), device_memory--)
CALL(cuMemHostAlloc, (void **out, size_t bytes, unsigned flags), (void)flags,
     *out = malloc(bytes), host_memory++)
CALL(cuMemFreeHost, (void *at), free(at), host_memory--)
CALL(cuMemHostGetDevicePointer_v2, (ptr *out, void *at, unsigned flags),
     (void)flags, *out = (ptr)(uintptr_t)at)
CALL(cuMemcpyHtoDAsync_v2,
     (ptr to, const void *from, size_t bytes, void *stream), (void)stream,
     memcpy((void *)(uintptr_t)to, from, bytes))
CALL(cuMemcpyDtoHAsync_v2, (void *to, ptr from, size_t bytes, void *stream),
     (void)stream, memcpy(to, (const void *)(uintptr_t)from, bytes))
CALL(cuModuleLoadData, (void **out, const void *image), (void)image,
     *out = &modules, modules++)
CALL(cuModuleUnload, (void *module), (void)module, modules--)

int cuModuleGetFunction(const char **out, void *module, const char *name);
int cuModuleGetFunction(const char **out, void *module, const char *name)
{
	(void)module;
	for (unsigned i = 0; i < 3; i++)
		if (!strcmp(name, kernels[i])) {
			*out = kernels[i];
			return fails("cuModuleGetFunction");
		}
	return 500;
}

/* The kernels of tools/bench_cuda_driver.c. */
static void execute(const char *name, void **args)
{
	launches++;
	if (!strcmp(name, "bench_flag")) {
		volatile unsigned *flag =
			(unsigned *)(uintptr_t)*(ptr *)args[0];

		*flag = *(unsigned *)args[1];
	} else if (!strcmp(name, "bench_saxpy")) {
		const float *x = (const float *)(uintptr_t)*(ptr *)args[0];
		float *y = (float *)(uintptr_t)*(ptr *)args[1];

		for (unsigned i = 0; i < *(unsigned *)args[3]; i++)
			y[i] += *(float *)args[2] * x[i];
	}
}

CALL(cuLaunchKernel,
     (const char *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
      unsigned by, unsigned bz, unsigned shared, void *stream, void **args,
      void **extra),
     (void)gx, (void)gy, (void)gz, (void)bx, (void)by, (void)bz, (void)shared,
     (void)stream, (void)extra, execute(f, args))

CALL(cuGraphCreate, (struct graph **out, unsigned flags), (void)flags,
     *out = calloc(1, sizeof(**out)), graphs++)

/* Arguments are copied when a node is added, as the driver does. */
int cuGraphAddKernelNode(void **out, struct graph *g, void *const *after,
			 size_t n, const struct node *node);
int cuGraphAddKernelNode(void **out, struct graph *g, void *const *after,
			 size_t n, const struct node *node)
{
	static const size_t bytes[4] = { 8, 8, 4, 4 };

	if (n > 1 || (n && *after != g) || node->grid[0] < 1)
		return 1;
	g->count++;
	g->last = *node;
	for (unsigned i = 0; node->params && i < 4; i++) {
		memcpy(&g->values[i], node->params[i], bytes[i]);
		g->args[i] = &g->values[i];
	}
	*out = g;
	return fails("cuGraphAddKernelNode");
}

static int instantiate(struct graph **out, const struct graph *g)
{
	*out = malloc(sizeof(**out));
	**out = *g;
	for (unsigned i = 0; i < 4; i++)
		(*out)->args[i] = &(*out)->values[i];
	return ++execs;
}

static void execute_all(struct graph *g)
{
	for (unsigned i = 0; i < g->count; i++)
		execute(g->last.function, g->args);
}

CALL(cuGraphInstantiateWithFlags,
     (struct graph **out, struct graph *g, unsigned long long flags),
     (void)flags, instantiate(out, g))
CALL(cuGraphUpload, (struct graph *g, void *stream), (void)g, (void)stream)
CALL(cuGraphLaunch, (struct graph *g, void *stream), (void)stream,
     execute_all(g))
CALL(cuGraphDestroy, (struct graph *g), free(g), graphs--)
CALL(cuGraphExecDestroy, (struct graph *g), free(g), execs--)

/* In the table of the program's calls, but only `neighbour` makes these. */
CALL(cuCtxSetCurrent, (void), return 801)
CALL(cuCtxSynchronize, (void), return 801)
CALL(cuMemAllocAsync, (void), return 801)
CALL(cuMemFreeAsync, (void), return 801)
CALL(cuMemcpyHtoD_v2, (void), return 801)
CALL(cuMemcpyDtoH_v2, (void), return 801)
CALL(cuStreamBeginCapture_v2, (void), return 801)
CALL(cuStreamEndCapture, (void), return 801)

/* ---- NVRTC --------------------------------------------------------------- */

CALL(nvrtcVersion, (int *major, int *minor), *major = 13, *minor = 0)
CALL(nvrtcCreateProgram,
     (void **out, const char *text, const char *name, int n,
      const char *const *headers, const char *const *names),
     (void)text, (void)name, (void)n, (void)headers, (void)names,
     *out = &modules)
CALL(nvrtcDestroyProgram, (void **program), *program = NULL)
CALL(nvrtcCompileProgram, (void *program, int n, const char *const *options),
     (void)program, (void)n, (void)options, look_for_cache())
CALL(nvrtcGetCUBINSize, (void *program, size_t *out), (void)program,
     *out = 16)
CALL(nvrtcGetCUBIN, (void *program, char *out), (void)program,
     memset(out, 0, 16))
