/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared memory of a context: one sealed memfd, reserved large and
 * sparse. [0, shared_bytes) has the context block, the workers' blocks and
 * the queues; the rest is the heap of buffers. Memory is taken from the
 * system when a range is given out, so that running out is an error code and
 * never a SIGBUS.
 */
#ifndef MK_CONTEXT_REGION_H
#define MK_CONTEXT_REGION_H

#include "context/context.h"

#define MK_REGION_GRAIN 4096u

/* Make and map the memfd, seal its size. -ENOMEM, -EMFILE, ... */
int mk_region_create(struct mk_region *region, uint64_t shared_bytes,
		     uint64_t heap_bytes);
void mk_region_destroy(struct mk_region *region);

/* A zeroed range with memory behind it; `field` is the parameter that bounds
 * the space. The caller holds ctx->lock. */
int mk_region_take(struct mk_ctx *ctx, struct mk_space *space,
		   uint64_t bytes, uint64_t *offset, const char *operation,
		   const char *field);
/* Give a range and its memory back. */
void mk_region_give(struct mk_ctx *ctx, struct mk_space *space,
		    uint64_t offset, uint64_t bytes);

#endif
