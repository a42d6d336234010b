/* SPDX-License-Identifier: Apache-2.0 */
/* Loading modules into a context, replacing and unloading them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/order.h"
#include "context/context.h"
#include "module/build.h"
#include "module/mkm.h"
#include "module/module.h"
#include "module/table.h"

#define MODULE_FLAGS ((uint32_t)MK_MODULE_REPLACE)

/* A module on its way into a context. */
struct loading {
	struct mk_ctx *ctx;
	uint32_t flags;
	struct mk_loaded *m;
	bool opened; /* the engine has it, and must be told to close it */
	bool more;   /* to be opened with others, which follow */
	struct mk_handler_info handlers[MK_MODULE_HANDLERS_MAX];
	unsigned count;
};

static void free_loaded(struct mk_loaded *m)
{
	if (!m)
		return;
	if (m->fd >= 0)
		close(m->fd);
	free(m->map);
	free(m);
}

static struct mk_loaded **find_loaded(struct mk_ctx *ctx, uint32_t id)
{
	struct mk_loaded **at = &ctx->modules;

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

/* ---- names and opcodes ------------------------------------------------ */

/* The opcode of a name; 0 is nop, which is built in like all below
 * MK_OPCODE_USER; -1: none. */
static int find_name(const struct mk_ctx *ctx, const char *name)
{
	for (int i = 0; i < (int)MK_OPCODES; i++)
		if (ctx->handlers[i].name[0] &&
		    !strcmp(ctx->handlers[i].name, name))
			return i;
	return -1;
}

static int clash(const struct mk_handler_info *owner)
{
	if (owner->builtin)
		return mk_error_set(-MK_ECLASH, 0, "mk_module_load",
				    "a handler named %s is built in: rename "
				    "yours", owner->name);
	return mk_error_set(-MK_ECLASH, 0, "mk_module_load",
			    "a handler named %s is loaded by module %u: "
			    "rename yours, unload that module, or load with "
			    "MK_MODULE_REPLACE", owner->name, owner->module);
}

/* Opcodes that stay with their names; clashes. */
static int keep_opcodes(struct loading *l)
{
	for (unsigned i = 0; i < l->count; i++) {
		int at = find_name(l->ctx, l->handlers[i].name);

		if (at >= 0 && (l->ctx->handlers[at].builtin ||
				!(l->flags & MK_MODULE_REPLACE)))
			return clash(&l->ctx->handlers[at]);
		l->m->map[i].opcode = at < 0 ? MK_OPCODES : (uint32_t)at;
		memcpy(l->m->map[i].name, l->handlers[i].name,
		       sizeof(l->m->map[i].name));
	}
	return 0;
}

static bool has_opcode(const struct mk_loaded *m, uint32_t opcode)
{
	for (unsigned i = 0; i < m->count; i++)
		if (m->map[i].opcode == opcode)
			return true;
	return false;
}

/* Does the new module take opcodes of this one? */
static bool replaces(const struct loading *l, const struct mk_loaded *old)
{
	for (unsigned i = 0; i < old->count; i++)
		if (has_opcode(l->m, old->map[i].opcode))
			return true;
	return false;
}

/* What is replaced is replaced whole. */
static int check_whole(const struct loading *l)
{
	for (struct mk_loaded *old = l->ctx->modules; old; old = old->next) {
		if (!replaces(l, old))
			continue;
		for (unsigned i = 0; i < old->count; i++)
			if (!has_opcode(l->m, old->map[i].opcode))
				return mk_error_set(
					-MK_ECLASH, 0, "mk_module_load",
					"module %u would be replaced but for "
					"its handler %s, which the new module "
					"does not have: add it, or unload "
					"module %u first", old->id,
					old->map[i].name, old->id);
	}
	return 0;
}

static int new_opcodes(struct loading *l)
{
	uint32_t next = MK_OPCODE_USER;

	for (unsigned i = 0; i < l->count; i++) {
		if (l->m->map[i].opcode < MK_OPCODES)
			continue;
		while (next < MK_OPCODES && l->ctx->handlers[next].name[0])
			next++;
		if (next == MK_OPCODES)
			return mk_error_set(-ENOSPC, 0, "mk_module_load",
					    "no opcode is left for handler %s: "
					    "a context has %u for modules; "
					    "unload one", l->handlers[i].name,
					    MK_OPCODES - MK_OPCODE_USER);
		l->m->map[i].opcode = next++;
	}
	return 0;
}

/* ---- into the engine -------------------------------------------------- */

static int open_module(struct loading *l)
{
	struct mk_ctx *ctx = l->ctx;
	struct mk_module_desc desc = { l->m->id, l->m->fd, l->m->table,
				       l->more ? MK_OPEN_MORE : 0 };
	int rc = ctx->ops->module_open(ctx->engine, &desc, l->handlers,
				       MK_MODULE_HANDLERS_MAX, &l->count);

	if (rc)
		return rc;
	l->opened = true;
	/* the list may have come from another process */
	if (l->count > MK_MODULE_HANDLERS_MAX)
		return mk_error_set(-MK_EPROTO, 0, "mk_module_load",
				    "the engine lists %u handlers; at most %u "
				    "were asked for", l->count,
				    MK_MODULE_HANDLERS_MAX);
	/* what was put off is not there to be checked */
	return l->more ? 0 :
			 mk_table_check(l->handlers, l->count, "the module");
}

static int bind_module(struct loading *l)
{
	int rc;

	l->m->map = calloc(l->count, sizeof(*l->m->map));
	if (!l->m->map)
		return mk_error_set(-ENOMEM, ENOMEM, "mk_module_load",
				    "no memory for %u handlers", l->count);
	l->m->count = l->count;
	rc = keep_opcodes(l);
	if (!rc)
		rc = check_whole(l);
	if (!rc)
		rc = new_opcodes(l);
	return rc ? rc : l->ctx->ops->module_bind(l->ctx->engine, l->m->id,
						  l->m->map, l->count);
}

static void publish(struct loading *l)
{
	for (unsigned i = 0; i < l->count; i++) {
		uint32_t opcode = l->m->map[i].opcode;
		struct mk_handler_info *to = &l->ctx->handlers[opcode];

		pthread_mutex_lock(&l->ctx->names_lock);
		*to = l->handlers[i];
		to->opcode = (uint16_t)opcode;
		to->module = l->m->id;
		to->builtin = 0;
		to->reserved = 0;
		pthread_mutex_unlock(&l->ctx->names_lock);
		/* submit loads it relaxed: the engine, which has bound the
		 * opcode by now, is who needs the handler */
		mk_store_release(&l->ctx->opcode_args[opcode],
				 (uint8_t)(to->arg_bytes + 1));
	}
}

/*
 * The old modules have no opcode any more. One in which a slot still runs
 * after the engine's bound stays mapped until the engine ends: that is no
 * failure of the new one, which runs already.
 */
static void close_replaced(struct loading *l)
{
	struct mk_loaded **at = &l->ctx->modules, *old;

	while ((old = *at)) {
		if (!replaces(l, old)) {
			at = &old->next;
			continue;
		}
		*at = old->next;
		l->ctx->ops->module_close(l->ctx->engine, old->id,
					  l->ctx->command_ns);
		free_loaded(old);
	}
}

/* For another try, in another engine. */
static bool forget_bind(struct loading *l)
{
	free(l->m->map);
	l->m->map = NULL;
	l->m->count = 0;
	l->opened = false;
	return true;
}

static int install_locked(struct loading *l)
{
	struct mk_ctx *ctx = l->ctx;
	struct mk_error before = *mk_error_last(), why;
	int rc = mk_ctx_ready(ctx, "mk_module_load");
	uint64_t mark;

	if (rc)
		return rc;
	do
		l->m->id = ++ctx->next_module;
	while (!l->m->id || *find_loaded(ctx, l->m->id));
	do {
		mark = mk_load_relaxed(&ctx->restarts);
		rc = open_module(l);
		if (!rc)
			rc = bind_module(l);
	} while (rc && mk_ctx_again(ctx, rc, mark) && forget_bind(l));
	if (rc) {
		why = *mk_error_last();
		if (l->opened)
			ctx->ops->module_close(ctx->engine, l->m->id,
					       ctx->command_ns);
		mk_error_copy(&why); /* the first reason is the reason */
		return rc;
	}
	publish(l);
	close_replaced(l);
	l->m->next = ctx->modules;
	ctx->modules = l->m;
	mk_error_copy(&before);
	return 0;
}

/* Takes the descriptor over; -1 with a table. */
static int install(struct mk_ctx *ctx, int fd,
		   const struct mk_module_table *table, uint32_t flags,
		   uint32_t *id)
{
	struct loading *l = calloc(1, sizeof(*l));
	struct mk_loaded *m = calloc(1, sizeof(*m));
	int rc;

	if (!l || !m) {
		free(l);
		free(m);
		if (fd >= 0)
			close(fd);
		return mk_error_set(-ENOMEM, ENOMEM, "mk_module_load",
				    "no memory for a module");
	}
	m->fd = fd;
	m->table = table;
	l->ctx = ctx;
	l->flags = flags;
	l->m = m;
	pthread_mutex_lock(&ctx->lock);
	rc = install_locked(l);
	if (!rc && id)
		*id = m->id;
	pthread_mutex_unlock(&ctx->lock);
	if (rc)
		free_loaded(m);
	free(l);
	return rc;
}

/* ---- the calls -------------------------------------------------------- */

static int check_call(struct mk_ctx *ctx, const void *given, const char *field,
		      uint32_t flags)
{
	if (!ctx || !given)
		return mk_error_set(-EINVAL, 0, "mk_module_load",
				    "%s is NULL", ctx ? field : "ctx");
	if (flags & ~MODULE_FLAGS)
		return mk_error_set(-EINVAL, 0, "mk_module_load",
				    "flags is 0x%x; known is "
				    "MK_MODULE_REPLACE, 0x%x", flags,
				    MK_MODULE_REPLACE);
	return mk_ctx_check(ctx, "mk_module_load");
}

static struct mk_toolchain toolchain(const struct mk_ctx *ctx)
{
	struct mk_toolchain tc = {
		.compiler = ctx->compiler,
		.cache_dir = ctx->cache_dir,
		.engine = ctx->real->name,
	};

