/* SPDX-License-Identifier: Apache-2.0 */
/* Many lanes on one text. Part of scan_text.c. */
#ifndef SCAN_LANES_H
#define SCAN_LANES_H

/* What lanes tell each other, in scratch. */
struct scan_shared {
	uint32_t any[2];   /* a lane has found something in this tile */
	uint32_t next, matches, stopped, cancelled;
	uint32_t reserved[2];
};

MK_FN void scan_tell(struct scan_shared *s, const struct scan_run *r)
{
	s->next = r->next;
	s->matches = r->matches;
	s->stopped = r->stopped;
	s->cancelled = r->cancelled;
}

MK_FN void scan_hear(const struct scan_shared *s, struct scan_run *r)
{
	r->next = s->next;
	r->matches = s->matches;
	r->stopped = s->stopped;
	r->cancelled = s->cancelled;
}

/* Sixteen bytes to scratch; true if one of them is NUL. */
MK_FN uint32_t scan_stage(unsigned char *to, const unsigned char *from)
{
	const uint64_t low = 0x0101010101010101ull;
	uint64_t a, b;

#if MK_CUDA
	if (!((uintptr_t)from & 15)) {
		uint4 v = *(const uint4 *)(const void *)from;

		*(uint4 *)(void *)to = v;
		a = v.x | (uint64_t)v.y << 32;
		b = v.z | (uint64_t)v.w << 32;
	} else {
		a = scan_word(from);
		b = scan_word(from + 8);
		((uint64_t *)(void *)to)[0] = a;
		((uint64_t *)(void *)to)[1] = b;
	}
#else
	memcpy(&a, from, 8);
	memcpy(&b, from + 8, 8);
	memcpy(to, &a, 8);
	memcpy(to + 8, &b, 8);
#endif
	return (((a - low) & ~a) | ((b - low) & ~b)) & (low << 7) ? 1 : 0;
}

/* Tell for each place of a tile whether a literal is there: hit[]. Returns
 * whether one is. */
MK_FN uint32_t scan_tile(struct scan_run *r, const unsigned char *tile,
			 unsigned char *hit, uint32_t at, uint32_t bytes)
{
	uint32_t stride = r->image->stride, found = 0;
	uint32_t lanes = mk_lanes(r->task);

	for (uint32_t k = mk_lane(r->task); k * stride < bytes; k += lanes) {
		uint32_t offsets = scan_gram(r, scan_word(tile + k * stride));
		uint32_t here = 0;

		for (uint32_t o = 0; offsets >> o && !here; o++)
			if (offsets >> o & 1 && at + k * stride >= o)
				here = scan_literal_at(r, at + k * stride - o);
		if (here || hit[k])
			hit[k] = here != 0;
		found |= here;
	}
	return found;
}

/* Lanes look at places of a tile side by side; where there is something, lane
 * 0 goes from the left to the right. */
MK_FN void scan_lanes_literals(struct scan_run *r, struct scan_shared *s,
			       unsigned char *room, uint32_t *nul)
{
	uint32_t stride = r->image->stride, lane = mk_lane(r->task);
	uint32_t step = SCAN_TILE / stride * stride, turn = 0;
	uint32_t lanes = mk_lanes(r->task);
	unsigned char *hit = room, *tile = room + SCAN_TILE;

	for (uint32_t i = lane; i < SCAN_TILE; i += lanes)
		hit[i] = 0;
	for (uint32_t at = r->next / stride * stride; at < r->bytes;
	     at += step, turn ^= 1) {
		uint32_t bytes = r->bytes - at < step ? r->bytes - at : step;

		for (uint32_t i = 16 * lane; i < bytes + SCAN_OVERLAP;
		     i += 16 * lanes)
			if (scan_stage(tile + i, r->text + at + i) &&
			    *nul == SCAN_NONE)
				*nul = scan_nul(r->text, at + i, r->bytes);
		if (!lane)
			s->any[turn] = 0;
		mk_sync(r->task);
		if (scan_tile(r, tile, hit, at, bytes))
			s->any[turn] = 1;
		mk_sync(r->task);
		if (s->any[turn]) {
			for (uint32_t k = 0; !lane && k * stride < bytes; k++)
				if (hit[k])
					scan_place(r, at + k * stride,
						   scan_gram(r, scan_word(
							tile + k * stride)));
			if (!lane)
				scan_tell(s, r);
			mk_sync(r->task);
			scan_hear(s, r);
		}
		if (r->stopped)
			break;
	}
}

