/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arbitrary bytes as wire slots, written into the ring past every check of
 * mk_queue_submit(), as by a host whose memory went wrong. Each has to be
 * answered once, with the code that a model of the built-in opcodes expects,
 * and nothing but what they name may change.
 *
 * Input: one byte of options, then slots of 64 bytes; the last may be short.
 *   bit 0  the marks of units 1 to 3 stay as they are in the input
 *   bit 1  the slots are written in reverse order
 *   bit 2  deadlines lie ahead, not behind
 *   bit 3  the rings of the row buffers are published
 *   bit 4  tiles and counters, as the input has them: then only that each is
 *          answered once; the model knows slots that end where they began
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <megakernel.h>

#include "base/order.h"
#include "queue/queue.h"

#include "require.h"

#define ENTRIES 64u
#define WORDS 16u
#define ROW_SLOTS 8u
#define ROW_BYTES 4096u
#define FLAGS (MK_SLOT_DEADLINE | MK_SLOT_IDEMPOTENT) /* that are served */
#define BOUND_NS UINT64_C(20000000000) /* longer is a hang */

enum option {
	RAW_MARKS = 1,
	REVERSED = 2,
	AHEAD = 4,
	PUBLISHED = 8,
	FLOWS = 16
};

/* What was written and what shall come of it. */
struct expected {
	struct mk_slot slot; /* as the engine decodes it */
	bool known;          /* result and value are exact */
	int32_t result;
	uint64_t value;
};

static struct mk_ctx *ctx;
static struct mk_queue *queue;
static mk_buffer_t row[4], plain[2], read_only;
static uint64_t words[WORDS]; /* of the queue, as they should be */
static uint64_t serial;       /* user_data of the next slot */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void setup(void)
{
	struct mk_ctx_params p = {
		.size = sizeof(p), .isolation = MK_ISOLATION_NONE,
		.workers = 1, .shared_bytes = 8u << 20,
		.heap_bytes = 1u << 20, .idle_ns = 20000,
	};
	struct mk_queue_params qp = {
		.size = sizeof(qp), .entries = ENTRIES, .observables = WORDS,
		.first_ticket = UINT64_MAX - 1000,
	};
	mk_buffer_t stale;

	REQUIRE(!mk_ctx_create(&p, &ctx));
	REQUIRE(!mk_queue_create(ctx, &qp, &queue));
	for (unsigned i = 0; i < 4; i++)
		REQUIRE(!mk_buffer_create(ctx, ROW_BYTES, 0, &row[i]));
	for (unsigned i = 0; i < 2; i++)
		REQUIRE(!mk_buffer_create(ctx, 8192, 0, &plain[i]));
	REQUIRE(!mk_buffer_create(ctx, 4096, MK_BUFFER_READ_ONLY, &read_only));
	REQUIRE(!mk_buffer_create(ctx, 4096, 0, &stale));
	REQUIRE(!mk_buffer_destroy(ctx, stale, BOUND_NS));
}

/* Four buffers that a row may run over; slots may have spoiled the last. */
static void refill_rows(bool published)
{
	static uint64_t bytes[ROW_BYTES / 8];
	struct mk_control_params c = { .size = sizeof(c), .observables = 4 };
	struct mk_ring_slot slots[ROW_SLOTS - 1];

	memset(bytes, 0, sizeof(bytes));
	REQUIRE(mk_control_encode(&c, bytes, sizeof(bytes)) > 0);
	REQUIRE(!mk_buffer_write(ctx, row[0], 0, bytes, sizeof(bytes)));
	memset(bytes, 0, sizeof(bytes));
	REQUIRE(mk_ring_encode_empty(ROW_SLOTS, bytes, sizeof(bytes)) > 0);
	memset(slots, 0, sizeof(slots));
	for (unsigned i = 0; i < ROW_SLOTS - 1; i++)
		slots[i].opcode = (uint16_t)i;
	if (published)
		REQUIRE(!mk_ring_publish(bytes,
					 (uint64_t)mk_ring_bytes(ROW_SLOTS),
					 slots, ROW_SLOTS - 1));
	REQUIRE(!mk_buffer_write(ctx, row[1], 0, bytes, sizeof(bytes)));
	memset(bytes, 0, sizeof(bytes));
	REQUIRE(mk_log_encode_empty(8, bytes, sizeof(bytes)) > 0);
	REQUIRE(!mk_buffer_write(ctx, row[2], 0, bytes, sizeof(bytes)));
	memset(bytes, 0, sizeof(bytes));
	REQUIRE(mk_io_encode_empty(8, bytes, sizeof(bytes)) > 0);
	REQUIRE(!mk_buffer_write(ctx, row[3], 0, bytes, sizeof(bytes)));
}

