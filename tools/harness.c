/* SPDX-License-Identifier: Apache-2.0 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/order.h"
#include "harness.h"

const unsigned harness_depth[HARNESS_DEPTHS] = { 1, 8, 64 };

/* How much to measure. */
struct amount {
	uint64_t samples;       /* round trips at one depth, at most */
	uint64_t sample_ns;     /* and for this long, at most */
	uint64_t round_ns;      /* about, of one streaming round */
	unsigned rounds;
};

static const struct amount full = { 200000, 4000000000u, 400000000u, 7 };
static const struct amount quick_look = { 20000, 500000000u, 60000000u, 3 };

static _Thread_local bool submitter;
static uint64_t helped; /* written by the submitter alone */

uint64_t harness_now_ns(void)
{
	return mk_now_ns();
}

void harness_noop(uint32_t *done)
{
	if (submitter)
		helped++;
	/* pairs with the load in harness_flags_take() */
	mk_store_release(done, 1);
}

/* ---- flags ------------------------------------------------------------- */

void harness_flags_push(struct harness_flags *f, uint32_t tag)
{
	mk_store_relaxed(&f->done[tag], 0);
	f->order[f->tail++ % HARNESS_WINDOW] = tag;
}

unsigned harness_flags_take(struct harness_flags *f, uint32_t *tags,
			    unsigned max)
{
	unsigned n = 0;

	while (n < max && f->head != f->tail) {
		uint32_t tag = f->order[f->head % HARNESS_WINDOW];

		/* pairs with the store in harness_noop() */
		if (!mk_load_acquire(&f->done[tag]))
			break;
		tags[n++] = tag;
		f->head++;
	}
	return n;
}

unsigned harness_flags_wait_for(struct harness_flags *f, uint32_t *tags,
				unsigned max, uint64_t ns)
{
	uint64_t until = 0, now;
	unsigned looks = 0, n;

	while (!(n = harness_flags_take(f, tags, max))) {
		mk_pause();
		if (++looks % 64)
			continue;
		now = mk_now_ns();
		if (!until)
			until = now + HARNESS_SPIN_NS;
		else if (now > until && now - until > ns)
			break;
		else if (now > until)
			sched_yield();
	}
	return n;
}

unsigned harness_flags_wait(struct harness_flags *f, uint32_t *tags,
			    unsigned max)
{
	return harness_flags_wait_for(f, tags, max, UINT64_MAX);
}

/* ---- round trips ------------------------------------------------------- */

struct run {
	const struct subject *s;
	const struct amount *amount;
	struct harness_result *out;
	uint64_t *samples;
};

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t quantile(const uint64_t *sorted, uint64_t n, double q)
{
	uint64_t i = (uint64_t)(q * (double)n);

	return sorted[i < n ? i : n - 1];
}

/* Keep `depth` no-ops out until `want` have been timed or time is up; how
 * many were. */
static uint64_t round_trips(struct run *r, void *state, unsigned depth,
			    uint64_t want)
{
	uint64_t start[HARNESS_WINDOW], n = 0, now;
	uint64_t end = mk_now_ns() + r->amount->sample_ns;
	uint32_t tags[HARNESS_WINDOW];
	unsigned out = depth;

	for (uint32_t tag = 0; tag < depth; tag++) {
		start[tag] = mk_now_ns();
		r->s->submit(state, &tag, 1);
	}
	while (out) {
		unsigned got = r->s->reap(state, tags, depth);

		now = mk_now_ns();
		for (unsigned i = 0; i < got; i++)
			if (n < want)
				r->samples[n++] = now - start[tags[i]];
		for (unsigned i = 0; i < got; i++) {
			if (n >= want || now >= end) {
				out--;
				continue;
			}
			start[tags[i]] = mk_now_ns();
			r->s->submit(state, &tags[i], 1);
		}
	}
	return n;
}

static void measure_latency(struct run *r, void *state, unsigned which)
{
	struct harness_latency *l = &r->out->latency[which];
	unsigned depth = harness_depth[which];
	uint64_t n;

	round_trips(r, state, depth, r->amount->samples / 10); /* warm up */
	n = round_trips(r, state, depth, r->amount->samples);
	qsort(r->samples, n, sizeof(*r->samples), by_value);
	l->depth = depth;
	l->n = n;
	l->p50_ns = quantile(r->samples, n, 0.5);
	l->p99_ns = quantile(r->samples, n, 0.99);
	l->p999_ns = quantile(r->samples, n, 0.999);
	l->max_ns = r->samples[n - 1];
	bench_curve_take(l->curve_ns, r->samples, n);
}

/* ---- streaming --------------------------------------------------------- */

/* Push n no-ops through; returns how many in a second. */
static double stream(struct run *r, void *state, uint64_t n)
{
	uint32_t spare[HARNESS_WINDOW], done[HARNESS_WINDOW];
	unsigned spares = HARNESS_WINDOW;
	uint64_t submitted = 0, ended = 0;
	uint64_t began = mk_now_ns();

	for (uint32_t i = 0; i < HARNESS_WINDOW; i++)
		spare[i] = i;
	while (ended < n) {
		while (submitted < n && spares >= HARNESS_BATCH) {
			spares -= HARNESS_BATCH;
			r->s->submit(state, &spare[spares], HARNESS_BATCH);
			submitted += HARNESS_BATCH;
		}
		for (unsigned got = 0; got < HARNESS_BATCH;) {
			unsigned k = r->s->reap(state, done,
						HARNESS_BATCH - got);

			memcpy(&spare[spares], done, k * sizeof(*done));
			spares += k;
			got += k;
		}
		ended += HARNESS_BATCH;
	}
	return (double)n * 1e9 / (double)(mk_now_ns() - began);
}

