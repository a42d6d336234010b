/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the CUDA engine: probing, opening, starting, ending. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/order.h"
#include "engine/cuda/host.h"

#define MAJOR_MIN 7
#define WORKERS_MAX 1024u
#define WARPS_DEFAULT 8u  /* a block has, if the device's workers allow */
/*
 * An SM is set up for so much shared memory when it is empty, which it never
 * is with our kernel on it: another kernel that wants more waits for ours to
 * end, even one of a single warp that uses none (measured on an H200, whose
 * driver left 8 KiB beside ours). So ours asks for half of what there can be,
 * in hundredths, + 1. The other half is left to the L1 cache.
 */
#define CARVEOUT 51u
#define READY_NS 20000000000ull

/* ---- probe --------------------------------------------------------------- */

static int attribute(const struct mkc_driver *d, CUdevice device, int which)
{
	int value = -1;

	return d->device_attribute(&value, which, device) ? -1 : value;
}

#define refuse(...) mk_error_set(-MK_EENGINE, 0, "cuda driver", __VA_ARGS__)

/* Why not is recorded: who lists devices hears as much as there is room for. */
static void unavailable(struct mk_engine_info *info)
{
	info->available = -MK_EENGINE;
	snprintf(info->reason, sizeof(info->reason), "%.*s",
		 (int)sizeof(info->reason) - 1, mk_error_last()->text);
}

/* What is asked of a device before it is used. */
struct facts {
	int major, minor, lanes, mode, maps, unified, units;
};

static CUresult ask_facts(const struct mkc_driver *d, CUdevice device,
			  struct facts *f)
{
	const struct {
		int which, *value;
	} list[] = {
		{ MKC_ATTR_MAJOR, &f->major },
		{ MKC_ATTR_MINOR, &f->minor },
		{ MKC_ATTR_WARP_SIZE, &f->lanes },
		{ MKC_ATTR_COMPUTE_MODE, &f->mode },
		{ MKC_ATTR_CAN_MAP_HOST, &f->maps },
		{ MKC_ATTR_UNIFIED_ADDRESSING, &f->unified },
		{ MKC_ATTR_MULTIPROCESSORS, &f->units },
	};
	CUresult r = 0;

	memset(f, 0, sizeof(*f));
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]) && !r; i++)
		r = d->device_attribute(list[i].value, list[i].which, device);
	return r;
}

/* What stands against using this device; 0: nothing. */
static int judge(const struct facts *f)
{
	if (f->major < MAJOR_MIN)
		return refuse("the device has compute capability %d.%d, the "
			      "engine needs %d.0", f->major, f->minor,
			      MAJOR_MIN);
	if (f->lanes != (int)MKD_LANES)
		return refuse("the device has warps of %d lanes, the engine "
			      "is written for %u", f->lanes, MKD_LANES);
	if (f->units < 1)
		return refuse("the CUDA driver says that the device has %d "
			      "multiprocessors", f->units);
	if (f->mode == MKC_MODE_PROHIBITED)
		return refuse("the device is in compute mode PROHIBITED; an "
			      "administrator can change that (nvidia-smi -c "
			      "0)");
	if (!f->maps || !f->unified)
		return refuse("the device cannot map host memory%s",
			      f->maps ? " at the host's addresses" : "");
	return 0;
}

/* As many workers as the device holds at least, whatever they run: one block
 * fits on every multiprocessor. */
static uint32_t default_workers(uint32_t multiprocessors)
{
	uint32_t each = multiprocessors ? WORKERS_MAX / multiprocessors : 0;

	if (each > WARPS_DEFAULT)
		each = WARPS_DEFAULT;
	return each ? multiprocessors * each : WORKERS_MAX;
}

