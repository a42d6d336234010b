/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_vectors.h"

#include <stdlib.h>
#include <string.h>

void bench_vector_fill(float *x, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		x[i] = (float)(i % 7);
}

int bench_vector_verify(struct bench *b, const float *y, uint32_t n,
			uint64_t runs)
{
	for (uint32_t i = 0; i < n; i++)
		if (y[i] != (float)(i % 7) * (float)runs)
			return bench_fail(b, "element %u is %g after %llu "
					  "runs", i, (double)y[i],
					  (unsigned long long)runs);
	return 0;
}

int bench_vectors_open(struct bench *b, struct bench_vectors *v, uint32_t n)
{
	uint64_t bytes = (uint64_t)n * sizeof(*v->host);
	int r;

	memset(v, 0, sizeof(*v));
	v->n = n;
	v->host = malloc(bytes);
	if (!v->host)
		return bench_fail(b, "no memory");
	bench_vector_fill(v->host, n);
	r = mk_buffer_create(b->ctx, bytes, 0, &v->x);
	if (!r)
		r = mk_buffer_create(b->ctx, bytes, 0, &v->y);
	if (!r)
		r = mk_buffer_write(b->ctx, v->x, 0, v->host, bytes);
	return r ? bench_fail_library(b, "buffers", r) : 0;
}

int bench_vectors_verify(struct bench *b, struct bench_vectors *v)
{
	int r = mk_buffer_read(b->ctx, v->y, 0, v->host,
			       (uint64_t)v->n * sizeof(*v->host));

	if (r < 0)
		return bench_fail_library(b, "mk_buffer_read", r);
	return bench_vector_verify(b, v->host, v->n, v->runs);
}

void bench_vectors_close(struct bench *b, struct bench_vectors *v)
{
	if (v->x)
		mk_buffer_destroy(b->ctx, v->x, BENCH_WAIT_NS);
	if (v->y)
		mk_buffer_destroy(b->ctx, v->y, BENCH_WAIT_NS);
	free(v->host);
}
