/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls of the CUDA driver that the program makes beside the library:
 * found at run time, as the engine finds its own, but not the engine's.
 */
#ifndef CUDA_CALLS_H
#define CUDA_CALLS_H

#include <stddef.h>

#include "engine/cuda/driver.h"

typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphNode_st *CUgraphNode;
typedef struct CUgraphExec_st *CUgraphExec;

/* CUDA_KERNEL_NODE_PARAMS_v1 of <cuda.h>. */
struct cuda_node {
	CUfunction function;
	unsigned grid[3], block[3], shared_bytes;
	void **params, **extra;
};

/* X(field, symbol, arguments); all are in CUDA 11.4. */
#define CUDA_CALLS(X)                                                         \
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
	X(ctx_set, cuCtxSetCurrent, (CUcontext))                              \
	X(ctx_wait, cuCtxSynchronize, (void))                                 \
	X(stream_create, cuStreamCreate, (CUstream *, unsigned))              \
	X(stream_destroy, cuStreamDestroy_v2, (CUstream))                     \
	X(stream_wait, cuStreamSynchronize, (CUstream))                       \
	X(mem_alloc, cuMemAlloc_v2, (CUdeviceptr *, size_t))                  \
	X(mem_free, cuMemFree_v2, (CUdeviceptr))                              \
	X(mem_alloc_async, cuMemAllocAsync,                                   \
	  (CUdeviceptr *, size_t, CUstream))                                  \
	X(mem_free_async, cuMemFreeAsync, (CUdeviceptr, CUstream))            \
	X(host_alloc, cuMemHostAlloc, (void **, size_t, unsigned))            \
	X(host_free, cuMemFreeHost, (void *))                                 \
	X(host_device, cuMemHostGetDevicePointer_v2,                          \
	  (CUdeviceptr *, void *, unsigned))                                  \
	X(copy_in, cuMemcpyHtoD_v2, (CUdeviceptr, const void *, size_t))      \
	X(copy_out, cuMemcpyDtoH_v2, (void *, CUdeviceptr, size_t))           \
	X(copy_in_async, cuMemcpyHtoDAsync_v2,                                \
	  (CUdeviceptr, const void *, size_t, CUstream))                      \
	X(copy_out_async, cuMemcpyDtoHAsync_v2,                               \
	  (void *, CUdeviceptr, size_t, CUstream))                            \
	X(module_load, cuModuleLoadData, (CUmodule *, const void *))          \
	X(module_unload, cuModuleUnload, (CUmodule))                          \
	X(module_function, cuModuleGetFunction,                               \
	  (CUfunction *, CUmodule, const char *))                             \
	X(launch, cuLaunchKernel,                                             \
	  (CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned,      \
	   unsigned, unsigned, CUstream, void **, void **))                   \
	X(capture_begin, cuStreamBeginCapture_v2, (CUstream, int))            \
	X(capture_end, cuStreamEndCapture, (CUstream, CUgraph *))             \
	X(graph_create, cuGraphCreate, (CUgraph *, unsigned))                 \
	X(graph_add, cuGraphAddKernelNode,                                    \
	  (CUgraphNode *, CUgraph, const CUgraphNode *, size_t,               \
	   const struct cuda_node *))                                         \
	X(graph_instantiate, cuGraphInstantiateWithFlags,                     \
	  (CUgraphExec *, CUgraph, unsigned long long))                       \
	X(graph_upload, cuGraphUpload, (CUgraphExec, CUstream))               \
	X(graph_launch, cuGraphLaunch, (CUgraphExec, CUstream))               \
	X(graph_free, cuGraphDestroy, (CUgraph))                              \
	X(graph_exec_free, cuGraphExecDestroy, (CUgraphExec))

struct cuda_calls {
#define CUDA_FIELD(field, symbol, args) CUresult(*field) args;
	CUDA_CALLS(CUDA_FIELD)
#undef CUDA_FIELD
};

/* Find all of them: 0, or -1 with the reason in `why`. The driver stays
 * loaded. */
int cuda_calls_load(struct cuda_calls *c, char *why, size_t room);

#endif
