/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is read to where. A file whose length is known is planned ahead: its
 * pieces get their places, and all their reads are started at once. What comes
 * from elsewhere is read as it comes, into the chunk that is being filled.
 */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io/stream.h"

#define BATCH_OPS 64u /* reads that are started at once */
#define ASIDE_LEAST (64u << 10) /* smaller ones are copied at once */

/* ---- the chunk that is being filled ------------------------------------- */

static void seal(struct mk_stream *s)
{
	mks_set_state(mks_chunk_at(s, s->fill), MKS_SEALED);
	s->fill++;
}

/* The chunk to fill, or NULL: none is free. */
static struct mks_chunk *filling(struct mk_stream *s)
{
	struct mks_chunk *c = mks_chunk_at(s, s->fill);
	uint32_t state;

	if (mks_state(c) == MKS_FILLING)
		return c;
	pthread_mutex_lock(&s->lock);
	state = mks_state(c);
	if (state == MKS_FREE)
		mks_set_state(c, MKS_FILLING);
	pthread_mutex_unlock(&s->lock);
	if (state != MKS_FREE) {
		if (!s->starved && state == MKS_RUNNING)
			MKS_COUNT(s, held_by_handler, 1);
		else if (!s->starved && state >= MKS_READY)
			MKS_COUNT(s, held_by_caller, 1);
		s->starved = true;
		return NULL;
	}
	s->starved = false;
	c->pieces = c->sent = c->open = 0;
	c->used = s->data_start;
	return c;
}

static uint32_t room(const struct mk_stream *s, const struct mks_chunk *c)
{
	uint32_t at = (c->used + MKS_GRAIN - 1) & ~(MKS_GRAIN - 1);
	uint32_t end = s->data_start + s->params.chunk_bytes;

	return at < end ? end - at : 0;
}

/* A piece of this source, behind what is there. */
static struct mks_piece *add_piece(struct mk_stream *s, struct mks_chunk *c,
				   struct mks_source *source, uint32_t want)
{
	struct mks_piece *p = &c->piece[c->pieces++];

	memset(p, 0, sizeof(*p));
	c->used = (c->used + MKS_GRAIN - 1) & ~(MKS_GRAIN - 1);
	p->source = source;
	p->chunk = c;
	p->offset = source->at;
	p->at = c->used;
	p->want = want;
	c->used += want;
	source->pieces++;
	s->touched_ns = mk_now_ns();
	return p;
}

/* ---- reads -------------------------------------------------------------- */

static void start_read(struct mk_stream *s, struct mks_piece *p)
{
	struct mks_source *source = p->source;
	bool direct = source->direct_fd >= 0 && !p->got && !p->plain;
	uint32_t left = p->want - p->got;

	p->op.kind = MKIO_READ;
	p->op.fd = direct ? source->direct_fd : source->fd;
	p->op.data = p->chunk->memory + p->at + p->got;
	/* up to a page behind the file's end: the chunk has room for it */
	p->op.bytes = direct ? (left + MKS_PAGE - 1) & ~(MKS_PAGE - 1) : left;
	p->op.offset = p->offset + p->got;
	p->op.buffer = direct && s->registered ? p->chunk->index :
						 MKIO_NO_BUFFER;
	p->op.now = false;
	p->op.aside = s->params.readers > 1 && left >= ASIDE_LEAST;
	p->chunk->open++;
	source->reads++;
	MKS_COUNT(s, reads, 1);
	mkio_ring_start(s->ring, &p->op);
}

/* A small file that is in the page cache is there at once: no need to ask the
 * ring. What is missing of it is. */
static void read_small(struct mk_stream *s, struct mks_piece *p)
{
	struct iovec v = { p->chunk->memory + p->at, p->want };
	ssize_t n = -1;

	if (p->want < ASIDE_LEAST && p->source->direct_fd < 0)
		n = preadv2(p->source->fd, &v, 1, (off_t)p->offset,
			    RWF_NOWAIT);
	if (n > 0) {
		p->got = (uint32_t)n;
		MKS_COUNT(s, reads, 1);
		MKS_COUNT(s, bytes, n);
	}
	if (p->got < p->want)
		start_read(s, p);
}

