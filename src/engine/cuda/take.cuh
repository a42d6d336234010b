/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who serves which tickets.
 *
 * A worker claims the next tickets of a queue with one atomic add, before
 * anybody has published them, and polls their slots alone: reads of host
 * memory by different warps wait for each other if they fall into the same
 * 512 bytes, and only one of them is on the bus at a time (measured on an
 * H200: docs/design.md). So light work is claimed in runs of MKD_SEATS slots
 * that begin at such a boundary, and no word of the host that changes rarely
 * is read by workers at all: the monitor looks at it for them. A worker can
 * give back its newest tickets by a compare-and-swap of the same counter, as
 * long as nobody claimed past them; what cannot be given back that way is
 * left in an orphan word, from where any worker takes it. So a ticket below
 * `next` always has one owner, and a worker is never bound to a queue where
 * nothing happens.
 *
 * How many wait on a queue follows `window`: a few tickets past the last one
 * that was seen published when it is quiet, many in a burst. Workers without
 * seats look over the queues in device memory: some of them, the scouts,
 * every now and then, the others less often.
 *
 * Where there are hardly more workers than queues, nobody waits on a queue:
 * workers look at the next slots of 32 queues in one go, and claim what they
 * have seen published.
 */
#ifndef MK_CUDA_TAKE_CUH
#define MK_CUDA_TAKE_CUH

enum mkd_need {
	MKD_NEED_NONE = 0,
	MKD_NEED_ROOM = 1,  /* another worker would help */
	MKD_NEED_COVER = 2, /* nobody polls */
	MKD_NEED_ORPHAN = 3 /* somebody left tickets behind */
};

#define MKD_LONG 8u  /* times the patience */
#define MKD_ROAMS 4u /* looks of who gave way */

/* What one lane found out about one queue. */
struct mkd_look {
	uint32_t need;
	uint32_t tickets; /* to claim */
	uint32_t eager;
	uint32_t priority;
};

MKD_FN uint32_t mkd_low_seat(const struct mkd_warp *w)
{
	return mkd_lowest(w->want) >> 2;
}

/* So many tickets past the hint are waited for even when nothing happens. */
MKD_FN uint32_t mkd_floor(const struct mkd_warp *w, bool light)
{
	return light ? mkd_launched.tuning.floor :
		       mkd_launched.tuning.floor_heavy;
}

/* Lately every slot was one that a lane serves by itself. */
MKD_FN bool mkd_light(uint32_t heavy, uint64_t next)
{
	return !heavy || (uint32_t)next - heavy > 256u;
}

/* Tickets of one claim of light work: up to the next boundary. Who claims at
 * the same time may get the boundary wrong, once. */
MKD_FN uint32_t mkd_run_of(const struct mkd_warp *w, uint64_t next)
{
	uint32_t batch = mkd_launched.tuning.batch;

	return batch - (uint32_t)next % batch;
}

/* The number of places changed. Where there are hardly more workers than
 * queues, nobody can stay on a queue. */
MKD_FN void mkd_set_crowd(struct mkd_warp *w, uint32_t places)
{
	uint64_t all = mkd_launched.workers_count;

	w->places = places;
	w->crowded = places > 1u && (uint64_t)places * 4u >= all * 3u;
}

/* By the mark in a unit of its slot: is a ticket's entry of the ring that of
 * a later one by now? Of what was answered before a restart it may be. */
MKD_FN bool mkd_newer(uint32_t mark, uint32_t expected)
{
	return ((mark - expected - 1u) & 0xffffu) < 0x7fffu;
}

/* Is the slot of this ticket there, or was it? Its first unit is enough to
 * know. */
MKD_FN bool mkd_published(const struct mkd_queue *q, uint64_t relative)
{
	uint64_t slots = mkd_load64(&q->slots);
	uint64_t ticket = mkd_load64(&q->first) + relative;
	uint32_t mask = mkd_load32(&q->entries) - 1u;
	struct mkd_unit v = mkd_load16(slots + (ticket & mask) *
						       MK_SLOT_BYTES);
	uint32_t mark = MK_MARK(ticket, mkd_load32(&q->shift));

	return v.w >> 16 == mark || mkd_newer(v.w >> 16, mark);
}

/* Would this worker's help be too much? All idle workers see the same need,
 * so each comes with a chance that brings about twice as many as needed. */
MKD_FN bool mkd_volunteer(const struct mkd_warp *w, uint32_t place,
			  uint32_t needed)
{
	uint32_t all = mkd_launched.workers_count;

	return all <= 16u || needed * 2u >= all ||
	       mkd_hash(w->index, w->salt + place) % all < needed * 2u;
}

