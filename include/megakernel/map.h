/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file map.h
 * What a handler must do to run under `megakernel map HANDLER PATH...`.
 *
 * The program reads every file in chunks and runs one slot for each chunk, in
 * order; chunks of different files run side by side. All chunks of a file
 * share one state area, which the first chunk finds zeroed. After the last
 * chunk the state area has the result. A file of 0 bytes is one chunk of 0
 * bytes, first and last.
 *
 *	#include <megakernel/handler.h>
 *	#include <megakernel/map.h>
 *
 *	struct zeros { uint64_t seen; };
 *
 *	MK_HANDLER(zeros, struct mk_map_args)
 *	{
 *		const unsigned char *data = mk_map_data(task, args);
 *		struct zeros *z = mk_map_state(task, args, sizeof(*z));
 *
 *		if (!data || !z)
 *			return mk_fail(task);
 *		if (mk_lane(task) != 0)
 *			return MK_OK;
 *		for (uint64_t i = 0; i < args->bytes; i++)
 *			z->seen += data[i] == 0;
 *		if (mk_map_last(args))
 *			mk_map_number(task, args, z->seen);
 *		return MK_OK;
 *	}
 *
 * A handler that ends with a negative result ends its file: the program
 * prints the code's text and goes on with the other files.
 *
 * If the worker process is lost, chunks that it had in hand are run again, with
 * the state area as it was before them: what a handler does beside that area
 * may happen twice. One that crashes ends its file.
 */
#ifndef MEGAKERNEL_MAP_H
#define MEGAKERNEL_MAP_H

#include <megakernel/handler.h>

#define MK_MAP_FIRST 1u /* the first chunk of its file */
#define MK_MAP_LAST 2u  /* the last; both on a file of one chunk */
/* the locale of who asks; only `count` is told, and on every chunk alike */
#define MK_MAP_UTF8 4u  /* its text is UTF-8 */
#define MK_MAP_POSIX 8u /* POSIXLY_CORRECT is set */
#define MK_MAP_FLAGS 15u /* all of these */

#define MK_MAP_STATE_BYTES 256u   /* the state area of a file */
#define MK_MAP_PAYLOAD_BYTES 248u /* of these, the handler's own */

/* The argument block of every handler that runs under map. */
struct mk_map_args {
	struct mk_ref data;    /* the buffer that has the chunk */
	struct mk_ref state;   /* the buffer that has the state area */
	uint64_t offset;       /* of the chunk in data */
	uint64_t bytes;        /* of the chunk; 0 is allowed */
	uint32_t flags;        /* MK_MAP_FIRST, MK_MAP_LAST, ... */
	uint32_t state_offset; /* multiple of 8 */
};

/* How the result of a file is printed. */
enum mk_map_kind {
	MK_MAP_NUMBER = 0,  /* the value of the last completion, decimal */
	MK_MAP_HEX = 1,     /* length bytes of payload, lower-case hex */
	MK_MAP_COLUMNS = 2, /* length / 8 numbers of 64 bits, in columns */
	MK_MAP_TEXT = 3     /* length bytes of payload as they are */
};

/*
 * The state area. Until the last chunk the payload is the handler's running
 * state; the header stays 0, which makes MK_MAP_NUMBER the default.
 */
struct mk_map_state {
	uint32_t kind;   /* enum mk_map_kind */
	uint32_t length; /* bytes of payload, at most MK_MAP_PAYLOAD_BYTES */
	unsigned char payload[MK_MAP_PAYLOAD_BYTES];
};

MK_ASSERT_SIZE(struct mk_map_args, 40);
MK_ASSERT_SIZE(struct mk_map_state, MK_MAP_STATE_BYTES);

MK_FN int mk_map_first(const struct mk_map_args *args)
{
	return (args->flags & MK_MAP_FIRST) != 0;
}

MK_FN int mk_map_last(const struct mk_map_args *args)
{
	return (args->flags & MK_MAP_LAST) != 0;
}

/** The bytes of the chunk, or NULL: return mk_fail(task). */
MK_FN const unsigned char *mk_map_data(struct mk_task *task,
				       const struct mk_map_args *args)
{
	return mk_read_at(task, args->data, args->offset, args->bytes);
}

/* The whole state area, or NULL with task->error set. */
MK_FN struct mk_map_state *mk_map_area(struct mk_task *task,
				       const struct mk_map_args *args)
{
	if (args->flags & ~MK_MAP_FLAGS || args->state_offset % 8u) {
		mk_set_error(task, MK_EARGS);
		return (struct mk_map_state *)0;
	}
	return mk_write_at(task, args->state, args->state_offset,
			   MK_MAP_STATE_BYTES);
}

/**
 * The handler's running state, zeroed before the first chunk, 8-byte aligned;
 * NULL: return mk_fail(task). Every lane has to call it.
 *
 * @param bytes  of the state, at most MK_MAP_PAYLOAD_BYTES.
 */
MK_FN MK_ANY mk_map_state(struct mk_task *task, const struct mk_map_args *args,
			  uint32_t bytes)
{
	struct mk_map_state *area = mk_map_area(task, args);

	if (area && bytes > MK_MAP_PAYLOAD_BYTES) {
		mk_set_error(task, MK_ERANGE);
		area = (struct mk_map_state *)0;
	}
	if (!area)
		return MK_AS_ANY(MK_ANY, (void *)0);
	if (mk_map_first(args)) {
		uint64_t *word = (uint64_t *)(void *)area;

		for (uint32_t i = mk_lane(task); i < MK_MAP_STATE_BYTES / 8u;
		     i += mk_lanes(task))
			word[i] = 0;
		mk_sync(task);
	}
	return MK_AS_ANY(MK_ANY, area->payload);
}

/* ---- results: by one lane, on the last chunk --------------------------- */

/** The result is one number. */
MK_FN void mk_map_number(struct mk_task *task, const struct mk_map_args *args,
			 uint64_t value)
{
	struct mk_map_state *area = mk_map_area(task, args);

	if (area) {
		area->kind = MK_MAP_NUMBER;
		area->length = 0;
	}
	mk_value(task, value);
}

/**
 * The result is `length` bytes, shown as `kind` says. They may lie in the
 * running state itself; what exceeds the payload is cut off.
 */
MK_FN void mk_map_result(struct mk_task *task, const struct mk_map_args *args,
			 uint32_t kind, const void *bytes, uint32_t length)
{
	struct mk_map_state *area = mk_map_area(task, args);
	const unsigned char *from = (const unsigned char *)bytes;
	unsigned char *to;

	if (!area)
		return;
	if (length > MK_MAP_PAYLOAD_BYTES)
		length = MK_MAP_PAYLOAD_BYTES;
	to = area->payload;
	if (to < from)
		for (uint32_t i = 0; i < length; i++)
			to[i] = from[i];
	else
		for (uint32_t i = length; i > 0; i--)
			to[i - 1] = from[i - 1];
	area->kind = kind;
	area->length = length;
}

#endif
