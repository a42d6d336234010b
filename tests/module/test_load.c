/* SPDX-License-Identifier: Apache-2.0 */
/* Modules in a running context, in both isolation modes. */
#include "module/fixture.h"

#include <megakernel/handler.h>

#include "module/builtin.h"

#define WAIT_NS 20000000000u /* a hang, not a slow machine */

static struct mk_ctx *ctx;
static struct mk_queue *q;

static void open_ctx(uint32_t isolation)
{
	struct mk_ctx_params p = {
		.size = sizeof(p),
		.isolation = isolation,
		.workers = 2,
		.recovery = MK_RECOVERY_OFF, /* a test does it itself */
		.compiler = fix.cc,
		.cache_dir = fix.cache,
	};
	int rc = mk_ctx_create(&p, &ctx);

	if (rc)
		fail_msg("%d: %s", rc, mk_error_last()->text);
	assert_int_equal(mk_queue_create(ctx, NULL, &q), 0);
}

static int setup_process(void **state)
{
	fix_setup(state);
	open_ctx(MK_ISOLATION_PROCESS);
	return 0;
}

static int setup_none(void **state)
{
	fix_setup(state);
	open_ctx(MK_ISOLATION_NONE);
	return 0;
}

static int teardown(void **state)
{
	if (q)
		assert_int_equal(mk_queue_destroy(q, WAIT_NS), 0);
	assert_int_equal(mk_ctx_destroy(ctx, WAIT_NS), 0);
	q = NULL;
	ctx = NULL;
	return fix_teardown(state);
}

static uint32_t load(const char *text, uint32_t flags)
{
	uint32_t id = 0;
	int rc = mk_module_load_source(ctx, "text.c", text, flags, &id);

	if (rc)
		fail_msg("%d: %s", rc, mk_error_last()->text);
	assert_int_not_equal(id, 0);
	return id;
}

static int try_load(const char *text, uint32_t flags)
{
	return mk_module_load_source(ctx, "text.c", text, flags, NULL);
}

static uint16_t opcode_of(const char *name)
{
	struct mk_handler_info h;

	assert_int_equal(mk_handler_find(ctx, name, &h), 0);
	assert_string_equal(h.name, name);
	return h.opcode;
}

/* The result of one slot; its value in *value. */
static int call(uint16_t opcode, uint64_t arg, uint64_t *value)
{
	struct mk_slot slot;
	struct mk_completion c;
	int rc;

	mk_slot_init(&slot, opcode, 0);
	slot.arg64[0] = arg;
	rc = mk_queue_call(q, &slot, &c, WAIT_NS);
	if (value)
		*value = c.value;
	return rc;
}

static void expect_answer(uint16_t opcode, uint64_t arg, uint64_t want)
{
	uint64_t value;

	assert_int_equal(call(opcode, arg, &value), 0);
	assert_true(value == want);
}

static unsigned handlers(void)
{
	int n = mk_handler_list(ctx, NULL, 0);

	assert_true(n > 0);
	return (unsigned)n;
}

/* What a refused load must have left as it was. */
struct before {
	struct mk_handler_info list[MK_OPCODES];
	unsigned count;
};

static void remember(struct before *b)
{
	memset(b, 0, sizeof(*b));
	b->count = (unsigned)mk_handler_list(ctx, b->list, MK_OPCODES);
}

static void expect_same(const struct before *b)
{
	static struct before now;

	remember(&now);
	assert_int_equal(now.count, b->count);
	assert_memory_equal(now.list, b->list, sizeof(now.list));
}

#define TWO(one, two)                                                  \
	"#include <megakernel/handler.h>\n"                            \
	"MK_HANDLER(first, uint64_t)\n"                                \
	"{ mk_value(task, *args + " #one "); return 0; }\n"            \
	"MK_HANDLER(second, uint64_t)\n"                               \
	"{ mk_value(task, *args + " #two "); return 0; }\n"

/* ---- tests ------------------------------------------------------------ */

