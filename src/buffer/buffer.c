/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffers by handle: index in the low half, generation in the high half. The
 * generation of an index grows with every buffer that lives there, so that a
 * handle that outlived its buffer is told from one that never was.
 */
#include "buffer/buffer.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/order.h"
#include "context/region.h"

#define POLICIES (MK_BUFFER_MIRRORED | MK_BUFFER_VOLATILE)
#define FLAGS (MK_BUFFER_READ_ONLY | POLICIES)

/* An index for a new buffer, off the free list or new. 0: none. */
static uint32_t entry_take(struct mk_ctx *ctx)
{
	struct mk_buffers *b = &ctx->buffers;
	uint32_t index = b->free;

	if (index) {
		b->free = b->entry[index].next_free;
		return index;
	}
	if (b->used + 1 >= b->room) {
		uint32_t room = b->room ? b->room * 2 : 64;
		struct mk_buffer_entry *e;

		if (room > ctx->config.windows)
			room = ctx->config.windows;
		if (b->used + 1 >= room)
			return 0;
		e = realloc(b->entry, room * sizeof(*e));
		if (!e)
			return 0;
		memset(e + b->room, 0, (room - b->room) * sizeof(*e));
		b->entry = e;
		b->room = room;
	}
	return ++b->used;
}

static void entry_give(struct mk_ctx *ctx, uint32_t index)
{
	struct mk_buffers *b = &ctx->buffers;
	struct mk_buffer_entry *e = &b->entry[index];

	e->live = false;
	free(e->mirror);
	e->mirror = NULL;
	/* an index whose generations are used up rests for good */
	if (e->generation == UINT32_MAX)
		return;
	e->next_free = b->free;
	b->free = index;
}

void mk_buffers_fini(struct mk_buffers *b)
{
	for (uint32_t i = 1; i <= b->used; i++)
		free(b->entry[i].mirror);
	free(b->entry);
	memset(b, 0, sizeof(*b));
}

struct mk_buffer_entry *mk_buffer_named(struct mk_ctx *ctx, mk_buffer_t buffer,
					const char *operation)
{
	struct mk_ref ref = mk_buffer_ref(buffer);
	struct mk_buffers *b = &ctx->buffers;
	struct mk_buffer_entry *e;

	if (!ref.index || ref.index > b->used || !ref.generation ||
	    ref.generation > b->entry[ref.index].generation) {
		mk_error_set(-MK_EFOREIGN, 0, operation,
			     "buffer 0x%llx is no handle of this context",
			     (unsigned long long)buffer);
		return NULL;
	}
	e = &b->entry[ref.index];
	if (!e->live || ref.generation < e->born) {
		mk_error_set(-MK_ESTALE, 0, operation,
			     "buffer 0x%llx was destroyed before",
			     (unsigned long long)buffer);
		return NULL;
	}
	return e;
}

/* The same, of a handle whose content was not lost. */
static struct mk_buffer_entry *entry_of(struct mk_ctx *ctx, mk_buffer_t buffer,
					const char *operation)
{
	struct mk_buffer_entry *e = mk_buffer_named(ctx, buffer, operation);

	if (!e || mk_buffer_ref(buffer).generation == e->generation)
		return e;
	mk_error_set(-MK_EVOLATILE, 0, operation,
		     "buffer 0x%llx lost its content with the device; "
		     "mk_buffer_renew() gives its new handle",
		     (unsigned long long)buffer);
	return NULL;
}

static void describe(const struct mk_buffer_entry *e, uint32_t index,
		     struct mk_buffer_desc *d)
{
	memset(d, 0, sizeof(*d));
	d->index = index;
	d->generation = e->generation;
	d->born = e->born;
	d->offset = e->offset;
	d->bytes = e->size;
	d->flags = e->flags & MK_BUFFER_READ_ONLY;
}

int mk_buffer_attach(struct mk_ctx *ctx, uint32_t index)
{
	struct mk_buffer_desc d;

	describe(&ctx->buffers.entry[index], index, &d);
	return ctx->ops->buffer_attach(ctx->engine, &d);
}

