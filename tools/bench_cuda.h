/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The baselines' own way to the CUDA driver: found at run time, as the engine
 * finds it, but not the engine's. What a program without this library would
 * do, done as well as it can be: a context that spins, pinned memory, a
 * stream of its own, graphs that were uploaded.
 */
#ifndef BENCH_CUDA_H
#define BENCH_CUDA_H

#include "bench_run.h"
#include "engine/cuda/driver.h"

typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphNode_st *CUgraphNode;
typedef struct CUgraphExec_st *CUgraphExec;

/* CUDA_KERNEL_NODE_PARAMS_v1 of <cuda.h>. */
struct bench_node {
	CUfunction function;
	unsigned grid[3], block[3], shared_bytes;
	void **params, **extra;
};

/* X(field, symbol, arguments) */
#define BENCH_DRIVER(X)                                                       \
	X(init, cuInit, (unsigned))                                           \
	X(version, cuDriverGetVersion, (int *))                               \
	X(error_name, cuGetErrorName, (CUresult, const char **))              \
	X(device_get, cuDeviceGet, (CUdevice *, int))                         \
	X(device_count, cuDeviceGetCount, (int *))                            \
	X(device_name, cuDeviceGetName, (char *, int, CUdevice))              \
	X(device_attribute, cuDeviceGetAttribute, (int *, int, CUdevice))     \
	X(device_bus, cuDeviceGetPCIBusId, (char *, int, CUdevice))           \
	X(ctx_flags, cuDevicePrimaryCtxSetFlags_v2, (CUdevice, unsigned))     \
	X(ctx_retain, cuDevicePrimaryCtxRetain, (CUcontext *, CUdevice))      \
	X(ctx_release, cuDevicePrimaryCtxRelease_v2, (CUdevice))              \
	X(ctx_push, cuCtxPushCurrent_v2, (CUcontext))                         \
	X(ctx_pop, cuCtxPopCurrent_v2, (CUcontext *))                         \
	X(stream_create, cuStreamCreate, (CUstream *, unsigned))              \
	X(stream_destroy, cuStreamDestroy_v2, (CUstream))                     \
	X(stream_wait, cuStreamSynchronize, (CUstream))                       \
	X(mem_alloc, cuMemAlloc_v2, (CUdeviceptr *, size_t))                  \
	X(mem_free, cuMemFree_v2, (CUdeviceptr))                              \
	X(host_alloc, cuMemHostAlloc, (void **, size_t, unsigned))            \
	X(host_free, cuMemFreeHost, (void *))                                 \
	X(host_device, cuMemHostGetDevicePointer_v2,                          \
	  (CUdeviceptr *, void *, unsigned))                                  \
	X(copy_in, cuMemcpyHtoDAsync_v2,                                      \
	  (CUdeviceptr, const void *, size_t, CUstream))                      \
	X(copy_out, cuMemcpyDtoHAsync_v2,                                     \
	  (void *, CUdeviceptr, size_t, CUstream))                            \
	X(module_load, cuModuleLoadData, (CUmodule *, const void *))          \
	X(module_unload, cuModuleUnload, (CUmodule))                          \
	X(module_function, cuModuleGetFunction,                               \
	  (CUfunction *, CUmodule, const char *))                             \
	X(launch, cuLaunchKernel,                                             \
	  (CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned,      \
	   unsigned, unsigned, CUstream, void **, void **))                   \
	X(graph_create, cuGraphCreate, (CUgraph *, unsigned))                 \
	X(graph_add, cuGraphAddKernelNode,                                    \
	  (CUgraphNode *, CUgraph, const CUgraphNode *, size_t,               \
	   const struct bench_node *))                                        \
	X(graph_instantiate, cuGraphInstantiateWithFlags,                     \
	  (CUgraphExec *, CUgraph, unsigned long long))                       \
	X(graph_upload, cuGraphUpload, (CUgraphExec, CUstream))               \
	X(graph_launch, cuGraphLaunch, (CUgraphExec, CUstream))               \
	X(graph_free, cuGraphDestroy, (CUgraph))                              \
	X(graph_exec_free, cuGraphExecDestroy, (CUgraphExec))

struct bench_driver {
#define BENCH_FIELD(field, symbol, args) CUresult(*field) args;
	BENCH_DRIVER(BENCH_FIELD)
#undef BENCH_FIELD
};

struct bench_cuda {
	struct bench_driver d;
	CUdevice device;
	bool retained;
	CUcontext ctx;
	CUstream stream;
	CUmodule module;
	CUfunction null, flag, saxpy;

	/* what it is; "" where it is not known */
	char name[96], bus[32], nvrtc[32], driver_text[80];
	int multiprocessors, major, minor, version;
	/* what it took */
	uint64_t init_ns, context_ns, compile_ns, load_ns;
};

/*
 * Driver, device, context, kernels. 0 or -1 with the reason in `why`; free(3)
 * nothing, call bench_cuda_close() in either case.
 */
int bench_cuda_open(struct bench_cuda *c, uint32_t device, char *why,
		    size_t room);
void bench_cuda_close(struct bench_cuda *c);

/* 0, or -1 with what failed remembered and printed. */
int bench_cuda_check(struct bench *b, CUresult r, const char *what);

/* The steps of the set-up above, as rows. */
void bench_cuda_cold(struct bench *b);

/* Machine code for the device, free(3); or NULL with the reason in `why`.
 * Tells the compiler's version. */
void *bench_cuda_compile(const char *text, int major, int minor,
			 char version[32], char *why, size_t room);

/* A graph of n launches: one after the other, or independent. */
int bench_graph_make(struct bench *b, const struct bench_node *node,
		     unsigned n, bool chain, CUgraphExec *out);

#endif
