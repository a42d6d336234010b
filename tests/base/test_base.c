/* SPDX-License-Identifier: Apache-2.0 */
/* Errors, parameter structs, clocks, futexes, the ladder of waits. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/futex.h"
#include "base/params.h"
#include "base/spin.h"
#include "support/support.h"

static void codes(void **state)
{
	static const struct { int code; const char *name, *text; } all[] = {
#define ROW(name, value, text) { value, #name, text },
		MK_CODES(ROW)
#undef ROW
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		assert_string_equal(mk_code_name(all[i].code), all[i].name);
		assert_string_equal(mk_code_name(-all[i].code), all[i].name);
		assert_string_equal(mk_strerror(all[i].code), all[i].text);
		assert_string_equal(mk_strerror(-all[i].code), all[i].text);
		assert_true(all[i].code > 5000);
		for (unsigned k = 0; k < i; k++)
			assert_int_not_equal(all[i].code, all[k].code);
	}
	assert_string_equal(mk_code_name(-ENOMEM), "ENOMEM");
	assert_string_equal(mk_code_name(0), "MK_OK");
	assert_non_null(mk_strerror(-EINVAL));
	assert_string_equal(mk_code_name(99999), "unknown");
	assert_non_null(mk_strerror(INT32_MIN));
	assert_non_null(mk_code_name(INT32_MIN));
	assert_non_null(mk_strerror(INT32_MAX));
	assert_string_equal(mk_version(), MK_VERSION_STRING);
}

static void *other_thread(void *arg)
{
	const struct mk_error *mine = mk_error_last();

	assert_ptr_not_equal(mine, arg);
	if (mine->code)
		return (void *)1;
	mk_error_set(-EIO, 5, "elsewhere", "x");
	return NULL;
}

static void errors(void **state)
{
	static char longest[5000];
	struct mk_error e;
	pthread_t t;
	void *result;

	(void)state;
	assert_int_equal(mk_error_set(-EPERM, 3, "op", "%s %d", "text", 7),
			 -EPERM);
	assert_int_equal(mk_error_last()->code, -EPERM);
	assert_int_equal(mk_error_last()->native, 3);
	assert_string_equal(mk_error_last()->operation, "op");
	assert_string_equal(mk_error_last()->text, "text 7");
	/* each thread has its own */
	assert_int_equal(pthread_create(&t, NULL, other_thread,
					(void *)mk_error_last()), 0);
	pthread_join(t, &result);
	assert_null(result);
	assert_int_equal(mk_error_last()->code, -EPERM);
	/* too long is cut */
	memset(longest, 'a', sizeof(longest) - 1);
	mk_error_set(-EIO, 0, longest, "%s", longest);
	assert_int_equal(strlen(mk_error_last()->text),
			 sizeof(e.text) - 1);
	assert_int_equal(strlen(mk_error_last()->operation),
			 sizeof(e.operation) - 1);
	/* from elsewhere, perhaps not terminated */
	memset(&e, 'b', sizeof(e));
	e.code = -EIO;
	assert_int_equal(mk_error_copy(&e), -EIO);
	assert_int_equal(strlen(mk_error_last()->text), sizeof(e.text) - 1);
	assert_int_equal(mk_error_copy(mk_error_last()), -EIO);
}

static void params(void **state)
{
	struct { uint32_t size, a, b; } in = { 12, 1, 2 }, out;
	struct { uint32_t size, a; } small = { 8, 5 };
	struct { uint32_t size, a, b, c; } large = { 16, 1, 2, 0 };

	(void)state;
	assert_int_equal(mk_params_copy(&out, 12, 8, NULL, "op"), 0);
	assert_int_equal(out.size, 12);
	assert_int_equal(out.a | out.b, 0);
	assert_int_equal(mk_params_copy(&out, 12, 8, &in, "op"), 0);
	assert_memory_equal(&in, &out, 12);
	/* an older caller: the rest is zero */
	assert_int_equal(mk_params_copy(&out, 12, 8, &small, "op"), 0);
	assert_int_equal(out.a, 5);
	assert_int_equal(out.b, 0);
	assert_int_equal(mk_params_copy(&out, 12, 12, &small, "op"), -EINVAL);
	support_error(-EINVAL, "params.size is 8", "12", NULL);
	small.size = 4097;
	assert_int_equal(mk_params_copy(&out, 12, 12, &small, "op"), -E2BIG);
	support_error(-E2BIG, "params.size is 4097", "4096", NULL);
	/* a newer one */
	assert_int_equal(mk_params_copy(&out, 12, 8, &large, "op"), 0);
	large.c = 1u << 31;
	assert_int_equal(mk_params_copy(&out, 12, 8, &large, "op"), -E2BIG);
	support_error(-E2BIG, "byte 15", "first 12 bytes", NULL);
}

