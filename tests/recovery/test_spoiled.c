/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers that spoil more than their slot: they write over what the shared
 * memory says of itself, send to the socket of their process, or fork and let
 * the child return as if it were the worker. The context comes back, and
 * nothing of them is left when it ends.
 */
#include "rig.h"

#include "context/context.h"
#include "queue/queue.h"

/* how: 0 return 7; 1 garbage into each descriptor from 3; 2 fork, both return;
 * 3 fork, the child stays; 4 return what word 0 is, and add one to it. 2 and 3
 * have the child's number as their value. */
static const char source[] =
	"#include <megakernel/handler.h>\n"
	"#include <unistd.h>\n"
	"struct spoil { uint32_t how; };\n"
	"MK_HANDLER(spoil, struct spoil)\n"
	"{\n"
	"	uint32_t how = args->how;\n"
	"	pid_t child = 0;\n"
	"	if (how == 1)\n"
	"		for (int fd = 3; fd < 64; fd++)\n"
	"			if (write(fd, \"garbage garbage\", 16) < 0)\n"
	"				continue;\n"
	"	if (how == 2 || how == 3)\n"
	"		child = fork();\n"
	"	if (how == 3 && !child)\n"
	"		for (;;)\n"
	"			pause();\n"
	"	mk_value(task, (uint64_t)child);\n"
	"	if (how == 4)\n"
	"		return (int)mk_fetch_add(mk_observable(task, 0), 1);\n"
	"	return 7;\n"
	"}\n";

static struct mk_ctx *ctx;
static struct mk_queue *q;
static uint16_t spoil;

static int setup(void **state)
{
	struct mk_handler_info info;

	(void)state;
	ctx = rig_ctx(MK_RECOVERY_BUDGET, 0);
	q = support_queue(ctx, 16);
	assert_int_equal(mk_module_load_source(ctx, "spoil.c", source, 0,
					       NULL), 0);
	assert_int_equal(mk_handler_find(ctx, "spoil", &info), 0);
	spoil = info.opcode;
	return 0;
}

static struct mk_completion call(uint32_t how)
{
	return support_call(q, spoil, &how, sizeof(how));
}

static void end(void)
{
	support_queue_end(q);
	support_ctx_end(ctx);
	assert_int_equal(support_children(), 0);
}

/* What the blocks say of themselves. */
static void headers(void **state)
{
	struct mk_queue *other;

	(void)state;
	memset(ctx->block, 0xa5,
	       MK_OFFSETOF(struct mk_context_block, state));
	memset(q->block, 0xa5, MK_OFFSETOF(struct mk_queue_block, mode));
	memset(mk_queue_control(q), 0xa5, sizeof(struct mk_wire_header));
	memset(mk_queue_log(q), 0xa5, sizeof(struct mk_wire_header));
	memset(mk_queue_io(q), 0xa5, sizeof(struct mk_wire_header));
	kill(rig_worker(ctx), SIGKILL);
	rig_await_restarts(ctx, 1);
	assert_int_equal(rig_stats(ctx).restarts_failed, 0);
	assert_int_equal(ctx->block->header.magic, MK_MAGIC_CONTEXT);
	assert_int_equal(q->block->header.magic, MK_MAGIC_QUEUE);
	assert_int_equal(mk_queue_log(q)->header.magic, MK_MAGIC_LOG);
	assert_int_equal(call(0).result, 7);
	other = support_queue(ctx, 4);
	assert_int_equal(support_call(other, MK_OP_NOP, NULL, 0).result, 0);
	support_queue_end(other);
	end();
}

/* One of the descriptors is the shared memory's, one the socket's. */
static void descriptors(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 3; i++) {
		assert_int_equal(call(1).result, 7);
		/* what waits in the socket is read with the next answer, if
		 * the worker has not ended by then */
		kill(rig_worker(ctx), SIGKILL);
		rig_await_restarts(ctx, i);
		assert_int_equal(call(0).result, 7);
	}
	assert_int_equal(rig_stats(ctx).restarts_failed, 0);
	end();
}

static void await_gone(uint64_t pid)
{
	uint64_t until = support_now() + SUPPORT_NS;

	assert_true(pid > 1);
	while (!rig_gone((pid_t)pid)) {
		assert_true(support_now() < until);
		support_sleep(SUPPORT_MS);
	}
}

/* A child that returns is no second worker. */
static void returns(void **state)
{
	struct mk_completion c = call(2);

	(void)state;
	assert_int_equal(c.result, 7);
	await_gone(c.value);
	for (int i = 0; i < 100; i++)
		assert_int_equal(call(4).result, i);
	assert_int_equal(rig_word(q, 0), 100);
	assert_int_equal(rig_stats(ctx).losses, 0);
	end();
}

/* A child that stays ends with the process: killed, or ended well. */
static void stays(void **state)
{
	struct mk_completion c = call(3);

	(void)state;
	assert_int_equal(c.result, 7);
	assert_false(rig_gone((pid_t)c.value));
	kill(rig_worker(ctx), SIGKILL);
	rig_await_restarts(ctx, 1);
	await_gone(c.value);
	c = call(3);
	assert_int_equal(c.result, 7);
	assert_false(rig_gone((pid_t)c.value));
	end();
	await_gone(c.value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(headers, setup),
		cmocka_unit_test_setup(descriptors, setup),
		cmocka_unit_test_setup(returns, setup),
		cmocka_unit_test_setup(stays, setup),
	};

	return cmocka_run_group_tests_name("recovery/spoiled", tests, NULL,
					   NULL);
}
