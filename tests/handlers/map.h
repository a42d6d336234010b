/* SPDX-License-Identifier: Apache-2.0 */
/* A file in chunks, as `megakernel map` would run a handler over it. */
#ifndef MK_TESTS_HANDLERS_MAP_H
#define MK_TESTS_HANDLERS_MAP_H

#include "handlers/task.h"

#include <stdio.h>
#include <stdlib.h>

/* The state area lies among others that must not change. */
#define MAP_STATE_AT 512u

struct map_run {
	struct hand_made h;
	_Alignas(16) unsigned char area[1024];
	struct mk_map_state result;
	uint32_t text; /* MK_MAP_UTF8, MK_MAP_POSIX, for map_file() */
};

static inline void map_begin(struct map_run *m)
{
	task_init(&m->h);
	memset(m->area, 0xa5, sizeof(m->area));
}

static inline int32_t map_chunk(struct map_run *m, uint32_t opcode,
				const void *data, uint64_t bytes,
				uint32_t flags)
{
	/* the chunk lies somewhere in an allocation of its exact end, so that
	 * a sanitizer sees a read past it, and not aligned */
	unsigned char *copy = malloc(bytes + 1);
	struct mk_map_args args = { .offset = 1, .bytes = bytes,
				    .flags = flags,
				    .state_offset = MAP_STATE_AT };
	int32_t rc;

	assert_non_null(copy);
	if (bytes)
		memcpy(copy + 1, data, bytes);
	args.data = task_buffer(&m->h, 1, copy, bytes + 1,
				MK_BUFFER_READ_ONLY);
	args.state = task_buffer(&m->h, 2, m->area, sizeof(m->area), 0);
	rc = task_run(&m->h, opcode, &args, sizeof(args));
	free(copy);
	memcpy(&m->result, m->area + MAP_STATE_AT, sizeof(m->result));
	for (unsigned i = 0; i < sizeof(m->area); i++)
		if (i < MAP_STATE_AT || i >= MAP_STATE_AT + MK_MAP_STATE_BYTES)
			assert_int_equal(m->area[i], 0xa5);
	return rc;
}

/* A whole file in chunks of `chunk` bytes. */
static inline void map_file(struct map_run *m, uint32_t opcode,
			    const void *data, uint64_t bytes, uint64_t chunk)
{
	uint64_t at = 0, part;

	map_begin(m);
	do {
		part = bytes - at < chunk ? bytes - at : chunk;
		assert_int_equal(map_chunk(m, opcode,
					   (const unsigned char *)data + at,
					   part,
					   m->text | (at ? 0 : MK_MAP_FIRST) |
					   (at + part == bytes ?
						    MK_MAP_LAST : 0)), MK_OK);
		at += part;
	} while (at < bytes);
}

static inline void map_expect_hex(const struct map_run *m, const char *hex)
{
	char got[2 * MK_MAP_PAYLOAD_BYTES + 1] = "";

	assert_int_equal(m->result.kind, MK_MAP_HEX);
	assert_in_range(m->result.length, 1, MK_MAP_PAYLOAD_BYTES);
	for (unsigned i = 0; i < m->result.length; i++)
		snprintf(got + 2 * i, 3, "%02x", m->result.payload[i]);
	assert_string_equal(got, hex);
}

/* What every handler of this convention refuses. */
static inline void map_expect_refusals(uint32_t opcode)
{
	static struct map_run m;
	struct mk_map_args good = { .bytes = 8, .flags = MK_MAP_FIRST }, a;
	unsigned char data[16] = { 0 };

	map_begin(&m);
	good.data = task_buffer(&m.h, 1, data, sizeof(data), 0);
	good.state = task_buffer(&m.h, 2, m.area, sizeof(m.area), 0);
	assert_int_equal(task_run(&m.h, opcode, &good, sizeof(good)), MK_OK);
	a = good;
	a.flags |= MK_MAP_FLAGS + 1;
	assert_int_equal(task_run(&m.h, opcode, &a, sizeof(a)), -MK_EARGS);
	a = good;
	a.state_offset = 4;
	assert_int_equal(task_run(&m.h, opcode, &a, sizeof(a)), -MK_EARGS);
	a = good;
	a.state_offset = sizeof(m.area) - MK_MAP_STATE_BYTES + 8;
	assert_int_equal(task_run(&m.h, opcode, &a, sizeof(a)), -MK_ERANGE);
	a = good;
	a.offset = 9;
	assert_int_equal(task_run(&m.h, opcode, &a, sizeof(a)), -MK_ERANGE);
	a = good;
	a.bytes = UINT64_MAX;
	assert_int_equal(task_run(&m.h, opcode, &a, sizeof(a)), -MK_ERANGE);
	a = good;
	a.state.generation++;
	assert_int_equal(task_run(&m.h, opcode, &a, sizeof(a)), -MK_EFOREIGN);
	a = good;
	a.data.generation--;
	assert_int_equal(task_run(&m.h, opcode, &a, sizeof(a)), -MK_ESTALE);
	m.h.window[2].flags = MK_BUFFER_READ_ONLY;
	assert_int_equal(task_run(&m.h, opcode, &good, sizeof(good)),
			 -MK_EACCESS);
}

/* A long chunk can be cancelled; a short one is done before it is asked. */
static inline void map_expect_cancel(uint32_t opcode)
{
	static struct map_run m;
	size_t bytes = 8u << 20;
	unsigned char *data = calloc(1, bytes);

	assert_non_null(data);
	map_begin(&m);
	m.h.cancel = m.h.task.cancel_mark;
	assert_int_equal(map_chunk(&m, opcode, data, bytes, MK_MAP_FIRST),
			 -MK_ECANCELLED);
	assert_int_equal(map_chunk(&m, opcode, data, 64, MK_MAP_FIRST), MK_OK);
	free(data);
}

#endif
