/* SPDX-License-Identifier: Apache-2.0 */
/* Taking evidence. Shared memory is hostile: every word is read once, and
 * only what is in range is used. */
#include "context/evidence.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/order.h"
#include "context/keeper.h"
#include "context/record.h"
#include "queue/queue.h"
#include "worker/proxy.h"

/* ---- taking ------------------------------------------------------------ */

static const struct mk_queue *queue_of(const struct mk_ctx *ctx,
				       uint32_t index)
{
	const struct mk_queue *q = ctx->queues;

	while (q && q->desc.index != index)
		q = q->list;
	return q;
}

static bool in_flight(const struct mk_queue *q, uint64_t ticket)
{
	uint64_t head = mk_load_acquire(&q->head);

	return ticket - head < mk_load_acquire(&q->tail) - head &&
	       mk_queue_published(q, ticket) && !mk_queue_answered(q, ticket);
}

/* What the caller knows of the slot itself. */
static void take_slot(struct mk_record_worker *w, const struct mk_queue *q)
{
	const struct mk_slot *slot = &q->slots[w->ticket & q->mask];

	w->known = true;
	w->opcode = slot->opcode;
	w->user_data = slot->user_data;
	w->flags = slot->flags;
	if (slot->flags & MK_SLOT_DEADLINE)
		w->deadline_ns = mk_load_relaxed(
			&q->ext[w->ticket & q->mask].deadline_ns);
	memcpy(w->args, slot->arg, sizeof(w->args));
}

static void take_worker(struct mk_ctx *ctx, uint32_t i,
			struct mk_record_worker *w)
{
	const struct mk_worker_block *b = &ctx->workers[i];
	bool odd = mk_load_acquire(&b->running) & 1u;
	int32_t sig = mk_load_acquire(&b->fault_signal);
	const struct mk_queue *q;

	w->queue = mk_load_relaxed(&b->queue);
	w->ticket = mk_load_relaxed(&b->ticket);
	w->opcode = mk_load_relaxed(&b->opcode) % MK_OPCODES;
	w->beat = mk_load_relaxed(&b->beat);
	w->slots = mk_load_relaxed(&b->slots);
	w->failed = mk_load_relaxed(&b->failed);
	w->cancelled = mk_load_relaxed(&b->cancelled);
	w->sleeps = mk_load_relaxed(&b->sleeps);
	w->wakes = mk_load_relaxed(&b->wakes);
	q = queue_of(ctx, w->queue);
	if (!q || !in_flight(q, w->ticket) ||
	    ctx->config.heartbeat != MK_HEARTBEAT_ON)
		return;
	w->phase = odd ? MK_PHASE_RUNNING : MK_PHASE_ANSWERING;
	if (!odd && !(ctx->real->traits & MK_TRAIT_NAMES_ALL)) {
		w->phase = MK_PHASE_IDLE;
		return;
	}
	if (odd && sig > 0 && sig < 65) {
		w->phase = MK_PHASE_CRASHED;
		w->fault_signal = sig;
		w->fault_code = mk_load_relaxed(&b->fault_code);
		w->fault_address = mk_load_relaxed(&b->fault_address);
	}
	w->since_ns = mk_load_relaxed(&b->started_ns);
	if (!w->since_ns)
		w->since_ns = mk_keeper_since(ctx, i, w->queue, w->ticket);
	take_slot(w, q);
}

/* The last records of a debug log: a cursor that grows, and records that say
 * which they are. */
static void take_logs(struct mk_queue *q, struct mk_record_queue *out)
{
	const struct mk_debug_log *log = mk_queue_log(q);
	const struct mk_debug_record *r = (const void *)(log + 1);
	uint64_t cursor = mk_load_acquire(&log->cursor), at;
	uint32_t most = q->desc.log_records;

	if (most > MK_RECORD_LOGS)
		most = MK_RECORD_LOGS;
	at = cursor > most ? cursor - most : 0;
	for (; at != cursor; at++) {
		const struct mk_debug_record *from =
			&r[at & (q->desc.log_records - 1)];

		if (mk_queue_log_record(from, at, &out->log[out->logs]))
			out->logs++;
	}
}

static void take_queue(struct mk_queue *q, struct mk_record_queue *out)
{
	out->index = q->desc.index;
	out->entries = q->mask + 1;
	out->priority = q->desc.priority;
	out->mode = mk_load_relaxed(&q->block->mode);
	out->head = mk_load_acquire(&q->head);
	out->tail = mk_load_acquire(&q->tail);
	out->claim = mk_load_acquire(&q->block->claim);
	out->unanswered = mk_queue_unanswered(q);
	take_logs(q, out);
}

