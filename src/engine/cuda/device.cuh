/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine under the kernel: lanes, loads and stores with their scope, and
 * fences. Every memory order of the device side is in this file.
 *
 * "host" loads and stores reach memory that the host shares; they are
 * volatile, which is relaxed at system scope and never cached in L1. "shared
 * words" lie in device memory and are read by other workers: gpu scope.
 *
 * tests/cuda/emulate.h has the same names for a CPU.
 */
#ifndef MK_CUDA_DEVICE_CUH
#define MK_CUDA_DEVICE_CUH

#define MKD_FN static __device__ __forceinline__
#define MKD_SLOW static __device__ __noinline__
/*
 * Room for a second block like it, of 256 threads: a multiprocessor has 65,536
 * registers and is divided by blocks, so an ordinary kernel beside this one
 * finds half of them, whatever the handlers would like to have.
 */
#define MKD_FIT (MKD_THREADS > 256 ? 1 : 2)
#define MKD_KERNEL \
	extern "C" __global__ __launch_bounds__(MKD_THREADS, MKD_FIT)
#define MKD_SHARED __shared__
#define MKD_TABLE extern "C" __device__
#define MKD_BYTES_OF(space, name) ((uint32_t)space::mk_bytes_##name)
#define MKD_WIDTH_OF(space, name) ((uint32_t)space::mk_width_##name)

/* How late the host's time may reach us; deadlines are looked at by a clock
 * that is ahead by this much rather than behind. */
#define MKD_CLOCK_MARGIN_NS 2000u

/* What takes longer shall not be done twice without a look at orders. */
#define MKD_LONG_NS 500000u

struct mkd_unit {
	uint32_t x, y, z, w;
};

/* ---- lanes ----------------------------------------------------------- */

#define MKD_ALL 0xffffffffu

MKD_FN uint32_t mkd_thread(void)
{
	return threadIdx.x;
}

MKD_FN uint32_t mkd_block(void)
{
	return blockIdx.x;
}

MKD_FN uint32_t mkd_blocks(void)
{
	return gridDim.x;
}

MKD_FN uint32_t mkd_ballot(bool yes)
{
	return __ballot_sync(MKD_ALL, yes);
}

MKD_FN uint32_t mkd_shfl(uint32_t v, uint32_t lane)
{
	return __shfl_sync(MKD_ALL, v, (int)lane);
}

MKD_FN uint64_t mkd_shfl64(uint64_t v, uint32_t lane)
{
	return __shfl_sync(MKD_ALL, (unsigned long long)v, (int)lane);
}

MKD_FN void mkd_syncwarp(void)
{
	__syncwarp();
}

/* All worker warps of the block; they count so many threads. */
MKD_FN void mkd_sync_workers(uint32_t threads)
{
	asm volatile("bar.sync 2, %0;" :: "r"(threads) : "memory");
}

/* All threads of the block, before any has ended. */
MKD_FN void mkd_sync_block(void)
{
	__syncthreads();
}

MKD_FN uint32_t mkd_lowest(uint32_t mask)
{
	return (uint32_t)__ffs((int)mask) - 1u;
}

MKD_FN uint32_t mkd_highest(uint32_t mask)
{
	return 31u - (uint32_t)__clz((int)mask);
}

MKD_FN uint32_t mkd_bits(uint32_t mask)
{
	return (uint32_t)__popc(mask);
}

/* ---- time ------------------------------------------------------------ */

MKD_FN void mkd_nap(uint32_t ns)
{
	__nanosleep(ns);
}

MKD_FN uint64_t mkd_time(void)
{
	uint64_t t;

	asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(t));
	return t;
}

/* ---- loads and stores ------------------------------------------------ */

/* 16 bytes in one access: see struct mk_wire_slot */
MKD_FN struct mkd_unit mkd_load16(uint64_t at)
{
	struct mkd_unit v;

	asm volatile("ld.volatile.global.v4.u32 {%0,%1,%2,%3}, [%4];"
		     : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
		     : "l"(at) : "memory");
	return v;
}

MKD_FN void mkd_store16(uint64_t at, struct mkd_unit v)
{
	asm volatile("st.volatile.global.v4.u32 [%0], {%1,%2,%3,%4};"
		     :: "l"(at), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
		     : "memory");
}

MKD_FN uint32_t mkd_load32(const uint32_t *at)
{
	uint32_t v;

	asm volatile("ld.volatile.global.u32 %0, [%1];"
		     : "=r"(v) : "l"(at) : "memory");
	return v;
}

MKD_FN uint64_t mkd_load64(const uint64_t *at)
{
	uint64_t v;

	asm volatile("ld.volatile.global.u64 %0, [%1];"
		     : "=l"(v) : "l"(at) : "memory");
	return v;
}

MKD_FN void mkd_store32(uint32_t *at, uint32_t v)
{
	asm volatile("st.volatile.global.u32 [%0], %1;"
		     :: "l"(at), "r"(v) : "memory");
}

MKD_FN void mkd_store64(uint64_t *at, uint64_t v)
{
	asm volatile("st.volatile.global.u64 [%0], %1;"
		     :: "l"(at), "l"(v) : "memory");
}

/* Release at the scope of the device. */
MKD_FN void mkd_store32_shared(uint32_t *at, uint32_t v)
{
	asm volatile("st.release.gpu.global.u32 [%0], %1;"
		     :: "l"(at), "r"(v) : "memory");
}

