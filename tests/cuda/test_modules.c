/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modules of the engine cuda on a driver and a compiler that count: what is
 * compiled, what is found again, what a module file brings, and what is said
 * where something is missing.
 *
 * ctest-link: -Wl,--wrap=dlopen -Wl,--wrap=dlsym
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "support/support.h"

#include "cuda/fake_cuda.c"

#include "context/context.h"
#include "engine/cuda/bundle.h"
#include "engine/cuda/program.h"
#include "module/image.h"

#define SOURCE(name)                                   \
	"#include <megakernel/handler.h>\n"            \
	"MK_HANDLER(" name ", struct mk_none)\n"       \
	"{ (void)args; (void)task; return 0; }\n"

#define APART "MK_TEST_APART"

static char directory[] = "/tmp/mk-modules-XXXXXX";

static const char *in_dir(const char *name)
{
	static char path[4][256];
	static unsigned turn;
	char *p = path[turn++ % 4];

	snprintf(p, 256, "%s/%s", directory, name);
	return p;
}

static void put(const char *name, const char *text)
{
	FILE *f = fopen(in_dir(name), "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int create(struct mk_ctx **ctx)
{
	struct mk_ctx_params p = {
		.size = sizeof(p),
		.engine = "cuda",
		.isolation = MK_ISOLATION_NONE,
		.workers = 4,
		.buffers_max = 16,
		.scratch_bytes = 1024,
		.idle_ns = UINT64_MAX,
	};

	return mk_ctx_create(&p, ctx);
}

static struct mk_ctx *context(void)
{
	struct mk_ctx *ctx;
	int r = create(&ctx);

	if (r)
		fail_msg("%s", mk_error_last()->text);
	return ctx;
}

static uint32_t load(struct mk_ctx *ctx, const char *source, uint32_t flags)
{
	uint32_t id = 0;
	int r = mk_module_load_source(ctx, "some.c", source, flags, &id);

	if (r)
		fail_msg("%s", mk_error_last()->text);
	return id;
}

/* This is done in a program of its own, since compiler and driver are looked
 * for once; it must not fail there. */
static void apart(const char *what)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		setenv(APART, what, 1);
		execl("/proc/self/exe", "apart", (char *)NULL);
		_exit(2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* assert_... would go on with the next test, in the wrong process */
#define EXPECT(cond)                                                      \
	do {                                                              \
		if (!(cond)) {                                            \
			fprintf(stderr, "%s:%d: %s\n%s\n", __FILE__,      \
				__LINE__, #cond, mk_error_last()->text);  \
			_exit(1);                                         \
		}                                                         \
	} while (0)

static bool says(const char *words)
{
	return strstr(mk_error_last()->text, words) != NULL;
}

/* ---- compiled once ------------------------------------------------------- */

/* The order of modules, their numbers and twins make no new program. */
static void found_again(void **state)
{
	struct mk_ctx *ctx = context();
	unsigned compiles, launches;
	uint32_t a, b;

	(void)state;
	a = load(ctx, SOURCE("a"), 0);
	b = load(ctx, SOURCE("b"), 0);
	compiles = fake.compiles;
	launches = fake.launches;
	/* replaced by itself, and gone and back: it is all there */
	a = load(ctx, SOURCE("a"), MK_MODULE_REPLACE);
	assert_int_equal(mk_module_unload(ctx, a, SUPPORT_NS), 0);
	a = load(ctx, SOURCE("a"), 0);
	assert_int_equal(fake.compiles, compiles);
	assert_int_equal(fake.launches, launches);
	/* without b: a program that was made before, by another number */
	assert_int_equal(mk_module_unload(ctx, a, SUPPORT_NS), 0);
	assert_int_equal(mk_module_unload(ctx, b, SUPPORT_NS), 0);
	a = load(ctx, SOURCE("a"), 0);
	assert_int_equal(fake.compiles, compiles);
	assert_true(fake.launches > launches);
	support_ctx_end(ctx);

	ctx = context();
	load(ctx, SOURCE("b"), 0);
	load(ctx, SOURCE("a"), 0);
	/* b alone was new */
	assert_int_equal(fake.compiles, compiles + 1);
	support_ctx_end(ctx);
}

/*
 * What comes back after a loss comes in another order than it was loaded in,
 * and all at once: parts of it that were never together need no compiler, and
 * the kernel steps aside once.
 */
static void together(void **state)
{
	static const char *const names[] = { "t1", "t2", "t3" };
	struct mk_handler_info info[4];
	struct mk_module_desc d = { .table = NULL };
	struct mk_opcode_map map = { .opcode = 40 };
	struct mk_ctx *ctx = context();
	struct mk_loaded *m;
	unsigned compiles, launches, count;
	int fd[3];

	(void)state;
	load(ctx, SOURCE("t1"), 0);
	load(ctx, SOURCE("t2"), 0);
	load(ctx, SOURCE("t3"), 0);
	m = ctx->modules;
	for (unsigned i = 3; i-- > 0; m = m->next)
		fd[i] = dup(m->fd);
	support_ctx_end(ctx);

	compiles = fake.compiles;
	ctx = context();
	launches = fake.launches;
	for (unsigned i = 3; i-- > 0;) {
		d.id = i + 1;
		d.fd = fd[i];
		d.flags = i ? MK_OPEN_MORE : 0;
		assert_int_equal(mk_engine_cuda.module_open(
			ctx->engine, &d, info, 4, &count), 0);
		assert_int_equal(count, 1);
		assert_string_equal(info[0].name, names[i]);
		strcpy(map.name, names[i]);
		/* one that was put off has no code yet */
		if (i)
			assert_int_equal(mk_engine_cuda.module_bind(
				ctx->engine, i + 1, &map, 1),
				-MK_ENOHANDLER);
	}
	assert_int_equal(fake.compiles, compiles);
	assert_int_equal(fake.launches, launches + 1);
	for (unsigned i = 0; i < 3; i++) {
		strcpy(map.name, names[i]);
		assert_int_equal(mk_engine_cuda.module_bind(
			ctx->engine, i + 1, &map, 1), 0);
		close(fd[i]);
	}
	support_ctx_end(ctx);
}

/* Every file of the cache loses a byte in the middle: made again. */
static void damaged_cache(void **state)
{
	struct mk_ctx *ctx = context();
	unsigned compiles = fake.compiles;
	struct mk_error before;
	char command[512];

	(void)state;
	load(ctx, SOURCE("a"), 0);
	assert_int_equal(fake.compiles, compiles);
	support_ctx_end(ctx);
	snprintf(command, sizeof(command),
		 "for f in %s/megakernel/*.mkm; do printf X | dd of=$f bs=1 "
		 "seek=140 conv=notrunc 2>/dev/null || exit 1; done",
		 getenv("XDG_CACHE_HOME"));
	assert_int_equal(system(command), 0);
	before = *mk_error_last();
	ctx = context();
	load(ctx, SOURCE("a"), 0);
	assert_int_equal(fake.compiles, compiles + 2);
	/* and nobody has to hear of it */
	assert_memory_equal(&before, mk_error_last(), sizeof(before));
	support_ctx_end(ctx);
}

/* A cache that others could have written to is not used. */
static void foreign_cache(void **state)
{
	char path[512];
	struct mk_ctx *ctx;
	unsigned compiles = fake.compiles;
	struct stat st;

	(void)state;
	snprintf(path, sizeof(path), "%s/megakernel",
		 getenv("XDG_CACHE_HOME"));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 077, 0);
	assert_int_equal(chmod(path, 0777), 0);
	ctx = context();
	assert_int_equal(fake.compiles, compiles + 1);
	support_ctx_end(ctx);
	assert_int_equal(chmod(path, 0700), 0);
}

/* params.cache_dir counts for the engine too. */
static void chosen_cache(void **state)
{
	struct mk_ctx_params p = {
		.size = sizeof(p),
		.engine = "cuda",
		.isolation = MK_ISOLATION_NONE,
		.workers = 4,
		.cache_dir = in_dir("chosen"),
	};
	char longer[2000] = "/";
	struct mk_ctx *ctx;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(mk_ctx_create(&p, &ctx), 0);
		/* once into a new directory, then from there, then nowhere */
		assert_int_equal(fake.compiles, i < 2 ? 1 : 2);
		support_ctx_end(ctx);
		if (i == 1)
			p.cache_dir = "";
	}
	memset(longer + 1, 'x', sizeof(longer) - 2);
	p.cache_dir = longer;
	assert_int_equal(mk_ctx_create(&p, &ctx), -ENAMETOOLONG);
	support_error(-ENAMETOOLONG, "cache_dir", "1999", "1023", NULL);
}

/* Quick code is asked for, kept apart, and not taken for what was compiled in
 * full; which is good enough for whoever is in a hurry, too. */
static void quick(void **state)
{
	struct mk_ctx_params p = {
		.size = sizeof(p),
		.engine = "cuda",
		.isolation = MK_ISOLATION_NONE,
		.workers = 4,
		.cache_dir = in_dir("quick"),
	};
	static const struct {
		const char *asked;
		unsigned compiles, quick; /* by then */
	} steps[] = {
		{ "quick", 1, 1 }, { "quick", 1, 1 }, { NULL, 2, 1 },
		{ "full", 2, 1 },  { "quick", 2, 1 },
	};
	struct mk_ctx *ctx;

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		if (steps[i].asked)
			setenv("MEGAKERNEL_CUDA_COMPILE", steps[i].asked, 1);
		else
			unsetenv("MEGAKERNEL_CUDA_COMPILE");
		assert_int_equal(mk_ctx_create(&p, &ctx), 0);
		assert_int_equal(fake.compiles, steps[i].compiles);
		assert_int_equal(fake.quick, steps[i].quick);
		support_ctx_end(ctx);
	}
	p.cache_dir = in_dir("full");
	unsetenv("MEGAKERNEL_CUDA_COMPILE");
	assert_int_equal(mk_ctx_create(&p, &ctx), 0);
	support_ctx_end(ctx);
	setenv("MEGAKERNEL_CUDA_COMPILE", "quick", 1);
	assert_int_equal(mk_ctx_create(&p, &ctx), 0);
	support_ctx_end(ctx);
	assert_int_equal(fake.compiles, 3);
	setenv("MEGAKERNEL_CUDA_COMPILE", "fast", 1);
	assert_int_equal(mk_ctx_create(&p, &ctx), -EINVAL);
	support_error(-EINVAL, "MEGAKERNEL_CUDA_COMPILE", "\"fast\"", "quick",
		      NULL);
	unsetenv("MEGAKERNEL_CUDA_COMPILE");
}

/* Another driver, another architecture: other code. */
static void other_machine(void)
{
	struct mk_ctx *ctx;

	fake.version = 12040;
	ctx = context();
	EXPECT(fake.compiles == 1);
	mk_ctx_destroy(ctx, SUPPORT_NS);
}

static void other_device(void)
{
	struct mk_ctx *ctx;

	fake.major = 7;
	fake.minor = 5;
	ctx = context();
	EXPECT(fake.compiles == 1);
	mk_ctx_destroy(ctx, SUPPORT_NS);
}

static void keys(void **state)
{
	struct mk_ctx *ctx = context();

	(void)state;
	support_ctx_end(ctx);
	apart("other_machine");
	apart("other_device");
}

/* ---- module files -------------------------------------------------------- */

static void compile(const char *engine, const char *source, const char *out)
{
	struct mk_ctx_params p = { .size = sizeof(p), .engine = engine };
	int r = mk_module_compile(&p, in_dir(source), in_dir(out));

	if (r)
		fail_msg("%s", mk_error_last()->text);
}

/* What the file has needs no compiler; what it has not is said. */
static void without_compiler(void)
{
	struct mk_handler_info info;
	struct mk_ctx *ctx;
	uint32_t a;

	fake.no_nvrtc = true;
	ctx = context();
	EXPECT(!mk_module_load(ctx, in_dir("a.mkm"), 0, &a));
	EXPECT(!fake.compiles);
	EXPECT(!mk_handler_find(ctx, "prebuilt_a", &info));
	/* together they were never compiled */
	EXPECT(mk_module_load(ctx, in_dir("b.mkm"), 0, NULL) ==
	       -MK_ENOCOMPILER);
	EXPECT(says("these modules together") && says("sm_90") &&
	       says("libnvrtc"));
	/* the one that was there is not disturbed */
	EXPECT(!mk_handler_find(ctx, "prebuilt_a", &info));
	EXPECT(!mk_module_unload(ctx, a, SUPPORT_NS));
	EXPECT(!mk_module_load(ctx, in_dir("b.mkm"), 0, NULL));
	EXPECT(mk_module_load_source(ctx, "c.c", SOURCE("c"), 0, NULL) ==
	       -MK_ENOCOMPILER);
	EXPECT(mk_ctx_destroy(ctx, SUPPORT_NS) == 0);
	ctx = context();
	EXPECT(mk_module_load(ctx, in_dir("old.mkm"), 0, NULL) ==
	       -MK_ENOCOMPILER);
	EXPECT(says("the module file has code for sm_75") && says("sm_90") &&
	       says("this module") && says("driver 13.0"));
	EXPECT(mk_module_load(ctx, in_dir("cpu.mkm"), 0, NULL) ==
	       -MK_EMODULE);
	EXPECT(says("no image for engine cuda") && says("for cpu on"));
	EXPECT(mk_ctx_destroy(ctx, SUPPORT_NS) == 0);
}

/* With a compiler all of it loads: the text is in the file. */
static void with_compiler(void)
{
	struct mk_ctx *ctx = context();

	EXPECT(!fake.compiles);
	EXPECT(!mk_module_load(ctx, in_dir("a.mkm"), 0, NULL));
	EXPECT(!fake.compiles);
	EXPECT(!mk_module_load(ctx, in_dir("b.mkm"), 0, NULL));
	EXPECT(fake.compiles == 1);
	EXPECT(!mk_module_load(ctx, in_dir("old.mkm"), 0, NULL));
	EXPECT(fake.compiles == 2);
	EXPECT(mk_ctx_destroy(ctx, SUPPORT_NS) == 0);
}

static void prebuilt(void **state)
{
	struct mk_ctx *ctx = context();
	struct mk_ctx_params p = { .size = sizeof(p) };

	(void)state;
	support_ctx_end(ctx); /* the kernel alone is in the cache now */
	put("a.c", SOURCE("prebuilt_a"));
	put("b.c", SOURCE("prebuilt_b"));
	put("old.c", SOURCE("prebuilt_old"));
	compile("cpu,cuda:sm_75,cuda:sm_90", "a.c", "a.mkm");
	compile("cuda", "b.c", "b.mkm"); /* for the device that is here */
	compile("cuda:sm_75", "old.c", "old.mkm");
	compile(NULL, "old.c", "cpu.mkm");
	apart("without_compiler");
	apart("with_compiler");
	p.engine = "cpu";
	assert_int_equal(mk_ctx_create(&p, &ctx), 0);
	assert_int_equal(mk_module_load(ctx, in_dir("a.mkm"), 0, NULL), 0);
	assert_int_equal(mk_module_load(ctx, in_dir("b.mkm"), 0, NULL),
			 -MK_EMODULE);
	support_error(-MK_EMODULE, "no image for engine cpu", "for cuda on any",
		      NULL);
	support_ctx_end(ctx);
}

static void bad_targets(void **state)
{
	struct mk_ctx_params p = { .size = sizeof(p), .engine = "cuda:90" };

	(void)state;
	put("a.c", SOURCE("a"));
	assert_int_equal(mk_module_compile(&p, in_dir("a.c"), in_dir("x")),
			 -EINVAL);
	support_error(-EINVAL, "\"cuda:90\"", "cuda:sm_90", NULL);
	p.engine = "cuda:sm_20";
	assert_int_equal(mk_module_compile(&p, in_dir("a.c"), in_dir("x")),
			 -MK_EENGINE);
	support_error(-MK_EENGINE, "2.0", "7.5 to 9.0", NULL);
	p.engine = "cuda:sm_90,quantum";
	assert_int_equal(mk_module_compile(&p, in_dir("a.c"), in_dir("x")),
			 -MK_EENGINE);
	support_error(-MK_EENGINE, "quantum", NULL);
	p.engine = "cuda:sm_90,";
	assert_int_equal(mk_module_compile(&p, in_dir("a.c"), in_dir("x")), 0);
	p.engine = "cuda";
	p.device = 7;
	assert_int_equal(mk_module_compile(&p, in_dir("a.c"), in_dir("x")),
			 -MK_EENGINE);
	support_error(-MK_EENGINE, "device 7", "cuda:sm_90", NULL);
}

static void within(const struct mkc_bundle *b, size_t bytes)
{
	for (unsigned i = 0; i < b->count; i++)
		assert_true(b->entry[i].offset + b->entry[i].bytes <= bytes);
}

/* No bytes of a bundle are believed: cut anywhere, or with any word changed,
 * it is refused or means something that lies within it. */
static void hostile_bundle(void **state)
{
	static const struct mkc_arch arch = { 9, 0 };
	struct mkc_bundle *b;
	struct mk_image_view view;
	unsigned handlers;
	unsigned char *copy;
	size_t bytes;
	int image;

	(void)state;
	assert_int_equal(mkc_bundle_compile(SOURCE("a"), strlen(SOURCE("a")),
					    &arch, 1, &handlers, &image), 0);
	assert_int_equal(handlers, 1);
	assert_int_equal(mk_image_map(image, &view), 0);
	copy = malloc(view.bytes);
	memcpy(copy, view.base, view.bytes);
	bytes = view.bytes;
	mk_image_unmap(&view);
	close(image);
	assert_int_equal(mkc_bundle_read(copy, bytes, &b), 0);
	assert_int_equal(b->text_bytes, strlen(SOURCE("a")));
	mkc_bundle_free(b);
	for (size_t n = 8; n < bytes; n++) {
		assert_int_equal(mkc_bundle_read(copy, n, &b), -MK_EMODULE);
		support_error(-MK_EMODULE, "damaged", NULL);
	}
	for (size_t at = 8; at + 8 <= 32 + 40; at += 4)
		for (unsigned k = 0; k < 3; k++) {
			static const uint32_t with[] = { 0, 0x7fffffffu, ~0u };
			uint32_t kept;

			memcpy(&kept, copy + at, 4);
			memcpy(copy + at, &with[k], 4);
			if (!mkc_bundle_read(copy, bytes, &b)) {
				within(b, bytes);
				mkc_bundle_free(b);
			}
			memcpy(copy + at, &kept, 4);
		}
	free(copy);
}

/* ---- bad handlers ----------------------------------------------------- */

static void too_large(void **state)
{
	struct mk_ctx *ctx = context();

	(void)state;
	fake.compile_log = "ptxas error   : Entry function 'mkd_kernel' uses "
			   "too much shared data (0xed90 bytes, 0xc000 max)";
	assert_int_equal(mk_module_load_source(ctx, "large.c", SOURCE("large"),
					       0, NULL), -MK_ECOMPILE);
	support_error(-MK_ECOMPILE, "60816 bytes", "has 49152", "mk_scratch",
		      NULL);
	fake.compile_log = "large.c(2): warning #1: this\n"
			   "large.c(3): error: that\n";
	assert_int_equal(mk_module_load_source(ctx, "large.c", SOURCE("large"),
					       0, NULL), -MK_ECOMPILE);
	assert_memory_equal(mk_error_last()->text, "large.c(3): error: that",
			    23);
	assert_int_equal(mk_error_last()->native, 6);
	fake.compile_log = NULL;
	/* it compiles, but no block of our size fits any more */
	fake.blocks_each = 0;
	assert_int_equal(mk_module_load_source(ctx, "large.c", SOURCE("large"),
					       0, NULL), -EINVAL);
	support_error(-EINVAL, "42 registers a thread", "shared memory",
		      "4 workers", NULL);
	fake.blocks_each = 4;
	/* nothing of it stayed */
	load(ctx, SOURCE("large"), 0);
	support_ctx_end(ctx);
	assert_int_equal(fake.modules, 0);
}

static void broken_driver_calls(void **state)
{
	static const struct {
		const char *function, *words;
		int result, code;
	} cases[] = {
		{ "cuMemHostRegister_v2", "registering the shared memory", 801,
		  -MK_EENGINE },
		{ "cuMemHostRegister_v2", "shared_bytes", MKC_OUT_OF_MEMORY,
		  -ENOMEM },
		{ "cuMemAlloc_v2", "scratch_bytes", MKC_OUT_OF_MEMORY,
		  -ENOMEM },
		{ "cuMemHostAlloc", "pinned memory", MKC_OUT_OF_MEMORY,
		  -ENOMEM },
		{ "cuDevicePrimaryCtxRetain", "opening the device",
		  MKC_OUT_OF_MEMORY, -ENOMEM },
		{ "cuStreamCreate", "stream", MKC_OUT_OF_MEMORY, -ENOMEM },
		{ "cuModuleLoadDataEx", "loading the kernel",
		  MKC_OUT_OF_MEMORY, -ENOMEM },
		{ "cuModuleLoadDataEx", "loading the kernel",
		  MKC_NO_BINARY_FOR_GPU, -MK_EENGINE },
		{ "cuModuleLoadDataEx", "loading the kernel", 719,
		  -MK_EDEVLOST },
	};
	struct mk_ctx *ctx;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fake_reset();
		fake.fail_function = cases[i].function;
		fake.fail_with = cases[i].result;
		assert_int_equal(create(&ctx), cases[i].code);
		support_error(cases[i].code, cases[i].words,
			      "as the test wanted it", NULL);
		assert_int_equal(mk_error_last()->native, cases[i].result);
		assert_int_equal(fake.modules + fake.streams +
				 fake.device_memory + fake.host_memory +
				 fake.registered + fake.contexts, 0);
	}
}

