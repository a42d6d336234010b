/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 300 */
/* Streams on every engine: every byte of every file once, in order, with its
 * overlap, seen by the handler as it is in the file. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <megakernel/stream.h>

#include "support/conform.h"

#define CHUNK 8192u
#define FILES_MAX 600u

/* For each piece a hash of its bytes and those before it. */
static const char source[] =
	"#include <megakernel/chunk.h>\n"
	"MK_HANDLER(digest, struct mk_stream_args)\n"
	"{\n"
	"	const struct mk_stream_piece *p = mk_stream_pieces(task, args);\n"
	"	uint64_t *out = mk_stream_result(task, args,\n"
	"					 8ull * args->pieces);\n"
	"	if (!p || !out)\n"
	"		return mk_fail(task);\n"
	"	for (uint32_t i = mk_lane(task); i < args->pieces;\n"
	"	     i += mk_lanes(task)) {\n"
	"		const unsigned char *d = mk_stream_data(task, args, p + i);\n"
	"		uint64_t h = 14695981039346656037ull;\n"
	"		if (!d)\n"
	"			return mk_fail(task);\n"
	"		d -= p[i].before;\n"
	"		for (uint32_t k = 0; k < p[i].before + p[i].bytes; k++)\n"
	"			h = (h ^ d[k]) * 1099511628211ull;\n"
	"		out[i] = h;\n"
	"	}\n"
	"	mk_value(task, args->word + args->pieces);\n"
	"	return 5;\n"
	"}\n"
	"MK_HANDLER(refuse, struct mk_stream_args)\n"
	"{\n"
	"	(void)task;\n"
	"	return args->pieces ? -77 : -78;\n"
	"}\n"
	"MK_HANDLER(crash, struct mk_stream_args)\n"
	"{\n"
	"	const struct mk_stream_piece *p = mk_stream_pieces(task, args);\n"
	"	if (p && p->offset == args->word)\n"
	"		*(volatile int *)8 = 1;\n"
	"	return 5;\n"
	"}\n";

struct file {
	char path[64];
	unsigned char *data;
	uint64_t bytes;    /* that are to come */
	uint64_t at;       /* that came */
	int32_t error;     /* that it ends with */
	uint32_t flags;    /* its last piece has to have, beside LAST */
	bool any;          /* bytes that came are not looked at */
	bool ended;
};

struct writer {
	pthread_t thread;
	int fd;
	const struct file *f;
	unsigned step;
};

struct rig {
	struct writer writer[16]; /* joined at the end */
	unsigned writers;
	struct mk_ctx *ctx;
	struct mk_stream *s;
	struct mk_stream_params p;
	struct file file[FILES_MAX];
	unsigned files, turn; /* turn: whose pieces come now */
	unsigned chunks, pieces;
	char dir[32];
};

static void load(struct mk_ctx *ctx)
{
	struct mk_handler_info info;

	if (mk_handler_find(ctx, "digest", &info))
		assert_int_equal(mk_module_load_source(ctx, "digest.c", source,
						       0, NULL), 0);
}

static struct rig *begin(struct mk_ctx *ctx, uint32_t flags, uint32_t overlap)
{
	struct rig *r = test_calloc(1, sizeof(*r));

	load(ctx);
	r->ctx = ctx;
	r->p = (struct mk_stream_params){
		.size = sizeof(r->p),
		.flags = flags,
		.handler = "digest",
		.chunks = 4,
		.chunk_bytes = CHUNK,
		.overlap_bytes = overlap,
		.pieces_max = 64,
		.result_bytes = 64 * 8,
		.word = 1000,
	};
	strcpy(r->dir, "/tmp/mk-stream-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	return r;
}

static void start(struct rig *r)
{
	assert_int_equal(mk_stream_create(r->ctx, &r->p, &r->s), 0);
}

static void end(struct rig *r)
{
	assert_int_equal(mk_stream_destroy(r->s, SUPPORT_NS), 0);
	for (unsigned i = 0; i < r->writers; i++)
		pthread_join(r->writer[i].thread, NULL);
	for (unsigned i = 0; i < r->files; i++) {
		unlink(r->file[i].path);
		test_free(r->file[i].data);
	}
	assert_int_equal(rmdir(r->dir), 0);
	test_free(r);
}

static struct file *content(struct rig *r, uint64_t bytes)
{
	struct file *f = &r->file[r->files];
	uint64_t seed = 99 + r->files;

