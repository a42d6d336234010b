/* SPDX-License-Identifier: Apache-2.0 */
/* What flow.h wants of the engine. */
#ifndef MKD_FLOW_CUH
#define MKD_FLOW_CUH

#if MK_CUDA /* as plain C++, emulated, handlers find no calls at all */
__device__ int32_t mk_flow_spawn(struct mk_task *task, uint32_t opcode,
				 const void *args, uint32_t bytes)
{
	(void)task, (void)opcode, (void)args, (void)bytes;
	return -MK_ENOTSUP;
}

__device__ int32_t mk_flow_raise(struct mk_task *task, struct mk_ref ref,
				 uint32_t word, uint64_t n)
{
	(void)task, (void)ref, (void)word, (void)n;
	return -MK_ENOTSUP;
}

__device__ int32_t mk_flow_check(const struct mk_task *task, uint32_t opcode,
				 uint32_t bytes)
{
	(void)task, (void)opcode, (void)bytes;
	return -MK_ENOTSUP;
}
#endif

#endif
