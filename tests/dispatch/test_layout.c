/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes, encoding, and every strict check with the word it names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "buffers.h"

#define ENTRIES 4u
#define RECORDS 4u
#define WORDS 8u

/* ---- sizes -------------------------------------------------------------- */

static void test_sizes(void **state)
{
	(void)state;
	assert_int_equal(mk_control_bytes(1), 2688 + 8);
	assert_int_equal(mk_control_bytes(65536), 2688 + 8 * 65536);
	assert_int_equal(mk_ring_bytes(2), 64 + 2 * 80);
	assert_int_equal(mk_ring_bytes(65536), 64 + 65536 * 80);
	assert_int_equal(mk_log_bytes(1), 64 + 32);
	assert_int_equal(mk_log_bytes(65536), 64 + 65536 * 32);
	assert_int_equal(mk_io_bytes(1), 64 + 64);
	assert_int_equal(mk_io_bytes(65536), 64 + 65536 * 64);
}

static void test_sizes_refused(void **state)
{
	int64_t (*const size[])(uint64_t) = { mk_control_bytes, mk_ring_bytes,
					      mk_log_bytes, mk_io_bytes };
	const uint64_t overflow[] = { (1ull << 32) / 8, (1ull << 32) / 80 + 1,
				      (1ull << 32) / 32, (1ull << 32) / 64 };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(size[i](0), -EINVAL);
		assert_int_equal(size[i](65537), -EINVAL);
		assert_int_equal(size[i](131072), -EINVAL);
		assert_int_equal(size[i](overflow[i]), -MK_EOVERFLOW);
		assert_int_equal(size[i](UINT64_MAX), -MK_EOVERFLOW);
		/* a product that wraps to a small size */
		assert_int_equal(size[i](1ull << 61), -MK_EOVERFLOW);
		if (i) {
			assert_int_equal(size[i](3), -EINVAL);
			assert_int_equal(size[i](65535), -EINVAL);
		}
	}
	assert_int_equal(mk_ring_bytes(1), -EINVAL);
	assert_non_null(strstr(mk_error_last()->text,
			       "ring: entries is 1, must be a power of two, 2 "
			       "to 65536"));
}

/* ---- encoding ----------------------------------------------------------- */

static void test_encode_control(void **state)
{
	const uint64_t words[3] = { 1, UINT64_MAX, 3 };
	struct mk_control_params p = { .size = sizeof(p), .observables = 3,
				       .tenants = 5, .shutdown = 1,
				       .words = words };
	unsigned char data[4096] __attribute__((aligned(8)));
	struct mk_control_info info;
	int64_t bytes;

	(void)state;
	memset(data, 0xee, sizeof(data));
	bytes = mk_control_encode(&p, data, sizeof(data));
	assert_int_equal(bytes, mk_control_bytes(3));
	assert_int_equal(data[bytes], 0xee);
	assert_int_equal(mk_control_decode(data, (uint64_t)bytes, &info), 0);
	assert_int_equal(info.shutdown, 1);
	assert_int_equal(info.tenants, 5);
	assert_int_equal(info.observables, 3);
	assert_int_equal(info.epoch | info.done | info.failed, 0);
	assert_memory_equal(info.words, words, sizeof(words));
	assert_ptr_equal(info.words, data + 2688);

	/* all defaults */
	assert_int_equal(mk_control_encode(NULL, data, sizeof(data)),
			 mk_control_bytes(64));
	assert_int_equal(mk_control_decode(data,
					   (uint64_t)mk_control_bytes(64),
					   &info), 0);
	assert_int_equal(info.tenants, MK_TENANTS);
	assert_int_equal(info.shutdown, 0);
	assert_int_equal(info.words[63], 0);
}

