/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The private table of an engine: set-up, tear-down, memory, modules, pause
 * and health. The hot path is not here: getting, publishing and reaping are
 * the same code for every engine (src/queue).
 *
 * The caller of an engine is either the context (isolation none) or the
 * worker process (src/worker/serve.c) on behalf of one. The proxy
 * (src/worker/proxy.c) implements the same table by messages, so a context
 * never knows which it has.
 *
 * Commands are serialised by the caller. Every command returns 0 or a negated
 * code, and records the sentence with mk_error_set() (src/base/error.h).
 */
#ifndef MK_ENGINE_H
#define MK_ENGINE_H

#include <megakernel.h>
#include <megakernel/cuda.h>
#include <megakernel/handler.h>

struct mk_engine; /* each engine's own; embeds nothing of ours */

#define MK_CACHE_DIR_BYTES 1024u

/* What an engine is opened with. Plain data: it crosses the socket. */
struct mk_engine_config {
	uint32_t device;
	uint32_t workers;       /* resolved by mk_engine_ops.probe; never 0 */
	uint32_t windows;       /* buffers_max */
	uint32_t scratch_bytes;
	uint64_t idle_ns;
	uint64_t shared_bytes;  /* of the region [0, shared_bytes) */
	uint64_t total_bytes;   /* shared_bytes + heap_bytes */
	uint32_t sm_count;      /* multiprocessors to take at most; 0: all */
	uint32_t made_mode;     /* enum mk_made_mode */
	uint64_t native_context, native_stream; /* pointers of this process;
						 * 0: the engine's own */
	uint32_t cache;         /* enum mk_engine_cache, of compiled code */
	uint32_t made_entries;  /* of made work; never 0 */
	uint32_t heartbeat;     /* enum mk_heartbeat */
	uint32_t reserved;
	char cache_dir[MK_CACHE_DIR_BYTES];
};

enum mk_engine_cache {
	MK_CACHE_DEFAULT = 0,
	MK_CACHE_NONE = 1,
	MK_CACHE_DIR = 2 /* config.cache_dir */
};

/* The shared memory, mapped by whoever hosts the engine. */
struct mk_region {
	unsigned char *base;
	int fd;                 /* sealed memfd; owned by whoever made it */
	uint64_t shared_bytes;
	uint64_t total_bytes;
	uint64_t workers_offset; /* struct mk_worker_block[], as checked */
	/* The engine calls it, if it is set, when its device is lost: once,
	 * from any thread, with the reason in the context block (FAILED). */
	void (*failed)(void *arg);
	void *failed_arg;
};

/* A queue to serve: everything an engine needs, checked, by value. */
struct mk_queue_desc {
	uint32_t index;        /* 0..MK_QUEUES_MAX-1, unique among live ones */
	uint32_t priority;     /* enum mk_priority */
	uint64_t block_offset; /* of struct mk_queue_block in the region */
	uint64_t block_bytes;
	uint32_t entries;
	uint32_t slots_offset, completions_offset, ext_offset; /* from block */
	uint32_t control_offset, log_offset, io_offset;
	uint32_t observables, log_records, io_records;
	uint64_t first_ticket; /* where claims begin */
	uint64_t skip_until;   /* tickets below it that have an answer already
				* are passed over: after a restart */
};

struct mk_buffer_desc {
	uint32_t index;      /* below config.windows */
	uint32_t generation; /* never 0 */
	uint64_t offset;     /* in the region: engines with host memory, and
			      * MK_ORIGIN_SHARED; IPC: in the allocation */
	uint64_t bytes;
	uint32_t flags;      /* MK_BUFFER_READ_ONLY or 0 */
	uint32_t born;       /* generations from here up to `generation` named
			      * this buffer before a restart; 0: none */
	uint32_t origin;     /* enum mk_buffer_origin */
	uint32_t reserved;
	uint64_t address;    /* MK_ORIGIN_POINTER */
	unsigned char handle[MK_IMPORT_HANDLE_BYTES]; /* MK_ORIGIN_IPC */
};

/* Where a buffer's memory comes from. */
enum mk_buffer_origin {
	MK_ORIGIN_ENGINE = 0,  /* the heap, or the engine's own memory */
	MK_ORIGIN_SHARED = 1,  /* [offset, offset + bytes) of the shared part,
				* zeroed; engines without host memory */
	MK_ORIGIN_POINTER = 2, /* the caller's, as mk_buffer_import() says */
	MK_ORIGIN_IPC = 3
};

