/* SPDX-License-Identifier: Apache-2.0 */
/* Answers come in; lines go out in the order of the input. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "base/order.h"
#include "map_run.h"

#define REAP_BATCH 128u
#define FETCH_MAX 256u
#define LOOK_AGAIN_NS 100000000u /* 0.1 s; wake-ups come before */

bool map_stopped(struct map *m)
{
	return mk_load_acquire(&m->stop) != 0;
}

void map_stop(struct map *m, int code, const char *format, ...)
{
	va_list ap;

	pthread_mutex_lock(&m->stop_lock);
	if (!m->stop) {
		va_start(ap, format);
		vsnprintf(m->fatal_text, sizeof(m->fatal_text), format, ap);
		va_end(ap);
		m->fatal = code;
	}
	mk_store_release(&m->stop, 1);
	pthread_mutex_unlock(&m->stop_lock);
}

bool map_finished(struct map *m)
{
	/* walked is stored after the last store of tail */
	return mk_load_acquire(&m->walked) &&
	       mk_load_acquire(&m->head) == mk_load_acquire(&m->tail);
}

static bool is_lost(int code)
{
	return code == -MK_EDEVLOST || code == -MK_ENOTRUN ||
	       code == -MK_EMAYRUN || code == -MK_EPOISON;
}

void map_lost(struct map *m)
{
	struct mk_error e;

	if (mk_ctx_error(m->ctx, &e) != 1)
		snprintf(e.text, sizeof(e.text), "%s",
			 mk_strerror(-MK_EDEVLOST));
	map_stop(m, -MK_EDEVLOST, "%s", e.text);
}

/* One answer: the part of a file landed. */
static void land(struct map *m, const struct mk_completion *c)
{
	struct map_record *rec = map_record(m, c->user_data);
	/* pairs with the store in flush(), map_read.c */
	uint32_t flight = mk_load_acquire(&rec->flight);

	map_pool_drop(&m->pool, flight >> 1);
	if (is_lost(c->result)) {
		map_lost(m);
		return;
	}
	rec->value = c->value;
	if (c->result < 0)
		rec->code = c->result;
	if (flight & 1) {
		rec->answered = true;
		/* pairs with the load in print_ready() */
		mk_store_release(&rec->state, MAP_DONE);
	} else {
		/* pairs with the load in wait_part(), map_read.c */
		mk_store_release(&rec->landed, rec->landed + 1);
	}
}

static unsigned reap(struct map *m)
{
	struct mk_completion c[REAP_BATCH];
	unsigned total = 0;

	for (;;) {
		int n = mk_queue_reap(m->queue, c, REAP_BATCH);

		if (n < 0)
			map_lost(m);
		if (n <= 0)
			return total;
		for (int i = 0; i < n; i++)
			land(m, &c[i]);
		mk_add_relaxed(&m->in_flight, (uint64_t)-n);
		total += (unsigned)n;
		if (n < (int)REAP_BATCH)
			return total;
	}
}

/* How many records from here on are done, at most 256, and none beyond the end
 * of the window. */
static unsigned count_done(struct map *m, uint64_t from, uint64_t tail)
{
	unsigned n = 0;

	/* pairs with the stores in land() and settle() */
	while (n < FETCH_MAX && from + n != tail &&
	       mk_load_acquire(&map_record(m, from + n)->state) == MAP_DONE)
		if (!((from + ++n) & (MAP_WINDOW - 1)))
			break;
	return n;
}

/* Bring their states here: one copy for all of them. */
static void fetch_states(struct map *m, uint64_t from, unsigned n)
{
	uint64_t at = (from & (MAP_WINDOW - 1)) * MK_MAP_STATE_BYTES;
	int r;

	if (!m->states_away || !n)
		return;
	r = mk_buffer_read(m->ctx, m->states, at, m->state_memory + at,
			   (uint64_t)n * MK_MAP_STATE_BYTES);
	if (r == -MK_EDEVLOST)
		map_lost(m);
	else if (r)
		map_stop(m, r, "results could not be read: %s",
			 mk_error_last()->text);
}

static unsigned print_ready(struct map *m)
{
	uint64_t head = m->head, tail = mk_load_acquire(&m->tail);
	unsigned n = 0, here = 0;

	/* no line that stands behind a lost one */
	while (head + n != tail && !map_stopped(m)) {
		struct map_record *rec = map_record(m, head + n);

		if (n == here) {
			unsigned more = count_done(m, head + n, tail);

			if (!more)
				break;
			fetch_states(m, head + n, more);
			here += more;
			if (map_stopped(m))
				break;
		}
		map_print(m, rec);
		walk_release(&m->walk, &rec->item);
		n++;
		if (!(n & 63)) /* pairs with the load in take_batch() */
			mk_store_release(&m->head, head + n);
	}
	mk_store_release(&m->head, head + n);
	return n;
}

/* Under reap_lock: true if something moved. */
static bool pass(struct map *m)
{
	unsigned n = reap(m);

	n += print_ready(m);
	if (m->out.error)
		map_stop(m, -m->out.error, "standard output: %s",
			 strerror(m->out.error));
	if (!n && !map_stopped(m))
		return false;
	if (m->out_tty)
		output_flush(&m->out);
	mk_store_release(&m->generation, m->generation + 1);
	pthread_cond_broadcast(&m->reap_cond);
	return true;
}

void map_reap_try(struct map *m)
{
	/* Two read-modify-writes of `sleepers`, one here and one before going
	 * to sleep: the later one sees what stood before the earlier. So
	 * either the sleeper finds what we have done, or we find the sleeper
	 * and wait for its lock. */
	if (mk_add_acq_rel(&m->sleepers, 0))
		pthread_mutex_lock(&m->reap_lock);
	else if (pthread_mutex_trylock(&m->reap_lock))
		return; /* who has it looks again before it sleeps */
	pass(m);
	pthread_mutex_unlock(&m->reap_lock);
}

/* Nothing is in flight: another thread reads, and will tell. */
static void sleep_for_others(struct map *m)
{
	struct timespec at;
	uint64_t until;

	clock_gettime(CLOCK_MONOTONIC, &at);
	until = (uint64_t)at.tv_nsec + LOOK_AGAIN_NS;
	at.tv_sec += (time_t)(until / 1000000000u);
	at.tv_nsec = (long)(until % 1000000000u);
	mk_add_acq_rel(&m->sleepers, 1);
	if (!pass(m) && !mk_load_relaxed(&m->in_flight))
		pthread_cond_timedwait(&m->reap_cond, &m->reap_lock, &at);
	mk_add_acq_rel(&m->sleepers, (uint32_t)-1);
}

void map_wait(struct map *m, uint64_t generation)
{
	pthread_mutex_lock(&m->reap_lock);
	if (m->generation == generation && !pass(m)) {
		if (mk_load_relaxed(&m->in_flight)) {
			int r = mk_queue_wait(m->queue, 1, LOOK_AGAIN_NS);

			if (r < 0 && r != -ETIME)
				map_lost(m);
		} else {
			sleep_for_others(m);
		}
		pass(m);
	}
	pthread_mutex_unlock(&m->reap_lock);
}
