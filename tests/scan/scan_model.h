/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two ways from patterns and a text to matches: the tables and the handler,
 * and a reference without tables. It goes through the tree of each pattern
 * with sets of places, a bit a place, so lines have at most 63 bytes.
 */
#ifndef MK_TESTS_SCAN_MODEL_H
#define MK_TESTS_SCAN_MODEL_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "module/builtin.h"
#include "scan/scan_compile.h"
#include "scan/scan_regex.h"

#define MODEL_LINE 63u
#define MODEL_MATCHES 4096u

struct model_matches {
	struct mk_scan_match at[MODEL_MATCHES];
	uint32_t count;
	uint32_t nul;
};

/* ---- the reference ------------------------------------------------------ */

struct model_line {
	const struct scan_tree *tree;
	const unsigned char *text;
	uint32_t bytes;
};

static inline bool model_word(const struct model_line *l, uint32_t at)
{
	unsigned c = at < l->bytes ? l->text[at] : 0;

	return c - '0' < 10 || (c | 32) - 'a' < 26 || c == '_';
}

static inline bool model_holds(const struct model_line *l, uint32_t what,
			       uint32_t at)
{
	bool before = at && model_word(l, at - 1), behind = model_word(l, at);

	switch (what) {
	case SCAN_LINE_BEGIN:
		return !at;
	case SCAN_LINE_END:
		return at == l->bytes;
	case SCAN_WORD_EDGE:
		return before != behind;
	case SCAN_WORD_INSIDE:
		return before == behind;
	case SCAN_WORD_BEGIN:
		return !before && behind;
	default:
		return before && !behind;
	}
}

/* Where a node can end that begins at one of these places. */
static inline uint64_t model_ends(const struct model_line *l, uint32_t node,
				  uint64_t from)
{
	const struct scan_node *n = &l->tree->node[node];
	uint64_t to = 0, next;

	if (!from)
		return 0;
	switch (n->kind) {
	case SCAN_EMPTY:
		return from;
	case SCAN_BYTES:
		for (uint32_t i = 0; i < l->bytes; i++)
			if (from >> i & 1 &&
			    scan_set_has(&l->tree->set[n->set], l->text[i]))
				to |= UINT64_C(2) << i;
		return to;
	case SCAN_CAT:
		return model_ends(l, n->b, model_ends(l, n->a, from));
	case SCAN_ALT:
		return model_ends(l, n->a, from) | model_ends(l, n->b, from);
	case SCAN_ASSERT:
		for (uint32_t i = 0; i <= l->bytes; i++)
			if (from >> i & 1 && model_holds(l, n->set, i))
				to |= UINT64_C(1) << i;
		return to;
	default:
		break;
	}
	for (uint32_t i = 0; i < n->min; i++) {
		next = model_ends(l, n->a, from);
		if (next == from)
			break;
		from = next;
	}
	for (uint32_t i = n->min; i < n->max; i++) {
		next = from | model_ends(l, n->a, from);
		if (next == from)
			break;
		from = next;
	}
	return from;
}

static inline void model_line(const struct model_line *l, uint32_t root,
			      uint32_t base, struct model_matches *out)
{
	for (uint32_t at = 0; at < l->bytes;) {
		uint64_t ends = model_ends(l, root, UINT64_C(1) << at);
		uint32_t end = 0;

		if (ends)
			end = 63u - (uint32_t)__builtin_clzll(ends);
		if (ends && end > at && out->count < MODEL_MATCHES)
			out->at[out->count++] = (struct mk_scan_match){
				base + at, end - at };
		at = end > at ? end : at + 1;
	}
}

/* Matches of all patterns together. False: a line is too long. */
static inline bool model_reference(const struct scan_tree *t, uint32_t root,
				   const unsigned char *text, uint32_t bytes,
				   bool nul_ends, struct model_matches *out)
{
	uint32_t begin = 0;

	memset(out, 0, sizeof(*out));
	out->nul = UINT32_MAX;
	for (uint32_t i = 0; i <= bytes; i++) {
		struct model_line l = { t, text + begin, i - begin };

		if (i < bytes && !text[i] && nul_ends && out->nul > i)
			out->nul = i;
		if (i < bytes && text[i] != '\n' && (text[i] || !nul_ends))
			continue;
		if (l.bytes > MODEL_LINE)
			return false;
		model_line(&l, root, begin, out);
		begin = i + 1;
	}
	return true;
}

/* About how many steps the reference takes for a place: repetitions within
 * repetitions multiply. */
