/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reaper's side of a queue: collect answers, hand them out, free slots.
 *
 * Answers stand at the index of their ticket, so collecting in order is a
 * walk. When the oldest slot takes long, the window behind it is scanned, a
 * bounded piece at a time, so that it does not hide the others' answers.
 */
#include <errno.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/futex.h"
#include "base/order.h"
#include "queue/queue.h"

#define SCAN_STEP 256u /* tickets looked at in one out-of-order scan */
#define MISSED_NS 5000u /* the oldest slot is waited for, before there is one */

/* head carries result, worker and mark: see struct mk_wire_completion */
static inline bool head_is(uint64_t head, uint64_t ticket, uint32_t shift)
{
	return (uint16_t)(head >> MK_MARK_SHIFT) == MK_MARK(ticket, shift);
}

bool mk_queue_answered(const struct mk_queue *q, uint64_t t)
{
	/* pairs with the engine's store of head, after value; seq_cst for the
	 * waiters' Dekker, which costs no more than acquire */
	return head_is(mk_load_seq(&q->answers[t & q->mask].head), t,
		       q->shift);
}

/*
 * ThreadSanitizer does not see what happens in a worker process, and would
 * take the producer's stores to the slot and the reaper's loads of it for a
 * race. The stamp says to it what the answer says already.
 */
static inline void see_published(const struct mk_queue *q, uint64_t t)
{
#if MK_TSAN
	(void)mk_load_acquire(&q->ring[t & q->mask].unit[0].hi);
#else
	(void)q, (void)t;
#endif
}

static inline void ready_push(struct mk_queue *q, uint32_t index)
{
	q->ready[q->ready_tail++ & q->mask] = index;
}

/*
 * Look for answers behind `next`, which has none yet. Returns true if it has
 * one by now: it may have come before the one that was found behind it, so it
 * goes first.
 */
static bool collect_early(struct mk_queue *q, unsigned want)
{
	uint64_t window = q->limit - q->next;
	unsigned steps = window < SCAN_STEP ? (unsigned)window : SCAN_STEP;

	if (window < 2)
		return false;
	while (steps-- && q->ready_tail - q->ready_head < want) {
		uint64_t t = q->scan;
		uint32_t index;

		if (t - q->next - 1 >= window - 1)
			t = q->next + 1;
		index = (uint32_t)(t & q->mask);
		q->scan = t + 1;
		if (q->early[index] || !mk_queue_answered(q, t))
			continue;
		if (mk_queue_answered(q, q->next))
			return true;
		see_published(q, t);
		q->early[index] = MK_EARLY_READY;
		q->early_count++;
		ready_push(q, index);
	}
	return false;
}

static void collect_in_order(struct mk_queue *q, unsigned want)
{
	uint64_t next = q->next;

	while (q->ready_tail - q->ready_head < want) {
		uint32_t index = (uint32_t)(next & q->mask);

		if (next == q->limit) {
			q->limit = mk_load_relaxed(&q->tail);
			if (next == q->limit)
				break;
		}
		if (q->early_count && q->early[index]) {
			next++;
			continue;
		}
		if (!mk_queue_answered(q, next))
			break;
		see_published(q, next);
		ready_push(q, index);
		next++;
	}
	q->next = next;
}

unsigned mk_queue_collect(struct mk_queue *q, unsigned want)
{
	bool again;

	do {
		again = false;
		collect_in_order(q, want);
		if (q->ready_tail - q->ready_head < want &&
		    q->next != q->limit) {
			q->limit = mk_load_relaxed(&q->tail);
			again = collect_early(q, want);
		}
	} while (again);
	return (unsigned)(q->ready_tail - q->ready_head);
}

static enum mk_ending ending_of(int32_t result)
{
	/* unsigned: a handler may return INT32_MIN */
	switch (0u - (uint32_t)result) {
	case MK_EFAULT:
		return MK_END_FAULTED;
	case MK_EHUNG:
		return MK_END_HUNG;
	case MK_EOPCODE:
		return MK_END_OPCODE;
	case MK_EARGS:
	case MK_ERANGE:
	case MK_ESTALE:
	case MK_EFOREIGN:
	case MK_EACCESS:
	case MK_EVOLATILE:
		return MK_END_ARGS;
	case MK_EDEADLINE:
		return MK_END_EXPIRED;
	case MK_EOVERRUN:
		return MK_END_OVERRUN;
	case MK_ECANCELLED:
		return MK_END_CANCELLED;
	case MK_ENOTRUN:
		return MK_END_NOT_RUN;
	case MK_EMAYRUN:
		return MK_END_MAY_RUN;
	case MK_EPOISON:
		return MK_END_POISONED;
	case MK_EUPSTREAM:
		return MK_END_UPSTREAM;
	case EDEADLK:
		return MK_END_DEADLOCK;
	default:
		return MK_END_OTHER;
	}
}

/* The result of a slot that ended badly. One that waited in vain was asked to
 * end, or saw another one fail that was: what it is called is -EDEADLK. */
