/* SPDX-License-Identifier: Apache-2.0 */
/* What caller and worker refuse of each other, packet by packet. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <inttypes.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "worker/serve.h"

#include "stub_engine.h"

static const struct mk_message_limits closed;
static const struct mk_message_limits opened = {
	.open = true,
	.host_memory = true,
	.windows = STUB_WINDOWS,
	.shared_bytes = STUB_SHARED,
	.total_bytes = STUB_TOTAL,
};

/* ---- valid messages --------------------------------------------------- */

/* A valid request of any op; returns the descriptors that it wants. */
static unsigned make(struct mk_message *m, uint32_t op)
{
	unsigned fds = 0, count = 0;

	memset(m, 0, sizeof(*m));
	switch (op) {
	case MK_MESSAGE_HELLO:
		strcpy(m->hello.engine, "stub");
		stub_config(&m->hello.config);
		fds = 1;
		break;
	case MK_MESSAGE_QUEUE_ATTACH:
		stub_queue(&m->queue);
		break;
	case MK_MESSAGE_BUFFER_ATTACH:
		stub_buffer(&m->buffer);
		break;
	case MK_MESSAGE_BUFFER_COPY:
		m->copy.index = 5;
		m->copy.staging = STUB_SHARED;
		m->copy.bytes = STUB_SHARED;
		break;
	case MK_MESSAGE_MODULE_OPEN:
		m->module.id = 3;
		m->module.max = MK_OPCODES;
		fds = 1;
		break;
	case MK_MESSAGE_MODULE_BIND:
		m->module.id = 3;
		count = 2;
		strcpy(m->module.map[0].name, "a");
		strcpy(m->module.map[1].name, "b");
		m->module.map[1].opcode = MK_OPCODES - 1;
		break;
	case MK_MESSAGE_MODULE_CLOSE:
		m->target.index = STUB_OK;
		break;
	}
	mk_message_seal(m, op, fds, count);
	m->head.sequence = 9;
	m->head.deadline_ns = UINT64_MAX;
	return fds;
}

static const struct mk_message_limits *limits_for(uint32_t op)
{
	return op == MK_MESSAGE_HELLO ? &closed : &opened;
}

static void test_valid(void **state)
{
	static struct mk_message m;

	(void)state;
	for (uint32_t op = 1; op < MK_MESSAGE_OPS; op++) {
		unsigned fds = make(&m, op);

		assert_int_equal(mk_message_check(&m, m.head.bytes, fds,
						  limits_for(op)), 0);
		assert_string_not_equal(mk_message_name(op), "unknown");
	}
	assert_string_equal(mk_message_name(MK_MESSAGE_OPS), "unknown");
	assert_string_equal(mk_message_name(UINT32_MAX), "unknown");
}

/* The ends of the ranges that are still inside. */
static void test_limits(void **state)
{
	static struct mk_message m;

	(void)state;
	make(&m, MK_MESSAGE_QUEUE_ATTACH);
	m.queue.index = MK_QUEUES_MAX - 1;
	m.queue.block_offset = STUB_SHARED - m.queue.block_bytes;
	m.queue.block_offset -= m.queue.block_offset % MK_LINE;
	m.queue.block_bytes = STUB_SHARED - m.queue.block_offset;
	m.queue.io_offset = m.queue.io_records = 0;
	assert_int_equal(mk_message_check(&m, m.head.bytes, 0, &opened), 0);
	make(&m, MK_MESSAGE_BUFFER_ATTACH);
	m.buffer.index = STUB_WINDOWS - 1;
	m.buffer.offset = STUB_TOTAL - MK_LINE;
	m.buffer.bytes = MK_LINE;
	assert_int_equal(mk_message_check(&m, m.head.bytes, 0, &opened), 0);
	make(&m, MK_MESSAGE_MODULE_BIND);
	for (int i = 0; i < (int)MK_OPCODES; i++)
		m.module.map[i].name[0] = 'x';
	mk_message_seal(&m, MK_MESSAGE_MODULE_BIND, 0, MK_OPCODES);
	m.head.sequence = 1;
	assert_int_equal(m.head.bytes, sizeof(m));
	assert_int_equal(mk_message_check(&m, m.head.bytes, 0, &opened), 0);
}

/* ---- one thing wrong -------------------------------------------------- */

static struct mk_message bad;

