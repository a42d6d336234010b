/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 240 */
/*
 * Slots that hang are found, asked, put on record and ended; slots that are
 * late are asked; slots that take long and say so are left alone.
 */
#include "rig.h"

#include <dirent.h>

#define HANG_NS (100 * SUPPORT_MS)
/* longer than a thread waits for its core on a busy machine */
#define LONG_NS (1000 * SUPPORT_MS)

static struct mk_ctx *patient_ctx(uint32_t isolation, uint64_t hang_ns,
				  const char *evidence)
{
	struct mk_ctx_params p = support_params("cpu", isolation);

	p.workers = 3;
	p.hang_ns = hang_ns;
	p.restart_delay_ns = 1;
	p.evidence_dir = evidence;
	return support_ctx_with(&p);
}

static void has(const char *text, const char *what)
{
	if (!strstr(text, what))
		fail_msg("\"%s\" is not in:\n%s", what, text);
}

/* An endless loop: named in the evidence, ended; the others go on. */
static void loop(void **state)
{
	char dir[] = "/tmp/mk-evidence-XXXXXX", path[300], text[20000];
	struct mk_ctx *ctx;
	struct mk_queue *q;
	struct dirent *d;
	unsigned files = 0;
	uint64_t begun;
	uint16_t bad;
	DIR *list;

	(void)state;
	assert_non_null(mkdtemp(dir));
	ctx = patient_ctx(MK_ISOLATION_PROCESS, HANG_NS, dir);
	q = support_queue(ctx, 64);
	bad = rig_load(ctx);
	assert_int_equal(mk_ctx_evidence(ctx, MK_EVIDENCE_TEXT, text,
					 sizeof(text)), 0);
	begun = support_now();
	rig_submit(q, bad, 0xabc, 0, BAD_LOOP, 0);
	for (uint64_t i = 1; i <= 20; i++)
		rig_submit(q, bad, i, 0, BAD_NOT, 2);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(support_reap(q).result, 7);
	assert_int_equal(support_reap(q).result, -MK_EHUNG);
	/* never before its time; how long after is the machine's affair */
	assert_true(support_now() - begun >= HANG_NS);
	rig_await_restarts(ctx, 1);
	rig_submit(q, bad, 1, 0, BAD_NOT, 2);
	assert_int_equal(support_reap(q).result, 7);
	assert_int_equal(rig_stats(ctx).hangs, 1);
	assert_int_equal(rig_stats(ctx).hung, 1);
	assert_int_equal(support_balance(q).hung, 1);
	assert_true(mk_ctx_evidence(ctx, MK_EVIDENCE_TEXT, text,
				    sizeof(text)) < (int64_t)sizeof(text));
	has(text, "hang: handler bad (opcode");
	has(text, "running bad (opcode");
	has(text, "user_data 0xabc");
	mk_ctx_evidence(ctx, MK_EVIDENCE_JSON, text, sizeof(text));
	has(text, "{\"format\":\"megakernel evidence\",\"version\":1,");
	has(text, "\"cause\":\"hang\"");
	has(text, "\"phase\":\"running\"");
	has(text, "\"args\":[6,0,0,0,");
	support_queue_end(q);
	support_ctx_end(ctx);
	list = opendir(dir);
	assert_non_null(list);
	while ((d = readdir(list))) {
		if (d->d_name[0] == '.')
			continue;
		assert_int_equal(strncmp(d->d_name, "evidence-", 9), 0);
		snprintf(path, sizeof(path), "%s/%s", dir, d->d_name);
		assert_int_equal(unlink(path), 0);
		files++;
	}
	closedir(list);
	assert_int_equal(files, 2);
	assert_int_equal(rmdir(dir), 0);
}

/* All has stopped: what ran is blamed, though it is asked first, and what
 * nobody had begun runs. */
