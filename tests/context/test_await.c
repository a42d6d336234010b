/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 240 */
/*
 * Handlers that wait in vain are found, named, and end with -EDEADLK; those
 * that only wait long are left alone. With the engine, in both isolations.
 */
#include <errno.h>
#include <string.h>

#include "support/support.h"

#define HANG_NS (100 * SUPPORT_MS)
/* it would have been found in this time, twice */
#define LONG_NS (6 * HANG_NS)

/* How: 0 waits; 1 raises and ends; 2 waits until observable 0 is set, saying
 * so, raises and ends; 3 raises one word and waits for another to come as
 * far, again and again until observable 0 is set; 4 goes on and on, a little
 * each time. */
static const char source[] =
	"#include <megakernel/handler.h>\n"
	"struct w { struct mk_ref ref; uint32_t self, how, word, raise, n; };\n"
	"MK_HANDLER(waits, struct w)\n"
	"{\n"
	"	uint64_t *go = mk_observable(task, 0);\n"
	"	struct w w = *args;\n"
	"	switch (w.how) {\n"
	"	case 0:\n"
	"		w.how = 1;\n"
	"		return mk_await(task, w.ref, w.word, 1, w.self, &w,\n"
	"				sizeof(w));\n"
	"	case 2:\n"
	"		while (!mk_load(go))\n"
	"			mk_progress(task);\n"
	"		break;\n"
	"	case 3:\n"
	"		if (mk_load(go)) {\n"
	"			mk_raise(task, w.ref, w.raise, 1ull << 40);\n"
	"			return 6;\n"
	"		}\n"
	"		mk_raise(task, w.ref, w.raise, 1);\n"
	"		w.n++;\n"
	"		return mk_await(task, w.ref, w.word, w.n, w.self, &w,\n"
	"				sizeof(w));\n"
	"	case 4:\n"
	"		for (volatile int i = 0; i < 1000000; i++)\n"
	"			;\n"
	"		return mk_load(go) ? 8 : mk_yield(task, &w, sizeof(w));\n"
	"	}\n"
	"	mk_raise(task, w.ref, w.raise, 1);\n"
	"	return 7;\n"
	"}\n";

struct w {
	struct mk_ref ref;
	uint32_t self, how, word, raise, n;
};

static struct mk_ctx *ctx;
static struct mk_queue *q, *other;
static mk_buffer_t counters;
static uint32_t opcode;

static void publish(struct mk_queue *to, uint64_t user_data, uint32_t how,
		    uint32_t word, uint32_t raise)
{
	struct w w = { .ref = mk_buffer_ref(counters), .self = opcode,
		       .how = how, .word = word, .raise = raise };

	support_submit(to, (uint16_t)opcode, user_data, &w, sizeof(w));
}

static void has(const char *what)
{
	support_evidence_has(ctx, what);
}

/* Nobody raises it; a fence waits behind, and others come and go. */
static void nobody(void **state)
{
	struct mk_completion c;

	(void)state;
	publish(q, 1, 0, 1, 9);
	support_submit(q, MK_OP_FENCE, 2, NULL, 0);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(support_call(other, MK_OP_NOP, NULL, 0).result,
				 0);
	c = support_reap(q);
	assert_int_equal(c.user_data, 1);
	assert_int_equal(c.result, -EDEADLK);
	assert_int_equal(support_reap(q).result, 0);
	assert_int_equal(support_balance(q).deadlocked, 1);
	has("deadlock: ");
	has("ticket 0 of queue 0 (waits) waits until word 1 of buffer");
	has("is 1 (it is 0), and nobody in flight raises it");
	/* the next one at this place is an ordinary one */
	publish(other, 3, 1, 0, 1);
	assert_int_equal(support_reap(other).result, 7);
	for (unsigned i = 0; i < 64; i++) {
		publish(q, 4, 0, 1, 9);
		assert_int_equal(support_reap(q).result, 7);
	}
}

