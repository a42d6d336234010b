/* SPDX-License-Identifier: Apache-2.0 */
/* A directory for one test, sources in it, and a compiler that is watched. */
#ifndef MK_TESTS_MODULE_FIXTURE_H
#define MK_TESTS_MODULE_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <megakernel.h>

#include "module/build.h"
#include "module/cache.h"
#include "module/image.h"
#include "module/mkm.h"
#include "module/table.h"

#define UNUSED __attribute__((unused))

/* A module that answers with its value. */
#define ANSWER_SOURCE(value)                                     \
	"#include <megakernel/handler.h>\n"                      \
	"struct answer { uint64_t add; };\n"                     \
	"MK_HANDLER(answer, struct answer)\n"                    \
	"{\n"                                                    \
	"\tmk_value(task, " #value " + args->add);\n"            \
	"\treturn MK_OK;\n"                                      \
	"}\n"

static struct {
	char dir[PATH_MAX];   /* of this test */
	char cache[PATH_MAX]; /* dir/cache */
	char temp[PATH_MAX];  /* dir/temp, which is $TMPDIR */
	char cc[PATH_MAX];    /* dir/cc, a compiler that keeps a log */
	char log[PATH_MAX];
	unsigned fds;
} fix;

UNUSED static void put_path(char *out, const char *dir, const char *name)
{
	int n = snprintf(out, PATH_MAX, "%s/%s", dir, name);

	assert_true(n > 0 && n < PATH_MAX);
}

/* The path of a file of this test; a few live at a time. */
UNUSED static const char *in_dir(const char *name)
{
	static char path[8][PATH_MAX];
	static unsigned next;
	char *out = path[next++ % 8];

	put_path(out, fix.dir, name);
	return out;
}

UNUSED static const char *write_file(const char *path, const char *text,
				     mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(close(fd), 0);
	return path;
}

UNUSED static unsigned count_files(const char *path, const char *ending)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	unsigned n = 0;

	if (!dir)
		return 0;
	while ((e = readdir(dir))) {
		size_t have = strlen(e->d_name), want = strlen(ending);

		if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") &&
		    have >= want && !strcmp(e->d_name + have - want, ending))
			n++;
	}
	closedir(dir);
	return n;
}

/* Runs of the watched compiler whose arguments have (not) this word. */
UNUSED static unsigned count_runs(const char *word, bool with)
{
	FILE *f = fopen(fix.log, "r");
	char line[8192];
	unsigned n = 0;

	while (f && fgets(line, sizeof(line), f))
		n += (strstr(line, word) != NULL) == with;
	if (f)
		fclose(f);
	return n;
}

UNUSED static const char *real_cc(void)
{
	const char *cc = getenv("MK_TEST_CC");

	return cc && *cc ? cc : "cc";
}

/* An executable script of this test. */
UNUSED static const char *script(const char *name, const char *text)
{
	return write_file(in_dir(name), text, 0700);
}

UNUSED static int remove_one(const char *path, const struct stat *st, int type,
			     struct FTW *ftw)
{
	(void)st, (void)ftw;
	return type == FTW_DP ? rmdir(path) : unlink(path);
}

UNUSED static int fix_setup(void **state)
{
	const char *cc = getenv("CC");
	char text[3 * PATH_MAX];

	(void)state;
	/* $CC is what tests change; what it was at first is the compiler */
	setenv("MK_TEST_CC", cc ? cc : "cc", 0);
	unsetenv("CC");
	strcpy(fix.dir, "/tmp/mk-test-XXXXXX");
	assert_non_null(mkdtemp(fix.dir));
	put_path(fix.cache, fix.dir, "cache");
	put_path(fix.temp, fix.dir, "temp");
	put_path(fix.cc, fix.dir, "cc");
	put_path(fix.log, fix.dir, "log");
	assert_int_equal(mkdir(fix.temp, 0700), 0);
	setenv("TMPDIR", fix.temp, 1);
	snprintf(text, sizeof(text),
		 "#!/bin/sh\necho \"$*\" >>'%s'\nexec %s \"$@\"\n", fix.log,
		 real_cc());
	script("cc", text);
	fix.fds = count_files("/proc/self/fd", "");
	return 0;
}

/* Nothing is left behind: no temporary file, descriptor or child. */
UNUSED static int fix_teardown(void **state)
{
	(void)state;
	assert_int_equal(count_files(fix.temp, ""), 0);
	assert_int_equal(count_files("/proc/self/fd", ""), fix.fds);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	nftw(fix.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}

/* With the watched compiler and the test's own cache. */
UNUSED static struct mk_toolchain watched(void)
{
	struct mk_toolchain tc = { .compiler = fix.cc,
				   .cache_dir = fix.cache };

	return tc;
}

UNUSED static int build_text(const char *text, int *image)
{
	struct mk_toolchain tc = watched();

	return mk_module_build(&tc, "text.c", NULL, text, image);
}

/* The sentence of the last failure must have this in it. */
UNUSED static void expect_words(const char *words)
{
	if (!strstr(mk_error_last()->text, words))
		fail_msg("\"%s\" is not in \"%s\"", words,
			 mk_error_last()->text);
}

/* Take over the image; the handlers that it lists. */
UNUSED static unsigned list_image(int image, struct mk_handler_info *out,
				  unsigned max)
{
	struct mk_image_view view;
	unsigned count = 0;

	assert_int_equal(mk_image_map(image, &view), 0);
	assert_int_equal(mk_image_handlers(&view, "image", out, max, &count),
			 0);
	mk_image_unmap(&view);
	close(image);
	return count;
}

UNUSED static void must_build(const char *text)
{
	struct mk_handler_info h[4];
	int image, rc = build_text(text, &image);

	if (rc)
		fail_msg("%d: %s", rc, mk_error_last()->text);
	assert_int_equal(list_image(image, h, 4), 1);
	assert_string_equal(h[0].name, "answer");
	assert_int_equal(h[0].arg_bytes, 8);
}

#endif
