/* SPDX-License-Identifier: Apache-2.0 */
/* megakernel scan: patterns in files, as grep -b -o -H prints them. */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "scan_run.h"

static const char help[] =
	"Usage: megakernel scan [OPTIONS] PATTERNS [PATH...]\n"
	"       megakernel scan [OPTIONS] -e PATTERNS|-f FILE... [PATH...]\n"
	"\n"
	"Print each match of PATTERNS (one a line) as PATH:OFFSET:TEXT, which is\n"
	"what grep -b -o -H -r prints. Directories are walked; the files below one\n"
	"come in byte order of their paths. '-', or no PATH, is standard input.\n"
	"\n"
	"Patterns:\n"
	"  -G, --basic-regexp     basic regular expressions (default)\n"
	"  -E, --extended-regexp  extended ones\n"
	"  -F, --fixed-strings    no regular expressions but text\n"
	"  -e, --regexp PATTERNS  patterns; may be given several times\n"
	"  -f, --file FILE        patterns of a file, one a line\n"
	"  -i, --ignore-case      ASCII letters of both cases are the same\n"
	"  -x, --line-regexp      a match is a whole line\n"
	"\n"
	"Output:\n"
	"  -c, --count            the number of lines that match, for each file\n"
	"  -l, --files-with-matches   only the paths of files that match\n"
	"  -h, --no-filename      no path before a match\n"
	"  -q, --quiet            nothing; ends with the first match\n"
	"  -s, --no-messages      no word on files that cannot be read\n"
	"  -a, --text             binary files are text, too\n"
	"  -I                     binary files do not match\n"
	"  -b, -o, -H, -r         what is done anyway\n"
	"  --json                 an object a match\n"
	"  --stats                a table of counts on stderr at the end\n"
	"\n"
	"Engine:\n"
	"  --engine NAME          'cpu' (see 'megakernel info')\n"
	"  --workers N            workers of the engine; default: ask the machine\n"
	"  --readers N            threads that read files; default: one a core\n"
	"  --isolation WHERE      'process' (default) or 'none'\n"
	"  --help                 this text\n"
	"\n"
	"Examples:\n"
	"  megakernel scan -F -e EINTR -e EAGAIN /usr/include\n"
	"  megakernel scan -E 'v[0-9]+(\\.[0-9]+)*' CHANGELOG.md\n"
	"  megakernel scan -F -f words.txt --count src | grep -v ':0$'\n"
	"\n"
	"Exit status: 0 a line matches, 1 none does, 2 something failed. What is\n"
	"understood of regular expressions: megakernel-scan(1).\n";

enum {
	OPT_READERS = CLI_OPT_OWN,
	OPT_JSON,
	OPT_STATS,
	OPT_HELP
};

static const struct option options[] = {
	{ "basic-regexp", no_argument, NULL, 'G' },
	{ "extended-regexp", no_argument, NULL, 'E' },
	{ "fixed-strings", no_argument, NULL, 'F' },
	{ "regexp", required_argument, NULL, 'e' },
	{ "file", required_argument, NULL, 'f' },
	{ "ignore-case", no_argument, NULL, 'i' },
	{ "line-regexp", no_argument, NULL, 'x' },
	{ "count", no_argument, NULL, 'c' },
	{ "files-with-matches", no_argument, NULL, 'l' },
	{ "no-filename", no_argument, NULL, 'h' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "silent", no_argument, NULL, 'q' },
	{ "no-messages", no_argument, NULL, 's' },
	{ "text", no_argument, NULL, 'a' },
	{ "byte-offset", no_argument, NULL, 'b' },
	{ "only-matching", no_argument, NULL, 'o' },
	{ "with-filename", no_argument, NULL, 'H' },
	{ "recursive", no_argument, NULL, 'r' },
	CLI_ENGINE_OPTIONS,
	{ "readers", required_argument, NULL, OPT_READERS },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "stats", no_argument, NULL, OPT_STATS },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static void take_style(struct scan_settings *o, enum scan_style style)
{
	/* as with grep: -q before -l before -c */
	if (style > o->style)
		o->style = style;
}

static int take_option(int c, struct scan_settings *o, struct scan_patterns *p)
{
	uint64_t n;

	switch (c) {
	case 'G':
		o->compile.syntax = SCAN_BASIC;
		return 0;
	case 'E':
		o->compile.syntax = SCAN_EXTENDED;
		return 0;
	case 'F':
		o->compile.syntax = SCAN_FIXED;
		return 0;
	case 'e':
		return scan_patterns_add(p, optarg, strlen(optarg));
	case 'f':
		return scan_patterns_file(p, optarg);
	case 'i':
		o->compile.fold = true;
		return 0;
	case 'x':
		o->compile.whole_line = true;
		return 0;
	case 'c':
		take_style(o, SCAN_STYLE_COUNT);
		return 0;
	case 'l':
		take_style(o, SCAN_STYLE_FILES);
		return 0;
	case 'q':
		take_style(o, SCAN_STYLE_QUIET);
		return 0;
	case 'h':
	case 'H':
		o->bare = c == 'h';
		return 0;
	case 's':
		o->quiet_errors = true;
		return 0;
	case 'a':
		o->text = true;
		o->skip = false;
		return 0;
	case 'I':
		o->skip = true;
		o->text = false;
		return 0;
	case 'b':
	case 'o':
	case 'r':
		return 0;
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_STATS:
		o->stats = true;
		return 0;
	case OPT_READERS:
		if (cli_number("scan", "--readers", optarg, 1,
			       CREW_THREADS_MAX, &n))
			return -1;
		o->readers = (uint32_t)n;
		return 0;
	default:
		return cli_engine_option("scan", c, &o->engine);
	}
}

