/* SPDX-License-Identifier: Apache-2.0 */
/* Finding literals. Part of scan_text.c. */
#ifndef SCAN_LITERALS_H
#define SCAN_LITERALS_H

MK_FN unsigned char scan_lower(const struct scan_run *r, unsigned char c)
{
	return r->image->fold && (unsigned)(c - 'A') < 26 ?
		       (unsigned char)(c | 0x20) : c;
}

/* How many bytes of literal i stand at `at`, of at most `room`. */
MK_FN uint32_t scan_common(const struct scan_run *r, uint32_t i,
			   const unsigned char *at, uint32_t room,
			   const unsigned char **rest)
{
	const struct mk_scan_literal *l = &r->literal[i];
	const struct mk_scan_image *m = r->image;
	uint32_t bytes = l->bytes, n = 0;

	*rest = r->base;
	if (l->at > m->text_bytes || bytes > m->text_bytes - l->at)
		return 0;
	if (bytes > room)
		bytes = room;
	while (n < bytes && scan_lower(r, at[n]) == r->letters[l->at + n])
		n++;
	*rest = r->letters + l->at + n;
	return n;
}

/* Is literal i behind the text at `at`? */
MK_FN int scan_behind(const struct scan_run *r, uint32_t i,
		      const unsigned char *at, uint32_t room, uint32_t *common)
{
	const unsigned char *rest;
	uint32_t n = scan_common(r, i, at, room, &rest);

	*common = n;
	if (n >= r->literal[i].bytes)
		return 0;
	return n == room || *rest > scan_lower(r, at[n]);
}

/* The longest literal at a place; 0: none. */
SCAN_APART uint32_t scan_literal_at(const struct scan_run *r, uint32_t x)
{
	const struct mk_scan_image *m = r->image;
	const unsigned char *at = r->text + x;
	uint32_t room = r->bytes - x, low, high, common = 0, slot, n;
	uint32_t mask = (1u << m->prefix_log2) - 1;
	uint64_t key;

	if (room < m->prefix_bytes ||
	    (m->whole_line && x && !scan_ends(r, r->text[x - 1])))
		return 0;
	key = scan_word(at);
	key = (m->fold ? mk_scan_fold(key) : key) & r->prefix_mask;
	slot = (uint32_t)(key * MK_SCAN_HASH >> (64 - m->prefix_log2));
	for (n = 0; n <= mask; n++, slot++) {
		const struct mk_scan_prefix *p = &r->prefix[slot & mask];

		if (!p->end)
			return 0;
		if (p->key != key)
			continue;
		low = p->first;
		high = p->end;
		break;
	}
	if (n > mask || high > m->literals || low >= high)
		return 0;
	/* [first, low] are not behind the text once one is known not to be */
	if (scan_behind(r, low, at, room, &common))
		return 0;
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2, here;

		if (scan_behind(r, middle, at, room, &here)) {
			high = middle;
		} else {
			low = middle;
			common = here;
		}
	}
	for (n = 0; n < m->literals; n++) { /* each is shorter */
		uint32_t shorter = r->literal[low].shorter;
		uint32_t bytes = r->literal[low].bytes;

		if (bytes <= common &&
		    (!m->whole_line || bytes == room ||
		     scan_ends(r, at[bytes])))
			return bytes;
		if (shorter >= low)
			return 0;
		low = shorter;
	}
	return 0;
}

/* At which offsets of literals the gram at a place may be: bits. */
MK_FN uint32_t scan_gram(const struct scan_run *r, uint64_t word)
{
	const struct mk_scan_image *m = r->image;
	uint64_t hash = (word | m->gram_fold) * m->gram_factor;
	uint32_t bit = (uint32_t)(hash >> (64 - m->filter_log2));

	if (!(r->filter[bit >> 5] >> (bit & 31) & 1))
		return 0;
	return r->offsets[hash >> (64 - m->offsets_log2)];
}

