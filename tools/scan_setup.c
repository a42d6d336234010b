/* SPDX-License-Identifier: Apache-2.0 */
/* What `scan` needs before the first file: context, tables, queue, buffers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scan_run.h"

#define SHARED_SPARE (16u << 20) /* queue, context block, and what splits */
#define LONG_SPARE (64u << 20) /* a long line that grows */
static uint64_t pool_bytes(const struct scan *s)
{
	return (uint64_t)s->crew.threads * s->chunks_each * SCAN_CHUNK;
}

static uint64_t results_bytes(const struct scan *s)
{
	return (uint64_t)s->crew.threads * (s->chunks_each + 1) *
	       SCAN_RESULT_BYTES;
}

static int open_image(struct scan *s)
{
	char attempt[96];
	/* it would be gone with a GPU's memory */
	bool away = s->chunks_each == SCAN_CHUNKS_AWAY;
	int r = mk_buffer_create(s->crew.ctx, s->image_bytes,
				 away ? MK_BUFFER_MIRRORED : 0,
				 &s->image_buffer);

	if (r >= 0)
		r = mk_buffer_write(s->crew.ctx, s->image_buffer, 0, s->image,
				    s->image_bytes);
	if (r >= 0)
		return 0;
	snprintf(attempt, sizeof(attempt),
		 "the tables of the patterns (%zu bytes) do not fit",
		 s->image_bytes);
	return cli_library_error("scan", attempt, r), -1;
}

static void place_chunks(struct scan *s, unsigned char *text,
			 unsigned char *result)
{
	uint32_t each = s->chunks_each + 1;

	for (uint32_t i = 0; i < s->crew.threads * each; i++) {
		struct scan_chunk *c = &s->chunk[i];
		uint32_t own = i % each;

		c->result = (struct mk_scan_result *)(void *)(
			result + (size_t)i * SCAN_RESULT_BYTES);
		if (own < s->chunks_each)
			c->text = text + (size_t)(i / each * s->chunks_each +
						  own) * SCAN_CHUNK;
	}
}

static int open_memory(struct scan *s)
{
	void *text = NULL, *result = NULL;
	int r;

	/* files are read to where the handler finds them, and matches come
	 * to where they are printed from, whatever the engine */
	r = mk_buffer_create(s->crew.ctx, pool_bytes(s), MK_BUFFER_HOST,
			     &s->pool);
	if (r >= 0)
		r = mk_buffer_map(s->crew.ctx, s->pool, &text);
	if (r >= 0)
		r = mk_buffer_create(s->crew.ctx, results_bytes(s),
				     MK_BUFFER_HOST, &s->results);
	if (r >= 0)
		r = mk_buffer_map(s->crew.ctx, s->results, &result);
	s->window = calloc(SCAN_WINDOW, sizeof(*s->window));
	s->chunk = calloc((size_t)s->crew.threads * (s->chunks_each + 1),
			  sizeof(*s->chunk));
	if (r >= 0 && (!s->window || !s->chunk))
		r = -ENOMEM;
	if (r < 0)
		return cli_library_error("scan", "set-up", r), -1;
	place_chunks(s, text, result);
	return 0;
}

static struct walk_item *place(struct crew *c, uint64_t sequence)
{
	struct scan_file *f = scan_file(scan_of(c), sequence);

	memset(f, 0, sizeof(*f));
	return &f->item;
}

static const struct crew_ops ops = {
	.name = "scan",
	.window = SCAN_WINDOW,
	.place = place,
	.land = scan_land,
	.print = scan_print_ready,
	.work = scan_work,
};

int scan_open(struct scan *s, const struct scan_settings *settings,
	      const void *image, size_t image_bytes, char *const *paths,
	      unsigned count)
{
	struct stat st;

	memset(s, 0, sizeof(*s));
	crew_init(&s->crew, &ops, settings->readers);
	pthread_mutex_init(&s->share_lock, NULL);
	s->settings = settings;
	s->image = image;
	s->image_bytes = image_bytes;
	s->chunks_each = settings->engine.name &&
			 strcmp(settings->engine.name, "cpu") != 0 ?
				 SCAN_CHUNKS_AWAY : SCAN_CHUNKS;
	s->flags = SCAN_ROOM << 8;
	if (settings->style != SCAN_STYLE_MATCH)
		s->flags |= MK_SCAN_LINES;
	if (!settings->text)
		s->flags |= MK_SCAN_NUL_ENDS;
	if (!fstat(STDOUT_FILENO, &st) && S_ISREG(st.st_mode)) {
		s->output_is_file = true;
		s->output_dev = st.st_dev;
		s->output_ino = st.st_ino;
	}
	if (crew_connect(&s->crew, &settings->engine,
			 pool_bytes(s) + results_bytes(s) + SHARED_SPARE +
				 LONG_SPARE) ||
	    open_image(s) || open_memory(s))
		return -1;
	return crew_walk(&s->crew, paths, count);
}

void scan_close(struct scan *s)
{
	struct crew *c = &s->crew;

	crew_disconnect(c);
	if (s->window)
		for (uint64_t i = c->head; i != c->tail; i++) {
			struct scan_file *f = scan_file(s, i);

			walk_release(&c->walk, &f->item);
			if (f->share)
				scan_share_drop(s, f->share);
		}
	crew_close(c);
	pthread_mutex_destroy(&s->share_lock);
	free(s->window);
	free(s->chunk);
}
