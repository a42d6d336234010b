/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What flows: slots that wait, have tiles or were continued, and the work that
 * handlers made. Structures of the CPU engine, in its own memory; all of it is
 * valid when zeroed.
 *
 * A slot that needs more than its ring gets its job: one for each entry of the
 * ring, since an entry is not used again before its answer was reaped. Made
 * work lies in the rings of homes, one home a worker. Nobody blocks here.
 */
#ifndef MK_ENGINE_CPU_JOBS_H
#define MK_ENGINE_CPU_JOBS_H

#include <stdalign.h>

#include "engine/engine.h"

struct cpu_queue;
struct cpu_job;

/* A piece of made work: in a place of a ring, in a job, or in a hand. */
struct cpu_made {
	uint16_t opcode;
	uint16_t reserved;
	uint32_t stamp;       /* of a place: twice the lap, odd: there is one;
			       * store-release */
	struct cpu_job *root; /* the slot that it belongs to */
	alignas(16) uint32_t args[MK_ARG_WORDS];
};

/* What is waited for. */
struct cpu_wait {
	struct mk_ref counter;
	uint64_t value;
	uint32_t word;
	bool on;              /* false: nothing */
};

enum cpu_job_state {
	CPU_JOB_NONE = 0,
	CPU_JOB_JOINS = 1,    /* its handler runs or has ended; others may
			       * not have */
	CPU_JOB_WAITS = 2,    /* run.opcode will run; in a bucket */
	CPU_JOB_READY = 3,    /* run.opcode will run; in a home's list */
	CPU_JOB_TILES = 4     /* tiles of run.opcode may be left */
};

struct cpu_job {
	/* who it is; written before anybody else can know it */
	uint64_t ticket;
	uint64_t header;      /* unit[0].lo of its wire slot, as copied */
	uint64_t deadline_ns;
	struct cpu_queue *queue;
	struct cpu_job *root; /* a parked piece of made work: its slot's job;
			       * else itself */
	uint32_t home;        /* a parked piece's: where its room is */
	uint32_t state;       /* enum cpu_job_state; relaxed, for who looks
			       * when no worker runs */
	struct cpu_job *next; /* in a list; its owner's */
	uint32_t *told;       /* the slot's begun word, while that says that it
			       * waits; NULL: it does not */
	/* the join */
	alignas(64) uint32_t pending; /* pieces that have not ended; sub-seq */
	int32_t failure;      /* the first negative result of one; cas-seq */
	int32_t result;       /* its handler's, or that of the tile which
			       * mk_tile_last() was true for */
	bool settled;         /* there was such a tile, or no tiles */
	bool begun;           /* its handler ran before */
	uint32_t tiled;       /* a tile ran; relaxed, ordered by the join */
	uint64_t value;
	/* of whatever tile ended late, if there was none; relaxed */
	uint64_t late_value;
	int32_t late_result;
	uint64_t tiles;       /* count << 32 | next to take; add-seq */
	struct mk_tile_join join;
	/* what it will run, and when */
	alignas(64) struct cpu_wait wait;
	alignas(64) struct cpu_made run;
};

/*
 * Where work lies that may run, one a worker. `live` counts pieces of made
 * work that have not ended, in the ring, parked or in a hand: one that is put
 * back always finds its place.
 */
struct cpu_home {
	alignas(64) uint64_t tail; /* ticket of the next put; add-seq */
	alignas(64) uint64_t head; /* ticket of the next taken; add-seq */
	alignas(64) int64_t items; /* put and not taken; below 0 for moments;
				    * add-seq: Dekker with who falls asleep */
	alignas(64) uint64_t live; /* add-seq */
	/* lists: pushed by cas-seq, taken whole by exchange-seq */
	alignas(64) struct cpu_job *ready; /* to be looked at now */
	struct cpu_job *later;     /* after all others */
};

#define CPU_SHARES 64u     /* slots whose tiles others may take */
#define CPU_BUCKETS 1024u

