/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of `map`: takes files, reads them, submits slots. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/order.h"
#include "map_run.h"

#define BATCH_MAX 32u /* files taken, or slots submitted, at once */
#define ROOM_MIN 16384u /* a chunk with less than this left is full */
#define ALIGN 64u /* files begin on cache lines */

/* A slot to be: what flush() submits. */
struct part {
	uint64_t sequence;
	struct mk_map_args args;
	uint32_t chunk;
	bool whole; /* nobody waits for it: its answer ends the file */
};

struct reader {
	struct map *m;
	uint32_t chunk; /* being filled; MAP_NO_CHUNK: none */
	uint32_t used; /* bytes of it */
	unsigned batch; /* files to take at once */
	unsigned parts;
	struct part part[BATCH_MAX];
};

/* ---- submitting -------------------------------------------------------- */

/* Submit n parts, or as many as there is room for; how many. */
static unsigned submit_some(struct map *m, const struct part *p, unsigned n)
{
	uint64_t generation = crew_generation(&m->crew);
	struct mk_slot *slot;
	int r = mk_queue_get(m->crew.queue, n, &slot);

	if (r == -EAGAIN) {
		crew_wait(&m->crew, generation);
		return 0;
	}
	for (int i = 0; i < r; i++) {
		mk_slot_init(&slot[i], m->opcode, p[i].sequence);
		memcpy(slot[i].bytes, &p[i].args, sizeof(p[i].args));
	}
	if (r > 0) {
		crew_submits(&m->crew, (unsigned)r);
		r = mk_queue_submit(m->crew.queue, slot, (unsigned)r);
	}
	if (r < 0) {
		crew_not_submitted(&m->crew, r);
		return 0;
	}
	return (unsigned)r;
}

static void flush(struct reader *r)
{
	struct map *m = r->m;
	unsigned done = 0;

	for (unsigned i = 0; i < r->parts; i++) {
		struct part *p = &r->part[i];
		/* pairs with the load in map_land(), map_reap.c */
		mk_store_release(&map_record(m, p->sequence)->flight,
				 p->chunk << 1 | p->whole);
	}
	while (done < r->parts && !crew_stopped(&m->crew))
		done += submit_some(m, &r->part[done], r->parts - done);
	r->parts = 0;
}

static unsigned char *state_of(struct map *m, uint64_t sequence)
{
	return m->state_memory +
	       (sequence & (MAP_WINDOW - 1)) * MK_MAP_STATE_BYTES;
}

static struct mk_map_args args_of(struct map *m, uint64_t sequence,
				  uint32_t chunk, uint32_t offset,
				  uint32_t bytes, uint32_t flags)
{
	return (struct mk_map_args){
		.data = mk_buffer_ref(m->pool.buffer),
		.state = mk_buffer_ref(m->states),
		.offset = (uint64_t)chunk * MAP_CHUNK_BYTES + offset,
		.bytes = bytes,
		.flags = flags | m->text,
		.state_offset = (uint32_t)(sequence & (MAP_WINDOW - 1)) *
				MK_MAP_STATE_BYTES,
	};
}

int map_submit_again(struct map *m, uint64_t sequence)
{
	struct map_record *rec = map_record(m, sequence);
	struct mk_map_args args = args_of(m, sequence, rec->flight >> 1,
					  rec->offset, (uint32_t)rec->bytes,
					  MK_MAP_FIRST | MK_MAP_LAST);
	struct mk_slot *slot;
	int r = mk_queue_get(m->crew.queue, 1, &slot);

	if (r == -EAGAIN)
		return r;
	if (r == 1) {
		mk_slot_init(slot, m->opcode, sequence);
		memcpy(slot->bytes, &args, sizeof(args));
		crew_submits(&m->crew, 1);
		r = mk_queue_submit(m->crew.queue, slot, 1);
	}
	if (r < 0)
		crew_not_submitted(&m->crew, r);
	return 0;
}

/* A part of a file stands in a chunk: to be submitted with the next flush. */
static void add_part(struct reader *r, uint64_t sequence, uint32_t chunk,
		     uint32_t offset, uint32_t bytes, uint32_t flags)
{
	struct map *m = r->m;
	struct map_record *rec = map_record(m, sequence);

	if (r->parts == BATCH_MAX)
		flush(r);
	rec->bytes += bytes;
	rec->offset = offset;
	if (!m->states_away && flags & MK_MAP_FIRST)
		memset(state_of(m, sequence), 0, 8);
	map_pool_hold(&m->pool, chunk);
	r->part[r->parts++] = (struct part){
		.sequence = sequence,
		.chunk = chunk,
		.args = args_of(m, sequence, chunk, offset, bytes, flags),
	};
}

