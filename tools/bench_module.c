/* SPDX-License-Identifier: Apache-2.0 */
/* Handlers of a module: no-ops by width, and a small real one. */
#include <stdio.h>
#include <string.h>

#include "bench_vectors.h"

#define ENTRIES 1024u
#define TRIPS 20000u
#define SLICES 64u /* that a large saxpy is cut into */

/* The same text on every engine; what it does to the elements is also what
 * the kernel of bench_cuda_saxpy.c does. */
const char live_source[] =
	"#include <megakernel/handler.h>\n"
	"MK_HANDLER_THREAD(bench_thread, struct mk_none)\n"
	"{ (void)task; (void)args; return MK_OK; }\n"
	"MK_HANDLER(bench_warp, struct mk_none)\n"
	"{ (void)task; (void)args; return MK_OK; }\n"
	"MK_HANDLER_BLOCK(bench_block, struct mk_none)\n"
	"{ (void)task; (void)args; return MK_OK; }\n"
	"struct saxpy { struct mk_ref x, y; float a; uint32_t n;\n"
	"		uint64_t offset; };\n"
	BENCH_SAXPY_TYPES
	"MK_HANDLER_BLOCK(bench_saxpy, struct saxpy)\n"
	"{\n"
	"	uint64_t bytes = (uint64_t)args->n * sizeof(float);\n"
	"	const float *x = (const float *)mk_read_at(task, args->x,\n"
	"						   args->offset, bytes);\n"
	"	float *y = (float *)mk_write_at(task, args->y, args->offset,\n"
	"					bytes), a = args->a;\n"
	"	uint32_t n = args->n, first = mk_lane(task);\n"
	"	uint32_t lanes = mk_lanes(task);\n"
	"	if (!x || !y)\n"
	"		return mk_fail(task);\n"
	"	" BENCH_SAXPY_BODY
	"	return MK_OK;\n"
	"}\n";

struct saxpy_args {
	struct mk_ref x, y;
	float a;
	uint32_t n;
	uint64_t offset;
};

int live_module(struct bench *b)
{
	int r;

	if (b->module)
		return 0;
	r = mk_module_load_source(b->ctx, "bench.c", live_source, 0,
				  &b->module);
	return r < 0 ? bench_fail_library(b, "mk_module_load_source", r) : 0;
}

/* ---- no-ops ------------------------------------------------------------ */

/* One slot at a time of a module's no-op; its key is prefix.name. */
static int width_one(struct bench *b, struct live *l, struct mk_ctx *ctx,
		     const char *prefix, const char *name)
{
	char handler[32], key[BENCH_KEY_BYTES], label[BENCH_LABEL_BYTES];
	int r;

	snprintf(handler, sizeof(handler), "bench_%s", name);
	r = live_use(l, ctx, handler, NULL, 0);
	l->gap_ns = BENCH_GAP_NS;
	l->depth = l->burst = 1;
	snprintf(key, sizeof(key), "%s.%s", prefix, name);
	snprintf(label, sizeof(label), "one %s-wide slot, gaps of 0 to 3 us",
		 name);
	return r ? r : bench_latency(b, key, label, TRIPS, live_gaps, l);
}

int bench_width_in(struct bench *b, struct mk_ctx *ctx, struct live *l)
{
	int r = mk_module_load_source(ctx, "bench.c", live_source, 0, NULL);

	if (r < 0)
		return bench_fail_library(b, "mk_module_load_source", r);
	if (width_one(b, l, ctx, "process", "thread") ||
	    width_one(b, l, ctx, "process", "warp") ||
	    width_one(b, l, ctx, "process", "block"))
		return -1;
	return 0;
}

static int width(struct bench *b, const char *name)
{
	char key[BENCH_KEY_BYTES], label[BENCH_LABEL_BYTES];
	struct live l;
	int r;

	if (live_open(b, &l, ENTRIES))
		return -1;
	r = width_one(b, &l, b->ctx, "width", name);
	l.depth = ENTRIES;
	l.burst = 64;
	snprintf(key, sizeof(key), "width.%s.rate", name);
	snprintf(label, sizeof(label), "%s-wide, %u in flight", name, ENTRIES);
	if (!r)
		r = bench_rate(b, key, label, 64, live_rate, &l);
	return live_close(&l) || r ? -1 : 0;
}

int bench_width(struct bench *b)
{
	if (live_module(b) || width(b, "thread") || width(b, "warp") ||
	    width(b, "block"))
		return -1;
	return 0;
}

/* ---- saxpy --------------------------------------------------------------- */

struct saxpy {
	struct live l;
	struct saxpy_args args;
	struct bench_vectors v;
	unsigned slices;
};

/* bench_once: the whole vector, in as many slots as it is cut into. */
static int saxpy_once(void *arg, uint64_t *ns, unsigned room)
{
	struct saxpy *s = arg;
	struct saxpy_args args = s->args;
	uint64_t began = mk_now_ns();

	(void)room;
	args.n = s->v.n / s->slices;
	for (unsigned i = 0; i < s->slices; i++) {
		args.offset = (uint64_t)i * args.n * sizeof(float);
		memcpy(s->l.args, &args, sizeof(args));
		if (live_submit(&s->l, 1) < 1)
			return -1;
	}
	while (s->l.out)
		if (live_await(&s->l, s->l.out) < 0)
			return -1;
	ns[0] = mk_now_ns() - began;
	s->v.runs++;
	return 1;
}

static int saxpy_measure(struct bench *b, struct saxpy *s, const char *size)
{
	char key[BENCH_KEY_BYTES], label[BENCH_LABEL_BYTES];
	int r;

	s->slices = 1;
	snprintf(key, sizeof(key), "saxpy.%s.slot",
		 s->v.n > 100000 ? "1m" : "4k");
	snprintf(label, sizeof(label), "%s, one block-wide slot", size);
	r = bench_latency(b, key, label, 3000, saxpy_once, s);
	if (r || s->v.n < 100000)
		return r;
	s->slices = SLICES;
	snprintf(label, sizeof(label), "%s, %u block-wide slots", size, SLICES);
	return bench_latency(b, "saxpy.1m.slots", label, 3000, saxpy_once, s);
}

static int saxpy_of(struct bench *b, uint32_t n, const char *size)
{
	struct saxpy s = { 0 };
	int r = live_open(b, &s.l, ENTRIES);

	if (r)
		return r;
	r = bench_vectors_open(b, &s.v, n);
	s.args.x = mk_buffer_ref(s.v.x);
	s.args.y = mk_buffer_ref(s.v.y);
	s.args.a = 1.0f;
	if (!r)
		r = live_use(&s.l, b->ctx, "bench_saxpy", &s.args,
			     sizeof(s.args));
	if (!r)
		r = saxpy_measure(b, &s, size);
	if (!r)
		r = bench_vectors_verify(b, &s.v);
	r = live_close(&s.l) || r ? -1 : 0;
	bench_vectors_close(b, &s.v);
	return r;
}

int bench_saxpy(struct bench *b)
{
	if (live_module(b) || saxpy_of(b, 1024, "4 KiB") ||
	    saxpy_of(b, 262144, "1 MiB"))
		return -1;
	return 0;
}
