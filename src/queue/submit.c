/* SPDX-License-Identifier: Apache-2.0 */
/* The producers' side of a queue: get, fill, submit. */
#include <errno.h>
#include <limits.h>

#include "base/error.h"
#include "base/futex.h"
#include "base/order.h"
#include "base/spin.h"
#include "context/keeper.h"
#include "queue/encode.h"
#include "queue/queue.h"

/* Why there is nothing to get. Off the hot path. */
static int get_refused(struct mk_queue *q, unsigned n)
{
	int closed = (int)mk_load_acquire(&q->closed);

	if (closed == MK_EDEVLOST) {
		int r = mk_ctx_check(q->ctx, "mk_queue_get");

		return r ? r : -EAGAIN; /* it is just coming back */
	}
	if (closed)
		return mk_error_set(-closed, 0, "mk_queue_get",
				    "the queue was stopped and takes no more "
				    "slots; make another");
	if (!n || n > INT_MAX)
		return mk_error_set(-EINVAL, 0, "mk_queue_get",
				    "n is %u, must be 1 to %d", n, INT_MAX);
	mk_add_relaxed(&q->full, 1);
	return -EAGAIN;
}

/* A run of up to n free slots, n >= 1; 0: the ring is full. */
static inline unsigned get_run(struct mk_queue *q, unsigned n,
			       struct mk_slot **out)
{
	uint64_t entries = (uint64_t)q->mask + 1;
	uint64_t tail = mk_load_relaxed(&q->tail);
	uint64_t used, run, left, high;

	do {
		/* pairs with the store in mk_queue_advance(): what the reaper
		 * read from these slots was read before they are filled */
		used = tail - mk_load_acquire(&q->head);
		run = entries - used;
		left = entries - (tail & q->mask);
		if (!run)
			return 0;
		if (run > left)
			run = left;
		if (run > n)
			run = n;
	} while (!mk_cas_relaxed(&q->tail, &tail, tail + run));
	high = mk_load_relaxed(&q->high);
	while (used + run > high &&
	       !mk_cas_relaxed(&q->high, &high, used + run))
		;
	*out = &q->slots[tail & q->mask];
	return (unsigned)run;
}

int mk_queue_get(struct mk_queue *q, unsigned n, struct mk_slot **out)
{
	unsigned run = 0;

	if (!mk_load_relaxed(&q->closed) && n && n <= INT_MAX)
		run = get_run(q, n, out);
	return run ? (int)run : get_refused(q, n);
}

/* Sleep until the reaper made room, unless there is some. */
static void room_sleep(struct mk_queue *q, uint64_t limit)
{
	uint32_t seen;

	/* Dekker with mk_queue_advance() */
	mk_add_seq(&q->room_waiters, 1);
	seen = mk_load_seq(&q->room);
	if (mk_load_seq(&q->tail) - mk_load_seq(&q->head) > q->mask &&
	    !mk_load_seq(&q->closed))
		mk_futex_wait(&q->room, seen, limit);
	mk_sub_seq(&q->room_waiters, 1);
}

int mk_queue_get_wait(struct mk_queue *q, unsigned n, struct mk_slot **out,
		      uint64_t timeout_ns)
{
	int got = mk_queue_get(q, n, out);
	struct mk_spin spin;

	if (got != -EAGAIN)
		return got;
	for (mk_spin_begin(&spin, q->spin_ns, timeout_ns);;) {
		unsigned run = 0;

		if (!mk_load_relaxed(&q->closed))
			run = get_run(q, n, out);
		else if ((got = get_refused(q, n)) != -EAGAIN)
			return got;
		if (run)
			return (int)run;
		switch (mk_spin(&spin)) {
		case MK_SPIN_LOOK:
			break;
		case MK_SPIN_SLEEP:
			room_sleep(q, mk_time_left(spin.deadline));
			break;
		case MK_SPIN_LATE:
			return -ETIME;
		}
	}
}

