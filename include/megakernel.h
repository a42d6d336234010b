/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file megakernel.h
 * The host interface of libmegakernel, whole, in one include.
 *
 * A context (struct mk_ctx) is a connection to one engine, which stays
 * resident. A queue (struct mk_queue) is a pair of rings in memory that host
 * and engine share: the host writes 64-byte slots into one, the engine writes
 * 16-byte completions into the other. Publishing a slot is a store; reading
 * an answer is a load.
 *
 * Results. Functions that return int return a number >= 0 or a negated code:
 * an errno, or one of MK_CODES (megakernel/abi.h). mk_error_last() has the
 * sentence that names the field, the value and the limit. Outputs are written
 * on success only. The library never prints, exits or aborts.
 *
 * Threads. A context may be used from any thread. A queue takes submissions
 * (get, submit) from any number of threads at once; one thread at a time may
 * peek, advance, reap or wait on it. Where a function differs it says so.
 *
 * Fork. Do not use a context in a child made by fork(2).
 *
 * Parameter structs begin with their size. Zero is every field's default, so
 * `struct mk_ctx_params p = { .size = sizeof(p) };` is complete, and a NULL
 * pointer means the same. A struct that is longer than the library knows is
 * accepted if the tail is zero, else (and beyond 4096 bytes) -E2BIG.
 *
 * Pointers. One that has to be there and is NULL is -EINVAL, or 0 of a call
 * without codes. Get, submit, peek, advance, reap and wait, hot, do not look.
 *
 * Timeouts are in nanoseconds; 0 polls, MK_FOREVER waits without end.
 */
#ifndef MEGAKERNEL_H
#define MEGAKERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <megakernel/abi.h>
#include <megakernel/made.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#error "libmegakernel is for Linux"
#endif
#define MK_API __attribute__((visibility("default")))

#define MK_VERSION_MAJOR 0
#define MK_VERSION_MINOR 1
#define MK_VERSION_PATCH 0
#define MK_VERSION_STRING "0.1.0"

#define MK_FOREVER UINT64_MAX

struct mk_ctx;
struct mk_queue;

/* ---- errors ----------------------------------------------------------- */

/** What went wrong, in words. */
struct mk_error {
	int code;           /* the negated code that was returned; 0: nothing */
	int native;         /* errno, or the driver's own code; 0: none */
	char operation[48]; /* e.g. "mk_queue_create" */
	char text[1024];    /* field, value, limit, what to do; or a compiler's
			     * first messages, with file and line */
};

/** A short text for a code, negated or not; never NULL. Thread-safe. */
MK_API const char *mk_strerror(int code);

/** The name of a code ("MK_ESTALE", "EINVAL"); never NULL. Thread-safe. */
MK_API const char *mk_code_name(int code);

/**
 * The last failure of a call made by this thread. Valid until the thread's
 * next failing call. Calls that succeed leave it alone. -EAGAIN and -ETIME
 * of the hot calls (get, peek, reap, wait) are not recorded.
 */
MK_API const struct mk_error *mk_error_last(void);

/** The library's version string; equals MK_VERSION_STRING of its header. */
MK_API const char *mk_version(void);

/* ---- engines ---------------------------------------------------------- */

/** One engine and one of its devices, as mk_engine_list() finds them. */
struct mk_engine_info {
	char name[16];           /* "cpu", "cuda" */
	uint32_t device;         /* index within the engine */
	int32_t available;       /* 0, or the negated code that says why not */
	char device_name[64];
	char reason[160];        /* why not available, and what to do */
	uint32_t units;          /* cores, or multiprocessors */
	uint32_t workers;        /* the default of mk_ctx_params.workers */
	uint64_t memory_bytes;   /* that buffers could use at most */
	uint32_t warp_lanes;     /* lanes of a warp-wide handler */
	uint32_t clock_mhz;      /* at most; 0: unknown */
	uint32_t capability;     /* cuda: 10 * major + minor; 0: unknown */
	uint32_t driver, compiler; /* 1000 * major + 10 * minor; 0: none */
	uint32_t reserved;
};

/**
 * List what could execute slots here, available or not.
 *
 * @param out  room for n entries; may be NULL if n is 0.
 * @return the number of entries there are, which may exceed n.
 */
MK_API int mk_engine_list(struct mk_engine_info *out, unsigned n);

/* ---- contexts --------------------------------------------------------- */

