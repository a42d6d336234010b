/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatch/layout.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/error.h"

#define WORD_MAGIC 0
#define WORD_ABI 1
#define WORD_FINGERPRINT 2
#define WORD_BYTES 3
#define WORD_COUNT 4

const struct mk_part_layout mk_part_layout[MK_PARTS] = {
	[MK_PART_CONTROL] = { "control", "observables", MK_MAGIC_CONTROL,
			      sizeof(struct mk_control), sizeof(uint64_t), 1,
			      MK_OBSERVABLES_MAX, false },
	[MK_PART_RING] = { "ring", "entries", MK_MAGIC_RING,
			   sizeof(struct mk_ring),
			   sizeof(struct mk_ring_slot) +
				   sizeof(struct mk_ring_answer),
			   MK_RING_ENTRIES_MIN, MK_RING_ENTRIES_MAX, true },
	[MK_PART_LOG] = { "debug_log", "capacity", MK_MAGIC_LOG,
			  sizeof(struct mk_debug_log),
			  sizeof(struct mk_debug_record), 1, MK_RECORDS_MAX,
			  true },
	[MK_PART_IO] = { "io_queue", "capacity", MK_MAGIC_IO,
			 sizeof(struct mk_io_queue),
			 sizeof(struct mk_io_record), 1, MK_RECORDS_MAX,
			 true },
};

int mk_check_fail(const struct mk_check *c, int code, uint64_t word,
		  const char *format, ...)
{
	char text[256], at[40] = "";
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (word != MK_NO_WORD)
		snprintf(at, sizeof(at), "word %" PRIu64 " ", word);
	return mk_error_set(code, 0, c->operation, "%s: %s%s",
			    mk_part_layout[c->part].name, at, text);
}

static uint64_t formula(const struct mk_part_layout *l, uint64_t count)
{
	return l->fixed + count * l->each;
}

static bool count_overflows(const struct mk_part_layout *l, uint64_t count)
{
	return count > (UINT32_MAX - l->fixed) / l->each;
}

static bool count_bad(const struct mk_part_layout *l, uint64_t count)
{
	return count < l->min || count > l->max ||
	       (l->power && (count & (count - 1)));
}

int64_t mk_part_bytes(enum mk_part part, uint64_t count, const char *operation)
{
	const struct mk_part_layout *l = &mk_part_layout[part];

	if (count_overflows(l, count))
		return mk_error_set(-MK_EOVERFLOW, 0, operation,
				    "%s: %s is %" PRIu64 "; the buffer would "
				    "exceed 32 bits of bytes: at most %u",
				    l->name, l->count_name, count, l->max);
	if (count_bad(l, count))
		return mk_error_set(-EINVAL, 0, operation,
				    "%s: %s is %" PRIu64 ", must be %s%u to %u",
				    l->name, l->count_name, count,
				    l->power ? "a power of two, " : "",
				    l->min, l->max);
	return (int64_t)formula(l, count);
}

/* Where a buffer lies and how long it is, before anything of it is read. */
static int check_place(const struct mk_check *c, const void *data,
		       uint64_t bytes, uint64_t least)
{
	if (!data)
		return mk_check_fail(c, -EINVAL, MK_NO_WORD, "data is NULL");
	if ((uintptr_t)data % 8)
		return mk_check_fail(c, -MK_EALIGN, MK_NO_WORD,
				     "data is at %p, must be aligned to 8",
				     data);
	if (bytes < least)
		return mk_check_fail(c, -MK_ETRUNC, bytes / 4,
				     "(after the end): there are %" PRIu64
				     " bytes, must be %" PRIu64 " or more",
				     bytes, least);
	return 0;
}

int64_t mk_part_encode(enum mk_part part, uint64_t count, void *data,
		       uint64_t bytes, const char *operation)
{
	struct mk_check c = { .operation = operation, .part = part };
	struct mk_wire_header *header = data;
	int64_t takes = mk_part_bytes(part, count, operation);
	int r;

	if (takes < 0)
		return takes;
	r = check_place(&c, data, bytes, (uint64_t)takes);
	if (r < 0)
		return r;
	memset(data, 0, (size_t)takes);
	header->magic = mk_part_layout[part].magic;
	header->abi = MK_ABI_VERSION;
	header->fingerprint = MK_FINGERPRINT;
	header->bytes = (uint32_t)takes;
	((uint32_t *)data)[WORD_COUNT] = (uint32_t)count;
	return takes;
}

