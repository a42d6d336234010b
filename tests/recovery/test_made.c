/* SPDX-License-Identifier: Apache-2.0 */
/* Work that flows, and the worker process dies: what had begun says so, though
 * no worker had it in hand, and what had not runs. */
#include "recovery/rig.h"

static const char made_source[] =
	"#include <megakernel/handler.h>\n"
	"struct args { struct mk_ref ref; uint32_t word, opcode; };\n"
	/* makes one that crashes, and ends well itself */
	"MK_HANDLER(makes, struct args)\n"
	"{\n"
	"	return mk_spawn(task, args->opcode, args, sizeof(*args));\n"
	"}\n"
	"MK_HANDLER(crash, struct args)\n"
	"{\n"
	"	mk_fetch_add(mk_observable(task, 2), 1);\n"
	"	*(volatile int *)8 = 1;\n"
	"	return 0;\n"
	"}\n"
	/* counts itself, then waits for a word of the buffer */
	"MK_HANDLER(waits, struct args)\n"
	"{\n"
	"	mk_fetch_add(mk_observable(task, 3), 1);\n"
	"	return mk_await(task, args->ref, args->word, 1, args->opcode,\n"
	"			args, sizeof(*args));\n"
	"}\n"
	/* all tiles are in hand at once, then one of them crashes */
	"MK_HANDLER(meets, struct args)\n"
	"{\n"
	"	uint64_t *here = mk_observable(task, 4);\n"
	"	mk_fetch_add(here, 1);\n"
	"	while (mk_fetch_add(here, 0) < args->opcode)\n"
	"		if (mk_cancelled(task))\n"
	"			return -MK_ECANCELLED;\n"
	"	if (mk_tile(task) == args->word)\n"
	"		*(volatile int *)8 = 1;\n"
	"	return 0;\n"
	"}\n";

struct args {
	struct mk_ref ref;
	uint32_t word, opcode;
};

static uint32_t opcode(struct mk_ctx *ctx, const char *name)
{
	struct mk_handler_info info;

	assert_int_equal(mk_handler_find(ctx, name, &info), 0);
	return info.opcode;
}

