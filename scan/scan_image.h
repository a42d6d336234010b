/* SPDX-License-Identifier: Apache-2.0 */
/* An image while it grows. */
#ifndef SCAN_IMAGE_H
#define SCAN_IMAGE_H

#include "scan/scan_compile.h"

struct scan_image {
	unsigned char *data; /* begins with the header */
	size_t used, room;
};

/* 0 or -ENOMEM. */
int scan_image_begin(struct scan_image *m, uint32_t kind);

/* Append zeroes; the place, or 0: no memory, or larger than an image may be.
 * Moves `data`. */
uint32_t scan_image_table(struct scan_image *m, uint64_t bytes);

static inline struct mk_scan_image *scan_image_head(struct scan_image *m)
{
	return (struct mk_scan_image *)(void *)m->data;
}

/* Fill in size and check; data is the caller's then. */
void scan_image_end(struct scan_image *m, void **image, size_t *bytes);
void scan_image_drop(struct scan_image *m);

/* The tables of literals: scan/literals.c. 0, -ENOMEM or -E2BIG. */
int scan_build_literals(const struct scan_pattern *patterns, size_t count,
			const struct scan_options *options,
			struct scan_image *m);

#endif
