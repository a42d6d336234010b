/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's side of the socket: takes requests, checks them, calls the
 * engine, answers. One thread; allocates nothing of its own.
 */
#ifndef MK_WORKER_SERVE_H
#define MK_WORKER_SERVE_H

#include "worker/channel.h"
#include "worker/message.h"

/* The engine of this name, or NULL; as mk_engine_find(). */
typedef const struct mk_engine_ops *(*mk_serve_find_fn)(const char *name);

struct mk_serve {
	mk_serve_find_fn find;
	const struct mk_engine_ops *ops;
	struct mk_engine *engine; /* NULL until a hello succeeded */
	struct mk_region region;
	struct mk_message_limits limits;
	uint32_t open;  /* hello was answered: a lost device ends us */
	bool done;      /* a close was carried out */
	bool abandoned; /* ... and a handler still ran */
	struct mk_message in;
	struct mk_answer out;
};

void mk_serve_init(struct mk_serve *s, mk_serve_find_fn find);

/*
 * Act on the packet that was received into s->in, whatever it is, and close
 * its descriptors. The answer is in s->out. Returns the bytes to send.
 */
size_t mk_serve_packet(struct mk_serve *s, struct mk_packet *packet);

/* Unmap and close the region; after the engine was closed. */
void mk_serve_fini(struct mk_serve *s);

/*
 * Serve until the caller says close: then return 0. Ends the process with
 * status 0, whatever its threads do, when the caller is gone. 2: sock is not
 * such a socket.
 */
int mk_serve_run(int sock, mk_serve_find_fn find);

/* The process ends with it when the engine has lost its device; the reason is
 * in the context block. */
#define MK_WORKER_FAILED 71

#endif
