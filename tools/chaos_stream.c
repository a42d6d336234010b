/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: files, by path or descriptor, and a pipe, through a handler, again
 * and again, and one stream after the other. Whatever is lost in between, every
 * byte comes once, in order and as it is in the file; a chunk whose handler
 * ended well has the right result, and another says what became of it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/order.h"
#include "chaos.h"

#define FILES 6u
#define CHUNK 8192u
#define OVERLAP 64u
#define PIPE_BYTES 40000u /* fits a pipe */
#define PASSES 64u /* over the files, by a stream */
#define LAST_WAIT_NS 60000000000u

/* Keyed sums of the pieces of a chunk, each with what lies before it. */
const char chaos_stream_source[] =
	"#include <megakernel/chunk.h>\n"
	"MK_HANDLER_THREAD(chaos_sums, struct mk_stream_args)\n"
	"{\n"
	"	const struct mk_stream_piece *p = mk_stream_pieces(task, args);\n"
	"	uint64_t *sum = mk_stream_result(task, args, 8);\n"
	"	if (!p || !sum)\n"
	"		return mk_fail(task);\n"
	"	*sum = args->word;\n"
	"	for (uint32_t i = 0; i < args->pieces; i++) {\n"
	"		const unsigned char *d = mk_stream_data(task, args,\n"
	"							&p[i]);\n"
	"		if (!d)\n"
	"			return mk_fail(task);\n"
	"		d -= p[i].before;\n"
	"		for (uint32_t k = 0; k < p[i].before + p[i].bytes; k++)\n"
	"			*sum = *sum * 31 + d[k];\n"
	"	}\n"
	"	mk_value(task, *sum ^ 5);\n"
	"	return MK_OK;\n"
	"}\n";

static const uint32_t sizes[FILES] = { 1, 100000, CHUNK, 0, 5000, 60000 };

/* One stream as it is to be seen. */
struct view {
	struct chaos_streams *w;
	uint64_t word;
	uint64_t at[FILES + 1]; /* bytes that came; the last is the pipe's */
	bool over[FILES + 1];
	bool added[FILES + 1];
	uint32_t turn; /* the file that comes now */
};

static void nap(void)
{
	struct timespec t = { 0, 300000 };

	nanosleep(&t, NULL);
}

static uint64_t bytes_of(uint64_t file)
{
	return file == FILES ? PIPE_BYTES : sizes[file];
}

/* All have the same beginning. */
static const unsigned char *content(const struct chaos_streams *w)
{
	return w->bytes;
}

static void wrong(struct chaos_streams *w, const char *what, uint64_t a,
		  uint64_t b)
{
	w->tally.wrong++;
	chaos_complain(w->chaos, "stream %llu: %s (%llu, %llu)",
		       (unsigned long long)w->streams, what,
		       (unsigned long long)a, (unsigned long long)b);
}

/* No descriptor is left: faults do that. */
static bool may_fail(int error)
{
	return error == -EMFILE || error == -ENFILE;
}

static void check_piece(struct view *v, const struct mk_stream_chunk *c,
			const struct mk_stream_piece *p)
{
	struct chaos_streams *w = v->w;
	uint64_t f = p->file;

	while (v->turn <= FILES && (!v->added[v->turn] || v->over[v->turn]))
		v->turn++;
	if (f > FILES || f != v->turn) {
		wrong(w, "a piece of a file whose turn it is not", f,
		      v->turn);
		return;
	}
	if (p->offset != v->at[f] || p->bytes > bytes_of(f) - v->at[f])
		wrong(w, "a piece that is not the next", p->offset, v->at[f]);
	else if (p->before > p->offset || p->before > OVERLAP ||
		 memcmp(c->data + p->at - p->before,
			content(w) + p->offset - p->before,
			p->before + p->bytes) != 0)
		wrong(w, "a piece has other bytes than its file", f,
		      p->offset);
	v->at[f] += p->bytes;
	if (p->flags & MK_PIECE_FAILED && !may_fail(p->error))
		wrong(w, "a file failed", f, (uint64_t)-p->error);
	else if (p->flags & MK_PIECE_LAST && !p->error &&
		 v->at[f] != bytes_of(f))
		wrong(w, "a file ended early", f, v->at[f]);
	v->over[f] = p->flags & MK_PIECE_LAST;
}

