/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No memory, no descriptor, no thread at any point: the n-th request fails,
 * for every n, from making a context to its end. Each time there is a specific
 * error, what was there before still works, and nothing is leaked.
 *
 * ctest-labels: oom
 * ctest-timeout: 300
 * ctest-link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
 * ctest-link: -Wl,--wrap=aligned_alloc,--wrap=strdup,--wrap=free
 * ctest-link: -Wl,--wrap=mmap,--wrap=memfd_create,--wrap=ftruncate
 * ctest-link: -Wl,--wrap=fallocate,--wrap=eventfd,--wrap=pthread_create
 * ctest-link: -Wl,--wrap=socketpair,--wrap=posix_spawn,--wrap=fcntl
 * ctest-link: -Wl,--wrap=fopen,--wrap=dlopen,--wrap=pipe2,--wrap=open
 * ctest-link: -Wl,--wrap=mkdtemp
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/support.h"

/* ---- the n-th fails ----------------------------------------------------- */

/* Only requests of the thread that armed it count. */
static _Thread_local bool armed;
static unsigned asked, fail_at;
static const char *failed; /* what did, NULL: nothing yet */

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

/* ---- what is allocated -------------------------------------------------- */

#define LIVE_MAX 8192u

static pthread_mutex_t live_lock = PTHREAD_MUTEX_INITIALIZER;
static void *live[LIVE_MAX];
static unsigned live_count;

static void *born(void *p)
{
	pthread_mutex_lock(&live_lock);
	for (unsigned i = 0; p && i < LIVE_MAX; i++)
		if (!live[i]) {
			live[i] = p;
			live_count++;
			break;
		}
	pthread_mutex_unlock(&live_lock);
	return p;
}

static void died(void *p)
{
	pthread_mutex_lock(&live_lock);
	for (unsigned i = 0; p && i < LIVE_MAX; i++)
		if (live[i] == p) {
			live[i] = NULL;
			live_count--;
			break;
		}
	pthread_mutex_unlock(&live_lock);
}

/* ---- the wrappers ------------------------------------------------------- */

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
	void *q;

	if (fails("realloc"))
		return NULL;
	died(p);
	q = __real_realloc(p, n);
	return born(q);
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
	died(p);
	__real_free(p);
}

/* Fail with an errno. */
static int no(int error)
{
	errno = error;
	return -1;
}

WRAP(void *, mmap, void *at, size_t n, int prot, int flags, int fd, off_t off)
{
	if (fails("mmap"))
		return no(ENOMEM), MAP_FAILED;
	return __real_mmap(at, n, prot, flags, fd, off);
}

WRAP(int, memfd_create, const char *name, unsigned flags)
{
	return fails("memfd_create") ? no(EMFILE) :
				       __real_memfd_create(name, flags);
}

WRAP(int, ftruncate, int fd, off_t n)
{
	return fails("ftruncate") ? no(ENOSPC) : __real_ftruncate(fd, n);
}

WRAP(int, fallocate, int fd, int mode, off_t at, off_t n)
{
	return fails("fallocate") ? no(ENOSPC) :
				    __real_fallocate(fd, mode, at, n);
}

WRAP(int, eventfd, unsigned value, int flags)
{
	return fails("eventfd") ? no(EMFILE) : __real_eventfd(value, flags);
}

WRAP(int, pthread_create, pthread_t *t, const pthread_attr_t *attr,
     void *(*run)(void *), void *arg)
{
	return fails("pthread_create") ?
		       EAGAIN : __real_pthread_create(t, attr, run, arg);
}

WRAP(int, socketpair, int domain, int type, int protocol, int fds[2])
{
	return fails("socketpair") ?
		       no(EMFILE) :
		       __real_socketpair(domain, type, protocol, fds);
}

WRAP(int, posix_spawn, pid_t *pid, const char *path,
     const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr,
     char *const argv[], char *const envp[])
{
	return fails("posix_spawn") ? ENOMEM :
				      __real_posix_spawn(pid, path, actions,
							 attr, argv, envp);
}

WRAP(FILE *, fopen, const char *path, const char *mode)
{
	return fails("fopen") ? (no(EMFILE), NULL) : __real_fopen(path, mode);
}

WRAP(void *, dlopen, const char *path, int flags)
{
	return fails("dlopen") ? NULL : __real_dlopen(path, flags);
}

