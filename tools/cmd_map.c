/* SPDX-License-Identifier: Apache-2.0 */
/* megakernel map: a handler over every file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "map_run.h"

static const char help[] =
	"Usage: megakernel map [OPTIONS] HANDLER PATH...\n"
	"\n"
	"Run HANDLER over every file and print a line a file, in the order of\n"
	"the input. Directories are walked; the files below one come in byte\n"
	"order of their paths. '-' is standard input.\n"
	"\n"
	"HANDLER is\n"
	"  sha256       prints exactly what sha256sum prints\n"
	"  count        lines, words and bytes: exactly what wc prints\n"
	"               in the locale (C, or one of UTF-8), with its total\n"
	"  crc32c       the CRC-32C, eight hexadecimal digits\n"
	"  FILE.c       a handler source file of your own, compiled and cached;\n"
	"               FILE.c:NAME if it has several handlers\n"
	"  FILE.mkm     what 'megakernel compile' wrote\n"
	"\n"
	"Options:\n"
	"  --engine NAME       'cpu' (see 'megakernel info')\n"
	"  --workers N         workers of the engine; default: ask the machine\n"
	"  --readers N         threads that read files; default: one a core\n"
	"  --isolation WHERE   'process' (default): handlers run in a process of\n"
	"                      their own; 'none': in this one\n"
	"  --json              an object a line, errors included\n"
	"  --stats             a table of counts on stderr at the end\n"
	"  --help              this text\n"
	"\n"
	"Examples:\n"
	"  megakernel map sha256 /usr/include > SUMS; sha256sum -c SUMS\n"
	"  megakernel map count src/*.c\n"
	"  tar c . | megakernel map sha256 -\n"
	"  megakernel map --json ./zeros.c /var/log | jq .result\n"
	"\n"
	"A file that cannot be read gets a message, and the exit status is 1;\n"
	"all others are answered. 2: wrong usage, no engine, or the device was\n"
	"lost for good: then lines are missing, and a message says how many.\n";

enum {
	OPT_READERS = CLI_OPT_OWN,
	OPT_JSON,
	OPT_STATS
};

static const struct option options[] = {
	CLI_ENGINE_OPTIONS,
	{ "readers", required_argument, NULL, OPT_READERS },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "stats", no_argument, NULL, OPT_STATS },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static int take_option(int c, struct map_options *o)
{
	uint64_t n;

	switch (c) {
	case OPT_READERS:
		if (cli_number("map", "--readers", optarg, 1,
			       CREW_THREADS_MAX, &n))
			return -1;
		o->readers = (uint32_t)n;
		return 0;
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_STATS:
		o->stats = true;
		return 0;
	default:
		return cli_engine_option("map", c, &o->engine);
	}
}

/* -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct map_options *o)
{
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h')
			return cli_help("map", help);
		if (take_option(c, o))
			return CLI_USAGE;
	}
	if (optind == argc)
		return cli_usage("map", "HANDLER and PATH are missing");
	if (optind + 1 == argc)
		return cli_usage("map", "PATH is missing ('-' is standard "
					"input)");
	o->handler = argv[optind];
	return -1;
}

/* Say why it ended early; the exit status. */
static int stopped_early(struct map *m)
{
	uint64_t left = m->crew.tail - m->crew.head;

	if (m->crew.fatal == -EPIPE && m->crew.out.error)
		return CLI_SOME_FAILED; /* the reader of our lines has left */
	if (m->crew.out.error) {
		cli_error("map", "%s", m->crew.fatal_text);
		return CLI_SOME_FAILED;
	}
	cli_error("map", "%s%s",
		  m->crew.fatal == -MK_EDEVLOST ? "the device was lost: " : "",
		  m->crew.fatal_text);
	cli_error("map",
		  "ended after %llu files; %llu more were begun, and "
		  "%s have no line",
		  (unsigned long long)m->crew.files, (unsigned long long)left,
		  m->crew.walked ? "these" : "these and all later ones");
	return CLI_USAGE;
}

static int run(struct map *m, char *const *paths, unsigned count)
{
	int status = CLI_OK;

	crew_run(&m->crew, paths, count);
	if (!m->crew.stop)
		map_print_end(m);
	if (output_flush(&m->crew.out) && !m->crew.stop)
		crew_stop(&m->crew, -m->crew.out.error, "standard output: %s",
			 strerror(m->crew.out.error));
	crew_note_losses(&m->crew);
	if (m->crew.stop)
		status = stopped_early(m);
	else if (m->crew.failed)
		status = CLI_SOME_FAILED;
	if (m->options->stats)
		map_print_stats(m);
	return status;
}

int cmd_map(int argc, char **argv)
{
	struct map_options o = { .readers = cli_cores() };
	int status = parse(argc, argv, &o);
	struct map *m;

	if (status >= 0)
		return status;
	m = malloc(sizeof(*m));
	if (!m) {
		cli_error("map", "no memory");
		return CLI_USAGE;
	}
	status = CLI_USAGE;
	if (!map_open(m, &o, argv + optind + 1, (unsigned)(argc - optind - 1)))
		status = run(m, argv + optind + 1,
			     (unsigned)(argc - optind - 1));
	map_close(m);
	free(m);
	return status;
}
