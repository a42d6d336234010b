/* SPDX-License-Identifier: Apache-2.0 */
/* Every built-in control opcode, with values at the edges. */
#include <errno.h>
#include <string.h>

#include "queue/queue.h"
#include "support/conform.h"

static void check(struct mk_completion c, int32_t result, uint64_t value)
{
	assert_int_equal(c.result, result);
	assert_true(c.value == value);
}

static void nop(struct conform *c)
{
	static const uint64_t values[] = { 0, 1, 0xffff, 1ull << 48,
					   0xffffull << 48, UINT64_MAX };
	struct mk_queue *q = support_queue(c->ctx, 4);

	for (unsigned i = 0; i < 6; i++)
		check(support_call(q, MK_OP_NOP, &values[i], 8), 0, values[i]);
	support_queue_end(q);
}

static struct mk_completion word_op(struct mk_queue *q, uint16_t opcode,
				    uint32_t word, uint64_t operand,
				    uint64_t expected)
{
	struct mk_op_word w = { word, 0, operand, expected };

	return support_call(q, opcode, &w, sizeof(w));
}

static void words(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 8);
	const uint32_t last = 63; /* 64 observables by default */
	uint64_t seen = 0;

	for (uint32_t at = 0; at <= last; at += last) {
		check(word_op(q, MK_OP_STORE, at, UINT64_MAX - 1, 0), 0, 0);
		check(word_op(q, MK_OP_ADD, at, 3, 0), 0, UINT64_MAX - 1);
		check(word_op(q, MK_OP_LOAD, at, 0, 0), 0, 1);
		check(word_op(q, MK_OP_CAS, at, 9, 2), 0, 1);
		check(word_op(q, MK_OP_LOAD, at, 0, 0), 0, 1);
		check(word_op(q, MK_OP_CAS, at, 1ull << 63, 1), 0, 1);
		check(word_op(q, MK_OP_LOAD, at, 0, 0), 0, 1ull << 63);
		assert_int_equal(mk_queue_observe(q, at, &seen), 0);
		assert_true(seen == 1ull << 63);
		assert_int_equal(mk_queue_set_observable(q, at, 7), 0);
		check(word_op(q, MK_OP_LOAD, at, 0, 0), 0, 7);
	}
	support_queue_end(q);
}

static void words_outside(struct conform *c)
{
	static const uint32_t bad[] = { 64, 65, 1u << 16, 1u << 29,
					UINT32_MAX };
	struct mk_queue *q = support_queue(c->ctx, 8);
	struct mk_op_word w = { 0, 1, 5, 0 };
	struct mk_completion a;
	uint64_t seen;

	for (unsigned i = 0; i < 5; i++)
		for (uint16_t op = MK_OP_STORE; op <= MK_OP_CAS; op++)
			check(word_op(q, op, bad[i], 5, 0), -MK_ERANGE, 0);
	for (uint16_t op = MK_OP_STORE; op <= MK_OP_CAS; op++) {
		a = support_call(q, op, &w, sizeof(w));
		check(a, -MK_EARGS, 0);
	}
	assert_int_equal(mk_queue_observe(q, 64, &seen), -MK_ERANGE);
	support_error(-MK_ERANGE, "word is 64", "below 64", NULL);
	assert_int_equal(mk_queue_set_observable(q, UINT32_MAX, 1),
			 -MK_ERANGE);
	/* no opcode reached a word that it may not */
	for (uint32_t i = 0; i < 64; i++) {
		assert_int_equal(mk_queue_observe(q, i, &seen), 0);
		assert_int_equal(seen, 0);
	}
	assert_int_equal(support_balance(q).bad_args, 24);
	support_queue_end(q);
}

/* ---- copies ------------------------------------------------------------- */

#define BIG (1u << 20)

struct copies {
	struct mk_queue *q;
	mk_buffer_t from, to;
	unsigned char *data, *back;
};

