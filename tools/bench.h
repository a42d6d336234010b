/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of `megakernel bench`. */
#ifndef BENCH_H
#define BENCH_H

#include "cli.h"
#include "harness.h"

#define BENCH_RESULTS_MAX 16u
#define BENCH_QUEUE_ENTRIES 1024u

struct bench_options {
	struct cli_engine engine; /* isolation DEFAULT: both */
	bool json, quick, no_peers;
	const char *only; /* sections, separated by commas; NULL: all */
	const char *svg;  /* where to write a picture; NULL: nowhere */
	const char *save; /* where to write the JSON too; NULL: nowhere */
};

/* Where, when and by which command. */
struct bench_env {
	char processor[96], kernel[160], date[32], command[256];
	long cores;
};

/* Resident memory of a context with one queue. */
struct bench_memory {
	uint64_t caller_bytes; /* what the caller grew by */
	uint64_t worker_bytes; /* of the worker process; 0: there is none */
};

struct bench_report {
	uint32_t workers;
	unsigned own;     /* results[0..own-1] are ours, peers follow */
	unsigned results;
	struct harness_result result[BENCH_RESULTS_MAX];
	struct bench_memory memory;
	bool has_memory;
	bool has_peers;
};

/* bench_own.c: measure the library with one isolation. 0 or -1, printed. */
int bench_own(const struct bench_options *o, uint32_t isolation,
	      uint32_t workers, struct harness_result *out);

/* bench_memory.c: before anything else has used memory. 0 or -1, printed. */
int bench_memory(const struct bench_options *o, struct bench_memory *out);

/* bench_peers.c: run megakernel-bench-peers, append what it measured. 0, or
 * -1 if there is none or it failed; `why` says which. */
int bench_peers(const struct bench_options *o, struct bench_report *report,
		char *why, size_t room);

/* bench_env.c. argv as main() got it, with the subcommand's name first. */
void bench_env_take(struct bench_env *e, int argc, char **argv);
/* Print it as JSON and write it to files, as the options ask. Frees it. The
 * exit status. */
int bench_put_json(const struct bench_options *o, json_t *all);
/* Adds "command", "date", "machine". */
void bench_env_json(const struct bench_env *e, json_t *to);

/* bench_report.c: measure by sections and print. The exit status. */
int bench_report(const struct bench_options *o, const struct bench_env *env);

/* bench_print.c */
int bench_print_table(const struct bench_options *o,
		      const struct bench_env *env,
		      const struct bench_report *report);
json_t *bench_to_json(const struct bench_options *o,
		      const struct bench_env *env,
		      const struct bench_report *report);
/* The picture of all round trips at depth 1. 0 or -1, printed. */
int bench_draw(const struct bench_options *o, const struct bench_env *env,
	       const struct bench_report *report);

#endif
