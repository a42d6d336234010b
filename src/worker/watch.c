/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/watch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

/* P_PIDFD of linux/wait.h, which glibc has since 2.36. */
#define WAIT_PIDFD ((idtype_t)3)

#define NS_PER_MS 1000000u
/* A process closes its socket a moment before it can be reaped; the end of
 * one that takes longer is hastened: to be noticed late costs every slot. */
#define GRACE_MS 100
/* How long the end of a killed process is waited for. */
#define KILL_NS (5000ull * NS_PER_MS)

struct mk_watch {
	pid_t pid;
	int sock;
	int pidfd; /* -1: none */
	pthread_t thread;
	void (*lost)(void *arg, const struct mk_error *why);
	void *arg;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t ended; /* or started */
	const char *path;     /* to be started; NULL: that is over */
	int failed;           /* it could not be: error says why */
	struct mk_error error;
	bool expected; /* do not report the end */
	bool judged;   /* why was set before the end */
	bool gone;     /* reaped */
	bool orphan;   /* the thread frees w */
	struct mk_error why;
};

static void watch_free(struct mk_watch *w)
{
	if (w->pidfd >= 0)
		close(w->pidfd);
	if (w->sock >= 0)
		close(w->sock);
	pthread_cond_destroy(&w->ended);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

/* The lock is held, or nobody else knows w: the pid is not another's yet. */
static void send_kill(struct mk_watch *w)
{
	if (w->gone)
		return;
	if (w->pidfd >= 0 &&
	    (!syscall(SYS_pidfd_send_signal, w->pidfd, SIGKILL, NULL, 0) ||
	     errno == ESRCH))
		return;
	kill(w->pid, SIGKILL); /* no descriptor, or the call is forbidden */
}

/* ---- the watching thread ---------------------------------------------- */

/* Put the end into words. The lock is held. */
static void explain(struct mk_watch *w, const siginfo_t *info, bool known)
{
	struct mk_error *e = &w->why;
	const char *name;

	e->native = known ? info->si_status : 0;
	if (w->judged)
		return;
	e->code = -MK_EDEVLOST;
	snprintf(e->operation, sizeof(e->operation), "worker");
	if (!known) {
		snprintf(e->text, sizeof(e->text),
			 "the worker process %d ended; how is not known, "
			 "because the caller reaps every child itself",
			 (int)w->pid);
	} else if (info->si_code == CLD_EXITED) {
		snprintf(e->text, sizeof(e->text),
			 "the worker process %d exited with status %d",
			 (int)w->pid, info->si_status);
	} else {
		name = sigdescr_np(info->si_status);
		snprintf(e->text, sizeof(e->text),
			 "the worker process %d was killed by signal %d (%s)",
			 (int)w->pid, info->si_status, name ? name : "?");
	}
}

/* What there is to be told of it, without waiting. */
static int wait_child(const struct mk_watch *w, siginfo_t *info, int options)
{
	int r = -1;

	errno = EINVAL;
	memset(info, 0, sizeof(*info));
	if (w->pidfd >= 0)
		r = waitid(WAIT_PIDFD, (id_t)w->pidfd, info, options | WNOHANG);
	if (r < 0 && errno == EINVAL) /* no descriptor, or Linux 5.3 */
		r = waitid(P_PID, (id_t)w->pid, info, options | WNOHANG);
	return r < 0 ? -errno : 0;
}

/*
 * Reap the process if it has ended. Everything happens under the lock, so
 * that nobody sends a signal to a pid that may be somebody else's by now.
 * Sets *report if lost() is to be told.
 */
static bool reap(struct mk_watch *w, bool *report)
{
	siginfo_t info;
	int r;

	pthread_mutex_lock(&w->lock);
	r = wait_child(w, &info, WEXITED);
	if (r == -ECHILD || (!r && info.si_pid)) {
		explain(w, &info, !r);
		w->gone = true;
		*report = !w->expected;
		/* a command in flight sees the end even if some child of the
		 * process still holds the socket */
		shutdown(w->sock, SHUT_RDWR);
		pthread_cond_broadcast(&w->ended);
	}
	r = w->gone;
	pthread_mutex_unlock(&w->lock);
	return r;
}

static bool readable(int fd, int timeout_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, timeout_ms) > 0 && pfd.revents;
}

/* Give the process that closed its socket a moment to end by itself. */
static bool reap_soon(struct mk_watch *w, bool *report)
{
	uint64_t deadline = mk_deadline_after((uint64_t)GRACE_MS * NS_PER_MS);

	if (w->pidfd >= 0 && !readable(w->pidfd, GRACE_MS))
		return false;
	while (!reap(w, report)) {
		if (!mk_time_left(deadline))
			return false;
		poll(NULL, 0, 1);
	}
	return true;
}

static void judge_silent(struct mk_watch *w)
{
	struct mk_error e = { .code = -MK_EDEVLOST, .operation = "worker" };

	snprintf(e.text, sizeof(e.text),
		 "the worker process %d closed its socket without ending, and "
		 "was killed",
		 (int)w->pid);
	mk_watch_kill(w, &e);
}

/* Sleep until the process has ended or its socket is broken. */
static void sleep_until_trouble(struct mk_watch *w)
{
	struct pollfd pfd[2] = {
		{ .fd = w->pidfd, .events = POLLIN },
		{ .fd = w->sock, .events = POLLRDHUP },
	};

	while (poll(pfd, 2, -1) < 0 && (errno == EINTR || errno == ENOMEM))
		;
}

/*
 * The process is started by the thread that watches it, because to the kernel
 * that thread is its parent: should all threads of ours be killed, it is killed
 * then (see serve.c), and not sooner.
 */
