/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker process that is stopped while a command waits for its answer: it is
 * found to hang, put on record and replaced, long before the command would
 * give up; the command then goes on.
 */
#include "rig.h"

#define HANG_NS (100 * SUPPORT_MS)

static struct mk_ctx *ctx;
static mk_buffer_t buffer;
static struct mk_queue *queue;
static uint32_t module;

static void make_buffer(void)
{
	assert_int_equal(mk_buffer_create(ctx, 4096, 0, &buffer), 0);
}

static void end_buffer(void)
{
	assert_int_equal(mk_buffer_destroy(ctx, buffer, SUPPORT_NS), 0);
	assert_int_equal(mk_buffer_destroy(ctx, buffer, 0), -MK_ESTALE);
}

static void make_queue(void)
{
	queue = support_queue(ctx, 16);
}

static void event_fd(void)
{
	assert_true(mk_queue_event_fd(queue) >= 0);
}

static void end_queue(void)
{
	assert_int_equal(mk_queue_destroy(queue, SUPPORT_NS), 0);
}

static void load(void)
{
	assert_int_equal(mk_module_load_source(ctx, "bad.c", rig_source, 0,
					       &module), 0);
}

static void unload(void)
{
	assert_int_equal(mk_module_unload(ctx, module, SUPPORT_NS), 0);
	assert_int_equal(mk_module_unload(ctx, module, 0), -ENOENT);
}

static void quiesce(void)
{
	assert_int_equal(mk_ctx_quiesce(ctx, SUPPORT_NS), 0);
}

static void resume(void)
{
	assert_int_equal(mk_ctx_resume(ctx), 0);
}

static void evidence_says(const char *format, const char *command)
{
	static char text[20000];
	char words[100];

	snprintf(words, sizeof(words), format, command);
	assert_true(mk_ctx_evidence(ctx, MK_EVIDENCE_TEXT, text,
				    sizeof(text)) < (int64_t)sizeof(text));
	if (!strstr(text, words))
		fail_msg("\"%s\" is not in:\n%s", words, text);
}

static struct mk_ctx *patient_ctx(void)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_PROCESS);

	p.workers = 3;
	p.hang_ns = HANG_NS;
	p.command_ns = SUPPORT_NS;
	p.restarts_max = 1000;
	p.restart_delay_ns = 1;
	return support_ctx_with(&p);
}

static void each_command(void **state)
{
	static const struct {
		void (*run)(void);
		const char *name;
	} commands[] = {
		{ make_buffer, "buffer_attach" },
		{ end_buffer, "buffer_detach" },
		{ make_queue, "queue_attach" },
		{ event_fd, "queue_event_fd" },
		{ end_queue, "queue_detach" },
		{ load, "module_open" },
		{ unload, "module_close" },
		{ quiesce, "pause" },
		{ resume, "resume" },
	};
	struct mk_queue *q;

	(void)state;
	ctx = patient_ctx();
	q = support_queue(ctx, 16);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		uint64_t begun = support_now();

		rig_stop(rig_worker(ctx));
		commands[i].run();
		assert_true(support_now() - begun >= HANG_NS);
		assert_int_equal(rig_await_restarts(ctx, i + 1).hangs, i + 1);
		assert_true(rig_stats(ctx).hung_ns >= begun + HANG_NS);
		evidence_says("hang: the worker process", "");
		evidence_says("while %s waited for it", commands[i].name);
	}
	assert_int_equal(support_call(q, MK_OP_NOP, NULL, 0).result, 0);
	assert_int_equal(rig_stats(ctx).restarts, 9);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* Slots beside the command: one was in hand, the others had not begun. */
