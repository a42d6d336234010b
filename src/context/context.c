/* SPDX-License-Identifier: Apache-2.0 */
/* Making, describing and ending contexts. */
#include "context/context.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/order.h"
#include "base/params.h"
#include "buffer/buffer.h"
#include "context/evidence.h"
#include "context/keeper.h"
#include "context/loss.h"
#include "context/paths.h"
#include "context/quiesce.h"
#include "context/region.h"
#include "dispatch/dispatcher.h"
#include "module/builtin.h"
#include "module/module.h"
#include "queue/queue.h"
#include "worker/proxy.h"

#define WORKERS_MAX 1024u
#define BUFFERS_MAX (1u << 20)
#define SCRATCH_MAX (64u << 20)
#define SHARED_MAX (1ull << 32) /* offsets in a block are 32-bit */
#define RESTARTS_MAX (1u << 30)
#define HANG_LEAST_NS 1000000u
#define GRACE_LEAST_NS 50000000u /* a thread may wait so long for its core */
#define NS_PER_S 1000000000ull

static int bad(const char *field, uint64_t value, const char *limit)
{
	return mk_error_set(-EINVAL, 0, "mk_ctx_create",
			    "params.%s is %llu, must be %s", field,
			    (unsigned long long)value, limit);
}

static uint64_t machine_memory(void)
{
	long pages = sysconf(_SC_PHYS_PAGES);
	long page = sysconf(_SC_PAGESIZE);

	return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page :
				       1ull << 30;
}

/* As much as the machine has, or as the process may have: a file's size is
 * limited, and so may the address space be, where other things live too. */
static uint64_t default_heap(uint64_t shared)
{
	uint64_t most = machine_memory(), file = mk_file_size_limit();
	struct rlimit space;

	file = file > shared ? (file - shared) & ~(MK_REGION_GRAIN - 1ull) : 0;
	if (most > file)
		most = file;
	if (!getrlimit(RLIMIT_AS, &space) && space.rlim_cur != RLIM_INFINITY &&
	    most > space.rlim_cur / 4)
		most = space.rlim_cur / 4;
	return most > MK_REGION_GRAIN ? most : MK_REGION_GRAIN;
}

/* What happens when something goes wrong. */
static int loss_params(struct mk_ctx_params *p)
{
	bool process = p->isolation == MK_ISOLATION_PROCESS;
	bool given_grace = p->grace_ns;

	if (!p->recovery)
		p->recovery = process ? MK_RECOVERY_BUDGET : MK_RECOVERY_OFF;
	if (!p->restarts_max)
		p->restarts_max = 16;
	if (!p->restart_window_ns)
		p->restart_window_ns = 60 * NS_PER_S;
	if (!p->restart_delay_ns)
		p->restart_delay_ns = 1000000;
	if (!p->hang_ns)
		p->hang_ns = 30 * NS_PER_S;
	if (!p->grace_ns)
		p->grace_ns = p->hang_ns / 10;
	if (!given_grace && p->grace_ns > NS_PER_S)
		p->grace_ns = NS_PER_S;
	if (!given_grace && p->grace_ns < GRACE_LEAST_NS)
		p->grace_ns = GRACE_LEAST_NS;
	if (p->recovery > MK_RECOVERY_BUDGET)
		return bad("recovery", p->recovery,
			   "a value of enum mk_recovery");
	if (p->recovery != MK_RECOVERY_OFF && !process)
		return bad("recovery", p->recovery,
			   "MK_RECOVERY_OFF or 0 with isolation none, which "
			   "has nothing that could be restarted");
	if (p->restarts_max > RESTARTS_MAX)
		return bad("restarts_max", p->restarts_max, "at most 2^30");
	if (p->restart_delay_ns > 3600 * NS_PER_S)
		return bad("restart_delay_ns", p->restart_delay_ns,
			   "at most an hour");
	if (p->hang_ns < HANG_LEAST_NS)
		return bad("hang_ns", p->hang_ns,
			   "1 ms or more, or 0 for 30 s");
	return 0;
}

