/* SPDX-License-Identifier: Apache-2.0 */
#include "module/build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "module/cache.h"
#include "module/command.h"
#include "module/hash.h"
#include "module/image.h"
#include "module/inline.h"
#include "module/source.h"
#include "module/table.h"
#include "module/tempdir.h"

#define TIMEOUT_NS 60000000000u
#define ARGS_MAX 48u

/*
 * No -march: the cache may be shared between machines. No contraction, so
 * that the reference gives the same numbers whatever the machine has.
 */
static const char *const common[] = {
	"-std=gnu11", "-O3", "-DMK_LANES=1", "-fPIC", "-fvisibility=hidden",
	"-ffp-contract=off", "-Werror=implicit-function-declaration",
	"-Werror=int-conversion", "-Werror=incompatible-pointer-types",
	"-Werror=return-type",
};

static const char *const linking[] = {
	"-shared", "-s", "-Wl,-z,relro,-z,now,-z,defs,-z,noexecstack", "-lm",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct build {
	const struct mk_toolchain *tc;
	const char *engine;
	struct mk_tools tools;
	struct mk_source source;
	char where[PATH_MAX]; /* the directory of the source, for its "..." */
	struct mk_tempdir dir;
	char c[PATH_MAX], i[PATH_MAX], so[PATH_MAX]; /* files in dir */
	uint64_t key[2];
	bool cacheable;
	struct mk_handler_info handlers[MK_MODULE_HANDLERS_MAX];
	unsigned count;
	char said[16384];
};

struct arguments {
	char *at[ARGS_MAX];
	unsigned count;
};

static void add(struct arguments *a, const char *word)
{
	if (a->count < ARGS_MAX - 1)
		a->at[a->count++] = (char *)(uintptr_t)word;
}

/* The compiler and what both of its runs share. */
static void add_common(struct arguments *a, const struct build *b)
{
	memset(a, 0, sizeof(*a));
	for (unsigned n = 0; n < b->tools.words; n++)
		add(a, b->tools.word[n]);
	for (unsigned n = 0; n < COUNT(common); n++)
		add(a, common[n]);
}

/* ---- what went wrong -------------------------------------------------- */

/* Where the first error begins; all of it if that is short enough. */
static const char *first_error(const char *said)
{
	const char *error = strstr(said, " error: ");

	if (strlen(said) < sizeof(((struct mk_error *)0)->text) - 128 ||
	    !error)
		return said;
	while (error > said && error[-1] != '\n')
		error--;
	return error;
}

static int cannot_run(const struct build *b, int error)
{
	bool missing = error == ENOENT || error == EACCES || error == ENOEXEC;

	return mk_error_set(missing ? -MK_ENOCOMPILER : -error, error,
			    "mk_module_load", "the compiler %.300s cannot be "
			    "run: %s", b->tools.path, mk_strerror(error));
}

/* The linker makes this symbol if there is a section of handlers. */
static bool lacks_handlers(const char *said)
{
	return strstr(said, "__start_mk_handlers") &&
	       (strstr(said, "ndefined") || strstr(said, "isn't defined"));
}

static int explain(const struct build *b, int status)
{
	if (lacks_handlers(b->said))
		return mk_table_check(NULL, 0, b->source.name);
	if (status == -ETIME)
		return mk_error_set(-MK_ECOMPILE, 0, "mk_module_load",
				    "%.300s: the compiler %.300s did not end "
				    "in %llu ms and was killed",
				    b->source.name, b->tools.path,
				    (unsigned long long)
				    (b->tc->timeout_ns / 1000000));
	if (status < 0)
		return cannot_run(b, -status);
	if (!b->said[0])
		return mk_error_set(-MK_ECOMPILE, status, "mk_module_load",
				    "%.300s: the compiler %.300s ended with "
				    "status %d and said nothing",
				    b->source.name, b->tools.path, status);
	return mk_error_set(-MK_ECOMPILE, status, "mk_module_load",
			    "%.100s does not compile:\n%s", b->source.name,
			    first_error(b->said));
}

/* Run the compiler; what it should make must be there afterwards. */
static int run(struct build *b, const struct arguments *a, const char *made)
{
	struct mk_command c = {
		.argv = a->at,
		.tmpdir = b->dir.path,
		.timeout_ns = b->tc->timeout_ns,
		.text = b->said,
		.room = sizeof(b->said),
	};
	int status = mk_command_run(&c);

	return status || access(made, R_OK) ? explain(b, status) : 0;
}

/* ---- the steps -------------------------------------------------------- */

static int preprocess(struct build *b)
{
	struct arguments a;
	int rc = mk_source_write(&b->source, b->c);

	if (rc)
		return rc;
	add_common(&a, b);
	add(&a, "-I");
	add(&a, b->tools.include);
	if (b->where[0]) {
		add(&a, "-iquote");
		add(&a, b->where);
	}
	add(&a, "-E");
	add(&a, "-x");
	add(&a, "c");
	add(&a, b->c);
	add(&a, "-o");
	add(&a, b->i);
	return run(b, &a, b->i);
}

static void hash_word(XXH3_state_t *state, const char *word)
{
	XXH3_128bits_update(state, word, strlen(word) + 1);
}

/*
 * All of the text but empty lines and line markers: those name the source and
 * the temporary directory, and the result does not depend on them.
 */
static void hash_text(XXH3_state_t *state, const char *text, size_t bytes)
{
	const char *end = text + bytes, *line = text, *next;

	for (; line < end; line = next) {
		next = memchr(line, '\n', (size_t)(end - line));
		next = next ? next + 1 : end;
		if (line[0] == '\n' ||
		    (next - line > 2 && line[0] == '#' && line[1] == ' '))
			continue;
		XXH3_128bits_update(state, line, (size_t)(next - line));
	}
}

static int make_key(struct build *b)
{
	const uint32_t versions[] = { MK_ABI_VERSION, MK_FINGERPRINT,
				      (uint32_t)b->tools.words };
	struct mk_source text;
	XXH3_state_t state;
	XXH128_hash_t hash;
	int rc = mk_source_read(b->i, &text);

	if (rc)
		return rc;
	XXH3_128bits_reset(&state);
	XXH3_128bits_update(&state, versions, sizeof(versions));
	hash_word(&state, b->engine);
	hash_word(&state, mk_image_target());
	XXH3_128bits_update(&state, b->tools.identity,
			    sizeof(b->tools.identity));
	for (unsigned n = 0; n < b->tools.words; n++)
		hash_word(&state, b->tools.word[n]);
	for (unsigned n = 0; n < COUNT(common); n++)
		hash_word(&state, common[n]);
	for (unsigned n = 0; n < COUNT(linking); n++)
		hash_word(&state, linking[n]);
	hash_text(&state, text.text, text.bytes);
	hash = XXH3_128bits_digest(&state);
	b->key[0] = hash.low64;
	b->key[1] = hash.high64;
	/* the assembler would read a file that the text does not show */
	b->cacheable = !memmem(text.text, text.bytes, "incbin", 6);
	free(text.text);
	return 0;
}

static int compile(struct build *b)
{
	struct arguments a;

	add_common(&a, b);
	add(&a, "-x");
	add(&a, "cpp-output");
	add(&a, b->i);
	add(&a, "-o");
	add(&a, b->so);
	for (unsigned n = 0; n < COUNT(linking); n++)
		add(&a, linking[n]);
	return run(b, &a, b->so);
}

/* The compiler's output into a sealed image, looked at. */
static int take(struct build *b, int *image)
{
	struct mk_image_view view;
	struct stat st;
	int file = open(b->so, O_RDONLY | O_CLOEXEC), fd, rc;

	if (file < 0 || fstat(file, &st)) {
		rc = mk_error_set(-errno, errno, "mk_module_load",
				  "%.400s: %s", b->so, mk_strerror(errno));
		if (file >= 0)
			close(file);
		return rc;
	}
	rc = mk_image_copy(file, 0, (uint64_t)st.st_size, &fd);
	close(file);
	if (rc)
		return rc;
	rc = mk_image_map(fd, &view);
	if (!rc) {
		rc = mk_image_handlers(&view, b->source.name, b->handlers,
				       MK_MODULE_HANDLERS_MAX, &b->count);
		mk_image_unmap(&view);
	}
	if (rc) {
		close(fd);
		return rc;
	}
	*image = fd;
	return 0;
}

/* ---- together --------------------------------------------------------- */

static int make_through_cache(struct build *b, int *image)
{
	struct mk_error before = *mk_error_last();
	int cache = -1, rc;

	if (b->cacheable)
		cache = mk_cache_open(b->tc->cache_dir);
	if (cache >= 0 && !mk_cache_find(cache, b->key, b->engine, image)) {
		close(cache);
		mk_error_copy(&before); /* a damaged entry is no failure */
		return 0;
	}
	rc = compile(b);
	if (!rc)
		rc = take(b, image);
	if (!rc && cache >= 0)
		(void)mk_cache_store(cache, b->key, b->engine, b->count,
				     *image);
	if (cache >= 0)
		close(cache);
	if (!rc)
		mk_error_copy(&before);
	return rc;
}

static int make(struct build *b, int *image)
{
	int rc = mk_tempdir_make(&b->dir, b->tc->cache_dir);

	if (!rc)
		rc = mk_tempdir_file(&b->dir, "module.c", b->c);
	if (!rc)
		rc = mk_tempdir_file(&b->dir, "module.i", b->i);
	if (!rc)
		rc = mk_tempdir_file(&b->dir, "module.so", b->so);
	if (rc)
		rc = mk_error_set(rc, -rc, "mk_module_load", "no directory "
				  "for temporary files can be made: %s: set "
				  "TMPDIR", mk_strerror(rc));
	if (!rc)
		rc = preprocess(b);
	if (!rc)
		rc = make_key(b);
	if (!rc)
		rc = make_through_cache(b, image);
	mk_tempdir_remove(&b->dir);
	return rc;
}

/* Of a source in memory, "..." is looked up nowhere but in the headers. */
static int set_source(struct build *b, const char *name, const char *path,
		      const char *text)
{
	const char *slash;
	int rc;

	if (!path) {
		b->source.text = strdup(text);
		if (!b->source.text)
			return mk_error_set(-ENOMEM, ENOMEM, "mk_module_load",
					    "no memory for the source");
		b->source.bytes = strlen(text);
		b->source.name = name ? name : "<source>";
		return 0;
	}
	rc = mk_source_read(path, &b->source);
	if (rc)
		return rc;
	if (name)
		b->source.name = name;
	slash = strrchr(path, '/');
	if (!slash)
		memcpy(b->where, ".", sizeof("."));
	else if ((size_t)(slash - path) < sizeof(b->where))
		memcpy(b->where, path, slash == path ? 1 :
					(size_t)(slash - path));
	return 0;
}

/*
 * An engine that compiles for its own device takes the text itself, with the
 * user's headers in it, under the names and the lines that its messages shall
 * show.
 */
static int take_text(const struct build *b, int *image)
{
	size_t bytes;
	char *text;
	int rc = mk_source_inline(&b->source, b->where, &text, &bytes);

	if (rc)
		return rc;
	rc = mk_image_create(text, bytes, image);
	free(text);
	return rc;
}

int mk_module_build(const struct mk_toolchain *tc, const char *name,
		    const char *path, const char *text, int *image)
{
	struct mk_toolchain chosen = *tc;
	struct build *b = calloc(1, sizeof(*b));
	int rc;

	if (!b)
		return mk_error_set(-ENOMEM, ENOMEM, "mk_module_load",
				    "no memory to compile a module");
	if (!chosen.timeout_ns)
		chosen.timeout_ns = TIMEOUT_NS;
	b->tc = &chosen;
	b->engine = chosen.engine ? chosen.engine : "cpu";
	rc = set_source(b, name, path, text);
	if (!rc && strcmp(b->engine, "cuda") == 0) {
		rc = take_text(b, image);
	} else if (!rc) {
		rc = mk_tools_find(&chosen, &b->tools);
		if (!rc)
			rc = make(b, image);
	}
	free(b->source.text);
	free(b);
	return rc;
}
