/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A handler crashes: SIGSEGV and its like, in the thread of a worker.
 *
 * What the process has in memory cannot be trusted any more, so it has to end;
 * who restarts it wants to know which slot it was. So the worker enters the
 * fault into its block in the shared memory. The other workers run slots of
 * their own, most of them short: they get a moment to finish, so that the
 * crash costs them nothing. Then the process dies of the signal.
 *
 * All that happens in a signal handler, on a stack of its own, since what
 * crashed may be the stack.
 */
#include "engine/cpu/guard.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/futex.h"
#include "base/order.h"
#include "engine/cpu/cpu.h"

#define STACK_BYTES 65536u
#define NAP_NS 20000u
#define NAPS 100u /* the moment: 2 ms and a little */

static const int crashes[] = { SIGSEGV, SIGBUS, SIGFPE,
			       SIGILL,	SIGABRT, SIGTRAP,
			       SIGSYS };

#define CRASHES (sizeof(crashes) / sizeof(crashes[0]))

static bool guarded;
static uint32_t crashed; /* the first one counts; exchange-seq */
static _Thread_local struct cpu_worker *self;

static bool in_slot(const struct cpu_worker *w)
{
	return w && mk_load_relaxed(&w->block->running) & 1u;
}

/* Sent by another process: no handler's fault. */
static bool from_outside(const siginfo_t *info)
{
	return info->si_code <= 0 && info->si_pid != getpid();
}

static void note(struct cpu_worker *w, const siginfo_t *info, int sig)
{
	bool kernel = info->si_code > 0;

	mk_store_relaxed(&w->block->fault_address,
			 kernel ? (uint64_t)(uintptr_t)info->si_addr : 0);
	mk_store_relaxed(&w->block->fault_code, info->si_code);
	/* pairs with the caller's load after it has reaped us */
	mk_store_release(&w->block->fault_signal, sig);
}

static void on_crash(int sig, siginfo_t *info, void *context)
{
	const struct timespec nap = { 0, NAP_NS };
	struct sigaction plain = { .sa_handler = SIG_DFL };
	struct cpu_worker *w = self;
	sigset_t all;

	(void)context;
	/* another was first: what we met may be its doing, or not. It ends
	 * the process, within moments */
	while (mk_exchange_seq(&crashed, 1))
		nanosleep(&nap, NULL);
	if (in_slot(w) && !from_outside(info)) {
		note(w, info, sig);
		cpu_fault_drain(w->engine, w);
	}
	sigaction(sig, &plain, NULL);
	sigfillset(&all);
	sigdelset(&all, sig);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	raise(sig);
	_exit(128 + sig);
}

/* Async-signal-safe: words and naps. */
void cpu_fault_drain(struct mk_engine *e, const struct cpu_worker *but)
{
	const struct timespec nap = { 0, NAP_NS };
	uint32_t target;

	mk_store_seq(&e->paused, 1);
	target = mk_add_seq(&e->epoch, 1) + 1;
	/* those that sleep have to say that they run nothing */
	mk_add_seq(&e->block->bell, 1);
	mk_futex_wake(&e->block->bell, INT_MAX);
	for (unsigned i = 0; i < NAPS; i++) {
		bool busy = false;

		for (uint32_t k = 0; k < e->config.workers; k++) {
			const struct cpu_worker *w = &e->workers[k];

			if (w != but && w->started &&
			    !mk_load_acquire(&w->exited) &&
			    (int32_t)(mk_load_acquire(&w->epoch) - target) < 0)
				busy = true;
		}
		if (!busy)
			return;
		nanosleep(&nap, NULL);
	}
}

void cpu_fault_signals(sigset_t *set)
{
	for (unsigned i = 0; i < CRASHES; i++)
		sigdelset(set, crashes[i]);
}

void mk_cpu_guard_process(void)
{
	struct sigaction sa = { .sa_sigaction = on_crash,
				.sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigfillset(&sa.sa_mask); /* to crash in there ends us at once */
	for (unsigned i = 0; i < CRASHES; i++)
		sigaction(crashes[i], &sa, NULL);
	guarded = true;
}

void cpu_fault_enter(struct cpu_worker *w)
{
	stack_t stack = { .ss_size = STACK_BYTES };

	if (!guarded)
		return;
	self = w;
	/* without one, an overflow of the stack ends us without a note */
	w->signal_stack = malloc(STACK_BYTES);
	stack.ss_sp = w->signal_stack;
	if (w->signal_stack)
		sigaltstack(&stack, NULL);
}

void cpu_fault_leave(struct cpu_worker *w)
{
	stack_t none = { .ss_flags = SS_DISABLE };

	if (!guarded)
		return;
	sigaltstack(&none, NULL);
	free(w->signal_stack);
	w->signal_stack = NULL;
	self = NULL;
}