/* Defaults and limits. What the engine decides is filled in later. */
static int ctx_params(struct mk_ctx_params *p,
		      const struct mk_ctx_params *given)
{
	const uint64_t grain = MK_REGION_GRAIN - 1;
	const uint32_t first = MK_OFFSETOF(struct mk_ctx_params, sm_count);
	const uint32_t second = MK_OFFSETOF(struct mk_ctx_params, recovery);
	const uint32_t third = MK_OFFSETOF(struct mk_ctx_params, made_mode);
	int r = mk_params_copy(p, sizeof(*p), first, given, "mk_ctx_create");

	if (r)
		return r;
	/* the struct as it is, or as it once was: nothing that ends within a
	 * field */
	if (p->size < sizeof(*p) && p->size != first && p->size != second &&
	    p->size != third)
		return bad("size", p->size, "sizeof(struct mk_ctx_params)");
	if (!p->isolation)
		p->isolation = MK_ISOLATION_PROCESS;
	if (!p->buffers_max)
		p->buffers_max = 65536;
	if (!p->scratch_bytes)
		p->scratch_bytes = 64u << 10;
	if (!p->shared_bytes)
		p->shared_bytes = 64u << 20;
	if (!p->idle_ns)
		p->idle_ns = 50000;
	if (!p->command_ns)
		p->command_ns = 30000000000u;
	if (p->isolation > MK_ISOLATION_NONE)
		return bad("isolation", p->isolation,
			   "a value of enum mk_isolation");
	if (p->workers > WORKERS_MAX)
		return bad("workers", p->workers,
			   "0 to 1024; 0 asks the machine");
	if (p->buffers_max > BUFFERS_MAX)
		return bad("buffers_max", p->buffers_max,
			   "at most 1,048,576, or 0 for 65,536");
	if (p->scratch_bytes > SCRATCH_MAX)
		return bad("scratch_bytes", p->scratch_bytes, "at most 64 MiB");
	if (p->shared_bytes > SHARED_MAX)
		return bad("shared_bytes", p->shared_bytes, "at most 4 GiB");
	if (p->heap_bytes > 1ull << 46)
		return bad("heap_bytes", p->heap_bytes, "at most 64 TiB");
	if (p->heartbeat > MK_HEARTBEAT_OFF)
		return bad("heartbeat", p->heartbeat,
			   "a value of enum mk_heartbeat");
	if (p->reserved)
		return bad("reserved", p->reserved, "0");
	if (p->made_mode > MK_MADE_FIXED)
		return bad("made_mode", p->made_mode,
			   "a value of enum mk_made_mode");
	if (!p->made_entries)
		p->made_entries = MK_MADE_ENTRIES;
	if (p->made_entries > MK_MADE_ENTRIES_MAX)
		return bad("made_entries", p->made_entries,
			   "at most 4,194,304, or 0 for 16,384");
	if (p->sm_percent > 100)
		return bad("sm_percent", p->sm_percent,
			   "1 to 100, or 0 for all");
	if (p->sm_percent && p->sm_count)
		return bad("sm_percent", p->sm_percent,
			   "0 where sm_count is given");
	p->shared_bytes = (p->shared_bytes + grain) & ~grain;
	if (!p->heap_bytes)
		p->heap_bytes = default_heap(p->shared_bytes);
	p->heap_bytes = (p->heap_bytes + grain) & ~grain;
	return loss_params(p);
}

/* What only a GPU has. */
static int ctx_native(const struct mk_ctx *ctx, const struct mk_ctx_params *p)
{
	const char *field = p->native_context ? "native_context" :
						"native_stream";

	if (!p->native_context && !p->native_stream)
		return 0;
	if (!(ctx->real->traits & MK_TRAIT_CUDA))
		return mk_error_set(-EINVAL, 0, "mk_ctx_create",
				    "params.%s is given, which engine %s has "
				    "no use for; leave it NULL", field,
				    ctx->real->name);
	if (p->isolation != MK_ISOLATION_NONE)
		return mk_error_set(-EINVAL, 0, "mk_ctx_create",
				    "params.%s is given, but the worker "
				    "process cannot use what is of this one; "
				    "set isolation to MK_ISOLATION_NONE",
				    field);
	return 0;
}

