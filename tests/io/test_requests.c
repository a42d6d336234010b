/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 300 */
/* Requests of handlers, on every engine: what they ask for is done and
 * answered, and what they may not ask for is answered too. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <megakernel/io.h>

#include "queue/queue.h"
#include "support/conform.h"

#define PAGE 4096u
#define FILE_BYTES (300u << 10) /* more than the staging of a service */

static const char source[] =
	"#include <megakernel/handler.h>\n"
	"struct ask { uint32_t op, buffer_offset; uint64_t file, buffer,\n"
	"	     offset, bytes, tag; };\n"
	"MK_HANDLER(ask, struct ask)\n"
	"{\n"
	"	struct mk_io_record r = { 0 };\n"
	"	uint64_t at = 0;\n"
	"	int32_t e;\n"
	"	if (mk_lane(task) != 0)\n"
	"		return 0;\n"
	"	r.op = args->op;\n"
	"	r.tag = args->tag;\n"
	"	r.source = args->op == 2 ? args->buffer : args->file;\n"
	"	r.target = args->op == 2 ? args->file : args->buffer;\n"
	"	r.offset = args->offset;\n"
	"	r.bytes = args->bytes;\n"
	"	r.buffer_offset = args->buffer_offset;\n"
	"	e = mk_io_request(task, &r, &at);\n"
	"	mk_value(task, at);\n"
	"	return e;\n"
	"}\n"
	"struct look { uint64_t at; };\n"
	"MK_HANDLER(look, struct look)\n"
	"{\n"
	"	uint64_t bytes = 99;\n"
	"	int32_t e;\n"
	"	if (mk_lane(task) != 0)\n"
	"		return 0;\n"
	"	e = mk_io_answer(task, args->at, &bytes);\n"
	"	mk_value(task, bytes);\n"
	"	return e;\n"
	"}\n"
	/* asks, and goes on when it has the bytes; meanwhile its worker does
	 * something else */
	"struct fetch { uint64_t file; struct mk_ref buffer; uint64_t offset,\n"
	"	       at; uint32_t bytes, asked; };\n"
	"MK_HANDLER_THREAD(fetch, struct fetch)\n"
	"{\n"
	"	struct fetch next = *args;\n"
	"	struct mk_io_record r = { 0 };\n"
	"	const unsigned char *data;\n"
	"	uint64_t moved = 0, sum = 0;\n"
	"	int32_t e = 0;\n"
	"	if (!args->asked) {\n"
	"		r.op = 1;\n"
	"		r.source = args->file;\n"
	"		r.target = args->buffer.index |\n"
	"			   (uint64_t)args->buffer.generation << 32;\n"
	"		r.offset = args->offset;\n"
	"		r.bytes = args->bytes;\n"
	"		r.buffer_offset = (uint32_t)args->offset;\n"
	"		e = mk_io_request(task, &r, &next.at);\n"
	"		if (e && e != -MK_EFULL)\n"
	"			return e;\n"
	"		next.asked = !e;\n"
	"		return mk_yield(task, &next, sizeof(next));\n"
	"	}\n"
	"	e = mk_io_answer(task, args->at, &moved);\n"
	"	if (e == 0)\n"
	"		return mk_yield(task, &next, sizeof(next));\n"
	"	data = mk_read_at(task, args->buffer, args->offset,\n"
	"			  args->bytes);\n"
	"	if (e < 0 || !data)\n"
	"		return e < 0 ? e : mk_fail(task);\n"
	"	for (uint32_t i = 0; i < moved; i++)\n"
	"		sum += data[i];\n"
	"	mk_value(task, sum);\n"
	"	return e;\n"
	"}\n";

struct fetch {
	uint64_t file;
	struct mk_ref buffer;
	uint64_t offset, at;
	uint32_t bytes, asked;
};

struct ask {
	uint32_t op, buffer_offset;
	uint64_t file, buffer, offset, bytes, tag;
};

struct rig {
	struct mk_ctx *ctx;
	struct mk_queue *q;
	struct mk_io *io;
	uint16_t ask, look;
	int fd;
	uint32_t file;  /* read and write */
	mk_buffer_t buffer; /* FILE_BYTES */
	unsigned char *data; /* what is in the file */
	unsigned char *back;
};

static uint16_t opcode(struct mk_ctx *ctx, const char *name)
{
	struct mk_handler_info info;

	assert_int_equal(mk_handler_find(ctx, name, &info), 0);
	return info.opcode;
}

