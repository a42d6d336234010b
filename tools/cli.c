/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/order.h"
#include "cli.h"

#define ENGINES_MOST 16

static uint32_t bar; /* relaxed: at worst a message stands behind it */

void cli_bar(bool shown)
{
	mk_store_relaxed(&bar, shown);
}

static void cli_verror(const char *command, const char *format, va_list ap)
{
	char text[2048];

	/* one write, so that lines of several threads do not mix */
	vsnprintf(text, sizeof(text), format, ap);
	fprintf(stderr, "%smegakernel: %s%s%s\n",
		mk_load_relaxed(&bar) ? "\r\033[K" : "",
		command ? command : "", command ? ": " : "", text);
}

void cli_error(const char *command, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	cli_verror(command, format, ap);
	va_end(ap);
}

int cli_usage(const char *command, const char *format, ...)
{
	va_list ap;

	if (format) {
		va_start(ap, format);
		cli_verror(command, format, ap);
		va_end(ap);
	}
	fprintf(stderr, "Try 'megakernel %s%s--help'.\n",
		command ? command : "", command ? " " : "");
	return CLI_USAGE;
}

int cli_library_error(const char *command, const char *attempt, int code)
{
	const struct mk_error *e = mk_error_last();

	if (e->code == code && !strncmp(e->text, attempt, strlen(attempt)))
		cli_error(command, "%s", e->text); /* names it already */
	else if (e->code == code && e->text[0])
		cli_error(command, "%s: %s", attempt, e->text);
	else
		cli_error(command, "%s: %s", attempt, mk_strerror(code));
	return CLI_USAGE;
}

int cli_number(const char *command, const char *option, const char *text,
	       uint64_t min, uint64_t max, uint64_t *out)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || value < min ||
	    value > max) {
		cli_usage(command,
			  "%s is '%s', must be a number from %llu "
			  "to %llu",
			  option, text, (unsigned long long)min,
			  (unsigned long long)max);
		return -1;
	}
	*out = value;
	return 0;
}

/* "process" or "none". */
static int take_isolation(const char *command, const char *text, uint32_t *out)
{
	if (!strcmp(text, "process")) {
		*out = MK_ISOLATION_PROCESS;
	} else if (!strcmp(text, "none")) {
		*out = MK_ISOLATION_NONE;
	} else {
		cli_usage(command,
			  "--isolation is '%s', must be 'process' "
			  "or 'none'",
			  text);
		return -1;
	}
	return 0;
}

/* The name of an engine of this library; whether it can be used here is said
 * when it is. Nobody is asked who may take long unless the name is no good. */
static int take_engine(const char *command, const char *text,
		       const char **out)
{
	struct mk_engine_info info[ENGINES_MOST];
	char names[128] = "";
	int n;

	*out = text;
	if (!strcmp(text, "cpu") || !strcmp(text, "cuda"))
		return 0;
	n = mk_engine_list(info, ENGINES_MOST);
	for (int i = 0; i < n && i < ENGINES_MOST; i++) {
		size_t used = strlen(names);

		if (!strcmp(text, info[i].name))
			return 0;
		if (!info[i].device)
			snprintf(names + used, sizeof(names) - used,
				 "%s'%.15s'", used ? ", " : "",
				 info[i].name);
	}
	cli_usage(command, "--engine is '%s', this library has %s; see "
		  "'megakernel info'", text, names);
	return -1;
}

int cli_engine_option(const char *command, int c, struct cli_engine *e)
{
	uint64_t n;

	switch (c) {
	case CLI_OPT_ENGINE:
		return take_engine(command, optarg, &e->name);
	case CLI_OPT_WORKERS:
		if (cli_number(command, "--workers", optarg, 1, 1024, &n))
			return -1;
		e->workers = (uint32_t)n;
		return 0;
	case CLI_OPT_ISOLATION:
		return take_isolation(command, optarg, &e->isolation);
	default:
		cli_usage(command, NULL);
		return -1;
	}
}

uint32_t cli_cores(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;

	if (!sched_getaffinity(0, sizeof(set), &set))
		n = CPU_COUNT(&set);
	return n < 1 ? 1 : n > 256 ? 256 : (uint32_t)n;
}

int cli_help(const char *command, const char *text)
{
	fputs(text, stdout);
	return cli_close_stdout(command);
}

int cli_close_stdout(const char *command)
{
	bool failed = ferror(stdout);

	errno = 0;
	if (fflush(stdout) || failed) {
		if (errno != EPIPE) /* a reader that left needs no telling */
			cli_error(command, "standard output: %s",
				  errno ? strerror(errno) : "write error");
		return CLI_SOME_FAILED;
	}
	return CLI_OK;
}

int cli_print_json(const char *command, json_t *value)
{
	int r = value ? json_dumpf(value, stdout,
				   JSON_INDENT(2) | JSON_PRESERVE_ORDER)
		      : -1;

	json_decref(value);
	if (!r)
		putchar('\n');
	else if (!ferror(stdout))
		cli_error(command, "JSON: no memory");
	return cli_close_stdout(command) || r ? CLI_SOME_FAILED : CLI_OK;
}

json_t *cli_json_u64(uint64_t value)
{
	char text[24];

	if (value <= INT64_MAX)
		return json_integer((json_int_t)value);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return json_string(text);
}