/* X(op, what is changed in `bad`, a word that the error's text has) */
#define WRONG(X)                                                              \
	X(RESUME, bad.head.magic++, "magic")                                  \
	X(RESUME, bad.head.op = 0, "op is 0")                                 \
	X(RESUME, bad.head.op = MK_MESSAGE_OPS, "op is")                      \
	X(RESUME, bad.head.op = UINT32_MAX, "op is")                          \
	X(RESUME, bad.head.bytes++, "bytes")                                  \
	X(RESUME, bad.head.bytes--, "bytes")                                  \
	X(RESUME, bad.head.fds = 1, "fds is 1")                               \
	X(RESUME, bad.head.fds = UINT32_MAX, "fds")                           \
	X(RESUME, bad.head.count = 1, "count")                                \
	X(RESUME, bad.head.count = UINT32_MAX, "count")                       \
	X(RESUME, bad.head.result = -1, "result")                             \
	X(RESUME, bad.head.sequence = 0, "sequence")                          \
	X(PAUSE, bad.head.op = MK_MESSAGE_RESUME, "bytes")                    \
	X(PAUSE, bad.target.reserved = 1, "reserved")                         \
	X(PAUSE, bad.target.index = 1, "index")                               \
	X(CLOSE, bad.target.index = 1, "index")                               \
	X(HELLO, bad.hello.engine[0] = '\0', "engine")                        \
	X(HELLO, memset(bad.hello.engine, 'x', 16), "engine")                 \
	X(HELLO, bad.hello.config.workers = 0, "workers")                     \
	X(HELLO, bad.hello.config.workers = 1025, "workers")                  \
	X(HELLO, bad.hello.config.windows = 0, "windows")                     \
	X(HELLO, bad.hello.config.windows = MK_WINDOWS_MAX + 1, "windows")    \
	X(HELLO, bad.hello.config.scratch_bytes = MK_SCRATCH_MAX + 1,         \
	  "scratch_bytes")                                                    \
	X(HELLO, bad.hello.config.shared_bytes = 192, "shared_bytes")         \
	X(HELLO, bad.hello.config.shared_bytes++, "shared_bytes")             \
	X(HELLO, bad.hello.config.total_bytes = STUB_SHARED - 1, "total")     \
	X(HELLO, bad.hello.config.total_bytes = UINT64_MAX, "total")          \
	X(HELLO, bad.hello.config.native_context = 1, "native_context")       \
	X(HELLO, bad.hello.config.native_stream = 1, "native_stream")         \
	X(HELLO, bad.hello.config.made_mode = 2, "made_mode")                 \
	X(HELLO, bad.hello.config.cache = 3, "cache")                         \
	X(HELLO, bad.hello.config.cache = MK_CACHE_DIR, "cache_dir")          \
	X(HELLO, bad.hello.config.cache_dir[0] = 'x', "cache_dir")            \
	X(HELLO, bad.hello.config.made_entries = 0, "made_entries")           \
	X(QUEUE_ATTACH, bad.queue.index = MK_QUEUES_MAX, "index")             \
	X(QUEUE_ATTACH, bad.queue.priority = MK_PRIORITIES, "priority")       \
	X(QUEUE_ATTACH, bad.queue.entries = 0, "entries")                     \
	X(QUEUE_ATTACH, bad.queue.entries = 1, "entries")                     \
	X(QUEUE_ATTACH, bad.queue.entries = 6, "entries")                     \
	X(QUEUE_ATTACH, bad.queue.entries = 131072, "entries")                \
	X(QUEUE_ATTACH, bad.queue.entries = 1u << 31, "entries")              \
	X(QUEUE_ATTACH, bad.queue.entries = 128, "slots_offset")              \
	X(QUEUE_ATTACH, bad.queue.block_offset = 0, "block")                  \
	X(QUEUE_ATTACH, bad.queue.block_offset += 8, "block_offset")          \
	X(QUEUE_ATTACH, bad.queue.block_offset = STUB_SHARED, "block")        \
	X(QUEUE_ATTACH, bad.queue.block_offset = 0 - (uint64_t)MK_LINE,       \
	  "block")                                                            \
	X(QUEUE_ATTACH, bad.queue.block_bytes = 319, "block")                 \
	X(QUEUE_ATTACH, bad.queue.block_bytes = STUB_SHARED, "block")         \
	X(QUEUE_ATTACH, bad.queue.block_bytes = UINT64_MAX, "block")          \
	X(QUEUE_ATTACH, bad.queue.block_bytes--, "io_offset")                 \
	X(QUEUE_ATTACH, bad.queue.slots_offset = 0, "slots_offset")           \
	X(QUEUE_ATTACH, bad.queue.slots_offset += 32, "slots_offset")         \
	X(QUEUE_ATTACH, bad.queue.slots_offset = 0u - MK_LINE, "slots")       \
	X(QUEUE_ATTACH, bad.queue.completions_offset = 256, "completions")    \
	X(QUEUE_ATTACH, bad.queue.completions_offset = 4544, "completions")   \
	X(QUEUE_ATTACH, bad.queue.ext_offset = 4224, "ext_offset")            \
	X(QUEUE_ATTACH, bad.queue.ext_offset++, "ext_offset")                 \
	X(QUEUE_ATTACH, bad.queue.control_offset = 2048, "control_offset")    \
	X(QUEUE_ATTACH, bad.queue.control_offset = 0, "control_offset")       \
	X(QUEUE_ATTACH, bad.queue.observables = 65537, "observables")         \
	X(QUEUE_ATTACH, bad.queue.observables = 65536, "control_offset")      \
	X(QUEUE_ATTACH, bad.queue.log_records = 0, "log_records")             \
	X(QUEUE_ATTACH, bad.queue.log_records = 3, "log_records")             \
	X(QUEUE_ATTACH, bad.queue.log_records = 131072, "log_records")        \
	X(QUEUE_ATTACH, bad.queue.log_records = 65536, "log_offset")          \
	X(QUEUE_ATTACH, bad.queue.log_offset = 0, "log_offset")               \
	X(QUEUE_ATTACH, bad.queue.io_records = 0, "io_records")               \
	X(QUEUE_ATTACH, bad.queue.io_records = 5, "io_records")               \
	X(QUEUE_ATTACH, bad.queue.io_records = 4, "io_offset")                \
	X(QUEUE_ATTACH, bad.queue.io_offset = 0, "io_offset")                 \
	X(QUEUE_ATTACH, bad.queue.skip_until += 3, "skip_until")              \
	X(QUEUE_ATTACH, bad.queue.skip_until = bad.queue.first_ticket - 1,    \
	  "skip_until")                                                       \
	X(QUEUE_DETACH, bad.target.index = MK_QUEUES_MAX, "index")            \
	X(QUEUE_EVENT_FD, bad.target.index = MK_QUEUES_MAX, "index")          \
	X(BUFFER_ATTACH, bad.buffer.index = STUB_WINDOWS, "index")            \
	X(BUFFER_ATTACH, bad.buffer.generation = 0, "generation")             \
	X(BUFFER_ATTACH, bad.buffer.flags = 2, "flags")                       \
	X(BUFFER_ATTACH, bad.buffer.born = ~0u, "born")                       \
	X(BUFFER_ATTACH, bad.buffer.origin = 1, "origin")                     \
	X(BUFFER_ATTACH, bad.buffer.origin = 2, "origin")                     \
	X(BUFFER_ATTACH, bad.buffer.origin = 3, "origin")                     \
	X(BUFFER_ATTACH, bad.buffer.address = 1, "address")                   \
	X(BUFFER_ATTACH, bad.buffer.reserved = 1, "reserved")                 \
	X(BUFFER_ATTACH, bad.buffer.bytes = 0, "bytes")                       \
	X(BUFFER_ATTACH, bad.buffer.bytes = UINT64_MAX, "heap")               \
	X(BUFFER_ATTACH, bad.buffer.bytes = STUB_SHARED, "heap")              \
	X(BUFFER_ATTACH, bad.buffer.offset = STUB_SHARED - MK_LINE, "heap")   \
	X(BUFFER_ATTACH, bad.buffer.offset = 0, "heap")                       \
	X(BUFFER_ATTACH, bad.buffer.offset = STUB_TOTAL, "heap")              \
	X(BUFFER_ATTACH, bad.buffer.offset = 0 - (uint64_t)4096, "heap")      \
	X(BUFFER_ATTACH, bad.buffer.offset++, "heap")                         \
	X(BUFFER_DETACH, bad.target.index = STUB_WINDOWS, "index")            \
	X(BUFFER_COPY, bad.copy.index = STUB_WINDOWS, "index")                \
	X(BUFFER_COPY, bad.copy.flags = 4, "flags")                           \
	X(BUFFER_COPY, bad.copy.offset = UINT64_MAX, "overflow")              \
	X(BUFFER_COPY, bad.copy.bytes++, "region")                            \
	X(BUFFER_COPY, bad.copy.staging = 0, "region")                        \
	X(BUFFER_COPY, bad.copy.staging = UINT64_MAX, "region")               \
	X(MODULE_OPEN, bad.module.id = 0, "id")                               \
	X(MODULE_OPEN, bad.module.max = 0, "max")                             \
	X(MODULE_OPEN, bad.module.max = MK_OPCODES + 1, "max")                \
	X(MODULE_BIND, bad.module.id = 0, "id")                               \
	X(MODULE_BIND, bad.module.max = 1, "max")                             \
	X(MODULE_BIND, bad.head.count = 1, "bytes")                           \
	X(MODULE_BIND, bad.head.count = 3, "bytes")                           \
	X(MODULE_BIND, bad.head.count = MK_OPCODES + 1, "count")              \
	X(MODULE_BIND, bad.module.map[1].name[0] = '\0', "entry 1")           \
	X(MODULE_BIND, memset(bad.module.map[1].name, 'x', 48), "entry 1")    \
	X(MODULE_BIND, bad.module.map[0].opcode = MK_OPCODES, "entry 0")      \
	X(MODULE_BIND, bad.module.map[0].reserved = 1, "entry 0")             \
	X(MODULE_CLOSE, bad.target.index = 0, "id")

