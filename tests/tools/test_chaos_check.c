/* SPDX-License-Identifier: Apache-2.0 */
/* The judge of `megakernel chaos`: it must find what is wrong, and the plan
 * must be the seed's. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chaos.h"
#include "support/support.h"

static struct chaos_tally judge(enum chaos_work work, bool idempotent,
				int32_t result, uint64_t value,
				uint64_t effect)
{
	struct chaos_record r = { .work = work, .idempotent = idempotent,
				  .expected = 42 };
	struct mk_completion c = { .result = result, .value = value };
	struct chaos_tally t;
	char why[160] = "";
	bool right;

	memset(&t, 0, sizeof(t));
	right = chaos_check(&t, &r, &c, effect, why, sizeof(why));
	assert_int_equal(right, !t.wrong && !t.twice && !t.lost);
	assert_int_equal(!right, strlen(why) > 0);
	assert_int_equal(t.ending[chaos_ending_of(result)], 1);
	return t;
}

#define RIGHT(...)                                          \
	do {                                                \
		struct chaos_tally t_ = judge(__VA_ARGS__); \
		assert_int_equal(t_.wrong + t_.twice, 0);   \
	} while (0)
#define WRONG(...) assert_int_equal(judge(__VA_ARGS__).wrong, 1)
#define TWICE(...) assert_int_equal(judge(__VA_ARGS__).twice, 1)

static void answers(void **state)
{
	(void)state;
	RIGHT(CHAOS_MIX, false, 0, 42, 0);
	WRONG(CHAOS_MIX, false, 0, 43, 0);
	WRONG(CHAOS_MIX, true, 0, 0, 0);
	WRONG(CHAOS_TWIST, false, 1, 42, 0);
	WRONG(CHAOS_ECHO, false, -MK_EOPCODE, 0, 0);
	WRONG(CHAOS_MIX, false, -MK_ECANCELLED, 0, 0);
	WRONG(CHAOS_MIX, false, -MK_EFAULT, 0, 0);
	/* what a lost device does to a slot */
	RIGHT(CHAOS_MIX, false, -MK_EMAYRUN, 0, 0);
	RIGHT(CHAOS_MIX, true, -MK_EPOISON, 0, 0);
	RIGHT(CHAOS_MIX, false, -MK_ENOTRUN, 0, 0);
	/* slots that have to be refused */
	RIGHT(CHAOS_STALE, false, -MK_EFOREIGN, 0, 0);
	WRONG(CHAOS_STALE, false, 0, 42, 0);
	RIGHT(CHAOS_LATE, false, -MK_EDEADLINE, 0, 0);
	WRONG(CHAOS_LATE, false, 0, 42, 1);
	WRONG(CHAOS_MARK, false, -MK_EDEADLINE, 0, 0);
}

static void effects(void **state)
{
	(void)state;
	RIGHT(CHAOS_MARK, false, 0, 42, 1);
	WRONG(CHAOS_MARK, false, 0, 42, 0); /* says that it ran */
	TWICE(CHAOS_MARK, false, 0, 42, 2);
	RIGHT(CHAOS_MARK, true, 0, 42, 2);
	WRONG(CHAOS_MARK, true, 0, 42, 0);
	RIGHT(CHAOS_MARK, false, -MK_EMAYRUN, 0, 0);
	RIGHT(CHAOS_MARK, false, -MK_EMAYRUN, 0, 1);
	TWICE(CHAOS_MARK, false, -MK_EMAYRUN, 0, 2);
	RIGHT(CHAOS_MARK, true, -MK_EPOISON, 0, 2);
	RIGHT(CHAOS_MARK, false, -MK_ENOTRUN, 0, 0);
	WRONG(CHAOS_MARK, false, -MK_ENOTRUN, 0, 1); /* says it did not */
	WRONG(CHAOS_LATE, false, -MK_EDEADLINE, 0, 1);
	TWICE(CHAOS_LATE, false, -MK_EDEADLINE, 0, 2);
}

static struct chaos_plan plan(uint64_t seed, bool cpu, bool process,
			      const char *names)
{
	struct chaos_plan p;

	memset(&p, 0, sizeof(p));
	assert_int_equal(chaos_plan_init(&p, seed, cpu, process, names), 0);
	return p;
}

static void plans(void **state)
{
	struct chaos_plan a = plan(7, true, true, NULL);
	struct chaos_plan b = plan(7, true, true, NULL);
	struct chaos_plan c = plan(8, true, true, NULL);
	unsigned seen[CHAOS_KINDS] = { 0 };

	(void)state;
	assert_true(chaos_plan_digest(&a, 100) == chaos_plan_digest(&b, 100));
	assert_true(chaos_plan_digest(&a, 100) != chaos_plan_digest(&a, 99));
	assert_true(chaos_plan_digest(&a, 100) != chaos_plan_digest(&c, 100));
	for (unsigned i = 0; i < 5000; i++)
		seen[chaos_plan_fault(&a, i).kind]++;
	for (unsigned k = 0; k < CHAOS_KINDS; k++)
		assert_true(seen[k] > 0);
	/* so that a recorded seed means the same tomorrow */
	assert_int_equal(chaos_mix(0), 0xe220a8397b1dcdafull);
}

