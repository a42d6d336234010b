/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arbitrary bytes as parameter structs. Every call has to say one of the codes
 * that its header names, in words that are its own, and what it made has to
 * work and to go away again.
 *
 * Input: byte 0: what is made (0 context, 1 queue, 2 dispatch, 3 control).
 *        byte 1: options, below; then the struct, in memory of its exact size.
 *
 * Of a context only isolation none is made: no process is started, and no
 * more than two threads.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <megakernel.h>

#include "require.h"

#define SIZE_MOST 4096u
#define BOUND_NS UINT64_C(20000000000) /* longer is a hang */

enum option {
	FIX_SIZE = 1,     /* the size field is the size of the struct */
	RAW_ISOLATION = 2, /* an isolation that there is not */
	RAW_MEMORY = 4,   /* sizes stay as they are if they must be refused */
	RAW_WORKERS = 8,  /* the same of workers */
	STRING_SHIFT = 4, /* bits 4-6: which engine */
	NO_DIRECTORY = 0xc0 /* both: evidence_dir is none */
};

static struct mk_ctx *ctx; /* for queues and dispatches */
static unsigned char *params;
static uint32_t params_size;
static bool params_huge; /* the field says more than is believed */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int codes[] = { EINVAL, E2BIG, ENOMEM, EMFILE, ENFILE, ENOSPC,
			     ENOENT, MK_EENGINE, MK_EOVERFLOW };

/* A code that the header names, with the sentence of this failure. */
static void check_failure(int64_t r, const char *operation)
{
	const struct mk_error *error = mk_error_last();
	unsigned i;

	for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (r == -codes[i])
			break;
	REQUIRE(i < sizeof(codes) / sizeof(codes[0]));
	REQUIRE(error->code == r && error->text[0]);
	REQUIRE(!strcmp(error->operation, operation));
	REQUIRE(strlen(error->text) < sizeof(error->text));
	REQUIRE(strcmp(mk_code_name((int)r), "unknown"));
}

static void setup(void)
{
	struct mk_ctx_params p = {
		.size = sizeof(p), .isolation = MK_ISOLATION_NONE,
		.workers = 1, .shared_bytes = 16u << 20,
		.heap_bytes = 1u << 20, .idle_ns = 20000,
	};

	REQUIRE(!mk_ctx_create(&p, &ctx));
}

/* ---- the struct -------------------------------------------------------- */

/*
 * Memory that has as many bytes as the size field says, and at least those
 * that the smallest struct has: what is more comes from the input, then zero.
 */
static void take_params(const uint8_t *data, size_t size, unsigned options,
			size_t known)
{
	uint32_t says = 0;
	size_t room;

	memcpy(&says, data, size < sizeof(says) ? size : sizeof(says));
	if (options & FIX_SIZE)
		says = (uint32_t)known;
	/* beyond the most that is believed, only the field is read */
	room = says > SIZE_MOST || says < sizeof(says) ? sizeof(says) : says;
	params = calloc(1, room);
	REQUIRE(params);
	memcpy(params, data, size < room ? size : room);
	memcpy(params, &says, sizeof(says));
	params_huge = says > SIZE_MOST;
	params_size = params_huge ? 0 : says;
}

static uint64_t get(size_t offset, size_t bytes)
{
	uint64_t value = 0;

	if (offset + bytes <= params_size)
		memcpy(&value, params + offset, bytes);
	return value;
}

static void put(size_t offset, size_t bytes, uint64_t value)
{
	if (offset + bytes <= params_size)
		memcpy(params + offset, &value, bytes);
}

#define AT(type, field) offsetof(struct type, field), \
			sizeof(((struct type *)0)->field)

/* Must a struct of this size be taken for one of `known` bytes, or of the
 * `first` that it once had? */
static int size_code(size_t known, size_t first)
{
	if (params_huge)
		return -E2BIG;
	if (params_size < known && params_size != first)
		return -EINVAL;
	for (size_t i = known; i < params_size; i++)
		if (params[i])
			return -E2BIG;
	return 0;
}

/* ---- contexts ---------------------------------------------------------- */

static void put_string(size_t offset, const char *text)
{
	put(offset, sizeof(text), (uintptr_t)text);
}

