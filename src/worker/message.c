/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/message.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/error.h"

MK_ASSERT_SIZE(struct mk_message_head, 48);
MK_ASSERT_SIZE(struct mk_engine_config, 80 + MK_CACHE_DIR_BYTES);
MK_ASSERT_SIZE(struct mk_queue_desc, 80);
MK_ASSERT_SIZE(struct mk_buffer_desc, 112);
MK_ASSERT_SIZE(struct mk_opcode_map, 56);
MK_ASSERT_SIZE(struct mk_handler_info, 60);
MK_ASSERT_SIZE(struct mk_error, 1080);
MK_ASSERT_AT(struct mk_message, hello, 48);
MK_ASSERT_AT(struct mk_answer, handlers, 1128);

#define MODULE_BYTES MK_OFFSETOF(struct mk_message_module, map)

/* What each op carries. */
static const struct shape {
	const char *name;
	uint32_t body;   /* bytes behind the head, without the array */
	uint32_t fds_min, fds_max;
} shapes[MK_MESSAGE_OPS] = {
	[0] = { "unknown", 0, 0, 0 },
	[MK_MESSAGE_HELLO] = { "hello", sizeof(struct mk_message_hello), 1, 1 },
	[MK_MESSAGE_CLOSE] = { "close", sizeof(struct mk_message_target), 0,
			       0 },
	[MK_MESSAGE_QUEUE_ATTACH] = { "queue_attach",
				      sizeof(struct mk_queue_desc), 0, 1 },
	[MK_MESSAGE_QUEUE_DETACH] = { "queue_detach",
				      sizeof(struct mk_message_target), 0, 0 },
	[MK_MESSAGE_QUEUE_EVENT_FD] = { "queue_event_fd",
					sizeof(struct mk_message_target), 0,
					1 },
	[MK_MESSAGE_BUFFER_ATTACH] = { "buffer_attach",
				       sizeof(struct mk_buffer_desc), 0, 0 },
	[MK_MESSAGE_BUFFER_DETACH] = { "buffer_detach",
				       sizeof(struct mk_message_target), 0,
				       0 },
	[MK_MESSAGE_BUFFER_COPY] = { "buffer_copy",
				     sizeof(struct mk_message_copy), 0, 0 },
	[MK_MESSAGE_MODULE_OPEN] = { "module_open", MODULE_BYTES, 1, 1 },
	[MK_MESSAGE_MODULE_BIND] = { "module_bind", MODULE_BYTES, 0, 0 },
	[MK_MESSAGE_MODULE_CLOSE] = { "module_close",
				      sizeof(struct mk_message_target), 0, 0 },
	[MK_MESSAGE_PAUSE] = { "pause", sizeof(struct mk_message_target), 0,
			       0 },
	[MK_MESSAGE_RESUME] = { "resume", 0, 0, 0 },
};

const char *mk_message_name(uint32_t op)
{
	return shapes[op < MK_MESSAGE_OPS ? op : 0].name;
}

static size_t message_bytes(uint32_t op, uint32_t count)
{
	return sizeof(struct mk_message_head) + shapes[op].body +
	       (size_t)count * sizeof(struct mk_opcode_map);
}

void mk_message_seal(struct mk_message *m, uint32_t op, uint32_t fds,
		     uint32_t count)
{
	m->head = (struct mk_message_head){
		.magic = MK_MESSAGE_MAGIC,
		.bytes = (uint32_t)message_bytes(op, count),
		.abi = MK_ABI_VERSION,
		.fingerprint = MK_FINGERPRINT,
		.op = op,
		.fds = fds,
		.count = count,
	};
}

/* ---- requests --------------------------------------------------------- */

#define refuse(op, ...) \
	mk_error_set(-MK_EPROTO, 0, mk_message_name(op), __VA_ARGS__)

static bool power_of_two(uint32_t n)
{
	return n && !(n & (n - 1));
}

static bool terminated(const char *text, size_t room)
{
	return text[0] && memchr(text, '\0', room);
}

static bool inside(uint64_t offset, uint64_t bytes, uint64_t from, uint64_t to)
{
	return offset >= from && offset <= to && bytes <= to - offset;
}

