/* SPDX-License-Identifier: Apache-2.0 */
#include "support/support.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/order.h"
#include "queue/queue.h"

struct mk_ctx_params support_params(const char *engine, uint32_t isolation)
{
	struct mk_ctx_params p = {
		.size = sizeof(p),
		.engine = engine,
		.isolation = isolation,
		.workers = 2,
		.buffers_max = 256,
		.shared_bytes = 32u << 20,
		.heap_bytes = 64u << 20,
	};

	return p;
}

struct mk_ctx *support_ctx_with(const struct mk_ctx_params *params)
{
	struct mk_ctx *ctx = NULL;
	int r = mk_ctx_create(params, &ctx);

	if (r)
		print_error("mk_ctx_create: %s: %s\n", mk_code_name(r),
			    mk_error_last()->text);
	assert_int_equal(r, 0);
	assert_non_null(ctx);
	return ctx;
}

struct mk_ctx *support_ctx(const char *engine, uint32_t isolation)
{
	struct mk_ctx_params p = support_params(engine, isolation);

	return support_ctx_with(&p);
}

void support_ctx_end(struct mk_ctx *ctx)
{
	assert_int_equal(mk_ctx_destroy(ctx, SUPPORT_NS), 0);
}

struct mk_queue *support_queue(struct mk_ctx *ctx, uint32_t entries)
{
	struct mk_queue_params p = { .size = sizeof(p), .entries = entries };
	struct mk_queue *q = NULL;
	int r = mk_queue_create(ctx, &p, &q);

	if (r)
		print_error("mk_queue_create: %s\n", mk_error_last()->text);
	assert_int_equal(r, 0);
	return q;
}

void support_queue_end(struct mk_queue *q)
{
	support_balance(q);
	assert_int_equal(mk_queue_destroy(q, SUPPORT_NS), 0);
}

void support_submit(struct mk_queue *q, uint16_t opcode, uint64_t user_data,
		    const void *args, size_t bytes)
{
	struct mk_slot *slot;

	assert_int_equal(mk_queue_get_wait(q, 1, &slot, SUPPORT_NS), 1);
	mk_slot_init(slot, opcode, user_data);
	if (bytes)
		memcpy(slot->bytes, args, bytes);
	assert_int_equal(mk_queue_submit(q, slot, 1), 1);
}

struct mk_completion support_reap(struct mk_queue *q)
{
	struct mk_completion c;
	int r = mk_queue_wait(q, 1, SUPPORT_NS);

	if (r < 1)
		print_error("mk_queue_wait: %s\n", mk_code_name(r));
	assert_true(r >= 1);
	memset(&c, 0xa5, sizeof(c));
	assert_int_equal(mk_queue_reap(q, &c, 1), 1);
	return c;
}

struct mk_completion support_call(struct mk_queue *q, uint16_t opcode,
				  const void *args, size_t bytes)
{
	static uint64_t next = 0x1000;
	struct mk_completion c;
	uint64_t mine = next++;

	support_submit(q, opcode, mine, args, bytes);
	c = support_reap(q);
	assert_int_equal(c.user_data, mine);
	assert_int_equal(c.opcode, opcode);
	return c;
}

struct mk_queue_stats support_balance(struct mk_queue *q)
{
	struct mk_queue_stats s;

	assert_int_equal(mk_queue_stats(q, &s), 0);
	assert_int_equal(s.submitted, s.ok + s.failed + s.ready + s.in_flight);
	assert_int_equal(s.failed, s.faulted + s.bad_opcode + s.bad_args +
					   s.expired + s.cancelled + s.lost +
					   s.upstream + s.deadlocked + s.other);
	return s;
}

