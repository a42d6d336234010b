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
	uint64_t *commands;      /* added to (relaxed) for each message sent;
				  * may be NULL */
	/* Called once, from the watcher thread, when the process dies or its
	 * socket breaks without having been asked to end. It must not take a
	 * lock that is held around a call of this table, nor call back. */
	void (*lost)(void *arg, const struct mk_error *why);
	/* Called when the process is seen to die, which may be long before it
	 * is gone; perhaps not at all. From a thread of its own, under the
	 * same terms. May be NULL. */
	void (*dying)(void *arg);
	/* A process that is stopped (SIGSTOP) for hang_ns while a command waits
	 * for its answer is killed grace_ns later, and so is one that answers
	 * none within command_ns. hang_ns 0 or UINT64_MAX: neither. */
	uint64_t hang_ns, grace_ns;
	/* Called before that, from the thread that waits, with when it was
	 * noticed; lost() follows. It must not call back. May be NULL. */
	void (*hung)(void *arg, const struct mk_error *why,
		     uint64_t noticed_ns);
	/* Called as soon as there is a process that mk_proxy_condemn() can
	 * end, and with NULL before it is gone again if opening fails; may be
	 * NULL. */
	void (*starting)(void *arg, struct mk_engine *e);
	void *arg;
};

/* Start the process and open the engine in it. The region's fd is handed
 * over. -MK_EWORKER, -MK_EABI, -EMFILE, -ENOMEM, or the engine's own code. */
int mk_proxy_open(const struct mk_proxy_params *params,
		  const struct mk_engine_config *config,
		  const struct mk_region *region, struct mk_engine **out);

/* pid of the worker process. */
int mk_proxy_pid(const struct mk_engine *e);

/* Change the bound of one command; see mk_proxy_params. */
void mk_proxy_bound(struct mk_engine *e, uint64_t command_ns);

/* Kill the process, for this reason, which lost() will tell. Whoever calls it
 * sees to it that e is not freed meanwhile; unlike the rest of this table it
 * may be called while a command is under way, which fails then. */
void mk_proxy_condemn(struct mk_engine *e, const struct mk_error *why);

/* Kill the process if it lives, reap it, free e. Never blocks long. */
void mk_proxy_kill(struct mk_engine *e);

/*
 * The table: traits are those of the real engine; see mk_ctx.real. `close`
 * asks the worker to end, kills it at the deadline, and always frees; lost()
 * is not called once it has begun, and not running when it returns.
 *
 * -ETIME of a command: the worker gave no answer in time. A command that it
 * had not begun by then is never carried out. -MK_EDEVLOST: it is gone, or was
 * found stopped and killed for that; see mk_proxy_params.
 */
extern const struct mk_engine_ops mk_engine_proxy;

#endif
