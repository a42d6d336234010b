/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MK_CONTEXT_QUIESCE_H
#define MK_CONTEXT_QUIESCE_H

#include "context/context.h"

/* The context ends: a quiesced engine goes on, for it could not end what is
 * queued. Waits no longer than its answer may take after timeout_ns. */
void mk_quiesce_end(struct mk_ctx *ctx, uint64_t timeout_ns);

#endif
