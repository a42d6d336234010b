/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of recovery share: handlers that misbehave, and contexts
 * that are to survive them. */
#ifndef TESTS_RECOVERY_RIG_H
#define TESTS_RECOVERY_RIG_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/order.h"
#include "support/support.h"

/* how: 0 return 7, 1 SIGSEGV, 2 abort, 3 division, 4 stack overflow, 5 loop
 * until cancelled, 6 loop for ever, 7 loop and say so, 8 exit, 9 bus error of
 * its own, 10 illegal instruction, 11 loop until word 1 is not 0, and hear
 * nothing. Word `word` counts the begins. With `wait` it first waits for word
 * 1; from begin number `times` on, if that is set, it is good. */
static const char rig_source[] =
	"#include <megakernel/handler.h>\n"
	"#include <signal.h>\n"
	"#include <stdlib.h>\n"
	"#include <unistd.h>\n"
	"struct bad { uint32_t how, wait, word, times; };\n"
	"static volatile int zero;\n"
	"static int deep(volatile char *from)\n"
	"{\n"
	"	volatile char here[4096];\n"
	"	here[0] = from[0];\n"
	"	return here[0] + deep(here) + from[0];\n"
	"}\n"
	"MK_HANDLER(bad, struct bad)\n"
	"{\n"
	"	uint64_t *w = mk_observable(task, args->word);\n"
	"	uint64_t *go = mk_observable(task, 1);\n"
	"	uint64_t begun = mk_fetch_add(w, 1) + 1;\n"
	"	volatile char c = 1;\n"
	"	while (args->wait && !mk_fetch_add(go, 0))\n"
	"		if (mk_cancelled(task))\n"
	"			return -MK_ECANCELLED;\n"
	"	if (args->times && begun > args->times)\n"
	"		return 7;\n"
	"	switch (args->how) {\n"
	"	case 1: *(volatile int *)8 = 1; break;\n"
	"	case 2: abort();\n"
	"	case 3: return 7 / zero;\n"
	"	case 4: return deep(&c);\n"
	"	case 5: while (!mk_cancelled(task)) ;\n"
	"		return -MK_ECANCELLED;\n"
	"	case 6: for (;;) c++;\n"
	"	case 7: while (!mk_fetch_add(go, 0)) mk_progress(task);\n"
	"		break;\n"
	"	case 8: exit(3);\n"
	"	case 9: raise(SIGBUS); break;\n"
	"	case 10: __builtin_trap();\n"
	"	case 11: while (!mk_fetch_add(go, 0)) ;\n"
	"		break;\n"
	"	}\n"
	"	return 7;\n"
	"}\n";

struct bad {
	uint32_t how, wait, word, times;
};

enum {
	BAD_NOT,
	BAD_SEGV,
	BAD_ABORT,
	BAD_FPE,
	BAD_STACK,
	BAD_UNTIL_CANCELLED,
	BAD_LOOP,
	BAD_PROGRESS,
	BAD_EXIT,
	BAD_BUS,
	BAD_TRAP,
	BAD_DEAF
};

static inline struct mk_ctx *rig_ctx(uint32_t recovery, uint64_t hang_ns)
{
	struct mk_ctx_params p = support_params("cpu", MK_ISOLATION_PROCESS);

	p.workers = 3;
	p.recovery = recovery;
	p.restarts_max = 1000;
	p.restart_delay_ns = 1;
	p.hang_ns = hang_ns;
	return support_ctx_with(&p);
}

static inline uint16_t rig_load(struct mk_ctx *ctx)
{
	struct mk_handler_info info;
	int r = mk_module_load_source(ctx, "bad.c", rig_source, 0, NULL);

	if (r)
		print_error("%s\n", mk_error_last()->text);
	assert_int_equal(r, 0);
	assert_int_equal(mk_handler_find(ctx, "bad", &info), 0);
	return info.opcode;
}

static inline pid_t rig_worker(struct mk_ctx *ctx)
{
	struct mk_ctx_info info;

	assert_int_equal(mk_ctx_info(ctx, &info), 0);
	return info.worker_pid;
}

static inline struct mk_ctx_stats rig_stats(struct mk_ctx *ctx)
{
	struct mk_ctx_stats s;

	assert_int_equal(mk_ctx_stats(ctx, &s), 0);
	return s;
}

static inline struct mk_slot *rig_slot(struct mk_queue *q, uint16_t opcode,
				       uint64_t user_data, uint8_t flags,
				       const struct bad *bad)
{
	struct mk_slot *s;

	assert_int_equal(mk_queue_get_wait(q, 1, &s, SUPPORT_NS), 1);
	mk_slot_init(s, opcode, user_data);
	s->flags = flags;
	memcpy(s->bytes, bad, sizeof(*bad));
	return s;
}

static inline void rig_submit(struct mk_queue *q, uint16_t opcode,
			      uint64_t user_data, uint8_t flags, uint32_t how,
			      uint32_t word)
{
	struct bad bad = { .how = how, .word = word };
	struct mk_slot *s = rig_slot(q, opcode, user_data, flags, &bad);

	assert_int_equal(mk_queue_submit(q, s, 1), 1);
}

static inline uint64_t rig_word(struct mk_queue *q, uint32_t word)
{
	uint64_t value;

	assert_int_equal(mk_queue_observe(q, word, &value), 0);
	return value;
}

static inline void rig_await_word(struct mk_queue *q, uint32_t word,
				  uint64_t least)
{
	uint64_t end = support_now() + SUPPORT_NS;

	while (rig_word(q, word) < least) {
		assert_true(support_now() < end);
		support_sleep(SUPPORT_MS);
	}
}

/* The letter of the process's state; 'X' if there is no such process. */
static inline char rig_state(pid_t pid)
{
	char path[64], line[512], *at;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 'X';
	at = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	fclose(f);
	return at ? at[2] : 'X';
}

/* Is it gone, but for who would have to reap it? */
static inline bool rig_gone(pid_t pid)
{
	char state = rig_state(pid);

	return state == 'Z' || state == 'X';
}

/* Stop the process; a signal takes its time. */
static inline void rig_stop(pid_t pid)
{
	uint64_t end = support_now() + SUPPORT_NS;
	char state;

	assert_int_equal(kill(pid, SIGSTOP), 0);
	do {
		assert_true(support_now() < end);
		support_sleep(SUPPORT_MS);
		state = rig_state(pid);
		assert_true(state != 'X');
	} while (state != 'T');
}

/* Wait until so many losses are over. */
static inline struct mk_ctx_stats rig_await_restarts(struct mk_ctx *ctx,
						     uint64_t n)
{
	uint64_t end = support_now() + SUPPORT_NS;
	struct mk_ctx_stats s;

	for (;;) {
		s = rig_stats(ctx);
		if (s.restarts >= n)
			return s;
		assert_true(support_now() < end);
		support_sleep(SUPPORT_MS);
	}
}

#endif
