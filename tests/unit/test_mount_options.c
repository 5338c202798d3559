/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.c and options_table.c of mountfs: what a command line means, and that the table itself is
 * in order. Linked with mountfs alone, because mkdisk has functions of the same names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "cmd.h"
#include "options_table.h"

#define ROOT     "ba5eba11ba5eba11ba5eba11ba5eba11ba5eba11ba5eba11ba5eba11ba5eba11"
#define MAX_ARGS 12

/* words are separated by one blank. */
static int parse(const char *words, struct options **out, struct diag *d)
{
	static char text[1024]; /* arguments are lent to the options */
	char *argv[MAX_ARGS + 1] = { NULL };
	int argc = 0;

	assert_true(strlen(words) < sizeof(text));
	strcpy(text, words);
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
		assert_true(argc < MAX_ARGS);
		argv[argc++] = word;
	}
	return options_parse(argc, argv, out, d);
}

static struct options *good(const char *words)
{
	struct options *o = NULL;
	struct diag d = DIAG_INIT;

	if (parse(words, &o, &d) < 0)
		fail_msg("%s: %s", words, d.text);
	return o;
}

static void expect_short_lines(const char *help)
{
	while (help) {
		size_t len = strcspn(help, "\n");

		assert_true(len <= 49);
		help = help[len] != '\0' ? help + len + 1 : NULL;
	}
}

static void the_table_is_in_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < option_spec_cnt; i++) {
		const struct option_spec *s = &option_specs[i];

		for (size_t k = 0; k < i; k++) {
			const struct option_spec *t = &option_specs[k];

			assert_false(s->letter && s->letter == t->letter);
			assert_false(s->name && t->name && strcmp(s->name, t->name) == 0);
		}
		assert_true((s->kind == OPTION_CUSTOM) == (s->set != NULL));
		assert_true((s->kind == OPTION_ACTION) == (s->run != NULL && s->args != NULL));
		if (s->kind != OPTION_HEADING)
			expect_short_lines(s->help);
		if (s->kind == OPTION_FLAG)
			assert_int_equal(s->width, sizeof(bool));
	}
	assert_string_equal(option_default_action->name, "mount");
}

static void without_an_action_it_is_a_mount(void **state)
{
	struct options *o = good("mountfs disk /mnt --root-hash=" ROOT);

	(void)state;
	assert_ptr_equal(o->run, cmd_mount);
	assert_int_equal(o->arg_cnt, 2);
	assert_string_equal(o->arg[0], "disk");
	assert_string_equal(o->arg[1], "/mnt");
	assert_null(o->arg[2]);
	assert_int_equal(o->image.root_len, 32);
	assert_int_equal(o->ready_fd, -1);
	assert_false(o->foreground);
	options_free(o);
}

static void every_way_of_writing_an_option_is_the_same(void **state)
{
	static const char *const ways[] = {
		"mountfs --threads=7 --cache-size=3M --foreground --on-corruption=exit d m "
		"--root-hash=" ROOT,
		"mountfs --threads 7 --cache-size 3M -f --on-corruption exit d m --root-hash " ROOT,
		"mountfs d m -o "
		"threads=7,cache_size=3M,foreground,on-corruption=exit,root_hash=" ROOT,
		"mountfs -fo threads=7 d m -ocache-size=3M,on_corruption=exit -o root-hash=" ROOT,
		"mountfs --root-hash=" ROOT " --threads=9 --threads=7 --cache-size=3072K -f "
		"--on-corruption=exit -- d m",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		struct options *o = good(ways[i]);

		assert_int_equal(o->thread_cnt, 7);
		assert_int_equal(o->image.verity.cache_len, 3 * MIB);
		assert_true(o->foreground);
		assert_true(o->exit_on_corruption);
		assert_int_equal(o->arg_cnt, 2);
		options_free(o);
	}
}

