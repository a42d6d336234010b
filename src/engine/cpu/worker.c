/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a worker thread: rounds over the queues, then sleep. */
#include "base/clock.h"
#include "base/futex.h"
#include "base/order.h"
#include "engine/cpu/cpu.h"

#define REST_MAX 32u     /* most rounds that an idle queue is passed over */
#define CLOCK_EVERY 32u  /* idle rounds between two readings of the clock */

/* Serve every queue once that is not resting. How many slots. */
static unsigned round_over_queues(struct cpu_worker *w)
{
	struct mk_engine *e = w->engine;
	uint32_t bound = mk_load_acquire(&e->queue_bound);
	unsigned served = 0;

	for (uint32_t i = 0; i < bound; i++) {
		uint32_t at = w->first + i < bound ? w->first + i :
						     w->first + i - bound;
		struct cpu_queue *q;
		unsigned n;

		if (w->skip[at]) {
			w->skip[at]--;
			continue;
		}
		q = mk_load_acquire(&e->queues[at]);
		if (!q)
			continue;
		n = cpu_serve_queue(w, q);
		served += n;
		/* who was raised by these runs next */
		if (n)
			served += cpu_flow_serve(w);
		if (n)
			w->rest[at] = 0;
		else if (w->rest[at] < REST_MAX)
			w->rest[at]++;
		/* rest only while there is something else to do */
		w->skip[at] = w->rest[at] > 4 && bound > 1 ? w->rest[at] : 0;
		if (mk_load_relaxed(&e->epoch) != w->epoch)
			break;
	}
	w->first = w->first + 1 < bound ? w->first + 1 : 0;
	return served + cpu_flow_serve(w);
}

/* Nothing to do: spin for a while, then sleep. */
static void idle(struct cpu_worker *w)
{
	struct mk_engine *e = w->engine;
	uint64_t attention = mk_load_relaxed(&e->block->attention);
	bool crowded = MK_ATTENTION(attention, MK_ATTENTIVE) > e->spinners;

	if (w->dozing) {
		cpu_attention_sleep(w, false);
		return;
	}
	if (crowded) {
		cpu_attention_sleep(w, true);
		w->looks = 0;
		return;
	}
	mk_pause();
	if (++w->looks % CLOCK_EVERY)
		return;
	if (w->looks == CLOCK_EVERY)
		w->idle_since = mk_now_ns();
	else if (mk_now_ns() - w->idle_since >= e->config.idle_ns) {
		cpu_attention_sleep(w, false);
		w->looks = 0;
	}
}

/*
 * A quiet point: the worker holds nothing. Tells whoever waits in
 * cpu_sync() so, and stays here while the engine is paused. False: end.
 */
static bool quiet_point(struct cpu_worker *w)
{
	struct mk_engine *e = w->engine;

	for (;;) {
		uint32_t epoch = mk_load_seq(&e->epoch);

		/* pairs with the load in cpu_sync() */
		mk_store_release(&w->epoch, epoch);
		if (mk_load_seq(&e->stop))
			return false;
		if (!mk_load_seq(&e->paused))
			return true;
		mk_futex_wait(&e->epoch, epoch, UINT64_MAX);
	}
}

void *cpu_worker_main(void *arg)
{
	struct cpu_worker *w = arg;
	struct mk_engine *e = w->engine;

	cpu_fault_enter(w);
	cpu_attention_enter(e);
	while (mk_load_relaxed(&e->epoch) == w->epoch || quiet_point(w)) {
		if (round_over_queues(w)) {
			w->looks = 0;
			w->dozing = false;
		} else {
			idle(w);
		}
	}
	cpu_attention_leave(e);
	cpu_fault_leave(w);
	mk_store_release(&w->exited, 1);
	return NULL;
}
