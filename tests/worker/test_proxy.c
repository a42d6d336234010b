/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine in another process, and what becomes of both when one ends, goes
 * silent or lies. The worker program is this program, started with
 * $MK_TEST_WORKER set to how it shall behave.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "worker/proxy.h"
#include "worker/serve.h"
#include "worker/spawn.h"

#include "stub_engine.h"

#define NS_PER_S 1000000000ull
#define LONG_NS (60 * NS_PER_S) /* never reached unless something hangs */
#define MODE_ENV "MK_TEST_WORKER"

static char self[PATH_MAX];

/* ---- the worker's side ------------------------------------------------ */

static void evil_send(const void *data, size_t bytes, int fd)
{
	mk_channel_send(MK_WORKER_FD, data, bytes, fd, UINT64_MAX);
}

/* Answers to requests that were made before this one, without end. */
static void evil_flood(struct mk_answer *a)
{
	a->head.sequence--;
	while (!mk_channel_send(MK_WORKER_FD, a, a->head.bytes, -1,
				UINT64_MAX))
		;
}

/* Answer in the manner of `mode`. */
static void evil_answer(const char *mode, struct mk_answer *a, size_t n)
{
	static char big[2 * sizeof(struct mk_answer)];

	if (!strcmp(mode, "noise"))
		evil_send(memset(big, 0xa5, sizeof(big)), 100, -1);
	else if (!strcmp(mode, "short"))
		evil_send(a, 3, -1);
	else if (!strcmp(mode, "empty"))
		evil_send(a, 0, -1);
	else if (!strcmp(mode, "long"))
		evil_send(memcpy(big, a, n), sizeof(big), -1);
	else if (!strcmp(mode, "fds"))
		evil_send(a, n, MK_WORKER_FD);
	else if (!strcmp(mode, "flood"))
		evil_flood(a);
	else if (!strcmp(mode, "shut"))
		shutdown(MK_WORKER_FD, SHUT_RDWR);
	else if (!strcmp(mode, "op"))
		a->head.op = MK_MESSAGE_RESUME + 1;
	else if (!strcmp(mode, "future"))
		a->head.sequence++;
	else if (!strcmp(mode, "positive"))
		a->head.result = 1;
	else if (!strcmp(mode, "abi"))
		a->head.fingerprint ^= 1;
	else if (!strcmp(mode, "code"))
		a->error.code = -MK_EFULL;
	else if (!strcmp(mode, "name"))
		memset(a->handlers[1].name, 'x', MK_HANDLER_NAME_BYTES);
	else if (!strcmp(mode, "many")) {
		a->head.count++;
		a->head.bytes += (uint32_t)sizeof(a->handlers[0]);
	} else if (!strcmp(mode, "text")) {
		a->head.result = a->error.code = -MK_EFULL;
		a->head.count = 0;
		a->head.bytes = MK_OFFSETOF(struct mk_answer, handlers);
		memset(a->error.text, 'x', sizeof(a->error.text));
		memset(a->error.operation, 'y', sizeof(a->error.operation));
	}
	/* those above that sent something have been found out by then */
	evil_send(a, a->head.bytes, -1);
}

/* A worker that opens as it should, and lies from then on. */
static int evil_main(const char *mode)
{
	static struct mk_serve serve;
	struct mk_packet p = { .data = &serve.in, .room = sizeof(serve.in) };
	bool from_start = !strncmp(mode, "hello-", 6);
	size_t n;

	mk_serve_init(&serve, stub_find);
	while (!mk_channel_recv(MK_WORKER_FD, &p, UINT64_MAX)) {
		n = mk_serve_packet(&serve, &p);
		if (!strcmp(mode, "hello-exit"))
			_exit(7);
		if (!strcmp(mode, "hello-silent"))
			continue;
		if (serve.done)
			return 0;
		if (from_start)
			evil_answer(mode + 6, &serve.out, n);
		else if (serve.in.head.op == MK_MESSAGE_HELLO)
			evil_send(&serve.out, n, -1);
		else
			evil_answer(mode, &serve.out, n);
	}
	if (!strcmp(from_start ? mode + 6 : mode, "shut"))
		for (;;)
			pause(); /* the socket is down, the process is not */
	return 0;
}

static int worker_main(const char *mode)
{
	alarm(100); /* if a test fails and leaves us behind */
	if (!strcmp(mode, "serve"))
		return mk_serve_run(MK_WORKER_FD, stub_find);
	return evil_main(mode);
}

/* ---- the caller's side ------------------------------------------------ */

static int count_entries(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;

	if (!d)
		return -1;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static bool has_children(void)
{
	siginfo_t info;

	return !waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) ||
	       errno != ECHILD;
}

struct rig {
	struct mk_region region;
	struct mk_engine *engine;
	int fds, threads; /* before */
	uint64_t commands;
	pthread_mutex_t lock;
	pthread_cond_t told;
	int losses;
	struct mk_error why;
};

