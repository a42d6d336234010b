/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes into and out of buffers. Memory that the caller does not have goes
 * through a staging range of the shared memory, in two halves: while the
 * device copies one, the caller's processor copies the other.
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/order.h"
#include "buffer/buffer.h"
#include "context/region.h"

#define HALF_MOST (1u << 20)
#define HALF_LEAST (64u << 10)

/* One copy between a buffer and the caller's memory. */
struct staged {
	struct mk_ctx *ctx;
	uint32_t index;
	uint64_t offset; /* in the buffer */
	unsigned char *data;
	uint64_t bytes;
	uint64_t staging, room; /* in the region */
	uint64_t half;
};

/* All of it, or two halves as large as can be had. */
static int staging_take(struct staged *s)
{
	int r = -ENOMEM;

	for (s->half = HALF_MOST; r == -ENOMEM && s->half >= HALF_LEAST;
	     s->half /= 2) {
		s->room = s->bytes <= s->half ? s->bytes : 2 * s->half;
		r = mk_region_take(s->ctx, &s->ctx->shared, s->room,
				   &s->staging, "mk_buffer_copy",
				   "shared_bytes");
		if (!r)
			return 0;
	}
	return r;
}

static uint64_t piece_bytes(const struct staged *s, uint64_t at)
{
	return s->bytes - at < s->half ? s->bytes - at : s->half;
}

static uint64_t piece_stage(const struct staged *s, uint64_t at)
{
	return s->staging + (at / s->half % 2) * s->half;
}

static int piece_copy(const struct staged *s, uint64_t at, uint32_t flags)
{
	uint64_t n = at < s->bytes ? piece_bytes(s, at) : 0;

	return s->ctx->ops->buffer_copy(s->ctx->engine, s->index,
					s->offset + (n ? at : 0),
					n ? piece_stage(s, at) : s->staging,
					n, flags);
}

/* A half is filled again when the copy before the last one has ended. */
static int staged_write(const struct staged *s)
{
	int r = 0;

	for (uint64_t at = 0; at < s->bytes && !r; at += s->half) {
		bool last = s->bytes - at <= s->half;

		memcpy(s->ctx->region.base + piece_stage(s, at), s->data + at,
		       piece_bytes(s, at));
		r = piece_copy(s, at, MK_COPY_TO_DEVICE |
					      (last ? 0 : MK_COPY_BEHIND));
	}
	return r;
}

/* Asking for the next piece waits for this one. */
static int staged_read(const struct staged *s)
{
	int r = piece_copy(s, 0, s->bytes > s->half ? MK_COPY_BEHIND : 0);

	for (uint64_t at = 0; at < s->bytes && !r; at += s->half) {
		uint64_t next = at + s->half;

		if (s->bytes > s->half)
			r = piece_copy(s, next,
				       next < s->bytes ? MK_COPY_BEHIND : 0);
		if (!r)
			memcpy(s->data + at,
			       s->ctx->region.base + piece_stage(s, at),
			       piece_bytes(s, at));
	}
	return r;
}

int mk_buffer_copy_staged(struct mk_ctx *ctx, uint32_t index, uint64_t offset,
			  unsigned char *data, uint64_t bytes, bool to_device)
{
	struct staged s = { .ctx = ctx, .index = index, .offset = offset,
			    .data = data, .bytes = bytes };
	struct mk_error why;
	int r = staging_take(&s);

	if (r)
		return r;
	r = to_device ? staged_write(&s) : staged_read(&s);
	if (r) {
		why = *mk_error_last();
		/* what is under way uses the staging range: if its end cannot
		 * be had, the range is never used again */
		if (r != -MK_EDEVLOST && piece_copy(&s, bytes, 0))
			return mk_error_copy(&why);
		mk_error_copy(&why);
	}
	mk_region_give(ctx, &ctx->shared, s.staging, s.room);
	return r;
}

static int check_range(const struct mk_buffer_entry *e, uint64_t offset,
		       uint64_t bytes, const char *operation)
{
	if (offset <= e->size && bytes <= e->size - offset)
		return 0;
	return mk_error_set(-MK_ERANGE, 0, operation,
			    "offset %llu + bytes %llu exceeds the buffer's "
			    "%llu bytes", (unsigned long long)offset,
			    (unsigned long long)bytes,
			    (unsigned long long)e->size);
}

/* So much is copied word by word: with ThreadSanitizer everything, so that it
 * knows what is meant. */
#define WORDS_MOST (MK_TSAN ? UINT64_MAX : 4096u)

/* Counters change while they are looked at: whole words go in one piece. */
static bool by_words(const void *memory, uint64_t bytes)
{
	return !(((uintptr_t)memory | bytes) % 8) && bytes <= WORDS_MOST;
}