static struct copies copies_begin(struct mk_ctx *ctx)
{
	struct copies k = { .q = support_queue(ctx, 8) };
	uint64_t seed = 1;

	k.data = test_malloc(2 * BIG);
	k.back = test_malloc(2 * BIG);
	for (unsigned i = 0; i < 2 * BIG; i++)
		k.data[i] = (unsigned char)support_random(&seed);
	assert_int_equal(mk_buffer_create(ctx, 2 * BIG, 0, &k.from), 0);
	assert_int_equal(mk_buffer_create(ctx, 2 * BIG, 0, &k.to), 0);
	assert_int_equal(mk_buffer_write(ctx, k.from, 0, k.data, 2 * BIG), 0);
	return k;
}

static void copies_end(struct mk_ctx *ctx, struct copies *k)
{
	support_queue_end(k->q);
	assert_int_equal(mk_buffer_destroy(ctx, k->from, SUPPORT_NS), 0);
	assert_int_equal(mk_buffer_destroy(ctx, k->to, SUPPORT_NS), 0);
	test_free(k->data);
	test_free(k->back);
}

static struct mk_completion copy(struct mk_queue *q, mk_buffer_t from,
				 uint64_t from_at, mk_buffer_t to,
				 uint64_t to_at, uint64_t bytes)
{
	struct mk_op_copy a = { mk_buffer_ref(from), mk_buffer_ref(to),
				from_at, to_at, bytes };

	return support_call(q, MK_OP_COPY, &a, sizeof(a));
}

static void copy_sizes(struct conform *c)
{
	static const uint64_t sizes[] = { 0, 1, 15, 16, 17, 4095, 4096, 4097,
					  BIG - 1, BIG, BIG + 1 };
	struct copies k = copies_begin(c->ctx);

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t n = sizes[i], at = 3 * i;

		memset(k.back, 0xee, 2 * BIG);
		assert_int_equal(mk_buffer_write(c->ctx, k.to, 0, k.back,
						 2 * BIG), 0);
		check(copy(k.q, k.from, at, k.to, 2 * at, n), 0, n);
		assert_int_equal(mk_buffer_read(c->ctx, k.to, 0, k.back,
						2 * BIG), 0);
		assert_memory_equal(k.back + 2 * at, k.data + at, n);
		for (uint64_t j = 0; j < 2 * at; j++)
			assert_int_equal(k.back[j], 0xee);
		for (uint64_t j = 2 * at + n; j < 2 * BIG; j++)
			if (k.back[j] != 0xee)
				fail_msg("byte %u was written", (unsigned)j);
	}
	/* within one buffer, side by side */
	check(copy(k.q, k.from, 0, k.from, BIG, BIG), 0, BIG);
	copies_end(c->ctx, &k);
}

static void copy_ranges(struct conform *c)
{
	static const struct { uint64_t from, to, n; } bad[] = {
		{ 2 * BIG, 0, 1 }, { 0, 2 * BIG, 1 }, { 0, 0, 2 * BIG + 1 },
		{ 2 * BIG + 1, 0, 0 }, { UINT64_MAX, 0, 1 },
		{ 0, UINT64_MAX, 1 }, { 1, 0, UINT64_MAX },
		{ 0, 1, UINT64_MAX }, { UINT64_MAX, 0, 2 },
		{ 1ull << 63, 0, 1ull << 63 }, { 1, 0, 2 * BIG },
	};
	struct copies k = copies_begin(c->ctx);

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		check(copy(k.q, k.from, bad[i].from, k.to, bad[i].to,
			   bad[i].n), -MK_ERANGE, 0);
	/* at the end, nothing is left to copy, and that is no error */
	check(copy(k.q, k.from, 2 * BIG, k.to, 2 * BIG, 0), 0, 0);
	/* overlaps have no meaning */
	check(copy(k.q, k.from, 0, k.from, 1, 2), -MK_EARGS, 0);
	check(copy(k.q, k.from, 1, k.from, 0, 2), -MK_EARGS, 0);
	check(copy(k.q, k.from, 5, k.from, 5, 1), -MK_EARGS, 0);
	assert_int_equal(support_balance(k.q).bad_args, 14);
	copies_end(c->ctx, &k);
}

