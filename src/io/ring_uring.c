/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of the kernel's, through liburing. */
#include "io/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#if defined(MK_WITH_URING)

#include <liburing.h>
#include <poll.h>
#include <sys/uio.h>

struct uring {
	struct mkio_ring ring;
	struct io_uring u;
	struct mkio_op *waiting, **waiting_end; /* found no room */
};

/* user_data of a cancellation: no operation has this address */
#define CANCELLATION 1u

static void uring_destroy(struct mkio_ring *r)
{
	struct uring *u = (struct uring *)r;

	io_uring_queue_exit(&u->u);
	free(u);
}

static void prepare(struct io_uring_sqe *sqe, const struct mkio_op *op)
{
	bool fixed = op->buffer != MKIO_NO_BUFFER;

	switch (op->kind) {
	case MKIO_READ:
		if (fixed)
			io_uring_prep_read_fixed(sqe, op->fd, op->data,
						 op->bytes, op->offset,
						 (int)op->buffer);
		else
			io_uring_prep_read(sqe, op->fd, op->data, op->bytes,
					   op->offset);
		if (op->now)
			sqe->rw_flags = RWF_NOWAIT;
		break;
	case MKIO_WRITE:
		io_uring_prep_write(sqe, op->fd, op->data, op->bytes,
				    op->offset);
		break;
	case MKIO_OPEN:
		io_uring_prep_openat(sqe, op->fd, op->path,
				     O_RDONLY | O_CLOEXEC | O_NOCTTY |
					     O_NONBLOCK, 0);
		break;
	default:
		io_uring_prep_poll_add(sqe, op->fd, POLLIN);
	}
	if (op->aside)
		sqe->flags |= IOSQE_ASYNC;
	io_uring_sqe_set_data(sqe, (void *)(uintptr_t)op);
}

/* Move what waits into the submission ring, as far as there is room. */
static void move(struct uring *u)
{
	struct io_uring_sqe *sqe;

	while (u->waiting && (sqe = io_uring_get_sqe(&u->u))) {
		prepare(sqe, u->waiting);
		u->waiting = u->waiting->next;
		if (!u->waiting)
			u->waiting_end = &u->waiting;
	}
}

static void uring_start(struct mkio_ring *r, struct mkio_op *op)
{
	struct uring *u = (struct uring *)r;

	*u->waiting_end = op;
	u->waiting_end = &op->next;
	move(u);
}

static int uring_kick(struct mkio_ring *r)
{
	struct uring *u = (struct uring *)r;
	int n;

	do {
		move(u);
		if (!io_uring_sq_ready(&u->u))
			return 0;
		n = io_uring_submit(&u->u);
	} while (n > 0 && u->waiting);
	/* for now: what is there stays there, until the next time */
	if (n == -EAGAIN || n == -EBUSY || n == -EINTR)
		return 0;
	return n < 0 ? n : 0;
}

static struct mkio_op *uring_reap(struct mkio_ring *r)
{
	struct uring *u = (struct uring *)r;
	struct io_uring_cqe *cqe;
	struct mkio_op *op;

	for (;;) {
		if (io_uring_peek_cqe(&u->u, &cqe))
			return NULL;
		op = io_uring_cqe_get_data(cqe);
		if ((uintptr_t)op != CANCELLATION)
			break;
		io_uring_cqe_seen(&u->u, cqe);
	}
	op->result = cqe->res;
	op->failed_now = op->now && cqe->res == -EOPNOTSUPP;
	io_uring_cqe_seen(&u->u, cqe);
	return op;
}

static void uring_cancel(struct mkio_ring *r)
{
	struct uring *u = (struct uring *)r;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->u);

	if (!sqe) {
		uring_kick(r);
		sqe = io_uring_get_sqe(&u->u);
	}
	if (!sqe)
		return;
	io_uring_prep_cancel(sqe, NULL, IORING_ASYNC_CANCEL_ANY |
						IORING_ASYNC_CANCEL_ALL);
	io_uring_sqe_set_data(sqe, (void *)(uintptr_t)CANCELLATION);
	uring_kick(r);
}

static bool uring_add(struct mkio_ring *r, void *const *base, uint64_t bytes,
		      unsigned n)
{
	struct uring *u = (struct uring *)r;
	struct iovec *v = calloc(n, sizeof(*v));
	int result;

	if (!v)
		return false;
	for (unsigned i = 0; i < n; i++)
		v[i] = (struct iovec){ base[i], bytes };
	result = io_uring_register_buffers(&u->u, v, n);
	free(v);
	return result == 0;
}

const struct mkio_ring_ops mkio_uring = {
	.destroy = uring_destroy,
	.start = uring_start,
	.kick = uring_kick,
	.reap = uring_reap,
	.cancel = uring_cancel,
	.add = uring_add,
};

int mkio_uring_create(const struct mkio_ring_params *params,
		      struct mkio_ring **out)
{
	unsigned workers[2] = { params->threads, 0 };
	struct uring *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return -ENOMEM;
	r = io_uring_queue_init(params->entries, &u->u, IORING_SETUP_CLAMP);
	if (r) {
		free(u);
		return r;
	}
	/* without it the kernel has four for every core */
	io_uring_register_iowq_max_workers(&u->u, workers);
	u->ring.ops = &mkio_uring;
	u->ring.fd = u->u.ring_fd;
	u->waiting_end = &u->waiting;
	*out = &u->ring;
	return 0;
}

#else

const struct mkio_ring_ops mkio_uring;

int mkio_uring_create(const struct mkio_ring_params *params,
		      struct mkio_ring **out)
{
	(void)params;
	(void)out;
	return -ENOSYS;
}

#endif
