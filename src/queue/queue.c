/* SPDX-License-Identifier: Apache-2.0 */
/* Making and ending queues. */
#include "queue/queue.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/order.h"
#include "base/params.h"
#include "context/region.h"

#define OBSERVABLES_MAX 65536u
#define RECORDS_MAX 65536u
#define DEFAULT_SPIN_NS 20000u

static bool power_of_two(uint32_t n)
{
	return n && !(n & (n - 1));
}

static int bad(const char *field, uint64_t value, const char *limit)
{
	return mk_error_set(-EINVAL, 0, "mk_queue_create",
			    "params.%s is %llu, must be %s", field,
			    (unsigned long long)value, limit);
}

/* Fill in defaults and check what the caller gave. */
static int queue_params(struct mk_queue_params *p,
			const struct mk_queue_params *given)
{
	int r = mk_params_copy(p, sizeof(*p), sizeof(*p), given,
			       "mk_queue_create");

	if (r)
		return r;
	if (!p->entries)
		p->entries = 1024;
	if (!p->priority)
		p->priority = MK_PRIORITY_NORMAL + 1;
	if (!p->observables)
		p->observables = 64;
	if (!p->log_records)
		p->log_records = 256;
	if (!p->io_records)
		p->io_records = 64;
	if (!p->spin_ns)
		p->spin_ns = DEFAULT_SPIN_NS;
	if (!power_of_two(p->entries) || p->entries < MK_RING_ENTRIES_MIN ||
	    p->entries > MK_RING_ENTRIES_MAX)
		return bad("entries", p->entries,
			   "a power of two from 2 to 65,536, or 0 for 1,024");
	if (p->priority > MK_PRIORITIES)
		return bad("priority", p->priority,
			   "0 to 5: enum mk_priority + 1, or 0 for normal");
	if (p->flags)
		return bad("flags", p->flags, "0: no flag is known");
	if (p->observables > OBSERVABLES_MAX)
		return bad("observables", p->observables, "0 to 65,536");
	if (!power_of_two(p->log_records) || p->log_records > RECORDS_MAX)
		return bad("log_records", p->log_records,
			   "a power of two up to 65,536, or 0 for 256");
	if (!power_of_two(p->io_records) || p->io_records > RECORDS_MAX)
		return bad("io_records", p->io_records,
			   "a power of two up to 65,536, or 0 for 64");
	if (p->reserved)
		return bad("reserved", p->reserved, "0");
	return 0;
}

/* Lay the parts of a queue out in its block; every part starts a line. */
static void queue_layout(struct mk_queue_desc *d,
			 const struct mk_queue_params *p)
{
	/* a GPU reads slots best in runs of 512 bytes that begin at a multiple
	 * of that, which no word that somebody polls may share */
	uint64_t at = (sizeof(struct mk_queue_block) + 511) & ~511ull;

#define PART(field, bytes)                       \
	do {                                     \
		d->field = (uint32_t)at;         \
		at += ((bytes) + 63) & ~63ull;   \
	} while (0)
	PART(slots_offset, (uint64_t)p->entries * MK_SLOT_BYTES);
	PART(completions_offset, (uint64_t)p->entries * MK_COMPLETION_BYTES);
	PART(ext_offset, (uint64_t)p->entries * sizeof(struct mk_wire_ext));
	PART(control_offset,
	     sizeof(struct mk_control) + 8ull * p->observables);
	PART(log_offset, sizeof(struct mk_debug_log) +
		sizeof(struct mk_debug_record) * (uint64_t)p->log_records);
	PART(io_offset, sizeof(struct mk_io_queue) +
		sizeof(struct mk_io_record) * (uint64_t)p->io_records);
#undef PART
	d->block_bytes = at;
	d->entries = p->entries;
	d->observables = p->observables;
	d->log_records = p->log_records;
	d->io_records = p->io_records;
	d->priority = p->priority - 1;
	d->first_ticket = p->first_ticket;
	d->skip_until = p->first_ticket;
}

static void header_init(struct mk_wire_header *h, uint32_t magic,
			uint64_t bytes)
{
	h->magic = magic;
	h->abi = MK_ABI_VERSION;
	h->fingerprint = MK_FINGERPRINT;
	h->bytes = (uint32_t)bytes;
}