static mk_buffer_t handle(uint32_t index, uint32_t generation)
{
	return (uint64_t)generation << 32 | index;
}

static void copy_handles(struct conform *c)
{
	struct copies k = copies_begin(c->ctx);
	uint32_t gen = mk_buffer_ref(k.from).generation;
	uint32_t at = mk_buffer_ref(k.from).index;
	mk_buffer_t foreign[] = {
		0, handle(0, 1), handle(at, 0), handle(at, gen + 1),
		handle(at, UINT32_MAX), handle(255, 1), handle(256, 1),
		handle(257, 1), handle(UINT32_MAX, 1), UINT64_MAX,
	};
	mk_buffer_t old, young, fixed;

	for (unsigned i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
		check(copy(k.q, foreign[i], 0, k.to, 0, 1), -MK_EFOREIGN, 0);
		check(copy(k.q, k.from, 0, foreign[i], 0, 1), -MK_EFOREIGN, 0);
	}
	assert_int_equal(mk_buffer_create(c->ctx, 1, 0, &old), 0);
	assert_int_equal(mk_buffer_destroy(c->ctx, old, SUPPORT_NS), 0);
	check(copy(k.q, old, 0, k.to, 0, 1), -MK_ESTALE, 0);
	/* its place is taken by another: still stale */
	assert_int_equal(mk_buffer_create(c->ctx, 1, 0, &young), 0);
	assert_int_equal(mk_buffer_ref(young).index, mk_buffer_ref(old).index);
	assert_int_not_equal(young, old);
	check(copy(k.q, old, 0, k.to, 0, 1), -MK_ESTALE, 0);
	check(copy(k.q, k.from, 0, old, 0, 1), -MK_ESTALE, 0);
	check(copy(k.q, young, 0, k.to, 0, 1), 0, 1);

	assert_int_equal(mk_buffer_create(c->ctx, 16, MK_BUFFER_READ_ONLY,
					  &fixed), 0);
	check(copy(k.q, k.from, 0, fixed, 0, 1), -MK_EACCESS, 0);
	check(copy(k.q, fixed, 0, k.to, 0, 16), 0, 16);
	assert_int_equal(mk_buffer_destroy(c->ctx, fixed, SUPPORT_NS), 0);
	assert_int_equal(mk_buffer_destroy(c->ctx, young, SUPPORT_NS), 0);
	copies_end(c->ctx, &k);
}

/* ---- fence -------------------------------------------------------------- */

/* When the fence has its answer, all before it have theirs. */
/* Memory that host and handlers use in place: what the one stored, the other
 * finds, as often as it changes. */
static void host_buffer(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 8);
	mk_buffer_t host, device;
	unsigned char *p;

	assert_int_equal(mk_buffer_create(c->ctx, BIG, MK_BUFFER_HOST, &host),
			 0);
	assert_int_equal(mk_buffer_create(c->ctx, BIG, 0, &device), 0);
	assert_int_equal(mk_buffer_map(c->ctx, host, (void **)&p), 0);
	for (unsigned i = 0; i < BIG; i++)
		assert_int_equal(p[i], 0);
	for (unsigned round = 1; round < 20; round++) {
		for (unsigned i = 0; i < BIG / 2; i++)
			p[i] = (unsigned char)(i * round + (i >> 8));
		check(copy(q, host, 0, device, round, BIG / 2), 0, BIG / 2);
		check(copy(q, device, round, host, BIG / 2, BIG / 2), 0,
		      BIG / 2);
		assert_memory_equal(p, p + BIG / 2, BIG / 2);
	}
	check(copy(q, host, 1, device, 0, BIG), -MK_ERANGE, 0);
	assert_int_equal(mk_buffer_destroy(c->ctx, host, SUPPORT_NS), 0);
	check(copy(q, host, 0, device, 0, 1), -MK_ESTALE, 0);
	assert_int_equal(mk_buffer_destroy(c->ctx, device, SUPPORT_NS), 0);
	support_queue_end(q);
}

