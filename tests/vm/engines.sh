#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In the virtual machine, after limits.sh: the cells of the engines' contract that need controllers of
# cgroup v2 (51, 52, 53 and 58 of tests/engines), on each engine that is installed there.
# shellcheck disable=SC1091,SC2016,SC2154

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

# one that has no end by itself
test_58_fork_bomb() {
    local engine
    for engine in $(installed); do
        ends_with 124 isolate run --engine "$engine" --pids 30 --timeout 2s small -- bomb fork
        need_nothing_left
    done
}
