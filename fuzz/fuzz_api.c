/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes as a program that uses the library: every call's result, every answer
 * and every count is compared with a model. One worker serves the queues, so
 * that slots run in the order of their tickets and the model is exact: it
 * runs a slot when all before it were submitted and nothing holds it.
 *
 * Input: calls, one after the other: a byte that says which (queue or buffer
 * in bits 5-7), then the bytes that the call takes. Missing bytes are 0.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <megakernel.h>

#include "api_model.h"

#define STEPS_MOST 400u
#define CONTEXT_RUNS 256u /* then the context is made anew */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- answers ----------------------------------------------------------- */

static void check_answer(const struct model_slot *s,
			 const struct mk_completion *c)
{
	REQUIRE(c->user_data == s->slot.user_data);
	REQUIRE(c->opcode == s->slot.opcode && !c->worker);
	REQUIRE(c->result == s->result && c->value == s->value);
}

static void look(struct model_queue *m, unsigned n, bool reap)
{
	struct mk_completion c[ENTRIES_MOST];
	unsigned answered = count(m, ANSWERED);
	int r = reap ? mk_queue_reap(m->q, c, n) : mk_queue_peek(m->q, c, n);

	REQUIRE(r >= 0 && (unsigned)r <= n && (unsigned)r <= answered);
	for (int i = 0; i < r; i++)
		check_answer(nth_answered(m, (unsigned)i), &c[i]);
	if (!r && n && m->event_fd >= 0)
		m->armed = true;
	if (reap)
		retire_first(m, (unsigned)r);
	else if ((unsigned)r > m->peeked)
		m->peeked = (unsigned)r;
}

static void do_advance(struct model_queue *m)
{
	unsigned n = take() % 80;
	int r = mk_queue_advance(m->q, n);

	REQUIRE(r == (n <= m->peeked ? (int)n : -EINVAL));
	if (r > 0)
		retire_first(m, n);
}

static void do_wait(struct model_queue *m)
{
	unsigned answered = count(m, ANSWERED), min = take() % 80;
	uint64_t timeout = min && min <= answered ? BOUND_NS :
			   take() & 1 ? 100000 : 0;
	int r = mk_queue_wait(m->q, min, timeout);

	if (!min || min > m->entries)
		REQUIRE(r == -EINVAL);
	else if (min <= answered)
		REQUIRE(r >= (int)min && r <= (int)answered);
	else
		REQUIRE(r == -ETIME);
}

/* ---- submitting -------------------------------------------------------- */

static void do_get(struct model_queue *m)
{
	uint64_t used = m->tail - m->head;
	uint32_t index = (uint32_t)(m->tail & (m->entries - 1));
	unsigned n = take(), may = m->entries - (unsigned)used;
	struct mk_slot *run;
	int r;

	n = n == 255 ? UINT32_MAX : n;
	if (may > m->entries - index)
		may = m->entries - index;
	if (may > n)
		may = n;
	r = mk_queue_get(m->q, n, &run);
	if (m->stopped) {
		REQUIRE(r == -MK_ESTOPPED);
	} else if (!n || n > INT32_MAX) {
		REQUIRE(r == -EINVAL);
	} else if (!may) {
		REQUIRE(r == -EAGAIN);
		m->full++;
	} else {
		REQUIRE(r == (int)may);
	}
	for (int i = 0; i < r; i++) {
		struct model_slot *s = slot_at(m, m->tail++);

		memset(s, 0, sizeof(*s));
		s->place = GOT;
		m->memory[index + (unsigned)i] = &run[i];
		mk_slot_init(&run[i], MK_OP_NOP, 0);
	}
}

static struct mk_ref handle_ref(unsigned which)
{
	mk_buffer_t handle = buffers[which % BUFFERS].handle;

	return mk_buffer_ref(handle);
}

/* Buffers belong to one queue, so that its order is the buffer's. */
static bool fill_copy(unsigned queue, struct mk_op_copy *args)
{
	unsigned from = take() % BUFFERS, to = take() % BUFFERS;

	from = from % QUEUES == queue ? from : queue;
	to = to % QUEUES == queue ? to : queue;
	args->source = handle_ref(from);
	args->target = handle_ref(to);
	args->source_offset = take() * 64u;
	args->target_offset = take() * 64u;
	args->bytes = take() * 16u;
	return buffers[from].handle && buffers[to].handle;
}

