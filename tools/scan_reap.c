/* SPDX-License-Identifier: Apache-2.0 */
/* What the crew does with an answer, and what is ready to be printed. */
#include <errno.h>
#include <string.h>

#include "base/order.h"
#include "scan_run.h"

/* One answer: a chunk is searched, or as far as there was room. */
void scan_land(struct crew *crew, const struct mk_completion *a)
{
	struct scan *s = scan_of(crew);
	struct scan_chunk *c = &s->chunk[a->user_data];
	struct mk_scan_result result = { 0 };

	/* its process was lost, which says nothing of the chunk */
	if (a->result == -MK_EMAYRUN && ++c->tries <= SCAN_AGAIN_MAX) {
		c->next = c->from;
		mk_store_release(&c->state, SCAN_AGAIN);
		return;
	}
	if (a->result < 0) {
		c->code = a->result;
		result.next = c->bytes;
	} else {
		memcpy(&result, c->result, sizeof(result));
	}
	if (result.matches > SCAN_ROOM || result.next > c->bytes ||
	    (result.next < c->bytes &&
	     (result.next < c->from || !result.matches))) {
		crew_stop(&s->crew, -EBADMSG,
			  "the engine's answer makes no sense");
		return;
	}
	c->matches = result.matches;
	c->used = 0;
	c->next = result.next;
	if (!c->from && a->result >= 0)
		c->nul = result.nul;
	mk_store_release(&c->state, SCAN_DONE);
}

/* A piece is printed; the chunk may be the reader's again. */
static void put_piece(struct scan_chunk *c)
{
	if (mk_add_acq_rel(&c->unprinted, (uint32_t)-1) != 1)
		return;
	/* pairs with the load in find_free(), scan_read.c */
	mk_store_release(&c->state, SCAN_FREE);
}

/* What there is of one reader's. True: that was all of it. */
static bool print_track(struct scan *s, struct scan_file *f,
			struct scan_track *t, unsigned *moved)
{
	while (!crew_stopped(&s->crew)) {
		/* pairs with the store in scan_settle(), scan_read.c */
		uint32_t ended = mk_load_acquire(&t->ended);
		struct scan_chunk *c;
		uint32_t entry;

		/* pairs with the store in add_piece() */
		if (t->got == mk_load_acquire(&t->put)) {
			if (ended && t->error) {
				f->error = t->error;
				f->long_line = t->long_line;
			}
			return ended != 0;
		}
		entry = t->fifo[t->got & (SCAN_FIFO - 1)];
		c = &s->chunk[entry >> 8];
		if (mk_load_acquire(&c->state) == SCAN_AGAIN &&
		    scan_submit(s, entry >> 8) != -EAGAIN)
			(*moved)++;
		if (mk_load_acquire(&c->state) != SCAN_DONE)
			return false;
		if (!scan_print_piece(s, f, c, &c->piece[entry & 255])) {
			if (scan_submit(s, entry >> 8) == -EAGAIN)
				return false;
			mk_add_relaxed(&s->again, 1);
			(*moved)++;
			return false;
		}
		put_piece(c);
		t->got++;
		(*moved)++;
	}
	return false;
}

/* The same of a file that has many readers, part by part. */
static bool print_share(struct scan *s, struct scan_file *f,
			struct scan_share *share, unsigned *moved)
{
	for (;;) {
		uint64_t printed = share->printed;
		struct scan_track *t = &share->track[printed % SCAN_PARTS];

		if (f->error) /* it is not read on, nor searched */
			mk_store_relaxed(&f->enough, 1);
		if (f->enough)
			scan_share_cut(s, share);
		if (printed == mk_load_acquire(&share->parts))
			break;
		if (!print_track(s, f, t, moved))
			return false;
		memset(t, 0, sizeof(*t));
		/* pairs with the load in may_take(), scan_share.c */
		mk_store_release(&share->printed, printed + 1);
		(*moved)++;
	}
	f->share = NULL;
	scan_share_drop(s, share);
	return true;
}

/* What there is of one file. True: that was all of it. */
static bool print_file(struct scan *s, struct scan_file *f, unsigned *moved)
{
	/* pairs with the store in publish(), scan_share.c */
	struct scan_share *share = mk_load_acquire(&f->share);

	return share ? print_share(s, f, share, moved) :
		       print_track(s, f, &f->track, moved);
}

unsigned scan_print_ready(struct crew *crew)
{
	struct scan *s = scan_of(crew);
	uint64_t head = s->crew.head, tail = mk_load_acquire(&s->crew.tail);
	unsigned moved = 0;

	while (head != tail && !crew_stopped(&s->crew)) {
		struct scan_file *f = scan_file(s, head);

		if (!print_file(s, f, &moved))
			break;
		scan_print_end(s, f);
		walk_release(&s->crew.walk, &f->item);
		head++;
		moved++;
		/* pairs with the load in crew_take() */
		mk_store_release(&s->crew.head, head);
	}
	return moved;
}
