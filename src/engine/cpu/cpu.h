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

#include "engine/cpu/jobs.h"
#include "engine/cpu/module.h"
#include "base/order.h"
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
	struct mk_wire_ext *ext;
	struct cpu_job *jobs; /* [mask + 1], mapped; used by who flows */
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
	bool silent;     /* it says nothing: MK_HEARTBEAT_OFF */
	void *signal_stack; /* fault.c; NULL: none */
	uint32_t epoch;  /* last seen; store-release */
	uint32_t exited; /* store-release */
	uint32_t first;  /* queue where the next round begins */
	uint32_t looks;  /* idle rounds since there was work */
	uint32_t backlog_rest; /* looks at the backlog to leave out */
	uint32_t untold_count;
	struct mk_wire_completion *untold; /* last answer nobody was told of */
	struct cpu_queue *untold_queue;
	/* of the slot in hand */
	struct cpu_queue *queue;
	uint64_t header;     /* unit[0].lo of its wire slot */
	struct cpu_job *job; /* NULL: it has none, as yet */
	struct cpu_home *home; /* its own */
	uint32_t turn;       /* home that gets the next piece, MK_MADE_FIXED */
	uint32_t made;       /* pieces made, for the wake-ups */
	uint32_t away;       /* in a handler that may take long; store-seq */
	uint32_t asleep;     /* with MK_MADE_FIXED; store-seq */
	uint64_t idle_since;
	bool dozing;     /* woke by time: sleep again if there is nothing */
	bool watched;    /* since it woke, another looks after it */
	struct mk_task task;
	uint8_t skip[MK_QUEUES_MAX]; /* rounds to pass a queue over */
	uint8_t rest[MK_QUEUES_MAX]; /* how many next time */
};

/* A slot as it was when it was copied; checked before use. */
struct cpu_slot {
	uint16_t opcode, tenant;
	uint8_t priority, flags;
	uint16_t tiles;
	alignas(16) uint64_t args[MK_ARG_BYTES / 8]; /* as any type wants */
};

static inline void cpu_slot_header(struct cpu_slot *out, uint64_t header)
{
	out->opcode = (uint16_t)header;
	out->tenant = (uint16_t)(header >> 16);
	out->priority = (uint8_t)(header >> 32);
	out->flags = (uint8_t)(header >> 40);
	out->tiles = (uint16_t)(header >> 48);
}

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
	struct cpu_flow flow;
};

/* What a handler sees of its queue. */
static inline void cpu_task_enter(struct cpu_worker *w, struct cpu_queue *q)
{
	struct mk_task *task = &w->task;

	w->queue = q;
	mk_store_relaxed(&w->block->queue, q->index);
	task->control = q->control;
	task->observables = q->observables;
	task->observable_count = q->observable_count;
	task->log = q->log;
	task->log_capacity = q->log_capacity;
	task->io = q->io;
	task->io_capacity = q->io_capacity;
}

static inline void cpu_task_begin(struct cpu_worker *w, struct cpu_queue *q,
				  uint64_t t)
{
	struct mk_task *task = &w->task;

	task->error = 0;
	task->ticket = t;
	task->value = 0;
	task->next.kind = MK_NEXT_NONE;
	task->deadline_ns = UINT64_MAX;
	task->cancel = &q->ext[t & q->mask].cancel;
	task->cancel_mark = 0x10000u | MK_MARK(t, q->shift);
}

/* worker.c */
void *cpu_worker_main(void *worker);

/* serve.c: serve up to q->burst slots; how many were. */
unsigned cpu_serve_queue(struct cpu_worker *w, struct cpu_queue *q);
/* Is the next slot of q published? */
bool cpu_queue_has_work(const struct cpu_queue *q);

/* Reasons for which a slot is not run; 0: run it. Sets task->deadline_ns. */
int32_t cpu_refuse(struct cpu_queue *q, struct mk_task *task,
		   const struct cpu_slot *slot,
		   const struct mk_handler_entry *entry);
/* Run the slot of w->task, or not, if `refused`; as w's block says. */
int32_t cpu_execute(struct cpu_worker *w, struct cpu_queue *q,
		    const struct cpu_slot *slot,
		    const struct mk_handler_entry *entry, int32_t refused);
/* Count a slot that ends. */
void cpu_account(struct cpu_worker *w, const struct cpu_slot *slot,
		 int32_t result);
void cpu_answer(struct cpu_worker *w, struct cpu_queue *q, uint64_t t,
		int32_t result, uint64_t value);
/* Tell who waits of what was answered. */
void cpu_tell(struct cpu_worker *w);
const struct mk_handler_entry *cpu_find_entry(void *engine, uint32_t opcode);

/* flow.c: what does not end where it began */
int cpu_flow_init(struct mk_engine *e);
void cpu_flow_worker(struct cpu_worker *w);
/* A claimed slot that waits, raises or has tiles. */
void cpu_flow_slot(struct cpu_worker *w, struct cpu_queue *q,
		   const struct cpu_slot *slot);
/* A slot that ran, and made work or goes on. */
void cpu_flow_after(struct cpu_worker *w, struct cpu_queue *q,
		    const struct cpu_slot *slot, int32_t result);
/* Run some of what may run; how much it was. */
unsigned cpu_flow_serve(struct cpu_worker *w);
/* Is there anything that w could run? */
bool cpu_flow_has_work(const struct cpu_worker *w);

/* flow_table.c: when no worker runs */
/* Drop all work of a queue. */
void cpu_flow_purge(struct mk_engine *e, struct cpu_queue *q);
/* Does work that is left run an opcode of this module? */
bool cpu_flow_uses(struct mk_engine *e, uint32_t module);

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
/* There are n pieces of work that others may do as well: wake some, if w is
 * not the one to do them, or they are many. */
void cpu_attention_offer(struct cpu_worker *w, unsigned n);
/* There is work that only the worker of this number does. */
void cpu_attention_call(struct cpu_worker *w, uint32_t index);
bool cpu_any_work(struct cpu_worker *w);

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
