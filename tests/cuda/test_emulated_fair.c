/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resident kernel's own text on an emulated device: no queue waits for
 * ever behind another, however few workers there are.
 *
 * ctest-link: -Wl,--wrap=dlopen -Wl,--wrap=dlsym
 * ctest-timeout: 300
 */
#include <pthread.h>
#include <sched.h>

#include "support/support.h"

#include "base/order.h"
#include "context/context.h"
#include "engine/engine.h"
#include "queue/queue.h"

#include "cuda/fake_cuda.c"
#include "cuda/emulated.h"
#include "cuda/nothing_left.h"

static struct mk_ctx *ctx_of(uint32_t workers, uint64_t idle_ns)
{
	struct mk_ctx_params p = emulated_params(workers, idle_ns);

	p.hang_ns = MK_FOREVER;
	return support_ctx_with(&p);
}

#define WORKERS 8u
#define RUN 8u /* tickets that a worker claims at once */

/*
 * All workers sit at tickets of one queue that were got and are not published,
 * each behind one that was. They give way when another queue needs them, but
 * not before nothing has come for long; the kernel leaves before that, and is
 * brought back for the slot of the other queue.
 */
static void all_are_seated(void **state)
{
	struct mk_ctx *ctx = ctx_of(WORKERS, 20000);
	struct mk_queue *slow = support_queue(ctx, 256), *other;
	struct mk_slot *s;
	uint64_t echo = 7;

	(void)state;
	for (unsigned round = 0; round < 6; round++) {
		assert_int_equal(mk_queue_get(slow, WORKERS * RUN, &s),
				 WORKERS * RUN);
		for (unsigned i = 0; i < WORKERS * RUN; i++)
			mk_slot_init(&s[i], MK_OP_NOP, i);
		for (unsigned i = RUN - 1; i < WORKERS * RUN; i += RUN) {
			assert_int_equal(mk_queue_submit(slow, &s[i], 1), 1);
			assert_int_equal(support_reap(slow).user_data, i);
		}
		other = support_queue(ctx, 4);
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(support_call(other, MK_OP_NOP, &echo,
						      8).value, 7);
		support_queue_end(other);
		for (unsigned i = 0; i < WORKERS * RUN; i++)
			if (i % RUN != RUN - 1)
				assert_int_equal(mk_queue_submit(slow, &s[i],
								 1), 1);
		for (unsigned i = 0; i < WORKERS * (RUN - 1); i++)
			assert_int_equal(support_reap(slow).result, 0);
	}
	/* some dozens; it was hundreds or thousands, or had no end */
	assert_true(fake_launches() < 200);
	support_queue_end(slow);
	support_ctx_end(ctx);
	nothing_left();
}

static const char source[] =
	"#include <megakernel/handler.h>\n"
	"struct turns { uint32_t n; };\n"
	"MK_HANDLER(turns, struct turns)\n"
	"{\n"
	"	volatile uint64_t x = 1;\n"
	"	for (uint32_t i = 0; i < args->n; i++)\n"
	"		x = x * 6364136223846793005ull + 1;\n"
	"	return MK_OK;\n"
	"}\n";

#define FLIGHT 192u

/* Keeps a queue busy: whatever ends is followed by as much. */
struct feeder {
	struct mk_queue *q;
	uint16_t opcode;
	uint32_t count;
	uint32_t stop;
	uint64_t answers;
};

/* One slot of many; false: there is no room, as slots end in any order. */
static bool feed(struct feeder *f)
{
	uint32_t turns = f->count % 61 ? 16 : 100000;
	struct mk_slot *s;

	if (mk_queue_get(f->q, 1, &s) != 1)
		return false;
	if (++f->count % 4)
		assert_int_equal(mk_queue_fill(f->q, s, f->opcode, 0, &turns,
					       sizeof(turns)), 0);
	else
		mk_slot_init(s, MK_OP_NOP, 0);
	assert_int_equal(mk_queue_submit(f->q, s, 1), 1);
	return true;
}

static void *feeder_main(void *arg)
{
	struct feeder *f = arg;
	struct mk_completion c[64];
	unsigned out = 0;
	bool stop;

	do {
		int n;

		stop = mk_load_acquire(&f->stop);
		while (!stop && out < FLIGHT && feed(f))
			out++;
		n = mk_queue_reap(f->q, c, 64);
		assert_true(n >= 0);
		if (!n)
			sched_yield();
		out -= (unsigned)n;
		mk_add_relaxed(&f->answers, (uint64_t)n);
	} while (out || !stop);
	return NULL;
}

/*
 * Who runs what takes a whole warp leaves its other seats to whoever is free.
 * Under load there is always something left behind; still somebody looks at
 * the slots of other queues, whatever their priority.
 */
static void some_are_left(void **state)
{
	struct mk_ctx *ctx = ctx_of(16, 200 * SUPPORT_MS);
	struct feeder f = { .q = support_queue(ctx, 1024) };
	struct mk_handler_info h;
	uint64_t zero = 0, most = 0;
	pthread_t t;

	(void)state;
	assert_int_equal(mk_module_load_source(ctx, "turns.c", source, 0,
					       NULL), 0);
	assert_int_equal(mk_handler_find(ctx, "turns", &h), 0);
	f.opcode = h.opcode;
	assert_int_equal(pthread_create(&t, NULL, feeder_main, &f), 0);
	for (unsigned round = 0; round < 100; round++) {
		struct mk_queue *other = support_queue(ctx, 4);
		uint64_t behind = mk_load_relaxed(&f.answers);

		support_call(other, MK_OP_NOP, &zero, 8);
		behind = mk_load_relaxed(&f.answers) - behind;
		if (most < behind)
			most = behind;
		support_queue_end(other);
	}
	mk_store_release(&f.stop, 1);
	pthread_join(t, NULL);
	/* some hundreds at most; it was tens of thousands */
	assert_true(most < 5000);
	support_queue_end(f.q);
	support_ctx_end(ctx);
	nothing_left();
}

/*
 * What was answered before a restart is passed over, even if it was reaped
 * since and its entries of the ring are of tickets of the next lap.
 */
static void reaped_before(void **state)
{
	struct mk_ctx *ctx = ctx_of(3, 200 * SUPPORT_MS);

	(void)state;
	for (unsigned again = 0; again < 16; again += 3) {
		struct mk_queue *q = support_queue(ctx, 16);

		for (uint64_t i = 0; i < 16; i++)
			assert_int_equal(support_call(q, MK_OP_NOP, &i,
						      8).value, i);
		assert_int_equal(ctx->ops->queue_detach(
			ctx->engine, q->desc.index, SUPPORT_NS), 0);
		for (uint64_t i = 0; i < 12; i++)
			support_submit(q, MK_OP_NOP, i, &i, 8);
		q->desc.first_ticket = again;
		q->desc.skip_until = 16;
		assert_int_equal(ctx->ops->queue_attach(ctx->engine, &q->desc,
							-1), 0);
		for (uint64_t i = 0; i < 12; i++)
			assert_int_equal(support_reap(q).result, 0);
		for (uint64_t i = 0; i < 40; i++)
			assert_int_equal(support_call(q, MK_OP_NOP, &i,
						      8).value, i);
		support_queue_end(q);
	}
	support_ctx_end(ctx);
	nothing_left();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(all_are_seated, begin_emulated),
		cmocka_unit_test_setup(some_are_left, begin_emulated),
		cmocka_unit_test_setup(reaped_before, begin_emulated),
	};

	if (!can_emulate())
		return 77;
	fake_cache();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
