/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A calling process that is killed in the middle of its work: this program,
 * started once more. Its worker has to be gone within a second, and nothing of
 * either may stay behind.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/order.h"
#include "chaos.h"

#define READY_MS 60000
#define GONE_MS 1000

extern char **environ;

/* ---- the one that is killed -------------------------------------------- */

static void say_ready(struct chaos *c)
{
	char line[32];
	int n = snprintf(line, sizeof(line), "%d\n",
			 c->process ? chaos_worker(c) : 0);

	while (!chaos_load_answered(c))
		poll(NULL, 0, 1);
	if (write(STDOUT_FILENO, line, (size_t)n) != n)
		_exit(CLI_USAGE);
}

int chaos_be_caller(struct chaos *c)
{
	say_ready(c);
	/* the end is the other's business; if it forgot, not for ever */
	poll(NULL, 0, 10 * READY_MS);
	return CLI_USAGE;
}

/* ---- the one that kills ------------------------------------------------ */

struct victim {
	pid_t pid;
	int out;     /* its standard output */
	int worker;  /* pidfd of its worker process; -1: none */
};

static int start(struct chaos *c, struct victim *v, const char *seed)
{
	/* what it is started with leads to chaos_be_caller() */
	char *argv[] = { (char *)"megakernel", (char *)"chaos",
			 (char *)"--be-caller", c->dir,
			 (char *)"--engine", c->engine,
			 (char *)"--isolation",
			 (char *)(c->process ? "process" : "none"),
			 (char *)"--seed", (char *)seed, NULL };
	posix_spawn_file_actions_t a;
	int pair[2], e;

	if (pipe2(pair, O_CLOEXEC))
		return errno;
	posix_spawn_file_actions_init(&a);
	posix_spawn_file_actions_adddup2(&a, pair[1], STDOUT_FILENO);
	e = posix_spawn(&v->pid, "/proc/self/exe", &a, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&a);
	close(pair[1]);
	if (e)
		close(pair[0]);
	v->out = pair[0];
	return e;
}

/* Wait until it works, and take hold of its worker. */
static bool await_ready(const struct chaos *c, struct victim *v)
{
	struct pollfd p = { .fd = v->out, .events = POLLIN };
	char line[32] = { 0 };
	int pid;

	if (poll(&p, 1, READY_MS) != 1 ||
	    read(v->out, line, sizeof(line) - 1) <= 0)
		return false;
	pid = atoi(line);
	if (!c->process)
		return true;
	v->worker = (int)syscall(SYS_pidfd_open, pid, 0);
	return v->worker >= 0;
}

/* Names in the directory that it had for itself. */
static unsigned left_behind(const char *path)
{
	struct dirent *e;
	unsigned n = 0;
	DIR *d = opendir(path);

	while (d && (e = readdir(d)))
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

/* Kill it and see its worker go. */
static bool end(struct chaos *c, struct victim *v, const char *path)
{
	struct pollfd p = { .fd = v->worker, .events = POLLIN };
	uint64_t t0 = mk_now_ns(), took;
	unsigned files;
	bool gone;

	kill(v->pid, SIGKILL);
	waitpid(v->pid, NULL, 0);
	gone = v->worker < 0 || poll(&p, 1, GONE_MS) == 1;
	took = mk_now_ns() - t0;
	files = left_behind(path);
	chaos_times_add(&c->seen[CHAOS_CALLER].notice, took);
	if (took / 1000000 > c->caller_ms)
		c->caller_ms = took / 1000000;
	if (gone && !files)
		return true;
	c->tally.wrong++;
	chaos_complain(c, "a killed caller: its worker is %s after %llu ms, "
		       "%u files are left", gone ? "gone" : "still there",
		       (unsigned long long)(took / 1000000), files);
	return false;
}

bool chaos_caller(struct chaos *c, const struct chaos_fault *f)
{
	struct victim v = { .pid = -1, .worker = -1 };
	char path[96], seed[24];
	bool ok = false;
	int e;

	snprintf(path, sizeof(path), "%s/caller", c->dir);
	mkdir(path, 0700);
	snprintf(seed, sizeof(seed), "%u", (unsigned)(f->noise >> 33));
	setenv("TMPDIR", path, 1);
	e = start(c, &v, seed);
	unsetenv("TMPDIR");
	if (e) {
		chaos_complain(c, "a caller: %s", strerror(e));
		return false;
	}
	if (await_ready(c, &v)) {
		poll(NULL, 0, (int)(f->noise % 20));
		ok = end(c, &v, path);
	} else {
		kill(v.pid, SIGKILL);
		waitpid(v.pid, NULL, 0);
		chaos_complain(c, "a caller that does not begin");
	}
	if (v.worker >= 0)
		close(v.worker);
	close(v.out);
	return ok;
}
