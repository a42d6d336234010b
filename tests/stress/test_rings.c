/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: stress */
/*
 * Producers and a reaper at full speed, on rings of every size, with counters
 * that start just under each of their wraps. Every slot is answered once, with
 * its own answer, and the books balance whenever nothing moves.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/order.h"
#include "context/context.h"
#include "support/support.h"

#define PRODUCERS_MAX 8

struct producer {
	pthread_t thread;
	struct mk_queue *q;
	uint64_t id, slots, seed;
	int error;
};

/* What comes back for this user_data. */
static uint64_t value_of(uint64_t user_data)
{
	return ~user_data * 0x9e3779b97f4a7c15ull;
}

static void fill(struct mk_slot *s, uint64_t user_data)
{
	mk_slot_init(s, MK_OP_NOP, user_data);
	s->arg64[0] = value_of(user_data);
	s->tenant = (uint16_t)(user_data % MK_TENANTS);
	s->priority = (uint8_t)(user_data % MK_PRIORITIES);
}

/* Submit a run in one piece, or its end before its begin. */
static int submit(struct mk_queue *q, struct mk_slot *s, unsigned n,
		  bool in_parts)
{
	unsigned half = n / 2;

	if (!in_parts || !half)
		return mk_queue_submit(q, s, n) == (int)n ? 0 : -1;
	if (mk_queue_submit(q, s + half, n - half) != (int)(n - half))
		return -1;
	return mk_queue_submit(q, s, half) == (int)half ? 0 : -1;
}

static void *produce(void *arg)
{
	struct producer *p = arg;

	for (uint64_t i = 0; i < p->slots && !p->error;) {
		uint64_t r = support_random(&p->seed);
		uint64_t want = r % 9 + 1;
		struct mk_slot *s;
		int n;

		if (want > p->slots - i)
			want = p->slots - i;
		n = mk_queue_get_wait(p->q, (unsigned)want, &s, SUPPORT_NS);
		if (n < 1) {
			p->error = n ? n : -1;
			break;
		}
		for (int k = 0; k < n; k++)
			fill(&s[k], p->id << 32 | i++);
		p->error = submit(p->q, s, (unsigned)n, r >> 60 == 1);
	}
	return NULL;
}

/* Reap until all are back; which are, in `seen`. */
static void reap_all(struct mk_queue *q, uint8_t *seen, uint64_t each,
		     uint64_t total, bool slow)
{
	struct mk_completion c[32];
	uint64_t seed = 3;

	for (uint64_t have = 0; have < total;) {
		int n = mk_queue_wait(q, 1, SUPPORT_NS);

		if (n < 1)
			fail_msg("waiting: %s", mk_code_name(n));
		if (slow && support_random(&seed) % 64 == 0)
			support_sleep(100000);
		n = mk_queue_reap(q, c, (unsigned)(support_random(&seed) % 32)
						+ 1);
		assert_true(n > 0);
		for (int i = 0; i < n; i++) {
			uint64_t at = (c[i].user_data >> 32) * each +
				      (uint32_t)c[i].user_data;

			assert_true(at < total);
			assert_false(seen[at]);
			seen[at] = 1;
			assert_int_equal(c[i].result, 0);
			assert_true(c[i].value == value_of(c[i].user_data));
		}
		have += (uint64_t)n;
	}
}

static void one_run(struct mk_queue *q, unsigned producers, uint64_t each,
		    bool slow)
{
	struct mk_queue_stats before = support_balance(q), after;
	struct producer p[PRODUCERS_MAX];
	uint64_t total = producers * each;
	uint8_t *seen = calloc(total, 1);

	assert_non_null(seen);
	memset(p, 0, sizeof(p));
	for (unsigned i = 0; i < producers; i++) {
		p[i].q = q;
		p[i].id = i;
		p[i].slots = each;
		p[i].seed = i + 1;
		assert_int_equal(pthread_create(&p[i].thread, NULL, produce,
						&p[i]), 0);
	}
	reap_all(q, seen, each, total, slow);
	for (unsigned i = 0; i < producers; i++) {
		pthread_join(p[i].thread, NULL);
		assert_int_equal(p[i].error, 0);
	}
	free(seen);
	after = support_balance(q);
	assert_true(after.submitted - before.submitted == total);
	assert_true(after.ok - before.ok == total);
	assert_int_equal(after.ready, 0);
	assert_int_equal(after.in_flight, 0);
	assert_int_equal(after.got, 0);
	assert_int_equal(after.failed, 0);
	assert_true(after.in_flight_high <= mk_queue_entries(q));
}

