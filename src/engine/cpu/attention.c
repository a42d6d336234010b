/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is awake: the attention word of the context block, see MK_ATTENTIVE.
 *
 * An attentive worker promises to look at all queues again before it sleeps.
 * A producer rings the bell only if someone sleeps and nobody is attentive.
 * Both sides store their own word, then load the other's, all seq_cst, so at
 * least one of them sees the other: model/park.pml.
 */
#include <limits.h>

#include "base/futex.h"
#include "base/order.h"
#include "engine/cpu/cpu.h"

/* A sleeper looks again after this long while others are attentive, in case
 * one of them is held up by a handler that used to be quick. */
#define DOZE_NS 2000000u
#define OFFER_EVERY 16u /* pieces of made work for which one more is woken */

void cpu_attention_enter(struct mk_engine *e)
{
	mk_add_seq(&e->block->attention, MK_ATTENTIVE);
}

void cpu_attention_leave(struct mk_engine *e)
{
	mk_sub_seq(&e->block->attention, MK_ATTENTIVE);
}

bool cpu_any_work(struct cpu_worker *w)
{
	struct mk_engine *e = w->engine;
	uint32_t bound = mk_load_acquire(&e->queue_bound);

	for (uint32_t i = 0; i < bound; i++) {
		struct cpu_queue *q = mk_load_acquire(&e->queues[i]);

		if (q && cpu_queue_has_work(q))
			return true;
	}
	return cpu_flow_has_work(w);
}

/* Wake one that sleeps. With `alone` only if nobody is attentive. */
static void wake_one(struct cpu_worker *w, bool alone)
{
	struct mk_context_block *b = w->engine->block;
	uint64_t a = mk_load_seq(&b->attention);

	do {
		if (!MK_ATTENTION(a, MK_ASLEEP) ||
		    (alone && MK_ATTENTION(a, MK_ATTENTIVE)))
			return;
	} while (!mk_cas_seq(&b->attention, &a,
			     a + MK_ATTENTIVE + MK_HANDED - MK_ASLEEP));
	mk_count(&w->block->wakes, 1);
	mk_add_seq(&b->bell, 1);
	mk_futex_wake(&b->bell, 1);
}

void cpu_attention_wake(struct cpu_worker *w)
{
	wake_one(w, false);
}

/*
 * If we get stuck, nobody rings, since we are attentive. One that falls asleep
 * while others are attentive dozes; those that slept before we woke do not, so
 * one of them has to wake and fall asleep again: once after each of our sleeps.
 */
void cpu_attention_watch(struct cpu_worker *w)
{
	uint64_t a;

	if (w->watched)
		return;
	w->watched = true;
	a = mk_load_relaxed(&w->engine->block->attention);
	if (MK_ATTENTION(a, MK_ATTENTIVE) < 2)
		wake_one(w, false);
}

/*
 * Work that flows has no producer beside us who would ring. Who makes it, with
 * a handler that took the attention away, stores it, then looks at the word:
 * Dekker with one that falls asleep, as for slots.
 */
void cpu_attention_offer(struct cpu_worker *w, unsigned n)
{
	uint64_t a = mk_load_seq(&w->engine->block->attention);

	if (!MK_ATTENTION(a, MK_ASLEEP))
		return;
	if (!MK_ATTENTION(a, MK_ATTENTIVE)) {
		wake_one(w, true);
		n--;
	}
	/* one more for every so many: each has to be worth its wake-up */
	w->made += n;
	for (; w->made >= OFFER_EVERY; w->made -= OFFER_EVERY)
		wake_one(w, false);
}

void cpu_attention_call(struct cpu_worker *w, uint32_t index)
{
	struct mk_engine *e = w->engine;

	/* Dekker with cpu_attention_sleep(). The bell wakes whom it likes, so
	 * it has to be all */
	if (mk_load_seq(&e->workers[index].asleep) &&
	    mk_exchange_seq(&e->workers[index].asleep, 0)) {
		mk_count(&w->block->wakes, 1);
		mk_add_seq(&e->block->bell, 1);
		mk_futex_wake(&e->block->bell, INT_MAX);
	}
}

void cpu_attention_drop(struct cpu_worker *w)
{
	struct mk_engine *e = w->engine;
	uint64_t left;

	/* what we put off is for others now: before we look who is awake */
	if (mk_load_relaxed(&e->flow.active))
		mk_store_seq(&w->away, 1);
	left = mk_sub_seq(&e->block->attention, MK_ATTENTIVE) - MK_ATTENTIVE;
	/* what was published while we were the only attentive one; and one has
	 * to look after those that wait */
	if (MK_ATTENTION(left, MK_ASLEEP) &&
	    !MK_ATTENTION(left, MK_ATTENTIVE) &&
	    (mk_load_relaxed(&e->flow.waiting) || cpu_any_work(w)))
		wake_one(w, true);
}

void cpu_attention_raise(struct cpu_worker *w)
{
	mk_add_seq(&w->engine->block->attention, MK_ATTENTIVE);
	if (mk_load_relaxed(&w->away))
		mk_store_seq(&w->away, 0);
}

/* Awake again: take the attention that was handed over, or one's own. */
static void wake_up(struct mk_context_block *b)
{
	uint64_t a = mk_load_seq(&b->attention), next;

	do {
		next = MK_ATTENTION(a, MK_HANDED) ?
			       a - MK_HANDED : a + MK_ATTENTIVE - MK_ASLEEP;
	} while (!mk_cas_seq(&b->attention, &a, next));
}

void cpu_attention_sleep(struct cpu_worker *w, bool crowded)
{
	struct mk_engine *e = w->engine;
	struct mk_context_block *b = e->block;
	uint32_t bell = mk_load_seq(&b->bell);
	uint64_t a = mk_load_seq(&b->attention);
	bool fixed = e->flow.mode == MK_MADE_FIXED;
	uint64_t limit;

	do {
		if (crowded && MK_ATTENTION(a, MK_ATTENTIVE) <= e->spinners)
			return;
	} while (!mk_cas_seq(&b->attention, &a,
			     a + MK_ASLEEP - MK_ATTENTIVE));
	if (fixed)
		mk_store_seq(&w->asleep, 1);
	/* what waits may be cancelled, or be late, and nobody rings for that */
	limit = MK_ATTENTION(a, MK_ATTENTIVE) > 1 ||
				mk_load_seq(&e->flow.waiting) ?
			DOZE_NS : UINT64_MAX;
	w->dozing = false;
	/* whoever bumps the epoch rings afterwards: `bell` is older */
	if (!cpu_any_work(w) && mk_load_seq(&e->epoch) == w->epoch) {
		mk_count(&w->block->sleeps, 1);
		w->dozing = mk_futex_wait(&b->bell, bell, limit) != 0;
		w->watched = false;
	}
	if (fixed)
		mk_store_seq(&w->asleep, 0);
	wake_up(b);
}
