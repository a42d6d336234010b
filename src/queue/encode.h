/* SPDX-License-Identifier: Apache-2.0 */
/* How a slot is written into the ring: docs/protocol.md, section 2. */
#ifndef MK_QUEUE_ENCODE_H
#define MK_QUEUE_ENCODE_H

#include <string.h>

#include <megakernel.h>

#include "base/order.h"

/*
 * Write a slot into the ring: the last half-word of every 16-byte unit gives
 * way to the mark and rides in unit 0. All but the stamp, which publishes it
 * and is returned.
 *
 * Who reads a unit in one access must not find the new mark beside an old
 * word: units 1 to 3 are written in one store each, or the mark last.
 */
#if defined(__SSE2__)
typedef __m128i mk_slot_stamp_t; /* in the upper word */

static inline void mk_unit_encode(struct mk_wire_unit *unit, const void *args,
				  uint16_t mark)
{
	__m128i words = _mm_load_si128(args);

	_mm_store_si128((void *)unit, _mm_insert_epi16(words, mark, 7));
}

static inline mk_slot_stamp_t mk_slot_encode(struct mk_wire_slot *wire,
					     const struct mk_slot *slot,
					     uint16_t mark)
{
	const uint16_t *half = (const void *)slot->bytes;
	__m128i unit = _mm_loadl_epi64((const void *)slot);

	mk_unit_encode(&wire->unit[1], slot->bytes, mark);
	mk_unit_encode(&wire->unit[2], slot->bytes + 16, mark);
	mk_unit_encode(&wire->unit[3], slot->bytes + 32, mark);
	unit = _mm_insert_epi16(unit, half[7], 4);
	unit = _mm_insert_epi16(unit, half[15], 5);
	unit = _mm_insert_epi16(unit, half[23], 6);
	unit = _mm_insert_epi16(unit, mark, 7);
	/* a worker may look at it before it loses the race for the slot */
	mk_store_relaxed_low(&wire->unit[0].lo, unit);
	return unit;
}

static inline uint64_t mk_stamp_word(mk_slot_stamp_t stamp)
{
	return (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(stamp, stamp));
}

static inline void mk_stamp_store(struct mk_wire_slot *wire,
				  mk_slot_stamp_t stamp)
{
	mk_store_release_high(&wire->unit[0].hi, stamp);
}
#else
static inline uint64_t mk_slot_header(const struct mk_slot *slot)
{
	uint64_t header;

	memcpy(&header, slot, sizeof(header));
	return header;
}

typedef uint64_t mk_slot_stamp_t;

static inline uint64_t mk_unit_encode(struct mk_wire_unit *unit,
				      const uint64_t *args, uint16_t mark)
{
	const uint64_t low = (1ull << MK_MARK_SHIFT) - 1;

	mk_store_relaxed(&unit->lo, args[0]);
	mk_store_release(&unit->hi, (args[1] & low) |
					    (uint64_t)mark << MK_MARK_SHIFT);
	return args[1] >> MK_MARK_SHIFT;
}

static inline mk_slot_stamp_t mk_slot_encode(struct mk_wire_slot *wire,
					     const struct mk_slot *slot,
					     uint16_t mark)
{
	uint64_t spill = (uint64_t)mark << MK_MARK_SHIFT;

	/* a worker may look at it before it loses the race for the slot */
	mk_store_relaxed(&wire->unit[0].lo, mk_slot_header(slot));
	spill |= mk_unit_encode(&wire->unit[1], slot->arg64, mark);
	spill |= mk_unit_encode(&wire->unit[2], slot->arg64 + 2, mark) << 16;
	return spill | mk_unit_encode(&wire->unit[3], slot->arg64 + 4, mark)
			       << 32;
}

static inline uint64_t mk_stamp_word(mk_slot_stamp_t stamp)
{
	return stamp;
}

static inline void mk_stamp_store(struct mk_wire_slot *wire,
				  mk_slot_stamp_t stamp)
{
	mk_store_release(&wire->unit[0].hi, stamp);
}
#endif

/*
 * A device that reads the ring takes its lines from this core: to store into
 * one then waits for it, and the store buffer is full after a few. So lines
 * are asked for in time; those of the next batch, too, and behind the ring's
 * end some that are of no use.
 */
#define MK_FETCH_AHEAD 16u

#endif
