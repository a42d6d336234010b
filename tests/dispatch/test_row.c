/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The row runner by itself: fake windows over memory of exact sizes, so that
 * a sanitizer sees a step outside.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/order.h"
#include "buffers.h"
#include "engine/cpu/row.h"
#include "module/builtin.h"

#define ENTRIES 8u
#define WORDS 4u
#define RECORDS 4u

enum { OP_SPY = 40, OP_FAIL, OP_SPOIL, OP_IO, OP_CANCEL, OP_COPY_ARGS };

struct fixture {
	struct buffers b;
	struct mk_window windows[5]; /* index 1..4: the parts */
	struct mk_task task;
	struct mk_op_row args;
	uint32_t cancel;
};

/* What the handlers of this file do and saw. */
static struct {
	struct fixture *f;
	unsigned runs;
	uint64_t tickets[ENTRIES];
	struct mk_task seen;
	uint32_t state_while_running;
	void (*spoil)(struct fixture *f);
} spy;

static int32_t run_spy(struct mk_task *task, const void *args)
{
	uint32_t *state = &buffers_slot(&spy.f->b, (uint32_t)task->ticket)
				   ->state;

	(void)args;
	spy.tickets[spy.runs++ % ENTRIES] = task->ticket;
	spy.seen = *task;
	spy.state_while_running = *state;
	mk_value(task, 1000 + task->ticket);
	return (int32_t)task->ticket;
}

static int32_t run_fail(struct mk_task *task, const void *args)
{
	spy.runs++;
	mk_value(task, 5);
	return -*(const int32_t *)args;
}

static int32_t run_spoil(struct mk_task *task, const void *args)
{
	(void)task;
	(void)args;
	spy.runs++;
	spy.spoil(spy.f);
	return 0;
}

static int32_t run_io(struct mk_task *task, const void *args)
{
	struct mk_io_record r = { .op = MK_IO_READ, .tag = 1 };

	(void)args;
	return mk_io_post(task, &r);
}

static int32_t run_cancel(struct mk_task *task, const void *args)
{
	(void)task;
	(void)args;
	spy.f->cancel = 0x10001;
	return 0;
}

/* Arguments are aligned for 64-bit words, and all of them are there. */
static int32_t run_copy_args(struct mk_task *task, const void *args)
{
	const uint64_t *words = args;
	uint64_t sum = 0;

	if ((uintptr_t)args % 16)
		return -1;
	for (int i = 0; i < 6; i++)
		sum += words[i];
	mk_value(task, sum);
	return 0;
}

static const struct mk_handler_entry own[] = {
	{ "spy", 0, 1, run_spy },	{ "fail", 4, 1, run_fail },
	{ "spoil", 0, 1, run_spoil },	{ "io", 0, 1, run_io },
	{ "cancel", 0, 1, run_cancel }, { "copy_args", 48, 1, run_copy_args },
};

static const struct mk_handler_entry *find(void *arg, uint32_t opcode)
{
	assert_ptr_equal(arg, spy.f);
	assert_int_not_equal(opcode, MK_OP_ROW);
	assert_int_not_equal(opcode, MK_OP_FENCE);
	if (opcode >= OP_SPY && opcode <= OP_COPY_ARGS)
		return &own[opcode - OP_SPY];
	return mk_builtin_find(opcode);
}

static void map(struct fixture *f, unsigned part)
{
	f->windows[part + 1] = (struct mk_window){
		.base = (uintptr_t)f->b.data[part],
		.bytes = f->b.bytes[part],
		.generation = f->b.data[part] ? 3 : 0,
		.last = 3,
	};
}

