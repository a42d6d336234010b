/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every memory order of the host is in this file. The order sits on the
 * variable, never on a stand-alone fence, so that ThreadSanitizer sees it.
 * A use says what it pairs with.
 *
 *   mk_load_relaxed, mk_store_relaxed  counters, hints, words of one writer
 *   mk_load_acquire / mk_store_release one side hands data to the other
 *   mk_load_seq / mk_store_seq         Dekker pairs: each side stores its own
 *   mk_add_seq ...                     word, then loads the other's; at least
 *                                      one of them sees the other's store
 */
#ifndef MK_ORDER_H
#define MK_ORDER_H

#include <stdbool.h>
#include <stdint.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#if defined(__SANITIZE_THREAD__)
#define MK_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MK_TSAN 1
#endif
#endif
#ifndef MK_TSAN
#define MK_TSAN 0
#endif

#define mk_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define mk_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define mk_load_seq(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)

#define mk_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define mk_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define mk_store_seq(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)

#define mk_add_relaxed(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define mk_add_acq_rel(p, v) __atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL)
#define mk_add_seq(p, v) __atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST)
#define mk_sub_seq(p, v) __atomic_fetch_sub((p), (v), __ATOMIC_SEQ_CST)
#define mk_or_seq(p, v) __atomic_fetch_or((p), (v), __ATOMIC_SEQ_CST)
#define mk_exchange_seq(p, v) __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)

/* Add to a counter that only this thread writes. */
#define mk_count(p, v) mk_store_relaxed((p), mk_load_relaxed(p) + (v))

/* On failure *expected has the current value. */
#define mk_cas_seq(p, expected, v)                                         \
	__atomic_compare_exchange_n((p), (expected), (v), true,            \
				    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)
#define mk_cas_relaxed(p, expected, v)                                     \
	__atomic_compare_exchange_n((p), (expected), (v), true,            \
				    __ATOMIC_RELAXED, __ATOMIC_RELAXED)

#if defined(__SSE2__)
/* The lower word of a vector as it stands in a register: mk_store_relaxed()
 * would take it through another register first. */
static inline void mk_store_relaxed_low(uint64_t *p, __m128i words)
{
#if MK_TSAN
	mk_store_relaxed(p, (uint64_t)_mm_cvtsi128_si64(words));
#else
	_mm_storel_epi64((void *)p, words);
#endif
}

/* The upper word, in the same way. */
static inline void mk_store_release_high(uint64_t *p, __m128i words)
{
#if MK_TSAN
	mk_store_release(p, (uint64_t)_mm_cvtsi128_si64(
				    _mm_unpackhi_epi64(words, words)));
#else
	/* x86 keeps the order of stores; the compiler has to keep it too */
	__asm__ volatile("movhps %1, %0" : "=m"(*p) : "x"(words) : "memory");
#endif
}
#endif

/* This line is about to be written, and may be another's: fetch it for that.
 * Harmless for any address. */
static inline void mk_fetch_to_write(const void *p)
{
#if defined(__x86_64__)
	/* the compiler's own needs a flag to be more than a fetch to read;
	 * processors without the instruction take it for a nop */
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

/* Tell the core that this is a spin loop. */
static inline void mk_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif
