/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a context is made of. Everything here is the caller's private memory;
 * what it shares with the engine lies in the region.
 *
 * `lock` serialises commands to the engine and guards every table below. The
 * hot path (src/queue) takes no lock: it reads `lost` and `opcode_args[]`.
 */
#ifndef MK_CONTEXT_H
#define MK_CONTEXT_H

#include <pthread.h>

#include "base/space.h"
#include "engine/engine.h"

/* One live or freed handle; index 0 is never used. (src/buffer) */
struct mk_buffer_entry {
	uint64_t offset;        /* in the region, if it has memory there */
	uint64_t size;
	struct mk_buffer_import_params *import; /* or NULL; owned */
	uint32_t generation;    /* of the last buffer at this index */
	uint32_t born;          /* its first one: a restart bumps that of a
				 * volatile buffer */
	uint32_t flags;
	uint32_t next_free;     /* index, 0 ends the list */
	uint32_t holds;         /* mk_buffer_hold() less mk_buffer_let() */
	bool live;
	unsigned char *mirror;  /* second copy, size bytes; NULL: none */
};

struct mk_buffers {
	struct mk_buffer_entry *entry;
	uint32_t room;  /* entries allocated, grows */
	uint32_t used;  /* entries ever used */
	uint32_t free;  /* head of the free list */
	uint32_t live;
};

/* A loaded module. (src/module) */
struct mk_loaded {
	struct mk_loaded *next;
	uint32_t id;
	int fd; /* of the sealed image, kept for recovery; -1: linked in */
	const struct mk_module_table *table;
	unsigned count;
	struct mk_opcode_map *map; /* count entries */
};

/* A dispatch's queue and buffers; opaque here. (src/dispatch) */
struct mk_dispatcher;

/* What mk_ctx.lost can be. */
enum mk_life {
	MK_ALIVE = 0,
	MK_LOST = 1,
	MK_RETURNING = 2 /* a recovery is at work, or the keeper will see to
			  * it: nothing is given up */
};

/* A slot that had begun when the process was lost. */
struct mk_named {
	uint64_t ticket;
	uint32_t queue;
	int code;     /* what it ends with, if it may not run again */
	bool suspect; /* its handler may have been the cause */
};

/* See loss.h. Written under error_lock while a loss is taken in, then
 * constant until the queues were prepared for the next engine. */
struct mk_loss {
	bool exact;       /* a slot that is not named had not begun */
	bool attributed;  /* the suspects did it */
	bool crashed;     /* a handler crashed */
	bool all_suspect; /* nothing is known */
	uint32_t count;
	struct mk_named *named; /* config.workers + 1 of them */
	struct mk_named blamed; /* code 0: none */
};

/* All relaxed. */
struct mk_loss_counts {
	uint64_t losses, crashes, hangs, deaths, restarts_failed, replayed;
	uint64_t faulted, hung, overrun, may_run, not_run, poisoned;
	uint64_t lost_ns, hung_ns, recovered_ns, last_ns, max_ns;
	uint64_t dying_ns; /* when the process was seen to die; 0: it lives */
	uint64_t stage_at; /* when the last stage was over */
	uint64_t stage_ns[MK_STAGES];
};

struct mk_keeper; /* keeper.c */
struct mk_record; /* evidence.c */

struct mk_ctx {
	/* what the engine is reached by: the engine itself, or the proxy */
	const struct mk_engine_ops *ops;
	struct mk_engine *engine;
	const struct mk_engine_ops *real; /* the engine behind the proxy */

	struct mk_region region;
	struct mk_context_block *block;  /* region.base */
	struct mk_worker_block *workers; /* block->workers of them */
	struct mk_engine_config config;
	uint32_t isolation;
	uint64_t command_ns; /* stored under lock, relaxed */
	char *cache_dir, *worker_path, *compiler; /* or NULL: see paths.h */
	char device_name[64];

	/* enum mk_loss; sticky. The proxy's watcher stores, everyone loads
	 * (acquire) */
	uint32_t lost;
	pthread_mutex_t error_lock; /* a leaf, with list_lock outside */
	struct mk_error first_error;
	uint64_t losses; /* under error_lock */
	struct mk_loss loss;
	struct mk_loss_counts counts;
	struct mk_keeper *keeper; /* NULL before it is started, and after */
	struct mk_record *record; /* the last loss; under error_lock */
	struct mk_record *unwritten; /* before it, oldest first; likewise */
	uint32_t recovery; /* enum mk_recovery, never DEFAULT */
	uint32_t restarts_max;
	uint64_t restart_window_ns, restart_delay_ns, hang_ns, grace_ns;
	char *evidence_dir; /* absolute, or NULL */
	uint32_t deadlines; /* relaxed: some slot was given one */

