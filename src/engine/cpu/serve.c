/* SPDX-License-Identifier: Apache-2.0 */
/* One visit to a queue: claim, run, answer. */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdalign.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/futex.h"
#include "base/order.h"
#include "engine/cpu/cpu.h"
#include "engine/cpu/row.h"

#define QUICK_NS 3000u      /* a handler cheaper than this is quick */
#define QUICK_RUNS 16u      /* timed runs before it may be called so */
#define RETIME_EVERY 64u    /* a quick handler is timed again now and then */
#define TELL_EVERY 16u      /* answers to quick slots that may go untold */
#define BACKLOG_NS 20000u   /* work worth waking another worker for */
#define CLAIM_MOST 8u       /* tiny slots that are claimed at once */
#define BACKLOG_REST 16u    /* after a wake-up, this many backlogs pass */
#define FENCE_SPINS 1000u    /* of a fence, at a time */
#define CHEAP_NS 20u        /* what an opcode costs that is never timed */

/* of a wire slot's header: it waits, raises, or has tiles */
#define HEADER_FLOWS \
	((uint64_t)(MK_SLOT_WAIT | MK_SLOT_RAISE) << 40 | 0xfffeull << 48)
/* once for slots that end where they began, once for the others */
#define HOT inline __attribute__((always_inline))

static inline bool marked(uint64_t word, uint64_t ticket, uint32_t shift)
{
	return (uint16_t)(word >> MK_MARK_SHIFT) == MK_MARK(ticket, shift);
}

/* May it have had its answer before a restart? */
static inline bool before_restart(const struct cpu_queue *q, uint64_t ticket)
{
	return ticket - q->skip_until >= UINT64_MAX / 2;
}

/* Is the entry of this ticket a later one's? Then it had its answer before a
 * restart, and was reaped since: it is passed over. */
static bool reused(const struct cpu_queue *q, uint64_t word, uint64_t ticket)
{
	uint16_t newer = (uint16_t)((uint16_t)(word >> MK_MARK_SHIFT) -
				    MK_MARK(ticket, q->shift));

	return before_restart(q, ticket) && newer - 1u < INT16_MAX;
}

bool cpu_queue_has_work(const struct cpu_queue *q)
{
	uint64_t t = mk_load_seq(&q->block->claim), word;

	/* Dekker with mk_queue_submit() */
	word = mk_load_seq(&q->ring[t & q->mask].unit[0].hi);
	return marked(word, t, q->shift) || reused(q, word, t);
}

/* Put the displaced half-words back where they belong. */
static inline uint64_t slot_decode(const struct mk_wire_slot *wire,
				   uint64_t spill, struct cpu_slot *out)
{
	const uint64_t low = (1ull << MK_MARK_SHIFT) - 1;
	uint64_t header = wire->unit[0].lo;

	cpu_slot_header(out, header);
	out->args[0] = wire->unit[1].lo;
	out->args[1] = (wire->unit[1].hi & low) | spill << 48;
	out->args[2] = wire->unit[2].lo;
	out->args[3] = (wire->unit[2].hi & low) | (spill >> 16) << 48;
	out->args[4] = wire->unit[3].lo;
	out->args[5] = (wire->unit[3].hi & low) | (spill >> 32) << 48;
	return header;
}

/* Tell whoever sleeps or polls on this queue that there is an answer. */
static void notify(struct cpu_queue *q)
{
	int fd = mk_load_acquire(&q->event_fd);
	uint64_t one = 1;

	if (mk_load_relaxed(&q->block->waiters) &&
	    mk_exchange_seq(&q->block->waiters, 0)) {
		mk_add_seq(&q->block->event, 1);
		mk_futex_wake(&q->block->event, INT_MAX);
	}
	if (mk_load_relaxed(&q->block->armed) && fd >= 0 &&
	    mk_exchange_seq(&q->block->armed, 0) &&
	    write(fd, &one, sizeof(one)) < 0)
		return; /* it is full, so it is readable */
}