static int cuda_probe(struct mk_engine_info *info)
{
	uint32_t number = info->device;
	const struct mkc_driver *d;
	struct facts f;
	CUdevice device;
	size_t bytes = 0;
	CUresult r;
	int clock;

	memset(info, 0, sizeof(*info));
	info->device = number;
	snprintf(info->name, sizeof(info->name), "cuda");
	if (mkc_driver_get(&d)) {
		unavailable(info);
		return 1;
	}
	if (number >= (uint32_t)d->devices) {
		refuse("the CUDA driver has no device %u, only %d", number,
		       d->devices);
		unavailable(info);
		return 1;
	}
	r = d->device_get(&device, (int)number);
	if (!r)
		r = ask_facts(d, device, &f);
	if (!r)
		r = d->device_memory(&bytes, device);
	if (r) {
		mkc_fail_device(d, r, number);
		unavailable(info);
		return 0;
	}
	if (d->device_name(info->device_name, sizeof(info->device_name),
			   device))
		snprintf(info->device_name, sizeof(info->device_name), "GPU");
	info->device_name[sizeof(info->device_name) - 1] = '\0';
	clock = attribute(d, device, MKC_ATTR_CLOCK_KHZ);
	info->driver = (uint32_t)d->version;
	info->units = f.units > 0 ? (uint32_t)f.units : 0;
	info->workers = default_workers(info->units);
	info->memory_bytes = bytes;
	info->warp_lanes = f.lanes > 0 ? (uint32_t)f.lanes : 0;
	info->capability = f.major > 0 && f.minor >= 0 ?
				   (uint32_t)(10 * f.major + f.minor) : 0;
	info->clock_mhz = clock > 0 ? (uint32_t)clock / 1000 : 0;
	if (judge(&f))
		unavailable(info);
	return 0;
}

/* ---- the context --------------------------------------------------------- */

int mkc_enter(struct mk_engine *e)
{
	CUresult r = e->d->ctx_push(e->ctx);

	return r ? mkc_lost(e, r, "entering the context") : 0;
}

void mkc_leave(struct mk_engine *e)
{
	CUcontext was;

	e->d->ctx_pop(&was);
}

/* ---- open ---------------------------------------------------------------- */

/* The multiprocessors that the kernel may take. */
static uint32_t budget(const struct mk_engine_config *config, uint32_t units)
{
	return config->sm_count ? config->sm_count : units;
}

/*
 * A block on every multiprocessor of the budget, so that it cannot be
 * exceeded, and as many workers in it as there are to be; fewer workers than
 * multiprocessors keep together.
 */
static void shape(struct mk_engine *e)
{
	uint32_t n = e->config.workers;
	uint32_t sms = budget(&e->config, (uint32_t)e->multiprocessors);

	if (n >= sms)
		e->warps = (n + sms - 1) / sms;
	else
		e->warps = n < WARPS_DEFAULT ? n : WARPS_DEFAULT;
	e->blocks = (n + e->warps - 1) / e->warps;
	e->launch.workers_count = n;
	e->launch.warps = e->warps;
	e->launch.window_count = e->config.windows;
	e->launch.idle_ns = e->config.idle_ns;
	e->launch.silent = e->config.heartbeat == MK_HEARTBEAT_OFF;
}

/* Found by measuring; MEGAKERNEL_CUDA_TUNING="window=512,nap_ns=100" tries
 * others. */
static void tune(struct mkd_tuning *t, uint32_t *carveout)
{
	static const struct mkd_tuning found = {
		.window = 256, .floor = 8, .floor_heavy = 1, .batch = 8,
		.patience = 24, .nap_ns = 512, .flush = 4096,
		.scouts = 128, .streak = 8,
	};
	const struct {
		const char *name;
		uint32_t *value, least, most;
	} known[] = {
		{ "window", &t->window, 8, 65536 },
		{ "floor", &t->floor, 1, 1024 },
		{ "floor_heavy", &t->floor_heavy, 1, 1024 },
		{ "batch", &t->batch, 1, MKD_SEATS },
		{ "patience", &t->patience, 4, 1u << 20 },
		{ "nap_ns", &t->nap_ns, 32, 1u << 20 },
		{ "flush", &t->flush, 1, 1u << 30 },
		{ "carveout", carveout, 0, 101 },
		{ "scouts", &t->scouts, 1, 1u << 20 },
		{ "streak", &t->streak, 0, 1u << 20 },
	};
	const char *text = getenv("MEGAKERNEL_CUDA_TUNING");

	*t = found;
	*carveout = CARVEOUT;
	for (size_t i = 0; text && i < sizeof(known) / sizeof(known[0]); i++) {
		size_t bytes = strlen(known[i].name);

		for (const char *p = text; p; p = strchr(p, ',')) {
			unsigned long v;

			p += *p == ',';
			if (strncmp(p, known[i].name, bytes) != 0 ||
			    p[bytes] != '=')
				continue;
			v = strtoul(p + bytes + 1, NULL, 10);
			if (v >= known[i].least && v <= known[i].most)
				*known[i].value = (uint32_t)v;
		}
	}
}

static int check_context(struct mk_engine *e)
{
	CUdevice device = -1;
	CUresult r = e->d->ctx_push(e->ctx);
	CUcontext was;

	if (!r) {
		r = e->d->ctx_device(&device);
		e->d->ctx_pop(&was);
	}
	if (r)
		return mkc_fail_as(e->d, -EINVAL, r, "mk_ctx_create",
				   "params.native_context is no context that "
				   "the driver knows");
	if (device == e->device)
		return 0;
	return mk_error_set(-EINVAL, 0, "mk_ctx_create",
			    "params.native_context is a context of device %d, "
			    "params.device is %u", device, e->config.device);
}

