/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Included by the tests that need it; see fake_cuda.h. Here: what all parts
 * share, devices, memory, streams, and what dlsym finds. The kernel and its
 * modules are in fake_kernel.c, the compiler in fake_nvrtc.c.
 */
#include "cuda/fake_cuda.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <megakernel.h>

#include "base/order.h"
#include "engine/cuda/driver.h"
#include "engine/cuda/resident.h"

#define FAULT 719 /* CUDA_ERROR_LAUNCH_FAILED */

struct fake_cuda fake;

static pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	pthread_t thread;
	uint32_t started; /* and not joined; store-release */
	uint32_t ended; /* store-release */
	uint32_t dead;  /* store-release: everything fails now */
	struct mkd_launch launch;
	uint32_t blocks, threads;
	void (*emulate)(const void *, uint32_t, uint32_t);
	int *die; /* of the emulated kernel; store-release */
} fake_run;

/* What a "module" is. */
struct fake_module {
	void *library; /* emulated */
	uint32_t *info;
	size_t info_bytes;
};

void fake_reset(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.version = 13000;
	fake.devices = 1;
	fake.multiprocessors = 2;
	fake.major = 9;
	fake.lanes = 32;
	fake.blocks_each = 4;
	fake.stream_ctx = FAKE_PRIMARY;
	fake.stream_flags = MKC_STREAM_NON_BLOCKING;
	mk_store_release(&fake_run.dead, 0);
}

void fake_cache(void)
{
	const char *cache = getenv("XDG_CACHE_HOME");
	char path[512];

	snprintf(path, sizeof(path), "%s/fake", cache ? cache : "/tmp");
	setenv("XDG_CACHE_HOME", path, 1);
}

bool fake_resident(void)
{
	return mk_load_acquire(&fake_run.started) &&
	       !mk_load_acquire(&fake_run.ended);
}

void fake_kill_kernel(void)
{
	mk_store_release(&fake_run.dead, 1);
	if (fake_run.die)
		mk_store_release(fake_run.die, 1);
	while (fake_resident())
		usleep(100);
}

unsigned fake_calls(void)
{
	unsigned n;

	pthread_mutex_lock(&fake_lock);
	n = fake.calls;
	pthread_mutex_unlock(&fake_lock);
	return n;
}

unsigned fake_other_calls(void)
{
	unsigned calls;

	pthread_mutex_lock(&fake_lock);
	calls = fake.calls - fake.queries;
	pthread_mutex_unlock(&fake_lock);
	return calls;
}

void fake_fail(const char *function, int with)
{
	pthread_mutex_lock(&fake_lock);
	fake.fail_at = 0;
	fake.fail_function = function;
	fake.fail_with = with;
	pthread_mutex_unlock(&fake_lock);
}

unsigned fake_launches(void)
{
	return mk_load_relaxed(&fake.launches);
}

/* Count the call; its result if it is to fail. */
static int fake_call(const char *function)
{
	int r = 0;

	/* somebody else is in a call that holds the driver */
	while (mk_load_acquire(&fake.locked) && fake_resident())
		usleep(100);
	pthread_mutex_lock(&fake_lock);
	fake.calls++;
	fake.queries += !strcmp(function, "cuStreamQuery");
	if ((fake.fail_at && fake.calls == fake.fail_at) ||
	    (fake.fail_function && !strcmp(fake.fail_function, function))) {
		r = fake.fail_with;
		fake.failed = function;
	} else if (mk_load_acquire(&fake_run.dead)) {
		r = FAULT;
	}
	pthread_mutex_unlock(&fake_lock);
	return r;
}

/* A call that waits for the end of every kernel. */
static void would_wait(const char *function)
{
	if (!fake_resident())
		return;
	fake.hung++;
	fake.hung_in = function;
	while (fake.waits && fake_resident())
		usleep(100);
}

#define CALL                                   \
	do {                                   \
		int failed_ = fake_call(__func__);  \
		if (failed_)                   \
			return failed_;        \
	} while (0)

/* ---- devices and contexts ------------------------------------------------ */