static void setup(struct fixture *f, uint32_t io_records)
{
	const struct mk_ref io = { 4, 3 };

	memset(f, 0, sizeof(*f));
	memset(&spy, 0, sizeof(spy));
	spy.f = f;
	assert_true(buffers_make(&f->b, WORDS, ENTRIES, RECORDS, io_records));
	for (unsigned i = 0; i < 4; i++)
		map(f, i);
	f->task = (struct mk_task){
		.windows = f->windows,
		.window_count = 5,
		.ticket = 777,
		.deadline_ns = UINT64_MAX,
		.cancel = &f->cancel,
		.cancel_mark = 0x10001,
		.worker = 6,
		.lanes = 1,
		.tiles = 1,
	};
	f->args = (struct mk_op_row){ .control = { 1, 3 },
				      .ring = { 2, 3 },
				      .debug_log = { 3, 3 } };
	if (io_records)
		f->args.io_queue = io;
}

static int32_t run(struct fixture *f)
{
	const struct mk_row_env env = { .find = find, .arg = f };

	f->task.value = 0;
	f->task.error = 0;
	f->task.dirty = 0;
	return mk_cpu_row_run(&f->task, &f->args, &env);
}

static struct mk_slot_ending ending(struct fixture *f, uint32_t i)
{
	struct mk_slot_ending e[ENTRIES];

	assert_true(mk_ring_decode(f->b.data[1], f->b.bytes[1], e, ENTRIES) >
		    (int)i);
	return e[i];
}

static void expect(struct fixture *f, uint32_t i, uint32_t state,
		   int32_t result, uint64_t value)
{
	struct mk_slot_ending e = ending(f, i);

	assert_int_equal(e.state, state);
	assert_int_equal(e.result, result);
	assert_int_equal(e.value, value);
}

static struct mk_control_info control(struct fixture *f)
{
	struct mk_control_info info;

	assert_int_equal(mk_control_decode(f->b.data[0], f->b.bytes[0],
					   &info), 0);
	return info;
}

/* ---- what a row does ----------------------------------------------------- */

static void test_runs_in_order(void **state)
{
	struct mk_ring_slot slot = ring_slot(OP_SPY);
	struct fixture f;

	(void)state;
	setup(&f, RECORDS);
	for (uint16_t i = 0; i < 5; i++) {
		slot.tenant = i;
		slot.priority = (uint8_t)i;
		buffers_add(&f.b, slot);
	}
	assert_int_equal(run(&f), 0);
	assert_int_equal(f.task.value, 5);
	assert_int_equal(f.task.dirty, 1);
	assert_int_equal(f.task.ticket, 777);
	assert_int_equal(spy.runs, 5);
	for (uint32_t i = 0; i < 5; i++) {
		assert_int_equal(spy.tickets[i], i);
		expect(&f, i, MK_STATE_DONE, (int32_t)i, 1000 + i);
	}
	assert_int_equal(spy.state_while_running, MK_STATE_CLAIMED);
	/* it saw the row's buffers, not the queue's */
	assert_ptr_equal(spy.seen.control, f.b.data[0]);
	assert_ptr_equal(spy.seen.observables, f.b.data[0] + 2688);
	assert_int_equal(spy.seen.observable_count, WORDS);
	assert_ptr_equal(spy.seen.log, f.b.data[2]);
	assert_int_equal(spy.seen.log_capacity, RECORDS);
	assert_ptr_equal(spy.seen.io, f.b.data[3]);
	assert_int_equal(spy.seen.io_capacity, RECORDS);
	assert_int_equal(spy.seen.worker, 6);
	buffers_free(&f.b);
}