	return tc;
}

static bool ends_in_mkm(const char *path)
{
	size_t n = strlen(path);

	return n >= 4 && !strcmp(path + n - 4, ".mkm");
}

/* 1: *fd is the image of a compiled module; 0: it is a source; or a code. */
static int open_compiled(struct mk_ctx *ctx, const char *path, int *fd)
{
	int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc;
	struct stat st;

	if (file < 0)
		return mk_error_set(-errno, errno, "mk_module_load",
				    "%.400s: %s", path, mk_strerror(errno));
	if (fstat(file, &st) || !S_ISREG(st.st_mode) ||
	    !(ends_in_mkm(path) || mk_mkm_is(file))) {
		close(file);
		return 0;
	}
	rc = mk_mkm_read(file, ctx->real->name, NULL, path, fd);
	close(file);
	return rc ? rc : 1;
}

int mk_module_load(struct mk_ctx *ctx, const char *path, uint32_t flags,
		   uint32_t *id)
{
	struct mk_toolchain tc;
	int fd, rc = check_call(ctx, path, "path", flags);

	if (rc)
		return rc;
	rc = open_compiled(ctx, path, &fd);
	if (!rc) {
		/* no lock is held while the compiler runs */
		tc = toolchain(ctx);
		rc = mk_module_build(&tc, NULL, path, NULL, &fd);
	}
	return rc < 0 ? rc : install(ctx, fd, NULL, flags, id);
}

int mk_module_load_source(struct mk_ctx *ctx, const char *name,
			  const char *source, uint32_t flags, uint32_t *id)
{
	struct mk_toolchain tc;
	int fd, rc = check_call(ctx, source, "source", flags);

	if (rc)
		return rc;
	tc = toolchain(ctx);
	rc = mk_module_build(&tc, name, NULL, source, &fd);
	return rc ? rc : install(ctx, fd, NULL, flags, id);
}

int mk_module_load_static(struct mk_ctx *ctx,
			  const struct mk_module_table *table, uint32_t flags,
			  uint32_t *id)
{
	int rc = check_call(ctx, table, "table", flags);

	if (rc)
		return rc;
	if (ctx->isolation != MK_ISOLATION_NONE)
		return mk_error_set(-EOPNOTSUPP, 0, "mk_module_load_static",
				    "the worker process cannot call into this "
				    "program: use MK_ISOLATION_NONE, or load "
				    "the source");
	return install(ctx, -1, table, flags, id);
}

int mk_module_unload(struct mk_ctx *ctx, uint32_t id, uint64_t timeout_ns)
{
	struct mk_loaded **at, *m;
	int rc;

	if (!ctx)
		return mk_error_set(-EINVAL, 0, "mk_module_unload",
				    "ctx is NULL");
	pthread_mutex_lock(&ctx->lock);
	rc = mk_ctx_ready(ctx, "mk_module_unload");
	at = find_loaded(ctx, id);
	m = *at;
	if (!rc && !m)
		rc = mk_error_set(-ENOENT, 0, "mk_module_unload",
				  "no module has the id %u", id);
	if (!rc) {
		*at = m->next;
		for (unsigned i = 0; i < m->count; i++) {
			uint32_t opcode = m->map[i].opcode;

			mk_store_release(&ctx->opcode_args[opcode], 0);
			pthread_mutex_lock(&ctx->names_lock);
			memset(&ctx->handlers[opcode], 0,
			       sizeof(ctx->handlers[opcode]));
			pthread_mutex_unlock(&ctx->names_lock);
		}
		rc = ctx->ops->module_close(ctx->engine, id, timeout_ns);
		if (rc == -MK_EDEVLOST)
			rc = 0; /* what comes back does not load it */
		free_loaded(m);
	}
	pthread_mutex_unlock(&ctx->lock);
	return rc;
}

int mk_handler_find(struct mk_ctx *ctx, const char *name,
		    struct mk_handler_info *out)
{
	int at;

