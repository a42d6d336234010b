/* SPDX-License-Identifier: Apache-2.0 */
/* megakernel neighbour: what a resident kernel does to calls beside it. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "neighbour.h"

#define CHILD_FD 3
#define SILENCE_MS 60000 /* of a process that is taken for hung */

extern char **environ;

static const char help[] =
	"Usage: megakernel neighbour [OPTIONS]\n"
	"\n"
	"Make the CUDA calls that a process makes besides, while a kernel is\n"
	"resident, and say of each whether it returned, how long it took, and\n"
	"what the library did about it. In five modes: alone (no kernel),\n"
	"resident, quiesce (mk_ctx_quiesce() around each call), park (the kernel\n"
	"leaves when it is idle) and process (isolation process). Then measure\n"
	"how much ordinary work the device does beside it. Nothing hangs: a call\n"
	"that blocks is freed by quiescing the kernel. Takes about a minute.\n"
	"\n"
	"Options:\n"
	"  --mode MODE       only 'resident', 'quiesce', 'park' or 'process',\n"
	"                    besides 'alone'; default 'all'\n"
	"  --device N        of the engine cuda; default 0\n"
	"  --sm-count N      multiprocessors that the kernel may take\n"
	"  --workers N       of the kernel; default: as many as it takes\n"
	"  --bound-ms N      with quiesce and park a call may take so much\n"
	"                    longer than alone; default 250\n"
	"  --watch-ms N      a call is said to block after; default 300\n"
	"  --park-us N       idle time until the kernel parks; default 1000\n"
	"  --no-calls        only the ordinary work\n"
	"  --no-share        only the calls\n"
	"  --json            one JSON object\n"
	"  --help            this text\n"
	"\n"
	"Exit status: 0 if no call went beyond its bound, 1 if one did, 2 if the\n"
	"engine cuda cannot be used here.\n"
	"\n"
	"Examples:\n"
	"  megakernel neighbour\n"
	"  megakernel neighbour --mode quiesce --no-share --bound-ms 20\n"
	"  megakernel neighbour --json | jq '.calls[] | select(.mode==\"park\")'\n";

enum {
	OPT_MODE = 256,
	OPT_DEVICE,
	OPT_SM_COUNT,
	OPT_WORKERS,
	OPT_BOUND,
	OPT_WATCH,
	OPT_PARK,
	OPT_NO_CALLS,
	OPT_NO_SHARE,
	OPT_JSON,
	OPT_CHILD
};

static const struct option options[] = {
	{ "mode", required_argument, NULL, OPT_MODE },
	{ "device", required_argument, NULL, OPT_DEVICE },
	{ "sm-count", required_argument, NULL, OPT_SM_COUNT },
	{ "workers", required_argument, NULL, OPT_WORKERS },
	{ "bound-ms", required_argument, NULL, OPT_BOUND },
	{ "watch-ms", required_argument, NULL, OPT_WATCH },
	{ "park-us", required_argument, NULL, OPT_PARK },
	{ "no-calls", no_argument, NULL, OPT_NO_CALLS },
	{ "no-share", no_argument, NULL, OPT_NO_SHARE },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "child", required_argument, NULL, OPT_CHILD }, /* our own use */
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

/* ---- options ---- */

static int take_mode(const char *text, struct neighbour_options *o)
{
	memset(o->mode, 0, sizeof(o->mode));
	o->mode[NEIGHBOUR_ALONE] = true;
	for (unsigned m = NEIGHBOUR_RESIDENT; m < NEIGHBOUR_MODES; m++)
		o->mode[m] = !strcmp(text, "all") ||
			     !strcmp(text, neighbour_mode_name(m));
	for (unsigned m = NEIGHBOUR_RESIDENT; m < NEIGHBOUR_MODES; m++)
		if (o->mode[m])
			return 0;
	cli_usage("neighbour", "--mode is '%s', must be resident, quiesce, "
		  "park, process or all", text);
	return -1;
}

static int take_number(const char *name, uint64_t least, uint64_t most,
		       uint64_t unit, uint64_t *out)
{
	if (cli_number("neighbour", name, optarg, least, most, out))
		return -1;
	*out *= unit;
	return 0;
}