static void test_counters(void **state)
{
	struct mk_control_info c;
	struct mk_ring_slot slot;
	struct fixture f;

	(void)state;
	setup(&f, 0);
	slot = ring_slot(OP_SPY);
	slot.tenant = 63;
	slot.priority = MK_PRIORITY_IDLE;
	buffers_add(&f.b, slot);
	slot = ring_slot(OP_FAIL);
	slot.args[0] = MK_EFAULT;
	slot.tenant = 63;
	buffers_add(&f.b, slot);
	buffers_add(&f.b, ring_slot(MK_OP_FENCE));
	buffers_add(&f.b, ring_slot(99));
	assert_int_equal(run(&f), 0);
	c = control(&f);
	assert_int_equal(c.done, 2);
	assert_int_equal(c.failed, 2);
	assert_int_equal(c.epoch, 1);
	assert_int_equal(c.tenant_done[63], 2);
	assert_int_equal(c.tenant_done[0], 2);
	assert_int_equal(c.priority_done[MK_PRIORITY_IDLE], 1);
	assert_int_equal(c.priority_done[MK_PRIORITY_NORMAL], 3);
	assert_int_equal(c.opcode_done[OP_SPY], 1);
	assert_int_equal(c.opcode_done[OP_FAIL], 1);
	assert_int_equal(c.opcode_done[MK_OP_FENCE], 1);
	assert_int_equal(c.opcode_done[99], 1);
	/* again: everything has ended, nothing runs, nothing is counted */
	assert_int_equal(run(&f), 0);
	assert_int_equal(f.task.value, 0);
	assert_int_equal(control(&f).done, 2);
	assert_int_equal(control(&f).failed, 2);
	assert_int_equal(control(&f).epoch, 2);
	assert_int_equal(spy.runs, 2);
	buffers_free(&f.b);
}

static void test_results_to_states(void **state)
{
	const struct {
		int32_t code;
		uint32_t state;
	} cases[] = {
		{ MK_EFAULT, MK_STATE_FAULT },
		{ 1, MK_STATE_FAULT },
		{ MK_ECANCELLED, MK_STATE_CANCELLED },
		{ MK_EDEADLINE, MK_STATE_EXPIRED },
		{ MK_EOVERRUN, MK_STATE_EXPIRED },
		{ INT32_MAX, MK_STATE_FAULT },
	};
	struct fixture f;

	(void)state;
	setup(&f, 0);
	for (unsigned i = 0; i < 6; i++) {
		struct mk_ring_slot slot = ring_slot(OP_FAIL);

		slot.args[0] = (uint32_t)cases[i].code;
		buffers_add(&f.b, slot);
	}
	assert_int_equal(run(&f), 0);
	for (uint32_t i = 0; i < 6; i++)
		expect(&f, i, cases[i].state, -cases[i].code, 5);
	buffers_free(&f.b);
}

static void test_builtins(void **state)
{
	struct mk_log_entry log[RECORDS];
	struct mk_log_info info;
	struct fixture f;

	(void)state;
	setup(&f, 0);
	buffers_add(&f.b, word_slot(MK_OP_STORE, 3, 40, 0));
	buffers_add(&f.b, word_slot(MK_OP_ADD, 3, 2, 0));
	buffers_add(&f.b, word_slot(MK_OP_CAS, 3, 99, 42));
	buffers_add(&f.b, word_slot(MK_OP_CAS, 3, 100, 42));
	buffers_add(&f.b, word_slot(MK_OP_LOAD, 3, 0, 0));
	buffers_add(&f.b, print_slot(12, 34));
	buffers_add(&f.b, word_slot(MK_OP_STORE, WORDS, ~0ull, 0));
	buffers_add(&f.b, word_slot(MK_OP_ADD, ~0u, ~0ull, 0));
	assert_int_equal(run(&f), 0);
	expect(&f, 0, MK_STATE_DONE, 0, 0);
	expect(&f, 1, MK_STATE_DONE, 0, 40);
	expect(&f, 2, MK_STATE_DONE, 0, 42);
	expect(&f, 3, MK_STATE_DONE, 0, 99);
	expect(&f, 4, MK_STATE_DONE, 0, 99);
	expect(&f, 5, MK_STATE_DONE, 0, 0);
	/* no word reaches past the observables */
	expect(&f, 6, MK_STATE_FAULT, -MK_ERANGE, 0);
	expect(&f, 7, MK_STATE_FAULT, -MK_ERANGE, 0);
	assert_int_equal(control(&f).words[3], 99);
	assert_int_equal(mk_log_decode(f.b.data[2], f.b.bytes[2], log,
				       RECORDS, &info), 1);
	assert_int_equal(log[0].ticket, 5);
	assert_int_equal(log[0].format, 12);
	assert_int_equal(log[0].arg[0], 34);
	assert_int_equal(log[0].worker, 6);
	buffers_free(&f.b);
}

