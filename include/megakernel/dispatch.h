/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file dispatch.h
 * Whole buffers in, whole buffers out, and what it cost. Part of megakernel.h.
 *
 * A dispatch takes four buffers, in binding order: control, ring, debug log,
 * IO queue (the last may be left out). Their bytes are laid out in abi.h. It
 * publishes the slots of the ring to the resident engine, waits for every
 * answer, and hands the four buffers back: slot states and answers in the
 * ring, counters and observable words in the control, records in the debug
 * log and IO queue.
 *
 *   mk_dispatch*            host bytes; the slots of the ring run on all
 *                           workers. Started in the order of the ring; a slot
 *                           may start before an earlier one has ended
 *   mk_dispatch_resident*   buffers that stay on the device, named by handle;
 *                           one row is four of them, run in order by one
 *                           worker. Many rows go in one submission
 *
 * A slot of a ring ends as DONE (result >= 0), FAULT, CANCELLED or EXPIRED
 * (negative results), with an answer in every case. What cannot run (unknown
 * opcode, MK_OP_ROW, a tenant, priority, tile count or flag out of range) is
 * answered FAULT with its code and not run. Slots behind an MK_OP_SHUTDOWN
 * that ran are not run and end as CANCELLED; so do all slots of a ring whose
 * control has the shutdown word set. Slots of the input that have ended
 * already are left as they are: an output ring may be published into and
 * dispatched again.
 *
 * Errors name buffer and 32-bit word: "ring: word 16 (slot 0, state): 12 is
 * no slot state".
 *
 * Threads. Dispatches of one context wait for each other.
 */
#ifndef MEGAKERNEL_DISPATCH_H
#define MEGAKERNEL_DISPATCH_H

#include <megakernel.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MK_OBSERVABLES_MAX 65536u /* observable words of a control */
#define MK_RECORDS_MAX 65536u     /* records of a debug log or IO queue */
#define MK_DISPATCH_TIMEOUT_NS UINT64_C(30000000000) /* the default */

/** The four buffers, in binding order. */
enum mk_part {
	MK_PART_CONTROL = 0,
	MK_PART_RING = 1,
	MK_PART_LOG = 2,
	MK_PART_IO = 3
};

/* ---- what a dispatch cost --------------------------------------------- */

/** What one dispatch cost the host. Counted where it happened. */
struct mk_dispatch_stats {
	uint64_t input_bytes;    /* host bytes supplied in the four buffers, by
				  * every try; 0 for resident rows */
	uint64_t output_bytes;   /* in all output buffers returned */
	uint64_t readback_bytes; /* copied out of memory that the engine writes:
				  * answers (16), words, records, buffers */
	uint64_t bytes_moved;    /* readback_bytes, and what was copied into
				  * memory that the engine reads: slots (64
				  * each), words, records */
	uint64_t device_allocation_bytes; /* newly allocated for this one */
	uint32_t device_allocation_events; /* in how many blocks */
	uint32_t output_buffers; /* returned */
	uint64_t latency_ns;     /* from call to return, every try included */
	uint32_t resident_resource_rows;    /* published to the engine */
	uint32_t resident_resource_handles; /* not 0, in all of these rows */
	uint32_t kernel_launches; /* starts of the resident engine meanwhile */
	uint32_t sync_points;    /* times the host had to wait for answers */
	bool recovered_after_device_loss; /* the first try met a lost device;
					   * it was rebuilt, and tried again */
};

/**
 * Bytes per second. 0 if the latency is 0; UINT64_MAX if 64 bits do not hold
 * the rate.
 */
MK_API uint64_t mk_dispatch_output_rate(const struct mk_dispatch_stats *s);
MK_API uint64_t mk_dispatch_readback_rate(const struct mk_dispatch_stats *s);
MK_API uint64_t mk_dispatch_moved_rate(const struct mk_dispatch_stats *s);
MK_API uint64_t mk_dispatch_allocation_rate(const struct mk_dispatch_stats *s);

/* ---- inputs and outputs ------------------------------------------------ */

/** Host bytes, borrowed for the time of the call. */
struct mk_bytes {
	const void *data; /* aligned to 8 */
	uint64_t bytes;
};

struct mk_dispatch_input {
	struct mk_bytes control, ring, debug_log;
	struct mk_bytes io_queue; /* { NULL, 0 }: none */
};

/** One output buffer. Memory of malloc(3); owned by the output it is in. */
struct mk_output_buffer {
	unsigned char *data;
	uint64_t bytes;
	uint64_t capacity; /* allocated at data; reused by the _into calls */
	uint32_t part;     /* enum mk_part */
	uint32_t reserved;
};

