/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing a recorded batch. */
#include <errno.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/order.h"
#include "context/keeper.h"
#include "queue/batch.h"
#include "queue/encode.h"

#define FLOW (MK_SLOT_WAIT | MK_SLOT_RAISE)

/* ---- before a run ------------------------------------------------------- */

/* The counters of a set may be anything, or have a new handle: set them to 0,
 * and the lines as they were for the first run. */
static int set_zero(struct mk_batch *b, uint32_t set)
{
	struct mk_ctx *ctx = b->q->ctx;
	struct mk_batch_set *s = &b->sets[set];
	uint64_t restarts = mk_load_relaxed(&ctx->restarts);
	int r = 0;

	if (b->buffer)
		r = mk_buffer_renew(ctx, b->buffer, &b->buffer);
	if (!r && b->buffer)
		r = mk_buffer_write(ctx, b->buffer, 8ull * set * b->stride,
				    b->zeros, 8ull * b->stride);
	if (r)
		return r;
	mk_batch_lines(b, set);
	s->restarts = restarts;
	s->first = s->end = 0;
	return 0;
}

/* A slot of the set's last run, or one after it, did not end well. */
static bool went_wrong(const struct mk_batch *b, const struct mk_batch_set *s)
{
	return s->first != s->end &&
	       (int64_t)(mk_load_relaxed(&b->q->failed_end) - s->first) > 0;
}

/* Default deadlines count from the submission. */
static void deadlines_set(struct mk_batch *b, struct mk_batch_set *s)
{
	struct mk_ctx *ctx = b->q->ctx;
	uint64_t now = mk_now_ns();

	for (uint32_t i = 0; i < b->count; i++) {
		struct mk_slot *slot = &b->slots[i];
		uint64_t ns = mk_load_relaxed(
			&ctx->opcode_deadline[slot->opcode]);

		slot->flags &= (uint8_t)~MK_SLOT_DEADLINE;
		if (!ns)
			continue;
		slot->flags |= MK_SLOT_DEADLINE;
		s->lines[i].ext.deadline_ns =
			ns > UINT64_MAX - now ? UINT64_MAX : now + ns;
	}
	if (!mk_load_relaxed(&ctx->deadlines)) {
		mk_store_relaxed(&ctx->deadlines, 1);
		mk_keeper_ring(ctx);
	}
}

/* Handlers may have gone, or been given a default deadline, since. */
static int opcodes_check(struct mk_batch *b, struct mk_batch_set *s)
{
	bool late = false;

	for (unsigned i = 0; i < MK_OPCODES / 64; i++)
		for (uint64_t bits = b->opcodes[i]; bits; bits &= bits - 1) {
			unsigned op = i * 64 + (unsigned)__builtin_ctzll(bits);
			uint8_t takes = mk_load_relaxed(
				&b->q->opcode_args[op]);

			if (!takes)
				return mk_error_set(
					-MK_EOPCODE, 0, "mk_batch_submit",
					"opcode is %u, whose handler was "
					"unloaded since it was recorded", op);
			late |= (takes & MK_OPCODE_LATE) != 0;
		}
	if (late || b->late)
		deadlines_set(b, s);
	b->late = late;
	return 0;
}

/* Is this set's turn? 0: yes. */
static int set_take(struct mk_batch *b, uint32_t set)
{
	struct mk_batch_set *s = &b->sets[set];

	/* pairs with the reaper's store of head: failed_end is from before */
	if (s->first != s->end &&
	    (int64_t)(s->end - mk_load_acquire(&b->q->head)) > 0)
		return -EAGAIN;
	if (went_wrong(b, s) ||
	    s->restarts != mk_load_relaxed(&b->q->ctx->restarts))
		return set_zero(b, set);
	return 0;
}

/* ---- the copy ----------------------------------------------------------- */

/* Why nothing can be got. */
static int refused(struct mk_queue *q)
{
	struct mk_slot *s;
	int r = mk_queue_get(q, 0, &s); /* takes none, says why */

	return r == -EINVAL ? -EAGAIN : r;
}

/* n tickets, or none. */
static int tickets_take(struct mk_queue *q, uint32_t n, uint64_t *first)
{
	uint64_t tail = mk_load_relaxed(&q->tail), used, high;

	if (mk_load_relaxed(&q->closed))
		return refused(q);
	do {
		/* as in mk_queue_get() */
		used = tail - mk_load_acquire(&q->head);
		if ((uint64_t)q->mask + 1 - used < n) {
			mk_add_relaxed(&q->full, 1);
			return -EAGAIN;
		}
	} while (!mk_cas_relaxed(&q->tail, &tail, tail + n));
	high = mk_load_relaxed(&q->high);
	while (used + n > high && !mk_cas_relaxed(&q->high, &high, used + n))
		;
	*first = tail;
	return 0;
}

