/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of a process that is lost. What was posted whole is taken and
 * answered; what was not never will be; and neither keeps a place from the
 * slots that run afterwards, be it that the host looked in between or not.
 */
#include <megakernel/requests.h>

#include "rig.h"

#define RECORDS 4u

/* Asks n times, leaves `torn` places that it took half-written, counts in word
 * 2, and then waits for word 1, which says how often to have begun. */
static const char ask_source[] =
	"#include <megakernel/handler.h>\n"
	"struct ask { uint32_t n, torn; };\n"
	"MK_HANDLER(ask, struct ask)\n"
	"{\n"
	"	uint64_t *begun = mk_observable(task, 2), at = 0, mine;\n"
	"	uint64_t *go = mk_observable(task, 1);\n"
	"	struct mk_io_record r = { 0 };\n"
	"	r.op = 1;\n"
	"	for (uint32_t i = 0; i < args->n; i++)\n"
	"		while (mk_io_request(task, &r, &at))\n"
	"			if (mk_cancelled(task))\n"
	"				return -MK_ECANCELLED;\n"
	"	mk_fetch_add(&task->io->posted, args->torn);\n"
	"	mine = mk_fetch_add(begun, 1) + 1;\n"
	"	while (mine > mk_load(go))\n"
	"		if (mk_cancelled(task))\n"
	"			return -MK_ECANCELLED;\n"
	"	mk_value(task, at);\n"
	"	return MK_OK;\n"
	"}\n";

struct ask {
	uint32_t n, torn;
};

struct lost {
	struct mk_ctx *ctx;
	struct mk_queue *q;
	uint16_t ask;
};

static struct lost begin(void)
{
	struct mk_queue_params p = { .size = sizeof(p), .entries = 16,
				     .observables = 8,
				     .io_records = RECORDS };
	struct lost l = { .ctx = rig_ctx(MK_RECOVERY_BUDGET, 0) };
	struct mk_handler_info info;

	assert_int_equal(mk_module_load_source(l.ctx, "ask.c", ask_source, 0,
					       NULL), 0);
	assert_int_equal(mk_handler_find(l.ctx, "ask", &info), 0);
	l.ask = info.opcode;
	assert_int_equal(mk_queue_create(l.ctx, &p, &l.q), 0);
	return l;
}

static void submit(struct lost *l, uint8_t flags, uint32_t n, uint32_t torn)
{
	struct ask a = { n, torn };
	struct mk_slot *s;

	assert_int_equal(mk_queue_get_wait(l->q, 1, &s, SUPPORT_NS), 1);
	mk_slot_init(s, l->ask, n);
	s->flags = flags;
	memcpy(s->bytes, &a, sizeof(a));
	assert_int_equal(mk_queue_submit(l->q, s, 1), 1);
}

/* Take and answer all there is, until there were n. */
static void serve(struct lost *l, unsigned n)
{
	uint64_t deadline = support_now() + SUPPORT_NS;
	unsigned taken = 0;

	while (taken < n) {
		struct mk_io_asked a[RECORDS];
		int r = mk_queue_io_take(l->q, a, RECORDS);

		assert_true(r >= 0 && support_now() < deadline);
		for (int i = 0; i < r; i++)
			assert_int_equal(mk_queue_io_answer(l->q, a[i].at, 1,
							    0), 0);
		taken += (unsigned)r;
		support_sleep(SUPPORT_MS / 10);
	}
	assert_int_equal(taken, n);
}

static void kill_worker(struct lost *l)
{
	uint64_t losses = rig_stats(l->ctx).restarts;

	assert_int_equal(kill(rig_worker(l->ctx), SIGKILL), 0);
	while (rig_stats(l->ctx).restarts == losses)
		support_sleep(SUPPORT_MS);
}

/* Its places are full of requests from before it was lost; it asks again. */
static void asked_again(bool taken_before)
{
	struct lost l = begin();
	struct mk_io_info info;

	submit(&l, MK_SLOT_IDEMPOTENT, RECORDS, 0);
	rig_await_word(l.q, 2, 1);
	if (taken_before)
		serve(&l, RECORDS);
	kill_worker(&l);
	serve(&l, RECORDS * (taken_before ? 1 : 2));
	assert_int_equal(mk_queue_set_observable(l.q, 1, 100), 0);
	assert_int_equal(support_reap(l.q).result, 0);
	serve(&l, 0);
	assert_int_equal(mk_queue_io_take(l.q, NULL, 0), 0);
	assert_int_equal(mk_queue_io_info(l.q, &info), 0);
	assert_int_equal(info.posted, 2 * RECORDS);
	assert_int_equal(info.taken, 2 * RECORDS);
	support_queue_end(l.q);
	support_ctx_end(l.ctx);
}

static void answered_then_lost(void **state)
{
	(void)state;
	asked_again(true);
}

static void lost_then_answered(void **state)
{
	(void)state;
	asked_again(false);
}

/* Half-written when its process died: that no request comes of it any more is
 * known at once, not after the next loss. */
static void half_written(void **state)
{
	struct lost l = begin();
	struct mk_io_info info;

	(void)state;
	serve(&l, 0);
	submit(&l, 0, 1, RECORDS - 1);
	rig_await_word(l.q, 2, 1);
	kill_worker(&l);
	assert_int_equal(support_reap(l.q).result, -MK_EMAYRUN);
	assert_int_equal(mk_queue_set_observable(l.q, 1, 100), 0);
	submit(&l, 0, RECORDS, 0);
	serve(&l, 1 + RECORDS);
	assert_int_equal(support_reap(l.q).result, 0);
	assert_int_equal(mk_queue_io_take(l.q, NULL, 0), 0);
	assert_int_equal(mk_queue_io_info(l.q, &info), 0);
	assert_int_equal(info.posted, 2 * RECORDS);
	assert_int_equal(info.taken, 2 * RECORDS);
	support_queue_end(l.q);
	support_ctx_end(l.ctx);
}

/* A count that makes no sense is not believed afterwards either. */
static void nonsense(void **state)
{
	struct lost l = begin();
	struct mk_io_asked a[RECORDS];

	(void)state;
	submit(&l, 0, 1, 1000);
	rig_await_word(l.q, 2, 1);
	kill_worker(&l);
	assert_int_equal(support_reap(l.q).result, -MK_EMAYRUN);
	assert_int_equal(mk_queue_io_take(l.q, a, RECORDS), -MK_ESHARED);
	support_queue_end(l.q);
	support_ctx_end(l.ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answered_then_lost),
		cmocka_unit_test(lost_then_answered),
		cmocka_unit_test(half_written),
		cmocka_unit_test(nonsense),
	};

	return cmocka_run_group_tests_name("recovery/requests_lost", tests,
					   NULL, NULL);
}
