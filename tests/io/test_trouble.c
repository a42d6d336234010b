/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 300 */
/* What goes wrong around requests and streams, on every engine: disks that are
 * full, files and services that come and go, io_uring that is forbidden, many
 * of everything at once. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <megakernel/io.h>
#include <megakernel/stream.h>

#include "base/order.h"
#include "support/conform.h"

#define PAGE 4096u
#define BYTES (16u * PAGE)
#define STREAMS 12u
#define TINY 30000u

/* Asks, and ends with the answer, having yielded meanwhile; streams are
 * summed. */
static const char source[] =
	"#include <megakernel/chunk.h>\n"
	"struct move { uint64_t file; struct mk_ref buffer; uint64_t offset,\n"
	"	      at; uint32_t bytes, op, asked; };\n"
	"MK_HANDLER_THREAD(move, struct move)\n"
	"{\n"
	"	uint64_t buffer = args->buffer.index |\n"
	"			  (uint64_t)args->buffer.generation << 32;\n"
	"	struct move next = *args;\n"
	"	struct mk_io_record r = { 0 };\n"
	"	uint64_t moved = 0;\n"
	"	int32_t e;\n"
	"	if (!args->asked) {\n"
	"		r.op = args->op;\n"
	"		r.source = args->op == 2 ? buffer : args->file;\n"
	"		r.target = args->op == 2 ? args->file : buffer;\n"
	"		r.offset = args->offset;\n"
	"		r.bytes = args->bytes;\n"
	"		e = mk_io_request(task, &r, &next.at);\n"
	"		if (e && e != -MK_EFULL)\n"
	"			return e;\n"
	"		next.asked = !e;\n"
	"		return mk_yield(task, &next, sizeof(next));\n"
	"	}\n"
	"	e = mk_io_answer(task, args->at, &moved);\n"
	"	if (e == 0)\n"
	"		return mk_yield(task, &next, sizeof(next));\n"
	"	mk_value(task, moved);\n"
	"	return e;\n"
	"}\n"
	"MK_HANDLER_THREAD(total, struct mk_stream_args)\n"
	"{\n"
	"	const struct mk_stream_piece *p = mk_stream_pieces(task, args);\n"
	"	uint64_t sum = 0;\n"
	"	for (uint32_t i = 0; p && i < args->pieces; i++) {\n"
	"		const unsigned char *d = mk_stream_data(task, args,\n"
	"							p + i);\n"
	"		for (uint32_t k = 0; d && k < p[i].bytes; k++)\n"
	"			sum += d[k];\n"
	"	}\n"
	"	mk_value(task, sum);\n"
	"	return p ? MK_OK : mk_fail(task);\n"
	"}\n";

struct move {
	uint64_t file;
	struct mk_ref buffer;
	uint64_t offset, at;
	uint32_t bytes, op, asked;
};

struct rig {
	struct mk_ctx *ctx;
	struct mk_queue *q;
	struct mk_io *io;
	uint16_t move;
	int fd;
	uint32_t file; /* read and write */
	mk_buffer_t buffer;
	unsigned char data[BYTES];
};

static void load(struct mk_ctx *ctx, uint16_t *move)
{
	struct mk_handler_info info;

	if (mk_handler_find(ctx, "move", &info))
		assert_int_equal(mk_module_load_source(ctx, "move.c", source,
						       0, NULL), 0);
	assert_int_equal(mk_handler_find(ctx, "move", &info), 0);
	if (move)
		*move = info.opcode;
}

static int temporary(const void *data, size_t bytes)
{
	char path[] = "/tmp/mk-trouble-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	assert_true(fd >= 0);
	unlink(path);
	assert_true(write(fd, data, bytes) == (ssize_t)bytes);
	return fd;
}

static void serve(struct rig *r, uint32_t flags)
{
	struct mk_io_params p = { .size = sizeof(p), .entries = 4,
				  .flags = flags | MK_IO_THREAD };

	assert_int_equal(mk_io_create(r->ctx, &p, &r->io), 0);
	/* first: slots may be waiting that name it */
	assert_int_equal(mk_io_file_add(r->io, r->fd, MK_IO_MAY_READ |
					MK_IO_MAY_WRITE, &r->file), 0);
	assert_int_equal(mk_io_queue_add(r->io, r->q), 0);
}

