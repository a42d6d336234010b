/* SPDX-License-Identifier: Apache-2.0 */
/* megakernel neighbour: what was seen, as a table and as JSON. */
#include <string.h>

#include "neighbour.h"

static const char *const mode_names[NEIGHBOUR_MODES] = {
	"alone", "resident", "quiesce", "park", "process",
};

const char *neighbour_mode_name(enum neighbour_mode mode)
{
	return mode_names[mode];
}

/* All that the caller waits for. */
static uint64_t whole(const struct neighbour_call *c)
{
	return c->quiesce_ns + c->call_ns + c->resume_ns;
}

bool neighbour_kept(const struct neighbour_options *o,
		    const struct neighbour_report *r, enum neighbour_mode mode,
		    unsigned call)
{
	const struct neighbour_call *c = &r->call[mode][call];
	const struct neighbour_call *alone = &r->call[NEIGHBOUR_ALONE][call];

	if (!o->mode[mode])
		return true;
	if (c->end == NEIGHBOUR_MISSING || c->end == NEIGHBOUR_STUCK)
		return false;
	if (mode != NEIGHBOUR_QUIESCE && mode != NEIGHBOUR_PARK)
		return true;
	return c->end == NEIGHBOUR_RETURNED && !c->quiesce &&
	       alone->end == NEIGHBOUR_RETURNED &&
	       whole(c) <= alone->call_ns + o->bound_ns;
}

static void duration(uint64_t ns, char *text, size_t room)
{
	if (ns < 1000000)
		snprintf(text, room, "%.1f us", (double)ns / 1e3);
	else
		snprintf(text, room, "%.1f ms", (double)ns / 1e6);
}

void neighbour_words(const struct neighbour_options *o,
		     enum neighbour_mode mode, const struct neighbour_call *c,
		     char *text, size_t room)
{
	char took[24], after[24], back[24];

	duration(c->quiesce_ns, took, sizeof(took));
	duration(c->after_ns, after, sizeof(after));
	duration(c->resume_ns, back, sizeof(back));
	if (c->end == NEIGHBOUR_MISSING)
		snprintf(text, room, "the call was not made");
	else if (c->end == NEIGHBOUR_STUCK)
		snprintf(text, room, "hung to the end of its process");
	else if (c->end == NEIGHBOUR_FREED && !c->quiesce)
		snprintf(text, room, "quiesced the kernel in %s, then the "
			 "call returned within %s", took, after);
	else if (c->end == NEIGHBOUR_FREED)
		snprintf(text, room, "could not quiesce the kernel (%s)",
			 mk_code_name(c->quiesce));
	else if (mode == NEIGHBOUR_QUIESCE && c->quiesce)
		snprintf(text, room, "did not step aside (%s)",
			 mk_code_name(c->quiesce));
	else if (mode == NEIGHBOUR_QUIESCE)
		snprintf(text, room, "stepped aside in %s, was back in %s",
			 took, back);
	else if (mode == NEIGHBOUR_PARK)
		snprintf(text, room, "parks after %.1f ms without work",
			 (double)o->park_ns / 1e6);
	else
		snprintf(text, room, "nothing");
}

/* ---- table ---- */

static void cell(const struct neighbour_options *o,
		 const struct neighbour_call *c, char *text, size_t room)
{
	switch (c->end) {
	case NEIGHBOUR_RETURNED:
		duration(whole(c), text, room);
		if (c->result)
			snprintf(text, room, "error %d", c->result);
		break;
	case NEIGHBOUR_FREED:
		snprintf(text, room, "blocked > %.0f ms",
			 (double)o->watch_ns / 1e6);
		break;
	case NEIGHBOUR_STUCK:
		snprintf(text, room, "blocked for ever");
		break;
	default:
		snprintf(text, room, "not made");
	}
}

static void print_calls(const struct neighbour_options *o,
			const struct neighbour_report *r)
{
	printf("%-36s", "call");
	for (unsigned m = 0; m < NEIGHBOUR_MODES; m++)
		if (o->mode[m])
			printf(" %17s", mode_names[m]);
	putchar('\n');
	for (unsigned i = 0; i < NEIGHBOUR_CALLS; i++) {
		printf("%-36s", neighbour_call_name(i));
		for (unsigned m = 0; m < NEIGHBOUR_MODES; m++) {
			char text[32];

			if (!o->mode[m])
				continue;
			cell(o, &r->call[m][i], text, sizeof(text));
			printf(" %17s%s", text,
			       neighbour_kept(o, r, m, i) ? "" : "!");
		}
		putchar('\n');
	}
}

static void print_words(const struct neighbour_options *o,
			const struct neighbour_report *r)
{
	for (unsigned m = NEIGHBOUR_RESIDENT; m < NEIGHBOUR_MODES; m++) {
		if (!o->mode[m])
			continue;
		printf("\n%s: what the library did, and a slot's round trip "
		       "afterwards\n", mode_names[m]);
		for (unsigned i = 0; i < NEIGHBOUR_CALLS; i++) {
			const struct neighbour_call *c = &r->call[m][i];
			char text[128], slot[24] = "no answer";

			neighbour_words(o, m, c, text, sizeof(text));
			if (c->slot_ns)
				duration(c->slot_ns, slot, sizeof(slot));
			printf("  %-36s %-66s %s\n", neighbour_call_name(i),
			       text, slot);
		}
	}
}

