/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/conformance/test_work_flow.c on the resident kernel, emulated.
 *
 * ctest-link: -Wl,--wrap=dlopen -Wl,--wrap=dlsym
 * ctest-timeout: 600
 */
#define main conform_cases
#include "conformance/test_work_flow.c"
#undef main
#include "cuda/emulated_main.c"
