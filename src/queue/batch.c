/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded batches: recording, patching, making and freeing them. */
#include "queue/batch.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/order.h"
#include "base/params.h"

static int bad(const char *field, uint32_t value, const char *limit,
	       uint32_t most)
{
	return mk_error_set(-EINVAL, 0, "mk_batch_create",
			    "params.%s is %u, must be %s%u", field, value,
			    limit, most);
}

static int params_check(const struct mk_queue *q, struct mk_batch_params *p)
{
	if (!p->runs)
		p->runs = 2;
	if (!p->slots || p->slots > q->mask + 1)
		return bad("slots", p->slots,
			   "1 to the entries of the queue, ", q->mask + 1);
	if (p->runs > MK_BATCH_RUNS_MAX)
		return bad("runs", p->runs, "0 to ", MK_BATCH_RUNS_MAX);
	if (p->counters > MK_RING_ENTRIES_MAX)
		return bad("counters", p->counters, "at most ",
			   MK_RING_ENTRIES_MAX);
	return 0;
}

static void batch_free(struct mk_batch *b)
{
	for (uint32_t i = 0; b->sets && i < b->runs; i++)
		free(b->sets[i].lines);
	free(b->sets);
	free(b->slots);
	free(b->flow);
	free(b->edges);
	free(b->zeros);
	free(b);
}

static struct mk_batch *batch_alloc(struct mk_queue *q,
				    const struct mk_batch_params *p)
{
	struct mk_batch *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->q = q;
	b->most = p->slots;
	b->declared = b->counters = p->counters;
	b->runs = p->runs;
	b->slots = aligned_alloc(MK_LINE, (size_t)p->slots * MK_SLOT_BYTES);
	b->flow = calloc(p->slots, sizeof(*b->flow));
	b->sets = calloc(p->runs, sizeof(*b->sets));
	if (b->slots && b->flow && b->sets)
		return b;
	batch_free(b);
	return NULL;
}

int mk_batch_create(struct mk_queue *q, const struct mk_batch_params *params,
		    struct mk_batch **out)
{
	struct mk_batch_params p;
	int r;

	if (!q || !params || !out)
		return mk_error_null("mk_batch_create", !q ? "q" : !params ?
				     "params" : "out");
	r = mk_params_copy(&p, sizeof(p), sizeof(p), params,
			   "mk_batch_create");
	if (!r)
		r = params_check(q, &p);
	if (r)
		return r;
	*out = batch_alloc(q, &p);
	if (*out)
		return 0;
	return mk_error_set(-ENOMEM, ENOMEM, "mk_batch_create",
			    "no memory for a batch of %u slots", p.slots);
}

/* The last run of this set has an answer that was not reaped. */
static bool in_flight(const struct mk_batch *b, const struct mk_batch_set *s)
{
	return (int64_t)(s->end - mk_load_acquire(&b->q->head)) > 0 &&
	       s->first != s->end;
}

int mk_batch_destroy(struct mk_batch *b, uint64_t timeout_ns)
{
	int r = 0;

	if (!b)
		return 0;
	for (uint32_t i = 0; i < b->runs; i++)
		if (in_flight(b, &b->sets[i]))
			return mk_error_set(-EBUSY, 0, "mk_batch_destroy",
					    "slots of a run are in flight, or "
					    "their answers were not reaped; "
					    "reap them first");
	if (b->buffer)
		r = mk_buffer_destroy(b->q->ctx, b->buffer, timeout_ns);
	/* memory of a device that is lost goes with it */
	if (r && r != -MK_EDEVLOST)
		return r;
	batch_free(b);
	return 0;
}

/* ---- recording ---------------------------------------------------------- */

/* May slot `slot` still be changed? */
static int open_slot(const struct mk_batch *b, uint32_t slot, const char *op)
{
	if (!b)
		return mk_error_null(op, "b");
	if (b->sealed)
		return mk_error_set(-EBUSY, 0, op,
				    "the batch was sealed; only arguments can "
				    "be changed, by mk_batch_patch()");
	if (slot >= b->count)
		return mk_error_set(-EINVAL, 0, op,
				    "slot is %u, but the batch has %u", slot,
				    b->count);
	return 0;
}

int mk_batch_add(struct mk_batch *b, const struct mk_slot *slot)
{
	const char *op = "mk_batch_add";
	int r;

	if (!b || !slot)
		return mk_error_null(op, b ? "slot" : "b");
	if (b->sealed)
		return mk_error_set(-EBUSY, 0, op, "the batch was sealed; "
				    "record another");
	if (b->count == b->most)
		return mk_error_set(-E2BIG, 0, op,
				    "the batch holds %u slots, as many as "
				    "params.slots said", b->most);
	if (slot->flags & ~MK_SLOT_IDEMPOTENT)
		return mk_error_set(-EINVAL, 0, op,
				    "flags is 0x%x; a slot of a batch may "
				    "have 0x%x", slot->flags,
				    MK_SLOT_IDEMPOTENT);
	r = mk_queue_check(b->q, slot);
	if (r)
		return r;
	b->slots[b->count] = *slot;
	b->opcodes[slot->opcode / 64] |= 1ull << slot->opcode % 64;
	return (int)b->count++;
}

