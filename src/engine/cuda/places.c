/* SPDX-License-Identifier: Apache-2.0 */
/* The queues: handed to the kernel, looked after while it is away. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/futex.h"
#include "base/order.h"
#include "engine/cuda/host.h"

/* How long between two looks at the answers, while somebody waits: a tenth
 * of how long nothing came, between these. */
#define LOOK_MIN_NS 10000u
#define LOOK_MAX_NS 500000u
/* ... and while nobody does: how late a new waiter is noticed. */
#define LOOK_NOBODY_NS 50000u

/* A claim that says "any of them may have been claimed": the kernel keeps its
 * own count, which is gone if it is lost. */
#define CLAIM_UNKNOWN(first) ((first) - 1)

static struct mkc_queue *find(struct mk_engine *e, uint32_t index)
{
	for (uint32_t i = 0; i < e->places_used; i++)
		if (e->places[i] && e->places[i]->index == index)
			return e->places[i];
	return NULL;
}

static int place_take(struct mk_engine *e, uint32_t *place)
{
	for (uint32_t i = 0; i < MKD_PLACES; i++) {
		if (e->places[i])
			continue;
		*place = i;
		return 0;
	}
	return mk_error_set(-ENOSPC, 0, "cuda engine",
			    "the engine serves %u queues, the most it can; "
			    "destroy one first", MKD_PLACES);
}

static uint32_t places_with(const struct mk_engine *e, uint32_t place,
			    bool taken)
{
	uint32_t used = 0;

	for (uint32_t i = 0; i < MKD_PLACES; i++)
		if (i == place ? taken : e->places[i] != NULL)
			used = i + 1;
	return used;
}

static void place_set(struct mk_engine *e, uint32_t place,
		      struct mkc_queue *q)
{
	pthread_mutex_lock(&e->queues_lock);
	e->places[place] = q;
	e->places_used = places_with(e, place, q != NULL);
	pthread_mutex_unlock(&e->queues_lock);
}

/* What slots have that wait, have tiles or go on. Nobody looks at it before
 * the queue is attached, and nobody is disturbed. */
static int take_jobs(struct mk_engine *e, struct mkc_queue *q)
{
	const uint64_t jobs = q->entries * (uint64_t)sizeof(struct mkd_job);

	return mkc_range_take(e, &q->jobs, jobs +
			      q->entries * (uint64_t)sizeof(struct mkd_park),
			      jobs);
}

/* The queue as the kernel sees it. */
static void describe(const struct mk_engine *e, const struct mk_queue_desc *d,
		     const struct mkc_queue *q, struct mkd_queue *k)
{
	uint64_t base = e->launch.region + d->block_offset;
	const struct mk_control *control = (const void *)
		(e->region.base + d->block_offset + d->control_offset);

	memset(k, 0, sizeof(*k));
	k->window = e->launch.tuning.floor;
	k->state = mk_load_relaxed(&control->shutdown) ? MKD_SHUT : MKD_FREE;
	k->low = MKD_FORGOTTEN;
	/* a multiple of the slots that a worker reads in one go */
	k->first = d->first_ticket & ~(uint64_t)(MKD_SEATS - 1);
	k->next = k->hint = k->fenced = d->first_ticket - k->first;
	/* what was answered before a restart; relative like all tickets */
	k->skip = d->skip_until - k->first;
	k->block = base;
	k->slots = base + d->slots_offset;
	k->completions = base + d->completions_offset;
	k->ext = base + d->ext_offset;
	k->control = base + d->control_offset;
	k->observables = k->control + sizeof(struct mk_control);
	k->log = base + d->log_offset;
	k->io = d->io_offset ? base + d->io_offset : 0;
	k->entries = d->entries;
	k->shift = (uint32_t)__builtin_ctz(d->entries);
	k->observable_count = d->observables;
	k->log_records = d->log_records;
	k->io_records = d->io_records;
	k->priority = d->priority;
	k->index = d->index;
	k->jobs = q->jobs.at;
	k->parks = k->jobs + q->entries * (uint64_t)sizeof(struct mkd_job);
}

static uint64_t sum_of_answers(const struct mkc_queue *q)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < q->entries; i++)
		sum += mk_load_relaxed(&q->answers[i].head);
	return sum;
}

