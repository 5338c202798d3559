#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kernel_mount.sh - mount an image with a REAL Linux kernel (dm-verity + EROFS)
# on a host that has no device-mapper, and print what that kernel reads.
#
#   kernel_mount.sh [OPTIONS] IMAGE ROOT_HASH [LAYOUT] [-- IMAGE ROOT_HASH [LAYOUT]]...
#
# LAYOUT  auto               (default) "gpt" if there is a GPT header, else "append"
#         gpt[:D,H]          GPT disk, data partition D, hash partition H (default 1,2)
#         gpt-append[:D[,O]] GPT disk, partition D = EROFS with the hash tree at byte
#                            O of the partition (default: the end of the EROFS blocks)
#         append[:O]         bare file = EROFS with the hash tree at byte O
#         raw                no verity: mount the bare file        (ROOT_HASH is "-")
#         gpt-raw[:D]        no verity: mount partition D          (ROOT_HASH is "-")
#
# stdout  one line per regular file, byte-sorted:  PATH SIZE SHA256
#         (PATH may hold spaces: split at the last two; backslash and newline in
#          a name come as \\ and \n).  A file that cannot be read gives
#          PATH SIZE ERROR:<errno text>.
#         With several jobs each one's lines follow a line "== N IMAGE".
# stderr  what failed, and the kernel's own log lines about it.
# exit    0 all jobs good; 1 usage / preparation; 2 "veritysetup open" refused;
#         3 the mount was refused; 4 mounted, but a read failed; 5 the VM itself
#         failed (no result, timeout).  With several jobs: the highest.
#
# OPTIONS --backend uml|qemu   default uml (User Mode Linux: no KVM, no root needed)
#         --meta               instead of hashing, print for every inode
#                              PATH TYPE MODE UID GID SIZE MTIME NLINK [-> TARGET]
#                              and then PATH xattr NAME=0xHEX for every xattr
#         --bench              also time cold sequential reads (on stderr)
#         --keep               keep the run directory (its name goes to stderr)
#         --prepare            only fill the cache
# ENV     KM_CACHE   cache directory   (default ${XDG_CACHE_HOME:-~/.cache}/kernel-mount)
#         KM_SUITE   Debian suite whose kernel and veritysetup to use: bookworm (6.1),
#                    trixie (6.12, uml's default; qemu's is bookworm), sid (newest; 7.2 in 2026-11), or "system"
#                    (whatever apt here is set up for).  A suite needs no change to the
#                    system: its package lists are fetched apart and thrown away after use,
#                    and its glibc serves its own programs only.
#         KM_MIRROR  Debian mirror for KM_SUITE (default: the one in /etc/apt)
#         KM_MEM     guest memory      (default 96M uml, 256M qemu)
#         KM_TIMEOUT seconds per VM    (default 60 uml, 180 qemu)
#         KM_KVM=1   qemu backend: try -enable-kvm
#         KM_KERNEL  qemu backend: kernel package (default: the one linux-image-cloud-amd64 names)
#         KM_TMP     where run directories are made (default ${TMPDIR:-/tmp})
set -u -o pipefail
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
umask 022
FORMAT=11        # of the cache; change when the guest root's contents change

say() { printf 'kernel-mount: %s\n' "$*" >&2; }
die() { local rc=$1; shift; say "$*"; exit "$rc"; }

BACKEND=uml META=0 BENCH=0 KEEP=0 PREPARE=0 SCRIPT=
while [ $# -gt 0 ]; do
  case $1 in
    --backend) [ $# -ge 2 ] || die 1 "--backend needs a value"; BACKEND=$2; shift 2 ;;
    --meta) META=1; shift ;;
    --bench) BENCH=1; shift ;;
    --script) [ $# -ge 2 ] && [ -x "$2/run" ] || die 1 "--script needs a directory with a program run"
              SCRIPT=$(cd "$2" && pwd -P); shift 2 ;;
    --keep) KEEP=1; shift ;;
    --prepare) PREPARE=1; shift ;;
    -h|--help) sed -n '2,/^set -u/{/^set -u/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    --) shift ;;
    -*) [ "$1" = - ] && break; die 1 "unknown option $1 (see --help)" ;;
    *) break ;;
  esac
