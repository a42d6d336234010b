/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a tree to tables: Thompson's construction of a non-deterministic
 * automaton, then subsets of its states. An assertion is passed or not by what
 * stands before and behind; so a subset holds what was reached by bytes, and
 * is closed over empty moves anew for each kind of byte that may follow. A
 * match is known one byte late, as in RE2 (Cox, "Regular Expression Matching
 * in the Wild", 2010).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scan/scan_image.h"
#include "scan/scan_regex.h"

#define MOVES_MAX 400000u      /* states before subsets */
#define ENTRIES_LOG2_MAX 24u   /* of a table: 64 MiB */
#define FIND_STATES 4096u      /* more are not worth their caches */
#define WORK_MAX UINT64_C(400000000) /* moves looked at for one table */
#define KINDS 3u               /* enum mk_scan_before, of what follows, too */

enum move_kind { MOVE_BYTES, MOVE_SPLIT, MOVE_ASSERT, MOVE_MATCH };

/* A state and its way out. */
struct move {
	uint8_t kind;
	uint8_t assertion;
	uint32_t set;
	uint32_t to, other;
};

#define NOWHERE UINT32_MAX

struct subset {
	uint32_t at, count; /* in members */
	uint8_t before;     /* enum mk_scan_before */
};

struct builder {
	const struct scan_tree *t;
	struct move *move;
	uint32_t moves, move_room;
	uint32_t start;
	bool asserts;
	int error;

	uint8_t class_of[256];
	uint8_t sample[256]; /* a byte of each class */
	uint32_t classes;    /* with the end of a line */

	/* subsets of one table */
	struct subset *subset;
	uint32_t subsets, subset_room;
	uint32_t *member;
	size_t members, member_room;
	uint32_t *bucket; /* hash of subsets; index + 1 */
	uint32_t bucket_mask;
	uint64_t work;

	/* sets of moves in construction: marked by a number */
	uint32_t *mark, *list, *stack;
	uint32_t listed, turn;
	uint32_t *reached;
	uint32_t *reach_mark, reach_turn, reach_count;
};

/* ---- moves -------------------------------------------------------------- */

static uint32_t add_move(struct builder *b, uint8_t kind, uint32_t to,
			 uint32_t other)
{
	if (b->error)
		return NOWHERE;
	if (b->moves == MOVES_MAX) {
		b->error = -E2BIG;
		return NOWHERE;
	}
	if (b->moves == b->move_room) {
		uint32_t room = b->move_room ? 2 * b->move_room : 1024;
		struct move *move = realloc(b->move, room * sizeof(*move));

		if (!move) {
			b->error = -ENOMEM;
			return NOWHERE;
		}
		b->move = move;
		b->move_room = room;
	}
	b->move[b->moves] = (struct move){ .kind = kind, .to = to,
					   .other = other };
	return b->moves++;
}

static uint32_t make(struct builder *b, uint32_t node, uint32_t next);

static uint32_t make_repeat(struct builder *b, const struct scan_node *n,
			    uint32_t next)
{
	uint32_t at = next;

	if (n->max == SCAN_FOREVER) {
		uint32_t loop = add_move(b, MOVE_SPLIT, NOWHERE, next);

		if (b->error)
			return NOWHERE;
		at = make(b, n->a, loop);
		if (b->error)
			return NOWHERE;
		b->move[loop].to = at;
		/* what was made is the last of `min`, or is passed by */
		at = n->min ? at : loop;
		for (uint32_t i = 1; i < n->min && !b->error; i++)
			at = make(b, n->a, at);
		return at;
	}
	for (uint32_t i = n->min; i < n->max && !b->error; i++)
		at = add_move(b, MOVE_SPLIT, make(b, n->a, at), next);
	for (uint32_t i = 0; i < n->min && !b->error; i++)
		at = make(b, n->a, at);
	return at;
}

/* The states of a node, made from the last to the first: what follows it is
 * `next`. Left-deep chains are walked, not recursed into. */
static uint32_t make(struct builder *b, uint32_t node, uint32_t next)
{
	const struct scan_node *n = &b->t->node[node];
	uint32_t at = NOWHERE;

	while (n->kind == SCAN_CAT && !b->error) {
		next = make(b, n->b, next);
		n = &b->t->node[n->a];
	}
	if (b->error)
		return NOWHERE;
	switch (n->kind) {
	case SCAN_EMPTY:
		return next;
	case SCAN_BYTES:
		at = add_move(b, MOVE_BYTES, next, NOWHERE);
		if (at != NOWHERE)
			b->move[at].set = n->set;
		return at;
	case SCAN_ASSERT:
		at = add_move(b, MOVE_ASSERT, next, NOWHERE);
		if (at != NOWHERE)
			b->move[at].assertion = (uint8_t)n->set;
		b->asserts = true;
		return at;
	case SCAN_REPEAT:
		return make_repeat(b, n, next);
	case SCAN_ALT:
		for (; n->kind == SCAN_ALT && !b->error;
		     n = &b->t->node[n->a]) {
			uint32_t one = make(b, n->b, next);

			at = at == NOWHERE ?
				     one : add_move(b, MOVE_SPLIT, one, at);
		}
		return add_move(b, MOVE_SPLIT,
				make(b, (uint32_t)(n - b->t->node), next), at);
	default:
		return NOWHERE;
	}
}

/* ---- classes of bytes --------------------------------------------------- */

static bool is_word(unsigned c)
{
	return c - '0' < 10 || (c | 32) - 'a' < 26 || c == '_';
}

/* Bytes that every set holds or does not are one class; the newline is the
 * last class, alone. */
static void find_classes(struct builder *b)
{
	uint32_t count = 1;

	memset(b->class_of, 0, sizeof(b->class_of));
	for (uint32_t i = 0; i <= b->t->sets; i++) {
		int16_t renamed[256][2];

		memset(renamed, -1, sizeof(renamed));
		count = 0;
		for (unsigned c = 0; c < 256; c++) {
			bool in = i < b->t->sets ?
					  scan_set_has(&b->t->set[i], c) :
					  b->t->words && is_word(c);
			int16_t *name = &renamed[b->class_of[c]][in];

			if (c == '\n')
				continue;
			if (*name < 0)
				*name = (int16_t)count++;
			b->class_of[c] = (uint8_t)*name;
			b->sample[*name] = (uint8_t)c;
		}
	}
	b->class_of['\n'] = (uint8_t)count;
	b->sample[count] = '\n';
	b->classes = count + 1;
}

static unsigned kind_of(const struct builder *b, uint32_t class)
{
	if (class + 1 == b->classes)
		return MK_SCAN_AFTER_END;
	return is_word(b->sample[class]) ? MK_SCAN_AFTER_WORD :
					   MK_SCAN_AFTER_OTHER;
}

/* ---- subsets ------------------------------------------------------------ */

static bool holds(unsigned assertion, unsigned before, unsigned behind)
{
	bool a = before == MK_SCAN_AFTER_WORD, z = behind == MK_SCAN_AFTER_WORD;

	switch (assertion) {
	case SCAN_LINE_BEGIN:
		return before == MK_SCAN_AFTER_END;
	case SCAN_LINE_END:
		return behind == MK_SCAN_AFTER_END;
	case SCAN_WORD_EDGE:
		return a != z;
	case SCAN_WORD_INSIDE:
		return a == z;
	case SCAN_WORD_BEGIN:
		return !a && z;
	default:
		return a && !z;
	}
}

/* Where a subset comes to without a byte: moves of bytes in b->list. True if
 * it matches. */
static bool close_over(struct builder *b, const struct subset *s,
		       unsigned behind)
{
	bool match = false;
	uint32_t depth = 0;

	b->turn++;
	b->listed = 0;
	for (uint32_t i = 0; i < s->count; i++) {
		b->stack[depth++] = b->member[s->at + i];
		while (depth) {
			uint32_t at = b->stack[--depth];
			const struct move *m = &b->move[at];

			if (b->mark[at] == b->turn)
				continue;
			b->mark[at] = b->turn;
			b->work++;
			if (m->kind == MOVE_BYTES) {
				b->list[b->listed++] = at;
			} else if (m->kind == MOVE_MATCH) {
				match = true;
			} else if (m->kind == MOVE_SPLIT) {
				b->stack[depth++] = m->other;
				b->stack[depth++] = m->to;
			} else if (holds(m->assertion, s->before, behind)) {
				b->stack[depth++] = m->to;
			}
		}
	}
	return match;
}

static uint32_t hash_of(const uint32_t *member, uint32_t count, uint8_t before)
{
	uint64_t hash = before + 1;

	for (uint32_t i = 0; i < count; i++)
		hash = (hash ^ member[i]) * MK_SCAN_HASH;
	return (uint32_t)(hash >> 32);
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int more_room(struct builder *b, uint32_t count)
{
	if (b->subsets == b->subset_room) {
		uint32_t room = 2 * b->subset_room;
		struct subset *s = realloc(b->subset, room * sizeof(*s));

		if (!s)
			return -ENOMEM;
		b->subset = s;
		b->subset_room = room;
	}
	while (b->members + count > b->member_room) {
		size_t room = 2 * b->member_room;
		uint32_t *m = realloc(b->member, room * sizeof(*m));

		if (!m)
			return -ENOMEM;
		b->member = m;
		b->member_room = room;
	}
	return 0;
}

/* The number of a subset: its members are sorted here. */
static uint32_t intern(struct builder *b, uint32_t *member, uint32_t count,
		       uint8_t before)
{
	uint32_t slot;

	if (!count && b->subsets)
		return 0;
	if (!b->asserts)
		before = 0;
	qsort(member, count, sizeof(*member), by_number);
	slot = hash_of(member, count, before) & b->bucket_mask;
	for (; b->bucket[slot]; slot = (slot + 1) & b->bucket_mask) {
		const struct subset *s = &b->subset[b->bucket[slot] - 1];

		if (s->count == count && s->before == before &&
		    (!count || !memcmp(b->member + s->at, member,
				       count * sizeof(*member))))
			return b->bucket[slot] - 1;
	}
	if (2 * b->subsets > b->bucket_mask) {
		b->error = -E2BIG;
		return 0;
	}
	b->error = more_room(b, count);
	if (b->error)
		return 0;
	if (count)
		memcpy(b->member + b->members, member,
		       count * sizeof(*member));
	b->subset[b->subsets] = (struct subset){ (uint32_t)b->members, count,
						 before };
	b->members += count;
	b->bucket[slot] = ++b->subsets;
	return b->subsets - 1;
}

/* ---- tables ------------------------------------------------------------- */

struct table {
	uint32_t *entry; /* numbers of subsets, and MK_SCAN_MATCH */
	uint32_t room;   /* states */
	uint32_t start[KINDS];
	uint32_t states;
};

/* Where subset `from` goes with a byte of a class. b->list is closed for the
 * kind of the class. */
static uint32_t step(struct builder *b, uint32_t class, bool find)
{
	unsigned c = b->sample[class];
	uint32_t n = 0;

	b->reach_turn++;
	for (uint32_t i = 0; i < b->listed; i++) {
		const struct move *m = &b->move[b->list[i]];

		if (scan_set_has(&b->t->set[m->set], c) &&
		    b->reach_mark[m->to] != b->reach_turn) {
			b->reach_mark[m->to] = b->reach_turn;
			b->reached[n++] = m->to;
		}
	}
	b->work += b->listed;
	if (find && b->reach_mark[b->start] != b->reach_turn)
		b->reached[n++] = b->start;
	return intern(b, b->reached, n, (uint8_t)kind_of(b, class));
}

static void fill_state(struct builder *b, struct table *t, uint32_t state,
		       bool find)
{
	uint32_t *row = t->entry + (size_t)state * b->classes;
	unsigned kinds = b->asserts ? KINDS : 1;

	for (unsigned kind = 0; kind < kinds && !b->error; kind++) {
		struct subset s = b->subset[state];
		bool match = close_over(b, &s, kind);

		for (uint32_t c = 0; c < b->classes && !b->error; c++) {
			bool last = c + 1 == b->classes;

			if (kinds > 1 && kind_of(b, c) != kind)
				continue;
			if (last)
				row[c] = find ? t->start[MK_SCAN_AFTER_END] : 0;
			else
				row[c] = find && match ? 0 : step(b, c, find);
			if (match)
				row[c] |= MK_SCAN_MATCH;
		}
	}
}

static void clear_subsets(struct builder *b)
{
	b->subsets = 0;
	b->members = 0;
	b->work = 0;
	memset(b->bucket, 0, (b->bucket_mask + 1u) * sizeof(*b->bucket));
}

/* 0; -E2BIG: more than `most` states. */
static int make_table(struct builder *b, struct table *t, bool find,
		      uint32_t most)
{
	clear_subsets(b);
	b->error = 0;
	memset(t, 0, sizeof(*t));
	intern(b, b->reached, 0, 0); /* state 0: nothing any more */
	for (unsigned k = 0; k < KINDS; k++) {
		b->reached[0] = b->start;
		t->start[k] = intern(b, b->reached, 1, (uint8_t)k);
	}
	for (uint32_t state = 0; state < b->subsets && !b->error; state++) {
		if (b->subsets > most || b->work > WORK_MAX ||
		    (uint64_t)b->subsets * b->classes >>
			    ENTRIES_LOG2_MAX) {
			b->error = -E2BIG;
			break;
		}
		if (state >= t->room) {
			uint32_t room = t->room ? 2 * t->room : 64;
			uint32_t *entry = realloc(
				t->entry, (size_t)room * b->classes * 4);

			if (!entry) {
				b->error = -ENOMEM;
				break;
			}
			t->entry = entry;
			t->room = room;
		}
		fill_state(b, t, state, find);
	}
	t->states = b->subsets;
	return b->error;
}

static unsigned log2_of(uint64_t n)
{
	unsigned log2 = 0;

	while (UINT64_C(1) << log2 < n)
		log2++;
	return log2;
}

/* Put a table into the image: numbers of states become indices of rows. */
static int put_table(const struct builder *b, const struct table *t,
		     struct scan_image *m, uint32_t *at, uint32_t *log2)
{
	size_t entries = (size_t)t->states * b->classes;
	uint32_t *out;

	*log2 = log2_of(entries);
	*at = scan_image_table(m, ((UINT64_C(1) << *log2) + 256) * 4);
	if (!*at)
		return -ENOMEM;
	out = (uint32_t *)(void *)(m->data + *at);
	for (size_t i = 0; i < entries; i++)
		out[i] = (t->entry[i] & ~MK_SCAN_MATCH) * b->classes |
			 (t->entry[i] & MK_SCAN_MATCH);
	return 0;
}

/* With which bytes a match can begin, and whether it may be empty, whatever
 * the assertions say. */
static void find_begins(struct builder *b, unsigned char *begins,
			uint32_t *empty)
{
	b->member[0] = b->start;
	*empty = 0;
	for (unsigned before = 0; before < KINDS; before++) {
		struct subset s = { 0, 1, (uint8_t)before };

		for (unsigned kind = 0; kind < KINDS; kind++) {
			*empty |= close_over(b, &s, kind);
			for (uint32_t i = 0; i < b->listed; i++) {
				const struct scan_set *set = &b->t->set[
					b->move[b->list[i]].set];

				for (unsigned c = 0; c < 256; c++)
					if (scan_set_has(set, c))
						begins[c >> 3] |=
							(unsigned char)(
							1u << (c & 7));
			}
		}
	}
}

static int put_bytes(struct builder *b, struct scan_image *m)
{
	uint32_t class_of = scan_image_table(m, 512), empty;
	uint32_t begins = scan_image_table(m, 32);
	struct mk_scan_image *head = scan_image_head(m);

	if (!class_of || !begins)
		return -ENOMEM;
	head->classes = b->classes;
	head->class_of = class_of;
	head->begins = begins;
	memcpy(m->data + class_of, b->class_of, 256);
	memcpy(m->data + class_of + 256, b->class_of, 256);
	m->data[class_of + 256] = (unsigned char)(b->classes - 1);
	find_begins(b, m->data + begins, &empty);
	head->empty = empty;
	return 0;
}

/* Room for sets of all moves. */
static int open_builder(struct builder *b, uint32_t most)
{
	size_t n = (size_t)b->moves + 1;
	uint32_t buckets = 1u << log2_of(4 * (uint64_t)most);

	b->subset_room = 256;
	b->member_room = 4096 + n;
	b->bucket_mask = buckets - 1;
	b->subset = malloc(b->subset_room * sizeof(*b->subset));
	b->member = malloc(b->member_room * sizeof(*b->member));
	b->bucket = malloc(buckets * sizeof(*b->bucket));
	b->mark = calloc(n, sizeof(*b->mark));
	b->list = calloc(n, sizeof(*b->list));
	b->stack = calloc(2 * n + 2, sizeof(*b->stack));
	b->reached = calloc(n, sizeof(*b->reached));
	b->reach_mark = calloc(n, sizeof(*b->reach_mark));
	return b->subset && b->member && b->bucket && b->mark && b->list &&
	       b->stack && b->reached && b->reach_mark ? 0 : -ENOMEM;
}

static void close_builder(struct builder *b)
{
	free(b->move);
	free(b->subset);
	free(b->member);
	free(b->bucket);
	free(b->mark);
	free(b->list);
	free(b->stack);
	free(b->reached);
	free(b->reach_mark);
}

static int build_tables(struct builder *b, uint32_t most, struct scan_image *m)
{
	struct mk_scan_image *head;
	struct table t = { 0 };
	uint32_t at, log2;
	int r = make_table(b, &t, false, most);

	if (!r)
		r = put_table(b, &t, m, &at, &log2);
	if (!r) {
		head = scan_image_head(m);
		head->whole = at;
		head->whole_log2 = log2;
		head->whole_states = t.states;
		for (unsigned k = 0; k < KINDS; k++)
			head->whole_start[k] = t.start[k] * b->classes;
	}
	free(t.entry);
	if (r)
		return r;
	r = make_table(b, &t, true, most < FIND_STATES ? most : FIND_STATES);
	if (!r)
		r = put_table(b, &t, m, &at, &log2);
	if (!r) {
		head = scan_image_head(m);
		head->find = at;
		head->find_log2 = log2;
		head->find_states = t.states;
		for (unsigned k = 0; k < KINDS; k++)
			head->find_start[k] = t.start[k] * b->classes;
	}
	free(t.entry);
	return r == -E2BIG ? 0 : r; /* it goes without */
}

int scan_build_automaton(const struct scan_tree *t, uint32_t root,
			 const struct scan_options *options,
			 struct scan_image *m)
{
	uint32_t most = options->states ? options->states : SCAN_STATES;
	struct builder b = { .t = t };
	uint32_t match = add_move(&b, MOVE_MATCH, NOWHERE, NOWHERE);
	int r;

	b.start = make(&b, root, match);
	r = b.error;
	if (!r)
		r = open_builder(&b, most);
	if (!r) {
		find_classes(&b);
		r = build_tables(&b, most, m);
	}
	if (!r)
		r = put_bytes(&b, m);
	close_builder(&b);
	return r;
}
