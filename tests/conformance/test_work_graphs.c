/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 600 */
/*
 * Random acyclic graphs of slots, against a model that runs them one after
 * the other: who fails, who is not run because of that, what each leaves
 * behind, how far each counter comes. As single slots on two queues, and as a
 * recorded batch that is published several times.
 *
 *	MK_GRAPHS=10000 test_conformance_work_graphs
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/conform.h"

#define NODES 5000u
#define IN_MOST 8u
#define ENTRIES 8192u
#define RUNS 3u
#define ANSWER_NS 20000000000ull /* between two answers: a hang */

#ifndef GRAPHS
#define GRAPHS 400u /* few enough for every day */
#endif

static unsigned graphs = GRAPHS;

static const char source[] =
	"#include <megakernel/handler.h>\n"
	"struct node { struct mk_ref cells; uint32_t self, count, from[8]; };\n"
	"MK_HANDLER_THREAD(node, struct node)\n"
	"{\n"
	"	uint64_t h = args->self * 0x9e3779b97f4a7c15ull + 1;\n"
	"	uint64_t *to = (uint64_t *)mk_write_at(task, args->cells,\n"
	"					       8ull * args->self, 8);\n"
	"	uint32_t n = args->count & 15u;\n"
	"	if (!to)\n"
	"		return mk_fail(task);\n"
	"	for (uint32_t i = 0; i < n && i < 8; i++) {\n"
	"		const uint64_t *p = (const uint64_t *)mk_read_at(\n"
	"			task, args->cells, 8ull * args->from[i], 8);\n"
	"		if (!p)\n"
	"			return mk_fail(task);\n"
	"		h = (h ^ *p) * 0x100000001b3ull + (h >> 29);\n"
	"	}\n"
	"	h += args->count >> 8;\n"
	"	*to = h;\n"
	"	mk_value(task, h);\n"
	"	return args->count & 128u ? -(int32_t)(1000u + n) : (int32_t)n;\n"
	"}\n";

/* As the handler has it. */
struct node_args {
	struct mk_ref cells;
	uint32_t self, count, from[IN_MOST];
};

struct node {
	uint32_t in, out; /* edges */
	uint32_t from[IN_MOST], to[MK_RAISE_MAX];
	bool fails;
	/* the model's */
	int32_t result;
	uint64_t cell;
	/* seen */
	bool answered;
};

struct rig {
	struct mk_ctx *ctx;
	struct mk_queue *q[2];
	mk_buffer_t counters, cells;
	uint16_t opcode;
	uint64_t seed;
	unsigned count;
	struct node *node;
	uint64_t *words; /* counters or cells, as read */
};

static unsigned below(struct rig *r, unsigned n)
{
	return (unsigned)(support_random(&r->seed) % n);
}

/* ---- graphs ------------------------------------------------------------- */

/* Mostly small, sometimes as large as they come. */
static unsigned some_count(struct rig *r)
{
	unsigned kind = below(r, 200);

	if (kind == 0)
		return 1 + below(r, NODES);
	if (kind < 10)
		return 1 + below(r, 400);
	return 1 + below(r, 30);
}

static void edge(struct rig *r, uint32_t from, uint32_t to)
{
	struct node *a = &r->node[from], *b = &r->node[to];

	if (a->out == MK_RAISE_MAX || b->in == IN_MOST)
		return;
	for (unsigned i = 0; i < b->in; i++)
		if (b->from[i] == from)
			return;
	a->to[a->out++] = to;
	b->from[b->in++] = from;
}

/* Chains, layers, or anything; edges lead from lower to higher numbers. */
static void make_graph(struct rig *r)
{
	unsigned shape = below(r, 4), near = 1 + below(r, 64);
	unsigned bad = below(r, 4) ? 0 : 20 + below(r, 100);

	r->count = some_count(r);
	memset(r->node, 0, r->count * sizeof(*r->node));
	for (uint32_t i = 1; i < r->count; i++) {
		unsigned n = shape == 0 ? 1 : below(r, shape == 1 ? 3 : 9);

		for (unsigned k = 0; k < n; k++) {
			uint32_t back = shape == 0 ? 1 : shape == 3 ?
						1 + below(r, i) :
						1 + below(r, near);

			edge(r, back > i ? 0 : i - back, i);
		}
	}
	for (uint32_t i = 0; bad && i < r->count; i++)
		r->node[i].fails = !below(r, bad);
}

/* ---- the model ---------------------------------------------------------- */

static void model(struct rig *r, uint32_t salt)
{
	for (uint32_t i = 0; i < r->count; i++) {
		struct node *n = &r->node[i];
		uint64_t h = i * 0x9e3779b97f4a7c15ull + 1;
		bool upstream = false;

		n->answered = false;
		for (unsigned k = 0; k < n->in; k++) {
			const struct node *p = &r->node[n->from[k]];

			upstream |= p->result < 0;
			h = (h ^ p->cell) * 0x100000001b3ull + (h >> 29);
		}
		n->cell = upstream ? 0 : h + salt;
		n->result = upstream ? -MK_EUPSTREAM :
			    n->fails ? -(int32_t)(1000 + n->in) :
				       (int32_t)n->in;
	}
}

