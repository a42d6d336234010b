/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "quote.h"

bool quote_sum_needed(const char *name)
{
	return name[strcspn(name, "\\\n\r")] != 0;
}

void quote_sum(struct output *o, const char *name)
{
	for (;;) {
		size_t plain = strcspn(name, "\\\n\r");

		output_put(o, name, plain);
		name += plain;
		if (!*name)
			return;
		output_text(o, *name == '\n'   ? "\\n"
			       : *name == '\r' ? "\\r"
					       : "\\\\");
		name++;
	}
}

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f;
}

/* One byte inside $'...'; returns its length. */
static unsigned escape(unsigned char c, char out[5])
{
	static const char letters[] = "abtnvfr"; /* of 7..13 */

	if (c >= 7 && c <= 13)
		return (unsigned)snprintf(out, 5, "\\%c", letters[c - 7]);
	return (unsigned)snprintf(out, 5, "\\%03o", c);
}

/* Calls put for every piece of the quoted name. */
static void quote_pieces(const char *name,
			 void (*put)(void *to, const char *text, size_t n),
			 void *to)
{
	bool dollar = false;
	char piece[5];

	put(to, "'", 1);
	for (; *name; name++) {
		unsigned char c = (unsigned char)*name;

		if (c == '\'') {
			put(to, "'\\''", 4);
			dollar = false;
		} else if (!is_plain(c)) {
			if (!dollar)
				put(to, "'$'", 3);
			dollar = true;
			put(to, piece, escape(c, piece));
		} else {
			if (dollar)
				put(to, "''", 2);
			dollar = false;
			put(to, name, 1);
		}
	}
	put(to, "'", 1);
}

static void put_output(void *to, const char *text, size_t n)
{
	output_put(to, text, n);
}

void quote_shell(struct output *o, const char *name)
{
	quote_pieces(name, put_output, o);
}

struct room {
	char *at;
	size_t left; /* without the terminating zero */
};

static void put_room(void *to, const char *text, size_t n)
{
	struct room *r = to;

	if (n > r->left)
		n = r->left;
	memcpy(r->at, text, n);
	r->at += n;
	r->left -= n;
}

const char *quote_message(const char *name, char *text, unsigned room)
{
	struct room r = { text, room - 1 };
	const unsigned char *c = (const unsigned char *)name;

	while (*c >= 0x20 && *c != 0x7f)
		c++;
	if (*c || !*name)
		quote_pieces(name, put_room, &r);
	else
		put_room(&r, name, strlen(name));
	*r.at = 0;
	return text;
}