enum mk_isolation {
	MK_ISOLATION_DEFAULT = 0, /* process */
	MK_ISOLATION_PROCESS = 1, /* the engine lives in a worker process */
	MK_ISOLATION_NONE = 2     /* the engine lives in the caller: a handler
				   * that crashes takes the caller with it */
};

struct mk_ctx_params {
	uint32_t size;          /* sizeof(struct mk_ctx_params) */
	uint32_t isolation;     /* enum mk_isolation */
	const char *engine;     /* NULL: "cpu" */
	uint32_t device;        /* index within the engine */
	uint32_t workers;       /* 0: ask the machine; at most 1024 */
	uint32_t buffers_max;   /* live buffers; 0: 65,536; at most 2^20 */
	uint32_t scratch_bytes; /* per worker; 0: 64 KiB; at most 64 MiB */
	uint64_t shared_bytes;  /* for queues; 0: 64 MiB; at most 4 GiB. Address
				 * space: memory is taken with each queue */
	uint64_t heap_bytes;    /* for buffers, likewise; 0: the machine's
				 * memory, or less where a limit of the process
				 * says so; at most 64 TiB */
	uint64_t idle_ns;       /* a worker with no work spins this long, then
				 * sleeps; 0: 50 us */
	uint64_t command_ns;    /* the worker process answers a command within
				 * this, or is replaced; 0: 30 s */
	const char *cache_dir;  /* compiled modules; NULL:
				 * $XDG_CACHE_HOME/megakernel */
	const char *worker_path; /* NULL: $MEGAKERNEL_WORKER, else beside the
				  * library or program, else as installed */
	const char *compiler;   /* NULL: $CC, else cc, gcc, clang */
	/* engine cuda; the engine cpu has none and ignores both */
	uint32_t sm_count;      /* multiprocessors that the resident kernel
				 * takes at most; 0: all of the device */
	uint32_t sm_percent;    /* the same, 1 to 100 of a hundred, rounded
				 * down, but one at least; 0: see sm_count */
	/* engine cuda with isolation none only; megakernel/cuda.h */
	void *native_context;   /* CUcontext to live in; NULL: the primary
				 * context of the device is retained */
	void *native_stream;    /* CUstream for the kernel; NULL: a
				 * non-blocking one of its own */

	/* What happens when something goes wrong. Isolation none cannot
	 * restart anything: recovery must be OFF, or left at 0; hangs are
	 * told of by mk_ctx_error() and cannot be ended. */
	uint32_t recovery;      /* enum mk_recovery */
	uint32_t restarts_max;  /* budget within the window; 0: 16. A restart
				 * that fails counts */
	uint64_t restart_window_ns; /* 0: 60 s */
	uint64_t restart_delay_ns; /* before the second restart within the
				 * window; doubles with each further one, up
				 * to 1,024 times; 0: 1 ms */
	uint64_t hang_ns;       /* a slot that makes no progress for so long is
				 * asked to end (mk_cancelled()); 0: 30 s, at
				 * least 1 ms; MK_FOREVER: never */
	uint64_t grace_ns;      /* if it has not ended this much later the
				 * worker process is killed; 0: a tenth of
				 * hang_ns, from 50 ms to 1 s */
	const char *evidence_dir; /* what goes on at each loss is written into
				 * files here; NULL: mk_ctx_evidence() only */
	uint32_t made_mode;     /* enum mk_made_mode; megakernel/made.h */
	uint32_t made_entries;  /* 0: MK_MADE_ENTRIES */
	uint32_t heartbeat;     /* enum mk_heartbeat */
	uint32_t reserved;      /* 0 */
};

/**
 * Connect to an engine and make it resident.
 *
 * Starts the worker process, or with isolation none the workers, maps the
 * shared memory, loads the built-in handlers. Allocates, blocks: milliseconds.
 *
 * @param params  NULL for all defaults; copied. Its relative paths begin in
 *                the directory that is the caller's now.
 * @param out     the context; end it with mk_ctx_destroy().
 *
 * @retval -EINVAL       a field is out of its range.
 * @retval -E2BIG        params has an unknown tail that is not zero.
 * @retval -ENOENT, -ENOTDIR, -EACCES ...  evidence_dir will not do.
 * @retval -ENOMEM       no memory, or no room for heap_bytes of addresses.
 * @retval -EFBIG        it exceeds the limit on a file's size (RLIMIT_FSIZE).
 * @retval -EMFILE       descriptors are exhausted (-ENFILE: system-wide).
 * @retval -MK_EENGINE   no such engine or device, or not on this machine.
 * @retval -MK_EWORKER   the worker process could not be started.
 * @retval -MK_EABI      the worker process is of another version.
 * @retval -ETIME, -MK_EDEVLOST  cuda: the kernel did not come up in time; the
 *                       device failed meanwhile.
 */
