/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 240 */
/* Tiles, made work, and handlers that go on: on every engine, and what work
 * is left is in both modes. */
#include <errno.h>
#include <string.h>

#include "support/conform.h"

#define WORDS 64u

static const char source[] =
	"#include <megakernel/handler.h>\n"
	"struct at { struct mk_ref ref; uint32_t word, n; };\n"
	"struct to { struct at at; uint32_t next, bytes; };\n"
	/* counts itself and says how many tiles there are */
	"MK_HANDLER(part, struct at)\n"
	"{\n"
	"	uint64_t *w = mk_write(task, args->ref, 512);\n"
	"	if (!w)\n"
	"		return mk_fail(task);\n"
	"	if (mk_tiles(task) != args->n || mk_tile(task) >= args->n)\n"
	"		return -MK_EARGS;\n"
	"	if (mk_lane(task) == 0) {\n"
	"		mk_fetch_add(&w[mk_tile(task) % 64], 1);\n"
	"		mk_tile_add(task, mk_tile(task) + 1);\n"
	"	}\n"
	"	return 0;\n"
	"}\n"
	/* the last tile sums up what all have written */
	"MK_HANDLER(sum, struct at)\n"
	"{\n"
	"	uint64_t *w = mk_write(task, args->ref, 512);\n"
	"	uint64_t sum = 0;\n"
	"	if (!w)\n"
	"		return mk_fail(task);\n"
	"	if (mk_lane(task) == 0)\n"
	"		w[mk_tile(task)] = 3 * mk_tile(task) + 1;\n"
	"	if (!mk_tile_last(task))\n"
	"		return 5;\n"
	"	for (uint32_t i = 0; i < mk_tiles(task); i++)\n"
	"		sum += mk_load(&w[i]);\n"
	"	mk_value(task, sum);\n"
	"	return 7;\n"
	"}\n"
	/* each counts itself, then waits for the host */
	"MK_HANDLER(until, struct at)\n"
	"{\n"
	"	uint64_t *w = mk_write(task, args->ref, 512);\n"
	"	uint64_t *go = mk_observable(task, args->word);\n"
	"	if (!w)\n"
	"		return mk_fail(task);\n"
	"	if (mk_lane(task) == 0)\n"
	"		mk_fetch_add(&w[0], 1);\n"
	"	while (!mk_load(go))\n"
	"		mk_progress(task);\n"
	"	return 6;\n"
	"}\n"
	/* tile n fails */
	"MK_HANDLER(fails, struct at)\n"
	"{\n"
	"	if (mk_tile(task) == args->n)\n"
	"		return -MK_EARGS;\n"
	"	if (mk_tiles(task) > 1 &&\n"
	"	    mk_yield(task, args, sizeof(*args)) != -MK_ENOTSUP)\n"
	"		return -1;\n"
	"	return 0;\n"
	"}\n"
	/* makes two of its own below depth n; in place if there is no room */
	"MK_FN int32_t tree_at(struct mk_task *task, struct at a, uint64_t *w)\n"
	"{\n"
	"	struct at left[32];\n"
	"	uint32_t depth = 0;\n"
	"	left[depth++] = a;\n"
	"	while (depth) {\n"
	"		struct at b = left[--depth];\n"
	"		int32_t r;\n"
	"		mk_fetch_add(&w[b.word], 1);\n"
	"		if (!b.n)\n"
	"			continue;\n"
	"		b.n--;\n"
	"		for (int i = 0; i < 2; i++) {\n"
	"			r = mk_spawn(task, mk_opcode(task), &b,\n"
	"				     sizeof(b));\n"
	"			if (r == -MK_EFULL) {\n"
	"				mk_fetch_add(&w[b.word + 1], 1);\n"
	"				left[depth++] = b;\n"
	"			} else if (r) {\n"
	"				return r;\n"
	"			}\n"
	"		}\n"
	"	}\n"
	"	return 0;\n"
	"}\n"
	"MK_HANDLER(tree, struct at)\n"
	"{\n"
	"	uint64_t *w = mk_write(task, args->ref, 512);\n"
	"	if (!w)\n"
	"		return mk_fail(task);\n"
	"	return mk_lane(task) ? 0 : tree_at(task, *args, w);\n"
	"}\n"
	/* makes n of `next`, as many as there is room for at a time */
	"MK_HANDLER(many, struct to)\n"
	"{\n"
	"	struct to more = *args;\n"
	"	int32_t r = 0;\n"
	"	if (mk_lane(task) == 0)\n"
	"		while (more.at.n && !r) {\n"
	"			struct at a = more.at;\n"
	"			a.n--;\n"
	"			r = mk_spawn(task, args->next, &a, args->bytes);\n"
	"			more.at.n -= !r;\n"
	"		}\n"
	"	mk_value(task, 77);\n"
	"	if (r == -MK_EFULL)\n"
	"		return mk_yield(task, &more, sizeof(more));\n"
	"	return r ? r : 3;\n"
	"}\n"
	"MK_HANDLER(one, struct at)\n"
	"{\n"
	"	uint64_t *w = mk_write(task, args->ref, 512);\n"
	"	if (!w)\n"
	"		return mk_fail(task);\n"
	"	if (mk_lane(task) == 0)\n"
	"		mk_fetch_add(&w[args->word], 1);\n"
	"	return args->n == 5 ? -MK_EARGS : 0;\n"
	"}\n"
	/* n more times, later */
	"MK_HANDLER(again, struct at)\n"
	"{\n"
	"	uint64_t *w = mk_write(task, args->ref, 512);\n"
	"	struct at a = *args;\n"
	"	if (!w)\n"
	"		return mk_fail(task);\n"
	"	if (mk_lane(task) == 0)\n"
	"		mk_fetch_add(&w[a.word], 1);\n"
	"	if (!a.n--) {\n"
	"		mk_value(task, mk_load(&w[a.word]));\n"
	"		return 4;\n"
	"	}\n"
	"	return mk_yield(task, &a, sizeof(a));\n"
	"}\n"
	"MK_HANDLER(goes_on, struct to)\n"
	"{\n"
	"	mk_value(task, 11);\n"
	"	return mk_continue(task, args->next, &args->at, args->bytes);\n"
	"}\n"
	/* raises its word by 1, then is `one` when it has reached n */
	"MK_HANDLER(meets, struct to)\n"
	"{\n"
	"	struct at a = args->at;\n"
	"	int32_t r = 0;\n"
	"	if (mk_lane(task) == 0)\n"
	"		r = mk_raise(task, a.ref, a.word, 1);\n"
	"	if (r)\n"
	"		return r;\n"
	"	a.word++;\n"
	"	a.n = 0;\n"
	"	return mk_await(task, args->at.ref, args->at.word, args->at.n,\n"
	"			args->next, &a, sizeof(a));\n"
	"}\n"
	/* waits for word n of the buffer */
	"MK_HANDLER(awaits, struct to)\n"
	"{\n"
	"	struct at a = args->at;\n"
	"	a.n = 0;\n"
	"	return mk_await(task, a.ref, args->at.n, 1, args->next, &a,\n"
	"			sizeof(a));\n"
	"}\n"
	"MK_HANDLER(raises, struct at)\n"
	"{\n"
	"	return mk_lane(task) ? 0 :\n"
	"	       mk_raise(task, args->ref, args->word, args->n);\n"
	"}\n";

