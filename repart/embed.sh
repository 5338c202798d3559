#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints a C file with the given definition files as NUL-terminated strings: embed.sh FILE...
# for mkdisk/definitions.c, which declares the array.
set -eu
echo '#include "definitions_embedded.h"'
echo 'const struct definition_embedded definitions_embedded[] = {'
for file; do
    printf '{ "repart/%s",\n' "$(basename "$file")"
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/"/' -e 's/$/\\n"/' "$file"
    echo '},'
done
echo '};'
echo 'const unsigned definitions_embedded_cnt = sizeof(definitions_embedded) / sizeof(definitions_embedded[0]);'
