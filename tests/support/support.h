/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of contexts and queues share. */
#ifndef MK_TEST_SUPPORT_H
#define MK_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <megakernel.h>

/* Longer than anything takes that works: waiting this long is a failure. */
#define SUPPORT_NS 60000000000ull
#define SUPPORT_MS 1000000ull

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SUPPORT_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define SUPPORT_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SUPPORT_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define SUPPORT_TSAN 1
#endif
#ifndef SUPPORT_ASAN
#define SUPPORT_ASAN 0
#endif
#ifndef SUPPORT_TSAN
#define SUPPORT_TSAN 0
#endif
#define SUPPORT_SANITIZED (SUPPORT_ASAN || SUPPORT_TSAN)

/* Params of a small context: 2 workers, little memory. */
struct mk_ctx_params support_params(const char *engine, uint32_t isolation);

/* A context with these, or a failed test. */
struct mk_ctx *support_ctx(const char *engine, uint32_t isolation);
struct mk_ctx *support_ctx_with(const struct mk_ctx_params *params);

/* Destroy it; a clean end, or a failed test. */
void support_ctx_end(struct mk_ctx *ctx);

/* A queue of this many entries, all else default. */
struct mk_queue *support_queue(struct mk_ctx *ctx, uint32_t entries);
void support_queue_end(struct mk_queue *q);

/* Get, init and submit one slot with these arguments. */
void support_submit(struct mk_queue *q, uint16_t opcode, uint64_t user_data,
		    const void *args, size_t bytes);

/* The next completion; waits for it, reaps it. */
struct mk_completion support_reap(struct mk_queue *q);

/* Submit one slot and reap its answer; the queue has nothing else. */
struct mk_completion support_call(struct mk_queue *q, uint16_t opcode,
				  const void *args, size_t bytes);

/* The books balance: submitted = ok + failed + ready + in flight, failed is
 * the sum of its parts. Returns the counts. */
struct mk_queue_stats support_balance(struct mk_queue *q);

/* The last error of this thread: its code, and its text has these parts (NULL
 * ends the list). */
#define support_error(...) support_error_(__FILE__, __LINE__, __VA_ARGS__)
void support_error_(const char *file, int line, int code, ...)
	__attribute__((sentinel));

/* Publish behind the library's back: got slot, any header, any arguments. */
void support_inject(struct mk_queue *q, struct mk_slot *slot, uint64_t header,
		    const uint64_t args[6]);
uint64_t support_header(uint16_t opcode, uint16_t tenant, uint8_t priority,
			uint8_t flags, uint16_t tiles);

/* Open descriptors of this process. */
unsigned support_fds(void);
/* Threads of this process. */
unsigned support_threads(void);
/* Wait until there are no more than those counted before: one that was joined
 * may take a moment to be gone, when n was counted, too. Or a failed test. */
void support_threads_most(unsigned n);
/* Children of this process that were not reaped. */
unsigned support_children(void);
/* SIGKILL to each; how many. */
unsigned support_kill_children(void);

/* The last record of evidence has these words, or gets them soon: it is
 * written a moment after slots were asked to end. Or a failed test. */
void support_evidence_has(struct mk_ctx *ctx, const char *what);

/* xorshift: the same numbers on every machine. */
uint64_t support_random(uint64_t *state);

uint64_t support_now(void);
void support_sleep(uint64_t ns);

#endif