static void on_lost(void *arg, const struct mk_error *why)
{
	struct rig *rig = arg;

	pthread_mutex_lock(&rig->lock);
	rig->losses++;
	rig->why = *why;
	pthread_cond_broadcast(&rig->told);
	pthread_mutex_unlock(&rig->lock);
}

static void rig_init(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	rig->fds = count_entries("/proc/self/fd");
	rig->threads = count_entries("/proc/self/task");
	pthread_mutex_init(&rig->lock, NULL);
	pthread_cond_init(&rig->told, NULL);
	stub_region(&rig->region, STUB_TOTAL, STUB_SEALS);
}

static int rig_open(struct rig *rig, const char *mode, uint64_t command_ns)
{
	struct mk_proxy_params params = {
		.engine = "stub",
		.worker_path = self,
		.command_ns = command_ns,
		.commands = &rig->commands,
		.lost = on_lost,
		.arg = rig,
	};
	struct mk_engine_config config;

	stub_config(&config);
	setenv(MODE_ENV, mode, 1);
	return mk_proxy_open(&params, &config, &rig->region, &rig->engine);
}

/* Nothing is left: no descriptor, no thread, no child, no zombie. */
static void rig_fini(struct rig *rig, int losses)
{
	stub_region_free(&rig->region);
	assert_int_equal(rig->losses, losses);
	pthread_cond_destroy(&rig->told);
	pthread_mutex_destroy(&rig->lock);
	assert_int_equal(count_entries("/proc/self/fd"), rig->fds);
	assert_false(has_children());
	/* a joined thread may stay in the list for an instant */
	for (int i = 0; i < 3000; i++) {
		if (count_entries("/proc/self/task") == rig->threads)
			return;
		usleep(1000);
	}
	fail_msg("a thread is left");
}

static void rig_close(struct rig *rig, int losses)
{
	assert_int_equal(mk_engine_proxy.close(rig->engine, LONG_NS), 0);
	rig_fini(rig, losses);
}

/* Wait until lost() was called. */
static void rig_await_loss(struct rig *rig)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += 30;
	pthread_mutex_lock(&rig->lock);
	while (!rig->losses)
		if (pthread_cond_timedwait(&rig->told, &rig->lock, &t))
			break;
	pthread_mutex_unlock(&rig->lock);
	assert_int_equal(rig->losses, 1);
	assert_int_equal(rig->why.code, -MK_EDEVLOST);
}

static int order(struct rig *rig, uint32_t id)
{
	return mk_engine_proxy.module_close(rig->engine, id, 0);
}

/* Wait until the worker has begun its nth call. */
static void await_entered(const struct rig *rig, uint32_t n)
{
	const struct stub_record *r = stub_record(&rig->region);

	for (int i = 0; i < 30000; i++) {
		/* pairs with the stub's store-release */
		if (mk_load_acquire(&r->entered) >= n)
			return;
		usleep(1000);
	}
	fail_msg("the worker does not come to its call %u", n);
}

/* ---- begin, commands, end --------------------------------------------- */

static void test_open_close(void **state)
{
	struct rig rig;
	struct stub_record *r;

	(void)state;
	rig_init(&rig);
	r = stub_record(&rig.region);
	assert_int_equal(rig_open(&rig, "serve", LONG_NS), 0);
	assert_true(mk_proxy_pid(rig.engine) > 0);
	assert_int_equal(kill(mk_proxy_pid(rig.engine), 0), 0);
	assert_int_equal(r->started, 1);
	assert_int_equal(r->config.windows, STUB_WINDOWS);
	assert_int_equal(r->config.total_bytes, STUB_TOTAL);
	assert_int_equal(mk_engine_proxy.start(rig.engine), 0);
	assert_int_equal(mk_engine_proxy.close(rig.engine, 1234567), 0);
	/* it was asked, and not killed: the engine saw the time-out */
	assert_int_equal(r->op, MK_MESSAGE_CLOSE);
	assert_int_equal(r->target.timeout_ns, 1234567);
	rig_fini(&rig, 0);
}

static void check_queue_ops(struct rig *rig, int event)
{
	struct stub_record *r = stub_record(&rig->region);
	struct mk_engine *e = rig->engine;
	struct mk_queue_desc q;
	struct stat st;

	fstat(event, &st);
	stub_queue(&q);
	assert_int_equal(mk_engine_proxy.queue_attach(e, &q, -1), 0);
	assert_memory_equal(&r->queue, &q, sizeof(q));
	assert_int_equal(r->fd, -1);
	assert_int_equal(mk_engine_proxy.queue_attach(e, &q, rig->region.fd),
			 0);
	fstat(rig->region.fd, &st);
	assert_int_equal(r->fd_inode, st.st_ino);
	assert_int_equal(mk_engine_proxy.queue_event_fd(e, 7, event), 0);
	assert_true(r->fd >= 0);
	assert_int_equal(r->target.index, 7);
	assert_int_equal(mk_engine_proxy.queue_event_fd(e, 7, -1), 0);
	assert_int_equal(r->fd, -1);
	assert_int_equal(mk_engine_proxy.queue_detach(e, 9, 77), 0);
	assert_int_equal(r->op, MK_MESSAGE_QUEUE_DETACH);
	assert_int_equal(r->target.index, 9);
	assert_int_equal(r->target.timeout_ns, 77);
}