/* Every header field is valid from 0 to a maximum. */
#define HEADER_MOST                                                     \
	((uint64_t)(MK_OPCODES - 1) | (uint64_t)(MK_TENANTS - 1) << 16 | \
	 (uint64_t)(MK_PRIORITIES - 1) << 32 |                          \
	 (uint64_t)MK_SLOT_FLAGS << 40 | 0xffffull << 48)

/* What the headers of some slots have in common, gathered without a branch. */
struct headers {
#if defined(__SSE2__)
	__m128i most, least; /* of each byte; user_data comes along */
#else
	uint64_t any, carry, differ; /* bits set in any header */
	uint64_t first;
#endif
};

#if defined(__SSE2__)
MK_STATIC_ASSERT(MK_OPCODES == 256 && MK_TENANTS <= 256,
		 "a field is in range if each of its bytes is");

static inline void headers_begin(struct headers *h, const struct mk_slot *slot)
{
	h->most = h->least = _mm_load_si128((const void *)slot);
}

static inline void headers_add(struct headers *h, const struct mk_slot *slot)
{
	__m128i header = _mm_load_si128((const void *)slot);

	h->most = _mm_max_epu8(header, h->most);
	h->least = _mm_min_epu8(header, h->least);
}

/* Keep the sums where the loop has them: without this, gcc 12 copies both in
 * every round, to save one copy after the last. */
static inline void headers_end(struct headers *h)
{
	__asm__("" : "+x"(h->most), "+x"(h->least));
}

/* All in range, and all of one opcode? */
static inline bool headers_alike(const struct headers *h)
{
	__m128i above = _mm_subs_epu8(h->most,
				      _mm_cvtsi64_si128(HEADER_MOST));
	__m128i differ = _mm_xor_si128(h->most, h->least);

	return !(_mm_cvtsi128_si64(above) |
		 (uint16_t)_mm_cvtsi128_si32(differ));
}
#else
/* Priorities from MK_PRIORITIES to 7 carry out of their three bits. */
#define PRIORITY_CARRY ((8ull - MK_PRIORITIES) << 32)

static inline void headers_begin(struct headers *h, const struct mk_slot *slot)
{
	h->any = h->first = mk_slot_header(slot);
	h->carry = h->first + PRIORITY_CARRY;
	h->differ = 0;
}

static inline void headers_add(struct headers *h, const struct mk_slot *slot)
{
	uint64_t header = mk_slot_header(slot);

	h->any |= header;
	h->differ |= header ^ h->first;
	h->carry |= header + PRIORITY_CARRY;
}

static inline void headers_end(struct headers *h)
{
	(void)h;
}

static inline bool headers_alike(const struct headers *h)
{
	uint64_t known = HEADER_MOST | 7ull << 32;

	return !((h->any & ~known) | (h->carry & 0xf8ull << 32) |
		 (uint16_t)h->differ);
}
#endif

/* Which field is it? Off the hot path. */
static int submit_refused(const struct mk_slot *slot, unsigned at)
{
	const char *op = "mk_queue_submit";

	if (slot->tenant >= MK_TENANTS)
		return mk_error_set(-MK_ERANGE, 0, op,
				    "slot %u: tenant is %u, must be below %u",
				    at, slot->tenant, MK_TENANTS);
	if (slot->priority >= MK_PRIORITIES)
		return mk_error_set(-EINVAL, 0, op,
				    "slot %u: priority is %u, must be 0 to %u",
				    at, slot->priority, MK_PRIORITIES - 1);
	if (slot->flags & ~MK_SLOT_FLAGS)
		return mk_error_set(-EINVAL, 0, op,
				    "slot %u: flags is 0x%x, known are 0x%x",
				    at, slot->flags, MK_SLOT_FLAGS);
	return mk_error_set(-MK_EOPCODE, 0, op,
			    "slot %u: opcode is %u, which no loaded handler "
			    "has; see mk_handler_list()", at, slot->opcode);
}

