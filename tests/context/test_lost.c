/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 240 */
/*
 * The worker process dies: every waiter is released, every slot ends once,
 * and the context comes back with all that it had.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/order.h"
#include "support/support.h"

static const char spin_source[] =
	"#include <megakernel/handler.h>\n"
	"struct spin_args { uint32_t word, until; };\n"
	"MK_HANDLER(spin, struct spin_args)\n"
	"{\n"
	"	uint64_t *w = mk_observable(task, args->word);\n"
	"	if (!w)\n"
	"		return mk_fail(task);\n"
	"	mk_fetch_add(w, 1);\n"
	"	while (mk_load(w) < args->until)\n"
	"		if (mk_cancelled(task))\n"
	"			return -MK_ECANCELLED;\n"
	"	mk_value(task, mk_load(w));\n"
	"	return 0;\n"
	"}\n";

struct spin_args {
	uint32_t word, until;
};

/* Recovery is what the test does. */
static struct mk_ctx *manual_ctx(void)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_PROCESS);

	p.recovery = MK_RECOVERY_OFF;
	return support_ctx_with(&p);
}

static pid_t worker_of(struct mk_ctx *ctx)
{
	struct mk_ctx_info info;

	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	assert_true(info.worker_pid > 0);
	return info.worker_pid;
}

/* Kill the worker and wait until the context knows. */
static void lose(struct mk_ctx *ctx)
{
	uint64_t end = support_now() + SUPPORT_NS;
	struct mk_error e;

	assert_int_equal(kill(worker_of(ctx), SIGKILL), 0);
	while (!mk_ctx_error(ctx, &e)) {
		assert_true(support_now() < end);
		support_sleep(SUPPORT_MS);
	}
	assert_int_equal(e.code, -MK_EDEVLOST);
	assert_non_null(strstr(e.text, "signal 9"));
}

static uint16_t load_spin(struct mk_ctx *ctx)
{
	struct mk_handler_info info;
	int r = mk_module_load_source(ctx, "spin.c", spin_source, 0, NULL);

	if (r)
		print_error("%s\n", mk_error_last()->text);
	assert_int_equal(r, 0);
	assert_int_equal(mk_handler_find(ctx, "spin", &info), 0);
	return info.opcode;
}

static void add_one(struct mk_queue *q, uint64_t user_data)
{
	struct mk_op_word w = { 0, 0, 1, 0 };

	support_submit(q, MK_OP_ADD, user_data, &w, sizeof(w));
}

/* ---- waiters ------------------------------------------------------------ */

struct waiter {
	pthread_t thread;
	struct mk_queue *q;
	uint32_t begun;
	int result;
};

static void *wait_all(void *arg)
{
	struct waiter *w = arg;

	mk_store_release(&w->begun, 1);
	w->result = mk_queue_wait(w->q, mk_queue_entries(w->q), SUPPORT_NS);
	return NULL;
}

static void *wait_room(void *arg)
{
	struct waiter *w = arg;
	struct mk_slot *s;

	mk_store_release(&w->begun, 1);
	w->result = mk_queue_get_wait(w->q, 1, &s, SUPPORT_NS);
	return NULL;
}

static void start(struct waiter *w, struct mk_queue *q, void *(*run)(void *))
{
	w->q = q;
	w->begun = 0;
	assert_int_equal(pthread_create(&w->thread, NULL, run, w), 0);
	while (!mk_load_acquire(&w->begun))
		support_sleep(SUPPORT_MS);
}