static void loads(void **state)
{
	unsigned was = handlers();
	struct mk_handler_info h;
	uint32_t a, b;
	uint16_t opcode;

	(void)state;
	a = load(ANSWER_SOURCE(40), 0);
	assert_int_equal(mk_handler_find(ctx, "answer", &h), 0);
	assert_int_equal(h.module, a);
	assert_int_equal(h.builtin, 0);
	assert_int_equal(h.arg_bytes, 8);
	assert_int_equal(h.width, MK_WIDTH_WARP);
	assert_in_range(h.opcode, MK_OPCODE_USER, MK_OPCODES - 1);
	expect_answer(h.opcode, 2, 42);
	b = load(TWO(1, 2), 0);
	assert_int_not_equal(a, b);
	assert_int_equal(handlers(), was + 3);
	expect_answer(opcode_of("first"), 10, 11);
	expect_answer(opcode_of("second"), 10, 12);
	expect_answer(h.opcode, 3, 43);
	opcode = opcode_of("first");
	assert_int_equal(mk_module_unload(ctx, b, WAIT_NS), 0);
	assert_int_equal(mk_handler_find(ctx, "first", &h),
			 -MK_ENOHANDLER);
	expect_words("first");
	assert_int_equal(call(opcode, 0, NULL), -MK_EOPCODE);
	assert_int_equal(mk_module_unload(ctx, b, WAIT_NS), -ENOENT);
	assert_int_equal(mk_module_unload(ctx, a, WAIT_NS), 0);
	assert_int_equal(handlers(), was);
}

static void fills_with_checks(void **state)
{
	struct mk_slot *slot;
	uint64_t arg = 1;
	uint16_t opcode;

	(void)state;
	load(ANSWER_SOURCE(40), 0);
	opcode = opcode_of("answer");
	assert_int_equal(mk_queue_get(q, 1, &slot), 1);
	assert_int_equal(mk_queue_fill(q, slot, opcode, 0, &arg, 7),
			 -MK_EARGS);
	assert_int_equal(mk_queue_fill(q, slot, opcode + 1, 0, &arg, 8),
			 -MK_EOPCODE);
	assert_int_equal(mk_queue_fill(q, slot, opcode, 0, &arg, 8), 0);
	assert_int_equal(mk_queue_submit(q, slot, 1), 1);
	assert_int_equal(mk_queue_drain(q, WAIT_NS), 0);
}

static void loads_files(void **state)
{
	struct mk_ctx_params p = { .size = sizeof(p), .compiler = fix.cc,
				   .cache_dir = fix.cache };
	uint32_t id;
	int fd;

	(void)state;
	write_file(in_dir("a.c"), ANSWER_SOURCE(40), 0600);
	assert_int_equal(mk_module_load(ctx, in_dir("a.c"), 0, &id), 0);
	expect_answer(opcode_of("answer"), 2, 42);
	assert_int_equal(mk_module_unload(ctx, id, WAIT_NS), 0);
	assert_int_equal(mk_module_compile(&p, in_dir("a.c"),
					   in_dir("a.mkm")), 0);
	/* no compiler is needed for it, whatever it is called */
	assert_int_equal(unlink(fix.cc), 0);
	assert_int_equal(mk_module_load(ctx, in_dir("a.mkm"), 0, &id), 0);
	expect_answer(opcode_of("answer"), 2, 42);
	assert_int_equal(mk_module_unload(ctx, id, WAIT_NS), 0);
	assert_int_equal(rename(in_dir("a.mkm"), in_dir("a")), 0);
	assert_int_equal(mk_module_load(ctx, in_dir("a"), 0, &id), 0);
	assert_int_equal(mk_module_unload(ctx, id, WAIT_NS), 0);
	/* damaged: said so, kept, and not taken for a source */
	fd = open(in_dir("a"), O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "x", 1, 2000), 1);
	close(fd);
	assert_int_equal(mk_module_load(ctx, in_dir("a"), 0, &id),
			 -MK_EMODULE);
	expect_words("damaged");
	assert_int_equal(access(in_dir("a"), F_OK), 0);
	assert_int_equal(truncate(in_dir("a"), 5), 0);
	assert_int_equal(rename(in_dir("a"), in_dir("a.mkm")), 0);
	assert_int_equal(mk_module_load(ctx, in_dir("a.mkm"), 0, &id),
			 -MK_EMODULE);
	assert_int_equal(mk_module_load(ctx, in_dir("a.c"), 0, &id),
			 -MK_ENOCOMPILER);
}

