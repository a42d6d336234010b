/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots that do not end where they began: they wait for a counter, are shared
 * by tiles, go on as another handler, or made work that has not ended.
 *
 * Whoever ends the last piece of such a slot answers it. A slot that ran, and
 * that the block of no worker may name from now on, says so in its `begun`
 * word first: what became of it is told from these two when the process dies.
 */
#include <errno.h>

#include "base/clock.h"
#include "engine/cpu/cpu.h"
#include "module/builtin.h"

#define VISIT 32u          /* rounds of a visit */
#define TAKE_MOST 8u       /* pieces of made work taken at once */
#define SWEEP_NS 2000000u  /* how late a cancelled wait may be seen */
#define SPREAD_MOST 16u    /* workers woken for the tiles of a slot */

static struct cpu_worker *worker_of(struct mk_task *task)
{
	return (void *)((unsigned char *)task -
			offsetof(struct cpu_worker, task));
}

/* ---- jobs --------------------------------------------------------------- */

/* The slot in hand needs a job. It is `pending` until its handler ended. */
static struct cpu_job *job_open(struct cpu_worker *w, uint32_t pending)
{
	struct cpu_queue *q = w->queue;
	struct cpu_job *job = &q->jobs[w->task.ticket & q->mask];

	(void)mk_load_acquire(&job->state); /* of job_finish() */
	job->ticket = w->task.ticket;
	job->header = w->header;
	job->deadline_ns = w->task.deadline_ns;
	job->queue = q;
	job->root = job;
	mk_store_relaxed(&job->failure, 0);
	job->result = 0;
	job->settled = false;
	job->begun = false;
	mk_store_relaxed(&job->tiled, 0);
	job->value = 0;
	memset(&job->join, 0, sizeof(job->join));
	job->wait.on = false;
	job->told = NULL;
	mk_store_relaxed(&job->state, CPU_JOB_JOINS);
	mk_store_relaxed(&job->pending, pending);
	mk_add_seq(&w->engine->flow.active, 1);
	w->job = job;
	return job;
}

static void job_begun(struct cpu_job *job)
{
	struct cpu_queue *q = job->queue;

	job->begun = true;
	/* pairs with the caller's load when we are gone */
	mk_store_release(&q->ext[job->ticket & q->mask].begun,
			 MK_BEGUN | MK_MARK(job->ticket, q->shift));
}

/*
 * It is about to wait for a counter, and is all that is left of its slot: the
 * caller, who looks for what waits in vain, learns for which. Who reads what
 * is stored here sees that the word before was another.
 */
static void await_tell(struct cpu_job *job)
{
	struct cpu_queue *q = job->queue;
	uint64_t at = job->ticket & q->mask;
	struct mk_wire_ext *ext = &q->ext[at];
	uint32_t was = mk_load_relaxed(&ext->begun);

	if (mk_load_relaxed(&job->pending) != 1)
		return;
	was &= ~(MK_BEGUN_STEP - 1);
	mk_store_release(&q->answers[at].value,
			 (uint64_t)job->wait.counter.generation << 32 |
				 job->wait.counter.index);
	mk_store_release(&ext->wait_word, job->wait.word);
	mk_store_release(&ext->wait_value, job->wait.value);
	job->told = &ext->begun;
	mk_store_release(&ext->begun,
			 (was + MK_BEGUN_STEP) | MK_BEGUN | MK_BEGUN_WAITS |
				 MK_MARK(job->ticket, q->shift));
}

static void job_enter(struct cpu_worker *w, struct cpu_job *root)
{
	if (w->queue != root->queue ||
	    mk_load_relaxed(&w->block->queue) != root->queue->index)
		cpu_task_enter(w, root->queue);
	cpu_task_begin(w, root->queue, root->ticket);
	w->header = root->header;
	w->job = root;
}

static void slot_of(struct cpu_slot *slot, uint64_t header,
		    const struct cpu_made *run)
{
	cpu_slot_header(slot, header);
	slot->opcode = run->opcode;
	memcpy(slot->args, run->args, sizeof(slot->args));
}

static void run_set(struct cpu_made *run, uint32_t opcode, const void *args)
{
	run->opcode = (uint16_t)opcode;
	memcpy(run->args, args, sizeof(run->args));
}

/* What the handler asked for with MK_NEXT. */
static void next_set(struct cpu_worker *w, struct cpu_made *run,
		     struct cpu_wait *wait)
{
	struct mk_next *next = &w->task.next;