struct at {
	struct mk_ref ref;
	uint32_t word, n;
};

struct to {
	struct at at;
	uint32_t next, bytes;
};

struct made {
	struct mk_ctx *other; /* the case's own, which stands aside */
	struct mk_ctx *ctx;
	struct mk_queue *q;
	mk_buffer_t buffer;
	uint32_t module;
	struct at at;
};

static uint32_t opcode(struct made *m, const char *name)
{
	struct mk_handler_info info;

	assert_int_equal(mk_handler_find(m->ctx, name, &info), 0);
	return info.opcode;
}

/* A context like c's, but with room for so few pieces, and one mode. */
static void made_begin(struct made *m, struct conform *c, uint32_t mode,
		       uint32_t entries, uint32_t workers)
{
	struct mk_ctx_params p = support_params(c->engine, c->isolation);
	int r;

	p.made_mode = mode;
	p.made_entries = entries;
	if (workers && !strcmp(c->engine, "cpu"))
		p.workers = workers;
	/* a device may be there for one of them at a time */
	m->other = c->ctx;
	assert_int_equal(mk_ctx_quiesce(m->other, SUPPORT_NS), 0);
	m->ctx = support_ctx_with(&p);
	r = mk_module_load_source(m->ctx, "made.c", source, 0, &m->module);
	if (r)
		print_message("%s\n", mk_error_last()->text);
	assert_int_equal(r, 0);
	assert_int_equal(mk_buffer_create(m->ctx, WORDS * 8, 0, &m->buffer),
			 0);
	m->at = (struct at){ .ref = mk_buffer_ref(m->buffer) };
	m->q = support_queue(m->ctx, 64);
}