static struct mkc_queue *queue_new(struct mk_engine *e,
				   const struct mk_queue_desc *d)
{
	unsigned char *base = e->region.base + d->block_offset;
	struct mkc_queue *q = calloc(1, sizeof(*q));

	if (!q) {
		mk_error_set(-ENOMEM, ENOMEM, "cuda engine",
			     "no memory for a queue");
		return NULL;
	}
	q->index = d->index;
	q->block = (void *)base;
	q->ring = (const void *)(base + d->slots_offset);
	q->answers = (const void *)(base + d->completions_offset);
	q->ext = (const void *)(base + d->ext_offset);
	q->entries = d->entries;
	q->shift = (uint32_t)__builtin_ctz(d->entries);
	q->first = d->first_ticket & ~(uint64_t)(MKD_SEATS - 1);
	q->event_fd = -1;
	q->sum = sum_of_answers(q);
	return q;
}

static int take_fd(struct mkc_queue *q, int fd)
{
	int mine = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (mine < 0)
		return mk_error_set(-errno, errno, "cuda engine",
				    "cannot duplicate the event fd: %s",
				    strerror(errno));
	mk_store_release(&q->event_fd, mine);
	return 0;
}

static void queue_free(struct mk_engine *e, struct mkc_queue *q)
{
	if (q)
		mkc_range_give(e, &q->jobs);
	if (q && q->event_fd >= 0)
		close(q->event_fd);
	free(q);
}

static int check_desc(struct mk_engine *e, const struct mk_queue_desc *d)
{
	if (d->index < MK_QUEUES_MAX && d->priority < MK_PRIORITIES &&
	    d->block_bytes <= e->region.shared_bytes &&
	    d->block_offset <= e->region.shared_bytes - d->block_bytes &&
	    d->entries && !(d->entries & (d->entries - 1)) &&
	    !find(e, d->index))
		return 0;
	return mk_error_set(-MK_EPROTO, 0, "cuda engine",
			    "queue %u of priority %u at %llu is not valid "
			    "here", d->index, d->priority,
			    (unsigned long long)d->block_offset);
}

int mkc_queue_attach(struct mk_engine *e, const struct mk_queue_desc *d,
		     int event_fd)
{
	struct mkd_queue k;
	struct mkc_queue *q;
	uint32_t place = 0;
	int r = mkc_check(e);

	if (!r)
		r = check_desc(e, d);
	if (!r)
		r = place_take(e, &place);
	if (r)
		return r;
	q = queue_new(e, d);
	if (!q)
		return -ENOMEM;
	q->place = place;
	if (event_fd >= 0)
		r = take_fd(q, event_fd);
	if (!r)
		r = take_jobs(e, q);
	if (!r) {
		mk_store_release(&q->block->claim,
				 CLAIM_UNKNOWN(d->first_ticket));
		mk_store_release(&q->block->mode_seen, MK_MODE_TOLD);
		describe(e, d, q, &k);
		mk_store_relaxed(&e->mail->low[place], k.next);
		r = mkc_command(e, MKD_CMD_ATTACH, place,
				places_with(e, place, true), &k, sizeof(k),
				MKC_GRACE_NS);
	}
	if (r) {
		queue_free(e, q);
		return r;
	}
	place_set(e, place, q);
	return 0;
}

void mkc_queue_forget(struct mk_engine *e, uint32_t index)
{
	struct mkc_queue *q = find(e, index);

	if (!q)
		return;
	place_set(e, q->place, NULL);
	queue_free(e, q);
}

int mkc_queue_detach(struct mk_engine *e, uint32_t index, uint64_t timeout_ns)
{
	struct mkc_queue *q = find(e, index);
	int r;

	if (!q)
		return mk_error_set(-MK_EPROTO, 0, "cuda engine",
				    "there is no queue %u", index);
	r = mkc_command(e, MKD_CMD_DETACH, q->place,
			places_with(e, q->place, false), NULL, 0, timeout_ns);
	/* lost: the caller takes its memory back all the same */
	if (!r || e->failed)
		mkc_queue_forget(e, index);
	return r;
}

