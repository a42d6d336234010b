/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the mock engine, and what tests do to it. */
#include "engine/mock/mock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/order.h"

/* ---- failures and counts ---------------------------------------------- */

static struct {
	pthread_mutex_t lock;
	struct mk_mock_script script;
	struct {
		unsigned calls, good;
		int code; /* 0: does not fail */
	} op[MK_MOCK_OPS];
} plan = { .lock = PTHREAD_MUTEX_INITIALIZER };

static const char *const op_names[MK_MOCK_OPS] = {
	"probe", "open", "start", "close", "queue_attach", "queue_detach",
	"queue_event_fd", "buffer_attach", "buffer_detach", "buffer_copy",
	"module_open", "module_bind", "module_close", "pause", "resume",
};

void mk_mock_reset(void)
{
	pthread_mutex_lock(&plan.lock);
	memset(plan.op, 0, sizeof(plan.op));
	memset(&plan.script, 0, sizeof(plan.script));
	pthread_mutex_unlock(&plan.lock);
}

void mk_mock_begin_with(const struct mk_mock_script *script)
{
	pthread_mutex_lock(&plan.lock);
	plan.script = *script;
	pthread_mutex_unlock(&plan.lock);
}

void mk_mock_fail(enum mk_mock_op op, int code, unsigned good)
{
	pthread_mutex_lock(&plan.lock);
	plan.op[op].code = code;
	plan.op[op].good = good;
	pthread_mutex_unlock(&plan.lock);
}

unsigned mk_mock_calls(enum mk_mock_op op)
{
	unsigned calls;

	pthread_mutex_lock(&plan.lock);
	calls = plan.op[op].calls;
	pthread_mutex_unlock(&plan.lock);
	return calls;
}

/* Count a call; the code it is to fail with, or 0. */
static int planned(enum mk_mock_op op)
{
	int code = 0;

	pthread_mutex_lock(&plan.lock);
	plan.op[op].calls++;
	if (plan.op[op].code && !plan.op[op].good--) {
		code = plan.op[op].code;
		plan.op[op].code = 0;
	}
	pthread_mutex_unlock(&plan.lock);
	if (code)
		mk_error_set(code, 0, "mock", "%s fails as planned",
			     op_names[op]);
	return code;
}

/* ---- set-up and tear-down --------------------------------------------- */

static int mock_probe(struct mk_engine_info *info)
{
	uint32_t device = info->device;
	int r = planned(MK_MOCK_PROBE);

	if (r)
		return r;
	memset(info, 0, sizeof(*info));
	snprintf(info->name, sizeof(info->name), "mock");
	snprintf(info->device_name, sizeof(info->device_name), "Mock");
	info->device = device;
	info->workers = info->units = info->warp_lanes = 1;
	return 0;
}

