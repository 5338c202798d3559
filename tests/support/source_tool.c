/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What mkdisk makes of patterns, attributes, pointers and commits, for the oracles that compare it
 * with the real tools:
 *
 *   source_tool gitignore|privatemode   lines "PATTERNS PATH 0|1" in hex, patterns one a line, the
 *                                       number 1 for a directory; prints K, P, D or E a line
 *   source_tool attributes ROOT         paths, each ended by NUL; prints the five attributes of
 *                                       each, ended by NUL, as git check-attr does
 *   source_tool pointers FILE...        1 or 0 for each file
 *   source_tool checkout SOURCE COMMIT DIR [EXCLUDE_GIT_FILES]
 */
#include "attributes.h"
#include "lfs_pointer.h"
#include "source.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

static void need(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "source_tool: %s\n", what);
	exit(1);
}

static char *unhex(const char *hex)
{
	size_t len = strlen(hex) / 2;
	char *out = calloc(1, len + 1);

	need(out && hex_decode(hex, out, len) == 0, "not hex");
	return out;
}

/* NULL when the patterns are refused; one that matches nothing is not. */
static struct exclude *make_exclude(enum exclude_mode mode, const char *hex)
{
	scoped_free char *text = unhex(hex);
	struct exclude *x = NULL;
	struct diag d = DIAG_INIT;
	int r = exclude_new(mode, &x);

	if (r == 0 && mode == EXCLUDE_PRIVATEMODE)
		r = exclude_add_list(x, text, &d);
	for (char *line = strtok(text, "\n"); r == 0 && mode == EXCLUDE_GITIGNORE && line;
	     line = strtok(NULL, "\n")) {
		r = exclude_add(x, line, &d);
		if (r == -EINVAL) /* matches nothing */
			r = 0;
	}
	if (r == 0)
		return x;
	fprintf(stderr, "%s\n", d.text);
	exclude_free(x);
	return NULL;
}

static int do_exclude(enum exclude_mode mode)
{
	static const char letter[] = {
		[EXCLUDE_KEEP] = 'K', [EXCLUDE_DROP] = 'D', [EXCLUDE_KEEP_POINTER] = 'P'
	};
	scoped_free char *line = NULL, *last = NULL;
	scoped(exclude) struct exclude *x = NULL;
	size_t cap = 0;

	while (getline(&line, &cap, stdin) > 0) {
		const char *list = strtok(line, " \n"), *path = strtok(NULL, " \n");
		const char *is_dir = strtok(NULL, " \n");

		need(list && path && is_dir, "bad line");
		if (!last || strcmp(last, list) != 0) {
			exclude_free(x);
			x = make_exclude(mode, list);
			free(last);
			last = strdup(list);
		}
		scoped_free char *p = unhex(path);
		putchar(x ? letter[exclude_match(x, p, *is_dir == '1', NULL)] : 'E');
		putchar('\n');
	}
	return 0;
}

static char *slurp(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	char *out = NULL;

	if (!f)
		return NULL;
	out = malloc(1 << 20);
	need(out != NULL, "memory");
	*len = fread(out, 1, 1 << 20, f);
	fclose(f);
	return out;
}

static void push(struct attributes *a, const char *root, const char *dir, size_t dir_len)
{
	char file[8192];
	size_t len = 0;

	snprintf(file, sizeof(file), "%s/%.*s.gitattributes", root, (int)dir_len, dir);
	scoped_free char *text = slurp(file, &len);
	if (text || dir_len == 0)
		need(attributes_push(a, dir_len, text ? text : "", len) == 0, "attributes_push");
}

static void print_attributes(const char *root, const char *path)
{
	struct attribute_setting set[ATTRIBUTE_CNT];
	scoped(attributes) struct attributes *a = NULL;

	need(attributes_new(&a) == 0, "memory");
	push(a, root, path, 0);
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/'))
		push(a, root, path, (size_t)(slash + 1 - path));
	attributes_lookup(a, path, set);
	for (size_t i = 0; i < ATTRIBUTE_CNT; i++) {
		static const char *const word[] = { "unspecified", "set", "unset" };

		fputs(set[i].state == ATTRIBUTE_VALUE ? set[i].value : word[set[i].state], stdout);
		putchar('\0');
	}
}

static int do_attributes(const char *root)
{
	scoped_free char *path = NULL;
	size_t cap = 0;

	while (getdelim(&path, &cap, '\0', stdin) > 0)
		print_attributes(root, path);
	return 0;
}

static int do_pointers(char **file)
{
	for (; *file; file++) {
		struct lfs_pointer p;
		size_t len = 0;
		scoped_free char *text = slurp(*file, &len);

		need(text != NULL, *file);
		putchar(lfs_pointer_parse(text, len, &p) ? '1' : '0');
	}
	return 0;
}

static void write_file(struct source *s, const struct tree_node *n, const char *path)
{
	struct diag d = DIAG_INIT;
	struct source_file *f = NULL;
	scoped_free char *bytes = malloc(n->size + 1);
	scoped_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, n->mode & 07777);

	need(bytes && fd >= 0, path);
	int r = source_file_open(s, n, &f, &d);
	if (r == 0)
		r = source_file_read(f, 0, bytes, n->size, &d);
	need(r == 0, d.text);
	need(write(fd, bytes, n->size) == (ssize_t)n->size, "write");
	need(source_file_close(f, &d) == 0, d.text);
}

static int do_checkout(char **arg)
{
	struct diag d = DIAG_INIT;
	scoped(exclude) struct exclude *x = NULL;
	scoped(source) struct source *s = NULL;
	struct source_options opt = { .cache_dir = getenv("CACHE"),
		                      .git_token = getenv("GIT_PAT") };

	need(exclude_new(EXCLUDE_PRIVATEMODE, &x) == 0, "memory");
	if (arg[3])
		need(exclude_add_list(x, arg[3], &d) == 0, d.text);
	opt.exclude = x;
	need(source_open(arg[0], *arg[1] ? arg[1] : NULL, &opt, &s, &d) == 0, d.text);
	struct tree *t = source_tree(s);
	need(tree_finish(t, &d) == 0, d.text);
	umask(0);
	need(mkdir(arg[2], 0755) == 0 && chdir(arg[2]) == 0, arg[2]);
	for (uint32_t i = 1; i < t->node_cnt; i++) {
		const struct tree_node *n = t->node[i];
		char path[8192];

		tree_path(n, path, sizeof(path));
		if (S_ISDIR(n->mode))
			need(mkdir(path, n->mode & 07777) == 0, path);
		else if (S_ISLNK(n->mode))
			need(symlink(n->target, path) == 0, path);
		else
			write_file(s, n, path);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "gitignore") == 0)
		return do_exclude(EXCLUDE_GITIGNORE);
	if (argc == 2 && strcmp(argv[1], "privatemode") == 0)
		return do_exclude(EXCLUDE_PRIVATEMODE);
	if (argc == 3 && strcmp(argv[1], "attributes") == 0)
		return do_attributes(argv[2]);
	if (argc > 2 && strcmp(argv[1], "pointers") == 0)
		return do_pointers(argv + 2);
	if ((argc == 5 || argc == 6) && strcmp(argv[1], "checkout") == 0)
		return do_checkout(argv + 2);
	fprintf(stderr, "source_tool: see the head of its source\n");
	return 2;
}
