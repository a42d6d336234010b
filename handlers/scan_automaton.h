/* SPDX-License-Identifier: Apache-2.0 */
/* Finding with an automaton. Part of scan_text.c. */
#ifndef SCAN_AUTOMATON_H
#define SCAN_AUTOMATON_H

MK_FN uint32_t scan_word_byte(unsigned char c)
{
	return (unsigned)(c - '0') < 10 || (unsigned)((c | 0x20) - 'a') < 26 ||
	       c == '_';
}

MK_FN uint32_t scan_before(const struct scan_run *r, uint32_t at)
{
	if (!at || scan_ends(r, r->text[at - 1]))
		return MK_SCAN_AFTER_END;
	return scan_word_byte(r->text[at - 1]) ? MK_SCAN_AFTER_WORD
					       : MK_SCAN_AFTER_OTHER;
}

/* The end of the longest match that begins at `at`, or SCAN_NONE. */
SCAN_APART uint32_t scan_whole(struct scan_run *r, uint32_t at)
{
	const uint32_t mask = (1u << r->image->whole_log2) - 1;
	const uint32_t last = r->image->classes - 1;
	uint32_t state = r->image->whole_start[scan_before(r, at)];
	uint32_t end = SCAN_NONE, p = at;

	for (; p <= r->bytes && (state & mask); p++) {
		uint32_t c = p < r->bytes ? r->class_of[r->text[p]] : last;

		state = r->whole[(state & mask) + c];
		if (state & MK_SCAN_MATCH)
			end = p;
		if (c == last || (!(p & 0xffff) && scan_look(r, 0x10000)))
			break;
	}
	scan_look(r, p - at + 1);
	return end;
}

/*
 * From *at on, up to `end`: 1 if a match ends at *at, 2 if the lines that begin
 * before `to` have none, 0 at `end`. For a lane of many: eight bytes are read
 * at once, and the class of the next byte is asked for before the state of
 * this one is needed. Up to twelve bytes behind `end` have to be readable.
 */
MK_FN uint32_t scan_run_on(const struct scan_run *r, uint32_t *state,
			   uint32_t *at, uint32_t end, uint32_t to)
{
	const uint32_t mask = (1u << r->image->find_log2) - 1;
	const uint32_t last = r->image->classes - 1;
	const unsigned char *class_of = r->class_of, *text = r->text;
	const uint32_t *find = r->find;
	uint32_t here = *state, p = *at, left = 8, found = 0;
	uint64_t eight = scan_word(text + p);
	uint32_t next = class_of[eight & 255];

	for (; p < end; p++) {
		uint32_t c = next;

		eight >>= 8;
		if (!--left) {
			eight = scan_word(text + p + 1);
			left = 8;
		}
		next = class_of[eight & 255];
		here = find[(here & mask) + c];
		if (here & MK_SCAN_MATCH)
			found = 1;
		else if (c == last && p + 1 >= to)
			found = 2;
		if (found)
			break;
	}
	*state = here;
	*at = p;
	return found;
}

/*
 * The first place at or behind `at` where a match ends that begins there or
 * behind, in lines that begin before `to`; SCAN_NONE.
 */
SCAN_APART uint32_t scan_find(struct scan_run *r, uint32_t at, uint32_t to)
{
	const uint32_t mask = (1u << r->image->find_log2) - 1;
	const uint32_t last = r->image->classes - 1;
	const unsigned char *class_of = r->class_of, *text = r->text;
	const uint32_t *find = r->find;
	uint32_t state = r->image->find_start[scan_before(r, at)];

	while (at < r->bytes) {
		uint32_t end = r->bytes - at > SCAN_STRIDE ? at + SCAN_STRIDE
							   : r->bytes;
		uint32_t from = at;
#if !defined(MK_LANES) || MK_CUDA
		uint32_t found;

		if (MK_CUDA || mk_lanes(r->task) > 1) {
			found = scan_run_on(r, &state, &at, end, to);
			if (found)
				return found == 1 ? at : SCAN_NONE;
		}
#endif
		for (; at < end; at++) {
			uint32_t c = class_of[text[at]];

			state = find[(state & mask) + c];
			if (state & MK_SCAN_MATCH)
				return at;
			if (c == last && at + 1 >= to)
				return SCAN_NONE;
		}
		if (at < r->bytes && scan_look(r, at - from))
			return SCAN_NONE;
	}
	if (scan_before(r, at) == MK_SCAN_AFTER_END)
		return SCAN_NONE; /* no line begins where the text ends */
	state = find[(state & mask) + last];
	return state & MK_SCAN_MATCH ? at : SCAN_NONE;
}

/*
 * Matches that begin in [at, end]; where the next may begin. One is known to
 * be there if there is a table `find`; then it ends at `end` or behind.
 */
MK_FN uint32_t scan_starts(struct scan_run *r, uint32_t at, uint32_t end)
{
	const unsigned char *begins = r->begins;

	for (; at <= end && !r->stopped; at++) {
		uint32_t stop;

		if (at < r->bytes) {
			unsigned char c = r->text[at];

			if (!(begins[c >> 3] >> (c & 7) & 1) &&
			    !r->image->empty)
				continue;
		}
		stop = scan_whole(r, at);
		if (r->cancelled)
			return at;
		if (stop == SCAN_NONE)
			continue;
		if (stop == at && !(r->flags & MK_SCAN_LINES)) {
			if (r->empty_line != SCAN_NONE && at <= r->empty_line)
				continue; /* it has one already */
			scan_emit(r, at, 0);
			if (!r->stopped)
				r->empty_line = scan_line_end(r, at);
			continue;
		}
		scan_emit(r, at, stop - at);
		return r->next;
	}
	return at;
}

/* What the lines that begin in [r->next, to) have, and the rest of the line
 * of r->next. r->next is where it ended. */
SCAN_APART void scan_lines(struct scan_run *r, uint32_t to)
{
	uint32_t at = r->next, end;

	while (at < r->bytes && !r->stopped &&
	       (at < to || scan_before(r, at) != MK_SCAN_AFTER_END)) {
		if (!r->find) {
			end = scan_line_end(r, at);
		} else {
			end = scan_find(r, at, to);
			if (end == SCAN_NONE)
				break;
			if (r->flags & MK_SCAN_LINES) {
				scan_emit(r, end, 0);
				at = r->next;
				continue;
			}
			/* it begins in the line of its end */
			for (uint32_t p = end; p > at; p--)
				if (scan_ends(r, r->text[p - 1])) {
					at = p;
					break;
				}
		}
		at = scan_starts(r, at, end);
	}
	if (!r->stopped)
		r->next = to < r->bytes ? to : r->bytes;
}

#endif
