/* SPDX-License-Identifier: Apache-2.0 */
/* A dispatch of host bytes, from the check of its input to its outputs. */
#ifndef MK_DISPATCH_HOST_STATE_H
#define MK_DISPATCH_HOST_STATE_H

#include "dispatch/flight.h"

/* One dispatch while it runs. */
struct mk_host_dispatch {
	struct mk_ctx *ctx;
	struct mk_dispatcher *d;
	const char *operation;
	struct mk_dispatch_params p;
	uint64_t deadline_ns;
	struct mk_dispatch_stats stats;
	struct mk_flight flight;
	struct mk_tries tries;
	bool lost_answers;

	/* the checked copies, in d->copy; io is NULL if there is none */
	uint64_t bytes[MK_PARTS];
	struct mk_control *control;
	struct mk_ring *ring;
	struct mk_debug_log *log;
	struct mk_io_queue *io;
	struct mk_ring_slot *slots;
	/* by slot; state EMPTY: this dispatch has not answered it */
	struct mk_ring_answer *answers;
	uint32_t answered;
};

/* Copy the state of the buffers into the queue's block: words, log, IO. */
void mk_host_load(struct mk_host_dispatch *h);

/* Copy it back, into the checked copies. -MK_ESHARED: what is there cannot
 * have come about in a regular way. */
int mk_host_read_back(struct mk_host_dispatch *h);

#endif
