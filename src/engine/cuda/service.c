/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service thread: what a kernel cannot do by itself. It wakes waiters,
 * tells the time, notices when the kernel is lost or has left, and brings it
 * back when somebody rings.
 */
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/futex.h"
#include "base/order.h"
#include "engine/cuda/host.h"

#define WARM_NS 100000u /* between two calls that keep the driver in cache */
#define SPIN_MAX_NS 5000000u /* for the bell, while the kernel is away */
#define STAY_MAX_NS 1000000000u /* without anything to do, if it left work */

void mkc_tell_time(struct mk_engine *e)
{
	mk_store_relaxed(&e->mail->clock_ns, mk_now_ns());
}

/*
 * The kernel left although there is work. That may just have come. But it also
 * leaves when every worker sits at a queue where nothing comes, for less than
 * the patience after which it gives way to those where slots wait; its seats
 * are kept, and its patience is not, so that next time would end like this
 * one. So next time it stays for twice as long, until that is enough.
 */
static void stay_longer(struct mk_engine *e)
{
	if (e->launch.idle_ns < STAY_MAX_NS)
		e->launch.idle_ns *= 2;
}

/*
 * The kernel has left because nothing happened. From now on publishers ring;
 * what was published before they knew is found by looking, which the
 * protocol of model/park.pml asks of whoever falls asleep.
 */
static void park(struct mk_engine *e, uint32_t *bell)
{
	*bell = mk_load_seq(&e->block->bell);
	e->parked = true;
	mk_store_seq(&e->block->attention, MK_ASLEEP);
	/* until then nobody need look at what waits for counters */
	e->due_ns = mk_load_relaxed(&e->mail->due_ns);
	if (!e->due_ns)
		e->due_ns = UINT64_MAX;
	mkc_memory_tidy(e);
	if (mkc_any_work(e)) {
		stay_longer(e);
		mkc_launch(e, false);
		return;
	}
	e->launch.idle_ns = e->config.idle_ns;
	e->parks++;
}

/* The kernel's comings and goings. True: sleep until the bell changes. */
static bool attend(struct mk_engine *e, uint32_t *bell)
{
	bool asleep = false;

	/* a command is being carried out, which sees to all this itself */
	if (pthread_mutex_trylock(&e->lock))
		return false;
	if (!e->parked)
		e->due_ns = UINT64_MAX;
	if (e->parked && !e->on && !e->paused && !e->failed) {
		if (mk_load_seq(&e->block->bell) != *bell ||
		    mk_now_ns() > e->due_ns)
			mkc_launch(e, false);
	} else if (e->on) {
		mkc_tell_time(e);
		mkc_look(e);
		if (!e->on && !e->paused && !e->failed)
			park(e, bell);
	}
	/* whoever launches it next rings */
	asleep = !e->on;
	pthread_mutex_unlock(&e->lock);
	return asleep;
}

/*
 * To be woken takes 10 to 200 us, several times what the launch does. So if
 * the bell was rung soon after the kernel had left the last time, we stay
 * awake for twice as long as that took, at the expense of a core.
 */
struct spinner {
	uint64_t expect_ns; /* the bell took so long */
	bool alone;         /* the one core is needed for what rings it */
};

static void spinner_begin(struct spinner *s)
{
	s->expect_ns = UINT64_MAX;
	s->alone = sysconf(_SC_NPROCESSORS_ONLN) < 3;
}

/* How long a kernel that is parked may stay away at most. */
static uint64_t left(struct mk_engine *e)
{
	uint64_t now = mk_now_ns();

	if (e->due_ns == UINT64_MAX)
		return UINT64_MAX;
	/* the device's clock is a little behind or ahead of ours */
	return e->due_ns > now ? e->due_ns - now + 1000000 : 1000000;
}

/* Until the bell changes, or a slot that waits is late. */
static void sleep_for_bell(struct mk_engine *e, uint32_t seen,
			   struct spinner *s)
{
	uint64_t begin = mk_now_ns(), took = 0, warm = 0;
	uint64_t most = s->expect_ns < SPIN_MAX_NS / 2 && !s->alone ?
				2 * s->expect_ns : 0;

	while (mk_load_seq(&e->block->bell) == seen) {
		if (took >= most) {
			mk_futex_wait(&e->block->bell, seen, left(e));
			break;
		}
		mk_pause();
		took = mk_now_ns() - begin;
		/* a launch takes twice as long if the driver has not been
		 * called for a millisecond; nothing is there to hold us up */
		if (took - warm > WARM_NS) {
			e->d->stream_query(e->stream);
			warm = took;
		}
	}
	s->expect_ns = mk_now_ns() - begin;
}

static void *service_main(void *arg)
{
	struct mk_engine *e = arg;
	uint32_t bell = mk_load_seq(&e->block->bell);
	struct spinner spinner;
	int r;

	spinner_begin(&spinner);
	prctl(PR_SET_NAME, "mk-cuda");
	prctl(PR_SET_TIMERSLACK, 1000ul);
	/* a device that is lost here is lost for the commands, too */
	pthread_mutex_lock(&e->lock);
	r = mkc_enter(e);
	pthread_mutex_unlock(&e->lock);
	if (r)
		return NULL;
	for (;;) {
		/* read before anything is looked at: a ring after this is
		 * not slept through */
		uint32_t seen = mk_load_seq(&e->block->bell);
		struct timespec nap = { 0, 0 };
		bool asleep;

		if (mk_load_acquire(&e->stop))
			break;
		asleep = attend(e, &bell);
		nap.tv_nsec = (long)mkc_wake_waiters(e);
		if (asleep)
			sleep_for_bell(e, seen, &spinner);
		else
			nanosleep(&nap, NULL);
	}
	mkc_leave(e);
	return NULL;
}

int mkc_service_start(struct mk_engine *e)
{
	sigset_t all, old;
	int r;

	/* signals are the caller's business */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&e->service, NULL, service_main, e);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return mk_error_set(-r, r, "cuda engine",
				    "cannot start the service thread: %s",
				    strerror(r));
	e->serving = true;
	return 0;
}

void mkc_service_stop(struct mk_engine *e)
{
	if (!e->serving)
		return;
	mk_store_release(&e->stop, 1);
	mk_add_seq(&e->block->bell, 1);
	mk_futex_wake(&e->block->bell, 1);
	pthread_join(e->service, NULL);
	e->serving = false;
}
