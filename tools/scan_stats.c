/* SPDX-License-Identifier: Apache-2.0 */
/* The table of --stats. */
#include <string.h>

#include "scan_run.h"

static void row(const char *name, uint64_t value, const char *unit)
{
	fprintf(stderr, "  %-27s %20llu%s%s\n", name, (unsigned long long)value,
		*unit ? " " : "", unit);
}

static void print_tables(const struct scan *s)
{
	const struct mk_scan_image *m = s->image;

	fprintf(stderr, "tables\n");
	row("bytes", m->bytes, "B");
	if (m->kind == MK_SCAN_LITERALS) {
		row("literals", m->literals, "");
		row("gram", m->gram, "B");
		row("stride", m->stride, "B");
		row("filter", (UINT64_C(1) << m->filter_log2) / 8, "B");
		row("nibbles", m->nibble != 0, "");
	} else {
		row("states", m->whole_states, "");
		row("states to find", m->find_states, "");
		row("classes", m->classes, "of bytes");
	}
}

void scan_print_stats(struct scan *s)
{
	double seconds = (double)(s->ended_ns - s->started_ns) / 1e9;
	struct mk_queue_stats q;
	struct mk_ctx_stats c;

	if (mk_queue_stats(s->queue, &q) < 0 || mk_ctx_stats(s->ctx, &c) < 0) {
		cli_error("scan", "no statistics: %s", mk_error_last()->text);
		return;
	}
	fprintf(stderr, "scan: %llu files, %llu failed, %u readers, "
		"%.3f s, %.0f MB/s\n",
		(unsigned long long)s->files, (unsigned long long)s->failed,
		s->threads, seconds,
		seconds > 0 ? (double)s->bytes / 1e6 / seconds : 0.0);
	fprintf(stderr, "text\n");
	row("bytes", s->bytes, "B");
	row("files that match", s->matched, "");
	row("matches", s->matches, "");
	row("slots", s->chunks, "");
	row("of these, searched on", s->again, "");
	print_tables(s);
	fprintf(stderr, "queue\n");
	row("submitted", q.submitted, "slots");
	row("ok", q.ok, "slots");
	row("failed", q.failed, "slots");
	row("full", q.full, "times");
	row("doorbells", q.doorbells, "system calls");
	row("waits", q.waits, "times");
	row("in_flight_high", q.in_flight_high, "slots");
	fprintf(stderr, "engine\n");
	row("launches", c.launches, "");
	row("slots", c.slots, "");
	row("sleeps", c.sleeps, "times");
	row("wakes", c.wakes, "by the host");
}
