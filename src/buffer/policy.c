/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a buffer holds after the device was lost and brought back.
 *
 * A mirrored buffer has a second copy in the caller's memory, which is
 * written back. A volatile one is zeroed and its generation grows, so that
 * handles from before are refused. Between the first generation of a buffer
 * (`born`) and the one it has, all named it; below that, another one did.
 */
#include "buffer/buffer.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"

/* The engine's own memory is gone with its process: never taken for what it
 * was. The caller's is still there. */
static bool is_volatile(const struct mk_ctx *ctx,
			const struct mk_buffer_entry *e)
{
	if (e->flags & MK_BUFFER_MIRRORED)
		return false;
	return (e->flags & MK_BUFFER_VOLATILE) ||
	       (!mk_buffer_memory(ctx, e) && !e->import);
}

int mk_buffer_mirror(struct mk_buffer_entry *e, uint64_t bytes, uint32_t flags)
{
	e->mirror = NULL;
	if (!(flags & MK_BUFFER_MIRRORED))
		return 0;
	e->mirror = calloc(1, bytes);
	if (e->mirror)
		return 0;
	return mk_error_set(-ENOMEM, ENOMEM, "mk_buffer_create",
			    "no memory for the second copy of %llu bytes",
			    (unsigned long long)bytes);
}

/* ---- after a restart --------------------------------------------------- */

/* An index whose generations are used up: the buffer ends here. */
static void give_up(struct mk_ctx *ctx, struct mk_buffer_entry *e)
{
	mk_buffer_memory_give(ctx, e);
	e->live = false;
	ctx->buffers.live--;
}

static int restore(struct mk_ctx *ctx, uint32_t index)
{
	struct mk_buffer_entry *e = &ctx->buffers.entry[index];
	unsigned char *memory = mk_buffer_memory(ctx, e);
	int r;

	if (is_volatile(ctx, e)) {
		if (e->generation == UINT32_MAX) {
			give_up(ctx, e);
			return 0;
		}
		e->generation++;
		if (memory)
			memset(memory, 0, e->size);
	}
	if (e->mirror && memory)
		memcpy(memory, e->mirror, e->size);
	r = mk_buffer_attach(ctx, index);
	if (!r && e->mirror && !memory)
		r = mk_buffer_copy_staged(ctx, index, 0, e->mirror, e->size,
					  true);
	return r;
}

int mk_buffers_attach_all(struct mk_ctx *ctx)
{
	struct mk_buffers *b = &ctx->buffers;
	int r = 0;

	for (uint32_t i = 1; i <= b->used && !r; i++)
		if (b->entry[i].live)
			r = restore(ctx, i);
	return r;
}

/* ---- calls ------------------------------------------------------------- */

/* A whole copy, or none: half of one would be no state that ever was. */
static int checkpoint(struct mk_ctx *ctx, struct mk_buffer_entry *e,
		      uint32_t index)
{
	unsigned char *memory = mk_buffer_memory(ctx, e);
	unsigned char *copy = malloc(e->size);
	int r = 0;

	if (!copy)
		return mk_error_set(-ENOMEM, ENOMEM, "mk_buffer_checkpoint",
				    "no memory for a copy of %llu bytes",
				    (unsigned long long)e->size);
	if (memory)
		memcpy(copy, memory, e->size);
	else
		r = mk_buffer_copy_staged(ctx, index, 0, copy, e->size, false);
	if (r) {
		free(copy);
		return r;
	}
	free(e->mirror);
	e->mirror = copy;
	return 0;
}

int mk_buffer_checkpoint(struct mk_ctx *ctx, mk_buffer_t buffer)
{
	struct mk_buffer_entry *e;
	int r;

	if (!ctx)
		return mk_error_null("mk_buffer_checkpoint", "ctx");
	pthread_mutex_lock(&ctx->lock);
	mk_ctx_await(ctx);
	e = mk_buffer_named(ctx, buffer, "mk_buffer_checkpoint");
	if (!e)
		r = mk_error_code();
	else if (!e->mirror)
		r = mk_error_set(-EINVAL, 0, "mk_buffer_checkpoint",
				 "buffer 0x%llx was made without "
				 "MK_BUFFER_MIRRORED",
				 (unsigned long long)buffer);
	else
		r = mk_ctx_check(ctx, "mk_buffer_checkpoint");
	if (!r)
		r = checkpoint(ctx, e, mk_buffer_ref(buffer).index);
	pthread_mutex_unlock(&ctx->lock);
	return r;
}

int mk_buffer_renew(struct mk_ctx *ctx, mk_buffer_t buffer, mk_buffer_t *out)
{
	uint32_t index = mk_buffer_ref(buffer).index;
	struct mk_buffer_entry *e;
	int r = 0;

	if (!ctx || !out)
		return mk_error_null("mk_buffer_renew", ctx ? "out" : "ctx");
	pthread_mutex_lock(&ctx->lock);
	mk_ctx_await(ctx);
	e = mk_buffer_named(ctx, buffer, "mk_buffer_renew");
	if (e)
		*out = (uint64_t)e->generation << 32 | index;
	else
		r = mk_error_code();
	pthread_mutex_unlock(&ctx->lock);
	return r;
}
