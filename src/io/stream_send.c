/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks to their handler and back, in order. */
#include <errno.h>
#include <string.h>

#include "io/stream.h"

#define REAP_MOST 64
#define NO_CHUNK UINT64_MAX /* user_data of a slot that does nothing */

/* ---- what the pieces turned out to be ----------------------------------- */

static uint32_t flags_of(struct mk_stream *s, const struct mks_piece *p)
{
	struct mks_source *source = p->source;
	bool cut = source->known && p->got < p->want && !p->error;
	uint32_t flags = source->begun ? 0 : MK_PIECE_FIRST;

	if (!p->last && !p->error && !cut)
		return flags;
	flags |= MK_PIECE_LAST;
	if (p->error) {
		flags |= MK_PIECE_FAILED;
		MKS_COUNT(s, files_failed, 1);
	} else if (cut || source->changed) {
		flags |= MK_PIECE_CHANGED;
		MKS_COUNT(s, files_changed, 1);
	}
	return flags;
}

/* Put what came before into its place in front of the piece. */
static uint32_t put_overlap(struct mk_stream *s, const struct mks_piece *p)
{
	uint32_t n = p->source->begun ? s->tail_bytes : 0;

	memcpy(p->chunk->memory + p->at - n, s->tail, n);
	return n;
}

/* Keep the end of what was sent, for the piece that follows it. */
static void keep_tail(struct mk_stream *s, const struct mks_piece *p)
{
	uint32_t most = s->params.overlap_bytes;
	uint32_t before = s->tail_bytes, keep;

	if (!p->source->begun)
		before = 0;
	if (p->got >= most) {
		memcpy(s->tail, p->chunk->memory + p->at + p->got - most,
		       most);
		s->tail_bytes = most;
		return;
	}
	keep = most - p->got < before ? most - p->got : before;
	memmove(s->tail, s->tail + before - keep, keep);
	memcpy(s->tail + keep, p->chunk->memory + p->at, p->got);
	s->tail_bytes = keep + p->got;
}

/* The entry of a piece; false: its file had ended before it. */
static bool settle(struct mk_stream *s, const struct mks_piece *p,
		   struct mk_stream_piece *out)
{
	struct mks_source *source = p->source;

	if (source->ended)
		return false;
	*out = (struct mk_stream_piece){
		.file = source->file,
		.offset = p->offset,
		.at = p->at,
		.bytes = p->got,
		.flags = flags_of(s, p),
		.error = p->error,
	};
	if (s->tail) {
		out->before = put_overlap(s, p);
		keep_tail(s, p);
	}
	source->begun = true;
	source->ended = out->flags & MK_PIECE_LAST;
	return true;
}

static void settle_all(struct mk_stream *s, struct mks_chunk *c)
{
	c->sent = 0;
	for (uint32_t i = 0; i < c->pieces; i++) {
		struct mks_source *source = c->piece[i].source;

		c->sent += settle(s, &c->piece[i], &c->table[c->sent]);
		if (!--source->pieces && source->planned_all)
			mks_source_free(s, source);
	}
	MKS_COUNT(s, pieces, c->sent);
	memcpy(c->memory, c->table, c->sent * sizeof(*c->table));
}

/* ---- to the handler ----------------------------------------------------- */

static int fill_slot(struct mk_stream *s, struct mks_chunk *c,
		     struct mk_slot *slot)
{
	struct mk_stream_args args = {
		.chunk = mk_buffer_ref(c->device ? c->device : c->buffer),
		.result = mk_buffer_ref(c->result),
		.user = mk_buffer_ref(s->params.user),
		.word = s->params.word,
		.pieces = c->sent,
		.bytes = c->used,
		.result_bytes = s->params.result_bytes,
	};
	int r = mk_queue_fill(s->q, slot, s->opcode, c->index, &args,
			      sizeof(args));

	if (r)
		return r;
	slot->tiles = s->params.tiles;
	slot->priority = (uint8_t)(s->params.priority - 1);
	if (s->params.flags & MK_STREAM_IDEMPOTENT)
		slot->flags |= MK_SLOT_IDEMPOTENT;
	return 0;
}

static int submit(struct mk_stream *s, struct mks_chunk *c)
{
	struct mk_slot *slot;
	int r = 0;

	if (c->device)
		r = mk_buffer_copy(s->ctx, c->device, 0, c->buffer, 0,
				   c->used);
	if (r)
		return r;
	if (c->device)
		MKS_COUNT(s, bytes_copied, c->used);
	r = mk_queue_get(s->q, 1, &slot);
	if (r < 0)
		return r;
	r = fill_slot(s, c, slot);
	if (!r)
		r = mk_queue_submit(s->q, slot, 1);
	if (r >= 0)
		return 0;
	/* what was got has to be submitted */
	mk_slot_init(slot, MK_OP_NOP, NO_CHUNK);
	mk_queue_submit(s->q, slot, 1);
	return r;
}

static void set_state(struct mk_stream *s, struct mks_chunk *c,
		      uint32_t state)
{
	pthread_mutex_lock(&s->lock);
	mks_set_state(c, state);
	if (state != MKS_RUNNING)
		pthread_cond_broadcast(&s->some);
	pthread_mutex_unlock(&s->lock);
}

static void send_one(struct mk_stream *s, struct mks_chunk *c)
{
	int r;

	settle_all(s, c);
	if (!c->sent) {
		set_state(s, c, MKS_EMPTY);
		return;
	}
	c->sequence = s->sequence++;
	c->error = 0;
	c->value = 0;
	set_state(s, c, MKS_RUNNING);
	s->running++;
	MKS_COUNT(s, chunks, 1);
	r = submit(s, c);
	if (r >= 0)
		return;
	/* the slot's ending, as if it had been one */
	s->running--;
	c->error = r;
	set_state(s, c, MKS_READY);
	if (r == -MK_EDEVLOST || r == -MK_ESTOPPED)
		mks_fail(s, r);
}

bool mks_send(struct mk_stream *s)
{
	bool did = false;

	while (s->send != s->fill && !mks_chunk_at(s, s->send)->open) {
		send_one(s, mks_chunk_at(s, s->send));
		s->send++;
		did = true;
	}
	if (!s->finished && s->input_over && !s->plan && s->send == s->fill &&
	    mks_state(mks_chunk_at(s, s->fill)) != MKS_FILLING) {
		pthread_mutex_lock(&s->lock);
		/* one may have been added before the end was told */
		s->finished = !s->added;
		mk_store_relaxed(&s->stats.ns, mk_now_ns() - s->began_ns);
		pthread_cond_broadcast(&s->some);
		pthread_mutex_unlock(&s->lock);
	}
	return did;
}

/* ---- and back ----------------------------------------------------------- */

bool mks_reap(struct mk_stream *s)
{
	struct mk_completion done[REAP_MOST];
	bool did = false;
	int n;

	while ((n = mk_queue_reap(s->q, done, REAP_MOST)) > 0) {
		did = true;
		for (int i = 0; i < n; i++) {
			struct mks_chunk *c;

			if (done[i].user_data >= s->params.chunks)
				continue;
			c = &s->chunk[done[i].user_data];
			c->error = done[i].result;
			c->value = done[i].value;
			s->running--;
			mks_count_in_flight(s);
			set_state(s, c, MKS_READY);
		}
	}
	if (n < 0)
		mks_fail(s, n);
	return did;
}