static void test_encode_refused(void **state)
{
	struct mk_control_params p = { .size = sizeof(p) };
	struct {
		struct mk_control_params p;
		uint64_t more;
	} longer = { .p.size = sizeof(longer), .more = 1 };
	unsigned char data[8192] __attribute__((aligned(8)));

	(void)state;
	p.tenants = MK_TENANTS + 1;
	assert_int_equal(mk_control_encode(&p, data, sizeof(data)), -EINVAL);
	p.tenants = 0;
	p.shutdown = 2;
	assert_int_equal(mk_control_encode(&p, data, sizeof(data)), -EINVAL);
	p.shutdown = 0;
	p.observables = 65537;
	assert_int_equal(mk_control_encode(&p, data, sizeof(data)), -EINVAL);
	p.observables = 1;
	assert_int_equal(mk_control_encode(&p, data, 2688 + 7), -MK_ETRUNC);
	assert_int_equal(mk_control_encode(&p, data, 2688 + 8), 2688 + 8);
	assert_int_equal(mk_control_encode(&p, data + 4, 4096), -MK_EALIGN);
	assert_int_equal(mk_control_encode(&p, NULL, 4096), -EINVAL);
	p.size = 4;
	assert_int_equal(mk_control_encode(&p, data, sizeof(data)), -EINVAL);
	assert_int_equal(mk_control_encode(&longer.p, data, sizeof(data)),
			 -E2BIG);
	longer.more = 0;
	assert_int_equal(mk_control_encode(&longer.p, data, sizeof(data)),
			 mk_control_bytes(64));

	assert_int_equal(mk_ring_encode_empty(2, data, 64 + 159), -MK_ETRUNC);
	assert_int_equal(mk_ring_encode_empty(3, data, sizeof(data)),
			 -EINVAL);
	assert_int_equal(mk_ring_encode_empty(2, data + 1, 4096),
			 -MK_EALIGN);
	assert_int_equal(mk_log_encode_empty(4, data, 64 + 127), -MK_ETRUNC);
	assert_int_equal(mk_log_encode_empty(4, data + 4, 4096), -MK_EALIGN);
	assert_int_equal(mk_io_encode_empty(4, data, 64 + 255), -MK_ETRUNC);
	assert_int_equal(mk_io_encode_empty(4, data + 2, 4096), -MK_EALIGN);
	assert_int_equal(mk_io_encode_empty(1ull << 40, data, sizeof(data)),
			 -MK_EOVERFLOW);
}

/* ---- strict checks ------------------------------------------------------ */

static int decode(const struct buffers *b, unsigned part)
{
	struct mk_slot_ending endings[ENTRIES];
	struct mk_log_entry entries[RECORDS];
	struct mk_io_record records[RECORDS];
	struct mk_control_info control;

	switch (part) {
	case MK_PART_CONTROL:
		return mk_control_decode(b->data[0], b->bytes[0], &control);
	case MK_PART_RING:
		return mk_ring_decode(b->data[1], b->bytes[1], endings,
				      ENTRIES);
	case MK_PART_LOG:
		return mk_log_decode(b->data[2], b->bytes[2], entries,
				     RECORDS, NULL);
	default:
		return mk_io_decode(b->data[3], b->bytes[3], records, RECORDS,
				    NULL);
	}
}

/* A valid set with something in each: 2 slots published, one of them ended;
 * 2 records of the log, the older torn; 1 open IO record. */
static void make(struct buffers *b)
{
	struct mk_ring_answer *answers;
	struct mk_debug_record *r;
	struct mk_debug_log *log;
	struct mk_io_record *record;
	struct mk_io_queue *io;

	assert_true(buffers_make(b, WORDS, ENTRIES, RECORDS, RECORDS));
	assert_int_equal(buffers_add(b, ring_slot(MK_OP_NOP)), 0);
	assert_int_equal(buffers_add(b, ring_slot(MK_OP_FENCE)), 1);
	answers = (struct mk_ring_answer *)buffers_slot(b, ENTRIES);
	buffers_slot(b, 0)->state = MK_STATE_DONE;
	answers[0] = (struct mk_ring_answer){ 3, MK_STATE_DONE, 99 };
	log = (struct mk_debug_log *)b->data[2];
	r = (struct mk_debug_record *)(log + 1);
	log->cursor = 2;
	r[1] = (struct mk_debug_record){ .ticket = 8, .format = 5,
					 .stamp = 2 };
	io = (struct mk_io_queue *)b->data[3];
	record = (struct mk_io_record *)(io + 1);
	io->posted = 6;
	io->taken = 5;
	record[1] = (struct mk_io_record){ .op = MK_IO_WRITE, .tag = 77,
					   .stamp = 6 };
}

