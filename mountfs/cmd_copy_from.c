/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --copy-from: a file or a tree out of a disk. Decides what DEST means; copy.c writes.
 */
#include "cmd.h"
#include "copy.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

/* Set by a signal, read by the threads: the one way a handler can talk to them. */
static atomic_bool stop_requested;

static void on_signal(int signal)
{
	(void)signal;
	atomic_store(&stop_requested, true);
}

/* The first one ends the copy in order, the second one ends the process. */
static void catch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };

	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		sigaction(signals[i], &act, NULL);
	signal(SIGXFSZ, SIG_IGN); /* an error like any other */
}

/* A tree goes into DEST itself, which may exist. */
static int open_tree_dest(const char *dest, bool *is_foreign, int *out, struct diag *d)
{
	*is_foreign = mkdir(dest, 0700) < 0;
	if (*is_foreign && errno != EEXIST)
		return diag_set_errno(d, -errno, "%s: cannot make the directory", dest);
	*out = open(dest, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *out < 0 ? diag_set_errno(d, -errno, "%s: cannot open the directory", dest) : 0;
}

/* A file becomes DEST, in the directory that has to exist. */
static int open_file_dest(const char *dest, const char **name, int *out, struct diag *d)
{
	const char *slash = strrchr(dest, '/');
	scoped_free char *dir = slash ? strndup(dest, MAX((size_t)(slash - dest), 1)) : strdup(".");
	struct stat st;

	*name = slash ? slash + 1 : dest;
	if (!dir)
		return diag_set(d, -ENOMEM, "out of memory");
	if (**name == '\0' || (lstat(dest, &st) == 0 && S_ISDIR(st.st_mode)))
		return diag_set(d, -EISDIR, "%s: is a directory, expected the name of a file",
		                dest);
	*out = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *out < 0 ? diag_set_errno(d, -errno, "%s: cannot open the directory", dir) : 0;
}

int cmd_copy_from(const struct options *o, struct diag *d)
{
	const char *path = o->arg[1], *dest = o->arg[2];
	scoped(image) struct image *img = NULL;
	struct entries list = { .cnt = 0 };
	scoped_fd int dir_fd = -1;
	struct copy_options co = { .list = &list,
		                   .thread_cnt = o->thread_cnt,
		                   .stop = &stop_requested,
		                   .on_bytes = report_progress_add };
	int r = cmd_open_entries(o, path, &img, &list, d);

	if (r < 0)
		return r;
	co.fs = image_erofs(img);
	if (S_ISDIR(list.entry[0].inode.mode))
		r = open_tree_dest(dest, &co.is_dir_foreign, &dir_fd, d);
	else
		r = open_file_dest(dest, &co.single_name, &dir_fd, d);
	co.dir_fd = dir_fd;
	if (r == 0) {
		catch_signals();
		report_progress_start(o->progress, "copying", list.file_bytes);
		r = copy_out(&co, d);
		report_progress_end();
	}
	entries_release(&list);
	return r;
}