/* ---- the model --------------------------------------------------------- */

static void decode(const struct mk_wire_slot *wire, struct mk_slot *out)
{
	const uint64_t low = (UINT64_C(1) << MK_MARK_SHIFT) - 1;
	uint64_t header = wire->unit[0].lo, spill = wire->unit[0].hi;

	out->opcode = (uint16_t)header;
	out->tenant = (uint16_t)(header >> 16);
	out->priority = (uint8_t)(header >> 32);
	out->flags = (uint8_t)(header >> 40);
	out->tiles = (uint16_t)(header >> 48);
	for (unsigned i = 0; i < 3; i++) {
		out->arg64[2 * i] = wire->unit[i + 1].lo;
		out->arg64[2 * i + 1] = (wire->unit[i + 1].hi & low) |
					(spill & 0xffff) << MK_MARK_SHIFT;
		spill >>= 16;
	}
}

/* What the header alone decides; 0: the slot runs. */
static int32_t refused(const struct mk_slot *s, bool ahead, bool stopped)
{
	struct mk_handler_info info[64];
	int n = mk_handler_list(ctx, info, 64), i;

	REQUIRE(n > 0 && n <= 64);
	for (i = 0; i < n && info[i].opcode != s->opcode; i++)
		;
	if (stopped)
		return -MK_ECANCELLED;
	if (i == n)
		return -MK_EOPCODE;
	if (s->tenant >= MK_TENANTS)
		return -MK_ERANGE;
	if (s->priority >= MK_PRIORITIES || (s->flags & ~FLAGS))
		return -EINVAL;
	return (s->flags & MK_SLOT_DEADLINE) && !ahead ? -MK_EDEADLINE : 0;
}

static void run_word(struct expected *e)
{
	const struct mk_op_word *args = (const void *)e->slot.bytes;
	uint64_t *word = &words[args->word % WORDS];

	if (args->reserved) {
		e->result = -MK_EARGS;
		return;
	}
	if (args->word >= WORDS) {
		e->result = -MK_ERANGE;
		return;
	}
	e->value = *word;
	if (e->slot.opcode == MK_OP_STORE)
		*word = args->operand;
	else if (e->slot.opcode == MK_OP_ADD)
		*word += args->operand;
	else if (e->slot.opcode == MK_OP_CAS && *word == args->expected)
		*word = args->operand;
}

/* Slots run in the order of their tickets: there is one worker. */
static void run_model(struct expected *e, bool ahead, bool *stopped)
{
	e->known = true;
	e->value = 0;
	e->result = refused(&e->slot, ahead, *stopped);
	if (e->result)
		return;
	switch (e->slot.opcode) {
	case MK_OP_NOP:
		e->value = e->slot.arg64[0];
		break;
	case MK_OP_STORE:
	case MK_OP_ADD:
	case MK_OP_LOAD:
	case MK_OP_CAS:
		run_word(e);
		break;
	case MK_OP_FENCE:
	case MK_OP_PRINT:
		break;
	case MK_OP_SHUTDOWN:
		*stopped = true;
		break;
	default:
		e->known = false; /* what it says depends on the buffers */
	}
}

/* ---- the ring ---------------------------------------------------------- */

