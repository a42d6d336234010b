/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-link: -Wl,--wrap=mk_queue_wait */
/*
 * A device that is lost in the middle of a dispatch. The worker process is
 * stopped first, so that it answers nothing, and killed when the dispatch
 * waits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <sys/types.h>
#include <time.h>

#include "base/clock.h"
#include "live.h"

/* Kill the worker process at this many of the next waits. */
static unsigned kills;
static struct mk_ctx *victim;

static pid_t worker(struct mk_ctx *ctx)
{
	struct mk_ctx_info info;

	assert_ok(mk_ctx_info(ctx, &info));
	assert_true(info.worker_pid > 0);
	return info.worker_pid;
}

int __real_mk_queue_wait(struct mk_queue *q, unsigned min,
			 uint64_t timeout_ns);
int __wrap_mk_queue_wait(struct mk_queue *q, unsigned min,
			 uint64_t timeout_ns);

int __wrap_mk_queue_wait(struct mk_queue *q, unsigned min,
			 uint64_t timeout_ns)
{
	if (kills) {
		kills--;
		assert_int_equal(kill(worker(victim), SIGKILL), 0);
	}
	return __real_mk_queue_wait(q, min, timeout_ns);
}

/* True once no thread of the process can run. */
static bool stopped(pid_t pid)
{
	char path[64], line[512];
	const char *at = NULL;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "r");
	if (f && fgets(line, sizeof(line), f))
		at = strrchr(line, ')');
	if (f)
		fclose(f);
	return at && at[2] == 'T';
}

static void stop_worker(struct mk_ctx *ctx)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	uint64_t end = mk_deadline_after(LIVE_NS);
	pid_t pid = worker(ctx);

	assert_int_equal(kill(pid, SIGSTOP), 0);
	while (!stopped(pid) && mk_time_left(end))
		nanosleep(&pause, NULL);
	assert_true(stopped(pid));
}

static int open_context(void **state)
{
	*state = victim = live_open(MK_ISOLATION_PROCESS, 2);
	kills = 0;
	return 0;
}

static int close_context(void **state)
{
	live_close(*state);
	return 0;
}

static uint64_t make(struct buffers *b)
{
	assert_true(buffers_make(b, 2, 16, 8, 2));
	for (int i = 0; i < 7; i++)
		buffers_add(b, word_slot(MK_OP_ADD, 1, 5, 0));
	buffers_add(b, print_slot(1, 2));
	return b->bytes[0] + b->bytes[1] + b->bytes[2] + b->bytes[3];
}

static void check_content(const struct mk_dispatch_output *out)
{
	struct mk_control_info c = live_control(out);
	struct mk_log_entry log[8];

	live_invariant(&c);
	assert_int_equal(c.words[1], 35);
	assert_int_equal(c.done, 8);
	assert_int_equal(c.failed, 0);
	assert_int_equal(c.epoch, 1);
	assert_int_equal(mk_log_decode(out->buffer[2].data,
				       out->buffer[2].bytes, log, 8, NULL), 1);
	assert_int_equal(log[0].ticket, 7);
}

static void test_host_recovers(void **state)
{
	struct mk_dispatch_params p = { .size = sizeof(p),
					.timeout_ns = LIVE_NS };
	struct mk_dispatch_output once, out;
	struct mk_ctx_stats before, after;
	struct mk_dispatch_input in;
	struct buffers b;
	uint64_t bytes;

	bytes = make(&b);
	in = buffers_input(&b);
	assert_int_equal(mk_dispatch(*state, &p, &in, &once), 8);
	assert_false(once.stats.recovered_after_device_loss);
	assert_int_equal(once.stats.kernel_launches, 0);
	check_content(&once);
	assert_ok(mk_ctx_stats(*state, &before));
	stop_worker(*state);
	kills = 1;
	assert_int_equal(mk_dispatch(*state, &p, &in, &out), 8);
	assert_int_equal(kills, 0);
	assert_ok(mk_ctx_stats(*state, &after));
	check_content(&out);
	assert_true(out.stats.recovered_after_device_loss);
	/* both tries are counted */
	assert_int_equal(out.stats.kernel_launches, 1);
	assert_int_equal(after.launches - before.launches, 1);
	assert_int_equal(after.restarts - before.restarts, 1);
	assert_int_equal(once.stats.input_bytes, bytes);
	assert_int_equal(out.stats.input_bytes, 2 * bytes);
	assert_int_equal(out.stats.output_bytes, bytes);
	/* the lost answers were collected too; words and log only once */
	assert_int_equal(out.stats.readback_bytes,
			 once.stats.readback_bytes + 8 * 16);
	assert_int_equal(out.stats.bytes_moved,
			 2 * once.stats.bytes_moved -
				 once.stats.readback_bytes + 8 * 16);
	assert_true(out.stats.sync_points >= 1);
	/* the queue survived: nothing new was needed for the second try */
	assert_int_equal(out.stats.device_allocation_events, 0);
	mk_dispatch_output_free(&once);
	mk_dispatch_output_free(&out);
	buffers_free(&b);
}