/* Fill a slot by the input; one of the caller's own has no deadline. */
static void fill(struct model_queue *m, struct model_slot *s,
		 struct mk_slot *to, bool own)
{
	static const uint16_t opcodes[] = { MK_OP_NOP, MK_OP_STORE, MK_OP_ADD,
					    MK_OP_LOAD, MK_OP_CAS, MK_OP_COPY,
					    MK_OP_PRINT, MK_OP_FENCE };
	static const size_t bytes[] = { 8, 24, 24, 24, 24, 40, 16, 0 };
	unsigned what = take(), kind = what % 8;
	uint16_t opcode = opcodes[kind];
	union {
		uint64_t word[6];
		struct mk_op_word op;
		struct mk_op_copy copy;
	} args = { .word = { 0 } };

	if (kind == 5 && !fill_copy((unsigned)(m - queues), &args.copy))
		kind = opcode = 0;
	if (kind == 7 && what == 0xff)
		opcode = MK_OP_SHUTDOWN;
	if (kind >= 1 && kind <= 4) {
		args.op.word = take() % (WORDS + 1);
		args.op.reserved = what >> 3 == 31;
		args.op.operand = take() * UINT64_C(0x0101010101010101);
		args.op.expected = m->words[args.op.word % WORDS];
	} else if (kind == 0 || kind == 6) {
		args.word[0] = serial * UINT64_C(0x9e3779b97f4a7c15);
		args.word[1] = serial;
	}
	/* pairs of slots share their user_data, for cancel */
	serial++;
	REQUIRE(!mk_queue_fill(m->q, to, opcode, serial / 2, &args,
			       bytes[kind]));
	REQUIRE(mk_queue_fill(m->q, to, opcode, 1, &args, 47) == -MK_EARGS);
	REQUIRE(mk_queue_fill(m->q, to, 200, 1, NULL, 0) == -MK_EOPCODE);
	to->tenant = (uint16_t)(what % MK_TENANTS);
	to->priority = (uint8_t)(what % MK_PRIORITIES);
	s->late = false;
	if (!own && (what >> 3 == 1 || what >> 3 == 2)) {
		s->late = what >> 3 == 1;
		REQUIRE(!mk_slot_deadline(m->q, to,
					  s->late ? 1 : UINT64_MAX - 1));
	}
}

/* Spoil one header field; what submit has to say to it. */
static int spoil(struct mk_slot *slot, unsigned how)
{
	switch (how % 4) {
	case 0:
		slot->tenant = (uint16_t)(MK_TENANTS + (how << 3));
		return -MK_ERANGE;
	case 1:
		slot->priority = (uint8_t)(MK_PRIORITIES + how / 2);
		return -EINVAL;
	case 2:
		slot->flags |= (uint8_t)(16u << how % 4);
		return -EINVAL;
	default:
		slot->opcode = how & 1 ? 255 : (uint16_t)(256 + how);
		return -MK_EOPCODE;
	}
}

/* The first of n slots in a row, from the place'th that was got on. */
static bool got_run(struct model_queue *m, unsigned place, unsigned n,
		    uint64_t *first, unsigned *length)
{
	uint64_t t;
	unsigned got = count(m, GOT);

	if (!got)
		return false;
	place %= got;
	for (t = m->head; slot_at(m, t)->place != GOT || place--; t++)
		;
	*first = t;
	for (*length = 0; *length < n && t != m->tail &&
			  slot_at(m, t)->place == GOT;
	     t++) {
		++*length;
		if (!((t + 1) & (m->entries - 1)))
			break;
	}
	return true;
}

static void submit_run(struct model_queue *m, uint64_t first, unsigned n)
{
	struct mk_slot *run = m->memory[first & (m->entries - 1)];

	for (unsigned i = 0; i < n; i++) {
		slot_at(m, first + i)->slot = run[i];
		slot_at(m, first + i)->place = SUBMITTED;
	}
	REQUIRE(mk_queue_submit(m->q, run, n) == (int)n);
	m->submitted += n;
	advance_model(m);
}