static void take_context(struct mk_ctx *ctx, struct mk_record *r)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	r->time_ns = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
	r->now_ns = mk_now_ns();
	strncpy(r->engine, ctx->real->name, sizeof(r->engine) - 1);
	memcpy(r->device, ctx->device_name, sizeof(r->device));
	r->device[sizeof(r->device) - 1] = '\0';
	r->isolation = ctx->isolation;
	r->recovery = ctx->recovery;
	r->restarts = mk_load_relaxed(&ctx->restarts);
	r->launches = mk_ctx_launches(ctx);
	r->losses = mk_load_relaxed(&ctx->counts.losses);
	r->hang_ns = ctx->hang_ns;
	r->grace_ns = ctx->grace_ns;
	r->state = mk_load_acquire(&ctx->block->state);
	pthread_mutex_lock(&ctx->kill_lock);
	if (ctx->victim)
		r->pid = mk_proxy_pid(ctx->victim);
	pthread_mutex_unlock(&ctx->kill_lock);
}

static bool taken(struct mk_ctx *ctx, uint64_t *number)
{
	bool fresh;

	pthread_mutex_lock(&ctx->error_lock);
	fresh = ctx->record && ctx->record->fresh;
	*number = ctx->record ? ctx->record->number + 1 : 1;
	pthread_mutex_unlock(&ctx->error_lock);
	return fresh;
}

static const char *cause_of(struct mk_ctx *ctx, const struct mk_record *r)
{
	if (r->why.code == -EDEADLK)
		return "deadlock";
	if (ctx->loss.crashed)
		return "crash";
	for (uint32_t i = 0; i < r->workers; i++)
		if (r->worker[i].phase == MK_PHASE_CRASHED)
			return "crash";
	return ctx->loss.blamed.code || r->why.code == -MK_EHUNG ? "hang" :
								   "death";
}

void mk_evidence_take(struct mk_ctx *ctx, const struct mk_error *why)
{
	uint32_t n = ctx->config.workers;
	struct mk_record *r, *old;
	uint64_t number;

	if (taken(ctx, &number))
		return;
	r = calloc(1, sizeof(*r) + n * sizeof(r->worker[0]));
	if (!r)
		return;
	r->why = *why;
	r->number = number;
	/* nothing is lost when slots wait in vain: the next loss is another */
	r->fresh = ctx->isolation == MK_ISOLATION_PROCESS &&
		   why->code != -EDEADLK;
	r->workers = n;
	take_context(ctx, r);
	pthread_mutex_lock(&ctx->list_lock);
	for (uint32_t i = 0; i < n; i++)
		take_worker(ctx, i, &r->worker[i]);
	for (struct mk_queue *q = ctx->queues; q; q = q->list) {
		r->queue_count++;
		if (r->queues < MK_RECORD_QUEUES)
			take_queue(q, &r->queue[r->queues++]);
	}
	pthread_mutex_unlock(&ctx->list_lock);
	for (uint32_t i = 0; i < n; i++)
		mk_ctx_handler_name(ctx, r->worker[i].opcode,
				    r->worker[i].handler);
	pthread_mutex_lock(&ctx->error_lock);
	r->cause = cause_of(ctx, r);
	old = mk_evidence_replace(ctx, r);
	pthread_mutex_unlock(&ctx->error_lock);
	free(old);
}

void mk_evidence_next(struct mk_ctx *ctx)
{
	pthread_mutex_lock(&ctx->error_lock);
	if (ctx->record)
		ctx->record->fresh = false;
	pthread_mutex_unlock(&ctx->error_lock);
}

/* ---- giving ------------------------------------------------------------ */

int64_t mk_ctx_evidence(struct mk_ctx *ctx, uint32_t format, char *out,
			size_t room)
{
	int64_t n = 0;

	if (!ctx || (room && !out))
		return mk_error_null("mk_ctx_evidence", ctx ? "out" : "ctx");
	if (format > MK_EVIDENCE_JSON)
		return mk_error_set(-EINVAL, 0, "mk_ctx_evidence",
				    "format is %u, must be a value of enum "
				    "mk_evidence_format", format);
	if (room)
		out[0] = '\0';
	pthread_mutex_lock(&ctx->error_lock);
	if (ctx->record)
		n = (int64_t)mk_record_put(ctx->record, format, out, room);
	pthread_mutex_unlock(&ctx->error_lock);
	return n;
}
