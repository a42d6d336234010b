/* SPDX-License-Identifier: Apache-2.0 */
#include "io/ring.h"

#include <errno.h>
#include <string.h>

#include "io/error.h"

int mkio_ring_create(const struct mkio_ring_params *params,
		     const char *operation, struct mkio_ring **out)
{
	int r = params->no_uring ? -ENOSYS : mkio_uring_create(params, out);

	/* forbidden, unknown, or out of locked memory: threads can do it */
	if (r && r != -ENOMEM && r != -EMFILE && r != -ENFILE)
		r = mkio_threads_create(params, out);
	else if (r == -ENOMEM && !mkio_threads_create(params, out))
		r = 0;
	if (r)
		return mkio_error(r, -r, operation,
				  "neither io_uring nor threads can be had "
				  "for %u operations at a time: %s",
				  params->entries, strerror(-r));
	return 0;
}

void mkio_ring_destroy(struct mkio_ring *r)
{
	if (r)
		r->ops->destroy(r);
}

void mkio_ring_start(struct mkio_ring *r, struct mkio_op *op)
{
	op->next = NULL;
	op->failed_now = false;
	r->count++;
	r->ops->start(r, op);
}

int mkio_ring_kick(struct mkio_ring *r)
{
	return r->ops->kick(r);
}

struct mkio_op *mkio_ring_reap(struct mkio_ring *r)
{
	struct mkio_op *op = r->ops->reap(r);

	if (op)
		r->count--;
	return op;
}

void mkio_ring_cancel(struct mkio_ring *r)
{
	r->ops->cancel(r);
}

int mkio_ring_fd(const struct mkio_ring *r)
{
	return r->fd;
}

unsigned mkio_ring_count(const struct mkio_ring *r)
{
	return r->count;
}

bool mkio_ring_is_uring(const struct mkio_ring *r)
{
	return r->ops == &mkio_uring;
}

bool mkio_ring_register(struct mkio_ring *r, void *const *base,
			uint64_t bytes, unsigned n)
{
	return r->ops->add && r->ops->add(r, base, bytes, n);
}