static void do_submit(struct model_queue *m)
{
	unsigned place = take(), n = 1 + take() % m->entries, bad;
	struct mk_slot *run, kept;
	uint64_t first;
	int code;

	if (!got_run(m, place, n, &first, &n))
		return;
	run = m->memory[first & (m->entries - 1)];
	for (unsigned i = 0; i < n; i++)
		fill(m, slot_at(m, first + i), &run[i], false);
	bad = take();
	if (bad & 0x80) { /* all or nothing */
		unsigned at = take() % n;

		kept = run[at];
		code = spoil(&run[at], bad & 0x7f);
		REQUIRE(mk_queue_submit(m->q, run, n) == code);
		REQUIRE(mk_error_last()->code == code);
		run[at] = kept;
		if (bad & 0x40)
			return; /* they stay got, to be filled anew */
	}
	submit_run(m, first, n);
}

/* What may not be submitted: not ours, not got, too many, none. */
static void do_submit_wrong(struct model_queue *m)
{
	static struct mk_slot foreign;
	unsigned how = take(), got = count(m, GOT);
	struct mk_slot *run;
	uint64_t first;
	unsigned n;

	REQUIRE(mk_queue_submit(m->q, &foreign, 1) == -MK_ENOTGOT);
	REQUIRE(mk_slot_deadline(m->q, &foreign, 1) == -MK_ENOTGOT);
	if (!got || !got_run(m, how, m->entries, &first, &n))
		return;
	run = m->memory[first & (m->entries - 1)];
	REQUIRE(mk_queue_submit(m->q, run, 0) == -EINVAL);
	REQUIRE(mk_queue_submit(m->q, run, m->entries + 1) == -EINVAL);
	REQUIRE(mk_queue_submit(m->q, (void *)((char *)run + 8), 1) ==
		-MK_ENOTGOT);
	/* past the tail, or past the end of the ring */
	if (first + n == m->tail)
		REQUIRE(n == m->entries ||
			mk_queue_submit(m->q, run, n + 1) == -MK_ENOTGOT);
}

static void do_call(struct model_queue *m)
{
	struct mk_completion c;
	struct model_slot *s;
	struct mk_slot slot;

	/* it waits for itself, so nothing may stand in its way */
	if (quiesced || m->stopped || count(m, GOT) ||
	    m->tail - m->head == m->entries)
		return;
	s = slot_at(m, m->tail++);
	memset(s, 0, sizeof(*s));
	fill(m, s, &slot, true);
	s->slot = slot;
	s->place = SUBMITTED;
	m->submitted++;
	advance_model(m);
	REQUIRE(mk_queue_call(m->q, &slot, &c, BOUND_NS) == s->result);
	check_answer(s, &c);
	retire(m, s);
}

/* ---- the rest of a queue ----------------------------------------------- */

static void do_cancel(struct model_queue *m)
{
	uint64_t user_data = serial / 2 - take() % 16;
	int expected = 0;

	settle();
	for (uint64_t t = m->head; t != m->tail; t++) {
		struct model_slot *s = slot_at(m, t);

		if (s->place != SUBMITTED || s->slot.user_data != user_data)
			continue;
		s->cancel = true;
		expected++;
	}
	REQUIRE(mk_queue_cancel(m->q, user_data) == expected);
}

static void do_stop(struct model_queue *m)
{
	unsigned held;

	settle();
	held = count(m, SUBMITTED);
	REQUIRE(mk_queue_stop(m->q, held ? 100000 : BOUND_NS) == held);
	m->stopped = true;
}

static void do_words(struct model_queue *m)
{
	unsigned how = take(), word = how % (WORDS + 1);
	uint64_t value = how * UINT64_C(0x123456789abcdef);

	settle();
	if (how & 0x80) {
		REQUIRE(mk_queue_set_observable(m->q, word, value) ==
			(word < WORDS ? 0 : -MK_ERANGE));
		if (word < WORDS)
			m->words[word] = value;
	}
	for (word = 0; word < WORDS; word++) {
		REQUIRE(!mk_queue_observe(m->q, word, &value));
		REQUIRE(value == m->words[word]);
	}
	REQUIRE(mk_queue_observe(m->q, WORDS, &value) == -MK_ERANGE);
}

