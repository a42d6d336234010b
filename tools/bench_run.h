/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `megakernel bench` by sections: what they share. Device sections go to the
 * driver themselves, as an ordinary program would; live sections use nothing
 * but the library's public calls, and so run on every engine.
 */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include <megakernel.h>

#include "base/clock.h"
#include "bench.h"
#include "bench_rows.h"

#define BENCH_WAIT_NS 10000000000u /* nothing that works takes that long */
#define BENCH_SAMPLES_MAX 200000u
#define BENCH_GAP_NS 3000u         /* random gaps are below that */
#define BENCH_STAY_NS 3600000000000u /* idle for so long before parking */

#define BENCH_STARTS 1024u /* entries of rings whose trips are timed */

struct bench_cuda;

struct bench {
	const struct bench_options *o;
	struct bench_rows *rows;
	struct bench_cuda *cuda; /* NULL: not this engine */
	struct mk_ctx *ctx;      /* resident; NULL: none now */
	uint32_t module;         /* of ctx, with the benchmark's handlers; 0 */
	uint32_t isolation;      /* of ctx */
	const char *section;     /* its title */
	uint64_t *samples;       /* BENCH_SAMPLES_MAX */
	unsigned failed;         /* sections that did not come to their end */
	char why[160];           /* the last failure */
};

