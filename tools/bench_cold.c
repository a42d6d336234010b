/* SPDX-License-Identifier: Apache-2.0 */
/* From nothing to the first answer, step by step, with and without what a
 * cache keeps. */
#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_cuda.h"
#include "bench_run.h"

#define STARTS 5u

struct cold {
	struct bench *b;
	uint32_t isolation;
	struct mk_ctx *ctx; /* to load modules into */
	uint64_t step_ns; /* of the last start, or load, without its answer */
};

static int remove_one(const char *path, const struct stat *st, int kind,
		      struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

/* One no-op, or a module's, and its answer. */
static int first_answer(struct bench *b, struct mk_ctx *ctx,
			const char *handler)
{
	struct live l;
	int r = live_open_in(b, ctx, &l, 64);

	if (r)
		return r;
	if (handler)
		r = live_use(&l, ctx, handler, NULL, 0);
	if (!r && (live_submit(&l, 1) != 1 || live_await(&l, 1) != 1))
		r = -1;
	return live_close(&l) || r ? -1 : 0;
}

/* bench_once: a context, and its first answer. */
static int start(void *arg, uint64_t *ns, unsigned room)
{
	struct cold *c = arg;
	uint64_t began = mk_now_ns();
	struct mk_ctx *ctx;
	int r;

	(void)room;
	if (bench_ctx_open(c->b, c->isolation, BENCH_STAY_NS, &ctx))
		return -1;
	c->step_ns = mk_now_ns() - began;
	r = first_answer(c->b, ctx, NULL);
	ns[0] = mk_now_ns() - began;
	bench_ctx_close(c->b, ctx);
	return r ? -1 : 1;
}

/* bench_once: mk_ctx_create() alone. */
static int create(void *arg, uint64_t *ns, unsigned room)
{
	struct cold *c = arg;

	if (start(arg, ns, room) < 0)
		return -1;
	ns[0] = c->step_ns;
	return 1;
}

/* bench_once: a module, and the first answer of one of its handlers. */
static int module(void *arg, uint64_t *ns, unsigned room)
{
	struct cold *c = arg;
	uint64_t began = mk_now_ns();
	uint32_t id;
	int r = mk_module_load_source(c->ctx, "bench.c", live_source, 0, &id);

	(void)room;
	if (r < 0)
		return bench_fail_library(c->b, "mk_module_load_source", r);
	c->step_ns = mk_now_ns() - began;
	r = first_answer(c->b, c->ctx, "bench_warp");
	ns[0] = mk_now_ns() - began;
	if (r)
		return -1;
	r = mk_module_unload(c->ctx, id, BENCH_WAIT_NS);
	return r < 0 ? bench_fail_library(c->b, "mk_module_unload", r) : 1;
}

/* bench_once: mk_module_load_source() alone. */
static int load(void *arg, uint64_t *ns, unsigned room)
{
	struct cold *c = arg;

	if (module(arg, ns, room) < 0)
		return -1;
	ns[0] = c->step_ns;
	return 1;
}

/* One sample as a number of milliseconds. */
static int once_ms(struct cold *c, const char *key, const char *label,
		   bench_once once, double *ms)
{
	uint64_t ns = 0;

	if (once(c, &ns, 1) < 0)
		return -1;
	*ms = (double)ns / 1e6;
	bench_value(c->b, key, label, *ms, "ms");
	return 0;
}

static int starts(struct cold *c)
{
	double without, with;
	struct bench *b = c->b;

	if (once_ms(c, "cold.start.nocache",
		    "engine in this process to first answer, no cache", start,
		    &without) ||
	    bench_latency(b, "cold.start.cached",
			  "engine in this process to first answer, cached",
			  STARTS, start, c))
		return -1;
	with = (double)b->rows->row[b->rows->count - 1].p50_ns / 1e6;
	if (bench_latency(b, "cold.create.cached",
			  "of that, mk_ctx_create: load, memory, launch",
			  STARTS, create, c))
		return -1;
	if (b->cuda) /* others compile nothing to start */
		bench_value(b, "cold.compile", "compile: no cache less cached",
			    without - with, "ms");
	return 0;
}

static int modules(struct cold *c)
{
	double ms;
	int r;

	if (bench_ctx_open(c->b, c->isolation, BENCH_STAY_NS, &c->ctx))
		return -1;
	r = once_ms(c, "cold.module.nocache",
		    "a module to its first answer, no cache", module, &ms);
	if (!r)
		r = bench_latency(c->b, "cold.module.cached",
				  "a module to its first answer, cached",
				  STARTS, module, c);
	if (!r)
		r = bench_latency(c->b, "cold.load.cached",
				  "of that, mk_module_load_source", STARTS,
				  load, c);
	bench_ctx_close(c->b, c->ctx);
	return r;
}

static int processes(struct cold *c)
{
	double ms;

	c->isolation = MK_ISOLATION_PROCESS;
	if (once_ms(c, "cold.process.nocache",
		    "engine in a new process to first answer, no cache",
		    start, &ms))
		return -1;
	return bench_latency(c->b, "cold.process.cached",
			     "engine in a new process to first answer, cached",
			     STARTS, start, c);
}

/* Caches go to a directory of ours, which is empty: those of the engine in
 * this process, and of worker processes that are started. Those that the
 * driver and NVRTC keep themselves are off: bench_report(). */
static int use_cache(struct bench *b, const char *base, const char *name)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", base, name);
	if (mkdir(path, 0700) || setenv("XDG_CACHE_HOME", path, 1))
		return bench_fail(b, "%s: %s", path, strerror(errno));
	return 0;
}

static int measure(struct cold *c, const char *cache)
{
	if (use_cache(c->b, cache, "none") || starts(c) || modules(c) ||
	    use_cache(c->b, cache, "process") || processes(c))
		return -1;
	return 0;
}

/* A variable as it was: NULL is unset. */
static void put_back(const char *name, char *was)
{
	if (was)
		setenv(name, was, 1);
	else
		unsetenv(name);
	free(was);
}

static char *keep(const char *name)
{
	const char *was = getenv(name);

	return was ? strdup(was) : NULL;
}

int bench_cold(struct bench *b)
{
	const char *base = getenv("TMPDIR");
	struct cold c = { .b = b, .isolation = MK_ISOLATION_NONE };
	char *home = keep("XDG_CACHE_HOME");
	char cache[4000];
	int r;

	if (b->cuda)
		bench_cuda_cold(b);
	snprintf(cache, sizeof(cache), "%s/mk-bench.XXXXXX",
		 base && *base ? base : "/tmp");
	if (mkdtemp(cache)) {
		r = measure(&c, cache);
		nftw(cache, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	} else {
		r = bench_fail(b, "%s: %s", cache, strerror(errno));
	}
	put_back("XDG_CACHE_HOME", home);
	return r;
}