/* Head and length: everything but the body. */
static int check_head(const struct mk_message_head *h, size_t bytes,
		      unsigned fds)
{
	const char *op = "message";

	if (bytes < sizeof(*h))
		return mk_error_set(-MK_EPROTO, 0, op,
				    "%zu bytes are no message; a head has %zu",
				    bytes, sizeof(*h));
	if (h->magic != MK_MESSAGE_MAGIC)
		return mk_error_set(-MK_EPROTO, 0, op,
				    "magic is 0x%08" PRIx32 ", not 0x%08x",
				    h->magic, MK_MESSAGE_MAGIC);
	if (h->abi != MK_ABI_VERSION || h->fingerprint != MK_FINGERPRINT)
		return mk_error_set(
			-MK_EABI, 0, op,
			"the sender has ABI version %" PRIu32
			" with fingerprint 0x%08" PRIx32
			", this side has %u with 0x%08x; library and worker "
			"program must come from the same build",
			h->abi, h->fingerprint, MK_ABI_VERSION,
			(unsigned)MK_FINGERPRINT);
	if (!h->op || h->op >= MK_MESSAGE_OPS)
		return mk_error_set(-MK_EPROTO, 0, op,
				    "op is %" PRIu32 "; known are 1 to %d",
				    h->op, MK_MESSAGE_OPS - 1);
	if (h->count > MK_OPCODES)
		return refuse(h->op, "count is %" PRIu32 ", at most %u",
			      h->count, MK_OPCODES);
	if (h->bytes != bytes)
		return refuse(h->op, "bytes is %" PRIu32 ", %zu arrived",
			      h->bytes, bytes);
	if (h->fds != fds)
		return refuse(h->op, "fds is %" PRIu32 ", %u arrived", h->fds,
			      fds);
	return 0;
}

static int check_hello(const struct mk_message_hello *m)
{
	const struct mk_engine_config *c = &m->config;
	uint32_t op = MK_MESSAGE_HELLO;

	if (!terminated(m->engine, sizeof(m->engine)))
		return refuse(op, "engine is empty or not terminated");
	if (!c->workers || c->workers > MK_WORKERS_MAX)
		return refuse(op, "workers is %" PRIu32 ", 1 to %u",
			      c->workers, MK_WORKERS_MAX);
	if (!c->windows || c->windows > MK_WINDOWS_MAX)
		return refuse(op, "windows is %" PRIu32 ", 1 to %u",
			      c->windows, MK_WINDOWS_MAX);
	if (c->scratch_bytes > MK_SCRATCH_MAX)
		return refuse(op, "scratch_bytes is %" PRIu32 ", at most %u",
			      c->scratch_bytes, MK_SCRATCH_MAX);
	if (c->native_context || c->native_stream)
		return refuse(op, "native_context is 0x%" PRIx64
			      ", native_stream 0x%" PRIx64
			      ": none is of this process",
			      c->native_context, c->native_stream);
	if (c->made_mode > MK_MADE_FIXED || !c->made_entries ||
	    c->made_entries > MK_MADE_ENTRIES_MAX)
		return refuse(op, "made_mode is %" PRIu32 ", made_entries %"
			      PRIu32, c->made_mode, c->made_entries);
	if (c->heartbeat > MK_HEARTBEAT_OFF || c->reserved)
		return refuse(op, "heartbeat is %" PRIu32 ", reserved %" PRIu32,
			      c->heartbeat, c->reserved);
	if (c->cache > MK_CACHE_DIR)
		return refuse(op, "cache is %" PRIu32, c->cache);
	if ((c->cache == MK_CACHE_DIR) !=
	    terminated(c->cache_dir, sizeof(c->cache_dir)))
		return refuse(op, "cache_dir is empty, not terminated, or of "
			      "no use with cache %" PRIu32, c->cache);
	if (c->shared_bytes < sizeof(struct mk_context_block) ||
	    c->shared_bytes % MK_LINE || c->total_bytes < c->shared_bytes ||
	    c->total_bytes > (uint64_t)INT64_MAX)
		return refuse(op,
			      "shared_bytes is %" PRIu64
			      " of total_bytes %" PRIu64,
			      c->shared_bytes, c->total_bytes);
	return 0;
}

