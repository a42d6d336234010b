/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that flows, on the resident kernel's own text, emulated: what depends
 * on how warps hand it to each other, on the kernel's comings and goings, and
 * on commands in between.
 *
 * ctest-link: -Wl,--wrap=dlopen -Wl,--wrap=dlsym
 * ctest-timeout: 600
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

#include "cuda/fake_cuda.c"
#include "cuda/emulated.h"
#include "cuda/nothing_left.h"

#define WORDS 64u

static struct mk_ctx *ctx_of(uint32_t workers, uint64_t idle_ns)
{
	struct mk_ctx_params p = emulated_params(workers, idle_ns);

	p.made_entries = 256;
	return support_ctx_with(&p);
}

static mk_buffer_t counters_of(struct mk_ctx *ctx)
{
	mk_buffer_t b;

	assert_int_equal(mk_buffer_create(ctx, 8u * WORDS, 0, &b), 0);
	return b;
}

static uint64_t word_of(struct mk_ctx *ctx, mk_buffer_t b, uint32_t i)
{
	uint64_t v;

	assert_int_equal(mk_buffer_read(ctx, b, 8u * i, &v, 8), 0);
	return v;
}

/* One slot that waits for a word, if value is not 0, and raises another, if
 * it is not MK_NO_COUNTER. */
static void submit(struct mk_queue *q, uint16_t opcode, uint64_t user_data,
		   const void *args, uint32_t bytes, mk_buffer_t b,
		   uint32_t wait, uint64_t value, uint32_t raise)
{
	struct mk_slot *s;

	/* answers may come out of order, room does not */
	while (mk_queue_get(q, 1, &s) != 1)
		assert_int_equal(support_reap(q).result, 0);
	assert_int_equal(mk_queue_fill(q, s, opcode, user_data, args, bytes),
			 0);
	if (value)
		assert_int_equal(mk_slot_wait(q, s, b, wait, value), 0);
	if (raise != MK_NO_COUNTER)
		assert_int_equal(mk_slot_raise(q, s, b, raise), 0);
	assert_int_equal(mk_queue_submit(q, s, 1), 1);
}

static void nop(struct mk_queue *q, uint64_t i, mk_buffer_t b, uint32_t wait,
		uint64_t value, uint32_t raise)
{
	submit(q, MK_OP_NOP, i, &i, 8, b, wait, value, raise);
}

/* ---- waiting ----------------------------- */

/* A chain over one counter, begun by its last link. */
static void chain(void **state)
{
	for (unsigned workers = 1; workers <= 8; workers *= 2) {
		struct mk_ctx *ctx = ctx_of(workers, 50 * SUPPORT_MS);
		struct mk_queue *q = support_queue(ctx, 256);
		mk_buffer_t b = counters_of(ctx);

		for (unsigned round = 0; round < 3; round++) {
			for (uint64_t i = 1; i < 200; i++)
				nop(q, i, b, 3, 200 * round + i, 3);
			if (round == 1) /* parks with all of them waiting */
				support_sleep(100 * SUPPORT_MS);
			nop(q, 0, b, 3, 0, 3);
			for (unsigned i = 0; i < 200; i++) {
				struct mk_completion c = support_reap(q);

				assert_int_equal(c.result, 0);
				assert_int_equal(c.value, c.user_data);
			}
			assert_int_equal(word_of(ctx, b, 3),
					 200 * (round + 1));
		}
		assert_int_equal(mk_buffer_destroy(ctx, b, SUPPORT_NS), 0);
		support_queue_end(q);
		support_ctx_end(ctx);
		nothing_left();
	}
	(void)state;
}