int mk_batch_after(struct mk_batch *b, uint32_t slot, uint32_t before)
{
	const char *op = "mk_batch_after";
	int r = open_slot(b, slot, op);

	if (r)
		return r;
	if (before >= slot)
		return mk_error_set(-EINVAL, 0, op,
				    "before is %u: slot %u can only come "
				    "after slots of lower numbers", before,
				    slot);
	if (b->edge_count == b->edge_room) {
		size_t room = b->edge_room ? 2 * b->edge_room : 64;
		void *edges = realloc(b->edges, room * sizeof(*b->edges));

		if (!edges)
			return mk_error_set(-ENOMEM, ENOMEM, op,
					    "no memory for %zu edges", room);
		b->edges = edges;
		b->edge_room = room;
	}
	b->edges[b->edge_count++] = (struct mk_batch_edge){ slot, before };
	return 0;
}

/* The counters of a slot lie in one buffer; and is there such a one? */
static int counter_check(const struct mk_batch *b, uint32_t slot,
			 mk_buffer_t buffer, uint32_t word, const char *op)
{
	struct mk_ref ref = mk_buffer_ref(buffer);

	if (!buffer && word >= b->declared)
		return mk_error_set(-MK_ERANGE, 0, op,
				    "word is %u, but the batch has %u "
				    "counters of its own", word, b->declared);
	if (word == MK_NO_COUNTER)
		return mk_error_set(-MK_ERANGE, 0, op,
				    "word is %u, must be below %u", word,
				    MK_NO_COUNTER);
	if (buffer && (!ref.index || !ref.generation ||
		       ref.index >= b->q->ctx->config.windows))
		return mk_error_set(-MK_EFOREIGN, 0, op,
				    "buffer 0x%llx is no handle of this "
				    "context", (unsigned long long)buffer);
	if (b->slots[slot].flags & (MK_SLOT_WAIT | MK_SLOT_RAISE) &&
	    b->flow[slot].buffer != buffer)
		return mk_error_set(-EINVAL, 0, op,
				    "buffer is 0x%llx, but slot %u has its "
				    "counters in 0x%llx (0: the batch); all "
				    "of a slot's lie in one",
				    (unsigned long long)buffer, slot,
				    (unsigned long long)b->flow[slot].buffer);
	return 0;
}

int mk_batch_wait(struct mk_batch *b, uint32_t slot, mk_buffer_t buffer,
		  uint32_t word, uint64_t value)
{
	const char *op = "mk_batch_wait";
	int r = open_slot(b, slot, op);

	if (!r)
		r = counter_check(b, slot, buffer, word, op);
	if (r)
		return r;
	if (b->slots[slot].flags & MK_SLOT_WAIT)
		return mk_error_set(-E2BIG, 0, op,
				    "slot %u waits for a counter already, and "
				    "can for one", slot);
	/* far from where the counts of many runs could carry into the bit */
	if (value >= MK_COUNTER_FAILED / 2)
		return mk_error_set(-MK_ERANGE, 0, op,
				    "value is 0x%llx, must be below 2^62",
				    (unsigned long long)value);
	b->flow[slot].buffer = buffer;
	b->flow[slot].word = word;
	b->flow[slot].value = value;
	b->slots[slot].flags |= MK_SLOT_WAIT;
	return 0;
}

int mk_batch_raise(struct mk_batch *b, uint32_t slot, mk_buffer_t buffer,
		   uint32_t word)
{
	const char *op = "mk_batch_raise";
	int r = open_slot(b, slot, op);
	struct mk_batch_flow *f;

	if (!r)
		r = counter_check(b, slot, buffer, word, op);
	if (r)
		return r;
	f = &b->flow[slot];
	if (f->raises == MK_RAISE_MAX)
		return mk_error_set(-E2BIG, 0, op,
				    "slot %u raises %u counters already, the "
				    "most it can; let a no-op after it raise "
				    "the others", slot, MK_RAISE_MAX);
	f->buffer = buffer;
	f->raise[f->raises++] = word;
	b->slots[slot].flags |= MK_SLOT_RAISE;
	return 0;
}

int mk_batch_patch(struct mk_batch *b, uint32_t slot, uint32_t offset,
		   const void *data, uint32_t bytes)
{
	const char *op = "mk_batch_patch";

	if (!b || (!data && bytes))
		return mk_error_null(op, b ? "data" : "b");
	if (slot >= b->count)
		return mk_error_set(-EINVAL, 0, op,
				    "slot is %u, but the batch has %u", slot,
				    b->count);
	if (offset > MK_ARG_BYTES || bytes > MK_ARG_BYTES - offset)
		return mk_error_set(-MK_ERANGE, 0, op,
				    "offset %u + bytes %u exceeds the %u "
				    "bytes of arguments", offset, bytes,
				    MK_ARG_BYTES);
	if (bytes)
		memcpy(b->slots[slot].bytes + offset, data, bytes);
	return 0;
}

