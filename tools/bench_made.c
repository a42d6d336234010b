/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that handlers make: how many no-ops a second are made and run, in both
 * modes. Slots that do nothing else make them, as many as there is room for,
 * and go on when there is room again.
 */
#include <stdio.h>

#include "bench_run.h"

#define SOURCES_CPU 64u
#define SOURCES_GPU 4096u /* lanes that make work */

static const char source[] =
	"#include <megakernel/handler.h>\n"
	"struct source { uint32_t n, opcode; };\n"
	"MK_HANDLER_THREAD(bench_source, struct source)\n"
	"{\n"
	"	struct source left = *args;\n"
	"	int32_t r = 0;\n"
	"	while (left.n && !r) {\n"
	"		r = mk_spawn(task, args->opcode, (const void *)0, 0);\n"
	"		left.n -= !r;\n"
	"	}\n"
	"	return r == -MK_EFULL ? mk_yield(task, &left, sizeof(left)) : r;\n"
	"}\n"
	"MK_HANDLER_THREAD(bench_made, struct mk_none)\n"
	"{ (void)task; (void)args; return MK_OK; }\n";

struct made {
	struct live l;
	struct mk_ctx *ctx;
	unsigned sources;
	uint32_t opcode;
};

/* bench_round: n pieces, from the first slot to the last answer. */
static int pieces(void *arg, uint64_t n, uint64_t *ns)
{
	struct made *m = arg;
	struct { uint32_t n, opcode; } args = {
		(uint32_t)(n / m->sources), m->opcode
	};
	uint64_t began = mk_now_ns();

	memcpy(m->l.args, &args, sizeof(args));
	for (unsigned sent = 0; sent < m->sources;) {
		int r = live_submit(&m->l, m->sources - sent);

		if (r < 1)
			return -1;
		sent += (unsigned)r;
	}
	while (m->l.out)
		if (live_await(&m->l, 128) < 0)
			return -1;
	*ns = mk_now_ns() - began;
	return 0;
}

/* What was made has ended, all of it, and no more. Workers on a GPU write
 * their counts when they have a moment, after the answers. */
static int check(struct bench *b, struct made *m)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	struct mk_ctx_stats s;
	int r;

	for (unsigned looks = 0; looks < 1000; looks++) {
		r = mk_ctx_stats(m->ctx, &s);
		if (r < 0)
			return bench_fail_library(b, "mk_ctx_stats", r);
		if (s.spawned && s.spawned == s.spawned_ended)
			break;
		nanosleep(&moment, NULL);
	}
	if (!s.spawned || s.spawned != s.spawned_ended)
		return bench_fail(b, "%llu pieces were made, %llu ended",
				  (unsigned long long)s.spawned,
				  (unsigned long long)s.spawned_ended);
	return 0;
}

static int measure(struct bench *b, struct made *m, const char *key,
		   const char *label)
{
	struct mk_handler_info info;
	uint32_t module, args[2] = { 0, 0 };
	int r = mk_module_load_source(m->ctx, "made.c", source, 0, &module);

	if (!r)
		r = mk_handler_find(m->ctx, "bench_made", &info);
	if (r)
		return bench_fail_library(b, "module", r);
	m->opcode = info.opcode;
	if (live_open_in(b, m->ctx, &m->l, m->sources))
		return -1;
	r = live_use(&m->l, m->ctx, "bench_source", args, sizeof(args));
	if (!r)
		r = bench_rate(b, key, label, m->sources, pieces, m);
	if (!r)
		r = check(b, m);
	return live_close(&m->l) || r ? -1 : 0;
}

static int in_mode(struct bench *b, uint32_t mode, const char *key,
		   const char *label)
{
	struct mk_ctx_params p = {
		.size = sizeof(p),
		.engine = b->o->engine.name,
		.isolation = b->isolation,
		.workers = b->o->engine.workers,
		.idle_ns = BENCH_STAY_NS,
		.made_mode = mode,
	};
	struct made m = { .sources = b->cuda ? SOURCES_GPU : SOURCES_CPU };
	int r = mk_ctx_create(&p, &m.ctx);

	if (r < 0)
		return bench_fail_library(b, "mk_ctx_create", r);
	r = measure(b, &m, key, label);
	bench_ctx_close(b, m.ctx);
	return r;
}

int bench_made(struct bench *b)
{
	if (in_mode(b, MK_MADE_STEAL, "made.steal",
		    "no-ops made and run, stealing") ||
	    in_mode(b, MK_MADE_FIXED, "made.fixed",
		    "no-ops made and run, fixed"))
		return -1;
	return 0;
}
