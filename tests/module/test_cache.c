/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of compiled modules: hits, damage, full disks, many at once. */
#include "module/fixture.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

#define COMPILES count_runs(" -E ", false)
#define PREPROCESSES count_runs(" -E ", true)

static const uint64_t key[2] = { 0x1122334455667788, 0x99aabbccddeeff00 };

/* An image that nothing will load, of a size that is not round. */
static int any_image(void)
{
	unsigned char bytes[1001];
	int image;

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 7);
	assert_int_equal(mk_image_create(bytes, sizeof(bytes), &image), 0);
	return image;
}

static int open_cache(void)
{
	int dir = mk_cache_open(fix.cache);

	assert_true(dir >= 0);
	return dir;
}

/* The path of the one entry there is. */
static void entry_path(char *out)
{
	DIR *dir = opendir(fix.cache);
	struct dirent *e;
	unsigned n = 0;

	assert_non_null(dir);
	while ((e = readdir(dir)))
		if (e->d_name[0] != '.') {
			put_path(out, fix.cache, e->d_name);
			n++;
		}
	closedir(dir);
	assert_int_equal(n, 1);
}

static void hits(void **state)
{
	(void)state;
	must_build(ANSWER_SOURCE(1));
	assert_int_equal(PREPROCESSES, 1);
	assert_int_equal(COMPILES, 1);
	for (unsigned i = 2; i < 5; i++) {
		must_build(ANSWER_SOURCE(1));
		assert_int_equal(PREPROCESSES, i);
		assert_int_equal(COMPILES, 1);
	}
	assert_int_equal(count_files(fix.cache, ""), 1);
	assert_int_equal(count_files(fix.cache, ".mkm"), 1);
	/* comments and layout make no other module */
	must_build("/* more */ " ANSWER_SOURCE(1) "\n// end");
	assert_int_equal(COMPILES, 1);
	must_build(ANSWER_SOURCE(2));
	assert_int_equal(COMPILES, 2);
	assert_int_equal(count_files(fix.cache, ".mkm"), 2);
}

/* The same text in another file, with other line numbers, is a hit. */
static void hits_elsewhere(void **state)
{
	struct mk_toolchain tc = watched();
	int image;

	(void)state;
	must_build(ANSWER_SOURCE(1));
	write_file(in_dir("other.c"), "\n\n" ANSWER_SOURCE(1), 0600);
	assert_int_equal(mk_module_build(&tc, NULL, in_dir("other.c"), NULL,
					 &image), 0);
	close(image);
	assert_int_equal(COMPILES, 1);
}

static void include_changes(void **state)
{
	struct mk_toolchain tc = watched();
	int image;

	(void)state;
	write_file(in_dir("value.h"), "#define VALUE 1\n", 0600);
	write_file(in_dir("a.c"), "#include \"value.h\"\n"
		   ANSWER_SOURCE(VALUE), 0600);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(mk_module_build(&tc, NULL, in_dir("a.c"),
						 NULL, &image), 0);
		close(image);
	}
	assert_int_equal(COMPILES, 1);
	write_file(in_dir("value.h"), "#define VALUE 2\n", 0600);
	assert_int_equal(mk_module_build(&tc, NULL, in_dir("a.c"), NULL,
					 &image), 0);
	close(image);
	assert_int_equal(COMPILES, 2);
}

