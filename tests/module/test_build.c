/* SPDX-License-Identifier: Apache-2.0 */
/* Compiling modules: what works, and every way in which it does not. */
#include "module/fixture.h"

#define HEADER "#include <megakernel/handler.h>\n"

static int build_path(const char *path)
{
	struct mk_toolchain tc = watched();
	int image, rc = mk_module_build(&tc, NULL, path, NULL, &image);

	if (!rc)
		close(image);
	return rc;
}

static int build_with(const char *compiler, uint64_t timeout_ns)
{
	struct mk_toolchain tc = watched();
	int image, rc;

	tc.compiler = compiler;
	tc.timeout_ns = timeout_ns;
	rc = mk_module_build(&tc, "text.c", NULL, ANSWER_SOURCE(1), &image);
	if (!rc)
		close(image);
	return rc;
}

static void builds(void **state)
{
	struct mk_handler_info h[3];
	int image;

	(void)state;
	assert_int_equal(build_text(HEADER
		"struct one { uint32_t a[12]; };\n"
		"MK_HANDLER(first, struct one)\n"
		"{ (void)task; return (int)args->a[0]; }\n"
		"MK_HANDLER_BLOCK(second, struct mk_none)\n"
		"{ (void)task, (void)args; return 0; }\n"
		"MK_HANDLER_THREAD(third, uint16_t)\n"
		"{ (void)task; return *args; }", &image), 0);
	assert_int_equal(list_image(image, h, 3), 3);
	for (unsigned i = 0; i < 3; i++) {
		if (!strcmp(h[i].name, "first"))
			assert_true(h[i].arg_bytes == 48 && h[i].width == 1);
		else if (!strcmp(h[i].name, "second"))
			assert_true(h[i].arg_bytes == 0 && h[i].width == 2);
		else
			assert_true(!strcmp(h[i].name, "third") &&
				    h[i].arg_bytes == 2 && h[i].width == 0);
	}
}

/* The image cannot be changed by anyone any more. */
static void seals(void **state)
{
	int image;

	(void)state;
	assert_int_equal(build_text(ANSWER_SOURCE(1), &image), 0);
	assert_int_equal(pwrite(image, "x", 1, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(image, 0), -1);
	assert_int_equal(fcntl(image, F_ADD_SEALS, F_SEAL_WRITE), -1);
	close(image);
}

static void names_file_and_line(void **state)
{
	int image;

	(void)state;
	assert_int_equal(build_text(HEADER "\n\nint x = ;\n", &image),
			 -MK_ECOMPILE);
	expect_words("text.c:4:");
	write_file(in_dir("deep.h"), "\n\n\nint y = ;\n", 0600);
	write_file(in_dir("bad.c"), HEADER "#include \"deep.h\"\n", 0600);
	assert_int_equal(build_path(in_dir("bad.c")), -MK_ECOMPILE);
	expect_words("/deep.h:4:");
	expect_words("/bad.c:2");
	write_file(in_dir("bad.c"), HEADER "#include \"none.h\"\n", 0600);
	assert_int_equal(build_path(in_dir("bad.c")), -MK_ECOMPILE);
	expect_words("/bad.c:2:");
	expect_words("none.h");
	/* of very many messages the first error is the one that is kept */
	assert_int_equal(build_text(HEADER "#warning one\n#warning two\n"
		"#warning a\n#warning b\n#warning c\n#warning d\n#warning e\n"
		"#warning f\n#warning g\n#warning h\n#warning i\n#warning j\n"
		"#warning k\n#warning l\n#warning m\n#warning n\n#warning o\n"
		"#error here\n", &image), -MK_ECOMPILE);
	expect_words("text.c:19:");
	expect_words("here");
}

static void refuses_sources(void **state)
{
	static const struct {
		const char *text, *words;
		int code;
	} cases[] = {
		{ "", "no handler", -MK_EMODULE },
		{ HEADER, "no handler", -MK_EMODULE },
		{ HEADER "int f(void) { return 1; }", "no handler",
		  -MK_EMODULE },
		{ HEADER "MK_HANDLER(f, struct mk_none) { return missing(); }",
		  "missing", -MK_ECOMPILE },
		{ HEADER "int gone(void);\n"
		  "MK_HANDLER(f, struct mk_none) { return gone(); }",
		  "gone", -MK_ECOMPILE },
		{ HEADER "struct big { char x[49]; };\n"
		  "MK_HANDLER(f, struct big) { return 0; }",
		  "arguments of f exceed 48 bytes", -MK_ECOMPILE },
		{ HEADER "MK_HANDLER(f, struct mk_none) { }",
		  "text.c:2:", -MK_ECOMPILE },
		{ HEADER "MK_HANDLER(f, uint64_t) { return 0; }\n"
		  "MK_HANDLER(f, uint64_t) { return 0; }",
		  "redefinition", -MK_ECOMPILE },
		{ HEADER "MK_HANDLER(\xc3\xb6l, uint64_t) { return 0; }",
		  "not a C identifier", -MK_EMODULE },
		{ HEADER "/* never ends", "text.c:2:", -MK_ECOMPILE },
		{ HEADER "#if 1\n", "text.c:2:", -MK_ECOMPILE },
	};
	int image;

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(build_text(cases[i].text, &image),
				 cases[i].code);
		expect_words(cases[i].words);
	}
	assert_int_equal(count_files(fix.cache, ".mkm"), 0);
}