/* Memory and engine for entry `index`, under ctx->lock. */
static int buffer_open(struct mk_ctx *ctx, uint32_t index, uint64_t bytes,
		       uint32_t flags)
{
	struct mk_buffer_entry *e = &ctx->buffers.entry[index];
	bool host = ctx->real->traits & MK_TRAIT_HOST_MEMORY;
	int r = mk_buffer_mirror(e, bytes, flags);

	if (r)
		return r;
	e->size = bytes;
	e->bytes = bytes;
	e->flags = flags;
	e->offset = 0;
	if (host)
		r = mk_region_take(ctx, &ctx->heap, bytes, &e->offset,
				   "mk_buffer_create", "heap_bytes");
	if (r)
		return r;
	e->born = ++e->generation;
	r = mk_buffer_attach(ctx, index);
	if (r) {
		if (host)
			mk_region_give(ctx, &ctx->heap, e->offset, bytes);
		return r;
	}
	e->live = true;
	ctx->buffers.live++;
	return 0;
}

int mk_buffer_create(struct mk_ctx *ctx, uint64_t bytes, uint32_t flags,
		     mk_buffer_t *out)
{
	uint32_t index;
	int r;

	if (!ctx || !out)
		return mk_error_null("mk_buffer_create", ctx ? "out" : "ctx");
	if (!bytes || bytes > INT64_MAX)
		return mk_error_set(-EINVAL, 0, "mk_buffer_create",
				    "bytes is %llu, must be 1 to 2^63 - 1",
				    (unsigned long long)bytes);
	if (flags & ~(uint32_t)FLAGS)
		return mk_error_set(-EINVAL, 0, "mk_buffer_create",
				    "flags is 0x%x, known are 0x%x", flags,
				    FLAGS);
	if ((flags & POLICIES) == POLICIES)
		return mk_error_set(-EINVAL, 0, "mk_buffer_create",
				    "flags is 0x%x, both MIRRORED and "
				    "VOLATILE", flags);
	pthread_mutex_lock(&ctx->lock);
	r = mk_ctx_check(ctx, "mk_buffer_create");
	if (r)
		goto out;
	index = entry_take(ctx);
	if (!index) {
		r = ctx->buffers.used + 1 >= ctx->config.windows ?
			    mk_error_set(-ENOSPC, 0, "mk_buffer_create",
					 "%u buffers are live; raise "
					 "mk_ctx_params.buffers_max",
					 ctx->buffers.live) :
			    mk_error_set(-ENOMEM, ENOMEM, "mk_buffer_create",
					 "no memory for the buffer table");
		goto out;
	}
	r = buffer_open(ctx, index, bytes, flags);
	if (r) {
		entry_give(ctx, index);
		goto out;
	}
	*out = (uint64_t)ctx->buffers.entry[index].generation << 32 | index;
out:
	pthread_mutex_unlock(&ctx->lock);
	return r;
}

int mk_buffer_destroy(struct mk_ctx *ctx, mk_buffer_t buffer,
		      uint64_t timeout_ns)
{
	uint32_t index = mk_buffer_ref(buffer).index;
	struct mk_buffer_entry *e;
	int r = 0;

	pthread_mutex_lock(&ctx->lock);
	e = mk_buffer_named(ctx, buffer, "mk_buffer_destroy");
	if (!e) {
		r = mk_error_last()->code;
		goto out;
	}
	/* a lost engine has nothing to detach */
	if (!mk_load_acquire(&ctx->lost))
		r = ctx->ops->buffer_detach(ctx->engine, index, timeout_ns);
	if (r == -MK_EDEVLOST)
		r = 0;
	if (r)
		goto out;
	if (ctx->real->traits & MK_TRAIT_HOST_MEMORY)
		mk_region_give(ctx, &ctx->heap, e->offset, e->bytes);
	ctx->buffers.live--;
	entry_give(ctx, index);
out:
	pthread_mutex_unlock(&ctx->lock);
	return r;
}

