/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CUDA driver, found at run time. Nothing of CUDA is needed to build and
 * nothing is linked: the few types and functions that we use are declared
 * here, and compared with <cuda.h> by tests/cuda/test_driver.c where that
 * exists.
 */
#ifndef MK_CUDA_DRIVER_H
#define MK_CUDA_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;

struct mkc_ipc_handle { /* CUipcMemHandle */
	char bytes[64];
};

/* The results and constants that we tell apart. */
enum {
	MKC_SUCCESS = 0,
	MKC_INVALID_VALUE = 1,
	MKC_OUT_OF_MEMORY = 2,
	MKC_NO_DEVICE = 100,
	MKC_INVALID_DEVICE = 101,
	MKC_DEVICE_UNAVAILABLE = 46,
	MKC_NO_BINARY_FOR_GPU = 209,
	MKC_ECC = 214,
	MKC_NOT_READY = 600,
	MKC_UNKNOWN = 999,

	MKC_ATTR_MAX_THREADS_PER_BLOCK = 1,
	MKC_ATTR_WARP_SIZE = 10,
	MKC_ATTR_CLOCK_KHZ = 13,
	MKC_ATTR_MULTIPROCESSORS = 16,
	MKC_ATTR_CAN_MAP_HOST = 19,
	MKC_ATTR_COMPUTE_MODE = 20,
	MKC_ATTR_UNIFIED_ADDRESSING = 41,
	MKC_ATTR_MAJOR = 75,
	MKC_ATTR_MINOR = 76,
	MKC_ATTR_HOST_REGISTER = 99,

	MKC_MODE_PROHIBITED = 2,
	MKC_MODE_EXCLUSIVE = 3,

	MKC_CTX_SCHED_SPIN = 1,
	MKC_CTX_MAP_HOST = 8,
	MKC_STREAM_NON_BLOCKING = 1,
	MKC_HOST_PORTABLE = 1,
	MKC_HOST_DEVICEMAP = 2,

	MKC_FUNC_SHARED_BYTES = 1,
	MKC_FUNC_LOCAL_BYTES = 3,
	MKC_FUNC_REGISTERS = 4,
	MKC_FUNC_CARVEOUT = 9, /* shared memory of an SM, in hundredths */

	MKC_POINTER_CONTEXT = 1,
	MKC_POINTER_MEMORY_TYPE = 2,
	MKC_POINTER_MANAGED = 8,
	MKC_POINTER_ORDINAL = 9,
	MKC_MEMORY_DEVICE = 2,
	MKC_IPC_LAZY_PEER = 1,

	MKC_JIT_ERROR_LOG = 5,
	MKC_JIT_ERROR_LOG_BYTES = 6
};

