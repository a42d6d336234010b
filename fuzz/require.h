/* SPDX-License-Identifier: Apache-2.0 */
/* What a fuzz target finds wrong is a crash, which the fuzzer keeps. */
#ifndef MK_FUZZ_REQUIRE_H
#define MK_FUZZ_REQUIRE_H

#include <stdlib.h>

#define REQUIRE(condition)        \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

#endif
