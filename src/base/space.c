/* SPDX-License-Identifier: Apache-2.0 */
#include "base/space.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Make room for one more range than there are allocations and gaps. */
static int space_reserve(struct mk_space *s, unsigned want)
{
	struct mk_range *bigger;
	unsigned room = s->room ? s->room : 16;

	while (room < want)
		room *= 2;
	if (room == s->room)
		return 0;
	bigger = realloc(s->free, room * sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	s->free = bigger;
	s->room = room;
	return 0;
}

int mk_space_init(struct mk_space *s, uint64_t offset, uint64_t bytes,
		  uint64_t grain)
{
	memset(s, 0, sizeof(*s));
	s->grain = grain;
	if (space_reserve(s, 2))
		return -ENOMEM;
	s->free[0].offset = offset;
	s->free[0].bytes = bytes & ~(grain - 1);
	s->count = s->free[0].bytes ? 1 : 0;
	return 0;
}

void mk_space_fini(struct mk_space *s)
{
	free(s->free);
	memset(s, 0, sizeof(*s));
}

int mk_space_alloc(struct mk_space *s, uint64_t bytes, uint64_t *offset)
{
	unsigned best = UINT32_MAX;

	if (!bytes || bytes > UINT64_MAX - s->grain)
		return -ENOMEM;
	bytes = (bytes + s->grain - 1) & ~(s->grain - 1);
	for (unsigned i = 0; i < s->count; i++)
		if (s->free[i].bytes >= bytes &&
		    (best == UINT32_MAX ||
		     s->free[i].bytes < s->free[best].bytes))
			best = i;
	if (best == UINT32_MAX)
		return -ENOMEM;
	/* every allocation adds at most one gap when it is freed */
	s->live++;
	if (space_reserve(s, s->live + 2)) {
		s->live--;
		return -ENOMEM;
	}
	*offset = s->free[best].offset;
	s->free[best].offset += bytes;
	s->free[best].bytes -= bytes;
	if (!s->free[best].bytes) {
		s->count--;
		memmove(&s->free[best], &s->free[best + 1],
			(s->count - best) * sizeof(*s->free));
	}
	s->used += bytes;
	return 0;
}

void mk_space_free(struct mk_space *s, uint64_t offset, uint64_t bytes)
{
	unsigned at = 0;
	bool left, right;

	bytes = (bytes + s->grain - 1) & ~(s->grain - 1);
	s->used -= bytes;
	s->live--;
	while (at < s->count && s->free[at].offset < offset)
		at++;
	left = at && s->free[at - 1].offset + s->free[at - 1].bytes == offset;
	right = at < s->count && offset + bytes == s->free[at].offset;
	if (left && right) {
		s->free[at - 1].bytes += bytes + s->free[at].bytes;
		s->count--;
		memmove(&s->free[at], &s->free[at + 1],
			(s->count - at) * sizeof(*s->free));
	} else if (left) {
		s->free[at - 1].bytes += bytes;
	} else if (right) {
		s->free[at].offset = offset;
		s->free[at].bytes += bytes;
	} else {
		memmove(&s->free[at + 1], &s->free[at],
			(s->count - at) * sizeof(*s->free));
		s->free[at].offset = offset;
		s->free[at].bytes = bytes;
		s->count++;
	}
}
