/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine for tests: it does what a script or the test itself says, in the
 * caller's process, and what no good engine would do as well. Not installed.
 *
 * Served by a thread of its own, it runs the built-in handlers, one slot at a
 * time. `manual` in the script stops the thread; then the test is the device:
 * mk_mock_claim() and mk_mock_answer().
 */
#ifndef MK_ENGINE_MOCK_H
#define MK_ENGINE_MOCK_H

#include "context/context.h"

/* How the thread serves. All zero: like a good engine. */
struct mk_mock_script {
	bool manual;         /* it does not serve */
	unsigned reverse;    /* claims up to this many, answers last first */
	unsigned repeat;     /* writes every answer this many times more */
	unsigned fail_every; /* every n-th slot is not run and ends with */
	int32_t fail_code;   /*   this negated code */
	unsigned drop_every; /* every n-th slot is claimed, never answered */
	uint64_t delay_ns;   /* before each answer */
};

/* Every function of the table, to be counted and to fail. */
enum mk_mock_op {
	MK_MOCK_PROBE,
	MK_MOCK_OPEN,
	MK_MOCK_START,
	MK_MOCK_CLOSE,
	MK_MOCK_QUEUE_ATTACH,
	MK_MOCK_QUEUE_DETACH,
	MK_MOCK_QUEUE_EVENT_FD,
	MK_MOCK_BUFFER_ATTACH,
	MK_MOCK_BUFFER_DETACH,
	MK_MOCK_BUFFER_COPY,
	MK_MOCK_MODULE_OPEN,
	MK_MOCK_MODULE_BIND,
	MK_MOCK_MODULE_CLOSE,
	MK_MOCK_PAUSE,
	MK_MOCK_RESUME,
	MK_MOCK_OPS
};

/* A slot as the device sees it. */
struct mk_mock_slot {
	uint64_t ticket;
	uint16_t opcode, tenant;
	uint8_t priority, flags;
	uint16_t tiles;
	uint64_t args[MK_ARG_BYTES / 8];
	bool torn; /* a unit did not carry the mark of unit 0 */
};

/* ---- for the whole process -------------------------------------------- */

/* Forget all failures, counts and the script of engines to come. */
void mk_mock_reset(void);

/* The script that engines opened from now on begin with. */
void mk_mock_begin_with(const struct mk_mock_script *script);

/* Let `op` fail with `code`, negated, once, after `good` more good calls. */
void mk_mock_fail(enum mk_mock_op op, int code, unsigned good);

/* Calls of `op` since the last reset, failed ones included. */
unsigned mk_mock_calls(enum mk_mock_op op);

/* ---- one engine -------------------------------------------------------- */

/* The mock behind a context; NULL if it has another engine. */
struct mk_engine *mk_mock_of(struct mk_ctx *ctx);

void mk_mock_script(struct mk_engine *e, const struct mk_mock_script *script);

/* Claim the next published slot of queue `index`, as mk_queue_desc numbers
 * it. False: there is none. */
bool mk_mock_claim(struct mk_engine *e, uint32_t index,
		   struct mk_mock_slot *out);

/* Answer a ticket as a good engine does, and wake who waits. */
void mk_mock_answer(struct mk_engine *e, uint32_t index, uint64_t ticket,
		    int32_t result, uint64_t value);

/* Write these two words at the ticket's index, whatever they mean. */
void mk_mock_write(struct mk_engine *e, uint32_t index, uint64_t ticket,
		   uint64_t head, uint64_t value);

/* The head word of an answer with any mark. */
uint64_t mk_mock_head(uint16_t mark, uint16_t worker, int32_t result);

/* Answer nothing any more, and tell the context that the device is lost. */
void mk_mock_lose(struct mk_ctx *ctx);

/* ---- between the files of the mock ------------------------------------ */

struct mock_queue {
	struct mk_queue_desc desc;
	struct mk_queue_block *block;
	struct mk_wire_slot *ring;
	struct mk_wire_completion *answers;
	uint32_t mask, shift;
	int event_fd; /* -1: none */
};

struct mk_engine {
	struct mk_engine_config config;
	struct mk_region region;
	struct mk_context_block *block;
	struct mk_window *windows;
	unsigned char *scratch;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* guards all below */
	bool stop, paused;
	struct mk_mock_script script;
	uint64_t served;
	struct mock_queue *queues[MK_QUEUES_MAX];
};

void *mk_mock_main(void *engine);
bool mk_mock_take(struct mock_queue *q, struct mk_mock_slot *out);
void mk_mock_put(struct mock_queue *q, uint64_t ticket, uint64_t head,
		 uint64_t value);

#endif