/* One array of a queue block: count entries of `size` behind `fixed` bytes. */
static int check_part(const struct mk_queue_desc *q, const char *what,
		      uint32_t offset, uint64_t fixed, uint64_t size,
		      uint32_t count)
{
	if (offset % MK_LINE)
		return refuse(MK_MESSAGE_QUEUE_ATTACH,
			      "%s_offset is %" PRIu32
			      ", not a multiple of %u",
			      what, offset, MK_LINE);
	if (!inside(offset, fixed + size * count,
		    sizeof(struct mk_queue_block), q->block_bytes))
		return refuse(MK_MESSAGE_QUEUE_ATTACH,
			      "%s_offset is %" PRIu32 ": %" PRIu32
			      " entries there lie outside the block of %" PRIu64
			      " bytes",
			      what, offset, count, q->block_bytes);
	return 0;
}

static int check_records(const char *what, uint32_t records)
{
	if (power_of_two(records) && records <= MK_RECORDS_MAX)
		return 0;
	return refuse(MK_MESSAGE_QUEUE_ATTACH,
		      "%s is %" PRIu32 ", a power of two up to %u", what,
		      records, MK_RECORDS_MAX);
}

static int check_queue_block(const struct mk_queue_desc *q,
			     const struct mk_message_limits *limits)
{
	uint32_t op = MK_MESSAGE_QUEUE_ATTACH;

	if (q->index >= MK_QUEUES_MAX)
		return refuse(op, "index is %" PRIu32 ", below %u", q->index,
			      MK_QUEUES_MAX);
	if (q->priority >= MK_PRIORITIES)
		return refuse(op, "priority is %" PRIu32 ", below %u",
			      q->priority, MK_PRIORITIES);
	if (!power_of_two(q->entries) || q->entries < MK_RING_ENTRIES_MIN ||
	    q->entries > MK_RING_ENTRIES_MAX)
		return refuse(op, "entries is %" PRIu32
			      ", a power of two from %u to %u",
			      q->entries, MK_RING_ENTRIES_MIN,
			      MK_RING_ENTRIES_MAX);
	if (q->observables > MK_OBSERVABLES_MAX)
		return refuse(op, "observables is %" PRIu32 ", at most %u",
			      q->observables, MK_OBSERVABLES_MAX);
	if (q->block_offset % MK_LINE)
		return refuse(op, "block_offset is %" PRIu64
			      ", not a multiple of %u",
			      q->block_offset, MK_LINE);
	if (q->block_bytes < sizeof(struct mk_queue_block) ||
	    !inside(q->block_offset, q->block_bytes,
		    sizeof(struct mk_context_block), limits->shared_bytes))
		return refuse(op, "the block at %" PRIu64 " of %" PRIu64
			      " bytes lies outside the shared %" PRIu64,
			      q->block_offset, q->block_bytes,
			      limits->shared_bytes);
	return 0;
}

static int check_queue(const struct mk_queue_desc *q,
		       const struct mk_message_limits *limits)
{
	int err = check_queue_block(q, limits);

	if (!err)
		err = check_part(q, "slots", q->slots_offset, 0,
				 sizeof(struct mk_wire_slot), q->entries);
	if (!err)
		err = check_part(q, "completions", q->completions_offset, 0,
				 sizeof(struct mk_wire_completion),
				 q->entries);
	if (!err)
		err = check_part(q, "ext", q->ext_offset, 0,
				 sizeof(struct mk_wire_ext), q->entries);
	if (!err)
		err = check_part(q, "control", q->control_offset,
				 sizeof(struct mk_control), sizeof(uint64_t),
				 q->observables);
	if (!err)
		err = check_records("log_records", q->log_records);
	if (!err)
		err = check_part(q, "log", q->log_offset,
				 sizeof(struct mk_debug_log),
				 sizeof(struct mk_debug_record),
				 q->log_records);
	if (!err && q->skip_until - q->first_ticket > q->entries)
		err = refuse(MK_MESSAGE_QUEUE_ATTACH,
			     "skip_until is %" PRIu64
			     ", at most entries beyond first_ticket %" PRIu64,
			     q->skip_until, q->first_ticket);
	if (err || (!q->io_offset && !q->io_records))
		return err; /* a queue may do without an IO queue */
	err = check_records("io_records", q->io_records);
	if (!err)
		err = check_part(q, "io", q->io_offset,
				 sizeof(struct mk_io_queue),
				 sizeof(struct mk_io_record), q->io_records);
	return err;
}

static int check_window(uint32_t op, uint32_t index,
			const struct mk_message_limits *limits)
{
	if (index < limits->windows)
		return 0;
	return refuse(op, "index is %" PRIu32 ", below %" PRIu32, index,
		      limits->windows);
}

