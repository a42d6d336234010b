/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What caller and worker process say to each other: one request, one answer,
 * each a single packet of a SOCK_SEQPACKET socket. A packet is a head, the
 * body of its op and, for some, an array; its length is exactly what head.op
 * and head.count say. Descriptors ride along as SCM_RIGHTS.
 *
 * The head never changes its layout: programs of different versions must be
 * able to tell each other so. Neither side trusts the other: every field is
 * checked here, on a private copy, before anyone acts on it.
 */
#ifndef MK_WORKER_MESSAGE_H
#define MK_WORKER_MESSAGE_H

#include "engine/engine.h"

#define MK_MESSAGE_MAGIC 0x534d4b4du /* "MKMS" */
#define MK_MESSAGE_FDS 1u            /* most descriptors of a request */
#define MK_ENGINE_NAME_BYTES 16u     /* with the terminating zero */

/* Limits of a context that the worker checks again; megakernel.h has them in
 * words. */
#define MK_WORKERS_MAX 1024u
#define MK_WINDOWS_MAX ((1u << 20) + 1) /* index 0 is no buffer */
#define MK_SCRATCH_MAX (64u << 20)

enum mk_message_op {
	MK_MESSAGE_HELLO = 1, /* hello + region fd: open and start the engine */
	MK_MESSAGE_CLOSE,     /* target: end the engine and the process */
	MK_MESSAGE_QUEUE_ATTACH,   /* queue + event fd or none */
	MK_MESSAGE_QUEUE_DETACH,   /* target */
	MK_MESSAGE_QUEUE_EVENT_FD, /* target + event fd or none */
	MK_MESSAGE_BUFFER_ATTACH,  /* buffer */
	MK_MESSAGE_BUFFER_DETACH,  /* target */
	MK_MESSAGE_BUFFER_COPY,    /* copy */
	MK_MESSAGE_MODULE_OPEN,    /* module + image fd; answer: handlers */
	MK_MESSAGE_MODULE_BIND,    /* module and head.count of its map */
	MK_MESSAGE_MODULE_CLOSE,   /* target */
	MK_MESSAGE_PAUSE,          /* target */
	MK_MESSAGE_RESUME,         /* nothing */
	MK_MESSAGE_OPS
};

struct mk_message_head {
	uint32_t magic;       /* MK_MESSAGE_MAGIC */
	uint32_t bytes;       /* of the whole packet */
	uint32_t abi;         /* MK_ABI_VERSION of the sender */
	uint32_t fingerprint; /* MK_FINGERPRINT of the sender */
	uint32_t op;          /* enum mk_message_op */
	uint32_t fds;         /* descriptors that ride along; answers: 0 */
	uint32_t count;       /* entries of the array at the end */
	int32_t result;       /* answers: 0 or a negated code; requests: 0 */
	uint64_t sequence;    /* of the request; its answer repeats it */
	uint64_t deadline_ns; /* requests: CLOCK_MONOTONIC; the caller has given
			       * up by then, so a worker that comes to it later
			       * leaves it undone. Answers: 0 */
};

struct mk_message_hello {
	char engine[MK_ENGINE_NAME_BYTES];
	struct mk_engine_config config;
};

/* Something named by number, and how long to wait for it. */
struct mk_message_target {
	uint32_t index; /* queue, buffer or module id; 0 if op has none */
	uint32_t reserved;
	uint64_t timeout_ns;
};

struct mk_message_copy {
	uint32_t index;
	uint32_t flags; /* enum mk_copy_flags */
	uint64_t offset, staging, bytes;
};

struct mk_message_module {
	uint32_t id;
	uint32_t max; /* OPEN: most handlers wanted; BIND: 0 */
	uint32_t flags; /* OPEN: enum mk_module_open_flags; BIND: 0 */
	uint32_t reserved;
	struct mk_opcode_map map[MK_OPCODES]; /* BIND: head.count of them */
};

struct mk_message {
	struct mk_message_head head;
	union {
		struct mk_message_hello hello;
		struct mk_message_target target;
		struct mk_queue_desc queue;
		struct mk_buffer_desc buffer;
		struct mk_message_copy copy;
		struct mk_message_module module;
	};
};

struct mk_answer {
	struct mk_message_head head;
	struct mk_error error; /* all zero if head.result is 0 */
	struct mk_handler_info handlers[MK_OPCODES]; /* head.count of them */
};

/* What a request is measured against. */
struct mk_message_limits {
	bool open;        /* a HELLO succeeded */
	bool host_memory; /* the engine has MK_TRAIT_HOST_MEMORY */
	uint32_t windows;
	uint64_t shared_bytes, total_bytes;
};

/* "queue_attach" and so on; never NULL. */
const char *mk_message_name(uint32_t op);

/* Fill in the head of a request of a known op; sequence and deadline are left
 * to the caller. */
void mk_message_seal(struct mk_message *m, uint32_t op, uint32_t fds,
		     uint32_t count);

/*
 * Worker: may this packet of `bytes` bytes and `fds` descriptors be acted on?
 * 0, -MK_EABI (another version; both values in the text) or -MK_EPROTO. After
 * 0 every field is within limits and every string is terminated.
 */
int mk_message_check(const struct mk_message *m, size_t bytes, unsigned fds,
		     const struct mk_message_limits *limits);

/* Worker: is this copy of the first bytes of the region what config says? 0,
 * -MK_EABI or -MK_ESHARED. */
int mk_message_check_block(const struct mk_context_block *block,
			   const struct mk_engine_config *config);

/* Fill in the head of the answer to `asked`. On failure the thread's last
 * error goes along. Returns the bytes to send. */
size_t mk_answer_seal(struct mk_answer *a, const struct mk_message_head *asked,
		      int result, uint32_t count);

/*
 * Caller: is this packet the answer to `asked`? 0: yes, and it may be used.
 * 1: it answers an earlier request. -MK_EABI, -MK_EPROTO. `max` bounds the
 * handlers.
 */
int mk_answer_check(const struct mk_answer *a, size_t bytes,
		    const struct mk_message_head *asked, uint32_t max);

#endif
