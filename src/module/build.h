/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the source of a module to a sealed image, by the C compiler of the
 * system or out of the cache.
 *
 * The source is preprocessed first: that text, with the compiler and its
 * options, is the key of the cache, and exactly that text is what is then
 * compiled. So an entry covers every header, and preprocessing is what a hit
 * costs; a hit without any compiler there is not: ship a .mkm file instead.
 */
#ifndef MK_MODULE_BUILD_H
#define MK_MODULE_BUILD_H

#include "module/toolchain.h"

/*
 * Build the file at `path`, or `text` if path is NULL. `name` stands in the
 * messages; NULL: the path, or "<source>".
 *
 * Runs the compiler, each time for at most tc->timeout_ns. Takes no lock and
 * leaves no file but the cache entry.
 *
 * -ENOENT, -EACCES ...: the source cannot be read. -MK_ENOCOMPILER.
 * -MK_ECOMPILE: with the compiler's first messages. -MK_EMODULE: it has no
 * handler, or a table that is not valid. -ENOSPC and others: no temporary
 * files can be made.
 */
int mk_module_build(const struct mk_toolchain *tc, const char *name,
		    const char *path, const char *text, int *image);

#endif
