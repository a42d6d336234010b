/* SPDX-License-Identifier: Apache-2.0 */
/* A small real kernel the usual way: as a launch, and as a graph. */
#include <stdlib.h>

#include "bench_cuda.h"
#include "bench_vectors.h"

#define THREADS 256u
#define RUNS 5000u
#define LARGE (256u << 20) /* elements: 1 GiB, or as much as there is */

struct saxpy {
	struct bench *b;
	CUdeviceptr x, y;
	float a;
	unsigned n, blocks;
	CUgraphExec graph;
	uint64_t runs;
};

static int by_launch(void *arg, uint64_t *ns, unsigned room)
{
	struct saxpy *s = arg;
	struct bench_cuda *c = s->b->cuda;
	void *args[] = { &s->x, &s->y, &s->a, &s->n };
	uint64_t began = mk_now_ns();
	CUresult r = c->d.launch(c->saxpy, s->blocks, 1, 1, THREADS, 1, 1, 0,
				 c->stream, args, NULL);

	(void)room;
	if (!r)
		r = c->d.stream_wait(c->stream);
	ns[0] = mk_now_ns() - began;
	s->runs++;
	return bench_cuda_check(s->b, r, "saxpy by launch") ? -1 : 1;
}

static int by_graph(void *arg, uint64_t *ns, unsigned room)
{
	struct saxpy *s = arg;
	struct bench_cuda *c = s->b->cuda;
	uint64_t began = mk_now_ns();
	CUresult r = c->d.graph_launch(s->graph, c->stream);

	(void)room;
	if (!r)
		r = c->d.stream_wait(c->stream);
	ns[0] = mk_now_ns() - began;
	s->runs++;
	return bench_cuda_check(s->b, r, "saxpy by graph") ? -1 : 1;
}

static CUresult copy(struct saxpy *s, CUdeviceptr at, float *host, bool in)
{
	struct bench_cuda *c = s->b->cuda;
	size_t bytes = s->n * sizeof(*host);
	CUresult r = in ? c->d.copy_in_async(at, host, bytes, c->stream) :
			  c->d.copy_out_async(host, at, bytes, c->stream);

	return r ? r : c->d.stream_wait(c->stream);
}

static CUresult fill(struct saxpy *s, float *host)
{
	struct cuda_calls *d = &s->b->cuda->d;
	CUresult r = d->mem_alloc(&s->x, s->n * sizeof(*host));

	if (!r)
		r = d->mem_alloc(&s->y, s->n * sizeof(*host));
	for (unsigned i = 0; i < s->n; i++)
		host[i] = 0;
	if (!r)
		r = copy(s, s->y, host, true);
	bench_vector_fill(host, s->n);
	return r ? r : copy(s, s->x, host, true);
}

/* One launch of threads that do so many 16-byte pieces of each vector. */
static int launch(struct saxpy *s, unsigned each, const char *size,
		  const char *key)
{
	char label[BENCH_LABEL_BYTES];
	unsigned per_block = THREADS * 4 * each;

	s->blocks = (s->n + per_block - 1) / per_block;
	snprintf(label, sizeof(label), "%s, launch of %u block%s, synchronise",
		 size, s->blocks, s->blocks > 1 ? "s" : "");
	return bench_latency(s->b, key, label, RUNS, by_launch, s);
}

static int measure(struct saxpy *s, const char *size, const char *key_size)
{
	char key[BENCH_KEY_BYTES], label[BENCH_LABEL_BYTES];
	void *args[] = { &s->x, &s->y, &s->a, &s->n };
	struct cuda_node node = { s->b->cuda->saxpy, { 0, 1, 1 },
				   { THREADS, 1, 1 }, 0, args, NULL };
	int r = 0;

	if (s->n >= 1u << 24) {
		/* as few threads as have something to do in every step */
		snprintf(key, sizeof(key), "saxpy.%s.launch.few", key_size);
		r = launch(s, 8, size, key);
	}
	snprintf(key, sizeof(key), "saxpy.%s.launch", key_size);
	if (!r)
		r = launch(s, 1, size, key);
	node.grid[0] = s->blocks;
	if (!r)
		r = bench_graph_make(s->b, &node, 1, true, &s->graph);
	snprintf(key, sizeof(key), "saxpy.%s.graph", key_size);
	snprintf(label, sizeof(label), "%s, graph of the same", size);
	return r ? r : bench_latency(s->b, key, label, RUNS, by_graph, s);
}

static int verify(struct saxpy *s, float *host)
{
	if (bench_cuda_check(s->b, copy(s, s->y, host, false), "reading y"))
		return -1;
	return bench_vector_verify(s->b, host, s->n, s->runs);
}

static int saxpy_of(struct bench *b, unsigned n, const char *size,
		    const char *key_size)
{
	struct saxpy s = { .b = b, .a = 1.0f, .n = n };
	struct cuda_calls *d = &b->cuda->d;
	float *host = malloc(n * sizeof(*host));
	int r = host ? bench_cuda_check(b, fill(&s, host), "memory") :
		       bench_fail(b, "no memory");

	if (!r)
		r = measure(&s, size, key_size);
	if (!r)
		r = verify(&s, host);
	if (s.graph)
		d->graph_exec_free(s.graph);
	if (s.x)
		d->mem_free(s.x);
	if (s.y)
		d->mem_free(s.y);
	free(host);
	return r;
}

uint32_t bench_cuda_elements(struct bench *b)
{
	struct bench_cuda *c = b->cuda;
	CUdeviceptr both;

	for (uint32_t n = LARGE; !c->large; n /= 2)
		if (n <= LARGE / 64)
			c->large = n; /* and what is wrong will be told */
		else if (!c->d.mem_alloc(&both, 8ull * n)) {
			c->d.mem_free(both);
			c->large = n;
		}
	return c->large;
}

/* The baseline of bench_tiles(): a section of its own, as it takes long. */
int bench_cuda_large(struct bench *b)
{
	uint32_t n = bench_cuda_elements(b);
	char size[16];

	snprintf(size, sizeof(size), "%u MiB", n >> 18);
	return saxpy_of(b, n, size, "large");
}

int bench_cuda_saxpy(struct bench *b)
{
	if (saxpy_of(b, 1024, "4 KiB", "4k") ||
	    saxpy_of(b, 262144, "1 MiB", "1m"))
		return -1;
	return 0;
}
