/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workload: queues, their producers, and the threads that reap and check.
 *
 * A slot's record says what was asked. Its user_data has the producer, the
 * record and the generation of the record, so that a second answer to a slot
 * is told from the first answer to another. A slot with an effect adds to the
 * queue's observable word of its record's number.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/order.h"
#include "chaos.h"

#define LAST_WAIT_NS 60000000000u /* a slot that takes longer is lost */
#define NAP_NS 10000000u
#define BURST 32u

static const struct lane_shape {
	uint32_t entries, priority, producers, records;
} shapes[CHAOS_LANES] = {
	{ 1024, MK_PRIORITY_NORMAL + 1, 2, 96 },
	{ 64, MK_PRIORITY_HIGH + 1, 1, 48 },
	{ 16, MK_PRIORITY_LOW + 1, 1, 16 },
};

static void nap(uint64_t ns)
{
	struct timespec t = { 0, (long)ns };

	nanosleep(&t, NULL);
}

static struct chaos_record *record_at(const struct chaos_lane *l,
				      unsigned producer, uint32_t i)
{
	return &l->record[producer * l->records + i];
}

/* ---- producing --------------------------------------------------------- */

struct producer {
	struct chaos_lane *lane;
	unsigned number;
	uint32_t next;    /* record to try first */
	uint64_t random;
};

static enum chaos_work choose(uint64_t bits)
{
	static const enum chaos_work of[16] = {
		CHAOS_MIX, CHAOS_MIX, CHAOS_MIX, CHAOS_MIX, CHAOS_MIX,
		CHAOS_MARK, CHAOS_MARK, CHAOS_MARK, CHAOS_MARK, CHAOS_MARK,
		CHAOS_MARK, CHAOS_TWIST, CHAOS_TWIST, CHAOS_ECHO, CHAOS_LATE,
		CHAOS_MIX,
	};

	return bits % 251 == 7 ? CHAOS_STALE : of[bits / 251 % 16];
}

static void fill_mix(struct chaos_load *load, struct mk_slot *s,
		     struct chaos_record *r, uint64_t bits)
{
	struct chaos_mix_args a = {
		.table = mk_buffer_ref(load->table),
		.bytes = (uint32_t)(bits % CHAOS_TABLE_READ),
		.offset = (uint32_t)((bits >> 16) %
				     (CHAOS_TABLE_BYTES - CHAOS_TABLE_READ)),
		.key = bits,
	};

	if (r->work == CHAOS_STALE)
		a.table.generation += 7;
	s->opcode = load->mix;
	memcpy(s->bytes, &a, sizeof(a));
	r->expected = chaos_model_mix(load->bytes, a.offset, a.bytes, a.key);
}

static void fill_mark(struct chaos_load *load, struct mk_slot *s,
		      struct chaos_record *r, uint32_t word, uint64_t bits)
{
	struct chaos_mark_args a = {
		.key = bits, .word = word,
		/* now and then long enough to be met by a fault */
		.turns = bits % 61 ? 16 : 100000,
	};

	s->opcode = load->mark;
	memcpy(s->bytes, &a, sizeof(a));
	r->expected = chaos_model_mark(a.key);
}

static void fill(struct producer *p, struct mk_slot *s,
		 struct chaos_record *r, uint32_t word)
{
	struct chaos_load *load = &p->lane->chaos->load;
	uint64_t bits = p->random = chaos_mix(p->random);
	struct chaos_twist_args twist = { bits, ~bits >> 7 };

	r->work = choose(bits);
	r->idempotent = (bits >> 50) % 3 == 0;
	r->expected = 0;
	bits = chaos_mix(bits);
	switch (r->work) {
	case CHAOS_MIX:
	case CHAOS_STALE:
		fill_mix(load, s, r, bits);
		break;
	case CHAOS_TWIST:
		s->opcode = load->twist;
		memcpy(s->bytes, &twist, sizeof(twist));
		r->expected = chaos_model_twist(twist.a, twist.b);
		break;
	case CHAOS_ECHO:
		s->opcode = MK_OP_NOP;
		s->arg64[0] = r->expected = bits;
		break;
	default:
		fill_mark(load, s, r, word, bits);
	}
	s->tenant = (uint16_t)(bits % MK_TENANTS);
	s->flags = r->idempotent ? MK_SLOT_IDEMPOTENT : 0;
	/* a second ago: past, however the machine is loaded */
	if (r->work == CHAOS_LATE)
		mk_slot_deadline(p->lane->q, s, mk_now_ns() - 1000000000u);
}

