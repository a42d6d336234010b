/* SPDX-License-Identifier: Apache-2.0 */
/* The control opcodes, called without an engine. */
#include "handlers/task.h"

#include <stdlib.h>

static struct hand_made h;

static int setup(void **state)
{
	(void)state;
	task_init(&h);
	return 0;
}

static int32_t word_op(uint32_t opcode, uint32_t word, uint64_t operand,
		       uint64_t expected)
{
	struct mk_op_word args = { .word = word, .operand = operand,
				   .expected = expected };

	return task_run(&h, opcode, &args, sizeof(args));
}

static void nop_echoes(void **state)
{
	uint64_t echo = 0x1122334455667788;

	(void)state;
	assert_int_equal(task_run(&h, MK_OP_NOP, &echo, 8), MK_OK);
	assert_true(h.task.value == echo);
}

static void words(void **state)
{
	(void)state;
	assert_int_equal(word_op(MK_OP_STORE, 2, 40, 0), MK_OK);
	assert_true(h.task.value == 0 && h.word[2] == 40);
	assert_int_equal(word_op(MK_OP_STORE, 2, 41, 0), MK_OK);
	assert_true(h.task.value == 40 && h.word[2] == 41);
	assert_int_equal(word_op(MK_OP_ADD, 2, UINT64_MAX, 0), MK_OK);
	assert_true(h.task.value == 41 && h.word[2] == 40);
	assert_int_equal(word_op(MK_OP_LOAD, 2, 99, 99), MK_OK);
	assert_true(h.task.value == 40 && h.word[2] == 40);
	assert_int_equal(word_op(MK_OP_CAS, 2, 7, 39), MK_OK);
	assert_true(h.task.value == 40 && h.word[2] == 40);
	assert_int_equal(word_op(MK_OP_CAS, 2, 7, 40), MK_OK);
	assert_true(h.task.value == 40 && h.word[2] == 7);
	for (unsigned i = 0; i < TASK_WORDS; i++)
		if (i != 2)
			assert_true(h.word[i] == 0);
}

/* No opcode reaches what lies beside the words. */
static void words_end(void **state)
{
	struct mk_op_word args = { .word = 1, .reserved = 1 };
	struct hand_made before;

	(void)state;
	before = h;
	for (uint32_t op = MK_OP_STORE; op <= MK_OP_CAS; op++) {
		assert_int_equal(word_op(op, TASK_WORDS, 1, 0), -MK_ERANGE);
		assert_int_equal(word_op(op, UINT32_MAX, 1, 0), -MK_ERANGE);
		assert_int_equal(task_run(&h, op, &args, sizeof(args)),
				 -MK_EARGS);
	}
	assert_memory_equal(h.word, before.word, sizeof(h.word));
	assert_memory_equal(&h.control, &before.control, sizeof(h.control));
}

static int32_t copy(struct mk_ref from, uint64_t at, struct mk_ref to,
		    uint64_t to_at, uint64_t bytes)
{
	struct mk_op_copy args = { from, to, at, to_at, bytes };

	return task_run(&h, MK_OP_COPY, &args, sizeof(args));
}

static void copies(void **state)
{
	unsigned char a[100], b[100];
	struct mk_ref from, to;

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		a[i] = (unsigned char)i;
	memset(b, 0xee, sizeof(b));
	from = task_buffer(&h, 1, a, sizeof(a), MK_BUFFER_READ_ONLY);
	to = task_buffer(&h, 2, b, sizeof(b), 0);
	assert_int_equal(copy(from, 3, to, 10, 50), MK_OK);
	assert_int_equal(h.task.value, 50);
	assert_int_equal(h.task.dirty, 1);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(b[i], i < 10 || i >= 60 ? 0xee : i - 7);
	assert_int_equal(copy(from, 100, to, 100, 0), MK_OK);
	assert_int_equal(h.task.value, 0);
}

static void copy_refuses(void **state)
{
	unsigned char a[100] = { 0 }, b[100] = { 0 };
	struct mk_ref from, to, odd;

	(void)state;
	from = task_buffer(&h, 1, a, sizeof(a), MK_BUFFER_READ_ONLY);
	to = task_buffer(&h, 2, b, sizeof(b), 0);
	assert_int_equal(copy(from, 51, to, 0, 50), -MK_ERANGE);
	assert_int_equal(copy(from, 0, to, 51, 50), -MK_ERANGE);
	assert_int_equal(copy(from, UINT64_MAX, to, 0, 50), -MK_ERANGE);
	assert_int_equal(copy(from, 1, to, 0, UINT64_MAX), -MK_ERANGE);
	assert_int_equal(copy(to, 0, from, 0, 1), -MK_EACCESS);
	odd = to;
	odd.generation = 4;
	assert_int_equal(copy(from, 0, odd, 0, 1), -MK_ESTALE);
	odd.generation = 6;
	assert_int_equal(copy(odd, 0, to, 0, 1), -MK_EFOREIGN);
	odd.index = 4;
	assert_int_equal(copy(odd, 0, to, 0, 1), -MK_EFOREIGN);
	/* within one buffer: apart is fine, overlapping is not */
	assert_int_equal(copy(to, 0, to, 50, 50), MK_OK);
	assert_int_equal(copy(to, 0, to, 49, 50), -MK_EARGS);
	assert_int_equal(copy(to, 49, to, 0, 50), -MK_EARGS);
	assert_int_equal(copy(to, 7, to, 7, 1), -MK_EARGS);
}

