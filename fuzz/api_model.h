/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What fuzz_api.c believes of the library: the slots of its queues, the words
 * and buffers that they work on, and what running a slot does to them. For
 * that one file, whose other half calls the library and compares.
 */
#ifndef FUZZ_API_MODEL_H
#define FUZZ_API_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <megakernel.h>

#include "input.h"
#include "require.h"

#define QUEUES 3u
#define ENTRIES_MOST 64u
#define WORDS 8u
#define LOG 8u
#define BUFFERS 4u
#define BUFFER_MOST 20000u
#define BOUND_NS UINT64_C(20000000000) /* longer is a hang */

/* ---- the model --------------------------------------------------------- */

enum place {
	FREE = 0,
	GOT,
	SUBMITTED, /* not run yet */
	ANSWERED,  /* as the model has it; the worker may be on its way */
	RETIRED    /* advanced; freed when all before it are */
};

struct model_slot {
	enum place place;
	bool cancel, late;
	struct mk_slot slot; /* as submitted */
	int32_t result;
	uint64_t value;
};

struct model_queue {
	struct mk_queue *q;
	uint32_t entries;
	uint64_t head, run, tail; /* tickets */
	struct model_slot at[ENTRIES_MOST];
	struct mk_slot *memory[ENTRIES_MOST]; /* the library's, by index */
	uint64_t words[WORDS];
	bool stopped, shutdown;
	unsigned peeked; /* so many may be advanced */
	uint64_t full, submitted, ok, failed, cancelled, expired, bad_args;
	struct mk_log_entry log[LOG]; /* the last */
	uint64_t printed, log_read;
	int event_fd; /* -1: none */
	bool armed;
};

struct model_buffer {
	mk_buffer_t handle; /* 0: there never was one */
	bool live, read_only;
	uint64_t bytes;
	unsigned char *memory;
};

static struct mk_ctx *ctx;
static unsigned runs, quiesced;
static uint64_t serial, shared_used, ran;
static struct model_queue queues[QUEUES];
static struct model_buffer buffers[BUFFERS];

static struct model_slot *slot_at(struct model_queue *m, uint64_t ticket)
{
	return &m->at[ticket & (m->entries - 1)];
}

/* Tickets in [head, tail) at this place. */
static unsigned count(struct model_queue *m, enum place place)
{
	unsigned n = 0;

	for (uint64_t t = m->head; t != m->tail; t++)
		n += slot_at(m, t)->place == place;
	return n;
}

/* ---- running slots ----------------------------------------------------- */

static struct model_buffer *buffer_of(struct mk_ref ref)
{
	for (unsigned i = 0; i < BUFFERS; i++)
		if (buffers[i].handle && buffers[i].live &&
		    buffers[i].handle ==
			    ((uint64_t)ref.generation << 32 | ref.index))
			return &buffers[i];
	return NULL;
}

static int32_t run_copy(struct model_slot *s)
{
	const struct mk_op_copy *args = (const void *)s->slot.bytes;
	struct model_buffer *from = buffer_of(args->source);
	struct model_buffer *to = buffer_of(args->target);

	/* handles are live or stale ones: see fill_copy() */
	if (!from)
		return -MK_ESTALE;
	if (args->source_offset > from->bytes ||
	    args->bytes > from->bytes - args->source_offset)
		return -MK_ERANGE;
	if (!to)
		return -MK_ESTALE;
	if (args->target_offset > to->bytes ||
	    args->bytes > to->bytes - args->target_offset)
		return -MK_ERANGE;
	if (to->read_only)
		return -MK_EACCESS;
	if (from == to &&
	    args->source_offset < args->target_offset + args->bytes &&
	    args->target_offset < args->source_offset + args->bytes)
		return -MK_EARGS;
	memcpy(to->memory + args->target_offset,
	       from->memory + args->source_offset, args->bytes);
	s->value = args->bytes;
	return 0;
}

