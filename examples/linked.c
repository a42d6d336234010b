/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers linked into the program: no compiler at run time, and the handler
 * sees the program's own memory. That needs isolation "none": a handler that
 * crashes takes the program with it.
 */
#include <stdio.h>

#include <megakernel.h>
#include <megakernel/handler.h>

static const char *const words[] = { "one", "two", "three", "four" };

struct measure {
	uint32_t word;
};

MK_HANDLER(measure, struct measure)
{
	if (args->word >= sizeof(words) / sizeof(words[0]))
		return -MK_ERANGE;
	mk_print(task, 1, args->word, 0, 0); /* to the debug log */
	mk_value(task, strlen(words[args->word]));
	return MK_OK;
}

MK_MODULE_DEFINE(linked_handlers);

static int failed(const char *what)
{
	const struct mk_error *e = mk_error_last();

	fprintf(stderr, "%s: %s (%s)\n", what, e->text, mk_code_name(e->code));
	return 1;
}

static int run(struct mk_ctx *ctx, struct mk_queue *q)
{
	struct mk_log_entry log[8];
	struct mk_handler_info h;
	int n;

	if (mk_handler_find(ctx, "measure", &h) < 0)
		return failed("handler");
	for (uint32_t i = 0; i < 5; i++) {
		const struct measure args = { i };
		struct mk_completion c;
		struct mk_slot slot;
		int r;

		mk_slot_init(&slot, h.opcode, i);
		memcpy(slot.bytes, &args, sizeof(args));
		r = mk_queue_call(q, &slot, &c, MK_FOREVER);
		if (r < 0)
			printf("word %u: %s\n", i, mk_strerror(r));
		else
			printf("word %u: %llu letters\n", i,
			       (unsigned long long)c.value);
		if (r != (i < 4 ? 0 : -MK_ERANGE) ||
		    (i < 4 && c.value != strlen(words[i])))
			return 1;
	}
	n = mk_queue_log_read(q, log, 8, NULL);
	for (int i = 0; i < n; i++)
		printf("log: slot %llu looked at word %u\n",
		       (unsigned long long)log[i].ticket, log[i].arg[0]);
	return n == 4 ? 0 : 1;
}

int main(void)
{
	struct mk_ctx_params params = { .size = sizeof(params),
					.isolation = MK_ISOLATION_NONE };
	struct mk_queue *q;
	struct mk_ctx *ctx;
	int status;

	if (mk_ctx_create(&params, &ctx) < 0)
		return failed("context");
	if (mk_queue_create(ctx, NULL, &q) < 0)
		status = failed("queue");
	else if (mk_module_load_static(ctx, &linked_handlers, 0, NULL) < 0)
		status = failed("handlers");
	else
		status = run(ctx, q);
	if (mk_ctx_destroy(ctx, MK_FOREVER) != 0)
		status = 1;
	return status;
}