static int submit_not_got(const struct mk_queue *q, const struct mk_slot *slots,
			  unsigned n, bool again)
{
	if (!n || n > q->mask + 1)
		return mk_error_set(-EINVAL, 0, "mk_queue_submit",
				    "n is %u, must be 1 to %u", n,
				    q->mask + 1);
	if (again)
		return mk_error_set(-MK_ENOTGOT, 0, "mk_queue_submit",
				    "slots (%p, %u of them) were submitted "
				    "already; mk_queue_get() gives new ones",
				    (const void *)slots, n);
	return mk_error_set(-MK_ENOTGOT, 0, "mk_queue_submit",
			    "slots (%p, %u of them) were not got from this "
			    "queue; mk_queue_get() gives them",
			    (const void *)slots, n);
}

void mk_queue_ring(struct mk_queue *q)
{
	uint64_t a = mk_load_seq(q->attention);

	/* whoever changes the word to "one attentive" wakes the one */
	do {
		if (MK_ATTENTION(a, MK_ATTENTIVE) ||
		    !MK_ATTENTION(a, MK_ASLEEP))
			return;
	} while (!mk_cas_seq(q->attention, &a,
			     a + MK_ATTENTIVE + MK_HANDED - MK_ASLEEP));
	mk_add_relaxed(&q->doorbells, 1);
	mk_add_seq(&q->ctx->block->bell, 1);
	mk_futex_wake(&q->ctx->block->bell, 1);
}

static bool slot_good(const struct mk_queue *q, const struct mk_slot *slot)
{
	return slot->tenant < MK_TENANTS &&
	       slot->priority < MK_PRIORITIES &&
	       !(slot->flags & ~MK_SLOT_FLAGS) && slot->opcode < MK_OPCODES &&
	       mk_load_relaxed(&q->opcode_args[slot->opcode]);
}

int mk_queue_check(const struct mk_queue *q, const struct mk_slot *slot)
{
	return slot_good(q, slot) ? 0 : submit_refused(slot, 0);
}

/* mk_ctx_deadline(): from now on, if the slot has none of its own. */
static void default_deadline(struct mk_queue *q, struct mk_slot *slot)
{
	uint64_t ns;

	if (!(mk_load_relaxed(&q->opcode_args[slot->opcode]) &
	      MK_OPCODE_LATE) || slot->flags & MK_SLOT_DEADLINE)
		return;
	ns = mk_load_relaxed(&q->ctx->opcode_deadline[slot->opcode]);
	if (ns)
		mk_slot_deadline(q, slot, mk_deadline_after(ns));
}

/* The first slot that may not be submitted; n: all may. */
static inline unsigned first_bad(struct mk_queue *q, struct mk_slot *slots,
				 unsigned n)
{
	const struct mk_slot *slot = slots + n % 2, *end = slots + n;
	struct headers h;
	unsigned i;

	headers_begin(&h, slots);
	for (; slot != end; slot += 2) {
		headers_add(&h, slot);
		headers_add(&h, slot + 1);
	}
	headers_end(&h);
	/* as signed bytes: none is 0, one with a default deadline negative */
	if (headers_alike(&h) &&
	    (int8_t)mk_load_relaxed(&q->opcode_args[slots[0].opcode]) > 0)
		return n;
	for (i = 0; i < n && slot_good(q, &slots[i]); i++)
		default_deadline(q, &slots[i]);
	return i;
}

/* In this lap already? Whoever submits a run twice is told: its ends are looked
 * at, which costs nothing that a slot would notice. What the mark is before
 * this lap nobody but us wrote. */
static inline bool published(const struct mk_wire_slot *wire, uint16_t mark)
{
	return mk_load_relaxed(&wire->unit[0].hi) >> MK_MARK_SHIFT == mark;
}

