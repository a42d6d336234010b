/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A handler of one's own: y += a * x. The same text runs on the CPU with one
 * lane and on a GPU with many. examples/saxpy.c loads it while the engine
 * runs.
 */
#include <megakernel/handler.h>

struct saxpy {
	struct mk_ref x, y;
	float a;
	uint32_t n;
};

MK_HANDLER(saxpy, struct saxpy)
{
	uint64_t bytes = (uint64_t)args->n * sizeof(float);
	const float *x = mk_read(task, args->x, bytes);
	float *y = mk_write(task, args->y, bytes);

	if (!x || !y)
		return mk_fail(task); /* an error, never an illegal address */
	for (uint32_t i = mk_lane(task); i < args->n; i += mk_lanes(task))
		y[i] += args->a * x[i];
	return MK_OK;
}
