/* SPDX-License-Identifier: Apache-2.0 */
/* Work that flows, seen from a command: no worker runs meanwhile, so all the
 * lists are ours. */
#include "engine/cpu/cpu.h"

struct purge {
	struct cpu_flow *flow;
	const struct cpu_queue *queue;
};

static void drop(struct purge *p, struct cpu_job *job)
{
	if (job->root == job)
		return;
	cpu_home_release(&p->flow->home[job->home], 1);
	cpu_job_unpark(p->flow, job);
}

/* How many of the queue's were in the list. */
static uint32_t purge_list(struct purge *p, struct cpu_job **list)
{
	struct cpu_job *job = cpu_list_take_all(list), *next;
	struct cpu_job *keep = NULL;
	uint32_t dropped = 0;

	/* back in their order: once turned over, then once more */
	for (; job; job = next) {
		next = mk_load_relaxed(&job->next);
		if (job->root->queue != p->queue) {
			cpu_list_push(&keep, job);
			continue;
		}
		drop(p, job);
		dropped++;
	}
	for (job = keep; job; job = next) {
		next = mk_load_relaxed(&job->next);
		cpu_list_push(list, job);
	}
	return dropped;
}

static void purge_ring(struct purge *p, struct cpu_home *h)
{
	int64_t n = mk_load_relaxed(&h->items);
	struct cpu_made made;

	for (; n > 0 && cpu_home_take(p->flow, h, &made, 1); n--) {
		if (made.root->queue == p->queue)
			cpu_home_release(h, 1);
		else
			cpu_home_put(p->flow, h, &made);
	}
}

void cpu_flow_purge(struct mk_engine *e, struct cpu_queue *q)
{
	struct cpu_flow *f = &e->flow;
	struct purge p = { f, q };
	uint64_t open = 0;

	if (!mk_load_relaxed(&f->active))
		return;
	for (unsigned i = 0; i < CPU_BUCKETS; i++)
		mk_sub_seq(&f->waiting, purge_list(&p, &f->buckets[i]));
	for (uint32_t i = 0; i < f->homes; i++) {
		purge_list(&p, &f->home[i].ready);
		purge_list(&p, &f->home[i].later);
		purge_ring(&p, &f->home[i]);
	}
	for (unsigned i = 0; i < CPU_SHARES; i++) {
		struct cpu_job *job = mk_load_relaxed(&f->shares[i]);

		if (job && job->queue == q)
			mk_store_relaxed(&f->shares[i], NULL);
	}
	for (uint32_t i = 0; i <= q->mask; i++)
		open += mk_load_relaxed(&q->jobs[i].state) != CPU_JOB_NONE;
	mk_sub_seq(&f->active, open);
}

static bool of_module(const struct mk_engine *e, uint32_t opcode,
		      uint32_t module)
{
	const struct cpu_op *op = &e->ops[opcode % MK_OPCODES];

	return op->entry && op->module == module;
}

static bool job_uses(const struct mk_engine *e, const struct cpu_job *job,
		     uint32_t module)
{
	uint32_t state = mk_load_relaxed(&job->state);

	return state > CPU_JOB_JOINS && of_module(e, job->run.opcode, module);
}

static bool ring_uses(const struct mk_engine *e, uint32_t home,
		      uint32_t module)
{
	const struct cpu_flow *f = &e->flow;
	const struct cpu_home *h = &f->home[home];
	uint64_t tail = mk_load_relaxed(&h->tail);

	for (uint64_t at = mk_load_relaxed(&h->head); at != tail; at++)
		if (of_module(e, f->places[((uint64_t)home << f->shift) +
					   (at & (f->entries - 1))].opcode,
			      module))
			return true;
	return false;
}

bool cpu_flow_uses(struct mk_engine *e, uint32_t module)
{
	const struct cpu_flow *f = &e->flow;
	uint64_t parked = mk_load_relaxed(&f->fresh_parked);

	if (!mk_load_relaxed(&f->active))
		return false;
	for (uint32_t i = 0; i < f->homes; i++)
		if (ring_uses(e, i, module))
			return true;
	for (uint64_t i = 0; i < parked; i++)
		if (job_uses(e, &f->parked[i], module))
			return true;
	for (uint32_t i = 0; i < MK_QUEUES_MAX; i++) {
		const struct cpu_queue *q = e->queues[i];

		for (uint32_t k = 0; q && k <= q->mask; k++)
			if (job_uses(e, &q->jobs[k], module))
				return true;
	}
	return false;
}
