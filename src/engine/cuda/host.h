/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host side of the CUDA engine.
 *
 * The kernel is on the device or off it. While it is on, no call is made that
 * could wait for its end: no free, no module load, no context synchronise.
 * Such things are put off until it is off: parked, paused, or asked to step
 * aside for a moment.
 *
 * Two threads of the host: whoever gives commands (one at a time), and the
 * service thread, which parks and brings back the kernel and wakes waiters.
 * `lock` guards everything but the list of queues, which has its own lock so
 * that a command that waits holds up no waiter.
 */
#ifndef MK_CUDA_HOST_H
#define MK_CUDA_HOST_H

#include <pthread.h>
#include <stdbool.h>

#include "base/space.h"
#include "engine/cuda/driver.h"
#include "engine/cuda/program.h"
#include "engine/cuda/resident.h"
#include "engine/engine.h"

/* One allocation of the driver that buffers share. */
struct mkc_chunk {
	struct mkc_chunk *next;
	CUdeviceptr base;
	uint64_t bytes;
	struct mk_space space; /* offsets from base */
};

/* Memory of another process. (import.c) */
struct mkc_map {
	struct mkc_map *next;
	unsigned char handle[64];
	CUdeviceptr base;
	unsigned users; /* buffers */
};

struct mkc_buffer {
	CUdeviceptr at;          /* 0: no buffer */
	struct mkc_chunk *chunk; /* it is cut from; NULL: none of ours */
	struct mkc_map *map;     /* it is in; NULL: none */
	uint64_t offset;         /* in the chunk */
	uint64_t bytes;
	uint64_t room;           /* taken of the chunk */
	uint32_t generation, born, flags;
};

/* A queue that is served. */
struct mkc_queue {
	uint32_t index, place;
	struct mk_queue_block *block;
	const struct mk_wire_slot *ring;
	const struct mk_wire_completion *answers;
	const struct mk_wire_ext *ext;
	uint32_t entries, shift;
	uint64_t first;
	int event_fd;     /* -1: none */
	struct mkc_buffer jobs; /* device memory beside its ring */
	uint64_t sum;     /* of all answers, when waiters were last told */
	uint64_t told_ns; /* when that was */
};

/* What an opcode runs, by name: numbers change with every image. */
struct mkc_opcode {
	const struct mkc_source *source; /* NULL: none */
	unsigned handler;                /* of the source */
};

struct mk_engine {
	const struct mkc_driver *d;
	struct mk_engine_config config;
	struct mk_region region;
	struct mk_context_block *block;

	/* the device, as it says itself */
	CUdevice device;
	int multiprocessors, major, minor;
	CUcontext ctx;
	bool retained, registered;
	CUstream stream; /* the kernel's */
	bool stream_given;
	CUstream side;   /* copies */

	/* memory, all taken before the first launch */
	CUdeviceptr arena;
	uint64_t arena_bytes, cleared_bytes;
	struct mkd_flow_head flow;
	struct mkd_mail *mail;
	unsigned char *zeros; /* pinned, MKC_ZEROS bytes */
	struct mkd_launch launch;
	uint32_t blocks, warps;

	/* code */
	CUmodule module;
	CUfunction kernel;
	uint32_t carveout; /* shared memory that its SMs are set up with; in
			    * hundredths of what there can be, + 1; 0: the
			    * driver chooses */
	uint64_t program[2]; /* what it was compiled from */
	struct mkc_source *sources; /* built-in ones last */
	struct mkc_opcode ops[MK_OPCODES];

	/* buffers; chunks to be freed when the kernel is off */
	struct mkc_buffer *buffers; /* config.windows of them */
	struct mkc_chunk *chunks, *old_chunks;
	struct mkc_map *maps;
	bool copying; /* a copy was left under way */

	/* being there; under lock */
	pthread_mutex_t lock;
	bool on;      /* launched, and not seen to have ended */
	bool paused;
	bool parked;  /* left by itself; the bell brings it back */
	bool failed;  /* lost; why says it */
	struct mk_error why;
	uint32_t seq; /* of the last command */
	uint64_t launches, parks;
	uint32_t beat;      /* the monitor's count, when it last changed */
	uint64_t beat_ns;   /* when that was, or the driver was asked */
	bool asked;         /* HOLD was posted last, and not answered */

	/* the service thread */
	pthread_t service;
	uint64_t due_ns; /* its own: brings a parked kernel back, too;
			  * UINT64_MAX: never */
	bool serving;
	uint32_t stop; /* store-release */

	pthread_mutex_t queues_lock;
	struct mkc_queue *places[MKD_PLACES]; /* written under both locks */
	uint32_t places_used; /* queues lie below it */
};

#define MKC_ZEROS (1u << 20)
#define MKC_NAP_NS 20000u     /* between two looks at something slow */
#define MKC_DOUBT 1
#define MKC_GRACE_NS 5000000000u /* for what takes microseconds if all well */

/* ---- cuda.c ------------------------------------------------------------ */

/* The context is current between the two. */
int mkc_enter(struct mk_engine *e);
void mkc_leave(struct mk_engine *e);

/* ---- stay.c: on and off the device; e->lock is held -------------------- */

/* Record what was lost and tell everyone: never undone. Returns the code. */
int mkc_lost(struct mk_engine *e, CUresult result, const char *what);

