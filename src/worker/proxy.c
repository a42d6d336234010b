/* SPDX-License-Identifier: Apache-2.0 */
/* The engine table by messages. Commands are serialised by the caller. */
#include "worker/proxy.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/order.h"
#include "worker/channel.h"
#include "worker/message.h"
#include "worker/pulse.h"
#include "worker/serve.h"
#include "worker/spawn.h"
#include "worker/watch.h"

#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000u
/* An answer may take this much longer than what the command waits for. */
#define ANSWER_MARGIN_NS (5 * NS_PER_S)
/* The same for the process to end once its engine has. */
#define EXIT_MARGIN_NS NS_PER_S
/* A stopped process is looked for so often in hang_ns: every 5 %. */
#define LOOKS 20u
/* Between a broken socket and the watcher's word on why. */
#define REASON_NS (3 * NS_PER_S)

/* A struct mk_engine to those who call us. */
struct mk_proxy {
	struct mk_watch *watch;
	struct mk_pulse *pulse; /* NULL: the watch alone will notice */
	const struct mk_context_block *block; /* shared with the worker */
	void (*dying)(void *arg);
	void (*hung)(void *arg, const struct mk_error *why, uint64_t ns);
	void *arg;
	uint64_t command_ns;
	uint64_t hang_ns, grace_ns; /* 0: nothing is killed for silence */
	uint64_t stopped; /* since when it is seen stopped; 0: it is not */
	uint64_t *commands;
	uint64_t sequence;
	bool answered; /* the last command's result is the worker's own */
	struct mk_message request;
	struct mk_answer answer;
};

static struct mk_proxy *proxy_of(struct mk_engine *e)
{
	return (struct mk_proxy *)(void *)e;
}

/* ---- one command ------------------------------------------------------ */

static const char *op_name(const struct mk_proxy *p)
{
	return mk_message_name(p->request.head.op);
}

/* It may have ended by itself, since the engine lost its device: how? */
static int ended(const struct mk_proxy *p, struct mk_error *why)
{
	if (why->native == MK_WORKER_FAILED)
		mk_engine_words(p->block, why);
	return mk_error_copy(why);
}

/* The worker is gone: -MK_EDEVLOST with the reason. */
static int command_lost(struct mk_proxy *p)
{
	struct mk_error why;

	if (mk_watch_wait(p->watch, mk_deadline_after(REASON_NS), &why))
		return ended(p, &why);
	return mk_error_set(-MK_EDEVLOST, 0, op_name(p),
			    "the socket of the worker process %d is broken",
			    (int)mk_watch_pid(p->watch));
}

/* What it sent is not valid, as the last error says: it cannot be trusted
 * with anything any more. */
static int command_malformed(struct mk_proxy *p, int code)
{
	struct mk_error e = { .code = -MK_EDEVLOST, .operation = "worker" };

	snprintf(e.text, sizeof(e.text),
		 "the worker process %d sent an answer that is not valid, and "
		 "was killed: %.700s",
		 (int)mk_watch_pid(p->watch), mk_error_last()->text);
	mk_watch_kill(p->watch, &e);
	e.code = code;
	snprintf(e.operation, sizeof(e.operation), "%s", op_name(p));
	return mk_error_copy(&e);
}

static int command_failed(struct mk_proxy *p, int err)
{
	int pid = (int)mk_watch_pid(p->watch);

	switch (err) {
	case -EPIPE:
		return command_lost(p);
	case -ETIME:
		return mk_error_set(err, 0, op_name(p),
				    "the worker process %d did not answer in "
				    "time; mk_ctx_params.command_ns is %"
				    PRIu64,
				    pid, p->command_ns);
	default:
		return mk_error_set(err, -err, op_name(p),
				    "cannot talk to the worker process %d: %s",
				    pid, strerror(-err));
	}
}

/* ---- one that is silent ------------------------------------------------ */

