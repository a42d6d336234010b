/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a service, its tables, and who serves when. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/order.h"
#include "io/error.h"
#include "io/service.h"

#define NAP_LEAST_NS 20000u

/* ---- serving ------------------------------------------------------------ */

/* Until there is something to reap, or for so long. */
static void nap(struct mk_io *io, uint64_t ns)
{
	struct timespec t = { .tv_sec = (time_t)(ns / 1000000000u),
			      .tv_nsec = (long)(ns % 1000000000u) };
	struct pollfd f = { .fd = mkio_ring_fd(io->ring), .events = POLLIN };

	ppoll(&f, mkio_ring_count(io->ring) ? 1 : 0, &t, NULL);
}

/* With `turn`. What is shared memory cannot be waited for, so it is looked at:
 * often while requests come, less often when they have not for a while. */
static int run_once(struct mk_io *io, uint64_t deadline)
{
	uint64_t pause = NAP_LEAST_NS;

	for (;;) {
		int n = mkio_finish(io);
		uint64_t now, left;

		n += mkio_take(io);
		now = mk_now_ns();
		if (n || mkio_ring_count(io->ring))
			io->busy_ns = now;
		if (n || mk_load_acquire(&io->stop))
			return n;
		left = deadline > now ? deadline - now : 0;
		if (!left)
			return 0;
		if (now - io->busy_ns < io->params.spin_ns) {
			mk_pause();
			continue;
		}
		nap(io, pause < left ? pause : left);
		pause *= 2;
		if (pause > io->params.nap_ns)
			pause = io->params.nap_ns;
	}
}

int mk_io_run_once(struct mk_io *io, uint64_t timeout_ns)
{
	int n;

	if (!io)
		return mkio_null("mk_io_run_once", "io");
	if (pthread_mutex_trylock(&io->turn))
		return mkio_error(-EBUSY, 0, "mk_io_run_once",
				  "another thread serves: %s",
				  io->threaded ? "the service's own" :
						 "it is in this call");
	n = run_once(io, mk_deadline_after(timeout_ns));
	pthread_mutex_unlock(&io->turn);
	return n;
}

static void *serve(void *arg)
{
	struct mk_io *io = arg;

	pthread_mutex_lock(&io->turn);
	while (!mk_load_acquire(&io->stop))
		run_once(io, UINT64_MAX);
	pthread_mutex_unlock(&io->turn);
	return NULL;
}

/* ---- making and ending -------------------------------------------------- */

static int bad(const char *field, uint64_t value, const char *limit)
{
	return mkio_error(-EINVAL, 0, "mk_io_create",
			  "params.%s is %llu, must be %s", field,
			  (unsigned long long)value, limit);
}

static int check_params(struct mk_io_params *p)
{
#define DEFAULT(field, value) p->field = p->field ? p->field : (value)
	DEFAULT(entries, 64);
	DEFAULT(files_max, 256);
	DEFAULT(queues_max, 64);
	DEFAULT(threads, 4);
	DEFAULT(staging_bytes, 256u << 10);
	DEFAULT(spin_ns, 20000);
	DEFAULT(nap_ns, 1000000);
#undef DEFAULT
	if (p->flags & ~(uint32_t)(MK_IO_THREAD | MK_IO_NO_URING))
		return bad("flags", p->flags, "of enum mk_io_flags");
	if (p->entries > 4096)
		return bad("entries", p->entries, "1 to 4,096, or 0 for 64");
	if (p->files_max > 65535)
		return bad("files_max", p->files_max,
			   "1 to 65,535, or 0 for 256");
	if (p->queues_max > 1024)
		return bad("queues_max", p->queues_max,
			   "1 to 1,024, or 0 for 64");
	if (p->threads > 32)
		return bad("threads", p->threads, "1 to 32, or 0 for 4");
	if (p->staging_bytes > 1u << 30)
		return bad("staging_bytes", p->staging_bytes,
			   "1 to 2^30, or 0 for 256 KiB");
	if (p->reserved)
		return bad("reserved", p->reserved, "0");
	return 0;
}

static void io_free(struct mk_io *io)
{
	for (uint32_t i = 0; io->files && i < io->params.files_max; i++)
		if (io->files[i].fd >= 0)
			close(io->files[i].fd);
	for (uint32_t i = 0; io->requests && i < io->params.entries; i++)
		free(io->requests[i].staging);
	mkio_ring_destroy(io->ring);
	pthread_mutex_destroy(&io->lock);
	pthread_mutex_destroy(&io->turn);
	free(io->files);
	free(io->served);
	free(io->requests);
	free(io->asked);
	free(io);
}

