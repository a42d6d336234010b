/* SPDX-License-Identifier: Apache-2.0 */
/* Faults of what the context stands on: memory, descriptors, the worker's
 * program, the cache, the socket, the clock. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "chaos.h"

#define BOUND_NS 60000000000u

static void nap_ms(unsigned ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

static struct mk_ctx_stats stats_of(struct chaos *c)
{
	struct mk_ctx_stats s;

	memset(&s, 0, sizeof(s));
	mk_ctx_stats(c->load.ctx, &s);
	return s;
}

/* ---- memory ------------------------------------------------------------ */

/* In this thread the kernel has no room for shared memory any more. */
static bool forbid_memory(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fallocate, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSPC),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

struct no_memory {
	struct chaos *c;
	bool filtered;
	int buffer, queue, ctx;
};

static void *without_memory(void *arg)
{
	struct mk_ctx_params p = { .size = sizeof(p), .engine = "cpu",
				   .isolation = MK_ISOLATION_NONE,
				   .workers = 1 };
	struct no_memory *n = arg;
	struct mk_ctx *ctx = NULL;
	struct mk_queue *q = NULL;
	mk_buffer_t b = 0;

	n->filtered = forbid_memory();
	if (!n->filtered)
		return NULL;
	n->queue = mk_queue_create(n->c->load.ctx, NULL, &q);
	n->buffer = mk_buffer_create(n->c->load.ctx, 100000, 0, &b);
	n->ctx = mk_ctx_create(&p, &ctx);
	if (q)
		mk_queue_destroy(q, BOUND_NS);
	if (b)
		mk_buffer_destroy(n->c->load.ctx, b, BOUND_NS);
	mk_ctx_destroy(ctx, BOUND_NS);
	return NULL;
}

bool chaos_memory(struct chaos *c)
{
	struct no_memory n = { .c = c };
	struct mk_queue *q;
	pthread_t thread;
	int r;

	r = pthread_create(&thread, NULL, without_memory, &n);
	if (r) {
		chaos_complain(c, "memory: no thread: %s", strerror(r));
		return false;
	}
	pthread_join(thread, NULL);
	if (!n.filtered) {
		chaos_complain(c, "memory: no system-call filter: %s",
			       strerror(errno));
		return false;
	}
	/* device memory needs no room here */
	if (n.queue != -ENOMEM || (c->cpu && n.buffer != -ENOMEM) ||
	    n.ctx != -ENOSPC) {
		c->tally.wrong++;
		chaos_complain(c, "without memory: queue %s, buffer %s, "
			       "context %s", mk_code_name(n.queue),
			       mk_code_name(n.buffer), mk_code_name(n.ctx));
		return false;
	}
	/* with it, all is as it was */
	r = mk_queue_create(c->load.ctx, NULL, &q);
	if (!r)
		r = (int)mk_queue_destroy(q, BOUND_NS);
	if (r)
		chaos_complain(c, "memory is there again, but a queue: %s",
			       mk_error_last()->text);
	return !r;
}

/* ---- starts that fail -------------------------------------------------- */

/* Kill the worker, see at least one start fail, then let one succeed. */
static bool fail_start(struct chaos *c, enum chaos_kind kind,
		       void (*spoil)(struct chaos *, uint64_t),
		       void (*mend)(struct chaos *), uint64_t noise)
{
	uint64_t deadline = mk_deadline_after(BOUND_NS);
	struct chaos_blow blow;
	bool failed;
	int pid, r;

	do {
		pid = chaos_worker(c);
		spoil(c, noise);
		r = pid ? chaos_strike(c, pid, SIGKILL, &blow) : -ECHILD;
		if (r)
			mend(c);
	} while (r == -ESRCH);
	if (r) {
		chaos_complain(c, "%s: no worker process to kill: %s",
			       chaos_kinds[kind].name, strerror(-r));
		return false;
	}
	while (stats_of(c).restarts_failed == blow.before.restarts_failed &&
	       mk_time_left(deadline))
		nap_ms(1);
	failed = stats_of(c).restarts_failed != blow.before.restarts_failed;
	nap_ms((unsigned)(noise >> 32) % 8);
	mend(c);
	if (!failed)
		chaos_complain(c, "%s: no start failed",
			       chaos_kinds[kind].name);
	return chaos_await_loss(c, kind, blow.at_ns, blow.before.losses) &&
	       failed;
}

static struct rlimit descriptors;

static void no_descriptors(struct chaos *c, uint64_t noise)
{
	struct rlimit low;

	(void)c;
	getrlimit(RLIMIT_NOFILE, &descriptors);
	low = descriptors;
	low.rlim_cur = noise % 3 + 3;
	setrlimit(RLIMIT_NOFILE, &low);
}

static void descriptors_again(struct chaos *c)
{
	(void)c;
	setrlimit(RLIMIT_NOFILE, &descriptors);
}