	assert_true(r->files < FILES_MAX);
	snprintf(f->path, sizeof(f->path), "%s/%u", r->dir, r->files++);
	f->data = test_malloc(bytes + 1);
	f->bytes = bytes;
	for (uint64_t i = 0; i < bytes; i++)
		f->data[i] = (unsigned char)support_random(&seed);
	return f;
}

static struct file *file(struct rig *r, uint64_t bytes)
{
	struct file *f = content(r, bytes);
	int fd = open(f->path, O_CREAT | O_WRONLY, 0600);

	assert_true(fd >= 0);
	assert_true(write(fd, f->data, bytes) == (ssize_t)bytes);
	close(fd);
	return f;
}

static void add(struct rig *r, const struct file *f)
{
	assert_int_equal(mk_stream_add_path(r->s, f->path,
					    (uint64_t)(f - r->file)), 0);
}

static uint64_t hash(const unsigned char *d, uint64_t bytes)
{
	uint64_t h = 14695981039346656037ull;

	for (uint64_t i = 0; i < bytes; i++)
		h = (h ^ d[i]) * 1099511628211ull;
	return h;
}

/* One piece is the next one of the file whose turn it is. */
static void check_piece(struct rig *r, const struct mk_stream_chunk *c,
			unsigned i)
{
	const struct mk_stream_piece *p = &c->piece[i];
	const uint64_t *digest = c->result;
	struct file *f = &r->file[r->turn];
	uint64_t before = f->at < r->p.overlap_bytes ? f->at :
						       r->p.overlap_bytes;

	assert_true(r->turn < r->files);
	assert_int_equal(p->file, r->turn);
	assert_int_equal(p->offset, f->at);
	assert_int_equal(p->before, before);
	assert_int_equal(!(p->flags & MK_PIECE_FIRST), f->at || f->ended);
	assert_true(p->at % 64 == 0);
	if (!f->any) {
		assert_true(p->bytes <= f->bytes - f->at);
		assert_memory_equal(c->data + p->at - before,
				    f->data + f->at - before,
				    before + p->bytes);
		assert_true(digest[i] == hash(f->data + f->at - before,
					      before + p->bytes));
	}
	f->at += p->bytes;
	r->pieces++;
	if (!(p->flags & MK_PIECE_LAST)) {
		assert_int_equal(p->error, 0);
		assert_true(p->bytes > 0);
		return;
	}
	f->ended = true;
	assert_int_equal(p->error, f->error);
	assert_int_equal(p->flags & ~(uint32_t)(MK_PIECE_FIRST |
						MK_PIECE_LAST), f->flags);
	if (!f->any)
		assert_int_equal(f->at, f->bytes);
	r->turn++;
}

/* Take one chunk; false: the end. */
static bool take(struct rig *r)
{
	struct mk_stream_chunk c;
	int n = mk_stream_next(r->s, &c, SUPPORT_NS);

	assert_true(n >= 0);
	if (!n)
		return false;
	assert_int_equal(c.sequence, r->chunks++);
	assert_int_equal(c.error, 5);
	assert_int_equal(c.value, 1000 + c.pieces);
	assert_true(c.pieces > 0 && c.pieces <= 64);
	for (unsigned i = 0; i < c.pieces; i++)
		check_piece(r, &c, i);
	assert_int_equal(mk_stream_release(r->s, &c), 0);
	return true;
}

static void finish(struct rig *r)
{
	struct mk_stream_stats st;
	uint64_t bytes = 0;

	assert_int_equal(mk_stream_end(r->s), 0);
	while (take(r))
		;
	assert_int_equal(r->turn, r->files);
	for (unsigned i = 0; i < r->files; i++)
		bytes += r->file[i].at;
	assert_int_equal(mk_stream_stats(r->s, &st), 0);
	assert_int_equal(st.files, r->files);
	assert_int_equal(st.files_done, r->files);
	assert_int_equal(st.bytes, bytes);
	assert_int_equal(st.chunks, r->chunks);
	assert_int_equal(st.chunks_done, r->chunks);
	assert_int_equal(st.pieces, r->pieces);
	assert_int_equal(st.in_flight, 0);
	end(r);
}

/* ---- regular files ------------------------------------------------------ */

static void sizes_with(struct mk_ctx *ctx, uint32_t flags, uint32_t overlap)
{
	static const uint64_t bytes[] = {
		0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 0, 63, 64, 65, 4095, 4096,
		2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1, 0, 0, 9 * CHUNK + 77,
		3, 100000, 0
	};
	struct rig *r = begin(ctx, flags, overlap);

	start(r);
	for (unsigned i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++)
		add(r, file(r, bytes[i]));
	finish(r);
}

static void sizes(struct conform *c)
{
	sizes_with(c->ctx, 0, 0);
	sizes_with(c->ctx, 0, 1);
	sizes_with(c->ctx, 0, 100);
	sizes_with(c->ctx, 0, CHUNK);
	sizes_with(c->ctx, MK_STREAM_CALLER, 31);
	sizes_with(c->ctx, MK_STREAM_NO_URING, 31);
	sizes_with(c->ctx, MK_STREAM_NO_URING | MK_STREAM_CALLER, 31);
	sizes_with(c->ctx, MK_STREAM_DIRECT, 31);
	sizes_with(c->ctx, MK_STREAM_DEVICE, 31);
}

static void many_small(struct conform *c)
{
	for (uint32_t flags = 0; flags <= 3; flags++) {
		struct rig *r = begin(c->ctx, flags, 16);
		uint64_t seed = 3 + flags;

		r->p.files_max = 1 + 16 * flags;
		start(r);
		for (unsigned i = 0; i < 500; i++)
			add(r, file(r, support_random(&seed) % 300));
		/* packed: so few chunks */
		finish(r);
	}
}

/* Descriptors from this number on may not be opened; what is to be set
 * afterwards. */
static struct rlimit limit_descriptors(rlim_t number)
{
	struct rlimit was, few;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	few = was;
	few.rlim_cur = number;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	return was;
}

/* Fewer than files could be open at once: they wait for each other. */
static void few_descriptors(struct conform *c)
{
	for (uint32_t flags = 0; flags <= 3; flags++) {
		struct rig *r = begin(c->ctx, flags, 16);
		struct rlimit was;

		for (unsigned i = 0; i < 200; i++)
			file(r, i % 4 ? 100 : 3 * CHUNK);
		start(r);
		was = limit_descriptors(support_fds() + 5);
		for (unsigned i = 0; i < r->files; i++)
			add(r, &r->file[i]);
		assert_int_equal(mk_stream_end(r->s), 0);
		while (take(r))
			;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
		finish(r);
	}
}

/* The first file is opened through the ring; the second has the last
 * descriptor meanwhile, and gives it up; then there is none for it any more.
 * The third, which has its own from the caller, waits for it, and not it for
 * the third. */
static void no_descriptor(struct conform *c)
{
	static int number = 700; /* that was never looked up */

	for (uint32_t flags = 0; flags <= 2; flags += MK_STREAM_NO_URING) {
		struct rig *r = begin(c->ctx, flags | MK_STREAM_CALLER, 16);
		struct file *first = file(r, 12 * CHUNK), *none = file(r, 0);
		int fd = open(first->path, O_RDONLY), held, third, last;
		struct rlimit was;

		held = fcntl(fd, F_DUPFD, number);
		assert_true(held >= number);
		number = held + 1;
		close(fd);
		unlink(first->path);
		snprintf(first->path, sizeof(first->path), "/proc/self/fd/%d",
			 held);
		none->error = -EMFILE;
		none->flags = MK_PIECE_FAILED;
		third = open(file(r, 3 * CHUNK)->path, O_RDONLY);
		start(r);
		add(r, first);
		add(r, none);
		assert_int_equal(mk_stream_add_fd(r->s, third, 2), 0);
		assert_int_equal(mk_stream_end(r->s), 0);
		last = open("/dev/null", O_RDONLY);
		close(last);
		was = limit_descriptors((rlim_t)last + 1);
		assert_true(take(r));
		limit_descriptors(0);
		while (take(r))
			;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
		close(held);
		close(third);
		finish(r);
	}
}

static void readers(struct conform *c)
{
	for (uint32_t n = 1; n <= 4; n += 3) {
		struct rig *r = begin(c->ctx, 0, 64);

		r->p.readers = n;
		r->p.chunk_bytes = 1u << 17;
		start(r);
		add(r, file(r, 3u << 20));
		add(r, file(r, 77));
		add(r, file(r, (1u << 20) + 1));
		finish(r);
	}
}

/* From a descriptor's position on; the caller may close it at once. */
static void descriptors(struct conform *c)
{
	struct rig *r = begin(c->ctx, 0, 8);
	struct mk_stream_chunk chunk;
	struct file *f = file(r, 3 * CHUNK);
	int fd = open(f->path, O_RDONLY);

	start(r);
	assert_int_equal(lseek(fd, CHUNK + 5, SEEK_SET), CHUNK + 5);
	assert_int_equal(mk_stream_add_fd(r->s, fd, 42), 0);
	close(fd);
	assert_int_equal(mk_stream_add_fd(r->s, 100000, 1), -EBADF);
	assert_int_equal(mk_stream_end(r->s), 0);
	assert_int_equal(mk_stream_add_path(r->s, f->path, 1), -MK_ESTOPPED);
	assert_int_equal(mk_stream_next(r->s, &chunk, SUPPORT_NS), 1);
	assert_int_equal(chunk.piece[0].file, 42);
	assert_int_equal(chunk.piece[0].offset, CHUNK + 5);
	assert_int_equal(chunk.piece[0].bytes, CHUNK);
	assert_memory_equal(chunk.data + chunk.piece[0].at,
			    f->data + CHUNK + 5, CHUNK);
	assert_int_equal(mk_stream_release(r->s, &chunk), 0);
	assert_int_equal(mk_stream_release(r->s, &chunk), -EINVAL);
	assert_int_equal(mk_stream_next(r->s, &chunk, SUPPORT_NS), 1);
	assert_int_equal(chunk.piece[0].bytes, CHUNK - 5);
	assert_int_equal(chunk.piece[0].before, 8);
	assert_int_equal(mk_stream_next(r->s, &chunk, SUPPORT_NS), 0);
	assert_int_equal(mk_stream_next(r->s, &chunk, SUPPORT_NS), 0);
	end(r);
}

/* ---- pipes and sockets -------------------------------------------------- */

static void *write_all(void *arg)
{
	struct writer *w = arg;

	for (uint64_t at = 0; at < w->f->bytes;) {
		uint64_t left = w->f->bytes - at;
		ssize_t n = write(w->fd, w->f->data + at,
				  left < w->step ? left : w->step);

		if (n <= 0)
			break;
		at += (uint64_t)n;
	}
	close(w->fd);
	return NULL;
}

static void pipes_with(struct mk_ctx *ctx, uint32_t flags, bool sockets)
{
	static const uint64_t bytes[] = { 0, 1, CHUNK - 1, CHUNK, CHUNK + 1,
					  7 * CHUNK + 9, 150000 };
	struct rig *r = begin(ctx, flags, 10);

	start(r);
	for (unsigned i = 0; i < 14; i++) {
		struct writer *w = &r->writer[r->writers];
		struct file *f;
		int fd[2];

		/* files in between, packed with what comes */
		if (i % 2) {
			add(r, file(r, 50 * i));
			continue;
		}
		f = content(r, bytes[i / 2]);
		assert_int_equal(sockets ? socketpair(AF_UNIX, SOCK_STREAM, 0,
						      fd) : pipe(fd), 0);
		assert_int_equal(mk_stream_add_fd(r->s, fd[0],
						  (uint64_t)(f - r->file)), 0);
		close(fd[0]);
		*w = (struct writer){ .fd = fd[1], .f = f,
				      .step = i % 4 ? 1000 : 30000 };
		assert_int_equal(pthread_create(&w->thread, NULL, write_all,
						w), 0);
		r->writers++;
	}
	finish(r);
}

static void pipes(struct conform *c)
{
	for (uint32_t flags = 0; flags <= 3; flags++) {
		pipes_with(c->ctx, flags, false);
		pipes_with(c->ctx, flags, true);
	}
}

/* What came is handed on while the pipe stays open; a FIFO by its path. */
static void flushed(struct conform *c)
{
	for (uint32_t flags = 0; flags <= 3; flags++) {
		struct rig *r = begin(c->ctx, flags, 4);
		struct file *f = content(r, 30);
		int fd;

		start(r);
		assert_int_equal(mkfifo(f->path, 0600), 0);
		add(r, f);
		fd = open(f->path, O_RDWR);
		assert_true(fd >= 0);
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(write(fd, f->data + 10 * i, 10), 10);
			while (f->at < 10 * (i + 1))
				assert_true(take(r));
		}
		assert_false(f->ended);
		close(fd);
		finish(r);
	}
}