static int make_tables(struct mk_io *io)
{
	const struct mk_io_params *p = &io->params;
	struct mkio_ring_params ring = {
		.entries = p->entries,
		.threads = p->threads,
		.no_uring = p->flags & MK_IO_NO_URING,
	};

	io->files = calloc(p->files_max, sizeof(*io->files));
	for (uint32_t i = 0; io->files && i < p->files_max; i++)
		io->files[i].fd = -1;
	io->served = calloc(p->queues_max, sizeof(*io->served));
	io->requests = calloc(p->entries, sizeof(*io->requests));
	io->asked = calloc(p->entries, sizeof(*io->asked));
	if (!io->files || !io->served || !io->requests || !io->asked)
		return mkio_error(-ENOMEM, ENOMEM, "mk_io_create",
				  "no memory for a service of %u requests",
				  p->entries);
	io->open.next = io->open.prev = &io->open;
	for (uint32_t i = 0; i < p->entries; i++) {
		io->requests[i].next = io->idle;
		io->idle = &io->requests[i];
	}
	return mkio_ring_create(&ring, "mk_io_create", &io->ring);
}

/* Signals are for the caller's threads. */
static int start_thread(struct mk_io *io)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&io->thread, NULL, serve, io);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return mkio_error(-r, r, "mk_io_create",
				  "no thread can be started: %s",
				  strerror(r));
	io->threaded = true;
	return 0;
}

int mk_io_create(struct mk_ctx *ctx, const struct mk_io_params *params,
		 struct mk_io **out)
{
	struct mk_io_params p;
	struct mk_io *io;
	int r = mkio_params(&p, sizeof(p), params, "mk_io_create");

	if (!r)
		r = check_params(&p);
	if (!r && (!ctx || !out))
		r = mkio_null("mk_io_create", ctx ? "out" : "ctx");
	if (r)
		return r;
	io = calloc(1, sizeof(*io));
	if (!io)
		return mkio_error(-ENOMEM, ENOMEM, "mk_io_create",
				  "no memory for a service");
	io->ctx = ctx;
	io->params = p;
	pthread_mutex_init(&io->lock, NULL);
	pthread_mutex_init(&io->turn, NULL);
	r = make_tables(io);
	if (!r)
		io->stats.uring = mkio_ring_is_uring(io->ring);
	if (!r && p.flags & MK_IO_THREAD)
		r = start_thread(io);
	if (r) {
		io_free(io);
		return r;
	}
	*out = io;
	return 0;
}

/* What was begun ends, whoever serves; how many have not in time. */
static uint64_t wait_until_closed(struct mk_io *io, const struct mkio_served *s,
			      uint64_t deadline)
{
	struct timespec pause = { 0, 100000 };

	for (;;) {
		uint64_t open = 0;

		pthread_mutex_lock(&io->lock);
		for (uint32_t i = 0; i < io->params.queues_max; i++)
			if (!s || s == &io->served[i])
				open += io->served[i].open;
		pthread_mutex_unlock(&io->lock);
		if (!open || !mk_time_left(deadline))
			return open;
		if (!pthread_mutex_trylock(&io->turn)) {
			mkio_finish(io);
			mkio_ring_kick(io->ring);
			pthread_mutex_unlock(&io->turn);
		}
		nanosleep(&pause, NULL);
	}
}

int mk_io_destroy(struct mk_io *io, uint64_t timeout_ns)
{
	uint64_t open;

	if (!io)
		return 0;
	pthread_mutex_lock(&io->lock);
	io->leaving = true;
	pthread_mutex_unlock(&io->lock);
	open = wait_until_closed(io, NULL, mk_deadline_after(timeout_ns));
	if (open)
		return mkio_error(-ETIME, 0, "mk_io_destroy",
				  "%llu requests are under way",
				  (unsigned long long)open);
	if (io->threaded) {
		mk_store_release(&io->stop, true);
		pthread_join(io->thread, NULL);
	}
	io_free(io);
	return 0;
}

/* ---- files -------------------------------------------------------------- */

static int check_file(int fd, uint32_t mode)
{
	static const char what[] = "mk_io_file_add";
	struct stat st;
	int flags;

	if (!mode || mode & ~(uint32_t)(MK_IO_MAY_READ | MK_IO_MAY_WRITE))
		return mkio_error(-EINVAL, 0, what,
				  "mode is 0x%x, must be of enum mk_io_mode, "
				  "and not 0", mode);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fstat(fd, &st))
		return mkio_error(-errno, errno, what,
				  "descriptor %d cannot be used: %s", fd,
				  strerror(errno));
	if ((mode & MK_IO_MAY_READ && (flags & O_ACCMODE) == O_WRONLY) ||
	    (mode & MK_IO_MAY_WRITE && (flags & O_ACCMODE) == O_RDONLY) ||
	    flags & O_PATH)
		return mkio_error(-EACCES, 0, what,
				  "mode is 0x%x, but descriptor %d is not "
				  "open for that", mode, fd);
	if (S_ISDIR(st.st_mode) || lseek(fd, 0, SEEK_CUR) < 0)
		return mkio_error(-ESPIPE, 0, what,
				  "descriptor %d has no positions: only "
				  "regular files and block devices have; see "
				  "mk_stream_add_fd()", fd);
	if (mode & MK_IO_MAY_WRITE && flags & O_APPEND)
		return mkio_error(-EINVAL, 0, what,
				  "descriptor %d is open with O_APPEND: a "
				  "write would not go where it says", fd);
	return 0;
}

