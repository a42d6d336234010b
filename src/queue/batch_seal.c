/* SPDX-License-Identifier: Apache-2.0 */
/* What sealing a batch works out: counters for "after", and whether every
 * wait can be reached. */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "queue/batch.h"

static const char op[] = "mk_batch_seal";

static int no_memory(const struct mk_batch *b)
{
	return mk_error_set(-ENOMEM, ENOMEM, op, "no memory for the %zu edges "
			    "and %u counters", b->edge_count, b->counters);
}

/* ---- slots that come after others --------------------------------------- */

/*
 * Slots that come after the same ones wait for the same counter, which each
 * of these raises once. So a layer that waits for all of the layer before
 * costs one counter, and a slot that many wait for alone raises one.
 */
struct group {
	size_t first, count; /* of its edges */
	uint64_t hash;       /* of whom they come after */
	uint32_t counter;
};

static int edge_order(const void *a, const void *b)
{
	const struct mk_batch_edge *x = a, *y = b;

	if (x->slot != y->slot)
		return x->slot < y->slot ? -1 : 1;
	return x->before < y->before ? -1 : x->before > y->before;
}

/* Sorted by slot, each once. */
static void edges_sort(struct mk_batch *b)
{
	size_t n = 0;

	if (!b->edge_count)
		return;
	qsort(b->edges, b->edge_count, sizeof(*b->edges), edge_order);
	for (size_t i = 1; i < b->edge_count; i++)
		if (edge_order(&b->edges[n], &b->edges[i]))
			b->edges[++n] = b->edges[i];
	b->edge_count = n + 1;
}

static struct group group_at(const struct mk_batch *b, size_t first)
{
	const struct mk_batch_edge *e = b->edges;
	struct group g = { .first = first, .hash = 14695981039346656037ull };

	for (size_t i = first;
	     i < b->edge_count && e[i].slot == e[first].slot; i++) {
		g.hash = (g.hash ^ e[i].before) * 1099511628211ull;
		g.count++;
	}
	return g;
}

static bool group_same(const struct mk_batch *b, const struct group *x,
		       const struct group *y)
{
	if (x->hash != y->hash || x->count != y->count)
		return false;
	for (size_t i = 0; i < x->count; i++)
		if (b->edges[x->first + i].before !=
		    b->edges[y->first + i].before)
			return false;
	return true;
}

/* Let the slots that a new group comes after raise its counter. */
static int group_raise(struct mk_batch *b, const struct group *g)
{
	for (size_t i = 0; i < g->count; i++) {
		uint32_t before = b->edges[g->first + i].before;
		struct mk_batch_flow *f = &b->flow[before];

		if (b->slots[before].flags & (MK_SLOT_WAIT | MK_SLOT_RAISE) &&
		    f->buffer)
			return mk_error_set(
				-EINVAL, 0, op,
				"slot %u comes after slot %u, which has its "
				"counters in buffer 0x%llx; let a no-op stand "
				"between them", b->edges[g->first].slot,
				before, (unsigned long long)f->buffer);
		if (f->raises == MK_RAISE_MAX)
			return mk_error_set(
				-E2BIG, 0, op,
				"slot %u would have to raise more than %u "
				"counters, because slot %u and others come "
				"after it; let a no-op after it stand for it",
				before, MK_RAISE_MAX,
				b->edges[g->first].slot);
		f->raise[f->raises++] = g->counter;
		b->slots[before].flags |= MK_SLOT_RAISE;
	}
	return 0;
}

static int group_wait(struct mk_batch *b, const struct group *g)
{
	uint32_t slot = b->edges[g->first].slot;
	struct mk_batch_flow *f = &b->flow[slot];

	if (b->slots[slot].flags & MK_SLOT_WAIT)
		return mk_error_set(-EINVAL, 0, op,
				    "slot %u waits for counter %u and comes "
				    "after slot %u; it can wait for one "
				    "counter: let a no-op stand for the other",
				    slot, f->word,
				    b->edges[g->first].before);
	if (b->slots[slot].flags & MK_SLOT_RAISE && f->buffer)
		return mk_error_set(-EINVAL, 0, op,
				    "slot %u raises counters of buffer "
				    "0x%llx, and comes after slot %u, which "
				    "takes a counter of the batch; let a "
				    "no-op after it raise the others", slot,
				    (unsigned long long)f->buffer,
				    b->edges[g->first].before);
	f->word = g->counter;
	f->value = g->count;
	b->slots[slot].flags |= MK_SLOT_WAIT;
	if (g->count == 1) /* nobody else raises a group's counter */
		b->slots[slot].flags |= MK_SLOT_AFTER;
	return 0;
}

/* The group with the same slots before it, or a new one; by open addressing
 * in a table of mask + 1 places. */
static int group_place(struct mk_batch *b, struct group *table, size_t mask,
		       struct group *g)
{
	size_t at = g->hash & mask;

	while (table[at].count && !group_same(b, &table[at], g))
		at = (at + 1) & mask;
	if (table[at].count) {
		g->counter = table[at].counter;
		return 0;
	}
	g->counter = b->counters++;
	table[at] = *g;
	return group_raise(b, g);
}

int mk_batch_join(struct mk_batch *b)
{
	struct group *table, g;
	size_t mask = 1;
	int r = 0;

	edges_sort(b);
	while (mask < 2 * (size_t)b->count)
		mask *= 2;
	table = calloc(mask, sizeof(*table));
	if (!table)
		return no_memory(b);
	for (size_t i = 0; i < b->edge_count && !r; i += g.count) {
		g = group_at(b, i);
		r = group_place(b, table, mask - 1, &g);
		if (!r)
			r = group_wait(b, &g);
	}
	free(table);
	return r;
}

/* ---- what is reached ---------------------------------------------------- */

static int unreached(uint32_t slot, const struct mk_batch_flow *f,
		     uint64_t count)
{
	return mk_error_set(-EDEADLK, 0, op,
			    "slot %u waits until counter %u is %llu, but the "
			    "slots before it raise it %llu times: it would "
			    "wait for ever", slot, f->word,
			    (unsigned long long)f->value,
			    (unsigned long long)count);
}

int mk_batch_reachable(struct mk_batch *b)
{
	uint64_t *count = calloc(b->counters + 1, sizeof(*count));
	int r = 0;

	if (!count)
		return no_memory(b);
	for (uint32_t i = 0; i < b->count && !r; i++) {
		const struct mk_batch_flow *f = &b->flow[i];
		uint8_t flags = b->slots[i].flags;

		if (f->buffer)
			continue;
		if (flags & MK_SLOT_WAIT && count[f->word] < f->value)
			r = unreached(i, f, count[f->word]);
		for (uint32_t k = 0; k < f->raises; k++)
			count[f->raise[k]]++;
	}
	free(count);
	return r;
}

int mk_batch_steps(struct mk_batch *b)
{
	uint32_t *count = calloc(b->counters + 1, sizeof(*count));

	if (!count)
		return no_memory(b);
	for (uint32_t i = 0; i < b->count; i++)
		for (uint32_t k = 0; k < b->flow[i].raises; k++)
			if (!b->flow[i].buffer)
				count[b->flow[i].raise[k]]++;
	for (uint32_t i = 0; i < b->count; i++)
		b->flow[i].step = b->slots[i].flags & MK_SLOT_WAIT &&
						  !b->flow[i].buffer ?
					  count[b->flow[i].word] : 0;
	free(count);
	return 0;
}
