/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file abi.h
 * The bytes that the host, the worker process and the device share.
 *
 * Compiles as C11, C++17 and CUDA (nvcc and NVRTC). Fixed-width integers
 * only, little-endian; every size and offset is asserted below and described
 * byte by byte in docs/protocol.md, which a test compares with this file.
 *
 * Nothing here is stable across MK_ABI_VERSION; both sides compare version
 * and fingerprint before the first slot.
 */
#ifndef MEGAKERNEL_ABI_H
#define MEGAKERNEL_ABI_H

#if defined(__CUDACC_RTC__)
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
typedef unsigned long long uintptr_t;
/* NVRTC has no offsetof; this operator is what its own headers use */
#define MK_OFFSETOF(type, field) \
	((uint64_t)__INTADDR__(&(((type *)0)->field)))
#else
#include <stddef.h>
#include <stdint.h>
#define MK_OFFSETOF(type, field) offsetof(type, field)
#endif

#if defined(__cplusplus)
#define MK_STATIC_ASSERT(cond, text) static_assert(cond, text)
#else
#define MK_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
#endif

/* ---- limits ---------------------------------------------------------- */

#define MK_ABI_VERSION 1u

#define MK_SLOT_BYTES 64u        /* one piece of work on the wire */
#define MK_COMPLETION_BYTES 16u  /* one answer on the wire */
#define MK_ARG_WORDS 12u         /* 32-bit argument words of a slot */
#define MK_ARG_BYTES 48u         /* the same in bytes */
#define MK_RING_ENTRIES_MIN 2u
#define MK_RING_ENTRIES_MAX 65536u
#define MK_OPCODES 256u          /* opcodes of a context */
#define MK_OPCODE_USER 32u       /* the first that a module may be given */
#define MK_TENANTS 64u
#define MK_PRIORITIES 5u
#define MK_RESIDENT_HANDLES 4u   /* control, ring, debug log, IO queue */
#define MK_HANDLER_NAME_BYTES 48u /* with the terminating zero */
#define MK_LINE 64u              /* a concurrently written word has a line */

/* ---- codes ----------------------------------------------------------- */

/*
 * Own codes, above every errno. A result is >= 0, a negated errno or one of
 * these negated. X(name, value, text); the ranges say what was lost.
 */
#define MK_CODES(X)                                                          \
	/* 5001..5099: this slot */                                          \
	X(MK_EFAULT, 5001, "the handler faulted")                            \
	X(MK_EOPCODE, 5002, "no handler has this opcode")                    \
	X(MK_EARGS, 5003, "the argument block has the wrong size or value")  \
	X(MK_ERANGE, 5004, "the range lies outside its buffer or table")     \
	X(MK_ESTALE, 5005, "the handle outlived its buffer")                 \
	X(MK_EFOREIGN, 5006, "the handle belongs to no buffer here")         \
	X(MK_EDEADLINE, 5007, "the deadline passed before the slot started") \
	X(MK_EOVERRUN, 5008, "the deadline passed while the slot ran")       \
	X(MK_ECANCELLED, 5009, "the slot was cancelled")                     \
	X(MK_ENOTRUN, 5010, "the device was lost; the slot did not run")     \
	X(MK_EMAYRUN, 5011, "the device was lost; the slot may have run")    \
	X(MK_EPOISON, 5012, "the slot lost the device twice; quarantined")   \
	X(MK_ESCRATCH, 5013, "more scratch memory was asked than there is")   \
	X(MK_EFULL, 5014, "the IO queue or debug log is full")               \
	X(MK_EACCESS, 5015, "the buffer may only be read")                   \
	X(MK_EVOLATILE, 5016, "the buffer's content was lost with the device") \
	X(MK_EHUNG, 5017, "the handler made no progress and was ended")      \
	X(MK_EUPSTREAM, 5018, "a slot that this one waits for ended badly")  \
	/* 5101..5199: this queue */                                         \
	X(MK_ESTOPPED, 5101, "the queue was stopped and takes no more work") \
	X(MK_ENOTGOT, 5102, "the slots were not got from this queue")        \
	/* 5201..5299: the device or its worker process */                   \
	X(MK_EDEVLOST, 5201, "the device or its worker process was lost")    \
	X(MK_EABI, 5202, "host and device disagree on the shared layout")    \
	X(MK_EENGINE, 5203, "the engine is not available on this machine")   \
	X(MK_EWORKER, 5204, "the worker process could not be started")       \
	X(MK_EPROTO, 5205, "the other side sent a message that is not valid") \
	X(MK_ESHARED, 5206, "the shared memory was changed behind our back") \
	/* 5301..5399: modules and handlers */                               \
	X(MK_ECOMPILE, 5301, "the module does not compile")                  \
	X(MK_EMODULE, 5302, "this is not a module of this ABI version")      \
	X(MK_ECLASH, 5303, "a handler of this name or opcode exists already") \
	X(MK_ENOHANDLER, 5304, "no loaded module has a handler of this name") \
	X(MK_ENOCOMPILER, 5305, "no compiler was found for modules")         \
	/* 5401..5499: host bytes handed to a dispatch */                    \
	X(MK_EALIGN, 5401, "the buffer is not aligned to its words")         \
	X(MK_ETRUNC, 5402, "the buffer is shorter than its header says")     \
	X(MK_ELAYOUT, 5403, "the buffer's header is not of this layout")     \
	X(MK_ESTATE, 5404, "a slot or record is in a state it may not have") \
	X(MK_EOVERFLOW, 5405, "a count or size overflows its field")

