/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of output buffers: grown before anything runs, kept after. */
#ifndef MK_DISPATCH_OUTPUTS_H
#define MK_DISPATCH_OUTPUTS_H

#include <megakernel.h>

/* Make room for so many bytes; the content is lost. 0 or -ENOMEM. */
int mk_output_reserve(struct mk_output_buffer *b, uint64_t bytes,
		      const char *operation);

/*
 * Grow *array, of *room entries of `each` bytes, to hold n; new entries are
 * zeroed. 0, or -ENOMEM with nothing changed and nothing recorded.
 */
int mk_array_grow(void **array, uint64_t *room, uint64_t n, uint64_t each);

/* As mk_dispatch_output_free() and such, for n buffers. */
void mk_output_buffers_free(struct mk_output_buffer *b, uint64_t n);

/* Room for so many rows and output buffers. 0 or -ENOMEM, recorded. */
int mk_batch_reserve(struct mk_batch_dispatch_output *out, uint32_t rows,
		     uint64_t slots, const char *operation);

#endif
