/* SPDX-License-Identifier: Apache-2.0 */
/* megakernel info: what there is on this machine, and the limits. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char help[] =
	"Usage: megakernel info [--json]\n"
	"\n"
	"Show the engines and devices of this machine, whether each can be used\n"
	"or why not, the limits of this version, and its ABI.\n"
	"\n"
	"Options:\n"
	"  --json    the same as one JSON object\n"
	"  --help    this text\n"
	"\n"
	"Examples:\n"
	"  megakernel info\n"
	"  megakernel info --json | jq '.engines[] | select(.available)'\n";

static const struct option options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static const struct {
	const char *name;
	uint32_t value;
	const char *what;
} limits[] = {
	{ "slot_bytes", MK_SLOT_BYTES, "one piece of work" },
	{ "completion_bytes", MK_COMPLETION_BYTES, "one answer" },
	{ "arg_bytes", MK_ARG_BYTES, "arguments of a slot" },
	{ "ring_entries_min", MK_RING_ENTRIES_MIN, "slots of a queue" },
	{ "ring_entries_max", MK_RING_ENTRIES_MAX, "slots of a queue" },
	{ "opcodes", MK_OPCODES, "of a context" },
	{ "opcode_user", MK_OPCODE_USER, "first opcode of a loaded module" },
	{ "tenants", MK_TENANTS, "of a queue" },
	{ "priorities", MK_PRIORITIES, "of a queue" },
	{ "handler_name_bytes", MK_HANDLER_NAME_BYTES,
	  "with the terminating zero" },
};

#define LIMITS (sizeof(limits) / sizeof(limits[0]))

static const struct {
	const char *name;
	size_t at;
} facts[] = {
	{ "clock_mhz", offsetof(struct mk_engine_info, clock_mhz) },
	{ "capability", offsetof(struct mk_engine_info, capability) },
	{ "driver", offsetof(struct mk_engine_info, driver) },
	{ "compiler", offsetof(struct mk_engine_info, compiler) },
};

#define FACTS (sizeof(facts) / sizeof(facts[0]))

static void print_version(const char *what, uint32_t version,
			  const char *none)
{
	if (version)
		printf("  %-16s CUDA %u.%u\n", what, version / 1000,
		       version % 1000 / 10);
	else
		printf("  %-16s %s\n", what, none);
}

static void print_engine(const struct mk_engine_info *e)
{
	printf("%s:%u  %s\n", e->name, e->device,
	       e->device_name[0] ? e->device_name : "(no device)");
	if (e->available < 0) {
		printf("  not available    %s\n",
		       e->reason[0] ? e->reason : mk_strerror(e->available));
		return;
	}
	printf("  available        yes\n");
	printf("  units            %u\n", e->units);
	printf("  workers          %u by default\n", e->workers);
	printf("  warp             %u lane%s\n", e->warp_lanes,
	       e->warp_lanes == 1 ? "" : "s");
	printf("  memory           %llu MiB\n",
	       (unsigned long long)(e->memory_bytes >> 20));
	if (e->clock_mhz)
		printf("  clock            %u MHz at most\n", e->clock_mhz);
	if (e->capability)
		printf("  capability       %u.%u\n", e->capability / 10,
		       e->capability % 10);
	if (!e->driver)
		return; /* of its own: what follows is of a GPU */
	print_version("driver", e->driver, "");
	print_version("compiler", e->compiler,
		      "none (NVRTC): modules come compiled, or from the cache");
}

static int print_table(const struct mk_engine_info *e, int n)
{
	printf("megakernel %s\n", mk_version());
	printf("ABI %u, fingerprint %08x\n\n", MK_ABI_VERSION,
	       (unsigned)MK_FINGERPRINT);
	for (int i = 0; i < n; i++)
		print_engine(&e[i]);
	printf("\nLimits\n");
	for (size_t i = 0; i < LIMITS; i++)
		printf("  %-19s %6u  %s\n", limits[i].name, limits[i].value,
		       limits[i].what);
	return cli_close_stdout("info");
}

static json_t *engine_json(const struct mk_engine_info *e)
{
	json_t *o = json_object();

	json_object_set_new(o, "name", json_string(e->name));
	json_object_set_new(o, "device", json_integer(e->device));
	json_object_set_new(o, "available", json_boolean(e->available >= 0));
	if (e->available < 0) {
		json_object_set_new(o, "code",
				    json_string(mk_code_name(e->available)));
		json_object_set_new(
			o, "reason",
			json_string(e->reason[0] ? e->reason
						 : mk_strerror(e->available)));
		return o;
	}
	json_object_set_new(o, "device_name", json_string(e->device_name));
	json_object_set_new(o, "units", json_integer(e->units));
	json_object_set_new(o, "workers", json_integer(e->workers));
	json_object_set_new(o, "warp_lanes", json_integer(e->warp_lanes));
	json_object_set_new(o, "memory_bytes", cli_json_u64(e->memory_bytes));
	for (size_t i = 0; i < FACTS; i++) {
		uint32_t value;

		memcpy(&value, (const char *)e + facts[i].at, sizeof(value));
		if (value) /* 0: unknown */
			json_object_set_new(o, facts[i].name,
					    json_integer(value));
	}
	return o;
}

static int print_json(const struct mk_engine_info *e, int n)
{
	json_t *all = json_object(), *engines = json_array();
	json_t *limit = json_object();
	char fingerprint[16];

	snprintf(fingerprint, sizeof(fingerprint), "%08x",
		 (unsigned)MK_FINGERPRINT);
	json_object_set_new(all, "version", json_string(mk_version()));
	json_object_set_new(all, "abi", json_integer(MK_ABI_VERSION));
	json_object_set_new(all, "fingerprint", json_string(fingerprint));
	for (int i = 0; i < n; i++)
		json_array_append_new(engines, engine_json(&e[i]));
	json_object_set_new(all, "engines", engines);
	for (size_t i = 0; i < LIMITS; i++)
		json_object_set_new(limit, limits[i].name,
				    json_integer(limits[i].value));
	json_object_set_new(all, "limits", limit);
	return cli_print_json("info", all);
}

int cmd_info(int argc, char **argv)
{
	struct mk_engine_info *e;
	bool json = false;
	int c, n, status;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h')
			return cli_help("info", help);
		if (c != 'j')
			return cli_usage("info", NULL);
		json = true;
	}
	if (optind < argc)
		return cli_usage("info",
				 "takes no argument, but '%s' was "
				 "given",
				 argv[optind]);
	n = mk_engine_list(NULL, 0);
	if (n < 0)
		return cli_library_error("info", "engines", n);
	e = calloc((size_t)n + 1, sizeof(*e));
	if (!e) {
		cli_error("info", "no memory");
		return CLI_USAGE;
	}
	n = mk_engine_list(e, (unsigned)n);
	status = json ? print_json(e, n) : print_table(e, n);
	free(e);
	return status;
}
