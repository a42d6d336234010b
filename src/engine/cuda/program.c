/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/cuda/program.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "engine/cuda/bundle.h"
#include "engine/cuda/resident.h"
#include "engine/cuda/texts.h"
#include "module/hash.h"

static int no_memory(void)
{
	return mk_error_set(-ENOMEM, ENOMEM, "cuda engine",
			    "no memory for a module's source");
}

/* ---- sources ----------------------------------------------------------- */

void mkc_source_free(struct mkc_source *s)
{
	if (!s)
		return;
	mkc_bundle_free(s->bundle);
	free(s->text);
	free(s->names);
	free(s->info);
	free(s);
}

void mkc_sources_free(struct mkc_source *list)
{
	struct mkc_source *s;

	while ((s = list)) {
		list = s->next;
		mkc_source_free(s);
	}
}

static int source_names(struct mkc_source *s)
{
	int n = mkc_scan(s->text, NULL, 0);

	if (n < 0)
		return n;
	if (!n)
		return mk_error_set(-MK_EMODULE, 0, "mk_module_load",
				    "the source has no MK_HANDLER()");
	if ((unsigned)n > MKC_SOURCE_HANDLERS_MAX)
		return mk_error_set(-MK_EMODULE, 0, "mk_module_load",
				    "the source has %d handlers, at most %u "
				    "will do", n, MKC_SOURCE_HANDLERS_MAX);
	s->names = calloc((unsigned)n, sizeof(*s->names));
	s->info = calloc((unsigned)n, sizeof(*s->info));
	if (!s->names || !s->info)
		return no_memory();
	mkc_scan(s->text, s->names, (unsigned)n);
	s->count = (unsigned)n;
	return 0;
}

/* The text, out of a bundle if it is one. */
static int source_text(struct mkc_source *s, const char *text, size_t bytes)
{
	XXH128_hash_t hash;

	if (mkc_bundle_is(text, bytes)) {
		int r = mkc_bundle_read(text, bytes, &s->bundle);

		if (r)
			return r;
		text = s->bundle->text;
		bytes = s->bundle->text_bytes;
	}
	if (memchr(text, '\0', bytes))
		return mk_error_set(-MK_EMODULE, 0, "mk_module_load",
				    "the module has neither source text nor "
				    "code for the cuda engine: compile it "
				    "with engine cuda");
	hash = XXH3_128bits(text, bytes);
	s->hash[0] = hash.low64;
	s->hash[1] = hash.high64;
	snprintf(s->file, sizeof(s->file), "module-%016" PRIx64 "%016" PRIx64,
		 s->hash[1], s->hash[0]);
	s->text = strndup(text, bytes);
	return s->text ? 0 : no_memory();
}

int mkc_source_create(uint32_t id, const char *text, size_t bytes,
		      struct mkc_source **out)
{
	struct mkc_source *s;
	int r;

	s = calloc(1, sizeof(*s));
	if (!s)
		return no_memory();
	s->id = id;
	r = source_text(s, text, bytes);
	if (!r)
		r = source_names(s);
	if (r) {
		mkc_source_free(s);
		return r;
	}
	*out = s;
	return 0;
}

int mkc_source_builtins(struct mkc_source **out)
{
	struct mkc_source *list = NULL, **end = &list, *s;

	for (unsigned i = 0; i < mkc_text_count; i++) {
		const struct mkc_text *t = &mkc_texts[i];
		int r;

		if (strncmp(t->name, "handlers/", 9) != 0)
			continue;
		r = mkc_source_create(0, t->text, strlen(t->text), &s);
		if (r) {
			mkc_sources_free(list);
			return r;
		}
		snprintf(s->file, sizeof(s->file), "%.31s", t->name);
		*end = s;
		end = &s->next;
	}
	*out = list;
	return 0;
}

/* ---- the program ------------------------------------------------------- */

/* Headers of the C library that handlers may include: what a handler can use
 * of them is there anyway. */
