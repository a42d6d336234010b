/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: made, given files, asked for chunks, ended. */
#include "io/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "io/error.h"

#define FLAGS                                                           \
	(MK_STREAM_CALLER | MK_STREAM_NO_URING | MK_STREAM_DIRECT |     \
	 MK_STREAM_NO_DIRECT | MK_STREAM_IDEMPOTENT | MK_STREAM_DEVICE)
#define CHUNK_BYTES_MAX (1u << 30)
#define OVERLAP_MAX (1u << 20)
#define READERS_DEFAULT_MAX 8
#define READERS_MAX 32u

/* ---- parameters --------------------------------------------------------- */

static int bad(const char *field, uint64_t value, const char *limit)
{
	return mkio_error(-EINVAL, 0, "mk_stream_create",
			  "params.%s is %llu, must be %s", field,
			  (unsigned long long)value, limit);
}

static int check_sizes(const struct mk_stream_params *p)
{
	if (p->chunks < 2 || p->chunks > 1024)
		return bad("chunks", p->chunks, "2 to 1,024, or 0");
	if (p->chunk_bytes % MKS_PAGE || p->chunk_bytes > CHUNK_BYTES_MAX)
		return bad("chunk_bytes", p->chunk_bytes,
			   "a multiple of 4,096 up to 2^30, or 0 for 1 MiB");
	if (p->overlap_bytes > OVERLAP_MAX ||
	    p->overlap_bytes > p->chunk_bytes)
		return bad("overlap_bytes", p->overlap_bytes,
			   "at most chunk_bytes, and 1 MiB");
	if (p->result_bytes > CHUNK_BYTES_MAX)
		return bad("result_bytes", p->result_bytes, "at most 2^30");
	if (p->pieces_max > 65536)
		return bad("pieces_max", p->pieces_max,
			   "1 to 65,536, or 0 for 1,024");
	if (p->files_max > 1024)
		return bad("files_max", p->files_max,
			   "1 to 1,024, or 0 for 64");
	return 0;
}

/* Copy, fill in defaults, check. */
static int take_params(struct mk_stream_params *p,
		       const struct mk_stream_params *given, bool device)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	int r = mkio_params(p, sizeof(*p), given, "mk_stream_create");

	if (r)
		return r;
#define DEFAULT(field, value) p->field = p->field ? p->field : (value)
	DEFAULT(priority, MK_PRIORITY_NORMAL + 1);
	/* a GPU has many workers, each slow over the bus: many small chunks
	 * (docs/benchmarks.md) */
	DEFAULT(chunks, device ? 128 : 8);
	DEFAULT(chunk_bytes, device ? 256u << 10 : 1u << 20);
	DEFAULT(pieces_max, 1024);
	DEFAULT(files_max, 64);
	DEFAULT(readers, cores < 2 ? 1 : cores < 4 ? 2 :
			 cores / 2 > READERS_DEFAULT_MAX ?
				 READERS_DEFAULT_MAX : (uint32_t)cores / 2);
	DEFAULT(flush_ns, 1000000);
#undef DEFAULT
	if (p->flags & ~(uint32_t)FLAGS)
		return bad("flags", p->flags, "of enum mk_stream_flags");
	if ((p->flags & MK_STREAM_DIRECT) && (p->flags & MK_STREAM_NO_DIRECT))
		return bad("flags", p->flags, "DIRECT or NO_DIRECT, not both");
	if (p->priority > MK_PRIORITIES)
		return bad("priority", p->priority, "0 to 5");
	if (p->readers > READERS_MAX)
		return bad("readers", p->readers, "1 to 32, or 0");
	if (p->reserved)
		return bad("reserved", p->reserved, "0");
	return check_sizes(p);
}

static uint64_t pages(uint64_t bytes)
{
	return (bytes + MKS_PAGE - 1) & ~(uint64_t)(MKS_PAGE - 1);
}

static uint32_t data_start(const struct mk_stream_params *p)
{
	return (uint32_t)pages((uint64_t)p->pieces_max *
				       sizeof(struct mk_stream_piece) +
			       p->overlap_bytes);
}

/* A page more: what may be read behind a piece, and the end of a file that is
 * read in pages. */
static uint64_t buffer_bytes(const struct mk_stream_params *p)
{
	return (uint64_t)data_start(p) + p->chunk_bytes + MKS_PAGE;
}

int64_t mk_stream_bytes(const struct mk_stream_params *params)
{
	struct mk_stream_params p;
	int r = take_params(&p, params, true);

	return r ? r : (int64_t)(p.chunks * (buffer_bytes(&p) +
					     pages(p.result_bytes)));
}

