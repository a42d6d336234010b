/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file cuda.h
 * Side by side with CUDA code of the caller's own: its context, its stream,
 * its memory. Needs no header of CUDA and works with both of its interfaces.
 *
 * Which stream a kernel is on says nothing about when handlers run: order
 * work of your own with slots by completions on one side and by
 * cuStreamSynchronize() or events on the other.
 */
#ifndef MEGAKERNEL_CUDA_H
#define MEGAKERNEL_CUDA_H

#include <megakernel.h>

#ifdef __cplusplus
extern "C" {
#endif

struct CUctx_st;    /* *CUcontext */
struct CUstream_st; /* *CUstream, *cudaStream_t */

/**
 * Put the resident kernel into this context, and on this stream: engine cuda,
 * isolation none. Fills in params; call mk_ctx_create() next.
 *
 * @param params   size and all else that is wanted set; engine, isolation,
 *                 native_context and native_stream are set here.
 * @param context  of device params->device, alive for as long as the
 *                 mk_ctx; NULL: the device's primary context, which is also
 *                 that of the CUDA runtime.
 * @param stream   of that context, made with CU_STREAM_NON_BLOCKING, with
 *                 nothing else on it while the mk_ctx lives; NULL: one of the
 *                 library's own.
 */
static inline void mk_cuda_params(struct mk_ctx_params *params,
				  struct CUctx_st *context,
				  struct CUstream_st *stream)
{
	params->engine = "cuda";
	params->isolation = MK_ISOLATION_NONE;
	params->native_context = context;
	params->native_stream = stream;
}

enum mk_import_kind {
	MK_IMPORT_POINTER = 1, /* device memory of this process; isolation
				* none */
	MK_IMPORT_IPC = 2      /* device memory that this process exported (or
				* another); isolation process */
};

#define MK_IMPORT_HANDLE_BYTES 64u

struct mk_buffer_import_params {
	uint32_t size;     /* sizeof(struct mk_buffer_import_params) */
	uint32_t kind;     /* enum mk_import_kind */
	uint64_t address;  /* POINTER: on the device; IPC: 0 */
	uint64_t offset;   /* IPC: from the beginning of the allocation that
			    * the handle names; POINTER: 0 */
	uint64_t bytes;    /* 1 or more, within one allocation */
	uint32_t flags;    /* 0 or MK_BUFFER_READ_ONLY */
	uint32_t reserved; /* 0 */
	unsigned char handle[MK_IMPORT_HANDLE_BYTES]; /* IPC: CUipcMemHandle;
						       * POINTER: zero */
};

/**
 * Make device memory that the caller owns a buffer: handlers use it in place,
 * with handle, generation and bounds as any other. mk_cuda_import() and
 * mk_cuda_import_ipc() fill in the parameters.
 *
 * The memory stays the caller's. mk_buffer_destroy() ends the handle and
 * frees nothing; the memory has to stay allocated until that has returned,
 * and it is for the caller to order its own work on it with slots. Content is
 * left alone. IPC: the worker process maps the memory, for which the kernel
 * steps aside, as it does when the last buffer of the same handle is
 * destroyed; after mk_ctx_recover() the new one maps it again.
 *
 * @param params  copied.
 *
 * @retval -EINVAL       a field is out of its range, the kind is not for
 *                       this isolation, or the memory is managed.
 * @retval -EOPNOTSUPP   the engine is not cuda.
 * @retval -EFAULT       POINTER: address is not device memory.
 * @retval -MK_ERANGE    the range exceeds the allocation.
 * @retval -EXDEV        it is memory of another device.
 * @retval -MK_EFOREIGN  it is memory of another context of the device; give
 *                       mk_ctx_params.native_context.
 * @retval -EBADF        IPC: the driver does not take the handle.
 * @retval -ETIME        IPC: a slot ran and the kernel could not step aside.
 * @retval -ENOSPC, -MK_EDEVLOST  as mk_buffer_create().
 */
MK_API int mk_buffer_import(struct mk_ctx *ctx,
			    const struct mk_buffer_import_params *params,
			    mk_buffer_t *out);

/**
 * Make [address, address + bytes) a buffer: device memory of this process
 * (cuMemAlloc, cudaMalloc, or of a pool). Isolation none. Errors and
 * ownership as mk_buffer_import().
 *
 * @param address  CUdeviceptr, or a device pointer as a number.
 * @param flags    0 or MK_BUFFER_READ_ONLY.
 */
static inline int mk_cuda_import(struct mk_ctx *ctx,
				 unsigned long long address, uint64_t bytes,
				 uint32_t flags, mk_buffer_t *out)
{
	struct mk_buffer_import_params p;

	memset(&p, 0, sizeof(p));
	p.size = sizeof(p);
	p.kind = MK_IMPORT_POINTER;
	p.address = address;
	p.bytes = bytes;
	p.flags = flags;
	return mk_buffer_import(ctx, &p, out);
}

/**
 * Make bytes of exported device memory a buffer of a context with isolation
 * process. Errors and ownership as mk_buffer_import().
 *
 * @param handle  a CUipcMemHandle or cudaIpcMemHandle_t, 64 bytes; copied.
 * @param offset  of the first byte from the beginning of the allocation,
 *                which may be before the pointer that was exported.
 * @param flags   0 or MK_BUFFER_READ_ONLY.
 */
static inline int mk_cuda_import_ipc(struct mk_ctx *ctx, const void *handle,
				     uint64_t offset, uint64_t bytes,
				     uint32_t flags, mk_buffer_t *out)
{
	struct mk_buffer_import_params p;

	memset(&p, 0, sizeof(p));
	p.size = sizeof(p);
	p.kind = MK_IMPORT_IPC;
	p.offset = offset;
	p.bytes = bytes;
	p.flags = flags;
	memcpy(p.handle, handle, sizeof(p.handle));
	return mk_buffer_import(ctx, &p, out);
}

#ifdef __cplusplus
}
#endif
#endif
