/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the record of evidence that a context writes when it loses its
 * device: "megakernel evidence" version 1, see docs/reliability.md. */
#ifndef POSTMORTEM_H
#define POSTMORTEM_H

#include <stddef.h>
#include <stdio.h>

#include <jansson.h>

#define POSTMORTEM_BYTES_MAX (64u << 20)
#define POSTMORTEM_VERSION 1

/* Parse and check. NULL: it is no such record; `why` says so, in words. What
 * is in it may come from anywhere; nothing that is printed of it controls a
 * terminal. */
json_t *postmortem_read(const char *data, size_t size, char *why, size_t room);

/* What it says, for people. */
void postmortem_print(const json_t *record, FILE *out);

#endif
