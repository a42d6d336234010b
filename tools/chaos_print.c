/* SPDX-License-Identifier: Apache-2.0 */
/* What `megakernel chaos` shows in the end: a table, or JSON. */
#include <string.h>

#include "chaos.h"

#define WORDS 512

typedef unsigned long long ull;

/* ---- table ------------------------------------------------------------- */

static double ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

static double seconds(uint64_t from, uint64_t to)
{
	return (double)(to - from) / 1e9;
}

static void print_head(const struct chaos *c)
{
	printf("megakernel %s, engine %s, isolation %s\n", mk_version(),
	       c->engine, c->process ? "process" : "none");
	printf("seed %llu, %llu of %llu faults planned, schedule %016llx\n",
	       (ull)c->plan.seed, (ull)c->done, (ull)c->o->faults,
	       (ull)chaos_plan_digest(&c->plan, c->done));
	printf("%.1f s to set up, %.1f s of faults, %.1f s to end\n\n",
	       seconds(c->setup_ns, c->started_ns),
	       seconds(c->started_ns, c->stopped_ns),
	       seconds(c->stopped_ns, c->ended_ns));
}

static void print_faults(struct chaos *c)
{
	uint64_t injected = 0, noticed = 0;

	printf("%-12s %9s %9s   noticed after, ms    good answer after, ms\n",
	       "fault", "injected", "noticed");
	printf("%-12s %9s %9s %9s %9s %9s %9s %9s\n", "", "", "", "p50", "max",
	       "p50", "p99", "max");
	for (unsigned k = 0; k < CHAOS_KINDS; k++) {
		struct chaos_seen *s = &c->seen[k];

		if (c->plan.left_out[k]) {
			if (strcmp(c->plan.left_out[k], "not asked for") != 0)
				printf("%-12s skipped: %s\n",
				       chaos_kinds[k].name,
				       c->plan.left_out[k]);
			continue;
		}
		injected += s->injected;
		noticed += s->noticed;
		printf("%-12s %9llu %9llu", chaos_kinds[k].name,
		       (ull)s->injected, (ull)s->noticed);
		if (s->notice.count)
			printf(" %9.2f %9.2f", ms(chaos_times_at(&s->notice,
								 0.5)),
			       ms(chaos_times_at(&s->notice, 1)));
		else if (s->good.count)
			printf(" %9s %9s", "", "");
		if (s->good.count)
			printf(" %9.2f %9.2f %9.2f",
			       ms(chaos_times_at(&s->good, 0.5)),
			       ms(chaos_times_at(&s->good, 0.99)),
			       ms(chaos_times_at(&s->good, 1)));
		putchar('\n');
	}
	printf("%-12s %9llu %9llu\n\n", "all", (ull)injected, (ull)noticed);
}

static void print_times(const char *what, struct chaos_times *t)
{
	if (t->count)
		printf("%-28s %9.2f %9.2f %9.2f\n", what,
		       ms(chaos_times_at(t, 0.5)), ms(chaos_times_at(t, 0.99)),
		       ms(chaos_times_at(t, 1)));
}

static void print_endings(const struct chaos *c, const struct chaos_tally *t)
{
	printf("slots%31llu\n", (ull)t->submitted);
	for (unsigned i = 0; i < CHAOS_ENDINGS; i++)
		if (t->ending[i])
			printf("  %-28s %5llu\n", chaos_ending_name[i],
			       (ull)t->ending[i]);
	printf("rows %llu (%llu ok), dispatches %llu (%llu ok, %llu of them "
	       "after a lost device)\n", (ull)c->load.rows.rows,
	       (ull)c->load.rows.rows_ok, (ull)c->load.rows.dispatches,
	       (ull)c->load.rows.dispatches_ok,
	       (ull)c->load.rows.recovered);
	printf("flows of 12 slots that wait, have tiles, make work: %llu\n",
	       (ull)c->load.flow.rounds);
	printf("rounds of 16 slots that read and write a file: %llu, by %llu "
	       "services\n", (ull)c->load.io.rounds,
	       (ull)c->load.io.services + 1);
	printf("streams of 6 files and a pipe: %llu, with %llu chunks\n",
	       (ull)c->load.streams.streams, (ull)c->load.streams.chunks);
	if (c->process)
		printf("worker processes lost %llu (%llu crashes, %llu hangs, "
		       "%llu otherwise), started again %llu, failed starts "
		       "%llu, slots run again %llu\n", (ull)c->stats.losses,
		       (ull)c->stats.crashes, (ull)c->stats.hangs,
		       (ull)c->stats.deaths, (ull)c->stats.restarts,
		       (ull)c->stats.restarts_failed, (ull)c->stats.replayed);
}

static int print_table(struct chaos *c)
{
	struct chaos_tally t = chaos_load_tally(c);
	char verdict[WORDS];

	print_head(c);
	print_faults(c);
	printf("%-28s %9s %9s %9s\n", "ms", "p50", "p99", "max");
	print_times("a death, until noticed", &c->dead);
	print_times("a hang, until noticed", &c->hung);
	print_times("a death, until a good answer", &c->recovery);
	print_times("  twice, or starts had to fail", &c->hindered);
	chaos_stages_print(c);
	putchar('\n');
	print_endings(c, &t);
	for (unsigned i = 0; i < c->complaints &&
			     i < sizeof(c->complaint) / sizeof(c->complaint[0]);
	     i++)
		printf("! %s\n", c->complaint[i]);
	printf("\nlost %llu, answered or run twice %llu, wrong %llu\n",
	       (ull)t.lost, (ull)t.twice, (ull)t.wrong);
	chaos_verdict(c, verdict, sizeof(verdict));
	if (*verdict)
		printf("FAILED: %s\n", verdict);
	return cli_close_stdout("chaos");
}

