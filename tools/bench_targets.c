/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is to be reached, on an H200, in one run with the baselines. Whether a
 * target was met is computed from the row; nothing else says so.
 */
#include <stdio.h>
#include <string.h>

#include "bench_rows.h"

#define US 1e3
#define MS 1e6
#define MILLION 1e6

static const struct bench_target targets[] = {
	{ "trip.1.gaps", BENCH_P50, false, 2.0 * US },
	{ "trip.1.gaps", BENCH_P99, false, 3.0 * US },
	{ "trip.1.gaps", BENCH_P999, false, 12.0 * US },
	{ "ratio.launch", BENCH_MEDIAN, true, 4.8 },
	{ "ratio.graph", BENCH_MEDIAN, true, 3.4 },
	{ "rate.64", BENCH_MEDIAN, true, 25 * MILLION },
	{ "stream.1.self.long", BENCH_MEDIAN, true, 100 * MILLION },
	{ "stream.1.reaper.long", BENCH_MEDIAN, true, 200 * MILLION },
	{ "batch.256", BENCH_P50, false, 6.0 * US },
	{ "ratio.process", BENCH_MEDIAN, false, 1.10 },
	{ "queues.64.one", BENCH_P50, false, 3.0 * US },
	{ "wake", BENCH_P50, false, 15.0 * US },
	{ "flow.hand", BENCH_MEDIAN, false, 700 },
	{ "ratio.chain", BENCH_MEDIAN, true, 1.0 },
	{ "ratio.tiles", BENCH_MEDIAN, true, 0.95 },
	{ "made.steal", BENCH_MEDIAN, true, 100 * MILLION },
	{ "made.fixed", BENCH_MEDIAN, true, 100 * MILLION },
	{ "ratio.wide", BENCH_MEDIAN, true, 10.0 },
	{ "cold.start.cached", BENCH_P50, false, 5.0 * MS },
	{ "cold.module.cached", BENCH_P50, false, 5.0 * MS },
};

const struct bench_target *bench_target_at(unsigned i)
{
	return i < sizeof(targets) / sizeof(targets[0]) ? &targets[i] : NULL;
}

double bench_target_figure(const struct bench_target *t,
			   const struct bench_row *row)
{
	if (row->kind == BENCH_RATE)
		return row->per_second;
	if (row->kind == BENCH_VALUE)
		return row->value;
	switch (t->statistic) {
	case BENCH_P99:
		return (double)row->p99_ns;
	case BENCH_P999:
		return (double)row->p999_ns;
	case BENCH_P50:
	case BENCH_MEDIAN:
		break;
	}
	return (double)row->p50_ns;
}

bool bench_target_met(const struct bench_target *t,
		      const struct bench_row *row)
{
	double figure = bench_target_figure(t, row);

	return t->at_least ? figure >= t->bound : figure <= t->bound;
}

void bench_target_text(const struct bench_target *t,
		       const struct bench_row *row, char *text, size_t room)
{
	static const char *const names[] = { "p50", "p99", "p99.9", "" };
	const char *sign = t->at_least ? ">=" : "<=";

	switch (row->kind) {
	case BENCH_LATENCY:
		if (t->bound >= MS)
			snprintf(text, room, "%s %s %g ms",
				 names[t->statistic], sign, t->bound / MS);
		else
			snprintf(text, room, "%s %s %g us",
				 names[t->statistic], sign, t->bound / US);
		break;
	case BENCH_RATE:
		snprintf(text, room, "%s %g M/s", sign, t->bound / MILLION);
		break;
	case BENCH_VALUE:
		snprintf(text, room, "%s %g %s", sign, t->bound, row->unit);
		break;
	}
}

static void ratio(struct bench_rows *rows, const char *key, const char *label,
		  const char *of, const char *to)
{
	const struct bench_row *a = bench_row_find(rows, of);
	const struct bench_row *b = bench_row_find(rows, to);
	struct bench_row *row;

	if (!a || !b || !b->p50_ns)
		return;
	row = bench_row_add(rows, "Ratios", key, label, BENCH_VALUE);
	row->unit = "times";
	row->value = (double)a->p50_ns / (double)b->p50_ns;
	row->n = a->n < b->n ? a->n : b->n;
	row->known = true;
}

/* Of two ways to do the same, the key of the better one. */
static const char *faster(const struct bench_rows *rows, const char *one,
			  const char *other)
{
	const struct bench_row *a = bench_row_find(rows, one);
	const struct bench_row *b = bench_row_find(rows, other);

	return b && (!a || b->p50_ns < a->p50_ns) ? other : one;
}

void bench_rows_derive(struct bench_rows *rows)
{
	ratio(rows, "ratio.launch", "launch + synchronise : one slot, p50",
	      "launch.sync", "trip.1.gaps");
	ratio(rows, "ratio.graph", "graph of one node : one slot, p50",
	      "graph.1", "trip.1.gaps");
	ratio(rows, "ratio.tiles", "large saxpy, launch : one tiled slot, p50",
	      faster(rows, "saxpy.large.launch", "saxpy.large.launch.few"),
	      faster(rows, "tiles.slot", "tiles.slot.block"));
	ratio(rows, "ratio.chain", "graph of 4,096 nodes : chain of slots, p50",
	      "graph.4096", "flow.chain.4096");
	ratio(rows, "ratio.wide",
	      "graph of 1,024 nodes : independent slots, p50",
	      "graph.wide.1024", "flow.wide.1024");
	ratio(rows, "ratio.process",
	      "engine in another process : in this one, p50",
	      "process.1.gaps", "trip.1.gaps");
}
