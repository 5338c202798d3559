/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of mkdisk's options, for options.c (the parser) and options_help.c (the help) only: a
 * new option is one row, and a setter where none of the ready ones will do.
 */
#ifndef MODELDISK_OPTIONS_TABLE_H
#define MODELDISK_OPTIONS_TABLE_H

#include "options.h"

/* The reference's constant: seed of every identifier, and the disk's GUID. */
#define REFERENCE_UUID "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"

/* The argument of one option, and where it goes. */
struct option_value {
	const char *text; /* NULL when there is none */
	int choice;       /* its index among the words the table allows */
	void *field;      /* for the setters that know no option: row.field in struct options */
};

enum option_layout { ANY_LAYOUT, REPART_ONLY, FLAT_ONLY };

struct option_row {
	const char *name; /* NULL: help is a heading */
	char letter;      /* or 0 */
	const char *arg;  /* NULL: none; words joined by '|' are the only ones allowed; one in
	                     brackets may be left out */
	enum option_layout layout;
	/* 0, or -EINVAL for an argument that is not understood, or -ENOMEM */
	int (*set)(struct options *o, const struct option_value *v);
	size_t field;
	const char *help; /* wrapped by options_help.c */
};

#define OPTION_CNT 64 /* at most */
extern const struct option_row option_rows[];
extern const size_t option_row_cnt;

/* May the argument be left out? */
static inline bool option_is_optional(const struct option_row *row)
{
	return row->arg && row->arg[0] == '[';
}

#endif
