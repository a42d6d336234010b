/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file handler.h
 * The handler dialect: one source file for every engine.
 *
 *	#include <megakernel/handler.h>
 *
 *	struct saxpy { struct mk_ref x, y; float a; uint32_t n; };
 *
 *	MK_HANDLER(saxpy, struct saxpy)
 *	{
 *		uint64_t bytes = (uint64_t)args->n * sizeof(float);
 *		const float *x = mk_read(task, args->x, bytes);
 *		float *y = mk_write(task, args->y, bytes);
 *
 *		if (!x || !y)
 *			return mk_fail(task);
 *		for (uint32_t i = mk_lane(task); i < args->n;
 *		     i += mk_lanes(task))
 *			y[i] += args->a * x[i];
 *		return MK_OK;
 *	}
 *
 * Compiles as C11 for the CPU (one lane) and as CUDA (many). CUDA is C++, so a
 * handler keeps to what both have: of C11's own, _Alignas, _Alignof, _Bool,
 * _Static_assert, restrict, designated initializers in order, and of
 * string.h memcpy, memmove, memset, memcmp and strlen work on both; _Generic
 * and compound literals do not. What is for one engine alone stands behind
 * #if MK_CUDA, but for MK_HANDLER() itself.
 *
 * A handler returns a result >= 0 or a negated code (-MK_E..., -errno);
 * mk_value() adds a 64-bit value. What it may touch: its arguments, buffers
 * through mk_read() and mk_write(), scratch, and the calls below. It must not
 * keep pointers between slots, nor call itself, directly or through others: on
 * a GPU the stack is as deep as the compiler can see (a loop with a list in
 * scratch does the same). Lanes of one slot share everything; lane 0's
 * result and value are the slot's.
 */
#ifndef MEGAKERNEL_HANDLER_H
#define MEGAKERNEL_HANDLER_H

#include <megakernel/abi.h>

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define MK_CUDA 1
#define MK_FN static __device__ __forceinline__
#define MK_CONST static __device__ const
#else
#define MK_CUDA 0
#define MK_FN static inline __attribute__((unused))
#define MK_CONST static const /* a table: MK_CONST uint32_t primes[] = ... */
#endif

/*
 * What an accessor gives: an address of any type, as in C, where C++ would want
 * a cast.
 */
#if defined(__cplusplus)
#if MK_CUDA
#define MK_METHOD __device__ __forceinline__
#else
#define MK_METHOD inline
#endif
struct mk_any {
	void *at;

	template <typename type> MK_METHOD operator type *() const
	{
		return static_cast<type *>(at);
	}
	MK_METHOD explicit operator bool() const { return at != nullptr; }
	MK_METHOD explicit operator uintptr_t() const
	{
		return reinterpret_cast<uintptr_t>(at);
	}
};
struct mk_any_const {
	const void *at;

	template <typename type> MK_METHOD operator const type *() const
	{
		return static_cast<const type *>(at);
	}
	MK_METHOD explicit operator bool() const { return at != nullptr; }
	MK_METHOD explicit operator uintptr_t() const
	{
		return reinterpret_cast<uintptr_t>(at);
	}
};
#define MK_ANY mk_any
#define MK_ANY_CONST mk_any_const
#define MK_AS_ANY(type, p) type{ p }
#else
#define MK_ANY void *
#define MK_ANY_CONST const void *
#define MK_AS_ANY(type, p) (p)
#endif

/* What an engine knows of one buffer. Private to engine and accessors. */
struct mk_window {
	uint64_t base;       /* address in the engine's address space */
	uint64_t bytes;
	uint32_t generation; /* 0: no buffer; store-release, last */
	uint32_t flags;      /* enum mk_buffer_flags */
	uint32_t last;       /* generation of the last buffer here; relaxed */
	uint32_t born;       /* generations from here on named this buffer
			      * before the device was lost; 0: none; relaxed */
};

/* What the tiles of a slot have in common; see flow.h. In the engine's
 * memory, zeroed when the slot begins. */
