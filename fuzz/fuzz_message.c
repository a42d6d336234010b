/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arbitrary packets to the worker's dispatcher, and arbitrary answers to the
 * caller's check. The engine behind the dispatcher trusts nothing: it looks
 * once more at every range that it is given.
 *
 * Input: one byte: 0 packets to a fresh worker, 1 packets to one that is open,
 * else an answer. Packets: control byte, length (16 bits, little-endian),
 * bytes. Control: bits 0-1 descriptors, bits 2-7 op: 0 takes the bytes as
 * they are, else a valid head of that op is put before them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "worker/serve.h"

#include "require.h"

#define SHARED 65536u
#define TOTAL (4u * SHARED)
#define WINDOWS 64u

/* ---- an engine that checks what it is called with --------------------- */

struct mk_engine {
	const struct mk_region *region;
	bool started;
};

static struct mk_engine engine;

static void touch(uint64_t offset, uint64_t bytes, uint64_t from, uint64_t to)
{
	volatile unsigned char *base = engine.region->base;

	REQUIRE(engine.started && bytes);
	REQUIRE(offset >= from && offset < to && bytes <= to - offset);
	(void)base[offset];
	(void)base[offset + bytes - 1];
}

static void require_name(const char *name, size_t room)
{
	REQUIRE(strnlen(name, room) < room && name[0]);
}

static void require_fd(int fd)
{
	REQUIRE(fd == -1 || fcntl(fd, F_GETFD) >= 0);
}

static int check_open(const struct mk_engine_config *c,
		      const struct mk_region *region, struct mk_engine **out)
{
	REQUIRE(c->workers && c->workers <= 1024 && c->windows);
	REQUIRE(region->total_bytes == c->total_bytes);
	REQUIRE(region->shared_bytes == c->shared_bytes);
	REQUIRE(c->total_bytes == TOTAL && c->shared_bytes <= TOTAL);
	require_fd(region->fd);
	engine.region = region;
	engine.started = false;
	*out = &engine;
	return c->device ? -MK_EENGINE : 0;
}

static int check_start(struct mk_engine *e)
{
	e->started = true;
	return 0;
}

static int check_close(struct mk_engine *e, uint64_t ns)
{
	REQUIRE(e == &engine && e->started);
	e->started = false;
	return ns == 1 ? -ETIME : 0;
}

static void part(const struct mk_queue_desc *q, uint32_t offset, uint64_t fixed,
		 uint64_t size, uint64_t count)
{
	REQUIRE(offset % MK_LINE == 0);
	REQUIRE(offset >= sizeof(struct mk_queue_block));
	touch(q->block_offset + offset, fixed + size * count, q->block_offset,
	      q->block_offset + q->block_bytes);
}

static void pow2(uint64_t n, uint64_t max)
{
	REQUIRE(n && n <= max && (n & (n - 1)) == 0);
}

static int check_attach(struct mk_engine *e, const struct mk_queue_desc *q,
			int fd)
{
	REQUIRE(e->started && q->index < MK_QUEUES_MAX);
	REQUIRE(q->priority < MK_PRIORITIES);
	require_fd(fd);
	pow2(q->entries, MK_RING_ENTRIES_MAX);
	REQUIRE(q->entries >= MK_RING_ENTRIES_MIN);
	touch(q->block_offset, q->block_bytes,
	      sizeof(struct mk_context_block), e->region->shared_bytes);
	REQUIRE(q->block_bytes >= sizeof(struct mk_queue_block));
	REQUIRE(q->skip_until - q->first_ticket <= q->entries);
	part(q, q->slots_offset, 0, MK_SLOT_BYTES, q->entries);
	part(q, q->completions_offset, 0, MK_COMPLETION_BYTES, q->entries);
	part(q, q->ext_offset, 0, sizeof(struct mk_wire_ext), q->entries);
	part(q, q->control_offset, sizeof(struct mk_control), 8,
	     q->observables);
	pow2(q->log_records, 65536);
	part(q, q->log_offset, sizeof(struct mk_debug_log),
	     sizeof(struct mk_debug_record), q->log_records);
	if (!q->io_offset) {
		REQUIRE(!q->io_records);
		return 0;
	}
	pow2(q->io_records, 65536);
	part(q, q->io_offset, sizeof(struct mk_io_queue),
	     sizeof(struct mk_io_record), q->io_records);
	return 0;
}

