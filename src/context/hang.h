/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding what is late and what hangs. Looks at the worker blocks and at the
 * oldest slot of each queue now and then; costs those who work nothing.
 */
#ifndef MK_CONTEXT_HANG_H
#define MK_CONTEXT_HANG_H

#include "context/context.h"

struct mk_hang;

struct mk_hang *mk_hang_new(struct mk_ctx *ctx);
void mk_hang_free(struct mk_hang *h);

/*
 * Look once. Slots whose deadline has passed, or that made no progress for
 * hang_ns, are asked to end; if one of the latter has not grace_ns later, the
 * process is killed for it. Returns how long to sleep until the next look.
 */
uint64_t mk_hang_look(struct mk_hang *h);

/* Since when a worker is seen with this slot; 0: not known. Any thread. */
uint64_t mk_hang_since(const struct mk_hang *h, uint32_t worker,
		       uint32_t queue, uint64_t ticket);

#endif