/*
 * Look whether someone waits for what was answered since the last time. Not
 * after every answer: a store that must be seen before the next load costs as
 * much as a slot. Dekker with a waiter that stores `waiters` or `armed`, then
 * looks for answers: adding nothing to the last one is the store here.
 */
void cpu_tell(struct cpu_worker *w)
{
	struct cpu_queue *q = w->untold_queue;

	if (!w->untold)
		return;
	mk_add_seq(&w->untold->head, 0);
	w->untold = NULL;
	w->untold_count = 0;
	if (mk_load_seq(&q->block->waiters) | mk_load_seq(&q->block->armed))
		notify(q);
}

static HOT void answer(struct cpu_worker *w, struct cpu_queue *q,
			  uint64_t t, int32_t result, uint64_t value)
{
	struct mk_wire_completion *c = &q->answers[t & q->mask];

	mk_store_relaxed(&c->value, value);
	/* pairs with mk_queue_answered() */
	mk_store_release(&c->head,
			 (uint64_t)MK_MARK(t, q->shift) << MK_MARK_SHIFT |
				 (uint64_t)(uint16_t)w->index << 32 |
				 (uint32_t)result);
	w->untold = c;
	w->untold_count++;
}

void cpu_answer(struct cpu_worker *w, struct cpu_queue *q, uint64_t t,
		int32_t result, uint64_t value)
{
	if (w->untold && w->untold_queue != q)
		cpu_tell(w);
	w->untold_queue = q;
	answer(w, q, t, result, value);
}

/* Answered already, or so old that its index went on. */
static inline bool answered(const struct cpu_queue *q, uint64_t t)
{
	uint16_t mark = (uint16_t)(mk_load_acquire(&q->answers[t & q->mask]
							    .head) >>
				   MK_MARK_SHIFT);

	return mark != (uint16_t)(MK_MARK(t, q->shift) - 1);
}

static bool cancel_asked(const struct cpu_worker *w, const struct cpu_queue *q)
{
	return mk_load_relaxed(&w->engine->stop) ||
	       (mk_load_relaxed(&q->block->mode) & MK_MODE_CANCEL);
}

/*
 * Wait until every earlier ticket has its answer: for a moment, then again
 * after others had their turn, since what these wait for may be in the lists
 * that we are to serve.
 */
static int32_t run_fence(struct cpu_worker *w, struct cpu_queue *q, uint64_t t)
{
	uint64_t from = t - q->mask;
	uint64_t floor = mk_load_relaxed(&q->fence_floor);

	if (floor - from <= q->mask)
		from = floor;
	for (uint64_t u = from; u != t; u++) {
		for (unsigned spins = 0; !answered(q, u); spins++) {
			if (cancel_asked(w, q) || mk_cancelled(&w->task))
				return -MK_ECANCELLED;
			if (spins > FENCE_SPINS) {
				sched_yield();
				w->task.next.kind = MK_NEXT_RUN;
				w->task.next.opcode = MK_OP_FENCE;
				return MK_NEXT;
			}
			mk_pause();
			/* it is the other that hangs, if one does */
			mk_progress(&w->task);
		}
	}
	mk_store_relaxed(&q->fence_floor, t);
	return MK_OK;
}

const struct mk_handler_entry *cpu_find_entry(void *engine, uint32_t opcode)
{
	struct mk_engine *e = engine;

	return opcode < MK_OPCODES ? mk_load_acquire(&e->ops[opcode].entry) :
				     NULL;
}

/* What the engine does itself: these entries have no function. */
static int32_t run_own(struct cpu_worker *w, struct cpu_queue *q,
		       const struct cpu_slot *slot)
{
	struct mk_row_env env = {
		.find = cpu_find_entry,
		.arg = w->engine,
		.stop = &w->engine->stop,
		.mode = &q->block->mode,
	};

	if (slot->opcode == MK_OP_FENCE)
		return run_fence(w, q, w->task.ticket);
	return mk_cpu_row_run(&w->task, (const struct mk_op_row *)slot->args,
			      &env);
}