MK_API int mk_ctx_create(const struct mk_ctx_params *params,
			 struct mk_ctx **out);

/**
 * Stop everything and free the context, its queues and its buffers.
 *
 * Queues still open are stopped: slots not yet claimed end with
 * -MK_ECANCELLED, slots that run may finish until the deadline. With
 * isolation process the worker process is killed at once if a slot has not
 * ended by then, and within a second if all have; it is always reaped. With
 * isolation none a handler that does not return cannot be ended: then -ETIME
 * is returned, the context stays valid, and the call may be repeated.
 *
 * NULL is allowed. No other thread may use the context meanwhile.
 *
 * @return the slots that never got an answer; 0 is a clean end.
 * @retval -ETIME  see above; isolation none only.
 */
MK_API int64_t mk_ctx_destroy(struct mk_ctx *ctx, uint64_t timeout_ns);

/** What mk_ctx_info.state says. */
enum mk_ctx_state {
	MK_CTX_ALIVE = 0,
	MK_CTX_LOST = 1,      /* until mk_ctx_recover() */
	MK_CTX_RECOVERING = 2 /* lost, and on its way back by itself */
};

/** What a context turned out to be. */
struct mk_ctx_info {
	char engine[16];
	char device_name[64];
	uint32_t isolation;     /* PROCESS or NONE */
	uint32_t workers;
	int32_t worker_pid;     /* of the worker process; 0 with NONE */
	uint32_t queues;        /* open; mk_dispatch() keeps some of its own */
	uint32_t buffers;
	uint32_t handlers;      /* built-in ones included */
	uint64_t shared_bytes;
	uint64_t shared_used;
	uint64_t heap_bytes;
	uint64_t heap_used;
	uint32_t abi;
	uint32_t fingerprint;
	uint32_t sm_count;      /* that the kernel takes at most; cpu: 0 */
	uint32_t recovery;      /* OFF, ONCE or BUDGET */
	uint32_t state;         /* enum mk_ctx_state */
	uint32_t reserved;
	uint64_t hang_ns;
	uint64_t grace_ns;
};

/** Thread-safe; takes a lock. */
MK_API int mk_ctx_info(struct mk_ctx *ctx, struct mk_ctx_info *out);

/**
 * The first failure of this context since it was made or last recovered,
 * by itself or by mk_ctx_recover(): the cause, not what followed from it. A
 * lost device is sticky. See mk_ctx_evidence() for the past.
 *
 * @return 1 if there was one and *out was written, else 0.
 */
MK_API int mk_ctx_error(struct mk_ctx *ctx, struct mk_error *out);

/**
 * Make the engine step aside: running slots finish, no slot starts, until
 * mk_ctx_resume(). Published slots wait; publishing brings nothing back
 * before. Nests: as many resumes as quiesces.
 *
 * Engine cuda: the resident kernel has left the device on return, so that
 * calls which wait for every kernel of the context (cuMemFree, cuModuleLoad,
 * cuCtxSynchronize) do not wait for it. It may be called while such a call
 * already hangs in another thread, which then returns. An idle kernel is gone
 * within a millisecond; one that runs slots, as soon as they have ended, but
 * within timeout_ns. A command that needs the kernel (such as
 * mk_queue_create()) brings it back for as long as the command takes.
 *
 * @retval -ETIME        a slot still runs; the engine was resumed.
 * @retval -MK_EDEVLOST  the device is lost.
 */
MK_API int mk_ctx_quiesce(struct mk_ctx *ctx, uint64_t timeout_ns);

/** @retval -EALREADY  the context is not quiesced. */
MK_API int mk_ctx_resume(struct mk_ctx *ctx);

/* ---- queues ----------------------------------------------------------- */

