/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory a context with one queue keeps resident. */
#include <stdio.h>
#include <unistd.h>

#include "bench.h"

/* Bytes resident of a process, 0 if /proc does not say. */
static uint64_t resident(int pid)
{
	unsigned long long kib = 0;
	char line[256];
	FILE *f;

	/* exact, where the kernel has it; VmRSS may lag behind */
	snprintf(line, sizeof(line), "/proc/%d/smaps_rollup", pid);
	f = fopen(line, "r");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Rss: %llu kB", &kib) == 1)
			break;
	fclose(f);
	return kib * 1024;
}

/* Use every entry of both rings once, so that all of them are resident. */
static int use_all(struct mk_queue *q)
{
	unsigned sent = 0, ended = 0;

	while (ended < BENCH_QUEUE_ENTRIES) {
		struct mk_completion c[64];
		struct mk_slot *slot;
		int n = 0;

		if (sent < BENCH_QUEUE_ENTRIES)
			n = mk_queue_get(q, BENCH_QUEUE_ENTRIES - sent, &slot);
		for (int i = 0; i < n; i++)
			mk_slot_init(&slot[i], MK_OP_NOP, 0);
		if (n > 0)
			sent += (unsigned)mk_queue_submit(q, slot, (unsigned)n);
		n = mk_queue_wait(q, 1, MK_FOREVER);
		if (n >= 0)
			n = mk_queue_reap(q, c, 64);
		if (n < 0)
			return n;
		ended += (unsigned)n;
	}
	return 0;
}

static int measure(struct mk_ctx *ctx, uint64_t before,
		   struct bench_memory *out)
{
	struct mk_queue_params params = {
		.size = sizeof(params),
		.entries = BENCH_QUEUE_ENTRIES,
	};
	struct mk_ctx_info info;
	struct mk_queue *q;
	int r = mk_queue_create(ctx, &params, &q);

	if (r >= 0)
		r = use_all(q);
	if (r >= 0)
		r = mk_ctx_info(ctx, &info);
	if (r < 0)
		return r;
	out->caller_bytes = resident(getpid()) - before;
	out->worker_bytes = info.worker_pid ? resident(info.worker_pid) : 0;
	return 0;
}

int bench_memory(const struct bench_options *o, struct bench_memory *out)
{
	struct mk_ctx_params params = {
		.size = sizeof(params),
		.engine = o->engine.name,
		.isolation = o->engine.isolation,
		.workers = o->engine.workers,
	};
	uint64_t before = resident(getpid());
	struct mk_ctx *ctx;
	int r = mk_ctx_create(&params, &ctx);

	if (r < 0)
		return cli_library_error("bench", "no engine", r), -1;
	r = measure(ctx, before, out);
	if (r < 0)
		cli_library_error("bench", "memory", r);
	mk_ctx_destroy(ctx, 1000000000u);
	return r < 0 ? -1 : 0;
}