/* ---- what goes wrong ---------------------------------------------------- */

static struct file *bad(struct rig *r, int32_t error)
{
	struct file *f = content(r, 0);

	f->error = error;
	f->flags = MK_PIECE_FAILED;
	return f;
}

static void unreadable(struct conform *c)
{
	for (uint32_t flags = 0; flags <= 3; flags++) {
		struct rig *r = begin(c->ctx, flags, 4);
		struct file *f;

		start(r);
		add(r, file(r, 10));
		add(r, bad(r, -ENOENT));
		add(r, file(r, 2 * CHUNK));
		f = bad(r, -EISDIR);
		strcpy(f->path, "/tmp");
		add(r, f);
		f = bad(r, -ENXIO); /* a socket cannot be opened */
		strcpy(f->path, "/dev/log-of-nobody");
		f->error = -ENOENT;
		add(r, f);
		if (geteuid()) {
			f = bad(r, -EACCES);
			close(open(f->path, O_CREAT | O_WRONLY, 0));
			add(r, f);
		}
		add(r, file(r, 20));
		finish(r);
	}
}

/* Cut while it is read: the caller holds the ring up, and cuts the file. */
static void cut(struct conform *c)
{
	for (uint32_t flags = 0; flags <= 3; flags++) {
		struct rig *r = begin(c->ctx, flags, 16);
		struct mk_stream_chunk held;
		struct file *f = file(r, 20 * CHUNK);

		f->any = true;
		f->flags = MK_PIECE_CHANGED;
		start(r);
		add(r, f);
		add(r, file(r, 5));
		assert_int_equal(mk_stream_end(r->s), 0);
		assert_int_equal(mk_stream_next(r->s, &held, SUPPORT_NS), 1);
		assert_int_equal(truncate(f->path, CHUNK / 2), 0);
		f->at = held.piece[0].bytes;
		r->chunks = r->pieces = 1;
		assert_int_equal(mk_stream_release(r->s, &held), 0);
		finish(r);
	}
}