struct mk_tile_join {
	uint32_t arrived; /* at mk_tile_last() */
	uint32_t summed;  /* mk_tile_add() was called */
	uint64_t sum;
	uint32_t ended;   /* the engine's */
	uint32_t reserved;
};

enum mk_next_kind {
	MK_NEXT_NONE = 0,
	MK_NEXT_RUN = 1, /* run the handler later */
	MK_NEXT_WAIT = 2 /* run it when the counter has reached the value */
};

/* How a slot goes on whose handler returned MK_NEXT; see flow.h. */
struct mk_next {
	uint32_t kind; /* enum mk_next_kind */
	uint32_t opcode;
	struct mk_ref counter;
	uint64_t value;
	uint32_t word;
	uint32_t reserved;
	uint32_t args[MK_ARG_WORDS];
};

struct mk_flow_calls; /* flow.h */

/* One slot while it runs. Private: use the calls below. */
struct mk_task {
	const struct mk_window *windows;
	uint32_t window_count;
	int32_t error;       /* first failure of an accessor, negated */
	uint64_t ticket;
	uint64_t value;
	uint64_t deadline_ns; /* UINT64_MAX: none */
	const uint32_t *cancel; /* device: load-acquire; may be NULL */
	uint32_t cancel_mark;
	uint32_t worker;
	unsigned char *scratch;
	uint32_t scratch_bytes;
	uint32_t lane, lanes;
	uint32_t tile, tiles;
	uint32_t dirty;      /* wrote something that others may read */
	struct mk_control *control;
	uint64_t *observables;
	uint32_t observable_count; /* as checked by the engine */
	uint32_t log_capacity;
	struct mk_debug_log *log;  /* records behind it; NULL: none */
	struct mk_io_queue *io;    /* records behind it; NULL: none */
	uint32_t io_capacity;
	uint32_t tile_last;  /* mk_tile_last() was true for this tile */
	void *engine;
	uint32_t *beat;      /* of the worker's block; NULL: nobody looks */
	const struct mk_flow_calls *flow; /* NULL: nothing is made here */
	struct mk_tile_join *join; /* of several tiles; NULL: one */
	uint32_t opcode;     /* that runs: the slot's, or what it went on as */
	uint32_t made;       /* mk_spawn() made something; the engine's */
	struct mk_next next;
};

typedef int32_t (*mk_handler_fn)(struct mk_task *task, const void *args);

struct mk_handler_entry {
	char name[MK_HANDLER_NAME_BYTES];
	uint32_t arg_bytes;
	uint32_t width; /* 0 thread, 1 warp, 2 block */
	mk_handler_fn run;
};

/* What a module exports under the name mk_module_table. */
struct mk_module_table {
	uint32_t abi;
	uint32_t fingerprint;
	const struct mk_handler_entry *first, *end;
};

/* ---- declaring handlers ---------------------------------------------- */

/* struct mk_none: the arguments of a handler that takes none, 0 bytes. */
#if defined(__cplusplus)
struct mk_none {};
#define MK_BYTES_OF(type) (__is_empty(type) ? 0 : sizeof(type))
#else
__extension__ struct mk_none {};
#define MK_BYTES_OF(type) sizeof(type)
#endif

/* Where handlers gather; the library's own gather elsewhere. */
#ifndef MK_HANDLER_SECTION
#define MK_HANDLER_SECTION "mk_handlers"
#endif

/* Nothing refers to a handler by name: keep it whatever the linker thinks. */
#define MK_RETAIN used
#if defined(__has_attribute)
#if __has_attribute(retain)
#undef MK_RETAIN
#define MK_RETAIN used, retain
#endif
#endif

