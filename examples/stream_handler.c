/* SPDX-License-Identifier: Apache-2.0 */
/* Loaded by stream.c: line feeds of each piece of a chunk. */
#include <megakernel/chunk.h>

/* args->result: a number for each piece. */
MK_HANDLER(lines, struct mk_stream_args)
{
	const struct mk_stream_piece *piece = mk_stream_pieces(task, args);
	uint64_t *lines = mk_stream_result(task, args,
					   args->pieces * sizeof(*lines));

	if (!piece || !lines)
		return mk_fail(task);
	/* a lane takes every so many pieces; on a CPU there is one lane */
	for (uint32_t i = mk_lane(task); i < args->pieces;
	     i += mk_lanes(task)) {
		const unsigned char *data =
			mk_stream_data(task, args, &piece[i]);
		uint64_t n = 0;

		if (!data)
			return mk_fail(task);
		for (uint32_t k = 0; k < piece[i].bytes; k++)
			n += data[k] == '\n';
		lines[i] = n;
	}
	return MK_OK;
}
