/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What it costs the healthy path that workers say what they run and somebody
 * looks after them: the same slots with all that, and with none of it, by
 * short turns, so that both see the machine as it is. The context whose turn it
 * is not sleeps; on a GPU, which has no room for two kernels, each turn has one
 * of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_run.h"

#define ENTRIES BENCH_STARTS
/* Odd, for a median: a machine that others use needs many turns to tell a
 * hundredth. A GPU takes long to start, and is alone. */
#define TURNS 301u
#define TURNS_CUDA 9u
#define TURNS_QUICK 21u
#define TRIPS 300u /* of each turn; of one on a GPU more */
#define TRIPS_CUDA 8000u
#define SAMPLES (TURNS * TRIPS)
#define ROUND_NS 8000000u
#define ROUND_CUDA_NS 60000000u

struct side {
	bool on;
	struct mk_ctx *ctx;
	struct live l;
	double rate[TURNS];
	uint64_t trip[SAMPLES];
};

struct beats {
	struct bench *b;
	const char *handler; /* NULL: the no-op that is built in */
	unsigned turns, trips;
	uint64_t round_ns;
	uint64_t count; /* slots of a round; 0: not known yet */
	struct side off, on;
	double ratio[TURNS]; /* of the rates, on to off, of one turn */
};

static int open_ctx(struct bench *b, bool on, struct mk_ctx **out)
{
	struct mk_ctx_params params = {
		.size = sizeof(params),
		.engine = b->o->engine.name,
		.isolation = b->isolation,
		.workers = b->o->engine.workers,
		.idle_ns = b->cuda ? BENCH_STAY_NS : 0,
		.heartbeat = on ? MK_HEARTBEAT_ON : MK_HEARTBEAT_OFF,
		.hang_ns = on ? 0 : MK_FOREVER,
		.recovery = on ? 0 : MK_RECOVERY_OFF,
	};
	int r = mk_ctx_create(&params, out);

	return r < 0 ? bench_fail_library(b, "mk_ctx_create", r) : 0;
}

static int side_close(struct beats *x, struct side *s)
{
	int r = s->l.q ? live_close(&s->l) : 0;

	if (s->ctx)
		bench_ctx_close(x->b, s->ctx);
	s->ctx = NULL;
	s->l.q = NULL;
	return r;
}

static int side_open(struct beats *x, struct side *s)
{
	struct bench *b = x->b;
	int r = 0;

	if (open_ctx(b, s->on, &s->ctx))
		return -1;
	b->ctx = s->ctx;
	b->module = 0;
	if (x->handler)
		r = live_module(b);
	if (!r)
		r = live_open_in(b, s->ctx, &s->l, ENTRIES);
	if (!r && x->handler)
		r = live_use(&s->l, s->ctx, x->handler, NULL, 0);
	b->ctx = NULL;
	b->module = 0;
	return r;
}

/* How many slots fill a round. */
static int count_round(struct beats *x, struct side *s)
{
	uint64_t ns = 0, n = 1024, best;

	do {
		n *= 4;
		if (live_rate(&s->l, n, &ns))
			return -1;
	} while (ns < x->round_ns / 8);
	/* the best of some: a moment in which nothing ran says little */
	best = ns;
	for (unsigned i = 0; i < 8; i++) {
		if (live_rate(&s->l, n, &ns))
			return -1;
		best = ns < best ? ns : best;
	}
	x->count = n * x->round_ns / best / 64 * 64 + 64;
	return 0;
}

static int take_rate(struct beats *x, struct side *s, double *per_second)
{
	uint64_t ns = 0;

	s->l.depth = ENTRIES;
	s->l.burst = 64;
	if (!x->count && count_round(x, s))
		return -1;
	/* awake, and warm */
	if (live_rate(&s->l, x->count / 8 + 1, &ns) ||
	    live_rate(&s->l, x->count, &ns))
		return -1;
	*per_second = (double)x->count * 1e9 / (double)(ns ? ns : 1);
	return 0;
}