static void test_args_whole_and_aligned(void **state)
{
	struct mk_ring_slot slot = ring_slot(OP_COPY_ARGS);
	uint64_t words[6] = { 1, 1ull << 40, 3, 4, 5, 1ull << 60 };
	struct fixture f;

	(void)state;
	setup(&f, 0);
	memcpy(slot.args, words, sizeof(words));
	buffers_add(&f.b, slot);
	assert_int_equal(run(&f), 0);
	expect(&f, 0, MK_STATE_DONE, 0, 13 + (1ull << 40) + (1ull << 60));
	buffers_free(&f.b);
}

static void test_refused_slots(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f, 0);
	for (int i = 0; i < 8; i++)
		buffers_add(&f.b, ring_slot(OP_SPY));
	buffers_control(&f.b)->tenants = 4;
	buffers_slot(&f.b, 0)->opcode = MK_OP_ROW;
	buffers_slot(&f.b, 1)->opcode = MK_OPCODES;
	buffers_slot(&f.b, 2)->opcode = 0xffff;
	buffers_slot(&f.b, 3)->tenant = 4;
	buffers_slot(&f.b, 4)->tiles = 2;
	buffers_slot(&f.b, 5)->priority = 5;
	buffers_slot(&f.b, 6)->flags = MK_SLOT_DEADLINE;
	assert_int_equal(run(&f), 0);
	assert_int_equal(f.task.value, 8);
	expect(&f, 0, MK_STATE_FAULT, -MK_EOPCODE, 0);
	expect(&f, 1, MK_STATE_FAULT, -MK_EOPCODE, 0);
	expect(&f, 2, MK_STATE_FAULT, -MK_EOPCODE, 0);
	expect(&f, 3, MK_STATE_FAULT, -MK_ERANGE, 0);
	expect(&f, 4, MK_STATE_FAULT, -MK_ERANGE, 0);
	expect(&f, 5, MK_STATE_FAULT, -MK_ERANGE, 0);
	expect(&f, 6, MK_STATE_FAULT, -MK_EARGS, 0);
	expect(&f, 7, MK_STATE_DONE, 7, 1007);
	assert_int_equal(spy.runs, 1);
	buffers_free(&f.b);
}

static void test_shutdown(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f, 0);
	buffers_add(&f.b, ring_slot(OP_SPY));
	buffers_add(&f.b, ring_slot(MK_OP_SHUTDOWN));
	buffers_add(&f.b, ring_slot(OP_SPY));
	buffers_add(&f.b, ring_slot(99));
	assert_int_equal(run(&f), 0);
	expect(&f, 0, MK_STATE_DONE, 0, 1000);
	expect(&f, 1, MK_STATE_DONE, 0, 0);
	expect(&f, 2, MK_STATE_CANCELLED, -MK_ECANCELLED, 0);
	expect(&f, 3, MK_STATE_CANCELLED, -MK_ECANCELLED, 0);
	assert_int_equal(control(&f).shutdown, 1);
	/* and it stays so */
	buffers_add(&f.b, ring_slot(OP_SPY));
	assert_int_equal(run(&f), 0);
	expect(&f, 4, MK_STATE_CANCELLED, -MK_ECANCELLED, 0);
	assert_int_equal(spy.runs, 1);
	buffers_free(&f.b);
}