static void judge_silent(struct mk_proxy *p, const char *how, uint64_t ns,
			 uint64_t noticed)
{
	struct mk_error why = { .code = -MK_EDEVLOST, .operation = "worker" };

	snprintf(why.text, sizeof(why.text),
		 "the worker process %d %s for %" PRIu64 " ms while %s waited "
		 "for it, and was killed",
		 (int)mk_watch_pid(p->watch), how, ns / NS_PER_MS, op_name(p));
	if (p->hung)
		p->hung(p->arg, &why, noticed);
	mk_watch_kill(p->watch, &why);
}

/*
 * It is what the system says: however busy the machine is, a process that only
 * waits for its core is not stopped.
 */
static bool stopped_too_long(struct mk_proxy *p)
{
	uint64_t now = mk_now_ns();

	if (!mk_watch_stopped(p->watch)) {
		p->stopped = 0;
		return false;
	}
	if (!p->stopped)
		p->stopped = now;
	return now - p->stopped >= p->hang_ns &&
	       now - p->stopped - p->hang_ns >= p->grace_ns;
}

/* mk_channel_recv(), which ends early if the process is stopped too long. */
static int hear(struct mk_proxy *p, struct mk_packet *packet,
		uint64_t deadline)
{
	uint64_t look = p->hang_ns / LOOKS + 1, until;
	int err;

	for (;;) {
		until = p->hang_ns ? mk_deadline_after(look) : deadline;
		if (until > deadline)
			until = deadline;
		err = mk_channel_recv(mk_watch_sock(p->watch), packet, until);
		if (err != -ETIME)
			return err;
		if (p->hang_ns && stopped_too_long(p)) {
			judge_silent(p, "was stopped", mk_now_ns() - p->stopped,
				     p->stopped + p->hang_ns);
			return -EPIPE;
		}
		if (until == deadline)
			return err;
	}
}

/* No answer within command_ns: whatever it does, it is of no use any more. If
 * it is stopped, another can carry the command out. */
static int never_answered(struct mk_proxy *p)
{
	struct mk_error e = *mk_error_last();
	bool stopped = mk_watch_stopped(p->watch);
	uint64_t now = mk_now_ns();

	judge_silent(p, stopped ? "was stopped" : "was silent", p->command_ns,
		     now);
	return stopped ? command_lost(p) : mk_error_copy(&e);
}

/* ---- the answer -------------------------------------------------------- */

/* The answer to p->request, past late answers to earlier ones. */
static int await_answer(struct mk_proxy *p, uint32_t max, uint64_t deadline)
{
	struct mk_packet packet = { .data = &p->answer,
				    .room = sizeof(p->answer) };
	int err;

	do {
		err = hear(p, &packet, deadline);
		if (err)
			return command_failed(p, err);
		if (packet.fd_count || packet.fds_lost) {
			mk_packet_close(&packet);
			err = mk_error_set(-MK_EPROTO, 0, op_name(p),
					   "descriptors came with an answer");
			return command_malformed(p, err);
		}
		err = mk_answer_check(&p->answer, packet.bytes,
				      &p->request.head, max);
		if (err < 0)
			return command_malformed(p, err);
		/* one that sends nothing but late ones must not hold us */
	} while (err && mk_time_left(deadline));
	if (err)
		return command_failed(p, -ETIME);
	p->answered = true;
	return p->answer.head.result ? mk_error_copy(&p->answer.error) : 0;
}

/* Send p->request, whose body and head are filled in. */
static int send_request(struct mk_proxy *p, int fd, uint64_t deadline)
{
	int err;

	p->request.head.sequence = ++p->sequence;
	p->request.head.deadline_ns = deadline;
	err = mk_channel_send(mk_watch_sock(p->watch), &p->request,
			      p->request.head.bytes, fd, deadline);
	if (!err && p->commands)
		mk_add_relaxed(p->commands, 1);
	return err;
}

struct command {
	uint32_t op;
	int fd;           /* to go along, or negative */
	uint32_t count;   /* entries of the array in the request */
	uint32_t max;     /* handlers wanted in the answer */
	uint64_t wait_ns; /* how long the worker itself may wait */
};

