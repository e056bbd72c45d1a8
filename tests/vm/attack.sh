#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In the virtual machine: attacks that the kernel of a container often cannot show, because it was built without the
# thing attacked or lets nobody have it: sockets of AF_ALG and others, x32 numbers, TIOCSTI where
# every user may, the machine's own cgroup v2. By the programs of tests/attack, /stage/attack, on each engine; then
# the same programs on the machine, as the control. /stage/root is a system with busybox.
# shellcheck disable=SC1091,SC2016,SC2154

. /stage/sandboxes.sh

after_each() { need_nothing_left; }
# programs whose every attempt is denied in a sandbox, also as root of it
programs='sockets kernel_api namespaces proc_files pid1'
each_engine='native bwrap lxc nspawn oci'
attack=/stage/attack

in_sandbox() {
    local engine=$1 program=$2
    shift 2
    isolate run --engine "$engine" -v "$attack:/mnt:ro" small -- "/mnt/$program" "$@"
}
# the programs as root, in namespaces that are thrown away
on_machine() {
    local program=$1
    shift
    unshare --mount --pid --fork --kill-child --mount-proc --uts --ipc --cgroup --net \
        sh -c '"$0" "$@"; exit $?' "$attack/$program" "$@"
}
# runs a command on a terminal of its own, and says how many bytes it has typed there
on_terminal() {
    python3 -c 'import array, fcntl, os, subprocess, sys, termios, tty
master, slave = os.openpty()
tty.setraw(slave)
subprocess.run(sys.argv[1:], stdin=slave, check=True)
waiting = array.array("i", [0])
fcntl.ioctl(slave, termios.FIONREAD, waiting)
print("typed:", waiting[0])' "$@"
}
# LOG: how many attempts there were, none of which succeeded
all_denied() {
    local n
    n=$(grep -cE '^[^ ]+: (denied|killed)' "$1")
    [ "$n" -gt 0 ]
    fails grep -E '^[^ ]+: SUCCEEDED' "$1"
}

test_machine_is_open() {
    dpkg -i /stage/isolate.deb
    sysctl -q dev.tty.legacy_tiocsti=1
    for module in af_alg algif_hash vsock rxrpc tipc can xfrm_user; do
        modprobe -q "$module" || echo "no $module"
    done
    isolate template create small --from dir:/stage/root
}

test_denied_on_each_engine() {
    local engine program
    for engine in $each_engine; do
        for program in $programs; do
            in_sandbox "$engine" "$program" >"/run/$program"
            all_denied "/run/$program" || { echo "$engine: $program"; return 1; }
        done
        fact "denied_on_$engine" "$(for program in $programs; do cat "/run/$program"; done | grep -cE ': (denied|killed)')"
    done
}

test_denied_with_the_service() {
    systemctl start isolated.socket
    isolate pool set small 1
    test_denied_on_each_engine
    systemctl stop isolated.socket isolated.service
}

test_typing_is_denied() {
    local engine
    for engine in $each_engine; do
        on_terminal isolate run --engine "$engine" -v "$attack:/mnt:ro" small -- /mnt/tty >/run/tty
        grep -q '^typed: 0$' /run/tty
        grep -E '^tiocsti' /run/tty | fails grep SUCCEEDED
    done
}

test_other_doors_are_shut() {
    local engine
    for engine in $each_engine; do
        on_terminal isolate run --engine "$engine" -v "$attack:/mnt:ro" small -- /mnt/syscall_abi >/run/abi
        all_denied /run/abi
        grep -q '^typed: 0$' /run/abi
    done
}

test_control_types() {
    on_terminal setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs "$attack/tty" >/run/tty
    grep -E '^tiocsti: SUCCEEDED' /run/tty
    fails grep -q '^typed: 0$' /run/tty
}

# x32 is a choice of the kernel's
test_control_by_other_doors() {
    on_terminal "$attack/syscall_abi" >/run/abi
    fact controls_of_abi "$(grep -cE ': SUCCEEDED' /run/abi)"
    grep -E '^int80_getpid: SUCCEEDED' /run/abi
    grep -qE '^x32_getpid: SUCCEEDED' /run/abi || skip "this kernel has no x32: $(grep '^x32_getpid' /run/abi)"
}

test_control_has_sockets() {
    on_machine sockets >/run/sockets
    fact controls_of_sockets "$(grep -cE ': SUCCEEDED' /run/sockets)"
    grep -E '^alg: SUCCEEDED' /run/sockets
    grep -E '^vsock: SUCCEEDED' /run/sockets
}

test_control_of_the_others() {
    local program n
    for program in kernel_api namespaces proc_files pid1; do
        on_machine "$program" >"/run/$program"
        n=$(grep -cE ': SUCCEEDED' "/run/$program")
        fact "controls_of_$program" "$n"
        [ "$n" -gt 0 ]
    done
}
