/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a module file carries for the CUDA engine: the source text, and code
 * that was compiled from it ahead of time, each for one architecture.
 *
 *   header | entries | text | images
 *
 * The text is always there: with other modules beside it, or on a device that
 * no image fits, it is compiled again. An image is the whole kernel with the
 * built-in handlers and this module's, so it fits only a library that would
 * write the same program; entry.program says which.
 */
#ifndef MK_CUDA_BUNDLE_H
#define MK_CUDA_BUNDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/cuda/compiler.h"

#define MKC_BUNDLE_MAGIC "MKCUDA\0\1" /* 8 bytes: no text begins so */
#define MKC_BUNDLE_ENTRIES_MAX 32u

struct mkc_bundle_header {
	char magic[8];
	uint32_t count; /* of entries */
	uint32_t reserved;
	uint64_t text_bytes;
	uint64_t bytes; /* in all */
};

struct mkc_bundle_entry {
	uint32_t major, minor; /* compute capability */
	uint64_t program[2];   /* struct mkc_program.hash */
	uint64_t offset, bytes;
};

/* A bundle in memory of its own. */
struct mkc_bundle {
	unsigned char *data;
	const char *text; /* in data; no NUL behind it */
	size_t text_bytes;
	unsigned count;
	struct mkc_bundle_entry entry[MKC_BUNDLE_ENTRIES_MAX];
};

/* A compute capability to compile for. */
struct mkc_arch {
	int major, minor;
};

bool mkc_bundle_is(const void *data, size_t bytes);

/* Copy and check. -MK_EMODULE: damaged; -ENOMEM. */
int mkc_bundle_read(const void *data, size_t bytes, struct mkc_bundle **out);
void mkc_bundle_free(struct mkc_bundle *b);

/* Code of this program for this device: NULL if there is none. *bytes of it. */
const void *mkc_bundle_find(const struct mkc_bundle *b,
			    const uint64_t program[2], int major, int minor,
			    size_t *bytes);

/* Put "sm_75, sm_90" into text, of all entries; "none". */
void mkc_bundle_list(const struct mkc_bundle *b, char *text, size_t room);

/*
 * Compile a source for these architectures into a sealed image, as
 * mk_module_load() takes it. *handlers: how many it has.
 *
 * As mkc_source_create() and mkc_compile().
 */
int mkc_bundle_compile(const char *text, size_t bytes,
		       const struct mkc_arch *archs, unsigned count,
		       unsigned *handlers, int *image);

#endif