/* ---- sealing ------------------------------------------------------------ */

void mk_batch_lines(struct mk_batch *b, uint32_t set)
{
	uint32_t base = set * b->stride;

	for (uint32_t i = 0; i < b->count; i++) {
		const struct mk_batch_flow *f = &b->flow[i];
		union mk_batch_line *words = &b->sets[set].lines[i];
		struct mk_wire_ext *line = &words->ext;
		uint32_t first = f->buffer ? 0 : base;

		line->counters =
			mk_buffer_ref(f->buffer ? f->buffer : b->buffer);
		line->wait_word = f->word + first;
		line->wait_value = f->value;
		words->word[1] = f->step;
		for (uint32_t k = 0; k < MK_RAISE_MAX; k++)
			line->raise[k] = k < f->raises ? f->raise[k] + first :
							 MK_NO_COUNTER;
	}
}

static bool has_own(const struct mk_batch *b)
{
	for (uint32_t i = 0; i < b->count; i++)
		if (b->slots[i].flags & (MK_SLOT_WAIT | MK_SLOT_RAISE) &&
		    !b->flow[i].buffer)
			return true;
	return false;
}

static int sets_alloc(struct mk_batch *b)
{
	size_t bytes = (size_t)b->count * sizeof(struct mk_wire_ext);

	/* each set begins a line of counters */
	b->stride = (b->counters + 7u) & ~7u;
	b->zeros = calloc(b->stride + 1, sizeof(*b->zeros));
	for (uint32_t i = 0; i < b->runs; i++) {
		b->sets[i].lines = aligned_alloc(MK_LINE, bytes);
		if (!b->sets[i].lines || !b->zeros)
			return mk_error_set(-ENOMEM, ENOMEM, "mk_batch_seal",
					    "no memory for %u runs of %u "
					    "slots", b->runs, b->count);
		memset(b->sets[i].lines, 0, bytes);
	}
	return 0;
}

/* Undo what a failed seal has allocated. */
static void sets_free(struct mk_batch *b)
{
	for (uint32_t i = 0; i < b->runs; i++) {
		free(b->sets[i].lines);
		b->sets[i].lines = NULL;
	}
	free(b->zeros);
	b->zeros = NULL;
}

/* The flags and counters of all slots, to take back what a seal that failed
 * has added. */
struct recorded {
	struct mk_batch_flow *flow;
	uint8_t *flags;
};

static int keep_recorded(struct recorded *was, const struct mk_batch *b)
{
	was->flow = malloc(b->count * sizeof(*was->flow));
	was->flags = calloc(b->count, 1);
	if (!was->flow || !was->flags)
		return mk_error_set(-ENOMEM, ENOMEM, "mk_batch_seal",
				    "no memory for %u slots", b->count);
	memcpy(was->flow, b->flow, b->count * sizeof(*was->flow));
	for (uint32_t i = 0; i < b->count; i++)
		was->flags[i] = b->slots[i].flags;
	return 0;
}

static void take_back(struct mk_batch *b, const struct recorded *was)
{
	if (!was->flow || !was->flags)
		return;
	memcpy(b->flow, was->flow, b->count * sizeof(*was->flow));
	for (uint32_t i = 0; i < b->count; i++)
		b->slots[i].flags = was->flags[i];
	b->counters = b->declared;
	sets_free(b);
}

static int seal(struct mk_batch *b)
{
	struct mk_ctx *ctx = b->q->ctx;
	int r = mk_batch_join(b);

	if (!r)
		r = mk_batch_reachable(b);
	if (!r)
		r = mk_batch_steps(b);
	if (!r)
		r = sets_alloc(b);
	if (!r && has_own(b))
		r = mk_buffer_create(ctx, 8ull * b->runs * b->stride, 0,
				     &b->buffer);
	if (r)
		return r;
	for (uint32_t i = 0; i < b->runs; i++) {
		b->sets[i].restarts = mk_load_relaxed(&ctx->restarts);
		mk_batch_lines(b, i);
	}
	return 0;
}

int mk_batch_seal(struct mk_batch *b)
{
	const char *op = "mk_batch_seal";
	struct recorded was;
	int r;

	if (!b)
		return mk_error_null(op, "b");
	if (b->sealed)
		return mk_error_set(-EBUSY, 0, op, "the batch was sealed");
	if (!b->count)
		return mk_error_set(-EINVAL, 0, op, "the batch has no slots");
	r = keep_recorded(&was, b);
	if (!r)
		r = seal(b);
	if (r)
		take_back(b, &was);
	free(was.flow);
	free(was.flags);
	if (r)
		return r;
	b->sealed = true;
	return (int)b->count;
}