/* Give every index the mark of the lap before its first ticket. */
static void marks_init(struct mk_queue *q)
{
	uint64_t first = q->first_ticket;

	for (uint64_t t = first; t != first + q->mask + 1; t++) {
		uint64_t mark = (uint64_t)(uint16_t)(MK_MARK(t, q->shift) - 1)
				<< MK_MARK_SHIFT;
		uint32_t index = (uint32_t)(t & q->mask);

		for (int unit = 0; unit < 4; unit++)
			q->ring[index].unit[unit].hi = mark;
		q->answers[index].head = mark;
	}
}

void mk_queue_describe(struct mk_queue *q)
{
	const struct mk_queue_desc *d = &q->desc;
	struct mk_queue_block *b = q->block;
	struct mk_control *control = mk_queue_control(q);
	struct mk_debug_log *log = mk_queue_log(q);
	struct mk_io_queue *io = mk_queue_io(q);

	header_init(&b->header, MK_MAGIC_QUEUE, d->block_bytes);
	b->entries = d->entries;
	b->first_ticket = q->first_ticket;
	b->slots_offset = d->slots_offset;
	b->completions_offset = d->completions_offset;
	b->ext_offset = d->ext_offset;
	b->control_offset = d->control_offset;
	b->log_offset = d->log_offset;
	b->io_offset = d->io_offset;
	header_init(&control->header, MK_MAGIC_CONTROL,
		    sizeof(*control) + 8ull * d->observables);
	control->observables = d->observables;
	control->observable_offset = sizeof(*control);
	control->tenants = MK_TENANTS;
	header_init(&log->header, MK_MAGIC_LOG,
		    sizeof(*log) + sizeof(struct mk_debug_record) *
					   (uint64_t)d->log_records);
	log->capacity = d->log_records;
	header_init(&io->header, MK_MAGIC_IO,
		    sizeof(*io) +
			    sizeof(struct mk_io_record) *
				    (uint64_t)d->io_records);
	io->capacity = d->io_records;
}

/* Write the block that host and engine share. Its memory is zero. */
static void block_init(struct mk_queue *q)
{
	mk_queue_describe(q);
	q->block->claim = q->first_ticket;
	marks_init(q);
}

void mk_queue_free(struct mk_queue *q)
{
	if (!q)
		return;
	if (q->event_fd >= 0)
		close(q->event_fd);
	pthread_mutex_destroy(&q->loss_lock);
	free(q->slots);
	free(q->ready);
	free(q->early);
	free(q->strikes);
	free(q->asked);
	free(q->asked_state);
	free(q->stuck);
	free(q);
}

/* The host's own part. */
static struct mk_queue *queue_alloc(const struct mk_queue_params *p)
{
	struct mk_queue *q = aligned_alloc(MK_LINE, sizeof(*q));

	if (!q)
		return NULL;
	memset(q, 0, sizeof(*q));
	pthread_mutex_init(&q->loss_lock, NULL);
	q->event_fd = -1;
	q->slots = aligned_alloc(MK_LINE, (size_t)p->entries * MK_SLOT_BYTES);
	q->ready = calloc(p->entries, sizeof(*q->ready));
	q->early = calloc(p->entries, sizeof(*q->early));
	q->strikes = calloc(p->entries, sizeof(*q->strikes));
	q->asked = calloc(p->entries, sizeof(*q->asked));
	if (!q->slots || !q->ready || !q->early || !q->strikes || !q->asked) {
		mk_queue_free(q);
		return NULL;
	}
	memset(q->slots, 0, (size_t)p->entries * MK_SLOT_BYTES);
	q->mask = p->entries - 1;
	q->shift = (uint32_t)__builtin_ctz(p->entries);
	q->spin_ns = p->spin_ns;
	q->first_ticket = q->tail = q->head = p->first_ticket;
	q->next = q->limit = q->scan = p->first_ticket;
	q->failed_end = p->first_ticket;
	q->sample = q->horizon = p->first_ticket;
	return q;
}

static int index_take(struct mk_ctx *ctx, uint32_t *index)
{
	for (uint32_t i = 0; i < MK_QUEUES_MAX; i++) {
		uint64_t bit = 1ull << (i % 64);

		if (ctx->queue_index[i / 64] & bit)
			continue;
		ctx->queue_index[i / 64] |= bit;
		*index = i;
		return 0;
	}
	return mk_error_set(-ENOSPC, 0, "mk_queue_create",
			    "the context has %u queues, the most there can "
			    "be; destroy one first", MK_QUEUES_MAX);
}

static void index_give(struct mk_ctx *ctx, uint32_t index)
{
	ctx->queue_index[index / 64] &= ~(1ull << (index % 64));
}