/** The output buffers of one dispatch, in binding order, and its cost. */
struct mk_dispatch_output {
	struct mk_output_buffer buffer[MK_RESIDENT_HANDLES];
	uint32_t buffers; /* returned; memory of the others is kept for reuse */
	uint32_t reserved;
	struct mk_dispatch_stats stats;
};

/** Free the memory and zero the record. A zeroed one and NULL are allowed. */
MK_API void mk_dispatch_output_free(struct mk_dispatch_output *out);

/** Four resident buffers, in binding order. */
struct mk_resident_handles {
	mk_buffer_t control, ring, debug_log;
	mk_buffer_t io_queue; /* 0: none */
};

/** What became of one row. */
struct mk_row_output {
	struct mk_output_buffer *buffer; /* `buffers` of them */
	uint32_t buffers;  /* 0 if result is negative */
	int32_t result;    /* >= 0, or why the row did not run to its end */
	uint64_t answered; /* slots that this row answered */
};

/** One set of output buffers a row, and one record of cost for them all. */
struct mk_batch_dispatch_output {
	struct mk_row_output *row; /* `rows` of them, as submitted */
	uint32_t rows;
	uint32_t row_capacity;
	struct mk_output_buffer *slot; /* what row[].buffer points into */
	uint64_t slot_capacity;
	struct mk_dispatch_stats stats;
};

MK_API void mk_batch_dispatch_output_free(struct mk_batch_dispatch_output *out);

/** The buffer of this part among n, or NULL. */
static inline const struct mk_output_buffer *
mk_output_find(const struct mk_output_buffer *buffer, uint32_t n, uint32_t part)
{
	for (uint32_t i = 0; i < n; i++)
		if (buffer[i].part == part)
			return &buffer[i];
	return NULL;
}

/* ---- parameters -------------------------------------------------------- */

enum mk_recover {
	MK_RECOVER_ONCE = 0, /* mk_ctx_recover(), then try again, once. With
			      * recovery BUDGET the context comes back by
			      * itself: up to four tries in all */
	MK_RECOVER_NEVER = 1
};

enum mk_readback {
	MK_READBACK_CONTROL = 1,
	MK_READBACK_RING = 2,
	MK_READBACK_LOG = 4,
	MK_READBACK_IO = 8,
	MK_READBACK_NONE = 16 /* alone: return no buffer */
};

struct mk_dispatch_params {
	uint32_t size;        /* sizeof(struct mk_dispatch_params) */
	uint32_t recover;     /* enum mk_recover */
	uint32_t readback;    /* enum mk_readback, added; 0: all there are */
	uint32_t reserved;    /* 0 */
	uint64_t timeout_ns;  /* the whole call ends within this; 0: 30 s */
	uint64_t deadline_ns; /* absolute time of CLOCK_MONOTONIC: slots that
			       * have not started by then are not run and end
			       * as EXPIRED; 0: none */
};

/* ---- host bytes -------------------------------------------------------- */

/**
 * Dispatch four host buffers; get all of them back.
 *
 * The bytes are copied first and checked after; nothing that fails a check
 * reaches the engine. Allocates; blocks; once the context has dispatched
 * buffers of these sizes before, makes nothing on the device.
 *
 * A lost device is rebuilt and the whole dispatch tried again from the copy,
 * once: slots that ran in the first try run again. Choose MK_RECOVER_NEVER
 * where that must not be.
 *
 * @param params  NULL for all defaults.
 * @param out     overwritten on success; end it with
 *                mk_dispatch_output_free().
 *
 * @return the slots that this dispatch answered.
 * @retval -EINVAL        a pointer or field is out of its range.
 * @retval -E2BIG         params has an unknown tail that is not zero.
 * @retval -MK_EALIGN, -MK_ETRUNC, -MK_ELAYOUT, -MK_ESTATE, -MK_EOVERFLOW
 *                        a buffer fails a check; see below.
 * @retval -ENOMEM        no memory; nothing has run.
 * @retval -ETIME         no end within timeout_ns. Slots that had started may
 *                        still run; their answers are lost.
 * @retval -EBUSY         too many dispatches that timed out still run.
 * @retval -MK_EDEVLOST   the device is lost, and was not recovered.
 * @retval -MK_ESHARED    a handler overwrote the counts of log or IO queue.
 */
MK_API int mk_dispatch(struct mk_ctx *ctx,
		       const struct mk_dispatch_params *params,
		       const struct mk_dispatch_input *input,
		       struct mk_dispatch_output *out);

