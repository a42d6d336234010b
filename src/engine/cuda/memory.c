/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device memory. The driver's free waits for the end of a resident kernel, so
 * buffers are cut from larger allocations, which are kept until the kernel is
 * off. Copies go through a stream of their own, by the copy engines; so does
 * clearing, since a memset may be a kernel.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "engine/cuda/host.h"

#define CHUNK_BYTES (32ull << 20)
#define GRAIN 512u
#define COPY_TIMEOUT_NS 30000000000ull
#define COPIES_QUEUED 64u /* pieces put on the stream before a wait */

/* ---- copies ------------------------------------------------------------ */

int mkc_side_wait(struct mk_engine *e, uint64_t timeout_ns)
{
	uint64_t deadline = mk_deadline_after(timeout_ns);
	struct timespec nap = { 0, MKC_NAP_NS };

	for (unsigned looks = 0;; looks++) {
		CUresult r = e->d->stream_query(e->side);

		if (!r) {
			e->copying = false;
			return 0;
		}
		if (r != MKC_NOT_READY)
			return mkc_lost(e, r, "copying");
		if (!mk_time_left(deadline))
			return mk_error_set(-ETIME, 0, "cuda engine",
					    "a copy did not end in %llu ms",
					    (unsigned long long)
					    (timeout_ns / 1000000));
		if (looks > 100)
			nanosleep(&nap, NULL);
	}
}

int mkc_clear(struct mk_engine *e, CUdeviceptr at, uint64_t bytes)
{
	unsigned queued = 0;
	int r = 0;

	for (uint64_t done = 0; done < bytes && !r; done += MKC_ZEROS) {
		uint64_t n = bytes - done;
		CUresult failed;

		if (n > MKC_ZEROS)
			n = MKC_ZEROS;
		failed = e->d->copy_to_device(at + done, e->zeros, n, e->side);
		if (failed)
			return mkc_lost(e, failed, "clearing memory");
		if (++queued % COPIES_QUEUED == 0)
			r = mkc_side_wait(e, COPY_TIMEOUT_NS);
	}
	return r ? r : mkc_side_wait(e, COPY_TIMEOUT_NS);
}

/* ---- the engine's own --------------------------------------------------- */

static uint64_t carve(uint64_t *at, uint64_t bytes)
{
	uint64_t here = *at;

	*at += (bytes + 255) & ~255ull;
	return here;
}

/* How made work is spread. Returns the pieces that there is room for. */
static uint64_t flow_shape(struct mk_engine *e)
{
	struct mkd_flow_head *f = &e->flow;
	uint32_t workers = e->config.workers;

	f->homes = workers < MKD_HOMES_MAX ? workers : MKD_HOMES_MAX;
	f->dealt = e->config.made_mode == MK_MADE_FIXED;
	f->entries = 1;
	while ((uint64_t)f->entries * f->homes < e->config.made_entries) {
		f->entries *= 2;
		f->shift++;
	}
	return (uint64_t)f->homes * f->entries;
}

/* Where the tables lie in the arena; scratch comes last, uncleared. */
static void arena_layout(struct mk_engine *e)
{
	struct mkd_launch *l = &e->launch;
	uint64_t at = 0, workers = e->config.workers, made;

	made = flow_shape(e);
	l->state = carve(&at, sizeof(struct mkd_state));
	l->queues = carve(&at, MKD_PLACES * sizeof(struct mkd_queue));
	/* one more, for the warps that only help */
	l->workers = carve(&at, (workers + 1) * sizeof(struct mkd_worker));
	l->counters = carve(&at, workers * sizeof(struct mk_worker_block));
	l->windows = carve(&at, e->config.windows * sizeof(struct mk_window));
	l->flow = carve(&at, sizeof(struct mkd_flow));
	e->flow.home = (void *)(uintptr_t)carve(
		&at, e->flow.homes * sizeof(struct mkd_home));
	e->flow.places = (void *)(uintptr_t)carve(
		&at, made * sizeof(struct mkd_made));
	e->cleared_bytes = at;
	e->flow.parked = (void *)(uintptr_t)carve(
		&at, made * sizeof(struct mkd_job));
	l->scratch_bytes = (e->config.scratch_bytes + 15) & ~15u;
	l->scratch = carve(&at, workers * l->scratch_bytes);
	e->arena_bytes = at;
}

static void arena_place(struct mk_engine *e)
{
	struct mkd_launch *l = &e->launch;

	l->state += e->arena;
	l->queues += e->arena;
	l->workers += e->arena;
	l->counters += e->arena;
	l->windows += e->arena;
	l->scratch += e->arena;
	l->flow += e->arena;
	e->flow.home = (void *)((uintptr_t)e->flow.home + e->arena);
	e->flow.places = (void *)((uintptr_t)e->flow.places + e->arena);
	e->flow.parked = (void *)((uintptr_t)e->flow.parked + e->arena);
	e->flow.takes = (const void *)(uintptr_t)(
		l->state + offsetof(struct mkd_state, takes));
}

