/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of a source, by reading it: there is no table in CUDA code. */
#ifndef MK_CUDA_SCAN_H
#define MK_CUDA_SCAN_H

#include <megakernel/abi.h>

struct mkc_name {
	char name[MK_HANDLER_NAME_BYTES];
};

/*
 * Every NAME in MK_HANDLER(NAME, ..., MK_HANDLER_THREAD( and
 * MK_HANDLER_BLOCK( that stands outside of comments, strings and preprocessor
 * lines, in order. A handler must not depend on #if.
 *
 * Returns how many there are, which may exceed max. -MK_EMODULE: a name is
 * too long, or no name.
 */
int mkc_scan(const char *text, struct mkc_name *out, unsigned max);

#endif
