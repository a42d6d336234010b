/* SPDX-License-Identifier: Apache-2.0 */
/* What a resident kernel costs while there is nothing to do. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "bench_cuda.h"
#include "bench_nvml.h"

#define SETTLE_S 1.0
#define WATCH_S 2.0
#define PARK_NS 1000000u

static double processor_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
	       ((double)u.ru_utime.tv_usec + (double)u.ru_stime.tv_usec) / 1e6;
}

static void figure(struct bench *b, const char *state, const char *what,
		   const char *label, bool known, double value,
		   const char *unit)
{
	char key[BENCH_KEY_BYTES], text[BENCH_LABEL_BYTES];

	snprintf(key, sizeof(key), "power.%s.%s", state, what);
	snprintf(text, sizeof(text), "%s: %s",
		 !strcmp(state, "absent") ? "no kernel" : state, label);
	if (known)
		bench_value(b, key, text, value, unit);
	else
		bench_unknown(b, key, text, "NVML does not tell");
}

static void watch(struct bench *b, struct bench_nvml *n, const char *state)
{
	double quick = b->o->quick ? 0.1 : 1.0, cpu;
	struct bench_use use;
	uint64_t began;

	bench_nvml_watch(NULL, SETTLE_S * quick, &use);
	began = mk_now_ns();
	cpu = processor_seconds();
	bench_nvml_watch(n, WATCH_S * quick, &use);
	cpu = (processor_seconds() - cpu) * 1e11 /
	      (double)(mk_now_ns() - began);
	figure(b, state, "watts", "power", use.has_watts, use.watts, "W");
	figure(b, state, "sm", "multiprocessors with a warp", use.has_sm,
	       use.sm, "%");
	figure(b, state, "busy", "time with a kernel on the device",
	       use.has_busy, use.busy, "%");
	figure(b, state, "cpu", "host processor, of one core", true, cpu, "%");
}

static int with(struct bench *b, struct bench_nvml *n, const char *state,
		uint64_t idle_ns)
{
	struct mk_ctx *ctx;
	struct live l;
	int r;

	if (bench_ctx_open(b, b->isolation, idle_ns, &ctx))
		return -1;
	r = live_open_in(b, ctx, &l, 64);
	if (!r) {
		/* one answer, so that it is there, or was */
		r = live_submit(&l, 1) == 1 && live_await(&l, 1) == 1 ? 0 : -1;
		if (!r)
			watch(b, n, state);
		r = live_close(&l) || r ? -1 : 0;
	}
	bench_ctx_close(b, ctx);
	return r;
}

int bench_power(struct bench *b)
{
	struct bench_nvml *n = bench_nvml_open(b->cuda->bus);
	int r;

	watch(b, n, "absent");
	r = with(b, n, "parked", PARK_NS);
	if (!r)
		r = with(b, n, "polling", BENCH_STAY_NS);
	bench_nvml_close(n);
	return r;
}
