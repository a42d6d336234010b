/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dispatches of host bytes. The bytes are copied and the copies checked;
 * outputs get their room; the slots go through a live queue; then the copies
 * become the outputs.
 */
#include "dispatch/host_state.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/order.h"
#include "dispatch/endings.h"
#include "dispatch/outputs.h"

#define ENTRIES_LEAST 256u /* so that small rings share a queue */

/* ---- input -------------------------------------------------------------- */

/* Copy one buffer, then check the copy: the caller's bytes may change. The
 * header is looked at before, so that nonsense is not copied by gigabytes. */
static int take_part(struct mk_host_dispatch *h, enum mk_part part,
		     const struct mk_bytes *b)
{
	struct mk_check c = { .operation = h->operation, .part = part };
	struct mk_room *room = &h->d->copy[part];
	union {
		struct mk_control control;
		struct mk_ring ring;
		struct mk_debug_log log;
		struct mk_io_queue io;
	} head;
	int r;

	r = mk_part_check(&c, b->data, b->bytes, &head);
	if (r < 0)
		return r;
	r = mk_room_grow(room, b->bytes, h->operation);
	if (r < 0)
		return r;
	memcpy(room->data, b->data, b->bytes);
	h->bytes[part] = b->bytes;
	return mk_input_check(h->operation, part, room->data, b->bytes);
}

static int take_input(struct mk_host_dispatch *h,
		      const struct mk_dispatch_input *in)
{
	for (int part = 0; part < (int)MK_PARTS; part++) {
		const struct mk_bytes *b = mk_input_part(in, part);
		int r;

		if (mk_input_left_out(b, part))
			continue;
		r = take_part(h, part, b);
		if (r < 0)
			return r;
	}
	h->control = h->d->copy[MK_PART_CONTROL].data;
	h->ring = h->d->copy[MK_PART_RING].data;
	h->log = h->d->copy[MK_PART_LOG].data;
	h->io = h->bytes[MK_PART_IO] ? h->d->copy[MK_PART_IO].data : NULL;
	h->slots = mk_ring_slots(h->ring);
	return 0;
}

/* ---- running ------------------------------------------------------------ */

static void answer(struct mk_host_dispatch *h, uint32_t i, int32_t result,
		   uint64_t value)
{
	h->answers[i].result = result;
	h->answers[i].value = value;
	h->answers[i].state = mk_state_of(result);
	h->answered++;
}

static void landed(void *arg, uint32_t item, const struct mk_completion *c)
{
	struct mk_host_dispatch *h = arg;

	if (mk_loss_result(h->ctx, &h->tries, c->result))
		h->lost_answers = true;
	answer(h, item, c->result, c->value);
}

static int send_slot(struct mk_host_dispatch *h, uint32_t i)
{
	const struct mk_ring_slot *from = &h->slots[i];
	struct mk_slot slot = {
		.opcode = from->opcode,
		.tenant = from->tenant,
		.priority = from->priority,
		.flags = from->flags,
		.tiles = from->tiles,
	};
	int32_t refused;
	int r;

	memcpy(slot.arg, from->args, sizeof(slot.arg));
	r = mk_flight_send(&h->flight, &slot, i, &refused);
	if (!r)
		answer(h, i, refused, 0);
	return r < 0 ? r : 0;
}

/*
 * A shutdown runs alone: a worker that ran it beside an earlier slot would
 * cancel that one too, and which one would be chance.
 */
static int send_shutdown(struct mk_host_dispatch *h, uint32_t i, bool *stopped)
{
	int r = mk_flight_land(&h->flight);

	if (!r)
		r = send_slot(h, i);
	if (!r)
		r = mk_flight_land(&h->flight);
	if (!r && h->answers[i].result >= 0)
		*stopped = true;
	return r;
}

