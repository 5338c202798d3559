/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One definition from the text of its file and its drop-ins: keys and values. For definitions.c
 * only, which finds the files and judges the definitions together.
 */
#ifndef MODELDISK_DEFINITIONS_PARSE_H
#define MODELDISK_DEFINITIONS_PARSE_H

#include "conf.h"
#include "definitions.h"

void definition_init(struct definition *def); /* every key unset */
void definition_release(struct definition *def);
/* Adds what t says to def: lists grow, other keys are replaced. Errors as definitions_load(). */
int definition_parse(struct definition *def, const struct conf_text *t, struct diag *d) MUST_CHECK;

#endif