static void a_command_keeps_its_own_options(void **state)
{
	struct options *o =
	        good("mountfs --with disk --root-hash=" ROOT " ls -l --help --threads=0");

	(void)state;
	assert_ptr_equal(o->run, cmd_with);
	assert_false(o->help);
	assert_int_equal(o->arg_cnt, 5);
	assert_string_equal(o->arg[1], "ls");
	assert_string_equal(o->arg[4], "--threads=0");
	options_free(o);
}

static void mount_options_are_ours_or_of_libfuse_or_of_nobody(void **state)
{
	struct options *o =
	        good("mountfs d m -o rw,nofail,_netdev,x-systemd.automount,max_read=4096,"
	             "exec,attr_timeout=3,hash_device=a\\,b,root_hash=" ROOT);

	(void)state;
	assert_string_equal(o->fuse_options, "max_read=4096,attr_timeout=3");
	assert_true(o->exec);
	assert_string_equal(o->hash_device, "a,b");
	assert_ptr_equal(o->image.hash_device, o->hash_device);
	options_free(o);
	/* an action is none: mount(8) asks for a mount */
	o = good("mountfs d m -o verify,root_hash=" ROOT);
	assert_ptr_equal(o->run, cmd_mount);
	assert_string_equal(o->fuse_options, "verify");
	options_free(o);
}

static void mistakes_name_what_is_wrong(void **state)
{
	static const struct {
		const char *words, *said;
	} cases[] = {
		{ "mountfs", "DISK is missing" },
		{ "mountfs d", "MOUNTPOINT is missing" },
		{ "mountfs d m", "no root hash" },
		{ "mountfs --verify d m --root-hash=" ROOT,
		  "one argument too many, expected DISK" },
		{ "mountfs --with d --root-hash=" ROOT, "COMMAND... is missing" },
		{ "mountfs --cat d --root-hash=" ROOT, "PATH is missing" },
		{ "mountfs --verify --list d", "exclude one another" },
		{ "mountfs d m --threads=257", "from 1 to 256" },
		{ "mountfs d m --threads=-1", "from 1 to 256" },
		{ "mountfs d m --threads=18446744073709551617", "from 1 to 256" },
		{ "mountfs d m --threads", "needs a value: N" },
		{ "mountfs d m -o threads", "needs a value: N" },
		{ "mountfs d m -o", "-o needs a value" },
		{ "mountfs d m --foreground=yes", "takes no value" },
		{ "mountfs d m --on-corruption=e", "expected eio|exit" },
		{ "mountfs d m --backend=dm", "expected fuse|kernel|auto" },
		{ "mountfs d m --log-level=eio", "expected error|warning|note|debug" },
		{ "mountfs d m --root-hash=xy", "not hexadecimal" },
		{ "mountfs d m --salt=0 --root-hash=" ROOT, "--salt is \"0\"" },
		{ "mountfs d m --salt=00 --root-hash=" ROOT, "need --no-superblock" },
		{ "mountfs d m -fd --daemon --root-hash=" ROOT, "exclude one another" },
		{ "mountfs d m --ready-fd=1000 --root-hash=" ROOT, "not an open descriptor" },
		{ "mountfs d m -fZ", "unknown option -Z" },
		{ "mountfs d m --root-has=" ROOT, "unknown option --root-has " },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct options *o = NULL;
		struct diag d = DIAG_INIT;

		assert_int_equal(parse(cases[i].words, &o, &d), -EINVAL);
		assert_null(o);
		if (!strstr(d.text, cases[i].said))
			fail_msg("%s: \"%s\", expected \"%s\"", cases[i].words, d.text,
			         cases[i].said);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_is_in_order),
		cmocka_unit_test(without_an_action_it_is_a_mount),
		cmocka_unit_test(every_way_of_writing_an_option_is_the_same),
		cmocka_unit_test(a_command_keeps_its_own_options),
		cmocka_unit_test(mount_options_are_ours_or_of_libfuse_or_of_nobody),
		cmocka_unit_test(mistakes_name_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
