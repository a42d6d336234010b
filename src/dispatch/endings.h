/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What host dispatches and resident rows must agree on: which slots of a ring
 * may run, what state a result ends in, and how endings are counted.
 */
#ifndef MK_DISPATCH_ENDINGS_H
#define MK_DISPATCH_ENDINGS_H

#include <megakernel.h>

#include "base/order.h"

static inline bool mk_state_ended(uint32_t state)
{
	return state == MK_STATE_DONE || state == MK_STATE_FAULT ||
	       state == MK_STATE_CANCELLED || state == MK_STATE_EXPIRED;
}

/* The state that a slot with this result has. */
static inline uint32_t mk_state_of(int32_t result)
{
	if (result >= 0)
		return MK_STATE_DONE;
	switch (-(int64_t)result) {
	case MK_ECANCELLED:
		return MK_STATE_CANCELLED;
	case MK_EDEADLINE:
	case MK_EOVERRUN:
		return MK_STATE_EXPIRED;
	default:
		return MK_STATE_FAULT;
	}
}

/* Why a slot may not run, as its negative result, or 0. A row inside a ring
 * would be a ring inside a ring. A ring has no place for deadlines. */
static inline int32_t mk_slot_refused(const struct mk_ring_slot *slot,
				      uint32_t tenants)
{
	if (slot->opcode >= MK_OPCODES || slot->opcode == MK_OP_ROW)
		return -MK_EOPCODE;
	if (slot->tenant >= tenants || slot->tiles > 1 ||
	    slot->priority >= MK_PRIORITIES)
		return -MK_ERANGE;
	if (slot->flags & ~MK_SLOT_IDEMPOTENT)
		return -MK_EARGS;
	return 0;
}

/*
 * Count one ending. The slot is the device's word: what is out of range has
 * no counter. The sums come last, so that who reads them (acquire) finds the
 * others, and the answer that was written before, counted in them.
 */
static inline void mk_control_count(struct mk_control *control,
				    const struct mk_ring_slot *slot,
				    int32_t result)
{
	uint64_t *sum = result >= 0 ? &control->done : &control->failed;

	if (slot->tenant < MK_TENANTS)
		mk_count(&control->tenant_done[slot->tenant], 1);
	if (slot->priority < MK_PRIORITIES)
		mk_count(&control->priority_done[slot->priority], 1);
	if (slot->opcode < MK_OPCODES)
		mk_count(&control->opcode_done[slot->opcode], 1);
	mk_store_release(sum, mk_load_relaxed(sum) + 1);
}

#endif
