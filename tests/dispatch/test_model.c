/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 180 */
/*
 * Random rings against a model that runs them in order: on one worker a host
 * dispatch and a resident row give its very bytes; on several, the same where
 * order does not matter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "live.h"

#define WORDS_MAX 5u
#define ENTRIES_MAX 64u
#define LOGS_MAX 16u
#define NO_HANDLER 201

static uint64_t seed;

static uint32_t below(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 33) % n;
}

/* ---- the model ---- */

struct model {
	uint64_t word[WORDS_MAX];
	uint32_t words, tenants, shutdown, log_capacity;
	uint64_t done, failed, prints;
	uint64_t tenant[MK_TENANTS], priority[MK_PRIORITIES];
	uint64_t opcode[MK_OPCODES];
	uint32_t printed[ENTRIES_MAX]; /* slot of each record */
};

static int32_t model_word(struct model *m, const struct mk_ring_slot *s,
			  uint64_t *value)
{
	struct mk_op_word a;

	memcpy(&a, s->args, sizeof(a));
	if (a.reserved)
		return -MK_EARGS;
	if (a.word >= m->words)
		return -MK_ERANGE;
	*value = m->word[a.word];
	if (s->opcode == MK_OP_STORE)
		m->word[a.word] = a.operand;
	else if (s->opcode == MK_OP_ADD)
		m->word[a.word] += a.operand;
	else if (s->opcode == MK_OP_CAS && *value == a.expected)
		m->word[a.word] = a.operand;
	return 0;
}

static int32_t model_run(struct model *m, uint32_t i,
			 const struct mk_ring_slot *s, uint64_t *value)
{
	*value = 0;
	if (m->shutdown)
		return -MK_ECANCELLED;
	if (s->opcode >= MK_OPCODES || s->opcode == MK_OP_ROW)
		return -MK_EOPCODE;
	if (s->tenant >= m->tenants || s->tiles > 1 ||
	    s->priority >= MK_PRIORITIES)
		return -MK_ERANGE;
	if (s->flags & ~MK_SLOT_IDEMPOTENT)
		return -MK_EARGS;
	switch (s->opcode) {
	case MK_OP_NOP:
		*value = s->args[0] | (uint64_t)s->args[1] << 32;
		return 0;
	case MK_OP_STORE:
	case MK_OP_ADD:
	case MK_OP_LOAD:
	case MK_OP_CAS:
		return model_word(m, s, value);
	case MK_OP_FENCE:
		return 0;
	case MK_OP_PRINT:
		m->printed[m->prints++] = i;
		return 0;
	case MK_OP_SHUTDOWN:
		m->shutdown = 1;
		return 0;
	default:
		return -MK_EOPCODE;
	}
}

static uint32_t model_state(int32_t result)
{
	return result >= 0 ? MK_STATE_DONE :
	       result == -MK_ECANCELLED ? MK_STATE_CANCELLED : MK_STATE_FAULT;
}

static void model_count(struct model *m, const struct mk_ring_slot *s,
			int32_t result)
{
	if (result >= 0)
		m->done++;
	else
		m->failed++;
	if (s->tenant < MK_TENANTS)
		m->tenant[s->tenant]++;
	if (s->priority < MK_PRIORITIES)
		m->priority[s->priority]++;
	if (s->opcode < MK_OPCODES)
		m->opcode[s->opcode]++;
}

/* ---- random rings ---- */

static struct mk_ring_slot random_slot(bool ordered)
{
	static const uint16_t any[] = { MK_OP_NOP, MK_OP_STORE, MK_OP_ADD,
					MK_OP_ADD, MK_OP_LOAD, MK_OP_CAS,
					MK_OP_FENCE, MK_OP_PRINT };
	struct mk_ring_slot s;

	s = word_slot(ordered ? any[below(8)] : MK_OP_NOP,
		      below(WORDS_MAX + 1), below(4), below(4));
	s.tenant = (uint16_t)below(MK_TENANTS);
	s.priority = (uint8_t)below(MK_PRIORITIES);
	s.flags = (uint8_t)(below(4) ? 0 : MK_SLOT_IDEMPOTENT);
	s.tag = below(1000);
	return s;
}

/* Spoil a slot in one of the ways that only its dispatch can see. */
static void spoil(struct mk_ring_slot *s)
{
	switch (below(8)) {
	case 0:
		s->opcode = NO_HANDLER;
		break;
	case 1:
		s->opcode = (uint16_t)(MK_OPCODES + below(9));
		break;
	case 2:
		s->opcode = MK_OP_ROW;
		break;
	case 3:
		s->tenant = (uint16_t)(MK_TENANTS + below(9));
		break;
	case 4:
		s->tiles = (uint16_t)(2 + below(9));
		break;
	case 5:
		s->priority = (uint8_t)(MK_PRIORITIES + below(9));
		break;
	case 6:
		s->flags = (uint8_t)(2u << below(7));
		if (s->flags == MK_SLOT_IDEMPOTENT)
			s->flags = MK_SLOT_DEADLINE;
		break;
	default:
		s->args[1] = 1; /* the reserved word of a word operation */
		break;
	}
}

static void random_ring(struct buffers *b, bool ordered)
{
	uint32_t entries = 2u << below(6);
	uint32_t n = below(entries + 1);

	assert_true(buffers_make(b, 1 + below(WORDS_MAX), entries,
				 1u << below(5), below(2)));
	buffers_control(b)->tenants = 1 + below(MK_TENANTS);
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(buffers_add(b, random_slot(ordered)), i);
		if (!below(8))
			spoil(buffers_slot(b, i));
		if (ordered && !below(60))
			buffers_slot(b, i)->opcode = MK_OP_SHUTDOWN;
	}
	if (!below(20))
		buffers_control(b)->shutdown = 1;
}