static int take_trips(struct beats *x, struct side *s, uint64_t *ns)
{
	unsigned n = 0;

	s->l.gap_ns = BENCH_GAP_NS;
	s->l.depth = 1;
	while (n < x->trips) {
		int got = live_gaps(&s->l, ns + n, x->trips - n);

		if (got < 0)
			return -1;
		n += (unsigned)got;
	}
	return 0;
}

static int turn(struct beats *x, struct side *s, unsigned i)
{
	bool cuda = x->b->cuda;

	if (cuda && side_open(x, s))
		return -1;
	if (take_rate(x, s, &s->rate[i]) ||
	    take_trips(x, s, s->trip + (size_t)i * x->trips))
		return -1;
	return cuda ? side_close(x, s) : 0;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void row(struct beats *x, struct side *s, const char *name,
		const char *on)
{
	const char *section = x->b->section;
	char key[BENCH_KEY_BYTES], label[BENCH_LABEL_BYTES];

	snprintf(key, sizeof(key), "beats.%s.%s", name, on);
	snprintf(label, sizeof(label), "%s, one at a time, heartbeats %s",
		 name, on);
	bench_row_latency(bench_row_add(x->b->rows, section, key, label,
					BENCH_LATENCY),
			  s->trip, (uint64_t)x->turns * x->trips);
	snprintf(key, sizeof(key), "beats.%s.rate.%s", name, on);
	snprintf(label, sizeof(label), "%s, %u in flight, heartbeats %s",
		 name, ENTRIES, on);
	bench_row_rate(bench_row_add(x->b->rows, section, key, label,
				     BENCH_RATE),
		       s->rate, x->turns, x->count);
}

static void rows(struct beats *x, const char *name)
{
	char key[BENCH_KEY_BYTES], label[BENCH_LABEL_BYTES];
	double cost;

	for (unsigned i = 0; i < x->turns; i++)
		x->ratio[i] = x->on.rate[i] / x->off.rate[i];
	qsort(x->ratio, x->turns, sizeof(x->ratio[0]), by_value);
	cost = (1 - x->ratio[x->turns / 2]) * 100;
	row(x, &x->off, name, "off");
	row(x, &x->on, name, "on");
	snprintf(key, sizeof(key), "beats.%s.cost", name);
	snprintf(label, sizeof(label), "%s: throughput that they cost", name);
	bench_value(x->b, key, label, cost, "%");
}

static void plan(struct beats *x)
{
	const struct bench *b = x->b;

	x->turns = b->cuda ? TURNS_CUDA : b->o->quick ? TURNS_QUICK : TURNS;
	x->trips = b->cuda ? TRIPS_CUDA : TRIPS;
	x->round_ns = b->cuda ? ROUND_CUDA_NS : ROUND_NS;
	x->on.on = true;
}

static int measure(struct bench *b, struct beats *x, const char *handler,
		   const char *name)
{
	struct side *sides[] = { &x->off, &x->on };
	int r = 0;

	memset(x, 0, sizeof(*x));
	x->b = b;
	x->handler = handler;
	plan(x);
	for (unsigned i = 0; i < 2 && !r && !b->cuda; i++)
		r = side_open(x, sides[i]);
	for (unsigned i = 0; i < 2 * x->turns && !r; i++)
		/* neither is always the first of two */
		r = turn(x, sides[(i ^ i >> 1) & 1], i / 2);
	if (!r)
		rows(x, name);
	for (unsigned i = 0; i < 2; i++)
		if (side_close(x, sides[i]))
			r = -1;
	return r;
}

int bench_beats(struct bench *b)
{
	struct beats *x = calloc(1, sizeof(*x));
	int r = x ? 0 : bench_fail(b, "no memory");

	if (!r)
		r = measure(b, x, NULL, "no-op");
	if (!r)
		r = measure(b, x, "bench_warp", "handler");
	free(x);
	return r;
}
