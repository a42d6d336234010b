/* SPDX-License-Identifier: Apache-2.0 */
/* What recoveries were made of: how long each stage took, and those that took
 * longest. */
#include <string.h>

#include "chaos.h"

static const char *const names[CHAOS_STAGES] = {
	[CHAOS_NOTICED] = "noticed",
	[CHAOS_ENGINE + MK_STAGE_GONE] = "gone",
	[CHAOS_ENGINE + MK_STAGE_DELAY] = "delay",
	[CHAOS_ENGINE + MK_STAGE_START] = "start",
	[CHAOS_ENGINE + MK_STAGE_BUFFERS] = "buffers",
	[CHAOS_ENGINE + MK_STAGE_MODULES] = "modules",
	[CHAOS_ENGINE + MK_STAGE_QUEUES] = "queues",
	[CHAOS_ANSWERED] = "answer",
};

/* The slowest first. */
static void rank(struct chaos_stages *s, const struct chaos_slow *new)
{
	unsigned at = CHAOS_SLOWEST;

	while (at && s->slow[at - 1].good_ns < new->good_ns)
		at--;
	if (at == CHAOS_SLOWEST)
		return;
	memmove(&s->slow[at + 1], &s->slow[at],
		(CHAOS_SLOWEST - 1 - at) * sizeof(s->slow[0]));
	s->slow[at] = *new;
}

void chaos_stages_add(struct chaos *c, enum chaos_kind kind, uint64_t t0,
		      uint64_t good, const struct mk_ctx_stats *stats)
{
	struct chaos_slow new = { .kind = kind, .good_ns = good - t0,
				  .at_ns = t0 - c->started_ns };
	uint64_t *ns = new.stage_ns;

	/* lost again before that, or something else was: the stages are
	 * another's, but that it took long is to be seen */
	if (stats->lost_ns < t0 || stats->recovered_ns < stats->lost_ns ||
	    good < stats->recovered_ns) {
		rank(&c->stages, &new);
		return;
	}
	ns[CHAOS_NOTICED] = stats->lost_ns - t0;
	for (unsigned i = 0; i < MK_STAGES; i++)
		ns[CHAOS_ENGINE + i] = stats->recovery_stage_ns[i];
	ns[CHAOS_ANSWERED] = good - stats->recovered_ns;
	for (unsigned i = 0; i < CHAOS_STAGES; i++)
		chaos_times_add(&c->stages.times[i], ns[i]);
	rank(&c->stages, &new);
}

static double ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

void chaos_stages_print(struct chaos *c)
{
	struct chaos_stages *s = &c->stages;

	if (!s->times[0].count)
		return;
	printf("\n%-28s %9s %9s %9s\n", "stages of a recovery, ms", "p50",
	       "p99", "max");
	for (unsigned i = 0; i < CHAOS_STAGES; i++)
		printf("  %-26s %9.2f %9.2f %9.2f\n", names[i],
		       ms(chaos_times_at(&s->times[i], 0.5)),
		       ms(chaos_times_at(&s->times[i], 0.99)),
		       ms(chaos_times_at(&s->times[i], 1)));
	printf("the slowest, ms");
	for (unsigned i = 0; i < CHAOS_STAGES; i++)
		printf(" %8s", names[i]);
	putchar('\n');
	for (unsigned k = 0; k < CHAOS_SLOWEST && s->slow[k].good_ns; k++) {
		const struct chaos_slow *w = &s->slow[k];

		printf("  %-13s", chaos_kinds[w->kind].name);
		for (unsigned i = 0; i < CHAOS_STAGES; i++)
			printf(" %8.2f", ms(w->stage_ns[i]));
		printf("  %.2f in all, %.2f s after the start\n",
		       ms(w->good_ns), (double)w->at_ns / 1e9);
	}
}

json_t *chaos_stages_json(struct chaos *c)
{
	json_t *all = json_object();

	for (unsigned i = 0; i < CHAOS_STAGES; i++)
		json_object_set_new(all, names[i],
				    chaos_times_json(&c->stages.times[i]));
	return all;
}

void chaos_stages_free(struct chaos *c)
{
	for (unsigned i = 0; i < CHAOS_STAGES; i++)
		chaos_times_free(&c->stages.times[i]);
}
