/* SPDX-License-Identifier: Apache-2.0 */
/* Errors of libmegakernel-io, recorded where mk_error_last() finds them. */
#ifndef MK_IO_ERROR_H
#define MK_IO_ERROR_H

#include <stddef.h>

/* Record a failure; returns `code`, which is negated already. */
int mkio_error(int code, int native, const char *operation,
	       const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* A pointer that has to be there is NULL: -EINVAL. */
int mkio_null(const char *operation, const char *what);

#if defined(__clang_analyzer__)
/* It sees one file at a time: tell it that what comes back is negative. */
#define mkio_error(...) ((void)(mkio_error)(__VA_ARGS__), -1)
#define mkio_null(...) ((void)(mkio_null)(__VA_ARGS__), -1)
#endif

/* Copy the caller's params, as mk_params_copy() of the core does. */
int mkio_params(void *dst, size_t known, const void *src,
		const char *operation);

#endif