static void check_buffer_ops(struct rig *rig)
{
	struct stub_record *r = stub_record(&rig->region);
	struct mk_engine *e = rig->engine;
	struct mk_buffer_desc b;

	stub_buffer(&b);
	assert_int_equal(mk_engine_proxy.buffer_attach(e, &b), 0);
	assert_memory_equal(&r->buffer, &b, sizeof(b));
	assert_int_equal(mk_engine_proxy.buffer_detach(e, 5, 99), 0);
	assert_int_equal(r->target.index, 5);
	assert_int_equal(r->target.timeout_ns, 99);
	assert_int_equal(mk_engine_proxy.buffer_copy(e, 5, 1, STUB_SHARED, 3,
						     true), 0);
	assert_int_equal(r->copy.offset, 1);
	assert_int_equal(r->copy.staging, STUB_SHARED);
	assert_int_equal(r->copy.bytes, 3);
	assert_int_equal(r->copy.to_device, 1);
}

static void check_module_ops(struct rig *rig)
{
	static struct mk_handler_info info[MK_OPCODES];
	static struct mk_opcode_map map[MK_OPCODES];
	struct mk_module_desc m = { .id = 300, .fd = rig->region.fd };
	struct stub_record *r = stub_record(&rig->region);
	struct mk_engine *e = rig->engine;
	unsigned count = 0;

	assert_int_equal(mk_engine_proxy.module_open(e, &m, info, MK_OPCODES,
						     &count), 0);
	assert_int_equal(count, MK_OPCODES);
	assert_string_equal(info[255].name, "h255");
	assert_int_equal(info[255].arg_bytes, 48);
	m.id = 2;
	assert_int_equal(mk_engine_proxy.module_open(e, &m, info, 1, &count),
			 0);
	assert_int_equal(count, 1);
	for (unsigned i = 0; i < MK_OPCODES; i++) {
		snprintf(map[i].name, sizeof(map[i].name), "m%u", i);
		map[i].opcode = i;
	}
	assert_int_equal(mk_engine_proxy.module_bind(e, 2, map, MK_OPCODES),
			 0);
	assert_int_equal(r->count, MK_OPCODES);
	assert_string_equal(r->map[1].name, "m255");
	assert_int_equal(mk_engine_proxy.module_bind(e, 2, NULL, 0), 0);
	assert_int_equal(r->count, 0);
	assert_int_equal(mk_engine_proxy.module_close(e, STUB_OK, 5), 0);
	assert_int_equal(r->target.timeout_ns, 5);
	m.table = (const void *)&m; /* never looked into */
	assert_int_equal(mk_engine_proxy.module_open(e, &m, info, 1, &count),
			 -EOPNOTSUPP);
}

/* Each command reaches the engine with what it was given. */
static void test_commands(void **state)
{
	int event = eventfd(0, EFD_CLOEXEC);
	struct stub_record *r;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	r = stub_record(&rig.region);
	assert_int_equal(rig_open(&rig, "serve", LONG_NS), 0);
	check_queue_ops(&rig, event);
	check_buffer_ops(&rig);
	check_module_ops(&rig);
	assert_int_equal(mk_engine_proxy.pause(rig.engine, 11), 0);
	assert_int_equal(r->op, MK_MESSAGE_PAUSE);
	assert_int_equal(mk_engine_proxy.resume(rig.engine), 0);
	assert_int_equal(r->op, MK_MESSAGE_RESUME);
	/* each call of the engine was one message, and there was the hello */
	assert_int_equal(rig.commands, r->entered + 1);
	rig_close(&rig, 0);
	close(event);
}

/* An engine's failure arrives with its words; a silent one gets some. */
static void test_words(void **state)
{
	struct rig rig;
	struct mk_queue_desc q;

	(void)state;
	rig_init(&rig);
	assert_int_equal(rig_open(&rig, "serve", LONG_NS), 0);
	assert_int_equal(order(&rig, STUB_WORDS), -MK_ECLASH);
	assert_int_equal(mk_error_last()->code, -MK_ECLASH);
	assert_int_equal(mk_error_last()->native, 17);
	assert_string_equal(mk_error_last()->operation, "stub_words");
	assert_string_equal(mk_error_last()->text, "the words of the stub");
	assert_int_equal(order(&rig, STUB_SILENT), -MK_ENOHANDLER);
	assert_string_equal(mk_error_last()->text,
			    mk_strerror(MK_ENOHANDLER));
	/* what the library itself gets wrong is refused there as well */
	stub_queue(&q);
	q.block_offset = STUB_SHARED;
	assert_int_equal(mk_engine_proxy.queue_attach(rig.engine, &q, -1),
			 -MK_EPROTO);
	assert_int_equal(order(&rig, STUB_OK), 0);
	rig_close(&rig, 0);
}

