/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handlers with many lanes, as a GPU runs them: here a lane is a thread
 * and the lane barrier is a real one. The answers must be those of one lane.
 */
#include <pthread.h>

#include <megakernel/handler.h>

static void lane_barrier(struct mk_task *task);

#define mk_sync lane_barrier
#define MK_HANDLER_PORTABLE
#undef MK_HANDLER_SECTION
#define MK_HANDLER_SECTION "mk_by_lanes"
#include "../../handlers/control.c"
#include "../../handlers/count.c"
#include "../../handlers/crc32c.c"
#include "../../handlers/sha256.c"

#include "handlers/map.h"

#define LANES_MAX 32u
#define BYTES 2000u

static pthread_barrier_t barrier;
static unsigned char data[BYTES], area[512];
static _Alignas(16) unsigned char scratch[1024];
static const struct mk_handler_entry *entry;
static uint32_t text; /* flags for count */

static void lane_barrier(struct mk_task *task)
{
	(void)task;
	pthread_barrier_wait(&barrier);
}

struct lane {
	struct mk_task task;
	const void *args;
	int32_t result;
};

static void *run_lane(void *arg)
{
	struct lane *l = arg;

	l->result = entry->run(&l->task, l->args);
	return NULL;
}

/* One slot, by `lanes` lanes; lane 0's result, its value in *value. */
static int32_t run(struct hand_made *h, uint32_t lanes, const void *args,
		   uint64_t *value)
{
	static struct lane lane[LANES_MAX];
	pthread_t thread[LANES_MAX];

	assert_int_equal(pthread_barrier_init(&barrier, NULL, lanes), 0);
	for (uint32_t i = 0; i < lanes; i++) {
		lane[i].task = h->task;
		lane[i].task.lane = i;
		lane[i].task.lanes = lanes;
		lane[i].task.value = 0;
		lane[i].task.scratch = scratch;
		lane[i].task.scratch_bytes = sizeof(scratch);
		lane[i].args = args;
		assert_int_equal(pthread_create(&thread[i], NULL, run_lane,
						&lane[i]), 0);
	}
	for (uint32_t i = 0; i < lanes; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	pthread_barrier_destroy(&barrier);
	for (uint32_t i = 0; i < lanes; i++)
		assert_int_equal(lane[i].result, lane[0].result);
	*value = lane[0].task.value;
	return lane[0].result;
}

static void compare(uint32_t opcode, const struct mk_handler_entry *e,
		    uint32_t lanes, uint64_t bytes, uint64_t chunk)
{
	static struct map_run m;
	static struct hand_made h;
	struct mk_map_args args = { .state_offset = 256 };
	uint64_t at = 0, value = 0;

	entry = e;
	m.text = text;
	map_file(&m, opcode, data, bytes, chunk);
	task_init(&h);
	memset(area, 0xee, sizeof(area));
	args.data = task_buffer(&h, 1, data, BYTES, MK_BUFFER_READ_ONLY);
	args.state = task_buffer(&h, 2, area, sizeof(area), 0);
	do {
		args.offset = at;
		args.bytes = bytes - at < chunk ? bytes - at : chunk;
		args.flags = text | (at ? 0 : MK_MAP_FIRST);
		at += args.bytes;
		args.flags |= at == bytes ? MK_MAP_LAST : 0;
		assert_int_equal(run(&h, lanes, &args, &value), MK_OK);
	} while (at < bytes);
	assert_memory_equal(area + 256, &m.result, 8 + m.result.length);
	assert_true(value == m.h.task.value);
}

static void maps(void **state)
{
	static const uint32_t lanes[] = { 2, 7, LANES_MAX };
	static const uint64_t sizes[] = { 0, 1, 5, 31, 33, 64, 700, BYTES };
	static const uint64_t chunks[] = { 300, BYTES };

	(void)state;
	for (unsigned i = 0; i < BYTES; i++)
		data[i] = (unsigned char)(i * i * 31 >> 3);
	memset(data + 100, ' ', 200);
	memset(data + 400, 'w', 500);
	memset(data + 500, '\1', 200); /* lanes that see neither */
	for (unsigned l = 0; l < 3; l++)
		for (unsigned s = 0; s < 8; s++)
			for (unsigned c = 0; c < 2; c++) {
				compare(MK_OP_SHA256, &mk_entry_sha256,
					lanes[l], sizes[s], chunks[c]);
				compare(MK_OP_CRC32C, &mk_entry_crc32c,
					lanes[l], sizes[s], chunks[c]);
				compare(MK_OP_COUNT, &mk_entry_count,
					lanes[l], sizes[s], chunks[c]);
			}
}

/* Every way to cut this into parts joins to the same counts. */
static void joins(void **state)
{
	static const char text[] = "ab  \1c d\1\1 \1 e\nf\1\n\1\1g  h";

	(void)state;
	memcpy(data, text, sizeof(text));
	for (uint32_t lanes = 2; lanes <= LANES_MAX; lanes++)
		for (uint64_t bytes = 0; bytes < sizeof(text); bytes += 3)
			compare(MK_OP_COUNT, &mk_entry_count, lanes, bytes,
				BYTES);
}

/* A character is the lane's that has its first byte, a piece of one the next
 * chunk's; lanes that have only its middle have nothing. */
static void joins_text(void **state)
{
	static const char words[] = "\u00e9\u00a0\U0001f600 \u2003x\u200b"
				    "\xf0\x9f\x98 \xe3\x80\u3000\xc3";

	(void)state;
	for (size_t i = 0; i < BYTES; i++)
		data[i] = (unsigned char)words[i % (sizeof(words) - 1)];
	text = MK_MAP_UTF8;
	for (uint32_t lanes = 2; lanes <= LANES_MAX; lanes += 3)
		for (uint64_t chunk = 1; chunk < 40; chunk += 5) {
			compare(MK_OP_COUNT, &mk_entry_count, lanes, 77,
				chunk);
			compare(MK_OP_COUNT, &mk_entry_count, lanes,
				chunk + 40, BYTES);
		}
	compare(MK_OP_COUNT, &mk_entry_count, LANES_MAX, BYTES, 333);
	text = 0;
}

static void no_scratch(void **state)
{
	static struct hand_made h;
	struct mk_map_args args = { .bytes = 10, .flags = MK_MAP_FIRST };
	unsigned char block[MK_ARG_BYTES] = { 0 };

	(void)state;
	task_init(&h);
	args.data = task_buffer(&h, 1, data, BYTES, 0);
	args.state = task_buffer(&h, 2, area, sizeof(area), 0);
	memcpy(block, &args, sizeof(args));
	h.task.lanes = LANES_MAX;
	h.task.scratch_bytes = 16;
	assert_int_equal(pthread_barrier_init(&barrier, NULL, 1), 0);
	assert_int_equal(mk_entry_crc32c.run(&h.task, block), -MK_ESCRATCH);
	h.task.error = 0;
	assert_int_equal(mk_entry_count.run(&h.task, block), -MK_ESCRATCH);
	pthread_barrier_destroy(&barrier);
}

/* A word operation happens once, however many lanes there are. */
static void words_once(void **state)
{
	static struct hand_made h;
	struct mk_op_word args = { .word = 1, .operand = 5 };
	struct mk_op_print print = { 1, { 2, 3, 4 } };
	uint64_t value;

	(void)state;
	task_init(&h);
	h.word[1] = 100;
	entry = &mk_entry_add;
	assert_int_equal(run(&h, LANES_MAX, &args, &value), MK_OK);
	assert_true(value == 100 && h.word[1] == 105);
	entry = &mk_entry_print;
	assert_int_equal(run(&h, LANES_MAX, &print, &value), MK_OK);
	assert_true(h.debug.log.cursor == 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maps),
		cmocka_unit_test(joins),
		cmocka_unit_test(joins_text),
		cmocka_unit_test(no_scratch),
		cmocka_unit_test(words_once),
	};

	return cmocka_run_group_tests_name("handlers/lanes", tests, NULL,
					   NULL);
}