static inline int32_t run_entry(struct cpu_worker *w, struct cpu_queue *q,
				const struct mk_handler_entry *entry,
				const struct cpu_slot *slot)
{
	return entry->run ? entry->run(&w->task, slot->args) :
			    run_own(w, q, slot);
}

/* Run with the clock: learn what this opcode costs. */
static int32_t run_timed(struct cpu_worker *w, struct cpu_queue *q,
			 struct cpu_op *op,
			 const struct mk_handler_entry *entry,
			 const struct cpu_slot *slot)
{
	uint64_t start = mk_now_ns(), took;
	uint32_t cost = mk_load_relaxed(&op->cost_ns);
	uint32_t runs = mk_load_relaxed(&op->runs);
	int32_t result;

	if (!w->silent)
		mk_store_relaxed(&w->block->started_ns, start);
	result = run_entry(w, q, entry, slot);
	if (!w->silent)
		mk_store_relaxed(&w->block->started_ns, 0);
	took = mk_now_ns() - start;
	if (took > UINT32_MAX / 8)
		took = UINT32_MAX / 8;
	cost = runs ? (cost * 7 + (uint32_t)took) / 8 : (uint32_t)took;
	mk_store_relaxed(&op->cost_ns, cost);
	mk_store_relaxed(&op->runs, runs + 1);
	if (mk_load_relaxed(&op->quick) != CPU_QUICK_ALWAYS)
		mk_store_relaxed(&op->quick, runs >= QUICK_RUNS &&
				 cost < QUICK_NS && took < 4 * QUICK_NS ?
					 CPU_QUICK : CPU_UNKNOWN);
	return result;
}

static HOT int32_t run(struct cpu_worker *w, struct cpu_queue *q,
		   struct cpu_op *op, const struct mk_handler_entry *entry,
		   const struct cpu_slot *slot)
{
	uint32_t quick = mk_load_relaxed(&op->quick);
	int32_t result;

	if (quick == CPU_QUICK_ALWAYS)
		return run_entry(w, q, entry, slot);
	/* it may take long this time: nobody else must have to wait for it */
	cpu_tell(w);
	if (quick == CPU_QUICK) {
		cpu_attention_watch(w);
		return w->block->slots % RETIME_EVERY ?
			       run_entry(w, q, entry, slot) :
			       run_timed(w, q, op, entry, slot);
	}
	cpu_attention_drop(w);
	result = run_timed(w, q, op, entry, slot);
	cpu_attention_raise(w);
	return result;
}

/* Has it a deadline, and has that passed? */
static bool late(struct cpu_queue *q, struct mk_task *task,
		 const struct cpu_slot *slot)
{
	if (!(slot->flags & MK_SLOT_DEADLINE))
		return false;
	task->deadline_ns =
		mk_load_relaxed(&q->ext[task->ticket & q->mask].deadline_ns);
	return mk_now_ns() > task->deadline_ns;
}

/* Reasons for which a claimed slot is not run; 0: run it. */
static HOT int32_t refuse(struct cpu_queue *q, struct mk_task *task,
			     const struct cpu_slot *slot,
			     const struct mk_handler_entry *entry)
{
	uint32_t mode = mk_load_relaxed(&q->block->mode);

	if ((mode & MK_MODE_CANCEL) || mk_load_relaxed(&q->control->shutdown))
		return -MK_ECANCELLED;
	/* one that is late is asked to end by the library too */
	if ((mode & MK_MODE_CANCEL_SOME) && mk_cancelled(task))
		return late(q, task, slot) ? -MK_EDEADLINE : -MK_ECANCELLED;
	/* the host checked all this; the memory may have changed since */
	if (!entry)
		return -MK_EOPCODE;
	if (slot->tenant >= MK_TENANTS)
		return -MK_ERANGE;
	if (slot->priority >= MK_PRIORITIES || (slot->flags & ~MK_SLOT_FLAGS))
		return -EINVAL;
	return late(q, task, slot) ? -MK_EDEADLINE : 0;
}