static char *many_handlers(unsigned n)
{
	char *text = malloc(64 + n * 80);
	size_t at;

	assert_non_null(text);
	at = (size_t)sprintf(text, HEADER);
	for (unsigned i = 0; i < n; i++)
		at += (size_t)sprintf(text + at, "MK_HANDLER(h%u, uint64_t) "
				      "{ (void)task; return *args == %u; }\n",
				      i, i);
	return text;
}

static void counts_handlers(void **state)
{
	static struct mk_handler_info h[MK_MODULE_HANDLERS_MAX];
	char *text = many_handlers(MK_MODULE_HANDLERS_MAX + 1);
	int image;

	(void)state;
	assert_int_equal(build_text(text, &image), -MK_EMODULE);
	expect_words("201 handlers");
	free(text);
	text = many_handlers(MK_MODULE_HANDLERS_MAX);
	assert_int_equal(build_text(text, &image), 0);
	assert_int_equal(list_image(image, h, MK_MODULE_HANDLERS_MAX),
			 MK_MODULE_HANDLERS_MAX);
	free(text);
}

/* Paths are bytes: blanks, quotes and line ends in them are no trouble. */
static void odd_paths(void **state)
{
	static const char *const names[] = {
		"plain.c", "two words.c", "quo\"te.c", "back\\slash.c",
		"line\nend.c", "-o.c", "\xff\xfe.c", "no ending",
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(build_path(write_file(in_dir(names[i]),
						       ANSWER_SOURCE(1),
						       0600)), 0);
	write_file(in_dir("quo\"te.c"), "\nerror\n", 0600);
	assert_int_equal(build_path(in_dir("quo\"te.c")), -MK_ECOMPILE);
	expect_words("te.c:2:");
}

static void unreadable(void **state)
{
	(void)state;
	assert_int_equal(build_path(in_dir("absent.c")), -ENOENT);
	expect_words("absent.c");
	assert_int_equal(build_path(fix.dir), -EISDIR);
	assert_int_equal(mkfifo(in_dir("fifo.c"), 0600), 0);
	assert_int_equal(build_path(in_dir("fifo.c")), -EINVAL);
	assert_int_equal(build_path("/dev/null"), -EINVAL);
	if (geteuid()) {
		write_file(in_dir("closed.c"), ANSWER_SOURCE(1), 0);
		assert_int_equal(build_path(in_dir("closed.c")), -EACCES);
	}
}

/* "..." is looked up beside the source, not where the program stands. */
static void includes(void **state)
{
	char cwd[PATH_MAX];

	(void)state;
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_int_equal(mkdir(in_dir("source"), 0700), 0);
	assert_int_equal(mkdir(in_dir("elsewhere"), 0700), 0);
	write_file(in_dir("source/value.h"), "#define VALUE 7\n", 0600);
	write_file(in_dir("elsewhere/value.h"), "#error wrong one\n", 0600);
	write_file(in_dir("source/a.c"),
		   "#define _GNU_SOURCE\n#include \"value.h\"\n"
		   "#include <string.h>\n#include <math.h>\n"
		   "#ifndef __USE_GNU\n#error late\n#endif\n"
		   ANSWER_SOURCE(VALUE + (uint64_t)sqrt((double)args->add)),
		   0600);
	assert_int_equal(chdir(in_dir("elsewhere")), 0);
	assert_int_equal(build_path(in_dir("source/a.c")), 0);
	assert_int_equal(build_path("../source/a.c"), 0);
	assert_int_equal(chdir(in_dir("source")), 0);
	assert_int_equal(build_path("a.c"), 0);
	assert_int_equal(chdir(cwd), 0);
}

static void no_compiler(void **state)
{
	char *path = strdup(getenv("PATH"));

	(void)state;
	assert_int_equal(build_with("/nowhere/cc", 0), -MK_ENOCOMPILER);
	expect_words("compiler is \"/nowhere/cc\"");
	assert_int_equal(build_with("no-such-compiler", 0), -MK_ENOCOMPILER);
	assert_int_equal(build_with("", 0), -MK_ENOCOMPILER);
	assert_int_equal(build_with(fix.dir, 0), -MK_ENOCOMPILER);
	setenv("CC", "no-such-compiler -O3", 1);
	assert_int_equal(build_with(NULL, 0), -MK_ENOCOMPILER);
	expect_words("$CC");
	setenv("CC", " ", 1);
	assert_int_equal(build_with(NULL, 0), 0);
	unsetenv("CC");
	setenv("PATH", fix.temp, 1);
	assert_int_equal(build_with(NULL, 0), -MK_ENOCOMPILER);
	expect_words("no C compiler was found");
	setenv("PATH", path, 1);
	free(path);
	/* what is there and cannot be run */
	assert_int_equal(build_with(script("odd", "#!/nowhere/sh\n"), 0),
			 -MK_ENOCOMPILER);
	expect_words("cannot be run");
}

static void compiler_words(void **state)
{
	char cc[PATH_MAX + 32];

	(void)state;
	snprintf(cc, sizeof(cc), "%s  -DEXTRA=41 ", fix.cc);
	setenv("CC", cc, 1);
	assert_int_equal(build_with(NULL, 0), 0);
	unsetenv("CC");
	assert_int_equal(count_runs("-DEXTRA=41", true), 2);
	assert_int_equal(count_runs("-DEXTRA=41", false), 0);
}

static void no_headers(void **state)
{
	char *was = getenv("MEGAKERNEL_INCLUDE");

	(void)state;
	was = was ? strdup(was) : NULL;
	setenv("MEGAKERNEL_INCLUDE", fix.dir, 1);
	assert_int_equal(build_with(fix.cc, 0), -MK_ECOMPILE);
	expect_words("MEGAKERNEL_INCLUDE");
	expect_words(fix.dir);
	if (was)
		setenv("MEGAKERNEL_INCLUDE", was, 1);
	else
		unsetenv("MEGAKERNEL_INCLUDE");
	free(was);
}

/* True once the process is gone, or a zombie that is not ours to reap. */
static bool has_ended(long pid)
{
	char path[64], state = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return true;
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = 'X';
	fclose(f);
	return state == 'Z' || state == 'X';
}

static void hanging_compiler(void **state)
{
	char text[2 * PATH_MAX];
	long pid = 0;
	FILE *f;

	(void)state;
	snprintf(text, sizeof(text), "#!/bin/sh\nsleep 1000 &\n"
		 "echo $! >'%s'\nwait\n", in_dir("pid"));
	assert_int_equal(build_with(script("hang", text), 500000000u),
			 -MK_ECOMPILE);
	expect_words("did not end in 500 ms");
	/* what it had started went with it */
	f = fopen(in_dir("pid"), "re");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld", &pid), 1);
	fclose(f);
	for (unsigned i = 0; i < 1000 && !has_ended(pid); i++)
		usleep(10000);
	assert_true(has_ended(pid));
	/* one that never stops talking */
	assert_int_equal(build_with(script("talk", "#!/bin/sh\nexec yes\n"),
				    500000000u), -MK_ECOMPILE);
	expect_words("did not end");
}

static void odd_compilers(void **state)
{
	(void)state;
	assert_int_equal(build_with(script("a", "#!/bin/sh\nexit 3\n"), 0),
			 -MK_ECOMPILE);
	expect_words("status 3");
	assert_int_equal(build_with(script("b", "#!/bin/sh\nkill -9 $$\n"), 0),
			 -MK_ECOMPILE);
	expect_words("status 137");
	assert_int_equal(build_with(script("c", "#!/bin/sh\nexit 0\n"), 0),
			 -MK_ECOMPILE);
	assert_int_equal(build_with(script("d", "#!/bin/sh\necho says so >&2\n"
					   "exit 1\n"), 0), -MK_ECOMPILE);
	expect_words("says so");
	/* writes something that is no shared object */
	assert_int_equal(build_with(script("e", "#!/bin/sh\n"
		"while [ $# -gt 1 ]; do [ \"$1\" = -o ] && "
		"echo nonsense >\"$2\"; shift; done\n"), 0), -MK_EMODULE);
	/* leaves files of its own, even directories */
	assert_int_equal(build_with(script("f", "#!/bin/sh\n"
		"mkdir -p \"$TMPDIR/x/y\"; echo >\"$TMPDIR/x/y/z\"; exit 1\n"),
		0), -MK_ECOMPILE);
}

/* A program may ignore SIGCHLD; then no status comes back. */
static void ignored_sigchld(void **state)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN }, was;
	int image, good, bad;

	(void)state;
	assert_int_equal(sigaction(SIGCHLD, &ignore, &was), 0);
	good = build_text(ANSWER_SOURCE(1), &image);
	if (!good)
		close(image);
	bad = build_text("int x = ;\n", &image);
	assert_int_equal(sigaction(SIGCHLD, &was, NULL), 0);
	assert_int_equal(good, 0);
	assert_int_equal(bad, -MK_ECOMPILE);
	expect_words("text.c:1:");
}

