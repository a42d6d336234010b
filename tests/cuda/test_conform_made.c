/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/conformance/test_made.c on the resident kernel's own text, emulated.
 *
 * ctest-link: -Wl,--wrap=dlopen -Wl,--wrap=dlsym
 * ctest-timeout: 600
 */
/* a deadline of 20 ms, which is how far the emulated clock may be ahead */
#define EMULATED_SKIP "*: late"

#define main conform_cases
#include "conformance/test_made.c"
#undef main
#include "cuda/emulated_main.c"
