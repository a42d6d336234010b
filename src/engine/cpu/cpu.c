/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the CPU engine: set-up, tear-down, and the tables that the
 * workers read. */
#include "engine/cpu/cpu.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/futex.h"
#include "base/order.h"
#include "module/builtin.h"

#define SYNC_LEAST_NS 10000000u

/* ---- probe ------------------------------------------------------------ */

static void cpu_name(char *out, size_t room)
{
	char line[256];
	FILE *f = fopen("/proc/cpuinfo", "re");

	snprintf(out, room, "CPU");
	while (f && fgets(line, sizeof(line), f)) {
		char *value = strchr(line, ':');

		if (strncmp(line, "model name", 10) != 0 || !value)
			continue;
		value[strcspn(value, "\n")] = '\0';
		snprintf(out, room, "%s", value + 2);
		break;
	}
	if (f)
		fclose(f);
}

static int cpu_probe(struct mk_engine_info *info)
{
	uint32_t device = info->device;
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

	memset(info, 0, sizeof(*info));
	info->device = device;
	snprintf(info->name, sizeof(info->name), "cpu");
	if (device) {
		info->available = -MK_EENGINE;
		snprintf(info->reason, sizeof(info->reason),
			 "device is %u, but the cpu engine has device 0 only",
			 device);
		return 1;
	}
	cpu_name(info->device_name, sizeof(info->device_name));
	info->units = cpu_core_count();
	info->workers = info->units;
	info->memory_bytes = (uint64_t)pages * (uint64_t)page;
	info->warp_lanes = 1;
	return 0;
}

/* ---- quiet points ----------------------------------------------------- */

static void wake_all(struct mk_engine *e)
{
	mk_futex_wake(&e->epoch, INT_MAX);
	mk_add_seq(&e->block->bell, 1);
	mk_futex_wake(&e->block->bell, INT_MAX);
}

/*
 * Wait until every worker passed a quiet point after this call began. What
 * the caller took out of the tables before is then used by nobody.
 */
static int cpu_sync(struct mk_engine *e, uint64_t timeout_ns)
{
	/* a worker that runs nothing has to have the time to say so, or a
	 * caller that polls would never see the end */
	uint64_t deadline = mk_deadline_after(timeout_ns < SYNC_LEAST_NS ?
						      SYNC_LEAST_NS :
						      timeout_ns);
	uint32_t target = mk_add_seq(&e->epoch, 1) + 1;
	struct timespec nap = { 0, 10000 };

	wake_all(e);
	for (uint32_t i = 0; i < e->config.workers; i++) {
		struct cpu_worker *w = &e->workers[i];

		while (w->started && !mk_load_acquire(&w->exited) &&
		       (int32_t)(mk_load_acquire(&w->epoch) - target) < 0) {
			if (!mk_time_left(deadline))
				return mk_error_set(
					-ETIME, 0, "cpu engine",
					"worker %u still runs opcode %u", i,
					mk_load_relaxed(&w->block->opcode));
			nanosleep(&nap, NULL);
			if (nap.tv_nsec < 1000000)
				nap.tv_nsec *= 2;
		}
	}
	return 0;
}

/* The same, and nobody begins anything until cpu_let_go(). */
static int cpu_hold(struct mk_engine *e, uint64_t timeout_ns)
{
	mk_store_seq(&e->paused, 1);
	return cpu_sync(e, timeout_ns);
}

/* `was`: what e->paused was before. */
static void cpu_let_go(struct mk_engine *e, uint32_t was)
{
	mk_store_seq(&e->paused, was);
	mk_add_seq(&e->epoch, 1);
	wake_all(e);
}

/* ---- open, start, close ----------------------------------------------- */

static void queue_free(struct cpu_queue *q)
{
	if (!q)
		return;
	if (q->event_fd >= 0)
		close(q->event_fd);
	if (q->jobs)
		munmap(q->jobs, (q->mask + 1ull) * sizeof(struct cpu_job));
	free(q);
}

