/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 240 */
/* Handlers of the user's own, from source: the dialect, on every engine. */
#include <errno.h>
#include <string.h>

#include "queue/queue.h"
#include "support/conform.h"

static const char source[] =
	"#include <megakernel/handler.h>\n"
	"struct echo { unsigned char b[40]; struct mk_ref to; };\n"
	"MK_HANDLER(echo, struct echo)\n"
	"{\n"
	"	unsigned char *p = mk_write(task, args->to, 48);\n"
	"	const unsigned char *a = (const unsigned char *)args;\n"
	"	if (!p)\n"
	"		return mk_fail(task);\n"
	"	for (uint32_t i = mk_lane(task); i < 48; i += mk_lanes(task))\n"
	"		p[i] = a[i];\n"
	"	return 0;\n"
	"}\n"
	"struct wide { _Alignas(16) uint32_t w[12]; };\n"
	"MK_HANDLER(mixed, struct wide)\n"
	"{\n"
	"	uint64_t sum = 0;\n"
	"	if ((uint64_t)(uintptr_t)args & 15)\n"
	"		return -MK_EARGS;\n"
	"	for (int i = 0; i < 12; i++)\n"
	"		sum = sum * 31 + args->w[i];\n"
	"	mk_value(task, sum);\n"
	"	return 0;\n"
	"}\n"
	"struct two { uint32_t a, b; };\n"
	"MK_HANDLER(scratches, struct two)\n"
	"{\n"
	"	unsigned char *s = mk_scratch(task, args->a);\n"
	"	uint64_t sum = 0;\n"
	"	if (!s)\n"
	"		return mk_fail(task);\n"
	"	if ((uint64_t)(uintptr_t)s & 15)\n"
	"		return -1;\n"
	"	for (uint32_t i = mk_lane(task); i < args->a; i += mk_lanes(task))\n"
	"		s[i] = (unsigned char)(i * args->b);\n"
	"	mk_sync(task);\n"
	"	if (mk_lane(task) == 0)\n"
	"		for (uint32_t i = 0; i < args->a; i++)\n"
	"			sum += s[i];\n"
	"	mk_value(task, sum);\n"
	"	mk_sync(task);\n"
	"	return 0;\n"
	"}\n"
	"MK_HANDLER(lanes, struct two)\n"
	"{\n"
	"	uint64_t *w = mk_observable(task, args->a);\n"
	"	if (!w)\n"
	"		return mk_fail(task);\n"
	"	if (mk_lane(task) >= mk_lanes(task))\n"
	"		return -1;\n"
	"	mk_fetch_add(w, 1);\n"
	"	mk_sync(task);\n"
	"	mk_value(task, mk_lanes(task));\n"
	"	return (int32_t)mk_load(w);\n"
	"}\n"
	/* while word a is below b, spin, unless cancelled; word 9 counts */
	"MK_HANDLER_THREAD(until, struct two)\n"
	"{\n"
	"	uint64_t *w = mk_observable(task, args->a);\n"
	"	if (!w)\n"
	"		return mk_fail(task);\n"
	"	mk_fetch_add(mk_observable(task, 9), 1);\n"
	"	while (mk_load(w) < args->b)\n"
	"		if (mk_cancelled(task))\n"
	"			return -MK_ECANCELLED;\n"
	"	return 0;\n"
	"}\n"
	"MK_HANDLER(deadline, struct mk_none)\n"
	"{\n"
	"	(void)args;\n"
	"	mk_value(task, mk_deadline_ns(task));\n"
	"	return 0;\n"
	"}\n"
	"MK_HANDLER_THREAD(posts, struct two)\n"
	"{\n"
	"	struct mk_io_record r = { 0 };\n"
	"	uint32_t good = 0;\n"
	"	for (uint32_t i = 0; i < args->a; i++) {\n"
	"		r.op = MK_IO_READ;\n"
	"		r.tag = i;\n"
	"		if (mk_io_post(task, &r) == 0)\n"
	"			good++;\n"
	"	}\n"
	"	mk_value(task, good);\n"
	"	return good < args->a ? -MK_EFULL : 0;\n"
	"}\n"
	"MK_HANDLER_THREAD(returns, struct two)\n"
	"{\n"
	"	mk_value(task, ~(uint64_t)args->a);\n"
	"	return (int32_t)args->a;\n"
	"}\n"
	"MK_HANDLER_THREAD(tells, struct mk_none)\n"
	"{\n"
	"	(void)args;\n"
	"	mk_print(task, 7, 1, 2, 3);\n"
	"	mk_value(task, mk_ticket(task));\n"
	"	return (int32_t)(mk_tiles(task) * 16 + mk_tile(task));\n"
	"}\n";

