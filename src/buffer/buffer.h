/* SPDX-License-Identifier: Apache-2.0 */
/* The host's table of buffers; see struct mk_buffers. */
#ifndef MK_BUFFER_H
#define MK_BUFFER_H

#include "context/context.h"

void mk_buffers_fini(struct mk_buffers *b);

/* Hand every live buffer to a restarted engine, with the content that its
 * policy gives it. Under ctx->lock. (policy.c) */
int mk_buffers_attach_all(struct mk_ctx *ctx);

/* ---- between buffer.c and policy.c; all under ctx->lock ---------------- */

/* The live entry that a handle names or named before a restart, or NULL with
 * the error set. */
struct mk_buffer_entry *mk_buffer_named(struct mk_ctx *ctx, mk_buffer_t buffer,
					const char *operation);

/* Describe the entry to the engine. */
int mk_buffer_attach(struct mk_ctx *ctx, uint32_t index);

/* The second copy of a buffer that wants one, zeroed. */
int mk_buffer_mirror(struct mk_buffer_entry *e, uint64_t bytes,
		     uint32_t flags);

/* Copy to or from an engine whose memory is not the host's. */
int mk_buffer_copy_staged(struct mk_ctx *ctx, uint32_t index, uint64_t offset,
			  unsigned char *data, uint64_t bytes, bool to_device);

#endif
