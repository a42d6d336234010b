/* SPDX-License-Identifier: Apache-2.0 */
#include "module/builtin.h"

#include <string.h>

#include <megakernel/map.h>
#include <megakernel/scan.h>

/* The linker's bounds of the section that handlers/ is compiled into. */
extern const struct mk_handler_entry __start_mk_builtins[]
	__attribute__((visibility("hidden")));
extern const struct mk_handler_entry __stop_mk_builtins[]
	__attribute__((visibility("hidden")));

/* X(opcode, name, argument bytes) */
#define BUILTINS(X)                                             \
	X(MK_OP_NOP, nop, 8)                                    \
	X(MK_OP_STORE, store, sizeof(struct mk_op_word))        \
	X(MK_OP_ADD, add, sizeof(struct mk_op_word))            \
	X(MK_OP_LOAD, load, sizeof(struct mk_op_word))          \
	X(MK_OP_CAS, cas, sizeof(struct mk_op_word))            \
	X(MK_OP_COPY, copy, sizeof(struct mk_op_copy))          \
	X(MK_OP_FENCE, fence, 0)                                \
	X(MK_OP_PRINT, print, sizeof(struct mk_op_print))       \
	X(MK_OP_SHUTDOWN, shutdown, 0)                          \
	X(MK_OP_ROW, row, sizeof(struct mk_op_row))             \
	X(MK_OP_SHA256, sha256, sizeof(struct mk_map_args))     \
	X(MK_OP_CRC32C, crc32c, sizeof(struct mk_map_args))     \
	X(MK_OP_COUNT, count, sizeof(struct mk_map_args))       \
	X(MK_OP_SCAN, scan, sizeof(struct mk_scan_args))

static const struct mk_handler_info builtins[] = {
#define BUILTIN_INFO(op, label, bytes)                          \
	{ .name = #label, .opcode = (op), .arg_bytes = (bytes), \
	  .width = MK_WIDTH_WARP, .builtin = 1 },
	BUILTINS(BUILTIN_INFO)
#undef BUILTIN_INFO
};

#define BUILTIN_COUNT (sizeof(builtins) / sizeof(builtins[0]))

const struct mk_handler_entry *mk_builtin_find(uint32_t opcode)
{
	const struct mk_handler_entry *entry;

	for (unsigned i = 0; i < BUILTIN_COUNT; i++) {
		if (builtins[i].opcode != opcode)
			continue;
		for (entry = __start_mk_builtins; entry < __stop_mk_builtins;
		     entry++)
			if (!strcmp(entry->name, builtins[i].name) &&
			    entry->arg_bytes == builtins[i].arg_bytes)
				return entry;
	}
	return NULL;
}

int mk_builtin_list(struct mk_handler_info *out, unsigned n)
{
	for (unsigned i = 0; i < n && i < BUILTIN_COUNT; i++)
		out[i] = builtins[i];
	return (int)BUILTIN_COUNT;
}
