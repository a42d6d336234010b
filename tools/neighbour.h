/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of `megakernel neighbour`. Every mode runs in a process of its
 * own, the same program once more, which sends what it sees through a pipe,
 * one record after the other: a call that never comes back costs the rest of
 * its process and no more.
 */
#ifndef NEIGHBOUR_H
#define NEIGHBOUR_H

#include "cli.h"
#include "cuda_calls.h"

#define NEIGHBOUR_CALLS 15u
#define NEIGHBOUR_SHARES 10u

enum neighbour_mode {
	NEIGHBOUR_ALONE,    /* no resident kernel: what the call takes itself */
	NEIGHBOUR_RESIDENT, /* isolation none, as it comes */
	NEIGHBOUR_QUIESCE,  /* isolation none, mk_ctx_quiesce() around it */
	NEIGHBOUR_PARK,     /* isolation none, the kernel parks when idle */
	NEIGHBOUR_PROCESS,  /* isolation process */
	NEIGHBOUR_MODES
};

struct neighbour_options {
	uint32_t device, sm_count, workers;
	uint64_t bound_ns; /* a call may take so much longer than alone */
	uint64_t watch_ns; /* and is blocked, in the mode resident, after */
	uint64_t park_ns;  /* idle_ns of the mode park */
	bool mode[NEIGHBOUR_MODES];
	bool json, no_share, no_calls;
};

/* What became of one call. */
enum neighbour_end {
	NEIGHBOUR_MISSING = 0, /* not run, or its process died */
	NEIGHBOUR_RETURNED,
	NEIGHBOUR_FREED,       /* it hung until the kernel was quiesced */
	NEIGHBOUR_STUCK        /* it hung on */
};

struct neighbour_call {
	uint32_t call;         /* index */
	uint32_t end;          /* enum neighbour_end */
	int32_t result;        /* of the driver */
	int32_t quiesce;       /* of mk_ctx_quiesce(), where it was called */
	uint64_t call_ns;      /* the call itself */
	uint64_t quiesce_ns, resume_ns;
	uint64_t after_ns;     /* FREED: from quiesced to returned */
	uint64_t slot_ns;      /* round trip of a slot afterwards; 0: none */
};

/* Ordinary work, by what it takes of the device. */
enum neighbour_work {
	NEIGHBOUR_WAVE,   /* blocks that fill it exactly once, arithmetic */
	NEIGHBOUR_WAVES,  /* ten times as many */
	NEIGHBOUR_MEMORY, /* copies device memory */
	NEIGHBOUR_WORKS
};

struct neighbour_work_share {
	double alone, beside; /* kernels a second, medians of the turns */
	double least, most;   /* beside / alone of a turn */
};

/* Ordinary work beside a kernel that waits for slots, in turns with and
 * without it. */
struct neighbour_share {
	uint32_t share;        /* index */
	uint32_t done;
	uint32_t sm_count, workers, turns, reserved;
	struct neighbour_work_share work[NEIGHBOUR_WORKS];
	uint64_t slots, p50_ns, p99_ns, p999_ns, max_ns;
};

struct neighbour_report {
	char device[64];
	uint32_t multiprocessors;
	struct neighbour_call call[NEIGHBOUR_MODES][NEIGHBOUR_CALLS];
	struct neighbour_share share[NEIGHBOUR_SHARES];
};

/* What a process sends. */
struct neighbour_record {
	uint32_t kind; /* 0: device; 1: call; 2: share */
	uint32_t multiprocessors;
	union {
		char device[64];
		struct neighbour_call call;
		struct neighbour_share share;
	};
};

/* ---- neighbour_cuda.c: the driver, for the work beside us -------------- */

/* A process's CUDA work: everything made before a kernel is resident. */
struct neighbour_cuda {
	struct cuda_calls d;
	CUcontext ctx;
	int multiprocessors;
	char device[64];
	void *image;           /* of a module, to load once more */
	CUmodule module, lazy; /* lazy: nothing of it was used yet */
	CUfunction null, shared, work, copy, flag;
	CUstream stream, flag_stream;
	CUgraphExec graph;
	CUdeviceptr memory, to_free;
	CUdeviceptr large;     /* NEIGHBOUR_LARGE; for copies within it */
	void *pinned, *pinned_to_free;
	unsigned char *pageable;
};

#define NEIGHBOUR_BYTES (1u << 20)
#define NEIGHBOUR_LARGE (512u << 20)

/* 0, or -1 with a message printed. */
int neighbour_cuda_open(struct neighbour_cuda *c, uint32_t device);

/* Launch a kernel of ordinary work. */
CUresult neighbour_cuda_work(struct neighbour_cuda *c, unsigned work);

/* Let a kernel of so many blocks of a warp read one flag of pinned memory, or
 * with 0 end it. */
CUresult neighbour_cuda_flag(struct neighbour_cuda *c, unsigned blocks);

/* The calls of the table; `number` is below NEIGHBOUR_CALLS. */
CUresult neighbour_cuda_call(struct neighbour_cuda *c, unsigned number);
const char *neighbour_call_name(unsigned number);

/* ---- neighbour_nvrtc.c --------------------------------------------------- */

/* A cubin, for free(3); NULL with a message printed. */
void *neighbour_compile(const char *source, int major, int minor);

/* ---- neighbour_calls.c, neighbour_share.c: what a process does --------- */

/* Run the calls from `first` on, and send a record for each. Returns the exit
 * status of the process. */
int neighbour_run_calls(const struct neighbour_options *o,
			enum neighbour_mode mode, unsigned first, int fd);

/* Measure one share, and send its record. */
int neighbour_run_share(const struct neighbour_options *o, unsigned number,
			int fd);
const char *neighbour_share_name(unsigned number);

/* A context of a mode; 0, or -1 with a message printed. */
int neighbour_ctx(const struct neighbour_options *o, enum neighbour_mode mode,
		  struct mk_ctx **out);

int neighbour_send(int fd, const struct neighbour_record *r);
int neighbour_send_device(int fd, const struct neighbour_cuda *c);

/* ---- neighbour_print.c ------------------------------------------------- */

const char *neighbour_mode_name(enum neighbour_mode mode);

/* Did the call keep within the bound? True for what was not run. */
bool neighbour_kept(const struct neighbour_options *o,
		    const struct neighbour_report *r, enum neighbour_mode mode,
		    unsigned call);

/* What the library did about the call, in words. */
void neighbour_words(const struct neighbour_options *o,
		     enum neighbour_mode mode, const struct neighbour_call *c,
		     char *text, size_t room);

void neighbour_print_table(const struct neighbour_options *o,
			   const struct neighbour_report *r);
int neighbour_print_json(const struct neighbour_options *o,
			 const struct neighbour_report *r, bool kept);

#endif