static int open_device(struct mk_engine *e)
{
	const struct mkc_driver *d = e->d;
	struct facts f;
	CUresult r = d->device_get(&e->device, (int)e->config.device);

	if (!r)
		r = ask_facts(d, e->device, &f);
	if (r)
		return mkc_fail(d, r, "cuda engine", "finding the device");
	e->multiprocessors = f.units;
	e->major = f.major;
	e->minor = f.minor;
	e->ctx = (CUcontext)(uintptr_t)e->config.native_context;
	if (e->ctx)
		return check_context(e);
	/* the context that the rest of the process has, if it uses CUDA */
	r = d->ctx_retain(&e->ctx, e->device);
	if (r)
		return mkc_fail(d, r, "cuda engine", "opening the device");
	e->retained = true;
	return 0;
}

#define bad_stream(native, ...)                          \
	mk_error_set(-EINVAL, (native), "mk_ctx_create", \
		     "params.native_stream " __VA_ARGS__)

/*
 * The kernel stays on its stream. On a legacy one, or one that waits for
 * those, it would hold up the rest of the process.
 */
static int take_stream(struct mk_engine *e)
{
	const uint64_t last_special = 2; /* CU_STREAM_PER_THREAD */
	CUstream s = (CUstream)(uintptr_t)e->config.native_stream;
	CUcontext ctx = NULL;
	unsigned flags = 0;
	CUresult r;

	if (e->config.native_stream <= last_special)
		return bad_stream(0, "is a default stream, which everybody "
				  "uses; create one for the kernel");
	r = e->d->stream_ctx(s, &ctx);
	if (!r)
		r = e->d->stream_flags(s, &flags);
	if (r)
		return mkc_fail_as(e->d, -EINVAL, r, "mk_ctx_create",
				   "params.native_stream is no stream that the "
				   "driver knows");
	if (ctx != e->ctx)
		return bad_stream(0, "is a stream of another context; set "
				  "native_context to its own");
	if (!(flags & MKC_STREAM_NON_BLOCKING))
		return bad_stream(0, "has the flags 0x%x: the legacy default "
				  "stream would wait for the kernel; create it "
				  "with CU_STREAM_NON_BLOCKING", flags);
	e->stream = s;
	e->stream_given = true;
	return 0;
}

static int make_stream(struct mk_engine *e, CUstream *out)
{
	CUresult r = e->d->stream_create(out, MKC_STREAM_NON_BLOCKING);

	if (!r)
		return 0;
	*out = NULL;
	return mkc_fail(e->d, r, "cuda engine", "making a stream");
}

static int open_streams(struct mk_engine *e)
{
	int r = e->config.native_stream ? take_stream(e) :
					  make_stream(e, &e->stream);

	return r ? r : make_stream(e, &e->side);
}

/* Free what there is. The context is current, if it can be. */
static void close_inside(struct mk_engine *e)
{
	mkc_queues_free(e);
	mkc_code_close(e);
	mkc_memory_close(e);
	if (e->side && !e->on)
		e->d->stream_destroy(e->side);
	if (e->stream && !e->stream_given && !e->on)
		e->d->stream_destroy(e->stream);
	e->side = e->stream = NULL;
}

