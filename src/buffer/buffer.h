/* SPDX-License-Identifier: Apache-2.0 */
/* The host's table of buffers; see struct mk_buffers. */
#ifndef MK_BUFFER_H
#define MK_BUFFER_H

#include "context/context.h"

void mk_buffers_fini(struct mk_buffers *b);

/* Hand every live buffer to a restarted engine, with the content that its
 * policy gives it. Under ctx->lock. (policy.c) */
int mk_buffers_attach_all(struct mk_ctx *ctx);

/* ---- between the files of this folder; all under ctx->lock ------------- */

/* The live entry that a handle names or named before a restart, or NULL with
 * the error set. */
struct mk_buffer_entry *mk_buffer_named(struct mk_ctx *ctx, mk_buffer_t buffer,
					const char *operation);

/* The same, of a handle whose content was not lost. */
struct mk_buffer_entry *mk_buffer_entry_of(struct mk_ctx *ctx,
					   mk_buffer_t buffer,
					   const char *operation);

/* The memory of an entry in this process, or NULL if it has none here. */
unsigned char *mk_buffer_memory(const struct mk_ctx *ctx,
				const struct mk_buffer_entry *e);

/* Give back what it has of the region. */
void mk_buffer_memory_give(struct mk_ctx *ctx, struct mk_buffer_entry *e);

/* Describe the entry to the engine. */
int mk_buffer_attach(struct mk_ctx *ctx, uint32_t index);

/* The second copy of a buffer that wants one, zeroed. */
int mk_buffer_mirror(struct mk_buffer_entry *e, uint64_t bytes,
		     uint32_t flags);

/* Copy to or from an engine whose memory is not the host's. (copy.c) */
int mk_buffer_copy_staged(struct mk_ctx *ctx, uint32_t index, uint64_t offset,
			  unsigned char *data, uint64_t bytes, bool to_device);

/*
 * A new buffer: memory for it, if it is to have any here, and the engine told
 * of it. Takes `import` over if it succeeds; NULL: memory of the engine, or
 * with MK_BUFFER_HOST host memory. Takes ctx->lock.
 */
int mk_buffer_open(struct mk_ctx *ctx, uint64_t bytes, uint32_t flags,
		   struct mk_buffer_import_params *import,
		   const char *operation, mk_buffer_t *out);

#endif