struct mk_queue_params {
	uint32_t size;          /* sizeof(struct mk_queue_params) */
	uint32_t entries;       /* power of two, 2..65,536; 0: 1,024 */
	uint32_t priority;      /* enum mk_priority + 1; 0: NORMAL. Workers look
				 * at queues of higher priority more often;
				 * none starves */
	uint32_t flags;         /* 0 */
	uint32_t observables;   /* 64-bit words; 0: 64; at most 65,536 */
	uint32_t log_records;   /* power of two; 0: 256; at most 65,536 */
	uint32_t io_records;    /* power of two; 0: 64; at most 65,536 */
	uint32_t reserved;      /* 0 */
	uint64_t spin_ns;       /* a waiter spins this long before it sleeps;
				 * 0: 20 us; MK_FOREVER: never sleeps */
	uint64_t first_ticket;  /* where the free-running counters start; 0 but
				 * in tests of their wrap */
};

/**
 * Make a queue on a running engine. Allocates, one command to the engine.
 *
 * @param params  NULL for all defaults; copied.
 * @param out     the queue; end it with mk_queue_destroy(). It must not
 *                outlive its context.
 *
 * @retval -EINVAL       a field is out of its range.
 * @retval -E2BIG        params has an unknown tail that is not zero.
 * @retval -ENOMEM       no memory, or shared_bytes of the context is used up.
 * @retval -ENOSPC       the engine has all the queues it can serve.
 * @retval -MK_EDEVLOST  the device is lost.
 */
MK_API int mk_queue_create(struct mk_ctx *ctx,
			   const struct mk_queue_params *params,
			   struct mk_queue **out);

/**
 * Stop a queue as mk_queue_stop() does, then free it. NULL is allowed. No
 * other thread may use the queue meanwhile.
 *
 * @return the slots that never got an answer; 0 is a clean end.
 * @retval -ETIME  a slot still runs; the queue stays valid and stopped, and
 *                 the call may be repeated.
 */
MK_API int64_t mk_queue_destroy(struct mk_queue *q, uint64_t timeout_ns);

/**
 * One piece of work, as the host fills it. Lives in the queue's own host
 * memory from get to advance; the device sees it when it is submitted.
 */
struct mk_slot {
	uint16_t opcode;
	uint16_t tenant;    /* 0..MK_TENANTS-1 */
	uint8_t priority;   /* enum mk_priority; counted and passed on. Order
			     * comes from the choice of queue */
	uint8_t flags;      /* MK_SLOT_*; set by mk_slot_deadline() and such */
	uint16_t tiles;     /* pieces the work is cut into; 0 means 1 */
	uint64_t user_data; /* echoed in the completion */
	union {
		uint32_t arg[MK_ARG_WORDS];
		uint64_t arg64[MK_ARG_WORDS / 2];
		unsigned char bytes[MK_ARG_BYTES];
	};
};

/** The answer to one slot. */
struct mk_completion {
	uint64_t user_data;
	uint64_t value;   /* the handler's; 0 unless it set one */
	int32_t result;   /* >= 0, or a negated code */
	uint16_t opcode;
	uint16_t worker;  /* that ran it */
};

/**
 * Get slots to fill: a run of consecutive ones, in the queue's memory.
 *
 * A slot that was got must be submitted; later slots wait for it. To give one
 * up, submit it as MK_OP_NOP. The header words and user_data hold what an
 * earlier lap left there: fill all of them, or use mk_slot_init().
 *
 * Completions may be advanced in any order, but places are freed in the order
 * of submission: a slot that was advanced before older ones keeps its place
 * until the oldest is advanced, too. So one slow slot can fill the ring.
 *
 * No lock, no system call, no allocation. Lock-free.
 *
 * @param n    how many are wanted, 1 or more.
 * @param out  the first slot of the run.
 *
 * @return how many were got, 1..n; fewer where the ring is nearly full or
 *         comes round.
 * @retval -EAGAIN       the ring is full: reap, or wait with get_wait.
 * @retval -EINVAL       n is 0.
 * @retval -MK_ESTOPPED  the queue was stopped.
 * @retval -MK_EDEVLOST  the device is lost.
 */
MK_API int mk_queue_get(struct mk_queue *q, unsigned n, struct mk_slot **out);

/**
 * The same, waiting for room. Spins for the queue's spin_ns, then sleeps.
 * Another thread has to reap.
 *
 * @retval -ETIME  still full after timeout_ns.
 */
MK_API int mk_queue_get_wait(struct mk_queue *q, unsigned n,
			     struct mk_slot **out, uint64_t timeout_ns);

