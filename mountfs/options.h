/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of mountfs, as a value. options_table.c says which options there are, options.c
 * how they are read. Start-up only, one thread.
 */
#ifndef MODELDISK_OPTIONS_H
#define MODELDISK_OPTIONS_H

#include "image.h"
#include "report.h"

#define OPTIONS_MAX_THREADS 256

struct options;
/*
 * An action: 0, a positive exit status (of somebody else's program), or a negative errno and its
 * sentence. Results go to stdout, which main() flushes.
 */
typedef int (*options_action)(const struct options *o, struct diag *d);

enum backend { BACKEND_FUSE, BACKEND_KERNEL, BACKEND_AUTO };

/* Texts are owned (options_free() finds them through the table), arguments borrowed. */
struct options {
	bool help, version;               /* asked for: nothing else is filled in */
	const struct option_spec *action; /* what to do: a row of the table */
	options_action run;
	char **arg; /* DISK and what else the action's row demands; then NULL */
	unsigned arg_cnt;

	struct image_options image; /* without the failure hook */
	char *hash_device;          /* image.hash_device is the same */
	char *root_hash_sig;        /* whose signature the root hash has to have: */
	char *certificate, *trust_dir;
	/* the signature, in DER, once it is known; owned. For back ends that check it again */
	uint8_t *signature;
	size_t signature_len;
	bool has_params; /* an option was given that only has a meaning without a superblock */
	bool exit_on_corruption;

	enum backend backend;
	char *fuse_options; /* comma list for libfuse; NULL: none */
	bool allow_other, exec, auto_unmount;
	char *preload;       /* pattern of files to read at once; NULL: none */
	unsigned thread_cnt; /* 1..OPTIONS_MAX_THREADS; 0: as the machine is */

	bool foreground, debug, no_sandbox;
	int ready_fd; /* -1: none */
	char *stats;  /* path of a socket; NULL: none */
	bool daemon;
	uint32_t wait_s; /* for a disk that is not there yet */
	enum report_progress_mode progress;
	bool json;
	enum report_format log_format;
	enum report_level log_level;
};

/*
 * Reads argv. -EINVAL with a sentence that names the argument; what open(2) and read(2) said about
 * --root-hash-file.
 */
int options_parse(int argc, char **argv, struct options **out, struct diag *d) MUST_CHECK;
void options_free(struct options *o); /* NULL allowed */
DEFINE_SCOPED(options, struct options *, options_free)

/* Is a signature over the root hash demanded? */
static inline bool options_demand_signature(const struct options *o)
{
	return o->certificate || o->trust_dir;
}

/* Prints the help to stdout, at most 80 columns wide. */
void options_print_help(void);

#endif
