/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The buffers of a row lie in memory that anyone may write while we run:
 * handlers, other rows, the host. So every head is copied once, checked, and
 * only the copy is believed; every slot likewise. What can still be reached
 * is never more than what the copy says and the window holds.
 *
 * A slot goes PUBLISHED, CLAIMED, then to the state it ended in. The answer's
 * own state is stored before the slot's: who finds a slot CLAIMED (we died in
 * between) and its answer ended knows that it ran to its end. The counters
 * come last.
 */
#include "engine/cpu/row.h"

#include <errno.h>
#include <stdalign.h>

#include "base/clock.h"
#include "base/order.h"
#include "dispatch/endings.h"
#include "dispatch/layout.h"

struct row {
	struct mk_task sub; /* what the slots of the row see */
	struct mk_control *control;
	struct mk_ring_slot *slots;
	struct mk_ring_answer *answers;
	uint32_t published;
	uint32_t tenants;
	uint64_t answered;
};

/*
 * One buffer of the row: its head checked and copied, its memory known to be
 * there as far as the head says. NULL with *result set if not.
 */
static void *row_buffer(struct mk_task *task, struct mk_ref ref,
			enum mk_part part, void *head, int32_t *result)
{
	struct mk_check c = { .operation = "MK_OP_ROW",
			      .part = part,
			      .longer = true };
	void *data = mk_window_at(task, ref, 0, 0, 1);
	uint64_t bytes = data ? mk_buffer_size(task, ref) : 0;
	int r = 0;

	if (data && part == MK_PART_CONTROL)
		r = mk_control_check(&c, data, bytes, head);
	else if (data && part == MK_PART_RING)
		r = mk_ring_check(&c, data, bytes, head);
	else if (data && part == MK_PART_LOG)
		r = mk_log_check(&c, data, bytes, head);
	else if (data)
		r = mk_io_check(&c, data, bytes, head);
	*result = data ? r : mk_fail(task);
	return *result ? NULL : data;
}

static int32_t row_open(struct row *row, struct mk_task *task,
			const struct mk_op_row *args)
{
	struct mk_control control;
	struct mk_ring ring;
	struct mk_debug_log log;
	struct mk_io_queue io;
	void *data;
	int32_t r;

	row->sub = *task;
	/* it all ends with the row, which one worker runs */
	row->sub.flow = NULL;
	data = row_buffer(task, args->control, MK_PART_CONTROL, &control, &r);
	if (r)
		return r;
	row->control = data;
	row->tenants = control.tenants;
	row->sub.control = data;
	row->sub.observables = (uint64_t *)((unsigned char *)data +
					    control.observable_offset);
	row->sub.observable_count = control.observables;
	data = row_buffer(task, args->ring, MK_PART_RING, &ring, &r);
	if (r)
		return r;
	row->slots = mk_ring_slots(data);
	row->answers = mk_ring_answers(data, ring.entries);
	row->published = ring.published;
	row->sub.log = row_buffer(task, args->debug_log, MK_PART_LOG, &log,
				  &r);
	if (r)
		return r;
	row->sub.log_capacity = log.capacity;
	row->sub.io = NULL;
	row->sub.io_capacity = 0;
	if (!args->io_queue.index && !args->io_queue.generation)
		return 0;
	row->sub.io = row_buffer(task, args->io_queue, MK_PART_IO, &io, &r);
	if (!r)
		row->sub.io_capacity = io.capacity;
	return r;
}

/* Write the answer of slot i, then its state, then count it. */
static void row_answer(struct row *row, uint32_t i,
		       const struct mk_ring_slot *slot, int32_t result,
		       uint64_t value)
{
	struct mk_ring_answer *a = &row->answers[i];
	uint32_t state = mk_state_of(result);

	mk_store_relaxed(&a->result, result);
	mk_store_relaxed(&a->value, value);
	/* each pairs with the acquire load of who polls it; a later run after
	 * a lost device relies on this order too */
	mk_store_release(&a->state, state);
	mk_store_release(&row->slots[i].state, state);
	mk_control_count(row->control, slot, result);
	row->answered++;
}