static void clocks(void **state)
{
	uint64_t now = mk_now_ns();

	(void)state;
	assert_true(mk_now_ns() >= now);
	assert_true(mk_deadline_after(UINT64_MAX) == UINT64_MAX);
	assert_true(mk_deadline_after(UINT64_MAX - now) == UINT64_MAX);
	assert_true(mk_deadline_after(0) >= now);
	assert_true(mk_time_left(UINT64_MAX) == UINT64_MAX);
	assert_int_equal(mk_time_left(0), 0);
	assert_int_equal(mk_time_left(now), 0);
	assert_true(mk_time_left(now + SUPPORT_NS) <= SUPPORT_NS);
	assert_true(mk_time_left(now + SUPPORT_NS) > 0);
}

static void futexes(void **state)
{
	uint32_t word = 5;

	(void)state;
	/* changed already: no sleep */
	errno = 77;
	assert_int_equal(mk_futex_wait(&word, 4, UINT64_MAX), 0);
	assert_int_equal(mk_futex_wait(&word, 5, 0), -ETIMEDOUT);
	assert_int_equal(mk_futex_wait(&word, 5, 1000), -ETIMEDOUT);
	mk_futex_wake(&word, 1);
	mk_futex_wake((uint32_t *)16, 1); /* fails, quietly */
	assert_int_equal(errno, 77);
}

static void ladder(void **state)
{
	enum mk_spin_step step;
	struct mk_spin s;
	unsigned looks = 0;

	(void)state;
	mk_spin_begin(&s, 1000, 0);
	assert_int_equal(mk_spin(&s), MK_SPIN_LATE);
	mk_spin_begin(&s, 1, UINT64_MAX);
	while (mk_spin(&s) == MK_SPIN_LOOK)
		looks++;
	assert_true(looks >= MK_SPIN_LOOKS - 1);
	assert_int_equal(mk_spin(&s), MK_SPIN_SLEEP);
	assert_true(s.deadline == UINT64_MAX);
	/* never sleeps */
	mk_spin_begin(&s, UINT64_MAX, 2000000);
	do {
		step = mk_spin(&s);
	} while (step == MK_SPIN_LOOK);
	assert_int_equal(step, MK_SPIN_LATE);
}

static void descriptors(void **state)
{
	int fd = open("/dev/null", O_RDONLY), moved;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(mk_fd_above(fd, fd), fd);
	moved = mk_fd_above(fd, fd + 5);
	assert_true(moved >= fd + 5);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(fcntl(moved, F_GETFD), FD_CLOEXEC);
	assert_int_equal(mk_fd_keep(moved), moved);
	/* above every limit: the old one is gone too */
	errno = 0;
	assert_int_equal(mk_fd_above(moved, INT_MAX), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(fcntl(moved, F_GETFD), -1);
	errno = EMFILE;
	assert_int_equal(mk_fd_keep(-1), -1);
	assert_int_equal(errno, EMFILE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(codes),
		cmocka_unit_test(errors),
		cmocka_unit_test(params),
		cmocka_unit_test(clocks),
		cmocka_unit_test(futexes),
		cmocka_unit_test(ladder),
		cmocka_unit_test(descriptors),
	};

	return cmocka_run_group_tests_name("base/base", tests, NULL, NULL);
}