/* The literals whose gram, at one of these offsets, is at place p. */
SCAN_APART void scan_place(struct scan_run *r, uint32_t p, uint32_t offsets)
{
	while (offsets && !r->stopped) {
		uint32_t offset = 31u - (uint32_t)
#if MK_CUDA
			__clz((int)offsets);
#else
			__builtin_clz(offsets);
#endif
		uint32_t x = p - offset, n;

		offsets &= ~(1u << offset);
		if (p < offset || x < r->next)
			continue;
		n = scan_literal_at(r, x);
		if (n)
			scan_emit(r, x, n);
	}
}

/* The first place at or behind `at`. */
MK_FN uint32_t scan_align(const struct scan_run *r, uint32_t at)
{
	uint32_t stride = r->image->stride, rest = at % stride;

	return rest ? at + (stride - rest) : at;
}

/* What the filter says of a place, in the lowest bit. */
SCAN_INLINE uint32_t scan_sieve(const uint32_t *filter,
				const unsigned char *at, uint64_t fold,
				uint64_t factor, unsigned shift)
{
	uint32_t bit = (uint32_t)((scan_word(at) | fold) * factor >> shift);

	return filter[bit >> 5] >> (bit & 31);
}

/* From place p on, four at a time: the first four of which the filter passes
 * one, or less than four before `to`. Nothing but this in the loop: it is
 * where the time goes. */
SCAN_INLINE uint32_t scan_quiet(const struct scan_run *r, uint32_t p,
				uint32_t to, uint64_t fold)
{
	const uint64_t factor = r->image->gram_factor;
	const unsigned shift = 64 - r->image->filter_log2;
	const uint32_t *filter = r->filter;
	const uint32_t stride = r->image->stride;
	const unsigned char *at = r->text + p;

	for (; p < to && to - p > 4 * stride; p += 4 * stride) {
		uint32_t some = scan_sieve(filter, at, fold, factor, shift);

		some |= scan_sieve(filter, at + stride, fold, factor, shift);
		at += 2 * stride;
		some |= scan_sieve(filter, at, fold, factor, shift);
		some |= scan_sieve(filter, at + stride, fold, factor, shift);
		at += 2 * stride;
		if (some & 1)
			break;
	}
	return p;
}

#if SCAN_AVX2
/* The same, with shifts that need no fixed register. */
__attribute__((target("bmi2"))) static uint32_t
scan_quiet_bmi2(const struct scan_run *r, uint32_t p, uint32_t to)
{
	return scan_quiet(r, p, to, 0);
}
#endif

/* Places in [from, to). */
MK_FN void scan_places(struct scan_run *r, uint32_t from, uint32_t to)
{
	const uint32_t stride = r->image->stride;
	uint32_t p = scan_align(r, from), end;
#if SCAN_AVX2
	int bmi2 = __builtin_cpu_supports("bmi2") && !r->image->gram_fold;
#endif

	while (p < to && !r->stopped) {
#if SCAN_AVX2
		if (bmi2)
			p = scan_quiet_bmi2(r, p, to);
		else
#endif
			p = scan_quiet(r, p, to, r->image->gram_fold);
		end = to - p > 4 * stride ? p + 4 * stride : to;
		for (; p < end && !r->stopped; p += stride) {
			uint32_t offsets =
				scan_gram(r, scan_word(r->text + p));

			if (offsets)
				scan_place(r, p, offsets);
		}
		if (r->next > p) /* a match has passed some places */
			p = scan_align(r, r->next);
	}
}

#if SCAN_AVX2 || SCAN_NEON
/* Places of a vector; a literal's window is where its bit is. */
static inline void scan_windows(struct scan_run *r, uint32_t p, uint32_t bits)
{
	uint32_t window = r->image->window, n;

	for (; bits && !r->stopped; bits &= bits - 1) {
		uint32_t at = p + (uint32_t)__builtin_ctz(bits);

		if (at < window || at - window < r->next ||
		    at - window >= r->bytes) /* a vector goes beyond */
			continue;
		n = scan_literal_at(r, at - window);
		if (n)
			scan_emit(r, at - window, n);
	}
}
#endif

#if SCAN_AVX2
#define SCAN_TARGET __attribute__((target("avx2,bmi,bmi2,lzcnt")))

