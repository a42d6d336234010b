/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a context with one queue of 1,024 slots takes: under 8 MiB more in the
 * caller, under 16 MiB in the worker process. After work, so that everything
 * that is touched has been.
 *
 * ctest-once
 */
#include <stdio.h>

#include "support/support.h"

/* Resident memory of a process in KiB; 0: unknown. */
static unsigned long resident_kib(int pid)
{
	char path[64], line[256];
	unsigned long kib = 0;
	FILE *f;

	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	else
		snprintf(path, sizeof(path), "/proc/self/smaps_rollup");
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Rss: %lu kB", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

static void work(struct mk_queue *q)
{
	struct mk_completion done[64];

	for (unsigned reaped = 0; reaped < 10000;) {
		struct mk_slot *s;
		int n = mk_queue_get(q, 64, &s);

		for (int i = 0; i < n; i++)
			mk_slot_init(s + i, MK_OP_NOP, 0);
		if (n > 0)
			assert_int_equal(mk_queue_submit(q, s, (unsigned)n),
					 n);
		n = mk_queue_wait(q, 1, SUPPORT_NS);
		assert_true(n > 0);
		n = mk_queue_reap(q, done, 64);
		assert_true(n > 0);
		reaped += (unsigned)n;
	}
}

static void fits(void **state)
{
	unsigned long before = resident_kib(0), after, worker;
	struct mk_ctx_info info;
	struct mk_queue *q;
	struct mk_ctx *ctx;

	(void)state;
	if (!before || SUPPORT_SANITIZED)
		skip();
	assert_int_equal(mk_ctx_create(NULL, &ctx), 0);
	assert_int_equal(mk_queue_create(ctx, NULL, &q), 0);
	work(q);
	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	after = resident_kib(0);
	worker = resident_kib(info.worker_pid);
	assert_true(worker > 0);
	assert_in_range(worker, 1, 16 * 1024 - 1);
	assert_true(after < before + 8 * 1024);
	support_ctx_end(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
