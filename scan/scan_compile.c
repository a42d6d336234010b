/* SPDX-License-Identifier: Apache-2.0 */
#include "scan/scan_compile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scan/scan_image.h"
#include "scan/scan_regex.h"

/* What one pattern is as text: its bytes without backslashes, if it is no
 * more than text. The buffer has room for all of it. */
static bool as_text(const struct scan_pattern *p, const struct scan_options *o,
		    char *out, size_t *bytes)
{
	const char *special = o->syntax == SCAN_EXTENDED ? "^$.[*+?{|()" :
							   "^$.[*";
	size_t n = 0;

	for (size_t i = 0; i < p->bytes; i++) {
		char c = p->text[i];

		if (o->syntax != SCAN_FIXED && c == '\\') {
			/* punctuation that means itself then */
			if (++i == p->bytes ||
			    !memchr(".[]*^$\\/-", p->text[i], 9))
				return false;
			c = p->text[i];
		} else if (o->syntax != SCAN_FIXED && c && strchr(special, c)) {
			return false;
		}
		out[n++] = c;
	}
	*bytes = n;
	/* other letters than those of ASCII have cases that we do not know */
	for (size_t i = 0; i < n && o->utf8 && o->fold; i++)
		if ((unsigned char)out[i] >= 0x80)
			return false;
	return n > 0 && (!o->utf8 || scan_is_utf8(out, n));
}

/* All patterns as text: *texts and *memory to be freed. 1; 0: one is more
 * than text; -ENOMEM. */
static int all_texts(const struct scan_pattern *p, size_t count,
		     const struct scan_options *o,
		     struct scan_pattern **texts, char **memory)
{
	size_t bytes = 0, at = 0;

	for (size_t i = 0; i < count; i++)
		bytes += p[i].bytes;
	*texts = calloc(count, sizeof(**texts));
	*memory = malloc(bytes + 1);
	if (!*texts || !*memory)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		(*texts)[i].text = *memory + at;
		if (!as_text(&p[i], o, *memory + at, &(*texts)[i].bytes))
			return 0;
		at += (*texts)[i].bytes;
	}
	return 1;
}

static int all_patterns(const char *text, int code,
			struct scan_problem *problem)
{
	problem->pattern = SIZE_MAX;
	snprintf(problem->text, sizeof(problem->text), "%s", text);
	return code;
}

static int build_literals(const struct scan_pattern *texts, size_t count,
			  const struct scan_options *o, struct scan_image *m,
			  struct scan_problem *problem)
{
	int r = scan_image_begin(m, MK_SCAN_LITERALS);

	if (!r)
		r = scan_build_literals(texts, count, o, m);
	if (r == -E2BIG)
		return all_patterns("the patterns need tables of more than "
				    "1 GiB: search for some of them at a time",
				    r, problem);
	return r;
}

/* All patterns as one tree. */
static int parse_all(struct scan_tree *t, const struct scan_pattern *p,
		     size_t count, const struct scan_options *o,
		     uint32_t *root, struct scan_problem *problem)
{
	uint32_t all = SCAN_NO_NODE, one;

	for (size_t i = 0; i < count; i++) {
		int r = scan_parse(t, &p[i], o, &one, problem);

		problem->pattern = i;
		if (r)
			return r;
		all = i ? scan_node(t, SCAN_ALT, all, one) : one;
		if (all == SCAN_NO_NODE)
			return t->nodes == SCAN_NODES_MAX ? -E2BIG : -ENOMEM;
	}
	if (o->whole_line) {
		uint32_t begin = scan_node(t, SCAN_ASSERT, 0, 0), end;

		if (begin != SCAN_NO_NODE)
			t->node[begin].set = SCAN_LINE_BEGIN;
		end = scan_node(t, SCAN_ASSERT, 0, 0);
		if (end != SCAN_NO_NODE)
			t->node[end].set = SCAN_LINE_END;
		all = scan_node(t, SCAN_CAT, scan_node(t, SCAN_CAT, begin, all),
				end);
		if (all == SCAN_NO_NODE)
			return -ENOMEM;
	}
	*root = all;
	return 0;
}

static int build_automaton(const struct scan_pattern *p, size_t count,
			   const struct scan_options *o, struct scan_image *m,
			   struct scan_problem *problem)
{
	uint32_t most = o->states ? o->states : SCAN_STATES, root;
	struct scan_tree t = { 0 };
	int r = parse_all(&t, p, count, o, &root, problem);

	if (r == -EINVAL) {
		scan_tree_drop(&t);
		return r;
	}
	if (!r)
		r = scan_image_begin(m, MK_SCAN_AUTOMATON);
	if (!r)
		r = scan_build_automaton(&t, root, o, m);
	scan_tree_drop(&t);
	if (r != -E2BIG)
		return r;
	problem->pattern = SIZE_MAX;
	if (count == 1)
		snprintf(problem->text, sizeof(problem->text),
			 "the pattern needs an automaton of more than %u "
			 "states or 64 MiB: repeat less, or -F for text", most);
	else
		snprintf(problem->text, sizeof(problem->text),
			 "the %zu patterns need an automaton of more than %u "
			 "states or 64 MiB: give fewer at a time, repeat less, "
			 "or -F for text", count, most);
	return r;
}

int scan_compile(const struct scan_pattern *patterns, size_t count,
		 const struct scan_options *options, void **image,
		 size_t *bytes, struct scan_problem *problem)
{
	struct scan_pattern *texts = NULL;
	struct scan_image m = { 0 };
	char *memory = NULL;
	int r;

	memset(problem, 0, sizeof(*problem));
	if (!count)
		return all_patterns("there is no pattern", -EINVAL, problem);
	r = all_texts(patterns, count, options, &texts, &memory);
	if (r > 0)
		r = build_literals(texts, count, options, &m, problem);
	else if (!r)
		r = build_automaton(patterns, count, options, &m, problem);
	if (!r)
		scan_image_end(&m, image, bytes);
	scan_image_drop(&m);
	free(texts);
	free(memory);
	return r;
}
