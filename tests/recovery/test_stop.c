/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 240 */
/*
 * Stopping is bounded whatever a handler does; and when the caller is gone so
 * is the worker process, whatever a handler does.
 */
#include "rig.h"

#include "dispatch/live.h"

#include <sys/wait.h>

#define SOON_NS (50 * SUPPORT_MS)
/* much more than it takes, much less than for ever */
#define BOUND_NS (20000 * SUPPORT_MS)

static void bounded(void **state)
{
	struct mk_ctx *ctx = rig_ctx(MK_RECOVERY_BUDGET, 0);
	struct mk_queue *q = support_queue(ctx, 16);
	uint16_t bad = rig_load(ctx);
	uint64_t begun = support_now();
	mk_buffer_t b;

	(void)state;
	assert_int_equal(mk_buffer_create(ctx, 100, 0, &b), 0);
	rig_submit(q, bad, 1, 0, BAD_LOOP, 0);
	rig_submit(q, bad, 2, 0, BAD_LOOP, 0);
	rig_await_word(q, 0, 2);
	assert_int_equal(mk_queue_drain(q, SOON_NS), 2);
	assert_int_equal(mk_ctx_quiesce(ctx, SOON_NS), -ETIME);
	assert_int_equal(mk_buffer_destroy(ctx, b, SOON_NS), -ETIME);
	assert_int_equal(mk_queue_stop(q, SOON_NS), 2);
	assert_int_equal(mk_queue_destroy(q, SOON_NS), -ETIME);
	assert_int_equal(mk_ctx_destroy(ctx, SOON_NS), 2);
	assert_true(support_now() - begun < BOUND_NS);
	assert_int_equal(support_children(), 0);
}

/* A row looks between two slots whether it is to stop: the slot that runs
 * ends as it does, and the next ones do not begin. */
static void row(void **state)
{
	struct mk_ctx *ctx = rig_ctx(MK_RECOVERY_BUDGET, 0);
	struct mk_queue *q = support_queue(ctx, 16);
	uint16_t bad = rig_load(ctx);
	struct bad wait = { .how = BAD_NOT, .wait = 1 };
	struct mk_resident_handles h;
	struct mk_ring_slot slot;
	struct mk_op_row args;
	struct buffers b;
	uint64_t *words;
	void *control, *ring;

	(void)state;
	assert_true(buffers_make(&b, 4, 8, 4, 0));
	for (unsigned i = 0; i < 8; i++) {
		slot = word_slot(bad, 0, 0, 0);
		memcpy(slot.args, &wait, sizeof(wait));
		buffers_add(&b, slot);
	}
	h = live_upload(ctx, &b);
	buffers_free(&b);
	assert_int_equal(mk_buffer_map(ctx, h.control, &control), 0);
	assert_int_equal(mk_buffer_map(ctx, h.ring, &ring), 0);
	words = (void *)((unsigned char *)control + sizeof(struct mk_control));
	memset(&args, 0, sizeof(args));
	args.control = mk_buffer_ref(h.control);
	args.ring = mk_buffer_ref(h.ring);
	args.debug_log = mk_buffer_ref(h.debug_log);
	support_submit(q, MK_OP_ROW, 1, &args, sizeof(args));
	while (!mk_load_acquire(&words[0]))
		support_sleep(SUPPORT_MS);
	assert_int_equal(mk_queue_stop(q, 0), 1);
	mk_store_release(&words[1], 1);
	assert_int_equal(support_reap(q).result, 0);
	assert_int_equal(mk_load_acquire(&words[0]), 1);
	for (unsigned i = 0; i < 8; i++) {
		const struct mk_ring_slot *at = (void *)
			((unsigned char *)ring + sizeof(struct mk_ring));

		assert_int_equal(mk_load_acquire(&at[i].state),
				 i ? MK_STATE_CANCELLED : MK_STATE_DONE);
	}
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* ---- the caller is gone ------------------------------------------------- */

/* In a process of its own: a context whose workers do `how`. */
static void caller(int out, uint32_t how)
{
	struct mk_ctx *ctx = rig_ctx(MK_RECOVERY_BUDGET, 0);
	struct mk_queue *q = support_queue(ctx, 16);
	uint16_t bad = rig_load(ctx);
	pid_t pid = rig_worker(ctx);

	for (uint64_t i = 0; i < 5; i++)
		rig_submit(q, bad, i, 0, how, 0);
	rig_await_word(q, 0, how == BAD_LOOP ? 3 : 5);
	if (write(out, &pid, sizeof(pid)) != sizeof(pid))
		_exit(1);
	for (;;)
		pause();
}

static void caller_killed(void **state)
{
	static const uint32_t how[] = { BAD_NOT, BAD_LOOP };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		uint64_t end;
		pid_t child, worker;
		int pair[2];

		assert_int_equal(pipe(pair), 0);
		child = fork();
		assert_true(child >= 0);
		if (!child)
			caller(pair[1], how[i]);
		assert_int_equal(read(pair[0], &worker, sizeof(worker)),
				 sizeof(worker));
		assert_true(!rig_gone(worker));
		assert_int_equal(kill(child, SIGKILL), 0);
		end = support_now() + BOUND_NS;
		while (!rig_gone(worker)) {
			assert_true(support_now() < end);
			support_sleep(SUPPORT_MS);
		}
		assert_int_equal(waitpid(child, NULL, 0), child);
		close(pair[0]);
		close(pair[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(caller_killed), /* before there are threads */
		cmocka_unit_test(bounded),
		cmocka_unit_test(row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