	run_set(run, next->opcode, next->args);
	wait->counter = next->counter;
	wait->word = next->word;
	wait->value = next->value;
	wait->on = next->kind == MK_NEXT_WAIT;
	next->kind = MK_NEXT_NONE;
}

/* Else it is a result like any other. */
static bool goes_on(const struct cpu_worker *w, int32_t result)
{
	return result == MK_NEXT && w->task.next.kind != MK_NEXT_NONE;
}

/* The job waits, and is no longer ours. */
static void park(struct cpu_worker *w, struct cpu_job *job)
{
	if (cpu_wait_park(&w->task, &w->engine->flow, w->home, job) > 1)
		cpu_attention_wake(w);
}

static void put_off(struct cpu_worker *w, struct cpu_job *job)
{
	mk_store_relaxed(&job->state, CPU_JOB_READY);
	cpu_list_push(&w->home->later, job);
}

/* ---- endings ------------------------------------------------------------ */

/*
 * Raise what the slot says. A counter that is not there makes it fail, and is
 * passed over: who waits for another of its counters has to learn of that, so
 * we look at all of them first.
 */
static int32_t raise_all(struct cpu_worker *w, const struct mk_wire_ext *ext,
			 int32_t result)
{
	struct mk_ref ref = { mk_load_relaxed(&ext->counters.index),
			      mk_load_relaxed(&ext->counters.generation) };
	uint32_t words[MK_RAISE_MAX];
	unsigned n, ready = 0;

	for (n = 0; n < MK_RAISE_MAX; n++) {
		int32_t r;

		words[n] = mk_load_relaxed(&ext->raise[n]);
		if (words[n] == MK_NO_COUNTER)
			break;
		r = cpu_counter_check(&w->task, ref, words[n]);
		if (r && result >= 0)
			result = r;
	}
	for (unsigned i = 0; i < n; i++)
		(void)cpu_counter_raise(&w->task, &w->engine->flow, w->home,
					ref, words[i], 1, result < 0, &ready);
	/* the first is ours */
	if (ready > 1)
		cpu_attention_wake(w);
	return result;
}

static void finish(struct cpu_worker *w, struct cpu_queue *q, uint64_t t,
		   const struct cpu_slot *slot, int32_t result, uint64_t value)
{
	if (slot->flags & MK_SLOT_RAISE)
		result = raise_all(w, &q->ext[t & q->mask], result);
	cpu_account(w, slot, result);
	cpu_answer(w, q, t, result, value);
}

/* All pieces of a job have ended, and it is ours. */
static void job_finish(struct cpu_worker *w, struct cpu_job *job)
{
	int32_t result = job->result, failure = mk_load_relaxed(&job->failure);
	struct cpu_queue *q = job->queue;
	uint64_t value = job->value, t = job->ticket;
	struct cpu_slot slot;

	cpu_slot_header(&slot, job->header);
	if (slot.tiles > 1 && !job->settled) {
		result = mk_load_relaxed(&job->late_result);
		value = job->join.summed ? job->join.sum :
					   mk_load_relaxed(&job->late_value);
	}
	if (failure && result >= 0)
		result = failure;
	/* some tiles were in time */
	if (result == -MK_EDEADLINE && mk_load_relaxed(&job->tiled))
		result = -MK_EOVERRUN;
	/* once it is answered the job is another slot's: the answer, the host
	 * and that slot order the two. Pairs with job_open(), for who cannot
	 * see the host do so */
	mk_store_release(&job->state, CPU_JOB_NONE);
	mk_sub_seq(&w->engine->flow.active, 1);
	finish(w, q, t, &slot, result, value);
}

/* A handler of a slot of one tile has run, or was refused. */
void cpu_flow_after(struct cpu_worker *w, struct cpu_queue *q,
		    const struct cpu_slot *slot, int32_t result)
{
	struct cpu_job *job = w->job;

	w->job = NULL;
	if (goes_on(w, result)) {
		if (!job)
			job = job_open(w, 1);
		w->job = NULL;
		job->value = w->task.value;
		next_set(w, &job->run, &job->wait);
		/* a fence that ran has had no effect */
		if (slot->opcode != MK_OP_FENCE && !job->begun)
			job_begun(job);
		if (job->wait.on) {
			await_tell(job);
			park(w, job);
		} else {
			put_off(w, job);
		}
		return;
	}
	if (!job) {
		finish(w, q, w->task.ticket, slot, result, w->task.value);
		return;
	}
	job->result = result;
	job->value = w->task.value;
	/* also of a slot of several tiles, none of which began */
	job->settled = true;
	if (cpu_job_join(job, 1))
		job_finish(w, job);
}

