/* SPDX-License-Identifier: Apache-2.0 */
#include "module/table.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name(const char *name)
{
	unsigned i = 0;

	if (!is_letter(name[0]))
		return false;
	while (i < MK_HANDLER_NAME_BYTES &&
	       (is_letter(name[i]) || (name[i] >= '0' && name[i] <= '9')))
		i++;
	return i < MK_HANDLER_NAME_BYTES && name[i] == '\0';
}

static int check_one(const struct mk_handler_info *h, unsigned index,
		     const char *what)
{
	if (!is_name(h->name))
		return mk_error_set(-MK_EMODULE, 0, "mk_module_load",
				    "%s: the name of handler %u is not a C "
				    "identifier of at most %u characters",
				    what, index, MK_HANDLER_NAME_BYTES - 1);
	if (h->arg_bytes > MK_ARG_BYTES)
		return mk_error_set(-MK_EMODULE, 0, "mk_module_load",
				    "%s: handler %s takes %u bytes of "
				    "arguments; a slot carries %u: put the "
				    "rest into a buffer", what, h->name,
				    h->arg_bytes, MK_ARG_BYTES);
	if (h->width > MK_WIDTH_BLOCK)
		return mk_error_set(-MK_EMODULE, 0, "mk_module_load",
				    "%s: handler %s has width %u, but the "
				    "greatest is %u", what, h->name, h->width,
				    MK_WIDTH_BLOCK);
	return 0;
}

static int check_count(uint64_t count, const char *what)
{
	if (!count)
		return mk_error_set(-MK_EMODULE, 0, "mk_module_load",
				    "%s has no handler: declare one with "
				    "MK_HANDLER(name, type) of "
				    "megakernel/handler.h", what);
	if (count > MK_MODULE_HANDLERS_MAX)
		return mk_error_set(-MK_EMODULE, 0, "mk_module_load",
				    "%s has %llu handlers; a module has at "
				    "most %u: split it", what,
				    (unsigned long long)count,
				    MK_MODULE_HANDLERS_MAX);
	return 0;
}

int mk_table_check(const struct mk_handler_info *handlers, unsigned count,
		   const char *what)
{
	int rc = check_count(count, what);

	for (unsigned i = 0; !rc && i < count; i++) {
		rc = check_one(&handlers[i], i, what);
		for (unsigned k = 0; !rc && k < i; k++)
			if (!strcmp(handlers[k].name, handlers[i].name))
				rc = mk_error_set(
					-MK_EMODULE, 0, "mk_module_load",
					"%s has two handlers named %s: rename "
					"one", what, handlers[i].name);
	}
	return rc;
}

int mk_table_copy(const struct mk_handler_entry *entry, uint64_t count,
		  const char *what, struct mk_handler_info *out, unsigned max)
{
	int rc = check_count(count, what);

	if (rc)
		return rc;
	if (count > max)
		return mk_error_set(-ENOSPC, 0, "mk_module_load",
				    "%s has %u handlers and there is room for "
				    "%u", what, (unsigned)count, max);
	for (uint64_t i = 0; i < count; i++) {
		memset(&out[i], 0, sizeof(out[i]));
		memcpy(out[i].name, entry[i].name, sizeof(out[i].name));
		/* a number that the narrower field cannot hold stays wrong */
		out[i].arg_bytes = entry[i].arg_bytes > UINT16_MAX ?
					   UINT16_MAX :
					   (uint16_t)entry[i].arg_bytes;
		out[i].width = entry[i].width > UINT8_MAX ?
				       UINT8_MAX : (uint8_t)entry[i].width;
	}
	return 0;
}
