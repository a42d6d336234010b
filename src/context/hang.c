/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker that shows the same slot and the same beat as last time has made
 * no progress since then. That needs nothing of the worker but what it writes
 * anyway; time is measured here.
 *
 * Some slots are named by no worker: of a device that does not say what each
 * of its lanes runs, and of a process that is stopped altogether. They show
 * as the oldest slot of their queue, without an answer for hang_ns although
 * some worker has nothing to do.
 */
#include "context/hang.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/order.h"
#include "context/evidence.h"
#include "context/loss.h"
#include "context/stuck.h"
#include "queue/queue.h"

#define MS 1000000ull
#define LOOKS 20u             /* in hang_ns: 5 % */
#define LATE_LOOK_NS (5 * MS) /* while slots with deadlines may run */
#define LATE_IDLE_NS (50 * MS)
#define ACTIVE_NS (1000 * MS) /* they may run this long after the last did */

/* What a worker was last seen with. */
struct watched {
	uint64_t ticket, since; /* relaxed: mk_hang_since() */
	uint64_t started;
	uint32_t queue, beat, running;
	uint64_t asked; /* when it was asked to end; 0: it was not */
	bool late;      /* ... because its deadline passed */
	bool told;      /* nothing more can be done */
};

struct mk_hang {
	struct mk_ctx *ctx;
	struct watched *workers;
	uint64_t looked;  /* the last time */
	uint64_t active;  /* the last time that something ran */
	uint64_t next;    /* when to look again */
	bool idle;        /* some worker has nothing to do */
	uint64_t limit;   /* of the oldest slot of a queue, the last time */
	bool fresh;       /* it is another now: time begins anew */
	/* when the queues' samples and, before, their horizons were taken */
	uint64_t sampled, horizon;
	bool stuck;       /* slots may wait in vain */
	struct mk_named ready; /* waits for what was reached; code 0: none */
	/* what is found to hang; code 0: nothing */
	struct mk_named found;
	uint32_t opcode;
	uint64_t found_since;
};

struct mk_hang *mk_hang_new(struct mk_ctx *ctx)
{
	struct mk_hang *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->ctx = ctx;
	h->workers = calloc(ctx->config.workers, sizeof(*h->workers));
	if (h->workers)
		return h;
	free(h);
	return NULL;
}

void mk_hang_free(struct mk_hang *h)
{
	if (h)
		free(h->workers);
	free(h);
}

uint64_t mk_hang_since(const struct mk_hang *h, uint32_t worker,
		       uint32_t queue, uint64_t ticket)
{
	const struct watched *w = &h->workers[worker];

	return mk_load_relaxed(&w->queue) == queue &&
			       mk_load_relaxed(&w->ticket) == ticket ?
		       mk_load_relaxed(&w->since) : 0;
}

static void forget(struct watched *w)
{
	mk_store_relaxed(&w->since, 0);
	w->asked = 0;
	w->late = w->told = false;
}

static void due(struct mk_hang *h, uint64_t when)
{
	if (when < h->next)
		h->next = when;
}

/* The queue of this index, if it has the ticket in flight. Under list_lock. */
static struct mk_queue *holder(struct mk_ctx *ctx, uint32_t index,
			       uint64_t ticket)
{
	struct mk_queue *q = ctx->queues;
	uint64_t head;

	while (q && q->desc.index != index)
		q = q->list;
	if (!q)
		return NULL;
	head = mk_load_acquire(&q->head);
	return ticket - head < mk_load_acquire(&q->tail) - head &&
			       mk_queue_published(q, ticket) &&
			       !mk_queue_answered(q, ticket) ?
		       q : NULL;
}

/* Of the slot as it was published: the caller's copy may be another's by now,
 * if this one was answered since we looked. */
static uint64_t deadline_of(const struct mk_queue *q, uint64_t ticket)
{
	uint32_t index = (uint32_t)(ticket & q->mask);

	return mk_queue_header(q, ticket) >> 40 & MK_SLOT_DEADLINE ?
		       mk_load_relaxed(&q->ext[index].deadline_ns) :
		       UINT64_MAX;
}

/* A new slot, or the same with a new beat, or another piece of it. When did
 * that begin? Between the last look and now; the worker may know it better. */