done
case $BACKEND in uml|qemu) ;; *) die 1 "backend must be uml or qemu" ;; esac

CACHE=${KM_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/kernel-mount}
mkdir -p "$CACHE" || die 1 "cannot make $CACHE"
CACHE=$(cd "$CACHE" && pwd -P)
# the kernel command line cannot carry these
case $CACHE$SCRIPT in *[[:space:],:\"\']*) die 1 "a path holds a blank, comma, colon or quote: $CACHE $SCRIPT" ;; esac

# ---- cache -------------------------------------------------------------------
# veritysetup and every library it needs, from the same release as the kernel
TOOLS="busybox-static cryptsetup-bin libcryptsetup12 libpopt0|libpopt0t64 libblkid1 libc6 libuuid1
       libdevmapper1.02.1 libargon2-1 libjson-c5 libselinux1 libudev1 libpcre2-8-0
       libssl3|libssl3t64   coreutils findutils libacl1|libacl1t64 libattr1|libattr1t64 attr
       zlib1g libzstd1 libcap2"
#      ^ libcryptsetup's hash backend; GNU sha256sum and find report every read
#      error (BusyBox's find does not see a failing readdir); attr for getfattr

SUITE=${KM_SUITE:-trixie}
# under TCG only 6.1 has booted every time here
[ -z "${KM_SUITE:-}" ] && [ "$BACKEND" = qemu ] && SUITE=bookworm
[ "$SUITE" = system ] && SUITE=
[[ $SUITE =~ ^[a-z0-9.-]*$ ]] || die 1 "bad KM_SUITE"
APT_PRIVATE=()
apt_private() {  # own package lists in the cache: no root, the system's stay as they are
  local dir=$t/apt mirror=${KM_MIRROR:-}
  mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
  APT_PRIVATE=(-o "Dir::State::Lists=$dir/lists" -o "Dir::Cache=$dir/cache" -o APT::Sandbox::User=)
  if [ -n "$SUITE" ]; then
    [ -n "$mirror" ] || mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v '^#' | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -1)
    [ -n "$mirror" ] || { say "no Debian mirror found in /etc/apt; set KM_MIRROR"; return 1; }
    mirror=${mirror%% *}
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror} $SUITE main" > "$dir/sources.list"
    APT_PRIVATE+=(-o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::status=/dev/null)
  fi
  apt-get -qq "${APT_PRIVATE[@]}" update >&2
}
known() { apt-cache "${APT_PRIVATE[@]}" show --no-all-versions "$@" 2>/dev/null | sed -n 's/^Package: //p' | sort -u; }
get() {  # download and unpack packages into $1; "a|b" takes the first that exists
  local dest=$1 p q have list try; shift
  for try in system private; do
    if [ $try = private ]; then
      [ ${#APT_PRIVATE[@]} = 0 ] || return 1   # those were private lists already
      apt_private || return 1
    fi
    have=$(known ${*//|/ }) list=()
    for p in "$@"; do
      for q in ${p//|/ }; do grep -qxF "$q" <<< "$have" && { list+=("$q"); continue 2; }; done
      [ $try = private ] && say "apt knows no package $p"
      continue 2
    done
    mkdir -p "$dest/debs"
    if ( cd "$dest/debs" && apt-get -qq "${APT_PRIVATE[@]}" -o APT::Sandbox::User= download "${list[@]}" >&2 ); then
      for p in "$dest"/debs/*.deb; do dpkg-deb -x "$p" "$dest" || return 1; done
      rm -rf "$dest/debs"
      return 0
    fi
  done
  return 1
}

write_init() {
cat > "$1" <<'INIT'
#!/bin/sh
# PID 1 of the guest.  Environment (from the kernel command line):
#   KM_VIA=uml  KM_RUN=<host directory>  |  KM_VIA=qemu (results on ttyS1)
export PATH=/bin LC_ALL=C
mount -t proc proc /proc; mount -t sysfs sys /sys
[ -c /dev/null ] || mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp; mount -t tmpfs run /run; mkdir -p /tmp/o
echo 4 > /proc/sys/kernel/printk
read up0 _ < /proc/uptime
while read -r m; do insmod "/lib/$m" || echo "insmod $m: failed"; done < /lib/modules.list
case $KM_VIA in
  uml)  mount -t hostfs -o "$KM_RUN" none /out; O=/out
        [ -z "$KM_SCRIPT" ] || { mkdir /tmp/share; mount -t hostfs -o "$KM_SCRIPT" none /tmp/share; }; dev() { printf "/dev/ubd%b" "\\0$(printf %o $((97+$1)))"; } ;;
  qemu) O=/tmp/o; cp /jobs /tmp/o/jobs; dev() { printf "/dev/vd%b" "\\0$(printf %o $((97+$1)))"; }
        i=0; while [ ! -b /dev/vda ] && [ $i -lt 50 ]; do usleep 100000; i=$((i+1)); done ;;
esac
le32() { od -An -v -tu4 -j "$2" -N 4 "$1" | tr -d ' \n'; }
le8()  { od -An -v -tu1 -j "$2" -N 1 "$1" | tr -d ' \n'; }
erofs_end() {  # magic e0f5e1e2, blkszbits at +12, blocks at +36 of the superblock
  [ "$(le32 "$1" 1024)" = 3774210530 ] || { echo "no EROFS superblock on $1" >&2; return 1; }
  echo $(( $(le32 "$1" 1060) << $(le8 "$1" 1036) ))
}
flat() { tr '\n\0' '\001\n'; }                       # one record a line, whatever the name holds
show() { sed 's/\\/\\\\/g' | sed "s/$soh/\\\\n/g"; }
soh=$(printf '\001')
walk() {
  cd /mnt || return 4
  bad=0
  if [ "$META" = 1 ]; then
    { gfind . -mindepth 1 -printf '%P %y %m %U %G %s %T@ %n -> %l\0' || echo > /tmp/bad; } | flat |
      sed "s/ -> $//" | sort | show
    { ggetfattr -R -h -d -m - -e hex . || echo > /tmp/bad; } | awk '/^# file: /{f=substr($0,9)} /=/&&!/^# file: /{print f, "xattr", $0}' | sort
    [ ! -e /tmp/bad ] || { rm /tmp/bad; return 4; }
    return 0
  fi
  gfind . -type f -printf '%s %p\0' > /tmp/sizes0 || bad=1
  gfind . -type f -print0 2>/dev/null | xargs -0 -r gsha256sum -z 2> /tmp/sumerr | flat > /tmp/sums
  [ ! -s /tmp/sumerr ] || { bad=1; cat /tmp/sumerr >&2; }
  : > /tmp/failed
  flat < /tmp/sizes0 | awk -v S=/tmp/sums 'BEGIN { while ((getline l < S) > 0) h[substr(l,67)] = substr(l,1,64) }
    { s=$1; n=substr($0,length(s)+2); if (n in h) print substr(n,3) " " s " " h[n]; else print s " " n > "/tmp/failed" }' > /tmp/lines
  while read -r s n; do      # ask again for the reason
    bad=1; f=$(printf %s. "$n" | tr '\001' '\n')
    e=$(gsha256sum < "${f%.}" 2>&1); case $e in *:*) e=${e##*: } ;; *) e="transient" ;; esac
    printf '%s %s ERROR:%s\n' "${n#./}" "$s" "$e" >> /tmp/lines
  done < /tmp/failed
  sort /tmp/lines | show
  [ $bad = 0 ] || return 4
}
cs() { read a _ < /proc/uptime; echo "${a%.*}${a#*.}" | sed 's/^0*//;s/^$/0/'; }
rate() {  # cold sequential read; /proc/uptime ticks in 10 ms
  echo 3 > /proc/sys/vm/drop_caches; t0=$(cs)
  dd if="$1" of=/dev/null bs=1M 2>/dev/null; t1=$(cs)
  if [ -b "$1" ]; then b=$(blockdev --getsize64 "$1"); else b=$(stat -c %s "$1"); fi
  echo "bench $2: $b bytes in $(( (t1-t0)*10 )) ms = $(( b * 100 / 1048576 / (t1-t0+(t1==t0)) )) MiB/s" >&2
}
job() {  # index root layout
  d=$(dev "$1"); root=$2
  [ -z "$KM_SCRIPT" ] || { /tmp/share/run "$d" "$root"; return; }
  kind=${3%%:*}; arg=${3#"$kind"}; arg=${arg#:}
  data= hash= off=
  case $kind in
    gpt)        data=$d${arg%%,*}; hash=$d${arg##*,} ;;
    gpt-append) data=$d${arg%%,*}; hash=$data; case $arg in *,*) off=${arg##*,} ;; esac ;;
    append)     data=$d; hash=$d; off=$arg ;;
    raw)        data=$d ;;
    gpt-raw)    data=$d$arg ;;
  esac
  [ -b "$data" ] || { echo "the kernel made no block device $data (partition table?)" >&2; return 2; }
  node=$data
  if [ -n "$hash" ]; then
    [ -b "$hash" ] || { echo "the kernel made no block device $hash (partition table?)" >&2; return 2; }
    if [ "$hash" = "$data" ] && [ -z "$off" ]; then off=$(erofs_end "$data") || return 2; fi
    veritysetup open ${off:+--hash-offset="$off"} "$data" km "$hash" "$root" >&2 || return 2
    node=/dev/mapper/km
  fi
  [ "$BENCH" = 1 ] && { rate "$data" "raw $data"; [ -n "$hash" ] && rate $node "dm-verity"; }
  r=0
  if mount -t erofs -o ro "$node" /mnt >&2; then
    if [ "$BENCH" = 1 ]; then big=$(find /mnt -type f -exec stat -c '%s %n' {} + | sort -n | tail -1 | cut -d' ' -f2-); rate "$big" "erofs file"; fi
    ( walk ) || r=4
    umount /mnt >&2 || r=4
  else r=3; fi
  [ -z "$hash" ] || veritysetup close km >&2
  return $r
}
read META BENCH < $O/jobs
n=0
tail -n +2 $O/jobs | while read -r i root layout; do
  echo "km-job $i" > /dev/kmsg
  job "$i" "$root" "$layout" > $O/$i.out 2> $O/$i.err < /dev/null; echo $? > $O/$i.rc
done
read up1 _ < /proc/uptime
{ echo "guest: init reached at $up0 s, jobs done at $up1 s after kernel start"; free -k | sed -n 2p; uname -srm; } > $O/info
dmesg > $O/dmesg
echo ok > $O/done
if [ "$KM_VIA" = qemu ]; then
  # framed by a length so that a console cannot corrupt it unseen
  stty -F /dev/ttyS1 raw; cd $O && tar cf /tmp/r.tar . && { printf 'KM %s\n' "$(stat -c %s /tmp/r.tar)"; cat /tmp/r.tar; } > /dev/ttyS1
fi
sync
poweroff -f
INIT
chmod 755 "$1"
}

build_root() {  # guest root directory: $1 = unpacked packages, $2 = destination
  local src=$1 dst=$2 f a
  mkdir -p "$dst"/{bin,dev,proc,sys,mnt,tmp,lib,run,out}
  ln -sfn lib "$dst/lib64"
  for f in "$src/bin/busybox" "$src/usr/bin/busybox"; do [ -f "$f" ] && cp "$f" "$dst/bin/busybox"; done
  [ -x "$dst/bin/busybox" ] || { say "no busybox in the packages"; return 1; }
  for a in $("$dst/bin/busybox" --list); do [ "$a" = busybox ] || ln -sfn busybox "$dst/bin/$a"; done
  for f in "$src/usr/sbin/veritysetup" "$src/sbin/veritysetup"; do [ -f "$f" ] && cp "$f" "$dst/bin/"; done
  [ -x "$dst/bin/veritysetup" ] || { say "no veritysetup in the packages"; return 1; }
  # all shared libraries flat in /lib: on the loader's default path
  find "$src/lib" "$src/usr/lib" \( -path '*/modules/*' -o -path '*/gconv/*' -o -path '*/engines-*' -o -path '*/ossl-modules/*' \) -prune -o \
       \( -name '*.so' -o -name '*.so.*' \) \( -type f -o -type l \) -print 2>/dev/null |
    while IFS= read -r f; do cp -L "$f" "$dst/lib/" 2>/dev/null; done
  for f in "$src/lib64/ld-linux-x86-64.so.2" "$src/usr/lib64/ld-linux-x86-64.so.2"; do [ -e "$f" ] && cp -L "$f" "$dst/lib/" 2>/dev/null; done
  [ -e "$dst/lib/ld-linux-x86-64.so.2" ] || { say "no dynamic loader in the packages"; return 1; }
  for a in sha256sum find getfattr; do
    # as g*: BusyBox's shell prefers its own applet of the same name
    for f in "$src/usr/bin/$a" "$src/bin/$a"; do [ -f "$f" ] && cp "$f" "$dst/bin/g$a"; done
    [ -x "$dst/bin/g$a" ] || { say "no $a in the packages"; return 1; }
  done
  # keep only the libraries that these really link to
  local keep
  keep=$(for a in veritysetup gsha256sum gfind ggetfattr; do
      "$dst/lib/ld-linux-x86-64.so.2" --inhibit-cache --library-path "$dst/lib" --list "$dst/bin/$a" || echo "x => /bad ($a)"
    done | sed -n 's/.* => \([^ ]*\) .*/\1/p' | sort -u) &&
    [ "$(grep -c . <<< "$keep")" -gt 5 ] && ! grep -qv "^$dst/lib/" <<< "$keep" || { say "veritysetup's libraries are incomplete: $keep"; return 1; }
  for f in "$dst"/lib/*.so*; do
    case $f in */ld-linux-x86-64.so.2) ;; *) grep -qxF "$f" <<< "$keep" || rm -f "$f" ;; esac
  done
  write_init "$dst/init"
}

