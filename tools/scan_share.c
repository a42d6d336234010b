/* SPDX-License-Identifier: Apache-2.0 */
/* Large files, which all readers of `scan` read together. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/order.h"
#include "scan_run.h"

#define SHARE_MIN (2u * SCAN_PART) /* a smaller file is not worth it */
#define LOOK 4096u /* most lines begin in so many bytes before a part */

/* ---- who reads what ----------------------------------------------------- */

void scan_share_drop(struct scan *s, struct scan_share *share)
{
	uint32_t users;

	pthread_mutex_lock(&s->share_lock);
	users = --share->users;
	pthread_mutex_unlock(&s->share_lock);
	if (users)
		return;
	close(share->fd);
	free(share);
}

/* Under share_lock: nothing of it is left to be taken. */
static void unlist(struct scan *s, struct scan_share *share)
{
	struct scan_share **at = &s->shares;

	while (*at && *at != share)
		at = &(*at)->next;
	if (*at)
		*at = share->next;
	mk_store_relaxed(&s->sharing, s->shares != NULL);
}

void scan_share_cut(struct scan *s, struct scan_share *share)
{
	pthread_mutex_lock(&s->share_lock);
	mk_store_release(&share->parts, share->taken);
	unlist(s, share);
	pthread_mutex_unlock(&s->share_lock);
}

/* With a reference for the printer and one for its reader. */
static void publish(struct scan *s, struct scan_share *share)
{
	struct scan_share **at = &s->shares;

	pthread_mutex_lock(&s->share_lock);
	while (*at && (*at)->sequence < share->sequence)
		at = &(*at)->next;
	share->next = *at;
	*at = share;
	mk_store_relaxed(&s->sharing, 1);
	/* pairs with the load in print_file(), scan_reap.c */
	mk_store_release(&scan_file(s, share->sequence)->share, share);
	pthread_mutex_unlock(&s->share_lock);
	crew_tell(&s->crew);
}

/* Under share_lock: has it a part that may be taken now? The last is its own
 * reader's, for a file that grows has chunks to fill without end. */
static bool may_take(const struct scan_share *share, bool own)
{
	/* pairs with the store in print_share(), scan_reap.c */
	uint64_t printed = mk_load_acquire(&share->printed);

	return share->taken + !own < share->parts &&
	       share->taken - printed < SCAN_PARTS;
}

/*
 * A part to read: of the first file that is shared, or of a later one if that
 * has none; none behind `own`, if there is such. With a reference to what is
 * returned; NULL: there is none, or not now.
 */
static struct scan_share *take(struct scan_reader *r, struct scan_share *own,
			       uint64_t *part)
{
	struct scan *s = r->s;
	bool room = scan_has_room(r);
	struct scan_share *share;

	pthread_mutex_lock(&s->share_lock);
	for (share = s->shares; share; share = share->next) {
		if (share == own || (room && may_take(share, false)))
			break;
	}
	if (share && !may_take(share, share == own))
		share = NULL;
	if (share) {
		*part = share->taken++;
		share->users++;
		if (share->taken == share->parts)
			unlist(s, share);
	}
	pthread_mutex_unlock(&s->share_lock);
	return share;
}

/* ---- where the first line of a part begins ------------------------------ */

static uint32_t last_end(const struct scan *s, const unsigned char *text,
			 uint32_t bytes)
{
	while (bytes && text[bytes - 1] != '\n' &&
	       (text[bytes - 1] || s->settings->text))
		bytes--;
	return bytes;
}

/* Does a line end in the part? 1, 0, or a negated errno. */
static int has_end(const struct scan_source *from, unsigned char *text)
{
	for (uint64_t at = from->begin; at < from->limit; at += SCAN_READ) {
		int64_t n = scan_read_at(from->fd, text, SCAN_READ, at);

		if (n < 0)
			return (int)n;
		if (n < SCAN_READ || last_end(from->scan, text, (uint32_t)n))
			return 1; /* the end of the file is one, too */
	}
	return 0;
}

