/* SPDX-License-Identifier: Apache-2.0 */
/* A small real kernel the usual way: as a launch, and as a graph. */
#include <stdlib.h>

#include "bench_cuda.h"
#include "bench_vectors.h"

#define THREADS 256u
#define RUNS 5000u

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

static int measure(struct saxpy *s, const char *size, const char *key_size)
{
	char key[BENCH_KEY_BYTES], label[BENCH_LABEL_BYTES];
	void *args[] = { &s->x, &s->y, &s->a, &s->n };
	struct cuda_node node = { s->b->cuda->saxpy, { s->blocks, 1, 1 },
				   { THREADS, 1, 1 }, 0, args, NULL };
	int r;

	snprintf(key, sizeof(key), "saxpy.%s.launch", key_size);
	snprintf(label, sizeof(label), "%s, launch of %u blocks, synchronise",
		 size, s->blocks);
	r = bench_latency(s->b, key, label, RUNS, by_launch, s);
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
	struct saxpy s = { .b = b, .a = 1.0f, .n = n,
			   .blocks = (n + THREADS - 1) / THREADS };
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

/* The baseline of bench_tiles(): a section of its own, as it takes long. */
int bench_cuda_large(struct bench *b)
{
	return saxpy_of(b, 128u << 20, "512 MiB", "512m");
}

int bench_cuda_saxpy(struct bench *b)
{
	if (saxpy_of(b, 1024, "4 KiB", "4k") ||
	    saxpy_of(b, 262144, "1 MiB", "1m"))
		return -1;
	return 0;
}