/* The line beside it. Nothing that it waits for is far away. */
static void write_ext(struct mk_wire_ext *ext, uint64_t random,
		      unsigned options)
{
	struct mk_ref ref = mk_buffer_ref(random & 7 ? plain[0] : read_only);

	mk_store_relaxed(&ext->deadline_ns, options & AHEAD ? UINT64_MAX : 1);
	mk_store_relaxed(&ext->counters.index, ref.index);
	mk_store_relaxed(&ext->counters.generation, ref.generation);
	mk_store_relaxed(&ext->wait_value, 0);
	mk_store_relaxed(&ext->wait_word, (uint32_t)(random >> 8) % 1200);
	for (unsigned i = 0; i < MK_RAISE_MAX; i++)
		mk_store_relaxed(&ext->raise[i],
				 (random >> 32 >> i) & 1 ? MK_NO_COUNTER :
				 (uint32_t)(random >> 8) % 1200 + i);
}

/* One slot into the ring; its stamp last, as whoever reads it relies on. */
static void write_slot(struct expected *e, struct mk_slot *got,
		       const uint8_t *bytes, size_t size, unsigned options)
{
	uint32_t index = (uint32_t)(got - queue->slots);
	struct mk_wire_slot *ring = &queue->ring[index], wire;
	uint64_t head = queue->head;
	uint64_t ticket = head + ((index - head) & queue->mask);
	uint64_t mark = (uint64_t)MK_MARK(ticket, queue->shift)
			<< MK_MARK_SHIFT;
	const uint64_t low = (UINT64_C(1) << MK_MARK_SHIFT) - 1;

	memset(&wire, 0, sizeof(wire));
	memcpy(&wire, bytes, size);
	if (!(options & FLOWS))
		wire.unit[0].lo &= ~((uint64_t)(MK_SLOT_WAIT | MK_SLOT_RAISE)
					     << 40 | 0xfffeull << 48);
	for (unsigned i = 0; i < 4; i++)
		if (!i || !(options & RAW_MARKS))
			wire.unit[i].hi = (wire.unit[i].hi & low) | mark;
	decode(&wire, &e->slot);
	e->slot.user_data = serial++;
	*got = e->slot;
	write_ext(&queue->ext[index], wire.unit[1].lo, options);
	memcpy(&ring->unit[1], &wire.unit[1], 3 * sizeof(wire.unit[1]));
	ring->unit[0].lo = wire.unit[0].lo;
	mk_store_seq(&ring->unit[0].hi, wire.unit[0].hi);
	mk_queue_ring(queue);
}

static bool is_code(int32_t result)
{
	return result < 0 && strcmp(mk_code_name(result), "unknown");
}

static void check_answer(const struct expected *e,
			 const struct mk_completion *c)
{
	REQUIRE(c->user_data == e->slot.user_data && !c->worker);
	REQUIRE(c->opcode == e->slot.opcode);
	REQUIRE(!c->result || is_code(c->result));
	REQUIRE(!e->known || c->result == e->result);
	REQUIRE(!e->known || c->value == e->value);
}

/* Which slot is this the answer of? Every one of them has one. */
static const struct expected *whose(const struct expected *e, unsigned n,
				    const struct mk_completion *c, bool *had)
{
	for (unsigned i = 0; i < n; i++)
		if (!had[i] && e[i].slot.user_data == c->user_data) {
			had[i] = true;
			return &e[i];
		}
	REQUIRE(!"an answer that nobody waits for");
	return NULL;
}

/* Every answer once, and then no more: in the order of the tickets, but for
 * slots that waited. */
static void reap(const struct expected *e, unsigned n, bool ordered)
{
	struct mk_completion c[ENTRIES];
	bool had[ENTRIES] = { false };
	unsigned have = 0;

	REQUIRE(mk_queue_wait(queue, n, BOUND_NS) == (int)n);
	while (have < n) {
		int r = mk_queue_reap(queue, c, ENTRIES);

		REQUIRE(r > 0 && (unsigned)r <= n - have);
		for (int i = 0; i < r; i++)
			check_answer(ordered ? &e[have + (unsigned)i] :
					       whose(e, n, &c[i], had), &c[i]);
		have += (unsigned)r;
	}
	REQUIRE(!mk_queue_reap(queue, c, ENTRIES));
}

/* ---- what must be so afterwards ---------------------------------------- */