int mk_buffer_copy_staged(struct mk_ctx *ctx, uint32_t index, uint64_t offset,
			  unsigned char *data, uint64_t bytes, bool to_device)
{
	const uint64_t step = 4u << 20;
	uint64_t staging;
	int r = mk_region_take(ctx, &ctx->shared, bytes < step ? bytes : step,
			       &staging, "mk_buffer_copy", "shared_bytes");

	if (r)
		return r;
	for (uint64_t at = 0; at < bytes && !r; at += step) {
		uint64_t n = bytes - at < step ? bytes - at : step;
		unsigned char *stage = ctx->region.base + staging;

		if (to_device)
			memcpy(stage, data + at, n);
		r = ctx->ops->buffer_copy(ctx->engine, index, offset + at,
					  staging, n, to_device);
		if (!r && !to_device)
			memcpy(data + at, stage, n);
	}
	mk_region_give(ctx, &ctx->shared, staging, bytes < step ? bytes : step);
	return r;
}

static int buffer_copy(struct mk_ctx *ctx, mk_buffer_t buffer, uint64_t offset,
		       void *data, uint64_t bytes, bool to_device,
		       const char *operation)
{
	unsigned char *memory = NULL;
	struct mk_buffer_entry *e;
	int r = 0;

	pthread_mutex_lock(&ctx->lock);
	e = entry_of(ctx, buffer, operation);
	if (!e) {
		r = mk_error_last()->code;
	} else if (offset > e->size || bytes > e->size - offset) {
		r = mk_error_set(-MK_ERANGE, 0, operation,
				 "offset %llu + bytes %llu exceeds the "
				 "buffer's %llu bytes",
				 (unsigned long long)offset,
				 (unsigned long long)bytes,
				 (unsigned long long)e->size);
	} else if (!bytes) {
		; /* data may be NULL */
	} else if (!data) {
		r = mk_error_null(operation, "data");
	} else if (ctx->real->traits & MK_TRAIT_HOST_MEMORY) {
		memory = ctx->region.base + e->offset + offset;
	} else {
		r = mk_ctx_check(ctx, operation);
		if (!r)
			r = mk_buffer_copy_staged(ctx,
						  mk_buffer_ref(buffer).index,
						  offset, data, bytes,
						  to_device);
	}
	if (!r && to_device && bytes && e->mirror)
		memcpy(e->mirror + offset, data, bytes);
	pthread_mutex_unlock(&ctx->lock);
	/* outside the lock: long copies do not hold up other commands */
	if (memory && to_device)
		memcpy(memory, data, bytes);
	else if (memory)
		memcpy(data, memory, bytes);
	return r;
}

int mk_buffer_write(struct mk_ctx *ctx, mk_buffer_t buffer, uint64_t offset,
		    const void *data, uint64_t bytes)
{
	return buffer_copy(ctx, buffer, offset, (void *)(uintptr_t)data,
			   bytes, true, "mk_buffer_write");
}

int mk_buffer_read(struct mk_ctx *ctx, mk_buffer_t buffer, uint64_t offset,
		   void *data, uint64_t bytes)
{
	return buffer_copy(ctx, buffer, offset, data, bytes, false,
			   "mk_buffer_read");
}

int mk_buffer_map(struct mk_ctx *ctx, mk_buffer_t buffer, void **out)
{
	struct mk_buffer_entry *e;
	int r = 0;

	if (!out)
		return mk_error_null("mk_buffer_map", "out");
	pthread_mutex_lock(&ctx->lock);
	e = entry_of(ctx, buffer, "mk_buffer_map");
	if (!e)
		r = mk_error_last()->code;
	else if (!(ctx->real->traits & MK_TRAIT_HOST_MEMORY))
		r = mk_error_set(-EOPNOTSUPP, 0, "mk_buffer_map",
				 "memory of engine %s cannot be mapped; use "
				 "mk_buffer_read() and mk_buffer_write()",
				 ctx->real->name);
	else
		*out = ctx->region.base + e->offset;
	pthread_mutex_unlock(&ctx->lock);
	return r;
}

int mk_buffer_bytes(struct mk_ctx *ctx, mk_buffer_t buffer, uint64_t *out)
{
	struct mk_buffer_entry *e;
	int r = 0;

	if (!out)
		return mk_error_null("mk_buffer_bytes", "out");
	pthread_mutex_lock(&ctx->lock);
	e = entry_of(ctx, buffer, "mk_buffer_bytes");
	if (e)
		*out = e->size;
	else
		r = mk_error_last()->code;
	pthread_mutex_unlock(&ctx->lock);
	return r;
}
