/* SPDX-License-Identifier: Apache-2.0 */
#include "postmortem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_MAX 300u /* bytes of a string that are shown */

/* ---- values ------------------------------------------------------------ */

/* A string with nothing in it that a terminal would obey. */
static const char *shown(const json_t *value, char *out, size_t room)
{
	const char *text = json_string_value(value);
	size_t n = 0, most = room < SHOWN_MAX ? room : SHOWN_MAX;

	if (!text)
		text = "?";
	for (; *text && n + 1 < most; text++)
		out[n++] = *text >= 0x20 && *text < 0x7f ? *text : '?';
	out[n] = 0;
	return out;
}

static const char *text_at(const json_t *o, const char *key, char *out,
			   size_t room)
{
	return shown(json_object_get(o, key), out, room);
}

/* A number: one of JSON, or a string with one, because JSON's readers lose
 * the upper bits. */
static bool number_of(const json_t *v, uint64_t *out)
{
	const char *text = json_string_value(v);
	char *end;

	if (json_is_integer(v) && json_integer_value(v) >= 0) {
		*out = (uint64_t)json_integer_value(v);
		return true;
	}
	if (!text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	*out = strtoull(text, &end, text[1] == 'x' ? 16 : 10);
	return !errno && !*end;
}

static uint64_t number_at(const json_t *o, const char *key)
{
	uint64_t n = 0;

	return number_of(json_object_get(o, key), &n) ? n : 0;
}

static int64_t signed_at(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static bool text_is(const json_t *o, const char *key, const char *text)
{
	const char *value = json_string_value(json_object_get(o, key));

	return value && !strcmp(value, text);
}

/* ---- checking ---------------------------------------------------------- */

enum type { TEXT, NUMBER, SIGNED, OBJECT, ARRAY };

struct field {
	const char *name;
	enum type type;
	bool may_lack;
};

static const struct field whole[] = {
	{ "library", TEXT, false },      { "abi", NUMBER, false },
	{ "number", NUMBER, false },     { "time", TEXT, false },
	{ "monotonic_ns", NUMBER, false }, { "cause", TEXT, false },
	{ "reason", OBJECT, false },     { "context", OBJECT, false },
	{ "workers", ARRAY, false },     { "queue_count", NUMBER, false },
	{ "queues", ARRAY, false },      { NULL, TEXT, false },
};

static const struct field reason[] = {
	{ "code", TEXT, false }, { "native", SIGNED, false },
	{ "text", TEXT, false }, { NULL, TEXT, false },
};

static const struct field context[] = {
	{ "engine", TEXT, false },       { "device", TEXT, false },
	{ "isolation", TEXT, false },    { "worker_pid", SIGNED, false },
	{ "recovery", TEXT, false },     { "launches", NUMBER, false },
	{ "losses", NUMBER, false },     { "restarts", NUMBER, false },
	{ "hang_ns", NUMBER, false },    { "grace_ns", NUMBER, false },
	{ NULL, TEXT, false },
};

static const struct field worker[] = {
	{ "worker", NUMBER, false },    { "phase", TEXT, false },
	{ "slot", OBJECT, true },       { "fault", OBJECT, true },
	{ "slots", NUMBER, false },     { "failed", NUMBER, false },
	{ "cancelled", NUMBER, false }, { "sleeps", NUMBER, false },
	{ NULL, TEXT, false },
};

static const struct field slot[] = {
	{ "queue", NUMBER, false },     { "ticket", NUMBER, false },
	{ "opcode", NUMBER, false },    { "handler", TEXT, false },
	{ "user_data", NUMBER, false }, { "flags", NUMBER, false },
	{ "args", ARRAY, false },       { "running_ns", NUMBER, false },
	{ "deadline_ns", NUMBER, true }, { NULL, TEXT, false },
};

static const struct field fault[] = {
	{ "signal", NUMBER, false }, { "name", TEXT, false },
	{ "code", SIGNED, false },   { "address", NUMBER, false },
	{ NULL, TEXT, false },
};

static const struct field queue[] = {
	{ "queue", NUMBER, false },   { "entries", NUMBER, false },
	{ "priority", NUMBER, false }, { "mode", NUMBER, false },
	{ "head", NUMBER, false },    { "tail", NUMBER, false },
	{ "claim", NUMBER, false },   { "unanswered", NUMBER, false },
	{ "log", ARRAY, false },      { NULL, TEXT, false },
};

static const struct field record[] = {
	{ "ticket", NUMBER, false }, { "worker", NUMBER, false },
	{ "format", NUMBER, false }, { "args", ARRAY, false },
	{ NULL, TEXT, false },
};

static bool has_type(const json_t *v, enum type type)
{
	uint64_t n;

	switch (type) {
	case TEXT:
		return json_is_string(v);
	case NUMBER:
		return number_of(v, &n);
	case SIGNED:
		return json_is_integer(v);
	case OBJECT:
		return json_is_object(v);
	default:
		return json_is_array(v);
	}
}

struct complaint {
	char *text;
	size_t room;
};

/* Has the object all its fields, of their types? `at` says where it is. */
static bool check(const json_t *o, const struct field *f, const char *at,
		  const struct complaint *c)
{
	if (!json_is_object(o)) {
		snprintf(c->text, c->room, "%s is no object", at);
		return false;
	}
	for (; f->name; f++) {
		const json_t *v = json_object_get(o, f->name);

		if (v ? has_type(v, f->type) : f->may_lack)
			continue;
		snprintf(c->text, c->room, "%s of %s is %s", f->name, at,
			 v ? "of another type" : "missing");
		return false;
	}
	return true;
}

static bool check_numbers(const json_t *array, const char *at,
			  const struct complaint *c)
{
	const json_t *v;
	uint64_t n;
	size_t i;

	json_array_foreach(array, i, v) {
		if (number_of(v, &n))
			continue;
		snprintf(c->text, c->room, "entry %zu of %s is no number", i,
			 at);
		return false;
	}
	return true;
}

static bool check_worker(const json_t *w, const struct complaint *c)
{
	const json_t *s, *f;

	if (!check(w, worker, "a worker", c))
		return false;
	s = json_object_get(w, "slot");
	f = json_object_get(w, "fault");
	if (f && !check(f, fault, "a worker's fault", c))
		return false;
	return !s || (check(s, slot, "a worker's slot", c) &&
		      check_numbers(json_object_get(s, "args"),
				    "a slot's args", c));
}

static bool check_queue(const json_t *q, const struct complaint *c)
{
	const json_t *r;
	size_t i;

	if (!check(q, queue, "a queue", c))
		return false;
	json_array_foreach(json_object_get(q, "log"), i, r) {
		if (!check(r, record, "a log record", c) ||
		    !check_numbers(json_object_get(r, "args"),
				   "a log record's args", c))
			return false;
	}
	return true;
}

static bool check_all(const json_t *o, const struct complaint *c)
{
	const json_t *v;
	size_t i;

	if (!check(o, whole, "the record", c) ||
	    !check(json_object_get(o, "reason"), reason, "the reason", c) ||
	    !check(json_object_get(o, "context"), context, "the context", c))
		return false;
	json_array_foreach(json_object_get(o, "workers"), i, v) {
		if (!check_worker(v, c))
			return false;
	}
	json_array_foreach(json_object_get(o, "queues"), i, v) {
		if (!check_queue(v, c))
			return false;
	}
	return true;
}

json_t *postmortem_read(const char *data, size_t size, char *why, size_t room)
{
	const struct complaint c = { why, room };
	char text[SHOWN_MAX];
	json_error_t e;
	json_t *o = json_loadb(data, size, JSON_REJECT_DUPLICATES, &e);
	const json_t *version;

	if (!o) {
		e.text[JSON_ERROR_TEXT_LENGTH - 1] = 0;
		for (char *p = e.text; *p; p++)
			if (*p < 0x20 || *p > 0x7e)
				*p = '?';
		snprintf(why, room, "no JSON: line %d: %s", e.line, e.text);
		return NULL;
	}
	version = json_object_get(o, "version");
	if (!text_is(o, "format", "megakernel evidence"))
		snprintf(why, room, "not a record of evidence: format is "
			 "\"%s\"", text_at(o, "format", text, sizeof(text)));
	else if (!json_is_integer(version) || json_integer_value(version) < 1)
		snprintf(why, room, "its version is no number from 1 on");
	else if (json_integer_value(version) > POSTMORTEM_VERSION)
		snprintf(why, room, "it is of version %" JSON_INTEGER_FORMAT
			 ", this program reads %d", json_integer_value(version),
			 POSTMORTEM_VERSION);
	else if (check_all(o, &c))
		return o;
	json_decref(o);
	return NULL;
}

/* ---- printing ---------------------------------------------------------- */

static void print_time(FILE *out, uint64_t ns)
{
	if (ns < 1000000)
		fprintf(out, "%.1f us", (double)ns / 1e3);
	else if (ns < 1000000000)
		fprintf(out, "%.1f ms", (double)ns / 1e6);
	else
		fprintf(out, "%.3f s", (double)ns / 1e9);
}

/* The worker that the loss is most likely about: one that crashed, else the
 * one that has been running longest. */
static const json_t *suspect(const json_t *o)
{
	const json_t *w, *longest = NULL;
	uint64_t most = 0;
	size_t i;

	json_array_foreach(json_object_get(o, "workers"), i, w) {
		const json_t *s = json_object_get(w, "slot");

		if (json_object_get(w, "fault"))
			return w;
		if (!s || !text_is(w, "phase", "running"))
			continue;
		if (!longest || number_at(s, "running_ns") > most) {
			longest = w;
			most = number_at(s, "running_ns");
		}
	}
	return longest;
}

static void print_args(FILE *out, const json_t *args, const char *indent)
{
	const json_t *v;
	size_t i;

	json_array_foreach(args, i, v) {
		uint64_t n = 0;

		number_of(v, &n);
		if (i % 6 == 0)
			fprintf(out, "%s%s", i ? "\n" : "", indent);
		fprintf(out, "%08" PRIx64 "%s", n, i % 6 < 5 ? " " : "");
	}
	fputc('\n', out);
}

static void print_fault(FILE *out, const json_t *f)
{
	char name[SHOWN_MAX];

	fprintf(out, "    %s (signal %" PRIu64 ", code %" PRId64
		") at address 0x%" PRIx64 "\n",
		text_at(f, "name", name, sizeof(name)),
		number_at(f, "signal"), signed_at(f, "code"),
		number_at(f, "address"));
}

static void print_slot(FILE *out, const json_t *o, const json_t *s)
{
	uint64_t deadline = number_at(s, "deadline_ns");
	uint64_t now = number_at(o, "monotonic_ns");
	char name[SHOWN_MAX];

	fprintf(out, "    handler %s (opcode %" PRIu64 "), ticket %" PRIu64
		" of queue %" PRIu64,
		text_at(s, "handler", name, sizeof(name)),
		number_at(s, "opcode"), number_at(s, "ticket"),
		number_at(s, "queue"));
	if (number_at(s, "running_ns")) {
		fprintf(out, ", for ");
		print_time(out, number_at(s, "running_ns"));
	}
	fprintf(out, "\n    user_data 0x%" PRIx64 ", flags 0x%" PRIx64,
		number_at(s, "user_data"), number_at(s, "flags"));
	if (deadline) {
		fprintf(out, ", deadline ");
		print_time(out, deadline > now ? deadline - now :
						 now - deadline);
		fprintf(out, deadline > now ? " ahead" : " ago");
	}
	fprintf(out, "\n    arguments, 32-bit words\n");
	print_args(out, json_object_get(s, "args"), "      ");
}

static void print_worker(FILE *out, const json_t *o, const json_t *w,
			 const json_t *first)
{
	const json_t *s = json_object_get(w, "slot");
	const json_t *f = json_object_get(w, "fault");
	char phase[SHOWN_MAX];

	fprintf(out, "  %s worker %" PRIu64 ": %s; %" PRIu64
		" slots before, %" PRIu64 " failed, %" PRIu64 " cancelled, %"
		PRIu64 " sleeps\n", w == first ? ">" : " ",
		number_at(w, "worker"),
		text_at(w, "phase", phase, sizeof(phase)),
		number_at(w, "slots"), number_at(w, "failed"),
		number_at(w, "cancelled"), number_at(w, "sleeps"));
	if (f)
		print_fault(out, f);
	if (s)
		print_slot(out, o, s);
}

static void print_queue(FILE *out, const json_t *q)
{
	const json_t *r;
	size_t i;

	fprintf(out, "    queue %" PRIu64 ": %" PRIu64 " entries, priority %"
		PRIu64 ", mode %" PRIu64 "; tickets from %" PRIu64
		", claimed to %" PRIu64 ", submitted to %" PRIu64 ", %" PRIu64
		" without an answer\n",
		number_at(q, "queue"), number_at(q, "entries"),
		number_at(q, "priority"), number_at(q, "mode"),
		number_at(q, "head"), number_at(q, "claim"),
		number_at(q, "tail"), number_at(q, "unanswered"));
	json_array_foreach(json_object_get(q, "log"), i, r) {
		fprintf(out, "      log: ticket %" PRIu64 ", worker %" PRIu64
			", format %" PRIu64 ":", number_at(r, "ticket"),
			number_at(r, "worker"), number_at(r, "format"));
		print_args(out, json_object_get(r, "args"), " ");
	}
}

static void print_context(FILE *out, const json_t *o)
{
	const json_t *c = json_object_get(o, "context");
	char a[SHOWN_MAX], b[SHOWN_MAX], d[SHOWN_MAX];

	fprintf(out, "  engine %s on %s, isolation %s, worker process %" PRId64
		"\n", text_at(c, "engine", a, sizeof(a)),
		text_at(c, "device", b, sizeof(b)),
		text_at(c, "isolation", d, sizeof(d)),
		signed_at(c, "worker_pid"));
	fprintf(out, "  recovery %s; %" PRIu64 " losses, %" PRIu64
		" restarts, %" PRIu64 " launches; hung after ",
		text_at(c, "recovery", a, sizeof(a)), number_at(c, "losses"),
		number_at(c, "restarts"), number_at(c, "launches"));
	print_time(out, number_at(c, "hang_ns"));
	fprintf(out, " and ");
	print_time(out, number_at(c, "grace_ns"));
	fputc('\n', out);
}

void postmortem_print(const json_t *o, FILE *out)
{
	const json_t *why = json_object_get(o, "reason"), *v;
	const json_t *first = suspect(o);
	char a[SHOWN_MAX], b[SHOWN_MAX], c[SHOWN_MAX];
	uint64_t all = number_at(o, "queue_count");
	size_t i, queues = json_array_size(json_object_get(o, "queues"));

	fprintf(out, "%s, %s: %s\n", text_at(o, "time", a, sizeof(a)),
		text_at(o, "cause", b, sizeof(b)),
		text_at(why, "text", c, sizeof(c)));
	fprintf(out, "  %s, native code %" PRId64 "; loss %" PRIu64
		" of its context; megakernel %s, ABI %" PRIu64 "\n",
		text_at(why, "code", a, sizeof(a)), signed_at(why, "native"),
		number_at(o, "number"), text_at(o, "library", b, sizeof(b)),
		number_at(o, "abi"));
	print_context(out, o);
	fprintf(out, "workers%s\n", first ? " (>: what it is most likely "
		"about)" : "");
	json_array_foreach(json_object_get(o, "workers"), i, v)
		print_worker(out, o, v, first);
	fprintf(out, "queues\n");
	json_array_foreach(json_object_get(o, "queues"), i, v)
		print_queue(out, v);
	if (all > queues)
		fprintf(out, "    and %" PRIu64 " more\n", all - queues);
}
