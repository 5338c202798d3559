/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "definitions.h"

#define DATA                                                                                       \
	"[Partition]\nType=linux-generic\nCopyFiles=/src:/\nFormat=erofs\nVerity=data\n"           \
	"VerityMatchKey=m\n"
#define HASH      "[Partition]\nType=linux-generic\nVerity=hash\nVerityMatchKey=m\n"
#define SIGNATURE "[Partition]\nType=root-x86-64-verity-sig\nVerity=signature\nVerityMatchKey=m\n"

static int parse_some(const char *const *text, size_t cnt, struct definitions **out, struct diag *d)
{
	static const char *const name[] = { "10.conf", "20.conf", "30.conf", "40.conf" };
	struct conf_text file[4];

	for (size_t i = 0; i < cnt; i++)
		file[i] = (struct conf_text){ name[i], text[i], strlen(text[i]) };
	return definitions_parse_text(file, cnt, out, d);
}

static struct definitions *parse(const char *data, const char *hash)
{
	const char *const text[] = { data, hash };
	struct definitions *defs = NULL;
	struct diag d = DIAG_INIT;

	if (parse_some(text, 2, &defs, &d) < 0)
		fail_msg("%s", d.text);
	return defs;
}

/* Files that are refused, with words of the reason. */
static void assert_refused(const char *const *text, size_t cnt, int err, const char *expected)
{
	struct definitions *defs = NULL;
	struct diag d = DIAG_INIT;
	int r = parse_some(text, cnt, &defs, &d);

	if (r != err || !strstr(d.text, expected))
		fail_msg("expected %d \"%s\", got %d \"%s\"", err, expected, r, d.text);
	assert_null(defs);
}

/* ---- values ---- */

static void built_in_definitions_are_privatemode_s(void **state)
{
	(void)state;
	scoped(definitions) struct definitions *defs = NULL;

	assert_int_equal(definitions_default(&defs, NULL), 0);
	assert_int_equal(defs->cnt, 2);
	assert_int_equal(defs->data, 0);
	assert_int_equal(defs->hash, 1);
	assert_true(defs->signature == SIZE_MAX);
	for (size_t i = 0; i < 2; i++) {
		assert_string_equal(defs->v[i].type_name, "linux-generic");
		assert_true(defs->v[i].id_is_set && uuid_is_null(&defs->v[i].id));
	}
	assert_string_equal(defs->v[0].file, "repart/00-repart.conf");
	assert_int_equal(defs->v[0].weight, 1000);
	assert_string_equal(defs->v[0].copy[0].source, "/src");
	assert_string_equal(defs->v[0].copy[0].target, "/");
	assert_string_equal(defs->v[0].exclude_source.v[0], "/src/.git");
	assert_int_equal(defs->v[1].weight, 10);
	assert_int_equal(defs->v[1].size_min, 64 * MIB);
	assert_true(defs->v[1].size_max == DEFINITION_SIZE_UNSET);
}

static void unset_keys_have_repart_s_defaults(void **state)
{
	(void)state;
	scoped(definitions) struct definitions *defs = parse(DATA, HASH);
	const struct definition *def = &defs->v[1];

	assert_null(def->label);
	assert_false(def->id_is_set);
	assert_int_equal(def->priority, 0);
	assert_int_equal(def->weight, 1000);
	assert_int_equal(def->padding_weight, 0);
	assert_true(def->size_min == DEFINITION_SIZE_UNSET);
	assert_true(def->padding_max == DEFINITION_SIZE_UNSET);
	assert_int_equal(def->read_only, -1);
	assert_int_equal(def->add_validatefs, -1);
	assert_int_equal(def->verity_data_block_len + def->fs_sector_len + def->flags, 0);
	assert_false(def->minimize);
}