modules() {  # $1 = a kernel's module directory, $2 = guest root, rest: wanted names
  # Dependencies come from each module's own .modinfo: the image packages ship no
  # modules.dep, and depmod may be missing here.  A name with no file is built in
  # (or, for a helper like sha256-ssse3, absent); only the essential ones must exist.
  local mods=$1 dst=$2 name file m; shift 2
  local list="$dst/lib/modules.list.new"; : > "$list"
  add() {
    local n=$1 f base d
    base="$n.ko"
    grep -qxF "$base" "$list" && return 0
    f=$(find "$mods/kernel" -name "${n//[-_]/[-_]}.ko*" | head -1)
    if [ -z "$f" ]; then
      case $n in dm-verity|erofs|virtio_blk)
        grep -qE "/${n//[-_]/[-_]}\.ko" "$mods/modules.builtin" || { say "this kernel has no $n"; return 1; } ;;
      esac
      return 0
    fi
    case $f in
      *.xz) xz -dc "$f" ;; *.zst) zstd -qdc "$f" ;; *.gz) gzip -dc "$f" ;; *) cat "$f" ;;
    esac > "$dst/lib/$base" || return 1
    for d in $(tr '\0' '\n' < "$dst/lib/$base" | sed -n 's/^depends=//p' | tr ',' ' '); do add "$(normal "$d")" || return 1; done
    echo "$base" >> "$list"
  }
  normal() { case $1 in dm_*) echo "${1//_/-}" ;; *) echo "$1" ;; esac; }   # as the files are called
  for name in "$@"; do add "$name" || return 1; done
  mv "$list" "$dst/lib/modules.list"
}

