#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In the virtual machine: limits of disk space by project quotas of ext4 and XFS, which the kernel
# of a container often does not have. /stage holds isolate.deb, contract-storage and root, a system
# with busybox.
# shellcheck disable=SC2016,SC2154

# on TYPE MKFS-OPTIONS: a file system with project quotas, at /TYPE
on() {
    truncate -s 400M "/var/$1.img"
    # shellcheck disable=SC2086
    "mkfs.$1" -q $2 "/var/$1.img"
    mkdir "/$1"
    mount -o loop,prjquota "/var/$1.img" "/$1"
    chmod 711 "/$1"
}

# grows NAME MIB OPTIONS…: whether a sandbox of that template can write so much
grows() {
    local template=$1 mib=$2
    shift 2
    isolate run "$@" "$template" -- sh -c "dd if=/dev/zero of=/big bs=1M count=$mib conv=fsync 2>/dev/null"
}

# reaches TEMPLATE WHAT COMMAND: a receipt tells that a sandbox has met a limit
reaches() {
    isolate run --receipt /tmp/receipt --disk 32M "$1" -- sh -c "$3" || true
    cat /tmp/receipt
    [ "$(python3 -c 'import json; print(json.load(open("/tmp/receipt"))["sandbox"]["reached"])')" = "['$2']" ]
}

# limits TEMPLATE STORAGE
limits() {
    isolate template create "$1" --from dir:/stage/root --storage "$2"
    grows "$1" 8 --disk 32M
    fails grows "$1" 64 --disk 32M
    grows "$1" 64
    # what is free there is what is left
    [ "$(isolate run --disk 32M "$1" -- df -m / | awk 'NR == 2 { print ($4 <= 32) }')" = 1 ]
    reaches "$1" disk 'dd if=/dev/zero of=/big bs=64k conv=fsync 2>/dev/null'
    reaches "$1" inodes 'i=0; while true >/f$i; do i=$((i + 1)); done 2>/dev/null'
    # a kept one keeps it, and has no more after a start
    isolate run --keep --name kept --disk 32M "$1" -- dd if=/dev/zero of=/first bs=1M count=24
    [ "$(isolate inspect kept | python3 -c 'import json, sys; print(json.load(sys.stdin)["limits"])')" = \
        "{'disk_bytes': 33554432}" ]
    fails isolate start kept -- dd if=/dev/zero of=/second bs=1M count=24 conv=fsync
    isolate start kept -- sh -c 'rm /second && dd if=/dev/zero of=/second bs=1M count=4 conv=fsync'
    isolate rm kept
}

test_package() {
    dpkg -i /stage/isolate.deb
}

test_overlay_on_ext4() {
    on ext4 '-O quota,project'
    limits e overlay:/ext4
}

test_overlay_on_xfs() {
    on xfs ''
    limits x overlay:/xfs
}

test_reflink_on_xfs() {
    limits r reflink:/xfs
}

# what ext4 keeps for root is not for a sandbox, though root has mounted its overlay
test_reserve_stays() {
    local full
    sync -f /ext4
    isolate run e -- sh -c 'dd if=/dev/zero of=/big bs=1M conv=fsync 2>/dev/null; sleep 60' &
    wait_until 60 is_full
    full=$(stat -f -c '%a %f' /ext4)
    kill $!
    wait || true
    echo "available and free: $full"
    [ "${full% *}" -lt 64 ]
    [ "${full#* }" -gt 15000 ]
}
is_full() { [ "$(stat -f -c %a /ext4)" -lt 64 ]; }

# an administrator's project around it is left alone, and counts what an image takes
test_project_around() {
    mkdir /ext4/around
    chattr -p 77 +P /ext4/around
    isolate template create a --from dir:/stage/root --storage overlay:/ext4/around
    grows a 8
    grows a 8 --disk 32M # by an image
    fails grows a 64 --disk 32M
    [ "$(lsattr -pd /ext4/around/isolate/overlay | awk '{ print $1 }')" = 77 ]
}

test_nothing_left() {
    isolate prune --kept
    for place in /ext4/isolate/overlay /xfs/isolate/overlay /xfs/isolate/reflink /ext4/around/isolate/overlay; do
        [ -z "$(find $place/clones $place/trash -mindepth 1)" ]
    done
}

test_contract() {
    for place in 'overlay ext4+quota' 'overlay xfs+quota' 'reflink xfs+quota' 'btrfs btrfs+quota'; do
        # shellcheck disable=SC2086
        /stage/contract-storage $place 'limit_*' || { echo "$place"; return 1; }
    done
}
