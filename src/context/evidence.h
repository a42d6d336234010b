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

/* ---- evidence_file.c ---------------------------------------------------- */

/*
 * The directory as it is to be written to, whatever the caller's working
 * directory is then; NULL for NULL. Owned by the caller.
 * @retval -errno  it is none, or nothing can be written there.
 */
int mk_evidence_dir(const char *given, char **out);

/* Make r the last one. The one before is returned, to be freed without the
 * lock, or kept until it is written. The caller holds error_lock. */
struct mk_record *mk_evidence_replace(struct mk_ctx *ctx, struct mk_record *r);

/*
 * Write those into files that were not yet, if that is wanted. One that could
 * not be says so in its words, and is tried again after a while, or now if
 * this is the last time. One thread at a time.
 */
void mk_evidence_write(struct mk_ctx *ctx, bool last);

void mk_evidence_free(struct mk_ctx *ctx);

#endif
