/* SPDX-License-Identifier: Apache-2.0 */
/* The file of a compiled module, and what is read out of an image. */
#include "module/fixture.h"

#include <elf.h>
#include <sys/mman.h>

#include "module/hash.h"

/* A file in memory with two images, as an ahead-of-time build makes them. */
struct made {
	struct mk_mkm_front front;
	uint64_t got, bytes;
};

static void sign(struct made *f)
{
	f->front.header.check = 0;
	f->front.header.check = XXH3_64bits(
		&f->front, sizeof(f->front.header) +
		f->front.header.images % 9 * sizeof(f->front.image[0]));
}

static struct made good(void)
{
	struct made f;

	memset(&f, 0, sizeof(f));
	memcpy(f.front.header.magic, "MKMODULE", 8);
	f.front.header.version = MK_MKM_VERSION;
	f.front.header.images = 2;
	f.front.header.abi = MK_ABI_VERSION;
	f.front.header.fingerprint = MK_FINGERPRINT;
	strcpy(f.front.image[0].engine, "cuda");
	strcpy(f.front.image[0].target, "sm_90");
	f.front.image[0].offset = 192;
	f.front.image[0].bytes = 100;
	strcpy(f.front.image[1].engine, "cpu");
	strcpy(f.front.image[1].target, mk_image_target());
	f.front.image[1].offset = 296;
	f.front.image[1].bytes = 50;
	f.bytes = f.front.header.file_bytes = 346;
	f.got = f.bytes;
	sign(&f);
	return f;
}

static int check(struct made *f, const char *engine)
{
	const struct mk_mkm_image *image = NULL;
	int rc = mk_mkm_check(&f->front, f->got, f->bytes, engine, "file",
			      &image);

	if (!rc)
		assert_string_equal(image->engine, engine);
	return rc;
}

static void expect_bad(struct made *f, const char *words)
{
	sign(f);
	assert_int_equal(check(f, "cpu"), -MK_EMODULE);
	expect_words(words);
}

static void headers(void **state)
{
	struct made f = good();

	(void)state;
	assert_int_equal(check(&f, "cpu"), 0);
	assert_int_equal(check(&f, "mock"), -MK_EMODULE);
	expect_words("no image for engine mock");
	assert_int_equal(check(&f, "cuda"), -MK_EMODULE); /* sm_90 */
	f = good(), f.got = 63;
	expect_bad(&f, "shorter than its header");
	f = good(), f.got = 191;
	expect_bad(&f, "cut short");
	f = good(), f.front.header.magic[7] = 'F';
	expect_bad(&f, "no compiled module");
	f = good(), f.front.header.images = 0;
	expect_bad(&f, "cut short or damaged");
	f = good(), f.front.header.images = 9;
	expect_bad(&f, "cut short or damaged");
	f = good(), f.front.header.version = 2;
	expect_bad(&f, "version 2");
	f = good(), f.front.header.abi++;
	expect_bad(&f, "ABI version");
	f = good(), f.front.header.fingerprint ^= 1;
	expect_bad(&f, "fingerprint");
	f = good(), f.front.header.reserved = 1;
	expect_bad(&f, "");
	f = good(), f.front.header.file_bytes++;
	expect_bad(&f, "cut short or has grown");
	f = good(), f.front.header.check ^= 1;
	assert_int_equal(check(&f, "cpu"), -MK_EMODULE);
	expect_words("header is damaged");
}

static void ranges(void **state)
{
	struct made f;

	(void)state;
	f = good(), f.front.image[0].offset = 184;
	expect_bad(&f, "outside the file");
	f = good(), f.front.image[0].offset = 193;
	expect_bad(&f, "outside the file");
	f = good(), f.front.image[1].offset = UINT64_MAX - 7;
	expect_bad(&f, "outside the file");
	f = good(), f.front.image[1].bytes = 51;
	expect_bad(&f, "outside the file");
	f = good(), f.front.image[1].bytes = UINT64_MAX;
	expect_bad(&f, "outside the file");
	f = good(), f.front.image[1].bytes = 0;
	expect_bad(&f, "outside the file");
	f = good(), memset(f.front.image[0].engine, 'x', 16);
	expect_bad(&f, "does not end");
	f = good(), memset(f.front.image[1].target, 'x', 16);
	expect_bad(&f, "does not end");
}