static void test_cancel_and_deadline(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f, 0);
	buffers_add(&f.b, ring_slot(OP_CANCEL));
	buffers_add(&f.b, ring_slot(OP_SPY));
	assert_int_equal(run(&f), 0);
	expect(&f, 0, MK_STATE_DONE, 0, 0);
	expect(&f, 1, MK_STATE_CANCELLED, -MK_ECANCELLED, 0);
	f.cancel = 0;
	buffers_add(&f.b, ring_slot(OP_SPY));
	f.task.deadline_ns = 1; /* long past */
	assert_int_equal(run(&f), 0);
	expect(&f, 2, MK_STATE_EXPIRED, -MK_EDEADLINE, 0);
	buffers_add(&f.b, ring_slot(OP_SPY));
	f.task.deadline_ns = mk_deadline_after(3600000000000u);
	assert_int_equal(run(&f), 0);
	expect(&f, 3, MK_STATE_DONE, 3, 1003);
	assert_int_equal(spy.seen.deadline_ns, f.task.deadline_ns);
	buffers_free(&f.b);
}

static void test_io(void **state)
{
	struct mk_io_record r[RECORDS];
	struct mk_io_info info;
	struct fixture f;

	(void)state;
	setup(&f, RECORDS);
	for (unsigned i = 0; i <= RECORDS; i++)
		buffers_add(&f.b, ring_slot(OP_IO));
	assert_int_equal(run(&f), 0);
	expect(&f, RECORDS - 1, MK_STATE_DONE, 0, 0);
	expect(&f, RECORDS, MK_STATE_FAULT, -MK_EFULL, 0);
	assert_int_equal(mk_io_decode(f.b.data[3], f.b.bytes[3], r, RECORDS,
				      &info), RECORDS);
	assert_int_equal(info.refused, 1);
	assert_int_equal(r[2].ticket, 2);
	buffers_free(&f.b);

	/* no IO queue: refused, not lost */
	setup(&f, 0);
	buffers_add(&f.b, ring_slot(OP_IO));
	assert_int_equal(run(&f), 0);
	expect(&f, 0, MK_STATE_FAULT, -MK_EFULL, 0);
	buffers_free(&f.b);
}

/* ---- buffers that are no row --------------------------------------------- */

static void test_handles(void **state)
{
	struct fixture f;

	(void)state;
	for (unsigned part = 0; part < 4; part++) {
		struct mk_ref *ref;

		setup(&f, RECORDS);
		buffers_add(&f.b, ring_slot(OP_SPY));
		ref = part == 0 ? &f.args.control : part == 1 ? &f.args.ring :
		      part == 2 ? &f.args.debug_log : &f.args.io_queue;
		ref->generation = 2;
		assert_int_equal(run(&f), -MK_ESTALE);
		ref->generation = 4;
		assert_int_equal(run(&f), -MK_EFOREIGN);
		ref->generation = 3;
		f.windows[part + 1].flags = MK_BUFFER_READ_ONLY;
		assert_int_equal(run(&f), -MK_EACCESS);
		f.windows[part + 1].flags = 0;
		f.windows[part + 1].generation = 0;
		assert_int_equal(run(&f), -MK_ESTALE);
		f.windows[part + 1].generation = 3;
		ref->index = 5;
		assert_int_equal(run(&f), -MK_EFOREIGN);
		*ref = (struct mk_ref){ 0, 0 };
		assert_int_equal(run(&f), part < 3 ? -MK_EFOREIGN : 0);
		assert_int_equal(spy.runs, part < 3 ? 0 : 1);
		buffers_free(&f.b);
	}
}