/* What the kernel finds at the begin of its struct mkd_flow. */
static int tell_flow(struct mk_engine *e)
{
	CUresult r;
	int code;

	memcpy(e->mail->payload, &e->flow, sizeof(e->flow));
	r = e->d->copy_to_device(e->launch.flow, e->mail->payload,
				 sizeof(e->flow), e->side);
	if (r)
		return mkc_lost(e, r, "copying");
	code = mkc_side_wait(e, COPY_TIMEOUT_NS);
	memset(e->mail->payload, 0, sizeof(e->flow));
	return code;
}

static int open_arena(struct mk_engine *e)
{
	CUresult r;

	arena_layout(e);
	r = e->d->mem_alloc(&e->arena, e->arena_bytes);
	if (r) {
		e->arena = 0;
		return mkc_fail(e->d, r, "cuda engine",
				"device memory for tables and scratch "
				"(workers x scratch_bytes; lower either)");
	}
	arena_place(e);
	return 0;
}

static int open_host(struct mk_engine *e)
{
	const unsigned flags = MKC_HOST_PORTABLE | MKC_HOST_DEVICEMAP;
	CUdeviceptr at;
	void *p = NULL;
	CUresult r;

	r = e->d->host_alloc(&p, sizeof(*e->mail), flags);
	if (r)
		return mkc_fail(e->d, r, "cuda engine",
				"pinned memory for the mailbox");
	e->mail = p;
	memset(p, 0, sizeof(*e->mail));
	r = e->d->host_device(&at, p, 0);
	if (r)
		return mkc_fail(e->d, r, "cuda engine",
				"the mailbox's address on the device");
	e->launch.mail = at;
	r = e->d->host_alloc(&p, MKC_ZEROS, flags);
	if (r)
		return mkc_fail(e->d, r, "cuda engine",
				"pinned memory for clearing");
	e->zeros = p;
	memset(p, 0, MKC_ZEROS);
	return 0;
}

static int open_region(struct mk_engine *e)
{
	const unsigned flags = MKC_HOST_PORTABLE | MKC_HOST_DEVICEMAP;
	CUdeviceptr at;
	CUresult r;

	r = e->d->host_register(e->region.base, e->region.shared_bytes, flags);
	if (r)
		return mkc_fail(e->d, r, "cuda engine",
				"registering the shared memory with the "
				"device (shared_bytes may exceed what can be "
				"pinned)");
	e->registered = true;
	r = e->d->host_device(&at, e->region.base, 0);
	if (r)
		return mkc_fail(e->d, r, "cuda engine",
				"the shared memory's address on the device");
	e->launch.region = at;
	e->launch.shared_bytes = e->region.shared_bytes;
	e->launch.blocks_offset = (uint32_t)e->region.workers_offset;
	return 0;
}

int mkc_memory_open(struct mk_engine *e)
{
	int r;

	e->buffers = calloc(e->config.windows, sizeof(*e->buffers));
	if (!e->buffers)
		return mk_error_set(-ENOMEM, ENOMEM, "cuda engine",
				    "no memory for the buffer table");
	r = open_region(e);
	if (!r)
		r = open_host(e);
	if (!r)
		r = open_arena(e);
	if (!r)
		r = mkc_clear(e, e->arena, e->cleared_bytes);
	if (!r)
		r = tell_flow(e);
	return r;
}

static void chunk_free(struct mk_engine *e, struct mkc_chunk *c)
{
	if (!e->on)
		e->d->mem_free(c->base);
	mk_space_fini(&c->space);
	free(c);
}

/* The kernel is off; or it cannot be ended, and nothing can be freed. */
void mkc_memory_close(struct mk_engine *e)
{
	struct mkc_chunk *c;

	mkc_memory_tidy(e);
	mkc_import_close(e);
	while ((c = e->chunks)) {
		e->chunks = c->next;
		chunk_free(e, c);
	}
	free(e->buffers);
	e->buffers = NULL;
	if (e->arena && !e->on)
		e->d->mem_free(e->arena);
	if (e->zeros && !e->on)
		e->d->host_free(e->zeros);
	if (e->mail && !e->on)
		e->d->host_free(e->mail);
	if (e->registered && !e->on)
		e->d->host_unregister(e->region.base);
	e->arena = 0;
	e->zeros = NULL;
	e->mail = NULL;
	e->registered = false;
}

/* ---- chunks ------------------------------------------------------------- */

