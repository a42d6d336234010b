/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of `megakernel chaos`.
 *
 * Threads of the workload keep queues busy with slots whose every answer can
 * be checked. The main thread injects one fault after the other, as the seed
 * says, and waits after each until good answers come again. What is counted:
 *
 *   lost    submitted, and never answered
 *   twice   answered twice, or run twice without MK_SLOT_IDEMPOTENT
 *   wrong   another answer than the one there is, or an ending that says
 *           something untrue ("did not run", and it did)
 */
#ifndef CHAOS_H
#define CHAOS_H

#include <pthread.h>

#include <megakernel/io.h>
#include <megakernel/stream.h>

#include "cli.h"

/* ---- faults (chaos_plan.c) --------------------------------------------- */

enum chaos_kind {
	CHAOS_CRASH,       /* in a handler: */
	CHAOS_ILLEGAL,
	CHAOS_ABORT,
	CHAOS_TRAP,
	CHAOS_DIVIDE,
	CHAOS_EXIT,
	CHAOS_OVERFLOW,
	CHAOS_SCRIBBLE,
	CHAOS_HANG,
	CHAOS_POLL,
	CHAOS_SIGKILL,     /* to the worker process: */
	CHAOS_SIGSTOP,
	CHAOS_STALL,
	CHAOS_CALLER,      /* around it: */
	CHAOS_MEMORY,
	CHAOS_DESCRIPTORS,
	CHAOS_RESTART,
	CHAOS_CACHE,
	CHAOS_SOCKET,
	CHAOS_CLOCK,
	CHAOS_KINDS
};

enum chaos_kind_flags {
	CHAOS_CPU_ONLY = 1,     /* what the engine cuda has no such thing of */
	CHAOS_PROCESS_ONLY = 2, /* would take this program with it */
	CHAOS_HANDLER = 4,      /* injected by a handler of this name */
	CHAOS_HARMLESS = 8      /* nothing needs to be lost by it */
};

struct chaos_kind_info {
	const char *name;
	const char *what;
	unsigned weight; /* how often beside the others */
	unsigned flags;
};

extern const struct chaos_kind_info chaos_kinds[CHAOS_KINDS];

/* One fault as the seed has it. */
struct chaos_fault {
	enum chaos_kind kind;
	bool idempotent; /* a handler's slot: it may run again */
	bool again;      /* the next worker is killed too, at once */
	uint64_t noise;  /* for whatever else is to be chosen */
};

struct chaos_plan {
	uint64_t seed;
	const char *left_out[CHAOS_KINDS]; /* why; NULL: it takes part */
	unsigned weights; /* of those that take part */
};

/* Fault number i; the same for the same plan. */
struct chaos_fault chaos_plan_fault(const struct chaos_plan *p, uint64_t i);

/* A number that stands for the first n faults. */
uint64_t chaos_plan_digest(const struct chaos_plan *p, uint64_t n);

/* Leave kinds out that make no sense here, or that are not in the list of
 * names (NULL: all). -1, printed: a name that is none, or nothing remains. */
int chaos_plan_init(struct chaos_plan *p, uint64_t seed, bool cpu,
		    bool process, const char *names);

/* Well mixed bits of x. */
uint64_t chaos_mix(uint64_t x);

/* ---- times ------------------------------------------------------------- */

struct chaos_times {
	uint64_t *ns;
	uint64_t count, room;
	bool sorted;
};

void chaos_times_add(struct chaos_times *t, uint64_t ns);
/* Sorts. q in 0..1; 0 if there is none. */
uint64_t chaos_times_at(struct chaos_times *t, double q);
void chaos_times_free(struct chaos_times *t);

/* The same as JSON. (chaos_print.c) */
json_t *chaos_times_json(struct chaos_times *t);

/* What a recovery is made of: until the fault is noticed, then what the
 * library says (enum mk_stage), then until the first good answer. */
enum chaos_stage {
	CHAOS_NOTICED,
	CHAOS_ENGINE,
	CHAOS_ANSWERED = CHAOS_ENGINE + MK_STAGES,
	CHAOS_STAGES
};

#define CHAOS_SLOWEST 5u

struct chaos_slow {
	enum chaos_kind kind;
	uint64_t at_ns, good_ns;
	uint64_t stage_ns[CHAOS_STAGES];
};

/* Of deaths whose recovery nothing was meant to hinder. */
struct chaos_stages {
	struct chaos_times times[CHAOS_STAGES];
	struct chaos_slow slow[CHAOS_SLOWEST];
};