static void check_log(const struct expected *e, unsigned n)
{
	struct mk_log_entry entry;
	uint64_t lost;

	for (unsigned i = 0; i < n; i++) {
		const struct mk_op_print *print =
			(const void *)e[i].slot.bytes;

		if (e[i].slot.opcode != MK_OP_PRINT || e[i].result)
			continue;
		REQUIRE(mk_queue_log_read(queue, &entry, 1, &lost) == 1);
		REQUIRE(!lost && entry.format == print->format);
		REQUIRE(!memcmp(entry.arg, print->arg, sizeof(entry.arg)));
	}
	REQUIRE(!mk_queue_log_read(queue, &entry, 1, &lost) && !lost);
}

/* The words are as the model has them; the rest is as it was. */
static void check_control(const struct mk_control *before, bool stopped)
{
	struct mk_control *control = mk_queue_control(queue);

	REQUIRE(mk_load_acquire(&control->shutdown) == stopped);
	mk_store_release(&control->shutdown, 0);
	REQUIRE(!memcmp(control, before, sizeof(*control)));
	REQUIRE(!memcmp(control + 1, words, sizeof(words)));
}

/* What it did is what it should have done. */
static void forget(void)
{
	struct mk_control *control = mk_queue_control(queue);
	struct mk_log_entry entry[16];
	uint64_t lost;

	mk_store_release(&control->shutdown, 0);
	memcpy(words, control + 1, sizeof(words));
	while (mk_queue_log_read(queue, entry, 16, &lost) > 0)
		;
	for (unsigned i = 0; i < 8192; i += 8) {
		const uint64_t none = 0;

		REQUIRE(!mk_buffer_write(ctx, plain[0], i, &none, 8));
	}
}

static void check_stats(const struct mk_queue_stats *before, unsigned n)
{
	struct mk_queue_stats s;
	struct mk_ctx_stats all;

	REQUIRE(!mk_queue_stats(queue, &s));
	REQUIRE(s.submitted == s.ok + s.failed + s.ready + s.in_flight);
	REQUIRE(s.submitted == before->submitted + n);
	REQUIRE(!s.ready && !s.in_flight && !s.got);
	REQUIRE(s.ok - before->ok + s.failed - before->failed == n);
	REQUIRE(!mk_ctx_stats(ctx, &all));
	REQUIRE(all.slots == s.submitted && all.failed == s.failed);
}

static unsigned submit_raw(struct expected *e, const uint8_t *data,
			   size_t size, unsigned options)
{
	unsigned n = (unsigned)((size + 63) / 64), got = 0, at;
	struct mk_slot *slot[ENTRIES];

	while (got < n) {
		struct mk_slot *run;
		int r = mk_queue_get(queue, n - got, &run);

		REQUIRE(r > 0 && (unsigned)r <= n - got);
		for (int i = 0; i < r; i++)
			slot[got++] = &run[i];
	}
	for (unsigned i = 0; i < n; i++) {
		size_t from;

		at = options & REVERSED ? n - 1 - i : i;
		from = (size_t)at * 64;
		write_slot(&e[at], slot[at], data + from,
			   size - from < 64 ? size - from : 64, options);
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct expected e[ENTRIES];
	struct mk_queue_stats before;
	struct mk_control control;
	bool stopped = false;
	unsigned n;

	if (size < 2)
		return 0;
	if (!ctx)
		setup();
	if (size > 1 + ENTRIES * 64)
		size = 1 + ENTRIES * 64;
	refill_rows(data[0] & PUBLISHED);
	memcpy(&control, mk_queue_control(queue), sizeof(control));
	REQUIRE(!mk_queue_stats(queue, &before));
	n = submit_raw(e, data + 1, size - 1, data[0]);
	for (unsigned i = 0; i < n; i++)
		if (data[0] & FLOWS)
			e[i].known = false;
		else
			run_model(&e[i], data[0] & AHEAD, &stopped);
	reap(e, n, !(data[0] & FLOWS));
	if (data[0] & FLOWS) {
		forget();
	} else {
		check_log(e, n);
		check_control(&control, stopped);
	}
	check_stats(&before, n);
	return 0;
}
