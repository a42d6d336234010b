/* SPDX-License-Identifier: Apache-2.0 */
/* A buffered descriptor whose first error sticks and is never lost. */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <stddef.h>

#define OUTPUT_BYTES 65536u

struct output {
	int fd;
	int error;   /* errno of the first write that failed; 0: none */
	size_t used;
	char buffer[OUTPUT_BYTES];
};

void output_init(struct output *o, int fd);
void output_put(struct output *o, const void *data, size_t bytes);
void output_text(struct output *o, const char *text);
void output_format(struct output *o, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Write out what is buffered; 0, or the errno that sticks. */
int output_flush(struct output *o);

#endif