static void grown(struct conform *c)
{
	struct rig *r = begin(c->ctx, 0, 16);
	struct mk_stream_chunk held;
	struct file *f = file(r, 20 * CHUNK);
	int fd;

	f->flags = MK_PIECE_CHANGED;
	start(r);
	add(r, f);
	assert_int_equal(mk_stream_next(r->s, &held, SUPPORT_NS), 1);
	fd = open(f->path, O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, "more", 4), 4);
	close(fd);
	f->at = held.piece[0].bytes;
	r->chunks = r->pieces = 1;
	assert_int_equal(mk_stream_release(r->s, &held), 0);
	finish(r);
}

static void proc(struct conform *c)
{
	struct rig *r = begin(c->ctx, 0, 16);
	struct file *f = content(r, 0);

	strcpy(f->path, "/proc/self/maps");
	f->any = true;
	start(r);
	add(r, f);
	add(r, file(r, 9));
	assert_int_equal(mk_stream_end(r->s), 0);
	while (take(r))
		;
	assert_int_equal(r->turn, 2);
	assert_true(f->at > 1000);
	end(r);
}

static void handler_fails(struct conform *c)
{
	struct rig *r = begin(c->ctx, 0, 0);
	struct mk_stream_chunk chunk;
	struct mk_stream_stats st;

	r->p.handler = "refuse";
	start(r);
	add(r, file(r, 6 * CHUNK));
	assert_int_equal(mk_stream_end(r->s), 0);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(mk_stream_next(r->s, &chunk, SUPPORT_NS), 1);
		assert_int_equal(chunk.error, -77);
		assert_int_equal(mk_stream_release(r->s, &chunk), 0);
	}
	assert_int_equal(mk_stream_next(r->s, &chunk, SUPPORT_NS), 0);
	assert_int_equal(mk_stream_stats(r->s, &st), 0);
	assert_int_equal(st.chunks_failed, 6);
	end(r);
}

