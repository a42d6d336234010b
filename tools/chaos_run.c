/* SPDX-License-Identifier: Apache-2.0 */
/* The run: a context with its workload, fault after fault, and the books at
 * the end. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/order.h"
#include "chaos.h"

#define BOUND_NS 60000000000u
#define AUDIT_EVERY 256u  /* faults between two looks at a still workload */
#define BETWEEN 40u       /* answers of the workload between two faults */
#define BETWEEN_NS 20000000u

void chaos_complain(struct chaos *c, const char *format, ...)
{
	va_list ap;

	pthread_mutex_lock(&c->lock);
	va_start(ap, format);
	if (c->complaints < sizeof(c->complaint) / sizeof(c->complaint[0]))
		vsnprintf(c->complaint[c->complaints],
			  sizeof(c->complaint[0]), format, ap);
	c->complaints++;
	va_end(ap);
	pthread_mutex_unlock(&c->lock);
}

/* ---- a directory of our own -------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

static void remove_dir(const char *path)
{
	nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static int make_dir(struct chaos *c)
{
	const char *tmp = getenv("TMPDIR");
	char path[96];
	int fd;

	snprintf(c->dir, sizeof(c->dir), "%.40s/mk-chaos.XXXXXX",
		 tmp && *tmp && strlen(tmp) < 40 ? tmp : "/tmp");
	if (!mkdtemp(c->dir)) {
		cli_error("chaos", "%s: %s", c->dir, strerror(errno));
		c->dir[0] = 0;
		return -1;
	}
	snprintf(path, sizeof(path), "%s/garbage", c->dir);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
	if (fd >= 0 && write(fd, "\177ELFgarbage", 11) == 11)
		return close(fd);
	cli_error("chaos", "%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* ---- the context ------------------------------------------------------- */

/* Where the worker program is: a context that uses it knows. */
static int find_worker(struct chaos *c)
{
	struct mk_ctx_params p = {
		.size = sizeof(p), .engine = "cpu", .workers = 1,
		.isolation = MK_ISOLATION_PROCESS,
	};
	struct mk_ctx_info info;
	char link[64], path[96];
	struct mk_ctx *ctx;
	ssize_t n;
	int r = mk_ctx_create(&p, &ctx);

	if (r < 0)
		return cli_library_error("chaos", "no worker process", r), -1;
	mk_ctx_info(ctx, &info);
	snprintf(link, sizeof(link), "/proc/%d/exe", info.worker_pid);
	n = readlink(link, c->worker, sizeof(c->worker) - 1);
	mk_ctx_destroy(ctx, BOUND_NS);
	snprintf(path, sizeof(path), "%s/worker", c->dir);
	if (n > 0)
		c->worker[n] = 0;
	if (n > 0 && !symlink(c->worker, path))
		return 0;
	cli_error("chaos", "cannot link to the worker program: %s",
		  strerror(errno));
	return -1;
}

static int open_ctx(struct chaos *c)
{
	char cache[96], worker[96];
	struct mk_ctx_params p = {
		.size = sizeof(p), .engine = c->o->engine.name,
		.isolation = c->o->engine.isolation,
		.workers = c->o->engine.workers ? c->o->engine.workers :
			   c->cpu ? 4 : 0,
		.shared_bytes = 32u << 20, .heap_bytes = 64u << 20,
		.idle_ns = 20000, .cache_dir = cache,
		.worker_path = c->process ? worker : NULL,
		.hang_ns = c->o->hang_ns, .evidence_dir = c->o->evidence,
	};
	int r;

	snprintf(cache, sizeof(cache), "%s/cache", c->dir);
	snprintf(worker, sizeof(worker), "%s/worker", c->dir);
	if (c->process) {
		/* faults come as fast as they are got over: that many in any
		 * window are no reason to give up here */
		p.recovery = MK_RECOVERY_BUDGET;
		p.restarts_max = 1000000;
		p.restart_window_ns = 20000000;
		p.restart_delay_ns = 100000;
	}
	r = mk_ctx_create(&p, &c->load.ctx);
	if (r < 0)
		cli_library_error("chaos", "no engine", r);
	return r < 0 ? -1 : 0;
}

static int find_handlers(struct chaos *c)
{
	struct mk_handler_info info;
	char name[MK_HANDLER_NAME_BYTES];

	for (unsigned k = 0; k < CHAOS_KINDS; k++) {
		if (!(chaos_kinds[k].flags & CHAOS_HANDLER) ||
		    ((chaos_kinds[k].flags & CHAOS_CPU_ONLY) && !c->cpu))
			continue;
		snprintf(name, sizeof(name), "chaos_%s", chaos_kinds[k].name);
		if (mk_handler_find(c->load.ctx, name, &info) < 0)
			return -1;
		c->load.fault[k] = info.opcode;
	}
	if (mk_handler_find(c->load.ctx, "chaos_mix", &info) < 0)
		return -1;
	c->load.mix = info.opcode;
	if (mk_handler_find(c->load.ctx, "chaos_mark", &info) < 0)
		return -1;
	c->load.mark = info.opcode;
	if (mk_handler_find(c->load.ctx, "chaos_twist", &info) < 0)
		return -1;
	c->load.twist = info.opcode;
	return 0;
}

