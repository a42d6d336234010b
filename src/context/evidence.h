/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evidence: what was going on when the device was lost. Taken from shared
 * memory in one go, and put into words when somebody asks, or when the keeper
 * has a moment to write the files.
 */
#ifndef MK_CONTEXT_EVIDENCE_H
#define MK_CONTEXT_EVIDENCE_H

#include "context/context.h"

#define MK_EVIDENCE_VERSION 1u

/*
 * Take it, unless it was taken for this loss already: before a hung process
 * is killed, and after one has died. From any thread; takes list_lock and
 * error_lock, one after the other. No memory: there is none, and no harm.
 */
void mk_evidence_take(struct mk_ctx *ctx, const struct mk_error *why);

/* This loss has been taken in: the next one is another. */
void mk_evidence_next(struct mk_ctx *ctx);

/* Write the last one into files, if that is wanted and was not done. */
void mk_evidence_write(struct mk_ctx *ctx);

void mk_evidence_free(struct mk_ctx *ctx);

#endif
