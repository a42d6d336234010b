/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Basic and extended regular expressions, in GNU grep's reading of them.
 *
 *	alternatives  branch { | branch }
 *	branch        { piece }
 *	piece         atom { * + ? {m,n} }
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scan/scan_regex.h"

struct parser {
	struct scan_tree *t;
	const struct scan_options *o;
	const unsigned char *at, *begin, *end;
	struct scan_problem *problem;
	int error;
	unsigned depth;
	bool start; /* nothing stands before in this branch */
	bool behind_caret; /* or ^ does, and a second one is text */
};

static uint32_t bad(struct parser *p, const unsigned char *at,
		    const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static uint32_t bad(struct parser *p, const unsigned char *at,
		    const char *format, ...)
{
	va_list ap;

	if (!p->error) {
		p->error = -EINVAL;
		p->problem->at = (size_t)(at - p->begin);
		va_start(ap, format);
		vsnprintf(p->problem->text, sizeof(p->problem->text), format,
			  ap);
		va_end(ap);
	}
	return SCAN_NO_NODE;
}

static uint32_t checked(struct parser *p, uint32_t node)
{
	if (node == SCAN_NO_NODE && !p->error) {
		p->error = p->t->nodes == SCAN_NODES_MAX ? -E2BIG : -ENOMEM;
		p->problem->at = (size_t)(p->at - p->begin);
		snprintf(p->problem->text, sizeof(p->problem->text),
			 "too large: more than %u parts", SCAN_NODES_MAX);
	}
	return node;
}

/* Is the next thing this operator: c in extended, \c in basic ones? */
/* In extended expressions a ) that no group begins is text, as for grep. */
static bool is_operator(const struct parser *p, unsigned char c)
{
	if (p->o->syntax == SCAN_EXTENDED)
		return p->at < p->end && *p->at == c && (c != ')' || p->depth);
	return p->end - p->at >= 2 && p->at[0] == '\\' && p->at[1] == c;
}

static void skip_operator(struct parser *p)
{
	p->at += p->o->syntax == SCAN_EXTENDED ? 1 : 2;
}

/* ---- characters --------------------------------------------------------- */

/* One character of the pattern; UINT32_MAX: it is not UTF-8. */
static uint32_t take_character(struct parser *p)
{
	const unsigned char *at = p->at;
	unsigned more;
	uint32_t code;

	if (!p->o->utf8 || *at < 0x80)
		return *p->at++;
	more = *at < 0xc2 ? 9 : *at < 0xe0 ? 1 : *at < 0xf0 ? 2 :
	       *at < 0xf5 ? 3 : 9;
	if (more > 3 || more > (size_t)(p->end - at) - 1)
		goto wrong;
	code = *at & (0x3fu >> more);
	for (unsigned i = 1; i <= more; i++) {
		if ((at[i] & 0xc0) != 0x80)
			goto wrong;
		code = code << 6 | (at[i] & 0x3fu);
	}
	if ((more == 2 && code < 0x800) || (more == 3 && code < 0x10000) ||
	    code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		goto wrong;
	p->at += more + 1;
	return code;
wrong:
	bad(p, at, "is not UTF-8; LC_ALL=C searches for bytes");
	return UINT32_MAX;
}

static uint32_t character(struct parser *p)
{
	const unsigned char *at = p->at;
	uint32_t code = take_character(p), node;
	struct scan_charset c = { 0 };

	if (code == UINT32_MAX)
		return SCAN_NO_NODE;
	if (p->o->fold && code >= 0x80 && p->o->utf8)
		return bad(p, at, "-i knows no letters but those of ASCII");
	scan_charset_add(&c, code, code);
	node = scan_charset_node(&c, p->t, p->o, false);
	free(c.range);
	return checked(p, node);
}

static uint32_t class_node(struct parser *p, const char *name, bool negate,
			   bool with_underscore)
{
	struct scan_charset c = { 0 };
	uint32_t node;

	scan_charset_class(&c, name, strlen(name), p->o);
	if (with_underscore)
		scan_charset_add(&c, '_', '_');
	node = scan_charset_node(&c, p->t, p->o, negate);
	free(c.range);
	return checked(p, node);
}

/* ---- bracket expressions ------------------------------------------------ */

/* [.x.], [=x=] or a character. UINT32_MAX: bad. */
static uint32_t bracket_character(struct parser *p, bool *is_class,
				  struct scan_charset *c)
{
	const unsigned char *at = p->at, *close;
	unsigned char kind;
	uint32_t code;

	*is_class = false;
	if (p->end - at < 2 || at[0] != '[' ||
	    (at[1] != ':' && at[1] != '.' && at[1] != '='))
		return take_character(p);
	kind = at[1];
	for (close = at + 2; close + 1 < p->end; close++)
		if (close[0] == kind && close[1] == ']')
			break;
	if (close + 1 >= p->end) {
		bad(p, at, "[%c without %c]", kind, kind);
		return UINT32_MAX;
	}
	if (kind == ':') {
		*is_class = true;
		if (!scan_charset_class(c, (const char *)at + 2,
					(size_t)(close - at - 2), p->o)) {
			bad(p, at, "there is no class '%.*s'",
			    (int)(close - at - 2 < 20 ? close - at - 2 : 20),
			    (const char *)at + 2);
			return UINT32_MAX;
		}
		p->at = close + 2;
		return 0;
	}
	p->at = at + 2;
	code = p->at < close ? take_character(p) : UINT32_MAX;
	if (code == UINT32_MAX || p->at != close) {
		bad(p, at, "only single characters may stand in [%c %c]", kind,
		    kind);
		return UINT32_MAX;
	}
	p->at = close + 2;
	return code;
}

/* One member: a class, a character or a range. */
static void bracket_member(struct parser *p, struct scan_charset *c)
{
	const unsigned char *at = p->at;
	bool is_class;
	uint32_t low = bracket_character(p, &is_class, c), high;

	if (p->error)
		return;
	if (is_class) {
		if (p->end - p->at >= 2 && p->at[0] == '-' && p->at[1] != ']')
			bad(p, at, "a range that begins with a class");
		return;
	}
	high = low;
	if (p->end - p->at >= 2 && p->at[0] == '-' && p->at[1] != ']') {
		p->at++;
		high = bracket_character(p, &is_class, c);
		if (p->error)
			return;
		if (is_class || high < low) {
			bad(p, at, "a range that ends before it begins");
			return;
		}
	}
	if (p->o->fold && p->o->utf8 && high >= 0x80)
		bad(p, at, "-i knows no letters but those of ASCII");
	scan_charset_add(c, low, high);
}

static uint32_t bracket(struct parser *p)
{
	const unsigned char *open = p->at++, *at;
	struct scan_charset c = { 0 };
	bool negate = p->at < p->end && *p->at == '^';
	uint32_t node = SCAN_NO_NODE;

	p->at += negate;
	at = p->at;
	while (!p->error &&
	       (p->at == at || (p->at < p->end && *p->at != ']'))) {
		if (p->at == p->end)
			break;
		bracket_member(p, &c);
	}
	if (!p->error && p->at == p->end)
		bad(p, open, "[ without ]");
	if (!p->error && p->at - at > 2 && !negate && *at == ':' &&
	    p->at[-1] == ':')
		bad(p, open, "a class is written [[:space:]], not [:space:]");
	if (!p->error) {
		p->at++;
		node = checked(p, scan_charset_node(&c, p->t, p->o, negate));
	}
	free(c.range);
	return node;
}

/* ---- atoms -------------------------------------------------------------- */

static uint32_t assertion(struct parser *p, enum scan_assert what)
{
	uint32_t node = checked(p, scan_node(p->t, SCAN_ASSERT, 0, 0));

	if (node != SCAN_NO_NODE)
		p->t->node[node].set = what;
	p->t->words |= what > SCAN_LINE_END;
	return node;
}

static uint32_t word_assertion(struct parser *p, enum scan_assert what)
{
	if (p->o->utf8)
		return bad(p, p->at - 2,
			   "word edges are known in single bytes only: "
			   "LC_ALL=C");
	return assertion(p, what);
}

static uint32_t escape(struct parser *p)
{
	const unsigned char *at = p->at;
	unsigned char c;

	if (p->end - at < 2)
		return bad(p, at, "a backslash at the end");
	c = at[1];
	p->at += 2;
	switch (c) {
	case 'w':
	case 'W':
		return class_node(p, "alnum", c == 'W', true);
	case 's':
	case 'S':
		return class_node(p, "space", c == 'S', false);
	case 'b':
		return word_assertion(p, SCAN_WORD_EDGE);
	case 'B':
		return word_assertion(p, SCAN_WORD_INSIDE);
	case '<':
		return word_assertion(p, SCAN_WORD_BEGIN);
	case '>':
		return word_assertion(p, SCAN_WORD_END);
	case '`':
		return assertion(p, SCAN_LINE_BEGIN);
	case '\'':
		return assertion(p, SCAN_LINE_END);
	default:
		break;
	}
	if (c >= '1' && c <= '9')
		return bad(p, at,
			   "back-references (\\%c) are not held by the tables",
			   c);
	if ((unsigned)((c | 32) - 'a') < 26 || c == '0')
		return bad(p, at, "\\%c has no meaning%s", c,
			   c == 'd' ? "; [0-9] is a digit" : "");
	p->at--; /* the character itself */
	return character(p);
}

static uint32_t alternatives(struct parser *p);

static uint32_t group(struct parser *p)
{
	const unsigned char *open = p->at;
	uint32_t node;

	if (++p->depth > SCAN_DEPTH_MAX)
		return bad(p, open, "more than %u groups in each other",
			   SCAN_DEPTH_MAX);
	skip_operator(p);
	node = alternatives(p);
	if (p->error)
		return SCAN_NO_NODE;
	if (!is_operator(p, ')'))
		return bad(p, open, "a group that does not end");
	skip_operator(p);
	p->depth--;
	return node;
}

/* Does a basic expression's branch end here? */
static bool at_branch_end(const struct parser *p)
{
	return p->at == p->end || is_operator(p, '|') || is_operator(p, ')');
}

static uint32_t atom(struct parser *p)
{
	bool extended = p->o->syntax == SCAN_EXTENDED, start = p->start;
	bool behind_caret = p->behind_caret;
	unsigned char c = *p->at;

	p->start = p->behind_caret = false;
	if (is_operator(p, '('))
		return group(p);
	if (c == '[')
		return bracket(p);
	if (c == '.') {
		struct scan_charset none = { 0 };
		uint32_t node = scan_charset_node(&none, p->t, p->o, true);

		p->at++;
		free(none.range);
		return checked(p, node);
	}
	if (c == '^' && (extended || (start && !behind_caret))) {
		p->at++;
		/* what follows is at the start, too, but for a second one */
		p->start = p->behind_caret = !extended;
		return assertion(p, SCAN_LINE_BEGIN);
	}
	if (c == '$') {
		p->at++;
		if (extended || at_branch_end(p))
			return assertion(p, SCAN_LINE_END);
		p->at--;
		return character(p);
	}
	if (is_operator(p, '{') && start)
		return bad(p, p->at, "nothing to repeat before {");
	if (c == '\\' && !extended && start && p->end - p->at >= 2 &&
	    (p->at[1] == '+' || p->at[1] == '?')) {
		p->at++; /* nothing before it to repeat: the character */
		return character(p);
	}
	if (c == '\\')
		return escape(p);
	if (extended && start && (c == '*' || c == '+' || c == '?'))
		return checked(p, scan_node(p->t, SCAN_EMPTY, 0, 0));
	return character(p);
}

/* ---- repeating ---------------------------------------------------------- */

static bool number(const unsigned char **at, const unsigned char *end,
		   uint32_t *out)
{
	const unsigned char *begin = *at;
	uint32_t n = 0;

	while (*at < end && **at >= '0' && **at <= '9') {
		n = n * 10 + (uint32_t)(**at - '0');
		n = n > SCAN_REPEAT_MAX ? SCAN_REPEAT_MAX + 1 : n;
		(*at)++;
	}
	*out = n;
	return *at != begin;
}

/* {m}, {m,}, {,n}, {m,n}. False: it is none, and in extended expressions text
 * then. */
static bool interval(struct parser *p, uint32_t *min, uint32_t *max)
{
	const unsigned char *begin = p->at, *at;
	bool low, high = false, comma = false;

	skip_operator(p);
	at = p->at;
	low = number(&at, p->end, min);
	*max = *min;
	if (at < p->end && *at == ',') {
		comma = true;
		at++;
		high = number(&at, p->end, max);
		if (!high)
			*max = SCAN_FOREVER;
	}
	p->at = at;
	if ((low || comma) && is_operator(p, '}')) {
		skip_operator(p);
		if (*min > SCAN_REPEAT_MAX ||
		    (*max > SCAN_REPEAT_MAX && *max != SCAN_FOREVER))
			bad(p, begin, "repeated more than %u times",
			    SCAN_REPEAT_MAX);
		else if (*min > *max)
			bad(p, begin, "at least %u times but at most %u", *min,
			    *max);
		return true;
	}
	p->at = begin;
	if (p->o->syntax == SCAN_BASIC)
		bad(p, begin, "\\{ that is not \\{m\\}, \\{m,\\}, \\{,n\\} "
			      "or \\{m,n\\}");
	return false;
}

static uint32_t repeat(struct parser *p, uint32_t what, uint32_t min,
		       uint32_t max)
{
	uint32_t node = checked(p, scan_node(p->t, SCAN_REPEAT, what, 0));

	if (node != SCAN_NO_NODE) {
		p->t->node[node].min = min;
		p->t->node[node].max = max;
	}
	return node;
}

static bool repeats(const struct parser *p)
{
	return *p->at == '*' || is_operator(p, '+') || is_operator(p, '?');
}

static uint32_t bad_anchor(struct parser *p, const unsigned char *at)
{
	return bad(p, at, "an anchor or the edge of a word is not repeated");
}

static uint32_t piece(struct parser *p)
{
	const unsigned char *at = p->at;
	bool in_group = is_operator(p, '(');
	uint32_t node = atom(p), min, max;
	bool anchor = node != SCAN_NO_NODE && !in_group &&
		      p->t->node[node].kind == SCAN_ASSERT;
	bool basic = p->o->syntax == SCAN_BASIC;

	while (!p->error && p->at < p->end) {
		if (anchor && repeats(p)) {
			if (!basic || *at != '^')
				bad_anchor(p, p->at);
			break; /* text behind ^ */
		}
		if (*p->at == '*') {
			p->at++;
			node = repeat(p, node, 0, SCAN_FOREVER);
		} else if (is_operator(p, '+')) {
			skip_operator(p);
			node = repeat(p, node, 1, SCAN_FOREVER);
		} else if (is_operator(p, '?')) {
			skip_operator(p);
			node = repeat(p, node, 0, 1);
		} else if (is_operator(p, '{')) {
			const unsigned char *from = p->at;

			if (!interval(p, &min, &max))
				break;
			if (anchor)
				bad_anchor(p, from);
			node = repeat(p, node, min, max);
		} else {
			break;
		}
	}
	return p->error ? SCAN_NO_NODE : node;
}

static uint32_t branch(struct parser *p)
{
	uint32_t all = SCAN_NO_NODE, next;

	p->start = true;
	while (!p->error && !at_branch_end(p)) {
		if (p->o->syntax == SCAN_EXTENDED && !p->start &&
		    *p->at == '{') /* an interval that is none */
			next = character(p);
		else
			next = piece(p);
		all = all == SCAN_NO_NODE ?
			      next : scan_node(p->t, SCAN_CAT, all, next);
		if (!p->error)
			checked(p, all);
	}
	if (!p->error && all == SCAN_NO_NODE)
		all = checked(p, scan_node(p->t, SCAN_EMPTY, 0, 0));
	return all;
}

static uint32_t alternatives(struct parser *p)
{
	uint32_t all = branch(p);

	while (!p->error && is_operator(p, '|')) {
		skip_operator(p);
		all = checked(p, scan_node(p->t, SCAN_ALT, all, branch(p)));
	}
	return all;
}

static uint32_t text(struct parser *p)
{
	uint32_t all = SCAN_NO_NODE;

	while (!p->error && p->at < p->end) {
		uint32_t next = character(p);

		all = all == SCAN_NO_NODE ?
			      next : scan_node(p->t, SCAN_CAT, all, next);
		if (!p->error)
			checked(p, all);
	}
	if (!p->error && all == SCAN_NO_NODE)
		all = checked(p, scan_node(p->t, SCAN_EMPTY, 0, 0));
	return all;
}

int scan_parse(struct scan_tree *t, const struct scan_pattern *pattern,
	       const struct scan_options *options, uint32_t *root,
	       struct scan_problem *problem)
{
	const unsigned char *begin = (const unsigned char *)pattern->text;
	struct parser p = { .t = t, .o = options, .at = begin, .begin = begin,
			    .end = begin + pattern->bytes,
			    .problem = problem };

	*root = options->syntax == SCAN_FIXED ? text(&p) : alternatives(&p);
	if (!p.error && p.at < p.end)
		bad(&p, p.at, "a ) that no group begins");
	return p.error;
}
