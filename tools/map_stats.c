/* SPDX-License-Identifier: Apache-2.0 */
/* The table of --stats: the dispatch record of the whole run, then what queue
 * and engine counted. */
#include <string.h>

#include "map_run.h"

/* The data and the state: see struct mk_map_args. */
#define HANDLES_A_SLOT 2u

static void row(const char *name, uint64_t value, const char *unit)
{
	fprintf(stderr, "  %-27s %20llu%s%s\n", name, (unsigned long long)value,
		*unit ? " " : "", unit);
}

/* All answers were reaped, so the record follows from what was counted. */
static void dispatch_record(struct map *m, const struct mk_queue_stats *q,
			    const struct mk_ctx_stats *c,
			    struct mk_dispatch_stats *out)
{
	uint64_t answers = q->ok + q->failed;

	memset(out, 0, sizeof(*out));
	out->input_bytes = m->bytes;
	out->output_bytes = m->results * MK_MAP_STATE_BYTES;
	out->readback_bytes = out->output_bytes + answers * MK_COMPLETION_BYTES;
	out->bytes_moved = out->readback_bytes + out->input_bytes +
			   q->submitted * MK_SLOT_BYTES;
	out->device_allocation_bytes = m->allocated;
	out->device_allocation_events = m->allocations;
	out->output_buffers = (uint32_t)m->results;
	out->resident_resource_rows = (uint32_t)q->submitted;
	out->resident_resource_handles =
		(uint32_t)q->submitted * HANDLES_A_SLOT;
	out->latency_ns = m->ended_ns - m->started_ns;
	out->kernel_launches = (uint32_t)c->launches;
	out->sync_points = (uint32_t)q->waits;
}

static void print_dispatch(const struct mk_dispatch_stats *s)
{
	fprintf(stderr, "dispatch\n");
	row("input_bytes", s->input_bytes, "B");
	row("output_bytes", s->output_bytes, "B");
	row("readback_bytes", s->readback_bytes, "B");
	row("bytes_moved", s->bytes_moved, "B");
	row("device_allocation_bytes", s->device_allocation_bytes, "B");
	row("device_allocation_events", s->device_allocation_events, "");
	row("output_buffers", s->output_buffers, "results");
	row("resident_resource_rows", s->resident_resource_rows, "slots");
	row("resident_resource_handles", s->resident_resource_handles, "");
	row("latency_ns", s->latency_ns, "ns");
	row("kernel_launches", s->kernel_launches, "");
	row("sync_points", s->sync_points, "");
	row("recovered_after_device_loss", s->recovered_after_device_loss, "");
	row("output rate", mk_dispatch_output_rate(s), "B/s");
	row("readback rate", mk_dispatch_readback_rate(s), "B/s");
	row("moved rate", mk_dispatch_moved_rate(s), "B/s");
	row("device allocation rate", mk_dispatch_allocation_rate(s), "B/s");
}

static void print_queue(const struct mk_queue_stats *q)
{
	fprintf(stderr, "queue\n");
	row("submitted", q->submitted, "slots");
	row("ok", q->ok, "slots");
	row("failed", q->failed, "slots");
	row("full", q->full, "times");
	row("doorbells", q->doorbells, "system calls");
	row("waits", q->waits, "times");
	row("in_flight_high", q->in_flight_high, "slots");
}

static void print_engine(const struct mk_ctx_stats *c)
{
	fprintf(stderr, "engine\n");
	row("slots", c->slots, "");
	row("sleeps", c->sleeps, "times");
	row("wakes", c->wakes, "by the host");
	row("wakes_engine", c->wakes_engine, "by workers");
	row("commands", c->commands, "messages");
}

void map_print_stats(struct map *m)
{
	struct mk_dispatch_stats record;
	struct mk_queue_stats q;
	struct mk_ctx_stats c;

	if (mk_queue_stats(m->queue, &q) < 0 || mk_ctx_stats(m->ctx, &c) < 0) {
		cli_error("map", "no statistics: %s", mk_error_last()->text);
		return;
	}
	dispatch_record(m, &q, &c, &record);
	fprintf(stderr, "map: %llu files, %llu failed, %u readers\n",
		(unsigned long long)m->files, (unsigned long long)m->failed,
		m->threads);
	print_dispatch(&record);
	print_queue(&q);
	print_engine(&c);
}
