/* SPDX-License-Identifier: Apache-2.0 */
/* On and off the device. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/futex.h"
#include "base/order.h"
#include "engine/cuda/host.h"

#define SPINS 200u /* quick looks before naps */
/* The monitor counts in microseconds if all is well; but the device may be
 * shared by turns, and a false doubt asks a driver that somebody may hold. */
#define STALL_NS 50000000u

int mkc_check(struct mk_engine *e)
{
	return e->failed ? mk_error_copy(&e->why) : 0;
}

int mkc_lost(struct mk_engine *e, CUresult result, const char *what)
{
	if (e->failed)
		return mk_error_copy(&e->why);
	mkc_fail(e->d, result, "cuda engine", what);
	e->why = *mk_error_last();
	e->why.code = -MK_EDEVLOST;
	e->failed = true;
	snprintf(e->block->words, MK_WORDS_BYTES, "%.*s",
		 (int)MK_WORDS_BYTES - 1, e->why.text);
	mk_store_relaxed(&e->block->words_native, e->why.native);
	mk_store_relaxed(&e->block->error, -MK_EDEVLOST);
	/* pairs with whoever watches the state */
	mk_store_release(&e->block->state, MK_ENGINE_FAILED);
	if (e->region.failed)
		e->region.failed(e->region.failed_arg);
	return mk_error_copy(&e->why);
}

static void nap(unsigned looks)
{
	struct timespec t = { 0, MKC_NAP_NS };

	if (looks < SPINS)
		mk_pause();
	else
		nanosleep(&t, NULL);
}

/* Is there a queue with a mode that workers do not know of? Dekker with
 * mk_queue_mode(): we stored `attention`, then look at the modes. */
static bool new_modes(const struct mk_engine *e)
{
	for (uint32_t i = 0; i < e->places_used; i++) {
		const struct mkc_queue *q = e->places[i];

		if (q && mk_load_seq(&q->block->mode) &
				 ~mk_load_seq(&q->block->mode_seen))
			return true;
	}
	return false;
}

int mkc_launch(struct mk_engine *e, bool hold)
{
	void *args[] = { &e->launch };
	CUresult r;

	e->launch.hold = hold;
	e->launch.last_seq = mk_load_relaxed(&e->mail->ack);
	e->launch.pending = e->launch.last_seq != e->seq;
	e->launch.number = (uint32_t)e->launches + 1;
	mk_store_relaxed(&e->mail->reason, MKD_REASON_NONE);
	mkc_tell_time(e);
	e->launch.told_ns = mk_load_relaxed(&e->mail->clock_ns);
	if (!hold) {
		e->parked = false;
		/* nobody needs to ring: we are coming, and shall look */
		mk_store_seq(&e->block->attention, MK_ATTENTIVE);
	}
	e->launch.go = !hold && !e->launch.pending && e->launches &&
		       !new_modes(e);
	r = e->d->launch(e->kernel, e->blocks, 1, 1,
			 (e->warps + 1) * MKD_LANES, 1, 1, 0, e->stream, args,
			 NULL);
	if (r)
		return mkc_lost(e, r, "launching the kernel");
	e->on = true;
	e->beat_ns = mk_now_ns();
	e->launches++;
	mk_count(&e->block->launches, 1);
	/* the service thread may sleep: there is somebody to look after */
	mk_add_seq(&e->block->bell, 1);
	mk_futex_wake(&e->block->bell, 1);
	return 0;
}

/*
 * Is there reason to ask the driver? A call of it may wait for the lock of the
 * context, which somebody may hold who waits for this kernel to leave: then
 * nobody would ever tell it to. As long as the monitor counts, the kernel is
 * there and well, and before it leaves it says so.
 */
static bool doubtful(struct mk_engine *e)
{
	uint32_t beat = mk_load_relaxed(&e->mail->beat);
	uint64_t now;

	/* pairs with the monitor's store before it ends */
	if (mk_load_acquire(&e->mail->reason))
		return true;
	now = mk_now_ns();
	if (beat == e->beat)
		return now - e->beat_ns > STALL_NS;
	e->beat = beat;
	e->beat_ns = now;
	return false;
}

