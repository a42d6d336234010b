/* SPDX-License-Identifier: Apache-2.0 */
/* A source with its headers as one text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "support/support.h"

#include "module/inline.h"

static char dir[] = "/tmp/mk-inline-XXXXXX";

static void put(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int inlined(const char *text, char **out)
{
	struct mk_source s = { .name = "main.c",
			       .text = (char *)(uintptr_t)text,
			       .bytes = strlen(text) };
	size_t bytes = 0;
	int r = mk_source_inline(&s, dir, out, &bytes);

	if (!r)
		assert_int_equal(strlen(*out), bytes);
	return r;
}

/* text becomes expected; %s in it is the directory. */
static void becomes(const char *text, const char *expected)
{
	char want[2048], *out;

	snprintf(want, sizeof(want), expected, dir, dir, dir);
	assert_int_equal(inlined(text, &out), 0);
	assert_string_equal(out, want);
	free(out);
}

static void plain(void **state)
{
	(void)state;
	becomes("", "#line 1 \"main.c\"\n");
	becomes("a\nb", "#line 1 \"main.c\"\na\nb\n");
	/* what is not there, and what is not ours, stays */
	becomes("#include <a.h>\n#include \"no.h\"\n#include \"a.h\n",
		"#line 1 \"main.c\"\n#include <a.h>\n#include \"no.h\"\n"
		"#include \"a.h\n");
}

static void headers(void **state)
{
	(void)state;
	put("a.h", "in a\n");
	becomes("one\n # include \"a.h\" // why\nthree\n",
		"#line 1 \"main.c\"\none\n#line 1 \"%s/a.h\"\nin a\n"
		"#line 3 \"main.c\"\nthree\n");
	/* relative to who includes */
	put("sub/b.h", "#include \"c.h\"\nend of b");
	put("sub/c.h", "in c\n");
	becomes("#include \"sub/b.h\"\n",
		"#line 1 \"main.c\"\n#line 1 \"%s/sub/b.h\"\n"
		"#line 1 \"%s/sub/c.h\"\nin c\n#line 2 \"%s/sub/b.h\"\n"
		"end of b\n#line 2 \"main.c\"\n");
	put("once.h", "#pragma once\nx\n");
	becomes("#include \"once.h\"\n#include \"once.h\"\n",
		"#line 1 \"main.c\"\n#line 1 \"%s/once.h\"\n\nx\n"
		"#line 2 \"main.c\"\n#line 3 \"main.c\"\n");
}

static void comments(void **state)
{
	(void)state;
	put("a.h", "in a\n");
	becomes("/*\n#include \"a.h\"\n*/ \"/*\" // /*\n#include \"a.h\"\n",
		"#line 1 \"main.c\"\n/*\n#include \"a.h\"\n*/ \"/*\" // /*\n"
		"#line 1 \"%s/a.h\"\nin a\n#line 5 \"main.c\"\n");
	becomes("char c = '\"'; /* \\\" */\n#include \"a.h\"\n",
		"#line 1 \"main.c\"\nchar c = '\"'; /* \\\" */\n"
		"#line 1 \"%s/a.h\"\nin a\n#line 3 \"main.c\"\n");
}

static void without_end(void **state)
{
	char *out;

	(void)state;
	put("self.h", "#include \"self.h\"\n");
	assert_int_equal(inlined("#include \"self.h\"\n", &out), -MK_ECOMPILE);
	support_error(-MK_ECOMPILE, "self.h", "include itself", NULL);
}

/* Of a source in memory nothing is looked for. */
static void in_memory(void **state)
{
	struct mk_source s = { .name = "a \"b\"", .text = NULL };
	char text[] = "#include \"a.h\"\n", *out;
	size_t bytes;

	(void)state;
	s.text = text;
	s.bytes = strlen(text);
	assert_int_equal(mk_source_inline(&s, "", &out, &bytes), 0);
	/* nor can such a name stand in #line */
	assert_string_equal(out, text);
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain),	 cmocka_unit_test(headers),
		cmocka_unit_test(comments),	 cmocka_unit_test(without_end),
		cmocka_unit_test(in_memory),
	};
	char path[256];
	int r;

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/sub", dir);
	if (mkdir(path, 0700))
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(path, sizeof(path), "rm -rf %s", dir);
	return system(path) || r;
}
