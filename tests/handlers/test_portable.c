/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handlers as they are for a machine that has none of the instructions
 * they know of: the same text, compiled once more, must give the answers of
 * the built-in ones.
 */
#define MK_HANDLER_PORTABLE
#define MK_HANDLER_SECTION "mk_portable"
#include "../../handlers/count.c"
#include "../../handlers/crc32c.c"
#include "../../handlers/sha256.c"

#include "handlers/map.h"

#define BYTES 3000u

static unsigned char data[BYTES];

static uint32_t text; /* flags for count */

static void compare(uint32_t opcode, const struct mk_handler_entry *portable,
		    uint64_t bytes, uint64_t chunk)
{
	static struct map_run m;
	unsigned char area[MK_MAP_STATE_BYTES] = { 0 };
	struct mk_map_args args = { .state_offset = 0 };
	uint64_t at = 0;

	m.text = text;
	map_file(&m, opcode, data, bytes, chunk);
	task_init(&m.h);
	args.data = task_buffer(&m.h, 1, data, BYTES, 0);
	args.state = task_buffer(&m.h, 2, area, sizeof(area), 0);
	do {
		args.offset = at;
		args.bytes = bytes - at < chunk ? bytes - at : chunk;
		args.flags = text | (at ? 0 : MK_MAP_FIRST);
		at += args.bytes;
		args.flags |= at == bytes ? MK_MAP_LAST : 0;
		assert_int_equal(portable->run(&m.h.task, &args), MK_OK);
	} while (at < bytes);
	assert_memory_equal(area, &m.result, 8 + m.result.length);
}

static void same_answers(void **state)
{
	static const uint64_t chunks[] = { 1, 63, 64, 65, 1000, BYTES };

	(void)state;
	for (unsigned i = 0; i < BYTES; i++)
		data[i] = (unsigned char)(i * i * 31 >> 3);
	memset(data + 500, ' ', 300);
	memset(data + 1000, 'w', 900);
	for (uint64_t bytes = 0; bytes <= BYTES; bytes += 79)
		for (unsigned i = 0; i < 6; i++) {
			compare(MK_OP_SHA256, &mk_entry_sha256, bytes,
				chunks[i]);
			compare(MK_OP_CRC32C, &mk_entry_crc32c, bytes,
				chunks[i]);
			compare(MK_OP_COUNT, &mk_entry_count, bytes,
				chunks[i]);
			text = MK_MAP_UTF8;
			compare(MK_OP_COUNT, &mk_entry_count, bytes,
				chunks[i]);
			text = 0;
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(same_answers) };

	return cmocka_run_group_tests_name("handlers/portable", tests, NULL,
					   NULL);
}
