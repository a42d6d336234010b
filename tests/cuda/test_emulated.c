/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resident kernel's own text on an emulated device, where the conformance
 * cases do not reach: many workers and queues at once, parking between
 * slots, modules swapped under load, block-wide handlers, fences in a crowd.
 *
 * ctest-link: -Wl,--wrap=dlopen -Wl,--wrap=dlsym
 * ctest-timeout: 600
 */
#include <errno.h>
#include <string.h>

#include "support/support.h"

#include "cuda/fake_cuda.c"
#include "cuda/emulated.h"
#include "cuda/nothing_left.h"

#define QUEUES 6

static struct mk_ctx *ctx_of(uint32_t workers, uint64_t idle_ns)
{
	struct mk_ctx_params p = emulated_params(workers, idle_ns);

	return support_ctx_with(&p);
}

/* The kernel counted what was submitted: no slot was served twice. */
static void counted(struct mk_ctx *ctx, uint64_t slots)
{
	uint64_t end = support_now() + SUPPORT_NS;
	struct mk_ctx_stats s;

	do
		assert_int_equal(mk_ctx_stats(ctx, &s), 0);
	while (s.slots < slots && support_now() < end);
	support_sleep(20 * SUPPORT_MS);
	assert_int_equal(mk_ctx_stats(ctx, &s), 0);
	assert_int_equal(s.slots, slots);
}

/* One slot of a random kind, if there is room. */
static bool submit_random(struct mk_queue *q, uint64_t *seed, uint64_t i)
{
	struct mk_op_word w = { 1, 0, 0, 0 };
	uint64_t kind = support_random(seed) % 8;
	struct mk_slot *s;

	if (mk_queue_get(q, 1, &s) != 1)
		return false;
	if (kind == 0)
		assert_int_equal(mk_queue_fill(q, s, MK_OP_ADD, i, &w,
					       sizeof(w)), 0);
	else if (kind == 1)
		assert_int_equal(mk_queue_fill(q, s, MK_OP_FENCE, i, NULL, 0),
				 0);
	else
		assert_int_equal(mk_queue_fill(q, s, MK_OP_NOP, i, &i, 8), 0);
	assert_int_equal(mk_queue_submit(q, s, 1), 1);
	return true;
}

static void check_random(const struct mk_completion *c)
{
	assert_int_equal(c->result, 0);
	if (c->opcode == MK_OP_NOP)
		assert_int_equal(c->value, c->user_data);
}

/* Several queues, each kept busy, answers in whatever order. */
static void crowd(uint32_t workers, unsigned queues, uint32_t entries,
		  uint64_t idle_ns, uint64_t each)
{
	struct mk_ctx *ctx = ctx_of(workers, idle_ns);
	struct mk_queue *q[QUEUES];
	uint64_t sent[QUEUES] = { 0 }, got[QUEUES] = { 0 }, total = 0;
	uint64_t seed = workers * 1000u + queues * 100u + entries;
	uint64_t end = support_now() + 4 * SUPPORT_NS;

	for (unsigned i = 0; i < queues; i++)
		q[i] = support_queue(ctx, entries);
	while (total < queues * each) {
		for (unsigned i = 0; i < queues; i++) {
			uint64_t burst = support_random(&seed) % (entries + 1);
			struct mk_completion c[16];
			int n;

			while (burst-- && sent[i] < each &&
			       submit_random(q[i], &seed, sent[i]))
				sent[i]++;
			n = mk_queue_reap(q[i], c, 16);
			assert_true(n >= 0);
			for (int k = 0; k < n; k++)
				check_random(&c[k]);
			got[i] += (uint64_t)n;
			total += (uint64_t)n;
		}
		assert_true(support_now() < end);
		if (support_random(&seed) % 64 == 0)
			support_sleep(idle_ns * 2 % (5 * SUPPORT_MS));
	}
	for (unsigned i = 0; i < queues; i++) {
		assert_int_equal(support_balance(q[i]).submitted, each);
		assert_int_equal(mk_queue_drain(q[i], SUPPORT_NS), 0);
	}
	counted(ctx, queues * each);
	for (unsigned i = 0; i < queues; i++)
		support_queue_end(q[i]);
	support_ctx_end(ctx);
	nothing_left();
}