/* Another compiler, other options, another engine: another entry. */
static void key_has_all(void **state)
{
	struct mk_toolchain tc = watched();
	char cc[PATH_MAX + 16], text[4096];
	int image;

	(void)state;
	must_build(ANSWER_SOURCE(1));
	tc.engine = "other";
	assert_int_equal(mk_module_build(&tc, "a", NULL, ANSWER_SOURCE(1),
					 &image), 0);
	close(image);
	assert_int_equal(COMPILES, 2);
	snprintf(cc, sizeof(cc), "%s -O1", fix.cc);
	setenv("CC", cc, 1);
	tc = watched();
	tc.compiler = NULL;
	assert_int_equal(mk_module_build(&tc, "a", NULL, ANSWER_SOURCE(1),
					 &image), 0);
	close(image);
	unsetenv("CC");
	assert_int_equal(COMPILES, 3);
	/* the same path, but not the same file any more */
	snprintf(text, sizeof(text),
		 "#!/bin/sh\n# new\necho \"$*\" >>'%.1000s'\n"
		 "exec %.500s \"$@\"\n", fix.log, real_cc());
	script("cc", text);
	must_build(ANSWER_SOURCE(1));
	assert_int_equal(COMPILES, 4);
	assert_int_equal(count_files(fix.cache, ".mkm"), 4);
}

/* The text does not show the file that the assembler reads. */
static void not_cached(void **state)
{
	(void)state;
	must_build("__asm__(\".if 0\\n.incbin \\\"x\\\"\\n.endif\");\n"
		   ANSWER_SOURCE(1));
	assert_int_equal(count_files(fix.cache, ".mkm"), 0);
}

/* ---- damage ----------------------------------------------------------- */

static void expect_found(int dir, bool found)
{
	int image, rc = mk_cache_find(dir, key, "cpu", &image);

	assert_int_equal(rc, found ? 0 : -ENOENT);
	if (!rc)
		close(image);
	assert_int_equal(count_files(fix.cache, ""), found ? 1 : 0);
}

static void flipped(void **state)
{
	int dir = open_cache(), image = any_image(), fd;
	unsigned front = sizeof(struct mk_mkm_header) +
			 sizeof(struct mk_mkm_image);
	unsigned char byte;
	char path[PATH_MAX];

	(void)state;
	for (unsigned at = 0; at < front + 1001;
	     at += at < front + 8 ? 1 : 31) {
		assert_int_equal(mk_cache_store(dir, key, "cpu", 1, image), 0);
		expect_found(dir, true);
		entry_path(path);
		fd = open(path, O_RDWR | O_CLOEXEC);
		assert_true(fd >= 0);
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		byte ^= (unsigned char)(1u << at % 8);
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		close(fd);
		expect_found(dir, false);
	}
	close(image);
	close(dir);
}

static void truncated(void **state)
{
	static const int sizes[] = { 0, 1, 8, 63, 64, 100, 127, 128, 129, 1000,
				     1128, 1130 };
	int dir = open_cache(), image = any_image();
	char path[PATH_MAX];

	(void)state;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(mk_cache_store(dir, key, "cpu", 1, image), 0);
		entry_path(path);
		assert_int_equal(truncate(path, sizes[i]), 0);
		expect_found(dir, false);
	}
	close(image);
	close(dir);
}

/* What stands under the name of an entry and is none. */
static void strangers(void **state)
{
	uint64_t other[2] = { key[0], key[1] + 1 };
	int dir = open_cache(), image = any_image(), got;
	char path[PATH_MAX], text[2 * PATH_MAX + 32];

	(void)state;
	/* the good entry of another key */
	assert_int_equal(mk_cache_store(dir, other, "cpu", 1, image), 0);
	entry_path(path);
	snprintf(text, sizeof(text), "%s/99aabbccddeeff001122334455667788.mkm",
		 fix.cache);
	assert_int_equal(rename(path, text), 0);
	expect_found(dir, false);
	/* a link to a good one */
	assert_int_equal(mk_cache_store(dir, key, "cpu", 1, image), 0);
	assert_int_equal(rename(text, in_dir("away")), 0);
	assert_int_equal(symlink(in_dir("away"), text), 0);
	expect_found(dir, false);
	/* one that others may write */
	assert_int_equal(mk_cache_store(dir, key, "cpu", 1, image), 0);
	assert_int_equal(chmod(text, 0666), 0);
	expect_found(dir, false);
	/* no file at all */
	assert_int_equal(mkfifo(text, 0600), 0);
	expect_found(dir, false);
	assert_int_equal(mkdir(text, 0700), 0);
	assert_true(mk_cache_find(dir, key, "cpu", &got) < 0);
	assert_true(mk_cache_store(dir, key, "cpu", 1, image) < 0);
	assert_int_equal(count_files(fix.cache, ""), 1);
	rmdir(text);
	/* an image for another engine only */
	assert_int_equal(mk_cache_store(dir, key, "cuda", 1, image), 0);
	expect_found(dir, false);
	close(image);
	close(dir);
}

