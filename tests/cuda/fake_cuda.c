/* SPDX-License-Identifier: Apache-2.0 */
/* Included by the tests that need it; see fake_cuda.h. */
#include "cuda/fake_cuda.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
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
	bool started;  /* and not joined */
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
	return fake_run.started && !mk_load_acquire(&fake_run.ended);
}

void fake_kill_kernel(void)
{
	mk_store_release(&fake_run.dead, 1);
	if (fake_run.die)
		mk_store_release(fake_run.die, 1);
	while (fake_resident())
		usleep(100);
}

/* Count the call; its result if it is to fail. */
static int fake_call(const char *function)
{
	int r = 0;

	pthread_mutex_lock(&fake_lock);
	fake.calls++;
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
	if (fake_resident()) {
		fake.hung++;
		fake.hung_in = function;
	}
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
	(void)device;
	CALL;
	switch (which) {
	case MKC_ATTR_WARP_SIZE: *value = fake.lanes; break;
	case MKC_ATTR_MULTIPROCESSORS: *value = fake.multiprocessors; break;
	case MKC_ATTR_CAN_MAP_HOST: *value = !fake.cannot_map; break;
	case MKC_ATTR_COMPUTE_MODE: *value = fake.mode; break;
	case MKC_ATTR_UNIFIED_ADDRESSING: *value = 1; break;
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
	*ctx = (CUcontext)(uintptr_t)0x1000;
	fake.contexts++;
	return 0;
}

static CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
	(void)device;
	fake.contexts--;
	return 0;
}

static CUresult cuCtxPushCurrent_v2(CUcontext ctx)
{
	(void)ctx;
	CALL;
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

static CUresult cuMemFree_v2(CUdeviceptr at)
{
	would_wait(__func__);
	CALL;
	free((void *)(uintptr_t)at);
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
	CALL;
	free(p);
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

static CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from,
				     size_t bytes, CUstream s)
{
	(void)s;
	CALL;
	memcpy((void *)(uintptr_t)to, from, bytes);
	return 0;
}

static CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes,
				     CUstream s)
{
	(void)s;
	CALL;
	memcpy(to, (const void *)(uintptr_t)from, bytes);
	return 0;
}

/* ---- streams and kernels ------------------------------------------------- */

static CUresult cuStreamCreate(CUstream *s, unsigned flags)
{
	static int number;

	(void)flags;
	CALL;
	*s = (CUstream)(uintptr_t)(0x2000 + ++number);
	fake.streams++;
	return 0;
}

static CUresult cuStreamDestroy_v2(CUstream s)
{
	(void)s;
	fake.streams--;
	return 0;
}

/* The kernel's stream is the only one with anything on it. */
static CUstream kernel_stream;

static CUresult cuStreamQuery(CUstream s)
{
	CALL;
	if (s != kernel_stream)
		return 0;
	if (fake_resident())
		return MKC_NOT_READY;
	if (fake_run.started) {
		pthread_join(fake_run.thread, NULL);
		fake_run.started = false;
	}
	return 0;
}

/* Does what the monitor of the kernel does, for a kernel without workers. */
static void fake_monitor(const struct mkd_launch *l)
{
	struct mkd_mail *m = (struct mkd_mail *)(uintptr_t)l->mail;
	struct mk_context_block *b = (void *)(uintptr_t)l->region;
	uint32_t last = l->last_seq;
	uint64_t idle = 0;

	if (mk_load_relaxed(&b->state) == MK_ENGINE_STARTING)
		mk_store_release(&b->state, MK_ENGINE_READY);
	for (;;) {
		uint32_t seq = mk_load_acquire(&m->seq);

		if (mk_load_acquire(&fake_run.dead))
			return;
		if (seq == last || fake.deaf) {
			usleep(50);
			idle += 50000;
			if (l->idle_ns == UINT64_MAX || idle < l->idle_ns ||
			    l->hold || fake.deaf)
				continue;
			mk_store_release(&m->reason, MKD_REASON_IDLE);
			return;
		}
		idle = 0;
		last = seq;
		if (mk_load_relaxed(&m->command) == MKD_CMD_DETACH)
			mk_store_relaxed(&m->low[m->index], 0);
		mk_store_relaxed(&m->result, 0);
		mk_store_release(&m->ack, seq);
		if (mk_load_relaxed(&m->command) == MKD_CMD_LEAVE) {
			mk_store_release(&m->reason, MKD_REASON_ORDER);
			return;
		}
	}
}

