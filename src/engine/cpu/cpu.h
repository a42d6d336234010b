/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPU engine: resident threads that run the same consumer protocol as a
 * kernel would.
 *
 * Every worker looks at every queue, in rounds; an empty queue is looked at
 * less and less often. A worker holds nothing from the shared tables between
 * two slots, so whoever takes something out of them bumps `epoch` and waits
 * until every worker has seen it: then nobody uses the old thing any more.
 */
#ifndef MK_ENGINE_CPU_H
#define MK_ENGINE_CPU_H

#include <pthread.h>
#include <signal.h>

#include "engine/cpu/module.h"
#include "engine/engine.h"

/* What an opcode runs and what it is known to cost. */
struct cpu_op {
	const struct mk_handler_entry *entry; /* NULL: none; store-release */
	uint32_t module;                      /* 0: built in */
	/* all relaxed: a hint, shared by the workers */
	uint32_t quick; /* enum cpu_quick */
	uint32_t runs;
	uint32_t cost_ns; /* moving average */
};

/*
 * A quick handler runs without its worker dropping out of `attention`: the
 * worker will look at the queues again within microseconds.
 */
enum cpu_quick { CPU_UNKNOWN = 0, CPU_QUICK = 1, CPU_QUICK_ALWAYS = 2 };

/* A queue that is served. Checked by value; the rest is shared memory. */
struct cpu_queue {
	struct mk_queue_block *block;
	const struct mk_wire_slot *ring;
	struct mk_wire_completion *answers;
	const struct mk_wire_ext *ext;
	uint32_t mask, shift;
	uint32_t index;
	uint32_t burst; /* slots served in one visit */
	struct mk_control *control;
	uint64_t *observables;
	uint32_t observable_count;
	uint32_t log_capacity, io_capacity;
	struct mk_debug_log *log;
	struct mk_io_queue *io;
	uint64_t skip_until;
	uint64_t fence_floor; /* tickets below it are answered; relaxed */
	int event_fd;         /* -1: none; store-release */
};

struct cpu_worker {
	struct mk_engine *engine;
	struct mk_worker_block *block;
	pthread_t thread;
	uint32_t index;
	bool started;
	uint32_t runs;   /* what `running` of the block says */
	void *signal_stack; /* fault.c; NULL: none */
	uint32_t epoch;  /* last seen; store-release */
	uint32_t exited; /* store-release */
	uint32_t first;  /* queue where the next round begins */
	uint32_t looks;  /* idle rounds since there was work */
	uint32_t backlog_rest; /* looks at the backlog to leave out */
	uint32_t untold_count;
	struct mk_wire_completion *untold; /* last answer nobody was told of */
	uint64_t idle_since;
	bool dozing;     /* woke by time: sleep again if there is nothing */
	bool watched;    /* since it woke, another looks after it */
	struct mk_task task;
	uint8_t skip[MK_QUEUES_MAX]; /* rounds to pass a queue over */
	uint8_t rest[MK_QUEUES_MAX]; /* how many next time */
};

struct mk_engine {
	struct mk_engine_config config;
	struct mk_region region;
	struct mk_context_block *block;
	struct cpu_worker *workers;
	struct cpu_queue *queues[MK_QUEUES_MAX]; /* store-release */
	uint32_t queue_bound; /* above every index in use; store-release */
	struct cpu_op ops[MK_OPCODES];
	struct mk_window *windows;
	struct mk_cpu_modules modules;
	uint32_t epoch;  /* futex; add-seq, see above */
	uint32_t paused; /* store-seq, then epoch */
	uint32_t stop;   /* store-seq, then epoch */
	uint32_t spinners; /* attentive workers there may be when idle */
};

/* worker.c */
void *cpu_worker_main(void *worker);

/* serve.c: serve up to q->burst slots; how many were. */
unsigned cpu_serve_queue(struct cpu_worker *w, struct cpu_queue *q);
/* Is the next slot of q published? */
bool cpu_queue_has_work(const struct cpu_queue *q);

/* attention.c: who is awake */
void cpu_attention_enter(struct mk_engine *e);
void cpu_attention_leave(struct mk_engine *e);
/* About to run something long: let others take over what is published. */
void cpu_attention_drop(struct cpu_worker *w);
void cpu_attention_raise(struct cpu_worker *w);
/* Sleep until a producer rings, or not, if there is work. With `crowded`
 * only if more workers are attentive than should be when idle. */
void cpu_attention_sleep(struct cpu_worker *w, bool crowded);
/* Before what should be quick: see that another looks now and then. */
void cpu_attention_watch(struct cpu_worker *w);
/* Wake one worker if any sleeps. */
void cpu_attention_wake(struct cpu_worker *w);
bool cpu_any_work(struct mk_engine *e);

/* fault.c: a handler that crashes */
void cpu_fault_enter(struct cpu_worker *w);
void cpu_fault_leave(struct cpu_worker *w);
/* Take the signals of a crash out of the set. */
void cpu_fault_signals(sigset_t *set);
/* Give the others a moment to finish what they run, and let nobody begin. */
void cpu_fault_drain(struct mk_engine *e, const struct cpu_worker *but);

/* placement.c: cores that this process may use, at least 1. */
unsigned cpu_core_count(void);

#endif