/* Many wait for one, one for many, with work that a warp runs in between. */
static void fans(void **state)
{
	struct mk_ctx *ctx = ctx_of(6, 200 * SUPPORT_MS);
	struct mk_queue *q = support_queue(ctx, 256);
	struct mk_op_word w = { 1, 0, 1, 0 };
	mk_buffer_t b = counters_of(ctx);
	uint64_t value;

	(void)state;
	for (uint64_t round = 1; round <= 10; round++) {
		nop(q, 1000, b, 2, 100 * round, 3);
		for (uint64_t i = 0; i < 100; i++)
			submit(q, MK_OP_ADD, i, &w, sizeof(w), b, 1, round,
			       2);
		nop(q, 1001, b, 0, 0, 1);
		for (unsigned i = 0; i < 102; i++) {
			struct mk_completion c = support_reap(q);

			assert_int_equal(c.result, 0);
			if (c.user_data != 1000)
				continue;
			assert_int_equal(mk_queue_observe(q, 1, &value), 0);
			assert_int_equal(value, 100 * round);
		}
		assert_int_equal(word_of(ctx, b, 3), round);
	}
	support_queue_end(q);
	support_ctx_end(ctx);
	nothing_left();
}

/* Random graphs: each slot waits for all that come before it in some set. */
static void graphs(void **state)
{
	struct mk_ctx *ctx = ctx_of(5, 20 * SUPPORT_MS);
	struct mk_queue *q[2] = { support_queue(ctx, 64),
				  support_queue(ctx, 128) };
	mk_buffer_t b = counters_of(ctx);
	uint64_t raised[WORDS] = { 0 }, seed = 5;

	(void)state;
	for (unsigned n = 0; n < 3000; n++) {
		unsigned at = support_random(&seed) % 2;
		uint32_t wait = support_random(&seed) % WORDS;
		uint32_t raise = support_random(&seed) % WORDS;
		struct mk_op_word w = { 0, 0, 1, 0 };

		if (support_random(&seed) % 4)
			nop(q[at], n, b, wait, raised[wait], raise);
		else
			submit(q[at], MK_OP_ADD, n, &w, sizeof(w), b, wait,
			       raised[wait], raise);
		raised[raise]++;
	}
	for (unsigned at = 0; at < 2; at++)
		while (support_balance(q[at]).in_flight ||
		       support_balance(q[at]).ready)
			assert_int_equal(support_reap(q[at]).result, 0);
	for (uint32_t i = 0; i < WORDS; i++)
		assert_int_equal(word_of(ctx, b, i), raised[i]);
	support_queue_end(q[0]);
	support_queue_end(q[1]);
	support_ctx_end(ctx);
	nothing_left();
}

/* The tickets that are next in one queue lie with all workers, one with each:
 * they leave them for a queue where slots wait, and come back. */
static void pieces(void **state)
{
	struct mk_ctx *ctx;
	struct mk_queue *q[2];

	(void)state;
	assert_int_equal(setenv("MEGAKERNEL_CUDA_TUNING", "batch=1", 1), 0);
	ctx = ctx_of(5, 2000 * SUPPORT_MS);
	assert_int_equal(unsetenv("MEGAKERNEL_CUDA_TUNING"), 0);
	for (unsigned at = 0; at < 2; at++) {
		q[at] = support_queue(ctx, 64);
		for (unsigned round = 0; round < 3; round++) {
			uint64_t echo = round;

			for (unsigned i = 0; i <= at; i++)
				assert_int_equal(support_call(q[at - i],
						 MK_OP_NOP, &echo, 8).value,
						 round);
			support_sleep(20 * SUPPORT_MS);
		}
	}
	support_queue_end(q[0]);
	support_queue_end(q[1]);
	support_ctx_end(ctx);
	nothing_left();
}

/* ---- ending without a raise ----------------------------- */