static struct rig *begin(struct mk_ctx *ctx, uint32_t flags)
{
	struct mk_queue_params qp = { .size = sizeof(qp), .entries = 64,
				      .io_records = 8 };
	struct rig *r = test_calloc(1, sizeof(*r));
	uint64_t seed = 11;

	r->ctx = ctx;
	load(ctx, &r->move);
	for (unsigned i = 0; i < BYTES; i++)
		r->data[i] = (unsigned char)support_random(&seed);
	r->fd = temporary(r->data, BYTES);
	assert_int_equal(mk_queue_create(ctx, &qp, &r->q), 0);
	assert_int_equal(mk_buffer_create(ctx, BYTES, 0, &r->buffer), 0);
	assert_int_equal(mk_buffer_write(ctx, r->buffer, 0, r->data, BYTES),
			 0);
	serve(r, flags);
	return r;
}

static void end(struct rig *r)
{
	assert_int_equal(mk_io_destroy(r->io, SUPPORT_NS), 0);
	assert_int_equal(mk_buffer_destroy(r->ctx, r->buffer, SUPPORT_NS), 0);
	support_queue_end(r->q);
	close(r->fd);
	test_free(r);
}

static void submit(struct rig *r, uint64_t id, uint32_t file, uint32_t op,
		   uint64_t offset, uint32_t bytes)
{
	struct move m = { .file = file, .op = op, .offset = offset,
			  .bytes = bytes,
			  .buffer = mk_buffer_ref(r->buffer) };

	support_submit(r->q, r->move, id, &m, sizeof(m));
}

/* ---- full disks ---------------------------------------------------------- */

static void full_disk(struct conform *c)
{
	for (uint32_t flags = 0; flags <= MK_IO_NO_URING;
	     flags += MK_IO_NO_URING) {
		struct rig *r = begin(c->ctx, flags);
		int fd = open("/dev/full", O_RDWR | O_CLOEXEC);
		struct mk_completion done;
		uint32_t full;

		assert_true(fd >= 0);
		assert_int_equal(mk_io_file_add(r->io, fd, MK_IO_MAY_WRITE,
						&full), 0);
		submit(r, 1, full, MK_IO_WRITE, 0, PAGE);
		done = support_reap(r->q);
		assert_int_equal(done.result, -ENOSPC);
		assert_int_equal(done.value, 0);
		submit(r, 2, full, MK_IO_WRITE, 0, 0);
		assert_int_equal(support_reap(r->q).result, MK_IO_DONE);
		close(fd);
		end(r);
	}
}

/* As much as goes is written and told. */
static void no_more_room(struct conform *c)
{
	struct rlimit old, few;
	struct mk_completion done;
	struct rig *r = begin(c->ctx, MK_IO_NO_URING);
	void (*before)(int) = signal(SIGXFSZ, SIG_IGN);

	assert_int_equal(ftruncate(r->fd, 0), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	few = old;
	few.rlim_cur = 5 * PAGE + 7;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &few), 0);
	submit(r, 1, r->file, MK_IO_WRITE, 0, BYTES);
	done = support_reap(r->q);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	signal(SIGXFSZ, before);
	assert_int_equal(done.result, -EFBIG);
	assert_int_equal(done.value, 5 * PAGE + 7);
	assert_int_equal(lseek(r->fd, 0, SEEK_END), 5 * PAGE + 7);
	end(r);
}

/* ---- coming and going ---------------------------------------------------- */

