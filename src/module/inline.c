/* SPDX-License-Identifier: Apache-2.0 */
#include "module/inline.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <megakernel/abi.h>

#include "base/error.h"

#define DEPTH_MAX 32u
#define ONCE_MAX 256u

struct inliner {
	FILE *out;
	unsigned depth, once;
	char *seen[ONCE_MAX]; /* paths that are to be put once */
	size_t total;
};

static int no_memory(void)
{
	return mk_error_set(-ENOMEM, ENOMEM, "mk_module_load",
			    "no memory for the text of a module");
}

/* Behind blanks, within the line. */
static const char *blanks(const char *p)
{
	return p + strspn(p, " \t");
}

/* Behind "#word" at the start of a line; NULL: it is none. */
static const char *directive(const char *line, const char *word)
{
	size_t bytes = strlen(word);
	const char *p = blanks(line);

	if (*p != '#')
		return NULL;
	p = blanks(p + 1);
	return strncmp(p, word, bytes) ? NULL : blanks(p + bytes);
}

/* Is a comment open at the end of this line, which began in one or not? */
static bool comment_after(const char *p, const char *end, bool open)
{
	char quote = 0;

	for (; p < end; p++) {
		if (open) {
			open = !(p[0] == '*' && p + 1 < end && p[1] == '/');
			p += !open;
		} else if (quote) {
			p += *p == '\\';
			if (p < end && *p == quote)
				quote = 0;
		} else if (*p == '"' || *p == '\'') {
			quote = *p;
		} else if (p + 1 < end && p[0] == '/' && p[1] == '/') {
			return false;
		} else if (p + 1 < end && p[0] == '/' && p[1] == '*') {
			open = true;
			p++;
		}
	}
	return open;
}

/* The compiler shall speak of lines as the user knows them; of a name that
 * would need escapes it does not speak. */
static void put_place(struct inliner *in, unsigned line, const char *name)
{
	if (!strpbrk(name, "\"\\\n\r"))
		fprintf(in->out, "#line %u \"%s\"\n", line, name);
}

static bool seen(const struct inliner *in, const char *path)
{
	for (unsigned i = 0; i < in->once; i++)
		if (!strcmp(in->seen[i], path))
			return true;
	return false;
}

static int put_once(struct inliner *in, const char *path)
{
	char *copy = in->once < ONCE_MAX ? strdup(path) : NULL;

	if (!copy)
		return no_memory();
	in->seen[in->once++] = copy;
	return 0;
}

/* The path of what a line includes; false: it includes nothing of ours. */
static bool included(const char *line, const char *dir, char *path)
{
	const char *name = directive(line, "include"), *end;
	struct stat st;
	int n;

	if (!name || *name != '"')
		return false;
	end = name + 1 + strcspn(name + 1, "\"\n");
	if (*end != '"' || end == name + 1)
		return false;
	n = name[1] == '/' ?
		snprintf(path, PATH_MAX, "%.*s", (int)(end - name - 1),
			 name + 1) :
		snprintf(path, PATH_MAX, "%s/%.*s", dir, (int)(end - name - 1),
			 name + 1);
	return n > 0 && n < PATH_MAX && !stat(path, &st) &&
	       S_ISREG(st.st_mode);
}

static int put_text(struct inliner *in, const struct mk_source *s,
		    const char *dir);

static int put_file(struct inliner *in, const char *path)
{
	char dir[PATH_MAX];
	const char *slash;
	struct mk_source s;
	int r;

	if (seen(in, path))
		return 0;
	if (in->depth == DEPTH_MAX)
		return mk_error_set(-MK_ECOMPILE, 0, "mk_module_load",
				    "%.300s: #include nested %u deep: does it "
				    "include itself?", path, DEPTH_MAX);
	r = mk_source_read(path, &s);
	if (r)
		return r;
	/* it has a slash: see included() */
	slash = strrchr(path, '/');
	snprintf(dir, sizeof(dir), "%.*s",
		 slash == path ? 1 : (int)(slash - path), path);
	in->depth++;
	r = put_text(in, &s, dir);
	in->depth--;
	free(s.text);
	return r;
}

static int put_text(struct inliner *in, const struct mk_source *s,
		    const char *dir)
{
	const char *p = s->text, *all = s->text + s->bytes;
	bool comment = false;
	char path[PATH_MAX];
	int r = 0;

	in->total += s->bytes;
	if (in->total > MK_SOURCE_BYTES_MAX)
		return mk_error_set(-MK_ECOMPILE, 0, "mk_module_load",
				    "%.300s: with all that it includes the "
				    "source exceeds %u MiB", s->name,
				    MK_SOURCE_BYTES_MAX >> 20);
	put_place(in, 1, s->name);
	for (unsigned line = 1; p < all && !r; line++) {
		const char *next = memchr(p, '\n', (size_t)(all - p));
		const char *once = comment ? NULL : directive(p, "pragma");

		next = next ? next + 1 : all;
		if (!comment && *dir && included(p, dir, path)) {
			r = put_file(in, path);
			put_place(in, line + 1, s->name);
		} else if (once && in->depth && !strncmp(once, "once", 4)) {
			r = put_once(in, s->name);
			fputc('\n', in->out);
		} else {
			fwrite(p, 1, (size_t)(next - p), in->out);
		}
		comment = comment_after(p, next, comment);
		p = next;
	}
	if (s->bytes && all[-1] != '\n')
		fputc('\n', in->out);
	return r;
}

int mk_source_inline(const struct mk_source *s, const char *dir, char **out,
		     size_t *bytes)
{
	struct inliner in = { .total = 0 };
	char *text = NULL;
	int r;

	in.out = open_memstream(&text, bytes);
	if (!in.out)
		return no_memory();
	r = put_text(&in, s, dir);
	if ((ferror(in.out) | fclose(in.out)) && !r)
		r = no_memory();
	while (in.once)
		free(in.seen[--in.once]);
	if (r) {
		free(text);
		return r;
	}
	*out = text;
	return 0;
}
