/* SPDX-License-Identifier: Apache-2.0 */
/* A thread pool as textbooks have it: a list, a mutex, a condition. Twice: as
 * it is used, an item at a time; and with batches that take the lock once,
 * which textbooks leave out. The observer spins on the flag of its oldest
 * item, then yields. */
#include <pthread.h>
#include <stdio.h>

#include "peers.h"

#define WORKERS_MAX 256u

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work;
	uint32_t item[HARNESS_WINDOW];
	uint64_t head, tail;
	bool ending;
	struct harness_flags flags;
};

static void *pool_worker(void *arg)
{
	struct pool *p = arg;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		uint32_t tag;

		while (p->head == p->tail && !p->ending)
			pthread_cond_wait(&p->work, &p->lock);
		if (p->head == p->tail)
			break;
		tag = p->item[p->head++ % HARNESS_WINDOW];
		pthread_mutex_unlock(&p->lock);
		harness_noop(&p->flags.done[tag]);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static void pool_submit_batch(void *state, const uint32_t *tags, unsigned n)
{
	struct pool *p = state;

	for (unsigned i = 0; i < n; i++)
		harness_flags_push(&p->flags, tags[i]);
	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < n; i++)
		p->item[p->tail++ % HARNESS_WINDOW] = tags[i];
	pthread_mutex_unlock(&p->lock);
	if (n == 1)
		pthread_cond_signal(&p->work);
	else
		pthread_cond_broadcast(&p->work);
}

static void pool_submit(void *state, const uint32_t *tags, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		pool_submit_batch(state, &tags[i], 1);
}

static unsigned pool_reap(void *state, uint32_t *tags, unsigned max)
{
	struct pool *p = state;

	return harness_flags_wait(&p->flags, tags, max);
}

static int pool_run(const struct subject *s, unsigned workers,
		    void (*body)(void *state, void *arg), void *arg)
{
	static struct pool p;
	pthread_t thread[WORKERS_MAX];
	unsigned n = 0;

	(void)s;
	p = (struct pool){ .ending = false };
	pthread_mutex_init(&p.lock, NULL);
	pthread_cond_init(&p.work, NULL);
	while (n < workers && n < WORKERS_MAX &&
	       !pthread_create(&thread[n], NULL, pool_worker, &p))
		n++;
	if (n == workers)
		body(&p, arg);
	else
		fprintf(stderr, "bench: no threads for the pool\n");
	pthread_mutex_lock(&p.lock);
	p.ending = true;
	pthread_cond_broadcast(&p.work);
	pthread_mutex_unlock(&p.lock);
	for (unsigned i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
	pthread_cond_destroy(&p.work);
	pthread_mutex_destroy(&p.lock);
	return n == workers ? 0 : -1;
}

const struct subject peer_pool = {
	.name = "mutex and condition",
	.run = pool_run,
	.submit = pool_submit,
	.reap = pool_reap,
};

const struct subject peer_pool_batch = {
	.name = "mutex and condition, batched",
	.run = pool_run,
	.submit = pool_submit_batch,
	.reap = pool_reap,
};