static void not_begun(void **state)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_PROCESS);
	struct mk_queue *ran, *waited;
	struct mk_ctx *ctx;
	char text[20000];
	uint16_t bad;

	(void)state;
	p.workers = 3;
	p.hang_ns = HANG_NS;
	p.grace_ns = 20 * HANG_NS;
	p.restart_delay_ns = 1;
	ctx = support_ctx_with(&p);
	ran = support_queue(ctx, 16);
	waited = support_queue(ctx, 16);
	bad = rig_load(ctx);
	rig_submit(ran, bad, 1, 0, BAD_PROGRESS, 0);
	rig_await_word(ran, 0, 1);
	rig_stop(rig_worker(ctx));
	for (uint64_t i = 0; i < 10; i++)
		rig_submit(waited, bad, i, 0, BAD_NOT, 0);
	assert_int_equal(support_reap(ran).result, -MK_EHUNG);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(support_reap(waited).result, 7);
	assert_int_equal(rig_stats(ctx).hangs, 1);
	assert_int_equal(rig_stats(ctx).hung, 1);
	assert_true(mk_ctx_evidence(ctx, MK_EVIDENCE_TEXT, text,
				    sizeof(text)) < (int64_t)sizeof(text));
	has(text, "ticket 0 of queue 0: its worker process was killed");
	support_queue_end(ran);
	support_queue_end(waited);
	support_ctx_end(ctx);
}

