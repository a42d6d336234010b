/* SPDX-License-Identifier: Apache-2.0 */
/* The ring buffer: made, published into, checked, read. */
#include <errno.h>

#include "base/error.h"
#include "dispatch/endings.h"
#include "dispatch/layout.h"

#define WORD_PUBLISHED 5
#define WORD_RESERVED 6 /* to 15 */
#define WORD_SLOTS 16
#define SLOT_WORDS 16u
#define ANSWER_WORDS 4u

MK_ASSERT_AT(struct mk_ring, published, 4 * WORD_PUBLISHED);
MK_ASSERT_AT(struct mk_ring, reserved, 4 * WORD_RESERVED);
MK_ASSERT_SIZE(struct mk_ring, 4 * WORD_SLOTS);
MK_ASSERT_SIZE(struct mk_ring_slot, 4 * SLOT_WORDS);
MK_ASSERT_SIZE(struct mk_ring_answer, 4 * ANSWER_WORDS);

int64_t mk_ring_bytes(uint64_t entries)
{
	return mk_part_bytes(MK_PART_RING, entries, __func__);
}

int64_t mk_ring_encode_empty(uint64_t entries, void *data, uint64_t bytes)
{
	return mk_part_encode(MK_PART_RING, entries, data, bytes, __func__);
}

static int publish_refused(unsigned i, const struct mk_ring_slot *slot)
{
	const char *op = "mk_ring_publish";

	if (slot->opcode >= MK_OPCODES || slot->opcode == MK_OP_ROW)
		return mk_error_set(-MK_EOPCODE, 0, op,
				    "slot %u: opcode is %u, must be below %u "
				    "and not MK_OP_ROW (%d)", i, slot->opcode,
				    MK_OPCODES, MK_OP_ROW);
	if (slot->tenant >= MK_TENANTS)
		return mk_error_set(-MK_ERANGE, 0, op,
				    "slot %u: tenant is %u, must be below %u",
				    i, slot->tenant, MK_TENANTS);
	if (slot->tiles > 1)
		return mk_error_set(-MK_ERANGE, 0, op,
				    "slot %u: tiles is %u, must be 0 or 1", i,
				    slot->tiles);
	if (slot->priority >= MK_PRIORITIES)
		return mk_error_set(-EINVAL, 0, op,
				    "slot %u: priority is %u, must be 0 to %u",
				    i, slot->priority, MK_PRIORITIES - 1);
	return mk_error_set(-EINVAL, 0, op,
			    "slot %u: flags is 0x%x; a slot of a ring may "
			    "have 0x%x", i, slot->flags, MK_SLOT_IDEMPOTENT);
}

int mk_ring_publish(void *ring, uint64_t bytes,
		    const struct mk_ring_slot *slots, unsigned n)
{
	struct mk_check c = { .operation = __func__, .part = MK_PART_RING };
	struct mk_ring_slot *to;
	struct mk_ring head;
	int r;

	r = mk_ring_check(&c, ring, bytes, &head);
	if (!r && n && !slots)
		r = mk_error_null(__func__, "slots");
	if (r < 0)
		return r;
	if (n > head.entries - head.published)
		return mk_error_set(-ENOSPC, 0, __func__,
				    "ring: n is %u, but only %u of %u slots "
				    "are empty", n,
				    head.entries - head.published,
				    head.entries);
	to = mk_ring_slots(ring) + head.published;
	for (unsigned i = 0; i < n; i++) {
		if (mk_slot_refused(&slots[i], MK_TENANTS))
			return publish_refused(i, &slots[i]);
		if (to[i].state != MK_STATE_EMPTY)
			return mk_check_fail(
				&c, -MK_ESTATE,
				WORD_SLOTS + SLOT_WORDS *
						     (head.published + i),
				"(slot %u, state): %u, must be EMPTY (0) from "
				"slot %u on", head.published + i, to[i].state,
				head.published);
	}
	for (unsigned i = 0; i < n; i++) {
		to[i] = slots[i];
		to[i].state = MK_STATE_PUBLISHED;
	}
	((struct mk_ring *)ring)->published = head.published + n;
	return (int)head.published;
}

int mk_ring_check(const struct mk_check *c, const void *data, uint64_t bytes,
		  struct mk_ring *head)
{
	int r;

	r = mk_part_check(c, data, bytes, head);
	if (r < 0)
		return r;
	if (head->published > head->entries)
		return mk_check_fail(c, -MK_ELAYOUT, WORD_PUBLISHED,
				     "(published): %u exceeds the %u entries",
				     head->published, head->entries);
	return mk_check_reserved(c, head, WORD_RESERVED, WORD_SLOTS - 1);
}