MKD_FN void mkd_store64_shared(uint64_t *at, uint64_t v)
{
	asm volatile("st.release.gpu.global.u64 [%0], %1;"
		     :: "l"(at), "l"(v) : "memory");
}

/* Release at system scope; also orders what lanes stored before a sync. */
MKD_FN void mkd_store32_release(uint32_t *at, uint32_t v)
{
	asm volatile("st.release.sys.global.u32 [%0], %1;"
		     :: "l"(at), "r"(v) : "memory");
}

/* ---- atomics on words in device memory; relaxed, gpu scope ------------- */

/*
 * In PTX, since the language's own work on any kind of address and look every
 * time which it is.
 */
MKD_FN uint64_t mkd_add64(uint64_t *at, uint64_t n)
{
	uint64_t was;

	asm volatile("atom.relaxed.gpu.global.add.u64 %0, [%1], %2;"
		     : "=l"(was) : "l"(at), "l"(n) : "memory");
	return was;
}

/* The same for whoever does not wait for the old word. */
MKD_FN void mkd_tally(uint64_t *at, uint64_t n)
{
	asm volatile("red.relaxed.gpu.global.add.u64 [%0], %1;"
		     :: "l"(at), "l"(n) : "memory");
}

MKD_FN uint32_t mkd_add32(uint32_t *at, uint32_t n)
{
	uint32_t was;

	asm volatile("atom.relaxed.gpu.global.add.u32 %0, [%1], %2;"
		     : "=r"(was) : "l"(at), "r"(n) : "memory");
	return was;
}

MKD_FN void mkd_or32(uint32_t *at, uint32_t bits)
{
	asm volatile("red.relaxed.gpu.global.or.b32 [%0], %1;"
		     :: "l"(at), "r"(bits) : "memory");
}

MKD_FN void mkd_and32(uint32_t *at, uint32_t bits)
{
	asm volatile("red.relaxed.gpu.global.and.b32 [%0], %1;"
		     :: "l"(at), "r"(bits) : "memory");
}

MKD_FN void mkd_or64(uint64_t *at, uint64_t bits)
{
	asm volatile("red.relaxed.gpu.global.or.b64 [%0], %1;"
		     :: "l"(at), "l"(bits) : "memory");
}

MKD_FN uint64_t mkd_swap64(uint64_t *at, uint64_t v)
{
	uint64_t was;

	asm volatile("atom.relaxed.gpu.global.exch.b64 %0, [%1], %2;"
		     : "=l"(was) : "l"(at), "l"(v) : "memory");
	return was;
}

/* Compare and swap; the old word. */
MKD_FN uint64_t mkd_cas64(uint64_t *at, uint64_t expected, uint64_t v)
{
	uint64_t was;

	asm volatile("atom.relaxed.gpu.global.cas.b64 %0, [%1], %2, %3;"
		     : "=l"(was) : "l"(at), "l"(expected), "l"(v) : "memory");
	return was;
}

MKD_FN uint32_t mkd_cas32(uint32_t *at, uint32_t expected, uint32_t v)
{
	uint32_t was;

	asm volatile("atom.relaxed.gpu.global.cas.b32 %0, [%1], %2, %3;"
		     : "=r"(was) : "l"(at), "r"(expected), "r"(v) : "memory");
	return was;
}

MKD_FN void mkd_max64(uint64_t *at, uint64_t v)
{
	asm volatile("red.relaxed.gpu.global.max.u64 [%0], %1;"
		     :: "l"(at), "l"(v) : "memory");
}

MKD_FN void mkd_min64(uint64_t *at, uint64_t v)
{
	asm volatile("red.relaxed.gpu.global.min.u64 [%0], %1;"
		     :: "l"(at), "l"(v) : "memory");
}

/* ---- shared memory of the block ---------------------------------------- */

MKD_FN uint32_t mkd_peek(const uint32_t *at)
{
	return *(const volatile uint32_t *)at;
}

MKD_FN void mkd_poke(uint32_t *at, uint32_t v)
{
	*(volatile uint32_t *)at = v;
}

MKD_FN uint32_t mkd_cas_shared(uint32_t *at, uint32_t expected, uint32_t v)
{
	return atomicCAS(at, expected, v);
}


MKD_FN void mkd_fence_block(void)
{
	__threadfence_block();
}

/* Who waits for the few stores of another. */
MKD_FN void mkd_relax(void)
{
}

/* ---- fences ------------------------------------------------------------ */

/* Sequentially consistent, gpu scope: Dekker pairs between workers. */
MKD_FN void mkd_fence(void)
{
	__threadfence();
}

/*
 * After the marks of a slot were read: what the host, or an earlier slot,
 * released is seen from here on. Without it L1 may hold what a buffer had
 * before.
 */
MKD_FN void mkd_acquire(void)
{
#if defined(__CUDACC_VER_MAJOR__) && \
	__CUDACC_VER_MAJOR__ * 100 + __CUDACC_VER_MINOR__ >= 1208
	asm volatile("fence.acquire.sys;" ::: "memory");
#else
	asm volatile("fence.acq_rel.sys;" ::: "memory");
#endif
}

/* Before an answer, if the slot wrote something. */
MKD_FN void mkd_release(void)
{
	asm volatile("fence.acq_rel.sys;" ::: "memory");
}

#endif