/** Clear a slot and name its opcode. Inline; no checks. */
static inline void mk_slot_init(struct mk_slot *slot, uint16_t opcode,
				uint64_t user_data)
{
	memset(slot, 0, sizeof(*slot));
	slot->opcode = opcode;
	slot->priority = MK_PRIORITY_NORMAL;
	slot->user_data = user_data;
}

/**
 * Clear a slot, name its opcode and copy its arguments, with checks.
 *
 * @param args   copied; may be NULL if bytes is 0.
 * @param bytes  must be what the handler declares.
 *
 * @retval -MK_EOPCODE  no loaded handler has this opcode.
 * @retval -MK_EARGS    bytes is not what the handler takes.
 */
MK_API int mk_queue_fill(struct mk_queue *q, struct mk_slot *slot,
			 uint16_t opcode, uint64_t user_data,
			 const void *args, size_t bytes);

/**
 * Give a slot that was got, and not yet submitted, a deadline: an absolute
 * time of CLOCK_MONOTONIC. If it passes before a worker starts the slot, the
 * slot ends with -MK_EDEADLINE and is not run. If it passes while the slot
 * runs, the handler is asked to end: mk_cancelled() becomes true within some
 * milliseconds, and if it then gives up with -MK_ECANCELLED the slot ends with
 * -MK_EOVERRUN; an answer that it gives instead stands. Nobody is killed for
 * being late, only for making no progress: mk_ctx_params.hang_ns. The handler
 * can read the deadline.
 */
MK_API int mk_slot_deadline(struct mk_queue *q, struct mk_slot *slot,
			    uint64_t deadline_ns);

/**
 * Publish slots that were got from this queue: a run, or part of one.
 *
 * All or nothing: the slots are checked first, and if one is refused none is
 * published and all stay with the caller. Wakes a worker by one system call
 * when, and only when, all are asleep. No lock, no allocation.
 *
 * @return n.
 * @retval -EINVAL       priority, flags or n is out of range.
 * @retval -MK_EOPCODE   no loaded handler has this opcode.
 * @retval -MK_ERANGE    tenant is not below MK_TENANTS.
 * @retval -MK_ENOTGOT   slots does not point to slots that were got from this
 *                       queue, or the first or last of them was submitted
 *                       already.
 */
MK_API int mk_queue_submit(struct mk_queue *q, struct mk_slot *slots,
			   unsigned n);

/**
 * Copy completions that are ready, without freeing their slots. They come in
 * the order of submission where the answers did, else as they became ready. A
 * second peek returns the same ones first. When it returns 0 the event fd, if
 * there is one, is armed again.
 *
 * @return how many were copied, 0..n.
 * @retval -MK_EDEVLOST  the device is lost, and every slot that had no
 *                       answer has been given one and was reaped.
 */
MK_API int mk_queue_peek(struct mk_queue *q, struct mk_completion *out,
			 unsigned n);

/**
 * Free the slots of the first n completions that were peeked.
 * @return n.
 * @retval -EINVAL  fewer than n completions were peeked.
 */
MK_API int mk_queue_advance(struct mk_queue *q, unsigned n);

/**
 * Peek and advance in one. Same result as mk_queue_peek(), but answers behind
 * a slot that has none are looked for only if a later call, 5 us after the
 * one that first missed it, still misses it.
 */
MK_API int mk_queue_reap(struct mk_queue *q, struct mk_completion *out,
			 unsigned n);

/**
 * Wait until at least min completions are ready, then return how many are.
 *
 * Spins for the queue's spin_ns, then sleeps; makes a system call only when
 * it sleeps.
 *
 * @param min  1..entries; never more than are in flight, or it cannot end
 *             before the timeout.
 *
 * @return the number of completions that can be peeked without waiting.
 * @retval -ETIME        fewer than min became ready in time.
 * @retval -MK_EDEVLOST  the device is lost, and every slot that had no
 *                       answer has been given one and was reaped.
 */
MK_API int mk_queue_wait(struct mk_queue *q, unsigned min,
			 uint64_t timeout_ns);

/**
 * Submit one slot and wait for its answer. For callers that have the queue
 * to themselves; completions of other slots that come first stay ready, and
 * their places in the ring, and those behind them, stay taken.
 *
 * @param slot  filled by the caller, in its own memory; copied.
 * @return the result of the slot, which is also out->result.
 * @retval -EAGAIN  the ring was full all the time: nothing was submitted.
 * @retval -ETIME   no answer in time; it will come as a completion with the
 *                  slot's user_data.
 * @retval others   as of mk_queue_get(), mk_queue_submit(), mk_queue_wait().
 */
