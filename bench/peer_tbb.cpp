// SPDX-License-Identifier: Apache-2.0
// oneTBB: a task for each no-op, in a task group whose owner only observes.
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

#include "peers.h"

namespace {

constexpr uint64_t PATIENCE_NS = 20000000;

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

/* Now and then oneTBB (seen: 2021.8) leaves its worker asleep with a task in
 * the arena, for good: the owner runs it then, which counts as helping. */
unsigned tbb_reap(void *arg, uint32_t *tags, unsigned max)
{
	auto *t = static_cast<state *>(arg);
	unsigned n = harness_flags_wait_for(&t->flags, tags, max, PATIENCE_NS);

	if (n)
		return n;
	t->group.wait();
	return harness_flags_take(&t->flags, tags, max);
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
