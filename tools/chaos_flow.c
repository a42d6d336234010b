/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that flows: a recorded batch of slots that wait for each other, some
 * cut into tiles, some that make more work, submitted again and again by a
 * thread of its own. Whatever is lost in between, each slot of a round has one
 * ending, none ran before those that it waits for had ended well, and none
 * that says that it did not run did.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/order.h"
#include "chaos.h"

#define SLOTS 12u
#define LAST_WAIT_NS 60000000000u

/* The structs are those below. */
const char chaos_flow_source[] =
	"#include <megakernel/handler.h>\n"
	"struct step { uint32_t word, count, leaf, n, before[4]; };\n"
	"struct leaf { uint32_t word; };\n"
	"MK_FN uint64_t *begin(struct mk_task *task,\n"
	"		       const struct step *args)\n"
	"{\n"
	"	uint64_t *word = mk_observable(task, args->word);\n"
	"	for (uint32_t i = 0; word && i < args->n; i++) {\n"
	"		uint64_t *b = mk_observable(task, args->before[i & 3]);\n"
	"		if (!b || !mk_load(b))\n"
	"			return 0;\n"
	"	}\n"
	"	if (word && !mk_lane(task))\n"
	"		mk_fetch_add(word, 1);\n"
	"	return word;\n"
	"}\n"
	"MK_HANDLER(chaos_leaf, struct leaf)\n"
	"{\n"
	"	uint64_t *word = mk_observable(task, args->word);\n"
	"	if (word && !mk_lane(task))\n"
	"		mk_fetch_add(word, 1);\n"
	"	return word ? MK_OK : mk_fail(task);\n"
	"}\n"
	"MK_HANDLER(chaos_step, struct step)\n"
	"{\n"
	"	if (!begin(task, args))\n"
	"		return -7;\n"
	"	mk_value(task, args->count);\n"
	"	return MK_OK;\n"
	"}\n"
	"MK_HANDLER(chaos_tile, struct step)\n"
	"{\n"
	"	if (!begin(task, args))\n"
	"		return -7;\n"
	"	if (!mk_lane(task))\n"
	"		mk_tile_add(task, mk_tile(task) + 1);\n"
	"	return MK_OK;\n"
	"}\n"
	"MK_HANDLER(chaos_make, struct step)\n"
	"{\n"
	"	struct leaf leaf = { args->word };\n"
	"	uint64_t *word = begin(task, args);\n"
	"	if (!word)\n"
	"		return -7;\n"
	"	for (uint32_t i = 0; !mk_lane(task) && i < args->count; i++)\n"
	"		if (mk_spawn(task, args->leaf, &leaf, sizeof(leaf)))\n"
	"			mk_fetch_add(word, 1);\n"
	"	mk_value(task, args->count);\n"
	"	return MK_OK;\n"
	"}\n";

struct step_args {
	uint32_t word, count, leaf, n, before[4];
};

enum flow_kind { STEP, TILES, MAKE };

static const struct flow_slot {
	enum flow_kind kind;
	uint32_t count; /* tiles, or pieces made */
	uint32_t n, before[4];
} plan[SLOTS] = {
	{ STEP, 1, 0, { 0 } },
	{ STEP, 2, 1, { 0 } },
	{ STEP, 3, 1, { 0 } },
	{ STEP, 4, 1, { 0 } },
	{ TILES, 5, 2, { 1, 2 } },
	{ MAKE, 6, 1, { 3 } },
	{ STEP, 7, 2, { 4, 5 } },
	{ STEP, 8, 1, { 6 } },
	{ TILES, 3, 1, { 0 } },
	{ MAKE, 3, 0, { 0 } },
	{ STEP, 9, 2, { 8, 9 } },
	{ STEP, 10, 2, { 7, 10 } },
};

static void nap(void)
{
	struct timespec t = { 0, 300000 };

	nanosleep(&t, NULL);
}

/* How often it adds to its word, if it ends well. */
static uint64_t runs_of(const struct flow_slot *s)
{
	return s->kind == TILES ? s->count :
	       s->kind == MAKE ? s->count + 1 : 1;
}

