/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over files, with any compiler: every argument is a file
 * or a directory of files. Fails if it found none, so that an empty corpus
 * cannot pass for a clean one.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static int fail(const char *path, int error)
{
	fprintf(stderr, "replay: %s: %s\n", path, strerror(error));
	return -1;
}

/* The input is given in an allocation of its exact size, so that a sanitizer
 * sees a read past its end. */
static int replay_file(const char *path, size_t size)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data;
	size_t got;

	if (!file)
		return fail(path, errno);
	data = malloc(size ? size : 1);
	if (!data) {
		fclose(file);
		return fail(path, ENOMEM);
	}
	got = fread(data, 1, size, file);
	fclose(file);
	if (got != size) {
		free(data);
		return fail(path, EIO);
	}
	/* named first: if the target dies, its input is the last line */
	printf("%s\n", path);
	fflush(stdout);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	return 1;
}

static int replay_path(const char *path, int depth);

static int replay_directory(const char *path, int depth)
{
	struct dirent **entry;
	char name[PATH_MAX];
	int i, n, ran, total = 0;

	n = scandir(path, &entry, NULL, alphasort);
	if (n < 0)
		return fail(path, errno);
	for (i = 0; i < n; i++) {
		if (entry[i]->d_name[0] != '.' && total >= 0) {
			snprintf(name, sizeof(name), "%s/%s", path,
				 entry[i]->d_name);
			ran = replay_path(name, depth + 1);
			total = ran < 0 ? ran : total + ran;
		}
		free(entry[i]);
	}
	free(entry);
	return total;
}

/* How many inputs were run, or -1. */
static int replay_path(const char *path, int depth)
{
	struct stat st;

	if (stat(path, &st))
		return fail(path, errno);
	if (S_ISDIR(st.st_mode))
		return depth < 8 ? replay_directory(path, depth) :
				   fail(path, ELOOP);
	if (!S_ISREG(st.st_mode))
		return fail(path, EINVAL);
	return replay_file(path, (size_t)st.st_size);
}

int main(int argc, char **argv)
{
	int i, ran, total = 0;

	if (LLVMFuzzerInitialize && LLVMFuzzerInitialize(&argc, &argv))
		return 2;
	for (i = 1; i < argc; i++) {
		ran = replay_path(argv[i], 0);
		if (ran < 0)
			return 2;
		total += ran;
	}
	printf("%d inputs replayed\n", total);
	if (!total) {
		fprintf(stderr, "replay: no input found\n");
		return 1;
	}
	return 0;
}
