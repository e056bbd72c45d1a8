#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In the virtual machine: a pool of OpenZFS whose disk fails is suspended, while sandboxes of a template in
# it run. Everything else goes on; when the disk is there again nothing is lost and nothing is left.
# /stage holds isolate.deb and root.
# shellcheck disable=SC1091,SC2154

. /stage/sandboxes.sh

state() { cat /proc/spl/kstat/zfs/bad/state; }
is_in_state() { [ "$(state)" = "$1" ]; }
# disk TARGET…: what the pool's disk is from now on
disk() {
    dmsetup suspend --noflush --nolockfs bad
    dmsetup load bad --table "0 $((1 << 21)) $*"
    dmsetup resume bad
}
# within COMMAND…: in 5 s
within() {
    local begin took status=0
    begin=$(date +%s%N)
    timeout --kill-after=1 20 "$@" >/tmp/out 2>&1 || status=$?
    took=$(since_ms "$begin")
    cat /tmp/out
    echo "$took ms, status $status: $*"
    [ "$took" -lt 5000 ] && [ $status = 0 ]
}
ready() { isolate pool | grep -qE "^$1 +none +native +$2 "; }

test_pool_on_a_disk_that_can_fail() {
    local loop
    modprobe zfs
    dpkg -i /stage/isolate.deb
    truncate -s 1G /var/bad.img
    loop=$(losetup -f --show /var/bad.img)
    echo "$loop" >/root/loop
    dmsetup create bad --table "0 $((1 << 21)) linear $loop 0"
    zpool create -o failmode=wait -m none bad /dev/mapper/bad
    zfs create -o mountpoint=/bad bad/boxes
    isolate template create sick --storage zfs:bad/boxes --from dir:/stage/root
    isolate template create small --from dir:/stage/root
    systemctl enable --now isolated.socket
    isolate run --keep --name kept sick -- sh -c 'echo word >/file; sync'
    isolate run small -- true
    isolate run sick -- true
    wait_until 60 ready small 2
    wait_until 60 ready sick 2
}

# one with a time limit, one without
test_disk_fails_under_sandboxes() {
    (
        status=0
        isolate run --timeout 10 sick -- sh -c 'while :; do cat /bin/busybox >/file; done' || status=$?
        echo $status >/root/timed
    ) >/root/timed.out 2>&1 &
    isolate run -d --name going sick -- sh -c 'while :; do cat /bin/busybox >/file; sleep 0.1; done'
    disown -a
    disk error
    wait_until 60 is_in_state SUSPENDED
}

test_everything_else_goes_on() {
    for _ in 1 2 3 4 5; do
        within isolate ps
        within isolate pool
        within isolate template ls
        within isolate run small -- true
        sleep 1
    done
    isolate template ls | grep -w sick
}

# of what was ready some may still start, what is to be made cannot
test_start_is_refused_or_ends() {
    local n status=0
    for n in $(seq 20); do
        status=0
        timeout --kill-after=1 60 isolate run --timeout 2 sick -- true >/tmp/out 2>&1 || status=$?
        [ $status != 125 ] || break
        [ $status = 0 ] || [ $status = 124 ] || [ $status = 123 ] || { echo "status $status"; cat /tmp/out; return 1; }
    done
    fact starts_before_the_refusal $((n - 1))
    cat /tmp/out
    [ $status = 125 ]
    grep -q 'suspended.*zpool clear bad' /tmp/out
}

# also of what is killed and does not end
test_timeout_comes_to_its_end() {
    wait_until 60 test -s /root/timed
    cat /root/timed /root/timed.out
    [ "$(cat /root/timed)" = 124 ]
}

test_restart_meanwhile() {
    local before
    before=$(main_pid)
    within systemctl restart isolated.service
    [ "$(main_pid)" != "$before" ]
    within isolate ps
    within isolate run small -- true
}

test_nothing_piles_up() {
    local before
    before=$(isolate ps -a | wc -l)
    sleep 20
    isolate ps -a
    [ "$(isolate ps -a | wc -l)" -le $((before + 1)) ]
}

test_disk_is_there_again() {
    disk linear "$(cat /root/loop)" 0
    zpool clear bad
    wait_until 30 is_in_state ONLINE
    wait_until 60 isolate run sick -- true
    # it has gone on
    isolate ps | grep -w going
    isolate kill going
    wait_until 120 only_kept || { isolate ps -a; return 1; }
    [ "$(isolate start kept -- cat /file)" = word ]
}
only_kept() { [ "$(isolate ps -a | awk 'NR > 1 { print $2 }')" = kept ]; }

test_nothing_is_left_of_it() {
    isolate doctor | grep 'leftovers *ok'
    isolate rm kept
    systemctl disable --now isolated.socket
    systemctl stop isolated.service
    isolate prune
    isolate template rm sick small
    # with what older ZFS has of a template beside it
    [ "$(zfs list -H -o name -r bad | xargs)" = 'bad bad/boxes' ] || { zfs list -r bad; return 1; }
    need_nothing_left
    zpool export bad
    dmsetup remove bad
    losetup -d "$(cat /root/loop)"
}