static uint64_t value_of(const struct flow_slot *s)
{
	return s->kind == TILES ? s->count * (s->count + 1) / 2 : s->count;
}

/* ---- checking ----------------------------------------------------------- */

static void complain(struct chaos_flow *w, unsigned i, int32_t result,
		     const char *what, uint64_t n)
{
	w->tally.wrong++;
	chaos_complain(w->chaos, "flow: slot %u ended with %s, and %s %llu", i,
		       mk_code_name(result), what, (unsigned long long)n);
}

static bool may_end(enum chaos_ending ending)
{
	switch (ending) {
	case CHAOS_END_OK:
	case CHAOS_END_HUNG:
	case CHAOS_END_NOT_RUN:
	case CHAOS_END_MAY_RUN:
	case CHAOS_END_UPSTREAM:
	case CHAOS_END_DEADLOCK: /* published while another was lost */
	case CHAOS_END_REFUSED:  /* counters that were lost */
	case CHAOS_END_CANCELLED: /* its process stood still for so long that
				   * it was asked to end, and went on */
		return true;
	default:
		return false;
	}
}

static bool did_not_run(enum chaos_ending ending)
{
	return ending == CHAOS_END_NOT_RUN || ending == CHAOS_END_UPSTREAM ||
	       ending == CHAOS_END_DEADLOCK;
}

static void check_slot(struct chaos_flow *w, unsigned i,
		       const struct mk_completion *c)
{
	const struct flow_slot *s = &plan[i];
	enum chaos_ending ending = chaos_ending_of(c[i].result);
	uint64_t ran = 0, good = 0, hung = 0;

	mk_queue_observe(w->q, i, &ran);
	/* one that was lost between raising and answering was good for those
	 * that waited for it; so may be one whose process was stopped just
	 * then, and taken for hung */
	for (uint32_t k = 0; k < s->n; k++) {
		good += c[s->before[k]].result == MK_OK ||
			c[s->before[k]].result == -MK_EMAYRUN;
		hung += c[s->before[k]].result == -MK_EHUNG;
	}
	w->tally.ending[ending]++;
	if (!may_end(ending))
		complain(w, i, c[i].result, "ran times", ran);
	else if (ran > runs_of(s))
		w->tally.twice++,
		chaos_complain(w->chaos, "flow: slot %u ran %llu times", i,
			       (unsigned long long)ran);
	else if (ending == CHAOS_END_OK && ran != runs_of(s))
		complain(w, i, c[i].result, "ran times", ran);
	else if (ending == CHAOS_END_OK && c[i].value != value_of(s))
		complain(w, i, c[i].result, "its value is", c[i].value);
	else if (did_not_run(ending) && ran)
		complain(w, i, c[i].result, "ran times", ran);
	else if ((ran || ending == CHAOS_END_OK) && good + hung != s->n)
		complain(w, i, c[i].result, "ran; of those before, good were",
			 good);
	else if (ending == CHAOS_END_UPSTREAM && good == s->n)
		complain(w, i, c[i].result, "all before it were good,", good);
}

/* Take the answers of a round. False: some did not come. */
static bool collect(struct chaos_flow *w, struct mk_completion *out)
{
	uint64_t deadline = mk_deadline_after(LAST_WAIT_NS);
	bool seen[SLOTS] = { false };
	unsigned n = 0;

	while (n < SLOTS && mk_time_left(deadline)) {
		struct mk_completion c;
		int r = mk_queue_wait(w->q, 1, 10000000);

		if (r < 1 || mk_queue_reap(w->q, &c, 1) != 1) {
			if (r < 0 && r != -ETIME)
				nap();
			continue;
		}
		if (c.user_data - w->rounds * SLOTS >= SLOTS ||
		    seen[c.user_data % SLOTS]) {
			w->tally.twice++;
			chaos_complain(w->chaos, "flow: a second answer, %s",
				       mk_code_name(c.result));
			continue;
		}
		seen[c.user_data % SLOTS] = true;
		out[c.user_data % SLOTS] = c;
		n++;
	}
	w->tally.lost += SLOTS - n;
	return n == SLOTS;
}

