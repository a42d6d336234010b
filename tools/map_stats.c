/* SPDX-License-Identifier: Apache-2.0 */
/* The table of --stats: the dispatch record of the whole run, then what queue
 * and engine counted. */
#include <string.h>

#include "map_run.h"

/* The data and the state: see struct mk_map_args. */
#define HANDLES_A_SLOT 2u

/* All answers were reaped, so the record follows from what was counted. */
static void dispatch_record(struct map *m, const struct mk_queue_stats *q,
			    const struct mk_ctx_stats *c,
			    struct mk_dispatch_stats *out)
{
	uint64_t answers = q->ok + q->failed;

	memset(out, 0, sizeof(*out));
	out->input_bytes = m->crew.bytes;
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
	out->latency_ns = m->crew.ended_ns - m->crew.started_ns;
	out->kernel_launches = (uint32_t)c->launches;
	out->sync_points = (uint32_t)q->waits;
}

static void print_dispatch(const struct mk_dispatch_stats *s)
{
	fprintf(stderr, "dispatch\n");
	crew_row("input_bytes", s->input_bytes, "B");
	crew_row("output_bytes", s->output_bytes, "B");
	crew_row("readback_bytes", s->readback_bytes, "B");
	crew_row("bytes_moved", s->bytes_moved, "B");
	crew_row("device_allocation_bytes", s->device_allocation_bytes, "B");
	crew_row("device_allocation_events", s->device_allocation_events, "");
	crew_row("output_buffers", s->output_buffers, "results");
	crew_row("resident_resource_rows", s->resident_resource_rows, "slots");
	crew_row("resident_resource_handles", s->resident_resource_handles, "");
	crew_row("latency_ns", s->latency_ns, "ns");
	crew_row("kernel_launches", s->kernel_launches, "");
	crew_row("sync_points", s->sync_points, "");
	crew_row("recovered_after_device_loss",
		 s->recovered_after_device_loss, "");
	crew_row("output rate", mk_dispatch_output_rate(s), "B/s");
	crew_row("readback rate", mk_dispatch_readback_rate(s), "B/s");
	crew_row("moved rate", mk_dispatch_moved_rate(s), "B/s");
	crew_row("device allocation rate", mk_dispatch_allocation_rate(s),
		 "B/s");
}

void map_print_stats(struct map *m)
{
	struct mk_dispatch_stats record;
	struct mk_queue_stats q;
	struct mk_ctx_stats c;

	if (!crew_counts(&m->crew, &q, &c))
		return;
	dispatch_record(m, &q, &c, &record);
	fprintf(stderr, "map: %llu files, %llu failed, %u readers\n",
		(unsigned long long)m->crew.files,
		(unsigned long long)m->crew.failed, m->crew.threads);
	print_dispatch(&record);
	crew_print_counts(&q, &c);
}
