/* SPDX-License-Identifier: Apache-2.0 */
/* What `megakernel bench` measured, as tables or as JSON. */
#include <errno.h>
#include <string.h>

#include "bench.h"

static void print_latency(const struct bench_report *r, unsigned which)
{
	printf("\nRound trip at depth %u, ns\n", harness_depth[which]);
	printf("  %-29s %9s %9s %9s %11s %8s\n", "", "p50", "p99", "p99.9",
	       "max", "n");
	for (unsigned i = 0; i < r->results; i++) {
		const struct harness_latency *l = &r->result[i].latency[which];

		printf("  %-29s %9llu %9llu %9llu %11llu %8llu\n",
		       r->result[i].name, (unsigned long long)l->p50_ns,
		       (unsigned long long)l->p99_ns,
		       (unsigned long long)l->p999_ns,
		       (unsigned long long)l->max_ns, (unsigned long long)l->n);
	}
}

static void print_streaming(const struct bench_report *r)
{
	printf("\nStreaming, million a second: median of the rounds, at most "
	       "%u out, batches of %u\n",
	       HARNESS_WINDOW, HARNESS_BATCH);
	printf("  %-29s %9s %9s %9s %15s %8s\n", "", "median", "lowest",
	       "highest", "rounds x n", "helped");
	for (unsigned i = 0; i < r->results; i++) {
		const struct harness_streaming *s = &r->result[i].streaming;
		uint64_t all = s->n * s->rounds;

		printf("  %-29s %9.2f %9.2f %9.2f %4u x %8llu %6.0f %%\n",
		       r->result[i].name, s->per_second / 1e6, s->lowest / 1e6,
		       s->highest / 1e6, s->rounds, (unsigned long long)s->n,
		       all ? 100.0 * (double)s->helped / (double)all : 0.0);
	}
	printf("  helped: no-ops that the submitter's thread executed "
	       "itself\n");
}

/* The best of the peers: most a second, least nanoseconds. */
static const struct harness_result *best_streaming(const struct bench_report *r)
{
	const struct harness_result *best = &r->result[r->own];

	for (unsigned i = r->own; i < r->results; i++)
		if (r->result[i].streaming.per_second >
		    best->streaming.per_second)
			best = &r->result[i];
	return best;
}

static const struct harness_result *best_latency(const struct bench_report *r,
						 unsigned which)
{
	const struct harness_result *best = &r->result[r->own];

	for (unsigned i = r->own; i < r->results; i++)
		if (r->result[i].latency[which].p50_ns <
		    best->latency[which].p50_ns)
			best = &r->result[i];
	return best;
}

static double ratio(double a, double b)
{
	return b > 0 ? a / b : 0;
}

static void print_ratios(const struct bench_report *r)
{
	const struct harness_result *own = r->result, *peer;

	printf("\nRatios\n");
	if (r->own == 2)
		printf("  streaming, process to none         %8.2f\n",
		       ratio(own[0].streaming.per_second,
			     own[1].streaming.per_second));
	if (!r->has_peers)
		return;
	peer = best_streaming(r);
	for (unsigned i = 0; i < r->own; i++)
		printf("  streaming, %-19s     %8.2f  times %s\n", own[i].name,
		       ratio(own[i].streaming.per_second,
			     peer->streaming.per_second),
		       peer->name);
	for (unsigned which = 0; which < HARNESS_DEPTHS; which++) {
		peer = best_latency(r, which);
		for (unsigned i = 0; i < r->own; i++)
			printf("  p50 at %2u, %-19s     %8.2f  times %s\n",
			       harness_depth[which], own[i].name,
			       ratio((double)own[i].latency[which].p50_ns,
				     (double)peer->latency[which].p50_ns),
			       peer->name);
	}
}

static void print_memory(const struct bench_report *r)
{
	printf("\nResident memory of a context with a queue of %u slots, KiB\n",
	       BENCH_QUEUE_ENTRIES);
	printf("  caller %29llu\n",
	       (unsigned long long)(r->memory.caller_bytes >> 10));
	if (r->memory.worker_bytes)
		printf("  worker process %21llu\n",
		       (unsigned long long)(r->memory.worker_bytes >> 10));
}

int bench_print_table(const struct bench_options *o,
		      const struct bench_env *env,
		      const struct bench_report *r)
{
	printf("megakernel %s, engine %s, %u worker%s for everyone%s\n",
	       mk_version(), o->engine.name ? o->engine.name : "cpu",
	       r->workers, r->workers == 1 ? "" : "s",
	       o->quick ? "; quick: the tails need a full run" : "");
	printf("%ld x %s, %s\n%s: %s\n", env->cores, env->processor,
	       env->kernel, env->date, env->command);
	printf("One no-op, executed by another thread, its end observed by "
	       "the submitter.\n");
	for (unsigned i = 0; i < HARNESS_DEPTHS; i++)
		print_latency(r, i);
	print_streaming(r);
	if (r->own == 2 || r->has_peers)
		print_ratios(r);
	if (r->has_memory)
		print_memory(r);
	return cli_close_stdout("bench");
}

json_t *bench_to_json(const struct bench_options *o,
		      const struct bench_env *env,
		      const struct bench_report *r)
{
	json_t *all = json_object(), *own = json_array();
	json_t *peers = json_array();

	json_object_set_new(all, "version", json_string(mk_version()));
	json_object_set_new(
		all, "engine",
		json_string(o->engine.name ? o->engine.name : "cpu"));
	bench_env_json(env, all);
	json_object_set_new(all, "workers", json_integer(r->workers));
	json_object_set_new(all, "quick", json_boolean(o->quick));
	for (unsigned i = 0; i < r->results; i++)
		json_array_append_new(i < r->own ? own : peers,
				      harness_to_json(&r->result[i]));
	json_object_set_new(all, "own", own);
	json_object_set_new(all, "peers", peers);
	if (r->has_memory)
		json_object_set_new(
			all, "memory",
			json_pack("{s:i,s:I,s:I}", "queue_entries",
				  (int)BENCH_QUEUE_ENTRIES, "caller_bytes",
				  (json_int_t)r->memory.caller_bytes,
				  "worker_bytes",
				  (json_int_t)r->memory.worker_bytes));
	return all;
}

int bench_draw(const struct bench_options *o, const struct bench_env *env,
	       const struct bench_report *r)
{
	struct bench_line lines[BENCH_RESULTS_MAX];
	char subtitle[192];

	for (unsigned i = 0; i < r->results; i++) {
		const struct harness_latency *l = &r->result[i].latency[0];

		snprintf(lines[i].label, sizeof(lines[i].label), "%s",
			 r->result[i].name);
		lines[i].curve = l->curve_ns;
		lines[i].p50_ns = l->p50_ns;
		lines[i].p99_ns = l->p99_ns;
		lines[i].p999_ns = l->p999_ns;
	}
	snprintf(subtitle, sizeof(subtitle), "%ld x %.96s, %s", env->cores,
		 env->processor, env->date);
	if (!bench_svg_write(o->svg, "One no-op, handed to another thread and "
			     "back", subtitle, lines, r->results))
		return 0;
	cli_error("bench", "%s: %s", o->svg, strerror(errno));
	return -1;
}