MK_API int mk_queue_call(struct mk_queue *q, const struct mk_slot *slot,
			 struct mk_completion *out, uint64_t timeout_ns);

/**
 * An eventfd that becomes readable when a completion is ready. Read it, then
 * peek until 0, which arms it again. Owned by the queue; do not close it.
 * Each call returns the same descriptor. Costs the engine one system call for
 * each time it was armed.
 *
 * @retval -EMFILE  descriptors are exhausted.
 */
MK_API int mk_queue_event_fd(struct mk_queue *q);

/**
 * Ask the slots with this user_data to end. Those not yet claimed end with
 * -MK_ECANCELLED without being run; those that run see mk_cancelled(). Walks
 * the slots in flight; to be called by the thread that reaps.
 * @return how many unanswered slots were asked.
 */
MK_API int mk_queue_cancel(struct mk_queue *q, uint64_t user_data);

/** The same for every slot that is in flight. From any thread; slots that are
 * submitted meanwhile may be asked or not. Returns how many were asked. */
MK_API int64_t mk_queue_cancel_all(struct mk_queue *q);

/**
 * Wait until every submitted slot has its answer, reaped or not. Other
 * threads should not submit meanwhile.
 *
 * @return the slots that had no answer at the deadline; 0: drained.
 * @retval -MK_EDEVLOST  the device is lost.
 */
MK_API int64_t mk_queue_drain(struct mk_queue *q, uint64_t timeout_ns);

/**
 * Take no more slots, end those not yet claimed with -MK_ECANCELLED, wait for
 * those that run. Their completions can be reaped afterwards. Final.
 *
 * @return the slots that had no answer at the deadline; 0: stopped clean.
 */
MK_API int64_t mk_queue_stop(struct mk_queue *q, uint64_t timeout_ns);

/** Entries of the ring. */
MK_API uint32_t mk_queue_entries(const struct mk_queue *q);

/**
 * One observable word of the queue's control block, as handlers and the
 * built-in word opcodes see it. A word is to be changed from one side at a
 * time: on engine cuda, a store here may be lost beside a handler that adds
 * to, exchanges or compares and swaps the same word.
 * @retval -MK_ERANGE  word is not below the queue's observables.
 */
MK_API int mk_queue_observe(struct mk_queue *q, uint32_t word,
			    uint64_t *value);
MK_API int mk_queue_set_observable(struct mk_queue *q, uint32_t word,
				   uint64_t value);

/** A record that a handler printed. */
struct mk_log_entry {
	uint64_t ticket;  /* slots of a queue are numbered from first_ticket */
	uint32_t format;
	uint32_t arg[3];
	uint32_t worker;
	uint32_t reserved;
};

/**
 * Take records of the queue's debug log, oldest first, each once.
 *
 * @param lost  records that were overwritten since the last call; may be
 *              NULL.
 * @return how many were written to out, 0..n.
 */
MK_API int mk_queue_log_read(struct mk_queue *q, struct mk_log_entry *out,
			     unsigned n, uint64_t *lost);

/* ---- buffers ---------------------------------------------------------- */

/** A handle: mk_ref in one word; 0 is never valid. */
typedef uint64_t mk_buffer_t;

static inline struct mk_ref mk_buffer_ref(mk_buffer_t buffer)
{
	struct mk_ref ref = { (uint32_t)buffer, (uint32_t)(buffer >> 32) };

	return ref;
}

/*
 * MIRRORED and VOLATILE say what becomes of the content when the device is
 * lost and brought back. With neither, the content stays where the memory
 * outlives the worker process (cpu, HOST and imported memory: what handlers
 * had written until then, half-done work included), and is VOLATILE where it
 * does not (cuda).
 */
enum mk_buffer_flags {
	MK_BUFFER_READ_ONLY = 1, /* handlers may only read it */
	MK_BUFFER_MIRRORED = 2,  /* the library keeps a second copy, in the
				  * caller's memory, and writes it back */
	MK_BUFFER_VOLATILE = 4,  /* zeroed, and its handle is refused with
				  * -MK_EVOLATILE; see mk_buffer_renew() */
	MK_BUFFER_HOST = 8       /* host memory that handlers use in place and
				  * mk_buffer_map() gives, on every engine.
				  * Comes out of shared_bytes of the context
				  * (cuda, where it is pinned) or heap_bytes
				  * (cpu, where all memory is such) */
};