static void see_progress(struct mk_hang *h, struct watched *w,
			 uint64_t started, uint64_t now)
{
	mk_store_relaxed(&w->since, started > h->looked && started < now ?
					    started : now);
	w->asked = 0;
	w->told = false;
}

/* It runs the same as before: is it late, does it hang? */
static void judge(struct mk_hang *h, struct watched *w, struct mk_queue *q,
		  uint64_t now)
{
	struct mk_ctx *ctx = h->ctx;
	uint64_t deadline = deadline_of(q, w->ticket);
	uint64_t limit = ctx->hang_ns > UINT64_MAX - w->since ?
				 UINT64_MAX : w->since + ctx->hang_ns;

	if (!w->late && now >= deadline) {
		w->late = true;
		mk_queue_ask_to_end(q, w->ticket);
	}
	if (!w->asked && now >= limit) {
		w->asked = now;
		mk_store_relaxed(&ctx->counts.hung_ns, now);
		mk_queue_ask_to_end(q, w->ticket);
	}
	if (!w->late)
		due(h, deadline);
	if (!w->asked)
		due(h, limit);
	else if (now - w->asked < ctx->grace_ns)
		due(h, w->asked + ctx->grace_ns);
	else if (!w->told && !h->found.code) {
		w->told = true;
		h->found.queue = w->queue;
		h->found.ticket = w->ticket;
		h->found.code = w->late ? MK_EOVERRUN : MK_EHUNG;
		h->opcode = mk_queue_header(q, w->ticket) % MK_OPCODES;
		h->found_since = w->since;
	}
}

static void look_at_worker(struct mk_hang *h, uint32_t i, uint64_t now)
{
	const struct mk_worker_block *b = &h->ctx->workers[i];
	struct watched *w = &h->workers[i];
	uint32_t running = mk_load_acquire(&b->running), queue, beat;
	uint64_t ticket, started;
	struct mk_queue *q;
	bool same;

	if (!(running & 1u)) {
		h->idle = true;
		forget(w);
		return;
	}
	h->active = now;
	ticket = mk_load_relaxed(&b->ticket);
	queue = mk_load_relaxed(&b->queue);
	beat = mk_load_relaxed(&b->beat);
	started = mk_load_relaxed(&b->started_ns);
	same = w->since && ticket == w->ticket && queue == w->queue;
	if (!same) {
		forget(w);
		mk_store_relaxed(&w->ticket, ticket);
		mk_store_relaxed(&w->queue, queue);
	}
	if (!same || beat != w->beat || running != w->running ||
	    started != w->started)
		see_progress(h, w, started, now);
	w->beat = beat;
	w->running = running;
	w->started = started;
	q = holder(h->ctx, queue, ticket);
	if (q)
		judge(h, w, q, now);
	else
		forget(w); /* answered just now, or nonsense */
}

/* The oldest slot without an answer that an engine could have come to: what
 * somebody got and has not published yet holds up those behind it. One that
 * goes on without a worker takes its time, and a fence behind it; unless all
 * that there is waits again. */
static bool oldest(const struct mk_queue *q, uint64_t *ticket, bool *awaits)
{
	uint64_t tail = mk_load_acquire(&q->tail);
	bool passed = false;

	*awaits = false;
	for (uint64_t t = mk_load_acquire(&q->head); t != tail; t++) {
		enum mk_idle_kind kind;

		if (!mk_queue_published(q, t))
			break;
		if (mk_queue_answered(q, t))
			continue;
		kind = mk_stuck_kind(q, t);
		if (kind == MK_IDLE_AWAITS && !*awaits) {
			*awaits = true;
			*ticket = t;
		}
		if (kind == MK_IDLE_AWAITS || kind == MK_IDLE_GOES_ON ||
		    (passed &&
		     (uint16_t)mk_queue_header(q, t) == MK_OP_FENCE)) {
			passed = true;
			continue;
		}
		*awaits = false;
		*ticket = t;
		return true;
	}
	return *awaits;
}

static bool named(const struct mk_hang *h, const struct mk_queue *q,
		  uint64_t ticket)
{
	for (uint32_t i = 0; i < h->ctx->config.workers; i++)
		if (h->workers[i].since &&
		    h->workers[i].ticket == ticket &&
		    h->workers[i].queue == q->desc.index)
			return true;
	return false;
}

