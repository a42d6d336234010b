/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file stats.h
 * What happened, in numbers. Part of megakernel.h, which includes it; its
 * conventions hold.
 */
#ifndef MEGAKERNEL_STATS_H
#define MEGAKERNEL_STATS_H

#include <megakernel.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Counts of a context over all its queues and workers, as they happened. */
/* What a recovery is made of. */
enum mk_stage {
	MK_STAGE_GONE,    /* until the old process was gone altogether */
	MK_STAGE_DELAY,   /* until the last try began: the budget's delay,
			   * tries that failed, and the wait for a processor */
	MK_STAGE_START,   /* the new process, its engine, its device */
	MK_STAGE_BUFFERS, /* attached, and their content written back */
	MK_STAGE_MODULES,
	MK_STAGE_QUEUES,  /* attached, and open again */
	MK_STAGES
};

struct mk_ctx_stats {
	uint64_t slots;       /* answered by the engine */
	uint64_t failed;      /* of these, with a negative result */
	uint64_t cancelled;   /* of these, ended without being run */
	uint64_t sleeps;      /* times a worker slept */
	uint64_t wakes;       /* workers woken by the host */
	uint64_t wakes_engine; /* workers woken by other workers */
	uint64_t launches;    /* starts of the resident kernel or threads */
	uint64_t restarts;    /* of the worker process that succeeded */
	uint64_t commands;    /* messages to the worker process */
	uint64_t spawned;     /* pieces of work that handlers made */
	uint64_t spawned_ended; /* of these, that have ended */
	uint64_t tiles;       /* run, of slots of more than one */
	uint64_t by_tenant[MK_TENANTS];
	uint64_t by_priority[MK_PRIORITIES];
	uint64_t by_opcode[MK_OPCODES];

	/* what was lost, and what became of it */
	uint64_t losses;      /* of device or worker process; by cause: */
	uint64_t crashes;     /* a handler crashed */
	uint64_t hangs;       /* a slot made no progress, or the process did
			       * not answer a command */
	uint64_t deaths;      /* anything else: killed, device error, ... */
	uint64_t restarts_failed; /* tries */
	uint64_t replayed;    /* slots in flight that were left to run: not
			       * begun, or MK_SLOT_IDEMPOTENT */
	uint64_t faulted;     /* ended by the host with -MK_EFAULT, */
	uint64_t hung;        /* -MK_EHUNG, */
	uint64_t overrun;     /* -MK_EOVERRUN, */
	uint64_t may_run;     /* -MK_EMAYRUN, */
	uint64_t not_run;     /* -MK_ENOTRUN, */
	uint64_t poisoned;    /* -MK_EPOISON */
	uint64_t lost_ns;     /* CLOCK_MONOTONIC when the last loss was
			       * noticed; 0: there was none */
	uint64_t hung_ns;     /* CLOCK_MONOTONIC when a slot, or a process that
			       * a command waits for, was last found to make
			       * no progress; 0: there was none */
	uint64_t recovered_ns; /* when the last loss was over, if it is */
	uint64_t recovery_last_ns; /* from noticing to being over */
	uint64_t recovery_max_ns;
	uint64_t recovery_stage_ns[MK_STAGES]; /* of the last one: what took
						* how long */
};

/** Thread-safe; reads shared memory, no system call. */
MK_API int mk_ctx_stats(struct mk_ctx *ctx, struct mk_ctx_stats *out);

/** Counts of a queue; submitted = ok + failed + ready + in_flight. */
struct mk_queue_stats {
	uint64_t submitted;   /* slots published */
	uint64_t ok;          /* reaped with a result >= 0 */
	uint64_t failed;      /* reaped with a negative result, in all; below by
			       * ending */
	uint64_t faulted;     /* -MK_EFAULT, -MK_EHUNG */
	uint64_t bad_opcode;  /* -MK_EOPCODE */
	uint64_t bad_args;    /* -MK_EARGS, -MK_ERANGE, -MK_ESTALE,
			       * -MK_EFOREIGN, -MK_EACCESS, -MK_EVOLATILE */
	uint64_t expired;     /* -MK_EDEADLINE, -MK_EOVERRUN */
	uint64_t cancelled;   /* -MK_ECANCELLED */
	uint64_t lost;        /* -MK_ENOTRUN, -MK_EMAYRUN, -MK_EPOISON */
	uint64_t upstream;    /* -MK_EUPSTREAM */
	uint64_t deadlocked;  /* -EDEADLK */
	uint64_t other;       /* any other code of a handler's own */
	uint64_t ready;       /* answered, not yet advanced */
	uint64_t in_flight;   /* published, no answer yet */
	uint64_t got;         /* got, not yet published */
	uint64_t full;        /* get found no room */
	uint64_t doorbells;   /* system calls to wake a worker */
	uint64_t waits;       /* times a waiter slept */
	uint64_t in_flight_high; /* most slots ever between get and advance */
	uint64_t event_signals;  /* event fd re-armed */

	/* parts of the above */
	uint64_t hung;        /* of faulted: -MK_EHUNG */
	uint64_t overrun;     /* of expired: -MK_EOVERRUN */
	uint64_t not_run;     /* of lost: -MK_ENOTRUN */
	uint64_t may_run;     /* of lost: -MK_EMAYRUN */
	uint64_t poisoned;    /* of lost: -MK_EPOISON */
};

/** To be called by the thread that reaps; reads shared memory. */
MK_API int mk_queue_stats(struct mk_queue *q, struct mk_queue_stats *out);

#ifdef __cplusplus
}
#endif
#endif