static int by_rate(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void measure_streaming(struct run *r, void *state)
{
	struct harness_streaming *s = &r->out->streaming;
	double rate[HARNESS_ROUNDS_MAX];
	unsigned rounds = r->amount->rounds;
	uint64_t n = HARNESS_BATCH * 256u;

	stream(r, state, n); /* warm up */
	n = (uint64_t)(stream(r, state, n) * (double)r->amount->round_ns / 1e9);
	n = (n / HARNESS_BATCH + 1) * HARNESS_BATCH;
	helped = 0;
	for (unsigned i = 0; i < rounds; i++)
		rate[i] = stream(r, state, n);
	qsort(rate, rounds, sizeof(*rate), by_rate);
	s->rounds = rounds;
	s->n = n;
	s->per_second = rate[rounds / 2];
	s->lowest = rate[0];
	s->highest = rate[rounds - 1];
	s->helped = helped;
}

/* ---- all of it --------------------------------------------------------- */

static void measure(void *state, void *arg)
{
	struct run *r = arg;

	submitter = true;
	for (unsigned i = 0; i < HARNESS_DEPTHS; i++)
		measure_latency(r, state, i);
	measure_streaming(r, state);
	submitter = false;
}

int harness_measure(const struct subject *s, unsigned workers, bool quick,
		    struct harness_result *out)
{
	struct run r = { s, quick ? &quick_look : &full, out, NULL };
	int e;

	memset(out, 0, sizeof(*out));
	snprintf(out->name, sizeof(out->name), "%s", s->name);
	r.samples = calloc(r.amount->samples, sizeof(*r.samples));
	if (!r.samples) {
		fprintf(stderr, "bench: no memory\n");
		return -1;
	}
	e = s->run(s, workers, measure, &r);
	free(r.samples);
	return e;
}

/* ---- JSON -------------------------------------------------------------- */

static json_t *curve_to_json(const uint64_t *curve)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < BENCH_CURVE; i++)
		json_array_append_new(list,
				      json_integer((json_int_t)curve[i]));
	return list;
}

json_t *harness_to_json(const struct harness_result *r)
{
	json_t *trips = json_array();

	for (unsigned i = 0; i < HARNESS_DEPTHS; i++) {
		const struct harness_latency *l = &r->latency[i];

		json_array_append_new(trips, json_pack(
			"{s:i,s:I,s:I,s:I,s:I,s:I,s:o}", "depth",
			(int)l->depth,
			"n", (json_int_t)l->n,
			"p50_ns", (json_int_t)l->p50_ns,
			"p99_ns", (json_int_t)l->p99_ns,
			"p999_ns", (json_int_t)l->p999_ns,
			"max_ns", (json_int_t)l->max_ns,
			"curve_ns", curve_to_json(l->curve_ns)));
	}
	return json_pack("{s:s,s:o,s:{s:i,s:I,s:f,s:f,s:f,s:I}}",
			 "name", r->name, "round_trip", trips, "streaming",
			 "rounds", (int)r->streaming.rounds,
			 "n", (json_int_t)r->streaming.n,
			 "per_second", r->streaming.per_second,
			 "lowest", r->streaming.lowest,
			 "highest", r->streaming.highest,
			 "helped", (json_int_t)r->streaming.helped);
}

static int latency_from_json(json_t *from, struct harness_latency *l)
{
	json_int_t n, p50, p99, p999, max;
	json_t *curve;
	int depth;

	if (json_unpack(from, "{s:i,s:I,s:I,s:I,s:I,s:I,s:o}", "depth",
			&depth, "n", &n, "p50_ns", &p50, "p99_ns", &p99,
			"p999_ns", &p999, "max_ns", &max, "curve_ns",
			&curve) ||
	    json_array_size(curve) != BENCH_CURVE)
		return -1;
	l->depth = (unsigned)depth;
	l->n = (uint64_t)n;
	l->p50_ns = (uint64_t)p50;
	l->p99_ns = (uint64_t)p99;
	l->p999_ns = (uint64_t)p999;
	l->max_ns = (uint64_t)max;
	for (unsigned i = 0; i < BENCH_CURVE; i++)
		l->curve_ns[i] = (uint64_t)json_integer_value(
			json_array_get(curve, i));
	return 0;
}

int harness_from_json(const json_t *from, struct harness_result *out)
{
	struct harness_streaming *s = &out->streaming;
	json_int_t n, by_submitter;
	const char *name;
	json_t *trips;
	int rounds;

	memset(out, 0, sizeof(*out));
	if (json_unpack((json_t *)from,
			"{s:s,s:o,s:{s:i,s:I,s:F,s:F,s:F,s:I}}",
			"name", &name, "round_trip", &trips, "streaming",
			"rounds", &rounds, "n", &n,
			"per_second", &s->per_second, "lowest", &s->lowest,
			"highest", &s->highest, "helped", &by_submitter) ||
	    json_array_size(trips) != HARNESS_DEPTHS)
		return -1;
	snprintf(out->name, sizeof(out->name), "%s", name);
	s->rounds = (unsigned)rounds;
	s->n = (uint64_t)n;
	s->helped = (uint64_t)by_submitter;
	for (unsigned i = 0; i < HARNESS_DEPTHS; i++)
		if (latency_from_json(json_array_get(trips, i),
				      &out->latency[i]))
			return -1;
	return 0;
}
