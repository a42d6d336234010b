/* SPDX-License-Identifier: Apache-2.0 */
/* One queue, one or several producers, every answer reaped. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/order.h"
#include "bench_run.h"

#define ENTRIES 4096u
#define BURST 64u
#define PRODUCERS_MAX 4u

struct stream {
	struct live *main;  /* of the thread that reaps */
	unsigned producers;
	bool apart;         /* that thread only reaps */
	uint32_t stop;      /* something failed: producers end */
};

struct producer {
	struct live l;
	struct stream *s;
	uint64_t n;
	pthread_t thread;
};

static void *produce(void *arg)
{
	struct producer *p = arg;
	uint64_t sent = 0;

	while (sent < p->n && !mk_load_relaxed(&p->s->stop)) {
		uint64_t left = p->n - sent;
		int r = live_submit(&p->l,
				    left < BURST ? (unsigned)left : BURST);

		if (r < 0)
			break;
		if (!r)
			mk_pause();
		sent += (unsigned)r;
	}
	return NULL;
}

/* Submit `share` slots from here, reap n. */
static int reap_all(struct live *l, uint64_t share, uint64_t n)
{
	uint64_t sent = 0, reaped = 0;

	while (reaped < n) {
		uint64_t left = share - sent;
		int r = 0;

		if (left)
			r = live_submit(l, left < BURST ? (unsigned)left :
							  BURST);
		if (r < 0)
			return -1;
		sent += (unsigned)r;
		r = r ? live_reap(l, 128) : live_await(l, 128);
		if (r < 0)
			return -1;
		reaped += (unsigned)r;
	}
	return 0;
}

static int round_of(void *arg, uint64_t n, uint64_t *ns)
{
	struct stream *s = arg;
	struct producer p[PRODUCERS_MAX];
	unsigned others = s->producers - (s->apart ? 0 : 1), started = 0;
	uint64_t began, share = n / s->producers;
	int r = 0;

	mk_store_relaxed(&s->stop, 0);
	began = mk_now_ns();
	for (unsigned i = 0; i < others && !r; i++) {
		p[i].l = *s->main;
		p[i].s = s;
		p[i].n = share;
		r = pthread_create(&p[i].thread, NULL, produce, &p[i]);
		started += !r;
	}
	if (r)
		r = bench_fail(s->main->b, "a thread: %s", strerror(r));
	else
		r = reap_all(s->main, s->apart ? 0 : share,
			     share * s->producers);
	*ns = mk_now_ns() - began;
	if (r)
		mk_store_relaxed(&s->stop, 1);
	for (unsigned i = 0; i < started; i++)
		pthread_join(p[i].thread, NULL);
	if (!r)
		s->main->out = 0; /* it reaped what others had submitted */
	return r;
}

static int measure(struct bench *b, unsigned producers, bool apart)
{
	char key[BENCH_KEY_BYTES], label[BENCH_LABEL_BYTES];
	struct live l;
	struct stream s = { &l, producers, apart, 0 };
	int r;

	snprintf(key, sizeof(key), "stream.%u.%s", producers,
		 apart ? "reaper" : "self");
	snprintf(label, sizeof(label), "%u producer%s, reaped by %s",
		 producers, producers > 1 ? "s" : "",
		 apart ? "another thread" :
		 producers > 1 ? "one of them" : "itself");
	if (live_open(b, &l, ENTRIES))
		return -1;
	r = bench_rate(b, key, label, BURST * PRODUCERS_MAX, round_of, &s);
	return live_close(&l) || r ? -1 : 0;
}

int bench_stream(struct bench *b)
{
	for (unsigned producers = 1; producers <= PRODUCERS_MAX;
	     producers *= 2)
		if (measure(b, producers, false) ||
		    measure(b, producers, true))
			return -1;
	return 0;
}
