/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Losing the device, and bringing it back.
 *
 * The watcher of the process reports a loss. What is to be known of it is
 * taken in at once; then the context is RETURNING, if the keeper is to bring
 * it back, or LOST. Waiters go on waiting in the first case, and give up in
 * the second. Whoever recovers holds ctx->lock all the time, so that under
 * the lock RETURNING means: the keeper will come.
 */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/order.h"
#include "buffer/buffer.h"
#include "context/context.h"
#include "context/evidence.h"
#include "context/keeper.h"
#include "context/loss.h"
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

	if (!ctx || !out)
		return mk_error_null("mk_ctx_error", ctx ? "out" : "ctx");
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
	if (mk_load_acquire(&ctx->lost) != MK_LOST)
		return 0;
	if (mk_ctx_error(ctx, &why) != 1)
		why.text[0] = '\0', why.native = 0;
	return mk_error_set(-MK_EDEVLOST, why.native, operation,
			    "the device is lost (%.800s); mk_ctx_recover() "
			    "brings it back", why.text);
}

void mk_ctx_await(struct mk_ctx *ctx)
{
	while (mk_load_acquire(&ctx->lost) == MK_RETURNING)
		pthread_cond_wait(&ctx->returned, &ctx->lock);
}

int mk_ctx_ready(struct mk_ctx *ctx, const char *operation)
{
	mk_ctx_await(ctx);
	return mk_ctx_check(ctx, operation);
}

bool mk_ctx_again(struct mk_ctx *ctx, int code, uint64_t mark)
{
	struct timespec nap = { 0, 20000 };

	if (code != -MK_EDEVLOST || ctx->isolation != MK_ISOLATION_PROCESS)
		return false;
	/* the command may have failed before the watcher told us why; it
	 * takes no lock that we hold */
	while (mk_keeper_will_restart(ctx) &&
	       mk_load_acquire(&ctx->lost) == MK_ALIVE &&
	       mk_load_acquire(&ctx->restarts) == mark)
		nanosleep(&nap, NULL);
	mk_ctx_await(ctx);
	return mk_load_acquire(&ctx->restarts) != mark &&
	       mk_load_acquire(&ctx->lost) == MK_ALIVE;
}

int mk_ctx_await_restart(struct mk_ctx *ctx, uint64_t mark,
			 uint64_t deadline_ns, const char *operation)
{
	struct timespec nap = { 0, 20000 };
	int r;

	for (;;) {
		r = mk_ctx_lock_until(ctx, deadline_ns, operation);
		if (r)
			return r;
		r = mk_ctx_check(ctx, operation);
		pthread_mutex_unlock(&ctx->lock);
		if (r || mk_load_acquire(&ctx->restarts) != mark)
			return r;
		if (!mk_time_left(deadline_ns))
			return mk_error_set(-ETIME, 0, operation,
					    "the device has not come back in "
					    "time");
		nanosleep(&nap, NULL); /* the watcher is about to tell */
	}
}

int mk_ctx_lock_until(struct mk_ctx *ctx, uint64_t deadline_ns,
		      const char *operation)
{
	struct timespec nap = { 0, 20000 };

	for (;;) {
		if (!pthread_mutex_trylock(&ctx->lock)) {
			if (mk_load_acquire(&ctx->lost) != MK_RETURNING)
				return 0;
			pthread_mutex_unlock(&ctx->lock);
		}
		if (!mk_time_left(deadline_ns))
			return mk_error_set(-ETIME, 0, operation,
					    "another command, or a recovery, "
					    "takes longer than the time-out");
		nanosleep(&nap, NULL);
		if (nap.tv_nsec < 1000000)
			nap.tv_nsec *= 2;
	}
}

/* ---- losing ------------------------------------------------------------ */

static void close_queues(struct mk_ctx *ctx)
{
	pthread_mutex_lock(&ctx->list_lock);
	for (struct mk_queue *q = ctx->queues; q; q = q->list)
		mk_queue_close_lost(q);
	pthread_mutex_unlock(&ctx->list_lock);
}

/* The end of a stage. */
static void stage(struct mk_loss_counts *c, enum mk_stage which)
{
	uint64_t now = mk_now_ns();

	mk_store_relaxed(&c->stage_ns[which],
			 now - mk_load_relaxed(&c->stage_at));
	mk_store_relaxed(&c->stage_at, now);
}

/* It was noticed when the process began to die, if that was seen. */
static void note_loss(struct mk_loss_counts *c)
{
	uint64_t dying = mk_load_relaxed(&c->dying_ns);
	uint64_t when = dying ? dying : mk_now_ns();

	mk_store_relaxed(&c->lost_ns, when);
	mk_store_relaxed(&c->stage_at, when);
	stage(c, MK_STAGE_GONE);
}

/* A try begins: all that was since the process had gone is over. */
static void stage_try(struct mk_loss_counts *c)
{
	mk_store_relaxed(&c->stage_at, mk_load_relaxed(&c->lost_ns) +
				mk_load_relaxed(&c->stage_ns[MK_STAGE_GONE]));
	stage(c, MK_STAGE_DELAY);
}