static uint64_t sum_of(const struct view *v, const struct mk_stream_chunk *c)
{
	uint64_t sum = v->word;

	for (uint32_t i = 0; i < c->pieces; i++) {
		const struct mk_stream_piece *p = &c->piece[i];
		const unsigned char *d = c->data + p->at - p->before;

		for (uint32_t k = 0; k < p->before + p->bytes; k++)
			sum = sum * 31 + d[k];
	}
	return sum;
}

static void check_chunk(struct view *v, const struct mk_stream_chunk *c)
{
	enum chaos_ending ending = chaos_ending_of(c->error);
	struct chaos_streams *w = v->w;
	uint64_t sum = sum_of(v, c);

	w->tally.submitted++;
	w->tally.ending[ending]++;
	for (uint32_t i = 0; i < c->pieces; i++)
		check_piece(v, c, &c->piece[i]);
	if (ending == CHAOS_END_OK &&
	    (*(const uint64_t *)c->result != sum || c->value != (sum ^ 5)))
		wrong(w, "a chunk has another result", c->sequence, c->value);
	else if (ending != CHAOS_END_OK && ending != CHAOS_END_NOT_RUN &&
		 ending != CHAOS_END_MAY_RUN && ending != CHAOS_END_POISON &&
		 ending != CHAOS_END_HUNG)
		wrong(w, "a chunk ended otherwise", c->sequence,
		      (uint64_t)-c->error);
	mk_count(&w->chunks, 1);
}

/* ---- a stream ------------------------------------------------------------ */

static void add_pipe(struct view *v, struct mk_stream *s)
{
	int fd[2];

	if (pipe(fd))
		return;
	v->added[FILES] = write(fd[1], content(v->w), PIPE_BYTES) ==
				  (ssize_t)PIPE_BYTES &&
			  !mk_stream_add_fd(s, fd[0], FILES);
	close(fd[0]);
	close(fd[1]);
}

static void add_files(struct view *v, struct mk_stream *s)
{
	char path[40];

	for (uint32_t i = 0; i < FILES; i++) {
		int fd = v->w->fd[i];

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		v->added[i] = i & 1 ? !mk_stream_add_path(s, path, i) :
				      !mk_stream_add_fd(s, fd, i);
	}
	add_pipe(v, s);
}

static bool all_over(const struct view *v)
{
	for (uint32_t i = 0; i <= FILES; i++)
		if (v->added[i] && !v->over[i])
			return false;
	return true;
}

/* The files once, while they come. False: that was the end of it. */
static bool pass_once(struct view *v, struct mk_stream *s)
{
	struct chaos_streams *w = v->w;
	struct mk_stream_chunk c;
	int r = 1;

	*v = (struct view){ .w = w, .word = v->word };
	add_files(v, s);
	while (!all_over(v)) {
		r = mk_stream_next(s, &c, LAST_WAIT_NS);
		if (r <= 0)
			break;
		check_chunk(v, &c);
		mk_stream_release(s, &c);
		if (w->leave && w->leave-- == 1)
			return false; /* in the middle */
	}
	if (r == -ETIME) {
		w->tally.lost++;
		chaos_complain(w->chaos, "stream %llu: a chunk does not come",
			       (unsigned long long)w->streams);
	} else if (r < 0) {
		wrong(w, "it could not go on", (uint64_t)-r, 0);
	} else if (!r) {
		wrong(w, "it ended too early", v->turn, 0);
	}
	return r > 0;
}

