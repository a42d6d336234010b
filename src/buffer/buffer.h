/* SPDX-License-Identifier: Apache-2.0 */
/* The host's table of buffers; see struct mk_buffers. */
#ifndef MK_BUFFER_H
#define MK_BUFFER_H

#include "context/context.h"

void mk_buffers_fini(struct mk_buffers *b);

/* Hand every live buffer to a restarted engine. */
int mk_buffers_attach_all(struct mk_ctx *ctx);

#endif
