/* SPDX-License-Identifier: Apache-2.0 */
/* megakernel postmortem: what was going on when the device was lost. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "postmortem.h"

static const char help[] =
	"Usage: megakernel postmortem [--json] FILE\n"
	"\n"
	"Print a record of evidence: what each worker was doing, and what each\n"
	"queue held, when a context lost its device or worker process, or found\n"
	"a slot that made no progress. FILE is one that a context with an\n"
	"evidence_dir wrote (evidence-PID-NUMBER.json); '-' is standard input.\n"
	"\n"
	"Options:\n"
	"  --json    the record itself, checked and laid out\n"
	"  --help    this text\n"
	"\n"
	"Examples:\n"
	"  megakernel postmortem /var/tmp/evidence-4711-1.json\n"
	"  megakernel postmortem --json FILE | jq '.workers[].slot.handler'\n"
	"\n"
	"Exit status: 0; 1: FILE cannot be read, or is no such record.\n";

static const struct option options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

/* All of it, but not without end. NULL: printed. */
static char *read_all(FILE *f, const char *name, size_t *size)
{
	size_t room = 65536, n = 0, got;
	char *data = malloc(room), *more;

	while (data && (got = fread(data + n, 1, room - n, f)) > 0) {
		n += got;
		if (n < room)
			continue;
		room *= 2;
		more = n < POSTMORTEM_BYTES_MAX ? realloc(data, room) : NULL;
		if (!more) {
			cli_error("postmortem", "%s: %s", name,
				  n < POSTMORTEM_BYTES_MAX ?
					  "no memory" :
					  "too long for a record");
			free(data);
			return NULL;
		}
		data = more;
	}
	if (!data || ferror(f)) {
		cli_error("postmortem", "%s: %s", name, strerror(errno));
		free(data);
		return NULL;
	}
	*size = n;
	return data;
}

static int show(const char *name, FILE *f, bool json)
{
	char why[512];
	size_t size;
	char *data = read_all(f, name, &size);
	json_t *record;

	if (!data)
		return CLI_SOME_FAILED;
	record = postmortem_read(data, size, why, sizeof(why));
	free(data);
	if (!record) {
		cli_error("postmortem", "%s: %s", name, why);
		return CLI_SOME_FAILED;
	}
	if (json)
		return cli_print_json("postmortem", record);
	postmortem_print(record, stdout);
	json_decref(record);
	return cli_close_stdout("postmortem");
}

int cmd_postmortem(int argc, char **argv)
{
	bool json = false;
	const char *name;
	int c, status;
	FILE *f;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h')
			return cli_help("postmortem", help);
		if (c != 'j')
			return cli_usage("postmortem", NULL);
		json = true;
	}
	if (optind == argc)
		return cli_usage("postmortem", "FILE is missing");
	if (optind + 1 < argc)
		return cli_usage("postmortem", "takes one FILE, but '%s' was "
				 "given too", argv[optind + 1]);
	name = argv[optind];
	f = strcmp(name, "-") ? fopen(name, "rbe") : stdin;
	if (!f) {
		cli_error("postmortem", "%s: %s", name, strerror(errno));
		return CLI_SOME_FAILED;
	}
	status = show(name, f, json);
	if (f != stdin)
		fclose(f);
	return status;
}
