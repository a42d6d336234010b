/* SPDX-License-Identifier: Apache-2.0 */
/* The line that `megakernel chaos` shows while it runs. */
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "chaos.h"

#define PAINT_NS 100000000u
#define BAR 30

typedef unsigned long long ull;

static uint64_t painted;

static ull seconds_since(uint64_t ns)
{
	return (ull)((mk_now_ns() - ns) / 1000000000u);
}

void chaos_progress(const struct chaos *c)
{
	uint64_t now = mk_now_ns(), all = c->o->faults;
	char bar[BAR + 1];
	int full;

	if (!isatty(STDERR_FILENO) || now - painted < PAINT_NS)
		return;
	painted = now;
	full = (int)(c->done * BAR / (all ? all : 1));
	memset(bar, ' ', BAR);
	memset(bar, '#', (size_t)(full > BAR ? BAR : full));
	bar[BAR] = 0;
	dprintf(STDERR_FILENO, "\r[%s] %llu/%llu faults, %llu s\033[K", bar,
		(ull)c->done, (ull)all, seconds_since(c->started_ns));
}

void chaos_progress_step(const struct chaos *c, const char *what)
{
	if (c->o->verbose)
		cli_error("chaos", "%.3f s in all: %s",
			  (double)(mk_now_ns() - c->setup_ns) / 1e9, what);
	else if (isatty(STDERR_FILENO))
		dprintf(STDERR_FILENO, "\r%s, %llu s\033[K", what,
			seconds_since(c->setup_ns));
	painted = 1;
}

void chaos_progress_end(void)
{
	if (painted && isatty(STDERR_FILENO))
		dprintf(STDERR_FILENO, "\r\033[K");
	painted = 0;
}
