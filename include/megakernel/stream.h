/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file stream.h
 * Files, pipes and sockets through a ring of resident chunks into a handler.
 * Link with libmegakernel-io. What the handler sees: megakernel/chunk.h.
 *
 *	struct mk_stream_params p = { .size = sizeof(p),
 *				      .handler = "lines",
 *				      .result_bytes = 8 };
 *	struct mk_stream_chunk c;
 *	struct mk_stream *s;
 *
 *	mk_stream_create(ctx, &p, &s);
 *	for (int i = 1; i < argc; i++)
 *		mk_stream_add_path(s, argv[i], i);
 *	mk_stream_end(s);
 *	while (mk_stream_next(s, &c, MK_FOREVER) > 0) {
 *		if (c.error >= 0)
 *			total += *(const uint64_t *)c.result;
 *		mk_stream_release(s, &c);
 *	}
 *	mk_stream_destroy(s, MK_FOREVER);
 *
 * Files are read in the order they were added, many at a time; handlers run
 * side by side; chunks come back in order, each once, and the pieces of a
 * chunk are in order too. A file that cannot be opened or read, that is cut,
 * grows or vanishes ends with a piece that says so (MK_PIECE_FAILED,
 * MK_PIECE_CHANGED), in its place; the stream goes on.
 *
 * Back-pressure: a chunk that is being read, run, waited for or held by the
 * caller is not read into. Whoever is slowest holds the others up, and nothing
 * is dropped.
 *
 * Threads: any thread may add, and release; one at a time may call next.
 */
#ifndef MEGAKERNEL_STREAM_H
#define MEGAKERNEL_STREAM_H

#include <megakernel.h>
#include <megakernel/chunk.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef MK_IO_API
#define MK_IO_API __attribute__((visibility("default")))
#endif

struct mk_stream;

enum mk_stream_flags {
	MK_STREAM_CALLER = 1,    /* no thread of its own: mk_stream_next() does
				  * the reading, and nothing is read while
				  * nobody is in it */
	MK_STREAM_NO_URING = 2,  /* do not try io_uring */
	MK_STREAM_DIRECT = 4,    /* O_DIRECT for every file that is larger than
				  * a chunk and can do it */
	MK_STREAM_NO_DIRECT = 8, /* never. With neither: for those of which
				  * nothing is in the page cache */
	MK_STREAM_IDEMPOTENT = 32, /* a handler may run again with the same
				    * chunk, if the device was lost while it
				    * ran: MK_SLOT_IDEMPOTENT */
	MK_STREAM_DEVICE = 16    /* handlers find chunks in the device's own
				  * memory; what was read is copied there. For
				  * handlers that go over a chunk more than
				  * once. Engines with host memory (cpu) ignore
				  * it */
};

struct mk_stream_params {
	uint32_t size;         /* sizeof(struct mk_stream_params) */
	uint32_t flags;        /* enum mk_stream_flags */
	const char *handler;   /* takes struct mk_stream_args; or NULL: */
	uint16_t opcode;       /* the handler's */
	uint16_t tiles;        /* of each slot; 0: 1 */
	uint32_t priority;     /* enum mk_priority + 1; 0: NORMAL */
	uint32_t chunks;       /* in the ring, 2..1,024; 0: 8, engine cuda:
				* 128 */
	uint32_t chunk_bytes;  /* new bytes of a chunk at most, a multiple of
				* 4,096 up to 1 GiB; 0: 1 MiB, engine cuda:
				* 256 KiB */
	uint32_t overlap_bytes; /* of the same file, before each piece but the
				 * first; at most chunk_bytes, and 1 MiB */
	uint32_t result_bytes; /* of each chunk; 0: none */
	uint32_t pieces_max;   /* of a chunk, 1..65,536; 0: 1,024 */
	uint32_t files_max;    /* opened ahead, 1..1,024; 0: 64 */
	uint32_t readers;      /* threads of the kernel (io_uring), or of the
				* library (without), that copy at once; 0: one
				* for every two cores, 2 to 8. With 1 and
				* io_uring the reading thread copies what is in
				* the page cache itself */
	uint32_t reserved;     /* 0 */
	uint64_t flush_ns;     /* what came from a pipe or socket is handed on
				* when nothing more came for so long; 0: 1 ms */
	mk_buffer_t user;      /* to the handler as args->user; 0: none */
	uint64_t word;         /* to the handler as args->word */
};

/** One chunk that its handler has ended with. */
struct mk_stream_chunk {
	uint64_t sequence;  /* 0, 1, 2 ... */
	int32_t error;      /* the handler's result: >= 0, or a negated code */
	uint32_t pieces;
	uint64_t value;     /* the handler's; mk_value() */
	const struct mk_stream_piece *piece; /* `pieces` of them */
	const unsigned char *data; /* the chunk's buffer: the bytes of
				    * piece[i] are at data + piece[i].at */
	void *result;       /* result_bytes; NULL: there are none */
	uint32_t index;     /* in the ring */
	uint32_t reserved;
};