/* Shared memory and engine; the caller holds ctx->lock. */
static int queue_open(struct mk_ctx *ctx, struct mk_queue *q)
{
	int r = mk_ctx_ready(ctx, "mk_queue_create");
	uint64_t mark;

	if (r)
		return r;
	r = index_take(ctx, &q->desc.index);
	if (r)
		return r;
	r = mk_region_take(ctx, &ctx->shared, q->desc.block_bytes,
			   &q->desc.block_offset, "mk_queue_create",
			   "shared_bytes");
	if (r)
		goto give_index;
	q->ctx = ctx;
	q->block = (void *)(ctx->region.base + q->desc.block_offset);
	q->ring = (void *)((unsigned char *)q->block + q->desc.slots_offset);
	q->answers = (void *)((unsigned char *)q->block +
			      q->desc.completions_offset);
	q->ext = (void *)((unsigned char *)q->block + q->desc.ext_offset);
	q->attention = &ctx->block->attention;
	q->opcode_args = ctx->opcode_args;
	block_init(q);
	do {
		mark = mk_load_relaxed(&ctx->restarts);
		r = ctx->ops->queue_attach(ctx->engine, &q->desc, -1);
	} while (r && mk_ctx_again(ctx, r, mark));
	if (r)
		goto give_region;
	pthread_mutex_lock(&ctx->list_lock);
	q->list = ctx->queues;
	ctx->queues = q;
	ctx->queue_count++;
	/* lost since we looked: mk_ctx_lost() may not have seen it */
	if (mk_load_acquire(&ctx->lost) == MK_LOST)
		mk_queue_close_lost(q);
	pthread_mutex_unlock(&ctx->list_lock);
	return 0;
give_region:
	mk_region_give(ctx, &ctx->shared, q->desc.block_offset,
		       q->desc.block_bytes);
give_index:
	index_give(ctx, q->desc.index);
	return r;
}

int mk_queue_create(struct mk_ctx *ctx, const struct mk_queue_params *params,
		    struct mk_queue **out)
{
	struct mk_queue_params p;
	struct mk_queue *q;
	int r = queue_params(&p, params);

	if (!r && (!ctx || !out))
		r = mk_error_null("mk_queue_create", ctx ? "out" : "ctx");
	if (r)
		return r;
	q = queue_alloc(&p);
	if (!q)
		return mk_error_set(-ENOMEM, ENOMEM, "mk_queue_create",
				    "no memory for a queue of %u entries",
				    p.entries);
	queue_layout(&q->desc, &p);
	pthread_mutex_lock(&ctx->lock);
	r = queue_open(ctx, q);
	pthread_mutex_unlock(&ctx->lock);
	if (r) {
		mk_queue_free(q);
		return r;
	}
	*out = q;
	return 0;
}

static void queue_unlink(struct mk_ctx *ctx, struct mk_queue *q)
{
	struct mk_queue **at = &ctx->queues;

	pthread_mutex_lock(&ctx->list_lock);
	while (*at != q)
		at = &(*at)->list;
	*at = q->list;
	ctx->queue_count--;
	mk_add_relaxed(&ctx->wakes, q->doorbells);
	pthread_mutex_unlock(&ctx->list_lock);
	index_give(ctx, q->desc.index);
	mk_region_give(ctx, &ctx->shared, q->desc.block_offset,
		       q->desc.block_bytes);
}

int64_t mk_queue_destroy(struct mk_queue *q, uint64_t timeout_ns)
{
	uint64_t deadline = mk_deadline_after(timeout_ns);
	struct mk_ctx *ctx;
	int64_t left;
	int r;

	if (!q)
		return 0;
	ctx = q->ctx;
	mk_queue_stop(q, timeout_ns);
	r = mk_ctx_lock_until(ctx, deadline, "mk_queue_destroy");
	if (r)
		return r;
	/* a worker process that is gone knows no queue; an engine that lives
	 * here may look at it for as long as it was not told */
	r = ctx->isolation == MK_ISOLATION_PROCESS &&
			    mk_load_acquire(&ctx->lost) ? 0 :
		ctx->ops->queue_detach(ctx->engine, q->desc.index,
				       mk_time_left(deadline));
	if (r == -MK_EDEVLOST)
		r = 0;
	/* counted when nobody can answer any more */
	left = (int64_t)mk_queue_unanswered(q);
	if (!r)
		queue_unlink(ctx, q);
	pthread_mutex_unlock(&ctx->lock);
	if (r)
		return r;
	mk_queue_free(q);
	return left;
}
