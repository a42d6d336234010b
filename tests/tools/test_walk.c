/* SPDX-License-Identifier: Apache-2.0 */
/* The walk of `megakernel map`: order, paths, what is left out. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "map_walk.h"

static char root[64];

static void make_file(const char *name)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, name, strlen(name)), strlen(name));
	close(fd);
}

static int setup(void **state)
{
	static const char *const dirs[] = { "t",       "t/a",  "t/b", "t/b/c",
					    "t/empty", "t/a-", "t/aa" };
	static const char *const files[] = {
		"t/a.txt", "t/a/z",  "t/a/\xff", "t/a0",     "t/b/c/deep",
		"t/b/c.x", "t/a-/y", "t/aa/x",	 "t/.hidden"
	};

	(void)state;
	strcpy(root, "/tmp/mk-walk.XXXXXX");
	if (!mkdtemp(root) || chdir(root))
		return -1;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		assert_int_equal(mkdir(dirs[i], 0700), 0);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		make_file(files[i]);
	assert_int_equal(symlink("..", "t/b/loop"), 0);
	assert_int_equal(symlink("a0", "t/link"), 0);
	assert_int_equal(symlink("t", "way"), 0);
	assert_int_equal(mkfifo("t/fifo", 0600), 0);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return chdir("/") || system(command);
}

/* Walk, and compare with paths that end with NULL. */
static void expect(char **paths, unsigned count, const char *const *want)
{
	struct walk_item item;
	struct walk walk;
	char path[256];
	int r;

	assert_int_equal(walk_init(&walk, paths, count), 0);
	while ((r = walk_next(&walk, &item)) > 0) {
		char back[256];
		int fd, n;

		assert_non_null(*want);
		assert_int_equal(walk_path(&item, path, sizeof(path)),
				 strlen(*want));
		assert_string_equal(path, *want++);
		assert_int_equal(item.error, 0);
		/* each file holds its own path; the last part is the same
		 * whatever way was taken */
		fd = walk_open(&item);
		assert_true(fd >= 0);
		n = (int)read(fd, back, sizeof(back) - 1);
		assert_in_range(n, 1, sizeof(back) - 1);
		back[n] = 0;
		assert_string_equal(strrchr(back, '/'), strrchr(path, '/'));
		close(fd);
		walk_release(&walk, &item);
	}
	assert_int_equal(r, 0);
	assert_null(*want);
	walk_free(&walk);
}

static void test_order(void **state)
{
	static const char *const want[] = {
		"t/.hidden", "t/a-/y", "t/a.txt", "t/a/z",	"t/a/\xff",
		"t/a0",	     "t/aa/x", "t/b/c.x", "t/b/c/deep", NULL
	};
	char *paths[] = { "t" };

	(void)state;
	expect(paths, 1, want);
}

/* Arguments keep their order; a link is followed when it is named. */
static void test_arguments(void **state)
{
	static const char *const want[] = { "t/b/c/deep", "t/a0",
					    "way//a/z",	  "way//a/\xff",
					    "t/b//c.x",	  "t/b//c/deep",
					    NULL };
	char *paths[] = { "t/b/c", "t/a0", "way//a", "t/empty", "t/b//" };

	(void)state;
	expect(paths, 5, want);
}

/* With few descriptors everything is opened by its path. */
static void test_descriptors(void **state)
{
	static const char *const want[] = { "t/b/c.x", "t/b/c/deep", NULL };
	struct rlimit old, few = { 1, 0 };
	char *paths[] = { "t/b" };
	struct walk walk;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few.rlim_max = old.rlim_max;
	few.rlim_cur = 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(walk_init(&walk, paths, 1), 0);
	assert_int_equal(walk.open_max, 0);
	walk_free(&walk);
	few.rlim_cur = 12;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	expect(paths, 1, want);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
}

/* The record stays good while the walk goes on, in any order of release. */
static void test_items_outlive(void **state)
{
	char *paths[] = { "t" };
	struct walk_item item[16];
	struct walk walk;
	char path[64];
	int n = 0;

	(void)state;
	assert_int_equal(walk_init(&walk, paths, 1), 0);
	while (walk_next(&walk, &item[n]) > 0)
		n++;
	assert_int_equal(n, 9);
	walk_path(&item[8], path, sizeof(path));
	assert_string_equal(path, "t/b/c/deep");
	for (int i = 0; i < n; i += 2)
		walk_release(&walk, &item[i]);
	walk_path(&item[3], path, sizeof(path));
	assert_string_equal(path, "t/a/z");
	for (int i = 1; i < n; i += 2)
		walk_release(&walk, &item[i]);
	walk_free(&walk);
	assert_int_equal(walk.open_now, 0);
}

static void test_missing(void **state)
{
	char *paths[] = { "t/nothing", "-", "" };
	struct walk_item item;
	struct walk walk;
	struct stat st;

	(void)state;
	assert_int_equal(walk_init(&walk, paths, 3), 0);
	assert_int_equal(walk_next(&walk, &item), 1);
	assert_int_equal(walk_open(&item), -ENOENT);
	assert_int_equal(walk_stat(&item, &st), -ENOENT);
	assert_int_equal(walk_next(&walk, &item), 1);
	assert_string_equal(item.name, "-");
	assert_int_equal(walk_next(&walk, &item), 1);
	assert_int_equal(walk_open(&item), -ENOENT);
	assert_int_equal(walk_next(&walk, &item), 0);
	assert_int_equal(walk_next(&walk, &item), 0);
	walk_free(&walk);
}

/* A path that does not fit is cut, and its length told. */
static void test_cut(void **state)
{
	char *paths[] = { "t/b/c" };
	struct walk_item item;
	struct walk walk;
	char path[8];

	(void)state;
	assert_int_equal(walk_init(&walk, paths, 1), 0);
	assert_int_equal(walk_next(&walk, &item), 1);
	assert_int_equal(walk_path(&item, path, 8), 10);
	assert_string_equal(path, "t/b/c/d");
	assert_int_equal(walk_path(&item, path, 3), 10);
	assert_string_equal(path, "t/");
	assert_int_equal(walk_path(&item, NULL, 0), 10);
	walk_release(&walk, &item);
	walk_free(&walk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_items_outlive),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