static void test_many_cycles(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(rig_open(&rig, "serve", LONG_NS), 0);
		assert_int_equal(order(&rig, STUB_OK), 0);
		if (i % 2)
			mk_proxy_kill(rig.engine);
		else
			assert_int_equal(mk_engine_proxy.close(rig.engine,
							       LONG_NS), 0);
		assert_false(has_children());
	}
	rig_fini(&rig, 0);
}

/* The worker gets nothing of the caller's but stderr. */
static void test_clean_start(void **state)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN }, old;
	sigset_t term, mask;
	struct rig rig;

	(void)state;
	assert_int_equal(dup2(STDERR_FILENO, STUB_FOREIGN_FD),
			 STUB_FOREIGN_FD);
	sigaction(SIGINT, &ignore, &old);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, &mask);
	rig_init(&rig);
	assert_int_equal(rig_open(&rig, "serve", LONG_NS), 0);
	assert_int_equal(stub_record(&rig.region)->foreign_fd, 0);
	assert_int_equal(stub_record(&rig.region)->ignored, 0);
	assert_int_equal(stub_record(&rig.region)->blocked, 0);
	assert_int_equal(getsid(mk_proxy_pid(rig.engine)),
			 mk_proxy_pid(rig.engine));
	rig_close(&rig, 0);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	sigaction(SIGINT, &old, NULL);
	close(STUB_FOREIGN_FD);
}

/* ---- a start that fails ----------------------------------------------- */

static void expect_no_open(struct rig *rig, const char *mode,
			   uint64_t command_ns, int code, const char *word)
{
	int r = rig_open(rig, mode, command_ns);

	if (r != code || !strstr(mk_error_last()->text, word))
		fail_msg("%s: %d, \"%s\"", mode, r, mk_error_last()->text);
	assert_int_equal(mk_error_last()->code, code);
	assert_false(has_children());
}

static void test_no_start(void **state)
{
	struct mk_context_block *b;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	expect_no_open(&rig, "hello-exit", LONG_NS, -MK_EWORKER,
		       "exited with status 7");
	expect_no_open(&rig, "hello-silent", NS_PER_S / 10, -MK_EWORKER,
		       "did not answer");
	expect_no_open(&rig, "hello-noise", LONG_NS, -MK_EPROTO, "magic");
	expect_no_open(&rig, "hello-abi", LONG_NS, -MK_EABI, "fingerprint");
	expect_no_open(&rig, "hello-shut", LONG_NS, -MK_EWORKER, "socket");
	b = (struct mk_context_block *)rig.region.base;
	b->header.abi++;
	expect_no_open(&rig, "serve", LONG_NS, -MK_EABI, "ABI version");
	b->header.abi--;
	b->workers_offset = STUB_SHARED;
	expect_no_open(&rig, "serve", LONG_NS, -MK_ESHARED, "worker blocks");
	rig_fini(&rig, 0);
}

static void test_region_not_sealed(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	stub_region_free(&rig.region);
	stub_region(&rig.region, STUB_TOTAL, F_SEAL_GROW);
	expect_no_open(&rig, "serve", LONG_NS, -MK_ESHARED, "not sealed");
	stub_region_free(&rig.region);
	stub_region(&rig.region, STUB_TOTAL + 4096, STUB_SEALS);
	expect_no_open(&rig, "serve", LONG_NS, -MK_ESHARED, "the message says");
	rig_fini(&rig, 0);
}

/* Programs that are none of ours, and engines that are not there. */
static void test_wrong_program(void **state)
{
	struct mk_proxy_params params = { .engine = "stub",
					  .command_ns = LONG_NS,
					  .lost = on_lost };
	struct mk_engine_config config;
	struct mk_engine *e;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	stub_config(&config);
	params.worker_path = "/nowhere/at/all";
	assert_int_equal(mk_proxy_open(&params, &config, &rig.region, &e),
			 -MK_EWORKER);
	assert_non_null(strstr(mk_error_last()->text, "/nowhere/at/all"));
	params.worker_path = "/bin/false";
	assert_int_equal(mk_proxy_open(&params, &config, &rig.region, &e),
			 -MK_EWORKER);
	assert_non_null(strstr(mk_error_last()->text, "status 1"));
	params.worker_path = "/";
	assert_int_equal(mk_proxy_open(&params, &config, &rig.region, &e),
			 -MK_EWORKER);
	params.worker_path = self;
	params.engine = "no-such";
	setenv(MODE_ENV, "serve", 1);
	assert_int_equal(mk_proxy_open(&params, &config, &rig.region, &e),
			 -MK_EENGINE);
	params.engine = "a name that is longer than any engine's";
	assert_int_equal(mk_proxy_open(&params, &config, &rig.region, &e),
			 -MK_EENGINE);
	rig_fini(&rig, 0);
}

