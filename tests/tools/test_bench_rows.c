/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the benchmark: quantiles, targets, ratios, picture. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench_rows.h"

static struct bench_rows rows;

static int fresh(void **state)
{
	(void)state;
	memset(&rows, 0, sizeof(rows));
	return 0;
}

/* A latency of n samples from `from` on, one ns apart, given backwards. */
static struct bench_row *latency(const char *key, uint64_t from, uint64_t n)
{
	struct bench_row *r = bench_row_add(&rows, "section", key, "label",
					    BENCH_LATENCY);
	uint64_t *sample = calloc(n, sizeof(*sample));

	assert_non_null(sample);
	for (uint64_t i = 0; i < n; i++)
		sample[i] = from + n - 1 - i;
	bench_row_latency(r, sample, n);
	free(sample);
	return r;
}

static void test_quantiles(void **state)
{
	struct bench_row *r = latency("a", 1000, 10000);

	(void)state;
	assert_int_equal(r->n, 10000);
	assert_int_equal(r->min_ns, 1000);
	assert_int_equal(r->p50_ns, 6000);
	assert_int_equal(r->p99_ns, 10900);
	assert_int_equal(r->p999_ns, 10990);
	assert_int_equal(r->max_ns, 10999);
	assert_int_equal(r->curve[0], 1000);
	assert_int_equal(r->curve[15], 10000);  /* 90 % */
	assert_int_equal(r->curve[30], 10900);  /* 99 % */
	assert_int_equal(r->curve[60], 10999);  /* 99.99 % */
	for (unsigned i = 1; i < BENCH_CURVE; i++)
		assert_true(r->curve[i - 1] <= r->curve[i]);
}

static void test_one_sample(void **state)
{
	struct bench_row *r = latency("a", 7, 1);

	(void)state;
	assert_int_equal(r->min_ns, 7);
	assert_int_equal(r->p999_ns, 7);
	assert_int_equal(r->curve[BENCH_CURVE - 1], 7);
}

static void test_rate(void **state)
{
	struct bench_row *r = bench_row_add(&rows, "s", "rate.64", "l",
					    BENCH_RATE);
	double rounds[] = { 3, 1, 5, 2, 4 };

	(void)state;
	bench_row_rate(r, rounds, 5, 100);
	assert_true(r->lowest == 1 && r->per_second == 3 && r->highest == 5);
}

/* A target is met on its bound, and not beyond it. */
static void test_targets(void **state)
{
	const struct bench_target *t;
	unsigned checked = 0;

	(void)state;
	for (unsigned i = 0; (t = bench_target_at(i)); i++) {
		struct bench_row row = { .known = true, .unit = "times" };
		double off = t->at_least ? -t->bound / 100 : t->bound / 100;
		bool is_rate = !strncmp(t->key, "rate", 4) ||
			       !strncmp(t->key, "stream", 6);
		char text[48];

		row.kind = !strncmp(t->key, "ratio", 5) ? BENCH_VALUE :
			   is_rate ? BENCH_RATE : BENCH_LATENCY;
		row.value = row.per_second = t->bound;
		row.p50_ns = row.p99_ns = row.p999_ns = (uint64_t)t->bound;
		assert_true(bench_target_met(t, &row));
		row.value = row.per_second = t->bound + off;
		row.p50_ns = row.p99_ns = row.p999_ns =
			(uint64_t)(t->bound + off);
		assert_false(bench_target_met(t, &row));
		bench_target_text(t, &row, text, sizeof(text));
		assert_non_null(strstr(text, t->at_least ? ">=" : "<="));
		checked++;
	}
	assert_true(checked >= 12);
}

/* Each percentile has a bound of its own. */
static void test_statistics(void **state)
{
	struct bench_row row = { .known = true, .kind = BENCH_LATENCY,
				 .p50_ns = 2000, .p99_ns = 3000,
				 .p999_ns = 12001 };
	const struct bench_target *t;
	unsigned met = 0, missed = 0;

	(void)state;
	for (unsigned i = 0; (t = bench_target_at(i)); i++)
		if (!strcmp(t->key, "trip.1.gaps")) {
			met += bench_target_met(t, &row);
			missed += !bench_target_met(t, &row);
		}
	assert_int_equal(met, 2);
	assert_int_equal(missed, 1);
}

static void test_ratios(void **state)
{
	const struct bench_row *r;

	(void)state;
	latency("launch.sync", 9000, 1);
	bench_rows_derive(&rows);
	assert_null(bench_row_find(&rows, "ratio.launch"));
	latency("trip.1.gaps", 2000, 1);
	bench_rows_derive(&rows);
	r = bench_row_find(&rows, "ratio.launch");
	assert_non_null(r);
	assert_true(r->value > 4.49 && r->value < 4.51);
	/* what is not known is not divided */
	assert_null(bench_row_find(&rows, "ratio.graph"));
	rows.row[0].known = false;
	assert_null(bench_row_find(&rows, "launch.sync"));
}

static void test_full(void **state)
{
	(void)state;
	for (unsigned i = 0; i < BENCH_ROWS_MAX + 5; i++)
		bench_row_add(&rows, "s", "k", "l", BENCH_VALUE);
	assert_int_equal(rows.count, BENCH_ROWS_MAX);
}

/* Small samples have no far quantiles, and JSON does not invent them. */
static void test_json(void **state)
{
	json_t *list, *first, *second;

	(void)state;
	latency("few", 100, 99);
	latency("many", 100, 1000);
	list = bench_rows_json(&rows);
	first = json_array_get(list, 0);
	second = json_array_get(list, 1);
	assert_non_null(json_object_get(first, "p50_ns"));
	assert_null(json_object_get(first, "p99_ns"));
	assert_non_null(json_object_get(second, "p999_ns"));
	json_decref(list);
	list = bench_targets_json(&rows);
	assert_true(json_is_null(json_object_get(json_array_get(list, 0),
						 "met")));
	json_decref(list);
}

static void test_picture(void **state)
{
	struct bench_row *r = latency("a", 1500, 5000);
	struct bench_line line = { "a < b & c", r->curve, r->p50_ns,
				   r->p99_ns, r->p999_ns };
	char path[] = "/tmp/mk-svg.XXXXXX", text[20000];
	int fd = mkstemp(path);
	size_t n;
	FILE *f;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(bench_svg_write(path, "title", "sub", &line, 1), 0);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	fclose(f);
	unlink(path);
	assert_non_null(strstr(text, "a &lt; b &amp; c"));
	assert_non_null(strstr(text, "p50 4 us"));
	assert_non_null(strstr(text, ">1 us<"));
	assert_non_null(strstr(text, ">10 us<"));
	assert_non_null(strstr(text, ">99.9 %<"));
	assert_null(strstr(text, "nan"));
	assert_null(strstr(text, "inf"));
	assert_int_equal(bench_svg_write("/no/such/file", "", "", &line, 1),
			 -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_quantiles, fresh),
		cmocka_unit_test_setup(test_one_sample, fresh),
		cmocka_unit_test_setup(test_rate, fresh),
		cmocka_unit_test_setup(test_targets, fresh),
		cmocka_unit_test_setup(test_statistics, fresh),
		cmocka_unit_test_setup(test_ratios, fresh),
		cmocka_unit_test_setup(test_full, fresh),
		cmocka_unit_test_setup(test_json, fresh),
		cmocka_unit_test_setup(test_picture, fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
