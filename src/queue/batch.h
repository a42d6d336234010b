/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recorded batch. Its own counters lie in a buffer of its own, one set for
 * each run that may be in flight. A set is never reset while all goes well:
 * every run raises a counter equally often, so that the values waited for
 * grow by as much from run to run.
 */
#ifndef MK_QUEUE_BATCH_H
#define MK_QUEUE_BATCH_H

#include "queue/queue.h"

#define MK_BATCH_RUNS_MAX 64u

/* What is recorded of a slot beside the slot itself. */
struct mk_batch_flow {
	mk_buffer_t buffer; /* of its counters; 0: the batch's own */
	uint64_t value;
	uint32_t word;
	uint32_t raises; /* entries of raise[] */
	uint32_t raise[MK_RAISE_MAX];
	uint32_t step;   /* what `value` grows by from run to run */
};

/* "`slot` comes after `before`." */
struct mk_batch_edge {
	uint32_t slot, before;
};

/* The line beside a slot, as it is written. */
union mk_batch_line {
	struct mk_wire_ext ext;
	/* 1, which stands where others write, is what 3, the value waited
	 * for, grows by from run to run */
	uint64_t word[8];
};

/* One set of counters, and the lines that use it. */
struct mk_batch_set {
	uint64_t first, end; /* tickets of the last run; equal: there is none */
	uint64_t restarts;   /* of the context, when the counters were zeroed */
	union mk_batch_line *lines; /* count of them */
};

struct mk_batch {
	struct mk_queue *q;
	uint32_t most, count;
	uint32_t declared; /* counters that the caller names */
	uint32_t counters; /* and those that seal has added */
	uint32_t stride;   /* words from set to set */
	uint32_t runs, next;
	bool sealed;
	bool late; /* a slot has a default deadline */
	uint64_t opcodes[MK_OPCODES / 64]; /* bit set: some slot has it */
	struct mk_slot *slots;      /* as they are published */
	struct mk_batch_flow *flow; /* most of them */
	struct mk_batch_edge *edges;
	size_t edge_count, edge_room;
	mk_buffer_t buffer; /* 0: no slot has counters of the batch */
	uint64_t *zeros;    /* stride words */
	struct mk_batch_set *sets; /* runs of them */
};

/* ---- between the two files ---------------------------------------------- */

/* Turn "after" into waits and raises. (batch_seal.c) */
int mk_batch_join(struct mk_batch *b);
/* 0, or the wait that cannot be reached, with the error set. (batch_seal.c) */
int mk_batch_reachable(struct mk_batch *b);
/* What each wait grows by from run to run. (batch_seal.c) */
int mk_batch_steps(struct mk_batch *b);

/* Write the lines of a set for its first run. (batch.c) */
void mk_batch_lines(struct mk_batch *b, uint32_t set);

#endif
