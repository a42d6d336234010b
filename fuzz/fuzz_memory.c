/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that writes what it likes into the shared memory of a live engine:
 * control blocks, rings, cancel words, control buffers, logs, IO queues, the
 * blocks of the workers, and the buffers that handlers are given. The engine
 * must neither crash, nor touch what lies between and beside all that, nor
 * become so that it cannot be stopped; and once the memory is put right again
 * it must answer right.
 *
 * The engine is the cpu engine as the worker process runs it, here in this
 * process, so that a sanitizer sees what it does.
 *
 * Input: steps, one after the other, each a byte that says what (the rest of
 * it chooses) and then what that takes. Missing bytes are 0.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <megakernel.h>

#include "base/clock.h"
#include "base/futex.h"
#include "base/order.h"
#include "engine/engine.h"

#include "require.h"

#define WORKERS 2u
#define QUEUES 2u
#define BUFFERS 6u
#define ENTRIES 16u
#define WORDS 16u
#define RECORDS 8u
#define PAGE 4096u
#define QUEUE_BYTES (3 * PAGE)
#define SHARED (12 * PAGE) /* context, queue, queue, and gaps between */
#define TOTAL (SHARED + 16 * PAGE)
#define STEPS_MOST 64u
#define BOUND_NS UINT64_C(20000000000) /* longer is a hang */
#define CANARY 0xc7

static const struct mk_engine_ops *ops = &mk_engine_cpu;
static struct mk_region region;
static struct mk_engine *engine;
static struct mk_queue_desc queue[QUEUES];
static struct mk_buffer_desc buffer[BUFFERS];
static unsigned char pristine[TOTAL];
static int event = -1;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- input ------------------------------------------------------------- */

static const uint8_t *input, *input_end;

static uint8_t take(void)
{
	return input < input_end ? *input++ : 0;
}

static uint64_t take_word(unsigned bytes)
{
	uint64_t word = 0;

	for (unsigned i = 0; i < bytes; i++)
		word |= (uint64_t)take() << (8 * i);
	return word;
}

/* ---- the memory -------------------------------------------------------- */

/* What a client may write: its context block, queues and buffers. The rest
 * belongs to nobody, and stays as it is. */
static const struct span {
	uint32_t at, bytes;
} owned[] = {
	{ 0, 2 * PAGE },                /* context and worker blocks */
	{ 3 * PAGE, QUEUE_BYTES },      /* queue 0 */
	{ 7 * PAGE, QUEUE_BYTES },      /* queue 1 */
	{ SHARED + 1 * PAGE, PAGE },    /* row: control */
	{ SHARED + 3 * PAGE, PAGE },    /* row: ring */
	{ SHARED + 5 * PAGE, PAGE },    /* row: log */
	{ SHARED + 7 * PAGE, PAGE },    /* row: IO queue */
	{ SHARED + 9 * PAGE, 2 * PAGE },  /* plain */
	{ SHARED + 12 * PAGE, PAGE },   /* read-only */
};

#define OWNED (sizeof(owned) / sizeof(owned[0]))

static bool is_owned(uint32_t at)
{
	for (unsigned i = 0; i < OWNED; i++)
		if (at - owned[i].at < owned[i].bytes)
			return true;
	return false;
}

