/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's code: compiled with the handlers of all modules in it, cached,
 * loaded while the kernel is off the device.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "engine/cuda/bundle.h"
#include "engine/cuda/host.h"
#include "module/builtin.h"
#include "module/cache.h"
#include "module/image.h"

#define STEP_ASIDE_NS 30000000000ull /* for the slots that run */

/* ---- from sources to machine code --------------------------------------- */

static unsigned block_threads(const struct mk_engine *e)
{
	return (e->warps + 1) * MKD_LANES;
}

/* The block size that the program is bound to. */
static unsigned bound_threads(const struct mk_engine *e)
{
	unsigned threads = block_threads(e);

	if (threads < MKC_BOUND_LEAST)
		return MKC_BOUND_LEAST;
	return (threads + MKC_BOUND_STEP - 1) / MKC_BOUND_STEP *
	       MKC_BOUND_STEP;
}

/* Out of the file that a module came in; 0 if it is there. */
static int find_prebuilt(const struct mk_engine *e,
			 const struct mkc_program *p, struct mkc_image *out)
{
	for (const struct mkc_source *s = e->sources; s; s = s->next) {
		const void *code = !s->bundle ? NULL :
			mkc_bundle_find(s->bundle, p->hash, e->major, e->minor,
					&out->bytes);

		if (!code)
			continue;
		out->data = malloc(out->bytes);
		if (!out->data)
			return -ENOENT; /* as large as what is tried next */
		memcpy(out->data, code, out->bytes);
		return 0;
	}
	return -ENOENT;
}

/*
 * There is no compiler, and nothing that it would have made before: say what
 * would help.
 */
static int no_code(const struct mk_engine *e)
{
	char have[160] = "none", why[512];
	bool bundled = false;
	unsigned modules = 0;

	for (const struct mkc_source *s = e->sources; s; s = s->next) {
		modules += s->id != 0;
		if (!s->bundle)
			continue;
		bundled = true;
		mkc_bundle_list(s->bundle, have, sizeof(have));
	}
	if (!modules)
		return -MK_ENOCOMPILER; /* what the compiler said stands */
	snprintf(why, sizeof(why), "%.500s", mk_error_last()->text);
	return mk_error_set(-MK_ENOCOMPILER, 0, "mk_module_load",
			    "the cache has no code of %s for sm_%d%d with "
			    "driver %d.%d, the module file has %s%s: %s",
			    modules > 1 ? "these modules together" :
					  "this module",
			    e->major, e->minor, e->d->version / 1000,
			    e->d->version % 1000 / 10,
			    bundled ? "code for " : "", have, why);
}

/* Out of the cache; 0 if it was there. */
static int find_cached(int dir, const uint64_t key[2], struct mkc_image *out)
{
	struct mk_image_view view;
	int fd;

	if (dir < 0 || mk_cache_find(dir, key, "cuda", &fd))
		return -ENOENT;
	if (mk_image_map(fd, &view)) {
		close(fd);
		return -ENOENT;
	}
	out->data = malloc(view.bytes);
	out->bytes = view.bytes;
	if (out->data)
		memcpy(out->data, view.base, view.bytes);
	mk_image_unmap(&view);
	close(fd);
	return out->data ? 0 : -ENOENT;
}

static void keep_cached(int dir, const uint64_t key[2], unsigned handlers,
			const struct mkc_image *image)
{
	int fd;

	if (dir < 0 || mk_image_create(image->data, image->bytes, &fd))
		return;
	(void)mk_cache_store(dir, key, "cuda", handlers, fd);
	close(fd);
}

static void program_key(const struct mk_engine *e, const struct mkc_program *p,
			const char *compiler, uint64_t key[2])
{
	const int numbers[] = { e->major, e->minor, e->d->version };

	mkc_program_key(p, compiler, numbers, 3, key);
}

