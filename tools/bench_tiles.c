/* SPDX-License-Identifier: Apache-2.0 */
/* One slot that fills the device: a large saxpy in tiles. On the engine cpu
 * beside the same loop in as many threads, which wait for each other. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench_cuda.h"
#include "bench_vectors.h"

#define ELEMENTS_CPU (8u << 20) /* of x and of y: 32 MiB each */
#define TILES_CPU 64u
/* Of a GPU, of each vector: long enough for what a tile costs, and so short
 * that all are at the same places and end together. */
#define TILE_BYTES 32768u
#define TILE_BYTES_BLOCK (8u * TILE_BYTES)
#define RUNS 2000u

/* A tile begins at a multiple of 16 bytes. */
#define BODY                                                                  \
	"{\n"                                                                 \
	"	uint32_t tiles = mk_tiles(task), tile = mk_tile(task);\n"     \
	"	uint32_t all = args->n / 4, each = all / tiles;\n"            \
	"	uint32_t more = all - each * tiles;\n"                        \
	"	uint64_t from = 4ull * (each * tile +\n"                      \
	"				(tile < more ? tile : more));\n"      \
	"	uint32_t n = 4 * (each + (tile < more)) +\n"                  \
	"		     (tile + 1 == tiles ? args->n % 4 : 0);\n"        \
	"	const float *x = (const float *)mk_read_at(task, args->x,\n"  \
	"						   from * 4, n * 4ull);\n" \
	"	float *y = (float *)mk_write_at(task, args->y, from * 4,\n"   \
	"					n * 4ull), a = args->a;\n"    \
	"	uint32_t first = mk_lane(task), lanes = mk_lanes(task);\n"    \
	"	if (!x || !y)\n"                                              \
	"		return mk_fail(task);\n"                              \
	"	" BENCH_SAXPY_BODY                                            \
	"	return MK_OK;\n"                                              \
	"}\n"

static const char source[] =
	"#include <megakernel/handler.h>\n"
	"struct saxpy { struct mk_ref x, y; float a; uint32_t n; };\n"
	/* or what workers keep for themselves would have to make room in the
	 * caches; the launch is faster without, by 5 % */
	"#define FOUR_STREAM\n" BENCH_SAXPY_TYPES
	"MK_HANDLER(bench_tiles, struct saxpy)\n" BODY
	"MK_HANDLER_BLOCK(bench_tiles_block, struct saxpy)\n" BODY;

struct saxpy {
	struct live l;
	struct bench_vectors v;
};

/* bench_once */
static int by_tiles(void *arg, uint64_t *ns, unsigned room)
{
	struct saxpy *s = arg;
	uint64_t began = mk_now_ns();

	(void)room;
	if (live_submit(&s->l, 1) < 1 || live_await(&s->l, 1) < 0)
		return -1;
	ns[0] = mk_now_ns() - began;
	s->v.runs++;
	return 1;
}

/* ---- the same in threads ------------------------------------------------ */

struct crew {
	struct bench *b;
	pthread_barrier_t start, end;
	pthread_t thread[64];
	unsigned n;
	float *x, *y;
	uint32_t elements;
	bool stop;
};

struct hand {
	struct crew *crew;
	unsigned index;
};

static void *work(void *arg)
{
	struct hand hand = *(struct hand *)arg;
	struct crew *c = hand.crew;
	uint64_t from = (uint64_t)c->elements * hand.index / c->n;
	uint64_t to = (uint64_t)c->elements * (hand.index + 1) / c->n;
	const float *x = c->x;
	float *y = c->y, a = 1.0f;

	free(arg);
	for (;;) {
		pthread_barrier_wait(&c->start);
		if (c->stop)
			return NULL;
		for (uint64_t i = from; i < to; i++)
			y[i] += a * x[i];
		pthread_barrier_wait(&c->end);
	}
}

/* bench_once */
static int by_threads(void *arg, uint64_t *ns, unsigned room)
{
	struct crew *c = arg;
	uint64_t began = mk_now_ns();

	(void)room;
	pthread_barrier_wait(&c->start);
	pthread_barrier_wait(&c->end);
	ns[0] = mk_now_ns() - began;
	return 1;
}

static int crew_start(struct crew *c)
{
	pthread_barrier_init(&c->start, NULL, c->n + 1);
	pthread_barrier_init(&c->end, NULL, c->n + 1);
	for (unsigned i = 0; i < c->n; i++) {
		struct hand *hand = malloc(sizeof(*hand));

		if (hand)
			*hand = (struct hand){ c, i };
		/* those that run wait for ever; the program ends soon */
		if (!hand || pthread_create(&c->thread[i], NULL, work, hand))
			return bench_fail(c->b, "cannot start %u threads",
					  c->n);
	}
	return 0;
}

