/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `megakernel bench` measures section by section: rows, and what is to
 * be reached. A row has a key that scripts know it by, and is one of: a
 * latency (percentiles of a sorted sample), a rate (median of some rounds),
 * one value.
 */
#ifndef BENCH_ROWS_H
#define BENCH_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BENCH_ROWS_MAX 160u
#define BENCH_KEY_BYTES 32u
#define BENCH_LABEL_BYTES 64u
#define BENCH_ROUNDS 5u

/* The distribution, at quantiles that come closer and closer to 1. */
#define BENCH_CURVE 61u
/* Quantile i of a curve: 1 - 10^(-i / 15), from 0 to 0.9999. */
double bench_curve_quantile(unsigned i);
/* From a sorted sample. */
void bench_curve_take(uint64_t *curve, const uint64_t *sorted, uint64_t n);

enum bench_kind { BENCH_LATENCY, BENCH_RATE, BENCH_VALUE };

struct bench_row {
	const char *section;
	char key[BENCH_KEY_BYTES];
	char label[BENCH_LABEL_BYTES];
	enum bench_kind kind;
	bool known; /* or `note` says why not */
	char note[160];
	uint64_t n; /* samples; of a rate, what one round counted */
	/* latency, ns */
	uint64_t min_ns, p50_ns, p99_ns, p999_ns, max_ns;
	uint64_t curve[BENCH_CURVE];
	bool plotted;
	/* rate, a second */
	double per_second, lowest, highest;
	unsigned rounds;
	/* value */
	double value;
	const char *unit;
};

struct bench_rows {
	bool judged; /* against the targets, which are of the engine cuda */
	unsigned count;
	struct bench_row row[BENCH_ROWS_MAX];
};

/* A new row; the last one again if there is no room. */
struct bench_row *bench_row_add(struct bench_rows *rows, const char *section,
				const char *key, const char *label,
				enum bench_kind kind);

/* NULL: there is none, or it is not known. */
const struct bench_row *bench_row_find(const struct bench_rows *rows,
				       const char *key);

/* Fill a latency from its sample, which is sorted; n is not 0. */
void bench_row_latency(struct bench_row *row, uint64_t *sample, uint64_t n);

/* Fill a rate from rounds, which are sorted; n things were counted in each. */
void bench_row_rate(struct bench_row *row, double *round, unsigned rounds,
		    uint64_t n);

/* ---- what is to be reached --------------------------------------------- */

enum bench_statistic { BENCH_P50, BENCH_P99, BENCH_P999, BENCH_MEDIAN };

struct bench_target {
	const char *key;
	enum bench_statistic statistic;
	bool at_least; /* or at most */
	double bound;  /* ns, a second, or the value's unit */
};

/* The i-th of all; NULL: there are no more. */
const struct bench_target *bench_target_at(unsigned i);

/* The figure that a target speaks of. */
double bench_target_figure(const struct bench_target *t,
			   const struct bench_row *row);
bool bench_target_met(const struct bench_target *t,
		      const struct bench_row *row);
/* "p50 <= 2.00 us" */
void bench_target_text(const struct bench_target *t,
		       const struct bench_row *row, char *text, size_t room);

/* Add rows that follow from others: ratios. */
void bench_rows_derive(struct bench_rows *rows);

/* ---- bench_rows_print.c ------------------------------------------------- */

void bench_rows_print(const struct bench_rows *rows);
json_t *bench_rows_json(const struct bench_rows *rows);
json_t *bench_targets_json(const struct bench_rows *rows);

/* ---- bench_svg.c -------------------------------------------------------- */

struct bench_line {
	char label[BENCH_LABEL_BYTES];
	const uint64_t *curve; /* BENCH_CURVE of them, ns */
	uint64_t p50_ns, p99_ns, p999_ns;
};

/* A plot of latencies by percentile. 0 or -1 with errno set. */
int bench_svg_write(const char *path, const char *title, const char *subtitle,
		    const struct bench_line *lines, unsigned count);

#ifdef __cplusplus
}
#endif
#endif
