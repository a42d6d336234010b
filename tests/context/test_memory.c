/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No memory, no descriptor, no thread at any point of the life of a context:
 * fail the n-th request for every n. Each gives a code and a sentence, and
 * nothing is left behind.
 *
 * ctest-labels: oom
 * ctest-link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
 * ctest-link: -Wl,--wrap=aligned_alloc,--wrap=strdup,--wrap=free
 * ctest-link: -Wl,--wrap=mmap,--wrap=memfd_create,--wrap=fallocate
 * ctest-link: -Wl,--wrap=eventfd,--wrap=pthread_create
 */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#include "support/support.h"

static long until_failure = -1; /* requests; below 0: none fails */
static long live;               /* allocations of the armed thread */
static pthread_t armed;
static int counting;

static bool mine(void)
{
	return __atomic_load_n(&counting, __ATOMIC_RELAXED) &&
	       pthread_equal(armed, pthread_self());
}

static bool fails(void)
{
	return mine() && until_failure >= 0 && until_failure-- == 0;
}

static void *counted(void *p)
{
	if (p && mine())
		live++;
	return p;
}

#define WRAP(type, name, params, args, failure)                        \
	type __real_##name params;                                     \
	type __wrap_##name params;                                     \
	type __wrap_##name params                                      \
	{                                                              \
		if (fails()) {                                         \
			errno = failure;                               \
			return FAILED_##name;                          \
		}                                                      \
		return RESULT_##name(__real_##name args);              \
	}

#define FAILED_malloc NULL
#define FAILED_calloc NULL
#define FAILED_strdup NULL
#define FAILED_aligned_alloc NULL
#define FAILED_mmap ((void *)-1)
#define FAILED_memfd_create -1
#define FAILED_fallocate -1
#define FAILED_eventfd -1
#define FAILED_pthread_create EAGAIN
#define RESULT_malloc counted
#define RESULT_calloc counted
#define RESULT_strdup counted
#define RESULT_aligned_alloc counted
#define RESULT_mmap
#define RESULT_memfd_create
#define RESULT_fallocate
#define RESULT_eventfd
#define RESULT_pthread_create

WRAP(void *, malloc, (size_t bytes), (bytes), ENOMEM)
WRAP(void *, calloc, (size_t n, size_t bytes), (n, bytes), ENOMEM)
WRAP(char *, strdup, (const char *text), (text), ENOMEM)
WRAP(void *, aligned_alloc, (size_t to, size_t bytes), (to, bytes), ENOMEM)
WRAP(void *, mmap, (void *at, size_t bytes, int prot, int flags, int fd,
		    off_t offset), (at, bytes, prot, flags, fd, offset),
     ENOMEM)
WRAP(int, memfd_create, (const char *name, unsigned flags), (name, flags),
     EMFILE)
WRAP(int, eventfd, (unsigned value, int flags), (value, flags), EMFILE)
WRAP(int, pthread_create, (pthread_t *t, const pthread_attr_t *attr,
			   void *(*body)(void *), void *arg),
     (t, attr, body, arg), EAGAIN)

int __real_fallocate(int fd, int mode, off_t offset, off_t bytes);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t bytes);
/* Taking memory fails; giving it back does not. */
int __wrap_fallocate(int fd, int mode, off_t offset, off_t bytes)
{
	if (!mode && fails()) {
		errno = ENOSPC;
		return -1;
	}
	return __real_fallocate(fd, mode, offset, bytes);
}

void *__real_realloc(void *p, size_t bytes);
void *__wrap_realloc(void *p, size_t bytes);
void *__wrap_realloc(void *p, size_t bytes)
{
	void *q;

	if (fails())
		return NULL;
	q = __real_realloc(p, bytes);
	return p ? q : counted(q);
}

void __real_free(void *p);
void __wrap_free(void *p);
void __wrap_free(void *p)
{
	if (p && mine())
		live--;
	__real_free(p);
}

static int open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* A whole life. Returns the first failure, having undone everything. */
static int life(uint32_t isolation)
{
	struct mk_ctx_params p = support_params("cpu", isolation);
	struct mk_queue *q = NULL;
	struct mk_ctx *ctx = NULL;
	mk_buffer_t buffer = 0;
	char bytes[100] = "x";
	int r, fd;

	r = mk_ctx_create(&p, &ctx);
	if (r) {
		assert_null(ctx);
		return r;
	}
	r = mk_queue_create(ctx, NULL, &q);
	if (!r)
		r = mk_buffer_create(ctx, 100, 0, &buffer);
	if (!r)
		r = mk_buffer_write(ctx, buffer, 0, bytes, sizeof(bytes));
	if (!r) {
		fd = mk_queue_event_fd(q);
		r = fd < 0 ? fd : 0;
	}
	if (q) {
		/* what there is works, whatever failed beside it */
		struct mk_completion c;
		struct mk_slot slot;

		mk_slot_init(&slot, MK_OP_NOP, 1);
		slot.arg64[0] = 2;
		assert_int_equal(mk_queue_call(q, &slot, &c, SUPPORT_NS), 0);
		assert_int_equal(c.value, 2);
	}
	if (buffer)
		assert_int_equal(mk_buffer_destroy(ctx, buffer, SUPPORT_NS),
				 0);
	assert_int_equal(mk_queue_destroy(q, SUPPORT_NS), 0);
	assert_int_equal(mk_ctx_destroy(ctx, SUPPORT_NS), 0);
	return r;
}

static bool specific(int r)
{
	return r == -ENOMEM || r == -EMFILE || r == -EAGAIN ||
	       r == -MK_EWORKER;
}

static void sweep(uint32_t isolation)
{
	int files = open_files();

	for (long n = 0; n < 1000; n++) {
		long left;
		int r;

		armed = pthread_self();
		live = 0;
		until_failure = n;
		__atomic_store_n(&counting, 1, __ATOMIC_RELAXED);
		r = life(isolation);
		left = until_failure;
		__atomic_store_n(&counting, 0, __ATOMIC_RELAXED);
		until_failure = -1;
		assert_int_equal(live, 0);
		assert_int_equal(open_files(), files);
		if (left >= 0) {
			/* it came to its end before its n-th request */
			assert_int_equal(r, 0);
			assert_true(n > 5);
			return;
		}
		if (r) {
			assert_true(specific(r));
			assert_int_equal(mk_error_last()->code, r);
			assert_true(mk_error_last()->text[0]);
		}
	}
	fail();
}

static void none(void **state)
{
	(void)state;
	sweep(MK_ISOLATION_NONE);
}

static void process(void **state)
{
	(void)state;
	sweep(MK_ISOLATION_PROCESS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none),
		cmocka_unit_test(process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
