/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of characters: single ones, ranges, classes of the locale. */
#include <ctype.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <wctype.h>

#include "scan/scan_regex.h"

#define CODES 0x110000u

void scan_charset_add(struct scan_charset *c, uint32_t low, uint32_t high)
{
	if (c->count && c->range[c->count - 1].high + 1 == low) {
		c->range[c->count - 1].high = high;
		return;
	}
	if (c->count == c->room) {
		uint32_t room = c->room ? 2 * c->room : 16;
		struct scan_range *range =
			realloc(c->range, room * sizeof(*range));

		if (!range) {
			c->failed = true;
			return;
		}
		c->range = range;
		c->room = room;
	}
	c->range[c->count++] = (struct scan_range){ low, high };
}

static bool ascii_class(unsigned ch, unsigned which)
{
	bool lower = ch - 'a' < 26, upper = ch - 'A' < 26;
	bool digit = ch - '0' < 10;
	bool graph = ch > 0x20 && ch < 0x7f;

	switch (which) {
	case 0: return lower || upper;
	case 1: return lower || upper || digit;
	case 2: return ch == ' ' || ch == '\t';
	case 3: return ch < 0x20 || ch == 0x7f;
	case 4: return digit;
	case 5: return graph;
	case 6: return lower;
	case 7: return graph || ch == ' ';
	case 8: return graph && !lower && !upper && !digit;
	case 9: return ch == ' ' || ch - 9 < 5;
	case 10: return upper;
	default: return digit || ch - 'a' < 6 || ch - 'A' < 6;
	}
}

bool scan_charset_class(struct scan_charset *c, const char *name, size_t bytes,
			const struct scan_options *options)
{
	static const char names[12][8] = { "alpha", "alnum", "blank", "cntrl",
					   "digit", "graph", "lower", "print",
					   "punct", "space", "upper",
					   "xdigit" };
	unsigned which = 0;
	locale_t locale;
	wctype_t type;

	while (which < 12 && (strlen(names[which]) != bytes ||
			      memcmp(names[which], name, bytes) != 0))
		which++;
	if (which == 12)
		return false;
	if (options->fold && (which == 6 || which == 10))
		which = 0; /* either case */
	for (uint32_t ch = 0; ch < 128; ch++)
		if (ascii_class(ch, which))
			scan_charset_add(c, ch, ch);
	if (!options->utf8)
		return true;
	locale = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
	if (!locale)
		return true;
	type = wctype_l(names[which], locale);
	for (uint32_t ch = 128; type && ch < CODES; ch++)
		if (iswctype_l((wint_t)ch, type, locale))
			scan_charset_add(c, ch, ch);
	freelocale(locale);
	return true;
}

static int by_low(const void *a, const void *b)
{
	const struct scan_range *x = a, *y = b;

	return (x->low > y->low) - (x->low < y->low);
}

/* Sorted, and none touches another. */
static void normalize(struct scan_charset *c)
{
	uint32_t kept = 0;

	if (!c->count)
		return;
	qsort(c->range, c->count, sizeof(*c->range), by_low);
	for (uint32_t i = 1; i < c->count; i++) {
		if (c->range[i].low <= c->range[kept].high + 1) {
			if (c->range[i].high > c->range[kept].high)
				c->range[kept].high = c->range[i].high;
		} else {
			c->range[++kept] = c->range[i];
		}
	}
	c->count = kept + 1;
}

static void complement(struct scan_charset *c, uint32_t codes)
{
	struct scan_charset other = { 0 };
	uint32_t from = 0;

	for (uint32_t i = 0; i < c->count; i++) {
		if (c->range[i].low > from)
			scan_charset_add(&other, from, c->range[i].low - 1);
		from = c->range[i].high + 1;
	}
	if (from < codes)
		scan_charset_add(&other, from, codes - 1);
	other.failed |= c->failed;
	free(c->range);
	*c = other;
}

/* ASCII letters in both cases. */
static void fold_ascii(struct scan_set *set)
{
	for (unsigned ch = 'a'; ch <= 'z'; ch++) {
		if (scan_set_has(set, ch))
			scan_set_add(set, ch - 32);
		else if (scan_set_has(set, ch - 32))
			scan_set_add(set, ch);
	}
}

uint32_t scan_charset_node(struct scan_charset *c, struct scan_tree *t,
			   const struct scan_options *options, bool negate)
{
	uint32_t one_byte = options->utf8 ? 0x80 : 0x100, node = SCAN_NO_NODE;
	struct scan_set set = { { 0 } };
	bool some = false;

	normalize(c);
	if (negate) {
		if (options->fold) { /* before it is turned over */
			uint32_t n = c->count;

			for (uint32_t i = 0; i < n; i++)
				for (uint32_t ch = c->range[i].low;
				     ch <= c->range[i].high && ch < 0x80; ch++)
					if ((ch | 32) - 'a' < 26)
						scan_charset_add(c, ch ^ 32,
								 ch ^ 32);
			normalize(c);
		}
		complement(c, options->utf8 ? CODES : 0x100);
	}
	if (c->failed)
		return SCAN_NO_NODE;
	for (uint32_t i = 0; i < c->count; i++)
		for (uint32_t ch = c->range[i].low;
		     ch <= c->range[i].high && ch < one_byte; ch++)
			if (ch != '\n')
				scan_set_add(&set, ch), some = true;
	if (options->fold)
		fold_ascii(&set);
	node = scan_node_bytes(t, &set); /* may have no byte: never matches */
	for (uint32_t i = 0; i < c->count && options->utf8; i++) {
		uint32_t low = c->range[i].low, high = c->range[i].high, more;

		if (high < 0x80 || (low >= 0xd800 && high <= 0xdfff))
			continue;
		more = scan_node_range(t, low < 0x80 ? 0x80 : low, high);
		node = some ? scan_node(t, SCAN_ALT, node, more) : more;
		some = true;
	}
	return node;
}
