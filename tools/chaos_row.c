/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole buffers under faults: resident rows (MK_OP_ROW) and dispatches of
 * host bytes, one after the other. Each has slots that add 1 to a word of
 * their own, and slots that compute; what they left is read back and checked.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/order.h"
#include "chaos.h"

#define SLOTS 7u
#define ADDS 4u /* the first of them; the first two of these only once */
#define ENTRIES 8u
#define WORDS 8u
#define LAST_WAIT_NS 60000000000u

/* The three buffers, and what is expected of their slots. */
struct page {
	uint64_t control[512], ring[128], log[64];
	uint64_t control_bytes, ring_bytes, log_bytes;
	uint64_t expected[SLOTS];
};

static void nap(void)
{
	struct timespec t = { 0, 500000 };

	nanosleep(&t, NULL);
}

static uint64_t losses(struct chaos *c)
{
	struct mk_ctx_stats s;

	return mk_ctx_stats(c->load.ctx, &s) ? 0 : s.losses;
}

/* ---- making ------------------------------------------------------------ */

static void fill_slot(struct chaos_load *load, struct mk_ring_slot *s,
		      unsigned i, uint64_t bits, uint64_t *expected)
{
	struct mk_op_word add = { .word = i, .operand = 1 };
	struct chaos_mix_args mix = {
		.table = mk_buffer_ref(load->table), .offset = bits % 4096,
		.bytes = bits % 97, .key = bits,
	};
	struct chaos_twist_args twist = { bits, ~bits };

	s->priority = MK_PRIORITY_NORMAL;
	s->tag = i;
	s->flags = i < 2 ? 0 : MK_SLOT_IDEMPOTENT;
	if (i < ADDS) {
		s->opcode = MK_OP_ADD;
		memcpy(s->args, &add, sizeof(add));
		*expected = 0;
	} else if (i < SLOTS - 1) {
		s->opcode = load->mix;
		memcpy(s->args, &mix, sizeof(mix));
		*expected = chaos_model_mix(load->bytes, mix.offset, mix.bytes,
					    mix.key);
	} else {
		s->opcode = load->twist;
		memcpy(s->args, &twist, sizeof(twist));
		*expected = chaos_model_twist(twist.a, twist.b);
	}
}

static void make(struct chaos_load *load, struct page *p, uint64_t bits)
{
	struct mk_control_params cp = { .size = sizeof(cp),
					.observables = WORDS };
	struct mk_ring_slot slot[SLOTS];

	memset(p, 0, sizeof(*p));
	memset(slot, 0, sizeof(slot));
	for (unsigned i = 0; i < SLOTS; i++)
		fill_slot(load, &slot[i], i, bits = chaos_mix(bits),
			  &p->expected[i]);
	p->control_bytes = (uint64_t)mk_control_encode(&cp, p->control,
						       sizeof(p->control));
	p->ring_bytes = (uint64_t)mk_ring_encode_empty(ENTRIES, p->ring,
						       sizeof(p->ring));
	p->log_bytes = (uint64_t)mk_log_encode_empty(4, p->log,
						     sizeof(p->log));
	mk_ring_publish(p->ring, p->ring_bytes, slot, SLOTS);
}

/* ---- checking ---------------------------------------------------------- */

static void wrong(struct chaos_rows *w, const char *what, unsigned i,
		  const struct mk_slot_ending *e, uint64_t word)
{
	chaos_complain(w->chaos, "%s, slot %u: state %u, %s, value %llx, "
		       "word %llu", what, i, e->state, mk_code_name(e->result),
		       (unsigned long long)e->value,
		       (unsigned long long)word);
}

/* One slot that ended, against what it left. A row that was lost may have
 * slots that never ran. */