static void refuses(void **state)
{
	static struct before b;
	struct mk_handler_info h;
	uint32_t id = 77;

	(void)state;
	remember(&b);
	assert_int_equal(mk_module_load(ctx, in_dir("none.c"), 0, &id),
			 -ENOENT);
	assert_int_equal(mk_module_load(ctx, NULL, 0, &id), -EINVAL);
	assert_int_equal(mk_module_load(NULL, "a.c", 0, &id), -EINVAL);
	assert_int_equal(try_load(ANSWER_SOURCE(1), 2), -EINVAL);
	expect_words("0x2");
	assert_int_equal(mk_module_load_source(ctx, "x", NULL, 0, &id),
			 -EINVAL);
	assert_int_equal(mk_module_load_static(ctx, NULL, 0, &id), -EINVAL);
	assert_int_equal(try_load("int x = ;", 0), -MK_ECOMPILE);
	expect_words("text.c:1:");
	assert_int_equal(try_load("int x;", 0), -MK_EMODULE);
	assert_int_equal(mk_module_unload(ctx, 5, 0), -ENOENT);
	assert_int_equal(mk_module_unload(ctx, 0, 0), -ENOENT);
	assert_int_equal(mk_handler_find(ctx, "", &h), -MK_ENOHANDLER);
	assert_int_equal(mk_handler_find(ctx, NULL, &h), -EINVAL);
	assert_int_equal(mk_handler_list(ctx, NULL, 1), -EINVAL);
	assert_int_equal(id, 77);
	expect_same(&b);
}

static void clashes(void **state)
{
	static struct before b;
	char words[64];
	uint32_t id;

	(void)state;
	id = load(TWO(1, 2), 0);
	remember(&b);
	assert_int_equal(try_load("#include <megakernel/handler.h>\n"
		"MK_HANDLER(other, uint64_t) { return 0; }\n"
		"MK_HANDLER(second, uint64_t) { return 0; }\n", 0),
		-MK_ECLASH);
	expect_words("second");
	snprintf(words, sizeof(words), "module %u", id);
	expect_words(words);
	/* nothing built in can be replaced */
	for (unsigned flags = 0; flags <= MK_MODULE_REPLACE; flags++) {
		assert_int_equal(try_load("#include <megakernel/handler.h>\n"
			"MK_HANDLER(fence, uint64_t) { return 0; }\n", flags),
			-MK_ECLASH);
		expect_words("fence is built in");
		assert_int_equal(try_load("#include <megakernel/handler.h>\n"
			"MK_HANDLER(sha256, uint64_t) { return 0; }\n", flags),
			-MK_ECLASH);
	}
	expect_same(&b);
	expect_answer(opcode_of("second"), 1, 3);
}

static void replaces(void **state)
{
	static struct before b;
	uint16_t first, second;
	uint32_t a, c;
	struct mk_handler_info h;

	(void)state;
	a = load(TWO(1, 2), 0);
	first = opcode_of("first");
	second = opcode_of("second");
	remember(&b);
	/* not whole: refused, and the old one goes on */
	assert_int_equal(try_load("#include <megakernel/handler.h>\n"
		"MK_HANDLER(second, uint64_t) { return 0; }\n",
		MK_MODULE_REPLACE), -MK_ECLASH);
	expect_words("first");
	expect_same(&b);
	expect_answer(first, 1, 2);
	/* whole, with one more handler, and other arguments */
	c = load("#include <megakernel/handler.h>\n"
		 "MK_HANDLER(added, uint64_t)\n"
		 "{ mk_value(task, *args + 300); return 0; }\n"
		 "MK_HANDLER(second, uint32_t)\n"
		 "{ mk_value(task, *args + 200); return 0; }\n"
		 "MK_HANDLER(first, uint64_t)\n"
		 "{ mk_value(task, *args + 100); return 0; }\n",
		 MK_MODULE_REPLACE);
	assert_int_equal(opcode_of("first"), first);
	assert_int_equal(opcode_of("second"), second);
	expect_answer(first, 1, 101);
	expect_answer(second, 1, 201);
	expect_answer(opcode_of("added"), 1, 301);
	assert_int_equal(mk_handler_find(ctx, "second", &h), 0);
	assert_int_equal(h.arg_bytes, 4);
	assert_int_equal(h.module, c);
	/* the old module is gone, the new one is what owns the names */
	assert_int_equal(mk_module_unload(ctx, a, WAIT_NS), -ENOENT);
	assert_int_equal(mk_module_unload(ctx, c, WAIT_NS), 0);
	assert_int_equal(call(first, 0, NULL), -MK_EOPCODE);
}

/* Two modules can be replaced by one. */
static void replaces_two(void **state)
{
	uint32_t a, b;

	(void)state;
	a = load(TWO(1, 2), 0);
	b = load(ANSWER_SOURCE(3), 0);
	load(TWO(10, 20) ANSWER_SOURCE(30), MK_MODULE_REPLACE);
	expect_answer(opcode_of("first"), 1, 11);
	expect_answer(opcode_of("second"), 1, 21);
	expect_answer(opcode_of("answer"), 1, 31);
	assert_int_equal(mk_module_unload(ctx, a, WAIT_NS), -ENOENT);
	assert_int_equal(mk_module_unload(ctx, b, WAIT_NS), -ENOENT);
}

