/* SPDX-License-Identifier: Apache-2.0 */
/* Files, pipes and sockets: added, opened ahead, looked at, closed. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io/error.h"
#include "io/stream.h"

#define PROBES 4u /* places of a file that are looked for in the page cache */

struct mks_source *mks_source_new(const char *path, uint64_t file)
{
	struct mks_source *source = calloc(1, sizeof(*source));

	if (!source)
		return NULL;
	source->file = file;
	source->fd = source->direct_fd = -1;
	source->path = path ? strdup(path) : NULL;
	if (path && !source->path) {
		free(source);
		return NULL;
	}
	return source;
}

static bool changed(const struct mks_source *source)
{
	struct stat now;

	if (!source->known || source->fd < 0)
		return false;
	return fstat(source->fd, &now) ||
	       now.st_size != source->was.st_size ||
	       now.st_mtim.tv_sec != source->was.st_mtim.tv_sec ||
	       now.st_mtim.tv_nsec != source->was.st_mtim.tv_nsec;
}

void mks_source_close(struct mk_stream *s, struct mks_source *source)
{
	if (source->life != MKS_OPEN)
		return;
	source->life = MKS_CLOSED;
	source->changed = changed(source);
	if (source->direct_fd >= 0)
		close(source->direct_fd);
	if (source->fd >= 0)
		close(source->fd);
	source->fd = source->direct_fd = -1;
	s->files_open--;
	s->crowded = false;
}

void mks_source_free(struct mk_stream *s, struct mks_source *source)
{
	if (source->life >= MKS_OPEN)
		MKS_COUNT(s, files_done, 1);
	mks_source_close(s, source);
	if (source->fd >= 0)
		close(source->fd);
	free(source->path);
	free(source);
}

/* ---- what it is --------------------------------------------------------- */

/* Nothing of it is in the page cache, as far as a few places tell. */
static bool cold(const struct mks_source *source)
{
	uint64_t bytes = source->size - source->at;
	char byte;

	for (unsigned i = 0; i < PROBES; i++) {
		struct iovec v = { &byte, 1 };
		off_t at = (off_t)(source->at + bytes / PROBES * i);

		if (preadv2(source->fd, &v, 1, at, RWF_NOWAIT) >= 0 ||
		    errno != EAGAIN)
			return false;
	}
	return true;
}

static void consider_direct(struct mk_stream *s, struct mks_source *source)
{
	char name[40];

	if (s->params.flags & MK_STREAM_NO_DIRECT ||
	    source->size - source->at <= s->params.chunk_bytes ||
	    source->at % MKS_PAGE)
		return;
	if (!(s->params.flags & MK_STREAM_DIRECT) && !cold(source))
		return;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", source->fd);
	source->direct_fd = open(name, O_RDONLY | O_CLOEXEC | O_DIRECT);
	if (source->direct_fd >= 0)
		MKS_COUNT(s, files_direct, 1);
}

void mks_source_look(struct mk_stream *s, struct mks_source *source)
{
	off_t end;

	source->life = MKS_OPEN;
	MKS_COUNT(s, files, 1);
	if (source->error)
		return;
	if (fstat(source->fd, &source->was)) {
		source->error = -errno;
		return;
	}
	source->size = (uint64_t)source->was.st_size;
	if (S_ISDIR(source->was.st_mode)) {
		source->error = -EISDIR;
	} else if (S_ISBLK(source->was.st_mode)) {
		end = lseek(source->fd, 0, SEEK_END);
		source->known = end >= 0;
		source->size = end >= 0 ? (uint64_t)end : 0;
	} else if (S_ISREG(source->was.st_mode)) {
		/* those of /proc say 0 and have something all the same */
		source->known = source->size > 0;
		source->quiet = !source->known;
	} else {
		/* opened by us it does not block; else it has to be told */
		source->now = !source->path;
		source->at = source->first = 0;
	}
	if (source->known && source->at > source->size)
		source->size = source->at;
	if (source->known)
		consider_direct(s, source);
}

/* ---- added and opened --------------------------------------------------- */

