/* SPDX-License-Identifier: Apache-2.0 */
/* Rows as a table and as JSON. */
#include <stdio.h>
#include <string.h>

#include "bench_rows.h"

/* The verdicts on a row: "p50 <= 2 us met, p99 <= 3 us NOT met". */
static void verdicts(const struct bench_row *row, char *text, size_t room)
{
	const struct bench_target *t;
	size_t used = 0;

	text[0] = 0;
	for (unsigned i = 0; (t = bench_target_at(i)); i++) {
		char one[48];
		int n;

		if (strcmp(t->key, row->key) != 0)
			continue;
		bench_target_text(t, row, one, sizeof(one));
		n = snprintf(text + used, room - used, "%s%s %s",
			     used ? ", " : "  ", one,
			     !row->known ? "not known" :
			     bench_target_met(t, row) ? "met" : "NOT met");
		used += n > 0 ? (size_t)n : 0;
		if (used >= room)
			return;
	}
}

/* A quantile, where the sample is large enough to have one. */
static void print_quantile(uint64_t ns, uint64_t n, uint64_t least)
{
	if (n < least)
		printf(" %9s", "-");
	else
		printf(" %9.2f", (double)ns / 1e3);
}

static void print_latency(const struct bench_row *r, const char *text)
{
	printf(" %9.2f", (double)r->min_ns / 1e3);
	print_quantile(r->p50_ns, r->n, 1);
	print_quantile(r->p99_ns, r->n, 100);
	print_quantile(r->p999_ns, r->n, 1000);
	printf(" %10.1f %7llu%s\n", (double)r->max_ns / 1e3,
	       (unsigned long long)r->n, text);
}

static void print_row(const struct bench_row *r, bool judged)
{
	char text[192] = "";

	if (judged)
		verdicts(r, text, sizeof(text));
	printf("  %-46s", r->label);
	if (!r->known)
		printf(" unknown: %s%s\n", r->note, text);
	else if (r->kind == BENCH_LATENCY)
		print_latency(r, text);
	else if (r->kind == BENCH_RATE)
		printf(" %9.2f %9.2f %9.2f  %u x %llu%s%s%s\n",
		       r->per_second / 1e6, r->lowest / 1e6,
		       r->highest / 1e6, r->rounds,
		       (unsigned long long)r->n, r->note[0] ? "; " : "",
		       r->note, text);
	else
		printf(" %9.2f%s%s%s\n", r->value, r->unit[0] ? " " : "",
		       r->unit, text);
}

static void print_head(enum bench_kind kind)
{
	if (kind == BENCH_LATENCY)
		printf("  %-46s %9s %9s %9s %9s %10s %7s\n", "us", "min",
		       "p50", "p99", "p99.9", "max", "n");
	else if (kind == BENCH_RATE)
		printf("  %-46s %9s %9s %9s  %s\n", "million a second",
		       "median", "lowest", "highest", "rounds x n");
}

/* The rows of a section that are of one kind. */
static void print_kind(const struct bench_rows *rows, const char *section,
		       enum bench_kind kind)
{
	bool head = false;

	for (unsigned i = 0; i < rows->count; i++) {
		const struct bench_row *r = &rows->row[i];

		if (r->kind != kind || strcmp(r->section, section) != 0)
			continue;
		if (!head)
			print_head(kind);
		head = true;
		print_row(r, rows->judged);
	}
}

static void print_summary(const struct bench_rows *rows)
{
	const struct bench_target *t;
	unsigned all = 0, met = 0, unknown = 0;

	for (unsigned i = 0; (t = bench_target_at(i)); i++) {
		const struct bench_row *row = bench_row_find(rows, t->key);

		all++;
		unknown += !row;
		met += row && bench_target_met(t, row);
	}
	printf("\n%u of %u targets met, %u not met, %u not measured\n", met,
	       all, all - met - unknown, unknown);
}

void bench_rows_print(const struct bench_rows *rows)
{
	const char *last = "";

	for (unsigned i = 0; i < rows->count; i++) {
		const char *section = rows->row[i].section;

		if (!strcmp(section, last))
			continue;
		printf("\n%s\n", section);
		print_kind(rows, section, BENCH_LATENCY);
		print_kind(rows, section, BENCH_RATE);
		print_kind(rows, section, BENCH_VALUE);
		last = section;
	}
	if (rows->judged)
		print_summary(rows);
}

static json_t *curve_json(const uint64_t *curve)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < BENCH_CURVE; i++)
		json_array_append_new(list,
				      json_integer((json_int_t)curve[i]));
	return list;
}

static void latency_json(json_t *to, const struct bench_row *r)
{
	json_object_set_new(to, "min_ns", json_integer((json_int_t)r->min_ns));
	json_object_set_new(to, "p50_ns", json_integer((json_int_t)r->p50_ns));
	if (r->n >= 100) /* fewer have no such quantile */
		json_object_set_new(to, "p99_ns",
				    json_integer((json_int_t)r->p99_ns));
	if (r->n >= 1000)
		json_object_set_new(to, "p999_ns",
				    json_integer((json_int_t)r->p999_ns));
	json_object_set_new(to, "max_ns", json_integer((json_int_t)r->max_ns));
	if (r->plotted)
		json_object_set_new(to, "curve_ns", curve_json(r->curve));
}

static json_t *row_json(const struct bench_row *r)
{
	static const char *const kinds[] = { "latency", "rate", "value" };
	json_t *row = json_pack("{s:s,s:s,s:s,s:s,s:b}", "section",
				r->section, "key", r->key, "label", r->label,
				"kind", kinds[r->kind], "known", r->known);

	if (!row)
		return NULL;
	if (r->note[0])
		json_object_set_new(row, "note", json_string(r->note));
	if (!r->known)
		return row;
	json_object_set_new(row, "n", json_integer((json_int_t)r->n));
	if (r->kind == BENCH_LATENCY) {
		latency_json(row, r);
	} else if (r->kind == BENCH_RATE) {
		json_object_set_new(row, "rounds",
				    json_integer((json_int_t)r->rounds));
		json_object_set_new(row, "per_second",
				    json_real(r->per_second));
		json_object_set_new(row, "lowest", json_real(r->lowest));
		json_object_set_new(row, "highest", json_real(r->highest));
	} else {
		json_object_set_new(row, "value", json_real(r->value));
		json_object_set_new(row, "unit", json_string(r->unit));
	}
	return row;
}

json_t *bench_rows_json(const struct bench_rows *rows)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < rows->count; i++)
		json_array_append_new(list, row_json(&rows->row[i]));
	return list;
}

json_t *bench_targets_json(const struct bench_rows *rows)
{
	const struct bench_target *t;
	json_t *list = json_array();

	for (unsigned i = 0; (t = bench_target_at(i)); i++) {
		const struct bench_row *row = bench_row_find(rows, t->key);
		char text[48] = "";
		json_t *one = json_pack("{s:s}", "key", t->key);

		if (row) {
			bench_target_text(t, row, text, sizeof(text));
			json_object_set_new(one, "bound", json_string(text));
			json_object_set_new(one, "figure",
				json_real(bench_target_figure(t, row)));
			json_object_set_new(one, "met",
				json_boolean(bench_target_met(t, row)));
		} else {
			json_object_set_new(one, "met", json_null());
		}
		json_array_append_new(list, one);
	}
	return list;
}