static int check_detach(struct mk_engine *e, uint32_t index, uint64_t ns)
{
	REQUIRE(e->started && index < MK_QUEUES_MAX);
	return ns ? 0 : -ETIME;
}

static int check_event(struct mk_engine *e, uint32_t index, int fd)
{
	REQUIRE(e->started && index < MK_QUEUES_MAX);
	require_fd(fd);
	return 0;
}

static int check_buffer(struct mk_engine *e, const struct mk_buffer_desc *b)
{
	REQUIRE(b->index < WINDOWS && b->generation);
	REQUIRE(!(b->flags & ~1u));
	touch(b->offset, b->bytes, e->region->shared_bytes, TOTAL);
	return 0;
}

static int check_unbuffer(struct mk_engine *e, uint32_t index, uint64_t ns)
{
	REQUIRE(e->started && index < WINDOWS);
	return ns ? 0 : -ETIME;
}

static int check_copy(struct mk_engine *e, uint32_t index, uint64_t offset,
		      uint64_t staging, uint64_t bytes, uint32_t flags)
{
	REQUIRE(e->started && index < WINDOWS);
	REQUIRE(offset + bytes >= offset && (flags & 3) == flags);
	REQUIRE(staging >= sizeof(struct mk_context_block));
	REQUIRE(staging <= TOTAL && bytes <= TOTAL - staging);
	return 0;
}

/* Hands back whatever max allows, or fails. */
static int check_module(struct mk_engine *e, const struct mk_module_desc *m,
			struct mk_handler_info *out, unsigned max,
			unsigned *count)
{
	REQUIRE(e->started && m->id && !m->table);
	REQUIRE(max && max <= MK_OPCODES);
	REQUIRE(fcntl(m->fd, F_GETFD) >= 0);
	for (unsigned i = 0; i < max; i++)
		out[i].name[0] = 'h';
	*count = m->id > 1000 ? max + 1000 : max; /* a lie is cut down */
	return m->id == 7 ? -MK_EMODULE : 0;
}

static int check_bind(struct mk_engine *e, uint32_t id,
		      const struct mk_opcode_map *map, unsigned count)
{
	REQUIRE(e->started && id && count <= MK_OPCODES);
	for (unsigned i = 0; i < count; i++) {
		require_name(map[i].name, sizeof(map[i].name));
		REQUIRE(map[i].opcode < MK_OPCODES);
	}
	return 0;
}

static int check_unmodule(struct mk_engine *e, uint32_t id, uint64_t ns)
{
	REQUIRE(e->started && id);
	return ns ? 0 : -ETIME;
}

static int check_pause(struct mk_engine *e, uint64_t ns)
{
	REQUIRE(e->started);
	return ns ? 0 : -ETIME;
}

static int check_resume(struct mk_engine *e)
{
	REQUIRE(e->started);
	return 0;
}

static const struct mk_engine_ops check_ops = {
	.name = "check",
	.traits = MK_TRAIT_HOST_MEMORY,
	.open = check_open,
	.start = check_start,
	.close = check_close,
	.queue_attach = check_attach,
	.queue_detach = check_detach,
	.queue_event_fd = check_event,
	.buffer_attach = check_buffer,
	.buffer_detach = check_unbuffer,
	.buffer_copy = check_copy,
	.module_open = check_module,
	.module_bind = check_bind,
	.module_close = check_unmodule,
	.pause = check_pause,
	.resume = check_resume,
};

static const struct mk_engine_ops *check_find(const char *name)
{
	require_name(name, MK_ENGINE_NAME_BYTES);
	return strcmp(name, "check") ? NULL : &check_ops;
}

/* ---- feeding ---------------------------------------------------------- */

static struct mk_serve serve;
static int region_fd = -1;

