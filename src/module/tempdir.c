/* SPDX-License-Identifier: Apache-2.0 */
#include "module/tempdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"

/* A compilation needs a fraction of it. */
#define ROOM_BYTES (8u << 20)

/* Compilers make files; one may make a directory in ours. */
#define DEPTH_MAX 4

static bool has_room(const char *path)
{
	struct statvfs fs;

	return statvfs(path, &fs) ||
	       fs.f_bavail >= ROOM_BYTES / (fs.f_frsize ? fs.f_frsize : 1);
}

static int make_in(struct mk_tempdir *t, const char *place)
{
	int n = snprintf(t->path, sizeof(t->path), "%s/megakernel.XXXXXX",
			 place);

	if (n < 0 || (size_t)n >= sizeof(t->path))
		return -ENAMETOOLONG;
	if (!mkdtemp(t->path))
		return -errno;
	t->fd = mk_fd_keep(open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC |
						 O_NOFOLLOW));
	if (t->fd >= 0)
		return 0;
	n = -errno;
	rmdir(t->path);
	return n;
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

/* Takes the descriptor over. No opendir(): that allocates, and this has to
 * work when there is no memory. */
static void empty(int fd, int depth)
{
	union {
		char bytes[2048];
		struct dirent64 align;
	} buffer;
	ssize_t got;

	while ((got = getdents64(fd, &buffer, sizeof(buffer))) > 0)
		for (ssize_t at = 0; at < got;) {
			struct dirent64 *e = (void *)(buffer.bytes + at);

			remove_entry(fd, e->d_name, depth);
			at += e->d_reclen;
		}
	close(fd);
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
