/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker process and the thread that watches it. The thread sleeps until
 * the process dies or its socket breaks, reaps it, and says so: to lost(),
 * once, unless the end was expected.
 */
#ifndef MK_WORKER_WATCH_H
#define MK_WORKER_WATCH_H

#include <megakernel.h>

#include "worker/spawn.h"

struct mk_watch;

/*
 * Start the program at `path` (mk_spawn_worker()), and watch it. Its end is
 * expected until mk_watch_arm(). lost() is called from the watching thread with
 * no lock held; it must not take a lock that is held around a call of this
 * file, and must not call back. -MK_EWORKER; -EMFILE, -ENFILE, -ENOMEM,
 * -EAGAIN.
 */
int mk_watch_start(const char *path,
		   void (*lost)(void *arg, const struct mk_error *why),
		   void *arg, struct mk_watch **out);

/* Report an end from now on. -MK_EDEVLOST: it has ended already. */
int mk_watch_arm(struct mk_watch *w);

/* Its end is expected: no lost() that has not begun will be called. */
void mk_watch_expect(struct mk_watch *w);

int mk_watch_sock(const struct mk_watch *w);
pid_t mk_watch_pid(const struct mk_watch *w);

/* Has the process ended? If so, and why is not NULL, how. */
bool mk_watch_gone(struct mk_watch *w, struct mk_error *why);

/* The same, waiting for it. */
bool mk_watch_wait(struct mk_watch *w, uint64_t deadline_ns,
		   struct mk_error *why);

/* Is the process stopped, as SIGSTOP does? Not told of one whose stop somebody
 * else in this process waits for. */
bool mk_watch_stopped(struct mk_watch *w);

/* SIGKILL. `verdict`, if not NULL, is why, and what lost() will tell. */
void mk_watch_kill(struct mk_watch *w, const struct mk_error *verdict);

/*
 * Kill the process if it lives; wait until it is reaped and lost() is over;
 * free w. A process that the kernel does not let die (stuck in a driver) is
 * left to the thread, which frees w when it ends.
 */
void mk_watch_end(struct mk_watch *w);

#endif
