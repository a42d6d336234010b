/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks of one resident buffer, that files are read into. The one that was
 * freed last is handed out first: it is still in a cache. */
#include <errno.h>
#include <stdlib.h>

#include "base/order.h"
#include "map_run.h"

/* A thread holds up to three; the others are in the engine's hands. */
#define CHUNKS_A_THREAD 12u

int map_buffer_create(struct map *m, uint64_t bytes, uint32_t flags,
		      mk_buffer_t *out)
{
	int r = mk_buffer_create(m->crew.ctx, bytes, flags, out);

	if (r < 0)
		return r;
	m->allocated += bytes;
	m->allocations++;
	return r;
}

uint64_t map_pool_bytes(uint32_t threads)
{
	return (uint64_t)threads * CHUNKS_A_THREAD * MAP_CHUNK_BYTES;
}

int map_pool_open(struct map *m)
{
	struct map_pool *p = &m->pool;
	void *memory = NULL;
	int r;

	p->count = CHUNKS_A_THREAD * m->crew.threads;
	/* files are read to where handlers find them, whatever the engine */
	r = map_buffer_create(m, map_pool_bytes(m->crew.threads),
			      MK_BUFFER_HOST, &p->buffer);
	if (r >= 0)
		r = mk_buffer_map(m->crew.ctx, p->buffer, &memory);
	if (r < 0)
		return r;
	p->memory = memory;
	p->chunk = calloc(p->count, sizeof(*p->chunk));
	if (!p->chunk)
		return -ENOMEM;
	for (uint32_t i = 0; i < p->count; i++)
		p->chunk[i].next = i + 1 < p->count ? i + 1 : MAP_NO_CHUNK;
	p->free = 0;
	return 0;
}

void map_pool_close(struct map *m)
{
	free(m->pool.chunk);
}

uint32_t map_pool_get(struct map_pool *p)
{
	uint32_t chunk;

	pthread_mutex_lock(&p->lock);
	chunk = p->free;
	if (chunk != MAP_NO_CHUNK) {
		p->free = p->chunk[chunk].next;
		p->chunk[chunk].references = 1;
	}
	pthread_mutex_unlock(&p->lock);
	return chunk;
}

void map_pool_hold(struct map_pool *p, uint32_t chunk)
{
	mk_add_relaxed(&p->chunk[chunk].references, 1);
}

void map_pool_drop(struct map_pool *p, uint32_t chunk)
{
	/* the last one to let go comes after all reads of the chunk */
	if (mk_add_acq_rel(&p->chunk[chunk].references, (uint32_t)-1) != 1)
		return;
	pthread_mutex_lock(&p->lock);
	p->chunk[chunk].next = p->free;
	p->free = chunk;
	pthread_mutex_unlock(&p->lock);
}
