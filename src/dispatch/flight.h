/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots on their way through the live queue of a dispatch: sent one by one,
 * collected as they are answered. What it costs is counted here.
 */
#ifndef MK_DISPATCH_FLIGHT_H
#define MK_DISPATCH_FLIGHT_H

#include "dispatch/dispatcher.h"

#define MK_NO_ITEM UINT32_MAX

struct mk_flight {
	struct mk_queue *q;
	struct mk_dispatch_stats *stats;
	const char *operation;
	uint64_t deadline_ns;      /* of the dispatch */
	uint64_t slot_deadline_ns; /* of its slots; 0: none */
	uint32_t in_flight;
	/* item by ticket, from first_ticket on; NULL: not wanted */
	uint32_t *tickets;
	uint64_t first_ticket;
	uint32_t sent; /* entries of tickets */
	/* called for every item sent, once */
	void (*landed)(void *arg, uint32_t item,
		       const struct mk_completion *c);
	void *arg;
};

/* Begin on a queue with nothing in flight. */
void mk_flight_begin(struct mk_flight *f, struct mk_queue *q);

/*
 * Publish one slot, collecting answers if there is no room.
 *
 * Returns 1: sent. 0: the queue refused the slot, *refused says why, and it
 * will not land. -ETIME, -MK_EDEVLOST: as below.
 */
int mk_flight_send(struct mk_flight *f, const struct mk_slot *slot,
		   uint32_t item, int32_t *refused);

/* Collect until nothing is in flight. -ETIME: the deadline came first.
 * -MK_EDEVLOST: the device is lost. */
int mk_flight_land(struct mk_flight *f);

/*
 * The try failed with `code`. Leaves nothing in flight: after a lost device
 * the rest is collected; else the queue is given up, with the slots that may
 * still run. The recorded error stays.
 */
void mk_flight_end(struct mk_flight *f, struct mk_dispatcher *d, int code);

/* ---- lost devices ------------------------------------------------------ */

/* The tries of one dispatch. */
struct mk_tries {
	uint64_t mark;  /* restarts of the context before this one */
	unsigned count; /* that were begun */
};

/* Another one begins. */
void mk_loss_try(struct mk_ctx *ctx, struct mk_tries *t);

/* Was this result made up because the device was lost during this try? */
bool mk_loss_result(struct mk_ctx *ctx, const struct mk_tries *t,
		    int32_t result);

/*
 * Bring the device back, or wait until the context has done so by itself, if
 * the policies say so: true, and it is noted in stats. False: the error is set
 * and the dispatch has to return -MK_EDEVLOST.
 */
bool mk_loss_recover(struct mk_ctx *ctx, const struct mk_dispatch_params *p,
		     const struct mk_tries *t, const char *operation,
		     uint64_t deadline_ns, struct mk_dispatch_stats *stats);

/* ---- parameters and cost, for every kind of dispatch ------------------- */

/* Copy, check, and fill in defaults; readback becomes a mask of parts. */
int mk_dispatch_params_check(struct mk_dispatch_params *p,
			     const struct mk_dispatch_params *given,
			     const char *operation);

/* Where a dispatch starts: the clock and the launches. */
struct mk_cost {
	uint64_t start_ns;
	uint64_t launches;
};

void mk_cost_begin(struct mk_cost *c, struct mk_ctx *ctx);
void mk_cost_end(const struct mk_cost *c, struct mk_ctx *ctx,
		 struct mk_dispatch_stats *stats);

#endif
