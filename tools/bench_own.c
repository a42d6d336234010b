/* SPDX-License-Identifier: Apache-2.0 */
/* No-ops through a queue of the library, as its users submit them. */
#include <stdlib.h>

#include "bench.h"

struct own_options {
	const struct bench_options *bench;
	uint32_t isolation;
};

struct own {
	struct mk_queue *q;
	/* tags that ended while own_submit() waited for room */
	uint32_t ended[HARNESS_WINDOW];
	unsigned count;
};

static unsigned reap(struct own *o, uint32_t *tags, unsigned max)
{
	struct mk_completion c[HARNESS_BATCH];
	int n;

	if (max > HARNESS_BATCH)
		max = HARNESS_BATCH;
	while (!(n = mk_queue_reap(o->q, c, max)))
		mk_queue_wait(o->q, 1, MK_FOREVER);
	if (n < 0) {
		cli_error("bench", "the device was lost: %s",
			  mk_error_last()->text);
		exit(CLI_USAGE);
	}
	for (int i = 0; i < n; i++)
		tags[i] = (uint32_t)c[i].user_data;
	return (unsigned)n;
}

static void own_submit(void *state, const uint32_t *tags, unsigned n)
{
	struct own *o = state;

	while (n) {
		struct mk_slot *slot;
		int got = mk_queue_get(o->q, n, &slot);

		if (got <= 0) {
			/* answers that came out of order keep their slots
			 * until those before them are reaped */
			o->count += reap(o, &o->ended[o->count],
					 HARNESS_WINDOW - o->count);
			continue;
		}
		for (int i = 0; i < got; i++)
			mk_slot_init(&slot[i], MK_OP_NOP, tags[i]);
		mk_queue_submit(o->q, slot, (unsigned)got);
		tags += got;
		n -= (unsigned)got;
	}
}

static unsigned own_reap(void *state, uint32_t *tags, unsigned max)
{
	struct own *o = state;
	unsigned n = 0;

	if (!o->count)
		return reap(o, tags, max);
	while (n < max && o->count)
		tags[n++] = o->ended[--o->count];
	return n;
}

static int own_run(const struct subject *s, unsigned workers,
		   void (*body)(void *state, void *arg), void *arg)
{
	const struct own_options *o = s->options;
	struct mk_ctx_params params = {
		.size = sizeof(params),
		.engine = o->bench->engine.name,
		.isolation = o->isolation,
		.workers = workers,
	};
	struct mk_queue_params queue_params = {
		.size = sizeof(queue_params),
		.entries = HARNESS_WINDOW,
		.spin_ns = HARNESS_SPIN_NS,
	};
	struct own own = { .count = 0 };
	struct mk_ctx *ctx;
	int r = mk_ctx_create(&params, &ctx);

	if (r < 0)
		return cli_library_error("bench", "no engine", r), -1;
	r = mk_queue_create(ctx, &queue_params, &own.q);
	if (r < 0)
		cli_library_error("bench", "no queue", r);
	else
		body(&own, arg);
	mk_ctx_destroy(ctx, 1000000000u);
	return r < 0 ? -1 : 0;
}

int bench_own(const struct bench_options *o, uint32_t isolation,
	      uint32_t workers, struct harness_result *out)
{
	const struct own_options own = { o, isolation };
	const struct subject s = {
		.name = isolation == MK_ISOLATION_NONE ? "megakernel, none"
						       : "megakernel, process",
		.run = own_run,
		.submit = own_submit,
		.reap = own_reap,
		.options = &own,
	};

	return harness_measure(&s, workers, o->quick, out);
}
