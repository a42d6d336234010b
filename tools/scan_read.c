/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of `scan`: takes files, reads them into chunks, submits these. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/order.h"
#include "scan_run.h"

#define BATCH_MAX 32u /* files taken at once */
#define PIPE_LOOK_MS 50
/* A piece begins a chunk: at the most so many are needed for a part, whose
 * first line may begin before it, and last one end with NUL, and one that takes
 * what is behind it. */
#define PART_CHUNKS (SCAN_PART / SCAN_READ + 3)
#define ROOM_MIN 8192u /* a chunk with less than this left is full */

/* ---- submitting -------------------------------------------------------- */

int scan_submit(struct scan *s, uint32_t chunk)
{
	struct scan_chunk *c = &s->chunk[chunk];
	struct mk_scan_args args = { 0 };
	struct mk_slot *slot;
	int r = mk_queue_get(s->crew.queue, 1, &slot);

	if (r == -EAGAIN)
		return r;
	if (r == 1) {
		args.image = mk_buffer_ref(s->image_buffer);
		args.text = mk_buffer_ref(c->own_bytes ? c->own : s->pool);
		args.result = mk_buffer_ref(s->results);
		args.offset = c->own_bytes ? 0 :
			(uint64_t)(c->text - s->chunk[0].text);
		args.bytes = c->bytes;
		args.from = c->from = c->next;
		args.result_offset = chunk * SCAN_RESULT_BYTES;
		args.flags = s->flags;
		mk_slot_init(slot, MK_OP_SCAN, chunk);
		memcpy(slot->bytes, &args, sizeof(args));
		mk_store_release(&c->state, SCAN_BUSY);
		crew_submits(&s->crew, 1);
		mk_add_relaxed(&s->chunks, 1);
		r = mk_queue_submit(s->crew.queue, slot, 1);
	}
	if (r < 0)
		crew_not_submitted(&s->crew, r);
	return 0;
}

/* Hand the chunk on that is being filled. */
static void flush(struct scan_reader *r)
{
	struct scan *s = r->s;
	struct scan_chunk *c;

	if (r->chunk == SCAN_NO_CHUNK || !r->used)
		return; /* nobody would print a chunk without pieces */
	c = &s->chunk[r->chunk];
	c->bytes = r->used;
	for (;;) {
		uint64_t generation = crew_generation(&s->crew);

		if (crew_stopped(&s->crew) ||
		    scan_submit(s, r->chunk) != -EAGAIN)
			break;
		crew_wait(&s->crew, generation);
	}
	r->chunk = SCAN_NO_CHUNK;
	r->used = 0;
}

/* ---- chunks ------------------------------------------------------------ */

/* A chunk of the reader's that is free, or SCAN_NO_CHUNK. */
static uint32_t find_free(struct scan_reader *r, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++) {
		struct scan_chunk *c = &r->s->chunk[r->first + i];

		/* pairs with the store in put_piece(), scan_reap.c */
		if (mk_load_acquire(&c->state) == SCAN_FREE &&
		    r->first + i != r->chunk)
			return r->first + i;
	}
	return SCAN_NO_CHUNK;
}

/* Wait for a chunk of [from, to); SCAN_NO_CHUNK only if all was stopped. */
static uint32_t get_chunk(struct scan_reader *r, uint32_t from, uint32_t to)
{
	struct scan *s = r->s;

	for (;;) {
		uint64_t generation = crew_generation(&s->crew);
		uint32_t chunk = find_free(r, from, to);

		if (chunk != SCAN_NO_CHUNK) {
			struct scan_chunk *c = &s->chunk[chunk];

			c->pieces = c->unprinted = 0;
			c->from = c->next = c->matches = c->used = 0;
			c->tries = 0;
			c->nul = UINT32_MAX;
			c->code = 0;
			return chunk;
		}
		if (crew_stopped(&s->crew))
			return SCAN_NO_CHUNK;
		crew_wait(&s->crew, generation);
	}
}

/* The text at r->used is a piece of this file. If it is the last, a newline
 * ends it; else so much of the next was read with it. */
