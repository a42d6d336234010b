/* SPDX-License-Identifier: Apache-2.0 */
#include "module/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/order.h"
#include "module/mkm.h"

/* 32 hex digits, ".mkm", and in the making ".<pid>.<time>.<n>.tmp" */
#define ENTRY_BYTES 96

static int print_path(char *out, const char *a, const char *b)
{
	int n = snprintf(out, PATH_MAX, "%s%s", a, b);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* A relative $XDG_CACHE_HOME is to be ignored, says its specification. */
static int find_path(const char *given, char *path)
{
	const char *home;

	if (given)
		return *given ? print_path(path, given, "") : -ENOENT;
	home = secure_getenv("XDG_CACHE_HOME");
	if (home && home[0] == '/')
		return print_path(path, home, "/megakernel");
	home = secure_getenv("HOME");
	if (home && home[0] == '/')
		return print_path(path, home, "/.cache/megakernel");
	return -ENOENT;
}

/* The directory and what is missing above it. */
static int make_path(char *path)
{
	for (char *p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		(void)mkdir(path, 0700); /* the last one tells */
		*p = '/';
	}
	return mkdir(path, 0700) && errno != EEXIST ? -errno : 0;
}

/* Ours, and nobody else can put anything into it. */
static int check_owner(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	return st.st_uid != geteuid() || (st.st_mode & 022) ? -EPERM : 0;
}

int mk_cache_open(const char *given)
{
	char path[PATH_MAX];
	int fd, rc = find_path(given, path);

	if (rc)
		return rc;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		rc = make_path(path);
		if (rc)
			return rc;
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return -errno;
	rc = check_owner(fd);
	if (rc) {
		close(fd);
		return rc;
	}
	return fd;
}

static void name_entry(char *name, const uint64_t key[2])
{
	snprintf(name, ENTRY_BYTES, "%016llx%016llx.mkm",
		 (unsigned long long)key[1], (unsigned long long)key[0]);
}

int mk_cache_find(int dir, const uint64_t key[2], const char *engine,
		  int *image)
{
	char name[ENTRY_BYTES];
	struct stat st;
	int file, rc;

	name_entry(name, key);
	file = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
				 O_NONBLOCK);
	if (file < 0)
		return errno == ELOOP && !unlinkat(dir, name, 0) ? -ENOENT :
								   -errno;
	rc = fstat(file, &st) ? -errno : 0;
	if (!rc && (!S_ISREG(st.st_mode) || check_owner(file)))
		rc = -MK_EMODULE;
	if (!rc)
		rc = mk_mkm_read(file, engine, key, name, image);
	close(file);
	/* what is damaged is rebuilt; another process may have done so by
	 * now, and then its good entry is rebuilt once more */
	if (rc == -MK_EMODULE && !unlinkat(dir, name, 0))
		rc = -ENOENT;
	return rc;
}

int mk_cache_store(int dir, const uint64_t key[2], const char *engine,
		   unsigned handlers, int image)
{
	const struct mk_mkm_part part = { engine, NULL, image };
	static uint32_t serial;
	char name[ENTRY_BYTES], made[ENTRY_BYTES];
	int file, rc;

	name_entry(name, key);
	/* the time tells apart what has the same pid: another container, or
	 * what a crash left behind */
	snprintf(made, sizeof(made), "%.36s.%ld.%llx.%u.tmp", name,
		 (long)getpid(), (unsigned long long)mk_now_ns(),
		 mk_add_relaxed(&serial, 1));
	file = openat(dir, made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC |
				 O_NOFOLLOW, 0600);
	if (file < 0)
		return -errno;
	rc = mk_mkm_write(file, key, handlers, &part, 1);
	if (close(file) && !rc)
		rc = -errno; /* a quota of a network file system */
	if (!rc && renameat(dir, made, dir, name))
		rc = -errno;
	if (rc)
		unlinkat(dir, made, 0);
	return rc;
}
