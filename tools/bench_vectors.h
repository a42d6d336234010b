/* SPDX-License-Identifier: Apache-2.0 */
/* The vectors of y += x that the sections work on, and what is in them. */
#ifndef BENCH_VECTORS_H
#define BENCH_VECTORS_H

#include "bench_run.h"

struct bench_vectors {
	mk_buffer_t x, y; /* of b->ctx; y was zero */
	float *host;      /* n elements, of x or of y */
	uint32_t n;
	uint64_t runs;    /* how often x was added to y */
};

/* What x has, and what y has after so many runs of a factor of one; small
 * whole numbers are exact. */
void bench_vector_fill(float *x, uint32_t n);
int bench_vector_verify(struct bench *b, const float *y, uint32_t n,
			uint64_t runs);

/* 0 or -1; to be closed in either case. */
int bench_vectors_open(struct bench *b, struct bench_vectors *v, uint32_t n);
/* Read y, and verify it. */
int bench_vectors_verify(struct bench *b, struct bench_vectors *v);
void bench_vectors_close(struct bench *b, struct bench_vectors *v);

#endif
