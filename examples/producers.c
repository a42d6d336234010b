/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several producer threads on one queue; one thread reaps.
 *
 * Each producer adds its numbers to an observable word, in runs of slots: get
 * a run, fill it, publish it at once. A full ring makes producers wait, so
 * nothing can overflow.
 */
#include <pthread.h>
#include <stdio.h>

#include <megakernel.h>

#define PRODUCERS 4u
#define EACH 10000u
#define WORD 3u /* of the queue's observable words */

static int failed(const char *what)
{
	const struct mk_error *e = mk_error_last();

	fprintf(stderr, "%s: %s (%s)\n", what, e->text, mk_code_name(e->code));
	return 1;
}

static void *produce(void *arg)
{
	struct mk_queue *q = arg;
	unsigned left = EACH;

	while (left) {
		struct mk_slot *slot;
		/* fewer than asked for when the ring is nearly full */
		int n = mk_queue_get_wait(q, left < 16 ? left : 16, &slot,
					  MK_FOREVER);

		if (n < 0)
			break;
		for (int i = 0; i < n; i++) {
			struct mk_op_word add = { .word = WORD };

			add.operand = left - (unsigned)i;
			mk_slot_init(&slot[i], MK_OP_ADD, 0);
			memcpy(slot[i].bytes, &add, sizeof(add));
		}
		if (mk_queue_submit(q, slot, (unsigned)n) < 0)
			break;
		left -= (unsigned)n;
	}
	return left ? arg : NULL;
}

/* One thread at a time may reap. */
static int reap_all(struct mk_queue *q)
{
	struct mk_completion c[64];
	unsigned left = PRODUCERS * EACH;

	while (left) {
		int n = mk_queue_wait(q, 1, MK_FOREVER);

		if (n >= 0)
			n = mk_queue_reap(q, c, 64);
		if (n < 0)
			return failed("reap");
		for (int i = 0; i < n; i++)
			if (c[i].result < 0)
				return 1;
		left -= (unsigned)n;
	}
	return 0;
}

static int run(struct mk_queue *q)
{
	const uint64_t want = (uint64_t)PRODUCERS * EACH * (EACH + 1) / 2;
	pthread_t thread[PRODUCERS];
	struct mk_queue_stats stats;
	uint64_t sum = 0;
	int status;

	for (unsigned i = 0; i < PRODUCERS; i++)
		if (pthread_create(&thread[i], NULL, produce, q))
			return 1;
	status = reap_all(q);
	for (unsigned i = 0; i < PRODUCERS; i++) {
		void *bad;

		pthread_join(thread[i], &bad);
		status |= bad != NULL;
	}
	if (mk_queue_observe(q, WORD, &sum) < 0 ||
	    mk_queue_stats(q, &stats) < 0)
		return failed("observe");
	printf("sum %llu, %llu slots, at most %llu in flight, ring full %llu "
	       "times\n",
	       (unsigned long long)sum, (unsigned long long)stats.submitted,
	       (unsigned long long)stats.in_flight_high,
	       (unsigned long long)stats.full);
	return status || sum != want;
}

int main(void)
{
	struct mk_queue_params params = { .size = sizeof(params),
					  .entries = 256 };
	struct mk_queue *q;
	struct mk_ctx *ctx;
	int status;

	if (mk_ctx_create(NULL, &ctx) < 0)
		return failed("context");
	status = mk_queue_create(ctx, &params, &q) < 0 ? failed("queue")
						       : run(q);
	if (mk_ctx_destroy(ctx, MK_FOREVER) != 0)
		status = 1;
	return status;
}
