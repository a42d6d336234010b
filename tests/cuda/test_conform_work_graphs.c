/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/conformance/test_work_graphs.c on the resident kernel, emulated.
 *
 * ctest-link: -Wl,--wrap=dlopen -Wl,--wrap=dlsym
 * ctest-timeout: 600
 */
#define GRAPHS 24u
#define main conform_cases
#include "conformance/test_work_graphs.c"
#undef main
#include "cuda/emulated_main.c"