/* -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct scan_settings *o,
		 struct scan_patterns *p)
{
	bool given = false;
	int c;

	while ((c = getopt_long(argc, argv, "GEFe:f:ixclhHqsaIbor", options,
				NULL)) != -1) {
		if (c == OPT_HELP)
			return cli_help("scan", help);
		if (take_option(c, o, p))
			return CLI_USAGE;
		given |= c == 'e' || c == 'f';
	}
	if (given)
		return -1;
	if (optind == argc)
		return cli_usage("scan", "PATTERNS are missing");
	if (scan_patterns_add(p, argv[optind], strlen(argv[optind])))
		return CLI_USAGE;
	optind++;
	return -1;
}

/* As for grep, patterns and text are what the locale says. */
static bool locale_is_utf8(void)
{
	locale_t locale = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
	bool utf8 = false;

	if (locale) {
		utf8 = !strcmp(nl_langinfo_l(CODESET, locale), "UTF-8");
		freelocale(locale);
	}
	return utf8;
}

/* 0; else it has said what is wrong. */
static int compile(const struct scan_patterns *p,
		   const struct scan_settings *o, void **image, size_t *bytes)
{
	struct scan_problem problem;
	int r = scan_compile(p->list, p->count, &o->compile, image, bytes,
			     &problem);

	if (!r)
		return 0;
	if (r == -ENOMEM)
		cli_error("scan", "no memory for the tables of the patterns");
	else if (problem.pattern >= p->count)
		cli_error("scan", "%s", problem.text);
	else
		cli_error("scan", "pattern %zu ('%.*s'), byte %zu: %s",
			  problem.pattern + 1,
			  (int)(p->list[problem.pattern].bytes < 60 ?
					p->list[problem.pattern].bytes : 60),
			  p->list[problem.pattern].text, problem.at + 1,
			  problem.text);
	return -1;
}

/* Say why it ended early. */
static void stopped_early(struct scan *s)
{
	if (!s->crew.fatal)
		return; /* enough was seen */
	if (s->crew.fatal == -EPIPE && s->crew.out.error)
		return; /* the reader of our lines has left */
	cli_error("scan", "%s%s",
		  s->crew.fatal == -MK_EDEVLOST ? "the device was lost: " : "",
		  s->crew.fatal_text);
	if (!s->crew.out.error)
		cli_error("scan",
			  "ended after %llu files; what is printed is "
			  "right, but not all",
			  (unsigned long long)s->crew.files);
}

static int run(struct scan *s, char *const *paths, unsigned count)
{
	crew_run(&s->crew, paths, count);
	if (output_flush(&s->crew.out) && !s->crew.stop)
		crew_stop(&s->crew, -s->crew.out.error, "standard output: %s",
			  strerror(s->crew.out.error));
	crew_note_losses(&s->crew);
	if (s->crew.stop)
		stopped_early(s);
	if (s->settings->stats)
		scan_print_stats(s);
	if (s->settings->style == SCAN_STYLE_QUIET && s->selected)
		return 0;
	if ((s->crew.stop && s->crew.fatal) || s->crew.failed)
		return 2;
	return s->selected ? 0 : 1;
}

static int open_and_run(const struct scan_settings *o,
			const struct scan_patterns *p, char *const *paths,
			unsigned count)
{
	struct scan *s = malloc(sizeof(*s));
	size_t bytes = 0;
	void *image = NULL;
	int status = CLI_USAGE;

	if (!s)
		cli_error("scan", "no memory");
	else if (!compile(p, o, &image, &bytes)) {
		if (!scan_open(s, o, image, bytes, paths, count))
			status = run(s, paths, count);
		scan_close(s);
	}
	free(image);
	free(s);
	return status;
}

int cmd_scan(int argc, char **argv)
{
	static char *const standard[] = { (char *)"-" };
	struct scan_settings o = { .readers = cli_cores(),
				   .compile.syntax = SCAN_BASIC,
				   .compile.utf8 = locale_is_utf8() };
	struct scan_patterns p = { 0 };
	int status = parse(argc, argv, &o, &p);

	/* of empty files of patterns, as grep: nothing can match */
	if (status < 0 && !p.count)
		status = 1;
	if (status < 0 && optind == argc)
		status = open_and_run(&o, &p, standard, 1);
	else if (status < 0)
		status = open_and_run(&o, &p, argv + optind,
				      (unsigned)(argc - optind));
	scan_patterns_free(&p);
	return status;
}
