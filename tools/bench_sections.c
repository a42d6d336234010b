/* SPDX-License-Identifier: Apache-2.0 */
/* Which sections there are, and in what order they run. */
#include <string.h>
#include <unistd.h>

#include "bench_run.h"

enum section_flags {
	NEEDS_DEVICE = 1, /* goes to the driver: engine cuda alone */
	NEEDS_LIVE = 2    /* b->ctx is there; else nothing is resident */
};

static const struct bench_section {
	const char *name, *title;
	unsigned flags;
	int (*run)(struct bench *b);
} sections[] = {
	{ "cold", "Cold start", 0, bench_cold },
	{ "launch", "Launches", NEEDS_DEVICE, bench_cuda_launch },
	{ "graph", "Graphs of null kernels, launch and synchronise",
	  NEEDS_DEVICE, bench_cuda_graph },
	{ "copy", "Copy 16 KiB in, launch, copy 16 KiB out, synchronise",
	  NEEDS_DEVICE, bench_cuda_copy },
	{ "saxpy", "saxpy, the usual way", NEEDS_DEVICE, bench_cuda_saxpy },
	{ "tiles", "saxpy of large vectors, the usual way", NEEDS_DEVICE,
	  bench_cuda_large },
	{ "trip", "Resident: one slot, submit to answer", NEEDS_LIVE,
	  bench_trip },
	{ "stream", "Resident: streaming no-op slots, all answers reaped",
	  NEEDS_LIVE, bench_stream },
	{ "batch", "Resident: many slots, submit to last answer", NEEDS_LIVE,
	  bench_batch },
	{ "flow", "Resident: slots that wait for other slots", NEEDS_LIVE,
	  bench_flow },
	{ "rows", "Resident: a batch of 64 rows of the dispatch interface",
	  NEEDS_LIVE, bench_resident_rows },
	{ "width", "Resident: no-ops of a module, by width", NEEDS_LIVE,
	  bench_width },
	{ "saxpy", "Resident: saxpy", NEEDS_LIVE, bench_saxpy },
	{ "queues", "Resident: many queues", NEEDS_LIVE, bench_queues },
	{ "tiles", "Resident: saxpy as one slot in tiles", NEEDS_LIVE,
	  bench_tiles },
	{ "made", "Resident: work that handlers make", 0, bench_made },
	{ "process", "Resident: the engine in another process", 0,
	  bench_process },
	{ "wake", "Wake-up from park", 0, bench_wake },
	{ "beats", "What it costs to be looked after", 0, bench_beats },
	{ "power", "Power and use of the device", NEEDS_DEVICE, bench_power },
};

#define SECTIONS (sizeof(sections) / sizeof(sections[0]))

/* Is name[0..bytes) the i-th section's, and could it run? */
static bool is_named(unsigned i, const char *name, size_t bytes, bool cuda)
{
	return strlen(sections[i].name) == bytes &&
	       !memcmp(sections[i].name, name, bytes) &&
	       (cuda || !(sections[i].flags & NEEDS_DEVICE));
}

static bool is_listed(const char *list, unsigned i, bool cuda)
{
	for (const char *at = list; at && *at;) {
		size_t bytes = strcspn(at, ",");

		if (is_named(i, at, bytes, cuda))
			return true;
		at += bytes + (at[bytes] == ',');
	}
	return !list && (cuda || !(sections[i].flags & NEEDS_DEVICE));
}

const char *bench_sections_names(bool cuda)
{
	static char text[256];
	size_t used = 0;

	text[0] = 0;
	for (unsigned i = 0; i < SECTIONS; i++) {
		const char *name = sections[i].name;

		/* saxpy and tiles are there twice */
		if ((!cuda && sections[i].flags & NEEDS_DEVICE) ||
		    strstr(text, name))
			continue;
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "%s%s", used ? ", " : "", name);
	}
	return text;
}

int bench_sections_check(const char *list, bool cuda)
{
	for (const char *at = list;;) {
		size_t bytes = strcspn(at, ",");
		bool found = false;

		for (unsigned i = 0; i < SECTIONS; i++)
			found |= is_named(i, at, bytes, cuda);
		if (!found) {
			cli_usage("bench",
				  "--only: there is no section '%.*s' for "
				  "this engine; there are %s",
				  (int)bytes, at, bench_sections_names(cuda));
			return -1;
		}
		if (!at[bytes])
			return 0;
		at += bytes + 1;
	}
}

/* On a terminal: what runs now. */
static void progress(unsigned done, unsigned all, const char *title,
		     uint64_t began_ns)
{
	if (!isatty(STDERR_FILENO))
		return;
	if (title)
		fprintf(stderr, "\r[%u/%u] %.56s, %.0f s\033[K", done + 1,
			all, title, (double)(mk_now_ns() - began_ns) / 1e9);
	else
		fputs("\r\033[K", stderr);
	fflush(stderr);
}

/* Make a context resident, or take it away, as the section needs. */
static int prepare(struct bench *b, const struct bench_section *s)
{
	if (!(s->flags & NEEDS_LIVE)) {
		bench_ctx_close(b, b->ctx);
		b->ctx = NULL;
		b->module = 0;
		return 0;
	}
	if (b->ctx)
		return 0;
	return bench_ctx_open(b, b->isolation, BENCH_STAY_NS, &b->ctx);
}

/* After a failure the context may be lost: the next section gets another. */
static void give_up(struct bench *b, const struct bench_section *s)
{
	char key[BENCH_KEY_BYTES];

	b->failed++;
	snprintf(key, sizeof(key), "%s.failed", s->name);
	bench_unknown(b, key, "this section failed", b->why);
	bench_ctx_close(b, b->ctx);
	b->ctx = NULL;
	b->module = 0;
}

unsigned bench_sections_run(struct bench *b, const char *list)
{
	bool cuda = b->cuda != NULL;
	uint64_t began = mk_now_ns();
	unsigned all = 0, done = 0;

	for (unsigned i = 0; i < SECTIONS; i++)
		all += is_listed(list, i, cuda);
	for (unsigned i = 0; i < SECTIONS; i++) {
		if (!is_listed(list, i, cuda))
			continue;
		b->section = sections[i].title;
		progress(done++, all, b->section, began);
		if (prepare(b, &sections[i]) || sections[i].run(b))
			give_up(b, &sections[i]);
	}
	progress(0, 0, NULL, began);
	bench_ctx_close(b, b->ctx);
	b->ctx = NULL;
	return b->failed;
}