static CUresult cuInit(unsigned flags)
{
	(void)flags;
	CALL;
	return fake.devices ? 0 : MKC_NO_DEVICE;
}

static CUresult cuDriverGetVersion(int *version)
{
	CALL;
	*version = fake.version;
	return 0;
}

static CUresult cuGetErrorName(CUresult r, const char **name)
{
	*name = r == MKC_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" :
		r == FAULT ? "CUDA_ERROR_LAUNCH_FAILED" : "CUDA_ERROR_FAKE";
	return 0;
}

static CUresult cuGetErrorString(CUresult r, const char **text)
{
	(void)r;
	*text = "as the test wanted it";
	return 0;
}

static CUresult cuDeviceGetCount(int *count)
{
	CALL;
	*count = fake.devices;
	return 0;
}

static CUresult cuDeviceGet(CUdevice *device, int number)
{
	CALL;
	if (number >= fake.devices)
		return MKC_INVALID_DEVICE;
	*device = number;
	return 0;
}

static CUresult cuDeviceGetName(char *name, int room, CUdevice device)
{
	(void)device;
	CALL;
	snprintf(name, (size_t)room, "Fake GPU");
	return 0;
}

static CUresult cuDeviceGetAttribute(int *value, int which, CUdevice device)
{
	CALL;
	switch (which) {
	case MKC_ATTR_CLOCK_KHZ: *value = 1980000; break;
	case MKC_ATTR_WARP_SIZE: *value = fake.lanes; break;
	case MKC_ATTR_MULTIPROCESSORS: *value = fake.multiprocessors; break;
	case MKC_ATTR_CAN_MAP_HOST: *value = !fake.cannot_map; break;
	case MKC_ATTR_COMPUTE_MODE:
		*value = fake.prohibited >> device & 1 ? MKC_MODE_PROHIBITED :
							 fake.mode;
		break;
	case MKC_ATTR_UNIFIED_ADDRESSING: *value = !fake.apart; break;
	case MKC_ATTR_MAJOR: *value = fake.major; break;
	case MKC_ATTR_MINOR: *value = fake.minor; break;
	default: return 1;
	}
	return 0;
}

static CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
	(void)device;
	CALL;
	*bytes = 1u << 30;
	return 0;
}

static CUresult cuDevicePrimaryCtxRetain(CUcontext *ctx, CUdevice device)
{
	(void)device;
	CALL;
	if (fake.mode == MKC_MODE_EXCLUSIVE)
		return MKC_DEVICE_UNAVAILABLE;
	*ctx = (CUcontext)(uintptr_t)FAKE_PRIMARY;
	fake.contexts++;
	return 0;
}

static CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
	(void)device;
	fake.contexts--;
	return 0;
}

static CUresult cuCtxGetDevice(CUdevice *device)
{
	CALL;
	*device = fake.context_device;
	return 0;
}

static CUresult cuCtxPushCurrent_v2(CUcontext ctx)
{
	CALL;
	if ((uintptr_t)ctx == FAKE_BAD_CONTEXT)
		return 201;
	mk_add_seq(&fake.pushed, 1);
	return 0;
}

static CUresult cuCtxPopCurrent_v2(CUcontext *ctx)
{
	*ctx = NULL;
	mk_sub_seq(&fake.pushed, 1);
	return 0;
}

/* ---- memory -------------------------------------------------------------- */

static CUresult cuMemAlloc_v2(CUdeviceptr *at, size_t bytes)
{
	void *p;

	CALL;
	p = aligned_alloc(512, (bytes + 511) & ~(size_t)511);
	if (!p)
		return MKC_OUT_OF_MEMORY;
	/* a device's memory is not cleared */
	memset(p, 0xa5, bytes < 1u << 20 ? bytes : 1u << 20);
	*at = (uintptr_t)p;
	fake.device_memory++;
	return 0;
}

/* A call that fails has given nothing back, by the count. The storage goes all
 * the same: it is no leak of the engine's. */
static CUresult cuMemFree_v2(CUdeviceptr at)
{
	would_wait(__func__);
	free((void *)(uintptr_t)at);
	CALL;
	fake.device_memory--;
	return 0;
}

