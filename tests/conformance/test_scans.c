/* SPDX-License-Identifier: Apache-2.0 */
/* MK_OP_SCAN: the matches of a text are the same on every engine, and what
 * does not fit is refused. */
#include <stdlib.h>
#include <string.h>

#include "scan/scan_compile.h"
#include "support/conform.h"

#define TEXT 100000u
#define ROOM 3000u
#define RESULT (16 + 8 * ROOM)

struct search {
	mk_buffer_t image, text, result;
	struct mk_scan_args args;
};

static unsigned char text[TEXT + MK_SCAN_PAD];

static void fill(void)
{
	static const char *const words[] = { "needle", "ne", "x1 ", "foo", "\n",
					     "_bar ", "  ", "NEEDLE", "99" };
	uint64_t seed = 7;
	uint32_t at = 0;

	while (at < TEXT)
		for (const char *w = words[support_random(&seed) % 9];
		     *w && at < TEXT; w++)
			text[at++] = (unsigned char)*w;
	text[TEXT / 2] = 0;
}

static struct search begin(struct mk_ctx *ctx, const void *image, size_t bytes)
{
	struct search s = { .args = { .bytes = TEXT, .flags = ROOM << 8 } };

	assert_int_equal(mk_buffer_create(ctx, bytes, 0, &s.image), 0);
	assert_int_equal(mk_buffer_write(ctx, s.image, 0, image, bytes), 0);
	assert_int_equal(mk_buffer_create(ctx, sizeof(text), 0, &s.text), 0);
	assert_int_equal(mk_buffer_write(ctx, s.text, 0, text, sizeof(text)),
			 0);
	assert_int_equal(mk_buffer_create(ctx, RESULT, 0, &s.result), 0);
	s.args.image = mk_buffer_ref(s.image);
	s.args.text = mk_buffer_ref(s.text);
	s.args.result = mk_buffer_ref(s.result);
	return s;
}

static void end(struct mk_ctx *ctx, struct search *s)
{
	assert_int_equal(mk_buffer_destroy(ctx, s->image, SUPPORT_NS), 0);
	assert_int_equal(mk_buffer_destroy(ctx, s->text, SUPPORT_NS), 0);
	assert_int_equal(mk_buffer_destroy(ctx, s->result, SUPPORT_NS), 0);
}

/* All results of a search, one slot after the other; how many. */
static unsigned search(struct mk_ctx *ctx, const void *image, size_t bytes,
		       uint32_t flags, unsigned char (*out)[RESULT],
		       unsigned most)
{
	struct search s = begin(ctx, image, bytes);
	struct mk_queue *q = support_queue(ctx, 4);
	struct mk_scan_result head = { 0 };
	unsigned n = 0;

	s.args.flags |= flags;
	do {
		struct mk_completion c =
			support_call(q, MK_OP_SCAN, &s.args, sizeof(s.args));

		assert_int_equal(c.result, 0);
		assert_true(n < most);
		memset(out[n], 0, RESULT);
		assert_int_equal(mk_buffer_read(ctx, s.result, 0, &head,
						sizeof(head)), 0);
		assert_true(c.value == head.matches && head.matches <= ROOM);
		assert_int_equal(mk_buffer_read(ctx, s.result, 0, out[n],
						16 + 8 * head.matches), 0);
		assert_true(head.next == TEXT || head.next > s.args.from);
		s.args.from = head.next;
		n++;
	} while (head.next < TEXT);
	support_queue_end(q);
	end(ctx, &s);
	return n;
}

static void same(struct conform *c, const char *pattern,
		 enum scan_syntax syntax)
{
	static unsigned char want[32][RESULT], got[32][RESULT];
	struct scan_pattern p = { pattern, strlen(pattern) };
	struct scan_options o = { .syntax = syntax };
	struct scan_problem problem;
	size_t bytes;
	void *image;

	fill();
	assert_int_equal(scan_compile(&p, 1, &o, &image, &bytes, &problem), 0);
	for (uint32_t flags = 0; flags <= MK_SCAN_FLAGS; flags++) {
		unsigned n = search(c->oracle, image, bytes, flags, want, 32);

		assert_int_equal(search(c->ctx, image, bytes, flags, got, 32),
				 n);
		for (unsigned i = 0; i < n; i++)
			assert_memory_equal(got[i], want[i], RESULT);
	}
	free(image);
}

static void literals(struct conform *c)
{
	same(c, "needle", SCAN_FIXED);
	same(c, "ne", SCAN_FIXED);
	same(c, "nothing of it", SCAN_FIXED);
}

static void automata(struct conform *c)
{
	same(c, "(ne+dle)+|[0-9]+$", SCAN_EXTENDED);
	same(c, "^x*", SCAN_BASIC);
	same(c, "\\<foo_bar\\>", SCAN_BASIC);
}

static void refusals(struct conform *c)
{
	struct scan_pattern p = { "needle", 6 };
	struct scan_options o = { .syntax = SCAN_FIXED };
	struct mk_queue *q = support_queue(c->ctx, 4);
	struct scan_problem problem;
	struct mk_scan_args a;
	struct search s;
	size_t bytes;
	void *image;

	assert_int_equal(scan_compile(&p, 1, &o, &image, &bytes, &problem), 0);
	s = begin(c->ctx, image, bytes);
#define REFUSED(change, code)                                             \
	do {                                                              \
		a = s.args;                                               \
		change;                                                   \
		assert_int_equal(support_call(q, MK_OP_SCAN, &a,          \
					      sizeof(a)).result, -(code)); \
	} while (0)
	REFUSED((void)0, 0);
	REFUSED(a.from = TEXT + 1, MK_EARGS);
	REFUSED(a.flags = 4 | ROOM << 8, MK_EARGS);
	REFUSED(a.flags = 0, MK_EARGS);
	REFUSED(a.result_offset = 4, MK_ERANGE);
	REFUSED(a.flags = (ROOM + 1) << 8, MK_ERANGE);
	REFUSED(a.bytes = TEXT + 1, MK_ERANGE);
	REFUSED(a.image = s.args.text, MK_EARGS);
	REFUSED(a.text.generation++, MK_EFOREIGN);
#undef REFUSED
	support_queue_end(q);
	end(c->ctx, &s);
	free(image);
}

int main(void)
{
	static const struct conform_case cases[] = {
		{ "literals", literals },
		{ "automata", automata },
		{ "refusals of scan", refusals },
	};

	return CONFORM_MAIN("conformance/scans", cases);
}