static int load_modules(struct chaos *c)
{
	static const struct {
		const char *name, *source;
	} module[] = {
		{ "work.c", chaos_work_source },
		{ "twist.c", chaos_twist_source },
		{ "fault.c", chaos_fault_source },
		{ "cpu.c", chaos_cpu_source },
	};
	unsigned n = c->cpu ? 4 : 3;
	struct mk_queue_params qp = { .size = sizeof(qp), .entries = 64 };
	int r = 0;

	for (unsigned i = 0; i < n && !r; i++) {
		char step[64];

		snprintf(step, sizeof(step), "module %s", module[i].name);
		chaos_progress_step(c, step);
		r = mk_module_load_source(c->load.ctx, module[i].name,
					  module[i].source, 0, NULL);
	}
	if (!r)
		r = find_handlers(c) ? mk_error_last()->code : 0;
	if (!r)
		r = mk_queue_create(c->load.ctx, &qp, &c->q);
	if (r < 0)
		cli_library_error("chaos", "handlers", r);
	return r < 0 ? -1 : 0;
}

static int begin(struct chaos *c)
{
	chaos_progress_step(c, "engine");
	if (c->process && !c->o->be_caller && find_worker(c))
		return -1;
	if (open_ctx(c) || load_modules(c))
		return -1;
	chaos_progress_step(c, "modules and files of the workload");
	if (chaos_load_open(c) || chaos_load_start(c))
		return -1;
	chaos_progress_step(c, "first answer");
	if (chaos_probe(c, mk_deadline_after(BOUND_NS)))
		return 0;
	chaos_progress_end();
	cli_error("chaos", "no good answer before the first fault");
	return -1;
}

/* ---- the end ----------------------------------------------------------- */

/* The library has to be as clean as it says. */
static void finish(struct chaos *c)
{
	struct mk_error why;
	int64_t left;

	chaos_load_stop(c);
	if (c->load.ctx) {
		mk_ctx_stats(c->load.ctx, &c->stats);
		if (mk_ctx_error(c->load.ctx, &why))
			chaos_complain(c, "the context is lost: %s", why.text);
		left = mk_ctx_destroy(c->load.ctx, 10000000000u);
		if (left)
			chaos_complain(c, "mk_ctx_destroy: %lld",
				       (long long)left);
		if (left > 0)
			c->tally.lost += (uint64_t)left;
		else if (left < 0)
			c->tally.wrong++;
	}
	chaos_load_close(c);
	c->ended_ns = mk_now_ns();
}

/* Everything holds still: nothing may be missing. */
static void audit(struct chaos *c)
{
	if (!chaos_load_pause(c, BOUND_NS)) {
		chaos_complain(c, "the workload does not come to rest");
		c->stuck = true;
	}
	chaos_load_resume(c);
}

/* Let the workload get under way again. */
static void between(struct chaos *c)
{
	uint64_t answered = chaos_load_answered(c);
	uint64_t deadline = mk_deadline_after(BETWEEN_NS);
	struct timespec t = { 0, 100000 };

	while (chaos_load_answered(c) - answered < BETWEEN &&
	       mk_time_left(deadline))
		nanosleep(&t, NULL);
}

static void inject_all(struct chaos *c)
{
	uint64_t deadline = c->o->seconds ?
		mk_deadline_after(c->o->seconds * 1000000000u) : UINT64_MAX;

	for (uint64_t i = 0; i < c->o->faults && !c->stuck; i++) {
		struct chaos_fault f = chaos_plan_fault(&c->plan, i);

		if (!mk_time_left(deadline))
			break;
		between(c);
		if (c->o->verbose)
			cli_error("chaos", "%.3f s: %llu %s%s%s",
				  (double)(mk_now_ns() - c->started_ns) / 1e9,
				  (unsigned long long)i,
				  chaos_kinds[f.kind].name,
				  f.idempotent ? " idempotent" : "",
				  f.again ? " again" : "");
		chaos_inject(c, &f);
		mk_store_relaxed(&c->done, i + 1);
		chaos_progress(c);
		if (i % AUDIT_EVERY == AUDIT_EVERY - 1 && !c->stuck)
			audit(c);
	}
}

/* ---- both -------------------------------------------------------------- */

static int run_here(struct chaos *c)
{
	int r;

	c->setup_ns = mk_now_ns();
	r = begin(c);
	c->started_ns = mk_now_ns();
	if (!r)
		inject_all(c);
	c->stopped_ns = mk_now_ns();
	chaos_progress_step(c, "coming to an end");
	finish(c);
	chaos_progress_end();
	return r;
}

int chaos_run(struct chaos *c)
{
	struct rlimit none = { 0, 0 };
	int r;

	/* what is made to crash here needs no core file */
	setrlimit(RLIMIT_CORE, &none);
	pthread_mutex_init(&c->lock, NULL);
	r = make_dir(c) ? -1 : run_here(c);
	if (c->dir[0])
		remove_dir(c->dir);
	pthread_mutex_destroy(&c->lock);
	return r;
}

int chaos_run_caller(struct chaos *c, const char *dir)
{
	pthread_mutex_init(&c->lock, NULL);
	snprintf(c->dir, sizeof(c->dir), "%.60s", dir);
	c->setup_ns = mk_now_ns();
	return begin(c) ? CLI_USAGE : chaos_be_caller(c);
}
