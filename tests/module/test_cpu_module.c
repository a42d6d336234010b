/* SPDX-License-Identifier: Apache-2.0 */
/* Modules of the CPU engine: loading, unloading, and tables that lie. */
#include "module/fixture.h"

#include <megakernel/handler.h>

#include "engine/cpu/module.h"

static struct mk_cpu_modules modules;
static struct mk_handler_info list[MK_MODULE_HANDLERS_MAX];

static int open_image(uint32_t id, int image, unsigned *count)
{
	struct mk_module_desc d = { .id = id, .fd = image };

	return mk_cpu_module_open(&modules, &d, list, MK_MODULE_HANDLERS_MAX,
				  count);
}

static int open_table(uint32_t id, const struct mk_module_table *table)
{
	struct mk_module_desc d = { .id = id, .fd = -1, .table = table };
	unsigned count;

	return mk_cpu_module_open(&modules, &d, list, MK_MODULE_HANDLERS_MAX,
				  &count);
}

/* What the module's handler answers to 1. */
static uint64_t answer(uint32_t id)
{
	const struct mk_handler_entry *e =
		mk_cpu_module_entry(&modules, id, "answer");
	struct mk_task task = { .value = 0 };
	uint64_t one = 1;

	assert_non_null(e);
	assert_int_equal(e->run(&task, &one), MK_OK);
	return task.value;
}

static void open_source(uint32_t id, const char *text)
{
	unsigned count = 0;
	int image, rc = build_text(text, &image);

	assert_int_equal(rc, 0);
	rc = open_image(id, image, &count);
	if (rc)
		fail_msg("%d: %s", rc, mk_error_last()->text);
	assert_int_equal(count, 1);
	assert_string_equal(list[0].name, "answer");
	assert_int_equal(list[0].module, id);
	close(image); /* the engine has its own */
}

static int setup(void **state)
{
	assert_int_equal(mk_cpu_modules_init(&modules), 0);
	return fix_setup(state);
}

static int teardown(void **state)
{
	mk_cpu_modules_fini(&modules);
	return fix_teardown(state);
}

static void runs(void **state)
{
	(void)state;
	open_source(1, ANSWER_SOURCE(40));
	open_source(2, ANSWER_SOURCE(50));
	assert_int_equal(answer(1), 41);
	assert_int_equal(answer(2), 51);
	assert_null(mk_cpu_module_entry(&modules, 1, "other"));
	assert_null(mk_cpu_module_entry(&modules, 3, "answer"));
	assert_int_equal(mk_cpu_module_close(&modules, 1), 0);
	assert_null(mk_cpu_module_entry(&modules, 1, "answer"));
	assert_int_equal(mk_cpu_module_close(&modules, 1), -ENOENT);
	assert_int_equal(answer(2), 51);
}

/* The number of a descriptor comes back; the old object must not. */
static void descriptors_come_back(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		char text[1024];

		snprintf(text, sizeof(text), "enum { N = %u };\n%s", i,
			 ANSWER_SOURCE(N));
		open_source(1, text);
		assert_int_equal(answer(1), i + 1);
		assert_int_equal(mk_cpu_module_close(&modules, 1), 0);
	}
}

/* An object that stays loaded keeps its descriptor, so that no later module
 * is taken for it. */
static void stays_loaded(void **state)
{
	char cc[PATH_MAX + 32];
	struct mk_toolchain tc = watched();
	unsigned count;
	int image;

	(void)state;
	snprintf(cc, sizeof(cc), "%s -Wl,-z,nodelete", fix.cc);
	setenv("CC", cc, 1);
	tc.compiler = NULL;
	assert_int_equal(mk_module_build(&tc, "a", NULL, ANSWER_SOURCE(1),
					 &image), 0);
	unsetenv("CC");
	assert_int_equal(open_image(1, image, &count), 0);
	close(image);
	assert_int_equal(answer(1), 2);
	assert_int_equal(mk_cpu_module_close(&modules, 1), 0);
	fix.fds++; /* this one stays */
	for (unsigned i = 0; i < 3; i++) {
		open_source(2, ANSWER_SOURCE(7));
		assert_int_equal(answer(2), 8);
		assert_int_equal(mk_cpu_module_close(&modules, 2), 0);
	}
}

static int32_t body(struct mk_task *task, const void *args)
{
	(void)task, (void)args;
	return MK_OK;
}

#define ENTRY(name) { name, 8, 1, body }

static int try_entries(const struct mk_handler_entry *e, uint64_t n)
{
	struct mk_module_table t = { MK_ABI_VERSION, MK_FINGERPRINT, e,
				     e + n };
	int rc = open_table(9, &t);

	if (!rc)
		assert_int_equal(mk_cpu_module_close(&modules, 9), 0);
	return rc;
}

