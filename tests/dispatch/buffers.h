/* SPDX-License-Identifier: Apache-2.0 */
/* The four buffers of a dispatch, as tests make them. */
#ifndef TEST_DISPATCH_BUFFERS_H
#define TEST_DISPATCH_BUFFERS_H

#include <stdlib.h>
#include <string.h>

#include <megakernel.h>

struct buffers {
	unsigned char *data[MK_RESIDENT_HANDLES]; /* NULL: none */
	uint64_t bytes[MK_RESIDENT_HANDLES];
};

/* io_records 0: no IO queue. False if something could not be made. */
static inline bool buffers_make(struct buffers *b, uint32_t observables,
				uint32_t entries, uint32_t log_records,
				uint32_t io_records)
{
	struct mk_control_params p = { .size = sizeof(p),
				       .observables = observables };
	int64_t bytes[MK_RESIDENT_HANDLES] = {
		mk_control_bytes(observables), mk_ring_bytes(entries),
		mk_log_bytes(log_records),
		io_records ? mk_io_bytes(io_records) : 0,
	};

	memset(b, 0, sizeof(*b));
	for (unsigned i = 0; i < MK_RESIDENT_HANDLES; i++) {
		if (bytes[i] < 0)
			return false;
		b->bytes[i] = (uint64_t)bytes[i];
		if (bytes[i])
			b->data[i] = malloc((size_t)bytes[i]);
		if (bytes[i] && !b->data[i])
			return false;
	}
	return mk_control_encode(&p, b->data[0], b->bytes[0]) == bytes[0] &&
	       mk_ring_encode_empty(entries, b->data[1], b->bytes[1]) ==
		       bytes[1] &&
	       mk_log_encode_empty(log_records, b->data[2], b->bytes[2]) ==
		       bytes[2] &&
	       (!io_records ||
		mk_io_encode_empty(io_records, b->data[3], b->bytes[3]) ==
			bytes[3]);
}

static inline void buffers_free(struct buffers *b)
{
	for (unsigned i = 0; i < MK_RESIDENT_HANDLES; i++)
		free(b->data[i]);
	memset(b, 0, sizeof(*b));
}

static inline struct mk_dispatch_input buffers_input(const struct buffers *b)
{
	struct mk_dispatch_input in = {
		.control = { b->data[0], b->bytes[0] },
		.ring = { b->data[1], b->bytes[1] },
		.debug_log = { b->data[2], b->bytes[2] },
		.io_queue = { b->data[3], b->bytes[3] },
	};

	return in;
}

static inline struct mk_ring_slot ring_slot(uint16_t opcode)
{
	struct mk_ring_slot slot = { .opcode = opcode,
				     .priority = MK_PRIORITY_NORMAL };

	return slot;
}

static inline struct mk_ring_slot word_slot(uint16_t opcode, uint32_t word,
					    uint64_t operand,
					    uint64_t expected)
{
	struct mk_ring_slot slot = ring_slot(opcode);
	struct mk_op_word args = { .word = word,
				   .operand = operand,
				   .expected = expected };

	memcpy(slot.args, &args, sizeof(args));
	return slot;
}

static inline struct mk_ring_slot print_slot(uint32_t format, uint32_t a)
{
	struct mk_ring_slot slot = ring_slot(MK_OP_PRINT);
	struct mk_op_print args = { .format = format, .arg = { a, ~a, 7 } };

	memcpy(slot.args, &args, sizeof(args));
	return slot;
}

/* The index of the slot, or a negated code. */
static inline int buffers_add(struct buffers *b, struct mk_ring_slot slot)
{
	return mk_ring_publish(b->data[1], b->bytes[1], &slot, 1);
}

/* Slot i as it stands in the ring, to be spoilt. */
static inline struct mk_ring_slot *buffers_slot(struct buffers *b, uint32_t i)
{
	struct mk_ring *ring = (struct mk_ring *)b->data[1];

	return (struct mk_ring_slot *)(ring + 1) + i;
}

static inline struct mk_control *buffers_control(struct buffers *b)
{
	return (struct mk_control *)b->data[0];
}

#endif
