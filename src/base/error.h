/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: a negated code and a sentence, kept for the calling thread. */
#ifndef MK_BASE_ERROR_H
#define MK_BASE_ERROR_H

#include <megakernel.h>

/*
 * Record the failure of `operation` for this thread and return `code`, which
 * is negated already. Never allocates. The text names the field, the value,
 * the limit and what to do.
 */
int mk_error_set(int code, int native, const char *operation,
		 const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* A pointer that has to be there, called `what`, is NULL: -EINVAL. */
int mk_error_null(const char *operation, const char *what);

/* Take over an error from elsewhere (another thread or process). */
int mk_error_copy(const struct mk_error *error);

/* The negated code of what this thread recorded last: for a caller of
 * something that says NULL and has recorded why. */
static inline int mk_error_code(void)
{
	return mk_error_last()->code;
}

#if defined(__clang_analyzer__)
/* It sees one file at a time: tell it that what comes back is negative. */
#define mk_error_set(...) ((void)(mk_error_set)(__VA_ARGS__), -1)
#define mk_error_null(...) ((void)(mk_error_null)(__VA_ARGS__), -1)
#define mk_error_copy(...) ((void)(mk_error_copy)(__VA_ARGS__), -1)
#define mk_error_code() (-1)
#endif

#endif
