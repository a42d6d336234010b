/* SPDX-License-Identifier: Apache-2.0 */
/* Set-up, the walk, and the threads of `map` and `scan`. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/order.h"
#include "crew.h"

#define RING_ENTRIES 4096u /* slots in flight at most */
#define SPIN_NS 2000u /* the cores have better to do than spin */
#define IDLE_NS 10000u
#define IDLE_AWAY_NS 50000000u /* parking leaves no core to others there */
#define GIVE_UP_NS 1000000000u /* for slots without an answer, at the end */

struct crew_thread {
	struct crew *crew;
	uint32_t index;
};

void crew_init(struct crew *c, const struct crew_ops *ops, uint32_t threads)
{
	pthread_condattr_t clock;

	memset(c, 0, sizeof(*c));
	c->ops = ops;
	c->threads = threads;
	pthread_mutex_init(&c->walk_lock, NULL);
	pthread_mutex_init(&c->reap_lock, NULL);
	pthread_mutex_init(&c->stop_lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&c->reap_cond, &clock);
	pthread_condattr_destroy(&clock);
	output_init(&c->out, STDOUT_FILENO);
	c->out_tty = isatty(STDOUT_FILENO);
}

int crew_connect(struct crew *c, const struct cli_engine *engine,
		 uint64_t shared_bytes)
{
	struct mk_queue_params queue = {
		.size = sizeof(queue),
		.entries = RING_ENTRIES,
		.spin_ns = SPIN_NS,
	};
	struct mk_ctx_params params = {
		.size = sizeof(params),
		.engine = engine->name,
		.isolation = engine->isolation,
		.workers = engine->workers,
		.idle_ns = IDLE_NS,
		.shared_bytes = shared_bytes,
	};
	int r;

	if (engine->name && strcmp(engine->name, "cpu") != 0)
		params.idle_ns = IDLE_AWAY_NS;
	r = mk_ctx_create(&params, &c->ctx);
	if (r < 0)
		return cli_library_error(c->ops->name, "no engine", r), -1;
	r = mk_queue_create(c->ctx, &queue, &c->queue);
	if (r < 0)
		return cli_library_error(c->ops->name, "no queue", r), -1;
	return 0;
}

int crew_walk(struct crew *c, char *const *paths, unsigned count)
{
	if (walk_init(&c->walk, paths, count) >= 0)
		return 0;
	cli_error(c->ops->name, "no memory to walk the directories");
	return -1;
}

void crew_disconnect(struct crew *c)
{
	/* all was answered, or what is left was given up */
	mk_ctx_destroy(c->ctx, GIVE_UP_NS);
}

void crew_close(struct crew *c)
{
	walk_free(&c->walk);
	free(c->path);
	pthread_mutex_destroy(&c->walk_lock);
	pthread_mutex_destroy(&c->reap_lock);
	pthread_mutex_destroy(&c->stop_lock);
	pthread_cond_destroy(&c->reap_cond);
}

int crew_take(struct crew *c, unsigned want, uint64_t *first)
{
	uint64_t room;
	int n = 0, r = 1;

	pthread_mutex_lock(&c->walk_lock);
	/* pairs with the store of who prints: the file's place is free */
	room = c->ops->window - (c->tail - mk_load_acquire(&c->head));
	if (want > room)
		want = (unsigned)room;
	*first = c->tail;
	while (n < (int)want && r > 0 && !c->walked) {
		r = walk_next(&c->walk,
			      c->ops->place(c, c->tail + (unsigned)n));
		if (r > 0)
			n++;
	}
	mk_store_release(&c->tail, c->tail + (unsigned)n);
	if (r <= 0)
		mk_store_release(&c->walked, 1);
	pthread_mutex_unlock(&c->walk_lock);
	if (r < 0)
		crew_stop(c, r, "walking: %s", mk_strerror(r));
	return !want ? -EAGAIN : n;
}

bool crew_finished(struct crew *c)
{
	/* walked is stored after the last store of tail */
	return mk_load_acquire(&c->walked) &&
	       mk_load_acquire(&c->head) == mk_load_acquire(&c->tail);
}

static void *run_thread(void *thread)
{
	struct crew_thread *t = thread;
	struct crew *c = t->crew;

	c->ops->work(c, t->index);
	for (;;) {
		uint64_t generation = crew_generation(c);

		if (crew_stopped(c) || crew_finished(c))
			return NULL;
		crew_wait(c, generation);
	}
}

void crew_run(struct crew *c, char *const *paths, unsigned count)
{
	struct crew_thread start[CREW_THREADS_MAX] = { { c, 0 } };
	pthread_t thread[CREW_THREADS_MAX];
	struct crew_progress *progress;
	uint32_t started = 0;

	c->started_ns = mk_now_ns();
	progress = crew_progress_begin(c, paths, count);
	for (uint32_t i = 1; i < c->threads; i++)
		start[i] = (struct crew_thread){ c, i };
	/* all but this one could be missing: this one can do it alone */
	while (started + 1 < c->threads &&
	       !pthread_create(&thread[started], NULL, run_thread,
			       &start[started]))
		started++;
	run_thread(&start[started]);
	while (started)
		pthread_join(thread[--started], NULL);
	c->ended_ns = mk_now_ns();
	crew_progress_end(progress);
}

void crew_note_losses(struct crew *c)
{
	struct mk_ctx_stats stats;

	if (c->fatal == -MK_EDEVLOST || mk_ctx_stats(c->ctx, &stats) < 0 ||
	    !stats.losses)
		return;
	cli_error(c->ops->name,
		  "the worker process was lost and replaced %llu time%s; what "
		  "it had in hand was done again",
		  (unsigned long long)stats.losses,
		  stats.losses == 1 ? "" : "s");
}
