/* SPDX-License-Identifier: Apache-2.0 */
/* Run a program to its end, without a shell, in bounded time. */
#ifndef MK_MODULE_COMMAND_H
#define MK_MODULE_COMMAND_H

#include <stddef.h>
#include <stdint.h>

struct mk_command {
	char *const *argv;   /* argv[0]: the path of the program */
	const char *tmpdir;  /* the child's TMPDIR */
	uint64_t timeout_ns; /* then it is killed, with its process group */
	char *text;          /* what it said, its beginning, terminated */
	size_t room;         /* bytes of text, 1 or more */
};

/*
 * Standard input is empty; standard output and error go to text. The child
 * is always reaped on return. In a program that ignores SIGCHLD, or reaps
 * children it does not know, the status is lost and 0 is returned: look at
 * what the child made.
 *
 * Returns the exit status, 128 + n if signal n ended it, -ETIME, or a negated
 * errno. Records no sentence.
 */
int mk_command_run(const struct mk_command *s);

#endif