static int in_threads(struct bench *b, unsigned workers)
{
	struct crew c = { .b = b, .n = workers < 64 ? workers : 64,
			  .elements = ELEMENTS_CPU };
	int r;

	c.x = calloc(c.elements, sizeof(float));
	c.y = calloc(c.elements, sizeof(float));
	r = c.x && c.y ? crew_start(&c) : bench_fail(b, "no memory");
	if (r) {
		free(c.x);
		free(c.y);
		return r;
	}
	bench_vector_fill(c.x, c.elements);
	r = bench_latency(b, "tiles.threads", "32 MiB, the same in threads",
			  RUNS, by_threads, &c);
	c.stop = true;
	pthread_barrier_wait(&c.start);
	for (unsigned i = 0; i < c.n; i++)
		pthread_join(c.thread[i], NULL);
	pthread_barrier_destroy(&c.start);
	pthread_barrier_destroy(&c.end);
	free(c.x);
	free(c.y);
	return r;
}

/* ---- the slot ----------------------------------------------------------- */

/* Bytes a second: x is read, y is read and written. */
static void bandwidth(struct bench *b, uint32_t n)
{
	const struct bench_row *warp = bench_row_find(b->rows, "tiles.slot");
	const struct bench_row *block = bench_row_find(b->rows,
						       "tiles.slot.block");
	uint64_t ns = warp ? warp->p50_ns : 0;

	if (block && (!ns || block->p50_ns < ns))
		ns = block->p50_ns;
	if (ns)
		bench_value(b, "tiles.bandwidth",
			    "one tiled slot, by its median", 12.0 * n /
			    (double)ns, "GB/s");
}

static unsigned tiles_of(uint32_t n, uint32_t bytes)
{
	uint64_t tiles = (uint64_t)n * sizeof(float) / bytes;

	return tiles > UINT16_MAX ? UINT16_MAX : (unsigned)tiles;
}

static int in_one_slot(struct bench *b, struct saxpy *s, bool block,
		       unsigned tiles)
{
	struct {
		struct mk_ref x, y;
		float a;
		uint32_t n;
	} args;
	char label[BENCH_LABEL_BYTES];

	args.x = mk_buffer_ref(s->v.x);
	args.y = mk_buffer_ref(s->v.y);
	args.a = 1.0f;
	args.n = s->v.n;
	if (live_use(&s->l, b->ctx, block ? "bench_tiles_block" :
					    "bench_tiles", &args, sizeof(args)))
		return -1;
	s->l.tiles = (uint16_t)tiles;
	snprintf(label, sizeof(label), "%u MiB, one slot of %u%s tiles",
		 s->v.n >> 18, s->l.tiles, !b->cuda ? "" :
		 block ? " block-wide" : " warp-wide");
	return bench_latency(b, block ? "tiles.slot.block" : "tiles.slot",
			     label, RUNS, by_tiles, s);
}

static int slot(struct bench *b)
{
	struct saxpy s = { 0 };
	int r = live_open(b, &s.l, 64);

	if (r)
		return r;
	r = bench_vectors_open(b, &s.v, b->cuda ? bench_cuda_elements(b) :
						  ELEMENTS_CPU);
	if (!r)
		r = in_one_slot(b, &s, false, b->cuda ?
				tiles_of(s.v.n, TILE_BYTES) : TILES_CPU);
	if (!r && b->cuda)
		r = in_one_slot(b, &s, true,
				tiles_of(s.v.n, TILE_BYTES_BLOCK));
	if (!r)
		bandwidth(b, s.v.n);
	if (!r)
		r = bench_vectors_verify(b, &s.v);
	r = live_close(&s.l) || r ? -1 : 0;
	bench_vectors_close(b, &s.v);
	return r;
}

int bench_tiles(struct bench *b)
{
	struct mk_ctx_info info;
	uint32_t module;
	int r = mk_module_load_source(b->ctx, "tiles.c", source, 0, &module);

	if (!r)
		r = mk_ctx_info(b->ctx, &info);
	if (r)
		return bench_fail_library(b, "module", r);
	r = slot(b);
	if (mk_module_unload(b->ctx, module, BENCH_WAIT_NS) || r)
		return -1;
	return b->cuda ? 0 : in_threads(b, info.workers);
}
