/* SPDX-License-Identifier: Apache-2.0 */
/* Lines, words and bytes against wc(1) itself and a model of it. */
#include "handlers/map.h"

#include <ctype.h>
#include <locale.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

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

/* ---- UTF-8 -------------------------------------------------------------- */

/* As wc 9.1 counted these in the locale C.UTF-8, with POSIXLY_CORRECT too. */
static void known_text(void **state)
{
	static const struct {
		const char *text;
		uint64_t words, posix;
	} cases[] = {
		{ "\u00e9", 1, 1 },
		{ "a\u00a0b", 2, 1 },
		{ "a\u2007b", 2, 1 },
		{ "a\u202fb", 2, 1 },
		{ "a\u2060b", 2, 1 },
		{ "a\u1680b", 2, 2 },
		{ "a\u2003b", 2, 2 },
		{ "a\u3000b", 2, 2 },
		/* white space that is not printable, and what is neither */
		{ "a\xc2\x85" "b", 1, 1 },
		{ "a\u2028b", 1, 1 },
		{ "a\u2029b", 1, 1 },
		{ "\u2028 \u2029 a", 1, 1 },
		{ "\U000e0080 \U0010ffff a", 1, 1 },
		{ "\u4e2d\u6587 \U0001f600 \uac00", 3, 3 },
		/* broken off, by what and where */
		{ "\xc3", 0, 0 },
		{ "x \xe2\x82", 1, 1 },
		{ "\xc3( x", 2, 2 },
		{ "a\xc3 b", 2, 2 },
		{ "\xe2\xe2\x82\xac \xe2\x82\xe2\x82\xac x", 3, 3 },
		{ "\xff\xc3\xa9 \xc3 \xc3\xa9", 2, 2 },
		{ "\x80 \xbf\xbf \xa0", 0, 0 },
		/* longer than needed: no space, no A; surrogates; too large */
		{ "a\xc0\xa0" "b", 1, 1 },
		{ "a\xe0\x80\xa0" "b", 1, 1 },
		{ "\xc1\x81 \xe0\x81\x81 \xf0\x80\x81\x81", 0, 0 },
		{ "a\xe0\x82\xa0" "b", 1, 1 },
		{ "a\xf0\x80\x80\xa0" "b", 1, 1 },
		{ "\xed\xa0\x80 \xed\xbf\xbf", 0, 0 },
		{ "\xf4\x90\x80\x80 \xf7\xbf\xbf\xbf", 0, 0 },
		{ "a\xf8\x80\x80\x80\xa0" "b", 1, 1 },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t bytes = strlen(cases[i].text);

		for (size_t chunk = 1; chunk <= bytes; chunk++) {
			m.text = MK_MAP_UTF8;
			map_file(&m, MK_OP_COUNT, cases[i].text, bytes, chunk);
			assert_true(result().words == cases[i].words);
			m.text |= MK_MAP_POSIX;
			map_file(&m, MK_OP_COUNT, cases[i].text, bytes, chunk);
			assert_true(result().words == cases[i].posix);
		}
	}
	m.text = 0;
}

/* The text model: the decoder and the tables of the C library. */
static struct counts model_text(const unsigned char *data, size_t bytes)
{
	struct counts c = { 0, 0, bytes };
	bool printable = false;
	wchar_t wide;

	for (size_t i = 0, n; i < bytes; i += n) {
		mbstate_t fresh = { 0 };

		n = mbrtowc(&wide, (const char *)data + i, bytes - i, &fresh);
		if (!n || n > 4) { /* NUL, invalid, or cut off */
			n = 1;
			continue;
		}
		c.lines += wide == L'\n';
		if (wide < 0x80 ? isspace((int)wide)
				: iswprint((wint_t)wide) &&
				   (iswspace((wint_t)wide) || wide == 0xa0 ||
				    wide == 0x2007 || wide == 0x202f ||
				    wide == 0x2060)) {
			c.words += printable;
			printable = false;
		} else if (iswprint((wint_t)wide)) {
			printable = true;
		}
	}
	c.words += printable;
	return c;
}

static void expect_text(const unsigned char *data, size_t bytes, size_t chunk)
{
	struct counts want = model_text(data, bytes), got;

	m.text = MK_MAP_UTF8;
	map_file(&m, MK_OP_COUNT, data, bytes, chunk);
	m.text = 0;
	got = result();
	assert_memory_equal(&got, &want, sizeof(got));
}