/**
 * The same into an output that is reused: zeroed before its first use, then
 * as an earlier call left it. Its memory grows where it has to; a loop of
 * equal dispatches allocates nothing. On failure it is left with no buffers,
 * and keeps its memory.
 */
MK_API int mk_dispatch_into(struct mk_ctx *ctx,
			    const struct mk_dispatch_params *params,
			    const struct mk_dispatch_input *input,
			    struct mk_dispatch_output *out);

/** Check host buffers as a dispatch does. Thread-safe; allocates nothing. */
MK_API int mk_dispatch_check(const struct mk_dispatch_input *input);

/* ---- encoding ---------------------------------------------------------- */

/*
 * Sizes. Each returns the bytes of the buffer.
 * @retval -EINVAL         the count is 0, above its limit, or (ring, log, IO)
 *                         no power of two.
 * @retval -MK_EOVERFLOW   the size exceeds the header's 32 bits.
 */
MK_API int64_t mk_control_bytes(uint64_t observables); /* 1..65,536 */
MK_API int64_t mk_ring_bytes(uint64_t entries);        /* 2..65,536 */
MK_API int64_t mk_log_bytes(uint64_t records);         /* 1..65,536 */
MK_API int64_t mk_io_bytes(uint64_t records);          /* 1..65,536 */

struct mk_control_params {
	uint32_t size;        /* sizeof(struct mk_control_params) */
	uint32_t observables; /* 64-bit words, 1..65,536; 0: 64 */
	uint32_t tenants;     /* slots name 0..tenants-1; 0: MK_TENANTS */
	uint32_t shutdown;    /* 1: no slot runs */
	const uint64_t *words; /* the observables' values; NULL: 0 */
};

/*
 * Make a buffer in data[bytes], aligned to 8. bytes may exceed what the size
 * formula says: the rest is left alone.
 * @return the bytes of the buffer.
 * @retval -EINVAL, -MK_EOVERFLOW  as above.
 * @retval -E2BIG      params has an unknown tail that is not zero.
 * @retval -MK_EALIGN  data is not aligned to 8.
 * @retval -MK_ETRUNC  bytes is less than the buffer takes.
 */
MK_API int64_t mk_control_encode(const struct mk_control_params *params,
				 void *data, uint64_t bytes);
MK_API int64_t mk_ring_encode_empty(uint64_t entries, void *data,
				    uint64_t bytes);
MK_API int64_t mk_log_encode_empty(uint64_t records, void *data,
				   uint64_t bytes);
MK_API int64_t mk_io_encode_empty(uint64_t records, void *data,
				  uint64_t bytes);

/**
 * Append n slots to an encoded ring. All or nothing. slots[].state is not
 * read. Whether a handler has the opcode is seen when the slot is dispatched.
 *
 * @return the index of the first one.
 * @retval -EINVAL     a priority or flag is out of range.
 * @retval -ENOSPC     the ring has fewer than n empty slots.
 * @retval -MK_ERANGE  a tenant is not below MK_TENANTS; tiles is above 1.
 * @retval -MK_EOPCODE an opcode is not below MK_OPCODES, or is MK_OP_ROW.
 * @retval -MK_E...    the ring's header fails a check, as in mk_ring_decode(),
 *                     or one of the n slots is not EMPTY (-MK_ESTATE).
 */
MK_API int mk_ring_publish(void *ring, uint64_t bytes,
			   const struct mk_ring_slot *slots, unsigned n);

/* ---- decoding and checking --------------------------------------------- */

/*
 * Errors of all four:
 * @retval -EINVAL        data is NULL.
 * @retval -MK_EALIGN     data is not aligned to 8, or bytes not to 4.
 * @retval -MK_ETRUNC     bytes is less than the header, or than it says.
 * @retval -MK_ELAYOUT    the header is of another kind or version; bytes is
 *                        more than it says; a reserved word is not 0; a count
 *                        is out of its range.
 * @retval -MK_ESTATE     a slot, answer or record is in a state it cannot
 *                        have there.
 * @retval -MK_EOVERFLOW  a count does not fit its buffer's 32-bit size.
 */

/** A control, decoded. */
struct mk_control_info {
	uint32_t shutdown;
	uint32_t tenants;
	uint32_t observables;
	uint32_t reserved;
	uint64_t epoch, done, failed;
	uint64_t tenant_done[MK_TENANTS];
	uint64_t priority_done[MK_PRIORITIES];
	uint64_t opcode_done[MK_OPCODES];
	const uint64_t *words; /* in the buffer: valid as long as it is */
};

