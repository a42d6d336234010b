/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/conformance/test_scans.c on the resident kernel's own text, emulated.
 *
 * ctest-link: -Wl,--wrap=dlopen -Wl,--wrap=dlsym
 * ctest-timeout: 600
 */
#define main conform_cases
#include "conformance/test_scans.c"
#undef main
#include "cuda/emulated_main.c"