/* Remember and print what went wrong; -1. */
int bench_fail(struct bench *b, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The same for a call of the library. */
int bench_fail_library(struct bench *b, const char *attempt, int code);

#if defined(__clang_analyzer__)
/* It sees one file at a time: tell it that what comes back is negative. */
#define bench_fail(...) ((void)(bench_fail)(__VA_ARGS__), -1)
#define bench_fail_library(...) ((void)(bench_fail_library)(__VA_ARGS__), -1)
#endif

/* Take up to `room` samples into ns; how many (1 at least), or -1. */
typedef int (*bench_once)(void *arg, uint64_t *ns, unsigned room);

/*
 * Warm up, then take `want` samples (a tenth in a quick run), or as many as
 * fit into some seconds; adds a row. 0 or -1.
 */
int bench_latency(struct bench *b, const char *key, const char *label,
		  unsigned want, bench_once once, void *arg);

/* How long do n things take? 0 or -1. */
typedef int (*bench_round)(void *arg, uint64_t n, uint64_t *ns);

/* Rounds of some tenths of a second, n a multiple of unit; adds a row. */
int bench_rate(struct bench *b, const char *key, const char *label,
	       uint64_t unit, bench_round round, void *arg);

/* A row with one number. */
struct bench_row *bench_value(struct bench *b, const char *key,
			      const char *label, double value,
			      const char *unit);
/* A row that says why there is no number. */
void bench_unknown(struct bench *b, const char *key, const char *label,
		   const char *why);

/* ---- sections ----------------------------------------------------------- */

/* "a,b,c": 0, or -1 with a message about the first that is none. */
int bench_sections_check(const char *list, bool cuda);
/* All names, for messages, in one line. */
const char *bench_sections_names(bool cuda);
/* Run those in the list (NULL: all), in their order. The number that
 * failed. */
unsigned bench_sections_run(struct bench *b, const char *list);

int bench_cold(struct bench *b);
int bench_trip(struct bench *b);
int bench_stream(struct bench *b);
int bench_batch(struct bench *b);
int bench_resident_rows(struct bench *b);
int bench_width(struct bench *b);
int bench_saxpy(struct bench *b);
int bench_queues(struct bench *b);
int bench_flow(struct bench *b);
int bench_tiles(struct bench *b);
int bench_made(struct bench *b);
int bench_process(struct bench *b);
int bench_wake(struct bench *b);
int bench_beats(struct bench *b);

/* With b->cuda. */
int bench_cuda_launch(struct bench *b);
int bench_cuda_graph(struct bench *b);
int bench_cuda_copy(struct bench *b);
int bench_cuda_saxpy(struct bench *b);
int bench_cuda_large(struct bench *b);
int bench_power(struct bench *b);

/* ---- bench_live.c ------------------------------------------------------- */

/* A context of b's engine. 0 or -1. */
int bench_ctx_open(struct bench *b, uint32_t isolation, uint64_t idle_ns,
		   struct mk_ctx **out);
/* NULL is allowed. */
void bench_ctx_close(struct bench *b, struct mk_ctx *ctx);

/* One thread's use of one queue. */
struct live {
	struct bench *b;
	struct mk_queue *q;
	uint64_t next; /* number of the next slot */
	uint64_t bad;  /* answers that were wrong */
	uint64_t seed;
	uint64_t gap_ns;
	unsigned depth, burst;
	unsigned out;  /* submitted, not reaped */
	uint16_t opcode;
	uint16_t bytes; /* of args; MK_OP_NOP: 8, its own number */
	uint16_t tiles; /* of handlers that take arguments; 0: one */
	unsigned char args[MK_ARG_BYTES];
	/* by number modulo that: no two that a ring of so many entries holds
	 * at once share a place, however late an answer is */
	uint64_t start[BENCH_STARTS];
};

/* A queue of so many entries that runs no-ops. 0 or -1. */
int live_open(struct bench *b, struct live *l, unsigned entries);
/* The same in another context. */
int live_open_in(struct bench *b, struct mk_ctx *ctx, struct live *l,
		 unsigned entries);
/* Reap what is out, end the queue; -1 if an answer was wrong or missing. */
int live_close(struct live *l);

/* Other slots than no-ops: an opcode of ctx by name, and its arguments. */
int live_use(struct live *l, struct mk_ctx *ctx, const char *handler,
	     const void *args, size_t bytes);

/* The latencies of bench_width() in another context, by a queue of it. */
int bench_width_in(struct bench *b, struct mk_ctx *ctx, struct live *l);

/* Publish up to n slots; how many found room, or -1. */
int live_submit(struct live *l, unsigned n);
/* Answers that are there, up to max (128 at most); how many, or -1. */
int live_reap(struct live *l, unsigned max);
/* The same, waiting for one. */
int live_await(struct live *l, unsigned max);

/* bench_once: a random gap, then `depth` slots, each from its submission to
 * its answer. */
int live_gaps(void *arg, uint64_t *ns, unsigned room);
/* bench_once: `depth` in flight all the time. */
int live_steady(void *arg, uint64_t *ns, unsigned room);
/* bench_once: a gap, then `depth` slots from submission to the last answer. */
int live_batch(void *arg, uint64_t *ns, unsigned room);
/* bench_round: `depth` in flight, submitted `burst` at a time. */
int live_rate(void *arg, uint64_t n, uint64_t *ns);

/* The benchmark's own handlers, in b->ctx. 0 or -1. */
int live_module(struct bench *b);
extern const char live_source[];
/*
 * What a saxpy does to the elements 0..n-1 of x and y, which lie at multiples
 * of 16 bytes, as number `first` of `lanes`: eight 16-byte loads of each on
 * the way before the first store, so that few lanes keep the memory busy. The
 * arrays live for one round, and have values where nothing is left to read, or
 * they would not stay in registers; i + lanes is never 0, which no compiler
 * knows: it would put every load next to its use, to save registers. Who
 * defines FOUR_STREAM before tells a GPU's caches that nothing is needed again.
 * Beside them what comes before the function.
 */
#define BENCH_SAXPY_TYPES                                                     \
	"struct four { _Alignas(16) float at[4]; };\n"                        \
	"#if defined(__CUDA_ARCH__) && defined(FOUR_STREAM)\n"                 \
	"#define FOUR_READ(to, from) do { \\\n"                               \
	"	float4 f = __ldcs((const float4 *)(from)); \\\n"              \
	"	(to).at[0] = f.x, (to).at[1] = f.y; \\\n"                     \
	"	(to).at[2] = f.z, (to).at[3] = f.w; \\\n"                     \
	"} while (0)\n"                                                       \
	"#define FOUR_WRITE(to, v) __stcs((float4 *)(to), \\\n"               \
	"	make_float4((v).at[0], (v).at[1], (v).at[2], (v).at[3]))\n"   \
	"#else\n"                                                             \
	"#define FOUR_READ(to, from) ((to) = *(from))\n"                      \
	"#define FOUR_WRITE(to, v) (*(to) = (v))\n"                           \
	"#endif\n"
#define BENCH_SAXPY_BODY                                                      \
	"const struct four *p = (const struct four *)x;\n"                    \
	"	struct four *q = (struct four *)y;\n"                         \
	"	unsigned fours = n / 4, i = first, j, k;\n"                   \
	"	for (; i + 7 * lanes < fours; i += 8 * lanes) {\n"            \
	"		struct four u[8], v[8];\n"                            \
	"		for (k = 0; k < 8; k++) {\n"                          \
	"			FOUR_READ(u[k], p + i + k * lanes);\n"        \
	"			FOUR_READ(v[k], q + i + k * lanes);\n"        \
	"		}\n"                                                  \
	"		if (i + lanes)\n"                                     \
	"			for (k = 0; k < 8; k++) {\n"                  \
	"				for (j = 0; j < 4; j++)\n"            \
	"					v[k].at[j] += a * u[k].at[j];\n"\
	"				FOUR_WRITE(q + i + k * lanes, v[k]);\n"\
	"			}\n"                                          \
	"	}\n"                                                          \
	"	if (i < fours) {\n"                                           \
	"		struct four u[8] = { { { 0 } } }, v[8] = { { { 0 } } };\n"\
	"		for (k = 0; k < 8; k++)\n"                            \
	"			if (i + k * lanes < fours) {\n"               \
	"				FOUR_READ(u[k], p + i + k * lanes);\n"\
	"				FOUR_READ(v[k], q + i + k * lanes);\n"\
	"			}\n"                                          \
	"		for (k = 0; k < 8; k++) {\n"                          \
	"			for (j = 0; j < 4; j++)\n"                    \
	"				v[k].at[j] += a * u[k].at[j];\n"      \
	"			if (i + k * lanes < fours)\n"                 \
	"				FOUR_WRITE(q + i + k * lanes, v[k]);\n"\
	"		}\n"                                                  \
	"	}\n"                                                          \
	"	for (i = fours * 4 + first; i < n; i += lanes)\n"             \
	"		y[i] += a * x[i];\n"

#endif