/* ---- tiles -------------------------------------------------------------- */

static void tile_end(struct cpu_worker *w, struct cpu_job *job, int32_t result)
{
	if (result < 0)
		cpu_job_fail(job, result);
	if (w->task.tile_last) {
		job->result = result;
		job->value = w->task.value;
		job->settled = true;
	} else {
		mk_store_relaxed(&job->late_result, result);
		mk_store_relaxed(&job->late_value, w->task.value);
	}
	if (cpu_job_join(job, 1))
		job_finish(w, job);
}

static void tile_run(struct cpu_worker *w, struct cpu_job *job, uint32_t tile,
		     uint32_t count)
{
	struct mk_task *task = &w->task;
	const struct mk_handler_entry *entry;
	struct cpu_slot slot;
	int32_t result = mk_load_relaxed(&job->failure);

	job_enter(w, job);
	task->tile_last = 0;
	if (!result) {
		slot_of(&slot, job->header, &job->run);
		task->tile = tile;
		task->tiles = count;
		task->join = &job->join;
		entry = cpu_find_entry(w->engine, slot.opcode);
		result = cpu_refuse(job->queue, task, &slot, entry);
		if (!result) {
			mk_store_relaxed(&job->tiled, 1);
			result = cpu_execute(w, job->queue, &slot, entry, 0);
			mk_count(&w->block->tiles, 1);
		}
		task->tile = 0;
		task->tiles = 1;
		task->join = NULL;
	}
	w->job = NULL;
	tile_end(w, job, result);
	task->tile_last = 0;
}

/* Run tiles of a job until there are none, or someone wants us. How many. */
static unsigned tiles_run(struct cpu_worker *w, struct cpu_job *job)
{
	struct mk_engine *e = w->engine;
	uint32_t tile, count;
	unsigned n = 0;

	while (n < VISIT && cpu_tile_take(job, &tile, &count)) {
		if (tile == count - 1)
			cpu_tile_unshare(&e->flow, job);
		tile_run(w, job, tile, count);
		n++;
		if (mk_load_relaxed(&e->epoch) != w->epoch)
			break;
	}
	return n;
}

static bool tiles_left(const struct cpu_job *job)
{
	uint64_t word = mk_load_seq(&job->tiles);

	return (uint32_t)word < (uint32_t)(word >> 32);
}

/* Those of a job that is in no table, so that nobody else looks after it. */
static void tiles_alone(struct cpu_worker *w, struct cpu_job *job)
{
	tiles_run(w, job);
	if (tiles_left(job)) {
		cpu_list_push(&w->home->later, job);
		return;
	}
	mk_store_relaxed(&job->state, CPU_JOB_JOINS);
	if (cpu_job_join(job, 1))
		job_finish(w, job);
}

static void tiles_begin(struct cpu_worker *w, struct cpu_job *job,
			uint32_t count)
{
	w->job = NULL;
	/* one more than there are: we, as long as we have it in hand */
	mk_store_relaxed(&job->pending, count + 1);
	job_begun(job);
	if (!cpu_tile_share(&w->engine->flow, job, count)) {
		tiles_alone(w, job);
		return;
	}
	cpu_attention_offer(w, count - 1 < SPREAD_MOST ? count - 1 :
							 SPREAD_MOST);
	tiles_run(w, job);
	if (cpu_job_join(job, 1))
		job_finish(w, job);
}

/* ---- slots -------------------------------------------------------------- */

static void wait_of(struct cpu_wait *wait, const struct mk_wire_ext *ext)
{
	wait->counter.index = mk_load_relaxed(&ext->counters.index);
	wait->counter.generation = mk_load_relaxed(&ext->counters.generation);
	wait->value = mk_load_relaxed(&ext->wait_value);
	wait->word = mk_load_relaxed(&ext->wait_word);
	wait->on = true;
}

