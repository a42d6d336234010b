/* SPDX-License-Identifier: Apache-2.0 */
/* What the subcommands of the program `megakernel` share. */
#ifndef CLI_H
#define CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>
#include <megakernel.h>

/* Exit codes of the program. */
enum cli_exit {
	CLI_OK = 0,
	CLI_SOME_FAILED = 1, /* an input failed, or output was not written */
	CLI_USAGE = 2 /* usage or set-up failed, or the device was lost */
};

struct cli_command {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv);
};

int cmd_info(int argc, char **argv);
int cmd_map(int argc, char **argv);
int cmd_scan(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_chaos(int argc, char **argv);
int cmd_neighbour(int argc, char **argv);
int cmd_compile(int argc, char **argv);
int cmd_postmortem(int argc, char **argv);

/* Print "megakernel: COMMAND: ..." on stderr. */
void cli_error(const char *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* A bar stands in the last line of stderr, a terminal, or does no more: what is
 * printed there wipes it first. Any thread. */
void cli_bar(bool shown);

/* As cli_error(), then where to look; returns CLI_USAGE. format NULL: only that
 * (getopt has printed the error). */
int cli_usage(const char *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Print what the library recorded for a call that returned `code`; what was
 * attempted stands before it. Returns CLI_USAGE. */
int cli_library_error(const char *command, const char *attempt, int code);

/* Read a decimal number in [min, max]; prints and returns -1 if it is none. */
int cli_number(const char *command, const char *option, const char *text,
	       uint64_t min, uint64_t max, uint64_t *out);

/* Cores that this process may use: 1 to 256. */
uint32_t cli_cores(void);

/* Print a help text on stdout; CLI_OK, or CLI_SOME_FAILED if that failed. */
int cli_help(const char *command, const char *text);

/* Flush stdout and say what went wrong; CLI_OK or CLI_SOME_FAILED. */
int cli_close_stdout(const char *command);

/* Print a JSON value and a newline on stdout, and free it. */
int cli_print_json(const char *command, json_t *value);

/* An unsigned number: an integer, or a string where JSON's signed 64 bits do
 * not hold it. */
json_t *cli_json_u64(uint64_t value);

/* Which engine a command uses. */
struct cli_engine {
	const char *name; /* NULL: the library's default */
	uint32_t isolation;
	uint32_t workers;
};

/* The options for that, in a command's list; its own begin at CLI_OPT_OWN. */
enum cli_option {
	CLI_OPT_ENGINE = 256,
	CLI_OPT_WORKERS,
	CLI_OPT_ISOLATION,
	CLI_OPT_OWN
};

#define CLI_ENGINE_OPTIONS \
	{ "engine", required_argument, NULL, CLI_OPT_ENGINE }, \
	{ "workers", required_argument, NULL, CLI_OPT_WORKERS }, \
	{ "isolation", required_argument, NULL, CLI_OPT_ISOLATION }

/* Take one of them, with optarg. Prints and returns -1 if its value is wrong,
 * or c is no option that there is. */
int cli_engine_option(const char *command, int c, struct cli_engine *e);

#endif