int32_t cpu_refuse(struct cpu_queue *q, struct mk_task *task,
		   const struct cpu_slot *slot,
		   const struct mk_handler_entry *entry)
{
	return refuse(q, task, slot, entry);
}

/* A handler that gave up when it was asked to, because it was late. */
static int32_t overrun(const struct mk_task *task, int32_t result)
{
	return task->deadline_ns != UINT64_MAX &&
	       mk_now_ns() > task->deadline_ns ? -MK_EOVERRUN : result;
}

/*
 * Should the process die, the caller tells from the block which slot had
 * begun. No order of the hardware matters for that: what stands before the
 * death in the program has been stored when the process has been reaped. But
 * the compiler has to keep to it: the last answer comes before the ticket,
 * ticket and opcode before the handler, which is a call that it cannot see
 * into.
 */
static HOT int32_t execute(struct cpu_worker *w, struct cpu_queue *q,
			      const struct cpu_slot *slot,
			      const struct mk_handler_entry *entry,
			      int32_t result)
{
	struct mk_worker_block *b = w->block;

	w->task.opcode = slot->opcode;
	if (!w->silent) {
		mk_store_release(&b->ticket, w->task.ticket);
		mk_store_relaxed(&b->opcode, slot->opcode);
		mk_store_release(&b->running, w->runs + 1);
	}
	if (!result)
		result = run(w, q, &w->engine->ops[slot->opcode], entry, slot);
	else
		mk_count(&b->cancelled, 1);
	if (result == -MK_ECANCELLED)
		result = overrun(&w->task, result);
	w->runs += 2;
	if (!w->silent)
		mk_store_release(&b->running, w->runs);
	return result;
}

int32_t cpu_execute(struct cpu_worker *w, struct cpu_queue *q,
		    const struct cpu_slot *slot,
		    const struct mk_handler_entry *entry, int32_t refused)
{
	return execute(w, q, slot, entry, refused);
}

static inline void account(struct mk_worker_block *b,
			   const struct cpu_slot *slot, int32_t result)
{
	mk_count(&b->slots, 1);
	if (result < 0)
		mk_count(&b->failed, 1);
	/* one that names nobody's number is counted under nobody's */
	if (slot->tenant < MK_TENANTS)
		mk_count(&b->tenant[slot->tenant], 1);
	if (slot->priority < MK_PRIORITIES)
		mk_count(&b->priority[slot->priority], 1);
	if (slot->opcode < MK_OPCODES)
		mk_count(&b->opcodes[slot->opcode], 1);
}

void cpu_account(struct cpu_worker *w, const struct cpu_slot *slot,
		 int32_t result)
{
	account(w->block, slot, result);
}

/* A slot that is ours: run it and answer it, once; or let it flow. */
static void serve_slot(struct cpu_worker *w, struct cpu_queue *q, uint64_t t,
		       uint64_t spill)
{
	const struct mk_handler_entry *entry;
	struct cpu_slot slot;
	int32_t result;

	w->header = slot_decode(&q->ring[t & q->mask], spill, &slot);
	cpu_task_begin(w, q, t);
	if (w->header & HEADER_FLOWS) {
		cpu_flow_slot(w, q, &slot);
		return;
	}
	entry = cpu_find_entry(w->engine, slot.opcode);
	result = execute(w, q, &slot, entry,
			 refuse(q, &w->task, &slot, entry));
	if (result == MK_NEXT || w->job) {
		cpu_flow_after(w, q, &slot, result);
		return;
	}
	account(w->block, &slot, result);
	answer(w, q, t, result, w->task.value);
}

