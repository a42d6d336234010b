/* SPDX-License-Identifier: Apache-2.0 */
/* The ladder of every wait: look, then look less, then sleep, then give up. */
#ifndef MK_BASE_SPIN_H
#define MK_BASE_SPIN_H

#include "base/clock.h"
#include "base/order.h"

#define MK_SPIN_LOOKS 64u /* looks between two readings of the clock */

enum mk_spin_step {
	MK_SPIN_LOOK,  /* look again */
	MK_SPIN_SLEEP, /* spun long enough: sleep, at most until deadline */
	MK_SPIN_LATE   /* the deadline passed */
};

struct mk_spin {
	uint64_t spin_ns, timeout_ns;
	uint64_t spin_end, deadline; /* absolute; 0 until the clock was read */
	unsigned looks;
};

static inline void mk_spin_begin(struct mk_spin *s, uint64_t spin_ns,
				 uint64_t timeout_ns)
{
	s->spin_ns = spin_ns;
	s->timeout_ns = timeout_ns;
	s->spin_end = s->deadline = 0;
	s->looks = 0;
}

/* After a look that found nothing: what next? The clock is not read before
 * MK_SPIN_LOOKS looks, so that short waits cost no more than looks. */
static inline enum mk_spin_step mk_spin(struct mk_spin *s)
{
	uint64_t now;

	if (!s->timeout_ns)
		return MK_SPIN_LATE;
	if (++s->looks % MK_SPIN_LOOKS) {
		mk_pause();
		return MK_SPIN_LOOK;
	}
	now = mk_now_ns();
	if (!s->deadline) {
		s->deadline = mk_deadline_after(s->timeout_ns);
		s->spin_end = s->spin_ns > UINT64_MAX - now ?
				      UINT64_MAX : now + s->spin_ns;
	}
	if (now >= s->deadline)
		return MK_SPIN_LATE;
	if (now < s->spin_end)
		return MK_SPIN_LOOK;
	s->looks--; /* from now on the clock is read every time */
	return MK_SPIN_SLEEP;
}

#endif
