/* SPDX-License-Identifier: Apache-2.0 */
#include "module/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

#define NS_PER_MS 1000000u

/* Reads before the deadline is looked at again. */
#define DRAIN_READS 64

/* How often to look when the kernel cannot tell of the end of a child. */
#define POLL_MS 5

extern char **environ;

/* The child while it runs. */
struct child {
	pid_t pid;
	int pidfd;    /* readable when it has ended; -1: not to be had */
	int pipe;     /* what it says; -1 when it has closed that */
	size_t used;  /* bytes of text */
};

/* Ours with two changes; *tmpdir is the storage of one of them. */
static char **make_environment(const char *dir, char **tmpdir)
{
	size_t n = 0, out = 0, bytes = strlen(dir) + sizeof("TMPDIR=");
	char **ours = environ, **env;

	while (ours && ours[n])
		n++;
	env = malloc((n + 3) * sizeof(*env));
	*tmpdir = malloc(bytes);
	if (!env || !*tmpdir) {
		free(env);
		free(*tmpdir);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		if (strncmp(ours[i], "TMPDIR=", 7) != 0 &&
		    strncmp(ours[i], "LC_ALL=", 7) != 0)
			env[out++] = ours[i];
	memcpy(*tmpdir, "TMPDIR=", 7);
	memcpy(*tmpdir + 7, dir, strlen(dir) + 1);
	env[out++] = *tmpdir;
	env[out++] = (char *)(uintptr_t)"LC_ALL=C"; /* messages we can read */
	env[out] = NULL;
	return env;
}

static int set_files(posix_spawn_file_actions_t *files, int out)
{
	int rc = posix_spawn_file_actions_addopen(files, 0, "/dev/null",
						  O_RDONLY, 0);

	if (!rc)
		rc = posix_spawn_file_actions_adddup2(files, out, 1);
	if (!rc)
		rc = posix_spawn_file_actions_adddup2(files, out, 2);
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)
	/* descriptors of the caller that lack FD_CLOEXEC */
	if (!rc)
		rc = posix_spawn_file_actions_addclosefrom_np(files, 3);
#endif
	return rc;
}

/* A process group of its own, so that all of it can be killed; and none of
 * the caller's signal settings. */
static int set_attributes(posix_spawnattr_t *attr)
{
	sigset_t all, none;
	int rc;

	sigfillset(&all);
	sigemptyset(&none);
	rc = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP |
					    POSIX_SPAWN_SETSIGDEF |
					    POSIX_SPAWN_SETSIGMASK);
	if (!rc)
		rc = posix_spawnattr_setpgroup(attr, 0);
	if (!rc)
		rc = posix_spawnattr_setsigdefault(attr, &all);
	if (!rc)
		rc = posix_spawnattr_setsigmask(attr, &none);
	return rc;
}

static int start(const struct mk_command *s, int out, pid_t *pid)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	char **env, *tmpdir;
	int rc;

	env = make_environment(s->tmpdir, &tmpdir);
	if (!env)
		return -ENOMEM;
	rc = posix_spawn_file_actions_init(&files);
	if (rc)
		goto no_files;
	rc = posix_spawnattr_init(&attr);
	if (rc)
		goto no_attr;
	rc = set_files(&files, out);
	if (!rc)
		rc = set_attributes(&attr);
	if (!rc)
		rc = posix_spawn(pid, s->argv[0], &files, &attr, s->argv, env);
	posix_spawnattr_destroy(&attr);
no_attr:
	posix_spawn_file_actions_destroy(&files);
no_files:
	free(env);
	free(tmpdir);
	return -rc;
}

/* Take what is there; what exceeds the room is read and dropped. */
static void drain(struct child *c, const struct mk_command *s)
{
	char buffer[4096];
	size_t keep;
	ssize_t n;

	for (unsigned i = 0; i < DRAIN_READS && c->pipe >= 0; i++) {
		n = read(c->pipe, buffer, sizeof(buffer));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			close(c->pipe);
			c->pipe = -1;
			return;
		}
		keep = s->room - 1 - c->used;
		if (keep > (size_t)n)
			keep = (size_t)n;
		memcpy(s->text + c->used, buffer, keep);
		c->used += keep;
	}
}

static void wait_a_while(const struct child *c, uint64_t left_ns)
{
	struct pollfd fds[2] = {
		{ .fd = c->pipe, .events = POLLIN },
		{ .fd = c->pidfd, .events = POLLIN },
	};
	uint64_t ms = left_ns / NS_PER_MS + 1;

	if (ms > 1000)
		ms = 1000;
	if (c->pidfd < 0 && ms > POLL_MS)
		ms = POLL_MS;
	(void)poll(fds, 2, (int)ms);
}

static int status_of(pid_t reaped, int status)
{
	if (reaped < 0)
		return 0; /* somebody else reaped it */
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) :
				     WEXITSTATUS(status);
}

static int kill_group(const struct child *c)
{
	int status;

	/* not reaped yet, so neither number can be another's by now */
	kill(-c->pid, SIGKILL);
	kill(c->pid, SIGKILL);
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	return -ETIME;
}

static int attend(struct child *c, const struct mk_command *s)
{
	uint64_t deadline = mk_deadline_after(s->timeout_ns), now;
	int status = 0;
	pid_t reaped;

	for (;;) {
		do
			reaped = waitpid(c->pid, &status, WNOHANG);
		while (reaped < 0 && errno == EINTR);
		drain(c, s);
		if (reaped)
			return status_of(reaped, status);
		now = mk_now_ns();
		if (now >= deadline)
			return kill_group(c);
		wait_a_while(c, deadline - now);
	}
}

/* Both ends above the numbers that the child fills. */
static int make_pipe(int ends[2])
{
	int rc = 0;

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	for (int i = 0; i < 2; i++) {
		ends[i] = mk_fd_keep(ends[i]);
		if (ends[i] < 0)
			rc = -errno;
	}
	for (int i = 0; i < 2 && rc; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	return rc;
}

int mk_command_run(const struct mk_command *s)
{
	struct child c = { .pidfd = -1 };
	int ends[2], rc;

	s->text[0] = '\0';
	rc = make_pipe(ends);
	if (rc)
		return rc;
	c.pipe = ends[0];
	rc = fcntl(ends[0], F_SETFL, O_NONBLOCK) ? -errno :
						   start(s, ends[1], &c.pid);
	close(ends[1]);
	if (!rc) {
		c.pidfd = (int)syscall(SYS_pidfd_open, c.pid, 0);
		rc = attend(&c, s);
	}
	s->text[c.used] = '\0';
	if (c.pidfd >= 0)
		close(c.pidfd);
	if (c.pipe >= 0)
		close(c.pipe);
	return rc;
}
