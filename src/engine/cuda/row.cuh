/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MK_OP_ROW: the slots of a ring in resident buffers, in order, by one warp.
 * The same steps, checks and codes as src/engine/cpu/row.c, which says why.
 *
 * Buffers may change while we run: every head is read word by word, once,
 * and only what was read is believed. All lanes read and decide alike; lane 0
 * writes.
 */
#ifndef MK_CUDA_ROW_CUH
#define MK_CUDA_ROW_CUH

#define MKD_COUNT_MAX 65536u /* words, slots and records of a buffer */

struct mkd_row {
	struct mk_task sub; /* what the slots of the row see */
	struct mk_control *control;
	struct mk_ring_slot *slots;
	struct mk_ring_answer *answers;
	const struct mkd_state *state;
	uint32_t published;
	uint32_t tenants;
	uint64_t answered;
	bool dirty;
};

/* One of the four buffers: a head, then count entries. */
struct mkd_part {
	uint64_t at;
	uint64_t bytes; /* that the head declares */
	uint32_t count;
};

MKD_FN uint32_t mkd_word(uint64_t at, uint32_t word)
{
	return mkd_load32((const uint32_t *)at + word);
}

MKD_FN uint64_t mkd_word64(uint64_t at, uint32_t word)
{
	return mkd_load64((const uint64_t *)(at + 4u * word));
}

MKD_FN bool mkd_zero(uint64_t at, uint32_t first, uint32_t last)
{
	uint32_t any = 0;

	for (uint32_t i = first; i <= last; i++)
		any |= mkd_word(at, i);
	return !any;
}

/* What all four have in common. MK_OK or a negated code. */
MKD_SLOW int32_t mkd_part_open(struct mk_task *task, struct mk_ref ref,
			       uint32_t magic, uint32_t fixed, uint32_t each,
			       bool power, struct mkd_part *p)
{
	uint64_t have, takes;

	p->at = (uint64_t)(uintptr_t)mk_window_at(task, ref, 0, 0, 1);
	if (!p->at)
		return mk_fail(task);
	have = mk_buffer_size(task, ref);
	if (p->at % 8u || have % 4u)
		return -MK_EALIGN;
	if (have < fixed)
		return -MK_ETRUNC;
	p->bytes = mkd_word(p->at, 3);
	p->count = mkd_word(p->at, 4);
	if (mkd_word(p->at, 0) != magic ||
	    mkd_word(p->at, 1) != MK_ABI_VERSION ||
	    mkd_word(p->at, 2) != MK_FINGERPRINT)
		return -MK_ELAYOUT;
	if (p->bytes % 8u)
		return -MK_EALIGN;
	if (p->bytes > have)
		return -MK_ETRUNC;
	if (p->count > (0xffffffffu - fixed) / each)
		return -MK_EOVERFLOW;
	if (!p->count || p->count > MKD_COUNT_MAX ||
	    (power && (p->count & (p->count - 1u))))
		return -MK_ELAYOUT;
	takes = fixed + (uint64_t)p->count * each;
	if (p->bytes < takes)
		return -MK_ETRUNC;
	if (p->bytes > takes && magic != MK_MAGIC_CONTROL)
		return -MK_ELAYOUT;
	return MK_OK;
}

MKD_FN int32_t mkd_row_control(struct mkd_row *row, struct mk_task *task,
			       struct mk_ref ref)
{
	struct mkd_part p;
	uint32_t offset;
	int32_t r = mkd_part_open(task, ref, MK_MAGIC_CONTROL,
				  sizeof(struct mk_control), 8, false, &p);

	if (r)
		return r;
	offset = mkd_word(p.at, 5);
	row->tenants = mkd_word(p.at, 6);
	if (offset % 8u)
		return -MK_EALIGN;
	if (offset < sizeof(struct mk_control))
		return -MK_ELAYOUT;
	if (offset + 8ull * p.count > p.bytes)
		return -MK_ETRUNC;
	if (!row->tenants || row->tenants > MK_TENANTS ||
	    !mkd_zero(p.at, 14, 15) || !mkd_zero(p.at, 154, 159))
		return -MK_ELAYOUT;
	row->control = (struct mk_control *)p.at;
	row->sub.control = row->control;
	row->sub.observables = (uint64_t *)(p.at + offset);
	row->sub.observable_count = p.count;
	return MK_OK;
}

MKD_FN int32_t mkd_row_ring(struct mkd_row *row, struct mk_task *task,
			    struct mk_ref ref)
{
	struct mkd_part p;
	int32_t r = mkd_part_open(task, ref, MK_MAGIC_RING,
				  sizeof(struct mk_ring),
				  sizeof(struct mk_ring_slot) +
					  sizeof(struct mk_ring_answer),
				  true, &p);

