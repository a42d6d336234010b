/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatch/dispatcher.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/order.h"
#include "queue/queue.h"

/* A queue with nothing in flight is freed at once, unless a worker is busy
 * elsewhere: then later. */
#define FREE_WAIT_NS 1000000u

int mk_dispatcher_enter(struct mk_ctx *ctx, const char *operation,
			struct mk_dispatcher **out)
{
	struct mk_dispatcher *d;

	/* pairs with the store below, of whoever came first */
	d = mk_load_acquire(&ctx->dispatcher);
	if (!d) {
		pthread_mutex_lock(&ctx->lock);
		d = ctx->dispatcher;
		if (!d) {
			d = calloc(1, sizeof(*d));
			if (d) {
				pthread_mutex_init(&d->lock, NULL);
				mk_store_release(&ctx->dispatcher, d);
			}
		}
		pthread_mutex_unlock(&ctx->lock);
	}
	if (!d)
		return mk_error_set(-ENOMEM, ENOMEM, operation,
				    "no memory for the context's first "
				    "dispatch");
	pthread_mutex_lock(&d->lock);
	*out = d;
	return 0;
}

void mk_dispatcher_leave(struct mk_dispatcher *d)
{
	pthread_mutex_unlock(&d->lock);
}

void mk_dispatcher_free(struct mk_dispatcher *d)
{
	if (!d)
		return;
	for (unsigned i = 0; i < MK_PARTS; i++)
		free(d->copy[i].data);
	free(d->answers.data);
	free(d->tickets.data);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

int mk_room_grow(struct mk_room *room, uint64_t bytes, const char *operation)
{
	void *data;

	if (bytes <= room->bytes)
		return 0;
	data = malloc(bytes);
	if (!data)
		return mk_error_set(-ENOMEM, ENOMEM, operation,
				    "no memory for %llu bytes; dispatch less "
				    "at a time", (unsigned long long)bytes);
	free(room->data);
	room->data = data;
	room->bytes = bytes;
	return 0;
}

/* ---- queues that are done, or may never be ---------------------------- */

/* Free a queue, or keep it among the stuck ones. There is a place: see
 * mk_dispatcher_queue(). */
static void queue_drop(struct mk_dispatcher *d, struct mk_queue *q)
{
	if (mk_queue_destroy(q, FREE_WAIT_NS) >= 0)
		return;
	for (unsigned i = 0; i < MK_DISPATCH_STUCK; i++)
		if (!d->stuck[i]) {
			d->stuck[i] = q;
			return;
		}
}

/* Free what has ended meanwhile. The places that are free after. */
static unsigned stuck_retry(struct mk_dispatcher *d)
{
	unsigned room = 0;

	for (unsigned i = 0; i < MK_DISPATCH_STUCK; i++) {
		if (d->stuck[i] &&
		    mk_queue_destroy(d->stuck[i], FREE_WAIT_NS) >= 0)
			d->stuck[i] = NULL;
		room += !d->stuck[i];
	}
	return room;
}

/* Ask every slot that has no answer to end. Those not claimed yet end by the
 * queue's mode; running ones look at their cancel word. */
static void cancel_all(struct mk_queue *q)
{
	uint64_t tail = mk_load_acquire(&q->tail);

	for (uint64_t t = mk_load_acquire(&q->head); t != tail; t++)
		if (!mk_queue_answered(q, t))
			/* pairs with mk_cancelled() */
			mk_store_release(&q->ext[t & q->mask].cancel,
					 0x10000u | MK_MARK(t, q->shift));
	mk_store_seq(&q->block->mode,
		     mk_load_relaxed(&q->block->mode) | MK_MODE_CANCEL_SOME);
}

void mk_dispatcher_abandon(struct mk_dispatcher *d, struct mk_queue *q)
{
	for (unsigned i = 0; i < MK_DISPATCH_QUEUES; i++)
		if (d->kept[i].queue == q)
			d->kept[i].queue = NULL;
	mk_queue_stop(q, 0);
	cancel_all(q);
	queue_drop(d, q);
}

/* ---- queues to dispatch with ------------------------------------------ */

static bool fits(const struct mk_queue *q, const struct mk_shape *s)
{
	return q->desc.entries >= s->entries &&
	       (!s->observables || q->desc.observables == s->observables) &&
	       (!s->log_records || q->desc.log_records == s->log_records) &&
	       (!s->io_records || q->desc.io_records == s->io_records);
}

/* A free place, or the one that was not used for longest. */
static struct mk_kept_queue *place(struct mk_dispatcher *d)
{
	struct mk_kept_queue *oldest = &d->kept[0];

	for (unsigned i = 0; i < MK_DISPATCH_QUEUES; i++) {
		if (!d->kept[i].queue)
			return &d->kept[i];
		if (d->kept[i].used < oldest->used)
			oldest = &d->kept[i];
	}
	return oldest;
}

static int queue_make(struct mk_ctx *ctx, struct mk_dispatcher *d,
		      const struct mk_shape *shape,
		      struct mk_dispatch_stats *stats, struct mk_queue **out)
{
	struct mk_queue_params p = {
		.size = sizeof(p),
		.entries = shape->entries,
		.observables = shape->observables,
		.log_records = shape->log_records,
		.io_records = shape->io_records,
	};
	struct mk_kept_queue *at = place(d);
	int r;

	if (at->queue) {
		queue_drop(d, at->queue);
		at->queue = NULL;
	}
	r = mk_queue_create(ctx, &p, &at->queue);
	if (r < 0)
		return r;
	stats->device_allocation_bytes += at->queue->desc.block_bytes;
	stats->device_allocation_events++;
	at->used = d->turn;
	*out = at->queue;
	return 0;
}

int mk_dispatcher_queue(struct mk_ctx *ctx, struct mk_dispatcher *d,
			const struct mk_shape *shape, const char *operation,
			struct mk_dispatch_stats *stats, struct mk_queue **out)
{
	d->turn++;
	/* one dispatch can add two: the queue it replaces, and its own */
	if (stuck_retry(d) < 2)
		return mk_error_set(-EBUSY, 0, operation,
				    "%u dispatches timed out and their "
				    "handlers still run; wait for them, or "
				    "end the context", MK_DISPATCH_STUCK - 1);
	for (unsigned i = 0; i < MK_DISPATCH_QUEUES; i++) {
		struct mk_queue *q = d->kept[i].queue;

		if (q && fits(q, shape)) {
			d->kept[i].used = d->turn;
			*out = q;
			return 0;
		}
	}
	return queue_make(ctx, d, shape, stats, out);
}