static void check_slot(struct chaos_rows *w, const char *what, unsigned i,
		       const struct page *p, const struct mk_slot_ending *e,
		       uint64_t word)
{
	bool ended = e->state == MK_STATE_DONE || e->state == MK_STATE_FAULT;
	bool ok = e->state == MK_STATE_DONE;
	struct chaos_record r = {
		.work = i < ADDS ? CHAOS_MARK : CHAOS_MIX,
		.idempotent = e->flags & MK_SLOT_IDEMPOTENT,
		.expected = p->expected[i],
	};
	struct mk_completion c = { .result = e->result, .value = e->value };
	char why[160];

	w->tally.submitted++;
	/* an add that ran twice, as it may, found what it had left */
	if (ok && i < ADDS && r.idempotent)
		r.expected = word ? word - 1 : 0;
	if (!ended) {
		w->tally.ending[CHAOS_END_NOT_RUN]++;
		if (i >= ADDS || r.idempotent || word <= 1)
			return;
		w->tally.twice++;
	} else if (chaos_check(&w->tally, &r, &c, word, why, sizeof(why))) {
		return;
	}
	wrong(w, what, i, e, word);
}

/* All of them. `whole`: each has to have ended. */
static void check(struct chaos_rows *w, const char *what, const struct page *p,
		  const void *control, const void *ring, bool whole)
{
	struct mk_slot_ending e[SLOTS];
	struct mk_control_info info;

	if (mk_control_decode(control, p->control_bytes, &info) < 0 ||
	    mk_ring_decode(ring, p->ring_bytes, e, SLOTS) != (int)SLOTS) {
		w->tally.wrong++;
		chaos_complain(w->chaos, "%s: %s", what,
			       mk_error_last()->text);
		return;
	}
	for (unsigned i = 0; i < SLOTS; i++) {
		uint64_t word = i < ADDS ? info.words[i] : 0;

		check_slot(w, what, i, p, &e[i], word);
		if (!whole || e[i].state == MK_STATE_DONE ||
		    e[i].state == MK_STATE_FAULT)
			continue;
		w->tally.lost++;
		wrong(w, what, i, &e[i], word);
	}
}

/* ---- a resident row ---------------------------------------------------- */

static int put(struct chaos_rows *w, const struct page *p)
{
	struct mk_ctx *ctx = w->chaos->load.ctx;
	int r = mk_buffer_write(ctx, w->control, 0, p->control,
				p->control_bytes);

	if (!r)
		r = mk_buffer_write(ctx, w->ring, 0, p->ring, p->ring_bytes);
	if (!r)
		r = mk_buffer_write(ctx, w->log, 0, p->log, p->log_bytes);
	return r;
}

/* Submit and wait; false: no answer. */
static bool call(struct chaos_rows *w, struct mk_completion *c, uint64_t id,
		 bool idempotent)
{
	struct mk_op_row args = {
		.control = mk_buffer_ref(w->control),
		.ring = mk_buffer_ref(w->ring),
		.debug_log = mk_buffer_ref(w->log),
	};
	uint64_t deadline = mk_deadline_after(LAST_WAIT_NS);
	struct mk_slot *s;

	while (mk_queue_get_wait(w->q, 1, &s, 10000000) != 1)
		if (!mk_time_left(deadline))
			return false;
	mk_slot_init(s, MK_OP_ROW, id);
	s->flags = idempotent ? MK_SLOT_IDEMPOTENT : 0;
	memcpy(s->bytes, &args, sizeof(args));
	if (mk_queue_submit(w->q, s, 1) != 1)
		return false;
	while (mk_queue_reap(w->q, c, 1) != 1) {
		if (!mk_time_left(deadline))
			return false;
		if (mk_queue_wait(w->q, 1, 10000000) < 0)
			nap();
	}
	return true;
}

static void row_once(struct chaos_rows *w, uint64_t bits)
{
	struct chaos *c = w->chaos;
	uint64_t before = losses(c);
	struct mk_completion answer;
	struct page p, back;
	int r;

	make(&c->load, &p, bits);
	if (put(w, &p))
		return nap();
	w->tally.submitted++;
	if (!call(w, &answer, bits, bits & 1)) {
		w->tally.lost++;
		chaos_complain(c, "a row has no answer");
		return;
	}
	w->tally.ending[chaos_ending_of(answer.result)]++;
	mk_count(&w->rows, 1);
	mk_count(&w->rows_ok, answer.result == MK_OK);
	if (answer.user_data != bits) {
		w->tally.wrong++;
		chaos_complain(c, "a row's answer has another's user_data");
	}
	r = mk_buffer_read(c->load.ctx, w->control, 0, back.control,
			   p.control_bytes);
	if (!r)
		r = mk_buffer_read(c->load.ctx, w->ring, 0, back.ring,
				   p.ring_bytes);
	/* memory of a device was set back, if it was lost since */
	if (r || (!c->cpu && losses(c) != before))
		return;
	check(w, "row", &p, back.control, back.ring, answer.result == MK_OK);
}

