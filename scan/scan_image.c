/* SPDX-License-Identifier: Apache-2.0 */
#include "scan/scan_image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int scan_image_begin(struct scan_image *m, uint32_t kind)
{
	struct mk_scan_image *head;

	m->room = 65536;
	m->used = sizeof(*head);
	m->data = calloc(1, m->room);
	if (!m->data)
		return -ENOMEM;
	head = scan_image_head(m);
	head->magic = MK_SCAN_MAGIC;
	head->version = MK_SCAN_VERSION;
	head->kind = kind;
	return 0;
}

uint32_t scan_image_table(struct scan_image *m, uint64_t bytes)
{
	size_t at = m->used, room = m->room;
	unsigned char *data;

	if (bytes > SCAN_IMAGE_MAX || at + bytes > SCAN_IMAGE_MAX)
		return 0;
	bytes = (bytes + 15) & ~UINT64_C(15);
	while (room - at < bytes)
		room *= 2;
	if (room != m->room) {
		data = realloc(m->data, room);
		if (!data)
			return 0;
		memset(data + m->room, 0, room - m->room);
		m->data = data;
		m->room = room;
	}
	m->used += bytes;
	return (uint32_t)at;
}

/* Any change of a byte changes it; it guards against accidents. */
static uint64_t check_of(const unsigned char *at, size_t bytes)
{
	uint64_t sum = MK_SCAN_HASH, word;

	for (; bytes >= 8; bytes -= 8, at += 8) {
		memcpy(&word, at, 8);
		sum = (sum ^ word) * MK_SCAN_HASH;
		sum ^= sum >> 29;
	}
	for (; bytes; bytes--, at++)
		sum = (sum ^ *at) * MK_SCAN_HASH;
	return sum ^ sum >> 32;
}

void scan_image_end(struct scan_image *m, void **image, size_t *bytes)
{
	struct mk_scan_image *head = scan_image_head(m);

	head->bytes = m->used;
	head->check = check_of(m->data + sizeof(*head),
			       m->used - sizeof(*head));
	*image = m->data;
	*bytes = m->used;
	m->data = NULL;
}

void scan_image_drop(struct scan_image *m)
{
	free(m->data);
	m->data = NULL;
}

int scan_image_check(const void *image, size_t bytes)
{
	const struct mk_scan_image *head = image;

	if (bytes < sizeof(*head) || head->magic != MK_SCAN_MAGIC ||
	    head->version != MK_SCAN_VERSION || head->bytes != bytes ||
	    (head->kind != MK_SCAN_LITERALS &&
	     head->kind != MK_SCAN_AUTOMATON) ||
	    head->check != check_of((const unsigned char *)image +
					    sizeof(*head),
				    bytes - sizeof(*head)))
		return -EBADMSG;
	return 0;
}