	if (!ctx || !name || !out)
		return mk_error_set(-EINVAL, 0, "mk_handler_find",
				    "%s is NULL", !ctx ? "ctx" : !name ?
				    "name" : "out");
	pthread_mutex_lock(&ctx->lock);
	at = find_name(ctx, name);
	if (at >= 0)
		*out = ctx->handlers[at];
	pthread_mutex_unlock(&ctx->lock);
	if (at < 0)
		return mk_error_set(-MK_ENOHANDLER, 0, "mk_handler_find",
				    "no loaded module has a handler named "
				    "\"%.100s\"; mk_handler_list() has all",
				    name);
	return 0;
}

int mk_handler_list(struct mk_ctx *ctx, struct mk_handler_info *out,
		    unsigned n)
{
	unsigned count = 0;

	if (!ctx || (n && !out))
		return mk_error_set(-EINVAL, 0, "mk_handler_list",
				    "%s is NULL", ctx ? "out" : "ctx");
	pthread_mutex_lock(&ctx->lock);
	for (unsigned i = 0; i < MK_OPCODES; i++) {
		if (!ctx->handlers[i].name[0])
			continue;
		if (count < n)
			out[count] = ctx->handlers[i];
		count++;
	}
	pthread_mutex_unlock(&ctx->lock);
	return (int)count;
}

/* ---- for the context -------------------------------------------------- */

static bool same_handlers(const struct loading *l)
{
	if (l->count != l->m->count)
		return false;
	for (unsigned i = 0; i < l->count; i++)
		if (strcmp(l->handlers[i].name, l->m->map[i].name) != 0)
			return false;
	return true;
}

static int reload(struct loading *l)
{
	int rc;

	l->more = l->m->next;
	rc = open_module(l);
	if (!rc && !same_handlers(l))
		rc = mk_error_set(-MK_EMODULE, 0, "mk_ctx_recover",
				  "module %u lists other handlers than it did "
				  "when it was loaded", l->m->id);
	return rc;
}

static int rebind(struct mk_ctx *ctx, const struct mk_loaded *m)
{
	return ctx->ops->module_bind(ctx->engine, m->id, m->map, m->count);
}

/*
 * All at once: an engine that compiles its modules together was never asked
 * for some of them, and has only the whole in its cache.
 */
int mk_module_reload_all(struct mk_ctx *ctx)
{
	struct loading *l;
	int rc = 0;

	if (!ctx->modules)
		return 0;
	l = calloc(1, sizeof(*l));
	if (!l)
		return mk_error_set(-ENOMEM, ENOMEM, "mk_ctx_recover",
				    "no memory to load the modules again");
	l->ctx = ctx;
	for (l->m = ctx->modules; l->m && !rc; l->m = l->m->next)
		rc = reload(l);
	for (const struct mk_loaded *m = ctx->modules; m && !rc; m = m->next)
		rc = rebind(ctx, m);
	free(l);
	return rc;
}

void mk_module_forget_all(struct mk_ctx *ctx)
{
	while (ctx->modules) {
		struct mk_loaded *m = ctx->modules;

		ctx->modules = m->next;
		free_loaded(m);
	}
}
