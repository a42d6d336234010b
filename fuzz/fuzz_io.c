/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers that write what they like into an IO queue, and a service that
 * serves it. It must touch no file but those that are registered, in no way
 * but that, and no buffer but the one that a request names; it answers each
 * request once; and a queue whose counts were written over is given up, not
 * believed.
 *
 * Input: steps, one after the other, each a byte that says what (the rest of
 * it chooses) and then what that takes. Missing bytes are 0.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <megakernel/io.h>

#include "base/order.h"
#include "queue/queue.h"
#include "require.h"

#define RECORDS 8u
#define PAGE 4096u
#define STEPS_MOST 64u

enum { OPEN_READ, OPEN_WRITE, OPEN_BOTH, FILES };
enum { BUFFER_FREE, BUFFER_FIXED, BUFFER_GUARD, BUFFERS };

static struct mk_ctx *ctx;
static int file[FILES + 1]; /* the last is not registered */
static mk_buffer_t buffer[BUFFERS], gone;
static unsigned char *memory[BUFFERS];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *input, *input_end;

static uint8_t byte(void)
{
	return input < input_end ? *input++ : 0;
}

static uint64_t word(unsigned bytes)
{
	uint64_t w = 0;

	for (unsigned i = 0; i < bytes; i++)
		w |= (uint64_t)byte() << (8 * i);
	return w;
}

/* Small, at an edge, or anything. */
static uint64_t number(void)
{
	static const uint64_t edge[] = { 0, 1, PAGE - 1, PAGE, PAGE + 1,
					 2 * PAGE, UINT32_MAX, 1ull << 32,
					 INT64_MAX, 1ull << 63, UINT64_MAX };
	uint8_t how = byte();

	if (how < 160)
		return how * 31u;
	if (how < 240)
		return edge[how % (sizeof(edge) / sizeof(edge[0]))];
	return word(8);
}

static void begin(void)
{
	struct mk_ctx_params p = { .size = sizeof(p), .workers = 1,
				   .isolation = MK_ISOLATION_NONE,
				   .heap_bytes = 16u << 20 };
	static const uint32_t flags[BUFFERS] = { 0, MK_BUFFER_READ_ONLY, 0 };
	void *at;

	REQUIRE(!mk_ctx_create(&p, &ctx));
	for (unsigned i = 0; i <= FILES; i++) {
		file[i] = memfd_create("fuzz", MFD_CLOEXEC);
		REQUIRE(file[i] >= 0);
	}
	for (unsigned i = 0; i < BUFFERS; i++) {
		REQUIRE(!mk_buffer_create(ctx, PAGE, flags[i], &buffer[i]));
		REQUIRE(!mk_buffer_map(ctx, buffer[i], &at));
		memory[i] = at;
	}
	REQUIRE(!mk_buffer_create(ctx, PAGE, 0, &gone));
	REQUIRE(!mk_buffer_destroy(ctx, gone, MK_FOREVER));
}

/* Every file has PAGE bytes of its number, every buffer of its own. */
static void reset(void)
{
	unsigned char page[PAGE];

	for (int i = 0; i <= FILES; i++) {
		memset(page, 0x10 + i, sizeof(page));
		REQUIRE(!ftruncate(file[i], 0));
		REQUIRE(pwrite(file[i], page, PAGE, 0) == PAGE);
	}
	for (int i = 0; i < BUFFERS; i++)
		memset(memory[i], 0x80 + i, PAGE);
}

static void is_all(const unsigned char *at, unsigned char value)
{
	for (unsigned i = 0; i < PAGE; i++)
		REQUIRE(at[i] == value);
}

static void file_is_whole(unsigned i)
{
	unsigned char page[PAGE];

	REQUIRE(lseek(file[i], 0, SEEK_END) == PAGE);
	REQUIRE(pread(file[i], page, PAGE, 0) == PAGE);
	is_all(page, (unsigned char)(0x10 + i));
}

/* ---- steps -------------------------------------------------------------- */

struct run {
	struct mk_queue *q;
	struct mk_io *io;
	uint32_t index[FILES];
	struct mk_io_queue *shared;
	bool scribbled; /* over the counts */
	bool guarded;   /* no request named the guard buffer */
};

static uint64_t some_file(const struct run *r)
{
	uint8_t how = byte();

	return how < 192 ? r->index[how % FILES] : number();
}

static uint64_t some_buffer(struct run *r)
{
	uint8_t how = byte();
	mk_buffer_t b;

	if (how < 160)
		return buffer[how % 2];
	if (how < 192)
		return gone;
	b = number();
	if (b == buffer[BUFFER_GUARD])
		r->guarded = false;
	return b;
}

