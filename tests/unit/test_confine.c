/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a build has given up, tried by itself and by a program that it starts: each case is a
 * process that confines itself.
 */
#include "support.h"

#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define NOBODY 65534

static char *top;

static const char *at(const char *name)
{
	static char path[8][256];
	static unsigned next;
	char *p = path[next++ % ARRAY_LEN(path)];

	snprintf(p, sizeof(path[0]), "%s/%s", top, name);
	return p;
}

static void touch(const char *name)
{
	int fd = open(at(name), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static int make_places(void **state)
{
	static const char *const dirs[] = { "",          "home", "out",        "record",
		                            "signature", "tmp",  "home/.cache" };

	(void)state;
	top = support_make_dir();
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		assert_true(i == 0 || mkdir(at(dirs[i]), 0700) == 0);
	touch("home/.profile");
	touch("out/old");
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		assert_true(geteuid() != 0 || chown(at(dirs[i]), NOBODY, NOBODY) == 0);
	assert_true(geteuid() != 0 || chown(at("home/.profile"), NOBODY, NOBODY) == 0);
	return 0;
}

static int remove_places(void **state)
{
	(void)state;
	support_remove_dir(top);
	return 0;
}

static void check(bool ok, int line)
{
	if (!ok)
		_exit(line % 256 ? line % 256 : 1);
}
#define CHECK(cond) check(cond, __LINE__)

static void confine_for(const char *source)
{
	struct build_options o = { .disk = at("out/disk"),
		                   .record = at("record/disk.json"),
		                   .root_hash_sig = at("signature/disk.sig"),
		                   .source = source };

	setenv("HOME", at("home"), 1);
	setenv("TMPDIR", at("tmp"), 1);
	unsetenv("XDG_CACHE_HOME");
	CHECK(confine(&o, NULL) == 0);
}

typedef void (*deed)(void);

/* As a user, if we can become one, and as root: in this order, for what stays behind. */
static void confined(deed what)
{
	for (int as_user = geteuid() == 0; as_user >= 0; as_user--) {
		int status = -1;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0) {
			if (as_user)
				CHECK(setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 &&
				      setuid(NOBODY) == 0);
			what();
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (status != 0)
			fail_msg("line %d of the child, status %#x", WEXITSTATUS(status),
			         (unsigned)status);
	}
}

static bool kernel_limits_writes(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 2;
}

static int write_to(const char *name)
{
	int fd = open(at(name), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? errno : 0;
}

static void write_around(void)
{
	confine_for("https://hub.example/model");
	CHECK(write_to("home/escaped") == EACCES);
	CHECK(write_to("home/.profile") == EACCES);
	CHECK(unlink(at("home/.profile")) == -1 && errno == EACCES);
	CHECK(symlink("x", at("home/link")) == -1 && errno == EACCES);
	CHECK(rename(at("home/.profile"), at("out/taken")) == -1 && errno != ENOENT);
	CHECK(write_to("top") == EACCES);
	CHECK(write_to("out/disk") == 0 && write_to("out/part") == 0);
	CHECK(rename(at("out/part"), at("out/disk")) == 0);
	CHECK(write_to("record/disk.json") == 0 && write_to("tmp/scratch") == 0);
	CHECK(write_to("signature/disk.sig") == 0);
	CHECK(write_to("home/.cache/modeldisk/git") == 0);
	CHECK(open("/dev/null", O_WRONLY) >= 0);
	CHECK(access(at("home/.profile"), R_OK) == 0 && open(at("home/.profile"), O_RDONLY) >= 0);
}

static void only_what_a_build_makes_can_be_written(void **state)
{
	(void)state;
	if (!kernel_limits_writes())
		skip();
	confined(write_around);
}

static void write_nameless(void)
{
	char from[64];
	int fd;

	confine_for(".");
	fd = open(at("out"), O_RDWR | O_TMPFILE, 0600);
	CHECK(fd >= 0 && write(fd, "x", 1) == 1);
	snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	CHECK(linkat(AT_FDCWD, from, AT_FDCWD, at("out/linked"), AT_SYMLINK_FOLLOW) == 0);
	CHECK(unlink(at("out/linked")) == 0);
	CHECK(open(from, O_RDWR) >= 0);
	CHECK(access(at("home/.cache/modeldisk"), F_OK) == -1); /* nothing is fetched */
}

static void a_nameless_file_still_becomes_the_disk(void **state)
{
	(void)state;
	confined(write_nameless);
}

static void execute_shell(void)
{
	confine_for("https://hub.example/model");
	CHECK(chdir(top) == 0);
	execl("/bin/sh", "sh", "-c",
	      "! (echo x >home/escaped) 2>/dev/null && ! (echo x >>home/.profile) 2>/dev/null &&"
	      " echo x >tmp/allowed && grep -q '^NoNewPrivs:.1$' /proc/self/status &&"
	      " grep -q '^CapEff:.000000000000000[0-9a-f]$' /proc/self/status",
	      (char *)NULL);
	CHECK(false);
}

static void a_program_that_a_build_starts_can_write_only_where_the_build_does(void **state)
{
	(void)state;
	if (!kernel_limits_writes())
		skip();
	confined(execute_shell);
}

static void look_at_rights(void)
{
	confine_for(".");
	CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
	CHECK(umount2("/", MNT_DETACH) == -1 && errno == EPERM);
	CHECK(chroot("/") == -1 && errno == EPERM);
}

static void what_makes_root_is_gone(void **state)
{
	(void)state;
	confined(look_at_rights);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_nameless_file_still_becomes_the_disk),
		cmocka_unit_test(only_what_a_build_makes_can_be_written),
		cmocka_unit_test(a_program_that_a_build_starts_can_write_only_where_the_build_does),
		cmocka_unit_test(what_makes_root_is_gone),
	};

	return cmocka_run_group_tests(tests, make_places, remove_places);
}