/**
 * Allocate resident memory, zeroed. Page granularity. One command to the
 * engine; not for hot paths.
 *
 * @param bytes  1 or more.
 * @param flags  enum mk_buffer_flags, or-ed.
 * @retval -EINVAL       bytes is 0 or above 2^63 - 1, flags has an unknown
 *                       bit, or is both MIRRORED and VOLATILE.
 * @retval -ENOMEM       no memory (MIRRORED: for either copy), heap_bytes is
 *                       used up or too fragmented; HOST on cuda: shared_bytes.
 * @retval -ENOSPC       buffers_max is reached.
 * @retval -MK_EDEVLOST  the device is lost.
 */
MK_API int mk_buffer_create(struct mk_ctx *ctx, uint64_t bytes,
			    uint32_t flags, mk_buffer_t *out);

/**
 * Free a buffer. Its handle is refused from now on. Waits until no slot that
 * was running at the time of the call still runs. A handle that is refused
 * with -MK_EVOLATILE elsewhere is accepted here.
 *
 * @retval -MK_ESTALE    the buffer was freed before.
 * @retval -MK_EFOREIGN  the handle was never one of this context.
 * @retval -ETIME        a slot still runs; the buffer stays valid.
 */
MK_API int mk_buffer_destroy(struct mk_ctx *ctx, mk_buffer_t buffer,
			     uint64_t timeout_ns);

/**
 * Copy host bytes into, or out of, a buffer. Not ordered with slots in
 * flight: wait for their completions first. Thread-safe.
 *
 * Writing goes to the second copy of a MIRRORED buffer too.
 *
 * @retval -MK_ERANGE    offset + bytes exceeds the buffer.
 * @retval -MK_EVOLATILE the content was lost with the device: renew the
 *                       handle, fill the buffer again.
 * @retval -MK_EDEVLOST  the device is lost, and the memory with it (not cpu).
 * @retval -MK_ESTALE, -MK_EFOREIGN  as above.
 */
MK_API int mk_buffer_write(struct mk_ctx *ctx, mk_buffer_t buffer,
			   uint64_t offset, const void *data, uint64_t bytes);
MK_API int mk_buffer_read(struct mk_ctx *ctx, mk_buffer_t buffer,
			  uint64_t offset, void *data, uint64_t bytes);

/**
 * The buffer's memory in the caller: any buffer of engine cpu, and those made
 * with MK_BUFFER_HOST. Valid until the buffer is destroyed. No copy, no
 * system call. What is stored through it before a slot is submitted, its
 * handler sees; what a handler wrote is there when its completion is. It
 * reaches the second copy of a MIRRORED buffer by mk_buffer_checkpoint()
 * alone.
 *
 * @retval -EOPNOTSUPP  the memory is the device's, or was imported.
 * @retval -MK_ESTALE, -MK_EFOREIGN, -MK_EVOLATILE  as above.
 */
MK_API int mk_buffer_map(struct mk_ctx *ctx, mk_buffer_t buffer, void **out);

/** @retval -MK_ESTALE, -MK_EFOREIGN, -MK_EVOLATILE as above. */
MK_API int mk_buffer_bytes(struct mk_ctx *ctx, mk_buffer_t buffer,
			   uint64_t *out);

/**
 * Take what a MIRRORED buffer holds now as its second copy: after a lost
 * device the buffer has, byte for byte, what was last written by
 * mk_buffer_write() or taken here, whichever came later.
 *
 * Copies the buffer once and allocates as much for the time of the call; all
 * or nothing: if it fails, the copy before stays. Not ordered with slots in
 * flight. Thread-safe; other commands wait for it.
 *
 * @retval -EINVAL       the buffer is not MIRRORED.
 * @retval -ENOMEM       no memory for the new copy.
 * @retval -MK_EDEVLOST  the device is lost.
 * @retval -MK_ESTALE, -MK_EFOREIGN  as above.
 */
MK_API int mk_buffer_checkpoint(struct mk_ctx *ctx, mk_buffer_t buffer);

