/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine in another process: beginning, every command, ending, and all
 * that can fail on the way.
 *
 * ctest-link: -Wl,--wrap=calloc -Wl,--wrap=pthread_create
 */
#include "rig.h"

#include <sys/eventfd.h>
#include <sys/resource.h>

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
						     MK_COPY_TO_DEVICE |
						     MK_COPY_BEHIND), 0);
	assert_int_equal(r->copy.offset, 1);
	assert_int_equal(r->copy.staging, STUB_SHARED);
	assert_int_equal(r->copy.bytes, 3);
	assert_int_equal(r->copy.flags, 3);
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

/* Calls of calloc() or pthread_create() until one fails; 0: none does. */
static int fail_calloc, fail_thread;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
	if (fail_calloc && !--fail_calloc) {
		errno = ENOMEM;
		return NULL;
	}
	return __real_calloc(n, size);
}

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*start)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*start)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*start)(void *), void *arg)
{
	if (fail_thread && !--fail_thread)
		return EAGAIN;
	return __real_pthread_create(thread, attr, start, arg);
}

static void test_no_memory(void **state)
{
	struct rig rig;
	int failed = 0, r;

	(void)state;
	rig_init(&rig);
	do {
		fail_calloc = failed + 1;
		r = rig_open(&rig, "serve", LONG_NS);
		assert_true(!r || r == -ENOMEM);
		failed += r != 0;
		assert_int_equal(has_children(), !r);
	} while (r);
	fail_calloc = 0;
	assert_true(failed >= 2);
	mk_proxy_kill(rig.engine);
	fail_thread = 1;
	assert_int_equal(rig_open(&rig, "serve", LONG_NS), -EAGAIN);
	rig_fini(&rig, 0);
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
		cmocka_unit_test(test_no_memory),
	};

	if (rig_begin())
		return 1;
	return cmocka_run_group_tests(tests, warm_up, NULL);
}