/* Some characters of each kind, in whole and in pieces. */
static void fill_text(unsigned char *data, size_t bytes, bool pieces)
{
	static const char *const some[] = {
		"a", " ", "\n", "\001", "\177", "\u00e9", "\u00a0", "\u00ad",
		"\xc2\x85", "\u2003", "\u2028", "\u2060", "\u3000", "\u6587",
		"\uffff", "\U0001f600", "\U000f0000", "\U0010ffff", "\xff",
		"\x80", "\xc0\xa0", "\xe0\x82\xa0", "\xed\xa0\x80",
		"\xf4\x90\x80\x80",
	};
	size_t at = 0;

	while (at < bytes) {
		const char *c = some[next_random() % 24];
		size_t n = strlen(c);

		if (pieces && next_random() % 4 == 0)
			n = 1 + next_random() % n;
		if (n > bytes - at)
			n = bytes - at;
		memcpy(data + at, c, n);
		at += n;
	}
}

/* Blocks of ASCII, which are counted apart, end what was begun before. */
static void blocks_between(void **state)
{
	unsigned char data[320];

	(void)state;
	memset(data, ' ', sizeof(data));
	data[63] = 0xe4;
	data[128] = 0xb8;
	data[129] = 0xad;
	data[191] = 0xe4; /* and this does go on */
	data[192] = 0xb8;
	data[193] = 0xad;
	for (size_t chunk = 64; chunk <= sizeof(data); chunk += 64) {
		m.text = MK_MAP_UTF8;
		map_file(&m, MK_OP_COUNT, data, sizeof(data), chunk);
		m.text = 0;
		assert_true(result().words == 1);
	}
}

/* 0: there is a locale to compare with. */
static int utf8_locale(void)
{
	return setlocale(LC_CTYPE, "C.UTF-8") ||
		setlocale(LC_CTYPE, "en_US.UTF-8") ? 0 : -1;
}

static void chunks_of_text(void **state)
{
	unsigned char data[700];

	(void)state;
	if (utf8_locale())
		skip();
	for (unsigned round = 0; round < 100; round++) {
		size_t bytes = next_random() % sizeof(data);

		fill_text(data, bytes, round % 2);
		expect_text(data, bytes, 1u << 20);
		expect_text(data, bytes, 1 + next_random() % 200);
	}
	for (size_t chunk = 1; chunk <= 150; chunk++)
		expect_text(data, 150, chunk);
	setlocale(LC_CTYPE, "C");
}

static size_t encode(uint32_t code, unsigned char *to)
{
	if (code < 0x800) {
		to[0] = (unsigned char)(0xc0 | code >> 6);
		to[1] = (unsigned char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		to[0] = (unsigned char)(0xe0 | code >> 12);
		to[1] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
		to[2] = (unsigned char)(0x80 | (code & 0x3f));
		return 3;
	}
	to[0] = (unsigned char)(0xf0 | code >> 18);
	to[1] = (unsigned char)(0x80 | (code >> 12 & 0x3f));
	to[2] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
	to[3] = (unsigned char)(0x80 | (code & 0x3f));
	return 4;
}

/* The table is of the library that made it: others know more characters, or
 * fewer. */
static void every_character(void **state)
{
	unsigned char text[16] = " ", both[32];

	(void)state;
#ifdef __GLIBC__
	if (strcmp(gnu_get_libc_version(), "2.36") || utf8_locale())
		skip();
#else
	skip();
#endif
	for (uint32_t code = 0x80; code < 0x110000; code++) {
		size_t n = encode(code, text + 1);

		/* a word? " C "; an end of one? "aCa" */
		text[1 + n] = ' ';
		memcpy(both, text, n + 2);
		both[n + 2] = 'a';
		memcpy(both + n + 3, text + 1, n);
		both[2 * n + 3] = 'a';
		expect_text(both, 2 * n + 4, 64);
	}
	setlocale(LC_CTYPE, "C");
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
		cmocka_unit_test(known_text),
		cmocka_unit_test(blocks_between),
		cmocka_unit_test(chunks_of_text),
		cmocka_unit_test(every_character),
		cmocka_unit_test(refuses),
	};

	return cmocka_run_group_tests_name("handlers/count", tests, NULL,
					   NULL);
}
