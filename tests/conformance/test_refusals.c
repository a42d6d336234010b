/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots that no library would publish, written into the shared memory behind
 * its back: the engine checks again. Each gets its own code, once; the queue
 * goes on.
 */
#include <errno.h>
#include <string.h>

#include "queue/queue.h"
#include "support/conform.h"

/* Flags that make no difference to a slot that has nothing beside the ring;
 * the counters that the others speak of are of no buffer. */
#define FLAGS (MK_SLOT_DEADLINE | MK_SLOT_IDEMPOTENT)
#define COUNTERS (MK_SLOT_WAIT | MK_SLOT_RAISE | MK_SLOT_AFTER)

static const uint64_t no_args[6];
static bool flows; /* the engine serves tiles and counters */

/* What the engine must say to this header. */
static int32_t expected(const struct mk_queue *q, uint64_t header)
{
	uint16_t opcode = (uint16_t)header;
	uint16_t tenant = (uint16_t)(header >> 16);
	uint8_t priority = (uint8_t)(header >> 32);
	uint8_t flags = (uint8_t)(header >> 40);
	uint16_t tiles = (uint16_t)(header >> 48);

	if (opcode >= MK_OPCODES || !q->opcode_args[opcode])
		return -MK_EOPCODE;
	if (tenant >= MK_TENANTS || (!flows && tiles > 1))
		return -MK_ERANGE;
	if (priority >= MK_PRIORITIES ||
	    (flags & ~(flows ? FLAGS | COUNTERS : FLAGS)))
		return -EINVAL;
	/* one with a deadline may be late */
	return (flags & (MK_SLOT_WAIT | MK_SLOT_DEADLINE)) == MK_SLOT_WAIT ?
		       -MK_EFOREIGN : 0;
}

static void inject(struct mk_queue *q, uint64_t user_data, uint64_t header,
		   const uint64_t args[6])
{
	struct mk_slot *slot;

	assert_int_equal(mk_queue_get_wait(q, 1, &slot, SUPPORT_NS), 1);
	slot->user_data = user_data;
	support_inject(q, slot, header, args);
}

static void is_refused(struct mk_queue *q, uint64_t header, int32_t result)
{
	struct mk_completion c;

	inject(q, header, header, no_args);
	c = support_reap(q);
	assert_true(c.user_data == header);
	assert_int_equal(c.result, result);
	assert_int_equal(c.result, expected(q, header));
	assert_true(c.value == 0);
	/* the next one is served */
	assert_int_equal(support_call(q, MK_OP_NOP, NULL, 0).result, 0);
}

/* The counts of a context, once they say that n slots were answered: a
 * resident kernel writes them a little after the answers. */
static void stats_of(struct mk_ctx *ctx, uint64_t n, struct mk_ctx_stats *s)
{
	uint64_t end = support_now() + SUPPORT_NS;

	do
		assert_int_equal(mk_ctx_stats(ctx, s), 0);
	while (s->slots < n && support_now() < end);
	assert_int_equal(s->slots, n);
}

static struct mk_queue *engine_queue(struct conform *c, uint32_t entries)
{
	flows = strcmp(c->engine, "mock") != 0;
	return support_queue(c->ctx, entries);
}

static void opcodes(struct conform *c)
{
	static const uint16_t bad[] = { 10, 15, 25, 31, 32, 255, 256, 257,
					0x8000, UINT16_MAX };
	struct mk_queue *q = support_queue(c->ctx, 4);
	struct mk_ctx_stats stats;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		is_refused(q, support_header(bad[i], 0, 0, 0, 0),
			   -MK_EOPCODE);
	assert_int_equal(support_balance(q).bad_opcode, 10);
	stats_of(c->ctx, 20, &stats);
	assert_int_equal(stats.failed, 10);
	assert_int_equal(stats.cancelled, 10);
	support_queue_end(q);
}

static void header_fields(struct conform *c)
{
	struct mk_queue *q = engine_queue(c, 4);

	is_refused(q, support_header(0, 63, 4, 0, 1), 0);
	is_refused(q, support_header(0, 64, 2, 0, 0), -MK_ERANGE);
	is_refused(q, support_header(0, UINT16_MAX, 2, 0, 0), -MK_ERANGE);
	is_refused(q, support_header(0, 0, 2, 0, 2), flows ? 0 : -MK_ERANGE);
	is_refused(q, support_header(0, 0, 2, 0, UINT16_MAX),
		   flows ? 0 : -MK_ERANGE);
	is_refused(q, support_header(0, 0, 5, 0, 0), -EINVAL);
	is_refused(q, support_header(0, 0, UINT8_MAX, 0, 0), -EINVAL);
	is_refused(q, support_header(0, 0, 2, 0x04, 0),
		   flows ? -MK_EFOREIGN : -EINVAL);
	is_refused(q, support_header(0, 0, 2, 0x80, 0), -EINVAL);
	is_refused(q, support_header(0, 64, 255, 0xff, 9), -MK_ERANGE);
	is_refused(q, UINT64_MAX, -MK_EOPCODE);
	support_queue_end(q);
}

/* The books of a context: what names no tenant, opcode or priority that there
 * can be is counted as answered and failed, and under none of them. */