/* All that takes memory of some kind, once each. */
static int take_all(struct mk_ctx **ctx)
{
	unsigned char data[64] = { 0 };
	mk_buffer_t b, h;
	struct mk_queue *q;
	int r = create(ctx);

	if (r) {
		*ctx = NULL;
		return r;
	}
	r = mk_queue_create(*ctx, NULL, &q);
	if (!r)
		r = mk_buffer_create(*ctx, 64u << 20, 0, &b);
	if (!r)
		r = mk_buffer_write(*ctx, b, 0, data, sizeof(data));
	if (!r)
		r = mk_buffer_create(*ctx, 4096, MK_BUFFER_HOST, &h);
	if (!r)
		r = mk_module_load_source(*ctx, "some.c", SOURCE("a"), 0, NULL);
	return r;
}

/* The device has no memory for the n-th call, whichever that is: it is said
 * with the driver's code, or it was not needed, and nothing stays behind. */
static void no_memory_sweep(void **state)
{
	struct mk_ctx *ctx;
	unsigned calls, said = 0;

	(void)state;
	assert_int_equal(take_all(&ctx), 0);
	support_ctx_end(ctx);
	calls = fake.calls;
	for (unsigned i = 1; i <= calls; i++) {
		struct mk_error why;
		int r;

		fake_reset();
		fake.fail_at = i;
		fake.fail_with = MKC_OUT_OF_MEMORY;
		r = take_all(&ctx);
		why = *mk_error_last();
		fake_fail(NULL, 0);
		mk_ctx_destroy(ctx, SUPPORT_NS);
		if (r && (why.code != r || !why.text[0] ||
			  (r != -ENOMEM && r != -MK_EENGINE &&
			   r != -MK_EDEVLOST)))
			fail_msg("%s: %d, and %d %s", fake.failed, r, why.code,
				 why.text);
		said += r && why.native == MKC_OUT_OF_MEMORY;
		if (fake.modules + fake.streams + fake.device_memory +
			    fake.host_memory + fake.registered + fake.contexts)
			fail_msg("%s left something behind", fake.failed);
	}
	assert_true(said > 20);
}