static void every_key_of_a_verity_disk_is_read(void **state)
{
	(void)state;
	scoped(definitions) struct definitions *defs =
	        parse(DATA "Label=a %%b \xC3\xA9\n"
	                   "UUID=12345678-1234-1234-1234-123456789abc\nPriority=-7\nWeight=0x10\n"
	                   "PaddingWeight=3\nSizeMinBytes=1.5M\nSizeMaxBytes=1G 512K\n"
	                   "PaddingMinBytes=4096\nPaddingMaxBytes=8K\n"
	                   "CopyFiles=/src/a\\x20b:/c:fsverity=off\nCopyFiles=/src/d\n"
	                   "ExcludeFiles=/src/x/ '/src/y z'\nExcludeFilesTarget=/q\n"
	                   "MakeDirectories=/m //n/\nMakeSymlinks=/l:../t /k:%%h\n"
	                   "MountPoint=/models:ro,noexec\nMountPoint=/opt\n"
	                   "Minimize=guess\nFlags=0x8000000000000001\nReadOnly=yes\nNoAuto=no\n"
	                   "GrowFileSystem=\nAddValidateFS=off\nSplitName=%t.x\nEncrypt=off\n"
	                   "FactoryReset=no\nIntegrity=\nFileSystemSectorSize=4096\nX-Note=1\n",
	              HASH "Priority=-7\nVerityDataBlockSizeBytes=1024\n"
	                   "VerityHashBlockSizeBytes=2K\nFileSystemSectorSize=512\n");
	const struct definition *def = &defs->v[0];

	assert_string_equal(def->label, "a %b \xC3\xA9");
	assert_true(def->id_is_set && def->id.b[0] == 0x12 && def->id.b[15] == 0xBC);
	assert_int_equal(def->priority, -7);
	assert_int_equal(def->weight, 16);
	assert_int_equal(def->padding_weight, 3);
	assert_int_equal(def->size_min, 3 * MIB / 2);
	assert_int_equal(def->size_max, GIB + MIB / 2);
	assert_int_equal(def->padding_min, 4096);
	assert_int_equal(def->padding_max, 8192);
	assert_int_equal(def->copy_cnt, 3);
	assert_string_equal(def->copy[1].source, "/src/a b");
	assert_string_equal(def->copy[1].target, "/c");
	assert_string_equal(def->copy[2].target, "/src/d");
	assert_int_equal(def->exclude_source.cnt, 2);
	assert_string_equal(def->exclude_source.v[0], "/src/x/");
	assert_string_equal(def->exclude_source.v[1], "/src/y z");
	assert_string_equal(def->exclude_target.v[0], "/q");
	assert_string_equal(def->make_dirs.v[1], "/n");
	assert_int_equal(def->make_link_cnt, 2);
	assert_string_equal(def->make_link[0].path, "/l");
	assert_string_equal(def->make_link[0].target, "../t");
	assert_string_equal(def->make_link[1].target, "%%h"); /* targets have no specifiers */
	assert_int_equal(def->mount_points.cnt, 2);
	assert_string_equal(def->mount_points.v[0], "/models");
	assert_true(def->minimize);
	assert_int_equal(def->flags, UINT64_C(0x8000000000000001));
	assert_int_equal(def->read_only, 1);
	assert_int_equal(def->no_auto, 0);
	assert_int_equal(def->grow_fs, -1);
	assert_int_equal(def->add_validatefs, 0);
	assert_int_equal(defs->v[1].verity_data_block_len, 1024);
	assert_int_equal(defs->v[1].verity_hash_block_len, 2048);
	assert_int_equal(defs->v[1].fs_sector_len, 512);
}

static void later_lines_replace_or_add_or_clear(void **state)
{
	(void)state;
	scoped(definitions) struct definitions *defs =
	        parse(DATA "Label=x\nLabel=\nUUID=null\nUUID=\nWeight=1\nWeight=2\n"
	                   "ExcludeFiles=/src/a\nExcludeFiles=\nExcludeFiles=/src/b\n"
	                   "MountPoint=/a\nMountPoint=\nMinimize=yes\nMinimize=\n"
	                   "Type=11111111-2222-3333-4444-555555555555\n",
	              HASH "VerityMatchKey=x\nVerityMatchKey=m\nFileSystemSectorSize=512\n"
	                   "FileSystemSectorSize=\nReadOnly=no\nReadOnly=\n");
	const struct definition *def = &defs->v[0];

	assert_string_equal(def->label, "");
	assert_false(def->id_is_set);
	assert_int_equal(def->weight, 2);
	assert_int_equal(def->exclude_source.cnt, 1);
	assert_string_equal(def->exclude_source.v[0], "/src/b");
	assert_int_equal(def->mount_points.cnt, 0);
	assert_false(def->minimize);
	assert_string_equal(def->type_name, "11111111-2222-3333-4444-555555555555");
	assert_int_equal(defs->v[1].fs_sector_len, 0);
	assert_int_equal(defs->v[1].read_only, -1);
}