/* One fails: all behind it do, whatever value they wait for. */
static void failure(void **state)
{
	struct mk_ctx *ctx = ctx_of(4, 200 * SUPPORT_MS);
	struct mk_queue *q = support_queue(ctx, 64);
	struct mk_op_word bad = { 1u << 20, 0, 1, 0 };
	mk_buffer_t b = counters_of(ctx);

	(void)state;
	for (uint64_t i = 0; i < 10; i++)
		nop(q, i, b, 1, 5 + i, 2);
	nop(q, 100, b, 2, 77, 3);
	submit(q, MK_OP_ADD, 200, &bad, sizeof(bad), b, 0, 0, 1);
	for (unsigned i = 0; i < 12; i++) {
		struct mk_completion c = support_reap(q);

		assert_int_equal(c.result, c.user_data == 200 ?
						   -MK_ERANGE : -MK_EUPSTREAM);
	}
	assert_int_equal(word_of(ctx, b, 3), MK_COUNTER_FAILED | 1);
	/* a word that is not there */
	nop(q, 1, b, WORDS, 1, MK_NO_COUNTER);
	assert_int_equal(support_reap(q).result, -MK_ERANGE);
	nop(q, 1, b, 0, 0, WORDS);
	assert_int_equal(support_reap(q).result, -MK_ERANGE);
	support_queue_end(q);
	support_ctx_end(ctx);
	nothing_left();
}

/* Cancelled, late, or the counter's buffer goes. */
static void ends(void **state)
{
	struct mk_ctx *ctx = ctx_of(3, 20 * SUPPORT_MS);
	struct mk_queue *q = support_queue(ctx, 64);
	mk_buffer_t b = counters_of(ctx);
	struct mk_slot *s;

	(void)state;
	nop(q, 7, b, 1, 1, 2);
	support_sleep(50 * SUPPORT_MS);
	assert_int_equal(mk_queue_cancel(q, 7), 1);
	assert_int_equal(support_reap(q).result, -MK_ECANCELLED);
	assert_int_equal(word_of(ctx, b, 2), MK_COUNTER_FAILED | 1);

	assert_int_equal(mk_queue_get(q, 1, &s), 1);
	mk_slot_init(s, MK_OP_NOP, 8);
	assert_int_equal(mk_slot_wait(q, s, b, 1, 1), 0);
	assert_int_equal(mk_slot_deadline(q, s, support_now() +
					  100 * SUPPORT_MS), 0);
	assert_int_equal(mk_queue_submit(q, s, 1), 1);
	assert_int_equal(support_reap(q).result, -MK_EDEADLINE);

	nop(q, 9, b, 1, 1, MK_NO_COUNTER);
	support_sleep(20 * SUPPORT_MS);
	assert_int_equal(mk_buffer_destroy(ctx, b, SUPPORT_NS), 0);
	assert_int_equal(support_reap(q).result, -MK_ESTALE);

	b = counters_of(ctx);
	for (uint64_t i = 0; i < 20; i++)
		nop(q, i, b, 1, 1 + i % 3, 4);
	assert_true(mk_queue_cancel_all(q) > 0);
	for (uint64_t i = 0; i < 20; i++)
		assert_in_range(-support_reap(q).result, MK_ECANCELLED,
				MK_EUPSTREAM);
	support_queue_end(q);
	support_ctx_end(ctx);
	nothing_left();
}

/* A queue goes while slots of it wait. */
static void abandoned(void **state)
{
	struct mk_ctx *ctx = ctx_of(3, 20 * SUPPORT_MS);
	struct mk_queue *q = support_queue(ctx, 64), *p;
	mk_buffer_t b = counters_of(ctx);

	(void)state;
	for (uint64_t i = 0; i < 20; i++)
		nop(q, i, b, 1, 1 + i, 2);
	p = support_queue(ctx, 64);
	assert_true(mk_queue_destroy(q, 10 * SUPPORT_MS) >= 0);
	nop(p, 1, b, 0, 0, 1);
	assert_int_equal(support_reap(p).result, 0);
	support_queue_end(p);
	support_ctx_end(ctx);
	nothing_left();
}

/* ---- tiles, and made work ----------------------------- */

