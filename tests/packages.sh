# SPDX-License-Identifier: Apache-2.0
# Debian and Ubuntu packages by purpose; sourced by quickstart.sh and tests/run.sh.
# packages_need PURPOSE... installs what is missing, as root; an ordinary user is told the command.

packages_build="gcc libc6-dev meson ninja-build pkg-config libfuse3-dev libssl-dev libgit2-dev \
    libcurl4-openssl-dev libjansson-dev libcryptsetup-dev go-md2man"
packages_quickstart="fuse3 git git-lfs jq python3"
packages_tests="libcmocka-dev clang llvm lld libclang-rt-dev cppcheck clang-tidy clang-format valgrind \
    erofs-utils cryptsetup-bin gdisk fdisk nginx-light fio mtree-netbsd socat python3-yaml systemd zsh mandoc attr acl procps psmisc util-linux zstd openssl binutils"
packages_package="debhelper dpkg-dev lintian mmdebstrap git"
packages_clients="rsync stress-ng fio nginx-light curl"
command -v npm >/dev/null || packages_clients="$packages_clients nodejs npm"

packages_need() {
    packages_wanted=
    for packages_purpose; do
        eval "packages_wanted=\"\$packages_wanted \$packages_$packages_purpose\""
    done
    packages_missing=
    for package in $packages_wanted; do
        # Debian 12 has no unversioned runtime package for clang's sanitizers.
        [ "$package" != libclang-rt-dev ] || package=$(packages_clang_runtime)
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            packages_missing="$packages_missing $package"
    done
    [ -n "$packages_missing" ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "$0: needs these Debian packages, or what your system calls them:$packages_missing" >&2
        return 1
    fi
    if [ "$(id -u)" != 0 ]; then
        echo "$0: not root; run first: sudo apt-get install$packages_missing" >&2
        return 1
    fi
    echo "$0: installing$packages_missing"
    packages_log=$(mktemp)
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        $packages_missing; } >"$packages_log" 2>&1; then
        cat "$packages_log" >&2
        rm -f "$packages_log"
        return 1
    fi
    rm -f "$packages_log"
}

packages_clang_runtime() {
    packages_clang=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -n 1)
    echo "libclang-rt-${packages_clang:-14}-dev"
}
