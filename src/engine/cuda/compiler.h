/* SPDX-License-Identifier: Apache-2.0 */
/* NVRTC, found at run time: CUDA text in, machine code out. */
#ifndef MK_CUDA_COMPILER_H
#define MK_CUDA_COMPILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A text that #include finds under its name. */
struct mkc_text {
	const char *name;
	const char *text;
};

struct mkc_image {
	void *data; /* a cubin; free(3) */
	size_t bytes;
};

/*
 * Compile for compute capability major.minor; quick: into slower code, where
 * NVRTC can do that.
 *
 * -MK_ENOCOMPILER: there is no NVRTC; what is in the cache still works.
 * -MK_EENGINE: NVRTC does not know this device.
 * -MK_ECOMPILE: with the compiler's words. -ENOMEM.
 */
int mkc_compile(const char *source, const struct mkc_text *headers,
		unsigned header_count, int major, int minor, bool quick,
		struct mkc_image *out);

/* "NVRTC 13.0", for cache keys; "" if there is none. Never NULL. */
const char *mkc_compiler_version(void);

/* 1000 * major + 10 * minor; 0: there is none. */
uint32_t mkc_compiler_number(void);

/* Option i that every compilation has, for cache keys; NULL behind the last.
 * The language follows from the version, the architecture from the device. */
const char *mkc_compiler_option(unsigned i);

/* The option more of a quick one, as far as NVRTC takes it. */
const char *mkc_compiler_quick(void);

#endif