static int check_answer(const struct mk_check *c, const struct mk_ring *head,
			uint32_t i, uint32_t state,
			const struct mk_ring_answer *answer)
{
	uint64_t word = WORD_SLOTS + (uint64_t)SLOT_WORDS * head->entries +
			(uint64_t)ANSWER_WORDS * i;
	uint32_t want = mk_state_ended(state) ? state : MK_STATE_EMPTY;

	/* its worker may have died between answer and state */
	if (state == MK_STATE_CLAIMED)
		return 0;
	if (answer->state != want)
		return mk_check_fail(c, -MK_ESTATE, word + 1,
				     "(answer %u, state): %u, must be %u like "
				     "its slot", i, answer->state, want);
	if (want == MK_STATE_EMPTY)
		return 0;
	if ((answer->result >= 0) != (state == MK_STATE_DONE))
		return mk_check_fail(c, -MK_ESTATE, word,
				     "(answer %u, result): %d does not go with "
				     "state %u", i, answer->result, state);
	return 0;
}

int mk_ring_slot_check(const struct mk_check *c, const struct mk_ring *head,
		       uint32_t i, const struct mk_ring_slot *slot,
		       const struct mk_ring_answer *answer, bool input)
{
	uint64_t word = WORD_SLOTS + (uint64_t)SLOT_WORDS * i;
	uint32_t state = slot->state;

	if (state > MK_STATE_EXPIRED)
		return mk_check_fail(c, -MK_ESTATE, word,
				     "(slot %u, state): %u is no slot state",
				     i, state);
	if (i >= head->published && state != MK_STATE_EMPTY)
		return mk_check_fail(c, -MK_ESTATE, word,
				     "(slot %u, state): %u, must be EMPTY (0) "
				     "from slot %u on", i, state,
				     head->published);
	if (i < head->published && state == MK_STATE_EMPTY)
		return mk_check_fail(c, -MK_ESTATE, word,
				     "(slot %u, state): EMPTY (0), but %u "
				     "slots are published", i,
				     head->published);
	if (input && state != MK_STATE_EMPTY && state != MK_STATE_PUBLISHED &&
	    !mk_state_ended(state))
		return mk_check_fail(c, -MK_ESTATE, word,
				     "(slot %u, state): %u; a slot to "
				     "dispatch is PUBLISHED (1) or has ended",
				     i, state);
	return check_answer(c, head, i, state, answer);
}

/* Walk a ring: check every slot, copy out the endings that fit. */
static int walk(const struct mk_check *c, const void *data,
		const struct mk_ring *head, struct mk_slot_ending *out,
		unsigned n, bool input)
{
	const struct mk_ring_slot *slots = mk_ring_slots((void *)data);
	const struct mk_ring_answer *answers =
		mk_ring_answers((void *)data, head->entries);

	for (uint32_t i = 0; i < head->entries; i++) {
		struct mk_ring_slot slot;
		struct mk_ring_answer answer;
		int r;

		mk_copy_words(&slot, &slots[i], sizeof(slot));
		mk_copy_words(&answer, &answers[i], sizeof(answer));
		r = mk_ring_slot_check(c, head, i, &slot, &answer, input);
		if (r < 0)
			return r;
		if (i >= n || i >= head->published)
			continue;
		out[i] = (struct mk_slot_ending){
			.slot = i,
			.state = slot.state,
			.opcode = slot.opcode,
			.tenant = slot.tenant,
			.tag = slot.tag,
			.priority = slot.priority,
			.flags = slot.flags,
		};
		if (mk_state_ended(slot.state)) {
			out[i].result = answer.result;
			out[i].value = answer.value;
		}
	}
	return (int)head->published;
}

int mk_ring_check_input(const char *operation, const void *data,
			uint64_t bytes)
{
	struct mk_check c = { .operation = operation, .part = MK_PART_RING };
	struct mk_ring head;
	int r;

	r = mk_ring_check(&c, data, bytes, &head);
	return r < 0 ? r : walk(&c, data, &head, NULL, 0, true);
}

int mk_ring_decode(const void *data, uint64_t bytes,
		   struct mk_slot_ending *out, unsigned n)
{
	struct mk_check c = { .operation = __func__, .part = MK_PART_RING };
	struct mk_ring head;
	int r;

	r = mk_ring_check(&c, data, bytes, &head);
	if (!r && n && !out)
		r = mk_error_null(__func__, "out");
	return r < 0 ? r : walk(&c, data, &head, out, n, false);
}
