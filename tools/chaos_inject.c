/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults in the worker process: by a handler, or by a signal. And what comes
 * after each fault: it is noticed, and good answers come again.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/order.h"
#include "chaos.h"

#define BOUND_NS 60000000000u /* longer is stuck */
#define STEP_NS 20000000u

static void nap(uint64_t ns)
{
	struct timespec t = { 0, (long)ns };

	nanosleep(&t, NULL);
}

static struct mk_ctx_stats stats_of(struct chaos *c)
{
	struct mk_ctx_stats s;

	memset(&s, 0, sizeof(s));
	mk_ctx_stats(c->load.ctx, &s);
	return s;
}

uint64_t chaos_losses(struct chaos *c)
{
	return stats_of(c).losses;
}

int chaos_worker(struct chaos *c)
{
	uint64_t deadline = mk_deadline_after(BOUND_NS);
	struct mk_ctx_info info;

	while (mk_time_left(deadline)) {
		memset(&info, 0, sizeof(info));
		mk_ctx_info(c->load.ctx, &info);
		if (info.worker_pid && info.state == MK_CTX_ALIVE)
			return info.worker_pid;
		nap(200000);
	}
	return 0;
}

/* ---- our own queue ----------------------------------------------------- */

/* Publish one slot of ours. */
static bool submit(struct chaos *c, uint16_t opcode, uint8_t flags,
		   const void *args, size_t bytes)
{
	uint64_t deadline = mk_deadline_after(BOUND_NS);
	struct mk_slot *s;
	int r;

	while ((r = mk_queue_get_wait(c->q, 1, &s, STEP_NS)) != 1) {
		if (!mk_time_left(deadline)) {
			chaos_complain(c, "no slot: %s", mk_code_name(r));
			return false;
		}
		if (r != -ETIME)
			nap(200000);
	}
	mk_slot_init(s, opcode, ++c->serial);
	s->flags = flags;
	memcpy(s->bytes, args, bytes);
	c->tally.submitted++;
	r = mk_queue_submit(c->q, s, 1);
	if (r == 1)
		return true;
	chaos_complain(c, "submit: %s", mk_error_last()->text);
	return false;
}

/* The answer to the last slot of ours, or false: none by then. */
static bool reap(struct chaos *c, struct mk_completion *out, uint64_t deadline)
{
	for (;;) {
		int n = mk_queue_reap(c->q, out, 1);

		if (n == 1 && out->user_data == c->serial)
			break;
		if (n == 1) {
			c->tally.twice++;
			chaos_complain(c, "a second answer to slot %llu of "
				       "the main thread",
				       (unsigned long long)out->user_data);
			continue;
		}
		if (!mk_time_left(deadline)) {
			c->tally.lost++;
			chaos_complain(c, "a slot of the main thread has no "
				       "answer");
			return false;
		}
		if (mk_queue_wait(c->q, 1, STEP_NS) < 0)
			nap(100000);
	}
	c->tally.ending[chaos_ending_of(out->result)]++;
	return true;
}

bool chaos_probe(struct chaos *c, uint64_t deadline_ns)
{
	struct mk_completion done;

	while (mk_time_left(deadline_ns)) {
		uint64_t key = chaos_mix(c->serial);
		struct chaos_mix_args a = {
			.table = mk_buffer_ref(c->load.table), .offset = 100,
			.bytes = 64, .key = key,
		};

		if (!submit(c, c->load.mix, MK_SLOT_IDEMPOTENT, &a,
			    sizeof(a)) || !reap(c, &done, deadline_ns))
			return false;
		if (done.result == MK_OK &&
		    done.value == chaos_model_mix(c->load.bytes, 100, 64, key))
			return true;
		if (done.result == MK_OK) {
			c->tally.wrong++;
			chaos_complain(c, "a wrong answer after a fault");
		}
	}
	return false;
}

/* ---- after a fault ----------------------------------------------------- */

/* It is noticed by waiting. */
static bool waits(enum chaos_kind kind)
{
	return kind == CHAOS_HANG || kind == CHAOS_SIGSTOP ||
	       kind == CHAOS_POLL;
}

/* The new process is kept from starting, too. */
static bool hinders(enum chaos_kind kind)
{
	return kind == CHAOS_RESTART || kind == CHAOS_DESCRIPTORS ||
	       kind == CHAOS_CACHE; /* the compiler is at work */
}

