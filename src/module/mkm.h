/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A compiled module in a file: what mk_module_compile() writes and what the
 * cache keeps. One file can carry an image for each of several engines.
 *
 *   header | image table | images, each at its offset
 *
 * Every byte of header and table is under header.check, every byte of an
 * image under its own hash. Little-endian.
 */
#ifndef MK_MODULE_MKM_H
#define MK_MODULE_MKM_H

#include <megakernel/abi.h>
#include <stdbool.h>

#define MK_MKM_MAGIC "MKMODULE" /* without its terminating zero */
#define MK_MKM_VERSION 1u
#define MK_MKM_IMAGES_MAX 8u

struct mk_mkm_header {
	char magic[8];
	uint32_t version;
	uint32_t images;      /* entries of the table: 1..MK_MKM_IMAGES_MAX */
	uint32_t abi;         /* MK_ABI_VERSION */
	uint32_t fingerprint; /* MK_FINGERPRINT */
	uint32_t handlers;
	uint32_t reserved;    /* 0 */
	uint64_t key[2];      /* of the cache entry; 0: compiled on request */
	uint64_t file_bytes;
	uint64_t check;       /* XXH3-64 of header and table, this word 0 */
};

struct mk_mkm_image {
	char engine[16]; /* "cpu"; zero-padded */
	char target[16]; /* "x86_64", or "any"; zero-padded */
	uint64_t offset; /* in the file; multiple of 8 */
	uint64_t bytes;
	uint64_t hash[2]; /* XXH3-128, low half first */
};

MK_ASSERT_SIZE(struct mk_mkm_header, 64);
MK_ASSERT_SIZE(struct mk_mkm_image, 64);

/* All that stands before the images, as read from a file. */
struct mk_mkm_front {
	struct mk_mkm_header header;
	struct mk_mkm_image image[MK_MKM_IMAGES_MAX];
};

/*
 * Check what was read from the start of a file: `got` bytes of `front`, of a
 * file of `file_bytes`. On success *image is the entry for this engine and
 * this machine. -MK_EMODULE with the reason; `what` names the file.
 */
int mk_mkm_check(struct mk_mkm_front *front, uint64_t got,
		 uint64_t file_bytes, const char *engine, const char *what,
		 const struct mk_mkm_image **image);

/*
 * Take the image for an engine out of a file, verified, into a sealed memfd.
 * key: what header.key must be, NULL: anything.
 */
int mk_mkm_read(int file, const char *engine, const uint64_t *key,
		const char *what, int *image);

/* What goes into a file. */
struct mk_mkm_part {
	const char *engine;
	const char *target; /* NULL: this machine's instruction set */
	int image;
};

#define MK_MKM_ANY "any" /* target of what every machine may load */

/* Write a file of 1 to MK_MKM_IMAGES_MAX images. Returns 0 or a negated
 * errno; the caller removes what a failure leaves. May record a sentence. */
int mk_mkm_write(int file, const uint64_t *key, unsigned handlers,
		 const struct mk_mkm_part *parts, unsigned count);

/* True if the file begins as one of ours. */
bool mk_mkm_is(int file);

#endif