/* 1,000 slots wait, one thread waits for them, one for room, one polls. */
static void in_flight(void **state)
{
	struct mk_ctx *ctx = manual_ctx();
	struct mk_queue *q = support_queue(ctx, 1024);
	struct mk_queue *full = support_queue(ctx, 2), *more;
	struct waiter all, room;
	struct mk_completion c;
	struct mk_slot *s;
	struct pollfd p;
	mk_buffer_t b;
	bool seen[1000];
	int n = 0;

	(void)state;
	p.fd = mk_queue_event_fd(full);
	p.events = POLLIN;
	assert_int_equal(mk_ctx_quiesce(ctx, SUPPORT_NS), 0);
	for (uint64_t i = 0; i < 1000; i++)
		add_one(q, i);
	add_one(full, 0);
	add_one(full, 1);
	start(&all, q, wait_all);
	start(&room, full, wait_room);
	support_sleep(20 * SUPPORT_MS); /* most likely asleep by now */
	lose(ctx);
	pthread_join(all.thread, NULL);
	assert_int_equal(all.result, 1000);
	pthread_join(room.thread, NULL);
	assert_int_equal(room.result, -MK_EDEVLOST);
	assert_int_equal(poll(&p, 1, 60000), 1);

	memset(seen, 0, sizeof(seen));
	while ((n = mk_queue_reap(q, &c, 1)) == 1) {
		assert_int_equal(c.result, -MK_ENOTRUN);
		assert_true(c.user_data < 1000 && !seen[c.user_data]);
		seen[c.user_data] = true;
	}
	assert_int_equal(n, -MK_EDEVLOST);
	support_error(-MK_EDEVLOST, "signal 9", "mk_ctx_recover()", NULL);
	assert_int_equal(support_balance(q).lost, 1000);
	assert_int_equal(mk_queue_wait(q, 1, SUPPORT_NS), -MK_EDEVLOST);
	assert_int_equal(mk_queue_peek(q, &c, 1), -MK_EDEVLOST);
	assert_int_equal(mk_queue_get(q, 1, &s), -MK_EDEVLOST);
	support_error(-MK_EDEVLOST, "signal 9", NULL);
	assert_int_equal(mk_queue_drain(q, 0), 0); /* all have an answer */
	assert_int_equal(mk_queue_create(ctx, NULL, &more), -MK_EDEVLOST);
	assert_int_equal(mk_buffer_create(ctx, 1, 0, &b), -MK_EDEVLOST);
	assert_int_equal(mk_ctx_quiesce(ctx, 0), -MK_EDEVLOST);
	/* peek and wait give the other queue's up as well */
	assert_int_equal(mk_queue_wait(full, 1, SUPPORT_NS), 2);
	assert_int_equal(mk_queue_reap(full, &c, 1), 1);
	assert_int_equal(mk_queue_destroy(full, 0), 0);
	assert_int_equal(mk_ctx_destroy(ctx, SUPPORT_NS), 0);
}

/* Lost while it works: what has an answer keeps it, what ran may have. */
static void at_work(void **state)
{
	struct mk_ctx *ctx = manual_ctx();
	struct mk_queue *q = support_queue(ctx, 1024);
	unsigned ok = 0, may = 0, not = 0;
	uint64_t ran;

	(void)state;
	for (unsigned lap = 0; lap < 3; lap++) {
		for (uint64_t i = 0; i < 1000; i++)
			add_one(q, i);
		assert_true(mk_queue_wait(q, 1, SUPPORT_NS) >= 1);
		lose(ctx);
		assert_true(mk_queue_wait(q, 1000, SUPPORT_NS) == 1000);
		for (uint64_t i = 0; i < 1000; i++) {
			struct mk_completion c = support_reap(q);

			ok += c.result == 0;
			may += c.result == -MK_EMAYRUN;
			not += c.result == -MK_ENOTRUN;
		}
		assert_int_equal(ok + may + not, 1000 * (lap + 1));
		assert_int_equal(mk_queue_observe(q, 0, &ran), 0);
		assert_true(ran >= ok && ran <= ok + may);
		assert_int_equal(mk_ctx_recover(ctx, SUPPORT_NS), 0);
		assert_int_equal(support_children(), 1);
	}
	support_queue_end(q);
	support_ctx_end(ctx);
	assert_int_equal(support_children(), 0);
}

/* ---- back again --------------------------------------------------------- */