static inline SCAN_TARGET __m256i scan_nibbles(__m256i c, __m256i low,
					       __m256i high)
{
	const __m256i four = _mm256_set1_epi8(15);
	__m256i l = _mm256_shuffle_epi8(low, _mm256_and_si256(c, four));
	__m256i h = _mm256_shuffle_epi8(
		high, _mm256_and_si256(_mm256_srli_epi16(c, 4), four));

	return _mm256_and_si256(l, h);
}

static inline SCAN_TARGET __m256i scan_load(const unsigned char *at)
{
	return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

static inline SCAN_TARGET __m256i scan_half(const unsigned char *at)
{
	return _mm256_broadcastsi128_si256(
		_mm_loadu_si128((const __m128i *)(const void *)at));
}

/* Windows that begin in [from, to), 32 at a time; the last few may lie
 * beyond, in what is readable, and no literal is there. */
static SCAN_TARGET void scan_nibbles_avx2(struct scan_run *r, uint32_t from,
					  uint32_t to)
{
	const unsigned char *table = r->base + r->image->nibble;
	const unsigned char *text = r->text;
	__m256i low0 = scan_half(table), high0 = scan_half(table + 16);
	__m256i low1 = scan_half(table + 32), high1 = scan_half(table + 48);
	__m256i low2 = scan_half(table + 64), high2 = scan_half(table + 80);
	const __m256i zero = _mm256_setzero_si256();

	for (uint32_t p = from; p < to && !r->stopped; p += 32) {
		__m256i a = scan_nibbles(scan_load(text + p), low0, high0);
		__m256i b = scan_nibbles(scan_load(text + p + 1), low1, high1);
		__m256i c = scan_nibbles(scan_load(text + p + 2), low2, high2);
		__m256i all = _mm256_and_si256(_mm256_and_si256(a, b), c);
		uint32_t none = (uint32_t)_mm256_movemask_epi8(
			_mm256_cmpeq_epi8(all, zero));

		if (none != 0xffffffffu)
			scan_windows(r, p, ~none);
	}
}
#endif

#if SCAN_AVX2
struct scan_wide {
	__m256i low, high; /* which bytes are the grams of eight places */
	__m256i fold, low_factor, high_factor, bits;
	__m128i to_word, to_bit; /* shifts of a hash */
	const int *filter;
};

static SCAN_TARGET void scan_wide_open(const struct scan_run *r,
				       struct scan_wide *w)
{
	const struct mk_scan_image *m = r->image;
	unsigned char bytes[2][32];

	for (uint32_t i = 0; i < 32; i++) {
		/* each half of a vector has its own 16 bytes of the text */
		uint32_t at = i / 4 % 4 * m->stride, j = i & 3;

		if (i >= 16 && m->stride == 1)
			at += 4;
		bytes[0][i] = (unsigned char)(j < m->gram ? at + j : 128);
		bytes[1][i] = (unsigned char)(j + 4 < m->gram ? at + 4 + j :
								128);
	}
	w->low = scan_load(bytes[0]);
	w->high = scan_load(bytes[1]);
	w->fold = _mm256_set1_epi32((int)(uint32_t)m->gram_fold);
	w->low_factor = _mm256_set1_epi32((int)MK_SCAN_WIDE_LOW);
	w->high_factor = _mm256_set1_epi32(
		m->gram > 4 ? (int)MK_SCAN_WIDE_HIGH : 0);
	w->bits = _mm256_set1_epi32(31);
	w->to_word = _mm_cvtsi32_si128((int)(32 - m->wide_log2 + 5));
	w->to_bit = _mm_cvtsi32_si128((int)(32 - m->wide_log2));
	w->filter = (const int *)(const void *)(r->base + m->wide);
}

/* Which of eight places, a stride apart, the filter passes: bits. */
static inline SCAN_TARGET uint32_t scan_wide_eight(const struct scan_wide *w,
						   const unsigned char *at,
						   uint32_t stride)
{
	__m256i text = scan_half(at), hash, word;

	if (stride == 2)
		text = _mm256_inserti128_si256(
			text, _mm_loadu_si128((const __m128i *)(const void *)
					      (at + 8)), 1);
	hash = _mm256_or_si256(_mm256_shuffle_epi8(text, w->low), w->fold);
	word = _mm256_or_si256(_mm256_shuffle_epi8(text, w->high), w->fold);
	hash = _mm256_add_epi32(_mm256_mullo_epi32(hash, w->low_factor),
				_mm256_mullo_epi32(word, w->high_factor));
	word = _mm256_i32gather_epi32(w->filter,
				      _mm256_srl_epi32(hash, w->to_word), 4);
	word = _mm256_sllv_epi32(word, _mm256_and_si256(
				_mm256_srl_epi32(hash, w->to_bit), w->bits));
	return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(word));
}

