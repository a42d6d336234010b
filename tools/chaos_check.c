/* SPDX-License-Identifier: Apache-2.0 */
/* Is an answer the one there is? */
#include <errno.h>
#include <string.h>

#include "chaos.h"

const char *const chaos_ending_name[CHAOS_ENDINGS] = {
	[CHAOS_END_OK] = "ok",
	[CHAOS_END_FAULT] = "handler fault",
	[CHAOS_END_HUNG] = "no progress",
	[CHAOS_END_DEADLINE] = "deadline before the start",
	[CHAOS_END_OVERRUN] = "deadline while running",
	[CHAOS_END_CANCELLED] = "cancelled",
	[CHAOS_END_NOT_RUN] = "lost, not run",
	[CHAOS_END_MAY_RUN] = "lost, may have run",
	[CHAOS_END_POISON] = "lost the device twice",
	[CHAOS_END_REFUSED] = "refused argument",
	[CHAOS_END_UPSTREAM] = "a slot before it failed",
	[CHAOS_END_DEADLOCK] = "waited in vain",
	[CHAOS_END_OTHER] = "other",
};

enum chaos_ending chaos_ending_of(int32_t result)
{
	switch (result) {
	case MK_OK:
		return CHAOS_END_OK;
	case -MK_EFAULT:
		return CHAOS_END_FAULT;
	case -MK_EHUNG:
		return CHAOS_END_HUNG;
	case -MK_EDEADLINE:
		return CHAOS_END_DEADLINE;
	case -MK_EOVERRUN:
		return CHAOS_END_OVERRUN;
	case -MK_ECANCELLED:
		return CHAOS_END_CANCELLED;
	case -MK_ENOTRUN:
		return CHAOS_END_NOT_RUN;
	case -MK_EMAYRUN:
		return CHAOS_END_MAY_RUN;
	case -MK_EPOISON:
		return CHAOS_END_POISON;
	case -MK_EFOREIGN:
	case -MK_ESTALE:
	case -MK_EVOLATILE:
		return CHAOS_END_REFUSED;
	case -MK_EUPSTREAM:
		return CHAOS_END_UPSTREAM;
	case -EDEADLK:
		return CHAOS_END_DEADLOCK;
	default:
		return CHAOS_END_OTHER;
	}
}

void chaos_tally_add(struct chaos_tally *to, const struct chaos_tally *from)
{
	to->submitted += from->submitted;
	for (unsigned i = 0; i < CHAOS_ENDINGS; i++)
		to->ending[i] += from->ending[i];
	to->lost += from->lost;
	to->twice += from->twice;
	to->wrong += from->wrong;
}

/* The result that a slot of this kind has if nothing comes between. */
static int32_t own_result(enum chaos_work work)
{
	switch (work) {
	case CHAOS_LATE:
		return -MK_EDEADLINE;
	case CHAOS_STALE:
		return -MK_EFOREIGN;
	default:
		return MK_OK;
	}
}

/* What may come between: nobody cancels, or runs late, but by our doing. */
static bool may_end(enum chaos_ending ending)
{
	return ending == CHAOS_END_NOT_RUN || ending == CHAOS_END_MAY_RUN ||
	       ending == CHAOS_END_POISON || ending == CHAOS_END_HUNG;
}

/* How often it may have run, going by its ending. */
static void bounds(const struct chaos_record *r, enum chaos_ending ending,
		   uint64_t *least, uint64_t *most)
{
	*least = ending == CHAOS_END_OK;
	*most = r->idempotent ? UINT64_MAX : 1;
	if (ending == CHAOS_END_NOT_RUN || ending == CHAOS_END_DEADLINE)
		*most = 0;
}

bool chaos_check(struct chaos_tally *t, const struct chaos_record *r,
		 const struct mk_completion *c, uint64_t effect, char *why,
		 size_t room)
{
	enum chaos_ending ending = chaos_ending_of(c->result);
	bool marks = r->work == CHAOS_MARK || r->work == CHAOS_LATE;
	uint64_t least, most;

	t->ending[ending]++;
	if (c->result != own_result(r->work) && !may_end(ending)) {
		snprintf(why, room, "work %u ended with %s", r->work,
			 mk_code_name(c->result));
		t->wrong++;
		return false;
	}
	if (c->result == MK_OK && c->value != r->expected) {
		snprintf(why, room, "work %u answered %llx, not %llx", r->work,
			 (unsigned long long)c->value,
			 (unsigned long long)r->expected);
		t->wrong++;
		return false;
	}
	bounds(r, ending, &least, &most);
	if (!marks || (effect >= least && effect <= most))
		return true;
	snprintf(why, room, "work %u, %s, ended with %s and ran %llu times",
		 r->work, r->idempotent ? "idempotent" : "not idempotent",
		 mk_code_name(c->result), (unsigned long long)effect);
	if (effect > 1 && !r->idempotent)
		t->twice++;
	else
		t->wrong++;
	return false;
}