static void plans_leave_out(void **state)
{
	struct chaos_plan p = plan(1, true, true, "hang,sigkill");
	struct chaos_plan q;
	unsigned hangs = 0;

	(void)state;
	for (unsigned i = 0; i < 500; i++) {
		struct chaos_fault f = chaos_plan_fault(&p, i);

		assert_true(f.kind == CHAOS_HANG || f.kind == CHAOS_SIGKILL);
		hangs += f.kind == CHAOS_HANG;
	}
	assert_true(hangs > 0 && hangs < 500);
	p = plan(1, true, false, NULL);
	for (unsigned i = 0; i < 500; i++)
		assert_false(chaos_kinds[chaos_plan_fault(&p, i).kind].flags &
			     CHAOS_PROCESS_ONLY);
	p = plan(1, false, true, NULL);
	for (unsigned i = 0; i < 500; i++)
		assert_false(chaos_kinds[chaos_plan_fault(&p, i).kind].flags &
			     CHAOS_CPU_ONLY);
	memset(&q, 0, sizeof(q));
	assert_int_equal(chaos_plan_init(&q, 1, true, true, "hang,no"), -1);
	memset(&q, 0, sizeof(q));
	assert_int_equal(chaos_plan_init(&q, 1, true, true, "han"), -1);
	memset(&q, 0, sizeof(q));
	assert_int_equal(chaos_plan_init(&q, 1, false, true, "crash"), -1);
}

static void times(void **state)
{
	struct chaos_times t = { 0 };

	(void)state;
	assert_int_equal(chaos_times_at(&t, 0.5), 0);
	for (uint64_t i = 1000; i > 0; i--)
		chaos_times_add(&t, i);
	assert_int_equal(chaos_times_at(&t, 0), 1);
	assert_int_equal(chaos_times_at(&t, 0.5), 501);
	assert_int_equal(chaos_times_at(&t, 1), 1000);
	chaos_times_add(&t, 5000);
	assert_int_equal(chaos_times_at(&t, 1), 5000);
	chaos_times_free(&t);
}

/* ---- the verdict ----------------------------------------------------- */

static const char *verdict(const struct chaos *c)
{
	static char out[512];

	chaos_verdict(c, out, sizeof(out));
	return out;
}

static void verdicts(void **state)
{
	struct chaos *c = calloc(1, sizeof(*c));
	char little[8];

	(void)state;
	assert_non_null(c);
	assert_string_equal(verdict(c), "");
	c->seen[CHAOS_DESCRIPTORS].injected = 13;
	c->seen[CHAOS_DESCRIPTORS].noticed = 13;
	assert_string_equal(verdict(c), "");
	c->seen[CHAOS_DESCRIPTORS].noticed = 12;
	assert_string_equal(verdict(c), "1 of 13 descriptors not noticed");
	c->tally.lost = 2;
	c->tally.wrong = 3;
	assert_string_equal(verdict(c), "2 lost; 3 wrong; "
			    "1 of 13 descriptors not noticed");
	chaos_verdict(c, little, sizeof(little));
	assert_string_equal(little, "2 lost");
	memset(c, 0, sizeof(*c));
	c->tally.twice = 1;
	assert_string_equal(verdict(c), "1 answered or run twice");
	c->tally.twice = 0;
	c->stuck = true;
	assert_true(strstr(verdict(c), "did not come again") != NULL);
	free(c);
}

/* A worker that something else has ended meanwhile was not struck. */
static void blows(void **state)
{
	struct chaos *c = calloc(1, sizeof(*c));
	struct chaos_blow blow;
	pid_t pid = fork();
	int status;

	(void)state;
	assert_non_null(c);
	assert_true(pid >= 0);
	if (!pid) {
		pause();
		_exit(0);
	}
	assert_int_equal(chaos_strike(c, pid, SIGKILL, &blow), 0);
	assert_true(blow.at_ns > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(chaos_strike(c, pid, SIGKILL, &blow), -ESRCH);
	free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(effects),
		cmocka_unit_test(plans),
		cmocka_unit_test(plans_leave_out),
		cmocka_unit_test(times),
		cmocka_unit_test(verdicts),
		cmocka_unit_test(blows),
	};

	return cmocka_run_group_tests_name("tools/chaos_check", tests, NULL,
					   NULL);
}