/* ---- chunks ------------------------------------------------------------ */

static unsigned char *chunk_at(struct map *m, uint32_t chunk)
{
	return m->pool.memory + (size_t)chunk * MAP_CHUNK_BYTES;
}

/* Wait for a chunk; MAP_NO_CHUNK only if all was stopped. */
static uint32_t get_chunk(struct reader *r)
{
	struct map *m = r->m;

	for (;;) {
		uint64_t generation = crew_generation(&m->crew);
		uint32_t chunk = map_pool_get(&m->pool);

		if (chunk != MAP_NO_CHUNK)
			return chunk;
		flush(r);
		if (crew_stopped(&m->crew))
			return MAP_NO_CHUNK;
		crew_wait(&m->crew, generation);
	}
}

static void leave_chunk(struct reader *r)
{
	if (r->chunk != MAP_NO_CHUNK)
		map_pool_drop(&r->m->pool, r->chunk);
	r->chunk = MAP_NO_CHUNK;
	r->used = 0;
}

/* ---- reading ----------------------------------------------------------- */

/* Fill [*got, room). 1: the file ended; 0: full; or a negated errno. A short
 * read is not the end; only 0 is, whatever the file system says of sizes. */
static int fill(int fd, unsigned char *at, uint32_t room, uint32_t *got)
{
	while (*got < room) {
		ssize_t n = read(fd, at + *got, room - *got);

		if (!n)
			return 1;
		if (n > 0)
			*got += (uint32_t)n;
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

/* The file needs no slot any more. */
static void settle(struct map_record *rec, int error)
{
	if (error)
		rec->error = error;
	/* pairs with the load in count_done() */
	mk_store_release(&rec->state, MAP_DONE);
}

/* What of a file is in flight. */
struct flight {
	uint32_t parts; /* submitted, this one included, and again */
	uint32_t chunk, bytes, flags;
	unsigned char before[MK_MAP_STATE_BYTES]; /* the state */
};

static void send_part(struct reader *r, uint64_t sequence, struct flight *f)
{
	add_part(r, sequence, f->chunk, 0, f->bytes, f->flags);
	flush(r);
	f->parts++;
}

/*
 * Wait until the part that is in flight has landed, and let go of its chunk.
 * If its process was lost meanwhile, it goes once more, from the state before.
 */
static void await_part(struct reader *r, uint64_t sequence, struct flight *f)
{
	struct map *m = r->m;
	struct map_record *rec = map_record(m, sequence);

	while (f->chunk != MAP_NO_CHUNK && !crew_stopped(&m->crew)) {
		uint64_t generation = crew_generation(&m->crew);

		/* pairs with the store in map_land() */
		if (mk_load_acquire(&rec->landed) != f->parts) {
			crew_wait(&m->crew, generation);
			continue;
		}
		if (!rec->again)
			break;
		memcpy(state_of(m, sequence), f->before, sizeof(f->before));
		rec->bytes -= f->bytes;
		send_part(r, sequence, f);
	}
	if (f->chunk != MAP_NO_CHUNK)
		map_pool_drop(&m->pool, f->chunk);
	f->chunk = MAP_NO_CHUNK;
}

/* Send what r->chunk holds; it is the flight's from here on. */
static void part_off(struct reader *r, uint64_t sequence, struct flight *f,
		     uint32_t bytes, uint32_t flags)
{
	struct map *m = r->m;

	f->chunk = r->chunk;
	f->bytes = bytes;
	f->flags = flags;
	if (!m->states_away)
		memcpy(f->before, state_of(m, sequence), sizeof(f->before));
	r->chunk = MAP_NO_CHUNK;
	send_part(r, sequence, f);
}

/*
 * A file that fills a chunk: one part after the other, each when the one
 * before has landed; the next is read meanwhile. r->chunk holds `bytes`, not
 * yet submitted; an error that ends the file makes what there is the last.
 */
static void stream(struct reader *r, uint64_t sequence, int fd)
{
	struct map *m = r->m;
	struct map_record *rec = map_record(m, sequence);
	struct flight f = { .chunk = MAP_NO_CHUNK };
	uint32_t bytes = MAP_CHUNK_BYTES, flags = MK_MAP_FIRST, next, got;
	int end = 0;

	do {
		next = MAP_NO_CHUNK;
		got = 0;
		if (!end) {
			next = get_chunk(r);
			if (next == MAP_NO_CHUNK)
				break;
			end = fill(fd, chunk_at(m, next), MAP_CHUNK_BYTES,
				   &got);
		}
		if (end < 0)
			rec->error = -end;
		if (end && !got)
			flags |= MK_MAP_LAST;
		await_part(r, sequence, &f);
		if (rec->code)
			leave_chunk(r);
		else
			part_off(r, sequence, &f, bytes, flags);
		r->chunk = next;
		bytes = got;
		if (rec->code || flags & MK_MAP_LAST)
			break;
		flags = 0;
	} while (!crew_stopped(&m->crew));
	await_part(r, sequence, &f);
	rec->answered = f.flags & MK_MAP_LAST;
	if (!crew_stopped(&m->crew))
		settle(rec, 0);
}

/* Read one file; small ones share a chunk. */
static void read_file(struct reader *r, uint64_t sequence, int fd)
{
	struct map *m = r->m;
	struct map_record *rec = map_record(m, sequence);
	uint32_t got = 0, next;
	int end;

	if (r->chunk != MAP_NO_CHUNK && MAP_CHUNK_BYTES - r->used < ROOM_MIN)
		leave_chunk(r);
	if (r->chunk == MAP_NO_CHUNK) {
		r->chunk = get_chunk(r);
		if (r->chunk == MAP_NO_CHUNK)
			return;
	}
	end = fill(fd, chunk_at(m, r->chunk) + r->used,
		   MAP_CHUNK_BYTES - r->used, &got);
	if (!end && r->used) { /* does not fit behind the others */
		next = get_chunk(r);
		if (next == MAP_NO_CHUNK)
			return;
		memcpy(chunk_at(m, next), chunk_at(m, r->chunk) + r->used, got);
		leave_chunk(r);
		r->chunk = next;
		end = fill(fd, chunk_at(m, next), MAP_CHUNK_BYTES, &got);
	}
	if (!end) {
		flush(r);
		r->batch = 1; /* the next files are for others */
		stream(r, sequence, fd);
		return;
	}
	if (end < 0)
		rec->error = -end;
	add_part(r, sequence, r->chunk, r->used, got,
		 MK_MAP_FIRST | MK_MAP_LAST);
	r->part[r->parts - 1].whole = true;
	r->used += (got + ALIGN - 1) & ~(ALIGN - 1);
}

static void take_file(struct reader *r, uint64_t sequence)
{
	struct map_record *rec = map_record(r->m, sequence);
	bool standard = !rec->item.dir && !strcmp(rec->item.name, "-");
	int fd;

	if (rec->item.error) {
		settle(rec, rec->item.error);
		return;
	}
	if (!rec->item.dir) /* may be a pipe, whose writer takes its time */
		flush(r);
	fd = standard ? STDIN_FILENO : walk_open(&rec->item);
	if (fd < 0) {
		settle(rec, -fd);
		return;
	}
	read_file(r, sequence, fd);
	if (!standard)
		close(fd);
}

/* ---- the thread -------------------------------------------------------- */

/* Records that were used before: handlers find their states' headers zeroed,
 * also those that never touch them. They may be n in two pieces. */
static void clear_states(struct map *m, uint64_t first, unsigned n)
{
	static const unsigned char zeros[BATCH_MAX * MK_MAP_STATE_BYTES];
	uint32_t index = (uint32_t)(first & (MAP_WINDOW - 1));
	unsigned piece = n < MAP_WINDOW - index ? n : MAP_WINDOW - index;
	int r = 0;

	if (!m->states_away || first + n <= MAP_WINDOW)
		return;
	for (; n && !r; n -= piece, index = 0, piece = n)
		r = mk_buffer_write(m->crew.ctx, m->states,
				    (uint64_t)index * MK_MAP_STATE_BYTES, zeros,
				    (uint64_t)piece * MK_MAP_STATE_BYTES);
	if (r)
		crew_stop(&m->crew, r, "states could not be cleared: %s",
			 mk_error_last()->text);
}

void map_work(struct crew *crew, uint32_t thread)
{
	struct map *m = map_of(crew);
	struct reader r = { .m = m, .chunk = MAP_NO_CHUNK, .batch = 1 };

	(void)thread;
	while (!crew_stopped(&m->crew)) {
		uint64_t generation = crew_generation(&m->crew);
		uint64_t first;
		int n = crew_take(crew, r.batch, &first);

		if (n == -EAGAIN) {
			crew_wait(&m->crew, generation);
			continue;
		}
		if (n <= 0)
			break;
		clear_states(m, first, (unsigned)n);
		r.batch = r.batch < BATCH_MAX ? r.batch * 2 : BATCH_MAX;
		for (int i = 0; i < n && !crew_stopped(&m->crew); i++)
			take_file(&r, first + (unsigned)i);
		flush(&r);
		crew_reap_try(&m->crew);
	}
	leave_chunk(&r);
}
