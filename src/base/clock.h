/* SPDX-License-Identifier: Apache-2.0 */
/* Time and deadlines: CLOCK_MONOTONIC in nanoseconds. */
#ifndef MK_BASE_CLOCK_H
#define MK_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t mk_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A time-out from now on as an absolute time; saturates to "never". */
static inline uint64_t mk_deadline_after(uint64_t timeout_ns)
{
	uint64_t now = mk_now_ns();

	return timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
}

/* What is left until then; 0 if it has passed. */
static inline uint64_t mk_time_left(uint64_t deadline_ns)
{
	uint64_t now;

	if (deadline_ns == UINT64_MAX)
		return UINT64_MAX;
	now = mk_now_ns();
	return deadline_ns > now ? deadline_ns - now : 0;
}

#endif
