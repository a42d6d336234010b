/* SPDX-License-Identifier: Apache-2.0 */
/* What handlers ask of the host: taken once, answered, freed in order. */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/order.h"
#include "queue/queue.h"

enum asked {
	ASKED_NO = 0,
	ASKED_TAKEN = 1,
	ASKED_ANSWERED = 2, /* and maybe not looked at */
	ASKED_OVER = 3
};

static struct mk_io_record *record_at(const struct mk_queue *q, uint64_t at)
{
	struct mk_io_record *records = (void *)(mk_queue_io(q) + 1);

	return &records[at & (q->desc.io_records - 1)];
}

static uint8_t *state_of(struct mk_queue *q, uint64_t at)
{
	return &q->asked_state[at & (q->desc.io_records - 1)];
}

/* A slot that is not in flight has ended, whatever number it is. */
static bool slot_ended(const struct mk_queue *q, uint64_t ticket)
{
	uint64_t head, tail = mk_load_acquire(&q->tail);

	if (mk_queue_answered(q, ticket))
		return true;
	/* loaded afterwards: an index that went on has left it behind */
	head = mk_load_acquire(&q->head);
	return ticket - head >= tail - head;
}

/* Posted by an engine that is gone. */
static bool is_gone(const struct mk_queue *q, uint64_t at)
{
	return (int64_t)(q->asked_gone - at) > 0;
}

/* Whoever was to look at the answer has done so, or never will. A slot that
 * runs again asks again, and may wait for a place to do so. */
static bool over(const struct mk_queue *q, uint64_t at, uint8_t state)
{
	struct mk_io_record *r = record_at(q, at);

	if (state != ASKED_ANSWERED)
		return state == ASKED_OVER;
	/* pairs with the exchange of mk_io_answer() */
	return mk_load_acquire(mk_io_word(r)) & MK_IO_SEEN ||
	       is_gone(q, at) || slot_ended(q, mk_load_relaxed(&r->ticket));
}

/* Places are freed in order: what handlers post next goes there. */
static void free_answered(struct mk_queue *q)
{
	uint64_t at = q->asked_freed;

	while (over(q, at, *state_of(q, at))) {
		*state_of(q, at) = ASKED_NO;
		at++;
	}
	if (at == q->asked_freed)
		return;
	q->asked_freed = at;
	/* pairs with the load of mk_io_claim(): the record was read before */
	mk_store_release(&mk_queue_io(q)->taken, at);
}

/* Copy a request if it is whole. */
static bool copy_out(const struct mk_queue *q, uint64_t at,
		     struct mk_io_asked *out)
{
	struct mk_io_record *r = record_at(q, at);
	uint64_t source, target;

	/* pairs with the store-release of mk_io_request() */
	if (((uint32_t)mk_load_acquire(mk_io_word(r)) & ~MK_IO_SEEN) !=
	    MK_IO_STAMP(at))
		return false;
	source = mk_load_relaxed(&r->source);
	target = mk_load_relaxed(&r->target);
	*out = (struct mk_io_asked){
		.at = at,
		.op = mk_load_relaxed(&r->op),
		.tag = mk_load_relaxed(&r->tag),
		.ticket = mk_load_relaxed(&r->ticket),
		.offset = mk_load_relaxed(&r->offset),
		.bytes = mk_load_relaxed(&r->bytes),
		.buffer_offset = mk_load_relaxed(&r->buffer_offset),
	};
	out->file = out->op == MK_IO_WRITE ? target : source;
	out->buffer = out->op == MK_IO_WRITE ? source : target;
	return true;
}

/* Note what engines posted that are gone: what of it is not whole will never
 * be. They may have written anything for a count. */
static void note_losses(struct mk_queue *q)
{
	/* pairs with the store-release of mk_queue_prepare_restart() */
	uint64_t lost = mk_load_acquire(&q->asked_lost);

	if ((int64_t)(lost - q->asked_gone) > 0 &&
	    lost - q->asked_freed <= q->desc.io_records)
		q->asked_gone = lost;
}

int mk_queue_io_take(struct mk_queue *q, struct mk_io_asked *out, unsigned n)
{
	bool whole = true; /* all before `at` */
	unsigned have = 0;
	uint64_t posted;

	if (!q || (n && !out))
		return mk_error_null("mk_queue_io_take", q ? "out" : "q");
	posted = mk_load_acquire(&mk_queue_io(q)->posted);
	if (!q->asked_state)
		q->asked_state = calloc(q->desc.io_records, 1);
	if (!q->asked_state)
		return mk_error_set(-ENOMEM, ENOMEM, "mk_queue_io_take",
				    "no memory for the states of %u requests",
				    q->desc.io_records);
	if (posted - q->asked_freed > q->desc.io_records)
		return mk_error_set(-MK_ESHARED, 0, "mk_queue_io_take",
				    "%llu requests are posted, but of those "
				    "after %llu at most %u can be: a handler "
				    "has written over the IO queue",
				    (unsigned long long)posted,
				    (unsigned long long)q->asked_freed,
				    q->desc.io_records);
	note_losses(q);
	for (uint64_t at = q->asked_next; at != posted && have < n; at++) {
		uint8_t *state = state_of(q, at);

		if (*state == ASKED_NO && copy_out(q, at, &out[have])) {
			*state = ASKED_TAKEN;
			have++;
		} else if (*state == ASKED_NO && is_gone(q, at)) {
			*state = ASKED_OVER;
		}
		whole = whole && *state != ASKED_NO;
		if (whole)
			q->asked_next = at + 1;
	}
	free_answered(q);
	return (int)have;
}

int mk_queue_io_answer(struct mk_queue *q, uint64_t at, int32_t status,
		       uint64_t bytes)
{
	struct mk_io_record *r;
	uint32_t seen;

	if (!q)
		return mk_error_null("mk_queue_io_answer", "q");
	r = record_at(q, at);
	if (!q->asked_state || at - q->asked_freed >= q->desc.io_records ||
	    *state_of(q, at) != ASKED_TAKEN)
		return mk_error_set(-EINVAL, 0, "mk_queue_io_answer",
				    "request %llu is not one that was taken "
				    "and has no answer",
				    (unsigned long long)at);
	if (!status)
		return mk_error_set(-EINVAL, 0, "mk_queue_io_answer",
				    "status is 0, which means open");
	mk_store_relaxed(&r->bytes, bytes);
	/* pairs with the load-acquire of mk_io_answer() */
	seen = (uint32_t)mk_load_relaxed(mk_io_word(r)) & MK_IO_SEEN;
	mk_store_release(mk_io_word(r), (uint64_t)(uint32_t)status << 32 |
						MK_IO_STAMP(at) | seen);
	*state_of(q, at) = ASKED_ANSWERED;
	free_answered(q);
	return 0;
}

int mk_queue_io_info(struct mk_queue *q, struct mk_io_info *out)
{
	const struct mk_io_queue *io;

	if (!q || !out)
		return mk_error_null("mk_queue_io_info", q ? "out" : "q");
	io = mk_queue_io(q);
	*out = (struct mk_io_info){
		.capacity = q->desc.io_records,
		.posted = mk_load_acquire(&io->posted),
		.taken = mk_load_relaxed(&io->taken),
		.refused = mk_load_relaxed(&io->refused),
	};
	return 0;
}