/** @return 0. */
MK_API int mk_control_decode(const void *data, uint64_t bytes,
			     struct mk_control_info *out);

/** How one slot of a ring ended, or where it stands. */
struct mk_slot_ending {
	uint32_t slot;
	uint32_t state;   /* enum mk_slot_state */
	int32_t result;   /* 0 unless it ended */
	uint16_t opcode;
	uint16_t tenant;
	uint64_t value;
	uint32_t tag;
	uint8_t priority;
	uint8_t flags;
	uint16_t reserved;
};

/** @return the slots that were published, which may exceed n. */
MK_API int mk_ring_decode(const void *data, uint64_t bytes,
			  struct mk_slot_ending *out, unsigned n);

/** A debug log's counts. */
struct mk_log_info {
	uint32_t capacity;
	uint32_t torn;   /* records begun and not finished; left out */
	uint64_t cursor; /* records ever begun */
	uint64_t drops;  /* of these, overwritten by later ones */
};

/**
 * The records still there, oldest first. A ticket is the index of the slot in
 * its ring. Works whatever overflowed.
 *
 * @param info  may be NULL.
 * @return the records there are, which may exceed n.
 */
MK_API int mk_log_decode(const void *data, uint64_t bytes,
			 struct mk_log_entry *out, unsigned n,
			 struct mk_log_info *info);

/** An IO queue's counts. */
struct mk_io_info {
	uint32_t capacity;
	uint32_t torn;    /* records begun and not finished; left out */
	uint64_t posted;  /* records ever posted */
	uint64_t taken;   /* of these, answered and freed */
	uint64_t refused; /* posts that found the queue full */
};

/**
 * The records that are posted and not taken, oldest first.
 *
 * @param info  may be NULL.
 * @return the records there are, which may exceed n.
 */
MK_API int mk_io_decode(const void *data, uint64_t bytes,
			struct mk_io_record *out, unsigned n,
			struct mk_io_info *info);

/* ---- typed readback ----------------------------------------------------- */

/** The outputs of one dispatch, decoded. */
struct mk_typed_dispatch_output {
	struct mk_dispatch_output raw;
	struct mk_control_info control; /* words point into raw */
	struct mk_slot_ending *ending;
	struct mk_log_entry *log;
	struct mk_io_record *io;
	uint32_t endings, logs, ios; /* entries of the three arrays */
	uint32_t ending_capacity, log_capacity, io_capacity;
	struct mk_log_info log_info;
	struct mk_io_info io_info; /* 0 if there is no IO queue */
};

/**
 * mk_dispatch_into(), and all outputs decoded and checked. out is reused as
 * there: zeroed before its first use; end it with the call below. readback
 * of params must be 0.
 *
 * @return the slots that this dispatch answered.
 * @retval -MK_ESTATE  a handler left something that cannot be decoded: the
 *                     work was done, out->raw has its bytes and cost, and the
 *                     rest of out is empty.
 */
MK_API int mk_dispatch_typed(struct mk_ctx *ctx,
			     const struct mk_dispatch_params *params,
			     const struct mk_dispatch_input *input,
			     struct mk_typed_dispatch_output *out);

MK_API void mk_typed_dispatch_output_free(struct mk_typed_dispatch_output *out);

/* ---- resident buffers --------------------------------------------------- */

/**
 * Run the ring of one row of resident buffers: nothing but a slot crosses to
 * the device, and only what readback names comes back.
 *
 * The buffers hold what the encode calls make, and may be longer; outputs are
 * as long as their headers say. The slots run in order, on one worker. A row
 * that a lost device interrupted goes on where it stopped when it is
 * dispatched again, or tried again by the policy: slots that ended are not run
 * twice; the one that had started ends with -MK_EMAYRUN, unless it is flagged
 * MK_SLOT_IDEMPOTENT. The device checks the slots that it runs, and only those.
 *
 * After -ETIME the row may still write to its buffers; mk_buffer_destroy()
 * waits for it.
 *
 * @param out  as for mk_dispatch() and mk_dispatch_into().
 * @return the slots answered.
 * @retval -MK_ESTALE, -MK_EFOREIGN  a handle names no buffer (any more).
 * @retval -MK_EACCESS    a buffer is read-only.
 * @retval -MK_E...       a buffer fails a check, as above.
 * @retval others         as for mk_dispatch().
 */
MK_API int mk_dispatch_resident(struct mk_ctx *ctx,
				const struct mk_dispatch_params *params,
				const struct mk_resident_handles *handles,
				struct mk_dispatch_output *out);
