/* SPDX-License-Identifier: Apache-2.0 */
/* Sleep on, and wake, a 32-bit word in memory that processes share. */
#ifndef MK_BASE_FUTEX_H
#define MK_BASE_FUTEX_H

#include <stdint.h>

/*
 * Sleep while *word == seen, at most timeout_ns (UINT64_MAX: no limit). May
 * return at any time: re-check. Returns 0, or -ETIMEDOUT.
 */
int mk_futex_wait(const uint32_t *word, uint32_t seen, uint64_t timeout_ns);

/* Wake up to `n` sleepers. */
void mk_futex_wake(uint32_t *word, int n);

#endif
