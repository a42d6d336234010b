/* SPDX-License-Identifier: Apache-2.0 */
/* Slots through a queue, as users submit them. */
#include <errno.h>
#include <string.h>

#include "base/order.h"
#include "bench_run.h"

#define LOOKS 65536u /* between two looks at the clock */
#define QUIET_NS 20000u /* between two batches */

int bench_ctx_open(struct bench *b, uint32_t isolation, uint64_t idle_ns,
		   struct mk_ctx **out)
{
	struct mk_ctx_params params = {
		.size = sizeof(params),
		.engine = b->o->engine.name,
		.isolation = isolation,
		.workers = b->o->engine.workers,
		.idle_ns = idle_ns,
	};
	int r = mk_ctx_create(&params, out);

	return r < 0 ? bench_fail_library(b, "mk_ctx_create", r) : 0;
}

void bench_ctx_close(struct bench *b, struct mk_ctx *ctx)
{
	int64_t left = mk_ctx_destroy(ctx, BENCH_WAIT_NS);

	if (left < 0)
		bench_fail_library(b, "mk_ctx_destroy", (int)left);
}

int live_open_in(struct bench *b, struct mk_ctx *ctx, struct live *l,
		 unsigned entries)
{
	struct mk_queue_params params = {
		.size = sizeof(params),
		.entries = entries,
		.spin_ns = MK_FOREVER,
	};
	int r;

	memset(l, 0, sizeof(*l));
	l->b = b;
	l->opcode = MK_OP_NOP;
	l->bytes = 8;
	l->depth = l->burst = 1;
	l->seed = 88172645463325252u;
	r = mk_queue_create(ctx, &params, &l->q);
	return r < 0 ? bench_fail_library(b, "mk_queue_create", r) : 0;
}

int live_open(struct bench *b, struct live *l, unsigned entries)
{
	return live_open_in(b, b->ctx, l, entries);
}

int live_close(struct live *l)
{
	int64_t left;

	while (l->out)
		if (live_await(l, l->out) < 0)
			break;
	left = mk_queue_destroy(l->q, BENCH_WAIT_NS);
	if (left < 0)
		return bench_fail_library(l->b, "mk_queue_destroy", (int)left);
	if (left || l->bad)
		return bench_fail(l->b, "%llu answers were wrong, %lld are "
				  "missing", (unsigned long long)l->bad,
				  (long long)left);
	return 0;
}

int live_use(struct live *l, struct mk_ctx *ctx, const char *handler,
	     const void *args, size_t bytes)
{
	struct mk_handler_info info;
	int r = mk_handler_find(ctx, handler, &info);

	if (r < 0)
		return bench_fail_library(l->b, "mk_handler_find", r);
	if (info.arg_bytes != bytes)
		return bench_fail(l->b, "%s takes %u bytes, not %zu", handler,
				  info.arg_bytes, bytes);
	l->opcode = info.opcode;
	l->bytes = (uint16_t)bytes;
	if (bytes)
		memcpy(l->args, args, bytes);
	return 0;
}

int live_submit(struct live *l, unsigned n)
{
	struct mk_slot *slot;
	int got = mk_queue_get(l->q, n, &slot);

	if (got == -EAGAIN)
		return 0;
	if (got < 0)
		return bench_fail_library(l->b, "mk_queue_get", got);
	for (int i = 0; i < got; i++) {
		mk_slot_init(&slot[i], l->opcode, l->next);
		if (l->opcode == MK_OP_NOP)
			slot[i].arg64[0] = l->next;
		else if (l->bytes) {
			memcpy(slot[i].bytes, l->args, l->bytes);
			slot[i].tiles = l->tiles;
		}
		l->next++;
	}
	n = (unsigned)got;
	got = mk_queue_submit(l->q, slot, n);
	if (got < 0)
		return bench_fail_library(l->b, "mk_queue_submit", got);
	l->out += n;
	return (int)n;
}

/* Reap into c; counts what is wrong. */
static int take(struct live *l, struct mk_completion *c, unsigned max)
{
	int got = mk_queue_reap(l->q, c, max);

	if (got < 0)
		return bench_fail_library(l->b, "mk_queue_reap", got);
	/* a no-op gives back its first argument, which is its number */
	for (int i = 0; i < got; i++)
		l->bad += c[i].result != 0 ||
			  (l->opcode == MK_OP_NOP &&
			   c[i].value != c[i].user_data);
	l->out -= (unsigned)got;
	return got;
}

