/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mkdisk --help: what the arguments are, a line or more for each row of the table, examples.
 */
#include "options_table.h"

#include <stdio.h>

#define HELP_WIDTH  80
#define HELP_INDENT 31

/* Words of text from column HELP_INDENT on, broken before HELP_WIDTH; column is where we are. */
static void print_wrapped(const char *text, int column)
{
	while (*text) {
		int len = (int)strcspn(text, " ");

		if (column >= HELP_INDENT && column + 1 + len > HELP_WIDTH) {
			putchar('\n');
			column = 0;
		}
		if (column < HELP_INDENT)
			column += printf("%*s", HELP_INDENT - column, "");
		else
			column += printf(" ");
		column += printf("%.*s", len, text);
		text += len;
		text += strspn(text, " ");
	}
	putchar('\n');
}

static void print_row(const struct option_row *row)
{
	int column;

	if (!row->name) {
		printf("\n%s:\n", row->help);
		return;
	}
	column = row->letter ? printf("  -%c, --%s", row->letter, row->name)
	                     : printf("      --%s", row->name);
	if (row->arg)
		column += option_is_optional(row) ? printf("[=%s", row->arg + 1)
		                                  : printf("=%s", row->arg);
	if (column > HELP_INDENT - 2) {
		putchar('\n');
		column = 0;
	}
	print_wrapped(row->help, column);
}

void options_print_help(void)
{
	fputs("Usage: mkdisk [options] DISK SOURCE [COMMIT]\n"
	      "\n"
	      "Makes a disk from a model repository: GPT, EROFS and a dm-verity hash tree. The\n"
	      "root hash on stdout proves every byte of it. The same source gives the same\n"
	      "bytes, on any machine, whoever runs it. Needs no root and no other tool.\n"
	      "\n"
	      "  DISK    file or block device. One that exists fixes the size of the disk; a\n"
	      "          new file gets the smallest that will do. A file stands under its name\n"
	      "          only when it is complete.\n"
	      "  SOURCE  git repository (URL or path), or a directory that is taken as it is\n"
	      "  COMMIT  full id of the commit; needed for repositories, not for directories\n",
	      stdout);
	for (size_t i = 0; i < option_row_cnt; i++)
		print_row(&option_rows[i]);
	fputs("\n"
	      "Environment:\n"
	      "  EXCLUDE_GIT_FILES  more patterns to leave out, separated by commas\n"
	      "  GIT_PAT            access token for the repository\n"
	      "\n"
	      "Exit status: 0 done, 1 could not, 2 mistake in the command line, 3 refused.\n"
	      "\n"
	      "Examples:\n"
	      "  A disk of the smallest size, and its root hash:\n"
	      "    mkdisk opt.disk https://huggingface.co/facebook/opt-125m \\\n"
	      "        27dcfa74d334bc871f3234de431e71c6eeba5dd6 >repart.json\n"
	      "    jq -r '.[0].roothash' repart.json\n"
	      "  A disk of a given size, as the reference makes it:\n"
	      "    truncate -s 1G data.disk && mkdisk data.disk ./model\n"
	      "  Check a published root hash without writing a disk:\n"
	      "    mkdisk --layout=flat --root-hash-only --expect-root-hash=HEX \\\n"
	      "        none https://huggingface.co/facebook/opt-125m COMMIT\n",
	      stdout);
}
