/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handlers that every context has, with opcodes that never change. Their
 * source is handlers/, in the dialect; the build gathers them in a section of
 * their own, so that they never show up in a program's own table.
 */
#ifndef MK_MODULE_BUILTIN_H
#define MK_MODULE_BUILTIN_H

#include <megakernel.h>
#include <megakernel/handler.h>

/* The handler of a built-in opcode; NULL: none, or a mechanism of the engine
 * (MK_OP_FENCE, MK_OP_ROW). Walks a short table: not for hot paths. */
const struct mk_handler_entry *mk_builtin_find(uint32_t opcode);

/* All built-in opcodes, the engine's own included. Returns how many there
 * are, which may exceed n. */
int mk_builtin_list(struct mk_handler_info *out, unsigned n);

#endif