/* Slots in flight while modules come, are replaced and go. */
static void while_running(void **state)
{
	struct mk_completion c[64];
	unsigned submitted = 0, reaped = 0;
	uint16_t opcode;

	(void)state;
	load(ANSWER_SOURCE(0), 0);
	opcode = opcode_of("answer");
	for (unsigned round = 1; round <= 8; round++) {
		struct mk_slot *slots;
		char text[1024];
		int n = mk_queue_get(q, 64, &slots);

		assert_true(n > 0);
		for (int i = 0; i < n; i++) {
			mk_slot_init(&slots[i], opcode, round);
			slots[i].arg64[0] = 7;
		}
		assert_int_equal(mk_queue_submit(q, slots, (unsigned)n), n);
		submitted += (unsigned)n;
		snprintf(text, sizeof(text), "enum { ROUND = %u };\n%s", round,
			 ANSWER_SOURCE(1000 * (uint64_t)ROUND));
		load(text, MK_MODULE_REPLACE);
		while ((n = mk_queue_reap(q, c, 64)) > 0)
			for (int i = 0; i < n; i++, reaped++) {
				uint64_t v = c[i].value;

				/* by the handler of its time or a later one */
				assert_int_equal(c[i].result, 0);
				assert_int_equal(v % 1000, 7);
				assert_in_range(v / 1000, c[i].user_data - 1,
						round);
			}
	}
	assert_int_equal(mk_queue_drain(q, WAIT_NS), 0);
	while (reaped < submitted) {
		int n = mk_queue_reap(q, c, 64);

		assert_true(n > 0);
		for (int i = 0; i < n; i++)
			assert_int_equal(c[i].result, 0);
		reaped += (unsigned)n;
	}
	assert_int_equal(reaped, submitted);
}

#define RUN_UNTIL_CANCELLED                                            \
	"#include <megakernel/handler.h>\n"                            \
	"MK_HANDLER(spin, uint64_t)\n"                                 \
	"{\n"                                                          \
	"\t*(volatile uint64_t *)mk_observable(task, 0) = 1;\n"        \
	"\twhile (!mk_cancelled(task))\n"                              \
	"\t\t;\n"                                                      \
	"\tmk_value(task, *args);\n"                                   \
	"\treturn -MK_ECANCELLED;\n"                                   \
	"}\n"

static void start_spinning(void)
{
	struct mk_slot *slot;
	uint64_t seen = 0;

	assert_int_equal(mk_queue_set_observable(q, 0, 0), 0);
	assert_int_equal(mk_queue_get(q, 1, &slot), 1);
	mk_slot_init(slot, opcode_of("spin"), 99);
	slot->arg64[0] = 55;
	assert_int_equal(mk_queue_submit(q, slot, 1), 1);
	for (unsigned i = 0; i < 20000 && !seen; i++) {
		assert_int_equal(mk_queue_observe(q, 0, &seen), 0);
		usleep(1000);
	}
	assert_true(seen == 1);
}

static void stop_spinning(void)
{
	struct mk_completion c;

	assert_int_equal(mk_queue_cancel(q, 99), 1);
	assert_int_equal(mk_queue_drain(q, WAIT_NS), 0);
	assert_int_equal(mk_queue_reap(q, &c, 1), 1);
	assert_int_equal(c.result, -MK_ECANCELLED);
	assert_true(c.value == 55);
}

/* Unloading waits for who is inside, and says so when it cannot. */
static void unload_waits(void **state)
{
	struct mk_handler_info h;
	uint32_t id;

	(void)state;
	id = load(RUN_UNTIL_CANCELLED, 0);
	start_spinning();
	assert_int_equal(mk_module_unload(ctx, id, 50000000), -ETIME);
	assert_int_equal(mk_handler_find(ctx, "spin", &h), -MK_ENOHANDLER);
	assert_int_equal(mk_module_unload(ctx, id, 0), -ENOENT);
	/* its code is still there for the slot that runs */
	stop_spinning();
	/* and its name is free */
	load(RUN_UNTIL_CANCELLED, 0);
	start_spinning();
	stop_spinning();
}