static void test_find(void **state)
{
	char path[PATH_MAX], small[8];
	char *old = getenv(MK_WORKER_ENV);

	(void)state;
	old = old ? strdup(old) : NULL;
	assert_int_equal(mk_spawn_find(self, path, sizeof(path)), 0);
	assert_string_equal(path, self);
	assert_int_equal(mk_spawn_find(self, small, sizeof(small)),
			 -MK_EWORKER);
	setenv(MK_WORKER_ENV, self, 1);
	assert_int_equal(mk_spawn_find(NULL, path, sizeof(path)), 0);
	assert_string_equal(path, self);
	assert_int_equal(mk_spawn_find("/nowhere", path, sizeof(path)),
			 -MK_EWORKER);
	setenv(MK_WORKER_ENV, "/nowhere/else", 1);
	assert_int_equal(mk_spawn_find(NULL, path, sizeof(path)),
			 -MK_EWORKER);
	assert_non_null(strstr(mk_error_last()->text, "/nowhere/else"));
	assert_non_null(strstr(mk_error_last()->text, MK_WORKER_ENV));
	/* without the variable: beside this program, or told where not */
	unsetenv(MK_WORKER_ENV);
	if (mk_spawn_find(NULL, path, sizeof(path))) {
		assert_int_equal(mk_error_last()->code, -MK_EWORKER);
		assert_non_null(strstr(mk_error_last()->text,
				       "/" MK_WORKER_PROGRAM ", "));
		assert_non_null(strstr(mk_error_last()->text,
				       "$" MK_WORKER_ENV));
	} else {
		assert_int_equal(access(path, X_OK), 0);
	}
	if (old)
		setenv(MK_WORKER_ENV, old, 1);
	free(old);
}

/* Fewer and fewer descriptors: an error that says so, nothing lost. */
static void test_no_descriptors(void **state)
{
	struct rlimit old, low;
	bool failed = false, opened = false;
	struct rig rig;
	rlim_t n;
	int r;

	(void)state;
	rig_init(&rig);
	getrlimit(RLIMIT_NOFILE, &old);
	low = old;
	for (n = (rlim_t)rig.region.fd; !opened; n++) {
		assert_true(n < (rlim_t)rig.region.fd + 32);
		low.rlim_cur = n;
		setrlimit(RLIMIT_NOFILE, &low);
		r = rig_open(&rig, "serve", LONG_NS);
		setrlimit(RLIMIT_NOFILE, &old);
		if (!r) {
			mk_proxy_kill(rig.engine);
			opened = true;
			continue;
		}
		/* so few that the worker could not even be loaded: its end */
		assert_true(r == -EMFILE || r == -MK_EWORKER);
		failed |= r == -EMFILE;
		assert_false(has_children());
	}
	assert_true(failed);
	rig_fini(&rig, 0);
}

/* ---- the worker dies -------------------------------------------------- */

static void expect_death(uint32_t how, int native, const char *words)
{
	char pid[32];
	struct rig rig;

	rig_init(&rig);
	assert_int_equal(rig_open(&rig, "serve", LONG_NS), 0);
	/* in the middle of a command */
	assert_int_equal(order(&rig, how), -MK_EDEVLOST);
	assert_non_null(strstr(mk_error_last()->text, words));
	assert_int_equal(mk_error_last()->native, native);
	rig_await_loss(&rig);
	assert_string_equal(rig.why.operation, "worker");
	assert_non_null(strstr(rig.why.text, words));
	assert_int_equal(rig.why.native, native);
	snprintf(pid, sizeof(pid), " %d ", mk_proxy_pid(rig.engine));
	assert_non_null(strstr(rig.why.text, pid));
	/* it was reaped at once, before anybody asked */
	assert_false(has_children());
	/* and stays lost */
	assert_int_equal(order(&rig, STUB_OK), -MK_EDEVLOST);
	assert_non_null(strstr(mk_error_last()->text, words));
	rig_close(&rig, 1);
}

static void test_death(void **state)
{
	(void)state;
	expect_death(STUB_SIGKILL, SIGKILL, "killed by signal 9 (Killed)");
	expect_death(STUB_SIGSEGV, SIGSEGV,
		     "killed by signal 11 (Segmentation fault)");
	expect_death(STUB_EXIT, 7, "exited with status 7");
}

/* With no command in flight: lost() comes by itself. */
static void test_death_idle(void **state)
{
	struct mk_error why;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	assert_int_equal(rig_open(&rig, "serve", LONG_NS), 0);
	assert_false(mk_proxy_gone(rig.engine, &why));
	kill(mk_proxy_pid(rig.engine), SIGKILL);
	rig_await_loss(&rig);
	assert_int_equal(rig.why.native, SIGKILL);
	assert_true(mk_proxy_gone(rig.engine, &why));
	assert_string_equal(why.text, rig.why.text);
	assert_false(has_children());
	mk_proxy_kill(rig.engine);
	rig_fini(&rig, 1);
}

struct in_flight {
	struct rig *rig;
	int result;
	struct mk_error error;
};

static void *in_flight_main(void *arg)
{
	struct in_flight *f = arg;

	f->result = order(f->rig, STUB_HANG);
	f->error = *mk_error_last();
	return NULL;
}

