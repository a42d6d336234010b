/* SPDX-License-Identifier: Apache-2.0 */
/* The producers' side of a queue: get, fill, submit. */
#include <errno.h>
#include <limits.h>

#include "base/error.h"
#include "base/futex.h"
#include "base/order.h"
#include "base/spin.h"
#include "queue/queue.h"

/* Why there is nothing to get. Off the hot path. */
static int get_refused(struct mk_queue *q, unsigned n)
{
	int closed = (int)mk_load_acquire(&q->closed);

	if (mk_load_acquire(&q->ctx->lost))
		return mk_ctx_check(q->ctx, "mk_queue_get");
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
	uint64_t used, run, left;

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
	if (used + run > mk_load_relaxed(&q->high))
		mk_store_relaxed(&q->high, used + run);
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
	    !mk_load_seq(&q->closed) && !mk_load_seq(&q->ctx->lost))
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

		if (!mk_load_relaxed(&q->closed) &&
		    !mk_load_relaxed(&q->ctx->lost))
			run = get_run(q, n, out);
		else
			return get_refused(q, n);
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

/* Header bits that no valid slot has: unknown flags, tenants, priorities. */
#define HEADER_TENANT (0xffffull & ~(uint64_t)(MK_TENANTS - 1)) << 16
#define HEADER_PRIORITY 0xf8ull << 32
#define HEADER_FLAGS (0xffull & ~(uint64_t)MK_SLOT_FLAGS) << 40
#define HEADER_TILES 0xfffeull << 48
#define HEADER_BAD \
	((HEADER_TENANT) | (HEADER_PRIORITY) | (HEADER_FLAGS) | (HEADER_TILES))

static inline uint64_t slot_header(const struct mk_slot *slot)
{
	uint64_t header;

	memcpy(&header, slot, sizeof(header));
	return header;
}

/* Non-zero if a header field is out of range. Priorities 5 to 7 are found by
 * adding 3, which carries into the bits that no priority has. */
static inline uint64_t header_bad(uint64_t header)
{
	return (header | (header + (3ull << 32))) & HEADER_BAD;
}

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
	if (slot->tiles > 1)
		return mk_error_set(-MK_ERANGE, 0, op,
				    "slot %u: tiles is %u, must be 0 or 1",
				    at, slot->tiles);
	return mk_error_set(-MK_EOPCODE, 0, op,
			    "slot %u: opcode is %u, which no loaded handler "
			    "has; see mk_handler_list()", at, slot->opcode);
}

static int submit_not_got(const struct mk_queue *q, const struct mk_slot *slots,
			  unsigned n)
{
	if (!n || n > q->mask + 1)
		return mk_error_set(-EINVAL, 0, "mk_queue_submit",
				    "n is %u, must be 1 to %u", n,
				    q->mask + 1);
	return mk_error_set(-MK_ENOTGOT, 0, "mk_queue_submit",
			    "slots (%p, %u of them) were not got from this "
			    "queue; mk_queue_get() gives them",
			    (const void *)slots, n);
}

/*
 * Write a slot into the ring: the last half-word of every 16-byte unit gives
 * way to the mark and rides in unit 0. Returns the word that publishes it.
 */
static inline uint64_t slot_encode(struct mk_wire_slot *wire,
				   const struct mk_slot *slot, uint64_t mark)
{
	const uint64_t low = (1ull << MK_MARK_SHIFT) - 1;
	uint64_t a = slot->arg64[1], b = slot->arg64[3], c = slot->arg64[5];

	wire->unit[0].lo = slot_header(slot);
	wire->unit[1].lo = slot->arg64[0];
	wire->unit[1].hi = (a & low) | mark;
	wire->unit[2].lo = slot->arg64[2];
	wire->unit[2].hi = (b & low) | mark;
	wire->unit[3].lo = slot->arg64[4];
	wire->unit[3].hi = (c & low) | mark;
	return (a >> 48) | (b >> 48) << 16 | (c >> 48) << 32 | mark;
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

int mk_queue_submit(struct mk_queue *q, struct mk_slot *slots, unsigned n)
{
	uint64_t entries = (uint64_t)q->mask + 1;
	uint64_t index = (uint64_t)(slots - q->slots);
	uint64_t head = mk_load_relaxed(&q->head);
	uint64_t ticket = head + ((index - head) & q->mask);
	uint64_t mark = (uint64_t)MK_MARK(ticket, q->shift) << MK_MARK_SHIFT;
	struct mk_wire_slot *wire = &q->ring[index];
	const uint8_t *opcode_args = q->opcode_args;
	uint64_t attention;
	unsigned i;

	if (index >= entries || !n || n > entries - index ||
	    ticket + n - head > mk_load_relaxed(&q->tail) - head)
		return submit_not_got(q, slots, n);
	for (i = 0; i < n; i++) {
		uint64_t header = slot_header(&slots[i]);
		uint16_t opcode = (uint16_t)header;

		if (header_bad(header) || opcode >= MK_OPCODES ||
		    !mk_load_relaxed(&opcode_args[opcode]))
			return submit_refused(&slots[i], i);
	}
	/* pairs with the workers' load-acquire of the same word */
	for (i = 0; i + 1 < n; i++)
		mk_store_release(&wire[i].unit[0].hi,
				 slot_encode(&wire[i], &slots[i], mark));
	/* Dekker: we store the stamp, then look who is awake; a worker that
	 * falls asleep stores `attention`, then looks at the stamps */
	mk_store_seq(&wire[i].unit[0].hi,
		     slot_encode(&wire[i], &slots[i], mark));
	attention = mk_load_seq(q->attention);
	if (!MK_ATTENTION(attention, MK_ATTENTIVE) && attention)
		mk_queue_ring(q);
	return (int)n;
}

int mk_queue_fill(struct mk_queue *q, struct mk_slot *slot, uint16_t opcode,
		  uint64_t user_data, const void *args, size_t bytes)
{
	unsigned takes;

	if (opcode >= MK_OPCODES || !mk_load_relaxed(&q->opcode_args[opcode]))
		return mk_error_set(-MK_EOPCODE, 0, "mk_queue_fill",
				    "opcode is %u, which no loaded handler "
				    "has; see mk_handler_list()", opcode);
	takes = mk_load_relaxed(&q->opcode_args[opcode]) - 1u;
	if (bytes != takes)
		return mk_error_set(-MK_EARGS, 0, "mk_queue_fill",
				    "bytes is %zu, but the handler of opcode "
				    "%u takes %u bytes of arguments", bytes,
				    opcode, takes);
	mk_slot_init(slot, opcode, user_data);
	if (bytes)
		memcpy(slot->bytes, args, bytes);
	return 0;
}

int mk_slot_deadline(struct mk_queue *q, struct mk_slot *slot,
		     uint64_t deadline_ns)
{
	uint64_t index = (uint64_t)(slot - q->slots);

	if (index > q->mask)
		return mk_error_set(-MK_ENOTGOT, 0, "mk_slot_deadline",
				    "slot %p was not got from this queue",
				    (void *)slot);
	/* ordered before the worker's load by the stamp of the slot */
	mk_store_relaxed(&q->ext[index].deadline_ns, deadline_ns);
	slot->flags |= MK_SLOT_DEADLINE;
	return 0;
}