static void mock_free(struct mk_engine *e)
{
	for (unsigned i = 0; i < MK_QUEUES_MAX; i++) {
		if (e->queues[i] && e->queues[i]->event_fd >= 0)
			close(e->queues[i]->event_fd);
		free(e->queues[i]);
	}
	free(e->windows);
	free(e->scratch);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

static int mock_open(const struct mk_engine_config *config,
		     const struct mk_region *region, struct mk_engine **out)
{
	struct mk_engine *e;
	int r = planned(MK_MOCK_OPEN);

	if (r)
		return r;
	e = calloc(1, sizeof(*e));
	if (!e)
		return mk_error_set(-ENOMEM, ENOMEM, "mock", "no memory");
	pthread_mutex_init(&e->lock, NULL);
	e->windows = calloc(config->windows, sizeof(*e->windows));
	e->scratch = aligned_alloc(64, (config->scratch_bytes + 63) & ~63u);
	if (!e->windows || !e->scratch) {
		mock_free(e);
		return mk_error_set(-ENOMEM, ENOMEM, "mock", "no memory");
	}
	e->config = *config;
	e->region = *region;
	e->block = (void *)region->base;
	pthread_mutex_lock(&plan.lock);
	e->script = plan.script;
	pthread_mutex_unlock(&plan.lock);
	*out = e;
	return 0;
}

static int mock_start(struct mk_engine *e)
{
	int r = planned(MK_MOCK_START);

	if (r)
		return r;
	r = pthread_create(&e->thread, NULL, mk_mock_main, e);
	if (r)
		return mk_error_set(-r, r, "mock", "no thread: %s",
				    strerror(r));
	e->started = true;
	mk_store_seq(&e->block->attention, MK_ATTENTIVE);
	mk_store_release(&e->block->state, MK_ENGINE_READY);
	return 0;
}

static int mock_close(struct mk_engine *e, uint64_t timeout_ns)
{
	int r = planned(MK_MOCK_CLOSE);

	(void)timeout_ns;
	if (r)
		return r;
	if (e->started) {
		pthread_mutex_lock(&e->lock);
		e->stop = true;
		pthread_mutex_unlock(&e->lock);
		pthread_join(e->thread, NULL);
	}
	mk_store_release(&e->block->state, MK_ENGINE_STOPPED);
	mock_free(e);
	return 0;
}

/* ---- queues ------------------------------------------------------------ */

static int event_fd_set(struct mock_queue *q, int fd)
{
	int mine = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (mine < 0)
		return mk_error_set(-errno, errno, "mock", "event fd: %s",
				    strerror(errno));
	q->event_fd = mine;
	return 0;
}

static int mock_queue_attach(struct mk_engine *e,
			     const struct mk_queue_desc *d, int event_fd)
{
	unsigned char *base = e->region.base + d->block_offset;
	struct mock_queue *q;
	int r = planned(MK_MOCK_QUEUE_ATTACH);

	if (r)
		return r;
	q = calloc(1, sizeof(*q));
	if (!q)
		return mk_error_set(-ENOMEM, ENOMEM, "mock", "no memory");
	q->desc = *d;
	q->block = (void *)base;
	q->ring = (void *)(base + d->slots_offset);
	q->answers = (void *)(base + d->completions_offset);
	q->mask = d->entries - 1;
	q->shift = (uint32_t)__builtin_ctz(d->entries);
	q->event_fd = -1;
	if (event_fd >= 0)
		r = event_fd_set(q, event_fd);
	if (r) {
		free(q);
		return r;
	}
	pthread_mutex_lock(&e->lock);
	e->queues[d->index] = q;
	pthread_mutex_unlock(&e->lock);
	return 0;
}

static int mock_queue_detach(struct mk_engine *e, uint32_t index,
			     uint64_t timeout_ns)
{
	struct mock_queue *q;
	int r = planned(MK_MOCK_QUEUE_DETACH);

	(void)timeout_ns;
	if (r)
		return r;
	pthread_mutex_lock(&e->lock);
	q = e->queues[index];
	e->queues[index] = NULL;
	pthread_mutex_unlock(&e->lock);
	if (q && q->event_fd >= 0)
		close(q->event_fd);
	free(q);
	return 0;
}

static int mock_queue_event_fd(struct mk_engine *e, uint32_t index, int fd)
{
	int r = planned(MK_MOCK_QUEUE_EVENT_FD);

	if (r)
		return r;
	pthread_mutex_lock(&e->lock);
	r = event_fd_set(e->queues[index], fd);
	pthread_mutex_unlock(&e->lock);
	return r;
}

/* ---- buffers and modules ----------------------------------------------- */

static int mock_buffer_attach(struct mk_engine *e,
			      const struct mk_buffer_desc *d)
{
	struct mk_window *w = &e->windows[d->index];
	int r = planned(MK_MOCK_BUFFER_ATTACH);

	if (r)
		return r;
	pthread_mutex_lock(&e->lock);
	w->base = (uintptr_t)(e->region.base + d->offset);
	w->bytes = d->bytes;
	w->flags = d->flags;
	w->last = w->generation = d->generation;
	w->born = d->born;
	pthread_mutex_unlock(&e->lock);
	return 0;
}

static int mock_buffer_detach(struct mk_engine *e, uint32_t index,
			      uint64_t timeout_ns)
{
	int r = planned(MK_MOCK_BUFFER_DETACH);

	(void)timeout_ns;
	if (r)
		return r;
	pthread_mutex_lock(&e->lock);
	e->windows[index].generation = 0;
	pthread_mutex_unlock(&e->lock);
	return 0;
}

static int mock_buffer_copy(struct mk_engine *e, uint32_t index,
			    uint64_t offset, uint64_t staging, uint64_t bytes,
			    uint32_t flags)
{
	int r = planned(MK_MOCK_BUFFER_COPY);

	(void)e, (void)index, (void)offset, (void)staging, (void)bytes;
	(void)flags;
	return r ? r : mk_error_set(-EOPNOTSUPP, 0, "mock",
				    "buffers are mapped");
}

static int mock_module_open(struct mk_engine *e,
			    const struct mk_module_desc *desc,
			    struct mk_handler_info *out, unsigned max,
			    unsigned *count)
{
	int r = planned(MK_MOCK_MODULE_OPEN);

	(void)e, (void)desc, (void)out, (void)max, (void)count;
	return r ? r : mk_error_set(-EOPNOTSUPP, 0, "mock",
				    "the mock runs built-in handlers only");
}

static int mock_module_bind(struct mk_engine *e, uint32_t id,
			    const struct mk_opcode_map *map, unsigned count)
{
	(void)e, (void)id, (void)map, (void)count;
	return planned(MK_MOCK_MODULE_BIND);
}

static int mock_module_close(struct mk_engine *e, uint32_t id,
			     uint64_t timeout_ns)
{
	(void)e, (void)id, (void)timeout_ns;
	return planned(MK_MOCK_MODULE_CLOSE);
}

/* ---- pause -------------------------------------------------------------- */

static int paused_set(struct mk_engine *e, enum mk_mock_op op, bool paused)
{
	int r = planned(op);

	if (r)
		return r;
	pthread_mutex_lock(&e->lock);
	e->paused = paused;
	pthread_mutex_unlock(&e->lock);
	mk_store_release(&e->block->state,
			 paused ? MK_ENGINE_PAUSED : MK_ENGINE_READY);
	return 0;
}

static int mock_pause(struct mk_engine *e, uint64_t timeout_ns)
{
	(void)timeout_ns;
	return paused_set(e, MK_MOCK_PAUSE, true);
}

static int mock_resume(struct mk_engine *e)
{
	return paused_set(e, MK_MOCK_RESUME, false);
}

extern const struct mk_engine_ops mk_engine_mock;
const struct mk_engine_ops mk_engine_mock = {
	.name = "mock",
	.traits = MK_TRAIT_HOST_MEMORY | MK_TRAIT_WAKES,
	.probe = mock_probe,
	.open = mock_open,
	.start = mock_start,
	.close = mock_close,
	.queue_attach = mock_queue_attach,
	.queue_detach = mock_queue_detach,
	.queue_event_fd = mock_queue_event_fd,
	.buffer_attach = mock_buffer_attach,
	.buffer_detach = mock_buffer_detach,
	.buffer_copy = mock_buffer_copy,
	.module_open = mock_module_open,
	.module_bind = mock_module_bind,
	.module_close = mock_module_close,
	.pause = mock_pause,
	.resume = mock_resume,
};

/* ---- what tests do ------------------------------------------------------ */

struct mk_engine *mk_mock_of(struct mk_ctx *ctx)
{
	return ctx->ops == &mk_engine_mock ? ctx->engine : NULL;
}

void mk_mock_script(struct mk_engine *e, const struct mk_mock_script *script)
{
	pthread_mutex_lock(&e->lock);
	e->script = *script;
	pthread_mutex_unlock(&e->lock);
}

bool mk_mock_claim(struct mk_engine *e, uint32_t index,
		   struct mk_mock_slot *out)
{
	bool have;

	pthread_mutex_lock(&e->lock);
	have = e->queues[index] && mk_mock_take(e->queues[index], out);
	pthread_mutex_unlock(&e->lock);
	return have;
}

uint64_t mk_mock_head(uint16_t mark, uint16_t worker, int32_t result)
{
	return (uint64_t)mark << MK_MARK_SHIFT | (uint64_t)worker << 32 |
	       (uint32_t)result;
}

void mk_mock_write(struct mk_engine *e, uint32_t index, uint64_t ticket,
		   uint64_t head, uint64_t value)
{
	pthread_mutex_lock(&e->lock);
	if (e->queues[index])
		mk_mock_put(e->queues[index], ticket, head, value);
	pthread_mutex_unlock(&e->lock);
}

void mk_mock_answer(struct mk_engine *e, uint32_t index, uint64_t ticket,
		    int32_t result, uint64_t value)
{
	uint32_t shift = 0;

	pthread_mutex_lock(&e->lock);
	if (e->queues[index])
		shift = e->queues[index]->shift;
	pthread_mutex_unlock(&e->lock);
	mk_mock_write(e, index, ticket,
		      mk_mock_head(MK_MARK(ticket, shift), 0, result), value);
}

void mk_mock_lose(struct mk_ctx *ctx)
{
	struct mk_engine *e = mk_mock_of(ctx);
	struct mk_error why = {
		.code = -MK_EDEVLOST,
		.operation = "mock",
		.text = "the mock was told to lose its device",
	};

	pthread_mutex_lock(&e->lock);
	e->script.manual = true;
	pthread_mutex_unlock(&e->lock);
	mk_ctx_lost(ctx, &why);
}
