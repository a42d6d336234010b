/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake driver as a library that programs load for the real one, with the
 * calls of somebody who shares the process: those that wait for every kernel
 * do wait. tests/tools/test_neighbour.sh builds it.
 */
#include <dlfcn.h>
#include <stddef.h>

#include "cuda/fake_cuda.c"

void *__real_dlopen(const char *name, int flags)
{
	return dlopen(name, flags);
}

void *__real_dlsym(void *library, const char *name)
{
	return dlsym(library, name);
}

__attribute__((constructor)) static void fake_begin(void)
{
	fake_reset();
	fake_cache();
	fake.kernel = FAKE_EMULATED;
	fake.waits = true;
}

#define EXPORT __attribute__((visibility("default")))

EXPORT CUresult cuCtxSetCurrent(CUcontext ctx);
EXPORT CUresult cuCtxSynchronize(void);
EXPORT CUresult cuStreamSynchronize(CUstream s);
EXPORT CUresult cuMemAllocAsync(CUdeviceptr *at, size_t bytes, CUstream s);
EXPORT CUresult cuMemFreeAsync(CUdeviceptr at, CUstream s);
EXPORT CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t n);
EXPORT CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t n);
EXPORT CUresult cuModuleLoadData(CUmodule *out, const void *image);
EXPORT CUresult cuStreamBeginCapture_v2(CUstream s, int mode);
EXPORT CUresult cuStreamEndCapture(CUstream s, void **graph);
EXPORT CUresult cuGraphInstantiateWithFlags(void **out, void *graph,
					    unsigned long long flags);
EXPORT CUresult cuGraphLaunch(void *graph, CUstream s);

CUresult cuCtxSetCurrent(CUcontext ctx)
{
	(void)ctx;
	return 0;
}

CUresult cuCtxSynchronize(void)
{
	would_wait(__func__);
	return 0;
}

CUresult cuStreamSynchronize(CUstream s)
{
	(void)s;
	return 0;
}

CUresult cuMemAllocAsync(CUdeviceptr *at, size_t bytes, CUstream s)
{
	(void)s;
	return cuMemAlloc_v2(at, bytes);
}

CUresult cuMemFreeAsync(CUdeviceptr at, CUstream s)
{
	(void)s;
	free((void *)(uintptr_t)at);
	return 0;
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t n)
{
	memcpy((void *)(uintptr_t)to, from, n);
	return 0;
}

CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t n)
{
	memcpy(to, (const void *)(uintptr_t)from, n);
	return 0;
}

CUresult cuModuleLoadData(CUmodule *out, const void *image)
{
	return cuModuleLoadDataEx(out, image, 0, NULL, NULL);
}

CUresult cuStreamBeginCapture_v2(CUstream s, int mode)
{
	(void)s, (void)mode;
	return 0;
}

CUresult cuStreamEndCapture(CUstream s, void **graph)
{
	(void)s;
	*graph = &fake;
	return 0;
}

CUresult cuGraphInstantiateWithFlags(void **out, void *graph,
				     unsigned long long flags)
{
	(void)flags;
	*out = graph;
	return 0;
}

CUresult cuGraphLaunch(void *graph, CUstream s)
{
	(void)graph, (void)s;
	return 0;
}

/* In the table of the program's calls, but only `bench` makes these. */
#define NOT_SUPPORTED(name)         \
	EXPORT CUresult name(void); \
	CUresult name(void)         \
	{                           \
		return 801;         \
	}

NOT_SUPPORTED(cuDeviceGetPCIBusId)
NOT_SUPPORTED(cuDevicePrimaryCtxSetFlags_v2)
NOT_SUPPORTED(cuGraphCreate)
NOT_SUPPORTED(cuGraphAddKernelNode)
NOT_SUPPORTED(cuGraphUpload)
NOT_SUPPORTED(cuGraphDestroy)
NOT_SUPPORTED(cuGraphExecDestroy)