/* One chunk takes the worker process down; the stream goes on. */
static void handler_crashes(struct conform *c)
{
	struct mk_stream_chunk chunk;
	struct rig *r;

	if (c->isolation == MK_ISOLATION_NONE || strcmp(c->engine, "cpu"))
		return;
	r = begin(c->ctx, MK_STREAM_IDEMPOTENT, 0);
	r->p.handler = "crash";
	r->p.word = 3 * CHUNK;
	start(r);
	add(r, file(r, 12 * CHUNK));
	assert_int_equal(mk_stream_end(r->s), 0);
	for (unsigned i = 0; i < 12; i++) {
		assert_int_equal(mk_stream_next(r->s, &chunk, SUPPORT_NS), 1);
		/* it may run again, and does it again */
		assert_int_equal(chunk.error, i == 3 ? -MK_EPOISON : 5);
		assert_memory_equal(chunk.data + chunk.piece[0].at,
				    r->file[0].data + i * CHUNK, CHUNK);
		assert_int_equal(mk_stream_release(r->s, &chunk), 0);
	}
	assert_int_equal(mk_stream_next(r->s, &chunk, SUPPORT_NS), 0);
	end(r);
}

/* ---- back-pressure, and the end before the end -------------------------- */

static void held_back(struct conform *c)
{
	for (uint32_t flags = 0; flags <= 1; flags++) {
		struct rig *r = begin(c->ctx, flags, 0);
		struct mk_stream_chunk held[4], more;
		struct mk_stream_stats st;

		start(r);
		add(r, file(r, 20 * CHUNK));
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(mk_stream_next(r->s, &held[i],
							SUPPORT_NS), 1);
		assert_int_equal(mk_stream_next(r->s, &more, SUPPORT_NS),
				 -ENOBUFS);
		assert_int_equal(mk_stream_stats(r->s, &st), 0);
		assert_int_equal(st.bytes, 4 * CHUNK); /* and not more */
		/* what is held stays as it is */
		for (unsigned i = 0; i < 4; i++)
			assert_memory_equal(held[i].data +
						    held[i].piece[0].at,
					    r->file[0].data + i * CHUNK,
					    CHUNK);
		for (unsigned i = 4; i-- > 0;)
			assert_int_equal(mk_stream_release(r->s, &held[i]),
					 0);
		r->file[0].at = 4 * CHUNK;
		r->chunks = r->pieces = 4;
		finish(r);
	}
}

