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

/* The kind of a slot, for the counters; or that it names a number that is
 * nobody's, and is counted under nobody's. */
#define MKD_KEY(opcode, tenant, priority) \
	((opcode) | (tenant) << 8 | (priority) << 16)
#define MKD_KEY_NOBODY 0xffffffffu

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
	bool light;     /* claimed when all was light */
	uint64_t base;
	/* of q, while place is known_place */
	uint32_t known_place;
	uint32_t mask, shift, queue_index;
	uint64_t slots, completions, block, first, skip;
	/* as last read */
	uint64_t next, hint;
	uint32_t window, queue_state, orphans;
	struct mkd_unit news; /* this lane's: struct mkd_poll */
	uint32_t epoch, places;
	uint32_t work; /* enum mkd_work, but MKD_WORK_KNOWN */
	/* manners */
	uint32_t fresh; /* seats whose slots were not read yet */
	bool eager;  /* much is coming */
	bool one;    /* the next slot is ours, and will come alone */
	bool wide;   /* look at all seats nevertheless */
	bool halted; /* the queue is about to go */
	bool nops;   /* MK_OP_NOP is in the table */
	bool scout;  /* sleeps little */
	bool crowded; /* nobody can stay on a queue */
	uint32_t roams; /* looks for seats that pass over queues where nothing
			 * is published */
	uint32_t quiet; /* polls since something came */
	uint32_t streak; /* claims since we looked elsewhere */
	uint32_t singles; /* slots that came alone, in a row */
	uint32_t salt, nap;
	/* slots answered: all of one kind, not in the counters yet */
	uint32_t key, tally;
	bool mixed;         /* the counters have several kinds, not flushed */
	uint32_t unflushed; /* slots that the host does not know of */
	uint32_t stale;     /* rounds since it was told */
};

/* A slot as its leader sees it. */
struct mkd_slot {
	uint64_t relative;
	uint64_t ticket;
	uint32_t opcode, tenant, priority, flags;
	uint32_t entry;  /* MKD_ENTRY */
	uint32_t kind;
	int32_t result;
	uint64_t value;
	uint64_t deadline_ns;
	struct mkd_job *job; /* if it is open */
	uint32_t tile, tiles;
	bool refused;
	bool ends;       /* after the run: nothing is left of it */
};

/* Of the block. */
MKD_SHARED struct mkd_launch mkd_launched;
MKD_SHARED uint32_t mkd_open; /* a warp calls the others: block.cuh */

/* The host's time. The clocks drift apart while the kernel is away, and the
 * monitor's first look at the host's may come late: it is never earlier than
 * what the host said before the launch, so what was late then is late. */
MKD_FN uint64_t mkd_host_time(const struct mkd_state *state)
{
	uint64_t now = mkd_time() + mkd_load64(&state->clock_offset);

	return now > mkd_launched.told_ns ? now : mkd_launched.told_ns;
}

/* What an opcode runs now. The table changes under our eyes: whoever takes an
 * entry out waits until no worker runs what it named. */
MKD_FN uint32_t mkd_entry(const struct mkd_state *state, uint32_t opcode)
{
	uint32_t two = mkd_load32((const uint32_t *)state->table +
				  opcode % MK_OPCODES / 2u);

	return opcode & 1u ? two >> 16 : two & 0xffffu;
}

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
 * Slots of one kind are counted in registers. Other counts are kept in device
 * memory, and all of them are written to the shared memory when the worker
 * has a moment, every thousand rounds at the latest, and when it leaves: a
 * write over the bus for every slot would cost more than the slot.
 */

MKD_FN void mkd_count_one(struct mk_worker_block *c, uint32_t key, uint32_t n)
{
	mkd_tally(&c->tenant[key >> 8 & 0xffu], n);
	mkd_tally(&c->priority[key >> 16], n);
	mkd_tally(&c->opcodes[key & 0xffu], n);
	mkd_tally(&c->slots, n);
}

/* What becomes of one slot, for the counters. */
struct mkd_ending {
	uint32_t opcode, tenant, priority;
	bool failed, refused;
};

/* Not all of them are of the kind that is counted in registers. */
MKD_SLOW void mkd_count_away(const struct mkd_warp *w, bool mine,
			     const struct mkd_ending *e)
{
	struct mk_worker_block *c = w->counters;

	if (!w->lane && w->tally)
		mkd_count_one(c, w->key, w->tally);
	if (!mine)
		return;
	mkd_tally(&c->slots, 1);
	if (e->tenant < MK_TENANTS)
		mkd_tally(&c->tenant[e->tenant], 1);
	if (e->priority < MK_PRIORITIES)
		mkd_tally(&c->priority[e->priority], 1);
	if (e->opcode < MK_OPCODES)
		mkd_tally(&c->opcodes[e->opcode], 1);
	if (e->failed)
		mkd_tally(&c->failed, 1);
	if (e->refused)
		mkd_tally(&c->cancelled, 1);
}

