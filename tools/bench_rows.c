/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_rows.h"

double bench_curve_quantile(unsigned i)
{
	return 1.0 - pow(10.0, -(double)i / 15.0);
}

static uint64_t quantile(const uint64_t *sorted, uint64_t n, double q)
{
	uint64_t i = (uint64_t)(q * (double)n);

	return sorted[i < n ? i : n - 1];
}

void bench_curve_take(uint64_t *curve, const uint64_t *sorted, uint64_t n)
{
	for (unsigned i = 0; i < BENCH_CURVE; i++)
		curve[i] = quantile(sorted, n, bench_curve_quantile(i));
}

struct bench_row *bench_row_add(struct bench_rows *rows, const char *section,
				const char *key, const char *label,
				enum bench_kind kind)
{
	struct bench_row *row;

	if (rows->count < BENCH_ROWS_MAX)
		rows->count++;
	row = &rows->row[rows->count - 1];
	memset(row, 0, sizeof(*row));
	row->section = section;
	row->kind = kind;
	row->unit = "";
	snprintf(row->key, sizeof(row->key), "%s", key);
	snprintf(row->label, sizeof(row->label), "%s", label);
	return row;
}

const struct bench_row *bench_row_find(const struct bench_rows *rows,
				       const char *key)
{
	for (unsigned i = 0; i < rows->count; i++)
		if (rows->row[i].known && !strcmp(rows->row[i].key, key))
			return &rows->row[i];
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int by_rate(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

void bench_row_latency(struct bench_row *row, uint64_t *sample, uint64_t n)
{
	qsort(sample, n, sizeof(*sample), by_value);
	row->n = n;
	row->min_ns = sample[0];
	row->p50_ns = quantile(sample, n, 0.5);
	row->p99_ns = quantile(sample, n, 0.99);
	row->p999_ns = quantile(sample, n, 0.999);
	row->max_ns = sample[n - 1];
	bench_curve_take(row->curve, sample, n);
	row->known = true;
}

void bench_row_rate(struct bench_row *row, double *round, unsigned rounds,
		    uint64_t n)
{
	qsort(round, rounds, sizeof(*round), by_rate);
	row->n = n;
	row->rounds = rounds;
	row->lowest = round[0];
	row->per_second = round[rounds / 2];
	row->highest = round[rounds - 1];
	row->known = true;
}
