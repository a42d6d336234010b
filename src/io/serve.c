/* SPDX-License-Identifier: Apache-2.0 */
/* Requests from their queues through the ring to their answers. */
#include <errno.h>
#include <string.h>

#include "io/service.h"

#define PART_MOST (1u << 30) /* bytes of one read; the kernel's are 2^31 */

static void count(struct mk_io *io, const struct mkio_request *r,
		  int32_t status, bool begun)
{
	struct mk_io_stats *s = &io->stats;

	pthread_mutex_lock(&io->lock);
	s->answered++;
	s->done += status == MK_IO_DONE;
	s->short_reads += status == MK_IO_SHORT;
	s->refused += status < 0 && !begun;
	s->failed += status < 0 && begun;
	if (r->asked.op == MK_IO_WRITE)
		s->bytes_written += r->moved;
	else
		s->bytes_read += r->moved;
	pthread_mutex_unlock(&io->lock);
}

static void unlink_request(struct mkio_request *r)
{
	r->prev->next = r->next;
	r->next->prev = r->prev;
}

/* Everything before a fence has its answer, so that has it too. */
static bool fence_due(const struct mk_io *io, const struct mkio_request *f)
{
	const struct mkio_request *r = io->open.next;

	/* in the order in which they were taken */
	for (; r != &io->open; r = r->next)
		if (r->served == f->served)
			return r == f;
	return false;
}

static void answer(struct mk_io *io, struct mkio_request *r, int32_t status,
		   bool begun)
{
	struct mkio_served *s = r->served;

	mkio_request_release(io, r);
	count(io, r, status, begun);
	mk_queue_io_answer(s->q, r->asked.at, status, r->moved);
	unlink_request(r);
	r->next = io->idle;
	io->idle = r;
	pthread_mutex_lock(&io->lock);
	s->open--;
	pthread_mutex_unlock(&io->lock);
}

/* Answer the fences of a queue that are due; how many. */
static int answer_fences(struct mk_io *io, struct mkio_served *s)
{
	struct mkio_request *r = io->open.next, *next;
	int n = 0;

	for (; r != &io->open; r = next) {
		next = r->next;
		if (r->served != s || r->asked.op != MK_IO_FENCE)
			continue;
		if (!fence_due(io, r))
			break;
		answer(io, r, MK_IO_DONE, true);
		n++;
	}
	return n;
}

/* ---- moving bytes ------------------------------------------------------- */

/* Start to move what is left, or as much of it as goes at once. */
static void begin_part(struct mk_io *io, struct mkio_request *r)
{
	uint64_t left = r->asked.bytes - r->moved;
	uint64_t most = r->memory ? PART_MOST : io->params.staging_bytes;

	if (left > most)
		left = most;
	r->op.fd = r->file->fd;
	r->op.data = r->memory ? r->memory + r->moved : r->staging;
	r->op.bytes = (uint32_t)left;
	r->op.offset = r->asked.offset + r->moved;
	r->op.buffer = MKIO_NO_BUFFER;
	r->op.now = r->op.aside = false;
	mkio_ring_start(io->ring, &r->op);
}

/* Between the staging and a buffer that has no memory here. */
static int stage(struct mk_io *io, struct mkio_request *r, uint64_t bytes)
{
	uint64_t at = r->asked.buffer_offset + r->moved;

	if (r->memory || !bytes)
		return 0;
	return r->asked.op == MK_IO_READ ?
		       mk_buffer_write(io->ctx, r->asked.buffer, at,
				       r->staging, bytes) :
		       mk_buffer_read(io->ctx, r->asked.buffer, at,
				      r->staging, bytes);
}

/* What is to be written next, where the file can be given it. */
static int load_part(struct mk_io *io, struct mkio_request *r)
{
	uint64_t left = r->asked.bytes - r->moved;

	if (r->asked.op == MK_IO_READ || r->memory)
		return 0;
	return stage(io, r, left < io->params.staging_bytes ?
				    left : io->params.staging_bytes);
}

/* The next part, or the answer; how many answers were given. */
static int go_on(struct mk_io *io, struct mkio_request *r)
{
	int e;

	if (r->moved == r->asked.bytes) {
		answer(io, r, MK_IO_DONE, true);
		return 1;
	}
	e = load_part(io, r);
	if (e) {
		answer(io, r, e, true);
		return 1;
	}
	begin_part(io, r);
	return 0;
}

