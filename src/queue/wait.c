/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting: for completions, for room, for everything to be answered. */
#include <errno.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/futex.h"
#include "base/order.h"
#include "base/spin.h"
#include "queue/queue.h"

#define MODE_NS 20000000u /* for workers to see a queue's new mode */

/* Completions ready, at most `min` looked for; or what peek says when lost. */
static int wait_look(struct mk_queue *q, unsigned min)
{
	unsigned have = mk_queue_collect(q, min);

	if (have >= min || mk_load_acquire(&q->ctx->lost) != MK_LOST)
		return (int)have;
	mk_queue_end_lost(q);
	have = mk_queue_collect(q, min);
	if (have)
		return (int)(have > min ? have : min); /* no more will come */
	return mk_ctx_check(q->ctx, "mk_queue_wait");
}

/* Sleep until something was answered, unless there is already enough. */
static void wait_sleep(struct mk_queue *q, unsigned min, uint64_t limit)
{
	uint32_t seen = mk_load_seq(&q->block->event);

	/* Dekker with the engine: it stores the answer, then takes
	 * `waiters`; we store it, then look for answers. Left behind when we
	 * do not sleep, it costs the engine one needless wake-up. */
	mk_store_seq(&q->block->waiters, 1);
	if (mk_queue_collect_all(q, min) >= min ||
	    mk_load_seq(&q->ctx->lost) == MK_LOST)
		return;
	q->waits++;
	mk_futex_wait(&q->block->event, seen, limit);
}

int mk_queue_wait(struct mk_queue *q, unsigned min, uint64_t timeout_ns)
{
	struct mk_spin spin;

	if (!min || min > q->mask + 1)
		return mk_error_set(-EINVAL, 0, "mk_queue_wait",
				    "min is %u, must be 1 to %u, the entries "
				    "of the queue", min, q->mask + 1);
	for (mk_spin_begin(&spin, q->spin_ns, timeout_ns);;) {
		int have = wait_look(q, min);

		if (have < 0)
			return have;
		if ((unsigned)have >= min)
			return (int)mk_queue_collect(q, q->mask + 1);
		switch (mk_spin(&spin)) {
		case MK_SPIN_LOOK:
			break;
		case MK_SPIN_SLEEP:
			wait_sleep(q, min, mk_time_left(spin.deadline));
			break;
		case MK_SPIN_LATE:
			return -ETIME;
		}
	}
}

void mk_queue_release(struct mk_queue *q)
{
	uint64_t one = 1;
	int fd;

	mk_add_seq(&q->block->event, 1);
	mk_futex_wake(&q->block->event, INT32_MAX);
	mk_add_seq(&q->room, 1);
	mk_futex_wake(&q->room, INT32_MAX);
	fd = mk_load_acquire(&q->event_fd);
	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
		return; /* full: it is readable, which is what we want */
}

uint64_t mk_queue_unanswered(const struct mk_queue *q)
{
	uint64_t tail = mk_load_acquire(&q->tail);
	uint64_t left = 0;

	for (uint64_t t = mk_load_acquire(&q->head); t != tail; t++)
		left += mk_queue_published(q, t) && !mk_queue_answered(q, t);
	return left;
}

/* Wait until all that was published has its answer. Looks at the rings only,
 * so that it does not take part in reaping. */
static int64_t drain(struct mk_queue *q, uint64_t timeout_ns)
{
	uint64_t deadline = mk_deadline_after(timeout_ns);
	uint64_t left;

	for (;;) {
		uint32_t seen;

		for (unsigned i = 0; i < MK_SPIN_LOOKS; i++) {
			left = mk_queue_unanswered(q);
			if (!left)
				return 0;
			mk_pause();
		}
		if (mk_load_acquire(&q->ctx->lost) == MK_LOST)
			return mk_ctx_check(q->ctx, "mk_queue_drain");
		if (!mk_time_left(deadline))
			return (int64_t)left;
		/* as in wait_sleep() */
		seen = mk_load_seq(&q->block->event);
		mk_store_seq(&q->block->waiters, 1);
		if (mk_queue_unanswered(q) &&
		    mk_load_seq(&q->ctx->lost) != MK_LOST)
			mk_futex_wait(&q->block->event, seen,
				      mk_time_left(deadline));
	}
}

int64_t mk_queue_drain(struct mk_queue *q, uint64_t timeout_ns)
{
	if (!q)
		return mk_error_null("mk_queue_drain", "q");
	return drain(q, timeout_ns);
}

/* Nobody there will run a slot before it has looked at the mode. */
static bool nobody_runs(struct mk_queue *q)
{
	const struct mk_context_block *b = q->ctx->block;

	/* Dekker: we stored the mode, then look who is there; an engine says
	 * that it is there, then looks at the modes */
	return !MK_ATTENTION(mk_load_seq(q->attention), MK_ATTENTIVE) ||
	       mk_load_seq(&b->state) != MK_ENGINE_READY ||
	       mk_load_seq(&q->ctx->lost);
}

void mk_queue_mode(struct mk_queue *q, uint32_t bits, uint64_t timeout_ns)
{
	struct timespec nap = { 0, 20000 };
	uint64_t deadline = mk_deadline_after(timeout_ns < MODE_NS ?
					      timeout_ns : MODE_NS);

	/* pairs with the worker's load before it runs a slot, or with that of
	 * whoever looks for the workers */
	mk_or_seq(&q->block->mode, bits);
	/* slots may wait for counters, while everybody sleeps */
	if (mk_queue_unanswered(q))
		mk_queue_ring(q);
	for (unsigned looks = 0; mk_time_left(deadline); looks++) {
		uint32_t seen = mk_load_seq(&q->block->mode_seen);

		if (!(seen & MK_MODE_TOLD) || !(bits & ~seen) ||
		    nobody_runs(q))
			return;
		if (looks > 1000)
			nanosleep(&nap, NULL);
	}
}