/* C11 as people write it: nothing in it is for one engine. */
static const char plain[] =
	"#include <assert.h>\n"
	"#include <stdalign.h>\n"
	"#include <stdbool.h>\n"
	"#include <string.h>\n"
	"#include <megakernel/handler.h>\n"
	"struct plain { _Alignas(8) struct mk_ref to; uint32_t n; };\n"
	"struct point { float x, y; bool set; };\n"
	"_Static_assert(_Alignof(struct plain) == 8, \"alignment\");\n"
	"MK_CONST char word[] = \"resident\";\n"
	"static uint32_t first(const uint32_t *restrict p, _Bool twice)\n"
	"{ return twice ? 2 * p[0] : p[0]; }\n"
	"MK_HANDLER_THREAD(plain, struct plain)\n"
	"{\n"
	"	uint32_t *p = mk_write(task, args->to, 16);\n"
	"	const uint32_t *q = mk_read_at(task, args->to, 4, 8);\n"
	"	struct point at = { .x = 0.1f, .y = 3.0f };\n"
	"	char *text = mk_scratch(task, 32);\n"
	"	if (!p || !q || !text || !mk_read(task, args->to, 1))\n"
	"		return mk_fail(task);\n"
	"	if (at.set || text == NULL)\n"
	"		return -1;\n"
	"	memset(text, 'x', 31);\n"
	"	memcpy(text, word, sizeof(word));\n"
	"	memmove(text + 1, text, sizeof(word));\n"
	"	if (strlen(text) != 9 || memcmp(text, \"rresident\", 10))\n"
	"		return -2;\n"
	"	if (memcmp(text, \"rrf\", 3) >= 0)\n"
	"		return -3;\n"
	"	p[0] = 20;\n"
	"	p[1] = 1;\n"
	"	assert(q[0] == 1);\n"
	"	at.x = at.x * at.y + at.x;\n"
	"	memcpy(&p[2], &at.x, 4);\n"
	"	return (int32_t)(first(p, true) + args->n);\n"
	"}\n";

struct two {
	uint32_t a, b;
};

static void load(struct conform *c)
{
	int r = mk_module_load_source(c->ctx, "conform.c", source, 0, NULL);

	if (r)
		print_error("%s: %s\n", mk_code_name(r), mk_error_last()->text);
	assert_int_equal(r, 0);
}

static uint16_t op(struct conform *c, const char *name)
{
	struct mk_handler_info info;

	assert_int_equal(mk_handler_find(c->ctx, name, &info), 0);
	assert_true(info.opcode >= MK_OPCODE_USER);
	return info.opcode;
}

static struct mk_completion call2(struct mk_queue *q, uint16_t opcode,
				  uint32_t a, uint32_t b)
{
	struct two args = { a, b };

	return support_call(q, opcode, &args, sizeof(args));
}