/* Where the memory is: pointers mean nothing in another process. */
static int check_origin(const struct mk_buffer_desc *b,
			const struct mk_message_limits *limits)
{
	uint32_t op = MK_MESSAGE_BUFFER_ATTACH;

	if (b->address || b->reserved)
		return refuse(op, "address is 0x%" PRIx64 ", reserved %" PRIu32
			      "; both must be 0", b->address, b->reserved);
	if (b->origin == MK_ORIGIN_ENGINE)
		return 0;
	if (limits->host_memory || (b->origin != MK_ORIGIN_SHARED &&
				    b->origin != MK_ORIGIN_IPC))
		return refuse(op, "origin is %" PRIu32
			      ", not for this engine here", b->origin);
	if (b->origin == MK_ORIGIN_IPC) {
		if (b->bytes <= UINT64_MAX - b->offset)
			return 0;
		return refuse(op, "offset %" PRIu64 " and bytes %" PRIu64
			      " overflow", b->offset, b->bytes);
	}
	if (b->offset % MK_LINE ||
	    !inside(b->offset, b->bytes, sizeof(struct mk_context_block),
		    limits->shared_bytes))
		return refuse(op, "%" PRIu64 " bytes at %" PRIu64
			      " do not lie in the shared %" PRIu64,
			      b->bytes, b->offset, limits->shared_bytes);
	return 0;
}

static int check_buffer(const struct mk_buffer_desc *b,
			const struct mk_message_limits *limits)
{
	uint32_t op = MK_MESSAGE_BUFFER_ATTACH;
	int err = check_window(op, b->index, limits);

	if (err)
		return err;
	if (!b->generation)
		return refuse(op, "generation is 0");
	if (b->flags & ~(uint32_t)MK_BUFFER_READ_ONLY)
		return refuse(op, "flags is 0x%" PRIx32 "; known is 0x%x",
			      b->flags, MK_BUFFER_READ_ONLY);
	if (b->born > b->generation)
		return refuse(op, "born is %" PRIu32 ", past the generation, %"
			      PRIu32, b->born, b->generation);
	if (!b->bytes)
		return refuse(op, "bytes is 0");
	err = check_origin(b, limits);
	if (err)
		return err;
	if (!limits->host_memory)
		return 0; /* the offset means nothing; the engine allocates */
	if (b->offset % MK_LINE ||
	    !inside(b->offset, b->bytes, limits->shared_bytes,
		    limits->total_bytes))
		return refuse(op, "%" PRIu64 " bytes at %" PRIu64
			      " do not lie in the heap, %" PRIu64
			      " to %" PRIu64,
			      b->bytes, b->offset, limits->shared_bytes,
			      limits->total_bytes);
	return 0;
}

static int check_copy(const struct mk_message_copy *c,
		      const struct mk_message_limits *limits)
{
	uint32_t op = MK_MESSAGE_BUFFER_COPY;
	int err = check_window(op, c->index, limits);

	if (err)
		return err;
	if (c->flags & ~(uint32_t)(MK_COPY_TO_DEVICE | MK_COPY_BEHIND))
		return refuse(op, "flags is 0x%" PRIx32 ", known are 0x%x",
			      c->flags,
			      (unsigned)(MK_COPY_TO_DEVICE | MK_COPY_BEHIND));
	if (c->bytes > UINT64_MAX - c->offset)
		return refuse(op, "offset %" PRIu64 " and bytes %" PRIu64
			      " overflow",
			      c->offset, c->bytes);
	if (!inside(c->staging, c->bytes, sizeof(struct mk_context_block),
		    limits->total_bytes))
		return refuse(op, "%" PRIu64 " bytes at %" PRIu64
			      " do not lie in the region of %" PRIu64,
			      c->bytes, c->staging, limits->total_bytes);
	return 0;
}

static int check_target(const struct mk_message *m,
			const struct mk_message_limits *limits)
{
	const struct mk_message_target *t = &m->target;
	uint32_t op = m->head.op;

	if (t->reserved)
		return refuse(op, "reserved is %" PRIu32 ", not 0",
			      t->reserved);
	switch (op) {
	case MK_MESSAGE_QUEUE_DETACH:
	case MK_MESSAGE_QUEUE_EVENT_FD:
		if (t->index >= MK_QUEUES_MAX)
			return refuse(op, "index is %" PRIu32 ", below %u",
				      t->index, MK_QUEUES_MAX);
		return 0;
	case MK_MESSAGE_BUFFER_DETACH:
		return check_window(op, t->index, limits);
	case MK_MESSAGE_MODULE_CLOSE:
		if (!t->index)
			return refuse(op, "id is 0");
		return 0;
	default:
		if (t->index)
			return refuse(op, "index is %" PRIu32 ", not 0",
				      t->index);
		return 0;
	}
}