static int take_option(int c, struct neighbour_options *o)
{
	uint64_t n;
	int r = 0;

	switch (c) {
	case OPT_MODE:
		return take_mode(optarg, o);
	case OPT_DEVICE:
		r = take_number("--device", 0, 1023, 1, &n);
		if (!r)
			o->device = (uint32_t)n;
		return r;
	case OPT_SM_COUNT:
		r = take_number("--sm-count", 1, UINT32_MAX, 1, &n);
		if (!r)
			o->sm_count = (uint32_t)n;
		return r;
	case OPT_WORKERS:
		r = take_number("--workers", 1, 1024, 1, &n);
		if (!r)
			o->workers = (uint32_t)n;
		return r;
	case OPT_BOUND:
		return take_number("--bound-ms", 1, 60000, 1000000,
				   &o->bound_ns);
	case OPT_WATCH:
		return take_number("--watch-ms", 1, 60000, 1000000,
				   &o->watch_ns);
	case OPT_PARK:
		return take_number("--park-us", 1, 10000000, 1000,
				   &o->park_ns);
	case OPT_NO_CALLS:
		o->no_calls = true;
		return 0;
	case OPT_NO_SHARE:
		o->no_share = true;
		return 0;
	case OPT_JSON:
		o->json = true;
		return 0;
	default:
		cli_usage("neighbour", NULL);
		return -1;
	}
}

/* ---- the other process ---- */

/* "calls:MODE:FIRST" or "share:NUMBER". */
static int child(const struct neighbour_options *o, const char *what)
{
	unsigned a, b;

	if (sscanf(what, "calls:%u:%u", &a, &b) == 2 && a < NEIGHBOUR_MODES &&
	    b < NEIGHBOUR_CALLS)
		return neighbour_run_calls(o, (enum neighbour_mode)a, b,
					   CHILD_FD);
	if (sscanf(what, "share:%u", &a) == 1 && a < NEIGHBOUR_SHARES)
		return neighbour_run_share(o, a, CHILD_FD);
	return cli_usage("neighbour", "--child is for the program itself");
}

/* Start it; its end of a pipe is its descriptor 3. The pid, or -1. */
static pid_t start(const struct neighbour_options *o, const char *what,
		   int *fd)
{
	char device[16], sms[16], workers[16], bound[24], watch[24], park[24];
	char *argv[18] = { (char *)"megakernel", (char *)"neighbour",
			   (char *)"--child", (char *)(uintptr_t)what,
			   (char *)"--device", device, (char *)"--bound-ms",
			   bound, (char *)"--watch-ms", watch,
			   (char *)"--park-us", park };
	posix_spawn_file_actions_t actions;
	int ends[2], r, n = 12;
	pid_t pid;

	snprintf(device, sizeof(device), "%u", o->device);
	snprintf(sms, sizeof(sms), "%u", o->sm_count);
	snprintf(workers, sizeof(workers), "%u", o->workers);
	snprintf(bound, sizeof(bound), "%llu",
		 (unsigned long long)o->bound_ns / 1000000);
	snprintf(watch, sizeof(watch), "%llu",
		 (unsigned long long)o->watch_ns / 1000000);
	snprintf(park, sizeof(park), "%llu",
		 (unsigned long long)o->park_ns / 1000);
	if (o->sm_count) {
		argv[n++] = (char *)"--sm-count";
		argv[n++] = sms;
	}
	if (o->workers) {
		argv[n++] = (char *)"--workers";
		argv[n++] = workers;
	}
	if (pipe(ends))
		return -1;
	posix_spawn_file_actions_init(&actions);
	/* the reader's end may itself be 3 in there */
	posix_spawn_file_actions_adddup2(&actions, ends[1], 100);
	posix_spawn_file_actions_addclose(&actions, ends[0]);
	posix_spawn_file_actions_addclose(&actions, ends[1]);
	posix_spawn_file_actions_adddup2(&actions, 100, CHILD_FD);
	posix_spawn_file_actions_addclose(&actions, 100);
	r = posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	if (r) {
		close(ends[0]);
		cli_error("neighbour", "cannot start a process: %s",
			  strerror(r));
		return -1;
	}
	*fd = ends[0];
	return pid;
}

/* One record; false: there is none, or none in time. */
static bool receive(int fd, struct neighbour_record *r)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int n;

	do {
		n = poll(&p, 1, SILENCE_MS);
	} while (n < 0 && errno == EINTR);
	return n > 0 && read(fd, r, sizeof(*r)) == (ssize_t)sizeof(*r);
}

