/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/cuda/bundle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <megakernel/abi.h>

#include "base/error.h"
#include "engine/cuda/program.h"
#include "module/image.h"

static int no_memory(void)
{
	return mk_error_set(-ENOMEM, ENOMEM, "cuda engine",
			    "no memory for a compiled module");
}

/* ---- reading ------------------------------------------------------------ */

static int refuse(const char *why)
{
	return mk_error_set(-MK_EMODULE, 0, "mk_module_load",
			    "the module's code for the cuda engine is "
			    "damaged: %s: compile the module again", why);
}

bool mkc_bundle_is(const void *data, size_t bytes)
{
	return bytes >= 8 && !memcmp(data, MKC_BUNDLE_MAGIC, 8);
}

/* Everything that the header says lies where it says. */
static int check(struct mkc_bundle *b, size_t bytes)
{
	struct mkc_bundle_header h;
	size_t least;

	if (bytes < sizeof(h))
		return refuse("it is cut short");
	memcpy(&h, b->data, sizeof(h));
	if (h.reserved || h.bytes != bytes ||
	    h.count > MKC_BUNDLE_ENTRIES_MAX)
		return refuse("its header is not valid");
	least = sizeof(h) + h.count * sizeof(b->entry[0]);
	if (least > bytes || h.text_bytes > bytes - least)
		return refuse("its text is cut short");
	memcpy(b->entry, b->data + sizeof(h), h.count * sizeof(b->entry[0]));
	b->count = h.count;
	b->text = (const char *)b->data + least;
	b->text_bytes = h.text_bytes;
	least += h.text_bytes;
	for (unsigned i = 0; i < b->count; i++) {
		const struct mkc_bundle_entry *e = &b->entry[i];

		if (e->major > 999 || e->minor > 99 || e->offset < least ||
		    e->offset > bytes || !e->bytes ||
		    e->bytes > bytes - e->offset)
			return refuse("an image lies outside of it");
	}
	return 0;
}

int mkc_bundle_read(const void *data, size_t bytes, struct mkc_bundle **out)
{
	struct mkc_bundle *b = calloc(1, sizeof(*b));
	int r;

	if (b)
		b->data = malloc(bytes);
	if (!b || !b->data) {
		free(b);
		return no_memory();
	}
	memcpy(b->data, data, bytes);
	r = check(b, bytes);
	if (r) {
		mkc_bundle_free(b);
		return r;
	}
	*out = b;
	return 0;
}

void mkc_bundle_free(struct mkc_bundle *b)
{
	if (!b)
		return;
	free(b->data);
	free(b);
}

/* Code runs on its own compute capability and on later ones of the same
 * major number; the latest serves best. */
const void *mkc_bundle_find(const struct mkc_bundle *b,
			    const uint64_t program[2], int major, int minor,
			    size_t *bytes)
{
	const struct mkc_bundle_entry *best = NULL;

	for (unsigned i = 0; i < b->count; i++) {
		const struct mkc_bundle_entry *e = &b->entry[i];

		if (e->program[0] == program[0] &&
		    e->program[1] == program[1] && (int)e->major == major &&
		    (int)e->minor <= minor &&
		    (!best || best->minor < e->minor))
			best = e;
	}
	if (!best)
		return NULL;
	*bytes = best->bytes;
	return b->data + best->offset;
}

void mkc_bundle_list(const struct mkc_bundle *b, char *text, size_t room)
{
	size_t used = 0;

	snprintf(text, room, "none");
	for (unsigned i = 0; i < b->count && used < room; i++) {
		if (i && b->entry[i].major == b->entry[0].major &&
		    b->entry[i].minor == b->entry[0].minor)
			break; /* they come again, for other blocks */
		used += (size_t)snprintf(text + used, room - used, "%ssm_%u%u",
					 i ? ", " : "", b->entry[i].major,
					 b->entry[i].minor);
	}
}

/* ---- making ------------------------------------------------------------- */