	if (r)
		return r;
	row->published = mkd_word(p.at, 5);
	if (p.count < MK_RING_ENTRIES_MIN || row->published > p.count ||
	    !mkd_zero(p.at, 6, 15))
		return -MK_ELAYOUT;
	row->slots = (struct mk_ring_slot *)(p.at + sizeof(struct mk_ring));
	row->answers = (struct mk_ring_answer *)(row->slots + p.count);
	return MK_OK;
}

MKD_FN int32_t mkd_row_log(struct mkd_row *row, struct mk_task *task,
			   struct mk_ref ref)
{
	struct mkd_part p;
	int32_t r = mkd_part_open(task, ref, MK_MAGIC_LOG,
				  sizeof(struct mk_debug_log),
				  sizeof(struct mk_debug_record), true, &p);

	if (r)
		return r;
	if (mkd_word64(p.at, 8) > mkd_word64(p.at, 6))
		return -MK_ESTATE;
	if (!mkd_zero(p.at, 5, 5) || !mkd_zero(p.at, 10, 15))
		return -MK_ELAYOUT;
	row->sub.log = (struct mk_debug_log *)p.at;
	row->sub.log_capacity = p.count;
	return MK_OK;
}

MKD_FN int32_t mkd_row_io(struct mkd_row *row, struct mk_task *task,
			  struct mk_ref ref)
{
	struct mkd_part p;
	int32_t r;

	row->sub.io = (struct mk_io_queue *)0;
	row->sub.io_capacity = 0;
	if (!ref.index && !ref.generation)
		return MK_OK;
	r = mkd_part_open(task, ref, MK_MAGIC_IO, sizeof(struct mk_io_queue),
			  sizeof(struct mk_io_record), true, &p);
	if (r)
		return r;
	if (mkd_word64(p.at, 6) - mkd_word64(p.at, 8) > p.count)
		return -MK_ESTATE;
	if (!mkd_zero(p.at, 5, 5) || !mkd_zero(p.at, 12, 15))
		return -MK_ELAYOUT;
	row->sub.io = (struct mk_io_queue *)p.at;
	row->sub.io_capacity = p.count;
	return MK_OK;
}

/* ---- one slot of the row ------------------------------------------------ */

MKD_FN bool mkd_state_ended(uint32_t state)
{
	return state == MK_STATE_DONE || state == MK_STATE_FAULT ||
	       state == MK_STATE_CANCELLED || state == MK_STATE_EXPIRED;
}

MKD_FN uint32_t mkd_state_of(int32_t result)
{
	if (result >= 0)
		return MK_STATE_DONE;
	if (result == -MK_ECANCELLED)
		return MK_STATE_CANCELLED;
	if (result == -MK_EDEADLINE || result == -MK_EOVERRUN)
		return MK_STATE_EXPIRED;
	return MK_STATE_FAULT;
}

MKD_FN void mkd_bump_word(uint64_t *word)
{
	mkd_store64(word, mkd_load64(word) + 1u);
}

/* Answer, then the slot's state, then the counts: lane 0. */
MKD_SLOW void mkd_row_answer(struct mkd_row *row, uint32_t i,
			     const struct mk_ring_slot *slot, int32_t result,
			     uint64_t value)
{
	struct mk_ring_answer *a = &row->answers[i];
	struct mk_control *c = row->control;
	uint32_t state = mkd_state_of(result);

	row->answered++;
	if (row->sub.lane)
		return;
	mkd_store32((uint32_t *)&a->result, (uint32_t)result);
	mkd_store64(&a->value, value);
	mkd_store32_release(&a->state, state);
	mkd_store32_release(&row->slots[i].state, state);
	if (slot->tenant < MK_TENANTS)
		mkd_bump_word(&c->tenant_done[slot->tenant]);
	if (slot->priority < MK_PRIORITIES)
		mkd_bump_word(&c->priority_done[slot->priority]);
	if (slot->opcode < MK_OPCODES)
		mkd_bump_word(&c->opcode_done[slot->opcode]);
	mkd_release();
	mkd_bump_word(result >= 0 ? &c->done : &c->failed);
}

MKD_FN int32_t mkd_row_stopped(const struct mkd_row *row)
{
	uint64_t now;

	if (mkd_load32(&row->control->shutdown) || mk_cancelled(&row->sub))
		return -MK_ECANCELLED;
	if (row->sub.deadline_ns == ~(uint64_t)0)
		return 0;
	now = mkd_host_time(row->state);
	return now >= row->sub.deadline_ns ? -MK_EDEADLINE : 0;
}

MKD_FN int32_t mkd_row_refused(const struct mkd_row *row,
			       const struct mk_ring_slot *slot)
{
	if (slot->opcode >= MK_OPCODES || slot->opcode == MK_OP_ROW)
		return -MK_EOPCODE;
	if (slot->tenant >= row->tenants || slot->tiles > 1u ||
	    slot->priority >= MK_PRIORITIES)
		return -MK_ERANGE;
	return (slot->flags & ~MK_SLOT_IDEMPOTENT) ? -MK_EARGS : 0;
}

