/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 against the examples of FIPS 180-4 and NIST's vectors. */
#include "handlers/map.h"

static struct map_run m;

static const struct {
	const char *text, *digest;
} vectors[] = {
	{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85"
	      "5" },
	{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f200"
		 "15ad" },
	{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
	  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	{ "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmno"
	  "ijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
	  "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1" },
};

#define VECTORS (sizeof(vectors) / sizeof(vectors[0]))

static void whole(void **state)
{
	(void)state;
	for (unsigned i = 0; i < VECTORS; i++) {
		map_file(&m, MK_OP_SHA256, vectors[i].text,
			 strlen(vectors[i].text), 1u << 20);
		map_expect_hex(&m, vectors[i].digest);
	}
}

/* Every vector cut in two at every place, and then chunks of every size. */
static void split(void **state)
{
	(void)state;
	for (unsigned i = 0; i < VECTORS; i++) {
		size_t bytes = strlen(vectors[i].text);

		for (size_t cut = 0; cut <= bytes; cut++) {
			map_begin(&m);
			assert_int_equal(map_chunk(&m, MK_OP_SHA256,
						   vectors[i].text, cut,
						   MK_MAP_FIRST), MK_OK);
			assert_int_equal(map_chunk(&m, MK_OP_SHA256,
						   vectors[i].text + cut,
						   bytes - cut, MK_MAP_LAST),
					 MK_OK);
			map_expect_hex(&m, vectors[i].digest);
		}
		for (size_t chunk = 1; chunk <= bytes; chunk++) {
			map_file(&m, MK_OP_SHA256, vectors[i].text, bytes,
				 chunk);
			map_expect_hex(&m, vectors[i].digest);
		}
	}
}

static void million(void **state)
{
	static const size_t chunks[] = { 1u << 20, 65536, 4093, 64, 1000 };
	char *a = malloc(1000000);

	(void)state;
	assert_non_null(a);
	memset(a, 'a', 1000000);
	for (unsigned i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
		map_file(&m, MK_OP_SHA256, a, 1000000, chunks[i]);
		map_expect_hex(&m, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a4"
				   "97200e046d39ccc7112cd0");
	}
	free(a);
}

/* Lengths around the places where the padding takes a second block: the
 * digest of the digests of 0 to 299 zero bytes. */
static void paddings(void **state)
{
	unsigned char zero[300] = { 0 }, all[300 * 32];

	(void)state;
	for (size_t bytes = 0; bytes < 300; bytes++) {
		map_file(&m, MK_OP_SHA256, zero, bytes, 1u << 20);
		assert_int_equal(m.result.length, 32);
		memcpy(all + 32 * bytes, m.result.payload, 32);
	}
	map_file(&m, MK_OP_SHA256, all, sizeof(all), 1u << 20);
	map_expect_hex(&m, "a623c720bdf879ab1ab1d3f3b1af698237802d9f4a"
			   "f8be0b0b8cd87f36e9fca4");
}

/* Another file's leftovers in the state area mean nothing. */
static void first_clears(void **state)
{
	(void)state;
	map_begin(&m);
	assert_int_equal(map_chunk(&m, MK_OP_SHA256, "junk", 4, MK_MAP_FIRST),
			 MK_OK);
	assert_int_equal(map_chunk(&m, MK_OP_SHA256, "abc", 3,
				   MK_MAP_FIRST | MK_MAP_LAST), MK_OK);
	map_expect_hex(&m, vectors[1].digest);
}

/* What sits in the state area can be anything. */
static void hostile_state(void **state)
{
	(void)state;
	map_begin(&m);
	memset(m.area + MAP_STATE_AT, 0xff, MK_MAP_STATE_BYTES);
	assert_int_equal(map_chunk(&m, MK_OP_SHA256, vectors[3].text,
				   strlen(vectors[3].text), MK_MAP_LAST),
			 MK_OK);
	assert_int_equal(m.result.length, 32);
}

static void refuses(void **state)
{
	(void)state;
	map_expect_refusals(MK_OP_SHA256);
	map_expect_cancel(MK_OP_SHA256);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole),	cmocka_unit_test(split),
		cmocka_unit_test(million),	cmocka_unit_test(paddings),
		cmocka_unit_test(first_clears), cmocka_unit_test(hostile_state),
		cmocka_unit_test(refuses),
	};

	return cmocka_run_group_tests_name("handlers/sha256", tests, NULL,
					   NULL);
}
