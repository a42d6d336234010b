/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of `map`: as sha256sum, as wc, or JSON. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/order.h"
#include "map_run.h"
#include "quote.h"

#define COLUMNS_MAX (MK_MAP_PAYLOAD_BYTES / 8u)
#define WC_WIDTH_UNKNOWN 7 /* where a size is not known beforehand */

static const char *const wc_names[3] = { "lines", "words", "bytes" };

/* Copy the state area of a record and check what a handler left there. */
static int result_of(struct map *m, const struct map_record *rec,
		     struct mk_map_state *out)
{
	size_t offset = (size_t)(rec - m->window) * MK_MAP_STATE_BYTES;

	m->results++;
	memcpy(out, m->state_memory + offset, sizeof(*out));
	if (out->kind > MK_MAP_TEXT || out->length > MK_MAP_PAYLOAD_BYTES ||
	    (out->kind == MK_MAP_COLUMNS && out->length % 8))
		return -EBADMSG;
	return 0;
}

static uint64_t column(const struct mk_map_state *s, uint32_t i)
{
	uint64_t value;

	memcpy(&value, s->payload + i * 8u, sizeof(value));
	return value;
}

static void put_hex(struct output *o, const unsigned char *bytes, uint32_t n)
{
	static const char digits[] = "0123456789abcdef";
	char text[2 * MK_MAP_PAYLOAD_BYTES];

	for (uint32_t i = 0; i < n; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	output_put(o, text, 2u * n);
}

/* A handler's text must not break the line. */
static void put_text(struct output *o, const unsigned char *bytes, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (bytes[i] < 0x20 || bytes[i] == 0x7f)
			output_format(o, "\\x%02x", bytes[i]);
		else
			output_put(o, &bytes[i], 1);
	}
}

/* ---- the three styles -------------------------------------------------- */

static void print_sum(struct map *m, const struct map_record *rec,
		      const struct mk_map_state *s, const char *path)
{
	struct output *o = &m->crew.out;

	if (quote_sum_needed(path))
		output_text(o, "\\");
	switch (s->kind) {
	case MK_MAP_HEX:
		put_hex(o, s->payload, s->length);
		break;
	case MK_MAP_TEXT:
		put_text(o, s->payload, s->length);
		break;
	case MK_MAP_COLUMNS:
		for (uint32_t i = 0; i < s->length / 8; i++)
			output_format(o, "%s%llu", i ? " " : "",
				      (unsigned long long)column(s, i));
		break;
	default:
		output_format(o, "%llu", (unsigned long long)rec->value);
	}
	output_text(o, "  ");
	quote_sum(o, path);
	output_text(o, "\n");
}

static void print_wc_columns(struct map *m, const uint64_t value[3])
{
	for (int i = 0; i < 3; i++)
		output_format(&m->crew.out, "%s%*llu", i ? " " : "",
			      m->wc_width, (unsigned long long)value[i]);
}

static void print_wc(struct map *m, const struct mk_map_state *s,
		     const char *path)
{
	uint64_t value[3] = { 0 };

	for (uint32_t i = 0; i < 3 && i < s->length / 8; i++) {
		value[i] = column(s, i);
		m->totals[i] += value[i];
	}
	print_wc_columns(m, value);
	output_text(&m->crew.out, " ");
	if (strchr(path, '\n'))
		quote_shell(&m->crew.out, path);
	else
		output_text(&m->crew.out, path);
	output_text(&m->crew.out, "\n");
}

static json_t *json_hex(const struct mk_map_state *s)
{
	char hex[2 * MK_MAP_PAYLOAD_BYTES + 1] = "";

	for (uint32_t i = 0; i < s->length; i++)
		snprintf(hex + 2 * i, 3, "%02x", s->payload[i]);
	return json_string(hex);
}

static json_t *json_result(struct map *m, const struct map_record *rec,
			   const struct mk_map_state *s)
{
	json_t *all;

	switch (s->kind) {
	case MK_MAP_HEX:
		return json_hex(s);
	case MK_MAP_TEXT: /* NULL if it is not UTF-8 */
		return json_stringn((const char *)s->payload, s->length);
	case MK_MAP_COLUMNS:
		all = m->opcode == MK_OP_COUNT ? json_object() : json_array();
		for (uint32_t i = 0; i < s->length / 8; i++) {
			json_t *value = cli_json_u64(column(s, i));

			if (json_is_array(all))
				json_array_append_new(all, value);
			else if (i < 3)
				json_object_set_new(all, wc_names[i], value);
			else
				json_decref(value);
		}
		return all;
	default:
		return cli_json_u64(rec->value);
	}
}