static void *kernel_main(void *arg)
{
	(void)arg;
	if (fake_run.emulate)
		fake_run.emulate(&fake_run.launch, fake_run.blocks,
				 fake_run.threads);
	else
		fake_monitor(&fake_run.launch);
	mk_store_release(&fake_run.ended, 1);
	return NULL;
}

static CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy,
			       unsigned gz, unsigned bx, unsigned by,
			       unsigned bz, unsigned shared, CUstream s,
			       void **args, void **extra)
{
	struct fake_module *m = (struct fake_module *)f;

	(void)shared, (void)extra;
	CALL;
	if (gy != 1 || gz != 1 || by != 1 || bz != 1 || fake_resident())
		return 1;
	if (fake_run.started)
		pthread_join(fake_run.thread, NULL);
	fake.launches++;
	fake.grid = gx;
	fake.block = bx;
	fake_run.launch = *(struct mkd_launch *)args[0];
	fake_run.blocks = gx;
	fake_run.threads = bx;
	fake_run.emulate = NULL;
	fake_run.die = NULL;
	if (m->library) {
		void *entry = dlsym(m->library, "mkd_emulate");

		memcpy(&fake_run.emulate, &entry, sizeof(entry));
		fake_run.die = dlsym(m->library, "mkd_emulate_die");
	}
	mk_store_release(&fake_run.ended, 0);
	kernel_stream = s;
	fake_run.started = !pthread_create(&fake_run.thread, NULL, kernel_main,
					   NULL);
	return fake_run.started ? 0 : MKC_OUT_OF_MEMORY;
}

static CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks,
							    CUfunction f,
							    int threads,
							    size_t shared)
{
	(void)f, (void)threads, (void)shared;
	CALL;
	*blocks = fake.blocks_each;
	return 0;
}

static CUresult cuFuncGetAttribute(int *value, int which, CUfunction f)
{
	(void)which, (void)f;
	CALL;
	*value = 42;
	return 0;
}

/* ---- modules ------------------------------------------------------------- */

void *__real_dlopen(const char *name, int flags);
void *__real_dlsym(void *library, const char *name);

/* An image is "MONITOR <handlers>", or a shared object. */
static CUresult load_emulated(struct fake_module *m, const void *image)
{
	const uint64_t *bytes = (const uint64_t *)image;
	char path[] = "/tmp/mk-fake-XXXXXX";
	int fd = mkstemp(path);
	ssize_t n;
	void *info;

	if (fd < 0)
		return 1;
	n = write(fd, (const char *)image + 16, bytes[1]);
	close(fd);
	m->library = n == (ssize_t)bytes[1] ?
			     __real_dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
	if (!m->library)
		fprintf(stderr, "fake driver: %s\n", dlerror());
	unlink(path);
	if (!m->library)
		return MKC_NO_BINARY_FOR_GPU;
	info = __real_dlsym(m->library, "mkd_info");
	m->info = info;
	m->info_bytes = *(size_t *)__real_dlsym(m->library, "mkd_info_bytes");
	return 0;
}

static CUresult cuModuleLoadDataEx(CUmodule *out, const void *image,
				   unsigned n, int *options, void **values)
{
	struct fake_module *m;
	unsigned handlers;
	CUresult r = 0;

	(void)n, (void)options, (void)values;
	would_wait(__func__);
	CALL;
	m = calloc(1, sizeof(*m));
	if (!memcmp(image, "EMULATE", 8)) {
		r = load_emulated(m, image);
	} else if (sscanf(image, "MONITOR %u", &handlers) == 1) {
		m->info_bytes = handlers * 8u;
		m->info = calloc(handlers, 8);
		for (unsigned i = 0; i < handlers; i++) {
			m->info[2 * i] = 8;
			m->info[2 * i + 1] = MK_WIDTH_WARP;
		}
	} else {
		r = MKC_NO_BINARY_FOR_GPU;
	}
	if (r) {
		free(m);
		return r;
	}
	*out = (CUmodule)m;
	fake.modules++;
	return 0;
}

