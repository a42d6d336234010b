/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A caller with a worker process, for the tests of this folder. The worker
 * program is the test itself, started with $MK_TEST_WORKER set to how it
 * shall behave: as it should, or with a lie.
 */
#ifndef RIG_H
#define RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <limits.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "worker/proxy.h"
#include "worker/serve.h"
#include "worker/spawn.h"

#include "stub_engine.h"

#define NS_PER_S 1000000000ull
#define LONG_NS (60 * NS_PER_S) /* never reached unless something hangs */
#define MODE_ENV "MK_TEST_WORKER"

static char self[PATH_MAX];

/* ---- the worker's side ------------------------------------------------ */

static void evil_send(const void *data, size_t bytes, int fd)
{
	mk_channel_send(MK_WORKER_FD, data, bytes, fd, UINT64_MAX);
}

/* Answers to requests that were made before this one, without end. */
static void evil_flood(struct mk_answer *a)
{
	a->head.sequence--;
	while (!mk_channel_send(MK_WORKER_FD, a, a->head.bytes, -1,
				UINT64_MAX))
		;
}

/* Answer in the manner of `mode`. */
static void evil_answer(const char *mode, struct mk_answer *a, size_t n)
{
	static char big[2 * sizeof(struct mk_answer)];

	if (!strcmp(mode, "noise"))
		evil_send(memset(big, 0xa5, sizeof(big)), 100, -1);
	else if (!strcmp(mode, "short"))
		evil_send(a, 3, -1);
	else if (!strcmp(mode, "empty"))
		evil_send(a, 0, -1);
	else if (!strcmp(mode, "long"))
		evil_send(memcpy(big, a, n), sizeof(big), -1);
	else if (!strcmp(mode, "fds"))
		evil_send(a, n, MK_WORKER_FD);
	else if (!strcmp(mode, "flood"))
		evil_flood(a);
	else if (!strcmp(mode, "shut"))
		shutdown(MK_WORKER_FD, SHUT_RDWR);
	else if (!strcmp(mode, "op"))
		a->head.op = MK_MESSAGE_RESUME + 1;
	else if (!strcmp(mode, "future"))
		a->head.sequence++;
	else if (!strcmp(mode, "positive"))
		a->head.result = 1;
	else if (!strcmp(mode, "abi"))
		a->head.fingerprint ^= 1;
	else if (!strcmp(mode, "code"))
		a->error.code = -MK_EFULL;
	else if (!strcmp(mode, "name"))
		memset(a->handlers[1].name, 'x', MK_HANDLER_NAME_BYTES);
	else if (!strcmp(mode, "many")) {
		a->head.count++;
		a->head.bytes += (uint32_t)sizeof(a->handlers[0]);
	} else if (!strcmp(mode, "text")) {
		a->head.result = a->error.code = -MK_EFULL;
		a->head.count = 0;
		a->head.bytes = MK_OFFSETOF(struct mk_answer, handlers);
		memset(a->error.text, 'x', sizeof(a->error.text));
		memset(a->error.operation, 'y', sizeof(a->error.operation));
	}
	/* those above that sent something have been found out by then */
	evil_send(a, a->head.bytes, -1);
}

/* A worker that opens as it should, and lies from then on. */
static int evil_main(const char *mode)
{
	static struct mk_serve serve;
	struct mk_packet p = { .data = &serve.in, .room = sizeof(serve.in) };
	bool from_start = !strncmp(mode, "hello-", 6);
	size_t n;

	mk_serve_init(&serve, stub_find);
	while (!mk_channel_recv(MK_WORKER_FD, &p, UINT64_MAX)) {
		n = mk_serve_packet(&serve, &p);
		if (!strcmp(mode, "hello-exit"))
			_exit(7);
		if (!strcmp(mode, "hello-silent"))
			continue;
		if (serve.done)
			return 0;
		if (from_start)
			evil_answer(mode + 6, &serve.out, n);
		else if (serve.in.head.op == MK_MESSAGE_HELLO)
			evil_send(&serve.out, n, -1);
		else
			evil_answer(mode, &serve.out, n);
	}
	if (!strcmp(from_start ? mode + 6 : mode, "shut"))
		for (;;)
			pause(); /* the socket is down, the process is not */
	return 0;
}

static int worker_main(const char *mode)
{
	alarm(100); /* if a test fails and leaves us behind */
	if (!strcmp(mode, "serve"))
		return mk_serve_run(MK_WORKER_FD, stub_find);
	return evil_main(mode);
}

/* ---- the caller's side ------------------------------------------------ */