/* Does who wrote handlers and tries them out want to wait less? */
static int wants_quick(bool *quick)
{
	const char *value = secure_getenv("MEGAKERNEL_CUDA_COMPILE");

	*quick = value && !strcmp(value, "quick");
	if (!value || *quick || !strcmp(value, "full"))
		return 0;
	return mk_error_set(-EINVAL, 0, "cuda engine",
			    "MEGAKERNEL_CUDA_COMPILE is \"%.40s\": it can be "
			    "\"full\", the default, or \"quick\"", value);
}

/* Quick code is for this compiler's machine only, and for now. */
static int compile(const struct mk_engine *e, int dir, const uint64_t key[2],
		   const struct mkc_program *p, bool quick,
		   struct mkc_image *out)
{
	uint64_t any[2];
	int r = mkc_compile(p->text, p->headers, p->header_count, e->major,
			    e->minor, quick, out);

	if (r == -MK_ENOCOMPILER)
		return no_code(e);
	if (r)
		return r;
	keep_cached(dir, key, p->handlers, out);
	if (quick)
		return 0;
	program_key(e, p, "", any);
	keep_cached(dir, any, p->handlers, out);
	return 0;
}

static int open_cache(const struct mk_engine *e)
{
	switch (e->config.cache) {
	case MK_CACHE_NONE:
		return -ENOENT;
	case MK_CACHE_DIR:
		return mk_cache_open(e->config.cache_dir);
	default:
		return mk_cache_open(NULL);
	}
}

/* Code for a program: out of the module's file, the cache, or the compiler. */
static int build(struct mk_engine *e, const struct mkc_program *p,
		 struct mkc_image *out)
{
	struct mk_error before = *mk_error_last();
	char hasty[96];
	uint64_t key[2];
	bool quick;
	int dir, r = wants_quick(&quick);

	if (r)
		return r;
	if (!find_prebuilt(e, p, out))
		return 0;
	dir = open_cache(e);
	/* without a compiler its version is "": whatever one made will do */
	program_key(e, p, mkc_compiler_version(), key);
	r = find_cached(dir, key, out);
	if (r && quick) {
		snprintf(hasty, sizeof(hasty), "%s %s", mkc_compiler_version(),
			 mkc_compiler_quick());
		program_key(e, p, hasty, key);
		r = find_cached(dir, key, out);
	}
	if (r)
		r = compile(e, dir, key, p, quick, out);
	if (!r)
		mk_error_copy(&before); /* a miss is no failure */
	if (dir >= 0)
		close(dir);
	return r;
}

/* ---- loading ------------------------------------------------------------ */

static int attribute(const struct mk_engine *e, CUfunction f, int which)
{
	int value = 0;

	return e->d->func_attribute(&value, which, f) ? -1 : value;
}

/* Do as many blocks fit together as we want there? */
static int check_fit(struct mk_engine *e, CUfunction f)
{
	int each = 0;
	CUresult r = e->d->occupancy(&each, f, (int)block_threads(e), 0);

	if (r)
		return mkc_fail(e->d, r, "cuda engine",
				"asking how many blocks fit");
	if (each > 0 && (uint64_t)each * (unsigned)e->multiprocessors >=
				e->blocks)
		return 0;
	return mk_error_set(-EINVAL, 0, "cuda engine",
			    "%u workers are %u blocks of %u threads, but only "
			    "%d x %d fit on the device: the handlers use %d "
			    "registers a thread and %d bytes of shared memory "
			    "a block; lower workers, or what they use",
			    e->config.workers, e->blocks, block_threads(e),
			    each, e->multiprocessors,
			    attribute(e, f, MKC_FUNC_REGISTERS),
			    attribute(e, f, MKC_FUNC_SHARED_BYTES));
}