static void test_decode_valid(void **state)
{
	struct mk_slot_ending e[ENTRIES];
	struct mk_log_entry entry[1];
	struct mk_io_record record[1];
	struct mk_log_info log;
	struct mk_io_info io;
	struct buffers b;

	(void)state;
	make(&b);
	assert_int_equal(mk_ring_decode(b.data[1], b.bytes[1], e, ENTRIES), 2);
	assert_int_equal(e[0].state, MK_STATE_DONE);
	assert_int_equal(e[0].result, 3);
	assert_int_equal(e[0].value, 99);
	assert_int_equal(e[1].slot, 1);
	assert_int_equal(e[1].state, MK_STATE_PUBLISHED);
	assert_int_equal(e[1].opcode, MK_OP_FENCE);
	/* more than there is room for */
	memset(e, 0xee, sizeof(e));
	assert_int_equal(mk_ring_decode(b.data[1], b.bytes[1], e, 1), 2);
	assert_int_equal(e[1].slot, 0xeeeeeeee);
	assert_int_equal(mk_log_decode(b.data[2], b.bytes[2], entry, 1, &log),
			 1);
	assert_int_equal(entry[0].ticket, 8);
	assert_int_equal(log.torn, 1);
	assert_int_equal(log.cursor, 2);
	assert_int_equal(log.capacity, RECORDS);
	assert_int_equal(mk_io_decode(b.data[3], b.bytes[3], record, 1, &io),
			 1);
	assert_int_equal(record[0].tag, 77);
	assert_int_equal(io.posted, 6);
	assert_int_equal(io.taken, 5);
	assert_int_equal(io.torn, 0);
	buffers_free(&b);
}

