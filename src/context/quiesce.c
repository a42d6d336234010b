/* SPDX-License-Identifier: Apache-2.0 */
/* Making the engine step aside, and go on. */
#include "context/quiesce.h"

#include <errno.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/order.h"
#include "worker/proxy.h"

/* An answer may take this much longer than the context has to end. */
#define ANSWER_MARGIN_NS 1000000000ull

/* One try; *mark is mk_ctx.restarts from before. */
static int quiesce(struct mk_ctx *ctx, uint64_t deadline, uint64_t *mark)
{
	int r = mk_ctx_lock_until(ctx, deadline, "mk_ctx_quiesce");

	if (r)
		return r;
	*mark = mk_load_relaxed(&ctx->restarts);
	r = mk_ctx_check(ctx, "mk_ctx_quiesce");
	if (!r && !ctx->quiesced)
		r = ctx->ops->pause(ctx->engine, mk_time_left(deadline));
	if (!r)
		ctx->quiesced++;
	pthread_mutex_unlock(&ctx->lock);
	return r;
}

int mk_ctx_quiesce(struct mk_ctx *ctx, uint64_t timeout_ns)
{
	uint64_t deadline = mk_deadline_after(timeout_ns), mark = 0;
	int r;

	if (!ctx)
		return mk_error_null("mk_ctx_quiesce", "ctx");
	for (;;) {
		r = quiesce(ctx, deadline, &mark);
		if (r != -MK_EDEVLOST ||
		    ctx->isolation != MK_ISOLATION_PROCESS)
			return r;
		/* lost on the way: the next one is told, if there is one */
		r = mk_ctx_await_restart(ctx, mark, deadline,
					 "mk_ctx_quiesce");
		if (r)
			return r;
	}
}

int mk_ctx_resume(struct mk_ctx *ctx)
{
	uint64_t mark;
	int r = 0;

	if (!ctx)
		return mk_error_null("mk_ctx_resume", "ctx");
	pthread_mutex_lock(&ctx->lock);
	mark = mk_load_relaxed(&ctx->restarts);
	if (!ctx->quiesced)
		r = mk_error_set(-EALREADY, 0, "mk_ctx_resume",
				 "the context is not quiesced");
	else if (!--ctx->quiesced && !mk_load_acquire(&ctx->lost))
		r = ctx->ops->resume(ctx->engine);
	if (r && mk_ctx_again(ctx, r, mark))
		r = 0; /* what comes back knows of no quiesce */
	pthread_mutex_unlock(&ctx->lock);
	return r;
}

void mk_quiesce_end(struct mk_ctx *ctx, uint64_t timeout_ns)
{
	uint64_t left = UINT64_MAX - ANSWER_MARGIN_NS;

	if (!ctx->quiesced || !ctx->engine)
		return;
	if (left > timeout_ns)
		left = timeout_ns;
	if (ctx->isolation == MK_ISOLATION_PROCESS &&
	    left + ANSWER_MARGIN_NS < ctx->command_ns)
		mk_proxy_bound(ctx->engine, left + ANSWER_MARGIN_NS);
	if (!ctx->ops->resume(ctx->engine))
		ctx->quiesced = 0;
}