/* The budget of multiprocessors, and workers for it. */
static int ctx_budget(const struct mk_ctx *ctx,
		      const struct mk_engine_info *info,
		      struct mk_ctx_params *p)
{
	if (!(ctx->real->traits & MK_TRAIT_CUDA)) {
		p->sm_count = 0;
		return 0;
	}
	if (p->sm_count > info->units)
		return mk_error_set(-EINVAL, 0, "mk_ctx_create",
				    "params.sm_count is %u, must be at most "
				    "%u, the multiprocessors of device %u "
				    "(%s)", p->sm_count, info->units,
				    p->device, info->device_name);
	if (p->sm_percent)
		p->sm_count = (uint32_t)((uint64_t)info->units *
					 p->sm_percent / 100);
	if (p->sm_percent && !p->sm_count)
		p->sm_count = 1;
	if (!p->sm_count)
		p->sm_count = info->units;
	if (!p->workers)
		p->workers = (uint32_t)((uint64_t)info->workers *
					p->sm_count / info->units);
	if (!p->workers)
		p->workers = 1;
	return 0;
}

/* Ask the engine what it is and how many workers it wants. */
static int ctx_probe(struct mk_ctx *ctx, struct mk_ctx_params *p)
{
	struct mk_engine_info info;
	struct mk_error why;
	int r;

	ctx->real = mk_engine_find(p->engine);
	if (!ctx->real)
		return mk_error_set(-MK_EENGINE, 0, "mk_ctx_create",
				    "params.engine is \"%.32s\", which this "
				    "library does not have; see "
				    "mk_engine_list()", p->engine);
	memset(&info, 0, sizeof(info));
	info.device = p->device;
	r = ctx->real->probe(&info);
	if (r < 0)
		return r;
	if (info.available) {
		why = *mk_error_last();
		return mk_error_set(info.available, why.native,
				    "mk_ctx_create",
				    "engine %s, device %u: %.900s",
				    ctx->real->name, p->device, why.text);
	}
	r = ctx_native(ctx, p);
	if (!r)
		r = ctx_budget(ctx, &info, p);
	if (r)
		return r;
	if (!p->workers)
		p->workers = info.workers < WORKERS_MAX ? info.workers :
							  WORKERS_MAX;
	memcpy(ctx->device_name, info.device_name, sizeof(ctx->device_name));
	return 0;
}

static int no_memory(void)
{
	return mk_error_set(-ENOMEM, ENOMEM, "mk_ctx_create",
			    "no memory for a context");
}

/* The shared memory with its first block, and the spaces over it. */
static int ctx_region(struct mk_ctx *ctx, const struct mk_ctx_params *p)
{
	uint64_t workers_bytes =
		(uint64_t)p->workers * sizeof(struct mk_worker_block);
	uint64_t offset;
	int r;

	r = mk_region_create(&ctx->region, p->shared_bytes, p->heap_bytes);
	if (r)
		return r;
	if (mk_space_init(&ctx->shared, 0, p->shared_bytes, MK_REGION_GRAIN) ||
	    mk_space_init(&ctx->heap, p->shared_bytes, p->heap_bytes,
			  MK_REGION_GRAIN))
		return no_memory();
	r = mk_region_take(ctx, &ctx->shared,
			   sizeof(*ctx->block) + workers_bytes, &offset,
			   "mk_ctx_create", "shared_bytes");
	if (r)
		return r;
	ctx->block = (void *)ctx->region.base;
	mk_ctx_describe(ctx);
	ctx->workers = (void *)(ctx->region.base + sizeof(*ctx->block));
	ctx->region.workers_offset = sizeof(*ctx->block);
	ctx->loss.named = calloc((size_t)p->workers + 1,
				 sizeof(*ctx->loss.named));
	if (!ctx->loss.named)
		return no_memory();
	mk_workers_reset(ctx);
	return 0;
}

void mk_ctx_describe(struct mk_ctx *ctx)
{
	struct mk_context_block *b = ctx->block;

	b->header.magic = MK_MAGIC_CONTEXT;
	b->header.abi = MK_ABI_VERSION;
	b->header.fingerprint = MK_FINGERPRINT;
	b->header.bytes = (uint32_t)(sizeof(*b) + ctx->config.workers *
					     sizeof(struct mk_worker_block));
	b->total_bytes = ctx->region.total_bytes;
	b->shared_bytes = ctx->region.shared_bytes;
	b->workers = ctx->config.workers;
	b->workers_offset = sizeof(*b);
}