enum mk_code {
#define MK_CODE_ENUM(name, value, text) name = value,
	MK_CODES(MK_CODE_ENUM)
#undef MK_CODE_ENUM
	MK_OK = 0
};

/* ---- slot ------------------------------------------------------------ */

/*
 * A slot is four 16-byte units. The last half-word of every unit is the lap
 * mark of the slot's ticket; the argument half-words that the marks of units
 * 1 to 3 displace ride in unit 0. A reader that takes the four units in any
 * order, each in one access, has the whole slot if and only if all four carry
 * the mark it waits for: a torn slot cannot pass.
 *
 * What this rests on: NVIDIA requires that naturally aligned loads of up to
 * 16 bytes from host memory are preserved as single accesses (CUDA C++
 * Programming Guide, "Mapped Memory"). A CPU reader needs no more than the
 * acquire load of unit 0, which is written last.
 */
struct mk_wire_unit {
	uint64_t lo;
	uint64_t hi; /* bits 48..63: lap mark */
};

/*
 * unit[0].lo: opcode u16 | tenant u16 | priority u8 | flags u8 | tiles u16
 * unit[0].hi: displaced half-words of units 1, 2, 3 | lap mark
 * unit[1..3]: argument words 0-3, 4-7, 8-11, the last half-word displaced
 */
struct mk_wire_slot {
	struct mk_wire_unit unit[4]; /* host: hi of unit 0 last, release */
};

#define MK_MARK_SHIFT 48u

/**
 * The lap mark of a ticket: how often its ring has gone round, plus one, so
 * that zeroed memory is never a published first lap.
 *
 * @param shift  log2 of the ring's entries.
 */
#define MK_MARK(ticket, shift) \
	((uint16_t)(((uint64_t)(ticket) >> (shift)) + 1u))

/* Slot flags. */
#define MK_SLOT_DEADLINE 0x01u   /* its mk_wire_ext has a deadline */
#define MK_SLOT_IDEMPOTENT 0x02u /* may run again after a lost device */
#define MK_SLOT_WAIT 0x04u       /* begins when a counter of its mk_wire_ext
				  * has reached a value */
#define MK_SLOT_RAISE 0x08u      /* raises counters when it ends */
#define MK_SLOT_AFTER 0x10u      /* with MK_SLOT_WAIT: the counter comes to the
				  * value by one slot of a lower ticket of
				  * this queue, and by nothing else; so it
				  * need not be looked at before that ended */
#define MK_SLOT_FLAGS 0x1fu      /* all that are known */