/* Carry out the request whose body is in p->request. */
static int command(struct mk_proxy *p, const struct command *c)
{
	uint64_t margin = p->command_ns, deadline;
	struct mk_error why;
	int err;

	if (c->wait_ns && margin > ANSWER_MARGIN_NS)
		margin = ANSWER_MARGIN_NS;
	deadline = mk_deadline_after(c->wait_ns > UINT64_MAX - margin ?
					     UINT64_MAX : c->wait_ns + margin);
	mk_message_seal(&p->request, c->op, c->fd >= 0, c->count);
	p->answered = false;
	p->stopped = 0;
	if (mk_watch_gone(p->watch, &why))
		return ended(p, &why);
	err = send_request(p, c->fd, deadline);
	if (err)
		return command_failed(p, err);
	err = await_answer(p, c->max, deadline);
	if (err == -ETIME && !p->answered && p->hang_ns &&
	    margin == p->command_ns)
		return never_answered(p);
	return err;
}

/* A command about something that has a number. */
static int command_target(struct mk_engine *e, uint32_t op, uint32_t index,
			  int fd, uint64_t timeout_ns)
{
	struct mk_proxy *p = proxy_of(e);

	p->request.target = (struct mk_message_target){
		.index = index, .timeout_ns = timeout_ns,
	};
	return command(p, &(struct command){ .op = op, .fd = fd,
					     .wait_ns = timeout_ns });
}

/* ---- begin and end ---------------------------------------------------- */

static int hello(struct mk_proxy *p, const char *engine,
		 const struct mk_engine_config *config, int fd)
{
	struct mk_message_hello *h = &p->request.hello;
	size_t n = strlen(engine);

	if (n >= sizeof(h->engine))
		return mk_error_set(-MK_EENGINE, 0, "hello",
				    "no engine is called \"%.64s\"", engine);
	memset(h, 0, sizeof(*h));
	memcpy(h->engine, engine, n);
	h->config = *config;
	return command(p, &(struct command){ .op = MK_MESSAGE_HELLO,
					     .fd = fd });
}

/* A worker that did not get as far as an answer was not started. */
static int hello_failed(struct mk_proxy *p, const char *path, int err)
{
	struct mk_error why = *mk_error_last();

	if (p->answered || (err != -MK_EDEVLOST && err != -ETIME))
		return err;
	return mk_error_set(-MK_EWORKER, why.native, "worker",
			    "the worker program %.256s did not start: %.640s",
			    path, why.text);
}

/* Its death has begun, or it says so: see to it that it comes to an end. */
static void proxy_dying(void *arg)
{
	struct mk_proxy *p = arg;

	mk_watch_kill(p->watch, NULL);
	if (p->dying)
		p->dying(p->arg);
}

static void watch_pulse(struct mk_proxy *p,
			const struct mk_proxy_params *params,
			const struct mk_region *region)
{
	struct mk_context_block *block = (void *)region->base;

	p->dying = params->dying;
	p->pulse = mk_pulse_watch(&block->pulse, proxy_dying, p);
}

int mk_proxy_open(const struct mk_proxy_params *params,
		  const struct mk_engine_config *config,
		  const struct mk_region *region, struct mk_engine **out)
{
	char path[PATH_MAX];
	struct mk_proxy *p;
	int err;

	err = mk_spawn_find(params->worker_path, path, sizeof(path));
	if (err)
		return err;
	p = calloc(1, sizeof(*p));
	if (!p)
		return mk_error_set(-ENOMEM, ENOMEM, "worker",
				    "no memory for %zu bytes", sizeof(*p));
	p->block = (const void *)region->base;
	p->command_ns = params->command_ns;
	p->commands = params->commands;
	p->hang_ns = params->hang_ns == UINT64_MAX ? 0 : params->hang_ns;
	p->grace_ns = params->grace_ns;
	p->hung = params->hung;
	p->arg = params->arg;
	err = mk_watch_start(path, params->lost, params->arg, &p->watch);
	if (err) {
		free(p);
		return err;
	}
	if (params->starting)
		params->starting(params->arg, (struct mk_engine *)(void *)p);
	err = hello(p, params->engine, config, region->fd);
	if (!err && mk_watch_arm(p->watch))
		err = command_lost(p);
	if (err) {
		err = hello_failed(p, path, err);
		if (params->starting)
			params->starting(params->arg, NULL);
		mk_proxy_kill((struct mk_engine *)(void *)p);
		return err;
	}
	watch_pulse(p, params, region);
	*out = (struct mk_engine *)(void *)p;
	return 0;
}

