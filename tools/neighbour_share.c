/* SPDX-License-Identifier: Apache-2.0 */
/*
 * megakernel neighbour: how much ordinary work the device does beside a
 * resident kernel, in turns with and without it, in the same process and on
 * the same memory, so that nothing else differs.
 *
 * A kernel whose blocks fill the device exactly once loses a wave to any
 * resident warp, however little that does: what is left over runs alone at
 * the end. So the same is measured with work of ten waves and with work that
 * is bound by memory; and beside a kernel of one warp that reads one flag,
 * the least that can be resident at all.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/order.h"
#include "neighbour.h"

#define TURNS 5u
#define TURN_NS 70000000ull
#define GAP_NS 20000        /* between two slots */
#define SLOTS_MAX 1000000u
#define COMMAND_NS 5000000000ull

static const struct subject {
	const char *name;
	unsigned flag_blocks; /* 0: ours */
	enum neighbour_mode mode;
	bool part;            /* an eighth of the device */
	bool few;             /* a worker for each multiprocessor */
	bool slots;           /* one every GAP_NS */
} subjects[NEIGHBOUR_SHARES] = {
	{ .name = "a warp that reads a flag", .flag_blocks = 1 },
	{ .name = "16 such blocks", .flag_blocks = 16 },
	{ .name = "ours, idle", .mode = NEIGHBOUR_RESIDENT },
	{ .name = "ours, slots", .mode = NEIGHBOUR_RESIDENT, .slots = true },
	{ .name = "one worker an SM, idle", .mode = NEIGHBOUR_RESIDENT,
	  .few = true },
	{ .name = "one worker an SM, slots", .mode = NEIGHBOUR_RESIDENT,
	  .few = true, .slots = true },
	{ .name = "the same on 1/8 of the SMs, idle",
	  .mode = NEIGHBOUR_RESIDENT, .few = true, .part = true },
	{ .name = "the same on 1/8 of the SMs, slots",
	  .mode = NEIGHBOUR_RESIDENT, .few = true, .part = true,
	  .slots = true },
	{ .name = "parked", .mode = NEIGHBOUR_PARK },
	{ .name = "worker process, slots", .mode = NEIGHBOUR_PROCESS,
	  .slots = true },
};

const char *neighbour_share_name(unsigned number)
{
	return subjects[number].name;
}

struct share {
	const struct subject *subject;
	struct neighbour_cuda cuda;
	struct mk_ctx *ctx; /* NULL: the flag's */
	struct mk_queue *queue;
	uint64_t *sample;
	uint64_t samples;
	uint32_t beside; /* slots may go out; store-release */
	uint32_t stop;   /* store-release */
};

/* ---- slots meanwhile ---- */

