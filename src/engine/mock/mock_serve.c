/* SPDX-License-Identifier: Apache-2.0 */
/* The mock as a device: claim, run, answer, and do worse if told to. */
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/futex.h"
#include "base/order.h"
#include "engine/cpu/row.h"
#include "engine/mock/mock.h"
#include "module/builtin.h"

#define BATCH_MAX 64u
#define NAP_NS 20000

static uint16_t mark_of(uint64_t word)
{
	return (uint16_t)(word >> MK_MARK_SHIFT);
}

static void decode(const struct mk_wire_slot *wire, uint64_t spill,
		   struct mk_mock_slot *out)
{
	const uint64_t low = (1ull << MK_MARK_SHIFT) - 1;
	uint64_t header = wire->unit[0].lo;

	out->opcode = (uint16_t)header;
	out->tenant = (uint16_t)(header >> 16);
	out->priority = (uint8_t)(header >> 32);
	out->flags = (uint8_t)(header >> 40);
	out->tiles = (uint16_t)(header >> 48);
	out->torn = false;
	for (int unit = 1; unit < 4; unit++) {
		uint64_t hi = wire->unit[unit].hi;

		out->args[2 * unit - 2] = wire->unit[unit].lo;
		out->args[2 * unit - 1] = (hi & low) | spill << 48;
		spill >>= 16;
		out->torn |= mark_of(hi) != MK_MARK(out->ticket, 0);
	}
}

bool mk_mock_take(struct mock_queue *q, struct mk_mock_slot *out)
{
	uint64_t t = mk_load_relaxed(&q->block->claim);
	const struct mk_wire_slot *wire = &q->ring[t & q->mask];
	/* pairs with the stamp of mk_queue_submit() */
	uint64_t hi = mk_load_acquire(&wire->unit[0].hi);

	if (mark_of(hi) != MK_MARK(t, q->shift))
		return false;
	mk_store_seq(&q->block->claim, t + 1);
	/* decode() compares marks: give it the lap as the ticket */
	out->ticket = t >> q->shift;
	decode(wire, hi, out);
	out->ticket = t;
	return true;
}

void mk_mock_put(struct mock_queue *q, uint64_t ticket, uint64_t head,
		 uint64_t value)
{
	struct mk_wire_completion *c = &q->answers[ticket & q->mask];
	uint64_t one = 1;

	mk_store_relaxed(&c->value, value);
	/* pairs with the reaper's load-acquire, and Dekker with its sleep */
	mk_store_seq(&c->head, head);
	if (mk_load_seq(&q->block->waiters)) {
		mk_add_seq(&q->block->event, 1);
		mk_futex_wake(&q->block->event, INT_MAX);
	}
	if (q->event_fd >= 0 && mk_exchange_seq(&q->block->armed, 0) &&
	    write(q->event_fd, &one, sizeof(one)) < 0)
		return; /* it is full, so it is readable */
}

static const struct mk_handler_entry *find_entry(void *arg, uint32_t opcode)
{
	(void)arg;
	return mk_builtin_find(opcode);
}

static void task_init(struct mk_engine *e, struct mock_queue *q,
		      const struct mk_mock_slot *slot, struct mk_task *task)
{
	unsigned char *block = (unsigned char *)q->block;

	memset(task, 0, sizeof(*task));
	task->windows = e->windows;
	task->window_count = e->config.windows;
	task->ticket = slot->ticket;
	task->deadline_ns = UINT64_MAX;
	task->scratch = e->scratch;
	task->scratch_bytes = e->config.scratch_bytes;
	task->lanes = task->tiles = 1;
	task->control = (void *)(block + q->desc.control_offset);
	task->observables = (uint64_t *)(task->control + 1);
	task->observable_count = q->desc.observables;
	task->log = (void *)(block + q->desc.log_offset);
	task->log_capacity = q->desc.log_records;
	task->io = q->desc.io_offset ? (void *)(block + q->desc.io_offset) :
				       NULL;
	task->io_capacity = q->desc.io_records;
}

/* Run a slot as a good engine would. */
static int32_t run(struct mk_engine *e, struct mock_queue *q,
		   const struct mk_mock_slot *slot, uint64_t *value)
{
	const struct mk_handler_entry *entry = mk_builtin_find(slot->opcode);
	const struct mk_row_env env = { .find = find_entry };
	struct mk_task task;
	int32_t result;

	*value = 0;
	if (mk_load_relaxed(&q->block->mode) & MK_MODE_CANCEL)
		return -MK_ECANCELLED;
	if (slot->opcode == MK_OP_FENCE)
		return MK_OK; /* one at a time: all earlier ones have ended */
	task_init(e, q, slot, &task);
	if (slot->opcode == MK_OP_ROW)
		result = mk_cpu_row_run(&task, (const void *)slot->args, &env);
	else if (entry)
		result = entry->run(&task, slot->args);
	else
		result = -MK_EOPCODE;
	*value = task.value;
	return result;
}

static void nap(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / 1000000000u),
			      (long)(ns % 1000000000u) };

	nanosleep(&t, NULL);
}

static void serve_slot(struct mk_engine *e, struct mock_queue *q,
		       const struct mk_mock_slot *slot)
{
	const struct mk_mock_script *s = &e->script;
	uint64_t n = ++e->served, value = 0;
	uint16_t mark = MK_MARK(slot->ticket, q->shift);
	int32_t result;

	if (s->drop_every && n % s->drop_every == 0)
		return;
	result = s->fail_every && n % s->fail_every == 0 ?
			 s->fail_code : run(e, q, slot, &value);
	if (s->delay_ns)
		nap(s->delay_ns);
	for (unsigned i = 0; i <= s->repeat; i++)
		mk_mock_put(q, slot->ticket, mk_mock_head(mark, 0, result),
			    value);
}

/* Claim a batch and answer it, first or last first. */
static unsigned serve_queue(struct mk_engine *e, struct mock_queue *q)
{
	struct mk_mock_slot batch[BATCH_MAX];
	unsigned want = e->script.reverse ? e->script.reverse : 1, n = 0;

	if (want > BATCH_MAX)
		want = BATCH_MAX;
	while (n < want && mk_mock_take(q, &batch[n]))
		n++;
	for (unsigned i = 0; i < n; i++)
		serve_slot(e, q, &batch[e->script.reverse ? n - 1 - i : i]);
	return n;
}

static bool serve_all(struct mk_engine *e, unsigned *served)
{
	bool go_on;

	*served = 0;
	pthread_mutex_lock(&e->lock);
	go_on = !e->stop;
	for (unsigned i = 0; go_on && i < MK_QUEUES_MAX; i++)
		if (e->queues[i] && !e->paused && !e->script.manual)
			*served += serve_queue(e, e->queues[i]);
	pthread_mutex_unlock(&e->lock);
	return go_on;
}

void *mk_mock_main(void *engine)
{
	unsigned served;

	while (serve_all(engine, &served))
		if (!served)
			nap(NAP_NS);
	return NULL;
}
