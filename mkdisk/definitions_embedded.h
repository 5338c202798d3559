/* SPDX-License-Identifier: Apache-2.0 */
/* The files of repart/, built into the program by repart/embed.sh. For definitions.c only. */
#ifndef MODELDISK_DEFINITIONS_EMBEDDED_H
#define MODELDISK_DEFINITIONS_EMBEDDED_H

struct definition_embedded {
	const char *file; /* "repart/00-repart.conf" */
	const char *text;
};
extern const struct definition_embedded definitions_embedded[];
extern const unsigned definitions_embedded_cnt;

#endif
