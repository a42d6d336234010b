/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dispatches of resident rows: a row is one slot on a live queue, MK_OP_ROW,
 * and the engine runs the ring that it names.
 */
#include "dispatch/resident.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "dispatch/flight.h"
#include "dispatch/layout.h"
#include "dispatch/outputs.h"

#define ENTRIES_LEAST 256u
#define PENDING INT32_MIN /* no answer yet; no result is this */

/* One batch while it runs. */
struct batch {
	struct mk_ctx *ctx;
	struct mk_dispatcher *d;
	const char *operation;
	struct mk_dispatch_params p;
	uint64_t deadline_ns;
	struct mk_dispatch_stats stats;
	struct mk_flight flight;
	struct mk_tries tries;
	bool lost_rows;
	const struct mk_resident_handles *rows;
	uint32_t n;
	/* n, and n * stride, of the caller's */
	struct mk_row_output *row;
	struct mk_output_buffer *slot;
	uint32_t stride;
};

/* ---- before ------------------------------------------------------------- */

/*
 * Room for what row i returns. A handle that the host knows to be bad ends
 * the row here; the engine looks again, since a buffer may go meanwhile.
 */
static int prepare_row(struct batch *b, uint32_t i)
{
	struct mk_row_output *row = &b->row[i];

	row->buffer = b->slot + (uint64_t)i * b->stride;
	row->buffers = 0;
	row->result = PENDING;
	row->answered = 0;
	for (int part = 0; part < (int)MK_PARTS; part++) {
		mk_buffer_t handle = mk_row_handle(&b->rows[i], part);
		struct mk_output_buffer *to = &row->buffer[row->buffers];
		uint64_t bytes;
		int r;

		if (!(b->p.readback & 1u << part) ||
		    (part == MK_PART_IO && !handle))
			continue;
		r = mk_buffer_bytes(b->ctx, handle, &bytes);
		if (r < 0) {
			row->buffers = 0;
			row->result = r;
			return 0;
		}
		r = mk_output_reserve(to, bytes, b->operation);
		if (r < 0)
			return r;
		to->bytes = bytes;
		to->part = (uint32_t)part;
		row->buffers++;
	}
	return 0;
}

/* ---- running ------------------------------------------------------------ */

static void landed(void *arg, uint32_t item, const struct mk_completion *c)
{
	struct batch *b = arg;
	struct mk_row_output *row = &b->row[item];

	if (mk_loss_result(b->ctx, &b->tries, c->result)) {
		b->lost_rows = true;
		return;
	}
	row->result = c->result == PENDING ? -MK_EFAULT : c->result;
	row->answered = c->value;
	b->stats.resident_resource_rows++;
	for (int part = 0; part < (int)MK_PARTS; part++)
		if (mk_row_handle(&b->rows[item], part))
			b->stats.resident_resource_handles++;
}

/* A row may run again: see mk_cpu_row_run(). */
static int send_row(struct batch *b, uint32_t i)
{
	const struct mk_resident_handles *h = &b->rows[i];
	struct mk_op_row args = {
		.control = mk_buffer_ref(h->control),
		.ring = mk_buffer_ref(h->ring),
		.debug_log = mk_buffer_ref(h->debug_log),
		.io_queue = mk_buffer_ref(h->io_queue),
	};
	struct mk_slot slot;
	int32_t refused;
	int r;

	mk_slot_init(&slot, MK_OP_ROW, 0);
	slot.flags = MK_SLOT_IDEMPOTENT;
	memcpy(slot.bytes, &args, sizeof(args));
	r = mk_flight_send(&b->flight, &slot, i, &refused);
	if (!r)
		b->row[i].result = refused;
	return r < 0 ? r : 0;
}

/* One try: every row that has no result yet. */
static int run_once(struct batch *b, struct mk_queue *q)
{
	int r;

	b->lost_rows = false;
	mk_flight_begin(&b->flight, q);
	for (uint32_t i = 0; i < b->n; i++) {
		if (b->row[i].result != PENDING)
			continue;
		r = send_row(b, i);
		if (r < 0)
			return r;
	}
	r = mk_flight_land(&b->flight);
	return !r && b->lost_rows ? -MK_EDEVLOST : r;
}