static void cpu_free(struct mk_engine *e)
{
	for (uint32_t i = 0; e->workers && i < e->config.workers; i++)
		free(e->workers[i].task.scratch);
	for (uint32_t i = 0; i < MK_QUEUES_MAX; i++)
		queue_free(e->queues[i]);
	cpu_jobs_fini(&e->flow);
	mk_cpu_modules_fini(&e->modules);
	free(e->workers);
	if (e->windows)
		munmap(e->windows,
		       e->config.windows * sizeof(struct mk_window));
	free(e);
}

static int no_memory(const char *what)
{
	return mk_error_set(-ENOMEM, ENOMEM, "cpu engine",
			    "no memory for %s", what);
}

static int worker_init(struct mk_engine *e, uint32_t i)
{
	struct cpu_worker *w = &e->workers[i];
	uint32_t bytes = (e->config.scratch_bytes + 63) & ~63u;
	struct mk_task *task = &w->task;

	w->engine = e;
	w->index = i;
	w->silent = e->config.heartbeat == MK_HEARTBEAT_OFF;
	w->block = (struct mk_worker_block *)(e->region.base +
					      e->region.workers_offset) + i;
	/* the worker before us may have died in a handler; counts go on */
	memset(w->block, 0, MK_OFFSETOF(struct mk_worker_block, slots));
	mk_store_release(&w->block->queue, MK_NO_QUEUE);
	task->beat = &w->block->beat;
	task->windows = e->windows;
	task->window_count = e->config.windows;
	task->worker = i;
	task->lanes = 1;
	task->tiles = 1;
	task->engine = e;
	task->scratch_bytes = e->config.scratch_bytes;
	cpu_flow_worker(w);
	task->scratch = aligned_alloc(64, bytes);
	return task->scratch ? 0 : -ENOMEM;
}

/* Opcodes that serve.c runs itself: the entry only says that they exist. */
static const struct mk_handler_entry mechanism;

static void ops_init(struct mk_engine *e)
{
	for (uint32_t i = 0; i < MK_OPCODES; i++) {
		e->ops[i].entry = mk_builtin_find(i);
		if (i <= MK_OP_CAS || i == MK_OP_PRINT || i == MK_OP_SHUTDOWN)
			e->ops[i].quick = CPU_QUICK_ALWAYS;
	}
	e->ops[MK_OP_FENCE].entry = &mechanism;
	e->ops[MK_OP_ROW].entry = &mechanism;
}