/* ---- JSON -------------------------------------------------------------- */

json_t *chaos_times_json(struct chaos_times *t)
{
	return json_pack("{s:o,s:o,s:o,s:o}", "count", cli_json_u64(t->count),
			 "p50_ns", cli_json_u64(chaos_times_at(t, 0.5)),
			 "p99_ns", cli_json_u64(chaos_times_at(t, 0.99)),
			 "max_ns", cli_json_u64(chaos_times_at(t, 1)));
}

static json_t *faults_json(struct chaos *c)
{
	json_t *all = json_array();

	for (unsigned k = 0; k < CHAOS_KINDS; k++) {
		json_t *o = json_object();

		json_object_set_new(o, "kind",
				    json_string(chaos_kinds[k].name));
		if (c->plan.left_out[k]) {
			json_object_set_new(o, "skipped", json_string(
						c->plan.left_out[k]));
		} else {
			json_object_set_new(o, "injected", cli_json_u64(
						c->seen[k].injected));
			json_object_set_new(o, "noticed", cli_json_u64(
						c->seen[k].noticed));
			json_object_set_new(o, "notice", chaos_times_json(
						&c->seen[k].notice));
			json_object_set_new(o, "good", chaos_times_json(
						&c->seen[k].good));
		}
		json_array_append_new(all, o);
	}
	return all;
}

static int print_json(struct chaos *c)
{
	struct chaos_tally t = chaos_load_tally(c);
	json_t *all = json_object(), *endings = json_object();
	json_t *complaints = json_array();
	char digest[20], verdict[WORDS];

	chaos_verdict(c, verdict, sizeof(verdict));
	snprintf(digest, sizeof(digest), "%016llx",
		 (ull)chaos_plan_digest(&c->plan, c->done));
	for (unsigned i = 0; i < CHAOS_ENDINGS; i++)
		json_object_set_new(endings, chaos_ending_name[i],
				    cli_json_u64(t.ending[i]));
	for (unsigned i = 0; i < c->complaints &&
			     i < sizeof(c->complaint) / sizeof(c->complaint[0]);
	     i++)
		json_array_append_new(complaints,
				      json_string(c->complaint[i]));
	json_object_set_new(all, "version", json_string(mk_version()));
	json_object_set_new(all, "engine", json_string(c->engine));
	json_object_set_new(all, "isolation",
			    json_string(c->process ? "process" : "none"));
	json_object_set_new(all, "seed", cli_json_u64(c->plan.seed));
	json_object_set_new(all, "planned", cli_json_u64(c->o->faults));
	json_object_set_new(all, "faults", cli_json_u64(c->done));
	json_object_set_new(all, "schedule", json_string(digest));
	json_object_set_new(all, "ns",
			    cli_json_u64(c->ended_ns - c->started_ns));
	json_object_set_new(all, "kinds", faults_json(c));
	json_object_set_new(all, "setup_ns",
			    cli_json_u64(c->started_ns - c->setup_ns));
	json_object_set_new(all, "end_ns",
			    cli_json_u64(c->ended_ns - c->stopped_ns));
	json_object_set_new(all, "death_noticed", chaos_times_json(&c->dead));
	json_object_set_new(all, "hang_noticed", chaos_times_json(&c->hung));
	json_object_set_new(all, "recovery", chaos_times_json(&c->recovery));
	json_object_set_new(all, "hindered", chaos_times_json(&c->hindered));
	json_object_set_new(all, "stages", chaos_stages_json(c));
	json_object_set_new(all, "slots", cli_json_u64(t.submitted));
	json_object_set_new(all, "endings", endings);
	json_object_set_new(all, "losses", cli_json_u64(c->stats.losses));
	json_object_set_new(all, "restarts", cli_json_u64(c->stats.restarts));
	json_object_set_new(all, "complaints", complaints);
	json_object_set_new(all, "complete", json_boolean(!c->stuck));
	json_object_set_new(all, "lost", cli_json_u64(t.lost));
	json_object_set_new(all, "twice", cli_json_u64(t.twice));
	json_object_set_new(all, "wrong", cli_json_u64(t.wrong));
	json_object_set_new(all, "clean", json_boolean(!*verdict));
	json_object_set_new(all, "failed", json_string(verdict));
	return cli_print_json("chaos", all);
}

int chaos_print(struct chaos *c)
{
	return c->o->json ? print_json(c) : print_table(c);
}

/* The schedule alone, a fault a line. */
int chaos_print_plan(const struct chaos *c)
{
	for (uint64_t i = 0; i < c->o->faults; i++) {
		struct chaos_fault f = chaos_plan_fault(&c->plan, i);

		printf("%llu %s%s%s\n", (ull)i, chaos_kinds[f.kind].name,
		       f.idempotent &&
		       (chaos_kinds[f.kind].flags & CHAOS_HANDLER) ?
			       " idempotent" : "",
		       f.again ? " again" : "");
	}
	return cli_close_stdout("chaos");
}
