/* SPDX-License-Identifier: Apache-2.0 */
/* Runs megakernel-bench-peers, which lies beside this program. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define PEERS "megakernel-bench-peers"

extern char **environ;

static int find_program(char *path, size_t room)
{
	const char *given = getenv("MEGAKERNEL_BENCH_PEERS");
	ssize_t n;
	char *slash;

	if (given) {
		snprintf(path, room, "%s", given);
		return access(path, X_OK);
	}
	n = readlink("/proc/self/exe", path, room - 1);
	if (n <= 0)
		return -1;
	path[n] = 0;
	slash = strrchr(path, '/');
	if (!slash || (size_t)(slash + 1 - path) + sizeof(PEERS) > room)
		return -1;
	memcpy(slash + 1, PEERS, sizeof(PEERS));
	return access(path, X_OK);
}

/* Start the program with its stdout in a pipe; the end to read from. */
static int start(const char *path, const struct bench_options *o,
		 uint32_t workers, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	char count[16];
	char *argv[] = { (char *)PEERS, (char *)"--workers", count,
			 o->quick ? (char *)"--quick" : NULL, NULL };
	int fd[2], r;

	snprintf(count, sizeof(count), "%u", workers);
	if (pipe2(fd, O_CLOEXEC))
		return -errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd[1], STDOUT_FILENO);
	r = posix_spawn(pid, path, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(fd[1]);
	if (r) {
		close(fd[0]);
		return -r;
	}
	return fd[0];
}

static int take(const json_t *all, struct bench_report *report)
{
	unsigned before = report->results;
	size_t i;
	json_t *one;

	json_array_foreach(all, i, one)
	{
		if (report->results == BENCH_RESULTS_MAX)
			break;
		if (harness_from_json(one, &report->result[report->results]))
			return -1;
		report->results++;
	}
	return report->results > before ? 0 : -1;
}

int bench_peers(const struct bench_options *o, struct bench_report *report,
		char *why, size_t room)
{
	char path[PATH_MAX];
	json_t *all;
	pid_t pid = -1;
	int fd, r;

	if (find_program(path, sizeof(path))) {
		snprintf(why, room,
			 "%s is not built, or not beside this "
			 "program",
			 PEERS);
		return -1;
	}
	fd = start(path, o, report->workers, &pid);
	if (fd < 0) {
		snprintf(why, room, "%s: %s", path, strerror(-fd));
		return -1;
	}
	all = json_loadfd(fd, 0, NULL);
	close(fd);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	r = all ? take(all, report) : -1;
	json_decref(all);
	if (r)
		snprintf(why, room, "%s did not print what it measured", path);
	return r;
}