/* A record that nobody has, or NULL. */
static struct chaos_record *take_record(struct producer *p, uint32_t *index)
{
	for (uint32_t i = 0; i < p->lane->records; i++) {
		uint32_t at = (p->next + i) % p->lane->records;
		struct chaos_record *r = record_at(p->lane, p->number, at);

		/* pairs with the store in settle() */
		if (mk_load_acquire(&r->out))
			continue;
		p->next = at + 1;
		*index = at;
		return r;
	}
	return NULL;
}

/* Fill the slot that was got and publish it. */
static void publish(struct producer *p, struct mk_slot *s,
		    struct chaos_record *r, uint32_t index)
{
	struct chaos_lane *l = p->lane;
	uint32_t word = p->number * l->records + index;

	mk_queue_set_observable(l->q, word, 0);
	r->generation++;
	mk_slot_init(s, MK_OP_NOP,
		     (uint64_t)r->generation << 32 | p->number << 16 | index);
	fill(p, s, r, word);
	/* pairs with the load in settle(): the answer may come at once */
	mk_store_release(&r->out, 1);
	mk_count(&l->submitted[p->number], 1);
	if (mk_queue_submit(l->q, s, 1) == 1)
		return;
	chaos_complain(l->chaos, "submit: %s", mk_error_last()->text);
	mk_store_release(&r->out, 0);
	mk_slot_init(s, MK_OP_NOP, UINT64_MAX);
	mk_queue_submit(l->q, s, 1);
}

static bool has_out(const struct producer *p)
{
	for (uint32_t i = 0; i < p->lane->records; i++)
		if (mk_load_acquire(&record_at(p->lane, p->number, i)->out))
			return true;
	return false;
}

static void *producer_main(void *arg)
{
	struct chaos_lane *l = ((struct producer *)arg)->lane;
	struct producer *p = arg;
	struct chaos_record *r;
	struct mk_slot *s;
	uint32_t index;
	unsigned n = 0;

	while (chaos_load_go_on(l->chaos, !has_out(p))) {
		if (mk_load_acquire(&l->chaos->phase) != CHAOS_GO) {
			nap(500000);
			continue;
		}
		r = take_record(p, &index);
		if (!r || mk_queue_get_wait(l->q, 1, &s, NAP_NS) != 1) {
			nap(100000);
			continue;
		}
		publish(p, s, r, index);
		if (++n % BURST == 0)
			nap(200000); /* busy, and no more than that */
	}
	free(p);
	return NULL;
}

/* ---- reaping ----------------------------------------------------------- */

/* One answer: whose is it, is it right? Then the record is free again. */
static void settle(struct chaos_lane *l, const struct mk_completion *c)
{
	uint32_t index = c->user_data & 0xffff;
	unsigned producer = c->user_data >> 16 & 0xffff;
	struct chaos_record *r;
	uint64_t effect = 0;
	char why[160];

	if (index >= l->records || producer >= l->producers) {
		l->tally.wrong++;
		chaos_complain(l->chaos, "queue %u: an answer with user_data "
			       "%llx, which no slot has", l->index,
			       (unsigned long long)c->user_data);
		return;
	}
	r = record_at(l, producer, index);
	/* pairs with the store in publish() */
	if (!mk_load_acquire(&r->out) ||
	    r->generation != (uint32_t)(c->user_data >> 32)) {
		l->tally.twice++;
		chaos_complain(l->chaos, "queue %u: a second answer, %s, to "
			       "slot %llx", l->index, mk_code_name(c->result),
			       (unsigned long long)c->user_data);
		return;
	}
	mk_queue_observe(l->q, producer * l->records + index, &effect);
	if (!chaos_check(&l->tally, r, c, effect, why, sizeof(why)))
		chaos_complain(l->chaos, "queue %u: %s", l->index, why);
	mk_count(&l->answered, 1);
	/* pairs with the load in take_record() */
	mk_store_release(&r->out, 0);
}