static CUresult cuModuleUnload(CUmodule module)
{
	struct fake_module *m = (struct fake_module *)module;

	would_wait(__func__);
	if (m->library)
		dlclose(m->library);
	else
		free(m->info);
	free(m);
	fake.modules--;
	return 0;
}

static CUresult cuModuleGetFunction(CUfunction *f, CUmodule module,
				    const char *name)
{
	CALL;
	if (strcmp(name, "mkd_kernel") != 0)
		return 500;
	*f = (CUfunction)module;
	return 0;
}

static CUresult cuModuleGetGlobal_v2(CUdeviceptr *at, size_t *bytes,
				     CUmodule module, const char *name)
{
	struct fake_module *m = (struct fake_module *)module;

	CALL;
	if (strcmp(name, "mkd_info") != 0)
		return 500;
	*at = (uintptr_t)m->info;
	*bytes = m->info_bytes;
	return 0;
}

/* ---- NVRTC --------------------------------------------------------------- */

struct fake_program {
	const char *source;
	int headers;
	const char *const *texts, *const *names;
	char *image, log[4096];
	size_t bytes;
};

const char *fake_compiler(void)
{
	const char *cxx = getenv("CXX");

	if (cxx && *cxx)
		return cxx;
	return access("/usr/bin/c++", X_OK) ? NULL : "/usr/bin/c++";
}

/* The text of emulate.h, as a number: the cache goes by the version. */
static unsigned emulator_version(void)
{
	const char *tree = getenv("MEGAKERNEL_SOURCE");
	char path[512];
	unsigned hash = 2166136261u;
	FILE *f;
	int c;

	snprintf(path, sizeof(path), "%s/tests/cuda/emulate.h",
		 tree ? tree : ".");
	f = fopen(path, "r");
	while (f && (c = fgetc(f)) != EOF)
		hash = (hash ^ (unsigned)c) * 16777619u;
	if (f)
		fclose(f);
	return hash % 1000000u;
}

static int nvrtcVersion(int *major, int *minor)
{
	*major = 13;
	*minor = (int)emulator_version();
	return 0;
}

static int nvrtcGetNumSupportedArchs(int *n)
{
	*n = 2;
	return 0;
}

static int nvrtcGetSupportedArchs(int *list)
{
	list[0] = 75;
	list[1] = 90;
	return 0;
}

static int nvrtcCreateProgram(void **out, const char *source, const char *name,
			      int headers, const char *const *texts,
			      const char *const *names)
{
	struct fake_program *p = calloc(1, sizeof(*p));

	(void)name;
	p->source = source;
	p->headers = headers;
	p->texts = texts;
	p->names = names;
	*out = p;
	return 0;
}

static int nvrtcDestroyProgram(void **program)
{
	struct fake_program *p = *program;

	free(p->image);
	free(p);
	*program = NULL;
	return 0;
}

static int fake_put_file(const char *dir, const char *name, const char *text,
		    const char *more)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	for (char *p = path + strlen(dir) + 1; *p; p++)
		if (*p == '/') {
			*p = '\0';
			mkdir(path, 0700);
			*p = '/';
		}
	f = fopen(path, "w");
	if (!f)
		return -1;
	fprintf(f, "%s%s", text, more);
	return fclose(f);
}

static bool is_system_header(const char *name)
{
	return !strncmp(name, "std", 3) || !strcmp(name, "string.h") ||
	       !strcmp(name, "math.h") || !strcmp(name, "limits.h");
}

/* What emulate.h cannot define itself. */
static const char entry[] =
	"\nstatic void emu_kernel(const void *l)\n"
	"{ mkd_kernel(*(const struct mkd_launch *)l); }\n"
	"extern \"C\" __attribute__((visibility(\"default\")))\n"
	"size_t mkd_info_bytes;\nsize_t mkd_info_bytes = sizeof(mkd_info);\n";