static void runs_out(void **state)
{
	static struct before b;
	char *text = malloc(64 + 200 * 80);
	unsigned room = MK_OPCODES - MK_OPCODE_USER, made = 0;
	size_t at;

	(void)state;
	assert_non_null(text);
	while (made + 100 <= room) {
		at = (size_t)sprintf(text, "#include <megakernel/handler.h>\n");
		for (unsigned i = 0; i < 100; i++, made++)
			at += (size_t)sprintf(text + at, "MK_HANDLER(h%u, "
				"uint64_t) { return 0; }\n", made);
		load(text, 0);
	}
	remember(&b);
	at = (size_t)sprintf(text, "#include <megakernel/handler.h>\n");
	for (unsigned i = 0; i < room - made + 1; i++)
		at += (size_t)sprintf(text + at, "MK_HANDLER(x%u, uint64_t) "
				      "{ return 0; }\n", i);
	assert_int_equal(try_load(text, 0), -ENOSPC);
	expect_words("no opcode is left");
	expect_same(&b);
	free(text);
}

/* ---- linked in -------------------------------------------------------- */

struct linked_args {
	uint64_t add;
};

MK_HANDLER(linked, struct linked_args)
{
	mk_value(task, args->add + 500);
	return MK_OK;
}

MK_MODULE_DEFINE(linked_table);

/* The library's own handlers are no part of a program's table. */
static void only_ours(void **state)
{
	(void)state;
	assert_int_equal(linked_table.end - linked_table.first, 1);
	assert_string_equal(linked_table.first->name, "linked");
}

static void static_none(void **state)
{
	uint32_t id;

	(void)state;
	assert_int_equal(mk_module_load_static(ctx, &linked_table, 0, &id), 0);
	expect_answer(opcode_of("linked"), 1, 501);
	assert_int_equal(mk_module_load_static(ctx, &linked_table, 0, NULL),
			 -MK_ECLASH);
	assert_int_equal(mk_module_load_static(ctx, &linked_table,
					       MK_MODULE_REPLACE, &id), 0);
	expect_answer(opcode_of("linked"), 1, 501);
	assert_int_equal(mk_module_unload(ctx, id, WAIT_NS), 0);
}

static void static_process(void **state)
{
	(void)state;
	assert_int_equal(mk_module_load_static(ctx, &linked_table, 0, NULL),
			 -EOPNOTSUPP);
	expect_words("MK_ISOLATION_NONE");
}

/* ---- the worker process dies ------------------------------------------ */

static void wait_lost(void)
{
	struct mk_error why;

	for (unsigned i = 0; i < 20000 && !mk_ctx_error(ctx, &why); i++)
		usleep(1000);
	assert_int_equal(mk_ctx_error(ctx, &why), 1);
}

static void recovers(void **state)
{
	struct mk_ctx_info info;
	uint16_t answer, first, second;
	uint32_t a, b;

	(void)state;
	a = load(ANSWER_SOURCE(40), 0);
	b = load(TWO(1, 2), 0);
	load(TWO(5, 6), MK_MODULE_REPLACE);
	answer = opcode_of("answer");
	first = opcode_of("first");
	second = opcode_of("second");
	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	assert_int_equal(kill(info.worker_pid, SIGKILL), 0);
	wait_lost();
	assert_int_equal(try_load(ANSWER_SOURCE(1), 0), -MK_EDEVLOST);
	assert_int_equal(mk_module_unload(ctx, a, WAIT_NS), -MK_EDEVLOST);
	assert_int_equal(mk_ctx_recover(ctx, WAIT_NS), 0);
	assert_int_equal(opcode_of("answer"), answer);
	expect_answer(answer, 2, 42);
	expect_answer(first, 2, 7);
	expect_answer(second, 2, 8);
	assert_int_equal(mk_module_unload(ctx, a, WAIT_NS), 0);
	assert_int_equal(mk_module_unload(ctx, b, WAIT_NS), -ENOENT);
	assert_int_equal(call(answer, 2, NULL), -MK_EOPCODE);
	load(ANSWER_SOURCE(60), 0);
	expect_answer(opcode_of("answer"), 2, 62);
}

int main(void)
{
#define BOTH(f)                                                        \
	{ #f " (none)", f, setup_none, teardown, NULL },               \
	{ #f " (process)", f, setup_process, teardown, NULL }
	const struct CMUnitTest tests[] = {
		BOTH(loads),
		BOTH(fills_with_checks),
		BOTH(loads_files),
		BOTH(refuses),
		BOTH(clashes),
		BOTH(replaces),
		BOTH(replaces_two),
		BOTH(while_running),
		BOTH(unload_waits),
		BOTH(runs_out),
		cmocka_unit_test(only_ours),
		cmocka_unit_test_setup_teardown(static_none, setup_none,
						teardown),
		cmocka_unit_test_setup_teardown(static_process, setup_process,
						teardown),
		cmocka_unit_test_setup_teardown(recovers, setup_process,
						teardown),
	};

	return cmocka_run_group_tests_name("module/load", tests, NULL, NULL);
}