static int take_one_at_least(struct live *l, struct mk_completion *c,
			     unsigned max)
{
	uint64_t until = 0;
	int got;

	for (unsigned looks = 1; !(got = take(l, c, max)); looks++) {
		if (looks % LOOKS)
			continue;
		if (!until)
			until = mk_now_ns() + BENCH_WAIT_NS;
		else if (mk_now_ns() > until)
			return bench_fail(l->b, "no answer in %u s",
					  (unsigned)(BENCH_WAIT_NS /
						     1000000000u));
	}
	return got;
}

#define REAP_MAX 128u

int live_reap(struct live *l, unsigned max)
{
	struct mk_completion c[REAP_MAX];

	return take(l, c, max < REAP_MAX ? max : REAP_MAX);
}

int live_await(struct live *l, unsigned max)
{
	struct mk_completion c[REAP_MAX];

	return take_one_at_least(l, c, max < REAP_MAX ? max : REAP_MAX);
}

/* ---- round trips --------------------------------------------------------- */

static void wait_gap(uint64_t gap_ns)
{
	uint64_t until = mk_now_ns() + gap_ns;

	while (mk_now_ns() < until)
		;
}

static uint64_t random_gap(struct live *l)
{
	l->seed ^= l->seed << 13;
	l->seed ^= l->seed >> 7;
	l->seed ^= l->seed << 17;
	return l->gap_ns ? l->seed % l->gap_ns : 0;
}

/* Submit one slot and remember when. 0: no room, -1: failed. */
static int start_one(struct live *l)
{
	l->start[l->next % BENCH_STARTS] = mk_now_ns();
	return live_submit(l, 1);
}

/* Wait for answers and note how long they took; how many, or -1. */
static int note(struct live *l, uint64_t *ns, unsigned room)
{
	struct mk_completion c[64];
	int got = take_one_at_least(l, c, 64);
	uint64_t now = mk_now_ns();
	unsigned n = 0;

	if (got < 0)
		return -1;
	for (int i = 0; i < got && n < room; i++)
		ns[n++] = now - l->start[c[i].user_data % BENCH_STARTS];
	return (int)n;
}

int live_gaps(void *arg, uint64_t *ns, unsigned room)
{
	struct live *l = arg;
	unsigned n = 0;

	if (l->gap_ns)
		wait_gap(random_gap(l));
	for (unsigned i = 0; i < l->depth; i++)
		if (start_one(l) < 0)
			return -1;
	while (l->out) {
		int got = note(l, ns + n, room - n);

		if (got < 0)
			return -1;
		n += (unsigned)got;
	}
	return (int)n;
}

int live_steady(void *arg, uint64_t *ns, unsigned room)
{
	struct live *l = arg;

	while (l->out < l->depth) {
		int r = start_one(l);

		if (r < 0)
			return -1;
		/* answers came out of order, and their places in the ring
		 * are taken until those before are reaped */
		if (!r)
			break;
	}
	return note(l, ns, room);
}

int live_batch(void *arg, uint64_t *ns, unsigned room)
{
	struct live *l = arg;
	unsigned sent = 0;
	uint64_t began;

	(void)room;
	wait_gap(QUIET_NS);
	began = mk_now_ns();
	while (sent < l->depth || l->out) {
		int r = sent < l->depth ? live_submit(l, l->depth - sent) : 0;

		if (r < 0)
			return -1;
		sent += (unsigned)r;
		r = r ? live_reap(l, l->out) : live_await(l, l->out);
		if (r < 0)
			return -1;
	}
	ns[0] = mk_now_ns() - began;
	return 1;
}

int live_rate(void *arg, uint64_t n, uint64_t *ns)
{
	struct live *l = arg;
	uint64_t began = mk_now_ns(), sent = 0;

	while (sent < n || l->out) {
		unsigned room = l->depth - l->out;
		int r = 0;

		if (room > l->burst)
			room = l->burst;
		if (room > n - sent)
			room = (unsigned)(n - sent);
		if (room)
			r = live_submit(l, room);
		if (r < 0)
			return -1;
		sent += (unsigned)r;
		/* where there was no room, an answer has to come first */
		r = r ? live_reap(l, REAP_MAX) : live_await(l, REAP_MAX);
		if (r < 0)
			return -1;
	}
	*ns = mk_now_ns() - began;
	return 0;
}
