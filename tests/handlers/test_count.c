/* SPDX-License-Identifier: Apache-2.0 */
/* Lines, words and bytes against wc(1) itself and a model of it. */
#include "handlers/map.h"

#include <ctype.h>
#include <unistd.h>

static struct map_run m;

struct counts {
	uint64_t lines, words, bytes;
};

/* A word: a run between white space with something printable in it. */
static struct counts model(const unsigned char *data, size_t bytes)
{
	struct counts c = { 0, 0, bytes };
	bool printable = false;

	for (size_t i = 0; i < bytes; i++) {
		c.lines += data[i] == '\n';
		if (isspace(data[i])) {
			c.words += printable;
			printable = false;
		} else if (isprint(data[i])) {
			printable = true;
		}
	}
	c.words += printable;
	return c;
}

static struct counts result(void)
{
	struct counts c;

	assert_int_equal(m.result.kind, MK_MAP_COLUMNS);
	assert_int_equal(m.result.length, sizeof(c));
	memcpy(&c, m.result.payload, sizeof(c));
	return c;
}

static void expect(const void *data, size_t bytes, size_t chunk)
{
	struct counts want = model(data, bytes), got;

	map_file(&m, MK_OP_COUNT, data, bytes, chunk);
	got = result();
	assert_memory_equal(&got, &want, sizeof(got));
}

/* What wc prints is written down here, as its version 9.1 gave it. */
static void known(void **state)
{
	static const struct {
		const char *text;
		size_t bytes;
		struct counts want;
	} cases[] = {
		{ "", 0, { 0, 0, 0 } },
		{ "\n", 1, { 1, 0, 1 } },
		{ "one", 3, { 0, 1, 3 } },
		{ "one two\nthree\n", 14, { 2, 3, 14 } },
		{ " \t\v\f\r\n", 6, { 1, 0, 6 } },
		{ "\001\002 \001a \200 \200\n", 10, { 1, 1, 10 } },
		{ "a\001b \001 a\001 \001a", 11, { 0, 3, 11 } },
		{ "a\200\tb", 4, { 0, 2, 4 } },
		{ "a\0b \0", 5, { 0, 1, 5 } },
		{ "\177 \177~ !", 6, { 0, 2, 6 } },
	};
	struct counts got;

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		map_file(&m, MK_OP_COUNT, cases[i].text, cases[i].bytes, 64);
		got = result();
		assert_memory_equal(&got, &cases[i].want, sizeof(got));
	}
}

static uint64_t seed;

static uint32_t next_random(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33);
}

/* Bytes of a few classes, so that every pair of neighbours is common. */
static void fill(unsigned char *data, size_t bytes, unsigned kind)
{
	static const char few[] = "ab \n\t\v~!\177\001";

	for (size_t i = 0; i < bytes; i++) {
		uint32_t r = next_random();

		if (kind == 0)
			data[i] = (unsigned char)r;
		else if (kind == 1)
			data[i] = (unsigned char)few[r % 8];
		else
			data[i] = (unsigned char)few[r % 10];
	}
}

static void chunks(void **state)
{
	unsigned char data[700];

	(void)state;
	for (unsigned round = 0; round < 60; round++) {
		size_t bytes = next_random() % sizeof(data);

		fill(data, bytes, round % 3);
		expect(data, bytes, 1u << 20);
		expect(data, bytes, 1 + next_random() % 200);
	}
	fill(data, 150, 2);
	for (size_t chunk = 1; chunk <= 150; chunk++)
		expect(data, 150, chunk);
}

static bool ask_wc(const unsigned char *data, size_t bytes, struct counts *c)
{
	char path[] = "/tmp/mk-count-XXXXXX", command[128];
	unsigned long long lines, words, size;
	int fd = mkstemp(path), n;
	FILE *f;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, bytes), bytes);
	close(fd);
	snprintf(command, sizeof(command), "LC_ALL=C wc <%s", path);
	f = popen(command, "r");
	assert_non_null(f);
	n = fscanf(f, "%llu %llu %llu", &lines, &words, &size);
	pclose(f);
	unlink(path);
	c->lines = lines;
	c->words = words;
	c->bytes = size;
	return n == 3;
}

/* From coreutils 9.5 on wc makes words of bytes that cannot be printed. Then
 * it is asked about bytes that can. */
static void make_printable(unsigned char *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (data[i] != ' ' && (unsigned)(data[i] - '\t') >= 5 &&
		    (unsigned)(data[i] - '!') >= 94)
			data[i] = 'x';
}

static void same_as_wc(void **state)
{
	size_t bytes = 200000;
	unsigned char *data = malloc(bytes);
	struct counts want, got;
	bool newer;

	(void)state;
	assert_non_null(data);
	newer = ask_wc((const unsigned char *)"\001", 1, &want) && want.words;
	for (unsigned kind = 0; kind < 3; kind++) {
		fill(data, bytes, kind);
		if (newer)
			make_printable(data, bytes);
		if (!ask_wc(data, bytes, &want))
			break;
		map_file(&m, MK_OP_COUNT, data, bytes, 4096 + kind);
		got = result();
		assert_memory_equal(&got, &want, sizeof(got));
	}
	free(data);
}

static void refuses(void **state)
{
	(void)state;
	map_expect_refusals(MK_OP_COUNT);
	map_expect_cancel(MK_OP_COUNT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known),
		cmocka_unit_test(chunks),
		cmocka_unit_test(same_as_wc),
		cmocka_unit_test(refuses),
	};

	return cmocka_run_group_tests_name("handlers/count", tests, NULL,
					   NULL);
}