/* A part has ended. */
static int part_done(struct mk_io *io, struct mkio_request *r)
{
	bool reading = r->asked.op == MK_IO_READ;
	int32_t n = r->op.result;
	int e;

	if (n == -EINTR || n == -EAGAIN) {
		begin_part(io, r);
		return 0;
	}
	if (n < 0 || (!n && !reading)) {
		answer(io, r, n < 0 ? n : -EIO, true);
		return 1;
	}
	if (!n) {
		answer(io, r, MK_IO_SHORT, true);
		return 1;
	}
	e = reading ? stage(io, r, (uint64_t)n) : 0;
	if (e) {
		answer(io, r, e, true);
		return 1;
	}
	r->moved += (uint64_t)n;
	if (r->moved < r->asked.bytes) {
		pthread_mutex_lock(&io->lock);
		io->stats.continued++;
		pthread_mutex_unlock(&io->lock);
	}
	return go_on(io, r);
}

int mkio_finish(struct mk_io *io)
{
	struct mkio_op *op;
	int n = 0;

	while ((op = mkio_ring_reap(io->ring))) {
		struct mkio_request *r = (struct mkio_request *)op;
		struct mkio_served *s = r->served;
		int given = part_done(io, r);

		if (given)
			given += answer_fences(io, s);
		n += given;
	}
	return n;
}

/* ---- taking ------------------------------------------------------------- */

/* Begin what was asked; how many answers were given at once. */
static int begin(struct mk_io *io, struct mkio_served *s,
		 const struct mk_io_asked *asked)
{
	struct mkio_request *r = io->idle;
	unsigned char *staging = r->staging;
	int e;

	io->idle = r->next;
	memset(r, 0, sizeof(*r));
	r->staging = staging;
	r->asked = *asked;
	r->served = s;
	r->op.kind = asked->op == MK_IO_WRITE ? MKIO_WRITE : MKIO_READ;
	r->next = &io->open;
	r->prev = io->open.prev;
	r->prev->next = r->next->prev = r;
	e = mkio_request_check(io, r);
	if (e) {
		answer(io, r, e, false);
		return 1;
	}
	if (asked->op == MK_IO_FENCE) {
		if (!fence_due(io, r))
			return 0;
		answer(io, r, MK_IO_DONE, true);
		return 1;
	}
	return go_on(io, r);
}

static unsigned room(const struct mk_io *io)
{
	unsigned n = 0;

	for (const struct mkio_request *r = io->idle; r; r = r->next)
		n++;
	return n;
}

/* A queue to take from, with its requests counted as open beforehand: it does
 * not leave meanwhile. */
static struct mk_queue *served_take(struct mk_io *io, struct mkio_served *s,
				    unsigned n)
{
	struct mk_queue *q = NULL;

	pthread_mutex_lock(&io->lock);
	if (s->q && !s->leaving && !s->lost && !io->leaving) {
		q = s->q;
		s->open += n;
	}
	pthread_mutex_unlock(&io->lock);
	return q;
}

static int take_from(struct mk_io *io, struct mkio_served *s)
{
	unsigned n = room(io);
	struct mk_queue *q;
	int taken, given = 0;

	if (!n)
		return 0;
	q = served_take(io, s, n);
	if (!q)
		return 0;
	taken = mk_queue_io_take(q, io->asked, n);
	pthread_mutex_lock(&io->lock);
	s->open -= n - (unsigned)(taken > 0 ? taken : 0);
	io->stats.taken += (unsigned)(taken > 0 ? taken : 0);
	if (taken == -MK_ESHARED) {
		s->lost = true;
		io->stats.lost++;
	}
	pthread_mutex_unlock(&io->lock);
	for (int i = 0; i < taken; i++)
		given += begin(io, s, &io->asked[i]);
	return given;
}

int mkio_take(struct mk_io *io)
{
	int n = 0;

	for (uint32_t i = 0; i < io->params.queues_max; i++)
		n += take_from(io, &io->served[i]);
	mkio_ring_kick(io->ring);
	return n;
}
