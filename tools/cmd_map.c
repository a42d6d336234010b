/* SPDX-License-Identifier: Apache-2.0 */
/* megakernel map: a handler over every file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
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
	"lost: then lines are missing, and a message says how many.\n";

enum {
	OPT_ENGINE = 256,
	OPT_WORKERS,
	OPT_READERS,
	OPT_ISOLATION,
	OPT_JSON,
	OPT_STATS
};

static const struct option options[] = {
	{ "engine", required_argument, NULL, OPT_ENGINE },
	{ "workers", required_argument, NULL, OPT_WORKERS },
	{ "readers", required_argument, NULL, OPT_READERS },
	{ "isolation", required_argument, NULL, OPT_ISOLATION },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "stats", no_argument, NULL, OPT_STATS },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static int take_option(int c, struct map_options *o)
{
	uint64_t n;

	switch (c) {
	case OPT_ENGINE:
		o->engine.name = optarg;
		return 0;
	case OPT_WORKERS:
		if (cli_number("map", "--workers", optarg, 1, 1024, &n))
			return -1;
		o->engine.workers = (uint32_t)n;
		return 0;
	case OPT_READERS:
		if (cli_number("map", "--readers", optarg, 1, 256, &n))
			return -1;
		o->readers = (uint32_t)n;
		return 0;
	case OPT_ISOLATION:
		return cli_isolation("map", optarg, &o->engine.isolation);
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_STATS:
		o->stats = true;
		return 0;
	default:
		cli_usage("map", NULL);
		return -1;
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

/* All threads but this one could be missing: this one can do it alone. */
static void run_threads(struct map *m)
{
	pthread_t thread[256];
	uint32_t started = 0;

	while (started + 1 < m->threads &&
	       !pthread_create(&thread[started], NULL, map_thread, m))
		started++;
	map_thread(m);
	while (started)
		pthread_join(thread[--started], NULL);
}

/* Say why it ended early; the exit status. */
static int stopped_early(struct map *m)
{
	uint64_t left = m->tail - m->head;

	if (m->fatal == -EPIPE && m->out.error)
		return CLI_SOME_FAILED; /* the reader of our lines has left */
	if (m->out.error) {
		cli_error("map", "%s", m->fatal_text);
		return CLI_SOME_FAILED;
	}
	cli_error("map", "%s%s",
		  m->fatal == -MK_EDEVLOST ? "the device was lost: " : "",
		  m->fatal_text);
	cli_error("map",
		  "ended after %llu files; %llu more were begun, and "
		  "%s have no line",
		  (unsigned long long)m->files, (unsigned long long)left,
		  m->walked ? "these" : "these and all later ones");
	return CLI_USAGE;
}

static int run(struct map *m, char *const *paths, unsigned count)
{
	struct map_progress *progress;
	int status = CLI_OK;

	m->started_ns = mk_now_ns();
	progress = map_progress_begin(m, paths, count);
	run_threads(m);
	m->ended_ns = mk_now_ns();
	map_progress_end(progress);
	if (!m->stop)
		map_print_end(m);
	if (output_flush(&m->out) && !m->stop)
		map_stop(m, -m->out.error, "standard output: %s",
			 strerror(m->out.error));
	if (m->stop)
		status = stopped_early(m);
	else if (m->failed)
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