/* These lanes answered a slot each. True: the registers have it. */
MKD_FN bool mkd_count_here(struct mkd_warp *w, bool mine,
			   const struct mkd_ending *e)
{
	uint32_t all = mkd_ballot(mine), n = mkd_bits(all), one, odd;
	uint32_t key = e->opcode < MK_OPCODES && e->tenant < MK_TENANTS &&
				       e->priority < MK_PRIORITIES ?
			       MKD_KEY(e->opcode, e->tenant, e->priority) :
			       MKD_KEY_NOBODY;

	one = mkd_shfl(key, mkd_lowest(all));
	odd = mkd_ballot(mine && (key != one || key == MKD_KEY_NOBODY ||
				  e->failed));
	w->unflushed += n;
	if (odd || (w->tally && w->key != one))
		return false;
	w->key = one;
	w->tally += n;
	return true;
}

/* The same where w lies in memory, and where it shall stay in registers: to
 * write it out and read it back costs more than a slot. */
MKD_FN void mkd_count(struct mkd_warp *w, bool mine,
		      const struct mkd_ending *e)
{
	if (mkd_count_here(w, mine, e))
		return;
	mkd_count_away(w, mine, e);
	w->mixed = true;
	w->tally = 0;
}

MKD_FN void mkd_count_hot(struct mkd_warp *w, bool mine,
			  const struct mkd_ending *e)
{
	struct mkd_ending away = *e;
	struct mkd_warp copy;

	if (mkd_count_here(w, mine, e))
		return;
	copy = *w;
	mkd_count_away(&copy, mine, &away);
	w->mixed = true;
	w->tally = 0;
}

/* n no-ops of one kind ended; w lies in memory. */
MKD_FN void mkd_count_nops(struct mkd_warp *w, uint32_t tenant,
			   uint32_t priority, uint32_t n)
{
	uint32_t key = MKD_KEY(MK_OP_NOP, tenant, priority);

	if (!n)
		return;
	if (w->tally && w->key != key) {
		if (!w->lane)
			mkd_count_one(w->counters, w->key, w->tally);
		w->mixed = true;
		w->tally = 0;
	}
	w->key = key;
	w->tally += n;
	w->unflushed += n;
}

/* A word of the counters to the shared memory, and n more. */
MKD_FN void mkd_flush_word(const struct mkd_warp *w, uint32_t word, uint32_t n)
{
	uint64_t *from = (uint64_t *)w->counters + word;
	uint64_t *to = (uint64_t *)(mkd_launched.region +
				    mkd_launched.blocks_offset) +
		       (uint64_t)w->index * (sizeof(*w->counters) / 8) + word;
	uint64_t v = mkd_load64(from) + n;

	if (n)
		mkd_store64(from, v);
	mkd_store64(to, v);
}

#define MKD_WORD_OF(field) \
	((uint32_t)MK_OFFSETOF(struct mk_worker_block, field) / 8u)

/* The number of slots last: who finds it finds the others. */
MKD_SLOW void mkd_flush_away(const struct mkd_warp *w)
{
	uint32_t words = sizeof(*w->counters) / 8u, word;

	if (w->mixed) {
		if (!w->lane && w->tally)
			mkd_count_one(w->counters, w->key, w->tally);
		mkd_fence();
		mkd_syncwarp();
		for (word = MKD_WORD_OF(failed) + w->lane; word < words;
		     word += MKD_LANES)
			mkd_flush_word(w, word, 0);
	} else if (w->lane == 1) {
		mkd_flush_word(w, MKD_WORD_OF(tenant) + (w->key >> 8 & 0xffu),
			       w->tally);
	} else if (w->lane == 2) {
		mkd_flush_word(w, MKD_WORD_OF(priority) + (w->key >> 16),
			       w->tally);
	} else if (w->lane == 3) {
		mkd_flush_word(w, MKD_WORD_OF(opcodes) + (w->key & 0xffu),
			       w->tally);
	}
	mkd_syncwarp();
	if (!w->lane) {
		mkd_release();
		mkd_flush_word(w, MKD_WORD_OF(slots),
			       w->mixed ? 0 : w->tally);
	}
	mkd_syncwarp();
}

/* Write the counters that changed to the shared memory. */
MKD_FN void mkd_flush(struct mkd_warp *w)
{
	struct mkd_warp copy;

	w->stale = 0;
	if (!w->unflushed)
		return;
	copy = *w;
	mkd_flush_away(&copy);
	w->unflushed = w->tally = 0;
	w->mixed = false;
}

#endif
