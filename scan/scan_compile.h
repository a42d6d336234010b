/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns as grep knows them, made into the tables of megakernel/scan.h.
 *
 * SCAN_FIXED takes every byte as it is. SCAN_BASIC and SCAN_EXTENDED are the
 * regular expressions of POSIX in the spelling of GNU grep: docs/scan.md says
 * which. What the tables cannot hold is refused, with the pattern and the
 * place in it.
 */
#ifndef SCAN_COMPILE_H
#define SCAN_COMPILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <megakernel/scan.h>

enum scan_syntax { SCAN_FIXED, SCAN_BASIC, SCAN_EXTENDED };

struct scan_pattern {
	const char *text; /* no newline in it */
	size_t bytes;     /* 0 matches nothing, everywhere */
};

struct scan_options {
	enum scan_syntax syntax;
	bool fold;       /* ASCII letters of both cases are the same */
	bool utf8;       /* text and patterns are UTF-8, not bytes */
	bool whole_line; /* a match is a whole line */
	uint32_t states; /* most of an automaton; 0: SCAN_STATES */
};

#define SCAN_STATES 16384u
#define SCAN_IMAGE_MAX (UINT64_C(1) << 30)

/* What was wrong with a pattern. */
struct scan_problem {
	size_t pattern; /* index; SIZE_MAX: all of them together */
	size_t at;      /* byte of it */
	char text[200];
};

/**
 * Compile patterns to one image, to be freed by the caller.
 *
 * @return 0; -EINVAL: a pattern is wrong, and *problem says why; -E2BIG: the
 *         tables would be too large, and *problem says which and the limit;
 *         -ENOMEM.
 */
int scan_compile(const struct scan_pattern *patterns, size_t count,
		 const struct scan_options *options, void **image,
		 size_t *bytes, struct scan_problem *problem);

/** Is it UTF-8, without surrogates and without what is longer than needed? */
bool scan_is_utf8(const void *text, size_t bytes);

/** 0 if these bytes are a whole image of this version, else -EBADMSG. */
int scan_image_check(const void *image, size_t bytes);

#endif