/* Call the handler. Its arguments are our own, aligned for any of them. */
static int32_t row_call(struct row *row, uint32_t i,
			const struct mk_ring_slot *slot,
			const struct mk_row_env *env)
{
	alignas(16) unsigned char args[MK_ARG_BYTES];
	const struct mk_handler_entry *entry;

	/* the slots of a row run in order: all earlier ones have ended */
	if (slot->opcode == MK_OP_FENCE)
		return MK_OK;
	entry = env->find(env->arg, slot->opcode);
	if (!entry)
		return -MK_EOPCODE;
	memcpy(args, slot->args, sizeof(args));
	row->sub.ticket = i;
	row->sub.value = 0;
	row->sub.error = 0;
	row->sub.opcode = slot->opcode;
	mk_store_relaxed(&row->answers[i].state, MK_STATE_EMPTY);
	/* pairs with the load in row_step() of a run after a lost device:
	 * from here on the slot may have had effects */
	mk_store_release(&row->slots[i].state, MK_STATE_CLAIMED);
	row->sub.tile = 0;
	row->sub.tiles = 1;
	return entry->run(&row->sub, args);
}

/* Why a slot may not start now, as its negative result, or 0. */
static int32_t row_held(const struct row *row, const struct mk_ring_slot *slot,
			const struct mk_row_env *env)
{
	int32_t refused = mk_slot_refused(slot, row->tenants);

	if ((env->stop && mk_load_relaxed(env->stop)) ||
	    (env->mode && mk_load_relaxed(env->mode) & MK_MODE_CANCEL))
		return -MK_ECANCELLED;

	if (mk_load_acquire(&row->control->shutdown))
		return -MK_ECANCELLED;
	if (refused)
		return refused;
	if (mk_cancelled(&row->sub))
		return -MK_ECANCELLED;
	if (row->sub.deadline_ns != UINT64_MAX &&
	    mk_now_ns() >= row->sub.deadline_ns)
		return -MK_EDEADLINE;
	return 0;
}

/*
 * The slot was claimed before we came: by a run that a lost device cut short.
 * Returns true if it shall run again.
 */
static bool row_interrupted(struct row *row, uint32_t i,
			    const struct mk_ring_slot *slot)
{
	struct mk_ring_answer *a = &row->answers[i];
	uint32_t state = mk_load_acquire(&a->state);
	int32_t result = mk_load_relaxed(&a->result);

	if (mk_state_ended(state) && mk_state_of(result) == state)
		row_answer(row, i, slot, result, mk_load_relaxed(&a->value));
	else if (slot->flags & MK_SLOT_IDEMPOTENT)
		return true;
	else
		row_answer(row, i, slot, -MK_EMAYRUN, 0);
	return false;
}

/* Bring slot i to an end, unless it has ended already. */
static void row_step(struct row *row, uint32_t i, const struct mk_row_env *env)
{
	struct mk_ring_slot slot;
	int32_t result;

	/* pairs with the release stores of row_call() and row_answer() */
	(void)mk_load_acquire(&row->slots[i].state);
	mk_copy_words(&slot, &row->slots[i], sizeof(slot));
	if (mk_state_ended(slot.state))
		return;
	row->sub.value = 0;
	if (slot.state == MK_STATE_CLAIMED) {
		if (!row_interrupted(row, i, &slot))
			return;
	} else if (slot.state != MK_STATE_PUBLISHED) {
		row_answer(row, i, &slot, -MK_ESTATE, 0);
		return;
	}
	result = row_held(row, &slot, env);
	if (!result)
		result = row_call(row, i, &slot, env);
	row_answer(row, i, &slot, result, row->sub.value);
}

int32_t mk_cpu_row_run(struct mk_task *task, const struct mk_op_row *args,
		       const struct mk_row_env *env)
{
	struct row row = { .answered = 0 };
	int32_t r;

	r = row_open(&row, task, args);
	if (r)
		return r;
	for (uint32_t i = 0; i < row.published; i++) {
		mk_progress(task);
		row_step(&row, i, env);
	}
	mk_store_release(&row.control->epoch,
			 mk_load_relaxed(&row.control->epoch) + 1);
	task->dirty = 1;
	task->value = row.answered;
	return MK_OK;
}
