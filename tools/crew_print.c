/* SPDX-License-Identifier: Apache-2.0 */
/* Paths, JSON and counts, as `map` and `scan` print them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crew.h"

bool crew_path(struct crew *c, const struct walk_item *item, size_t least)
{
	size_t need = walk_path(item, c->path, c->path_room) + 1;

	if (need < least)
		need = least;
	if (need > c->path_room) {
		char *path = realloc(c->path, 2 * need);

		if (!path) {
			crew_stop(c, -ENOMEM, "no memory for a path");
			return false;
		}
		c->path = path;
		c->path_room = 2 * need;
		walk_path(item, path, c->path_room);
	}
	return true;
}

static int put_json(const char *text, size_t bytes, void *out)
{
	output_put(out, text, bytes);
	return 0;
}

void crew_json(struct crew *c, json_t *line)
{
	if (!line || json_dump_callback(line, put_json, &c->out,
					JSON_COMPACT | JSON_PRESERVE_ORDER))
		crew_stop(c, -ENOMEM, "JSON: no memory");
	json_decref(line);
	output_text(&c->out, "\n");
}

void crew_json_text(json_t *line, const char *name, const void *text,
		    size_t bytes)
{
	json_t *value = json_stringn(text, bytes);
	const unsigned char *at = text;
	char other[16], *hex;

	if (value) {
		json_object_set_new(line, name, value);
		return;
	}
	hex = malloc(2 * bytes + 1);
	if (!hex)
		return;
	for (size_t i = 0; i < bytes; i++)
		snprintf(hex + 2 * i, 3, "%02x", at[i]);
	snprintf(other, sizeof(other), "%s_hex", name);
	json_object_set_new(line, other, json_string(hex));
	free(hex);
}

void crew_row(const char *name, uint64_t value, const char *unit)
{
	fprintf(stderr, "  %-27s %20llu%s%s\n", name, (unsigned long long)value,
		*unit ? " " : "", unit);
}

bool crew_counts(struct crew *c, struct mk_queue_stats *queue,
		 struct mk_ctx_stats *engine)
{
	if (mk_queue_stats(c->queue, queue) >= 0 &&
	    mk_ctx_stats(c->ctx, engine) >= 0)
		return true;
	cli_error(c->ops->name, "no statistics: %s", mk_error_last()->text);
	return false;
}

void crew_print_counts(const struct mk_queue_stats *queue,
		       const struct mk_ctx_stats *engine)
{
	fprintf(stderr, "queue\n");
	crew_row("submitted", queue->submitted, "slots");
	crew_row("ok", queue->ok, "slots");
	crew_row("failed", queue->failed, "slots");
	crew_row("full", queue->full, "times");
	crew_row("doorbells", queue->doorbells, "system calls");
	crew_row("waits", queue->waits, "times");
	crew_row("in_flight_high", queue->in_flight_high, "slots");
	fprintf(stderr, "engine\n");
	crew_row("launches", engine->launches, "");
	crew_row("slots", engine->slots, "");
	crew_row("sleeps", engine->sleeps, "times");
	crew_row("wakes", engine->wakes, "by the host");
	crew_row("wakes_engine", engine->wakes_engine, "by workers");
	crew_row("commands", engine->commands, "messages");
	crew_row("losses", engine->losses, "of the device");
	crew_row("replayed", engine->replayed, "slots");
}
