/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program that the engine writes, and the real NVRTC, where there is one:
 * what nvcc takes, NVRTC need not.
 *
 * ctest-timeout: 600
 * ctest-once
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

#include "engine/cuda/program.h"

static const char user[] =
	"#line 1 \"user.c\"\n"
	"#include <megakernel/handler.h>\n"
	"#include <stdint.h>\n"
	"#include <stdbool.h>\n"
	"#include <stdalign.h>\n"
	"#include <string.h>\n"
	"#include <float.h>\n"
	"#include <assert.h>\n"
	"struct pair { _Alignas(8) struct mk_ref x; uint32_t n; };\n"
	"struct named { float a, b; _Bool c; };\n"
	"_Static_assert(_Alignof(struct pair) == 8, \"C11\");\n"
	"static uint32_t twice(uint32_t n) { return n * 2u; }\n"
	"static uint32_t at(const uint32_t *restrict p) { return *p; }\n"
	"MK_CONST uint32_t table[] = { 1, 2, 3 };\n"
	"MK_HANDLER_BLOCK(user_block, struct pair)\n"
	"{\n"
	"	uint32_t *x = mk_write(task, args->x, 4u * args->n);\n"
	"	const uint32_t *y = mk_read(task, args->x, 8);\n"
	"	struct named v = { .a = FLT_MAX, .c = true };\n"
	"	char *s = mk_scratch(task, 64);\n"
	"	if (!x || !y || s == NULL || !mk_read(task, args->x, 1))\n"
	"		return mk_fail(task);\n"
	"	memset(s, v.c, 8);\n"
	"	memmove(s + 1, s, strlen(s));\n"
	"	assert(at(y) || memcmp(s, x, 4));\n"
	"	for (uint32_t i = mk_lane(task); i < args->n;\n"
	"	     i += mk_lanes(task))\n"
	"		x[i] = twice(x[i]) + table[i % 3];\n"
	"	mk_sync(task);\n"
	"	return MK_OK;\n"
	"}\n"
	"MK_HANDLER_THREAD(user_none, struct mk_none)\n"
	"{ (void)args; mk_value(task, 7); return MK_OK; }\n";

static struct mkc_source *sources(const char *text)
{
	struct mkc_source *list, *s;

	assert_int_equal(mkc_source_builtins(&list), 0);
	assert_int_equal(mkc_source_create(3, text, strlen(text), &s), 0);
	s->next = list;
	return s;
}

/* How often a word is in the machine code. */
static unsigned count_in(const struct mkc_image *image, const char *word)
{
	const char *at = image->data, *end = at + image->bytes;
	unsigned n = 0;

	for (; (at = memmem(at, (size_t)(end - at), word, strlen(word))); at++)
		n++;
	return n;
}

/* Quick code is made function by function, each with a section; the other
 * has the kernel's alone. */
static void check_sections(const struct mkc_image *image, bool quick)
{
	unsigned functions = count_in(image, ".text._Z");

	if (quick && mkc_compiler_number() >= 13000)
		assert_true(functions > 20);
	else
		assert_int_equal(functions, 0);
}

static int compile(const char *text, int major, int minor, bool quick)
{
	struct mkc_source *list = sources(text), *s;
	struct mkc_image image = { NULL, 0 };
	struct mkc_program p;
	int r;

	assert_int_equal(mkc_program_write(list, MKC_BOUND_LEAST, &p), 0);
	assert_true(p.handlers > 10);
	r = mkc_compile(p.text, p.headers, p.header_count, major, minor, quick,
			&image);
	if (!r) {
		assert_memory_equal(image.data, "\177ELF", 4);
		check_sections(&image, quick);
	}
	free(image.data);
	mkc_program_free(&p);
	while ((s = list)) {
		list = s->next;
		mkc_source_free(s);
	}
	return r;
}

static void compiles(void **state)
{
	(void)state;
	for (int quick = 0; quick < 2; quick++)
		if (compile(user, 9, 0, quick))
			fail_msg("%s", mk_error_last()->text);
}

/* Its own words, under the name and line that the caller gave. */
static void says_what(void **state)
{
	(void)state;
	assert_int_equal(compile("#line 1 \"user.c\"\n"
				 "#include <megakernel/handler.h>\n"
				 "MK_HANDLER(user_bad, struct mk_none)\n"
				 "{ int warned; return nonsense; }\n", 9, 0,
				 true),
			 -MK_ECOMPILE);
	support_error(-MK_ECOMPILE, "user.c(3)", "nonsense", NULL);
	/* what is wrong comes first, whatever was warned of before */
	assert_memory_equal(mk_error_last()->text, "user.c(3): error", 16);
	assert_int_equal(compile(user, 3, 0, false), -MK_EENGINE);
	support_error(-MK_EENGINE, "the device has 3.0", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compiles),
		cmocka_unit_test(says_what),
	};

	if (!mkc_compiler_version()[0]) {
		puts("skipped: there is no NVRTC");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