enum mk_priority {
	MK_PRIORITY_CRITICAL = 0,
	MK_PRIORITY_HIGH = 1,
	MK_PRIORITY_NORMAL = 2,
	MK_PRIORITY_LOW = 3,
	MK_PRIORITY_IDLE = 4
};

/* A buffer by handle: index in the low half, generation in the high half. */
struct mk_ref {
	uint32_t index;
	uint32_t generation; /* never 0 for a live buffer */
};

/*
 * Counters are 64-bit words of a buffer. The low 63 bits count, and only
 * grow: by 1 for every slot that lists the word when that slot ends. The
 * highest is set when one of them did not end well, and stays.
 */
#define MK_COUNTER_FAILED 0x8000000000000000ull
#define MK_NO_COUNTER 0xffffffffu /* ends a list that is not full */
#define MK_RAISE_MAX 7u           /* counters that a slot may raise */

/*
 * mk_wire_ext.begun: MK_BEGUN and the lap mark of a ticket. With MK_BEGUN_WAITS
 * the slot waits for a counter again, in mk_await(), and nothing else of it is
 * left that could run: `wait_value` and `wait_word` are the device's by then
 * and say for what, mk_wire_completion.value of the slot in which buffer.
 * MK_BEGUN_STEP is added for each such wait, so that two looks can tell.
 */
#define MK_BEGUN 0x10000u
#define MK_BEGUN_WAITS 0x20000u
#define MK_BEGUN_STEP 0x40000u

/*
 * What a slot has beside the ring, one line each; read only when a flag, the
 * queue's mode or a handler asks. The host writes all of it but `begun` before
 * the slot's marks, `cancel` at any time.
 */
struct mk_wire_ext {
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; valid with MK_SLOT_DEADLINE */
	uint32_t cancel;      /* host: store-release; lap mark of the ticket to
			       * cancel plus 0x10000; device: load-acquire */
	uint32_t begun;       /* device: store-release; MK_BEGUN plus the lap
			       * mark of the ticket: it ran, and no worker
			       * block names it any more although it has not
			       * ended */
	struct mk_ref counters; /* with MK_SLOT_WAIT or MK_SLOT_RAISE */
	uint64_t wait_value;  /* MK_SLOT_WAIT: begins when the low 63 bits */
	uint32_t wait_word;   /* ... of this word are no less */
	uint32_t raise[MK_RAISE_MAX]; /* MK_SLOT_RAISE: words */
};

/* ---- completion ------------------------------------------------------ */

/*
 * The answer to one slot, at the index of the slot's ticket. The device
 * writes both words in one 16-byte store, or value first and head last with
 * a release store; the host reads head with an acquire load, then value.
 */
struct mk_wire_completion {
	uint64_t head;  /* result i32 | worker u16 | lap mark u16 */
	uint64_t value;
};

/* ---- built-in opcodes ------------------------------------------------ */

enum mk_opcode {
	MK_OP_NOP = 0,      /* value: arg word 0-1 echoed */
	MK_OP_STORE = 1,    /* struct mk_op_word; value: the old word */
	MK_OP_ADD = 2,      /* struct mk_op_word; value: the old word */
	MK_OP_LOAD = 3,     /* struct mk_op_word; value: the word */
	MK_OP_CAS = 4,      /* struct mk_op_word; value: the old word */
	MK_OP_COPY = 5,     /* struct mk_op_copy; value: bytes copied */
	MK_OP_FENCE = 6,    /* completes after every earlier ticket */
	MK_OP_PRINT = 7,    /* struct mk_op_print */
	MK_OP_SHUTDOWN = 8, /* sets the shutdown word of its control: later
			     * slots of the queue or row end cancelled */
	MK_OP_ROW = 9,      /* struct mk_op_row; value: slots answered */
	MK_OP_SHA256 = 16,  /* handlers/sha256.c */
	MK_OP_CRC32C = 17,  /* handlers/crc32c.c */
	MK_OP_COUNT = 18,   /* handlers/count.c */
	MK_OP_SCAN = 19     /* handlers/scan_text.c */
};

struct mk_op_word {
	uint32_t word;     /* index of the observable word */
	uint32_t reserved; /* 0 */
	uint64_t operand;  /* store, add: the operand; CAS: the new word */
	uint64_t expected; /* CAS only */
};

