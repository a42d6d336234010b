/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the device is lost: every slot still gets one answer. Nobody else
 * writes completions then, since the engine's process is gone and reaped.
 *
 * A slot without an answer was never claimed, or claimed and not begun, or
 * begun. Only the last may have had effects. Which it was is what the workers
 * left in their blocks (src/context/loss.c); where that cannot be relied on,
 * every slot that was claimed counts as begun.
 */
#include <errno.h>

#include "base/order.h"
#include "context/loss.h"
#include "queue/queue.h"

/* The answer that the engine can no longer give. */
static void answer(struct mk_queue *q, uint64_t t, int code)
{
	struct mk_wire_completion *c = &q->answers[t & q->mask];

	mk_store_relaxed(&c->value, 0);
	/* pairs with mk_queue_answered() */
	mk_store_seq(&c->head,
		     (uint64_t)MK_MARK(t, q->shift) << MK_MARK_SHIFT |
			     (uint32_t)-code);
	mk_loss_count(q->ctx, code);
}

/*
 * The claims at the time of the loss: the engine's word, which may be nonsense
 * by now; then all may have been claimed. Asked once, while head has not
 * passed what was given up. The caller holds loss_lock.
 */
static void see_claims(struct mk_queue *q, uint64_t head, uint64_t tail)
{
	uint64_t claim = mk_load_acquire(&q->block->claim);

	if (q->loss_seen)
		return;
	q->loss_claim = claim - head > tail - head ? tail : claim;
	q->loss_seen = true;
}

/* It waited for a counter in mk_await(): not in the next process. No engine
 * writes the word now. */
static void forget_wait(struct mk_queue *q, uint64_t t)
{
	uint32_t *word = &q->ext[t & q->mask].begun;

	mk_store_release(word, mk_load_relaxed(word) & ~MK_BEGUN_WAITS);
}

/* What is kept of a slot that had begun in a process that was lost and runs
 * again: its ticket, and whether it was suspected. One of the queue's ring at
 * that index before has another ticket. */
#define STRUCK 1u

static uint64_t began_before(uint64_t t)
{
	return (t + 1) << 1;
}

/* What the loss meant for a slot without an answer: MK_ENOTRUN, or what it
 * ends with if it may not run again. */
static int fate(const struct mk_queue *q, uint64_t t, bool *suspect)
{
	const struct mk_loss *loss = &q->ctx->loss;
	const struct mk_named *n = mk_loss_find(loss, q->desc.index, t);

	*suspect = n ? n->suspect : loss->all_suspect;
	if ((int64_t)(q->loss_claim - t) <= 0)
		return MK_ENOTRUN;
	if (!n)
		/* or it ran, and went on without a worker: in pieces, or
		 * later. The dead process said so, and if that is nonsense it
		 * costs no more than this answer */
		return loss->exact && !mk_queue_begun(q, t) ? MK_ENOTRUN :
							      MK_EMAYRUN;
	/* a row says itself how far it came, and is done with another try */
	if (n->code == MK_EFAULT &&
	    q->slots[t & q->mask].opcode == MK_OP_ROW)
		return MK_EMAYRUN;
	return n->code;
}

/* The same when nothing runs any more. One that was to run again, and did not
 * come to it, had run before all the same. */
static int last_fate(const struct mk_queue *q, uint64_t t)
{
	bool suspect;
	int code = fate(q, t, &suspect);

	return code == MK_ENOTRUN && (q->strikes[t & q->mask] & ~1ull) ==
					     began_before(t) ?
		       MK_EMAYRUN : code;
}

unsigned mk_queue_end_lost(struct mk_queue *q)
{
	uint64_t head, tail;
	unsigned n = 0;

	pthread_mutex_lock(&q->loss_lock);
	head = mk_load_acquire(&q->head);
	tail = mk_load_acquire(&q->tail);
	/* the device may be on its way back */
	if (mk_load_acquire(&q->ctx->lost) == MK_LOST) {
		see_claims(q, head, tail);
		for (uint64_t t = head; t != tail; t++) {
			if (!mk_queue_published(q, t) ||
			    mk_queue_answered(q, t))
				continue;
			answer(q, t, last_fate(q, t));
			n++;
		}
	}
	pthread_mutex_unlock(&q->loss_lock);
	return n;
}

/* Changes nothing, whatever came of it the first time. */
static bool harmless(const struct mk_slot *slot)
{
	return slot->opcode == MK_OP_NOP || slot->opcode == MK_OP_LOAD ||
	       slot->opcode == MK_OP_FENCE;
}

/* 0: the slot runs, again if it was begun; else what it ends with. */
static int verdict(struct mk_queue *q, uint64_t t)
{
	uint32_t index = (uint32_t)(t & q->mask);
	const struct mk_slot *slot = &q->slots[index];
	bool suspect;
	int code = fate(q, t, &suspect);

	/* counters may be gone, and those of slots that ended here were never
	 * raised: who waits would do so for ever, and who raises would raise
	 * what means something else by now */
	if (slot->flags & (MK_SLOT_WAIT | MK_SLOT_RAISE))
		return code;
	if (code == MK_ENOTRUN || harmless(slot))
		return 0;
	if (!(slot->flags & MK_SLOT_IDEMPOTENT))
		return code;
	if (suspect && q->strikes[index] == (began_before(t) | STRUCK))
		return MK_EPOISON;
	if (suspect)
		q->strikes[index] = began_before(t) | STRUCK;
	else if (q->strikes[index] != (began_before(t) | STRUCK))
		q->strikes[index] = began_before(t);
	return 0;
}

void mk_queue_prepare_restart(struct mk_queue *q)
{
	uint64_t head, tail, again, replayed = 0;

	pthread_mutex_lock(&q->loss_lock);
	head = mk_load_acquire(&q->head);
	tail = mk_load_acquire(&q->tail);
	again = tail;
	see_claims(q, head, tail);
	for (uint64_t t = tail; t != head; t--) {
		uint64_t at = t - 1;
		int code;

		if (!mk_queue_published(q, at)) {
			again = at;
			continue;
		}
		if (mk_queue_answered(q, at))
			continue;
		code = verdict(q, at);
		if (code) {
			answer(q, at, code);
			continue;
		}
		/* it was asked to end because its process hung: that is over */
		mk_queue_withdraw(q, at);
		forget_wait(q, at);
		again = at;
		replayed++;
	}
	q->desc.first_ticket = again;
	q->desc.skip_until = tail;
	q->loss_claim = again;
	q->loss_seen = false;
	mk_store_release(&q->block->claim, again);
	/* pairs with note_losses(): no engine posts just now */
	mk_store_release(&q->asked_lost,
			 mk_load_acquire(&mk_queue_io(q)->posted));
	pthread_mutex_unlock(&q->loss_lock);
	mk_add_relaxed(&q->ctx->counts.replayed, replayed);
}

void mk_queue_close_lost(struct mk_queue *q)
{
	uint32_t seen = 0;

	/* a queue that was stopped stays stopped */
	while (!seen && !mk_cas_seq(&q->closed, &seen, MK_EDEVLOST))
		;
	mk_queue_release(q);
}

void mk_queue_open_again(struct mk_queue *q)
{
	uint32_t seen = MK_EDEVLOST;

	while (seen == MK_EDEVLOST && !mk_cas_seq(&q->closed, &seen, 0))
		;
}
