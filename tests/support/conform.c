/* SPDX-License-Identifier: Apache-2.0 */
#include "support/conform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENGINES_MAX 16
#define NAME_BYTES 96

/* A case on a target: the state of one cmocka test. */
struct job {
	const struct conform_case *c; /* NULL: stands for all, to be skipped */
	struct mk_engine_info engine;
	uint32_t isolation;
	char name[NAME_BYTES];
};

void (*conform_params)(const char *name, struct mk_ctx_params *p);

static struct mk_ctx *oracle;

static void run_job(void **state)
{
	const struct job *job = *state;
	struct mk_ctx_params p = support_params(job->engine.name,
						job->isolation);
	struct conform c = {
		.oracle = oracle,
		.engine = job->engine.name,
		.isolation = job->isolation,
	};

	if (!job->c) {
		print_message("%s device %u: %s\n", job->engine.name,
			      job->engine.device, job->engine.reason);
		skip();
	}
	p.device = job->engine.device;
	if (conform_params)
		conform_params(job->c->name, &p);
	c.ctx = support_ctx_with(&p);
	job->c->run(&c);
	support_ctx_end(c.ctx);
}

static int begin(void **state)
{
	(void)state;
	oracle = support_ctx("cpu", MK_ISOLATION_NONE);
	return 0;
}

static int end(void **state)
{
	(void)state;
	support_ctx_end(oracle);
	return 0;
}

static void add(struct CMUnitTest *test, struct job *job)
{
	memset(test, 0, sizeof(*test));
	snprintf(job->name, sizeof(job->name), "%s/%s: %s", job->engine.name,
		 job->isolation == MK_ISOLATION_NONE ? "none" : "process",
		 job->c ? job->c->name : "all cases");
	test->name = job->name;
	test->test_func = run_job;
	test->initial_state = job;
}

int conform_main(const char *group, const struct conform_case *cases,
		 unsigned count)
{
	static const uint32_t isolations[] = { MK_ISOLATION_NONE,
					       MK_ISOLATION_PROCESS };
	struct mk_engine_info engine[ENGINES_MAX];
	int engines = mk_engine_list(engine, ENGINES_MAX);
	unsigned n = 0, r;
	struct CMUnitTest *tests;
	struct job *jobs;

	if (engines > ENGINES_MAX)
		engines = ENGINES_MAX;
	tests = calloc(2u * (unsigned)engines * count, sizeof(*tests));
	jobs = calloc(2u * (unsigned)engines * count, sizeof(*jobs));
	if (!tests || !jobs)
		return 1;
	for (int e = 0; e < engines; e++)
		for (unsigned i = 0; i < 2; i++)
			for (unsigned k = 0; k < count; k++, n++) {
				jobs[n].c = engine[e].available ? NULL :
								  &cases[k];
				jobs[n].engine = engine[e];
				jobs[n].isolation = isolations[i];
				add(&tests[n], &jobs[n]);
				if (engine[e].available)
					k = count;
			}
	/* "cuda/none: *": for a machine on which a case may hang */
	if (getenv("MK_CONFORM_ONLY"))
		cmocka_set_test_filter(getenv("MK_CONFORM_ONLY"));
	if (getenv("MK_CONFORM_NOT"))
		cmocka_set_skip_filter(getenv("MK_CONFORM_NOT"));
	r = (unsigned)_cmocka_run_group_tests(group, tests, n, begin, end);
	free(jobs);
	free(tests);
	return r ? 1 : 0;
}