void cpu_flow_slot(struct cpu_worker *w, struct cpu_queue *q,
		   const struct cpu_slot *slot)
{
	const struct mk_handler_entry *entry =
		cpu_find_entry(w->engine, slot->opcode);
	int32_t result = cpu_refuse(q, &w->task, slot, entry), r;
	struct cpu_job *job;
	struct cpu_wait wait;

	/* what a queue or a row does as a whole has no parts */
	if (!result && slot->tiles > 1 &&
	    (slot->opcode == MK_OP_FENCE || slot->opcode == MK_OP_ROW))
		result = -MK_ERANGE;
	if (!result && (slot->flags & MK_SLOT_WAIT)) {
		wait_of(&wait, &q->ext[w->task.ticket & q->mask]);
		r = cpu_wait_look(&w->task, &wait);
		if (!r) {
			job = job_open(w, 1);
			w->job = NULL;
			job->wait = wait;
			run_set(&job->run, slot->opcode, slot->args);
			park(w, job);
			return;
		}
		result = r < 0 ? r : 0;
	}
	if (!result && slot->tiles > 1) {
		job = job_open(w, 1);
		run_set(&job->run, slot->opcode, slot->args);
		tiles_begin(w, job, slot->tiles);
		return;
	}
	result = cpu_execute(w, q, slot, entry, result);
	cpu_flow_after(w, q, slot, result);
}

/* A slot's job that was ready: begin, or go on; it is ours. */
static void resume(struct cpu_worker *w, struct cpu_job *job)
{
	const struct mk_handler_entry *entry;
	struct cpu_slot slot;
	int32_t result, r;

	if (mk_load_relaxed(&job->state) == CPU_JOB_TILES) {
		tiles_alone(w, job);
		return;
	}
	mk_store_relaxed(&job->state, CPU_JOB_JOINS);
	job_enter(w, job);
	slot_of(&slot, job->header, &job->run);
	entry = cpu_find_entry(w->engine, slot.opcode);
	result = cpu_refuse(job->queue, &w->task, &slot, entry);
	if (result == -MK_EDEADLINE && job->begun)
		result = -MK_EOVERRUN;
	if (!result && job->wait.on) {
		r = cpu_wait_look(&w->task, &job->wait);
		if (!r) {
			w->job = NULL;
			if (job->begun)
				await_tell(job);
			park(w, job);
			return;
		}
		result = r < 0 ? r : 0;
	}
	job->wait.on = false;
	if (!result && slot.tiles > 1) {
		tiles_begin(w, job, slot.tiles);
		return;
	}
	w->task.value = job->value;
	result = cpu_execute(w, job->queue, &slot, entry, result);
	cpu_flow_after(w, job->queue, &slot, result);
}

/* ---- made work ---------------------------------------------------------- */

/* Pieces of one slot that ended, told of together. */
struct ended {
	struct cpu_job *root;
	uint32_t n;
};

static void ended_tell(struct cpu_worker *w, struct ended *ended)
{
	if (ended->root && cpu_job_join(ended->root, ended->n))
		job_finish(w, ended->root);
	ended->root = NULL;
	ended->n = 0;
}

static void ended_add(struct cpu_worker *w, struct ended *ended,
		      struct cpu_job *root, struct cpu_home *from,
		      int32_t result)
{
	if (result < 0)
		cpu_job_fail(root, result);
	mk_count(&w->block->spawned_ended, 1);
	cpu_home_release(from, 1);
	if (ended->root != root)
		ended_tell(w, ended);
	ended->root = root;
	ended->n++;
}

/* Run a piece, which came from the ring of a home, or waited. */
static void piece_run(struct cpu_worker *w, struct cpu_home *from,
		      struct cpu_made *made, int32_t refused,
		      struct ended *ended)
{
	struct cpu_flow *f = &w->engine->flow;
	const struct mk_handler_entry *entry;
	struct cpu_job *root = made->root, *job;
	struct cpu_wait wait;
	struct cpu_slot slot;
	int32_t result;

	job_enter(w, root);
	slot_of(&slot, root->header, made);
	entry = cpu_find_entry(w->engine, slot.opcode);
	result = cpu_refuse(root->queue, &w->task, &slot, entry);
	if (result == -MK_EDEADLINE)
		result = -MK_EOVERRUN;
	if (!result)
		result = refused;
	if (!result)
		result = cpu_execute(w, root->queue, &slot, entry, 0);
	w->job = NULL;
	if (!goes_on(w, result)) {
		ended_add(w, ended, root, from, result);
		return;
	}
	next_set(w, made, &wait);
	if (!wait.on) {
		cpu_home_put(f, from, made);
		return;
	}
	job = cpu_job_park(f);
	job->root = root;
	job->home = (uint32_t)(from - f->home);
	job->run = *made;
	job->wait = wait;
	park(w, job);
}

