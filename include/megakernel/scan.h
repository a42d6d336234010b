/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file scan.h
 * Searching text for patterns: the arguments and the result of MK_OP_SCAN,
 * and the tables it works with.
 *
 * The tables are one image: a run of bytes without addresses, made by
 * `megakernel scan` (scan/scan_compile.h) and put into a buffer. The handler
 * believes none of it: it checks the header against the buffer and bounds
 * every index, so that a wrong image gives wrong matches and nothing worse.
 *
 * A match lies within a line; leftmost and then longest counts, and matches do
 * not overlap: what `grep -o` prints. A slot
 * searches whole lines: its text begins at the beginning of a line and ends
 * with one, as if a newline stood behind it.
 */
#ifndef MEGAKERNEL_SCAN_H
#define MEGAKERNEL_SCAN_H

#include <megakernel/handler.h>

#define MK_SCAN_MAGIC 0x4e43534du /* "MSCN" */
#define MK_SCAN_VERSION 1u
/* Behind the text as many bytes more belong to the buffer. What they are does
 * not matter, nor that they change. */
#define MK_SCAN_PAD 64u

enum mk_scan_flag {
	MK_SCAN_LINES = 1,    /* one record for each line that matches; it may
			       * be of an empty match */
	MK_SCAN_NUL_ENDS = 2, /* NUL ends a line, too: binary data */
	MK_SCAN_FLAGS = 3
};

/* The argument block of MK_OP_SCAN. Records follow struct mk_scan_result at
 * result_offset; there is room for flags >> 8. */
struct mk_scan_args {
	struct mk_ref image;
	struct mk_ref text;
	struct mk_ref result;
	uint64_t offset;        /* of the text in its buffer */
	uint32_t bytes;         /* of the text */
	uint32_t from;          /* no match begins before; 0, or `next` of the
				 * result before */
	uint32_t result_offset; /* multiple of 8 */
	uint32_t flags;         /* enum mk_scan_flag, and room << 8 */
};

/* What a slot leaves; its value is `matches` too. */
struct mk_scan_result {
	uint32_t matches; /* records behind this */
	uint32_t next;    /* go on here: there was no more room; or `bytes` */
	uint32_t nul;     /* the first NUL with MK_SCAN_NUL_ENDS and from 0;
			   * UINT32_MAX: none */
	uint32_t reserved;
};

struct mk_scan_match {
	uint32_t at;    /* from the beginning of the text */
	uint32_t bytes; /* 0: a line matches, and here with nothing; one of
			 * these stands for all of a line */
};

enum mk_scan_kind { MK_SCAN_LITERALS = 1, MK_SCAN_AUTOMATON = 2 };

/* Where a table lies: bytes from the beginning of the image, a multiple of 8;
 * 0: there is none. */
#define MK_SCAN_TABLE uint32_t

/*
 * Literals. All have at least min_bytes >= gram bytes, so of any `stride`
 * places that follow each other one begins a gram that lies in the literal at
 * an offset below stride = at most min_bytes - gram + 1. Only each stride-th
 * place of the text is looked at:
 *
 *	filter   a bit for each hash of a gram, at every offset below stride;
 *	         in words of 32
 *	offsets  for a shorter hash: at which offsets it may be, 16 bits
 *	prefix   the first bytes of literals, open addressing: their range
 *	literal  sorted by bytes; each names the longest other that begins it
 *
 * Some few literals are also looked for by nibbles (`nibble`): 3 bytes of a
 * literal from `window` on, in 8 groups; 6 tables of 16 bytes.
 *
 * Where the stride is 1 or 2, `wide` is the filter once more, for vectors of
 * 32 bits: by another hash, mk_scan_wide(), and each word from its highest bit
 * on.
 */
struct mk_scan_image {
	uint32_t magic, version;
	uint64_t bytes;      /* of the image */
	uint64_t check;      /* of what follows the header: scan/scan_image.h */
	uint32_t kind;       /* enum mk_scan_kind */
	uint32_t fold;       /* 1: ASCII letters of both cases are the same */