static void print_share(const struct neighbour_share *s)
{
	if (!s->done) {
		printf("not measured\n");
		return;
	}
	printf("%4u %7u", s->sm_count, s->workers);
	for (unsigned w = 0; w < NEIGHBOUR_WORKS; w++)
		printf("  %6.2f (%6.2f-%6.2f)",
		       100 * s->work[w].beside / s->work[w].alone,
		       100 * s->work[w].least, 100 * s->work[w].most);
	if (s->slots)
		printf("  %.2f / %.2f / %.1f / %.1f", (double)s->p50_ns / 1e3,
		       (double)s->p99_ns / 1e3, (double)s->p999_ns / 1e3,
		       (double)s->max_ns / 1e3);
	putchar('\n');
}

static void print_shares(const struct neighbour_report *r)
{
	const struct neighbour_share *s = &r->share[0];

	printf("\nordinary work beside a resident kernel, in hundredths of "
	       "what is done without it:\nmedian (least-most) of %u turns "
	       "each. slots: one every 20 us\n", s->turns);
	printf("alone, kernels/s: one wave %.1f, ten waves %.1f, copy of 256 "
	       "MiB %.1f\n", s->work[NEIGHBOUR_WAVE].alone,
	       s->work[NEIGHBOUR_WAVES].alone, s->work[NEIGHBOUR_MEMORY].alone);
	printf("%-34s %4s %7s  %22s  %22s  %22s  %s\n", "resident", "SMs",
	       "workers", "one wave", "ten waves", "memory",
	       "slot p50 / p99 / p99.9 / max us");
	for (unsigned i = 0; i < NEIGHBOUR_SHARES; i++) {
		printf("%-34s ", neighbour_share_name(i));
		print_share(&r->share[i]);
	}
}

void neighbour_print_table(const struct neighbour_options *o,
			   const struct neighbour_report *r)
{
	printf("%s, %u multiprocessors\n", r->device, r->multiprocessors);
	if (!o->no_calls) {
		printf("alone: no resident kernel. resident, quiesce, park: "
		       "isolation none, as it comes,\nquiesced around the "
		       "call, parked when idle. process: isolation process.\n"
		       "!: not within %.0f ms of what the call takes alone\n\n",
		       (double)o->bound_ns / 1e6);
		print_calls(o, r);
		print_words(o, r);
	}
	if (!o->no_share)
		print_shares(r);
}

/* ---- JSON ---- */

static json_t *json_call(const struct neighbour_options *o,
			 const struct neighbour_report *r, unsigned m,
			 unsigned i)
{
	static const char *const ends[] = { "not made", "returned",
					    "blocked until quiesced",
					    "blocked" };
	const struct neighbour_call *c = &r->call[m][i];
	char text[128];

	neighbour_words(o, m, c, text, sizeof(text));
	return json_pack("{s:s s:s s:s s:b s:i s:o s:o s:o s:o s:o s:s}",
			 "call", neighbour_call_name(i), "mode",
			 mode_names[m], "end", ends[c->end & 3], "within_bound",
			 neighbour_kept(o, r, m, i), "result", c->result,
			 "call_ns", cli_json_u64(c->call_ns), "quiesce_ns",
			 cli_json_u64(c->quiesce_ns), "resume_ns",
			 cli_json_u64(c->resume_ns), "after_ns",
			 cli_json_u64(c->after_ns), "slot_ns",
			 cli_json_u64(c->slot_ns), "library", text);
}

static json_t *json_work(const struct neighbour_work_share *w)
{
	return json_pack("{s:f s:f s:f s:f}", "without_per_s", w->alone,
			 "with_per_s", w->beside, "share_least", w->least,
			 "share_most", w->most);
}

static json_t *json_share(const struct neighbour_share *s, unsigned i)
{
	const char *name = neighbour_share_name(i);

	if (!s->done)
		return json_pack("{s:s s:b}", "resident", name, "measured", 0);
	return json_pack("{s:s s:b s:i s:i s:i s:o s:o s:o s:o s:o s:o s:o "
			 "s:o}", "resident", name, "measured", 1, "sm_count",
			 (int)s->sm_count, "workers", (int)s->workers, "turns",
			 (int)s->turns, "one_wave",
			 json_work(&s->work[NEIGHBOUR_WAVE]), "ten_waves",
			 json_work(&s->work[NEIGHBOUR_WAVES]), "memory",
			 json_work(&s->work[NEIGHBOUR_MEMORY]), "slots",
			 cli_json_u64(s->slots), "slot_p50_ns",
			 cli_json_u64(s->p50_ns), "slot_p99_ns",
			 cli_json_u64(s->p99_ns), "slot_p999_ns",
			 cli_json_u64(s->p999_ns), "slot_max_ns",
			 cli_json_u64(s->max_ns));
}

int neighbour_print_json(const struct neighbour_options *o,
			 const struct neighbour_report *r, bool kept)
{
	json_t *calls = json_array(), *shares = json_array();

	for (unsigned m = 0; m < NEIGHBOUR_MODES && !o->no_calls; m++)
		for (unsigned i = 0; i < NEIGHBOUR_CALLS && o->mode[m]; i++)
			json_array_append_new(calls, json_call(o, r, m, i));
	for (unsigned i = 0; i < NEIGHBOUR_SHARES && !o->no_share; i++)
		json_array_append_new(shares, json_share(&r->share[i], i));
	return cli_print_json("neighbour",
			      json_pack("{s:s s:i s:o s:o s:o s:b s:o s:o}",
					"device", r->device, "multiprocessors",
					(int)r->multiprocessors, "bound_ns",
					cli_json_u64(o->bound_ns), "watch_ns",
					cli_json_u64(o->watch_ns), "park_ns",
					cli_json_u64(o->park_ns), "kept", kept,
					"calls", calls, "shares", shares));
}