static void made_end(struct made *m)
{
	support_queue_end(m->q);
	assert_int_equal(mk_module_unload(m->ctx, m->module, SUPPORT_NS), 0);
	support_ctx_end(m->ctx);
	assert_int_equal(mk_ctx_resume(m->other), 0);
}

static uint64_t word(struct made *m, uint32_t i)
{
	uint64_t value;

	assert_int_equal(mk_buffer_read(m->ctx, m->buffer, i * 8ull, &value,
					8), 0);
	return value;
}

static void clear(struct made *m)
{
	uint64_t zero[WORDS] = { 0 };

	assert_int_equal(mk_buffer_write(m->ctx, m->buffer, 0, zero,
					 sizeof(zero)), 0);
}

static struct mk_completion call_at(struct made *m, const char *name,
				    uint32_t at_word, uint32_t n)
{
	struct at at = m->at;

	at.word = at_word;
	at.n = n;
	return support_call(m->q, (uint16_t)opcode(m, name), &at, sizeof(at));
}

static struct mk_completion call_to(struct made *m, const char *name,
				    uint32_t at_word, uint32_t n,
				    const char *next)
{
	struct to to = { .at = m->at, .next = opcode(m, next),
			 .bytes = sizeof(struct at) };

	to.at.word = at_word;
	to.at.n = n;
	return support_call(m->q, (uint16_t)opcode(m, name), &to, sizeof(to));
}

static void submit_tiles(struct made *m, const char *name, uint32_t tiles,
			 uint32_t n)
{
	struct at at = m->at;
	struct mk_slot *slot;

	at.n = n;
	assert_int_equal(mk_queue_get_wait(m->q, 1, &slot, SUPPORT_NS), 1);
	assert_int_equal(mk_queue_fill(m->q, slot, (uint16_t)opcode(m, name),
				       n, &at, sizeof(at)), 0);
	slot->tiles = (uint16_t)tiles;
	assert_int_equal(mk_queue_submit(m->q, slot, 1), 1);
}

/* ---- tiles -------------------------------------------------------------- */

static void tiles(struct conform *c)
{
	static const uint32_t counts[] = { 2, 3, 64, 1000, 65535 };
	struct mk_completion a;
	struct made m;

	made_begin(&m, c, MK_MADE_STEAL, 0, 0);
	for (unsigned i = 0; i < 5; i++) {
		uint64_t n = counts[i], ran = 0;

		clear(&m);
		submit_tiles(&m, "part", counts[i], counts[i]);
		a = support_reap(m.q);
		assert_int_equal(a.result, 0);
		assert_int_equal(a.value, n * (n + 1) / 2);
		for (uint32_t k = 0; k < WORDS; k++)
			ran += word(&m, k);
		assert_int_equal(ran, n);
	}
	/* 0 and 1 are one */
	for (uint32_t i = 0; i < 2; i++) {
		submit_tiles(&m, "part", i, 1);
		assert_int_equal(support_reap(m.q).value, 1);
	}
	for (uint32_t n = 1; n <= 64; n *= 4) {
		submit_tiles(&m, "sum", n, 0);
		a = support_reap(m.q);
		assert_int_equal(a.result, 7);
		assert_int_equal(a.value, 3 * n * (n - 1) / 2 + n);
	}
	made_end(&m);
}

static void tiles_side_by_side(struct conform *c)
{
	uint64_t ran = 0;
	struct made m;

	made_begin(&m, c, MK_MADE_STEAL, 0, 0);
	for (unsigned lap = 0; lap < 20; lap++) {
		for (uint32_t i = 0; i < 64; i++)
			submit_tiles(&m, "part", 2 + i * 3, 2 + i * 3);
		for (uint32_t i = 0; i < 64; i++) {
			struct mk_completion a = support_reap(m.q);
			uint64_t n = a.user_data;

			assert_int_equal(a.result, 0);
			assert_int_equal(a.value, n * (n + 1) / 2);
			ran += n;
		}
	}
	for (uint32_t k = 0; k < WORDS; k++)
		ran -= word(&m, k);
	assert_int_equal(ran, 0);
	made_end(&m);
}

