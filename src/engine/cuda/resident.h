/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host side of this engine and the resident kernel share, besides
 * megakernel/abi.h: tables in device memory, and the mailbox, a page of
 * pinned host memory that no client can reach. Compiles as C11 and as CUDA.
 *
 * Tickets in here are relative to the first ticket of their queue, so that
 * they never wrap; `first` makes them whole again.
 */
#ifndef MK_CUDA_RESIDENT_H
#define MK_CUDA_RESIDENT_H

#include <megakernel/handler.h>

#include "jobs.h"

#define MKD_LANES 32u    /* of a warp; the host checks it against the device */
#define MKD_SEATS 8u     /* slots that one warp reads in one go */
#define MKD_PLACES 512u  /* queues served at once, at most */
#define MKD_ORPHANS 4u
#define MKD_FORGOTTEN (~(uint64_t)0)
#define MKD_BUSY_LIGHT 0x80000000u

/*
 * A queue that is served. Who owns a ticket: below `next` exactly one worker,
 * or one of the orphan words, until it is answered; from `next` on nobody.
 */
struct mkd_queue {
	/* what workers look at to find work; atomics */
	uint64_t next;    /* add: claim; compare-and-swap: give back */
	uint64_t hint;    /* max: one past the highest ticket seen published */
	uint32_t window;  /* tickets past the hint that are worth polling */
	uint32_t state;   /* enum mkd_queue_state */
	uint32_t heavy;   /* low half of one past the last ticket that took a
			   * whole warp; 0: none did */
	uint32_t orphans; /* of the words below, those that are taken */
	uint64_t orphan[MKD_ORPHANS]; /* ticket << 8 | seats; 0: none */
	/* line 1 */
	uint64_t fenced;  /* max: tickets below are all answered */
	uint64_t low;     /* min, when the kernel leaves: first not served */
	uint64_t skip;    /* tickets below it may be answered already */
	uint64_t first;   /* the ticket that is 0 in here */
	uint64_t slots, completions, ext, block; /* device addresses */
	/* line 2 */
	uint64_t control, observables, log, io;
	uint32_t entries, shift;
	uint32_t observable_count, log_records, io_records;
	uint32_t priority;
	uint32_t index;   /* the engine's index of the queue */
	uint32_t told;    /* flags of state that the host knows we know */
	/* line 3 */
	uint64_t jobs;    /* struct mkd_job[entries], device memory */
	uint64_t parks;   /* struct mkd_park[entries] */
	uint64_t reserved[6];
};

enum mkd_queue_state {
	MKD_FREE = 0, /* no queue here */
	MKD_OPEN = 1,
	MKD_HALT = 2, /* about to go: take nothing, keep your tickets */
	MKD_DRAIN = 3, /* goes: what waits, or was made for it, is dropped */
	/* flags */
	MKD_SHUT = 4,        /* MK_OP_SHUTDOWN ran; slots end cancelled */
	MKD_CANCEL = 8,      /* MK_MODE_CANCEL: so do they */
	MKD_CANCEL_SOME = 16 /* MK_MODE_CANCEL_SOME */
};

#define MKD_FLAGS ((uint32_t)(MKD_SHUT | MKD_CANCEL | MKD_CANCEL_SOME))

/* One worker in device memory, for the others to see. */
struct mkd_worker {
	uint32_t seen;  /* last epoch it acted on; store-release */
	uint32_t busy;  /* place + 1 while it runs what may take long; or
			 * MKD_BUSY_LIGHT */
	uint32_t place; /* its seats, while the kernel is away */
	uint32_t want;  /* spread mask, see kernel.cu; 0: no seats */
	uint64_t base;
	uint32_t count;
	uint32_t reserved[9];
};

enum mkd_order {
	MKD_HOLD = 0, /* stand still at the next slot boundary */
	MKD_RUN = 1,
	MKD_LEAVE = 2 /* save your seats and end */
};

/* What there is beside the rings. Set by who brings it, taken out by who finds
 * nothing, and then looks once more. */
enum mkd_work {
	MKD_WORK_KNOWN = 1, /* none: abi and fingerprint were compared */
	MKD_WORK_LOOK = 2,  /* jobs that may run, or made work */
	MKD_WORK_TILES = 4,
	MKD_WORK_SWEEP = 8  /* something that waits may have to end */
};

/* Orders to all workers, in device memory. */
struct mkd_state {
	uint32_t order;  /* enum mkd_order */
	uint32_t epoch;  /* add: something above or in a table changed */
	uint32_t places; /* queues lie below it */
	uint32_t work;   /* enum mkd_work */
	uint32_t exited; /* workers that have left */
	uint32_t begun;  /* number of the launch that is good for slots */
	uint32_t reserved[10];
	uint64_t clock_offset; /* CLOCK_MONOTONIC minus %globaltimer */
	uint64_t reserved1[7];
	uint16_t table[MK_OPCODES]; /* MKD_ENTRY of each opcode; 0: none */
	uint8_t takes[MK_OPCODES];  /* mkd_flow.takes */
};

/* What an opcode runs: number of the handler + 1, and its width. */
#define MKD_ENTRY(handler, width) \
	((uint16_t)((((handler) + 1u) & 0x3fffu) | (width) << 14))
