/* SPDX-License-Identifier: Apache-2.0 */
/* What `map` needs before the first file: context, handler, queue, buffers. */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "map_run.h"

#define STATE_BYTES ((uint64_t)MAP_WINDOW * MK_MAP_STATE_BYTES)
#define SHARED_SPARE (16u << 20) /* queue, context block, and what splits */
#define HANDLERS_SHOWN 8u

/* "FILE:NAME" or "FILE", FILE with the ending of a source or module file.
 * Returns the length of FILE, 0 if text is the name of a handler. */
static size_t file_part(const char *text, const char **name)
{
	const char *colon = strrchr(text, ':');
	size_t length = strlen(text);

	*name = NULL;
	for (int i = 0; i < 2; i++) {
		if (length > 2 && !strncmp(text + length - 2, ".c", 2))
			return length;
		if (length > 4 && !strncmp(text + length - 4, ".mkm", 4))
			return length;
		if (!colon)
			return 0;
		length = (size_t)(colon - text);
		*name = colon + 1;
	}
	return 0;
}

static int check_handler(struct map *m, const struct mk_handler_info *h)
{
	if (h->arg_bytes != sizeof(struct mk_map_args)) {
		cli_error("map",
			  "the handler '%s' takes %u bytes of "
			  "arguments, must be %zu: struct mk_map_args of "
			  "megakernel/map.h",
			  h->name, h->arg_bytes, sizeof(struct mk_map_args));
		return -1;
	}
	m->opcode = h->opcode;
	memcpy(m->name, h->name, sizeof(m->name));
	return 0;
}

/* The handlers of a module that map can run: how many, the last in *out, all
 * names in text. */
static unsigned module_handlers(struct map *m, uint32_t module,
				struct mk_handler_info *out, char *text,
				size_t room)
{
	struct mk_handler_info all[MK_OPCODES];
	int n = mk_handler_list(m->crew.ctx, all, MK_OPCODES);
	unsigned found = 0;
	size_t used = 0;

	*text = 0;
	for (int i = 0; i < n && i < (int)MK_OPCODES; i++) {
		if (all[i].module != module ||
		    all[i].arg_bytes != sizeof(struct mk_map_args))
			continue;
		*out = all[i];
		if (found++ < HANDLERS_SHOWN && used < room)
			used += (size_t)snprintf(text + used, room - used,
						 "%s%s", found > 1 ? ", " : "",
						 all[i].name);
	}
	return found;
}

static int load_handler(struct map *m, const char *spec, size_t length,
			const char *name)
{
	char *path = strndup(spec, length);
	struct mk_handler_info h;
	char names[512];
	uint32_t module;
	unsigned found;
	int r = path ? mk_module_load(m->crew.ctx, path, 0, &module) : -ENOMEM;

	free(path);
	if (r < 0)
		return cli_library_error("map", spec, r), -1;
	if (name) {
		r = mk_handler_find(m->crew.ctx, name, &h);
		if (r >= 0 && h.module == module)
			return check_handler(m, &h);
		cli_error("map", "%s: the file has no handler '%s'", spec,
			  name);
		return -1;
	}
	found = module_handlers(m, module, &h, names, sizeof(names));
	if (found == 1)
		return check_handler(m, &h);
	if (found)
		cli_error("map",
			  "%s: the file has several handlers, say "
			  "which by FILE:NAME: %s",
			  spec, names);
	else
		cli_error("map",
			  "%s: the file has no handler that takes "
			  "struct mk_map_args of megakernel/map.h",
			  spec);
	return -1;
}

static int find_handler(struct map *m, const char *spec)
{
	struct mk_handler_info h;
	const char *name;
	size_t length = file_part(spec, &name);

	if (length)
		return load_handler(m, spec, length, name);
	if (mk_handler_find(m->crew.ctx, spec, &h) >= 0)
		return check_handler(m, &h);
	cli_error("map",
		  "there is no handler '%s'; built in are sha256, "
		  "count and crc32c; a source file of your own has to end in "
		  ".c",
		  spec);
	return -1;
}

static int open_memory(struct map *m)
{
	void *memory = NULL;
	int r = map_buffer_create(m, STATE_BYTES, 0, &m->states);

	if (r >= 0)
		r = map_pool_open(m);
	if (r >= 0)
		r = mk_buffer_map(m->crew.ctx, m->states, &memory);
	m->states_away = r == -EOPNOTSUPP;
	if (m->states_away) {
		memory = malloc(STATE_BYTES);
		r = memory ? 0 : -ENOMEM;
	}
	m->state_memory = memory;
	m->window = calloc(MAP_WINDOW, sizeof(*m->window));
	if (r >= 0 && !m->window)
		r = -ENOMEM;
	if (r < 0)
		return cli_library_error("map", "set-up", r), -1;
	return 0;
}

/* What `count` is told of the locale; nothing else here depends on it. As in
 * wc, one category of a locale that does not exist makes it the C locale. */
static uint32_t text_flags(void)
{
	locale_t locale = newlocale(LC_ALL_MASK, "", (locale_t)0);
	uint32_t flags = 0;

	if (locale) {
		if (!strcmp(nl_langinfo_l(CODESET, locale), "UTF-8"))
			flags |= MK_MAP_UTF8;
		freelocale(locale);
	}
	if (getenv("POSIXLY_CORRECT"))
		flags |= MK_MAP_POSIX;
	return flags;
}

static struct walk_item *place(struct crew *c, uint64_t sequence)
{
	struct map_record *rec = map_record(map_of(c), sequence);

	memset(rec, 0, sizeof(*rec));
	return &rec->item;
}

static const struct crew_ops ops = {
	.name = "map",
	.window = MAP_WINDOW,
	.place = place,
	.land = map_land,
	.print = map_print_ready,
	.work = map_work,
};

int map_open(struct map *m, const struct map_options *options,
	     char *const *paths, unsigned count)
{
	memset(m, 0, sizeof(*m));
	crew_init(&m->crew, &ops, options->readers);
	m->options = options;
	pthread_mutex_init(&m->pool.lock, NULL);
	if (crew_connect(&m->crew, &options->engine,
			 map_pool_bytes(options->readers) + SHARED_SPARE) ||
	    find_handler(m, options->handler) || open_memory(m))
		return -1;
	m->style = options->json	      ? MAP_STYLE_JSON
		   : m->opcode == MK_OP_COUNT ? MAP_STYLE_WC
					      : MAP_STYLE_SUM;
	if (m->opcode == MK_OP_COUNT)
		m->text = text_flags();
	if (m->style == MAP_STYLE_WC && map_measure(m, paths, count) < 0) {
		cli_error("map", "no memory to walk the directories");
		return -1;
	}
	return crew_walk(&m->crew, paths, count);
}

void map_close(struct map *m)
{
	struct crew *c = &m->crew;

	crew_disconnect(c);
	if (m->window)
		for (uint64_t i = c->head; i != c->tail; i++)
			walk_release(&c->walk, &map_record(m, i)->item);
	crew_close(c);
	if (m->states_away)
		free(m->state_memory);
	free(m->window);
	map_pool_close(m);
	pthread_mutex_destroy(&m->pool.lock);
}