static void tile_fails(struct conform *c)
{
	struct made m;

	made_begin(&m, c, MK_MADE_STEAL, 0, 0);
	for (uint32_t n = 0; n < 100; n += 9) {
		submit_tiles(&m, "fails", 100, n);
		assert_int_equal(support_reap(m.q).result, -MK_EARGS);
	}
	submit_tiles(&m, "fails", 100, 100);
	assert_int_equal(support_reap(m.q).result, 0);
	made_end(&m);
}

/* ---- made work ---------------------------------------------------------- */

static void tree_of(struct conform *c, uint32_t mode, uint32_t entries,
		    uint32_t workers)
{
	uint32_t depth = 16;
	struct mk_completion a;
	struct made m;

	made_begin(&m, c, mode, entries, workers);
	a = call_at(&m, "tree", 0, depth);
	assert_int_equal(a.result, 0);
	/* all have ended when the answer is there */
	assert_int_equal(word(&m, 0), (2u << depth) - 1);
	/* bounded: most had to be done in place */
	if (entries)
		assert_true(word(&m, 1) > 0);
	made_end(&m);
}

static void tree_stealing(struct conform *c)
{
	tree_of(c, MK_MADE_STEAL, 0, 0);
}

static void tree_fixed(struct conform *c)
{
	tree_of(c, MK_MADE_FIXED, 0, 0);
}

static void tree_small(struct conform *c)
{
	tree_of(c, MK_MADE_STEAL, 64, 0);
	tree_of(c, MK_MADE_FIXED, 64, 0);
	tree_of(c, MK_MADE_STEAL, 4, 1);
}

/* More than there is room for: it yields until there is. */
static void back_pressure(struct conform *c)
{
	for (uint32_t mode = MK_MADE_STEAL; mode <= MK_MADE_FIXED; mode++)
		for (uint32_t workers = 0; workers < 2; workers++) {
			struct mk_completion a;
			struct made m;

			made_begin(&m, c, mode, 32, workers);
			a = call_to(&m, "many", 3, 3, "again");
			assert_int_equal(a.result, 3);
			assert_int_equal(a.value, 77);
			assert_int_equal(word(&m, 3), 3 + 2 + 1);
			clear(&m);
			/* the one whose n is 5 fails, and so does the slot */
			a = call_to(&m, "many", 4, 20000, "one");
			assert_int_equal(a.result, -MK_EARGS);
			assert_int_equal(word(&m, 4), 20000);
			made_end(&m);
		}
}

static void refused(struct conform *c)
{
	struct to to = { .next = MK_OP_FENCE, .at.n = 1 };
	struct made m;

	made_begin(&m, c, MK_MADE_STEAL, 0, 0);
	to.at.ref = m.at.ref;
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t bad[] = { MK_OP_FENCE, MK_OP_ROW, 255 };

		to.next = bad[i];
		assert_int_equal(support_call(m.q, (uint16_t)opcode(&m, "many"),
					      &to, sizeof(to)).result,
				 -MK_EOPCODE);
		assert_int_equal(support_call(m.q,
					      (uint16_t)opcode(&m, "goes_on"),
					      &to, sizeof(to)).result,
				 -MK_EOPCODE);
	}
	to.next = opcode(&m, "one");
	to.bytes = 15;
	assert_int_equal(support_call(m.q, (uint16_t)opcode(&m, "many"), &to,
				      sizeof(to)).result, -MK_EARGS);
	assert_int_equal(support_call(m.q, (uint16_t)opcode(&m, "goes_on"),
				      &to, sizeof(to)).result, -MK_EARGS);
	made_end(&m);
}

/* ---- going on ----------------------------------------------------------- */

static void goes_on(struct conform *c)
{
	struct mk_completion a;
	struct made m;

	made_begin(&m, c, MK_MADE_STEAL, 0, 0);
	a = call_at(&m, "again", 2, 100);
	assert_int_equal(a.result, 4);
	assert_int_equal(a.value, 101);
	a = call_to(&m, "goes_on", 7, 5, "one");
	assert_int_equal(a.result, -MK_EARGS);
	assert_int_equal(word(&m, 7), 1);
	a = call_to(&m, "goes_on", 7, 1, "one");
	assert_int_equal(a.result, 0);
	assert_int_equal(a.value, 11);
	/* side by side, each has its turn */
	for (unsigned i = 0; i < 64; i++) {
		struct at at = m.at;

		at.word = 8;
		at.n = 50;
		support_submit(m.q, (uint16_t)opcode(&m, "again"), i, &at,
			       sizeof(at));
	}
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(support_reap(m.q).result, 4);
	assert_int_equal(word(&m, 8), 64 * 51);
	made_end(&m);
}

