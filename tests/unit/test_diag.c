/* SPDX-License-Identifier: Apache-2.0 */
/* Sentences of failures: recorded, prefixed, cut, and what a program returns for them. */
#include "support.h"

#include <errno.h>

static void the_sentence_and_the_code_are_kept(void **state)
{
	struct diag d = DIAG_INIT;

	(void)state;
	assert_int_equal(d.err, 0);
	assert_string_equal(d.text, "");
	assert_int_equal(diag_set(&d, -EUCLEAN, "block %d of %s", 17, "disk.img"), -EUCLEAN);
	assert_int_equal(d.err, -EUCLEAN);
	assert_string_equal(d.text, "block 17 of disk.img");
	assert_int_equal(diag_set(&d, -EBADMSG, "other"), -EBADMSG);
	assert_string_equal(d.text, "other");
}

static void system_call_failures_end_with_the_errno_text(void **state)
{
	struct diag d = DIAG_INIT;

	(void)state;
	assert_int_equal(diag_set_errno(&d, -ENOENT, "%s: cannot open", "x"), -ENOENT);
	assert_string_equal(d.text, "x: cannot open: No such file or directory");
}

static void prefixes_go_in_front_and_keep_the_code(void **state)
{
	struct diag d = DIAG_INIT;

	(void)state;
	assert_int_equal(diag_prefix(&d, 0, "nothing happened"), 0);
	assert_string_equal(d.text, "");
	diag_set(&d, -EIO, "100%% broken %%s");
	assert_int_equal(diag_prefix(&d, -EIO, "partition %d", 1), -EIO);
	assert_string_equal(d.text, "partition 1: 100% broken %s");
	assert_int_equal(d.err, -EIO);
}

static void no_diag_is_allowed_everywhere(void **state)
{
	(void)state;
	assert_int_equal(diag_set(NULL, -EIO, "x"), -EIO);
	assert_int_equal(diag_set_errno(NULL, -EIO, "x"), -EIO);
	assert_int_equal(diag_prefix(NULL, -EIO, "x"), -EIO);
}

static void long_sentences_are_cut_and_marked(void **state)
{
	struct diag d = DIAG_INIT;
	char text[2 * DIAG_TEXT_LEN];

	(void)state;
	memset(text, 'a', sizeof(text));
	for (size_t len = DIAG_TEXT_LEN - 2; len <= DIAG_TEXT_LEN + 2; len++) {
		bool cut = len >= DIAG_TEXT_LEN;

		diag_set(&d, -EIO, "%.*s", (int)len, text);
		assert_int_equal(strlen(d.text), cut ? DIAG_TEXT_LEN - 1 : len);
		assert_int_equal(strstr(d.text, "a...") != NULL, cut);
		diag_prefix(&d, -EIO, "%.*s", (int)len, text);
		assert_int_equal(strlen(d.text), DIAG_TEXT_LEN - 1);
		assert_string_equal(d.text + DIAG_TEXT_LEN - 4, "...");
	}
}

static void exit_status_tells_a_broken_machine_from_a_broken_disk(void **state)
{
	(void)state;
	assert_int_equal(diag_exit_status(0), 0);
	assert_int_equal(diag_exit_status(-EIO), 1);
	assert_int_equal(diag_exit_status(-ENOMEM), 1);
	assert_int_equal(diag_exit_status(-ENOSPC), 1);
	assert_int_equal(diag_exit_status(-EINVAL), 2);
	assert_int_equal(diag_exit_status(-EBADMSG), 3);
	assert_int_equal(diag_exit_status(-EUCLEAN), 3);
	assert_int_equal(diag_exit_status(-EOPNOTSUPP), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_sentence_and_the_code_are_kept),
		cmocka_unit_test(system_call_failures_end_with_the_errno_text),
		cmocka_unit_test(prefixes_go_in_front_and_keep_the_code),
		cmocka_unit_test(no_diag_is_allowed_everywhere),
		cmocka_unit_test(long_sentences_are_cut_and_marked),
		cmocka_unit_test(exit_status_tells_a_broken_machine_from_a_broken_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