static int load_image(struct mk_engine *e, const struct mkc_image *image,
		      CUmodule *module, CUfunction *kernel)
{
	char log[512] = "";
	int options[] = { MKC_JIT_ERROR_LOG, MKC_JIT_ERROR_LOG_BYTES };
	void *values[] = { log, (void *)(uintptr_t)(sizeof(log) - 1) };
	CUresult r;
	int code;

	*module = NULL;
	r = e->d->module_load(module, image->data, 2, options, values);
	if (r) {
		code = mkc_fail(e->d, r, "cuda engine", "loading the kernel");
		if (log[0])
			mk_error_set(code, r, "cuda engine",
				     "loading the kernel: %s", log);
		*module = NULL;
		return code;
	}
	r = e->d->module_function(kernel, *module, "mkd_kernel");
	if (!r && e->carveout)
		r = e->d->func_set(*kernel, MKC_FUNC_CARVEOUT,
				   (int)e->carveout - 1);
	if (!r)
		return check_fit(e, *kernel);
	return mkc_fail(e->d, r, "cuda engine", "finding the kernel");
}

/* Argument sizes and widths, which only the compiler knows. */
static int read_info(struct mk_engine *e, CUmodule module, unsigned handlers)
{
	uint32_t *info;
	CUdeviceptr at;
	size_t bytes;
	CUresult r;
	int code;

	r = e->d->module_global(&at, &bytes, module, "mkd_info");
	if (r)
		return mkc_fail(e->d, r, "cuda engine",
				"finding the table of handlers");
	if (bytes != handlers * 8u)
		return mk_error_set(-MK_EMODULE, 0, "cuda engine",
				    "the code has a table of %zu bytes for %u "
				    "handlers", bytes, handlers);
	info = malloc(bytes);
	if (!info)
		return mk_error_set(-ENOMEM, ENOMEM, "cuda engine",
				    "no memory for the table of handlers");
	r = e->d->copy_to_host(info, at, bytes, e->side);
	code = r ? mkc_lost(e, r, "reading the table of handlers") :
		   mkc_side_wait(e, MKC_GRACE_NS);
	for (struct mkc_source *s = e->sources; s && !code; s = s->next)
		for (unsigned i = 0; i < s->count; i++) {
			const uint32_t *of = &info[2 * (s->number + i)];
			struct mk_handler_info *h = &s->info[i];

			memset(h, 0, sizeof(*h));
			memcpy(h->name, s->names[i].name, sizeof(h->name));
			h->arg_bytes = (uint16_t)of[0];
			h->width = (uint8_t)of[1];
			h->module = s->id;
		}
	free(info);
	return code;
}

/* ---- what opcodes run ---------------------------------------------------- */

/* Into the mailbox, from where the monitor takes it. */
static void write_table(struct mk_engine *e)
{
	uint16_t *table = e->mail->table;
	uint8_t *takes = e->mail->takes;

	for (uint32_t i = 0; i < MK_OPCODES; i++) {
		const struct mkc_opcode *op = &e->ops[i];
		const struct mk_handler_info *info = op->source ?
			&op->source->info[op->handler] : NULL;

		table[i] = info ? MKD_ENTRY(op->source->first + op->handler,
					    info->width) : 0;
		takes[i] = info ? (uint8_t)(info->arg_bytes + 1) : 0;
	}
	table[MK_OP_FENCE] = MKD_ENTRY(MKD_OWN_FENCE, MK_WIDTH_WARP);
	table[MK_OP_ROW] = MKD_ENTRY(MKD_OWN_ROW, MK_WIDTH_WARP);
	/* not for handlers to make */
	takes[MK_OP_FENCE] = takes[MK_OP_ROW] = 0;
}

static bool set_op(struct mk_engine *e, uint32_t opcode, uint32_t id,
		   const char *name)
{
	for (struct mkc_source *s = e->sources; s; s = s->next) {
		if (s->id != id || !s->built)
			continue;
		for (unsigned i = 0; i < s->count; i++)
			if (!strcmp(s->names[i].name, name)) {
				e->ops[opcode].source = s;
				e->ops[opcode].handler = i;
				return true;
			}
	}
	return false;
}