/* Its exit status; killed if it is still there. */
static int finish(pid_t pid, int fd)
{
	int status;

	close(fd);
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- collecting ---- */

static void take_record(struct neighbour_report *report, unsigned mode,
			const struct neighbour_record *r)
{
	if (r->kind == 0) {
		memcpy(report->device, r->device, sizeof(report->device));
		report->device[sizeof(report->device) - 1] = '\0';
		report->multiprocessors = r->multiprocessors;
	} else if (r->kind == 1 && r->call.call < NEIGHBOUR_CALLS) {
		report->call[mode][r->call.call] = r->call;
	} else if (r->kind == 2 && r->share.share < NEIGHBOUR_SHARES) {
		report->share[r->share.share] = r->share;
	}
}

/* The calls of a mode; another process goes on where one was lost. */
static int collect_calls(const struct neighbour_options *o, unsigned mode,
			 struct neighbour_report *report)
{
	unsigned next = 0;

	while (next < NEIGHBOUR_CALLS) {
		struct neighbour_record r;
		unsigned begun = next;
		bool opened = false;
		char what[32];
		int fd, status;
		pid_t pid;

		snprintf(what, sizeof(what), "calls:%u:%u", mode, next);
		pid = start(o, what, &fd);
		if (pid < 0)
			return CLI_USAGE;
		while (next < NEIGHBOUR_CALLS && receive(fd, &r)) {
			take_record(report, mode, &r);
			opened = true;
			if (r.kind == 1)
				next = r.call.call + 1;
		}
		status = finish(pid, fd);
		if (next == NEIGHBOUR_CALLS)
			break;
		if (!opened || status == CLI_USAGE)
			return CLI_USAGE; /* it said why */
		/* it died in a call without a word: that one is missing */
		if (next == begun)
			next++;
	}
	return CLI_OK;
}

static int collect_share(const struct neighbour_options *o, unsigned number,
			 struct neighbour_report *report)
{
	struct neighbour_record r;
	char what[32];
	pid_t pid;
	int fd;

	snprintf(what, sizeof(what), "share:%u", number);
	pid = start(o, what, &fd);
	if (pid < 0)
		return CLI_USAGE;
	while (receive(fd, &r)) {
		take_record(report, 0, &r);
		if (r.kind == 2)
			break;
	}
	return finish(pid, fd) == CLI_USAGE ? CLI_USAGE : CLI_OK;
}

static int collect(const struct neighbour_options *o,
		   struct neighbour_report *report)
{
	int r = CLI_OK;

	/* a kernel counts as lazily loaded only where modules are loaded so */
	setenv("CUDA_MODULE_LOADING", "LAZY", 1);
	for (unsigned m = 0; m < NEIGHBOUR_MODES && !r && !o->no_calls; m++)
		if (o->mode[m])
			r = collect_calls(o, m, report);
	for (unsigned i = 0; i < NEIGHBOUR_SHARES && !r && !o->no_share; i++)
		r = collect_share(o, i, report);
	return r;
}

/* Is there an engine at all? Says why not. */
static int check_engine(const struct neighbour_options *o)
{
	struct mk_engine_info info[64];
	int n = mk_engine_list(info, 64);

	for (int i = 0; i < n && i < 64; i++) {
		if (strcmp(info[i].name, "cuda") != 0 ||
		    (info[i].available && info[i].device != o->device))
			continue;
		if (info[i].device != o->device)
			continue;
		if (!info[i].available)
			return CLI_OK;
		cli_error("neighbour", "engine cuda, device %u: %s",
			  o->device, info[i].reason);
		return CLI_USAGE;
	}
	cli_error("neighbour", "there is no device %u of the engine cuda; see "
		  "'megakernel info'", o->device);
	return CLI_USAGE;
}

static int run(const struct neighbour_options *o)
{
	static struct neighbour_report report;
	bool kept = true;
	int r = check_engine(o);

	if (!r)
		r = collect(o, &report);
	if (r)
		return r;
	for (unsigned m = 0; m < NEIGHBOUR_MODES && !o->no_calls; m++)
		for (unsigned i = 0; i < NEIGHBOUR_CALLS; i++)
			kept &= neighbour_kept(o, &report, m, i);
	if (o->json) {
		r = neighbour_print_json(o, &report, kept);
	} else {
		neighbour_print_table(o, &report);
		r = cli_close_stdout("neighbour");
	}
	return r ? r : kept ? CLI_OK : CLI_SOME_FAILED;
}

int cmd_neighbour(int argc, char **argv)
{
	struct neighbour_options o = {
		.bound_ns = 250000000, .watch_ns = 300000000,
		.park_ns = 1000000,
	};
	const char *what = NULL;
	int c;

	for (unsigned m = 0; m < NEIGHBOUR_MODES; m++)
		o.mode[m] = true;
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h')
			return cli_help("neighbour", help);
		if (c == OPT_CHILD)
			what = optarg;
		else if (take_option(c, &o))
			return CLI_USAGE;
	}
	if (optind < argc)
		return cli_usage("neighbour",
				 "takes no argument, but '%s' was given",
				 argv[optind]);
	return what ? child(&o, what) : run(&o);
}