/* Answer every slot of the ring that is PUBLISHED. */
static int run_slots(struct mk_host_dispatch *h)
{
	bool stopped = h->control->shutdown != 0;

	for (uint32_t i = 0; i < h->ring->published; i++) {
		const struct mk_ring_slot *slot = &h->slots[i];
		int32_t refused = mk_slot_refused(slot, h->control->tenants);
		int r = 0;

		if (slot->state != MK_STATE_PUBLISHED)
			continue;
		if (stopped)
			answer(h, i, -MK_ECANCELLED, 0);
		else if (refused)
			answer(h, i, refused, 0);
		else if (slot->opcode == MK_OP_SHUTDOWN)
			r = send_shutdown(h, i, &stopped);
		else
			r = send_slot(h, i);
		if (r < 0)
			return r;
	}
	return h->flight.q ? mk_flight_land(&h->flight) : 0;
}

/* One try, from the copies as they were taken. -MK_EDEVLOST: try again. */
static int run_once(struct mk_host_dispatch *h, struct mk_queue *q)
{
	int r;

	h->answered = 0;
	h->lost_answers = false;
	memset(h->answers, 0, h->ring->published * sizeof(*h->answers));
	for (int part = 0; part < (int)MK_PARTS; part++)
		h->stats.input_bytes += h->bytes[part];
	if (q) {
		mk_flight_begin(&h->flight, q);
		mk_host_load(h);
	}
	r = run_slots(h);
	if (!r && h->lost_answers)
		r = -MK_EDEVLOST;
	return r;
}

/* The slots to publish; 0 if the control says that none may run. */
static uint32_t slots_to_run(const struct mk_host_dispatch *h)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < h->ring->published; i++)
		n += h->slots[i].state == MK_STATE_PUBLISHED;
	return h->control->shutdown ? 0 : n;
}

static int get_queue(struct mk_host_dispatch *h, struct mk_queue **q)
{
	struct mk_shape shape = {
		.entries = ENTRIES_LEAST,
		.observables = h->control->observables,
		.log_records = h->log->capacity,
		.io_records = h->io ? h->io->capacity : 0,
	};
	uint32_t n = slots_to_run(h);

	*q = NULL;
	if (!n)
		return 0;
	while (shape.entries < n)
		shape.entries *= 2;
	return mk_dispatcher_queue(h->ctx, h->d, &shape, h->operation,
				   &h->stats, q);
}

/* Tries until one succeeds, or the policy says that it is enough. */
static int run(struct mk_host_dispatch *h)
{
	struct mk_queue *q;
	int r;

	do {
		mk_loss_try(h->ctx, &h->tries);
		r = get_queue(h, &q);
		if (!r)
			r = run_once(h, q);
		if (!r && q)
			r = mk_host_read_back(h);
		if (r < 0)
			mk_flight_end(&h->flight, h->d, r);
	} while (r == -MK_EDEVLOST &&
		 mk_loss_recover(h->ctx, &h->p, &h->tries,
				 h->operation, h->deadline_ns,
				 &h->stats));
	return r;
}

/* ---- outputs ------------------------------------------------------------ */

/* Enter what was answered into ring and control. */
static void enter_answers(struct mk_host_dispatch *h)
{
	struct mk_ring_answer *answers =
		mk_ring_answers(h->ring, h->ring->entries);

	for (uint32_t i = 0; i < h->ring->published; i++) {
		if (h->answers[i].state == MK_STATE_EMPTY)
			continue;
		answers[i] = h->answers[i];
		h->slots[i].state = answers[i].state;
		mk_control_count(h->control, &h->slots[i], answers[i].result);
	}
	h->control->epoch++;
}

static bool returned(const struct mk_host_dispatch *h, int part)
{
	return h->bytes[part] && h->p.readback & 1u << part;
}

