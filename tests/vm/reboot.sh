#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In the virtual machine, last of its first boot: three sandboxes run (one with a terminal, one
# detached, one that is kept), then the machine is told to boot again. See rebooted.sh.
# shellcheck disable=SC1091,SC2016

. /stage/sandboxes.sh

test_sandboxes_before_the_reboot() {
    systemctl enable --now isolated.socket isolate-sandboxes.service
    # the first ones are built, later ones were parked
    member isolate run small -- true
    member script -qec 'isolate run -t --name tty small -- sh -c "echo >/file; sleep 1000"' /dev/null >/tmp/typescript &
    member isolate run -d --name detached small -- sh -c 'echo word; echo >/file; sleep 1000'
    isolate run --keep --name kept --pids 50 small -- sh -c 'echo kept >/file; sync; sleep 1000' &
    for name in tty detached kept; do
        wait_until 30 is_running $name
    done
    wait_until 20 has_written detached
    disown -a
}
has_written() { member isolate logs "$1" | grep -q word; }

test_reboot_is_asked_for() {
    systemd-run --quiet --on-active=2s --timer-property=AccuracySec=100ms systemctl reboot
}