/* When it was noticed that nothing moves, if that was since t0. */
static uint64_t hung_after(const struct mk_ctx_stats *s, uint64_t t0)
{
	return s->hung_ns > t0 ? s->hung_ns - t0 : 0;
}

/* A fault whose slot ran again and struck again is two of them: where the
 * second one began is not known. */
static void note(struct chaos *c, enum chaos_kind kind, uint64_t t0,
		 uint64_t good, bool once)
{
	struct mk_ctx_stats s = stats_of(c);
	uint64_t notice = waits(kind) && hung_after(&s, t0) ?
				  hung_after(&s, t0) :
				  s.lost_ns > t0 ? s.lost_ns - t0 : 0;

	if (!once || hinders(kind)) {
		chaos_times_add(&c->hindered, good - t0);
		return;
	}
	chaos_times_add(&c->seen[kind].notice, notice);
	chaos_times_add(&c->seen[kind].good, good - t0);
	chaos_times_add(waits(kind) ? &c->hung : &c->dead, notice);
	if (waits(kind))
		return;
	chaos_times_add(&c->recovery, good - t0);
	chaos_stages_add(c, kind, t0, good, &s);
}

bool chaos_await_loss(struct chaos *c, enum chaos_kind kind, uint64_t t0,
		      uint64_t losses)
{
	uint64_t deadline = mk_deadline_after(BOUND_NS);
	struct mk_ctx_stats s = stats_of(c);

	while (s.losses == losses && mk_time_left(deadline)) {
		nap(100000);
		s = stats_of(c);
	}
	if (s.losses == losses) {
		chaos_complain(c, "%s was not noticed", chaos_kinds[kind].name);
		return false;
	}
	if (!chaos_probe(c, mk_deadline_after(BOUND_NS))) {
		c->stuck = true;
		chaos_complain(c, "no good answer after %s",
			       chaos_kinds[kind].name);
		return false;
	}
	note(c, kind, t0, mk_now_ns(),
	     stats_of(c).losses == losses + 1);
	return true;
}

/* ---- by a handler ------------------------------------------------------ */

/* Is this how a slot with this fault may end? Its process may have been lost
 * by something else meanwhile: on a busy machine another slot may be taken for
 * hung, or the fault itself take too long. */
static bool ends_so(const struct chaos_fault *f, int32_t result)
{
	if (result == (f->idempotent ? -MK_EPOISON : -MK_EMAYRUN))
		return true;
	if (f->idempotent && f->kind != CHAOS_POLL)
		return false;
	switch (f->kind) {
	case CHAOS_POLL:
		return result == -MK_ECANCELLED || result == -MK_EHUNG;
	case CHAOS_HANG:
		return result == -MK_EHUNG;
	default:
		return result == -MK_EFAULT || result == -MK_EHUNG;
	}
}

/* How often the slot began to run, against how it ended. */
static void check_starts(struct chaos *c, const struct chaos_fault *f,
			 uint64_t starts, int32_t result)
{
	uint64_t most = f->idempotent ? UINT64_MAX : 1;
	/* what a GPU wrote just before its fault need not have arrived */
	uint64_t least = c->cpu && result != -MK_EMAYRUN;

	if (starts >= least && starts <= most && ends_so(f, result))
		return;
	if (starts > most)
		c->tally.twice++;
	else
		c->tally.wrong++;
	chaos_complain(c, "a slot with %s%s began %llu times and ended with %s",
		       chaos_kinds[f->kind].name,
		       f->idempotent ? ", idempotent," : "",
		       (unsigned long long)starts, mk_code_name(result));
}

/* It takes a while to come to its fault: when that is. */
static uint64_t await_fault(struct chaos *c, uint64_t t0)
{
	uint64_t deadline = mk_deadline_after(2 * c->o->hang_ns), word = 0;

	while (!mk_queue_observe(c->q, 1, &word) && !word &&
	       mk_time_left(deadline))
		nap(20000);
	return word ? mk_now_ns() : t0;
}