static void test_bad_buffers(void **state)
{
	struct fixture f;

	(void)state;
	for (unsigned part = 0; part < 4; part++) {
		uint32_t *word;

		setup(&f, RECORDS);
		buffers_add(&f.b, ring_slot(OP_SPY));
		word = (uint32_t *)f.b.data[part];
#define SPOILT(at, value, code)                                        \
	do {                                                           \
		uint32_t was = word[at];                               \
		word[at] = (value);                                    \
		assert_int_equal(run(&f), -(code));                    \
		word[at] = was;                                        \
	} while (0)
		SPOILT(0, 0, MK_ELAYOUT);
		SPOILT(1, 99, MK_ELAYOUT);
		SPOILT(2, 0, MK_ELAYOUT);
		SPOILT(3, word[3] + 8, MK_ETRUNC);
		SPOILT(4, 0, MK_ELAYOUT);
		SPOILT(4, 0x80000000u, MK_EOVERFLOW);
#undef SPOILT
		/* the window is shorter than the header says */
		f.windows[part + 1].bytes -= 8;
		assert_int_equal(run(&f), -MK_ETRUNC);
		f.windows[part + 1].bytes = 15;
		assert_int_equal(run(&f), -MK_ETRUNC);
		map(&f, part);
		f.windows[part + 1].base += 4;
		f.windows[part + 1].bytes -= 4;
		assert_int_equal(run(&f), -MK_EALIGN);
		map(&f, part);
		/* two parts in one buffer; a ring is too short a control */
		f.windows[part + 1] = f.windows[(part + 1) % 4 + 1];
		assert_int_equal(run(&f), part ? -MK_ELAYOUT : -MK_ETRUNC);
		assert_int_equal(spy.runs, 0);
		assert_int_equal(buffers_slot(&f.b, 0)->state,
				 MK_STATE_PUBLISHED);
		buffers_free(&f.b);
	}
}

/* A window may be longer than its buffer. */
static void test_longer_window(void **state)
{
	unsigned char *longer;
	struct fixture f;

	(void)state;
	setup(&f, 0);
	buffers_add(&f.b, ring_slot(OP_SPY));
	longer = calloc(1, f.b.bytes[1] + 4096);
	assert_non_null(longer);
	memcpy(longer, f.b.data[1], f.b.bytes[1]);
	f.windows[2].base = (uintptr_t)longer;
	f.windows[2].bytes += 4096;
	assert_int_equal(run(&f), 0);
	assert_int_equal(f.task.value, 1);
	free(longer);
	buffers_free(&f.b);
}

/* ---- interrupted and hostile rings --------------------------------------- */

static struct mk_ring_answer *answer_at(struct fixture *f, uint32_t i)
{
	return (struct mk_ring_answer *)buffers_slot(&f->b, ENTRIES) + i;
}

static void test_interrupted(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f, 0);
	for (int i = 0; i < 5; i++)
		buffers_add(&f.b, ring_slot(OP_SPY));
	/* 0 and 1 are claimed, 1 may run again; 2 had its answer written */
	buffers_slot(&f.b, 0)->state = MK_STATE_CLAIMED;
	buffers_slot(&f.b, 1)->state = MK_STATE_CLAIMED;
	buffers_slot(&f.b, 1)->flags = MK_SLOT_IDEMPOTENT;
	buffers_slot(&f.b, 2)->state = MK_STATE_CLAIMED;
	*answer_at(&f, 2) = (struct mk_ring_answer){ 6, MK_STATE_DONE, 66 };
	/* 3: the answer's state does not go with its result */
	buffers_slot(&f.b, 3)->state = MK_STATE_CLAIMED;
	*answer_at(&f, 3) = (struct mk_ring_answer){ -1, MK_STATE_DONE, 0 };
	assert_int_equal(run(&f), 0);
	assert_int_equal(f.task.value, 5);
	expect(&f, 0, MK_STATE_FAULT, -MK_EMAYRUN, 0);
	expect(&f, 1, MK_STATE_DONE, 1, 1001);
	expect(&f, 2, MK_STATE_DONE, 6, 66);
	expect(&f, 3, MK_STATE_FAULT, -MK_EMAYRUN, 0);
	expect(&f, 4, MK_STATE_DONE, 4, 1004);
	assert_int_equal(control(&f).done, 3);
	assert_int_equal(control(&f).failed, 2);
	assert_int_equal(spy.runs, 2);
	buffers_free(&f.b);
}