static struct mk_io_record *place(const struct run *r, uint64_t at)
{
	struct mk_io_record *records = (void *)(r->shared + 1);

	return &records[at % RECORDS];
}

/* As a handler does, with what it likes; or without the end. */
static void post(struct run *r, bool whole)
{
	uint64_t at = mk_load_acquire(&r->shared->posted);
	struct mk_io_record *to = place(r, at);
	uint32_t op = byte() % 5;

	if (at - mk_load_acquire(&r->shared->taken) >= RECORDS)
		return;
	to->op = op < 4 ? op : (uint32_t)word(4);
	to->tag = byte();
	to->source = to->op == MK_IO_WRITE ? some_buffer(r) : some_file(r);
	to->target = to->op == MK_IO_WRITE ? some_file(r) : some_buffer(r);
	to->offset = number();
	to->bytes = number();
	/* a file in memory is not to grow for ever */
	if (to->op == MK_IO_WRITE && to->offset < INT64_MAX)
		to->offset %= 1u << 20;
	to->buffer_offset = (uint32_t)number();
	if (whole)
		mk_store_release(mk_io_word(to), MK_IO_STAMP(at));
	mk_store_release(&r->shared->posted, at + 1);
}

static void scribble(struct run *r)
{
	uint8_t what = byte();

	if (what % 4 == 0) {
		mk_store_release(&r->shared->posted,
				 r->shared->posted + number());
		r->scribbled = true;
	} else if (what % 4 == 1) {
		mk_store_release(&r->shared->taken, number());
		r->scribbled = true; /* only our own posts believe it */
	} else {
		struct mk_io_record *to = place(r, what / 4);
		unsigned char *at = (unsigned char *)to;

		/* behind the back of a service that has taken it, maybe */
		for (unsigned i = 0; i < sizeof(*to) - 8; i++)
			at[i] ^= byte();
	}
	r->guarded = false; /* it may spell the handle */
}

static void serve(struct run *r)
{
	for (unsigned i = 0; i < 50; i++)
		REQUIRE(mk_io_run_once(r->io, 0) >= 0);
}

static void steps(struct run *r)
{
	for (unsigned n = 0; n < STEPS_MOST && input < input_end; n++) {
		uint8_t what = byte();

		if (what < 140)
			post(r, true);
		else if (what < 150)
			post(r, false);
		else if (what < 220)
			serve(r);
		else
			scribble(r);
	}
}

static void check(struct run *r)
{
	struct mk_io_stats s;

	REQUIRE(!mk_io_stats(r->io, &s));
	REQUIRE(s.taken == s.answered);
	REQUIRE(s.answered ==
		s.done + s.short_reads + s.refused + s.failed);
	REQUIRE(s.in_flight == 0);
	file_is_whole(OPEN_READ);
	file_is_whole(FILES);
	is_all(memory[BUFFER_FIXED], 0x80 + BUFFER_FIXED);
	if (r->guarded)
		is_all(memory[BUFFER_GUARD], 0x80 + BUFFER_GUARD);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t mode[FILES] = {
		MK_IO_MAY_READ, MK_IO_MAY_WRITE,
		MK_IO_MAY_READ | MK_IO_MAY_WRITE
	};
	struct mk_queue_params qp = { .size = sizeof(qp), .entries = 2,
				      .io_records = RECORDS };
	struct mk_io_params ip = { .size = sizeof(ip), .entries = 4,
				   .threads = 1 };
	struct run r = { .guarded = true };

	if (!ctx)
		begin();
	reset();
	input = data;
	input_end = data + size;
	ip.flags = byte() & 1 ? MK_IO_NO_URING : 0;
	REQUIRE(!mk_queue_create(ctx, &qp, &r.q));
	REQUIRE(!mk_io_create(ctx, &ip, &r.io));
	for (unsigned i = 0; i < FILES; i++)
		REQUIRE(!mk_io_file_add(r.io, file[i], mode[i], &r.index[i]));
	REQUIRE(!mk_io_queue_add(r.io, r.q));
	r.shared = mk_queue_io(r.q);
	steps(&r);
	serve(&r);
	/* what is under way ends, whatever was written over */
	REQUIRE(!mk_io_queue_remove(r.io, r.q, MK_FOREVER));
	check(&r);
	REQUIRE(!mk_io_destroy(r.io, MK_FOREVER));
	REQUIRE(mk_queue_destroy(r.q, MK_FOREVER) == 0);
	return 0;
}