/* A piece that waited is ready; its job is ours. */
static void piece_resume(struct cpu_worker *w, struct cpu_job *job)
{
	struct cpu_flow *f = &w->engine->flow;
	struct cpu_home *from = &f->home[job->home];
	struct cpu_job *root = job->root;
	struct cpu_made made = job->run;
	struct ended ended = { .root = NULL };
	struct cpu_slot slot;
	int32_t r;

	job_enter(w, root);
	w->job = NULL;
	slot_of(&slot, root->header, &made);
	r = cpu_wait_look(&w->task, &job->wait);
	if (!r && !cpu_refuse(root->queue, &w->task, &slot,
			      cpu_find_entry(w->engine, slot.opcode))) {
		park(w, job);
		return;
	}
	cpu_job_unpark(f, job);
	piece_run(w, from, &made, r < 0 ? r : 0, &ended);
	ended_tell(w, &ended);
}

/* Would several of them take no time? */
static unsigned take_how_many(const struct cpu_worker *w)
{
	uint32_t opcode = mk_load_relaxed(&w->block->opcode) % MK_OPCODES;

	return mk_load_relaxed(&w->engine->ops[opcode].quick) == CPU_UNKNOWN ?
		       1 : TAKE_MOST;
}

static unsigned pieces_run(struct cpu_worker *w, struct cpu_home *from)
{
	struct cpu_made made[TAKE_MOST];
	struct ended ended = { .root = NULL };
	unsigned n = cpu_home_take(&w->engine->flow, from, made,
				   take_how_many(w));

	for (unsigned i = 0; i < n; i++)
		piece_run(w, from, &made[i], 0, &ended);
	ended_tell(w, &ended);
	return n;
}

/* ---- what may run ------------------------------------------------------- */

static bool over(const struct cpu_job *job, uint64_t now_ns)
{
	const struct cpu_job *root = job->root;
	const struct cpu_queue *q = root->queue;

	return now_ns > root->deadline_ns ||
	       mk_load_relaxed(&q->block->mode) & MK_MODE_CANCEL ||
	       mk_load_relaxed(&q->control->shutdown) ||
	       mk_load_acquire(&q->ext[root->ticket & q->mask].cancel) ==
		       (0x10000u | MK_MARK(root->ticket, q->shift));
}

/* What waits is told of raises alone. Failures, deadlines and cancellations
 * are looked for now and then. */
static void sweep(struct cpu_worker *w)
{
	struct cpu_flow *f = &w->engine->flow;
	uint32_t wanted = mk_load_seq(&f->sweep);
	uint32_t begun = mk_load_relaxed(&f->swept);
	uint64_t now = mk_now_ns(), last = mk_load_relaxed(&f->swept_ns);

	if (wanted != begun) {
		if (!mk_cas_seq(&f->swept, &begun, wanted))
			return;
	} else if (now - last < SWEEP_NS ||
		   !mk_cas_relaxed(&f->swept_ns, &last, now)) {
		return;
	}
	if (cpu_wait_sweep(&w->task, f, w->home, over, now) > 1)
		cpu_attention_wake(w);
}

static bool ready_run(struct cpu_worker *w, struct cpu_home *from)
{
	struct cpu_job *job = cpu_list_take(&from->ready, &w->home->ready);

	if (!job)
		return false;
	if (job->root == job)
		resume(w, job);
	else
		piece_resume(w, job);
	return true;
}

static unsigned shares_run(struct cpu_worker *w)
{
	struct cpu_flow *f = &w->engine->flow;
	unsigned n = 0;

	for (unsigned i = 0; i < CPU_SHARES && !n; i++) {
		struct cpu_job *job = mk_load_acquire(&f->shares[i]);

		if (job)
			n = tiles_run(w, job);
	}
	return n;
}

/* Some of what another has. */
static unsigned steal(struct cpu_worker *w)
{
	struct cpu_flow *f = &w->engine->flow;
	unsigned n = 0;

	for (uint32_t i = 1; i < f->homes && !n; i++) {
		struct cpu_home *h = &f->home[(w->index + i) % f->homes];

		n = ready_run(w, h);
		if (!n && f->mode == MK_MADE_STEAL)
			n = pieces_run(w, h);
		/* it has no time for what it put off */
		if (!n && mk_load_seq(&h->later)) {
			cpu_home_turn(h);
			n = ready_run(w, h);
		}
	}
	return n;
}

