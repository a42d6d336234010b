/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/cuda/scan.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"

static bool word_char(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* Behind a quoted text that begins here. */
static const char *skip_quoted(const char *p)
{
	char quote = *p++;

	while (*p && *p != quote && *p != '\n') {
		if (*p == '\\' && p[1])
			p++;
		p++;
	}
	return *p == quote ? p + 1 : p;
}

/* Behind a comment that begins here, or p itself. */
static const char *skip_comment(const char *p)
{
	const char *end;

	if (p[0] == '/' && p[1] == '*') {
		end = strstr(p + 2, "*/");
		return end ? end + 2 : p + strlen(p);
	}
	if (p[0] == '/' && p[1] == '/')
		return p + strcspn(p, "\n");
	return p;
}

static const char *skip_space(const char *p)
{
	for (;;) {
		const char *next;

		while (isspace((unsigned char)*p))
			p++;
		next = skip_comment(p);
		if (next == p)
			return p;
		p = next;
	}
}

/* Behind a preprocessor line with its continuations and comments. */
static const char *skip_directive(const char *p)
{
	while (*p && *p != '\n') {
		const char *next = skip_comment(p);

		if (next != p) {
			p = next;
			continue;
		}
		if (*p == '\\' && p[1] == '\n')
			p++;
		p++;
	}
	return p;
}

static bool is_handler_macro(const char *p, size_t bytes)
{
	static const char *const macros[] = { "MK_HANDLER",
					      "MK_HANDLER_THREAD",
					      "MK_HANDLER_BLOCK" };

	for (size_t i = 0; i < sizeof(macros) / sizeof(macros[0]); i++)
		if (strlen(macros[i]) == bytes && !memcmp(p, macros[i], bytes))
			return true;
	return false;
}

/* The name in "(name," at p, which follows a macro. 0: it is no use of it. */
static int take_name(const char *p, struct mkc_name *out)
{
	const char *from;
	size_t bytes;

	p = skip_space(p);
	if (*p != '(')
		return 0;
	from = p = skip_space(p + 1);
	while (word_char(*p))
		p++;
	bytes = (size_t)(p - from);
	if (!bytes || isdigit((unsigned char)*from) ||
	    *skip_space(p) != ',')
		return mk_error_set(-MK_EMODULE, 0, "mk_module_load",
				    "a handler's name is no plain identifier, "
				    "near \"%.40s\"", from);
	if (bytes >= sizeof(out->name))
		return mk_error_set(-MK_EMODULE, 0, "mk_module_load",
				    "the handler name %.60s has %zu "
				    "characters, at most %zu will do", from,
				    bytes, sizeof(out->name) - 1);
	memset(out->name, 0, sizeof(out->name));
	memcpy(out->name, from, bytes);
	return 1;
}

int mkc_scan(const char *text, struct mkc_name *out, unsigned max)
{
	const char *p = text;
	bool line_start = true;
	int found = 0;

	while (*p) {
		const char *next = skip_comment(p);
		struct mkc_name name;
		int r;

		if (next != p) {
			p = next;
			continue;
		}
		if (*p == '#' && line_start) {
			p = skip_directive(p);
			continue;
		}
		if (*p == '"' || *p == '\'') {
			p = skip_quoted(p);
			line_start = false;
			continue;
		}
		if (!word_char(*p)) {
			if (*p == '\n')
				line_start = true;
			else if (!isspace((unsigned char)*p))
				line_start = false;
			p++;
			continue;
		}
		line_start = false;
		while (word_char(*next))
			next++;
		r = is_handler_macro(p, (size_t)(next - p)) ?
			    take_name(next, &name) : 0;
		if (r < 0)
			return r;
		if (r && (unsigned)found < max)
			out[found] = name;
		found += r;
		p = next;
	}
	return found;
}