/* Sizes that may be granted become small; hopeless ones may stay. */
static void tame_memory(unsigned options)
{
	uint64_t shared = get(AT(mk_ctx_params, shared_bytes));
	uint64_t heap = get(AT(mk_ctx_params, heap_bytes));
	uint64_t windows = get(AT(mk_ctx_params, buffers_max));
	uint64_t scratch = get(AT(mk_ctx_params, scratch_bytes));

	if (!(options & RAW_MEMORY) || shared <= UINT64_C(1) << 32)
		put(AT(mk_ctx_params, shared_bytes), shared % (1u << 20) + 1);
	if (!(options & RAW_MEMORY) || heap <= UINT64_C(1) << 46)
		put(AT(mk_ctx_params, heap_bytes), heap % (1u << 20) + 1);
	if (!(options & RAW_MEMORY) || windows <= 1u << 20)
		put(AT(mk_ctx_params, buffers_max), windows % 1024);
	if (!(options & RAW_MEMORY) || scratch <= 64u << 20)
		put(AT(mk_ctx_params, scratch_bytes), scratch % 65536);
}

static void tame_ctx(unsigned options)
{
	static const char *const engines[] = { NULL, "cpu", "", "cuda",
					       "none", "CPU", "cpu", NULL };
	uint64_t isolation = get(AT(mk_ctx_params, isolation));
	uint64_t workers = get(AT(mk_ctx_params, workers));

	if (!(options & RAW_ISOLATION) || isolation <= MK_ISOLATION_NONE)
		put(AT(mk_ctx_params, isolation), MK_ISOLATION_NONE);
	if (!(options & RAW_WORKERS) || workers <= 1024)
		put(AT(mk_ctx_params, workers), 1 + workers % 2);
	tame_memory(options);
	put_string(offsetof(struct mk_ctx_params, engine),
		   engines[options >> STRING_SHIFT & 7]);
	put_string(offsetof(struct mk_ctx_params, cache_dir),
		   options & 0x80 ? "/nonexistent/cache" : NULL);
	put_string(offsetof(struct mk_ctx_params, worker_path),
		   options & 0x80 ? "/nonexistent/worker" : NULL);
	put_string(offsetof(struct mk_ctx_params, compiler),
		   options & 0x80 ? "" : NULL);
	put_string(offsetof(struct mk_ctx_params, evidence_dir),
		   (options & NO_DIRECTORY) == NO_DIRECTORY ?
			   "/nonexistent/evidence" :
		   options & 0x80 ? "." : NULL);
}

/* A field that has to be refused, whatever else there is. */
static bool ctx_refused(void)
{
	uint64_t hang = get(AT(mk_ctx_params, hang_ns));

	return get(AT(mk_ctx_params, recovery)) > MK_RECOVERY_BUDGET ||
	       get(AT(mk_ctx_params, restarts_max)) > 1u << 30 ||
	       get(AT(mk_ctx_params, restart_delay_ns)) >
		       UINT64_C(3600000000000) ||
	       (hang && hang < 1000000) ||
	       (get(AT(mk_ctx_params, recovery)) > MK_RECOVERY_OFF &&
		get(AT(mk_ctx_params, isolation)) == MK_ISOLATION_NONE) ||
	       get(AT(mk_ctx_params, isolation)) > MK_ISOLATION_NONE ||
	       get(AT(mk_ctx_params, workers)) > 1024 ||
	       get(AT(mk_ctx_params, made_mode)) > MK_MADE_FIXED ||
	       get(AT(mk_ctx_params, made_entries)) > MK_MADE_ENTRIES_MAX ||
	       get(AT(mk_ctx_params, buffers_max)) > 1u << 20 ||
	       get(AT(mk_ctx_params, scratch_bytes)) > 64u << 20 ||
	       get(AT(mk_ctx_params, shared_bytes)) > UINT64_C(1) << 32 ||
	       get(AT(mk_ctx_params, heap_bytes)) > UINT64_C(1) << 46;
}

static void use_ctx(struct mk_ctx *made)
{
	struct mk_slot slot;
	struct mk_completion answer;
	struct mk_ctx_info info;
	struct mk_queue_params qp = { .size = sizeof(qp), .entries = 2,
				      .observables = 1, .log_records = 1,
				      .io_records = 1 };
	struct mk_queue *q;

	REQUIRE(!mk_ctx_info(made, &info));
	REQUIRE(info.isolation == MK_ISOLATION_NONE && !info.worker_pid);
	REQUIRE(info.workers == get(AT(mk_ctx_params, workers)));
	REQUIRE(info.shared_bytes >= get(AT(mk_ctx_params, shared_bytes)));
	REQUIRE(info.heap_bytes >= get(AT(mk_ctx_params, heap_bytes)));
	REQUIRE(info.shared_used <= info.shared_bytes && !info.heap_used);
	if (!mk_queue_create(made, &qp, &q)) {
		mk_slot_init(&slot, MK_OP_NOP, 77);
		slot.arg64[0] = 99;
		REQUIRE(!mk_queue_call(q, &slot, &answer, BOUND_NS));
		REQUIRE(answer.user_data == 77 && answer.value == 99);
		REQUIRE(!mk_queue_destroy(q, BOUND_NS));
	} else {
		check_failure(mk_error_last()->code, "mk_queue_create");
	}
}

