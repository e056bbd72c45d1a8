#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In the virtual machine, after engines.sh: systemd in a sandbox, by run --boot. /stage holds boot, a
# root of the machine's own Debian with systemd.
# shellcheck disable=SC1091,SC2016,SC2154

. /stage/sandboxes.sh

after_each() { wait_until 10 no_sandboxes || { echo "still there: $(isolate ps -a)"; return 1; }; }
boot=(--engine nspawn --boot --name b)
state_is() { [ "$(isolate exec b -- systemctl is-system-running)" = "$1" ]; }
# nothing of systemd's has failed
need_running() {
    wait_until 120 state_is running || { isolate exec b -- systemctl --failed --no-pager; isolate logs b; return 1; }
}

test_boot() {
    local leaf
    systemctl start isolated.socket
    isolate run -d "${boot[@]}" --memory 512M --pids 300 /stage/boot
    need_running
    fact booted "$(isolate exec b -- systemd-analyze | head -n 1)"
    [ "$(isolate exec b -- cat /proc/1/comm)" = systemd ]
    leaf=$(leaf_of b)
    [ "$(cat "$leaf/memory.max" "$leaf/pids.max" | xargs)" = '536870912 300' ]
    # its processes are in groups of systemd's below the leaf
    [ -n "$(cat "$leaf/payload/system.slice/systemd-journald.service/cgroup.procs")" ]
    # and with a user namespace of their own, as every sandbox's
    [ "$(isolate exec b -- cat /proc/self/uid_map | awk '{print $1, $3}')" = '0 65536' ]
    isolate exec b -- loginctl list-sessions
    isolate stop -t 60 b
    [ "$(isolate wait b)" = 0 ]
    isolate logs b | grep 'Exiting container'
    need_nothing_left_of b
}
need_nothing_left_of() { fails isolate inspect "$1"; [ -z "$(find "$unit_group" -mindepth 1 -name 'boot_*')" ]; }

# systemd's units with limits of their own, of controllers that the sandbox has
test_units_inside() {
    isolate run -d "${boot[@]}" /stage/boot
    need_running
    [ "$(isolate exec b -- systemd-run --quiet --wait --pipe sh -c 'echo word; cat /proc/self/cgroup' | head -n 1)" = word ]
    isolate exec b -- systemd-run --quiet --wait --pipe cat /proc/self/cgroup | grep '^0::/system.slice/run-'
    ends=0
    isolate exec b -- systemd-run --quiet --wait sh -c 'exit 5' || ends=$?
    [ $ends = 5 ]
    isolate stop -t 60 b
}

test_poweroff_and_reboot_inside() {
    local command pid
    for command in poweroff reboot; do
        isolate run "${boot[@]}" /stage/boot </dev/null >/tmp/console &
        pid=$!
        wait_until 60 is_running b
        need_running
        isolate exec b -- "$command"
        wait $pid
        grep 'Exiting container' /tmp/console
    done
}

test_timeout_shuts_down() {
    local status=0
    isolate run "${boot[@]}" --timeout 40s /stage/boot </dev/null >/tmp/console || status=$?
    [ $status = 124 ]
    # told so, before it is killed
    grep -a 'Stopped target' /tmp/console
}