/* Killed from outside while another thread waits for an answer. */
static void test_death_in_flight(void **state)
{
	struct in_flight f;
	pthread_t thread;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	assert_int_equal(rig_open(&rig, "serve", LONG_NS), 0);
	f.rig = &rig;
	pthread_create(&thread, NULL, in_flight_main, &f);
	await_entered(&rig, 1);
	kill(mk_proxy_pid(rig.engine), SIGTERM);
	pthread_join(thread, NULL);
	assert_int_equal(f.result, -MK_EDEVLOST);
	assert_non_null(strstr(f.error.text, "signal 15 (Terminated)"));
	rig_await_loss(&rig);
	rig_close(&rig, 1);
}

/* An end that was asked for is no loss, however it comes. */
static void test_death_expected(void **state)
{
	struct rig rig;

	(void)state;
	for (int i = 0; i < 8; i++) {
		rig_init(&rig);
		assert_int_equal(rig_open(&rig, "serve", LONG_NS), 0);
		if (i % 2)
			kill(mk_proxy_pid(rig.engine), SIGSTOP);
		mk_proxy_kill(rig.engine);
		rig_fini(&rig, 0);
	}
}

/* The caller's process reaps every child itself, or lets the kernel. */
static void test_reaped_by_others(void **state)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN }, old;
	struct rig rig;

	(void)state;
	sigaction(SIGCHLD, &ignore, &old);
	rig_init(&rig);
	assert_int_equal(rig_open(&rig, "serve", LONG_NS), 0);
	assert_int_equal(order(&rig, STUB_SIGKILL), -MK_EDEVLOST);
	rig_await_loss(&rig);
	assert_non_null(strstr(rig.why.text, "how is not known"));
	rig_close(&rig, 1);
	rig_init(&rig);
	assert_int_equal(rig_open(&rig, "serve", LONG_NS), 0);
	rig_close(&rig, 0);
	sigaction(SIGCHLD, &old, NULL);
}

/* ---- the worker is silent --------------------------------------------- */

/* Repeat a command until it was answered; with a bound. */
static void order_until_answered(struct rig *rig, uint32_t id)
{
	int r = -ETIME;

	for (int i = 0; i < 100 && r == -ETIME; i++)
		r = order(rig, id);
	assert_int_equal(r, 0);
}

static void test_time_out(void **state)
{
	struct stub_record *r;
	struct rig rig;
	uint32_t entered;

	(void)state;
	rig_init(&rig);
	r = stub_record(&rig.region);
	/* long enough to open even on a slow machine */
	assert_int_equal(rig_open(&rig, "serve", 2 * NS_PER_S), 0);
	entered = r->entered;
	assert_int_equal(order(&rig, STUB_WAIT), -ETIME);
	assert_non_null(strstr(mk_error_last()->text, "command_ns"));
	/* behind it, one that is never begun: we have given it up by then */
	assert_int_equal(order(&rig, STUB_SIGKILL), -ETIME);
	mk_store_release(&r->release, 1); /* pairs with the stub's acquire */
	/* past two late answers */
	order_until_answered(&rig, STUB_OK);
	assert_int_equal(r->target.index, STUB_OK);
	assert_true(r->entered >= entered + 2);
	rig_close(&rig, 0);
}

static void test_stopped(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	assert_int_equal(rig_open(&rig, "serve", 2 * NS_PER_S), 0);
	kill(mk_proxy_pid(rig.engine), SIGSTOP);
	assert_int_equal(mk_engine_proxy.pause(rig.engine, 1000), -ETIME);
	kill(mk_proxy_pid(rig.engine), SIGCONT);
	order_until_answered(&rig, STUB_OK);
	/* one that does not end is killed at the deadline */
	kill(mk_proxy_pid(rig.engine), SIGSTOP);
	assert_int_equal(mk_engine_proxy.close(rig.engine, 1000), 0);
	rig_fini(&rig, 0);
}

/* Closed while a command hangs in the engine. */
static void test_close_hung(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	assert_int_equal(rig_open(&rig, "serve", 2 * NS_PER_S), 0);
	assert_int_equal(order(&rig, STUB_HANG), -ETIME);
	assert_int_equal(mk_engine_proxy.close(rig.engine, 0), 0);
	rig_fini(&rig, 0);
}

/* ---- the worker lies -------------------------------------------------- */

static int ask(struct rig *rig)
{
	struct mk_module_desc m = { .id = 2, .fd = rig->region.fd };
	struct mk_handler_info info[2];
	unsigned count = 0;

	return mk_engine_proxy.module_open(rig->engine, &m, info, 2, &count);
}