static void one_queue(void **state)
{
	(void)state;
	crowd(4, 1, 64, 200 * SUPPORT_MS, 3000);
	crowd(1, 1, 2, 200 * SUPPORT_MS, 500);
	crowd(3, 1, 4, 200 * SUPPORT_MS, 800);
}

static void many_queues(void **state)
{
	(void)state;
	crowd(8, 3, 16, 200 * SUPPORT_MS, 600);
	crowd(2, 6, 8, 200 * SUPPORT_MS, 200);
	crowd(1, 4, 16, 200 * SUPPORT_MS, 200);
}

/* The kernel leaves whenever it can. */
static void parks(void **state)
{
	unsigned before = fake.launches;

	(void)state;
	crowd(2, 2, 8, 20000, 200);
	crowd(4, 1, 16, 20000, 200);
	assert_true(fake.launches - before > 10);
}

/* ---- order ----------------------------- */

/* A slot does not wait for one before it that is not published. */
static void out_of_order(void **state)
{
	struct mk_ctx *ctx = ctx_of(4, 200 * SUPPORT_MS);
	struct mk_queue *q = support_queue(ctx, 16);
	struct mk_slot *s;

	(void)state;
	for (uint64_t i = 0; i < 30; i++) {
		unsigned n = 2 + (unsigned)i % 6;
		int got = mk_queue_get(q, n, &s);

		for (int k = 0; k < got; k++)
			mk_slot_init(&s[k], MK_OP_NOP, (uint64_t)k);
		for (int k = got - 1; k >= 0; k--) {
			assert_int_equal(mk_queue_submit(q, &s[k], 1), 1);
			assert_int_equal(support_reap(q).user_data, k);
		}
	}
	support_queue_end(q);
	support_ctx_end(ctx);
	nothing_left();
}

/* A fence ends after everything before it, whoever serves what. */
static void fences(void **state)
{
	struct mk_ctx *ctx = ctx_of(6, 200 * SUPPORT_MS);
	struct mk_queue *q = support_queue(ctx, 64);
	struct mk_op_word w = { 0, 0, 1, 0 };
	uint64_t value, adds = 0;

	(void)state;
	for (unsigned round = 0; round < 60; round++) {
		for (unsigned i = 0; i < 20; i++, adds++)
			support_submit(q, MK_OP_ADD, 0, &w, sizeof(w));
		support_submit(q, MK_OP_FENCE, 1, NULL, 0);
		for (unsigned i = 0, fence = 0; i < 21; i++) {
			struct mk_completion c = support_reap(q);

			assert_int_equal(c.result, 0);
			fence |= c.user_data == 1;
			if (!fence)
				continue;
			/* all of them ran before the fence ended */
			assert_int_equal(mk_queue_observe(q, 0, &value), 0);
			assert_int_equal(value, adds);
		}
	}
	support_queue_end(q);
	support_ctx_end(ctx);
	nothing_left();
}

/* ---- modules ----------------------------- */

static const char widths[] =
	"#include <megakernel/handler.h>\n"
	"struct sum { struct mk_ref data; uint32_t n; };\n"
	"static uint32_t part(struct mk_task *task, const struct sum *args)\n"
	"{\n"
	"	uint32_t s = 0;\n"
	"	const uint32_t *v = (const uint32_t *)mk_read(task, args->data,\n"
	"						      4u * args->n);\n"
	"	uint64_t *all = (uint64_t *)mk_scratch(task, 16);\n"
	"	if (!v || !all)\n"
	"		return 0;\n"
	"	if (!mk_lane(task))\n"
	"		*all = 0;\n"
	"	mk_sync(task);\n"
	"	for (uint32_t i = mk_lane(task); i < args->n;\n"
	"	     i += mk_lanes(task))\n"
	"		s += v[i];\n"
	"	mk_fetch_add(all, s);\n"
	"	mk_sync(task);\n"
	"	mk_value(task, *all | (uint64_t)mk_lanes(task) << 32);\n"
	"	return 1;\n"
	"}\n"
	"MK_HANDLER_THREAD(sum_thread, struct sum)\n"
	"{ return part(task, args) ? MK_OK : mk_fail(task); }\n"
	"MK_HANDLER(sum_warp, struct sum)\n"
	"{ return part(task, args) ? MK_OK : mk_fail(task); }\n"
	"MK_HANDLER_BLOCK(sum_block, struct sum)\n"
	"{ return part(task, args) ? MK_OK : mk_fail(task); }\n";