prepare_uml() {
  local t=$1 k off
  say "first use: fetching Debian's user-mode-linux and veritysetup${SUITE:+ ($SUITE)} into $CACHE"
  { [ -z "$SUITE" ] || apt_private; } && get "$t/pkg" user-mode-linux $TOOLS || return 1
  mkdir -p "$t/out"
  cp "$t/pkg/usr/bin/linux.uml" "$t/out/linux" || return 1
  # linux.uml is a dynamic program of its own release.  Give it that release's
  # loader and libc: the interpreter becomes the relative ./ld.so (it is started in a
  # directory that has one).  "ld.so linux.uml ..." would not do: UML takes its
  # address space from its own segments and starts itself again by /proc/self/exe.
  off=$(grep -abo /lib64/ld-linux-x86-64.so.2 "$t/out/linux" | head -1 | cut -d: -f1)
  [ -n "$off" ] || { say "linux.uml has no interpreter to replace"; return 1; }
  { printf ./ld.so; head -c 20 /dev/zero; } | dd of="$t/out/linux" bs=1 seek="$off" conv=notrunc status=none || return 1
  k=$(ls "$t/pkg/usr/lib/uml/modules" | head -1)
  build_root "$t/pkg" "$t/out/root" &&
    modules "$t/pkg/usr/lib/uml/modules/$k" "$t/out/root" dm-mod dm-bufio dm-verity erofs loop fuse || return 1
  echo "user-mode-linux $k" > "$t/out/ready"
}