WRAP(int, pipe2, int fds[2], int flags)
{
	return fails("pipe2") ? no(EMFILE) : __real_pipe2(fds, flags);
}

WRAP(char *, mkdtemp, char *path)
{
	return fails("mkdtemp") ? (no(ENOSPC), NULL) : __real_mkdtemp(path);
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
	va_list ap;
	int mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, int) : 0;
	va_end(ap);
	return fails("open") ? no(EMFILE) : __real_open(path, flags, mode);
}

int __real_fcntl(int fd, int op, ...);
int __wrap_fcntl(int fd, int op, ...);
int __wrap_fcntl(int fd, int op, ...)
{
	va_list ap;
	long arg;

	va_start(ap, op);
	arg = va_arg(ap, long);
	va_end(ap);
	if (op == F_DUPFD_CLOEXEC && fails("fcntl(F_DUPFD)"))
		return no(EMFILE);
	if (op == F_ADD_SEALS && fails("fcntl(F_ADD_SEALS)"))
		return no(EBUSY);
	return __real_fcntl(fd, op, arg);
}

/* ---- a life ------------------------------------------------------------- */

static const char module_source[] =
	"#include <megakernel/handler.h>\n"
	"MK_HANDLER(seven, struct mk_none)\n"
	"{ (void)task; (void)args; return 7; }\n";

struct life {
	uint32_t isolation;
	bool module;
	struct mk_ctx *ctx;
	struct mk_queue *q;
	mk_buffer_t buffer;
	uint16_t seven;
};

/* The codes that running out of something may give. */
static void is_shortage(int code)
{
	const struct mk_error *e = mk_error_last();

	assert_int_equal(e->code, code);
	assert_true(strlen(e->text) > 10);
	assert_true(e->operation[0]);
	switch (-code) {
	case ENOMEM:
	case EMFILE:
	case EAGAIN:
	case ENOSPC:
	case EBUSY:
		return;
	case MK_EMODULE: /* the loader does not say why */
		if (!strcmp(failed, "dlopen"))
			return;
		/* fall through */
	default:
		fail_msg("%s failed: %s: %s", failed, mk_code_name(code),
			 e->text);
	}
}

/* A step's result: 0, or the shortage that we made. */
static bool good(int r)
{
	if (!r)
		return true;
	assert_non_null(failed);
	is_shortage(r);
	return false;
}

static void works(struct life *l)
{
	struct mk_op_copy copy = { mk_buffer_ref(l->buffer),
				   mk_buffer_ref(l->buffer), 0, 64, 64 };

	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(support_call(l->q, MK_OP_NOP, NULL,
					      0).result, 0);
	if (l->buffer)
		assert_int_equal(support_call(l->q, MK_OP_COPY, &copy,
					      sizeof(copy)).result, 0);
	if (l->seven)
		assert_int_equal(support_call(l->q, l->seven, NULL, 0).result,
				 7);
}

static int load(struct life *l)
{
	struct mk_handler_info info;
	int r = mk_module_load_source(l->ctx, "seven.c", module_source, 0,
				      NULL);

	if (r)
		return r;
	assert_int_equal(mk_handler_find(l->ctx, "seven", &info), 0);
	l->seven = info.opcode;
	return 0;
}

/* As far as it goes; whatever fails, what there is works on. */
static void begin(struct life *l)
{
	struct mk_ctx_params p = support_params("cpu", l->isolation);
	struct mk_queue_params qp = { .size = sizeof(qp), .entries = 16 };
	struct mk_ctx *ctx = (void *)l;
	struct mk_queue *q = (void *)l;
	mk_buffer_t b = 99;

	p.recovery = MK_RECOVERY_OFF;
	p.cache_dir = getenv("XDG_CACHE_HOME");
	p.compiler = getenv("CC");
	if (!good(mk_ctx_create(&p, &ctx))) {
		assert_ptr_equal(ctx, l);
		return;
	}
	l->ctx = ctx;
	if (good(mk_queue_create(ctx, &qp, &q)))
		l->q = q;
	else
		assert_ptr_equal(q, l);
	if (l->q && mk_queue_event_fd(l->q) < 0)
		good(mk_error_last()->code);
	if (good(mk_buffer_create(ctx, 5000, MK_BUFFER_MIRRORED, &b)))
		l->buffer = b;
	else
		assert_int_equal(b, 99);
	if (l->buffer)
		good(mk_buffer_checkpoint(ctx, b));
	if (l->module)
		good(load(l));
	if (l->q)
		works(l);
}

