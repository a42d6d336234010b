/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file batch.h
 * Slots that wait for other slots, and batches of them. Part of megakernel.h,
 * which includes it; its conventions hold.
 *
 * What they wait for are counters: the 64-bit words of a buffer. A slot that
 * raises a counter adds 1 to it when it ends, after everything that it wrote,
 * and sets MK_COUNTER_FAILED, the highest bit, if its result is negative. A
 * slot that waits for a counter begins when the counter has reached a value,
 * and sees what those that raised it have written; until then no worker is
 * held up, and slots behind it run. So "run C when A and B have ended" is: A
 * and B raise one counter, C waits until it is 2 more than it was.
 *
 * Failure goes on: a slot that waits for a counter with MK_COUNTER_FAILED set
 * ends at once with -MK_EUPSTREAM, unrun, and raises its own counters as one
 * that failed.
 *
 * The rule that keeps this free of deadlock: a slot may wait only for slots
 * published before it, of any queue of the context, or for work that they
 * make. The library cannot check it here. A slot that waits for what nobody
 * will raise waits until its deadline, until it is cancelled, or until the
 * library finds it, within twice mk_ctx_params.hang_ns: it then ends with
 * -EDEADLK, and mk_ctx_evidence() names the circle, or the counter that nobody
 * raises.
 *
 * A counter is written by the host (mk_buffer_write()) only while no slot in
 * flight waits for it or raises it.
 * Raised beyond 2^63 - 1 it would carry into the highest bit, and counts as one
 * that failed.
 */
#ifndef MEGAKERNEL_BATCH_H
#define MEGAKERNEL_BATCH_H

#include <megakernel.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Let a slot that was got, and not yet submitted, wait: it begins when
 * counter `word` of the buffer is `value` or more, by the low 63 bits. Call it
 * after mk_slot_init() or mk_queue_fill(), which clear the slot's flags.
 *
 * Writes one line of memory that the device reads with the slot; no lock, no
 * system call. Whether the buffer has such a word is found out when the slot
 * is served: it then ends unrun with -MK_ERANGE, -MK_ESTALE, -MK_EFOREIGN or
 * -MK_EVOLATILE.
 *
 * @param word   8-byte index in the buffer, below MK_NO_COUNTER.
 * @param value  0 to 2^63 - 1; 0 waits for nothing, but fails upstream as the
 *               others do.
 *
 * @retval -E2BIG        the slot waits for a counter already.
 * @retval -EINVAL       it raises counters of another buffer: all of a slot's
 *                       counters lie in one.
 * @retval -MK_ERANGE    word or value is out of range.
 * @retval -MK_EFOREIGN  buffer cannot be a handle of this context.
 * @retval -MK_ENOTGOT   slot is none of this queue's.
 */
MK_API int mk_slot_wait(struct mk_queue *q, struct mk_slot *slot,
			mk_buffer_t buffer, uint32_t word, uint64_t value);

/**
 * Let a slot that was got, and not yet submitted, raise counter `word` of the
 * buffer by 1 when it ends, however it ends, before its answer can be seen.
 * May be called up to MK_RAISE_MAX times for a slot, for the same word, too.
 * Cost and order as with mk_slot_wait().
 *
 * A word that cannot be raised when the slot ends is passed over; the result
 * of the slot, if it was not negative, is then what a handler would get for
 * the word (-MK_ERANGE, -MK_EACCESS, ...), and its other counters are raised
 * as those of a slot that failed.
 *
 * @retval -E2BIG  the slot raises MK_RAISE_MAX counters already.
 * @retval -EINVAL, -MK_ERANGE, -MK_EFOREIGN, -MK_ENOTGOT  as above.
 */
MK_API int mk_slot_raise(struct mk_queue *q, struct mk_slot *slot,
			 mk_buffer_t buffer, uint32_t word);

/* ---- recorded batches --------------------------------------------------- */

/**
 * Slots that depend on each other, recorded and checked once, then submitted
 * as a whole as often as wanted: one copy, no checks of single slots, and
 * nothing is reset in between. Calls on one batch are made by one thread at a
 * time; different batches of a queue are independent.
 */
struct mk_batch;

struct mk_batch_params {
	uint32_t size;     /* sizeof(struct mk_batch_params) */
	uint32_t slots;    /* the most it holds: 1..entries of the queue */
	uint32_t counters; /* of its own that mk_batch_wait() and _raise() name;
			    * those of mk_batch_after() come beside them */
	uint32_t runs;     /* submissions that may be in flight at a time,
			    * 1..64; 0: 2. Each has counters of its own */
};

/**
 * Begin to record. The batch belongs to the queue and is destroyed before it.
 * Allocates.
 *
 * @retval -EINVAL  a field is out of range.
 * @retval -ENOMEM  no memory.
 */