/* One word of one buffer set to a value, and what is said about it. */
static const struct {
	unsigned part, word;
	uint32_t value;
	int code;
	const char *text;
} spoilt[] = {
	{ 0, 0, MK_MAGIC_RING, MK_ELAYOUT, "control: word 0 (magic): 0x" },
	{ 1, 0, 0, MK_ELAYOUT, "ring: word 0 (magic): 0x00000000, must be" },
	{ 2, 0, 1, MK_ELAYOUT, "debug_log: word 0 (magic): " },
	{ 3, 0, ~0u, MK_ELAYOUT, "io_queue: word 0 (magic): 0xffffffff" },
	{ 0, 1, 2, MK_ELAYOUT, "control: word 1 (abi): 2, this library has" },
	{ 1, 1, 0, MK_ELAYOUT, "ring: word 1 (abi): 0" },
	{ 2, 1, 9, MK_ELAYOUT, "debug_log: word 1 (abi): 9" },
	{ 3, 1, 9, MK_ELAYOUT, "io_queue: word 1 (abi): 9" },
	{ 0, 2, 1, MK_ELAYOUT, "control: word 2 (fingerprint): 0x00000001" },
	{ 1, 2, 1, MK_ELAYOUT, "ring: word 2 (fingerprint)" },
	{ 2, 2, 1, MK_ELAYOUT, "debug_log: word 2 (fingerprint)" },
	{ 3, 2, 1, MK_ELAYOUT, "io_queue: word 2 (fingerprint)" },
	{ 0, 3, 2760, MK_ETRUNC, "control: word 3 (bytes): 2760, but there "
				 "are only 2752" },
	{ 0, 3, 2744, MK_ELAYOUT, "control: word 3 (bytes): 2744, but there "
				  "are 2752" },
	{ 1, 3, 0, MK_ELAYOUT, "ring: word 3 (bytes): 0, but there are 384" },
	{ 1, 3, 0xfffffff8, MK_ETRUNC, "ring: word 3 (bytes): 4294967288" },
	{ 1, 3, 383, MK_EALIGN, "ring: word 3 (bytes): 383, must be a "
				"multiple of 8" },
	{ 2, 3, 200, MK_ETRUNC, "debug_log: word 3 (bytes): 200, but" },
	{ 3, 3, 312, MK_ELAYOUT, "io_queue: word 3 (bytes): 312, but" },
	{ 0, 4, 0, MK_ELAYOUT, "control: word 4 (observables): 0, must be 1" },
	{ 0, 4, 65537, MK_ELAYOUT, "control: word 4 (observables): 65537" },
	{ 0, 4, 9, MK_ETRUNC, "control: word 3 (bytes): 2752, but "
			      "observables 9 takes 2760" },
	{ 0, 4, ~0u, MK_EOVERFLOW, "control: word 4 (observables): "
				   "4294967295 would exceed 32 bits" },
	{ 1, 4, 3, MK_ELAYOUT, "ring: word 4 (entries): 3, must be a power" },
	{ 1, 4, 1, MK_ELAYOUT, "ring: word 4 (entries): 1, must be" },
	{ 1, 4, 0, MK_ELAYOUT, "ring: word 4 (entries): 0, must be" },
	{ 1, 4, 131072, MK_ELAYOUT, "ring: word 4 (entries): 131072" },
	{ 1, 4, 0x80000000, MK_EOVERFLOW, "ring: word 4 (entries): "
					  "2147483648 would exceed" },
	{ 1, 4, 8, MK_ETRUNC, "ring: word 3 (bytes): 384, but entries 8 "
			      "takes 704" },
	{ 1, 4, 2, MK_ELAYOUT, "ring: word 3 (bytes): 384, but entries 2 "
			       "takes 224" },
	{ 2, 4, 0, MK_ELAYOUT, "debug_log: word 4 (capacity): 0" },
	{ 2, 4, 5, MK_ELAYOUT, "debug_log: word 4 (capacity): 5" },
	{ 2, 4, 8, MK_ETRUNC, "debug_log: word 3 (bytes): 192" },
	{ 2, 4, 0x80000000, MK_EOVERFLOW, "debug_log: word 4 (capacity)" },
	{ 3, 4, 6, MK_ELAYOUT, "io_queue: word 4 (capacity): 6" },
	{ 3, 4, 2, MK_ELAYOUT, "io_queue: word 3 (bytes): 320" },
	{ 3, 4, 0x40000000, MK_EOVERFLOW, "io_queue: word 4 (capacity)" },
	{ 0, 5, 2680, MK_ELAYOUT, "control: word 5 (observable_offset): "
				  "2680, must be 2688 or more" },
	{ 0, 5, 0, MK_ELAYOUT, "control: word 5 (observable_offset): 0" },
	{ 0, 5, 2696, MK_ETRUNC, "control: word 5 (observable_offset): 2696; "
				 "8 words from there exceed the 2752 bytes" },
	{ 0, 5, 0xfffffff8, MK_ETRUNC, "control: word 5" },
	{ 0, 5, 2692, MK_EALIGN, "control: word 5 (observable_offset): 2692, "
				 "must be a multiple of 8" },
	{ 0, 6, 0, MK_ELAYOUT, "control: word 6 (tenants): 0, must be 1 to" },
	{ 0, 6, 65, MK_ELAYOUT, "control: word 6 (tenants): 65" },
	{ 0, 14, 1, MK_ELAYOUT, "control: word 14 (reserved): 0x1" },
	{ 0, 15, 1, MK_ELAYOUT, "control: word 15 (reserved): 0x1" },
	{ 0, 154, 1, MK_ELAYOUT, "control: word 154 (reserved)" },
	{ 0, 159, 1, MK_ELAYOUT, "control: word 159 (reserved)" },
	{ 1, 5, 5, MK_ELAYOUT, "ring: word 5 (published): 5 exceeds the 4" },
	{ 1, 6, 1, MK_ELAYOUT, "ring: word 6 (reserved): 0x1, must be 0" },
	{ 1, 15, 8, MK_ELAYOUT, "ring: word 15 (reserved): 0x8, must be 0" },
	{ 2, 5, 1, MK_ELAYOUT, "debug_log: word 5 (reserved)" },
	{ 2, 8, 3, MK_ESTATE, "debug_log: word 8 (drops): 3 exceeds the 2 "
			      "records ever begun" },
	{ 2, 10, 1, MK_ELAYOUT, "debug_log: word 10 (reserved)" },
	{ 2, 15, 1, MK_ELAYOUT, "debug_log: word 15 (reserved)" },
	{ 3, 5, 1, MK_ELAYOUT, "io_queue: word 5 (reserved)" },
	{ 3, 8, 1, MK_ESTATE, "io_queue: word 8 (taken): 1; of 6 posted at "
			      "most the last 4 can be open" },
	{ 3, 8, 7, MK_ESTATE, "io_queue: word 8 (taken): 7" },
	{ 3, 12, 1, MK_ELAYOUT, "io_queue: word 12 (reserved)" },
	{ 3, 15, 1, MK_ELAYOUT, "io_queue: word 15 (reserved)" },
	{ 3, 32, 0, MK_ESTATE, "io_queue: word 32 (record 1, op): 0 is no IO "
			       "operation" },
	{ 3, 32, 4, MK_ESTATE, "io_queue: word 32 (record 1, op): 4" },
	/* slots: 16 words each from word 16; answers: 4 each from word 80 */
	{ 1, 16, 12, MK_ESTATE, "ring: word 16 (slot 0, state): 12 is no "
				"slot state" },
	{ 1, 32, 10, MK_ESTATE, "ring: word 32 (slot 1, state): 10 is no" },
	{ 1, 16, MK_STATE_EMPTY, MK_ESTATE, "ring: word 16 (slot 0, state): "
					    "EMPTY (0), but 2 slots" },
	{ 1, 48, MK_STATE_PUBLISHED, MK_ESTATE,
	  "ring: word 48 (slot 2, state): 1, must be EMPTY (0) from slot 2" },
	{ 1, 64, MK_STATE_DONE, MK_ESTATE, "ring: word 64 (slot 3, state)" },
	{ 1, 16, MK_STATE_FAULT, MK_ESTATE, "ring: word 81 (answer 0, state)"
					    ": 3, must be 7 like its slot" },
	{ 1, 16, MK_STATE_PUBLISHED, MK_ESTATE, "ring: word 81 (answer 0" },
	{ 1, 81, MK_STATE_EMPTY, MK_ESTATE, "ring: word 81 (answer 0, state)"
					    ": 0, must be 3" },
	{ 1, 80, 0xffffffff, MK_ESTATE, "ring: word 80 (answer 0, result): "
					"-1 does not go with state 3" },
	{ 1, 85, MK_STATE_DONE, MK_ESTATE, "ring: word 85 (answer 1, state)" },
	{ 1, 93, MK_STATE_FAULT, MK_ESTATE, "ring: word 93 (answer 3, " },
};

