/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C against published values and a bit-by-bit model. */
#include "handlers/map.h"

static struct map_run m;

static uint32_t model(const unsigned char *data, size_t bytes)
{
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < bytes; i++) {
		crc ^= data[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

/* RFC 3720, appendix B.4, and the usual check value. */
static void known(void **state)
{
	unsigned char block[32];

	(void)state;
	map_file(&m, MK_OP_CRC32C, "123456789", 9, 64);
	map_expect_hex(&m, "e3069283");
	assert_true(m.h.task.value == 0xe3069283);
	map_file(&m, MK_OP_CRC32C, "", 0, 64);
	map_expect_hex(&m, "00000000");
	memset(block, 0, sizeof(block));
	map_file(&m, MK_OP_CRC32C, block, 32, 64);
	map_expect_hex(&m, "8a9136aa");
	memset(block, 0xff, sizeof(block));
	map_file(&m, MK_OP_CRC32C, block, 32, 64);
	map_expect_hex(&m, "62a8ab43");
	for (unsigned i = 0; i < 32; i++)
		block[i] = (unsigned char)i;
	map_file(&m, MK_OP_CRC32C, block, 32, 64);
	map_expect_hex(&m, "46dd794e");
	for (unsigned i = 0; i < 32; i++)
		block[i] = (unsigned char)(31 - i);
	map_file(&m, MK_OP_CRC32C, block, 32, 64);
	map_expect_hex(&m, "113fdb5c");
}

static void chunks(void **state)
{
	unsigned char data[200];

	(void)state;
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)(i * 151 + 7);
	for (size_t bytes = 0; bytes <= sizeof(data); bytes += 13)
		for (size_t chunk = 1; chunk < 40; chunk++) {
			map_file(&m, MK_OP_CRC32C, data, bytes, chunk);
			assert_true(m.h.task.value == model(data, bytes));
		}
}

static void refuses(void **state)
{
	(void)state;
	map_expect_refusals(MK_OP_CRC32C);
	map_expect_cancel(MK_OP_CRC32C);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known),
		cmocka_unit_test(chunks),
		cmocka_unit_test(refuses),
	};

	return cmocka_run_group_tests_name("handlers/crc32c", tests, NULL,
					   NULL);
}