bool mks_sources_take(struct mk_stream *s)
{
	struct mks_source *first, **end;

	pthread_mutex_lock(&s->lock);
	first = s->added;
	end = s->added_end;
	s->added = NULL;
	s->added_end = &s->added;
	s->input_over = s->ended;
	pthread_mutex_unlock(&s->lock);
	if (!first)
		return false;
	*s->plan_end = first;
	s->plan_end = end;
	if (!s->to_open)
		s->to_open = first;
	return true;
}

/* Open it if that needs no disk: most do not, and the ring is a detour. */
static bool open_cached(struct mk_stream *s, struct mks_source *source)
{
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
		.resolve = RESOLVE_CACHED,
	};
	long fd;

	if (s->no_cached_open)
		return false;
	fd = syscall(SYS_openat2, AT_FDCWD, source->path, &how, sizeof(how));
	if (fd < 0 && errno == EAGAIN)
		return false;
	if (fd < 0 && (errno == ENOSYS || errno == EINVAL || errno == EPERM)) {
		s->no_cached_open = true; /* not known, or not allowed */
		return false;
	}
	source->op.result = fd < 0 ? -errno : (int32_t)fd;
	mks_source_done(s, source);
	return true;
}

static void open_path(struct mk_stream *s, struct mks_source *source)
{
	source->life = MKS_OPENING;
	if (open_cached(s, source))
		return;
	source->op.kind = MKIO_OPEN;
	source->op.fd = AT_FDCWD;
	source->op.path = source->path;
	source->op.now = source->op.aside = false;
	mkio_ring_start(s->ring, &source->op);
}

bool mks_sources_open(struct mk_stream *s)
{
	bool did = false;

	while (s->to_open && s->files_open < s->params.files_max &&
	       !s->crowded && !s->again) {
		struct mks_source *source = s->to_open;

		s->to_open = source->next;
		if (source->life != MKS_NEW)
			continue;
		s->files_open++;
		did = true;
		if (!source->path) {
			mks_source_look(s, source);
			continue;
		}
		open_path(s, source);
		s->again = source->refused && source->life == MKS_OPENING;
	}
	return did;
}

/* As if it had not been opened yet. */
static void shut(struct mk_stream *s, struct mks_source *source)
{
	if (source->direct_fd >= 0) {
		close(source->direct_fd);
		MKS_COUNT(s, files_direct, -1);
	}
	close(source->fd);
	source->fd = source->direct_fd = -1;
	source->life = MKS_NEW;
	source->known = source->quiet = false;
	MKS_COUNT(s, files, -1);
	s->files_open--;
}

/*
 * No descriptor is left. Those of files that come later are given up, since
 * they would wait for this one; one that is being opened can be when it is.
 * Those of earlier ones will be closed. False: there are no such, others have
 * them all, or the caller, who gave us those that come later.
 */
static bool try_later(struct mk_stream *s, struct mks_source *source)
{
	uint32_t earlier = s->files_open - 1;
	bool opening = false, room = false;

	if (source->op.result != -EMFILE && source->op.result != -ENFILE)
		return false;
	for (struct mks_source *at = source->next; at; at = at->next) {
		earlier -= at->life == MKS_OPEN || at->life == MKS_OPENING;
		opening |= at->life == MKS_OPENING;
		if (at->life == MKS_OPEN && at->path && at->fd >= 0) {
			shut(s, at);
			room = true;
		}
	}
	if (!earlier && !opening && !room)
		return false;
	source->life = MKS_NEW;
	source->refused = true;
	s->crowded = !room;
	s->files_open--;
	/* the first that is NEW: those before it may be freed any time */
	s->to_open = s->plan;
	while (s->to_open->life != MKS_NEW)
		s->to_open = s->to_open->next;
	return true;
}

void mks_source_done(struct mk_stream *s, struct mks_source *source)
{
	int32_t r = source->op.result;

	if (source->life == MKS_OPENING) {
		if (source->refused)
			s->again = false;
		if (r < 0 && try_later(s, source))
			return;
		s->crowded = false; /* who waited for this one looks again */
		source->fd = r;
		source->error = r < 0 ? r : 0;
		mks_source_look(s, source);
		return;
	}
	source->waiting = false;
	source->ready = true; /* or it has ended: a read will tell */
	if (r < 0 && r != -EINTR && r != -EAGAIN)
		source->error = r;
}