int mk_queue_submit(struct mk_queue *q, struct mk_slot *slots, unsigned n)
{
	uint64_t entries = (uint64_t)q->mask + 1;
	uint64_t index = mk_queue_slot_index(q, slots);
	uint64_t head = mk_load_relaxed(&q->head);
	uint64_t ticket = head + ((index - head) & q->mask);
	uint16_t mark = MK_MARK(ticket, q->shift);
	const struct mk_slot *last;
	struct mk_wire_slot *wire;
	uint64_t attention;
	unsigned bad;

	if (index >= entries || !n || n > entries - index ||
	    ticket + n - head > mk_load_relaxed(&q->tail) - head)
		return submit_not_got(q, slots, n, false);
	wire = &q->ring[index];
	if (published(wire, mark) || published(wire + n - 1, mark))
		return submit_not_got(q, slots, n, true);
	bad = first_bad(q, slots, n);
	if (bad < n)
		return submit_refused(&slots[bad], bad);
	/* all but the last, in pairs, which saves a loop's worth of counting;
	 * pairs with the workers' load-acquire of the same word */
	last = slots + n - 1;
	if (n % 2 == 0) {
		mk_stamp_store(wire, mk_slot_encode(wire, slots, mark));
		slots++;
		wire++;
	}
	for (; slots != last; slots += 2, wire += 2) {
		mk_fetch_to_write(wire + MK_FETCH_AHEAD);
		mk_fetch_to_write(wire + MK_FETCH_AHEAD + 1);
		mk_stamp_store(wire, mk_slot_encode(wire, slots, mark));
		mk_stamp_store(wire + 1,
			       mk_slot_encode(wire + 1, slots + 1, mark));
	}
	/* Dekker: we store the stamp, then look who is awake; a worker that
	 * falls asleep stores `attention`, then looks at the stamps */
	mk_store_seq(&wire->unit[0].hi,
		     mk_stamp_word(mk_slot_encode(wire, slots, mark)));
	attention = mk_load_seq(q->attention);
	if (!MK_ATTENTION(attention, MK_ATTENTIVE) && attention)
		mk_queue_ring(q);
	return (int)n;
}

int mk_queue_fill(struct mk_queue *q, struct mk_slot *slot, uint16_t opcode,
		  uint64_t user_data, const void *args, size_t bytes)
{
	unsigned takes;

	if (!q || !slot)
		return mk_error_null("mk_queue_fill", q ? "slot" : "q");
	if (opcode >= MK_OPCODES || !mk_load_relaxed(&q->opcode_args[opcode]))
		return mk_error_set(-MK_EOPCODE, 0, "mk_queue_fill",
				    "opcode is %u, which no loaded handler "
				    "has; see mk_handler_list()", opcode);
	takes = (mk_load_relaxed(&q->opcode_args[opcode]) & ~MK_OPCODE_LATE) -
		1u;
	if (bytes != takes)
		return mk_error_set(-MK_EARGS, 0, "mk_queue_fill",
				    "bytes is %zu, but the handler of opcode "
				    "%u takes %u bytes of arguments", bytes,
				    opcode, takes);
	if (bytes && !args)
		return mk_error_null("mk_queue_fill", "args");
	mk_slot_init(slot, opcode, user_data);
	if (bytes)
		memcpy(slot->bytes, args, bytes);
	return 0;
}

int mk_slot_deadline(struct mk_queue *q, struct mk_slot *slot,
		     uint64_t deadline_ns)
{
	uint64_t index;

	if (!q || !slot)
		return mk_error_null("mk_slot_deadline", q ? "slot" : "q");
	index = mk_queue_slot_index(q, slot);
	if (index > q->mask)
		return mk_error_set(-MK_ENOTGOT, 0, "mk_slot_deadline",
				    "slot %p was not got from this queue",
				    (void *)slot);
	/* ordered before the worker's load by the stamp of the slot */
	mk_store_relaxed(&q->ext[index].deadline_ns, deadline_ns);
	slot->flags |= MK_SLOT_DEADLINE;
	/* from now on somebody has to look more often */
	if (!mk_load_relaxed(&q->ctx->deadlines)) {
		mk_store_relaxed(&q->ctx->deadlines, 1);
		mk_keeper_ring(q->ctx);
	}
	return 0;
}