/* ---- the workload (chaos_check.c, chaos_work.c, chaos_row.c) ------------ */

/* What a slot does, and so how its answer is checked. */
enum chaos_work {
	CHAOS_MIX,   /* a keyed sum over bytes of the table: no effect */
	CHAOS_TWIST, /* a function of the arguments, of the second module */
	CHAOS_MARK,  /* adds 1 to a word of its own */
	CHAOS_LATE,  /* the same, with a deadline that has passed */
	CHAOS_ECHO,  /* MK_OP_NOP */
	CHAOS_STALE, /* the sum, over a buffer that never was */
	CHAOS_WORKS
};

enum chaos_ending {
	CHAOS_END_OK,
	CHAOS_END_FAULT,    /* -MK_EFAULT */
	CHAOS_END_HUNG,     /* -MK_EHUNG */
	CHAOS_END_DEADLINE, /* -MK_EDEADLINE */
	CHAOS_END_OVERRUN,  /* -MK_EOVERRUN */
	CHAOS_END_CANCELLED,
	CHAOS_END_NOT_RUN,
	CHAOS_END_MAY_RUN,
	CHAOS_END_POISON,
	CHAOS_END_REFUSED,  /* a handle or an argument, as it should */
	CHAOS_END_UPSTREAM, /* -MK_EUPSTREAM */
	CHAOS_END_DEADLOCK, /* -EDEADLK */
	CHAOS_END_OTHER,
	CHAOS_ENDINGS
};

extern const char *const chaos_ending_name[CHAOS_ENDINGS];
enum chaos_ending chaos_ending_of(int32_t result);

/* A slot that is out. One thread takes it, one gives it back. */
struct chaos_record {
	uint32_t out;        /* release / acquire: who has it */
	uint32_t generation; /* grows with each use */
	enum chaos_work work;
	bool idempotent;
	uint64_t expected;   /* value, where the result is MK_OK */
};

struct chaos_tally {
	uint64_t submitted;
	uint64_t ending[CHAOS_ENDINGS];
	uint64_t lost, twice, wrong;
};

void chaos_tally_add(struct chaos_tally *to, const struct chaos_tally *from);

/*
 * Compare an answer with what was asked. `effect` is how often the slot's word
 * was added to. Counts the ending, and what is wrong with it; `why` then says
 * so in words and false is returned.
 */
bool chaos_check(struct chaos_tally *t, const struct chaos_record *r,
		 const struct mk_completion *c, uint64_t effect, char *why,
		 size_t room);

#define CHAOS_TABLE_BYTES 16384u
#define CHAOS_TABLE_READ 256u /* at most, by one slot */

/* What the handlers compute. */
uint64_t chaos_model_mix(const unsigned char *table, uint32_t offset,
			 uint32_t bytes, uint64_t key);
uint64_t chaos_model_twist(uint64_t a, uint64_t b);
uint64_t chaos_model_mark(uint64_t key);

/* The handlers themselves: source text for every engine. */
extern const char chaos_work_source[];
extern const char chaos_twist_source[];
extern const char chaos_fault_source[];
extern const char chaos_cpu_source[];
extern const char chaos_flow_source[];
extern const char chaos_io_source[];
extern const char chaos_stream_source[];

struct chaos_mix_args {
	struct mk_ref table;
	uint32_t offset, bytes;
	uint64_t key;
};

struct chaos_twist_args {
	uint64_t a, b;
};

struct chaos_mark_args {
	uint64_t key;
	uint32_t word, turns;
};

struct chaos_fault_args {
	uint32_t word; /* of the queue; counts the starts */
	uint32_t reserved;
	uint64_t noise;
};

struct chaos;

/* One queue with its producers and the thread that reaps it. */
struct chaos_lane {
	struct chaos *chaos;
	unsigned index, producers;
	struct mk_queue *q;
	uint32_t records; /* of each producer */
	struct chaos_record *record;
	pthread_t reaper, producer[2];
	unsigned threads;
	uint32_t drain; /* the producers have ended; release / acquire */
	uint64_t submitted[2]; /* relaxed; each its producer's */
	uint64_t answered;     /* relaxed; the reaper's */
	struct chaos_tally tally; /* the reaper's, but for `submitted` */
};

/* Resident rows and host dispatches, by a thread of their own. */
struct chaos_rows {
	struct chaos *chaos;
	struct mk_queue *q;
	mk_buffer_t control, ring, log;
	pthread_t thread;
	bool started;
	uint64_t rows, dispatches;    /* relaxed */
	uint64_t rows_ok, dispatches_ok; /* relaxed */
	uint64_t recovered; /* dispatches that say so; relaxed */
	struct chaos_tally tally; /* of the slots in them */
};