/* ---- making ------------------------------------------------------------- */

static int find_handler(struct mk_stream *s)
{
	struct mk_handler_info *list, info = { .opcode = s->params.opcode };
	bool found = s->params.handler;
	int n, r = 0;

	if (found) {
		r = mk_handler_find(s->ctx, s->params.handler, &info);
	} else {
		list = calloc(MK_OPCODES, sizeof(*list));
		n = list ? mk_handler_list(s->ctx, list, MK_OPCODES) : 0;
		for (int i = 0; i < n && !found; i++) {
			found = list[i].opcode == s->params.opcode;
			if (found)
				info = list[i];
		}
		free(list);
		if (!found)
			return mkio_error(-MK_EOPCODE, 0, "mk_stream_create",
					  "params.handler is NULL, and no "
					  "handler has params.opcode %u",
					  s->params.opcode);
	}
	if (r)
		return r;
	if (info.arg_bytes != sizeof(struct mk_stream_args))
		return mkio_error(-MK_EARGS, 0, "mk_stream_create",
				  "handler %s takes %u bytes of arguments; it "
				  "has to take struct mk_stream_args, %zu",
				  info.name, info.arg_bytes,
				  sizeof(struct mk_stream_args));
	s->opcode = info.opcode;
	return 0;
}

static int mapped_buffer(struct mk_stream *s, uint64_t bytes, uint32_t flags,
			 mk_buffer_t *buffer, unsigned char **memory)
{
	void *p;
	int r = mk_buffer_create(s->ctx, bytes, MK_BUFFER_HOST | flags,
				 buffer);

	if (!r)
		r = mk_buffer_map(s->ctx, *buffer, &p);
	if (!r)
		*memory = p;
	return r;
}

/* A copy in the device's memory, where that is another. */
static int device_buffer(struct mk_stream *s, struct mks_chunk *c)
{
	struct mk_buffer_held held;
	int r;

	if (!(s->params.flags & MK_STREAM_DEVICE))
		return 0;
	r = mk_buffer_create(s->ctx, s->buffer_bytes, MK_BUFFER_READ_ONLY,
			     &c->device);
	if (!r)
		r = mk_buffer_hold(s->ctx, c->device, &held);
	if (r)
		return r;
	mk_buffer_let(s->ctx, c->device);
	if (!held.memory)
		return 0;
	s->params.flags &= ~(uint32_t)MK_STREAM_DEVICE;
	r = mk_buffer_destroy(s->ctx, c->device, MK_FOREVER);
	c->device = 0;
	return r;
}

static int make_chunk(struct mk_stream *s, struct mks_chunk *c)
{
	const struct mk_stream_params *p = &s->params;
	int r;

	c->piece = calloc(p->pieces_max, sizeof(*c->piece));
	c->table = calloc(p->pieces_max, sizeof(*c->table));
	if (!c->piece || !c->table)
		return mkio_error(-ENOMEM, ENOMEM, "mk_stream_create",
				  "no memory for %u pieces", p->pieces_max);
	r = mapped_buffer(s, s->buffer_bytes, MK_BUFFER_READ_ONLY, &c->buffer,
			  &c->memory);
	if (!r && p->result_bytes)
		r = mapped_buffer(s, p->result_bytes, 0, &c->result,
				  &c->result_memory);
	return r ? r : device_buffer(s, c);
}

static int make_chunks(struct mk_stream *s)
{
	int r = 0;

	s->chunk = calloc(s->params.chunks, sizeof(*s->chunk));
	if (s->chunk && s->params.overlap_bytes)
		s->tail = malloc(s->params.overlap_bytes);
	if (!s->chunk || (s->params.overlap_bytes && !s->tail))
		return mkio_error(-ENOMEM, ENOMEM, "mk_stream_create",
				  "no memory for %u chunks",
				  s->params.chunks);
	for (uint32_t i = 0; i < s->params.chunks && !r; i++) {
		s->chunk[i].index = i;
		r = make_chunk(s, &s->chunk[i]);
	}
	return r;
}

static uint32_t power_above(uint32_t n)
{
	uint32_t p = 2;

	while (p < n)
		p *= 2;
	return p;
}

static int make_queue(struct mk_stream *s)
{
	struct mk_queue_params p = {
		.size = sizeof(p),
		.entries = power_above(s->params.chunks),
		.priority = s->params.priority,
	};
	int r = mk_queue_create(s->ctx, &p, &s->q);

	if (r)
		return r;
	s->queue_fd = mk_queue_event_fd(s->q);
	if (s->queue_fd < 0)
		return s->queue_fd;
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake_fd < 0)
		return mkio_error(-errno, errno, "mk_stream_create",
				  "no eventfd can be had: %s",
				  strerror(errno));
	return 0;
}

