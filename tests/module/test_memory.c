/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No memory at any point of building and loading: fail the n-th allocation
 * for every n, and nothing is lost or left behind.
 *
 * ctest-link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup
 */
#include "module/fixture.h"

#include <pthread.h>

#include "engine/cpu/module.h"

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__real_realloc(void *p, size_t bytes);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_realloc(void *p, size_t bytes);
char *__wrap_strdup(const char *text);

static long until_failure = -1; /* allocations; below 0: none fails */
static pthread_t armed;         /* in this thread only */

static bool fails(void)
{
	return __atomic_load_n(&until_failure, __ATOMIC_RELAXED) >= 0 &&
	       pthread_equal(armed, pthread_self()) && until_failure-- == 0;
}

void *__wrap_malloc(size_t bytes)
{
	return fails() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t n, size_t bytes)
{
	return fails() ? NULL : __real_calloc(n, bytes);
}

void *__wrap_realloc(void *p, size_t bytes)
{
	return fails() ? NULL : __real_realloc(p, bytes);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

/* Fail the n-th allocation of body, for every n that it comes to. */
static void sweep(int (*body)(void))
{
	unsigned failures = 0;
	long left;
	int rc;

	for (long n = 0; n < 1000; n++) {
		armed = pthread_self();
		until_failure = n;
		rc = body();
		left = until_failure;
		until_failure = -1;
		if (left >= 0) {
			/* it ended before its n-th allocation */
			assert_int_equal(rc, 0);
			assert_true(failures > 0);
			return;
		}
		assert_int_equal(rc, -ENOMEM);
		assert_int_equal(mk_error_last()->code, -ENOMEM);
		assert_true(mk_error_last()->text[0]);
		failures++;
		assert_int_equal(count_files(fix.temp, ""), 0);
	}
	fail();
}

static int build_once(void)
{
	struct mk_toolchain tc = { .compiler = real_cc(),
				   .cache_dir = fix.cache };
	int image, rc = mk_module_build(&tc, "text.c", NULL, ANSWER_SOURCE(1),
					&image);

	if (!rc)
		close(image);
	return rc;
}

static void building(void **state)
{
	(void)state;
	sweep(build_once); /* compiles, until it is in the cache */
	sweep(build_once); /* all out of the cache */
}

static int image = -1;

static int open_once(void)
{
	struct mk_cpu_modules modules;
	struct mk_module_desc d = { .id = 1, .fd = image };
	struct mk_handler_info h[4];
	unsigned count;
	int rc;

	mk_cpu_modules_init(&modules);
	rc = mk_cpu_module_open(&modules, &d, h, 4, &count);
	mk_cpu_modules_fini(&modules);
	return rc;
}

static void opening(void **state)
{
	(void)state;
	assert_int_equal(build_text(ANSWER_SOURCE(1), &image), 0);
	sweep(open_once);
	close(image);
}

static struct mk_ctx *ctx;

static int load_once(void)
{
	uint32_t id;
	int rc = mk_module_load_source(ctx, "text.c", ANSWER_SOURCE(1), 0,
				       &id);

	if (!rc)
		assert_int_equal(mk_module_unload(ctx, id, MK_FOREVER), 0);
	return rc;
}

static void loading(void **state)
{
	struct mk_ctx_params p = {
		.size = sizeof(p),
		.isolation = MK_ISOLATION_NONE,
		.workers = 1,
		.compiler = real_cc(),
		.cache_dir = fix.cache,
	};
	int before;

	(void)state;
	assert_int_equal(mk_ctx_create(&p, &ctx), 0);
	before = mk_handler_list(ctx, NULL, 0);
	assert_int_equal(load_once(), 0);
	sweep(load_once);
	assert_int_equal(mk_handler_list(ctx, NULL, 0), before);
	assert_int_equal(mk_ctx_destroy(ctx, MK_FOREVER), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fix_setup, fix_teardown)
	const struct CMUnitTest tests[] = {
		TEST(building),
		TEST(opening),
		TEST(loading),
	};

	return cmocka_run_group_tests_name("module/memory", tests, NULL, NULL);
}
