/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout of the four buffers: sizes by formula, and the checks that all
 * of them have in common. Used by the host calls and by the row runner of the
 * CPU engine, which reads buffers that may change while it does: so checks
 * work on copies.
 */
#ifndef MK_DISPATCH_LAYOUT_H
#define MK_DISPATCH_LAYOUT_H

#include <megakernel.h>

#include "base/order.h"

#define MK_PARTS MK_RESIDENT_HANDLES

/* One of the four buffers: a fixed head, then `count` times `each` bytes. The
 * count is word 4 of every head. */
struct mk_part_layout {
	const char *name;       /* in errors */
	const char *count_name;
	uint32_t magic;
	uint32_t fixed;         /* bytes of the head */
	uint32_t each;
	uint32_t min, max;      /* of count */
	bool power;             /* count is a power of two */
};

extern const struct mk_part_layout mk_part_layout[MK_PARTS];

/* Which call checks which buffer. */
struct mk_check {
	const char *operation;
	enum mk_part part;
	bool longer; /* there may be more bytes than the header says */
};

#define MK_NO_WORD UINT64_MAX

/* Record "<buffer>: word <word> <text>" and return code. */
int mk_check_fail(const struct mk_check *c, int code, uint64_t word,
		  const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Bytes of a buffer with so many entries: -EINVAL, -MK_EOVERFLOW. */
int64_t mk_part_bytes(enum mk_part part, uint64_t count,
		      const char *operation);

/* Check that data[bytes] can hold such a buffer, and make its header. The
 * bytes of the buffer. */
int64_t mk_part_encode(enum mk_part part, uint64_t count, void *data,
		       uint64_t bytes, const char *operation);

/*
 * Copy the head of a buffer once, to head, and check what all have in common:
 * alignment, length, header, count. The count and the bytes that the header
 * declares are in head then, and lie within data[bytes].
 */
int mk_part_check(const struct mk_check *c, const void *data, uint64_t bytes,
		  void *head);

/* Words first..last of a head must be 0: they are reserved. */
int mk_check_reserved(const struct mk_check *c, const void *head,
		      unsigned first, unsigned last);

/* The checks of one head each, all of them. */
int mk_control_check(const struct mk_check *c, const void *data,
		     uint64_t bytes, struct mk_control *head);
int mk_ring_check(const struct mk_check *c, const void *data, uint64_t bytes,
		  struct mk_ring *head);
int mk_log_check(const struct mk_check *c, const void *data, uint64_t bytes,
		 struct mk_debug_log *head);
int mk_io_check(const struct mk_check *c, const void *data, uint64_t bytes,
		struct mk_io_queue *head);

/*
 * One slot of a ring with its answer, both copies.
 *
 * @param input  it is to be dispatched: states that say that someone is at
 *               work on it are refused.
 */
int mk_ring_slot_check(const struct mk_check *c, const struct mk_ring *head,
		       uint32_t i, const struct mk_ring_slot *slot,
		       const struct mk_ring_answer *answer, bool input);

/* Everything that a dispatch asks of one host buffer. */
int mk_control_check_input(const char *operation, const void *data,
			   uint64_t bytes);
int mk_ring_check_input(const char *operation, const void *data,
			uint64_t bytes);
int mk_log_check_input(const char *operation, const void *data,
		       uint64_t bytes);
int mk_io_check_input(const char *operation, const void *data,
		      uint64_t bytes);

/* The buffer of an input; whether it is one that may be left out, and is; and
 * the check above of whichever it is. (input.c) */
const struct mk_bytes *mk_input_part(const struct mk_dispatch_input *in,
				     enum mk_part part);
bool mk_input_left_out(const struct mk_bytes *b, enum mk_part part);
int mk_input_check(const char *operation, enum mk_part part, const void *data,
		   uint64_t bytes);

/*
 * Copy words that somebody may be writing, each once: what is checked in the
 * copy stays checked. src aligned to 8, bytes a multiple of 8.
 */
static inline void mk_copy_words(void *dst, const void *src, uint64_t bytes)
{
	typedef uint64_t __attribute__((may_alias)) word; /* of any struct */
	const word *from = (const word *)src;

	for (uint64_t i = 0; i < bytes / 8; i++) {
		uint64_t w = mk_load_relaxed(&from[i]);

		memcpy((unsigned char *)dst + 8 * i, &w, sizeof(w));
	}
}

/* Where things are in a ring with so many entries. */
static inline struct mk_ring_slot *mk_ring_slots(void *ring)
{
	return (struct mk_ring_slot *)((struct mk_ring *)ring + 1);
}

static inline struct mk_ring_answer *mk_ring_answers(void *ring,
						     uint32_t entries)
{
	return (struct mk_ring_answer *)(mk_ring_slots(ring) + entries);
}

#endif
