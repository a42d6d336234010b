/* SPDX-License-Identifier: Apache-2.0 */
/* Samples and rounds. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "bench_run.h"

#define LATENCY_NS 3000000000u /* a row's samples take no longer */
#define ROUND_NS 250000000u
#define QUICK 10u

int (bench_fail)(struct bench *b, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(b->why, sizeof(b->why), format, ap);
	va_end(ap);
	cli_error("bench", "%s: %s", b->section, b->why);
	return -1;
}

int (bench_fail_library)(struct bench *b, const char *attempt, int code)
{
	const struct mk_error *e = mk_error_last();

	return bench_fail(b, "%s: %s", attempt,
			  e->code == code && e->text[0] ? e->text :
							  mk_strerror(code));
}

/* Take samples until there are `want` or time is up; how many, or -1. */
static int64_t take(struct bench *b, uint64_t want, uint64_t limit_ns,
		    bench_once once, void *arg)
{
	uint64_t n = 0, end = mk_now_ns() + limit_ns;

	while (n < want) {
		int got = once(arg, b->samples + n, (unsigned)(want - n));

		if (got < 0)
			return -1;
		n += (uint64_t)got;
		if (n && mk_now_ns() > end)
			break;
	}
	return (int64_t)n;
}

int bench_latency(struct bench *b, const char *key, const char *label,
		  unsigned want, bench_once once, void *arg)
{
	uint64_t limit = LATENCY_NS;
	int64_t n;

	if (b->o->quick) {
		if (want > 20)
			want = want / QUICK > 20 ? want / QUICK : 20;
		limit /= QUICK;
	}
	if (want > BENCH_SAMPLES_MAX)
		want = BENCH_SAMPLES_MAX;
	n = take(b, want / 10 + 1, limit / 4, once, arg); /* warm up */
	if (n >= 0)
		n = take(b, want, limit, once, arg);
	if (n <= 0)
		return -1;
	bench_row_latency(bench_row_add(b->rows, b->section, key, label,
					BENCH_LATENCY),
			  b->samples, (uint64_t)n);
	return 0;
}

int bench_rate(struct bench *b, const char *key, const char *label,
	       uint64_t unit, bench_round round, void *arg)
{
	uint64_t ns = 0, n = unit, want = b->o->quick ? ROUND_NS / QUICK :
							ROUND_NS;
	double rates[BENCH_ROUNDS];

	/* warm up, and see how many fill a round */
	do {
		n *= 4;
		if (round(arg, n, &ns))
			return -1;
	} while (ns < want / 20);
	n = (uint64_t)((double)n * (double)want / (double)(ns ? ns : 1));
	n = (n / unit + 1) * unit;
	for (unsigned i = 0; i < BENCH_ROUNDS; i++) {
		if (round(arg, n, &ns))
			return -1;
		rates[i] = (double)n * 1e9 / (double)(ns ? ns : 1);
	}
	bench_row_rate(bench_row_add(b->rows, b->section, key, label,
				     BENCH_RATE),
		       rates, BENCH_ROUNDS, n);
	return 0;
}

struct bench_row *bench_value(struct bench *b, const char *key,
			      const char *label, double value,
			      const char *unit)
{
	struct bench_row *row = bench_row_add(b->rows, b->section, key, label,
					      BENCH_VALUE);

	row->value = value;
	row->unit = unit;
	row->n = 1;
	row->known = true;
	return row;
}

void bench_unknown(struct bench *b, const char *key, const char *label,
		   const char *why)
{
	struct bench_row *row = bench_row_add(b->rows, b->section, key, label,
					      BENCH_VALUE);

	snprintf(row->note, sizeof(row->note), "%s", why);
}