static CUresult cuMemHostAlloc(void **p, size_t bytes, unsigned flags)
{
	(void)flags;
	CALL;
	*p = aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095);
	if (!*p)
		return MKC_OUT_OF_MEMORY;
	fake.host_memory++;
	return 0;
}

static CUresult cuMemFreeHost(void *p)
{
	would_wait(__func__);
	free(p);
	CALL;
	fake.host_memory--;
	return 0;
}

static CUresult cuMemHostRegister_v2(void *p, size_t bytes, unsigned flags)
{
	(void)p, (void)bytes, (void)flags;
	CALL;
	fake.registered++;
	return 0;
}

static CUresult cuMemHostUnregister(void *p)
{
	(void)p;
	would_wait(__func__);
	fake.registered--;
	return 0;
}

static CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *at, void *p,
					     unsigned flags)
{
	(void)flags;
	CALL;
	*at = (uintptr_t)p;
	return 0;
}

#include "cuda/fake_memory.c"

/* ---- streams ------------------------------------------------------------- */

static CUresult cuStreamCreate(CUstream *s, unsigned flags)
{
	static int number;

	(void)flags;
	CALL;
	*s = (CUstream)(uintptr_t)(0x2000 + ++number);
	fake.streams++;
	return 0;
}

/* What the test gave the engine. */
static CUresult cuStreamGetCtx(CUstream s, CUcontext *ctx)
{
	CALL;
	if ((uintptr_t)s < 0x2000)
		return 400;
	*ctx = (CUcontext)fake.stream_ctx;
	return 0;
}

static CUresult cuStreamGetFlags(CUstream s, unsigned *flags)
{
	(void)s;
	CALL;
	*flags = fake.stream_flags;
	return 0;
}

static CUresult cuStreamDestroy_v2(CUstream s)
{
	(void)s;
	fake.streams--;
	return 0;
}

/* The rest of the driver, and NVRTC; they use what stands above. */
#include "cuda/fake_kernel.c"
#include "cuda/fake_nvrtc.c"

/* ---- the libraries ------------------------------------------------------- */

static char driver_library, nvrtc_library, bad_library;

static const struct {
	const char *name;
	void (*function)(void);
} symbols[] = {
#define FAKE(name) { #name, (void (*)(void))name },
#define FAKE_DRIVER(field, symbol, args) FAKE(symbol)
	MKC_DRIVER(FAKE_DRIVER)
	FAKE(nvrtcVersion)
	FAKE(nvrtcGetNumSupportedArchs)
	FAKE(nvrtcGetSupportedArchs)
	FAKE(nvrtcCreateProgram)
	FAKE(nvrtcDestroyProgram)
	FAKE(nvrtcCompileProgram)
	FAKE(nvrtcGetProgramLogSize)
	FAKE(nvrtcGetProgramLog)
	FAKE(nvrtcGetCUBINSize)
	FAKE(nvrtcGetCUBIN)
};

void *__wrap_dlopen(const char *name, int flags);
void *__wrap_dlsym(void *library, const char *name);

void *__wrap_dlopen(const char *name, int flags)
{
	if (name && strstr(name, "libcuda.so"))
		return fake.no_driver ? __real_dlopen("/no/libcuda.so.1",
						      flags) :
					&driver_library;
	if (name && fake.bad_nvrtc && !strcmp(name, fake.bad_nvrtc))
		return &bad_library;
	if (name && strstr(name, "libnvrtc"))
		return fake.no_nvrtc ? NULL : &nvrtc_library;
	return __real_dlopen(name, flags);
}

void *__wrap_dlsym(void *library, const char *name)
{
	void *found;

	if (library == &bad_library)
		return NULL;
	if (library != &driver_library && library != &nvrtc_library)
		return __real_dlsym(library, name);
	if (fake.missing && !strcmp(fake.missing, name))
		return NULL;
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++)
		if (!strcmp(symbols[i].name, name)) {
			memcpy(&found, &symbols[i].function, sizeof(found));
			return found;
		}
	return NULL;
}
