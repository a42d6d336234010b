/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 (FIPS 180-4) of a file under `megakernel map`, chunk by chunk. The
 * chain of blocks has no parallelism in it, so one lane does it all; the
 * engine's parallelism is in the files.
 */
#include <megakernel/handler.h>
#include <megakernel/map.h>

#if !MK_CUDA
#include <string.h>
#if defined(__x86_64__) && !defined(MK_HANDLER_PORTABLE)
#include <cpuid.h>
#include <immintrin.h>
#define SHA256_NI 1
#endif
#endif
#ifndef SHA256_NI
#define SHA256_NI 0
#endif

#define SHA256_BLOCK 64u

/* How much is hashed between two looks at the cancel word. */
#define SHA256_STRIDE (1u << 18)

struct sha256_state {
	uint32_t h[8];
	uint64_t total; /* bytes so far; the part of a block is in tail */
	unsigned char tail[SHA256_BLOCK];
};

MK_CONST uint32_t sha256_start[8] = {
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
	0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

#if !MK_CUDA
__attribute__((aligned(16)))
#endif
MK_CONST uint32_t sha256_k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
	0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
	0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
	0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
	0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
	0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
	0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
	0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

MK_FN uint32_t sha256_rotate(uint32_t x, unsigned n)
{
	return x >> n | x << (32 - n);
}

MK_FN uint32_t sha256_big_endian(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

/* Sixteen rounds at a time, unrolled: the words stay in registers. */
#if MK_CUDA
#define SHA256_SIXTEEN _Pragma("unroll 16")
#define SHA256_LOOP _Pragma("unroll 1")
#else
#define SHA256_SIXTEEN
#define SHA256_LOOP
#endif

/* One block, whose words, in the processor's order, are in w. */
MK_FN void sha256_rounds(uint32_t *h, uint32_t *w)
{
	uint32_t a = h[0], b = h[1], c = h[2], d = h[3];
	uint32_t e = h[4], f = h[5], g = h[6], i = h[7];

	SHA256_LOOP
	for (unsigned from = 0; from < 64; from += 16) {
		SHA256_SIXTEEN
		for (unsigned t = 0; t < 16; t++) {
			uint32_t x, y;

			if (from) {
				x = w[(t + 1) & 15];
				y = w[(t + 14) & 15];
				x = sha256_rotate(x, 7) ^
				    sha256_rotate(x, 18) ^ x >> 3;
				y = sha256_rotate(y, 17) ^
				    sha256_rotate(y, 19) ^ y >> 10;
				w[t] += x + w[(t + 9) & 15] + y;
			}
			x = i + sha256_k[from + t] + w[t] +
			    ((e & f) ^ (~e & g)) +
			    (sha256_rotate(e, 6) ^ sha256_rotate(e, 11) ^
			     sha256_rotate(e, 25));
			y = ((a & b) ^ (a & c) ^ (b & c)) +
			    (sha256_rotate(a, 2) ^ sha256_rotate(a, 13) ^
			     sha256_rotate(a, 22));
			i = g;
			g = f;
			f = e;
			e = d + x;
			d = c;
			c = b;
			b = a;
			a = x + y;
		}
	}
	h[0] += a;
	h[1] += b;
	h[2] += c;
	h[3] += d;
	h[4] += e;
	h[5] += f;
	h[6] += g;
	h[7] += i;
}

MK_FN void sha256_blocks_plain(uint32_t *h, const unsigned char *data,
			       uint64_t blocks)
{
	SHA256_LOOP
	for (; blocks; blocks--, data += SHA256_BLOCK) {
		uint32_t w[16];

		SHA256_SIXTEEN
		for (unsigned t = 0; t < 16; t++)
			w[t] = sha256_big_endian(data + 4 * t);
		sha256_rounds(h, w);
	}
}

#if MK_CUDA
MK_FN void sha256_words(uint32_t *w, uint4 v)
{
	w[0] = __byte_perm(v.x, 0, 0x0123);
	w[1] = __byte_perm(v.y, 0, 0x0123);
	w[2] = __byte_perm(v.z, 0, 0x0123);
	w[3] = __byte_perm(v.w, 0, 0x0123);
}

/*
 * Data on a multiple of 16: four wide loads a block, and those of the next
 * block are on their way while this one is hashed. It may lie behind a bus,
 * where a load takes as long as half a block's rounds.
 */
MK_FN void sha256_blocks_wide(uint32_t *h, const uint4 *data, uint64_t blocks)
{
	uint4 p = data[0], q = data[1], r = data[2], s = data[3];
	uint32_t own[8]; /* h may be anywhere, data for all one knows */

	for (unsigned i = 0; i < 8; i++)
		own[i] = h[i];
	SHA256_LOOP
	for (; blocks; blocks--) {
		uint32_t w[16];

		sha256_words(w, p);
		sha256_words(w + 4, q);
		sha256_words(w + 8, r);
		sha256_words(w + 12, s);
		if (blocks > 1) {
			data += 4;
			p = data[0];
			q = data[1];
			r = data[2];
			s = data[3];
		}
		sha256_rounds(own, w);
	}
	for (unsigned i = 0; i < 8; i++)
		h[i] = own[i];
}
#endif

#if SHA256_NI
/*
 * The SHA extensions keep the state as two vectors, ABEF and CDGH, and do
 * four rounds at a step: two for each half of the message words plus
 * constants.
 */
#define SHA256_TARGET __attribute__((target("sha,sse4.1,ssse3")))

static inline SHA256_TARGET void sha256_four(__m128i *abef, __m128i *cdgh,
					     __m128i words, unsigned step)
{
	const __m128i *k = (const __m128i *)(const void *)sha256_k;

	words = _mm_add_epi32(words, _mm_load_si128(&k[step]));
	*cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, words);
	words = _mm_shuffle_epi32(words, 0x0e);
	*abef = _mm_sha256rnds2_epu32(*abef, *cdgh, words);
}

/* Message words 16 further on than `first`, from the 16 that precede. */
static inline SHA256_TARGET __m128i sha256_next(__m128i first, __m128i second,
						__m128i third, __m128i fourth)
{
	__m128i words = _mm_sha256msg1_epu32(first, second);

	words = _mm_add_epi32(words, _mm_alignr_epi8(fourth, third, 4));
	return _mm_sha256msg2_epu32(words, fourth);
}

static SHA256_TARGET void sha256_blocks_ni(uint32_t *h,
					   const unsigned char *data,
					   uint64_t blocks)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b,
					    0x0405060700010203);
	__m128i dcba = _mm_loadu_si128((const __m128i *)(void *)h);
	__m128i hgfe = _mm_loadu_si128((const __m128i *)(void *)(h + 4));
	__m128i cdab = _mm_shuffle_epi32(dcba, 0xb1);
	__m128i efgh = _mm_shuffle_epi32(hgfe, 0x1b);
	__m128i abef = _mm_alignr_epi8(cdab, efgh, 8);
	__m128i cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);

	for (; blocks; blocks--, data += SHA256_BLOCK) {
		const __m128i *in = (const __m128i *)(const void *)data;
		__m128i abef_old = abef, cdgh_old = cdgh, w[4];

		for (unsigned i = 0; i < 4; i++) {
			w[i] = _mm_shuffle_epi8(_mm_loadu_si128(in + i), swap);
			sha256_four(&abef, &cdgh, w[i], i);
		}
#pragma GCC unroll 12
		for (unsigned i = 4; i < 16; i++) {
			w[i & 3] = sha256_next(w[i & 3], w[(i + 1) & 3],
					       w[(i + 2) & 3], w[(i + 3) & 3]);
			sha256_four(&abef, &cdgh, w[i & 3], i);
		}
		abef = _mm_add_epi32(abef, abef_old);
		cdgh = _mm_add_epi32(cdgh, cdgh_old);
	}
	cdab = _mm_shuffle_epi32(abef, 0x1b); /* FEBA */
	efgh = _mm_shuffle_epi32(cdgh, 0xb1); /* DCHG */
	dcba = _mm_blend_epi16(cdab, efgh, 0xf0);
	hgfe = _mm_alignr_epi8(efgh, cdab, 8);
	_mm_storeu_si128((__m128i *)(void *)h, dcba);
	_mm_storeu_si128((__m128i *)(void *)(h + 4), hgfe);
}

