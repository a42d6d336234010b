/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of very many literals, of all shortest lengths, so that grams of every
 * length and filters of every kind come in: what the handler finds is what
 * looking for each literal at each place finds.
 */
#include "support/support.h"

#include "scan_model.h"

#define BYTES 9000u
#define LITERALS 300u
#define LONGEST 24u

static unsigned char text[BYTES];
static char literal[LITERALS][LONGEST + 1];
static struct scan_pattern pattern[LITERALS];

static unsigned char letter(uint64_t *seed, unsigned letters)
{
	unsigned n = (unsigned)support_random(seed) % letters;

	return (unsigned char)(n < 26 ? 'a' + n : n < 52 ? 'A' + n - 26 :
						      n + 128);
}

/* Some literals are what stands in the text, some are chance, some begin as
 * others do. */
static void fill(uint64_t *seed, unsigned least, unsigned letters)
{
	for (uint32_t i = 0; i < BYTES; i++)
		text[i] = support_random(seed) % 60 ? letter(seed, letters) :
						      '\n';
	for (unsigned i = 0; i < LITERALS; i++) {
		size_t bytes = least + support_random(seed) %
				       (LONGEST - least + 1) % 7;
		uint32_t from = (uint32_t)(support_random(seed) %
					   (BYTES - LONGEST));

		for (size_t j = 0; j < bytes; j++) {
			unsigned char c = text[from + j];

			if (i % 3 == 1 || c == '\n')
				c = letter(seed, letters);
			if (i % 3 == 2 && i && j < pattern[i - 1].bytes)
				c = (unsigned char)literal[i - 1][j];
			literal[i][j] = (char)c;
		}
		pattern[i].text = literal[i];
		pattern[i].bytes = bytes;
	}
}

static unsigned char lower(unsigned char c, bool fold)
{
	return fold && c >= 'A' && c <= 'Z' ? (unsigned char)(c + 32) : c;
}

/* The longest literal at a place; 0: none. */
static uint32_t longest(uint32_t at, size_t count, bool fold)
{
	uint32_t most = 0;

	for (size_t i = 0; i < count; i++) {
		uint32_t n = 0;

		if (pattern[i].bytes > BYTES - at || pattern[i].bytes <= most)
			continue;
		while (n < pattern[i].bytes &&
		       lower(text[at + n], fold) ==
			       lower((unsigned char)literal[i][n], fold))
			n++;
		if (n == pattern[i].bytes)
			most = n;
	}
	return most;
}

static void want_of(struct model_matches *m, size_t count, bool fold)
{
	memset(m, 0, sizeof(*m));
	m->nul = UINT32_MAX;
	for (uint32_t at = 0; at < BYTES;) {
		uint32_t n = longest(at, count, fold);

		if (n && m->count < MODEL_MATCHES) {
			m->at[m->count].at = at;
			m->at[m->count++].bytes = n;
		}
		at += n ? n : 1;
	}
}

/* What the tables of this set are: a bit for each gram and stride. */
static void compare(size_t count, bool fold, uint32_t *grams,
		    uint32_t *strides, unsigned *wide)
{
	static struct model_matches want, got;
	struct scan_options o = { .syntax = SCAN_FIXED, .fold = fold };
	struct scan_problem problem;
	const struct mk_scan_image *m;
	size_t bytes;
	void *image;

	assert_int_equal(scan_compile(pattern, count, &o, &image, &bytes,
				      &problem), 0);
	m = image;
	*grams |= 1u << m->gram;
	*strides |= 1u << m->stride;
	*wide += m->wide != 0;
	assert_int_equal(m->wide != 0, m->stride <= 2);
	want_of(&want, count, fold);
	assert_int_equal(model_search(NULL, image, bytes, text, BYTES, 0,
				      MODEL_MATCHES, &got), 0);
	assert_true(model_same(&want, &got));
	/* left and gone on with */
	assert_int_equal(model_search(NULL, image, bytes, text, BYTES, 0, 5,
				      &got), 0);
	assert_true(model_same(&want, &got));
	free(image);
}

static void sets(void **state)
{
	static const unsigned letters[] = { 3, 20, 52, 100 };
	uint32_t grams = 0, strides = 0;
	unsigned wide = 0;
	uint64_t seed = 11;

	(void)state;
	for (unsigned least = 1; least <= 18; least++)
		for (unsigned i = 0; i < 4; i++) {
			fill(&seed, least, letters[i]);
			compare(LITERALS, i & 1, &grams, &strides, &wide);
			compare(70, !(i & 1), &grams, &strides, &wide);
		}
	/* else the lengths above do not reach what they are meant to */
	assert_int_equal(grams & 0x78, 0x78);
	assert_int_equal(strides & 6, 6);
	assert_true(wide > 20);
}

/* A table that is not there, or too large, is not believed. */
static void hostile(void **state)
{
	static struct model_matches got;
	struct scan_options o = { .syntax = SCAN_FIXED };
	struct scan_problem problem;
	struct mk_scan_image *m, whole;
	uint64_t seed = 5;
	size_t bytes;
	void *image;

	(void)state;
	fill(&seed, 5, 20);
	assert_int_equal(scan_compile(pattern, LITERALS, &o, &image, &bytes,
				      &problem), 0);
	m = image;
	whole = *m;
	assert_true(m->wide != 0);
#define REFUSED(change)                                                    \
	do {                                                               \
		change;                                                    \
		assert_int_equal(model_search(NULL, image, bytes, text,    \
					      BYTES, 0, MODEL_MATCHES,     \
					      &got), -MK_EARGS);           \
		*m = whole;                                                \
	} while (0)
	REFUSED(m->wide_log2 = 5);
	REFUSED(m->wide_log2 = 25);
	REFUSED(m->wide_log2 = 24);
	REFUSED(m->wide = (uint32_t)(bytes & ~(size_t)7));
	REFUSED(m->wide++);
	REFUSED(m->stride = 3);
	assert_int_equal(model_search(NULL, image, bytes, text, BYTES, 0,
				      MODEL_MATCHES, &got), 0);
	free(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets),
		cmocka_unit_test(hostile),
	};

	return cmocka_run_group_tests_name("scan/scan_many", tests, NULL,
					   NULL);
}