/* Each lane has the lines that begin in its share of the text; those that
 * have a match take their turns. */
MK_FN void scan_lanes_automaton(struct scan_run *r, struct scan_shared *s,
				unsigned char *room)
{
	uint32_t lane = mk_lane(r->task), lanes = mk_lanes(r->task);
	uint32_t share = (r->bytes - r->next) / lanes + 1;
	uint32_t from = r->next, to, found = 1;

	to = share < r->bytes - from ? from + share : r->bytes;
	for (uint32_t i = 0; i < lane; i++) {
		from = to;
		to = share < r->bytes - from ? from + share : r->bytes;
	}
	if (lane && from < r->bytes && scan_before(r, from) !=
					       MK_SCAN_AFTER_END)
		from = scan_line_end(r, from) + 1;
	if (from >= to && (lane || from >= r->bytes))
		found = 0;
	else if (r->find)
		found = scan_find(r, from, to) != SCAN_NONE || r->stopped;
	room[lane] = (unsigned char)found;
	if (!lane)
		scan_tell(s, r);
	mk_sync(r->task);
	for (uint32_t i = 0; i < lanes; i++) {
		if (!room[i])
			continue;
		if (i == lane) {
			scan_hear(s, r);
			if (!r->stopped) {
				if (r->next < from)
					r->next = from;
				scan_lines(r, to);
				scan_tell(s, r);
			}
		}
		mk_sync(r->task);
	}
	scan_hear(s, r);
	if (!r->stopped)
		r->next = r->bytes;
}

/* The first NUL that a lane saw. */
MK_FN uint32_t scan_lanes_nul(struct scan_run *r, uint32_t *seen, uint32_t nul)
{
	uint32_t first = SCAN_NONE;

	seen[mk_lane(r->task)] = nul;
	mk_sync(r->task);
	for (uint32_t i = 0; i < mk_lanes(r->task); i++)
		if (seen[i] < first)
			first = seen[i];
	return first;
}

/* All lanes together. 0, or a negated code. */
MK_FN int32_t scan_lanes(struct scan_run *r, uint32_t *nul)
{
	uint32_t lanes = mk_lanes(r->task), lane = mk_lane(r->task);
	uint32_t need = (uint32_t)sizeof(struct scan_shared) + 4u * lanes +
			16 + 2 * SCAN_TILE + 2 * SCAN_OVERLAP;
	unsigned char *scratch = (unsigned char *)mk_scratch(r->task, need);
	struct scan_shared *s = (struct scan_shared *)(void *)scratch;
	uint32_t *seen;

	if (!scratch)
		return mk_fail(r->task);
	scratch += sizeof(*s);
	seen = (uint32_t *)(void *)scratch;
	scratch += (4u * lanes + 15) & ~15u;
	if (r->image->kind == MK_SCAN_LITERALS)
		scan_lanes_literals(r, s, scratch, nul);
	if (r->image->kind != MK_SCAN_LITERALS || r->stopped) {
		/* not all was looked at, or not for NUL */
		for (uint32_t i = 16 * lane; i < r->bytes; i += 16 * lanes)
			if (scan_stage(scratch + 16 * lane, r->text + i) &&
			    *nul == SCAN_NONE)
				*nul = scan_nul(r->text, i, r->bytes);
		mk_sync(r->task);
	}
	if (r->image->kind != MK_SCAN_LITERALS)
		scan_lanes_automaton(r, s, scratch);
	*nul = scan_lanes_nul(r, seen, *nul);
	return MK_OK;
}

#endif
