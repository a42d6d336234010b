/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of `scan`: as grep -b -o -H, or JSON. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/order.h"
#include "quote.h"
#include "scan_run.h"

/* The name as grep tells it, in s->crew.path. False without memory. */
static bool find_path(struct scan *s, const struct scan_file *f)
{
	static const char standard[] = "(standard input)";

	if (!crew_path(&s->crew, &f->item, sizeof(standard)))
		return false;
	if (!f->item.dir && !strcmp(s->crew.path, "-"))
		memcpy(s->crew.path, standard, sizeof(standard));
	s->path_bytes = strlen(s->crew.path);
	return true;
}

static void put_number(struct output *o, uint64_t n)
{
	char text[20];
	unsigned at = sizeof(text);

	do
		text[--at] = (char)('0' + n % 10);
	while (n /= 10);
	output_put(o, text + at, sizeof(text) - at);
}

/* ---- JSON --------------------------------------------------------------- */

static json_t *json_line(struct scan *s)
{
	json_t *line = json_object();

	crew_json_text(line, "path", s->crew.path, s->path_bytes);
	return line;
}

/* ---- matches ------------------------------------------------------------ */

static void print_match(struct scan *s, uint64_t offset,
			const unsigned char *text, uint32_t bytes)
{
	struct output *o = &s->crew.out;
	json_t *line;

	if (s->settings->json) {
		line = json_line(s);
		json_object_set_new(line, "offset", cli_json_u64(offset));
		json_object_set_new(line, "length", cli_json_u64(bytes));
		crew_json_text(line, "text", text, bytes);
		crew_json(&s->crew, line);
		return;
	}
	if (!s->settings->bare) {
		output_put(o, s->crew.path, s->path_bytes);
		output_put(o, ":", 1);
	}
	put_number(o, offset);
	output_put(o, ":", 1);
	output_put(o, text, bytes);
	output_put(o, "\n", 1);
}

static void tell_binary(struct scan *s, struct scan_file *f)
{
	char shown[512];
	json_t *line;

	mk_store_relaxed(&f->enough, 1);
	if (s->settings->skip)
		return;
	f->matches++;
	if (s->settings->json) {
		line = json_line(s);
		json_object_set_new(line, "binary", json_true());
		crew_json(&s->crew, line);
		return;
	}
	output_flush(&s->crew.out); /* where both streams are one file */
	cli_error("scan", "%s: binary file matches",
		  quote_message(s->crew.path, shown, sizeof(shown)));
}

/* From which block on a file is binary: that of its first NUL. */
static void see_nul(struct scan_file *f, uint64_t at)
{
	if (f->binary)
		return;
	f->binary = true;
	f->binary_from = at / SCAN_BLOCK * SCAN_BLOCK;
}

/* Does the line of this match end where the file is binary? */
static bool match_is_binary(const struct scan *s, const struct scan_file *f,
			    const struct scan_chunk *c,
			    const struct scan_piece *p,
			    const struct mk_scan_match *m)
{
	const unsigned char *end;
	uint32_t to = p->at + p->bytes, from = m->at + m->bytes;

	if (!s->settings->text && s->settings->compile.utf8 &&
	    !scan_is_utf8(c->text + m->at, m->bytes))
		return true;
	if (!f->binary || !f->binary_from)
		return f->binary;
	end = from < to ? memchr(c->text + from, '\n', to - from) : NULL;
	if (end)
		to = (uint32_t)(end - c->text);
	return p->offset + (to - p->at) >= f->binary_from;
}

static void take_match(struct scan *s, struct scan_file *f,
		       const struct scan_chunk *c, const struct scan_piece *p,
		       const struct mk_scan_match *m)
{
	bool binary = (s->settings->skip ||
		       s->settings->style == SCAN_STYLE_MATCH) &&
		      match_is_binary(s, f, c, p, m);

	if (binary) {
		tell_binary(s, f);
		return;
	}
	switch (s->settings->style) {
	case SCAN_STYLE_MATCH:
		f->lines++;
		if (!m->bytes)
			return; /* grep -o prints no empty match */
		print_match(s, p->offset + (m->at - p->at), c->text + m->at,
			    m->bytes);
		break;
	case SCAN_STYLE_COUNT:
		f->lines++;
		break;
	case SCAN_STYLE_FILES:
		mk_store_relaxed(&f->enough, 1);
		break;
	case SCAN_STYLE_QUIET:
		s->selected = true;
		crew_stop(&s->crew, 0, "a match was found");
		break;
	}
	f->matches++;
}

/* NUL in a piece, in whose chunk there is one. */
static void look_for_nul(struct scan_file *f, const struct scan_chunk *c,
			 const struct scan_piece *p)
{
	const unsigned char *nul;

	if (f->binary)
		return;
	nul = c->nul == UINT32_MAX ? NULL :
				     memchr(c->text + p->at, 0, p->bytes);
	if (nul)
		see_nul(f, p->offset + (uint64_t)(nul - (c->text + p->at)));
	else if (p->nul_left)
		see_nul(f, p->nul_at);
}