static int fake_read_file(const char *path, char **out, size_t *bytes,
			  size_t head)
{
	FILE *f = fopen(path, "r");
	struct stat st;

	if (!f || fstat(fileno(f), &st)) {
		if (f)
			fclose(f);
		return -1;
	}
	*out = calloc(1, head + (size_t)st.st_size + 1);
	*bytes = fread(*out + head, 1, (size_t)st.st_size, f);
	fclose(f);
	return 0;
}

static int compile_emulated(struct fake_program *p)
{
	const char *tree = getenv("MEGAKERNEL_SOURCE");
	char dir[] = "/tmp/mk-emulate-XXXXXX", command[1024], path[128];
	char *log = NULL;
	size_t bytes = 0;
	int r = 0;

	if (!mkdtemp(dir))
		return 6;
	for (int i = 0; i < p->headers && !r; i++)
		if (!is_system_header(p->names[i]) &&
		    strcmp(p->names[i], "device.cuh") != 0)
			r = fake_put_file(dir, p->names[i], p->texts[i], "");
	if (!r)
		r = fake_put_file(dir, "main.cc", p->source, entry);
	snprintf(command, sizeof(command),
		 "cp %s/tests/cuda/emulate.h %s/device.cuh && cd %s && "
		 "%s -std=c++17 -O1 -g -w -fPIC -shared -fvisibility=hidden "
		 "-U_FORTIFY_SOURCE -I. -iquote . main.cc -o main.so -lpthread "
		 ">log 2>&1", tree ? tree : ".", dir, dir, fake_compiler());
	if (!r)
		r = system(command);
	snprintf(path, sizeof(path), "%s/log", dir);
	if (r && !fake_read_file(path, &log, &bytes, 0))
		snprintf(p->log, sizeof(p->log), "%s", log);
	free(log);
	snprintf(path, sizeof(path), "%s/main.so", dir);
	if (!r)
		r = fake_read_file(path, &p->image, &bytes, 16);
	if (!r) {
		memcpy(p->image, "EMULATE", 8);
		memcpy(p->image + 8, &(uint64_t){ bytes }, 8);
		p->bytes = bytes + 16;
	}
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) || r ? 6 : 0;
}

static int nvrtcCompileProgram(void *program, int n, const char *const *options)
{
	struct fake_program *p = program;
	unsigned handlers = 0;

	(void)n, (void)options;
	fake.compiles++;
	if (fake.compile_error) {
		snprintf(p->log, sizeof(p->log),
			 "module-1.c(3): error: expected a \";\"");
		return 6;
	}
	if (fake.kernel == FAKE_EMULATED)
		return compile_emulated(p);
	for (const char *at = p->source;
	     (at = strstr(at, "\tMKD_BYTES_OF(")); at++)
		handlers++;
	p->image = calloc(1, 64);
	p->bytes = 64;
	snprintf(p->image, 64, "MONITOR %u", handlers);
	return 0;
}

static int nvrtcGetProgramLogSize(void *program, size_t *bytes)
{
	*bytes = strlen(((struct fake_program *)program)->log) + 1;
	return 0;
}

static int nvrtcGetProgramLog(void *program, char *log)
{
	strcpy(log, ((struct fake_program *)program)->log);
	return 0;
}

static int nvrtcGetCUBINSize(void *program, size_t *bytes)
{
	*bytes = ((struct fake_program *)program)->bytes;
	return 0;
}

static int nvrtcGetCUBIN(void *program, char *out)
{
	struct fake_program *p = program;

	memcpy(out, p->image, p->bytes);
	return 0;
}

/* ---- the libraries ------------------------------------------------------- */

static char driver_library, nvrtc_library;

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
	if (name && strstr(name, "libnvrtc"))
		return fake.no_nvrtc ? NULL : &nvrtc_library;
	return __real_dlopen(name, flags);
}

void *__wrap_dlsym(void *library, const char *name)
{
	void *found;

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
