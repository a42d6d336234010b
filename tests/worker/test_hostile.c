/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 240 */
/*
 * A caller that writes nonsense into the shared memory while its worker
 * process works on it: the process lives on, answers commands, and ends when
 * it is told to. (What the engine does then is looked at more closely by
 * fuzz/fuzz_memory.c; here it is the real process, with whatever sanitizer
 * it was built with.)
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/futex.h"
#include "base/order.h"
#include "context/context.h"
#include "queue/queue.h"
#include "support/support.h"
#include "worker/proxy.h"

#define ROUNDS 3000u

static struct mk_ctx *open_ctx(void)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_PROCESS);

	p.recovery = MK_RECOVERY_OFF;
	/* whoever writes nonsense where workers tell what they do is told
	 * nonsense: that is no hang */
	p.hang_ns = MK_FOREVER;
	return support_ctx_with(&p);
}

static void ring(struct mk_ctx *ctx)
{
	mk_add_seq(&ctx->block->bell, 1);
	mk_futex_wake(&ctx->block->bell, INT32_MAX);
}

/* Slots with any bits, published as the protocol has it. */
static void publish(struct mk_queue *q, uint64_t *seed)
{
	uint64_t t = mk_load_seq(&q->block->claim);

	for (unsigned n = 0; n < 4; n++, t++) {
		struct mk_wire_slot *s = &q->ring[t & q->mask];
		uint64_t mark = (uint64_t)MK_MARK(t, q->shift)
				<< MK_MARK_SHIFT;

		for (unsigned i = 3; i; i--) {
			mk_store_relaxed(&s->unit[i].lo,
					 support_random(seed));
			mk_store_relaxed(&s->unit[i].hi,
					 support_random(seed) >> 16 | mark);
		}
		/* an opcode that there is, mostly */
		mk_store_relaxed(&s->unit[0].lo,
				 support_random(seed) % 20 |
					 (uint64_t)MK_PRIORITY_NORMAL << 32);
		mk_store_seq(&s->unit[0].hi, support_random(seed) >> 16 | mark);
	}
}

static void scribble(unsigned char *at, uint64_t bytes, uint64_t *seed)
{
	uint64_t from = support_random(seed) % bytes;
	uint64_t n = 1 + support_random(seed) % 64;

	for (uint64_t i = from; i < bytes && i < from + n; i++)
		mk_store_relaxed(&at[i], (unsigned char)support_random(seed));
}

static bool lives(struct mk_ctx *ctx, int pid)
{
	struct mk_error e;

	if (mk_ctx_error(ctx, &e))
		print_error("%s\n", e.text);
	return !mk_ctx_error(ctx, &e) && !kill(pid, 0);
}

static void memory(void **state)
{
	struct mk_ctx *ctx = open_ctx();
	struct mk_queue *q[2] = { support_queue(ctx, 64),
				  support_queue(ctx, 16) };
	int pid = mk_proxy_pid(ctx->engine);
	uint64_t seed = 4711, used;
	mk_buffer_t b;

	(void)state;
	if (SUPPORT_TSAN) {
		/* nothing but data races */
		mk_ctx_destroy(ctx, SUPPORT_NS);
		skip();
	}
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(mk_buffer_create(ctx, 8192, 0, &b), 0);
	used = ctx->shared.used;
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct mk_queue *one = q[i & 1];

		publish(one, &seed);
		ring(ctx);
		scribble(ctx->region.base, used, &seed);
		scribble((unsigned char *)one->block, one->desc.block_bytes,
			 &seed);
		scribble(ctx->region.base + ctx->region.shared_bytes, 4 * 8192,
			 &seed);
		if (i % 8 == 0)
			support_sleep(SUPPORT_MS / 10);
		assert_true(lives(ctx, pid));
	}
	/* it still does as it is told: a slot may wait for what never comes,
	 * until its queue ends */
	for (unsigned i = 0; i < 2; i++)
		mk_store_seq(&q[i]->block->mode, MK_MODE_CANCEL);
	ring(ctx);
	assert_int_equal(ctx->ops->pause(ctx->engine, SUPPORT_NS), 0);
	assert_int_equal(ctx->ops->resume(ctx->engine), 0);
	assert_true(lives(ctx, pid));
	assert_true(mk_ctx_destroy(ctx, 2000 * SUPPORT_MS) >= 0);
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(support_children(), 0);
}

/* Its size is sealed: nobody can take the memory from under the worker. */
static void truncated(void **state)
{
	struct mk_ctx *ctx = open_ctx();
	struct mk_queue *q = support_queue(ctx, 16);

	(void)state;
	assert_int_equal(ftruncate(ctx->region.fd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(fcntl(ctx->region.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_int_equal(support_call(q, MK_OP_NOP, NULL, 0).result, 0);
	support_queue_end(q);
	support_ctx_end(ctx);
}

/* Holes where the rings were: zeros, not faults. */
static void punched(void **state)
{
	struct mk_ctx *ctx = open_ctx();
	struct mk_queue *q = support_queue(ctx, 16);
	int pid = mk_proxy_pid(ctx->engine);

	(void)state;
	assert_int_equal(support_call(q, MK_OP_NOP, NULL, 0).result, 0);
	assert_int_equal(fallocate(ctx->region.fd,
				   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   0, (off_t)ctx->region.total_bytes), 0);
	for (unsigned i = 0; i < 20; i++) {
		ring(ctx);
		support_sleep(SUPPORT_MS);
		assert_true(lives(ctx, pid));
	}
	assert_int_equal(ctx->ops->pause(ctx->engine, SUPPORT_NS), 0);
	assert_true(mk_ctx_destroy(ctx, 2000 * SUPPORT_MS) >= 0);
	assert_int_equal(support_children(), 0);
}

/* A completion ring that nobody reaps holds up its own queue alone. */
static void full(void **state)
{
	struct mk_ctx *ctx = open_ctx();
	struct mk_queue *stuck = support_queue(ctx, 16);
	struct mk_queue *q = support_queue(ctx, 16);
	struct mk_slot *s;

	(void)state;
	for (unsigned i = 0; i < 16; i++)
		support_submit(stuck, MK_OP_NOP, i, NULL, 0);
	assert_int_equal(mk_queue_get(stuck, 1, &s), -EAGAIN);
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(support_call(q, MK_OP_NOP, NULL, 0).result,
				 0);
	assert_int_equal(mk_queue_get(stuck, 1, &s), -EAGAIN);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(support_reap(stuck).user_data, i);
	support_queue_end(stuck);
	support_queue_end(q);
	support_ctx_end(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory),
		cmocka_unit_test(truncated),
		cmocka_unit_test(punched),
		cmocka_unit_test(full),
	};

	return cmocka_run_group_tests_name("worker/hostile", tests, NULL,
					   NULL);
}
