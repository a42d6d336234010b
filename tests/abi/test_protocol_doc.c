/* SPDX-License-Identifier: Apache-2.0 */
/*
 * docs/protocol.md says the same as megakernel/abi.h: every struct, with its
 * size; every field, with offset and size, and no byte between two fields;
 * every constant; every code with its text. What is in one and not in the
 * other is an error, in both directions. The same for the module file and the
 * packets of the worker's socket, and the number of each op.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <megakernel/abi.h>

#include "engine/cuda/bundle.h"
#include "module/mkm.h"
#include "worker/message.h"

/* ---- the header's side -------------------------------------------------- */

/* S(struct), then its fields F(struct, field), in order. */
#define STRUCTS(S, F)                                                       \
	S(mk_wire_slot) F(mk_wire_slot, unit)                               \
	S(mk_wire_unit) F(mk_wire_unit, lo) F(mk_wire_unit, hi)             \
	S(mk_wire_ext) F(mk_wire_ext, deadline_ns) F(mk_wire_ext, cancel)   \
	F(mk_wire_ext, begun) F(mk_wire_ext, counters)                      \
	F(mk_wire_ext, wait_value) F(mk_wire_ext, wait_word)                \
	F(mk_wire_ext, raise)                                               \
	S(mk_wire_completion) F(mk_wire_completion, head)                   \
	F(mk_wire_completion, value)                                        \
	S(mk_queue_block) F(mk_queue_block, header)                         \
	F(mk_queue_block, entries) F(mk_queue_block, reserved0)             \
	F(mk_queue_block, first_ticket) F(mk_queue_block, slots_offset)     \
	F(mk_queue_block, completions_offset)                               \
	F(mk_queue_block, ext_offset) F(mk_queue_block, control_offset)     \
	F(mk_queue_block, log_offset) F(mk_queue_block, io_offset)          \
	F(mk_queue_block, reserved1) F(mk_queue_block, mode)                \
	F(mk_queue_block, reserved2) F(mk_queue_block, claim)               \
	F(mk_queue_block, mode_seen) F(mk_queue_block, reserved6)           \
	F(mk_queue_block, reserved3) F(mk_queue_block, waiters)             \
	F(mk_queue_block, armed) F(mk_queue_block, reserved4)               \
	F(mk_queue_block, event) F(mk_queue_block, reserved5)               \
	S(mk_wire_header) F(mk_wire_header, magic) F(mk_wire_header, abi)   \
	F(mk_wire_header, fingerprint) F(mk_wire_header, bytes)             \
	S(mk_context_block) F(mk_context_block, header)                     \
	F(mk_context_block, total_bytes) F(mk_context_block, shared_bytes)  \
	F(mk_context_block, workers) F(mk_context_block, workers_offset)    \
	F(mk_context_block, reserved0) F(mk_context_block, state)           \
	F(mk_context_block, error) F(mk_context_block, launches)            \
	F(mk_context_block, pulse)                                          \
	F(mk_context_block, reserved1)                                       \
	F(mk_context_block, bell) F(mk_context_block, reserved2)            \
	F(mk_context_block, attention) F(mk_context_block, reserved3)       \
	F(mk_context_block, words_native) F(mk_context_block, reserved4)    \
	F(mk_context_block, words)                                          \
	S(mk_worker_block) F(mk_worker_block, ticket)                       \
	F(mk_worker_block, queue) F(mk_worker_block, opcode)                \
	F(mk_worker_block, running) F(mk_worker_block, beat)                \
	F(mk_worker_block, started_ns) F(mk_worker_block, fault_address)    \
	F(mk_worker_block, fault_signal) F(mk_worker_block, fault_code)     \
	F(mk_worker_block, reserved0) F(mk_worker_block, slots)             \
	F(mk_worker_block, failed) F(mk_worker_block, cancelled)            \
	F(mk_worker_block, sleeps) F(mk_worker_block, wakes)                \
	F(mk_worker_block, spawned) F(mk_worker_block, spawned_ended)       \
	F(mk_worker_block, tiles) F(mk_worker_block, tenant)                \
	F(mk_worker_block, priority) F(mk_worker_block, opcodes)            \
	S(mk_ref) F(mk_ref, index) F(mk_ref, generation)                    \
	S(mk_op_word) F(mk_op_word, word) F(mk_op_word, reserved)           \
	F(mk_op_word, operand) F(mk_op_word, expected)                      \
	S(mk_op_copy) F(mk_op_copy, source) F(mk_op_copy, target)           \
	F(mk_op_copy, source_offset) F(mk_op_copy, target_offset)           \
	F(mk_op_copy, bytes)                                                \
	S(mk_op_print) F(mk_op_print, format) F(mk_op_print, arg)           \
	S(mk_op_row) F(mk_op_row, control) F(mk_op_row, ring)               \
	F(mk_op_row, debug_log) F(mk_op_row, io_queue)                      \
	S(mk_control) F(mk_control, header) F(mk_control, observables)      \
	F(mk_control, observable_offset) F(mk_control, tenants)             \
	F(mk_control, shutdown) F(mk_control, epoch) F(mk_control, done)    \
	F(mk_control, failed) F(mk_control, reserved)                       \
	F(mk_control, tenant_done) F(mk_control, priority_done)             \
	F(mk_control, opcode_done)                                          \
	S(mk_ring) F(mk_ring, header) F(mk_ring, entries)                   \
	F(mk_ring, published) F(mk_ring, reserved)                          \
	S(mk_ring_slot) F(mk_ring_slot, state) F(mk_ring_slot, opcode)      \
	F(mk_ring_slot, tenant) F(mk_ring_slot, priority)                   \
	F(mk_ring_slot, flags) F(mk_ring_slot, tiles) F(mk_ring_slot, tag)  \
	F(mk_ring_slot, args)                                               \
	S(mk_ring_answer) F(mk_ring_answer, result)                         \
	F(mk_ring_answer, state) F(mk_ring_answer, value)                   \
	S(mk_debug_log) F(mk_debug_log, header) F(mk_debug_log, capacity)   \
	F(mk_debug_log, reserved0) F(mk_debug_log, cursor)                  \
	F(mk_debug_log, drops) F(mk_debug_log, reserved)                    \
	S(mk_debug_record) F(mk_debug_record, ticket)                       \
	F(mk_debug_record, format) F(mk_debug_record, arg)                  \
	F(mk_debug_record, worker) F(mk_debug_record, stamp)                \
	S(mk_io_queue) F(mk_io_queue, header) F(mk_io_queue, capacity)      \
	F(mk_io_queue, reserved0) F(mk_io_queue, posted)                    \
	F(mk_io_queue, taken) F(mk_io_queue, refused)                       \
	F(mk_io_queue, reserved)                                            \
	S(mk_io_record) F(mk_io_record, op) F(mk_io_record, buffer_offset)  \
	F(mk_io_record, tag) F(mk_io_record, source)                        \
	F(mk_io_record, target) F(mk_io_record, offset)                     \
	F(mk_io_record, bytes) F(mk_io_record, ticket)                      \
	F(mk_io_record, stamp) F(mk_io_record, status)

