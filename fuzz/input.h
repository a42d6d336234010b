/* SPDX-License-Identifier: Apache-2.0 */
/* The input of a target that reads it as a program, byte by byte. */
#ifndef MK_FUZZ_INPUT_H
#define MK_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

static const uint8_t *input;
static size_t input_left;

/* The next byte; 0 behind the last. */
static unsigned take(void)
{
	if (!input_left)
		return 0;
	input_left--;
	return *input++;
}

#endif
