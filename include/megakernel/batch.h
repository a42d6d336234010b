/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file batch.h
 * Slots that wait for other slots. Part of megakernel.h, which includes it;
 * its conventions hold.
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
 * library finds it: see mk_ctx_params.hang_ns.
 *
 * A counter is written by the host (mk_buffer_write()) only while no slot in
 * flight waits for it or raises it.
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

#ifdef __cplusplus
}
#endif
#endif