static bool lane_empty(const struct chaos_lane *l)
{
	for (uint32_t i = 0; i < l->producers * l->records; i++)
		if (mk_load_acquire(&l->record[i].out))
			return false;
	return true;
}

static void *reaper_main(void *arg)
{
	struct chaos_lane *l = arg;
	uint64_t deadline = 0;

	for (;;) {
		struct mk_completion c[64];
		int n = mk_queue_wait(l->q, 1, NAP_NS);

		if (n > 0)
			n = mk_queue_reap(l->q, c, 64);
		for (int i = 0; i < n; i++)
			settle(l, &c[i]);
		if (n < 0 && n != -ETIME)
			nap(200000); /* lost, with nothing in flight */
		/* pairs with the store in lane_join(): nobody submits */
		if (!mk_load_acquire(&l->drain))
			continue;
		if (!deadline)
			deadline = mk_deadline_after(LAST_WAIT_NS);
		if (lane_empty(l) || !mk_time_left(deadline))
			return NULL;
	}
}

/* ---- lanes ------------------------------------------------------------- */

static int lane_open(struct chaos *c, unsigned i)
{
	struct mk_queue_params qp = {
		.size = sizeof(qp), .entries = shapes[i].entries,
		.priority = shapes[i].priority,
		.observables = shapes[i].producers * shapes[i].records,
	};
	struct chaos_lane *l = &c->load.lane[i];
	int r;

	l->chaos = c;
	l->index = i;
	l->producers = shapes[i].producers;
	l->records = shapes[i].records;
	l->record = calloc(l->producers * l->records, sizeof(*l->record));
	if (!l->record) {
		cli_error("chaos", "no memory");
		return -1;
	}
	r = mk_queue_create(c->load.ctx, &qp, &l->q);
	if (r < 0)
		cli_library_error("chaos", "queue", r);
	return r < 0 ? -1 : 0;
}

static int lane_start(struct chaos *c, struct chaos_lane *l)
{
	if (pthread_create(&l->reaper, NULL, reaper_main, l))
		goto fail;
	l->threads = 1;
	for (unsigned i = 0; i < l->producers; i++) {
		struct producer *p = calloc(1, sizeof(*p));

		if (!p)
			goto fail;
		p->lane = l;
		p->number = i;
		p->random = chaos_mix(c->plan.seed ^ (l->index * 16 + i + 1));
		/* before it can hold still */
		mk_add_relaxed(&c->threads, 1);
		if (pthread_create(&l->producer[i], NULL, producer_main, p)) {
			free(p);
			mk_sub_seq(&c->threads, 1);
			goto fail;
		}
		l->threads++;
	}
	return 0;
fail:
	cli_error("chaos", "cannot start a thread");
	return -1;
}

/* Its threads end; what is out then is lost. */
static void lane_join(struct chaos_lane *l)
{
	for (unsigned i = 1; i < l->threads; i++)
		pthread_join(l->producer[i - 1], NULL);
	mk_store_release(&l->drain, 1);
	if (l->threads)
		pthread_join(l->reaper, NULL);
	for (uint32_t i = 0; i < l->producers * l->records; i++)
		l->tally.lost += l->record[i].out;
	for (unsigned i = 0; i < l->producers; i++)
		l->tally.submitted += l->submitted[i];
	l->threads = 0;
}

/* The library's own books have to balance too. */
static void lane_audit(struct chaos_lane *l)
{
	struct mk_queue_stats s;

	if (mk_queue_stats(l->q, &s))
		return;
	if (s.submitted == s.ok + s.failed + s.ready + s.in_flight &&
	    s.submitted == l->tally.submitted)
		return;
	l->tally.wrong++;
	chaos_complain(l->chaos, "queue %u: %llu slots submitted, but its "
		       "statistics say %llu = %llu + %llu + %llu + %llu",
		       l->index, (unsigned long long)l->tally.submitted,
		       (unsigned long long)s.submitted,
		       (unsigned long long)s.ok, (unsigned long long)s.failed,
		       (unsigned long long)s.ready,
		       (unsigned long long)s.in_flight);
}

