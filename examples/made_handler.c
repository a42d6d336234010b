/* SPDX-License-Identifier: Apache-2.0 */
/* Handlers of made.c: an integral by halving, and a sum by tiles. */
#include <megakernel/handler.h>

#define DEPTH 40 /* of halves that are done in place */

struct interval {
	struct mk_ref sum; /* word 0: the sum, in units of 2^-48 */
	double from, to;
};

MK_FN double middle(double from, double to)
{
	double x = (from + to) / 2;

	return (to - from) * 4 / (1 + x * x);
}

/* Either the interval is small enough, or both halves are work of their own. */
MK_HANDLER_THREAD(integrate, struct interval)
{
	uint64_t *sum = mk_write(task, args->sum, sizeof(*sum));
	struct interval todo[DEPTH];
	int n = 0;

	if (!sum)
		return mk_fail(task);
	todo[n++] = *args;
	while (n) {
		struct interval a = todo[--n], left = a, right = a;
		double once = middle(a.from, a.to), twice;

		left.to = right.from = (a.from + a.to) / 2;
		twice = middle(left.from, left.to) +
			middle(right.from, right.to);
		if ((once - twice < 1e-11 && twice - once < 1e-11) ||
		    n + 2 > DEPTH) {
			mk_fetch_add(sum, (uint64_t)(twice * (1ull << 48)));
			continue;
		}
		/* no room: it is ours, then */
		if (mk_spawn(task, mk_opcode(task), &left, sizeof(left)))
			todo[n++] = left;
		if (mk_spawn(task, mk_opcode(task), &right, sizeof(right)))
			todo[n++] = right;
	}
	return MK_OK;
}

struct numbers {
	struct mk_ref data;
	uint64_t n;
};

/* Each tile adds up its part; the answer has the whole. */
MK_HANDLER(total, struct numbers)
{
	uint64_t from = args->n * mk_tile(task) / mk_tiles(task);
	uint64_t to = args->n * (mk_tile(task) + 1) / mk_tiles(task);
	const uint32_t *x = mk_read_at(task, args->data, from * 4,
				       (to - from) * 4);
	uint64_t sum = 0;

	if (!x)
		return mk_fail(task);
	if (mk_lane(task) == 0) {
		for (uint64_t i = 0; i < to - from; i++)
			sum += x[i];
		mk_tile_add(task, sum);
	}
	return MK_OK;
}