static bool by_handler(struct chaos *c, const struct chaos_fault *f)
{
	struct chaos_fault_args a = { .word = 0, .noise = f->noise };
	uint64_t losses = chaos_losses(c), t0, starts = 0;
	bool harmless = chaos_kinds[f->kind].flags & CHAOS_HARMLESS;
	struct mk_completion done;

	mk_queue_set_observable(c->q, 0, 0);
	mk_queue_set_observable(c->q, 1, 0);
	t0 = mk_now_ns();
	if (submit(c, c->load.fault[f->kind],
		   f->idempotent ? MK_SLOT_IDEMPOTENT : 0, &a, sizeof(a)))
		t0 = f->kind == CHAOS_OVERFLOW ? await_fault(c, t0) : t0;
	else
		c->stuck = true;
	if (c->stuck ||
	    !reap(c, &done, mk_deadline_after(BOUND_NS))) {
		chaos_complain(c, "%s has no answer",
			       chaos_kinds[f->kind].name);
		c->stuck = true;
		return false;
	}
	if (harmless && chaos_losses(c) == losses)
		note(c, f->kind, t0, mk_now_ns(), true);
	else if (!chaos_await_loss(c, f->kind, t0, losses))
		return false;
	mk_queue_observe(c->q, 0, &starts);
	check_starts(c, f, starts, done.result);
	return true;
}

/* ---- by a signal ------------------------------------------------------- */

int chaos_strike(struct chaos *c, int pid, int number, struct chaos_blow *out)
{
	out->before = stats_of(c);
	out->at_ns = mk_now_ns();
	return kill(pid, number) ? -errno : 0;
}

/* The same for the worker process of the moment, whichever that is. Its pid;
 * 0: there is none, which was told. */
static int strike_any(struct chaos *c, enum chaos_kind kind, int number,
		      struct chaos_blow *out)
{
	int pid, r;

	do {
		pid = chaos_worker(c);
		r = pid ? chaos_strike(c, pid, number, out) : -ECHILD;
	} while (r == -ESRCH);
	if (!r)
		return pid;
	chaos_complain(c, "no worker process to %s: %s",
		       chaos_kinds[kind].name, strerror(-r));
	return 0;
}

static bool by_signal(struct chaos *c, enum chaos_kind kind, int number)
{
	struct chaos_blow blow;

	return strike_any(c, kind, number, &blow) &&
	       chaos_await_loss(c, kind, blow.at_ns, blow.before.losses);
}

/* Stopped, and on its way again well before it is taken for hung. */
static bool stall(struct chaos *c)
{
	struct chaos_blow blow;
	int pid = strike_any(c, CHAOS_STALL, SIGSTOP, &blow);

	if (!pid)
		return false;
	nap(c->o->hang_ns / 8 < 900000000u ? c->o->hang_ns / 8 : 900000000u);
	kill(pid, SIGCONT);
	if (!chaos_probe(c, mk_deadline_after(BOUND_NS))) {
		chaos_complain(c, "no good answer after stall");
		c->stuck = true;
		return false;
	}
	chaos_times_add(&c->seen[CHAOS_STALL].good,
			mk_now_ns() - blow.at_ns);
	return true;
}

/* ---- all --------------------------------------------------------------- */

static bool inject(struct chaos *c, const struct chaos_fault *f)
{
	switch (f->kind) {
	case CHAOS_SIGKILL:
		return by_signal(c, f->kind, SIGKILL);
	case CHAOS_SIGSTOP:
		return by_signal(c, f->kind, SIGSTOP);
	case CHAOS_STALL:
		return stall(c);
	case CHAOS_CALLER:
		return chaos_caller(c, f);
	case CHAOS_MEMORY:
		return chaos_memory(c);
	case CHAOS_DESCRIPTORS:
		return chaos_descriptors(c);
	case CHAOS_RESTART:
		return chaos_restart(c, f);
	case CHAOS_CACHE:
		return chaos_cache(c, f);
	case CHAOS_SOCKET:
		return chaos_socket(c, f);
	case CHAOS_CLOCK:
		return chaos_clock(c, f);
	default:
		return by_handler(c, f);
	}
}

void chaos_inject(struct chaos *c, const struct chaos_fault *f)
{
	struct chaos_seen *seen = &c->seen[f->kind];

	seen->injected++;
	if (inject(c, f))
		seen->noticed++;
	if (c->stuck)
		return;
	if (!chaos_probe(c, mk_deadline_after(BOUND_NS))) {
		c->stuck = true;
		chaos_complain(c, "no good answer after %s",
			       chaos_kinds[f->kind].name);
		return;
	}
	/* the next worker, as soon as it is there */
	if (!f->again || !c->process || c->plan.left_out[CHAOS_SIGKILL])
		return;
	c->seen[CHAOS_SIGKILL].injected++;
	if (by_signal(c, CHAOS_SIGKILL, SIGKILL))
		c->seen[CHAOS_SIGKILL].noticed++;
}
