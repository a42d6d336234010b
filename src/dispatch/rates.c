/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes per second out of a dispatch record. */
#include <megakernel.h>

#define NS_PER_S 1000000000u

static uint64_t rate(uint64_t bytes, uint64_t latency_ns)
{
	unsigned __int128 r;

	if (!latency_ns)
		return 0;
	r = (unsigned __int128)bytes * NS_PER_S / latency_ns;
	return r > UINT64_MAX ? UINT64_MAX : (uint64_t)r;
}

uint64_t mk_dispatch_output_rate(const struct mk_dispatch_stats *s)
{
	return s ? rate(s->output_bytes, s->latency_ns) : 0;
}

uint64_t mk_dispatch_readback_rate(const struct mk_dispatch_stats *s)
{
	return s ? rate(s->readback_bytes, s->latency_ns) : 0;
}

uint64_t mk_dispatch_moved_rate(const struct mk_dispatch_stats *s)
{
	return s ? rate(s->bytes_moved, s->latency_ns) : 0;
}

uint64_t mk_dispatch_allocation_rate(const struct mk_dispatch_stats *s)
{
	return s ? rate(s->device_allocation_bytes, s->latency_ns) : 0;
}
