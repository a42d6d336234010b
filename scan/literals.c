/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of literals. What is chosen here is speed; every choice finds the
 * same. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scan/scan_image.h"
#include "scan/weights.h"

#define MISS 25.0 /* cycles that a false alarm costs */
#define NIBBLE_LITERALS 64u
#define GROUPS 8u

struct text {
	const unsigned char *at;
	size_t bytes;
};

struct set {
	struct text *text; /* sorted, each once */
	size_t count;
	unsigned char *folded;
	size_t bytes, min, max;
	bool fold;
};

static unsigned char lower(unsigned char c)
{
	return (unsigned)(c - 'A') < 26 ? (unsigned char)(c | 0x20) : c;
}

static int by_bytes(const void *a, const void *b)
{
	const struct text *x = a, *y = b;
	size_t n = x->bytes < y->bytes ? x->bytes : y->bytes;
	int order = memcmp(x->at, y->at, n);

	return order ? order : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static void set_drop(struct set *s)
{
	free(s->text);
	free(s->folded);
}

static int set_make(struct set *s, const struct scan_pattern *p, size_t count,
		    bool fold)
{
	size_t bytes = 0, at = 0, kept = 0;

	memset(s, 0, sizeof(*s));
	for (size_t i = 0; i < count; i++) {
		if (p[i].bytes > SCAN_IMAGE_MAX - bytes)
			return -E2BIG;
		bytes += p[i].bytes;
	}
	s->text = calloc(count, sizeof(*s->text));
	s->folded = malloc(bytes);
	if (!s->text || !s->folded) {
		set_drop(s);
		return -ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		s->text[i].at = s->folded + at;
		s->text[i].bytes = p[i].bytes;
		for (size_t j = 0; j < p[i].bytes; j++) {
			unsigned char c = (unsigned char)p[i].text[j];

			s->folded[at++] = fold ? lower(c) : c;
		}
	}
	qsort(s->text, count, sizeof(*s->text), by_bytes);
	s->min = SIZE_MAX;
	for (size_t i = 0; i < count; i++) {
		if (kept && !by_bytes(&s->text[kept - 1], &s->text[i]))
			continue;
		s->text[kept++] = s->text[i];
		s->bytes += s->text[i].bytes;
		if (s->text[i].bytes < s->min)
			s->min = s->text[i].bytes;
		if (s->text[i].bytes > s->max)
			s->max = s->text[i].bytes;
	}
	s->count = kept;
	s->fold = fold;
	return 0;
}

/* The first n bytes as a number, little endian. */
static uint64_t word_of(const unsigned char *at, unsigned n)
{
	uint64_t word = 0;

	for (unsigned i = 0; i < n; i++)
		word |= (uint64_t)at[i] << (8 * i);
	return word;
}

static unsigned log2_of(uint64_t n)
{
	unsigned log2 = 0;

	while (log2 < 63 && UINT64_C(1) << log2 < n)
		log2++;
	return log2;
}

/* ---- grams -------------------------------------------------------------- */

struct plan {
	unsigned gram, stride, filter_log2;
	double cost; /* cycles a byte */
};

/* The filter stays in the first cache if it can, else in the second. */
static struct plan plan_gram(const struct set *s, unsigned gram)
{
	struct plan p = { .gram = gram };
	double entries, alarms, base;
	unsigned log2;

	p.stride = s->min - gram + 1 > 16 ? 16 : (unsigned)(s->min - gram + 1);
	entries = (double)s->count * p.stride;
	log2 = log2_of((uint64_t)(entries * 64));
	/* few of many places shall pass, and the first cache has 32 KiB */
	log2 = log2 < 16 ? 16 : log2 < 18 ? log2 + 1 : log2 > 21 ? 21 : log2;
	p.filter_log2 = log2;
	base = log2 > 18 ? 3 : 1.5;
	/* false alarms of the hash, and grams that a text has: three bits of
	 * each byte are news */
	alarms = entries / (double)(UINT64_C(1) << p.filter_log2) +
		 entries / (double)(UINT64_C(1) << (3 * gram));
	p.cost = (base + MISS * (alarms > 1 ? 1 : alarms)) / p.stride;
	return p;
}

static struct plan plan_make(const struct set *s)
{
	unsigned most = s->min < 8 ? (unsigned)s->min : 8;
	struct plan best = plan_gram(s, most);

	for (unsigned gram = most; gram; gram--) {
		struct plan p = plan_gram(s, gram);

		if (p.cost < best.cost)
			best = p;
	}
	return best;
}

static int fill_grams(const struct set *s, const struct plan *p,
		      struct scan_image *m)
{
	struct mk_scan_image *head = scan_image_head(m);
	uint64_t factor = MK_SCAN_HASH << (64 - 8 * p->gram);
	uint64_t fold = s->fold ? UINT64_C(0x2020202020202020) : 0;
	unsigned offsets_log2 = log2_of((uint64_t)s->count * p->stride * 4);
	uint32_t filter, offsets;
	uint32_t *bits;
	uint16_t *at;

	if (offsets_log2 < 4)
		offsets_log2 = 4;
	if (offsets_log2 > p->filter_log2)
		offsets_log2 = p->filter_log2;
	filter = scan_image_table(m, (UINT64_C(1) << p->filter_log2) / 8);
	offsets = scan_image_table(m, UINT64_C(2) << offsets_log2);
	if (!filter || !offsets)
		return -ENOMEM;
	head = scan_image_head(m);
	head->gram = p->gram;
	head->stride = p->stride;
	head->gram_factor = factor;
	head->gram_fold = fold;
	head->filter_log2 = p->filter_log2;
	head->offsets_log2 = offsets_log2;
	head->filter = filter;
	head->offsets = offsets;
	bits = (uint32_t *)(void *)(m->data + filter);
	at = (uint16_t *)(void *)(m->data + offsets);
	for (size_t i = 0; i < s->count; i++) {
		for (unsigned o = 0; o < p->stride; o++) {
			uint64_t hash = (word_of(s->text[i].at + o, p->gram) |
					 fold) * factor;
			uint64_t bit = hash >> (64 - p->filter_log2);

			bits[bit >> 5] |= UINT32_C(1) << (bit & 31);
			at[hash >> (64 - offsets_log2)] |= (uint16_t)(1u << o);
		}
	}
	return 0;
}

/* The filter for vectors: see struct mk_scan_image. It is as large as pays: a
 * false alarm costs more than a word of the second cache. */
static int fill_wide(const struct set *s, const struct plan *p,
		     struct scan_image *m)
{
	uint64_t fold = s->fold ? UINT64_C(0x2020202020202020) : 0;
	unsigned log2 = p->filter_log2 < 18 ? 18 : p->filter_log2;
	uint32_t table, *words;

	if (p->stride > 2)
		return 0;
	table = scan_image_table(m, (UINT64_C(1) << log2) / 8);
	if (!table)
		return -ENOMEM;
	scan_image_head(m)->wide = table;
	scan_image_head(m)->wide_log2 = log2;
	words = (uint32_t *)(void *)(m->data + table);
	for (size_t i = 0; i < s->count; i++) {
		for (unsigned o = 0; o < p->stride; o++) {
			uint64_t gram = word_of(s->text[i].at + o, p->gram);
			uint32_t bit = mk_scan_wide(gram | fold, p->gram) >>
				       (32 - log2);

			words[bit >> 5] |= UINT32_C(0x80000000) >> (bit & 31);
		}
	}
	return 0;
}

/* ---- literals and their beginnings -------------------------------------- */

static int fill_texts(const struct set *s, struct scan_image *m)
{
	uint32_t literal = scan_image_table(m, 16 * (uint64_t)s->count);
	uint32_t text = scan_image_table(m, s->bytes), at = 0;
	struct mk_scan_image *head = scan_image_head(m);
	struct mk_scan_literal *l;

	if (!literal || !text)
		return -ENOMEM;
	head->literals = (uint32_t)s->count;
	head->literal = literal;
	head->text = text;
	head->text_bytes = (uint32_t)s->bytes;
	head->min_bytes = (uint32_t)s->min;
	head->max_bytes = (uint32_t)s->max;
	head->fold = s->fold;
	l = (struct mk_scan_literal *)(void *)(m->data + literal);
	for (uint32_t i = 0; i < s->count; i++) {
		const struct text *t = &s->text[i];
		uint32_t j = i;

		memcpy(m->data + text + at, t->at, t->bytes);
		l[i].at = at;
		l[i].bytes = (uint32_t)t->bytes;
		l[i].shorter = i;
		at += (uint32_t)t->bytes;
		/* sorted: what begins this one is the one before, or begins
		 * that */
		while (j) {
			uint32_t before = j == i ? i - 1 : l[j].shorter;

			if (before == j)
				break;
			j = before;
			if (l[j].bytes < t->bytes &&
			    !memcmp(s->text[j].at, t->at, l[j].bytes)) {
				l[i].shorter = j;
				break;
			}
		}
	}
	return 0;
}

static int fill_prefixes(const struct set *s, struct scan_image *m)
{
	unsigned n = s->min < 8 ? (unsigned)s->min : 8, log2;
	struct mk_scan_image *head;
	struct mk_scan_prefix *table;
	uint32_t different = 0, at, end;

	for (size_t i = 0; i < s->count; i++)
		different += !i || memcmp(s->text[i].at, s->text[i - 1].at, n);
	log2 = log2_of(2 * (uint64_t)different);
	log2 = log2 < 2 ? 2 : log2;
	at = scan_image_table(m, UINT64_C(16) << log2);
	if (!at)
		return -ENOMEM;
	head = scan_image_head(m);
	head->prefix = at;
	head->prefix_log2 = log2;
	head->prefix_bytes = n;
	table = (struct mk_scan_prefix *)(void *)(m->data + at);
	for (uint32_t i = 0; i < s->count; i = end) {
		uint64_t key = word_of(s->text[i].at, n);
		uint32_t slot = (uint32_t)(key * MK_SCAN_HASH >> (64 - log2));

		for (end = i + 1; end < s->count; end++)
			if (memcmp(s->text[i].at, s->text[end].at, n) != 0)
				break;
		while (table[slot].end)
			slot = (slot + 1) & ((1u << log2) - 1);
		table[slot].key = key;
		table[slot].first = i;
		table[slot].end = end;
	}
	return 0;
}

/* ---- nibbles ------------------------------------------------------------ */

struct nibbles {
	unsigned char table[6][16];
	unsigned window;
	double cost;
};

static void nibble_add(struct nibbles *t, unsigned j, unsigned char c,
		       unsigned char bit)
{
	t->table[2 * j][c & 15] |= bit;
	t->table[2 * j + 1][c >> 4] |= bit;
}

/* How often bytes of a text pass all three tables, by how often they are. */
static double nibble_alarms(const struct nibbles *t)
{
	double alarms = 0;

	for (unsigned g = 0; g < GROUPS; g++) {
		double all = 1;

		for (unsigned j = 0; j < 3; j++) {
			uint32_t sum = 0;

			for (unsigned c = 0; c < 256; c++)
				if (t->table[2 * j][c & 15] &
				    t->table[2 * j + 1][c >> 4] & 1u << g)
					sum += scan_weight((unsigned char)c);
			all *= (double)sum / 65536;
		}
		alarms += all;
	}
	return alarms;
}

/* Literals that begin alike share a group. */
static void nibble_make(const struct set *s, unsigned window,
			struct nibbles *t)
{
	memset(t, 0, sizeof(*t));
	t->window = window;
	for (size_t i = 0; i < s->count; i++) {
		unsigned char bit =
			(unsigned char)(1u << (i * GROUPS / s->count));

		for (unsigned j = 0; j < 3; j++) {
			unsigned char c;

			if (window + j >= s->min) {
				memset(t->table[2 * j], 255, 32);
				continue;
			}
			c = s->text[i].at[window + j];
			nibble_add(t, j, c, bit);
			if (s->fold && (unsigned)(c - 'a') < 26)
				nibble_add(t, j, (unsigned char)(c ^ 0x20),
					   bit);
		}
	}
	t->cost = 0.4 + MISS * nibble_alarms(t);
}

static int fill_nibbles(const struct set *s, double cost, struct scan_image *m)
{
	struct nibbles best, t;
	uint32_t at;

	if (s->count > NIBBLE_LITERALS)
		return 0;
	nibble_make(s, 0, &best);
	for (unsigned w = 1; w + 3 <= s->min && w < 32; w++) {
		nibble_make(s, w, &t);
		if (t.cost < best.cost)
			best = t;
	}
	if (best.cost >= cost)
		return 0;
	at = scan_image_table(m, sizeof(best.table));
	if (!at)
		return -ENOMEM;
	memcpy(m->data + at, best.table, sizeof(best.table));
	scan_image_head(m)->nibble = at;
	scan_image_head(m)->window = best.window;
	return 0;
}

int scan_build_literals(const struct scan_pattern *patterns, size_t count,
			const struct scan_options *options,
			struct scan_image *m)
{
	struct plan plan;
	struct set s;
	int r = set_make(&s, patterns, count, options->fold);

	if (r)
		return r;
	scan_image_head(m)->whole_line = options->whole_line;
	plan = plan_make(&s);
	r = fill_grams(&s, &plan, m);
	if (!r)
		r = fill_wide(&s, &plan, m);
	if (!r)
		r = fill_texts(&s, m);
	if (!r)
		r = fill_prefixes(&s, m);
	if (!r)
		r = fill_nibbles(&s, plan.cost, m);
	set_drop(&s);
	return r;
}
