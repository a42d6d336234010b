/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modules of the CPU engine: shared objects loaded from sealed images, or
 * tables that are linked into the program. Which opcode runs what, and when
 * nobody is inside any more, is the engine's affair.
 *
 * Not thread-safe: the engine's commands are serialised.
 */
#ifndef MK_ENGINE_CPU_MODULE_H
#define MK_ENGINE_CPU_MODULE_H

#include "engine/engine.h"

struct mk_cpu_module;

struct mk_cpu_modules {
	struct mk_cpu_module *first;
};

int mk_cpu_modules_init(struct mk_cpu_modules *m);

/* Close what is open. No worker may be inside. */
void mk_cpu_modules_fini(struct mk_cpu_modules *m);

/*
 * Load desc->fd, or take desc->table, and list its handlers. The descriptor
 * is duplicated. -MK_EMODULE: not a module of this ABI, or its table is not
 * valid; -ENOSPC: more than max handlers; -EMFILE, -ENOMEM.
 */
int mk_cpu_module_open(struct mk_cpu_modules *m,
		       const struct mk_module_desc *desc,
		       struct mk_handler_info *out, unsigned max,
		       unsigned *count);

/* Valid until the module is closed; NULL: no such module or handler. */
const struct mk_handler_entry *
mk_cpu_module_entry(struct mk_cpu_modules *m, uint32_t id, const char *name);

/* Unload. No worker may be inside. -ENOENT: no module has this id. */
int mk_cpu_module_close(struct mk_cpu_modules *m, uint32_t id);

#endif
