#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# For the scripts of the virtual machine: where things lie, what a sandbox leaves there when
# something goes wrong, and a sandbox that runs until it is told to end.

cgroups=/sys/fs/cgroup
# shellcheck disable=SC2034
unit_group=$cgroups/system.slice/isolate-sandboxes.service

leftovers() {
    find "$cgroups" -mindepth 1 -type d -regex '.*_[0-9]*' -printf 'cgroup %p\n'
    # a resident isolated keeps the range of its decoders, and until the next boot those of templates
    grep -rLxE 'decoders|template .*' /run/isolate/sandboxes /run/isolate/ids 2>/dev/null || true
    find /var/lib/isolate -path '*/clones/*' -prune -printf 'clone %p\n' 2>/dev/null || true
    pgrep -lx isolate-init || true
    grep -E 'isolate' /proc/self/mountinfo | grep -v ' /run/isolate ' || true
}
nothing_left() { [ -z "$(leftovers)" ]; }
need_nothing_left() {
    wait_until 10 nothing_left || { echo "left behind: $(leftovers)"; return 1; }
}

# since_ms BEGIN: milliseconds since `date +%s%N` was that; answers_as FACT: isolated answers soon. The
# times that are asserted are three times those of a real machine
since_ms() { echo $((($(date +%s%N) - $1) / 1000000)); }
answers_as() {
    local begin took
    begin=$(date +%s%N)
    isolate ps >/dev/null
    took=$(since_ms "$begin")
    fact "$1" "$took"
    [ "$took" -lt 3000 ]
}
# gone_as FACT BEGIN
gone_as() {
    local took
    took=$(since_ms "$2")
    fact "$1" "$took"
    [ "$took" -lt 15000 ]
}

no_sandboxes() { [ -z "$(isolate ps -a)" ]; }
is_running() { isolate ps | grep -qw "$1"; }
field() { python3 -c 'import json, sys; print(eval("json.load(sys.stdin)" + sys.argv[1]))' "$1"; }
# of a run with --receipt /tmp/receipt.member
receipt_says() { # EXPRESSION VALUE
    [ "$(field "$1" </tmp/receipt.member)" = "$2" ] || { echo "$1: not $2"; return 1; }
}
leaf_of() { echo "$unit_group/$(isolate inspect "$1" | field '["id"]')"; }

# as somebody who is in the group, and as somebody who is not; service.sh makes them
member() { runuser -u member -- "$@"; }
stranger() { runuser -u stranger -- "$@"; }
main_pid() { systemctl show -p MainPID --value isolated.service; }

# hold STATUS [PREFIX…]: a sandbox called "held" that ends with STATUS on release, as background job;
# $hold_options are options of its run
hold() {
    local status=$1
    shift
    mkfifo "/tmp/hold.$$"
    exec 9<>"/tmp/hold.$$"
    rm "/tmp/hold.$$"
    # shellcheck disable=SC2086
    "$@" isolate run --name held ${hold_options-} small -- sh -c "read -r word && exit $status" <&9 &
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