static void do_log(struct model_queue *m, unsigned n)
{
	struct mk_log_entry e[2 * LOG];
	uint64_t lost, skipped = 0, have;

	settle();
	if (m->printed - m->log_read > LOG)
		skipped = m->printed - m->log_read - LOG;
	m->log_read += skipped;
	have = m->printed - m->log_read;
	if (have > n)
		have = n;
	REQUIRE(mk_queue_log_read(m->q, e, n, &lost) == (int)have);
	REQUIRE(lost == skipped);
	for (unsigned i = 0; i < have; i++)
		REQUIRE(!memcmp(&e[i], &m->log[m->log_read++ % LOG],
				sizeof(e[i])));
}

static void do_event(struct model_queue *m)
{
	struct pollfd p;
	uint64_t told;
	int fd = mk_queue_event_fd(m->q);

	REQUIRE(fd >= 0 && (m->event_fd < 0 || fd == m->event_fd));
	if (m->event_fd < 0)
		m->armed = true;
	m->event_fd = fd;
	if (!m->armed || !count(m, ANSWERED))
		return;
	p = (struct pollfd){ .fd = fd, .events = POLLIN };
	REQUIRE(poll(&p, 1, (int)(BOUND_NS / 1000000)) == 1);
	REQUIRE(read(fd, &told, sizeof(told)) == (ssize_t)sizeof(told));
	m->armed = false;
}

static void do_create(struct model_queue *m)
{
	static const uint64_t firsts[] = {
		0, UINT64_MAX, UINT64_MAX - 5, UINT32_MAX - UINT64_C(3),
		(UINT64_C(1) << 63) - 7, 65535 * 2 - 1, 65535 * 64 - 1, 13,
	};
	unsigned how = take();
	struct mk_queue_params p = {
		.size = sizeof(p), .entries = 2u << how % 6,
		.observables = WORDS, .log_records = LOG, .io_records = 1,
		.priority = how % 6, .first_ticket = firsts[how >> 5],
	};

	if (m->q)
		return;
	memset(m, 0, sizeof(*m));
	REQUIRE(!mk_queue_create(ctx, &p, &m->q));
	REQUIRE(mk_queue_entries(m->q) == p.entries);
	m->entries = p.entries;
	m->head = m->run = m->tail = p.first_ticket;
	m->event_fd = -1;
}

/* -ETIME of a worker that was not given the processor: again. */
static void destroy_queue(struct model_queue *m)
{
	unsigned held, tries = 0;
	int64_t r;

	settle();
	held = count(m, SUBMITTED);
	do
		r = mk_queue_destroy(m->q, held ? 1000000 : BOUND_NS);
	while (r == -ETIME && ++tries < 1000);
	REQUIRE(r == held);
	m->q = NULL;
}

/* ---- buffers ----------------------------------------------------------- */

static void create_buffer(struct model_buffer *b)
{
	uint64_t bytes = 1 + take() * (BUFFER_MOST / 256);
	unsigned flags = take();
	void *memory;

	REQUIRE(mk_buffer_create(ctx, 0, 0, &b->handle) == -EINVAL);
	REQUIRE(mk_buffer_create(ctx, 1, 1u << 30, &b->handle) ==
		-EINVAL);
	b->read_only = (flags & 3) == 3;
	REQUIRE(!mk_buffer_create(ctx, bytes, b->read_only, &b->handle));
	b->live = true;
	b->bytes = bytes;
	b->memory = calloc(1, bytes);
	REQUIRE(b->memory);
	REQUIRE(!mk_buffer_map(ctx, b->handle, &memory));
	REQUIRE(!memcmp(memory, b->memory, bytes));
}

static void destroy_buffer(struct model_buffer *b)
{
	settle();
	REQUIRE(!mk_buffer_destroy(ctx, b->handle, BOUND_NS));
	b->live = false;
	free(b->memory);
	b->memory = NULL;
}

/* A handle that outlived its buffer, and one that never was. */
static void use_dead(mk_buffer_t handle, int code)
{
	uint64_t bytes;
	char byte = 0;
	void *map;

	REQUIRE(mk_buffer_destroy(ctx, handle, BOUND_NS) == code);
	REQUIRE(mk_buffer_write(ctx, handle, 0, &byte, 1) == code);
	REQUIRE(mk_buffer_read(ctx, handle, 0, &byte, 1) == code);
	REQUIRE(mk_buffer_map(ctx, handle, &map) == code);
	REQUIRE(mk_buffer_bytes(ctx, handle, &bytes) == code);
}

