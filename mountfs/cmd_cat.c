/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --cat: one file to stdout. What arrives there is proven; where the proof ends, so does the output
 * and the exit status is 3.
 */
#include "cmd.h"
#include "path.h"

#include <errno.h>
#include <sys/stat.h>

#define READ_LEN (1 * MIB)

static int write_all(int fd, const uint8_t *bytes, size_t len, struct diag *d)
{
	while (len > 0) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return diag_set_errno(d, -errno, "cannot write to stdout");
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

int cmd_cat(const struct options *o, struct diag *d)
{
	scoped(image) struct image *img = NULL;
	scoped_free uint8_t *buf = malloc(READ_LEN);
	struct erofs_inode ino;
	int r = buf ? cmd_open_image(o, &o->image, &img, d) : diag_set(d, -ENOMEM, "out of memory");

	if (r == 0)
		r = path_resolve(image_erofs(img), o->arg[1], &ino, d);
	if (r < 0)
		return r;
	if (!S_ISREG(ino.mode))
		return cmd_prefix_path(
		        d, diag_set(d, S_ISDIR(ino.mode) ? -EISDIR : -EINVAL, "is no regular file"),
		        o->arg[1]);
	for (uint64_t off = 0; r == 0 && off < ino.size;) {
		int64_t len = erofs_read(image_erofs(img), &ino, off, buf, READ_LEN, d);

		if (len < 0)
			return cmd_prefix_path(d, (int)len, o->arg[1]);
		r = write_all(STDOUT_FILENO, buf, (size_t)len, d);
		off += (uint64_t)len;
	}
	return r;
}
