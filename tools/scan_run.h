/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `megakernel scan`: files go round in chunks.
 *
 *	walk -> file -> read into a chunk -> slot -> engine
 *	                                                |
 *	stdout <- print, in order <- matches <- reap <--+
 *
 * A chunk holds whole lines: pieces of one file or of many small ones, and it
 * is searched by one slot. Threads are alike (scan_read.c): each takes some
 * files off the walk, reads them into chunks of its own, submits these, then
 * reaps and prints what is ready if no other thread is at it (scan_reap.c).
 * Large files are read by all of them, part by part, the first one first
 * (scan_share.c): they are printed one after the other, and what is read of
 * later ones meanwhile has to wait in its chunks.
 *
 * Why it never stands still: a chunk is freed when what it holds is printed,
 * in the order of the files. The reader of the first file that is not printed
 * has in its chunks nothing but that file and earlier ones; so its chunks come
 * back, once it has submitted what it holds, which it does before it waits.
 * A part of a file that is not its own it takes only if it has chunks for all
 * of it that are free.
 */
#ifndef SCAN_RUN_H
#define SCAN_RUN_H

#include <stddef.h>

#include "crew.h"
#include "scan/scan_compile.h"

#define SCAN_WINDOW 16384u          /* files between walk and print; 2^n */
/* A file is text up to the block of this size that has the first NUL, as for
 * grep. */
#define SCAN_BLOCK 98304u
#define SCAN_READ (2u * SCAN_BLOCK) /* of a file at once */
#define SCAN_CHUNK 262144u          /* with the rest of the line before it */
#define SCAN_TEXT (SCAN_CHUNK - MK_SCAN_PAD)
#define SCAN_PIECES 64u             /* of a chunk */
#define SCAN_CHUNKS 12u             /* of a thread */
#define SCAN_CHUNKS_AWAY 60u        /* where there are workers by the hundred */
#define SCAN_FIFO 64u               /* pieces of a track on their way; 2^n */
#define SCAN_PART (4u * SCAN_READ)  /* of a shared file, for one reader */
#define SCAN_PARTS 256u             /* of a shared file on their way; 2^n */
#define SCAN_ROOM 2046u             /* matches that a slot may leave */
#define SCAN_RESULT_BYTES (16u + 8u * SCAN_ROOM)
#define SCAN_LINE_MAX (1u << 28)    /* bytes of a line, about */
#define SCAN_NO_CHUNK UINT32_MAX
#define SCAN_IS_OUTPUT (1 << 20)    /* in place of an errno: not searched */
#define SCAN_AGAIN_MAX 32u          /* searches of a chunk that came to none:
				     * more than restarts of a context */

/* Pieces on their way from one reader to the printer. */
struct scan_track {
	uint32_t fifo[SCAN_FIFO]; /* chunk << 8 | piece, in their order */
	uint32_t put;    /* reader: store-release */
	uint32_t ended;  /* no more pieces; reader: store-release */
	uint32_t got;    /* the printer's */
	int32_t error;   /* before `ended`: errno of open or read; 0: none */
	uint64_t long_line; /* where one begins that is too long; with error
			     * -EFBIG */
};

/*
 * A large file that all threads read: parts of so many bytes, each with a
 * track of its own. A part has the lines that end in it, so the reader of one
 * looks for the beginning of its first line before it.
 *
 * Who found the file takes part after part, as others do, until all are taken;
 * the last, which ends where the file does, is always its own.
 */
struct scan_share {
	struct scan_share *next; /* in the order of the files; share_lock */
	uint64_t sequence;
	uint64_t taken;   /* parts; share_lock */
	uint64_t parts;   /* less once the rest is not wanted; share_lock */
	uint64_t printed; /* parts; printer: store-release */
	uint32_t users;   /* share_lock; the last one frees it */
	int fd;
	struct scan_track track[SCAN_PARTS];
};

/* A file on its way, from the walk to its last line. */
struct scan_file {
	struct walk_item item;
	struct scan_track track;  /* if it has one reader */
	struct scan_share *share; /* else; store-release */
	uint32_t enough; /* the rest is not wanted; printer: relaxed */
	/* the printer's */
	int32_t error;   /* of a track; 0: none */
	uint64_t long_line;
	bool binary;          /* from binary_from on */
	bool told_binary;
	uint64_t binary_from;
	uint64_t lines;       /* that match; with matches, lest one is empty */
	uint64_t matches;
};

/* A run of whole lines of a file. */
struct scan_piece {
	uint64_t file;     /* sequence */
	uint64_t offset;   /* of its first byte in the file */
	uint32_t at, bytes; /* in the chunk */
	uint32_t nul_left; /* 1: what was read behind it has a NUL... */
	uint64_t nul_at;   /* ...here, in the file */
};

struct scan_chunk {
	struct scan_piece piece[SCAN_PIECES];
	uint32_t pieces;    /* while it is filled: the reader's */
	uint32_t bytes;     /* of text */
	uint32_t unprinted; /* pieces; atomic, the last one frees it */
	uint32_t state;     /* enum scan_chunk_state; atomic */
	/* the printer's, once it is searched */
	uint32_t from;      /* where the slot in flight began to search */
	uint32_t next;      /* all before it is searched */
	uint32_t matches, used; /* records, of which so many were printed */
	uint32_t nul;       /* its first NUL, or UINT32_MAX */
	int32_t code;       /* of a slot that failed; 0: none */
	uint32_t tries;     /* that its process did not survive */
	unsigned char *text;
	struct mk_scan_result *result;
	/* a long line's */
	mk_buffer_t own;
	uint64_t own_bytes; /* 0: no memory of its own */
};

enum scan_chunk_state { SCAN_FREE = 0, SCAN_BUSY, SCAN_DONE, SCAN_AGAIN };