static int cpu_open(const struct mk_engine_config *config,
		    const struct mk_region *region, struct mk_engine **out)
{
	struct mk_engine *e = calloc(1, sizeof(*e));
	unsigned cores = cpu_core_count();
	void *windows;

	if (!e)
		return no_memory("the engine");
	e->config = *config;
	e->region = *region;
	e->block = (void *)region->base;
	e->spinners = cores > 1 ? cores / 2 : 1;
	if (mk_cpu_modules_init(&e->modules))
		goto fail;
	windows = mmap(NULL, config->windows * sizeof(struct mk_window),
		       PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (windows == MAP_FAILED)
		goto fail;
	e->windows = windows;
	e->workers = calloc(config->workers, sizeof(*e->workers));
	if (!e->workers)
		goto fail;
	if (cpu_flow_init(e))
		goto fail;
	for (uint32_t i = 0; i < config->workers; i++)
		if (worker_init(e, i))
			goto fail;
	ops_init(e);
	*out = e;
	return 0;
fail:
	cpu_free(e);
	return no_memory("the engine's workers and tables");
}

/* Tell the workers to end and wait for them. */
static int stop_workers(struct mk_engine *e, uint64_t timeout_ns)
{
	int r;

	mk_store_seq(&e->stop, 1);
	r = cpu_sync(e, timeout_ns);
	if (r)
		return r;
	for (uint32_t i = 0; i < e->config.workers; i++) {
		if (!e->workers[i].started)
			continue;
		pthread_join(e->workers[i].thread, NULL);
		e->workers[i].started = false;
	}
	mk_store_release(&e->block->state, MK_ENGINE_STOPPED);
	return 0;
}

static int cpu_start(struct mk_engine *e)
{
	sigset_t all, old;
	int r = 0;

	/* signals are the caller's business, but for those of a crash: they
	 * belong to the thread, and are for whoever handles them */
	sigfillset(&all);
	cpu_fault_signals(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (uint32_t i = 0; i < e->config.workers && !r; i++) {
		struct cpu_worker *w = &e->workers[i];

		r = pthread_create(&w->thread, NULL, cpu_worker_main, w);
		w->started = !r;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r) {
		stop_workers(e, UINT64_MAX);
		return mk_error_set(-r, r, "cpu engine",
				    "cannot start %u worker threads: %s; "
				    "lower mk_ctx_params.workers",
				    e->config.workers, strerror(r));
	}
	mk_store_release(&e->block->state, MK_ENGINE_READY);
	return 0;
}

static int cpu_close(struct mk_engine *e, uint64_t timeout_ns)
{
	int r = stop_workers(e, timeout_ns);

	if (!r)
		cpu_free(e);
	return r;
}

/* ---- queues ----------------------------------------------------------- */

static int cpu_queue_event_fd(struct mk_engine *e, uint32_t index, int fd)
{
	struct cpu_queue *q = index < MK_QUEUES_MAX ? e->queues[index] : NULL;
	int mine;

	if (!q)
		return mk_error_set(-MK_EPROTO, 0, "cpu engine",
				    "there is no queue %u", index);
	mine = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (mine < 0)
		return mk_error_set(-errno, errno, "cpu engine",
				    "cannot duplicate the event fd: %s",
				    strerror(errno));
	if (q->event_fd >= 0) {
		close(mine);
		return mk_error_set(-EALREADY, 0, "cpu engine",
				    "queue %u has an event fd", index);
	}
	mk_store_release(&q->event_fd, mine);
	return 0;
}

static int cpu_queue_attach(struct mk_engine *e,
			    const struct mk_queue_desc *d, int event_fd)
{
	static const uint32_t bursts[MK_PRIORITIES] = { 64, 32, 16, 8, 4 };
	unsigned char *base = e->region.base + d->block_offset;
	struct cpu_queue *q;
	void *jobs;
	int r;

	if (d->index >= MK_QUEUES_MAX || e->queues[d->index] ||
	    d->priority >= MK_PRIORITIES)
		return mk_error_set(-MK_EPROTO, 0, "cpu engine",
				    "queue index %u or priority %u is not "
				    "valid here", d->index, d->priority);
	q = calloc(1, sizeof(*q));
	if (!q)
		return no_memory("a queue");
	/* touched for slots that flow, and zero until then */
	jobs = mmap(NULL, d->entries * sizeof(struct cpu_job),
		    PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (jobs == MAP_FAILED) {
		free(q);
		return no_memory("the jobs of a queue");
	}
	q->jobs = jobs;
	q->event_fd = -1;
	q->block = (void *)base;
	q->ring = (void *)(base + d->slots_offset);
	q->answers = (void *)(base + d->completions_offset);
	q->ext = (void *)(base + d->ext_offset);
	q->mask = d->entries - 1;
	q->shift = (uint32_t)__builtin_ctz(d->entries);
	q->index = d->index;
	q->burst = bursts[d->priority];
	q->control = (void *)(base + d->control_offset);
	q->observables = (uint64_t *)(q->control + 1);
	q->observable_count = d->observables;
	q->log = (void *)(base + d->log_offset);
	q->log_capacity = d->log_records;
	q->io = d->io_offset ? (void *)(base + d->io_offset) : NULL;
	q->io_capacity = d->io_records;
	q->skip_until = d->skip_until;
	q->fence_floor = d->first_ticket - d->entries;
	mk_store_release(&e->queues[d->index], q);
	if (d->index >= e->queue_bound)
		mk_store_release(&e->queue_bound, d->index + 1);
	if (event_fd >= 0) {
		r = cpu_queue_event_fd(e, d->index, event_fd);
		if (r) {
			mk_store_seq(&e->queues[d->index], NULL);
			cpu_sync(e, UINT64_MAX);
			queue_free(q);
			return r;
		}
	}
	/* slots may have been published before: let someone look */
	mk_add_seq(&e->block->bell, 1);
	mk_futex_wake(&e->block->bell, 1);
	return 0;
}

static int cpu_queue_detach(struct mk_engine *e, uint32_t index,
			    uint64_t timeout_ns)
{
	struct cpu_queue *q = index < MK_QUEUES_MAX ? e->queues[index] : NULL;
	uint32_t was;
	int r;

	if (!q)
		return mk_error_set(-MK_EPROTO, 0, "cpu engine",
				    "there is no queue %u", index);
	mk_store_seq(&e->queues[index], NULL);
	was = mk_load_relaxed(&e->paused);
	r = cpu_hold(e, timeout_ns);
	if (r) {
		mk_store_seq(&e->queues[index], q);
		cpu_let_go(e, was);
		return r;
	}
	cpu_flow_purge(e, q);
	cpu_let_go(e, was);
	queue_free(q);
	return 0;
}

/* ---- buffers ---------------------------------------------------------- */

static int cpu_buffer_attach(struct mk_engine *e,
			     const struct mk_buffer_desc *d)
{
	struct mk_window *w;

	if (d->index >= e->config.windows || !d->generation ||
	    d->offset < e->region.shared_bytes ||
	    d->offset > e->region.total_bytes ||
	    d->bytes > e->region.total_bytes - d->offset)
		return mk_error_set(-MK_EPROTO, 0, "cpu engine",
				    "buffer %u at %llu, %llu bytes, lies "
				    "outside the heap", d->index,
				    (unsigned long long)d->offset,
				    (unsigned long long)d->bytes);
	w = &e->windows[d->index];
	w->base = (uintptr_t)(e->region.base + d->offset);
	w->bytes = d->bytes;
	w->flags = d->flags;
	mk_store_relaxed(&w->last, d->generation);
	mk_store_relaxed(&w->born, d->born);
	/* pairs with mk_window_at() */
	mk_store_release(&w->generation, d->generation);
	return 0;
}

static int cpu_buffer_detach(struct mk_engine *e, uint32_t index,
			     uint64_t timeout_ns)
{
	struct mk_window *w = &e->windows[index];
	uint32_t generation;
	int r;

	if (index >= e->config.windows || !w->generation)
		return mk_error_set(-MK_EPROTO, 0, "cpu engine",
				    "there is no buffer %u", index);
	generation = w->generation;
	mk_store_seq(&w->generation, 0);
	r = cpu_sync(e, timeout_ns);
	if (r)
		mk_store_release(&w->generation, generation);
	/* who waits for a counter of it never saw it reached */
	mk_add_seq(&e->flow.sweep, 1);
	if (mk_load_seq(&e->flow.waiting))
		wake_all(e);
	return r;
}

static int cpu_buffer_copy(struct mk_engine *e, uint32_t index,
			   uint64_t offset, uint64_t staging, uint64_t bytes,
			   uint32_t flags)
{
	(void)e, (void)index, (void)offset, (void)staging, (void)bytes;
	(void)flags;
	return mk_error_set(-EOPNOTSUPP, 0, "cpu engine",
			    "buffers are mapped; there is nothing to copy");
}

/* ---- modules ---------------------------------------------------------- */

static int cpu_module_open(struct mk_engine *e,
			   const struct mk_module_desc *d,
			   struct mk_handler_info *out, unsigned max,
			   unsigned *count)
{
	return mk_cpu_module_open(&e->modules, d, out, max, count);
}

static int cpu_module_bind(struct mk_engine *e, uint32_t id,
			   const struct mk_opcode_map *map, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (map[i].opcode < MK_OPCODE_USER ||
		    map[i].opcode >= MK_OPCODES ||
		    !mk_cpu_module_entry(&e->modules, id, map[i].name))
			return mk_error_set(-MK_ENOHANDLER, 0, "cpu engine",
					    "module %u has no handler "
					    "\"%.47s\" for opcode %u", id,
					    map[i].name, map[i].opcode);
	}
	for (unsigned i = 0; i < count; i++) {
		struct cpu_op *op = &e->ops[map[i].opcode];

		mk_store_relaxed(&op->quick, CPU_UNKNOWN);
		mk_store_relaxed(&op->runs, 0);
		op->module = id;
		mk_store_relaxed(&e->flow.takes[map[i].opcode],
				 (uint8_t)(mk_cpu_module_entry(&e->modules, id,
							       map[i].name)
						   ->arg_bytes + 1));
		mk_store_release(&op->entry,
				 mk_cpu_module_entry(&e->modules, id,
						     map[i].name));
	}
	return 0;
}

static void module_unbind(struct mk_engine *e, uint32_t id)
{
	for (uint32_t i = MK_OPCODE_USER; i < MK_OPCODES; i++) {
		if (!e->ops[i].entry || e->ops[i].module != id)
			continue;
		mk_store_relaxed(&e->flow.takes[i], 0);
		mk_store_seq(&e->ops[i].entry, NULL);
	}
}

/*
 * Take the opcodes away when no work that is queued, waits or was put off runs
 * them. What comes later is refused at the door, or ends with -MK_EOPCODE.
 */
static int module_leave(struct mk_engine *e, uint32_t id, uint64_t deadline)
{
	const struct timespec nap = { 0, 1000000 };
	uint32_t was = mk_load_relaxed(&e->paused);
	bool used;
	int r;

	for (;;) {
		r = cpu_hold(e, mk_time_left(deadline));
		used = !r && cpu_flow_uses(e, id);
		if (!used || !mk_time_left(deadline))
			module_unbind(e, id);
		cpu_let_go(e, was);
		if (r || !used)
			return r;
		if (!mk_time_left(deadline))
			return mk_error_set(-ETIME, 0, "cpu engine",
					    "work that waits, or that handlers "
					    "made, runs handlers of module %u",
					    id);
		nanosleep(&nap, NULL);
	}
}

static int cpu_module_close(struct mk_engine *e, uint32_t id,
			    uint64_t timeout_ns)
{
	int r = module_leave(e, id, mk_deadline_after(timeout_ns));

	return r ? r : mk_cpu_module_close(&e->modules, id);
}

/* ---- pause ------------------------------------------------------------ */

static int cpu_resume(struct mk_engine *e)
{
	mk_store_seq(&e->paused, 0);
	mk_add_seq(&e->epoch, 1);
	wake_all(e);
	mk_store_release(&e->block->state, MK_ENGINE_READY);
	return 0;
}

static int cpu_pause(struct mk_engine *e, uint64_t timeout_ns)
{
	int r;

	mk_store_seq(&e->paused, 1);
	r = cpu_sync(e, timeout_ns);
	if (r)
		cpu_resume(e);
	else
		mk_store_release(&e->block->state, MK_ENGINE_PAUSED);
	return r;
}

const struct mk_engine_ops mk_engine_cpu = {
	.name = "cpu",
	.traits = MK_TRAIT_HOST_MEMORY | MK_TRAIT_WAKES | MK_TRAIT_NAMES_ALL,
	.probe = cpu_probe,
	.open = cpu_open,
	.start = cpu_start,
	.close = cpu_close,
	.queue_attach = cpu_queue_attach,
	.queue_detach = cpu_queue_detach,
	.queue_event_fd = cpu_queue_event_fd,
	.buffer_attach = cpu_buffer_attach,
	.buffer_detach = cpu_buffer_detach,
	.buffer_copy = cpu_buffer_copy,
	.module_open = cpu_module_open,
	.module_bind = cpu_module_bind,
	.module_close = cpu_module_close,
	.pause = cpu_pause,
	.resume = cpu_resume,
};