static int32_t bad_result(const struct mk_queue *q, uint32_t index,
			  int32_t result)
{
	const uint64_t *stuck = mk_load_acquire(&q->stuck);
	uint64_t mark;

	if (!stuck || (result != -MK_ECANCELLED && result != -MK_EUPSTREAM))
		return result;
	mark = mk_load_relaxed(&stuck[index]);
	return mark && mark - 1 - q->head <= q->mask ? -EDEADLK : result;
}

/* Ticket end - 1 ended badly, and was reaped. Stored before head. */
static void ended_badly(struct mk_queue *q, uint64_t end)
{
	if ((int64_t)(end - q->failed_end) > 0)
		mk_store_relaxed(&q->failed_end, end);
}

static inline void copy_out(const struct mk_queue *q, uint32_t index,
			    struct mk_completion *out)
{
	const struct mk_wire_completion *c = &q->answers[index];
	uint64_t head = mk_load_relaxed(&c->head);

	out->user_data = q->slots[index].user_data;
	out->value = mk_load_relaxed(&c->value);
	out->result = (int32_t)head;
	if (out->result < 0)
		out->result = bad_result(q, index, out->result);
	out->opcode = q->slots[index].opcode;
	out->worker = (uint16_t)(head >> 32);
}

unsigned mk_queue_collect_all(struct mk_queue *q, unsigned want)
{
	unsigned have = mk_queue_collect(q, want);
	uint64_t looked = SCAN_STEP;

	for (; have < want && looked < q->limit - q->next; looked += SCAN_STEP)
		have = mk_queue_collect(q, want);
	return have;
}

/* Nothing is ready: arm the event fd, look again, see if the device lives. */
static int peek_nothing(struct mk_queue *q, unsigned want)
{
	unsigned n;

	if (!want)
		return 0;
	if (q->event_fd >= 0 && !mk_load_relaxed(&q->block->armed)) {
		q->event_signals++;
		/* Dekker with the engine: it stores the answer, then takes
		 * `armed`; we store `armed`, then look for answers */
		mk_store_seq(&q->block->armed, 1);
		n = mk_queue_collect_all(q, want);
	} else {
		n = mk_queue_collect(q, want);
	}
	if (n || mk_load_acquire(&q->ctx->lost) != MK_LOST)
		return (int)n;
	if (mk_queue_end_lost(q))
		return (int)mk_queue_collect(q, want);
	return q->head == mk_load_relaxed(&q->tail) ?
		       mk_ctx_check(q->ctx, "mk_queue_peek") : 0;
}

int mk_queue_peek(struct mk_queue *q, struct mk_completion *out, unsigned n)
{
	unsigned have = mk_queue_collect(q, n);

	if (!have) {
		int r = peek_nothing(q, n);

		if (r <= 0)
			return r;
		have = (unsigned)r;
	}
	if (have > n)
		have = n;
	for (unsigned i = 0; i < have; i++)
		copy_out(q, q->ready[(q->ready_head + i) & q->mask], &out[i]);
	if (q->peeked < have)
		q->peeked = have;
	return (int)have;
}

/* The slot at this index is free; move head over all that are. */
static void retire_early(struct mk_queue *q, uint32_t index)
{
	uint64_t head = q->head;

	if (index != (head & q->mask)) {
		if (!q->early[index])
			q->early_count++;
		q->early[index] = MK_EARLY_DONE;
		return;
	}
	do {
		if (q->early[head & q->mask])
			q->early_count--;
		q->early[head & q->mask] = MK_EARLY_NO;
		head++;
	} while (q->early[head & q->mask] == MK_EARLY_DONE);
	/* collecting may stand before what was advanced out of order */
	if ((int64_t)(head - q->next) > 0)
		q->next = head;
	/* pairs with the load in mk_queue_get() */
	mk_store_release(&q->head, head);
}

/* Free the slots before `head`. Producers may sleep for room: every slot is
 * worth one of them. */
static void move_head(struct mk_queue *q, uint64_t head, uint64_t before)
{
	/* Dekker with mk_queue_get_wait(): we store head, then look for
	 * sleepers; it counts itself, then looks at head */
	mk_store_seq(&q->head, head);
	if (!mk_load_seq(&q->room_waiters) || head == before)
		return;
	mk_add_seq(&q->room, 1);
	mk_futex_wake(&q->room, (int)(head - before));
}

/*
 * Lap marks come round: a cancel word must not outlive its ticket for long.
 * One that is set just when its slot is reaped stays for a lap: it names
 * another ticket then, and `cancels` still counts it.
 */
static void forget_cancels(struct mk_queue *q, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint32_t index = q->ready[(q->ready_head + i) & q->mask];

		if (mk_load_relaxed(&q->ext[index].cancel) &&
		    mk_exchange_seq(&q->ext[index].cancel, 0))
			mk_sub_seq(&q->cancels, 1);
	}
}

