/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines, words and bytes of a file under `megakernel map`, as wc(1) counts
 * them in the C locale: a word is a run of bytes between white space that has
 * at least one printable byte; a byte that is neither belongs to the run and
 * makes no word.
 *
 * Each lane counts a part of the chunk as if no word were open before it, and
 * keeps what is needed to join the parts.
 */
#include <megakernel/handler.h>
#include <megakernel/map.h>

#if !MK_CUDA
#include <string.h>
#if defined(__x86_64__) && !defined(MK_HANDLER_PORTABLE)
#include <emmintrin.h>
#define COUNT_SSE 1
#endif
#endif
#ifndef COUNT_SSE
#define COUNT_SSE 0
#endif

/* How much is counted between two looks at the cancel word. */
#define COUNT_STRIDE (1u << 20)

struct count_state {
	uint64_t lines, words, bytes; /* in the order in which they are shown */
	uint64_t open;                /* 1 within a word */
};

/* What one lane found. */
struct count_part {
	uint64_t lines, words;
	uint32_t joins; /* its first word may continue the previous part's */
	uint32_t open;  /* 0: ends between words, 1: in one, 2: as it began */
};

MK_FN uint32_t count_is_space(unsigned char c)
{
	return c == ' ' || (unsigned)(c - '\t') < 5;
}

MK_FN uint32_t count_is_graph(unsigned char c)
{
	return (unsigned)(c - '!') < 94;
}

MK_FN void count_plain(struct count_state *s, const unsigned char *data,
		       uint64_t bytes)
{
	uint32_t open = s->open != 0;

	for (uint64_t i = 0; i < bytes; i++) {
		uint32_t graph = count_is_graph(data[i]);

		s->lines += data[i] == '\n';
		s->words += graph & ~open;
		open = graph | (open & !count_is_space(data[i]));
	}
	s->open = open;
}

#if COUNT_SSE
/* Bit i of *space and *graph speaks for data[i], i < 16. */
static inline void count_masks(const unsigned char *data, uint64_t *newline,
			       uint64_t *space, uint64_t *graph)
{
	__m128i c = _mm_loadu_si128((const __m128i *)(const void *)data);
	__m128i blank = _mm_cmpeq_epi8(c, _mm_set1_epi8(' '));
	/* signed compares: bytes from 0x80 on are below all of these */
	__m128i low = _mm_and_si128(_mm_cmpgt_epi8(c, _mm_set1_epi8(8)),
				    _mm_cmplt_epi8(c, _mm_set1_epi8(14)));
	__m128i high = _mm_and_si128(_mm_cmpgt_epi8(c, _mm_set1_epi8(' ')),
				     _mm_cmplt_epi8(c, _mm_set1_epi8(127)));
	__m128i line = _mm_cmpeq_epi8(c, _mm_set1_epi8('\n'));

	*newline = (uint16_t)_mm_movemask_epi8(line);
	*space = (uint16_t)_mm_movemask_epi8(_mm_or_si128(blank, low));
	*graph = (uint16_t)_mm_movemask_epi8(high);
}

/*
 * 64 bytes at a time. Where every byte is white space or printable, words
 * begin at the printable bytes whose predecessor is none; else byte by byte.
 */
static uint64_t count_fast(struct count_state *s, const unsigned char *data,
			   uint64_t bytes)
{
	uint64_t done;

	for (done = 0; bytes - done >= 64; done += 64) {
		uint64_t newline = 0, space = 0, graph = 0, n, p, g;

		for (unsigned i = 0; i < 4; i++) {
			count_masks(data + done + 16 * i, &n, &p, &g);
			newline |= n << (16 * i);
			space |= p << (16 * i);
			graph |= g << (16 * i);
		}
		if (~(space | graph)) {
			count_plain(s, data + done, 64);
			continue;
		}
		s->lines += (unsigned)__builtin_popcountll(newline);
		s->words += (unsigned)__builtin_popcountll(
			graph & ~(graph << 1 | (s->open != 0)));
		s->open = graph >> 63;
	}
	return done;
}
#endif

MK_FN void count_update(struct count_state *s, const unsigned char *data,
			uint64_t bytes)
{
	uint64_t done = 0;

#if COUNT_SSE
	done = count_fast(s, data, bytes);
#endif
	count_plain(s, data + done, bytes - done);
	s->bytes += bytes;
}

MK_FN void count_share(struct count_part *part, const unsigned char *data,
		       uint64_t bytes)
{
	struct count_state s = { 0, 0, 0, 0 };
	uint64_t i = 0;

	while (i < bytes && !count_is_space(data[i]) &&
	       !count_is_graph(data[i]))
		i++;
	part->joins = i < bytes && count_is_graph(data[i]);
	count_update(&s, data + i, bytes - i);
	part->lines = s.lines;
	part->words = s.words;
	part->open = i < bytes ? (uint32_t)s.open : 2;
}

/* All lanes together; the state is lane 0's to change. */
MK_FN void count_lanes(struct mk_task *task, struct count_part *part,
		       struct count_state *s, const unsigned char *data,
		       uint64_t bytes)
{
	struct count_state sum;
	uint32_t lane = mk_lane(task), lanes = mk_lanes(task);
	uint64_t share = bytes / lanes + 1;
	uint64_t from = share * lane < bytes ? share * lane : bytes;
	uint64_t to = share < bytes - from ? from + share : bytes;

	count_share(&part[lane], data + from, to - from);
	mk_sync(task);
	if (lane)
		return;
	sum = *s; /* may lie behind a bus */
	for (uint32_t i = 0; i < lanes; i++) {
		sum.lines += part[i].lines;
		sum.words += part[i].words - (part[i].joins && sum.open);
		if (part[i].open != 2)
			sum.open = part[i].open;
	}
	sum.bytes += bytes;
	*s = sum;
}

/* One lane alone, looking at the cancel word. -MK_ECANCELLED or 0. */
MK_FN int32_t count_alone(struct mk_task *task, struct count_state *s,
			  const unsigned char *data, uint64_t bytes)
{
	uint64_t done, part;

	for (done = 0; done < bytes; done += part) {
		if (done && mk_cancelled(task))
			return -MK_ECANCELLED;
		part = bytes - done;
		if (part > COUNT_STRIDE)
			part = COUNT_STRIDE;
		count_update(s, data + done, part);
	}
	return MK_OK;
}

MK_HANDLER(count, struct mk_map_args)
{
	const unsigned char *data = mk_map_data(task, args);
	struct count_state *s = (struct count_state *)mk_map_state(
		task, args, sizeof(struct count_state));

	if (!data || !s)
		return mk_fail(task);
	if (mk_lanes(task) > 1) {
		struct count_part *part = (struct count_part *)mk_scratch(
			task, mk_lanes(task) *
				      (uint32_t)sizeof(struct count_part));

		if (!part)
			return mk_fail(task);
		count_lanes(task, part, s, data, args->bytes);
	} else if (count_alone(task, s, data, args->bytes)) {
		return -MK_ECANCELLED;
	}
	if (mk_lane(task) == 0 && mk_map_last(args)) {
		mk_value(task, s->words);
		mk_map_result(task, args, MK_MAP_COLUMNS, s,
			      3 * (uint32_t)sizeof(uint64_t));
	}
	return MK_OK;
}
