/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <errno.h>
#include <string.h>

#include "compat.h"

static struct compat parse(const char *spec, enum compat_layout layout)
{
	struct compat c;

	assert_int_equal(compat_parse(spec, layout, &c, NULL), 0);
	return c;
}

static void refuse(const char *spec, enum compat_layout layout, const char *expected)
{
	struct diag d = DIAG_INIT;
	struct compat c;

	memset(&c, 0x5A, sizeof(c));
	struct compat before = c;
	assert_int_equal(compat_parse(spec, layout, &c, &d), -EINVAL);
	assert_non_null(strstr(d.text, expected));
	assert_memory_equal(&c, &before, sizeof(c));
}

static void default_of_repart_is_the_newest_release(void **state)
{
	(void)state;
	struct compat c = parse(NULL, COMPAT_REPART);

	assert_string_equal(c.systemd_name, "systemd-258+");
	assert_string_equal(c.erofs_name, "erofs-1.8.10+");
	assert_true(c.validatefs && c.small_read_only_min && c.leftover_to_padding);
	assert_false(c.round_min_down || c.lz4_0padding_flag || c.xattrs_in_list_order);
}

static void default_of_flat_is_the_release_of_the_published_disks(void **state)
{
	(void)state;
	struct compat c = parse(NULL, COMPAT_FLAT);

	assert_string_equal(c.systemd_name, "none");
	assert_string_equal(c.erofs_name, "erofs-1.9.0");
	assert_true(c.lz4_0padding_flag && c.xattrs_in_list_order);
	assert_false(c.validatefs);
}

static void naming_one_tool_leaves_the_other_alone(void **state)
{
	(void)state;
	struct compat c = parse("systemd-255..257", COMPAT_REPART);

	assert_false(c.validatefs || c.leftover_to_padding || c.lz4_0padding_flag);
	assert_true(c.round_min_down && c.small_read_only_min);
	assert_string_equal(c.erofs_name, "erofs-1.8.10+");

	c = parse("erofs-1.9.0", COMPAT_REPART);
	assert_true(c.validatefs && c.lz4_0padding_flag);
	assert_string_equal(c.systemd_name, "systemd-258+");
}

static void both_tools_can_be_named_in_any_order(void **state)
{
	(void)state;
	struct compat a = parse("systemd-255..257.7,erofs-1.9.0", COMPAT_REPART);
	struct compat b = parse("erofs-1.9.0,systemd-255..257.7", COMPAT_REPART);

	assert_string_equal(a.systemd_name, b.systemd_name);
	assert_string_equal(a.erofs_name, b.erofs_name);
	assert_true(b.lz4_0padding_flag && b.round_min_down && !b.small_read_only_min);
	assert_true(a.lz4_0padding_flag && a.round_min_down && !a.small_read_only_min);
}

static void what_is_not_understood_is_refused_with_the_known_names(void **state)
{
	(void)state;
	refuse("systemd-254", COMPAT_REPART, "\"systemd-254\" is not one of systemd-258+, ");
	refuse("", COMPAT_REPART, "\"\" is not one of");
	refuse("erofs-1.9.0,", COMPAT_REPART, "\"\" is not one of");
	refuse("systemd-258", COMPAT_REPART, "erofs-1.8.10+");
	refuse("systemd-258+,systemd-255..257", COMPAT_REPART, "releases of one tool");
	refuse("systemd-258+", COMPAT_FLAT, "no part in the flat layout");
}

static void regular_files_have_4096_byte_verity_blocks_in_every_release(void **state)
{
	(void)state;
	struct compat now = parse(NULL, COMPAT_REPART);
	struct compat early = parse("systemd-258.0", COMPAT_REPART);

	assert_int_equal(compat_fs_sector_len(&now, false, 512), 4096);
	assert_int_equal(compat_fs_sector_len(&now, true, 512), 512);
	assert_int_equal(compat_fs_sector_len(&now, true, 4096), 4096);
	assert_int_equal(compat_fs_sector_len(&early, true, 512), 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_of_repart_is_the_newest_release),
		cmocka_unit_test(default_of_flat_is_the_release_of_the_published_disks),
		cmocka_unit_test(naming_one_tool_leaves_the_other_alone),
		cmocka_unit_test(both_tools_can_be_named_in_any_order),
		cmocka_unit_test(what_is_not_understood_is_refused_with_the_known_names),
		cmocka_unit_test(regular_files_have_4096_byte_verity_blocks_in_every_release),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