/* Between two pages that nobody may touch at all. */
static void make_region(void)
{
	unsigned char *around;
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	REQUIRE(fd >= 0 && !ftruncate(fd, TOTAL));
	around = mmap(NULL, TOTAL + 2 * 16 * PAGE, PROT_NONE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(around != MAP_FAILED);
	region.base = mmap(around + 16 * PAGE, TOTAL, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_FIXED, fd, 0);
	REQUIRE(region.base != MAP_FAILED);
	region.fd = fd;
	region.shared_bytes = SHARED;
	region.total_bytes = TOTAL;
	memset(region.base, 0, TOTAL);
	for (uint32_t at = 0; at < TOTAL; at++)
		if (!is_owned(at))
			region.base[at] = CANARY;
}

static void header(void *at, uint32_t magic, uint64_t bytes)
{
	struct mk_wire_header h = { magic, MK_ABI_VERSION, MK_FINGERPRINT,
				    (uint32_t)bytes };

	memcpy(at, &h, sizeof(h));
}

static void make_context(void)
{
	struct mk_context_block *b = (void *)region.base;

	_Static_assert(sizeof(*b) + WORKERS * sizeof(struct mk_worker_block) <=
			       2 * PAGE, "the context block has its pages");
	header(b, MK_MAGIC_CONTEXT,
	       sizeof(*b) + WORKERS * sizeof(struct mk_worker_block));
	b->total_bytes = TOTAL;
	b->shared_bytes = SHARED;
	b->workers = WORKERS;
	b->workers_offset = sizeof(*b);
}

static uint32_t part(uint64_t *at, uint64_t bytes)
{
	uint64_t here = *at;

	*at += (bytes + 63) & ~UINT64_C(63);
	REQUIRE(*at <= QUEUE_BYTES);
	return (uint32_t)here;
}

static void make_queue(unsigned i)
{
	struct mk_queue_desc *d = &queue[i];
	struct mk_queue_block *b;
	uint64_t at = 0;

	d->index = i;
	d->priority = i ? MK_PRIORITY_LOW : MK_PRIORITY_HIGH;
	d->block_offset = owned[1 + i].at;
	d->entries = ENTRIES;
	d->observables = WORDS;
	d->log_records = d->io_records = RECORDS;
	part(&at, sizeof(*b));
	d->slots_offset = part(&at, ENTRIES * MK_SLOT_BYTES);
	d->completions_offset = part(&at, ENTRIES * MK_COMPLETION_BYTES);
	d->ext_offset = part(&at, ENTRIES * sizeof(struct mk_wire_ext));
	d->control_offset = part(&at, sizeof(struct mk_control) + 8 * WORDS);
	d->log_offset = part(&at, sizeof(struct mk_debug_log) +
			     RECORDS * sizeof(struct mk_debug_record));
	d->io_offset = part(&at, sizeof(struct mk_io_queue) +
			    RECORDS * sizeof(struct mk_io_record));
	d->block_bytes = at;
	b = (void *)(region.base + d->block_offset);
	header(b, MK_MAGIC_QUEUE, at);
	b->entries = ENTRIES;
	header(region.base + d->block_offset + d->control_offset,
	       MK_MAGIC_CONTROL, sizeof(struct mk_control) + 8 * WORDS);
}

static void make_buffers(void)
{
	static const struct mk_control_params cp = { .size = sizeof(cp),
						     .observables = 4 };
	struct mk_ring_slot slot[4];

	for (unsigned i = 0; i < BUFFERS; i++)
		buffer[i] = (struct mk_buffer_desc){
			.index = i + 1, .generation = 3, .born = 2,
			.offset = owned[3 + i].at, .bytes = owned[3 + i].bytes,
			.flags = i == 5 ? MK_BUFFER_READ_ONLY : 0,
		};
	memset(slot, 0, sizeof(slot));
	for (unsigned i = 0; i < 4; i++)
		slot[i].opcode = (uint16_t)(i * 2);
	REQUIRE(mk_control_encode(&cp, region.base + buffer[0].offset, PAGE) >
		0);
	REQUIRE(mk_ring_encode_empty(8, region.base + buffer[1].offset, PAGE) >
		0);
	REQUIRE(!mk_ring_publish(region.base + buffer[1].offset,
				 (uint64_t)mk_ring_bytes(8), slot, 4));
	REQUIRE(mk_log_encode_empty(8, region.base + buffer[2].offset, PAGE) >
		0);
	REQUIRE(mk_io_encode_empty(8, region.base + buffer[3].offset, PAGE) >
		0);
}

static void attach_queues(void)
{
	for (unsigned i = 0; i < QUEUES; i++)
		REQUIRE(!ops->queue_attach(engine, &queue[i],
					   i ? -1 : event));
}

static struct mk_queue_block *block_of(unsigned q)
{
	return (void *)(region.base + queue[q].block_offset);
}

/* Bounded, whatever stands in the memory. What the client's library does when
 * it stops a queue comes first: a slot may wait for that. */
static void detach_queues(void)
{
	for (unsigned i = 0; i < QUEUES; i++)
		mk_store_seq(&block_of(i)->mode, MK_MODE_CANCEL);
	for (unsigned i = 0; i < QUEUES; i++)
		REQUIRE(!ops->queue_detach(engine, i, BOUND_NS));
}

static void setup(void)
{
	struct mk_engine_config config = {
		.workers = WORKERS, .windows = 16, .scratch_bytes = 4096,
		.idle_ns = 5000, .shared_bytes = SHARED, .total_bytes = TOTAL,
	};

	make_region();
	make_context();
	for (unsigned i = 0; i < QUEUES; i++)
		make_queue(i);
	make_buffers();
	event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	REQUIRE(event >= 0);
	REQUIRE(!ops->open(&config, &region, &engine));
	REQUIRE(!ops->start(engine));
	for (unsigned i = 0; i < BUFFERS; i++)
		REQUIRE(!ops->buffer_attach(engine, &buffer[i]));
	REQUIRE(!ops->pause(engine, BOUND_NS));
	/* with the workers at rest: what they count is as it should be */
	memcpy(pristine, region.base, TOTAL);
	attach_queues();
	REQUIRE(!ops->resume(engine));
}

/* ---- what a client does ------------------------------------------------ */

static void ring(void)
{
	struct mk_context_block *b = (void *)region.base;

	mk_add_seq(&b->bell, 1);
	mk_futex_wake(&b->bell, INT32_MAX);
}

static void store(uint32_t at, uint8_t byte)
{
	if (is_owned(at))
		mk_store_relaxed(&region.base[at], byte);
}

static void scribble(unsigned how)
{
	const struct span *s = &owned[take() % OWNED];
	uint32_t at = s->at + (uint32_t)(take_word(2) % s->bytes);
	unsigned n = 1 + take() % 64;
	uint8_t fill = take();

	for (unsigned i = 0; i < n; i++)
		store(at + i, how & 1 ? fill : take());
}

/* Words that mean something. */
static void write_word(unsigned which)
{
	struct mk_context_block *b = (void *)region.base;
	struct mk_queue_block *q = block_of(which & 1);
	unsigned char *base = (unsigned char *)q;
	const struct mk_queue_desc *d = &queue[which & 1];
	struct mk_control *c = (void *)(base + d->control_offset);
	struct mk_debug_log *log = (void *)(base + d->log_offset);
	struct mk_io_queue *io = (void *)(base + d->io_offset);
	struct mk_worker_block *w =
		(void *)(region.base + sizeof(*b) +
			 (which & 1) * sizeof(struct mk_worker_block));
	uint64_t *const wide[] = {
		&b->attention, &q->claim, &q->claim, &w->ticket, &log->cursor,
		&io->posted, &io->taken, &c->done, &b->total_bytes, &w->slots,
	};
	uint32_t *const narrow[] = {
		&b->bell, &b->state, &q->mode, &q->waiters, &q->armed,
		&q->event, &c->shutdown, &w->running, &q->entries,
		&q->slots_offset, &c->observables, &log->capacity,
		&io->capacity, &b->workers, &b->workers_offset, &w->queue,
	};
	uint8_t at = take();
	uint64_t word = take_word(8);

	if (at & 0x80)
		mk_store_seq(wide[(at & 0x7f) % 10], word);
	else
		mk_store_seq(narrow[at % 16], (uint32_t)word);
}

/* A slot where the engine will look next, or nearby. */
static void publish(unsigned which)
{
	struct mk_queue_block *q = block_of(which & 1);
	uint64_t t = mk_load_seq(&q->claim) + (take() & 3);
	uint64_t mark = (uint64_t)MK_MARK(t, 4) << MK_MARK_SHIFT;
	uint8_t opcode = take(), form = take();
	struct mk_op_row row;
	struct mk_wire_slot *s =
		(struct mk_wire_slot *)((unsigned char *)q +
					queue[which & 1].slots_offset) +
		t % ENTRIES;
	uint64_t args[6];

	for (unsigned i = 0; i < 6; i++)
		args[i] = take_word(form & 1 ? 8 : 2);
	if (opcode == MK_OP_ROW || form & 2) {
		struct mk_ref *ref = &row.control;

		/* handles that are right, mostly */
		for (unsigned i = 0; i < 4; i++)
			ref[i] = (struct mk_ref){ i + 1 + (form >> 6),
						  form & 4 ? 2 : 3 };
		memcpy(args, &row, form & 2 ? 16 : sizeof(row));
	}
	mk_store_relaxed(&s->unit[0].lo,
			 opcode | (uint64_t)(form & 8 ? take_word(6) :
					     MK_PRIORITY_NORMAL << 16) << 16);
	for (unsigned i = 0; i < 3; i++) {
		mk_store_relaxed(&s->unit[i + 1].lo, args[2 * i]);
		mk_store_relaxed(&s->unit[i + 1].hi,
				 (args[2 * i + 1] & 0xffffffffffffu) | mark);
	}
	mk_store_seq(&s->unit[0].hi, args[1] >> 48 | args[3] >> 48 << 16 |
					     args[5] >> 48 << 32 | mark);
	ring();
}

/* What comes over the socket beside it. */
static void command(unsigned which)
{
	uint32_t index = which % BUFFERS;

	switch (which / BUFFERS % 4) {
	case 0:
		if (!ops->pause(engine, 1000))
			REQUIRE(!ops->resume(engine));
		break;
	case 1:
		if (!ops->buffer_detach(engine, index + 1, 1000))
			REQUIRE(!ops->buffer_attach(engine, &buffer[index]));
		break;
	case 2:
		if (!ops->queue_detach(engine, index & 1, 1000))
			REQUIRE(!ops->queue_attach(engine, &queue[index & 1],
						   -1));
		break;
	default:
		ring();
	}
}

/* Is there a slot that the engine should take? */
static bool has_work(unsigned i)
{
	struct mk_queue_block *q = block_of(i);
	const struct mk_wire_slot *s =
		(const void *)((unsigned char *)q + queue[i].slots_offset);
	uint64_t t = mk_load_seq(&q->claim);

	return mk_load_seq(&s[t % ENTRIES].unit[0].hi) >> MK_MARK_SHIFT ==
	       MK_MARK(t, 4);
}

/* Give the engine the time to take what there is, but not for ever: what we
 * wrote may keep it from doing so. */
static void breathe(uint64_t limit_ns)
{
	const struct timespec t = { 0, 20000 };
	uint64_t deadline = mk_deadline_after(limit_ns);

	do {
		ring();
		nanosleep(&t, NULL);
	} while ((has_work(0) || has_work(1)) && mk_time_left(deadline));
}

static void step(void)
{
	uint8_t what = take();

	switch (what & 7) {
	case 0:
	case 1:
		scribble(what >> 3);
		break;
	case 2:
		write_word(what >> 3);
		break;
	case 3:
	case 4:
	case 5:
		publish(what >> 3);
		break;
	case 6:
		command(what >> 3);
		break;
	default:
		breathe((what >> 3) * UINT64_C(20000));
	}
}

/* ---- what must be so afterwards ---------------------------------------- */

static void check_canaries(void)
{
	for (uint32_t at = 0; at < TOTAL; at++)
		if (!is_owned(at))
			REQUIRE(region.base[at] == CANARY);
}

/* The memory is put right: a slot gets its answer. */
static void check_works(void)
{
	struct mk_queue_block *b = block_of(1);
	unsigned char *base = (unsigned char *)b;
	struct mk_wire_slot *s = (void *)(base + queue[1].slots_offset);
	struct mk_wire_completion *c =
		(void *)(base + queue[1].completions_offset);
	uint64_t mark = UINT64_C(1) << MK_MARK_SHIFT;
	uint64_t deadline = mk_deadline_after(BOUND_NS);

	for (unsigned i = 1; i < 4; i++)
		mk_store_relaxed(&s->unit[i].hi, mark);
	mk_store_relaxed(&s->unit[1].lo, 0x1234567);
	mk_store_relaxed(&s->unit[0].lo,
			 MK_OP_NOP | (uint64_t)MK_PRIORITY_NORMAL << 32);
	mk_store_seq(&s->unit[0].hi, mark);
	ring();
	while (mk_load_acquire(&c->head) >> MK_MARK_SHIFT != 1) {
		REQUIRE(mk_time_left(deadline));
		breathe(0);
	}
	REQUIRE((int32_t)mk_load_relaxed(&c->head) == MK_OK);
	REQUIRE(mk_load_relaxed(&c->value) == 0x1234567);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!engine)
		setup();
	input = data;
	input_end = data + size;
	for (unsigned i = 0; i < STEPS_MOST && input < input_end; i++)
		step();
	breathe(2000000);
	detach_queues();
	REQUIRE(!ops->pause(engine, BOUND_NS));
	check_canaries();
	memcpy(region.base, pristine, TOTAL);
	attach_queues();
	REQUIRE(!ops->resume(engine));
	check_works();
	return 0;
}