static void nothing_at_all(void)
{
	struct mk_ctx *ctx;

	fake.no_nvrtc = true;
	setenv("XDG_CACHE_HOME", in_dir("empty"), 1);
	EXPECT(create(&ctx) == -MK_ENOCOMPILER);
	EXPECT(says("libnvrtc") && says("cache") && says("compile made"));
}

/* A compiler that comes, behind one that is none. */
static void compiler_later(void)
{
	struct mk_ctx *ctx;

	fake.no_nvrtc = true;
	fake.bad_nvrtc = "libnvrtc.so.14";
	setenv("XDG_CACHE_HOME", in_dir("empty"), 1);
	EXPECT(create(&ctx) == -MK_ENOCOMPILER);
	EXPECT(says("libnvrtc.so.14 has no nvrtcVersion"));
	fake.no_nvrtc = false;
	ctx = context();
	EXPECT(fake.compiles == 1);
	EXPECT(!mk_module_load_source(ctx, "c.c", SOURCE("c"), 0, NULL));
	EXPECT(mk_ctx_destroy(ctx, SUPPORT_NS) == 0);
}

static void no_compiler(void **state)
{
	(void)state;
	apart("nothing_at_all");
	apart("compiler_later");
}

static int begin(void **state)
{
	(void)state;
	fake_reset();
	return 0;
}