static void test_states_that_cannot_be(void **state)
{
	const uint32_t bad[] = { MK_STATE_EMPTY, MK_STATE_WAIT_IO,
				 MK_STATE_YIELD, MK_STATE_REQUEUE, 10, ~0u };
	struct fixture f;

	(void)state;
	setup(&f, 0);
	for (unsigned i = 0; i < 6; i++) {
		buffers_add(&f.b, ring_slot(OP_SPY));
		buffers_slot(&f.b, i)->state = bad[i];
	}
	buffers_add(&f.b, ring_slot(OP_SPY));
	/* a stale answer under a published slot is not taken for its own */
	*answer_at(&f, 6) = (struct mk_ring_answer){ 9, MK_STATE_DONE, 9 };
	assert_int_equal(run(&f), 0);
	for (uint32_t i = 0; i < 6; i++)
		expect(&f, i, MK_STATE_FAULT, -MK_ESTATE, 0);
	expect(&f, 6, MK_STATE_DONE, 6, 1006);
	buffers_free(&f.b);
}

static void spoil_everything(struct fixture *f)
{
	for (unsigned part = 0; part < 4; part++)
		for (uint64_t i = 0; i < f->b.bytes[part]; i++)
			f->b.data[part][i] = 0xff;
	/* except for this, which would end the row */
	buffers_control(&f->b)->shutdown = 0;
}

/* A handler that overwrites all four buffers of its row: the row goes on
 * within the bounds that it checked before. */
static void test_spoilt_while_running(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f, RECORDS);
	spy.spoil = spoil_everything;
	buffers_add(&f.b, ring_slot(OP_SPOIL));
	for (int i = 0; i < 5; i++)
		buffers_add(&f.b, ring_slot(OP_SPY));
	assert_int_equal(run(&f), 0);
	/* the spoiler, and five slots whose state is nonsense now */
	assert_int_equal(f.task.value, 6);
	assert_int_equal(spy.runs, 1);
	for (uint32_t i = 1; i < 6; i++) {
		assert_int_equal(answer_at(&f, i)->result, -MK_ESTATE);
		assert_int_equal(buffers_slot(&f.b, i)->state,
				 MK_STATE_FAULT);
	}
	/* what lies behind the published ones was not touched */
	assert_int_equal(buffers_slot(&f.b, 6)->state, ~0u);
	assert_int_equal(run(&f), -MK_ELAYOUT);
	buffers_free(&f.b);
}

static void widen(struct fixture *f)
{
	struct mk_ring *ring = (struct mk_ring *)f->b.data[1];

	buffers_control(&f->b)->observables = 1u << 20;
	buffers_control(&f->b)->observable_offset = 0;
	buffers_control(&f->b)->tenants = ~0u;
	ring->published = 1u << 30;
	ring->entries = 1u << 30;
	((struct mk_debug_log *)f->b.data[2])->capacity = 1u << 30;
	((struct mk_debug_log *)f->b.data[2])->cursor = 12345678;
	((struct mk_io_queue *)f->b.data[3])->capacity = 1u << 30;
}