/* A piece crashes: its slot has the fault, once, and others have none of it. */
static void piece_crashes(void **state)
{
	struct mk_ctx *ctx = rig_ctx(MK_RECOVERY_BUDGET, 0);
	struct mk_queue *q = support_queue(ctx, 16);
	struct args args = { .word = 0 };
	struct mk_completion c;
	uint32_t module;

	(void)state;
	assert_int_equal(mk_module_load_source(ctx, "made.c", made_source, 0,
					       &module), 0);
	args.opcode = opcode(ctx, "crash");
	support_submit(q, (uint16_t)opcode(ctx, "makes"), 1, &args,
		       sizeof(args));
	c = support_reap(q);
	assert_true(c.user_data == 1);
	assert_int_equal(c.result, -MK_EFAULT);
	assert_int_equal(rig_word(q, 2), 1);
	rig_await_restarts(ctx, 1);
	assert_int_equal(support_call(q, MK_OP_NOP, NULL, 0).result, 0);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* Every worker has a tile of the slot when one crashes: whichever it is, that
 * is what the slot ends with. */
static void tile_crashes(void **state)
{
	struct mk_ctx *ctx = rig_ctx(MK_RECOVERY_BUDGET, 0);
	struct mk_queue *q = support_queue(ctx, 16);
	uint32_t module, tiles = 3; /* as many as workers */
	struct args args = { .word = 0 };
	struct mk_slot *slot;
	uint16_t meets;

	(void)state;
	assert_int_equal(mk_module_load_source(ctx, "made.c", made_source, 0,
					       &module), 0);
	meets = (uint16_t)opcode(ctx, "meets");
	for (uint32_t round = 0; round < 6; round++) {
		args.word = round % tiles;
		args.opcode = (round + 1) * tiles;
		assert_int_equal(mk_queue_get_wait(q, 1, &slot, SUPPORT_NS),
				 1);
		mk_slot_init(slot, meets, round);
		slot->tiles = (uint16_t)tiles;
		memcpy(slot->bytes, &args, sizeof(args));
		assert_int_equal(mk_queue_submit(q, slot, 1), 1);
		assert_int_equal(support_reap(q).result, -MK_EFAULT);
		rig_await_restarts(ctx, round + 1);
	}
	assert_int_equal(rig_stats(ctx).crashes, 6);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* Slot 1 stored word 3 and waits; workers turn to something else, and then the
 * process is killed. It may have run. */
static void lost_behind_word(struct mk_ctx *ctx, struct mk_queue *q)
{
	struct mk_completion c;

	rig_await_word(q, 3, 1);
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(support_call(q, MK_OP_NOP, NULL, 0).result,
				 0);
	support_sleep(20 * SUPPORT_MS);
	assert_int_equal(kill(rig_worker(ctx), SIGKILL), 0);
	c = support_reap(q);
	assert_true(c.user_data == 1);
	assert_int_equal(c.result, -MK_EMAYRUN);
}

/* Killed while a slot that ran waits, which no worker has in hand. */
static void killed_while_it_waits(void **state)
{
	struct mk_ctx *ctx = rig_ctx(MK_RECOVERY_BUDGET, 0);
	struct mk_queue *q = support_queue(ctx, 16);
	struct args args = { .word = 1 };
	mk_buffer_t b;
	uint32_t module;

	(void)state;
	assert_int_equal(mk_module_load_source(ctx, "made.c", made_source, 0,
					       &module), 0);
	assert_int_equal(mk_buffer_create(ctx, 64, 0, &b), 0);
	args.ref = mk_buffer_ref(b);
	args.opcode = opcode(ctx, "makes");
	support_submit(q, (uint16_t)opcode(ctx, "waits"), 1, &args,
		       sizeof(args));
	lost_behind_word(ctx, q);
	assert_int_equal(rig_word(q, 3), 1);
	rig_await_restarts(ctx, 1);
	assert_int_equal(support_call(q, MK_OP_NOP, NULL, 0).result, 0);
	support_queue_end(q);
	assert_int_equal(mk_buffer_destroy(ctx, b, SUPPORT_NS), 0);
	support_ctx_end(ctx);
}

/* The same of what a slot made that had waited itself. */
static void killed_while_its_work_waits(void **state)
{
	struct mk_ctx *ctx = rig_ctx(MK_RECOVERY_BUDGET, 0);
	struct mk_queue *q = support_queue(ctx, 64);
	struct args args = { .word = 1 };
	struct mk_slot *slot;
	mk_buffer_t b;
	uint32_t module;

	(void)state;
	assert_int_equal(mk_module_load_source(ctx, "made.c", made_source, 0,
					       &module), 0);
	assert_int_equal(mk_buffer_create(ctx, 4096, 0, &b), 0);
	args.ref = mk_buffer_ref(b);
	args.opcode = opcode(ctx, "waits");
	assert_int_equal(mk_queue_get(q, 1, &slot), 1);
	mk_slot_init(slot, (uint16_t)opcode(ctx, "makes"), 1);
	memcpy(slot->bytes, &args, sizeof(args));
	assert_int_equal(mk_slot_wait(q, slot, b, 2, 1), 0);
	assert_int_equal(mk_queue_submit(q, slot, 1), 1);
	/* it waits, then it is raised */
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(support_call(q, MK_OP_NOP, NULL, 0).result,
				 0);
	assert_int_equal(mk_queue_get(q, 1, &slot), 1);
	mk_slot_init(slot, MK_OP_NOP, 2);
	assert_int_equal(mk_slot_raise(q, slot, b, 2), 0);
	assert_int_equal(mk_queue_submit(q, slot, 1), 1);
	assert_int_equal(support_reap(q).result, 0);
	lost_behind_word(ctx, q);
	support_queue_end(q);
	support_ctx_end(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(piece_crashes),
		cmocka_unit_test(tile_crashes),
		cmocka_unit_test(killed_while_it_waits),
		cmocka_unit_test(killed_while_its_work_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
