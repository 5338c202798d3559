/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over files: replay_TARGET DIRECTORY|FILE... Each input lies in memory of
 * exactly its length. Says which input it was, before a signal ends the program.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static void fail(const char *what, const char *path)
{
	fprintf(stderr, "%s %s: %s\n", what, path, strerror(errno));
	exit(1);
}

static void run_file(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *bytes;

	if (fd < 0 || fstat(fd, &st) < 0)
		fail("cannot open", path);
	bytes = malloc(st.st_size ? (size_t)st.st_size : 1);
	if (!bytes || read(fd, bytes, (size_t)st.st_size) != st.st_size)
		fail("cannot read", path);
	close(fd);
	printf("%s\n", path);
	fflush(stdout);
	LLVMFuzzerTestOneInput(bytes, (size_t)st.st_size);
	free(bytes);
}

static int is_visible(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static unsigned run_directory(const char *path)
{
	struct dirent **entries = NULL;
	int cnt = scandir(path, &entries, is_visible, alphasort);

	if (cnt < 0)
		fail("cannot list", path);
	for (int i = 0; i < cnt; i++) {
		char *file = NULL;

		if (asprintf(&file, "%s/%s", path, entries[i]->d_name) < 0)
			fail("cannot name a file in", path);
		run_file(file);
		free(file);
		free(entries[i]);
	}
	free(entries);
	return (unsigned)cnt;
}

int main(int argc, char **argv)
{
	unsigned cnt = 0;

	for (int i = 1; i < argc; i++) {
		struct stat st;

		if (stat(argv[i], &st) < 0)
			fail("cannot find", argv[i]);
		if (S_ISDIR(st.st_mode)) {
			cnt += run_directory(argv[i]);
		} else {
			run_file(argv[i]);
			cnt++;
		}
	}
	printf("%u inputs\n", cnt);
	return cnt ? 0 : 1; /* an empty corpus tests nothing */
}
