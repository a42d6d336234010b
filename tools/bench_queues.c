/* SPDX-License-Identifier: Apache-2.0 */
/* Many queues in one context: one in use, and all. */
#include <stdio.h>

#include "bench_run.h"

#define QUEUES_MAX 64u
#define ENTRIES 256u
#define BURST 32u
#define TRIPS 20000u

struct many {
	struct live l[QUEUES_MAX];
	uint64_t done[QUEUES_MAX];
	unsigned n;
};

/* bench_round: one thread keeps all of them busy, in turn. */
static int all_active(void *arg, uint64_t n, uint64_t *ns)
{
	struct many *m = arg;
	uint64_t began = mk_now_ns(), sent = 0, reaped = 0;
	uint64_t quiet_since = 0;

	for (unsigned i = 0; reaped < n; i = (i + 1) % m->n) {
		struct live *l = &m->l[i];
		int s = 0, r;

		if (sent < n && l->out < ENTRIES)
			s = live_submit(l, BURST);
		r = live_reap(l, 128);
		if (s < 0 || r < 0)
			return -1;
		sent += (unsigned)s;
		reaped += (unsigned)r;
		m->done[i] += (unsigned)r;
		if (s || r)
			quiet_since = 0;
		else if (i)
			continue;
		else if (!quiet_since)
			quiet_since = mk_now_ns();
		else if (mk_now_ns() - quiet_since > BENCH_WAIT_NS)
			return bench_fail(l->b, "no answer in 10 s");
	}
	*ns = mk_now_ns() - began;
	/* what was sent beyond n */
	for (unsigned i = 0; i < m->n; i++)
		while (m->l[i].out)
			if (live_await(&m->l[i], 128) < 0)
				return -1;
	return 0;
}

/* The least of the most served, in percent. */
static double fairness(const struct many *m)
{
	uint64_t least = UINT64_MAX, most = 1;

	for (unsigned i = 0; i < m->n; i++) {
		least = m->done[i] < least ? m->done[i] : least;
		most = m->done[i] > most ? m->done[i] : most;
	}
	return 100.0 * (double)least / (double)most;
}

static int one_active(struct bench *b, struct many *m)
{
	char key[BENCH_KEY_BYTES], label[BENCH_LABEL_BYTES];
	struct live *l = &m->l[m->n / 2];

	snprintf(key, sizeof(key), "queues.%u.one", m->n);
	snprintf(label, sizeof(label), "%u open, one slot in one, gaps to 3 us",
		 m->n);
	l->gap_ns = BENCH_GAP_NS;
	l->depth = 1;
	return bench_latency(b, key, label, TRIPS, live_gaps, l);
}

static int every_one(struct bench *b, struct many *m)
{
	char key[BENCH_KEY_BYTES], label[BENCH_LABEL_BYTES];
	struct bench_row *row;

	snprintf(key, sizeof(key), "queues.%u.all", m->n);
	snprintf(label, sizeof(label), "%u open, all active, one thread",
		 m->n);
	if (bench_rate(b, key, label, BURST * QUEUES_MAX, all_active, m))
		return -1;
	row = &b->rows->row[b->rows->count - 1];
	snprintf(row->note, sizeof(row->note), "least served %.0f %% of most",
		 fairness(m));
	return 0;
}

static int with(struct bench *b, unsigned n,
		int (*measure)(struct bench *b, struct many *m))
{
	static struct many m;
	int r = 0;

	for (m.n = 0; m.n < n && !r; m.n += !r) {
		r = live_open(b, &m.l[m.n], ENTRIES);
		m.done[m.n] = 0;
	}
	if (!r)
		r = measure(b, &m);
	while (m.n)
		if (live_close(&m.l[--m.n]))
			r = -1;
	return r;
}

int bench_queues(struct bench *b)
{
	static const unsigned counts[] = { 1, 4, 16, 64 };
	int r = 0;

	for (unsigned i = 0; i < 4 && !r; i++)
		r = with(b, counts[i], one_active);
	for (unsigned i = 0; i < 4 && !r; i++)
		r = with(b, counts[i], every_one);
	return r;
}