void mk_workers_reset(struct mk_ctx *ctx)
{
	for (uint32_t i = 0; i < ctx->config.workers; i++) {
		struct mk_worker_block *w = &ctx->workers[i];

		mk_store_relaxed(&w->running, 0);
		mk_store_relaxed(&w->ticket, 0);
		mk_store_relaxed(&w->started_ns, 0);
		mk_store_relaxed(&w->fault_signal, 0);
		mk_store_release(&w->queue, MK_NO_QUEUE);
	}
}

static void proxy_lost(void *arg, const struct mk_error *why)
{
	mk_ctx_lost(arg, why);
}

static void proxy_dying(void *arg)
{
	struct mk_ctx *ctx = arg;

	mk_store_relaxed(&ctx->counts.dying_ns, mk_now_ns());
}

/* What stood still when it was found to be stopped, or silent; it is about to
 * be killed for that. No slot is to blame. */
static void proxy_hung(void *arg, const struct mk_error *why,
		       uint64_t noticed_ns)
{
	struct mk_ctx *ctx = arg;

	mk_store_relaxed(&ctx->counts.hung_ns, noticed_ns);
	mk_loss_blame(ctx, MK_NO_QUEUE, 0, MK_EHUNG);
	mk_evidence_take(ctx, why);
}

static void proxy_starting(void *arg, struct mk_engine *e)
{
	struct mk_ctx *ctx = arg;

	pthread_mutex_lock(&ctx->kill_lock);
	ctx->victim = e;
	pthread_mutex_unlock(&ctx->kill_lock);
}

/* Isolation none: the engine says so itself. */
static void engine_failed(void *arg)
{
	struct mk_error why = { .code = -MK_EDEVLOST, .operation = "engine",
				.text = "the engine lost its device" };

	mk_ctx_lost(arg, &why);
}

int mk_ctx_start(struct mk_ctx *ctx)
{
	int r;

	if (ctx->isolation == MK_ISOLATION_PROCESS) {
		struct mk_proxy_params pp = {
			.engine = ctx->real->name,
			.worker_path = ctx->worker_path,
			.command_ns = ctx->command_ns,
			.commands = &ctx->commands,
			.lost = proxy_lost,
			.dying = proxy_dying,
			.hang_ns = ctx->hang_ns,
			.grace_ns = ctx->grace_ns,
			.hung = proxy_hung,
			.starting = proxy_starting,
			.arg = ctx,
		};

		mk_store_relaxed(&ctx->counts.dying_ns, 0);
		ctx->ops = &mk_engine_proxy;
		r = mk_proxy_open(&pp, &ctx->config, &ctx->region,
				  &ctx->engine);
		if (r)
			return r;
	} else {
		ctx->ops = ctx->real;
		ctx->region.failed = engine_failed;
		ctx->region.failed_arg = ctx;
		r = ctx->ops->open(&ctx->config, &ctx->region, &ctx->engine);
		if (r)
			return r;
		r = ctx->ops->start(ctx->engine);
		if (r) {
			struct mk_error why = *mk_error_last();

			ctx->ops->close(ctx->engine, MK_FOREVER);
			ctx->engine = NULL;
			return mk_error_copy(&why);
		}
	}
	mk_add_relaxed(&ctx->launches, 1);
	return 0;
}

/* What remains when no engine runs any more. */
static void ctx_free(struct mk_ctx *ctx)
{
	mk_keeper_free(ctx);
	mk_evidence_free(ctx);
	mk_module_forget_all(ctx);
	mk_buffers_fini(&ctx->buffers);
	mk_space_fini(&ctx->shared);
	mk_space_fini(&ctx->heap);
	mk_region_destroy(&ctx->region);
	mk_paths_free(ctx);
	free(ctx->loss.named);
	pthread_cond_destroy(&ctx->returned);
	pthread_mutex_destroy(&ctx->kill_lock);
	pthread_mutex_destroy(&ctx->names_lock);
	pthread_mutex_destroy(&ctx->lock);
	pthread_mutex_destroy(&ctx->error_lock);
	pthread_mutex_destroy(&ctx->list_lock);
	free(ctx);
}

static void builtins_add(struct mk_ctx *ctx)
{
	struct mk_handler_info info[64];
	int n = mk_builtin_list(info, 64);

	for (int i = 0; i < n && i < 64; i++) {
		ctx->handlers[info[i].opcode] = info[i];
		ctx->opcode_args[info[i].opcode] =
			(uint8_t)(info[i].arg_bytes + 1);
	}
}