prepare_qemu() {
  local t=$1 pkg parts kv need
  say "first use: fetching Debian's cloud kernel, veritysetup${SUITE:+ ($SUITE)} and perhaps qemu into $CACHE"
  mkdir -p "$t/out"
  if ! command -v qemu-system-x86_64 >/dev/null; then
    # everything an install would add, unpacked beside: nothing is installed
    # (always from this system's own release: it runs with this system's libc)
    need=$(apt-get install -s --no-install-recommends qemu-system-x86 2>/dev/null | awk '/^Inst/{print $2}')
    [ -n "$need" ] && get "$t/out/qemu" $need || return 1
  fi
  { [ -z "$SUITE" ] || apt_private; } || return 1
  pkg=${KM_KERNEL:-$(apt-cache "${APT_PRIVATE[@]}" depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends:/ && $2 ~ /^linux-image-/ {print $2; exit}')}
  # newer releases keep the image and the modules in packages of their own
  [ -n "$pkg" ] && parts=$(apt-cache "${APT_PRIVATE[@]}" depends "$pkg" | awk '/Depends:/ && $2 ~ /^linux-(binary|modules)-/ {print $2}') &&
    get "$t/pkg" "$pkg" $parts $TOOLS || { say "no kernel package (apt-get update?)"; return 1; }
  find "$t/pkg" -name 'vmlinuz*' -type f -exec cp {} "$t/out/vmlinuz" \;
  [ -s "$t/out/vmlinuz" ] || { say "no vmlinuz in $pkg $parts"; return 1; }
  kv=$(ls -d "$t"/pkg/lib/modules/* "$t"/pkg/usr/lib/modules/* 2>/dev/null | head -1)
  build_root "$t/pkg" "$t/out/root" &&
    modules "$kv" "$t/out/root" virtio_pci virtio_blk sha256_generic sha256-ssse3 crc32c_generic libcrc32c dm-mod dm-bufio dm-verity erofs || return 1
  ( cd "$t/out/root" && find . | "$t/out/root/bin/busybox" cpio -o -H newc -R 0:0 2>/dev/null ) > "$t/out/initrd" || { say "cpio failed"; return 1; }
  echo "$pkg" > "$t/out/ready"
}

DIR=$CACHE/$BACKEND-$FORMAT-${SUITE:-system}
if [ ! -f "$DIR/ready" ]; then
  t=$(mktemp -d "$CACHE/tmp.XXXXXX") || die 1 "cannot write to $CACHE"
  trap 'rm -rf "$t"' EXIT
  "prepare_$BACKEND" "$t" || die 1 "could not prepare the $BACKEND backend"
  mv -T "$t/out" "$DIR" 2>/dev/null || [ -f "$DIR/ready" ] || die 1 "cannot make $DIR"   # or another run was quicker
  rm -rf "$t"
  trap - EXIT
fi
[ $PREPARE = 1 ] && { [ $# = 0 ] && exit 0; }

# ---- jobs --------------------------------------------------------------------
IMAGES=() JOBS=()
has_gpt() { head -c 520 -- "$1" | tail -c +513 | grep -qaF 'EFI PART'; }
addjob() {
  local img=$1 root=$2 layout=${3:-auto} a
  [ -f "$img" ] || [ -b "$img" ] || die 1 "no such image: $img"
  [ -r "$img" ] || die 1 "cannot read $img"
  [[ $root =~ ^([0-9a-fA-F]{2,}|-)$ ]] || die 1 "bad root hash: $root"
  if [ "$layout" = auto ]; then
    if has_gpt "$img"; then layout=gpt; else layout=append; fi
    [ "$root" = - ] && { if [ "$layout" = gpt ]; then layout=gpt-raw; else layout=raw; fi; }
  fi
  case $layout in gpt) layout=gpt:1,2 ;; gpt-append) layout=gpt-append:1 ;; gpt-raw) layout=gpt-raw:1 ;; esac
  [[ $layout =~ ^(gpt:[0-9]+,[0-9]+|gpt-append:[0-9]+(,[0-9]+)?|append(:[0-9]+)?|raw|gpt-raw:[0-9]+)$ ]] || die 1 "bad layout: $layout"
  case $layout in raw|gpt-raw*) ;; *) [ "$root" != - ] || die 1 "layout $layout needs a root hash" ;; esac
  IMAGES+=("$(realpath "$img")"); JOBS+=("$root $layout")
}
args=()
for a in "$@" --; do
  if [ "$a" = -- ]; then
    case ${#args[@]} in 2|3) addjob "${args[@]}" ;; *) die 1 "usage: kernel_mount.sh [OPTIONS] IMAGE ROOT_HASH [LAYOUT] [-- ...]" ;; esac
    args=()
  else args+=("$a"); fi
done
N=${#IMAGES[@]}
[ "$N" -le 16 ] || die 1 "at most 16 jobs in one VM"

RUN=$(mktemp -d "${KM_TMP:-${TMPDIR:-/tmp}}/kernel-mount.XXXXXX") || die 1 "no run directory"
RUN=$(cd "$RUN" && pwd -P)
case $RUN in *[[:space:],:\"\']*) rm -rf "$RUN"; die 1 "temporary path holds a blank, comma, colon or quote: $RUN" ;; esac
finish() { if [ $KEEP = 1 ]; then say "run directory: $RUN"; else rm -rf "$RUN"; fi; }
trap finish EXIT
VM=
stop() { [ -n "$VM" ] && { kill "$VM" 2>/dev/null; wait "$VM"; }; exit "$1"; }
trap 'stop 130' INT; trap 'stop 143' TERM
{ echo "$META $BENCH"; for ((i = 0; i < N; i++)); do echo "$i ${JOBS[i]}"; done; } > "$RUN/jobs"

# ---- run ---------------------------------------------------------------------
run_uml() {
  local d=$DIR i disks=()
  ln -s "$d/root/lib/ld-linux-x86-64.so.2" "$RUN/ld.so"
  for ((i = 0; i < N; i++)); do   # by symlink: UML splits the value at commas and colons
    ln -s "${IMAGES[i]}" "$RUN/disk$i"; disks+=("ubd${i}r=disk$i")
  done
  mkdir "$RUN/uml"
  # UML keeps guest memory in an unlinked, sparse file that it maps executable: a tmpfs is
  # best, but a container's /dev/shm is often noexec or 64 MiB; then the run directory
  local tmp=$RUN opts
  opts=$(awk '$2=="/dev/shm"{o=$4} END{print o}' /proc/mounts)
  if [ -w /dev/shm ] && [ -n "$opts" ] && [[ ,$opts, != *,noexec,* ]] &&
     [ "$(df -B1024 --output=avail /dev/shm 2>/dev/null | tail -1)" -gt 262144 ]; then tmp=/dev/shm; fi
  # seccomp=auto: the faster way to run guest processes, where the UML kernel knows it
  # (7.2 does, 6.1 and 6.12 ignore it); initcall_blacklist: the RAID6 benchmark alone
  # would take 0.85 s of the boot
  ( cd "$RUN" && exec timeout -k 5 "${KM_TIMEOUT:-60}" env "TMPDIR=$tmp" "LD_LIBRARY_PATH=$d/root/lib" "$d/linux" "mem=${KM_MEM:-96M}" "uml_dir=$RUN/uml" umid=km \
      root=/dev/root rootfstype=hostfs "rootflags=$d/root" ro init=/init quiet seccomp=auto \
      initcall_blacklist=raid6_select_algo,raid6_init,calibrate_xor_blocks,init_btrfs_fs \
      con=null con0=null,fd:1 "${disks[@]}" KM_VIA=uml "KM_RUN=$RUN" ${SCRIPT:+"KM_SCRIPT=$SCRIPT"} </dev/null >console 2>&1 ) & VM=$!
  wait $VM
}
run_qemu() {
  local d=$DIR i disks=() accel=(-accel tcg,thread=single -cpu max) n q=qemu-system-x86_64 bios=() libs=${LD_LIBRARY_PATH:-}
  [ "${KM_KVM:-0}" = 1 ] && accel=(-enable-kvm -cpu host)
  for ((i = 0; i < N; i++)); do
    ln -sfn "${IMAGES[i]}" "$RUN/disk$i"
    disks+=(-drive "if=virtio,format=raw,readonly=on,file=disk$i")
  done
  # QEMU 7.2 under TCG: about one boot of 6.12 in ten panics early, at random places
  # (thread=multi and single, with and without KASLR alike); hence the second try below
  cp "$d/initrd" "$RUN/initrd" &&   # a second archive after the first: the kernel unpacks both
    ( cd "$RUN" && echo jobs | "$d/root/bin/busybox" cpio -o -H newc 2>/dev/null ) >> "$RUN/initrd" || return 1
  if [ -d "$d/qemu" ]; then
    q=$d/qemu/usr/bin/qemu-system-x86_64
    bios=(-L "$d/qemu/usr/share/qemu" -L "$d/qemu/usr/share/seabios")
    libs=$(find "$d/qemu" -type d -path '*/x86_64-linux-gnu' | paste -sd:)
  fi
  ( cd "$RUN" && export LD_LIBRARY_PATH=$libs; exec timeout -k 5 "${KM_TIMEOUT:-180}" "$q" "${accel[@]}" "${bios[@]}" -M "${KM_MACHINE:-q35}" -m "${KM_MEM:-256M}" -smp 1 \
      -nodefaults -no-user-config -display none -no-reboot \
      -kernel "$d/vmlinuz" -initrd initrd \
      -append "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check nokaslr nopti KM_VIA=qemu rdinit=/init" \
      -chardev file,id=c0,path=console -device isa-serial,chardev=c0 \
      -chardev file,id=c1,path=result -device isa-serial,chardev=c1 \
      "${disks[@]}" </dev/null >qemu.log 2>&1 ) & VM=$!
  wait $VM || return $?
  n=$(head -c 64 "$RUN/result" | head -1 | sed -n 's/^KM \([0-9]*\).*/\1/p')
  [ -n "$n" ] && tail -n +2 "$RUN/result" | head -c "$n" | tar -C "$RUN" -xf -
}
run_$BACKEND; vmrc=$?
if [ ! -f "$RUN/done" ] && [ $BACKEND = qemu ] && [ $vmrc != 124 ]; then
  say "the VM gave no result (exit $vmrc); one more try"; run_qemu; vmrc=$?
fi
if [ ! -f "$RUN/done" ]; then
  say "the VM gave no result (exit $vmrc; 124 = timeout); its console ends:"
  for f in console qemu.log; do [ -s "$RUN/$f" ] && tail -n 25 "$RUN/$f" | sed 's/^/  | /' >&2; done
  exit 5
fi

# ---- report ------------------------------------------------------------------
worst=0
for ((i = 0; i < N; i++)); do
  rc=$(cat "$RUN/$i.rc" 2>/dev/null || echo 5)
  [ "$N" -gt 1 ] && echo "== $i ${IMAGES[i]}"
  cat "$RUN/$i.out" 2>/dev/null
  if [ "$rc" != 0 ]; then
    case $rc in 2) w="veritysetup open refused" ;; 3) w="mount refused" ;; 4) w="read failed" ;; *) w="no result" ;; esac
    say "${IMAGES[i]}: $w"
    sed 's/^/  /' "$RUN/$i.err" >&2
    # this job's part of the kernel log
    awk -v j="km-job $i" 'index($0,"km-job "){on=(substr($0,index($0,"km-job "))==j);next} on' "$RUN/dmesg" |
      grep -E 'verity|erofs|device-mapper|I/O error|Buffer|ubd|partition' | head -20 | sed 's/^/  kernel: /' >&2
  elif [ $BENCH = 1 ]; then grep '^bench' "$RUN/$i.err" >&2; fi
  [ "$rc" -gt "$worst" ] && worst=$rc
done
[ $BENCH = 1 ] && sed 's/^/  /' "$RUN/info" >&2
exit "$worst"
