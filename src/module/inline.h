/* SPDX-License-Identifier: Apache-2.0 */
/* A source and the user's own headers in one text, for a compiler that sees
 * no files. */
#ifndef MK_MODULE_INLINE_H
#define MK_MODULE_INLINE_H

#include "module/source.h"

/*
 * Put every file that `#include "..."` names, and that is there beside the
 * file that names it, in the place of that line, with #line before and
 * behind. What is not there is left for the compiler to find. A header that
 * says #pragma once is put once.
 *
 * @param dir  of the source; "" if it has none: then nothing is looked for.
 * @param out  the whole text; free(3).
 *
 * -MK_ECOMPILE: files include one another without end, or come to more than
 * MK_SOURCE_BYTES_MAX. -ENOMEM, and what mk_source_read() says.
 */
int mk_source_inline(const struct mk_source *s, const char *dir, char **out,
		     size_t *bytes);

#endif