/* Room for everything that will be returned, before anything runs. */
static int reserve(struct mk_host_dispatch *h, struct mk_dispatch_output *out)
{
	uint64_t published = h->ring->published;
	uint32_t at = 0;
	int r;

	r = mk_room_grow(&h->d->answers,
			 published * sizeof(struct mk_ring_answer) + 1,
			 h->operation);
	if (r < 0)
		return r;
	/* twice: a slot that the queue refuses has a no-op in its place */
	r = mk_room_grow(&h->d->tickets, 2 * published * sizeof(uint32_t) + 1,
			 h->operation);
	if (r < 0)
		return r;
	h->answers = h->d->answers.data;
	h->flight.tickets = h->d->tickets.data;
	for (int part = 0; part < (int)MK_PARTS; part++) {
		if (!returned(h, part))
			continue;
		r = mk_output_reserve(&out->buffer[at++], h->bytes[part],
				      h->operation);
		if (r < 0)
			return r;
	}
	return 0;
}

static void give(struct mk_host_dispatch *h, struct mk_dispatch_output *out)
{
	uint32_t at = 0;

	for (int part = 0; part < (int)MK_PARTS; part++) {
		struct mk_output_buffer *b = &out->buffer[at];

		if (!returned(h, part))
			continue;
		memcpy(b->data, h->d->copy[part].data, h->bytes[part]);
		b->bytes = h->bytes[part];
		b->part = (uint32_t)part;
		h->stats.output_bytes += b->bytes;
		at++;
	}
	out->buffers = at;
	h->stats.output_buffers = at;
}

static int dispatch(struct mk_host_dispatch *h,
		    const struct mk_dispatch_input *in,
		    struct mk_dispatch_output *out)
{
	int r;

	r = take_input(h, in);
	if (!r)
		r = reserve(h, out);
	if (!r)
		r = run(h);
	if (r < 0)
		return r;
	enter_answers(h);
	give(h, out);
	return (int)h->answered;
}

static int dispatch_into(const char *operation, struct mk_ctx *ctx,
			 const struct mk_dispatch_params *params,
			 const struct mk_dispatch_input *in,
			 struct mk_dispatch_output *out)
{
	struct mk_host_dispatch h = { .ctx = ctx, .operation = operation };
	struct mk_cost cost;
	int r;

	out->buffers = 0;
	memset(&out->stats, 0, sizeof(out->stats));
	r = mk_dispatch_params_check(&h.p, params, operation);
	if (r < 0)
		return r;
	mk_cost_begin(&cost, ctx);
	h.deadline_ns = mk_deadline_after(h.p.timeout_ns);
	h.flight.stats = &h.stats;
	h.flight.operation = operation;
	h.flight.deadline_ns = h.deadline_ns;
	h.flight.slot_deadline_ns = h.p.deadline_ns;
	h.flight.landed = landed;
	h.flight.arg = &h;
	r = mk_dispatcher_enter(ctx, operation, &h.d);
	if (r < 0)
		return r;
	r = dispatch(&h, in, out);
	mk_dispatcher_leave(h.d);
	if (r < 0)
		return r;
	mk_cost_end(&cost, ctx, &h.stats);
	out->stats = h.stats;
	return r;
}

static int pointers(const char *operation, const struct mk_ctx *ctx,
		    const void *in, const void *out)
{
	if (ctx && in && out)
		return 0;
	return mk_error_set(-EINVAL, 0, operation, "%s is NULL",
			    !ctx ? "ctx" : !in ? "input" : "out");
}

int mk_dispatch(struct mk_ctx *ctx, const struct mk_dispatch_params *params,
		const struct mk_dispatch_input *input,
		struct mk_dispatch_output *out)
{
	struct mk_dispatch_output fresh = { .buffers = 0 };
	int r;

	r = pointers(__func__, ctx, input, out);
	if (!r)
		r = dispatch_into(__func__, ctx, params, input, &fresh);
	if (r >= 0)
		*out = fresh;
	else
		mk_dispatch_output_free(&fresh);
	return r;
}

int mk_dispatch_into(struct mk_ctx *ctx,
		     const struct mk_dispatch_params *params,
		     const struct mk_dispatch_input *input,
		     struct mk_dispatch_output *out)
{
	int r = pointers(__func__, ctx, input, out);

	return r ? r : dispatch_into(__func__, ctx, params, input, out);
}
