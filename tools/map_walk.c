/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/order.h"
#include "map_walk.h"

#define RAW_BYTES 65536u

struct walk_dir {
	uint32_t references; /* atomic */
	int fd; /* -1: too many are open */
	uint32_t count;
	int error; /* errno that cut the list short */
	char **names; /* sorted; directories end with '/' */
	char *arena;
	size_t prefix_bytes;
	char prefix[]; /* path, with a '/' at its end */
};

/* ---- one directory ----------------------------------------------------- */

struct arena {
	char *data;
	size_t used, room;
	uint32_t count;
};

static int arena_add(struct arena *a, const char *name, size_t length,
		     bool directory)
{
	size_t need = length + 2;

	if (need > a->room - a->used) {
		size_t room = a->room ? a->room * 2 : 4096;
		char *data = realloc(a->data, room);

		if (!data)
			return -ENOMEM;
		a->data = data;
		a->room = room;
	}
	memcpy(a->data + a->used, name, length);
	a->used += length;
	if (directory)
		a->data[a->used++] = '/';
	a->data[a->used++] = 0;
	a->count++;
	return 0;
}

/* Only regular files and directories matter; links are not followed. */
static unsigned char type_of(int fd, const struct dirent64 *e)
{
	struct stat st;

	if (e->d_type != DT_UNKNOWN)
		return e->d_type;
	if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW))
		return DT_REG; /* opening it tells why */
	return S_ISREG(st.st_mode)   ? DT_REG
	       : S_ISDIR(st.st_mode) ? DT_DIR
				     : DT_LNK;
}

static int arena_fill(struct arena *a, int fd, unsigned char *raw, int *error)
{
	for (;;) {
		ssize_t n = getdents64(fd, raw, RAW_BYTES);

		if (n < 0)
			*error = errno;
		if (n <= 0)
			return 0;
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *e =
				(const struct dirent64 *)(raw + at);
			const char *name = e->d_name;
			unsigned char type = type_of(fd, e);

			at += e->d_reclen;
			if (type != DT_REG && type != DT_DIR)
				continue;
			if (name[0] == '.' &&
			    (!name[1] || (name[1] == '.' && !name[2])))
				continue;
			if (arena_add(a, name, strlen(name), type == DT_DIR))
				return -ENOMEM;
		}
	}
}

/* The '/' behind a directory's name gives the order of whole paths. */
static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int dir_index(struct walk_dir *d, struct arena *a)
{
	char *at = a->data;

	d->arena = a->data;
	d->count = a->count;
	if (!a->count)
		return 0;
	d->names = malloc(a->count * sizeof(*d->names));
	if (!d->names)
		return -ENOMEM;
	for (uint32_t i = 0; i < a->count; i++) {
		d->names[i] = at;
		at += strlen(at) + 1;
	}
	qsort(d->names, a->count, sizeof(*d->names), by_bytes);
	return 0;
}

static void dir_put(struct walk *w, struct walk_dir *d)
{
	/* the last one sees what all the others did before they let go */
	if (mk_add_acq_rel(&d->references, (uint32_t)-1) != 1)
		return;
	if (d->fd >= 0) {
		close(d->fd);
		mk_add_relaxed(&w->open_now, (uint32_t)-1);
	}
	free(d->names);
	free(d->arena);
	free(d);
}

static struct walk_dir *dir_new(const struct walk_item *item)
{
	size_t length = walk_path(item, NULL, 0);
	struct walk_dir *d = malloc(sizeof(*d) + length + 2);

	if (!d)
		return NULL;
	memset(d, 0, sizeof(*d));
	d->references = 1;
	d->fd = -1;
	walk_path(item, d->prefix, length + 1);
	if (d->prefix[length - 1] != '/')
		d->prefix[length++] = '/';
	d->prefix[length] = 0;
	d->prefix_bytes = length;
	return d;
}

/* Read the directory that item names. On failure -errno. */
static int dir_read(struct walk *w, const struct walk_item *item, int fd,
		    struct walk_dir **out)
{
	struct arena a = { 0 };
	struct walk_dir *d = dir_new(item);
	int r;

	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	r = arena_fill(&a, fd, w->raw, &d->error);
	if (!r)
		r = dir_index(d, &a);
	else
		free(a.data);
	if (!r && mk_add_relaxed(&w->open_now, 1) < w->open_max) {
		d->fd = fd;
	} else {
		if (!r)
			mk_add_relaxed(&w->open_now, (uint32_t)-1);
		close(fd);
	}
	if (r)
		dir_put(w, d);
	else
		*out = d;
	return r;
}

/* ---- items ------------------------------------------------------------- */

size_t walk_path(const struct walk_item *item, char *text, size_t room)
{
	size_t prefix = item->dir ? item->dir->prefix_bytes : 0;
	size_t name = strlen(item->name);

	if (item->dir && name && item->name[name - 1] == '/')
		name--;
	if (room) {
		size_t a = prefix < room - 1 ? prefix : room - 1;
		size_t b = name < room - 1 - a ? name : room - 1 - a;

		if (a)
			memcpy(text, item->dir->prefix, a);
		memcpy(text + a, item->name, b);
		text[a + b] = 0;
	}
	return prefix + name;
}