/* The caller's signals and descriptors are none of the compiler's. */
static void clean_child(void **state)
{
	char text[2 * PATH_MAX];
	sigset_t all, was;
	int leak = open("/dev/null", O_RDONLY);
	struct stat st;

	(void)state;
	assert_true(leak >= 3);
	snprintf(text, sizeof(text), "#!/bin/sh\nls /proc/self/fd >'%s'\n"
		 "grep SigBlk /proc/self/status >'%s'\nexec %s \"$@\"\n",
		 in_dir("fds"), in_dir("mask"), real_cc());
	sigfillset(&all);
	assert_int_equal(sigprocmask(SIG_BLOCK, &all, &was), 0);
	assert_int_equal(build_with(script("look", text), 0), 0);
	assert_int_equal(sigprocmask(SIG_SETMASK, &was, NULL), 0);
	close(leak);
	/* 0, 1, 2 and the one that ls has opened to look */
	assert_int_equal(stat(in_dir("fds"), &st), 0);
	assert_int_equal(st.st_size, 8);
	snprintf(text, sizeof(text), "grep -q '0000000000000000' '%s'",
		 in_dir("mask"));
	assert_int_equal(system(text), 0);
}

static void success_is_silent(void **state)
{
	struct mk_error before;
	int image;

	(void)state;
	assert_int_equal(build_path(in_dir("absent.c")), -ENOENT);
	before = *mk_error_last();
	must_build(ANSWER_SOURCE(1));
	must_build(ANSWER_SOURCE(1));
	assert_int_equal(build_text(ANSWER_SOURCE(2), &image), 0);
	close(image);
	assert_memory_equal(&before, mk_error_last(), sizeof(before));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fix_setup, fix_teardown)
	const struct CMUnitTest tests[] = {
		TEST(builds),		TEST(seals),
		TEST(names_file_and_line), TEST(refuses_sources),
		TEST(counts_handlers),	TEST(odd_paths),
		TEST(unreadable),	TEST(includes),
		TEST(no_compiler),	TEST(compiler_words),
		TEST(no_headers),	TEST(hanging_compiler),
		TEST(odd_compilers),	TEST(ignored_sigchld),
		TEST(clean_child),	TEST(success_is_silent),
	};

	return cmocka_run_group_tests_name("module/build", tests, NULL, NULL);
}
