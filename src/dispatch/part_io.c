/* SPDX-License-Identifier: Apache-2.0 */
/* The IO queue buffer: made, checked, read. */
#include "base/error.h"
#include "dispatch/layout.h"

#define WORD_RESERVED0 5
#define WORD_TAKEN 8
#define WORD_RESERVED 12 /* to 15 */
#define WORD_RECORDS 16
#define RECORD_WORDS 16u

MK_ASSERT_AT(struct mk_io_queue, reserved0, 4 * WORD_RESERVED0);
MK_ASSERT_AT(struct mk_io_queue, taken, 4 * WORD_TAKEN);
MK_ASSERT_AT(struct mk_io_queue, reserved, 4 * WORD_RESERVED);
MK_ASSERT_SIZE(struct mk_io_queue, 4 * WORD_RECORDS);
MK_ASSERT_SIZE(struct mk_io_record, 4 * RECORD_WORDS);

int64_t mk_io_bytes(uint64_t records)
{
	return mk_part_bytes(MK_PART_IO, records, __func__);
}

int64_t mk_io_encode_empty(uint64_t records, void *data, uint64_t bytes)
{
	return mk_part_encode(MK_PART_IO, records, data, bytes, __func__);
}

int mk_io_check(const struct mk_check *c, const void *data, uint64_t bytes,
		struct mk_io_queue *head)
{
	int r;

	r = mk_part_check(c, data, bytes, head);
	if (r < 0)
		return r;
	if (head->posted - head->taken > head->capacity)
		return mk_check_fail(c, -MK_ESTATE, WORD_TAKEN,
				     "(taken): %llu; of %llu posted at most "
				     "the last %u can be open",
				     (unsigned long long)head->taken,
				     (unsigned long long)head->posted,
				     head->capacity);
	r = mk_check_reserved(c, head, WORD_RESERVED0, WORD_RESERVED0);
	if (r < 0)
		return r;
	return mk_check_reserved(c, head, WORD_RESERVED, WORD_RESERVED + 3);
}

/* Walk the open records, oldest first. How many are whole. */
static int walk(const struct mk_check *c, const void *data,
		const struct mk_io_queue *head, struct mk_io_record *out,
		unsigned n, uint32_t *torn)
{
	const struct mk_io_record *records = (const struct mk_io_record *)
			((const struct mk_io_queue *)data + 1);
	uint32_t whole = 0;

	*torn = 0;
	for (uint64_t at = head->taken; at != head->posted; at++) {
		uint32_t i = (uint32_t)at & (head->capacity - 1);
		struct mk_io_record record;

		mk_copy_words(&record, &records[i], sizeof(record));
		/* of another lap: its writer did not finish */
		if ((record.stamp & ~MK_IO_SEEN) != MK_IO_STAMP(at)) {
			++*torn;
			continue;
		}
		if (record.op < MK_IO_READ || record.op > MK_IO_FENCE)
			return mk_check_fail(
				c, -MK_ESTATE,
				WORD_RECORDS + RECORD_WORDS * i,
				"(record %u, op): %u is no IO operation", i,
				record.op);
		if (whole < n)
			out[whole] = record;
		whole++;
	}
	return (int)whole;
}

int mk_io_check_input(const char *operation, const void *data, uint64_t bytes)
{
	struct mk_check c = { .operation = operation, .part = MK_PART_IO };
	struct mk_io_queue head;
	uint32_t torn;
	int r;

	r = mk_io_check(&c, data, bytes, &head);
	return r < 0 ? r : walk(&c, data, &head, NULL, 0, &torn);
}

int mk_io_decode(const void *data, uint64_t bytes, struct mk_io_record *out,
		 unsigned n, struct mk_io_info *info)
{
	struct mk_check c = { .operation = __func__, .part = MK_PART_IO };
	struct mk_io_queue head;
	uint32_t torn;
	int r;

	r = mk_io_check(&c, data, bytes, &head);
	if (!r && n && !out)
		r = mk_error_null(__func__, "out");
	if (r < 0)
		return r;
	r = walk(&c, data, &head, out, n, &torn);
	if (r >= 0 && info)
		*info = (struct mk_io_info){
			.capacity = head.capacity,
			.torn = torn,
			.posted = head.posted,
			.taken = head.taken,
			.refused = head.refused,
		};
	return r;
}
