/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The modules of a context. The public calls are in include/megakernel.h;
 * here is what the context itself needs. ctx->lock is held by the caller.
 */
#ifndef MK_MODULE_MODULE_H
#define MK_MODULE_MODULE_H

struct mk_ctx;

/* Open and bind every module again in a new engine, under the same opcodes.
 * -MK_EMODULE: a module has changed its handlers; or the engine's code. */
int mk_module_reload_all(struct mk_ctx *ctx);

/* Free what the context knows of its modules; the engine is gone. */
void mk_module_forget_all(struct mk_ctx *ctx);

#endif
