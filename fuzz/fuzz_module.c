/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes as a compiled module: the file's header and table, then, whatever
 * those say, the bytes as an image and as the images that the table names.
 * Nothing of it is loaded.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "module/hash.h"
#include "module/image.h"
#include "module/mkm.h"
#include "module/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct mk_handler_info handlers[MK_MODULE_HANDLERS_MAX];

/* In an allocation of its exact size, aligned as a mapping is. */
static void try_image(const uint8_t *data, size_t size)
{
	unsigned char *copy = malloc(size ? size : 1);
	struct mk_image_view view = { copy, size };
	unsigned count = 0;

	if (!copy)
		return;
	memcpy(copy, data, size);
	if (!mk_image_handlers(&view, "fuzz", handlers,
			       MK_MODULE_HANDLERS_MAX, &count)) {
		/* what was accepted keeps the promises of the header */
		if (!count || count > MK_MODULE_HANDLERS_MAX ||
		    mk_table_check(handlers, count, "fuzz"))
			abort();
	}
	free(copy);
}

static void try_file(const uint8_t *data, size_t size, int signed_front)
{
	const struct mk_mkm_image *image;
	struct mk_mkm_front front;
	size_t got = size < sizeof(front) ? size : sizeof(front);

	memset(&front, 0, sizeof(front));
	memcpy(&front, data, got);
	if (signed_front && front.header.images <= MK_MKM_IMAGES_MAX) {
		/* as by someone who knows the hash; 0 stands for this version,
		 * so that the corpus outlives it */
		if (!front.header.abi) {
			front.header.abi = MK_ABI_VERSION;
			front.header.fingerprint = MK_FINGERPRINT;
		}
		front.header.check = 0;
		front.header.check = XXH3_64bits(
			&front, sizeof(front.header) + front.header.images *
						sizeof(front.image[0]));
	}
	if (mk_mkm_check(&front, got, size, "cpu", "fuzz", &image))
		return;
	if (image->offset > size || image->bytes > size - image->offset)
		abort();
	try_image(data + image->offset, image->bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_file(data, size, 0);
	try_file(data, size, 1);
	try_image(data, size);
	return 0;
}