/* It was found to wait for what is reached; then it has to run. */
static bool was_ready(const struct mk_hang *h, const struct mk_queue *q,
		      uint64_t ticket)
{
	return h->ready.code && h->ready.queue == q->desc.index &&
	       h->ready.ticket == ticket;
}

/* What was published until now: so often that of what has waited for hang_ns
 * the last sample but one was taken since. */
static void take_samples(struct mk_hang *h, uint64_t limit, uint64_t now)
{
	if (limit == UINT64_MAX ||
	    now - h->sampled < limit / LOOKS * (LOOKS / 2 - 1))
		return;
	h->horizon = h->sampled;
	h->sampled = now;
	for (struct mk_queue *q = h->ctx->queues; q; q = q->list) {
		q->horizon = q->sample;
		q->sample = mk_load_acquire(&q->tail);
	}
}

/* When a worker is judged that has made no progress for about as long; 0:
 * there is none. Where all has stopped (a device that trapped, of which the
 * driver has yet to tell; a process that was stopped) what ran is more likely
 * at fault than a slot that nobody has begun. */
static uint64_t verdict(const struct mk_hang *h, uint64_t since)
{
	const struct mk_ctx *ctx = h->ctx;
	uint64_t slack = ctx->hang_ns / LOOKS;

	for (uint32_t i = 0; i < ctx->config.workers; i++) {
		const struct watched *w = &h->workers[i];

		if (w->since && !w->told && w->since <= since + slack)
			return (w->asked ? w->asked :
					   w->since + ctx->hang_ns) +
			       ctx->grace_ns;
	}
	return 0;
}

static void look_at_queue(struct mk_hang *h, struct mk_queue *q,
			  uint64_t limit, uint64_t now)
{
	uint64_t ticket, later;
	bool waits;

	if (!oldest(q, &ticket, &waits)) {
		q->stale_since = 0;
		return;
	}
	h->active = now;
	waits |= mk_queue_header(q, ticket) >> 40 & MK_SLOT_WAIT &&
		 !was_ready(h, q, ticket);
	/* one that waits needs no worker */
	if (!q->stale_since || q->stale != ticket || named(h, q, ticket) ||
	    (!waits && (!h->idle || h->fresh))) {
		q->stale = ticket;
		q->stale_since = now;
	}
	if (limit > UINT64_MAX - q->stale_since)
		return;
	if (now < q->stale_since + limit) {
		due(h, q->stale_since + limit);
		return;
	}
	if (h->found.code)
		return;
	if (waits) {
		/* who could raise its counter was published before the
		 * horizon was taken */
		h->stuck |= h->horizon && q->stale_since <= h->horizon;
		return;
	}
	later = verdict(h, q->stale_since);
	if (later > now) {
		due(h, later);
		return;
	}
	mk_store_relaxed(&h->ctx->counts.hung_ns, now);
	h->found.queue = q->desc.index;
	h->found.ticket = ticket;
	h->found.code = now > deadline_of(q, ticket) ? MK_EOVERRUN : MK_EHUNG;
	h->opcode = mk_queue_header(q, ticket) % MK_OPCODES;
	h->found_since = q->stale_since;
	q->stale_since = UINT64_MAX; /* once */
}

/* How long the oldest slot of a queue may stay where it is. */
static uint64_t queue_limit(struct mk_ctx *ctx)
{
	uint64_t command_ns = mk_load_relaxed(&ctx->command_ns);
	uint64_t limit = ctx->hang_ns;

	if (pthread_mutex_trylock(&ctx->lock))
		/* a command: the engine may have stepped aside for it */
		return limit > command_ns ? limit : command_ns;
	if (ctx->quiesced)
		limit = UINT64_MAX;
	pthread_mutex_unlock(&ctx->lock);
	return limit;
}