/* The loss came before the dispatch: it is its first try all the same. */
static void test_lost_before(void **state)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	uint64_t end = mk_deadline_after(LIVE_NS);
	struct mk_dispatch_output out;
	struct mk_dispatch_input in;
	struct mk_error why;
	struct buffers b;

	make(&b);
	in = buffers_input(&b);
	assert_int_equal(kill(worker(*state), SIGKILL), 0);
	while (!mk_ctx_error(*state, &why) && mk_time_left(end))
		nanosleep(&pause, NULL);
	assert_int_equal(mk_dispatch(*state, NULL, &in, &out), 8);
	assert_true(out.stats.recovered_after_device_loss);
	check_content(&out);
	mk_dispatch_output_free(&out);
	buffers_free(&b);
}

static void test_never(void **state)
{
	struct mk_dispatch_params p = { .size = sizeof(p),
					.recover = MK_RECOVER_NEVER };
	struct mk_dispatch_output out = { .buffers = 77 };
	struct mk_dispatch_input in;
	struct buffers b;

	make(&b);
	in = buffers_input(&b);
	stop_worker(*state);
	kills = 1;
	assert_int_equal(mk_dispatch(*state, &p, &in, &out), -MK_EDEVLOST);
	assert_non_null(strstr(mk_error_last()->text, "recover says never"));
	assert_int_equal(out.buffers, 77);
	/* it stays lost until somebody says otherwise */
	assert_int_equal(mk_dispatch(*state, &p, &in, &out), -MK_EDEVLOST);
	assert_ok(mk_ctx_recover(*state, LIVE_NS));
	assert_int_equal(mk_dispatch(*state, &p, &in, &out), 8);
	assert_false(out.stats.recovered_after_device_loss);
	check_content(&out);
	mk_dispatch_output_free(&out);
	buffers_free(&b);
}

/* The second worker process dies as well: one recovery is all there is. */
static void test_lost_twice(void **state)
{
	struct mk_dispatch_output out = { .buffers = 77 };
	struct mk_dispatch_input in;
	struct buffers b;

	make(&b);
	in = buffers_input(&b);
	/* neither worker process answers anything */
	assert_ok(mk_ctx_quiesce(*state, LIVE_NS));
	kills = 2;
	assert_int_equal(mk_dispatch(*state, NULL, &in, &out), -MK_EDEVLOST);
	assert_int_equal(kills, 0);
	assert_non_null(strstr(mk_error_last()->text, "lost again"));
	assert_int_equal(out.buffers, 77);
	assert_ok(mk_ctx_recover(*state, LIVE_NS));
	assert_ok(mk_ctx_resume(*state));
	assert_int_equal(mk_dispatch(*state, NULL, &in, &out), 8);
	check_content(&out);
	mk_dispatch_output_free(&out);
	buffers_free(&b);
}

static void test_rows_recover(void **state)
{
	struct mk_batch_dispatch_output out;
	struct mk_resident_handles rows[8];
	struct buffers b;

	make(&b);
	for (unsigned i = 0; i < 8; i++)
		rows[i] = live_upload(*state, &b);
	/* one has run already, and one is no row */
	assert_int_equal(mk_dispatch_resident_batch(*state, NULL, rows, 1,
						    &out), 1);
	mk_batch_dispatch_output_free(&out);
	rows[7].debug_log += UINT64_C(1) << 32;
	stop_worker(*state);
	kills = 1;
	assert_int_equal(mk_dispatch_resident_batch(*state, NULL, rows, 8,
						    &out), 7);
	assert_int_equal(kills, 0);
	assert_true(out.stats.recovered_after_device_loss);
	assert_int_equal(out.stats.kernel_launches, 1);
	assert_int_equal(out.stats.resident_resource_rows, 7);
	assert_int_equal(out.stats.resident_resource_handles, 28);
	for (unsigned i = 0; i < 7; i++) {
		struct mk_control_info c;

		/* no slot ran twice */
		assert_int_equal(out.row[i].result, 0);
		assert_int_equal(out.row[i].answered, i ? 8 : 0);
		assert_ok(mk_control_decode(out.row[i].buffer[0].data,
					    out.row[i].buffer[0].bytes, &c));
		assert_int_equal(c.words[1], 35);
		assert_int_equal(c.done, 8);
	}
	assert_int_equal(out.row[7].result, -MK_EFOREIGN);
	mk_batch_dispatch_output_free(&out);
	rows[7].debug_log -= UINT64_C(1) << 32;
	for (unsigned i = 0; i < 8; i++)
		live_drop(*state, rows[i]);
	buffers_free(&b);
}

static void test_rows_never(void **state)
{
	struct mk_dispatch_params p = { .size = sizeof(p),
					.recover = MK_RECOVER_NEVER };
	struct mk_dispatch_output out = { .buffers = 77 };
	struct mk_resident_handles row;
	struct buffers b;

	make(&b);
	row = live_upload(*state, &b);
	stop_worker(*state);
	kills = 1;
	assert_int_equal(mk_dispatch_resident(*state, &p, &row, &out),
			 -MK_EDEVLOST);
	assert_int_equal(out.buffers, 77);
	assert_ok(mk_ctx_recover(*state, LIVE_NS));
	assert_int_equal(mk_dispatch_resident(*state, &p, &row, &out), 8);
	check_content(&out);
	mk_dispatch_output_free(&out);
	live_drop(*state, row);
	buffers_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host_recovers),
		cmocka_unit_test(test_lost_before),
		cmocka_unit_test(test_never),
		cmocka_unit_test(test_lost_twice),
		cmocka_unit_test(test_rows_recover),
		cmocka_unit_test(test_rows_never),
	};

	return cmocka_run_group_tests(tests, open_context, close_context);
}
