/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/order.h"
#include "worker/pulse.h"

void mk_serve_init(struct mk_serve *s, mk_serve_find_fn find)
{
	memset(s, 0, sizeof(*s));
	s->find = find;
	s->region.fd = -1;
}

/* ---- hello ------------------------------------------------------------ */

#define hello_fail(code, native, ...) \
	mk_error_set((code), (native), "hello", __VA_ARGS__)

/* Nobody can take the memory away from under us: its size is sealed. */
static int check_seals(int fd, uint64_t total_bytes)
{
	int seals = fcntl(fd, F_GET_SEALS);
	int wanted = F_SEAL_SHRINK | F_SEAL_GROW;
	struct stat st;

	if (seals < 0 || (seals & wanted) != wanted)
		return hello_fail(-MK_ESHARED, seals < 0 ? errno : 0,
				  "the shared memory is not sealed against a "
				  "change of its size (seals 0x%x)",
				  seals < 0 ? 0u : (unsigned)seals);
	if (fstat(fd, &st))
		return hello_fail(-errno, errno, "fstat of the shared memory: "
				  "%s", strerror(errno));
	if ((uint64_t)st.st_size != total_bytes)
		return hello_fail(-MK_ESHARED, 0,
				  "the shared memory has %" PRIu64
				  " bytes, the message says %" PRIu64,
				  (uint64_t)st.st_size, total_bytes);
	return 0;
}

void mk_serve_fini(struct mk_serve *s)
{
	if (s->region.base)
		munmap(s->region.base, s->region.total_bytes);
	if (s->region.fd >= 0)
		close(s->region.fd);
	s->region = (struct mk_region){ .fd = -1 };
}

/* The engine lost its device. Nothing that this process does can bring it
 * back, so the caller is told, by our end. */
static void engine_failed(void *arg)
{
	struct mk_serve *s = arg;

	/* pairs with the store in mk_serve_run(); before it, the answer to
	 * hello tells */
	if (mk_load_acquire(&s->open))
		_exit(MK_WORKER_FAILED);
}

