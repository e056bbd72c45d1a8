#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In the virtual machine, after limits.sh: the cells of the engines' contract that need controllers of
# cgroup v2 (51, 52, 53 and 58 of tests/engines), on each engine that is installed there.
# shellcheck disable=SC1091,SC2016,SC2046,SC2154

. /stage/sandboxes.sh

after_each() { need_nothing_left; }
installed() {
    isolate engines --json | python3 -c 'import json, sys
print(*(e["name"] for e in json.load(sys.stdin) if not e["problem"] and "isolates" in e["capabilities"]))'
}
# STATUS COMMAND…: whether it ends so
ends_with() {
    local wanted=$1 status=0
    shift
    "$@" || status=$?
    [ "$status" = "$wanted" ] || { echo "$*: $status, not $wanted"; return 1; }
}

test_each_engine_is_there() {
    fact engines "$(installed | tr ' ' ,)"
    [ "$(installed)" = 'native bwrap lxc nspawn oci' ]
}

# the command is killed, and the engine goes on to say so
test_51_memory() {
    local engine
    for engine in $(installed); do
        ends_with 137 isolate run --engine "$engine" --memory 64M small -- bomb memory
        ends_with 9 isolate run --engine "$engine" --memory 64M small -- sh -c 'exit 9'
    done
}

test_52_pids() {
    local engine status
    for engine in $(installed); do
        status=0
        isolate run --engine "$engine" --pids 30 small -- \
            sh -c 'i=0; while [ $i -lt 60 ]; do sleep 100 & i=$((i + 1)); done' || status=$?
        echo "$engine: $status"
        [ $status != 0 ]
        [ $status != 125 ]
        ends_with 9 isolate run --engine "$engine" --pids 30 small -- sh -c 'sleep 0 & wait; exit 9'
    done
}

test_53_cpu() {
    local engine pid
    for engine in $(installed); do
        isolate run --engine "$engine" --name busy --cpus 0.2 small -- sh -c 'while :; do :; done' &
        pid=$!
        wait_until 30 is_running busy
        wait_until 30 is_throttled "$(leaf_of busy)"
        kill -TERM $pid
        ends_with 143 wait $pid
    done
}
is_throttled() { [ "$(sed -n 's/^nr_throttled //p' "$1/cpu.stat")" -gt 2 ]; }

# the kernel has AppArmor on; now with the profiles of Debian's packages, too
test_engines_under_apparmor() {
    local engine label
    grep -qw apparmor /sys/kernel/security/lsm
    apparmor_parser -R $(apparmor_files) || true # there may be none
    [ "$(isolate run --engine lxc small -- cat /proc/self/attr/current)" = unconfined ]
    apparmor_parser -r $(apparmor_files)
    for engine in $(installed); do
        label=$(isolate run --engine "$engine" small -- cat /proc/self/attr/current)
        fact "apparmor_$engine" "$label"
        [ "$engine" != lxc ] || [ "$label" = 'lxc-container-default-cgns (enforce)' ]
        ends_with 7 isolate run --engine "$engine" --read-only --tmpfs /mnt -v /stage:/srv:ro -u user small -- \
            sh -c 'cd /mnt && echo x >x && test -e /srv/run && exit 7'
    done
    # what holds for the first command holds for others, and for signals and the end
    systemctl start isolated.socket
    isolate run -d --engine lxc --name confined small -- sh -c 'trap "exit 5" USR1; while :; do sleep 0.1; done'
    wait_until 30 is_running confined
    [ "$(isolate exec confined -- cat /proc/self/attr/current)" = 'lxc-container-default-cgns (enforce)' ]
    isolate kill -s USR1 confined
    [ "$(isolate wait confined)" = 5 ]
    systemctl stop isolated.socket isolated.service
    apparmor_parser -R $(apparmor_files)
    [ "$(isolate run --engine lxc small -- cat /proc/self/attr/current)" = unconfined ]
}
# of the engines and of LXC's containers, which of them there are
apparmor_files() {
    local name
    for name in lxc-containers usr.bin.lxc-start runc crun bwrap bwrap-userns-restrict; do
        [ ! -e "/etc/apparmor.d/$name" ] || echo "/etc/apparmor.d/$name"
    done
}

# one that has no end by itself
test_58_fork_bomb() {
    local engine
    for engine in $(installed); do
        ends_with 124 isolate run --engine "$engine" --pids 30 --timeout 2s small -- bomb fork
        need_nothing_left
    done
}