static int run(struct batch *b)
{
	struct mk_shape shape = { .entries = ENTRIES_LEAST };
	struct mk_queue *q;
	int r;

	while (shape.entries < b->n && shape.entries < MK_RING_ENTRIES_MAX)
		shape.entries *= 2;
	do {
		mk_loss_try(b->ctx, &b->tries);
		r = mk_dispatcher_queue(b->ctx, b->d, &shape, b->operation,
					&b->stats, &q);
		if (!r)
			r = run_once(b, q);
		if (r < 0)
			mk_flight_end(&b->flight, b->d, r);
	} while (r == -MK_EDEVLOST &&
		 mk_loss_recover(b->ctx, &b->p, &b->tries,
				 b->operation, b->deadline_ns,
				 &b->stats));
	return r;
}

/* ---- after -------------------------------------------------------------- */

/* A buffer may be longer than what it holds; what is returned is not, so that
 * it decodes. A header that a handler overwrote says nothing. */
static void trim(struct mk_output_buffer *b)
{
	struct mk_wire_header h;

	if (b->bytes < sizeof(h))
		return;
	memcpy(&h, b->data, sizeof(h));
	if (h.magic == mk_part_layout[b->part].magic &&
	    h.bytes >= mk_part_layout[b->part].fixed && h.bytes < b->bytes)
		b->bytes = h.bytes;
}

static void read_row(struct batch *b, uint32_t i)
{
	struct mk_row_output *row = &b->row[i];

	if (row->result < 0) {
		row->buffers = 0;
		return;
	}
	for (uint32_t k = 0; k < row->buffers; k++) {
		struct mk_output_buffer *to = &row->buffer[k];
		int r = mk_buffer_read(b->ctx,
				       mk_row_handle(&b->rows[i], to->part),
				       0, to->data, to->bytes);

		/* it was destroyed since, or the device lost */
		if (r < 0) {
			row->buffers = 0;
			row->result = r;
			return;
		}
		b->stats.readback_bytes += to->bytes;
		b->stats.bytes_moved += to->bytes;
		trim(to);
	}
	for (uint32_t k = 0; k < row->buffers; k++)
		b->stats.output_bytes += row->buffer[k].bytes;
	b->stats.output_buffers += row->buffers;
}

/* All rows. How many have a result >= 0. */
static int batch_run(struct batch *b)
{
	int ok = 0, r = 0;

	for (uint32_t i = 0; i < b->n && !r; i++)
		r = prepare_row(b, i);
	if (!r)
		r = run(b);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < b->n; i++) {
		read_row(b, i);
		ok += b->row[i].result >= 0;
	}
	return ok;
}

static int batch_enter(struct batch *b)
{
	struct mk_cost cost;
	int r;

	mk_cost_begin(&cost, b->ctx);
	b->deadline_ns = mk_deadline_after(b->p.timeout_ns);
	b->flight.stats = &b->stats;
	b->flight.operation = b->operation;
	b->flight.deadline_ns = b->deadline_ns;
	b->flight.slot_deadline_ns = b->p.deadline_ns;
	b->flight.landed = landed;
	b->flight.arg = b;
	r = mk_dispatcher_enter(b->ctx, b->operation, &b->d);
	if (r < 0)
		return r;
	r = batch_run(b);
	mk_dispatcher_leave(b->d);
	if (r >= 0)
		mk_cost_end(&cost, b->ctx, &b->stats);
	return r;
}

static int pointers(const char *operation, const struct mk_ctx *ctx,
		    const char *what, const struct mk_resident_handles *rows,
		    uint32_t n, const void *out)
{
	if (ctx && (rows || !n) && out && n <= INT_MAX)
		return 0;
	if (n > INT_MAX)
		return mk_error_set(-EINVAL, 0, operation,
				    "n is %u, must be at most %d", n, INT_MAX);
	return mk_error_set(-EINVAL, 0, operation, "%s is NULL",
			    !ctx ? "ctx" : !out ? "out" : what);
}

