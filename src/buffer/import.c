/* SPDX-License-Identifier: Apache-2.0 */
/* Device memory of the caller's as buffers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <megakernel/cuda.h>

#include "base/error.h"
#include "base/params.h"
#include "buffer/buffer.h"

#define bad(...) mk_error_set(-EINVAL, 0, "mk_buffer_import", __VA_ARGS__)

static bool handle_given(const struct mk_buffer_import_params *p)
{
	for (size_t i = 0; i < sizeof(p->handle); i++)
		if (p->handle[i])
			return true;
	return false;
}

static int check_pointer(const struct mk_ctx *ctx,
			 const struct mk_buffer_import_params *p)
{
	if (ctx->isolation != MK_ISOLATION_NONE)
		return bad("params.kind is MK_IMPORT_POINTER, but the worker "
			   "process cannot use a pointer of this one: import "
			   "an IPC handle, or create the context with "
			   "MK_ISOLATION_NONE");
	if (!p->address)
		return bad("params.address is 0");
	if (p->offset || handle_given(p))
		return bad("params.offset and params.handle are for "
			   "MK_IMPORT_IPC; leave them zero");
	return 0;
}

static int check_ipc(const struct mk_ctx *ctx,
		     const struct mk_buffer_import_params *p)
{
	if (ctx->isolation != MK_ISOLATION_PROCESS)
		return bad("params.kind is MK_IMPORT_IPC, but a process cannot "
			   "open handles of its own: import the pointer, or "
			   "create the context with MK_ISOLATION_PROCESS");
	if (p->address)
		return bad("params.address is for MK_IMPORT_POINTER; leave it "
			   "0");
	if (!handle_given(p))
		return bad("params.handle is all zero");
	if (p->bytes > UINT64_MAX - p->offset)
		return mk_error_set(-MK_ERANGE, 0, "mk_buffer_import",
				    "params.offset %llu + params.bytes %llu "
				    "overflows", (unsigned long long)p->offset,
				    (unsigned long long)p->bytes);
	return 0;
}

static int check(const struct mk_ctx *ctx,
		 const struct mk_buffer_import_params *p)
{
	if (!(ctx->real->traits & MK_TRAIT_CUDA))
		return mk_error_set(-EOPNOTSUPP, 0, "mk_buffer_import",
				    "engine %s has no device memory to "
				    "import; use mk_buffer_create()",
				    ctx->real->name);
	if (!p->bytes || p->bytes > INT64_MAX)
		return bad("params.bytes is %llu, must be 1 to 2^63 - 1",
			   (unsigned long long)p->bytes);
	if (p->flags & ~(uint32_t)MK_BUFFER_READ_ONLY || p->reserved)
		return bad("params.flags is 0x%x, known is 0x%x; "
			   "params.reserved is %u, must be 0", p->flags,
			   MK_BUFFER_READ_ONLY, p->reserved);
	if (p->kind == MK_IMPORT_POINTER)
		return check_pointer(ctx, p);
	if (p->kind == MK_IMPORT_IPC)
		return check_ipc(ctx, p);
	return bad("params.kind is %u, must be a value of enum "
		   "mk_import_kind", p->kind);
}

int mk_buffer_import(struct mk_ctx *ctx,
		     const struct mk_buffer_import_params *params,
		     mk_buffer_t *out)
{
	struct mk_buffer_import_params *p;
	int r;

	if (!ctx || !params || !out)
		return mk_error_null("mk_buffer_import", !ctx ? "ctx" :
				     !out ? "out" : "params");
	p = malloc(sizeof(*p));
	if (!p)
		return mk_error_set(-ENOMEM, ENOMEM, "mk_buffer_import",
				    "no memory for the buffer table");
	r = mk_params_copy(p, sizeof(*p), sizeof(*p), params,
			   "mk_buffer_import");
	if (!r)
		r = check(ctx, p);
	if (!r)
		r = mk_buffer_open(ctx, p->bytes, p->flags, p,
				   "mk_buffer_import", out);
	if (r)
		free(p);
	return r;
}