unsigned cpu_flow_serve(struct cpu_worker *w)
{
	struct cpu_flow *f = &w->engine->flow;
	unsigned did = 0, n;

	if (!mk_load_relaxed(&f->active))
		return 0;
	if (mk_load_relaxed(&f->waiting))
		sweep(w);
	for (unsigned i = 0; i < VISIT; i++) {
		n = ready_run(w, w->home);
		n += pieces_run(w, w->home);
		n += shares_run(w);
		if (!n)
			n = steal(w);
		did += n;
		if (!n || mk_load_relaxed(&w->engine->epoch) != w->epoch)
			break;
	}
	if (!mk_load_relaxed(&w->home->ready))
		cpu_home_turn(w->home);
	cpu_tell(w);
	return did;
}

bool cpu_flow_has_work(const struct cpu_worker *w)
{
	const struct mk_engine *e = w->engine;
	const struct cpu_flow *f = &e->flow;

	if (!mk_load_seq(&f->active))
		return false;
	for (uint32_t i = 0; i < f->homes; i++) {
		const struct cpu_home *h = &f->home[i];
		bool own = h == w->home;

		if (mk_load_seq(&h->ready))
			return true;
		if ((own || f->mode == MK_MADE_STEAL) && cpu_home_has(h))
			return true;
		if ((own || mk_load_seq(&e->workers[i].away)) &&
		    mk_load_seq(&h->later))
			return true;
	}
	for (unsigned i = 0; i < CPU_SHARES; i++) {
		const struct cpu_job *job = mk_load_seq(&f->shares[i]);

		if (job && tiles_left(job))
			return true;
	}
	return false;
}

/* ---- what handlers call ------------------------------------------------- */

static int32_t flow_check(const struct mk_task *task, uint32_t opcode,
			  uint32_t bytes)
{
	const struct mk_engine *e = task->engine;
	uint32_t takes = opcode < MK_OPCODES ?
				 mk_load_relaxed(&e->flow.takes[opcode]) : 0;

	if (!takes)
		return -MK_EOPCODE;
	return bytes == takes - 1 ? 0 : -MK_EARGS;
}

/* A home with room for one more, or NULL. */
static struct cpu_home *home_for(struct cpu_worker *w)
{
	struct cpu_flow *f = &w->engine->flow;

	for (uint32_t i = 0; i < f->homes; i++) {
		uint32_t at = f->mode == MK_MADE_FIXED ? w->turn++ :
							 w->index + i;
		struct cpu_home *h = &f->home[at % f->homes];

		if (cpu_home_reserve(f, h))
			return h;
	}
	return NULL;
}

static int32_t flow_spawn(struct mk_task *task, uint32_t opcode,
			  const void *args, uint32_t bytes)
{
	struct cpu_worker *w = worker_of(task);
	struct cpu_flow *f = &w->engine->flow;
	int32_t r = flow_check(task, opcode, bytes);
	struct cpu_made made = { .opcode = (uint16_t)opcode };
	struct cpu_home *h;

	if (r)
		return r;
	h = home_for(w);
	if (!h)
		return -MK_EFULL;
	if (!w->job)
		job_open(w, 1);
	/* one that waited has its job, and has not begun before now */
	if (!w->job->begun)
		job_begun(w->job);
	made.root = w->job;
	if (bytes)
		memcpy(made.args, args, bytes);
	mk_add_seq(&w->job->pending, 1);
	cpu_home_put(f, h, &made);
	mk_count(&w->block->spawned, 1);
	if (f->mode == MK_MADE_FIXED)
		cpu_attention_call(w, (uint32_t)(h - f->home));
	else
		cpu_attention_offer(w, 1);
	return 0;
}

static int32_t flow_raise(struct mk_task *task, struct mk_ref ref,
			  uint32_t word, uint64_t n)
{
	struct cpu_worker *w = worker_of(task);
	unsigned ready = 0;
	int32_t r = cpu_counter_raise(task, &w->engine->flow, w->home, ref,
				      word, n, false, &ready);

	if (ready)
		cpu_attention_offer(w, ready);
	return r;
}

static const struct mk_flow_calls calls = {
	.spawn = flow_spawn,
	.raise = flow_raise,
	.check = flow_check,
};

int cpu_flow_init(struct mk_engine *e)
{
	for (uint32_t i = 0; i < MK_OPCODE_USER; i++) {
		const struct mk_handler_entry *entry = mk_builtin_find(i);

		if (entry)
			e->flow.takes[i] = (uint8_t)(entry->arg_bytes + 1);
	}
	return cpu_jobs_init(&e->flow, e->config.workers, e->config.made_mode,
			     e->config.made_entries);
}

void cpu_flow_worker(struct cpu_worker *w)
{
	w->home = &w->engine->flow.home[w->index];
	w->turn = w->index;
	w->task.flow = &calls;
}