/* ---- files ------------------------------------------------------------ */

static int open_for(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fd;
}

static void round_trip(void **state)
{
	const char *path = in_dir("a.mkm");
	struct mk_mkm_part part = { "cpu", NULL, -1 };
	int image, file, again;
	struct mk_image_view a, b;

	(void)state;
	assert_int_equal(build_text(ANSWER_SOURCE(1), &image), 0);
	part.image = image;
	file = open_for(path, O_RDWR | O_CREAT);
	assert_false(mk_mkm_is(file));
	assert_int_equal(mk_mkm_write(file, NULL, 1, &part, 1), 0);
	assert_true(mk_mkm_is(file));
	assert_int_equal(mk_mkm_read(file, "cpu", NULL, path, &again), 0);
	assert_int_equal(mk_image_map(image, &a), 0);
	assert_int_equal(mk_image_map(again, &b), 0);
	assert_int_equal(a.bytes, b.bytes);
	assert_memory_equal(a.base, b.base, a.bytes);
	mk_image_unmap(&a);
	mk_image_unmap(&b);
	close(image);
	close(again);
	close(file);
}

static struct mk_ctx_params params(void)
{
	struct mk_ctx_params p = { .size = sizeof(p),
				   .compiler = fix.cc,
				   .cache_dir = fix.cache };

	return p;
}

static void compiles(void **state)
{
	struct mk_ctx_params p = params();
	const char *out = in_dir("a.mkm");
	int file, image;
	struct mk_handler_info h[2];

	(void)state;
	write_file(in_dir("a.c"), ANSWER_SOURCE(1), 0600);
	assert_int_equal(mk_module_compile(&p, in_dir("a.c"), out), 0);
	file = open_for(out, O_RDONLY);
	assert_int_equal(mk_mkm_read(file, "cpu", NULL, out, &image), 0);
	assert_int_equal(list_image(image, h, 2), 1);
	assert_string_equal(h[0].name, "answer");
	close(file);
	/* over the old one, which is whole until the new one is */
	assert_int_equal(mk_module_compile(&p, in_dir("a.c"), out), 0);
	assert_int_equal(count_files(fix.dir, ".tmp"), 0);
}

static void compile_refuses(void **state)
{
	struct {
		struct mk_ctx_params p;
		uint64_t tail;
	} longer = { .p = params(), .tail = 1 };
	struct mk_ctx_params p = params();

	(void)state;
	write_file(in_dir("a.c"), ANSWER_SOURCE(1), 0600);
	write_file(in_dir("bad.c"), "int x = ;\n", 0600);
	assert_int_equal(mk_module_compile(&p, NULL, "x"), -EINVAL);
	assert_int_equal(mk_module_compile(&p, "x", NULL), -EINVAL);
	assert_int_equal(mk_module_compile(&p, in_dir("none.c"),
					   in_dir("o.mkm")), -ENOENT);
	assert_int_equal(mk_module_compile(&p, in_dir("bad.c"),
					   in_dir("o.mkm")), -MK_ECOMPILE);
	expect_words("bad.c:1:");
	assert_int_equal(mk_module_compile(&p, in_dir("a.c"),
					   in_dir("no/such/o.mkm")), -ENOENT);
	expect_words("no/such/o.mkm");
	assert_int_equal(mkdir(in_dir("o.mkm"), 0700), 0);
	assert_int_equal(mk_module_compile(&p, in_dir("a.c"),
					   in_dir("o.mkm")), -EISDIR);
	assert_int_equal(count_files(fix.dir, ".tmp"), 0);
	p.engine = "abacus";
	assert_int_equal(mk_module_compile(&p, in_dir("a.c"),
					   in_dir("o.mkm")), -MK_EENGINE);
	expect_words("abacus");
	longer.p.size = sizeof(longer);
	assert_int_equal(mk_module_compile(&longer.p, in_dir("a.c"),
					   in_dir("b.mkm")), -E2BIG);
}

/* ---- images ----------------------------------------------------------- */

