/* SPDX-License-Identifier: Apache-2.0 */
/* Which handlers a source has, by reading it. */
#include <string.h>

#include "support/support.h"

#include "engine/cuda/scan.h"

static void expect(const char *text, const char *names)
{
	struct mkc_name found[16];
	char all[1024] = "";
	int n = mkc_scan(text, found, 16);

	assert_in_range(n, 0, 16);
	for (int i = 0; i < n; i++) {
		strcat(all, found[i].name);
		strcat(all, " ");
	}
	assert_string_equal(all, names);
	/* counting asks for no room */
	assert_int_equal(mkc_scan(text, NULL, 0), n);
}

static void finds(void **state)
{
	(void)state;
	expect("", "");
	expect("MK_HANDLER(a, struct x) {}", "a ");
	expect("MK_HANDLER_THREAD(a,x)MK_HANDLER_BLOCK ( b , x )", "a b ");
	expect("MK_HANDLER\n(\n\ta\n, struct x)", "a ");
	expect("MK_HANDLER/* here */(/* and */a/**/, struct x)", "a ");
	expect("x = 'a'; MK_HANDLER(_9, struct x)", "_9 ");
}

static void passes_over(void **state)
{
	(void)state;
	expect("/* MK_HANDLER(a, b) */", "");
	expect("// MK_HANDLER(a, b)\nMK_HANDLER(c, d)", "c ");
	expect("/* \" */ MK_HANDLER(a, b) /* \" */", "a ");
	expect("\"MK_HANDLER(a, b)\"", "");
	expect("\"\\\"MK_HANDLER(a, b)\"", "");
	expect("'\"' MK_HANDLER(a, b) '\"'", "a ");
	expect("#define X MK_HANDLER(a, b)\nMK_HANDLER(c, d)", "c ");
	expect("  #  define X \\\n MK_HANDLER(a, b)\nMK_HANDLER(c, d)", "c ");
	expect("#define X /* \n MK_HANDLER(a, b) */\nMK_HANDLER(c, d)", "c ");
	expect("MY_MK_HANDLER(a, b) MK_HANDLERS(c, d) MK_HANDLER_(e, f, 1)",
	       "");
	expect("MK_HANDLER;", "");
	expect("/* not ended MK_HANDLER(a, b)", "");
	expect("\"not ended MK_HANDLER(a, b)", "");
}

static void refuses(void **state)
{
	char text[128] = "MK_HANDLER(";
	struct mkc_name found[4];

	(void)state;
	assert_int_equal(mkc_scan("MK_HANDLER(, x)", found, 4), -MK_EMODULE);
	assert_int_equal(mkc_scan("MK_HANDLER(9a, x)", found, 4),
			 -MK_EMODULE);
	assert_int_equal(mkc_scan("MK_HANDLER(a)", found, 4), -MK_EMODULE);
	assert_int_equal(mkc_scan("MK_HANDLER(a b, x)", found, 4),
			 -MK_EMODULE);
	memset(text + 11, 'n', 47);
	strcpy(text + 58, ", x)");
	assert_int_equal(mkc_scan(text, found, 4), 1);
	assert_int_equal(strlen(found[0].name), 47);
	memset(text + 11, 'n', 48);
	strcpy(text + 59, ", x)");
	assert_int_equal(mkc_scan(text, found, 4), -MK_EMODULE);
	support_error(-MK_EMODULE, "48 characters", NULL);
}

/* No more are written than there is room for, and all are counted. */
static void room(void **state)
{
	struct mkc_name found[2];

	(void)state;
	memset(found, 'x', sizeof(found));
	assert_int_equal(mkc_scan("MK_HANDLER(a, t) MK_HANDLER(b, t) "
				  "MK_HANDLER(c, t)", found, 1), 3);
	assert_string_equal(found[0].name, "a");
	assert_int_equal(found[1].name[0], 'x');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds),
		cmocka_unit_test(passes_over),
		cmocka_unit_test(refuses),
		cmocka_unit_test(room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