static const char source[] =
	"#include <megakernel/handler.h>\n"
	"struct sum { struct mk_ref data, parts; uint32_t n, fail; };\n"
	"static uint32_t part(struct mk_task *task, const struct sum *args)\n"
	"{\n"
	"	uint32_t per = args->n / mk_tiles(task), s = 0;\n"
	"	const uint32_t *v = (const uint32_t *)mk_read(task, args->data,\n"
	"						      4u * args->n);\n"
	"	uint64_t *p = (uint64_t *)mk_write(task, args->parts,\n"
	"					   8ull * mk_tiles(task));\n"
	"	if (!v || !p)\n"
	"		return 0;\n"
	"	if (args->fail && mk_tile(task) == args->fail)\n"
	"		return 2;\n"
	"	for (uint32_t i = mk_lane(task); i < per; i += mk_lanes(task))\n"
	"		s += v[mk_tile(task) * per + i];\n"
	"	mk_fetch_add(&p[mk_tile(task)], s);\n"
	"	if (!mk_lane(task))\n"
	"		mk_tile_add(task, 1);\n"
	"	if (mk_tile_last(task)) {\n"
	"		uint64_t all = task->value << 32;\n"
	"		for (uint32_t i = 0; i < mk_tiles(task); i++)\n"
	"			all += mk_load(&p[i]);\n"
	"		mk_value(task, all);\n"
	"	}\n"
	"	return 1;\n"
	"}\n"
	"#define RESULT(r) ((r) == 1u ? MK_OK : (r) == 2u ? -MK_EARGS :\\\n"
	"		   mk_fail(task))\n"
	"MK_HANDLER_THREAD(tile_thread, struct sum)\n"
	"{ uint32_t r = part(task, args); return RESULT(r); }\n"
	"MK_HANDLER(tile_warp, struct sum)\n"
	"{ uint32_t r = part(task, args); return RESULT(r); }\n"
	"MK_HANDLER_BLOCK(tile_block, struct sum)\n"
	"{ uint32_t r = part(task, args); return RESULT(r); }\n"
	/* a lane leaves word for all others; nobody waits at the end */
	"static int32_t pass(struct mk_task *task, const struct sum *args)\n"
	"{\n"
	"	uint32_t lane = mk_lane(task), lanes = mk_lanes(task);\n"
	"	uint32_t *note = (uint32_t *)mk_scratch(task, 4 * lanes);\n"
	"	uint64_t *p = (uint64_t *)mk_write(task, args->parts, 16);\n"
	"	if (!note || !p)\n"
	"		return mk_fail(task);\n"
	"	note[lane] = mk_tile(task) * lanes + lane;\n"
	"	mk_sync(task);\n"
	"	for (uint32_t i = 0; i < lanes; i++)\n"
	"		if (note[i] != mk_tile(task) * lanes + i)\n"
	"			mk_fetch_add(&p[0], 1);\n"
	"	if (!lane)\n"
	"		mk_fetch_add(&p[1], 1);\n"
	"	return MK_OK;\n"
	"}\n"
	"MK_HANDLER_THREAD(pass_thread, struct sum)\n"
	"{ return pass(task, args); }\n"
	"MK_HANDLER(pass_warp, struct sum) { return pass(task, args); }\n"
	"MK_HANDLER_BLOCK(pass_block, struct sum)\n"
	"{ return pass(task, args); }\n"
	/* a tree of made work: each node makes two until depth 0 */
	"struct tree { struct mk_ref c; uint32_t word, depth, thread, self; };\n"
	"static int32_t grow(struct mk_task *task, const struct tree *args)\n"
	"{\n"
	"	struct tree next = *args;\n"
	"	int32_t r;\n"
	"	if (mk_lane(task))\n"
	"		return MK_OK;\n"
	"	r = mk_raise(task, args->c, args->word, 1);\n"
	"	if (r || !args->depth)\n"
	"		return r;\n"
	"	next.depth--;\n"
	"	for (int i = 0; i < 2 && !r; i++)\n"
	"		r = mk_spawn(task, next.depth % 2 ? args->self :\n"
	"			     args->thread, &next, sizeof(next));\n"
	"	return r;\n"
	"}\n"
	"MK_HANDLER_THREAD(grow_thread, struct tree)\n"
	"{ return grow(task, args); }\n"
	"MK_HANDLER(grow_warp, struct tree) { return grow(task, args); }\n"
	/* on and on, by all three ways */
	"struct walk { struct mk_ref c; uint32_t word, left, made, self; };\n"
	"MK_HANDLER_THREAD(walk, struct walk)\n"
	"{\n"
	"	struct walk next = *args;\n"
	"	int32_t r;\n"
	"	if (args->made) {\n"
	"		next.made = 0;\n"
	"		r = mk_spawn(task, mk_opcode(task), &next,\n"
	"			     sizeof(next));\n"
	"		if (r)\n"
	"			return r;\n"
	"		mk_value(task, 42);\n"
	"		return MK_OK;\n"
	"	}\n"
	"	mk_value(task, args->left);\n"
	"	if (!args->left)\n"
	"		return MK_OK;\n"
	"	next.left--;\n"
	"	if (args->left % 3 == 0)\n"
	"		return mk_yield(task, &next, sizeof(next));\n"
	"	if (args->left % 3 == 1)\n"
	"		return mk_continue(task, args->self, &next,\n"
	"				   sizeof(next));\n"
	"	r = mk_raise(task, args->c, args->word, 1);\n"
	"	if (r)\n"
	"		return r;\n"
	"	return mk_await(task, args->c, args->word, 1, args->self,\n"
	"			&next, sizeof(next));\n"
	"}\n"
	"struct gate { struct mk_ref c; uint32_t word, value, nop, made; };\n"
	"MK_HANDLER(gate, struct gate)\n"
	"{\n"
	"	uint64_t echo = 5;\n"
	"	if (args->made) {\n"
	"		struct gate g = *args;\n"
	"		g.made = 0;\n"
	"		mk_value(task, 9);\n"
	"		return mk_lane(task) ? MK_OK :\n"
	"			mk_spawn(task, mk_opcode(task), &g, sizeof(g));\n"
	"	}\n"
	"	return mk_await(task, args->c, args->word, args->value,\n"
	"			args->nop, &echo, 8);\n"
	"}\n"
	"struct fill { uint32_t nop, n; };\n"
	"MK_HANDLER_THREAD(fill, struct fill)\n"
	"{\n"
	"	uint64_t echo = 1;\n"
	"	for (uint32_t i = 0; i < args->n; i++) {\n"
	"		int32_t r = mk_spawn(task, args->nop, &echo, 8);\n"
	"		if (r == -MK_EFULL) {\n"
	"			struct fill next = *args;\n"
	"			next.n -= i;\n"
	"			return mk_yield(task, &next, sizeof(next));\n"
	"		}\n"
	"		if (r)\n"
	"			return r;\n"
	"	}\n"
	"	mk_value(task, 3);\n"
	"	return MK_OK;\n"
	"}\n";

