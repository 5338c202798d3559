/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which options and actions there are, what they take, what they set and how the help explains
 * them. How a command line is read, and that options are mount options too, is decided by
 * options.c.
 */
#include "options_table.h"

#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#define ROOT_TEXT_LEN (2 * HASH_MAX_LEN)

/* ---- values that no kind of row covers ---- */

/* Given twice, say by a file and by hand, it must be the same: which one is meant is no guess. */
static int set_root_hash(struct options *o, const char *text, struct diag *d)
{
	struct image_options *io = &o->image;
	uint8_t root[HASH_MAX_LEN];
	size_t len = strlen(text);
	char other[ROOT_TEXT_LEN + 1];

	if (len == 0 || len % 2 != 0 || len > ROOT_TEXT_LEN)
		return diag_set(d, -EINVAL,
		                "the root hash has %zu characters, expected 64 for SHA-256", len);
	if (hex_decode(text, root, len / 2) < 0)
		return diag_set(d, -EINVAL, "the root hash is not hexadecimal");
	hex_encode(io->root, io->root_len, other);
	if (io->root_len != 0 && (io->root_len != len / 2 || memcmp(io->root, root, len / 2) != 0))
		return diag_set(d, -EINVAL, "two different root hashes are given: %s and %s", other,
		                text);
	memcpy(io->root, root, len / 2);
	io->root_len = len / 2;
	return 0;
}

static int set_root_hash_file(struct options *o, const char *path, struct diag *d)
{
	scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[ROOT_TEXT_LEN + 16]; /* some room for white space */
	ssize_t len;

	if (fd < 0)
		return diag_set_errno(d, -errno, "%s: cannot open the root hash file", path);
	len = read(fd, text, sizeof(text) - 1);
	if (len < 0)
		return diag_set_errno(d, -errno, "%s: cannot read the root hash file", path);
	text[len] = '\0';
	text[strcspn(text, " \t\r\n")] = '\0';
	return diag_prefix(d, set_root_hash(o, text, d), "%s", path);
}

static int set_hash(struct options *o, const char *value, struct diag *d)
{
	if (hash_by_name(value, &o->image.params.alg) < 0)
		return diag_set(d, -EINVAL,
		                "--hash is \"%s\", expected sha256, sha1, sha384 or sha512", value);
	return 0;
}

static int set_salt(struct options *o, const char *value, struct diag *d)
{
	struct verity_params *p = &o->image.params;
	const char *hex = strcmp(value, "-") == 0 ? "" : value;
	size_t len = strlen(hex);

	if (len % 2 != 0 || len / 2 > sizeof(p->salt) || hex_decode(hex, p->salt, len / 2) < 0)
		return diag_set(d, -EINVAL,
		                "--salt is \"%s\", expected up to %zu bytes as hexadecimal digits, "
		                "or - for none",
		                value, sizeof(p->salt));
	p->salt_len = (uint16_t)(len / 2);
	return 0;
}

/* ---- the table ---- */

#define AT(member)                                                                                 \
	.at = offsetof(struct options, member), .width = sizeof(((struct options *)NULL)->member)
#define MARK(member) .has_mark = true, .mark = offsetof(struct options, member)

