/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatch/outputs.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"

int mk_output_reserve(struct mk_output_buffer *b, uint64_t bytes,
		      const char *operation)
{
	unsigned char *data;

	if (b->data && b->capacity >= bytes)
		return 0;
	data = malloc(bytes ? bytes : 1);
	if (!data)
		return mk_error_set(-ENOMEM, ENOMEM, operation,
				    "no memory for an output buffer of %llu "
				    "bytes; split the batch, or return fewer "
				    "buffers (params.readback)",
				    (unsigned long long)bytes);
	free(b->data);
	b->data = data;
	b->capacity = bytes;
	b->bytes = 0;
	return 0;
}

void mk_output_buffers_free(struct mk_output_buffer *b, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		free(b[i].data);
}

void mk_dispatch_output_free(struct mk_dispatch_output *out)
{
	if (!out)
		return;
	mk_output_buffers_free(out->buffer, MK_RESIDENT_HANDLES);
	memset(out, 0, sizeof(*out));
}

void mk_batch_dispatch_output_free(struct mk_batch_dispatch_output *out)
{
	if (!out)
		return;
	mk_output_buffers_free(out->slot, out->slot_capacity);
	free(out->slot);
	free(out->row);
	memset(out, 0, sizeof(*out));
}

int mk_array_grow(void **array, uint64_t *room, uint64_t n, uint64_t each)
{
	unsigned char *grown;

	if (n <= *room)
		return 0;
	if (n > SIZE_MAX / each)
		return -ENOMEM;
	grown = realloc(*array, n * each);
	if (!grown)
		return -ENOMEM;
	memset(grown + *room * each, 0, (n - *room) * each);
	*array = grown;
	*room = n;
	return 0;
}

int mk_batch_reserve(struct mk_batch_dispatch_output *out, uint32_t rows,
		     uint64_t slots, const char *operation)
{
	uint64_t row_room = out->row_capacity;
	void *row = out->row, *slot = out->slot;
	int r;

	r = mk_array_grow(&row, &row_room, rows, sizeof(*out->row));
	out->row = row;
	out->row_capacity = (uint32_t)row_room;
	if (r < 0)
		return mk_error_set(r, ENOMEM, operation,
				    "no memory for the outputs of %u rows "
				    "(%llu bytes); split the batch", rows,
				    (unsigned long long)rows *
					    sizeof(*out->row));
	r = mk_array_grow(&slot, &out->slot_capacity, slots,
			  sizeof(*out->slot));
	out->slot = slot;
	if (r < 0)
		return mk_error_set(r, ENOMEM, operation,
				    "no memory for %llu output buffers of %u "
				    "rows (%llu bytes); split the batch, or "
				    "reduce the outputs",
				    (unsigned long long)slots, rows,
				    (unsigned long long)slots *
					    sizeof(*out->slot));
	return 0;
}
