/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "output.h"

void output_init(struct output *o, int fd)
{
	o->fd = fd;
	o->error = 0;
	o->used = 0;
}

static void output_write(struct output *o, const char *data, size_t bytes)
{
	while (bytes && !o->error) {
		ssize_t n = write(o->fd, data, bytes);

		if (n >= 0) {
			data += n;
			bytes -= (size_t)n;
		} else if (errno == EAGAIN) {
			struct pollfd p = { .fd = o->fd, .events = POLLOUT };

			poll(&p, 1, -1);
		} else if (errno != EINTR) {
			o->error = errno;
		}
	}
}

int output_flush(struct output *o)
{
	output_write(o, o->buffer, o->used);
	o->used = 0;
	return o->error;
}

void output_put(struct output *o, const void *data, size_t bytes)
{
	if (bytes > OUTPUT_BYTES - o->used)
		output_flush(o);
	if (bytes > OUTPUT_BYTES) {
		output_write(o, data, bytes);
		return;
	}
	memcpy(o->buffer + o->used, data, bytes);
	o->used += bytes;
}

void output_text(struct output *o, const char *text)
{
	output_put(o, text, strlen(text));
}

void output_format(struct output *o, const char *format, ...)
{
	char text[512];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (n > 0)
		output_put(o, text,
			   (size_t)n < sizeof(text) ? (size_t)n
						    : sizeof(text) - 1);
}