void mkc_memory_tidy(struct mk_engine *e)
{
	struct mkc_chunk *c;

	if (e->on)
		return;
	while ((c = e->old_chunks)) {
		e->old_chunks = c->next;
		chunk_free(e, c);
	}
}

static struct mkc_chunk *chunk_new(struct mk_engine *e, uint64_t bytes)
{
	const uint64_t grain = 2u << 20;
	uint64_t whole = (bytes + grain - 1) & ~(grain - 1);
	struct mkc_chunk *c = calloc(1, sizeof(*c));
	CUresult r;

	if (whole < CHUNK_BYTES)
		whole = CHUNK_BYTES;
	if (!c || mk_space_init(&c->space, 0, whole, GRAIN)) {
		free(c);
		mk_error_set(-ENOMEM, ENOMEM, "cuda engine",
			     "no memory for the list of buffers");
		return NULL;
	}
	c->bytes = whole;
	r = e->d->mem_alloc(&c->base, whole);
	if (r == MKC_OUT_OF_MEMORY && whole > bytes) {
		/* not even a chunk: as much as is asked for, then */
		mk_space_fini(&c->space);
		whole = (bytes + GRAIN - 1) & ~(uint64_t)(GRAIN - 1);
		c->bytes = whole;
		if (!mk_space_init(&c->space, 0, whole, GRAIN))
			r = e->d->mem_alloc(&c->base, whole);
	}
	if (r) {
		mkc_fail(e->d, r, "cuda engine", "device memory for a buffer");
		mk_space_fini(&c->space);
		free(c);
		return NULL;
	}
	c->next = e->chunks;
	e->chunks = c;
	return c;
}

/* A range of device memory; 0 or the code. */
static int range_take(struct mk_engine *e, struct mkc_buffer *b,
		      uint64_t bytes)
{
	struct mkc_chunk *c;

	for (c = e->chunks; c; c = c->next)
		if (c->bytes - c->space.used >= bytes &&
		    !mk_space_alloc(&c->space, bytes, &b->offset))
			break;
	if (!c) {
		c = chunk_new(e, bytes);
		if (!c)
			return mk_error_code();
		if (mk_space_alloc(&c->space, bytes, &b->offset))
			return mk_error_set(-ENOMEM, ENOMEM, "cuda engine",
					    "no memory for the list of "
					    "buffers");
	}
	b->chunk = c;
	b->room = bytes;
	b->at = c->base + b->offset;
	return 0;
}

/* An empty chunk goes, unless it is the last small one. */
static void chunk_give(struct mk_engine *e, struct mkc_buffer *b)
{
	struct mkc_chunk *c = b->chunk, **at = &e->chunks;

	mk_space_free(&c->space, b->offset, b->room);
	if (c->space.used || (e->chunks == c && !c->next &&
			      c->bytes <= CHUNK_BYTES))
		return;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	c->next = e->old_chunks;
	e->old_chunks = c;
	mkc_memory_tidy(e);
}

int mkc_range_take(struct mk_engine *e, struct mkc_buffer *b, uint64_t bytes,
		   uint64_t cleared)
{
	int r = range_take(e, b, bytes);

	if (r)
		return r;
	b->bytes = bytes;
	r = mkc_clear(e, b->at, cleared);
	if (r)
		mkc_range_give(e, b);
	return r;
}

void mkc_range_give(struct mk_engine *e, struct mkc_buffer *b)
{
	if (b->chunk)
		chunk_give(e, b);
	memset(b, 0, sizeof(*b));
}

/* ---- buffers ------------------------------------------------------------ */

static int window_set(struct mk_engine *e, uint32_t index,
		      const struct mkc_buffer *b)
{
	struct mk_window w;

	memset(&w, 0, sizeof(w));
	w.base = b->at;
	w.bytes = b->bytes;
	w.generation = b->generation;
	w.last = b->generation;
	w.born = b->born;
	w.flags = b->flags;
	return mkc_command(e, MKD_CMD_WINDOW, index, 0, &w, sizeof(w),
			   MKC_GRACE_NS);
}

/* Memory of our own, cleared. */
static int memory_take(struct mk_engine *e, struct mkc_buffer *b)
{
	int r = range_take(e, b, b->bytes);

	if (r)
		return r;
	r = mkc_clear(e, b->at, b->bytes);
	if (r)
		chunk_give(e, b);
	return r;
}

/* Where the buffer's memory is, or shall be: sets b->at. */
static int place(struct mk_engine *e, const struct mk_buffer_desc *d,
		 struct mkc_buffer *b)
{
	int r;