struct mk_stream_stats {
	uint64_t files;          /* begun */
	uint64_t files_done;     /* read to the end, failed and changed ones
				  * included */
	uint64_t files_failed, files_changed;
	uint64_t files_direct;   /* read with O_DIRECT */
	uint64_t bytes;          /* read */
	uint64_t chunks;         /* handed to the handler */
	uint64_t chunks_done;    /* given to the caller */
	uint64_t chunks_failed;  /* of these, with a negative result */
	uint64_t pieces;
	uint64_t reads;          /* asked of the kernel */
	uint64_t reads_short;    /* that had to be continued */
	uint64_t bytes_copied;   /* to the device's memory: MK_STREAM_DEVICE */
	/* who held the others up: times that the reading side found no free
	 * chunk because of ... */
	uint64_t held_by_handler, held_by_caller;
	uint64_t ns;             /* since the stream was made; until its end,
				  * when that was told */
	uint32_t uring;          /* 1: io_uring reads; 0: threads do */
	uint32_t registered;     /* 1: the chunks are registered with it */
	uint32_t in_flight;      /* chunks read, or with the handler */
	uint32_t reserved;
};

/**
 * Make a stream: its queue, its chunks, its thread. Allocates, blocks.
 *
 * Chunks and results take mk_stream_bytes() of the context: of heap_bytes with
 * an engine that has host memory (cpu), else of shared_bytes, which is 64 MiB
 * if the context was made without saying.
 *
 * @param params  copied; `handler` or `opcode` is needed.
 * @param out     end it with mk_stream_destroy(), before the context.
 *
 * @retval -EINVAL          a field is out of its range.
 * @retval -E2BIG           params has an unknown tail that is not zero.
 * @retval -MK_ENOHANDLER   no handler has this name.
 * @retval -MK_EOPCODE      no handler has this opcode.
 * @retval -MK_EARGS        the handler does not take struct mk_stream_args.
 * @retval -ENOMEM          no memory, or the context's is used up.
 * @retval -ENOSPC          no more queues, or buffers.
 * @retval -MK_EDEVLOST     the device is lost.
 */
MK_IO_API int mk_stream_create(struct mk_ctx *ctx,
			       const struct mk_stream_params *params,
			       struct mk_stream **out);

/** What chunks and results of such a stream take, in bytes, with the defaults
 * of engine cuda; or -EINVAL. */
MK_IO_API int64_t mk_stream_bytes(const struct mk_stream_params *params);

/**
 * Add a file, by path or descriptor. The path is copied; the descriptor is
 * duplicated and read from where it stands, a regular file from its position
 * on. Whether it can be read is told by its pieces. Takes a lock; allocates.
 *
 * @param file  told with each of its pieces; need not be unique.
 *
 * @retval -ENOMEM  no memory.
 * @retval -EBADF   fd is no open descriptor (-EMFILE: none is left).
 * @retval -MK_ESTOPPED  mk_stream_end() was called.
 */
MK_IO_API int mk_stream_add_path(struct mk_stream *s, const char *path,
				 uint64_t file);
MK_IO_API int mk_stream_add_fd(struct mk_stream *s, int fd, uint64_t file);

/** No more files come. What was added is still read. */
MK_IO_API int mk_stream_end(struct mk_stream *s);

/**
 * The next chunk, in order. It is the caller's until it is released, and so
 * are data and result: no copy.
 *
 * @return 1: *out was written; 0: the stream has ended, all was given out.
 * @retval -ETIME        none was ready in time.
 * @retval -ENOBUFS      none can come: the caller holds all chunks.
 * @retval -MK_EDEVLOST  the device is lost for good. Chunks that were with it
 *                       were given out with the code that their slots ended
 *                       with.
 */
MK_IO_API int mk_stream_next(struct mk_stream *s, struct mk_stream_chunk *out,
			     uint64_t timeout_ns);

/**
 * Give a chunk back, to be read into again. In any order, but places are
 * reused in order: the oldest that is held holds the ring up.
 *
 * @retval -EINVAL  it is not held.
 */
MK_IO_API int mk_stream_release(struct mk_stream *s,
				const struct mk_stream_chunk *chunk);

/** Progress, from any thread. */
MK_IO_API int mk_stream_stats(struct mk_stream *s,
			      struct mk_stream_stats *out);

/**
 * End a stream, whatever is left to read, and free it. Waits for reads that
 * are under way and for slots that run. NULL is allowed.
 *
 * @retval -ETIME  a slot still runs; the stream is ended but stays valid, and
 *                 the call may be repeated.
 */
MK_IO_API int mk_stream_destroy(struct mk_stream *s, uint64_t timeout_ns);

#ifdef __cplusplus
}
#endif
#endif
