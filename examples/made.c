/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that makes work, and one slot in many tiles: an integral whose handler
 * halves it until the parts are small, and a sum that all workers share. Each
 * is one slot, with one answer.
 *
 * Run it in this directory, or give the path of made_handler.c.
 */
#include <stdio.h>
#include <stdlib.h>

#include <megakernel.h>

#define NUMBERS 1000000u

/* As in made_handler.c. */
struct interval {
	struct mk_ref sum;
	double from, to;
};

struct numbers {
	struct mk_ref data;
	uint64_t n;
};

static int failed(const char *what)
{
	const struct mk_error *e = mk_error_last();

	fprintf(stderr, "%s: %s (%s)\n", what, e->text, mk_code_name(e->code));
	return 1;
}

/* One slot of a handler that is known by name. */
static int call(struct mk_ctx *ctx, struct mk_queue *q, const char *name,
		const void *args, size_t bytes, uint16_t tiles,
		struct mk_completion *answer)
{
	struct mk_handler_info info;
	struct mk_slot slot;

	if (mk_handler_find(ctx, name, &info) < 0)
		return failed(name);
	mk_slot_init(&slot, info.opcode, 0);
	memcpy(slot.bytes, args, bytes);
	slot.tiles = tiles;
	if (mk_queue_call(q, &slot, answer, MK_FOREVER) < 0)
		return failed(name);
	if (answer->result < 0)
		fprintf(stderr, "%s: %s\n", name, mk_strerror(answer->result));
	return answer->result < 0;
}

static int pi(struct mk_ctx *ctx, struct mk_queue *q)
{
	struct interval args = { .from = 0, .to = 1 };
	struct mk_completion answer;
	struct mk_ctx_stats stats;
	uint64_t sum = 0;
	mk_buffer_t b;

	if (mk_buffer_create(ctx, sizeof(sum), 0, &b) < 0 ||
	    mk_buffer_write(ctx, b, 0, &sum, sizeof(sum)) < 0)
		return failed("buffer");
	args.sum = mk_buffer_ref(b);
	if (call(ctx, q, "integrate", &args, sizeof(args), 1, &answer))
		return 1;
	if (mk_buffer_read(ctx, b, 0, &sum, sizeof(sum)) < 0 ||
	    mk_ctx_stats(ctx, &stats) < 0)
		return failed("result");
	printf("pi is about %.9f, by %llu pieces of work in one slot\n",
	       (double)sum / (double)(1ull << 48),
	       (unsigned long long)stats.spawned + 1);
	mk_buffer_destroy(ctx, b, MK_FOREVER);
	return (double)sum / (double)(1ull << 48) < 3.1415926 ||
	       (double)sum / (double)(1ull << 48) > 3.1415927;
}

static int total(struct mk_ctx *ctx, struct mk_queue *q)
{
	uint32_t *x = malloc(NUMBERS * sizeof(*x));
	struct numbers args = { .n = NUMBERS };
	struct mk_completion answer;
	uint64_t want = 0;
	mk_buffer_t b;
	int r;

	if (!x)
		return 1;
	for (uint32_t i = 0; i < NUMBERS; i++)
		want += x[i] = i * 7 % 1001;
	r = mk_buffer_create(ctx, NUMBERS * sizeof(*x), 0, &b);
	if (!r)
		r = mk_buffer_write(ctx, b, 0, x, NUMBERS * sizeof(*x));
	free(x);
	if (r)
		return failed("buffer");
	args.data = mk_buffer_ref(b);
	if (call(ctx, q, "total", &args, sizeof(args), 64, &answer))
		return 1;
	printf("the sum of %u numbers is %llu, in 64 tiles of one slot\n",
	       NUMBERS, (unsigned long long)answer.value);
	mk_buffer_destroy(ctx, b, MK_FOREVER);
	return answer.value != want;
}

int main(int argc, char **argv)
{
	struct mk_ctx *ctx;
	struct mk_queue *q;
	int r;

	if (mk_ctx_create(NULL, &ctx) < 0)
		return failed("context");
	if (mk_module_load(ctx, argc > 1 ? argv[1] : "made_handler.c", 0,
			   NULL) < 0 ||
	    mk_queue_create(ctx, NULL, &q) < 0)
		return failed("module or queue");
	r = pi(ctx, q);
	if (!r)
		r = total(ctx, q);
	mk_ctx_destroy(ctx, MK_FOREVER);
	return r;
}