MK_API int mk_dispatch_resident_into(struct mk_ctx *ctx,
				     const struct mk_dispatch_params *params,
				     const struct mk_resident_handles *handles,
				     struct mk_dispatch_output *out);

/**
 * Run many rows in one submission, on all workers. No launch. All rows are
 * published before the first is waited for, up to 65,536 at a time. Rows
 * should not share buffers.
 *
 * A row that fails costs no other row: its result says why.
 *
 * @param rows  n of them; may be NULL if n is 0, a success with no rows.
 * @param out   overwritten on success; end it with
 *              mk_batch_dispatch_output_free().
 * @return the rows whose result is >= 0.
 * @retval others  as for mk_dispatch().
 */
MK_API int mk_dispatch_resident_batch(struct mk_ctx *ctx,
				      const struct mk_dispatch_params *params,
				      const struct mk_resident_handles *rows,
				      uint32_t n,
				      struct mk_batch_dispatch_output *out);

/**
 * The same into an output that is reused: zeroed before its first use. On
 * failure it is left with no rows, and keeps its memory.
 */
MK_API int
mk_dispatch_resident_batch_into(struct mk_ctx *ctx,
				const struct mk_dispatch_params *params,
				const struct mk_resident_handles *rows,
				uint32_t n,
				struct mk_batch_dispatch_output *out);

/* ---- scratch ------------------------------------------------------------ */

/**
 * Reusable host memory for batches: the rows handed to the engine and the
 * output buffers it fills. A loop of small batches through one scratch
 * allocates nothing once warm. One thread at a time.
 */
struct mk_resident_batch_scratch;

/** @retval -ENOMEM  no memory for the scratch itself. */
MK_API int
mk_resident_batch_scratch_create(struct mk_resident_batch_scratch **out);

/**
 * With room for batches of so many rows with so many output buffers each
 * (0..4), as far as there is memory: what could not be reserved is allocated
 * when it is needed.
 *
 * @retval -EINVAL  outputs is above 4.
 * @retval -ENOMEM  no memory for the scratch itself.
 */
MK_API int mk_resident_batch_scratch_create_with_capacity(
	uint32_t rows, uint32_t outputs,
	struct mk_resident_batch_scratch **out);

/** The same, all or nothing: -ENOMEM says what could not be reserved. */
MK_API int mk_resident_batch_scratch_try_create_with_capacity(
	uint32_t rows, uint32_t outputs,
	struct mk_resident_batch_scratch **out);

/** NULL is allowed. */
MK_API void
mk_resident_batch_scratch_destroy(struct mk_resident_batch_scratch *scratch);

/** Forget the latest batch, keep every allocation. */
MK_API void
mk_resident_batch_scratch_clear(struct mk_resident_batch_scratch *scratch);

/** Rows that can be handed over without allocating. */
MK_API uint32_t mk_resident_batch_scratch_row_capacity(
	const struct mk_resident_batch_scratch *scratch);

/** Row outputs that can be returned without allocating. */
MK_API uint32_t mk_resident_batch_scratch_batch_capacity(
	const struct mk_resident_batch_scratch *scratch);

/** Output buffers of all rows together, likewise; their bytes grow by need. */
MK_API uint64_t mk_resident_batch_scratch_output_capacity(
	const struct mk_resident_batch_scratch *scratch);

/**
 * The rows of the latest dispatch through this scratch, and no others: none
 * before the first, after clear, and after one that failed. Valid until the
 * next dispatch through it.
 *
 * @param rows  how many.
 */
MK_API const struct mk_row_output *mk_resident_batch_scratch_batches(
	const struct mk_resident_batch_scratch *scratch, uint32_t *rows);

/**
 * The same, to be drained in place: who takes a buffer's data sets data to
 * NULL and capacity to 0, and owns the memory from then on (free(3)).
 */
MK_API struct mk_row_output *mk_resident_batch_scratch_batches_mut(
	struct mk_resident_batch_scratch *scratch, uint32_t *rows);

/**
 * mk_dispatch_resident_batch() through a scratch.
 *
 * @param stats  may be NULL.
 */
MK_API int
mk_dispatch_resident_batch_scratch(struct mk_ctx *ctx,
				   const struct mk_dispatch_params *params,
				   const struct mk_resident_handles *rows,
				   uint32_t n,
				   struct mk_resident_batch_scratch *scratch,
				   struct mk_dispatch_stats *stats);

#include <megakernel/requests.h>

#ifdef __cplusplus
}
#endif

#endif
