/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream, between its files. What a chunk goes through:
 *
 *	FREE -> FILLING -> SEALED -> RUNNING -> READY -> HELD -> FREE
 *	        planned    no more   its slot   its turn with the
 *	        into       is added  runs       is next  caller
 *
 * FILLING to SEALED is planning (stream_plan.c): reads are started into it.
 * SEALED to RUNNING is sending, in order, when all its reads have ended
 * (stream_send.c). One thread does all that, and reaps: the pump
 * (stream_pump.c), whose own everything is but what `lock` guards.
 */
#ifndef MK_IO_STREAM_H
#define MK_IO_STREAM_H

#include <pthread.h>
#include <sys/stat.h>

#include <megakernel/stream.h>

#include "base/clock.h"
#include "base/order.h"
#include "io/ring.h"

#define MKS_GRAIN 64u   /* pieces start at multiples of it */
#define MKS_PAGE 4096u  /* what O_DIRECT wants of everything */

enum mks_state {
	MKS_FREE,
	MKS_FILLING,
	MKS_SEALED,
	MKS_RUNNING,
	MKS_READY,
	MKS_HELD,
	MKS_EMPTY /* nothing was left of it: passed over, then FREE */
};

enum mks_life { MKS_NEW, MKS_OPENING, MKS_OPEN, MKS_CLOSED };

/* A file, pipe or socket, from adding to its last piece. It is open no longer
 * than it is read. */
struct mks_source {
	struct mkio_op op; /* first: OPEN, or POLL */
	struct mks_source *next;
	uint64_t file;
	char *path;    /* NULL: it came as a descriptor */
	int fd;        /* -1: none */
	int direct_fd; /* the same file with O_DIRECT; -1: none */
	int error;     /* negated errno, of opening or waiting */
	uint32_t life; /* enum mks_life */
	bool known;    /* how long it is */
	bool quiet;    /* not known, but a file: read without waiting */
	bool now;      /* reads may be told not to wait */
	bool waiting;  /* a POLL is under way */
	bool reading;  /* a READ of one that is not known is under way */
	bool ready;    /* something is there to read */
	bool refused;  /* no descriptor was left for it, once */
	bool begun, ended; /* its first, its last piece was sent */
	bool planned_all;
	bool changed;  /* when it was closed */
	uint32_t reads; /* under way, of one whose length is known */
	uint64_t at;   /* the next byte to plan */
	uint64_t size; /* where it ends, if that is known */
	uint64_t first; /* where it began */
	uint32_t pieces; /* planned and not sent */
	struct stat was;
};

/* A piece that was planned. */
struct mks_piece {
	struct mkio_op op; /* first: READ */
	struct mks_source *source;
	struct mks_chunk *chunk;
	uint64_t offset;
	uint32_t at, want, got;
	int error;
	bool last;
	bool plain; /* not past the cache */
};

struct mks_chunk {
	uint32_t index;
	uint32_t state;    /* enum mks_state; from RUNNING to FREE under lock */
	uint32_t pieces;   /* planned */
	uint32_t sent;     /* entries of table */
	uint32_t used;     /* bytes of its buffer, from the start */
	uint32_t open;     /* reads under way */
	uint64_t sequence; /* told to the caller; given when sent */
	struct mks_piece *piece;
	struct mk_stream_piece *table; /* our own: handlers cannot reach it */
	unsigned char *memory, *result_memory;
	mk_buffer_t buffer, result, device;
	int32_t error;
	uint64_t value;
};

struct mk_stream {
	struct mk_ctx *ctx;
	struct mk_stream_params params; /* all filled in */
	uint16_t opcode;
	uint32_t data_start;  /* in a chunk's buffer; a multiple of a page */
	uint64_t buffer_bytes;
	struct mkio_ring *ring;
	struct mk_queue *q;
	int queue_fd, wake_fd;
	pthread_t thread;
	bool threaded, joined;
	struct mks_chunk *chunk; /* params.chunks */
	struct mk_stream_stats stats; /* the pump's, relaxed; the caller's are
				       * under lock */
	uint64_t began_ns;

