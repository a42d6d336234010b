/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of a loss: which slots had begun, and whose fault it was. It
 * is taken from the worker blocks when the process is gone and reaped, and
 * used until the queues are prepared for the next engine, or given up.
 */
#ifndef MK_CONTEXT_LOSS_H
#define MK_CONTEXT_LOSS_H

#include "context/context.h"

/* The slot of this queue and ticket if it had begun, or NULL. */
const struct mk_named *mk_loss_find(const struct mk_loss *loss, uint32_t queue,
				    uint64_t ticket);

/* Blame a slot that runs, or seems to, before its process is killed for it:
 * code is MK_EHUNG or MK_EOVERRUN. By the keeper. */
void mk_loss_blame(struct mk_ctx *ctx, uint32_t queue, uint64_t ticket,
		   int code);

enum mk_loss_cause { MK_CAUSE_DEATH, MK_CAUSE_CRASH, MK_CAUSE_HANG };

/*
 * The process has ended: read what it left. `why` becomes more precise if it
 * left a reason. By whoever saw the end, before `lost` is stored.
 */
enum mk_loss_cause mk_loss_take(struct mk_ctx *ctx, struct mk_error *why);

/* The queues were prepared: nothing had begun from here on. */
void mk_loss_forget(struct mk_ctx *ctx);

/* Count an answer that the host gave. */
void mk_loss_count(struct mk_ctx *ctx, int code);

#endif
