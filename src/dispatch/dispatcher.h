/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What dispatches of a context share: queues that were made for earlier ones
 * and are kept, and host memory. One dispatch at a time has it.
 */
#ifndef MK_DISPATCHER_H
#define MK_DISPATCHER_H

#include <pthread.h>

#include "context/context.h"
#include "dispatch/layout.h"

#define MK_DISPATCH_QUEUES 4u /* kept, of different shapes */
#define MK_DISPATCH_STUCK 16u /* that timed out and may still run */

/* What a dispatch needs of its queue. 0: any. */
struct mk_shape {
	uint32_t entries; /* at least */
	/* exactly: handlers must meet the bounds that the buffers declare */
	uint32_t observables, log_records, io_records;
};

struct mk_kept_queue {
	struct mk_queue *queue; /* NULL: free place */
	uint64_t used;          /* turn of the latest dispatch that had it */
};

/* Host memory that grows and is kept. */
struct mk_room {
	void *data;
	uint64_t bytes;
};

struct mk_dispatcher {
	pthread_mutex_t lock;
	uint64_t turn;
	struct mk_kept_queue kept[MK_DISPATCH_QUEUES];
	struct mk_queue *stuck[MK_DISPATCH_STUCK];
	struct mk_room copy[MK_PARTS]; /* of the input, checked */
	struct mk_room answers;        /* struct mk_ring_answer, by slot */
	struct mk_room tickets;        /* uint32_t, slot by ticket */
};

/* The dispatcher of a context, made at the first call and locked. */
int mk_dispatcher_enter(struct mk_ctx *ctx, const char *operation,
			struct mk_dispatcher **out);
void mk_dispatcher_leave(struct mk_dispatcher *d);

/*
 * A queue of this shape with nothing in flight: one that is kept, or a new
 * one, which is counted in stats as what was allocated on the device. -EBUSY:
 * too many queues are stuck.
 */
int mk_dispatcher_queue(struct mk_ctx *ctx, struct mk_dispatcher *d,
			const struct mk_shape *shape, const char *operation,
			struct mk_dispatch_stats *stats,
			struct mk_queue **out);

/* The queue has slots in flight that nobody waits for any more: ask them to
 * end, and free it now or later. */
void mk_dispatcher_abandon(struct mk_dispatcher *d, struct mk_queue *q);

/* Make room for so many bytes; the content is lost. 0 or -ENOMEM. */
int mk_room_grow(struct mk_room *room, uint64_t bytes, const char *operation);

/* Free the memory; queues belong to the context. NULL is allowed. */
void mk_dispatcher_free(struct mk_dispatcher *d);

#endif
