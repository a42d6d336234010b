/* SPDX-License-Identifier: Apache-2.0 */
/* What a slot waits for, and what it raises. */
#include <errno.h>

#include "base/error.h"
#include "base/order.h"
#include "queue/queue.h"

#define FLOW (MK_SLOT_WAIT | MK_SLOT_RAISE)

/* The line beside a slot, with its counters in `buffer`; NULL: refused, *why
 * is the code. The table of buffers is not asked: that takes a lock, and the
 * engine looks in any case. */
static struct mk_wire_ext *line_of(struct mk_queue *q,
				   const struct mk_slot *slot,
				   mk_buffer_t buffer, uint32_t word,
				   const char *op, int *why)
{
	struct mk_ref ref = mk_buffer_ref(buffer), has;
	struct mk_wire_ext *ext;
	uint64_t index;

	*why = -EINVAL;
	if (!q || !slot) {
		mk_error_null(op, q ? "slot" : "q");
		return NULL;
	}
	index = mk_queue_slot_index(q, slot);
	if (index > q->mask) {
		*why = mk_error_set(-MK_ENOTGOT, 0, op,
				    "slot %p was not got from this queue",
				    (const void *)slot);
		return NULL;
	}
	if (!ref.generation || !ref.index ||
	    ref.index >= q->ctx->config.windows) {
		*why = mk_error_set(-MK_EFOREIGN, 0, op,
				    "buffer 0x%llx is no handle of this "
				    "context", (unsigned long long)buffer);
		return NULL;
	}
	if (word == MK_NO_COUNTER) {
		*why = mk_error_set(-MK_ERANGE, 0, op,
				    "word is %u, must be below %u", word,
				    MK_NO_COUNTER);
		return NULL;
	}
	ext = &q->ext[index];
	has.index = mk_load_relaxed(&ext->counters.index);
	has.generation = mk_load_relaxed(&ext->counters.generation);
	if (slot->flags & FLOW && (has.index != ref.index ||
				   has.generation != ref.generation)) {
		*why = mk_error_set(-EINVAL, 0, op,
				    "buffer is 0x%llx, but the slot has its "
				    "counters in 0x%llx; all of a slot's lie "
				    "in one", (unsigned long long)buffer,
				    (unsigned long long)has.generation << 32 |
					    has.index);
		return NULL;
	}
	/* all of it is ordered before the worker's loads by the slot's stamp */
	mk_store_relaxed(&ext->counters.index, ref.index);
	mk_store_relaxed(&ext->counters.generation, ref.generation);
	return ext;
}

int mk_slot_wait(struct mk_queue *q, struct mk_slot *slot, mk_buffer_t buffer,
		 uint32_t word, uint64_t value)
{
	const char *op = "mk_slot_wait";
	struct mk_wire_ext *ext;
	int why;

	if (slot && slot->flags & MK_SLOT_WAIT)
		return mk_error_set(-E2BIG, 0, op,
				    "the slot waits for a counter already, "
				    "and can for one; let the others raise "
				    "the same one, and wait for their sum");
	if (value & MK_COUNTER_FAILED)
		return mk_error_set(-MK_ERANGE, 0, op,
				    "value is 0x%llx, must be below 2^63",
				    (unsigned long long)value);
	ext = line_of(q, slot, buffer, word, op, &why);
	if (!ext)
		return why;
	mk_store_relaxed(&ext->wait_word, word);
	mk_store_relaxed(&ext->wait_value, value);
	slot->flags |= MK_SLOT_WAIT;
	return 0;
}

int mk_slot_raise(struct mk_queue *q, struct mk_slot *slot, mk_buffer_t buffer,
		  uint32_t word)
{
	const char *op = "mk_slot_raise";
	struct mk_wire_ext *ext;
	unsigned n = 0;
	int why;

	ext = line_of(q, slot, buffer, word, op, &why);
	if (!ext)
		return why;
	if (slot->flags & MK_SLOT_RAISE)
		while (n < MK_RAISE_MAX &&
		       mk_load_relaxed(&ext->raise[n]) != MK_NO_COUNTER)
			n++;
	if (n == MK_RAISE_MAX)
		return mk_error_set(-E2BIG, 0, op,
				    "the slot raises %u counters already, the "
				    "most it can; let a no-op that waits for "
				    "it raise the others", MK_RAISE_MAX);
	mk_store_relaxed(&ext->raise[n], word);
	if (n + 1 < MK_RAISE_MAX)
		mk_store_relaxed(&ext->raise[n + 1], MK_NO_COUNTER);
	slot->flags |= MK_SLOT_RAISE;
	return 0;
}
