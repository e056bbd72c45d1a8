#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In the virtual machine: the package installs, its units work, sandboxes run on pure cgroup v2, and
# nothing stays. /stage holds isolate.deb and root, a template with busybox. No isolated is
# resident.
# shellcheck disable=SC1091,SC2154

. /stage/sandboxes.sh
after_each() {
    need_nothing_left
}

test_pure_cgroup_v2() {
    [ "$(stat -f -c %T $cgroups)" = cgroup2fs ]
    grep -qw memory $cgroups/cgroup.controllers
    grep -qw pids $cgroups/cgroup.controllers
}

test_package_installs() {
    dpkg -i /stage/isolate.deb
    isolate version
    getent group isolate
    [ "$(stat -c '%a %U:%G' /run/isolate)" = '755 root:root' ]
    [ "$(stat -c '%a %U:%G' /var/lib/isolate)" = '700 root:root' ]
}

test_units_are_well_formed() {
    systemd-analyze verify --man=no isolated.service isolated.socket isolate-sandboxes.service
    # what would put isolated, or the sandboxes that it starts, into another world
    for property in ProtectSystem ProtectHome PrivateTmp PrivateDevices ProtectKernelTunables \
        ProtectKernelModules ProtectKernelLogs ProtectControlGroups MemoryDenyWriteExecute \
        LockPersonality RestrictRealtime RestrictSUIDSGID; do
        systemctl show -p $property isolated.service | grep -qE '=(no|)$' ||
            { systemctl show -p $property isolated.service; false; }
    done
}

test_keeper_holds_the_cgroup() {
    systemctl is-enabled isolate-sandboxes.service
    systemctl is-active isolate-sandboxes.service
    pid=$(systemctl show -p MainPID --value isolate-sandboxes.service)
    [ "$(cat /proc/"$pid"/cgroup)" = 0::/system.slice/isolate-sandboxes.service/keeper ]
    [ -z "$(cat $unit_group/cgroup.procs)" ]
    grep -q '^NoNewPrivs:.1' /proc/"$pid"/status
    grep -q '^CapBnd:.0*$' /proc/"$pid"/status
    # so controllers can be given to what lies beside the keeper
    echo '+memory +pids' >$unit_group/cgroup.subtree_control
    echo '-memory -pids' >$unit_group/cgroup.subtree_control
}

test_template() {
    isolate template create small --from dir:/stage/root
    isolate template inspect small
}

test_run() {
    [ "$(isolate run small -- sh -c 'id -u; echo word' | tr '\n' ' ')" = '0 word ' ]
    status=0
    isolate run small -- sh -c 'exit 7' || status=$?
    [ $status = 7 ]
}

test_run_in_the_unit() {
    hold 4
    leaf=$(find "$unit_group" -mindepth 1 -maxdepth 1 -type d -name '*_*')
    [ -n "$leaf" ]
    [ -n "$(cat "$leaf"/cgroup.procs)" ]
    release 4
}

test_clones_forget() {
    isolate run small -- sh -c 'echo trace >/trace'
    fails isolate run small -- test -e /trace
}

# the sandboxes' unit goes on without its keeper, until the last sandbox has ended
test_keeper_killed() {
    hold 5
    kill -9 "$(systemctl show -p MainPID --value isolate-sandboxes.service)"
    sleep 1
    [ -d "$unit_group" ]
    release 5
    wait_until 10 systemctl is-active isolate-sandboxes.service
    wait_until 10 test -d "$unit_group/keeper"
    isolate run small -- true
}

test_daemon_reload_and_upgrade_leave_sandboxes() {
    hold 6
    keeper=$(systemctl show -p MainPID --value isolate-sandboxes.service)
    systemctl daemon-reload
    dpkg -i /stage/isolate.deb
    [ "$(systemctl show -p MainPID --value isolate-sandboxes.service)" = "$keeper" ]
    release 6
}

test_stop_ends_all_sandboxes() {
    for _ in 1 2; do isolate run small -- sleep 300 & done
    wait_until 30 two_inits
    systemctl stop isolate-sandboxes.service
    wait || true
    fails pgrep -x isolate-init
    [ ! -e $unit_group ]
    isolate prune
}
two_inits() { [ "$(pgrep -cx isolate-init)" = 2 ]; }

# without the unit, and in a unit that starts while there are sandboxes elsewhere
test_without_the_unit() {
    hold 7
    [ -n "$(find $cgroups/isolate -mindepth 1 -type d)" ]
    systemctl start isolate-sandboxes.service
    isolate run small -- true
    [ -d $cgroups/isolate ]
    release 7
    systemctl restart isolate-sandboxes.service
    [ ! -d $cgroups/isolate ]
    isolate run small -- true
    [ ! -d $cgroups/isolate ]
}

test_doctor() {
    isolate doctor
}