/* All 48 bytes arrive, the displaced half-words among them. */
static void arguments(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 2);
	unsigned char in[48], out[48];
	uint64_t seed = 5;
	mk_buffer_t b;

	load(c);
	assert_int_equal(mk_buffer_create(c->ctx, 48, 0, &b), 0);
	for (unsigned lap = 0; lap < 200; lap++) {
		struct mk_ref ref = mk_buffer_ref(b);
		struct mk_completion a;
		uint32_t words[12];
		uint64_t sum = 0;

		for (unsigned i = 0; i < 48; i++)
			in[i] = (unsigned char)support_random(&seed);
		if (lap < 24) /* one half-word all ones in zeros */
			memset(memset(in, 0, 48) + 2 * lap, 0xff, 2);
		if (lap == 24)
			memset(in, 0xff, 48);
		memcpy(words, in, 48);
		for (unsigned i = 0; i < 12; i++)
			sum = sum * 31 + words[i];
		a = support_call(q, op(c, "mixed"), in, 48);
		assert_int_equal(a.result, 0);
		assert_true(a.value == sum);
		memcpy(in + 40, &ref, 8);
		assert_int_equal(support_call(q, op(c, "echo"), in, 48).result,
				 0);
		assert_int_equal(mk_buffer_read(c->ctx, b, 0, out, 48), 0);
		assert_memory_equal(in, out, 48);
	}
	support_queue_end(q);
	assert_int_equal(mk_buffer_destroy(c->ctx, b, SUPPORT_NS), 0);
}

static void dialect(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 4);
	struct {
		struct mk_ref to;
		uint32_t n, pad;
	} args = { .n = 2 };
	volatile float product = 0.1f * 3.0f;
	float out;
	mk_buffer_t b;
	int r = mk_module_load_source(c->ctx, "plain.c", plain, 0, NULL);

	if (r)
		print_error("%s\n", mk_error_last()->text);
	assert_int_equal(r, 0);
	assert_int_equal(mk_buffer_create(c->ctx, 16, 0, &b), 0);
	args.to = mk_buffer_ref(b);
	assert_int_equal(support_call(q, op(c, "plain"), &args,
				      sizeof(args)).result, 42);
	assert_int_equal(mk_buffer_read(c->ctx, b, 8, &out, 4), 0);
	/* rounded after each step, as the reference does */
	assert_true(out == product + 0.1f);
	support_queue_end(q);
	assert_int_equal(mk_buffer_destroy(c->ctx, b, SUPPORT_NS), 0);
}

static void scratch(struct conform *c)
{
	static const uint32_t sizes[] = { 0, 1, 255, 4096, 65536 };
	struct mk_queue *q = support_queue(c->ctx, 4);

	load(c);
	for (unsigned i = 0; i < 5; i++) {
		struct mk_completion a = call2(q, op(c, "scratches"), sizes[i],
					       3);
		uint64_t sum = 0;

		for (uint32_t k = 0; k < sizes[i]; k++)
			sum += (unsigned char)(k * 3);
		assert_int_equal(a.result, 0);
		assert_true(a.value == sum);
	}
	assert_int_equal(call2(q, op(c, "scratches"), 65537, 1).result,
			 -MK_ESCRATCH);
	assert_int_equal(call2(q, op(c, "scratches"), UINT32_MAX, 1).result,
			 -MK_ESCRATCH);
	support_queue_end(q);
}

static void lanes(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 4);
	struct mk_completion a;

	load(c);
	a = call2(q, op(c, "lanes"), 3, 0);
	/* each lane was there once, before any came past the barrier */
	assert_true(a.value >= 1);
	assert_int_equal(a.result, a.value);
	assert_int_equal(call2(q, op(c, "lanes"), 64, 0).result, -MK_ERANGE);
	support_queue_end(q);
}

static void results(struct conform *c)
{
	static const int32_t values[] = { 0, 1, INT32_MAX, -1, INT32_MIN,
					  -MK_EFAULT, -MK_EOVERRUN,
					  -MK_EPOISON, -12345 };
	struct mk_queue *q = support_queue(c->ctx, 4);
	struct mk_queue_stats s;

	load(c);
	for (unsigned i = 0; i < 9; i++) {
		struct mk_completion a = call2(q, op(c, "returns"),
					       (uint32_t)values[i], 0);

		assert_int_equal(a.result, values[i]);
		assert_true(a.value == ~(uint64_t)(uint32_t)values[i]);
	}
	s = support_balance(q);
	assert_int_equal(s.ok, 3);
	assert_int_equal(s.failed, 6);
	assert_int_equal(s.faulted, 1);
	assert_int_equal(s.expired, 1);
	assert_int_equal(s.lost, 1);
	assert_int_equal(s.other, 3);
	support_queue_end(q);
}

