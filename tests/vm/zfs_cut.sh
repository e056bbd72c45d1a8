#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In the virtual machine, in each boot between power cuts and reboots: what the last one left of clones in
# OpenZFS is gone, and the templates are whole; then load again, in turns without and with a resident isolated
# and a stock. The first boot sets everything up. $after says how it ends.
# shellcheck disable=SC2154

test_zfs_after_the_cut() {
    modprobe zfs
    if [ ! -e /root/hash ]; then
        dpkg -i /stage/isolate.deb
        zpool create -m none rpool /dev/vdb
        zfs create -o mountpoint=/boxes rpool/boxes
        isolate template create whole --storage zfs:rpool/boxes --from dir:/stage/root
        isolate template create busy --storage zfs:rpool/boxes --from dir:/stage/root
        isolate run --keep --name kept whole -- sh -c 'echo kept >/file; sync'
        isolate template inspect --hash whole >/root/hash
        sync
        fact zfs_cut first boot
    elif ! zpool list -H rpool >/dev/null 2>&1; then
        # isolated may be there before its pool
        isolate run whole -- true || fact before_the_import refused
        zpool import -d /dev rpool
    fi
    [ "$(zpool list -H -o health rpool)" = ONLINE ]
    fact zfs_left "$(datasets | wc -w)" clones
    # the first command clears up, or isolated does when that starts it
    isolate run whole -- true
    isolate doctor
    [ "$(isolate template inspect --hash whole)" = "$(cat /root/hash)" ]
    [ "$(isolate start kept -- cat /file)" = kept ]
    # a generation of it is there, whichever
    isolate run busy -- sh -c 'test ! -e /count || grep -q "^[0-9]*$" /count'
    [ "$(isolate ps -a | grep -c kept)" = 1 ]
    # what is parked and what is in stock goes
    systemctl stop isolated.socket isolated.service
    isolate -r rpool/boxes/whole 0
    wait_until 60 only_the_kept_one || { echo "there is: $(left)"; return 1; }
}
datasets() { zfs list -H -o name -r -d 1 rpool/boxes | grep -E '_[0-9]{19}$|IMPORT|GONE' || true; }
left() {
    datasets | sed 's/.*/dataset/'
    find /var/lib/isolate -path '*/clones/*' -prune -printf 'clone\n'
    find /var/lib/isolate -path '*/trash/*' -prune -printf 'trash\n'
    find /sys/fs/cgroup -type d -regex '.*_[0-9]*' -printf 'cgroup\n'
    find /boxes -mindepth 1 -maxdepth 1 -name '*_*' -printf 'mountpoint\n'
    grep -Lx decoders /run/isolate/ids/* | sed 's/.*/range/'
}
# where ZFS cannot be id-mapped each template has a range, for as long as it is there
ranges() {
    case $(cat /sys/module/zfs/version) in
        2.[01].*) echo 'range range ' ;;
        *) echo 'range ' ;;
    esac
}
only_the_kept_one() {
    isolate run whole -- true
    [ "$(left | tr '\n' ' ')" = "dataset clone mountpoint $(ranges)" ]
}

test_zfs_load() {
    local boots
    boots=$(($(cat /root/boots 2>/dev/null || echo 0) + 1))
    echo $boots >/root/boots
    if [ $((boots % 2)) = 0 ]; then
        systemctl disable --now isolated.socket
    else
        systemctl enable --now isolated.socket
        isolate -r rpool/boxes/whole 3
        isolate pool set whole 2
        isolate run -d --name going whole -- sh -c 'while :; do cat /bin/busybox >/file; sleep 0.1; done'
        fact zfs_load resident
    fi
    for _ in 1 2; do
        endless isolate run whole -- sh -c 'head -c 300000 /dev/zero >/file; mkdir -p /a/b/c; sync' &
    done
    # shellcheck disable=SC2016
    endless isolate template update --network none busy -- sh -c 'echo $(($(cat /count 2>/dev/null) + 1)) >/count' &
    disown -a
    if [ "${after-}" = reboot ]; then
        systemd-run --quiet --on-active=6s --timer-property=AccuracySec=100ms systemctl reboot
    fi
}
endless() {
    while :; do "$@" >/dev/null 2>&1 || true; done
}
