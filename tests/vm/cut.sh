#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In the virtual machine, in each boot between power cuts: what the last cut left is whole and
# clean; then load, in turns without and with a resident isolated, during which the power is cut
# again. The first boot sets everything up.

test_state_after_the_cut() {
    if [ ! -e /root/hash ]; then
        dpkg -i /stage/isolate.deb
        isolate template create small --from dir:/stage/root
        isolate template create busy --from dir:/stage/root
        isolate run --keep --name kept small -- sh -c 'echo kept >/file'
        isolate template inspect --hash small >/root/hash
        sync
        fact cut first boot
    fi
    fact left "$(find /var/lib/isolate -path '*/clones/*' -prune | wc -l)" clones
    # the first command clears up, or isolated does when that starts it
    isolate run small -- true
    isolate doctor
    [ "$(isolate template inspect --hash small)" = "$(cat /root/hash)" ]
    [ "$(isolate start kept -- cat /file)" = kept ]
    # a generation of it is there, whichever
    isolate run busy -- sh -c 'test ! -e /count || grep -q "^[0-9]*$" /count'
    [ "$(isolate ps -a | grep -c kept)" = 1 ]
    # what is parked goes
    systemctl stop isolated.socket isolated.service
    isolate run small -- true
    wait_until 10 only_the_kept_one || { echo "there is: $(left)"; return 1; }
}
left() {
    find /var/lib/isolate -path '*/clones/*' -prune -printf 'clone\n'
    find /sys/fs/cgroup -type d -regex '.*_[0-9]*' -printf 'cgroup\n'
    grep -Lx decoders /run/isolate/ids/* | sed 's/.*/range/'
}
only_the_kept_one() { [ "$(left | tr '\n' ' ')" = 'clone range ' ]; }

test_load() {
    local boots
    boots=$(($(cat /root/boots 2>/dev/null || echo 0) + 1))
    echo $boots >/root/boots
    if [ $((boots % 2)) = 0 ]; then
        systemctl enable --now isolated.socket
        isolate pool set small 4
        fact load resident
    else
        systemctl disable --now isolated.socket
    fi
    for _ in 1 2; do
        endless isolate run small -- sh -c 'head -c 300000 /dev/zero >/file; mkdir -p /a/b/c; sync' &
    done
    # shellcheck disable=SC2016
    endless isolate template update busy -- sh -c 'echo $(($(cat /count 2>/dev/null) + 1)) >/count' &
    disown -a
}
endless() {
    while :; do "$@" >/dev/null 2>&1 || true; done
}