static int temporary(void)
{
	char path[] = "/tmp/mk-io-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	assert_true(fd >= 0);
	unlink(path);
	return fd;
}

static struct rig begin(struct mk_ctx *ctx, uint32_t flags, uint32_t records,
			uint32_t buffer_flags)
{
	struct mk_queue_params qp = { .size = sizeof(qp), .entries = 64,
				      .io_records = records };
	struct mk_io_params p = { .size = sizeof(p), .flags = flags,
				  .entries = 8, .staging_bytes = 64u << 10 };
	struct rig r = { .ctx = ctx };
	struct mk_handler_info info;
	uint64_t seed = 7;

	if (mk_handler_find(ctx, "ask", &info))
		assert_int_equal(mk_module_load_source(ctx, "ask.c", source, 0,
						       NULL), 0);
	r.ask = opcode(ctx, "ask");
	r.look = opcode(ctx, "look");
	assert_int_equal(mk_queue_create(ctx, &qp, &r.q), 0);
	assert_int_equal(mk_io_create(ctx, &p, &r.io), 0);
	assert_int_equal(mk_io_queue_add(r.io, r.q), 0);
	r.data = test_malloc(FILE_BYTES);
	r.back = test_malloc(FILE_BYTES);
	for (unsigned i = 0; i < FILE_BYTES; i++)
		r.data[i] = (unsigned char)support_random(&seed);
	r.fd = temporary();
	assert_int_equal(write(r.fd, r.data, FILE_BYTES), FILE_BYTES);
	assert_int_equal(mk_io_file_add(r.io, r.fd, MK_IO_MAY_READ |
					MK_IO_MAY_WRITE, &r.file), 0);
	assert_int_equal(mk_buffer_create(ctx, FILE_BYTES, buffer_flags,
					  &r.buffer), 0);
	return r;
}

static void end(struct rig *r)
{
	assert_int_equal(mk_io_destroy(r->io, SUPPORT_NS), 0);
	assert_int_equal(mk_buffer_destroy(r->ctx, r->buffer, SUPPORT_NS), 0);
	support_queue_end(r->q);
	close(r->fd);
	test_free(r->data);
	test_free(r->back);
}

static struct ask request(const struct rig *r, uint32_t op, uint64_t offset,
			  uint64_t bytes, uint32_t buffer_offset)
{
	return (struct ask){ .op = op, .file = r->file, .buffer = r->buffer,
			     .offset = offset, .bytes = bytes,
			     .buffer_offset = buffer_offset };
}

static uint64_t post(struct rig *r, const struct ask *a)
{
	struct mk_completion c = support_call(r->q, r->ask, a, sizeof(*a));

	assert_int_equal(c.result, 0);
	return c.value;
}

static struct mk_completion look(struct rig *r, uint64_t at)
{
	return support_call(r->q, r->look, &at, sizeof(at));
}

/* Serve, if no thread does, until the request has its answer. */
static int32_t answer(struct rig *r, uint64_t at, uint64_t *bytes)
{
	uint64_t deadline = support_now() + SUPPORT_NS;
	struct mk_completion c;

	for (;;) {
		int n = mk_io_run_once(r->io, SUPPORT_MS);

		assert_true(n >= 0 || n == -EBUSY);
		c = look(r, at);
		if (c.result)
			break;
		assert_int_equal(c.value, 99); /* untouched */
		assert_true(support_now() < deadline);
		support_sleep(SUPPORT_MS / 4);
	}
	if (bytes)
		*bytes = c.value;
	return c.result;
}

static int32_t ask(struct rig *r, const struct ask *a, uint64_t *bytes)
{
	return answer(r, post(r, a), bytes);
}

static void read_back(struct rig *r, uint64_t offset, uint64_t bytes)
{
	assert_int_equal(mk_buffer_read(r->ctx, r->buffer, offset, r->back,
					bytes), 0);
}

/* ---- what is asked is done ---------------------------------------------- */

static void reads_with(struct conform *c, uint32_t flags, uint32_t kind)
{
	static const uint64_t sizes[] = { 0, 1, 511, PAGE, PAGE + 1, 65536,
					  65537, FILE_BYTES };
	struct rig r = begin(c->ctx, flags, 16, kind);
	uint64_t bytes;

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t n = sizes[i], at = n < FILE_BYTES ? 3 : 0;
		struct ask a = request(&r, MK_IO_READ, at, n, (uint32_t)at);

		assert_int_equal(ask(&r, &a, &bytes), MK_IO_DONE);
		assert_int_equal(bytes, n);
		read_back(&r, at, n);
		assert_memory_equal(r.back, r.data + at, n);
	}
	end(&r);
}