static void known_types_have_names_also_when_given_as_uuids(void **state)
{
	(void)state;
	scoped(definitions) struct definitions *defs =
	        parse(DATA "Type=4F68BCE3E8CD4DB196E7FBCAF984B709\n", HASH);

	assert_string_equal(defs->v[0].type_name, "root-x86-64");
}

static void longest_label_is_36_bytes(void **state)
{
	(void)state;
	scoped(definitions) struct definitions *defs =
	        parse(DATA "Label=123456789012345678901234567890123456\n", HASH);
	const char *const long_one[] = { DATA "Label=1234567890123456789012345678901234567\n",
		                         HASH };
	/* 18 UTF-16 pairs would fit into a table */
	const char *const wide[] = {
		DATA "Label=\xF0\x9F\xA4\x97\xF0\x9F\xA4\x97\xF0\x9F\xA4\x97\xF0\x9F\xA4\x97"
		     "\xF0\x9F\xA4\x97\xF0\x9F\xA4\x97\xF0\x9F\xA4\x97\xF0\x9F\xA4\x97"
		     "\xF0\x9F\xA4\x97\xF0\x9F\xA4\x97\n",
		HASH
	};

	assert_int_equal(strlen(defs->v[0].label), 36);
	assert_refused(long_one, 2, -EINVAL, "10.conf:7: Label: ");
	assert_refused(wide, 2, -EINVAL, "at most 36 bytes");
}

/* ---- refusals ---- */