static void fill_args(const struct rig *r, uint32_t i, uint32_t salt,
		      struct node_args *args)
{
	const struct node *n = &r->node[i];

	memset(args, 0, sizeof(*args));
	args->cells = mk_buffer_ref(r->cells);
	args->self = i;
	args->count = n->in | (n->fails ? 128u : 0) | salt << 8;
	memcpy(args->from, n->from, sizeof(n->from));
}

static void answer_seen(struct rig *r, const struct mk_completion *c,
			uint64_t base)
{
	struct node *n;

	assert_true(c->user_data - base < r->count);
	n = &r->node[c->user_data - base];
	assert_false(n->answered);
	n->answered = true;
	if (c->result != n->result)
		fail_msg("node %u of %u: %s, the model says %s",
			 (unsigned)(c->user_data - base), r->count,
			 mk_code_name(c->result), mk_code_name(n->result));
	if (n->result != -MK_EUPSTREAM)
		assert_true(c->value == n->cell);
}

static void cells_check(struct rig *r)
{
	assert_int_equal(mk_buffer_read(r->ctx, r->cells, 0, r->words,
					8ull * r->count), 0);
	for (uint32_t i = 0; i < r->count; i++)
		if (r->node[i].result != -MK_EUPSTREAM)
			assert_true(r->words[i] == r->node[i].cell);
}

/* Each counter came as far as edges lead there, and knows of failures. */
static void counters_check(struct rig *r)
{
	assert_int_equal(mk_buffer_read(r->ctx, r->counters, 0, r->words,
					8ull * r->count), 0);
	for (uint32_t i = 0; i < r->count; i++) {
		uint64_t is = r->node[i].in;

		for (unsigned k = 0; k < r->node[i].in; k++)
			if (r->node[r->node[i].from[k]].result < 0)
				is |= MK_COUNTER_FAILED;
		assert_true(r->words[i] == is);
	}
}

/* ---- as single slots ---------------------------------------------------- */

static void publish_one(struct rig *r, struct mk_queue *q,
			struct mk_slot *slot, uint32_t i)
{
	const struct node *n = &r->node[i];
	struct node_args args;

	fill_args(r, i, 0, &args);
	assert_int_equal(mk_queue_fill(q, slot, r->opcode, i, &args,
				       sizeof(args)), 0);
	if (n->in || below(r, 4) == 0)
		assert_int_equal(mk_slot_wait(q, slot, r->counters, i, n->in),
				 0);
	for (unsigned k = 0; k < n->out; k++)
		assert_int_equal(mk_slot_raise(q, slot, r->counters,
					       n->to[k]), 0);
}

static void publish_all(struct rig *r)
{
	for (uint32_t i = 0; i < r->count;) {
		struct mk_queue *q = r->q[below(r, 2)];
		unsigned want = 1 + below(r, 64);
		struct mk_slot *s;
		int got;

		if (want > r->count - i)
			want = r->count - i;
		got = mk_queue_get(q, want, &s);
		assert_true(got > 0);
		for (int k = 0; k < got; k++)
			publish_one(r, q, &s[k], i + (uint32_t)k);
		assert_int_equal(mk_queue_submit(q, s, (unsigned)got), got);
		i += (uint32_t)got;
	}
}

/* Nothing comes any more: which slots are missing, what did they wait for? */
static void tell_missing(struct rig *r)
{
	unsigned told = 0, missing = 0;

	if (mk_buffer_read(r->ctx, r->counters, 0, r->words, 8ull * r->count))
		print_error("%s\n", mk_error_last()->text);
	for (uint32_t i = 0; i < r->count; i++) {
		const struct node *n = &r->node[i];

		if (n->answered)
			continue;
		missing++;
		if (told++ < 8)
			print_error("node %u waits for %u, is at %llx, raises "
				    "%u; the model says %s\n", i, n->in,
				    (unsigned long long)r->words[i], n->out,
				    mk_code_name(n->result));
	}
	fail_msg("%u of %u slots have no answer", missing, r->count);
}

static void reap_all(struct rig *r, struct mk_queue *q, uint64_t base)
{
	struct mk_completion c[64];

	while (support_balance(q).in_flight || support_balance(q).ready) {
		int n = mk_queue_wait(q, 1, ANSWER_NS);

		if (n < 1 && mk_queue_peek(q, c, 1) == 1)
			fail_msg("there are answers, but nobody was told");
		if (n < 1)
			tell_missing(r);
		n = mk_queue_reap(q, c, 64);
		for (int i = 0; i < n; i++)
			answer_seen(r, &c[i], base);
	}
}

