/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes as a graph of slots: they wait for counters that earlier ones raise,
 * have tiles, make work, go on as themselves, come as recorded batches, and
 * are cancelled. Every slot has to be answered once; when all have been, they
 * are gone through in the order in which they were submitted: what each ended
 * with, and how often it ran, follows from those that it waited for.
 *
 * Each run of a handler counts itself in a cell, and looks at the cell of a
 * slot that ended before: all of that one's runs have to be seen.
 *
 * Input: steps, one after the other: a byte that says which, then the bytes
 * that it takes. Missing bytes are 0.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <megakernel.h>
#include <megakernel/handler.h>

#include "input.h"
#include "require.h"

#define QUEUES 2u
#define ENTRIES 16u
#define NODES 192u
#define WORDS 64u
#define BATCHES 4u
#define BATCH_MOST 6u
#define BEFORE_MOST 2u
#define NOBODY UINT32_MAX
#define STEPS_MOST 300u
#define CONTEXT_RUNS 128u              /* then the context is made anew */
#define BOUND_NS UINT64_C(20000000000) /* longer is a stall */
#define FAILS (-2000)
#define WRONG (-7777)

enum kind { PLAIN, TILED, SPAWNS, CHAIN, YIELDS, AWAITS, FENCE, KINDS, PIECE };

struct node_args {
	struct mk_ref cells, counters;
	uint32_t self, kind, fails, left;
	uint32_t from, expect; /* a cell, and what it has to be */
	uint32_t word, value;  /* that AWAITS waits for */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the handler -------------------------------------------------------- */

/* Makes `left` pieces, of which the first makes one more. The last fails, if
 * one is to. In place where there is no room. */
static int32_t spawn_all(struct mk_task *task, const struct node_args *args,
			 uint64_t *cell)
{
	struct node_args piece = *args;
	int32_t result = 0, r;

	piece.kind = PIECE;
	piece.fails = 0;
	for (uint32_t i = args->left; i--;) {
		piece.left = i == 0;
		piece.fails = args->fails && i == 0;
		r = mk_spawn(task, mk_opcode(task), &piece, sizeof(piece));
		if (r == -MK_EFULL) {
			mk_fetch_add(cell, 1 + piece.left);
			result = piece.fails ? FAILS : result;
		} else if (r) {
			return WRONG;
		}
	}
	return result;
}

static int32_t run_node(struct mk_task *task, const struct node_args *args,
			uint64_t *cell)
{
	struct node_args next = *args;
	int32_t result = args->fails ? FAILS : 0;

	mk_fetch_add(cell, 1);
	switch (args->left ? args->kind : (uint32_t)PLAIN) {
	case TILED:
		mk_tile_add(task, 1);
		return mk_tile(task) + 1 == mk_tiles(task) ? result : 0;
	case SPAWNS:
		return spawn_all(task, args, cell);
	case PIECE:
		next.left = 0;
		next.fails = 0;
		if (mk_spawn(task, mk_opcode(task), &next, sizeof(next)))
			mk_fetch_add(cell, 1);
		return result;
	case CHAIN:
		next.left--;
		return mk_continue(task, mk_opcode(task), &next, sizeof(next));
	case YIELDS:
		next.left--;
		return mk_yield(task, &next, sizeof(next));
	case AWAITS:
		next.left = 0;
		return mk_await(task, args->counters, args->word, args->value,
				mk_opcode(task), &next, sizeof(next));
	}
	return result;
}

MK_HANDLER(node, struct node_args)
{
	uint64_t *cells = mk_write(task, args->cells, 8 * NODES);

	if (!cells || args->self >= NODES)
		return WRONG;
	if (args->from != NOBODY &&
	    (args->from >= NODES ||
	     mk_load(&cells[args->from]) != args->expect))
		return WRONG;
	return run_node(task, args, &cells[args->self]);
}

MK_MODULE_DEFINE(graph_handlers);

/* ---- what is believed --------------------------------------------------- */

struct node {
	struct node_args args;
	unsigned queue;
	uint32_t waits, awaits;        /* words; NOBODY: none */
	uint32_t raises;               /* word; NOBODY: none */
	uint32_t before[BEFORE_MOST];  /* in its batch */
	uint32_t runs;                 /* if all goes well */
	uint16_t tiles;
	bool late, cancelled, answered;
	int32_t result;
	uint64_t value;
};

struct word {
	uint64_t raised;
	uint32_t last; /* of those that raise it */
	bool closed;   /* somebody waits for it */
	bool bad;      /* at the end: one of them failed */
};

static struct mk_ctx *ctx;
static struct mk_queue *queue[QUEUES];
static mk_buffer_t cells, counters;
static uint16_t opcode;
static unsigned runs;

static struct node nodes[NODES];
static unsigned count;
static struct word words[WORDS];
static struct mk_batch *batches[BATCHES];
static unsigned batch_count;
static uint64_t published[QUEUES];

/* ---- answers ------------------------------------------------------------ */

static void reap(unsigned which, unsigned least)
{
	struct mk_completion c[8];
	int r;

	if (least)
		REQUIRE(mk_queue_wait(queue[which], least, BOUND_NS) > 0);
	r = mk_queue_reap(queue[which], c, 8);
	REQUIRE(r >= 0);
	for (int i = 0; i < r; i++) {
		struct node *n = &nodes[c[i].user_data % NODES];

		REQUIRE(c[i].user_data < count && !n->answered);
		REQUIRE(n->queue == which);
		n->answered = true;
		n->result = c[i].result;
		n->value = c[i].value;
	}
}

static struct mk_slot *get(unsigned which)
{
	struct mk_slot *slot;
	int r;

