/* SPDX-License-Identifier: Apache-2.0 */
/* The C compiler of the system and the headers that modules need. */
#ifndef MK_MODULE_TOOLCHAIN_H
#define MK_MODULE_TOOLCHAIN_H

#include <limits.h>
#include <stdint.h>

/* What the caller chose. Zero is every default. */
struct mk_toolchain {
	const char *compiler;  /* NULL: $CC, else cc, gcc, clang on PATH */
	const char *cache_dir; /* NULL: see cache.h */
	const char *engine;    /* NULL: "cpu" */
	uint64_t timeout_ns;   /* of one run of the compiler; 0: 60 s */
};

#define MK_COMPILER_WORDS 8u

/* What was found. */
struct mk_tools {
	char path[PATH_MAX];    /* of the compiler */
	char *word[MK_COMPILER_WORDS]; /* its first words: path, and options
					* that $CC has */
	unsigned words;
	char text[PATH_MAX];    /* storage of the words */
	char include[PATH_MAX]; /* has megakernel/handler.h */
	uint64_t identity[4];   /* device, inode, size and time of the file */
};

/* -MK_ENOCOMPILER: no compiler, or not the one that was named. -MK_ECOMPILE:
 * the headers are not where they should be. */
int mk_tools_find(const struct mk_toolchain *chosen, struct mk_tools *out);

#endif