static uint16_t opcode_of(struct mk_ctx *ctx, const char *name)
{
	struct mk_handler_info h;

	assert_int_equal(mk_handler_find(ctx, name, &h), 0);
	return h.opcode;
}

static struct mk_ctx *ctx_with_source(uint32_t workers, uint64_t idle_ns)
{
	struct mk_ctx *ctx = ctx_of(workers, idle_ns);

	assert_int_equal(mk_module_load_source(ctx, "flow.c", source, 0, NULL),
			 0);
	return ctx;
}

struct sum {
	struct mk_ref data, parts;
	uint32_t n, fail;
};

static void submit_tiles(struct mk_queue *q, uint16_t opcode, uint64_t id,
			 const struct sum *args, uint16_t tiles,
			 mk_buffer_t b, uint64_t wait, bool raise)
{
	struct mk_slot *s;

	assert_int_equal(mk_queue_get(q, 1, &s), 1);
	assert_int_equal(mk_queue_fill(q, s, opcode, id, args, sizeof(*args)),
			 0);
	s->tiles = tiles;
	if (wait)
		assert_int_equal(mk_slot_wait(q, s, b, 0, wait), 0);
	if (raise)
		assert_int_equal(mk_slot_raise(q, s, b, 0), 0);
	assert_int_equal(mk_queue_submit(q, s, 1), 1);
}