/* -MK_EDEVLOST, with the reason, if it was. */
int mkc_check(struct mk_engine *e);

/* Put the kernel on the device. With hold it carries out commands only. */
int mkc_launch(struct mk_engine *e, bool hold);

/* See whether it has ended: updates e->on. 0, or -MK_EDEVLOST. Asks the driver
 * only if it left, or the monitor has stopped counting. */
int mkc_look(struct mk_engine *e);

/* Give the monitor a command and wait for it, bringing the kernel back if it
 * is off. -ETIME: the workers did not come to it in time; nothing changed. */
int mkc_command(struct mk_engine *e, uint32_t command, uint32_t index,
		uint32_t strict, const void *payload, size_t bytes,
		uint64_t timeout_ns);

/*
 * The first half of stepping aside, through shared memory alone: no call of
 * the driver, which could wait for somebody who waits for us. 0: the kernel is
 * about to end, or is off. MKC_DOUBT: mkc_look() may know more, then call this
 * again. -ETIME: a slot still ran at the deadline; all work on.
 */
int mkc_ask_aside(struct mk_engine *e, uint64_t deadline);

/* Off the device: every worker stands still, then leaves. -ETIME: one did
 * not in time; all of them work on. */
int mkc_step_aside(struct mk_engine *e, uint64_t timeout_ns);

/* The same after a failure, as far as possible: see e->on afterwards. */
void mkc_settle(struct mk_engine *e);

/* Back to where it was before stepping aside. */
int mkc_step_back(struct mk_engine *e);

/* ---- memory.c ---------------------------------------------------------- */

int mkc_memory_open(struct mk_engine *e);
void mkc_memory_close(struct mk_engine *e);

/* Wait for what was put on the side stream. -ETIME, -MK_EDEVLOST. */
int mkc_side_wait(struct mk_engine *e, uint64_t timeout_ns);
int mkc_clear(struct mk_engine *e, CUdeviceptr at, uint64_t bytes);

/* Device memory of the engine's own, like a buffer's; the first bytes of it
 * cleared. */
int mkc_range_take(struct mk_engine *e, struct mkc_buffer *b, uint64_t bytes,
		   uint64_t cleared);
void mkc_range_give(struct mk_engine *e, struct mkc_buffer *b);

/* Give back to the driver what could not be while the kernel was on. */
void mkc_memory_tidy(struct mk_engine *e);

int mkc_buffer_attach(struct mk_engine *e, const struct mk_buffer_desc *d);
int mkc_buffer_detach(struct mk_engine *e, uint32_t index,
		      uint64_t timeout_ns);
int mkc_buffer_copy(struct mk_engine *e, uint32_t index, uint64_t offset,
		    uint64_t staging, uint64_t bytes, uint32_t flags);

/* ---- import.c ---------------------------------------------------------- */

/* May a buffer lie there? */
int mkc_import_pointer(struct mk_engine *e, CUdeviceptr at, uint64_t bytes);

/* Map what the handle names, or use the mapping that there is. */
int mkc_import_ipc(struct mk_engine *e, const unsigned char *handle,
		   uint64_t offset, uint64_t bytes, struct mkc_map **out);
/* One user less. -ETIME: the kernel could not step aside; nothing changed. */
int mkc_import_end(struct mk_engine *e, struct mkc_map *m,
		   uint64_t timeout_ns);
/* Unmap all. The kernel is off, or nothing can be done. */
void mkc_import_close(struct mk_engine *e);

/* ---- code.c ------------------------------------------------------------ */

/* Compile, or find in the cache, what e->sources come to, and load it: before
 * the first launch. */
int mkc_code_first(struct mk_engine *e);
void mkc_code_close(struct mk_engine *e);

/* Tell the kernel what opcodes run. With strict until no slot runs that began
 * before. */
int mkc_tell_table(struct mk_engine *e, bool strict, uint64_t timeout_ns);

int mkc_module_open(struct mk_engine *e, const struct mk_module_desc *d,
		    struct mk_handler_info *out, unsigned max,
		    unsigned *count);
int mkc_module_bind(struct mk_engine *e, uint32_t id,
		    const struct mk_opcode_map *map, unsigned count);
int mkc_module_close(struct mk_engine *e, uint32_t id, uint64_t timeout_ns);

/* ---- places.c ---------------------------------------------------------- */

int mkc_queue_attach(struct mk_engine *e, const struct mk_queue_desc *d,
		     int event_fd);
int mkc_queue_detach(struct mk_engine *e, uint32_t index,
		     uint64_t timeout_ns);
/* For the host, which looked after it: of a device that is lost. */
void mkc_queue_forget(struct mk_engine *e, uint32_t index);
int mkc_queue_event_fd(struct mk_engine *e, uint32_t index, int fd);
void mkc_queues_free(struct mk_engine *e);

/* Is anything published that the kernel, which is off, did not serve? */
bool mkc_any_work(struct mk_engine *e);
/* Wake who waits for answers that have come. Nanoseconds until it is worth
 * looking again. */
uint64_t mkc_wake_waiters(struct mk_engine *e);

/* ---- service.c --------------------------------------------------------- */

int mkc_service_start(struct mk_engine *e);
void mkc_service_stop(struct mk_engine *e);
/* Tell the kernel what time it is. */
void mkc_tell_time(struct mk_engine *e);

#endif
