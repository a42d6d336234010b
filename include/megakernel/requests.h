/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file requests.h
 * What handlers ask of the host: the host's end of a queue's IO queue. Part of
 * megakernel.h, whose conventions hold.
 *
 * Handlers post requests (mk_io_request() of the dialect); the host takes
 * them, does what they ask, and answers each. libmegakernel-io (mk_io_create()
 * of megakernel/io.h) does all of that with io_uring. These are the calls it
 * is made of, for those who want to serve requests themselves.
 */
#ifndef MEGAKERNEL_REQUESTS_H
#define MEGAKERNEL_REQUESTS_H

#include <megakernel.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A request, copied out of shared memory once. Nothing in it has been checked:
 * the handler may have written anything.
 */
struct mk_io_asked {
	uint64_t at;     /* its number in the IO queue, for the answer */
	uint64_t tag;    /* the handler's */
	uint64_t ticket; /* of the slot that asked */
	uint64_t file;   /* index, as the handler gave it */
	uint64_t buffer; /* handle, as the handler gave it */
	uint64_t offset; /* bytes, in the file */
	uint64_t bytes;
	uint32_t buffer_offset;
	uint32_t op;     /* enum mk_io_op, or not */
};

/**
 * Take requests that handlers posted, oldest first, each once. What was taken
 * has to be answered, in any order: places are freed in order. Requests that
 * an engine left half-written when it was lost are passed over.
 *
 * One thread at a time may take and answer on a queue. The first call of a
 * queue allocates.
 *
 * @return how many were taken, 0..n.
 * @retval -ENOMEM      no memory.
 * @retval -MK_ESHARED  a handler has written over the count of requests.
 */
MK_API int mk_queue_io_take(struct mk_queue *q, struct mk_io_asked *out,
			    unsigned n);

/**
 * Answer a request that was taken. The handler finds what was written to the
 * buffer before, and then the answer, with mk_io_answer() of the dialect.
 *
 * @param at      of the request.
 * @param status  enum mk_io_status but OPEN, or a negated code.
 * @param bytes   that were moved.
 *
 * @retval -EINVAL  the request was not taken, or answered before; status is 0.
 */
MK_API int mk_queue_io_answer(struct mk_queue *q, uint64_t at, int32_t status,
			      uint64_t bytes);

struct mk_io_info; /* megakernel/dispatch.h */

/** Counts of the queue's IO queue; `torn` stays 0. From any thread. */
MK_API int mk_queue_io_info(struct mk_queue *q, struct mk_io_info *out);

/** What mk_buffer_hold() gives. */
struct mk_buffer_held {
	unsigned char *memory; /* in this process; NULL: it has none here */
	uint64_t bytes;
	uint32_t flags;        /* enum mk_buffer_flags */
	uint32_t reserved;
};

/**
 * Keep a buffer from being destroyed, while something of the host's (a read
 * of a file into it) is under way: mk_buffer_destroy() waits for
 * mk_buffer_let(). As often as it was held. Takes a lock; no system call.
 *
 * @retval -MK_ESTALE, -MK_EFOREIGN, -MK_EVOLATILE  as mk_buffer_map().
 */
MK_API int mk_buffer_hold(struct mk_ctx *ctx, mk_buffer_t buffer,
			  struct mk_buffer_held *out);

/** @retval -EINVAL  it is not held. */
MK_API int mk_buffer_let(struct mk_ctx *ctx, mk_buffer_t buffer);

/**
 * Copy bytes from one buffer to another, or within one if the ranges do not
 * overlap. Between host memory of buffers and the device's (MK_BUFFER_HOST,
 * engine cuda) the device copies, and the caller's processor does not. Not
 * ordered with slots in flight, as mk_buffer_write(). Thread-safe.
 *
 * @retval -EINVAL     the ranges overlap.
 * @retval -MK_ERANGE  a range exceeds its buffer.
 * @retval -EOPNOTSUPP neither has memory in this process.
 * @retval -ENOMEM, -MK_EDEVLOST, -MK_ESTALE, -MK_EFOREIGN, -MK_EVOLATILE  as
 *                     mk_buffer_write().
 */
MK_API int mk_buffer_copy(struct mk_ctx *ctx, mk_buffer_t target,
			  uint64_t target_offset, mk_buffer_t source,
			  uint64_t source_offset, uint64_t bytes);

/**
 * Record a failure as this thread's last one, as the library's own calls do.
 * For libraries on top of this one.
 * @return error->code.
 */
MK_API int mk_error_record(const struct mk_error *error);

#ifdef __cplusplus
}
#endif
#endif