static void fence(struct conform *c)
{
	struct copies k = copies_begin(c->ctx);
	struct mk_op_copy a = { mk_buffer_ref(k.from), mk_buffer_ref(k.to),
				0, 0, BIG / 16 };
	struct mk_queue *q = support_queue(c->ctx, 32);

	for (unsigned lap = 0; lap < 6; lap++) {
		uint64_t fence = q->tail + 20;

		for (unsigned i = 0; i < 20; i++) {
			a.target_offset = i * a.bytes;
			support_submit(q, MK_OP_COPY, i, &a, sizeof(a));
		}
		support_submit(q, MK_OP_FENCE, 99, NULL, 0);
		support_submit(q, MK_OP_NOP, 100, NULL, 0);
		for (uint64_t end = support_now() + SUPPORT_NS;
		     !mk_queue_answered(q, fence);)
			assert_true(support_now() < end);
		for (uint64_t t = fence - 20; t != fence; t++)
			assert_true(mk_queue_answered(q, t));
		for (unsigned i = 0; i < 22; i++)
			assert_int_equal(support_reap(q).result, 0);
	}
	/* one behind the other, and alone */
	for (unsigned i = 0; i < 64; i++)
		support_call(q, MK_OP_FENCE, NULL, 0);
	for (unsigned i = 0; i < 32; i++)
		support_submit(q, MK_OP_FENCE, i, NULL, 0);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(support_reap(q).result, 0);
	support_queue_end(q);
	copies_end(c->ctx, &k);
}

/* ---- debug log ---------------------------------------------------------- */

static void print(struct mk_queue *q, uint32_t n)
{
	struct mk_op_print p = { n, { ~n, n * 3, n << 16 } };

	check(support_call(q, MK_OP_PRINT, &p, sizeof(p)), 0, 0);
}

static void is_record(const struct mk_log_entry *e, uint64_t ticket, uint32_t n)
{
	assert_true(e->ticket == ticket);
	assert_int_equal(e->format, n);
	assert_int_equal(e->arg[0], ~n);
	assert_int_equal(e->arg[1], n * 3);
	assert_int_equal(e->arg[2], n << 16);
}

static void debug_log(struct conform *c)
{
	struct mk_queue_params p = { .size = sizeof(p), .entries = 4,
				     .log_records = 8,
				     .first_ticket = UINT64_MAX - 9 };
	struct mk_log_entry e[32];
	struct mk_queue *q;
	uint64_t lost = 77;

	assert_int_equal(mk_queue_create(c->ctx, &p, &q), 0);
	assert_int_equal(mk_queue_log_read(q, e, 32, &lost), 0);
	assert_int_equal(lost, 0);
	for (uint32_t i = 0; i < 3; i++)
		print(q, i);
	assert_int_equal(mk_queue_log_read(q, e, 2, &lost), 2);
	assert_int_equal(mk_queue_log_read(q, e + 2, 30, NULL), 1);
	for (uint32_t i = 0; i < 3; i++)
		is_record(&e[i], p.first_ticket + i, i);
	/* 8 fit */
	for (uint32_t i = 3; i < 11; i++)
		print(q, i);
	assert_int_equal(mk_queue_log_read(q, e, 32, &lost), 8);
	assert_int_equal(lost, 0);
	is_record(&e[0], p.first_ticket + 3, 3);
	/* 20 do not: the last 8 are there, 12 are counted as lost */
	for (uint32_t i = 11; i < 31; i++)
		print(q, i);
	assert_int_equal(mk_queue_log_read(q, e, 32, &lost), 8);
	assert_int_equal(lost, 12);
	for (uint32_t i = 0; i < 8; i++)
		is_record(&e[i], p.first_ticket + 23 + i, 23 + i);
	/* and it goes on */
	print(q, 31);
	assert_int_equal(mk_queue_log_read(q, e, 32, &lost), 1);
	assert_int_equal(lost, 0);
	is_record(&e[0], p.first_ticket + 31, 31);
	assert_int_equal(mk_queue_log_read(q, e, 32, &lost), 0);
	support_queue_end(q);
}