/* Each would raise what the other waits for; a third waits as a slot does. */
static void circle(void **state)
{
	struct mk_slot *s;

	(void)state;
	publish(q, 1, 0, 1, 2);
	publish(other, 2, 0, 2, 1);
	assert_int_equal(mk_queue_get(q, 1, &s), 1);
	mk_slot_init(s, MK_OP_NOP, 3);
	assert_int_equal(mk_slot_wait(q, s, counters, 3, 5), 0);
	assert_int_equal(mk_queue_submit(q, s, 1), 1);
	assert_int_equal(support_reap(q).result, -EDEADLK);
	assert_int_equal(support_reap(other).result, -EDEADLK);
	assert_int_equal(support_reap(q).result, -EDEADLK);
	has("3 slots wait in vain");
	has("ticket 0 of queue 0 (waits) waits until word 1 of buffer");
	has("ticket 0 of queue 1 (waits) waits until word 2 of buffer");
}

/* Somebody before them has not ended, and tells that it goes on. */
static void patience(void **state)
{
	(void)state;
	publish(q, 1, 2, 0, 1);
	publish(other, 2, 0, 1, 2);
	publish(q, 3, 0, 2, 3);
	support_sleep(LONG_NS);
	assert_int_equal(mk_ctx_evidence(ctx, MK_EVIDENCE_TEXT, NULL, 0), 0);
	assert_int_equal(mk_queue_set_observable(q, 0, 1), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(support_reap(q).result, 7);
	assert_int_equal(support_reap(other).result, 7);
}

/* Two slots for longer than it takes to find those that wait, or hang. */
static void on_and_on(uint32_t how, int32_t result)
{
	publish(q, 1, how, 1, 2);
	publish(other, 2, how, 2, 1);
	support_sleep(LONG_NS);
	assert_int_equal(mk_queue_set_observable(q, 0, 1), 0);
	assert_int_equal(mk_queue_set_observable(other, 0, 1), 0);
	assert_int_equal(support_reap(q).result, result);
	assert_int_equal(support_reap(other).result, result);
	assert_int_equal(mk_ctx_evidence(ctx, MK_EVIDENCE_TEXT, NULL, 0), 0);
}

/* To and fro. */
static void ping_pong(void **state)
{
	(void)state;
	on_and_on(3, 6);
}

/* Whenever somebody looks it runs, and it is never the same piece. */
static void piece_by_piece(void **state)
{
	(void)state;
	on_and_on(4, 8);
}

static int begin(void **state, uint32_t isolation)
{
	struct mk_ctx_params p = support_params("cpu", isolation);
	struct mk_handler_info info;
	int r;

	(void)state;
	p.hang_ns = HANG_NS;
	ctx = support_ctx_with(&p);
	q = support_queue(ctx, 16);
	other = support_queue(ctx, 16);
	assert_int_equal(mk_buffer_create(ctx, 8192, 0, &counters), 0);
	r = mk_module_load_source(ctx, "waits.c", source, 0, NULL);
	if (r)
		print_error("%s\n", mk_error_last()->text);
	assert_int_equal(r, 0);
	assert_int_equal(mk_handler_find(ctx, "waits", &info), 0);
	opcode = info.opcode;
	return 0;
}

static int begin_process(void **state)
{
	return begin(state, MK_ISOLATION_PROCESS);
}

static int begin_none(void **state)
{
	return begin(state, MK_ISOLATION_NONE);
}

static int end(void **state)
{
	(void)state;
	support_queue_end(q);
	support_queue_end(other);
	support_ctx_end(ctx);
	return 0;
}

#define BOTH(test)                                                      \
	cmocka_unit_test_setup_teardown(test, begin_process, end),      \
		cmocka_unit_test_setup_teardown(test, begin_none, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(nobody),
		BOTH(circle),
		BOTH(patience),
		BOTH(ping_pong),
		BOTH(piece_by_piece),
	};

	return cmocka_run_group_tests_name("context/await", tests, NULL, NULL);
}
