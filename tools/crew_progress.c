/* SPDX-License-Identifier: Apache-2.0 */
/* The bar on a terminal: files of all files, and the rate. A thread of its
 * own counts the files first, which is quick beside reading them. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/order.h"
#include "crew.h"

#define PAINT_NS 100000000u
#define BAR_MAX 40u
#define BAR_MIN 8u /* less says nothing */

struct crew_progress {
	struct crew *c;
	char *const *paths;
	unsigned count;
	uint64_t found; /* files counted so far */
	bool counted; /* that is all */
	bool ending; /* under lock */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
};

static unsigned columns(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col < 20)
		return 80;
	return size.ws_col;
}

/* "[####    ] " of this share, in so many columns at most; or nothing. */
static void fill_bar(char out[BAR_MAX + 4], uint64_t done, uint64_t all,
		     unsigned room)
{
	unsigned width = room < BAR_MAX + 3 ? room : BAR_MAX + 3;
	uint64_t full;

	out[0] = 0;
	if (width < BAR_MIN + 3)
		return;
	width -= 3;
	full = all ? done * width / all : 0;
	out[0] = '[';
	memset(out + 1, ' ', width);
	memset(out + 1, '#', full);
	memcpy(out + 1 + width, "] ", 3);
}

static void paint(struct crew_progress *p)
{
	struct crew *c = p->c;
	uint64_t done = mk_load_relaxed(&c->files);
	uint64_t bytes = mk_load_relaxed(&c->bytes);
	double seconds = (double)(mk_now_ns() - c->started_ns) / 1e9;
	uint64_t all = p->found > done ? p->found : done;
	unsigned room = columns() - 1, used;
	char bar[BAR_MAX + 4] = "", line[128];

	snprintf(line, sizeof(line), "%llu/%llu%s files  %.0f MB  %.0f MB/s",
		 (unsigned long long)done, (unsigned long long)all,
		 p->counted ? "" : "+", (double)bytes / 1e6,
		 seconds > 0 ? (double)bytes / 1e6 / seconds : 0.0);
	used = (unsigned)strlen(line);
	if (p->counted)
		fill_bar(bar, done, all, room > used ? room - used : 0);
	cli_bar(true);
	dprintf(STDERR_FILENO, "\r%s%.*s\033[K", bar, (int)room, line);
}

static bool has_ended(struct crew_progress *p)
{
	bool ending;

	pthread_mutex_lock(&p->lock);
	ending = p->ending;
	pthread_mutex_unlock(&p->lock);
	return ending;
}

/* False once the end has come. */
static bool nap(struct crew_progress *p)
{
	struct timespec at;
	uint64_t until;
	bool ending;

	clock_gettime(CLOCK_MONOTONIC, &at);
	until = (uint64_t)at.tv_nsec + PAINT_NS;
	at.tv_sec += (time_t)(until / 1000000000u);
	at.tv_nsec = (long)(until % 1000000000u);
	pthread_mutex_lock(&p->lock);
	if (!p->ending)
		pthread_cond_timedwait(&p->wake, &p->lock, &at);
	ending = p->ending;
	pthread_mutex_unlock(&p->lock);
	return !ending;
}

static void *progress_thread(void *arg)
{
	struct crew_progress *p = arg;
	uint64_t next = mk_now_ns() + PAINT_NS;
	struct walk_item item;
	struct walk walk;

	if (!walk_init(&walk, p->paths, p->count)) {
		while (walk_next(&walk, &item) > 0) {
			walk_release(&walk, &item);
			p->found++;
			if (p->found % 256 || mk_now_ns() < next)
				continue;
			if (has_ended(p) || crew_stopped(p->c))
				break;
			paint(p);
			next = mk_now_ns() + PAINT_NS;
		}
		walk_free(&walk);
		p->counted = true;
	}
	while (nap(p))
		paint(p);
	cli_bar(false);
	dprintf(STDERR_FILENO, "\r\033[K");
	return NULL;
}

/* stderr is a terminal, and the lines do not go to it too. */
static bool wanted(void)
{
	struct stat out, err;

	if (!isatty(STDERR_FILENO))
		return false;
	if (!isatty(STDOUT_FILENO))
		return true;
	return !fstat(STDOUT_FILENO, &out) && !fstat(STDERR_FILENO, &err) &&
	       out.st_rdev != err.st_rdev;
}

struct crew_progress *crew_progress_begin(struct crew *c, char *const *paths,
					  unsigned count)
{
	struct crew_progress *p;
	pthread_condattr_t clock;

	if (!wanted())
		return NULL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->c = c;
	p->paths = paths;
	p->count = count;
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&p->wake, &clock);
	pthread_condattr_destroy(&clock);
	if (!pthread_create(&p->thread, NULL, progress_thread, p))
		return p;
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
	return NULL;
}

void crew_progress_end(struct crew_progress *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->ending = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