struct mk_op_copy {
	struct mk_ref source, target;
	uint64_t source_offset, target_offset; /* bytes */
	uint64_t bytes;
};

struct mk_op_print {
	uint32_t format; /* chosen by the caller */
	uint32_t arg[3];
};

struct mk_op_row {
	struct mk_ref control, ring, debug_log;
	struct mk_ref io_queue; /* may be 0 */
};

/* ---- the four buffers of a dispatch ---------------------------------- */

#define MK_MAGIC_CONTROL 0x54434b4du /* "MKCT" */
#define MK_MAGIC_RING 0x47524b4du    /* "MKRG" */
#define MK_MAGIC_LOG 0x474c4b4du     /* "MKLG" */
#define MK_MAGIC_IO 0x4f494b4du      /* "MKIO" */
#define MK_MAGIC_CONTEXT 0x58434b4du /* "MKCX" */
#define MK_MAGIC_QUEUE 0x55514b4du   /* "MKQU" */

/* The first 16 bytes of every block and buffer. */
struct mk_wire_header {
	uint32_t magic;
	uint32_t abi;         /* MK_ABI_VERSION */
	uint32_t fingerprint; /* MK_FINGERPRINT */
	uint32_t bytes;       /* of the whole block or buffer */
};

/* Control: shutdown, counts, and the observable words behind the struct. */
struct mk_control {
	struct mk_wire_header header;
	uint32_t observables; /* 64-bit words at observable_offset */
	uint32_t observable_offset;
	uint32_t tenants;     /* tenants allowed, 1..MK_TENANTS */
	uint32_t shutdown;    /* non-zero: MK_OP_SHUTDOWN ran, or set by host */
	uint64_t epoch;       /* dispatches served with this control */
	uint64_t done;        /* slots answered with a result >= 0 */
	uint64_t failed;      /* slots answered with a negative result */
	uint64_t reserved;
	uint64_t tenant_done[MK_TENANTS];     /* answers, by tenant */
	uint64_t priority_done[8];            /* answers; 5..7 stay 0 */
	uint64_t opcode_done[MK_OPCODES];     /* answers, by opcode */
};

enum mk_slot_state {
	MK_STATE_EMPTY = 0,
	MK_STATE_PUBLISHED = 1,
	MK_STATE_CLAIMED = 2,
	MK_STATE_DONE = 3,
	MK_STATE_WAIT_IO = 4,
	MK_STATE_YIELD = 5,
	MK_STATE_REQUEUE = 6,
	MK_STATE_FAULT = 7,
	MK_STATE_CANCELLED = 8,
	MK_STATE_EXPIRED = 9
};

/* Ring of a dispatch: header, then slots, then as many answers. */
struct mk_ring {
	struct mk_wire_header header;
	uint32_t entries;   /* power of two */
	uint32_t published; /* slots below it are PUBLISHED or have ended, the
			     * rest are EMPTY */
	uint64_t reserved[5];
};

struct mk_ring_slot {
	uint32_t state; /* enum mk_slot_state */
	uint16_t opcode;
	uint16_t tenant;
	uint8_t priority;
	uint8_t flags;
	uint16_t tiles; /* 0 means 1 */
	uint32_t tag;   /* the caller's; not read */
	uint32_t args[MK_ARG_WORDS];
};

struct mk_ring_answer {
	int32_t result;
	uint32_t state; /* as in the slot; EMPTY until answered */
	uint64_t value;
};

/* Debug log: the last `capacity` records; a cursor that only grows. */
struct mk_debug_log {
	struct mk_wire_header header;
	uint32_t capacity; /* records, power of two */
	uint32_t reserved0;
	uint64_t cursor;   /* records ever begun */
	uint64_t drops;    /* records overwritten by later ones */
	uint64_t reserved[3];
};

struct mk_debug_record {
	uint64_t ticket;
	uint32_t format;
	uint32_t arg[3];
	uint32_t worker;
	uint32_t stamp; /* low half of (cursor + 1), store-release, last */
};

