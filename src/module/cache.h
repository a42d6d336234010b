/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiled modules on disk, one file <key>.mkm each. The key is the hash of
 * everything that affects the result, so an entry is never out of date; it
 * can be deleted at any time. Any number of processes may share a directory:
 * an entry appears whole, by rename. Whatever goes wrong here costs a
 * compilation and nothing else.
 */
#ifndef MK_MODULE_CACHE_H
#define MK_MODULE_CACHE_H

#include <stdint.h>

/*
 * Open the directory: `given`, else $XDG_CACHE_HOME/megakernel, else
 * $HOME/.cache/megakernel. Made if missing, for the owner alone. Returns a
 * descriptor. -ENOENT: there is no name for it; -EPERM: it is somebody
 * else's, or others can write it; else the errno.
 */
int mk_cache_open(const char *given);

/* Take an entry into a sealed memfd. -ENOENT: there is none, or there was a
 * damaged one, which has been deleted. */
int mk_cache_find(int dir, const uint64_t key[2], const char *engine,
		  int *image);

/* Keep an image. A negated errno (-ENOSPC, -EFBIG ...): it was not kept, and
 * nothing is left behind. */
int mk_cache_store(int dir, const uint64_t key[2], const char *engine,
		   unsigned handlers, int image);

#endif
