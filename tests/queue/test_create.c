/* SPDX-License-Identifier: Apache-2.0 */
/* Bad input at the door of queues. */
#include <errno.h>
#include <string.h>

#include "queue/queue.h"
#include "support/support.h"

static struct mk_ctx *ctx;
static struct mk_queue *const untouched = (struct mk_queue *)&ctx;

static void refuse(const void *params, int code)
{
	struct mk_queue *q = untouched;

	assert_int_equal(mk_queue_create(ctx, params, &q), code);
	assert_ptr_equal(q, untouched);
	assert_string_equal(mk_error_last()->operation, "mk_queue_create");
}

#define REFUSE(field_, value, ...)                                     \
	do {                                                           \
		struct mk_queue_params p_ = { .size = sizeof(p_) };    \
		p_.field_ = (value);                                   \
		refuse(&p_, -EINVAL);                                  \
		support_error(-EINVAL, "params." #field_, __VA_ARGS__, \
			      NULL);                                   \
	} while (0)

static void fields(void **state)
{
	static const uint32_t odd[] = { 1, 3, 5, 1000, 65535, 65537, 131072,
					UINT32_MAX, 1u << 31 };

	(void)state;
	for (unsigned i = 0; i < 9; i++) {
		REFUSE(entries, odd[i], "power of two", "65,536");
		if (odd[i] == 1)
			continue;
		REFUSE(log_records, odd[i], "power of two", "65,536");
		REFUSE(io_records, odd[i], "power of two", "65,536");
	}
	REFUSE(priority, 6, "is 6", "0 to 5");
	REFUSE(priority, UINT32_MAX, "0 to 5");
	REFUSE(flags, 1, "is 1", "0");
	REFUSE(flags, 1u << 31, "0");
	REFUSE(reserved, 1, "is 1");
	REFUSE(observables, 65537, "65537", "65,536");
}

static void sizes(void **state)
{
	unsigned char bytes[4200] = { 0 };
	struct mk_queue_params *p = (void *)bytes;
	struct mk_queue *q;

	(void)state;
	refuse(p, -EINVAL);
	support_error(-EINVAL, "params.size is 0", NULL);
	p->size = sizeof(*p) - 1;
	refuse(p, -EINVAL);
	p->size = sizeof(*p) + 8;
	assert_int_equal(mk_queue_create(ctx, p, &q), 0);
	assert_int_equal(mk_queue_entries(q), 1024);
	support_queue_end(q);
	bytes[sizeof(*p) + 7] = 1;
	refuse(p, -E2BIG);
	p->size = 4097;
	refuse(p, -E2BIG);
}

static void extremes(void **state)
{
	struct mk_queue_params p = { .size = sizeof(p), .entries = 65536,
				     .observables = 65536,
				     .log_records = 65536,
				     .io_records = 65536 };
	struct mk_op_word w = { 65535, 0, 5, 0 };
	struct mk_queue *q;

	(void)state;
	assert_int_equal(mk_queue_create(ctx, &p, &q), 0);
	assert_int_equal(mk_queue_entries(q), 65536);
	assert_int_equal(support_call(q, MK_OP_ADD, &w, sizeof(w)).result, 0);
	w.word = 65536;
	assert_int_equal(support_call(q, MK_OP_ADD, &w, sizeof(w)).result,
			 -MK_ERANGE);
	support_queue_end(q);
	p = (struct mk_queue_params){ .size = sizeof(p), .entries = 2,
				      .observables = 1, .log_records = 1,
				      .io_records = 1,
				      .spin_ns = MK_FOREVER };
	assert_int_equal(mk_queue_create(ctx, &p, &q), 0);
	w.word = 0;
	assert_int_equal(support_call(q, MK_OP_ADD, &w, sizeof(w)).result, 0);
	w.word = 1;
	assert_int_equal(support_call(q, MK_OP_ADD, &w, sizeof(w)).result,
			 -MK_ERANGE);
	support_queue_end(q);
	assert_int_equal(mk_queue_destroy(NULL, 0), 0);
}

/* As many as there can be, and one more. */
static void too_many(void **state)
{
	static struct mk_queue *q[MK_QUEUES_MAX];
	struct mk_queue_params p = { .size = sizeof(p), .entries = 2 };

	(void)state;
	for (unsigned i = 0; i < MK_QUEUES_MAX; i++)
		assert_int_equal(mk_queue_create(ctx, &p, &q[i]), 0);
	refuse(&p, -ENOSPC);
	support_error(-ENOSPC, "1024 queues", NULL);
	for (unsigned i = 0; i < MK_QUEUES_MAX; i += 97)
		assert_int_equal(support_call(q[i], MK_OP_NOP, NULL,
					      0).result, 0);
	support_queue_end(q[500]);
	assert_int_equal(mk_queue_create(ctx, &p, &q[500]), 0);
	assert_int_equal(support_call(q[500], MK_OP_NOP, NULL, 0).result, 0);
	for (unsigned i = 0; i < MK_QUEUES_MAX; i++)
		support_queue_end(q[i]);
}

/* Until the shared memory is used up; all of it comes back. */
static void used_up(void **state)
{
	struct mk_queue_params p = { .size = sizeof(p), .entries = 65536 };
	struct mk_ctx_info before, after;
	struct mk_queue *q[16];
	unsigned n = 0;

	(void)state;
	assert_int_equal(mk_ctx_info(ctx, &before), 0);
	while (n < 16 && !mk_queue_create(ctx, &p, &q[n]))
		n++;
	assert_true(n > 1 && n < 16);
	support_error(-ENOMEM, "mk_ctx_params.shared_bytes", NULL);
	for (unsigned i = 0; i < n; i++)
		support_queue_end(q[i]);
	assert_int_equal(mk_ctx_info(ctx, &after), 0);
	assert_memory_equal(&before, &after, sizeof(before));
}

static int begin(void **state)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_NONE);

	(void)state;
	p.shared_bytes = 48u << 20;
	ctx = support_ctx_with(&p);
	return 0;
}

static int end(void **state)
{
	(void)state;
	support_ctx_end(ctx);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields),
		cmocka_unit_test(sizes),
		cmocka_unit_test(extremes),
		cmocka_unit_test(too_many),
		cmocka_unit_test(used_up),
	};

	return cmocka_run_group_tests_name("queue/create", tests, begin, end);
}