static void tells(struct conform *c)
{
	struct mk_queue_params p = { .size = sizeof(p), .entries = 4,
				     .first_ticket = (1ull << 32) - 2 };
	struct mk_log_entry e[4];
	struct mk_queue *q;

	load(c);
	assert_int_equal(mk_queue_create(c->ctx, &p, &q), 0);
	for (uint64_t i = 0; i < 4; i++) {
		struct mk_completion a = support_call(q, op(c, "tells"), NULL,
						      0);

		assert_int_equal(a.result, 16);
		assert_true(a.value == p.first_ticket + i);
	}
	assert_int_equal(mk_queue_log_read(q, e, 4, NULL), 4);
	for (uint64_t i = 0; i < 4; i++) {
		assert_true(e[i].ticket == p.first_ticket + i);
		assert_int_equal(e[i].format, 7);
		assert_int_equal(e[i].arg[2], 3);
	}
	support_queue_end(q);
}

static void deadline(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 4);
	uint64_t when = support_now() + SUPPORT_NS;
	struct mk_slot *s;

	load(c);
	assert_true(support_call(q, op(c, "deadline"), NULL, 0).value ==
		    UINT64_MAX);
	assert_int_equal(mk_queue_get(q, 1, &s), 1);
	mk_slot_init(s, op(c, "deadline"), 1);
	assert_int_equal(mk_slot_deadline(q, s, when), 0);
	assert_int_equal(mk_queue_submit(q, s, 1), 1);
	assert_true(support_reap(q).value == when);
	support_queue_end(q);
}

/* The IO queue takes what it holds and refuses, counted, what it does not. */
static void io_full(struct conform *c)
{
	struct mk_queue_params p = { .size = sizeof(p), .entries = 4,
				     .io_records = 4 };
	struct mk_completion a;
	struct mk_io_queue *io;
	struct mk_queue *q;

	load(c);
	assert_int_equal(mk_queue_create(c->ctx, &p, &q), 0);
	io = mk_queue_io(q);
	a = call2(q, op(c, "posts"), 3, 0);
	assert_int_equal(a.result, 0);
	a = call2(q, op(c, "posts"), 5, 0);
	assert_int_equal(a.result, -MK_EFULL);
	assert_int_equal(a.value, 1);
	assert_int_equal(io->posted, 4);
	assert_int_equal(io->refused, 4);
	a = call2(q, op(c, "posts"), 1, 0);
	assert_int_equal(a.value, 0);
	/* room again when the host took two */
	__atomic_store_n(&io->taken, 2, __ATOMIC_RELEASE);
	a = call2(q, op(c, "posts"), 3, 0);
	assert_int_equal(a.value, 2);
	assert_int_equal(io->posted, 6);
	support_queue_end(q);
}

/* ---- slots that run long ------------------------------------------------ */

/* Submit one that spins, and wait until it does. */
static void start_until(struct conform *c, struct mk_queue *q,
			uint64_t user_data, uint32_t word)
{
	uint64_t end = support_now() + SUPPORT_NS, before, runs;
	struct two args = { word, 1 };

	assert_int_equal(mk_queue_observe(q, 9, &before), 0);
	support_submit(q, op(c, "until"), user_data, &args, sizeof(args));
	do {
		assert_true(support_now() < end);
		assert_int_equal(mk_queue_observe(q, 9, &runs), 0);
	} while (runs == before);
}