struct cpu_flow {
	uint32_t homes;
	uint32_t mode;     /* enum mk_made_mode */
	uint32_t entries;  /* of each home's ring; power of two */
	uint32_t shift;    /* log2 of it */
	struct cpu_home *home;
	struct cpu_made *places;  /* [homes * entries] */
	struct cpu_job *parked;   /* [homes * entries]: made work that waits */
	uint64_t bytes;           /* of places and parked, mapped */
	struct cpu_job **buckets; /* [CPU_BUCKETS] of jobs that wait */
	struct cpu_job *free_parked;
	uint64_t fresh_parked;    /* from here on never used; cas-seq */
	uint64_t active;   /* jobs in use: is there anything? add-seq */
	uint32_t waiting;  /* jobs in buckets; add-seq: Dekker with a raise */
	uint32_t sweep;    /* sweeps wanted; add-seq */
	uint32_t swept;    /* of these, begun; cas-seq */
	uint64_t swept_ns; /* the last one; cas-relaxed */
	struct cpu_job *shares[CPU_SHARES]; /* cas-seq */
	uint8_t takes[MK_OPCODES]; /* argument bytes + 1 of what can be made;
				    * 0: it cannot; relaxed */
};

/* -ENOMEM, nothing recorded. */
int cpu_jobs_init(struct cpu_flow *f, uint32_t homes, uint32_t mode,
		  uint32_t entries);
void cpu_jobs_fini(struct cpu_flow *f);

/* ---- lists: who pushes owns the jobs, and gives them away --------------- */

void cpu_list_push(struct cpu_job **list, struct cpu_job *job);
struct cpu_job *cpu_list_take_all(struct cpu_job **list);
/* Take one; the others go to `rest`, which may be the same list. */
struct cpu_job *cpu_list_take(struct cpu_job **from, struct cpu_job **rest);
/* What was to run later may run now, oldest first. */
void cpu_home_turn(struct cpu_home *h);

/* ---- rings of made work ------------------------------------------------- */

/* Room for one more piece? It is ours until cpu_home_release(). */
bool cpu_home_reserve(struct cpu_flow *f, struct cpu_home *h);
void cpu_home_release(struct cpu_home *h, uint32_t n);
/* Put one for which there is room. */
void cpu_home_put(struct cpu_flow *f, struct cpu_home *h,
		  const struct cpu_made *made);
bool cpu_home_has(const struct cpu_home *h);
/* Take up to n; how many. */
unsigned cpu_home_take(struct cpu_flow *f, struct cpu_home *h,
		       struct cpu_made *to, unsigned n);

/* ---- waits -------------------------------------------------------------- */

/* 0: not yet; 1: reached, or nothing is waited for; negative: why it never
 * will be. Leaves task->error alone. */
int32_t cpu_wait_look(struct mk_task *task, const struct cpu_wait *wait);

/* Is there another reason to look at a job that waits? With the engine. */
typedef bool (*cpu_over_fn)(const struct cpu_job *job, uint64_t now_ns);

/*
 * The job waits for job->wait, then runs job->run. It is no longer ours, and
 * may be in the home's list `ready` by now. How many are ready.
 */
unsigned cpu_wait_park(struct mk_task *task, struct cpu_flow *f,
		       struct cpu_home *h, struct cpu_job *job);

/* Why it cannot be raised, or 0. */
int32_t cpu_counter_check(struct mk_task *task, struct mk_ref ref,
			  uint32_t word);

/* Raise a counter. Who waits for a value that it passes becomes ready; *ready
 * counts them. Negative: why there is no such counter. */
int32_t cpu_counter_raise(struct mk_task *task, struct cpu_flow *f,
			  struct cpu_home *h, struct mk_ref ref,
			  uint32_t word, uint64_t n, bool failed,
			  unsigned *ready);

/* Look at everything that waits: for what no raise tells. */
unsigned cpu_wait_sweep(struct mk_task *task, struct cpu_flow *f,
			struct cpu_home *h, cpu_over_fn over, uint64_t now_ns);

/* ---- jobs --------------------------------------------------------------- */

/* One for made work that waits: there is one for each that has room. */
struct cpu_job *cpu_job_park(struct cpu_flow *f);
void cpu_job_unpark(struct cpu_flow *f, struct cpu_job *job);

/* A piece failed. The first one counts. */
void cpu_job_fail(struct cpu_job *job, int32_t result);
/* n pieces have ended. True: they were the last; the answer is ours. */
bool cpu_job_join(struct cpu_job *job, uint32_t n);

/* Take a tile. A job that has begun another life gives none, or one that is
 * as good. */
bool cpu_tile_take(struct cpu_job *job, uint32_t *tile, uint32_t *count);
/* Let others take tiles of a job. False: no room in the table. */
bool cpu_tile_share(struct cpu_flow *f, struct cpu_job *job, uint32_t count);
void cpu_tile_unshare(struct cpu_flow *f, struct cpu_job *job);

#endif
