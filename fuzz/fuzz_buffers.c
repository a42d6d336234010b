/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arbitrary bytes as the four buffers of a dispatch.
 *
 * Byte 0 says what is done with the rest:
 *   bits 0-1  the part that the bytes are taken for (decode)
 *   bit 2     give it a header that passes, so that what follows is reached
 *   bits 3-4  0: decode; 1: encode, publish and decode again; 2: run a row
 *             over four buffers; 3: the same with every built-in handler
 *
 * Copies have the exact size of the input, so that a sanitizer sees a step
 * outside. A broken promise aborts.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <megakernel.h>

#include "dispatch/endings.h"
#include "dispatch/layout.h"
#include "engine/cpu/row.h"
#include "module/builtin.h"

#define ENDINGS 64u

volatile uint64_t fuzz_sink; /* what is added to it has to be read */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept)
{
	if (!kept)
		abort();
}

/* A copy in memory of its own; aligned as malloc aligns. */
static unsigned char *copy_of(const uint8_t *data, size_t size, int part,
			      bool fix)
{
	struct mk_wire_header h = { mk_part_layout[part].magic,
				    MK_ABI_VERSION, MK_FINGERPRINT,
				    (uint32_t)size };
	unsigned char *copy = malloc(size ? size : 1);

	if (!copy)
		return NULL;
	if (size)
		memcpy(copy, data, size);
	if (fix && size >= sizeof(h))
		memcpy(copy, &h, sizeof(h));
	return copy;
}

static int decode(int part, const void *data, size_t size)
{
	struct mk_slot_ending endings[ENDINGS];
	struct mk_log_entry entries[ENDINGS];
	struct mk_io_record records[ENDINGS];
	struct mk_control_info control;
	int r;

	switch (part) {
	case MK_PART_CONTROL:
		r = mk_control_decode(data, size, &control);
		for (uint32_t i = 0; !r && i < control.observables; i++)
			fuzz_sink += control.words[i];
		promise(r <= 0);
		return r;
	case MK_PART_RING:
		r = mk_ring_decode(data, size, endings, ENDINGS);
		promise(r <= (int)MK_RING_ENTRIES_MAX);
		return r;
	case MK_PART_LOG:
		r = mk_log_decode(data, size, entries, ENDINGS, NULL);
		promise(r <= (int)MK_RECORDS_MAX);
		return r;
	default:
		r = mk_io_decode(data, size, records, ENDINGS, NULL);
		promise(r <= (int)MK_RECORDS_MAX);
		return r;
	}
}

/* What may be dispatched can be decoded, and every failure has its words. */
static void run_decode(const uint8_t *data, size_t size, int part, bool fix)
{
	unsigned char *copy = copy_of(data, size, part, fix);
	int r, input;

	if (!copy)
		return;
	r = decode(part, copy, size);
	input = mk_input_check("fuzz", part, copy, size);
	promise(r >= 0 || input < 0);
	if (input < 0)
		promise(mk_error_last()->code == input &&
			!strncmp(mk_error_last()->text,
				 mk_part_layout[part].name,
				 strlen(mk_part_layout[part].name)));
	free(copy);
}

/* Whatever is published comes back as it was, and a refused slot changes
 * nothing. */
static void run_publish(const uint8_t *data, size_t size)
{
	_Alignas(8) unsigned char ring[64 + 64 * 80], before[64 + 64 * 80];
	struct mk_slot_ending endings[ENDINGS];
	int64_t bytes = mk_ring_encode_empty(64, ring, sizeof(ring));
	int published = 0;

	promise(bytes == (int64_t)sizeof(ring));
	for (; size >= sizeof(struct mk_ring_slot);
	     data += sizeof(struct mk_ring_slot),
	     size -= sizeof(struct mk_ring_slot)) {
		struct mk_ring_slot slot;
		int r;

		memcpy(&slot, data, sizeof(slot));
		memcpy(before, ring, sizeof(ring));
		r = mk_ring_publish(ring, sizeof(ring), &slot, 1);
		if (r < 0) {
			promise(!memcmp(before, ring, sizeof(ring)));
			continue;
		}
		promise(r == published);
		published++;
		promise(mk_ring_decode(ring, sizeof(ring), endings,
				       ENDINGS) == published);
		promise(endings[r].opcode == slot.opcode &&
			endings[r].tag == slot.tag &&
			endings[r].state == MK_STATE_PUBLISHED);
	}
	promise(mk_ring_check_input("fuzz", ring, sizeof(ring)) == published);
}

