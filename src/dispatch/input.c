/* SPDX-License-Identifier: Apache-2.0 */
/* The four host buffers that are handed to a dispatch. */
#include <errno.h>

#include "base/error.h"
#include "dispatch/layout.h"

const struct mk_bytes *mk_input_part(const struct mk_dispatch_input *in,
				     enum mk_part part)
{
	switch (part) {
	case MK_PART_CONTROL:
		return &in->control;
	case MK_PART_RING:
		return &in->ring;
	case MK_PART_LOG:
		return &in->debug_log;
	default:
		return &in->io_queue;
	}
}

bool mk_input_left_out(const struct mk_bytes *b, enum mk_part part)
{
	return part == MK_PART_IO && !b->data && !b->bytes;
}

int mk_input_check(const char *operation, enum mk_part part, const void *data,
		   uint64_t bytes)
{
	switch (part) {
	case MK_PART_CONTROL:
		return mk_control_check_input(operation, data, bytes);
	case MK_PART_RING:
		return mk_ring_check_input(operation, data, bytes);
	case MK_PART_LOG:
		return mk_log_check_input(operation, data, bytes);
	default:
		return mk_io_check_input(operation, data, bytes);
	}
}

int mk_dispatch_check(const struct mk_dispatch_input *input)
{
	if (!input)
		return mk_error_set(-EINVAL, 0, __func__, "input is NULL");
	for (int part = 0; part < (int)MK_PARTS; part++) {
		const struct mk_bytes *b = mk_input_part(input, part);
		int r;

		if (mk_input_left_out(b, part))
			continue;
		r = mk_input_check(__func__, part, b->data, b->bytes);
		if (r < 0)
			return r;
	}
	return 0;
}