static void try_ctx(unsigned options)
{
	struct mk_ctx *made = (void *)&made;
	bool older = params_size == offsetof(struct mk_ctx_params, made_mode);
	int wrong = size_code(
		    sizeof(struct mk_ctx_params), older ? params_size :
		    offsetof(struct mk_ctx_params, recovery)), r;

	if (!wrong || wrong == -E2BIG)
		tame_ctx(options);
	r = mk_ctx_create((const void *)params, &made);
	if (wrong)
		REQUIRE(r == wrong);
	else if (ctx_refused())
		REQUIRE(r == -EINVAL);
	if (r == -ENOENT)
		REQUIRE((options & NO_DIRECTORY) == NO_DIRECTORY);
	if (r) {
		check_failure(r, "mk_ctx_create");
		REQUIRE(made == (void *)&made); /* outputs only on success */
		return;
	}
	use_ctx(made);
	REQUIRE(!mk_ctx_destroy(made, BOUND_NS));
}

/* ---- queues ------------------------------------------------------------ */

static bool wants_power(uint64_t n, uint64_t least, uint64_t most)
{
	return n && (n < least || n > most || (n & (n - 1)));
}

static bool queue_refused(void)
{
	return wants_power(get(AT(mk_queue_params, entries)), 2, 65536) ||
	       wants_power(get(AT(mk_queue_params, log_records)), 1, 65536) ||
	       wants_power(get(AT(mk_queue_params, io_records)), 1, 65536) ||
	       get(AT(mk_queue_params, priority)) > MK_PRIORITIES ||
	       get(AT(mk_queue_params, observables)) > 65536 ||
	       get(AT(mk_queue_params, flags)) ||
	       get(AT(mk_queue_params, reserved));
}

static void use_queue(struct mk_queue *q)
{
	uint64_t words = get(AT(mk_queue_params, observables)), value;
	uint64_t entries = get(AT(mk_queue_params, entries));
	struct mk_completion answer;
	struct mk_slot slot;

	if (!words)
		words = 64;
	REQUIRE(mk_queue_entries(q) == (entries ? entries : 1024));
	mk_slot_init(&slot, MK_OP_ADD, 5);
	slot.arg[0] = (uint32_t)words - 1;
	slot.arg64[1] = 12345;
	for (uint64_t i = 0; i < 3; i++) {
		REQUIRE(!mk_queue_call(q, &slot, &answer, BOUND_NS));
		REQUIRE(answer.user_data == 5 && answer.value == i * 12345);
	}
	REQUIRE(!mk_queue_observe(q, (uint32_t)words - 1, &value));
	REQUIRE(value == 3 * 12345);
	REQUIRE(mk_queue_observe(q, (uint32_t)words, &value) == -MK_ERANGE);
}

static void try_queue(void)
{
	struct mk_queue *q = (void *)&q;
	int wrong = size_code(sizeof(struct mk_queue_params),
				  sizeof(struct mk_queue_params)), r;

	r = mk_queue_create(ctx, (const void *)params, &q);
	if (wrong)
		REQUIRE(r == wrong);
	else
		REQUIRE((r == -EINVAL) == queue_refused());
	if (r) {
		check_failure(r, "mk_queue_create");
		REQUIRE(q == (void *)&q);
		return;
	}
	use_queue(q);
	REQUIRE(!mk_queue_destroy(q, BOUND_NS));
}

/* ---- dispatches -------------------------------------------------------- */

/* The smallest buffers; the ring has one slot, which does nothing. */
static struct mk_dispatch_input smallest(void)
{
	static uint64_t control[1024], ring[64], log[64], io[64];
	const struct mk_control_params c = { .size = sizeof(c),
					     .observables = 1 };
	const struct mk_ring_slot nop = { .opcode = MK_OP_NOP };
	struct mk_dispatch_input in;

	memset(control, 0, sizeof(control));
	memset(ring, 0, sizeof(ring));
	memset(log, 0, sizeof(log));
	memset(io, 0, sizeof(io));
#define PART(name, made)                                  \
	do {                                              \
		int64_t bytes_ = (made);                  \
		REQUIRE(bytes_ > 0);                      \
		in.name.bytes = (uint64_t)bytes_;         \
	} while (0)
	PART(control, mk_control_encode(&c, control, sizeof(control)));
	PART(ring, mk_ring_encode_empty(2, ring, sizeof(ring)));
	PART(debug_log, mk_log_encode_empty(1, log, sizeof(log)));
	PART(io_queue, mk_io_encode_empty(1, io, sizeof(io)));
#undef PART
	in.control.data = control;
	in.ring.data = ring;
	in.debug_log.data = log;
	in.io_queue.data = io;
	REQUIRE(!mk_ring_publish(ring, in.ring.bytes, &nop, 1));
	return in;
}