static void counted(struct conform *c)
{
	struct mk_queue *q = engine_queue(c, 4);
	uint64_t tenants = 0, opcodes = 0, priorities = 0;
	struct mk_ctx_stats s;

	is_refused(q, support_header(0, 64 + 3, 1, 0, 0), -MK_ERANGE);
	is_refused(q, support_header(0, 5, 8 + 1, 0, 0), -EINVAL);
	is_refused(q, support_header(256 + 7, 6, 1, 0, 0), -MK_EOPCODE);
	is_refused(q, support_header(UINT16_MAX, 70, 9, 0, 0), -MK_EOPCODE);
	stats_of(c->ctx, 8, &s);
	assert_int_equal(s.failed, 4);
	for (unsigned i = 0; i < MK_TENANTS; i++)
		tenants += s.by_tenant[i];
	for (unsigned i = 0; i < MK_OPCODES; i++)
		opcodes += s.by_opcode[i];
	for (unsigned i = 0; i < MK_PRIORITIES; i++)
		priorities += s.by_priority[i];
	/* the 4 no-ops in between are of tenant 0 and the default priority */
	assert_int_equal(s.by_tenant[0], 4);
	assert_int_equal(s.by_tenant[5], 1);
	assert_int_equal(s.by_tenant[6], 1);
	assert_int_equal(tenants, 4 + 2);
	assert_int_equal(s.by_opcode[MK_OP_NOP], 4 + 2);
	assert_int_equal(opcodes, 4 + 2);
	assert_int_equal(s.by_priority[1], 2);
	assert_int_equal(priorities, 4 + 2);
	support_queue_end(q);
}

/* Word opcodes and no-ops only: a random copy may be right. */
static uint64_t random_header(uint64_t *seed)
{
	uint64_t r = support_random(seed);
	uint64_t header = support_random(seed);

	/* most fields good, so that every check is reached */
	if (r & 0x3)
		header = (header & ~0xffffull) | (r >> 8) % 12;
	if (r & 0x1c)
		header &= ~(0xffc0ull << 16);
	if (r & 0x60)
		header &= ~(0xfcull << 32);
	if (r & 0x180)
		header &= ~(0xffull << 40);
	if (r & 0x600)
		header &= ~(0xfffeull << 48);
	else
		header &= ~(0xfff0ull << 48); /* they are all run */
	if ((uint16_t)header == MK_OP_SHUTDOWN ||
	    (uint16_t)header == MK_OP_ROW)
		header += 100;
	return header;
}

static void random_slots(struct conform *c)
{
	struct mk_queue *q = engine_queue(c, 256);
	uint64_t header[256], seed = 7;
	bool seen[256];

	for (unsigned lap = 0; lap < 40; lap++) {
		memset(seen, 0, sizeof(seen));
		for (unsigned i = 0; i < 256; i++) {
			uint64_t args[6];

			for (int k = 0; k < 6; k++)
				args[k] = support_random(&seed);
			header[i] = random_header(&seed);
			inject(q, i, header[i], args);
		}
		for (unsigned i = 0; i < 256; i++) {
			struct mk_completion a = support_reap(q);
			int32_t want;

			assert_true(a.user_data < 256);
			assert_false(seen[a.user_data]);
			seen[a.user_data] = true;
			want = expected(q, header[a.user_data]);
			if (want)
				assert_int_equal(a.result, want);
		}
	}
	assert_int_equal(support_balance(q).submitted, 40 * 256);
	support_queue_end(q);
}

/* A deadline flag with nothing beside the ring: the time there counts. */
static void stale_deadline(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 2);

	inject(q, 1, support_header(0, 0, 2, MK_SLOT_DEADLINE, 0), no_args);
	assert_int_equal(support_reap(q).result, -MK_EDEADLINE);
	support_queue_end(q);
}

/* The first lap's marks: zeroed memory is no published slot. */
static void zero_is_nothing(struct conform *c)
{
	static const uint64_t firsts[] = { 0, 65535ull * 4, 65536ull * 4,
					   UINT64_MAX - 3, UINT64_MAX };

	for (unsigned i = 0; i < 5; i++) {
		struct mk_queue_params p = { .size = sizeof(p), .entries = 4,
					     .first_ticket = firsts[i] };
		struct mk_queue *q;

		assert_int_equal(mk_queue_create(c->ctx, &p, &q), 0);
		support_sleep(SUPPORT_MS);
		for (uint64_t t = firsts[i]; t != firsts[i] + 4; t++) {
			assert_false(mk_queue_published(q, t));
			assert_false(mk_queue_answered(q, t));
		}
		assert_int_equal(mk_queue_wait(q, 1, 0), -ETIME);
		assert_int_equal(support_balance(q).submitted, 0);
		support_queue_end(q);
	}
}

int main(void)
{
	static const struct conform_case cases[] = {
		{ "unknown opcodes", opcodes },
		{ "header fields", header_fields },
		{ "counts", counted },
		{ "random slots", random_slots },
		{ "deadline flag alone", stale_deadline },
		{ "an empty ring", zero_is_nothing },
	};

	return CONFORM_MAIN("conformance/refusals", cases);
}
