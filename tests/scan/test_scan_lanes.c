/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scan handler with many lanes, as a GPU runs it: a lane is a thread and
 * the lane barrier a real one. The matches must be those of one lane, and of
 * the handler without vector instructions.
 */
#include <pthread.h>

#include "support/support.h"

#include <megakernel/handler.h>

static void lane_barrier(struct mk_task *task);

#define mk_sync lane_barrier
#define MK_HANDLER_PORTABLE
#undef MK_HANDLER_SECTION
#define MK_HANDLER_SECTION "mk_by_lanes"
#include "../../handlers/scan_text.c"

#include "scan/scan_model.h"

#define LANES_MAX 32u
/* threads that meet at every step are slow, and many times so where each of
 * their accesses is looked at */
#define MANY (SUPPORT_TSAN ? 4u : LANES_MAX)
#define SEEDS (SUPPORT_TSAN ? 1u : 3u)
#define SIZES (SUPPORT_TSAN ? 5u : 7u)
#define BYTES 20000u

static pthread_barrier_t barrier;
static uint32_t lanes;
static _Alignas(16) unsigned char scratch[65536];

static void lane_barrier(struct mk_task *task)
{
	if (task->lanes > 1)
		pthread_barrier_wait(&barrier);
}

struct lane {
	struct mk_task task;
	const void *args;
	int32_t result;
};

static void *run_lane(void *arg)
{
	struct lane *l = arg;

	l->result = mk_entry_scan.run(&l->task, l->args);
	return NULL;
}

static int32_t run_lanes(struct mk_task *task, const void *args)
{
	static struct lane lane[LANES_MAX];
	pthread_t thread[LANES_MAX];

	pthread_barrier_init(&barrier, NULL, lanes);
	for (uint32_t i = 0; i < lanes; i++) {
		lane[i].task = *task;
		lane[i].task.lane = i;
		lane[i].task.lanes = lanes;
		lane[i].task.scratch = scratch;
		lane[i].task.scratch_bytes = sizeof(scratch);
		lane[i].args = args;
		assert_int_equal(pthread_create(&thread[i], NULL, run_lane,
						&lane[i]), 0);
	}
	for (uint32_t i = 0; i < lanes; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	pthread_barrier_destroy(&barrier);
	for (uint32_t i = 0; i < lanes; i++)
		assert_int_equal(lane[i].result, lane[0].result);
	return lane[0].result;
}

static unsigned char text[BYTES];

/* Words and lines of all lengths; some NULs, far apart, with `nul`. */
static void fill(uint64_t seed, bool nul)
{
	static const char *const words[] = { "needle", "need", "a", "xyz",
					     "foo_bar", " ", "\n", "NEEDLE",
					     "0123", "aaaa", "ab\n", "-" };
	uint32_t at = 0;

	while (at < BYTES) {
		const char *w = words[support_random(&seed) % 12];

		for (; *w && at < BYTES; w++)
			text[at++] = (unsigned char)*w;
		if (nul && at < BYTES && support_random(&seed) % 2000 == 0)
			text[at++] = 0;
	}
}

/* Lines longer than what lanes bring into scratch together. */
static void fill_long(uint64_t seed)
{
	fill(seed, true);
	for (uint32_t i = 0; i < BYTES; i++)
		if (text[i] == '\n' && i % 9000 < 8000)
			text[i] = '-';
}

static void compare(const char *pattern, size_t count, enum scan_syntax syntax,
		    bool fold)
{
	static struct model_matches want, got;
	static const uint32_t rooms[] = { MODEL_MATCHES, 7 };
	static const uint32_t sizes[] = { 0, 1, 40, 4095, 4097, 9000, BYTES };
	struct scan_pattern p[8];
	struct scan_options o = { .syntax = syntax, .fold = fold };
	struct scan_problem problem;
	size_t bytes;
	void *image;

	for (size_t i = 0; i < count; i++) {
		p[i].text = pattern;
		p[i].bytes = strlen(pattern);
		pattern += p[i].bytes + 1;
	}
	assert_int_equal(scan_compile(p, count, &o, &image, &bytes, &problem),
			 0);
	for (unsigned i = 0; i < SIZES; i++)
		for (uint32_t flags = 0; flags <= MK_SCAN_NUL_ENDS;
		     flags += MK_SCAN_NUL_ENDS) {
			uint32_t room = rooms[i % 2];

			assert_int_equal(model_search(NULL, image, bytes, text,
						      sizes[i], flags,
						      MODEL_MATCHES, &want),
					 0);
			for (lanes = 1; lanes <= MANY; lanes += MANY - 1) {
				if (lanes > 1 && room == 7 && i > 3)
					room = 600; /* threads are slow */
				assert_int_equal(model_search(run_lanes, image,
							      bytes, text,
							      sizes[i], flags,
							      room, &got), 0);
				assert_true(model_same(&want, &got));
			}
		}
	free(image);
}

static void literals(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		fill(seed, seed > 1);
		compare("needle", 1, SCAN_FIXED, false);
		compare("needle\0need\0foo_bar", 3, SCAN_FIXED, true);
		compare("a\0aa\0foo\0xyz\0NEEDLE", 5, SCAN_FIXED, false);
		compare("foo_bar needle\0needleneedle", 2, SCAN_FIXED, false);
	}
}

