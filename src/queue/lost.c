/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the device is lost: every slot still gets one answer. Nobody else
 * writes completions then, since the engine's process is gone and reaped.
 */
#include <errno.h>

#include "base/order.h"
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
}

/*
 * The claims at the time of the loss: the engine's word, which may be nonsense
 * by now; then all may have run. Asked once, while head has not passed what
 * was given up. The caller holds loss_lock.
 */
static void see_claims(struct mk_queue *q, uint64_t head, uint64_t tail)
{
	uint64_t claim = mk_load_acquire(&q->block->claim);

	if (q->loss_seen)
		return;
	q->loss_claim = claim - head > tail - head ? tail : claim;
	q->loss_seen = true;
}

/* Was it claimed before the loss? */
static bool claimed(const struct mk_queue *q, uint64_t t)
{
	return (int64_t)(q->loss_claim - t) > 0;
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
			answer(q, t, claimed(q, t) ? MK_EMAYRUN : MK_ENOTRUN);
			n++;
		}
	}
	pthread_mutex_unlock(&q->loss_lock);
	return n;
}

void mk_queue_prepare_restart(struct mk_queue *q)
{
	uint64_t head, tail, again;

	pthread_mutex_lock(&q->loss_lock);
	head = mk_load_acquire(&q->head);
	tail = mk_load_acquire(&q->tail);
	again = tail;
	see_claims(q, head, tail);
	for (uint64_t t = tail; t != head; t--) {
		uint64_t at = t - 1;

		if (!mk_queue_published(q, at)) {
			again = at;
			continue;
		}
		if (mk_queue_answered(q, at))
			continue;
		if (claimed(q, at) &&
		    !(q->slots[at & q->mask].flags & MK_SLOT_IDEMPOTENT))
			answer(q, at, MK_EMAYRUN);
		else
			again = at;
	}
	q->desc.first_ticket = again;
	q->desc.skip_until = tail;
	q->loss_seen = false;
	mk_store_release(&q->block->claim, again);
	pthread_mutex_unlock(&q->loss_lock);
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