/* The same as scan_places(), sixteen at a time. The last of them may lie
 * beyond, in what is readable: these are left out. */
static SCAN_TARGET void scan_places_avx2(struct scan_run *r, uint32_t from,
					 uint32_t to)
{
	const uint32_t stride = r->image->stride;
	uint32_t p = scan_align(r, from);
	struct scan_wide w;

	scan_wide_open(r, &w);
	for (; p < to && !r->stopped; p += 16 * stride) {
		const unsigned char *at = r->text + p;
		uint32_t left = (to - p + stride - 1) / stride;
		uint32_t bits = scan_wide_eight(&w, at, stride);

		bits |= scan_wide_eight(&w, at + 8 * stride, stride) << 8;
		if (!bits)
			continue;
		if (left < 16)
			bits &= (1u << left) - 1;
		for (; bits && !r->stopped; bits &= bits - 1) {
			uint32_t here = p + stride *
					    (uint32_t)__builtin_ctz(bits);
			uint32_t offsets;

			offsets = scan_gram(r, scan_word(r->text + here));
			if (offsets)
				scan_place(r, here, offsets);
		}
		/* a match has passed some places */
		if (r->next > p + 16 * stride)
			p = scan_align(r, r->next) - 16 * stride;
	}
}
#endif

#if SCAN_NEON
static inline uint8x16_t scan_nibbles(uint8x16_t c, uint8x16_t low,
				      uint8x16_t high)
{
	return vandq_u8(vqtbl1q_u8(low, vandq_u8(c, vdupq_n_u8(15))),
			vqtbl1q_u8(high, vshrq_n_u8(c, 4)));
}

static void scan_nibbles_neon(struct scan_run *r, uint32_t from, uint32_t to)
{
	const unsigned char *table = r->base + r->image->nibble;
	const unsigned char *text = r->text;
	uint8x16_t t[6];

	for (unsigned i = 0; i < 6; i++)
		t[i] = vld1q_u8(table + 16 * i);
	for (uint32_t p = from; p < to && !r->stopped; p += 16) {
		uint8x16_t a = scan_nibbles(vld1q_u8(text + p), t[0], t[1]);
		uint8x16_t b = scan_nibbles(vld1q_u8(text + p + 1), t[2], t[3]);
		uint8x16_t c = scan_nibbles(vld1q_u8(text + p + 2), t[4], t[5]);
		uint8x16_t all = vandq_u8(vandq_u8(a, b), c);
		uint32_t bits = 0;

		if (!vmaxvq_u8(all))
			continue;
		for (uint32_t i = 0; i < 16; i++)
			bits |= (uint32_t)(all[i] != 0) << i;
		scan_windows(r, p, bits);
	}
}
#endif

/* One lane alone. */
MK_FN void scan_literals(struct scan_run *r)
{
	uint32_t from = r->next, to;

	for (; from < r->bytes && !r->stopped; from = to) {
		to = r->bytes - from > SCAN_STRIDE ? from + SCAN_STRIDE
						   : r->bytes;
#if SCAN_AVX2
		if (r->image->nibble && __builtin_cpu_supports("avx2"))
			scan_nibbles_avx2(r, from, to);
		else if (r->image->wide && __builtin_cpu_supports("avx2"))
			scan_places_avx2(r, from, to);
		else
#elif SCAN_NEON
		if (r->image->nibble)
			scan_nibbles_neon(r, from, to);
		else
#endif
			scan_places(r, from, to);
		if (to < r->bytes)
			scan_look(r, to - from);
	}
}

#endif
