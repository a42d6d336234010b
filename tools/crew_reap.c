/* SPDX-License-Identifier: Apache-2.0 */
/* Answers come in; lines go out in the order of the input. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "base/order.h"
#include "crew.h"

#define REAP_BATCH 128u
#define LOOK_AGAIN_NS 100000000u /* 0.1 s; wake-ups come before */

uint64_t crew_generation(struct crew *c)
{
	return mk_load_acquire(&c->generation);
}

bool crew_stopped(struct crew *c)
{
	return mk_load_acquire(&c->stop) != 0;
}

void crew_stop(struct crew *c, int code, const char *format, ...)
{
	va_list ap;

	pthread_mutex_lock(&c->stop_lock);
	if (!c->stop) {
		va_start(ap, format);
		vsnprintf(c->fatal_text, sizeof(c->fatal_text), format, ap);
		va_end(ap);
		c->fatal = code;
	}
	mk_store_release(&c->stop, 1);
	pthread_mutex_unlock(&c->stop_lock);
}

void crew_lost(struct crew *c)
{
	struct mk_error e;

	if (mk_ctx_error(c->ctx, &e) != 1)
		snprintf(e.text, sizeof(e.text), "%s",
			 mk_strerror(-MK_EDEVLOST));
	crew_stop(c, -MK_EDEVLOST, "%s", e.text);
}

void crew_submits(struct crew *c, unsigned n)
{
	mk_add_relaxed(&c->in_flight, (uint64_t)n);
}

void crew_not_submitted(struct crew *c, int code)
{
	if (code == -MK_EDEVLOST)
		crew_lost(c);
	else
		crew_stop(c, code, "a slot could not be submitted: %s",
			  mk_error_last()->text);
}

/* Is the device gone for good? If not, it was lost and is back, or about to
 * be. */
static bool given_up(struct crew *c)
{
	struct mk_ctx_info info;

	return mk_ctx_info(c->ctx, &info) < 0 || info.state == MK_CTX_LOST;
}

/* An answer that says nothing of the work, and nobody can do it again. One
 * that may have run is for the command, as long as there is a device. */
static bool is_lost(struct crew *c, int code)
{
	return code == -MK_EDEVLOST || code == -MK_ENOTRUN ||
	       (code == -MK_EMAYRUN && given_up(c));
}

static unsigned reap(struct crew *c)
{
	struct mk_completion a[REAP_BATCH];
	unsigned total = 0;

	for (;;) {
		int n = mk_queue_reap(c->queue, a, REAP_BATCH);

		if (n < 0)
			crew_lost(c);
		if (n <= 0)
			return total;
		for (int i = 0; i < n; i++) {
			if (is_lost(c, a[i].result))
				crew_lost(c);
			else
				c->ops->land(c, &a[i]);
		}
		mk_add_relaxed(&c->in_flight, (uint64_t)-n);
		total += (unsigned)n;
		if (n < (int)REAP_BATCH)
			return total;
	}
}

/* Under reap_lock: true if something moved. */
static bool pass(struct crew *c)
{
	unsigned n = reap(c);

	n += c->ops->print(c);
	if (c->out.error)
		crew_stop(c, -c->out.error, "standard output: %s",
			  strerror(c->out.error));
	if (!n && !crew_stopped(c))
		return false;
	if (c->out_tty)
		output_flush(&c->out);
	mk_add_acq_rel(&c->generation, 1);
	pthread_cond_broadcast(&c->reap_cond);
	return true;
}

void crew_reap_try(struct crew *c)
{
	/* Two read-modify-writes of `sleepers`, one here and one before going
	 * to sleep: the later one sees what stood before the earlier. So
	 * either the sleeper finds what we have done, or we find the sleeper
	 * and wait for its lock. */
	if (mk_add_acq_rel(&c->sleepers, 0))
		pthread_mutex_lock(&c->reap_lock);
	else if (pthread_mutex_trylock(&c->reap_lock))
		return; /* who has it looks again before it sleeps */
	pass(c);
	pthread_mutex_unlock(&c->reap_lock);
}

/* Nothing is in flight: another thread reads, and will tell. */
static void sleep_for_others(struct crew *c, uint64_t generation)
{
	struct timespec at;
	uint64_t until;

	clock_gettime(CLOCK_MONOTONIC, &at);
	until = (uint64_t)at.tv_nsec + LOOK_AGAIN_NS;
	at.tv_sec += (time_t)(until / 1000000000u);
	at.tv_nsec = (long)(until % 1000000000u);
	mk_add_acq_rel(&c->sleepers, 1);
	if (!pass(c) && !mk_load_relaxed(&c->in_flight) &&
	    crew_generation(c) == generation)
		pthread_cond_timedwait(&c->reap_cond, &c->reap_lock, &at);
	mk_add_acq_rel(&c->sleepers, (uint32_t)-1);
}

void crew_tell(struct crew *c)
{
	mk_add_acq_rel(&c->generation, 1);
	/* as in crew_reap_try(): who goes to sleep later sees that */
	if (!mk_add_acq_rel(&c->sleepers, 0))
		return;
	pthread_mutex_lock(&c->reap_lock);
	pthread_cond_broadcast(&c->reap_cond);
	pthread_mutex_unlock(&c->reap_lock);
}

void crew_wait(struct crew *c, uint64_t generation)
{
	pthread_mutex_lock(&c->reap_lock);
	if (crew_generation(c) == generation && !pass(c)) {
		if (mk_load_relaxed(&c->in_flight)) {
			int r = mk_queue_wait(c->queue, 1, LOOK_AGAIN_NS);

			if (r < 0 && r != -ETIME)
				crew_lost(c);
		} else {
			sleep_for_others(c, generation);
		}
		pass(c);
	}
	pthread_mutex_unlock(&c->reap_lock);
}
