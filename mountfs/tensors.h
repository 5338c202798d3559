/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which tensor of a model file some of its bytes belong to, as the file's own header says:
 * safetensors (https://huggingface.co/docs/safetensors) and GGUF versions 2 and 3
 * (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
 *
 * Only for telling people about a failure: the header is proven, but says what its publisher
 * likes, and nothing here reads more of it than a fixed number of bytes, keeps it in memory, or
 * recurses. Thread-safe.
 */
#ifndef MODELDISK_TENSORS_H
#define MODELDISK_TENSORS_H

#include "erofs.h"

#define TENSORS_MAX_HEADER_LEN (64 * MIB) /* a longer one is not searched */
#define TENSORS_NAME_LEN       512

struct tensors_file {
	/* Reads exactly len bytes at off, which lie inside the file; negative errno. */
	int (*read)(void *ctx, uint64_t off, void *buf, size_t len);
	void *ctx;
	uint64_t size;
};

struct tensors_place {
	char name[TENSORS_NAME_LEN]; /* text_quote()d, in its quotes */
	uint64_t off, len;           /* those of the bytes that are this tensor's, from its start */
	uint64_t cnt;                /* how many tensors have some of the bytes; at least 1 */
};

/*
 * The first tensor that has some of the bytes [off, off + len) of the file. A GGUF header has no
 * lengths of tensors: there, one ends where the next begins. -ENOENT: no tensor's, as the header
 * itself, or not a file of these formats; -EUCLEAN: the header is malformed, or too long;
 * -EOPNOTSUPP: too long, or of a version that is not read; what read gave.
 */
int tensors_find(const struct tensors_file *f, uint64_t off, uint64_t len,
                 struct tensors_place *out) MUST_CHECK;
/* The same of a file in an image; -EISDIR or -EINVAL for other inodes. */
int tensors_find_in_inode(const struct erofs *fs, const struct erofs_inode *inode, uint64_t off,
                          uint64_t len, struct tensors_place *out) MUST_CHECK;

#endif
