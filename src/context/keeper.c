/* SPDX-License-Identifier: Apache-2.0 */
#include "context/keeper.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/futex.h"
#include "base/order.h"
#include "context/evidence.h"
#include "context/hang.h"
#include "queue/queue.h"

#define DELAY_DOUBLINGS 10u

struct mk_keeper {
	struct mk_ctx *ctx;
	pthread_t thread;
	uint32_t bell; /* futex; add-seq */
	uint32_t stop; /* store-seq under error_lock, then bell */
	struct mk_hang *hang;
	/* the budget; under error_lock */
	uint64_t window_ns; /* when it began; 0: no restart yet */
	uint32_t restarts;  /* in it, failed ones too */
	char failed[512];   /* why the last did, if it did; of the thread */
};

void mk_keeper_ring(struct mk_ctx *ctx)
{
	struct mk_keeper *k = mk_load_acquire(&ctx->keeper);

	if (!k)
		return;
	mk_add_seq(&k->bell, 1);
	mk_futex_wake(&k->bell, 1);
}

bool mk_keeper_will_restart_locked(struct mk_ctx *ctx)
{
	struct mk_keeper *k = mk_load_acquire(&ctx->keeper);

	if (!k || ctx->recovery == MK_RECOVERY_OFF || mk_load_seq(&k->stop))
		return false;
	return ctx->recovery != MK_RECOVERY_ONCE || !k->restarts;
}

bool mk_keeper_will_restart(struct mk_ctx *ctx)
{
	bool will;

	pthread_mutex_lock(&ctx->error_lock);
	will = mk_keeper_will_restart_locked(ctx);
	pthread_mutex_unlock(&ctx->error_lock);
	return will;
}

void mk_keeper_renew(struct mk_ctx *ctx)
{
	struct mk_keeper *k = mk_load_acquire(&ctx->keeper);

	if (!k)
		return;
	pthread_mutex_lock(&ctx->error_lock);
	k->window_ns = 0;
	k->restarts = 0;
	pthread_mutex_unlock(&ctx->error_lock);
}

uint64_t mk_keeper_since(struct mk_ctx *ctx, uint32_t worker, uint32_t queue,
			 uint64_t ticket)
{
	struct mk_keeper *k = mk_load_acquire(&ctx->keeper);

	return k ? mk_hang_since(k->hang, worker, queue, ticket) : 0;
}

/*
 * Take one restart out of the budget. The window begins with the first restart
 * after the one before was over. *delay_ns is how long to wait before it.
 */
static bool budget_take(struct mk_keeper *k, uint64_t *delay_ns)
{
	struct mk_ctx *ctx = k->ctx;
	bool once = ctx->recovery == MK_RECOVERY_ONCE;
	uint64_t now = mk_now_ns();
	uint32_t doublings;
	bool granted;

	pthread_mutex_lock(&ctx->error_lock);
	if (!once && now - k->window_ns >= ctx->restart_window_ns) {
		k->window_ns = now;
		k->restarts = 0;
	}
	granted = k->restarts < (once ? 1 : ctx->restarts_max);
	*delay_ns = 0;
	if (k->restarts) {
		doublings = k->restarts - 1 < DELAY_DOUBLINGS ?
				    k->restarts - 1 : DELAY_DOUBLINGS;
		*delay_ns = ctx->restart_delay_ns << doublings;
	}
	if (granted)
		k->restarts++;
	pthread_mutex_unlock(&ctx->error_lock);
	return granted;
}

/* Sleep; false: it is time to stop. */
static bool pause_for(struct mk_keeper *k, uint64_t ns)
{
	uint64_t end = mk_deadline_after(ns);

	for (;;) {
		uint32_t seen = mk_load_seq(&k->bell);

		if (mk_load_seq(&k->stop))
			return false;
		if (!mk_time_left(end))
			return true;
		mk_futex_wait(&k->bell, seen, mk_time_left(end));
	}
}

static void give_up(struct mk_keeper *k)
{
	struct mk_ctx *ctx = k->ctx;
	char reason[160 + sizeof(k->failed)];
	int n;

	if (ctx->recovery == MK_RECOVERY_ONCE)
		n = snprintf(reason, sizeof(reason),
			     "it was brought back once, as params.recovery "
			     "says");
	else
		n = snprintf(reason, sizeof(reason),
			     "the budget of %u restarts in %llu ms is used up",
			     ctx->restarts_max,
			     (unsigned long long)(ctx->restart_window_ns /
						  1000000));
	if (k->failed[0])
		snprintf(reason + n, sizeof(reason) - (size_t)n,
			 ", and the last failed: %s", k->failed);
	pthread_mutex_lock(&ctx->lock);
	if (mk_load_acquire(&ctx->lost) == MK_RETURNING)
		mk_ctx_give_up(ctx, reason);
	pthread_mutex_unlock(&ctx->lock);
}

