/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the worker blocks of a process that has died. They are shared
 * memory: what the dead process wrote last, or scribbled. Every word is read
 * once and checked; if one worker's words make no sense nothing is concluded
 * from what the others leave out.
 */
#include "context/loss.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/order.h"
#include "queue/queue.h"

const struct mk_named *mk_loss_find(const struct mk_loss *loss, uint32_t queue,
				    uint64_t ticket)
{
	for (uint32_t i = 0; i < loss->count; i++)
		if (loss->named[i].ticket == ticket &&
		    loss->named[i].queue == queue)
			return &loss->named[i];
	return NULL;
}

void mk_loss_blame(struct mk_ctx *ctx, uint32_t queue, uint64_t ticket,
		   int code)
{
	pthread_mutex_lock(&ctx->error_lock);
	ctx->loss.blamed = (struct mk_named){ .ticket = ticket,
					      .queue = queue,
					      .code = code };
	pthread_mutex_unlock(&ctx->error_lock);
}

/* Was this ticket of this queue claimed and is it without an answer? The
 * caller holds list_lock. */
static bool open_slot(const struct mk_ctx *ctx, uint32_t queue, uint64_t ticket)
{
	const struct mk_queue *q = ctx->queues;
	uint64_t head, tail;

	while (q && q->desc.index != queue)
		q = q->list;
	if (!q)
		return false;
	head = mk_load_acquire(&q->head);
	tail = mk_load_acquire(&q->tail);
	return ticket - head < tail - head &&
	       mk_queue_published(q, ticket) && !mk_queue_answered(q, ticket);
}

/* A slot that was in hand, but is not one that can be. */
static bool nonsense(const struct mk_ctx *ctx, const struct mk_named *n)
{
	const struct mk_queue *q = ctx->queues;

	while (q && q->desc.index != n->queue)
		q = q->list;
	/* it may have been answered, and reaped, just before the end */
	return !q || (int64_t)(mk_load_acquire(&q->tail) - n->ticket) <= 0;
}

static int fault_signal(const struct mk_worker_block *w)
{
	int32_t sig = mk_load_acquire(&w->fault_signal);

	return sig > 0 && sig < 65 ? sig : 0;
}

/* What worker i had in hand; *odd: it ran. */
static struct mk_named read_block(const struct mk_ctx *ctx, uint32_t i,
				  bool *odd)
{
	const struct mk_worker_block *w = &ctx->workers[i];
	struct mk_named n = { .code = MK_EMAYRUN };

	*odd = mk_load_acquire(&w->running) & 1u;
	n.queue = mk_load_relaxed(&w->queue);
	n.ticket = mk_load_relaxed(&w->ticket);
	if (*odd && fault_signal(w)) {
		n.code = MK_EFAULT;
		n.suspect = true;
	}
	return n;
}

/* A slot may be named by several workers: tiles of it, or what it made, ran
 * on one and crash on another. What is known for sure outweighs what is not. */
static void name_slot(struct mk_loss *loss, const struct mk_named *n)
{
	for (uint32_t i = 0; i < loss->count; i++) {
		struct mk_named *had = &loss->named[i];

		if (had->ticket != n->ticket || had->queue != n->queue)
			continue;
		if (n->suspect && had->code != MK_EFAULT)
			*had = *n;
		return;
	}
	loss->named[loss->count++] = *n;
}

static void take_worker(struct mk_ctx *ctx, uint32_t i)
{
	bool all = ctx->real->traits & MK_TRAIT_NAMES_ALL;
	struct mk_loss *loss = &ctx->loss;
	bool odd;
	struct mk_named n = read_block(ctx, i, &odd);

	if (n.queue == MK_NO_QUEUE ||
	    ctx->config.heartbeat != MK_HEARTBEAT_ON)
		return;
	if (odd && nonsense(ctx, &n))
		loss->exact = false;
	/* a handler may have ended, and its answer not have been given */
	if (!(odd || all) || !open_slot(ctx, n.queue, n.ticket))
		return;
	if (loss->blamed.code && n.queue == loss->blamed.queue &&
	    n.ticket == loss->blamed.ticket) {
		n.code = loss->blamed.code;
		n.suspect = true;
		loss->blamed.code = 0;
	}
	loss->attributed |= n.suspect;
	loss->crashed |= n.code == MK_EFAULT;
	name_slot(loss, &n);
}

