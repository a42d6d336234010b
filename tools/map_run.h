/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `megakernel map`: files go round a window of records.
 *
 *	walk -> record -> read into a chunk -> slot -> engine
 *	                                                  |
 *	stdout <- print, in order <- record <- reap <-----+
 *
 * All threads are alike (map_read.c): each takes some files off the walk,
 * reads them into shared memory, submits a slot for each, then reaps and
 * prints what is ready if no other thread is at it (map_reap.c). Nothing runs
 * ahead of printing by more than the window, and no file holds more than a
 * few chunks, so memory is bounded whatever the files are.
 */
#ifndef MAP_RUN_H
#define MAP_RUN_H

#include <stddef.h>

#include <megakernel/map.h>

#include "crew.h"

#define MAP_WINDOW 16384u       /* files between walk and print; 2^n */
#define MAP_CHUNK_BYTES 262144u /* most bytes of one slot */
#define MAP_NO_CHUNK UINT32_MAX
/* A part is done again so often at most: more often than a context that
 * restarts in vain is brought back, and not for ever if its handler says by
 * itself that it may have run. */
#define MAP_AGAIN_MAX 32u

enum map_style {
	MAP_STYLE_SUM,  /* RESULT, two spaces, name: as sha256sum */
	MAP_STYLE_WC,   /* columns, name, total: as wc */
	MAP_STYLE_JSON  /* an object a line */
};

enum map_state { MAP_BUSY = 0, MAP_DONE, MAP_AGAIN };

/* A file on its way. Its index in the window is also that of its state area.
 * One slot at a time is in flight for it. */
struct map_record {
	struct walk_item item;
	uint64_t bytes;  /* read */
	uint64_t value;  /* of the last completion */
	int32_t code;    /* of a slot that failed, negated; 0: none */
	int32_t error;   /* errno of open or read; 0: none */
	uint32_t flight; /* chunk << 1 | whole file; reader: store-release
			  * before it submits; reaper: load-acquire */
	uint32_t landed; /* parts answered; reaper: store-release */
	uint32_t offset; /* of the part in its chunk */
	uint32_t tries;  /* again */
	bool again;      /* the one that landed was cut short by the loss of
			  * its process: before landed */
	uint32_t state;  /* enum map_state; store-release */
	bool answered;   /* the last part was: there is a result */
};

/* A piece of the chunk buffer; on the free list, being filled, or in use by
 * the slots that name it. */
struct map_chunk {
	uint32_t references; /* atomic */
	uint32_t next;       /* free list */
};

struct map_pool {
	pthread_mutex_t lock;
	struct map_chunk *chunk;
	uint32_t count, free; /* head of the list */
	mk_buffer_t buffer;
	unsigned char *memory; /* the buffer, mapped */
};

struct map_options {
	const char *handler;
	struct cli_engine engine;
	uint32_t readers;
	bool json, stats;
};

struct map {
	struct crew crew;
	const struct map_options *options;
	char name[MK_HANDLER_NAME_BYTES]; /* of the handler */
	uint16_t opcode;
	uint32_t text; /* MK_MAP_UTF8, MK_MAP_POSIX: for the handler */
	enum map_style style;
	int wc_width;       /* of a column */
	bool wc_total;

	struct map_record *window;
	mk_buffer_t states;
	unsigned char *state_memory; /* mapped, or a copy */
	bool states_away; /* a copy: handlers change their states too often
			   * for them to lie behind a bus */
	struct map_pool pool;

	uint32_t again; /* files that are MAP_AGAIN; under reap_lock */
	uint64_t totals[3];
	uint64_t results;   /* state areas read */
	uint64_t allocated; /* bytes of the buffers made */
	uint32_t allocations;
};

static inline struct map *map_of(struct crew *c)
{
	return (struct map *)((char *)c - offsetof(struct map, crew));
}

static inline struct map_record *map_record(struct map *m, uint64_t sequence)
{
	return &m->window[sequence & (MAP_WINDOW - 1)];
}

/* ---- map_setup.c ------------------------------------------------------- */

/* Context, handler, queue, buffers. Prints what fails. 0 or -1. */
int map_open(struct map *m, const struct map_options *options,
	     char *const *paths, unsigned count);
/* The slots that never got an answer do not matter any more. */
void map_close(struct map *m);

/* ---- map_pool.c -------------------------------------------------------- */

/* mk_buffer_create(), counted. */
int map_buffer_create(struct map *m, uint64_t bytes, uint32_t flags,
		      mk_buffer_t *out);
/* Of all chunks for so many threads. */
uint64_t map_pool_bytes(uint32_t threads);

int map_pool_open(struct map *m);
void map_pool_close(struct map *m);
/* A free chunk with one reference, or MAP_NO_CHUNK. */
uint32_t map_pool_get(struct map_pool *p);
void map_pool_hold(struct map_pool *p, uint32_t chunk);
void map_pool_drop(struct map_pool *p, uint32_t chunk);

/* ---- map_read.c -------------------------------------------------------- */

/* A thread of the crew. */
void map_work(struct crew *c, uint32_t thread);
/* Submit a whole file once more, whose chunk is still held. -EAGAIN: the ring
 * is full. */
int map_submit_again(struct map *m, uint64_t sequence);

/* ---- map_reap.c -------------------------------------------------------- */

/* Of the crew, too. */
void map_land(struct crew *c, const struct mk_completion *answer);
unsigned map_print_ready(struct crew *c);

/* ---- map_print.c ------------------------------------------------------- */

/* Print what became of a record. Under reap_lock. */
void map_print(struct map *m, struct map_record *rec);
/* Print what stands below all lines. */
void map_print_end(struct map *m);
/* The column width of wc for these files. 0 or -ENOMEM. */
int map_measure(struct map *m, char *const *paths, unsigned count);

/* ---- map_stats.c ------------------------------------------------------- */

/* The table of --stats, on stderr. */
void map_print_stats(struct map *m);

#endif
