/* SPDX-License-Identifier: Apache-2.0 */
/* What there is without a resident kernel: launches, graphs, copies. */
#include <stdlib.h>
#include <string.h>

#include "base/order.h"
#include "bench_cuda.h"

#define LAUNCHES 20000u
#define COPY_BYTES 16384u
#define WIDE 1024u

struct plain {
	struct bench *b;
	struct bench_cuda *c;
	uint32_t *flag;       /* pinned */
	CUdeviceptr flag_at;  /* the same, for the device */
	uint32_t value;
	CUgraphExec graph;
	void *host;           /* pinned, COPY_BYTES */
	CUdeviceptr memory;
};

static CUresult launch(struct plain *p, CUfunction f, unsigned threads,
		       void **args)
{
	return p->c->d.launch(f, 1, 1, 1, threads, 1, 1, 0, p->c->stream, args,
			      NULL);
}

static int check(struct plain *p, CUresult r, const char *what)
{
	return bench_cuda_check(p->b, r, what);
}

/* ---- launches ---------------------------------------------------------- */

static int launch_wait(void *arg, uint64_t *ns, unsigned room)
{
	struct plain *p = arg;
	uint64_t began = mk_now_ns();
	CUresult r = launch(p, p->c->null, 32, NULL);

	(void)room;
	if (!r)
		r = p->c->d.stream_wait(p->c->stream);
	ns[0] = mk_now_ns() - began;
	return check(p, r, "launch and synchronise") ? -1 : 1;
}

static int launch_spin(void *arg, uint64_t *ns, unsigned room)
{
	struct plain *p = arg;
	void *args[] = { &p->flag_at, &p->value };
	uint64_t began, looks = 0;
	CUresult r;

	(void)room;
	p->value++;
	began = mk_now_ns();
	r = launch(p, p->c->flag, 1, args);
	if (check(p, r, "launch"))
		return -1;
	/* the kernel's store is the only thing that is waited for */
	while (mk_load_acquire(p->flag) != p->value) {
		mk_pause();
		if (!(++looks & 0xfffff) &&
		    mk_now_ns() - began > BENCH_WAIT_NS)
			return bench_fail(p->b, "the flag was not written");
	}
	ns[0] = mk_now_ns() - began;
	return 1;
}

/* The host's part alone. */
static int launch_only(void *arg, uint64_t *ns, unsigned room)
{
	struct plain *p = arg;
	uint64_t began = mk_now_ns();
	CUresult r = launch(p, p->c->null, 32, NULL);

	(void)room;
	ns[0] = mk_now_ns() - began;
	if (!r && ++p->value % 256 == 0)
		r = p->c->d.stream_wait(p->c->stream);
	return check(p, r, "launch") ? -1 : 1;
}

static int launch_many(void *arg, uint64_t n, uint64_t *ns)
{
	struct plain *p = arg;
	uint64_t began = mk_now_ns();
	CUresult r = 0;

	for (uint64_t i = 0; i < n && !r; i++)
		r = launch(p, p->c->null, 32, NULL);
	if (!r)
		r = p->c->d.stream_wait(p->c->stream);
	*ns = mk_now_ns() - began;
	return check(p, r, "launches");
}

int bench_cuda_launch(struct bench *b)
{
	struct bench_cuda *c = b->cuda;
	struct plain p = { .b = b, .c = c };
	int r = check(&p, c->d.host_alloc((void **)&p.flag, 64,
					  MKC_HOST_DEVICEMAP), "pinned memory");

	if (r)
		return r;
	memset(p.flag, 0, 64);
	r = check(&p, c->d.host_device(&p.flag_at, p.flag, 0), "its address");
	if (!r)
		r = bench_latency(b, "launch.sync",
				  "null kernel, synchronise the stream",
				  LAUNCHES, launch_wait, &p);
	if (!r)
		b->rows->row[b->rows->count - 1].plotted = true;
	if (!r)
		r = bench_latency(b, "launch.spin",
				  "launch, spin on a flag that it writes",
				  LAUNCHES, launch_spin, &p);
	if (!r)
		r = bench_latency(b, "launch.host",
				  "the launch call alone, host time", LAUNCHES,
				  launch_only, &p);
	if (!r)
		r = bench_rate(b, "launch.rate", "launches back to back", 256,
			       launch_many, &p);
	c->d.stream_wait(c->stream);
	c->d.host_free(p.flag);
	return r;
}

/* ---- graphs ------------------------------------------------------------ */

int bench_graph_make(struct bench *b, const struct cuda_node *node,
		     unsigned n, bool chain, CUgraphExec *out)
{
	struct cuda_calls *d = &b->cuda->d;
	CUgraphNode last = NULL;
	CUgraph graph = NULL;
	CUresult r = d->graph_create(&graph, 0);

	for (unsigned i = 0; i < n && !r; i++) {
		CUgraphNode before = last;
		bool first = !chain || !i;

		r = d->graph_add(&last, graph, first ? NULL : &before,
				 first ? 0 : 1, node);
	}
	if (!r)
		r = d->graph_instantiate(out, graph, 0);
	if (!r)
		r = d->graph_upload(*out, b->cuda->stream);
	if (!r)
		r = d->stream_wait(b->cuda->stream);
	if (graph)
		d->graph_free(graph);
	return bench_cuda_check(b, r, "making a graph");
}