	while ((r = mk_queue_get(queue[which], 1, &slot)) == -EAGAIN)
		reap(which, 1);
	REQUIRE(r == 1);
	return slot;
}

/* ---- nodes -------------------------------------------------------------- */

static uint32_t runs_of(const struct node *n)
{
	uint32_t left = n->args.left;

	switch (n->args.kind) {
	case TILED:
		return n->tiles;
	case SPAWNS:
		return 1 + left + (left > 0);
	case CHAIN:
	case YIELDS:
	case AWAITS:
		return 1 + left;
	case FENCE:
		return 0;
	}
	return 1;
}

/* A node by two bytes, that waits for nothing yet. */
static struct node *node_new(unsigned which)
{
	struct node *n = &nodes[count];
	unsigned kind = take(), size = take();

	memset(n, 0, sizeof(*n));
	n->queue = which;
	n->waits = n->awaits = n->raises = NOBODY;
	n->before[0] = n->before[1] = NOBODY;
	n->tiles = 1;
	n->args.cells = mk_buffer_ref(cells);
	n->args.counters = mk_buffer_ref(counters);
	n->args.self = count++;
	n->args.kind = kind % KINDS;
	n->args.fails = kind >> 6 == 3 && n->args.kind != FENCE;
	n->args.left = size % 40;
	n->args.from = NOBODY;
	if (n->args.kind == TILED) {
		n->tiles = (uint16_t)(2 + size);
		n->args.left = 1;
	}
	if (n->args.kind == AWAITS)
		n->args.left = 0; /* unless there is what to wait for */
	n->runs = runs_of(n);
	return n;
}

/* See all that this one has done. */
static void looks_at(struct node *n, uint32_t from)
{
	if (from == NOBODY)
		return;
	n->args.from = from;
	n->args.expect = nodes[from].runs;
}

static void slot_set(struct mk_slot *slot, const struct node *n,
		     uint64_t user_data)
{
	mk_slot_init(slot, n->args.kind == FENCE ? MK_OP_FENCE : opcode,
		     user_data);
	if (n->args.kind != FENCE)
		memcpy(slot->bytes, &n->args, sizeof(n->args));
	slot->tiles = n->tiles;
}

/* A word that is raised is closed by the first that waits for it. */
static void wait_for(struct node *n, struct mk_slot *slot, uint32_t word)
{
	struct word *w = &words[word];

	w->closed = true;
	if (n->args.kind == AWAITS) {
		n->awaits = word;
		n->args.left = 1;
		n->args.word = word;
		n->args.value = (uint32_t)w->raised;
		n->runs = runs_of(n);
		return;
	}
	n->waits = word;
	if (n->args.kind != FENCE)
		looks_at(n, w->last);
	slot_set(slot, n, n->args.self);
	REQUIRE(!mk_slot_wait(queue[n->queue], slot, counters, word,
			      w->raised));
}

static void raise(struct node *n, struct mk_slot *slot, uint32_t word)
{
	struct word *w = &words[word];

	if (w->closed)
		return;
	n->raises = word;
	w->raised++;
	w->last = n->args.self;
	REQUIRE(!mk_slot_raise(queue[n->queue], slot, counters, word));
}

/* A single slot: which words, and whether it is late. */
static void do_slot(unsigned which)
{
	struct mk_slot *slot = get(which);
	struct node *n = node_new(which);
	unsigned how = take(), in = take() % WORDS, out = take() % WORDS;

	if (how & 1)
		wait_for(n, slot, in);
	if (n->waits == NOBODY)
		slot_set(slot, n, n->args.self);
	if (how & 6)
		raise(n, slot, out);
	if ((how & 0xf0) == 0xf0) {
		n->late = true;
		REQUIRE(!mk_slot_deadline(queue[which], slot, 1));
	}
	REQUIRE(mk_queue_submit(queue[which], slot, 1) == 1);
	published[which]++;
}

/* ---- batches ------------------------------------------------------------ */

static void batch_record(struct mk_batch *b, unsigned which, unsigned size)
{
	struct mk_slot slot;
	unsigned first = count;

	for (unsigned i = 0; i < size; i++) {
		struct node *n = node_new(which);

		slot_set(&slot, n, i);
		REQUIRE(mk_batch_add(b, &slot) == (int)i);
		for (unsigned k = 0; i && k < BEFORE_MOST; k++) {
			unsigned back = take() % (i + 1);

			if (!back)
				continue;
			n->before[k] = first + i - back;
			REQUIRE(!mk_batch_after(b, i, i - back));
			looks_at(n, n->before[k]);
		}
	}
	REQUIRE(mk_batch_after(b, size, 0) == -EINVAL);
	REQUIRE(mk_batch_seal(b) == (int)size);
	REQUIRE(mk_batch_seal(b) == -EBUSY);
}

/* The nodes of another run, as those of the first. */
static void batch_again(unsigned first, unsigned size)
{
	for (unsigned i = 0; i < size; i++) {
		struct node *n = &nodes[count];

		*n = nodes[first + i];
		n->answered = n->cancelled = false;
		for (unsigned k = 0; k < BEFORE_MOST; k++)
			if (n->before[k] != NOBODY)
				n->before[k] += count - n->args.self;
		if (n->args.from != NOBODY)
			n->args.from += count - n->args.self;
		n->args.self = count++;
	}
}

static void batch_submit(struct mk_batch *b, unsigned which, unsigned first,
			 unsigned size)
{
	int r;

	for (unsigned i = 0; i < size; i++)
		if (nodes[first + i].args.kind != FENCE)
			REQUIRE(!mk_batch_patch(b, i, 0,
						&nodes[first + i].args,
						sizeof(struct node_args)));
	while ((r = mk_batch_submit(b, first)) == -EAGAIN)
		reap(which, 1);
	REQUIRE(r == (int)size);
	published[which] += size;
}

static void do_batch(unsigned which)
{
	unsigned size = 1 + take() % BATCH_MOST, times = 1 + take() % 3;
	unsigned first = count;
	struct mk_batch_params p = {
		.size = sizeof(p), .slots = size, .runs = 1 + take() % 3,
	};
	struct mk_batch *b;

	if (batch_count == BATCHES || count + size * times > NODES)
		return;
	REQUIRE(!mk_batch_create(queue[which], &p, &b));
	batches[batch_count++] = b;
	batch_record(b, which, size);
	for (unsigned i = 0; i < times; i++) {
		if (i)
			batch_again(first, size);
		batch_submit(b, which, first + i * size, size);
	}
}

/* ---- at the end --------------------------------------------------------- */

static bool upstream_of(const struct node *n)
{
	if (n->waits != NOBODY && words[n->waits].bad)
		return true;
	for (unsigned k = 0; k < BEFORE_MOST; k++)
		if (n->before[k] != NOBODY && nodes[n->before[k]].result < 0)
			return true;
	return false;
}

static void check_node(const struct node *n, uint64_t cell)
{
	bool never = upstream_of(n);
	int32_t result = never ? -MK_EUPSTREAM :
			 n->awaits != NOBODY && words[n->awaits].bad ?
				 -MK_EUPSTREAM :
			 n->args.fails ? FAILS : 0;

	REQUIRE(n->answered && cell <= n->runs);
	if (n->late) {
		never = true;
		result = -MK_EDEADLINE;
	}
	if (n->cancelled && n->result == -MK_ECANCELLED)
		return;
	REQUIRE(n->result == result);
	if (never)
		REQUIRE(!cell);
	else if (!result)
		REQUIRE(cell == n->runs);
	if (!result && n->args.kind == TILED)
		REQUIRE(n->value == n->tiles);
}

static void check_queue(unsigned which)
{
	struct mk_queue_stats s;

	REQUIRE(!mk_queue_stats(queue[which], &s));
	REQUIRE(s.submitted == published[which] && !s.got);
	REQUIRE(!s.ready && !s.in_flight && s.submitted == s.ok + s.failed);
	REQUIRE(s.failed == s.faulted + s.bad_opcode + s.bad_args + s.expired +
				    s.cancelled + s.lost + s.upstream +
				    s.deadlocked + s.other);
}

static void check_counters(void)
{
	uint64_t now[WORDS];

	REQUIRE(!mk_buffer_read(ctx, counters, 0, now, sizeof(now)));
	for (unsigned i = 0; i < WORDS; i++)
		REQUIRE(now[i] == (words[i].raised |
				   (words[i].bad ? MK_COUNTER_FAILED : 0)));
}

/* Nothing is in flight: begin anew. */
static void forget(void)
{
	static const uint64_t zero[NODES];

	REQUIRE(!mk_buffer_write(ctx, cells, 0, zero, 8 * NODES));
	REQUIRE(!mk_buffer_write(ctx, counters, 0, zero, 8 * WORDS));
	for (unsigned i = 0; i < batch_count; i++)
		REQUIRE(!mk_batch_destroy(batches[i], BOUND_NS));
	batch_count = 0;
	count = 0;
	memset(words, 0, sizeof(words));
	for (unsigned i = 0; i < WORDS; i++)
		words[i].last = NOBODY;
}

static void settle(void)
{
	struct mk_ctx_stats s;
	uint64_t cell[NODES];

	for (unsigned i = 0; i < count; i++)
		while (!nodes[i].answered)
			reap(nodes[i].queue, 1);
	REQUIRE(!mk_buffer_read(ctx, cells, 0, cell, sizeof(cell)));
	for (unsigned i = 0; i < count; i++) {
		const struct node *n = &nodes[i];

		check_node(n, cell[i]);
		if (n->raises != NOBODY)
			words[n->raises].bad |= n->result < 0;
	}
	check_counters();
	for (unsigned i = 0; i < QUEUES; i++)
		check_queue(i);
	REQUIRE(!mk_ctx_stats(ctx, &s) && s.spawned == s.spawned_ended);
	forget();
}

/* ---- steps -------------------------------------------------------------- */

static void do_cancel(unsigned which)
{
	unsigned what = take();

	if (what & 1 && count) {
		struct node *n = &nodes[what / 2 % count];
		int r = mk_queue_cancel(queue[n->queue], n->args.self);

		REQUIRE(r == 0 || (r == 1 && !n->answered));
		n->cancelled |= r == 1;
		return;
	}
	REQUIRE(mk_queue_cancel_all(queue[which]) >= 0);
	for (unsigned i = 0; i < count; i++)
		nodes[i].cancelled |= nodes[i].queue == which;
}

static void step(void)
{
	unsigned what = take(), which = what >> 7;

	if (count == NODES)
		settle();
	switch (what % 16) {
	case 0:
		settle();
		break;
	case 1:
	case 2:
		do_batch(which);
		break;
	case 3:
		do_cancel(which);
		break;
	case 4:
		reap(which, 0);
		break;
	case 5:
		REQUIRE(!mk_ctx_quiesce(ctx, BOUND_NS));
		REQUIRE(!mk_ctx_resume(ctx));
		break;
	default:
		do_slot(which);
	}
}

static void begin(void)
{
	struct mk_ctx_params p = {
		.size = sizeof(p), .isolation = MK_ISOLATION_NONE,
		.workers = 1 + runs % 3,
		.made_mode = runs % 2 ? MK_MADE_FIXED : MK_MADE_STEAL,
		.made_entries = 8,
	};
	struct mk_queue_params qp = { .size = sizeof(qp),
				      .entries = ENTRIES };
	struct mk_handler_info info;

	REQUIRE(!mk_ctx_create(&p, &ctx));
	REQUIRE(!mk_module_load_static(ctx, &graph_handlers, 0, NULL));
	REQUIRE(!mk_handler_find(ctx, "node", &info));
	opcode = info.opcode;
	REQUIRE(!mk_buffer_create(ctx, 8 * NODES, 0, &cells));
	REQUIRE(!mk_buffer_create(ctx, 8 * WORDS, 0, &counters));
	for (unsigned i = 0; i < QUEUES; i++) {
		REQUIRE(!mk_queue_create(ctx, &qp, &queue[i]));
		published[i] = 0;
	}
	forget();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned steps = 0;

	input = data;
	input_left = size;
	if (!ctx)
		begin();
	while (input_left && steps++ < STEPS_MOST)
		step();
	settle();
	if (++runs % CONTEXT_RUNS)
		return 0;
	REQUIRE(!mk_ctx_destroy(ctx, BOUND_NS));
	ctx = NULL;
	return 0;
}
