/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/pulse.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/futex.h"
#include "base/order.h"

/* Signals are for others. */
static int start_thread(pthread_t *thread, void *(*run)(void *), void *arg)
{
	sigset_t all, old;
	int e;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	e = pthread_create(thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return e;
}

/* ---- the worker -------------------------------------------------------- */

static struct {
	uint32_t *word;
	/* what the kernel looks at when the thread ends: in memory of ours */
	struct robust_list_head head;
	struct robust_list entry;
	uint32_t held; /* futex; store-release */
} own;

static void *hold(void *arg)
{
	(void)arg;
	own.entry.next = &own.head.list;
	own.head.list.next = &own.entry;
	own.head.futex_offset = (char *)own.word - (char *)&own.entry;
	/* this thread has no robust mutex of the C library's */
	if (!syscall(SYS_set_robust_list, &own.head, sizeof(own.head)))
		/* there is somebody to be woken, always */
		mk_store_release(own.word, (uint32_t)syscall(SYS_gettid) |
						   FUTEX_WAITERS);
	mk_store_release(&own.held, 1);
	mk_futex_wake(&own.held, 1);
	for (;;)
		pause();
	return NULL;
}

int mk_pulse_start(uint32_t *word)
{
	pthread_t thread;
	int e;

	own.word = word;
	e = start_thread(&thread, hold, NULL);
	if (e)
		return -e;
	pthread_detach(thread);
	while (!mk_load_acquire(&own.held))
		mk_futex_wait(&own.held, 0, UINT64_MAX);
	return 0;
}

/* ---- the caller -------------------------------------------------------- */

struct mk_pulse {
	uint32_t *word;
	void (*dying)(void *arg);
	void *arg;
	uint32_t stop; /* store-seq, then the word, then a wake-up */
	uint32_t done; /* store-release */
	pthread_t thread;
};

/* The word is hostile: whatever it says, there is an end to this. */
static void *watch(void *arg)
{
	struct mk_pulse *p = arg;

	for (;;) {
		uint32_t seen = mk_load_seq(p->word);

		if (mk_load_seq(&p->stop))
			break;
		if (seen & FUTEX_OWNER_DIED) {
			p->dying(p->arg);
			break;
		}
		if (!(seen & FUTEX_TID_MASK))
			break;
		mk_futex_wait(p->word, seen, UINT64_MAX);
	}
	mk_store_release(&p->done, 1);
	return NULL;
}

struct mk_pulse *mk_pulse_watch(uint32_t *word, void (*dying)(void *arg),
				void *arg)
{
	struct mk_pulse *p;

	if (!mk_load_acquire(word))
		return NULL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->word = word;
	p->dying = dying;
	p->arg = arg;
	if (start_thread(&p->thread, watch, p)) {
		free(p);
		return NULL;
	}
	return p;
}

void mk_pulse_end(struct mk_pulse *p)
{
	const struct timespec nap = { 0, 20000 };

	if (!p)
		return;
	mk_store_seq(&p->stop, 1);
	/* it does not fall asleep on 0; but a process that lives may put
	 * another number there meanwhile */
	for (;;) {
		mk_store_seq(p->word, 0);
		mk_futex_wake(p->word, INT_MAX);
		if (mk_load_acquire(&p->done))
			break;
		nanosleep(&nap, NULL);
	}
	pthread_join(p->thread, NULL);
	free(p);
}
