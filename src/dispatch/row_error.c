/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a resident row did not run. The engine answers with a code; which buffer
 * and which word it means is found by looking at the buffers from here, with
 * the checks that it made there. Off every hot path.
 */
#include <stdlib.h>

#include "base/error.h"
#include "dispatch/layout.h"
#include "dispatch/resident.h"

mk_buffer_t mk_row_handle(const struct mk_resident_handles *h,
			  enum mk_part part)
{
	switch (part) {
	case MK_PART_CONTROL:
		return h->control;
	case MK_PART_RING:
		return h->ring;
	case MK_PART_LOG:
		return h->debug_log;
	default:
		return h->io_queue;
	}
}

/* What is wrong with the bytes of one buffer: a code, with the error set. */
static int check_bytes(struct mk_ctx *ctx, enum mk_part part,
		       mk_buffer_t handle, uint64_t bytes)
{
	struct mk_wire_header header = { .bytes = 0 };
	void *data;
	int r = 0;

	if (bytes >= sizeof(header))
		r = mk_buffer_read(ctx, handle, 0, &header, sizeof(header));
	/* a resident buffer may be longer than what it holds */
	if (header.bytes && header.bytes < bytes)
		bytes = header.bytes;
	data = r < 0 ? NULL : malloc(bytes);
	if (!data)
		return 0;
	r = mk_buffer_read(ctx, handle, 0, data, bytes);
	r = r < 0 ? 0 : mk_input_check("", part, data, bytes);
	free(data);
	return r;
}

/* True if this buffer fails for the same reason as the row did; the error
 * that is set says what it is. */
static bool at_fault(struct mk_ctx *ctx, enum mk_part part, mk_buffer_t handle,
		     int32_t result)
{
	uint64_t bytes;
	int r = mk_buffer_bytes(ctx, handle, &bytes);

	if (!r)
		r = check_bytes(ctx, part, handle, bytes);
	return r == result;
}

int mk_row_failed(const char *operation, struct mk_ctx *ctx,
		  const struct mk_resident_handles *h, int32_t result)
{
	for (int part = 0; part < (int)MK_PARTS; part++) {
		const char *name = mk_part_layout[part].name;
		mk_buffer_t handle = mk_row_handle(h, part);
		struct mk_error why;
		size_t n = strlen(name);

		if ((part == MK_PART_IO && !handle) ||
		    !at_fault(ctx, part, handle, result))
			continue;
		why = *mk_error_last();
		/* checks name the buffer, calls on handles do not */
		return strncmp(why.text, name, n) != 0 || why.text[n] != ':' ?
			mk_error_set(result, 0, operation, "%s: %.900s", name,
				     why.text) :
			mk_error_set(result, 0, operation, "%.900s",
				     why.text);
	}
	return mk_error_set(result, 0, operation,
			    "the row did not run to its end: %s (%s); see "
			    "the buffers of its handles",
			    mk_code_name(result), mk_strerror(result));
}
