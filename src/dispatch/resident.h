/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of resident rows, into memory that the caller of this has. */
#ifndef MK_DISPATCH_RESIDENT_H
#define MK_DISPATCH_RESIDENT_H

#include <megakernel.h>

/* mk_dispatch_resident_batch_into(), on behalf of a public call. */
int mk_resident_batch(const char *operation, struct mk_ctx *ctx,
		      const struct mk_dispatch_params *params,
		      const struct mk_resident_handles *rows, uint32_t n,
		      struct mk_batch_dispatch_output *out);

/* The handle of one buffer of a row. (row_error.c) */
mk_buffer_t mk_row_handle(const struct mk_resident_handles *h,
			  enum mk_part part);

/* Record why a row ended with `result`, naming buffer and word where they can
 * be found, and return it. */
int mk_row_failed(const char *operation, struct mk_ctx *ctx,
		  const struct mk_resident_handles *h, int32_t result);

#endif
