/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Once warm, submitting and reaping neither allocates nor enters the kernel:
 * an allocator that aborts and a filter that kills on any system call, and a
 * million slots.
 *
 * ctest-link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
 * ctest-link: -Wl,--wrap=aligned_alloc,--wrap=free,--wrap=strdup
 * ctest-link: -Wl,--wrap=mmap,--wrap=munmap
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/support.h"

#define SLOTS 1000000u
#define BATCH 32u

/* ---- the allocator ------------------------------------------------------ */

/* Set in the one thread that must not allocate. */
static _Thread_local bool pure;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void __real_free(void *p);
char *__real_strdup(const char *s);
void *__real_mmap(void *at, size_t n, int prot, int flags, int fd, off_t off);
int __real_munmap(void *at, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
void __wrap_free(void *p);
char *__wrap_strdup(const char *s);
void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t off);
int __wrap_munmap(void *at, size_t n);

static void look(void)
{
	if (pure)
		abort();
}

void *__wrap_malloc(size_t n)
{
	look();
	return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	look();
	return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	look();
	return __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
	look();
	return __real_aligned_alloc(align, n);
}

void __wrap_free(void *p)
{
	look();
	__real_free(p);
}

char *__wrap_strdup(const char *s)
{
	look();
	return __real_strdup(s);
}

void *__wrap_mmap(void *at, size_t n, int prot, int flags, int fd, off_t off)
{
	look();
	return __real_mmap(at, n, prot, flags, fd, off);
}

int __wrap_munmap(void *at, size_t n)
{
	look();
	return __real_munmap(at, n);
}

/* ---- the filter --------------------------------------------------------- */

/* From now on this thread may end the process, and nothing else. */
static int forbid(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = { 4, code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	/* without TSYNC: the workers may sleep and wake as they like */
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program))
		return -errno;
	return 0;
}

/* ---- the work ----------------------------------------------------------- */

struct count {
	uint64_t sent, back, bad;
};

/* False: the ring is full. */
static bool submit_some(struct mk_queue *q, struct count *c, unsigned n)
{
	struct mk_slot *s;
	int got = mk_queue_get(q, n, &s);

	for (int i = 0; i < got; i++, c->sent++) {
		mk_slot_init(&s[i], MK_OP_NOP, c->sent);
		s[i].arg64[0] = ~c->sent;
	}
	if (got > 0 && mk_queue_submit(q, s, (unsigned)got) != got)
		c->bad++;
	return got > 0;
}

static void reap_some(struct mk_queue *q, struct count *c)
{
	struct mk_completion out[BATCH];
	int n = mk_queue_reap(q, out, BATCH);

	for (int i = 0; i < n; i++)
		c->bad += out[i].result != 0 ||
			  out[i].value != ~out[i].user_data;
	c->back += n > 0 ? (unsigned)n : 0;
}

/* Batches, single slots, a full ring, an empty one. */
static void work(struct mk_queue *q, struct count *c, uint64_t slots)
{
	while (c->back < slots) {
		unsigned n = c->sent % 1000 < 900 ? BATCH : 1;
		bool room = true;

		if (n > slots - c->sent)
			n = (unsigned)(slots - c->sent);
		if (n)
			room = submit_some(q, c, n);
		if (c->sent % 4096 > 2048 || !n || !room)
			reap_some(q, c);
	}
}

/* The child: 0, or what was wrong. */
static int run(uint32_t isolation)
{
	struct mk_ctx_params p = support_params("cpu", isolation);
	struct mk_queue_params qp = { .size = sizeof(qp), .entries = 1024 };
	struct count c = { .sent = 0 };
	struct mk_queue *q;
	struct mk_ctx *ctx;

	p.idle_ns = MK_FOREVER; /* never parks: nobody has to be woken */
	p.workers = 1;
	if (mk_ctx_create(&p, &ctx) || mk_queue_create(ctx, &qp, &q))
		return 2;
	work(q, &c, 10000);
	if (forbid())
		return 77;
	pure = true;
	work(q, &c, SLOTS);
	return c.bad || c.sent != SLOTS || c.back != SLOTS ? 3 : 0;
}

static void pure_run(uint32_t isolation)
{
	int status;
	pid_t pid;

	if (SUPPORT_SANITIZED) {
		print_message("a sanitizer allocates and enters the kernel\n");
		skip();
	}
	pid = fork();
	if (!pid) {
		alarm(60);
		_exit(run(isolation));
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		print_message("seccomp is not permitted here\n");
		skip();
	}
	if (WIFSIGNALED(status))
		fail_msg("signal %d: %s", WTERMSIG(status),
			 WTERMSIG(status) == SIGSYS ? "a system call" :
			 WTERMSIG(status) == SIGABRT ? "an allocation" :
						       "a crash");
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void none(void **state)
{
	(void)state;
	pure_run(MK_ISOLATION_NONE);
}

static void process(void **state)
{
	(void)state;
	pure_run(MK_ISOLATION_PROCESS);
}

/* The nets catch something: each on its own kills. */
static int died(bool allocate)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (allocate) {
			void *volatile p;

			pure = true;
			p = malloc(1);
			(void)p;
		} else if (!forbid()) {
			getppid();
		} else {
			_exit(77);
		}
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void nets(void **state)
{
	int status = died(true);

	(void)state;
	if (SUPPORT_SANITIZED)
		skip();
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	status = died(false);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nets),
		cmocka_unit_test(none),
		cmocka_unit_test(process),
	};

	return cmocka_run_group_tests_name("queue/purity", tests, NULL, NULL);
}