int mk_proxy_pid(const struct mk_engine *e)
{
	return (int)mk_watch_pid(proxy_of((struct mk_engine *)e)->watch);
}

void mk_proxy_bound(struct mk_engine *e, uint64_t command_ns)
{
	proxy_of(e)->command_ns = command_ns;
}

void mk_proxy_condemn(struct mk_engine *e, const struct mk_error *why)
{
	mk_watch_kill(proxy_of(e)->watch, why);
}

void mk_proxy_kill(struct mk_engine *e)
{
	struct mk_proxy *p = proxy_of(e);

	mk_pulse_end(p->pulse);
	mk_watch_end(p->watch);
	free(p);
}

static int proxy_close(struct mk_engine *e, uint64_t timeout_ns)
{
	struct mk_proxy *p = proxy_of(e);
	uint64_t margin = p->command_ns, deadline;

	if (margin > EXIT_MARGIN_NS)
		margin = EXIT_MARGIN_NS;
	deadline = mk_deadline_after(timeout_ns > UINT64_MAX - margin ?
					     UINT64_MAX : timeout_ns + margin);
	mk_watch_expect(p->watch);
	p->request.target = (struct mk_message_target){
		.timeout_ns = timeout_ns,
	};
	mk_message_seal(&p->request, MK_MESSAGE_CLOSE, 0, 0);
	/* its answer is that it ends */
	if (!send_request(p, -1, deadline))
		mk_watch_wait(p->watch, deadline, NULL);
	mk_proxy_kill(e);
	return 0;
}

/* ---- the table -------------------------------------------------------- */

/* A proxy is made with what it serves: mk_proxy_open(). */
static int proxy_probe(struct mk_engine_info *info)
{
	(void)info;
	return mk_error_set(-EOPNOTSUPP, 0, "probe",
			    "a proxy is no device; probe the engine behind it");
}

static int proxy_open(const struct mk_engine_config *config,
		      const struct mk_region *region, struct mk_engine **out)
{
	(void)config;
	(void)region;
	(void)out;
	return mk_error_set(-EOPNOTSUPP, 0, "open",
			    "a proxy is opened with mk_proxy_open()");
}

static int proxy_start(struct mk_engine *e)
{
	(void)e;
	return 0; /* the worker started the engine before it answered hello */
}

static int proxy_queue_attach(struct mk_engine *e,
			      const struct mk_queue_desc *desc, int event_fd)
{
	struct mk_proxy *p = proxy_of(e);

	p->request.queue = *desc;
	return command(p, &(struct command){ .op = MK_MESSAGE_QUEUE_ATTACH,
					     .fd = event_fd });
}

static int proxy_queue_detach(struct mk_engine *e, uint32_t index,
			      uint64_t timeout_ns)
{
	return command_target(e, MK_MESSAGE_QUEUE_DETACH, index, -1,
			      timeout_ns);
}

static int proxy_queue_event_fd(struct mk_engine *e, uint32_t index, int fd)
{
	return command_target(e, MK_MESSAGE_QUEUE_EVENT_FD, index, fd, 0);
}

static int proxy_buffer_attach(struct mk_engine *e,
			       const struct mk_buffer_desc *desc)
{
	struct mk_proxy *p = proxy_of(e);

	p->request.buffer = *desc;
	return command(p, &(struct command){ .op = MK_MESSAGE_BUFFER_ATTACH,
					     .fd = -1 });
}

