/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of caller and worker when one ends, goes silent or lies.
 *
 * ctest-link: -Wl,--wrap=mk_channel_recv
 */
#include "rig.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

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
	struct rig rig;

	(void)state;
	rig_init(&rig);
	assert_int_equal(rig_open(&rig, "serve", LONG_NS), 0);
	kill(mk_proxy_pid(rig.engine), SIGKILL);
	rig_await_loss(&rig);
	assert_int_equal(rig.why.native, SIGKILL);
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

/* Of no use any more: another takes its place. */
static void test_silent(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	rig.hang_ns = LONG_NS;
	assert_int_equal(rig_open(&rig, "serve", 2 * NS_PER_S), 0);
	assert_int_equal(order(&rig, STUB_HANG), -ETIME);
	assert_non_null(strstr(mk_error_last()->text, "command_ns"));
	assert_int_equal(rig.hung, 1);
	rig_await_loss(&rig);
	assert_non_null(strstr(rig.why.text, "was silent for 2000 ms while "
			       "module_close waited"));
	assert_int_equal(order(&rig, STUB_OK), -MK_EDEVLOST);
	rig_close(&rig, 1);
}

/* The same, but the next one can do what it was told to. */
static void test_silent_stopped(void **state)
{
	struct rig rig;

	(void)state;
	for (int early = 0; early < 2; early++) {
		rig_init(&rig);
		rig.hang_ns = early ? NS_PER_S / 20 : LONG_NS;
		assert_int_equal(rig_open(&rig, "serve",
					  early ? LONG_NS : 2 * NS_PER_S), 0);
		kill(mk_proxy_pid(rig.engine), SIGSTOP);
		assert_int_equal(order(&rig, STUB_OK), -MK_EDEVLOST);
		assert_int_equal(rig.hung, 1);
		rig_await_loss(&rig);
		assert_non_null(strstr(rig.why.text, "was stopped for"));
		rig_close(&rig, 1);
	}
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

/* A worker that always has one more late answer ready: no timing decides. */
static struct {
	bool on;
	unsigned early, late; /* packets asked for before, after the deadline */
} endless;

int __real_mk_channel_recv(int sock, struct mk_packet *packet,
			   uint64_t deadline_ns);
int __wrap_mk_channel_recv(int sock, struct mk_packet *packet,
			   uint64_t deadline_ns);

int __wrap_mk_channel_recv(int sock, struct mk_packet *packet,
			   uint64_t deadline_ns)
{
	struct mk_answer *a = packet->data;

	if (!endless.on)
		return __real_mk_channel_recv(sock, packet, deadline_ns);
	if (mk_time_left(deadline_ns))
		endless.early++;
	else if (++endless.late > 100)
		return -EIO;
	memset(a, 0, sizeof(*a));
	mk_answer_seal(a, &(struct mk_message_head){
		.op = MK_MESSAGE_PAUSE, .sequence = 1 }, 0, 0);
	packet->bytes = a->head.bytes;
	packet->fd_count = 0;
	packet->fds_lost = false;
	return 0;
}

static void test_lies_endless(void **state)
{
	struct rig rig;

	(void)state;
	rig_init(&rig);
	assert_int_equal(rig_open(&rig, "serve", NS_PER_S / 5), 0);
	endless.on = true;
	assert_int_equal(ask(&rig), -ETIME);
	endless.on = false;
	assert_true(endless.early > 0);
	/* it may pass between the look at the clock and the call */
	assert_true(endless.late <= 1);
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

enum caller_end {
	END_EXIT,
	END_KILL,
	END_HUNG,
	END_FORKED,
	END_STOPPED, /* the worker is, and cannot notice anything */
	END_EXEC
};

static void *open_main(void *arg)
{
	struct rig *rig = arg;

	return rig_open(rig, "serve", 2 * NS_PER_S) ? arg : NULL;
}

/* By a thread that is over then: its end is not the caller's. */
static int open_elsewhere(struct rig *rig)
{
	pthread_t thread;
	void *failed;

	if (pthread_create(&thread, NULL, open_main, rig))
		return -1;
	pthread_join(thread, &failed);
	usleep(20000);
	return failed || order(rig, STUB_OK) ? -1 : 0;
}


/* Open a proxy, tell its pid and that of a holder, and end like that. */
static void caller_main(enum caller_end how, int out)
{
	pid_t pids[2] = { 0, 0 };
	struct rig rig;

	alarm(60); /* fork(2) clears it */
	rig_init(&rig);
	if (open_elsewhere(&rig))
		_exit(3);
	pids[0] = mk_proxy_pid(rig.engine);
	if (how == END_HUNG && order(&rig, STUB_HANG) != -ETIME)
		_exit(4);
	if (how == END_FORKED) {
		pids[1] = fork(); /* has our end of the socket as well */
		if (!pids[1]) {
			close(out);
			alarm(60);
			for (;;)
				pause();
		}
	}
	if (how == END_STOPPED && kill(pids[0], SIGSTOP))
		_exit(6);
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
		/* whatever its threads do, it ends by itself, or is ended by
		 * the system, whoever is first */
		assert_true(await_exit(pids[0]) <= 0);
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

	if (!pid) {
		alarm(60);
		_exit(what());
	}
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_death),
		cmocka_unit_test(test_death_idle),
		cmocka_unit_test(test_death_in_flight),
		cmocka_unit_test(test_death_expected),
		cmocka_unit_test(test_reaped_by_others),
		cmocka_unit_test(test_time_out),
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_silent),
		cmocka_unit_test(test_silent_stopped),
		cmocka_unit_test(test_close_hung),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_lies_text),
		cmocka_unit_test(test_lies_flood),
		cmocka_unit_test(test_lies_endless),
		cmocka_unit_test(test_lies_shut),
		cmocka_unit_test(test_caller_ends),
		cmocka_unit_test(test_worker_garbage),
		cmocka_unit_test(test_without_pidfd),
		cmocka_unit_test(test_without_stdio),
	};

	if (rig_begin())
		return 1;
	return cmocka_run_group_tests(tests, warm_up, NULL);
}
