/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The paths that a context is given: kept as they are meant when it is made.
 * The caller may change its directory afterwards, and a daemon does; a worker
 * process is started again, and evidence written, whenever that is due.
 */
#ifndef MK_CONTEXT_PATHS_H
#define MK_CONTEXT_PATHS_H

#include "context/context.h"

/*
 * Copy the paths of p, relative ones made absolute; find the worker program,
 * if there is to be a worker process, and the directory for evidence.
 */
int mk_paths_keep(struct mk_ctx *ctx, const struct mk_ctx_params *p);

void mk_paths_free(struct mk_ctx *ctx);

#endif