/**
 * The handle that a buffer has now. Of a buffer whose content was lost with
 * the device that is a new one, and the buffer is all zeros; of any other it
 * is the same. Slots that carry the old handle end with -MK_EVOLATILE.
 * Thread-safe; takes a lock.
 *
 * @param out  written on success; may be &buffer.
 * @retval -MK_ESTALE, -MK_EFOREIGN  as above.
 */
MK_API int mk_buffer_renew(struct mk_ctx *ctx, mk_buffer_t buffer,
			   mk_buffer_t *out);

/* ---- modules and handlers --------------------------------------------- */

enum mk_width { MK_WIDTH_THREAD = 0, MK_WIDTH_WARP = 1, MK_WIDTH_BLOCK = 2 };

/** A handler that can be named in slots. */
struct mk_handler_info {
	char name[MK_HANDLER_NAME_BYTES];
	uint16_t opcode;
	uint16_t arg_bytes; /* 0..48 */
	uint8_t width;      /* enum mk_width */
	uint8_t builtin;
	uint16_t reserved;
	uint32_t module;    /* that it came from; 0: built in */
};

enum mk_module_flags {
	MK_MODULE_REPLACE = 1 /* handlers of the same name are replaced and keep
			       * their opcodes; their module must be replaced
			       * whole */
};

/**
 * Compile a handler source file, or take it from the cache, and load it into
 * the running engine. Slots in flight are not disturbed; when handlers are
 * replaced, slots that run finish with the old ones.
 *
 * @param path   a source file (.c), or what mk_module_compile() wrote (.mkm).
 * @param id     of the module, for mk_module_unload(); may be NULL.
 *
 * @retval -ENOENT, -EACCES ...  the file cannot be read.
 * @retval -EINVAL          flags has an unknown bit.
 * @retval -MK_ENOCOMPILER  there is no compiler; also if the result is in the
 *                          cache, which is looked up by the preprocessed
 *                          text. A .mkm file needs no compiler.
 * @retval -MK_ECOMPILE     it does not compile; the compiler's messages are
 *                          in mk_error_last()->text.
 * @retval -MK_EMODULE      no handler, over 200, or of another ABI version.
 * @retval -MK_ECLASH       a handler of one of its names is loaded already.
 * @retval -ENOSPC          there is no opcode left.
 */
MK_API int mk_module_load(struct mk_ctx *ctx, const char *path,
			  uint32_t flags, uint32_t *id);

/** The same from source text in memory; name, or NULL, stands in messages. */
MK_API int mk_module_load_source(struct mk_ctx *ctx, const char *name,
				 const char *source, uint32_t flags,
				 uint32_t *id);

struct mk_module_table; /* megakernel/handler.h: MK_MODULE_DEFINE */

/**
 * Load handlers that are linked into the program. Isolation none only.
 * @retval -EOPNOTSUPP  the worker process cannot call into the caller.
 */
MK_API int mk_module_load_static(struct mk_ctx *ctx,
				 const struct mk_module_table *table,
				 uint32_t flags, uint32_t *id);

/**
 * Unload a module. Waits until no slot that was running at the time of the
 * call still runs; slots that name its opcodes afterwards are refused.
 * @retval -ENOENT  no module has this id.
 * @retval -ETIME   a slot still runs; the module stays unloaded in name and
 *                  its code stays mapped.
 */
MK_API int mk_module_unload(struct mk_ctx *ctx, uint32_t id,
			    uint64_t timeout_ns);

/**
 * Compile ahead of time into one file that mk_module_load() takes. The file is
 * made beside its place and renamed: what is there is whole, old or new.
 * @param params  engine, device, cache_dir and compiler count; NULL for
 *                defaults. engine may be a list, "cpu,cuda:sm_80,cuda:sm_90".
 * @retval -EINVAL  out_path is no file; others: open(2), mk_module_load().
 */
MK_API int mk_module_compile(const struct mk_ctx_params *params,
			     const char *source_path, const char *out_path);

/** @retval -MK_ENOHANDLER  no loaded module has a handler of this name. */
MK_API int mk_handler_find(struct mk_ctx *ctx, const char *name,
			   struct mk_handler_info *out);

/** @return the number of handlers there are, which may exceed n. */
MK_API int mk_handler_list(struct mk_ctx *ctx, struct mk_handler_info *out,
			   unsigned n);

#include <megakernel/batch.h>
#include <megakernel/stats.h>
#include <megakernel/recovery.h>
#include <megakernel/dispatch.h>

#ifdef __cplusplus
}
#endif
#endif