int mkc_look(struct mk_engine *e)
{
	CUresult r;

	if (!e->on || !doubtful(e))
		return mkc_check(e);
	r = e->d->stream_query(e->stream);
	e->beat_ns = mk_now_ns();
	if (r == MKC_NOT_READY)
		return mkc_check(e);
	/* a kernel that died goes on saying so; whatever else failed, it may
	 * still be there, and then nothing may be freed */
	e->on = r && e->d->stream_query(e->stream) == MKC_NOT_READY;
	if (r)
		return mkc_lost(e, r, "asking for the kernel");
	if (mk_load_acquire(&e->mail->reason) == MKD_REASON_ABI &&
	    !e->failed) {
		e->failed = true;
		mk_error_set(-MK_EABI, 0, "cuda engine",
			     "the kernel found another layout in the shared "
			     "memory than its own");
		e->why = *mk_error_last();
	}
	return mkc_check(e);
}

/* Wait until the kernel is off; it was told to leave. */
static int wait_off(struct mk_engine *e)
{
	uint64_t deadline = mk_deadline_after(MKC_GRACE_NS);
	int r;

	for (unsigned looks = 0; e->on; looks++) {
		r = mkc_look(e);
		if (r)
			return r;
		if (e->on && !mk_time_left(deadline))
			return mk_error_set(-ETIME, 0, "cuda engine",
					    "the kernel was told to leave "
					    "%llu ms ago and is still there",
					    MKC_GRACE_NS / 1000000ull);
		nap(looks);
	}
	return 0;
}

/* ---- commands ----------------------------------------------------------- */

static void post(struct mk_engine *e, uint32_t command, uint32_t index,
		 uint32_t strict, const void *payload, size_t bytes)
{
	struct mkd_mail *m = e->mail;

	mkc_tell_time(e);
	e->asked = false;
	if (bytes)
		memcpy(m->payload, payload, bytes);
	mk_store_relaxed(&m->command, command);
	mk_store_relaxed(&m->index, index);
	mk_store_relaxed(&m->strict, strict);
	/* pairs with the monitor's acquire after it read the sequence */
	mk_store_release(&m->seq, ++e->seq);
}

/* The device answers nothing at all: it hangs, and so would any call. */
static int no_answer(struct mk_engine *e, uint32_t command)
{
	return mk_error_set(-ETIME, 0, "cuda engine",
			    "the kernel has not answered command %u for %llu "
			    "ms past its deadline (monitor's count %u)",
			    command, MKC_GRACE_NS / 1000000ull,
			    mk_load_relaxed(&e->mail->beat));
}

/* Until the monitor has answered, or given up as it was told to. */
static int await(struct mk_engine *e, uint32_t command, uint64_t timeout_ns)
{
	uint64_t deadline = mk_deadline_after(timeout_ns), grace = 0;
	int r;

	for (unsigned looks = 0;; looks++) {
		/* pairs with the monitor's release */
		if (mk_load_acquire(&e->mail->ack) == e->seq)
			break;
		if (looks % 16 == 15) {
			r = mkc_look(e);
			/* it left before it saw the command: bring it back */
			if (!r && !e->on)
				r = mkc_launch(e, e->paused);
			if (r)
				return r;
		}
		if (!grace && !mk_time_left(deadline)) {
			mk_store_release(&e->mail->cancel, e->seq);
			grace = mk_deadline_after(MKC_GRACE_NS);
		}
		if (grace && !mk_time_left(grace))
			return no_answer(e, command);
		nap(looks);
	}
	if (!mk_load_relaxed(&e->mail->result))
		return 0;
	return mk_error_set(-ETIME, 0, "cuda engine",
			    "a slot still ran after %llu us",
			    (unsigned long long)(timeout_ns / 1000));
}