static void write_buffer(struct model_buffer *b)
{
	static unsigned char bytes[256 * 100];
	uint64_t offset = take() * UINT64_C(80), n = take() * UINT64_C(100);
	int r;

	settle();
	memset(bytes, (int)serial, n);
	r = mk_buffer_write(ctx, b->handle, offset, bytes, n);
	if (offset > b->bytes || n > b->bytes - offset) {
		REQUIRE(r == -MK_ERANGE);
		REQUIRE(mk_buffer_read(ctx, b->handle, offset, bytes, n) ==
			-MK_ERANGE);
		return;
	}
	REQUIRE(!r);
	memcpy(b->memory + offset, bytes, n);
	REQUIRE(mk_buffer_write(ctx, b->handle, UINT64_MAX - 1, bytes, 2) ==
		-MK_ERANGE);
}

static void compare_buffer(struct model_buffer *b)
{
	static unsigned char bytes[BUFFER_MOST];
	uint64_t size;
	void *map;

	settle();
	REQUIRE(!mk_buffer_bytes(ctx, b->handle, &size) && size == b->bytes);
	REQUIRE(!mk_buffer_read(ctx, b->handle, 0, bytes, size));
	REQUIRE(!memcmp(bytes, b->memory, size));
	REQUIRE(!mk_buffer_map(ctx, b->handle, &map));
	REQUIRE(!memcmp(map, b->memory, size));
}

static void do_buffer(struct model_buffer *b)
{
	unsigned how = take() % 4;

	use_dead(0, -MK_EFOREIGN);
	if (b->handle)
		use_dead(b->handle + 4096, -MK_EFOREIGN);
	if (!b->live) {
		if (b->handle)
			use_dead(b->handle, -MK_ESTALE);
		create_buffer(b);
	} else if (how == 0) {
		destroy_buffer(b);
	} else if (how == 1) {
		compare_buffer(b);
	} else {
		write_buffer(b);
	}
}

/* ---- the context ------------------------------------------------------- */

static void do_quiesce(void)
{
	if (quiesced >= 3)
		return;
	settle();
	REQUIRE(!mk_ctx_quiesce(ctx, BOUND_NS));
	quiesced++;
}

static void do_resume(void)
{
	REQUIRE(mk_ctx_resume(ctx) == (quiesced ? 0 : -EALREADY));
	if (!quiesced || --quiesced)
		return;
	for (unsigned i = 0; i < QUEUES; i++)
		advance_model(&queues[i]);
}

static void create_ctx(void)
{
	struct mk_ctx_params p = {
		.size = sizeof(p), .isolation = MK_ISOLATION_NONE,
		.workers = 1, .shared_bytes = 8u << 20,
		.heap_bytes = 1u << 20, .idle_ns = 20000,
	};
	struct mk_ctx_info info;

	REQUIRE(!mk_ctx_create(&p, &ctx));
	REQUIRE(!mk_ctx_info(ctx, &info));
	shared_used = info.shared_used;
	ran = 0;
	runs = 0;
}

/*
 * With everything that is in it. What is held can only be waited for in vain,
 * so not for long; slots that the end of a quiesce sets free may then be late.
 */
static void destroy_ctx(void)
{
	uint64_t before = ran;
	unsigned tries = 0;
	int64_t held = 0, r;

	if (!quiesced)
		settle();
	/* it goes on, so as to end what is queued */
	quiesced = 0;
	for (unsigned i = 0; i < QUEUES; i++) {
		advance_model(&queues[i]);
		if (queues[i].q)
			held += count(&queues[i], SUBMITTED);
		queues[i].q = NULL;
	}
	do
		r = mk_ctx_destroy(ctx, held ? 5000000 : BOUND_NS);
	while (r == -ETIME && ++tries < 1000);
	REQUIRE(r >= held);
	REQUIRE(r == held || (held && r <= held + (int64_t)(ran - before)));
	ctx = NULL;
	for (unsigned i = 0; i < BUFFERS; i++)
		free(buffers[i].memory);
	memset(buffers, 0, sizeof(buffers));
}

/* ---- after every call -------------------------------------------------- */