int scan_print_piece(struct scan *s, struct scan_file *f,
		     struct scan_chunk *c, struct scan_piece *p)
{
	bool last = p + 1 == &c->piece[c->pieces];
	uint32_t limit = last ? c->bytes + 1 : p[1].at, end = p->at;
	const struct mk_scan_match *list = (const void *)(c->result + 1);

	if (c->code && !f->error) {
		f->error = c->code;
		mk_store_relaxed(&f->enough, 1);
	}
	if (!s->settings->text)
		look_for_nul(f, c, p);
	if (s->settings->skip && f->binary && p->offset >= f->binary_from)
		mk_store_relaxed(&f->enough, 1);
	if (c->used < c->matches && !f->matches && !find_path(s, f))
		return 1;
	for (; c->used < c->matches; c->used++) {
		struct mk_scan_match m = list[c->used];

		if (m.at >= limit)
			break;
		if (m.at < end || m.at > c->bytes ||
		    m.bytes > c->bytes - m.at) {
			crew_stop(&s->crew, -EBADMSG,
				  "the engine's answer makes no sense");
			return 1;
		}
		end = m.at + m.bytes;
		if (!f->enough)
			take_match(s, f, c, p, &m);
		if (crew_stopped(&s->crew))
			return 1;
	}
	if (c->used < c->matches || c->next >= c->bytes)
		goto done;
	if (f->enough && c->next < limit)
		c->next = limit < c->bytes ? limit : c->bytes;
	if (c->next < limit && c->next < c->bytes)
		return 0;
done:
	mk_add_relaxed(&s->crew.bytes, p->bytes);
	return 1;
}

/* ---- the end of a file -------------------------------------------------- */

static void print_error(struct scan *s, struct scan_file *f)
{
	char shown[512], why[160];
	json_t *line;

	if (f->error == -MK_EDEVLOST)
		return;
	if (f->error == EFBIG && !f->item.error)
		snprintf(why, sizeof(why),
			 "the line at byte %llu is longer than %u MiB or than "
			 "shared memory has room for: not searched further",
			 (unsigned long long)f->long_line,
			 SCAN_LINE_MAX >> 20);
	else if (f->error == SCAN_IS_OUTPUT)
		snprintf(why, sizeof(why), "is also the output: skipped");
	else if (f->error < 0)
		snprintf(why, sizeof(why), "not searched: %s: %s",
			 mk_code_name(f->error), mk_strerror(f->error));
	else
		snprintf(why, sizeof(why), "%s", strerror(f->error));
	mk_add_relaxed(&s->crew.failed, 1);
	if (s->settings->json) {
		line = json_line(s);
		json_object_set_new(line, "error", json_string(why));
		if (f->error != SCAN_IS_OUTPUT)
			json_object_set_new(line, "code", json_string(
				mk_code_name(f->error)));
		crew_json(&s->crew, line);
	}
	if (s->settings->quiet_errors && f->error > 0)
		return;
	cli_error("scan", "%s: %s",
		  quote_message(s->crew.path, shown, sizeof(shown)), why);
}

void scan_print_end(struct scan *s, struct scan_file *f)
{
	enum scan_style style = s->settings->style;
	json_t *line;

	mk_add_relaxed(&s->crew.files, 1);
	/* as for grep: what was printed before the block with the NUL was no
	 * match, but -l and -q were content with it */
	if (s->settings->skip && f->binary && style <= SCAN_STYLE_COUNT)
		f->lines = f->matches = 0;
	s->matched += f->matches != 0;
	s->selected |= f->matches || f->lines;
	s->matches += f->matches;
	if (!f->error && style != SCAN_STYLE_COUNT &&
	    (style != SCAN_STYLE_FILES || !f->matches))
		return;
	if (!find_path(s, f))
		return;
	if (f->error)
		print_error(s, f);
	if (style == SCAN_STYLE_COUNT && (!f->error || f->lines)) {
		line = s->settings->json ? json_line(s) : NULL;
		if (line) {
			json_object_set_new(line, "lines",
					    cli_json_u64(f->lines));
			crew_json(&s->crew, line);
			return;
		}
		if (!s->settings->bare) {
			output_put(&s->crew.out, s->crew.path, s->path_bytes);
			output_put(&s->crew.out, ":", 1);
		}
		put_number(&s->crew.out, f->lines);
		output_put(&s->crew.out, "\n", 1);
	} else if (style == SCAN_STYLE_FILES && f->matches) {
		if (s->settings->json) {
			crew_json(&s->crew, json_line(s));
			return;
		}
		output_put(&s->crew.out, s->crew.path, s->path_bytes);
		output_put(&s->crew.out, "\n", 1);
	}
}
