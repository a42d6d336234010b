/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C (Castagnoli) of a file under `megakernel map`.
 *
 * A CRC is linear: the remainder of A|B is the remainder of A moved over the
 * length of B, plus the remainder of B started at 0. So each lane takes a
 * part of the chunk, moves its remainder over what follows, and the sum (xor)
 * of all is the chunk's.
 */
#include <megakernel/handler.h>
#include <megakernel/map.h>

#if !MK_CUDA
#include <string.h>
#if defined(__x86_64__) && !defined(MK_HANDLER_PORTABLE)
#include <nmmintrin.h>
#define CRC32C_SSE 1
#endif
#endif
#ifndef CRC32C_SSE
#define CRC32C_SSE 0
#endif

/* The polynomial with its bits reversed; the lowest bit is x^31. */
#define CRC32C_POLY 0x82f63b78u

/* How much is summed between two looks at the cancel word. */
#define CRC32C_STRIDE (1u << 20)

struct crc32c_state {
	uint64_t inverted; /* the running remainder, inverted as is custom */
};

/* Remainders of the sixteen values of four bits. */
MK_CONST uint32_t crc32c_nibble[16] = {
	0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
	0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
	0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
	0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

MK_FN uint32_t crc32c_plain(uint32_t crc, const unsigned char *data,
			    uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes; i++) {
		crc ^= data[i];
		crc = crc >> 4 ^ crc32c_nibble[crc & 15];
		crc = crc >> 4 ^ crc32c_nibble[crc & 15];
	}
	return crc;
}

#if CRC32C_SSE
__attribute__((target("sse4.2"))) static uint32_t
crc32c_sse(uint32_t crc, const unsigned char *data, uint64_t bytes)
{
	uint64_t wide = crc, word;

	for (; bytes >= 8; bytes -= 8, data += 8) {
		memcpy(&word, data, 8);
		wide = _mm_crc32_u64(wide, word);
	}
	crc = (uint32_t)wide;
	for (; bytes; bytes--, data++)
		crc = _mm_crc32_u8(crc, *data);
	return crc;
}
#endif

MK_FN uint32_t crc32c_update(uint32_t crc, const unsigned char *data,
			     uint64_t bytes)
{
#if CRC32C_SSE
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_sse(crc, data, bytes);
#endif
	return crc32c_plain(crc, data, bytes);
}

/* The product of two remainders; bit 31 is x^0. */
MK_FN uint32_t crc32c_multiply(uint32_t a, uint32_t b)
{
	uint32_t product = 0;

	for (uint32_t bit = 1u << 31; bit; bit >>= 1) {
		if (a & bit)
			product ^= b;
		b = b & 1 ? b >> 1 ^ CRC32C_POLY : b >> 1;
	}
	return product;
}

/* A remainder moved over this many bytes: times x^(8 * bytes). */
MK_FN uint32_t crc32c_move(uint32_t crc, uint64_t bytes)
{
	uint32_t power = 1u << 23; /* x^8, squared at each step */

	for (; bytes; bytes >>= 1) {
		if (bytes & 1)
			crc = crc32c_multiply(crc, power);
		power = crc32c_multiply(power, power);
	}
	return crc;
}

/* All lanes together; the result is lane 0's. */
MK_FN uint32_t crc32c_lanes(struct mk_task *task, uint32_t *part, uint32_t crc,
			    const unsigned char *data, uint64_t bytes)
{
	uint32_t lane = mk_lane(task), lanes = mk_lanes(task), sum;
	uint64_t share = bytes / lanes + 1;
	uint64_t from = share * lane < bytes ? share * lane : bytes;
	uint64_t to = share < bytes - from ? from + share : bytes;

	sum = crc32c_update(lane ? 0 : crc, data + from, to - from);
	part[lane] = crc32c_move(sum, bytes - to);
	mk_sync(task);
	if (lane)
		return 0;
	sum = 0;
	for (uint32_t i = 0; i < lanes; i++)
		sum ^= part[i];
	return sum;
}

/* One lane alone, looking at the cancel word. -MK_ECANCELLED or 0. */
MK_FN int32_t crc32c_alone(struct mk_task *task, uint32_t *crc,
			   const unsigned char *data, uint64_t bytes)
{
	uint64_t done, part;

	for (done = 0; done < bytes; done += part) {
		if (done && mk_cancelled(task))
			return -MK_ECANCELLED;
		part = bytes - done;
		if (part > CRC32C_STRIDE)
			part = CRC32C_STRIDE;
		*crc = crc32c_update(*crc, data + done, part);
	}
	return MK_OK;
}

MK_FN void crc32c_result(struct mk_task *task, const struct mk_map_args *args,
			 uint32_t crc)
{
	unsigned char digest[4];

	for (uint32_t i = 0; i < 4; i++)
		digest[i] = (unsigned char)(crc >> (24 - 8 * i));
	mk_map_result(task, args, MK_MAP_HEX, digest, sizeof(digest));
	mk_value(task, crc);
}

MK_HANDLER(crc32c, struct mk_map_args)
{
	const unsigned char *data = mk_map_data(task, args);
	struct crc32c_state *s = (struct crc32c_state *)mk_map_state(
		task, args, sizeof(struct crc32c_state));
	uint32_t crc;

	if (!data || !s)
		return mk_fail(task);
	crc = ~(uint32_t)s->inverted;
	if (mk_lanes(task) > 1) {
		uint32_t *part = (uint32_t *)mk_scratch(
			task, mk_lanes(task) * (uint32_t)sizeof(uint32_t));

		if (!part)
			return mk_fail(task);
		crc = crc32c_lanes(task, part, crc, data, args->bytes);
	} else if (crc32c_alone(task, &crc, data, args->bytes)) {
		return -MK_ECANCELLED;
	}
	if (mk_lane(task) != 0)
		return MK_OK;
	s->inverted = (uint32_t)~crc;
	if (mk_map_last(args))
		crc32c_result(task, args, (uint32_t)~crc);
	return MK_OK;
}