static const char stub[] =
	"#pragma once\n"
	"#define INT8_MAX 127\n#define INT16_MAX 32767\n"
	"#define INT32_MAX 2147483647\n"
	"#define INT64_MAX 9223372036854775807LL\n"
	"#define UINT8_MAX 255\n#define UINT16_MAX 65535\n"
	"#define UINT32_MAX 4294967295U\n"
	"#define UINT64_MAX 18446744073709551615ULL\n"
	"#define INT32_MIN (-INT32_MAX - 1)\n"
	"#define INT64_MIN (-INT64_MAX - 1)\n"
	"#define INT_MAX INT32_MAX\n#define UINT_MAX UINT32_MAX\n"
	"#define CHAR_BIT 8\n"
	"#define UINT64_C(n) n##ULL\n#define INT64_C(n) n##LL\n"
	"#define UINT32_C(n) n##U\n#define INT32_C(n) n\n";

static const char *const stubs[] = {
	"stdint.h", "limits.h", "stddef.h", "stdbool.h", "string.h", "math.h",
	"stdalign.h", "assert.h", "float.h", "stdnoreturn.h",
};

#define STUBS (sizeof(stubs) / sizeof(stubs[0]))

/* The sources of a program, each text once, in the order of the program. */
struct set {
	struct mkc_source **at;
	unsigned count;
};

/* Modules by their hashes, then the built-in ones as they stand. */
static int by_content(const void *a, const void *b)
{
	const struct mkc_source *p = *(struct mkc_source *const *)a;
	const struct mkc_source *q = *(struct mkc_source *const *)b;

	for (int i = 1; i >= 0; i--)
		if (p->hash[i] != q->hash[i])
			return p->hash[i] < q->hash[i] ? -1 : 1;
	return 0;
}

static bool same_text(const struct mkc_source *a, const struct mkc_source *b)
{
	return !by_content(&a, &b);
}

static int set_make(struct mkc_source *sources, struct set *out)
{
	unsigned all = 0, modules = 0;

	for (struct mkc_source *s = sources; s; s = s->next)
		all++;
	memset(out, 0, sizeof(*out));
	out->at = calloc(all + 1, sizeof(struct mkc_source *));
	if (!out->at)
		return no_memory();
	for (struct mkc_source *s = sources; s; s = s->next)
		if (s->id)
			out->at[modules++] = s;
	if (modules)
		qsort(out->at, modules, sizeof(*out->at), by_content);
	for (unsigned i = 0; i < modules; i++)
		if (!out->count ||
		    !same_text(out->at[out->count - 1], out->at[i]))
			out->at[out->count++] = out->at[i];
	for (struct mkc_source *s = sources; s; s = s->next)
		if (!s->id)
			out->at[out->count++] = s;
	return 0;
}

/* Handlers count on through the set; twins have the same. Returns how many. */
static unsigned set_number(const struct set *set, struct mkc_source *sources)
{
	unsigned handlers = 0;

	for (unsigned i = 0; i < set->count; i++) {
		set->at[i]->number = handlers;
		handlers += set->at[i]->count;
	}
	for (struct mkc_source *s = sources; s; s = s->next)
		for (unsigned i = 0; s->id && i < set->count; i++)
			if (set->at[i]->id && same_text(set->at[i], s))
				s->number = set->at[i]->number;
	return handlers;
}

static void write_sources(FILE *f, const struct set *set)
{
	for (unsigned i = 0; i < set->count; i++)
		fprintf(f, "namespace mk_space_%u {\n#include \"%s\"\n}\n", i,
			set->at[i]->file);
}

static void write_dispatch(FILE *f, const struct set *set)
{
	fprintf(f, "MKD_SLOW int32_t mkd_dispatch(uint32_t handler,\n"
		   "\tstruct mk_task *task, const void *args)\n"
		   "{\n\tswitch (handler) {\n");
	for (unsigned i = 0; i < set->count; i++)
		for (unsigned n = 0; n < set->at[i]->count; n++)
			fprintf(f, "\tcase %u: return "
				   "mk_space_%u::mk_run_%s(task, args);\n",
				set->at[i]->number + n, i,
				set->at[i]->names[n].name);
	fprintf(f, "\tdefault: return -MK_EOPCODE;\n\t}\n}\n");
}