/* So much is waiting that another worker is worth its wake-up? */
static void look_at_backlog(struct cpu_worker *w, struct cpu_queue *q,
			    uint64_t t, uint32_t opcode)
{
	struct mk_engine *e = w->engine;
	uint32_t cost = mk_load_relaxed(&e->ops[opcode % MK_OPCODES].cost_ns);
	uint64_t ahead = BACKLOG_NS / (cost ? cost : CHEAP_NS) + 1;

	/* the woken one needs time to show what it is good for */
	if (w->backlog_rest) {
		w->backlog_rest--;
		return;
	}
	if (MK_ATTENTION(mk_load_relaxed(&e->block->attention), MK_ASLEEP) &&
	    ahead <= q->mask &&
	    marked(mk_load_relaxed(&q->ring[(t + ahead) & q->mask].unit[0].hi),
		   t + ahead, q->shift)) {
		w->backlog_rest = (uint32_t)(BACKLOG_REST * ahead /
					     CLAIM_MOST);
		cpu_attention_wake(w);
	}
}

/* So cheap that claiming would cost more than running? One that only used to
 * be so does not count: if it takes long, what was claimed with it is stuck. */
static bool tiny(struct mk_engine *e, uint32_t opcode)
{
	return mk_load_relaxed(&e->ops[opcode % MK_OPCODES].quick) ==
	       CPU_QUICK_ALWAYS;
}

/*
 * How many slots from ticket t on to claim at once: those that are published,
 * and more than one only while they are tiny. The looks do not depend on each
 * other, so their cache misses overlap.
 */
static unsigned claimable(struct cpu_worker *w, struct cpu_queue *q,
			  uint64_t t, unsigned most)
{
	unsigned n;

	for (n = 0; n < most; n++) {
		const struct mk_wire_unit *unit =
			&q->ring[(t + n) & q->mask].unit[0];
		/* pairs with the stamp of mk_queue_submit() */
		uint64_t word = mk_load_acquire(&unit->hi);

		if (!marked(word, t + n, q->shift) &&
		    !reused(q, word, t + n))
			break;
		/* may be another slot's by now: then claiming fails */
		if (!tiny(w->engine, (uint16_t)mk_load_relaxed(&unit->lo)))
			return n ? n : 1;
	}
	return n;
}

/* Tickets [t, t + n) are ours. */
static void serve_claimed(struct cpu_worker *w, struct cpu_queue *q,
			  uint64_t t, unsigned n)
{
	if (w->untold && w->untold_queue != q)
		cpu_tell(w);
	w->untold_queue = q;
	cpu_task_enter(w, q);
	for (uint64_t end = t + n; t != end; t++) {
		uint64_t hi = mk_load_acquire(&q->ring[t & q->mask].unit[0].hi);

		/* after a restart: passed over what has its answer */
		if (before_restart(q, t) && answered(q, t))
			continue;
		serve_slot(w, q, t, hi & ((1ull << MK_MARK_SHIFT) - 1));
		if (w->untold_count >= TELL_EVERY)
			cpu_tell(w);
	}
	look_at_backlog(w, q, t, w->task.opcode);
}

unsigned cpu_serve_queue(struct cpu_worker *w, struct cpu_queue *q)
{
	uint64_t t = mk_load_relaxed(&q->block->claim);
	unsigned served = 0;

	while (served < q->burst) {
		unsigned n = claimable(w, q, t, CLAIM_MOST);

		if (!n)
			break;
		if (!mk_cas_seq(&q->block->claim, &t, t + n))
			continue;
		serve_claimed(w, q, t, n);
		served += n;
		t += n;
		/* someone wants to change the tables: see worker.c */
		if (mk_load_relaxed(&w->engine->epoch) != w->epoch)
			break;
	}
	cpu_tell(w);
	return served;
}