/* Counts that grow after they were checked are not believed. */
static void test_widened_while_running(void **state)
{
	struct mk_ring_slot far_tenant = ring_slot(OP_SPY);
	struct fixture f;

	(void)state;
	setup(&f, RECORDS);
	spy.spoil = widen;
	buffers_control(&f.b)->tenants = 1;
	buffers_add(&f.b, ring_slot(OP_SPOIL));
	buffers_add(&f.b, word_slot(MK_OP_STORE, WORDS, 1, 0));
	buffers_add(&f.b, word_slot(MK_OP_ADD, 0, 1, 0));
	buffers_add(&f.b, print_slot(1, 2));
	buffers_add(&f.b, ring_slot(OP_IO));
	far_tenant.tenant = 1;
	buffers_add(&f.b, far_tenant);
	assert_int_equal(run(&f), 0);
	assert_int_equal(f.task.value, 6);
	assert_int_equal(answer_at(&f, 1)->result, -MK_ERANGE);
	assert_int_equal(answer_at(&f, 2)->result, 0);
	assert_int_equal(answer_at(&f, 3)->result, 0);
	assert_int_equal(answer_at(&f, 4)->result, 0);
	assert_int_equal(answer_at(&f, 5)->result, -MK_ERANGE);
	/* word 0 is where it was: the offset was not read again */
	assert_int_equal(((uint64_t *)(f.b.data[0] + 2688))[0], 1);
	assert_int_equal(buffers_control(&f.b)->header.magic,
			 MK_MAGIC_CONTROL);
	buffers_free(&f.b);
}

struct scribbler {
	struct fixture *f;
	uint32_t stop;
};

/* Writes random words all over the buffers until told to stop. */
static void *scribble(void *arg)
{
	struct scribbler *s = arg;
	uint64_t x = 88172645463325252ull;

	while (!mk_load_relaxed(&s->stop)) {
		struct buffers *b = &s->f->b;
		unsigned part;
		uint32_t *word;

		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		part = (unsigned)(x % 4);
		word = (uint32_t *)b->data[part];
		word += (x >> 8) % (b->bytes[part] / 4);
		mk_store_relaxed(word, x & 64 ? (uint32_t)(x >> 32) :
						(uint32_t)(x >> 32) % 12);
	}
	return NULL;
}

/* Rows that run while somebody writes into all of their buffers: whatever
 * comes out, it ends and stays inside (the sanitizers watch). */
static void test_scribbled(void **state)
{
	struct scribbler s = { 0 };
	struct fixture f;
	pthread_t thread;
	unsigned runs = 0;

	(void)state;
	setup(&f, RECORDS);
	s.f = &f;
	assert_int_equal(pthread_create(&thread, NULL, scribble, &s), 0);
	for (unsigned round = 0; round < 3000; round++) {
		struct buffers fresh;

		assert_true(buffers_make(&fresh, WORDS, ENTRIES, RECORDS,
					 RECORDS));
		for (int i = 0; i < 8; i++)
			buffers_add(&fresh, i & 1 ? print_slot(1, 1) :
				    word_slot(MK_OP_ADD, (uint32_t)i / 2, 1,
					      0));
		for (unsigned part = 0; part < 4; part++)
			for (uint64_t i = 0; i < fresh.bytes[part] / 4; i++)
				mk_store_relaxed(
					(uint32_t *)f.b.data[part] + i,
					((uint32_t *)fresh.data[part])[i]);
		buffers_free(&fresh);
		if (run(&f) == 0) {
			runs++;
			assert_true(f.task.value <= ENTRIES);
		}
	}
	mk_store_relaxed(&s.stop, 1);
	pthread_join(thread, NULL);
	assert_true(runs > 0);
	buffers_free(&f.b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs_in_order),
		cmocka_unit_test(test_counters),
		cmocka_unit_test(test_results_to_states),
		cmocka_unit_test(test_builtins),
		cmocka_unit_test(test_args_whole_and_aligned),
		cmocka_unit_test(test_refused_slots),
		cmocka_unit_test(test_shutdown),
		cmocka_unit_test(test_cancel_and_deadline),
		cmocka_unit_test(test_io),
		cmocka_unit_test(test_handles),
		cmocka_unit_test(test_bad_buffers),
		cmocka_unit_test(test_longer_window),
		cmocka_unit_test(test_interrupted),
		cmocka_unit_test(test_states_that_cannot_be),
		cmocka_unit_test(test_spoilt_while_running),
		cmocka_unit_test(test_widened_while_running),
		cmocka_unit_test(test_scribbled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