	/* the pump's alone */
	struct mks_source *plan, **plan_end; /* not planned to the end */
	struct mks_source *to_open; /* the first of them that is NEW */
	uint32_t files_open;
	bool no_cached_open; /* the kernel has no such thing */
	bool crowded; /* no descriptor was left: open when one is closed */
	bool again;   /* who had none is being opened: nobody else is */
	uint64_t fill, send; /* numbers of chunks: being filled, to be sent */
	uint64_t sequence;   /* of the next that is sent */
	uint64_t touched_ns; /* when something was last put into `fill` */
	bool starved;        /* found no free chunk, and counted it */
	bool input_over;     /* no more sources will come */
	bool registered, register_tried;
	unsigned char *tail; /* overlap_bytes: the end of what was sent last */
	uint32_t tail_bytes;
	uint32_t running;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t some;  /* a chunk is ready, or the end is */
	struct mks_source *added, **added_end;
	bool ended;    /* mk_stream_end() */
	bool finished; /* all was sent: there are `fill` chunks */
	bool asleep;   /* the pump: write to wake_fd */
	bool stop;
	int fatal;     /* negated code; 0: none */
	uint64_t deliver; /* number of the next chunk for the caller */
	uint32_t held;
};

#define MKS_COUNT(s, field, n) mk_count(&(s)->stats.field, (uint64_t)(n))

static inline struct mks_chunk *mks_chunk_at(struct mk_stream *s,
					     uint64_t number)
{
	return &s->chunk[number % s->params.chunks];
}

/* Loaded by the pump without the lock, to see what it need not wait for. */
static inline uint32_t mks_state(const struct mks_chunk *c)
{
	return mk_load_acquire(&c->state);
}

/* Pairs with mks_state(): what the caller read of a chunk, it read before. */
static inline void mks_set_state(struct mks_chunk *c, uint32_t state)
{
	mk_store_release(&c->state, state);
}

static inline void mks_count_in_flight(struct mk_stream *s)
{
	mk_store_relaxed(&s->stats.in_flight,
			 (uint32_t)(s->fill - s->send) + s->running);
}

/* ---- sources (stream_source.c) ------------------------------------------ */

struct mks_source *mks_source_new(const char *path, uint64_t file);
/* Look at what was opened: how it is to be read. */
void mks_source_look(struct mk_stream *s, struct mks_source *source);
/* Nothing more is read of it: see whether it was changed, close it. */
void mks_source_close(struct mk_stream *s, struct mks_source *source);
/* Its last piece was sent, or never will be. */
void mks_source_free(struct mk_stream *s, struct mks_source *source);
/* Take what was added; start opening ahead. True: something was done. */
bool mks_sources_take(struct mk_stream *s);
bool mks_sources_open(struct mk_stream *s);
/* An OPEN or a POLL has ended. */
void mks_source_done(struct mk_stream *s, struct mks_source *source);

/* ---- planning (stream_plan.c) ------------------------------------------- */

bool mks_plan(struct mk_stream *s);
/* A READ has ended. */
void mks_read_done(struct mk_stream *s, struct mks_piece *p);
/* Until when what is in the chunk that is filled may wait; UINT64_MAX. */
uint64_t mks_flush_at(const struct mk_stream *s);

/* ---- sending (stream_send.c) -------------------------------------------- */

bool mks_send(struct mk_stream *s);
bool mks_reap(struct mk_stream *s);

/* ---- the pump (stream_pump.c) ------------------------------------------- */

/* Do all there is to do; true: something was done. */
bool mks_pump(struct mk_stream *s);
/* Wait until there may be something to do. */
void mks_pump_wait(struct mk_stream *s, uint64_t deadline);
void *mks_pump_thread(void *arg);
/* Under lock: the pump has something to see. */
void mks_wake(struct mk_stream *s);
/* The stream cannot go on. */
void mks_fail(struct mk_stream *s, int code);

#endif
