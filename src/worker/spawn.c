/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/spawn.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"

extern char **environ;

/* ---- finding ---------------------------------------------------------- */

/* The places that were tried, for the error's text. */
struct tried {
	char text[768];
	size_t used;
};

static void tried_add(struct tried *t, const char *path)
{
	int n = snprintf(t->text + t->used, sizeof(t->text) - t->used,
			 "%s%s", t->used ? ", " : "", path);

	if (n > 0 && (size_t)n < sizeof(t->text) - t->used)
		t->used += (size_t)n;
	else
		t->text[t->used] = '\0'; /* no half a path */
}

static int try_path(const char *path, struct tried *t)
{
	if (!access(path, X_OK))
		return 1;
	tried_add(t, path);
	return 0;
}

/* In the directory of `file`, and where an installation would have it. */
static int try_beside(const char *file, char *path, size_t room,
		      struct tried *t)
{
	static const char *const places[] = {
		MK_WORKER_PROGRAM,
		"../libexec/megakernel/" MK_WORKER_PROGRAM,
		"../bin/" MK_WORKER_PROGRAM,
	};
	const char *slash = strrchr(file, '/');
	int n;

	if (!slash)
		return 0; /* found by $PATH: its directory is not known */
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		n = snprintf(path, room, "%.*s/%s", (int)(slash - file), file,
			     places[i]);
		if (n > 0 && (size_t)n < room && try_path(path, t))
			return 1;
	}
	return 0;
}

static int search(char *path, size_t room, struct tried *t)
{
	char exe[PATH_MAX];
	Dl_info info;
	ssize_t n;

	if (dladdr((void *)mk_spawn_find, &info) && info.dli_fname &&
	    try_beside(info.dli_fname, path, room, t))
		return 1;
	n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	if (n > 0) {
		exe[n] = '\0';
		if (try_beside(exe, path, room, t))
			return 1;
	}
#ifdef MK_WORKER_INSTALL_PATH
	if (sizeof(MK_WORKER_INSTALL_PATH) <= room) {
		memcpy(path, MK_WORKER_INSTALL_PATH,
		       sizeof(MK_WORKER_INSTALL_PATH));
		return try_path(path, t);
	}
#endif
	return 0;
}

static int find_named(const char *name, const char *source, char *path,
		      size_t room)
{
	size_t n = strlen(name);

	if (n >= room)
		return mk_error_set(-MK_EWORKER, ENAMETOOLONG, "worker",
				    "%s has %zu bytes, at most %zu", source, n,
				    room - 1);
	if (access(name, X_OK))
		return mk_error_set(-MK_EWORKER, errno, "worker",
				    "no worker program at %s, which %s names: "
				    "%s",
				    name, source, strerror(errno));
	memcpy(path, name, n + 1);
	return 0;
}

int mk_spawn_find(const char *given, char *path, size_t room)
{
	const char *env = secure_getenv(MK_WORKER_ENV);
	struct tried tried = { .used = 0 };

	if (given)
		return find_named(given, "worker_path", path, room);
	if (env && *env)
		return find_named(env, "$" MK_WORKER_ENV, path, room);
	if (search(path, room, &tried))
		return 0;
	return mk_error_set(-MK_EWORKER, ENOENT, "worker",
			    "no worker program " MK_WORKER_PROGRAM
			    " found; tried %s; install it, or name it in $"
			    MK_WORKER_ENV " or mk_ctx_params.worker_path",
			    tried.text);
}

/* ---- starting --------------------------------------------------------- */

static int failed(int error, const char *what, const char *path)
{
	int code = -MK_EWORKER;

	if (error == EMFILE || error == ENFILE || error == ENOMEM ||
	    error == EAGAIN)
		code = -error;
	return mk_error_set(code, error, "worker",
			    "cannot start the worker program %s: %s: %s", path,
			    what, strerror(error));
}

/* A pair that leaves the caller's 0, 1 and 2 alone, and the other end above
 * the numbers that the child fills. */
static int socket_pair(int pair[2])
{
	int e;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return errno;
	pair[0] = mk_fd_keep(pair[0]);
	e = errno;
	if (pair[0] < 0) {
		close(pair[1]);
		return e;
	}
	pair[1] = mk_fd_above(pair[1], MK_WORKER_FD + 1);
	e = errno;
	if (pair[1] < 0) {
		close(pair[0]);
		return e;
	}
	return 0;
}

/* First the socket, then all the rest away, so that opening /dev/null finds
 * room however full the caller's table is. */
static int file_actions(posix_spawn_file_actions_t *a, int sock)
{
	int e = posix_spawn_file_actions_adddup2(a, sock, MK_WORKER_FD);

	if (!e)
		e = posix_spawn_file_actions_addclosefrom_np(
			a, MK_WORKER_FD + 1);
	if (!e)
		e = posix_spawn_file_actions_addopen(a, STDIN_FILENO,
						     "/dev/null", O_RDONLY, 0);
	if (!e)
		e = posix_spawn_file_actions_addopen(a, STDOUT_FILENO,
						     "/dev/null", O_WRONLY, 0);
	return e;
}

/* A session of its own, so that ^C reaches the caller only. */
static int attributes(posix_spawnattr_t *attr)
{
	sigset_t all, none;
	int e;

	sigfillset(&all);
	sigemptyset(&none);
	e = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSID |
						   POSIX_SPAWN_SETSIGDEF |
						   POSIX_SPAWN_SETSIGMASK);
	if (!e)
		e = posix_spawnattr_setsigdefault(attr, &all);
	if (!e)
		e = posix_spawnattr_setsigmask(attr, &none);
	return e;
}

static int spawn_child(const char *path, int sock, pid_t *pid)
{
	char *argv[] = { (char *)path, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int e = posix_spawn_file_actions_init(&actions);

	if (e)
		return e;
	e = posix_spawnattr_init(&attr);
	if (!e) {
		e = attributes(&attr);
		if (!e)
			e = file_actions(&actions, sock);
		if (!e)
			e = posix_spawn(pid, path, &actions, &attr, argv,
					environ);
		posix_spawnattr_destroy(&attr);
	}
	posix_spawn_file_actions_destroy(&actions);
	return e;
}

/* 0 with a descriptor, or with -1 where the kernel knows none. */
static int open_pidfd(pid_t pid, int *pidfd)
{
	*pidfd = mk_fd_keep((int)syscall(SYS_pidfd_open, pid, 0));
	if (*pidfd >= 0)
		return 0;
	if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
		return errno;
	return 0; /* too old, or forbidden: the socket tells of the death */
}

int mk_spawn_worker(const char *path, struct mk_spawned *out)
{
	int pair[2], e;

	e = socket_pair(pair);
	if (e)
		return failed(e, "socketpair", path);
	e = spawn_child(path, pair[1], &out->pid);
	close(pair[1]);
	if (e) {
		close(pair[0]);
		return failed(e, "posix_spawn", path);
	}
	e = open_pidfd(out->pid, &out->pidfd);
	if (e) {
		kill(out->pid, SIGKILL);
		while (waitpid(out->pid, NULL, 0) < 0 && errno == EINTR)
			;
		close(pair[0]);
		return failed(e, "pidfd_open", path);
	}
	out->sock = pair[0];
	return 0;
}
