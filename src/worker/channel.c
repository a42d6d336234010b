/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/channel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define NS_PER_S 1000000000u

/* Until the socket is ready or broken: 0; -ETIME; or another errno. */
static int await(int sock, short events, uint64_t deadline_ns)
{
	struct pollfd pfd = { .fd = sock, .events = events };
	struct timespec left;
	uint64_t ns;
	int n;

	for (;;) {
		ns = mk_time_left(deadline_ns);
		left.tv_sec = (time_t)(ns / NS_PER_S);
		left.tv_nsec = (long)(ns % NS_PER_S);
		n = ppoll(&pfd, 1, deadline_ns == UINT64_MAX ? NULL : &left,
			  NULL);
		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIME;
		if (errno != EINTR)
			return -errno;
	}
}

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(MK_CHANNEL_FDS * sizeof(int))];
};

int mk_channel_send(int sock, const void *data, size_t bytes, int fd,
		    uint64_t deadline_ns)
{
	struct iovec iov = { .iov_base = (void *)data, .iov_len = bytes };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control control;
	struct cmsghdr *c;
	int err;

	if (fd >= 0) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	for (;;) {
		if (sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return 0;
		if (errno == ECONNRESET)
			return -EPIPE;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		err = await(sock, POLLOUT, deadline_ns);
		if (err)
			return err;
	}
}

static void take_fds(struct mk_packet *packet, struct msghdr *msg)
{
	struct cmsghdr *c;
	unsigned n;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		/* the control buffer has room for no more than these */
		n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(packet->fds + packet->fd_count, CMSG_DATA(c),
		       n * sizeof(int));
		packet->fd_count += n;
	}
}

static bool hung_up(int sock)
{
	struct pollfd pfd = { .fd = sock, .events = POLLRDHUP };

	return poll(&pfd, 1, 0) > 0;
}

int mk_channel_recv(int sock, struct mk_packet *packet, uint64_t deadline_ns)
{
	struct iovec iov = { .iov_base = packet->data,
			     .iov_len = packet->room };
	union control control;
	struct msghdr msg;
	ssize_t n;
	int err;

	packet->bytes = 0;
	packet->fd_count = 0;
	packet->fds_lost = false;
	for (;;) {
		msg = (struct msghdr){
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control.bytes,
			.msg_controllen = sizeof(control.bytes),
		};
		n = recvmsg(sock, &msg,
			    MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
		if (n >= 0)
			break;
		/* a reset is told once, before what was sent earlier */
		if (errno == EINTR || errno == ECONNRESET)
			continue;
		if (errno != EAGAIN)
			return -errno;
		err = await(sock, POLLIN, deadline_ns);
		if (err)
			return err;
	}
	packet->bytes = (size_t)n;
	packet->fds_lost = msg.msg_flags & MSG_CTRUNC;
	take_fds(packet, &msg);
	/* nothing: the end, or a packet of no bytes from someone hostile */
	if (n == 0 && hung_up(sock)) {
		mk_packet_close(packet);
		return -EPIPE;
	}
	return 0;
}

void mk_packet_close(struct mk_packet *packet)
{
	for (unsigned i = 0; i < packet->fd_count; i++)
		close(packet->fds[i]);
	packet->fd_count = 0;
}