/* Slots that wait for each other, have tiles, make work; a thread of its
 * own. */
struct chaos_flow {
	struct chaos *chaos;
	struct mk_queue *q;
	struct mk_batch *batch;
	pthread_t thread;
	bool started;
	uint64_t rounds; /* relaxed */
	struct chaos_tally tally;
};

#define CHAOS_COPIES 16u  /* slots of a round */
#define CHAOS_PIECE 4096u

/* Slots that ask the host for bytes of a file; a thread of its own. */
struct chaos_io {
	struct chaos *chaos;
	struct mk_queue *q;
	struct mk_io *io;
	mk_buffer_t buffer; /* pieces as they are read, then as written */
	uint16_t opcode;
	int fd;        /* of a file with pieces to read, then those written */
	uint32_t file; /* its index */
	uint64_t random;
	uint64_t salt[CHAOS_COPIES];
	unsigned char bytes[2 * CHAOS_COPIES * CHAOS_PIECE]; /* at first */
	unsigned char last[CHAOS_COPIES * CHAOS_PIECE];  /* as written */
	unsigned char found[CHAOS_COPIES * CHAOS_PIECE];
	pthread_t thread;
	bool started;
	uint64_t rounds, services; /* relaxed */
	struct chaos_tally tally;
};

/* One stream after the other; a thread of its own. */
struct chaos_streams {
	struct chaos *chaos;
	int fd[6];
	unsigned char bytes[100000]; /* all files are a beginning of it */
	uint64_t random;
	uint64_t leave; /* chunks after which it is left; 0: never */
	pthread_t thread;
	bool started;
	uint64_t streams, chunks; /* relaxed */
	struct chaos_tally tally;
};

#define CHAOS_LANES 3u

/* Everything that a context with a workload has. */
struct chaos_load {
	struct mk_ctx *ctx;
	mk_buffer_t table;
	unsigned char bytes[CHAOS_TABLE_BYTES];
	uint16_t mix, twist, mark; /* opcodes */
	uint16_t fault[CHAOS_KINDS];
	struct chaos_lane lane[CHAOS_LANES];
	struct chaos_rows rows;
	struct chaos_flow flow;
	struct chaos_io io;
	struct chaos_streams streams;
};

/* chaos_work.c: 0 or -1, printed. */
int chaos_load_open(struct chaos *c);
int chaos_load_start(struct chaos *c);
/* Until every slot is back, or it is given up: those are lost. */
void chaos_load_stop(struct chaos *c);
/* All hold still and all slots are back; false after `timeout_ns`. */
bool chaos_load_pause(struct chaos *c, uint64_t timeout_ns);
void chaos_load_resume(struct chaos *c);
void chaos_load_close(struct chaos *c);
/* Slots that were answered so far. */
uint64_t chaos_load_answered(const struct chaos *c);
struct chaos_tally chaos_load_tally(const struct chaos *c);
/* Is it time to hold still or to end? For threads of the workload: false to
 * end. `still`: the caller has nothing out. */
bool chaos_load_go_on(struct chaos *c, bool still);

/* chaos_row.c */
int chaos_rows_open(struct chaos *c);
int chaos_rows_start(struct chaos *c);
void chaos_rows_close(struct chaos *c);

/* chaos_flow.c */
int chaos_flow_open(struct chaos *c);
int chaos_flow_start(struct chaos *c);
void chaos_flow_stop(struct chaos *c);

/* chaos_io.c */
int chaos_io_open(struct chaos *c);
int chaos_io_start(struct chaos *c);
void chaos_io_stop(struct chaos *c);
/* A file with these bytes that has no name; -1, printed. */
int chaos_file(struct chaos *c, const void *bytes, size_t n);

/* chaos_stream.c */
int chaos_streams_open(struct chaos *c);
int chaos_streams_start(struct chaos *c);
void chaos_streams_stop(struct chaos *c);

/* ---- the run ----------------------------------------------------------- */

struct chaos_options {
	struct cli_engine engine;
	uint64_t seed, faults;
	uint64_t seconds; /* 0: no limit */
	uint64_t hang_ns;
	const char *kinds, *evidence;
	const char *be_caller; /* directory of the one that kills us */
	bool json, list, step_clock, verbose;
};

/* What was seen of one kind of fault. */
struct chaos_seen {
	uint64_t injected, noticed;
	struct chaos_times notice; /* from the fault to its being known */
	struct chaos_times good;   /* ... to the first good answer */
};