void mk_ctx_lost(struct mk_ctx *ctx, const struct mk_error *why)
{
	struct mk_loss_counts *c = &ctx->counts;
	struct mk_error cause = *why;
	bool back;
	uint64_t *by_cause[] = { &c->deaths, &c->crashes, &c->hangs };

	/* the first of several: until it is over */
	if (!mk_load_acquire(&ctx->lost))
		note_loss(c);
	mk_store_relaxed(&c->recovered_ns, 0);
	mk_add_relaxed(by_cause[mk_loss_take(ctx, &cause)], 1);
	mk_add_relaxed(&c->losses, 1);
	mk_evidence_take(ctx, &cause);
	mk_evidence_next(ctx);
	/* all in one: who sees the one finds the other, and a keeper that was
	 * counted on is there */
	pthread_mutex_lock(&ctx->error_lock);
	back = mk_keeper_will_restart_locked(ctx);
	ctx->losses++;
	if (!ctx->first_error.code)
		ctx->first_error = cause;
	/* seq_cst: the waiters' side is in wait_sleep() */
	mk_store_seq(&ctx->lost, back ? MK_RETURNING : MK_LOST);
	pthread_mutex_unlock(&ctx->error_lock);
	if (!back)
		close_queues(ctx);
	mk_keeper_ring(ctx);
}

void mk_ctx_give_up(struct mk_ctx *ctx, const char *reason)
{
	struct mk_error *e = &ctx->first_error;
	size_t n;

	pthread_mutex_lock(&ctx->error_lock);
	e->code = -MK_EDEVLOST;
	n = strlen(e->text);
	snprintf(e->text + n, sizeof(e->text) - n, "%s%s", n ? "; " : "",
		 reason);
	mk_store_seq(&ctx->lost, MK_LOST);
	pthread_mutex_unlock(&ctx->error_lock);
	close_queues(ctx);
	pthread_cond_broadcast(&ctx->returned);
}

/* ---- ending a process -------------------------------------------------- */

void mk_ctx_condemn(struct mk_ctx *ctx, const struct mk_error *why)
{
	pthread_mutex_lock(&ctx->kill_lock);
	if (ctx->victim)
		mk_proxy_condemn(ctx->victim, why);
	pthread_mutex_unlock(&ctx->kill_lock);
}

void mk_ctx_drop_engine(struct mk_ctx *ctx)
{
	struct mk_engine *e = ctx->engine;

	pthread_mutex_lock(&ctx->kill_lock);
	ctx->victim = NULL;
	pthread_mutex_unlock(&ctx->kill_lock);
	ctx->engine = NULL;
	/* waits for the watcher to have had its say */
	if (e)
		mk_proxy_kill(e);
}

/* ---- coming back ------------------------------------------------------- */

/* Alive again, unless the new engine was lost meanwhile. */
static int set_alive(struct mk_ctx *ctx, uint64_t losses)
{
	bool alive;

	/* under list_lock, so that a loss from now on closes what we open */
	pthread_mutex_lock(&ctx->list_lock);
	pthread_mutex_lock(&ctx->error_lock);
	alive = ctx->losses == losses;
	if (alive) {
		memset(&ctx->first_error, 0, sizeof(ctx->first_error));
		mk_store_seq(&ctx->lost, MK_ALIVE);
	}
	pthread_mutex_unlock(&ctx->error_lock);
	/* whoever slept may have been told by nobody: the wake-up died with
	 * the old engine, and some answers were given without one */
	for (struct mk_queue *q = ctx->queues; q && alive; q = q->list) {
		mk_queue_open_again(q);
		mk_queue_release(q);
	}
	pthread_mutex_unlock(&ctx->list_lock);
	if (alive)
		return 0;
	return mk_error_set(-MK_EDEVLOST, 0, "mk_ctx_recover",
			    "the new worker process was lost at once");
}

/* Hand everything to the new engine; the caller holds ctx->lock. */
static int hand_over(struct mk_ctx *ctx)
{
	int r = mk_buffers_attach_all(ctx);

	stage(&ctx->counts, MK_STAGE_BUFFERS);
	if (!r)
		r = mk_module_reload_all(ctx);
	stage(&ctx->counts, MK_STAGE_MODULES);
	for (struct mk_queue *q = ctx->queues; q && !r; q = q->list)
		r = ctx->ops->queue_attach(ctx->engine, &q->desc,
					   q->event_fd);
	return r;
}

/* Words that the dead engine left. */
static void blocks_reset(struct mk_ctx *ctx)
{
	struct mk_context_block *b = ctx->block;

	mk_ctx_describe(ctx);
	mk_store_relaxed(&b->error, 0);
	mk_store_relaxed(&b->words[0], 0);
	mk_store_relaxed(&b->pulse, 0);
	mk_store_relaxed(&b->state, MK_ENGINE_STARTING);
	mk_store_seq(&b->attention, 0);
	mk_workers_reset(ctx);
}