static int list_bytes(const unsigned char *bytes, uint64_t n, unsigned max)
{
	struct mk_image_view view = { bytes, n };
	static struct mk_handler_info h[MK_MODULE_HANDLERS_MAX];
	unsigned count;

	return mk_image_handlers(&view, "image", h, max, &count);
}

static unsigned char *copy_image(const char *text, uint64_t *bytes)
{
	struct mk_image_view view;
	unsigned char *copy;
	int image;

	assert_int_equal(build_text(text, &image), 0);
	assert_int_equal(mk_image_map(image, &view), 0);
	copy = malloc(view.bytes);
	assert_non_null(copy);
	memcpy(copy, view.base, view.bytes);
	*bytes = view.bytes;
	mk_image_unmap(&view);
	close(image);
	return copy;
}

static void images(void **state)
{
	uint64_t n;
	unsigned char *good_image = copy_image(ANSWER_SOURCE(1), &n);
	unsigned char *bytes = malloc(n);
	Elf64_Ehdr *h = (void *)bytes;

	(void)state;
	assert_non_null(bytes);
#define FRESH memcpy(bytes, good_image, n)
	FRESH;
	assert_int_equal(list_bytes(bytes, n, 1), 0);
	assert_int_equal(list_bytes(bytes, n, 0), -ENOSPC);
	h->e_machine = h->e_machine == EM_X86_64 ? EM_AARCH64 : EM_X86_64;
	assert_int_equal(list_bytes(bytes, n, 1), -MK_EMODULE);
	expect_words("not for this machine");
	FRESH, h->e_ident[EI_CLASS] = ELFCLASS32;
	assert_int_equal(list_bytes(bytes, n, 1), -MK_EMODULE);
	FRESH, h->e_type = ET_EXEC;
	assert_int_equal(list_bytes(bytes, n, 1), -MK_EMODULE);
	expect_words("not a shared object");
	FRESH, h->e_shoff = UINT64_MAX & ~(uint64_t)7;
	assert_int_equal(list_bytes(bytes, n, 1), -MK_EMODULE);
	FRESH, h->e_shoff += 8;
	assert_int_equal(list_bytes(bytes, n, 1), -MK_EMODULE);
	FRESH, h->e_shnum = 0;
	assert_int_equal(list_bytes(bytes, n, 1), -MK_EMODULE);
	FRESH, h->e_shstrndx = h->e_shnum;
	assert_int_equal(list_bytes(bytes, n, 1), -MK_EMODULE);
	FRESH;
	/* cut anywhere, it is refused and nothing beyond is read: the copy
	 * has its exact size, so that a sanitizer sees */
	for (uint64_t cut = 0; cut < n; cut += cut < 128 ? 1 : 509) {
		unsigned char *part = malloc(cut ? cut : 1);

		assert_non_null(part);
		memcpy(part, bytes, cut);
		assert_int_equal(list_bytes(part, cut, 1), -MK_EMODULE);
		free(part);
	}
	free(bytes);
	free(good_image);
}

static void loose_images(void **state)
{
	struct mk_image_view view;
	int fd = memfd_create("loose", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(mk_image_map(fd, &view), -MK_EMODULE);
	expect_words("not a sealed memfd");
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW),
			 0);
	assert_int_equal(mk_image_map(fd, &view), -MK_EMODULE);
	close(fd);
	fd = open_for("/dev/null", O_RDONLY);
	assert_int_equal(mk_image_map(fd, &view), -MK_EMODULE);
	close(fd);
	assert_int_equal(mk_image_create("", 0, &fd), 0);
	assert_int_equal(mk_image_map(fd, &view), -MK_EMODULE);
	expect_words("0 bytes");
	close(fd);
	fd = open_for(write_file(in_dir("short"), "12345", 0600), O_RDONLY);
	assert_int_equal(mk_image_copy(fd, 0, 6, &(int){ 0 }), -ENODATA);
	close(fd);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fix_setup, fix_teardown)
	const struct CMUnitTest tests[] = {
		TEST(headers),	       TEST(ranges),
		TEST(round_trip),      TEST(compiles),
		TEST(compile_refuses), TEST(images),
		TEST(loose_images),
	};

	return cmocka_run_group_tests_name("module/mkm", tests, NULL, NULL);
}
