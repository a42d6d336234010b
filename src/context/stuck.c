/* SPDX-License-Identifier: Apache-2.0 */
#include "context/stuck.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/order.h"
#include "buffer/buffer.h"
#include "queue/queue.h"

#define TELL_MOST 6u /* slots of a circle that are named */

/* A slot without an answer. */
struct node {
	bool awaits; /* it has run, and waits since */
	uint32_t queue;
	uint16_t opcode;
	bool fence;
	uint64_t ticket;
	mk_buffer_t counters;
	uint32_t word;
	uint64_t value, count; /* waited for, and reached */
	uint32_t raise[MK_RAISE_MAX];
	uint32_t seen; /* 1 + its place on the way that is followed */
};

/* Who raises which counter. */
struct raiser {
	mk_buffer_t counters;
	uint32_t word, node;
};

struct look {
	struct mk_ctx *ctx;
	struct node *nodes; /* by queue and ticket */
	size_t count, room;
	struct raiser *raisers; /* sorted */
	size_t raiser_count;
	bool live; /* somebody does not wait */
};

/* ---- who waits ---------------------------------------------------------- */

enum mk_idle_kind mk_stuck_kind(const struct mk_queue *q, uint64_t ticket)
{
	uint64_t header = mk_queue_header(q, ticket);
	uint32_t begun = mk_queue_begun(q, ticket);

	if (begun)
		return begun & MK_BEGUN_WAITS ? MK_IDLE_AWAITS :
						MK_IDLE_GOES_ON;
	if (header >> 40 & MK_SLOT_WAIT || (uint16_t)header == MK_OP_FENCE)
		return MK_IDLE_WAITS;
	return MK_IDLE_NO;
}

/* What the engine wrote there, and did not change meanwhile. False: it goes
 * on, or has. */
static bool take_await(struct node *n, const struct mk_queue *q,
		       uint64_t ticket)
{
	uint64_t at = ticket & q->mask;
	const struct mk_wire_ext *ext = &q->ext[at];
	uint32_t begun = mk_load_acquire(&ext->begun);

	n->awaits = true;
	n->fence = false;
	n->counters = mk_load_acquire(&q->answers[at].value);
	n->word = mk_load_acquire(&ext->wait_word);
	n->value = mk_load_acquire(&ext->wait_value);
	return begun & MK_BEGUN_WAITS &&
	       mk_load_acquire(&ext->begun) == begun;
}

/* What the host wrote beside the slot, read once. */
static void take(struct node *n, const struct mk_queue *q, uint64_t ticket)
{
	const struct mk_wire_ext *ext = &q->ext[ticket & q->mask];
	uint64_t header = mk_queue_header(q, ticket);
	bool raises = header >> 40 & MK_SLOT_RAISE;

	memset(n, 0, sizeof(*n));
	n->queue = q->desc.index;
	n->ticket = ticket;
	n->opcode = (uint16_t)header;
	n->fence = !(header >> 40 & MK_SLOT_WAIT);
	n->counters = (uint64_t)mk_load_relaxed(&ext->counters.generation)
			      << 32 |
		      mk_load_relaxed(&ext->counters.index);
	n->word = mk_load_relaxed(&ext->wait_word);
	n->value = mk_load_relaxed(&ext->wait_value);
	for (unsigned i = 0; i < MK_RAISE_MAX; i++) {
		n->raise[i] = raises ? mk_load_relaxed(&ext->raise[i]) :
				       MK_NO_COUNTER;
		raises = n->raise[i] != MK_NO_COUNTER;
	}
}

static bool add(struct look *l, const struct mk_queue *q, uint64_t ticket,
		enum mk_idle_kind kind)
{
	if (l->count == l->room) {
		size_t room = l->room ? 2 * l->room : 256;
		void *nodes = realloc(l->nodes, room * sizeof(*l->nodes));

		if (!nodes)
			return false;
		l->nodes = nodes;
		l->room = room;
	}
	take(&l->nodes[l->count++], q, ticket);
	return kind != MK_IDLE_AWAITS ||
	       take_await(&l->nodes[l->count - 1], q, ticket);
}

/* False: there is no need to go on, or no memory. */
static bool collect_queue(struct look *l, const struct mk_queue *q)
{
	uint64_t head = mk_load_acquire(&q->head);
	uint64_t tail = mk_load_acquire(&q->tail);

	for (uint64_t t = head;
	     t != tail && (int64_t)(q->horizon - t) > 0; t++) {
		enum mk_idle_kind kind;

		/* one that was got, and not yet published, is one that nobody
		 * may wait for */
		if (!mk_queue_published(q, t) || mk_queue_answered(q, t))
			continue;
		kind = mk_stuck_kind(q, t);
		if (kind == MK_IDLE_NO || kind == MK_IDLE_GOES_ON ||
		    !add(l, q, t, kind)) {
			l->live = true;
			return false;
		}
	}
	return true;
}

