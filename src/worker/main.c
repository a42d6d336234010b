/* SPDX-License-Identifier: Apache-2.0 */
/*
 * megakernel-worker: the process that hosts an engine. Started by
 * libmegakernel with a socket as descriptor 3; see serve.h.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "worker/serve.h"
#include "worker/spawn.h"

/* No descriptor that we open may become somebody's stdin, stdout or stderr. */
static void fill_standard(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	int status;

	if (argc == 2 && !strcmp(argv[1], "--version")) {
		printf(MK_WORKER_PROGRAM " %s, ABI version %u, fingerprint "
		       "0x%08x\n",
		       mk_version(), MK_ABI_VERSION, (unsigned)MK_FINGERPRINT);
		return 0;
	}
	fill_standard();
	prctl(PR_SET_NAME, "mk-worker");
	status = mk_serve_run(MK_WORKER_FD, mk_engine_find);
	if (status)
		fputs(MK_WORKER_PROGRAM " is started by libmegakernel\n",
		      stderr);
	return status;
}