/*
 * Whatever the dead process scribbled over what the blocks say of themselves,
 * the next one reads it right.
 *
 * What each slot in flight has coming is settled for all queues before there
 * is a new engine: if that dies again, at any point, nothing of this loss is
 * left to know.
 */
static void settle(struct mk_ctx *ctx)
{
	for (struct mk_queue *q = ctx->queues; q; q = q->list) {
		mk_queue_prepare_restart(q);
		mk_queue_describe(q);
	}
	blocks_reset(ctx);
	mk_loss_forget(ctx);
}

/* A new engine with all that the old one had; the caller holds ctx->lock. */
static int restart(struct mk_ctx *ctx, uint64_t timeout_ns)
{
	int r = mk_ctx_start(ctx);

	if (r)
		return r;
	/* before it has a queue: no slot may start */
	if (ctx->quiesced)
		r = ctx->ops->pause(ctx->engine, timeout_ns);
	stage(&ctx->counts, MK_STAGE_START);
	if (!r)
		r = hand_over(ctx);
	if (r) {
		struct mk_error why = *mk_error_last();

		mk_ctx_drop_engine(ctx);
		mk_error_copy(&why);
	}
	return r;
}

static void count_recovery(struct mk_ctx *ctx)
{
	uint64_t now, took;

	stage(&ctx->counts, MK_STAGE_QUEUES);
	now = mk_load_relaxed(&ctx->counts.stage_at);
	took = now - mk_load_relaxed(&ctx->counts.lost_ns);

	mk_store_relaxed(&ctx->counts.recovered_ns, now);
	mk_store_relaxed(&ctx->counts.last_ns, took);
	if (took > mk_load_relaxed(&ctx->counts.max_ns))
		mk_store_relaxed(&ctx->counts.max_ns, took);
	/* mk_loss_mark() */
	mk_add_seq(&ctx->restarts, 1);
}

int mk_ctx_recover_locked(struct mk_ctx *ctx, uint64_t timeout_ns)
{
	uint64_t losses, was = ctx->command_ns;
	int r;

	stage_try(&ctx->counts);
	mk_ctx_drop_engine(ctx);
	pthread_mutex_lock(&ctx->error_lock);
	losses = ctx->losses;
	mk_store_seq(&ctx->lost, MK_RETURNING);
	pthread_mutex_unlock(&ctx->error_lock);
	settle(ctx);
	if (timeout_ns < was)
		mk_store_relaxed(&ctx->command_ns, timeout_ns);
	r = restart(ctx, timeout_ns);
	mk_store_relaxed(&ctx->command_ns, was);
	if (r) {
		/* it may have begun slots before it ended */
		struct mk_error why = *mk_error_last();
		bool same;

		pthread_mutex_lock(&ctx->error_lock);
		same = losses == ctx->losses;
		pthread_mutex_unlock(&ctx->error_lock);
		if (same)
			mk_loss_take(ctx, &why);
		mk_evidence_next(ctx);
		mk_add_relaxed(&ctx->counts.restarts_failed, 1);
		return r;
	}
	/* the bound was for the recovery, not for what comes after */
	mk_proxy_bound(ctx->engine, was);
	count_recovery(ctx);
	return set_alive(ctx, losses);
}

static int recover(struct mk_ctx *ctx, uint64_t timeout_ns)
{
	bool keeper;
	int r;

	if (ctx->isolation != MK_ISOLATION_PROCESS)
		return mk_error_set(-EOPNOTSUPP, 0, "mk_ctx_recover",
				    "with isolation none the engine shares "
				    "the fate of the caller");
	if (!mk_load_acquire(&ctx->lost))
		return mk_error_set(-EALREADY, 0, "mk_ctx_recover",
				    "the context is not lost");
	/* the keeper is about to do the same: if we fail it goes on */
	keeper = mk_load_acquire(&ctx->lost) == MK_RETURNING;
	if (!keeper)
		mk_keeper_renew(ctx);
	r = mk_ctx_recover_locked(ctx, timeout_ns);
	if (r && keeper) {
		mk_keeper_ring(ctx);
	} else if (r) {
		struct mk_error why = *mk_error_last();
		char reason[600];

		snprintf(reason, sizeof(reason),
			 "mk_ctx_recover() failed: %.500s", why.text);
		mk_ctx_give_up(ctx, reason);
		mk_error_copy(&why);
	}
	pthread_cond_broadcast(&ctx->returned);
	return r;
}

int mk_ctx_recover(struct mk_ctx *ctx, uint64_t timeout_ns)
{
	int r;

	if (!ctx)
		return mk_error_null("mk_ctx_recover", "ctx");
	pthread_mutex_lock(&ctx->lock);
	r = recover(ctx, timeout_ns);
	pthread_mutex_unlock(&ctx->lock);
	return r;
}
