/* SPDX-License-Identifier: Apache-2.0 */
/* megakernel neighbour: CUDA text to machine code, by NVRTC found at run
 * time. The library's own way there is not for others to call. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "neighbour.h"

struct nvrtc {
	int (*create)(void **program, const char *source, const char *name,
		      int headers, const char *const *texts,
		      const char *const *names);
	int (*compile)(void *program, int n, const char *const *options);
	int (*cubin_bytes)(void *program, size_t *bytes);
	int (*cubin)(void *program, char *out);
	int (*destroy)(void **program);
};

static void *open_library(void)
{
	static const char *const names[] = {
		"libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12",
		"libnvrtc.so.11.2",
	};
	void *library = NULL;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !library;
	     i++)
		library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
	return library;
}

static int load(struct nvrtc *n)
{
	static const struct {
		const char *name;
		size_t at;
	} symbols[] = {
		{ "nvrtcCreateProgram", offsetof(struct nvrtc, create) },
		{ "nvrtcCompileProgram", offsetof(struct nvrtc, compile) },
		{ "nvrtcGetCUBINSize", offsetof(struct nvrtc, cubin_bytes) },
		{ "nvrtcGetCUBIN", offsetof(struct nvrtc, cubin) },
		{ "nvrtcDestroyProgram", offsetof(struct nvrtc, destroy) },
	};
	void *library = open_library();

	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		void *found = library ? dlsym(library, symbols[i].name) : NULL;

		if (!found) {
			cli_error("neighbour", "there is no NVRTC of 11.2 or "
				  "newer (%s): install it, or put it where "
				  "LD_LIBRARY_PATH says", symbols[i].name);
			return -1;
		}
		memcpy((char *)n + symbols[i].at, &found, sizeof(found));
	}
	return 0;
}

void *neighbour_compile(const char *source, int major, int minor)
{
	char architecture[32];
	const char *options[] = { architecture };
	struct nvrtc n;
	void *program = NULL;
	char *image = NULL;
	size_t bytes = 0;
	int r;

	if (load(&n))
		return NULL;
	snprintf(architecture, sizeof(architecture), "-arch=sm_%d%d", major,
		 minor);
	r = n.create(&program, source, "neighbour.cu", 0, NULL, NULL);
	if (!r)
		r = n.compile(program, 1, options);
	if (!r)
		r = n.cubin_bytes(program, &bytes);
	if (!r)
		image = malloc(bytes);
	if (!r && image)
		r = n.cubin(program, image);
	if (program)
		n.destroy(&program);
	if (!r && image)
		return image;
	free(image);
	cli_error("neighbour", "NVRTC does not compile a kernel for sm_%d%d "
		  "(%d)", major, minor, r);
	return NULL;
}
