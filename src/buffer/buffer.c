/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffers by handle: index in the low half, generation in the high half. The
 * generation of an index grows with every buffer that lives there, so that a
 * handle that outlived its buffer is told from one that never was.
 */
#include "buffer/buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/order.h"
#include "context/region.h"

#define POLICIES (MK_BUFFER_MIRRORED | MK_BUFFER_VOLATILE)
#define FLAGS (MK_BUFFER_READ_ONLY | MK_BUFFER_HOST | POLICIES)

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
	free(e->import);
	e->mirror = NULL;
	e->import = NULL;
	/* an index whose generations are used up rests for good */
	if (e->generation == UINT32_MAX)
		return;
	e->next_free = b->free;
	b->free = index;
}

void mk_buffers_fini(struct mk_buffers *b)
{
	for (uint32_t i = 1; i <= b->used; i++) {
		free(b->entry[i].mirror);
		free(b->entry[i].import);
	}
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

struct mk_buffer_entry *mk_buffer_entry_of(struct mk_ctx *ctx,
					   mk_buffer_t buffer,
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

/* ---- where the memory is ------------------------------------------------ */

static bool host_engine(const struct mk_ctx *ctx)
{
	return ctx->real->traits & MK_TRAIT_HOST_MEMORY;
}

/* The part of the region that the memory comes from, or NULL. */
static struct mk_space *space_of(struct mk_ctx *ctx,
				 const struct mk_buffer_entry *e)
{
	if (e->import)
		return NULL;
	if (host_engine(ctx))
		return &ctx->heap;
	return e->flags & MK_BUFFER_HOST ? &ctx->shared : NULL;
}

unsigned char *mk_buffer_memory(const struct mk_ctx *ctx,
				const struct mk_buffer_entry *e)
{
	if (!e->import && (host_engine(ctx) || e->flags & MK_BUFFER_HOST))
		return ctx->region.base + e->offset;
	return NULL;
}

void mk_buffer_memory_give(struct mk_ctx *ctx, struct mk_buffer_entry *e)
{
	struct mk_space *space = space_of(ctx, e);

	if (space)
		mk_region_give(ctx, space, e->offset, e->size);
}

static void describe(const struct mk_ctx *ctx,
		     const struct mk_buffer_entry *e, uint32_t index,
		     struct mk_buffer_desc *d)
{
	memset(d, 0, sizeof(*d));
	d->index = index;
	d->generation = e->generation;
	d->born = e->born;
	d->offset = e->offset;
	d->bytes = e->size;
	d->flags = e->flags & MK_BUFFER_READ_ONLY;
	if (e->import && e->import->kind == MK_IMPORT_POINTER) {
		d->origin = MK_ORIGIN_POINTER;
		d->address = e->import->address;
	} else if (e->import) {
		d->origin = MK_ORIGIN_IPC;
		d->offset = e->import->offset;
		memcpy(d->handle, e->import->handle, sizeof(d->handle));
	} else if (e->flags & MK_BUFFER_HOST && !host_engine(ctx)) {
		d->origin = MK_ORIGIN_SHARED;
	}
}

int mk_buffer_attach(struct mk_ctx *ctx, uint32_t index)
{
	struct mk_buffer_desc d;

	describe(ctx, &ctx->buffers.entry[index], index, &d);
	return ctx->ops->buffer_attach(ctx->engine, &d);
}

/* Memory and engine for entry `index`, under ctx->lock. */
static int entry_open(struct mk_ctx *ctx, uint32_t index,
		      const char *operation)
{
	struct mk_buffer_entry *e = &ctx->buffers.entry[index];
	struct mk_space *space = space_of(ctx, e);
	int r = mk_buffer_mirror(e, e->size, e->flags);

	if (!r && space)
		r = mk_region_take(ctx, space, e->size, &e->offset, operation,
				   space == &ctx->heap ? "heap_bytes" :
							 "shared_bytes");
	if (r)
		return r;
	e->born = ++e->generation;
	r = mk_buffer_attach(ctx, index);
	if (r) {
		mk_buffer_memory_give(ctx, e);
		return r;
	}
	e->live = true;
	ctx->buffers.live++;
	return 0;
}

static int no_entry(const struct mk_ctx *ctx, const char *operation)
{
	if (ctx->buffers.used + 1 < ctx->config.windows)
		return mk_error_set(-ENOMEM, ENOMEM, operation,
				    "no memory for the buffer table");
	return mk_error_set(-ENOSPC, 0, operation,
			    "%u buffers are live; raise "
			    "mk_ctx_params.buffers_max", ctx->buffers.live);
}

int mk_buffer_open(struct mk_ctx *ctx, uint64_t bytes, uint32_t flags,
		   struct mk_buffer_import_params *import,
		   const char *operation, mk_buffer_t *out)
{
	struct mk_buffer_entry *e;
	uint32_t index;
	uint64_t mark;
	bool again;
	int r;

	pthread_mutex_lock(&ctx->lock);
	r = mk_ctx_ready(ctx, operation);
	if (r)
		goto out;
	index = entry_take(ctx);
	if (!index) {
		r = no_entry(ctx, operation);
		goto out;
	}
	e = &ctx->buffers.entry[index];
	e->offset = 0;
	e->size = bytes;
	e->flags = flags;
	e->import = import;
	do {
		mark = mk_load_relaxed(&ctx->restarts);
		r = entry_open(ctx, index, operation);
		again = r && mk_ctx_again(ctx, r, mark);
		/* the table may have moved meanwhile */
		e = &ctx->buffers.entry[index];
		if (r) {
			free(e->mirror);
			e->mirror = NULL;
		}
	} while (again);
	if (r) {
		e->import = NULL; /* the caller's again */
		entry_give(ctx, index);
		goto out;
	}
	*out = (uint64_t)e->generation << 32 | index;
out:
	pthread_mutex_unlock(&ctx->lock);
	return r;
}

int mk_buffer_create(struct mk_ctx *ctx, uint64_t bytes, uint32_t flags,
		     mk_buffer_t *out)
{
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
	return mk_buffer_open(ctx, bytes, flags, NULL, "mk_buffer_create",
			      out);
}

/* Lock the context when nobody holds the buffer; the entry, or NULL with the
 * error set and *code. Locked either way. */
static struct mk_buffer_entry *lock_unheld(struct mk_ctx *ctx,
					   mk_buffer_t buffer,
					   uint64_t deadline, int *code)
{
	struct timespec nap = { 0, 20000 };
	struct mk_buffer_entry *e;

	for (;;) {
		pthread_mutex_lock(&ctx->lock);
		mk_ctx_await(ctx);
		e = mk_buffer_named(ctx, buffer, "mk_buffer_destroy");
		if (!e)
			*code = mk_error_code();
		if (!e || !e->holds)
			return e;
		if (!mk_time_left(deadline)) {
			*code = mk_error_set(
				-ETIME, 0, "mk_buffer_destroy",
				"buffer 0x%llx is still held by %u of "
				"mk_buffer_hold(), as reads into it do that "
				"are under way", (unsigned long long)buffer,
				e->holds);
			return NULL;
		}
		pthread_mutex_unlock(&ctx->lock);
		nanosleep(&nap, NULL);
		if (nap.tv_nsec < 1000000)
			nap.tv_nsec *= 2;
	}
}

int mk_buffer_destroy(struct mk_ctx *ctx, mk_buffer_t buffer,
		      uint64_t timeout_ns)
{
	uint64_t deadline = mk_deadline_after(timeout_ns);
	uint32_t index = mk_buffer_ref(buffer).index;
	struct mk_buffer_entry *e;
	int r = 0;

	if (!ctx)
		return mk_error_null("mk_buffer_destroy", "ctx");
	e = lock_unheld(ctx, buffer, deadline, &r);
	if (!e)
		goto out;
	/* a lost engine has nothing to detach */
	if (!mk_load_acquire(&ctx->lost))
		r = ctx->ops->buffer_detach(ctx->engine, index,
					    mk_time_left(deadline));
	if (r == -MK_EDEVLOST)
		r = 0;
	if (r)
		goto out;
	mk_buffer_memory_give(ctx, e);
	ctx->buffers.live--;
	entry_give(ctx, index);
out:
	pthread_mutex_unlock(&ctx->lock);
	return r;
}

int mk_buffer_map(struct mk_ctx *ctx, mk_buffer_t buffer, void **out)
{
	struct mk_buffer_entry *e;
	void *memory;
	int r = 0;

	if (!ctx || !out)
		return mk_error_null("mk_buffer_map", ctx ? "out" : "ctx");
	pthread_mutex_lock(&ctx->lock);
	e = mk_buffer_entry_of(ctx, buffer, "mk_buffer_map");
	memory = e ? mk_buffer_memory(ctx, e) : NULL;
	if (memory)
		*out = memory;
	else if (!e)
		r = mk_error_code();
	else
		r = mk_error_set(-EOPNOTSUPP, 0, "mk_buffer_map",
				 "memory of engine %s cannot be mapped, but "
				 "for buffers made with MK_BUFFER_HOST; use "
				 "mk_buffer_read() and mk_buffer_write()",
				 ctx->real->name);
	pthread_mutex_unlock(&ctx->lock);
	return r;
}

int mk_buffer_bytes(struct mk_ctx *ctx, mk_buffer_t buffer, uint64_t *out)
{
	struct mk_buffer_entry *e;
	int r = 0;

	if (!ctx || !out)
		return mk_error_null("mk_buffer_bytes", ctx ? "out" : "ctx");
	pthread_mutex_lock(&ctx->lock);
	e = mk_buffer_entry_of(ctx, buffer, "mk_buffer_bytes");
	if (e)
		*out = e->size;
	else
		r = mk_error_code();
	pthread_mutex_unlock(&ctx->lock);
	return r;
}

int mk_buffer_hold(struct mk_ctx *ctx, mk_buffer_t buffer,
		   struct mk_buffer_held *out)
{
	struct mk_buffer_entry *e;
	int r = 0;

	if (!ctx || !out)
		return mk_error_null("mk_buffer_hold", ctx ? "out" : "ctx");
	pthread_mutex_lock(&ctx->lock);
	e = mk_buffer_entry_of(ctx, buffer, "mk_buffer_hold");
	if (e) {
		e->holds++;
		*out = (struct mk_buffer_held){
			.memory = mk_buffer_memory(ctx, e),
			.bytes = e->size,
			.flags = e->flags,
		};
	} else {
		r = mk_error_code();
	}
	pthread_mutex_unlock(&ctx->lock);
	return r;
}

int mk_buffer_let(struct mk_ctx *ctx, mk_buffer_t buffer)
{
	struct mk_buffer_entry *e;
	int r = 0;

	if (!ctx)
		return mk_error_null("mk_buffer_let", "ctx");
	pthread_mutex_lock(&ctx->lock);
	/* a restart may have renewed the handle meanwhile */
	e = mk_buffer_named(ctx, buffer, "mk_buffer_let");
	if (e && e->holds)
		e->holds--;
	else
		r = mk_error_set(-EINVAL, 0, "mk_buffer_let",
				 "buffer 0x%llx is not held",
				 (unsigned long long)buffer);
	pthread_mutex_unlock(&ctx->lock);
	return r;
}
