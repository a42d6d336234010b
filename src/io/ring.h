/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input and output that is under way: one interface for io_uring and, where
 * the kernel forbids that or the build has no liburing, for threads that call
 * pread and pwrite. One thread uses a ring.
 */
#ifndef MK_IO_RING_H
#define MK_IO_RING_H

#include <stdbool.h>
#include <stdint.h>

enum mkio_kind { MKIO_READ, MKIO_WRITE, MKIO_OPEN, MKIO_POLL };

#define MKIO_HERE UINT64_MAX /* offset: where the file stands */
#define MKIO_NO_BUFFER 0xffffffffu

/* One operation; the caller's, from start to reap. */
struct mkio_op {
	uint32_t kind;     /* enum mkio_kind */
	int fd;            /* OPEN: of the directory, or AT_FDCWD */
	void *data;        /* READ, WRITE */
	uint32_t bytes;
	uint32_t buffer;   /* number of the registered one that data is in */
	uint64_t offset;
	const char *path;  /* OPEN: for reading, without blocking */
	bool now;          /* READ: what is there, or -EAGAIN */
	bool aside;        /* by a thread of the kernel's: copies run side by
			    * side */
	int32_t result;    /* as the system call's, negated errno */
	bool failed_now;   /* the file cannot do `now` */
	struct mkio_op *next;
};

struct mkio_ring;

struct mkio_ring_params {
	unsigned entries;  /* operations under way at most */
	unsigned threads;  /* that copy at once */
	bool no_uring;
};

/* -ENOMEM, -EMFILE, -EAGAIN (no threads). */
int mkio_ring_create(const struct mkio_ring_params *params,
		     const char *operation, struct mkio_ring **out);
/* Nothing is under way. */
void mkio_ring_destroy(struct mkio_ring *r);

/* Start an operation; it may wait for mkio_ring_kick(). */
void mkio_ring_start(struct mkio_ring *r, struct mkio_op *op);
/* 0, or why what was started is stuck. */
int mkio_ring_kick(struct mkio_ring *r);
/* One that has ended, or NULL. */
struct mkio_op *mkio_ring_reap(struct mkio_ring *r);
/* Make operations that wait for something to come end with -ECANCELED. */
void mkio_ring_cancel(struct mkio_ring *r);
/* Readable when there is something to reap. */
int mkio_ring_fd(const struct mkio_ring *r);
/* Under way. */
unsigned mkio_ring_count(const struct mkio_ring *r);
bool mkio_ring_is_uring(const struct mkio_ring *r);

/* Tell the kernel of memory that is read into often: n ranges of `bytes`. True
 * if it took them. */
bool mkio_ring_register(struct mkio_ring *r, void *const *base,
			uint64_t bytes, unsigned n);

/* ---- the two kinds ------------------------------------------------------ */

struct mkio_ring_ops {
	void (*destroy)(struct mkio_ring *r);
	void (*start)(struct mkio_ring *r, struct mkio_op *op);
	int (*kick)(struct mkio_ring *r);
	struct mkio_op *(*reap)(struct mkio_ring *r);
	void (*cancel)(struct mkio_ring *r);
	bool (*add)(struct mkio_ring *r, void *const *base, uint64_t bytes,
		    unsigned n);
};

struct mkio_ring {
	const struct mkio_ring_ops *ops;
	int fd;
	unsigned count; /* under way */
};

/* -ENOSYS: not built in; -EPERM and such: the kernel forbids it. */
int mkio_uring_create(const struct mkio_ring_params *params,
		      struct mkio_ring **out);
int mkio_threads_create(const struct mkio_ring_params *params,
			struct mkio_ring **out);
extern const struct mkio_ring_ops mkio_uring;

#endif