/* The line beside a slot: all but what others write. Word by word, so that
 * who looks at a slot that has gone on sees no half of one. */
static inline void line_write(union mk_batch_line *to,
			      union mk_batch_line *from)
{
	mk_store_relaxed(&to->word[0], from->word[0]);
	mk_store_relaxed(&to->word[2], from->word[2]);
	mk_store_relaxed(&to->word[3], from->word[3]);
	from->word[3] += from->word[1];
	mk_store_relaxed(&to->word[4], from->word[4]);
	mk_store_relaxed(&to->word[5], from->word[5]);
	mk_store_relaxed(&to->word[6], from->word[6]);
	mk_store_relaxed(&to->word[7], from->word[7]);
}
MK_STATIC_ASSERT(MK_OFFSETOF(struct mk_wire_ext, deadline_ns) == 0 &&
			 MK_OFFSETOF(struct mk_wire_ext, wait_value) == 24,
		 "words 0 and 3 of the line");

/* Publish slots [i, n) of the batch at [index, ...), whose places lie in one
 * piece: all but the stamp of the last, which is returned. */
static uint64_t piece_write(struct mk_batch *b, const struct mk_batch_set *s,
			    uint32_t i, uint32_t n, uint64_t user_data)
{
	const struct mk_queue *q = b->q;
	uint64_t index = (s->first + i) & q->mask;
	uint16_t mark = MK_MARK(s->first + i, q->shift);
	const struct mk_slot *from = b->slots + i;
	union mk_batch_line *line = s->lines + i,
			    *ext = (void *)(q->ext + index);
	struct mk_slot *copy = q->slots + index;
	struct mk_wire_slot *wire = q->ring + index;
	mk_slot_stamp_t stamp;

	/* all strides are 64 bytes: one index for all */
	for (uint64_t k = 0, last = n - i - 1;; k++) {
		mk_fetch_to_write(&wire[k + MK_FETCH_AHEAD]);
		/* the host needs no more than this of its copy */
		memcpy(&copy[k], &from[k], 8);
		copy[k].user_data = from[k].user_data + user_data;
		if (from[k].flags & (FLOW | MK_SLOT_DEADLINE)) {
			mk_fetch_to_write(&ext[k + MK_FETCH_AHEAD]);
			line_write(&ext[k], &line[k]);
		}
		stamp = mk_slot_encode(&wire[k], &from[k], mark);
		if (k == last)
			return mk_stamp_word(stamp);
		mk_stamp_store(&wire[k], stamp);
	}
}

static void batch_write(struct mk_batch *b, struct mk_batch_set *s,
			uint64_t user_data)
{
	struct mk_queue *q = b->q;
	uint32_t left = q->mask + 1 - (uint32_t)(s->first & q->mask);
	uint32_t split = left < b->count ? left : b->count;
	uint64_t word = piece_write(b, s, 0, split, user_data), attention;

	if (split < b->count) {
		mk_store_release(&q->ring[q->mask].unit[0].hi, word);
		word = piece_write(b, s, split, b->count, user_data);
	}
	/* Dekker, as in mk_queue_submit() */
	mk_store_seq(&q->ring[(s->end - 1) & q->mask].unit[0].hi, word);
	attention = mk_load_seq(q->attention);
	if (!MK_ATTENTION(attention, MK_ATTENTIVE) && attention)
		mk_queue_ring(q);
}

int mk_batch_submit(struct mk_batch *b, uint64_t user_data)
{
	struct mk_batch_set *s;
	uint64_t first = 0;
	int r;

	if (!b)
		return mk_error_null("mk_batch_submit", "b");
	if (!b->sealed)
		return mk_error_set(-EINVAL, 0, "mk_batch_submit",
				    "the batch was not sealed; mk_batch_seal() "
				    "checks it first");
	s = &b->sets[b->next];
	r = set_take(b, b->next);
	if (!r)
		r = opcodes_check(b, s);
	if (!r)
		r = tickets_take(b->q, b->count, &first);
	if (r)
		return r;
	s->first = first;
	s->end = first + b->count;
	if (++b->next == b->runs)
		b->next = 0;
	batch_write(b, s, user_data);
	return (int)b->count;
}
