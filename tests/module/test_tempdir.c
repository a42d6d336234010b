/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of a compilation: what a killed process left is removed by the
 * next one, what is in use, or another's, is not. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "module/tempdir.h"

#define RACERS 8
#define ROUNDS 100

static char place[] = "/tmp/mk-tempdir-XXXXXX";

static int setup(void **state)
{
	(void)state;
	return !mkdtemp(place) || setenv("TMPDIR", place, 1);
}

static int teardown(void **state)
{
	(void)state;
	return rmdir(place);
}

static bool there(const char *path)
{
	struct stat st;

	return !lstat(path, &st);
}

static void put_file(const struct mk_tempdir *t, const char *name)
{
	char path[PATH_MAX];
	int fd;

	assert_int_equal(mk_tempdir_file(t, name, path), 0);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
}

/* A process that makes one and waits; its path. */
static pid_t maker(char path[PATH_MAX])
{
	int ends[2];
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		struct mk_tempdir t;

		if (mk_tempdir_make(&t, NULL))
			_exit(1);
		put_file(&t, "module.c");
		if (write(ends[1], t.path, PATH_MAX) != PATH_MAX)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ends[0], path, PATH_MAX), PATH_MAX);
	close(ends[0]);
	close(ends[1]);
	return pid;
}

static void end(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void left(void **state)
{
	char dead[PATH_MAX], alive[PATH_MAX], other[PATH_MAX];
	pid_t first = maker(dead), second = maker(alive);
	struct mk_tempdir t;

	(void)state;
	assert_true(there(dead) && there(alive));
	snprintf(other, sizeof(other), "%s/megakernel.123456", place);
	assert_int_equal(mkdir(other, 0700), 0);
	end(first);
	assert_true(there(dead));
	assert_int_equal(mk_tempdir_make(&t, NULL), 0);
	assert_false(there(dead));
	assert_true(there(alive) && there(other) && there(t.path));
	end(second);
	mk_tempdir_remove(&t);
	assert_false(there(t.path));
	assert_true(there(alive));
	assert_int_equal(mk_tempdir_make(&t, NULL), 0);
	assert_false(there(alive));
	mk_tempdir_remove(&t);
	assert_int_equal(rmdir(other), 0);
}

/* Many at once: each has its own as long as it wants. */
static void race(void **state)
{
	pid_t pid[RACERS];
	int status;

	(void)state;
	for (int i = 0; i < RACERS; i++) {
		pid[i] = fork();
		assert_true(pid[i] >= 0);
		for (int k = 0; !pid[i] && k < ROUNDS; k++) {
			struct mk_tempdir t;

			if (mk_tempdir_make(&t, NULL))
				_exit(1);
			put_file(&t, "a");
			put_file(&t, "b");
			if (!there(t.path))
				_exit(2);
			mk_tempdir_remove(&t);
		}
		if (!pid[i])
			_exit(0);
	}
	for (int i = 0; i < RACERS; i++) {
		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_int_equal(status, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(left),
		cmocka_unit_test(race),
	};

	return cmocka_run_group_tests_name("module/tempdir", tests, setup,
					   teardown);
}
