/* SPDX-License-Identifier: Apache-2.0 */
/* The table of --stats. */
#include "scan_run.h"

static void print_tables(const struct scan *s)
{
	const struct mk_scan_image *m = s->image;

	fprintf(stderr, "tables\n");
	crew_row("bytes", m->bytes, "B");
	if (m->kind == MK_SCAN_LITERALS) {
		crew_row("literals", m->literals, "");
		crew_row("gram", m->gram, "B");
		crew_row("stride", m->stride, "B");
		crew_row("filter", (UINT64_C(1) << m->filter_log2) / 8, "B");
		crew_row("nibbles", m->nibble != 0, "");
	} else {
		crew_row("states", m->whole_states, "");
		crew_row("states to find", m->find_states, "");
		crew_row("classes", m->classes, "of bytes");
	}
}

void scan_print_stats(struct scan *s)
{
	double seconds = (double)(s->crew.ended_ns - s->crew.started_ns) / 1e9;
	struct mk_queue_stats q;
	struct mk_ctx_stats c;

	if (!crew_counts(&s->crew, &q, &c))
		return;
	fprintf(stderr, "scan: %llu files, %llu failed, %u readers, "
		"%.3f s, %.0f MB/s\n",
		(unsigned long long)s->crew.files,
		(unsigned long long)s->crew.failed, s->crew.threads, seconds,
		seconds > 0 ? (double)s->crew.bytes / 1e6 / seconds : 0.0);
	fprintf(stderr, "text\n");
	crew_row("bytes", s->crew.bytes, "B");
	crew_row("files that match", s->matched, "");
	crew_row("files with many readers", s->shared, "");
	crew_row("matches", s->matches, "");
	crew_row("slots", s->chunks, "");
	crew_row("of these, searched on", s->again, "");
	print_tables(s);
	crew_print_counts(&q, &c);
}
