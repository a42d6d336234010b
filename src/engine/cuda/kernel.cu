/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resident kernel: worker warps, and one warp that is the monitor. It is
 * launched once and stays until it is told to leave, or has been idle.
 *
 * This text is compiled behind device.cuh, the handlers' sources and the
 * generated mkd_dispatch(): see program.c.
 */
#include "resident.h"
#include "warp.cuh"
#include "take.cuh"
#include "workers.cuh"
#include "row.cuh"
#include "serve.cuh"
#include "block.cuh"
#include "monitor.cuh"

/* ---- orders ------------------------------------------------------------ */

MKD_FN void mkd_load_table(const struct mkd_warp *w)
{
	for (uint32_t i = w->lane; i < MK_OPCODES / 8u; i += MKD_LANES) {
		struct mkd_unit u = mkd_load16((uint64_t)w->state->table +
					       16u * i);
		uint32_t *to = (uint32_t *)mkd_table + 4u * i;

		to[0] = u.x;
		to[1] = u.y;
		to[2] = u.z;
		to[3] = u.w;
	}
	mkd_syncwarp();
}

/* Keep the seats for the next launch. */
MKD_FN void mkd_save(struct mkd_warp *w)
{
	mkd_flush(w);
	if (!w->lane) {
		if (w->want)
			mkd_min64(&w->q->low, w->base + mkd_low_seat(w));
		w->me->place = w->place;
		w->me->want = w->want;
		w->me->base = w->base;
		w->me->count = w->count;
		mkd_fence();
		mkd_add32(&w->state->exited, 1);
	}
}

MKD_FN void mkd_restore(struct mkd_warp *w)
{
	w->want = mkd_load32(&w->me->want);
	if (!w->want)
		return;
	w->base = mkd_load64(&w->me->base);
	w->count = mkd_load32(&w->me->count);
	mkd_enter(w, mkd_load32(&w->me->place));
	w->hint = w->base;
	w->fresh = MKD_SPREAD;
}

/* What all workers are told, the same for all lanes. */
MKD_FN struct mkd_unit mkd_orders(const struct mkd_state *state)
{
	struct mkd_unit c = mkd_load16((uint64_t)state);

	c.x = mkd_shfl(c.x, 0);
	c.y = mkd_shfl(c.y, 0);
	c.z = mkd_shfl(c.z, 0);
	return c;
}

MKD_SLOW bool mkd_obey_away(struct mkd_warp *w)
{
	struct mkd_unit c;
	bool first = true;

	for (;;) {
		if (w->l->warps > 1u && mkd_called_for())
			mkd_help(w);
		c = mkd_orders(w->state);
		if (first || c.y != w->epoch) {
			/* tables and states are as new as the epoch */
			mkd_fence();
			w->epoch = c.y;
			w->known_place = MKD_PLACES;
			mkd_load_table(w);
			if (w->want) {
				mkd_enter(w, w->place);
				w->queue_state = mkd_shfl(
					mkd_load32(&w->q->state), 0);
				w->halted = (w->queue_state &
					     ~(uint32_t)MKD_SHUT) != MKD_OPEN;
				if (w->queue_state == MKD_FREE)
					w->want = 0;
			}
			mkd_syncwarp();
			if (!w->lane)
				mkd_store32_release(&w->me->seen, w->epoch);
			first = false;
		}
		w->places = c.z;
		w->fresh = MKD_SPREAD;
		if (c.x == MKD_RUN)
			return true;
		if (c.x == MKD_LEAVE)
			return false;
		mkd_nap(200);
	}
}

/* Something changed: act on it, say so. False: leave. */
MKD_FN bool mkd_obey(struct mkd_warp *w)
{
	struct mkd_warp copy = *w;
	bool stay = mkd_obey_away(&copy);

	*w = copy;
	return stay;
}

/* ---- the life of a worker ---------------------------------------------- */

/* The poll found nothing. */
MKD_FN void mkd_wait_on(struct mkd_warp *w, bool polled)
{
	w->quiet++;
	if (w->quiet == 4u) {
		w->eager = false;
		mkd_flush(w);
	}
	mkd_consider_leaving(w);
	if (!polled)
		mkd_nap(40);
}

