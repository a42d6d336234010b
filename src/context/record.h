/* SPDX-License-Identifier: Apache-2.0 */
/* A record of evidence, and how it is put into words. */
#ifndef MK_CONTEXT_RECORD_H
#define MK_CONTEXT_RECORD_H

#include "context/context.h"

#define MK_RECORD_QUEUES 64u /* that are described; the rest is counted */
#define MK_RECORD_LOGS 8u    /* records of each queue's debug log */

enum mk_phase {
	MK_PHASE_IDLE = 0,     /* between two slots */
	MK_PHASE_RUNNING = 1,  /* a slot is in hand */
	MK_PHASE_ANSWERING = 2, /* its handler has ended, no answer yet */
	MK_PHASE_CRASHED = 3
};

/* Is it in files? */
enum mk_record_stored {
	MK_RECORD_NEW = 0,
	MK_RECORD_WITH_WRITER = 1,
	MK_RECORD_WRITTEN = 2
};

struct mk_record_worker {
	uint32_t phase; /* enum mk_phase */
	uint32_t queue, opcode, beat;
	uint64_t ticket;
	uint64_t since_ns; /* CLOCK_MONOTONIC; 0: not known */
	uint64_t fault_address;
	int32_t fault_signal, fault_code;
	uint64_t slots, failed, cancelled, sleeps, wakes;
	/* of the slot, from the caller's own copy */
	bool known;
	char handler[MK_HANDLER_NAME_BYTES];
	uint64_t user_data, deadline_ns;
	uint32_t flags;
	uint32_t args[MK_ARG_WORDS];
};

struct mk_record_queue {
	uint32_t index, entries, priority, mode;
	uint64_t head, tail, claim, unanswered;
	uint32_t logs;
	struct mk_log_entry log[MK_RECORD_LOGS]; /* oldest first */
};

struct mk_record {
	struct mk_error why;
	uint64_t number; /* of this context, from 1 */
	bool fresh;      /* of the loss that is not over yet */
	uint32_t stored; /* enum mk_record_stored */
	int unwritten; /* errno of the last try; 0: none failed */
	uint64_t again_ns; /* when to try again; CLOCK_MONOTONIC */
	struct mk_record *next; /* newer; while they wait to be written */
	uint64_t now_ns;  /* CLOCK_MONOTONIC */
	int64_t time_ns;  /* CLOCK_REALTIME */
	char engine[16], device[64];
	const char *cause; /* "crash", "hang", "death", "deadlock" */
	uint32_t isolation, recovery;
	int32_t pid;
	uint64_t restarts, launches, losses, hang_ns, grace_ns;
	uint32_t state;
	uint32_t queue_count, queues, workers;
	struct mk_record_queue queue[MK_RECORD_QUEUES];
	struct mk_record_worker worker[]; /* workers of them */
};

/* Into words: as snprintf(), returns the bytes that there are. */
size_t mk_record_text(const struct mk_record *r, char *out, size_t room);
size_t mk_record_json(const struct mk_record *r, char *out, size_t room);

/* The one or the other: enum mk_evidence_format. */
static inline size_t mk_record_put(const struct mk_record *r, uint32_t format,
				   char *out, size_t room)
{
	return format == MK_EVIDENCE_JSON ? mk_record_json(r, out, room) :
					    mk_record_text(r, out, room);
}

#endif
