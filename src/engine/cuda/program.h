/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program that NVRTC gets: the kernel, the built-in handlers, and the
 * sources of all loaded modules, in one piece. Every source lives in a
 * namespace of its own.
 */
#ifndef MK_CUDA_PROGRAM_H
#define MK_CUDA_PROGRAM_H

#include <megakernel.h>

#include "engine/cuda/compiler.h"
#include "engine/cuda/scan.h"

#define MKC_SOURCE_HANDLERS_MAX 200u
#define MKC_SOURCES_MAX 256u

/* One source with handlers. */
struct mkc_source {
	struct mkc_source *next;
	uint32_t id;       /* of the module; 0: built in */
	char file[32];     /* what #include finds it under */
	char *text;        /* NUL-terminated; owned unless built in */
	struct mkc_name *names;
	unsigned count;
	unsigned first;    /* number of its first handler in the kernel */
	unsigned number;   /* the same in the program last written */
	struct mk_handler_info *info; /* count, after the image is loaded */
};

/* A source from a text; copies it. -MK_EMODULE, -ENOMEM. */
int mkc_source_create(uint32_t id, const char *text, size_t bytes,
		      struct mkc_source **out);
void mkc_source_free(struct mkc_source *s);

/* All built-in handlers, in one list. */
int mkc_source_builtins(struct mkc_source **out);

struct mkc_program {
	char *text; /* free(3) */
	struct mkc_text *headers; /* free(3); what they point to is not ours */
	unsigned header_count;
	unsigned handlers; /* number of all */
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
