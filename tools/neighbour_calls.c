/* SPDX-License-Identifier: Apache-2.0 */
/*
 * megakernel neighbour: the calls, one after the other, in a thread of their
 * own, while the main thread watches. A call that does not come back is helped
 * by quiescing the kernel from here.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/order.h"
#include "neighbour.h"

#define STUCK_NS 10000000000ull /* then it is taken for hung for good */
#define SLOT_NS 5000000000ull

struct run {
	const struct neighbour_options *o;
	enum neighbour_mode mode;
	struct neighbour_cuda cuda;
	struct mk_ctx *ctx; /* NULL: alone */
	struct mk_queue *queue;
	struct neighbour_call call; /* the one that is made */
	uint32_t ended;             /* store-release */
};

int neighbour_send(int fd, const struct neighbour_record *r)
{
	/* less than PIPE_BUF: whole or not at all */
	return write(fd, r, sizeof(*r)) == (ssize_t)sizeof(*r) ? 0 : -1;
}

int neighbour_send_device(int fd, const struct neighbour_cuda *c)
{
	struct neighbour_record r = { .kind = 0 };

	memcpy(r.device, c->device, sizeof(r.device));
	r.multiprocessors = (uint32_t)c->multiprocessors;
	return neighbour_send(fd, &r);
}

int neighbour_ctx(const struct neighbour_options *o, enum neighbour_mode mode,
		  struct mk_ctx **out)
{
	struct mk_ctx_params p = {
		.size = sizeof(p),
		.engine = "cuda",
		.device = o->device,
		.sm_count = o->sm_count,
		.workers = o->workers,
		.isolation = mode == NEIGHBOUR_PROCESS ?
				     MK_ISOLATION_PROCESS : MK_ISOLATION_NONE,
		.idle_ns = mode == NEIGHBOUR_PARK ? o->park_ns : MK_FOREVER,
	};
	int r = mk_ctx_create(&p, out);

	return r ? cli_library_error("neighbour", "the engine cuda", r), -1 :
		   0;
}

/* A slot's round trip, or 0 if there was none. */
static uint64_t ping(struct run *run)
{
	struct mk_completion c;
	struct mk_slot s;
	uint64_t begin;

	if (!run->queue)
		return 0;
	mk_slot_init(&s, MK_OP_NOP, 1);
	begin = mk_now_ns();
	if (mk_queue_call(run->queue, &s, &c, SLOT_NS))
		return 0;
	return mk_now_ns() - begin;
}

/* ---- the thread of the calls ---- */

static void *call_main(void *arg)
{
	struct run *run = arg;
	struct neighbour_call *c = &run->call;
	uint64_t begin;

	run->cuda.d.ctx_set(run->cuda.ctx);
	if (run->mode == NEIGHBOUR_PARK)
		ping(run); /* it is there, and about to be idle */
	begin = mk_now_ns();
	if (run->mode == NEIGHBOUR_QUIESCE) {
		c->quiesce = mk_ctx_quiesce(run->ctx, run->o->bound_ns);
		c->quiesce_ns = mk_now_ns() - begin;
		begin = mk_now_ns();
	}
	c->result = neighbour_cuda_call(&run->cuda, c->call);
	c->call_ns = mk_now_ns() - begin;
	if (run->mode == NEIGHBOUR_QUIESCE && !c->quiesce) {
		begin = mk_now_ns();
		mk_ctx_resume(run->ctx);
		c->resume_ns = mk_now_ns() - begin;
	}
	mk_store_release(&run->ended, 1);
	return NULL;
}

/* Wait for it so long; true: it has ended. */
static bool wait_for(struct run *run, uint64_t ns)
{
	uint64_t deadline = mk_deadline_after(ns);
	struct timespec nap = { 0, 20000 };

	while (!mk_load_acquire(&run->ended)) {
		if (!mk_time_left(deadline))
			return false;
		nanosleep(&nap, NULL);
	}
	return true;
}

/* It hangs: take the kernel away, and see whether that was why. */
static bool help(struct run *run)
{
	uint64_t begin = mk_now_ns(), quiesced, resumed;
	int r = mk_ctx_quiesce(run->ctx, run->o->bound_ns);
	bool ended;

	quiesced = mk_now_ns();
	ended = wait_for(run, STUCK_NS);
	resumed = mk_now_ns();
	if (!r)
		mk_ctx_resume(run->ctx);
	if (!ended)
		return false;
	run->call.quiesce = r;
	run->call.quiesce_ns = quiesced - begin;
	run->call.after_ns = resumed - quiesced;
	run->call.resume_ns = mk_now_ns() - resumed;
	return true;
}

/* How long until a call is said to block. Around quiesce and beside nothing
 * there is nobody to help it: as long as it takes. */
static uint64_t patience(const struct run *run)
{
	switch (run->mode) {
	case NEIGHBOUR_ALONE:
	case NEIGHBOUR_QUIESCE:
		return STUCK_NS;
	case NEIGHBOUR_PARK:
		return run->o->bound_ns + STUCK_NS / 5;
	default:
		return run->o->watch_ns;
	}
}

/* One call; what became of it is in run->call. False: it hangs for good. */
static bool make_call(struct run *run, unsigned number)
{
	pthread_t thread;
	uint32_t end = NEIGHBOUR_RETURNED;

	memset(&run->call, 0, sizeof(run->call));
	run->call.call = number;
	mk_store_release(&run->ended, 0);
	if (pthread_create(&thread, NULL, call_main, run))
		return false;
	if (!wait_for(run, patience(run)))
		end = run->ctx && run->mode != NEIGHBOUR_QUIESCE && help(run) ?
			      NEIGHBOUR_FREED : NEIGHBOUR_STUCK;
	if (end == NEIGHBOUR_STUCK)
		return false;
	pthread_join(thread, NULL);
	run->call.end = end;
	run->call.slot_ns = ping(run);
	return true;
}

/* ---- all of them ---- */

static int open_run(struct run *run, int fd)
{
	int code;

	if (neighbour_cuda_open(&run->cuda, run->o->device))
		return -1;
	neighbour_send_device(fd, &run->cuda);
	if (run->mode == NEIGHBOUR_ALONE)
		return 0;
	if (neighbour_ctx(run->o, run->mode, &run->ctx))
		return -1;
	code = mk_queue_create(run->ctx, NULL, &run->queue);
	if (code)
		return cli_library_error("neighbour", "a queue", code), -1;
	return ping(run) ? 0 : -1;
}

int neighbour_run_calls(const struct neighbour_options *o,
			enum neighbour_mode mode, unsigned first, int fd)
{
	static struct run run;
	struct neighbour_record r = { .kind = 1 };

	run.o = o;
	run.mode = mode;
	if (open_run(&run, fd))
		return CLI_USAGE;
	for (unsigned i = first; i < NEIGHBOUR_CALLS; i++) {
		bool there = make_call(&run, i);

		r.call = run.call;
		if (!there) {
			/* the thread may still write to its own record */
			memset(&r.call, 0, sizeof(r.call));
			r.call.call = i;
			r.call.end = NEIGHBOUR_STUCK;
		}
		if (neighbour_send(fd, &r) || !there)
			_exit(CLI_SOME_FAILED);
	}
	mk_ctx_destroy(run.ctx, SLOT_NS);
	return CLI_OK;
}