/* ---- the thread --------------------------------------------------------- */

static void round_once(struct chaos_flow *w)
{
	struct mk_completion c[SLOTS];
	int r;

	for (uint32_t i = 0; i < SLOTS; i++)
		mk_queue_set_observable(w->q, i, 0);
	r = mk_batch_submit(w->batch, w->rounds * SLOTS);
	/* nothing was submitted: the device is away, and the counters of the
	 * last round cannot be set back */
	if (r < 0)
		return nap();
	w->tally.submitted += SLOTS;
	if (!collect(w, c))
		return;
	for (uint32_t i = 0; i < SLOTS; i++)
		check_slot(w, i, c);
	mk_count(&w->rounds, 1);
}

static void *flow_main(void *arg)
{
	struct chaos_flow *w = arg;

	while (chaos_load_go_on(w->chaos, true) && !w->tally.lost) {
		if (mk_load_acquire(&w->chaos->phase) == CHAOS_GO)
			round_once(w);
		nap();
	}
	/* so that nobody waits for us to hold still */
	while (chaos_load_go_on(w->chaos, true))
		nap();
	return NULL;
}

/* ---- making it ----------------------------------------------------------- */

static int find(struct chaos *c, uint16_t *opcode)
{
	static const char *const names[] = { "chaos_step", "chaos_tile",
					     "chaos_make", "chaos_leaf" };
	struct mk_handler_info info;

	for (unsigned i = 0; i < 4; i++) {
		int r = mk_handler_find(c->load.ctx, names[i], &info);

		if (r < 0)
			return r;
		opcode[i] = info.opcode;
	}
	return 0;
}

static int record(struct chaos_flow *w, const uint16_t *opcode)
{
	struct mk_batch_params p = { .size = sizeof(p), .slots = SLOTS };
	int r = mk_batch_create(w->q, &p, &w->batch);

	for (uint32_t i = 0; i < SLOTS && r >= 0; i++) {
		const struct flow_slot *s = &plan[i];
		struct step_args args = { .word = i, .count = s->count,
					  .leaf = opcode[3], .n = s->n };
		struct mk_slot slot;

		memcpy(args.before, s->before, sizeof(args.before));
		mk_slot_init(&slot, opcode[s->kind], i);
		memcpy(slot.bytes, &args, sizeof(args));
		slot.tiles = s->kind == TILES ? (uint16_t)s->count : 0;
		r = mk_batch_add(w->batch, &slot);
		for (uint32_t k = 0; k < s->n && r >= 0; k++)
			r = mk_batch_after(w->batch, i, s->before[k]);
	}
	return r < 0 ? r : mk_batch_seal(w->batch);
}

int chaos_flow_open(struct chaos *c)
{
	struct mk_queue_params qp = { .size = sizeof(qp), .entries = 64,
				      .observables = SLOTS };
	struct chaos_flow *w = &c->load.flow;
	uint16_t opcode[4];
	int r;

	w->chaos = c;
	r = mk_module_load_source(c->load.ctx, "flow.c", chaos_flow_source, 0,
				  NULL);
	if (r >= 0)
		r = find(c, opcode);
	if (r >= 0)
		r = mk_queue_create(c->load.ctx, &qp, &w->q);
	if (r >= 0)
		r = record(w, opcode);
	if (r < 0)
		cli_library_error("chaos", "flow", r);
	return r < 0 ? -1 : 0;
}

int chaos_flow_start(struct chaos *c)
{
	struct chaos_flow *w = &c->load.flow;

	mk_add_relaxed(&c->threads, 1);
	w->started = !pthread_create(&w->thread, NULL, flow_main, w);
	if (w->started)
		return 0;
	mk_sub_seq(&c->threads, 1);
	cli_error("chaos", "cannot start a thread");
	return -1;
}

void chaos_flow_stop(struct chaos *c)
{
	struct chaos_flow *w = &c->load.flow;

	if (w->started)
		pthread_join(w->thread, NULL);
	w->started = false;
	mk_batch_destroy(w->batch, LAST_WAIT_NS);
	w->batch = NULL;
}