static void automata(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		fill(seed, seed > 1);
		compare("ne+d(le)?|[0-9]+$", 1, SCAN_EXTENDED, false);
		compare("^[a-z]*\0x.*z\0-*", 3, SCAN_BASIC, false);
		compare("\\<foo_bar\\>|^$|need", 1, SCAN_EXTENDED, true);
		compare("[a-z]", 1, SCAN_EXTENDED, false);
		fill_long(seed);
		compare("ne+d(le)?|[0-9]+$", 1, SCAN_EXTENDED, false);
		compare("^[a-z]*\0x.*z\0-*", 3, SCAN_BASIC, false);
	}
}

/* An image that was changed may find the wrong things, and no more than
 * that. */
static void images_changed(void **state)
{
	static struct model_matches got;
	static const char *const patterns[] = { "needle", "ne+d|a$" };
	struct scan_options o = { .syntax = SCAN_EXTENDED };
	struct scan_problem problem;
	uint64_t seed = 5;

	(void)state;
	fill(9, true);
	for (unsigned i = 0; i < 2; i++) {
		struct scan_pattern p = { patterns[i], strlen(patterns[i]) };
		unsigned char *image, *copy;
		size_t bytes;
		void *made;

		assert_int_equal(scan_compile(&p, 1, &o, &made, &bytes,
					      &problem), 0);
		assert_int_equal(scan_image_check(made, bytes), 0);
		image = made;
		copy = test_malloc(bytes);
		for (unsigned n = 0; n < 2000; n++) {
			/* every other time in the header */
			size_t at = support_random(&seed) %
				    (n & 1 ? sizeof(struct mk_scan_image) :
					     bytes);

			memcpy(copy, image, bytes);
			copy[at] ^= (unsigned char)(support_random(&seed) | 1);
			if (at >= sizeof(struct mk_scan_image))
				assert_int_equal(scan_image_check(copy, bytes),
						 -EBADMSG);
			model_search(mk_entry_scan.run, copy, bytes, text, 3000,
				     0, 100, &got);
			model_search(NULL, copy, bytes, text, 3000, 0, 100,
				     &got);
			lanes = 3;
			if (n % 20 < 2)
				model_search(run_lanes, copy, bytes, text,
					     3000, 0, 100, &got);
		}
		test_free(copy);
		free(made);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(literals),
		cmocka_unit_test(automata),
		cmocka_unit_test(images_changed),
	};

	return cmocka_run_group_tests_name("scan/scan_lanes", tests, NULL,
					   NULL);
}
