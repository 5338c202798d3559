#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builder and reader against veritysetup: algorithms, hash types, block sizes, salts, counts, with superblock and without.
# Ours writes what veritysetup writes, and reads what veritysetup wrote.
. "$(dirname "$0")/lib.sh"
need veritysetup openssl
tool=$MODELDISK_BUILD/tests/verity_tool
[ -x "$tool" ] || fail "$tool is not built"
uuid=11111111-2222-3333-4444-555555555555
salts=(- 00 "$(printf '%064d' 5)" "$(printf '%0512d' 7)" "$(printf '%0510d' 9)")
sizes=("512 512" "4096 4096" "65536 65536" "512 65536" "65536 512" "1024 4096" "4096 1024" "2048 32768")
counts=(1 2 127 128 129 3 63 64 65 1000)

openssl enc -aes-128-ctr -K 00 -iv 00 -nosalt -in /dev/zero 2>/dev/null | head -c $((16385 * 4096)) >"$work/data"
tried=0

# reference_root OPTION...: veritysetup format over data and hash; prints the root hash
reference_root() {
    rm -f "$work/hash"
    : >"$work/hash"
    veritysetup format "$work/data" "$work/hash" --uuid=$uuid "$@" | sed -n 's/^Root hash:[[:space:]]*//p'
}

# compare ALGORITHM TYPE DATA_BLOCK HASH_BLOCK COUNT SALT: with a superblock and without
compare() {
    local reference ours id
    for id in $uuid none; do
        reference=$(reference_root --hash="$1" --format="$2" --data-block-size="$3" --hash-block-size="$4" \
            --data-blocks="$5" --salt="$6" 2>"$work/warnings" $([ $id = none ] && echo --no-superblock))
        [ -n "$reference" ] || fail "$* $id: veritysetup gave no root hash"
        ours=$("$tool" format "$work/data" "$work/ours" "$@" $id) || fail "$* $id: we cannot build it"
        [ "$ours" = "$reference" ] || fail "$* $id: root hash $ours, veritysetup says $reference"
        # one data block, no tree: the reference does not fill the superblock's hash block
        cp "$work/hash" "$work/padded"
        truncate -s ">$(stat -c %s "$work/ours")" "$work/padded"
        cmp "$work/ours" "$work/padded" || fail "$* $id: another tree"
        "$tool" read "$work/data" "$work/hash" 0 "$reference" $([ $id = none ] && echo "$@" none) |
            cmp -n $(($3 * $5)) - "$work/data" || fail "$* $id: we read other bytes"
        tried=$((tried + 1))
    done
}

i=0
for algorithm in sha256 sha1 sha384 sha512; do
    for type in 1 0; do
        for size in "${sizes[@]}"; do
            for salt in "${salts[@]}"; do
                # shellcheck disable=SC2086 # two words
                compare $algorithm $type $size "${counts[i++ % ${#counts[@]}]}" "$salt"
            done
        done
    done
done
for count in 16384 16385; do
    compare sha256 1 4096 4096 $count "${salts[2]}"
    compare sha1 0 512 512 $count -
done

# The hash area behind the data in one file, at multiples of the hash block size.
for offset in 1048576 1114112; do
    for block in 512 4096 65536; do
        head -c 1048576 "$work/data" >"$work/disk"
        root=$(veritysetup format "$work/disk" "$work/disk" --uuid=$uuid --salt=- --data-blocks=256 \
            --hash-block-size=$block --hash-offset=$offset | sed -n 's/^Root hash:[[:space:]]*//p')
        "$tool" read "$work/disk" "$work/disk" $offset "$root" | cmp -n 1048576 - "$work/data" ||
            fail "hash area at $offset in blocks of $block"
        tried=$((tried + 1))
    done
done
echo "equal to veritysetup in $tried cases"
