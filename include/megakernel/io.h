/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file io.h
 * Bytes of files for handlers: whoever serves the IO queues. Link with
 * libmegakernel-io.
 *
 * A handler posts a request (mk_io_request() of the dialect) that names a file
 * by the index under which the host registered it, a range of the file and a
 * range of a buffer. The service reads or writes, with io_uring or, where that
 * is forbidden, with threads, and answers in the request's own record, where
 * the handler, or another that knows its number, sees it (mk_io_answer()).
 *
 * Everything in a request is the handler's to get wrong: it is copied once and
 * checked, and what is wrong is answered with a code. A handler reaches no
 * file that was not registered, none in a way it was not registered for, and
 * no byte outside the buffer that it names.
 *
 * Threads: any, at any time, but one at a time in mk_io_run_once().
 */
#ifndef MEGAKERNEL_IO_H
#define MEGAKERNEL_IO_H

#include <megakernel.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef MK_IO_API
#define MK_IO_API __attribute__((visibility("default")))
#endif

struct mk_io;

enum mk_io_flags {
	MK_IO_THREAD = 1,  /* a thread of its own serves; else whoever calls
			    * mk_io_run_once() does */
	MK_IO_NO_URING = 2 /* do not try io_uring */
};

enum mk_io_mode { MK_IO_MAY_READ = 1, MK_IO_MAY_WRITE = 2 };

struct mk_io_params {
	uint32_t size;       /* sizeof(struct mk_io_params) */
	uint32_t flags;      /* enum mk_io_flags */
	uint32_t entries;    /* requests under way at once, 1..4,096; 0: 64 */
	uint32_t files_max;  /* registered at once, 1..65,535; 0: 256 */
	uint32_t queues_max; /* served at once, 1..1,024; 0: 64 */
	uint32_t threads;    /* that copy at once, 1..32; 0: 4 */
	uint32_t staging_bytes; /* for buffers that have no memory here
				 * (engine cuda, but MK_BUFFER_HOST): each
				 * request under way has so much; 0: 256 KiB */
	uint32_t reserved;   /* 0 */
	uint64_t spin_ns;    /* looks for requests without a pause, so long
				* after the last one; 0: 20 us */
	uint64_t nap_ns;     /* and then with pauses that grow to this; 0:
			      * 1 ms */
};

struct mk_io_stats {
	uint64_t taken;      /* requests */
	uint64_t answered;   /* of these, in all; by ending: */
	uint64_t done, short_reads, refused, failed; /* DONE; SHORT; not begun,
			      * because something in it was wrong; all else */
	uint64_t continued;  /* parts moved, after which more was to come */
	uint64_t bytes_read, bytes_written;
	uint64_t full;       /* posts that found their queue full: those never
			      * came to be requests */
	uint64_t lost;       /* queues given up: a handler wrote over them */
	uint32_t in_flight;
	uint32_t uring;      /* 1: io_uring; 0: threads */
};

/**
 * Make a service for queues of this context. Allocates; with MK_IO_THREAD
 * starts a thread.
 *
 * @param params  NULL for all defaults; copied.
 * @param out     end it with mk_io_destroy(), before the context.
 *
 * @retval -EINVAL, -E2BIG  as everywhere.
 * @retval -ENOMEM, -EMFILE, -EAGAIN  no memory, descriptors, threads.
 */
MK_IO_API int mk_io_create(struct mk_ctx *ctx,
			   const struct mk_io_params *params,
			   struct mk_io **out);

/**
 * Answer what is under way, then free the service. What was not taken, or
 * comes later, stays open for whoever serves the queue next. NULL is allowed.
 *
 * @retval -ETIME  reads or writes are still under way: nothing was freed, no
 *                 request is begun any more, and the call may be repeated.
 */
MK_IO_API int mk_io_destroy(struct mk_io *io, uint64_t timeout_ns);

/**
 * Let handlers use a file. The descriptor is duplicated, so it may be closed.
 * It has to be one with positions: a regular file, a block device.
 *
 * @param mode   enum mk_io_mode, or-ed: no more than fd was opened for.
 * @param index  what handlers name it by. It is never given again to another
 *               file of this service, before 65,535 others had its place.
 *
 * @retval -EINVAL  mode is 0 or unknown; fd is open with O_APPEND, where a
 *                  write has no offset, and mode says WRITE.
 * @retval -EACCES  fd is not open for that.
 * @retval -EBADF   fd is not open.
 * @retval -ESPIPE  it is a pipe, a socket, a terminal or a directory.
 * @retval -ENOSPC  files_max are registered.
 * @retval -EMFILE  no descriptor is left.
 */
MK_IO_API int mk_io_file_add(struct mk_io *io, int fd, uint32_t mode,
			     uint32_t *index);

/**
 * Take a file away. Requests that were begun end as they would have; later
 * ones are answered with -EBADF. @retval -EBADF  no such file. */
MK_IO_API int mk_io_file_remove(struct mk_io *io, uint32_t index);

/**
 * Serve a queue. It must be taken away, or the service ended, before the queue
 * is destroyed. One service a queue.
 *
 * @retval -EALREADY  it is served by this one.
 * @retval -ENOSPC    queues_max are.
 */
MK_IO_API int mk_io_queue_add(struct mk_io *io, struct mk_queue *q);

/**
 * Serve it no more. Waits until what was begun for it is answered.
 *
 * @retval -ENOENT  it is not served.
 * @retval -ETIME   reads or writes are still under way; nothing is begun for
 *                  it any more, and the call may be repeated.
 */
MK_IO_API int mk_io_queue_remove(struct mk_io *io, struct mk_queue *q,
				 uint64_t timeout_ns);

/**
 * Take requests, begin them, answer those that have ended: once, and if there
 * is nothing of the kind, wait for some.
 *
 * @return how many requests were answered; 0: none in time.
 * @retval -EBUSY  another thread is at it, such as the service's own.
 */
MK_IO_API int mk_io_run_once(struct mk_io *io, uint64_t timeout_ns);

/** From any thread; takes a lock. */
MK_IO_API int mk_io_stats(struct mk_io *io, struct mk_io_stats *out);

#ifdef __cplusplus
}
#endif
#endif