/* The kernel keeps the chunks' pages at hand for reads past its cache. */
static void register_chunks(struct mk_stream *s)
{
	void *base[1024];

	s->register_tried = true;
	for (uint32_t i = 0; i < s->params.chunks; i++)
		base[i] = s->chunk[i].memory;
	s->registered = mkio_ring_register(s->ring, base, s->buffer_bytes,
					   s->params.chunks);
	mk_store_relaxed(&s->stats.registered, s->registered);
}

static void sequential_done(struct mk_stream *s, struct mks_piece *p)
{
	struct mks_source *source = p->source;
	int32_t n = p->op.result;

	source->reading = false;
	if (p->op.failed_now) {
		source->now = false;
		source->ready = true;
	} else if (n == -EAGAIN || n == -EINTR) {
		source->ready = false;
	} else if (n < 0) {
		source->error = n;
	} else if (n == 0) {
		source->planned_all = true;
		p->last = true;
	} else {
		/* it may have more: only then is it asked without a wait */
		source->ready = (uint32_t)n == p->op.bytes;
		source->at += (uint32_t)n;
		p->got += (uint32_t)n;
		p->want = p->got;
		p->chunk->used += (uint32_t)n;
		MKS_COUNT(s, bytes, n);
		s->touched_ns = mk_now_ns();
	}
}

/* A read of a file whose length is known; the next is started if it was not
 * all. */
static void known_done(struct mk_stream *s, struct mks_piece *p)
{
	struct mks_source *source = p->source;
	int32_t n = p->op.result;

	/* past the cache a file system may refuse what it can do otherwise */
	if (n == -EINVAL && source->direct_fd >= 0 &&
	    p->op.fd == source->direct_fd) {
		p->plain = true;
		n = -EAGAIN;
	}
	if (n == -EINTR || n == -EAGAIN) {
		start_read(s, p);
		return;
	}
	if (n < 0) {
		p->error = n;
		return;
	}
	if ((uint32_t)n > p->want - p->got)
		n = (int32_t)(p->want - p->got);
	p->got += (uint32_t)n;
	MKS_COUNT(s, bytes, n);
	if (n > 0 && p->got < p->want) {
		MKS_COUNT(s, reads_short, 1);
		start_read(s, p);
	}
}

void mks_read_done(struct mk_stream *s, struct mks_piece *p)
{
	struct mks_source *source = p->source;

	p->chunk->open--;
	if (source->known) {
		source->reads--;
		known_done(s, p);
	} else {
		sequential_done(s, p);
	}
	if (source->planned_all && !source->reads)
		mks_source_close(s, source);
}

/* ---- files whose length is known ---------------------------------------- */

/* Plan one piece; false: no chunk is free. */
static bool plan_known(struct mk_stream *s, struct mks_source *source,
		       uint64_t *bytes)
{
	struct mks_chunk *c = filling(s);
	uint64_t left = source->size - source->at;
	struct mks_piece *p;
	uint32_t n;

	if (!c)
		return false;
	/* what does not fit begins a chunk of its own; so does what needs an
	 * overlap in front of it */
	if (c->pieces == s->params.pieces_max ||
	    (c->pieces && left > room(s, c))) {
		seal(s);
		c = filling(s);
		if (!c)
			return false;
	}
	n = left < room(s, c) ? (uint32_t)left : room(s, c);
	if (source->direct_fd >= 0 && !s->register_tried)
		register_chunks(s);
	p = add_piece(s, c, source, n);
	/* reads past the cache are of whole pages */
	if (source->direct_fd >= 0)
		c->used = (c->used + MKS_PAGE - 1) & ~(MKS_PAGE - 1);
	source->at += n;
	p->last = source->planned_all = source->at == source->size;
	if (n)
		read_small(s, p);
	*bytes += n;
	if (!p->last)
		seal(s);
	return true;
}

/* ---- what comes as it comes --------------------------------------------- */

/* The piece of this source that is being filled, or a new one; NULL: no chunk
 * is free. */
static struct mks_piece *open_piece(struct mk_stream *s,
				    struct mks_source *source)
{
	struct mks_chunk *c = filling(s);
	struct mks_piece *p;

