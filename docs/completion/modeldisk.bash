# SPDX-License-Identifier: Apache-2.0
# bash completion of mkdisk and mountfs. Options, and the words that a value may be, are taken from --help, which the programs
# make from the same tables as their parsers: nothing here has to be kept up with them.

# Lines "--name" and "--name=VALUE" of a program.
_modeldisk_options() {
    "$1" --help 2>/dev/null | sed -nE 's/^  (-[A-Za-z], |    )(--[a-z-]+)(\[?=[^] ]*\]?)?( .*)?$/\2\3/p' | tr -d '[]'
}

_modeldisk() {
    local cur=${COMP_WORDS[COMP_CWORD]} option= line words=()
    # bash cuts words at "=", so an option's value may be one word further on
    if [[ $cur == = ]]; then
        option=${COMP_WORDS[COMP_CWORD - 1]} cur=
    elif [[ ${COMP_WORDS[COMP_CWORD - 1]} == = ]]; then
        option=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    COMPREPLY=()
    if [[ $option == --* ]]; then
        line=$(_modeldisk_options "$1" | grep -m 1 -e "^$option=") || return
        [[ $line == *\|* ]] && mapfile -t COMPREPLY < <(compgen -W "$(tr '|' ' ' <<<"${line#*=}")" -- "$cur")
        return
    fi
    [[ $cur == -* ]] || return
    mapfile -t words < <(_modeldisk_options "$1" | sed 's/=.*/=/')
    mapfile -t COMPREPLY < <(compgen -W "${words[*]}" -- "$cur")
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
}

# where nothing else fits: files
complete -o default -o bashdefault -F _modeldisk mkdisk mountfs
