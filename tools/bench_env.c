/* SPDX-License-Identifier: Apache-2.0 */
/* Where and when something was measured, and by which command. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

/* The first "model name", or the machine's kind where there is none. */
static void find_processor(char *out, size_t room)
{
	FILE *f = fopen("/proc/cpuinfo", "r");
	char line[256], *value;
	struct utsname u;

	out[0] = 0;
	while (f && !out[0] && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "model name", 10) != 0)
			continue;
		value = strchr(line, ':');
		if (value)
			snprintf(out, room, "%.*s",
				 (int)strcspn(value + 2, "\n"), value + 2);
	}
	if (f)
		fclose(f);
	if (!out[0] && !uname(&u))
		snprintf(out, room, "%s", u.machine);
}

void bench_env_take(struct bench_env *e, int argc, char **argv)
{
	time_t now = time(NULL);
	struct utsname u;
	struct tm utc;
	size_t used = 0;

	memset(e, 0, sizeof(*e));
	find_processor(e->processor, sizeof(e->processor));
	e->cores = sysconf(_SC_NPROCESSORS_ONLN);
	if (!uname(&u))
		snprintf(e->kernel, sizeof(e->kernel), "%s %s", u.sysname,
			 u.release);
	if (gmtime_r(&now, &utc))
		strftime(e->date, sizeof(e->date), "%Y-%m-%dT%H:%M:%SZ", &utc);
	snprintf(e->command, sizeof(e->command), "megakernel bench");
	for (int i = 1; i < argc && used < sizeof(e->command); i++) {
		used = strlen(e->command);
		snprintf(e->command + used, sizeof(e->command) - used, " %s",
			 argv[i]);
	}
}

void bench_env_json(const struct bench_env *e, json_t *to)
{
	json_object_set_new(to, "command", json_string(e->command));
	json_object_set_new(to, "date", json_string(e->date));
	json_object_set_new(to, "machine", json_pack(
		"{s:s,s:I,s:s}", "processor", e->processor, "cores",
		(json_int_t)e->cores, "kernel", e->kernel));
}

int bench_put_json(const struct bench_options *o, json_t *all)
{
	int status = CLI_OK;

	if (!all) {
		cli_error("bench", "JSON: no memory");
		return CLI_SOME_FAILED;
	}
	if (o->save && json_dump_file(all, o->save, JSON_INDENT(1) |
				      JSON_PRESERVE_ORDER)) {
		cli_error("bench", "%s: %s", o->save, strerror(errno));
		status = CLI_SOME_FAILED;
	}
	if (!o->json)
		json_decref(all);
	else if (cli_print_json("bench", all))
		status = CLI_SOME_FAILED;
	return status;
}