MK_API int mk_batch_create(struct mk_queue *q,
			   const struct mk_batch_params *params,
			   struct mk_batch **out);

/**
 * Free a batch.
 *
 * @return 0; NULL is allowed.
 * @retval -EBUSY  answers of a run were not reaped yet.
 * @retval -ETIME  as mk_buffer_destroy(): the batch stays valid.
 */
MK_API int mk_batch_destroy(struct mk_batch *b, uint64_t timeout_ns);

/**
 * Record a slot, copied from the caller's memory; they are published in this
 * order. Its flags may have MK_SLOT_IDEMPOTENT alone.
 *
 * @return its number in the batch, from 0 on.
 * @retval -E2BIG   the batch holds params.slots already.
 * @retval -EBUSY   the batch was sealed.
 * @retval -EINVAL, -MK_EOPCODE, -MK_ERANGE  as mk_queue_submit().
 */
MK_API int mk_batch_add(struct mk_batch *b, const struct mk_slot *slot);

/**
 * Slot `slot` begins when slot `before`, of a lower number, has ended, and all
 * others of which that is said. The counters for it are found by
 * mk_batch_seal(): slots that come after the same ones share theirs.
 *
 * @retval -EINVAL  `slot` or `before` is no slot of the batch, or they are not
 *                  in this order.
 * @retval -EBUSY   the batch was sealed.
 * @retval -ENOMEM  no memory.
 */
MK_API int mk_batch_after(struct mk_batch *b, uint32_t slot, uint32_t before);

/**
 * As mk_slot_wait() and mk_slot_raise(), with a counter of the batch
 * (`buffer` 0, `word` below params.counters), which stands at 0 when a run
 * begins; or with any other counter, from outside the batch (`buffer` its
 * handle), whose value is absolute and for whose raises the caller is
 * responsible.
 *
 * @retval -E2BIG       the slot waits already, or raises MK_RAISE_MAX counters.
 * @retval -EINVAL      slot is none of the batch; or it has counters in
 *                      another buffer, those of the batch included.
 * @retval -MK_ERANGE   word or value is out of range.
 * @retval -EBUSY       the batch was sealed.
 */
MK_API int mk_batch_wait(struct mk_batch *b, uint32_t slot, mk_buffer_t buffer,
			 uint32_t word, uint64_t value);
MK_API int mk_batch_raise(struct mk_batch *b, uint32_t slot,
			  mk_buffer_t buffer, uint32_t word);

/**
 * Check the batch and make it ready: each wait for one of its own counters
 * must be reached by raises of slots before it. Allocates; makes a buffer for
 * the counters.
 *
 * @return how many slots it has.
 * @retval -EDEADLK  a slot waits for more than the slots before it raise; the
 *                   sentence names slot and counter.
 * @retval -E2BIG    a slot would have to raise more than MK_RAISE_MAX counters;
 *                   a no-op after it can raise the others.
 * @retval -EINVAL   the batch is empty; or a slot both waits for a counter and
 *                   comes after others, or has counters in another buffer too.
 * @retval -EBUSY    the batch was sealed.
 * @retval -ENOMEM, -ENOSPC, -MK_EDEVLOST  as mk_buffer_create().
 */
MK_API int mk_batch_seal(struct mk_batch *b);

/**
 * Change argument bytes [offset, offset + bytes) of a recorded slot, for all
 * submissions from now on; those in flight keep theirs. A copy, no more.
 *
 * @retval -EINVAL     slot is none of the batch.
 * @retval -MK_ERANGE  the bytes exceed the argument block.
 */
MK_API int mk_batch_patch(struct mk_batch *b, uint32_t slot, uint32_t offset,
			  const void *data, uint32_t bytes);

/**
 * Publish all slots of a sealed batch, or none. Each completion has the
 * user_data of its recorded slot, plus `user_data`.
 *
 * Copies two or three lines a slot; no lock, no allocation, no system call
 * but the one that mk_queue_submit() makes. Two exceptions, which cost a
 * command to the engine: after a run of which a slot ended with a negative
 * result, and after a lost device, counters are set to 0 first.
 *
 * @return how many slots were published.
 * @retval -EAGAIN       the ring has no room for all; or as many runs as
 *                       params.runs have answers that were not reaped yet, or
 *                       were reaped and not freed, because older slots of the
 *                       queue were not.
 * @retval -EINVAL       the batch was not sealed.
 * @retval -MK_EOPCODE   a handler was unloaded since.
 * @retval -MK_ESTOPPED, -MK_EDEVLOST  as mk_queue_get().
 */
MK_API int mk_batch_submit(struct mk_batch *b, uint64_t user_data);

#ifdef __cplusplus
}
#endif
#endif
