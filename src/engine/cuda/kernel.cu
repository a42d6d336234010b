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
#include "pool.cuh"
#include "flow.cuh"
#include "row.cuh"
#include "serve.cuh"
#include "block.cuh"
#include "wait.cuh"
#include "handover.cuh"
#include "tiles.cuh"
#include "made.cuh"
#include "monitor.cuh"

/* ---- orders ------------------------------------------------------------ */

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
	w->light = w->count > 1u || mkd_launched.tuning.batch == 1u;
	mkd_enter(w, mkd_load32(&w->me->place));
	w->hint = w->base;
	w->fresh = MKD_SPREAD;
}

/*
 * A launch begins with whatever there is to do before the first slot, which
 * the monitor does. If the host saw that there is nothing, and no mode of a
 * queue that is new, nobody has to wait for that.
 */
MKD_FN bool mkd_has_begun(const struct mkd_warp *w)
{
	return mkd_launched.go || mkd_shfl(mkd_load32(&w->state->begun), 0) ==
				   mkd_launched.number;
}

MKD_SLOW bool mkd_obey_away(struct mkd_warp *w)
{
	struct mkd_unit c;
	bool first = true;

	for (;;) {
		if (mkd_launched.warps > 1u && mkd_called_for())
			mkd_help(w);
		c = mkd_orders(w->state);
		if (first || c.y != w->epoch) {
			/* tables and states are as new as the epoch */
			mkd_fence();
			w->epoch = c.y;
			w->known_place = MKD_PLACES;
			w->nops = mkd_shfl(mkd_entry(w->state, MK_OP_NOP), 0)
				  != 0;
			w->eager = false; /* look before the next claim */
			if (w->want) {
				mkd_enter(w, w->place);
				w->queue_state = mkd_shfl(
					mkd_load32(&w->q->state), 0);
				w->halted = (w->queue_state & ~MKD_FLAGS) !=
					    MKD_OPEN;
				if (w->queue_state == MKD_FREE)
					w->want = 0;
			}
			mkd_syncwarp();
			if (!w->lane)
				mkd_store32_shared(&w->me->seen, w->epoch);
			first = false;
		}
		mkd_set_crowd(w, c.z);
		w->fresh = MKD_SPREAD;
		if (c.x == MKD_RUN && mkd_has_begun(w))
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

/* Every so many-th worker, so that they are of all blocks. */
MKD_FN bool mkd_is_scout(const struct mkd_warp *w)
{
	uint32_t all = mkd_launched.workers_count;
	uint32_t scouts = mkd_launched.tuning.scouts;

	return all <= scouts || w->index % (all / scouts) == 0;
}

/* ---- the life of a worker ---------------------------------------------- */

/* So many looks found nothing. */
MKD_FN void mkd_wait_on(struct mkd_warp *w, uint32_t looks)
{
	w->quiet += looks;
	w->wide = !w->wide;
	if (w->quiet >= 128u)
		mkd_flush(w);
	/* whoever is free would have come for them by now */
	if (w->orphans && w->quiet >= 2u && !w->halted)
		mkd_trade(w, w->base + (mkd_highest(w->want) >> 2), false);
	if (w->want)
		mkd_consider_leaving(w);
}

/* There are no seats to be had. Scouts look again soon, the others are there
 * for what the scouts cannot do by themselves. */
MKD_FN void mkd_rest(struct mkd_warp *w)
{
	uint32_t most = mkd_launched.tuning.nap_ns * (w->scout ? 1u : 16u);

	if (w->nap < 32u)
		w->nap = 32u;
	else if (w->nap * 2u <= most)
		w->nap *= 2u;
	else if (w->unflushed)
		mkd_flush(w);
	for (uint32_t left = w->nap;;) {
		uint32_t ns = left < mkd_launched.tuning.nap_ns ?
				      left : mkd_launched.tuning.nap_ns;

		mkd_nap(ns);
		left -= ns;
		if (!left || (mkd_launched.warps > 1u && mkd_called_for()))
			break;
	}
}

MKD_FN bool mkd_look_for_orders(struct mkd_warp *w, uint32_t order,
				uint32_t epoch)
{
	if (order == MKD_RUN && epoch == w->epoch)
		return true;
	return mkd_obey(w);
}

/* One look at the seats, or for seats. False: leave. */
MKD_FN bool mkd_round(struct mkd_warp *w)
{
	struct mkd_unit c;
	struct mkd_poll p;
	uint32_t lines, got;

	if (mkd_launched.warps > 1u && mkd_called_for())
		mkd_help(w);
	if (w->work)
		mkd_look_after(w);
	if (!w->want && !mkd_go_on(w) && !mkd_find(w)) {
		c = mkd_orders(w->state);
		w->work = c.w & ~(uint32_t)MKD_WORK_KNOWN;
		if (w->work)
			return mkd_look_for_orders(w, c.x, c.y);
		mkd_rest(w);
		return mkd_look_for_orders(w, c.x, c.y);
	}
	w->nap = 0;
	lines = mkd_lines(w);
	got = mkd_poll(w, lines, mkd_looks(w, lines), &p) & w->want;
	if (got) {
		w->quiet = 0;
		mkd_serve(w, &p, got);
	} else {
		mkd_learn(w, &p);
		if (w->base >= w->skip || !mkd_passed(w, &p, lines))
			mkd_wait_on(w, p.looks);
	}
	w->stale += p.looks;
	if (w->stale >= 1024u)
		mkd_flush(w);
	return mkd_look_for_orders(w, p.orders, p.epoch);
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
	w.base = w.next = w.hint = 0;
	w.news.x = w.news.y = w.news.z = w.news.w = 0;
	w.window = w.queue_state = w.orphans = w.epoch = w.work = 0;
	w.fresh = MKD_SPREAD;
	w.light = w.eager = w.one = w.wide = w.crowded = false;
	w.halted = w.nops = w.mixed = false;
	w.quiet = w.nap = w.streak = w.stale = w.singles = w.roams = 0;
	w.key = w.tally = w.unflushed = 0;
	w.salt = index;
	w.scout = mkd_is_scout(&w);
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
		mkd_open = 0;
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