/*
 * Find where the lines of a part begin: behind the last newline before it, or
 * NUL if that ends lines, up to which scan_stream() passes on what it has read.
 *
 * 1; 0: no line ends in it; or a negated errno. With a line that is longer
 * than all of a part, only who has its end goes back to its beginning.
 */
static int find_begin(struct scan_source *from, unsigned char *text)
{
	static const uint32_t most[] = { LOOK, SCAN_READ };
	uint64_t at = from->begin;
	uint32_t end = 0;
	int64_t n = 0;

	for (unsigned i = 0; n >= 0 && !end && i < 2; i++) {
		at = from->begin - most[i];
		n = scan_read_at(from->fd, text, most[i], at);
		if (n > 0)
			end = last_end(from->scan, text, (uint32_t)n);
	}
	if (n >= 0 && !end) {
		n = has_end(from, text);
		if (!n)
			return 0;
	}
	while (n >= 0 && !end && at) {
		at -= SCAN_READ;
		n = scan_read_at(from->fd, text, SCAN_READ, at);
		if (n > 0)
			end = last_end(from->scan, text, (uint32_t)n);
	}
	from->offset = from->position = at + end;
	return n < 0 ? (int)n : 1;
}

/* ---- reading ------------------------------------------------------------ */

static void read_part(struct scan_reader *r, struct scan_share *share,
		      uint64_t part, bool last)
{
	struct scan *s = r->s;
	uint64_t begin = part * SCAN_PART;
	struct scan_source from = {
		.scan = s, .file = scan_file(s, share->sequence),
		.track = &share->track[part % SCAN_PARTS],
		.sequence = share->sequence, .fd = share->fd, .part = true,
		.offset = begin, .position = begin, .begin = begin,
		.limit = last ? UINT64_MAX : begin + SCAN_PART,
	};
	int e = 1;

	if (!scan_clear(r))
		return;
	if (part)
		e = find_begin(&from, s->chunk[r->chunk].text);
	if (e > 0)
		scan_stream(r, &from);
	else
		scan_settle(from.track, -e);
	crew_reap_try(&s->crew);
}

static bool read_some(struct scan_reader *r, struct scan_share *own)
{
	uint64_t part;
	struct scan_share *share = take(r, own, &part);

	if (!share)
		return false;
	/* `parts` changes only once all that is taken is not wanted */
	read_part(r, share, part,
		  share == own && part + 1 == mk_load_acquire(&share->parts));
	scan_share_drop(r->s, share);
	return true;
}

bool scan_share_help(struct scan_reader *r)
{
	return mk_load_relaxed(&r->s->sharing) && read_some(r, NULL);
}

static bool is_left(struct scan *s, const struct scan_share *share)
{
	bool left;

	pthread_mutex_lock(&s->share_lock);
	left = share->taken < share->parts;
	pthread_mutex_unlock(&s->share_lock);
	return left;
}

bool scan_share(struct scan_reader *r, const struct scan_source *from)
{
	struct scan *s = r->s;
	struct scan_share *share;
	struct stat st;

	if (from->fd == STDIN_FILENO || from->pipe || s->crew.threads == 1 ||
	    fstat(from->fd, &st) || !S_ISREG(st.st_mode) ||
	    st.st_size < (off_t)SHARE_MIN)
		return false;
	share = calloc(1, sizeof(*share));
	if (!share)
		return false;
	share->sequence = from->sequence;
	share->fd = from->fd;
	share->parts = ((uint64_t)st.st_size + SCAN_PART - 1) / SCAN_PART;
	share->users = 2;
	mk_add_relaxed(&s->shared, 1);
	publish(s, share);
	for (;;) {
		uint64_t generation = crew_generation(&s->crew);

		if (crew_stopped(&s->crew) || !is_left(s, share))
			break;
		if (!read_some(r, share))
			crew_wait(&s->crew, generation);
	}
	scan_share_drop(s, share);
	return true;
}