static void add_piece(struct scan_reader *r, const struct scan_source *from,
		      uint32_t bytes, const uint32_t *left)
{
	struct scan *s = r->s;
	struct scan_chunk *c = &s->chunk[r->chunk];
	struct scan_track *t = from->track;
	struct scan_piece *p = &c->piece[c->pieces];
	const unsigned char *text = c->text + r->used, *nul;
	unsigned char last;

	memset(p, 0, sizeof(*p));
	p->file = from->sequence;
	p->offset = from->offset;
	p->at = r->used;
	p->bytes = bytes;
	nul = left ? memchr(text + bytes, 0, *left) : NULL;
	if (nul) {
		p->nul_left = 1;
		p->nul_at = from->offset + (uint64_t)(nul - text);
	}
	r->used += bytes;
	last = c->text[r->used - 1];
	if (!left && last != '\n' &&
	    (last || !(s->flags & MK_SCAN_NUL_ENDS)))
		c->text[r->used++] = '\n';
	mk_add_relaxed(&c->unprinted, 1);
	t->fifo[t->put & (SCAN_FIFO - 1)] = r->chunk << 8 | c->pieces++;
	/* pairs with the load in print_track(), scan_reap.c */
	mk_store_release(&t->put, t->put + 1);
}

/* ---- reading ----------------------------------------------------------- */

static bool is_enough(const struct scan_source *from)
{
	return mk_load_relaxed(&from->file->enough);
}

/* Until a pipe has something, or its end; meanwhile what it had is printed.
 * False: no more of it is wanted. */
static bool await_input(const struct scan_source *from)
{
	struct pollfd p = { .fd = from->fd, .events = POLLIN };
	struct crew *c = &from->scan->crew;

	for (int ms = 0; !poll(&p, 1, ms);) {
		crew_reap_try(c);
		if (crew_stopped(c) || is_enough(from))
			return false;
		ms = ms < PIPE_LOOK_MS / 2 ? 2 * ms + 1 : PIPE_LOOK_MS;
	}
	return true;
}

/*
 * Fill [*got, room). 1: the file ended; 0: full, or all that a pipe has for
 * now; or a negated errno. A short read is not the end; only 0 is, whatever
 * the file system says of sizes.
 */
static int fill(struct scan_source *from, unsigned char *at, uint32_t room,
		uint32_t *got)
{
	struct pollfd p = { .fd = from->fd, .events = POLLIN };

	while (*got < room) {
		ssize_t n;

		if (from->pipe && !await_input(from))
			return 0;
		n = from->part ? pread(from->fd, at + *got, room - *got,
				       (off_t)from->position) :
				 read(from->fd, at + *got, room - *got);
		if (!n)
			return 1;
		if (n > 0) {
			*got += (uint32_t)n;
			from->position += (uint64_t)n;
		} else if (errno != EINTR) {
			return -errno;
		}
		if (from->pipe && n > 0 && !poll(&p, 1, 0))
			return 0;
	}
	return 0;
}

int64_t scan_read_at(int fd, unsigned char *at, uint32_t room, uint64_t offset)
{
	uint32_t got = 0;

	while (got < room) {
		ssize_t n = pread(fd, at + got, room - got,
				  (off_t)(offset + got));

		if (!n)
			break;
		if (n > 0)
			got += (uint32_t)n;
		else if (errno != EINTR)
			return -errno;
	}
	return got;
}

/* How much to read at once: of a part up to the end of some blocks, as its
 * other readers do. */
static uint32_t turn(const struct scan_source *from)
{
	return from->part ? SCAN_READ - (uint32_t)(from->position % SCAN_READ) :
			    SCAN_READ;
}

/* The same, and what belongs to a part before it begins with that. */
static uint32_t first_turn(const struct scan_source *from)
{
	uint32_t bytes = turn(from);

	if (from->position < from->begin && bytes + SCAN_READ < SCAN_TEXT)
		bytes += SCAN_READ;
	return bytes;
}

void scan_settle(struct scan_track *t, int error)
{
	t->error = error;
	/* pairs with the load in print_track() */
	mk_store_release(&t->ended, 1);
}

/* Bytes up to and with the last newline. Where there is none a NUL will do, if
 * it ends lines: binary files may have gigabytes of them. */
static uint32_t whole_lines(const struct scan *s, const unsigned char *text,
			    uint32_t bytes)
{
	const unsigned char *end = memrchr(text, '\n', bytes);

	if (!end && !s->settings->text)
		end = memrchr(text, 0, bytes);
	return end ? (uint32_t)(end + 1 - text) : 0;
}

/* Room for a line that no chunk holds: twice as much each time. 0, or a
 * negated code. */
