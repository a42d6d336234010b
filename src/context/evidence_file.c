/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of evidence in files. None replaces another: neither that of
 * another context of this process, nor that of a process which had its number
 * before, as each first process of a container has.
 */
#include "context/evidence.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "context/record.h"

#define FORMATS 2u       /* enum mk_evidence_format */
#define NAME_BYTES 64u   /* ".evidence-PID-NUMBER.json" is shorter */
#define WAITING_MOST 64u /* records, until there is time to write them */
#define NUMBERS 100000u  /* that are tried */
#define AGAIN_NS 1000000000u

static const char *const endings[FORMATS] = { "txt", "json" };

/* ---- where ------------------------------------------------------------- */

static int bad_dir(const char *given, int e, const char *advice)
{
	return mk_error_set(-e, e, "mk_ctx_create",
			    "params.evidence_dir is \"%.512s\": %s; %s", given,
			    mk_strerror(e), advice);
}

int mk_evidence_dir(const char *given, char **out)
{
	static const char *const make = "make the directory first, or leave "
					"it NULL for no files";
	struct stat st;
	char *path;

	*out = NULL;
	if (!given)
		return 0;
	path = realpath(given, NULL);
	if (!path)
		return bad_dir(given, errno, make);
	if (strlen(path) + NAME_BYTES >= PATH_MAX) {
		free(path);
		return bad_dir(given, ENAMETOOLONG, "name a shorter one");
	}
	if (stat(path, &st) || !S_ISDIR(st.st_mode)) {
		free(path);
		return bad_dir(given, ENOTDIR, make);
	}
	if (faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS)) {
		int e = errno;

		free(path);
		return bad_dir(given, e, "name one that can be written to");
	}
	*out = path;
	return 0;
}

/* ---- those that wait --------------------------------------------------- */

struct mk_record *mk_evidence_replace(struct mk_ctx *ctx, struct mk_record *r)
{
	struct mk_record *old = ctx->record, **at = &ctx->unwritten;
	unsigned n = 0;

	ctx->record = r;
	if (!old || !ctx->evidence_dir || old->stored == MK_RECORD_WRITTEN)
		return old;
	for (; *at; at = &(*at)->next)
		n++;
	*at = old;
	if (n < WAITING_MOST)
		return NULL;
	/* the files lag too far behind; the first may be with the writer */
	old = ctx->unwritten->next;
	ctx->unwritten->next = old->next;
	return old;
}

void mk_evidence_free(struct mk_ctx *ctx)
{
	while (ctx->unwritten) {
		struct mk_record *r = ctx->unwritten;

		ctx->unwritten = r->next;
		free(r);
	}
	free(ctx->record);
	ctx->record = NULL;
}

/* ---- writing ----------------------------------------------------------- */

/* One record in both formats. */
struct words {
	uint64_t number;
	char *text[FORMATS];
	size_t bytes[FORMATS];
};

static void words_free(struct words *w)
{
	for (unsigned i = 0; i < FORMATS; i++)
		free(w->text[i]);
}

static int words_of(const struct mk_record *r, struct words *w)
{
	*w = (struct words){ .number = r->number };
	for (unsigned i = 0; i < FORMATS; i++) {
		w->bytes[i] = mk_record_put(r, i, NULL, 0);
		w->text[i] = malloc(w->bytes[i] + 1);
		if (!w->text[i]) {
			words_free(w);
			return ENOMEM;
		}
		mk_record_put(r, i, w->text[i], w->bytes[i] + 1);
	}
	return 0;
}

static void name_file(char *path, const char *dir, const char *dot,
		      uint64_t number, const char *ending)
{
	snprintf(path, PATH_MAX, "%s/%sevidence-%d-%llu.%s", dir, dot,
		 (int)getpid(), (unsigned long long)number, ending);
}

/*
 * Open the hidden files of the first number that nobody has. Who looks for the
 * visible ones while he holds the hidden ones finds those of all who held them
 * before: a rename takes the one away when the other is there.
 */
static int claim_number(const char *dir, uint64_t number, int fd[FORMATS])
{
	const int how = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
	char path[PATH_MAX], hidden[FORMATS][PATH_MAX];
	struct stat st;
	unsigned i;
	int e = 0;

	for (i = 0; i < FORMATS && !e; i++) {
		name_file(hidden[i], dir, ".", number, endings[i]);
		fd[i] = open(hidden[i], how, 0600);
		if (fd[i] < 0) {
			e = errno;
			break;
		}
		name_file(path, dir, "", number, endings[i]);
		if (!lstat(path, &st))
			e = EEXIST;
	}
	while (e && i--) {
		close(fd[i]);
		unlink(hidden[i]);
	}
	return e;
}

static int write_all(int fd, const char *data, size_t n)
{
	while (n) {
		ssize_t w = write(fd, data, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return w ? errno : EIO;
		data += w;
		n -= (size_t)w;
	}
	return 0;
}

/* Whole, or not at all: under another name first. */
static int write_files(const char *dir, const struct words *w)
{
	char hidden[PATH_MAX], path[PATH_MAX];
	uint64_t number = w->number;
	int fd[FORMATS] = { -1, -1 }, e, first = 0;

	do {
		e = claim_number(dir, number, fd);
	} while (e == EEXIST && ++number < w->number + NUMBERS);
	if (e)
		return e;
	for (unsigned i = 0; i < FORMATS; i++) {
		name_file(hidden, dir, ".", number, endings[i]);
		name_file(path, dir, "", number, endings[i]);
		e = write_all(fd[i], w->text[i], w->bytes[i]);
		if (close(fd[i]) && !e)
			e = errno;
		if (!e && rename(hidden, path))
			e = errno;
		if (e)
			unlink(hidden);
		if (!first)
			first = e;
	}
	return first;
}

/* The oldest that is to be written, put into words: *e is 0, or why not. NULL:
 * there is none. */
static struct mk_record *next_record(struct mk_ctx *ctx, bool last,
				     struct words *w, int *e)
{
	struct mk_record *r;

	pthread_mutex_lock(&ctx->error_lock);
	r = ctx->unwritten ? ctx->unwritten : ctx->record;
	if (r && (r->stored == MK_RECORD_WRITTEN ||
		  (!last && mk_now_ns() < r->again_ns)))
		r = NULL;
	if (r) {
		r->unwritten = 0;
		r->stored = MK_RECORD_WITH_WRITER;
		*e = words_of(r, w);
	}
	pthread_mutex_unlock(&ctx->error_lock);
	return r;
}

/* It was written, or was not: e. */
static void record_done(struct mk_ctx *ctx, struct mk_record *r, int e)
{
	struct mk_record *over = NULL;

	pthread_mutex_lock(&ctx->error_lock);
	r->stored = e ? MK_RECORD_NEW : MK_RECORD_WRITTEN;
	r->unwritten = ctx->record->unwritten = e;
	r->again_ns = mk_now_ns() + AGAIN_NS;
	if (!e && ctx->unwritten == r) {
		ctx->unwritten = r->next;
		over = r;
	}
	pthread_mutex_unlock(&ctx->error_lock);
	free(over);
}

void mk_evidence_write(struct mk_ctx *ctx, bool last)
{
	struct mk_record *r;
	struct words w;
	int e;

	if (!ctx->evidence_dir)
		return;
	while ((r = next_record(ctx, last, &w, &e))) {
		if (!e) {
			e = write_files(ctx->evidence_dir, &w);
			words_free(&w);
		}
		record_done(ctx, r, e);
		if (e)
			return;
	}
}