static int count_entries(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;

	if (!d)
		return -1;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static bool has_children(void)
{
	siginfo_t info;

	return !waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) ||
	       errno != ECHILD;
}

struct rig {
	struct mk_region region;
	struct mk_engine *engine;
	int fds, threads; /* before */
	uint64_t commands;
	uint64_t hang_ns; /* for rig_open() */
	int hung;
	pthread_mutex_t lock;
	pthread_cond_t told;
	int losses;
	struct mk_error why;
};

static void on_lost(void *arg, const struct mk_error *why)
{
	struct rig *rig = arg;

	pthread_mutex_lock(&rig->lock);
	rig->losses++;
	rig->why = *why;
	pthread_cond_broadcast(&rig->told);
	pthread_mutex_unlock(&rig->lock);
}

/* From the thread that gives the command. */
static void on_hung(void *arg, const struct mk_error *why, uint64_t noticed_ns)
{
	struct rig *rig = arg;

	assert_int_equal(why->code, -MK_EDEVLOST);
	assert_true(noticed_ns > 0 && noticed_ns <= mk_now_ns());
	rig->hung++;
}

static void rig_init(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	rig->fds = count_entries("/proc/self/fd");
	rig->threads = count_entries("/proc/self/task");
	pthread_mutex_init(&rig->lock, NULL);
	pthread_cond_init(&rig->told, NULL);
	stub_region(&rig->region, STUB_TOTAL, STUB_SEALS);
}

static int rig_open(struct rig *rig, const char *mode, uint64_t command_ns)
{
	struct mk_proxy_params params = {
		.engine = "stub",
		.worker_path = self,
		.command_ns = command_ns,
		.commands = &rig->commands,
		.lost = on_lost,
		.hung = on_hung,
		.hang_ns = rig->hang_ns,
		.arg = rig,
	};
	struct mk_engine_config config;

	stub_config(&config);
	setenv(MODE_ENV, mode, 1);
	return mk_proxy_open(&params, &config, &rig->region, &rig->engine);
}

/* Nothing is left: no descriptor, no thread, no child, no zombie. */
static void rig_fini(struct rig *rig, int losses)
{
	stub_region_free(&rig->region);
	assert_int_equal(rig->losses, losses);
	pthread_cond_destroy(&rig->told);
	pthread_mutex_destroy(&rig->lock);
	assert_int_equal(count_entries("/proc/self/fd"), rig->fds);
	assert_false(has_children());
	/* a joined thread may stay in the list for an instant */
	for (int i = 0; i < 3000; i++) {
		if (count_entries("/proc/self/task") == rig->threads)
			return;
		usleep(1000);
	}
	fail_msg("a thread is left");
}

static inline void rig_close(struct rig *rig, int losses)
{
	assert_int_equal(mk_engine_proxy.close(rig->engine, LONG_NS), 0);
	rig_fini(rig, losses);
}

/* Wait until lost() was called. */
static inline void rig_await_loss(struct rig *rig)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += 30;
	pthread_mutex_lock(&rig->lock);
	while (!rig->losses)
		if (pthread_cond_timedwait(&rig->told, &rig->lock, &t))
			break;
	pthread_mutex_unlock(&rig->lock);
	assert_int_equal(rig->losses, 1);
	assert_int_equal(rig->why.code, -MK_EDEVLOST);
}

static inline int order(struct rig *rig, uint32_t id)
{
	return mk_engine_proxy.module_close(rig->engine, id, 0);
}

/* Wait until the worker has begun its nth call. */
static inline void await_entered(const struct rig *rig, uint32_t n)
{
	const struct stub_record *r = stub_record(&rig->region);

	for (int i = 0; i < 30000; i++) {
		/* pairs with the stub's store-release */
		if (mk_load_acquire(&r->entered) >= n)
			return;
		usleep(1000);
	}
	fail_msg("the worker does not come to its call %u", n);
}

/* ---- main ------------------------------------------------------------- */

static void *no_main(void *arg)
{
	return arg;
}

/* ThreadSanitizer starts a thread of its own with the first one of ours. */
static int warm_up(void **state)
{
	pthread_t thread;

	(void)state;
	return pthread_create(&thread, NULL, no_main, NULL) ||
	       pthread_join(thread, NULL);
}

/* Before anything else: 0 here, in the caller; the worker does not return. */
static int rig_begin(void)
{
	const char *mode = getenv(MODE_ENV);

	if (mode)
		exit(worker_main(mode));
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 1;
	alarm(110); /* a hang is a failure */
	return 0;
}

#endif