static void all_answered(const struct rig *r)
{
	for (uint32_t i = 0; i < r->count; i++)
		assert_true(r->node[i].answered);
}

static void zero_counters(struct rig *r)
{
	memset(r->words, 0, 8ull * r->count);
	assert_int_equal(mk_buffer_write(r->ctx, r->counters, 0, r->words,
					 8ull * r->count), 0);
}

static void singles(struct rig *r)
{
	make_graph(r);
	model(r, 0);
	zero_counters(r);
	publish_all(r);
	reap_all(r, r->q[0], 0);
	reap_all(r, r->q[1], 0);
	all_answered(r);
	cells_check(r);
	counters_check(r);
}

/* ---- as a recorded batch ------------------------------------------------ */

static struct mk_batch *record(struct rig *r)
{
	struct mk_batch_params p = { .size = sizeof(p), .slots = r->count,
				     .runs = 1 + below(r, 2) };
	struct node_args args;
	struct mk_batch *b;
	struct mk_slot s;

	assert_int_equal(mk_batch_create(r->q[0], &p, &b), 0);
	for (uint32_t i = 0; i < r->count; i++) {
		fill_args(r, i, 0, &args);
		assert_int_equal(mk_queue_fill(r->q[0], &s, r->opcode, i,
					       &args, sizeof(args)), 0);
		assert_int_equal(mk_batch_add(b, &s), i);
		for (unsigned k = 0; k < r->node[i].in; k++)
			assert_int_equal(mk_batch_after(b, i,
							r->node[i].from[k]),
					 0);
	}
	assert_int_equal(mk_batch_seal(b), r->count);
	return b;
}

static void batches(struct rig *r)
{
	struct mk_batch *b;

	make_graph(r);
	b = record(r);
	for (uint32_t run = 0; run < RUNS; run++) {
		for (uint32_t i = 0; i < r->count; i++) {
			struct node_args args;

			r->node[i].fails &= run != 1; /* one run is all well */
			fill_args(r, i, run + 1, &args);
			assert_int_equal(mk_batch_patch(b, i, 0, &args,
							sizeof(args)), 0);
		}
		model(r, run + 1);
		assert_int_equal(mk_batch_submit(b, run << 20), r->count);
		reap_all(r, r->q[0], run << 20);
		all_answered(r);
		cells_check(r);
	}
	assert_int_equal(mk_batch_destroy(b, SUPPORT_NS), 0);
}

/* ---- targets ------------------------------------------------------------ */

static void begin(struct rig *r, struct mk_ctx *ctx)
{
	struct mk_handler_info info;
	int e;

	memset(r, 0, sizeof(*r));
	r->ctx = ctx;
	r->seed = 0x9e3779b97f4a7c15ull;
	r->q[0] = support_queue(ctx, ENTRIES);
	r->q[1] = support_queue(ctx, ENTRIES);
	e = mk_module_load_source(ctx, "node.c", source, 0, NULL);
	if (e)
		print_error("%s\n", mk_error_last()->text);
	assert_int_equal(e, 0);
	assert_int_equal(mk_handler_find(ctx, "node", &info), 0);
	r->opcode = info.opcode;
	assert_int_equal(mk_buffer_create(ctx, 8 * NODES, 0, &r->counters), 0);
	assert_int_equal(mk_buffer_create(ctx, 8 * NODES, 0, &r->cells), 0);
	r->node = calloc(NODES, sizeof(*r->node));
	r->words = calloc(NODES, sizeof(*r->words));
	assert_true(r->node && r->words);
}

static void end(struct rig *r)
{
	support_queue_end(r->q[0]);
	support_queue_end(r->q[1]);
	free(r->node);
	free(r->words);
}

static void run_graphs(struct mk_ctx *ctx, unsigned n,
		       void (*run)(struct rig *))
{
	struct rig r;

	begin(&r, ctx);
	for (unsigned i = 0; i < n; i++)
		run(&r);
	end(&r);
}

static void case_singles(struct conform *c)
{
	run_graphs(c->ctx, graphs, singles);
}

static void case_batches(struct conform *c)
{
	run_graphs(c->ctx, (graphs + 3) / 4, batches);
}

/* Whoever waits must not hold the only worker up. */
static void case_one_worker(struct conform *c)
{
	run_graphs(c->ctx, (graphs + 3) / 4, singles);
}

static void params(const char *name, struct mk_ctx_params *p)
{
	if (strstr(name, "one worker"))
		p->workers = 1;
}

int main(void)
{
	static const struct conform_case cases[] = {
		{ "random graphs", case_singles },
		{ "random graphs as batches", case_batches },
		{ "random graphs, one worker", case_one_worker },
	};

	conform_params = params;
	if (getenv("MK_GRAPHS"))
		graphs = (unsigned)atoi(getenv("MK_GRAPHS"));
	return CONFORM_MAIN("conformance/work_graphs", cases);
}
