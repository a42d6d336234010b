/* SPDX-License-Identifier: Apache-2.0 */
#include "module/tempdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"

/* A compilation needs a fraction of it. */
#define ROOM_BYTES (8u << 20)

/* Compilers make files; one may make a directory in ours. */
#define DEPTH_MAX 4

#define NAME "megakernel-build."
#define TRIES 8u
#define SWEEP_MOST 10000u /* entries of a place that are looked at */

static bool has_room(const char *path)
{
	struct statvfs fs;

	return statvfs(path, &fs) ||
	       fs.f_bavail >= ROOM_BYTES / (fs.f_frsize ? fs.f_frsize : 1);
}

/* ---- emptying ------------------------------------------------------------ */

/* The names in a directory, one after the other. No opendir(): that allocates,
 * and emptying has to work when there is no memory. */
struct names {
	union {
		char bytes[2048];
		struct dirent64 align;
	} buffer;
	ssize_t got, at; /* bytes of it: filled, seen; both 0 to begin with */
};

/* NULL: there are no more. */
static const char *next_name(int fd, struct names *n)
{
	struct dirent64 *e;

	if (n->at == n->got) {
		n->at = 0;
		n->got = getdents64(fd, &n->buffer, sizeof(n->buffer));
		if (n->got <= 0) {
			n->got = 0;
			return NULL;
		}
	}
	e = (void *)(n->buffer.bytes + n->at);
	n->at += e->d_reclen;
	return e->d_name;
}

static void empty(int fd, int depth);

static void remove_entry(int dir, const char *name, int depth)
{
	int child;

	if (!strcmp(name, ".") || !strcmp(name, "..") ||
	    !unlinkat(dir, name, 0) || depth == DEPTH_MAX)
		return;
	child = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC |
				  O_NOFOLLOW);
	if (child >= 0)
		empty(child, depth + 1);
	unlinkat(dir, name, AT_REMOVEDIR);
}

/* Takes the descriptor over. */
static void empty(int fd, int depth)
{
	struct names names = { .got = 0 };
	const char *name;

	while ((name = next_name(fd, &names)))
		remove_entry(fd, name, depth);
	close(fd);
}

/* ---- what others left --------------------------------------------------- */

/* One that nobody holds: who made it was killed. */
static void sweep_one(int place, const char *name)
{
	struct stat st;
	int fd;

	if (strlen(name) != sizeof(NAME) - 1 + 6 ||
	    strncmp(name, NAME, sizeof(NAME) - 1) != 0)
		return;
	fd = openat(place, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC |
					 O_NOFOLLOW);
	if (fd < 0)
		return;
	if (fstat(fd, &st) || st.st_uid != geteuid() ||
	    flock(fd, LOCK_EX | LOCK_NB)) {
		close(fd);
		return;
	}
	/* the lock stays until it is gone, with a descriptor of its own */
	empty(fcntl(fd, F_DUPFD_CLOEXEC, 0), 0);
	unlinkat(place, name, AT_REMOVEDIR);
	close(fd);
}

/* Each of ours is locked while somebody needs it; a lock ends with its
 * process, a directory does not. */
static void sweep(const char *place)
{
	int fd = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct names names = { .got = 0 };
	const char *name;

	if (fd < 0)
		return;
	for (unsigned seen = 0;
	     seen < SWEEP_MOST && (name = next_name(fd, &names)); seen++)
		sweep_one(fd, name);
	close(fd);
}

/* ---- ours ---------------------------------------------------------------- */

/*
 * One try. Whoever sweeps may have taken the directory for one that was left
 * before we held its lock: -EAGAIN.
 */
static int make_once(struct mk_tempdir *t, const char *place)
{
	int n = snprintf(t->path, sizeof(t->path), "%s/" NAME "XXXXXX", place);
	struct stat st;

	if (n < 0 || (size_t)n >= sizeof(t->path))
		return -ENAMETOOLONG;
	if (!mkdtemp(t->path))
		return -errno;
	t->fd = mk_fd_keep(open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC |
						 O_NOFOLLOW));
	if (t->fd < 0) {
		n = errno == ENOENT ? -EAGAIN : -errno;
		rmdir(t->path);
		return n;
	}
	/* a file system without locks has none for the sweeper either */
	if ((!flock(t->fd, LOCK_EX | LOCK_NB) || errno != EWOULDBLOCK) &&
	    !fstat(t->fd, &st) && st.st_nlink)
		return 0;
	close(t->fd);
	rmdir(t->path);
	return -EAGAIN;
}

static int make_in(struct mk_tempdir *t, const char *place)
{
	int rc = -EAGAIN;

	for (unsigned i = 0; i < TRIES && rc == -EAGAIN; i++)
		rc = make_once(t, place);
	if (!rc)
		sweep(place);
	return rc;
}

int mk_tempdir_make(struct mk_tempdir *t, const char *last)
{
	const char *place[] = { secure_getenv("TMPDIR"), "/tmp", "/dev/shm",
				last };
	int rc, first = -ENOENT;

	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < 4; i++) {
			if (!place[i] || !*place[i] ||
			    has_room(place[i]) == (pass == 1))
				continue;
			rc = make_in(t, place[i]);
			if (!rc)
				return 0;
			if (first == -ENOENT)
				first = rc;
		}
	t->path[0] = '\0';
	return first;
}

void mk_tempdir_remove(struct mk_tempdir *t)
{
	if (!t->path[0])
		return;
	empty(t->fd, 0);
	rmdir(t->path);
	t->path[0] = '\0';
}

int mk_tempdir_file(const struct mk_tempdir *t, const char *name,
		    char out[PATH_MAX])
{
	int n = snprintf(out, PATH_MAX, "%s/%s", t->path, name);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}