/* What is not in abi.h: the module file, the socket. */
#define PACKETS(S, F) \
	S(mk_mkm_header) F(mk_mkm_header, magic) \
	F(mk_mkm_header, version) F(mk_mkm_header, images) \
	F(mk_mkm_header, abi) F(mk_mkm_header, fingerprint) \
	F(mk_mkm_header, handlers) F(mk_mkm_header, reserved) \
	F(mk_mkm_header, key) F(mk_mkm_header, file_bytes) \
	F(mk_mkm_header, check) \
	S(mk_mkm_image) F(mk_mkm_image, engine) \
	F(mk_mkm_image, target) F(mk_mkm_image, offset) \
	F(mk_mkm_image, bytes) F(mk_mkm_image, hash) \
	S(mkc_bundle_header) F(mkc_bundle_header, magic) \
	F(mkc_bundle_header, count) F(mkc_bundle_header, reserved) \
	F(mkc_bundle_header, text_bytes) F(mkc_bundle_header, bytes) \
	S(mkc_bundle_entry) F(mkc_bundle_entry, major) \
	F(mkc_bundle_entry, minor) F(mkc_bundle_entry, program) \
	F(mkc_bundle_entry, offset) F(mkc_bundle_entry, bytes) \
	S(mk_message_head) F(mk_message_head, magic) \
	F(mk_message_head, bytes) F(mk_message_head, abi) \
	F(mk_message_head, fingerprint) F(mk_message_head, op) \
	F(mk_message_head, fds) F(mk_message_head, count) \
	F(mk_message_head, result) F(mk_message_head, sequence) \
	F(mk_message_head, deadline_ns) \
	S(mk_message_hello) F(mk_message_hello, engine) \
	F(mk_message_hello, config) \
	S(mk_engine_config) F(mk_engine_config, device) \
	F(mk_engine_config, workers) F(mk_engine_config, windows) \
	F(mk_engine_config, scratch_bytes) \
	F(mk_engine_config, idle_ns) \
	F(mk_engine_config, shared_bytes) \
	F(mk_engine_config, total_bytes) \
	F(mk_engine_config, sm_count) F(mk_engine_config, made_mode) \
	F(mk_engine_config, native_context) \
	F(mk_engine_config, native_stream) \
	F(mk_engine_config, cache) F(mk_engine_config, made_entries) \
	F(mk_engine_config, heartbeat) F(mk_engine_config, reserved) \
	F(mk_engine_config, cache_dir) \
	S(mk_message_target) F(mk_message_target, index) \
	F(mk_message_target, reserved) \
	F(mk_message_target, timeout_ns) \
	S(mk_queue_desc) F(mk_queue_desc, index) \
	F(mk_queue_desc, priority) F(mk_queue_desc, block_offset) \
	F(mk_queue_desc, block_bytes) F(mk_queue_desc, entries) \
	F(mk_queue_desc, slots_offset) \
	F(mk_queue_desc, completions_offset) \
	F(mk_queue_desc, ext_offset) \
	F(mk_queue_desc, control_offset) \
	F(mk_queue_desc, log_offset) F(mk_queue_desc, io_offset) \
	F(mk_queue_desc, observables) F(mk_queue_desc, log_records) \
	F(mk_queue_desc, io_records) F(mk_queue_desc, first_ticket) \
	F(mk_queue_desc, skip_until) \
	S(mk_buffer_desc) F(mk_buffer_desc, index) \
	F(mk_buffer_desc, generation) F(mk_buffer_desc, offset) \
	F(mk_buffer_desc, bytes) F(mk_buffer_desc, flags) \
	F(mk_buffer_desc, born) F(mk_buffer_desc, origin) \
	F(mk_buffer_desc, reserved) F(mk_buffer_desc, address) \
	F(mk_buffer_desc, handle) \
	S(mk_message_copy) F(mk_message_copy, index) \
	F(mk_message_copy, flags) F(mk_message_copy, offset) \
	F(mk_message_copy, staging) F(mk_message_copy, bytes) \
	S(mk_message_module) F(mk_message_module, id) \
	F(mk_message_module, max) F(mk_message_module, flags) \
	F(mk_message_module, reserved) F(mk_message_module, map) \
	S(mk_opcode_map) F(mk_opcode_map, name) \
	F(mk_opcode_map, opcode) F(mk_opcode_map, reserved) \
	S(mk_answer) F(mk_answer, head) F(mk_answer, error) \
	F(mk_answer, handlers) \
	S(mk_error) F(mk_error, code) F(mk_error, native) \
	F(mk_error, operation) F(mk_error, text) \
	S(mk_handler_info) F(mk_handler_info, name) \
	F(mk_handler_info, opcode) F(mk_handler_info, arg_bytes) \
	F(mk_handler_info, width) F(mk_handler_info, builtin) \
	F(mk_handler_info, reserved) F(mk_handler_info, module)

