/* SPDX-License-Identifier: Apache-2.0 */
/* megakernel compile: a handler source file into a module file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

static const char help[] =
	"Usage: megakernel compile [OPTIONS] FILE.c\n"
	"\n"
	"Compile the handlers of a source file ahead of time into a module file,\n"
	"and show what it made. A machine without a compiler can load the module\n"
	"file; 'megakernel map' and mk_module_load() take either.\n"
	"\n"
	"Options:\n"
	"  -o, --output OUT    write OUT; default: FILE.mkm\n"
	"  --engine LIST       engines, with commas; default: cpu. 'cuda' compiles\n"
	"                      for the device that is here, 'cuda:sm_90' for that\n"
	"                      architecture\n"
	"  --compiler NAME     the C compiler; default: $CC, else cc, gcc, clang\n"
	"  --json              show it as JSON\n"
	"  --help              this text\n"
	"\n"
	"Examples:\n"
	"  megakernel compile zeros.c && megakernel map zeros.mkm /var/log\n"
	"  megakernel compile -o /usr/lib/myapp/handlers.mkm handlers.c\n"
	"  megakernel compile --engine cpu,cuda:sm_80,cuda:sm_90 handlers.c\n";

static const struct option options[] = {
	{ "output", required_argument, NULL, 'o' },
	{ "engine", required_argument, NULL, 'e' },
	{ "compiler", required_argument, NULL, 'c' },
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

struct compile {
	struct mk_ctx_params params;
	const char *source;
	const char *out;
	char *made_out; /* out, if it was made here */
	bool json;
};

static const char *const widths[] = { "thread", "warp", "block" };

/* n: handlers; -1: it could not be loaded here to see them */
static int show_json(const struct compile *c, uint64_t bytes,
		     const struct mk_handler_info *h, int n)
{
	json_t *all = json_object(), *list = json_array();

	json_object_set_new(all, "file", json_string(c->out));
	json_object_set_new(all, "bytes", cli_json_u64(bytes));
	if (n < 0)
		json_object_set_new(all, "not_loaded",
				    json_string(mk_error_last()->text));
	for (int i = 0; i < n; i++) {
		json_t *one = json_object();

		json_object_set_new(one, "name", json_string(h[i].name));
		json_object_set_new(one, "arg_bytes",
				    json_integer(h[i].arg_bytes));
		json_object_set_new(one, "width",
				    json_string(widths[h[i].width % 3]));
		json_array_append_new(list, one);
	}
	if (n < 0)
		json_decref(list);
	else
		json_object_set_new(all, "handlers", list);
	return cli_print_json("compile", all);
}

static int show(const struct compile *c, uint64_t bytes,
		const struct mk_handler_info *h, int n)
{
	if (c->json)
		return show_json(c, bytes, h, n);
	if (n < 0) {
		printf("%s: %llu bytes; not loaded: %s\n", c->out,
		       (unsigned long long)bytes, mk_error_last()->text);
		return cli_close_stdout("compile");
	}
	printf("%s: %llu bytes, %d handler%s\n", c->out,
	       (unsigned long long)bytes, n, n == 1 ? "" : "s");
	for (int i = 0; i < n; i++)
		printf("  %-24s %2u bytes of arguments, %s-wide\n", h[i].name,
		       h[i].arg_bytes, widths[h[i].width % 3]);
	return cli_close_stdout("compile");
}

/* The handlers of the module file, by loading it: that checks it, too. */
static int handlers_of(struct mk_ctx *ctx, const char *path,
		       struct mk_handler_info *out)
{
	struct mk_handler_info all[MK_OPCODES];
	uint32_t id;
	int n = mk_module_load(ctx, path, 0, &id), found = 0;

	if (n < 0)
		return n;
	n = mk_handler_list(ctx, all, MK_OPCODES);
	for (int i = 0; i < n && i < (int)MK_OPCODES; i++)
		if (all[i].module == id)
			out[found++] = all[i];
	return found;
}

static int cannot_stat(const struct compile *c)
{
	cli_error("compile", "%s: %s", c->out, strerror(errno));
	return CLI_USAGE;
}

/* An engine of the list to load the file into: one of this machine's own
 * processor if there is any. */
static void checker(const char *list, char *name, size_t room)
{
	snprintf(name, room, "cuda");
	for (; *list; list += *list == ',') {
		size_t bytes = strcspn(list, ",");

		if (strncmp(list, "cuda", 4) != 0 && bytes < room) {
			memcpy(name, list, bytes);
			name[bytes] = '\0';
		}
		list += bytes;
	}
}

/* Make it, and load it to see what it has; without the device that it is for
 * there is nothing to be seen. */
static int compile(const struct compile *c)
{
	struct mk_ctx_params params = c->params;
	struct mk_handler_info h[MK_OPCODES];
	struct mk_ctx *ctx;
	struct stat st;
	char engine[64] = "cpu";
	int n, r = mk_module_compile(&c->params, c->source, c->out);

	if (r < 0)
		return cli_library_error("compile", c->source, r);
	if (params.engine) {
		checker(params.engine, engine, sizeof(engine));
		params.engine = engine;
	}
	r = mk_ctx_create(&params, &ctx);
	if (r == -MK_EENGINE && !strcmp(engine, "cuda"))
		return stat(c->out, &st) ? cannot_stat(c) :
			show(c, (uint64_t)st.st_size, NULL, -1);
	if (r < 0)
		return cli_library_error("compile",
					 "no engine to check the "
					 "module with",
					 r);
	n = handlers_of(ctx, c->out, h);
	if (n < 0)
		cli_library_error("compile", c->source, n);
	mk_ctx_destroy(ctx, 1000000000u);
	if (n < 0) {
		unlink(c->out); /* what cannot be loaded is of no use */
		return CLI_USAGE;
	}
	if (stat(c->out, &st))
		return cannot_stat(c);
	return show(c, (uint64_t)st.st_size, h, n);
}

/* zeros.c: zeros.mkm, in the same directory. */
static int name_output(struct compile *c)
{
	size_t length;

	if (!c->source)
		return -1;
	if (c->out)
		return 0;
	length = strlen(c->source);
	if (length > 2 && !strcmp(c->source + length - 2, ".c"))
		length -= 2;
	if (asprintf(&c->made_out, "%.*s.mkm", (int)length, c->source) < 0 ||
	    !c->made_out) {
		c->made_out = NULL;
		cli_error("compile", "no memory");
		return -1;
	}
	c->out = c->made_out;
	return 0;
}

/* -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct compile *c)
{
	int o;

	while ((o = getopt_long(argc, argv, "ho:", options, NULL)) != -1) {
		switch (o) {
		case 'o':
			c->out = optarg;
			break;
		case 'e':
			c->params.engine = optarg;
			break;
		case 'c':
			c->params.compiler = optarg;
			break;
		case 'j':
			c->json = true;
			break;
		case 'h':
			return cli_help("compile", help);
		default:
			return cli_usage("compile", NULL);
		}
	}
	if (optind + 1 != argc)
		return cli_usage("compile",
				 optind == argc
					 ? "FILE.c is missing"
					 : "takes one file, but %d were given",
				 argc - optind);
	c->source = argv[optind];
	return -1;
}

int cmd_compile(int argc, char **argv)
{
	struct compile c = { .params.size = sizeof(c.params) };
	int status = parse(argc, argv, &c);

	if (status >= 0)
		return status;
	status = name_output(&c) ? CLI_USAGE : compile(&c);
	free(c.made_out);
	return status;
}
