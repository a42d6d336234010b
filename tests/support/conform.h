/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table of cases, run on every engine, in a worker process and without;
 * what is not there is skipped and says why. The cpu engine without a process
 * is the oracle of the others.
 */
#ifndef MK_TEST_CONFORM_H
#define MK_TEST_CONFORM_H

#include "support/support.h"

struct conform {
	struct mk_ctx *ctx;
	struct mk_ctx *oracle; /* cpu, isolation none; another context */
	const char *engine;
	uint32_t isolation;
};

struct conform_case {
	const char *name;
	void (*run)(struct conform *c);
};

/* If set, it may change what a case's context is made with. */
extern void (*conform_params)(const char *name, struct mk_ctx_params *p);

/* Run all cases on all targets; what main() returns. */
int conform_main(const char *group, const struct conform_case *cases,
		 unsigned count);

#define CONFORM_MAIN(group, cases) \
	conform_main(group, cases, sizeof(cases) / sizeof((cases)[0]))

#endif
