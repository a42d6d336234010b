/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/cuda/program.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
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
	free(s->text);
	free(s->names);
	free(s->info);
	free(s);
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

int mkc_source_create(uint32_t id, const char *text, size_t bytes,
		      struct mkc_source **out)
{
	struct mkc_source *s;
	int r;

	if (memchr(text, '\0', bytes))
		return mk_error_set(-MK_EMODULE, 0, "mk_module_load",
				    "the module image is no source text: "
				    "compile the module for the cuda engine");
	s = calloc(1, sizeof(*s));
	if (!s)
		return no_memory();
	s->id = id;
	snprintf(s->file, sizeof(s->file), "module-%" PRIu32 ".c", id);
	s->text = strndup(text, bytes);
	r = s->text ? source_names(s) : no_memory();
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
			while ((s = list)) {
				list = s->next;
				mkc_source_free(s);
			}
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

static void write_sources(FILE *f, const struct mkc_source *s)
{
	for (unsigned i = 0; s; s = s->next, i++)
		fprintf(f, "namespace mk_space_%u {\n#include \"%s\"\n}\n", i,
			s->file);
}

static void write_dispatch(FILE *f, const struct mkc_source *s)
{
	fprintf(f, "MKD_SLOW int32_t mkd_dispatch(uint32_t handler,\n"
		   "\tstruct mk_task *task, const void *args)\n"
		   "{\n\tswitch (handler) {\n");
	for (unsigned i = 0; s; s = s->next, i++)
		for (unsigned n = 0; n < s->count; n++)
			fprintf(f, "\tcase %u: return "
				   "mk_space_%u::mk_run_%s(task, args);\n",
				s->number + n, i, s->names[n].name);
	fprintf(f, "\tdefault: return -MK_EOPCODE;\n\t}\n}\n");
}

/* For the host: argument bytes and width of every handler. */
static void write_info(FILE *f, const struct mkc_source *s)
{
	fprintf(f, "MKD_TABLE uint32_t mkd_info[] = {\n");
	for (unsigned i = 0; s; s = s->next, i++)
		for (unsigned n = 0; n < s->count; n++)
			fprintf(f, "\tMKD_BYTES_OF(mk_space_%u, %s), "
				   "MKD_WIDTH_OF(mk_space_%u, %s),\n", i,
				s->names[n].name, i, s->names[n].name);
	fprintf(f, "};\n");
}

static int write_text(const struct mkc_source *sources, unsigned threads,
		      char **out)
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
	write_sources(f, sources);
	write_dispatch(f, sources);
	write_info(f, sources);
	fprintf(f, "#include \"kernel.cu\"\n");
	if (ferror(f) | fclose(f)) {
		free(*out);
		*out = NULL;
		return no_memory();
	}
	return 0;
}

static int gather_headers(const struct mkc_source *sources,
			  struct mkc_program *p)
{
	unsigned n = mkc_text_count + STUBS, at = 0;

	for (const struct mkc_source *s = sources; s; s = s->next)
		n += s->id != 0;
	p->headers = calloc(n, sizeof(*p->headers));
	if (!p->headers)
		return no_memory();
	for (unsigned i = 0; i < mkc_text_count; i++)
		p->headers[at++] = mkc_texts[i];
	for (unsigned i = 0; i < STUBS; i++)
		p->headers[at++] = (struct mkc_text){ stubs[i], stub };
	for (const struct mkc_source *s = sources; s; s = s->next)
		if (s->id)
			p->headers[at++] =
				(struct mkc_text){ s->file, s->text };
	p->header_count = at;
	return 0;
}

int mkc_program_write(struct mkc_source *sources, unsigned threads,
		      struct mkc_program *out)
{
	unsigned handlers = 0;
	int r;

	memset(out, 0, sizeof(*out));
	for (struct mkc_source *s = sources; s; s = s->next) {
		s->number = handlers;
		handlers += s->count;
	}
	if (handlers > MKD_HANDLERS_MAX)
		return mk_error_set(-ENOSPC, 0, "mk_module_load",
				    "there would be %u handlers, at most %u "
				    "will do: unload a module", handlers,
				    MKD_HANDLERS_MAX);
	r = write_text(sources, threads, &out->text);
	if (!r)
		r = gather_headers(sources, out);
	if (r)
		mkc_program_free(out);
	out->handlers = handlers;
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
	const char *words[] = { "cuda", compiler, p->text }, *option;
	XXH3_state_t state;
	XXH128_hash_t hash;

	XXH3_128bits_reset(&state);
	XXH3_128bits_update(&state, numbers, count * sizeof(*numbers));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		XXH3_128bits_update(&state, words[i], strlen(words[i]) + 1);
	for (unsigned i = 0; (option = mkc_compiler_option(i)); i++)
		XXH3_128bits_update(&state, option, strlen(option) + 1);
	for (unsigned i = 0; i < p->header_count; i++) {
		const struct mkc_text *t = &p->headers[i];

		XXH3_128bits_update(&state, t->name, strlen(t->name) + 1);
		XXH3_128bits_update(&state, t->text, strlen(t->text) + 1);
	}
	hash = XXH3_128bits_digest(&state);
	key[0] = hash.low64;
	key[1] = hash.high64;
}
