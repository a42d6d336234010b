/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: the thread of a context that looks after its engine. It finds
 * slots that are late or hang, and brings a lost context back as far as the
 * policy goes. It sleeps otherwise, for a twentieth of hang_ns at a time.
 */
#ifndef MK_CONTEXT_KEEPER_H
#define MK_CONTEXT_KEEPER_H

#include "context/context.h"

/* Start it, when everything else of ctx is there. -ENOMEM, -EAGAIN. */
int mk_keeper_start(struct mk_ctx *ctx);

/* Stop it, whatever it does: a recovery under way fails. Nobody brings the
 * context back any more. Nothing is held. */
void mk_keeper_stop(struct mk_ctx *ctx);

/* Free it, stopped, when no engine is left to report anything. */
void mk_keeper_free(struct mk_ctx *ctx);

/* Something changed that it should look at. Any thread, no lock needed. */
void mk_keeper_ring(struct mk_ctx *ctx);

/* Would it bring a context back that is lost now? The second is for who holds
 * error_lock: until that is let go, the keeper is not stopped either. */
bool mk_keeper_will_restart(struct mk_ctx *ctx);
bool mk_keeper_will_restart_locked(struct mk_ctx *ctx);

/* Since when the keeper sees a worker with this slot; 0: not known. */
uint64_t mk_keeper_since(struct mk_ctx *ctx, uint32_t worker, uint32_t queue,
			 uint64_t ticket);

/* The policy begins anew: somebody recovers on purpose. */
void mk_keeper_renew(struct mk_ctx *ctx);

#endif