	switch (d->origin) {
	case MK_ORIGIN_SHARED:
		/* registered from the beginning, and as new */
		b->at = e->launch.region + d->offset;
		return 0;
	case MK_ORIGIN_POINTER:
		b->at = d->address;
		return mkc_import_pointer(e, d->address, d->bytes);
	case MK_ORIGIN_IPC:
		r = mkc_import_ipc(e, d->handle, d->offset, d->bytes, &b->map);
		if (!r)
			b->at = b->map->base + d->offset;
		return r;
	default:
		return memory_take(e, b);
	}
}

/* Give back what it has. Fails for a mapping only. */
static int unplace(struct mk_engine *e, struct mkc_buffer *b,
		   uint64_t timeout_ns)
{
	int r = b->map ? mkc_import_end(e, b->map, timeout_ns) : 0;

	if (r && !e->failed)
		return r;
	if (b->chunk)
		chunk_give(e, b);
	memset(b, 0, sizeof(*b));
	return r;
}

static bool acceptable(const struct mk_engine *e,
		       const struct mk_buffer_desc *d)
{
	if (d->index >= e->config.windows || !d->generation || !d->bytes ||
	    e->buffers[d->index].at)
		return false;
	return d->origin != MK_ORIGIN_SHARED ||
	       (d->offset <= e->region.shared_bytes &&
		d->bytes <= e->region.shared_bytes - d->offset);
}

int mkc_buffer_attach(struct mk_engine *e, const struct mk_buffer_desc *d)
{
	struct mkc_buffer *b;
	struct mk_error why;
	int r;

	if (!acceptable(e, d))
		return mk_error_set(-MK_EPROTO, 0, "cuda engine",
				    "buffer %u of generation %u and %llu "
				    "bytes is not valid here", d->index,
				    d->generation,
				    (unsigned long long)d->bytes);
	r = mkc_check(e);
	if (r)
		return r;
	b = &e->buffers[d->index];
	b->bytes = d->bytes;
	b->generation = d->generation;
	b->born = d->born;
	b->flags = d->flags;
	r = place(e, d, b);
	if (r) {
		memset(b, 0, sizeof(*b));
		return r;
	}
	r = window_set(e, d->index, b);
	if (r) {
		why = *mk_error_last();
		unplace(e, b, MKC_GRACE_NS);
		return mk_error_copy(&why);
	}
	return 0;
}

static struct mkc_buffer *find(struct mk_engine *e, uint32_t index)
{
	if (index < e->config.windows && e->buffers[index].at)
		return &e->buffers[index];
	mk_error_set(-MK_EPROTO, 0, "cuda engine", "there is no buffer %u",
		     index);
	return NULL;
}

int mkc_buffer_detach(struct mk_engine *e, uint32_t index, uint64_t timeout_ns)
{
	struct mkc_buffer *b = find(e, index);
	struct mk_error why;
	int r;

	if (!b)
		return -MK_EPROTO;
	r = mkc_command(e, MKD_CMD_UNWINDOW, index, 0, NULL, 0, timeout_ns);
	if (r)
		return r;
	r = unplace(e, b, timeout_ns);
	if (!r || !b->at)
		return r;
	/* a slot runs, and it stays mapped: as it was before */
	why = *mk_error_last();
	window_set(e, index, b);
	return mk_error_copy(&why);
}

/* Put one copy on the side stream. */
static int copy_start(struct mk_engine *e, CUdeviceptr at, void *host,
		      uint64_t bytes, bool to_device)
{
	CUresult r = to_device ?
			     e->d->copy_to_device(at, host, bytes, e->side) :
			     e->d->copy_to_host(host, at, bytes, e->side);

	if (r)
		return mkc_lost(e, r, "copying");
	e->copying = true;
	return 0;
}

int mkc_buffer_copy(struct mk_engine *e, uint32_t index, uint64_t offset,
		    uint64_t staging, uint64_t bytes, uint32_t flags)
{
	struct mkc_buffer *b = find(e, index);
	int r;

	if (!b)
		return -MK_EPROTO;
	if (offset > b->bytes || bytes > b->bytes - offset ||
	    staging > e->region.shared_bytes ||
	    bytes > e->region.shared_bytes - staging)
		return mk_error_set(-MK_EPROTO, 0, "cuda engine",
				    "copying %llu bytes at %llu of buffer %u, "
				    "staged at %llu, exceeds one of them",
				    (unsigned long long)bytes,
				    (unsigned long long)offset, index,
				    (unsigned long long)staging);
	r = mkc_check(e);
	/* the other half of the staging range is free again when we return */
	if (!r && e->copying)
		r = mkc_side_wait(e, COPY_TIMEOUT_NS);
	if (!r && bytes)
		r = copy_start(e, b->at + offset, e->region.base + staging,
			       bytes, flags & MK_COPY_TO_DEVICE);
	if (r || !e->copying || flags & MK_COPY_BEHIND)
		return r;
	return mkc_side_wait(e, COPY_TIMEOUT_NS);
}