bool chaos_descriptors(struct chaos *c)
{
	return fail_start(c, CHAOS_DESCRIPTORS, no_descriptors,
			  descriptors_again, chaos_mix(c->serial));
}

/* The context was told of a link of ours; it leads elsewhere now. */
static void link_to(struct chaos *c, const char *target)
{
	char made[96], path[96];

	snprintf(made, sizeof(made), "%s/worker.new", c->dir);
	snprintf(path, sizeof(path), "%s/worker", c->dir);
	unlink(made);
	if (symlink(target, made) || rename(made, path))
		chaos_complain(c, "link of the worker: %s", strerror(errno));
}

static void no_program(struct chaos *c, uint64_t noise)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/garbage", c->dir);
	switch (noise % 4) {
	case 0:
		link_to(c, "/nonexistent");
		break;
	case 1:
		link_to(c, "/bin/false"); /* starts, and ends at once */
		break;
	case 2:
		link_to(c, "/bin/true");
		break;
	default:
		link_to(c, path); /* executable, and no program */
	}
}

static void program_again(struct chaos *c)
{
	link_to(c, c->worker);
}

bool chaos_restart(struct chaos *c, const struct chaos_fault *f)
{
	return fail_start(c, CHAOS_RESTART, no_program, program_again,
			  f->noise);
}

/* ---- cache ------------------------------------------------------------- */

static const char garbage[] = "this is no module";

/* Some entry of the cache; its name is written to path. */
static bool an_entry(const struct chaos *c, uint64_t noise, char *path,
		     size_t room)
{
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	snprintf(path, room, "%s/cache", c->dir);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		n++;
		/* each with the same chance */
		if (chaos_mix(noise ^ n) % n == 0)
			snprintf(path, room, "%s/cache/%.64s", c->dir,
				 e->d_name);
	}
	if (d)
		closedir(d);
	return n;
}

static bool damage(const char *path, uint64_t noise)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;
	char byte;
	bool done = fd >= 0 && !fstat(fd, &st) && st.st_size;

	if (!done)
		;
	else if (noise % 4 == 0)
		done = !ftruncate(fd, (off_t)(noise >> 8) % st.st_size);
	else if (noise % 4 == 1)
		done = pwrite(fd, garbage, sizeof(garbage), 0) > 0;
	else if (noise % 4 == 2)
		done = pwrite(fd, garbage, sizeof(garbage), st.st_size) > 0;
	else if (pread(fd, &byte, 1, (off_t)(noise >> 8) % st.st_size) == 1)
		done = (byte ^= (char)(1u << (noise >> 4) % 8), true) &&
		       pwrite(fd, &byte, 1,
			      (off_t)(noise >> 8) % st.st_size) == 1;
	if (fd >= 0)
		close(fd);
	return done;
}

/* Load them all again, in place of themselves. The workload uses them all
 * the while, and checks its answers. */
static int load_again(struct chaos *c)
{
	static const char *const source[] = {
		chaos_work_source, chaos_twist_source, chaos_fault_source,
		chaos_flow_source, chaos_io_source, chaos_stream_source,
		chaos_cpu_source,
	};
	static const char *const name[] = { "work.c", "twist.c", "fault.c",
					    "flow.c", "io.c", "stream.c",
					    "cpu.c" };
	unsigned n = c->cpu ? 7 : 6;
	uint64_t deadline = mk_deadline_after(BOUND_NS);
	int r = 0;

	for (unsigned i = 0; i < n && !r;) {
		r = mk_module_load_source(c->load.ctx, name[i], source[i],
					  MK_MODULE_REPLACE, NULL);
		/* lost meanwhile, by something else */
		if (r == -MK_EDEVLOST && mk_time_left(deadline)) {
			chaos_worker(c);
			r = 0;
		} else {
			i++;
		}
	}
	return r;
}

/* How many entries begin as a module does; with `spoil` none does then. */
static unsigned good_entries(const struct chaos *c, bool spoil)
{
	char path[192], head[sizeof(garbage)];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/cache", c->dir);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		int fd;

		snprintf(path, sizeof(path), "%s/cache/%.64s", c->dir,
			 e->d_name);
		fd = e->d_name[0] == '.' ? -1 : open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		n += pread(fd, head, sizeof(head), 0) == sizeof(head) &&
		     memcmp(head, garbage, sizeof(head)) != 0;
		if (spoil && pwrite(fd, garbage, sizeof(garbage), 0) < 0)
			n--;
		close(fd);
	}
	if (d)
		closedir(d);
	return n;
}

/* An engine that has its program reads no entry, but a new one does. Which of
 * them it needs is its own business: they are all damaged. */