/* Call open() beside the directory if that is open, else by the whole path.
 * The name of a directory loses its '/', which would follow a link. */
static int item_open(const struct walk_item *item, int flags)
{
	char path[PATH_MAX];
	int fd;

	if (!item->dir) {
		fd = open(item->name, flags);
		return fd < 0 ? -errno : fd;
	}
	flags |= O_NOFOLLOW;
	if (item->dir->fd >= 0 && !(flags & O_DIRECTORY)) {
		fd = openat(item->dir->fd, item->name, flags);
		return fd < 0 ? -errno : fd;
	}
	if (walk_path(item, path, sizeof(path)) >= sizeof(path))
		return -ENAMETOOLONG;
	if (item->dir->fd >= 0)
		fd = openat(item->dir->fd, path + item->dir->prefix_bytes,
			    flags);
	else
		fd = open(path, flags);
	return fd < 0 ? -errno : fd;
}

int walk_open(const struct walk_item *item)
{
	int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY;

	/* a file that has become a pipe since must not hold us up */
	return item_open(item, item->dir ? flags | O_NONBLOCK : flags);
}

int walk_stat(const struct walk_item *item, struct stat *st)
{
	char path[PATH_MAX];
	int r;

	if (!item->dir)
		r = stat(item->name, st);
	else if (item->dir->fd >= 0)
		r = fstatat(item->dir->fd, item->name, st, AT_SYMLINK_NOFOLLOW);
	else if (walk_path(item, path, sizeof(path)) >= sizeof(path))
		return -ENAMETOOLONG;
	else
		r = lstat(path, st);
	return r ? -errno : 0;
}

void walk_release(struct walk *w, struct walk_item *item)
{
	if (item->dir)
		dir_put(w, item->dir);
	item->dir = NULL;
}

/* ---- the walk ---------------------------------------------------------- */

int walk_init(struct walk *w, char *const *paths, unsigned count)
{
	struct rlimit limit;

	memset(w, 0, sizeof(*w));
	w->paths = paths;
	w->count = count;
	if (getrlimit(RLIMIT_NOFILE, &limit))
		return -errno;
	w->open_max =
		limit.rlim_cur > 8192 ? 4096 : (uint32_t)(limit.rlim_cur / 2);
	w->raw = malloc(RAW_BYTES);
	return w->raw ? 0 : -ENOMEM;
}

void walk_free(struct walk *w)
{
	while (w->depth)
		dir_put(w, w->stack[--w->depth].dir);
	free(w->stack);
	free(w->raw);
	memset(w, 0, sizeof(*w));
}

static int push(struct walk *w, struct walk_dir *dir)
{
	if (w->depth == w->room) {
		uint32_t room = w->room ? w->room * 2 : 32;
		struct walk_frame *stack =
			realloc(w->stack, room * sizeof(*stack));

		if (!stack)
			return -ENOMEM;
		w->stack = stack;
		w->room = room;
	}
	w->stack[w->depth++] = (struct walk_frame){ dir, 0 };
	return 0;
}

/* Go down into the directory that item names. 0: done, go on; 1: *item is now
 * an error to report. */
static int enter(struct walk *w, struct walk_item *item)
{
	struct walk_dir *dir = NULL;
	int fd = item_open(item, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 ? fd : dir_read(w, item, fd, &dir);

	if (r == -ENOMEM)
		return r;
	if (r < 0 || !dir) {
		item->error = -r;
		return 1;
	}
	item->error = dir->error;
	r = push(w, dir);
	if (r) {
		dir_put(w, dir);
		return r;
	}
	return item->error ? 1 : 0;
}

static int next_argument(struct walk *w, struct walk_item *out)
{
	struct stat st;

	*out = (struct walk_item){ NULL, w->paths[w->next++], 0 };
	if (strcmp(out->name, "-") != 0 && !stat(out->name, &st) &&
	    S_ISDIR(st.st_mode))
		return enter(w, out);
	return 1;
}

static int next_entry(struct walk *w, struct walk_item *out)
{
	struct walk_frame *f = &w->stack[w->depth - 1];
	const char *name;
	int r;

	if (f->next == f->dir->count) {
		w->depth--;
		dir_put(w, f->dir);
		return 0;
	}
	name = f->dir->names[f->next++];
	*out = (struct walk_item){ f->dir, name, 0 };
	mk_add_relaxed(&f->dir->references, 1);
	if (name[strlen(name) - 1] != '/')
		return 1;
	r = enter(w, out);
	if (r <= 0)
		walk_release(w, out);
	return r;
}

int walk_next(struct walk *w, struct walk_item *out)
{
	for (;;) {
		int r;

		if (w->depth)
			r = next_entry(w, out);
		else if (w->next < w->count)
			r = next_argument(w, out);
		else
			return 0;
		if (r)
			return r;
	}
}
