#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In the virtual machine, after limits.sh: attack 22 on the disk. Sandboxes that fill the file system
# of all clones with data or with files: they get ENOSPC, isolated answers, what runs goes on, and
# all space is back soon after their end. With --disk they fill what is theirs, and others have room.
# The file system is a small one on the spare disk.
# shellcheck disable=SC1091,SC2016,SC2154

. /stage/sandboxes.sh

# what a test that failed has left is not to be in the way of the next
after_each() {
    wait_until 10 no_sandboxes && return
    echo "still there: $(isolate ps -a)"
    # shellcheck disable=SC2046
    isolate kill -s KILL $(isolate ps --json | python3 -c 'import json, sys; print(*[one["id"] for one in json.load(sys.stdin)])')
    return 1
}
available() { df --output="$1" /var/lib/isolate | tail -n 1 | tr -d ' '; }
has_less() { [ "$(available "$1")" -lt "$2" ]; }
has_more() { ! has_less "$@"; }

test_small_file_system_for_clones() {
    systemctl stop isolated.socket isolated.service
    mke2fs -q -t ext4 -m 0 -N 6000 /dev/vdb 192M
    mount /dev/vdb /var/lib/isolate
    chmod 700 /var/lib/isolate
    isolate template create small --from dir:/stage/root
    systemctl start isolated.socket
    member isolate run small -- true
}

# WHAT LEFT COMMAND: a sandbox fills the file system until less than LEFT of WHAT (of df) is left
bomb() {
    local what=$1 left=$2 before begin pid status=0
    before=$(available "$what")
    hold 6 member
    member isolate run --name bomb small -- sh -c "$3; sleep 1000" >/dev/null 2>&1 &
    pid=$!
    wait_until 90 has_less "$what" "$left"
    answers_as "answer_under_bomb_of_${what}_ms"
    # another one starts, or is told why not
    member isolate run small -- true 2>/tmp/said || status=$?
    echo "another one: $status $(cat /tmp/said)"
    [ $status = 0 ] || { [ $status = 125 ] && grep -q 'No space left' /tmp/said; }
    status=0
    begin=$(date +%s%N)
    member isolate kill -s KILL bomb
    wait $pid || status=$?
    [ $status != 0 ]
    wait_until 30 has_more "$what" $((before * 9 / 10))
    gone_as "bomb_of_${what}_gone_ms" "$begin"
    release 6
    member isolate run small -- true
}

test_disk_bomb() {
    bomb avail 2000 'dd if=/dev/zero of=/big bs=1M'
}

test_inode_bomb() {
    bomb iavail 20 'i=0; while echo >/f$i; do i=$((i + 1)); done'
}

# LIMIT REACHED COMMAND: a sandbox with that limit fills all that it has, and nobody else has less
held_bomb() {
    local pid begin leaf status=0
    hold 7 member
    rm -f /tmp/receipt.member
    member isolate run --name bomb --disk "$1" --receipt /tmp/receipt.member small -- \
        sh -c "$3; echo full >/dev/shm/full; sleep 1000" >/dev/null 2>&1 &
    pid=$!
    wait_until 20 is_running bomb
    leaf=$(leaf_of bomb)
    wait_until 90 member isolate exec bomb -- test -e /dev/shm/full
    answers_as "answer_under_held_bomb_of_$2_ms"
    member isolate run small -- sh -c 'dd if=/dev/zero of=/big bs=1M count=8 conv=fsync && : >/file'
    begin=$(date +%s%N)
    member isolate kill -s KILL bomb
    wait $pid || status=$?
    [ $status != 0 ]
    wait_until 30 test ! -e "$leaf"
    wait_until 30 no_images
    gone_as "held_bomb_of_$2_gone_ms" "$begin"
    receipt_says '["sandbox"]["reached"]' "['$2']"
    release 7
}
no_images() { ! grep -q '/clones/\|/trash/' /sys/block/loop*/loop/backing_file 2>/dev/null; }

held_bombs() {
    held_bomb 32M disk 'dd if=/dev/zero of=/big bs=1M'
    held_bomb 8M inodes 'i=0; while true >/f$i; do i=$((i + 1)); done'
}

test_bombs_in_an_image() {
    held_bombs
}

test_bombs_under_quotas() {
    systemctl stop isolated.socket isolated.service
    isolate run small -- true
    umount /var/lib/isolate
    mke2fs -q -F -t ext4 -O quota,project -m 0 -N 12000 /dev/vdb 192M
    mount -o prjquota /dev/vdb /var/lib/isolate
    chmod 700 /var/lib/isolate
    isolate template create small --from dir:/stage/root
    systemctl start isolated.socket
    held_bombs
}

# start_bomb NAME OPTION… -- COMMAND…
start_bomb() {
    member isolate run --name "$@" >/dev/null 2>&1 </dev/null &
    bombs="$bombs $!"
    wait_until 30 is_running "$1"
}

test_all_bombs_at_once() {
    local bombs="" begin
    hold 8
    start_bomb forks --pids 30 small -- bomb fork
    start_bomb memory --memory 32M small -- sh -c 'while :; do bomb memory; done'
    start_bomb disk --disk 32M small -- sh -c 'while :; do dd if=/dev/zero of=/big bs=1M; done'
    start_bomb inodes --disk 8M small -- sh -c 'while :; do i=$((i + 1)); : >/f$i || rm -f /f*; done'
    start_bomb processor small -- sh -c 'while :; do :; done'
    for _ in 1 2 3 4 5; do
        sleep 1
        answers_as answer_under_all_bombs_ms
    done
    begin=$(date +%s%N)
    isolate run small -- true
    fact run_under_all_bombs_ms "$(since_ms "$begin")"
    begin=$(date +%s%N)
    member isolate kill -s KILL forks memory disk inodes processor
    # shellcheck disable=SC2086
    wait $bombs || true
    gone_as all_bombs_gone_ms "$begin"
    release 8
}

test_small_file_system_goes() {
    systemctl stop isolated.socket isolated.service
    isolate run small -- true
    need_nothing_left_on_it
    umount /var/lib/isolate
    isolate run small -- true
    need_nothing_left
}
# the file system is itself a mount below isolate's directory
need_nothing_left_on_it() {
    wait_until 10 nothing_else || { echo "left behind: $(leftovers)"; return 1; }
}
nothing_else() { [ "$(leftovers | grep -cv '/dev/vdb')" = 0 ]; }