/* There are no seats to be had. */
MKD_FN void mkd_rest(struct mkd_warp *w)
{
	if (w->nap < 32u)
		w->nap = 32u;
	else if (w->nap * 2u <= w->l->tuning.nap_ns)
		w->nap *= 2u;
	else if (w->key != MKD_KEY_NONE)
		mkd_flush(w);
	mkd_nap(w->nap);
}

MKD_FN bool mkd_look_for_orders(struct mkd_warp *w, struct mkd_unit orders)
{
	w->places = orders.z;
	if (orders.x == MKD_RUN && orders.y == w->epoch)
		return true;
	return mkd_obey(w);
}

/* One look at the seats, or for seats. False: leave. */
MKD_FN bool mkd_round(struct mkd_warp *w)
{
	struct mkd_poll p;
	uint32_t lines, got;

	if (w->l->warps > 1u && mkd_called_for())
		mkd_help(w);
	if (!w->want && !mkd_find(w)) {
		p.orders = mkd_orders(w->state);
		mkd_rest(w);
		return mkd_look_for_orders(w, p.orders);
	}
	w->nap = 0;
	lines = mkd_lines(w);
	got = mkd_poll(w, lines, &p) & w->want;
	if (got) {
		w->quiet = 0;
		mkd_serve(w, &p, got);
		mkd_learn(w, &p);
	} else {
		mkd_learn(w, &p);
		mkd_wait_on(w, lines != 0);
	}
	return mkd_look_for_orders(w, p.orders);
}

MKD_FN void mkd_work(uint32_t index)
{
	struct mkd_warp w;

	w.l = &mkd_launched;
	w.lane = mkd_thread() % MKD_LANES;
	w.group = w.lane >> 2;
	w.quarter = w.lane & 3u;
	w.index = index;
	w.state = (struct mkd_state *)w.l->state;
	w.me = (struct mkd_worker *)w.l->workers + index;
	w.counters = (struct mk_worker_block *)w.l->counters + index;
	w.q = (struct mkd_queue *)w.l->queues;
	w.known_place = MKD_PLACES;
	w.want = w.count = w.place = w.places = 0;
	w.base = w.hint = 0;
	w.window = w.queue_state = w.epoch = 0;
	w.fresh = MKD_SPREAD;
	w.eager = w.halted = false;
	w.quiet = w.nap = w.unflushed = 0;
	w.salt = index;
	w.key = MKD_KEY_NONE;
	mkd_restore(&w);
	if (mkd_obey(&w))
		while (mkd_round(&w))
			;
	mkd_save(&w);
}

/* A warp beyond the last worker: it only helps with block-wide handlers. */
MKD_FN void mkd_assist(void)
{
	struct mkd_state *state = (struct mkd_state *)mkd_launched.state;
	struct mkd_warp w;

	w.l = &mkd_launched;
	w.lane = mkd_thread() % MKD_LANES;
	w.want = 0;
	w.known_place = MKD_PLACES;
	w.me = (struct mkd_worker *)w.l->workers + w.l->workers_count;
	while (mkd_orders(state).x != MKD_LEAVE) {
		if (mkd_called_for())
			mkd_help(&w);
		mkd_nap(500);
	}
	if (!w.lane)
		mkd_add32(&state->exited, 1);
}

MKD_KERNEL void mkd_kernel(struct mkd_launch l)
{
	uint32_t warp = mkd_thread() / MKD_LANES, index;

	if (!mkd_thread()) {
		mkd_launched = l;
		mkd_called.lock = 0;
		mkd_called.open = 0;
	}
	mkd_sync_block();
	index = mkd_block() * mkd_launched.warps + warp;
	if (warp == mkd_launched.warps) {
		if (!mkd_block())
			mkd_monitor();
	} else if (index < mkd_launched.workers_count) {
		mkd_work(index);
	} else {
		mkd_assist();
	}
}