static void reads(struct conform *c)
{
	reads_with(c, 0, 0);
	reads_with(c, 0, MK_BUFFER_HOST);
	reads_with(c, MK_IO_NO_URING, 0);
	reads_with(c, MK_IO_THREAD, 0);
	reads_with(c, MK_IO_THREAD | MK_IO_NO_URING, MK_BUFFER_HOST);
}

static void writes(struct conform *c)
{
	for (uint32_t flags = 0; flags <= MK_IO_NO_URING;
	     flags += MK_IO_NO_URING) {
		struct rig r = begin(c->ctx, flags, 16, 0);
		struct ask a = request(&r, MK_IO_WRITE, 5, FILE_BYTES - 9, 9);
		uint64_t bytes;

		memset(r.data, 0x5a, FILE_BYTES);
		r.data[9] = 1;
		r.data[FILE_BYTES - 1] = 2;
		assert_int_equal(mk_buffer_write(r.ctx, r.buffer, 0, r.data,
						 FILE_BYTES), 0);
		assert_int_equal(ask(&r, &a, &bytes), MK_IO_DONE);
		assert_int_equal(bytes, FILE_BYTES - 9);
		assert_int_equal(pread(r.fd, r.back, FILE_BYTES, 5),
				 FILE_BYTES - 5);
		assert_memory_equal(r.back, r.data + 9, FILE_BYTES - 9);
		/* beyond its end the file grows */
		a = request(&r, MK_IO_WRITE, FILE_BYTES, 100, 0);
		assert_int_equal(ask(&r, &a, &bytes), MK_IO_DONE);
		assert_int_equal(lseek(r.fd, 0, SEEK_END), FILE_BYTES + 100);
		end(&r);
	}
}

static void short_reads(struct conform *c)
{
	struct rig r = begin(c->ctx, 0, 16, 0);
	struct ask a = request(&r, MK_IO_READ, FILE_BYTES - 10, 100, 0);
	struct mk_io_stats s;
	uint64_t bytes;

	assert_int_equal(ask(&r, &a, &bytes), MK_IO_SHORT);
	assert_int_equal(bytes, 10);
	read_back(&r, 0, 10);
	assert_memory_equal(r.back, r.data + FILE_BYTES - 10, 10);
	a = request(&r, MK_IO_READ, FILE_BYTES + PAGE, 100, 0);
	assert_int_equal(ask(&r, &a, &bytes), MK_IO_SHORT);
	assert_int_equal(bytes, 0);
	assert_int_equal(mk_io_stats(r.io, &s), 0);
	assert_int_equal(s.taken, 2);
	assert_int_equal(s.answered, 2);
	assert_int_equal(s.short_reads, 2);
	assert_int_equal(s.bytes_read, 10);
	end(&r);
}

/* Posted by one slot, looked at by another, much later and in any order. */
static void prefetch(struct conform *c)
{
	struct rig r = begin(c->ctx, MK_IO_THREAD, 64, MK_BUFFER_HOST);
	uint64_t at[32], bytes;

	for (unsigned i = 0; i < 32; i++) {
		struct ask a = request(&r, MK_IO_READ, i * PAGE, PAGE,
				       i * PAGE);

		at[i] = post(&r, &a);
	}
	for (unsigned i = 32; i-- > 0;) {
		assert_int_equal(answer(&r, at[i], &bytes), MK_IO_DONE);
		assert_int_equal(bytes, PAGE);
	}
	read_back(&r, 0, 32 * PAGE);
	assert_memory_equal(r.back, r.data, 32 * PAGE);
	end(&r);
}

/* Many more slots than workers wait for their bytes at once, with fewer places
 * in the IO queue than slots: none blocks another, each gets its own. */
static void waits(struct conform *c)
{
	struct rig r = begin(c->ctx, MK_IO_THREAD, 16, MK_BUFFER_HOST);
	struct mk_completion done;
	uint64_t sum;

	for (uint64_t i = 0; i < 40; i++) {
		struct fetch f = { .file = r.file,
				   .buffer = mk_buffer_ref(r.buffer),
				   .offset = i * PAGE, .bytes = PAGE };

		support_submit(r.q, opcode(c->ctx, "fetch"), i, &f,
			       sizeof(f));
	}
	for (unsigned n = 0; n < 40; n++) {
		done = support_reap(r.q);
		assert_int_equal(done.result, MK_IO_DONE);
		sum = 0;
		for (unsigned i = 0; i < PAGE; i++)
			sum += r.data[done.user_data * PAGE + i];
		assert_int_equal(done.value, sum);
	}
	end(&r);
}