#if MK_CUDA
#define MK_HANDLER_(name, type, width)                                       \
	static __device__ int32_t mk_body_##name(struct mk_task *,           \
						 const type *);              \
	enum { mk_width_##name = (width) };                                  \
	enum { mk_bytes_##name = MK_BYTES_OF(type) };                        \
	MK_STATIC_ASSERT(sizeof(type) <= MK_ARG_BYTES,                       \
			 "arguments of " #name " exceed 48 bytes");          \
	static __device__ __noinline__ int32_t mk_run_##name(                \
		struct mk_task *task, const void *args)                      \
	{                                                                    \
		return mk_body_##name(task, (const type *)args);             \
	}                                                                    \
	static __device__ int32_t mk_body_##name(struct mk_task *task,       \
						 const type *args)
#else
#define MK_HANDLER_(name, type, width_)                                      \
	static int32_t mk_body_##name(struct mk_task *, const type *);       \
	MK_STATIC_ASSERT(sizeof(type) <= MK_ARG_BYTES,                       \
			 "arguments of " #name " exceed 48 bytes");          \
	MK_STATIC_ASSERT(sizeof(#name) <= MK_HANDLER_NAME_BYTES,             \
			 "the name " #name " exceeds 47 characters");        \
	static int32_t mk_run_##name(struct mk_task *task, const void *args) \
	{                                                                    \
		return mk_body_##name(task, (const type *)args);             \
	}                                                                    \
	static const struct mk_handler_entry mk_entry_##name                 \
		__attribute__((section(MK_HANDLER_SECTION), aligned(8),      \
			       MK_RETAIN)) = {                               \
			#name, MK_BYTES_OF(type), (width_), mk_run_##name    \
		};                                                           \
	static int32_t mk_body_##name(struct mk_task *task, const type *args)
#endif

/** A handler run by a warp on a GPU: the default width. */
#define MK_HANDLER(name, type) MK_HANDLER_(name, type, 1)
/** A handler run by one thread on a GPU. */
#define MK_HANDLER_THREAD(name, type) MK_HANDLER_(name, type, 0)
/** A handler run by a block on a GPU. */
#define MK_HANDLER_BLOCK(name, type) MK_HANDLER_(name, type, 2)

/**
 * Handlers linked into a program: put this once in a C file that has
 * handlers, and hand `&symbol` to mk_module_load_static(). It covers every
 * handler that is linked into the same program or shared object.
 */
#define MK_MODULE_DEFINE(symbol)                                             \
	extern const struct mk_handler_entry __start_mk_handlers[]           \
		__attribute__((visibility("hidden")));                       \
	extern const struct mk_handler_entry __stop_mk_handlers[]            \
		__attribute__((visibility("hidden")));                       \
	extern const struct mk_module_table symbol                           \
		__attribute__((visibility("default")));                      \
	const struct mk_module_table symbol = {                              \
		MK_ABI_VERSION, MK_FINGERPRINT,                              \
		__start_mk_handlers, __stop_mk_handlers                      \
	}

/* ---- who am I --------------------------------------------------------- */

#if defined(MK_LANES) && !MK_CUDA
/* built for an engine that has always so many: 1, or loops over the elements
 * of a slot could not become vector instructions */
MK_FN uint32_t mk_lane(const struct mk_task *task) { return (void)task, 0; }
MK_FN uint32_t mk_lanes(const struct mk_task *task)
{
	return (void)task, MK_LANES;
}
#else
MK_FN uint32_t mk_lane(const struct mk_task *task) { return task->lane; }
MK_FN uint32_t mk_lanes(const struct mk_task *task) { return task->lanes; }
#endif
MK_FN uint32_t mk_tile(const struct mk_task *task) { return task->tile; }
MK_FN uint32_t mk_tiles(const struct mk_task *task) { return task->tiles; }
MK_FN uint64_t mk_ticket(const struct mk_task *task) { return task->ticket; }

/** Absolute time of CLOCK_MONOTONIC in ns; UINT64_MAX: no deadline. */
MK_FN uint64_t mk_deadline_ns(const struct mk_task *task)
{
	return task->deadline_ns;
}

/** Wait for the other lanes of this slot. Every lane has to come. */
MK_FN void mk_sync(struct mk_task *task)
{
#if MK_CUDA
	if (task->lanes == 32)
		__syncwarp();
	else if (task->lanes > 32)
		/* the workers of the block; others of its warps do not come */
		asm volatile("bar.sync 1, %0;" :: "r"(task->lanes) : "memory");
#else
	(void)task;
#endif
}

/** True once the host asked this slot to end. Cheap enough for a loop. */
MK_FN int mk_cancelled(const struct mk_task *task)
{
	if (!task->cancel)
		return 0;
#if MK_CUDA
	uint32_t word;
	asm volatile("ld.acquire.sys.u32 %0, [%1];"
		     : "=r"(word) : "l"(task->cancel) : "memory");
	return word == task->cancel_mark;
#else
	/* pairs with the store-release in mk_queue_cancel() */
	return __atomic_load_n(task->cancel, __ATOMIC_ACQUIRE) ==
	       task->cancel_mark;
#endif
}

/**
 * Say that this slot goes on. A handler that runs longer than the context's
 * hang_ns calls it now and then, or is taken for hung and ended. One store.
 */
MK_FN void mk_progress(const struct mk_task *task)
{
	if (!task->beat)
		return;
#if MK_CUDA
	*(volatile uint32_t *)task->beat += 1u;
#else
	__atomic_store_n(task->beat, *task->beat + 1u, __ATOMIC_RELAXED);
#endif
}

/* ---- answers ---------------------------------------------------------- */

/** Set the 64-bit value of the completion. */
MK_FN void mk_value(struct mk_task *task, uint64_t value)
{
	task->value = value;
}

/** Keep the first failure: a code such as MK_ERANGE, not negated. */
MK_FN void mk_set_error(struct mk_task *task, int code)
{
	if (!task->error)
		task->error = -code;
}

/**
 * The result to return after an accessor gave NULL: its code, negated;
 * -MK_EFAULT if none failed.
 */
MK_FN int32_t mk_fail(const struct mk_task *task)
{
	return task->error ? task->error : -MK_EFAULT;
}

/* ---- memory ----------------------------------------------------------- */

/*
 * A handler that lives on bandwidth. The memory of a GPU answers after 0.5 to
 * 1 us, and the workers of a multiprocessor are some 200 lanes: what a lane
 * has asked for and not got yet decides how much comes. A loop over floats
 * that stores y[i] before it may read x[i + 1], since both could lie in the
 * same place, moves a tenth of what the device can. So let a lane read 16
 * bytes at once,
 *
 *	struct four { _Alignas(16) float at[4]; };
 *
 * at a multiple of 16 bytes (a buffer begins at one), and several of these
 * before it stores the first: arrays of 4 to 8 in loops of constant length,
 * which become registers. A compiler that saves registers puts every load next
 * to its use all the same, unless a condition that it cannot decide stands
 * between the last load and the arithmetic. The same text is as fast as any on
 * a CPU. Of slots of many tiles those of MK_HANDLER_BLOCK() have lanes that
 * wait for each other between two tiles: let these be large.
 */

MK_FN uint32_t mk_window_word(const uint32_t *word)
{
#if MK_CUDA
	return *(const volatile uint32_t *)word;
#else
	return __atomic_load_n(word, __ATOMIC_RELAXED);
#endif
}

/* Why a generation other than the live one, if there is one, is refused. */
MK_FN int mk_window_why(const struct mk_window *w, uint32_t generation,
			uint32_t live)
{
	if (generation > mk_window_word(&w->last))
		return MK_EFOREIGN;
	if (live && mk_window_word(&w->born) &&
	    generation >= mk_window_word(&w->born))
		return MK_EVOLATILE;
	return MK_ESTALE;
}

/* Bounds-checked address in a buffer, or NULL with task->error set. */
MK_FN void *mk_window_at(struct mk_task *task, struct mk_ref ref,
			 uint64_t offset, uint64_t bytes, int write)
{
	const struct mk_window *w;
	uint64_t base, size;
	uint32_t generation;

	if (ref.index >= task->window_count || !ref.generation) {
		mk_set_error(task, MK_EFOREIGN);
		return (void *)0;
	}
	w = &task->windows[ref.index];
#if MK_CUDA
	generation = *(const volatile uint32_t *)&w->generation;
#else
	/* pairs with the store-release of the engine's window_set() */
	generation = __atomic_load_n(&w->generation, __ATOMIC_ACQUIRE);
#endif
	if (generation != ref.generation) {
		mk_set_error(task, mk_window_why(w, ref.generation,
						 generation));
		return (void *)0;
	}
	base = w->base;
	size = w->bytes;
	if (offset > size || bytes > size - offset) {
		mk_set_error(task, MK_ERANGE);
		return (void *)0;
	}
	if (write) {
		if (w->flags & 1u) { /* MK_BUFFER_READ_ONLY */
			mk_set_error(task, MK_EACCESS);
			return (void *)0;
		}
		task->dirty = 1;
	}
	return (void *)(uintptr_t)(base + offset);
}

/** The first `bytes` of a buffer, to read; NULL if it has fewer. */
MK_FN MK_ANY_CONST mk_read(struct mk_task *task, struct mk_ref ref,
			   uint64_t bytes)
{
	return MK_AS_ANY(MK_ANY_CONST, mk_window_at(task, ref, 0, bytes, 0));
}

/** The first `bytes` of a buffer, to write; NULL if it has fewer. */
MK_FN MK_ANY mk_write(struct mk_task *task, struct mk_ref ref, uint64_t bytes)
{
	return MK_AS_ANY(MK_ANY, mk_window_at(task, ref, 0, bytes, 1));
}

/** `bytes` from `offset` on, to read. */
MK_FN MK_ANY_CONST mk_read_at(struct mk_task *task, struct mk_ref ref,
			      uint64_t offset, uint64_t bytes)
{
	return MK_AS_ANY(MK_ANY_CONST,
			 mk_window_at(task, ref, offset, bytes, 0));
}

/** `bytes` from `offset` on, to write. */
MK_FN MK_ANY mk_write_at(struct mk_task *task, struct mk_ref ref,
			 uint64_t offset, uint64_t bytes)
{
	return MK_AS_ANY(MK_ANY, mk_window_at(task, ref, offset, bytes, 1));
}

/** Bytes of a buffer; 0 with task->error set if there is none. */
MK_FN uint64_t mk_buffer_size(struct mk_task *task, struct mk_ref ref)
{
	return mk_window_at(task, ref, 0, 0, 0) ?
		       task->windows[ref.index].bytes : 0;
}

/**
 * Scratch memory of the worker, shared by the lanes of the slot, 16-byte
 * aligned, content undefined; NULL if more is asked than there is.
 */
MK_FN MK_ANY mk_scratch(struct mk_task *task, uint32_t bytes)
{
	void *p = task->scratch;

	if (bytes > task->scratch_bytes) {
		mk_set_error(task, MK_ESCRATCH);
		p = (void *)0;
	}
	return MK_AS_ANY(MK_ANY, p);
}

/*
 * ---- atomics that both engines have ----------------------------------- *
 *
 * Atomic among handlers. A GPU on the far side of a bus changes a word of host
 * memory (an observable word) by reading and writing it: what the host stores
 * to it meanwhile may be lost. So wait for a word that the host sets with
 * mk_load(), and let each word be changed from one side at a time.
 */

/** The word, fresh; what was stored before it is seen afterwards (acquire). */
MK_FN uint64_t mk_load(const uint64_t *word)
{
#if MK_CUDA
	uint64_t value;
	asm volatile("ld.acquire.sys.u64 %0, [%1];"
		     : "=l"(value) : "l"(word) : "memory");
	return value;
#else
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
#endif
}

/* The host may be the other side: on a device they are of system scope. */

MK_FN uint64_t mk_fetch_add(uint64_t *word, uint64_t n)
{
#if MK_CUDA
	return atomicAdd_system((unsigned long long *)word,
				(unsigned long long)n);
#else
	return __atomic_fetch_add(word, n, __ATOMIC_ACQ_REL);
#endif
}

MK_FN uint64_t mk_exchange(uint64_t *word, uint64_t n)
{
#if MK_CUDA
	return atomicExch_system((unsigned long long *)word,
				 (unsigned long long)n);
#else
	return __atomic_exchange_n(word, n, __ATOMIC_ACQ_REL);
#endif
}

/** Compare and swap; the old word. */
MK_FN uint64_t mk_compare_swap(uint64_t *word, uint64_t expected, uint64_t n)
{
#if MK_CUDA
	return atomicCAS_system((unsigned long long *)word,
				(unsigned long long)expected,
				(unsigned long long)n);
#else
	__atomic_compare_exchange_n(word, &expected, n, 0, __ATOMIC_ACQ_REL,
				    __ATOMIC_ACQUIRE);
	return expected;
#endif
}

/** Observable word i of the control block, or NULL with task->error set. */
MK_FN uint64_t *mk_observable(struct mk_task *task, uint32_t i)
{
	if (i >= task->observable_count) {
		mk_set_error(task, MK_ERANGE);
		return (uint64_t *)0;
	}
	task->dirty = 1;
	return &task->observables[i];
}

/* ---- debug log and IO queue ------------------------------------------- */

MK_FN void mk_publish_stamp(uint32_t *stamp, uint32_t value)
{
#if MK_CUDA
	asm volatile("st.release.sys.u32 [%0], %1;"
		     :: "l"(stamp), "r"(value) : "memory");
#else
	/* pairs with the load-acquire of mk_queue_log_read() */
	__atomic_store_n(stamp, value, __ATOMIC_RELEASE);
#endif
}

MK_FN void mk_store_word(uint32_t *at, uint32_t value)
{
#if MK_CUDA
	*(volatile uint32_t *)at = value;
#else
	__atomic_store_n(at, value, __ATOMIC_RELAXED);
#endif
}

/** Put a record into the debug log. The oldest record gives way. */
MK_FN void mk_print(struct mk_task *task, uint32_t format, uint32_t a,
		    uint32_t b, uint32_t c)
{
	struct mk_debug_record *r;
	uint64_t at;

	if (!task->log)
		return;
	at = mk_fetch_add(&task->log->cursor, 1);
	if (at >= task->log_capacity)
		mk_fetch_add(&task->log->drops, 1);
	r = (struct mk_debug_record *)(task->log + 1);
	r += at & (task->log_capacity - 1u);
	mk_publish_stamp(&r->stamp, 0);
	mk_store_word((uint32_t *)&r->ticket, (uint32_t)task->ticket);
	mk_store_word((uint32_t *)&r->ticket + 1,
		      (uint32_t)(task->ticket >> 32));
	mk_store_word(&r->format, format);
	mk_store_word(&r->arg[0], a);
	mk_store_word(&r->arg[1], b);
	mk_store_word(&r->arg[2], c);
	mk_store_word(&r->worker, task->worker);
	mk_publish_stamp(&r->stamp, (uint32_t)(at + 1));
	task->dirty = 1;
}

/* The stamp and status of a record, one word: the stamp is its low half. */
MK_FN uint64_t *mk_io_word(struct mk_io_record *r)
{
	return (uint64_t *)(void *)&r->stamp;
}

MK_FN void mk_store_release_word(uint64_t *at, uint64_t value)
{
#if MK_CUDA
	asm volatile("st.release.sys.u64 [%0], %1;"
		     :: "l"(at), "l"(value) : "memory");
#else
	__atomic_store_n(at, value, __ATOMIC_RELEASE);
#endif
}

/* Take a place in the IO queue. */
MK_FN int32_t mk_io_claim(struct mk_task *task, uint64_t *place)
{
	uint64_t at;

	if (!task->io)
		return -MK_EFULL;
	at = mk_load(&task->io->posted);
	for (;;) {
		uint64_t seen;

		/* taken: by the host, when it has done with a record */
		if (at - mk_load(&task->io->taken) >=
		    task->io_capacity) {
			mk_fetch_add(&task->io->refused, 1);
			return -MK_EFULL;
		}
		seen = mk_compare_swap(&task->io->posted, at, at + 1);
		if (seen == at)
			break;
		at = seen;
	}
	*place = at;
	return MK_OK;
}

/* Post; `seen` is MK_IO_SEEN if nobody will look for the answer. */
MK_FN int32_t mk_io_put(struct mk_task *task,
			const struct mk_io_record *request, uint32_t seen,
			uint64_t *at)
{
	struct mk_io_record *r;
	uint64_t place;
	int32_t result = mk_io_claim(task, &place);

	if (result)
		return result;
	r = (struct mk_io_record *)(task->io + 1);
	r += place & (task->io_capacity - 1u);
	/* Who looks for the answer that stood here: no stamp, before the bytes
	 * are overwritten. mk_io_answer() looks in the other order. */
	mk_store_release_word(mk_io_word(r), 0);
	mk_store_release_word(&r->bytes, request->bytes);
	r->op = request->op;
	r->tag = request->tag;
	r->source = request->source;
	r->target = request->target;
	r->offset = request->offset;
	r->buffer_offset = request->buffer_offset;
	r->ticket = task->ticket;
	mk_store_release_word(mk_io_word(r), MK_IO_STAMP(place) | seen);
	task->dirty = 1;
	*at = place;
	return MK_OK;
}

/**
 * Ask the host for bytes of a file (megakernel/io.h). Of *request the fields
 * op, tag, source, target, offset, bytes and buffer_offset count; the rest is
 * filled in. By one lane. It takes a place in the IO queue until
 * mk_io_answer() has told the answer, or the slot has ended.
 *
 * @param at  the request's number, for mk_io_answer(). It may be kept, and
 *            looked at by another slot.
 *
 * @return MK_OK, or -MK_EFULL: the request was refused and counted. Look at
 *         answers, or yield.
 */
MK_FN int32_t mk_io_request(struct mk_task *task,
			    const struct mk_io_record *request, uint64_t *at)
{
	return mk_io_put(task, request, 0, at);
}

/** The same, for who never looks at the answer: its place is free with it. */
MK_FN int32_t mk_io_post(struct mk_task *task,
			 const struct mk_io_record *request)
{
	uint64_t at;

	return mk_io_put(task, request, MK_IO_SEEN, &at);
}

/**
 * What became of request number `at`. A load, and never a wait: a slot that
 * has nothing else to do yields. What was read is in the buffer once this says
 * so.
 *
 * @param bytes  moved, also before a failure; untouched while it is open. May
 *               be NULL.
 *
 * @return MK_IO_OPEN (0) while nothing is known; MK_IO_DONE; MK_IO_SHORT: the
 *         file ends before; or why it failed:
 * @retval -EBADF       no file is registered under this index. (9)
 * @retval -MK_EACCESS  the file, or the buffer, is not for this.
 * @retval -MK_EARGS    no such operation.
 * @retval -MK_ERANGE   the range lies outside the buffer, or the largest file.
 * @retval -MK_ESTALE   ... the buffer's handle, or: the answer was told, or the
 *                      slot that asked has ended, and as many requests as the
 *                      queue has records were posted since: it is gone.
 * @retval -MK_EFOREIGN, -MK_EVOLATILE  as for the buffer elsewhere.
 * @retval -MK_EFULL    the task has no IO queue.
 * @retval -EIO ...     as pread(2) and pwrite(2) fail.
 */
MK_FN int32_t mk_io_answer(struct mk_task *task, uint64_t at, uint64_t *bytes)
{
	struct mk_io_record *r;
	uint64_t word, seen, moved;

	if (!task->io)
		return -MK_EFULL;
	r = (struct mk_io_record *)(task->io + 1);
	r += at & (task->io_capacity - 1u);
	/* pairs with the store-release of mk_queue_io_answer() */
	word = mk_load(mk_io_word(r));
	if (((uint32_t)word & ~MK_IO_SEEN) != MK_IO_STAMP(at))
		return -MK_ESTALE;
	if (!(word >> 32))
		return MK_IO_OPEN;
	/* acquire: if these are the bytes of a later request, so is the word */
	moved = mk_load(&r->bytes);
	seen = mk_load(mk_io_word(r));
	if ((seen | MK_IO_SEEN) != (word | MK_IO_SEEN))
		return -MK_ESTALE;
	/* the host has done with the word; if the place was taken again it is
	 * another, and stays */
	if (!(seen & MK_IO_SEEN))
		mk_compare_swap(mk_io_word(r), seen, seen | MK_IO_SEEN);
	if (bytes)
		*bytes = moved;
	return (int32_t)(word >> 32);
}

#include <megakernel/flow.h>

#endif
