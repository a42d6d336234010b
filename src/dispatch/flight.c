/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatch/flight.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/order.h"
#include "base/params.h"
#include "queue/queue.h"

#define BATCH 64u

void mk_flight_begin(struct mk_flight *f, struct mk_queue *q)
{
	f->q = q;
	f->in_flight = 0;
	f->sent = 0;
	/* nobody else submits here: tickets follow each other from tail on */
	f->first_ticket = mk_load_relaxed(&q->tail);
	/* an earlier dispatch may have shut it down: then nothing would run */
	mk_store_relaxed(&mk_queue_control(q)->shutdown, 0);
}

static int out_of_time(const struct mk_flight *f)
{
	return mk_error_set(-ETIME, 0, f->operation,
			    "params.timeout_ns passed with %u slots "
			    "unanswered; raise it, or dispatch less at a time",
			    f->in_flight);
}

/* Hand out the answers that are there. How many, or -MK_EDEVLOST. */
static int reap(struct mk_flight *f)
{
	struct mk_completion batch[BATCH];
	int n = mk_queue_reap(f->q, batch, BATCH);

	for (int i = 0; i < n; i++) {
		uint32_t item = (uint32_t)batch[i].user_data;

		f->in_flight--;
		f->stats->readback_bytes += MK_COMPLETION_BYTES;
		f->stats->bytes_moved += MK_COMPLETION_BYTES;
		if (item != MK_NO_ITEM)
			f->landed(f->arg, item, &batch[i]);
	}
	return n;
}

/* Collect at least one; wait for `want` if there is none. */
static int collect(struct mk_flight *f, uint32_t want)
{
	int r = reap(f);

	if (r)
		return r;
	f->stats->sync_points++;
	r = mk_queue_wait(f->q, want, mk_time_left(f->deadline_ns));
	if (r == -ETIME)
		return out_of_time(f);
	return r < 0 ? r : reap(f);
}

int mk_flight_land(struct mk_flight *f)
{
	while (f->in_flight) {
		int r = collect(f, f->in_flight);

		if (r < 0)
			return r;
	}
	return 0;
}

void mk_flight_end(struct mk_flight *f, struct mk_dispatcher *d, int code)
{
	struct mk_error why = *mk_error_last();

	if (code == -MK_EDEVLOST && f->in_flight)
		mk_flight_land(f);
	if (f->in_flight)
		mk_dispatcher_abandon(d, f->q);
	f->in_flight = 0;
	mk_error_copy(&why);
}

/* Publish a slot that was got; the wire copy is what moves. */
static int submit(struct mk_flight *f, struct mk_slot *got, uint32_t item)
{
	int r = mk_queue_submit(f->q, got, 1);

	if (r < 0)
		return r;
	if (f->tickets)
		f->tickets[f->sent++] = item;
	f->in_flight++;
	f->stats->bytes_moved += MK_SLOT_BYTES;
	return r;
}

int mk_flight_send(struct mk_flight *f, const struct mk_slot *slot,
		   uint32_t item, int32_t *refused)
{
	struct mk_slot *got;
	int r;

	while ((r = mk_queue_get(f->q, 1, &got)) == -EAGAIN) {
		r = collect(f, (f->in_flight + 1) / 2);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	*got = *slot;
	got->user_data = item;
	if (f->slot_deadline_ns)
		mk_slot_deadline(f->q, got, f->slot_deadline_ns);
	r = submit(f, got, item);
	if (r == 1)
		return 1;
	/* the slot was got and has to go: as a no-op that nobody waits for */
	*refused = r;
	mk_slot_init(got, MK_OP_NOP, MK_NO_ITEM);
	r = submit(f, got, MK_NO_ITEM);
	return r < 0 ? r : 0;
}

/* Where the context comes back by itself it may be lost again, for a reason
 * that has nothing to do with this dispatch; or it is the reason. */
#define TRIES_MOST 4u

void mk_loss_try(struct mk_ctx *ctx, struct mk_tries *t)
{
	t->mark = mk_load_acquire(&ctx->restarts);
	t->count++;
}

bool mk_loss_result(struct mk_ctx *ctx, const struct mk_tries *t,
		    int32_t result)
{
	if (result != -MK_ENOTRUN && result != -MK_EMAYRUN)
		return false;
	/* else a handler's own idea of a result */
	return mk_load_acquire(&ctx->lost) ||
	       mk_load_acquire(&ctx->restarts) != t->mark;
}

static bool lost_for_good(const char *operation, const char *why)
{
	mk_error_set(-MK_EDEVLOST, 0, operation,
		     "the device was lost and not recovered: %.800s", why);
	return false;
}

bool mk_loss_recover(struct mk_ctx *ctx, const struct mk_dispatch_params *p,
		     const struct mk_tries *t, const char *operation,
		     uint64_t deadline_ns, struct mk_dispatch_stats *stats)
{
	bool by_itself = ctx->recovery != MK_RECOVERY_OFF;
	unsigned most = ctx->recovery == MK_RECOVERY_BUDGET ? TRIES_MOST : 2;
	struct mk_error why;
	int r;

	if (p->recover != MK_RECOVER_ONCE)
		return lost_for_good(operation, "params.recover says never");
	if (t->count >= most)
		return lost_for_good(operation, most > 2 ?
				     "it was lost again in every try" :
				     "it was lost again after one recovery");
	r = by_itself ? mk_ctx_await_restart(ctx, t->mark, deadline_ns,
					     operation) :
			mk_ctx_recover(ctx, mk_time_left(deadline_ns));
	/* somebody else may have been first */
	if (r >= 0 || r == -EALREADY) {
		stats->recovered_after_device_loss = true;
		return true;
	}
	/* the text lives in the record that is written next */
	why = *mk_error_last();
	return lost_for_good(operation, why.text);
}

static int params_bad(const char *operation, const char *field, uint32_t value,
		      const char *limit)
{
	return mk_error_set(-EINVAL, 0, operation,
			    "params.%s is %u, must be %s", field, value,
			    limit);
}

int mk_dispatch_params_check(struct mk_dispatch_params *p,
			     const struct mk_dispatch_params *given,
			     const char *operation)
{
	const uint32_t all = (1u << MK_PARTS) - 1;
	int r;

	r = mk_params_copy(p, sizeof(*p), sizeof(*p), given, operation);
	if (r < 0)
		return r;
	if (p->recover > MK_RECOVER_NEVER)
		return params_bad(operation, "recover", p->recover,
				  "a value of enum mk_recover");
	if (p->readback > MK_READBACK_NONE)
		return params_bad(operation, "readback", p->readback,
				  "a sum of enum mk_readback, or "
				  "MK_READBACK_NONE alone");
	if (p->reserved)
		return params_bad(operation, "reserved", p->reserved, "0");
	if (!p->timeout_ns)
		p->timeout_ns = MK_DISPATCH_TIMEOUT_NS;
	if (!p->readback)
		p->readback = all;
	p->readback &= all;
	return 0;
}

void mk_cost_begin(struct mk_cost *c, struct mk_ctx *ctx)
{
	c->start_ns = mk_now_ns();
	c->launches = mk_ctx_launches(ctx);
}

void mk_cost_end(const struct mk_cost *c, struct mk_ctx *ctx,
		 struct mk_dispatch_stats *stats)
{
	stats->kernel_launches = (uint32_t)(mk_ctx_launches(ctx) - c->launches);
	stats->latency_ns = mk_now_ns() - c->start_ns;
}
