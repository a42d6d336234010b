/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

int mk_fd_above(int fd, int least)
{
	int moved, e;

	if (fd < 0 || fd >= least)
		return fd;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, least);
	e = errno;
	close(fd);
	errno = e;
	return moved;
}

int mk_fd_keep(int fd)
{
	return mk_fd_above(fd, STDERR_FILENO + 1);
}

uint64_t mk_file_size_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit) ||
	    limit.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	return limit.rlim_cur;
}
