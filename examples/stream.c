/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Count the lines of files, as wc -l does: `example-stream FILE...`, or "-"
 * for standard input. Without arguments it counts its own. The files flow
 * through a ring of chunks in resident memory; the handler is in
 * stream_handler.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <megakernel/stream.h>

#define PIECES 256

static int fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, mk_error_last()->text);
	return 1;
}

static void print(const char *name, const struct mk_stream_piece *last,
		  uint64_t lines)
{
	if (last->flags & MK_PIECE_FAILED)
		printf("%s: %s\n", name, mk_strerror(last->error));
	else
		printf("%8llu %s%s\n", (unsigned long long)lines, name,
		       last->flags & MK_PIECE_CHANGED ?
			       " (changed while it was read)" : "");
}

/* Chunks come in order, and so do the pieces of a chunk: a sum for the file
 * whose turn it is will do. */
static int take_all(struct mk_stream *s, char **name)
{
	struct mk_stream_chunk c;
	uint64_t lines = 0;
	int r;

	while ((r = mk_stream_next(s, &c, MK_FOREVER)) > 0) {
		const uint64_t *found = c.result;

		if (c.error < 0) {
			fprintf(stderr, "a chunk failed: %s\n",
				mk_strerror(c.error));
			return 1;
		}
		for (uint32_t i = 0; i < c.pieces; i++) {
			lines += found[i];
			if (!(c.piece[i].flags & MK_PIECE_LAST))
				continue;
			print(name[c.piece[i].file], &c.piece[i], lines);
			lines = 0;
		}
		mk_stream_release(s, &c);
	}
	return r < 0 ? fail("mk_stream_next") : 0;
}

static int count(struct mk_ctx *ctx, char **name, int n)
{
	struct mk_stream_params p = { .size = sizeof(p),
				      .handler = "lines",
				      .pieces_max = PIECES,
				      .result_bytes = PIECES * 8 };
	struct mk_stream_stats st;
	struct mk_stream *s;
	int r = 0;

	if (mk_stream_create(ctx, &p, &s))
		return fail("mk_stream_create");
	for (int i = 0; i < n && !r; i++)
		r = strcmp(name[i], "-") ?
			    mk_stream_add_path(s, name[i], (uint64_t)i) :
			    mk_stream_add_fd(s, 0, (uint64_t)i);
	mk_stream_end(s);
	r = r ? fail("mk_stream_add_path") : take_all(s, name);
	mk_stream_stats(s, &st);
	printf("%llu files, %llu bytes in %llu chunks, read with %s\n",
	       (unsigned long long)st.files, (unsigned long long)st.bytes,
	       (unsigned long long)st.chunks,
	       st.uring ? "io_uring" : "threads");
	return mk_stream_destroy(s, MK_FOREVER) ? fail("mk_stream_destroy") :
						  r;
}

int main(int argc, char **argv)
{
	static char own[] = "stream.c", handler[] = "stream_handler.c";
	char *names[] = { own, handler };
	struct mk_ctx *ctx;
	int r;

	if (mk_ctx_create(NULL, &ctx))
		return fail("mk_ctx_create");
	if (mk_module_load(ctx, "stream_handler.c", 0, NULL))
		r = fail("stream_handler.c");
	else if (argc > 1)
		r = count(ctx, argv + 1, argc - 1);
	else
		r = count(ctx, names, 2);
	mk_ctx_destroy(ctx, MK_FOREVER);
	return r;
}