/* ---- a dispatch -------------------------------------------------------- */

static void dispatch_once(struct chaos_rows *w, struct mk_dispatch_output *out,
			  uint64_t bits)
{
	struct mk_dispatch_params params = { .size = sizeof(params),
					     .timeout_ns = LAST_WAIT_NS };
	struct mk_dispatch_input in;
	struct page p;
	int r;

	make(&w->chaos->load, &p, bits);
	memset(&in, 0, sizeof(in));
	in.control = (struct mk_bytes){ p.control, p.control_bytes };
	in.ring = (struct mk_bytes){ p.ring, p.ring_bytes };
	in.debug_log = (struct mk_bytes){ p.log, p.log_bytes };
	r = mk_dispatch_into(w->chaos->load.ctx, &params, &in, out);
	mk_count(&w->dispatches, 1);
	if (r == -MK_EDEVLOST)
		return nap(); /* it said so: nothing is lost unawares */
	if (r < 0) {
		w->tally.wrong++;
		chaos_complain(w->chaos, "dispatch: %s",
			       mk_error_last()->text);
		return;
	}
	mk_count(&w->dispatches_ok, 1);
	mk_count(&w->recovered, out->stats.recovered_after_device_loss);
	check(w, "dispatch", &p, out->buffer[0].data, out->buffer[1].data,
	      true);
}

/* ---- the thread -------------------------------------------------------- */

static void *rows_main(void *arg)
{
	struct chaos_rows *w = arg;
	struct mk_dispatch_output out;
	uint64_t bits = chaos_mix(w->chaos->plan.seed ^ 99);

	memset(&out, 0, sizeof(out));
	while (chaos_load_go_on(w->chaos, true)) {
		if (mk_load_acquire(&w->chaos->phase) == CHAOS_GO) {
			bits = chaos_mix(bits);
			if (bits >> 62)
				row_once(w, bits);
			else
				dispatch_once(w, &out, bits);
		}
		nap();
	}
	mk_dispatch_output_free(&out);
	return NULL;
}

int chaos_rows_open(struct chaos *c)
{
	struct mk_queue_params qp = { .size = sizeof(qp), .entries = 4 };
	struct chaos_rows *w = &c->load.rows;
	struct mk_ctx *ctx = c->load.ctx;
	/* where memory outlives the device, an interrupted row goes on; where
	 * it does not, it begins anew from what the host wrote */
	uint32_t flags = c->cpu ? 0 : MK_BUFFER_MIRRORED;
	int r;

	w->chaos = c;
	r = mk_queue_create(ctx, &qp, &w->q);
	if (!r)
		r = mk_buffer_create(ctx, 4096, flags, &w->control);
	if (!r)
		r = mk_buffer_create(ctx, 1024, flags, &w->ring);
	if (!r)
		r = mk_buffer_create(ctx, 512, flags, &w->log);
	if (r < 0)
		cli_library_error("chaos", "row", r);
	return r < 0 ? -1 : 0;
}

int chaos_rows_start(struct chaos *c)
{
	struct chaos_rows *w = &c->load.rows;

	mk_add_relaxed(&c->threads, 1);
	w->started = !pthread_create(&w->thread, NULL, rows_main, w);
	if (w->started)
		return 0;
	mk_sub_seq(&c->threads, 1);
	cli_error("chaos", "cannot start a thread");
	return -1;
}

void chaos_rows_close(struct chaos *c)
{
	if (c->load.rows.started)
		pthread_join(c->load.rows.thread, NULL);
	c->load.rows.started = false;
}