/* Take fd over, map it, compare its first bytes with the message. */
static int take_region(struct mk_serve *s, const struct mk_engine_config *c,
		       int fd)
{
	struct mk_context_block block;
	void *base;
	int err = check_seals(fd, c->total_bytes);

	if (err)
		return err;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return hello_fail(-errno, errno, "no descriptor: %s",
				  strerror(errno));
	s->region.fd = fd;
	base = mmap(NULL, c->total_bytes, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (base == MAP_FAILED)
		return hello_fail(-errno, errno,
				  "cannot map %" PRIu64
				  " bytes of shared memory: %s",
				  c->total_bytes, strerror(errno));
	s->region.base = base;
	s->region.failed = engine_failed;
	s->region.failed_arg = s;
	s->region.shared_bytes = c->shared_bytes;
	s->region.total_bytes = c->total_bytes;
	/* the caller has it; a core file of the worker need not */
	madvise(base, c->total_bytes, MADV_DONTDUMP);
	/* a child that a handler forks, and that returns from it, would go on
	 * as a worker of its own: answer slots, run others, and outlive us */
	madvise(base, c->total_bytes, MADV_DONTFORK);
	memcpy(&block, base, sizeof(block));
	err = mk_message_check_block(&block, c);
	/* from the copy that was checked: the caller may change the other */
	s->region.workers_offset = block.workers_offset;
	return err;
}

static int open_engine(struct mk_serve *s, const struct mk_engine_config *c)
{
	int err = s->ops->open(c, &s->region, &s->engine);

	if (err) {
		s->engine = NULL;
		return err;
	}
	err = s->ops->start(s->engine);
	if (err) {
		/* it runs nothing yet, so nothing holds up its end */
		struct mk_error why = *mk_error_last();

		s->ops->close(s->engine, 0);
		s->engine = NULL;
		mk_error_copy(&why);
	}
	return err;
}

static int do_hello(struct mk_serve *s, int fd)
{
	const struct mk_message_hello *m = &s->in.hello;
	int err;

	s->ops = s->find(m->engine);
	if (!s->ops)
		return hello_fail(-MK_EENGINE, 0,
				  "this worker has no engine \"%s\"",
				  m->engine);
	err = take_region(s, &m->config, fd);
	if (!err)
		err = open_engine(s, &m->config);
	if (err) {
		mk_serve_fini(s);
		return err;
	}
	s->limits = (struct mk_message_limits){
		.open = true,
		.host_memory = s->ops->traits & MK_TRAIT_HOST_MEMORY,
		.windows = m->config.windows,
		.shared_bytes = m->config.shared_bytes,
		.total_bytes = m->config.total_bytes,
	};
	return 0;
}

/* ---- the other requests ----------------------------------------------- */

static int do_close(struct mk_serve *s)
{
	int err = 0;

	s->done = true;
	if (s->engine)
		err = s->ops->close(s->engine, s->in.target.timeout_ns);
	if (err) {
		s->abandoned = true; /* the end of the process ends it */
		return err;
	}
	s->engine = NULL;
	s->limits.open = false;
	mk_serve_fini(s);
	return 0;
}

static int do_module_open(struct mk_serve *s, int fd, uint32_t *count)
{
	struct mk_module_desc desc = { .id = s->in.module.id, .fd = fd,
				       .flags = s->in.module.flags };
	unsigned max = s->in.module.max, n = 0;
	int err;

	memset(s->out.handlers, 0, max * sizeof(s->out.handlers[0]));
	err = s->ops->module_open(s->engine, &desc, s->out.handlers, max, &n);
	*count = n < max ? n : max;
	return err;
}

static int do_buffer_copy(struct mk_serve *s)
{
	const struct mk_message_copy *c = &s->in.copy;

	if (!s->ops->buffer_copy)
		return mk_error_set(-EOPNOTSUPP, 0, "buffer_copy",
				    "buffers of this engine are shared memory");
	return s->ops->buffer_copy(s->engine, c->index, c->offset, c->staging,
				   c->bytes, c->flags);
}

/* Carry out a request that was checked. fd is -1 if none came along. */
static int carry_out(struct mk_serve *s, int fd, uint32_t *count)
{
	const struct mk_message_target *t = &s->in.target;
	const struct mk_engine_ops *ops = s->ops;

	switch (s->in.head.op) {
	case MK_MESSAGE_HELLO:
		return do_hello(s, fd);
	case MK_MESSAGE_CLOSE:
		return do_close(s);
	case MK_MESSAGE_QUEUE_ATTACH:
		return ops->queue_attach(s->engine, &s->in.queue, fd);
	case MK_MESSAGE_QUEUE_DETACH:
		return ops->queue_detach(s->engine, t->index, t->timeout_ns);
	case MK_MESSAGE_QUEUE_EVENT_FD:
		return ops->queue_event_fd(s->engine, t->index, fd);
	case MK_MESSAGE_BUFFER_ATTACH:
		return ops->buffer_attach(s->engine, &s->in.buffer);
	case MK_MESSAGE_BUFFER_DETACH:
		return ops->buffer_detach(s->engine, t->index, t->timeout_ns);
	case MK_MESSAGE_BUFFER_COPY:
		return do_buffer_copy(s);
	case MK_MESSAGE_MODULE_OPEN:
		return do_module_open(s, fd, count);
	case MK_MESSAGE_MODULE_BIND:
		return ops->module_bind(s->engine, s->in.module.id,
					s->in.module.map, s->in.head.count);
	case MK_MESSAGE_MODULE_CLOSE:
		return ops->module_close(s->engine, t->index, t->timeout_ns);
	case MK_MESSAGE_PAUSE:
		return ops->pause(s->engine, t->timeout_ns);
	default:
		return ops->resume(s->engine);
	}
}

/* The caller stopped waiting: it does not reckon with this any more, and may
 * have given the memory to something else. */
static int check_time(const struct mk_message_head *h)
{
	if (h->op == MK_MESSAGE_CLOSE || mk_time_left(h->deadline_ns))
		return 0;
	return mk_error_set(-ETIME, 0, mk_message_name(h->op),
			    "the request came too late and was not carried "
			    "out");
}

static int check_packet(struct mk_serve *s, const struct mk_packet *packet)
{
	if (packet->fds_lost)
		return mk_error_set(packet->fd_count < MK_MESSAGE_FDS ?
					    -EMFILE : -MK_EPROTO,
				    0, "message",
				    "descriptors were lost: only %u arrived",
				    packet->fd_count);
	/* one longer than s->in has a length that no op has: refused */
	return mk_message_check(&s->in, packet->bytes, packet->fd_count,
				&s->limits);
}

size_t mk_serve_packet(struct mk_serve *s, struct mk_packet *packet)
{
	struct mk_message_head asked = { 0 };
	uint32_t count = 0;
	int err;

	mk_error_set(0, 0, "", "%s", ""); /* so that no old words go along */
	err = check_packet(s, packet);
	if (!err)
		err = check_time(&s->in.head);
	if (!err)
		err = carry_out(s, packet->fd_count ? packet->fds[0] : -1,
				&count);
	if (packet->bytes >= sizeof(asked))
		asked = s->in.head;
	mk_packet_close(packet);
	return mk_answer_seal(&s->out, &asked, err < 0 ? err : 0, count);
}

/* ---- the leash -------------------------------------------------------- */

/* The caller's process, or -1 if only the socket can tell of its end: it is
 * not our parent (someone stands between), or the kernel has no pidfd. */
static int open_caller(int sock)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);
	int fd;

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &n) ||
	    peer.pid <= 0 || peer.pid != getppid())
		return -1;
	/* that ends us even if we are stopped when it happens. The parent, to
	 * the kernel, is the thread that started us: see watch.c */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = (int)syscall(SYS_pidfd_open, peer.pid, 0);
	/* a parent that is still our parent was the one we opened, and had
	 * not ended before the above */
	if (peer.pid != getppid())
		_exit(0);
	return fd;
}

