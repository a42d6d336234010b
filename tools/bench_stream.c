/* SPDX-License-Identifier: Apache-2.0 */
/* One queue, one or several producers, every answer reaped. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/order.h"
#include "bench_run.h"

#define ENTRIES 4096u
#define BURST 64u        /* slots of one submit */
#define BURST_LONG 256u  /* of who has many to give away at once */
#define PRODUCERS_MAX 4u

struct stream {
	struct live *main;  /* of the thread that reaps */
	unsigned producers;
	bool apart;         /* that thread only reaps */
	unsigned burst;
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
				    left < p->s->burst ? (unsigned)left :
							 p->s->burst);

		if (r < 0)
			break;
		if (!r)
			mk_pause();
		sent += (unsigned)r;
	}
	return NULL;
}

/* Submit `share` slots from here, reap n. */
static int reap_all(struct live *l, unsigned burst, uint64_t share, uint64_t n)
{
	uint64_t sent = 0, reaped = 0;

	while (reaped < n) {
		uint64_t left = share - sent;
		int r = 0;

		if (left)
			r = live_submit(l, left < burst ? (unsigned)left :
							  burst);
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
		r = reap_all(s->main, s->burst, s->apart ? 0 : share,
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

static int measure(struct bench *b, unsigned producers, bool apart,
		   unsigned burst)
{
	char key[BENCH_KEY_BYTES], label[BENCH_LABEL_BYTES];
	struct live l;
	struct stream s = { &l, producers, apart, burst, 0 };
	int r;

	snprintf(key, sizeof(key), "stream.%u.%s%s", producers,
		 apart ? "reaper" : "self", burst > BURST ? ".long" : "");
	snprintf(label, sizeof(label), "%u producer%s, reaped by %s%s",
		 producers, producers > 1 ? "s" : "",
		 apart ? "another thread" :
		 producers > 1 ? "one of them" : "itself",
		 burst > BURST ? ", by 256" : "");
	if (live_open(b, &l, ENTRIES))
		return -1;
	r = bench_rate(b, key, label, burst * PRODUCERS_MAX, round_of, &s);
	return live_close(&l) || r ? -1 : 0;
}

int bench_stream(struct bench *b)
{
	for (unsigned producers = 1; producers <= PRODUCERS_MAX;
	     producers *= 2)
		if (measure(b, producers, false, BURST) ||
		    measure(b, producers, true, BURST))
			return -1;
	return measure(b, 1, false, BURST_LONG) ||
	       measure(b, 1, true, BURST_LONG) ? -1 : 0;
}
