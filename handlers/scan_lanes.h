/* SPDX-License-Identifier: Apache-2.0 */
/* Many lanes on one text. Part of scan_text.c. */
#ifndef SCAN_LANES_H
#define SCAN_LANES_H

/* What lanes tell each other, in scratch. */
struct scan_shared {
	uint32_t any[2];   /* a lane has found something in this tile */
	uint32_t next, matches, stopped, cancelled;
	uint32_t after;    /* with MK_SCAN_LINES: behind the last line */
	uint32_t reserved;
};

/* What a lane found in its share of some lines. */
struct scan_told {
	uint32_t matches;
	uint32_t stopped; /* before the end: there are more, or cancelled */
	uint32_t next, empty_line; /* then: as in struct scan_run */
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

MK_FN uint32_t scan_has_nul(const uint64_t *word)
{
	const uint64_t low = 0x0101010101010101ull;
	uint64_t a = word[0], b = word[1];

	return (((a - low) & ~a) | ((b - low) & ~b)) & (low << 7) ? 1 : 0;
}

/*
 * Bring bytes to scratch, sixteen a lane at a time, from a place that is a
 * multiple of sixteen, and as many more as make the last sixteen whole. Four
 * loads are on their way before the first is needed: the text may lie behind
 * a bus. True if this lane saw a NUL.
 */
SCAN_APART uint32_t scan_stage(struct mk_task *task, unsigned char *to,
			  const unsigned char *from, uint32_t bytes)
{
	uint32_t lane = mk_lane(task), lanes = mk_lanes(task), nul = 0;

#if MK_CUDA
	if (lanes == 32 && !((uintptr_t)from & 15) && bytes <= SCAN_STAGE) {
		const uint4 *in = (const uint4 *)(const void *)from + lane;
		uint4 *out = (uint4 *)(void *)to + lane, v[4];

#pragma unroll 1
		for (uint32_t i = 16 * lane; i < bytes; i += 2048) {
#pragma unroll
			for (uint32_t j = 0; j < 4; j++)
				if (i + 512 * j < bytes)
					v[j] = in[32 * j];
#pragma unroll
			for (uint32_t j = 0; j < 4; j++) {
				uint64_t word[2];

				if (i + 512 * j >= bytes)
					break;
				out[32 * j] = v[j];
				word[0] = v[j].x | (uint64_t)v[j].y << 32;
				word[1] = v[j].z | (uint64_t)v[j].w << 32;
				nul |= scan_has_nul(word);
			}
			in += 128;
			out += 128;
		}
		return nul;
	}
#endif
	for (uint32_t i = 16 * lane; i < bytes; i += 16 * lanes) {
		uint64_t word[2] = { scan_word(from + i),
				     scan_word(from + i + 8) };

		((uint64_t *)(void *)(to + i))[0] = word[0];
		((uint64_t *)(void *)(to + i))[1] = word[1];
		nul |= scan_has_nul(word);
	}
	return nul;
}

/*
 * Tell for each place of a tile whether a literal may be there: hit[]. `r` has
 * for its text what is staged, and ends with it; what reaches beyond may be.
 * Returns whether there is such a place.
 */
SCAN_APART uint32_t scan_tile(const struct scan_run *r, unsigned char *hit,
			 uint32_t at, uint32_t bytes, uint32_t all)
{
	const struct mk_scan_image *m = r->image;
	uint32_t stride = m->stride, lanes = mk_lanes(r->task), found = 0;

	for (uint32_t k = mk_lane(r->task); k * stride < bytes; k += lanes) {
		uint32_t p = at + k * stride, here = 0;
		uint32_t offsets = scan_gram(r, scan_word(r->text + p));

		for (uint32_t o = 0; offsets >> o && !here; o++) {
			uint32_t x = p - o;

			if (!(offsets >> o & 1) || p < o)
				continue;
			if (x < at + m->whole_line ||
			    (r->bytes < all && x + m->max_bytes >= r->bytes))
				here = 1;
			else
				here = scan_literal_at(r, x);
		}
		if (here)
			hit[k] = 1;
		found |= here;
	}
	return found;
}

/* Lane 0 goes over the places of a tile that others have marked, from the left
 * to the right, and takes the marks away. What lies before `end` is staged, and
 * read there if no more than that is needed. */
MK_FN void scan_marked(struct scan_run *r, unsigned char *hit, uint32_t at,
		       uint32_t bytes, const unsigned char *staged,
		       uint32_t end)
{
	const unsigned char *text = r->text;
	uint32_t stride = r->image->stride;

	for (uint32_t k = 0; k * stride < bytes; k += 8) {
		uint64_t *eight = (uint64_t *)(void *)(hit + k);

		if (!*eight)
			continue;
		for (uint32_t i = k; i < k + 8; i++) {
			uint32_t p = at + i * stride;

			if (!hit[i])
				continue;
			if (!(r->flags & MK_SCAN_LINES) && i &&
			    end - p > r->image->max_bytes)
				r->text = staged;
			scan_place(r, p, scan_gram(r, scan_word(r->text + p)));
			r->text = text;
		}
		*eight = 0;
	}
}

/* Lanes look at places of a tile side by side. */
SCAN_APART void scan_lanes_literals(struct scan_run *r, struct scan_shared *s,
			       unsigned char *hit, uint32_t *nul)
{
	uint32_t stride = r->image->stride, lane = mk_lane(r->task);
	uint32_t step = SCAN_TILE / stride * stride, turn = 0;
	unsigned char *stage = hit + SCAN_STAGE;
	const unsigned char *text = r->text;
	uint32_t all = r->bytes;

	for (uint32_t i = lane; i < SCAN_STAGE; i += mk_lanes(r->task))
		hit[i] = 0;
	for (uint32_t at = r->next / stride * stride; at < r->bytes;
	     at += step, turn ^= 1) {
		uint32_t bytes = r->bytes - at < step ? r->bytes - at : step;
		uint32_t from = at & ~15u;
		uint32_t end = at + bytes + SCAN_OVERLAP - 16;
		const unsigned char *staged = (const unsigned char *)(
			(uintptr_t)stage - from);

		if (scan_stage(r->task, stage, r->text + from, end - from) &&
		    *nul == SCAN_NONE)
			*nul = scan_nul(r->text, from, r->bytes);
		if (!lane)
			s->any[turn] = 0;
		mk_sync(r->task);
		/* for now the text is what is staged */
		r->text = staged;
		r->bytes = end < all ? end : all;
		if (scan_tile(r, hit, at, bytes, all))
			mk_store_word(&s->any[turn], 1);
		r->text = text;
		r->bytes = all;
		mk_sync(r->task);
		if (s->any[turn]) {
			if (!lane) {
				scan_marked(r, hit, at, bytes, staged, end);
				scan_tell(s, r);
			}
			mk_sync(r->task);
			scan_hear(s, r);
		}
		if (r->stopped)
			break;
	}
}

/* The lines of this lane's share of [r->next, to), into room of its own. */
SCAN_APART void scan_share(const struct scan_run *r, struct scan_told *told,
			   struct mk_scan_match *own, uint32_t room,
			   uint32_t to)
{
	uint32_t lane = mk_lane(r->task);
	uint32_t share = (to - r->next) / mk_lanes(r->task) + 1;
	uint32_t from = to, end;
	struct scan_run mine = *r;

	if (share * lane < to - r->next)
		from = r->next + share * lane;
	end = share < to - from ? from + share : to;
	if (lane) {
		mine.empty_line = SCAN_NONE;
		if (from < end && scan_before(r, from) != MK_SCAN_AFTER_END)
			from = scan_line_end(r, from) + 1;
	}
	mine.next = from;
	mine.out = own;
	mine.room = room;
	mine.matches = 0;
	if (from < end)
		scan_lines(&mine, end);
	told->matches = mine.matches;
	told->stopped = mine.stopped + mine.cancelled;
	told->next = mine.next;
	told->empty_line = mine.empty_line;
}

/*
 * Bring what lanes found in order. Where one had no room for more of its own,
 * what is behind that is left for another round.
 */
SCAN_APART void scan_gather(struct scan_run *r, struct scan_shared *s,
			    const struct scan_told *told,
			    const struct mk_scan_match *own, uint32_t to)
{
	uint32_t lane = mk_lane(r->task), lanes = mk_lanes(r->task);
	uint32_t total = 0, base = 0, mine = 0, last = 0, n;
	uint32_t free = r->room - r->matches;

	for (; last < lanes; last++) {
		n = told[last].matches;
		if (last == lane) {
			base = total;
			mine = n;
		}
		total += n;
		if (told[last].stopped)
			break;
	}
	for (n = 0; n < mine && base + n < free; n++)
		r->out[r->matches + base + n] = own[n];
	if (n && base + n == (total < free ? total : free) &&
	    r->flags & MK_SCAN_LINES) {
		s->after = scan_line_end(r, own[n - 1].at + own[n - 1].bytes);
		s->after += s->after < r->bytes;
	}
	if (n < mine && base + n == free) /* the first without room */
		s->next = own[n].at;
	r->next = to;
	if (last < lanes && total <= free) {
		r->next = told[last].next;
		r->empty_line = told[last].empty_line;
		r->cancelled = r->stopped = told[last].stopped > 1;
	}
	mk_sync(r->task);
	if (total > free) {
		total = free;
		r->stopped = 1;
		r->next = r->flags & MK_SCAN_LINES ? s->after : s->next;
	}
	r->matches += total;
}

/* The last end of a line in [from, to); where the next line begins, or 0. */
MK_FN uint32_t scan_last_line(const struct scan_run *r,
			      const unsigned char *text, uint32_t from,
			      uint32_t to)
{
	while (to > from && !scan_ends(r, text[to - 1]))
		to--;
	return to > from ? to : 0;
}

/*
 * Bring text to scratch from r->next on, from the byte before it, to the end
 * of a line: *to, and *at is where it begins. If no line ends in so much, look
 * on for one: then it is not there, and 0 is returned.
 */
SCAN_APART uint32_t scan_stage_lines(struct scan_run *r, unsigned char *stage,
				     uint32_t *at, uint32_t *to, uint32_t *nul)
{
	uint32_t from = (r->next ? r->next - 1 : 0) & ~15u, tiles, n;

	*at = from;
	*to = 0;
	for (tiles = 1; from < r->bytes; tiles++) {
		n = r->bytes - from < SCAN_STAGE ? r->bytes - from
						 : SCAN_STAGE;
		if (scan_stage(r->task, stage, r->text + from, n) &&
		    *nul == SCAN_NONE)
			*nul = scan_nul(r->text, from, r->bytes);
		mk_sync(r->task);
		if (from + n == r->bytes)
			*to = r->bytes;
		else
			n = scan_last_line(r, stage - (uintptr_t)from,
					   from < r->next ? r->next : from,
					   from + n);
		if (*to != r->bytes && n)
			*to = n;
		if (*to && (tiles == 1 || tiles >= SCAN_LONG ||
			    *to == r->bytes))
			break;
		mk_sync(r->task);
		from += SCAN_STAGE;
	}
	return tiles == 1;
}

/* Lines of a tile side by side; matches are brought in order then. */
SCAN_APART void scan_lanes_automaton(struct scan_run *r, struct scan_shared *s,
				     struct scan_told *told,
				     unsigned char *scratch, uint32_t *nul)
{
	uint32_t lane = mk_lane(r->task), lanes = mk_lanes(r->task), turn = 0;
	uint32_t room = SCAN_STAGE / sizeof(struct mk_scan_match) / lanes;
	struct mk_scan_match *own =
		(struct mk_scan_match *)(void *)scratch + room * lane;
	unsigned char *stage = scratch + SCAN_STAGE;
	const unsigned char *text = r->text;
	uint32_t all = r->bytes, at, to;

	if (!lane)
		s->any[0] = s->any[1] = s->after = 0;
	while (r->next < all && !r->stopped) {
		if (scan_stage_lines(r, stage, &at, &to, nul)) {
			r->text = stage - (uintptr_t)at;
			r->bytes = to;
		}
		for (; r->next < to && !r->stopped; turn ^= 1) {
			scan_share(r, &told[lane], own, room, to);
			if (told[lane].matches || told[lane].stopped)
				mk_store_word(&s->any[turn], 1);
			if (!lane) /* the next round's */
				s->any[turn ^ 1] = 0;
			mk_sync(r->task);
			if (s->any[turn])
				scan_gather(r, s, told, own, to);
			else
				r->next = to;
		}
		r->text = text;
		r->bytes = all;
	}
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

/* NUL in what was not looked at: there was no more room for matches. */
MK_FN void scan_lanes_rest(struct scan_run *r, unsigned char *stage,
			   uint32_t *nul)
{
	for (uint32_t i = r->next & ~15u; i < r->bytes; i += SCAN_STAGE) {
		uint32_t n = r->bytes - i < SCAN_STAGE ? r->bytes - i
						       : SCAN_STAGE;

		if (scan_stage(r->task, stage, r->text + i, n) &&
		    *nul == SCAN_NONE)
			*nul = scan_nul(r->text, i, r->bytes);
	}
}

/* All lanes together. 0, or a negated code. */
MK_FN int32_t scan_lanes(struct scan_run *r, uint32_t *nul)
{
	uint32_t lanes = mk_lanes(r->task), from = r->next;
	uint32_t need = (uint32_t)sizeof(struct scan_shared) +
			(uint32_t)sizeof(struct scan_told) * lanes +
			2 * SCAN_STAGE + 32;
	unsigned char *scratch = (unsigned char *)mk_scratch(r->task, need);
	struct scan_shared *s = (struct scan_shared *)(void *)scratch;
	struct scan_told *told = (struct scan_told *)(void *)(s + 1);

	if (!scratch)
		return mk_fail(r->task);
	scratch = (unsigned char *)(void *)(told + lanes);
	if (r->image->kind == MK_SCAN_LITERALS)
		scan_lanes_literals(r, s, scratch, nul);
	else
		scan_lanes_automaton(r, s, told, scratch, nul);
	if (r->stopped && !from && r->flags & MK_SCAN_NUL_ENDS)
		scan_lanes_rest(r, scratch + SCAN_STAGE, nul);
	mk_sync(r->task);
	*nul = scan_lanes_nul(r, (uint32_t *)(void *)told, *nul);
	return MK_OK;
}

#endif
