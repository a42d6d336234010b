/* SPDX-License-Identifier: Apache-2.0 */
/* The program `megakernel`: picks the subcommand. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static const struct cli_command commands[] = {
	{ "info", "show engines, devices, limits and the ABI", cmd_info },
	{ "map", "run a handler over files and print a line a file", cmd_map },
	{ "scan", "find patterns in files, as grep -b -o does", cmd_scan },
	{ "bench", "measure round trips and throughput, with peers",
	  cmd_bench },
	{ "chaos", "inject faults into a checked workload", cmd_chaos },
	{ "neighbour", "make CUDA calls beside a resident kernel",
	  cmd_neighbour },
	{ "compile", "compile a handler source file ahead of time",
	  cmd_compile },
	{ "postmortem", "show what was going on when a device was lost",
	  cmd_postmortem },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const char help_head[] =
	"Usage: megakernel COMMAND [OPTIONS]\n"
	"       megakernel --help | --version\n"
	"\n"
	"Feed small pieces of work to an engine that stays resident.\n"
	"\n"
	"Commands:\n";

static const char help_tail[] =
	"\n"
	"Examples:\n"
	"  megakernel info                        what is there on this machine\n"
	"  megakernel map sha256 /usr/include     as sha256sum would print it\n"
	"  megakernel map ./mine.c *.log          a handler of your own\n"
	"  megakernel bench --quick               numbers in some seconds\n"
	"\n"
	"'megakernel COMMAND --help' teaches one command. Exit status: 0 all\n"
	"well, 1 some input failed, 2 wrong usage, no engine, or it was lost.\n";

static int help(void)
{
	fputs(help_head, stdout);
	for (size_t i = 0; i < COMMANDS; i++)
		printf("  %-10s %s\n", commands[i].name, commands[i].summary);
	return cli_help(NULL, help_tail);
}

static int unknown(const char *name)
{
	size_t length = strlen(name);

	for (size_t i = 0; i < COMMANDS; i++)
		if (length &&
		    !strncmp(commands[i].name, name, length < 3 ? length : 3))
			return cli_usage(NULL,
					 "there is no command '%s'; did "
					 "you mean '%s'?",
					 name, commands[i].name);
	return cli_usage(NULL,
			 "there is no command '%s'; there are info, map, "
			 "scan, bench, chaos, neighbour, compile and "
			 "postmortem",
			 name);
}

/*
 * A standard stream that was closed before we started stays unusable: the
 * next file that is opened would get its number, and be read as standard
 * input or printed over. /dev/null opened the wrong way round fails as a
 * closed descriptor does, with EBADF.
 */
static void guard_standard(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY
							 : O_RDONLY) != fd)
			return; /* no /dev/null, or no descriptor */
}

int main(int argc, char **argv)
{
	char shown[64], option[] = "--help";

	guard_standard();
	/* a reader that leaves is an error of write(), told by EPIPE */
	signal(SIGPIPE, SIG_IGN);
	if (argc < 2)
		return cli_usage(NULL, "a command is missing");
	if (!strcmp(argv[1], "help") && argc > 2) {
		/* "help COMMAND" is "COMMAND --help" */
		argv[1] = argv[2];
		argv[2] = option;
		argc = 3;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
	    !strcmp(argv[1], "help"))
		return help();
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("megakernel %s (ABI %u)\n", mk_version(),
		       MK_ABI_VERSION);
		return cli_close_stdout(NULL);
	}
	for (size_t i = 0; i < COMMANDS; i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		/* getopt puts argv[0] before its messages */
		snprintf(shown, sizeof(shown), "megakernel: %s", argv[1]);
		argv[1] = shown;
		return commands[i].run(argc - 1, argv + 1);
	}
	if (argv[1][0] == '-')
		return cli_usage(NULL,
				 "there is no option '%s'; options come "
				 "after the command",
				 argv[1]);
	return unknown(argv[1]);
}
