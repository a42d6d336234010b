/* SPDX-License-Identifier: Apache-2.0 */
/* Names in lines of text. What is wanted here was printed by sha256sum and wc
 * of GNU coreutils 9.1. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "quote.h"

struct names {
	const char *name, *sum, *shell;
};

static const struct names table[] = {
	{ "plain", "plain", "'plain'" },
	{ "a b", "a b", "'a b'" },
	{ "a\\b", "a\\\\b", "'a\\b'" },
	{ "a\nb", "a\\nb", "'a'$'\\n''b'" },
	{ "a\rb", "a\\rb", "'a'$'\\r''b'" },
	{ "n'\n\\l", "n'\\n\\\\l", "'n'\\'''$'\\n''\\l'" },
	{ "''\nb''", "''\\nb''", "''\\'''\\'''$'\\n''b'\\'''\\'''" },
	{ "\001a\n\0012", "\001a\\n\0012", "''$'\\001''a'$'\\n\\001''2'" },
	{ "\a\b\t\v\f\033\177\303\251", "\a\b\t\v\f\033\177\303\251",
	  "''$'\\a\\b\\t\\v\\f\\033\\177\\303\\251'" },
	{ "\n'", "\\n'", "''$'\\n'\\'''" },
	{ "", "", "''" },
};

#define NAMES (sizeof(table) / sizeof(table[0]))

static struct output o;

static const char *written(void)
{
	output_put(&o, "", 1);
	return o.buffer;
}

static void test_sum(void **state)
{
	(void)state;
	for (size_t i = 0; i < NAMES; i++) {
		output_init(&o, -1);
		quote_sum(&o, table[i].name);
		assert_string_equal(written(), table[i].sum);
		assert_int_equal(quote_sum_needed(table[i].name),
				 strcmp(table[i].name, table[i].sum) != 0);
	}
}

static void test_shell(void **state)
{
	(void)state;
	for (size_t i = 0; i < NAMES; i++) {
		output_init(&o, -1);
		quote_shell(&o, table[i].name);
		assert_string_equal(written(), table[i].shell);
	}
}

static void test_message(void **state)
{
	char text[64], small[8];

	(void)state;
	assert_string_equal(quote_message("a b\\", text, sizeof(text)),
			    "a b\\");
	assert_string_equal(quote_message("a\nb", text, sizeof(text)),
			    "'a'$'\\n''b'");
	assert_string_equal(quote_message("", text, sizeof(text)), "''");
	memset(small, 'x', sizeof(small));
	assert_string_equal(quote_message("0123456789", small, sizeof(small)),
			    "0123456");
	assert_string_equal(quote_message("\n\n\n\n", small, sizeof(small)),
			    "''$'\\n\\");
	assert_string_equal(quote_message("x", small, 1), "");
}

static void test_output_error(void **state)
{
	static char big[OUTPUT_BYTES + 1];

	(void)state;
	output_init(&o, -1);
	output_text(&o, "x");
	assert_int_equal(o.error, 0);
	output_put(&o, big, sizeof(big)); /* more than the buffer holds */
	assert_int_not_equal(o.error, 0);
	assert_int_equal(output_flush(&o), o.error);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sum),
		cmocka_unit_test(test_shell),
		cmocka_unit_test(test_message),
		cmocka_unit_test(test_output_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
