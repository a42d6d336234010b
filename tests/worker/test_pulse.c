/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hearing that a process dies: before it can be reaped, whatever the word in
 * the shared memory says, and never of one that lives.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/order.h"
#include "support/support.h"
#include "worker/pulse.h"

#define DIED 0x40000000u /* FUTEX_OWNER_DIED of linux/futex.h */

static uint32_t *word;
static uint32_t told;

static void dying(void *arg)
{
	assert_ptr_equal(arg, &told);
	mk_add_seq(&told, 1);
}

static void await_told(void)
{
	uint64_t end = support_now() + SUPPORT_NS;

	while (!mk_load_seq(&told)) {
		assert_true(support_now() < end);
		support_sleep(SUPPORT_MS / 10);
	}
}

/* A process that lives. With `ended` its first thread has ended already: then
 * nobody can reap it before the others have. */
static pid_t start(bool ended)
{
	pid_t pid;

	mk_store_seq(word, 0);
	mk_store_seq(&told, 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		alarm(60);
		if (mk_pulse_start(word))
			_exit(1);
		if (ended)
			pthread_exit(NULL);
		for (;;)
			pause();
	}
	while (!mk_load_seq(word)) {
		assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
		support_sleep(SUPPORT_MS / 10);
	}
	return pid;
}

static void reap(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

/* It is told of the death, once, and needs nobody to reap the process. */
static void heard(void **state)
{
	struct mk_pulse *p;
	pid_t pid;

	(void)state;
	for (unsigned lap = 0; lap < 4; lap++) {
		pid = start(lap & 1);
		p = mk_pulse_watch(word, dying, &told);
		assert_non_null(p);
		support_sleep(SUPPORT_MS);
		assert_int_equal(mk_load_seq(&told), 0);
		assert_int_equal(kill(pid, SIGKILL), 0);
		await_told();
		assert_true(mk_load_seq(word) & DIED);
		if (lap & 2)
			reap(pid);
		mk_pulse_end(p);
		if (!(lap & 2))
			reap(pid);
		assert_int_equal(mk_load_seq(&told), 1);
	}
}

/* It had died before anybody looked. */
static void late(void **state)
{
	pid_t pid = start(false);
	struct mk_pulse *p;

	(void)state;
	assert_int_equal(kill(pid, SIGKILL), 0);
	reap(pid);
	p = mk_pulse_watch(word, dying, &told);
	assert_non_null(p);
	await_told();
	mk_pulse_end(p);
}

/* No longer looked at: of a process that lives on. */
static void left_alone(void **state)
{
	pid_t pid = start(false);
	struct mk_pulse *p = mk_pulse_watch(word, dying, &told);

	(void)state;
	assert_non_null(p);
	mk_pulse_end(p);
	mk_pulse_end(NULL);
	assert_int_equal(mk_load_seq(&told), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	reap(pid);
	assert_int_equal(mk_load_seq(&told), 0);
}

/* ---- a word that lies --------------------------------------------------- */

static uint32_t stop;

static void *scribble(void *arg)
{
	uint32_t n = 1;

	(void)arg;
	while (!mk_load_relaxed(&stop)) {
		n = n * 1664525u + 1013904223u;
		/* never a death */
		mk_store_seq(word, (n | 1) & ~DIED);
	}
	return NULL;
}

static void lies(void **state)
{
	struct mk_pulse *p;
	pthread_t thread;

	(void)state;
	mk_store_seq(&told, 0);
	mk_store_seq(word, 0);
	assert_null(mk_pulse_watch(word, dying, &told)); /* says nothing */
	mk_store_seq(word, 1);
	mk_store_seq(&stop, 0);
	assert_int_equal(pthread_create(&thread, NULL, scribble, NULL), 0);
	for (unsigned i = 0; i < 200; i++) {
		p = mk_pulse_watch(word, dying, &told);
		/* ends, whoever writes there; NULL: it caught our 0 */
		mk_pulse_end(p);
	}
	mk_store_relaxed(&stop, 1);
	pthread_join(thread, NULL);
	assert_int_equal(mk_load_seq(&told), 0);
}

static int share(void **state)
{
	(void)state;
	word = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return word == MAP_FAILED;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heard), cmocka_unit_test(late),
		cmocka_unit_test(left_alone), cmocka_unit_test(lies),
	};

	return cmocka_run_group_tests(tests, share, NULL);
}
