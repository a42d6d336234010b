/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Very many slots, and nothing about any of them taken on trust.
 *
 *	soak [--engine NAME] [--isolation none|process] [--slots N]
 *	     [--seconds N] [--queues N] [--groups N] [--producers N] [--json]
 *	     [--plant memory|race]
 *
 * Every bit of a slot that a handler can see varies from slot to slot by a
 * keyed pattern; the handler answers with a checksum of the twelve argument
 * words as it got them, in both words of the answer, and the host works out
 * what that has to be. The rest of the header is counted by the engine and by
 * us: tenants, priorities, opcodes. Of every slot it is known whether it was
 * answered, so one lost, and one answered twice, is seen.
 *
 * A group is a thread that reaps some queues and submits to them, with more
 * producers that submit to the same ones. The counters of the queues start
 * before a wrap: of 32 bits, of 64 bits, of the lap mark.
 *
 * --plant runs a handler with a mistake in it before all else: an address
 * that is nobody's, or a race in shared memory. What a checker does not find
 * then, it would not find in the kernel.
 *
 * Ends at --slots or after --seconds, whichever comes first. Exit status 0:
 * every answer was right; 1: not so; 2: usage; 77: there is no such engine.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <megakernel.h>

#define QUEUES_MAX 256u
#define PRODUCERS_MAX 8u
#define BURST 32u
#define QUIET_NS 20000000000ull /* no answer for so long: they are lost */
#define SHOWN 8u                /* mistakes that are described */

/* Twice, so that the opcode of a slot decides its answer. */
static const char source[] =
	"#include <megakernel/handler.h>\n"
	"struct words { uint32_t w[12]; };\n"
	"MK_FN int32_t sum(struct mk_task *task, const struct words *args,\n"
	"		   uint64_t h)\n"
	"{\n"
	"	for (uint32_t i = 0; i < 12; i++) {\n"
	"		h = (h ^ args->w[i]) * 0x9e3779b97f4a7c15ull;\n"
	"		h ^= h >> 29;\n"
	"	}\n"
	"	mk_value(task, h);\n"
	"	return (int32_t)((h ^ h >> 32) & 0x7fffffffu);\n"
	"}\n"
	"MK_HANDLER_THREAD(soak_thread, struct words)\n"
	"{ return sum(task, args, 0x243f6a8885a308d3ull); }\n"
	"MK_HANDLER(soak_warp, struct words)\n"
	"{ return sum(task, args, 0x13198a2e03707344ull); }\n";

/* Each with one mistake, which a CPU does not make. */
static const char planted[] =
	"#include <megakernel/handler.h>\n"
	"MK_HANDLER(plant_memory, struct mk_none)\n"
	"{\n"
	"	(void)args;\n"
	"#if MK_CUDA\n"
	"	mk_value(task, *(volatile uint32_t *)((uintptr_t)16 +\n"
	"					      mk_lane(task) * 4));\n"
	"#else\n"
	"	(void)task;\n"
	"#endif\n"
	"	return MK_OK;\n"
	"}\n"
	"MK_HANDLER_BLOCK(plant_race, struct mk_none)\n"
	"{\n"
	"	(void)args;\n"
	"#if MK_CUDA\n"
	"	static __shared__ volatile uint32_t word[4];\n"
	"	uint32_t was = 0;\n"
	"	for (uint32_t i = 0; i < 64; i++) {\n"
	"		word[i & 3] = mk_lane(task) + i;\n"
	"		was += word[(i + 1) & 3];\n"
	"	}\n"
	"	mk_value(task, was);\n"
	"#else\n"
	"	(void)task;\n"
	"#endif\n"
	"	return MK_OK;\n"
	"}\n";

static const uint64_t keys[2] = { 0x243f6a8885a308d3ull,
				  0x13198a2e03707344ull };