enum mk_io_op {
	MK_IO_READ = 1,
	MK_IO_WRITE = 2,
	MK_IO_FENCE = 3 /* answered after every earlier request */
};

/* How a request ended, if not with a negated code. */
enum mk_io_status {
	MK_IO_OPEN = 0,
	MK_IO_DONE = 1, /* all of it */
	MK_IO_SHORT = 2 /* the file ends before: fewer bytes */
};

/* IO queue: requests of handlers to the host. */
struct mk_io_queue {
	struct mk_wire_header header;
	uint32_t capacity; /* records, power of two */
	uint32_t reserved0;
	uint64_t posted;   /* records ever posted; i is at i % capacity */
	uint64_t taken;    /* records the host has answered and freed */
	uint64_t refused;  /* posts that found the queue full */
	uint64_t reserved[2];
};

/* The stamp of request number `at`: never 0. */
#define MK_IO_STAMP(at)                                             \
	((((at) + 1u) & 0x7fffffffu) ?                              \
		 (uint32_t)(((at) + 1u) & 0x7fffffffu) : 0x40000000u)
#define MK_IO_SEEN 0x80000000u /* nobody waits for the answer any more */

struct mk_io_record {
	uint32_t op;      /* enum mk_io_op */
	uint32_t buffer_offset; /* bytes, in the buffer */
	uint64_t tag;     /* the handler's */
	uint64_t source;  /* READ: file index; WRITE: buffer handle */
	uint64_t target;  /* READ: buffer handle; WRITE: file index */
	uint64_t offset;  /* bytes, in the file */
	uint64_t bytes;   /* asked for; host, before status: moved */
	uint64_t ticket;  /* of the slot that asked */
	/* One aligned word, stored whole, so that an answer can be told from
	 * that to a later request: handler store-release, last; then host
	 * store-release; handlers load-acquire. */
	uint32_t stamp;   /* MK_IO_STAMP, MK_IO_SEEN; 0: being written */
	int32_t status;   /* enum mk_io_status, or a negated code */
};

/* ---- shared memory of a context -------------------------------------- */

enum mk_engine_state {
	MK_ENGINE_STARTING = 0,
	MK_ENGINE_READY = 1,   /* resident, polling or asleep */
	MK_ENGINE_PAUSED = 2,  /* resident, takes no slots */
	MK_ENGINE_STOPPED = 3,
	MK_ENGINE_FAILED = 4
};

enum mk_queue_mode {
	MK_MODE_RUN = 0,
	MK_MODE_CANCEL = 1,     /* slots not yet claimed end MK_ECANCELLED */
	MK_MODE_CANCEL_SOME = 2 /* look at the cancel word of each slot */
};

/* Flag of mode_seen: workers learn of the mode from whoever writes it there.
 * Without it each of them looks at mode itself before it runs a slot. */
#define MK_MODE_TOLD 0x80000000u

/*
 * The attention word counts workers. An attentive worker will look at every
 * queue again before it sleeps. Who publishes and finds none attentive, but
 * some asleep, wakes one, and counts it as attentive from that moment (it was
 * handed its attention), so that nobody else wakes another meanwhile.
 */
#define MK_ATTENTIVE 1ull         /* bits 0..15 */
#define MK_ASLEEP (1ull << 16)    /* bits 16..31 */
#define MK_HANDED (1ull << 32)    /* bits 32..47: attentive, still waking */
#define MK_ATTENTION(word, unit) ((uint32_t)((word) / (unit)) & 0xffffu)

#define MK_WORDS_BYTES 248u