int mk_queue_advance(struct mk_queue *q, unsigned n)
{
	uint64_t head = q->head, before = head;

	if (n > q->peeked)
		return mk_error_set(-EINVAL, 0, "mk_queue_advance",
				    "n is %u, but only %u completions were "
				    "peeked", n, q->peeked);
	q->peeked -= n;
	if (mk_load_relaxed(&q->cancels))
		forget_cancels(q, n);
	for (unsigned i = 0; i < n; i++) {
		uint32_t index = q->ready[q->ready_head++ & q->mask];
		int32_t result =
			(int32_t)mk_load_relaxed(&q->answers[index].head);

		if (result < 0)
			result = bad_result(q, index, result);
		q->endings[result >= 0 ? MK_END_OK : ending_of(result)]++;
		if (result < 0)
			ended_badly(q, q->head + 1 +
					       ((index - q->head) & q->mask));
		if (!q->early_count && index == (head & q->mask)) {
			head++;
			continue;
		}
		mk_store_release(&q->head, head);
		retire_early(q, index);
		head = q->head;
	}
	move_head(q, head, before);
	return (int)n;
}

/* The same for what reap_run() copied, up to the last that ended badly. */
static void bad_run(struct mk_queue *q, uint64_t t, struct mk_completion *out,
		    unsigned n)
{
	ended_badly(q, t + n);
	for (unsigned i = 0; i < n && mk_load_acquire(&q->stuck); i++) {
		int32_t was = out[i].result;

		if (was >= 0)
			continue;
		out[i].result = bad_result(q, (uint32_t)((t + i) & q->mask),
					   was);
		q->endings[ending_of(was)]--;
		q->endings[ending_of(out[i].result)]++;
	}
}

/*
 * Copy answers from `next` on, in order, up to the end of the lap, and count
 * them. How many; the slots are not free yet.
 */
static unsigned reap_run(struct mk_queue *q, struct mk_completion *out,
			 unsigned n)
{
	const uint64_t next = q->next, index = next & q->mask;
	const struct mk_wire_completion *c = &q->answers[index];
	const struct mk_slot *slot = &q->slots[index];
	const uint16_t mark = MK_MARK(next, q->shift);
	unsigned i, failed = 0, bad = 0;

	if (n > q->limit - next)
		q->limit = mk_load_relaxed(&q->tail);
	if (n > q->limit - next)
		n = (unsigned)(q->limit - next);
	if (n > q->mask + 1 - index)
		n = (unsigned)(q->mask + 1 - index);
	for (i = 0; i < n; i++) {
		/* as in mk_queue_answered() */
		uint64_t head = mk_load_acquire(&c[i].head);
		int32_t result = (int32_t)head;

		if ((uint16_t)(head >> MK_MARK_SHIFT) != mark)
			break;
		see_published(q, next + i);
		out[i].user_data = slot[i].user_data;
		out[i].value = mk_load_relaxed(&c[i].value);
		out[i].result = result;
		out[i].opcode = slot[i].opcode;
		out[i].worker = (uint16_t)(head >> 32);
		if (result < 0) {
			q->endings[ending_of(result)]++;
			failed++;
			bad = i;
		}
	}
	q->endings[MK_END_OK] += i - failed;
	if (failed)
		bad_run(q, next, out, bad + 1);
	q->next = next + i;
	return i;
}

/* The common case: nothing was collected before, no cancel word is to be taken
 * back, all comes in order. */
static bool in_order(const struct mk_queue *q)
{
	return q->ready_tail == q->ready_head && !q->early_count &&
	       !mk_load_relaxed(&q->cancels);
}

static unsigned reap_in_order(struct mk_queue *q, struct mk_completion *out,
			      unsigned n)
{
	unsigned have = 0, run;

	do {
		run = reap_run(q, out + have, n - have);
		have += run;
	} while (run && have < n);
	if (have)
		move_head(q, q->next, q->head);
	return have;
}

/*
 * The oldest slot has no answer. Has it only just begun to keep us waiting?
 * Then the answers behind it are being written: to look at them takes their
 * lines away from whoever writes them, again and again, and slows down both.
 */
static bool just_missed(struct mk_queue *q)
{
	uint64_t now;

	if (q->limit - q->next < 2 ||
	    (q->event_fd >= 0 && !mk_load_relaxed(&q->block->armed)))
		return false;
	now = mk_now_ns();
	if (q->missed_ns && q->missed == q->next)
		return now - q->missed_ns < MISSED_NS;
	q->missed = q->next;
	q->missed_ns = now;
	return true;
}

int mk_queue_reap(struct mk_queue *q, struct mk_completion *out, unsigned n)
{
	int have;

	if (in_order(q)) {
		have = (int)reap_in_order(q, out, n);
		if (have || just_missed(q))
			return have;
	}
	have = mk_queue_peek(q, out, n);
	return have > 0 ? mk_queue_advance(q, (unsigned)have) : have;
}