static int run_apart(const char *what)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} all[] = {
		{ "other_machine", other_machine },
		{ "other_device", other_device },
		{ "without_compiler", without_compiler },
		{ "with_compiler", with_compiler },
		{ "nothing_at_all", nothing_at_all },
		{ "compiler_later", compiler_later },
	};

	snprintf(directory, sizeof(directory), "%s", getenv("XDG_CACHE_HOME"));
	fake_reset();
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (!strcmp(all[i].name, what)) {
			all[i].run();
			return 0;
		}
	return 2;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(found_again, begin),
		cmocka_unit_test_setup(together, begin),
		cmocka_unit_test_setup(damaged_cache, begin),
		cmocka_unit_test_setup(foreign_cache, begin),
		cmocka_unit_test_setup(chosen_cache, begin),
		cmocka_unit_test_setup(quick, begin),
		cmocka_unit_test_setup(keys, begin),
		cmocka_unit_test_setup(prebuilt, begin),
		cmocka_unit_test_setup(bad_targets, begin),
		cmocka_unit_test_setup(hostile_bundle, begin),
		cmocka_unit_test_setup(too_large, begin),
		cmocka_unit_test_setup(broken_driver_calls, begin),
		cmocka_unit_test_setup(no_memory_sweep, begin),
		cmocka_unit_test_setup(no_compiler, begin),
	};
	char command[64];
	int r;

	if (getenv(APART))
		return run_apart(getenv(APART));
	if (!mkdtemp(directory))
		return 1;
	setenv("XDG_CACHE_HOME", directory, 1);
	fake_reset();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command) || r;
}