enum mistake {
	WRONG_BOTH,   /* neither result nor value: a torn or changed slot */
	WRONG_RESULT, /* one of the two: a torn answer */
	WRONG_VALUE,
	REFUSED,      /* a negative result */
	TWICE,        /* an answer to what was answered */
	MISTAKES
};

static const char *const mistake_names[MISTAKES] = {
	"checksum wrong (torn slot)", "result wrong (torn answer)",
	"value wrong (torn answer)", "negative result", "answered twice"
};

struct options {
	const char *engine;
	uint32_t isolation;
	uint64_t slots;
	unsigned seconds, queues, groups, producers;
	bool json;
	const char *plant; /* name of a handler in `planted`; NULL: none */
};

/* One queue; `seen` is the reaper's. */
struct lane {
	struct mk_queue *q;
	uint32_t entries;
	/* laps answered, by producer and number modulo entries */
	uint32_t *seen[PRODUCERS_MAX];
	uint64_t sent[PRODUCERS_MAX]; /* each by its producer, release */
	uint64_t reaped;
	unsigned id;
};

/* What one producer put into headers; and the pattern's. */
struct tally {
	uint64_t tenant[MK_TENANTS], priority[MK_PRIORITIES], opcode[2];
};

struct soak;

struct producer {
	struct soak *s;
	unsigned group, id;
	uint64_t quota, sent; /* over all its queues */
	struct tally tally;
	pthread_t thread;
	uint32_t ended; /* store-release */
};

struct group {
	struct soak *s;
	unsigned first, count; /* lanes */
	struct producer producer[PRODUCERS_MAX];
	uint64_t mistakes[MISTAKES], reaped;
	pthread_t thread;
	bool stuck;
};

