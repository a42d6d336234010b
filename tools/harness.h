/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures how fast something runs no-ops: the same code for us and for every
 * peer. One no-op is handed over by the submitting thread, executed by another
 * thread, and its end is observed by the submitting thread.
 *
 * Round trip at depth d: d no-ops are out at any time; each is timed from
 * just before it is submitted until it is seen to have ended. Percentiles are
 * taken from the whole sorted sample.
 *
 * Streaming: up to HARNESS_WINDOW no-ops are out, submitted and collected in
 * batches; the median of some rounds.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "bench_rows.h"

#ifdef __cplusplus
extern "C" {
#endif

#define HARNESS_DEPTHS 3u
#define HARNESS_WINDOW 1024u
#define HARNESS_BATCH 64u
#define HARNESS_ROUNDS_MAX 9u
#define HARNESS_SPIN_NS 20000u /* every observer spins this long first */

extern const unsigned harness_depth[HARNESS_DEPTHS];

/* What is measured. Tags name no-ops and are below HARNESS_WINDOW. */
struct subject {
	const char *name;
	/* Set up with so many workers, call body(state, arg) in the thread
	 * that is to submit, tear down. 0 or -1 with a message printed. */
	int (*run)(const struct subject *s, unsigned workers,
		   void (*body)(void *state, void *arg), void *arg);
	void (*submit)(void *state, const uint32_t *tags, unsigned n);
	/* Wait for one at least; the tags of those that ended, max at most */
	unsigned (*reap)(void *state, uint32_t *tags, unsigned max);
	const void *options; /* the subject's own */
};

struct harness_latency {
	unsigned depth;
	uint64_t n, p50_ns, p99_ns, p999_ns, max_ns;
	uint64_t curve_ns[BENCH_CURVE];
};

struct harness_streaming {
	unsigned rounds;
	uint64_t n; /* no-ops a round */
	double per_second, lowest, highest; /* median of the rounds first */
	uint64_t helped; /* of all, executed by the submitter itself */
};

struct harness_result {
	char name[48];
	struct harness_latency latency[HARNESS_DEPTHS];
	struct harness_streaming streaming;
};

/* 0 or -1 with a message printed. */
int harness_measure(const struct subject *s, unsigned workers, bool quick,
		    struct harness_result *out);

json_t *harness_to_json(const struct harness_result *r);
/* 0, or -1 if a field is missing. */
int harness_from_json(const json_t *from, struct harness_result *out);

/* The body of a no-op in a peer: tells that it ended. */
void harness_noop(uint32_t *done);

uint64_t harness_now_ns(void);

/*
 * For peers without a completion queue: a flag for each tag, and the order in
 * which they were submitted. The submitter looks at the oldest.
 */
struct harness_flags {
	uint32_t done[HARNESS_WINDOW];
	uint32_t order[HARNESS_WINDOW];
	uint64_t head, tail; /* the submitter's */
};

void harness_flags_push(struct harness_flags *f, uint32_t tag);
/* Tags that ended, oldest first, without waiting. */
unsigned harness_flags_take(struct harness_flags *f, uint32_t *tags,
			    unsigned max);
/* The same, waiting for one: spins, then yields its core; 0 after `ns`. */
unsigned harness_flags_wait_for(struct harness_flags *f, uint32_t *tags,
				unsigned max, uint64_t ns);
/* The same, however long it takes. */
unsigned harness_flags_wait(struct harness_flags *f, uint32_t *tags,
			    unsigned max);

#ifdef __cplusplus
}
#endif
#endif
