/* SPDX-License-Identifier: Apache-2.0 */
/* Which faults there are, and which one comes when. */
#include <stdlib.h>
#include <string.h>

#include "chaos.h"

#define HANDLER (CHAOS_HANDLER | CHAOS_PROCESS_ONLY)
#define CPU_HANDLER (HANDLER | CHAOS_CPU_ONLY)

const struct chaos_kind_info chaos_kinds[CHAOS_KINDS] = {
	[CHAOS_CRASH] = { "crash", "a handler stores to address 0", 10,
			  CPU_HANDLER },
	[CHAOS_ILLEGAL] = { "illegal", "a handler stores to an address that "
			    "is none", 8, HANDLER },
	[CHAOS_ABORT] = { "abort", "a handler calls abort()", 7, CPU_HANDLER },
	[CHAOS_TRAP] = { "trap", "a handler runs a trap instruction", 7,
			 HANDLER },
	[CHAOS_DIVIDE] = { "divide", "a handler divides by 0", 5,
			   CPU_HANDLER },
	[CHAOS_EXIT] = { "exit", "a handler ends its process", 5,
			 CPU_HANDLER },
	[CHAOS_OVERFLOW] = { "overflow", "a handler runs out of stack", 5,
			     CPU_HANDLER },
	[CHAOS_SCRIBBLE] = { "scribble", "a handler writes over its heap", 6,
			     CPU_HANDLER },
	[CHAOS_HANG] = { "hang", "a handler never returns", 4, HANDLER },
	[CHAOS_POLL] = { "poll", "a handler returns when it is asked to", 3,
			 HANDLER | CHAOS_HARMLESS },
	[CHAOS_SIGKILL] = { "sigkill", "the worker process is killed", 14,
			    CHAOS_PROCESS_ONLY },
	[CHAOS_SIGSTOP] = { "sigstop", "the worker process is stopped", 3,
			    CHAOS_PROCESS_ONLY },
	[CHAOS_STALL] = { "stall", "the worker process is stopped for a "
			  "moment", 3, CHAOS_PROCESS_ONLY | CHAOS_HARMLESS },
	[CHAOS_CALLER] = { "caller", "the calling process is killed", 3, 0 },
	[CHAOS_MEMORY] = { "memory", "there is no room for shared memory", 4,
			   CHAOS_HARMLESS },
	[CHAOS_DESCRIPTORS] = { "descriptors", "killed while no descriptor is "
				"left", 3, CHAOS_PROCESS_ONLY },
	[CHAOS_RESTART] = { "restart", "killed while its program cannot "
			    "start", 4, CHAOS_PROCESS_ONLY },
	[CHAOS_CACHE] = { "cache", "an entry of the module cache is damaged",
			  2, CHAOS_HARMLESS },
	[CHAOS_SOCKET] = { "socket", "garbage comes over the socket", 3,
			   CHAOS_PROCESS_ONLY | CHAOS_HARMLESS },
	[CHAOS_CLOCK] = { "clock", "the time of day is stepped", 2,
			  CHAOS_HARMLESS },
};

/* The finalizer of splitmix64 (Steele, Lea, Flood 2014). */
uint64_t chaos_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

struct chaos_fault chaos_plan_fault(const struct chaos_plan *p, uint64_t i)
{
	uint64_t bits = chaos_mix(chaos_mix(p->seed) ^ i);
	unsigned at = (unsigned)(bits % p->weights), kind = 0;
	struct chaos_fault f = { .noise = chaos_mix(bits) };

	for (;; kind++) {
		if (p->left_out[kind])
			continue;
		if (at < chaos_kinds[kind].weight)
			break;
		at -= chaos_kinds[kind].weight;
	}
	f.kind = (enum chaos_kind)kind;
	f.idempotent = (bits >> 40) % 4 == 0;
	f.again = (bits >> 44) % 8 == 0;
	return f;
}

uint64_t chaos_plan_digest(const struct chaos_plan *p, uint64_t n)
{
	uint64_t digest = 0;

	for (uint64_t i = 0; i < n; i++) {
		struct chaos_fault f = chaos_plan_fault(p, i);

		digest = chaos_mix(digest ^ f.noise ^ (uint64_t)f.kind << 2 ^
				   (f.idempotent ? 1u : 0u) ^
				   (f.again ? 2u : 0u));
	}
	return digest;
}

static bool listed(const char *names, const char *name)
{
	size_t n = strlen(name);

	for (const char *at = names; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (!strncmp(at, name, n) && (!at[n] || at[n] == ','))
			return true;
	}
	return false;
}

/* Is every name of the list one that there is? */
static int check_names(const char *names)
{
	for (const char *at = names; *at;) {
		size_t n = strcspn(at, ",");
		bool known = false;

		for (unsigned k = 0; k < CHAOS_KINDS; k++)
			known |= strlen(chaos_kinds[k].name) == n &&
				 !strncmp(chaos_kinds[k].name, at, n);
		if (!known) {
			cli_usage("chaos", "there is no kind of fault '%.*s'; "
				  "see 'megakernel chaos --help'", (int)n, at);
			return -1;
		}
		at += n;
		at += *at == ',';
	}
	return 0;
}

int chaos_plan_init(struct chaos_plan *p, uint64_t seed, bool cpu,
		    bool process, const char *names)
{
	p->seed = seed;
	p->weights = 0;
	if (names && check_names(names))
		return -1;
	for (unsigned k = 0; k < CHAOS_KINDS; k++) {
		const struct chaos_kind_info *info = &chaos_kinds[k];

		if (p->left_out[k])
			; /* the caller knows better */
		else if (names && !listed(names, info->name))
			p->left_out[k] = "not asked for";
		else if (!cpu && (info->flags & CHAOS_CPU_ONLY))
			p->left_out[k] = "for the engine cpu only";
		else if (!process && (info->flags & CHAOS_PROCESS_ONLY))
			p->left_out[k] = "needs a worker process";
		/* a resident GPU engine has its program, and reads no entry
		 * before it is started anew */
		else if (!process && !cpu && k == CHAOS_CACHE)
			p->left_out[k] = "needs a worker process";
		if (!p->left_out[k])
			p->weights += info->weight;
	}
	if (p->weights)
		return 0;
	cli_usage("chaos", "no kind of fault is left to inject");
	return -1;
}

/* ---- times ------------------------------------------------------------- */

void chaos_times_add(struct chaos_times *t, uint64_t ns)
{
	if (t->count == t->room) {
		uint64_t room = t->room ? t->room * 2 : 256;
		uint64_t *more = realloc(t->ns, room * sizeof(*more));

		if (!more)
			return; /* one time less to report */
		t->ns = more;
		t->room = room;
	}
	t->ns[t->count++] = ns;
	t->sorted = false;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

uint64_t chaos_times_at(struct chaos_times *t, double q)
{
	uint64_t at;

	if (!t->count)
		return 0;
	if (!t->sorted)
		qsort(t->ns, t->count, sizeof(*t->ns), by_value);
	t->sorted = true;
	at = (uint64_t)(q * (double)t->count);
	return t->ns[at < t->count ? at : t->count - 1];
}

void chaos_times_free(struct chaos_times *t)
{
	free(t->ns);
	memset(t, 0, sizeof(*t));
}
