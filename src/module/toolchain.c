/* SPDX-License-Identifier: Apache-2.0 */
#include "module/toolchain.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

/* The build says where; a file compiled by hand finds the usual places. */
#ifndef MK_INCLUDE_BUILD_DIR
#define MK_INCLUDE_BUILD_DIR ""
#endif
#ifndef MK_INCLUDE_INSTALL_DIR
#define MK_INCLUDE_INSTALL_DIR "/usr/local/include"
#endif

#define BLANKS " \t\n"

static bool is_program(const char *path, struct stat *st)
{
	return !stat(path, st) && S_ISREG(st->st_mode) && !access(path, X_OK);
}

/* Look along PATH as a shell would, but never in the current directory. */
static bool search(const char *name, char *path, struct stat *st)
{
	const char *dir = secure_getenv("PATH");
	size_t bytes;
	int n;

	if (!dir)
		dir = "/usr/local/bin:/usr/bin:/bin";
	for (; *dir; dir += bytes + (dir[bytes] == ':')) {
		bytes = strcspn(dir, ":");
		if (*dir != '/')
			continue;
		n = snprintf(path, PATH_MAX, "%.*s/%s", (int)bytes, dir, name);
		if (n > 0 && n < PATH_MAX && is_program(path, st))
			return true;
	}
	return false;
}

static bool find_program(const char *name, char *path, struct stat *st)
{
	size_t bytes = strlen(name) + 1;

	if (!strchr(name, '/'))
		return *name && search(name, path, st);
	if (bytes > PATH_MAX)
		return false;
	memcpy(path, name, bytes);
	return is_program(path, st);
}

/* $CC may carry options: "ccache gcc -m64". No quoting, as in make. */
static int split(struct mk_tools *t, const char *text)
{
	size_t bytes = strlen(text) + 1;
	char *rest, *word;

	t->words = 0;
	if (bytes > sizeof(t->text))
		return -E2BIG;
	memcpy(t->text, text, bytes);
	for (word = strtok_r(t->text, BLANKS, &rest); word;
	     word = strtok_r(NULL, BLANKS, &rest)) {
		if (t->words == MK_COMPILER_WORDS)
			return -E2BIG;
		t->word[t->words++] = word;
	}
	return t->words ? 0 : -ENOENT;
}

static int take(struct mk_tools *t, const struct stat *st)
{
	t->word[0] = t->path;
	t->identity[0] = (uint64_t)st->st_dev;
	t->identity[1] = (uint64_t)st->st_ino;
	t->identity[2] = (uint64_t)st->st_size;
	t->identity[3] = (uint64_t)st->st_mtim.tv_sec * 1000000000u +
			 (uint64_t)st->st_mtim.tv_nsec;
	return 0;
}

static int find_compiler(const char *chosen, struct mk_tools *t)
{
	static const char *const usual[] = { "cc", "gcc", "clang" };
	const char *from = "compiler", *cc = secure_getenv("CC");
	struct stat st;

	t->words = 1;
	if (chosen && find_program(chosen, t->path, &st))
		return take(t, &st);
	if (!chosen && cc && cc[strspn(cc, BLANKS)]) {
		if (!split(t, cc) && find_program(t->word[0], t->path, &st))
			return take(t, &st);
		chosen = cc;
		from = "$CC";
	}
	if (chosen)
		return mk_error_set(-MK_ENOCOMPILER, 0, "mk_module_load",
				    "%s is \"%.200s\", which is no program "
				    "here: name a C compiler", from, chosen);
	for (unsigned i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
		if (find_program(usual[i], t->path, &st))
			return take(t, &st);
	return mk_error_set(-MK_ENOCOMPILER, 0, "mk_module_load",
			    "no C compiler was found (cc, gcc or clang on "
			    "PATH): install one, name one in $CC or "
			    "mk_ctx_params.compiler, or load a .mkm file that "
			    "was compiled elsewhere");
}

static bool has_headers(const char *dir)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/megakernel/handler.h", dir);

	return *dir && n > 0 && n < PATH_MAX && !access(path, R_OK);
}

/* Of an installation that was moved: P/include for P/lib/libmegakernel.so or
 * P/bin/megakernel. Empty if that is not known. */
static void beside(char *path, size_t room)
{
	char exe[PATH_MAX];
	const char *file, *slash;
	Dl_info info;
	ssize_t n;

	path[0] = '\0';
	if (!dladdr((void *)has_headers, &info) || !info.dli_fname)
		return;
	file = info.dli_fname;
	if (!strchr(file, '/')) { /* a program that was found by PATH */
		n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
		exe[n > 0 ? n : 0] = '\0';
		file = exe;
	}
	slash = strrchr(file, '/');
	if (!slash)
		return;
	n = snprintf(path, room, "%.*s/../include", (int)(slash - file), file);
	if (n < 0 || (size_t)n >= room)
		path[0] = '\0';
}

static int find_include(struct mk_tools *t)
{
	const char *named = secure_getenv("MEGAKERNEL_INCLUDE");
	char moved[PATH_MAX];
	const char *places[] = { named, MK_INCLUDE_BUILD_DIR,
				 MK_INCLUDE_INSTALL_DIR, moved };
	size_t bytes;

	beside(moved, sizeof(moved));
	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (!places[i] || !*places[i])
			continue;
		bytes = strlen(places[i]) + 1;
		if (has_headers(places[i]) && bytes <= sizeof(t->include)) {
			memcpy(t->include, places[i], bytes);
			return 0;
		}
		if (!i)
			break; /* what was named must be right */
	}
	return mk_error_set(-MK_ECOMPILE, 0, "mk_module_load",
			    "megakernel/handler.h is not in %.300s: install "
			    "the headers, or set MEGAKERNEL_INCLUDE to the "
			    "directory that has megakernel/",
			    named && *named ? named : MK_INCLUDE_INSTALL_DIR);
}

int mk_tools_find(const struct mk_toolchain *chosen, struct mk_tools *out)
{
	int rc;

	memset(out, 0, sizeof(*out));
	rc = find_compiler(chosen->compiler, out);
	return rc ? rc : find_include(out);
}
