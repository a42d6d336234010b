/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The baselines' own way to the CUDA driver: found at run time, as the engine
 * finds it, but not the engine's. What a program without this library would
 * do, done as well as it can be: a context that spins, pinned memory, a
 * stream of its own, graphs that were uploaded.
 */
#ifndef BENCH_CUDA_H
#define BENCH_CUDA_H

#include "bench_run.h"
#include "cuda_calls.h"

struct bench_cuda {
	struct cuda_calls d;
	CUdevice device;
	bool retained;
	CUcontext ctx;
	CUstream stream;
	CUmodule module;
	CUfunction null, flag, saxpy;
	uint32_t large; /* elements of each large vector; 0: not known yet */

	/* what it is; "" where it is not known */
	char name[96], bus[32], nvrtc[32], driver_text[80];
	int multiprocessors, major, minor, version;
	/* what it took */
	uint64_t init_ns, context_ns, compile_ns, load_ns;
};

/*
 * Driver, device, context, kernels. 0 or -1 with the reason in `why`; free(3)
 * nothing, call bench_cuda_close() in either case.
 */
int bench_cuda_open(struct bench_cuda *c, uint32_t device, char *why,
		    size_t room);
void bench_cuda_close(struct bench_cuda *c);

/* 0, or -1 with what failed remembered and printed. */
int bench_cuda_check(struct bench *b, CUresult r, const char *what);

/* The steps of the set-up above, as rows. */
void bench_cuda_cold(struct bench *b);

/* Machine code for the device, free(3); or NULL with the reason in `why`.
 * Tells the compiler's version. */
void *bench_cuda_compile(const char *text, int major, int minor,
			 char version[32], char *why, size_t room);

/* Elements of each of two vectors, as large as is measured and fits. */
uint32_t bench_cuda_elements(struct bench *b);

/* A graph of n launches: one after the other, or independent. */
int bench_graph_make(struct bench *b, const struct cuda_node *node,
		     unsigned n, bool chain, CUgraphExec *out);

#endif
