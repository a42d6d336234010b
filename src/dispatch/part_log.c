/* SPDX-License-Identifier: Apache-2.0 */
/* The debug log buffer: made, checked, read. */
#include "base/error.h"
#include "dispatch/layout.h"

#define WORD_RESERVED0 5
#define WORD_DROPS 8
#define WORD_RESERVED 10 /* to 15 */

MK_ASSERT_AT(struct mk_debug_log, reserved0, 4 * WORD_RESERVED0);
MK_ASSERT_AT(struct mk_debug_log, drops, 4 * WORD_DROPS);
MK_ASSERT_AT(struct mk_debug_log, reserved, 4 * WORD_RESERVED);

int64_t mk_log_bytes(uint64_t records)
{
	return mk_part_bytes(MK_PART_LOG, records, __func__);
}

int64_t mk_log_encode_empty(uint64_t records, void *data, uint64_t bytes)
{
	return mk_part_encode(MK_PART_LOG, records, data, bytes, __func__);
}

int mk_log_check(const struct mk_check *c, const void *data, uint64_t bytes,
		 struct mk_debug_log *head)
{
	int r;

	r = mk_part_check(c, data, bytes, head);
	if (r < 0)
		return r;
	if (head->drops > head->cursor)
		return mk_check_fail(c, -MK_ESTATE, WORD_DROPS,
				     "(drops): %llu exceeds the %llu records "
				     "ever begun",
				     (unsigned long long)head->drops,
				     (unsigned long long)head->cursor);
	r = mk_check_reserved(c, head, WORD_RESERVED0, WORD_RESERVED0);
	if (r < 0)
		return r;
	return mk_check_reserved(c, head, WORD_RESERVED, WORD_RESERVED + 5);
}

int mk_log_check_input(const char *operation, const void *data, uint64_t bytes)
{
	struct mk_check c = { .operation = operation, .part = MK_PART_LOG };
	struct mk_debug_log head;

	return mk_log_check(&c, data, bytes, &head);
}

int mk_log_decode(const void *data, uint64_t bytes, struct mk_log_entry *out,
		  unsigned n, struct mk_log_info *info)
{
	struct mk_check c = { .operation = __func__, .part = MK_PART_LOG };
	const struct mk_debug_record *records;
	struct mk_debug_log head;
	uint64_t first, at;
	uint32_t whole = 0, torn = 0;
	int r;

	r = mk_log_check(&c, data, bytes, &head);
	if (!r && n && !out)
		r = mk_error_null(__func__, "out");
	if (r < 0)
		return r;
	records = (const struct mk_debug_record *)
			((const struct mk_debug_log *)data + 1);
	first = head.cursor > head.capacity ? head.cursor - head.capacity : 0;
	for (at = first; at != head.cursor; at++) {
		struct mk_debug_record record;

		mk_copy_words(&record, &records[at & (head.capacity - 1)],
			      sizeof(record));
		/* of another lap, or 0: its writer did not finish */
		if (record.stamp != (uint32_t)(at + 1)) {
			torn++;
			continue;
		}
		if (whole < n)
			out[whole] = (struct mk_log_entry){
				.ticket = record.ticket,
				.format = record.format,
				.arg = { record.arg[0], record.arg[1],
					 record.arg[2] },
				.worker = record.worker,
			};
		whole++;
	}
	if (info)
		*info = (struct mk_log_info){
			.capacity = head.capacity,
			.torn = torn,
			.cursor = head.cursor,
			.drops = head.drops,
		};
	return (int)whole;
}