/* For the host: argument bytes and width of every handler. */
static void write_info(FILE *f, const struct set *set)
{
	fprintf(f, "MKD_TABLE uint32_t mkd_info[] = {\n");
	for (unsigned i = 0; i < set->count; i++)
		for (unsigned n = 0; n < set->at[i]->count; n++) {
			const char *name = set->at[i]->names[n].name;

			fprintf(f, "\tMKD_BYTES_OF(mk_space_%u, %s), "
				   "MKD_WIDTH_OF(mk_space_%u, %s),\n", i,
				name, i, name);
		}
	fprintf(f, "};\n");
}

static int write_text(const struct set *set, unsigned threads, char **out)
{
	size_t bytes;
	FILE *f = open_memstream(out, &bytes);

	if (!f)
		return no_memory();
	fprintf(f, "#define MKD_THREADS %u\n", threads);
	fprintf(f, "#include <megakernel/abi.h>\n"
		   "#include <stdint.h>\n"
		   "#include \"device.cuh\"\n"
		   "#include <megakernel/handler.h>\n"
		   "#include <megakernel/map.h>\n"
		   "#include \"dialect.cuh\"\n");
	write_sources(f, set);
	write_dispatch(f, set);
	write_info(f, set);
	fprintf(f, "#include \"kernel.cu\"\n");
	if (ferror(f) | fclose(f)) {
		free(*out);
		*out = NULL;
		return no_memory();
	}
	return 0;
}

static int gather_headers(const struct set *set, struct mkc_program *p)
{
	unsigned n = mkc_text_count + STUBS + set->count, at = 0;

	p->headers = calloc(n, sizeof(*p->headers));
	if (!p->headers)
		return no_memory();
	for (unsigned i = 0; i < mkc_text_count; i++)
		p->headers[at++] = mkc_texts[i];
	for (unsigned i = 0; i < STUBS; i++)
		p->headers[at++] = (struct mkc_text){ stubs[i], stub };
	for (unsigned i = 0; i < set->count; i++)
		if (set->at[i]->id)
			p->headers[at++] = (struct mkc_text){
				set->at[i]->file, set->at[i]->text };
	p->header_count = at;
	return 0;
}

static void hash_text(XXH3_state_t *state, const char *text)
{
	XXH3_128bits_update(state, text, strlen(text) + 1);
}

static void hash_program(struct mkc_program *p)
{
	XXH3_state_t state;
	XXH128_hash_t hash;

	XXH3_128bits_reset(&state);
	hash_text(&state, p->text);
	for (unsigned i = 0; i < p->header_count; i++) {
		hash_text(&state, p->headers[i].name);
		hash_text(&state, p->headers[i].text);
	}
	hash = XXH3_128bits_digest(&state);
	p->hash[0] = hash.low64;
	p->hash[1] = hash.high64;
}

int mkc_program_write(struct mkc_source *sources, unsigned threads,
		      struct mkc_program *out)
{
	struct set set;
	int r;

	memset(out, 0, sizeof(*out));
	r = set_make(sources, &set);
	if (r)
		return r;
	out->handlers = set_number(&set, sources);
	if (out->handlers > MKD_HANDLERS_MAX)
		r = mk_error_set(-ENOSPC, 0, "mk_module_load",
				 "there would be %u handlers, at most %u "
				 "will do: unload a module", out->handlers,
				 MKD_HANDLERS_MAX);
	if (!r)
		r = write_text(&set, threads, &out->text);
	if (!r)
		r = gather_headers(&set, out);
	free(set.at);
	if (r)
		mkc_program_free(out);
	else
		hash_program(out);
	return r;
}

void mkc_program_free(struct mkc_program *p)
{
	free(p->text);
	free(p->headers);
	memset(p, 0, sizeof(*p));
}

void mkc_program_key(const struct mkc_program *p, const char *compiler,
		     const int *numbers, unsigned count, uint64_t key[2])
{
	const char *option;
	XXH3_state_t state;
	XXH128_hash_t hash;

	XXH3_128bits_reset(&state);
	XXH3_128bits_update(&state, numbers, count * sizeof(*numbers));
	hash_text(&state, "cuda");
	hash_text(&state, compiler);
	for (unsigned i = 0; (option = mkc_compiler_option(i)); i++)
		hash_text(&state, option);
	XXH3_128bits_update(&state, p->hash, sizeof(p->hash));
	hash = XXH3_128bits_digest(&state);
	key[0] = hash.low64;
	key[1] = hash.high64;
}
