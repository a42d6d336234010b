/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/cuda/compiler.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

typedef int nvrtcResult;
typedef struct _nvrtcProgram *nvrtcProgram;

enum { NVRTC_OK = 0, NVRTC_OUT_OF_MEMORY = 1, NVRTC_COMPILATION = 6 };

/* X(field, symbol, arguments) */
#define NVRTC(X)                                                              \
	X(version, nvrtcVersion, (int *, int *))                              \
	X(arch_count, nvrtcGetNumSupportedArchs, (int *))                     \
	X(archs, nvrtcGetSupportedArchs, (int *))                             \
	X(create, nvrtcCreateProgram,                                         \
	  (nvrtcProgram *, const char *, const char *, int,                   \
	   const char *const *, const char *const *))                         \
	X(destroy, nvrtcDestroyProgram, (nvrtcProgram *))                     \
	X(compile, nvrtcCompileProgram,                                       \
	  (nvrtcProgram, int, const char *const *))                           \
	X(log_size, nvrtcGetProgramLogSize, (nvrtcProgram, size_t *))         \
	X(log, nvrtcGetProgramLog, (nvrtcProgram, char *))                    \
	X(cubin_size, nvrtcGetCUBINSize, (nvrtcProgram, size_t *))            \
	X(cubin, nvrtcGetCUBIN, (nvrtcProgram, char *))

static struct {
	void *library;
#define NVRTC_FIELD(field, symbol, args) nvrtcResult(*field) args;
	NVRTC(NVRTC_FIELD)
#undef NVRTC_FIELD
} rtc;
static char version[32]; /* "": there is none yet */
static uint32_t number; /* the same: 1000 * major + 10 * minor */
static bool has_cpp20; /* with designated initializers, as in C */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/*
 * Handlers shall give the answers that they give on a CPU: no fused
 * multiply-add that the source does not ask for. What has no execution space
 * is for the device, since there is nothing else here.
 */
static const char *const options[] = {
	"--device-as-default-execution-space", "--fmad=false",
};

#define OPTIONS (sizeof(options) / sizeof(options[0]))

const char *mkc_compiler_option(unsigned i)
{
	return i < OPTIONS ? options[i] : NULL;
}

/*
 * The assembler takes the kernel and all that it calls for one function, and
 * its time grows faster than that. Told to be quick it takes each function by
 * itself, and much is left as it stands in the source.
 */
const char *mkc_compiler_quick(void)
{
	return "--ptxas-options=--Ofast-compile=min";
}

#define QUICK_SINCE 13000u /* the first release that is known to take it */

/* All functions, or the name of one that is missing. */
static const char *load_symbols(void *library)
{
#define NVRTC_LOAD(field, symbol, args)                                       \
	do {                                                                  \
		void *found = dlsym(library, #symbol);                        \
									      \
		if (!found)                                                   \
			return #symbol;                                       \
		memcpy(&rtc.field, &found, sizeof(found));                    \
	} while (0);
	NVRTC(NVRTC_LOAD)
#undef NVRTC_LOAD
	rtc.library = library;
	return NULL;
}

/* Newest first. The path that has no version belongs to a toolkit. */
static const char *const names[] = {
	"libnvrtc.so.14", "libnvrtc.so.13", "libnvrtc.so.12",
	"libnvrtc.so.11.2", "libnvrtc.so",
	"/usr/local/cuda/lib64/libnvrtc.so",
};

/*
 * The first that will do. Else false, and in `why` what is wrong with the
 * first that is there: it cannot be loaded, or is not what its name says.
 */
static bool find_library(char *why, size_t room)
{
	why[0] = '\0';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
		const char *missing = library ? load_symbols(library) : NULL;
		const char *words = library ? NULL : dlerror();

		if (library && !missing)
			return true;
		if (why[0])
			continue;
		if (missing)
			snprintf(why, room, "%s has no %s: it is too old, or "
				 "no NVRTC; ", names[i], missing);
		else if (words && !strstr(words, "No such file"))
			snprintf(why, room, "%.200s; ", words);
	}
	return false;
}

static int compiler_open(void)
{
	int major = 0, minor = 0, r;
	char why[256];

	if (!rtc.library && !find_library(why, sizeof(why)))
		return mk_error_set(-MK_ENOCOMPILER, 0, "nvrtc",
				    "there is no libnvrtc.so.14 to 11.2 that "
				    "will do: %sinstall the CUDA runtime "
				    "compiler, 11.2 or newer; "
				    "without it the engine starts if a "
				    "machine with the same driver left its "
				    "kernel in the cache, and runs modules "
				    "from the cache and from files that "
				    "megakernel compile made for cuda", why);
	r = rtc.version(&major, &minor);
	if (r)
		return mk_error_set(-MK_ENOCOMPILER, r, "nvrtc",
				    "NVRTC does not say its version (%d)", r);
	snprintf(version, sizeof(version), "NVRTC %d.%d", major, minor);
	number = (uint32_t)(1000 * major + 10 * minor);
	has_cpp20 = major >= 12;
	return 0;
}

/* One that is not there may be the next time: descriptors may have been
 * exhausted, or it be installed meanwhile. */
static int compiler_get(void)
{
	int r = 0;

	pthread_mutex_lock(&lock);
	if (!number)
		r = compiler_open();
	pthread_mutex_unlock(&lock);
	return r;
}