MKD_FN struct mkd_look mkd_look_at(const struct mkd_warp *w, uint32_t place)
{
	struct mkd_queue *q = (struct mkd_queue *)mkd_launched.queues + place;
	struct mkd_look look = { MKD_NEED_NONE, 0, 0, 0 };
	struct mkd_unit a, b;
	uint64_t next, hint;
	const bool picky = w->crowded || w->roams;
	uint32_t window, n;
	bool light;
	int64_t gap;

	if (place >= w->places)
		return look;
	a = mkd_load16((uint64_t)q);
	b = mkd_load16((uint64_t)q + 16);
	if ((b.y & ~MKD_FLAGS) != MKD_OPEN)
		return look;
	next = a.x | (uint64_t)a.y << 32;
	hint = a.z | (uint64_t)a.w << 32;
	window = b.x;
	light = mkd_light(b.z, next);
	n = light ? mkd_launched.tuning.batch : 1u;
	gap = (int64_t)(next - hint);
	look.tickets = light ? mkd_run_of(w, next) : 1u;
	look.eager = window > mkd_floor(w, light);
	/* a fence that is left behind must not keep all from the others */
	if (b.w && !(picky && (w->salt & 1u)))
		look.need = MKD_NEED_ORPHAN;
	else if (gap <= 0 && mkd_volunteer(w, place, 4u +
			(uint32_t)((int64_t)window - gap) / n))
		look.need = MKD_NEED_COVER;
	else if (gap <= (int64_t)(window / 2u) &&
		 mkd_volunteer(w, place, 1u + (window - (uint32_t)gap) / n))
		look.need = MKD_NEED_ROOM;
	if (look.need && look.need < MKD_NEED_ORPHAN && picky &&
	    !mkd_published(q, next))
		look.need = MKD_NEED_NONE;
	if (look.need)
		look.priority = mkd_load32(&q->priority);
	return look;
}

/* Of the queues in need, mostly those of the highest priority; then the next
 * in turn, which is another for every worker and every time. */
MKD_FN uint32_t mkd_choose(struct mkd_warp *w, uint32_t among,
			   const struct mkd_look *look)
{
	uint32_t turn = mkd_hash(w->salt, w->index), from = turn & 31u;
	uint32_t high;

	if (w->salt & 3u)
		for (uint32_t p = 0; p < MK_PRIORITIES; p++) {
			high = mkd_ballot(look->need && look->priority == p) &
			       among;
			if (high) {
				among = high;
				break;
			}
		}
	high = among & ~((1u << from) - 1u);
	return mkd_lowest(high ? high : among);
}

/* What the hot path needs of the queue. */
MKD_FN void mkd_enter(struct mkd_warp *w, uint32_t place)
{
	struct mkd_queue *q = (struct mkd_queue *)mkd_launched.queues + place;

	w->q = q;
	w->place = place;
	w->window = ~0u >> 1; /* until the first poll tells */
	if (w->known_place == place)
		return;
	w->known_place = place;
	w->slots = mkd_load64(&q->slots);
	w->completions = mkd_load64(&q->completions);
	w->block = mkd_load64(&q->block);
	w->first = mkd_load64(&q->first);
	w->skip = mkd_load64(&q->skip);
	w->mask = mkd_load32(&q->entries) - 1u;
	w->shift = mkd_load32(&q->shift);
	w->queue_index = mkd_load32(&q->index);
}

/* The lowest ticket in an orphan word. */
MKD_FN uint64_t mkd_packed_low(uint64_t packed)
{
	return (packed >> 8) + mkd_lowest((uint32_t)packed & 0xffu);
}

MKD_FN void mkd_sit(struct mkd_warp *w, uint64_t packed)
{
	w->base = packed >> 8;
	w->want = mkd_seats_spread((uint32_t)packed & 0xffu);
	w->count = (mkd_highest(w->want) >> 2) + 1u;
	w->light = w->count > 1u || mkd_launched.tuning.batch == 1u;
	w->fresh = MKD_SPREAD;
}

/* Take over what somebody left in an orphan word. */
MKD_FN bool mkd_adopt(struct mkd_warp *w, uint32_t place)
{
	struct mkd_queue *q = (struct mkd_queue *)mkd_launched.queues + place;
	uint64_t packed = 0;

	if (!w->lane)
		for (uint32_t i = 0; i < MKD_ORPHANS && !packed; i++)
			if (mkd_load64(&q->orphan[i]))
				packed = mkd_swap64(&q->orphan[i], 0);
	if (packed)
		mkd_add32(&q->orphans, ~0u);
	packed = mkd_shfl64(packed, 0);
	if (!packed)
		return false;
	mkd_enter(w, place);
	mkd_sit(w, packed);
	w->hint = w->base;
	return true;
}

