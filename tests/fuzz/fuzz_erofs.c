/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EROFS images: the input is one. Its superblock is mended so far that the reader goes in, except
 * where byte 0 (which EROFS does not use) asks to leave it as it is; then everything in it is used.
 */
#include "erofs_consume.h"
#include "fuzz.h"
#include "mend.h"
#include "test_vblk.h"
#include "tiny_erofs.h"

#include <errno.h>
#include <stdio.h>

enum { LEAVE_CHECKSUM = 0x01, LEAVE_FIELDS = 0x02 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *image = malloc(len ? len : 1);
	struct diag d = DIAG_INIT;
	struct erofs_consumed first, again;
	struct vblk *v;
	int r;

	FUZZ_MUST(image);
	memcpy(image, data, len);
	if (len >= EROFS_SUPER_OFF + sizeof(struct erofs_super_disk)) {
		uint64_t hint;

		if (!(image[0] & LEAVE_FIELDS))
			mend_erofs(image, len);
		if (!(image[0] & LEAVE_CHECKSUM))
			tiny_erofs_seal(image, len);
		r = erofs_hint_image_len(image + EROFS_SUPER_OFF, &hint);
		FUZZ_MUST(r == 0 || r == -ENOENT || r == -EUCLEAN);
	}
	v = test_vblk_of_memory(image, len);
	r = erofs_consume(v, 0, &first, &d);
	FUZZ_MUST(erofs_consume(v, 0, &again, &d) == r);
	FUZZ_MUST(memcmp(&first, &again, sizeof(first)) == 0);
	vblk_close(v);
	free(image);
	return 0;
}
