/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges of a reserved address region: best fit over a sorted list of free
 * ranges, merged when freed. Offsets only; the memory is somebody else's.
 * Not thread-safe.
 */
#ifndef MK_BASE_SPACE_H
#define MK_BASE_SPACE_H

#include <stdbool.h>
#include <stdint.h>

struct mk_range {
	uint64_t offset;
	uint64_t bytes;
};

struct mk_space {
	struct mk_range *free; /* sorted by offset, never adjacent */
	unsigned count;
	unsigned room;
	unsigned live; /* allocations */
	uint64_t grain; /* power of two; all offsets and sizes are multiples */
	uint64_t used;  /* bytes given out */
};

/* 0 or -ENOMEM. */
int mk_space_init(struct mk_space *s, uint64_t offset, uint64_t bytes,
		  uint64_t grain);
void mk_space_fini(struct mk_space *s);

/* Bytes are rounded up to the grain. 0, or -ENOMEM: nothing fits, or the
 * host is out of memory. Reserves what mk_space_free() will need, so that
 * freeing cannot fail. */
int mk_space_alloc(struct mk_space *s, uint64_t bytes, uint64_t *offset);
void mk_space_free(struct mk_space *s, uint64_t offset, uint64_t bytes);

#endif
