/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue in an event loop: its descriptor beside a timer's in one epoll.
 *
 * The timer submits work, ten times; the queue's descriptor tells when answers
 * have come. The thread sleeps in epoll_wait() and nowhere else.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <megakernel.h>

#define TICKS 10
#define SLOTS 8 /* a tick */

struct loop {
	struct mk_queue *q;
	int epoll, timer, event;
	int ticks;
	int answered;
};

static int failed(const char *what)
{
	const struct mk_error *e = mk_error_last();

	fprintf(stderr, "%s: %s (%s)\n", what, e->text, mk_code_name(e->code));
	return 1;
}

static int on_timer(struct loop *l)
{
	struct mk_slot *slot;
	uint64_t expired;

	if (read(l->timer, &expired, sizeof(expired)) < 0)
		return -1;
	if (l->ticks == TICKS)
		return 0;
	for (int left = SLOTS; left;) {
		/* the ring is far from full, so this never says -EAGAIN */
		int n = mk_queue_get(l->q, (unsigned)left, &slot);

		if (n < 0)
			return n;
		for (int i = 0; i < n; i++)
			mk_slot_init(&slot[i], MK_OP_NOP, (uint64_t)l->ticks);
		if (mk_queue_submit(l->q, slot, (unsigned)n) < 0)
			return -1;
		left -= n;
	}
	l->ticks++;
	return 0;
}

/* Read the descriptor first, then reap until nothing is left: that arms it
 * again, and no answer goes unnoticed. */
static int on_answers(struct loop *l)
{
	struct mk_completion c[16];
	uint64_t count;
	int n;

	if (read(l->event, &count, sizeof(count)) < 0)
		return -1;
	while ((n = mk_queue_reap(l->q, c, 16)) > 0)
		l->answered += n;
	return n;
}

static int watch(struct loop *l, int fd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e);
}

static int run(struct loop *l)
{
	const struct itimerspec each_ms = { { 0, 1000000 }, { 0, 1000000 } };
	struct epoll_event e;

	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	l->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	l->event = mk_queue_event_fd(l->q);
	if (l->epoll < 0 || l->timer < 0 || l->event < 0 ||
	    watch(l, l->timer) || watch(l, l->event) ||
	    timerfd_settime(l->timer, 0, &each_ms, NULL))
		return 1;
	while (l->answered < TICKS * SLOTS) {
		int n = epoll_wait(l->epoll, &e, 1, 10000);

		if (n <= 0)
			return 1; /* ten seconds without an event */
		n = e.data.fd == l->timer ? on_timer(l) : on_answers(l);
		if (n < 0)
			return failed("event");
	}
	printf("%d ticks, %d answers\n", l->ticks, l->answered);
	close(l->timer);
	close(l->epoll); /* the event descriptor is the queue's */
	return 0;
}

int main(void)
{
	struct loop l = { 0 };
	struct mk_ctx *ctx;
	int status;

	if (mk_ctx_create(NULL, &ctx) < 0)
		return failed("context");
	status = mk_queue_create(ctx, NULL, &l.q) < 0 ? failed("queue")
						      : run(&l);
	if (mk_ctx_destroy(ctx, MK_FOREVER) != 0)
		status = 1;
	return status;
}