/* ---- shutdown ----------------------------------------------------------- */

static void shutdown_op(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 4);
	struct mk_queue *other = support_queue(c->ctx, 4);

	check(support_call(q, MK_OP_SHUTDOWN, NULL, 0), 0, 0);
	for (unsigned i = 0; i < 10; i++)
		check(support_call(q, MK_OP_NOP, NULL, 0), -MK_ECANCELLED, 0);
	/* its own control block only */
	check(support_call(other, MK_OP_NOP, NULL, 0), 0, 0);
	assert_int_equal(support_balance(q).cancelled, 10);
	support_queue_end(q);
	support_queue_end(other);
}

/* ---- the oracle --------------------------------------------------------- */

/* Random word operations, many of them wrong: same answers, same words. */
static void same_as_oracle(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 64);
	struct mk_queue *o = support_queue(c->oracle, 64);
	uint64_t seed = 42, a, b;

	for (unsigned i = 0; i < 2000; i++) {
		uint64_t r = support_random(&seed);
		uint16_t op = (uint16_t)(r % 8);
		struct mk_op_word w = { (r >> 8) % 70, (r >> 24) % 16 == 0,
					(r >> 32) % 5, (r >> 40) % 5 };
		struct mk_completion x, y;

		if (op == MK_OP_COPY) {
			struct mk_op_copy k;

			memset(&k, 0, sizeof(k));
			memcpy(&k, &r, sizeof(r));
			x = support_call(q, op, &k, sizeof(k));
			y = support_call(o, op, &k, sizeof(k));
		} else {
			x = support_call(q, op, &w, sizeof(w));
			y = support_call(o, op, &w, sizeof(w));
		}
		assert_int_equal(x.result, y.result);
		assert_true(x.value == y.value);
	}
	for (uint32_t i = 0; i < 64; i++) {
		assert_int_equal(mk_queue_observe(q, i, &a), 0);
		assert_int_equal(mk_queue_observe(o, i, &b), 0);
		assert_true(a == b);
	}
	support_queue_end(q);
	support_queue_end(o);
}

/* user_data and opcode come back with their own answers. */
static void echoes(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 64);
	bool seen[64];

	for (unsigned lap = 0; lap < 50; lap++) {
		memset(seen, 0, sizeof(seen));
		for (uint64_t i = 0; i < 64; i++) {
			uint64_t value = ~i << 32 | lap;

			support_submit(q, MK_OP_NOP, UINT64_MAX - i, &value,
				       8);
		}
		for (unsigned i = 0; i < 64; i++) {
			struct mk_completion a = support_reap(q);
			uint64_t at = UINT64_MAX - a.user_data;

			assert_true(at < 64 && !seen[at]);
			seen[at] = true;
			assert_int_equal(a.result, 0);
			assert_int_equal(a.opcode, MK_OP_NOP);
			assert_true(a.value == (~at << 32 | lap));
		}
	}
	assert_int_equal(support_balance(q).ok, 3200);
	support_queue_end(q);
}

int main(void)
{
	static const struct conform_case cases[] = {
		{ "nop", nop },
		{ "words", words },
		{ "words outside", words_outside },
		{ "copy sizes", copy_sizes },
		{ "copy ranges", copy_ranges },
		{ "copy handles", copy_handles },
		{ "host buffer", host_buffer },
		{ "fence", fence },
		{ "debug log", debug_log },
		{ "shutdown", shutdown_op },
		{ "same as the oracle", same_as_oracle },
		{ "user_data", echoes },
	};

	return CONFORM_MAIN("conformance/ops", cases);
}
