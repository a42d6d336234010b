/* SPDX-License-Identifier: Apache-2.0 */
/* megakernel bench: every number that is published, with its baselines. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static const char help[] =
	"Usage: megakernel bench [OPTIONS]\n"
	"\n"
	"Measure the round trip of a no-op at depths 1, 8 and 64 (median, p99,\n"
	"p99.9, maximum), how many stream through in a second, and the memory of\n"
	"a context; for both isolation modes, and beside them a thread pool,\n"
	"libuv, OpenMP and oneTBB, as far as they were there at build time. All\n"
	"in one run, by the same code. Takes about a minute.\n"
	"\n"
	"On the engine 'cuda', section by section: launches, graphs and copies as\n"
	"a program without this library does them, then the same work as slots of\n"
	"a resident kernel; what is to be reached, and whether it was. Takes\n"
	"about two minutes.\n"
	"\n"
	"Options:\n"
	"  --engine NAME       'cpu' or 'cuda' (see 'megakernel info')\n"
	"  --only NAME,...     these sections alone: cold, launch, graph, copy,\n"
	"                      saxpy, trip, stream, batch, rows, width, queues,\n"
	"                      flow, tiles, made, process, wake, beats, power; on\n"
	"                      the engine 'cpu' without launch, graph, copy and\n"
	"                      power\n"
	"  --workers N         workers of the engine, and threads of every peer;\n"
	"                      default: the cores but one\n"
	"  --isolation WHERE   only 'process' or only 'none'\n"
	"  --quick             some seconds; the tails are rough then\n"
	"  --no-peers          only this library\n"
	"  --json              one JSON object\n"
	"  --save FILE         also write the JSON object there\n"
	"  --svg FILE          also draw how the round trips are distributed\n"
	"  --help              this text\n"
	"\n"
	"Examples:\n"
	"  megakernel bench\n"
	"  megakernel bench --quick --isolation none --no-peers\n"
	"  megakernel bench --engine cuda --svg latency.svg\n"
	"  megakernel bench --engine cuda --only launch,trip,stream\n"
	"  megakernel bench --json | jq '.own[].streaming.per_second'\n";

enum {
	OPT_QUICK = CLI_OPT_OWN,
	OPT_NO_PEERS,
	OPT_JSON,
	OPT_ONLY,
	OPT_SVG,
	OPT_SAVE
};

static const struct option options[] = {
	CLI_ENGINE_OPTIONS,
	{ "quick", no_argument, NULL, OPT_QUICK },
	{ "no-peers", no_argument, NULL, OPT_NO_PEERS },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "only", required_argument, NULL, OPT_ONLY },
	{ "save", required_argument, NULL, OPT_SAVE },
	{ "svg", required_argument, NULL, OPT_SVG },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static int take_option(int c, struct bench_options *o)
{
	switch (c) {
	case OPT_QUICK:
		o->quick = true;
		return 0;
	case OPT_NO_PEERS:
		o->no_peers = true;
		return 0;
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_ONLY:
		o->only = optarg;
		return 0;
	case OPT_SAVE:
		o->save = optarg;
		return 0;
	case OPT_SVG:
		o->svg = optarg;
		return 0;
	default:
		return cli_engine_option("bench", c, &o->engine);
	}
}

/* The submitter keeps a core for itself. */
static uint32_t default_workers(void)
{
	uint32_t n = cli_cores();

	return n < 2 ? 1 : n - 1;
}

static int measure_own(const struct bench_options *o,
		       struct bench_report *report)
{
	static const uint32_t modes[] = { MK_ISOLATION_PROCESS,
					  MK_ISOLATION_NONE };

	for (int i = 0; i < 2; i++) {
		if (o->engine.isolation && o->engine.isolation != modes[i])
			continue;
		if (bench_own(o, modes[i], report->workers,
			      &report->result[report->own]))
			return -1;
		report->own++;
	}
	report->results = report->own;
	return 0;
}

/* All subjects, by the harness that they share. */
static int compare(const struct bench_options *o, const struct bench_env *env,
		   struct bench_report *report)
{
	char why[4200];
	int status = CLI_OK;

	if (bench_memory(o, &report->memory))
		return CLI_USAGE;
	report->has_memory = true;
	if (measure_own(o, report))
		return CLI_USAGE;
	if (!o->no_peers) {
		report->has_peers = !bench_peers(o, report, why, sizeof(why));
		if (!report->has_peers)
			cli_error("bench", "without peers: %s", why);
	}
	if (!o->json)
		status = bench_print_table(o, env, report);
	if ((o->json || o->save) &&
	    bench_put_json(o, bench_to_json(o, env, report)))
		status = CLI_SOME_FAILED;
	if (o->svg && bench_draw(o, env, report))
		status = CLI_SOME_FAILED;
	return status;
}

static int run(const struct bench_options *o, const struct bench_env *env)
{
	struct bench_report *report;
	int status;

	if (o->only ||
	    (o->engine.name && !strcmp(o->engine.name, "cuda")))
		return bench_report(o, env);
	report = calloc(1, sizeof(*report));
	if (!report) {
		cli_error("bench", "no memory");
		return CLI_USAGE;
	}
	report->workers = o->engine.workers ? o->engine.workers :
					      default_workers();
	status = compare(o, env, report);
	free(report);
	return status;
}

int cmd_bench(int argc, char **argv)
{
	struct bench_options o = { 0 };
	struct bench_env env;
	int c;

	bench_env_take(&env, argc, argv); /* before getopt moves words */
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h')
			return cli_help("bench", help);
		if (take_option(c, &o))
			return CLI_USAGE;
	}
	if (optind < argc)
		return cli_usage("bench",
				 "takes no argument, but '%s' was "
				 "given",
				 argv[optind]);
	return run(&o, &env);
}