/* One that heeds the request ends by itself, and nothing is lost. */
static void asked(void **state)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_PROCESS);
	struct mk_queue *q;
	struct mk_ctx *ctx;
	uint16_t bad;

	(void)state;
	p.hang_ns = HANG_NS;
	p.grace_ns = SUPPORT_NS;
	ctx = support_ctx_with(&p);
	q = support_queue(ctx, 64);
	bad = rig_load(ctx);
	rig_submit(q, bad, 1, 0, BAD_UNTIL_CANCELLED, 0);
	assert_int_equal(support_reap(q).result, -MK_ECANCELLED);
	assert_int_equal(rig_stats(ctx).losses, 0);
	/* the next one there is not asked */
	for (unsigned i = 0; i < 200; i++) {
		rig_submit(q, bad, i, 0, BAD_NOT, 0);
		assert_int_equal(support_reap(q).result, 7);
	}
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* Longer than hang_ns, and says so; another waits behind a fence. */
static void progress(void **state)
{
	struct mk_ctx *ctx = patient_ctx(MK_ISOLATION_PROCESS, LONG_NS, NULL);
	struct mk_queue *q = support_queue(ctx, 64);
	uint16_t bad = rig_load(ctx);

	(void)state;
	rig_submit(q, bad, 1, 0, BAD_PROGRESS, 0);
	support_submit(q, MK_OP_FENCE, 2, NULL, 0);
	rig_await_word(q, 0, 1);
	support_sleep(3 * LONG_NS);
	assert_int_equal(rig_stats(ctx).losses, 0);
	assert_int_equal(mk_queue_set_observable(q, 1, 1), 0);
	assert_int_equal(support_reap(q).result, 7);
	assert_int_equal(support_reap(q).result, 0);
	assert_int_equal(rig_stats(ctx).losses, 0);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* A process that is stopped names nothing: its queue stands still. */
static void stopped(void **state)
{
	struct mk_ctx *ctx = patient_ctx(MK_ISOLATION_PROCESS, HANG_NS, NULL);
	struct mk_queue *q = support_queue(ctx, 64);
	pid_t pid = rig_worker(ctx);

	(void)state;
	support_submit(q, MK_OP_NOP, 1, NULL, 0);
	assert_int_equal(support_reap(q).result, 0);
	rig_stop(pid);
	for (uint64_t i = 0; i < 10; i++) {
		struct mk_op_word w = { .word = 0, .operand = 1 };

		support_submit(q, MK_OP_ADD, i, &w, sizeof(w));
	}
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(support_reap(q).result, 0);
	assert_int_equal(rig_word(q, 0), 10);
	assert_int_not_equal(rig_worker(ctx), pid);
	assert_int_equal(rig_stats(ctx).hangs, 1);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* Nothing published, a slot that was got and not submitted, a paused engine:
 * none of them is a hang. */
static void patience(void **state)
{
	struct mk_ctx *ctx = patient_ctx(MK_ISOLATION_PROCESS, LONG_NS, NULL);
	struct mk_queue *q = support_queue(ctx, 64);
	struct mk_slot *s;

	(void)state;
	assert_int_equal(mk_queue_get(q, 1, &s), 1);
	support_submit(q, MK_OP_NOP, 2, NULL, 0);
	support_sleep(3 * LONG_NS);
	mk_slot_init(s, MK_OP_NOP, 1);
	assert_int_equal(mk_queue_submit(q, s, 1), 1);
	assert_int_equal(support_reap(q).result, 0);
	assert_int_equal(support_reap(q).result, 0);
	assert_int_equal(mk_ctx_quiesce(ctx, SUPPORT_NS), 0);
	support_submit(q, MK_OP_NOP, 3, NULL, 0);
	support_sleep(3 * LONG_NS);
	assert_int_equal(mk_ctx_resume(ctx), 0);
	assert_int_equal(support_reap(q).result, 0);
	assert_int_equal(rig_stats(ctx).losses, 0);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* Isolation none: told, and not ended. */
static void told(void **state)
{
	struct mk_ctx *ctx = patient_ctx(MK_ISOLATION_NONE, HANG_NS, NULL);
	struct mk_queue *q = support_queue(ctx, 64);
	uint64_t end = support_now() + SUPPORT_NS;
	uint16_t bad = rig_load(ctx);
	struct mk_error e;
	char text[8000];

	(void)state;
	/* looks at word 1 only */
	rig_submit(q, bad, 1, 0, BAD_DEAF, 0);
	while (!mk_ctx_error(ctx, &e)) {
		assert_true(support_now() < end);
		support_sleep(SUPPORT_MS);
	}
	assert_int_equal(e.code, -MK_EHUNG);
	assert_true(mk_ctx_evidence(ctx, MK_EVIDENCE_TEXT, text,
				    sizeof(text)) > 0);
	has(text, "running bad");
	/* cannot be ended: a code, and no block */
	assert_true(mk_queue_stop(q, 0) == 1);
	assert_int_equal(mk_ctx_destroy(ctx, 20 * SUPPORT_MS), -ETIME);
	assert_int_equal(mk_queue_set_observable(q, 1, 1), 0);
	assert_int_equal(support_reap(q).result, 7);
	support_ctx_end(ctx);
}

/* ---- late --------------------------------------------------------------- */

/* With a deadline that it begins before, on however busy a machine. */
static int overrun(struct mk_ctx *ctx, struct mk_queue *q, uint16_t bad,
		   uint32_t how, bool by_default)
{
	struct bad args = { .how = how };
	uint64_t ns = 20 * SUPPORT_MS;
	int r;

	do {
		struct mk_slot *s = rig_slot(q, bad, 1, 0, &args);

		assert_true(ns < SUPPORT_NS);
		if (by_default)
			assert_int_equal(mk_ctx_deadline(ctx, bad, ns), 0);
		else
			assert_int_equal(mk_slot_deadline(q, s, support_now() +
								ns), 0);
		assert_int_equal(mk_queue_submit(q, s, 1), 1);
		r = support_reap(q).result;
		ns *= 2;
	} while (r == -MK_EDEADLINE);
	return r;
}

static void late(void **state)
{
	struct mk_ctx *ctx = rig_ctx(MK_RECOVERY_BUDGET, 0);
	struct mk_queue *q = support_queue(ctx, 64);
	uint16_t bad = rig_load(ctx);
	struct bad not = { .how = BAD_NOT, .word = 3 };
	struct mk_slot *s;

	(void)state;
	assert_int_equal(overrun(ctx, q, bad, BAD_UNTIL_CANCELLED, false),
			 -MK_EOVERRUN);
	/* passed before */
	s = rig_slot(q, bad, 2, 0, &not);
	assert_int_equal(mk_slot_deadline(q, s, 1), 0);
	assert_int_equal(mk_queue_submit(q, s, 1), 1);
	assert_int_equal(support_reap(q).result, -MK_EDEADLINE);
	assert_int_equal(rig_word(q, 3), 0);
	/* the default of the opcode */
	assert_int_equal(mk_ctx_deadline(ctx, 255, 1), -MK_EOPCODE);
	assert_int_equal(overrun(ctx, q, bad, BAD_UNTIL_CANCELLED, true),
			 -MK_EOVERRUN);
	/* one of its own goes first */
	assert_int_equal(mk_ctx_deadline(ctx, bad, 1), 0);
	s = rig_slot(q, bad, 4, 0, &not);
	assert_int_equal(mk_slot_deadline(q, s, UINT64_MAX), 0);
	assert_int_equal(mk_queue_submit(q, s, 1), 1);
	assert_int_equal(support_reap(q).result, 7);
	/* mixed with others, which get none */
	assert_int_equal(mk_queue_get(q, 2, &s), 2);
	mk_slot_init(&s[0], MK_OP_NOP, 5);
	mk_slot_init(&s[1], bad, 6);
	assert_int_equal(mk_queue_submit(q, s, 2), 2);
	assert_int_equal(s[0].flags, 0);
	assert_int_equal(s[1].flags, MK_SLOT_DEADLINE);
	support_reap(q);
	support_reap(q);
	assert_int_equal(mk_ctx_deadline(ctx, bad, 0), 0);
	rig_submit(q, bad, 7, 0, BAD_NOT, 0);
	assert_int_equal(support_reap(q).result, 7);
	assert_int_equal(support_balance(q).overrun, 2);
	assert_int_equal(rig_stats(ctx).losses, 0);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* Hung, and past its deadline: that is its ending. */
static void late_and_deaf(void **state)
{
	struct mk_ctx *ctx = patient_ctx(MK_ISOLATION_PROCESS, LONG_NS, NULL);
	struct mk_queue *q = support_queue(ctx, 64);
	uint16_t bad = rig_load(ctx);

	(void)state;
	assert_int_equal(overrun(ctx, q, bad, BAD_LOOP, false), -MK_EOVERRUN);
	assert_int_equal(rig_stats(ctx).overrun, 1);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* ---- no longer wanted --------------------------------------------------- */

static void cancels(void **state)
{
	struct mk_ctx *ctx = rig_ctx(MK_RECOVERY_BUDGET, 0);
	struct mk_queue *q[2];
	uint16_t bad = rig_load(ctx);

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		q[i] = support_queue(ctx, 64);
	for (unsigned lap = 0; lap < 20; lap++) {
		int64_t n;

		/* three run, on three workers; the others do not begin */
		for (uint64_t i = 0; i < 3; i++)
			rig_submit(q[0], bad, i, 0, BAD_UNTIL_CANCELLED, 2);
		rig_await_word(q[0], 2, 3 * (lap + 1));
		for (uint64_t i = 3; i < 20; i++)
			rig_submit(q[0], bad, i, 0, BAD_NOT, 3);
		rig_submit(q[1], bad, 20, 0, BAD_NOT, 3);
		n = lap ? mk_ctx_cancel(ctx) : mk_queue_cancel_all(q[0]);
		assert_int_equal(n, lap ? 21 : 20);
		for (unsigned i = 0; i < 20; i++)
			assert_int_equal(support_reap(q[0]).result,
					 -MK_ECANCELLED);
		/* no worker that the first queue set free takes it before it
		 * is cancelled, too */
		assert_int_equal(support_reap(q[1]).result,
				 lap ? -MK_ECANCELLED : 7);
		assert_int_equal(rig_word(q[0], 3), 0);
	}
	/* what comes after is not meant */
	rig_submit(q[0], bad, 1, 0, BAD_NOT, 3);
	assert_int_equal(support_reap(q[0]).result, 7);
	assert_int_equal(mk_ctx_cancel(ctx), 0);
	for (unsigned i = 0; i < 2; i++)
		support_queue_end(q[i]);
	support_ctx_end(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loop),	   cmocka_unit_test(not_begun),
		cmocka_unit_test(asked),
		cmocka_unit_test(progress), cmocka_unit_test(stopped),
		cmocka_unit_test(patience), cmocka_unit_test(told),
		cmocka_unit_test(late),	   cmocka_unit_test(late_and_deaf),
		cmocka_unit_test(cancels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
