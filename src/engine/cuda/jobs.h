/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel keeps of work that flows, in device memory: slots that wait,
 * have tiles, go on or have made more work, and the work that was made. All of
 * it is valid when zeroed, and stays when the kernel leaves. Compiles as C11
 * and as CUDA.
 */
#ifndef MK_CUDA_JOBS_H
#define MK_CUDA_JOBS_H

#include <megakernel/handler.h>

/* A piece of made work, in its place of a home's ring; or what a job runs. */
struct mkd_made {
	uint16_t opcode;
	uint8_t priority;
	uint8_t flags;
	uint32_t stamp; /* of a place: twice the lap, odd: there is one */
	uint64_t job;   /* struct mkd_job: the slot that it belongs to */
	uint32_t args[MK_ARG_WORDS];
};

/* What is waited for. */
struct mkd_wait_for {
	struct mk_ref counter;
	uint64_t value;
	uint32_t word;
	uint32_t on; /* 0: nothing */
};

/*
 * What a slot that flows has beside its ring: one for each entry of the ring,
 * as an entry is not used again before its answer was reaped. And one for each
 * piece of made work that goes on: `root` is then the slot's.
 */
struct mkd_job {
	/* line 0: who it is; written by who opens it */
	uint64_t open;        /* ticket + 1 when it is; MKD_PARKED */
	uint64_t header;      /* unit[0].lo of its wire slot */
	uint64_t deadline_ns;
	uint64_t queue;       /* struct mkd_queue */
	struct mk_tile_join join;
	uint64_t reserved0;
	/* line 1: the join */
	uint32_t pending;     /* pieces of work that have not ended */
	int32_t failure;      /* the first negative result of one */
	int32_t result;       /* of its own handler, or its last tile */
	uint32_t flags;       /* enum mkd_job_flags; or-ed */
	uint64_t value;
	uint64_t tiles;       /* count << 32 | next to take */
	uint64_t next;        /* struct mkd_job: in the same list */
	uint64_t reserved1;
	/* in one read */
	uint32_t members;     /* slots that wait with it, by seat; bit 0: it */
	uint32_t home;        /* made work: where its credit is */
	uint64_t ticket;      /* relative, of a slot that waits unrun */
	/* line 2 */
	struct mkd_wait_for wait;
	struct mkd_job *root; /* the slot's; else itself */
	uint64_t reserved2[4];
	/* line 3 */
	struct mkd_made run;  /* its handler, or the next */
};

/* mkd_job.open of a slot that waits and has not begun: what was read of it is
 * in its struct mkd_park. */
#define MKD_PARKED (~(uint64_t)0)

enum mkd_job_flags {
	MKD_JOB_ENDED = 1, /* a tile that mk_tile_last() was true for ended */
	MKD_JOB_RUNS = 2   /* what `run` says is still to run */
};

/* A slot that waits as it was read, with what it has beside the ring. */
struct mkd_park {
	uint32_t slot[16];
	uint32_t ext[16];
};

/*
 * Where work lies that may run: of some of the workers. The ring takes
 * `entries` pieces of made work. `live` counts those that have not ended, in
 * the ring or in a worker's hand: one that is put back always finds its place.
 */
struct mkd_home {
	uint64_t tail;  /* ticket of the next put; add */
	uint64_t pad0[7];
	uint64_t head;  /* ticket of the next taken; add */
	uint64_t pad1[7];
	uint64_t items; /* put and not taken, signed; below 0 for moments */
	uint64_t pad2[7];
	uint64_t live;  /* add */
	uint64_t pad3[7];
	uint64_t ready; /* struct mkd_job: to be looked at now */
	uint64_t later; /* struct mkd_job: after all others */
	uint64_t pad4[6];
};

#define MKD_SHARES 64u     /* slots whose tiles others may take */
#define MKD_BUCKETS 65536u /* far more than wait at a time: who raises a counter
			    * takes all that fell into a value's bucket */
#define MKD_HOMES_MAX 32u

/* The flowing work of a context: what the host says of it, which stays. */
struct mkd_flow_head {
	uint32_t homes;
	uint32_t dealt;   /* MK_MADE_FIXED: a home's work is for its workers */
	uint32_t entries; /* of each home; power of two */
	uint32_t shift;   /* log2 of it */
	struct mkd_home *home;
	struct mkd_made *places; /* [homes * entries] */
	struct mkd_job *parked;  /* [homes * entries]: made work that goes on */
	const uint8_t *takes;    /* [MK_OPCODES]: argument bytes + 1; 0: such
				  * work cannot be made; relaxed */
};

struct mkd_flow {
	struct mkd_flow_head is;
	uint64_t free_parked;  /* struct mkd_job */
	uint64_t fresh_parked; /* those from here on were never used; CAS */
	uint32_t waiting; /* nodes in buckets; add */
	uint32_t reserved;
	uint64_t due;     /* complement of the earliest deadline of what waits,
			   * max; 0: none */
	uint64_t shares[MKD_SHARES];  /* struct mkd_job */
	uint64_t bucket[MKD_BUCKETS]; /* struct mkd_job */
};

MK_ASSERT_SIZE(struct mkd_made, 64);
MK_ASSERT_SIZE(struct mkd_job, 256);
MK_ASSERT_AT(struct mkd_job, pending, 64);
MK_ASSERT_AT(struct mkd_job, members, 112);
MK_ASSERT_AT(struct mkd_job, wait, 128);
MK_ASSERT_AT(struct mkd_job, run, 192);
MK_ASSERT_SIZE(struct mkd_park, 128);
MK_ASSERT_SIZE(struct mkd_home, 320);

#endif