#define CONSTANTS(C)                                                        \
	C(MK_ABI_VERSION) C(MK_SLOT_BYTES) C(MK_COMPLETION_BYTES)           \
	C(MK_ARG_WORDS) C(MK_ARG_BYTES) C(MK_RING_ENTRIES_MIN)              \
	C(MK_RING_ENTRIES_MAX) C(MK_OPCODES) C(MK_OPCODE_USER)              \
	C(MK_TENANTS) C(MK_PRIORITIES) C(MK_RESIDENT_HANDLES)               \
	C(MK_HANDLER_NAME_BYTES) C(MK_LINE) C(MK_MARK_SHIFT)                \
	C(MK_WORDS_BYTES) C(MK_NO_QUEUE)                                    \
	C(MK_MAGIC_CONTROL) C(MK_MAGIC_RING) C(MK_MAGIC_LOG)                \
	C(MK_MAGIC_IO) C(MK_MAGIC_CONTEXT) C(MK_MAGIC_QUEUE)                \
	C(MK_SLOT_DEADLINE) C(MK_SLOT_IDEMPOTENT) C(MK_SLOT_WAIT)           \
	C(MK_SLOT_RAISE) C(MK_SLOT_AFTER) C(MK_SLOT_FLAGS)                  \
	C(MK_COUNTER_FAILED)                                                \
	C(MK_NO_COUNTER) C(MK_RAISE_MAX)                                    \
	C(MK_BEGUN) C(MK_BEGUN_WAITS) C(MK_BEGUN_STEP)                      \
	C(MK_PRIORITY_CRITICAL) C(MK_PRIORITY_HIGH) C(MK_PRIORITY_NORMAL)   \
	C(MK_PRIORITY_LOW) C(MK_PRIORITY_IDLE)                              \
	C(MK_OP_NOP) C(MK_OP_STORE) C(MK_OP_ADD) C(MK_OP_LOAD) C(MK_OP_CAS) \
	C(MK_OP_COPY) C(MK_OP_FENCE) C(MK_OP_PRINT) C(MK_OP_SHUTDOWN)       \
	C(MK_OP_ROW) C(MK_OP_SHA256) C(MK_OP_CRC32C) C(MK_OP_COUNT)         \
	C(MK_OP_SCAN)                                                       \
	C(MK_STATE_EMPTY) C(MK_STATE_PUBLISHED) C(MK_STATE_CLAIMED)         \
	C(MK_STATE_DONE) C(MK_STATE_WAIT_IO) C(MK_STATE_YIELD)              \
	C(MK_STATE_REQUEUE) C(MK_STATE_FAULT) C(MK_STATE_CANCELLED)         \
	C(MK_STATE_EXPIRED) C(MK_IO_READ) C(MK_IO_WRITE) C(MK_IO_FENCE)     \
	C(MK_IO_OPEN) C(MK_IO_DONE) C(MK_IO_SHORT) C(MK_IO_SEEN)            \
	C(MK_ENGINE_STARTING) C(MK_ENGINE_READY) C(MK_ENGINE_PAUSED)        \
	C(MK_ENGINE_STOPPED) C(MK_ENGINE_FAILED) C(MK_MODE_RUN)             \
	C(MK_MODE_CANCEL) C(MK_MODE_CANCEL_SOME) C(MK_MODE_TOLD)             \
	C(MK_ATTENTIVE)                                                      \
	C(MK_ASLEEP) C(MK_HANDED)