/* A file is taken away while slots ask for it: it is read, or it is none. */
static void files_go(struct conform *c)
{
	struct rig *r = begin(c->ctx, 0);
	unsigned read = 0, gone = 0;

	for (unsigned round = 0; round < 100; round++) {
		uint32_t file;

		assert_int_equal(mk_io_file_add(r->io, r->fd, MK_IO_MAY_READ,
						&file), 0);
		for (unsigned i = 0; i < 16; i++)
			submit(r, i, file, MK_IO_READ, 0, BYTES);
		for (unsigned i = 0; i < 16; i++) {
			struct mk_completion done = support_reap(r->q);

			if (i == round % 16)
				assert_int_equal(mk_io_file_remove(r->io,
								   file), 0);
			if (done.result == -EBADF) {
				gone++;
				continue;
			}
			assert_int_equal(done.result, MK_IO_DONE);
			assert_int_equal(done.value, BYTES);
			read++;
		}
	}
	assert_true(read && read + gone == 1600);
	end(r);
}

/* Slots wait while no service is there; whoever comes next serves them. */
static void services_go(struct conform *c)
{
	struct rig *r = begin(c->ctx, 0);
	struct mk_io_stats s;

	for (unsigned round = 0; round < 20; round++) {
		uint32_t file = r->file;

		for (unsigned i = 0; i < 32; i++)
			submit(r, i, file, MK_IO_READ, 0, BYTES);
		assert_int_equal(mk_io_destroy(r->io, SUPPORT_NS), 0);
		serve(r, round & 1 ? MK_IO_NO_URING : 0);
		assert_int_equal(r->file, file);
		assert_int_equal(mk_io_queue_remove(r->io, r->q, SUPPORT_NS),
				 0);
		assert_int_equal(mk_io_queue_remove(r->io, r->q, SUPPORT_NS),
				 -ENOENT);
		assert_int_equal(mk_io_queue_add(r->io, r->q), 0);
		for (unsigned i = 0; i < 32; i++)
			assert_int_equal(support_reap(r->q).result,
					 MK_IO_DONE);
	}
	assert_int_equal(mk_io_stats(r->io, &s), 0);
	assert_int_equal(s.taken, s.answered);
	end(r);
}

/* ---- forbidden ----------------------------------------------------------- */

struct forbidden {
	struct mk_ctx *ctx;
	uint32_t answer; /* errno of io_uring_setup() */
	uint64_t sum;
	bool ok;
};

static bool forbid(uint32_t answer)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | answer),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { 4, code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* All of one stream; false: not what is to come. */
static bool drain(struct mk_stream *s, uint64_t *sum, uint64_t *pieces)
{
	struct mk_stream_chunk k;
	int n;

	while ((n = mk_stream_next(s, &k, SUPPORT_NS)) > 0) {
		*sum += k.value;
		*pieces += k.pieces;
		if (k.error || mk_stream_release(s, &k))
			return false;
	}
	return !n;
}

/* In a thread of its own, for which the filter is. */
static void *without_uring(void *arg)
{
	struct mk_stream_params p = { .size = sizeof(p), .handler = "total",
				      .chunks = 3, .chunk_bytes = PAGE };
	struct forbidden *f = arg;
	struct mk_stream_stats st;
	struct mk_io_stats is;
	struct mk_stream *s;
	struct mk_io *io;
	uint64_t pieces = 0;

	f->ok = forbid(f->answer) && !mk_io_create(f->ctx, NULL, &io) &&
		!mk_io_stats(io, &is) && !is.uring &&
		!mk_io_destroy(io, SUPPORT_NS) &&
		!mk_stream_create(f->ctx, &p, &s);
	if (!f->ok)
		return NULL;
	f->ok = !mk_stream_add_path(s, "/proc/self/exe", 1) &&
		!mk_stream_end(s) && drain(s, &f->sum, &pieces) &&
		!mk_stream_stats(s, &st) && !st.uring;
	mk_stream_destroy(s, SUPPORT_NS);
	return NULL;
}

static void no_uring(struct conform *c)
{
	static const uint32_t answers[] = { EPERM, ENOSYS, EINVAL };
	struct mk_stream_params p = { .size = sizeof(p), .handler = "total" };
	uint64_t sum = 0, pieces = 0;
	struct mk_stream *s;

	load(c->ctx, NULL);
	assert_int_equal(mk_stream_create(c->ctx, &p, &s), 0);
	assert_int_equal(mk_stream_add_path(s, "/proc/self/exe", 1), 0);
	assert_int_equal(mk_stream_end(s), 0);
	assert_true(drain(s, &sum, &pieces) && sum);
	assert_int_equal(mk_stream_destroy(s, SUPPORT_NS), 0);
	for (unsigned i = 0; i < 3; i++) {
		struct forbidden f = { .ctx = c->ctx, .answer = answers[i] };
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, without_uring,
						&f), 0);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_true(f.ok);
		assert_int_equal(f.sum, sum);
	}
}