static void cancel_running(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 8);

	load(c);
	start_until(c, q, 1, 0);
	assert_int_equal(mk_queue_wait(q, 1, 0), -ETIME);
	assert_int_equal(mk_queue_destroy(q, SUPPORT_MS), -ETIME);
	support_error(-ETIME, NULL);
	assert_int_equal(mk_queue_cancel(q, 1), 1);
	assert_int_equal(support_reap(q).result, -MK_ECANCELLED);
	support_queue_end(q);
}

/* While a slot runs, nothing that it may use goes, and all says so. */
static void busy(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 8);
	mk_buffer_t b;

	load(c);
	assert_int_equal(mk_buffer_create(c->ctx, 16, 0, &b), 0);
	start_until(c, q, 1, 0);
	assert_int_equal(mk_ctx_quiesce(c->ctx, SUPPORT_MS), -ETIME);
	assert_int_equal(mk_buffer_destroy(c->ctx, b, SUPPORT_MS), -ETIME);
	assert_int_equal(mk_buffer_write(c->ctx, b, 0, "still", 5), 0);
	assert_int_equal(mk_queue_set_observable(q, 0, 1), 0);
	assert_int_equal(support_reap(q).result, 0);
	assert_int_equal(mk_buffer_destroy(c->ctx, b, SUPPORT_NS), 0);
	assert_int_equal(support_call(q, MK_OP_NOP, NULL, 0).result, 0);
	support_queue_end(q);
}

/* Run an opcode until the engine knows that it is quick, if it learns. */
static void teach(struct conform *c, struct mk_queue *q)
{
	assert_int_equal(mk_queue_set_observable(q, 0, 1), 0);
	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(call2(q, op(c, "until"), 0, 1).result, 0);
}

/*
 * A handler that was always quick takes long: what was answered before it is
 * told, what comes after it runs on another worker.
 */
static void quick_no_more(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 32);
	struct two quick = { 0, 1 }, slow = { 1, 1 };
	struct mk_slot *s;
	bool seen[16];

	load(c);
	teach(c, q);
	for (unsigned at = 0; at < 16; at += 5) {
		unsigned n = 0;

		memset(seen, 0, sizeof(seen));
		assert_int_equal(mk_queue_set_observable(q, 1, 0), 0);
		while ((n = (unsigned)mk_queue_get(q, 16, &s)) < 16) {
			/* come round to have them in one piece */
			for (unsigned i = 0; i < n; i++)
				mk_slot_init(&s[i], MK_OP_NOP, 99);
			assert_int_equal(mk_queue_submit(q, s, n), n);
			for (unsigned i = 0; i < n; i++)
				support_reap(q);
		}
		for (unsigned i = 0; i < 16; i++) {
			mk_slot_init(&s[i], op(c, "until"), i);
			memcpy(s[i].bytes, i == at ? &slow : &quick, 8);
		}
		assert_int_equal(mk_queue_submit(q, s, 16), 16);
		for (unsigned i = 0; i < 15; i++) {
			struct mk_completion a = support_reap(q);

			assert_int_equal(a.result, 0);
			assert_true(a.user_data < 16 && a.user_data != at);
			assert_false(seen[a.user_data]);
			seen[a.user_data] = true;
		}
		assert_int_equal(mk_queue_wait(q, 1, 0), -ETIME);
		assert_int_equal(mk_queue_set_observable(q, 1, 1), 0);
		assert_int_equal(support_reap(q).user_data, at);
	}
	support_queue_end(q);
}

/* The same with all workers asleep before: the one that wakes is held up by
 * the slot, and the next slot, on another queue, is what would free it. */
static void held_up(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 4);
	struct mk_queue *other = support_queue(c->ctx, 4);

	load(c);
	teach(c, q);
	for (unsigned lap = 0; lap < 5; lap++) {
		struct mk_ctx_stats s;
		uint64_t end = support_now() + SUPPORT_NS, sleeps;

		assert_int_equal(mk_queue_set_observable(q, 1, 0), 0);
		/* asleep for good: nobody went to sleep for a while */
		do {
			assert_int_equal(mk_ctx_stats(c->ctx, &s), 0);
			sleeps = s.sleeps;
			support_sleep(30 * SUPPORT_MS);
			assert_int_equal(mk_ctx_stats(c->ctx, &s), 0);
			assert_true(support_now() < end);
		} while (s.sleeps != sleeps);
		start_until(c, q, 1, 1);
		assert_int_equal(support_call(other, MK_OP_NOP, NULL,
					      0).result, 0);
		assert_int_equal(mk_queue_set_observable(q, 1, 1), 0);
		assert_int_equal(support_reap(q).result, 0);
	}
	support_queue_end(other);
	support_queue_end(q);
}