static int proxy_buffer_detach(struct mk_engine *e, uint32_t index,
			       uint64_t timeout_ns)
{
	return command_target(e, MK_MESSAGE_BUFFER_DETACH, index, -1,
			      timeout_ns);
}

static int proxy_buffer_copy(struct mk_engine *e, uint32_t index,
			     uint64_t offset, uint64_t staging, uint64_t bytes,
			     uint32_t flags)
{
	struct mk_proxy *p = proxy_of(e);

	p->request.copy = (struct mk_message_copy){
		.index = index, .flags = flags, .offset = offset,
		.staging = staging, .bytes = bytes,
	};
	return command(p, &(struct command){ .op = MK_MESSAGE_BUFFER_COPY,
					     .fd = -1 });
}

static int proxy_module_open(struct mk_engine *e,
			     const struct mk_module_desc *desc,
			     struct mk_handler_info *out, unsigned max,
			     unsigned *count)
{
	struct mk_proxy *p = proxy_of(e);
	int err;

	if (desc->table || desc->fd < 0)
		return mk_error_set(-EOPNOTSUPP, 0, "module_open",
				    "handlers that are linked into the program "
				    "cannot run in the worker process; use "
				    "isolation none, or load their source");
	if (max > MK_OPCODES)
		max = MK_OPCODES;
	p->request.module.id = desc->id;
	p->request.module.max = max;
	p->request.module.flags = desc->flags;
	p->request.module.reserved = 0;
	err = command(p, &(struct command){ .op = MK_MESSAGE_MODULE_OPEN,
					    .fd = desc->fd, .max = max });
	if (err)
		return err;
	*count = p->answer.head.count;
	if (*count)
		memcpy(out, p->answer.handlers, *count * sizeof(*out));
	return 0;
}

static int proxy_module_bind(struct mk_engine *e, uint32_t id,
			     const struct mk_opcode_map *map, unsigned count)
{
	struct mk_proxy *p = proxy_of(e);

	if (count > MK_OPCODES)
		return mk_error_set(-EINVAL, 0, "module_bind",
				    "count is %u, at most %u", count,
				    MK_OPCODES);
	p->request.module.id = id;
	p->request.module.max = 0;
	p->request.module.flags = p->request.module.reserved = 0;
	if (count)
		memcpy(p->request.module.map, map, count * sizeof(*map));
	return command(p, &(struct command){ .op = MK_MESSAGE_MODULE_BIND,
					     .fd = -1, .count = count });
}

static int proxy_module_close(struct mk_engine *e, uint32_t id,
			      uint64_t timeout_ns)
{
	return command_target(e, MK_MESSAGE_MODULE_CLOSE, id, -1, timeout_ns);
}

static int proxy_pause(struct mk_engine *e, uint64_t timeout_ns)
{
	return command_target(e, MK_MESSAGE_PAUSE, 0, -1, timeout_ns);
}

static int proxy_resume(struct mk_engine *e)
{
	return command(proxy_of(e), &(struct command){
					    .op = MK_MESSAGE_RESUME,
					    .fd = -1 });
}

const struct mk_engine_ops mk_engine_proxy = {
	.name = "proxy",
	.traits = 0, /* ask the engine behind it */
	.probe = proxy_probe,
	.open = proxy_open,
	.start = proxy_start,
	.close = proxy_close,
	.queue_attach = proxy_queue_attach,
	.queue_detach = proxy_queue_detach,
	.queue_event_fd = proxy_queue_event_fd,
	.buffer_attach = proxy_buffer_attach,
	.buffer_detach = proxy_buffer_detach,
	.buffer_copy = proxy_buffer_copy,
	.module_open = proxy_module_open,
	.module_bind = proxy_module_bind,
	.module_close = proxy_module_close,
	.pause = proxy_pause,
	.resume = proxy_resume,
};