static void make_region(void)
{
	struct mk_context_block b = {
		.header = { MK_MAGIC_CONTEXT, MK_ABI_VERSION, MK_FINGERPRINT,
			    sizeof(b) },
		.total_bytes = TOTAL,
		.shared_bytes = SHARED,
		.workers = 1,
		.workers_offset = sizeof(b),
	};

	region_fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	REQUIRE(region_fd >= 0 && !ftruncate(region_fd, TOTAL));
	REQUIRE(pwrite(region_fd, &b, sizeof(b), 0) == (ssize_t)sizeof(b));
	REQUIRE(!fcntl(region_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
}

static void feed(size_t bytes, unsigned fds)
{
	struct mk_packet packet = { .bytes = bytes, .fd_count = fds };
	struct mk_message_head asked = { 0 };
	size_t n;

	for (unsigned i = 0; i < fds; i++)
		packet.fds[i] = dup(region_fd);
	if (bytes >= sizeof(asked))
		asked = serve.in.head;
	n = mk_serve_packet(&serve, &packet);
	REQUIRE(packet.fd_count == 0 && n <= sizeof(serve.out));
	/* what we answer is always what the other side would accept, if what
	 * it asked was more or less a request */
	if (asked.op && asked.op < MK_MESSAGE_OPS && asked.sequence)
		REQUIRE(!mk_answer_check(&serve.out, n, &asked, MK_OPCODES));
}

static void hello(void)
{
	memset(&serve.in, 0, sizeof(serve.in));
	memcpy(serve.in.hello.engine, "check", 6);
	serve.in.hello.config = (struct mk_engine_config){
		.workers = 1, .windows = WINDOWS, .made_entries = 1,
		.shared_bytes = SHARED, .total_bytes = TOTAL,
	};
	mk_message_seal(&serve.in, MK_MESSAGE_HELLO, 1, 0);
	serve.in.head.sequence = 1;
	serve.in.head.deadline_ns = UINT64_MAX;
	feed(serve.in.head.bytes, 1);
	REQUIRE(serve.limits.open);
}

/* One packet of the input; returns the bytes taken. */
static size_t packet(const uint8_t *data, size_t size)
{
	unsigned fds = data[0] & 3, op = data[0] >> 2;
	size_t n = data[1] | (size_t)data[2] << 8, head = 0;

	if (n > size - 3)
		n = size - 3;
	if (op)
		head = sizeof(struct mk_message_head);
	if (n > sizeof(serve.in) - head)
		n = sizeof(serve.in) - head;
	if (op) {
		mk_message_seal(&serve.in, op % MK_MESSAGE_OPS, fds, 0);
		serve.in.head.bytes = (uint32_t)(head + n);
		if (op == MK_MESSAGE_MODULE_BIND && n >= 8)
			serve.in.head.count =
				(uint32_t)((n - 8) /
					   sizeof(struct mk_opcode_map));
		serve.in.head.sequence = 1;
		serve.in.head.deadline_ns = UINT64_MAX;
	}
	memcpy((unsigned char *)&serve.in + head, data + 3, n);
	feed(head + n, fds);
	return 3 + n;
}

static void packets(const uint8_t *data, size_t size, bool open)
{
	mk_serve_init(&serve, check_find);
	if (open)
		hello();
	while (size >= 3 && !serve.done) {
		size_t n = packet(data, size);

		data += n;
		size -= n;
	}
	if (serve.engine && engine.started)
		check_close(&engine, 0);
	mk_serve_fini(&serve);
}

/* What the caller would take for the answer may be used as such. */
static void answers(const uint8_t *data, size_t size)
{
	static struct mk_answer a;
	struct mk_message_head asked = { .op = MK_MESSAGE_MODULE_OPEN,
					 .sequence = 2 };
	size_t n = size < sizeof(a) ? size : sizeof(a);

	memcpy(&a, data, n);
	if (n >= sizeof(a.head) && (data[n - 1] & 1)) { /* past the easy ones */
		a.head.magic = MK_MESSAGE_MAGIC;
		a.head.bytes = (uint32_t)size;
		a.head.abi = MK_ABI_VERSION;
		a.head.fingerprint = MK_FINGERPRINT;
	}
	if (mk_answer_check(&a, size, &asked, 200))
		return;
	REQUIRE(size <= sizeof(a) && a.head.count <= 200);
	REQUIRE(a.head.result <= 0 && a.head.result == a.error.code);
	mk_error_copy(&a.error);
	REQUIRE(strlen(mk_error_last()->text) < sizeof(a.error.text));
	for (uint32_t i = 0; i < a.head.count; i++)
		require_name(a.handlers[i].name, MK_HANDLER_NAME_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int before, after;

	if (!size)
		return 0;
	if (region_fd < 0)
		make_region();
	before = dup(region_fd);
	close(before);
	if (data[0] < 2)
		packets(data + 1, size - 1, data[0]);
	else
		answers(data + 1, size - 1);
	after = dup(region_fd);
	close(after);
	REQUIRE(before == after); /* no descriptor is left */
	return 0;
}
