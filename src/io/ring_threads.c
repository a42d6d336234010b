/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that call pread and pwrite, where there is no io_uring. */
#include "io/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#define THREADS_MAX 32u

struct list {
	struct mkio_op *first, **end;
};

struct pool {
	struct mkio_ring ring; /* fd: an eventfd */
	int stop_fd;           /* readable: nobody waits for input any more */
	unsigned threads;
	pthread_t thread[THREADS_MAX];
	pthread_mutex_t lock;
	pthread_cond_t work;
	bool end;
	struct list todo, done; /* under lock */
};

static void put(struct list *l, struct mkio_op *op)
{
	op->next = NULL;
	*l->end = op;
	l->end = &op->next;
}

static struct mkio_op *take(struct list *l)
{
	struct mkio_op *op = l->first;

	if (op) {
		l->first = op->next;
		if (!l->first)
			l->end = &l->first;
	}
	return op;
}

static ssize_t read_now(struct mkio_op *op)
{
	struct iovec v = { op->data, op->bytes };

	return preadv2(op->fd, &v, 1, (off_t)op->offset,
		       op->now ? RWF_NOWAIT : 0);
}

static ssize_t write_now(const struct mkio_op *op)
{
	return op->offset == MKIO_HERE ?
		       write(op->fd, op->data, op->bytes) :
		       pwrite(op->fd, op->data, op->bytes, (off_t)op->offset);
}

static int wait_input(const struct pool *p, int fd)
{
	struct pollfd f[2] = { { .fd = fd, .events = POLLIN },
			       { .fd = p->stop_fd, .events = POLLIN } };
	int n = poll(f, 2, -1);

	if (n < 0)
		return -1;
	if (f[0].revents)
		return f[0].revents;
	errno = ECANCELED;
	return -1;
}

static void perform(const struct pool *p, struct mkio_op *op)
{
	ssize_t n;

	do {
		switch (op->kind) {
		case MKIO_READ:
			n = read_now(op);
			break;
		case MKIO_WRITE:
			n = write_now(op);
			break;
		case MKIO_OPEN:
			n = openat(op->fd, op->path, O_RDONLY | O_CLOEXEC |
					   O_NOCTTY | O_NONBLOCK);
			break;
		default:
			n = wait_input(p, op->fd);
		}
	} while (n < 0 && errno == EINTR);
	op->result = n < 0 ? -errno : (int32_t)n;
	op->failed_now = op->now && op->result == -EOPNOTSUPP;
}

static void *serve(void *arg)
{
	struct pool *p = arg;
	uint64_t one = 1;
	struct mkio_op *op;

	pthread_mutex_lock(&p->lock);
	while (!p->end) {
		op = take(&p->todo);
		if (!op) {
			pthread_cond_wait(&p->work, &p->lock);
			continue;
		}
		pthread_mutex_unlock(&p->lock);
		perform(p, op);
		pthread_mutex_lock(&p->lock);
		put(&p->done, op);
		if (write(p->ring.fd, &one, sizeof(one)) < 0)
			continue; /* it is full, so it is readable */
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static void pool_end(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->end = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->threads; i++)
		pthread_join(p->thread[i], NULL);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
	if (p->ring.fd >= 0)
		close(p->ring.fd);
	if (p->stop_fd >= 0)
		close(p->stop_fd);
	free(p);
}

static void pool_destroy(struct mkio_ring *r)
{
	pool_end((struct pool *)r);
}

static void pool_start(struct mkio_ring *r, struct mkio_op *op)
{
	struct pool *p = (struct pool *)r;

	pthread_mutex_lock(&p->lock);
	put(&p->todo, op);
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
}

static int pool_kick(struct mkio_ring *r)
{
	(void)r;
	return 0;
}

static struct mkio_op *pool_reap(struct mkio_ring *r)
{
	struct pool *p = (struct pool *)r;
	struct mkio_op *op;
	uint64_t seen;

	pthread_mutex_lock(&p->lock);
	op = take(&p->done);
	/* read when nothing is left: what comes now makes it readable again */
	if (!op && read(p->ring.fd, &seen, sizeof(seen)) < 0)
		seen = 0; /* nothing had come */
	pthread_mutex_unlock(&p->lock);
	return op;
}

static void pool_cancel(struct mkio_ring *r)
{
	struct pool *p = (struct pool *)r;
	uint64_t one = 1;

	if (write(p->stop_fd, &one, sizeof(one)) < 0)
		return; /* it is full, so it is readable */
}

static const struct mkio_ring_ops pool_ops = {
	.destroy = pool_destroy,
	.start = pool_start,
	.kick = pool_kick,
	.reap = pool_reap,
	.cancel = pool_cancel,
};

/* Signals are for the caller's threads. */
static int start_threads(struct pool *p, unsigned want)
{
	sigset_t all, old;
	int r = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (; p->threads < want && !r; p->threads += !r)
		r = pthread_create(&p->thread[p->threads], NULL, serve, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	/* one that waits for input, and one that works, at least */
	return p->threads < 2 ? -r : 0;
}

int mkio_threads_create(const struct mkio_ring_params *params,
			struct mkio_ring **out)
{
	unsigned want = params->threads + 1;
	struct pool *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->ring.ops = &pool_ops;
	p->todo.end = &p->todo.first;
	p->done.end = &p->done.first;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	p->ring.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = p->ring.fd < 0 || p->stop_fd < 0 ? -errno : 0;
	if (!r)
		r = start_threads(p, want < THREADS_MAX ? want : THREADS_MAX);
	if (r) {
		pool_end(p);
		return r;
	}
	*out = &p->ring;
	return 0;
}
