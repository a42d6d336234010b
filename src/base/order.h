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