static void check_stats(struct model_queue *m)
{
	struct mk_queue_stats s;

	if (!m->q)
		return;
	REQUIRE(!mk_queue_stats(m->q, &s));
	REQUIRE(s.submitted == s.ok + s.failed + s.ready + s.in_flight);
	REQUIRE(s.submitted == m->submitted && s.got == count(m, GOT));
	REQUIRE(s.ok == m->ok && s.failed == m->failed);
	REQUIRE(s.cancelled == m->cancelled && s.expired == m->expired);
	REQUIRE(s.bad_args == m->bad_args);
	REQUIRE(!s.faulted && !s.bad_opcode && !s.lost && !s.other);
	REQUIRE(s.ready <= count(m, ANSWERED));
	REQUIRE(s.full == m->full && s.in_flight_high <= m->entries);
}

static void check_ctx(void)
{
	struct mk_ctx_stats s;
	struct mk_ctx_info info;
	struct mk_error e;
	uint64_t slots = 0;

	REQUIRE(!mk_ctx_info(ctx, &info));
	REQUIRE(!info.queues && !info.buffers && !info.heap_used);
	REQUIRE(info.shared_used == shared_used);
	REQUIRE(!mk_ctx_stats(ctx, &s));
	for (unsigned i = 0; i < MK_OPCODES; i++)
		slots += s.by_opcode[i];
	REQUIRE(s.slots == ran && slots == ran);
	REQUIRE(!mk_ctx_error(ctx, &e));
}

/* What was got is submitted, what was submitted answered, all reaped. */
static void finish_queue(struct model_queue *m)
{
	uint64_t first;
	unsigned n;

	while (got_run(m, 0, m->entries, &first, &n)) {
		struct mk_slot *run = m->memory[first & (m->entries - 1)];

		for (unsigned i = 0; i < n; i++) {
			mk_slot_init(&run[i], MK_OP_NOP, serial++);
			slot_at(m, first + i)->late = false;
		}
		submit_run(m, first, n);
	}
	settle();
	REQUIRE(!count(m, SUBMITTED));
	while (count(m, ANSWERED)) {
		REQUIRE(mk_queue_wait(m->q, 1, BOUND_NS) > 0);
		look(m, ENTRIES_MOST, true);
	}
	look(m, 1, true);
	check_stats(m);
	do_words(m);
	do_log(m, 2 * LOG);
	destroy_queue(m);
}

static void finish(void)
{
	while (quiesced)
		do_resume();
	for (unsigned i = 0; i < QUEUES; i++)
		if (queues[i].q)
			finish_queue(&queues[i]);
	for (unsigned i = 0; i < BUFFERS; i++) {
		if (buffers[i].live) {
			compare_buffer(&buffers[i]);
			destroy_buffer(&buffers[i]);
		}
		memset(&buffers[i], 0, sizeof(buffers[i]));
	}
	check_ctx();
}

static void do_peek(struct model_queue *m)
{
	look(m, take() % (ENTRIES_MOST + 1), false);
}

static void do_reap(struct model_queue *m)
{
	look(m, take() % (ENTRIES_MOST + 1), true);
}

static void do_log_some(struct model_queue *m)
{
	do_log(m, take() % (2 * LOG));
}

static void (*const calls[])(struct model_queue *m) = {
	do_get, do_get, do_get, do_submit, do_submit, do_submit, do_submit,
	do_submit_wrong, do_peek, do_reap, do_reap, do_advance, do_wait,
	do_call, do_cancel, do_words, do_log_some, do_event, do_stop,
	destroy_queue,
};

#define CALLS (sizeof(calls) / sizeof(calls[0]))

static void queue_step(struct model_queue *m, unsigned call)
{
	if (m->q)
		calls[call](m);
	else
		do_create(m);
}

static void step(void)
{
	unsigned call = take(), which = call >> 5;

	call &= 31;
	if (call < CALLS)
		queue_step(&queues[which % QUEUES], call);
	else if (call < 26)
		do_buffer(&buffers[which % BUFFERS]);
	else if (call < 28)
		do_quiesce();
	else
		do_resume();
	for (unsigned i = 0; i < QUEUES; i++)
		check_stats(&queues[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned steps = 0;
	bool abrupt;

	input = data;
	input_left = size;
	abrupt = take() == 0xee;
	if (!ctx)
		create_ctx();
	while (input_left && steps++ < STEPS_MOST)
		step();
	if (abrupt) {
		destroy_ctx();
		return 0;
	}
	finish();
	if (++runs == CONTEXT_RUNS)
		destroy_ctx();
	return 0;
}