/* A struct (field ""), a field of one, a constant (text "") or a code. */
struct known {
	const char *name, *field, *text;
	uint64_t offset, bytes; /* or value, 0 */
	bool seen;              /* in the document */
};

static struct known structs[] = {
#define S(s) { #s, "", "", 0, sizeof(struct s), false },
#define F(s, f) { #s, #f, "", offsetof(struct s, f),                       \
		  sizeof(((struct s *)0)->f), false },
	STRUCTS(S, F) PACKETS(S, F)
#undef S
#undef F
};

static struct known values[] = {
#define C(name) { #name, "", "", (uint64_t)(name), 0, false },
#define CODE(name, value, text) \
	{ #name, "", text, (uint64_t)(value), 0, false },
	CONSTANTS(C) MK_CODES(CODE)
#undef C
#undef CODE
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- reading ------------------------------------------------------------ */

static unsigned wrong;

#define WRONG(...) (wrong++, print_error(__VA_ARGS__))

static FILE *source_open(const char *path)
{
	const char *root = getenv("MEGAKERNEL_SOURCE");
	char name[4096];
	FILE *file;

	snprintf(name, sizeof(name), "%s/%s", root ? root : ".", path);
	file = fopen(name, "r");
	if (!file)
		fail_msg("%s cannot be read; set MEGAKERNEL_SOURCE", name);
	return file;
}

/* Cells of a table row, trimmed, without their backticks. How many. */
static int row_cells(char *line, char **cell, int most)
{
	int n = 0;
	char *bar, *end;

	if (*line != '|')
		return 0;
	for (line++; n < most && (bar = strchr(line, '|')); line = bar + 1) {
		*bar = '\0';
		while (*line == ' ' || *line == '`')
			line++;
		end = line + strlen(line);
		while (end > line && (end[-1] == ' ' || end[-1] == '`'))
			*--end = '\0';
		cell[n++] = line;
	}
	return n;
}

static bool number(const char *text, uint64_t *out)
{
	char *end;

	*out = strtoull(text, &end, 0);
	return *text >= '0' && *text <= '9' && !*end;
}

static struct known *find(struct known *in, size_t count, const char *name,
			  const char *field)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(in[i].name, name) && !strcmp(in[i].field, field))
			return &in[i];
	return NULL;
}

