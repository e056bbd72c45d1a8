#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In the virtual machine, after service.sh: limits of sandboxes, as the kernel has them in the
# sandboxes' cgroups, and what becomes of those that run against them (attack 22 of a sandbox on
# its neighbours). Without the service first, then with it.
# shellcheck disable=SC1091,SC2016,SC2154

. /stage/sandboxes.sh

after_each() { wait_until 10 no_sandboxes || { echo "still there: $(isolate ps -a)"; return 1; }; }
# FILE VALUE…: of the sandbox called "held"
need_values() {
    local leaf
    leaf=$(leaf_of held)
    while [ $# -gt 0 ]; do
        [ "$(cat "$leaf/$1")" = "$2" ] || { echo "$1: $(cat "$leaf/$1"), not $2"; return 1; }
        shift 2
    done
}
all_limits='--memory 64M --swap 1M --cpus 0.5 --pids 40 --cpuset 1 --io-weight 50'
need_all_limits() {
    need_values memory.max 67108864 memory.swap.max 1048576 cpu.max '50000 100000' pids.max 40 cpuset.cpus 1 cpuset.cpus.effective 1 io.weight 'default 50'
}

test_limits_without_the_service() {
    fails systemctl is-active isolated.service
    hold_options=$all_limits hold 3
    need_all_limits
    [ "$(isolate inspect held | field '["limits"]')" = \
        "{'memory_bytes': 67108864, 'swap_bytes': 1048576, 'cpus_milli': 500, 'pids': 40, 'cpuset': '1', 'io_weight': 50}" ]
    release 3
}

test_memory_alone_means_no_swap() {
    hold_options='--memory 1G' hold 3
    need_values memory.max 1073741824 memory.swap.max 0 cpu.max 'max 100000' pids.max max
    release 3
}

test_limits_of_a_kept_one() {
    isolate run --keep --name kept --pids 50 --memory 64M small -- true
    [ "$(limits_of_start)" = '50 67108864' ]
    [ "$(limits_of_start --pids 60)" = '60 67108864' ]
    isolate rm kept
}
limits_of_start() {
    local leaf
    isolate start "$@" kept -- sleep 5 &
    wait_until 20 is_running kept
    leaf=$(leaf_of kept)
    cat "$leaf/pids.max" "$leaf/memory.max" | xargs
    wait
}

test_limits_are_bound_late() {
    local before leaf group
    systemctl start isolated.socket
    isolate pool set small 3
    wait_until 30 three_parked
    before=$(parked_groups)
    echo "parked: $before"
    for leaf in $before; do
        for group in memory.max memory.swap.max pids.max; do
            [ "$(cat "$leaf/$group")" = max ]
        done
        [ "$(cat "$leaf/cpu.max")" = 'max 100000' ]
    done
    hold_options=$all_limits hold 3 member
    need_all_limits
    # it is one of those that were parked, and the others are as they were
    echo "$before" | grep -qx "$(leaf_of held)"
    for leaf in $before; do
        [ "$leaf" = "$(leaf_of held)" ] || [ "$(cat "$leaf/memory.max" "$leaf/pids.max" | sort -u)" = max ]
    done
    release 3
}
three_parked() { [ "$(parked_groups | wc -l)" -ge 3 ] && isolate pool --json | grep -q '"ready": *3'; }
parked_groups() { find "$unit_group" -mindepth 1 -maxdepth 1 -type d -name 'small_*'; }

# it ends by KILL; a neighbour and the daemon go on
test_memory_bomb() {
    local status=0 before
    before=$(main_pid)
    hold 4 member
    member isolate run --memory 32M small -- bomb memory || status=$?
    [ $status = 137 ]
    # who does not die of it goes on, if the kernel does not want more
    status=0
    member isolate run --memory 32M small -- sh -c 'bomb memory; [ $? = 137 ] && exit 9' || status=$?
    [ $status = 9 ] || [ $status = 137 ]
    # files in memory count; who makes them is killed for it
    status=0
    member isolate run --memory 32M small -- dd if=/dev/zero of=/tmp/file bs=1M || status=$?
    [ $status = 137 ]
    [ "$(main_pid)" = "$before" ]
    release 4
}

test_fork_bomb() {
    local pid leaf begin status=0 before
    before=$(main_pid)
    hold 5 member
    member isolate run --name bomb --pids 30 small -- bomb fork &
    pid=$!
    wait_until 20 is_running bomb
    leaf=$(leaf_of bomb)
    wait_until 20 is_full "$leaf"
    [ "$(cat "$leaf/pids.current")" -le 30 ]
    answers_as answer_under_fork_bomb_ms
    member isolate run small -- true
    begin=$(date +%s%N)
    member isolate kill -s KILL bomb
    wait $pid || status=$?
    wait_until 10 test ! -e "$leaf"
    gone_as fork_bomb_gone_ms "$begin"
    [ $status != 0 ]
    [ "$(main_pid)" = "$before" ]
    release 5
}
is_full() { [ "$(sed -n 's/^max //p' "$1/pids.events")" -gt 0 ]; }

test_cpus() {
    local leaf
    member isolate run -d --name busy --cpus 0.2 small -- sh -c 'while :; do :; done'
    leaf=$(leaf_of busy)
    sleep 1
    [ "$(sed -n 's/^nr_throttled //p' "$leaf/cpu.stat")" -gt 0 ]
    member isolate stop -t 0 busy
}

test_cpuset() {
    local status=0
    [ "$(member isolate run --cpuset 1 small -- sed -n 's/^Cpus_allowed_list:\t*//p' /proc/self/status)" = 1 ]
    member isolate run -d --name pinned --cpuset 0 small -- sleep 100
    [ "$(member isolate exec pinned -- sed -n 's/^Cpus_allowed_list:\t*//p' /proc/self/status)" = 0 ]
    member isolate kill -s KILL pinned
    member isolate run --cpuset 0,4000 small -- true 2>/tmp/said || status=$?
    cat /tmp/said
    [ $status = 125 ]
    grep -q -- '--cpuset 0,4000: sandboxes have the processors 0-1 ' /tmp/said
}

# what a receipt tells of that
with_receipt() { # OPTIONS… -- COMMAND…
    local options=()
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    rm -f /tmp/receipt.member
    member isolate run --receipt /tmp/receipt.member "${options[@]}" small -- "$@" || true
    cat /tmp/receipt.member
}

test_receipts_tell_limits_apart() {
    with_receipt -- sh -c 'exit 3'
    receipt_says '["code"]' 3
    receipt_says '["sandbox"]["reached"]' '[]'
    with_receipt --memory 32M -- bomb memory
    receipt_says '["signal"]' 9
    receipt_says '["sandbox"]["reached"]' "['oom']"
    receipt_says '["sandbox"]["usage"]["memory_peak_bytes"] > 30 << 20' True
    with_receipt -- sh -c 'kill -9 $$'
    receipt_says '["signal"]' 9
    receipt_says '["sandbox"]["reached"]' '[]'
    with_receipt --pids 8 -- sh -c 'i=0; while [ $i -lt 20 ]; do sleep 100 & i=$((i + 1)); done'
    receipt_says '["sandbox"]["reached"]' "['pids']"
    with_receipt --timeout 1s -- sleep 100
    receipt_says '["sandbox"]["reached"]' "['time']"
    with_receipt --cpu-time 500ms -- sh -c 'while :; do :; done'
    receipt_says '["sandbox"]["reached"]' "['cpu_time']"
    with_receipt --ulimit cpu=1 -- sh -c 'while :; do :; done'
    receipt_says '["kind"]' signaled
    receipt_says '["sandbox"]["reached"]' '[]'
}

test_receipts_count() {
    with_receipt -- dd if=/dev/zero of=/file bs=1M count=20 oflag=direct
    receipt_says '["sandbox"]["usage"]["io_written_bytes"] >= 20 << 20' True
    with_receipt -- dd if=/dev/zero of=/tmp/file bs=1M count=20
    receipt_says '["sandbox"]["usage"]["memory_peak_bytes"] >= 20 << 20' True
}

test_cpu_time() {
    local status=0
    member isolate run --cpu-time 1s --receipt /tmp/receipt.member small -- sh -c 'while :; do :; done & while :; do :; done' || status=$?
    [ $status = 124 ]
    [ "$(field '["kind"]' </tmp/receipt.member)" = cpu_time ]
    rm /tmp/receipt.member
}

# root has CAP_SYS_RESOURCE here; a member may not go above what all sandboxes have
test_ulimit() {
    local status=0 most
    most=$(member isolate run small -- sh -c 'ulimit -Hn')
    [ "$(isolate run --ulimit nofile=99:$((most + 1)) small -- sh -c 'ulimit -n; ulimit -Hn' | xargs)" = "99 $((most + 1))" ]
    isolate run -d --name raised --ulimit nofile=99:$((most + 1)) small -- sleep 100
    [ "$(isolate exec raised -- sh -c 'ulimit -Hn')" = $((most + 1)) ]
    isolate kill -s KILL raised
    member isolate run --ulimit nofile=99:$((most + 1)) small -- true 2>/tmp/said || status=$?
    cat /tmp/said
    [ $status = 125 ]
    grep -q -- '--ulimit nofile=.*root only' /tmp/said
}

test_limits_hold_for_exec() {
    local status=0
    member isolate run -d --name host --pids 8 small -- sleep 100
    member isolate exec host -- sh -c 'i=0; while [ $i -lt 20 ]; do sleep 100 & i=$((i + 1)); done' ||
        status=$?
    [ $status != 0 ] && [ $status != 125 ]
    [ "$(cat "$(leaf_of host)/pids.peak" 2>/dev/null || echo 8)" = 8 ]
    is_running host
    member isolate stop -t 0 host
}

# ceilings hold for who asks for nothing, in a sandbox that was parked, and for exec
test_ceilings_of_a_policy() {
    local status=0
    say_policy '[Policy]\nMemory=64M\nSwap=0\nCPUs=0.5\nPids=40\n' 67108864
    hold 3 member
    need_values memory.max 67108864 memory.swap.max 0 cpu.max '50000 100000' pids.max 40
    release 3
    hold_options='--memory 32M --pids 20' hold 3 member
    need_values memory.max 33554432 memory.swap.max 0 cpu.max '50000 100000' pids.max 20
    release 3
    member isolate run --memory 65M small -- true 2>/tmp/said || status=$?
    cat /tmp/said
    [ $status = 125 ]
    grep -q -- '--memory 65M: more than your ceiling, which is 64M (Memory= of /etc/isolate/isolated.conf.d/policy.conf:2)' \
        /tmp/said
    status=0
    member isolate run small -- bomb memory || status=$?
    [ $status = 137 ]
    status=0
    member isolate run -d --name host small -- sleep 100
    member isolate exec host -- sh -c 'i=0; while [ $i -lt 60 ]; do sleep 100 & i=$((i + 1)); done' ||
        status=$?
    [ $status != 0 ] && [ $status != 125 ]
    [ "$(cat "$(leaf_of host)/pids.max")" = 40 ]
    member isolate stop -t 0 host
    hold 3
    need_values memory.max max cpu.max 'max 100000' pids.max max
    release 3
}

# by the names that this machine has for them
test_policy_of_a_group() {
    groupadd --force staff
    mkdir -p /etc/isolate/groups.d
    printf '[Policy]\nMemory=128M\n' >/etc/isolate/groups.d/staff.conf
    say_policy '[Policy]\nMemory=64M\nSwap=0\n' 67108864
    usermod --append --groups staff member
    [ "$(member isolate policy --json | ceiling)" = 134217728 ]
    [ "$(isolate policy --for member --json | ceiling)" = 134217728 ]
    [ "$(isolate policy --for member --json | field '["member"]')" = True ]
    [ "$(isolate policy --for stranger --json | field '["member"]')" = False ]
    isolate policy --for member | grep -e '--memory  *at most 128M  */etc/isolate/groups.d/staff.conf:2'
    fails stranger isolate policy --for member
    hold 3 member
    need_values memory.max 134217728
    release 3
    gpasswd --delete member staff
    rm -r /etc/isolate/groups.d /etc/isolate/isolated.conf.d/policy.conf
    systemctl reload isolated.service
    wait_until 10 has_ceiling -
}
# say_policy TEXT MEMORY: what isolated.conf.d says, once it is known
say_policy() {
    mkdir -p /etc/isolate/isolated.conf.d
    # shellcheck disable=SC2059
    printf "$1" >/etc/isolate/isolated.conf.d/policy.conf
    systemctl start isolated.socket isolated.service
    systemctl reload isolated.service
    wait_until 10 has_ceiling "$2"
}
ceiling() { field '["ceilings"][0].get("value", "-")'; }
has_ceiling() { [ "$(member isolate policy --json | ceiling)" = "$1" ]; }

# a group whose parent does not give it the controllers
test_a_controller_that_is_not_given() {
    local status=0
    systemctl stop isolated.socket isolated.service
    mkdir "$cgroups/outer"
    printf '[Sandboxes]\nCgroup=outer/inner\n' >/tmp/isolated.conf
    export ISOLATE_CONFIG=/tmp/isolated.conf
    isolate run --pids 50 small -- true 2>/tmp/said || status=$?
    cat /tmp/said
    [ $status = 125 ]
    grep -q -- '--pids.*"pids".*outer/inner was not given' /tmp/said
    echo +pids >"$cgroups/outer/cgroup.subtree_control"
    isolate run --pids 50 small -- true
    rmdir "$cgroups/outer/inner" "$cgroups/outer"
    need_nothing_left
}
