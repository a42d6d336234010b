/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole packets with descriptors over a SOCK_SEQPACKET socket, until a
 * deadline of base/clock.h. Allocates nothing; raises no SIGPIPE.
 */
#ifndef MK_WORKER_CHANNEL_H
#define MK_WORKER_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MK_CHANNEL_FDS 4u /* most that are taken out of one packet */

/* Send one packet and, unless fd is negative, that descriptor. 0, -ETIME,
 * -EPIPE (the other side is gone), or another errno. */
int mk_channel_send(int sock, const void *data, size_t bytes, int fd,
		    uint64_t deadline_ns);

struct mk_packet {
	void *data;   /* in: where to put it */
	size_t room;  /* in */
	size_t bytes; /* out; above room if the packet was longer */
	int fds[MK_CHANNEL_FDS]; /* out: close-on-exec; the receiver's */
	unsigned fd_count;
	bool fds_lost; /* out: more came than fit, or than could be opened */
};

/* Receive one packet. 0, -ETIME, -EPIPE (the other side is gone and all it
 * sent was read), or another errno. */
int mk_channel_recv(int sock, struct mk_packet *packet, uint64_t deadline_ns);

/* Close the descriptors that came with the packet. */
void mk_packet_close(struct mk_packet *packet);

#endif