static void tiles_of(uint32_t workers, unsigned rounds)
{
	static const char *const names[] = { "tile_thread", "tile_warp",
					     "tile_block" };
	static const uint16_t counts[] = { 2, 3, 40, 64 };
	struct mk_ctx *ctx = ctx_with_source(workers, 20 * SUPPORT_MS);
	struct mk_queue *q = support_queue(ctx, 64);
	uint32_t data[64 * 9], zero[128] = { 0 };
	mk_buffer_t b, parts, c = counters_of(ctx);
	struct sum args = { .n = 64 * 9 };
	uint64_t ran = 0;

	for (uint32_t i = 0; i < args.n; i++)
		data[i] = i * 3;
	assert_int_equal(mk_buffer_create(ctx, sizeof(data), 0, &b), 0);
	assert_int_equal(mk_buffer_write(ctx, b, 0, data, sizeof(data)), 0);
	assert_int_equal(mk_buffer_create(ctx, sizeof(zero), 0, &parts), 0);
	args.data = mk_buffer_ref(b);
	args.parts = mk_buffer_ref(parts);
	for (unsigned round = 0; round < rounds; round++) {
		uint16_t n = counts[round / 3 % 4];
		uint32_t want = 0;
		struct mk_completion r;

		for (uint32_t i = 0; i < args.n / n * n; i++)
			want += data[i];
		assert_int_equal(mk_buffer_write(ctx, parts, 0, zero,
						 sizeof(zero)), 0);
		args.fail = 0;
		submit_tiles(q, opcode_of(ctx, names[round % 3]), round,
			     &args, n, c, ran, true);
		r = support_reap(q);
		assert_int_equal(r.result, 0);
		assert_int_equal((uint32_t)r.value, want);
		assert_int_equal(r.value >> 32, n);
		assert_int_equal(word_of(ctx, c, 0), ++ran);
	}
	args.fail = 1;
	submit_tiles(q, opcode_of(ctx, "tile_warp"), 1, &args, 64, c, 0,
		     true);
	assert_int_equal(support_reap(q).result, -MK_EARGS);
	assert_int_equal(word_of(ctx, c, 0), MK_COUNTER_FAILED | (ran + 1));
	support_queue_end(q);
	support_ctx_end(ctx);
	nothing_left();
}

static void tiles(void **state)
{
	(void)state;
	tiles_of(1, 12);
	tiles_of(6, 36);
}

/* Several slots of several tiles at a time, beside slots of one: what a block
 * or a warp runs in a row has its scratch memory to itself, every tile runs
 * once, and is counted once. */
static void tiles_in_a_row(void **state)
{
	static const char *const names[] = { "pass_block", "pass_warp",
					     "pass_thread" };
	const unsigned slots = 48;
	struct mk_ctx *ctx = ctx_with_source(12, 20 * SUPPORT_MS);
	struct mk_queue *q = support_queue(ctx, 64);
	uint64_t words[2] = { 0 }, ran = 0, tiles = 0;
	struct mk_ctx_stats stats;
	struct sum args = { 0 };
	mk_buffer_t parts;

	(void)state;
	assert_int_equal(mk_buffer_create(ctx, sizeof(words), 0, &parts), 0);
	assert_int_equal(mk_buffer_write(ctx, parts, 0, words, sizeof(words)),
			 0);
	args.parts = mk_buffer_ref(parts);
	for (unsigned i = 0; i < slots; i++) {
		uint16_t n = i % 4 ? (uint16_t)(1 + i * 7 % 60) : 1;

		submit_tiles(q, opcode_of(ctx, names[i % 3]), i, &args, n, 0,
			     0, false);
		ran += n;
		tiles += n > 1 ? n : 0;
	}
	for (unsigned i = 0; i < slots; i++)
		assert_int_equal(support_reap(q).result, 0);
	assert_int_equal(mk_buffer_read(ctx, parts, 0, words, sizeof(words)),
			 0);
	assert_int_equal(words[0], 0);
	assert_int_equal(words[1], ran);
	/* told soon after the answer */
	for (unsigned i = 0; i < 5000; i++) {
		assert_int_equal(mk_ctx_stats(ctx, &stats), 0);
		if (stats.tiles >= tiles)
			break;
		support_sleep(SUPPORT_MS);
	}
	assert_int_equal(stats.tiles, tiles);
	support_queue_end(q);
	support_ctx_end(ctx);
	nothing_left();
}