static void given_up(struct conform *c)
{
	unsigned fds;

	load(c->ctx); /* keeps descriptors */
	fds = support_fds();
	for (uint32_t flags = 0; flags <= 3; flags++) {
		struct rig *r = begin(c->ctx, flags, 0);
		struct mk_stream_chunk chunk;
		int fd[2];

		start(r);
		for (unsigned i = 0; i < 100; i++)
			add(r, file(r, 1000 * i));
		assert_int_equal(pipe(fd), 0);
		assert_int_equal(mk_stream_add_fd(r->s, fd[0], 1), 0);
		if (flags != 1)
			assert_int_equal(mk_stream_next(r->s, &chunk,
							SUPPORT_NS), 1);
		end(r);
		close(fd[0]);
		close(fd[1]);

		/* one that waits for input that does not come */
		r = begin(c->ctx, flags, 0);
		start(r);
		assert_int_equal(pipe(fd), 0);
		assert_int_equal(mk_stream_add_fd(r->s, fd[0], 1), 0);
		assert_int_equal(mk_stream_next(r->s, &chunk,
						20 * SUPPORT_MS), -ETIME);
		end(r);
		close(fd[0]);
		close(fd[1]);
	}
	assert_int_equal(support_fds(), fds);
}

static void empty(struct conform *c)
{
	struct rig *r = begin(c->ctx, 0, 0);

	start(r);
	finish(r);
}

int main(void)
{
	static const struct conform_case cases[] = {
		{ "sizes", sizes },
		{ "many small files", many_small },
		{ "few descriptors", few_descriptors },
		{ "no descriptor", no_descriptor },
		{ "readers", readers },
		{ "descriptors", descriptors },
		{ "pipes and sockets", pipes },
		{ "flushed", flushed },
		{ "unreadable", unreadable },
		{ "cut", cut },
		{ "grown", grown },
		{ "proc", proc },
		{ "handler fails", handler_fails },
		{ "handler crashes", handler_crashes },
		{ "held back", held_back },
		{ "given up", given_up },
		{ "empty", empty },
	};

	return CONFORM_MAIN("streams", cases);
}