/* X(field, symbol, arguments) */
#define MKC_DRIVER(X)                                                         \
	X(init, cuInit, (unsigned))                                           \
	X(driver_version, cuDriverGetVersion, (int *))                        \
	X(error_name, cuGetErrorName, (CUresult, const char **))              \
	X(error_string, cuGetErrorString, (CUresult, const char **))          \
	X(device_count, cuDeviceGetCount, (int *))                            \
	X(device_get, cuDeviceGet, (CUdevice *, int))                         \
	X(device_name, cuDeviceGetName, (char *, int, CUdevice))              \
	X(device_attribute, cuDeviceGetAttribute, (int *, int, CUdevice))     \
	X(device_memory, cuDeviceTotalMem_v2, (size_t *, CUdevice))           \
	X(ctx_retain, cuDevicePrimaryCtxRetain, (CUcontext *, CUdevice))      \
	X(ctx_release, cuDevicePrimaryCtxRelease_v2, (CUdevice))              \
	X(ctx_push, cuCtxPushCurrent_v2, (CUcontext))                         \
	X(ctx_pop, cuCtxPopCurrent_v2, (CUcontext *))                         \
	X(ctx_device, cuCtxGetDevice, (CUdevice *))                           \
	X(stream_ctx, cuStreamGetCtx, (CUstream, CUcontext *))                \
	X(stream_flags, cuStreamGetFlags, (CUstream, unsigned *))             \
	X(stream_create, cuStreamCreate, (CUstream *, unsigned))              \
	X(stream_destroy, cuStreamDestroy_v2, (CUstream))                     \
	X(stream_query, cuStreamQuery, (CUstream))                            \
	X(mem_alloc, cuMemAlloc_v2, (CUdeviceptr *, size_t))                  \
	X(mem_free, cuMemFree_v2, (CUdeviceptr))                              \
	X(host_alloc, cuMemHostAlloc, (void **, size_t, unsigned))            \
	X(host_free, cuMemFreeHost, (void *))                                 \
	X(host_register, cuMemHostRegister_v2, (void *, size_t, unsigned))    \
	X(host_unregister, cuMemHostUnregister, (void *))                     \
	X(host_device, cuMemHostGetDevicePointer_v2,                          \
	  (CUdeviceptr *, void *, unsigned))                                  \
	X(address_range, cuMemGetAddressRange_v2,                             \
	  (CUdeviceptr *, size_t *, CUdeviceptr))                             \
	X(pointer_attribute, cuPointerGetAttribute,                           \
	  (void *, int, CUdeviceptr))                                         \
	X(ipc_open, cuIpcOpenMemHandle_v2,                                    \
	  (CUdeviceptr *, struct mkc_ipc_handle, unsigned))                   \
	X(ipc_close, cuIpcCloseMemHandle, (CUdeviceptr))                      \
	X(copy_to_device, cuMemcpyHtoDAsync_v2,                               \
	  (CUdeviceptr, const void *, size_t, CUstream))                      \
	X(copy_to_host, cuMemcpyDtoHAsync_v2,                                 \
	  (void *, CUdeviceptr, size_t, CUstream))                            \
	X(module_load, cuModuleLoadDataEx,                                    \
	  (CUmodule *, const void *, unsigned, int *, void **))               \
	X(module_unload, cuModuleUnload, (CUmodule))                          \
	X(module_function, cuModuleGetFunction,                               \
	  (CUfunction *, CUmodule, const char *))                             \
	X(module_global, cuModuleGetGlobal_v2,                                \
	  (CUdeviceptr *, size_t *, CUmodule, const char *))                  \
	X(func_attribute, cuFuncGetAttribute, (int *, int, CUfunction))       \
	X(func_set, cuFuncSetAttribute, (CUfunction, int, int))               \
	X(occupancy, cuOccupancyMaxActiveBlocksPerMultiprocessor,             \
	  (int *, CUfunction, int, size_t))                                   \
	X(launch, cuLaunchKernel,                                             \
	  (CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned,      \
	   unsigned, unsigned, CUstream, void **, void **))

struct mkc_driver {
	void *library;
	int version; /* 1000 * major + 10 * minor, of the driver */
	int devices;
#define MKC_FIELD(field, symbol, args) CUresult(*field) args;
	MKC_DRIVER(MKC_FIELD)
#undef MKC_FIELD
};

#define MKC_VERSION_MIN 11040 /* the oldest driver that we say we know */

/*
 * The driver, loaded and initialised: once for the process, kept for ever,
 * since a driver that was used cannot be unloaded. A failure is not kept: the
 * next call tries again.
 *
 * -MK_EENGINE with the sentence recorded: no library, a symbol is missing, it
 * is too old, it does not start, or it has no device.
 */
int mkc_driver_get(const struct mkc_driver **out);

/* The compute capability of a device. -MK_EENGINE, with the reason. */
int mkc_driver_arch(uint32_t device, int *major, int *minor);

/* Is the device, or the context on it, lost by this? All else is that this
 * machine does not have, or not allow, something, or not now. */
bool mkc_is_loss(CUresult result);

/* Record a failed driver call: `what` was being done. The result is kept, with
 * its name, the driver's words and what to do. Returns the code. */
int mkc_fail_as(const struct mkc_driver *d, int code, CUresult result,
		const char *operation, const char *what);

/* The same of a device that the driver does not describe: -MK_EENGINE. */
int mkc_fail_device(const struct mkc_driver *d, CUresult result,
		    uint32_t device);

/* The same with the code that goes with the result: -ENOMEM, -MK_EDEVLOST if
 * it is a loss, else -MK_EENGINE. */
int mkc_fail(const struct mkc_driver *d, CUresult result,
	     const char *operation, const char *what);

#endif