static void expect_refused(const char *what, unsigned fds, size_t bytes,
			   const struct mk_message_limits *limits,
			   const char *word)
{
	int r = mk_message_check(&bad, bytes, fds, limits);

	if (r != -MK_EPROTO || !strstr(mk_error_last()->text, word))
		fail_msg("%s: %d, \"%s\"", what, r, mk_error_last()->text);
}

static void test_wrong(void **state)
{
	uint32_t bytes;
	unsigned fds;

	(void)state;
#define TRY(op, change, word)                                             \
	do {                                                              \
		fds = make(&bad, MK_MESSAGE_##op);                        \
		bytes = bad.head.bytes;                                   \
		(void)(change);                                           \
		expect_refused(#op ": " #change, fds, bytes,              \
			       limits_for(MK_MESSAGE_##op), word);        \
	} while (0);
	WRONG(TRY)
#undef TRY
}

/* Every length but the right one, and descriptors too many or too few. */
static void test_wrong_lengths(void **state)
{
	(void)state;
	for (uint32_t op = 1; op < MK_MESSAGE_OPS; op++) {
		unsigned fds = make(&bad, op);
		uint32_t right = bad.head.bytes;

		for (uint32_t n = 0; n < right + 64; n++) {
			bad.head.bytes = n;
			if (n != right)
				expect_refused(mk_message_name(op), fds, n,
					       limits_for(op), "bytes");
		}
		bad.head.bytes = right;
		expect_refused(mk_message_name(op), fds + 1, right,
			       limits_for(op), "fds");
		bad.head.fds = 2;
		expect_refused(mk_message_name(op), 2, right, limits_for(op),
			       "fds");
		if (!fds)
			continue;
		expect_refused(mk_message_name(op), 0, right, limits_for(op),
			       "fds");
		bad.head.fds = 0;
		expect_refused(mk_message_name(op), 0, right, limits_for(op),
			       "fds");
	}
}

static void test_order(void **state)
{
	(void)state;
	for (uint32_t op = 1; op < MK_MESSAGE_OPS; op++) {
		unsigned fds = make(&bad, op);

		if (op == MK_MESSAGE_CLOSE)
			continue; /* fits always */
		expect_refused(mk_message_name(op), fds, bad.head.bytes,
			       op == MK_MESSAGE_HELLO ? &opened : &closed,
			       "open");
	}
}

static void test_other_version(void **state)
{
	char want[64];

	(void)state;
	make(&bad, MK_MESSAGE_HELLO);
	bad.head.abi = MK_ABI_VERSION + 1;
	assert_int_equal(mk_message_check(&bad, bad.head.bytes, 1, &closed),
			 -MK_EABI);
	make(&bad, MK_MESSAGE_HELLO);
	bad.head.fingerprint = 0x1234abcd;
	/* told apart even if it is longer than any message of this version */
	assert_int_equal(mk_message_check(&bad, sizeof(bad) + 1, 1, &closed),
			 -MK_EABI);
	assert_non_null(strstr(mk_error_last()->text, "0x1234abcd"));
	snprintf(want, sizeof(want), "0x%08x", (unsigned)MK_FINGERPRINT);
	assert_non_null(strstr(mk_error_last()->text, want));
}

static void test_block(void **state)
{
	struct mk_context_block b;
	struct mk_engine_config c;

	(void)state;
	stub_config(&c);
	stub_block(&b);
	assert_int_equal(mk_message_check_block(&b, &c), 0);
#define WRONG_BLOCK(change, code)                                        \
	do {                                                             \
		stub_block(&b);                                          \
		(void)(change);                                          \
		assert_int_equal(mk_message_check_block(&b, &c), -code); \
	} while (0)
	WRONG_BLOCK(b.header.magic = 0, MK_ESHARED);
	WRONG_BLOCK(b.header.abi++, MK_EABI);
	WRONG_BLOCK(b.header.fingerprint++, MK_EABI);
	WRONG_BLOCK(b.total_bytes++, MK_ESHARED);
	WRONG_BLOCK(b.shared_bytes++, MK_ESHARED);
	WRONG_BLOCK(b.workers++, MK_ESHARED);
	WRONG_BLOCK(b.workers_offset = 0, MK_ESHARED);
	WRONG_BLOCK(b.workers_offset += 8, MK_ESHARED);
	WRONG_BLOCK(b.workers_offset = STUB_SHARED - MK_LINE, MK_ESHARED);
	WRONG_BLOCK(b.workers_offset = 0u - MK_LINE, MK_ESHARED);
}

/* ---- answers ---------------------------------------------------------- */

static struct mk_answer answer;
static struct mk_message_head asked;

static size_t make_answer(int result, uint32_t count)
{
	memset(&answer, 0, sizeof(answer));
	asked = (struct mk_message_head){ .op = MK_MESSAGE_MODULE_OPEN,
					  .sequence = 9 };
	for (uint32_t i = 0; i < count; i++)
		answer.handlers[i].name[0] = 'h';
	if (result)
		mk_error_set(result, 7, "here", "some words");
	return mk_answer_seal(&answer, &asked, result, count);
}

static void test_answer(void **state)
{
	size_t n = make_answer(0, MK_OPCODES);

	(void)state;
	assert_int_equal(n, sizeof(answer));
	assert_int_equal(mk_answer_check(&answer, n, &asked, MK_OPCODES), 0);
	n = make_answer(-MK_ECLASH, 3);
	assert_int_equal(mk_answer_check(&answer, n, &asked, MK_OPCODES), 0);
	assert_int_equal(answer.head.count, 0);
	assert_int_equal(answer.error.native, 7);
	assert_string_equal(answer.error.text, "some words");
	/* words that belong to another failure do not go along */
	mk_error_set(-MK_EFULL, 3, "there", "other words");
	mk_answer_seal(&answer, &asked, -MK_ECLASH, 0);
	assert_int_equal(answer.error.code, -MK_ECLASH);
	assert_string_equal(answer.error.text, mk_strerror(MK_ECLASH));
	/* an earlier one is late, not wrong */
	n = make_answer(0, 0);
	answer.head.sequence = 8;
	answer.head.op = MK_MESSAGE_PAUSE;
	assert_int_equal(mk_answer_check(&answer, n, &asked, 0), 1);
}

static void test_wrong_answer(void **state)
{
	size_t n;

	(void)state;
#define WRONG_ANSWER(result, count, change, code)                           \
	do {                                                                \
		n = make_answer(result, count);                             \
		(void)(change);                                             \
		assert_int_equal(mk_answer_check(&answer, n, &asked, 4),    \
				 -code);                                    \
	} while (0)
	WRONG_ANSWER(0, 0, n = 0, MK_EPROTO);
	WRONG_ANSWER(0, 0, n--, MK_EPROTO);
	WRONG_ANSWER(0, 0, n++, MK_EPROTO);
	WRONG_ANSWER(0, 0, n = sizeof(answer) + 1, MK_EPROTO);
	WRONG_ANSWER(0, 0, answer.head.bytes++, MK_EPROTO);
	WRONG_ANSWER(0, 0, answer.head.magic = 0, MK_EPROTO);
	WRONG_ANSWER(0, 0, answer.head.abi++, MK_EABI);
	WRONG_ANSWER(0, 0, answer.head.fingerprint++, MK_EABI);
	WRONG_ANSWER(0, 0, answer.head.op = MK_MESSAGE_PAUSE, MK_EPROTO);
	WRONG_ANSWER(0, 0, answer.head.op = 77, MK_EPROTO);
	WRONG_ANSWER(0, 0, answer.head.sequence++, MK_EPROTO);
	WRONG_ANSWER(0, 0, answer.head.sequence = 0, MK_EPROTO);
	WRONG_ANSWER(0, 0, answer.head.fds = 1, MK_EPROTO);
	WRONG_ANSWER(0, 0, answer.head.result = 1, MK_EPROTO);
	WRONG_ANSWER(0, 0, answer.head.result = -1, MK_EPROTO);
	WRONG_ANSWER(0, 0, answer.error.code = -1, MK_EPROTO);
	WRONG_ANSWER(-5, 0, answer.error.code = -6, MK_EPROTO);
	WRONG_ANSWER(-5, 0, answer.head.result = INT32_MIN, MK_EPROTO);
	WRONG_ANSWER(0, 5, 0, MK_EPROTO);
	WRONG_ANSWER(0, 2, answer.head.count = 1, MK_EPROTO);
	WRONG_ANSWER(0, 2, answer.head.count = 300, MK_EPROTO);
	WRONG_ANSWER(0, 2, answer.handlers[1].name[0] = 0, MK_EPROTO);
	WRONG_ANSWER(0, 2, memset(answer.handlers[1].name, 'x', 48),
		     MK_EPROTO);
	WRONG_ANSWER(0, 2, answer.handlers[1].arg_bytes = 49, MK_EPROTO);
	WRONG_ANSWER(0, 2, answer.handlers[1].width = 3, MK_EPROTO);
}

/* ---- the dispatcher --------------------------------------------------- */

static int open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static struct mk_serve serve;

/* Hand the dispatcher a packet with copies of fd; the answer's result. */
static int give(const void *data, size_t bytes, int fd, unsigned fds)
{
	struct mk_packet packet = { .bytes = bytes, .fd_count = fds };
	size_t n;

	memcpy(&serve.in, data,
	       bytes < sizeof(serve.in) ? bytes : sizeof(serve.in));
	for (unsigned i = 0; i < fds; i++) {
		packet.fds[i] = dup(fd);
		assert_true(packet.fds[i] >= 0);
	}
	n = mk_serve_packet(&serve, &packet);
	assert_int_equal(packet.fd_count, 0);
	assert_int_equal(n, serve.out.head.bytes);
	if (bytes >= sizeof(struct mk_message_head))
		assert_int_equal(serve.out.head.sequence,
				 ((const struct mk_message *)data)
					 ->head.sequence);
	return serve.out.head.result;
}

static int give_op(uint32_t op, int fd)
{
	static struct mk_message m;
	unsigned fds = make(&m, op);

	return give(&m, m.head.bytes, fd, fds);
}

static void test_serve(void **state)
{
	int before = open_fds();
	struct mk_region region;

	(void)state;
	stub_region(&region, STUB_TOTAL, STUB_SEALS);
	mk_serve_init(&serve, stub_find);
	assert_int_equal(give_op(MK_MESSAGE_RESUME, -1), -MK_EPROTO);
	assert_int_equal(give_op(MK_MESSAGE_HELLO, region.fd), 0);
	assert_int_equal(stub_record(&region)->started, 1);
	for (uint32_t op = MK_MESSAGE_CLOSE + 1; op < MK_MESSAGE_OPS; op++) {
		assert_int_equal(give_op(op, region.fd), 0);
		assert_int_equal(stub_record(&region)->op, op);
	}
	assert_int_equal(give_op(MK_MESSAGE_HELLO, region.fd), -MK_EPROTO);
	assert_false(serve.done);
	assert_int_equal(give_op(MK_MESSAGE_CLOSE, -1), 0);
	assert_true(serve.done);
	assert_false(serve.abandoned);
	stub_region_free(&region);
	assert_int_equal(open_fds(), before);
}

/* Bytes that are no request are answered, and nothing else happens. */
static void test_serve_garbage(void **state)
{
	int before = open_fds();
	struct mk_region region;
	static unsigned char noise[2 * sizeof(struct mk_message)];
	uint32_t entered;
	uint64_t x = 88172645463325252u;

	(void)state;
	stub_region(&region, STUB_TOTAL, STUB_SEALS);
	mk_serve_init(&serve, stub_find);
	assert_int_equal(give_op(MK_MESSAGE_HELLO, region.fd), 0);
	assert_int_equal(give_op(MK_MESSAGE_PAUSE, -1), 0);
	entered = stub_record(&region)->entered;
	for (size_t n = 0; n <= sizeof(noise); n += 1 + n / 8) {
		for (size_t i = 0; i < n; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			noise[i] = (unsigned char)x;
		}
		assert_int_equal(give(noise, n, region.fd, n % 4),
				 -MK_EPROTO);
	}
	assert_int_equal(stub_record(&region)->entered, entered);
	assert_int_equal(give_op(MK_MESSAGE_RESUME, -1), 0);
	assert_int_equal(give_op(MK_MESSAGE_CLOSE, -1), 0);
	stub_region_free(&region);
	assert_int_equal(open_fds(), before);
}

static void test_serve_fds(void **state)
{
	int before = open_fds();
	struct mk_region region;
	struct mk_message m;

	(void)state;
	stub_region(&region, STUB_TOTAL, STUB_SEALS);
	mk_serve_init(&serve, stub_find);
	make(&m, MK_MESSAGE_HELLO);
	assert_int_equal(give(&m, m.head.bytes, region.fd, 0), -MK_EPROTO);
	assert_int_equal(give(&m, m.head.bytes, region.fd, 3), -MK_EPROTO);
	assert_int_equal(give(&m, m.head.bytes, region.fd, 1), 0);
	make(&m, MK_MESSAGE_QUEUE_ATTACH);
	assert_int_equal(give(&m, m.head.bytes, region.fd, 1), -MK_EPROTO);
	assert_int_equal(give(&m, m.head.bytes, -1, 0), 0);
	assert_int_equal(stub_record(&region)->fd, -1);
	m.head.fds = 1;
	assert_int_equal(give(&m, m.head.bytes, region.fd, 1), 0);
	assert_true(stub_record(&region)->fd >= 0);
	assert_int_equal(give_op(MK_MESSAGE_CLOSE, -1), 0);
	stub_region_free(&region);
	assert_int_equal(open_fds(), before);
}

/* A region that could change its size, or did, or is none. */
static void test_serve_region(void **state)
{
	static const struct {
		uint64_t bytes;
		int seals, code;
	} cases[] = {
		{ STUB_TOTAL, STUB_SEALS, 0 },
		{ STUB_TOTAL, 0, -MK_ESHARED },
		{ STUB_TOTAL, F_SEAL_SHRINK, -MK_ESHARED },
		{ STUB_TOTAL, F_SEAL_GROW, -MK_ESHARED },
		{ STUB_SHARED, STUB_SEALS, -MK_ESHARED },
		{ STUB_TOTAL + 4096, STUB_SEALS, -MK_ESHARED },
	};
	int before = open_fds(), null;
	struct mk_region region;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		stub_region(&region, cases[i].bytes, cases[i].seals);
		mk_serve_init(&serve, stub_find);
		assert_int_equal(give_op(MK_MESSAGE_HELLO, region.fd),
				 cases[i].code);
		assert_int_equal(serve.limits.open, !cases[i].code);
		give_op(MK_MESSAGE_CLOSE, -1);
		stub_region_free(&region);
		assert_int_equal(open_fds(), before);
	}
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	mk_serve_init(&serve, stub_find);
	assert_int_equal(give_op(MK_MESSAGE_HELLO, null), -MK_ESHARED);
	close(null);
	assert_int_equal(open_fds(), before);
}

static void test_serve_block(void **state)
{
	int before = open_fds();
	struct mk_region region;

	(void)state;
	stub_region(&region, STUB_TOTAL, STUB_SEALS);
	((struct mk_context_block *)region.base)->header.fingerprint++;
	mk_serve_init(&serve, stub_find);
	assert_int_equal(give_op(MK_MESSAGE_HELLO, region.fd), -MK_EABI);
	((struct mk_context_block *)region.base)->header.fingerprint--;
	assert_int_equal(give_op(MK_MESSAGE_HELLO, region.fd), 0);
	assert_int_equal(give_op(MK_MESSAGE_CLOSE, -1), 0);
	stub_region_free(&region);
	assert_int_equal(open_fds(), before);
}

static void test_serve_engine(void **state)
{
	static struct mk_message m;
	struct mk_region region;

	(void)state;
	stub_region(&region, STUB_TOTAL, STUB_SEALS);
	mk_serve_init(&serve, stub_find);
	make(&m, MK_MESSAGE_HELLO);
	strcpy(m.hello.engine, "cuda");
	assert_int_equal(give(&m, m.head.bytes, region.fd, 1), -MK_EENGINE);
	assert_non_null(strstr(serve.out.error.text, "cuda"));
	make(&m, MK_MESSAGE_HELLO);
	m.hello.config.device = 5;
	assert_int_equal(give(&m, m.head.bytes, region.fd, 1), -MK_EENGINE);
	assert_int_equal(serve.out.error.native, 42);
	assert_non_null(strstr(serve.out.error.text, "device is 5"));
	stub_region_free(&region);
}

/* A request whose caller has given up is left undone. */
static void test_serve_late(void **state)
{
	static struct mk_message m;
	struct mk_region region;
	uint32_t entered;

	(void)state;
	stub_region(&region, STUB_TOTAL, STUB_SEALS);
	mk_serve_init(&serve, stub_find);
	assert_int_equal(give_op(MK_MESSAGE_HELLO, region.fd), 0);
	entered = stub_record(&region)->entered;
	make(&m, MK_MESSAGE_PAUSE);
	m.head.deadline_ns = mk_now_ns() - 1;
	assert_int_equal(give(&m, m.head.bytes, -1, 0), -ETIME);
	assert_int_equal(stub_record(&region)->entered, entered);
	make(&m, MK_MESSAGE_CLOSE);
	m.head.deadline_ns = 0;
	assert_int_equal(give(&m, m.head.bytes, -1, 0), 0);
	assert_true(serve.done);
	stub_region_free(&region);
}

/* ---- the channel ------------------------------------------------------ */

static void test_channel(void **state)
{
	int before = open_fds(), pair[2];
	char data[16];
	struct mk_packet p = { .data = data, .room = sizeof(data) };

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
				    pair), 0);
	assert_int_equal(mk_channel_recv(pair[0], &p, 0), -ETIME);
	assert_int_equal(mk_channel_recv(pair[0], &p, mk_now_ns() + 1000000),
			 -ETIME);
	assert_int_equal(mk_channel_send(pair[1], "hello", 5, pair[0],
					 UINT64_MAX), 0);
	assert_int_equal(mk_channel_recv(pair[0], &p, UINT64_MAX), 0);
	assert_int_equal(p.bytes, 5);
	assert_int_equal(p.fd_count, 1);
	assert_memory_equal(data, "hello", 5);
	assert_true(fcntl(p.fds[0], F_GETFD) & FD_CLOEXEC);
	mk_packet_close(&p);
	/* longer than the room */
	assert_int_equal(mk_channel_send(pair[1], "0123456789abcdefXYZ", 19,
					 -1, UINT64_MAX), 0);
	assert_int_equal(mk_channel_recv(pair[0], &p, UINT64_MAX), 0);
	assert_int_equal(p.bytes, 19);
	/* no bytes at all are a packet as long as there is another side */
	assert_int_equal(mk_channel_send(pair[1], "", 0, -1, UINT64_MAX), 0);
	assert_int_equal(mk_channel_recv(pair[0], &p, UINT64_MAX), 0);
	assert_int_equal(p.bytes, 0);
	/* what was sent before the end is read before the end; and unread
	 * bytes of the other side's do not hide it */
	assert_int_equal(mk_channel_send(pair[0], "unread", 6, -1,
					 UINT64_MAX), 0);
	assert_int_equal(mk_channel_send(pair[1], "last", 4, -1, UINT64_MAX),
			 0);
	close(pair[1]);
	assert_int_equal(mk_channel_recv(pair[0], &p, UINT64_MAX), 0);
	assert_int_equal(p.bytes, 4);
	assert_int_equal(mk_channel_recv(pair[0], &p, UINT64_MAX), -EPIPE);
	assert_int_equal(mk_channel_send(pair[0], "x", 1, -1, UINT64_MAX),
			 -EPIPE);
	close(pair[0]);
	assert_int_equal(open_fds(), before);
}