/* Asked once: cpuid is slow where it is emulated. 0: not yet, 1: no, 2: yes.
 * Every thread that asks finds the same, so relaxed is enough. */
static int sha256_has_ni(void)
{
	static int known;
	int have = __atomic_load_n(&known, __ATOMIC_RELAXED);
	unsigned a, b, c, d;

	if (have)
		return have == 2;
	have = 1;
	if (__get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSSE3) &&
	    (c & bit_SSE4_1) && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
	    (b & bit_SHA))
		have = 2;
	__atomic_store_n(&known, have, __ATOMIC_RELAXED);
	return have == 2;
}
#endif

MK_FN void sha256_blocks(uint32_t *h, const unsigned char *data,
			 uint64_t blocks)
{
#if SHA256_NI
	if (sha256_has_ni()) {
		sha256_blocks_ni(h, data, blocks);
		return;
	}
#endif
#if MK_CUDA
	if (blocks && !((uintptr_t)data & 15u)) {
		sha256_blocks_wide(h, (const uint4 *)data, blocks);
		return;
	}
#endif
	sha256_blocks_plain(h, data, blocks);
}

/* Blocks of our own memory. */
MK_FN void sha256_few(uint32_t *h, const unsigned char *data, uint64_t blocks)
{
#if MK_CUDA
	sha256_blocks_plain(h, data, blocks);
#else
	sha256_blocks(h, data, blocks);
#endif
}