static void expect(int r, int code, const char *text, unsigned i)
{
	if (r != -code || mk_error_last()->code != -code ||
	    !strstr(mk_error_last()->text, text))
		fail_msg("case %u: %d (%s), want %d (%s)", i, r,
			 mk_error_last()->text, -code, text);
}

static void test_words_named(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(spoilt) / sizeof(spoilt[0]); i++) {
		unsigned part = spoilt[i].part;
		struct mk_dispatch_input in;
		struct buffers b;

		make(&b);
		memcpy(b.data[part] + 4 * spoilt[i].word, &spoilt[i].value, 4);
		expect(decode(&b, part), spoilt[i].code, spoilt[i].text, i);
		/* a dispatch checks the same */
		in = buffers_input(&b);
		expect(mk_dispatch_check(&in), spoilt[i].code, spoilt[i].text,
		       i);
		buffers_free(&b);
	}
}

/* States that a ring may be decoded in, but not dispatched. */
static void test_states_in_use(void **state)
{
	const uint32_t in_use[] = { MK_STATE_CLAIMED, MK_STATE_WAIT_IO,
				    MK_STATE_YIELD, MK_STATE_REQUEUE };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct mk_dispatch_input in;
		struct buffers b;
		char text[64];

		make(&b);
		buffers_slot(&b, 1)->state = in_use[i];
		in = buffers_input(&b);
		assert_int_equal(decode(&b, MK_PART_RING), 2);
		snprintf(text, sizeof(text), "ring: word 32 (slot 1, state): "
			 "%u; a slot to dispatch", in_use[i]);
		expect(mk_dispatch_check(&in), MK_ESTATE, text, i);
		buffers_free(&b);
	}
}

