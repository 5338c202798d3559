/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Formats sentences into the caller's memory. Decides how a too long sentence is cut and how codes
 * become exit statuses; printing is report.c's business.
 */
#include "diag.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static void mark_cut(char *text, size_t size, int want)
{
	static const char dots[] = "...";

	if (want >= 0 && (size_t)want >= size)
		memcpy(text + size - sizeof(dots), dots, sizeof(dots));
}

int diag_set(struct diag *d, int err, const char *fmt, ...)
{
	va_list args;

	if (!d)
		return err;
	d->err = err;
	va_start(args, fmt);
	mark_cut(d->text, sizeof(d->text), vsnprintf(d->text, sizeof(d->text), fmt, args));
	va_end(args);
	return err;
}

int diag_set_errno(struct diag *d, int err, const char *fmt, ...)
{
	char sentence[DIAG_TEXT_LEN];
	va_list args;

	if (!d)
		return err;
	va_start(args, fmt);
	mark_cut(sentence, sizeof(sentence), vsnprintf(sentence, sizeof(sentence), fmt, args));
	va_end(args);
	return diag_set(d, err, "%s: %s", sentence, strerror(-err));
}

int diag_prefix(struct diag *d, int err, const char *fmt, ...)
{
	char prefix[DIAG_TEXT_LEN], sentence[DIAG_TEXT_LEN];
	va_list args;

	if (!d || err == 0)
		return err;
	va_start(args, fmt);
	mark_cut(prefix, sizeof(prefix), vsnprintf(prefix, sizeof(prefix), fmt, args));
	va_end(args);
	memcpy(sentence, d->text, sizeof(sentence));
	return diag_set(d, err, "%s: %s", prefix, sentence);
}

int diag_exit_status(int err)
{
	switch (err) {
	case 0:
		return 0;
	case -EINVAL:
		return 2;
	case -EBADMSG:
	case -EUCLEAN:
	case -EOPNOTSUPP:
		return 3;
	default:
		return 1;
	}
}
