// SPDX-License-Identifier: Apache-2.0
// oneTBB: a task for each no-op, in a task group whose owner only observes.
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

#include "peers.h"

namespace {

struct state {
	tbb::task_group group;
	harness_flags flags;
};

void tbb_submit(void *arg, const uint32_t *tags, unsigned n)
{
	auto *t = static_cast<state *>(arg);

	for (unsigned i = 0; i < n; i++) {
		uint32_t *done = &t->flags.done[tags[i]];

		harness_flags_push(&t->flags, tags[i]);
		t->group.run([done] { harness_noop(done); });
	}
}

unsigned tbb_reap(void *arg, uint32_t *tags, unsigned max)
{
	return harness_flags_wait(&static_cast<state *>(arg)->flags, tags,
				  max);
}

int tbb_run(const struct subject *, unsigned workers,
	    void (*body)(void *, void *), void *arg)
{
	tbb::global_control limit(
		tbb::global_control::max_allowed_parallelism, workers + 1);
	tbb::task_arena arena(static_cast<int>(workers) + 1, 1);
	static state t;

	arena.execute([&] {
		body(&t, arg);
		t.group.wait();
	});
	return 0;
}

} // namespace

extern "C" const struct subject peer_tbb = {
	"oneTBB task_group", tbb_run, tbb_submit, tbb_reap, nullptr,
};
