/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parameter structs: they begin with their size, zero is every default, and
 * an unknown tail must be zero. The rule is that of openat2(2).
 */
#ifndef MK_BASE_PARAMS_H
#define MK_BASE_PARAMS_H

#include <stddef.h>

/*
 * Copy the caller's struct into ours of `known` bytes, zero-extended. src may
 * be NULL: all defaults.
 *
 * -EINVAL: its size is below `least`, the size of its first version.
 * -E2BIG: it has a tail that is unknown here and not zero.
 */
int mk_params_copy(void *dst, size_t known, size_t least, const void *src,
		   const char *operation);

#endif
