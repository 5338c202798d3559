#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check_completion.sh BUILD_DIR: both shells complete every option of both programs, and the words that a value may be.
build=$(cd "${1:?usage: check_completion.sh BUILD_DIR}" && pwd) || exit 1
cd "$(dirname "$0")/.." || exit 1
bad=0
fail() {
    bad=1
    echo "completion: $*"
}
options() { "$build/$1/$1" --help | grep -oE '^  (-., |    )--[a-z-]+' | grep -oE -- '--[a-z-]+' | sort -u; }

# in_bash PROGRAM WORDS...: what is offered for the last word
in_bash() {
    local program=$1
    shift
    PATH="$build/$program:$PATH" bash -c '
        . docs/completion/modeldisk.bash
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _modeldisk "$1"
        printf "%s\n" "${COMPREPLY[@]}"' bash "$program" "$@"
}

# in_zsh PROGRAM: the specifications that _arguments would get
in_zsh() {
    PATH="$build/$1:$PATH" zsh -f -c '
        _arguments() { shift 2; print -rl -- "$@" }
        _call_program() { shift; "$@" }
        words=('"$1"')
        . docs/completion/_modeldisk'
}

same() { # same WHAT EXPECTED FOUND
    [ "$2" = "$3" ] || fail "$1: $(diff <(echo "$2") <(echo "$3") | grep '^[<>]' | tr '\n' ' ')"
}

for program in mkdisk mountfs; do
    [ "$(options $program | wc -l)" -ge 20 ] || fail "$program --help has hardly any options"
    same "bash, $program" "$(options $program)" "$(in_bash $program -- | sed 's/=$//' | sort -u)"
    if command -v zsh >/dev/null; then
        same "zsh, $program" "$(options $program)" "$(in_zsh $program | grep -oE '^--[a-z-]+' | sort -u)"
    elif [ "${CI-}" = true ]; then
        fail "zsh is not installed"
    fi
done
same "bash, values" "eio
exit" "$(in_bash mountfs --on-corruption = '')"
same "bash, a value that was begun" "exit" "$(in_bash mountfs --on-corruption = ex)"
same "bash, a file" "" "$(in_bash mountfs --root-hash-file = x)"
same "bash, a disk" "" "$(in_bash mountfs x)"
if command -v zsh >/dev/null; then
    in_zsh mountfs | grep -qF -- '--on-corruption=[' || fail "zsh: --on-corruption takes a value"
    in_zsh mountfs | grep -qE -- '^--on-corruption=\[eio: .*\]:value:\(eio exit\)$' ||
        in_zsh mountfs | grep -qE -- '^--on-corruption=.*:value:\(eio exit\)$' || fail "zsh: the words of --on-corruption"
    in_zsh mountfs | grep -qE -- '^--foreground\[stay in the foreground\]$' || fail "zsh: what --foreground is for"
fi
exit $bad