static bool start_process(struct mk_watch *w)
{
	struct mk_spawned child = { .pid = -1, .sock = -1, .pidfd = -1 };
	int r = mk_spawn_worker(w->path, &child);

	pthread_mutex_lock(&w->lock);
	w->pid = child.pid;
	w->sock = child.sock;
	w->pidfd = child.pidfd;
	w->failed = r;
	if (r)
		w->error = *mk_error_last();
	w->path = NULL;
	pthread_cond_broadcast(&w->ended);
	pthread_mutex_unlock(&w->lock);
	return !r;
}

static void *watch_main(void *arg)
{
	struct mk_watch *w = arg;
	bool report = false, orphan;

	if (!start_process(w))
		return NULL;
	sleep_until_trouble(w);
	if (!reap_soon(w, &report)) {
		judge_silent(w);
		while (!reap_soon(w, &report))
			;
	}
	if (report)
		w->lost(w->arg, &w->why); /* gone: nobody writes it now */
	pthread_mutex_lock(&w->lock);
	orphan = w->orphan;
	pthread_mutex_unlock(&w->lock);
	if (orphan)
		watch_free(w);
	return NULL;
}

/* The caller's signals are not for this thread. */
static int start_thread(struct mk_watch *w)
{
	sigset_t all, old;
	int e;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	e = pthread_create(&w->thread, NULL, watch_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return e;
}

static int init_sync(struct mk_watch *w)
{
	pthread_condattr_t attr;
	int e = pthread_mutex_init(&w->lock, NULL);

	if (e)
		return e;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	e = pthread_cond_init(&w->ended, &attr);
	pthread_condattr_destroy(&attr);
	if (e)
		pthread_mutex_destroy(&w->lock);
	return e;
}

static int no_thread(int e)
{
	return mk_error_set(-e, e, "worker",
			    "no thread to watch the worker process: %s",
			    strerror(e));
}

/* It could not be started: its thread has ended. */
static int not_started(struct mk_watch *w)
{
	struct mk_error why = w->error;

	pthread_join(w->thread, NULL);
	watch_free(w);
	return mk_error_copy(&why);
}

int mk_watch_start(const char *path,
		   void (*lost)(void *arg, const struct mk_error *why),
		   void *arg, struct mk_watch **out)
{
	struct mk_watch *w = calloc(1, sizeof(*w));
	int e = w ? init_sync(w) : ENOMEM;

	if (e) {
		free(w);
		return no_thread(e);
	}
	w->path = path;
	w->sock = w->pidfd = -1;
	w->lost = lost;
	w->arg = arg;
	w->expected = true;
	e = start_thread(w);
	if (e) {
		watch_free(w);
		return no_thread(e);
	}
	pthread_mutex_lock(&w->lock);
	while (w->path)
		pthread_cond_wait(&w->ended, &w->lock);
	pthread_mutex_unlock(&w->lock);
	if (w->failed)
		return not_started(w);
	*out = w;
	return 0;
}

/* ---- the others ------------------------------------------------------- */

int mk_watch_sock(const struct mk_watch *w)
{
	return w->sock;
}

pid_t mk_watch_pid(const struct mk_watch *w)
{
	return w->pid;
}

int mk_watch_arm(struct mk_watch *w)
{
	bool gone;

	pthread_mutex_lock(&w->lock);
	w->expected = false;
	gone = w->gone;
	pthread_mutex_unlock(&w->lock);
	return gone ? -MK_EDEVLOST : 0;
}

void mk_watch_expect(struct mk_watch *w)
{
	pthread_mutex_lock(&w->lock);
	w->expected = true;
	pthread_mutex_unlock(&w->lock);
}

bool mk_watch_wait(struct mk_watch *w, uint64_t deadline_ns,
		   struct mk_error *why)
{
	struct timespec t = {
		.tv_sec = (time_t)(deadline_ns / 1000000000u),
		.tv_nsec = (long)(deadline_ns % 1000000000u),
	};
	bool gone;
	int e = 0;

	pthread_mutex_lock(&w->lock);
	while (!w->gone && !e)
		e = deadline_ns == UINT64_MAX ?
			    pthread_cond_wait(&w->ended, &w->lock) :
			    pthread_cond_timedwait(&w->ended, &w->lock, &t);
	gone = w->gone;
	if (gone && why)
		*why = w->why;
	pthread_mutex_unlock(&w->lock);
	return gone;
}

bool mk_watch_gone(struct mk_watch *w, struct mk_error *why)
{
	return mk_watch_wait(w, 0, why);
}

bool mk_watch_stopped(struct mk_watch *w)
{
	siginfo_t info;
	bool stopped;

	pthread_mutex_lock(&w->lock);
	stopped = !w->gone && !wait_child(w, &info, WSTOPPED | WNOWAIT) &&
		  info.si_pid;
	pthread_mutex_unlock(&w->lock);
	return stopped;
}

void mk_watch_kill(struct mk_watch *w, const struct mk_error *verdict)
{
	pthread_mutex_lock(&w->lock);
	if (verdict && !w->gone && !w->judged) {
		w->judged = true;
		w->why = *verdict;
	}
	send_kill(w);
	pthread_mutex_unlock(&w->lock);
}

void mk_watch_end(struct mk_watch *w)
{
	pthread_t thread = w->thread;
	bool gone;

	mk_watch_expect(w);
	mk_watch_kill(w, NULL);
	mk_watch_wait(w, mk_deadline_after(KILL_NS), NULL);
	pthread_mutex_lock(&w->lock);
	gone = w->gone;
	w->orphan = !gone;
	pthread_mutex_unlock(&w->lock);
	if (gone) {
		pthread_join(thread, NULL);
		watch_free(w);
	} else {
		pthread_detach(thread);
	}
}
