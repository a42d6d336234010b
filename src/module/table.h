/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a list of handlers must be, wherever it came from: a module's memory,
 * a file, the worker process.
 */
#ifndef MK_MODULE_TABLE_H
#define MK_MODULE_TABLE_H

#include <megakernel.h>
#include <megakernel/handler.h>

/* Handlers of one module, so that a few modules fit a context. */
#define MK_MODULE_HANDLERS_MAX 200u

/*
 * Check names (C identifiers, terminated, no two the same), argument sizes,
 * widths and the count. -MK_EMODULE names what is wrong; `what` names the
 * module in the sentence.
 */
int mk_table_check(const struct mk_handler_info *handlers, unsigned count,
		   const char *what);

/* Copy `count` entries out, unchecked but for their number. -MK_EMODULE: none
 * or more than MK_MODULE_HANDLERS_MAX; -ENOSPC: more than max. */
int mk_table_copy(const struct mk_handler_entry *entry, uint64_t count,
		  const char *what, struct mk_handler_info *out, unsigned max);

#endif