/* What goes into a bundle. */
struct parts {
	const char *text;
	size_t text_bytes;
	unsigned count;
	struct mkc_bundle_entry entry[MKC_BUNDLE_ENTRIES_MAX];
	struct mkc_image image[MKC_BUNDLE_ENTRIES_MAX];
};

static size_t aligned(size_t bytes)
{
	return (bytes + 15) & ~(size_t)15;
}

/* Where everything goes; the whole length. */
static size_t lay_out(struct parts *p)
{
	size_t at = sizeof(struct mkc_bundle_header) +
		    p->count * sizeof(p->entry[0]) + p->text_bytes;

	for (unsigned i = 0; i < p->count; i++) {
		at = aligned(at);
		p->entry[i].offset = at;
		p->entry[i].bytes = p->image[i].bytes;
		at += p->image[i].bytes;
	}
	return at;
}

static int put_together(struct parts *p, int *image)
{
	struct mkc_bundle_header h = { .count = p->count,
				       .text_bytes = p->text_bytes };
	unsigned char *data, *at;
	int r;

	h.bytes = lay_out(p);
	memcpy(h.magic, MKC_BUNDLE_MAGIC, sizeof(h.magic));
	data = calloc(1, h.bytes);
	if (!data)
		return no_memory();
	memcpy(data, &h, sizeof(h));
	at = data + sizeof(h);
	memcpy(at, p->entry, p->count * sizeof(p->entry[0]));
	at += p->count * sizeof(p->entry[0]);
	memcpy(at, p->text, p->text_bytes);
	for (unsigned i = 0; i < p->count; i++)
		memcpy(data + p->entry[i].offset, p->image[i].data,
		       p->image[i].bytes);
	r = mk_image_create(data, h.bytes, image);
	free(data);
	return r;
}

/* For a block size, all architectures. */
static int compile_bound(struct mkc_source *sources, unsigned threads,
			 const struct mkc_arch *archs, unsigned count,
			 struct parts *p)
{
	struct mkc_program program;
	int r = mkc_program_write(sources, threads, &program);

	if (r)
		return r;
	for (unsigned i = 0; i < count && !r; i++) {
		struct mkc_bundle_entry *e = &p->entry[p->count];

		r = mkc_compile(program.text, program.headers,
				program.header_count, archs[i].major,
				archs[i].minor, false, &p->image[p->count]);
		e->major = (uint32_t)archs[i].major;
		e->minor = (uint32_t)archs[i].minor;
		memcpy(e->program, program.hash, sizeof(e->program));
		p->count += !r;
	}
	mkc_program_free(&program);
	return r;
}

static int compile_all(struct mkc_source *sources,
		       const struct mkc_arch *archs, unsigned count,
		       struct parts *p)
{
	int r = 0;

	for (unsigned i = 0; i < MKC_BOUNDS && !r; i++)
		r = compile_bound(sources, MKC_BOUND_LEAST +
				  i * MKC_BOUND_STEP, archs, count, p);
	return r;
}

int mkc_bundle_compile(const char *text, size_t bytes,
		       const struct mkc_arch *archs, unsigned count,
		       unsigned *handlers, int *image)
{
	struct parts *p = calloc(1, sizeof(*p));
	struct mkc_source *own = NULL, *builtins = NULL;
	int r = p ? 0 : no_memory();

	if (!r && count > MKC_BUNDLE_ENTRIES_MAX / MKC_BOUNDS)
		r = mk_error_set(-EINVAL, 0, "mk_module_compile",
				 "%u architectures are named, at most %u will "
				 "do", count,
				 MKC_BUNDLE_ENTRIES_MAX / MKC_BOUNDS);
	if (!r)
		r = mkc_source_create(1, text, bytes, &own);
	if (!r)
		r = mkc_source_builtins(&builtins);
	if (!r) {
		own->next = builtins;
		*handlers = own->count;
		p->text = text;
		p->text_bytes = bytes;
		r = compile_all(own, archs, count, p);
	}
	if (!r)
		r = put_together(p, image);
	for (unsigned i = 0; p && i < p->count; i++)
		free(p->image[i].data);
	free(p);
	mkc_sources_free(own ? own : builtins);
	return r;
}