static void collect(struct look *l)
{
	pthread_mutex_lock(&l->ctx->list_lock);
	for (struct mk_queue *q = l->ctx->queues; q; q = q->list)
		if (!collect_queue(l, q))
			break;
	pthread_mutex_unlock(&l->ctx->list_lock);
}

/* ---- what they wait for ------------------------------------------------ */

/* The count that a slot waits for, as it is; false: it cannot be had, and the
 * engine ends the slot for that. */
static bool counter_read(struct mk_ctx *ctx, struct node *n)
{
	const struct mk_buffer_entry *e;
	uint64_t at = 8ull * n->word;
	unsigned char *memory = NULL;
	bool good;

	/* who holds it may wait for what only we can end */
	if (pthread_mutex_trylock(&ctx->lock))
		return false;
	e = mk_buffer_entry_of(ctx, n->counters, "mk_ctx");
	good = e && at + 8 <= e->size;
	if (good)
		memory = mk_buffer_memory(ctx, e);
	if (memory)
		n->count = mk_load_acquire((uint64_t *)(void *)(memory + at));
	pthread_mutex_unlock(&ctx->lock);
	if (!good || memory)
		return good;
	return !mk_buffer_read(ctx, n->counters, at, &n->count, 8);
}

/* MK_STUCK_FOUND: none of them is reached. */
static enum mk_stuck counters_read(struct look *l, struct mk_named *ready)
{
	for (size_t i = 0; i < l->count; i++) {
		struct node *n = &l->nodes[i];

		if (n->fence)
			continue;
		if (!counter_read(l->ctx, n))
			return MK_STUCK_NOT;
		if (n->count & MK_COUNTER_FAILED || n->count >= n->value) {
			if (n->awaits) /* it is about to go on */
				return MK_STUCK_NOT;
			ready->queue = n->queue;
			ready->ticket = n->ticket;
			return MK_STUCK_READY;
		}
	}
	return MK_STUCK_FOUND;
}

/* ---- who would raise it ------------------------------------------------ */

static int raiser_order(const void *a, const void *b)
{
	const struct raiser *x = a, *y = b;

	if (x->counters != y->counters)
		return x->counters < y->counters ? -1 : 1;
	if (x->word != y->word)
		return x->word < y->word ? -1 : 1;
	return x->node < y->node ? -1 : x->node > y->node;
}

static bool raisers_sort(struct look *l)
{
	l->raisers = calloc(l->count * MK_RAISE_MAX, sizeof(*l->raisers));
	if (!l->raisers)
		return false;
	for (size_t i = 0; i < l->count; i++)
		for (unsigned k = 0; k < MK_RAISE_MAX &&
				     l->nodes[i].raise[k] != MK_NO_COUNTER;
		     k++)
			l->raisers[l->raiser_count++] = (struct raiser){
				.counters = l->nodes[i].counters,
				.word = l->nodes[i].raise[k],
				.node = (uint32_t)i,
			};
	qsort(l->raisers, l->raiser_count, sizeof(*l->raisers), raiser_order);
	return true;
}

/* The slot that this one waits for, or one of them; NULL: nobody. */
static struct node *next_of(const struct look *l, const struct node *n)
{
	struct raiser key = { .counters = n->counters, .word = n->word };
	size_t low = 0, high = l->raiser_count;