static int32_t run_word(struct model_queue *m, struct model_slot *s)
{
	const struct mk_op_word *args = (const void *)s->slot.bytes;
	uint64_t *word = &m->words[args->word % WORDS];

	if (args->reserved)
		return -MK_EARGS;
	if (args->word >= WORDS)
		return -MK_ERANGE;
	s->value = *word;
	if (s->slot.opcode == MK_OP_STORE)
		*word = args->operand;
	else if (s->slot.opcode == MK_OP_ADD)
		*word += args->operand;
	else if (s->slot.opcode == MK_OP_CAS && *word == args->expected)
		*word = args->operand;
	return 0;
}

static int32_t run_print(struct model_queue *m, struct model_slot *s,
			 uint64_t ticket)
{
	struct mk_log_entry *e = &m->log[m->printed++ % LOG];

	memset(e, 0, sizeof(*e));
	e->ticket = ticket;
	e->format = s->slot.arg[0];
	memcpy(e->arg, &s->slot.arg[1], sizeof(e->arg));
	return 0;
}

static int32_t run_slot(struct model_queue *m, struct model_slot *s,
			uint64_t ticket)
{
	s->value = 0;
	if (m->stopped || m->shutdown || s->cancel)
		return -MK_ECANCELLED;
	if (s->late)
		return -MK_EDEADLINE;
	switch (s->slot.opcode) {
	case MK_OP_NOP:
		s->value = s->slot.arg64[0];
		return 0;
	case MK_OP_COPY:
		return run_copy(s);
	case MK_OP_PRINT:
		return run_print(m, s, ticket);
	case MK_OP_SHUTDOWN:
		m->shutdown = true;
		return 0;
	case MK_OP_FENCE:
		return 0;
	default:
		return run_word(m, s);
	}
}

/* Run what the worker may run by now. */
static void advance_model(struct model_queue *m)
{
	while (!quiesced && m->q && m->run != m->tail &&
	       slot_at(m, m->run)->place == SUBMITTED) {
		struct model_slot *s = slot_at(m, m->run);

		s->result = run_slot(m, s, m->run);
		s->place = ANSWERED;
		m->run++;
		ran++;
	}
}

/* Let the worker catch up with the model, so that what the host does next
 * comes after all that runs. */
static void settle(void)
{
	for (unsigned i = 0; i < QUEUES; i++) {
		struct model_queue *m = &queues[i];
		unsigned answered;

		if (!m->q)
			continue;
		answered = count(m, ANSWERED);
		/* what is held cannot be waited for */
		if (!count(m, SUBMITTED))
			REQUIRE(!mk_queue_drain(m->q, BOUND_NS));
		else if (answered)
			REQUIRE(mk_queue_wait(m->q, answered, BOUND_NS) ==
				(int)answered);
	}
}

/* ---- answers ----------------------------------------------------------- */

static struct model_slot *nth_answered(struct model_queue *m, unsigned n)
{
	for (uint64_t t = m->head; t != m->tail; t++)
		if (slot_at(m, t)->place == ANSWERED && !n--)
			return slot_at(m, t);
	abort(); /* an answer that nobody waits for */
}

static void retire(struct model_queue *m, struct model_slot *s)
{
	s->place = RETIRED;
	if (s->result >= 0)
		m->ok++;
	else
		m->failed++;
	m->cancelled += s->result == -MK_ECANCELLED;
	m->expired += s->result == -MK_EDEADLINE;
	m->bad_args += s->result == -MK_EARGS || s->result == -MK_ERANGE ||
		       s->result == -MK_ESTALE || s->result == -MK_EACCESS;
	while (m->head != m->tail && slot_at(m, m->head)->place == RETIRED)
		slot_at(m, m->head++)->place = FREE;
}

static void retire_first(struct model_queue *m, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		retire(m, nth_answered(m, 0));
	m->peeked -= m->peeked < n ? m->peeked : n;
}

#endif
