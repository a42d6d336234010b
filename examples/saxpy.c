/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A handler source file, compiled and loaded while the engine runs, and
 * buffers that stay on the device.
 *
 * Run it in this directory, or give the path of saxpy_handler.c.
 */
#include <stdio.h>

#include <megakernel.h>

#define N 1000u

/* As in saxpy_handler.c. */
struct saxpy {
	struct mk_ref x, y;
	float a;
	uint32_t n;
};

static int failed(const char *what)
{
	const struct mk_error *e = mk_error_last();

	fprintf(stderr, "%s: %s (%s)\n", what, e->text, mk_code_name(e->code));
	return 1;
}

static int run(struct mk_ctx *ctx, struct mk_queue *q, uint32_t n,
	       mk_buffer_t x, mk_buffer_t y)
{
	const struct saxpy args = { mk_buffer_ref(x), mk_buffer_ref(y), 2, n };
	struct mk_handler_info saxpy;
	struct mk_completion answer;
	struct mk_slot slot;

	if (mk_handler_find(ctx, "saxpy", &saxpy) < 0)
		return failed("saxpy");
	mk_slot_init(&slot, saxpy.opcode, 0);
	memcpy(slot.bytes, &args, sizeof(args));
	return mk_queue_call(q, &slot, &answer, MK_FOREVER);
}

static int compute(struct mk_ctx *ctx, struct mk_queue *q)
{
	float x[N], y[N];
	mk_buffer_t bx, by;
	int r;

	for (uint32_t i = 0; i < N; i++) {
		x[i] = (float)i;
		y[i] = 1;
	}
	if (mk_buffer_create(ctx, sizeof(x), MK_BUFFER_READ_ONLY, &bx) < 0 ||
	    mk_buffer_create(ctx, sizeof(y), 0, &by) < 0 ||
	    mk_buffer_write(ctx, bx, 0, x, sizeof(x)) < 0 ||
	    mk_buffer_write(ctx, by, 0, y, sizeof(y)) < 0)
		return failed("buffers");

	r = run(ctx, q, N, bx, by);
	if (r < 0)
		return failed("slot");
	if (mk_buffer_read(ctx, by, 0, y, sizeof(y)) < 0)
		return failed("read");
	printf("y[10] = %g, y[%u] = %g\n", (double)y[10], N - 1,
	       (double)y[N - 1]);
	if (y[10] != 21 || y[N - 1] != 2 * (N - 1) + 1)
		return 1;

	/* an argument that is too large is an answer, not a crash */
	r = run(ctx, q, 1u << 30, bx, by);
	printf("n too large: %s\n", mk_strerror(r));
	return r == -MK_ERANGE ? 0 : 1;
}

int main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : "saxpy_handler.c";
	struct mk_queue *q;
	struct mk_ctx *ctx;
	int status;

	if (mk_ctx_create(NULL, &ctx) < 0)
		return failed("context");
	if (mk_queue_create(ctx, NULL, &q) < 0)
		status = failed("queue");
	else if (mk_module_load(ctx, path, 0, NULL) < 0)
		status = failed(path);
	else
		status = compute(ctx, q);
	if (mk_ctx_destroy(ctx, MK_FOREVER) != 0)
		status = 1;
	return status;
}