void support_error_(const char *file, int line, int code, ...)
{
	const struct mk_error *e = mk_error_last();
	const char *part;
	va_list ap;

	if (e->code != code) {
		print_error("%s:%d: the last error is %s (%s)\n", file, line,
			    mk_code_name(e->code), e->text);
		fail();
	}
	va_start(ap, code);
	while ((part = va_arg(ap, const char *)))
		if (!strstr(e->text, part)) {
			print_error("%s:%d: no \"%s\" in \"%s\"\n", file,
				    line, part, e->text);
			fail();
		}
	va_end(ap);
}

uint64_t support_header(uint16_t opcode, uint16_t tenant, uint8_t priority,
			uint8_t flags, uint16_t tiles)
{
	return opcode | (uint64_t)tenant << 16 | (uint64_t)priority << 32 |
	       (uint64_t)flags << 40 | (uint64_t)tiles << 48;
}

void support_inject(struct mk_queue *q, struct mk_slot *slot, uint64_t header,
		    const uint64_t args[6])
{
	uint64_t index = (uint64_t)(slot - q->slots);
	uint64_t head = mk_load_acquire(&q->head);
	uint64_t ticket = head + ((index - head) & q->mask);
	uint64_t mark = (uint64_t)MK_MARK(ticket, q->shift) << MK_MARK_SHIFT;
	const uint64_t low = (1ull << MK_MARK_SHIFT) - 1;
	struct mk_wire_slot *w = &q->ring[index];
	uint32_t attention;

	mk_store_relaxed(&w->unit[0].lo, header);
	for (int i = 0; i < 3; i++) {
		w->unit[i + 1].lo = args[2 * i];
		w->unit[i + 1].hi = (args[2 * i + 1] & low) | mark;
	}
	mk_store_seq(&w->unit[0].hi,
		     args[1] >> 48 | args[3] >> 48 << 16 |
			     args[5] >> 48 << 32 | mark);
	attention = mk_load_seq(q->attention);
	if (attention > 0xffff && !(attention & 0xffff))
		mk_queue_ring(q);
}

static unsigned entries_of(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	unsigned n = 0;

	assert_non_null(d);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			n++;
	closedir(d);
	return n;
}

unsigned support_fds(void)
{
	return entries_of("/proc/self/fd") - 1; /* opendir's own */
}

unsigned support_threads(void)
{
	return entries_of("/proc/self/task");
}

void support_threads_most(unsigned n)
{
	uint64_t end = support_now() + SUPPORT_NS;

	while (support_threads() > n) {
		if (support_now() > end)
			fail_msg("%u threads, %u before", support_threads(), n);
		support_sleep(SUPPORT_MS);
	}
}

/* Of any thread; each is sent the signal, 0: none. */
static unsigned children(int number)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	unsigned n = 0;
	char path[64];
	int pid;

	assert_non_null(d);
	while ((e = readdir(d))) {
		FILE *f;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%.16s/children",
			 e->d_name);
		f = fopen(path, "re");
		while (f && fscanf(f, "%d", &pid) == 1)
			n += !number || !kill(pid, number);
		if (f)
			fclose(f);
	}
	closedir(d);
	return n;
}

unsigned support_children(void)
{
	return children(0);
}

unsigned support_kill_children(void)
{
	return children(SIGKILL);
}

void support_evidence_has(struct mk_ctx *ctx, const char *what)
{
	uint64_t end = support_now() + SUPPORT_NS;
	static char text[20000];

	do
		assert_true(mk_ctx_evidence(ctx, MK_EVIDENCE_TEXT, text,
					    sizeof(text)) <
			    (int64_t)sizeof(text));
	while (!strstr(text, what) && support_now() < end);
	if (!strstr(text, what))
		fail_msg("\"%s\" is not in:\n%s", what, text);
}

uint64_t support_random(uint64_t *state)
{
	uint64_t x = *state ? *state : 0x9e3779b97f4a7c15ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x * 0x2545f4914f6cdd1dull;
}

uint64_t support_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void support_sleep(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / 1000000000u),
			      (long)(ns % 1000000000u) };

	nanosleep(&t, NULL);
}