static void once(struct known *k)
{
	if (k->seen)
		WRONG("%s.%s is in the document twice\n", k->name, k->field);
	k->seen = true;
}

/* ---- the document's side ------------------------------------------------ */

static void check_heading(const char *name, unsigned long long bytes)
{
	struct known *k = find(structs, COUNT(structs), name, "");

	if (!k) {
		WRONG("the document has struct %s, the table has not\n", name);
		return;
	}
	once(k);
	if (k->bytes != bytes)
		WRONG("struct %s: %llu bytes in the document, is %llu\n", name,
		      bytes, (unsigned long long)k->bytes);
}

static void check_field(const char *name, char **cell)
{
	struct known *k = find(structs, COUNT(structs), name, cell[2]);
	uint64_t offset, bytes;

	if (!k || !*cell[2]) {
		WRONG("the document has %s.%s, the table has not\n", name,
		      cell[2]);
		return;
	}
	once(k);
	if (!number(cell[0], &offset) || !number(cell[1], &bytes) ||
	    offset != k->offset || bytes != k->bytes)
		WRONG("%s.%s: offset %s, bytes %s in the document, "
		      "is %llu, %llu\n", name, k->field, cell[0], cell[1],
		      (unsigned long long)k->offset,
		      (unsigned long long)k->bytes);
	if (!*cell[3] || !*cell[4] || !*cell[5])
		WRONG("%s.%s: an empty cell\n", name, k->field);
}

static void check_value(char **cell)
{
	struct known *k = find(values, COUNT(values), cell[0], "");
	uint64_t value;

	if (!k) {
		WRONG("the document has %s, the table has not\n", cell[0]);
		return;
	}
	once(k);
	if (!number(cell[1], &value) || value != k->offset)
		WRONG("%s: %s in the document, is %llu\n", k->name, cell[1],
		      (unsigned long long)k->offset);
	if (*k->text && strcmp(k->text, cell[2]) != 0)
		WRONG("%s: \"%s\" in the document, is \"%s\"\n", k->name,
		      cell[2], k->text);
}

static void read_document(void)
{
	FILE *file = source_open("docs/protocol.md");
	char line[2048], name[64] = "", *cell[6];
	unsigned long long bytes;

	while (fgets(line, sizeof(line), file)) {
		int n;

		if (!strncmp(line, "#", 1)) {
			name[0] = '\0';
			if (sscanf(line, "### struct %63s (%llu bytes)", name,
				   &bytes) == 2)
				check_heading(name, bytes);
			else if (!strncmp(line, "### struct", 10))
				WRONG("not understood: %s", line);
			continue;
		}
		n = row_cells(line, cell, 6);
		if (n == 6 && *name && cell[0][0] >= '0' && cell[0][0] <= '9')
			check_field(name, cell);
		else if (n == 3 && !strncmp(cell[0], "MK_", 3))
			check_value(cell);
	}
	fclose(file);
}

/* ---- the ops of the socket ---------------------------------------------- */

/* Rows `| NAME | number | body | descriptors |` of section 13: the enum has
 * the same names, in this order, and nothing else. */