/* What was found hangs: put it on record, then end it if that can be. */
static void act(struct mk_hang *h, uint64_t now)
{
	struct mk_ctx *ctx = h->ctx;
	bool process = ctx->isolation == MK_ISOLATION_PROCESS;
	struct mk_error why = { .code = process ? -MK_EDEVLOST : -MK_EHUNG,
				.operation = "mk_ctx" };
	char name[MK_HANDLER_NAME_BYTES];

	mk_ctx_handler_name(ctx, h->opcode, name);
	snprintf(why.text, sizeof(why.text),
		 "handler %s (opcode %u) has made no progress for %llu ms, "
		 "ticket %llu of queue %u%s", name, h->opcode,
		 (unsigned long long)((now - h->found_since) / MS),
		 (unsigned long long)h->found.ticket, h->found.queue,
		 process ? ": its worker process was killed" :
			   ": with isolation none it cannot be ended");
	if (process)
		mk_loss_blame(ctx, h->found.queue, h->found.ticket,
			      h->found.code);
	mk_evidence_take(ctx, &why);
	mk_evidence_write(ctx, false);
	if (process)
		mk_ctx_condemn(ctx, &why);
	else
		mk_ctx_fail(ctx, &why);
}

/* Slots may wait in vain: find out, put it on record, end them. */
static void act_stuck(struct mk_hang *h)
{
	struct mk_ctx *ctx = h->ctx;
	struct mk_error why = { .code = 0 };
	struct mk_named ready = { .code = 0 };

	h->ready.code = 0;
	switch (mk_stuck_look(ctx, &why, &ready)) {
	case MK_STUCK_FOUND:
		mk_evidence_take(ctx, &why);
		mk_evidence_write(ctx, false);
		break;
	case MK_STUCK_READY:
		ready.code = MK_EHUNG;
		h->ready = ready;
		break;
	case MK_STUCK_NOT:
		break;
	}
	/* all of them have as much time again */
	pthread_mutex_lock(&ctx->list_lock);
	for (struct mk_queue *q = ctx->queues; q; q = q->list)
		q->stale_since = 0;
	pthread_mutex_unlock(&ctx->list_lock);
}

static void forget_all(struct mk_hang *h)
{
	for (uint32_t i = 0; i < h->ctx->config.workers; i++)
		forget(&h->workers[i]);
	pthread_mutex_lock(&h->ctx->list_lock);
	for (struct mk_queue *q = h->ctx->queues; q; q = q->list)
		q->stale_since = 0;
	pthread_mutex_unlock(&h->ctx->list_lock);
}

/* Between two looks, if nothing is due. */
static uint64_t pace(const struct mk_hang *h, uint64_t now)
{
	struct mk_ctx *ctx = h->ctx;
	uint64_t nap = ctx->hang_ns == MK_FOREVER ? MK_FOREVER :
						    ctx->hang_ns / LOOKS;
	uint64_t late = now - h->active < ACTIVE_NS ? LATE_LOOK_NS :
						      LATE_IDLE_NS;

	return mk_load_relaxed(&ctx->deadlines) && late < nap ? late : nap;
}

uint64_t mk_hang_look(struct mk_hang *h)
{
	struct mk_ctx *ctx = h->ctx;
	uint64_t now = mk_now_ns(), limit = queue_limit(ctx), nap;

	if (mk_load_acquire(&ctx->lost)) {
		forget_all(h);
		return MK_FOREVER; /* whoever brings it back rings */
	}
	nap = pace(h, now);
	/* what was paused, or busy with a command, has had no time yet */
	h->fresh = limit != h->limit;
	h->limit = limit;
	h->next = UINT64_MAX;
	h->idle = false;
	h->found.code = 0;
	h->stuck = false;
	pthread_mutex_lock(&ctx->list_lock);
	take_samples(h, limit, now);
	for (uint32_t i = 0; i < ctx->config.workers; i++)
		look_at_worker(h, i, now);
	for (struct mk_queue *q = ctx->queues; q; q = q->list)
		look_at_queue(h, q, limit, now);
	pthread_mutex_unlock(&ctx->list_lock);
	h->looked = now;
	if (h->found.code) {
		act(h, now);
		if (ctx->isolation == MK_ISOLATION_PROCESS)
			forget_all(h);
	}
	if (h->stuck && !h->found.code)
		act_stuck(h);
	if (h->next > now && h->next - now < nap)
		nap = h->next - now;
	return nap;
}