static void engine_free(struct mk_engine *e)
{
	if (e->retained && !e->on)
		e->d->ctx_release(e->device);
	pthread_mutex_destroy(&e->queues_lock);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

static int open_inside(struct mk_engine *e)
{
	int r = open_streams(e);

	if (!r)
		r = mkc_memory_open(e);
	if (!r)
		r = mkc_source_builtins(&e->sources);
	if (!r)
		r = mkc_code_first(e);
	return r;
}

static int check_config(const struct mk_engine_config *config)
{
	struct mk_engine_info info;
	uint32_t sms, most;

	memset(&info, 0, sizeof(info));
	info.device = config->device;
	cuda_probe(&info);
	if (info.available) {
		struct mk_error why = *mk_error_last();

		return mk_error_set(info.available, why.native, "cuda engine",
				    "device %u: %.900s", config->device,
				    why.text);
	}
	if (config->sm_count > info.units)
		return mk_error_set(-EINVAL, 0, "cuda engine",
				    "sm_count is %u, must be at most %u, the "
				    "multiprocessors of device %u",
				    config->sm_count, info.units,
				    config->device);
	sms = budget(config, info.units);
	most = sms * (MKD_LANES - 1) < WORKERS_MAX ? sms * (MKD_LANES - 1) :
						     WORKERS_MAX;
	if (config->workers && config->workers <= most)
		return 0;
	return mk_error_set(-EINVAL, 0, "cuda engine",
			    "workers is %u, must be 1 to %u on %u "
			    "multiprocessors", config->workers, most, sms);
}

static int cuda_open(const struct mk_engine_config *config,
		     const struct mk_region *region, struct mk_engine **out)
{
	struct mk_engine *e;
	struct mk_error why;
	int r = check_config(config);

	if (r)
		return r;
	e = calloc(1, sizeof(*e));
	if (!e)
		return mk_error_set(-ENOMEM, ENOMEM, "cuda engine",
				    "no memory for the engine");
	pthread_mutex_init(&e->lock, NULL);
	pthread_mutex_init(&e->queues_lock, NULL);
	e->config = *config;
	e->region = *region;
	e->block = (void *)region->base;
	tune(&e->launch.tuning, &e->carveout);
	r = mkc_driver_get(&e->d);
	if (!r)
		r = open_device(e);
	if (!r)
		r = mkc_enter(e);
	if (r) {
		engine_free(e);
		return r;
	}
	shape(e);
	r = open_inside(e);
	if (!r) {
		mkc_leave(e);
		*out = e;
		return 0;
	}
	why = *mk_error_last();
	close_inside(e);
	mkc_leave(e);
	engine_free(e);
	return mk_error_copy(&why);
}

/* ---- start and close ----------------------------------------------------- */

/* Until the kernel has compared the layouts and says so. */
static int wait_ready(struct mk_engine *e)
{
	uint64_t deadline = mk_deadline_after(READY_NS);
	struct timespec nap = { 0, MKC_NAP_NS };

	for (;;) {
		int r = mkc_look(e);

		if (r)
			return r;
		/* pairs with the kernel's release */
		if (mk_load_acquire(&e->block->state) == MK_ENGINE_READY)
			return 0;
		if (!mk_time_left(deadline))
			return mk_error_set(-ETIME, 0, "cuda engine",
					    "the kernel did not come up in "
					    "%llu s; is the device full?",
					    READY_NS / 1000000000);
		nanosleep(&nap, NULL);
	}
}

static int start_inside(struct mk_engine *e)
{
	int r = mkc_launch(e, false);

	if (!r)
		r = wait_ready(e);
	if (!r)
		r = mkc_tell_table(e, false, MKC_GRACE_NS);
	return r ? r : mkc_service_start(e);
}

/* Between the two, commands have the engine and the context to themselves. */
static int begin(struct mk_engine *e)
{
	int r;

	pthread_mutex_lock(&e->lock);
	r = mkc_enter(e);
	if (r)
		pthread_mutex_unlock(&e->lock);
	return r;
}

static int end(struct mk_engine *e, int r)
{
	mkc_leave(e);
	pthread_mutex_unlock(&e->lock);
	return r;
}

/* What did not come up may not leave either, and whoever made it now ends it:
 * from here on that takes no longer than if the device were lost. */
static int cuda_start(struct mk_engine *e)
{
	int r = begin(e);

	if (r)
		return r;
	r = start_inside(e);
	if (r && !e->failed) {
		e->why = *mk_error_last();
		e->failed = true;
	}
	return end(e, r);
}

static int cuda_close(struct mk_engine *e, uint64_t timeout_ns)
{
	bool inside;
	int r;

	pthread_mutex_lock(&e->lock);
	/* a lost device may refuse even this, and has nothing to leave */
	inside = !e->d->ctx_push(e->ctx);
	if (!inside)
		mkc_lost(e, MKC_INVALID_DEVICE, "entering the context");
	r = mkc_step_aside(e, timeout_ns);
	if (r && !e->failed)
		return end(e, r);
	mkc_settle(e);
	e->paused = true; /* nobody brings it back */
	pthread_mutex_unlock(&e->lock);
	mkc_service_stop(e);
	if (!e->failed)
		mk_store_release(&e->block->state, MK_ENGINE_STOPPED);
	close_inside(e);
	if (inside)
		mkc_leave(e);
	engine_free(e);
	return 0;
}

/* ---- pause --------------------------------------------------------------- */

static int pause_inside(struct mk_engine *e, uint64_t deadline)
{
	int r = mkc_step_aside(e, mk_time_left(deadline));

	if (r)
		return r;
	e->paused = true;
	e->parked = false;
	/* no use to ring: resume brings it back */
	mk_store_seq(&e->block->attention, MK_ATTENTIVE);
	mk_store_release(&e->block->state, MK_ENGINE_PAUSED);
	return 0;
}

static int resume_inside(struct mk_engine *e)
{
	int r;

	e->paused = false;
	/* before the kernel looks at the modes of queues: mk_queue_mode() */
	mk_store_seq(&e->block->state, MK_ENGINE_READY);
	r = mkc_step_back(e);
	if (r && !e->failed)
		mk_store_release(&e->block->state, MK_ENGINE_PAUSED);
	return r;
}

/*
 * The kernel is told to leave before the driver is called for anything: a
 * thread that hangs in it until then may keep everybody else out.
 */
static int cuda_pause(struct mk_engine *e, uint64_t timeout_ns)
{
	uint64_t deadline = mk_deadline_after(timeout_ns);
	int r;

	pthread_mutex_lock(&e->lock);
	r = mkc_ask_aside(e, deadline);
	if (r >= 0)
		r = mkc_enter(e);
	if (!r)
		return end(e, pause_inside(e, deadline));
	pthread_mutex_unlock(&e->lock);
	return r;
}

static int cuda_resume(struct mk_engine *e)
{
	int r = begin(e);

	return r ? r : end(e, resume_inside(e));
}

/* ---- the rest, behind the lock ------------------------------------------- */

static int cuda_queue_attach(struct mk_engine *e,
			     const struct mk_queue_desc *d, int event_fd)
{
	int r = begin(e);

	return r ? r : end(e, mkc_queue_attach(e, d, event_fd));
}

static int cuda_queue_detach(struct mk_engine *e, uint32_t index,
			     uint64_t timeout_ns)
{
	int r = begin(e);

	if (!r)
		return end(e, mkc_queue_detach(e, index, timeout_ns));
	/* lost: its memory goes, so the service thread must not look at it */
	pthread_mutex_lock(&e->lock);
	mkc_queue_forget(e, index);
	pthread_mutex_unlock(&e->lock);
	return r;
}

static int cuda_queue_event_fd(struct mk_engine *e, uint32_t index, int fd)
{
	int r = begin(e);

	return r ? r : end(e, mkc_queue_event_fd(e, index, fd));
}

static int cuda_buffer_attach(struct mk_engine *e,
			      const struct mk_buffer_desc *d)
{
	int r = begin(e);

	return r ? r : end(e, mkc_buffer_attach(e, d));
}

static int cuda_buffer_detach(struct mk_engine *e, uint32_t index,
			      uint64_t timeout_ns)
{
	int r = begin(e);

	return r ? r : end(e, mkc_buffer_detach(e, index, timeout_ns));
}

static int cuda_buffer_copy(struct mk_engine *e, uint32_t index,
			    uint64_t offset, uint64_t staging, uint64_t bytes,
			    uint32_t flags)
{
	int r = begin(e);

	return r ? r : end(e, mkc_buffer_copy(e, index, offset, staging,
					      bytes, flags));
}

static int cuda_module_open(struct mk_engine *e,
			    const struct mk_module_desc *d,
			    struct mk_handler_info *out, unsigned max,
			    unsigned *count)
{
	int r = begin(e);

	return r ? r : end(e, mkc_module_open(e, d, out, max, count));
}

static int cuda_module_bind(struct mk_engine *e, uint32_t id,
			    const struct mk_opcode_map *map, unsigned count)
{
	int r = begin(e);

	return r ? r : end(e, mkc_module_bind(e, id, map, count));
}

static int cuda_module_close(struct mk_engine *e, uint32_t id,
			     uint64_t timeout_ns)
{
	int r = begin(e);

	return r ? r : end(e, mkc_module_close(e, id, timeout_ns));
}

const struct mk_engine_ops mk_engine_cuda = {
	.name = "cuda",
	.traits = MK_TRAIT_CUDA,
	.probe = cuda_probe,
	.open = cuda_open,
	.start = cuda_start,
	.close = cuda_close,
	.queue_attach = cuda_queue_attach,
	.queue_detach = cuda_queue_detach,
	.queue_event_fd = cuda_queue_event_fd,
	.buffer_attach = cuda_buffer_attach,
	.buffer_detach = cuda_buffer_detach,
	.buffer_copy = cuda_buffer_copy,
	.module_open = cuda_module_open,
	.module_bind = cuda_module_bind,
	.module_close = cuda_module_close,
	.pause = cuda_pause,
	.resume = cuda_resume,
};