MKD_FN int32_t mkd_row_call(struct mkd_row *row, uint32_t i,
			    const struct mk_ring_slot *slot)
{
	uint32_t entry = mkd_shfl(mkd_entry(row->state, slot->opcode), 0);
	uint32_t lane = row->sub.lane;
	struct mk_task task;
	int32_t result = 0;

	/* the slots of a row run in order: all earlier ones have ended */
	if (slot->opcode == MK_OP_FENCE)
		return MK_OK;
	if (!entry)
		return -MK_EOPCODE;
	task = row->sub;
	task.ticket = i;
	task.value = 0;
	task.error = 0;
	if (!MKD_ENTRY_WIDTH(entry))
		task.lanes = 1;
	if (!lane) {
		mkd_store32(&row->answers[i].state, MK_STATE_EMPTY);
		mkd_store32_release(&row->slots[i].state, MK_STATE_CLAIMED);
	}
	mkd_syncwarp();
	if (task.lanes > 1u || !lane)
		result = mkd_dispatch(MKD_ENTRY_HANDLER(entry), &task,
				      slot->args);
	mkd_syncwarp();
	/* what one lane wrote, the lanes of the next slot may read */
	mkd_acquire();
	if (task.dirty)
		row->dirty = true;
	row->sub.value = mkd_shfl64(task.value, 0);
	return (int32_t)mkd_shfl((uint32_t)result, 0);
}

/* Claimed before we came, by a run that a lost device cut short. True if it
 * shall run again. */
MKD_FN bool mkd_row_interrupted(struct mkd_row *row, uint32_t i,
				const struct mk_ring_slot *slot)
{
	struct mk_ring_answer *a = &row->answers[i];
	uint32_t state = mkd_shfl(mkd_load32(&a->state), 0);
	int32_t result = (int32_t)mkd_shfl(
		mkd_load32((const uint32_t *)&a->result), 0);

	if (mkd_state_ended(state) && mkd_state_of(result) == state)
		mkd_row_answer(row, i, slot, result, mkd_load64(&a->value));
	else if (slot->flags & MK_SLOT_IDEMPOTENT)
		return true;
	else
		mkd_row_answer(row, i, slot, -MK_EMAYRUN, 0);
	return false;
}

union mkd_row_copy {
	alignas(16) struct mk_ring_slot slot;
	struct mkd_unit unit[4];
};

MKD_SLOW void mkd_row_step(struct mkd_row *row, uint32_t i)
{
	union mkd_row_copy copy;
	const struct mk_ring_slot *slot = &copy.slot;
	int32_t result;

	for (uint32_t u = 0; u < 4u; u++) {
		struct mkd_unit v =
			mkd_load16((uint64_t)(row->slots + i) + 16u * u);

		/* lanes must agree, although they read one by one */
		copy.unit[u].x = mkd_shfl(v.x, 0);
		copy.unit[u].y = mkd_shfl(v.y, 0);
		copy.unit[u].z = mkd_shfl(v.z, 0);
		copy.unit[u].w = mkd_shfl(v.w, 0);
	}
	if (mkd_state_ended(slot->state))
		return;
	row->sub.value = 0;
	if (slot->state == MK_STATE_CLAIMED) {
		if (!mkd_row_interrupted(row, i, slot))
			return;
	} else if (slot->state != MK_STATE_PUBLISHED) {
		mkd_row_answer(row, i, slot, -MK_ESTATE, 0);
		return;
	}
	result = (int32_t)mkd_shfl((uint32_t)mkd_row_stopped(row), 0);
	if (!result)
		result = mkd_row_refused(row, slot);
	if (!result)
		result = mkd_row_call(row, i, slot);
	mkd_row_answer(row, i, slot, result, row->sub.value);
}

MKD_SLOW int32_t mkd_row(struct mk_task *task, const struct mk_op_row *args,
			 const struct mkd_state *state)
{
	struct mkd_row row;
	int32_t r;

	row.sub = *task;
	/* nothing is made in a row */
	row.sub.engine = (void *)0;
#if !MK_CUDA
	row.sub.flow = (struct mk_flow_calls *)0;
#endif
	row.state = state;
	row.answered = 0;
	row.dirty = false;
	r = mkd_row_control(&row, task, args->control);
	if (!r)
		r = mkd_row_ring(&row, task, args->ring);
	if (!r)
		r = mkd_row_log(&row, task, args->debug_log);
	if (!r)
		r = mkd_row_io(&row, task, args->io_queue);
	r = (int32_t)mkd_shfl((uint32_t)r, 0);
	if (r)
		return r;
	row.published = mkd_shfl(row.published, 0);
	for (uint32_t i = 0; i < row.published; i++)
		mkd_row_step(&row, i);
	if (!task->lane)
		mkd_bump_word(&row.control->epoch);
	task->dirty = 1;
	task->value = row.answered;
	return MK_OK;
}

#endif