	if (n->fence) /* for one before it, in its queue */
		return n > l->nodes && n[-1].queue == n->queue ?
			       l->nodes + (n - l->nodes) - 1 : NULL;
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (raiser_order(&l->raisers[mid], &key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == l->raiser_count ||
	    l->raisers[low].counters != n->counters ||
	    l->raisers[low].word != n->word)
		return NULL;
	return &l->nodes[l->raisers[low].node];
}

/* ---- in words ----------------------------------------------------------- */

static void put(struct mk_error *why, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void put(struct mk_error *why, const char *format, ...)
{
	size_t used = strlen(why->text);
	va_list args;

	va_start(args, format);
	vsnprintf(why->text + used, sizeof(why->text) - used, format, args);
	va_end(args);
}

static void put_node(const struct look *l, struct mk_error *why,
		     const struct node *n)
{
	char name[MK_HANDLER_NAME_BYTES];

	mk_ctx_handler_name(l->ctx, n->opcode % MK_OPCODES, name);
	put(why, "ticket %" PRIu64 " of queue %" PRIu32 " (%s) ", n->ticket,
	    n->queue, name);
	if (n->fence)
		put(why, "waits for the slots before it");
	else
		put(why, "waits until word %" PRIu32 " of buffer 0x%" PRIx64
		    " is %" PRIu64 " (it is %" PRIu64 ")", n->word,
		    n->counters, n->value, n->count);
}

/* What handlers wait for is known, and not what they would raise. */
static void tell_others(const struct look *l, struct mk_error *why,
			const struct node *told)
{
	uint32_t named = 1;

	for (size_t i = 0; i < l->count && named < TELL_MOST; i++) {
		const struct node *n = &l->nodes[i];

		if (n == told || !n->awaits)
			continue;
		put(why, "; ");
		put_node(l, why, n);
		named++;
	}
}

/* Name the circle that the way from `first` ends in, or the end of the way. */
static void tell(struct look *l, struct mk_error *why)
{
	struct node *n = l->nodes, *next;
	uint32_t steps = 0, named = 0;

	while (n->fence) /* a fence alone is not what it is about */
		n++;
	for (;;) {
		n->seen = ++steps;
		next = next_of(l, n);
		if (!next || next->seen)
			break;
		n = next;
	}
	put(why, "%zu slots wait in vain: ", l->count);
	if (!next) {
		put_node(l, why, n);
		put(why, ", and nobody in flight raises it");
		tell_others(l, why, n);
		return;
	}
	steps -= next->seen - 1; /* length of the circle */
	for (n = next; named < steps && named < TELL_MOST; named++) {
		put(why, named ? ", which " : "");
		put_node(l, why, n);
		n = next_of(l, n);
		put(why, n->fence || named + 1 < steps ?
			 ", for ticket %" PRIu64 " of queue %" PRIu32 :
			 ", for ticket %" PRIu64 " of queue %" PRIu32
			 ": a circle", n->ticket, n->queue);
	}
	if (named < steps)
		put(why, ", and %" PRIu32 " more in a circle", steps - named);
}

/* ---- ending them -------------------------------------------------------- */

/* One pass over those that wait: mark them, or ask them to end. How many. */
static unsigned pass(const struct look *l, bool ask)
{
	unsigned count = 0;

	for (struct mk_queue *q = l->ctx->queues; q; q = q->list)
		for (size_t i = 0; i < l->count; i++) {
			const struct node *n = &l->nodes[i];
			uint64_t head = mk_load_acquire(&q->head);

			if (n->queue != q->desc.index || n->fence ||
			    n->ticket - head >=
				    mk_load_acquire(&q->tail) - head ||
			    mk_queue_answered(q, n->ticket))
				continue;
			if (ask)
				mk_queue_ask_to_end(q, n->ticket);
			count += ask || mk_queue_mark_stuck(q, n->ticket);
		}
	return count;
}

/* All are marked before one is asked: the end of the first may be felt by
 * others at once. */
static unsigned end_all(const struct look *l)
{
	unsigned count;

	pthread_mutex_lock(&l->ctx->list_lock);
	count = pass(l, false);
	if (count)
		pass(l, true);
	pthread_mutex_unlock(&l->ctx->list_lock);
	return count;
}

enum mk_stuck mk_stuck_look(struct mk_ctx *ctx, struct mk_error *why,
			    struct mk_named *ready)
{
	struct look l = { .ctx = ctx };
	enum mk_stuck r = MK_STUCK_NOT;
	uint64_t restarts = mk_load_acquire(&ctx->restarts);
	bool waits = false;

	collect(&l);
	for (size_t i = 0; i < l.count; i++)
		waits |= !l.nodes[i].fence;
	if (!l.live && waits)
		r = counters_read(&l, ready);
	/* what was seen is to be of one engine, which lives */
	if (mk_load_acquire(&ctx->lost) != MK_ALIVE ||
	    mk_load_acquire(&ctx->restarts) != restarts)
		r = MK_STUCK_NOT;
	if (r == MK_STUCK_FOUND) {
		why->code = -EDEADLK;
		snprintf(why->operation, sizeof(why->operation), "mk_ctx");
		why->text[0] = '\0';
		if (raisers_sort(&l))
			tell(&l, why);
		if (!end_all(&l))
			r = MK_STUCK_NOT;
	}
	free(l.nodes);
	free(l.raisers);
	return r;
}