MKD_FN bool mkd_claim(struct mkd_warp *w, uint32_t place, uint32_t tickets)
{
	struct mkd_queue *q = (struct mkd_queue *)mkd_launched.queues + place;
	uint64_t base = 0;

	if (!w->lane)
		base = mkd_add64(&q->next, tickets);
	mkd_enter(w, place);
	w->base = mkd_shfl64(base, 0);
	w->hint = w->base;
	w->count = tickets;
	w->light = tickets > 1u || mkd_launched.tuning.batch == 1u;
	w->want = mkd_seat_mask(tickets);
	w->fresh = MKD_SPREAD;
	return true;
}

/*
 * The queue just gave us slots, and more is coming: take its next tickets
 * without looking around first. Now and then look anyway, for the sake of
 * the others.
 */
MKD_FN bool mkd_go_on(struct mkd_warp *w)
{
	int64_t gap = (int64_t)(w->next - w->hint);

	if (!w->eager || !w->light || w->halted || w->queue_state != MKD_OPEN ||
	    gap >= (int64_t)w->window || w->crowded ||
	    ++w->streak > mkd_launched.tuning.streak)
		return false;
	return mkd_claim(w, w->place, mkd_run_of(w, w->next));
}

/* Which of 32 queues have slots that nobody looks for? */
MKD_FN uint32_t mkd_uncovered(uint32_t place, uint32_t need)
{
	const struct mkd_queue *q =
		(const struct mkd_queue *)mkd_launched.queues + place;

	return mkd_ballot(need == MKD_NEED_COVER &&
			  mkd_published(q, mkd_load64(&q->next)));
}

/* Look for seats. */
MKD_FN bool mkd_find(struct mkd_warp *w)
{
	uint32_t chunks = (w->places + MKD_LANES - 1u) / MKD_LANES;
	uint32_t at;

	w->salt++;
	w->streak = 0;
	w->roams -= w->roams != 0;
	at = chunks > 1u ? mkd_hash(w->index, w->salt) % chunks : 0;
	for (uint32_t i = 0; i < chunks; i++) {
		uint32_t place = at * MKD_LANES;
		struct mkd_look look = mkd_look_at(w, place + w->lane);
		uint32_t need = MKD_NEED_ORPHAN, among, pick;

		while (need && !(among = mkd_ballot(look.need == need)))
			need--;
		at = at + 1u < chunks ? at + 1u : 0;
		if (!need)
			continue;
		/* a queue under load may have something left behind always,
		 * and every worker that is free would take that first */
		if (need == MKD_NEED_ORPHAN && (w->salt & 4u)) {
			uint32_t others = mkd_uncovered(place + w->lane,
							look.need);

			need = others ? MKD_NEED_COVER : need;
			among = others ? others : among;
		}
		pick = mkd_choose(w, among, &look);
		w->halted = false;
		w->quiet = 0;
		w->eager = mkd_shfl(look.eager, pick) ||
			   (w->eager && w->place == place + pick);
		if (need == MKD_NEED_ORPHAN ?
			    mkd_adopt(w, place + pick) :
			    mkd_claim(w, place + pick,
				      mkd_shfl(look.tickets, pick)))
			return true;
	}
	return false;
}

/* Give back all seats that the counter can take back: the newest, if they
 * are all still mine and nobody claimed past them. */
MKD_FN bool mkd_return(struct mkd_warp *w)
{
	uint32_t low = mkd_low_seat(w);
	bool done = false;

	if (!w->want ||
	    w->want != (mkd_seat_mask(w->count) & ~mkd_seat_mask(low)))
		return false;
	if (!w->lane)
		done = mkd_cas64(&w->q->next, w->base + w->count,
				 w->base + low) == w->base + w->count;
	if (!mkd_shfl(done, 0))
		return false;
	w->want = 0;
	return true;
}

MKD_FN uint64_t mkd_packed(const struct mkd_warp *w)
{
	return w->base << 8 | mkd_seats_pack(w->want);
}

/* Leave all seats to others, now. False: there is no room to put them. */
MKD_SLOW bool mkd_drop_away(struct mkd_warp *w)
{
	bool done = false;

	for (uint32_t i = 0; i < 8u; i++) {
		if (mkd_return(w))
			return true;
		if (!w->lane)
			for (uint32_t k = 0; k < MKD_ORPHANS && !done; k++)
				done = !mkd_cas64(&w->q->orphan[k], 0,
						  mkd_packed(w));
		if (done)
			mkd_add32(&w->q->orphans, 1);
		if (mkd_shfl(done, 0)) {
			w->want = 0;
			return true;
		}
		mkd_nap(200);
	}
	return false;
}

/* The same from where w shall stay in registers: to write it out and read it
 * back takes several microseconds. */