static void copy_in(void *memory, const unsigned char *data, uint64_t bytes)
{
	uint64_t *to = memory, word;

	if (!by_words(memory, bytes)) {
		memcpy(memory, data, bytes);
		return;
	}
	for (uint64_t i = 0; i < bytes / 8; i++) {
		memcpy(&word, data + 8 * i, 8);
		mk_store_relaxed(&to[i], word);
	}
}

static void copy_out(unsigned char *data, const void *memory, uint64_t bytes)
{
	const uint64_t *from = memory;
	uint64_t word;

	if (!by_words(memory, bytes)) {
		memcpy(data, memory, bytes);
		return;
	}
	for (uint64_t i = 0; i < bytes / 8; i++) {
		word = mk_load_acquire(&from[i]);
		memcpy(data + 8 * i, &word, 8);
	}
}

static int buffer_copy(struct mk_ctx *ctx, mk_buffer_t buffer, uint64_t offset,
		       void *data, uint64_t bytes, bool to_device,
		       const char *operation)
{
	unsigned char *memory = NULL;
	struct mk_buffer_entry *e;
	int r = 0;

	if (!ctx)
		return mk_error_null(operation, "ctx");
	pthread_mutex_lock(&ctx->lock);
	mk_ctx_await(ctx);
	e = mk_buffer_entry_of(ctx, buffer, operation);
	r = e ? check_range(e, offset, bytes, operation) :
		mk_error_code();
	if (!r && bytes && !data)
		r = mk_error_null(operation, "data");
	if (!r && bytes) {
		memory = mk_buffer_memory(ctx, e);
		if (!memory)
			r = mk_ctx_check(ctx, operation);
		if (!memory && !r)
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
		copy_in(memory + offset, data, bytes);
	else if (memory)
		copy_out(data, memory + offset, bytes);
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

/* ---- from buffer to buffer ---------------------------------------------- */

struct side {
	struct mk_buffer_entry *e;
	uint32_t index;
	uint64_t offset;
	unsigned char *memory; /* at offset, or NULL */
};

static int side_find(struct mk_ctx *ctx, mk_buffer_t buffer, uint64_t offset,
		     uint64_t bytes, struct side *s)
{
	int r;

	s->e = mk_buffer_entry_of(ctx, buffer, "mk_buffer_copy");
	if (!s->e)
		return mk_error_code();
	r = check_range(s->e, offset, bytes, "mk_buffer_copy");
	if (r)
		return r;
	s->index = mk_buffer_ref(buffer).index;
	s->offset = offset;
	s->memory = mk_buffer_memory(ctx, s->e);
	if (s->memory)
		s->memory += offset;
	return 0;
}

/* The device copies to or from host memory that it knows. */
static int copy_by_device(struct mk_ctx *ctx, const struct side *to,
			  const struct side *from, uint64_t bytes)
{
	const struct side *device = to->memory ? from : to;
	const struct side *host = to->memory ? to : from;

	if (!host->memory)
		return mk_error_set(-EOPNOTSUPP, 0, "mk_buffer_copy",
				    "neither buffer has memory in this "
				    "process; use MK_OP_COPY");
	return ctx->ops->buffer_copy(ctx->engine, device->index,
				     device->offset,
				     host->e->offset + host->offset, bytes,
				     device == to ? MK_COPY_TO_DEVICE : 0);
}

static int copy_checked(struct mk_ctx *ctx, const struct side *to,
			const struct side *from, uint64_t bytes)
{
	int r;

	if (to->index == from->index &&
	    to->offset < from->offset + bytes &&
	    from->offset < to->offset + bytes)
		return mk_error_set(-EINVAL, 0, "mk_buffer_copy",
				    "offset %llu and offset %llu of one "
				    "buffer overlap over %llu bytes",
				    (unsigned long long)to->offset,
				    (unsigned long long)from->offset,
				    (unsigned long long)bytes);
	if (to->memory && from->memory) {
		memcpy(to->memory, from->memory, bytes);
	} else {
		r = mk_ctx_check(ctx, "mk_buffer_copy");
		if (!r)
			r = copy_by_device(ctx, to, from, bytes);
		if (r)
			return r;
	}
	if (to->e->mirror && from->memory)
		memcpy(to->e->mirror + to->offset, from->memory, bytes);
	else if (to->e->mirror)
		memcpy(to->e->mirror + to->offset, to->memory, bytes);
	return 0;
}

int mk_buffer_copy(struct mk_ctx *ctx, mk_buffer_t target,
		   uint64_t target_offset, mk_buffer_t source,
		   uint64_t source_offset, uint64_t bytes)
{
	struct side to, from;
	int r;

	if (!ctx)
		return mk_error_null("mk_buffer_copy", "ctx");
	pthread_mutex_lock(&ctx->lock);
	mk_ctx_await(ctx);
	r = side_find(ctx, target, target_offset, bytes, &to);
	if (!r)
		r = side_find(ctx, source, source_offset, bytes, &from);
	if (!r && bytes)
		r = copy_checked(ctx, &to, &from, bytes);
	pthread_mutex_unlock(&ctx->lock);
	return r;
}