/* Every length but the right one is refused, and nothing past it is read:
 * each try has an allocation of its own size for the sanitizers. */
static void test_lengths(void **state)
{
	(void)state;
	for (unsigned part = 0; part < 4; part++) {
		struct buffers good, cut;

		make(&good);
		for (uint64_t n = 0; n <= good.bytes[part] + 16; n++) {
			int r;

			if (n == good.bytes[part])
				continue;
			cut = good;
			cut.data[part] = calloc(1, n ? n : 1);
			assert_non_null(cut.data[part]);
			cut.bytes[part] = n;
			memcpy(cut.data[part], good.data[part],
			       n < good.bytes[part] ? n : good.bytes[part]);
			r = decode(&cut, part);
			if (n < good.bytes[part])
				assert_true(r == -MK_ETRUNC ||
					    r == -MK_EALIGN);
			else
				assert_true(r == -MK_ELAYOUT ||
					    r == -MK_EALIGN);
			if (n % 4 == 0)
				assert_int_not_equal(r, -MK_EALIGN);
			free(cut.data[part]);
		}
		buffers_free(&good);
	}
}

static void test_alignment(void **state)
{
	(void)state;
	for (unsigned part = 0; part < 4; part++)
		for (unsigned off = 1; off < 8; off++) {
			struct buffers good, moved;
			unsigned char *memory;

			make(&good);
			moved = good;
			memory = malloc(good.bytes[part] + 8);
			assert_non_null(memory);
			moved.data[part] = memory + off;
			memcpy(moved.data[part], good.data[part],
			       good.bytes[part]);
			expect(decode(&moved, part), MK_EALIGN,
			       "must be aligned to 8", off);
			free(memory);
			buffers_free(&good);
		}
}

static void test_null(void **state)
{
	struct mk_dispatch_input in;
	struct mk_control_info info;
	struct buffers b;

	(void)state;
	assert_int_equal(mk_control_decode(NULL, 4096, &info), -EINVAL);
	assert_int_equal(mk_ring_decode(NULL, 4096, NULL, 0), -EINVAL);
	assert_int_equal(mk_dispatch_check(NULL), -EINVAL);
	make(&b);
	in = buffers_input(&b);
	assert_int_equal(mk_dispatch_check(&in), 0);
	in.io_queue = (struct mk_bytes){ NULL, 0 };
	assert_int_equal(mk_dispatch_check(&in), 0);
	in.io_queue.bytes = 64;
	assert_int_equal(mk_dispatch_check(&in), -EINVAL);
	in.io_queue = (struct mk_bytes){ b.data[3], 0 };
	assert_int_equal(mk_dispatch_check(&in), -MK_ETRUNC);
	in = buffers_input(&b);
	in.debug_log = (struct mk_bytes){ NULL, 0 };
	assert_int_equal(mk_dispatch_check(&in), -EINVAL);
	buffers_free(&b);
}

