/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The peer of bench/scan-peers.sh: literals by Vectorscan (libhs), which reads
 * the same files in the same order and counts what it finds.
 *
 *	scan_vectorscan PATTERNS THREADS < LIST
 *
 * LIST has a path a line. Each thread takes the next file, reads it whole and
 * scans it in one block, with the start of each match, which is what scan and
 * grep -o have to know, too. Prints matches and bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <hs/hs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct shared {
	char **path;
	size_t paths, next;
	unsigned long long matches, bytes;
	hs_database_t *db;
};

static int found(unsigned id, unsigned long long from, unsigned long long to,
		 unsigned flags, void *context)
{
	(void)id, (void)from, (void)to, (void)flags;
	++*(unsigned long long *)context;
	return 0;
}

static void *work(void *arg)
{
	struct shared *s = arg;
	hs_scratch_t *scratch = NULL;
	size_t room = 1 << 20;
	char *text = malloc(room);
	unsigned long long matches = 0, bytes = 0;

	if (!text || hs_alloc_scratch(s->db, &scratch) != HS_SUCCESS)
		exit(2);
	for (;;) {
		size_t i = __atomic_fetch_add(&s->next, 1, __ATOMIC_RELAXED);
		size_t used = 0;
		ssize_t n;
		int fd;

		if (i >= s->paths)
			break;
		fd = open(s->path[i], O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		while ((n = read(fd, text + used, room - used)) > 0) {
			used += (size_t)n;
			if (used < room)
				continue;
			text = realloc(text, room *= 2);
			if (!text)
				exit(2);
		}
		close(fd);
		bytes += used;
		if (hs_scan(s->db, text, (unsigned)used, 0, scratch, found,
			    &matches) != HS_SUCCESS)
			exit(2);
	}
	__atomic_fetch_add(&s->matches, matches, __ATOMIC_RELAXED);
	__atomic_fetch_add(&s->bytes, bytes, __ATOMIC_RELAXED);
	hs_free_scratch(scratch);
	free(text);
	return NULL;
}

/* The lines of a file; NULL at the end. */
static char **lines_of(FILE *f, size_t *count)
{
	char **all = NULL, *line = NULL;
	size_t room = 0, size = 0;
	ssize_t n;

	*count = 0;
	while ((n = getline(&line, &size, f)) > 0) {
		if (*count + 1 >= room) {
			room = room ? 2 * room : 1024;
			all = realloc(all, room * sizeof(*all));
			if (!all)
				exit(2);
		}
		line[strcspn(line, "\n")] = 0;
		all[(*count)++] = strdup(line);
	}
	free(line);
	return all;
}

static hs_database_t *compile(char **text, size_t count)
{
	unsigned *flags = calloc(count, sizeof(*flags));
	unsigned *ids = calloc(count, sizeof(*ids));
	size_t *bytes = calloc(count, sizeof(*bytes));
	hs_compile_error_t *error = NULL;
	hs_database_t *db = NULL;

	if (!flags || !ids || !bytes)
		exit(2);
	for (size_t i = 0; i < count; i++) {
		flags[i] = HS_FLAG_SOM_LEFTMOST;
		ids[i] = (unsigned)i;
		bytes[i] = strlen(text[i]);
	}
	if (hs_compile_lit_multi((const char *const *)text, flags, ids, bytes,
				 (unsigned)count, HS_MODE_BLOCK, NULL, &db,
				 &error) != HS_SUCCESS) {
		fprintf(stderr, "scan_vectorscan: %s\n", error->message);
		exit(2);
	}
	free(flags);
	free(ids);
	free(bytes);
	return db;
}

int main(int argc, char **argv)
{
	struct shared s = { 0 };
	unsigned threads = argc == 3 ? (unsigned)atoi(argv[2]) : 0;
	pthread_t thread[64];
	size_t patterns;
	char **pattern;
	FILE *f;

	if (!threads || threads > 64) {
		fprintf(stderr, "usage: scan_vectorscan PATTERNS THREADS\n");
		return 2;
	}
	f = fopen(argv[1], "r");
	if (!f) {
		perror(argv[1]);
		return 2;
	}
	pattern = lines_of(f, &patterns);
	fclose(f);
	s.path = lines_of(stdin, &s.paths);
	s.db = compile(pattern, patterns);
	for (unsigned i = 0; i < threads; i++)
		if (pthread_create(&thread[i], NULL, work, &s))
			return 2;
	for (unsigned i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	printf("%llu matches in %llu bytes\n", s.matches, s.bytes);
	hs_free_database(s.db);
	return 0;
}