static void copy_stops(void **state)
{
	size_t bytes = 4u << 20;
	unsigned char *a = calloc(2, bytes);
	struct mk_ref from, to;

	(void)state;
	assert_non_null(a);
	from = task_buffer(&h, 1, a, bytes, 0);
	to = task_buffer(&h, 2, a + bytes, bytes, 0);
	memset(a, 1, bytes);
	h.cancel = h.task.cancel_mark;
	assert_int_equal(copy(from, 0, to, 0, bytes), -MK_ECANCELLED);
	assert_true(h.task.value > 0 && h.task.value < bytes);
	assert_int_equal(a[bytes + h.task.value - 1], 1);
	assert_int_equal(a[bytes + h.task.value], 0);
	/* the mark of another lap's slot means nothing to this one */
	h.cancel = h.task.cancel_mark + 1;
	assert_int_equal(copy(from, 0, to, 0, bytes), MK_OK);
	assert_int_equal(h.task.value, bytes);
	free(a);
}

static void prints(void **state)
{
	struct mk_op_print args = { 9, { 1, 2, 3 } };
	const struct mk_debug_record *r = h.debug.record;

	(void)state;
	for (unsigned i = 0; i < TASK_RECORDS + 1; i++) {
		args.arg[0] = i;
		assert_int_equal(task_run(&h, MK_OP_PRINT, &args,
					  sizeof(args)), MK_OK);
	}
	assert_true(h.debug.log.cursor == TASK_RECORDS + 1);
	assert_true(h.debug.log.drops == 1);
	assert_int_equal(r[0].arg[0], TASK_RECORDS);
	assert_int_equal(r[0].stamp, TASK_RECORDS + 1);
	assert_int_equal(r[1].arg[0], 1);
	assert_int_equal(r[1].format, 9);
	assert_int_equal(r[1].arg[2], 3);
	assert_int_equal(r[1].worker, 3);
	assert_true(r[1].ticket == 77);
}

static void shuts_down(void **state)
{
	(void)state;
	assert_int_equal(task_run(&h, MK_OP_SHUTDOWN, NULL, 0), MK_OK);
	assert_int_equal(h.control.shutdown, 1);
	assert_int_equal(h.task.dirty, 1);
}

static void lists(void **state)
{
	struct mk_handler_info all[64], one[1];
	int n = mk_builtin_list(all, 64);
	bool seen[MK_OPCODE_USER] = { false };

	(void)state;
	assert_in_range(n, 1, MK_OPCODE_USER);
	assert_int_equal(mk_builtin_list(one, 1), n);
	assert_int_equal(mk_builtin_list(NULL, 0), n);
	for (int i = 0; i < n; i++) {
		const struct mk_handler_entry *e;

		assert_in_range(all[i].opcode, 0, MK_OPCODE_USER - 1);
		assert_false(seen[all[i].opcode]);
		seen[all[i].opcode] = true;
		assert_int_equal(all[i].builtin, 1);
		assert_int_equal(all[i].module, 0);
		e = mk_builtin_find(all[i].opcode);
		if (all[i].opcode == MK_OP_FENCE ||
		    all[i].opcode == MK_OP_ROW) {
			assert_null(e);
			continue;
		}
		assert_non_null(e);
		assert_string_equal(e->name, all[i].name);
		assert_int_equal(e->arg_bytes, all[i].arg_bytes);
		assert_int_equal(e->width, all[i].width);
	}
	assert_null(mk_builtin_find(MK_OPCODE_USER));
	assert_null(mk_builtin_find(UINT32_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(nop_echoes, setup),
		cmocka_unit_test_setup(words, setup),
		cmocka_unit_test_setup(words_end, setup),
		cmocka_unit_test_setup(copies, setup),
		cmocka_unit_test_setup(copy_refuses, setup),
		cmocka_unit_test_setup(copy_stops, setup),
		cmocka_unit_test_setup(prints, setup),
		cmocka_unit_test_setup(shuts_down, setup),
		cmocka_unit_test_setup(lists, setup),
	};

	return cmocka_run_group_tests_name("handlers/control", tests, NULL,
					   NULL);
}
