/* SPDX-License-Identifier: Apache-2.0 */
/* Answers come in; matches go out in the order of the input. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "base/order.h"
#include "scan_run.h"

#define REAP_BATCH 64u
#define LOOK_AGAIN_NS 100000000u /* 0.1 s; wake-ups come before */

bool scan_stopped(struct scan *s)
{
	return mk_load_acquire(&s->stop) != 0;
}

void scan_stop(struct scan *s, int code, const char *format, ...)
{
	va_list ap;

	pthread_mutex_lock(&s->stop_lock);
	if (!s->stop) {
		va_start(ap, format);
		vsnprintf(s->fatal_text, sizeof(s->fatal_text), format, ap);
		va_end(ap);
		s->fatal = code;
	}
	mk_store_release(&s->stop, 1);
	pthread_mutex_unlock(&s->stop_lock);
}

bool scan_finished(struct scan *s)
{
	/* walked is stored after the last store of tail */
	return mk_load_acquire(&s->walked) &&
	       mk_load_acquire(&s->head) == mk_load_acquire(&s->tail);
}

static bool is_lost(int code)
{
	return code == -MK_EDEVLOST || code == -MK_ENOTRUN ||
	       code == -MK_EMAYRUN || code == -MK_EPOISON;
}

void scan_lost(struct scan *s)
{
	struct mk_error e;

	if (mk_ctx_error(s->ctx, &e) != 1)
		snprintf(e.text, sizeof(e.text), "%s",
			 mk_strerror(-MK_EDEVLOST));
	scan_stop(s, -MK_EDEVLOST, "%s", e.text);
}

/* One answer: a chunk is searched, or as far as there was room. */
static void land(struct scan *s, const struct mk_completion *a)
{
	struct scan_chunk *c = &s->chunk[a->user_data];
	struct mk_scan_result result = { 0 };

	if (is_lost(a->result)) {
		scan_lost(s);
		return;
	}
	if (a->result < 0) {
		c->code = a->result;
		result.next = c->bytes;
	} else {
		memcpy(&result, c->result, sizeof(result));
	}
	if (result.matches > SCAN_ROOM || result.next > c->bytes ||
	    (result.next < c->bytes &&
	     (result.next < c->from || !result.matches))) {
		scan_stop(s, -EBADMSG, "the engine's answer makes no sense");
		return;
	}
	c->matches = result.matches;
	c->used = 0;
	c->next = result.next;
	if (!c->from && a->result >= 0)
		c->nul = result.nul;
	mk_store_release(&c->state, SCAN_DONE);
}

static unsigned reap(struct scan *s)
{
	struct mk_completion c[REAP_BATCH];
	unsigned total = 0;

	for (;;) {
		int n = mk_queue_reap(s->queue, c, REAP_BATCH);

		if (n < 0)
			scan_lost(s);
		if (n <= 0)
			return total;
		for (int i = 0; i < n; i++)
			land(s, &c[i]);
		mk_add_relaxed(&s->in_flight, (uint64_t)-n);
		total += (unsigned)n;
		if (n < (int)REAP_BATCH)
			return total;
	}
}

/* A piece is printed; the chunk may be the reader's again. */
static void put_piece(struct scan_chunk *c)
{
	if (mk_add_acq_rel(&c->unprinted, (uint32_t)-1) != 1)
		return;
	/* pairs with the load in find_free(), scan_read.c */
	mk_store_release(&c->state, SCAN_FREE);
}

/* What there is of one file. True: that was all of it. */
static bool print_file(struct scan *s, struct scan_file *f, unsigned *moved)
{
	while (!scan_stopped(s)) {
		/* pairs with the store in settle(), scan_read.c */
		uint32_t ended = mk_load_acquire(&f->ended);
		struct scan_chunk *c;
		uint32_t entry;

		/* pairs with the store in add_piece() */
		if (f->got == mk_load_acquire(&f->put))
			return ended != 0;
		entry = f->fifo[f->got & (SCAN_FIFO - 1)];
		c = &s->chunk[entry >> 8];
		if (mk_load_acquire(&c->state) != SCAN_DONE)
			return false;
		if (!scan_print_piece(s, f, c, &c->piece[entry & 255])) {
			if (scan_submit(s, entry >> 8) == -EAGAIN)
				return false;
			mk_add_relaxed(&s->again, 1);
			(*moved)++;
			return false;
		}
		put_piece(c);
		f->got++;
		(*moved)++;
	}
	return false;
}

static unsigned print_ready(struct scan *s)
{
	uint64_t head = s->head, tail = mk_load_acquire(&s->tail);
	unsigned moved = 0;

	while (head != tail && !scan_stopped(s)) {
		struct scan_file *f = scan_file(s, head);

		if (!print_file(s, f, &moved))
			break;
		scan_print_end(s, f);
		walk_release(&s->walk, &f->item);
		head++;
		moved++;
		/* pairs with the load in take_batch() */
		mk_store_release(&s->head, head);
	}
	return moved;
}

/* Under reap_lock: true if something moved. */
static bool pass(struct scan *s)
{
	unsigned n = reap(s);

	n += print_ready(s);
	if (s->out.error)
		scan_stop(s, -s->out.error, "standard output: %s",
			  strerror(s->out.error));
	if (!n && !scan_stopped(s))
		return false;
	if (s->out_tty)
		output_flush(&s->out);
	mk_store_release(&s->generation, s->generation + 1);
	pthread_cond_broadcast(&s->reap_cond);
	return true;
}

void scan_reap_try(struct scan *s)
{
	/* Two read-modify-writes of `sleepers`, one here and one before going
	 * to sleep: the later one sees what stood before the earlier. So
	 * either the sleeper finds what we have done, or we find the sleeper
	 * and wait for its lock. */
	if (mk_add_acq_rel(&s->sleepers, 0))
		pthread_mutex_lock(&s->reap_lock);
	else if (pthread_mutex_trylock(&s->reap_lock))
		return; /* who has it looks again before it sleeps */
	pass(s);
	pthread_mutex_unlock(&s->reap_lock);
}

/* Nothing is in flight: another thread reads, and will tell. */
static void sleep_for_others(struct scan *s)
{
	struct timespec at;
	uint64_t until;

	clock_gettime(CLOCK_MONOTONIC, &at);
	until = (uint64_t)at.tv_nsec + LOOK_AGAIN_NS;
	at.tv_sec += (time_t)(until / 1000000000u);
	at.tv_nsec = (long)(until % 1000000000u);
	mk_add_acq_rel(&s->sleepers, 1);
	if (!pass(s) && !mk_load_relaxed(&s->in_flight))
		pthread_cond_timedwait(&s->reap_cond, &s->reap_lock, &at);
	mk_add_acq_rel(&s->sleepers, (uint32_t)-1);
}

void scan_wait(struct scan *s, uint64_t generation)
{
	pthread_mutex_lock(&s->reap_lock);
	if (s->generation == generation && !pass(s)) {
		if (mk_load_relaxed(&s->in_flight)) {
			int r = mk_queue_wait(s->queue, 1, LOOK_AGAIN_NS);

			if (r < 0 && r != -ETIME)
				scan_lost(s);
		} else {
			sleep_for_others(s);
		}
		pass(s);
	}
	pthread_mutex_unlock(&s->reap_lock);
}