/* Offset 0 of the shared memory. */
struct mk_context_block {
	struct mk_wire_header header;
	uint64_t total_bytes;      /* of the memfd */
	uint64_t shared_bytes;     /* [0, shared_bytes): blocks and rings */
	uint32_t workers;          /* entries at workers_offset */
	uint32_t workers_offset;   /* struct mk_worker_block[workers] */
	uint64_t reserved0[3];
	/* line 1 */
	uint32_t state;         /* device: store-release; host: load-acquire */
	int32_t error;          /* device: why state is FAILED */
	uint64_t launches;      /* of the resident kernel; engine's host side
				 * alone, relaxed; cpu: 0 */
	uint32_t pulse;         /* robust futex; a thread of the worker process
				 * holds it while that lives; 0: none does */
	uint32_t reserved1[11];
	/* line 2 */
	uint32_t bell;             /* futex; host adds, device waits */
	uint32_t reserved2[15];
	/* line 3: who is awake, see MK_ATTENTIVE; both sides CAS seq_cst */
	uint64_t attention;
	uint32_t reserved3[14];
	/* line 4: the engine's last words, before state is FAILED */
	int32_t words_native;      /* code of the driver, or errno */
	uint32_t reserved4;
	char words[MK_WORDS_BYTES];
};

#define MK_NO_QUEUE 0xffffffffu

/*
 * What one worker is doing; written by it alone, relaxed unless said. The
 * first line is what is looked at when it hangs, or has died: ticket, queue
 * and opcode are written before the handler begins, and stay until the next
 * slot, so that a slot that no worker names was never begun.
 */
struct mk_worker_block {
	uint64_t ticket;
	uint32_t queue;     /* index in the engine; MK_NO_QUEUE: none yet */
	uint32_t opcode;
	uint32_t running;   /* odd while a slot is in hand; store-release */
	uint32_t beat;      /* changes: the slot goes on, see mk_progress() */
	uint64_t started_ns; /* CLOCK_MONOTONIC; 0: not known */
	uint64_t fault_address; /* where a handler crashed */
	int32_t fault_signal; /* the signal; store-release, after the others */
	int32_t fault_code; /* si_code of it */
	uint64_t reserved0[2];
	/* line 1 */
	uint64_t slots;     /* answered */
	uint64_t failed;    /* answered with a negative result */
	uint64_t cancelled; /* ended without being run */
	uint64_t sleeps;    /* times it slept */
	uint64_t wakes;     /* workers it woke */
	uint64_t spawned;   /* pieces of work that its handlers made */
	uint64_t spawned_ended; /* pieces of made work that it ended */
	uint64_t tiles;     /* run, of slots of more than one */
	/* line 2 */
	uint64_t tenant[MK_TENANTS];
	uint64_t priority[8];
	uint64_t opcodes[MK_OPCODES];
};

/* One queue; the rings follow at the offsets, from the block's start. */
struct mk_queue_block {
	struct mk_wire_header header;
	uint32_t entries; /* power of two */
	uint32_t reserved0;
	uint64_t first_ticket;
	uint32_t slots_offset;       /* struct mk_wire_slot[entries] */
	uint32_t completions_offset; /* struct mk_wire_completion[entries] */
	uint32_t ext_offset;         /* struct mk_wire_ext[entries] */
	uint32_t control_offset;     /* struct mk_control and its words */
	uint32_t log_offset;         /* struct mk_debug_log and records */
	uint32_t io_offset;          /* struct mk_io_queue, records; 0: none */
	uint32_t reserved1[2];
	/* line 1 */
	uint32_t mode;    /* enum mk_queue_mode, or-ed; host store-seq_cst */
	uint32_t reserved2[15];
	/* line 2 */
	uint64_t claim;   /* next ticket to claim; device RMW */
	uint32_t mode_seen; /* mode that every worker has seen, MK_MODE_TOLD;
			     * device: store-release */
	uint32_t reserved6;
	uint64_t reserved3[6];
	/* line 3 */
	uint32_t waiters; /* wake wanted: host store, device exchange */
	uint32_t armed;   /* event fd wanted: host store, device exchange */
	uint32_t reserved4[14];
	/* line 4 */
	uint32_t event;   /* futex; device adds after an answer, host waits */
	uint32_t reserved5[15];
};

/* ---- fingerprint and assertions --------------------------------------- */

#define MK_FOLD(hash, number) (((hash) ^ (uint32_t)(number)) * 16777619u)