int mkc_command(struct mk_engine *e, uint32_t command, uint32_t index,
		uint32_t strict, const void *payload, size_t bytes,
		uint64_t timeout_ns)
{
	struct mk_error why;
	bool was_on;
	int r = mkc_check(e);

	if (!r)
		r = mkc_look(e);
	if (r)
		return r;
	was_on = e->on;
	post(e, command, index, strict, payload, bytes);
	if (!was_on)
		r = mkc_launch(e, e->paused);
	if (!r)
		r = await(e, command, timeout_ns);
	if (was_on || !e->paused || e->failed)
		return r;
	/* it came for this command only */
	why = *mk_error_last();
	post(e, MKD_CMD_LEAVE, 0, 0, NULL, 0);
	if (!r)
		return wait_off(e);
	wait_off(e);
	return mk_error_copy(&why);
}

/* Until the monitor says that the kernel ends. */
static int await_reason(struct mk_engine *e)
{
	uint64_t deadline = mk_deadline_after(MKC_GRACE_NS);

	for (unsigned looks = 0; !mk_load_acquire(&e->mail->reason); looks++) {
		if (doubtful(e))
			return MKC_DOUBT;
		if (!mk_time_left(deadline))
			return no_answer(e, MKD_CMD_LEAVE);
		nap(looks);
	}
	return 0;
}

/* Until the monitor has answered HOLD; past the deadline it is to give up. */
static int await_hold(struct mk_engine *e, uint64_t deadline)
{
	uint64_t end = deadline > UINT64_MAX - MKC_GRACE_NS ?
			       UINT64_MAX : deadline + MKC_GRACE_NS;

	for (unsigned looks = 0;
	     mk_load_acquire(&e->mail->ack) != e->seq; looks++) {
		if (doubtful(e))
			return MKC_DOUBT;
		if (!mk_time_left(deadline))
			mk_store_release(&e->mail->cancel, e->seq);
		if (!mk_time_left(end))
			return no_answer(e, MKD_CMD_HOLD);
		nap(looks);
	}
	e->asked = false;
	return 0;
}

int mkc_ask_aside(struct mk_engine *e, uint64_t deadline)
{
	int r;

	if (!e->on || e->failed)
		return 0;
	if (!e->asked)
		post(e, MKD_CMD_HOLD, 0, 0, NULL, 0);
	e->asked = true;
	r = await_hold(e, deadline);
	if (r)
		return r;
	if (mk_load_relaxed(&e->mail->result))
		return mk_error_set(-ETIME, 0, "cuda engine",
				    "a slot still ran at the deadline");
	post(e, MKD_CMD_LEAVE, 0, 0, NULL, 0);
	return await_reason(e);
}

int mkc_step_aside(struct mk_engine *e, uint64_t timeout_ns)
{
	uint64_t deadline = mk_deadline_after(timeout_ns);
	int r = mkc_check(e);

	do {
		if (!r || r == MKC_DOUBT)
			r = mkc_look(e);
		if (!r && e->on)
			r = mkc_ask_aside(e, deadline);
		if (!r && e->on)
			r = wait_off(e);
	} while (r == MKC_DOUBT);
	if (r)
		return r;
	/* what it was asked last, it need not hear any more */
	mk_store_relaxed(&e->mail->ack, e->seq);
	mkc_memory_tidy(e);
	return 0;
}

/*
 * After a failure: the kernel may still be there, and then nothing can be
 * freed. Ask it to leave, for as long as that takes if all is well.
 */
void mkc_settle(struct mk_engine *e)
{
	static const uint32_t orders[] = { MKD_CMD_HOLD, MKD_CMD_LEAVE };
	uint64_t deadline = mk_deadline_after(MKC_GRACE_NS);

	for (unsigned i = 0; i < 2 && e->on; i++) {
		post(e, orders[i], 0, 0, NULL, 0);
		for (unsigned looks = 0; e->on && mk_time_left(deadline);
		     looks++) {
			if (i < 1 && mk_load_acquire(&e->mail->ack) == e->seq)
				break;
			mkc_look(e);
			nap(looks);
		}
	}
}

int mkc_step_back(struct mk_engine *e)
{
	int r = mkc_check(e);

	if (r || e->on || e->paused)
		return r;
	return mkc_launch(e, false);
}