	if (!c)
		return NULL;
	if (!c->pieces)
		return add_piece(s, c, source, 0);
	p = &c->piece[c->pieces - 1];
	if (p->source == source &&
	    p->at + p->got < s->data_start + s->params.chunk_bytes)
		return p;
	if (c->pieces == s->params.pieces_max || !room(s, c) ||
	    p->source == source) {
		seal(s);
		c = filling(s);
	}
	return c ? add_piece(s, c, source, 0) : NULL;
}

static void wait_for_input(struct mk_stream *s, struct mks_source *source)
{
	source->op.kind = MKIO_POLL;
	source->op.fd = source->fd;
	source->op.now = source->op.aside = false;
	source->waiting = true;
	mkio_ring_start(s->ring, &source->op);
}

/* A file that does not say how long it is: no waiting, and nobody else's turn
 * meanwhile. */
static void read_quiet(struct mk_stream *s, struct mks_piece *p)
{
	ssize_t n;

	do {
		n = pread(p->op.fd, p->op.data, p->op.bytes,
			  (off_t)p->op.offset);
	} while (n < 0 && errno == EINTR);
	p->op.result = n < 0 ? -errno : (int32_t)n;
	p->op.failed_now = false;
	if (p->op.result == -EAGAIN)
		p->op.result = -EIO; /* it waits for something after all */
	sequential_done(s, p);
}

/* One read; false: it is not time, or no chunk is free. */
static bool plan_sequential(struct mk_stream *s, struct mks_source *source)
{
	struct mks_piece *p;

	if (source->waiting || source->reading)
		return false;
	if (!source->ready && !source->quiet && !source->error) {
		wait_for_input(s, source);
		return true;
	}
	p = open_piece(s, source);
	if (!p)
		return false;
	if (source->error) {
		p->error = source->error;
		p->last = source->planned_all = true;
		return true;
	}
	p->op.kind = MKIO_READ;
	p->op.fd = source->fd;
	p->op.data = p->chunk->memory + p->at + p->got;
	p->op.bytes = s->data_start + s->params.chunk_bytes - p->at - p->got;
	p->op.offset = source->quiet ? source->at : MKIO_HERE;
	p->op.buffer = MKIO_NO_BUFFER;
	p->op.now = source->now;
	p->op.aside = false;
	MKS_COUNT(s, reads, 1);
	if (source->quiet) {
		read_quiet(s, p);
		return true;
	}
	source->reading = true;
	p->chunk->open++;
	mkio_ring_start(s->ring, &p->op);
	return true;
}

/* ---- in order ----------------------------------------------------------- */

static bool plan_one(struct mk_stream *s, struct mks_source *source,
		     uint64_t *bytes)
{
	if (source->life != MKS_OPEN)
		return false;
	if (source->known)
		return plan_known(s, source, bytes);
	return plan_sequential(s, source);
}

uint64_t mks_flush_at(const struct mk_stream *s)
{
	const struct mks_chunk *c = &s->chunk[s->fill % s->params.chunks];
	const struct mks_source *source = s->plan;

	if (mks_state(c) != MKS_FILLING || !c->pieces || c->open)
		return UINT64_MAX;
	/* nothing more is coming into it: at the end at once */
	if (!source)
		return s->input_over ? 0 : s->touched_ns + s->params.flush_ns;
	/* or it is waited for */
	return source->waiting ? s->touched_ns + s->params.flush_ns :
				 UINT64_MAX;
}

/* The first source that is not planned to its end, or NULL. */
static struct mks_source *current(struct mk_stream *s)
{
	while (s->plan && s->plan->planned_all) {
		if (!s->plan->reads)
			mks_source_close(s, s->plan);
		s->plan = s->plan->next;
		if (!s->plan)
			s->plan_end = &s->plan;
	}
	return s->plan;
}

bool mks_plan(struct mk_stream *s)
{
	struct mks_source *source;
	uint64_t bytes = 0;
	unsigned ops = 0;

	/* not all at once: handlers begin with the first chunk */
	while (ops < BATCH_OPS && bytes < s->params.chunk_bytes) {
		source = current(s);
		if (!source || !plan_one(s, source, &bytes))
			break;
		ops++;
	}
	current(s);
	if (mks_flush_at(s) <= mk_now_ns()) {
		seal(s);
		ops++;
	}
	return ops;
}