/* Just under: nothing, 16, 32 and 64 bits of tickets, 16 bits of laps. */
static uint64_t first_ticket(unsigned which, uint32_t entries)
{
	const uint64_t starts[] = {
		0, (1ull << 16) - 100, (1ull << 32) - 100, UINT64_MAX - 100,
		65536ull * entries - 100, 0 - 65536ull * entries - 100,
	};

	return starts[which];
}

#define STARTS 6

static void rings(struct mk_ctx *ctx, uint32_t entries)
{
	static const unsigned producers[] = { 1, 2, 8 };
	struct mk_ctx_stats stats;
	uint64_t total = 0, sum = 0;
	/* on a small ring everyone waits for everyone */
	uint64_t each = (entries < 64 ? 250 : 1500) /
			(SUPPORT_SANITIZED ? 5 : 1);

	/* the counters have to go past where they start */
	assert_int_equal(mk_load_acquire(&ctx->block->state), MK_ENGINE_READY);
	for (unsigned k = 0; k < STARTS; k++) {
		struct mk_queue_params p = {
			.size = sizeof(p),
			.entries = entries,
			.first_ticket = first_ticket(k, entries),
		};
		struct mk_queue *q;

		assert_int_equal(mk_queue_create(ctx, &p, &q), 0);
		for (unsigned i = 0; i < 3; i++) {
			one_run(q, producers[i], each, k == 1);
			total += producers[i] * each;
		}
		support_queue_end(q);
	}
	assert_int_equal(mk_ctx_stats(ctx, &stats), 0);
	assert_true(stats.slots == total);
	assert_true(stats.by_opcode[MK_OP_NOP] == total);
	for (unsigned i = 0; i < MK_TENANTS; i++)
		sum += stats.by_tenant[i];
	assert_true(sum == total);
	assert_int_equal(stats.failed, 0);
}

static void run(uint32_t isolation)
{
	static const uint32_t sizes[] = { 2, 4, 64, 1024, 65536 };

	for (unsigned i = 0; i < 5; i++) {
		struct mk_ctx *ctx = support_ctx("cpu", isolation);

		rings(ctx, sizes[i]);
		support_ctx_end(ctx);
	}
}

static void none(void **state)
{
	(void)state;
	run(MK_ISOLATION_NONE);
}

static void process(void **state)
{
	(void)state;
	run(MK_ISOLATION_PROCESS);
}

/* One producer that also reaps, whole laps at a time, through the lap marks'
 * own wrap: 65,536 laps of 2. */
static void all_laps(void **state)
{
	struct mk_ctx *ctx = support_ctx("cpu", MK_ISOLATION_NONE);
	struct mk_queue *q = support_queue(ctx, 2);
	uint64_t laps = SUPPORT_SANITIZED ? 2000 : 140000, sent = 0, back = 0;
	struct mk_completion c[2];
	struct mk_slot *s;

	(void)state;
	while (back < laps) {
		int n = sent < laps ? mk_queue_get(q, 2, &s) : 0;

		for (int i = 0; i < n; i++)
			fill(&s[i], sent++);
		if (n > 0)
			assert_int_equal(mk_queue_submit(q, s, (unsigned)n),
					 n);
		assert_true(mk_queue_wait(q, 1, SUPPORT_NS) > 0);
		n = mk_queue_reap(q, c, 2);
		for (int i = 0; i < n; i++, back++)
			assert_true(c[i].value == value_of(c[i].user_data));
	}
	assert_int_equal(mk_queue_drain(q, SUPPORT_NS), 0);
	support_queue_end(q);
	support_ctx_end(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none),
		cmocka_unit_test(process),
		cmocka_unit_test(all_laps),
	};

	return cmocka_run_group_tests_name("stress/rings", tests, NULL, NULL);
}