struct sum {
	struct mk_ref data;
	uint32_t n, reserved;
};

static uint16_t opcode_of(struct mk_ctx *ctx, const char *name)
{
	struct mk_handler_info h;

	assert_int_equal(mk_handler_find(ctx, name, &h), 0);
	return h.opcode;
}

/* Every width gives the same sum, with as many lanes as it should have. */
static void handler_widths(void **state)
{
	static const char *const names[] = { "sum_thread", "sum_warp",
					     "sum_block" };
	struct mk_ctx *ctx = ctx_of(6, 200 * SUPPORT_MS);
	struct mk_queue *q = support_queue(ctx, 16);
	uint32_t data[500], want = 0, lanes[] = { 1, 32, 96 };
	struct sum args = { .n = 500 };
	mk_buffer_t b;

	(void)state;
	for (uint32_t i = 0; i < 500; i++)
		want += data[i] = i * i;
	assert_int_equal(mk_buffer_create(ctx, sizeof(data), 0, &b), 0);
	assert_int_equal(mk_buffer_write(ctx, b, 0, data, sizeof(data)), 0);
	args.data = mk_buffer_ref(b);
	assert_int_equal(mk_module_load_source(ctx, "widths.c", widths, 0,
					       NULL), 0);
	for (unsigned round = 0; round < 12; round++) {
		for (unsigned i = 0; i < 12; i++)
			support_submit(q, opcode_of(ctx, names[i % 3]), i,
				       &args, 12);
		for (unsigned i = 0; i < 12; i++) {
			struct mk_completion c = support_reap(q);

			assert_int_equal(c.result, 0);
			assert_int_equal((uint32_t)c.value, want);
			assert_int_equal(c.value >> 32,
					 lanes[c.user_data % 3]);
		}
	}
	args.data.generation++;
	support_submit(q, opcode_of(ctx, "sum_block"), 0, &args, 12);
	assert_int_equal(support_reap(q).result, -MK_EFOREIGN);
	support_queue_end(q);
	support_ctx_end(ctx);
	nothing_left();
}

static const char version_source[] =
	"#include <megakernel/handler.h>\n"
	"struct none { uint32_t unused; };\n"
	"MK_HANDLER(which, struct none)\n"
	"{ (void)args; mk_value(task, VERSION); return MK_OK; }\n";

/* Load and replace modules while slots are in flight: none is lost. */
static void swap_under_load(void **state)
{
	struct mk_ctx *ctx = ctx_of(4, 200 * SUPPORT_MS);
	struct mk_queue *q = support_queue(ctx, 64);
	char text[512];
	uint32_t id, zero = 0;
	uint64_t sent = 0;
	uint16_t opcode = 0;

	(void)state;
	for (unsigned v = 1; v <= 3; v++) {
		snprintf(text, sizeof(text), "#define VERSION %u\n%s", v,
			 version_source);
		for (unsigned i = 0; i < 30; i++, sent++)
			support_submit(q, v > 1 && i % 2 ? opcode : MK_OP_NOP,
				       v, v > 1 && i % 2 ? (void *)&zero :
							   (void *)&sent,
				       v > 1 && i % 2 ? 4 : 8);
		assert_int_equal(mk_module_load_source(
					 ctx, "which.c", text,
					 v > 1 ? MK_MODULE_REPLACE : 0, &id),
				 0);
		for (unsigned i = 0; i < 30; i++) {
			struct mk_completion c = support_reap(q);

			assert_int_equal(c.result, 0);
			/* those before the swap ran the old one or the new */
			if (c.opcode == opcode && v > 1)
				assert_in_range(c.value, v - 1, v);
		}
		opcode = opcode_of(ctx, "which");
		assert_int_equal(support_call(q, opcode, &zero, 4).value, v);
	}
	assert_int_equal(mk_module_unload(ctx, id, SUPPORT_NS), 0);
	counted(ctx, sent + 3);
	support_queue_end(q);
	support_ctx_end(ctx);
	nothing_left();
}

