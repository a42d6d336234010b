/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker, which is one warp, knows; and its counters.
 *
 * A worker holds up to MKD_SEATS consecutive tickets of one queue: its seats.
 * Four lanes read one slot, each a 16-byte unit, so one load of the warp
 * reads all seats. Sets of seats are masks with bit 4 * i for seat i, which
 * is also the lane that speaks for it: its leader.
 *
 * A struct mkd_warp lives in registers, as long as its address never leaves
 * the function. So what is too rare to be inlined ends in _away and works on
 * a copy.
 */
#ifndef MK_CUDA_WARP_CUH
#define MK_CUDA_WARP_CUH

#define MKD_SPREAD 0x11111111u
#define MKD_WARPS_MAX 31u /* that work, of one block */

/* Which slots a worker ran since its counters were last written: one kind
 * only, as opcode | tenant << 8 | priority << 16, or these. */
#define MKD_KEY_NONE 0xffffffffu
#define MKD_KEY_MANY 0xfffffffeu

struct mkd_warp {
	const struct mkd_launch *l;
	struct mkd_state *state;
	struct mkd_worker *me;
	struct mk_worker_block *counters;
	uint32_t lane, group, quarter;
	uint32_t index; /* of the worker */
	/* seats */
	struct mkd_queue *q;
	uint32_t place;
	uint32_t want;  /* not answered yet */
	uint32_t count; /* base + count: one past the highest ever held */
	uint64_t base;
	/* of q, while place is known_place */
	uint32_t known_place;
	uint32_t mask, shift, queue_index;
	uint64_t slots, completions, block, first, skip;
	/* as last read */
	uint64_t hint;
	uint32_t window, queue_state;
	uint32_t epoch, places;
	/* manners */
	uint32_t fresh; /* seats whose slots were not read yet */
	bool eager;  /* much is coming: read all seats, not the next few */
	bool halted; /* the queue is about to go */
	uint32_t quiet; /* polls since something came */
	uint32_t salt, nap;
	uint32_t key, unflushed;
};

/* Of the block. */
MKD_SHARED struct mkd_launch mkd_launched;
MKD_SHARED uint16_t mkd_table[MK_OPCODES];

MKD_FN uint32_t mkd_seat_mask(uint32_t count)
{
	return (uint32_t)(((uint64_t)1 << (4u * count)) - 1u) & MKD_SPREAD;
}

/* Seats one bit each instead of four, and back. */
MKD_FN uint32_t mkd_seats_pack(uint32_t spread)
{
	uint32_t bits = 0;

	for (uint32_t i = 0; i < MKD_SEATS; i++)
		bits |= (spread >> (4u * i) & 1u) << i;
	return bits;
}

MKD_FN uint32_t mkd_seats_spread(uint32_t bits)
{
	uint32_t spread = 0;

	for (uint32_t i = 0; i < MKD_SEATS; i++)
		spread |= (bits >> i & 1u) << (4u * i);
	return spread;
}

MKD_FN uint32_t mkd_hash(uint32_t a, uint32_t b)
{
	uint32_t x = a * 0x9e3779b1u ^ b * 0x85ebca6bu;

	x ^= x >> 15;
	x *= 0x2c1b3c6du;
	return x ^ x >> 13;
}

/* Tickets whole again, as the host knows them. */
MKD_FN uint64_t mkd_ticket(const struct mkd_warp *w, uint64_t relative)
{
	return w->first + relative;
}

MKD_FN uint32_t mkd_mark(const struct mkd_warp *w, uint64_t ticket)
{
	return MK_MARK(ticket, w->shift);
}

/* ---- counters ---------------------------------------------------------- */

/*
 * Counters are kept in device memory and written to the shared memory when
 * the worker has a moment, and when it leaves: a write over the bus for every
 * slot would cost more than the slot.
 */
MKD_FN void mkd_count(struct mkd_warp *w, bool mine, uint32_t opcode,
		      uint32_t tenant, uint32_t priority, bool failed,
		      bool refused)
{
	struct mk_worker_block *c = w->counters;
	uint32_t all = mkd_ballot(mine);
	uint32_t bad = mkd_ballot(mine && failed);
	uint32_t not_run = mkd_ballot(mine && refused);
	uint32_t key, one;

	key = opcode | tenant << 8 | priority << 16;
	/* one that names nobody's number is counted under nobody's */
	if (opcode >= MK_OPCODES || tenant >= MK_TENANTS ||
	    priority >= MK_PRIORITIES)
		key = MKD_KEY_MANY;
	if (mine && tenant < MK_TENANTS)
		mkd_add64(&c->tenant[tenant], 1);
	if (mine && priority < MK_PRIORITIES)
		mkd_add64(&c->priority[priority], 1);
	if (mine && opcode < MK_OPCODES)
		mkd_add64(&c->opcodes[opcode], 1);
	if (!w->lane) {
		mkd_add64(&c->slots, mkd_bits(all));
		if (bad)
			mkd_add64(&c->failed, mkd_bits(bad));
		if (not_run)
			mkd_add64(&c->cancelled, mkd_bits(not_run));
	}
	one = mkd_shfl(key, mkd_lowest(all));
	if (mkd_ballot(mine && key != one) ||
	    (w->key != MKD_KEY_NONE && w->key != one))
		w->key = MKD_KEY_MANY;
	else
		w->key = one;
	w->unflushed += mkd_bits(all);
}

MKD_FN void mkd_flush_word(const struct mkd_warp *w, uint32_t word)
{
	uint64_t *from = (uint64_t *)w->counters + word;
	uint64_t *to = (uint64_t *)(w->l->region + w->l->blocks_offset) +
		       (uint64_t)w->index * (sizeof(*w->counters) / 8) + word;

	mkd_store64(to, mkd_load64(from));
}

#define MKD_WORD_OF(field) \
	((uint32_t)MK_OFFSETOF(struct mk_worker_block, field) / 8u)

/* The number of slots last: who finds it finds the others. */
MKD_SLOW void mkd_flush_away(const struct mkd_warp *w)
{
	uint32_t words = sizeof(*w->counters) / 8u;
	uint32_t word = MKD_WORD_OF(failed);

	mkd_syncwarp();
	mkd_fence();
	switch (w->lane) {
	case 1: word = MKD_WORD_OF(cancelled); break;
	case 2: word = MKD_WORD_OF(tenant) + (w->key >> 8 & 0xffu); break;
	case 3: word = MKD_WORD_OF(priority) + (w->key >> 16 & 7u); break;
	case 4: word = MKD_WORD_OF(opcodes) + (w->key & 0xffu); break;
	default: break;
	}
	if (w->key != MKD_KEY_MANY) {
		if (w->lane < 5)
			mkd_flush_word(w, word);
	} else {
		for (word = MKD_WORD_OF(failed) + w->lane; word < words;
		     word += MKD_LANES)
			mkd_flush_word(w, word);
	}
	mkd_syncwarp();
	if (!w->lane) {
		mkd_release();
		mkd_flush_word(w, MKD_WORD_OF(slots));
	}
	mkd_syncwarp();
}

/* Write the counters that changed to the shared memory. */
MKD_FN void mkd_flush(struct mkd_warp *w)
{
	struct mkd_warp copy;

	if (w->key == MKD_KEY_NONE)
		return;
	copy = *w;
	mkd_flush_away(&copy);
	w->key = MKD_KEY_NONE;
	w->unflushed = 0;
}

#endif
