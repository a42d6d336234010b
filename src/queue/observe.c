/* SPDX-License-Identifier: Apache-2.0 */
/* What a queue shows: counts, observable words, the debug log. */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/order.h"
#include "queue/queue.h"

static void *block_at(const struct mk_queue *q, uint32_t offset)
{
	return offset ? (unsigned char *)q->block + offset : NULL;
}

struct mk_control *mk_queue_control(const struct mk_queue *q)
{
	return block_at(q, q->desc.control_offset);
}

struct mk_debug_log *mk_queue_log(const struct mk_queue *q)
{
	return block_at(q, q->desc.log_offset);
}

struct mk_io_queue *mk_queue_io(const struct mk_queue *q)
{
	return block_at(q, q->desc.io_offset);
}

bool mk_queue_published(const struct mk_queue *q, uint64_t t)
{
	/* pairs with the stamp of mk_queue_submit() */
	return (uint16_t)(mk_load_acquire(
				  &q->ring[t & q->mask].unit[0].hi) >>
			  MK_MARK_SHIFT) == MK_MARK(t, q->shift);
}

uint32_t mk_queue_entries(const struct mk_queue *q)
{
	return q ? q->mask + 1 : 0;
}

int mk_queue_stats(struct mk_queue *q, struct mk_queue_stats *out)
{
	uint64_t head, tail;

	if (!q || !out)
		return mk_error_null("mk_queue_stats", q ? "out" : "q");
	head = q->head;
	tail = mk_load_acquire(&q->tail);
	memset(out, 0, sizeof(*out));
	out->ok = q->endings[MK_END_OK];
	out->hung = q->endings[MK_END_HUNG];
	out->overrun = q->endings[MK_END_OVERRUN];
	out->not_run = q->endings[MK_END_NOT_RUN];
	out->may_run = q->endings[MK_END_MAY_RUN];
	out->poisoned = q->endings[MK_END_POISONED];
	out->faulted = q->endings[MK_END_FAULTED] + out->hung;
	out->bad_opcode = q->endings[MK_END_OPCODE];
	out->bad_args = q->endings[MK_END_ARGS];
	out->expired = q->endings[MK_END_EXPIRED] + out->overrun;
	out->cancelled = q->endings[MK_END_CANCELLED];
	out->upstream = q->endings[MK_END_UPSTREAM];
	out->deadlocked = q->endings[MK_END_DEADLOCK];
	out->lost = out->not_run + out->may_run + out->poisoned;
	out->other = q->endings[MK_END_OTHER];
	out->failed = out->faulted + out->bad_opcode + out->bad_args +
		      out->expired + out->cancelled + out->lost +
		      out->upstream + out->deadlocked + out->other;
	out->submitted = head - q->first_ticket;
	for (uint64_t t = head; t != tail; t++) {
		if (q->early[t & q->mask] == MK_EARLY_DONE) {
			out->submitted++;
			continue;
		}
		if (!mk_queue_published(q, t)) {
			out->got++;
			continue;
		}
		out->submitted++;
		if (mk_queue_answered(q, t))
			out->ready++;
		else
			out->in_flight++;
	}
	out->full = mk_load_relaxed(&q->full);
	out->doorbells = mk_load_relaxed(&q->doorbells);
	out->waits = q->waits;
	out->in_flight_high = mk_load_relaxed(&q->high);
	out->event_signals = q->event_signals;
	return 0;
}

static void ask_to_end(struct mk_queue *q, uint64_t t, bool ours)
{
	struct mk_wire_ext *ext = &q->ext[t & q->mask];
	uint32_t mark = 0x10000u | MK_MARK(t, q->shift);
	uint64_t *asked = &q->asked[t & q->mask];

	pthread_mutex_lock(&q->loss_lock);
	/* counted before it is set, so that the reaper, which takes it back,
	 * never counts below 0 */
	mk_add_seq(&q->cancels, 1);
	/* pairs with mk_cancelled() and the worker's look before it runs the
	 * slot */
	if (mk_exchange_seq(&ext->cancel, mark))
		mk_sub_seq(&q->cancels, 1); /* there was one already */
	else if (ours)
		*asked = t + 1;
	if (!ours)
		*asked = 0; /* the caller wants it now, whoever was first */
	pthread_mutex_unlock(&q->loss_lock);
	/* from now on workers look at the cancel words */
	if (!(mk_load_relaxed(&q->block->mode) & MK_MODE_CANCEL_SOME))
		mk_or_seq(&q->block->mode, MK_MODE_CANCEL_SOME);
	/* it may wait for a counter, while everybody sleeps */
	mk_queue_ring(q);
}

void mk_queue_ask_to_end(struct mk_queue *q, uint64_t t)
{
	ask_to_end(q, t, true);
}

bool mk_queue_mark_stuck(struct mk_queue *q, uint64_t t)
{
	uint64_t *stuck;

	pthread_mutex_lock(&q->loss_lock);
	stuck = q->stuck;
	if (!stuck)
		stuck = calloc((size_t)q->mask + 1, sizeof(*stuck));
	if (stuck)
		mk_store_relaxed(&stuck[t & q->mask], t + 1);
	/* pairs with the reaper's load; and it is there before the slot is
	 * asked, so before the answer */
	mk_store_release(&q->stuck, stuck);
	pthread_mutex_unlock(&q->loss_lock);
	return stuck;
}

void mk_queue_withdraw(struct mk_queue *q, uint64_t t)
{
	uint64_t *asked = &q->asked[t & q->mask];

	if (*asked == t + 1 && mk_exchange_seq(&q->ext[t & q->mask].cancel, 0))
		mk_sub_seq(&q->cancels, 1);
	*asked = 0;
}

