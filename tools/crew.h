/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `map` and `scan` have in common: threads that take files off one walk
 * and submit slots to one queue, and whichever of them is at hand reaps the
 * answers and prints what is ready, in the order of the files.
 *
 * The files on their way are numbered as the walk gives them; [head, tail) are
 * those that are taken and not printed. What is known of each lies in the
 * command's own window.
 */
#ifndef CREW_H
#define CREW_H

#include <pthread.h>
#include <stdbool.h>

#include "cli.h"
#include "map_walk.h"
#include "output.h"

#define CREW_THREADS_MAX 256u

struct crew;

/* What differs. */
struct crew_ops {
	const char *name; /* of the command, for messages */
	uint32_t window;  /* files between walk and print at most */
	/* the place of a file, cleared but for its item; under walk_lock */
	struct walk_item *(*place)(struct crew *c, uint64_t sequence);
	/* an answer, not of a device that is lost for good; -MK_EMAYRUN: its
	 * process was lost, and another has taken over; under reap_lock */
	void (*land)(struct crew *c, const struct mk_completion *a);
	/* print what is ready; how much that was; under reap_lock */
	unsigned (*print)(struct crew *c);
	/* a thread's work, until the walk is at its end or all stopped */
	void (*work)(struct crew *c, uint32_t thread);
};

struct crew {
	const struct crew_ops *ops;
	struct mk_ctx *ctx;
	struct mk_queue *queue;
	uint32_t threads;

	pthread_mutex_t walk_lock;
	struct walk walk;
	uint32_t walked;    /* 1: nothing is left; store-release */
	uint64_t tail;      /* files taken; store-release */

	/* the printer's, under reap_lock, but for what others load */
	pthread_mutex_t reap_lock;
	pthread_cond_t reap_cond;
	uint64_t generation; /* passes that changed something; atomic */
	uint64_t in_flight;  /* slots submitted, not reaped; atomic */
	uint32_t sleepers;   /* on reap_cond; read-modify-write only */
	uint64_t head;       /* files printed; store-release */
	struct output out;
	bool out_tty;        /* lines are to be seen at once */
	char *path;          /* room for a path */
	size_t path_room;
	uint64_t files, failed, bytes; /* atomic */

	uint32_t stop;       /* a thread saw that going on is pointless */
	int fatal;           /* negated code that ended it, 0: enough was seen;
			      * under stop_lock */
	char fatal_text[1024];
	pthread_mutex_t stop_lock;
	uint64_t started_ns, ended_ns;
};

/* ---- crew.c ------------------------------------------------------------ */

/* Everything but engine and walk; cannot fail. */
void crew_init(struct crew *c, const struct crew_ops *ops, uint32_t threads);
/* Context and queue. Prints what fails. 0 or -1. */
int crew_connect(struct crew *c, const struct cli_engine *engine,
		 uint64_t shared_bytes);
/* The files of these paths. Prints what fails. 0 or -1. */
int crew_walk(struct crew *c, char *const *paths, unsigned count);
/* The context goes, whatever slots never got an answer. */
void crew_disconnect(struct crew *c);
/* Afterwards; frees what is left of the walk, too. */
void crew_close(struct crew *c);

/* Take up to `want` files off the walk, the first of them *first. How many; 0:
 * none are left; -EAGAIN: the window is full. */
int crew_take(struct crew *c, unsigned want, uint64_t *first);
/* Everything taken was printed and nothing is left. */
bool crew_finished(struct crew *c);
/* All threads at work until all is printed or stopped; a bar meanwhile, if
 * stderr is a terminal. */
void crew_run(struct crew *c, char *const *paths, unsigned count);

/* A word on stderr if the engine was lost meanwhile and its work done again. */
void crew_note_losses(struct crew *c);

/* ---- crew_reap.c ------------------------------------------------------- */

/* Count n slots as in flight. To be called before they can be reaped. */
void crew_submits(struct crew *c, unsigned n);
/* What mk_queue_get() or mk_queue_submit() said ends it. */
void crew_not_submitted(struct crew *c, int code);
/* Reap and print what is ready, if no other thread does. */
void crew_reap_try(struct crew *c);
/* Wait until something moved since `generation` was loaded. Every slot that
 * the caller wants moved must have been submitted. */
void crew_wait(struct crew *c, uint64_t generation);
uint64_t crew_generation(struct crew *c);
/* There is something to do for those that wait. */
void crew_tell(struct crew *c);
/* End early; the first code and text win. Code 0: nothing is wrong. */
void crew_stop(struct crew *c, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* End early: the device is lost, for the reason that the context keeps. */
void crew_lost(struct crew *c);
bool crew_stopped(struct crew *c);

/* ---- crew_print.c ------------------------------------------------------ */

/* The path of an item, in c->path, in room for `least` bytes or more. False
 * without memory: then all is stopped. */
bool crew_path(struct crew *c, const struct walk_item *item, size_t least);
/* An object a line; frees it. */
void crew_json(struct crew *c, json_t *line);
/* Text, or hexadecimal as NAME_hex where it is not UTF-8. */
void crew_json_text(json_t *line, const char *name, const void *text,
		    size_t bytes);

/* A row of the table of --stats. */
void crew_row(const char *name, uint64_t value, const char *unit);
/* What queue and engine counted, or false: it is said why not. */
bool crew_counts(struct crew *c, struct mk_queue_stats *queue,
		 struct mk_ctx_stats *engine);
void crew_print_counts(const struct mk_queue_stats *queue,
		       const struct mk_ctx_stats *engine);

/* ---- crew_progress.c --------------------------------------------------- */

struct crew_progress;

/* A bar on stderr if that is a terminal of its own; else NULL, which
 * crew_progress_end() takes. */
struct crew_progress *crew_progress_begin(struct crew *c, char *const *paths,
					  unsigned count);
void crew_progress_end(struct crew_progress *p);

#endif
