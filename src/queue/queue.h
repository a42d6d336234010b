/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue as the host sees it. Its rings lie in the region; the words below
 * are the caller's own and the engine never sees them.
 *
 * Tickets are 64-bit, run free, and wrap. Ticket t has index t & mask in
 * every array:
 *
 *	first_ticket ... head ......... next ......... tail
 *	  advanced     |  collected     |  in flight    | free, up to head +
 *	               |  or answered   |  or got       | entries
 *
 * Any number of producers move tail; one reaper moves next and head.
 */
#ifndef MK_QUEUE_H
#define MK_QUEUE_H

#include <pthread.h>
#include <stdalign.h>

#include "base/order.h"
#include "context/context.h"

/* What became of an index ahead of `next`. */
enum mk_early {
	MK_EARLY_NO = 0,
	MK_EARLY_READY = 1, /* collected out of order */
	MK_EARLY_DONE = 2   /* advanced out of order */
};

/* Endings, as mk_queue_stats counts them. */
enum mk_ending {
	MK_END_OK,
	MK_END_FAULTED,
	MK_END_OPCODE,
	MK_END_ARGS,
	MK_END_EXPIRED,
	MK_END_CANCELLED,
	MK_END_OTHER,
	MK_END_HUNG,
	MK_END_OVERRUN,
	MK_END_NOT_RUN,
	MK_END_MAY_RUN,
	MK_END_POISONED,
	MK_END_UPSTREAM,
	MK_END_DEADLOCK,
	MK_ENDINGS
};

struct mk_queue {
	/* written at creation; read by everyone */
	struct mk_slot *slots; /* host's copies, entries of them */
	struct mk_wire_slot *ring;
	struct mk_queue_block *block;
	uint64_t *attention; /* of the context block */
	const uint8_t *opcode_args;
	uint32_t mask, shift;
	uint32_t closed; /* 0, or the code that get returns; store-release */
	uint32_t reserved;
	struct mk_ctx *ctx;
	struct mk_wire_completion *answers;
	struct mk_wire_ext *ext;
	uint64_t first_ticket;
	uint64_t spin_ns;

	/* producers: CAS */
	alignas(MK_LINE) uint64_t tail;
	uint64_t high;  /* most slots between get and advance; relaxed */
	uint64_t full;  /* get found no room; relaxed add */
	uint64_t doorbells; /* relaxed add */
	uint32_t room_waiters; /* producers asleep on `room`; seq_cst */
	uint32_t room;  /* futex; the reaper adds when it made room */

	/* reaper: store-release; producers: load-acquire */
	alignas(MK_LINE) uint64_t head;

	/* the reaper's alone */
	alignas(MK_LINE) uint64_t next;
	uint64_t limit;      /* tail as last seen */
	uint32_t *ready;     /* ring of collected indices, entries of them */
	uint64_t ready_head, ready_tail;
	unsigned peeked;     /* of these, from ready_head on */
	uint8_t *early;      /* enum mk_early, by index */
	uint32_t early_count;
	uint64_t scan;       /* ticket where the out-of-order scan goes on */
	uint64_t missed;     /* ticket that had no answer when looked for, */
	uint64_t missed_ns;  /* the first time at this time; 0: none yet */
	uint64_t endings[MK_ENDINGS];
	uint64_t waits;
	uint64_t event_signals;
	uint64_t failed_end; /* 1 + the latest ticket that ended badly and was
			      * reaped; stored before head, relaxed */
	uint64_t log_position;
	int event_fd; /* -1: none */

	/* cancel words that are set, or about to be; anyone adds (seq), the
	 * reaper takes them away */
	alignas(MK_LINE) uint32_t cancels;
	/* the keeper's alone: the oldest slot without an answer, and since
	 * when; 0: none is known. tail as it was when it last took a sample,
	 * and the time before: see hang.c */
	uint64_t stale, stale_since;
	uint64_t sample, horizon;

	/* whoever serves the IO queue (requests.c): numbers of requests */
	alignas(MK_LINE) uint8_t *asked_state; /* by index; NULL: never taken */
	uint64_t asked_next;  /* the first that was not taken */
	uint64_t asked_freed; /* what `taken` says */
	uint64_t asked_gone;  /* those before were posted by engines that are
			       * gone */
	uint64_t asked_lost;  /* the same, as shared memory has it: recovery
			       * store-release; taking load-acquire */

	/* under ctx->lock */
	struct mk_queue *list;
	struct mk_queue_desc desc;

	pthread_mutex_t loss_lock; /* who gives lost slots their answers */
	uint64_t cancel_split; /* of mk_ctx_cancel(): those from it on were
				* asked first; under list_lock */
	uint64_t loss_claim;       /* tickets below it had been claimed */
	bool loss_seen;            /* loss_claim is set */
	uint64_t *strikes; /* by index: the ticket that had begun in a process
			    * that was lost, see lost.c; under loss_lock */
	/* by index: 1 + the ticket that waited in vain, for which the reaper
	 * finds -EDEADLK; NULL until there is one. Stored (release) by the
	 * keeper, under loss_lock */
	uint64_t *stuck;
	uint64_t *asked;   /* by index: 1 + the ticket that the library itself
			    * asked to end, and nobody else; under
			    * loss_lock */
};

