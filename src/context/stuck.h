/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots that wait in vain. A slot may wait only for slots that were published
 * before it; so when all of these that have no answer wait themselves, for
 * counters that have not reached their values, nobody is left who could raise
 * one: they wait in a circle, or for what nobody raises.
 */
#ifndef MK_CONTEXT_STUCK_H
#define MK_CONTEXT_STUCK_H

#include "context/context.h"

/* The ticket, unanswered, cannot be said to hang: it waits for a counter or,
 * a fence, for earlier slots; or it has run, and goes on without a worker, or
 * waits for a counter again. */
enum mk_idle_kind {
	MK_IDLE_NO = 0,
	MK_IDLE_WAITS = 1,
	MK_IDLE_GOES_ON = 2,
	MK_IDLE_AWAITS = 3
};

enum mk_idle_kind mk_stuck_kind(const struct mk_queue *q, uint64_t ticket);

enum mk_stuck {
	MK_STUCK_NOT = 0,   /* somebody may still go on */
	MK_STUCK_READY = 1, /* what `ready` waits for is reached */
	MK_STUCK_FOUND = 2  /* they were asked to end; *why says who */
};

/*
 * Look at all slots below the queues' horizons. By the keeper, under no lock;
 * asks the engine for counters, where they are not the host's memory.
 */
enum mk_stuck mk_stuck_look(struct mk_ctx *ctx, struct mk_error *why,
			    struct mk_named *ready);

#endif