/* A damaged entry costs a compilation, and is whole afterwards. */
static void rebuilds(void **state)
{
	char path[PATH_MAX];

	(void)state;
	for (unsigned i = 1; i < 5; i++) {
		must_build(ANSWER_SOURCE(1));
		assert_int_equal(COMPILES, i);
		must_build(ANSWER_SOURCE(1));
		assert_int_equal(COMPILES, i);
		entry_path(path);
		assert_int_equal(truncate(path, 2000 * (int)i), 0);
	}
}

/* ---- the directory ---------------------------------------------------- */

static void kept_private(void **state)
{
	struct stat st;
	int dir = open_cache();

	(void)state;
	assert_int_equal(fstat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	close(dir);
	assert_int_equal(chmod(fix.cache, 0770), 0);
	assert_int_equal(mk_cache_open(fix.cache), -EPERM);
	must_build(ANSWER_SOURCE(1));
	must_build(ANSWER_SOURCE(1));
	assert_int_equal(COMPILES, 2);
	assert_int_equal(count_files(fix.cache, ""), 0);
	if (!geteuid()) {
		assert_int_equal(chmod(fix.cache, 0700), 0);
		assert_int_equal(chown(fix.cache, 1, 1), 0);
		assert_int_equal(mk_cache_open(fix.cache), -EPERM);
	}
	assert_int_equal(mk_cache_open("/dev/null/x"), -ENOTDIR);
	assert_int_equal(mk_cache_open(""), -ENOENT);
}

static void put_back(const char *name, char *value)
{
	if (value)
		setenv(name, value, 1);
	else
		unsetenv(name);
	free(value);
}

static char *keep(const char *name)
{
	const char *value = getenv(name);

	return value ? strdup(value) : NULL;
}

static void default_places(void **state)
{
	char *xdg = keep("XDG_CACHE_HOME"), *home = keep("HOME");
	int dir;

	(void)state;
	setenv("XDG_CACHE_HOME", in_dir("x/y"), 1);
	setenv("HOME", in_dir("home"), 1);
	dir = mk_cache_open(NULL);
	assert_true(dir >= 0);
	close(dir);
	assert_int_equal(access(in_dir("x/y/megakernel"), X_OK), 0);
	assert_int_equal(access(in_dir("home"), F_OK), -1);
	setenv("XDG_CACHE_HOME", "relative", 1);
	dir = mk_cache_open(NULL);
	assert_true(dir >= 0);
	close(dir);
	assert_int_equal(access("relative", F_OK), -1);
	assert_int_equal(access(in_dir("home/.cache/megakernel"), X_OK), 0);
	unsetenv("XDG_CACHE_HOME");
	unsetenv("HOME");
	assert_int_equal(mk_cache_open(NULL), -ENOENT);
	put_back("XDG_CACHE_HOME", xdg);
	put_back("HOME", home);
}

/* ---- full disks ------------------------------------------------------- */

/* Run in a child; its exit status. 77: not possible here. */
static int in_child(int (*body)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		_exit(body());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int size_limit(void)
{
	struct rlimit limit = { 1000, 1000 };
	int dir = mk_cache_open(fix.cache), image = any_image(), rc;

	if (setrlimit(RLIMIT_FSIZE, &limit))
		return 77;
	/* a write beyond it would end this process by SIGXFSZ */
	rc = mk_cache_store(dir, key, "cpu", 1, image);
	return rc == -EFBIG && !count_files(fix.cache, "") ? 0 : 1;
}

static void limited(void **state)
{
	int rc = in_child(size_limit);

	(void)state;
	if (rc == 77)
		skip();
	assert_int_equal(rc, 0);
}

static int full_disk(void)
{
	struct mk_toolchain tc = watched();
	struct mk_handler_info h[2];
	int image;

	if (mkdir(fix.cache, 0700) ||
	    (mount("none", fix.cache, "tmpfs", 0, "size=8k,mode=700") &&
	     (unshare(CLONE_NEWUSER | CLONE_NEWNS) ||
	      mount("none", fix.cache, "tmpfs", 0, "size=8k,mode=700"))))
		return 77;
	for (unsigned i = 0; i < 2; i++) {
		if (mk_module_build(&tc, "a", NULL, ANSWER_SOURCE(1), &image))
			return 1;
		if (list_image(image, h, 2) != 1)
			return 2;
	}
	if (count_files(fix.cache, "") || COMPILES != 2)
		return 3;
	/* a temporary directory that is full is passed over as well */
	setenv("TMPDIR", fix.cache, 1);
	if (mk_module_build(&tc, "a", NULL, ANSWER_SOURCE(1), &image))
		return 4;
	return count_files(fix.cache, "") ? 5 : 0;
}

static int full_disk_private(void)
{
	/* a mount of root must not outlive the test */
	if (!geteuid() && (unshare(CLONE_NEWNS) ||
			   mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)))
		return 77;
	return full_disk();
}

static void full(void **state)
{
	int rc = in_child(full_disk_private);

	(void)state;
	if (rc == 77)
		skip();
	assert_int_equal(rc, 0);
}

/* ---- many at once ----------------------------------------------------- */

#define PROCESSES 4
#define ROUNDS 3

static int build_rounds(int go)
{
	char text[1024], byte;
	int image;

	if (read(go, &byte, 1) != 1)
		return 1;
	for (unsigned i = 0; i < ROUNDS; i++) {
		snprintf(text, sizeof(text), "enum { ROUND = %u };\n%s", i,
			 ANSWER_SOURCE(ROUND));
		if (build_text(text, &image))
			return 2;
		close(image);
	}
	return 0;
}

static void concurrent(void **state)
{
	int go[2], status;
	pid_t pid[PROCESSES];

	(void)state;
	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	for (unsigned i = 0; i < PROCESSES; i++) {
		pid[i] = fork();
		assert_true(pid[i] >= 0);
		if (!pid[i])
			_exit(build_rounds(go[0]));
	}
	assert_int_equal(write(go[1], "gogo", PROCESSES), PROCESSES);
	for (unsigned i = 0; i < PROCESSES; i++) {
		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_int_equal(status, 0);
	}
	close(go[0]);
	close(go[1]);
	assert_int_equal(count_files(fix.cache, ""), ROUNDS);
	assert_int_equal(count_files(fix.cache, ".mkm"), ROUNDS);
	assert_in_range(COMPILES, ROUNDS, ROUNDS * PROCESSES);
	/* and what they left is whole */
	status = (int)COMPILES;
	must_build("enum { ROUND = 1 };\n" ANSWER_SOURCE(ROUND));
	assert_int_equal(COMPILES, status);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fix_setup, fix_teardown)
	const struct CMUnitTest tests[] = {
		TEST(hits),	       TEST(hits_elsewhere),
		TEST(include_changes), TEST(key_has_all),
		TEST(not_cached),      TEST(flipped),
		TEST(truncated),       TEST(strangers),
		TEST(rebuilds),	       TEST(kept_private),
		TEST(default_places),  TEST(limited),
		TEST(full),	       TEST(concurrent),
	};

	return cmocka_run_group_tests_name("module/cache", tests, NULL, NULL);
}
