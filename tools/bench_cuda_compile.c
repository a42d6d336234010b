/* SPDX-License-Identifier: Apache-2.0 */
/* NVRTC for the baselines' kernels. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_cuda.h"

typedef struct _nvrtcProgram *nvrtcProgram;

/* X(field, symbol, arguments) */
#define NVRTC(X)                                                              \
	X(version, nvrtcVersion, (int *, int *))                              \
	X(create, nvrtcCreateProgram,                                         \
	  (nvrtcProgram *, const char *, const char *, int,                   \
	   const char *const *, const char *const *))                         \
	X(destroy, nvrtcDestroyProgram, (nvrtcProgram *))                     \
	X(compile, nvrtcCompileProgram,                                       \
	  (nvrtcProgram, int, const char *const *))                           \
	X(cubin_size, nvrtcGetCUBINSize, (nvrtcProgram, size_t *))            \
	X(cubin, nvrtcGetCUBIN, (nvrtcProgram, char *))

struct nvrtc {
#define NVRTC_FIELD(field, symbol, args) int(*field) args;
	NVRTC(NVRTC_FIELD)
#undef NVRTC_FIELD
};

static int find(struct nvrtc *n, char *why, size_t room)
{
	static const char *const names[] = {
		"libnvrtc.so.14", "libnvrtc.so.13", "libnvrtc.so.12",
		"libnvrtc.so.11.2", "libnvrtc.so",
		"/usr/local/cuda/lib64/libnvrtc.so",
	};
	void *library = NULL, *found;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
		if (library)
			break;
	}
	if (!library) {
		snprintf(why, room, "there is no NVRTC (libnvrtc.so) to "
			 "compile the baselines' kernels: install the CUDA "
			 "runtime compiler");
		return -1;
	}
#define NVRTC_LOAD(field, symbol, args)                                       \
	found = dlsym(library, #symbol);                                      \
	if (!found) {                                                         \
		snprintf(why, room, "the NVRTC that was found has no %s: it " \
			 "is too old", #symbol);                              \
		return -1;                                                    \
	}                                                                     \
	memcpy(&n->field, &found, sizeof(found));
	NVRTC(NVRTC_LOAD)
#undef NVRTC_LOAD
	return 0;
}

/* As the engine compiles handlers: the same arithmetic on both sides. */
static int compile(const struct nvrtc *n, nvrtcProgram p, int major, int minor)
{
	const char *flags[3] = { "--std=c++17", "--fmad=false" };
	char arch[48];

	snprintf(arch, sizeof(arch), "--gpu-architecture=sm_%d%d", major,
		 minor);
	flags[2] = arch;
	return n->compile(p, 3, flags);
}

void *bench_cuda_compile(const char *text, int major, int minor,
			 char version[32], char *why, size_t room)
{
	struct nvrtc n;
	nvrtcProgram p = NULL;
	int a = 0, b = 0, r;
	size_t bytes = 0;
	char *image = NULL;

	if (find(&n, why, room))
		return NULL;
	if (!n.version(&a, &b))
		snprintf(version, 32, "%d.%d", a, b);
	r = n.create(&p, text, "bench.cu", 0, NULL, NULL);
	if (!r)
		r = compile(&n, p, major, minor);
	if (!r)
		r = n.cubin_size(p, &bytes);
	if (!r)
		image = malloc(bytes ? bytes : 1);
	if (image && n.cubin(p, image)) {
		free(image);
		image = NULL;
	}
	if (!image)
		snprintf(why, room, "NVRTC %s does not compile the baselines' "
			 "kernels for sm_%d%d (%d)", version, major, minor, r);
	if (p)
		n.destroy(&p);
	return image;
}