/* ---- all of it --------------------------------------------------------- */

int chaos_load_open(struct chaos *c)
{
	struct chaos_load *load = &c->load;
	int r;

	for (uint32_t i = 0; i < CHAOS_TABLE_BYTES; i++)
		load->bytes[i] = (unsigned char)chaos_mix(c->plan.seed + i);
	r = mk_buffer_create(load->ctx, CHAOS_TABLE_BYTES,
			     MK_BUFFER_MIRRORED | MK_BUFFER_READ_ONLY,
			     &load->table);
	if (!r)
		r = mk_buffer_write(load->ctx, load->table, 0, load->bytes,
				    CHAOS_TABLE_BYTES);
	if (r < 0)
		return cli_library_error("chaos", "buffer", r), -1;
	for (unsigned i = 0; i < CHAOS_LANES; i++)
		if (lane_open(c, i))
			return -1;
	return chaos_rows_open(c) || chaos_flow_open(c) || chaos_io_open(c) ||
			       chaos_streams_open(c) ? -1 : 0;
}

int chaos_load_start(struct chaos *c)
{
	for (unsigned i = 0; i < CHAOS_LANES; i++)
		if (lane_start(c, &c->load.lane[i]))
			return -1;
	return chaos_rows_start(c) || chaos_flow_start(c) ||
			       chaos_io_start(c) || chaos_streams_start(c) ?
		       -1 : 0;
}

bool chaos_load_go_on(struct chaos *c, bool still)
{
	static _Thread_local bool holding;
	uint32_t phase = mk_load_acquire(&c->phase);
	bool hold = phase == CHAOS_STILL && still;

	if (hold != holding)
		mk_add_seq(&c->still, hold ? 1u : -1u);
	holding = hold;
	return phase != CHAOS_END;
}

bool chaos_load_pause(struct chaos *c, uint64_t timeout_ns)
{
	uint64_t deadline = mk_deadline_after(timeout_ns);

	mk_store_release(&c->phase, CHAOS_STILL);
	while (mk_load_seq(&c->still) != mk_load_seq(&c->threads)) {
		if (!mk_time_left(deadline))
			return false;
		nap(500000);
	}
	return true;
}

void chaos_load_resume(struct chaos *c)
{
	mk_store_release(&c->phase, CHAOS_GO);
}

void chaos_load_stop(struct chaos *c)
{
	mk_store_release(&c->phase, CHAOS_END);
	for (unsigned i = 0; i < CHAOS_LANES; i++) {
		lane_join(&c->load.lane[i]);
		if (c->load.lane[i].q)
			lane_audit(&c->load.lane[i]);
	}
	chaos_rows_close(c);
	chaos_flow_stop(c);
	chaos_io_stop(c);
	chaos_streams_stop(c);
}

void chaos_load_close(struct chaos *c)
{
	for (unsigned i = 0; i < CHAOS_LANES; i++) {
		free(c->load.lane[i].record);
		c->load.lane[i].record = NULL;
	}
}

uint64_t chaos_load_answered(const struct chaos *c)
{
	uint64_t n = mk_load_relaxed(&c->load.rows.rows) +
		     mk_load_relaxed(&c->load.rows.dispatches) +
		     mk_load_relaxed(&c->load.flow.rounds) +
		     mk_load_relaxed(&c->load.io.rounds) +
		     mk_load_relaxed(&c->load.streams.chunks);

	for (unsigned i = 0; i < CHAOS_LANES; i++)
		n += mk_load_relaxed(&c->load.lane[i].answered);
	return n;
}

struct chaos_tally chaos_load_tally(const struct chaos *c)
{
	struct chaos_tally all = c->tally;

	for (unsigned i = 0; i < CHAOS_LANES; i++)
		chaos_tally_add(&all, &c->load.lane[i].tally);
	chaos_tally_add(&all, &c->load.rows.tally);
	chaos_tally_add(&all, &c->load.flow.tally);
	chaos_tally_add(&all, &c->load.io.tally);
	chaos_tally_add(&all, &c->load.streams.tally);
	return all;
}