	uint32_t min_bytes, max_bytes;
	uint32_t gram, stride;      /* 1 to 8, 1 to 16 */
	uint64_t gram_factor;       /* hash: by it, then the highest bits;
				     * it leaves `gram` bytes of eight */
	uint64_t gram_fold;         /* or-ed to a gram */
	uint32_t filter_log2;       /* 6 to 24: bits */
	uint32_t offsets_log2;      /* at most filter_log2: entries */
	uint32_t prefix_log2;       /* entries */
	uint32_t prefix_bytes;      /* 1 to 8 */
	uint32_t literals;
	uint32_t window;            /* of `nibble` */
	MK_SCAN_TABLE filter, offsets, prefix, literal, text, nibble;
	uint32_t text_bytes;

	/* an automaton: see below */
	uint32_t classes;    /* 1 to 256; the last is the end of a line */
	uint32_t whole_states, find_states;
	uint32_t whole_start[3], find_start[3]; /* by enum mk_scan_before */
	MK_SCAN_TABLE class_of, whole, find, begins;
	uint32_t empty;      /* 1: it may match nothing at all */
	uint32_t whole_log2, find_log2; /* entries, but for the last row's */
	uint32_t whole_line;  /* 1: a literal is a line */
	MK_SCAN_TABLE wide;
	uint32_t wide_log2;   /* 6 to 24: bits */
	uint32_t reserved[16];
};

struct mk_scan_prefix {
	uint64_t key; /* the first prefix_bytes, little endian, folded */
	uint32_t first, end; /* literals; end 0: no entry */
};

struct mk_scan_literal {
	uint32_t at, bytes; /* in text, folded */
	uint32_t shorter;   /* longest other that begins this one, or itself */
	uint32_t reserved;
};

/* What stands before a place, for ^ and \b. */
enum mk_scan_before {
	MK_SCAN_AFTER_END = 0, /* a line begins */
	MK_SCAN_AFTER_WORD = 1,
	MK_SCAN_AFTER_OTHER = 2
};

/*
 * An automaton is a table of states x classes. An entry is the index of the
 * next state's first entry, and MK_SCAN_MATCH if a match ends before the byte
 * that was read: what a pattern says of the byte behind it is known then.
 * State 0 is where nothing can match any more. There are 2^log2 entries and
 * 256 more, so that a masked index with any class stays within.
 *
 *	class_of  256 bytes: the class of a byte; then 256 where NUL ends lines
 *	whole     begun where a match may begin: its ends
 *	find      begun at a line: tells that a match ends; not always there
 *	begins    256 bits: with which bytes a match of 1 or more can begin
 */
#define MK_SCAN_MATCH 0x80000000u

MK_ASSERT_SIZE(struct mk_scan_args, 48);
MK_ASSERT_SIZE(struct mk_scan_result, 16);
MK_ASSERT_SIZE(struct mk_scan_match, 8);
MK_ASSERT_SIZE(struct mk_scan_image, 256);
MK_ASSERT_SIZE(struct mk_scan_prefix, 16);
MK_ASSERT_SIZE(struct mk_scan_literal, 16);

#define MK_SCAN_HASH 0x9e3779b97f4a7c15ull /* 2^64 by the golden ratio */

#define MK_SCAN_WIDE_LOW 0x9e3779b1u
#define MK_SCAN_WIDE_HIGH 0x85ebca77u

/* The hash of `wide`: of bytes of a gram, which is or-ed with gram_fold. */
MK_FN uint32_t mk_scan_wide(uint64_t word, uint32_t gram)
{
	uint32_t high = gram > 4 ? (uint32_t)(word >> 32) : 0;

	return (uint32_t)word * MK_SCAN_WIDE_LOW + high * MK_SCAN_WIDE_HIGH;
}

/* ASCII letters of eight bytes made small. */
MK_FN uint64_t mk_scan_fold(uint64_t word)
{
	const uint64_t high = 0x8080808080808080ull;
	uint64_t low = word & ~high;
	uint64_t from_a = low + 0x3f3f3f3f3f3f3f3full; /* >= 'A' */
	uint64_t past_z = low + 0x2525252525252525ull; /* > 'Z' */

	return word | ((~word & high & from_a & ~past_z) >> 2);
}

#endif
