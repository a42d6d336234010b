/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file chunk.h
 * What a handler that a stream feeds is given: megakernel/stream.h.
 *
 * One slot is one chunk. Its buffer begins with a table of pieces; a piece is
 * a run of bytes of one file. A large file fills chunks of its own, one piece
 * each; small files are packed, several pieces a chunk.
 *
 *	#include <megakernel/chunk.h>
 *
 *	MK_HANDLER(lines, struct mk_stream_args)
 *	{
 *		const struct mk_stream_piece *piece =
 *			mk_stream_pieces(task, args);
 *		uint64_t *lines = mk_stream_result(task, args, 8);
 *
 *		if (!piece || !lines)
 *			return mk_fail(task);
 *		if (mk_lane(task) != 0)
 *			return MK_OK;
 *		*lines = 0;
 *		for (uint32_t i = 0; i < args->pieces; i++) {
 *			const unsigned char *data =
 *				mk_stream_data(task, args, &piece[i]);
 *
 *			if (!data)
 *				return mk_fail(task);
 *			for (uint32_t k = 0; k < piece[i].bytes; k++)
 *				*lines += data[k] == '\n';
 *		}
 *		return MK_OK;
 *	}
 */
#ifndef MEGAKERNEL_CHUNK_H
#define MEGAKERNEL_CHUNK_H

#include <megakernel/handler.h>

enum mk_piece_flags {
	MK_PIECE_FIRST = 1,   /* the file begins with it */
	MK_PIECE_LAST = 2,    /* nothing of the file comes after it; both on a
			       * file in one piece */
	MK_PIECE_CHANGED = 4, /* with LAST: the file was changed, cut or went
			       * on growing while it was read. What is here
			       * was in it at some time */
	MK_PIECE_FAILED = 8   /* with LAST: `error` ended it. What was read
			       * before stands in this piece and those before
			       * it; nothing, if it could not be opened */
};

/*
 * A run of bytes of one file. `before` bytes that precede it in the file stand
 * before it in the chunk: those of the overlap, or as many as there are.
 * Pieces start at multiples of 64 bytes, and 64 bytes behind a piece may be
 * read, whatever they are.
 */
struct mk_stream_piece {
	uint64_t file;   /* the number it was added under */
	uint64_t offset; /* in the file, of the first byte at `at` */
	uint32_t at;     /* in the chunk's buffer */
	uint32_t bytes;  /* from `at` on; 0 is allowed */
	uint32_t before; /* bytes of overlap, that end at `at` */
	uint32_t flags;  /* enum mk_piece_flags */
	int32_t error;   /* with FAILED: a negated errno; else 0 */
	uint32_t reserved;
};

/* The argument block of every handler that a stream feeds. */
struct mk_stream_args {
	struct mk_ref chunk;   /* pieces and bytes; to be read only */
	struct mk_ref result;  /* the chunk's own; undefined at the start.
				* 0, 0: the stream has none */
	struct mk_ref user;    /* mk_stream_params.user */
	uint64_t word;         /* mk_stream_params.word */
	uint32_t pieces;       /* entries of the table, 1 or more */
	uint32_t bytes;        /* of the chunk's buffer that are in use */
	uint32_t result_bytes; /* of `result` */
	uint32_t reserved;
};

MK_ASSERT_SIZE(struct mk_stream_piece, 40);
MK_ASSERT_SIZE(struct mk_stream_args, MK_ARG_BYTES);

/** The table: args->pieces of them; NULL: return mk_fail(task). */
MK_FN const struct mk_stream_piece *
mk_stream_pieces(struct mk_task *task, const struct mk_stream_args *args)
{
	return mk_read(task, args->chunk,
		       (uint64_t)args->pieces *
			       sizeof(struct mk_stream_piece));
}

/**
 * The bytes of a piece, piece->bytes of them, with piece->before more in front
 * of what is returned; NULL: return mk_fail(task).
 */
MK_FN const unsigned char *mk_stream_data(struct mk_task *task,
					  const struct mk_stream_args *args,
					  const struct mk_stream_piece *piece)
{
	uint64_t at = piece->at, before = piece->before;
	const unsigned char *data;

	if (before > at) {
		mk_set_error(task, MK_ERANGE);
		return (const unsigned char *)0;
	}
	data = mk_read_at(task, args->chunk, at - before,
			  before + piece->bytes);
	return data ? data + before : data;
}

/** `bytes` of the chunk's result, or NULL: return mk_fail(task). */
MK_FN MK_ANY mk_stream_result(struct mk_task *task,
			      const struct mk_stream_args *args,
			      uint64_t bytes)
{
	return mk_write(task, args->result, bytes);
}

#endif
