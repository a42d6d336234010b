/* SPDX-License-Identifier: Apache-2.0 */
/* A dispatch whose outputs are decoded. */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "dispatch/layout.h"
#include "dispatch/outputs.h"

static int no_memory(const char *what)
{
	return mk_error_set(-ENOMEM, ENOMEM, "mk_dispatch_typed",
			    "no memory for the decoded %s", what);
}

static int grow(void **array, uint32_t *capacity, uint32_t n, uint64_t each,
		const char *what)
{
	uint64_t room = *capacity;

	if (mk_array_grow(array, &room, n, each) < 0)
		return no_memory(what);
	*capacity = (uint32_t)room;
	return 0;
}

/* Word 4 of every buffer is its count; 0 if there is no such word. */
static uint32_t count_of(const struct mk_bytes *b)
{
	uint32_t count = 0;

	if (b->data && b->bytes >= 20)
		memcpy(&count, (const unsigned char *)b->data + 16,
		       sizeof(count));
	return count;
}

/* Room for all that the buffers can hold, before anything runs. The input is
 * checked first: its counts are within their limits then. */
static int reserve(struct mk_typed_dispatch_output *out,
		   const struct mk_dispatch_input *in)
{
	void *ending = out->ending, *log = out->log, *io = out->io;
	int r;

	r = grow(&ending, &out->ending_capacity, count_of(&in->ring),
		 sizeof(*out->ending), "slot endings");
	out->ending = ending;
	if (r < 0)
		return r;
	r = grow(&log, &out->log_capacity, count_of(&in->debug_log),
		 sizeof(*out->log), "debug records");
	out->log = log;
	if (r < 0)
		return r;
	r = grow(&io, &out->io_capacity, count_of(&in->io_queue),
		 sizeof(*out->io), "IO records");
	out->io = io;
	return r;
}

static void clear(struct mk_typed_dispatch_output *out)
{
	memset(&out->control, 0, sizeof(out->control));
	memset(&out->log_info, 0, sizeof(out->log_info));
	memset(&out->io_info, 0, sizeof(out->io_info));
	out->endings = 0;
	out->logs = 0;
	out->ios = 0;
}

static uint32_t within(int n, uint32_t capacity)
{
	return (uint32_t)n < capacity ? (uint32_t)n : capacity;
}

static int decode(struct mk_typed_dispatch_output *out)
{
	const struct mk_output_buffer *b = out->raw.buffer;
	int r;

	r = mk_control_decode(b[MK_PART_CONTROL].data,
			      b[MK_PART_CONTROL].bytes, &out->control);
	if (r < 0)
		return r;
	r = mk_ring_decode(b[MK_PART_RING].data, b[MK_PART_RING].bytes,
			   out->ending, out->ending_capacity);
	if (r < 0)
		return r;
	out->endings = within(r, out->ending_capacity);
	r = mk_log_decode(b[MK_PART_LOG].data, b[MK_PART_LOG].bytes, out->log,
			  out->log_capacity, &out->log_info);
	if (r < 0)
		return r;
	out->logs = within(r, out->log_capacity);
	if (out->raw.buffers <= MK_PART_IO)
		return 0;
	r = mk_io_decode(b[MK_PART_IO].data, b[MK_PART_IO].bytes, out->io,
			 out->io_capacity, &out->io_info);
	if (r < 0)
		return r;
	out->ios = within(r, out->io_capacity);
	return 0;
}

int mk_dispatch_typed(struct mk_ctx *ctx,
		      const struct mk_dispatch_params *params,
		      const struct mk_dispatch_input *input,
		      struct mk_typed_dispatch_output *out)
{
	int answered, r;

	if (!out)
		return mk_error_set(-EINVAL, 0, __func__, "out is NULL");
	clear(out);
	out->raw.buffers = 0;
	if (params && params->size >= sizeof(*params) && params->readback)
		return mk_error_set(-EINVAL, 0, __func__,
				    "params.readback is %u, must be 0: all "
				    "buffers are decoded", params->readback);
	r = mk_dispatch_check(input);
	if (!r)
		r = reserve(out, input);
	if (r < 0)
		return r;
	answered = mk_dispatch_into(ctx, params, input, &out->raw);
	if (answered < 0)
		return answered;
	r = decode(out);
	if (r < 0) {
		clear(out);
		return r;
	}
	return answered;
}

void mk_typed_dispatch_output_free(struct mk_typed_dispatch_output *out)
{
	if (!out)
		return;
	mk_dispatch_output_free(&out->raw);
	free(out->ending);
	free(out->log);
	free(out->io);
	memset(out, 0, sizeof(*out));
}
