#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# For the scripts of the virtual machine: where things lie, what a sandbox leaves there when
# something goes wrong, and a sandbox that runs until it is told to end.

cgroups=/sys/fs/cgroup
# shellcheck disable=SC2034
unit_group=$cgroups/system.slice/isolate-sandboxes.service

leftovers() {
    find "$cgroups" -mindepth 1 -type d -regex '.*_[0-9]*' -printf 'cgroup %p\n'
    # a resident isolated keeps the range of its decoders
    grep -rLx decoders /run/isolate/sandboxes /run/isolate/ids 2>/dev/null || true
    find /var/lib/isolate -path '*/clones/*' -prune -printf 'clone %p\n' 2>/dev/null || true
    pgrep -lx isolate-init || true
    grep -E 'isolate' /proc/self/mountinfo | grep -v ' /run/isolate ' || true
}
nothing_left() { [ -z "$(leftovers)" ]; }
need_nothing_left() {
    wait_until 10 nothing_left || { echo "left behind: $(leftovers)"; return 1; }
}

is_running() { isolate ps | grep -qw "$1"; }

# hold STATUS [PREFIX…]: a sandbox called "held" that ends with STATUS on release, as background job
hold() {
    local status=$1
    shift
    mkfifo "/tmp/hold.$$"
    exec 9<>"/tmp/hold.$$"
    rm "/tmp/hold.$$"
    "$@" isolate run --name held small -- sh -c "read -r word && exit $status" <&9 &
    held=$!
    wait_until 20 is_running held
}
# release STATUS: whether it ends so
release() {
    local status=0
    echo word >&9
    wait "$held" || status=$?
    [ "$status" = "$1" ] || { echo "it ended with $status, not $1"; return 1; }
}