MK_FN void sha256_append(unsigned char *to, const unsigned char *from,
			 uint32_t bytes)
{
#if MK_CUDA
	for (uint32_t i = 0; i < bytes; i++)
		to[i] = from[i];
#else
	memcpy(to, from, bytes);
#endif
}

MK_FN void sha256_update(struct sha256_state *s, const unsigned char *data,
			 uint64_t bytes)
{
	uint32_t have = (uint32_t)s->total % SHA256_BLOCK;
	uint32_t want = SHA256_BLOCK - have;

	s->total += bytes;
	if (have && bytes >= want) {
		sha256_append(s->tail + have, data, want);
		sha256_few(s->h, s->tail, 1);
		data += want;
		bytes -= want;
		have = 0;
	}
	if (!have && bytes >= SHA256_BLOCK) {
		sha256_blocks(s->h, data, bytes / SHA256_BLOCK);
		data += bytes & ~(uint64_t)(SHA256_BLOCK - 1);
		bytes %= SHA256_BLOCK;
	}
	if (bytes)
		sha256_append(s->tail + have, data, (uint32_t)bytes);
}

MK_FN void sha256_finish(struct sha256_state *s, unsigned char *digest)
{
	unsigned char pad[2 * SHA256_BLOCK];
	uint32_t have = (uint32_t)s->total % SHA256_BLOCK;
	uint32_t end = have < 56 ? SHA256_BLOCK : 2 * SHA256_BLOCK;
	uint64_t bits = s->total * 8;

	sha256_append(pad, s->tail, have);
	pad[have] = 0x80;
	for (uint32_t i = have + 1; i < end - 8; i++)
		pad[i] = 0;
	for (uint32_t i = 0; i < 8; i++)
		pad[end - 1 - i] = (unsigned char)(bits >> (8 * i));
	sha256_few(s->h, pad, end / SHA256_BLOCK);
	for (uint32_t i = 0; i < 32; i++)
		digest[i] = (unsigned char)(s->h[i / 4] >> (24 - i % 4 * 8));
}

MK_HANDLER(sha256, struct mk_map_args)
{
	const unsigned char *data = mk_map_data(task, args);
	struct sha256_state *s = (struct sha256_state *)mk_map_state(
		task, args, sizeof(struct sha256_state));
	struct sha256_state own; /* s may lie behind a bus */
	unsigned char digest[32];
	uint64_t done, part;

	if (!data || !s)
		return mk_fail(task);
	if (mk_lane(task) != 0)
		return MK_OK;
	own.total = 0;
	if (mk_map_first(args))
		for (unsigned i = 0; i < 8; i++)
			own.h[i] = sha256_start[i];
	else
		own = *s;
	for (done = 0; done < args->bytes; done += part) {
		if (done && mk_cancelled(task))
			return -MK_ECANCELLED;
		part = args->bytes - done;
		if (part > SHA256_STRIDE)
			part = SHA256_STRIDE;
		sha256_update(&own, data + done, part);
	}
	if (mk_map_last(args)) {
		sha256_finish(&own, digest);
		mk_map_result(task, args, MK_MAP_HEX, digest, sizeof(digest));
	} else {
		*s = own;
	}
	return MK_OK;
}