int mk_resident_batch(const char *operation, struct mk_ctx *ctx,
		      const struct mk_dispatch_params *params,
		      const struct mk_resident_handles *rows, uint32_t n,
		      struct mk_batch_dispatch_output *out)
{
	struct batch b = {
		.ctx = ctx, .operation = operation, .rows = rows, .n = n,
	};
	int r;

	r = pointers(operation, ctx, "rows", rows, n, out);
	if (r < 0)
		return r;
	out->rows = 0;
	memset(&out->stats, 0, sizeof(out->stats));
	r = mk_dispatch_params_check(&b.p, params, operation);
	if (r < 0 || !n)
		return r;
	b.stride = (uint32_t)__builtin_popcount(b.p.readback);
	r = mk_batch_reserve(out, n, (uint64_t)n * b.stride, operation);
	if (r < 0)
		return r;
	b.row = out->row;
	b.slot = out->slot;
	r = batch_enter(&b);
	if (r < 0)
		return r;
	out->rows = n;
	out->stats = b.stats;
	return r;
}

int mk_dispatch_resident_batch_into(struct mk_ctx *ctx,
				    const struct mk_dispatch_params *params,
				    const struct mk_resident_handles *rows,
				    uint32_t n,
				    struct mk_batch_dispatch_output *out)
{
	return mk_resident_batch(__func__, ctx, params, rows, n, out);
}

int mk_dispatch_resident_batch(struct mk_ctx *ctx,
			       const struct mk_dispatch_params *params,
			       const struct mk_resident_handles *rows,
			       uint32_t n,
			       struct mk_batch_dispatch_output *out)
{
	struct mk_batch_dispatch_output fresh = { .rows = 0 };
	int r;

	if (!out)
		return pointers(__func__, ctx, "rows", rows, n, out);
	r = mk_resident_batch(__func__, ctx, params, rows, n, &fresh);
	if (r >= 0)
		*out = fresh;
	else
		mk_batch_dispatch_output_free(&fresh);
	return r;
}

/* ---- one row ------------------------------------------------------------ */

static int resident_into(const char *operation, struct mk_ctx *ctx,
			 const struct mk_dispatch_params *params,
			 const struct mk_resident_handles *handles,
			 struct mk_dispatch_output *out)
{
	struct mk_row_output row;
	struct batch b = {
		.ctx = ctx, .operation = operation, .rows = handles, .n = 1,
		.row = &row, .slot = out->buffer, .stride = MK_PARTS,
	};
	int r;

	out->buffers = 0;
	memset(&out->stats, 0, sizeof(out->stats));
	r = mk_dispatch_params_check(&b.p, params, operation);
	if (r < 0)
		return r;
	r = batch_enter(&b);
	if (r < 0)
		return r;
	if (row.result < 0)
		return mk_row_failed(operation, ctx, handles, row.result);
	out->buffers = row.buffers;
	out->stats = b.stats;
	return row.answered < INT_MAX ? (int)row.answered : INT_MAX;
}

int mk_dispatch_resident_into(struct mk_ctx *ctx,
			      const struct mk_dispatch_params *params,
			      const struct mk_resident_handles *handles,
			      struct mk_dispatch_output *out)
{
	int r = pointers(__func__, ctx, "handles", handles, 1, out);

	return r ? r : resident_into(__func__, ctx, params, handles, out);
}

int mk_dispatch_resident(struct mk_ctx *ctx,
			 const struct mk_dispatch_params *params,
			 const struct mk_resident_handles *handles,
			 struct mk_dispatch_output *out)
{
	struct mk_dispatch_output fresh = { .buffers = 0 };
	int r;

	r = pointers(__func__, ctx, "handles", handles, 1, out);
	if (!r)
		r = resident_into(__func__, ctx, params, handles, &fresh);
	if (r >= 0)
		*out = fresh;
	else
		mk_dispatch_output_free(&fresh);
	return r;
}