static int ctx_open(struct mk_ctx *ctx, struct mk_ctx_params *p)
{
	int r = ctx_probe(ctx, p);

	if (r)
		return r;
	ctx->recovery = p->recovery;
	ctx->restarts_max = p->restarts_max;
	ctx->restart_window_ns = p->restart_window_ns;
	ctx->restart_delay_ns = p->restart_delay_ns;
	ctx->hang_ns = p->hang_ns;
	ctx->grace_ns = p->grace_ns;
	ctx->isolation = p->isolation;
	r = mk_paths_keep(ctx, p);
	if (r)
		return r;
	ctx->command_ns = p->command_ns;
	ctx->config.device = p->device;
	ctx->config.workers = p->workers;
	ctx->config.windows = p->buffers_max + 1; /* index 0 is none */
	ctx->config.scratch_bytes = p->scratch_bytes;
	ctx->config.idle_ns = p->idle_ns;
	ctx->config.heartbeat = p->heartbeat;
	ctx->config.made_mode = p->made_mode;
	ctx->config.made_entries = p->made_entries;
	ctx->config.shared_bytes = p->shared_bytes;
	ctx->config.total_bytes = p->shared_bytes + p->heap_bytes;
	ctx->config.sm_count = p->sm_count;
	ctx->config.native_context = (uintptr_t)p->native_context;
	ctx->config.native_stream = (uintptr_t)p->native_stream;
	r = ctx_region(ctx, p);
	if (r)
		return r;
	builtins_add(ctx);
	/* before there is anything to lose */
	r = mk_keeper_start(ctx);
	if (r)
		return r;
	r = mk_ctx_start(ctx);
	if (r) {
		struct mk_error why = *mk_error_last();

		mk_keeper_stop(ctx);
		mk_error_copy(&why);
	}
	return r;
}

int mk_ctx_create(const struct mk_ctx_params *params, struct mk_ctx **out)
{
	struct mk_ctx_params p;
	struct mk_ctx *ctx;
	int r = ctx_params(&p, params);

	if (!r && !out)
		r = mk_error_null("mk_ctx_create", "out");
	if (r)
		return r;
	ctx = calloc(1, sizeof(*ctx));
	if (!ctx)
		return no_memory();
	pthread_mutex_init(&ctx->lock, NULL);
	pthread_mutex_init(&ctx->error_lock, NULL);
	pthread_mutex_init(&ctx->list_lock, NULL);
	pthread_mutex_init(&ctx->kill_lock, NULL);
	pthread_mutex_init(&ctx->names_lock, NULL);
	pthread_cond_init(&ctx->returned, NULL);
	r = ctx_open(ctx, &p);
	if (r) {
		ctx_free(ctx);
		return r;
	}
	*out = ctx;
	return 0;
}

/* Stop every queue, and wait for the slots that run. */
static void stop_queues(struct mk_ctx *ctx, uint64_t deadline)
{
	for (struct mk_queue *q = ctx->queues; q; q = q->list)
		mk_queue_stop(q, 0);
	for (struct mk_queue *q = ctx->queues; q; q = q->list)
		mk_queue_drain(q, mk_time_left(deadline));
}

static bool unanswered(const struct mk_ctx *ctx)
{
	for (const struct mk_queue *q = ctx->queues; q; q = q->list)
		if (mk_queue_unanswered(q))
			return true;
	return false;
}

/* Isolation none, and a handler still runs: the context stays valid. */
static int destroy_later(struct mk_ctx *ctx, int code)
{
	struct mk_error why = *mk_error_last();

	mk_keeper_free(ctx);
	if (mk_keeper_start(ctx))
		ctx->keeper = NULL; /* it does without */
	mk_error_copy(&why);
	return code;
}