int mk_io_file_add(struct mk_io *io, int fd, uint32_t mode, uint32_t *index)
{
	int r = !io || !index ?
			mkio_null("mk_io_file_add", io ? "index" : "io") :
			check_file(fd, mode);
	struct mkio_file *f = NULL;
	int own;

	if (r)
		return r;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (own < 0)
		return mkio_error(-errno, errno, "mk_io_file_add",
				  "descriptor %d cannot be duplicated: %s", fd,
				  strerror(errno));
	pthread_mutex_lock(&io->lock);
	for (uint32_t i = 0; i < io->params.files_max && !f; i++) {
		if (io->files[i].fd >= 0)
			continue;
		f = &io->files[i];
		f->fd = own;
		f->mode = mode;
		f->generation++;
		*index = MKIO_FILE_INDEX(i, f->generation);
	}
	pthread_mutex_unlock(&io->lock);
	if (f)
		return 0;
	close(own);
	return mkio_error(-ENOSPC, 0, "mk_io_file_add",
			  "%u files are registered; raise "
			  "mk_io_params.files_max", io->params.files_max);
}

int mk_io_file_remove(struct mk_io *io, uint32_t index)
{
	uint32_t place = index & 0xffff;
	int fd = -1, r = -EBADF;

	if (!io)
		return mkio_null("mk_io_file_remove", "io");
	pthread_mutex_lock(&io->lock);
	if (place < io->params.files_max) {
		struct mkio_file *f = &io->files[place];

		if (f->mode && index == MKIO_FILE_INDEX(place, f->generation)) {
			r = 0;
			f->mode = 0;
			if (!f->users) {
				fd = f->fd;
				f->fd = -1;
			}
		}
	}
	pthread_mutex_unlock(&io->lock);
	if (fd >= 0)
		close(fd);
	return r ? mkio_error(r, 0, "mk_io_file_remove",
			      "no file is registered as 0x%x", index) : 0;
}

/* ---- queues ------------------------------------------------------------- */

int mk_io_queue_add(struct mk_io *io, struct mk_queue *q)
{
	struct mkio_served *free_one = NULL;
	int r = 0;

	if (!io || !q)
		return mkio_null("mk_io_queue_add", io ? "q" : "io");
	pthread_mutex_lock(&io->lock);
	for (uint32_t i = 0; i < io->params.queues_max; i++) {
		struct mkio_served *s = &io->served[i];

		if (s->q == q)
			r = -EALREADY;
		else if (!s->q && !free_one)
			free_one = s;
	}
	if (!r && free_one)
		*free_one = (struct mkio_served){ .q = q };
	pthread_mutex_unlock(&io->lock);
	if (r)
		return mkio_error(r, 0, "mk_io_queue_add",
				  "the queue is served already");
	if (!free_one)
		return mkio_error(-ENOSPC, 0, "mk_io_queue_add",
				  "%u queues are served; raise "
				  "mk_io_params.queues_max",
				  io->params.queues_max);
	return 0;
}

static void keep_counts(struct mk_io *io, struct mk_queue *q)
{
	struct mk_io_info info;

	if (!mk_queue_io_info(q, &info))
		io->stats.full += info.refused;
}

int mk_io_queue_remove(struct mk_io *io, struct mk_queue *q,
		       uint64_t timeout_ns)
{
	struct mkio_served *s = NULL;
	uint64_t open;

	if (!io || !q)
		return mkio_null("mk_io_queue_remove", io ? "q" : "io");
	pthread_mutex_lock(&io->lock);
	for (uint32_t i = 0; i < io->params.queues_max && !s; i++)
		if (io->served[i].q == q)
			s = &io->served[i];
	if (s)
		s->leaving = true;
	pthread_mutex_unlock(&io->lock);
	if (!s)
		return mkio_error(-ENOENT, 0, "mk_io_queue_remove",
				  "the queue is not served");
	open = wait_until_closed(io, s, mk_deadline_after(timeout_ns));
	if (open)
		return mkio_error(-ETIME, 0, "mk_io_queue_remove",
				  "%llu requests of the queue are under way",
				  (unsigned long long)open);
	pthread_mutex_lock(&io->lock);
	keep_counts(io, q);
	s->q = NULL;
	pthread_mutex_unlock(&io->lock);
	return 0;
}

int mk_io_stats(struct mk_io *io, struct mk_io_stats *out)
{
	if (!io || !out)
		return mkio_null("mk_io_stats", io ? "out" : "io");
	pthread_mutex_lock(&io->lock);
	*out = io->stats;
	for (uint32_t i = 0; i < io->params.queues_max; i++) {
		struct mk_io_info info;

		out->in_flight += io->served[i].open;
		if (io->served[i].q &&
		    !mk_queue_io_info(io->served[i].q, &info))
			out->full += info.refused;
	}
	pthread_mutex_unlock(&io->lock);
	return 0;
}
