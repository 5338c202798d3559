/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what the user meant by SOURCE and COMMIT and hands the work to directory.c or git.c;
 * afterwards gives out the bytes of files whichever of the two has them.
 */
#include "source.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "directory.h"
#include "text.h"

struct source {
	struct tree *tree;
	struct directory *dir; /* one of the two */
	char *location, *commit;
};

struct source_file {
	const struct tree_node *n; /* that carries the inode */
	int fd;                    /* of a directory's file */
	bool may_have_holes;
};

static int out_of_memory(struct diag *d)
{
	return diag_set(d, -ENOMEM, "out of memory while opening the source");
}

int source_open(const char *spec, const char *commit, const struct source_options *opt,
                struct source **out, struct diag *d)
{
	scoped(source) struct source *s = calloc(1, sizeof(*s));

	if (!s)
		return out_of_memory(d);
	s->location = strdup(spec);
	if (!s->location || tree_new(&s->tree) < 0)
		return out_of_memory(d);
	if (commit)
		return diag_set(d, -EOPNOTSUPP, "a git repository as source is not supported");
	int r = directory_open(spec, opt, s->tree, &s->dir, d);
	if (r < 0)
		return r;
	*out = take_ptr(s);
	return 0;
}

void source_close(struct source *s)
{
	if (!s)
		return;
	directory_close(s->dir);
	tree_free(s->tree);
	free(s->location);
	free(s->commit);
	free(s);
}

struct tree *source_tree(struct source *s)
{
	return s->tree;
}

const char *source_kind(const struct source *s)
{
	return s->dir ? "directory" : "git";
}

const char *source_location(const struct source *s)
{
	return s->location;
}

const char *source_commit(const struct source *s)
{
	return s->commit;
}

static void file_free(struct source_file *f)
{
	if (!f)
		return;
	if (f->fd >= 0)
		close(f->fd);
	free(f);
}
DEFINE_SCOPED(file, struct source_file *, file_free)

static int open_path(struct source *s, struct source_file *f, struct diag *d)
{
	struct stat st;
	int r = directory_file_open(s->dir, f->n, &f->fd, d);

	if (r < 0)
		return r;
	/* Only where holes show in the block count is the file system asked for them: some have
	 * reported holes that were none. */
	f->may_have_holes =
	        fstat(f->fd, &st) == 0 && (uint64_t)st.st_blocks < div_up(f->n->size, 512);
	(void)posix_fadvise(f->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	return 0;
}

int source_file_open(struct source *s, const struct tree_node *n, struct source_file **out,
                     struct diag *d)
{
	scoped(file) struct source_file *f = malloc(sizeof(*f));

	if (!f)
		return out_of_memory(d);
	while (n->link)
		n = n->link;
	*f = (struct source_file){ .n = n, .fd = -1 };
	int r = n->content == TREE_CONTENT_PATH ? open_path(s, f, d) : 0;
	if (r < 0)
		return r;
	*out = take_ptr(f);
	return 0;
}

static int read_path(struct source_file *f, uint64_t off, uint8_t *buf, size_t len, struct diag *d)
{
	char quoted[TREE_QUOTE_LEN];

	while (len > 0) {
		ssize_t got = pread(f->fd, buf, len, (off_t)off);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return diag_set_errno(d, -errno, "source file %s, offset %" PRIu64,
			                      tree_quote_path(f->n, quoted, sizeof(quoted)), off);
		if (got == 0)
			return diag_set(d, -ESTALE,
			                "source file %s ends at %" PRIu64 ", not at %" PRIu64
			                " as when the source was listed",
			                tree_quote_path(f->n, quoted, sizeof(quoted)), off,
			                f->n->size);
		buf += got;
		off += (uint64_t)got;
		len -= (size_t)got;
	}
	return 0;
}

int source_file_read(struct source_file *f, uint64_t off, void *buf, size_t len, struct diag *d)
{
	char quoted[TREE_QUOTE_LEN];

	if (!range_is_inside(off, len, f->n->size))
		return diag_set(
		        d, -EINVAL, "source file %s: bytes %" PRIu64 " to %" PRIu64 " of %" PRIu64,
		        tree_quote_path(f->n, quoted, sizeof(quoted)), off, off + len, f->n->size);
	return len > 0 ? read_path(f, off, buf, len, d) : 0;
}

uint64_t source_file_next_data(struct source_file *f, uint64_t off)
{
	uint64_t size = f->n->size;

	if (off >= size)
		return size;
	if (!f->may_have_holes)
		return off;
	off_t data = lseek(f->fd, (off_t)off, SEEK_DATA);
	if (data < 0)
		return errno == ENXIO ? size : off;
	return MIN((uint64_t)data, size);
}

int source_file_close(struct source_file *f, struct diag *d)
{
	int r = f && f->fd >= 0 ? directory_file_check(f->n, f->fd, d) : 0;

	file_free(f);
	return r;
}