/* n slots, and n pieces of made work, that wait for each other. */
static void barrier(struct conform *c)
{
	struct made m;

	for (uint32_t workers = 0; workers < 2; workers++) {
		struct to to;

		made_begin(&m, c, MK_MADE_STEAL, 128, workers);
		to = (struct to){ .at = m.at, .next = opcode(&m, "one"),
				  .bytes = sizeof(struct at) };
		to.at.word = 10;
		to.at.n = 64;
		for (unsigned i = 0; i < 64; i++) {
			assert_int_equal(word(&m, 11), 0);
			support_submit(m.q, (uint16_t)opcode(&m, "meets"), i,
				       &to, sizeof(to));
		}
		for (unsigned i = 0; i < 64; i++)
			assert_int_equal(support_reap(m.q).result, 0);
		assert_int_equal(word(&m, 10), 64);
		assert_int_equal(word(&m, 11), 64);
		made_end(&m);
	}
}

static void awaits(struct conform *c)
{
	struct mk_completion a;
	struct to to;
	struct made m;

	made_begin(&m, c, MK_MADE_STEAL, 0, 0);
	/* there is no such word */
	assert_int_equal(call_to(&m, "awaits", 0, WORDS, "one").result,
			 -MK_ERANGE);
	assert_int_equal(call_at(&m, "raises", WORDS, 1).result, -MK_ERANGE);
	/* cancelled, before and while it waits */
	to = (struct to){ .at = m.at, .next = opcode(&m, "one"),
			  .bytes = sizeof(struct at) };
	to.at.word = 20;
	to.at.n = 21;
	support_submit(m.q, (uint16_t)opcode(&m, "awaits"), 5, &to,
		       sizeof(to));
	support_sleep(5 * SUPPORT_MS);
	assert_int_equal(mk_queue_cancel(m.q, 5), 1);
	a = support_reap(m.q);
	assert_true(a.user_data == 5);
	assert_int_equal(a.result, -MK_ECANCELLED);
	assert_int_equal(word(&m, 20), 0);
	/* raised by a later slot, of more than it waits for */
	support_submit(m.q, (uint16_t)opcode(&m, "awaits"), 6, &to,
		       sizeof(to));
	to.at.word = 21;
	to.at.n = 3;
	support_submit(m.q, (uint16_t)opcode(&m, "raises"), 7, &to.at,
		       sizeof(to.at));
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(support_reap(m.q).result, 0);
	assert_int_equal(word(&m, 20), 1);
	assert_int_equal(word(&m, 21), 3);
	made_end(&m);
}

/* The result of a slot that has so long to end. */
static int32_t with_deadline(struct made *m, const char *name,
			     const struct to *to, size_t bytes, uint64_t ns)
{
	struct mk_slot *slot;

	assert_int_equal(mk_queue_get_wait(m->q, 1, &slot, SUPPORT_NS), 1);
	assert_int_equal(mk_queue_fill(m->q, slot, (uint16_t)opcode(m, name),
				       9, to, bytes), 0);
	assert_int_equal(mk_slot_deadline(m->q, slot, support_now() + ns), 0);
	assert_int_equal(mk_queue_submit(m->q, slot, 1), 1);
	return support_reap(m->q).result;
}

/* A deadline ends what waits and what would go on for ever. */
static void late(struct conform *c)
{
	static const char *const names[] = { "awaits", "again" };
	struct made m;

	made_begin(&m, c, MK_MADE_STEAL, 0, 0);
	for (unsigned i = 0; i < 2; i++) {
		struct to to = { .at = m.at, .next = opcode(&m, "one"),
				 .bytes = sizeof(struct at) };
		size_t bytes = i ? sizeof(to.at) : sizeof(to);
		uint64_t ns = 20 * SUPPORT_MS;
		int32_t result;

		to.at.word = 30;
		to.at.n = i ? UINT32_MAX : 31;
		/* on a machine that is busy it may not begin in time */
		do {
			result = with_deadline(&m, names[i], &to, bytes, ns);
			ns *= 2;
		} while (result == -MK_EDEADLINE && ns < SUPPORT_NS);
		assert_int_equal(result, -MK_EOVERRUN);
	}
	made_end(&m);
}

