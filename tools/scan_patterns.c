/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns of the command line and of files: one a line. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scan_run.h"

static int add_one(struct scan_patterns *p, const char *text, size_t bytes)
{
	if (p->count == p->room) {
		size_t room = p->room ? 2 * p->room : 16;
		struct scan_pattern *list =
			realloc(p->list, room * sizeof(*list));

		if (!list)
			return -1;
		p->list = list;
		p->room = room;
	}
	p->list[p->count++] = (struct scan_pattern){ text, bytes };
	return 0;
}

/* Lines of text, which stays; the last may have no newline. */
int scan_patterns_add(struct scan_patterns *p, const char *text, size_t bytes)
{
	const char *end = text + bytes;

	for (;;) {
		const char *line = memchr(text, '\n', (size_t)(end - text));
		const char *stop = line ? line : end;

		if (add_one(p, text, (size_t)(stop - text))) {
			cli_error("scan", "no memory for the patterns");
			return -1;
		}
		if (!line)
			return 0;
		text = line + 1;
	}
}

/* All of a descriptor, to be freed; NULL: errno says why. */
static char *read_all(int fd, size_t *bytes)
{
	size_t used = 0, room = 65536;
	char *text = malloc(room), *more;

	while (text) {
		ssize_t n;

		if (used == room) {
			more = realloc(text, 2 * room);
			if (!more)
				break;
			text = more;
			room *= 2;
		}
		n = read(fd, text + used, room - used);
		if (!n) {
			*bytes = used;
			return text;
		}
		if (n > 0)
			used += (size_t)n;
		else if (errno != EINTR)
			break;
	}
	free(text);
	return NULL;
}

int scan_patterns_file(struct scan_patterns *p, const char *path)
{
	bool standard = !strcmp(path, "-");
	int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	size_t bytes = 0;
	char *text = fd < 0 ? NULL : read_all(fd, &bytes);
	char **memory;

	if (!text)
		cli_error("scan", "-f %s: %s", path, strerror(errno));
	if (fd >= 0 && !standard)
		close(fd);
	if (!text)
		return -1;
	memory = realloc(p->memory, (p->pieces + 1) * sizeof(*memory));
	if (!memory) {
		free(text);
		cli_error("scan", "no memory for the patterns");
		return -1;
	}
	p->memory = memory;
	p->memory[p->pieces++] = text;
	if (!bytes)
		return 0; /* an empty file has no patterns */
	return scan_patterns_add(p, text, bytes - (text[bytes - 1] == '\n'));
}

void scan_patterns_free(struct scan_patterns *p)
{
	for (size_t i = 0; i < p->pieces; i++)
		free(p->memory[i]);
	free(p->memory);
	free(p->list);
}
