/* SPDX-License-Identifier: Apache-2.0 */
/* xxhash, as headers only: no library to link. */
#ifndef MK_MODULE_HASH_H
#define MK_MODULE_HASH_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#endif