static const char *standard(void)
{
	return has_cpp20 ? "--std=c++20" : "--std=c++17";
}

const char *mkc_compiler_version(void)
{
	return compiler_get() ? "" : version;
}

uint32_t mkc_compiler_number(void)
{
	return compiler_get() ? 0 : number;
}

/* Does this NVRTC make code for the device? */
static int check_arch(int major, int minor)
{
	int list[64], count = 0, have = major * 10 + minor;

	if (rtc.arch_count(&count) || count < 1 || count > 64 ||
	    rtc.archs(list))
		return 0; /* it will say so itself */
	for (int i = 0; i < count; i++)
		if (list[i] == have)
			return 0;
	return mk_error_set(-MK_EENGINE, 0, "nvrtc",
			    "%s makes code for compute capability %d.%d to "
			    "%d.%d, the device has %d.%d: install another "
			    "release of the CUDA runtime compiler", version,
			    list[0] / 10, list[0] % 10, list[count - 1] / 10,
			    list[count - 1] % 10, major, minor);
}

/* Where the first error begins: what was only warned of can wait. */
static const char *first_error(const char *log)
{
	const char *error = strstr(log, "error");

	while (error && error > log && error[-1] != '\n')
		error--;
	return error ? error : log;
}

/* Shared memory is counted over all handlers, under the kernel's name: say
 * whose it is. 0: this is not what was wrong. */
static int too_much_shared(const char *log, nvrtcResult r)
{
	const char *at = strstr(log, "uses too much shared data (0x");
	unsigned used, most;

	if (!at || sscanf(at, "uses too much shared data (%x bytes, %x max)",
			  &used, &most) != 2)
		return 0;
	return mk_error_set(-MK_ECOMPILE, r, "nvrtc",
			    "the __shared__ variables of all handlers and the "
			    "kernel's own are %u bytes, a block of this device "
			    "has %u: use mk_scratch(), or unload a module: "
			    "%.300s", used, most, log);
}

/* The compiler's own words, cut where they do not fit. */
static int compile_failed(nvrtcProgram program, nvrtcResult r)
{
	size_t bytes = 0;
	char *log = NULL;

	if (r == NVRTC_OUT_OF_MEMORY)
		return mk_error_set(-ENOMEM, r, "nvrtc",
				    "NVRTC has no memory to compile");
	if (!rtc.log_size(program, &bytes) && bytes > 1)
		log = malloc(bytes + 1);
	if (log && rtc.log(program, log))
		log[0] = '\0';
	if (log)
		log[bytes] = '\0';
	if (!log || !too_much_shared(log, r))
		mk_error_set(-MK_ECOMPILE, r, "nvrtc", "%s", log && log[0] ?
			     first_error(log) : "NVRTC gives no reason");
	free(log);
	return -MK_ECOMPILE;
}

static int take_image(nvrtcProgram program, struct mkc_image *out)
{
	size_t bytes = 0;
	char *data;

	if (rtc.cubin_size(program, &bytes) || !bytes)
		return mk_error_set(-MK_ECOMPILE, 0, "nvrtc",
				    "NVRTC made no machine code");
	data = malloc(bytes);
	if (!data)
		return mk_error_set(-ENOMEM, ENOMEM, "nvrtc",
				    "no memory for %zu bytes of machine code",
				    bytes);
	if (rtc.cubin(program, data)) {
		free(data);
		return mk_error_set(-MK_ECOMPILE, 0, "nvrtc",
				    "NVRTC does not hand out its code");
	}
	out->data = data;
	out->bytes = bytes;
	return 0;
}

int mkc_compile(const char *source, const struct mkc_text *headers,
		unsigned header_count, int major, int minor, bool quick,
		struct mkc_image *out)
{
	const char **list = NULL, *flags[OPTIONS + 3];
	nvrtcProgram program = NULL;
	char arch[48];
	nvrtcResult r;
	int code = compiler_get(), n = OPTIONS;

	if (!code)
		code = check_arch(major, minor);
	if (code)
		return code;
	list = calloc(2u * header_count + 1, sizeof(*list));
	if (!list)
		return mk_error_set(-ENOMEM, ENOMEM, "nvrtc",
				    "no memory to compile");
	for (unsigned i = 0; i < header_count; i++) {
		list[i] = headers[i].text;
		list[header_count + i] = headers[i].name;
	}
	r = rtc.create(&program, source, "megakernel.cu", (int)header_count,
		       list, list + header_count);
	snprintf(arch, sizeof(arch), "--gpu-architecture=sm_%d%d", major,
		 minor);
	memcpy(flags, options, sizeof(options));
	flags[n++] = standard();
	flags[n++] = arch;
	if (quick && number >= QUICK_SINCE)
		flags[n++] = mkc_compiler_quick();
	if (r)
		code = mk_error_set(r == NVRTC_OUT_OF_MEMORY ? -ENOMEM :
				    -MK_ECOMPILE, r, "nvrtc",
				    "NVRTC takes no program (%d)", r);
	else
		r = rtc.compile(program, n, flags);
	if (!code && r)
		code = compile_failed(program, r);
	if (!code)
		code = take_image(program, out);
	if (program)
		rtc.destroy(&program);
	free(list);
	return code;
}