/* ---- for the rest of the library -------------------------------------- */

struct mk_control *mk_queue_control(const struct mk_queue *q);
struct mk_debug_log *mk_queue_log(const struct mk_queue *q);
struct mk_io_queue *mk_queue_io(const struct mk_queue *q);

/* The index of a slot that the caller names; beyond the ring if it is none
 * of this queue's, or not the begin of one. */
static inline uint64_t mk_queue_slot_index(const struct mk_queue *q,
					   const struct mk_slot *slot)
{
	uint64_t at = (uintptr_t)slot - (uintptr_t)q->slots;

	return at >> 6 | at << 58;
}

/* True if ticket t was published: its mark stands in the ring. */
bool mk_queue_published(const struct mk_queue *q, uint64_t t);
/* True if the answer to ticket t, which is in [head, tail), has come. */
bool mk_queue_answered(const struct mk_queue *q, uint64_t t);

/* unit[0].lo of the wire slot of ticket t. */
static inline uint64_t mk_queue_header(const struct mk_queue *q, uint64_t t)
{
	return mk_load_relaxed(&q->ring[t & q->mask].unit[0].lo);
}

/* The begun word of ticket t; 0: it is another's, or it has not begun. */
static inline uint32_t mk_queue_begun(const struct mk_queue *q, uint64_t t)
{
	/* pairs with the device's store-release; after the first run */
	uint32_t word = mk_load_acquire(&q->ext[t & q->mask].begun);

	return word % MK_BEGUN_WAITS == (MK_BEGUN | MK_MARK(t, q->shift)) ?
		       word : 0;
}

/* 0, or why mk_queue_submit() would refuse this slot. (submit.c) */
int mk_queue_check(const struct mk_queue *q, const struct mk_slot *slot);

/* Published slots that have no answer yet. Any thread. (wait.c) */
uint64_t mk_queue_unanswered(const struct mk_queue *q);

/* Move ready answers into the ready ring until it holds `want`; how many it
 * holds. (reap.c) */
unsigned mk_queue_collect(struct mk_queue *q, unsigned want);
/* The same, but looks at every slot in flight, not at a piece of them: for
 * the look before sleeping, which has to miss nothing. */
unsigned mk_queue_collect_all(struct mk_queue *q, unsigned want);

/*
 * The two halves of asking all slots of several queues to end: those that no
 * worker has claimed, then the others. Under list_lock. How many were asked.
 */
int64_t mk_queue_cancel_waiting(struct mk_queue *q);
int64_t mk_queue_cancel_begun(struct mk_queue *q);

/* Set bits of the queue's mode, and wait for a GPU's workers to see them, up
 * to 20 ms: unless that was too short, no slot starts against the mode after
 * the call has returned. */
void mk_queue_mode(struct mk_queue *q, uint32_t bits, uint64_t timeout_ns);

/* After the device was lost: answer what will never be answered. How many
 * were. (lost.c) */
unsigned mk_queue_end_lost(struct mk_queue *q);

/* Write what the block says of itself, which never changes; no engine runs. */
void mk_queue_describe(struct mk_queue *q);

/* Before the engine is restarted: answer what was begun and may not run
 * again, by what ctx->loss knows, and set the description's tickets to go on
 * from. From then on all that has no answer counts as not begun. (lost.c) */
void mk_queue_prepare_restart(struct mk_queue *q);

/* Copy record number `at` of a debug log if it is whole. (observe.c) */
bool mk_queue_log_record(const struct mk_debug_record *r, uint64_t at,
			 struct mk_log_entry *out);

/* Ask ticket t, published and without an answer, to end, because it makes no
 * progress or is late. (observe.c) */
void mk_queue_ask_to_end(struct mk_queue *q, uint64_t t);
/* It waits in vain: if it is cancelled, or fails upstream, that is -EDEADLK.
 * Before it is asked, and before those whose failure reaches it are. False:
 * there is no memory to say so. (observe.c) */
bool mk_queue_mark_stuck(struct mk_queue *q, uint64_t t);
/* Take that back, unless the caller asked too. Under loss_lock. (observe.c) */
void mk_queue_withdraw(struct mk_queue *q, uint64_t t);

/* The device was lost: get refuses from now on, and everyone who sleeps on
 * this queue wakes. And the reverse. (lost.c) */
void mk_queue_close_lost(struct mk_queue *q);
void mk_queue_open_again(struct mk_queue *q);

/* Wake a worker, if still none is attentive and some sleep. (submit.c) */
void mk_queue_ring(struct mk_queue *q);

/* Wake everyone who sleeps on this queue. (wait.c) */
void mk_queue_release(struct mk_queue *q);

/* Free without asking the engine. (queue.c) */
void mk_queue_free(struct mk_queue *q);

#endif
