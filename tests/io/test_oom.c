/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No memory, no descriptor, no thread at any point: the n-th request fails, for
 * every n, from making a service or a stream to its end. Each time there is an
 * error, what was there before still works, and nothing is leaked.
 *
 * ctest-labels: oom
 * ctest-link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
 * ctest-link: -Wl,--wrap=aligned_alloc,--wrap=strdup,--wrap=free
 * ctest-link: -Wl,--wrap=eventfd,--wrap=pthread_create,--wrap=fcntl
 * ctest-link: -Wl,--wrap=fallocate
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <megakernel/io.h>
#include <megakernel/stream.h>

#include "support/support.h"

static const char source[] =
	"#include <megakernel/chunk.h>\n"
	"MK_HANDLER(none, struct mk_stream_args)\n"
	"{ (void)task; return (int32_t)args->pieces; }\n";

/* Only requests of the thread that armed it count. */
static _Thread_local bool armed;
static unsigned asked, fail_at;
static const char *failed; /* what did; NULL: nothing yet */
static int live;           /* allocations of all threads */

static bool fails(const char *what)
{
	if (!armed || ++asked != fail_at)
		return false;
	failed = what;
	armed = false;
	return true;
}

static void arm(unsigned n)
{
	asked = 0;
	fail_at = n;
	failed = NULL;
	armed = true;
}

static void *born(void *p)
{
	__atomic_fetch_add(&live, p != NULL, __ATOMIC_RELAXED);
	return p;
}

#define WRAP(type, name, ...)            \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

WRAP(void *, malloc, size_t n)
{
	return fails("malloc") ? NULL : born(__real_malloc(n));
}

WRAP(void *, calloc, size_t n, size_t size)
{
	return fails("calloc") ? NULL : born(__real_calloc(n, size));
}

WRAP(void *, realloc, void *p, size_t n)
{
	if (fails("realloc"))
		return NULL;
	__atomic_fetch_add(&live, p == NULL, __ATOMIC_RELAXED);
	return __real_realloc(p, n);
}

WRAP(void *, aligned_alloc, size_t align, size_t n)
{
	return fails("aligned_alloc") ? NULL :
					born(__real_aligned_alloc(align, n));
}

WRAP(char *, strdup, const char *s)
{
	return fails("strdup") ? NULL : born(__real_strdup(s));
}

WRAP(void, free, void *p)
{
	__atomic_fetch_sub(&live, p != NULL, __ATOMIC_RELAXED);
	__real_free(p);
}

static int no(int error)
{
	errno = error;
	return -1;
}

WRAP(int, eventfd, unsigned value, int flags)
{
	return fails("eventfd") ? no(EMFILE) : __real_eventfd(value, flags);
}

WRAP(int, fallocate, int fd, int mode, off_t at, off_t n)
{
	return fails("fallocate") ? no(ENOSPC) :
				    __real_fallocate(fd, mode, at, n);
}

WRAP(int, pthread_create, pthread_t *t, const pthread_attr_t *attr,
     void *(*run)(void *), void *arg)
{
	return fails("pthread_create") ?
		       EAGAIN : __real_pthread_create(t, attr, run, arg);
}

int __real_fcntl(int fd, int command, int arg);
int __wrap_fcntl(int fd, int command, int arg);
int __wrap_fcntl(int fd, int command, int arg)
{
	return command == F_DUPFD_CLOEXEC && fails("fcntl") ?
		       no(EMFILE) : __real_fcntl(fd, command, arg);
}

/* ---- what is tried ------------------------------------------------------ */

/* 0 if all went well, or the first code. */
static int one_stream(struct mk_ctx *ctx, uint32_t flags, const char *path)
{
	struct mk_stream_params p = { .size = sizeof(p), .handler = "none",
				      .flags = flags, .chunks = 2,
				      .chunk_bytes = 4096,
				      .overlap_bytes = 8, .result_bytes = 8,
				      .pieces_max = 4 };
	struct mk_stream_chunk c;
	unsigned pieces = 0;
	struct mk_stream *s;
	int fd, r, added = 0;

	r = mk_stream_create(ctx, &p, &s);
	if (r)
		return r;
	r = mk_stream_add_path(s, path, 0);
	added += !r;
	fd = open(path, O_RDONLY);
	if (!r) {
		r = mk_stream_add_fd(s, fd, 1);
		added += !r;
	}
	close(fd);
	assert_int_equal(mk_stream_end(s), 0);
	while (mk_stream_next(s, &c, SUPPORT_NS) > 0) {
		for (unsigned i = 0; i < c.pieces; i++)
			pieces += (c.piece[i].flags & MK_PIECE_LAST) != 0;
		assert_int_equal(mk_stream_release(s, &c), 0);
	}
	assert_int_equal(pieces, added);
	assert_int_equal(mk_stream_destroy(s, SUPPORT_NS), 0);
	return r;
}

static int one_service(struct mk_ctx *ctx, uint32_t flags, const char *path)
{
	struct mk_io_params p = { .size = sizeof(p), .flags = flags,
				  .entries = 4 };
	int fd, r;
	struct mk_io *io;
	uint32_t index;

	r = mk_io_create(ctx, &p, &io);
	if (r)
		return r;
	fd = open(path, O_RDONLY);
	r = mk_io_file_add(io, fd, MK_IO_MAY_READ, &index);
	close(fd);
	assert_int_equal(mk_io_destroy(io, SUPPORT_NS), 0);
	return r;
}

/* With every n until nothing fails any more. */
static void sweep(int (*one)(struct mk_ctx *, uint32_t, const char *),
		  uint32_t flags)
{
	char path[] = "/tmp/mk-oom-XXXXXX";
	struct mk_ctx *ctx = support_ctx("cpu", MK_ISOLATION_NONE);
	int fd = mkstemp(path), before;
	unsigned n = 1, fds;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 10000), 0);
	close(fd);
	assert_int_equal(mk_module_load_source(ctx, "none.c", source, 0, NULL),
			 0);
	assert_int_equal(one(ctx, flags, path), 0); /* tables have grown */
	before = __atomic_load_n(&live, __ATOMIC_RELAXED);
	fds = support_fds();
	for (;; n++) {
		int r;

		arm(n);
		r = one(ctx, flags, path);
		armed = false;
		if (r) {
			assert_non_null(failed);
			assert_true(r < 0);
			assert_int_equal(mk_error_last()->code, r);
			assert_true(mk_error_last()->text[0] != '\0');
		}
		assert_int_equal(__atomic_load_n(&live, __ATOMIC_RELAXED),
				 before);
		assert_int_equal(support_fds(), fds);
		if (!failed)
			break;
	}
	assert_true(n > 5);
	assert_int_equal(one(ctx, flags, path), 0);
	unlink(path);
	support_ctx_end(ctx);
}

static void test_streams(void **state)
{
	(void)state;
	sweep(one_stream, 0);
	sweep(one_stream, MK_STREAM_CALLER);
	sweep(one_stream, MK_STREAM_NO_URING);
}

static void test_services(void **state)
{
	(void)state;
	sweep(one_service, 0);
	sweep(one_service, MK_IO_THREAD);
	sweep(one_service, MK_IO_NO_URING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_services),
	};

	return cmocka_run_group_tests_name("io: nothing left", tests, NULL,
					   NULL);
}