static bool cache_of_next(struct chaos *c)
{
	struct chaos_blow blow;
	unsigned had;
	int pid, r;

	do {
		pid = chaos_worker(c);
		had = good_entries(c, true);
		r = had && pid ? chaos_strike(c, pid, SIGKILL, &blow) :
				 -ECHILD;
	} while (r == -ESRCH);
	if (r) {
		chaos_complain(c, "cache: %s", had ? "no worker" :
			       "nothing to damage");
		return false;
	}
	if (!chaos_await_loss(c, CHAOS_CACHE, blow.at_ns, blow.before.losses))
		return false;
	if (good_entries(c, false))
		return true;
	c->tally.wrong++;
	chaos_complain(c, "damaged cache entries were taken as they were");
	return false;
}

bool chaos_cache(struct chaos *c, const struct chaos_fault *f)
{
	struct stat before, after;
	char path[192];
	bool rebuilt;
	int r, fd;

	if (!c->cpu)
		return cache_of_next(c);
	if (!an_entry(c, f->noise, path, sizeof(path)) ||
	    !damage(path, chaos_mix(f->noise))) {
		chaos_complain(c, "cache: nothing to damage");
		return false;
	}
	/* held open, so that no other file gets its number */
	fd = open(path, O_RDONLY | O_CLOEXEC);
	r = load_again(c);
	rebuilt = fd >= 0 && !fstat(fd, &before) && !stat(path, &after) &&
		  after.st_ino != before.st_ino;
	if (fd >= 0)
		close(fd);
	/* another file has its name now, or nobody noticed */
	if (!r && rebuilt)
		return true;
	c->tally.wrong++;
	chaos_complain(c, "a damaged cache entry: %s",
		       r ? mk_error_last()->text : "taken as it was");
	return false;
}

/* ---- socket ------------------------------------------------------------ */

/* The library's end of the socket to its worker: the only connected one of its
 * kind. (libcuda may have such sockets too, which wait for a peer.) */
static int find_socket(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	for (int fd = 3; fd < 1024 && fd < (int)limit.rlim_cur; fd++) {
		struct sockaddr_un name = { 0 };
		socklen_t n = sizeof(name);
		int type = 0;

		if (getpeername(fd, (struct sockaddr *)&name, &n) ||
		    name.sun_family != AF_UNIX)
			continue;
		n = sizeof(type);
		if (!getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) &&
		    type == SOCK_SEQPACKET)
			return fd;
	}
	return -1;
}

/* How many of some packets could be sent; else *code says why not. */
static unsigned send_garbage(int fd, uint64_t noise, int *code)
{
	unsigned packets = 1 + noise % 7, sent = 0;
	unsigned char bytes[700];

	*code = ENOTCONN;
	for (unsigned i = 0; fd >= 0 && i < packets; i++) {
		size_t n = (noise = chaos_mix(noise)) % sizeof(bytes);

		for (size_t k = 0; k < n; k++)
			bytes[k] = (unsigned char)(noise = chaos_mix(noise));
		if (send(fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL) ==
		    (ssize_t)n)
			sent++;
		else
			*code = errno;
	}
	return sent;
}

/* The worker may refuse it, or end; the library may not believe what comes
 * back. In every case all goes on. */
bool chaos_socket(struct chaos *c, const struct chaos_fault *f)
{
	uint64_t deadline = mk_deadline_after(BOUND_NS);
	struct mk_queue *q = NULL;
	unsigned sent;
	int r, e;

	/* a worker that something else ends just now has no socket: the next */
	while (!(sent = send_garbage(chaos_worker(c) ? find_socket() : -1,
				     f->noise, &e)) && mk_time_left(deadline))
		nap_ms(1);
	if (!sent) {
		chaos_complain(c, "socket: nothing could be sent: %s",
			       strerror(e));
		return false;
	}
	/* a command, so that what came back is read; it may fail */
	r = mk_queue_create(c->load.ctx, NULL, &q);
	if (!r)
		mk_queue_destroy(q, BOUND_NS);
	return chaos_probe(c, mk_deadline_after(BOUND_NS));
}

/* ---- clock ------------------------------------------------------------- */

/* Step the time of day for a moment; a deadline must not see it. */
bool chaos_clock(struct chaos *c, const struct chaos_fault *f)
{
	struct timespec was, t, begin, end;
	bool good;

	clock_gettime(CLOCK_REALTIME, &was);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	t = was;
	t.tv_sec += f->noise & 1 ? 86400 : -86400;
	if (clock_settime(CLOCK_REALTIME, &t)) {
		chaos_complain(c, "clock: %s", strerror(errno));
		return false;
	}
	good = chaos_probe(c, mk_deadline_after(BOUND_NS));
	clock_gettime(CLOCK_MONOTONIC, &end);
	was.tv_sec += end.tv_sec - begin.tv_sec;
	was.tv_nsec += end.tv_nsec - begin.tv_nsec;
	if (was.tv_nsec < 0)
		was.tv_sec--, was.tv_nsec += 1000000000;
	if (was.tv_nsec >= 1000000000)
		was.tv_sec++, was.tv_nsec -= 1000000000;
	clock_settime(CLOCK_REALTIME, &was);
	return good;
}