static void wrong_values_are_refused_by_file_line_and_name(void **state)
{
	(void)state;
	static const struct {
		const char *line, *expected;
	} bad[] = {
		{ "Type=\n", "10.conf:7: Type: " },
		{ "Type=root\n", "names it, as root-x86-64 does" },
		{ "Type=usr-verity\n", "names it, as root-x86-64 does" },
		{ "Type=00000000-0000-0000-0000-000000000000\n", "10.conf:7: Type: " },
		{ "Label=%m\n", "10.conf:7: Label: %m stands for something of the building host" },
		{ "UUID=NULL\n", "10.conf:7: UUID: \"NULL\" is not a UUID" },
		{ "UUID=1234\n", "10.conf:7: UUID: " },
		{ "Priority=\n", "10.conf:7: Priority: " },
		{ "Priority=2147483648\n", "10.conf:7: Priority: " },
		{ "Priority=--1\n", "10.conf:7: Priority: " },
		{ "Weight=1000001\n", "10.conf:7: Weight: \"1000001\" is not a weight" },
		{ "Weight=-1\n", "10.conf:7: Weight: " },
		{ "Weight=\n", "10.conf:7: Weight: " },
		{ "Weight=010\n", "10.conf:7: Weight: " },
		{ "SizeMinBytes=\n", "10.conf:7: SizeMinBytes: " },
		{ "SizeMinBytes=1Q\n", "10.conf:7: SizeMinBytes: " },
		{ "SizeMaxBytes=0x1000\n", "10.conf:7: SizeMaxBytes: " },
		{ "PaddingMinBytes=5E\n", "10.conf:7: PaddingMinBytes: " },
		{ "CopyFiles=\n", "10.conf:7: CopyFiles: " },
		{ "CopyFiles=src:/\n", "10.conf:7: CopyFiles: \"src\" is not an absolute path" },
		{ "CopyFiles=/src:\n", "10.conf:7: CopyFiles: " },
		{ "CopyFiles=/src:/a:b:c\n", "10.conf:7: CopyFiles: " },
		{ "CopyFiles=/src:/a:fsverity=copy\n", "10.conf:7: CopyFiles: " },
		{ "CopyFiles=/src/../x:/\n", "10.conf:7: CopyFiles: " },
		{ "CopyFiles=/src/x%n:/\n", "10.conf:7: CopyFiles: %n stands" },
		{ "CopyFiles=/src\\q:/\n", "10.conf:7: CopyFiles: unknown escape" },
		{ "ExcludeFiles=x\n", "10.conf:7: ExcludeFiles: \"x\" is not an absolute path" },
		{ "ExcludeFiles=/src/a '/src/b\n", "10.conf:7: ExcludeFiles: unfinished quote" },
		{ "MakeDirectories=\n", "10.conf:7: MakeDirectories: " },
		{ "MakeDirectories=a\n", "10.conf:7: MakeDirectories: " },
		{ "MakeSymlinks=/a\n", "10.conf:7: MakeSymlinks: \"/a\" is not PATH:TARGET" },
		{ "MakeSymlinks=/a:\n", "10.conf:7: MakeSymlinks: " },
		{ "MakeSymlinks=/a:b:c\n", "10.conf:7: MakeSymlinks: " },
		{ "MountPoint=a\n", "10.conf:7: MountPoint: " },
		{ "MountPoint=/a:b:c\n", "10.conf:7: MountPoint: " },
		{ "Verity=on\n", "10.conf:7: Verity: " },
		{ "VerityDataBlockSizeBytes=256\n", "10.conf:7: VerityDataBlockSizeBytes: " },
		{ "VerityHashBlockSizeBytes=8K\n", "10.conf:7: VerityHashBlockSizeBytes: " },
		{ "FileSystemSectorSize=1000\n", "10.conf:7: FileSystemSectorSize: " },
		{ "Minimize=most\n", "10.conf:7: Minimize: " },
		{ "Flags=-1\n", "10.conf:7: Flags: " },
		{ "Flags=18446744073709551616\n", "10.conf:7: Flags: " },
		{ "ReadOnly=maybe\n", "10.conf:7: ReadOnly: " },
		{ "Typo=1\n", "10.conf:7: unknown key \"Typo\"" },
		{ "type=linux-generic\n", "10.conf:7: unknown key \"type\"" },
		{ "[Filesystem]\n", "10.conf:7: unknown section" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char data[1024];
		const char *const text[] = { data, HASH };

		snprintf(data, sizeof(data), "%s%s", DATA, bad[i].line);
		assert_refused(text, 2, -EINVAL, bad[i].expected);
	}
}

static void what_repart_makes_and_we_do_not_is_refused_by_name(void **state)
{
	(void)state;
	static const char *const lines[] = {
		"Encrypt=key-file\n",
		"Encrypt=yes\n",
		"CopyBlocks=auto\n",
		"Compression=zstd\n",
		"CompressionLevel=3\n",
		"FactoryReset=yes\n",
		"Format=ext4\n",
		"Format=squashfs\n",
		"Format=empty\n",
		"Subvolumes=/a\n",
		"DefaultSubvolume=/a\n",
		"VolumeLabel=x\n",
		"EncryptedVolume=x\n",
		"KeyFile=/k\n",
		"TPM2PCRs=7\n",
		"Integrity=inline\n",
		"IntegrityAlgorithm=hmac-sha256\n",
		"EncryptKDF=pbkdf2\n",
		"SupplementFor=10\n",
		"Discard=no\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		char data[1024], expected[64];
		const char *const text[] = { data, HASH };

		snprintf(data, sizeof(data), "%s%s", DATA, lines[i]);
		snprintf(expected, sizeof(expected), "10.conf:7: %.*s", (int)strcspn(lines[i], "="),
		         lines[i]);
		assert_refused(text, 2, -EOPNOTSUPP, expected);
	}
}

static void definitions_must_make_one_verity_disk(void **state)
{
	(void)state;
	static const struct {
		const char *text[4];
		int err;
		const char *expected;
	} bad[] = {
		{ { DATA }, -EINVAL, "no definition with Verity=hash" },
		{ { HASH }, -EINVAL, "no definition with Verity=data" },
		{ { SIGNATURE }, -EINVAL, "no definition with Verity=data" },
		{ { DATA, DATA, HASH },
		  -EOPNOTSUPP,
		  "20.conf: a second Verity=data after 10.conf" },
		{ { DATA, HASH, HASH }, -EOPNOTSUPP, "30.conf: a second Verity=hash" },
		{ { DATA, HASH, SIGNATURE, SIGNATURE }, -EOPNOTSUPP, "a second Verity=signature" },
		{ { DATA, HASH, "[Partition]\nType=home\n" },
		  -EOPNOTSUPP,
		  "30.conf: a partition without Verity=" },
		{ { "", HASH }, -EINVAL, "10.conf: Type= is missing" },
		{ { DATA "VerityMatchKey=\n", HASH }, -EINVAL, "VerityMatchKey= is missing" },
		{ { DATA, HASH "VerityMatchKey=n\n" }, -EINVAL, "20.conf: its VerityMatchKey=" },
		{ { DATA "Priority=1\n", HASH }, -EINVAL, "20.conf: its Priority=" },
		{ { DATA "VerityHashBlockSizeBytes=4K\n", HASH },
		  -EINVAL,
		  "10.conf: verity block sizes are read from the Verity=hash definition only" },
		{ { DATA, HASH "Format=erofs\n" },
		  -EINVAL,
		  "20.conf: a partition with Verity=hash" },
		{ { DATA, HASH "CopyFiles=/src:/\n" },
		  -EINVAL,
		  "20.conf: a partition with Verity=hash" },
		{ { DATA, HASH "MakeDirectories=/x\n" }, -EINVAL, "20.conf: a partition with" },
		{ { DATA, HASH "AddValidateFS=yes\n" }, -EINVAL, "20.conf: a partition with" },
		{ { DATA, HASH "Minimize=yes\n" },
		  -EINVAL,
		  "20.conf: Minimize= needs Minimize= in 10.conf" },
		{ { DATA, HASH, SIGNATURE "SizeMinBytes=1M\n" },
		  -EINVAL,
		  "30.conf: Verity=signature has a fixed size" },
		{ { DATA, HASH, SIGNATURE "Minimize=yes\n" }, -EINVAL, "30.conf: Minimize= needs" },
		{ { "[Partition]\nType=linux-generic\nVerity=data\nVerityMatchKey=m\nCopyFiles=/"
		    "src:/\n",
		    HASH },
		  -EINVAL,
		  "10.conf: Verity=data without Format=erofs" },
		{ { "[Partition]\nType=linux-generic\nVerity=data\nVerityMatchKey=m\nFormat="
		    "erofs\n",
		    HASH },
		  -EINVAL,
		  "10.conf: CopyFiles= is missing" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		size_t cnt = 0;

		while (cnt < 4 && bad[i].text[cnt])
			cnt++;
		assert_refused(bad[i].text, cnt, bad[i].err, bad[i].expected);
	}
	assert_refused(NULL, 0, -EINVAL, "no definition files");
}

/* ---- directories ---- */

static char *path_in(const char *dir, const char *name)
{
	char *path = NULL;

	assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
	return path;
}

static void write_file(const char *dir, const char *name, const char *text)
{
	scoped_free char *path = path_in(dir, name);
	scoped_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void make_dir(const char *dir, const char *name)
{
	scoped_free char *path = path_in(dir, name);

	assert_int_equal(mkdir(path, 0755), 0);
}

static void make_link(const char *dir, const char *name, const char *target)
{
	scoped_free char *path = path_in(dir, name);

	assert_int_equal(symlink(target, path), 0);
}

static struct definitions *load(const char *a, const char *b)
{
	const char *dirs[] = { a, b };
	struct definitions *defs = NULL;
	struct diag d = DIAG_INIT;

	if (definitions_load(dirs, b ? 2 : 1, &defs, &d) < 0)
		fail_msg("%s", d.text);
	return defs;
}

static void files_are_ordered_by_the_bytes_of_their_names(void **state)
{
	(void)state;
	char *dir = support_make_dir();

	write_file(dir, "a.conf", HASH);
	write_file(dir, "B.conf", DATA);
	write_file(dir, "\xC3\xA9.conf", SIGNATURE);
	write_file(dir, "0.txt", "nonsense");
	write_file(dir, ".hidden.conf", "nonsense");
	write_file(dir, "x.conf~", "nonsense");
	write_file(dir, ".conf", "nonsense");
	make_dir(dir, "1.conf");
	scoped(definitions) struct definitions *defs = load(dir, NULL);
	scoped_free char *expected = path_in(dir, "B.conf");

	assert_int_equal(defs->cnt, 3);
	assert_int_equal(defs->data, 0);
	assert_int_equal(defs->hash, 1);
	assert_int_equal(defs->signature, 2);
	assert_string_equal(defs->v[0].file, expected);
	support_remove_dir(dir);
}

static void earlier_directories_hide_files_of_later_ones(void **state)
{
	(void)state;
	char *one = support_make_dir(), *two = support_make_dir();

	write_file(one, "10.conf", DATA "Label=one\n");
	write_file(two, "10.conf", DATA "Label=two\n");
	write_file(two, "20.conf", HASH);
	write_file(two, "30.conf", "nonsense");
	write_file(two, "40.conf", "nonsense");
	make_link(one, "30.conf", "/dev/null");
	write_file(one, "40.conf", "");
	scoped(definitions) struct definitions *defs = load(one, two);

	assert_int_equal(defs->cnt, 2);
	assert_string_equal(defs->v[0].label, "one");
	support_remove_dir(one);
	support_remove_dir(two);
}

static void drop_ins_of_all_directories_are_applied_in_order(void **state)
{
	(void)state;
	char *one = support_make_dir(), *two = support_make_dir();

	write_file(one, "10.conf", DATA "Label=main\nWeight=1\nExcludeFiles=/src/a\n");
	write_file(one, "20.conf", HASH);
	make_dir(one, "10.conf.d");
	make_dir(two, "10.conf.d");
	write_file(one, "10.conf.d/50.conf", "[Partition]\nLabel=fifty\nExcludeFiles=/src/b\n");
	write_file(two, "10.conf.d/40.conf", "[Partition]\nLabel=forty\nWeight=2\n");
	write_file(two, "10.conf.d/50.conf", "nonsense");
	make_link(two, "10.conf.d/60.conf", "/dev/null");
	write_file(two, "10.conf.d/70.txt", "nonsense");
	scoped(definitions) struct definitions *defs = load(one, two);
	const struct definition *def = &defs->v[0];
	scoped_free char *first = path_in(two, "10.conf.d/40.conf");
	scoped_free char *second = path_in(one, "10.conf.d/50.conf");

	assert_string_equal(def->label, "fifty");
	assert_int_equal(def->weight, 2);
	assert_int_equal(def->exclude_source.cnt, 2);
	assert_int_equal(def->drop_in_cnt, 2);
	assert_string_equal(def->drop_in[0], first);
	assert_string_equal(def->drop_in[1], second);
	assert_int_equal(defs->v[1].drop_in_cnt, 0);
	support_remove_dir(one);
	support_remove_dir(two);
}

static void file_names_are_full_paths_as_systemd_shows_them(void **state)
{
	(void)state;
	char *dir = support_make_dir();
	scoped_free char *slash = path_in(dir, "./");
	scoped_free char *expected = path_in(dir, "10.conf");

	write_file(dir, "10.conf", DATA);
	write_file(dir, "20.conf", HASH);
	scoped(definitions) struct definitions *defs = load(slash, NULL);

	assert_string_equal(defs->v[0].file, expected);
	support_remove_dir(dir);
}

static void missing_directories_and_files_are_told(void **state)
{
	(void)state;
	char *dir = support_make_dir();
	const char *missing[] = { "/nonexistent/dir" }, *empty[] = { dir };
	struct definitions *defs = NULL;
	struct diag d = DIAG_INIT;

	assert_int_equal(definitions_load(missing, 1, &defs, &d), -ENOENT);
	assert_non_null(strstr(d.text, "/nonexistent/dir"));
	assert_int_equal(definitions_load(empty, 1, &defs, &d), -EINVAL);
	assert_non_null(strstr(d.text, "no definition files"));
	make_link(dir, "10.conf", "nowhere");
	assert_int_equal(definitions_load(empty, 1, &defs, &d), -ENOENT);
	support_remove_dir(dir);
}

static void too_long_files_are_refused(void **state)
{
	(void)state;
	char *dir = support_make_dir();
	const char *dirs[] = { dir };
	scoped_free char *path = path_in(dir, "10.conf");
	struct definitions *defs = NULL;

	write_file(dir, "10.conf", DATA);
	assert_int_equal(truncate(path, (off_t)CONF_MAX_LEN + 1), 0);
	assert_int_equal(definitions_load(dirs, 1, &defs, NULL), -EINVAL);
	support_remove_dir(dir);
}

static void more_definitions_than_a_table_holds_are_refused(void **state)
{
	(void)state;
	struct conf_text file[DEFINITIONS_MAX + 1];
	struct definitions *defs = NULL;
	struct diag d = DIAG_INIT;

	for (size_t i = 0; i < ARRAY_LEN(file); i++)
		file[i] = (struct conf_text){ "f", HASH, strlen(HASH) };
	assert_int_equal(definitions_parse_text(file, ARRAY_LEN(file), &defs, &d), -EOPNOTSUPP);
	assert_non_null(strstr(d.text, "more than 128"));
}

static void failed_allocation_is_told_and_leaks_nothing(void **state)
{
	(void)state;
	char *dir = support_make_dir();
	const char *dirs[] = { dir };
	unsigned long k = 1;
	int r;

	write_file(dir, "10.conf",
	           DATA "Label=x\nExcludeFiles=/src/a /src/b\nMakeDirectories=/m\n"
	                "MakeSymlinks=/l:t\nMountPoint=/p\nCopyFiles=/src/c\n");
	write_file(dir, "20.conf", HASH);
	make_dir(dir, "20.conf.d");
	write_file(dir, "20.conf.d/1.conf", "[Partition]\nWeight=1\n");
	do {
		struct definitions *defs = NULL;
		struct diag d = DIAG_INIT;

		support_fail_allocation(k++);
		r = definitions_load(dirs, 1, &defs, &d);
		support_fail_allocation(0);
		/* opendir(3) and realpath(3) say it in their own way */
		assert_true(r == 0 || (r == -ENOMEM && d.text[0]));
		definitions_free(defs);
	} while (r != 0);
	assert_true(k > 20);
	support_remove_dir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(built_in_definitions_are_privatemode_s),
		cmocka_unit_test(unset_keys_have_repart_s_defaults),
		cmocka_unit_test(every_key_of_a_verity_disk_is_read),
		cmocka_unit_test(later_lines_replace_or_add_or_clear),
		cmocka_unit_test(known_types_have_names_also_when_given_as_uuids),
		cmocka_unit_test(longest_label_is_36_bytes),
		cmocka_unit_test(wrong_values_are_refused_by_file_line_and_name),
		cmocka_unit_test(what_repart_makes_and_we_do_not_is_refused_by_name),
		cmocka_unit_test(definitions_must_make_one_verity_disk),
		cmocka_unit_test(files_are_ordered_by_the_bytes_of_their_names),
		cmocka_unit_test(earlier_directories_hide_files_of_later_ones),
		cmocka_unit_test(drop_ins_of_all_directories_are_applied_in_order),
		cmocka_unit_test(file_names_are_full_paths_as_systemd_shows_them),
		cmocka_unit_test(missing_directories_and_files_are_told),
		cmocka_unit_test(too_long_files_are_refused),
		cmocka_unit_test(more_definitions_than_a_table_holds_are_refused),
		cmocka_unit_test(failed_allocation_is_told_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