enum scan_style {
	SCAN_STYLE_MATCH, /* PATH:OFFSET:TEXT */
	SCAN_STYLE_COUNT, /* PATH:LINES */
	SCAN_STYLE_FILES, /* PATH */
	SCAN_STYLE_QUIET
};

struct scan_settings {
	struct scan_options compile;
	struct cli_engine engine;
	uint32_t readers;
	enum scan_style style;
	bool text;      /* -a */
	bool skip;      /* -I */
	bool bare;      /* -h */
	bool quiet_errors; /* -s */
	bool json, stats;
};

struct scan {
	struct crew crew;
	const struct scan_settings *settings;
	const void *image;
	size_t image_bytes;
	mk_buffer_t image_buffer, pool, results;
	uint32_t flags; /* of a slot */

	struct scan_file *window;
	/* chunks_each and one more a thread: that is a long line's, with
	 * memory of its own */
	struct scan_chunk *chunk;
	uint32_t chunks_each;

	pthread_mutex_t share_lock;
	struct scan_share *shares; /* with parts that nobody has taken */
	uint32_t sharing;          /* there are such; atomic */
	uint64_t shared;           /* files so far; atomic */

	uint64_t output_dev, output_ino; /* a file that stdout goes to */
	bool output_is_file;

	/* the printer's, under reap_lock, but for what others load */
	size_t path_bytes;             /* of crew.path */
	uint64_t chunks, again;        /* slots; of these, for want of room */
	uint64_t matched;              /* files with a line that matches */
	uint64_t matches, lines;       /* printed or counted */
	bool selected;                 /* a line matches somewhere */
};

static inline struct scan *scan_of(struct crew *c)
{
	return (struct scan *)((char *)c - offsetof(struct scan, crew));
}

static inline struct scan_file *scan_file(struct scan *s, uint64_t sequence)
{
	return &s->window[sequence & (SCAN_WINDOW - 1)];
}

/* ---- scan_patterns.c --------------------------------------------------- */

struct scan_patterns {
	struct scan_pattern *list;
	size_t count, room;
	char **memory; /* what -f read */
	size_t pieces;
};

/* The patterns of -e, or of a file: one a line. Prints what fails. 0 or -1. */
int scan_patterns_add(struct scan_patterns *p, const char *text,
		      size_t bytes);
int scan_patterns_file(struct scan_patterns *p, const char *path);
void scan_patterns_free(struct scan_patterns *p);

/* ---- scan_setup.c ------------------------------------------------------ */

/* Context, tables, queue, buffers. Prints what fails. 0 or -1. */
int scan_open(struct scan *s, const struct scan_settings *settings,
	      const void *image, size_t image_bytes, char *const *paths,
	      unsigned count);
void scan_close(struct scan *s);

/* ---- scan_read.c ------------------------------------------------------- */

struct scan_reader {
	struct scan *s;
	uint32_t first; /* of its chunks */
	uint32_t chunk; /* being filled; SCAN_NO_CHUNK: none */
	uint32_t used;  /* bytes of it */
	unsigned batch; /* files to take at once */
};

/* The file that is read, or a part of it. */
struct scan_source {
	struct scan *scan;
	struct scan_file *file;
	struct scan_track *track;
	uint64_t sequence;
	uint64_t offset;   /* of what r->chunk has of it */
	uint64_t position; /* of what is read next */
	uint64_t begin;    /* of the part */
	uint64_t limit;    /* no line of it ends behind */
	uint32_t got;      /* bytes that r->chunk has of it */
	int fd;
	bool pipe, part;
};

/* A thread of the crew. */
void scan_work(struct crew *c, uint32_t thread);

/* Read on from from->position, in a chunk of its own, up to the limit; that
 * ends the track. */
void scan_stream(struct scan_reader *r, struct scan_source *from);
/* No more pieces come. */
void scan_settle(struct scan_track *t, int error);
/* A chunk with nothing in it is r->chunk then; false: all was stopped. */
bool scan_clear(struct scan_reader *r);
/* Has it chunks enough for a part, whatever becomes of the others? */
bool scan_has_room(struct scan_reader *r);
/* Up to `room` bytes at `offset`; how many, less than that only at the end, or
 * a negated errno. */
int64_t scan_read_at(int fd, unsigned char *at, uint32_t room,
		     uint64_t offset);

/* Submit a chunk from its `next` on; -EAGAIN: the ring is full. */
int scan_submit(struct scan *s, uint32_t chunk);

/* ---- scan_share.c ------------------------------------------------------ */

/* Share this file with other readers, if it is large enough, and read it with
 * them until nothing of it is left to be taken. False: it is not shared. Else
 * the descriptor is not the caller's any more. */
bool scan_share(struct scan_reader *r, const struct scan_source *from);
/* Read a part of a file that another thread has found; false: none is to be
 * had. */
bool scan_share_help(struct scan_reader *r);
/* The printer's: nobody shall take another part. */
void scan_share_cut(struct scan *s, struct scan_share *share);
void scan_share_drop(struct scan *s, struct scan_share *share);

/* ---- scan_reap.c ------------------------------------------------------- */

/* Of the crew, too. */
void scan_land(struct crew *c, const struct mk_completion *answer);
unsigned scan_print_ready(struct crew *c);

/* ---- scan_print.c ------------------------------------------------------ */

/* A piece of the first file: print what is known of it. 1: that was all of
 * it; 0: the chunk has to be searched on. */
int scan_print_piece(struct scan *s, struct scan_file *f,
		     struct scan_chunk *c, struct scan_piece *p);
/* What stands behind a file's matches. */
void scan_print_end(struct scan *s, struct scan_file *f);

/* ---- scan_stats.c ------------------------------------------------------ */

void scan_print_stats(struct scan *s);

#endif
