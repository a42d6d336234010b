/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns as they come, compiled, and a text searched with the tables; the
 * matches have to be those of the reference (tests/scan/scan_model.h),
 * wherever the text is left and gone on with.
 *
 * Input: one byte of options, one of how the text is cut, patterns up to a
 * NUL, one a line; then text.
 *   bits 0-1  fixed, basic, extended
 *   bit 2     letters of both cases are the same
 *   bit 3     UTF-8
 *   bit 4     NUL is no end of a line
 */
#include <stdint.h>

#include "../tests/scan/scan_model.h"
#include "require.h"

#define PATTERNS_MAX 16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t split(const uint8_t *data, size_t bytes, struct scan_pattern *p)
{
	size_t n = 0, from = 0;

	for (size_t i = 0; i <= bytes && n < PATTERNS_MAX; i++) {
		if (i < bytes && data[i] != '\n')
			continue;
		p[n++] = (struct scan_pattern){ (const char *)data + from,
						i - from };
		from = i + 1;
	}
	return n;
}

/* Lines that are too long for the reference get newlines. */
static unsigned char *text_of(const uint8_t *data, size_t bytes)
{
	unsigned char *text = malloc(bytes + 1);
	size_t line = 0;

	REQUIRE(text);
	for (size_t i = 0; i < bytes; i++) {
		bool end = data[i] == '\n' || line == MODEL_LINE;

		text[i] = end ? '\n' : data[i];
		line = end ? 0 : line + 1;
	}
	return text;
}

static void compare(const void *image, size_t image_bytes,
		    const struct scan_tree *t, uint32_t root,
		    const unsigned char *text, uint32_t bytes, bool nul_ends,
		    uint32_t room)
{
	static struct model_matches want, got;
	uint32_t flags = nul_ends ? MK_SCAN_NUL_ENDS : 0;

	REQUIRE(model_reference(t, root, text, bytes, nul_ends, &want));
	REQUIRE(!model_search(NULL, image, image_bytes, text, bytes, flags,
			      MODEL_MATCHES, &got));
	REQUIRE(model_same(&want, &got));
	REQUIRE(!model_search(NULL, image, image_bytes, text, bytes, flags,
			      room, &got));
	REQUIRE(model_same(&want, &got));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scan_pattern p[PATTERNS_MAX];
	struct scan_options o = { .states = 500 };
	struct scan_problem problem;
	struct scan_tree t = { 0 };
	const uint8_t *end;
	uint32_t root = 0;
	size_t n, bytes = 0, text_bytes;
	unsigned char *text;
	void *image = NULL;
	int r;

	if (size < 3 || size > 4000)
		return 0;
	o.syntax = (enum scan_syntax)(data[0] % 4 % 3);
	o.fold = data[0] & 4;
	o.utf8 = data[0] & 8;
	end = memchr(data + 2, 0, size - 2);
	if (!end)
		end = data + size;
	n = split(data + 2, (size_t)(end - data - 2), p);
	r = scan_compile(p, n, &o, &image, &bytes, &problem);
	if (r) {
		REQUIRE(r == -EINVAL || r == -E2BIG);
		REQUIRE(problem.text[0]);
		REQUIRE(problem.pattern == SIZE_MAX || problem.pattern < n);
		if (r == -EINVAL && problem.pattern != SIZE_MAX)
			REQUIRE(problem.at <= p[problem.pattern].bytes);
		return 0;
	}
	REQUIRE(!scan_image_check(image, bytes));
	end += end < data + size;
	text_bytes = (size_t)(data + size - end);
	text = text_of(end, text_bytes);
	REQUIRE(!model_parse(&t, p, n, &o, &root));
	/* the reference repeats a thing as often as it is told */
	if (t.nodes < 400 && model_cost(&t, root) < 20000)
		compare(image, bytes, &t, root, text, (uint32_t)text_bytes,
			!(data[0] & 16), data[1] % 16 + 1);
	scan_tree_drop(&t);
	free(text);
	free(image);
	return 0;
}
