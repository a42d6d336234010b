/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the worker program and starting it. */
#ifndef MK_WORKER_SPAWN_H
#define MK_WORKER_SPAWN_H

#include <stddef.h>
#include <sys/types.h>

#define MK_WORKER_PROGRAM "megakernel-worker"
#define MK_WORKER_ENV "MEGAKERNEL_WORKER"
#define MK_WORKER_FD 3 /* the socket, in the worker */

/*
 * Where the worker program is: `given`; else $MEGAKERNEL_WORKER; else beside
 * the library or program that has this code; else beside the running program;
 * else where it was installed. 0, or -MK_EWORKER with the places tried.
 */
int mk_spawn_find(const char *given, char *path, size_t room);

struct mk_spawned {
	pid_t pid;
	int sock;  /* the caller's end */
	int pidfd; /* -1: the kernel gives none */
};

/*
 * Start the program as a child of its own session, with the socket as fd 3,
 * nothing else but stderr, default signals. It may be killed when the calling
 * thread ends. -MK_EWORKER: it cannot be run; -EMFILE, -ENFILE, -ENOMEM,
 * -EAGAIN: resources.
 */
int mk_spawn_worker(const char *path, struct mk_spawned *out);

#endif
