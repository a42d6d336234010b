/* SPDX-License-Identifier: Apache-2.0 */
/* megakernel chaos: a checked workload, and faults by a seed. */
#include <stdlib.h>
#include <string.h>

#include "chaos.h"

static const char help_head[] =
	"Usage: megakernel chaos [OPTIONS]\n"
	"\n"
	"Keep an engine busy with slots whose every answer can be checked, and\n"
	"inject faults meanwhile, in an order that the seed decides. Print what\n"
	"was injected and noticed, how slots ended, and how long it took until\n"
	"good answers came again. Exit status 0 only if no slot was lost, none\n"
	"was answered or run twice, none had a wrong answer, and every fault was\n"
	"noticed.\n"
	"\n"
	"Options:\n"
	"  --engine NAME       'cpu' (see 'megakernel info')\n"
	"  --workers N         workers of the engine\n"
	"  --isolation WHERE   'process' (default) or 'none': then only what\n"
	"                      cannot take this program with it\n"
	"  --seed N            which faults, and when; default 1\n"
	"  --faults K          how many; default 100\n"
	"  --seconds S         end after so long, whatever is left\n"
	"  --kinds A,B,...     only faults of these kinds\n"
	"  --hang-ms N         what is taken for hung; default 100\n"
	"  --step-clock        also step the time of day of this machine, for\n"
	"                      moments: needs the right to set it\n"
	"  --evidence DIR      a record of each loss goes there: see 'megakernel\n"
	"                      postmortem'\n"
	"  --list              only print the schedule\n"
	"  --verbose           name each fault on stderr before it comes\n"
	"  --json              one JSON object\n"
	"  --help              this text\n"
	"\n"
	"Kinds:\n";

static const char help_tail[] =
	"\n"
	"Examples:\n"
	"  megakernel chaos\n"
	"  megakernel chaos --seed 7 --faults 1000 --kinds crash,hang,sigkill\n"
	"  megakernel chaos --seconds 60 --faults 100000 --json | jq .lost\n";

enum {
	OPT_SEED = CLI_OPT_OWN,
	OPT_FAULTS,
	OPT_SECONDS,
	OPT_KINDS,
	OPT_HANG,
	OPT_CLOCK,
	OPT_EVIDENCE,
	OPT_LIST,
	OPT_VERBOSE,
	OPT_JSON,
	OPT_CALLER
};

static const struct option options[] = {
	CLI_ENGINE_OPTIONS,
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "faults", required_argument, NULL, OPT_FAULTS },
	{ "seconds", required_argument, NULL, OPT_SECONDS },
	{ "kinds", required_argument, NULL, OPT_KINDS },
	{ "hang-ms", required_argument, NULL, OPT_HANG },
	{ "step-clock", no_argument, NULL, OPT_CLOCK },
	{ "evidence", required_argument, NULL, OPT_EVIDENCE },
	{ "list", no_argument, NULL, OPT_LIST },
	{ "verbose", no_argument, NULL, OPT_VERBOSE },
	{ "json", no_argument, NULL, OPT_JSON },
	/* how this program starts itself: see chaos_caller.c */
	{ "be-caller", required_argument, NULL, OPT_CALLER },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static int print_help(void)
{
	fputs(help_head, stdout);
	for (unsigned k = 0; k < CHAOS_KINDS; k++)
		printf("  %-12s %s%s\n", chaos_kinds[k].name,
		       chaos_kinds[k].what,
		       chaos_kinds[k].flags & CHAOS_CPU_ONLY ? " (cpu)" : "");
	return cli_help("chaos", help_tail);
}

static int take_number(int c, struct chaos_options *o)
{
	uint64_t n;

	switch (c) {
	case OPT_SEED:
		return cli_number("chaos", "--seed", optarg, 0, UINT64_MAX,
				  &o->seed);
	case OPT_FAULTS:
		return cli_number("chaos", "--faults", optarg, 1, 100000000,
				  &o->faults);
	case OPT_SECONDS:
		return cli_number("chaos", "--seconds", optarg, 1, 1000000,
				  &o->seconds);
	default:
		if (cli_number("chaos", "--hang-ms", optarg, 10, 60000, &n))
			return -1;
		o->hang_ns = n * 1000000u;
		return 0;
	}
}

static int take_option(int c, struct chaos_options *o)
{
	switch (c) {
	case OPT_SEED:
	case OPT_FAULTS:
	case OPT_SECONDS:
	case OPT_HANG:
		return take_number(c, o);
	case OPT_KINDS:
		o->kinds = optarg;
		return 0;
	case OPT_CLOCK:
		o->step_clock = true;
		return 0;
	case OPT_EVIDENCE:
		o->evidence = optarg;
		return 0;
	case OPT_LIST:
		o->list = true;
		return 0;
	case OPT_VERBOSE:
		o->verbose = true;
		return 0;
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_CALLER:
		o->be_caller = optarg;
		return 0;
	default:
		return cli_engine_option("chaos", c, &o->engine);
	}
}

static int run(const struct chaos_options *o, struct chaos *c)
{
	char verdict[8];

	c->o = o;
	c->process = o->engine.isolation != MK_ISOLATION_NONE;
	snprintf(c->engine, sizeof(c->engine), "%.15s",
		 o->engine.name ? o->engine.name : "cpu");
	c->cpu = !strcmp(c->engine, "cpu");
	if (!o->step_clock)
		c->plan.left_out[CHAOS_CLOCK] = "only with --step-clock";
	if (chaos_plan_init(&c->plan, o->seed, c->cpu, c->process, o->kinds))
		return CLI_USAGE;
	if (o->list)
		return chaos_print_plan(c);
	if (o->be_caller)
		return chaos_run_caller(c, o->be_caller);
	if (chaos_run(c))
		return CLI_USAGE;
	chaos_verdict(c, verdict, sizeof(verdict));
	return chaos_print(c) || *verdict ? CLI_SOME_FAILED : CLI_OK;
}

int cmd_chaos(int argc, char **argv)
{
	struct chaos_options o = { .seed = 1, .faults = 100,
				   .hang_ns = 100000000u };
	struct chaos *c;
	int opt, status;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (opt == 'h')
			return print_help();
		if (take_option(opt, &o))
			return CLI_USAGE;
	}
	if (optind < argc)
		return cli_usage("chaos", "takes no argument, but '%s' was "
				 "given", argv[optind]);
	c = calloc(1, sizeof(*c));
	if (!c) {
		cli_error("chaos", "no memory");
		return CLI_USAGE;
	}
	status = run(&o, c);
	for (unsigned k = 0; k < CHAOS_KINDS; k++) {
		chaos_times_free(&c->seen[k].notice);
		chaos_times_free(&c->seen[k].good);
	}
	chaos_times_free(&c->dead);
	chaos_times_free(&c->hung);
	chaos_times_free(&c->recovery);
	chaos_times_free(&c->hindered);
	chaos_stages_free(c);
	free(c);
	return status;
}
