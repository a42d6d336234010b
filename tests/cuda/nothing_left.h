/* SPDX-License-Identifier: Apache-2.0 */
/* After an engine has ended: what the fake driver still counts as taken. */
#ifndef MK_TESTS_CUDA_NOTHING_LEFT_H
#define MK_TESTS_CUDA_NOTHING_LEFT_H

#include "base/order.h"
#include "cuda/fake_cuda.h"
#include "support/support.h"

static inline void nothing_left(void)
{
	assert_false(fake_resident());
	assert_int_equal(fake.hung, 0);
	assert_int_equal(fake.device_memory, 0);
	assert_int_equal(fake.host_memory, 0);
	assert_int_equal(fake.registered, 0);
	assert_int_equal(fake.streams, 0);
	assert_int_equal(fake.modules, 0);
	assert_int_equal(fake.contexts, 0);
	assert_int_equal(mk_load_seq(&fake.pushed), 0);
}

#endif
