#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Documents do not drift: every file they name exists, every relative link leads somewhere, every sentence of
# docs/semantics.md that names a test names one that exists.
cd "$(dirname "$0")/.." || exit 1
bad=0
fail() {
    bad=1
    echo "documents: $*"
}

for doc in README.md NEWS.md SECURITY.md CONTRIBUTING.md docs/*.md; do
    [ -f "$doc" ] || { fail "$doc is missing"; continue; }
    # relative links
    for target in $(grep -oE '\]\([^)# ]+' "$doc" | sed 's/^](//' | grep -v '^https*:'); do
        [ -e "$(dirname "$doc")/$target" ] || fail "$doc links to $target, which does not exist"
    done
    # paths of the tree in backquotes
    for path in $(grep -oE '`(common|include|mkdisk|mountfs|tests|repart|docs)/[A-Za-z0-9_./-]+`' "$doc" | tr -d '`'); do
        [ -e "$path" ] || fail "$doc names $path, which does not exist"
    done
    # tests by name: `test: NAME`
    for name in $(grep -oE '`test: [A-Za-z0-9_.-]+`' "$doc" | sed 's/^`test: //; s/`$//'); do
        grep -rqsw -- "$name" tests || fail "$doc names the test $name, which does not exist"
    done
done
# every public header and every module file stands in the map of docs/design.md
for file in include/*.h common/*.c mkdisk/*.c mountfs/*.c; do
    grep -qw "$(basename "$file")" docs/design.md || fail "docs/design.md does not say what $file is for"
done
exit $bad
