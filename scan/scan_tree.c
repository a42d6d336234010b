/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes, and the bytes of UTF-8. */
#include <stdlib.h>
#include <string.h>

#include "scan/scan_regex.h"

uint32_t scan_node(struct scan_tree *t, enum scan_node_kind kind, uint32_t a,
		   uint32_t b)
{
	if (a == SCAN_NO_NODE || b == SCAN_NO_NODE ||
	    t->nodes == SCAN_NODES_MAX)
		return SCAN_NO_NODE;
	if (t->nodes == t->room) {
		uint32_t room = t->room ? 2 * t->room : 256;
		struct scan_node *node =
			realloc(t->node, room * sizeof(*node));

		if (!node)
			return SCAN_NO_NODE;
		t->node = node;
		t->room = room;
	}
	t->node[t->nodes] = (struct scan_node){ .kind = kind, .a = a, .b = b };
	return t->nodes++;
}

uint32_t scan_node_bytes(struct scan_tree *t, const struct scan_set *set)
{
	uint32_t node, at = t->sets;

	while (at && memcmp(&t->set[at - 1], set, sizeof(*set)) != 0 &&
	       t->sets - at < 64)
		at--;
	if (at && !memcmp(&t->set[at - 1], set, sizeof(*set))) {
		at--; /* one of the last is the same */
	} else {
		if (t->sets == t->set_room) {
			uint32_t room = t->set_room ? 2 * t->set_room : 64;
			struct scan_set *sets =
				realloc(t->set, room * sizeof(*sets));

			if (!sets)
				return SCAN_NO_NODE;
			t->set = sets;
			t->set_room = room;
		}
		at = t->sets;
		t->set[t->sets++] = *set;
	}
	node = scan_node(t, SCAN_BYTES, 0, 0);
	if (node != SCAN_NO_NODE)
		t->node[node].set = at;
	return node;
}

void scan_tree_drop(struct scan_tree *t)
{
	free(t->node);
	free(t->set);
	memset(t, 0, sizeof(*t));
}

bool scan_is_utf8(const void *text, size_t bytes)
{
	const unsigned char *at = text, *end = at + bytes;

	while (at < end) {
		unsigned more = *at < 0x80 ? 0 : *at < 0xc2 ? 9 :
				*at < 0xe0 ? 1 : *at < 0xf0 ? 2 :
				*at < 0xf5 ? 3 : 9;
		unsigned char low = *at == 0xe0 ? 0xa0 : *at == 0xf0 ? 0x90 :
							 0x80;
		unsigned char high = *at == 0xed ? 0x9f : *at == 0xf4 ? 0x8f :
							  0xbf;

		if (more > 3 || more > (size_t)(end - at) - 1)
			return false;
		if (more && (at[1] < low || at[1] > high))
			return false;
		for (unsigned i = 2; i <= more; i++)
			if ((at[i] & 0xc0) != 0x80)
				return false;
		at += more + 1;
	}
	return true;
}

static unsigned encode(uint32_t code, unsigned char *out)
{
	if (code < 0x80) {
		out[0] = (unsigned char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (unsigned char)(0xc0 | code >> 6);
		out[1] = (unsigned char)(0x80 | (code & 63));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (unsigned char)(0xe0 | code >> 12);
		out[1] = (unsigned char)(0x80 | (code >> 6 & 63));
		out[2] = (unsigned char)(0x80 | (code & 63));
		return 3;
	}
	out[0] = (unsigned char)(0xf0 | code >> 18);
	out[1] = (unsigned char)(0x80 | (code >> 12 & 63));
	out[2] = (unsigned char)(0x80 | (code >> 6 & 63));
	out[3] = (unsigned char)(0x80 | (code & 63));
	return 4;
}

/* Both ends have n bytes, and every string of bytes between their bytes,
 * place by place, is a character of the range. */
static uint32_t sequence(struct scan_tree *t, uint32_t low, uint32_t high)
{
	unsigned char a[4], b[4];
	unsigned n = encode(low, a);
	uint32_t node = SCAN_NO_NODE;

	encode(high, b);
	for (unsigned i = 0; i < n; i++) {
		struct scan_set set = { { 0 } };
		uint32_t next;

		for (unsigned c = a[i]; c <= b[i]; c++)
			scan_set_add(&set, c);
		next = scan_node_bytes(t, &set);
		node = i ? scan_node(t, SCAN_CAT, node, next) : next;
		if (node == SCAN_NO_NODE)
			break;
	}
	return node;
}

static uint32_t either(struct scan_tree *t, uint32_t a, uint32_t b)
{
	return scan_node(t, SCAN_ALT, a, b);
}

uint32_t scan_node_range(struct scan_tree *t, uint32_t low, uint32_t high)
{
	/* where the number of bytes changes, and around the surrogates */
	static const uint32_t last[] = { 0x7f, 0x7ff, 0xd7ff, 0xdfff, 0xffff };

	if (low >= 0xd800 && high <= 0xdfff)
		return scan_node(t, SCAN_ALT, SCAN_NO_NODE, 0);
	for (unsigned i = 0; i < 5; i++) {
		if (low > last[i] || high <= last[i])
			continue;
		if (i == 3) /* low is a surrogate */
			return scan_node_range(t, 0xe000, high);
		if (i == 2 && high <= 0xdfff)
			return scan_node_range(t, low, 0xd7ff);
		return either(t, scan_node_range(t, low, last[i]),
			      scan_node_range(t, last[i] + 1, high));
	}
	if (low < 0x80)
		return sequence(t, low, high);
	/* whole blocks of the last bytes, from the shortest on */
	for (unsigned bits = 6; bits <= 18; bits += 6) {
		uint32_t mask = (1u << bits) - 1;

		if ((low & ~mask) == (high & ~mask))
			break;
		if (low & mask)
			return either(t, scan_node_range(t, low, low | mask),
				      scan_node_range(t, (low | mask) + 1,
						      high));
		if ((high & mask) != mask)
			return either(t,
				      scan_node_range(t, low,
						      (high & ~mask) - 1),
				      scan_node_range(t, high & ~mask, high));
	}
	return sequence(t, low, high);
}