static int check_header(const struct mk_check *c, uint64_t bytes,
			const struct mk_wire_header *h)
{
	const struct mk_part_layout *l = &mk_part_layout[c->part];

	if (h->magic != l->magic)
		return mk_check_fail(c, -MK_ELAYOUT, WORD_MAGIC,
				     "(magic): 0x%08x, must be 0x%08x",
				     h->magic, l->magic);
	if (h->abi != MK_ABI_VERSION)
		return mk_check_fail(c, -MK_ELAYOUT, WORD_ABI,
				     "(abi): %u, this library has %u", h->abi,
				     MK_ABI_VERSION);
	if (h->fingerprint != MK_FINGERPRINT)
		return mk_check_fail(c, -MK_ELAYOUT, WORD_FINGERPRINT,
				     "(fingerprint): 0x%08x, this library has "
				     "0x%08x", h->fingerprint, MK_FINGERPRINT);
	if (h->bytes % 8)
		return mk_check_fail(c, -MK_EALIGN, WORD_BYTES,
				     "(bytes): %u, must be a multiple of 8",
				     h->bytes);
	if (h->bytes > bytes)
		return mk_check_fail(c, -MK_ETRUNC, WORD_BYTES,
				     "(bytes): %u, but there are only %" PRIu64,
				     h->bytes, bytes);
	if (h->bytes < bytes && !c->longer)
		return mk_check_fail(c, -MK_ELAYOUT, WORD_BYTES,
				     "(bytes): %u, but there are %" PRIu64,
				     h->bytes, bytes);
	return 0;
}

static int check_count(const struct mk_check *c, uint32_t bytes,
		       uint32_t count)
{
	const struct mk_part_layout *l = &mk_part_layout[c->part];
	uint64_t takes = formula(l, count);

	if (count_overflows(l, count))
		return mk_check_fail(c, -MK_EOVERFLOW, WORD_COUNT,
				     "(%s): %u would exceed 32 bits of bytes",
				     l->count_name, count);
	if (count_bad(l, count))
		return mk_check_fail(c, -MK_ELAYOUT, WORD_COUNT,
				     "(%s): %u, must be %s%u to %u",
				     l->count_name, count,
				     l->power ? "a power of two, " : "",
				     l->min, l->max);
	/* a control may have a gap before its words */
	if (bytes < takes)
		return mk_check_fail(c, -MK_ETRUNC, WORD_BYTES,
				     "(bytes): %u, but %s %u takes %" PRIu64,
				     bytes, l->count_name, count, takes);
	if (bytes > takes && c->part != MK_PART_CONTROL)
		return mk_check_fail(c, -MK_ELAYOUT, WORD_BYTES,
				     "(bytes): %u, but %s %u takes %" PRIu64,
				     bytes, l->count_name, count, takes);
	return 0;
}

int mk_part_check(const struct mk_check *c, const void *data, uint64_t bytes,
		  void *head)
{
	const struct mk_part_layout *l = &mk_part_layout[c->part];
	const uint32_t *word = head;
	int r;

	r = check_place(c, data, bytes, l->fixed);
	if (r < 0)
		return r;
	if (bytes % 4)
		return mk_check_fail(c, -MK_EALIGN, bytes / 4,
				     "(the last): %" PRIu64 " bytes are no "
				     "whole number of 32-bit words", bytes);
	mk_copy_words(head, data, l->fixed);
	r = check_header(c, bytes, head);
	if (r < 0)
		return r;
	return check_count(c, word[WORD_BYTES], word[WORD_COUNT]);
}

int mk_check_reserved(const struct mk_check *c, const void *head,
		      unsigned first, unsigned last)
{
	const uint32_t *word = head;

	for (unsigned i = first; i <= last; i++)
		if (word[i])
			return mk_check_fail(c, -MK_ELAYOUT, i,
					     "(reserved): 0x%x, must be 0",
					     word[i]);
	return 0;
}