/* Nobody is known to have done it: everybody who ran is suspect. */
static void suspect_all(struct mk_ctx *ctx)
{
	struct mk_loss *loss = &ctx->loss;

	for (uint32_t i = 0; i < loss->count; i++)
		loss->named[i].suspect = true;
	loss->all_suspect = !loss->exact && !loss->count;
}

/* "handler saxpy (opcode 33) of ticket 7: signal 11 (...) at 0x0" */
static void explain_crash(struct mk_ctx *ctx, struct mk_error *why)
{
	for (uint32_t i = 0; i < ctx->config.workers; i++) {
		const struct mk_worker_block *w = &ctx->workers[i];
		uint32_t opcode = mk_load_relaxed(&w->opcode) % MK_OPCODES;
		char name[MK_HANDLER_NAME_BYTES];
		int sig = fault_signal(w);
		const char *words;

		if (!sig || !(mk_load_relaxed(&w->running) & 1u))
			continue;
		words = sigdescr_np(sig);
		mk_ctx_handler_name(ctx, opcode, name);
		snprintf(why->text, sizeof(why->text),
			 "handler %s (opcode %u) crashed in the worker "
			 "process: signal %d (%s) at address 0x%llx, ticket "
			 "%llu of queue %u",
			 name, opcode, sig, words ? words : "?",
			 (unsigned long long)mk_load_relaxed(
				 &w->fault_address),
			 (unsigned long long)mk_load_relaxed(&w->ticket),
			 mk_load_relaxed(&w->queue));
		why->native = sig;
		return;
	}
}

enum mk_loss_cause mk_loss_take(struct mk_ctx *ctx, struct mk_error *why)
{
	struct mk_loss *loss = &ctx->loss;
	bool was_blamed;

	pthread_mutex_lock(&ctx->list_lock);
	pthread_mutex_lock(&ctx->error_lock);
	loss->exact = ctx->real->traits & MK_TRAIT_NAMES_ALL &&
		      ctx->config.heartbeat == MK_HEARTBEAT_ON;
	loss->attributed = loss->crashed = loss->all_suspect = false;
	loss->count = 0;
	was_blamed = loss->blamed.code != 0;
	for (uint32_t i = 0; i < ctx->config.workers; i++)
		take_worker(ctx, i);
	/* blamed, and named by no worker: it counts where that proves
	 * nothing */
	if (loss->blamed.code && !loss->exact &&
	    open_slot(ctx, loss->blamed.queue, loss->blamed.ticket)) {
		loss->named[loss->count] = loss->blamed;
		loss->named[loss->count++].suspect = true;
		loss->attributed = true;
	}
	loss->blamed.code = 0;
	if (!loss->attributed)
		suspect_all(ctx);
	pthread_mutex_unlock(&ctx->error_lock);
	pthread_mutex_unlock(&ctx->list_lock);
	if (loss->crashed) {
		explain_crash(ctx, why);
		return MK_CAUSE_CRASH;
	}
	if (was_blamed)
		return MK_CAUSE_HANG;
	mk_engine_words(ctx->block, why);
	return MK_CAUSE_DEATH;
}

void mk_loss_forget(struct mk_ctx *ctx)
{
	pthread_mutex_lock(&ctx->error_lock);
	ctx->loss.exact = true;
	ctx->loss.attributed = ctx->loss.crashed = false;
	ctx->loss.all_suspect = false;
	ctx->loss.count = 0;
	ctx->loss.blamed.code = 0;
	pthread_mutex_unlock(&ctx->error_lock);
}

void mk_loss_count(struct mk_ctx *ctx, int code)
{
	struct mk_loss_counts *c = &ctx->counts;
	uint64_t *at = code == MK_EFAULT   ? &c->faulted :
		       code == MK_EHUNG	   ? &c->hung :
		       code == MK_EOVERRUN ? &c->overrun :
		       code == MK_EMAYRUN  ? &c->may_run :
		       code == MK_EPOISON  ? &c->poisoned : &c->not_run;

	mk_add_relaxed(at, 1);
}
