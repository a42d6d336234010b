/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local struct mk_error last;

const struct mk_error *mk_error_last(void)
{
	return &last;
}

const char *mk_version(void)
{
	return MK_VERSION_STRING;
}

int (mk_error_set)(int code, int native, const char *operation,
		   const char *format, ...)
{
	va_list ap;

	last.code = code;
	last.native = native;
	snprintf(last.operation, sizeof(last.operation), "%s", operation);
	va_start(ap, format);
	vsnprintf(last.text, sizeof(last.text), format, ap);
	va_end(ap);
	return code;
}

int (mk_error_copy)(const struct mk_error *error)
{
	if (error != &last)
		last = *error;
	last.operation[sizeof(last.operation) - 1] = '\0';
	last.text[sizeof(last.text) - 1] = '\0';
	return last.code;
}

static int positive(int code)
{
	return code == INT_MIN ? INT_MAX : code < 0 ? -code : code;
}

const char *mk_strerror(int code)
{
	const char *text;

	switch (positive(code)) {
	case MK_OK:
		return "success";
#define TEXT_CASE(name, value, words) \
	case value:                   \
		return words;
		MK_CODES(TEXT_CASE)
#undef TEXT_CASE
	default:
		text = strerrordesc_np(positive(code));
		return text ? text : "unknown code";
	}
}

const char *mk_code_name(int code)
{
	const char *name;

	switch (positive(code)) {
	case MK_OK:
		return "MK_OK";
#define NAME_CASE(name, value, words) \
	case value:                   \
		return #name;
		MK_CODES(NAME_CASE)
#undef NAME_CASE
	default:
		name = strerrorname_np(positive(code));
		return name ? name : "unknown";
	}
}

int (mk_error_null)(const char *operation, const char *what)
{
	return mk_error_set(-EINVAL, 0, operation, "%s is NULL", what);
}

int mk_error_record(const struct mk_error *error)
{
	return error ? mk_error_copy(error) :
		       mk_error_null("mk_error_record", "error");
}