enum chaos_phase { CHAOS_GO = 0, CHAOS_STILL = 1, CHAOS_END = 2 };

struct chaos {
	const struct chaos_options *o;
	struct chaos_plan plan;
	bool cpu, process;
	char engine[16];
	char dir[64];      /* of our own; removed at the end */
	char worker[4096]; /* the real worker program */
	struct chaos_load load;
	struct mk_queue *q; /* for faults and probes: the main thread's */
	uint64_t serial;    /* user_data of the next slot there */
	struct chaos_tally tally; /* of that queue */

	uint32_t phase;     /* enum chaos_phase; release / acquire */
	uint32_t still;     /* threads that hold still; relaxed */
	uint32_t threads;   /* of the workload */

	struct chaos_seen seen[CHAOS_KINDS];
	struct chaos_times dead, hung; /* how long noticing took */
	struct chaos_times recovery;   /* fault to the first good answer */
	struct chaos_times hindered;   /* the same, where the slot struck
					* twice, or starts had to fail */
	struct chaos_stages stages;
	uint64_t done;      /* faults; relaxed */
	/* when set-up, the first fault, and the end of all began */
	uint64_t setup_ns, started_ns, stopped_ns, ended_ns;
	uint64_t caller_ms; /* slowest end of a worker without its caller */
	bool stuck;         /* it did not come back */
	struct mk_ctx_stats stats; /* at the end */

	pthread_mutex_t lock; /* guards the lines below */
	unsigned complaints;
	char complaint[8][256];
};

/* Note what is wrong, in words; the first ones are printed at the end. */
void chaos_complain(struct chaos *c, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* chaos_run.c: 0, or -1, printed: it could not begin. */
int chaos_run(struct chaos *c);
/* As the caller that is to be killed; does not return while all is well. */
int chaos_run_caller(struct chaos *c, const char *dir);

/* chaos_inject.c: inject one fault and wait until good answers come. Sets
 * c->stuck if none came. */
void chaos_inject(struct chaos *c, const struct chaos_fault *f);
/* A worker died at t0, or should have: wait for it, note the times, wait for
 * a good answer. `losses` is how many there were before. */
bool chaos_await_loss(struct chaos *c, enum chaos_kind kind, uint64_t t0,
		      uint64_t losses);
/* A good answer by the time given, or false. */
bool chaos_probe(struct chaos *c, uint64_t deadline_ns);
uint64_t chaos_losses(struct chaos *c);
/* The worker process; waits for one if there is none just now. 0: none. */
int chaos_worker(struct chaos *c);
/* What was known when a worker process was struck. */
struct chaos_blow {
	struct mk_ctx_stats before;
	uint64_t at_ns;
};

/* Send a signal to the worker process. -ESRCH: it was lost by something else
 * since chaos_worker() told its pid, and nothing was done; there will be
 * another. */
int chaos_strike(struct chaos *c, int pid, int number, struct chaos_blow *out);

/* chaos_around.c: those that are not in the worker. True: noticed. */
bool chaos_caller(struct chaos *c, const struct chaos_fault *f);
bool chaos_memory(struct chaos *c);
bool chaos_descriptors(struct chaos *c);
bool chaos_restart(struct chaos *c, const struct chaos_fault *f);
bool chaos_cache(struct chaos *c, const struct chaos_fault *f);
bool chaos_socket(struct chaos *c, const struct chaos_fault *f);
bool chaos_clock(struct chaos *c, const struct chaos_fault *f);

/* chaos_caller.c: the program that is killed; never returns. */
int chaos_be_caller(struct chaos *c);

/* chaos_stages.c: the fault of t0, whose first good answer is there. */
void chaos_stages_add(struct chaos *c, enum chaos_kind kind, uint64_t t0,
		      uint64_t good, const struct mk_ctx_stats *stats);
void chaos_stages_print(struct chaos *c);
json_t *chaos_stages_json(struct chaos *c);
void chaos_stages_free(struct chaos *c);

/* chaos_progress.c */
void chaos_progress(const struct chaos *c);
void chaos_progress_end(void);
/* The same while there is no fault yet, or no more: what is done now. */
void chaos_progress_step(const struct chaos *c, const char *what);

/* chaos_verdict.c: why the exit status is not 0, in words; "" if it is. Cut
 * where there is no room. */
void chaos_verdict(const struct chaos *c, char *out, size_t room);

/* chaos_print.c */
int chaos_print_plan(const struct chaos *c);
int chaos_print(struct chaos *c);

#endif
