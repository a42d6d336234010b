/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers far behind a slot that takes long. The reaper looks for them a piece
 * at a time; the look before it sleeps, or after it armed the event fd, has to
 * cover all of them, since the engine has told of them already and will not
 * again. See BROKEN_PART_LOOK in model/waiter.pml.
 */
#include <poll.h>
#include <unistd.h>

#include <megakernel/handler.h>

#include "support/support.h"

#define ENTRIES 65536u
#define MANY 40000u
#define WAIT_NS 20000000000ull

struct none {
	uint32_t unused;
};

/* Runs until observable word 0 is set. */
MK_HANDLER(hold, struct none)
{
	uint64_t *word = mk_observable(task, 0);

	(void)args;
	while (!__atomic_load_n(word, __ATOMIC_ACQUIRE) &&
	       !mk_cancelled(task))
		usleep(100);
	return MK_OK;
}

MK_MODULE_DEFINE(test_module);

struct fixture {
	struct mk_ctx *ctx;
	struct mk_queue *q;
	uint16_t hold;
};

static void submit_many(struct fixture *f, unsigned n)
{
	while (n) {
		struct mk_slot *slots;
		int got = mk_queue_get(f->q, n, &slots);

		assert_true(got > 0);
		for (int i = 0; i < got; i++)
			mk_slot_init(&slots[i], MK_OP_NOP, 7);
		assert_int_equal(mk_queue_submit(f->q, slots, (unsigned)got),
				 got);
		n -= (unsigned)got;
	}
}

/* Until the engine has answered n slots, told of them, and sleeps again. */
static void wait_answered(struct fixture *f, uint64_t n)
{
	uint64_t end = support_now() + WAIT_NS;
	struct mk_ctx_stats stats;

	do {
		assert_true(support_now() < end);
		support_sleep(SUPPORT_MS);
		assert_int_equal(mk_ctx_stats(f->ctx, &stats), 0);
	} while (stats.slots < n);
	support_sleep(20 * SUPPORT_MS);
}

static int setup(void **state)
{
	static struct fixture f;
	struct mk_queue_params p = { .size = sizeof(p) };
	struct mk_handler_info info;
	uint32_t zero = 0;

	f.ctx = support_ctx("cpu", MK_ISOLATION_NONE);
	p.entries = ENTRIES;
	p.spin_ns = 1; /* sleep as soon as may be */
	assert_int_equal(mk_queue_create(f.ctx, &p, &f.q), 0);
	assert_int_equal(mk_module_load_static(f.ctx, &test_module, 0, NULL),
			 0);
	assert_int_equal(mk_handler_find(f.ctx, "hold", &info), 0);
	f.hold = info.opcode;
	support_submit(f.q, f.hold, 1, &zero, sizeof(zero));
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mk_queue_set_observable(f->q, 0, 1), 0);
	assert_int_equal(support_reap(f->q).user_data, 1);
	support_balance(f->q);
	support_queue_end(f->q);
	support_ctx_end(f->ctx);
	return 0;
}

static void wait_sees_all_before_it_sleeps(void **state)
{
	static struct mk_completion out[MANY];
	struct fixture *f = *state;

	submit_many(f, MANY);
	wait_answered(f, MANY);
	assert_int_equal(mk_queue_wait(f->q, MANY, WAIT_NS), MANY);
	assert_int_equal(mk_queue_reap(f->q, out, MANY), MANY);
}

/* The first look behind a slot that is missed is put off, not forgotten. */
static void reap_finds_what_is_behind(void **state)
{
	static struct mk_completion out[64];
	struct fixture *f = *state;
	uint64_t end = support_now() + WAIT_NS;
	unsigned all = 0;

	submit_many(f, 300);
	wait_answered(f, 300);
	while (all < 300) {
		int got = mk_queue_reap(f->q, out, 64);

		assert_true(support_now() < end);
		assert_true(got >= 0);
		for (int i = 0; i < got; i++)
			assert_int_equal(out[i].user_data, 7);
		all += (unsigned)got;
	}
	assert_int_equal(mk_queue_reap(f->q, out, 64), 0);
}

/* One was asked to end; what is ready before it is given all the same. */
static void reap_beside_a_cancel(void **state)
{
	struct fixture *f = *state;
	struct mk_completion out;
	uint32_t zero = 0;

	submit_many(f, 5);
	support_submit(f->q, f->hold, 9, &zero, sizeof(zero));
	support_submit(f->q, f->hold, 1, &zero, sizeof(zero));
	assert_int_equal(mk_queue_cancel(f->q, 9), 1);
	assert_int_equal(mk_queue_set_observable(f->q, 0, 1), 0);
	assert_int_equal(mk_queue_drain(f->q, WAIT_NS), 0);
	for (unsigned i = 0; i < 7; i++) {
		assert_int_equal(mk_queue_reap(f->q, &out, 1), 1);
		assert_int_equal(out.user_data, !i ? 1 : i == 6 ? 9 : 7);
	}
}

static void peek_sees_all_when_it_arms(void **state)
{
	static struct mk_completion out[2000];
	struct fixture *f = *state;
	int fd = mk_queue_event_fd(f->q);
	struct pollfd poller = { .fd = fd, .events = POLLIN };
	uint64_t count;

	assert_true(fd >= 0);
	submit_many(f, 2000);
	assert_int_equal(mk_queue_wait(f->q, 2000, WAIT_NS), 2000);
	assert_int_equal(mk_queue_reap(f->q, out, 2000), 2000);
	/* told of those: take that back */
	if (poll(&poller, 1, 0) == 1)
		assert_int_equal(read(fd, &count, sizeof(count)),
				 sizeof(count));
	/* the search goes round among slots that were freed out of order */
	assert_int_equal(mk_queue_peek(f->q, out, 1), 0);
	submit_many(f, 1);
	wait_answered(f, 2001);
	assert_int_equal(poll(&poller, 1, 20000), 1);
	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(mk_queue_reap(f->q, out, 1), 1);
	assert_int_equal(out[0].user_data, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(wait_sees_all_before_it_sleeps,
						setup, teardown),
		cmocka_unit_test_setup_teardown(reap_finds_what_is_behind,
						setup, teardown),
		cmocka_unit_test_setup_teardown(reap_beside_a_cancel, setup,
						teardown),
		cmocka_unit_test_setup_teardown(peek_sees_all_when_it_arms,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
