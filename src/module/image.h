/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A compiled module as a sealed memfd: bytes that nobody can change any more,
 * under a descriptor that can be handed to the worker process. And what can be
 * told of such an image without running any of it.
 */
#ifndef MK_MODULE_IMAGE_H
#define MK_MODULE_IMAGE_H

#include <megakernel.h>

#define MK_IMAGE_BYTES_MAX (256u << 20)

/* False if a file of this size would exceed RLIMIT_FSIZE: the write would
 * raise SIGXFSZ, which ends the process. */
bool mk_file_size_allowed(uint64_t bytes);

/* Copy `bytes` of the file from `offset` on into a new sealed memfd.
 * -ENODATA: the file ends before; -EFBIG: beyond RLIMIT_FSIZE; else the
 * errno. */
int mk_image_copy(int file, uint64_t offset, uint64_t bytes, int *image);

/* The same from memory. */
int mk_image_create(const void *data, uint64_t bytes, int *image);

/* An image mapped to be read. */
struct mk_image_view {
	const unsigned char *base;
	uint64_t bytes;
};

/* -MK_EMODULE if it is not sealed, empty or over MK_IMAGE_BYTES_MAX. */
int mk_image_map(int image, struct mk_image_view *view);
void mk_image_unmap(struct mk_image_view *view);

/*
 * Read the handlers out of a shared object image for this machine, by its
 * section table: nothing of it runs. `what` names it in sentences. The list
 * has been checked (mk_table_check). -MK_EMODULE, -ENOSPC: more than max.
 */
int mk_image_handlers(const struct mk_image_view *view, const char *what,
		      struct mk_handler_info *out, unsigned max,
		      unsigned *count);

/* The name of this machine's instruction set, as .mkm files carry it. */
const char *mk_image_target(void);

#endif