static void tables(void **state)
{
	struct mk_handler_entry e[2] = { ENTRY("one"), ENTRY("_Two2") };
	struct mk_module_table t = { MK_ABI_VERSION, MK_FINGERPRINT, e,
				     e + 2 };

	(void)state;
	assert_int_equal(try_entries(e, 2), 0);
	assert_int_equal(try_entries(e, 0), -MK_EMODULE);
	expect_words("no handler");
	t.abi++;
	assert_int_equal(open_table(9, &t), -MK_EMODULE);
	expect_words("ABI version");
	t.abi--, t.fingerprint ^= 1;
	assert_int_equal(open_table(9, &t), -MK_EMODULE);
	expect_words("fingerprint");
	t.fingerprint ^= 1, t.first = e + 2, t.end = e;
	assert_int_equal(open_table(9, &t), -MK_EMODULE);
	e[1].arg_bytes = 48;
	assert_int_equal(try_entries(e, 2), 0);
	e[1].arg_bytes = 49;
	assert_int_equal(try_entries(e, 2), -MK_EMODULE);
	expect_words("_Two2 takes 49 bytes");
	e[1].arg_bytes = 65536 + 8; /* more than the list can say */
	assert_int_equal(try_entries(e, 2), -MK_EMODULE);
	e[1].arg_bytes = 8, e[1].width = 3;
	assert_int_equal(try_entries(e, 2), -MK_EMODULE);
	expect_words("width");
	e[1].width = 256 + 1;
	assert_int_equal(try_entries(e, 2), -MK_EMODULE);
	e[1].width = 1, e[1].run = NULL;
	assert_int_equal(try_entries(e, 2), -MK_EMODULE);
	expect_words("no function");
}

static void names(void **state)
{
	static const char *const bad[] = { "", "1st", "a-b", "a b", "\xc3\xb6",
					   "a\n", "%s" };
	struct mk_handler_entry e[2] = { ENTRY("one"), ENTRY("one") };

	(void)state;
	assert_int_equal(try_entries(e, 2), -MK_EMODULE);
	expect_words("two handlers named one");
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(e[1].name, 0, sizeof(e[1].name));
		strcpy(e[1].name, bad[i]);
		assert_int_equal(try_entries(e, 2), -MK_EMODULE);
		expect_words("name of handler 1");
	}
	memset(e[1].name, 'a', sizeof(e[1].name));
	assert_int_equal(try_entries(e, 2), -MK_EMODULE);
	e[1].name[MK_HANDLER_NAME_BYTES - 1] = '\0';
	assert_int_equal(try_entries(e, 2), 0);
}

static void too_many(void **state)
{
	static struct mk_handler_entry e[MK_MODULE_HANDLERS_MAX + 1];
	struct mk_module_table t = { MK_ABI_VERSION, MK_FINGERPRINT, e,
				     e + 5 };
	struct mk_module_desc d = { .id = 4, .fd = -1, .table = &t };
	unsigned count = 99;

	(void)state;
	for (unsigned i = 0; i <= MK_MODULE_HANDLERS_MAX; i++) {
		snprintf(e[i].name, sizeof(e[i].name), "h%u", i);
		e[i].run = body;
	}
	assert_int_equal(try_entries(e, MK_MODULE_HANDLERS_MAX), 0);
	assert_int_equal(try_entries(e, MK_MODULE_HANDLERS_MAX + 1),
			 -MK_EMODULE);
	/* fewer asked for than there are */
	assert_int_equal(mk_cpu_module_open(&modules, &d, list, 4, &count),
			 -ENOSPC);
	assert_int_equal(count, 99);
	assert_int_equal(mk_cpu_module_open(&modules, &d, list, 5, &count), 0);
	assert_int_equal(count, 5);
}

static void refuses_images(void **state)
{
	unsigned count;
	int image;

	(void)state;
	assert_int_equal(open_image(1, -1, &count), -MK_EMODULE);
	assert_int_equal(mk_image_create("\177ELF and so on", 14, &image), 0);
	assert_int_equal(open_image(1, image, &count), -MK_EMODULE);
	assert_int_equal(open_image(0, image, &count), -EINVAL);
	close(image);
	image = open(fix.log, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(open_image(1, image, &count), -MK_EMODULE);
	expect_words("sealed");
	close(image);
	open_source(1, ANSWER_SOURCE(1));
	assert_int_equal(build_text(ANSWER_SOURCE(1), &image), 0);
	assert_int_equal(open_image(1, image, &count), -EINVAL);
	expect_words("in use");
	close(image);
}

/* A shared object with handlers and no table: made by hand. */
static void no_table(void **state)
{
	char command[4 * PATH_MAX];
	const char *include = getenv("MEGAKERNEL_INCLUDE");
	int file, image;
	unsigned count;
	struct stat st;

	(void)state;
	write_file(in_dir("bare.c"), ANSWER_SOURCE(1), 0600);
	snprintf(command, sizeof(command), "%s -w -shared -fPIC -I'%s' "
		 "'%s' -o '%s'", real_cc(),
		 include ? include : MK_INCLUDE_BUILD_DIR, in_dir("bare.c"),
		 in_dir("bare.so"));
	assert_int_equal(system(command), 0);
	file = open(in_dir("bare.so"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(fstat(file, &st), 0);
	assert_int_equal(mk_image_copy(file, 0, (uint64_t)st.st_size, &image),
			 0);
	close(file);
	assert_int_equal(open_image(1, image, &count), -MK_EMODULE);
	expect_words("mk_module_table");
	close(image);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(runs),	      TEST(descriptors_come_back),
		TEST(stays_loaded),   TEST(tables),
		TEST(names),	      TEST(too_many),
		TEST(refuses_images), TEST(no_table),
	};

	return cmocka_run_group_tests_name("module/cpu_module", tests, NULL,
					   NULL);
}