static int grow(struct scan_reader *r, uint32_t used)
{
	struct scan *s = r->s;
	struct scan_chunk *c = &s->chunk[r->first + s->chunks_each];
	uint64_t bytes = c->own_bytes ? 2 * c->own_bytes : 4 * SCAN_CHUNK;
	mk_buffer_t own = { 0 };
	void *text = NULL;
	int e;

	if (bytes > SCAN_LINE_MAX)
		return -EFBIG;
	e = mk_buffer_create(s->crew.ctx, bytes, MK_BUFFER_HOST, &own);
	if (e >= 0)
		e = mk_buffer_map(s->crew.ctx, own, &text);
	if (e < 0)
		return e == -MK_EDEVLOST ? e : -EFBIG;
	if (used)
		memcpy(text, c->text, used);
	if (c->own_bytes)
		mk_buffer_destroy(s->crew.ctx, c->own, UINT64_MAX);
	c->own = own;
	c->own_bytes = bytes;
	c->text = text;
	return 0;
}

/*
 * A line that fills a chunk: r->chunk has the beginning of it. Afterwards it
 * has what was read behind the line. What fill() gave.
 */
static int long_line(struct scan_reader *r, struct scan_source *from)
{
	struct scan *s = r->s;
	uint32_t big = get_chunk(r, s->chunks_each, s->chunks_each + 1);
	uint32_t small = r->chunk;
	uint32_t have = from->got, whole = 0, left, part;
	struct scan_chunk *c;
	int end = 0, e;

	if (big == SCAN_NO_CHUNK)
		return -ECANCELED;
	c = &s->chunk[big];
	e = c->own_bytes ? 0 : grow(r, 0);
	if (e)
		return e;
	memcpy(c->text, s->chunk[small].text, have);
	for (; !end && !whole && from->position < from->limit; have += part) {
		part = 0;
		if (c->own_bytes - have < SCAN_READ + 2 * MK_SCAN_PAD)
			e = grow(r, have);
		if (e || crew_stopped(&s->crew))
			return e ? e : -ECANCELED;
		end = is_enough(from) ? 1 : fill(from, c->text + have,
						 turn(from), &part);
		whole = whole_lines(s, c->text + have, part);
		whole += whole ? have : 0;
	}
	from->got = 0;
	if (!end && !whole)
		return 0; /* it is the next part's */
	whole = end ? have : whole;
	left = have - whole;
	r->chunk = big;
	add_piece(r, from, whole, end ? NULL : &left);
	flush(r);
	r->chunk = small;
	memcpy(s->chunk[small].text, c->text + whole, left);
	from->offset += whole;
	from->got = left;
	return end;
}

/* The whole lines of r->chunk are a piece; the rest begins another chunk. */
static int pass_on(struct scan_reader *r, struct scan_source *from,
		   uint32_t whole)
{
	struct scan *s = r->s;
	uint32_t left = from->got - whole;
	uint32_t next = get_chunk(r, 0, s->chunks_each);

	if (next == SCAN_NO_CHUNK)
		return -ECANCELED;
	add_piece(r, from, whole, &left);
	memcpy(s->chunk[next].text, s->chunk[r->chunk].text + whole, left);
	flush(r);
	r->chunk = next;
	from->offset += whole;
	from->got = left;
	return 0;
}

/*
 * A file that fills a chunk, piece by piece: whole lines that end in so many
 * blocks of it.
 */
void scan_stream(struct scan_reader *r, struct scan_source *from)
{
	struct scan *s = r->s;
	int end = 0;

	while (!end && !is_enough(from) && !crew_stopped(&s->crew)) {
		unsigned char *text = s->chunk[r->chunk].text;
		uint32_t whole = whole_lines(s, text, from->got), more;
		bool fits;

		if (whole) {
			end = pass_on(r, from, whole);
			text = s->chunk[r->chunk].text;
		}
		more = from->got ? turn(from) : first_turn(from);
		fits = from->got + more < SCAN_TEXT;
		if (end)
			break;
		if (whole && (!fits || from->position >= from->limit))
			continue; /* a NUL behind the newline is an end, too */
		if (from->position >= from->limit)
			break;
		if (fits)
			end = fill(from, text, from->got + more, &from->got);
		else
			end = long_line(r, from);
	}
	/* what ended before its part began is that of another */
	if (end && from->got && from->position >= from->begin &&
	    !crew_stopped(&s->crew))
		add_piece(r, from, from->got, NULL);
	if (end == -EFBIG)
		from->track->long_line = from->offset;
	scan_settle(from->track, end < 0 ? -end : 0);
}

bool scan_clear(struct scan_reader *r)
{
	flush(r);
	if (r->chunk == SCAN_NO_CHUNK)
		r->chunk = get_chunk(r, 0, r->s->chunks_each);
	return r->chunk != SCAN_NO_CHUNK;
}

