/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a host dispatch moves beside its slots. The block of a queue has a
 * control, a debug log and an IO queue of the same format as the buffers, and
 * the dispatch took a queue with the very counts of its buffers; so records
 * keep their places.
 *
 * Nothing is in flight when this runs: what is stored here happens before the
 * slots by their stamps, and what is loaded after them by their answers. The
 * engine's process may still write nonsense at any time: counts are loaded
 * once and checked.
 */
#include "base/error.h"
#include "base/order.h"
#include "dispatch/host_state.h"
#include "queue/queue.h"

static void moved_in(struct mk_host_dispatch *h, uint64_t bytes)
{
	h->stats.bytes_moved += bytes;
}

static void read_back(struct mk_host_dispatch *h, void *dst, const void *src,
		      uint64_t bytes)
{
	mk_copy_words(dst, src, bytes);
	h->stats.readback_bytes += bytes;
	h->stats.bytes_moved += bytes;
}

static uint64_t *control_words(struct mk_control *control)
{
	return (uint64_t *)((unsigned char *)control +
			    control->observable_offset);
}

/* The observable words of a queue's block; as in mk_queue_observe(). */
static uint64_t *block_words(const struct mk_queue *q)
{
	return (uint64_t *)(mk_queue_control(q) + 1);
}

/* A queue without IO buffer is one that is full: posts are refused. */
static void io_close(const struct mk_queue *q)
{
	struct mk_io_queue *io = mk_queue_io(q);

	mk_store_relaxed(&io->taken, 0);
	mk_store_relaxed(&io->posted, q->desc.io_records);
}

void mk_host_load(struct mk_host_dispatch *h)
{
	const struct mk_queue *q = h->flight.q;
	uint64_t words = 8ull * h->control->observables;
	uint64_t log = sizeof(*h->log) - offsetof(struct mk_debug_log, cursor) +
		       (uint64_t)h->log->capacity *
			       sizeof(struct mk_debug_record);
	uint64_t io = 0;

	memcpy(block_words(q), control_words(h->control), words);
	memcpy(&mk_queue_log(q)->cursor, &h->log->cursor, log);
	if (h->io) {
		io = sizeof(*h->io) - offsetof(struct mk_io_queue, posted) +
		     (uint64_t)h->io->capacity * sizeof(struct mk_io_record);
		memcpy(&mk_queue_io(q)->posted, &h->io->posted, io);
	} else {
		io_close(q);
	}
	moved_in(h, words + log + io);
}

/* The slot that a ticket of the queue was; other numbers stay. */
static uint64_t slot_of(const struct mk_host_dispatch *h, uint64_t ticket)
{
	uint64_t at = ticket - h->flight.first_ticket;

	return at < h->flight.sent ? h->flight.tickets[at] : ticket;
}

static int nonsense(const struct mk_host_dispatch *h, const char *what,
		    uint64_t now, uint64_t then)
{
	return mk_error_set(-MK_ESHARED, 0, h->operation,
			    "%s came back as %llu after %llu: a handler wrote "
			    "where it must not", what,
			    (unsigned long long)now, (unsigned long long)then);
}

static int log_read_back(struct mk_host_dispatch *h)
{
	struct mk_debug_log *log = mk_queue_log(h->flight.q);
	struct mk_debug_record *from = (struct mk_debug_record *)(log + 1);
	struct mk_debug_record *to = (struct mk_debug_record *)(h->log + 1);
	uint32_t capacity = h->log->capacity;
	uint64_t head[2], at;

	MK_STATIC_ASSERT(offsetof(struct mk_debug_log, drops) ==
				 offsetof(struct mk_debug_log, cursor) + 8,
			 "cursor and drops are read together");
	read_back(h, head, &log->cursor, sizeof(head));
	if (head[0] < h->log->cursor)
		return nonsense(h, "debug_log: cursor", head[0],
				h->log->cursor);
	if (head[1] > head[0] || head[1] < h->log->drops)
		return nonsense(h, "debug_log: drops", head[1],
				h->log->drops);
	at = h->log->cursor;
	if (head[0] - at > capacity)
		at = head[0] - capacity;
	for (; at != head[0]; at++) {
		struct mk_debug_record *r = &to[at & (capacity - 1)];

		read_back(h, r, &from[at & (capacity - 1)], sizeof(*r));
		r->ticket = slot_of(h, r->ticket);
	}
	h->log->cursor = head[0];
	h->log->drops = head[1];
	return 0;
}

static int io_read_back(struct mk_host_dispatch *h)
{
	struct mk_io_queue *io = mk_queue_io(h->flight.q);
	struct mk_io_record *from = (struct mk_io_record *)(io + 1);
	struct mk_io_record *to = (struct mk_io_record *)(h->io + 1);
	uint32_t capacity = h->io->capacity;
	uint64_t head[3], at;

	MK_STATIC_ASSERT(offsetof(struct mk_io_queue, refused) ==
				 offsetof(struct mk_io_queue, posted) + 16,
			 "posted, taken and refused are read together");
	read_back(h, head, &io->posted, sizeof(head));
	/* what was open stays open, and the rest has to fit */
	if (head[0] - h->io->taken > capacity || head[0] < h->io->posted)
		return nonsense(h, "io_queue: posted", head[0],
				h->io->posted);
	for (at = h->io->posted; at != head[0]; at++) {
		struct mk_io_record *r = &to[at & (capacity - 1)];

		read_back(h, r, &from[at & (capacity - 1)], sizeof(*r));
		r->ticket = slot_of(h, r->ticket);
	}
	h->io->posted = head[0];
	h->io->refused = head[2];
	return 0;
}

int mk_host_read_back(struct mk_host_dispatch *h)
{
	struct mk_control *control = mk_queue_control(h->flight.q);
	int r;

	read_back(h, control_words(h->control), block_words(h->flight.q),
		  8ull * h->control->observables);
	if (mk_load_relaxed(&control->shutdown))
		h->control->shutdown = 1;
	r = log_read_back(h);
	return r < 0 || !h->io ? r : io_read_back(h);
}