struct soak {
	const struct options *o;
	struct mk_ctx *ctx;
	uint16_t opcode[2];
	struct lane *lane; /* o->queues */
	struct group *group; /* o->groups */
	struct mk_ctx_stats before; /* what was counted when it began */
	uint64_t until_ns;
	uint32_t stop; /* relaxed */
	uint32_t shown; /* mistakes described so far */
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the pattern --------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static uint64_t seed_of(unsigned lane, unsigned producer, uint64_t number)
{
	return mix(number * 0x2545f4914f6cdd1dull +
		   ((uint64_t)lane << 8 | producer) * 0xd6e8feb86659fd93ull);
}

static unsigned which_handler(uint64_t seed)
{
	return (unsigned)(seed >> 62) == 3; /* a quarter of them warp-wide */
}

static uint32_t word_of(uint64_t seed, unsigned i)
{
	uint64_t x = (seed + i) * 0x9fb21c651e98df25ull;

	return (uint32_t)(x >> 32 ^ x >> 11);
}

static uint64_t checksum(uint64_t seed)
{
	uint64_t h = keys[which_handler(seed)];

	for (unsigned i = 0; i < MK_ARG_WORDS; i++) {
		h = (h ^ word_of(seed, i)) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	return h;
}

static void fill(struct producer *p, const struct lane *l, struct mk_slot *s,
		 uint64_t number)
{
	uint64_t seed = seed_of(l->id, p->id, number);
	unsigned handler = which_handler(seed);

	mk_slot_init(s, p->s->opcode[handler],
		     (uint64_t)p->id << 56 | number);
	s->tenant = (uint16_t)(seed % MK_TENANTS);
	s->priority = (uint8_t)(seed / MK_TENANTS % MK_PRIORITIES);
	s->flags = seed & 1u << 20 ? MK_SLOT_IDEMPOTENT : 0;
	s->tiles = seed & 1u << 21 ? 1 : 0;
	for (unsigned i = 0; i < MK_ARG_WORDS; i++)
		s->arg[i] = word_of(seed, i);
	p->tally.tenant[s->tenant]++;
	p->tally.priority[s->priority]++;
	p->tally.opcode[handler]++;
}

/* ---- producers --------------------------------------------------------- */

/* What a producer has for the i-th queue of its group: as much for each, so
 * that which counters wrap does not depend on which queue had room. */
static uint64_t share_of(const struct producer *p, unsigned i)
{
	unsigned count = p->s->group[p->group].count;

	return p->quota / count + (i < p->quota % count);
}

/* Submit what finds room in the i-th queue; how many, or -1. */
static int submit(struct producer *p, unsigned i)
{
	struct lane *l = &p->s->lane[p->s->group[p->group].first + i];
	uint64_t number = l->sent[p->id], left = share_of(p, i) - number;
	struct mk_slot *slot;
	int n;

	if (!left)
		return 0;
	n = mk_queue_get(l->q, left < BURST ? (unsigned)left : BURST, &slot);
	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return -1;
	for (int i = 0; i < n; i++)
		fill(p, l, &slot[i], number++);
	/* pairs with the load in all_reaped() */
	__atomic_store_n(&l->sent[p->id], number, __ATOMIC_RELEASE);
	p->sent += (uint64_t)n;
	return mk_queue_submit(l->q, slot, (unsigned)n) == n ? n : -1;
}

static bool is_over(struct soak *s)
{
	return __atomic_load_n(&s->stop, __ATOMIC_RELAXED) ||
	       now_ns() > s->until_ns;
}

/* Once round all queues of the group. True: there is no more to submit. */
static bool submit_round(struct producer *p)
{
	struct group *g = &p->s->group[p->group];

	if (p->sent >= p->quota || is_over(p->s))
		return true;
	for (unsigned i = 0; i < g->count; i++)
		if (submit(p, i) < 0) {
			__atomic_store_n(&p->s->stop, 1, __ATOMIC_RELAXED);
			return true;
		}
	return false;
}

static void *produce(void *arg)
{
	struct producer *p = arg;

	while (!submit_round(p))
		;
	/* pairs with the load in all_reaped() */
	__atomic_store_n(&p->ended, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* ---- the reaper --------------------------------------------------------- */

static void wrong(struct group *g, const struct lane *l, enum mistake what,
		  const struct mk_completion *c, uint64_t expected)
{
	g->mistakes[what]++;
	if (__atomic_fetch_add(&g->s->shown, 1, __ATOMIC_RELAXED) < SHOWN)
		printf("WRONG %s: queue %u, slot %" PRIx64 ": result %d, "
		       "value %" PRIx64 ", expected %" PRIx64 "\n",
		       mistake_names[what], l->id, c->user_data, c->result,
		       c->value, expected);
}

static void check(struct group *g, struct lane *l,
		  const struct mk_completion *c)
{
	unsigned producer = (unsigned)(c->user_data >> 56);
	uint64_t number = c->user_data & 0xffffffffffffffull;
	uint64_t h = checksum(seed_of(l->id, producer, number));
	bool value = c->value == h;
	bool result = c->result == (int32_t)((h ^ h >> 32) & 0x7fffffffu);
	uint32_t *seen = &l->seen[producer][number & (l->entries - 1)];

	if (c->result < 0)
		wrong(g, l, REFUSED, c, h);
	else if (!value || !result)
		wrong(g, l, value ? WRONG_RESULT : result ? WRONG_VALUE :
							   WRONG_BOTH, c, h);
	/* a number is given out again only when its place was reaped */
	if (*seen != number / l->entries)
		wrong(g, l, TWICE, c, *seen);
	++*seen;
}

static bool all_reaped(const struct group *g)
{
	uint64_t sent = 0;

	for (unsigned i = 0; i < g->s->o->producers; i++)
		if (!__atomic_load_n(&g->producer[i].ended, __ATOMIC_ACQUIRE))
			return false;
	for (unsigned i = 0; i < g->count; i++)
		for (unsigned k = 0; k < g->s->o->producers; k++)
			sent += __atomic_load_n(
				&g->s->lane[g->first + i].sent[k],
				__ATOMIC_ACQUIRE);
	return sent == g->reaped;
}

/* Once round all queues; how many answers, or -1. */
static int reap_round(struct group *g)
{
	struct mk_completion c[128];
	int all = 0;

	for (unsigned i = 0; i < g->count; i++) {
		struct lane *l = &g->s->lane[g->first + i];
		int n = mk_queue_reap(l->q, c, 128);

		if (n < 0) {
			printf("WRONG mk_queue_reap: %s: %s\n",
			       mk_code_name(n), mk_error_last()->text);
			return -1;
		}
		for (int k = 0; k < n; k++)
			check(g, l, &c[k]);
		l->reaped += (uint64_t)n;
		all += n;
	}
	g->reaped += (uint64_t)all;
	return all;
}

static void *run_group(void *arg)
{
	struct group *g = arg;
	struct producer *own = &g->producer[0];
	uint64_t last = now_ns();

	while (!all_reaped(g)) {
		int n;

		if (!own->ended && submit_round(own))
			own->ended = 1;
		n = reap_round(g);
		if (n > 0)
			last = now_ns();
		g->stuck = n < 0 || now_ns() - last > QUIET_NS;
		if (g->stuck) {
			__atomic_store_n(&g->s->stop, 1, __ATOMIC_RELAXED);
			break;
		}
	}
	return NULL;
}

/* ---- set-up and sums ----------------------------------------------------- */

static int fail(const char *what, int code)
{
	printf("WRONG %s: %s: %s\n", what, mk_code_name(code),
	       mk_error_last()->text);
	return -1;
}

/* Counters that wrap soon: none, 32 bits, the lap mark, 64 bits. */
static uint64_t first_ticket(unsigned id, uint32_t entries)
{
	switch (id % 4) {
	case 1:
		return (1ull << 32) - 5021;
	case 2:
		return 65535ull * entries - 777;
	case 3:
		return UINT64_MAX - 6013;
	}
	return 0;
}

static int open_lane(struct soak *s, unsigned id)
{
	struct lane *l = &s->lane[id];
	struct mk_queue_params p = { .size = sizeof(p) };
	int r;

	l->id = id;
	p.entries = l->entries = 128u << id / 4 % 4;
	p.first_ticket = first_ticket(id, l->entries);
	r = mk_queue_create(s->ctx, &p, &l->q);
	if (r)
		return fail("mk_queue_create", r);
	for (unsigned i = 0; i < s->o->producers; i++) {
		l->seen[i] = calloc(l->entries, sizeof(uint32_t));
		if (!l->seen[i])
			return fail("no memory", -ENOMEM);
	}
	return 0;
}

/* Run the planted handler some times, whatever becomes of it. */
static int run_planted(struct soak *s)
{
	struct mk_handler_info info;
	struct mk_completion c;
	struct mk_queue *q;
	struct mk_slot slot;
	int r = mk_module_load_source(s->ctx, "planted.c", planted, 0, NULL);

	if (!r)
		r = mk_handler_find(s->ctx, s->o->plant, &info);
	if (!r)
		r = mk_queue_create(s->ctx, NULL, &q);
	if (r)
		return fail("planted", r);
	mk_slot_init(&slot, info.opcode, 0);
	for (unsigned i = 0; i < 8 && r >= 0; i++)
		r = mk_queue_call(q, &slot, &c, 5000000000u);
	printf("%s ended: %s\n", s->o->plant, r < 0 ? mk_code_name(r) : "0");
	mk_queue_destroy(q, 1000000000u);
	return 0;
}

static int open_all(struct soak *s)
{
	struct mk_ctx_params p = {
		.size = sizeof(p),
		.engine = s->o->engine,
		.isolation = s->o->isolation,
		.idle_ns = 1000000000,
	};
	static const char *const names[2] = { "soak_thread", "soak_warp" };
	struct mk_handler_info info;
	int r = mk_ctx_create(&p, &s->ctx);

	if (r == -MK_EENGINE) {
		printf("skipped: %s\n", mk_error_last()->text);
		exit(77);
	}
	if (r)
		return fail("mk_ctx_create", r);
	r = mk_module_load_source(s->ctx, "soak.c", source, 0, NULL);
	if (r)
		return fail("mk_module_load_source", r);
	for (unsigned i = 0; i < 2; i++) {
		r = mk_handler_find(s->ctx, names[i], &info);
		if (r)
			return fail("mk_handler_find", r);
		s->opcode[i] = info.opcode;
	}
	if (s->o->plant && run_planted(s))
		return -1;
	r = mk_ctx_stats(s->ctx, &s->before);
	if (r)
		return fail("mk_ctx_stats", r);
	for (unsigned i = 0; i < s->o->queues; i++)
		if (open_lane(s, i))
			return -1;
	return 0;
}

static int start_group(struct soak *s, unsigned id)
{
	const struct options *o = s->o;
	struct group *g = &s->group[id];
	unsigned all = o->groups * o->producers;

	g->s = s;
	g->first = id * o->queues / o->groups;
	g->count = (id + 1) * o->queues / o->groups - g->first;
	for (unsigned i = 0; i < o->producers; i++) {
		struct producer *p = &g->producer[i];

		p->s = s;
		p->group = id;
		p->id = i;
		p->quota = o->slots / all + (id * o->producers + i <
					     o->slots % all);
	}
	/* number 0 submits from the thread that reaps */
	for (unsigned i = 1; i < o->producers; i++)
		if (pthread_create(&g->producer[i].thread, NULL, produce,
				   &g->producer[i]))
			return -1;
	return pthread_create(&g->thread, NULL, run_group, g) ? -1 : 0;
}

/* Slots that were sent and never answered, by what was counted for each. */
static uint64_t count_lost(const struct soak *s)
{
	uint64_t lost = 0;

	for (unsigned i = 0; i < s->o->queues; i++) {
		const struct lane *l = &s->lane[i];

		for (unsigned p = 0; p < s->o->producers; p++)
			for (uint32_t k = 0; k < l->entries; k++) {
				uint64_t sent = l->sent[p];
				uint64_t all = sent / l->entries +
					       (k < sent % l->entries);

				lost += all > l->seen[p][k] ?
						all - l->seen[p][k] : 0;
			}
	}
	return lost;
}

/* Do the engine's counts differ from ours? The engine may be a moment late. */
static unsigned headers_wrong(const struct soak *s, const struct tally *t,
			      uint64_t total)
{
	const struct mk_ctx_stats *was = &s->before;
	struct mk_ctx_stats st;
	unsigned bad = 0;

	for (unsigned try = 0; try < 100; try++) {
		struct timespec nap = { 0, 20000000 };

		if (mk_ctx_stats(s->ctx, &st))
			return 1;
		bad = st.slots - was->slots != total;
		for (unsigned i = 0; i < MK_TENANTS; i++)
			bad += st.by_tenant[i] - was->by_tenant[i] !=
			       t->tenant[i];
		for (unsigned i = 0; i < MK_PRIORITIES; i++)
			bad += st.by_priority[i] - was->by_priority[i] !=
			       t->priority[i];
		for (unsigned i = 0; i < 2; i++)
			bad += st.by_opcode[s->opcode[i]] != t->opcode[i];
		if (!bad)
			break;
		nanosleep(&nap, NULL);
	}
	return bad;
}

struct sums {
	uint64_t sent, reaped, mistakes[MISTAKES], lost;
	uint64_t laps, mark_wraps, counter_wraps;
	unsigned headers, stuck;
	double seconds;
};

static void count_wraps(const struct soak *s, struct sums *sums)
{
	for (unsigned i = 0; i < s->o->queues; i++) {
		const struct lane *l = &s->lane[i];
		uint64_t first = first_ticket(i, l->entries), laps;
		/* of the ring, then of the 16-bit mark of its lap */
		uint64_t at = first & (l->entries - 1);

		laps = (at + l->reaped) / l->entries;
		sums->laps += laps;
		sums->mark_wraps += ((first / l->entries & 0xffff) + laps) >>
				    16;
		sums->counter_wraps +=
			first + l->reaped < first ||
			(first < 1ull << 32 &&
			 first + l->reaped >= 1ull << 32);
	}
}

static void add_up(struct soak *s, struct sums *sums)
{
	struct tally all = { { 0 }, { 0 }, { 0 } };

	for (unsigned i = 0; i < s->o->groups; i++) {
		struct group *g = &s->group[i];

		sums->reaped += g->reaped;
		sums->stuck += g->stuck;
		for (unsigned k = 0; k < MISTAKES; k++)
			sums->mistakes[k] += g->mistakes[k];
		for (unsigned k = 0; k < s->o->producers; k++) {
			const struct tally *t = &g->producer[k].tally;

			sums->sent += g->producer[k].sent;
			for (unsigned j = 0; j < MK_TENANTS; j++)
				all.tenant[j] += t->tenant[j];
			for (unsigned j = 0; j < MK_PRIORITIES; j++)
				all.priority[j] += t->priority[j];
			all.opcode[0] += t->opcode[0];
			all.opcode[1] += t->opcode[1];
		}
	}
	sums->lost = count_lost(s);
	sums->headers = headers_wrong(s, &all, sums->sent);
	count_wraps(s, sums);
}

static bool is_right(const struct sums *sums)
{
	uint64_t bad = sums->lost + sums->headers + sums->stuck;

	for (unsigned i = 0; i < MISTAKES; i++)
		bad += sums->mistakes[i];
	return !bad && sums->sent == sums->reaped && sums->sent;
}

static void print_table(const struct soak *s, const struct sums *sums)
{
	printf("slots          %" PRIu64 " submitted, %" PRIu64
	       " answered, in %.1f s: %.2f M/s\n", sums->sent, sums->reaped,
	       sums->seconds, (double)sums->reaped / sums->seconds / 1e6);
	printf("with           %u queues, %u groups of %u producers\n",
	       s->o->queues, s->o->groups, s->o->producers);
	printf("wraps          %" PRIu64 " laps of rings, %" PRIu64
	       " of lap marks, %" PRIu64 " of counters\n", sums->laps,
	       sums->mark_wraps, sums->counter_wraps);
	for (unsigned i = 0; i < MISTAKES; i++)
		printf("mistakes       %" PRIu64 " %s\n", sums->mistakes[i],
		       mistake_names[i]);
	printf("mistakes       %" PRIu64 " lost\n", sums->lost);
	printf("mistakes       %u counts of header fields\n", sums->headers);
	puts(is_right(sums) ? "all right" : "WRONG");
}

static void print_json(const struct soak *s, const struct sums *sums)
{
	printf("{\"isolation\": \"%s\", \"right\": %s, \"submitted\": %" PRIu64
	       ", \"answered\": %" PRIu64 ", \"seconds\": %.3f, "
	       "\"per_second\": %.0f, \"queues\": %u, \"groups\": %u, "
	       "\"producers\": %u, \"laps\": %" PRIu64 ", \"mark_wraps\": %"
	       PRIu64 ", \"counter_wraps\": %" PRIu64 ", \"torn_slots\": %"
	       PRIu64 ", \"torn_answers\": %" PRIu64 ", \"negative\": %"
	       PRIu64 ", \"twice\": %" PRIu64 ", \"lost\": %" PRIu64
	       ", \"header_counts\": %u}\n",
	       s->o->isolation == MK_ISOLATION_NONE ? "none" : "process",
	       is_right(sums) ? "true" : "false", sums->sent, sums->reaped,
	       sums->seconds, (double)sums->reaped / sums->seconds,
	       s->o->queues, s->o->groups, s->o->producers, sums->laps,
	       sums->mark_wraps, sums->counter_wraps,
	       sums->mistakes[WRONG_BOTH],
	       sums->mistakes[WRONG_RESULT] + sums->mistakes[WRONG_VALUE],
	       sums->mistakes[REFUSED], sums->mistakes[TWICE], sums->lost,
	       sums->headers);
}

static int run(const struct options *o)
{
	struct soak s = { .o = o };
	struct sums sums = { 0 };
	struct mk_ctx_info info;
	uint64_t began;

	s.lane = calloc(o->queues, sizeof(*s.lane));
	s.group = calloc(o->groups, sizeof(*s.group));
	if (!s.lane || !s.group || open_all(&s))
		return 1;
	mk_ctx_info(s.ctx, &info);
	if (!o->json)
		printf("%s on %s, isolation %s, %u workers\n", info.engine,
		       info.device_name,
		       o->isolation == MK_ISOLATION_NONE ? "none" : "process",
		       info.workers);
	began = now_ns();
	s.until_ns = began + o->seconds * 1000000000ull;
	for (unsigned i = 0; i < o->groups; i++)
		if (start_group(&s, i)) {
			puts("WRONG a thread was not started");
			_exit(1);
		}
	for (unsigned i = 0; i < o->groups; i++)
		pthread_join(s.group[i].thread, NULL);
	sums.seconds = (double)(now_ns() - began) / 1e9;
	for (unsigned i = 0; i < o->groups; i++)
		for (unsigned k = 1; k < o->producers; k++)
			pthread_join(s.group[i].producer[k].thread, NULL);
	add_up(&s, &sums);
	if (o->json)
		print_json(&s, &sums);
	else
		print_table(&s, &sums);
	for (unsigned i = 0; i < o->queues; i++)
		for (unsigned k = 0; k < o->producers; k++)
			free(s.lane[i].seen[k]);
	if (mk_ctx_destroy(s.ctx, QUIET_NS) && is_right(&sums))
		return fail("mk_ctx_destroy", mk_error_last()->code), 1;
	free(s.lane);
	free(s.group);
	return is_right(&sums) ? 0 : 1;
}

static uint64_t number(const char *text, uint64_t min, uint64_t max)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);

	if (*end || !*text || n < min || n > max) {
		fprintf(stderr, "soak: '%s' is no number from %" PRIu64
			" to %" PRIu64 "\n", text, min, max);
		exit(2);
	}
	return n;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "engine", required_argument, NULL, 'e' },
		{ "isolation", required_argument, NULL, 'i' },
		{ "slots", required_argument, NULL, 'n' },
		{ "seconds", required_argument, NULL, 's' },
		{ "queues", required_argument, NULL, 'q' },
		{ "groups", required_argument, NULL, 'g' },
		{ "producers", required_argument, NULL, 'p' },
		{ "json", no_argument, NULL, 'j' },
		{ "plant", required_argument, NULL, 'x' },
		{ NULL, 0, NULL, 0 },
	};
	struct options o = { "cuda", MK_ISOLATION_NONE, 1000000, 10, 8, 2, 2,
			     false, NULL };
	int c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'e')
			o.engine = optarg;
		else if (c == 'i')
			o.isolation = strcmp(optarg, "none") ?
					      MK_ISOLATION_PROCESS :
					      MK_ISOLATION_NONE;
		else if (c == 'n')
			o.slots = number(optarg, 1, 1ull << 50);
		else if (c == 's')
			o.seconds = (unsigned)number(optarg, 1, 86400);
		else if (c == 'q')
			o.queues = (unsigned)number(optarg, 1, QUEUES_MAX);
		else if (c == 'g')
			o.groups = (unsigned)number(optarg, 1, 64);
		else if (c == 'p')
			o.producers = (unsigned)number(optarg, 1,
						       PRODUCERS_MAX);
		else if (c == 'j')
			o.json = true;
		else if (c == 'x')
			o.plant = strcmp(optarg, "race") ? "plant_memory" :
							   "plant_race";
		else
			return 2;
	}
	if (optind < argc || o.groups > o.queues) {
		fprintf(stderr, "soak: fewer queues than groups, or a word "
				"too many\n");
		return 2;
	}
	return run(&o);
}