static void end(struct life *l)
{
	if (!l->ctx)
		return;
	/* nothing of the end can fail for want of anything */
	if (l->buffer)
		assert_int_equal(mk_buffer_destroy(l->ctx, l->buffer,
						   SUPPORT_NS), 0);
	if (l->q)
		assert_int_equal(mk_queue_destroy(l->q, SUPPORT_NS), 0);
	assert_int_equal(mk_ctx_destroy(l->ctx, SUPPORT_NS), 0);
	armed = false;
}

struct ground {
	unsigned live, fds, threads;
};

static struct ground ground(void)
{
	struct ground g = { live_count, support_fds(), support_threads() };

	return g;
}

static char place[] = "/tmp/mk-oom.XXXXXX";

static void no_leak(const struct ground *g)
{
	if (live_count != g->live)
		fail_msg("%s failed: %d allocations are left", failed,
			 (int)(live_count - g->live));
	if (support_fds() != g->fds)
		fail_msg("%s failed: a descriptor is left", failed);
	if (rmdir(place) || mkdir(place, 0700))
		fail_msg("%s failed: a temporary directory is left", failed);
	support_threads_most(g->threads);
	assert_int_equal(support_children(), 0);
}

static void sweep(uint32_t isolation, bool module)
{
	struct life first = { .isolation = isolation, .module = module };
	struct ground g;
	unsigned n = 0;

	/* what is made once stays: the cache, a sanitizer's thread */
	begin(&first);
	end(&first);
	g = ground();
	do {
		struct life l = { .isolation = isolation, .module = module };

		arm(++n);
		begin(&l);
		end(&l);
		no_leak(&g);
		assert_true(n < 1000);
	} while (failed);
	print_message("%u requests failed, one at a time\n", n - 1);
	assert_true(n > 10);
}

static void none(void **state)
{
	(void)state;
	sweep(MK_ISOLATION_NONE, false);
}

static void process(void **state)
{
	(void)state;
	sweep(MK_ISOLATION_PROCESS, false);
}

static void module_none(void **state)
{
	(void)state;
	sweep(MK_ISOLATION_NONE, true);
}

static void module_process(void **state)
{
	(void)state;
	sweep(MK_ISOLATION_PROCESS, true);
}

/* ---- bringing a context back -------------------------------------------- */

static void lose(struct mk_ctx *ctx)
{
	uint64_t limit = support_now() + SUPPORT_NS;
	struct mk_ctx_info info;
	struct mk_error e;

	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	assert_int_equal(kill(info.worker_pid, SIGKILL), 0);
	while (!mk_ctx_error(ctx, &e)) {
		assert_true(support_now() < limit);
		support_sleep(SUPPORT_MS);
	}
}

/* A recovery that fails leaves the context lost; the next one succeeds. */
static void recovery(void **state)
{
	struct ground g = ground();
	unsigned n = 0;

	(void)state;
	do {
		struct life l = { .isolation = MK_ISOLATION_PROCESS,
				  .module = true };
		struct mk_error e;

		begin(&l);
		lose(l.ctx);
		arm(++n);
		if (!good(mk_ctx_recover(l.ctx, SUPPORT_NS))) {
			armed = false;
			assert_int_equal(mk_ctx_error(l.ctx, &e), 1);
			assert_int_equal(e.code, -MK_EDEVLOST);
			assert_int_equal(mk_ctx_recover(l.ctx, SUPPORT_NS), 0);
		}
		armed = false;
		works(&l);
		end(&l);
		no_leak(&g);
		assert_true(n < 1000);
	} while (failed);
	assert_true(n > 2);
}

/* Compilations get a place of their own, where nothing may be left. */
static int make_place(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(place));
	return setenv("TMPDIR", place, 1);
}

static int remove_place(void **state)
{
	(void)state;
	return rmdir(place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none),
		cmocka_unit_test(process),
		cmocka_unit_test(module_none),
		cmocka_unit_test(module_process),
		cmocka_unit_test(recovery),
	};

	return cmocka_run_group_tests_name("context/oom", tests, make_place,
					   remove_place);
}