static void recover_all(void **state)
{
	struct mk_ctx *ctx = manual_ctx();
	struct mk_queue *q = support_queue(ctx, 64);
	uint16_t spin = load_spin(ctx);
	struct spin_args args = { 1, 1 };
	struct mk_ctx_stats stats;
	mk_buffer_t b, gone;
	char text[16];
	struct mk_op_copy copy;
	struct mk_error e;
	uint64_t value;
	pid_t before = worker_of(ctx);

	(void)state;
	assert_int_equal(mk_ctx_recover(ctx, SUPPORT_NS), -EALREADY);
	assert_int_equal(mk_buffer_create(ctx, 64, 0, &b), 0);
	assert_int_equal(mk_buffer_create(ctx, 64, 0, &gone), 0);
	assert_int_equal(mk_buffer_write(ctx, b, 0, "kept content", 13), 0);
	lose(ctx);
	/* a buffer may go while the device is away */
	assert_int_equal(mk_buffer_destroy(ctx, gone, SUPPORT_NS), 0);
	assert_int_equal(mk_ctx_recover(ctx, SUPPORT_NS), 0);
	assert_int_equal(mk_ctx_error(ctx, &e), 0);
	assert_int_not_equal(worker_of(ctx), before);
	assert_int_equal(support_children(), 1);

	assert_int_equal(support_call(q, MK_OP_NOP, NULL, 0).result, 0);
	assert_int_equal(mk_buffer_read(ctx, b, 0, text, 13), 0);
	assert_string_equal(text, "kept content");
	memset(&copy, 0, sizeof(copy));
	copy.source = copy.target = mk_buffer_ref(b);
	copy.target_offset = 32;
	copy.bytes = 13;
	assert_int_equal(support_call(q, MK_OP_COPY, &copy,
				      sizeof(copy)).result, 0);
	copy.source = mk_buffer_ref(gone);
	assert_true(support_call(q, MK_OP_COPY, &copy, sizeof(copy)).result <
		    0);
	assert_int_equal(mk_buffer_read(ctx, b, 32, text, 13), 0);
	assert_string_equal(text, "kept content");
	assert_int_equal(support_call(q, spin, &args, sizeof(args)).result, 0);
	assert_int_equal(mk_queue_observe(q, 1, &value), 0);
	assert_int_equal(value, 1);
	assert_int_equal(mk_ctx_stats(ctx, &stats), 0);
	assert_int_equal(stats.restarts, 1);
	assert_int_equal(stats.launches, 2);
	assert_int_equal(mk_buffer_destroy(ctx, b, SUPPORT_NS), 0);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* Not claimed: runs, once. The context stays quiesced until it is resumed. */
static void unclaimed_run(void **state)
{
	struct mk_ctx *ctx = manual_ctx();
	struct mk_queue *q = support_queue(ctx, 256);
	uint64_t value;

	(void)state;
	assert_int_equal(mk_ctx_quiesce(ctx, SUPPORT_NS), 0);
	for (uint64_t i = 0; i < 200; i++)
		add_one(q, i);
	lose(ctx);
	assert_int_equal(mk_ctx_recover(ctx, SUPPORT_NS), 0);
	support_sleep(5 * SUPPORT_MS);
	assert_int_equal(support_balance(q).in_flight, 200);
	assert_int_equal(mk_queue_observe(q, 0, &value), 0);
	assert_int_equal(value, 0);
	assert_int_equal(mk_ctx_resume(ctx), 0);
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(support_reap(q).result, 0);
	assert_int_equal(mk_queue_observe(q, 0, &value), 0);
	assert_int_equal(value, 200);
	support_queue_end(q);
	support_ctx_end(ctx);
}

static void submit_spin(struct mk_queue *q, uint16_t opcode, uint8_t flags,
			uint64_t user_data, const struct spin_args *args)
{
	struct mk_slot *s;

	assert_int_equal(mk_queue_get(q, 1, &s), 1);
	mk_slot_init(s, opcode, user_data);
	s->flags = flags;
	memcpy(s->bytes, args, sizeof(*args));
	assert_int_equal(mk_queue_submit(q, s, 1), 1);
}

static void await_word(struct mk_queue *q, uint32_t word, uint64_t least)
{
	uint64_t end = support_now() + SUPPORT_NS, value;

	for (;;) {
		assert_int_equal(mk_queue_observe(q, word, &value), 0);
		if (value >= least)
			return;
		assert_true(support_now() < end);
		support_sleep(SUPPORT_MS);
	}
}

/* Two slots run when the worker dies: the idempotent one runs again. */
static void claimed_end(void **state)
{
	struct mk_ctx *ctx = manual_ctx();
	struct mk_queue *q = support_queue(ctx, 16);
	uint16_t spin = load_spin(ctx);
	struct spin_args once = { 1, 2 }, twice = { 2, 2 };
	struct mk_completion c;

	(void)state;
	submit_spin(q, spin, 0, 1, &once);
	submit_spin(q, spin, MK_SLOT_IDEMPOTENT, 2, &twice);
	await_word(q, 1, 1);
	await_word(q, 2, 1);
	for (uint64_t i = 3; i < 10; i++)
		add_one(q, i);
	lose(ctx);
	assert_int_equal(mk_ctx_recover(ctx, SUPPORT_NS), 0);
	for (unsigned i = 1; i < 10; i++) {
		c = support_reap(q);
		assert_int_equal(c.result, c.user_data == 1 ? -MK_EMAYRUN : 0);
	}
	await_word(q, 2, 2);
	assert_int_equal(mk_queue_wait(q, 1, 0), -ETIME);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* ---- races -------------------------------------------------------------- */

struct reaper {
	pthread_t thread;
	struct mk_queue *q;
	uint32_t stop;
	unsigned ok, may, not, wrong, sent;
};

static void reap_some(struct reaper *r)
{
	struct mk_completion c[16];
	int n = mk_queue_reap(r->q, c, 16);

	for (int i = 0; i < n; i++)
		switch (c[i].result) {
		case 0:
			r->ok++;
			break;
		case -MK_EMAYRUN:
			r->may++;
			break;
		case -MK_ENOTRUN:
			r->not++;
			break;
		default:
			r->wrong++;
		}
}

/* Submit and reap all the time, whatever becomes of the device. */
static void *keep_busy(void *arg)
{
	struct reaper *r = arg;
	struct mk_slot *s;

	while (!mk_load_acquire(&r->stop)) {
		int n = mk_queue_get(r->q, 4, &s);

		for (int i = 0; i < n; i++) {
			mk_slot_init(&s[i], MK_OP_ADD, 0);
			s[i].arg64[1] = 1;
		}
		if (n > 0 && mk_queue_submit(r->q, s, (unsigned)n) == n)
			r->sent += (unsigned)n;
		reap_some(r);
	}
	return NULL;
}

#define BUSY 6

static void busy_recovery(void **state)
{
	struct mk_ctx *ctx = manual_ctx();
	struct reaper r[BUSY];

	(void)state;
	memset(r, 0, sizeof(r));
	for (unsigned i = 0; i < BUSY; i++) {
		r[i].q = support_queue(ctx, 64);
		assert_int_equal(pthread_create(&r[i].thread, NULL, keep_busy,
						&r[i]), 0);
	}
	for (unsigned lap = 0; lap < 10; lap++) {
		support_sleep(5 * SUPPORT_MS);
		lose(ctx);
		assert_int_equal(mk_ctx_recover(ctx, SUPPORT_NS), 0);
	}
	for (unsigned i = 0; i < BUSY; i++) {
		uint64_t ran, end = support_now() + SUPPORT_NS;

		mk_store_release(&r[i].stop, 1);
		pthread_join(r[i].thread, NULL);
		while (r[i].ok + r[i].may + r[i].not + r[i].wrong <
		       r[i].sent) {
			assert_true(support_now() < end);
			reap_some(&r[i]);
		}
		assert_int_equal(r[i].wrong, 0);
		assert_int_equal(r[i].ok + r[i].may + r[i].not, r[i].sent);
		assert_int_equal(mk_queue_observe(r[i].q, 0, &ran), 0);
		/* what "did not run" did not run; what is ok ran once */
		if (ran < r[i].ok || ran > r[i].ok + r[i].may)
			fail_msg("%u ran; %u ok, %u may have, %u not",
				 (unsigned)ran, r[i].ok, r[i].may, r[i].not);
		support_queue_end(r[i].q);
	}
	support_ctx_end(ctx);
}

struct killer {
	pthread_t thread;
	uint32_t stop;
	unsigned kills;
};

static void *kill_children(void *arg)
{
	struct killer *k = arg;

	while (!mk_load_acquire(&k->stop)) {
		k->kills += support_kill_children();
		/* not always at the same place of the recovery */
		support_sleep((k->kills * 7919) % 40 * 100000);
	}
	return NULL;
}

/* Workers that die while they are brought back: never a context that seems
 * alive and does not answer. */
static void dies_again(void **state)
{
	struct mk_ctx *ctx = manual_ctx();
	struct mk_queue *q = support_queue(ctx, 16);
	struct killer k = { .kills = 0 };
	uint64_t end;
	struct mk_completion c;
	struct mk_slot s;
	int r;

	(void)state;
	lose(ctx);
	assert_int_equal(pthread_create(&k.thread, NULL, kill_children, &k),
			 0);
	mk_slot_init(&s, MK_OP_NOP, 1);
	for (unsigned i = 0; i < 60; i++) {
		r = mk_ctx_recover(ctx, SUPPORT_NS);
		if (r && r != -MK_EDEVLOST && r != -MK_EWORKER &&
		    r != -EALREADY)
			fail_msg("recover: %s: %s", mk_code_name(r),
				 mk_error_last()->text);
		r = mk_queue_call(q, &s, &c, SUPPORT_NS);
		if (r && r != -MK_EDEVLOST && r != -MK_EMAYRUN &&
		    r != -MK_ENOTRUN)
			fail_msg("call: %s: %s", mk_code_name(r),
				 mk_error_last()->text);
	}
	mk_store_release(&k.stop, 1);
	pthread_join(k.thread, NULL);
	assert_true(k.kills > 0);
	end = support_now() + SUPPORT_NS;
	do {
		r = mk_ctx_recover(ctx, SUPPORT_NS);
		while (mk_queue_reap(q, &c, 1) == 1)
			;
		assert_true(support_now() < end);
	} while (mk_queue_call(q, &s, &c, SUPPORT_NS) != 0);
	assert_int_equal(support_children(), 1);
	support_queue_end(q);
	support_ctx_end(ctx);
	assert_int_equal(support_children(), 0);
}

/* ---- nothing is left ---------------------------------------------------- */

static void no_leak(void **state)
{
	unsigned fds = support_fds(), threads = support_threads();

	in_flight(state);
	recover_all(state);
	claimed_end(state);
	assert_int_equal(support_fds(), fds);
	support_threads_most(threads);
	assert_int_equal(support_children(), 0);
}

/* Destroyed while lost, and lost while idle. */
static void destroy_lost(void **state)
{
	struct mk_ctx *ctx = manual_ctx();
	struct mk_queue *q = support_queue(ctx, 4);

	(void)state;
	lose(ctx);
	assert_int_equal(mk_queue_wait(q, 1, SUPPORT_NS), -MK_EDEVLOST);
	assert_int_equal(mk_queue_destroy(q, SUPPORT_NS), 0);
	assert_int_equal(mk_ctx_destroy(ctx, SUPPORT_NS), 0);
}

static void none_cannot(void **state)
{
	struct mk_ctx *ctx = support_ctx("cpu", MK_ISOLATION_NONE);

	(void)state;
	assert_int_equal(mk_ctx_recover(ctx, 0), -EOPNOTSUPP);
	support_error(-EOPNOTSUPP, "isolation none", NULL);
	support_ctx_end(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_flight),
		cmocka_unit_test(at_work),
		cmocka_unit_test(recover_all),
		cmocka_unit_test(unclaimed_run),
		cmocka_unit_test(claimed_end),
		cmocka_unit_test(busy_recovery),
		cmocka_unit_test(dies_again),
		cmocka_unit_test(destroy_lost),
		cmocka_unit_test(none_cannot),
		cmocka_unit_test(no_leak),
	};

	return cmocka_run_group_tests_name("context/lost", tests, NULL, NULL);
}