enum mk_copy_flags {
	MK_COPY_TO_DEVICE = 1, /* from the staging range; else into it */
	MK_COPY_BEHIND = 2     /* return while this copy is under way, but not
				* before those before it have ended. A copy
				* without it, of 0 bytes too, ends them all */
};

/* One handler of a module, as the engine shall number it. */
struct mk_opcode_map {
	char name[MK_HANDLER_NAME_BYTES];
	uint32_t opcode;
	uint32_t reserved;
};

/* A compiled module to load. */
struct mk_module_desc {
	uint32_t id;                         /* never 0, unique */
	int fd;                              /* of a sealed memfd with the
					      * image; the engine duplicates it
					      * if it keeps it */
	const struct mk_module_table *table; /* linked in, instead of fd */
	uint32_t flags;                      /* enum mk_module_open_flags */
};

enum mk_module_open_flags {
	/* Another follows at once, before any is bound: what is done for all of
	 * them together is put off until the last, which comes without this.
	 * Argument bytes and widths may be unknown until then, and 0. */
	MK_OPEN_MORE = 1
};

#define MK_QUEUES_MAX 1024u

enum mk_engine_traits {
	MK_TRAIT_HOST_MEMORY = 1, /* buffers are ranges of the region's heap */
	MK_TRAIT_WAKES = 2,       /* the engine itself wakes waiters */
	MK_TRAIT_CUDA = 4,        /* multiprocessors, native contexts, import */
	MK_TRAIT_NAMES_ALL = 8    /* `claim` is exact, and every slot that was
				   * begun and not answered is named by the
				   * block of its worker */
};

struct mk_engine_ops {
	const char *name;
	uint32_t traits;

	/* Describe device number info->device: 0, also if not available;
	 * 1, and not available: there is no such device. Why it is not
	 * available is recorded with mk_error_set(), too, with the native
	 * code and without the bound of info->reason. */
	int (*probe)(struct mk_engine_info *info);

	/* Take the region; nothing runs yet. The context block is initialised
	 * and its header was checked. */
	int (*open)(const struct mk_engine_config *config,
		    const struct mk_region *region, struct mk_engine **out);

	/* Become resident; READY is in the context block on return. */
	int (*start)(struct mk_engine *e);

	/* End and free. -ETIME: a handler still runs and e stays valid. */
	int (*close)(struct mk_engine *e, uint64_t timeout_ns);

	int (*queue_attach)(struct mk_engine *e,
			    const struct mk_queue_desc *desc, int event_fd);
	/* No worker looks at the queue any more on return, or -ETIME. */
	int (*queue_detach)(struct mk_engine *e, uint32_t index,
			    uint64_t timeout_ns);
	/* Give the queue a descriptor to signal; the engine duplicates it. */
	int (*queue_event_fd)(struct mk_engine *e, uint32_t index, int fd);

	int (*buffer_attach)(struct mk_engine *e,
			     const struct mk_buffer_desc *desc);
	int (*buffer_detach)(struct mk_engine *e, uint32_t index,
			     uint64_t timeout_ns);
	/* Engines without host memory: copy between the buffer and
	 * [staging, staging + bytes) of the region. flags: enum
	 * mk_copy_flags. */
	int (*buffer_copy)(struct mk_engine *e, uint32_t index,
			   uint64_t offset, uint64_t staging, uint64_t bytes,
			   uint32_t flags);

	/* Read the handlers of a module. Sets *count, at most max. */
	int (*module_open)(struct mk_engine *e,
			   const struct mk_module_desc *desc,
			   struct mk_handler_info *out, unsigned max,
			   unsigned *count);
	/* Put handlers of an opened module under their opcodes. */
	int (*module_bind)(struct mk_engine *e, uint32_t id,
			   const struct mk_opcode_map *map, unsigned count);
	/* Take the module's opcodes away and free it. */
	int (*module_close)(struct mk_engine *e, uint32_t id,
			    uint64_t timeout_ns);

	int (*pause)(struct mk_engine *e, uint64_t timeout_ns);
	int (*resume)(struct mk_engine *e);
};

/* The engine of this name, or NULL; name NULL: the default. */
const struct mk_engine_ops *mk_engine_find(const char *name);

/* What an engine that lost its device wrote of it into the context block, which
 * is shared memory: native code and text into *why; or it is left alone. */
void mk_engine_words(const struct mk_context_block *b, struct mk_error *why);

extern const struct mk_engine_ops mk_engine_cpu;
extern const struct mk_engine_ops mk_engine_cuda;

#endif
