/* SPDX-License-Identifier: Apache-2.0 */
/* OpenMP: a task for each no-op. The others of the team wait at the end of
 * the single region, where they take tasks. */
#include "peers.h"

static void omp_submit(void *state, const uint32_t *tags, unsigned n)
{
	struct harness_flags *f = state;

	for (unsigned i = 0; i < n; i++) {
		uint32_t *done = &f->done[tags[i]];

		harness_flags_push(f, tags[i]);
#pragma omp task firstprivate(done)
		harness_noop(done);
	}
}

static unsigned omp_reap(void *state, uint32_t *tags, unsigned max)
{
	return harness_flags_wait(state, tags, max);
}

static int omp_run(const struct subject *s, unsigned workers,
		   void (*body)(void *state, void *arg), void *arg)
{
	static struct harness_flags f;

	(void)s;
#pragma omp parallel num_threads(workers + 1)
#pragma omp single
	body(&f, arg);
	return 0;
}

const struct subject peer_omp = {
	.name = "OpenMP tasks",
	.run = omp_run,
	.submit = omp_submit,
	.reap = omp_reap,
};
