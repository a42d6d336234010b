/* SPDX-License-Identifier: Apache-2.0 */
/* File names in lines of text, as the tools of GNU print them. */
#ifndef QUOTE_H
#define QUOTE_H

#include <stdbool.h>

#include "output.h"

/* True if a checksum line of this name begins with a backslash. */
bool quote_sum_needed(const char *name);

/* The name in a checksum line: \\, \n and \r for backslash, newline and
 * carriage return. */
void quote_sum(struct output *o, const char *name);

/* The name for a shell, in quotes: 'a'$'\n''b'. */
void quote_shell(struct output *o, const char *name);

/* The name in a message: in a shell's quotes if it has control characters;
 * cut to fit. Returns text. */
const char *quote_message(const char *name, char *text, unsigned room);

#endif