/* ---- loading ------------------------------------------------------------ */

#define ONE(name, value)                            \
	"#include <megakernel/handler.h>\n"         \
	"MK_HANDLER(" name ", struct mk_none)\n"    \
	"{ (void)task; (void)args; return " value "; }\n"

static void unload(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 4);
	struct mk_slot *s;
	uint32_t id, again;
	uint16_t opcode;

	assert_int_equal(mk_module_load_source(c->ctx, "one.c",
					       ONE("one", "1"), 0, &id), 0);
	opcode = op(c, "one");
	assert_int_equal(support_call(q, opcode, NULL, 0).result, 1);
	assert_int_equal(mk_module_unload(c->ctx, id, SUPPORT_NS), 0);
	assert_int_equal(mk_module_unload(c->ctx, id, SUPPORT_NS), -ENOENT);
	assert_int_equal(mk_queue_get(q, 1, &s), 1);
	mk_slot_init(s, opcode, 1);
	assert_int_equal(mk_queue_submit(q, s, 1), -MK_EOPCODE);
	/* behind the library's back: the engine has none either */
	support_inject(q, s, support_header(opcode, 0, 2, 0, 0),
		       (uint64_t[6]){ 0 });
	assert_int_equal(support_reap(q).result, -MK_EOPCODE);
	assert_int_equal(mk_module_load_source(c->ctx, "two.c",
					       ONE("one", "2"), 0, &again), 0);
	assert_int_equal(support_call(q, op(c, "one"), NULL, 0).result, 2);
	support_queue_end(q);
}

/* Replaced while it is used: each slot has the old answer or the new one. */
static void replace(struct conform *c)
{
	struct mk_queue *q = support_queue(c->ctx, 64);
	static const char *const text[2] = { ONE("one", "1"), ONE("one", "2") };
	unsigned sent = 0, back = 0, last = 1;
	uint16_t opcode;

	assert_int_equal(mk_module_load_source(c->ctx, "one.c", text[0], 0,
					       NULL), 0);
	opcode = op(c, "one");
	assert_int_equal(mk_module_load_source(c->ctx, "one.c", text[1], 0,
					       NULL), -MK_ECLASH);
	for (unsigned lap = 0; lap < 10; lap++) {
		for (; sent < back + 64; sent++)
			support_submit(q, opcode, sent, NULL, 0);
		assert_int_equal(mk_module_load_source(
					 c->ctx, "one.c", text[(lap + 1) % 2],
					 MK_MODULE_REPLACE, NULL), 0);
		assert_int_equal(op(c, "one"), opcode);
		last = 1 + (lap + 1) % 2;
		for (; back < sent; back++) {
			int r = support_reap(q).result;

			assert_true(r == 1 || r == 2);
		}
		assert_int_equal(support_call(q, opcode, NULL, 0).result,
				 last);
	}
	support_queue_end(q);
}

int main(void)
{
	static const struct conform_case cases[] = {
		{ "arguments", arguments },
		{ "dialect", dialect },
		{ "scratch", scratch },
		{ "lanes", lanes },
		{ "results", results },
		{ "ticket and print", tells },
		{ "deadline", deadline },
		{ "full IO queue", io_full },
		{ "cancel of a running slot", cancel_running },
		{ "busy", busy },
		{ "quick no more", quick_no_more },
		{ "held up", held_up },
		{ "unload", unload },
		{ "replace", replace },
	};

	return CONFORM_MAIN("conformance/modules", cases);
}
