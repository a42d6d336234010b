/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine that lives in a worker process. Implements the engine table by
 * messages over a Unix socket (src/worker/message.h), and watches the process:
 * its death is reported once, from a thread of the proxy's own.
 */
#ifndef MK_WORKER_PROXY_H
#define MK_WORKER_PROXY_H

#include "engine/engine.h"

struct mk_proxy_params {
	const char *engine;      /* name of the real engine */
	const char *worker_path; /* or NULL: search */
	uint64_t command_ns;     /* bound of one command */
	/* Called once, from the watcher thread, when the process dies or its
	 * socket breaks without having been asked to end. */
	void (*lost)(void *arg, const struct mk_error *why);
	void *arg;
};

/* Start the process and open the engine in it. The region's fd is handed
 * over. -MK_EWORKER, -MK_EABI, -EMFILE, -ENOMEM, or the engine's own code. */
int mk_proxy_open(const struct mk_proxy_params *params,
		  const struct mk_engine_config *config,
		  const struct mk_region *region, struct mk_engine **out);

/* pid of the worker process. */
int mk_proxy_pid(const struct mk_engine *e);

/* Kill the process if it lives, reap it, free e. Never blocks long. */
void mk_proxy_kill(struct mk_engine *e);

/* The table: traits are those of the real engine; see mk_ctx.real. `close`
 * asks the worker to end, kills it at the deadline, and always frees. */
extern const struct mk_engine_ops mk_engine_proxy;

#endif