static void in_flight(void **state)
{
	struct mk_queue *q;
	uint16_t bad;

	(void)state;
	ctx = patient_ctx();
	q = support_queue(ctx, 16);
	bad = rig_load(ctx);
	rig_submit(q, bad, 1, 0, BAD_PROGRESS, 0);
	rig_submit(q, bad, 2, MK_SLOT_IDEMPOTENT, BAD_PROGRESS, 0);
	rig_await_word(q, 0, 2);
	rig_stop(rig_worker(ctx));
	for (uint64_t i = 3; i < 10; i++)
		support_submit(q, MK_OP_NOP, i, NULL, 0);
	make_buffer();
	for (unsigned left = 9; left; left--) {
		struct mk_completion c;

		if (left == 1)
			assert_int_equal(mk_queue_set_observable(q, 1, 1), 0);
		c = support_reap(q);
		/* whoever notices first: the command, or that it hangs */
		if (c.user_data == 1)
			assert_true(c.result == -MK_EMAYRUN ||
				    c.result == -MK_EHUNG);
		else
			assert_int_equal(c.result, c.user_data == 2 ? 7 : 0);
	}
	assert_int_equal(rig_stats(ctx).hangs, 1);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* Nobody is to bring it back: the command says so. */
static void off(void **state)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_PROCESS);

	(void)state;
	p.hang_ns = HANG_NS;
	p.recovery = MK_RECOVERY_OFF;
	ctx = support_ctx_with(&p);
	rig_stop(rig_worker(ctx));
	assert_int_equal(mk_buffer_create(ctx, 1, 0, &buffer), -MK_EDEVLOST);
	support_error(-MK_EDEVLOST, "was stopped for", NULL);
	support_ctx_end(ctx);
	ctx = support_ctx_with(&p);
	rig_stop(rig_worker(ctx));
	assert_int_equal(mk_ctx_quiesce(ctx, SUPPORT_NS), -MK_EDEVLOST);
	assert_int_equal(mk_ctx_recover(ctx, SUPPORT_NS), 0);
	make_buffer();
	support_ctx_end(ctx);
}

/* Stopped now and then, and never for long: nobody is killed. */
static void *flicker(void *arg)
{
	pid_t pid = *(pid_t *)arg;

	for (unsigned i = 0; i < 20; i++) {
		kill(pid, SIGSTOP);
		support_sleep(10 * SUPPORT_MS);
		kill(pid, SIGCONT);
		support_sleep(5 * SUPPORT_MS);
	}
	return NULL;
}

static void now_and_then(void **state)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_PROCESS);
	pthread_t thread;
	pid_t pid;

	(void)state;
	/* one stop is shorter, however late this machine is; all are longer */
	p.hang_ns = HANG_NS;
	p.grace_ns = SUPPORT_NS;
	ctx = support_ctx_with(&p);
	pid = rig_worker(ctx);
	assert_int_equal(pthread_create(&thread, NULL, flicker, &pid), 0);
	for (unsigned i = 0; i < 50; i++) {
		make_buffer();
		end_buffer();
	}
	pthread_join(thread, NULL);
	assert_int_equal(rig_worker(ctx), pid);
	assert_int_equal(rig_stats(ctx).losses, 0);
	support_ctx_end(ctx);
}

/* Quiesced and stopped: the end is not held up for as long as a command. */
static void destroy(void **state)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_PROCESS);
	uint64_t begun;

	(void)state;
	p.hang_ns = MK_FOREVER;
	p.command_ns = SUPPORT_NS;
	ctx = support_ctx_with(&p);
	assert_int_equal(mk_ctx_quiesce(ctx, SUPPORT_NS), 0);
	rig_stop(rig_worker(ctx));
	begun = support_now();
	assert_int_equal(mk_ctx_destroy(ctx, 0), 0);
	assert_true(support_now() - begun < SUPPORT_NS);
	assert_int_equal(support_children(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_command), cmocka_unit_test(in_flight),
		cmocka_unit_test(off),		cmocka_unit_test(now_and_then),
		cmocka_unit_test(destroy),
	};

	return cmocka_run_group_tests_name("recovery/silent", tests, NULL,
					   NULL);
}