int64_t mk_queue_stop(struct mk_queue *q, uint64_t timeout_ns)
{
	if (!q)
		return mk_error_null("mk_queue_stop", "q");
	mk_store_seq(&q->closed, MK_ESTOPPED);
	mk_add_seq(&q->room, 1);
	mk_futex_wake(&q->room, INT32_MAX);
	mk_queue_mode(q, MK_MODE_CANCEL, timeout_ns);
	return drain(q, timeout_ns);
}

int mk_queue_event_fd(struct mk_queue *q)
{
	struct mk_ctx *ctx;
	int fd, r;

	if (!q)
		return mk_error_null("mk_queue_event_fd", "q");
	ctx = q->ctx;
	if (q->event_fd >= 0)
		return q->event_fd;
	fd = mk_fd_keep(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (fd < 0)
		return mk_error_set(-errno, errno, "mk_queue_event_fd",
				    "eventfd: %s", strerror(errno));
	pthread_mutex_lock(&ctx->lock);
	r = mk_ctx_ready(ctx, "mk_queue_event_fd");
	while (!r) {
		uint64_t mark = mk_load_relaxed(&ctx->restarts);

		r = ctx->ops->queue_event_fd(ctx->engine, q->desc.index, fd);
		if (!r || !mk_ctx_again(ctx, r, mark))
			break;
		r = 0;
	}
	/* under the lock: an engine that takes over is told of it. Dekker with
	 * mk_ctx_lost(): it stores `lost`, then looks for this */
	if (r >= 0)
		mk_store_seq(&q->event_fd, fd);
	pthread_mutex_unlock(&ctx->lock);
	if (r < 0) {
		close(fd);
		return r;
	}
	/* what is ready already is told at once, and so is a loss */
	mk_store_seq(&q->block->armed, 1);
	if ((mk_queue_collect_all(q, 1) || mk_load_seq(&ctx->lost)) &&
	    mk_exchange_seq(&q->block->armed, 0))
		mk_queue_release(q);
	return fd;
}

/* Ready completions other than ours stay ready: take ours out of the middle. */
static bool take_own(struct mk_queue *q, uint32_t index,
		     struct mk_completion *out)
{
	uint64_t have = q->ready_tail - q->ready_head;

	for (uint64_t i = 0; i < have; i++) {
		uint64_t at = q->ready_head + i;

		if (q->ready[at & q->mask] != index)
			continue;
		for (; at != q->ready_head; at--)
			q->ready[at & q->mask] = q->ready[(at - 1) & q->mask];
		q->ready[at & q->mask] = index;
		/* those that the caller has peeked at stay so */
		if (i >= q->peeked)
			q->peeked++;
		return mk_queue_reap(q, out, 1) == 1;
	}
	return false;
}

/* Publish our slot; the one behind it in the ring waits for it. */
static int call_submit(struct mk_queue *q, struct mk_slot *mine)
{
	int r = mk_queue_submit(q, mine, 1);

	if (r >= 0)
		return 0;
	/* its module was unloaded just now: what was got has to go */
	mk_slot_init(mine, MK_OP_NOP, mine->user_data);
	mk_queue_submit(q, mine, 1);
	return r;
}

int mk_queue_call(struct mk_queue *q, const struct mk_slot *slot,
		  struct mk_completion *out, uint64_t timeout_ns)
{
	uint64_t deadline = mk_deadline_after(timeout_ns);
	struct mk_slot copy, *mine;
	struct mk_completion answer;
	int r, refused;

	if (!q || !slot || !out)
		return mk_error_null("mk_queue_call",
				     !q ? "q" : slot ? "out" : "slot");
	copy = *slot;
	copy.flags &= (uint8_t)~MK_SLOT_DEADLINE; /* it has none here */
	if (copy.flags & (MK_SLOT_WAIT | MK_SLOT_RAISE | MK_SLOT_AFTER))
		return mk_error_set(-EINVAL, 0, "mk_queue_call",
				    "flags is 0x%x, of which a slot that was "
				    "not got may have MK_SLOT_IDEMPOTENT alone",
				    slot->flags);
	r = mk_queue_check(q, &copy);
	if (r)
		return r;
	r = mk_queue_get_wait(q, 1, &mine, timeout_ns);
	if (r == -ETIME)
		return mk_error_set(-EAGAIN, 0, "mk_queue_call",
				    "all %u slots of the queue are taken: "
				    "nothing was submitted; reap first",
				    q->mask + 1);
	if (r < 0)
		return r;
	*mine = copy;
	refused = call_submit(q, mine);
	for (;;) {
		unsigned have = mk_queue_collect(q, q->mask + 1);

		/* looked at after collecting: waiting for one more than there
		 * are must not miss ours among them */
		if (take_own(q, (uint32_t)(mine - q->slots), &answer))
			break;
		r = mk_queue_wait(q, have < q->mask + 1 ? have + 1 : have,
				  mk_time_left(deadline));
		if (r == -ETIME)
			return mk_error_set(r, 0, "mk_queue_call",
					    "no answer to opcode %u in time",
					    slot->opcode);
		if (r < 0)
			return r;
	}
	if (refused)
		return refused;
	*out = answer;
	return answer.result;
}
