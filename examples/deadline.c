/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deadlines and cancelling.
 *
 * One worker is kept busy by a handler that runs until it is asked to end.
 * Behind it waits a slot whose deadline passes, and one that is cancelled
 * before it starts. Each ends with its own code.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <time.h>

#include <megakernel.h>

enum { BUSY = 1, LATE, UNWANTED };

static const char source[] =
	"#include <megakernel/handler.h>\n"
	"struct none { uint32_t nothing; };\n"
	"MK_HANDLER(until_cancelled, struct none)\n"
	"{\n"
	"	(void)args;\n"
	"	while (!mk_cancelled(task))\n"
	"		;\n"
	"	return -MK_ECANCELLED;\n"
	"}\n";

static int failed(const char *what)
{
	const struct mk_error *e = mk_error_last();

	fprintf(stderr, "%s: %s (%s)\n", what, e->text, mk_code_name(e->code));
	return 1;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A deadline is an absolute time of CLOCK_MONOTONIC; 0: none. */
static int submit(struct mk_queue *q, uint16_t opcode, uint64_t user_data,
		  uint64_t deadline_ns)
{
	struct mk_slot *slot;
	int r = mk_queue_get(q, 1, &slot);

	if (r < 0)
		return r;
	mk_slot_init(slot, opcode, user_data);
	if (deadline_ns)
		r = mk_slot_deadline(q, slot, deadline_ns);
	return r < 0 ? r : mk_queue_submit(q, slot, 1);
}

static int run(struct mk_ctx *ctx, struct mk_queue *q)
{
	static const char *const names[] = { "", "busy", "late", "unwanted" };
	static const int want[] = { 0, -MK_ECANCELLED, -MK_EDEADLINE,
				    -MK_ECANCELLED };
	struct timespec wait = { 0, 20000000 };
	struct mk_handler_info busy;
	struct mk_completion c;

	if (mk_handler_find(ctx, "until_cancelled", &busy) < 0 ||
	    submit(q, busy.opcode, BUSY, 0) < 0 ||
	    submit(q, MK_OP_NOP, LATE, now_ns() + 1000000) < 0 ||
	    submit(q, MK_OP_NOP, UNWANTED, 0) < 0)
		return failed("submit");
	nanosleep(&wait, NULL); /* the deadline passes */
	mk_queue_cancel(q, UNWANTED);
	mk_queue_cancel(q, BUSY);

	for (int i = 0; i < 3; i++) {
		if (mk_queue_wait(q, 1, 10000000000u) < 0 ||
		    mk_queue_reap(q, &c, 1) != 1)
			return failed("wait");
		printf("%-8s %s\n", names[c.user_data],
		       mk_strerror(c.result));
		if (c.result != want[c.user_data])
			return 1;
	}
	return 0;
}

int main(void)
{
	struct mk_ctx_params params = { .size = sizeof(params), .workers = 1 };
	struct mk_queue *q;
	struct mk_ctx *ctx;
	int status;

	if (mk_ctx_create(&params, &ctx) < 0)
		return failed("context");
	if (mk_queue_create(ctx, NULL, &q) < 0)
		status = failed("queue");
	else if (mk_module_load_source(ctx, "deadline", source, 0, NULL) < 0)
		status = failed("module");
	else
		status = run(ctx, q);
	if (mk_ctx_destroy(ctx, MK_FOREVER) != 0)
		status = 1;
	return status;
}