static void *slots_main(void *arg)
{
	struct share *s = arg;
	struct timespec nap = { 0, GAP_NS };
	struct mk_completion c;
	struct mk_slot slot;

	mk_slot_init(&slot, MK_OP_NOP, 1);
	while (!mk_load_acquire(&s->stop)) {
		uint64_t begin;

		nanosleep(&nap, NULL);
		if (!mk_load_acquire(&s->beside) || s->samples == SLOTS_MAX)
			continue;
		begin = mk_now_ns();
		if (mk_queue_call(s->queue, &slot, &c, COMMAND_NS))
			break;
		/* begun before the kernel was told to leave, and ended so */
		if (mk_load_acquire(&s->beside))
			s->sample[s->samples++] = mk_now_ns() - begin;
	}
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int by_number(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void tails(struct share *s, struct neighbour_share *out)
{
	uint64_t n = s->samples;

	out->slots = n;
	if (!n)
		return;
	qsort(s->sample, n, sizeof(*s->sample), by_size);
	out->p50_ns = s->sample[n / 2];
	out->p99_ns = s->sample[n * 99 / 100];
	out->p999_ns = s->sample[n * 999 / 1000];
	out->max_ns = s->sample[n - 1];
}

/* ---- work ---- */

/* Some kernels of it, and their end. How many, or 0 if one failed. */
static unsigned batch(struct share *s, unsigned work)
{
	unsigned n = work == NEIGHBOUR_WAVES ? 1 : 8;

	for (unsigned i = 0; i < n; i++)
		if (neighbour_cuda_work(&s->cuda, work))
			return 0;
	return s->cuda.d.stream_wait(s->cuda.stream) ? 0 : n;
}

/* Kernels a second over a turn; 0 if one failed. */
static double turn(struct share *s, unsigned work)
{
	uint64_t begin, now, done = 0;

	if (!batch(s, work))
		return 0;
	begin = mk_now_ns();
	do {
		unsigned n = batch(s, work);

		if (!n)
			return 0;
		done += n;
		now = mk_now_ns();
	} while (now - begin < TURN_NS);
	return (double)done * 1e9 / (double)(now - begin);
}

static int away(struct share *s)
{
	mk_store_release(&s->beside, 0);
	return s->ctx ? mk_ctx_quiesce(s->ctx, COMMAND_NS) :
			neighbour_cuda_flag(&s->cuda, 0);
}

static int there(struct share *s)
{
	int r = s->ctx ? mk_ctx_resume(s->ctx) :
			 neighbour_cuda_flag(&s->cuda,
					     s->subject->flag_blocks);

	mk_store_release(&s->beside, !r);
	return r;
}

/* The kernel away, then there; it is away in the end. 0, or -1. */
static int turns(struct share *s, unsigned work,
		 struct neighbour_work_share *out)
{
	double alone[TURNS], beside[TURNS], ratio[TURNS];

	for (unsigned i = 0; i < TURNS; i++) {
		alone[i] = turn(s, work);
		if (there(s))
			return -1;
		beside[i] = turn(s, work);
		if (away(s) || alone[i] <= 0 || beside[i] <= 0)
			return -1;
		ratio[i] = beside[i] / alone[i];
	}
	qsort(alone, TURNS, sizeof(*alone), by_number);
	qsort(beside, TURNS, sizeof(*beside), by_number);
	qsort(ratio, TURNS, sizeof(*ratio), by_number);
	out->alone = alone[TURNS / 2];
	out->beside = beside[TURNS / 2];
	out->least = ratio[0];
	out->most = ratio[TURNS - 1];
	return 0;
}

static int measure(struct share *s, struct neighbour_share *out)
{
	bool slots = s->subject->slots;
	pthread_t thread;
	int r = away(s);

	if (r || (slots && pthread_create(&thread, NULL, slots_main, s)))
		return -1;
	for (unsigned w = 0; w < NEIGHBOUR_WORKS && !r; w++)
		r = turns(s, w, &out->work[w]);
	mk_store_release(&s->stop, 1);
	if (s->ctx)
		mk_ctx_resume(s->ctx); /* an unanswered slot ends the thread */
	if (slots)
		pthread_join(thread, NULL);
	tails(s, out);
	out->turns = TURNS;
	return r;
}

/* A context as the subject says. 0, or -1 with a message printed. */
static int open_ours(struct share *s, const struct neighbour_options *o,
		     struct neighbour_share *out)
{
	struct neighbour_options mine = *o;
	struct mk_ctx_info info;
	int r;

	if (s->subject->part)
		mine.sm_count = ((uint32_t)s->cuda.multiprocessors + 7) / 8;
	if (s->subject->few)
		mine.workers = mine.sm_count ?
				       mine.sm_count :
				       (uint32_t)s->cuda.multiprocessors;
	if (neighbour_ctx(&mine, s->subject->mode, &s->ctx))
		return -1;
	r = mk_queue_create(s->ctx, NULL, &s->queue);
	if (r)
		return cli_library_error("neighbour", "a queue", r), -1;
	mk_ctx_info(s->ctx, &info);
	out->sm_count = info.sm_count;
	out->workers = info.workers;
	return 0;
}

int neighbour_run_share(const struct neighbour_options *o, unsigned number,
			int fd)
{
	static struct share s;
	struct neighbour_record r = { .kind = 2 };

	s.subject = &subjects[number];
	s.sample = malloc(SLOTS_MAX * sizeof(*s.sample));
	if (!s.sample || neighbour_cuda_open(&s.cuda, o->device))
		return CLI_USAGE;
	neighbour_send_device(fd, &s.cuda);
	r.share.share = number;
	r.share.sm_count = s.subject->flag_blocks;
	if (!s.subject->flag_blocks && open_ours(&s, o, &r.share))
		return CLI_USAGE;
	r.share.done = !measure(&s, &r.share);
	if (!r.share.done)
		cli_error("neighbour", "%s: %s", s.subject->name,
			  mk_error_last()->text);
	neighbour_send(fd, &r);
	mk_ctx_destroy(s.ctx, COMMAND_NS);
	free(s.sample);
	return r.share.done ? CLI_OK : CLI_SOME_FAILED;
}
