/* SPDX-License-Identifier: Apache-2.0 */
/* libuv: uv_queue_work(), whose ends come to the loop of the submitter. The
 * loop is polled for as long as the others spin, then it blocks. */
#include <stdio.h>
#include <stdlib.h>

#include <uv.h>

#include "peers.h"

struct state {
	uv_loop_t loop;
	uv_work_t work[HARNESS_WINDOW];
	uint32_t ended[HARNESS_WINDOW];
	uint64_t head, tail;
};

static void noop(uv_work_t *work)
{
	(void)work;
}

static void after(uv_work_t *work, int status)
{
	struct state *u = work->data;

	(void)status;
	u->ended[u->tail++ % HARNESS_WINDOW] = (uint32_t)(work - u->work);
}

static void uv_submit(void *state, const uint32_t *tags, unsigned n)
{
	struct state *u = state;

	for (unsigned i = 0; i < n; i++) {
		u->work[tags[i]].data = u;
		uv_queue_work(&u->loop, &u->work[tags[i]], noop, after);
	}
}

static unsigned uv_reap(void *state, uint32_t *tags, unsigned max)
{
	struct state *u = state;
	uint64_t until = 0;
	unsigned n = 0;

	while (u->head == u->tail) {
		uint64_t now = harness_now_ns();

		if (!until)
			until = now + HARNESS_SPIN_NS;
		uv_run(&u->loop, now < until ? UV_RUN_NOWAIT : UV_RUN_ONCE);
	}
	while (n < max && u->head != u->tail)
		tags[n++] = u->ended[u->head++ % HARNESS_WINDOW];
	return n;
}

static int uv_subject_run(const struct subject *s, unsigned workers,
			  void (*body)(void *state, void *arg), void *arg)
{
	static struct state u;
	char text[16];

	(void)s;
	/* read when the first work is queued */
	snprintf(text, sizeof(text), "%u", workers);
	setenv("UV_THREADPOOL_SIZE", text, 1);
	if (uv_loop_init(&u.loop)) {
		fprintf(stderr, "bench: uv_loop_init failed\n");
		return -1;
	}
	body(&u, arg);
	uv_run(&u.loop, UV_RUN_DEFAULT);
	uv_loop_close(&u.loop);
	return 0;
}

const struct subject peer_uv = {
	.name = "libuv uv_queue_work",
	.run = uv_subject_run,
	.submit = uv_submit,
	.reap = uv_reap,
};