static void print_json(struct map *m, const struct map_record *rec,
		       const struct mk_map_state *s, const char *path, int code,
		       const char *why)
{
	json_t *line = json_object(), *result;

	crew_json_text(line, "path", path, strlen(path));
	json_object_set_new(line, "handler", json_string(m->name));
	if (code) {
		json_object_set_new(line, "error", json_string(why));
		json_object_set_new(line, "code",
				    json_string(mk_code_name(code)));
	} else {
		json_object_set_new(line, "bytes", cli_json_u64(rec->bytes));
		result = json_result(m, rec, s);
		if (result)
			json_object_set_new(line, "result", result);
		else
			json_object_set_new(line, "result_hex", json_hex(s));
	}
	crew_json(&m->crew, line);
}

/* ---- a record ---------------------------------------------------------- */

/* What went wrong with a record: a negated code, 0 if nothing. */
static int failure(struct map *m, const struct map_record *rec,
		   struct mk_map_state *s, char *why, size_t room)
{
	int code;

	if (rec->error) {
		snprintf(why, room, "%s", strerror(rec->error));
		if (rec->answered && !rec->code)
			result_of(m, rec, s);
		return -rec->error;
	}
	if (rec->code) {
		snprintf(why, room, "the handler '%s' ended with %s: %s",
			 m->name, mk_code_name(rec->code),
			 mk_strerror(rec->code));
		return rec->code;
	}
	code = result_of(m, rec, s);
	if (code)
		snprintf(why, room,
			 "the handler '%s' left no valid result "
			 "(see megakernel/map.h)",
			 m->name);
	return code;
}

void map_print(struct map *m, struct map_record *rec)
{
	struct mk_map_state s = { 0 };
	const char *path;
	char shown[512], why[256];
	int code;

	if (!crew_path(&m->crew, &rec->item, 1))
		return;
	path = m->crew.path;
	code = failure(m, rec, &s, why, sizeof(why));
	if (code) {
		cli_error("map", "%s: %s",
			  quote_message(path, shown, sizeof(shown)), why);
		mk_count(&m->crew.failed, 1);
	}
	if (m->style == MAP_STYLE_JSON)
		print_json(m, rec, &s, path, code, why);
	else if (!code && m->style == MAP_STYLE_SUM)
		print_sum(m, rec, &s, path);
	else if (!code ||
		 (rec->error && rec->answered && m->style == MAP_STYLE_WC))
		print_wc(m, &s, path); /* what was read is counted, as wc */
	mk_count(&m->crew.files, 1);
	mk_count(&m->crew.bytes, rec->bytes);
}

void map_print_end(struct map *m)
{
	if (m->style != MAP_STYLE_WC || !m->wc_total)
		return;
	print_wc_columns(m, m->totals);
	output_text(&m->crew.out, " total\n");
}

/* ---- columns of wc ----------------------------------------------------- */

static int stat_item(const struct walk_item *item, struct stat *st)
{
	if (!item->dir && !strcmp(item->name, "-"))
		return fstat(STDIN_FILENO, st) ? -errno : 0;
	return walk_stat(item, st);
}

int map_measure(struct map *m, char *const *paths, unsigned count)
{
	uint64_t files = 0, bytes = 0;
	struct walk_item item;
	struct walk walk;
	int width = 1, least = 1;
	int r = walk_init(&walk, paths, count);

	if (r < 0)
		return r;
	while ((r = walk_next(&walk, &item)) > 0) {
		struct stat st;

		/* a directory that cannot be read is no file */
		if (!item.error || !item.dir) {
			files++;
			if (stat_item(&item, &st))
				;
			else if (S_ISREG(st.st_mode))
				bytes += (uint64_t)st.st_size;
			else
				least = WC_WIDTH_UNKNOWN;
		}
		walk_release(&walk, &item);
	}
	walk_free(&walk);
	for (; bytes >= 10; bytes /= 10)
		width++;
	m->wc_width = width > least ? width : least;
	m->wc_total = files > 1;
	return r;
}