	/* guards what can be killed without ctx->lock, whose holder may wait
	 * for the very process */
	pthread_mutex_t kill_lock;
	struct mk_engine *victim; /* NULL: none */

	pthread_mutex_t lock;
	struct mk_space shared; /* of [0, shared_bytes) */
	struct mk_space heap;   /* of the rest */
	/* changed under lock and list_lock, walked under either: the watcher
	 * must not wait for a command that waits for the dead process */
	pthread_mutex_t list_lock;
	struct mk_queue *queues;
	uint32_t queue_count;
	uint64_t queue_index[MK_QUEUES_MAX / 64]; /* bit set: in use */
	struct mk_buffers buffers;
	struct mk_loaded *modules;
	uint32_t next_module;
	struct mk_handler_info handlers[MK_OPCODES]; /* name "": none. Changed
						      * under names_lock too */
	pthread_mutex_t names_lock; /* a leaf */
	pthread_cond_t returned; /* with lock: `lost` changed from RETURNING */
	struct mk_dispatcher *dispatcher;
	unsigned quiesced; /* how deep */

	/* arg bytes + 1 of a loaded opcode, 0: none; with MK_OPCODE_LATE it
	 * has a default deadline. Stored (release) under lock, loaded
	 * (relaxed) by submit */
	uint8_t opcode_args[MK_OPCODES];
	uint64_t opcode_deadline[MK_OPCODES]; /* relaxed; 0: none */

	uint64_t launches, restarts, commands, wakes; /* relaxed */
};

#define MK_OPCODE_LATE 0x80u

/* Starts of what is resident: of the kernel, which comes and goes, or of the
 * engine's threads. */
uint64_t mk_ctx_launches(const struct mk_ctx *ctx);

/* Open and start the engine, in a process of its own or not. */
int mk_ctx_start(struct mk_ctx *ctx);

/* End the engine's process, whatever it does, and forget it. The caller holds
 * ctx->lock, or is alone. (recover.c) */
void mk_ctx_drop_engine(struct mk_ctx *ctx);

/* Kill the engine's process for this reason; the watcher does the rest. From
 * any thread, under no lock. (recover.c) */
void mk_ctx_condemn(struct mk_ctx *ctx, const struct mk_error *why);

/* Write what the first block says of itself, which never changes. Nobody runs.
 * (context.c) */
void mk_ctx_describe(struct mk_ctx *ctx);

/* Workers have nothing in hand. Nobody runs. (context.c) */
void mk_workers_reset(struct mk_ctx *ctx);

/* The name of an opcode's handler, "?" if it has none. */
void mk_ctx_handler_name(struct mk_ctx *ctx, uint32_t opcode,
			 char name[MK_HANDLER_NAME_BYTES]);

/* One try at bringing the context back; the caller holds ctx->lock. */
int mk_ctx_recover_locked(struct mk_ctx *ctx, uint64_t timeout_ns);

/* No more tries: the context is lost, all waiters are released. */
void mk_ctx_give_up(struct mk_ctx *ctx, const char *reason);

/* Keep the first failure of the context; returns error->code. */
int mk_ctx_fail(struct mk_ctx *ctx, const struct mk_error *error);

/* Mark the device lost, with its reason, and release every waiter. Called by
 * the proxy's watcher thread. */
void mk_ctx_lost(struct mk_ctx *ctx, const struct mk_error *why);

/* -MK_EDEVLOST with the first error's words if the context is lost, else 0.
 * A context that is on its way back is not lost. */
int mk_ctx_check(struct mk_ctx *ctx, const char *operation);

/* mk_ctx_await(), then mk_ctx_check(): on 0 the engine can be told
 * something. */
int mk_ctx_ready(struct mk_ctx *ctx, const char *operation);

/* Under ctx->lock, which it lets go meanwhile: wait while the context is on
 * its way back. Nothing looked up before stays valid. */
void mk_ctx_await(struct mk_ctx *ctx);

/*
 * A command failed with `code`. If that was because the device was lost, and
 * the context comes back by itself: wait for that, and then the command is to
 * be given again, true. `mark` is mk_ctx.restarts from before the command.
 * Under ctx->lock, which it lets go meanwhile.
 */
bool mk_ctx_again(struct mk_ctx *ctx, int code, uint64_t mark);

/* Under no lock: wait until the context has been brought back since `mark`.
 * 0, -ETIME, or -MK_EDEVLOST: it will not be. */
int mk_ctx_await_restart(struct mk_ctx *ctx, uint64_t mark,
			 uint64_t deadline_ns, const char *operation);

/* Take ctx->lock and wait until the context is alive or lost, but not beyond
 * the deadline: then -ETIME, and the lock is not held. */
int mk_ctx_lock_until(struct mk_ctx *ctx, uint64_t deadline_ns,
		      const char *operation);

#endif