static int make_ring(struct mk_stream *s)
{
	struct mkio_ring_params p = {
		.entries = 256,
		.threads = s->params.readers,
		.no_uring = s->params.flags & MK_STREAM_NO_URING,
	};
	int r = mkio_ring_create(&p, "mk_stream_create", &s->ring);

	if (!r)
		s->stats.uring = mkio_ring_is_uring(s->ring);
	return r;
}

/* Signals are for the caller's threads. */
static int start_thread(struct mk_stream *s)
{
	sigset_t all, old;
	int r;

	if (s->params.flags & MK_STREAM_CALLER)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&s->thread, NULL, mks_pump_thread, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	s->threaded = !r;
	return r ? mkio_error(-r, r, "mk_stream_create",
			      "no thread can be started: %s", strerror(r)) :
		   0;
}

static bool is_device(struct mk_ctx *ctx)
{
	struct mk_ctx_info info;

	return !mk_ctx_info(ctx, &info) && !strcmp(info.engine, "cuda");
}

static struct mk_stream *stream_new(struct mk_ctx *ctx,
				    const struct mk_stream_params *p)
{
	struct mk_stream *s = calloc(1, sizeof(*s));
	pthread_condattr_t clock;

	if (!s)
		return NULL;
	s->ctx = ctx;
	s->params = *p;
	s->data_start = data_start(p);
	s->buffer_bytes = buffer_bytes(p);
	s->queue_fd = s->wake_fd = -1;
	s->plan_end = &s->plan;
	s->added_end = &s->added;
	s->began_ns = mk_now_ns();
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&s->some, &clock);
	pthread_condattr_destroy(&clock);
	return s;
}

int mk_stream_create(struct mk_ctx *ctx, const struct mk_stream_params *params,
		     struct mk_stream **out)
{
	struct mk_stream_params p;
	struct mk_error why;
	struct mk_stream *s;
	int r;

	if (!ctx || !params || !out)
		return mkio_null("mk_stream_create",
				 !ctx ? "ctx" : params ? "out" : "params");
	r = take_params(&p, params, is_device(ctx));
	if (r)
		return r;
	s = stream_new(ctx, &p);
	if (!s)
		return mkio_error(-ENOMEM, ENOMEM, "mk_stream_create",
				  "no memory for a stream");
	r = find_handler(s);
	s->params.handler = NULL; /* the caller's */
	if (!r)
		r = make_chunks(s);
	if (!r)
		r = make_queue(s);
	if (!r)
		r = make_ring(s);
	if (!r)
		r = start_thread(s);
	if (r) {
		why = *mk_error_last();
		mk_stream_destroy(s, MK_FOREVER);
		return mk_error_record(&why);
	}
	*out = s;
	return 0;
}

/* ---- files -------------------------------------------------------------- */

static int add(struct mk_stream *s, struct mks_source *source,
	       const char *operation)
{
	bool ended;

	pthread_mutex_lock(&s->lock);
	ended = s->ended;
	if (!ended) {
		*s->added_end = source;
		s->added_end = &source->next;
		mks_wake(s);
	}
	pthread_mutex_unlock(&s->lock);
	if (!ended)
		return 0;
	if (source->fd >= 0)
		close(source->fd);
	free(source->path);
	free(source);
	return mkio_error(-MK_ESTOPPED, 0, operation,
			  "mk_stream_end() was called before");
}

int mk_stream_add_path(struct mk_stream *s, const char *path, uint64_t file)
{
	struct mks_source *source;

	if (!s || !path)
		return mkio_null("mk_stream_add_path", s ? "path" : "s");
	source = mks_source_new(path, file);
	if (!source)
		return mkio_error(-ENOMEM, ENOMEM, "mk_stream_add_path",
				  "no memory for another file");
	return add(s, source, "mk_stream_add_path");
}

int mk_stream_add_fd(struct mk_stream *s, int fd, uint64_t file)
{
	struct mks_source *source;
	off_t at;
	int own;

	if (!s)
		return mkio_null("mk_stream_add_fd", "s");
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (own < 0)
		return mkio_error(-errno, errno, "mk_stream_add_fd",
				  "descriptor %d cannot be duplicated: %s", fd,
				  strerror(errno));
	source = mks_source_new(NULL, file);
	if (!source) {
		close(own);
		return mkio_error(-ENOMEM, ENOMEM, "mk_stream_add_fd",
				  "no memory for another file");
	}
	source->fd = own;
	at = lseek(own, 0, SEEK_CUR);
	source->at = at > 0 ? (uint64_t)at : 0;
	return add(s, source, "mk_stream_add_fd");
}

