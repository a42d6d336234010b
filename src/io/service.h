/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service of IO queues, between its files.
 *
 * `lock` guards the tables and the counts and is never held over a wait.
 * `turn` is held by whoever takes requests and answers them: the ring, the
 * free requests and the queues' own books are that thread's alone.
 */
#ifndef MK_IO_SERVICE_H
#define MK_IO_SERVICE_H

#include <pthread.h>

#include <megakernel/io.h>

#include "io/ring.h"

/* A registered file; its index is its place and, above, its generation. */
struct mkio_file {
	int fd;        /* -1: none */
	uint32_t mode; /* 0: taken away, requests are still under way */
	uint32_t users;
	uint16_t generation;
};

#define MKIO_FILE_INDEX(place, generation) \
	((uint32_t)(generation) << 16 | (uint32_t)(place))

/* A queue that is served. */
struct mkio_served {
	struct mk_queue *q; /* NULL: none */
	uint32_t open;      /* requests taken and not answered, fences too */
	bool leaving;       /* take no more */
	bool lost;
};

/* A request while it is under way. */
struct mkio_request {
	struct mkio_op op; /* first: what the ring gives back */
	struct mk_io_asked asked;
	struct mkio_served *served;
	struct mkio_file *file;
	struct mkio_request *next, *prev; /* of all that are open, or free */
	uint64_t moved;          /* bytes */
	unsigned char *memory;   /* of the buffer's range; NULL: staged */
	unsigned char *staging;  /* its own; NULL until it is needed */
	bool held;               /* the buffer */
};

struct mk_io {
	struct mk_ctx *ctx;
	struct mk_io_params params;
	pthread_mutex_t lock, turn;
	struct mkio_file *files;    /* files_max */
	struct mkio_served *served; /* queues_max */
	bool leaving;
	bool stop; /* the thread, atomic */
	bool threaded;
	pthread_t thread;
	struct mk_io_stats stats;

	/* with `turn` */
	struct mkio_ring *ring;
	struct mkio_request *requests, *idle; /* entries of them; free ones */
	struct mkio_request open; /* head of those that are under way */
	struct mk_io_asked *asked;            /* entries */
	uint64_t busy_ns; /* when there was something to do */
};

/* Find out whether a request can be begun, and with what: 0, or the code it
 * ends with. (check.c) */
int mkio_request_check(struct mk_io *io, struct mkio_request *r);
/* Give back what mkio_request_check() took. (check.c) */
void mkio_request_release(struct mk_io *io, struct mkio_request *r);

/* Take requests off the queues and begin them; end those that have ended. How
 * many were answered. With `turn`. (serve.c) */
int mkio_take(struct mk_io *io);
int mkio_finish(struct mk_io *io);

#endif
