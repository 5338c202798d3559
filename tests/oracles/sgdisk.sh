#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `sgdisk -v` finds no problem in the table, also after the primary copy is lost; sfdisk reads the partitions we report.
. "$(dirname "$0")/lib.sh"
need sgdisk sfdisk jq
make_tree
for sector in 512 4096; do
    rm -f "$work/disk"
    "$mkdisk" -q --size=96M --sector-size=$sector "$work/disk" "$work/tree" >"$work/json" || fail "mkdisk failed"
    if [ $sector = 512 ]; then
        sgdisk -v "$work/disk" | tee "$work/out"
        grep -q '^No problems found' "$work/out" || fail "sgdisk -v"
        sfdisk --json "$work/disk" >"$work/sfdisk"
        for i in 0 1; do
            start=$(jq ".partitiontable.partitions[$i].start" "$work/sfdisk")
            size=$(jq ".partitiontable.partitions[$i].size" "$work/sfdisk")
            [ $((start * 512)) = "$(field "$work/json" $i offset)" ] || fail "partition $i starts elsewhere"
            [ $((size * 512)) = "$(field "$work/json" $i raw_size)" ] || fail "partition $i has another size"
        done
    fi
done
