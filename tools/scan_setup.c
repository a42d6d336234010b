/* SPDX-License-Identifier: Apache-2.0 */
/* What `scan` needs before the first file: context, tables, queue, buffers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scan_run.h"

#define RING_ENTRIES 4096u /* slots in flight at most */
#define SHARED_SPARE (16u << 20) /* queue, context block, and what splits */
#define LONG_SPARE (64u << 20) /* a long line that grows */
#define SPIN_NS 2000u /* the cores have better to do than spin */
#define IDLE_NS 10000u
#define IDLE_AWAY_NS 50000000u /* parking leaves no core to others there */

static uint64_t pool_bytes(const struct scan *s)
{
	return (uint64_t)s->threads * s->chunks_each * SCAN_CHUNK;
}

static uint64_t results_bytes(const struct scan *s)
{
	return (uint64_t)s->threads * (s->chunks_each + 1) *
	       SCAN_RESULT_BYTES;
}

static int open_context(struct scan *s)
{
	struct mk_ctx_params params = {
		.size = sizeof(params),
		.engine = s->settings->engine.name,
		.isolation = s->settings->engine.isolation,
		.workers = s->settings->engine.workers,
		.idle_ns = IDLE_NS,
		.shared_bytes = pool_bytes(s) + results_bytes(s) +
				SHARED_SPARE + LONG_SPARE,
	};
	int r;

	if (params.engine && strcmp(params.engine, "cpu") != 0)
		params.idle_ns = IDLE_AWAY_NS;
	r = mk_ctx_create(&params, &s->ctx);
	if (r < 0)
		return cli_library_error("scan", "no engine", r), -1;
	return 0;
}

static int open_image(struct scan *s)
{
	char attempt[96];
	int r = mk_buffer_create(s->ctx, s->image_bytes, 0, &s->image_buffer);

	if (r >= 0)
		r = mk_buffer_write(s->ctx, s->image_buffer, 0, s->image,
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

	for (uint32_t i = 0; i < s->threads * each; i++) {
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
	struct mk_queue_params params = {
		.size = sizeof(params),
		.entries = RING_ENTRIES,
		.spin_ns = SPIN_NS,
	};
	void *text = NULL, *result = NULL;
	int r = mk_queue_create(s->ctx, &params, &s->queue);

	/* files are read to where the handler finds them, and matches come
	 * to where they are printed from, whatever the engine */
	if (r >= 0)
		r = mk_buffer_create(s->ctx, pool_bytes(s), MK_BUFFER_HOST,
				     &s->pool);
	if (r >= 0)
		r = mk_buffer_map(s->ctx, s->pool, &text);
	if (r >= 0)
		r = mk_buffer_create(s->ctx, results_bytes(s), MK_BUFFER_HOST,
				     &s->results);
	if (r >= 0)
		r = mk_buffer_map(s->ctx, s->results, &result);
	s->window = calloc(SCAN_WINDOW, sizeof(*s->window));
	s->chunk = calloc((size_t)s->threads * (s->chunks_each + 1),
			  sizeof(*s->chunk));
	if (r >= 0 && (!s->window || !s->chunk))
		r = -ENOMEM;
	if (r < 0)
		return cli_library_error("scan", "set-up", r), -1;
	place_chunks(s, text, result);
	return 0;
}

static void init_locks(struct scan *s)
{
	pthread_condattr_t clock;

	pthread_mutex_init(&s->walk_lock, NULL);
	pthread_mutex_init(&s->reap_lock, NULL);
	pthread_mutex_init(&s->stop_lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&s->reap_cond, &clock);
	pthread_condattr_destroy(&clock);
}

int scan_open(struct scan *s, const struct scan_settings *settings,
	      const void *image, size_t image_bytes, char *const *paths,
	      unsigned count)
{
	struct stat st;

	memset(s, 0, sizeof(*s));
	s->settings = settings;
	s->image = image;
	s->image_bytes = image_bytes;
	s->threads = settings->readers;
	s->chunks_each = settings->engine.name &&
			 strcmp(settings->engine.name, "cpu") != 0 ?
				 SCAN_CHUNKS_AWAY : SCAN_CHUNKS;
	s->flags = SCAN_ROOM << 8;
	if (settings->style != SCAN_STYLE_MATCH)
		s->flags |= MK_SCAN_LINES;
	if (!settings->text)
		s->flags |= MK_SCAN_NUL_ENDS;
	init_locks(s);
	output_init(&s->out, STDOUT_FILENO);
	s->out_tty = isatty(STDOUT_FILENO);
	if (!fstat(STDOUT_FILENO, &st) && S_ISREG(st.st_mode)) {
		s->output_is_file = true;
		s->output_dev = st.st_dev;
		s->output_ino = st.st_ino;
	}
	if (open_context(s) || open_image(s) || open_memory(s))
		return -1;
	if (walk_init(&s->walk, paths, count) < 0) {
		cli_error("scan", "no memory to walk the directories");
		return -1;
	}
	return 0;
}

void scan_close(struct scan *s)
{
	/* all was answered, or what is left was given up */
	mk_ctx_destroy(s->ctx, 1000000000u);
	if (s->window)
		for (uint64_t i = s->head; i != s->tail; i++)
			walk_release(&s->walk, &scan_file(s, i)->item);
	walk_free(&s->walk);
	free(s->window);
	free(s->chunk);
	free(s->path);
	pthread_mutex_destroy(&s->walk_lock);
	pthread_mutex_destroy(&s->reap_lock);
	pthread_mutex_destroy(&s->stop_lock);
	pthread_cond_destroy(&s->reap_cond);
}
