/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 240 */
/*
 * Handlers that crash and processes that are killed, and a context that comes
 * back by itself: every slot ends once, with the code that says what is known.
 */
#include "rig.h"

/* ---- a crash costs its own slot ----------------------------------------- */

static void crashes(void **state)
{
	static const struct {
		uint32_t how;
		int sig;
	} kinds[] = {
		{ BAD_SEGV, SIGSEGV },	{ BAD_ABORT, SIGABRT },
		{ BAD_FPE, SIGFPE },	{ BAD_STACK, SIGSEGV },
		{ BAD_BUS, SIGBUS },	{ BAD_TRAP, SIGILL },
	};
	struct mk_ctx *ctx = rig_ctx(MK_RECOVERY_BUDGET, 0);
	struct mk_queue *q = support_queue(ctx, 64);
	uint16_t bad = rig_load(ctx);
	unsigned n = sizeof(kinds) / sizeof(kinds[0]), may = 0;
	struct mk_ctx_stats s;

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		char text[4096], sig[16];
		bool seen[32] = { false };

		for (uint64_t k = 0; k < 10; k++)
			support_submit(q, MK_OP_NOP, k, NULL, 0);
		rig_submit(q, bad, 10, 0, kinds[i].how, 0);
		for (uint64_t k = 11; k < 21; k++)
			rig_submit(q, bad, k, 0, BAD_NOT, 2);
		for (unsigned k = 0; k < 21; k++) {
			struct mk_completion c = support_reap(q);

			assert_true(c.user_data < 21 && !seen[c.user_data]);
			seen[c.user_data] = true;
			/* those that ran beside it had a moment to finish,
			 * if they had a core as well */
			if (c.user_data == 10)
				assert_int_equal(c.result, -MK_EFAULT);
			else if (c.user_data < 10)
				assert_int_equal(c.result, 0);
			else if (c.result != 7)
				assert_int_equal(c.result, -MK_EMAYRUN);
			may += c.result == -MK_EMAYRUN;
		}
		assert_true(may <= 2 * (i + 1));
		assert_int_equal(rig_word(q, 0), i + 1);
		s = rig_await_restarts(ctx, i + 1);
		assert_int_equal(s.crashes, i + 1);
		assert_int_equal(s.faulted, i + 1);
		assert_true(mk_ctx_evidence(ctx, MK_EVIDENCE_TEXT, text,
					    sizeof(text)) > 0);
		snprintf(sig, sizeof(sig), "signal %d", kinds[i].sig);
		assert_non_null(strstr(text, sig));
		assert_non_null(strstr(text, "crashed bad (opcode"));
	}
	assert_int_equal(s.may_run, may);
	assert_int_equal(s.losses, n);
	assert_int_equal(s.launches, n + 1);
	support_balance(q);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* Idempotent: tried twice, then quarantined; or good the second time. */
static void poison(void **state)
{
	struct mk_ctx *ctx = rig_ctx(MK_RECOVERY_BUDGET, 0);
	struct mk_queue *q = support_queue(ctx, 16);
	uint16_t bad = rig_load(ctx);
	struct bad once = { .how = BAD_SEGV, .word = 2, .times = 1 };

	(void)state;
	rig_submit(q, bad, 1, MK_SLOT_IDEMPOTENT, BAD_SEGV, 0);
	assert_int_equal(support_reap(q).result, -MK_EPOISON);
	assert_int_equal(rig_word(q, 0), 2);
	assert_int_equal(mk_queue_submit(q, rig_slot(q, bad, 2,
						     MK_SLOT_IDEMPOTENT,
						     &once), 1), 1);
	assert_int_equal(support_reap(q).result, 7);
	assert_int_equal(rig_word(q, 2), 2);
	assert_int_equal(rig_stats(ctx).poisoned, 1);
	assert_int_equal(rig_stats(ctx).crashes, 3);
	assert_int_equal(support_balance(q).poisoned, 1);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* ---- killed from outside ------------------------------------------------ */

/* What ran may have run, or runs again; what did not begin runs. */
static void killed(void **state)
{
	struct mk_ctx *ctx = rig_ctx(MK_RECOVERY_BUDGET, 0);
	struct mk_queue *q = support_queue(ctx, 64);
	uint16_t bad = rig_load(ctx);
	struct bad wait = { .how = BAD_NOT, .wait = 1, .word = 2 };
	struct bad again = { .how = BAD_NOT, .wait = 1, .word = 3 };
	struct mk_slot *s;

	(void)state;
	s = rig_slot(q, bad, 1, 0, &wait);
	assert_int_equal(mk_queue_submit(q, s, 1), 1);
	s = rig_slot(q, bad, 2, MK_SLOT_IDEMPOTENT, &again);
	assert_int_equal(mk_queue_submit(q, s, 1), 1);
	rig_await_word(q, 2, 1);
	rig_await_word(q, 3, 1);
	assert_int_equal(kill(rig_worker(ctx), SIGKILL), 0);
	assert_int_equal(support_reap(q).result, -MK_EMAYRUN);
	rig_await_word(q, 3, 2);
	/* alive again: published while it was away, or after */
	rig_submit(q, bad, 3, 0, BAD_NOT, 0);
	assert_int_equal(support_reap(q).user_data, 3);
	assert_int_equal(mk_queue_set_observable(q, 1, 1), 0);
	assert_int_equal(support_reap(q).result, 7);
	assert_int_equal(rig_word(q, 2), 1);
	assert_int_equal(rig_stats(ctx).deaths, 1);
	assert_int_equal(rig_stats(ctx).crashes, 0);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* Many slots that take a moment each, and a worker that is killed again and
 * again: what is said to have run ran, what is said to run again did. */
static void killed_at_work(void **state)
{
	struct mk_ctx *ctx = rig_ctx(MK_RECOVERY_BUDGET, 0);
	struct mk_queue *q = support_queue(ctx, 256);
	unsigned sent = 0, ok = 0, may = 0, kills = 0;

	(void)state;
	while (sent < 20000 || ok + may < sent) {
		struct mk_completion c[64];
		struct mk_slot *s;
		int n = sent < 20000 ? mk_queue_get(q, 32, &s) : 0;

		for (int i = 0; i < n; i++) {
			mk_slot_init(&s[i], MK_OP_ADD, sent + (unsigned)i);
			s[i].arg64[1] = 1;
		}
		if (n > 0) {
			assert_int_equal(mk_queue_submit(q, s, (unsigned)n),
					 n);
			sent += (unsigned)n;
		}
		if (sent / 1000 > kills) {
			pid_t pid = rig_worker(ctx);

			if (pid > 0)
				kill(pid, SIGKILL);
			kills++;
		}
		n = mk_queue_reap(q, c, 64);
		assert_true(n >= 0);
		for (int i = 0; i < n; i++) {
			ok += c[i].result == 0;
			may += c[i].result == -MK_EMAYRUN;
			if (c[i].result && c[i].result != -MK_EMAYRUN)
				fail_msg("%s", mk_code_name(c[i].result));
		}
	}
	assert_int_equal(ok + may, sent);
	assert_true(rig_word(q, 0) >= ok && rig_word(q, 0) <= ok + may);
	/* at most what three workers had in hand each time */
	assert_true(may <= 3 * rig_stats(ctx).losses);
	support_balance(q);
	support_queue_end(q);
	support_ctx_end(ctx);
	assert_int_equal(support_children(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crashes),
		cmocka_unit_test(poison),
		cmocka_unit_test(killed),
		cmocka_unit_test(killed_at_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
