/* SPDX-License-Identifier: Apache-2.0 */
#include "base/params.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

/* Beyond, size was never set: what lies there is not looked at. */
#define PARAMS_MOST 4096u

int mk_params_copy(void *dst, size_t known, size_t least, const void *src,
		   const char *operation)
{
	const unsigned char *bytes = src;
	uint32_t size;

	memset(dst, 0, known);
	if (!src) {
		size = (uint32_t)known;
		memcpy(dst, &size, sizeof(size));
		return 0;
	}
	memcpy(&size, src, sizeof(size));
	if (size < least)
		return mk_error_set(-EINVAL, 0, operation,
				    "params.size is %u, but must be "
				    "sizeof(params), %zu or more", size,
				    least);
	if (size > PARAMS_MOST)
		return mk_error_set(-E2BIG, 0, operation,
				    "params.size is %u; no params are longer "
				    "than %u bytes", size, PARAMS_MOST);
	for (size_t i = known; i < size; i++)
		if (bytes[i])
			return mk_error_set(
				-E2BIG, 0, operation,
				"params.size is %u and byte %zu is not zero; "
				"this library knows the first %zu bytes: set "
				"no fields that it does not know", size, i,
				known);
	memcpy(dst, src, size < known ? size : known);
	return 0;
}
