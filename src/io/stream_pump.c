/* SPDX-License-Identifier: Apache-2.0 */
/* Who does the work of a stream, and when it waits for what. */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "io/stream.h"

void mks_wake(struct mk_stream *s)
{
	uint64_t one = 1;

	if (!s->asleep)
		return;
	s->asleep = false;
	if (write(s->wake_fd, &one, sizeof(one)) < 0)
		return; /* it is full, so it is readable */
}

void mks_fail(struct mk_stream *s, int code)
{
	pthread_mutex_lock(&s->lock);
	if (!s->fatal)
		s->fatal = code;
	pthread_cond_broadcast(&s->some);
	pthread_mutex_unlock(&s->lock);
}

static bool reap_ring(struct mk_stream *s)
{
	struct mkio_op *op;
	bool did = false;

	while ((op = mkio_ring_reap(s->ring))) {
		did = true;
		/* both have it first */
		if (op->kind == MKIO_READ)
			mks_read_done(s, (struct mks_piece *)op);
		else
			mks_source_done(s, (struct mks_source *)op);
	}
	return did;
}

bool mks_pump(struct mk_stream *s)
{
	bool did = reap_ring(s);
	int r;

	did |= mks_reap(s);
	did |= mks_sources_take(s);
	did |= mks_sources_open(s);
	did |= mks_plan(s);
	did |= mks_send(s);
	r = mkio_ring_kick(s->ring);
	if (r)
		mks_fail(s, r);
	mks_count_in_flight(s);
	return did;
}

/* Under lock: what the pump found is still so. */
static bool may_sleep(struct mk_stream *s)
{
	if (s->stop || s->fatal || s->added || s->ended != s->input_over)
		return false;
	return !s->starved || mks_state(mks_chunk_at(s, s->fill)) != MKS_FREE;
}

static struct timespec time_until(uint64_t deadline)
{
	uint64_t left = mk_time_left(deadline);

	return (struct timespec){ .tv_sec = (time_t)(left / 1000000000u),
				  .tv_nsec = (long)(left % 1000000000u) };
}

void mks_pump_wait(struct mk_stream *s, uint64_t deadline)
{
	struct pollfd f[3] = {
		{ .fd = mkio_ring_fd(s->ring), .events = POLLIN },
		{ .fd = s->queue_fd, .events = POLLIN },
		{ .fd = s->wake_fd, .events = POLLIN },
	};
	uint64_t flush = mks_flush_at(s), seen;
	struct timespec t;

	pthread_mutex_lock(&s->lock);
	s->asleep = may_sleep(s);
	if (!s->asleep) {
		pthread_mutex_unlock(&s->lock);
		return;
	}
	pthread_mutex_unlock(&s->lock);
	if (flush < deadline)
		deadline = flush;
	t = time_until(deadline);
	ppoll(f, 3, deadline == UINT64_MAX ? NULL : &t, NULL);
	for (int i = 1; i < 3; i++)
		if (f[i].revents && read(f[i].fd, &seen, sizeof(seen)) < 0)
			continue; /* somebody was faster */
	pthread_mutex_lock(&s->lock);
	s->asleep = false;
	pthread_mutex_unlock(&s->lock);
}

void *mks_pump_thread(void *arg)
{
	struct mk_stream *s = arg;
	bool end = false;

	while (!end) {
		if (!mks_pump(s))
			mks_pump_wait(s, UINT64_MAX);
		pthread_mutex_lock(&s->lock);
		end = s->stop || s->fatal;
		pthread_mutex_unlock(&s->lock);
	}
	return NULL;
}