static void fences(struct conform *c)
{
	struct rig r = begin(c->ctx, 0, 64, 0);
	struct ask f = request(&r, MK_IO_FENCE, 0, 0, 0);
	uint64_t at[9], fence, bytes;

	/* nothing is before the first */
	assert_int_equal(ask(&r, &f, &bytes), MK_IO_DONE);
	for (unsigned i = 0; i < 9; i++) {
		struct ask a = request(&r, MK_IO_READ, 0, FILE_BYTES, 0);

		at[i] = post(&r, &a);
	}
	fence = post(&r, &f);
	assert_int_equal(answer(&r, fence, NULL), MK_IO_DONE);
	for (unsigned i = 0; i < 9; i++)
		assert_int_equal(look(&r, at[i]).result, MK_IO_DONE);
	end(&r);
}

/* ---- and what is wrong is answered -------------------------------------- */

static void files_refused(struct conform *c)
{
	struct rig r = begin(c->ctx, 0, 16, 0);
	struct ask a = request(&r, MK_IO_READ, 0, 8, 0);
	static const uint64_t bad[] = { 0, 1, 255, 256, 65535, 65536 * 2,
					1ull << 32, UINT64_MAX };
	uint32_t only;
	uint64_t bytes;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		a.file = bad[i];
		assert_int_equal(ask(&r, &a, &bytes), -EBADF);
		assert_int_equal(bytes, 0);
	}
	a.file = r.file | 1ull << 32; /* the low half is right */
	assert_int_equal(ask(&r, &a, &bytes), -EBADF);
	assert_int_equal(mk_io_file_add(r.io, r.fd, MK_IO_MAY_READ, &only), 0);
	a.file = only;
	assert_int_equal(ask(&r, &a, &bytes), MK_IO_DONE);
	a.op = MK_IO_WRITE;
	assert_int_equal(ask(&r, &a, &bytes), -MK_EACCESS);
	assert_int_equal(mk_io_file_remove(r.io, only), 0);
	assert_int_equal(mk_io_file_remove(r.io, only), -EBADF);
	a.op = MK_IO_READ;
	assert_int_equal(ask(&r, &a, &bytes), -EBADF);
	/* the place is taken again, the index is not */
	assert_int_equal(mk_io_file_add(r.io, r.fd, MK_IO_MAY_WRITE, &only),
			 0);
	assert_int_equal(ask(&r, &a, &bytes), -EBADF);
	a.file = only;
	assert_int_equal(ask(&r, &a, &bytes), -MK_EACCESS);
	end(&r);
}

static void ranges_refused(struct conform *c)
{
	struct rig r = begin(c->ctx, 0, 16, 0);
	const struct {
		uint64_t offset, bytes;
		uint32_t buffer_offset;
	} bad[] = {
		{ 0, FILE_BYTES + PAGE, 0 },
		{ 0, 1, FILE_BYTES + PAGE },
		{ 0, UINT64_MAX, 0 },
		{ 0, UINT64_MAX, 1 },
		{ UINT64_MAX, 1, 0 },
		{ 1ull << 63, 1, 0 },
		{ INT64_MAX, 1, 0 },
		{ 0, 1, UINT32_MAX },
	};
	struct mk_io_stats s;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (uint32_t op = MK_IO_READ; op <= MK_IO_WRITE; op++) {
			struct ask a = request(&r, op, bad[i].offset,
					       bad[i].bytes,
					       bad[i].buffer_offset);

			assert_int_equal(ask(&r, &a, NULL), -MK_ERANGE);
		}
	assert_int_equal(mk_io_stats(r.io, &s), 0);
	assert_int_equal(s.refused, 16);
	assert_int_equal(s.answered, 16);
	assert_int_equal(lseek(r.fd, 0, SEEK_END), FILE_BYTES);
	end(&r);
}

