/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A first look at an engine on a real device: does it work, how fast is it.
 * Needs nothing but the library; no test framework.
 *
 *	smoke [engine [none|process [workers]]]
 *
 * Prints a line for every check and measurement. Exit status 1: something
 * gave a wrong answer; 77: there is no such engine here.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <megakernel.h>

#define WAIT_NS 20000000000ull
#define ENTRIES 4096u

static int wrong;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what, int code)
{
	printf("FAIL %s: %s: %s\n", what, mk_code_name(code),
	       mk_error_last()->text);
	exit(1);
}

static void check(const char *what, bool right)
{
	printf("%s %s\n", right ? "ok  " : "FAIL", what);
	wrong |= !right;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void report(const char *what, uint64_t *v, size_t n)
{
	qsort(v, n, sizeof(*v), compare);
	printf("     %-44s min %.2f p50 %.2f p90 %.2f p99 %.2f p99.9 %.2f "
	       "max %.1f us\n", what, v[0] / 1e3, v[n / 2] / 1e3,
	       v[n * 9 / 10] / 1e3, v[n * 99 / 100] / 1e3,
	       v[n * 999 / 1000] / 1e3, v[n - 1] / 1e3);
	fflush(stdout);
}

static struct mk_queue *queue_of(struct mk_ctx *ctx, uint32_t entries)
{
	struct mk_queue_params p = { .size = sizeof(p), .entries = entries };
	struct mk_queue *q;
	int r = mk_queue_create(ctx, &p, &q);

	if (r)
		die("mk_queue_create", r);
	return q;
}

static void end_queue(struct mk_queue *q)
{
	int64_t left = mk_queue_destroy(q, WAIT_NS);

	if (left)
		die("mk_queue_destroy", (int)left);
}

static struct mk_slot *get(struct mk_queue *q, unsigned n, int *got)
{
	struct mk_slot *s;
	int r = mk_queue_get(q, n, &s);

	*got = r > 0 ? r : 0;
	if (r < 0 && r != -EAGAIN)
		die("mk_queue_get", r);
	return s;
}

static struct mk_completion call(struct mk_queue *q, uint16_t opcode,
				 const void *args, size_t bytes)
{
	struct mk_completion c;
	struct mk_slot s;
	int r;

	mk_slot_init(&s, opcode, 1);
	memcpy(s.bytes, args, bytes);
	r = mk_queue_call(q, &s, &c, WAIT_NS);
	if (r == -ETIME || r == -MK_EDEVLOST)
		die("mk_queue_call", r);
	return c;
}

/* ---- does it work ---------------------------------------------------- */

static void words(struct mk_ctx *ctx)
{
	struct mk_queue *q = queue_of(ctx, 64);
	struct mk_op_word w = { 5, 0, 3, 0 };
	uint64_t v = 0;
	bool right = true;

	for (uint64_t i = 0; i < 1000; i++)
		right &= call(q, MK_OP_ADD, &w, sizeof(w)).value == 3 * i;
	right &= !mk_queue_observe(q, 5, &v) && v == 3000;
	check("1000 adds to an observable word", right);
	w.word = 64;
	check("a word outside is refused",
	      call(q, MK_OP_ADD, &w, sizeof(w)).result == -MK_ERANGE);
	end_queue(q);
}

static void adds_at_once(struct mk_ctx *ctx)
{
	struct mk_queue *q = queue_of(ctx, 1024);
	struct mk_op_word w = { 7, 0, 1, 0 };
	struct mk_completion c[64];
	uint64_t sent = 0, done = 0, v = 0;
	const uint64_t total = 100000;

	while (done < total) {
		struct mk_slot *s = NULL;
		int n = 0;

		if (sent < total)
			s = get(q, total - sent < 64 ?
					   (unsigned)(total - sent) : 64, &n);
		for (int i = 0; i < n; i++)
			mk_queue_fill(q, &s[i], MK_OP_ADD, sent++, &w,
				      sizeof(w));
		if (n && mk_queue_submit(q, s, (unsigned)n) != n)
			die("mk_queue_submit", mk_error_last()->code);
		n = mk_queue_reap(q, c, 64);
		if (n < 0)
			die("mk_queue_reap", n);
		done += (uint64_t)n;
	}
	mk_queue_observe(q, 7, &v);
	printf("     sum of %" PRIu64 " concurrent adds: %" PRIu64 "\n", total,
	       v);
	check("adds of all workers to one host word are atomic", v == total);
	end_queue(q);
}

static void copies(struct mk_ctx *ctx)
{
	const uint64_t bytes = 3u << 20;
	struct mk_queue *q = queue_of(ctx, 16);
	unsigned char *data = malloc(bytes), *back = malloc(bytes);
	struct mk_op_copy args = { .bytes = bytes };
	mk_buffer_t a, b;
	bool right = true;
	int r = mk_buffer_create(ctx, bytes, 0, &a);

	if (!r)
		r = mk_buffer_create(ctx, bytes, 0, &b);
	if (r)
		die("mk_buffer_create", r);
	for (unsigned round = 0; round < 8 && right; round++) {
		for (uint64_t i = 0; i < bytes; i++)
			data[i] = (unsigned char)(i * 7 + i / 251 + round);
		r = mk_buffer_write(ctx, a, 0, data, bytes);
		if (r)
			die("mk_buffer_write", r);
		args.source = mk_buffer_ref(a);
		args.target = mk_buffer_ref(b);
		right &= call(q, MK_OP_COPY, &args, sizeof(args)).value ==
			 bytes;
		r = mk_buffer_read(ctx, b, 0, back, bytes);
		if (r)
			die("mk_buffer_read", r);
		right &= !memcmp(data, back, bytes);
	}
	check("8 rewrites of a buffer, each seen by the next slot", right);
	mk_buffer_destroy(ctx, a, WAIT_NS);
	mk_buffer_destroy(ctx, b, WAIT_NS);
	free(data);
	free(back);
	end_queue(q);
}

static const char saxpy_source[] =
	"#include <megakernel/handler.h>\n"
	"struct saxpy { struct mk_ref x, y; float a; uint32_t n; };\n"
	"MK_FN int32_t run(struct mk_task *task, const struct saxpy *args)\n"
	"{\n"
	"	uint64_t bytes = (uint64_t)args->n * sizeof(float);\n"
	"	const float *x = (const float *)mk_read(task, args->x, bytes);\n"
	"	float *y = (float *)mk_write(task, args->y, bytes);\n"
	"	if (!x || !y)\n"
	"		return mk_fail(task);\n"
	"	for (uint32_t i = mk_lane(task); i < args->n;\n"
	"	     i += mk_lanes(task))\n"
	"		y[i] += args->a * x[i];\n"
	"	return MK_OK;\n"
	"}\n"
	"MK_HANDLER(saxpy, struct saxpy) { return run(task, args); }\n"
	"MK_HANDLER_BLOCK(saxpy_block, struct saxpy)"
	" { return run(task, args); }\n"
	"MK_HANDLER_THREAD(saxpy_thread, struct saxpy)"
	" { return run(task, args); }\n";

struct saxpy {
	struct mk_ref x, y;
	float a;
	uint32_t n;
};

static void saxpy(struct mk_ctx *ctx, const char *name, uint32_t n)
{
	struct mk_queue *q = queue_of(ctx, 16);
	float *x = malloc(4u * n), *y = malloc(4u * n);
	struct saxpy args = { .a = 2.5f, .n = n };
	static uint64_t lat[2000];
	struct mk_handler_info h;
	char what[64];
	mk_buffer_t bx, by;
	bool right = true;
	int r = mk_handler_find(ctx, name, &h);

	if (!r)
		r = mk_buffer_create(ctx, 4u * n, 0, &bx);
	if (!r)
		r = mk_buffer_create(ctx, 4u * n, 0, &by);
	for (uint32_t i = 0; i < n; i++)
		x[i] = (float)i, y[i] = 1.0f;
	if (!r)
		r = mk_buffer_write(ctx, bx, 0, x, 4u * n);
	if (!r)
		r = mk_buffer_write(ctx, by, 0, y, 4u * n);
	if (r)
		die("saxpy", r);
	args.x = mk_buffer_ref(bx);
	args.y = mk_buffer_ref(by);
	right &= call(q, h.opcode, &args, sizeof(args)).result == 0;
	r = mk_buffer_read(ctx, by, 0, y, 4u * n);
	for (uint32_t i = 0; i < n; i++)
		right &= y[i] == 1.0f + 2.5f * (float)i;
	snprintf(what, sizeof(what), "%s of %u floats", name, n);
	check(what, right && !r);
	for (unsigned i = 0; i < 2000; i++) {
		uint64_t t = now_ns();

		call(q, h.opcode, &args, sizeof(args));
		lat[i] = now_ns() - t;
	}
	report(what, lat + 200, 1800);
	mk_buffer_destroy(ctx, bx, WAIT_NS);
	mk_buffer_destroy(ctx, by, WAIT_NS);
	free(x);
	free(y);
	end_queue(q);
}

static void module(struct mk_ctx *ctx)
{
	uint64_t t = now_ns();
	int r = mk_module_load_source(ctx, "saxpy.c", saxpy_source, 0, NULL);

	if (r)
		die("mk_module_load_source", r);
	printf("     a module was loaded in %.1f ms\n", (now_ns() - t) / 1e6);
	saxpy(ctx, "saxpy", 1024);
	saxpy(ctx, "saxpy", 262144);
	saxpy(ctx, "saxpy_thread", 64);
	saxpy(ctx, "saxpy_block", 1024);
	saxpy(ctx, "saxpy_block", 262144);
	t = now_ns();
	r = mk_module_load_source(ctx, "saxpy.c", saxpy_source,
				  MK_MODULE_REPLACE, NULL);
	if (r)
		die("mk_module_load_source", r);
	printf("     and replaced by itself in %.1f ms\n",
	       (now_ns() - t) / 1e6);
}

/* ---- how fast is it -------------------------------------------------- */

static void submit_nops(struct mk_queue *q, struct mk_slot *s, int n,
			uint64_t from)
{
	for (int i = 0; i < n; i++) {
		mk_slot_init(&s[i], MK_OP_NOP, from + (uint64_t)i);
		s[i].arg64[0] = from + (uint64_t)i;
	}
	if (mk_queue_submit(q, s, (unsigned)n) != n)
		die("mk_queue_submit", mk_error_last()->code);
}

static unsigned reap(struct mk_queue *q, unsigned n, uint64_t *bad)
{
	struct mk_completion c[128];
	int got = mk_queue_reap(q, c, n < 128 ? n : 128);

	if (got < 0)
		die("mk_queue_reap", got);
	for (int i = 0; i < got; i++)
		*bad += c[i].value != c[i].user_data || c[i].result;
	return (unsigned)got;
}

/* One slot at a time; gap_ns: random time between two. */
static void round_trip(struct mk_queue *q, const char *what, unsigned n,
		       uint64_t gap_ns)
{
	uint64_t *v = malloc(n * sizeof(*v)), bad = 0, seed = 88172645463325252;

	for (unsigned i = 0; i < n; i++) {
		struct mk_slot *s;
		uint64_t t, until;
		int got;

		seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
		until = gap_ns ? now_ns() + seed % gap_ns : 0;
		while (gap_ns && now_ns() < until)
			;
		t = now_ns();
		s = get(q, 1, &got);
		submit_nops(q, s, 1, i);
		while (!reap(q, 1, &bad))
			if (now_ns() - t > WAIT_NS)
				die("no answer", -ETIME);
		v[i] = now_ns() - t;
	}
	report(what, v + n / 10, n - n / 10);
	if (bad)
		check(what, false);
	free(v);
}

/* So many slots in one submission, until the last answer. */
static void batch(struct mk_queue *q, unsigned size, unsigned n)
{
	uint64_t *v = malloc(n * sizeof(*v)), bad = 0;
	char what[64];

	for (unsigned i = 0; i < n; i++) {
		uint64_t until = now_ns() + 20000, t;
		unsigned done = 0, sent = 0;

		while (now_ns() < until)
			;
		t = now_ns();
		while (done < size) {
			int got = 0;
			struct mk_slot *s;

			if (sent < size) {
				s = get(q, size - sent, &got);
				submit_nops(q, s, got, sent);
				sent += (unsigned)got;
			}
			done += reap(q, size - done, &bad);
			if (now_ns() - t > WAIT_NS)
				die("no answer", -ETIME);
		}
		v[i] = now_ns() - t;
	}
	snprintf(what, sizeof(what), "%u slots, submit to last answer", size);
	report(what, v + n / 10, n - n / 10);
	if (bad)
		check(what, false);
	free(v);
}

/* A constant number in flight. */
static void depth(struct mk_queue *q, unsigned in_flight, uint64_t total,
		  unsigned burst)
{
	uint64_t t = now_ns(), sent = 0, done = 0, bad = 0, looks = 0;
	char what[64];

	while (done < total) {
		unsigned room = in_flight - (unsigned)(sent - done);

		if (room > burst)
			room = burst;
		if (sent < total && room) {
			int got;
			struct mk_slot *s = get(q, room, &got);

			if (got) {
				submit_nops(q, s, got, sent);
				sent += (uint64_t)got;
			}
		}
		done += reap(q, 128, &bad);
		if (!(++looks & 0xfffff) && now_ns() - t > 3 * WAIT_NS)
			die("too slow", -ETIME);
	}
	snprintf(what, sizeof(what), "%u in flight, %u at a time", in_flight,
		 burst);
	printf("     %-44s %.2f M slots/s\n", what,
	       (double)total * 1e3 / (double)(now_ns() - t));
	fflush(stdout);
	if (bad)
		check(what, false);
}

struct producer {
	struct mk_queue *q;
	uint64_t total;
	unsigned burst;
};

static void *produce(void *arg)
{
	struct producer *p = arg;

	for (uint64_t sent = 0; sent < p->total;) {
		uint64_t left = p->total - sent;
		int got;
		struct mk_slot *s = get(p->q, left < p->burst ?
					(unsigned)left : p->burst, &got);

		if (got)
			submit_nops(p->q, s, got, sent);
		sent += (uint64_t)got;
	}
	return NULL;
}

/* Producers on threads of their own, this one reaps. */
static void threads(struct mk_queue *q, unsigned producers, uint64_t total,
		    unsigned burst)
{
	struct producer p = { q, total / producers, burst };
	uint64_t t = now_ns(), done = 0, bad = 0;
	pthread_t id[8];
	char what[64];

	for (unsigned i = 0; i < producers; i++)
		pthread_create(&id[i], NULL, produce, &p);
	while (done < p.total * producers)
		done += reap(q, 128, &bad);
	snprintf(what, sizeof(what), "%u producers, %u at a time, a reaper",
		 producers, burst);
	printf("     %-44s %.2f M slots/s\n", what,
	       (double)done * 1e3 / (double)(now_ns() - t));
	fflush(stdout);
	for (unsigned i = 0; i < producers; i++)
		pthread_join(id[i], NULL);
	if (bad)
		check(what, false);
}

static void speed(struct mk_ctx *ctx)
{
	struct mk_queue *q = queue_of(ctx, ENTRIES);

	round_trip(q, "one slot, back to back", 20000, 0);
	round_trip(q, "one slot, gaps of 0 to 3 us", 20000, 3000);
	round_trip(q, "one slot, gaps of 0 to 30 us", 10000, 30000);
	batch(q, 8, 5000);
	batch(q, 64, 5000);
	batch(q, 256, 5000);
	depth(q, 8, 1000000, 8);
	depth(q, 64, 4000000, 1);
	depth(q, 64, 4000000, 64);
	depth(q, ENTRIES, 40000000, 16);
	depth(q, ENTRIES, 40000000, 64);
	threads(q, 1, 40000000, 16);
	threads(q, 1, 40000000, 64);
	threads(q, 2, 40000000, 64);
	threads(q, 4, 40000000, 64);
	end_queue(q);
}

static void many(struct mk_ctx *ctx, unsigned n)
{
	struct mk_queue *q[64];
	uint64_t bad = 0, done[64] = { 0 }, all = 0, least = UINT64_MAX,
		 most = 0, t;
	char what[64];

	for (unsigned i = 0; i < n; i++)
		q[i] = queue_of(ctx, 256);
	snprintf(what, sizeof(what), "%u queues, one active, gaps to 3 us", n);
	round_trip(q[n / 2], what, 10000, 3000);
	t = now_ns();
	while (now_ns() - t < 300000000) {
		for (unsigned i = 0; i < n; i++) {
			int got;
			struct mk_slot *s = get(q[i], 32, &got);

			if (got)
				submit_nops(q[i], s, got, 0);
			for (unsigned k = reap(q[i], 128, &bad); k;
			     k = reap(q[i], 128, &bad))
				done[i] += k;
		}
	}
	bad = 0; /* all of them were numbered from 0 */
	for (unsigned i = 0; i < n; i++) {
		all += done[i];
		least = done[i] < least ? done[i] : least;
		most = done[i] > most ? done[i] : most;
	}
	snprintf(what, sizeof(what), "%u queues, all active", n);
	printf("     %-44s %.2f M slots/s, least %.0f %% of most\n", what,
	       (double)all / 300e3, most ? 100.0 * least / most : 0.0);
	for (unsigned i = 0; i < n; i++) {
		mk_queue_drain(q[i], WAIT_NS);
		end_queue(q[i]);
	}
}

/* The kernel has left; how long until it answers? */
static void wake(struct mk_ctx *ctx)
{
	struct mk_queue *q = queue_of(ctx, 64);
	static uint64_t v[400];
	struct timespec nap = { 0, 2000000 };

	for (unsigned i = 0; i < 400; i++) {
		uint64_t bad = 0, t;
		struct mk_slot *s;
		int got;

		nanosleep(&nap, NULL);
		t = now_ns();
		s = get(q, 1, &got);
		submit_nops(q, s, 1, i);
		while (!reap(q, 1, &bad))
			if (now_ns() - t > WAIT_NS)
				die("no answer", -ETIME);
		v[i] = now_ns() - t;
	}
	report("one slot, 2 ms after the one before", v, 400);
	end_queue(q);
}

/* Asleep until the answer comes. */
static void sleeper(struct mk_ctx *ctx)
{
	struct mk_queue_params p = { .size = sizeof(p), .entries = 64,
				     .spin_ns = 1 };
	static uint64_t v[400];
	struct mk_queue *q;
	int r = mk_queue_create(ctx, &p, &q);

	if (r)
		die("mk_queue_create", r);
	for (unsigned i = 0; i < 400; i++) {
		uint64_t bad = 0, t = now_ns();
		int got;
		struct mk_slot *s = get(q, 1, &got);

		submit_nops(q, s, 1, i);
		r = mk_queue_wait(q, 1, WAIT_NS);
		if (r != 1)
			die("mk_queue_wait", r);
		v[i] = now_ns() - t;
		reap(q, 1, &bad);
	}
	report("one slot, asleep until the answer", v, 400);
	end_queue(q);
}

static struct mk_ctx *ctx_of(const char *engine, uint32_t isolation,
			     uint32_t workers, uint64_t idle_ns)
{
	struct mk_ctx_params p = {
		.size = sizeof(p),
		.engine = engine,
		.isolation = isolation,
		.workers = workers,
		.idle_ns = idle_ns,
	};
	struct mk_ctx_info info;
	struct mk_ctx *ctx;
	uint64_t t = now_ns();
	int r = mk_ctx_create(&p, &ctx);

	if (r == -MK_EENGINE) {
		printf("skipped: %s\n", mk_error_last()->text);
		exit(77);
	}
	if (r)
		die("mk_ctx_create", r);
	mk_ctx_info(ctx, &info);
	printf("%s on %s, isolation %s, %u workers, up in %.0f ms\n",
	       info.engine, info.device_name,
	       isolation == MK_ISOLATION_NONE ? "none" : "process",
	       info.workers, (now_ns() - t) / 1e6);
	fflush(stdout);
	return ctx;
}

static void end_ctx(struct mk_ctx *ctx)
{
	uint64_t t = now_ns();
	int64_t left = mk_ctx_destroy(ctx, WAIT_NS);

	if (left)
		die("mk_ctx_destroy", (int)left);
	printf("     ended in %.1f ms\n", (now_ns() - t) / 1e6);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const char *engine = argc > 1 ? argv[1] : "cuda";
	uint32_t isolation = argc > 2 && !strcmp(argv[2], "process") ?
				     MK_ISOLATION_PROCESS : MK_ISOLATION_NONE;
	uint32_t workers = argc > 3 ? (uint32_t)atoi(argv[3]) : 0;
	bool quick = argc > 4;
	struct mk_ctx *ctx = ctx_of(engine, isolation, workers, 1000000000);

	setvbuf(stdout, NULL, _IOLBF, 0);
	words(ctx);
	adds_at_once(ctx);
	if (!quick) {
		copies(ctx);
		module(ctx);
	}
	speed(ctx);
	many(ctx, 1);
	many(ctx, 4);
	many(ctx, 16);
	many(ctx, 64);
	sleeper(ctx);
	end_ctx(ctx);
	ctx = ctx_of(engine, isolation, workers, 0);
	wake(ctx);
	end_ctx(ctx);
	puts(wrong ? "WRONG" : "all answers right");
	return wrong;
}