int64_t mk_ctx_destroy(struct mk_ctx *ctx, uint64_t timeout_ns)
{
	uint64_t deadline = mk_deadline_after(timeout_ns);
	int64_t left = 0;
	int r = 0;

	if (!ctx)
		return 0;
	mk_keeper_stop(ctx);
	if (ctx->isolation == MK_ISOLATION_PROCESS &&
	    mk_load_acquire(&ctx->lost))
		mk_ctx_drop_engine(ctx);
	mk_quiesce_end(ctx, mk_time_left(deadline));
	stop_queues(ctx, deadline);
	/* a slot that still runs has had its time */
	if (ctx->isolation == MK_ISOLATION_PROCESS && unanswered(ctx))
		mk_ctx_drop_engine(ctx);
	if (ctx->engine)
		r = ctx->ops->close(ctx->engine, mk_time_left(deadline));
	if (r)
		return destroy_later(ctx, r);
	ctx->engine = NULL;
	mk_dispatcher_free(ctx->dispatcher);
	while (ctx->queues) {
		struct mk_queue *q = ctx->queues;

		ctx->queues = q->list;
		/* counted when nobody can answer any more */
		left += (int64_t)mk_queue_unanswered(q);
		mk_queue_free(q);
	}
	/* what the keeper had no time for, or nobody saw but us */
	mk_evidence_write(ctx, true);
	ctx_free(ctx);
	return left;
}

int mk_ctx_info(struct mk_ctx *ctx, struct mk_ctx_info *out)
{
	if (!ctx || !out)
		return mk_error_null("mk_ctx_info", ctx ? "out" : "ctx");
	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&ctx->lock);
	strncpy(out->engine, ctx->real->name, sizeof(out->engine) - 1);
	memcpy(out->device_name, ctx->device_name, sizeof(out->device_name));
	out->isolation = ctx->isolation;
	out->workers = ctx->config.workers;
	if (ctx->isolation == MK_ISOLATION_PROCESS && ctx->engine)
		out->worker_pid = mk_proxy_pid(ctx->engine);
	out->state = mk_load_acquire(&ctx->lost);
	out->recovery = ctx->recovery;
	out->hang_ns = ctx->hang_ns;
	out->grace_ns = ctx->grace_ns;
	out->queues = ctx->queue_count;
	out->buffers = ctx->buffers.live;
	for (unsigned i = 0; i < MK_OPCODES; i++)
		out->handlers += ctx->opcode_args[i] != 0;
	out->shared_bytes = ctx->region.shared_bytes;
	out->shared_used = ctx->shared.used;
	out->heap_bytes = ctx->region.total_bytes - ctx->region.shared_bytes;
	out->heap_used = ctx->heap.used;
	out->abi = MK_ABI_VERSION;
	out->fingerprint = MK_FINGERPRINT;
	out->sm_count = ctx->config.sm_count;
	pthread_mutex_unlock(&ctx->lock);
	return 0;
}

uint64_t mk_ctx_launches(const struct mk_ctx *ctx)
{
	return ctx->real->traits & MK_TRAIT_CUDA ?
		       mk_load_relaxed(&ctx->block->launches) :
		       mk_load_relaxed(&ctx->launches);
}

static void add_words(uint64_t *to, const uint64_t *from, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		to[i] += mk_load_relaxed(&from[i]);
}

static void loss_stats(const struct mk_loss_counts *c,
		       struct mk_ctx_stats *out)
{
	out->losses = mk_load_relaxed(&c->losses);
	out->crashes = mk_load_relaxed(&c->crashes);
	out->hangs = mk_load_relaxed(&c->hangs);
	out->deaths = mk_load_relaxed(&c->deaths);
	out->restarts_failed = mk_load_relaxed(&c->restarts_failed);
	out->replayed = mk_load_relaxed(&c->replayed);
	out->faulted = mk_load_relaxed(&c->faulted);
	out->hung = mk_load_relaxed(&c->hung);
	out->overrun = mk_load_relaxed(&c->overrun);
	out->may_run = mk_load_relaxed(&c->may_run);
	out->not_run = mk_load_relaxed(&c->not_run);
	out->poisoned = mk_load_relaxed(&c->poisoned);
	out->lost_ns = mk_load_relaxed(&c->lost_ns);
	out->hung_ns = mk_load_relaxed(&c->hung_ns);
	out->recovered_ns = mk_load_relaxed(&c->recovered_ns);
	out->recovery_last_ns = mk_load_relaxed(&c->last_ns);
	out->recovery_max_ns = mk_load_relaxed(&c->max_ns);
	for (unsigned i = 0; i < MK_STAGES; i++)
		out->recovery_stage_ns[i] = mk_load_relaxed(&c->stage_ns[i]);
}