static int check_module(const struct mk_message *m)
{
	const struct mk_message_module *d = &m->module;
	bool open = m->head.op == MK_MESSAGE_MODULE_OPEN;
	uint32_t op = m->head.op;

	if (!d->id)
		return refuse(op, "id is 0");
	if (open ? !d->max || d->max > MK_OPCODES : d->max)
		return refuse(op, "max is %" PRIu32 ", %s", d->max,
			      open ? "1 to 256" : "not 0");
	if (d->flags & ~(open ? (uint32_t)MK_OPEN_MORE : 0u) || d->reserved)
		return refuse(op, "flags are 0x%" PRIx32 ", reserved is %"
			      PRIu32, d->flags, d->reserved);
	for (uint32_t i = 0; i < m->head.count; i++) {
		const struct mk_opcode_map *map = &d->map[i];

		if (!terminated(map->name, sizeof(map->name)))
			return refuse(op, "name of entry %" PRIu32
				      " is empty or not terminated",
				      i);
		if (map->opcode >= MK_OPCODES || map->reserved)
			return refuse(op, "opcode of entry %" PRIu32
				      " is %" PRIu32 ", below %u",
				      i, map->opcode, MK_OPCODES);
	}
	return 0;
}

/* Does the head fit its op, and the op the state of the worker? */
static int check_shape(const struct mk_message_head *h,
		       const struct mk_message_limits *limits)
{
	const struct shape *shape = &shapes[h->op];

	if (h->count && h->op != MK_MESSAGE_MODULE_BIND)
		return refuse(h->op, "count is %" PRIu32 ", not 0", h->count);
	if (h->bytes != message_bytes(h->op, h->count))
		return refuse(h->op, "bytes is %" PRIu32 ", not %zu", h->bytes,
			      message_bytes(h->op, h->count));
	if (h->fds < shape->fds_min || h->fds > shape->fds_max)
		return refuse(h->op, "fds is %" PRIu32 ", %" PRIu32
			      " to %" PRIu32,
			      h->fds, shape->fds_min, shape->fds_max);
	if (h->result)
		return refuse(h->op, "result is %" PRId32 " in a request",
			      h->result);
	if (!h->sequence)
		return refuse(h->op, "sequence is 0");
	if (h->op == MK_MESSAGE_HELLO && limits->open)
		return refuse(h->op, "the engine is open already");
	if (h->op != MK_MESSAGE_HELLO && h->op != MK_MESSAGE_CLOSE &&
	    !limits->open)
		return refuse(h->op, "no engine is open; say hello first");
	return 0;
}

int mk_message_check(const struct mk_message *m, size_t bytes, unsigned fds,
		     const struct mk_message_limits *limits)
{
	int err = check_head(&m->head, bytes, fds);

	if (!err)
		err = check_shape(&m->head, limits);
	if (err)
		return err;
	switch (m->head.op) {
	case MK_MESSAGE_HELLO:
		return check_hello(&m->hello);
	case MK_MESSAGE_QUEUE_ATTACH:
		return check_queue(&m->queue, limits);
	case MK_MESSAGE_BUFFER_ATTACH:
		return check_buffer(&m->buffer, limits);
	case MK_MESSAGE_BUFFER_COPY:
		return check_copy(&m->copy, limits);
	case MK_MESSAGE_MODULE_OPEN:
	case MK_MESSAGE_MODULE_BIND:
		return check_module(m);
	case MK_MESSAGE_RESUME:
		return 0;
	default:
		return check_target(m, limits);
	}
}

