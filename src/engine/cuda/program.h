/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program that NVRTC gets: the kernel, the built-in handlers, and the
 * sources of all loaded modules, in one piece. Every source lives in a
 * namespace of its own.
 *
 * The same set of sources makes the same program, byte for byte, whatever
 * the modules are numbered and in whichever order they came; and a text that
 * is loaded twice is in it once. So what was compiled for a set is found
 * again in the cache, or in a module file.
 */
#ifndef MK_CUDA_PROGRAM_H
#define MK_CUDA_PROGRAM_H

#include <stdbool.h>

#include <megakernel.h>

#include "engine/cuda/compiler.h"
#include "engine/cuda/scan.h"

#define MKC_SOURCE_HANDLERS_MAX 200u

/*
 * Programs are bound to a block size, rounded up as far as it costs no
 * register: warps share a multiprocessor's registers in four parts. What
 * engines have by default are blocks of 8 or 9 warps, which is what a module
 * file has code for.
 */
#define MKC_BOUND_LEAST 256u
#define MKC_BOUND_STEP 128u
#define MKC_BOUNDS 2u /* from the least on, in a module file */

/* One source with handlers. */
struct mkc_source {
	struct mkc_source *next;
	uint32_t id;       /* of the module; 0: built in */
	char file[48];     /* what #include finds it under: by its content */
	uint64_t hash[2];  /* of the text */
	char *text;        /* NUL-terminated */
	struct mkc_bundle *bundle; /* the file that it came in; or NULL */
	struct mkc_name *names;
	unsigned count;
	unsigned first;    /* number of its first handler in the kernel */
	unsigned number;   /* the same in the program last written */
	struct mk_handler_info *info; /* count, after the image is loaded */
	bool built;        /* it is in the program that is loaded */
};

/* A source from a text, or from a bundle; copies it. -MK_EMODULE, -ENOMEM. */
int mkc_source_create(uint32_t id, const char *text, size_t bytes,
		      struct mkc_source **out);
void mkc_source_free(struct mkc_source *s);
void mkc_sources_free(struct mkc_source *list);

/* All built-in handlers, in one list. */
int mkc_source_builtins(struct mkc_source **out);

struct mkc_program {
	char *text; /* free(3) */
	struct mkc_text *headers; /* free(3); what they point to is not ours */
	unsigned header_count;
	unsigned handlers; /* number of all */
	uint64_t hash[2];  /* of all texts: what was compiled, if not how */
};

/* Number the handlers and write the program, for blocks of so many threads.
 * -ENOMEM, -ENOSPC. */
int mkc_program_write(struct mkc_source *sources, unsigned threads,
		      struct mkc_program *out);
void mkc_program_free(struct mkc_program *p);

/* What the program, the compiler's options, the compiler and these numbers
 * come to, for the cache. */
void mkc_program_key(const struct mkc_program *p, const char *compiler,
		     const int *numbers, unsigned count, uint64_t key[2]);

#endif