int mk_ctx_stats(struct mk_ctx *ctx, struct mk_ctx_stats *out)
{
	if (!ctx || !out)
		return mk_error_null("mk_ctx_stats", ctx ? "out" : "ctx");
	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < ctx->config.workers; i++) {
		const struct mk_worker_block *w = &ctx->workers[i];

		add_words(&out->slots, &w->slots, 1);
		add_words(&out->failed, &w->failed, 1);
		add_words(&out->cancelled, &w->cancelled, 1);
		add_words(&out->sleeps, &w->sleeps, 1);
		add_words(&out->wakes_engine, &w->wakes, 1);
		add_words(&out->spawned, &w->spawned, 1);
		add_words(&out->spawned_ended, &w->spawned_ended, 1);
		add_words(&out->tiles, &w->tiles, 1);
		add_words(out->by_tenant, w->tenant, MK_TENANTS);
		add_words(out->by_priority, w->priority, MK_PRIORITIES);
		add_words(out->by_opcode, w->opcodes, MK_OPCODES);
	}
	pthread_mutex_lock(&ctx->list_lock);
	out->wakes = mk_load_relaxed(&ctx->wakes);
	for (struct mk_queue *q = ctx->queues; q; q = q->list)
		out->wakes += mk_load_relaxed(&q->doorbells);
	pthread_mutex_unlock(&ctx->list_lock);
	out->launches = mk_ctx_launches(ctx);
	out->restarts = mk_load_relaxed(&ctx->restarts);
	out->commands = mk_load_relaxed(&ctx->commands);
	loss_stats(&ctx->counts, out);
	return 0;
}

void mk_ctx_handler_name(struct mk_ctx *ctx, uint32_t opcode,
			 char name[MK_HANDLER_NAME_BYTES])
{
	pthread_mutex_lock(&ctx->names_lock);
	memcpy(name, ctx->handlers[opcode % MK_OPCODES].name,
	       MK_HANDLER_NAME_BYTES);
	pthread_mutex_unlock(&ctx->names_lock);
	if (!name[0])
		memcpy(name, "?", 2);
}

int mk_ctx_deadline(struct mk_ctx *ctx, uint16_t opcode, uint64_t ns)
{
	uint8_t late = ns ? MK_OPCODE_LATE : 0, args;
	int r = 0;

	if (!ctx)
		return mk_error_null("mk_ctx_deadline", "ctx");
	pthread_mutex_lock(&ctx->lock);
	args = opcode < MK_OPCODES ?
		       ctx->opcode_args[opcode] & ~MK_OPCODE_LATE : 0;
	if (args) {
		mk_store_relaxed(&ctx->opcode_deadline[opcode], ns);
		mk_store_release(&ctx->opcode_args[opcode],
				 (uint8_t)(args | late));
	} else {
		r = mk_error_set(-MK_EOPCODE, 0, "mk_ctx_deadline",
				 "opcode is %u, which no loaded handler has; "
				 "see mk_handler_list()", opcode);
	}
	pthread_mutex_unlock(&ctx->lock);
	return r;
}

/* Wait until all workers look at the cancel words where there are any. */
static void modes_seen(struct mk_ctx *ctx)
{
	for (struct mk_queue *q = ctx->queues; q; q = q->list)
		if (mk_load_relaxed(&q->block->mode) & MK_MODE_CANCEL_SOME)
			mk_queue_mode(q, MK_MODE_CANCEL_SOME, UINT64_MAX);
}

int64_t mk_ctx_cancel(struct mk_ctx *ctx)
{
	int64_t n = 0;

	if (!ctx)
		return mk_error_null("mk_ctx_cancel", "ctx");
	pthread_mutex_lock(&ctx->list_lock);
	/* what has begun comes last: the workers that it sets free are not to
	 * find anything of another queue that was not asked yet */
	for (struct mk_queue *q = ctx->queues; q; q = q->list)
		n += mk_queue_cancel_waiting(q);
	modes_seen(ctx);
	for (struct mk_queue *q = ctx->queues; q; q = q->list)
		n += mk_queue_cancel_begun(q);
	modes_seen(ctx);
	pthread_mutex_unlock(&ctx->list_lock);
	return n;
}
