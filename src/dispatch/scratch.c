/* SPDX-License-Identifier: Apache-2.0 */
/* Reusable host memory for batches of resident rows. */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "dispatch/outputs.h"
#include "dispatch/resident.h"

struct mk_resident_batch_scratch {
	struct mk_resident_handles *rows; /* as handed to the engine */
	uint64_t row_room;
	struct mk_batch_dispatch_output out; /* of the latest dispatch */
};

/* NULL with the error set if there is no memory. */
static struct mk_resident_batch_scratch *scratch_new(const char *operation)
{
	struct mk_resident_batch_scratch *s = calloc(1, sizeof(*s));

	if (!s)
		mk_error_set(-ENOMEM, ENOMEM, operation,
			     "no memory for a scratch (%zu bytes)",
			     sizeof(*s));
	return s;
}

static int rows_reserve(struct mk_resident_batch_scratch *s, uint32_t rows,
			const char *operation)
{
	void *array = s->rows;
	int r = mk_array_grow(&array, &s->row_room, rows, sizeof(*s->rows));

	s->rows = array;
	if (r < 0)
		return mk_error_set(r, ENOMEM, operation,
				    "no memory for the handles of %u rows "
				    "(%llu bytes); split the batch", rows,
				    (unsigned long long)rows *
					    sizeof(*s->rows));
	return 0;
}

static int create_check(const char *operation, uint32_t outputs,
			const void *out)
{
	if (!out)
		return mk_error_set(-EINVAL, 0, operation, "out is NULL");
	if (outputs <= MK_RESIDENT_HANDLES)
		return 0;
	return mk_error_set(-EINVAL, 0, operation,
			    "outputs is %u, must be 0 to %u a row", outputs,
			    MK_RESIDENT_HANDLES);
}

int mk_resident_batch_scratch_create(struct mk_resident_batch_scratch **out)
{
	struct mk_resident_batch_scratch *s;
	int r = create_check(__func__, 0, out);

	if (r < 0)
		return r;
	s = scratch_new(__func__);
	if (!s)
		return -ENOMEM;
	*out = s;
	return 0;
}

int mk_resident_batch_scratch_create_with_capacity(
	uint32_t rows, uint32_t outputs,
	struct mk_resident_batch_scratch **out)
{
	struct mk_resident_batch_scratch *s;
	int r = create_check(__func__, outputs, out);

	if (r < 0)
		return r;
	s = scratch_new(__func__);
	if (!s)
		return -ENOMEM;
	/* what cannot be had now may be there when it is needed, or less may
	 * be needed: each on its own */
	rows_reserve(s, rows, __func__);
	mk_batch_reserve(&s->out, rows, 0, __func__);
	mk_batch_reserve(&s->out, 0, (uint64_t)rows * outputs, __func__);
	*out = s;
	return 0;
}

int mk_resident_batch_scratch_try_create_with_capacity(
	uint32_t rows, uint32_t outputs,
	struct mk_resident_batch_scratch **out)
{
	struct mk_resident_batch_scratch *s;
	int r = create_check(__func__, outputs, out);

	if (r < 0)
		return r;
	s = scratch_new(__func__);
	if (!s)
		return -ENOMEM;
	r = rows_reserve(s, rows, __func__);
	if (!r)
		r = mk_batch_reserve(&s->out, rows, (uint64_t)rows * outputs,
				     __func__);
	if (r < 0) {
		mk_resident_batch_scratch_destroy(s);
		return r;
	}
	*out = s;
	return 0;
}

void mk_resident_batch_scratch_destroy(struct mk_resident_batch_scratch *s)
{
	if (!s)
		return;
	mk_batch_dispatch_output_free(&s->out);
	free(s->rows);
	free(s);
}

void mk_resident_batch_scratch_clear(struct mk_resident_batch_scratch *s)
{
	if (!s)
		return;
	s->out.rows = 0;
	memset(&s->out.stats, 0, sizeof(s->out.stats));
}

uint32_t mk_resident_batch_scratch_row_capacity(
	const struct mk_resident_batch_scratch *s)
{
	return s ? (uint32_t)s->row_room : 0;
}

uint32_t mk_resident_batch_scratch_batch_capacity(
	const struct mk_resident_batch_scratch *s)
{
	return s ? s->out.row_capacity : 0;
}

uint64_t mk_resident_batch_scratch_output_capacity(
	const struct mk_resident_batch_scratch *s)
{
	return s ? s->out.slot_capacity : 0;
}

/* All there is, or none of what is NULL. */
static struct mk_row_output *batches(const struct mk_resident_batch_scratch *s,
				     uint32_t *rows)
{
	if (rows)
		*rows = s ? s->out.rows : 0;
	return s && s->out.rows ? s->out.row : NULL;
}

const struct mk_row_output *mk_resident_batch_scratch_batches(
	const struct mk_resident_batch_scratch *s, uint32_t *rows)
{
	return batches(s, rows);
}

struct mk_row_output *mk_resident_batch_scratch_batches_mut(
	struct mk_resident_batch_scratch *s, uint32_t *rows)
{
	return batches(s, rows);
}

int mk_dispatch_resident_batch_scratch(
	struct mk_ctx *ctx, const struct mk_dispatch_params *params,
	const struct mk_resident_handles *rows, uint32_t n,
	struct mk_resident_batch_scratch *scratch,
	struct mk_dispatch_stats *stats)
{
	int r;

	if (!scratch)
		return mk_error_set(-EINVAL, 0, __func__, "scratch is NULL");
	scratch->out.rows = 0;
	if (rows && n) {
		r = rows_reserve(scratch, n, __func__);
		if (r < 0)
			return r;
		memcpy(scratch->rows, rows, n * sizeof(*rows));
		rows = scratch->rows;
	}
	r = mk_resident_batch(__func__, ctx, params, rows, n, &scratch->out);
	if (r >= 0 && stats)
		*stats = scratch->out.stats;
	return r;
}
