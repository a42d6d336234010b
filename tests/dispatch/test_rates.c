/* SPDX-License-Identifier: Apache-2.0 */
/* Rates: each takes its own field, in 128 bits, and saturates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <megakernel.h>

typedef uint64_t (*rate_fn)(const struct mk_dispatch_stats *s);

static const struct {
	rate_fn rate;
	size_t offset;
} rates[] = {
	{ mk_dispatch_output_rate,
	  offsetof(struct mk_dispatch_stats, output_bytes) },
	{ mk_dispatch_readback_rate,
	  offsetof(struct mk_dispatch_stats, readback_bytes) },
	{ mk_dispatch_moved_rate,
	  offsetof(struct mk_dispatch_stats, bytes_moved) },
	{ mk_dispatch_allocation_rate,
	  offsetof(struct mk_dispatch_stats, device_allocation_bytes) },
};

static uint64_t rate_of(unsigned i, uint64_t bytes, uint64_t latency_ns)
{
	struct mk_dispatch_stats s;

	/* every other field is set: a rate of the wrong one shows */
	memset(&s, 0x5a, sizeof(s));
	s.recovered_after_device_loss = false;
	memcpy((char *)&s + rates[i].offset, &bytes, sizeof(bytes));
	s.latency_ns = latency_ns;
	return rates[i].rate(&s);
}

static void test_rate_values(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(rate_of(i, 0, 17), 0);
		assert_int_equal(rate_of(i, 1, 1000000000u), 1);
		assert_int_equal(rate_of(i, 4096, 1000), 4096000000u);
		/* rounds down */
		assert_int_equal(rate_of(i, 1, 1000000001u), 0);
		assert_int_equal(rate_of(i, 2, 3), 666666666u);
	}
}

static void test_rate_no_latency(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(rate_of(i, 12345, 0), 0);
		assert_int_equal(rate_of(i, UINT64_MAX, 0), 0);
	}
}

static void test_rate_128_bits(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		/* bytes * 10^9 exceeds 64 bits, the rate does not */
		assert_true(rate_of(i, UINT64_MAX, 1000000000u) == UINT64_MAX);
		assert_true(rate_of(i, 1ull << 62, 1000000000u) ==
			    1ull << 62);
		assert_true(rate_of(i, 1ull << 40, UINT64_MAX) == 59);
	}
}

static void test_rate_saturates(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		assert_true(rate_of(i, UINT64_MAX, 1) == UINT64_MAX);
		assert_true(rate_of(i, UINT64_MAX, 999999999u) == UINT64_MAX);
		/* the largest that fits, and the smallest that does not */
		assert_true(rate_of(i, 18446744073u, 1) ==
			    18446744073000000000ull);
		assert_true(rate_of(i, 18446744074u, 1) == UINT64_MAX);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rate_values),
		cmocka_unit_test(test_rate_no_latency),
		cmocka_unit_test(test_rate_128_bits),
		cmocka_unit_test(test_rate_saturates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