/* A deadline passes when some of the tiles have run: the slot did begin. */
static void late_tiles(struct conform *c)
{
	struct mk_slot *slot;
	struct made m;
	uint64_t late_ns;
	int32_t result;

	made_begin(&m, c, MK_MADE_STEAL, 0, 2);
	for (unsigned lap = 0; lap < 4; lap++) {
		clear(&m);
		m.at.word = 1 + lap;
		assert_int_equal(mk_queue_get_wait(m.q, 1, &slot, SUPPORT_NS),
				 1);
		assert_int_equal(mk_queue_fill(m.q, slot,
					       (uint16_t)opcode(&m, "until"),
					       9, &m.at, sizeof(m.at)), 0);
		slot->tiles = UINT16_MAX;
		late_ns = support_now() + 200 * SUPPORT_MS;
		assert_int_equal(mk_slot_deadline(m.q, slot, late_ns), 0);
		assert_int_equal(mk_queue_submit(m.q, slot, 1), 1);
		while (support_now() < late_ns + 5 * SUPPORT_MS)
			support_sleep(SUPPORT_MS);
		assert_int_equal(mk_queue_set_observable(m.q, 1 + lap, 1), 0);
		result = support_reap(m.q).result;
		/* begun, and too late for the first tile: either */
		if (word(&m, 0) || result != -MK_EDEADLINE)
			assert_int_equal(result, word(&m, 0) == UINT16_MAX ?
							 6 : -MK_EOVERRUN);
	}
	made_end(&m);
}

/* A module in use by work that waits cannot go; nor is a queue's end held up
 * by it. */
static void in_use(struct conform *c)
{
	struct made m;
	struct to to;

	made_begin(&m, c, MK_MADE_STEAL, 0, 0);
	to = (struct to){ .at = m.at, .next = opcode(&m, "one"),
			  .bytes = sizeof(struct at) };
	to.at.n = 41;
	support_submit(m.q, (uint16_t)opcode(&m, "awaits"), 1, &to,
		       sizeof(to));
	support_sleep(100 * SUPPORT_MS);
	assert_int_equal(mk_module_unload(m.ctx, m.module, SUPPORT_MS),
			 -ETIME);
	/* it ends: cancelled, with the queue */
	assert_int_equal(mk_queue_destroy(m.q, SUPPORT_NS), 0);
	support_ctx_end(m.ctx);
}

/* A buffer goes, and who waits for a counter of it learns of it. */
static void buffer_goes(struct conform *c)
{
	mk_buffer_t other;
	struct made m;
	struct to to;

	made_begin(&m, c, MK_MADE_STEAL, 0, 0);
	assert_int_equal(mk_buffer_create(m.ctx, 64, 0, &other), 0);
	to = (struct to){ .at = m.at, .next = opcode(&m, "one"),
			  .bytes = sizeof(struct at) };
	to.at.ref = mk_buffer_ref(other);
	to.at.n = 1;
	for (unsigned i = 0; i < 8; i++)
		support_submit(m.q, (uint16_t)opcode(&m, "awaits"), i, &to,
			       sizeof(to));
	support_sleep(5 * SUPPORT_MS);
	assert_int_equal(mk_buffer_destroy(m.ctx, other, SUPPORT_NS), 0);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(support_reap(m.q).result, -MK_ESTALE);
	made_end(&m);
}

static const struct conform_case cases[] = {
	{ "tiles", tiles },
	{ "tiles of many slots", tiles_side_by_side },
	{ "a tile fails", tile_fails },
	{ "tree, stealing", tree_stealing },
	{ "tree, fixed", tree_fixed },
	{ "tree in little room", tree_small },
	{ "back pressure", back_pressure },
	{ "refused", refused },
	{ "goes on", goes_on },
	{ "barrier", barrier },
	{ "awaits", awaits },
	{ "late", late },
	{ "late tiles", late_tiles },
	{ "in use", in_use },
	{ "buffer goes", buffer_goes },
};

int main(void)
{
	return CONFORM_MAIN("made work", cases);
}
