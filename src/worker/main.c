/* SPDX-License-Identifier: Apache-2.0 */
/*
 * megakernel-worker: the process that hosts an engine. Started by
 * libmegakernel with a socket as descriptor 3; see serve.h.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/order.h"
#include "engine/cpu/guard.h"
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

/* Writing a core file would hold up who restarts us, for seconds: only for
 * those who ask for it. */
static void no_core(void)
{
	const char *wanted = getenv("MEGAKERNEL_WORKER_CORE");
	struct rlimit limit;

	if ((wanted && *wanted == '1') || getrlimit(RLIMIT_CORE, &limit))
		return;
	/* 1 and not 0: Linux takes that as a wish for none even where cores
	 * are piped to a program, to which no other limit applies */
	limit.rlim_cur = limit.rlim_max < 1 ? 0 : 1;
	setrlimit(RLIMIT_CORE, &limit);
}

static pid_t self;

/* What a handler forks ends when we do: it holds our descriptors, and with
 * them the shared memory. */
static void end_with_us(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != self)
		_exit(0); /* we ended first */
}

#if MK_TSAN
/*
 * What two slots share is in order if the caller saw the answer to the one
 * before it published the other. That goes through another process, where
 * ThreadSanitizer does not see it: here it cannot judge handlers. It does with
 * isolation none, where the same code runs.
 */
__attribute__((visibility("default")))
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "race:run_entry\n";
}
#endif

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
	no_core();
	mk_cpu_guard_process();
	prctl(PR_SET_NAME, "mk-worker");
	self = getpid();
	pthread_atfork(NULL, NULL, end_with_us);
	status = mk_serve_run(MK_WORKER_FD, mk_engine_find);
	if (status)
		fputs(MK_WORKER_PROGRAM " is started by libmegakernel\n",
		      stderr);
	return status;
}
