/* SPDX-License-Identifier: Apache-2.0 */
#include "module/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "module/image.h"

/*
 * After the user's text, so that its own feature macros come first. The
 * typedef makes the compiler's version a part of the preprocessed text, and
 * with that of the cache key, even behind a wrapper such as ccache.
 */
static const char tail[] =
	"\n"
	"#line 1 \"<megakernel>\"\n"
	"#include <megakernel/handler.h>\n"
	"typedef char mk_compiled_by[sizeof(__VERSION__)];\n"
	"MK_MODULE_DEFINE(mk_module_table);\n";

static int fail(int error, const char *path)
{
	return mk_error_set(-error, error, "mk_module_load", "%.400s: %s",
			    path, mk_strerror(error));
}

static int read_all(int fd, struct mk_source *s, size_t bytes)
{
	ssize_t n;

	s->bytes = 0;
	s->text = malloc(bytes + 1);
	if (!s->text)
		return ENOMEM;
	while (s->bytes < bytes) {
		n = read(fd, s->text + s->bytes, bytes - s->bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (!n)
			break; /* shorter than it was: as an editor leaves it */
		s->bytes += (size_t)n;
	}
	s->text[s->bytes] = '\0';
	return 0;
}

int mk_source_read(const char *path, struct mk_source *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc = 0;
	struct stat st;

	if (fd < 0)
		return fail(errno, path);
	out->name = path;
	out->text = NULL;
	if (fstat(fd, &st))
		rc = errno;
	else if (S_ISDIR(st.st_mode))
		rc = EISDIR;
	else if (!S_ISREG(st.st_mode))
		rc = EINVAL;
	else if (st.st_size > MK_SOURCE_BYTES_MAX)
		rc = EFBIG;
	if (!rc)
		rc = read_all(fd, out, (size_t)st.st_size);
	close(fd);
	if (rc) {
		free(out->text);
		out->text = NULL;
		return fail(rc, path);
	}
	return 0;
}

/* Into a string literal of #line, byte by byte. */
static void put_name(FILE *f, const char *name)
{
	for (; *name; name++) {
		unsigned char c = (unsigned char)*name;

		if (c == '"' || c == '\\')
			fprintf(f, "\\%c", c);
		else if (c < ' ' || c == 0x7f)
			fprintf(f, "\\%03o", c);
		else
			putc(c, f);
	}
}

int mk_source_write(const struct mk_source *s, const char *path)
{
	FILE *f;
	int rc;

	if (!mk_file_size_allowed(s->bytes + sizeof(tail) + 8192))
		return fail(EFBIG, path);
	f = fopen(path, "wxe");
	if (!f)
		return fail(errno, path);
	fputs("#line 1 \"", f);
	put_name(f, s->name);
	fputs("\"\n", f);
	fwrite(s->text, 1, s->bytes, f);
	fputs(tail, f);
	rc = ferror(f) ? EIO : 0;
	if (fclose(f))
		rc = errno;
	return rc ? fail(rc, path) : 0;
}