static inline uint64_t model_cost(const struct scan_tree *t, uint32_t node)
{
	const struct scan_node *n = &t->node[node];
	uint64_t a = 1, b = 0, times = 1;

	if (n->kind == SCAN_CAT || n->kind == SCAN_ALT ||
	    n->kind == SCAN_REPEAT)
		a = model_cost(t, n->a);
	if (n->kind == SCAN_CAT || n->kind == SCAN_ALT)
		b = model_cost(t, n->b);
	if (n->kind == SCAN_REPEAT)
		times = 4 + n->min;
	return a > 1000000 || b > 1000000 ? a + b : (a + b + 1) * times;
}

/* The tree of all patterns; 0 or what scan_parse() said. */
static inline int model_parse(struct scan_tree *t,
			      const struct scan_pattern *p, size_t count,
			      const struct scan_options *o, uint32_t *root)
{
	struct scan_problem problem;

	for (size_t i = 0; i < count; i++) {
		uint32_t one;
		int r = scan_parse(t, &p[i], o, &one, &problem);

		if (r)
			return r;
		*root = i ? scan_node(t, SCAN_ALT, *root, one) : one;
		if (*root == SCAN_NO_NODE)
			return -ENOMEM;
	}
	return 0;
}

/* ---- the handler -------------------------------------------------------- */

struct model_slot {
	struct mk_task task;
	struct mk_window window[4];
	uint32_t cancel;
};

static inline struct mk_ref model_buffer(struct model_slot *h, uint32_t index,
					 const void *memory, uint64_t bytes)
{
	h->window[index] = (struct mk_window){
		.base = (uintptr_t)memory, .bytes = bytes, .generation = 5,
		.last = 5 };
	return (struct mk_ref){ index, 5 };
}

/*
 * Search a text, going on as often as `room` says. `run` is the handler, or
 * NULL for the built-in one. 0, or what the handler returned.
 */
static inline int32_t model_search(mk_handler_fn run, const void *image,
				   size_t image_bytes,
				   const unsigned char *text, uint32_t bytes,
				   uint32_t flags, uint32_t room,
				   struct model_matches *out)
{
	size_t result_bytes = 16 + 8 * (size_t)room;
	unsigned char *copy = malloc(bytes + 16 + MK_SCAN_PAD);
	struct mk_scan_result *result = malloc(result_bytes);
	_Alignas(16) unsigned char block[MK_ARG_BYTES];
	struct mk_scan_args args = { .offset = 16, .bytes = bytes,
				     .flags = flags | room << 8 };
	struct model_slot h;
	int32_t rc = -ENOMEM;

	memset(out, 0, sizeof(*out));
	out->nul = UINT32_MAX;
	memset(&h, 0, sizeof(h));
	h.task.windows = h.window;
	h.task.window_count = 4;
	h.task.lanes = h.task.tiles = 1;
	h.task.cancel = &h.cancel;
	h.task.cancel_mark = 0x10001;
	if (!run)
		run = mk_builtin_find(MK_OP_SCAN)->run;
	if (copy && result) {
		memset(copy, 'x', bytes + 16 + MK_SCAN_PAD);
		memcpy(copy + 16, text, bytes);
		args.image = model_buffer(&h, 1, image, image_bytes);
		args.text = model_buffer(&h, 2, copy, bytes + 16 + MK_SCAN_PAD);
		args.result = model_buffer(&h, 3, result, result_bytes);
	}
	while (copy && result) {
		const struct mk_scan_match *m = (const void *)(result + 1);

		memcpy(block, &args, sizeof(args));
		h.task.error = 0;
		rc = run(&h.task, block);
		if (rc)
			break;
		if (result->matches > room || result->next > bytes) {
			rc = -EBADMSG;
			break;
		}
		for (uint32_t i = 0; i < result->matches; i++)
			if (m[i].bytes && out->count < MODEL_MATCHES)
				out->at[out->count++] = m[i];
		if (!args.from)
			out->nul = result->nul;
		if (result->next == bytes)
			break;
		if (!result->matches || result->next < args.from) {
			rc = -EBADMSG; /* it would not end */
			break;
		}
		args.from = result->next;
	}
	free(copy);
	free(result);
	return rc;
}

static inline bool model_same(const struct model_matches *a,
			      const struct model_matches *b)
{
	return a->count == b->count && a->nul == b->nul &&
	       !memcmp(a->at, b->at, a->count * sizeof(a->at[0]));
}

#endif