static void check_end(struct chaos_streams *w, struct mk_stream *s)
{
	struct mk_stream_chunk c;
	int r;

	mk_stream_end(s);
	r = mk_stream_next(s, &c, LAST_WAIT_NS);
	if (r)
		wrong(w, "it has no end", (uint64_t)r, 0);
}

/* Its buffers are commands, for which a process that was stopped has longer to
 * answer than for slots: so a stream is kept for a while. */
static void stream_once(struct chaos_streams *w)
{
	struct mk_stream_params p = {
		.size = sizeof(p), .handler = "chaos_sums", .chunks = 4,
		.chunk_bytes = CHUNK, .overlap_bytes = OVERLAP,
		.result_bytes = 8, .pieces_max = 4, .files_max = 3,
	};
	uint64_t passes = PASSES;
	struct view v = { .w = w };
	struct mk_stream *s;
	bool whole = true;
	int r;

	w->random = chaos_mix(w->random);
	p.flags = (w->random & 1 ? MK_STREAM_NO_URING : 0u) |
		  (w->random & 2 ? MK_STREAM_IDEMPOTENT : 0u) |
		  (w->random & 4 ? MK_STREAM_CALLER : 0u);
	p.word = v.word = w->random;
	w->leave = w->random >> 62 ? 0 : 1 + (w->random >> 8) % 256;
	/* no descriptors, no memory, or no device just now */
	if (mk_stream_create(w->chaos->load.ctx, &p, &s) < 0)
		return nap();
	while (whole && passes-- &&
	       mk_load_acquire(&w->chaos->phase) == CHAOS_GO)
		whole = pass_once(&v, s);
	if (whole)
		check_end(w, s);
	r = mk_stream_destroy(s, LAST_WAIT_NS);
	if (r)
		wrong(w, "it could not be destroyed", (uint64_t)-r, 0);
	mk_count(&w->streams, 1);
}

static void *stream_main(void *arg)
{
	struct chaos_streams *w = arg;

	while (chaos_load_go_on(w->chaos, true) && !w->tally.lost) {
		if (mk_load_acquire(&w->chaos->phase) == CHAOS_GO)
			stream_once(w);
		nap();
	}
	/* so that nobody waits for us to hold still */
	while (chaos_load_go_on(w->chaos, true))
		nap();
	return NULL;
}

/* ---- making it ----------------------------------------------------------- */

int chaos_streams_open(struct chaos *c)
{
	struct chaos_streams *w = &c->load.streams;
	int r;

	w->chaos = c;
	w->random = chaos_mix(c->plan.seed ^ 55);
	for (uint32_t i = 0; i < sizeof(w->bytes); i++)
		w->bytes[i] = (unsigned char)chaos_mix(c->plan.seed ^ i << 7);
	for (uint32_t i = 0; i < FILES; i++) {
		w->fd[i] = chaos_file(c, w->bytes, sizes[i]);
		if (w->fd[i] < 0)
			return -1;
		lseek(w->fd[i], 0, SEEK_SET);
	}
	r = mk_module_load_source(c->load.ctx, "stream.c",
				  chaos_stream_source, 0, NULL);
	if (r < 0)
		cli_library_error("chaos", "stream", r);
	return r < 0 ? -1 : 0;
}

int chaos_streams_start(struct chaos *c)
{
	struct chaos_streams *w = &c->load.streams;

	mk_add_relaxed(&c->threads, 1);
	w->started = !pthread_create(&w->thread, NULL, stream_main, w);
	if (w->started)
		return 0;
	mk_sub_seq(&c->threads, 1);
	cli_error("chaos", "cannot start a thread");
	return -1;
}

void chaos_streams_stop(struct chaos *c)
{
	struct chaos_streams *w = &c->load.streams;

	if (w->started)
		pthread_join(w->thread, NULL);
	w->started = false;
	for (uint32_t i = 0; i < FILES; i++) {
		if (w->fd[i] > 0)
			close(w->fd[i]);
		w->fd[i] = -1;
	}
}
