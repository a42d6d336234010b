/* SPDX-License-Identifier: Apache-2.0 */
/* The allocator of ranges, against a map of every grain. */
#include <errno.h>
#include <string.h>

#include "base/space.h"
#include "support/support.h"

#define GRAIN 16u
#define GRAINS 256u

static void edges(void **state)
{
	struct mk_space s;
	uint64_t at = 5;

	(void)state;
	assert_int_equal(mk_space_init(&s, 64, 100, GRAIN), 0);
	assert_int_equal(mk_space_alloc(&s, 0, &at), -ENOMEM);
	assert_int_equal(mk_space_alloc(&s, 97, &at), -ENOMEM);
	assert_int_equal(mk_space_alloc(&s, UINT64_MAX, &at), -ENOMEM);
	assert_int_equal(mk_space_alloc(&s, UINT64_MAX - GRAIN, &at),
			 -ENOMEM);
	assert_int_equal(at, 5);
	assert_int_equal(mk_space_alloc(&s, 96, &at), 0);
	assert_int_equal(at, 64);
	assert_int_equal(s.used, 96);
	assert_int_equal(mk_space_alloc(&s, 1, &at), -ENOMEM);
	mk_space_free(&s, 64, 96);
	assert_int_equal(s.used, 0);
	assert_int_equal(s.count, 1);
	mk_space_fini(&s);
	/* of no size */
	assert_int_equal(mk_space_init(&s, 0, GRAIN - 1, GRAIN), 0);
	assert_int_equal(mk_space_alloc(&s, 1, &at), -ENOMEM);
	mk_space_fini(&s);
}

/* Best fit: the smallest gap that holds it. */
static void best_fit(void **state)
{
	uint64_t a, b, c, d, e;
	struct mk_space s;

	(void)state;
	assert_int_equal(mk_space_init(&s, 0, 100 * GRAIN, GRAIN), 0);
	assert_int_equal(mk_space_alloc(&s, 10 * GRAIN, &a), 0);
	assert_int_equal(mk_space_alloc(&s, GRAIN, &b), 0);
	assert_int_equal(mk_space_alloc(&s, 3 * GRAIN, &c), 0);
	assert_int_equal(mk_space_alloc(&s, GRAIN, &d), 0);
	mk_space_free(&s, a, 10 * GRAIN);
	mk_space_free(&s, c, 3 * GRAIN);
	assert_int_equal(mk_space_alloc(&s, 2 * GRAIN + 1, &e), 0);
	assert_int_equal(e, c);
	assert_int_equal(mk_space_alloc(&s, 4 * GRAIN, &e), 0);
	assert_int_equal(e, a);
	mk_space_fini(&s);
}

static void check(const struct mk_space *s, const uint8_t *map)
{
	uint64_t used = 0, free_bytes = 0;

	for (unsigned i = 0; i < GRAINS; i++)
		used += map[i] ? GRAIN : 0;
	assert_int_equal(s->used, used);
	for (unsigned i = 0; i < s->count; i++) {
		const struct mk_range *r = &s->free[i];

		free_bytes += r->bytes;
		assert_true(r->bytes > 0);
		for (uint64_t at = r->offset; at < r->offset + r->bytes;
		     at += GRAIN)
			assert_int_equal(map[at / GRAIN], 0);
		/* sorted, and never two that touch */
		if (i)
			assert_true(s->free[i - 1].offset +
					    s->free[i - 1].bytes < r->offset);
	}
	assert_int_equal(free_bytes + used, GRAINS * GRAIN);
}

static void model(void **state)
{
	uint64_t offset[64], bytes[64] = { 0 }, seed = 1;
	uint8_t map[GRAINS] = { 0 };
	struct mk_space s;

	(void)state;
	assert_int_equal(mk_space_init(&s, 0, GRAINS * GRAIN, GRAIN), 0);
	for (unsigned step = 0; step < 20000; step++) {
		uint64_t r = support_random(&seed);
		unsigned at = r % 64;
		uint64_t n = (r >> 8) % 200 + 1;

		if (bytes[at]) {
			uint64_t grains = (bytes[at] + GRAIN - 1) / GRAIN;

			mk_space_free(&s, offset[at], bytes[at]);
			memset(map + offset[at] / GRAIN, 0, grains);
			bytes[at] = 0;
		} else if (!mk_space_alloc(&s, n, &offset[at])) {
			uint64_t grains = (n + GRAIN - 1) / GRAIN;

			bytes[at] = n;
			for (uint64_t k = 0; k < grains; k++) {
				uint8_t *m = &map[offset[at] / GRAIN + k];

				assert_int_equal(*m, 0);
				*m = 1;
			}
		}
		check(&s, map);
	}
	mk_space_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edges),
		cmocka_unit_test(best_fit),
		cmocka_unit_test(model),
	};

	return cmocka_run_group_tests_name("base/space", tests, NULL, NULL);
}