/* ---- rows ---------------------------------------------------------------- */

static const struct mk_handler_entry *find(void *all, uint32_t opcode)
{
	/* these write no buffer but by the rules of the row's own */
	static const uint32_t tame = 1u << MK_OP_NOP | 1u << MK_OP_STORE |
				     1u << MK_OP_ADD | 1u << MK_OP_LOAD |
				     1u << MK_OP_CAS | 1u << MK_OP_PRINT |
				     1u << MK_OP_SHUTDOWN;

	if (!*(bool *)all && (opcode > 31 || !(tame >> opcode & 1)))
		return NULL;
	return mk_builtin_find(opcode);
}

struct row {
	unsigned char *part[MK_PARTS];
	size_t bytes[MK_PARTS];
	struct mk_window windows[MK_PARTS + 1];
};

/* Lengths of three parts as 16-bit numbers, then the parts; the rest is the
 * fourth. */
static bool row_split(struct row *row, const uint8_t *data, size_t size,
		      bool fix)
{
	uint16_t length[3];
	bool ok = true;

	memset(row, 0, sizeof(*row));
	if (size < sizeof(length))
		return false;
	memcpy(length, data, sizeof(length));
	data += sizeof(length);
	size -= sizeof(length);
	for (int i = 0; i < (int)MK_PARTS; i++) {
		size_t n = i < 3 && length[i] < size ? length[i] : size;

		row->part[i] = copy_of(data, n, i, fix);
		row->bytes[i] = n;
		ok &= row->part[i] != NULL;
		row->windows[i + 1] = (struct mk_window){
			.base = (uintptr_t)row->part[i],
			.bytes = n,
			.generation = 1,
			.last = 1,
		};
		data += n;
		size -= n;
	}
	return ok;
}

/* A row that could be dispatched: it ran, so every slot has ended and was
 * counted. */
static void row_promises(const struct row *row, uint64_t sum_before,
			 uint64_t answered)
{
	struct mk_slot_ending endings[ENDINGS];
	struct mk_control_info control;
	int n = mk_ring_decode(row->part[1], row->bytes[1], endings, ENDINGS);

	promise(n >= 0 && answered <= (uint64_t)n);
	for (int i = 0; i < n && i < (int)ENDINGS; i++)
		promise(mk_state_ended(endings[i].state));
	promise(!mk_control_decode(row->part[0], row->bytes[0], &control));
	promise(control.done + control.failed - sum_before == answered);
	promise(mk_log_decode(row->part[2], row->bytes[2], NULL, 0, NULL) >=
		0);
}

static void run_row(const uint8_t *data, size_t size, bool fix, bool all)
{
	_Alignas(16) unsigned char scratch[4096];
	const struct mk_row_env env = { .find = find,
						 .arg = &all };
	struct mk_op_row args = { { 1, 1 }, { 2, 1 }, { 3, 1 }, { 4, 1 } };
	struct mk_control_info before;
	struct row row;
	struct mk_task task = {
		.windows = row.windows,
		.window_count = MK_PARTS + 1,
		.deadline_ns = UINT64_MAX,
		.scratch = scratch,
		.scratch_bytes = sizeof(scratch),
		.lanes = 1,
		.tiles = 1,
	};
	bool good;
	int r;

	if (row_split(&row, data, size, fix)) {
		if (!row.bytes[3])
			args.io_queue = (struct mk_ref){ 0, 0 };
		good = !mk_control_decode(row.part[0], row.bytes[0],
					  &before) &&
		       mk_ring_check_input("fuzz", row.part[1],
					   row.bytes[1]) >= 0;
		r = mk_cpu_row_run(&task, &args, &env);
		promise(r <= 0);
		if (!r && good && !all)
			row_promises(&row, before.done + before.failed,
				     task.value);
	}
	for (int i = 0; i < (int)MK_PARTS; i++)
		free(row.part[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t how;
	bool fix;

	if (!size)
		return 0;
	how = *data++;
	size--;
	fix = how & 4;
	switch (how >> 3 & 3) {
	case 0:
		run_decode(data, size, how & 3, fix);
		break;
	case 1:
		run_publish(data, size);
		break;
	default:
		run_row(data, size, fix, (how >> 3 & 3) == 3);
		break;
	}
	return 0;
}