int mk_stream_end(struct mk_stream *s)
{
	if (!s)
		return mkio_null("mk_stream_end", "s");
	pthread_mutex_lock(&s->lock);
	s->ended = true;
	mks_wake(s);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

/* ---- chunks ------------------------------------------------------------- */

static void free_chunk(struct mk_stream *s, struct mks_chunk *c)
{
	mks_set_state(c, MKS_FREE);
	mks_wake(s);
}

/* Nothing can come: all that could is with the caller. */
static bool all_held(const struct mk_stream *s)
{
	return s->held == s->params.chunks;
}

static int give(struct mk_stream *s, struct mks_chunk *c,
		struct mk_stream_chunk *out)
{
	mks_set_state(c, MKS_HELD);
	s->held++;
	s->deliver++;
	s->stats.chunks_done++;
	s->stats.chunks_failed += c->error < 0;
	*out = (struct mk_stream_chunk){
		.sequence = c->sequence,
		.error = c->error,
		.pieces = c->sent,
		.value = c->value,
		.piece = c->table,
		.data = c->memory,
		.result = c->result_memory,
		.index = c->index,
	};
	return 1;
}

/* Under lock: 1 with a chunk, 0 at the end, or a code; -EAGAIN: not yet. */
static int look(struct mk_stream *s, struct mk_stream_chunk *out)
{
	struct mks_chunk *c = mks_chunk_at(s, s->deliver);

	while (mks_state(c) == MKS_EMPTY) {
		free_chunk(s, c);
		s->deliver++;
		c = mks_chunk_at(s, s->deliver);
	}
	if (mks_state(c) == MKS_READY)
		return give(s, c, out);
	if (s->finished && s->deliver == s->fill)
		return 0;
	if (s->fatal)
		return s->fatal;
	return all_held(s) ? -ENOBUFS : -EAGAIN;
}

/* Under lock, which it lets go: until something may have come. */
static bool wait_some(struct mk_stream *s, uint64_t deadline)
{
	struct timespec t = { .tv_sec = (time_t)(deadline / 1000000000u),
			      .tv_nsec = (long)(deadline % 1000000000u) };

	if (s->threaded && deadline == UINT64_MAX) {
		pthread_cond_wait(&s->some, &s->lock);
		return true;
	}
	if (s->threaded)
		return !pthread_cond_timedwait(&s->some, &s->lock, &t) ||
		       mk_time_left(deadline);
	pthread_mutex_unlock(&s->lock);
	if (!mks_pump(s) && mk_time_left(deadline))
		mks_pump_wait(s, deadline);
	pthread_mutex_lock(&s->lock);
	return mk_time_left(deadline);
}

int mk_stream_next(struct mk_stream *s, struct mk_stream_chunk *out,
		   uint64_t timeout_ns)
{
	uint64_t deadline = mk_deadline_after(timeout_ns);
	bool more = true;
	int r;

	if (!s || !out)
		return mkio_null("mk_stream_next", s ? "out" : "s");
	if (!s->threaded)
		mks_pump(s);
	pthread_mutex_lock(&s->lock);
	while ((r = look(s, out)) == -EAGAIN && more)
		more = wait_some(s, deadline);
	pthread_mutex_unlock(&s->lock);
	if (r == -EAGAIN)
		return mkio_error(-ETIME, 0, "mk_stream_next",
				  "no chunk was ready in time");
	if (r == -ENOBUFS)
		return mkio_error(r, 0, "mk_stream_next",
				  "all %u chunks are held: release some",
				  s->params.chunks);
	if (r < 0)
		return mkio_error(r, 0, "mk_stream_next",
				  "the stream cannot go on: %s",
				  mk_strerror(r));
	return r;
}

int mk_stream_release(struct mk_stream *s, const struct mk_stream_chunk *chunk)
{
	bool held;

	if (!s || !chunk)
		return mkio_null("mk_stream_release", s ? "chunk" : "s");
	pthread_mutex_lock(&s->lock);
	held = chunk->index < s->params.chunks &&
	       mks_state(&s->chunk[chunk->index]) == MKS_HELD &&
	       s->chunk[chunk->index].sequence == chunk->sequence;
	if (held) {
		s->held--;
		free_chunk(s, &s->chunk[chunk->index]);
	}
	pthread_mutex_unlock(&s->lock);
	if (!held)
		return mkio_error(-EINVAL, 0, "mk_stream_release",
				  "chunk %llu is not held",
				  (unsigned long long)chunk->sequence);
	return 0;
}

int mk_stream_stats(struct mk_stream *s, struct mk_stream_stats *out)
{
	const uint64_t *from;
	uint64_t *to = (uint64_t *)(void *)out;

	if (!s || !out)
		return mkio_null("mk_stream_stats", s ? "out" : "s");
	from = (const uint64_t *)(const void *)&s->stats;
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < offsetof(struct mk_stream_stats, uring) / 8;
	     i++)
		to[i] = mk_load_relaxed(&from[i]);
	out->uring = s->stats.uring;
	out->registered = mk_load_relaxed(&s->stats.registered);
	out->in_flight = mk_load_relaxed(&s->stats.in_flight);
	out->reserved = 0;
	if (!out->ns)
		out->ns = mk_now_ns() - s->began_ns;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

/* ---- the end ------------------------------------------------------------ */

static void stop_thread(struct mk_stream *s)
{
	pthread_mutex_lock(&s->lock);
	s->stop = s->ended = true;
	mks_wake(s);
	pthread_mutex_unlock(&s->lock);
	if (s->threaded && !s->joined)
		pthread_join(s->thread, NULL);
	s->joined = true;
}

/* All that is under way ends. A file that was being opened is open then. */
static bool drain_ring(struct mk_stream *s, uint64_t deadline)
{
	struct timespec nap = { 0, 50000 };

	if (!s->ring)
		return true;
	mkio_ring_cancel(s->ring);
	while (mkio_ring_count(s->ring)) {
		struct mkio_op *op;

		mkio_ring_kick(s->ring);
		op = mkio_ring_reap(s->ring);
		if (op && op->kind == MKIO_OPEN && op->result >= 0)
			((struct mks_source *)op)->fd = op->result;
		if (op)
			continue;
		if (!mk_time_left(deadline))
			return false;
		nanosleep(&nap, NULL);
	}
	return true;
}

static void free_list(struct mk_stream *s, struct mks_source *source)
{
	while (source) {
		struct mks_source *next = source->next;

		if (!source->pieces)
			mks_source_free(s, source);
		source = next;
	}
}

/* The sources that planned pieces belong to, then those that have none. */
static void free_sources(struct mk_stream *s)
{
	for (; s->chunk && s->send != s->fill; s->send++)
		for (uint32_t i = 0; i < mks_chunk_at(s, s->send)->pieces;
		     i++) {
			struct mks_source *source =
				mks_chunk_at(s, s->send)->piece[i].source;

			if (!--source->pieces && source->planned_all)
				mks_source_free(s, source);
		}
	if (s->chunk && mks_state(mks_chunk_at(s, s->fill)) == MKS_FILLING)
		for (uint32_t i = 0; i < mks_chunk_at(s, s->fill)->pieces;
		     i++) {
			struct mks_source *source =
				mks_chunk_at(s, s->fill)->piece[i].source;

			if (!--source->pieces && source->planned_all &&
			    source != s->plan)
				mks_source_free(s, source);
		}
	free_list(s, s->plan);
	free_list(s, s->added);
	s->plan = s->added = NULL;
}

static int free_buffers(struct mk_stream *s)
{
	int r = 0;

	for (uint32_t i = 0; s->chunk && i < s->params.chunks; i++) {
		struct mks_chunk *c = &s->chunk[i];
		mk_buffer_t *own[3] = { &c->buffer, &c->result, &c->device };

		for (unsigned k = 0; k < 3 && !r; k++) {
			if (*own[k])
				r = mk_buffer_destroy(s->ctx, *own[k],
						      MK_FOREVER);
			*own[k] = 0;
		}
		free(c->piece);
		free(c->table);
		c->piece = NULL;
		c->table = NULL;
	}
	return r;
}

int mk_stream_destroy(struct mk_stream *s, uint64_t timeout_ns)
{
	uint64_t deadline = mk_deadline_after(timeout_ns);
	int64_t left;

	if (!s)
		return 0;
	stop_thread(s);
	if (!drain_ring(s, deadline))
		return mkio_error(-ETIME, 0, "mk_stream_destroy",
				  "%u reads are under way",
				  mkio_ring_count(s->ring));
	left = mk_queue_destroy(s->q, mk_time_left(deadline));
	if (left == -ETIME)
		return (int)left;
	s->q = NULL;
	free_sources(s);
	free_buffers(s);
	mkio_ring_destroy(s->ring);
	if (s->wake_fd >= 0)
		close(s->wake_fd);
	pthread_cond_destroy(&s->some);
	pthread_mutex_destroy(&s->lock);
	free(s->chunk);
	free(s->tail);
	free(s);
	return 0;
}