int mkc_queue_event_fd(struct mk_engine *e, uint32_t index, int fd)
{
	struct mkc_queue *q = find(e, index);

	if (!q)
		return mk_error_set(-MK_EPROTO, 0, "cuda engine",
				    "there is no queue %u", index);
	if (q->event_fd >= 0)
		return mk_error_set(-EALREADY, 0, "cuda engine",
				    "queue %u has an event fd", index);
	return take_fd(q, fd);
}

void mkc_queues_free(struct mk_engine *e)
{
	for (uint32_t i = 0; i < MKD_PLACES; i++) {
		queue_free(e, e->places[i]);
		e->places[i] = NULL;
	}
	e->places_used = 0;
}

/* ---- while the kernel is away ------------------------------------------ */

static bool marked(uint64_t word, uint64_t ticket, uint32_t shift)
{
	return (uint16_t)(word >> MK_MARK_SHIFT) == MK_MARK(ticket, shift);
}

/*
 * From the first ticket that was not served, over one lap: slots may be
 * published out of order, so an unpublished one does not end the search.
 */
static bool queue_has_work(const struct mk_engine *e,
			   const struct mkc_queue *q)
{
	uint64_t from = q->first + mk_load_relaxed(&e->mail->low[q->place]);

	for (uint64_t t = from; t != from + q->entries; t++) {
		uint32_t at = (uint32_t)t & (q->entries - 1);

		/* Dekker with mk_queue_submit(): we stored `attention` */
		if (marked(mk_load_seq(&q->ring[at].unit[0].hi), t,
			   q->shift) &&
		    !marked(mk_load_acquire(&q->answers[at].head), t,
			    q->shift))
			return true;
	}
	return false;
}

/*
 * A slot that waits for a counter does not keep the kernel here, but it has to
 * end when it is asked to. Dekker with whoever asks: we stored `attention`.
 */
static bool queue_has_asked(const struct mkc_queue *q)
{
	uint32_t mode = mk_load_seq(&q->block->mode);

	for (uint32_t i = 0; i < q->entries && mode; i++) {
		uint64_t slot = mk_load_seq(&q->ring[i].unit[0].hi);
		uint32_t mark = (uint32_t)(slot >> MK_MARK_SHIFT);

		if (!mark || (uint32_t)(mk_load_acquire(&q->answers[i].head) >>
					MK_MARK_SHIFT) == mark)
			continue;
		if (mode & MK_MODE_CANCEL ||
		    mk_load_seq(&q->ext[i].cancel) == (0x10000u | mark))
			return true;
	}
	return false;
}

bool mkc_any_work(struct mk_engine *e)
{
	for (uint32_t i = 0; i < e->places_used; i++)
		if (e->places[i] && (queue_has_work(e, e->places[i]) ||
				     queue_has_asked(e->places[i])))
			return true;
	return false;
}

/* ---- waiters ------------------------------------------------------------ */

static void tell(struct mkc_queue *q, int fd)
{
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
 * Who waits said so, or armed the event fd, before it looked for answers and
 * found none; so an answer that it has to be told of came after the last time
 * that we told anybody, and changes the sum.
 */
static uint64_t look_after(struct mkc_queue *q, uint64_t now)
{
	int fd = mk_load_acquire(&q->event_fd);
	uint64_t sum, wait;

	if (!mk_load_seq(&q->block->waiters) &&
	    (fd < 0 || !mk_load_seq(&q->block->armed)))
		return LOOK_NOBODY_NS;
	sum = sum_of_answers(q);
	if (sum != q->sum) {
		q->sum = sum;
		q->told_ns = now;
		tell(q, fd);
	}
	wait = (now - q->told_ns) / 10;
	return wait < LOOK_MIN_NS ? LOOK_MIN_NS :
	       wait > LOOK_MAX_NS ? LOOK_MAX_NS : wait;
}

uint64_t mkc_wake_waiters(struct mk_engine *e)
{
	uint64_t soon = LOOK_NOBODY_NS, now = mk_now_ns();

	pthread_mutex_lock(&e->queues_lock);
	for (uint32_t i = 0; i < e->places_used; i++) {
		uint64_t wait = e->places[i] ? look_after(e->places[i], now) :
					       LOOK_NOBODY_NS;

		if (wait < soon)
			soon = wait;
	}
	pthread_mutex_unlock(&e->queues_lock);
	return soon;
}