static void ops_agree(void **state)
{
	FILE *file = source_open("docs/protocol.md");
	char line[2048], lower[64], *cell[6];
	uint64_t value;
	uint32_t ops = 0;

	(void)state;
	while (fgets(line, sizeof(line), file)) {
		size_t n;

		if (row_cells(line, cell, 6) != 4 || !number(cell[1], &value))
			continue;
		ops++;
		n = strlen(cell[0]);
		assert_true(n < sizeof(lower));
		for (size_t i = 0; i <= n; i++)
			lower[i] = (char)tolower((unsigned char)cell[0][i]);
		if (value != ops || strcmp(mk_message_name(ops), lower) != 0)
			WRONG("op %s has number %s, but %u is %s\n", cell[0],
			      cell[1], ops, mk_message_name(ops));
	}
	fclose(file);
	assert_int_equal(ops, MK_MESSAGE_OPS - 1);
	assert_int_equal(wrong, 0);
}

/* ---- tests -------------------------------------------------------------- */

static void document_and_table_agree(void **state)
{
	(void)state;
	read_document();
	for (size_t i = 0; i < COUNT(structs); i++)
		if (!structs[i].seen)
			WRONG("struct %s %s is not in the document\n",
			      structs[i].name, structs[i].field);
	for (size_t i = 0; i < COUNT(values); i++)
		if (!values[i].seen)
			WRONG("%s is not in the document\n", values[i].name);
	assert_int_equal(wrong, 0);
}

/* The fields of the table follow each other without a gap, up to the end. */
static void table_covers_every_byte(void **state)
{
	const struct known *whole = NULL;
	uint64_t at = 0;

	(void)state;
	for (size_t i = 0; i <= COUNT(structs); i++) {
		const struct known *k = &structs[i];

		if (i == COUNT(structs) || !*k->field) {
			if (whole && at != whole->bytes)
				WRONG("struct %s: fields of the table end at "
				      "%llu of %llu bytes\n", whole->name,
				      (unsigned long long)at,
				      (unsigned long long)whole->bytes);
			whole = k;
			at = 0;
			continue;
		}
		if (k->offset != at)
			WRONG("%s.%s is at %llu, but the field before it ends "
			      "at %llu\n", k->name, k->field,
			      (unsigned long long)k->offset,
			      (unsigned long long)at);
		at = k->offset + k->bytes;
	}
	assert_int_equal(wrong, 0);
}

/* Does this line of the header define a constant that belongs here? */
static bool header_constant(const char *line, char *name)
{
	unsigned value;
	int end = 0;

	/* #define MK_NAME number: a macro with arguments has no blank */
	if (sscanf(line, "#define %63[A-Z0-9_]%n", name, &end) == 1)
		return !strncmp(name, "MK_", 3) && line[end] == ' ' &&
		       (line[end + 1] == '(' ||
			(line[end + 1] >= '0' && line[end + 1] <= '9'));
	/* or a number in an enum */
	return sscanf(line, " %63[A-Z0-9_] = %u", name, &value) == 2 &&
	       !strncmp(name, "MK_", 3) && strcmp(name, "MK_OK") != 0;
}

/* What the header has, the table has. */
static void table_covers_the_header(void **state)
{
	FILE *file = source_open("include/megakernel/abi.h");
	char line[1024], name[64], brace[2];
	unsigned found = 0, constants = 0;

	(void)state;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "struct %63[a-z0-9_] %1[{]", name, brace) ==
		    2) {
			found++;
			if (!find(structs, COUNT(structs), name, ""))
				WRONG("struct %s is not in the table\n", name);
		} else if (header_constant(line, name)) {
			constants++;
			if (!find(values, COUNT(values), name, ""))
				WRONG("%s is not in the table\n", name);
		}
	}
	fclose(file);
	assert_true(found >= 20);
	assert_true(constants >= 50);
	assert_int_equal(wrong, 0);
}

static int reset(void **state)
{
	(void)state;
	wrong = 0;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(document_and_table_agree, reset),
		cmocka_unit_test_setup(table_covers_every_byte, reset),
		cmocka_unit_test_setup(table_covers_the_header, reset),
		cmocka_unit_test_setup(ops_agree, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