/* Every built-in opcode that is no mechanism of the kernel has its handler. */
static int bind_builtins(struct mk_engine *e)
{
	struct mk_handler_info info[64];
	int n = mk_builtin_list(info, 64);

	for (int i = 0; i < n && i < 64; i++) {
		uint32_t opcode = info[i].opcode;

		if (opcode == MK_OP_FENCE || opcode == MK_OP_ROW)
			continue;
		if (!set_op(e, opcode, 0, info[i].name))
			return mk_error_set(-MK_ENOHANDLER, 0, "cuda engine",
					    "the library carries no text of "
					    "handler %s", info[i].name);
	}
	return 0;
}

/* ---- swapping ------------------------------------------------------------ */

int mkc_tell_table(struct mk_engine *e, bool strict, uint64_t timeout_ns)
{
	write_table(e);
	return mkc_command(e, MKD_CMD_TABLE, 0, strict, NULL, 0, timeout_ns);
}

/* This program is the one that is loaded. */
static void adopt(struct mk_engine *e, const struct mkc_program *p)
{
	memcpy(e->program, p->hash, sizeof(e->program));
	for (struct mkc_source *s = e->sources; s; s = s->next) {
		s->first = s->number;
		s->built = true;
	}
}

/* The kernel is off the device. */
static int swap(struct mk_engine *e, const struct mkc_program *p,
		const struct mkc_image *image)
{
	CUmodule module;
	CUfunction kernel;
	struct mk_error why;
	int r = load_image(e, image, &module, &kernel);

	if (!r)
		r = read_info(e, module, p->handlers);
	if (r) {
		why = *mk_error_last();
		if (module)
			e->d->module_unload(module);
		return mk_error_copy(&why);
	}
	if (e->module)
		e->d->module_unload(e->module);
	e->module = module;
	e->kernel = kernel;
	adopt(e, p);
	return 0;
}

int mkc_code_first(struct mk_engine *e)
{
	struct mkc_image image = { NULL, 0 };
	struct mkc_program p;
	int r = mkc_program_write(e->sources, bound_threads(e), &p);

	if (r)
		return r;
	r = build(e, &p, &image);
	if (!r)
		r = swap(e, &p, &image);
	free(image.data);
	mkc_program_free(&p);
	return r ? r : bind_builtins(e);
}

/*
 * The same beside a running kernel, which steps aside for the loading. On
 * failure all is as it was. The compiler takes its time: without the lock, so
 * that the service thread can bring the kernel back meanwhile.
 */
static int exchange(struct mk_engine *e, const struct mkc_program *p)
{
	struct mkc_image image = { NULL, 0 };
	struct mk_error why;
	bool was_on;
	int r;

	pthread_mutex_unlock(&e->lock);
	r = build(e, p, &image);
	pthread_mutex_lock(&e->lock);
	was_on = e->on;
	if (!r)
		r = mkc_step_aside(e, STEP_ASIDE_NS);
	if (!r)
		r = swap(e, p, &image);
	free(image.data);
	if (!r)
		/* the first thing that the new kernel hears of */
		return mkc_tell_table(e, false, MKC_GRACE_NS);
	why = *mk_error_last();
	if (was_on && !e->on)
		mkc_step_back(e);
	return mk_error_copy(&why);
}

/* What e->sources come to; nothing to do if that is what runs: a module that
 * is back, or a text that is loaded twice. */
static int code_again(struct mk_engine *e)
{
	struct mkc_program p;
	int r = mkc_program_write(e->sources, bound_threads(e), &p);

	if (r)
		return r;
	if (memcmp(p.hash, e->program, sizeof(p.hash)) != 0) {
		r = exchange(e, &p);
	} else {
		r = read_info(e, e->module, p.handlers);
		if (!r)
			adopt(e, &p);
	}
	mkc_program_free(&p);
	return r;
}

void mkc_code_close(struct mk_engine *e)
{
	if (e->module && !e->on)
		e->d->module_unload(e->module);
	e->module = NULL;
	mkc_sources_free(e->sources);
	e->sources = NULL;
}

/* ---- modules ------------------------------------------------------------- */

