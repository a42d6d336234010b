/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file made.h
 * Work that handlers make, as the host sees it; mk_spawn() of flow.h.
 */
#ifndef MEGAKERNEL_MADE_H
#define MEGAKERNEL_MADE_H

/** mk_ctx_params.made_mode: which worker runs it. */
enum mk_made_mode {
	MK_MADE_STEAL = 0, /* left with who made it; who is idle takes it */
	MK_MADE_FIXED = 1  /* dealt out in turn; nobody takes another's */
};

/*
 * mk_ctx_params.made_entries: pieces of made work that there may be at once;
 * with several workers up to twice as many, as each has room for a power of
 * two. About 300 bytes each. One more is -MK_EFULL for who wants to make it.
 */
#define MK_MADE_ENTRIES 16384u /* unless it is given */
#define MK_MADE_ENTRIES_MAX 4194304u

#endif