static void test_lies(void **state)
{
	static const char *const modes[] = {
		"noise", "short", "empty", "long", "fds", "op", "future",
		"positive", "abi", "code", "name", "many",
	};
	struct rig rig;
	int r;

	(void)state;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		rig_init(&rig);
		assert_int_equal(rig_open(&rig, modes[i], LONG_NS), 0);
		r = ask(&rig);
		if (r != -MK_EPROTO && r != -MK_EABI)
			fail_msg("%s: %d", modes[i], r);
		assert_int_equal(mk_error_last()->code, r);
		rig_await_loss(&rig);
		assert_non_null(strstr(rig.why.text, "not valid"));
		assert_int_equal(ask(&rig), -MK_EDEVLOST);
		rig_close(&rig, 1);
	}
}

/* Text without an end is given one. */
static void test_lies_text(void **state)
{
	const struct mk_error *e;
	struct rig rig;

	(void)state;
	rig_init(&rig);
	assert_int_equal(rig_open(&rig, "text", LONG_NS), 0);
	assert_int_equal(ask(&rig), -MK_EFULL);
	e = mk_error_last();
	assert_int_equal(strlen(e->text), sizeof(e->text) - 1);
	assert_int_equal(strlen(e->operation), sizeof(e->operation) - 1);
	rig_close(&rig, 0);
}

/* Nothing but late answers does not hold the caller. */
static void test_lies_flood(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	assert_int_equal(rig_open(&rig, "flood", 2 * NS_PER_S), 0);
	assert_int_equal(ask(&rig), -ETIME);
	mk_proxy_kill(rig.engine);
	rig_fini(&rig, 0);
}

/* A socket that is shut by a process that lives on. */
static void test_lies_shut(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	assert_int_equal(rig_open(&rig, "shut", LONG_NS), 0);
	assert_int_equal(ask(&rig), -MK_EDEVLOST);
	rig_await_loss(&rig);
	assert_non_null(strstr(rig.why.text, "closed its socket"));
	assert_false(has_children());
	rig_close(&rig, 1);
}

/* ---- the caller ends first -------------------------------------------- */