struct tree {
	struct mk_ref c;
	uint32_t word, depth, thread, self;
};

struct walk {
	struct mk_ref c;
	uint32_t word, left, made, self;
};

static void made_of(uint32_t workers)
{
	struct mk_ctx *ctx = ctx_with_source(workers, 20 * SUPPORT_MS);
	struct mk_queue *q = support_queue(ctx, 64);
	mk_buffer_t b = counters_of(ctx);
	struct tree t = { mk_buffer_ref(b), 1, 5,
			  opcode_of(ctx, "grow_thread"),
			  opcode_of(ctx, "grow_warp") };
	struct walk w = { mk_buffer_ref(b), 2, 30, 0, opcode_of(ctx, "walk") };
	struct { uint32_t nop, n; } fill = { MK_OP_NOP, 1000 };
	struct { struct mk_ref c; uint32_t word, value, nop, made; } gate = {
		mk_buffer_ref(b), 6, 1, MK_OP_NOP, 0 };
	uint64_t all = 0;

	for (unsigned round = 0; round < 6; round++) {
		uint64_t had = all;

		submit(q, round % 2 ? (uint16_t)t.self : (uint16_t)t.thread,
		       round, &t, sizeof(t), b, 0, 0, 3);
		nop(q, 100, b, 3, round + 1, MK_NO_COUNTER);
		all += 63;
		for (unsigned i = 0; i < 2; i++) {
			struct mk_completion c = support_reap(q);

			assert_int_equal(c.result, 0);
		}
		assert_int_equal(word_of(ctx, b, 1), had + 63);
	}
	for (unsigned round = 0; round < 6; round++) {
		struct mk_completion c;

		w.made = round % 2;
		c = support_call(q, (uint16_t)w.self, &w, sizeof(w));
		assert_int_equal(c.result, 0);
		assert_int_equal(c.value, w.made ? 42 : 0);
		assert_int_equal(word_of(ctx, b, 2), 10 * (round + 1));
	}
	/* more than there is room for */
	assert_int_equal(support_call(q, opcode_of(ctx, "fill"), &fill,
				      sizeof(fill)).value, 3);
	/* waits for what the host brings about by another slot */
	for (unsigned round = 0; round < 4; round++) {
		gate.made = round % 2;
		gate.value = round + 1;
		support_submit(q, opcode_of(ctx, "gate"), 1, &gate,
			       sizeof(gate));
		support_sleep(30 * SUPPORT_MS);
		nop(q, 2, b, 0, 0, 6);
		for (unsigned i = 0; i < 2; i++)
			assert_int_equal(support_reap(q).result, 0);
	}
	support_queue_end(q);
	support_ctx_end(ctx);
	nothing_left();
}

static void made(void **state)
{
	(void)state;
	made_of(1);
	made_of(6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(chain, begin_emulated),
		cmocka_unit_test_setup(fans, begin_emulated),
		cmocka_unit_test_setup(graphs, begin_emulated),
		cmocka_unit_test_setup(pieces, begin_emulated),
		cmocka_unit_test_setup(failure, begin_emulated),
		cmocka_unit_test_setup(ends, begin_emulated),
		cmocka_unit_test_setup(abandoned, begin_emulated),
		cmocka_unit_test_setup(tiles, begin_emulated),
		cmocka_unit_test_setup(tiles_in_a_row, begin_emulated),
		cmocka_unit_test_setup(made, begin_emulated),
	};

	if (!can_emulate())
		return 77;
	fake_cache();
	cmocka_set_test_filter(getenv("MK_TEST_ONLY"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
