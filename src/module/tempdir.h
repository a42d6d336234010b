/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of our own for the files of one compilation. */
#ifndef MK_MODULE_TEMPDIR_H
#define MK_MODULE_TEMPDIR_H

#include <limits.h>

struct mk_tempdir {
	char path[PATH_MAX]; /* empty: there is none */
	int fd; /* held and locked: it is in use, and can be emptied without a
		 * new one */
};

/*
 * Make one, for the owner alone, in $TMPDIR, /tmp, /dev/shm or `last` (may be
 * NULL): the first of them that has room, else the first that there is. A
 * negated errno if none. Those are removed from there that were left by
 * processes of this user that were killed.
 */
int mk_tempdir_make(struct mk_tempdir *t, const char *last);

/* Remove it with all that is in it. One that was never made is allowed. */
void mk_tempdir_remove(struct mk_tempdir *t);

/* The path of a file in it. -ENAMETOOLONG. */
int mk_tempdir_file(const struct mk_tempdir *t, const char *name,
		    char out[PATH_MAX]);

#endif
