/* SPDX-License-Identifier: Apache-2.0 */
/* What the crew does with an answer, and what is ready to be printed. */
#include <errno.h>

#include "base/order.h"
#include "map_run.h"

#define FETCH_MAX 256u

/*
 * Did the part not come to its end, for no reason of its own? Then it is done
 * again: a whole file from here, another part by its reader, which knows the
 * state before it. Unless the states have gone with the device.
 */
static bool cut_short(struct map *m, struct map_record *rec, int code)
{
	if (m->states_away && (code == -MK_EMAYRUN || code == -MK_EVOLATILE))
		crew_lost(&m->crew);
	return code == -MK_EMAYRUN && ++rec->tries <= MAP_AGAIN_MAX;
}

/* One answer: a part of a file landed, or a whole one. */
void map_land(struct crew *crew, const struct mk_completion *c)
{
	struct map *m = map_of(crew);
	struct map_record *rec = map_record(m, c->user_data);
	/* pairs with the store in flush(), map_read.c */
	uint32_t flight = mk_load_acquire(&rec->flight);
	bool whole = flight & 1;

	rec->value = c->value;
	rec->again = cut_short(m, rec, c->result);
	if (whole && rec->again) {
		mk_store_relaxed(&rec->state, MAP_AGAIN);
		m->again++;
		return;
	}
	map_pool_drop(&m->pool, flight >> 1);
	if (c->result < 0 && !rec->again)
		rec->code = c->result;
	if (whole) {
		rec->answered = true;
		/* pairs with the load in count_done() */
		mk_store_release(&rec->state, MAP_DONE);
	} else {
		/* pairs with the load in await_part(), map_read.c */
		mk_store_release(&rec->landed, rec->landed + 1);
	}
}

/* Submit what is to be done again, as far as there is room. */
static void submit_again(struct map *m, uint64_t from, uint64_t tail)
{
	for (; m->again && from != tail && !crew_stopped(&m->crew); from++) {
		struct map_record *rec = map_record(m, from);

		if (mk_load_relaxed(&rec->state) != MAP_AGAIN)
			continue;
		mk_store_relaxed(&rec->state, MAP_BUSY);
		m->again--;
		if (map_submit_again(m, from) == -EAGAIN) {
			mk_store_relaxed(&rec->state, MAP_AGAIN);
			m->again++;
			return;
		}
	}
}

/* How many records from here on are done, at most 256, and none beyond the end
 * of the window. */
static unsigned count_done(struct map *m, uint64_t from, uint64_t tail)
{
	unsigned n = 0;

	/* pairs with the stores in land() and settle() */
	while (n < FETCH_MAX && from + n != tail &&
	       mk_load_acquire(&map_record(m, from + n)->state) == MAP_DONE)
		if (!((from + ++n) & (MAP_WINDOW - 1)))
			break;
	return n;
}

/* Bring their states here: one copy for all of them. */
static void fetch_states(struct map *m, uint64_t from, unsigned n)
{
	uint64_t at = (from & (MAP_WINDOW - 1)) * MK_MAP_STATE_BYTES;
	int r;

	if (!m->states_away || !n)
		return;
	r = mk_buffer_read(m->crew.ctx, m->states, at, m->state_memory + at,
			   (uint64_t)n * MK_MAP_STATE_BYTES);
	if (r == -MK_EDEVLOST)
		crew_lost(&m->crew);
	else if (r)
		crew_stop(&m->crew, r, "results could not be read: %s",
			 mk_error_last()->text);
}

unsigned map_print_ready(struct crew *crew)
{
	struct map *m = map_of(crew);
	uint64_t head = m->crew.head, tail = mk_load_acquire(&m->crew.tail);
	unsigned n = 0, here = 0;

	submit_again(m, head, tail);
	/* no line that stands behind a lost one */
	while (head + n != tail && !crew_stopped(&m->crew)) {
		struct map_record *rec = map_record(m, head + n);

		if (n == here) {
			unsigned more = count_done(m, head + n, tail);

			if (!more)
				break;
			fetch_states(m, head + n, more);
			here += more;
			if (crew_stopped(&m->crew))
				break;
		}
		map_print(m, rec);
		walk_release(&m->crew.walk, &rec->item);
		n++;
		if (!(n & 63)) /* pairs with the load in crew_take() */
			mk_store_release(&m->crew.head, head + n);
	}
	mk_store_release(&m->crew.head, head + n);
	return n;
}