/* ---- comparing ---- */

static void check_log(const struct model *m, const struct mk_output_buffer *b)
{
	struct mk_log_entry log[LOGS_MAX];
	struct mk_log_info info;
	int n = mk_log_decode(b->data, b->bytes, log, LOGS_MAX, &info);
	uint64_t first = m->prints > m->log_capacity ?
				 m->prints - m->log_capacity : 0;

	assert_int_equal(info.cursor, m->prints);
	assert_int_equal(info.drops, first);
	assert_int_equal(n, m->prints - first);
	for (int i = 0; i < n; i++)
		assert_int_equal(log[i].ticket,
				 m->printed[first + (uint64_t)i]);
}

static void check_control(const struct model *m,
			  const struct mk_dispatch_output *out)
{
	struct mk_control_info c = live_control(out);

	assert_int_equal(c.epoch, 1);
	assert_int_equal(c.done, m->done);
	assert_int_equal(c.failed, m->failed);
	assert_int_equal(!!c.shutdown, m->shutdown);
	assert_memory_equal(c.tenant_done, m->tenant, sizeof(m->tenant));
	assert_memory_equal(c.priority_done, m->priority,
			    sizeof(m->priority));
	assert_memory_equal(c.opcode_done, m->opcode, sizeof(m->opcode));
	assert_memory_equal(c.words, m->word, 8 * m->words);
}

/* Run the model over the ring and compare slot by slot. */
static void check(const struct buffers *b, const struct mk_dispatch_output *out)
{
	const struct mk_control *control = (void *)b->data[0];
	const struct mk_ring *ring = (void *)b->data[1];
	const struct mk_ring_slot *slots = (void *)(ring + 1);
	struct mk_slot_ending e[ENTRIES_MAX];
	const struct mk_output_buffer *r = live_part(out, MK_PART_RING);
	struct model m = {
		.words = control->observables,
		.tenants = control->tenants,
		.shutdown = control->shutdown,
		.log_capacity = ((struct mk_debug_log *)b->data[2])->capacity,
	};

	assert_int_equal(mk_ring_decode(r->data, r->bytes, e, ENTRIES_MAX),
			 ring->published);
	for (uint32_t i = 0; i < ring->published; i++) {
		uint64_t value;
		int32_t result = model_run(&m, i, &slots[i], &value);

		model_count(&m, &slots[i], result);
		assert_int_equal(e[i].result, result);
		assert_int_equal(e[i].state, model_state(result));
		assert_int_equal(e[i].value, value);
		assert_int_equal(e[i].opcode, slots[i].opcode);
		assert_int_equal(e[i].tenant, slots[i].tenant);
		assert_int_equal(e[i].tag, slots[i].tag);
	}
	check_control(&m, out);
	check_log(&m, live_part(out, MK_PART_LOG));
}

/* Byte for byte the same. */
static void same(const struct mk_dispatch_output *a,
		 const struct mk_dispatch_output *b)
{
	assert_int_equal(a->buffers, b->buffers);
	for (uint32_t i = 0; i < a->buffers; i++) {
		assert_int_equal(a->buffer[i].bytes, b->buffer[i].bytes);
		assert_memory_equal(a->buffer[i].data, b->buffer[i].data,
				    a->buffer[i].bytes);
	}
}

static void run_rounds(struct mk_ctx *ctx, unsigned rounds, bool ordered)
{
	struct mk_dispatch_params p = { .size = sizeof(p),
					.timeout_ns = LIVE_NS };
	struct mk_dispatch_output host = { .buffers = 0 };
	struct mk_dispatch_output row = { .buffers = 0 };

	for (unsigned i = 0; i < rounds; i++) {
		struct mk_resident_handles h;
		struct mk_dispatch_input in;
		struct buffers b;
		int n;

		seed = 0x9e3779b97f4a7c15ull * (i + 1);
		random_ring(&b, ordered);
		in = buffers_input(&b);
		n = mk_dispatch_into(ctx, &p, &in, &host);
		assert_int_equal(n, ((struct mk_ring *)b.data[1])->published);
		check(&b, &host);
		h = live_upload(ctx, &b);
		assert_int_equal(mk_dispatch_resident_into(ctx, &p, &h, &row),
				 n);
		check(&b, &row);
		same(&host, &row);
		live_drop(ctx, h);
		buffers_free(&b);
	}
	mk_dispatch_output_free(&host);
	mk_dispatch_output_free(&row);
}

static void test_one_worker(void **state)
{
	struct mk_ctx *ctx = live_open(MK_ISOLATION_NONE, 1);

	(void)state;
	run_rounds(ctx, 400, true);
	live_close(ctx);
}

static void test_one_worker_process(void **state)
{
	struct mk_ctx *ctx = live_open(MK_ISOLATION_PROCESS, 1);

	(void)state;
	run_rounds(ctx, 100, true);
	live_close(ctx);
}

static void test_many_workers(void **state)
{
	struct mk_ctx *ctx = live_open(MK_ISOLATION_NONE, 4);

	(void)state;
	run_rounds(ctx, 200, false);
	live_close(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_worker),
		cmocka_unit_test(test_one_worker_process),
		cmocka_unit_test(test_many_workers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