/* A control may have a gap before its words, and only its words. */
static void test_control_offset(void **state)
{
	struct mk_control_params p = { .size = sizeof(p), .observables = 8 };
	unsigned char data[4096] __attribute__((aligned(8))) = { 0 };
	struct mk_control *control = (struct mk_control *)data;
	struct mk_control_info info;

	(void)state;
	assert_true(mk_control_encode(&p, data, sizeof(data)) > 0);
	control->header.bytes = sizeof(data);
	control->observable_offset = sizeof(data) - 64;
	data[sizeof(data) - 64] = 42;
	assert_int_equal(mk_control_decode(data, sizeof(data), &info), 0);
	assert_int_equal(info.words[0], 42);
	control->observable_offset += 8;
	assert_int_equal(mk_control_decode(data, sizeof(data), &info),
			 -MK_ETRUNC);
}

/* ---- publishing --------------------------------------------------------- */

static void test_publish(void **state)
{
	struct mk_ring_slot slots[3] = { ring_slot(MK_OP_NOP),
					 ring_slot(MK_OP_LOAD),
					 ring_slot(MK_OP_NOP) };
	struct buffers b;

	(void)state;
	assert_true(buffers_make(&b, 1, ENTRIES, 1, 0));
	slots[1].state = 77; /* not read */
	slots[1].tag = 5;
	slots[1].args[11] = 0xabcd;
	assert_int_equal(mk_ring_publish(b.data[1], b.bytes[1], slots, 3), 0);
	assert_int_equal(mk_ring_publish(b.data[1], b.bytes[1], slots, 0), 3);
	assert_int_equal(mk_ring_publish(b.data[1], b.bytes[1], slots, 2),
			 -ENOSPC);
	assert_non_null(strstr(mk_error_last()->text,
			       "n is 2, but only 1 of 4 slots are empty"));
	assert_int_equal(mk_ring_publish(b.data[1], b.bytes[1], slots, 1), 3);
	assert_int_equal(buffers_add(&b, slots[0]), -ENOSPC);
	assert_int_equal(decode(&b, MK_PART_RING), 4);
	assert_int_equal(buffers_slot(&b, 1)->state, MK_STATE_PUBLISHED);
	assert_int_equal(buffers_slot(&b, 1)->tag, 5);
	assert_int_equal(buffers_slot(&b, 1)->args[11], 0xabcd);
	buffers_free(&b);
}