const struct option_spec option_specs[] = {
	{ OPTION_HEADING, .help = "What is done with the disk" },
	{ OPTION_ACTION, "mount", 'm', .args = "DISK MOUNTPOINT", .run = cmd_mount,
	  .help = "mount it; the action when none is named" },
	{ OPTION_ACTION, "umount", 'u', .args = "MOUNTPOINT", .root = ROOT_UNUSED,
	  .run = cmd_umount, .help = "unmount it" },
	{ OPTION_ACTION, "with", .args = "DISK COMMAND...", .run = cmd_with,
	  .help = "mount it in a temporary place, run the command\n"
	          "there, unmount it" },
	{ OPTION_ACTION, "inspect", .args = "DISK", .root = ROOT_WELCOME, .run = cmd_inspect,
	  .help = "show partitions, hash tree and file system, and\n"
	          "what of it is proven; the root hash may be left\n"
	          "out: then nothing is" },
	{ OPTION_ACTION, "list", 'l', .args = "DISK", .run = cmd_list,
	  .help = "list the paths of everything on it" },
	{ OPTION_ACTION, "mtree", .args = "DISK", .run = cmd_mtree,
	  .help = "list everything as mtree(5), with SHA-256" },
	{ OPTION_ACTION, "cat", .args = "DISK PATH", .run = cmd_cat,
	  .help = "write a file to stdout" },
	{ OPTION_ACTION, "copy-from", 'x', .args = "DISK PATH DEST", .run = cmd_copy_from,
	  .help = "copy a file or a tree out of it" },
	{ OPTION_ACTION, "verify", .args = "DISK", .run = cmd_verify,
	  .help = "prove every block, list the bad ones with their\n"
	          "files" },

	{ OPTION_HEADING, .help = "What is proven" },
	{ OPTION_CUSTOM, "root-hash", .value = "HEX", .set = set_root_hash,
	  .help = "root hash of the disk" },
	{ OPTION_CUSTOM, "root-hash-file", .value = "FILE", .set = set_root_hash_file,
	  .help = "read the root hash from FILE" },
	{ OPTION_TEXT, "certificate", .value = "FILE", AT(certificate),
	  .help = "demand a signature of this certificate (PEM) over\n"
	          "the root hash; it may then be left out: the\n"
	          "disk's signature partition says it" },
	{ OPTION_TEXT, "trust-dir", .value = "DIR", .unsaid = "/etc/verity.d", AT(trust_dir),
	  .help = "the same, of any certificate in DIR/*.crt\n"
	          "(default /etc/verity.d)" },
	{ OPTION_TEXT, "root-hash-sig", .value = "FILE", AT(root_hash_sig),
	  .help = "the signature (detached PKCS#7 in DER) is in\n"
	          "FILE, not on the disk" },
	{ OPTION_NUMBER, "data-blocks", .value = "N", AT(image.data_blk_cnt), .min = 1,
	  .max = UINT64_MAX, .help = "demand that exactly N data blocks are covered" },
	{ OPTION_CHOICE, "on-corruption", .value = "eio|exit", AT(exit_on_corruption),
	  .help = "eio: reads that cannot be proven fail with EIO\n"
	          "(default); exit: also unmount, and end with\n"
	          "status 3" },

	{ OPTION_HEADING, .help = "Where the hash tree is, if it is not found by itself" },
	{ OPTION_NUMBER, "data-partition", .value = "N", AT(image.data_part), .min = 1,
	  .max = UINT32_MAX, .help = "number of the partition with the EROFS image" },
	{ OPTION_NUMBER, "hash-partition", .value = "N", AT(image.hash_part), .min = 1,
	  .max = UINT32_MAX, .help = "number of the partition with the hash tree" },
	{ OPTION_NUMBER, "signature-partition", .value = "N", AT(image.signature_part), .min = 1,
	  .max = UINT32_MAX, .help = "number of the partition with the signature" },
	{ OPTION_TEXT, "hash-device", .value = "PATH", AT(hash_device),
	  .help = "the hash tree is in this file or device" },
	{ OPTION_SIZE, "hash-offset", .value = "BYTES", AT(image.hash_off), .max = UINT64_MAX,
	  MARK(image.has_hash_off), .help = "the hash area starts at this byte" },
	{ OPTION_FLAG, "no-superblock", AT(image.no_superblock),
	  .help = "the hash area has no verity superblock; then\n"
	          "these say what it would, as in veritysetup:" },
	{ OPTION_CUSTOM, "hash", .value = "NAME", .set = set_hash, MARK(has_params),
	  .help = "digest (default sha256)" },
	{ OPTION_CUSTOM, "salt", .value = "HEX", .set = set_salt, MARK(has_params),
	  .help = "salt, - for none (default none)" },
	{ OPTION_SIZE, "data-block-size", .value = "BYTES", AT(image.params.data_block_len),
	  .min = VERITY_MIN_BLOCK_LEN, .max = VERITY_MAX_BLOCK_LEN, MARK(has_params),
	  .help = "a power of two (default 4096)" },
	{ OPTION_SIZE, "hash-block-size", .value = "BYTES", AT(image.params.hash_block_len),
	  .min = VERITY_MIN_BLOCK_LEN, .max = VERITY_MAX_BLOCK_LEN, MARK(has_params),
	  .help = "a power of two (default 4096)" },
	{ OPTION_CHOICE, "format", .value = "0|1", AT(image.params.hash_type), MARK(has_params),
	  .help = "1: salt first (default); 0: original Chrome OS" },
	{ OPTION_CHOICE, "hash-type", .value = "0|1", AT(image.params.hash_type),
	  MARK(has_params) },

	{ OPTION_NUMBER, "wait", .value = "SECONDS", AT(wait_s), .max = UINT32_MAX,
	  .help = "wait so long for DISK to appear (default 0)" },

	{ OPTION_HEADING, .help = "The mount" },
	{ OPTION_CUSTOM, NULL, 'o', .value = "OPTION[,...]", .set = options_set_mount_options,
	  .help = "mount options: those of this program without\n"
	          "dashes (root_hash=HEX), exec, those of libfuse" },
	{ OPTION_CHOICE, "backend", .value = "fuse|kernel|auto", AT(backend),
	  .help = "fuse: this program proves (default); kernel:\n"
	          "dm-verity does, which needs root; auto: kernel\n"
	          "where that is possible, else fuse" },
	{ OPTION_FLAG, "allow-other", AT(allow_other), .help = "let other users read the mount" },
	{ OPTION_NUMBER, "threads", .value = "N", AT(thread_cnt), .min = 1,
	  .max = OPTIONS_MAX_THREADS, .help = "threads that serve or work (default: 2 per CPU)" },
	{ OPTION_SIZE, "cache-size", .value = "SIZE", AT(image.verity.cache_len), .min = 1,
	  .max = UINT64_MAX, .help = "memory for proven hash blocks (default 64M)" },
	{ OPTION_TEXT, "preload", .value = "PATTERN", .unsaid = "*", AT(preload),
	  .help = "prove files and fill the page cache with them\n"
	          "in the background; default: all files" },
	{ OPTION_CHOICE, "direct", .value = "auto|yes|no", AT(image.direct),
	  .help = "keep the disk out of the page cache, so that\n"
	          "nothing is in it twice. auto (default): drop\n"
	          "what reads bring into it; yes: read past it" },

	{ OPTION_HEADING, .help = "The process" },
	{ OPTION_FLAG, "foreground", 'f', AT(foreground), .help = "stay in the foreground" },
	{ OPTION_FLAG, "daemon", AT(daemon),
	  .help = "go into the background once mounted (default)" },
	{ OPTION_FLAG, "debug", 'd', AT(debug), .help = "foreground, and log every request" },
	{ OPTION_FLAG, "no-sandbox", AT(no_sandbox),
	  .help = "keep all rights while serving: for debugging" },
	{ OPTION_NUMBER, "ready-fd", .value = "N", AT(ready_fd), .max = INT_MAX,
	  .help = "write \"ready\" to descriptor N once mounted" },
	{ OPTION_FLAG, "json", AT(json), .help = "results as JSON: --inspect, --verify" },
	{ OPTION_TEXT, "stats", .value = "SOCKET", AT(stats),
	  .help = "tell who connects to SOCKET, in JSON, what the\n"
	          "mount has done so far" },
	{ OPTION_CHOICE, "progress", .value = "MODE", AT(progress),
	  .choices = "auto|bar|lines|json|off", .help = "auto (default), bar, lines, json or off" },
	{ OPTION_CHOICE, "log-format", .value = "text|json", AT(log_format),
	  .help = "how messages look (default text)" },
	{ OPTION_CHOICE, "log-level", .value = "LEVEL", AT(log_level),
	  .choices = "error|warning|note|debug",
	  .help = "error, warning, note (default) or debug" },
	{ OPTION_FLAG, "help", 'h', AT(help), .help = "show this help" },
	{ OPTION_FLAG, "version", 'V', AT(version), .help = "show the version" },
};
const size_t option_spec_cnt = ARRAY_LEN(option_specs);
const struct option_spec *const option_default_action = &option_specs[1];

const char option_help_head[] =
        "Usage: mountfs [options] DISK MOUNTPOINT --root-hash=HEX\n"
        "\n"
        "Mounts a model disk read-only and proves every byte against the root hash\n"
        "before a reader sees it. DISK is a file or a block device: a GPT with an EROFS\n"
        "and a dm-verity hash partition, as mkdisk and systemd-repart make it, or an\n"
        "EROFS image with the hash tree behind it, as veritysetup makes it. No root\n"
        "rights are needed. There is no way to mount without proof.\n";

const char option_help_tail[] =
        "\n"
        "Exit status: 0 done, 1 could not (I/O, memory, mount), 2 wrong usage,\n"
        "3 refused (the disk is not what the root hash says).\n"
        "\n"
        "Examples:\n"
        "  mountfs model.disk /mnt/model --root-hash=ba5e...\n"
        "  mountfs -f model.disk /mnt/model --root-hash-file=model.roothash\n"
        "  mountfs data.erofs /mnt/model --hash-device=data.tree --root-hash=ba5e...\n"
        "  mount -t fuse.mountfs model.disk /mnt/model -o root_hash=ba5e...\n"
        "  fusermount3 -u /mnt/model                                  (unmounts)\n";
