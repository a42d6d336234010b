/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Searching lines for literals or with an automaton: see megakernel/scan.h.
 *
 * Literals are found in two steps. A filter names places where one may be:
 * hashes of grams at each stride-th place (the sampling of q-grams that
 * Salmela, Tarhio and Kytojoki describe, "Multipattern string matching with
 * q-grams", 2006), or, for few literals and with vector instructions, three
 * bytes in a row by their nibbles (after "Teddy" of Hyperscan: Wang et al.,
 * NSDI 2019). Then the first bytes of the place lead to the range of literals
 * that begin so, a binary search to the last that is not behind the text, and
 * its chain of shorter ones to the longest that is there.
 *
 * Literals that begin at x < y are sampled at places in the same order, so
 * matches come from left to right without being sorted.
 */
#include <megakernel/scan.h>

#if !MK_CUDA
#include <string.h>
#if defined(__x86_64__) && !defined(MK_HANDLER_PORTABLE)
#include <immintrin.h>
#define SCAN_AVX2 1
#elif defined(__aarch64__) && !defined(MK_HANDLER_PORTABLE)
#include <arm_neon.h>
#define SCAN_NEON 1
#endif
#endif
#ifndef SCAN_AVX2
#define SCAN_AVX2 0
#endif
#ifndef SCAN_NEON
#define SCAN_NEON 0
#endif

/* SCAN_APART: a function that takes registers from nobody: on a device the
 * worker loop has to keep its own while a handler runs. */
#if MK_CUDA
#define SCAN_INLINE MK_FN
#define SCAN_APART static __device__ __noinline__
#else
#define SCAN_APART MK_FN
#define SCAN_INLINE static inline __attribute__((always_inline))
#endif

#define SCAN_NONE 0xffffffffu
#define SCAN_STRIDE (1u << 18) /* bytes between two looks at the cancel word */
#define SCAN_STAGE 4096u /* bytes that lanes bring into scratch together */
#define SCAN_TILE 4032u  /* of these, so many are looked at; a multiple of 16 */
#define SCAN_BEFORE 16u  /* a literal may begin so much before its gram... */
#define SCAN_BEHIND 48u  /* ...and end behind it */
#define SCAN_HITS 512u   /* of a tile, that lanes find side by side */
#define SCAN_LONG 32u /* of these that lanes share where lines are longer */

struct scan_run {
	struct mk_task *task;
	const struct mk_scan_image *image;
	const unsigned char *base; /* the image */
	const unsigned char *text;
	struct mk_scan_match *out;
	uint32_t bytes, flags, room;
	uint32_t next;    /* no match begins before */
	uint32_t matches;
	uint32_t empty_line; /* end of the last line with an empty match */
	uint32_t stopped; /* no more room, or cancelled */
	uint32_t cancelled;
	uint32_t steps;   /* since the last look at the cancel word */
	/* of the image, bounded by scan_open() */
	const uint32_t *filter;
	const uint16_t *offsets;
	const struct mk_scan_prefix *prefix;
	const struct mk_scan_literal *literal;
	const unsigned char *letters;
	const uint32_t *whole, *find;
	const unsigned char *class_of, *begins;
	uint64_t prefix_mask;
};

/* ---- the image ---------------------------------------------------------- */

MK_FN int scan_table(const struct scan_run *r, MK_SCAN_TABLE at,
		     uint64_t bytes)
{
	return at >= sizeof(*r->image) && !(at & 7) &&
	       bytes <= r->image->bytes && at <= r->image->bytes - bytes;
}

MK_FN int scan_open_literals(struct scan_run *r)
{
	const struct mk_scan_image *m = r->image;

	if (m->filter_log2 < 6 || m->filter_log2 > 24 || !m->offsets_log2 ||
	    m->offsets_log2 > m->filter_log2 || !m->prefix_log2 ||
	    m->prefix_log2 > 26 || m->gram < 1 || m->gram > 8 ||
	    m->stride < 1 || m->stride > 16 || m->prefix_bytes < 1 ||
	    m->prefix_bytes > 8 || m->min_bytes < m->prefix_bytes ||
	    m->window > m->min_bytes || m->literals > 1u << 28)
		return 0;
	if (!scan_table(r, m->filter, (1ull << m->filter_log2) / 8) ||
	    !scan_table(r, m->offsets, 2ull << m->offsets_log2) ||
	    !scan_table(r, m->prefix, 16ull << m->prefix_log2) ||
	    !scan_table(r, m->literal, 16ull * m->literals) ||
	    !scan_table(r, m->text, m->text_bytes) ||
	    (m->nibble && !scan_table(r, m->nibble, 96)) ||
	    (m->wide && (m->wide_log2 < 6 || m->wide_log2 > 24 ||
			 m->stride > 2 ||
			 !scan_table(r, m->wide, (1ull << m->wide_log2) / 8))))
		return 0;
	r->filter = (const uint32_t *)(const void *)(r->base + m->filter);
	r->offsets = (const uint16_t *)(const void *)(r->base + m->offsets);
	r->prefix = (const struct mk_scan_prefix *)(const void *)(r->base +
								   m->prefix);
	r->literal = (const struct mk_scan_literal *)(const void *)(r->base +
								     m->literal);
	r->letters = r->base + m->text;
	r->prefix_mask = m->prefix_bytes == 8 ?
				 ~0ull : (1ull << (8 * m->prefix_bytes)) - 1;
	return 1;
}

MK_FN int scan_open_automaton(struct scan_run *r)
{
	const struct mk_scan_image *m = r->image;

	if (m->classes < 1 || m->classes > 256 || m->whole_log2 > 28 ||
	    m->find_log2 > 28 ||
	    !scan_table(r, m->class_of, 512) || !scan_table(r, m->begins, 32) ||
	    !scan_table(r, m->whole, ((1ull << m->whole_log2) + 256) * 4) ||
	    (m->find &&
	     !scan_table(r, m->find, ((1ull << m->find_log2) + 256) * 4)))
		return 0;
	r->whole = (const uint32_t *)(const void *)(r->base + m->whole);
	r->find = (const uint32_t *)0;
	if (m->find)
		r->find = (const uint32_t *)(const void *)(r->base + m->find);
	r->class_of = r->base + m->class_of;
	if (r->flags & MK_SCAN_NUL_ENDS)
		r->class_of += 256;
	r->begins = r->base + m->begins;
	return 1;
}

/* 1; or 0 with task->error set. */
SCAN_APART int scan_open(struct scan_run *r, struct mk_task *task,
		    const struct mk_scan_args *a)
{
	uint64_t bytes = mk_buffer_size(task, a->image);
	unsigned char *result;

	r->task = task;
	r->base = (const unsigned char *)mk_window_at(task, a->image, 0, bytes,
						      0);
	r->text = (const unsigned char *)mk_window_at(
		task, a->text, a->offset, (uint64_t)a->bytes + MK_SCAN_PAD, 0);
	r->flags = a->flags & 255u;
	r->room = a->flags >> 8;
	result = (unsigned char *)mk_window_at(
		task, a->result, a->result_offset,
		sizeof(struct mk_scan_result) +
			(uint64_t)r->room * sizeof(struct mk_scan_match), 1);
	if (!r->base || !r->text || !result)
		return 0;
	result += sizeof(struct mk_scan_result);
	r->out = (struct mk_scan_match *)(void *)result;
	r->image = (const struct mk_scan_image *)(const void *)r->base;
	r->bytes = a->bytes;
	r->next = a->from;
	r->matches = r->stopped = r->cancelled = r->steps = 0;
	r->empty_line = SCAN_NONE;
	if (a->bytes <= 0x7fffffffu && a->from <= a->bytes &&
	    !(r->flags & ~(uint32_t)MK_SCAN_FLAGS) && !(a->result_offset & 7) &&
	    r->room && bytes >= sizeof(*r->image) &&
	    r->image->magic == MK_SCAN_MAGIC &&
	    r->image->version == MK_SCAN_VERSION && r->image->bytes <= bytes &&
	    ((r->image->kind == MK_SCAN_LITERALS && scan_open_literals(r)) ||
	     (r->image->kind == MK_SCAN_AUTOMATON && scan_open_automaton(r))))
		return 1;
	mk_set_error(task, MK_EARGS);
	return 0;
}

/* ---- bytes -------------------------------------------------------------- */

/* Eight bytes, little endian. */
SCAN_INLINE uint64_t scan_word(const unsigned char *at)
{
#if MK_CUDA
	const uint32_t *word = (const uint32_t *)((uintptr_t)at &
						  ~(uintptr_t)3);
	uint32_t shift = 8u * ((uint32_t)(uintptr_t)at & 3u);
	uint32_t a = word[0], b = word[1], c = shift ? word[2] : 0;

	return __funnelshift_r(a, b, shift) |
	       (uint64_t)__funnelshift_r(b, c, shift) << 32;
#else
	uint64_t word;

	memcpy(&word, at, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	word = __builtin_bswap64(word);
#endif
	return word;
#endif
}

MK_FN uint32_t scan_ends(const struct scan_run *r, unsigned char c)
{
	return c == '\n' || (!c && r->flags & MK_SCAN_NUL_ENDS);
}

/* The end of the line that has place `at`: its newline, or the text's end. */
MK_FN uint32_t scan_line_end(const struct scan_run *r, uint32_t at)
{
#if !MK_CUDA
	const unsigned char *end;

	if (!(r->flags & MK_SCAN_NUL_ENDS)) {
		end = (const unsigned char *)memchr(r->text + at, '\n',
						    r->bytes - at);
		return end ? (uint32_t)(end - r->text) : r->bytes;
	}
#endif
	while (at < r->bytes && !scan_ends(r, r->text[at]))
		at++;
	return at;
}

/* Now and then: tell that it goes on, see whether it shall. */
MK_FN int scan_look(struct scan_run *r, uint32_t steps)
{
	r->steps += steps;
	if (r->steps < SCAN_STRIDE)
		return r->stopped;
	r->steps = 0;
	mk_progress(r->task);
	if (mk_cancelled(r->task))
		r->cancelled = r->stopped = 1;
	return r->stopped;
}

/* A match that begins at r->next or behind. */
SCAN_APART void scan_emit(struct scan_run *r, uint32_t at, uint32_t bytes)
{
	if (r->matches == r->room) {
		if (!(r->flags & MK_SCAN_LINES)) /* else: the line again */
			r->next = at;
		r->stopped = 1;
		return;
	}
	r->out[r->matches].at = at;
	r->out[r->matches].bytes = bytes;
	r->matches++;
	r->next = at + bytes;
	if (r->flags & MK_SCAN_LINES) {
		r->next = scan_line_end(r, r->next);
		r->next += r->next < r->bytes;
	}
}

#include "scan_literals.h"
#include "scan_automaton.h"

/* ---- NUL ---------------------------------------------------------------- */

MK_FN uint32_t scan_nul(const unsigned char *text, uint32_t from, uint32_t to)
{
#if MK_CUDA
	for (; from < to; from++)
		if (!text[from])
			return from;
	return SCAN_NONE;
#else
	const unsigned char *nul = (const unsigned char *)memchr(text + from, 0,
								 to - from);

	return nul ? (uint32_t)(nul - text) : SCAN_NONE;
#endif
}

#include "scan_lanes.h"

MK_HANDLER(scan, struct mk_scan_args)
{
	struct scan_run r;
	uint32_t nul = SCAN_NONE;
	int32_t rc = MK_OK;

	if (!scan_open(&r, task, args))
		return mk_fail(task);
	if (mk_lanes(task) > 1) {
		rc = scan_lanes(&r, &nul);
	} else {
		if (r.flags & MK_SCAN_NUL_ENDS && !args->from)
			nul = scan_nul(r.text, 0, r.bytes);
		if (r.image->kind == MK_SCAN_LITERALS)
			scan_literals(&r);
		else
			scan_lines(&r, r.bytes);
	}
	if (rc == MK_OK && r.cancelled)
		rc = -MK_ECANCELLED;
	if (rc == MK_OK && !mk_lane(task)) {
		struct mk_scan_result *out =
			(struct mk_scan_result *)(void *)r.out - 1;

		out->matches = r.matches;
		out->reserved = 0;
		out->next = r.stopped ? r.next : r.bytes;
		out->nul = r.flags & MK_SCAN_NUL_ENDS && !args->from ?
				   nul : SCAN_NONE;
		mk_value(task, r.matches);
	}
	return rc;
}