/* More descriptors than are taken: all are closed, and that is told. */
static void test_channel_surplus(void **state)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(9 * sizeof(int))];
	} control = { 0 };
	int before = open_fds(), pair[2], fds[9];
	struct iovec iov = { .iov_base = "x", .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	char data[16];
	struct mk_packet p = { .data = data, .room = sizeof(data) };

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
				    pair), 0);
	for (int i = 0; i < 9; i++)
		fds[i] = pair[0];
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(&control.align), fds, sizeof(fds));
	assert_int_equal(sendmsg(pair[1], &msg, MSG_NOSIGNAL), 1);
	assert_int_equal(mk_channel_recv(pair[0], &p, UINT64_MAX), 0);
	assert_true(p.fds_lost);
	assert_int_equal(p.fd_count, MK_CHANNEL_FDS);
	mk_packet_close(&p);
	close(pair[0]);
	close(pair[1]);
	assert_int_equal(open_fds(), before);
}

/* Nobody reads: sending ends at its deadline. */
static void test_channel_full(void **state)
{
	static char data[32768];
	int pair[2], r = 0;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
				    pair), 0);
	for (int i = 0; i < 100000 && !r; i++)
		r = mk_channel_send(pair[0], data, sizeof(data), -1,
				    mk_now_ns() + 1000000);
	assert_int_equal(r, -ETIME);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_valid),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_wrong_lengths),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_other_version),
		cmocka_unit_test(test_block),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_wrong_answer),
		cmocka_unit_test(test_serve),
		cmocka_unit_test(test_serve_garbage),
		cmocka_unit_test(test_serve_fds),
		cmocka_unit_test(test_serve_region),
		cmocka_unit_test(test_serve_block),
		cmocka_unit_test(test_serve_engine),
		cmocka_unit_test(test_serve_late),
		cmocka_unit_test(test_channel),
		cmocka_unit_test(test_channel_surplus),
		cmocka_unit_test(test_channel_full),
	};

	alarm(100); /* a hang is a failure */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