bool scan_has_room(struct scan_reader *r)
{
	uint32_t each = r->s->chunks_each, n = 0;

	if (find_free(r, each, each + 1) == SCAN_NO_CHUNK)
		return false;
	for (uint32_t i = 0; i < each && n < PART_CHUNKS; i++)
		n += find_free(r, i, i + 1) != SCAN_NO_CHUNK;
	return n == PART_CHUNKS;
}

/* Read one file; small ones share a chunk. True: its descriptor is still in
 * use. */
static bool read_file(struct scan_reader *r, struct scan_source *from)
{
	struct scan *s = r->s;
	struct scan_chunk *c;
	uint32_t room, next;
	int end;

	if (r->chunk != SCAN_NO_CHUNK &&
	    (SCAN_TEXT - r->used < ROOM_MIN ||
	     s->chunk[r->chunk].pieces == SCAN_PIECES))
		flush(r);
	if (r->chunk == SCAN_NO_CHUNK)
		r->chunk = get_chunk(r, 0, s->chunks_each);
	if (r->chunk == SCAN_NO_CHUNK)
		return false;
	c = &s->chunk[r->chunk];
	room = SCAN_TEXT - r->used - 1;
	room = room < SCAN_READ ? room : SCAN_READ;
	end = fill(from, c->text + r->used, room, &from->got);
	if (!end && r->used) { /* does not fit behind the others */
		next = get_chunk(r, 0, s->chunks_each);
		if (next == SCAN_NO_CHUNK)
			return false;
		memcpy(s->chunk[next].text, c->text + r->used, from->got);
		flush(r);
		r->chunk = next;
		end = fill(from, s->chunk[next].text, SCAN_READ, &from->got);
	}
	if (!end) {
		r->batch = 1; /* the next files are for others */
		if (scan_share(r, from))
			return true;
		scan_stream(r, from);
		return false;
	}
	if (from->got)
		add_piece(r, from, from->got, NULL);
	scan_settle(from->track, end < 0 ? -end : 0);
	return false;
}

/* A descriptor that reads what is being written would never end. */
static int check_source(struct scan *s, struct scan_source *from, bool argument)
{
	struct stat st;

	if (!argument && !s->output_is_file)
		return 0; /* a regular file, says the walk */
	if (fstat(from->fd, &st))
		return errno;
	from->pipe = !S_ISREG(st.st_mode);
	if (S_ISDIR(st.st_mode))
		return EISDIR;
	if (s->output_is_file && st.st_dev == s->output_dev &&
	    st.st_ino == s->output_ino &&
	    s->settings->style <= SCAN_STYLE_COUNT)
		return SCAN_IS_OUTPUT;
	return 0;
}

static void take_file(struct scan_reader *r, uint64_t sequence)
{
	struct scan_file *f = scan_file(r->s, sequence);
	bool standard = !f->item.dir && !strcmp(f->item.name, "-");
	struct scan_source from = { .scan = r->s, .file = f,
				    .track = &f->track, .sequence = sequence,
				    .limit = UINT64_MAX };
	bool shared = false;
	int e = f->item.error;

	if (e) {
		scan_settle(&f->track, e);
		return;
	}
	if (!f->item.dir) /* may be a pipe, whose writer takes its time */
		flush(r);
	from.fd = standard ? STDIN_FILENO : walk_open(&f->item);
	if (from.fd < 0) {
		scan_settle(&f->track, -from.fd);
		return;
	}
	e = check_source(r->s, &from, !f->item.dir);
	if (e)
		scan_settle(&f->track, e);
	else
		shared = read_file(r, &from);
	if (!standard && !shared)
		close(from.fd);
}

/* ---- the thread -------------------------------------------------------- */

void scan_work(struct crew *crew, uint32_t thread)
{
	struct scan *s = scan_of(crew);
	struct scan_reader r = { .s = s, .chunk = SCAN_NO_CHUNK, .batch = 1,
				 .first = thread * (s->chunks_each + 1) };

	while (!crew_stopped(crew) && !crew_finished(crew)) {
		uint64_t generation = crew_generation(crew);
		uint64_t first;
		int n;

		if (scan_share_help(&r))
			continue;
		n = crew_take(crew, r.batch, &first);
		if (n <= 0) {
			/* the window is full, or others may yet find files
			 * that are to be shared */
			flush(&r);
			crew_wait(crew, generation);
			continue;
		}
		r.batch = r.batch < BATCH_MAX ? r.batch * 2 : BATCH_MAX;
		for (int i = 0; i < n && !crew_stopped(crew); i++)
			take_file(&r, first + (unsigned)i);
		crew_reap_try(crew);
	}
	flush(&r);
}
