/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions as trees of bytes, between parser and automaton. */
#ifndef SCAN_REGEX_H
#define SCAN_REGEX_H

#include "scan/scan_compile.h"

#define SCAN_NODES_MAX (1u << 20)
#define SCAN_REPEAT_MAX 32767u /* RE_DUP_MAX */
#define SCAN_DEPTH_MAX 200u    /* of groups */

enum scan_node_kind {
	SCAN_EMPTY,  /* matches nothing at all */
	SCAN_BYTES,  /* a byte of a set */
	SCAN_CAT,    /* a, then b */
	SCAN_ALT,    /* a or b */
	SCAN_REPEAT, /* a, min to max times */
	SCAN_ASSERT  /* `set` is enum scan_assert */
};

enum scan_assert {
	SCAN_LINE_BEGIN,
	SCAN_LINE_END,
	SCAN_WORD_EDGE,
	SCAN_WORD_INSIDE, /* \B: no edge */
	SCAN_WORD_BEGIN,
	SCAN_WORD_END
};

#define SCAN_FOREVER UINT32_MAX

struct scan_node {
	enum scan_node_kind kind;
	uint32_t a, b;     /* nodes */
	uint32_t min, max; /* of SCAN_REPEAT; max may be SCAN_FOREVER */
	uint32_t set;      /* of SCAN_BYTES */
};

struct scan_set {
	uint64_t bits[4];
};

/* A tree, or several. No set has a newline. */
struct scan_tree {
	struct scan_node *node;
	uint32_t nodes, room;
	struct scan_set *set;
	uint32_t sets, set_room;
	bool words; /* there are assertions on words */
};

static inline void scan_set_add(struct scan_set *s, unsigned c)
{
	s->bits[c >> 6] |= UINT64_C(1) << (c & 63);
}

static inline bool scan_set_has(const struct scan_set *s, unsigned c)
{
	return s->bits[c >> 6] >> (c & 63) & 1;
}

/* scan_tree.c: a node, or SCAN_NO_NODE: no memory, or too many. */
#define SCAN_NO_NODE UINT32_MAX
uint32_t scan_node(struct scan_tree *t, enum scan_node_kind kind, uint32_t a,
		   uint32_t b);
uint32_t scan_node_bytes(struct scan_tree *t, const struct scan_set *set);
/* The UTF-8 of code points [low, high], surrogates left out. */
uint32_t scan_node_range(struct scan_tree *t, uint32_t low, uint32_t high);
void scan_tree_drop(struct scan_tree *t);

/* scan_parse.c: the root of a pattern. 0, -EINVAL, -E2BIG, -ENOMEM;
 * problem->at and text are set. */
int scan_parse(struct scan_tree *t, const struct scan_pattern *pattern,
	       const struct scan_options *options, uint32_t *root,
	       struct scan_problem *problem);

/* scan_charset.c: a bracket expression or class, as code points. */
struct scan_range {
	uint32_t low, high;
};
struct scan_charset {
	struct scan_range *range;
	uint32_t count, room;
	bool failed; /* no memory */
};
void scan_charset_add(struct scan_charset *c, uint32_t low, uint32_t high);
/* "alpha", ...: false if there is no such class. */
bool scan_charset_class(struct scan_charset *c, const char *name, size_t bytes,
			const struct scan_options *options);
/* As bytes, or UTF-8; `negate` for all others but newline. */
uint32_t scan_charset_node(struct scan_charset *c, struct scan_tree *t,
			   const struct scan_options *options, bool negate);

/* scan_dfa.c: tables of the tree `root`. 0, -ENOMEM, -E2BIG. */
struct scan_image;
int scan_build_automaton(const struct scan_tree *t, uint32_t root,
			 const struct scan_options *options,
			 struct scan_image *m);

#endif