/* A handler that asks whether it is to end, in the block of the monitor: other
 * slots are served meanwhile, and a cancellation reaches it. */
static void asks(void **state)
{
	struct mk_ctx *ctx = ctx_of(2, 200 * SUPPORT_MS);
	struct mk_queue *q = support_queue(ctx, 16);
	struct mk_queue *other = support_queue(ctx, 16);
	struct mk_completion c;
	uint32_t zero = 0;

	(void)state;
	assert_int_equal(mk_module_load_source(
				 ctx, "asks.c",
				 "#include <megakernel/handler.h>\n"
				 "struct a { uint32_t b; };\n"
				 "MK_HANDLER(asks, struct a)\n"
				 "{ while (!mk_cancelled(task)) ;\n"
				 "  return -MK_ECANCELLED - (int)args->b; }\n",
				 0, NULL), 0);
	support_submit(q, opcode_of(ctx, "asks"), 9, &zero, sizeof(zero));
	for (uint64_t i = 0; i < 50; i++)
		assert_int_equal(support_call(other, MK_OP_NOP, &i, 8).value,
				 i);
	assert_int_equal(mk_queue_cancel(q, 9), 1);
	c = support_reap(q);
	assert_int_equal(c.user_data, 9);
	assert_int_equal(c.result, -MK_ECANCELLED);
	support_queue_end(other);
	support_queue_end(q);
	support_ctx_end(ctx);
	nothing_left();
}

/* A source that does not compile costs nothing that runs. */
static void bad_source(void **state)
{
	struct mk_ctx *ctx = ctx_of(2, 200 * SUPPORT_MS);
	struct mk_queue *q = support_queue(ctx, 16);
	uint64_t echo = 5;

	(void)state;
	assert_int_equal(mk_module_load_source(
				 ctx, "bad.c",
				 "#include <megakernel/handler.h>\n"
				 "struct a { int b; };\n"
				 "MK_HANDLER(bad, struct a)\n"
				 "{ return nonsense; }\n", 0, NULL),
			 -MK_ECOMPILE);
	support_error(-MK_ECOMPILE, "nonsense", NULL);
	assert_int_equal(support_call(q, MK_OP_NOP, &echo, 8).value, 5);
	support_queue_end(q);
	support_ctx_end(ctx);
	nothing_left();
}

/* ---- losing the device ----------------------------- */

static void dies(void **state)
{
	struct mk_ctx *ctx = ctx_of(2, 200 * SUPPORT_MS);
	uint64_t end = support_now() + SUPPORT_NS;
	mk_buffer_t b;
	int r;

	(void)state;
	fake_kill_kernel();
	do
		r = mk_buffer_create(ctx, 100, 0, &b);
	while (!r && support_now() < end);
	assert_int_equal(r, -MK_EDEVLOST);
	support_error(-MK_EDEVLOST, "CUDA_ERROR_LAUNCH_FAILED", NULL);
	assert_int_equal(mk_error_last()->native, FAULT);
	mk_ctx_destroy(ctx, SUPPORT_NS);
	assert_int_equal(mk_load_seq(&fake.pushed), 0);
	assert_int_equal(fake.contexts, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(one_queue, begin_emulated),
		cmocka_unit_test_setup(many_queues, begin_emulated),
		cmocka_unit_test_setup(parks, begin_emulated),
		cmocka_unit_test_setup(out_of_order, begin_emulated),
		cmocka_unit_test_setup(fences, begin_emulated),
		cmocka_unit_test_setup(handler_widths, begin_emulated),
		cmocka_unit_test_setup(swap_under_load, begin_emulated),
		cmocka_unit_test_setup(asks, begin_emulated),
		cmocka_unit_test_setup(bad_source, begin_emulated),
		cmocka_unit_test_setup(dies, begin_emulated),
	};

	if (!can_emulate())
		return 77;
	fake_cache();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