static void test_publish_refused(void **state)
{
	struct mk_ring_slot bad[2] = { ring_slot(MK_OP_NOP),
				       ring_slot(MK_OP_NOP) };
	struct buffers b, before;

	(void)state;
	assert_true(buffers_make(&b, 1, ENTRIES, 1, 0));
	before.data[1] = malloc(b.bytes[1]);
	assert_non_null(before.data[1]);
	memcpy(before.data[1], b.data[1], b.bytes[1]);
#define REFUSED(field, value, code)                                          \
	do {                                                                 \
		bad[1] = ring_slot(MK_OP_NOP);                               \
		bad[1].field = (value);                                      \
		assert_int_equal(mk_ring_publish(b.data[1], b.bytes[1], bad, \
						 2), -(code));               \
		assert_non_null(strstr(mk_error_last()->text,                \
				       "slot 1: " #field " is "));           \
		assert_memory_equal(b.data[1], before.data[1], b.bytes[1]);  \
	} while (0)
	REFUSED(opcode, MK_OPCODES, MK_EOPCODE);
	REFUSED(opcode, MK_OP_ROW, MK_EOPCODE);
	REFUSED(tenant, MK_TENANTS, MK_ERANGE);
	REFUSED(tiles, 2, MK_ERANGE);
	REFUSED(priority, MK_PRIORITIES, EINVAL);
	REFUSED(flags, MK_SLOT_DEADLINE, EINVAL);
	REFUSED(flags, 0x80, EINVAL);
#undef REFUSED
	/* something stands where the slot would go */
	bad[1] = ring_slot(MK_OP_NOP);
	buffers_slot(&b, 1)->state = MK_STATE_DONE;
	assert_int_equal(mk_ring_publish(b.data[1], b.bytes[1], bad, 2),
			 -MK_ESTATE);
	assert_non_null(strstr(mk_error_last()->text, "ring: word 32"));
	free(before.data[1]);
	buffers_free(&b);
}

/* ---- log and IO records ------------------------------------------------- */

static void log_put(struct buffers *b, uint32_t n)
{
	struct mk_debug_log *log = (struct mk_debug_log *)b->data[2];
	struct mk_debug_record *r = (struct mk_debug_record *)(log + 1);

	for (uint32_t i = 0; i < n; i++, log->cursor++) {
		if (log->cursor >= log->capacity)
			log->drops++;
		r[log->cursor % log->capacity] = (struct mk_debug_record){
			.ticket = log->cursor,
			.stamp = (uint32_t)(log->cursor + 1),
		};
	}
}

/* Whatever overflowed, the last records come back in order. */
static void test_log_overflow(void **state)
{
	struct mk_log_entry e[RECORDS];
	struct mk_log_info info;
	struct buffers b;

	(void)state;
	assert_true(buffers_make(&b, 1, 2, RECORDS, 0));
	for (uint64_t total = 0; total < 41; total++, log_put(&b, 1)) {
		uint64_t first = total > RECORDS ? total - RECORDS : 0;
		int n = mk_log_decode(b.data[2], b.bytes[2], e, RECORDS,
				      &info);

		assert_int_equal(n, total - first);
		for (int i = 0; i < n; i++)
			assert_int_equal(e[i].ticket, first + (uint64_t)i);
		assert_int_equal(info.cursor, total);
		assert_int_equal(info.drops, first);
		assert_int_equal(info.torn, 0);
	}
	/* the stamp has 32 bits; the cursor does not */
	((struct mk_debug_log *)b.data[2])->cursor = (1ull << 32) - 2;
	log_put(&b, 4);
	assert_int_equal(mk_log_decode(b.data[2], b.bytes[2], e, RECORDS,
				       &info), 4);
	assert_true(e[0].ticket == (1ull << 32) - 2);
	assert_true(e[3].ticket == (1ull << 32) + 1);
	buffers_free(&b);
}

static void test_io_torn(void **state)
{
	struct mk_io_record out[RECORDS], *r;
	struct mk_io_queue *io;
	struct mk_io_info info;
	struct buffers b;

	(void)state;
	assert_true(buffers_make(&b, 1, 2, 1, RECORDS));
	io = (struct mk_io_queue *)b.data[3];
	r = (struct mk_io_record *)(io + 1);
	io->posted = 10;
	io->taken = 7;
	io->refused = 3;
	for (uint32_t at = 7; at < 10; at++)
		r[at % RECORDS] = (struct mk_io_record){ .op = MK_IO_READ,
							 .tag = at,
							 .stamp = at + 1 };
	r[8 % RECORDS].stamp = 8 + 1 - RECORDS; /* of the lap before */
	assert_int_equal(mk_io_decode(b.data[3], b.bytes[3], out, RECORDS,
				      &info), 2);
	assert_int_equal(out[0].tag, 7);
	assert_int_equal(out[1].tag, 9);
	assert_int_equal(info.torn, 1);
	assert_int_equal(info.refused, 3);
	assert_int_equal(mk_io_decode(b.data[3], b.bytes[3], out, 1, NULL),
			 2);
	buffers_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_sizes_refused),
		cmocka_unit_test(test_encode_control),
		cmocka_unit_test(test_encode_refused),
		cmocka_unit_test(test_decode_valid),
		cmocka_unit_test(test_words_named),
		cmocka_unit_test(test_states_in_use),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_alignment),
		cmocka_unit_test(test_null),
		cmocka_unit_test(test_control_offset),
		cmocka_unit_test(test_publish),
		cmocka_unit_test(test_publish_refused),
		cmocka_unit_test(test_log_overflow),
		cmocka_unit_test(test_io_torn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