MKD_FN bool mkd_drop(struct mkd_warp *w)
{
	struct mkd_warp copy = *w;
	bool done = mkd_drop_away(&copy);

	*w = copy;
	return done;
}

/*
 * Seats in an orphan word, with every other worker waiting like us, would
 * never be looked at: leave ours there and take those. With up those that
 * begin last, if behind this ticket; otherwise any that begin before it. If
 * the two sets overlap we trade back and forth, and look at each in turn.
 */
MKD_SLOW void mkd_trade_away(struct mkd_warp *w, uint64_t relative, bool up)
{
	uint64_t mine = mkd_packed(w), theirs = 0, low = relative;
	uint32_t at = MKD_ORPHANS;

	if (!w->lane)
		for (uint32_t i = 0; i < MKD_ORPHANS; i++) {
			theirs = mkd_load64(&w->q->orphan[i]);
			if (!theirs || (up ? mkd_packed_low(theirs) <= low :
					     mkd_packed_low(theirs) >= low))
				continue;
			low = mkd_packed_low(theirs);
			at = i;
		}
	if (mkd_shfl(at, 0) == MKD_ORPHANS)
		return;
	theirs = 0;
	if (!w->lane) {
		theirs = mkd_swap64(&w->q->orphan[at], mine);
		/* somebody took what was in it meanwhile */
		if (!theirs)
			mkd_add32(&w->q->orphans, 1);
	}
	theirs = mkd_shfl64(theirs, 0);
	w->want = 0;
	if (theirs)
		mkd_sit(w, theirs);
}

MKD_FN void mkd_trade(struct mkd_warp *w, uint64_t relative, bool up)
{
	struct mkd_warp copy = *w;

	mkd_trade_away(&copy, relative, up);
	*w = copy;
}

/* Is there a queue with slots that no worker has, or may have? One that is
 * `but` does not count. */
MKD_FN bool mkd_needed(const struct mkd_warp *w, uint32_t but)
{
	for (uint32_t i = 0; i < w->places; i += MKD_LANES) {
		uint32_t place = i + w->lane;
		struct mkd_queue *q =
			(struct mkd_queue *)mkd_launched.queues + place;
		bool needed = false;

		if (place < w->places && place != but) {
			struct mkd_unit b = mkd_load16((uint64_t)q + 16);

			needed = (b.y & ~MKD_FLAGS) == MKD_OPEN &&
				 (b.w || mkd_published(q,
						       mkd_load64(&q->next)));
		}
		if (mkd_ballot(needed))
			return true;
	}
	return false;
}

/*
 * Nothing came for long. Tickets near the hint may have fallen to many workers
 * in small pieces, to all that there are in the end: none of them is far ahead,
 * and yet slots of another queue wait for us, for ever if they are what ours
 * wait for. So when they do, only who has the next ticket stays: those of the
 * last piece return it, then those of the one before have the last. Pieces
 * below the hint cannot be returned, but left behind.
 */
MKD_SLOW void mkd_give_way_away(struct mkd_warp *w)
{
	int64_t ahead = (int64_t)(w->base + mkd_low_seat(w) - w->hint);

	w->quiet = mkd_launched.tuning.patience;
	if (!ahead || !mkd_needed(w, w->place))
		return;
	w->roams = MKD_ROAMS;
	if (ahead < 0) {
		mkd_drop_away(w);
		return;
	}
	if (mkd_return(w))
		return;
	if (w->orphans)
		mkd_trade_away(w, w->base, true);
	mkd_return(w);
}

MKD_FN void mkd_give_way(struct mkd_warp *w)
{
	struct mkd_warp copy = *w;

	mkd_give_way_away(&copy);
	*w = copy;
}

/* Nothing came for a while: make yourself useful elsewhere? */
MKD_FN void mkd_consider_leaving(struct mkd_warp *w)
{
	uint32_t floor = mkd_floor(w, w->light);
	int64_t ahead = (int64_t)(w->base + mkd_low_seat(w) - w->hint);

	if (w->halted)
		return;
	if (w->crowded) {
		if (w->quiet > 2u)
			mkd_drop(w);
		return;
	}
	if (w->quiet < mkd_launched.tuning.patience)
		return;
	if (ahead < (int64_t)floor) {
		if (w->places > 1u &&
		    w->quiet >= MKD_LONG * mkd_launched.tuning.patience)
			mkd_give_way(w);
		return;
	}
	/* what lies in an orphan word above ours holds all below it here:
	 * take that, and try to give it back */
	if (!mkd_return(w)) {
		if (w->orphans)
			mkd_trade(w, w->base, true);
		mkd_return(w);
		return;
	}
	if (!w->lane && w->window != floor)
		mkd_store32(&w->q->window, floor);
}

#endif