static int read_source(const struct mk_module_desc *d, struct mkc_source **out)
{
	struct mk_image_view view;
	int r;

	if (d->table)
		return mk_error_set(-EOPNOTSUPP, 0, "cuda engine",
				    "handlers that are linked into the program "
				    "run on the cpu engine only: load their "
				    "source");
	r = mk_image_map(d->fd, &view);
	if (r)
		return r;
	r = mkc_source_create(d->id, (const char *)view.base, view.bytes, out);
	mk_image_unmap(&view);
	return r;
}

/* Take the source out of the list again; what opcodes it has, too. */
static void remove_source(struct mk_engine *e, struct mkc_source *s)
{
	struct mkc_source **at = &e->sources;

	for (uint32_t i = 0; i < MK_OPCODES; i++)
		if (e->ops[i].source == s)
			e->ops[i].source = NULL;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	mkc_source_free(s);
}

/* Its code comes with that of the last one. */
static int only_names(struct mkc_source *s)
{
	for (unsigned i = 0; i < s->count; i++)
		memcpy(s->info[i].name, s->names[i].name,
		       sizeof(s->info[i].name));
	return 0;
}

int mkc_module_open(struct mk_engine *e, const struct mk_module_desc *d,
		    struct mk_handler_info *out, unsigned max, unsigned *count)
{
	struct mkc_source *s;
	struct mk_error why;
	int r = mkc_check(e);

	if (!r)
		r = read_source(d, &s);
	if (r)
		return r;
	if (s->count > max) {
		mkc_source_free(s);
		return mk_error_set(-ENOSPC, 0, "cuda engine",
				    "the module has %u handlers, asked were "
				    "at most %u", s->count, max);
	}
	s->next = e->sources;
	e->sources = s;
	r = d->flags & MK_OPEN_MORE ? only_names(s) : code_again(e);
	if (r) {
		why = *mk_error_last();
		remove_source(e, s);
		return mk_error_copy(&why);
	}
	memcpy(out, s->info, s->count * sizeof(*out));
	*count = s->count;
	return 0;
}

int mkc_module_bind(struct mk_engine *e, uint32_t id,
		    const struct mk_opcode_map *map, unsigned count)
{
	struct mkc_opcode before[MK_OPCODES];
	int r = mkc_check(e);

	if (r)
		return r;
	memcpy(before, e->ops, sizeof(before));
	for (unsigned i = 0; i < count && !r; i++)
		if (map[i].opcode < MK_OPCODE_USER ||
		    map[i].opcode >= MK_OPCODES ||
		    !set_op(e, map[i].opcode, id, map[i].name))
			r = mk_error_set(-MK_ENOHANDLER, 0, "cuda engine",
					 "module %u has no handler \"%.47s\" "
					 "for opcode %u", id, map[i].name,
					 map[i].opcode);
	if (!r)
		r = mkc_tell_table(e, false, MKC_GRACE_NS);
	if (r)
		memcpy(e->ops, before, sizeof(before));
	return r;
}

int mkc_module_close(struct mk_engine *e, uint32_t id, uint64_t timeout_ns)
{
	struct mkc_opcode before[MK_OPCODES];
	struct mkc_source *s = e->sources;
	int r;

	while (s && (!id || s->id != id))
		s = s->next;
	if (!s)
		return mk_error_set(-ENOENT, 0, "cuda engine",
				    "there is no module %u", id);
	memcpy(before, e->ops, sizeof(before));
	for (uint32_t i = 0; i < MK_OPCODES; i++)
		if (e->ops[i].source == s)
			e->ops[i].source = NULL;
	r = mkc_check(e);
	if (!r)
		r = mkc_tell_table(e, true, timeout_ns);
	if (r == -ETIME) {
		/* a slot runs it, or work that was made will: as before */
		memcpy(e->ops, before, sizeof(before));
		return r;
	}
	/* its code goes with the next image; until then nothing names it */
	remove_source(e, s);
	return r;
}
