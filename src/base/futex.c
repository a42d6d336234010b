/* SPDX-License-Identifier: Apache-2.0 */
#include "base/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int mk_futex_wait(const uint32_t *word, uint32_t seen, uint64_t timeout_ns)
{
	struct timespec t, *limit = NULL;
	int saved = errno;
	int r = 0;

	if (timeout_ns != UINT64_MAX) {
		t.tv_sec = (time_t)(timeout_ns / 1000000000u);
		t.tv_nsec = (long)(timeout_ns % 1000000000u);
		limit = &t;
	}
	if (syscall(SYS_futex, word, FUTEX_WAIT, seen, limit, NULL, 0) < 0 &&
	    errno == ETIMEDOUT)
		r = -ETIMEDOUT;
	errno = saved;
	return r;
}

void mk_futex_wake(uint32_t *word, int n)
{
	int saved = errno;

	syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);
	errno = saved;
}