int mk_message_check_block(const struct mk_context_block *b,
			   const struct mk_engine_config *c)
{
	const char *op = mk_message_name(MK_MESSAGE_HELLO);

	if (b->header.magic != MK_MAGIC_CONTEXT)
		return mk_error_set(-MK_ESHARED, 0, op,
				    "magic of the context block is 0x%08" PRIx32
				    ", not 0x%08x",
				    b->header.magic, MK_MAGIC_CONTEXT);
	if (b->header.abi != MK_ABI_VERSION ||
	    b->header.fingerprint != MK_FINGERPRINT)
		return mk_error_set(-MK_EABI, 0, op,
				    "the context block has ABI version %" PRIu32
				    " with fingerprint 0x%08" PRIx32
				    ", the worker %u with 0x%08x",
				    b->header.abi, b->header.fingerprint,
				    MK_ABI_VERSION, (unsigned)MK_FINGERPRINT);
	if (b->total_bytes != c->total_bytes ||
	    b->shared_bytes != c->shared_bytes)
		return mk_error_set(-MK_ESHARED, 0, op,
				    "the context block says %" PRIu64
				    " shared of %" PRIu64
				    " bytes, the message %" PRIu64
				    " of %" PRIu64,
				    b->shared_bytes, b->total_bytes,
				    c->shared_bytes, c->total_bytes);
	if (b->workers != c->workers || b->workers_offset % MK_LINE ||
	    !inside(b->workers_offset,
		    (uint64_t)c->workers * sizeof(struct mk_worker_block),
		    sizeof(*b), c->shared_bytes))
		return mk_error_set(-MK_ESHARED, 0, op,
				    "%" PRIu32
				    " worker blocks at offset %" PRIu32
				    " are not the %" PRIu32
				    " of the message, or lie outside",
				    b->workers, b->workers_offset, c->workers);
	return 0;
}

/* ---- answers ---------------------------------------------------------- */

static size_t answer_bytes(uint32_t count)
{
	return MK_OFFSETOF(struct mk_answer, handlers) +
	       (size_t)count * sizeof(struct mk_handler_info);
}

size_t mk_answer_seal(struct mk_answer *a, const struct mk_message_head *asked,
		      int result, uint32_t count)
{
	a->head = (struct mk_message_head){
		.magic = MK_MESSAGE_MAGIC,
		.bytes = (uint32_t)answer_bytes(result ? 0 : count),
		.abi = MK_ABI_VERSION,
		.fingerprint = MK_FINGERPRINT,
		.op = asked->op,
		.count = result ? 0 : count,
		.result = result,
		.sequence = asked->sequence,
	};
	memset(&a->error, 0, sizeof(a->error));
	if (result) {
		/* an engine that failed without words gets the general ones */
		if (mk_error_last()->code != result)
			mk_error_set(result, 0, mk_message_name(asked->op),
				     "%s", mk_strerror(result));
		a->error = *mk_error_last();
	}
	return a->head.bytes;
}

#define malformed(...) \
	mk_error_set(-MK_EPROTO, 0, "answer of the worker", __VA_ARGS__)

static int check_handlers(const struct mk_answer *a)
{
	for (uint32_t i = 0; i < a->head.count; i++) {
		const struct mk_handler_info *h = &a->handlers[i];

		if (!terminated(h->name, sizeof(h->name)))
			return malformed("name of handler %" PRIu32
					 " is empty or not terminated",
					 i);
		if (h->arg_bytes > MK_ARG_BYTES || h->width > MK_WIDTH_BLOCK)
			return malformed("handler %" PRIu32
					 " has arg_bytes %u and width %u",
					 i, h->arg_bytes, h->width);
	}
	return 0;
}

int mk_answer_check(const struct mk_answer *a, size_t bytes,
		    const struct mk_message_head *asked, uint32_t max)
{
	const struct mk_message_head *h = &a->head;
	int err = check_head(h, bytes, 0);

	if (err)
		return err;
	if (h->bytes != answer_bytes(h->count))
		return malformed("bytes is %" PRIu32 " with count %" PRIu32,
				 h->bytes, h->count);
	if (h->sequence && h->sequence < asked->sequence)
		return 1;
	if (h->sequence != asked->sequence || h->op != asked->op)
		return malformed("it answers %s %" PRIu64 ", asked was %s %"
				 PRIu64,
				 mk_message_name(h->op), h->sequence,
				 mk_message_name(asked->op), asked->sequence);
	if (h->result > 0 || h->result != a->error.code)
		return malformed("result is %" PRId32 " with error code %d",
				 h->result, a->error.code);
	if (h->count > max || (h->result && h->count))
		return malformed("it has %" PRIu32 " handlers, at most %"
				 PRIu32,
				 h->count, h->result ? 0 : max);
	return check_handlers(a);
}
