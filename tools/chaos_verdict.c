/* SPDX-License-Identifier: Apache-2.0 */
/* Was the run as it has to be? */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "chaos.h"

typedef unsigned long long ull;

static void add(char *out, size_t room, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void add(char *out, size_t room, const char *format, ...)
{
	size_t n = strlen(out);
	va_list ap;

	if (n + 3 > room)
		return;
	if (n) {
		memcpy(out + n, "; ", 3);
		n += 2;
	}
	va_start(ap, format);
	vsnprintf(out + n, room - n, format, ap);
	va_end(ap);
}

/*
 * A fault that nobody noticed is a failure even where all answers were right:
 * a dead worker must be found, whatever was asked of it. One that could not be
 * injected is none of those: see chaos_strike().
 */
void chaos_verdict(const struct chaos *c, char *out, size_t room)
{
	struct chaos_tally t = chaos_load_tally(c);

	*out = 0;
	if (t.lost)
		add(out, room, "%llu lost", (ull)t.lost);
	if (t.twice)
		add(out, room, "%llu answered or run twice", (ull)t.twice);
	if (t.wrong)
		add(out, room, "%llu wrong", (ull)t.wrong);
	for (unsigned k = 0; k < CHAOS_KINDS; k++) {
		const struct chaos_seen *s = &c->seen[k];

		if (s->noticed != s->injected)
			add(out, room, "%llu of %llu %s not noticed",
			    (ull)(s->injected - s->noticed),
			    (ull)s->injected, chaos_kinds[k].name);
	}
	if (c->stuck)
		add(out, room, "good answers did not come again, so that the "
		    "run ended early");
}
