/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a handler asked for is checked here, all of it: it was copied out of
 * shared memory once, and may say anything.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/service.h"

/* The file of an index, for this; one more user. */
static int file_take(struct mk_io *io, uint64_t index, uint32_t mode,
		     struct mkio_file **out)
{
	uint64_t place = index & 0xffff;
	struct mkio_file *f;
	int r = 0;

	pthread_mutex_lock(&io->lock);
	f = &io->files[place < io->params.files_max ? place : 0];
	if (place >= io->params.files_max || f->fd < 0 || !f->mode ||
	    index != MKIO_FILE_INDEX(place, f->generation))
		r = -EBADF;
	else if (!(f->mode & mode))
		r = -MK_EACCESS;
	else
		f->users++;
	pthread_mutex_unlock(&io->lock);
	if (!r)
		*out = f;
	return r;
}

static void file_let(struct mk_io *io, struct mkio_file *f)
{
	int fd = -1;

	pthread_mutex_lock(&io->lock);
	if (!--f->users && !f->mode) {
		fd = f->fd;
		f->fd = -1;
	}
	pthread_mutex_unlock(&io->lock);
	if (fd >= 0)
		close(fd);
}

/* The range of the buffer, held. */
static int buffer_take(struct mk_io *io, struct mkio_request *r)
{
	const struct mk_io_asked *a = &r->asked;
	struct mk_buffer_held held;
	int e = mk_buffer_hold(io->ctx, a->buffer, &held);

	if (e)
		return e;
	r->held = true;
	if (a->buffer_offset > held.bytes ||
	    a->bytes > held.bytes - a->buffer_offset)
		return -MK_ERANGE;
	if (a->op == MK_IO_READ && held.flags & MK_BUFFER_READ_ONLY)
		return -MK_EACCESS;
	r->memory = held.memory ? held.memory + a->buffer_offset : NULL;
	if (!r->memory && !r->staging)
		r->staging = malloc(io->params.staging_bytes);
	return r->memory || r->staging ? 0 : -ENOMEM;
}

int mkio_request_check(struct mk_io *io, struct mkio_request *r)
{
	const struct mk_io_asked *a = &r->asked;
	int e;

	r->file = NULL;
	r->held = false;
	if (a->op == MK_IO_FENCE)
		return 0;
	if (a->op != MK_IO_READ && a->op != MK_IO_WRITE)
		return -MK_EARGS;
	if (a->offset > INT64_MAX || a->bytes > INT64_MAX - a->offset)
		return -MK_ERANGE;
	e = file_take(io, a->file, a->op == MK_IO_READ ? MK_IO_MAY_READ :
							 MK_IO_MAY_WRITE,
		      &r->file);
	return e ? e : buffer_take(io, r);
}

void mkio_request_release(struct mk_io *io, struct mkio_request *r)
{
	if (r->file)
		file_let(io, r->file);
	if (r->held)
		mk_buffer_let(io->ctx, r->asked.buffer);
	r->file = NULL;
	r->held = false;
}
