/* SPDX-License-Identifier: Apache-2.0 */
/* Losing the device, and bringing it back. */
#include <errno.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/order.h"
#include "buffer/buffer.h"
#include "context/context.h"
#include "module/module.h"
#include "queue/queue.h"
#include "worker/proxy.h"

int mk_ctx_fail(struct mk_ctx *ctx, const struct mk_error *error)
{
	pthread_mutex_lock(&ctx->error_lock);
	if (!ctx->first_error.code)
		ctx->first_error = *error;
	pthread_mutex_unlock(&ctx->error_lock);
	return error->code;
}

int mk_ctx_error(struct mk_ctx *ctx, struct mk_error *out)
{
	int have;

	pthread_mutex_lock(&ctx->error_lock);
	have = ctx->first_error.code != 0;
	if (have)
		*out = ctx->first_error;
	pthread_mutex_unlock(&ctx->error_lock);
	return have;
}

int mk_ctx_check(struct mk_ctx *ctx, const char *operation)
{
	struct mk_error why;

	/* pairs with the store in mk_ctx_lost() */
	if (!mk_load_acquire(&ctx->lost))
		return 0;
	if (!mk_ctx_error(ctx, &why))
		why.text[0] = '\0', why.native = 0;
	return mk_error_set(-MK_EDEVLOST, why.native, operation,
			    "the device is lost (%.800s); mk_ctx_recover() "
			    "brings it back", why.text);
}

void mk_ctx_lost(struct mk_ctx *ctx, const struct mk_error *why)
{
	/* both in one: who sees the one finds the other */
	pthread_mutex_lock(&ctx->error_lock);
	if (!ctx->first_error.code)
		ctx->first_error = *why;
	/* seq_cst: the waiters' side is in wait_sleep() */
	mk_store_seq(&ctx->lost, MK_LOST);
	pthread_mutex_unlock(&ctx->error_lock);
	pthread_mutex_lock(&ctx->list_lock);
	for (struct mk_queue *q = ctx->queues; q; q = q->list)
		mk_queue_close_lost(q);
	pthread_mutex_unlock(&ctx->list_lock);
}

/* Alive again, unless the new engine was lost meanwhile. */
static int set_alive(struct mk_ctx *ctx)
{
	uint32_t seen = MK_RETURNING;
	bool alive;

	/* under the lock, so that a loss from now on closes what we open */
	pthread_mutex_lock(&ctx->list_lock);
	do {
		alive = mk_cas_seq(&ctx->lost, &seen, MK_ALIVE);
	} while (!alive && seen == MK_RETURNING);
	for (struct mk_queue *q = ctx->queues; q && alive; q = q->list)
		mk_queue_open_again(q);
	pthread_mutex_unlock(&ctx->list_lock);
	return mk_ctx_check(ctx, "mk_ctx_recover");
}

/* Hand everything to the new engine; the caller holds ctx->lock. */
static int hand_over(struct mk_ctx *ctx)
{
	int r = mk_buffers_attach_all(ctx);

	if (!r)
		r = mk_module_reload_all(ctx);
	for (struct mk_queue *q = ctx->queues; q && !r; q = q->list) {
		mk_queue_prepare_restart(q);
		r = ctx->ops->queue_attach(ctx->engine, &q->desc,
					   q->event_fd);
	}
	return r;
}

/* Words that the dead engine left in the block. */
static void block_reset(struct mk_context_block *b)
{
	mk_store_relaxed(&b->state, MK_ENGINE_STARTING);
	mk_store_relaxed(&b->error, 0);
	mk_store_seq(&b->attention, 0);
}

/* A new engine with all that the old one had; the caller holds ctx->lock. */
static int restart(struct mk_ctx *ctx, uint64_t timeout_ns)
{
	int r;

	block_reset(ctx->block);
	r = mk_ctx_start(ctx);
	if (r)
		return r;
	/* before it has a queue: no slot may start */
	if (ctx->quiesced)
		r = ctx->ops->pause(ctx->engine, timeout_ns);
	if (!r)
		r = hand_over(ctx);
	if (r) {
		struct mk_error why = *mk_error_last();

		mk_proxy_kill(ctx->engine);
		ctx->engine = NULL;
		mk_error_copy(&why);
	}
	return r;
}

static int recover(struct mk_ctx *ctx, uint64_t timeout_ns)
{
	struct mk_error before;
	int r;

	if (ctx->isolation != MK_ISOLATION_PROCESS)
		return mk_error_set(-EOPNOTSUPP, 0, "mk_ctx_recover",
				    "with isolation none the engine shares "
				    "the fate of the caller");
	if (!mk_load_acquire(&ctx->lost))
		return mk_error_set(-EALREADY, 0, "mk_ctx_recover",
				    "the context is not lost");
	/* waits for the old watcher to have had its say */
	if (ctx->engine)
		mk_proxy_kill(ctx->engine);
	ctx->engine = NULL;
	pthread_mutex_lock(&ctx->error_lock);
	before = ctx->first_error;
	memset(&ctx->first_error, 0, sizeof(ctx->first_error));
	pthread_mutex_unlock(&ctx->error_lock);
	mk_store_seq(&ctx->lost, MK_RETURNING);
	r = restart(ctx, timeout_ns);
	if (r) {
		mk_ctx_lost(ctx, &before);
		return r;
	}
	mk_add_relaxed(&ctx->restarts, 1);
	return set_alive(ctx);
}

int mk_ctx_recover(struct mk_ctx *ctx, uint64_t timeout_ns)
{
	uint64_t was;
	int r;

	pthread_mutex_lock(&ctx->lock);
	was = ctx->command_ns;
	if (timeout_ns < was)
		ctx->command_ns = timeout_ns;
	r = recover(ctx, timeout_ns);
	ctx->command_ns = was;
	/* the bound was for the recovery, not for what comes after */
	if (!r)
		mk_proxy_bound(ctx->engine, was);
	pthread_mutex_unlock(&ctx->lock);
	return r;
}
