/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a handler source, and what is put around it. */
#ifndef MK_MODULE_SOURCE_H
#define MK_MODULE_SOURCE_H

#include <stddef.h>

#define MK_SOURCE_BYTES_MAX (16u << 20)

struct mk_source {
	const char *name; /* as messages shall call it */
	char *text;
	size_t bytes;
};

/* Read a regular file, once. The negated errno; -EISDIR; -EFBIG: more than
 * MK_SOURCE_BYTES_MAX. Free text with free(). */
int mk_source_read(const char *path, struct mk_source *out);

/*
 * Write what the compiler gets: the text under its own name and lines, then
 * the definition of the module's table.
 */
int mk_source_write(const struct mk_source *s, const char *path);

#endif