/* Is it for us to bring it back? Without the lock RETURNING may be somebody's
 * mk_ctx_recover(), which is not to cost a restart of the budget. */
static bool is_ours(struct mk_ctx *ctx)
{
	bool ours;

	pthread_mutex_lock(&ctx->lock);
	ours = mk_load_acquire(&ctx->lost) == MK_RETURNING;
	pthread_mutex_unlock(&ctx->lock);
	return ours;
}

/* The context is lost and we are to bring it back, until it is or may not. */
static void bring_back(struct mk_keeper *k)
{
	struct mk_ctx *ctx = k->ctx;
	uint64_t delay;
	int r;

	do {
		if (!is_ours(ctx))
			break;
		if (!budget_take(k, &delay)) {
			give_up(k);
			break;
		}
		if (!pause_for(k, delay))
			return;
		pthread_mutex_lock(&ctx->lock);
		r = 0;
		/* somebody may have been first */
		if (mk_load_acquire(&ctx->lost) == MK_RETURNING)
			r = mk_ctx_recover_locked(ctx, UINT64_MAX);
		snprintf(k->failed, sizeof(k->failed), "%.500s",
			 r ? mk_error_last()->text : "");
		pthread_cond_broadcast(&ctx->returned);
		pthread_mutex_unlock(&ctx->lock);
	} while (r);
	mk_evidence_write(ctx, false);
}

static void *keeper_main(void *arg)
{
	struct mk_keeper *k = arg;

	for (;;) {
		uint32_t seen = mk_load_seq(&k->bell);
		uint64_t nap;

		if (mk_load_seq(&k->stop))
			return NULL;
		if (mk_load_acquire(&k->ctx->lost) == MK_RETURNING)
			bring_back(k);
		mk_evidence_write(k->ctx, false);
		nap = mk_hang_look(k->hang);
		/* what came since is looked at now */
		if (mk_load_acquire(&k->ctx->lost) == MK_RETURNING)
			continue;
		mk_futex_wait(&k->bell, seen, nap);
	}
}

static int keeper_failed(struct mk_keeper *k, int e)
{
	if (k)
		mk_hang_free(k->hang);
	free(k);
	return mk_error_set(-e, e, "mk_ctx_create",
			    "no thread to look after the engine: %s",
			    mk_strerror(e));
}

int mk_keeper_start(struct mk_ctx *ctx)
{
	struct mk_keeper *k = calloc(1, sizeof(*k));
	sigset_t all, old;
	int e;

	if (!k)
		return keeper_failed(k, ENOMEM);
	k->ctx = ctx;
	k->hang = mk_hang_new(ctx);
	if (!k->hang)
		return keeper_failed(k, ENOMEM);
	/* pairs with the loads above; before the thread, which looks */
	mk_store_release(&ctx->keeper, k);
	sigfillset(&all); /* signals are the caller's business */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	e = pthread_create(&k->thread, NULL, keeper_main, k);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!e)
		return 0;
	mk_store_release(&ctx->keeper, NULL);
	return keeper_failed(k, e);
}

void mk_keeper_stop(struct mk_ctx *ctx)
{
	struct mk_error why = { .code = -MK_EDEVLOST,
				.operation = "mk_ctx_destroy",
				.text = "the context is being destroyed" };
	struct mk_keeper *k = ctx->keeper;

	if (!k)
		return;
	/* a loss that is told from now on is nobody's to mend */
	pthread_mutex_lock(&ctx->error_lock);
	mk_store_seq(&k->stop, 1);
	pthread_mutex_unlock(&ctx->error_lock);
	mk_keeper_ring(ctx);
	/* a new engine that does not answer must not hold us up */
	if (mk_load_acquire(&ctx->lost) == MK_RETURNING)
		mk_ctx_condemn(ctx, &why);
	pthread_join(k->thread, NULL);
	/* it is freed with the context: the watcher may still ring */
	if (mk_load_acquire(&ctx->lost) == MK_RETURNING)
		mk_ctx_give_up(ctx, why.text);
}

void mk_keeper_free(struct mk_ctx *ctx)
{
	if (!ctx->keeper)
		return;
	mk_hang_free(ctx->keeper->hang);
	free(ctx->keeper);
	ctx->keeper = NULL;
}
