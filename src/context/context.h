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
enum mk_loss {
	MK_ALIVE = 0,
	MK_LOST = 1,
	MK_RETURNING = 2 /* mk_ctx_recover() is at work: nothing is given up */
};

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
	uint64_t command_ns;
	char *cache_dir, *worker_path, *compiler; /* as given, or NULL */
	char device_name[64];

	/* enum mk_loss; sticky. The proxy's watcher stores, everyone loads
	 * (acquire) */
	uint32_t lost;
	pthread_mutex_t error_lock;
	struct mk_error first_error;

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
	struct mk_handler_info handlers[MK_OPCODES]; /* name "": none */
	struct mk_dispatcher *dispatcher;
	unsigned quiesced; /* how deep */

	/* arg bytes + 1 of a loaded opcode, 0: none. Stored (release) under
	 * lock, loaded (relaxed) by submit */
	uint8_t opcode_args[MK_OPCODES];

	uint64_t launches, restarts, commands, wakes; /* relaxed */
};

/* Open and start the engine, in a process of its own or not. */
int mk_ctx_start(struct mk_ctx *ctx);

/* Keep the first failure of the context; returns error->code. */
int mk_ctx_fail(struct mk_ctx *ctx, const struct mk_error *error);

/* Mark the device lost, with its reason, and release every waiter. Called by
 * the proxy's watcher thread. */
void mk_ctx_lost(struct mk_ctx *ctx, const struct mk_error *why);

/* -MK_EDEVLOST with the first error's words if the context is lost, else 0. */
int mk_ctx_check(struct mk_ctx *ctx, const char *operation);

#endif
