/* SPDX-License-Identifier: Apache-2.0 */
/* Many lanes on one text. Part of scan_text.c. */
#ifndef SCAN_LANES_H
#define SCAN_LANES_H

/* What lanes tell each other, in scratch. */
struct scan_shared {
	uint32_t any[2];   /* what lanes have found in this tile, or whether */
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

/* ---- literals ------------------------------------------------------------ */

#define SCAN_MORE 0x10000u /* in any[]: not because of a match */
#if MK_CUDA
#define SCAN_UNROLL _Pragma("unroll")
#else
#define SCAN_UNROLL
#endif

MK_FN uint32_t scan_count_up(uint32_t *word, uint32_t n)
{
#if MK_CUDA
	return atomicAdd(word, n);
#else
	return __atomic_fetch_add(word, n, __ATOMIC_RELAXED);
#endif
}

MK_FN uint32_t scan_lowest(uint64_t bits)
{
#if MK_CUDA
	return (uint32_t)__ffsll((long long)bits) - 1u;
#else
	return (uint32_t)__builtin_ctzll(bits);
#endif
}

/* scan_word() where eight divides the address. */
MK_FN uint64_t scan_aligned(const unsigned char *at)
{
#if MK_CUDA
	return *(const uint64_t *)(const void *)at;
#else
	return scan_word(at);
#endif
}

/*
 * What the filter says of four times sixteen bytes, which begin at `at` for
 * lane 0 and side by side for the others: a bit for each byte where a gram may
 * be. Sixteen bytes and the next eight are read once, and four places looked up
 * without waiting for each other. `t` has for its text what is staged.
 */
SCAN_APART uint64_t scan_sift(const struct scan_run *t, uint32_t at,
			      uint32_t to)
{
	const struct mk_scan_image *m = t->image;
	const uint64_t fold = m->gram_fold, factor = m->gram_factor;
	const uint32_t shift = 64 - m->filter_log2, stride = m->stride;
	const uint32_t lanes = mk_lanes(t->task);
	const uint32_t *filter = t->filter;
	uint32_t b = at + 16 * mk_lane(t->task);
	uint64_t bits = 0;

	for (uint32_t g = 0; g < 4 && b < to; g++, b += 16 * lanes) {
		const unsigned char *text = t->text + b;
		uint64_t low = scan_aligned(text);
		uint64_t high = scan_aligned(text + 8);
		uint64_t last = scan_aligned(text + 16);
		uint32_t j = (stride - b % stride) % stride, here = 0;

		for (; j < 16; j += 4 * stride) {
			uint32_t bit[4], word[4], n[4];

			SCAN_UNROLL
			for (uint32_t i = 0; i < 4; i++) {
				uint64_t one, two;

				n[i] = j + i * stride < 16 ? j + i * stride
							   : j;
				one = n[i] < 8 ? low : high;
				two = n[i] < 8 ? high : last;
				one = one >> 8 * (n[i] & 7) |
				      two << 1 << (63 - 8 * (n[i] & 7));
				bit[i] = (uint32_t)((one | fold) * factor >>
						    shift);
				word[i] = filter[bit[i] >> 5];
			}
			SCAN_UNROLL
			for (uint32_t i = 0; i < 4; i++)
				here |= (word[i] >> (bit[i] & 31) & 1) << n[i];
		}
		bits |= (uint64_t)here << (16 * g);
	}
	return bits;
}

/* The literals at the places that the filter has left to this lane. What is
 * behind the staged text has to be read where it lies. */
SCAN_APART void scan_check(const struct scan_run *r, const struct scan_run *t,
			   uint64_t bits, uint32_t at, uint32_t to,
			   uint32_t *count, struct mk_scan_match *hits)
{
	const uint32_t lane = mk_lane(r->task), lanes = mk_lanes(r->task);
	const uint32_t most = r->image->max_bytes;

	for (; bits; bits &= bits - 1) {
		uint32_t i = scan_lowest(bits), n, offsets;
		uint32_t p = at + 16 * ((i >> 4) * lanes + lane) + (i & 15);

		if (p >= to)
			continue;
		offsets = scan_gram(t, scan_word(t->text + p));
		for (; offsets; offsets &= offsets - 1) {
			uint32_t o = scan_lowest(offsets), x = p - o;

			if (p < o || x < r->next)
				continue;
			n = t->bytes < r->bytes && (most >= t->bytes ||
						    x >= t->bytes - most) ?
				    scan_literal_at(r, x) :
				    scan_literal_at(t, x);
			if (!n)
				continue;
			i = scan_count_up(count, 1) & (SCAN_MORE - 1);
			if (i < SCAN_HITS) {
				hits[i].at = x;
				hits[i].bytes = n;
			}
		}
	}
}

/* Put hits in the order of their places. No two are at the same, but with
 * tables that are wrong: then in that of their numbers. */
MK_FN void scan_sort(const struct scan_run *r, const struct mk_scan_match *hits,
		     uint32_t n, struct mk_scan_match *out)
{
	for (uint32_t i = mk_lane(r->task); i < n; i += mk_lanes(r->task)) {
		uint32_t rank = 0;

		for (uint32_t j = 0; j < n; j++)
			rank += hits[j].at < hits[i].at ||
				(hits[j].at == hits[i].at && j < i);
		out[rank] = hits[i];
	}
}

/* Lane 0: the matches among the hits of a tile, from the left to the right. The
 * end of a line is looked for in what is staged, if it is there. */
MK_FN void scan_take(struct scan_run *r, const struct scan_run *t,
		     const struct mk_scan_match *hits, uint32_t n)
{
	const unsigned char *text = r->text;

	for (uint32_t i = 0; i < n && !r->stopped; i++) {
		uint32_t at = hits[i].at, end = at + hits[i].bytes;

		if (at < r->next)
			continue;
		if (r->flags & MK_SCAN_LINES && end < t->bytes &&
		    scan_line_end(t, end) < t->bytes)
			r->text = t->text;
		scan_emit(r, at, hits[i].bytes);
		r->text = text;
	}
}

/* The same where there were too many: place by place. */
SCAN_APART void scan_take_all(struct scan_run *r, const struct scan_run *t,
			      uint32_t at, uint32_t to)
{
	const unsigned char *text = r->text;
	const uint32_t stride = r->image->stride, most = r->image->max_bytes;

	for (uint32_t p = scan_align(r, at); p < to && !r->stopped;
	     p += stride) {
		uint32_t offsets = scan_gram(t, scan_word(t->text + p));

		if (!offsets)
			continue;
		if (!(r->flags & MK_SCAN_LINES) && most < t->bytes &&
		    p < t->bytes - most)
			r->text = t->text;
		scan_place(r, p, offsets);
		r->text = text;
	}
}

/* Tile by tile: lanes look for literals side by side, and lane 0 takes those
 * that do not overlap with one before. */
SCAN_APART void scan_lanes_literals(struct scan_run *r, struct scan_shared *s,
				    unsigned char *scratch, uint32_t *nul)
{
	struct mk_scan_match *hits = (struct mk_scan_match *)(void *)scratch;
	unsigned char *stage = scratch + SCAN_STAGE;
	struct mk_scan_match *sorted =
		(struct mk_scan_match *)(void *)(stage + SCAN_STAGE);
	uint32_t lane = mk_lane(r->task), turn = 0, n;
	struct scan_run t = *r;

	for (uint32_t at = r->next & ~15u; at < r->bytes && !r->stopped;
	     at += SCAN_TILE, turn ^= 1) {
		uint32_t from = at ? at - SCAN_BEFORE : 0, saw;
		uint32_t to = r->bytes - at < SCAN_TILE ? r->bytes
							: at + SCAN_TILE;

		saw = scan_stage(r->task, stage, r->text + from,
				 to + SCAN_BEHIND - from);
		if (!lane) {
			s->any[turn] = 0;
			if (scan_look(r, to - at)) /* cancelled */
				s->any[turn] = SCAN_MORE;
		}
		mk_sync(r->task);
		t.text = stage - (uintptr_t)from;
		t.bytes = r->bytes - to < SCAN_BEHIND ? r->bytes
						      : to + SCAN_BEHIND;
		if (saw && *nul == SCAN_NONE)
			*nul = scan_nul(t.text, from, t.bytes);
		for (uint32_t b = at; b < to; b += 64 * mk_lanes(r->task)) {
			uint64_t bits = scan_sift(&t, b, to);

			if (bits)
				scan_check(r, &t, bits, b, to, &s->any[turn],
					   hits);
		}
		mk_sync(r->task);
		n = s->any[turn];
		if (!n)
			continue;
		n &= SCAN_MORE - 1;
		if (n <= SCAN_HITS)
			scan_sort(r, hits, n, sorted);
		mk_sync(r->task);
		if (!lane) {
			if (n <= SCAN_HITS)
				scan_take(r, &t, sorted, n);
			else
				scan_take_all(r, &t, at, to);
			scan_tell(s, r);
		}
		mk_sync(r->task);
		scan_hear(s, r);
	}
}

/* ---- automata ------------------------------------------------------------ */

#define SCAN_KEEP 16384u /* the largest table that is copied */

/* Lanes copy eight bytes at a time. Where the copy is. */
MK_FN const void *scan_copy(const struct scan_run *r, unsigned char **room,
			    uint32_t *left, const void *from, uint64_t bytes)
{
	const uint64_t *in = (const uint64_t *)from;
	uint64_t *out = (uint64_t *)(void *)*room;

	if (bytes > SCAN_KEEP || bytes > *left)
		return from;
	for (uint32_t i = mk_lane(r->task); i < bytes / 8;
	     i += mk_lanes(r->task))
		out[i] = in[i];
	*room += bytes;
	*left -= (uint32_t)bytes;
	return out;
}

/*
 * Tables in the worker's own scratch. Every byte of the text asks two of them,
 * and all workers at once the same few lines, which are in one place of the
 * cache that they share.
 */
SCAN_APART void scan_keep_tables(struct scan_run *r, unsigned char *room,
				 uint32_t left)
{
	const struct mk_scan_image *m = r->image;

	r->class_of = (const unsigned char *)scan_copy(r, &room, &left,
						       r->class_of, 256);
	r->begins = (const unsigned char *)scan_copy(r, &room, &left,
						     r->begins, 32);
	if (r->find)
		r->find = (const uint32_t *)scan_copy(
			r, &room, &left, r->find,
			((1ull << m->find_log2) + 256) * 4);
	r->whole = (const uint32_t *)scan_copy(
		r, &room, &left, r->whole,
		((1ull << m->whole_log2) + 256) * 4);
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

/* Bytes from `from` on to scratch, and the first NUL of them. */
MK_FN void scan_bring(const struct scan_run *r, unsigned char *stage,
		      uint32_t from, uint32_t bytes, uint32_t *nul)
{
	uint32_t saw = scan_stage(r->task, stage, r->text + from, bytes);

	mk_sync(r->task);
	if (saw && *nul == SCAN_NONE)
		*nul = scan_nul(stage - (uintptr_t)from, from, from + bytes);
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
		scan_bring(r, stage, from, n, nul);
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
		scan_bring(r, stage, i,
			   r->bytes - i < SCAN_STAGE ? r->bytes - i
						     : SCAN_STAGE, nul);
		mk_sync(r->task);
	}
}

/* All lanes together. 0, or a negated code. */
MK_FN int32_t scan_lanes(struct scan_run *r, uint32_t *nul)
{
	uint32_t lanes = mk_lanes(r->task), from = r->next;
	uint32_t need = (uint32_t)sizeof(struct scan_shared) +
			(uint32_t)sizeof(struct scan_told) * lanes +
			2 * SCAN_STAGE + 32 +
			SCAN_HITS * (uint32_t)sizeof(struct mk_scan_match);
	/* 16 divides all of these */
	unsigned char *scratch = (unsigned char *)mk_scratch(r->task, need);
	struct scan_shared *s = (struct scan_shared *)(void *)scratch;
	struct scan_told *told = (struct scan_told *)(void *)(s + 1);

	if (!scratch)
		return mk_fail(r->task);
	scratch = (unsigned char *)(void *)(told + lanes);
	if (r->image->kind == MK_SCAN_LITERALS) {
		scan_lanes_literals(r, s, scratch, nul);
	} else {
		if (r->task->scratch_bytes > need)
			scan_keep_tables(r, (unsigned char *)s + need,
					 r->task->scratch_bytes - need);
		scan_lanes_automaton(r, s, told, scratch, nul);
	}
	if (r->stopped && !from && r->flags & MK_SCAN_NUL_ENDS)
		scan_lanes_rest(r, scratch + SCAN_STAGE, nul);
	mk_sync(r->task);
	*nul = scan_lanes_nul(r, (uint32_t *)(void *)told, *nul);
	return MK_OK;
}

#endif