static void buffers_refused(struct conform *c)
{
	struct rig r = begin(c->ctx, 0, 16, 0);
	struct ask a = request(&r, MK_IO_READ, 0, 8, 0);
	mk_buffer_t fixed, gone;

	assert_int_equal(mk_buffer_create(c->ctx, PAGE, MK_BUFFER_READ_ONLY,
					  &fixed), 0);
	assert_int_equal(mk_buffer_create(c->ctx, PAGE, 0, &gone), 0);
	assert_int_equal(mk_buffer_destroy(c->ctx, gone, SUPPORT_NS), 0);
	a.buffer = 0;
	assert_int_equal(ask(&r, &a, NULL), -MK_EFOREIGN);
	a.buffer = UINT64_MAX;
	assert_int_equal(ask(&r, &a, NULL), -MK_EFOREIGN);
	a.buffer = gone;
	assert_int_equal(ask(&r, &a, NULL), -MK_ESTALE);
	a.buffer = fixed;
	assert_int_equal(ask(&r, &a, NULL), -MK_EACCESS);
	a.op = MK_IO_WRITE; /* reads the buffer */
	assert_int_equal(ask(&r, &a, NULL), MK_IO_DONE);
	for (uint32_t op = 0; op < 1000; op += op ? 333 : 4) {
		a.op = op;
		assert_int_equal(ask(&r, &a, NULL), -MK_EARGS);
	}
	assert_int_equal(mk_buffer_destroy(c->ctx, fixed, SUPPORT_NS), 0);
	end(&r);
}

static void full(struct conform *c)
{
	struct rig r = begin(c->ctx, 0, 4, 0);
	struct ask a = request(&r, MK_IO_READ, 0, 8, 0);
	uint64_t at[4];
	struct mk_io_stats s;

	for (unsigned i = 0; i < 4; i++)
		at[i] = post(&r, &a);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(support_call(r.q, r.ask, &a, sizeof(a))
					 .result, -MK_EFULL);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(look(&r, at[i]).result, 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(answer(&r, at[i], NULL), MK_IO_DONE);
	assert_int_equal(mk_io_stats(r.io, &s), 0);
	assert_int_equal(s.full, 3);
	assert_int_equal(s.taken, 4);
	assert_int_equal(s.in_flight, 0);
	/* there is room again, and answers are gone where it was used */
	a.bytes = 9;
	assert_int_equal(ask(&r, &a, NULL), MK_IO_DONE);
	assert_int_equal(look(&r, at[0]).result, -MK_ESTALE);
	assert_int_equal(look(&r, at[1]).result, MK_IO_DONE);
	assert_int_equal(look(&r, at[1] + 1000).result, -MK_ESTALE);
	end(&r);
}

/* ---- what serving is made of ------------------------------------------- */

static void hold(struct conform *c)
{
	struct mk_buffer_held held;
	mk_buffer_t b;

	assert_int_equal(mk_buffer_create(c->ctx, 100, MK_BUFFER_HOST |
					  MK_BUFFER_READ_ONLY, &b), 0);
	assert_int_equal(mk_buffer_hold(c->ctx, b, &held), 0);
	assert_int_equal(mk_buffer_hold(c->ctx, b, &held), 0);
	assert_non_null(held.memory);
	assert_int_equal(held.bytes, 100);
	assert_int_equal(held.flags, MK_BUFFER_HOST | MK_BUFFER_READ_ONLY);
	assert_int_equal(mk_buffer_destroy(c->ctx, b, SUPPORT_MS), -ETIME);
	support_error(-ETIME, "still held by 2 of mk_buffer_hold()", NULL);
	assert_int_equal(mk_buffer_let(c->ctx, b), 0);
	assert_int_equal(mk_buffer_destroy(c->ctx, b, 0), -ETIME);
	assert_int_equal(mk_buffer_let(c->ctx, b), 0);
	assert_int_equal(mk_buffer_let(c->ctx, b), -EINVAL);
	assert_int_equal(mk_buffer_destroy(c->ctx, b, SUPPORT_NS), 0);
	assert_int_equal(mk_buffer_hold(c->ctx, b, &held), -MK_ESTALE);
	assert_int_equal(mk_buffer_hold(c->ctx, 0, &held), -MK_EFOREIGN);
}

static void copies(struct conform *c)
{
	static const uint32_t flags[] = { 0, MK_BUFFER_HOST };
	unsigned char data[3 * PAGE], back[3 * PAGE];
	mk_buffer_t from, to;

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)(i * 7 >> 3);
	for (unsigned k = 0; k < 2; k++) {
		/* one of them has memory here, whatever the engine */
		assert_int_equal(mk_buffer_create(c->ctx, sizeof(data),
						  flags[k], &from), 0);
		assert_int_equal(mk_buffer_create(c->ctx, sizeof(data),
						  flags[1 - k], &to), 0);
		assert_int_equal(mk_buffer_write(c->ctx, from, 0, data,
						 sizeof(data)), 0);
		assert_int_equal(mk_buffer_copy(c->ctx, to, 16, from, PAGE,
						2 * PAGE), 0);
		assert_int_equal(mk_buffer_read(c->ctx, to, 16, back,
						2 * PAGE), 0);
		assert_memory_equal(back, data + PAGE, 2 * PAGE);
		assert_int_equal(mk_buffer_copy(c->ctx, to, 0, from, 0, 0),
				 0);
		assert_int_equal(mk_buffer_copy(c->ctx, to, PAGE + 1, from, 0,
						2 * PAGE), -MK_ERANGE);
		assert_int_equal(mk_buffer_copy(c->ctx, to, 0, from,
						UINT64_MAX, 2), -MK_ERANGE);
		assert_int_equal(mk_buffer_copy(c->ctx, to, 0, to, PAGE - 1,
						PAGE), -EINVAL);
		assert_int_equal(mk_buffer_destroy(c->ctx, from, SUPPORT_NS),
				 0);
		assert_int_equal(mk_buffer_copy(c->ctx, to, 0, from, 0, 1),
				 -MK_ESTALE);
		assert_int_equal(mk_buffer_destroy(c->ctx, to, SUPPORT_NS),
				 0);
	}
}