#define MKD_ENTRY_HANDLER(entry) (((entry) & 0x3fffu) - 1u)
#define MKD_ENTRY_WIDTH(entry) ((uint32_t)(entry) >> 14)
#define MKD_HANDLERS_MAX 4096u

/* Handlers that the kernel has itself. */
#define MKD_OWN_FENCE 0x3ffdu
#define MKD_OWN_ROW 0x3ffcu

enum mkd_command {
	MKD_CMD_NONE = 0,
	MKD_CMD_ATTACH = 1,  /* index: place; payload: struct mkd_queue */
	MKD_CMD_DETACH = 2,  /* index: place */
	MKD_CMD_WINDOW = 3,  /* index; payload: struct mk_window */
	MKD_CMD_UNWINDOW = 4, /* index */
	MKD_CMD_TABLE = 5,   /* take mail.table; strict: wait for all */
	MKD_CMD_HOLD = 6,    /* all workers stand still */
	MKD_CMD_RUN = 7,
	MKD_CMD_LEAVE = 8
};

enum mkd_reason {
	MKD_REASON_NONE = 0, /* still here, or it died */
	MKD_REASON_IDLE = 1,
	MKD_REASON_ORDER = 2,
	MKD_REASON_ABI = 3
};

/* The mailbox. */
struct mkd_mail {
	/* host: written before seq */
	uint32_t seq;     /* host: store-release; a new command */
	uint32_t command;
	uint32_t index;
	uint32_t strict;
	/* unit 1 */
	uint64_t clock_ns; /* CLOCK_MONOTONIC, host, now and then */
	uint32_t cancel;  /* host: seq of a command to give up */
	uint32_t reserved0;
	uint64_t reserved1[4];
	/* line 1: device */
	uint32_t ack;     /* device: store-release; seq that is done */
	int32_t result;   /* of that command; before ack */
	uint32_t reason;  /* enum mkd_reason; before the kernel ends */
	uint32_t beat;    /* counts on while the monitor lives */
	uint64_t due_ns;  /* earliest deadline of a slot that waits, 0: none;
			   * before reason */
	uint64_t reserved2[5];
	/* line 2 */
	unsigned char payload[256];
	uint16_t table[MK_OPCODES];
	uint8_t takes[MK_OPCODES];
	uint64_t low[MKD_PLACES]; /* device, when it leaves: struct mkd_queue */
};

/* Settings that only speed depends on. */
struct mkd_tuning {
	uint32_t window;     /* tickets to poll in a burst */
	uint32_t floor;      /* the same when idle, light work */
	uint32_t floor_heavy;
	uint32_t batch;      /* tickets of one claim, light work */
	uint32_t patience;   /* empty polls before seats are given back */
	uint32_t nap_ns;     /* longest sleep of a scout without seats */
	uint32_t flush;      /* slots between two writes of the counters */
	uint32_t scouts;     /* workers that look for work often */
	uint32_t streak;     /* claims in a row without a look elsewhere */
};

/* The one argument of the kernel. Addresses are the device's. */
struct mkd_launch {
	uint64_t state, queues, workers, counters; /* device memory */
	uint64_t windows, scratch;
	uint64_t flow;                             /* struct mkd_flow */
	uint64_t mail, region;                     /* host memory */
	uint64_t shared_bytes;
	uint64_t idle_ns;
	uint64_t told_ns;        /* CLOCK_MONOTONIC, just before the launch */
	uint32_t workers_count;
	uint32_t warps;          /* that work, of each block */
	uint32_t window_count;
	uint32_t scratch_bytes;  /* of each worker, a multiple of 16 */
	uint32_t blocks_offset;  /* struct mk_worker_block[] in the region */
	uint32_t hold;           /* begin with MKD_HOLD */
	uint32_t last_seq;       /* commands up to it are done */
	uint32_t pending;        /* another one waits: before the first slot */
	uint32_t number;         /* of this launch */
	uint32_t go;             /* workers need not wait for the monitor */
	uint32_t silent;         /* workers do not say what they run */
	uint32_t reserved;
	struct mkd_tuning tuning;
};

MK_ASSERT_SIZE(struct mkd_queue, 256);
/* read in units of 16 bytes: mkd_task() */
MK_ASSERT_AT(struct mkd_queue, ext, 112);
MK_ASSERT_AT(struct mkd_queue, control, 128);
MK_ASSERT_AT(struct mkd_queue, log, 144);
MK_ASSERT_AT(struct mkd_queue, entries, 160);
MK_ASSERT_AT(struct mkd_queue, log_records, 172);
MK_ASSERT_SIZE(struct mkd_worker, 64);
MK_ASSERT_AT(struct mkd_state, clock_offset, 64);
MK_ASSERT_AT(struct mkd_state, table, 128);
MK_ASSERT_SIZE(struct mkd_state, 128 + 3 * MK_OPCODES);
MK_ASSERT_AT(struct mkd_mail, clock_ns, 16);
MK_ASSERT_AT(struct mkd_mail, ack, 64);
MK_ASSERT_AT(struct mkd_mail, payload, 128);
MK_ASSERT_SIZE(struct mkd_launch, 184);

#endif