/* The exit status of a child, within a bound; -1 if it was killed. */
static int await_exit(pid_t pid)
{
	int status;
	pid_t r;

	for (int i = 0; i < 30000; i++) {
		r = waitpid(pid, &status, WNOHANG);
		if (r == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		if (r < 0)
			fail_msg("%d is no child", (int)pid);
		usleep(1000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	fail_msg("%d does not end", (int)pid);
	return -1;
}

enum caller_end { END_EXIT, END_KILL, END_HUNG, END_FORKED, END_EXEC };

/* Open a proxy, tell its pid and that of a holder, and end like that. */
static void caller_main(enum caller_end how, int out)
{
	pid_t pids[2] = { 0, 0 };
	struct rig rig;

	rig_init(&rig);
	if (rig_open(&rig, "serve", 2 * NS_PER_S))
		_exit(3);
	pids[0] = mk_proxy_pid(rig.engine);
	if (how == END_HUNG && order(&rig, STUB_HANG) != -ETIME)
		_exit(4);
	if (how == END_FORKED) {
		pids[1] = fork(); /* has our end of the socket as well */
		if (!pids[1]) {
			close(out);
			for (;;)
				pause();
		}
	}
	if (write(out, pids, sizeof(pids)) != (ssize_t)sizeof(pids))
		_exit(5);
	if (how == END_KILL)
		raise(SIGKILL);
	if (how == END_EXEC) {
		execl("/bin/true", "true", (char *)NULL);
		_exit(6);
	}
	_exit(0);
}

static void test_caller_ends(void **state)
{
	pid_t caller, pids[2];
	int fds[2];

	(void)state;
	/* the worker becomes our child when its caller is gone */
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	for (int how = END_EXIT; how <= END_EXEC; how++) {
		assert_int_equal(pipe(fds), 0);
		caller = fork();
		if (!caller) {
			close(fds[0]);
			caller_main((enum caller_end)how, fds[1]);
		}
		close(fds[1]);
		assert_int_equal(read(fds[0], pids, sizeof(pids)),
				 sizeof(pids));
		close(fds[0]);
		assert_int_equal(await_exit(caller), how == END_KILL ? -1 : 0);
		/* whatever its threads do, it ends by itself */
		assert_int_equal(await_exit(pids[0]), 0);
		if (how == END_FORKED) {
			kill(pids[1], SIGKILL);
			await_exit(pids[1]);
		}
		assert_false(has_children());
	}
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

/* ---- the worker by hand ----------------------------------------------- */

static int say(int sock, const void *data, size_t bytes, int fd)
{
	static struct mk_answer answer;
	struct mk_packet p = { .data = &answer, .room = sizeof(answer) };

	assert_int_equal(mk_channel_send(sock, data, bytes, fd,
					 mk_deadline_after(LONG_NS)), 0);
	assert_int_equal(mk_channel_recv(sock, &p,
					 mk_deadline_after(LONG_NS)), 0);
	assert_int_equal(p.bytes, answer.head.bytes);
	return answer.head.result;
}

/* Garbage is answered; the worker goes on, and ends with status 0. */
static void test_worker_garbage(void **state)
{
	static const char noise[32768] = "garbage";
	static struct mk_message m;
	struct mk_spawned child;
	struct mk_region region;

	(void)state;
	setenv(MODE_ENV, "serve", 1);
	for (int polite = 0; polite < 2; polite++) {
		stub_region(&region, STUB_TOTAL, STUB_SEALS);
		assert_int_equal(mk_spawn_worker(self, &child), 0);
		assert_int_equal(say(child.sock, noise, 1, -1), -MK_EPROTO);
		assert_int_equal(say(child.sock, noise, 0, -1), -MK_EPROTO);
		assert_int_equal(say(child.sock, noise, 200, region.fd),
				 -MK_EPROTO);
		assert_int_equal(say(child.sock, noise, sizeof(noise), -1),
				 -MK_EPROTO);
		memset(&m, 0, sizeof(m));
		strcpy(m.hello.engine, "stub");
		stub_config(&m.hello.config);
		mk_message_seal(&m, MK_MESSAGE_HELLO, 1, 0);
		m.head.sequence = 1;
		m.head.deadline_ns = UINT64_MAX;
		m.head.fingerprint++;
		assert_int_equal(say(child.sock, &m, m.head.bytes, region.fd),
				 -MK_EABI);
		m.head.fingerprint--;
		assert_int_equal(say(child.sock, &m, m.head.bytes, region.fd),
				 0);
		assert_int_equal(say(child.sock, noise, 300, -1), -MK_EPROTO);
		memset(&m, 0, sizeof(m));
		mk_message_seal(&m, MK_MESSAGE_CLOSE, 0, 0);
		m.head.sequence = 2;
		if (polite)
			assert_int_equal(say(child.sock, &m, m.head.bytes,
					     -1), 0);
		close(child.sock);
		if (child.pidfd >= 0)
			close(child.pidfd);
		assert_int_equal(await_exit(child.pid), 0);
		stub_region_free(&region);
	}
}

/* ---- odd surroundings, each in a process of its own ------------------- */

/* Open, die once, open again, close: the usual life. 0 or where it failed. */
static int usual_life(void)
{
	struct rig rig;

	rig_init(&rig);
	if (rig_open(&rig, "serve", LONG_NS))
		return 10;
	if (order(&rig, STUB_SIGSEGV) != -MK_EDEVLOST)
		return 11;
	if (!strstr(mk_error_last()->text, "signal 11"))
		return 12;
	if (mk_engine_proxy.close(rig.engine, LONG_NS) || has_children())
		return 13;
	if (rig_open(&rig, "serve", LONG_NS) || order(&rig, STUB_OK))
		return 14;
	if (mk_engine_proxy.close(rig.engine, LONG_NS) || has_children())
		return 15;
	stub_region_free(&rig.region);
	return count_entries("/proc/self/fd") == rig.fds ? 0 : 16;
}

/* As on a kernel before 5.3, or under a strict filter. */
static int without_pidfd(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = 4, .filter = filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return 77;
	if (syscall(SYS_pidfd_open, getpid(), 0) >= 0)
		return 1;
	return usual_life();
}

/* A daemon that closed its standard descriptors. */
static int without_stdio(void)
{
	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	close(STDERR_FILENO);
	return usual_life();
}

static int in_child(int (*what)(void))
{
	pid_t pid = fork();

	if (!pid)
		_exit(what());
	return await_exit(pid);
}

static void test_without_pidfd(void **state)
{
	int status = in_child(without_pidfd);

	(void)state;
	if (status == 77)
		skip(); /* no filter may be set here */
	assert_int_equal(status, 0);
}

static void test_without_stdio(void **state)
{
	(void)state;
	assert_int_equal(in_child(without_stdio), 0);
}

static void *no_main(void *arg)
{
	return arg;
}

/* ThreadSanitizer starts a thread of its own with the first one of ours. */
static int warm_up(void **state)
{
	pthread_t thread;

	(void)state;
	return pthread_create(&thread, NULL, no_main, NULL) ||
	       pthread_join(thread, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open_close),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_many_cycles),
		cmocka_unit_test(test_clean_start),
		cmocka_unit_test(test_no_start),
		cmocka_unit_test(test_region_not_sealed),
		cmocka_unit_test(test_wrong_program),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_no_descriptors),
		cmocka_unit_test(test_death),
		cmocka_unit_test(test_death_idle),
		cmocka_unit_test(test_death_in_flight),
		cmocka_unit_test(test_death_expected),
		cmocka_unit_test(test_reaped_by_others),
		cmocka_unit_test(test_time_out),
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_close_hung),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_lies_text),
		cmocka_unit_test(test_lies_flood),
		cmocka_unit_test(test_lies_shut),
		cmocka_unit_test(test_caller_ends),
		cmocka_unit_test(test_worker_garbage),
		cmocka_unit_test(test_without_pidfd),
		cmocka_unit_test(test_without_stdio),
	};
	const char *mode = getenv(MODE_ENV);

	if (mode)
		return worker_main(mode);
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 1;
	alarm(110); /* a hang is a failure */
	return cmocka_run_group_tests(tests, warm_up, NULL);
}