/* FNV-1a over the sizes and the offsets that could drift apart. */
#define MK_FINGERPRINT                                                       \
	MK_FOLD(MK_FOLD(MK_FOLD(MK_FOLD(MK_FOLD(MK_FOLD(MK_FOLD(MK_FOLD(     \
	MK_FOLD(MK_FOLD(MK_FOLD(MK_FOLD(2166136261u,                         \
		MK_ABI_VERSION), sizeof(struct mk_wire_slot)),               \
		sizeof(struct mk_wire_completion)),                          \
		sizeof(struct mk_wire_ext)), sizeof(struct mk_control)),     \
		sizeof(struct mk_ring_slot)),                                \
		sizeof(struct mk_debug_record)),                             \
		sizeof(struct mk_io_record)),                                \
		sizeof(struct mk_context_block)),                            \
		sizeof(struct mk_worker_block)),                             \
		sizeof(struct mk_queue_block)),                              \
		MK_OPCODES * 65536u + MK_TENANTS)

#define MK_ASSERT_SIZE(type, bytes) \
	MK_STATIC_ASSERT(sizeof(type) == (bytes), "size of " #type)
#define MK_ASSERT_AT(type, field, bytes)                      \
	MK_STATIC_ASSERT(MK_OFFSETOF(type, field) == (bytes), \
			 "offset of " #type "." #field)

MK_ASSERT_SIZE(struct mk_wire_slot, MK_SLOT_BYTES);
MK_ASSERT_SIZE(struct mk_wire_completion, MK_COMPLETION_BYTES);
MK_ASSERT_SIZE(struct mk_wire_ext, 64);
MK_ASSERT_AT(struct mk_wire_ext, begun, 12);
MK_ASSERT_AT(struct mk_wire_ext, wait_value, 24);
MK_ASSERT_AT(struct mk_wire_ext, raise, 36);
MK_ASSERT_SIZE(struct mk_wire_header, 16);
MK_ASSERT_SIZE(struct mk_op_copy, 40);
MK_ASSERT_SIZE(struct mk_op_word, 24);
MK_ASSERT_SIZE(struct mk_op_row, 32);
MK_ASSERT_AT(struct mk_control, epoch, 32);
MK_ASSERT_AT(struct mk_control, tenant_done, 64);
MK_ASSERT_AT(struct mk_control, priority_done, 576);
MK_ASSERT_AT(struct mk_control, opcode_done, 640);
MK_ASSERT_SIZE(struct mk_control, 2688);
MK_ASSERT_SIZE(struct mk_ring, 64);
MK_ASSERT_AT(struct mk_ring_slot, args, 16);
MK_ASSERT_SIZE(struct mk_ring_slot, 64);
MK_ASSERT_SIZE(struct mk_ring_answer, 16);
MK_ASSERT_SIZE(struct mk_debug_log, 64);
MK_ASSERT_SIZE(struct mk_debug_record, 32);
MK_ASSERT_SIZE(struct mk_io_queue, 64);
MK_ASSERT_SIZE(struct mk_io_record, 64);
MK_ASSERT_AT(struct mk_io_record, stamp, 56);
MK_ASSERT_AT(struct mk_io_record, status, 60);
MK_ASSERT_AT(struct mk_context_block, state, 64);
MK_ASSERT_AT(struct mk_context_block, launches, 72);
MK_ASSERT_AT(struct mk_context_block, bell, 128);
MK_ASSERT_AT(struct mk_context_block, attention, 192);
MK_ASSERT_AT(struct mk_context_block, words, 264);
MK_ASSERT_SIZE(struct mk_context_block, 512);
MK_ASSERT_AT(struct mk_worker_block, fault_signal, 40);
MK_ASSERT_AT(struct mk_worker_block, slots, 64);
MK_ASSERT_AT(struct mk_worker_block, tenant, 128);
MK_ASSERT_SIZE(struct mk_worker_block, 2752);
MK_ASSERT_AT(struct mk_queue_block, mode, 64);
MK_ASSERT_AT(struct mk_queue_block, claim, 128);
MK_ASSERT_AT(struct mk_queue_block, mode_seen, 136);
MK_ASSERT_AT(struct mk_queue_block, waiters, 192);
MK_ASSERT_AT(struct mk_queue_block, event, 256);
MK_ASSERT_SIZE(struct mk_queue_block, 320);

#endif
