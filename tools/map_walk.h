/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that PATH... names, one after the other: arguments in their
 * order, the regular files below a directory in byte order of their paths,
 * which is the order of `find PATH -type f | LC_ALL=C sort`.
 *
 * Memory: the names of the directories on the way down, and of those whose
 * files are still in use. One thread at a time may call walk_next(); items
 * may be used and released in any thread.
 */
#ifndef MAP_WALK_H
#define MAP_WALK_H

#include <stddef.h>
#include <stdint.h>

struct walk_dir; /* one directory's names; counted references */

struct walk_item {
	struct walk_dir *dir; /* NULL: name is an argument */
	const char *name;     /* below dir; lives as long as the item */
	int error;            /* 0: a file; else errno: a directory or argument
			       * that cannot be read */
};

struct walk_frame {
	struct walk_dir *dir;
	uint32_t next; /* entry */
};

struct walk {
	char *const *paths;
	unsigned count, next;
	struct walk_frame *stack;
	uint32_t depth, room;
	uint32_t open_max;  /* directories kept open at once */
	uint32_t open_now;  /* atomic */
	unsigned char *raw; /* of getdents64() */
};

/* paths stay the caller's and must outlive the walk. 0 or -ENOMEM. */
int walk_init(struct walk *w, char *const *paths, unsigned count);

/* 1: *out is the next item, to be given to walk_release(); 0: the end;
 * -ENOMEM. */
int walk_next(struct walk *w, struct walk_item *out);

void walk_release(struct walk *w, struct walk_item *item);

/* Frees; every item must have been released. */
void walk_free(struct walk *w);

/* The path of an item; returns its length, which may be `room` or more: then
 * text is cut. */
size_t walk_path(const struct walk_item *item, char *text, size_t room);

/* Open the file for reading: a descriptor or a negated errno. "-" is not
 * known here. */
int walk_open(const struct walk_item *item);

struct stat;
/* stat() of the file: 0 or a negated errno. */
int walk_stat(const struct walk_item *item, struct stat *st);

#endif