/* Tickets [from, end), the youngest first: a worker that is free because its
 * slot ended finds none behind it that has not been asked. */
static int64_t ask_all(struct mk_queue *q, uint64_t from, uint64_t end)
{
	int64_t n = 0;

	for (uint64_t t = end; (int64_t)(t - from) > 0; t--) {
		if (!mk_queue_published(q, t - 1) ||
		    mk_queue_answered(q, t - 1))
			continue;
		ask_to_end(q, t - 1, false);
		n++;
	}
	return n;
}

int64_t mk_queue_cancel_all(struct mk_queue *q)
{
	int64_t n;

	if (!q)
		return mk_error_null("mk_queue_cancel_all", "q");
	n = ask_all(q, mk_load_acquire(&q->head), mk_load_acquire(&q->tail));
	if (n)
		mk_queue_mode(q, MK_MODE_CANCEL_SOME, UINT64_MAX);
	return n;
}

int64_t mk_queue_cancel_waiting(struct mk_queue *q)
{
	uint64_t head = mk_load_acquire(&q->head);
	uint64_t tail = mk_load_acquire(&q->tail);
	uint64_t claim = mk_load_acquire(&q->block->claim);

	/* the engine's word: if it is nonsense, all may have begun */
	q->cancel_split = claim - head > tail - head ? tail : claim;
	return ask_all(q, q->cancel_split, tail);
}

int64_t mk_queue_cancel_begun(struct mk_queue *q)
{
	return ask_all(q, mk_load_acquire(&q->head), q->cancel_split);
}

int mk_queue_cancel(struct mk_queue *q, uint64_t user_data)
{
	uint64_t tail;
	int n = 0;

	if (!q)
		return mk_error_null("mk_queue_cancel", "q");
	tail = mk_load_acquire(&q->tail);
	for (uint64_t t = q->head; t != tail; t++) {
		uint32_t index = (uint32_t)(t & q->mask);

		if (!mk_queue_published(q, t) || q->early[index] ||
		    q->slots[index].user_data != user_data ||
		    mk_queue_answered(q, t))
			continue;
		ask_to_end(q, t, false);
		n++;
	}
	if (n)
		mk_queue_mode(q, MK_MODE_CANCEL_SOME, UINT64_MAX);
	return n;
}

static uint64_t *observable(struct mk_queue *q, uint32_t word,
			    const char *operation)
{
	if (word < q->desc.observables)
		return (uint64_t *)(mk_queue_control(q) + 1) + word;
	mk_error_set(-MK_ERANGE, 0, operation,
		     "word is %u, must be below %u, the observables of the "
		     "queue", word, q->desc.observables);
	return NULL;
}

int mk_queue_observe(struct mk_queue *q, uint32_t word, uint64_t *value)
{
	uint64_t *at;

	if (!q || !value)
		return mk_error_null("mk_queue_observe", q ? "value" : "q");
	at = observable(q, word, "mk_queue_observe");
	if (!at)
		return -MK_ERANGE;
	*value = mk_load_acquire(at);
	return 0;
}

int mk_queue_set_observable(struct mk_queue *q, uint32_t word, uint64_t value)
{
	uint64_t *at;

	if (!q)
		return mk_error_null("mk_queue_set_observable", "q");
	at = observable(q, word, "mk_queue_set_observable");
	if (!at)
		return -MK_ERANGE;
	mk_store_release(at, value);
	return 0;
}

/* Copy a record if it is whole and is number `at`. */
bool mk_queue_log_record(const struct mk_debug_record *r, uint64_t at,
			 struct mk_log_entry *out)
{
	uint32_t stamp = (uint32_t)(at + 1);

	/* pairs with mk_print(): stamp 0, words, stamp */
	if (mk_load_acquire(&r->stamp) != stamp)
		return false;
	out->ticket = mk_load_relaxed(&r->ticket);
	out->format = mk_load_relaxed(&r->format);
	for (int i = 0; i < 3; i++)
		out->arg[i] = mk_load_relaxed(&r->arg[i]);
	out->worker = mk_load_relaxed(&r->worker);
	out->reserved = 0;
	/* still the same record? An RMW keeps the loads above before it */
	return mk_add_acq_rel((uint32_t *)&r->stamp, 0) == stamp;
}

int mk_queue_log_read(struct mk_queue *q, struct mk_log_entry *out,
		      unsigned n, uint64_t *lost)
{
	const struct mk_debug_record *records;
	struct mk_debug_log *log;
	uint64_t cursor, skipped = 0;
	unsigned have = 0;

	if (!q || (n && !out))
		return mk_error_null("mk_queue_log_read", q ? "out" : "q");
	log = mk_queue_log(q);
	records = (const struct mk_debug_record *)(log + 1);
	cursor = mk_load_acquire(&log->cursor);
	if (cursor - q->log_position > q->desc.log_records) {
		skipped = cursor - q->log_position - q->desc.log_records;
		q->log_position += skipped;
	}
	while (have < n && q->log_position != cursor) {
		uint64_t at = q->log_position;
		const struct mk_debug_record *r =
			&records[at & (q->desc.log_records - 1)];

		if (mk_queue_log_record(r, at, &out[have]))
			have++;
		else if ((int32_t)(mk_load_acquire(&r->stamp) -
				   (uint32_t)(at + 1)) > 0)
			skipped++; /* overwritten meanwhile */
		else
			break; /* being written: next time */
		q->log_position = at + 1;
	}
	if (lost)
		*lost = skipped;
	return (int)have;
}
