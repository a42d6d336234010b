/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors that the library keeps stay off 0, 1 and 2. A process may have
 * closed those, and whatever it prints then goes to whoever got the number:
 * with shared memory there, over the rings.
 */
#ifndef MK_BASE_FD_H
#define MK_BASE_FD_H

#include <stdint.h>

/*
 * The same file at `least` or above, close-on-exec; fd itself if it is there
 * already, else it is closed. Negative with errno set, as fd is, or if there
 * is no descriptor left.
 */
int mk_fd_above(int fd, int least);

/* mk_fd_above() for a descriptor that no standard stream may be. */
int mk_fd_keep(int fd);

/* The largest file that this process may make, a memfd too; UINT64_MAX: any.
 * Beyond it the kernel raises SIGXFSZ, which ends the process. */
uint64_t mk_file_size_limit(void);

#endif