static int graph_wait(void *arg, uint64_t *ns, unsigned room)
{
	struct plain *p = arg;
	uint64_t began = mk_now_ns();
	CUresult r = p->c->d.graph_launch(p->graph, p->c->stream);

	(void)room;
	if (!r)
		r = p->c->d.stream_wait(p->c->stream);
	ns[0] = mk_now_ns() - began;
	return check(p, r, "graph launch and synchronise") ? -1 : 1;
}

static int graph_of(struct bench *b, unsigned n, bool chain)
{
	struct plain p = { .b = b, .c = b->cuda };
	struct cuda_node node = { b->cuda->null, { 1, 1, 1 }, { 32, 1, 1 },
				   0, NULL, NULL };
	char key[BENCH_KEY_BYTES], label[BENCH_LABEL_BYTES];
	struct bench_row *row;
	double each;
	int r = bench_graph_make(b, &node, n, chain, &p.graph);

	if (r)
		return r;
	snprintf(key, sizeof(key), chain ? "graph.%u" : "graph.wide.%u", n);
	snprintf(label, sizeof(label), "%u node%s%s", n, n == 1 ? "" : "s",
		 n == 1 ? "" : chain ? ", one after the other" :
		 ", independent");
	r = bench_latency(b, key, label, n > 1000 ? 300 : n > 100 ? 3000 :
			  LAUNCHES, graph_wait, &p);
	b->cuda->d.graph_exec_free(p.graph);
	if (r)
		return r;
	row = &b->rows->row[b->rows->count - 1];
	row->plotted = n == 1;
	each = (double)n * 1e3 / (double)(row->p50_ns ? row->p50_ns : 1);
	if (n < 1000)
		return 0;
	snprintf(key, sizeof(key), chain ? "graph.%u.rate" :
					   "graph.wide.%u.rate", n);
	snprintf(label, sizeof(label), "the same as a rate");
	bench_value(b, key, label, each, "M nodes/s");
	return 0;
}

int bench_cuda_graph(struct bench *b)
{
	static const unsigned sizes[] = { 1, 16, 256, 4096 };

	for (unsigned i = 0; i < 4; i++)
		if (graph_of(b, sizes[i], true))
			return -1;
	return graph_of(b, WIDE, false);
}

/* ---- copies ------------------------------------------------------------ */

static CUresult copy_launch_copy(struct plain *p, CUdeviceptr memory)
{
	struct cuda_calls *d = &p->c->d;
	CUstream stream = p->c->stream;
	CUresult r = d->copy_in_async(memory, p->host, COPY_BYTES, stream);

	if (!r)
		r = launch(p, p->c->null, 256, NULL);
	if (!r)
		r = d->copy_out_async(p->host, memory, COPY_BYTES, stream);
	return r ? r : d->stream_wait(stream);
}

static int copies(void *arg, uint64_t *ns, unsigned room)
{
	struct plain *p = arg;
	uint64_t began = mk_now_ns();
	CUresult r = copy_launch_copy(p, p->memory);

	(void)room;
	ns[0] = mk_now_ns() - began;
	return check(p, r, "copy, launch, copy") ? -1 : 1;
}

static int copies_alloc(void *arg, uint64_t *ns, unsigned room)
{
	struct plain *p = arg;
	uint64_t began = mk_now_ns();
	CUdeviceptr memory = 0;
	CUresult r = p->c->d.mem_alloc(&memory, COPY_BYTES), s;

	(void)room;
	if (!r)
		r = copy_launch_copy(p, memory);
	s = memory ? p->c->d.mem_free(memory) : 0;
	ns[0] = mk_now_ns() - began;
	return check(p, r ? r : s, "allocate, copy, launch, copy") ? -1 : 1;
}

int bench_cuda_copy(struct bench *b)
{
	struct cuda_calls *d = &b->cuda->d;
	struct plain p = { .b = b, .c = b->cuda };
	int r = check(&p, d->host_alloc(&p.host, COPY_BYTES, 0),
		      "pinned memory");

	if (r)
		return r;
	memset(p.host, 1, COPY_BYTES);
	r = check(&p, d->mem_alloc(&p.memory, COPY_BYTES), "device memory");
	if (!r)
		r = bench_latency(b, "copy.pinned", "pinned memory",
				  LAUNCHES / 2, copies, &p);
	if (!r)
		r = bench_latency(b, "copy.alloc",
				  "with allocation and free each time",
				  LAUNCHES / 4, copies_alloc, &p);
	if (p.memory)
		d->mem_free(p.memory);
	d->host_free(p.host);
	return r;
}