/* Answered once, in any order, places freed in order; and a count that a
 * handler wrote over is not believed. */
static void by_hand(struct conform *c)
{
	struct rig r = begin(c->ctx, 0, 4, 0);
	struct mk_io_asked asked[4];
	struct mk_io_info info;
	struct ask a = request(&r, 77, 5, 6, 7);

	assert_int_equal(mk_io_queue_remove(r.io, r.q, SUPPORT_NS), 0);
	for (unsigned i = 0; i < 3; i++)
		post(&r, &a);
	assert_int_equal(mk_queue_io_take(r.q, asked, 2), 2);
	assert_int_equal(mk_queue_io_take(r.q, asked + 2, 2), 1);
	assert_int_equal(mk_queue_io_take(r.q, asked + 3, 1), 0);
	assert_int_equal(asked[2].at, 2);
	assert_int_equal(asked[2].op, 77);
	assert_int_equal(asked[2].offset, 5);
	assert_int_equal(asked[2].bytes, 6);
	assert_int_equal(asked[2].buffer_offset, 7);
	assert_int_equal(mk_queue_io_answer(r.q, 3, -5, 0), -EINVAL);
	assert_int_equal(mk_queue_io_answer(r.q, 2, 0, 0), -EINVAL);
	assert_int_equal(mk_queue_io_answer(r.q, 2, -5, 0), 0);
	assert_int_equal(mk_queue_io_answer(r.q, 2, -5, 0), -EINVAL);
	assert_int_equal(mk_queue_io_info(r.q, &info), 0);
	assert_int_equal(info.taken, 0);
	assert_int_equal(mk_queue_io_answer(r.q, 0, 1, 6), 0);
	assert_int_equal(mk_queue_io_answer(r.q, 1, 1, 6), 0);
	assert_int_equal(mk_queue_io_info(r.q, &info), 0);
	assert_int_equal(info.taken, 3);
	assert_int_equal(info.posted, 3);
	mk_queue_io(r.q)->posted = 100; /* as a handler can */
	assert_int_equal(mk_queue_io_take(r.q, asked, 4), -MK_ESHARED);
	mk_queue_io(r.q)->posted = 3;
	assert_int_equal(mk_queue_io_take(r.q, asked, 4), 0);
	end(&r);
}

int main(void)
{
	static const struct conform_case cases[] = {
		{ "reads", reads },
		{ "writes", writes },
		{ "short reads", short_reads },
		{ "prefetch", prefetch },
		{ "waits by yielding", waits },
		{ "fences", fences },
		{ "files refused", files_refused },
		{ "ranges refused", ranges_refused },
		{ "buffers refused", buffers_refused },
		{ "full queue", full },
		{ "hold", hold },
		{ "copies", copies },
		{ "by hand", by_hand },
	};

	return CONFORM_MAIN("io requests", cases);
}
