/* SPDX-License-Identifier: Apache-2.0 */
/* `megakernel bench` by sections: set up, run, print. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench_cuda.h"
#include "bench_nvml.h"
#include "bench_run.h"

static bool is_cuda(const struct bench_options *o)
{
	return o->engine.name && !strcmp(o->engine.name, "cuda");
}

/* NVML names the driver best, but need not be there. */
static void name_driver(struct bench_cuda *c)
{
	struct bench_nvml *n = bench_nvml_open(c->bus);

	if (bench_nvml_driver(n)[0])
		snprintf(c->driver_text, sizeof(c->driver_text), "%s",
			 bench_nvml_driver(n));
	bench_nvml_close(n);
}

static void print_table(const struct bench *b, const struct bench_env *env)
{
	const struct bench_cuda *c = b->cuda;

	printf("megakernel %s, engine %s%s\n", mk_version(),
	       b->o->engine.name ? b->o->engine.name : "cpu",
	       b->o->quick ? "; quick: the tails need a full run" : "");
	if (c)
		printf("%s, %d multiprocessors; driver %s, CUDA %d.%d, NVRTC "
		       "%s\n", c->name, c->multiprocessors,
		       c->driver_text[0] ? c->driver_text : "unknown",
		       c->version / 1000, c->version % 1000 / 10, c->nvrtc);
	printf("%ld x %s, %s\n%s: %s\n", env->cores, env->processor,
	       env->kernel, env->date, env->command);
	bench_rows_print(b->rows);
}

static json_t *device_json(const struct bench_cuda *c)
{
	char capability[32], cuda[32];

	snprintf(capability, sizeof(capability), "%d.%d", c->major, c->minor);
	snprintf(cuda, sizeof(cuda), "%d.%d", c->version / 1000,
		 c->version % 1000 / 10);
	return json_pack("{s:s,s:i,s:s,s:s,s:s,s:s,s:s}", "name", c->name,
			 "multiprocessors", c->multiprocessors,
			 "compute_capability", capability, "driver",
			 c->driver_text, "cuda", cuda, "nvrtc", c->nvrtc,
			 "pci", c->bus);
}

static json_t *to_json(const struct bench *b, const struct bench_env *env)
{
	json_t *all = json_object();

	json_object_set_new(all, "version", json_string(mk_version()));
	json_object_set_new(all, "engine",
			    json_string(b->o->engine.name ? b->o->engine.name :
							    "cpu"));
	bench_env_json(env, all);
	if (b->cuda)
		json_object_set_new(all, "device", device_json(b->cuda));
	json_object_set_new(all, "isolation",
			    json_string(b->isolation == MK_ISOLATION_NONE ?
						"none" : "process"));
	json_object_set_new(all, "quick", json_boolean(b->o->quick));
	json_object_set_new(all, "failed_sections",
			    json_integer((json_int_t)b->failed));
	if (b->rows->judged)
		json_object_set_new(all, "targets",
				    bench_targets_json(b->rows));
	json_object_set_new(all, "rows", bench_rows_json(b->rows));
	return all;
}

static const char *line_label(const struct bench_row *r)
{
	if (!strcmp(r->key, "launch.sync"))
		return "launch, synchronise";
	if (!strcmp(r->key, "graph.1"))
		return "graph of one node, synchronise";
	if (!strcmp(r->key, "process.1.gaps"))
		return "slot, engine in another process";
	return "slot, engine in this process";
}

static int draw(const struct bench *b, const struct bench_env *env)
{
	struct bench_line lines[8];
	char subtitle[192];
	unsigned n = 0;

	for (unsigned i = 0; i < b->rows->count && n < 8; i++) {
		const struct bench_row *r = &b->rows->row[i];

		if (!r->known || !r->plotted)
			continue;
		lines[n] = (struct bench_line){ "", r->curve, r->p50_ns,
						r->p99_ns, r->p999_ns };
		snprintf(lines[n].label, sizeof(lines[n].label), "%s",
			 line_label(r));
		n++;
	}
	if (!n) {
		cli_error("bench", "--svg: none of launch, graph, trip and "
				   "process was measured");
		return CLI_SOME_FAILED;
	}
	snprintf(subtitle, sizeof(subtitle), "%.60s, %.60s, %s",
		 b->cuda ? b->cuda->name : "engine cpu", env->processor,
		 env->date);
	if (!bench_svg_write(b->o->svg, "One null piece of work, from the "
			     "host and back", subtitle, lines, n))
		return CLI_OK;
	cli_error("bench", "%s: %s", b->o->svg, strerror(errno));
	return CLI_SOME_FAILED;
}

static int print(const struct bench *b, const struct bench_env *env)
{
	int status = CLI_OK;

	if (!b->o->json) {
		print_table(b, env);
		status = cli_close_stdout("bench");
	}
	if ((b->o->json || b->o->save) &&
	    bench_put_json(b->o, to_json(b, env)))
		status = CLI_SOME_FAILED;
	if (b->o->svg && draw(b, env))
		status = CLI_SOME_FAILED;
	return b->failed ? CLI_SOME_FAILED : status;
}

int bench_report(const struct bench_options *o, const struct bench_env *env)
{
	struct bench b = { .o = o, .isolation = o->engine.isolation };
	struct bench_cuda cuda;
	int status = CLI_USAGE;

	if (o->only && bench_sections_check(o->only, is_cuda(o)))
		return CLI_USAGE;
	if (!b.isolation)
		b.isolation = MK_ISOLATION_NONE;
	/* the driver and the compiler keep caches of their own; both look for
	 * this once, before they first compile */
	setenv("CUDA_CACHE_DISABLE", "1", 1);
	b.section = "set-up";
	b.rows = calloc(1, sizeof(*b.rows));
	b.samples = calloc(BENCH_SAMPLES_MAX, sizeof(*b.samples));
	if (!b.rows || !b.samples) {
		cli_error("bench", "no memory");
	} else if (is_cuda(o) && bench_cuda_open(&cuda, 0, b.why,
						 sizeof(b.why))) {
		cli_error("bench", "the engine cuda is not available: %s",
			  b.why);
		bench_cuda_close(&cuda);
	} else {
		if (is_cuda(o)) {
			b.cuda = &cuda;
			b.rows->judged = true;
			name_driver(&cuda);
		}
		bench_sections_run(&b, o->only);
		bench_rows_derive(b.rows);
		status = print(&b, env);
		if (b.cuda)
			bench_cuda_close(&cuda);
	}
	free(b.rows);
	free(b.samples);
	return status;
}
