/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the table of options consists of; between options_table.c and options.c only.
 *
 * A new option is a member of struct options and a row. A new action is a row and a cmd_NAME.c.
 */
#ifndef MODELDISK_OPTIONS_TABLE_H
#define MODELDISK_OPTIONS_TABLE_H

#include "options.h"

enum option_kind {
	OPTION_HEADING, /* a line of the help */
	OPTION_FLAG,    /* takes no value: sets a bool */
	OPTION_NUMBER,  /* decimal, min..max: an unsigned integer of any width */
	OPTION_SIZE,    /* the same as size_parse() reads it: 64M */
	OPTION_CHOICE,  /* one of the words of choices: its position, as an enum or a bool */
	OPTION_TEXT,    /* a char *, copied */
	OPTION_CUSTOM,  /* set() knows */
	OPTION_ACTION,  /* what to do; at most one */
};

/* Does the action need to know what the disk must be? */
enum option_root { ROOT_NEEDED, ROOT_WELCOME, ROOT_UNUSED };

struct option_spec {
	enum option_kind kind;
	const char *name;    /* long name, or NULL */
	char letter;         /* short name, or 0 */
	const char *value;   /* what the help calls its value; NULL: it takes none */
	const char *unsaid;  /* the value may be left out, and is this then; NULL: it may not */
	const char *choices; /* "eio|exit"; NULL: value says them */
	const char *help; /* lines of at most 49 characters; NULL: another name of the one above */
	size_t at, width; /* the member of struct options that is set */
	uint64_t min, max;
	bool has_mark; /* giving the option also sets the bool at mark */
	size_t mark;
	int (*set)(struct options *o, const char *value, struct diag *d);
	/* actions: their arguments, as "DISK PATH"; dots behind the last one let more follow, which
	 * are no longer looked at for options */
	options_action run;
	const char *args;
	enum option_root root;
};

extern const struct option_spec option_specs[];
extern const size_t option_spec_cnt;
/* The action when none is asked for. */
extern const struct option_spec *const option_default_action;

extern const char option_help_head[], option_help_tail[];

/* For CUSTOM rows whose value is a list of other options: -o. */
int options_set_mount_options(struct options *o, const char *list, struct diag *d) MUST_CHECK;

#endif