static bool dispatch_refused(void)
{
	return get(AT(mk_dispatch_params, recover)) > MK_RECOVER_NEVER ||
	       get(AT(mk_dispatch_params, readback)) > MK_READBACK_NONE ||
	       get(AT(mk_dispatch_params, reserved));
}

/* How the one slot ended, if the ring came back. */
static void check_ending(const struct mk_dispatch_output *out)
{
	const struct mk_output_buffer *ring =
		mk_output_find(out->buffer, out->buffers, MK_PART_RING);
	uint64_t deadline = get(AT(mk_dispatch_params, deadline_ns));
	struct mk_slot_ending e;

	if (!ring)
		return;
	REQUIRE(mk_ring_decode(ring->data, ring->bytes, &e, 1) == 1);
	REQUIRE(e.state == MK_STATE_DONE ||
		(e.state == MK_STATE_EXPIRED && deadline &&
		 e.result == -MK_EDEADLINE));
	REQUIRE(deadline || !e.result);
}

static void try_dispatch(void)
{
	struct mk_dispatch_input in = smallest();
	struct mk_dispatch_output out;
	uint64_t readback = get(AT(mk_dispatch_params, readback));
	uint64_t timeout = get(AT(mk_dispatch_params, timeout_ns));
	int wrong = size_code(sizeof(struct mk_dispatch_params),
				  sizeof(struct mk_dispatch_params)), r;
	unsigned parts;

	memset(&out, 0xa5, sizeof(out));
	/* short time-outs leave slots behind: those have their own tests */
	if (timeout && timeout < BOUND_NS)
		put(AT(mk_dispatch_params, timeout_ns), timeout + BOUND_NS);
	r = mk_dispatch(ctx, (const void *)params, &in, &out);
	if (wrong)
		REQUIRE(r == wrong);
	else
		REQUIRE(r == (dispatch_refused() ? -EINVAL : 1));
	if (r < 0) {
		check_failure(r, "mk_dispatch");
		return;
	}
	parts = readback ? (unsigned)__builtin_popcountll(readback & 15) : 4;
	REQUIRE(out.buffers == parts);
	check_ending(&out);
	mk_dispatch_output_free(&out);
}

static void try_control(void)
{
	const int64_t most = mk_control_bytes(65536);
	int wrong = size_code(sizeof(struct mk_control_params),
				  sizeof(struct mk_control_params));
	uint64_t words = get(AT(mk_control_params, observables));
	uint64_t tenants = get(AT(mk_control_params, tenants));
	uint64_t shutdown = get(AT(mk_control_params, shutdown));
	int64_t takes = mk_control_bytes(words ? words : 64);
	void *memory = malloc((size_t)most);
	struct mk_control_info info;
	int64_t r;

	REQUIRE(memory);
	put_string(offsetof(struct mk_control_params, words), NULL);
	r = mk_control_encode((const void *)params, memory, (uint64_t)most);
	if (wrong)
		REQUIRE(r == wrong);
	else if (tenants > MK_TENANTS || shutdown > 1)
		REQUIRE(r == -EINVAL);
	else
		REQUIRE(r == takes && (r < 0) == (words > 65536));
	if (r < 0) {
		check_failure(r, "mk_control_encode");
	} else {
		REQUIRE(!mk_control_decode(memory, (uint64_t)r, &info));
		REQUIRE(info.shutdown == shutdown);
		REQUIRE(info.tenants == (tenants ? tenants : MK_TENANTS));
	}
	free(memory);
}

/* ---- one input --------------------------------------------------------- */

static size_t known_size(unsigned what)
{
	switch (what) {
	case 0:
		return sizeof(struct mk_ctx_params);
	case 1:
		return sizeof(struct mk_queue_params);
	case 2:
		return sizeof(struct mk_dispatch_params);
	default:
		return sizeof(struct mk_control_params);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mk_ctx_info before, after;
	unsigned what;

	if (size < 2)
		return 0;
	if (!ctx)
		setup();
	what = data[0] % 4;
	take_params(data + 2, size - 2, data[1], known_size(what));
	REQUIRE(!mk_ctx_info(ctx, &before));
	if (what == 0)
		try_ctx(data[1]);
	else if (what == 1)
		try_queue();
	else if (what == 2)
		try_dispatch();
	else
		try_control();
	free(params);
	REQUIRE(!mk_ctx_info(ctx, &after));
	/* the first dispatch makes a queue that stays */
	if (what != 2)
		REQUIRE(before.queues == after.queues &&
			before.shared_used == after.shared_used);
	return 0;
}
