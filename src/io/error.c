/* SPDX-License-Identifier: Apache-2.0 */
#include "io/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <megakernel.h>

#define PARAMS_MOST 4096u /* no params are longer */

int (mkio_error)(int code, int native, const char *operation,
		 const char *format, ...)
{
	struct mk_error e = { .code = code, .native = native };
	va_list ap;

	snprintf(e.operation, sizeof(e.operation), "%s", operation);
	va_start(ap, format);
	vsnprintf(e.text, sizeof(e.text), format, ap);
	va_end(ap);
	return mk_error_record(&e);
}

int (mkio_null)(const char *operation, const char *what)
{
	return mkio_error(-EINVAL, 0, operation, "%s is NULL", what);
}

int mkio_params(void *dst, size_t known, const void *src,
		const char *operation)
{
	const unsigned char *bytes = src;
	uint32_t size = (uint32_t)known;

	memset(dst, 0, known);
	memcpy(dst, &size, sizeof(size));
	if (!src)
		return 0;
	memcpy(&size, src, sizeof(size));
	if (size < known)
		return mkio_error(-EINVAL, 0, operation,
				  "params.size is %u, but must be "
				  "sizeof(params), %zu or more", size, known);
	if (size > PARAMS_MOST)
		return mkio_error(-E2BIG, 0, operation,
				  "params.size is %u; no params are longer "
				  "than %u bytes", size, PARAMS_MOST);
	for (size_t i = known; i < size; i++)
		if (bytes[i])
			return mkio_error(-E2BIG, 0, operation,
					  "params.size is %u and byte %zu is "
					  "not zero; this library knows the "
					  "first %zu", size, i, known);
	memcpy(dst, src, known);
	return 0;
}