struct leash {
	int sock, caller;
};

/*
 * End the process when the caller is gone, even while the serving thread is
 * in the engine and handlers run. The socket alone would do, but for children
 * that the caller forked and that hold its end.
 */
static void *leash_main(void *arg)
{
	const struct leash *leash = arg;
	struct pollfd pfd[2] = {
		{ .fd = leash->sock, .events = POLLRDHUP },
		{ .fd = leash->caller, .events = POLLIN },
	};

	while (poll(pfd, 2, -1) < 0 && (errno == EINTR || errno == ENOMEM))
		;
	_exit(0);
}

static int leash_start(struct leash *leash)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;
	int e = pthread_attr_init(&attr);

	if (e)
		return e;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	e = pthread_create(&thread, &attr, leash_main, leash);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return e;
}

/* ---- the process ------------------------------------------------------ */

static bool is_ours(int fd)
{
	int type = 0;
	socklen_t n = sizeof(type);

	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) &&
	       type == SOCK_SEQPACKET;
}

int mk_serve_run(int sock, mk_serve_find_fn find)
{
	static struct mk_serve serve;
	static struct leash leash;
	struct mk_packet packet = { .data = &serve.in,
				    .room = sizeof(serve.in) };
	bool pulse = false;
	size_t bytes;

	if (!is_ours(sock))
		return 2;
	fcntl(sock, F_SETFD, FD_CLOEXEC); /* not for children of handlers */
	leash.sock = sock;
	leash.caller = open_caller(sock);
	if (leash_start(&leash))
		_exit(1); /* could outlive its caller: better not to begin */
	mk_serve_init(&serve, find);
	while (!serve.done) {
		if (mk_channel_recv(sock, &packet, UINT64_MAX))
			_exit(0);
		bytes = mk_serve_packet(&serve, &packet);
		if (serve.limits.open && !pulse) {
			struct mk_context_block *b = (void *)serve.region.base;

			/* before the answer; without it all goes on */
			(void)mk_pulse_start(&b->pulse);
			pulse = true;
		}
		/* to a caller that ends us, only if that does not block */
		if (mk_channel_send(sock, &serve.out, bytes, -1,
				    serve.done ? 0 : UINT64_MAX) &&
		    !serve.done)
			_exit(0);
		mk_store_release(&serve.open, serve.limits.open);
	}
	if (serve.abandoned)
		_exit(0);
	return 0;
}