/* ---- many ---------------------------------------------------------------- */

static void many_streams(struct conform *c)
{
	struct mk_stream *s[STREAMS];
	unsigned char data[BYTES];
	uint64_t want = 0;
	int fd[STREAMS];

	load(c->ctx, NULL);
	for (unsigned i = 0; i < BYTES; i++)
		want += data[i] = (unsigned char)(i * 7 >> 2);
	for (unsigned i = 0; i < STREAMS; i++) {
		struct mk_stream_params p = {
			.size = sizeof(p), .handler = "total", .chunks = 2,
			.chunk_bytes = PAGE, .flags = i & 3, /* enum */
		};

		fd[i] = temporary(data, BYTES);
		lseek(fd[i], 0, SEEK_SET);
		assert_int_equal(mk_stream_create(c->ctx, &p, &s[i]), 0);
		assert_int_equal(mk_stream_add_fd(s[i], fd[i], i), 0);
		assert_int_equal(mk_stream_end(s[i]), 0);
	}
	/* the last first: none holds another up */
	for (unsigned i = STREAMS; i-- > 0;) {
		uint64_t sum = 0, pieces = 0;

		assert_true(drain(s[i], &sum, &pieces));
		assert_int_equal(sum, want);
		assert_int_equal(pieces, BYTES / PAGE);
	}
	for (unsigned i = 0; i < STREAMS; i++) {
		assert_int_equal(mk_stream_destroy(s[i], SUPPORT_NS), 0);
		close(fd[i]);
	}
}

/* Files of one byte: each its piece, packed, in order. */
static void tiny(struct conform *c)
{
	struct mk_stream_params p = { .size = sizeof(p), .handler = "total" };
	char path[] = "/tmp/mk-trouble-XXXXXX";
	struct mk_stream_chunk k;
	struct mk_stream *s;
	uint64_t next = 0, sum = 0;
	int fd = mkostemp(path, O_CLOEXEC);

	load(c->ctx, NULL);
	assert_int_equal(write(fd, "\3", 1), 1);
	assert_int_equal(mk_stream_create(c->ctx, &p, &s), 0);
	for (uint64_t i = 0; i < TINY; i++)
		assert_int_equal(mk_stream_add_path(s, path, i), 0);
	assert_int_equal(mk_stream_end(s), 0);
	while (mk_stream_next(s, &k, SUPPORT_NS) > 0) {
		assert_int_equal(k.error, 0);
		for (uint32_t i = 0; i < k.pieces; i++) {
			assert_int_equal(k.piece[i].file, next++);
			assert_int_equal(k.piece[i].bytes, 1);
			assert_int_equal(k.piece[i].flags, MK_PIECE_FIRST |
					 MK_PIECE_LAST);
		}
		sum += k.value;
		assert_int_equal(mk_stream_release(s, &k), 0);
	}
	assert_int_equal(next, TINY);
	assert_int_equal(sum, 3 * TINY);
	assert_int_equal(mk_stream_destroy(s, SUPPORT_NS), 0);
	unlink(path);
	close(fd);
}

int main(void)
{
	static const struct conform_case cases[] = {
		{ "full disk", full_disk },
		{ "no more room", no_more_room },
		{ "files come and go", files_go },
		{ "services come and go", services_go },
		{ "io_uring is forbidden", no_uring },
		{ "many streams", many_streams },
		{ "tiny files", tiny },
	};

	return CONFORM_MAIN("io trouble", cases);
}
